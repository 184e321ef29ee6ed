#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vm: once=6.1 mem=768 timeout=400 disks=64M,64M
#
# What a person sees: status when all is well, when a peer is lost, when the agent is dead; who is named when a volume
# is busy; what monitor and fsck.repl say meanwhile.
# shellcheck source=tests/vm/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/vm/repl.sh
. "$(dirname "$0")/../repl.sh"

out=
rc=0

gives() { # DESCRIPTION RC REGEX NODE SUBCOMMAND...
	local what=$1 want=$2 words=$3
	shift 3
	rc=0
	out=$(ctl "$@" 2>&1) || rc=$?
	if [ "$rc" -eq "$want" ] && [[ $out =~ $words ]]; then
		pass "$what"
	else
		fail "$what" "exit code $rc: $out"
	fi
}

is_frozen() { [ "$(status_of a .frozen_by)" = peer-lost ]; }

dm_linear disk /dev/vda
repl_node a /dev/mapper/disk
repl_node b /dev/vdb
repl_config "on-peer-loss = freeze"
# Every node's.
# shellcheck disable=SC2119
repl_mkfs
modprobe tls
modprobe repl
agent_start a
agent_start b

gives "status before up" 0 'spool  down.*why:  is not up.*next: repl-ctl up spool' a status
gives "check before up" 4 'spool  down' a check
gives "role before up" 1 '^down' a role spool
ok "up on both nodes" eval 'ctl a up spool && ctl b up spool'
gives "a fresh copy: what to do" 0 'never held any data.*repl-ctl primary spool; only if its peers cannot be reached yet, with --force' a status
nsenter --net=/run/netns/a -- repl-ctl --config "$(node_dir a)" monitor >/run/monitor 2>&1 &
monitor=$!
nsenter --net=/run/netns/a -- repl-ctl --config "$(node_dir a)" monitor spool --json >/run/monitor.json 2>&1 &
monitor_json=$!
wait_for 20 "monitor begins" eval 'grep -q " state" /run/monitor && [ -s /run/monitor.json ]'
ok "with --force it is" ctl a primary spool --force
wait_live a b
ok "wait for in-sync" ctl a wait spool --for in-sync --timeout 60
ok "wait on the other side" ctl b wait spool --for connected --timeout 60

# --- all is well --------------------------------------------------------------------------------------------------

gives "status of a healthy pair" 0 '^spool  /dev/repl0  primary  healthy' a status
diag "$out"
like "$out" 'b +live +0 B' "its peer is live and nothing behind"
unlike "$out" 'why:' "and there is nothing to do"
gives "the other side" 0 '^spool  /dev/repl1  secondary  healthy' b status
gives "check is content" 0 healthy a check
is "$(ctl a role spool)-$(ctl b role spool)" primary-secondary "roles"
is "$(status_of a '[.device, .role, .health, .consistent, .frozen, .backing.device] | join(" ")')" \
	"/dev/repl0 primary healthy true false dm-0" "status as JSON"
is "$(status_of a '.peers[] | [.name, .state, .mode, .dirty_bytes] | join(" ")')" "b live sync 0" "its peers"
is "$(status_of a .uuid)" "$(status_of b .uuid)" "one volume"
is "$(status_of a .generation)" "$(status_of b .generation)" "one generation"

# --- busy ---------------------------------------------------------------------------------------------------------

run_quiet mkfs.ext4 -q -F /dev/repl0
mkdir -p /mnt/mail
mount /dev/repl0 /mnt/mail
gives "a mounted volume is not taken down: where it is mounted" 1 'mounted on /mnt/mail' a down spool
diag "$out"
gives "nor made secondary" 1 'mounted on /mnt/mail' a secondary spool
gives "what an open file has nothing to do with does not name it" 1 'waited in vain for secondary' \
	a wait spool --for secondary --timeout 0
unlike "$out" 'mounted on' "really not"
gives "what is so already needs no time" 0 '' a wait spool --for in-sync --timeout 0
umount /mnt/mail
bash -c 'exec 8</dev/repl0; touch /run/opened; read -r -t 300 <>/run/never' &
opener=$!
mkfifo /run/never
wait_for 20 "the opener" test -e /run/opened
gives "an open volume: who has it" 1 "open in bash \(pid $opener\)" a secondary spool
kill "$opener"
wait "$opener" 2>/dev/null || true
is "$(ctl a role spool)" primary "it is still primary"

# --- a lost peer --------------------------------------------------------------------------------------------------

link_cut b
run_quiet pattern_put /dev/repl0 frozen 65536 &
writer=$!
ok "writes freeze" wait_for 60 "the peer's loss" is_frozen
gives "status says so, and what to do" 0 'primary  down.*frozen for.*a peer was lost.*next: .*repl-ctl resume spool' a status
diag "$out"
is "$(status_of a '"\(.frozen) \(.frozen_by)"')" "true peer-lost" "in JSON, too"
age=$(status_of a .frozen_ms)
older() { [ "$(status_of a .frozen_ms)" -gt "$age" ]; }
ok "with its age" wait_for 10 "the age to grow" older
gives "check says down" 4 down a check
agent_kill a
gives "also without the agent" 0 'no agent runs.*next: systemctl start repl-agent' a status
is "$(ctl a role spool)" primary "role, too"
gives "changes need it" 1 'no agent answers' a down spool
dm_reload disk "$(dm_delay_table /dev/vda 0 500 500)"
gives "resume does not" 0 'goes on without the lost peer' a resume spool
like "$(knode get 0)" $'\n'gate=0$'\n' "and has gone on when it says so"
dm_heal disk /dev/vda
if wait "$writer"; then pass "and the write completes"; else fail "and the write completes"; fi
gives "a second resume has nothing to do" 0 'nothing to do' a resume spool
gives "check says degraded" 3 'b +disconnected' a check
cmp_ok "$(status_of a '.peers[0].dirty_bytes')" -ge 65536 "and how far behind the peer is"
agent_start a
link_heal b
wait_live a b 120
gives "healthy again" 0 healthy a check
is "$(status_of a '"\(.frozen) \(.frozen_by) \(.frozen_ms)"')" "false null 0" "not frozen"
agent_kill a STOP
gives "check of an agent that hangs" 3 'why:  the agent does not answer.*next: systemctl restart repl-agent' a check
agent_kill a CONT
cp "$(node_dir a)/agent.conf" /run/agent.conf
echo nonsense >>"$(node_dir a)/agent.conf"
gives "check of a configuration that an agent would not start with" 3 \
	'why:  the configuration has a mistake: .*agent.conf:[0-9]+: .*next: repl-agent --check' a check
cp /run/agent.conf "$(node_dir a)/agent.conf"
wait_live a b 120
gives "and healthy again" 0 healthy a check
link_cut b
run_quiet pattern_put /dev/repl0 again 65536 &
writer=$!
ok "writes freeze again" wait_for 60 "the peer's loss" is_frozen
link_heal b
if wait "$writer"; then pass "without resume the write completes when the peer is back"; else fail "without resume the write completes when the peer is back"; fi
wait_live a b 120

# --- monitor and fsck ---------------------------------------------------------------------------------------------

like "$(fsck.repl /dev/vda || true)" 'is in use' "fsck.repl says that the volume is up"
ok "a steps down" ctl a secondary spool
ok "everything down" repl_stop
kill "$monitor" "$monitor_json"
# Children of this shell alone can be waited for, not in a subshell.
if wait "$monitor"; then pass "monitor ends when told to"; else fail "monitor ends when told to"; fi
if wait "$monitor_json"; then pass "with --json, too"; else fail "with --json, too"; fi
sed 's/^/# /' /run/monitor
for event in 'spool state: secondary' 'spool role' 'spool link-up b' 'spool link-down b' 'spool gate' 'spool generation' \
	'spool down'; do
	ok "monitor: $event" grep -qE "^[0-9T:.+-]+ $event" /run/monitor
done
is "$(jq -rs 'map(select(.event == "link-down" and .peer == "b" and .volume == "spool")) | length > 0' /run/monitor.json)" \
	true "monitor as JSON"
for disk in vda vdb; do
	ok "fsck.repl /dev/$disk" fsck.repl "/dev/$disk"
	is "$(fsck.repl "/dev/$disk" --json | jq -c '.volume.flags')" '["consistent","maps","identity","stopped"]' \
		"/dev/$disk: consistent and clean"
	is "$(fsck.repl "/dev/$disk" --json | jq -c '.volume.slots[] | [.kind, .dirty_blocks]')" '["peer",0]' \
		"/dev/$disk: nothing is missing"
done
done_testing
