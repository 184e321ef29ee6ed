# SPDX-License-Identifier: GPL-2.0-or-later
# The largest relative difference in IOPS between the same cell of any two runs: {config, job,
# difference}.
[.runs[][] | .config as $config | .jobs | to_entries[] | {$config, job: .key, iops: .value.iops}]
| group_by([.config, .job])
| map({config: .[0].config, job: .[0].job,
       difference: ((map(.iops) | max) / (map(.iops) | min) - 1)})
| max_by(.difference)
