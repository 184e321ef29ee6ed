// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Where the agent listens: also at an address that this machine does not have yet.
 * needs: userspace/agent/arbiter.c userspace/agent/register.c userspace/agent/ask.c userspace/agent/witness.c
 * needs: userspace/agent/verify.c userspace/agent/judge.c userspace/agent/compare.c userspace/agent/sums.c
 * needs: userspace/agent/core.c userspace/agent/notice.c userspace/agent/takeover.c userspace/agent/session.c userspace/agent/pair.c userspace/agent/redo.c userspace/agent/lead.c userspace/agent/roll.c userspace/agent/lag.c userspace/agent/comeback.c
 * needs: userspace/agent/follow.c userspace/agent/task.c userspace/agent/promote.c userspace/agent/verdict.c userspace/agent/replace.c userspace/agent/member.c userspace/agent/survey.c userspace/agent/nodes.c userspace/agent/roster.c userspace/agent/resize.c userspace/agent/resolve.c userspace/agent/save.c
 * needs: userspace/agent/copy.c userspace/agent/msg.c userspace/agent/action.c userspace/agent/agent.c userspace/agent/helper.c userspace/agent/hook.c userspace/agent/hookq.c
 * needs: userspace/agent/loop.c userspace/agent/conn.c userspace/agent/greet.c userspace/agent/link.c
 * needs: userspace/agent/dial.c userspace/agent/kops.c userspace/agent/delta.c userspace/agent/mapsend.c
 * needs: userspace/agent/apply.c userspace/agent/stage.c userspace/agent/bring.c userspace/agent/control.c userspace/agent/status.c
 * needs: userspace/agent/tls.c userspace/agent/ktls.c userspace/agent/digest.c userspace/agent/suspect.c
 * needs: userspace/agent/listen.c
 */
#include <sys/socket.h>
#include <unistd.h>

#include "agent.h"
#include "listen.h"
#include "log.h"

#include "tap.h"

static struct agent agent;

static bool family_is_there(int family)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void listens(const char *host, int family, const char *what)
{
	struct config_address *address = &agent.config.agent.listen[0];
	struct err e = { "" };

	if (!family_is_there(family)) {
		ok(true, "%s # SKIP this machine has no such family", what);
		return;
	}
	agent.config.agent.listen_count = 1;
	snprintf(address->host, sizeof(address->host), "%s", host);
	strcpy(address->port, "0");
	ok(!listen_start(&agent, &e) && agent.listeners, "%s %s", what, e.text);
	listen_stop(&agent);
}

int main(void)
{
	struct err e;

	log_open("test_listen", LOG_LEVEL_ERROR);
	if (loop_init(&agent.loop, &e)) {
		printf("1..0 # SKIP %s\n", e.text);
		return 0;
	}
	listens("", AF_INET, "every address");
	listens("127.0.0.1", AF_INET, "one that is there");
	/* RFC 5737 and RFC 3849: nobody has them. */
	listens("192.0.2.77", AF_INET, "one that is not there yet");
	listens("2001:db8::77", AF_INET6, "nor is this");
	loop_exit(&agent.loop);
	return tap_end();
}
