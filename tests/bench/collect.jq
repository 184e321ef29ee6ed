# SPDX-License-Identifier: GPL-2.0-or-later
# The findings of one run as one entry of bench.json. Input: an array of them, in the order
# printed. Refuses a run whose cells are not exactly configurations times jobs, and a mirror
# whose copies were not compared.
($configs | split(" ")) as $configs
| ["w4q1", "w4q32", "w128q8", "r4q32", "w4sync"] as $jobs
| ["drbd-c", "md-nvme", "repl-plain", "repl-tls"] as $mirrors
| . as $findings
| map(select(.job)) as $cells
| if ([$configs[] as $c | $jobs[] | [$c, .]]) == ($cells | map([.config, .job])) then .
  else error("the run lacks results, or has some twice") end
| [ $configs[] as $c
    | [$findings[] | select(.config == $c)] as $own
    | {config: $c,
       jobs: ($own | map(select(.job) | {key: .job, value: del(.config, .job)}) | from_entries),
       legs: ($own | map(select(.legs) | del(.config)) | first),
       open_secondary: ($own | map(select(.probe == "open-secondary") | del(.config, .probe))
                        | first)}
    | if .legs == null and ($mirrors | index($c)) then
        error("\($c): the copies were not compared") else . end ]
