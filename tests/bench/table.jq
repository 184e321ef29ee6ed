# SPDX-License-Identifier: GPL-2.0-or-later
# One run of bench.json as rows of tab-separated columns: IOPS, and the milliseconds a
# secondary takes to refuse an open.
def thousands:
  tostring
  | until(test("^[0-9]{1,3}(,|$)");
          sub("(?<a>[0-9])(?<b>[0-9]{3})(?<c>,|$)"; "\(.a),\(.b)\(.c)"));

{ "raw": "raw brd",
  "repl-alone": "repl, no peer",
  "repl-plain": "repl sync, plain",
  "repl-tls": "repl sync, TLS",
  "drbd-alone": "DRBD 8.4, no peer",
  "drbd-c": "DRBD 8.4, protocol C",
  "md-nvme": "md RAID1 over nvme-tcp" } as $titles
| ["IOPS", "4k randwrite QD1", "4k randwrite QD32", "128k write QD8", "4k randread QD32",
   "4k write+fdatasync QD1", "refused open (ms)"],
  (.[] | [$titles[.config] // .config,
          (.jobs | .w4q1, .w4q32, .w128q8, .r4q32, .w4sync | .iops | round | thousands),
          (.open_secondary.median_ms // "-" | tostring)])
| @tsv
