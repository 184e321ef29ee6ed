# SPDX-License-Identifier: GPL-2.0-or-later
#
# make bench [CONFIGS="raw drbd-c ..."]

CONFIGS ?= raw repl-alone repl-plain repl-tls drbd-alone drbd-c md-nvme

.PHONY: bench
# The mirrors beside it can be measured without the software being built.
bench: vm-programs $(if $(filter repl-%,$(CONFIGS)),module-6.1 tools)
	tests/bench/bench.sh $(CONFIGS)

# The benchmark's judgement of its results, without a benchmark.
.PHONY: bench-unit
bench-unit:
	@prove -e bash tests/bench/report.t

unit: bench-unit
