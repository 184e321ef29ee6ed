# SPDX-License-Identifier: GPL-2.0-or-later
#
# make demo: a failover of two mail servers in VMs. DEMO="--kernel 6.12 --keep" passes options.

.PHONY: demo
demo: $(if $(filter --plain,$(DEMO)),,all)
	@scripts/demo $(DEMO)
