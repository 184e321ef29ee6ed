# SPDX-License-Identifier: GPL-2.0-or-later
# One fio result, reduced to what bench.json keeps of it.
def percentiles: {p50_ns: .percentile["50.000000"], p99_ns: .percentile["99.000000"]};

.jobs[0]
| (if .write.total_ios > 0 then .write else .read end) as $io
| {$config, $job, iops: $io.iops, ios: $io.total_ios, mean_ns: $io.lat_ns.mean}
  + ($io.lat_ns | percentiles)
  + if .sync.total_ios > 0 then {fdatasync: (.sync.lat_ns | percentiles)} else {} end
