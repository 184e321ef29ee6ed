// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Looking up a peer's name: what it takes of memory, which is locked, and that the
 * answer comes back.
 * needs: userspace/agent/arbiter.c userspace/agent/register.c userspace/agent/ask.c userspace/agent/witness.c
 * needs: userspace/agent/verify.c userspace/agent/judge.c userspace/agent/compare.c userspace/agent/sums.c
 * needs: userspace/agent/core.c userspace/agent/notice.c userspace/agent/takeover.c userspace/agent/session.c userspace/agent/pair.c userspace/agent/redo.c userspace/agent/lead.c userspace/agent/roll.c userspace/agent/lag.c userspace/agent/comeback.c
 * needs: userspace/agent/follow.c userspace/agent/task.c userspace/agent/promote.c userspace/agent/verdict.c userspace/agent/replace.c userspace/agent/member.c userspace/agent/survey.c userspace/agent/nodes.c userspace/agent/roster.c userspace/agent/resize.c userspace/agent/resolve.c userspace/agent/save.c
 * needs: userspace/agent/copy.c userspace/agent/msg.c userspace/agent/action.c userspace/agent/agent.c userspace/agent/helper.c userspace/agent/hook.c userspace/agent/hookq.c
 * needs: userspace/agent/loop.c userspace/agent/conn.c userspace/agent/greet.c userspace/agent/link.c
 * needs: userspace/agent/dial.c userspace/agent/kops.c userspace/agent/delta.c userspace/agent/mapsend.c
 * needs: userspace/agent/apply.c userspace/agent/stage.c userspace/agent/bring.c userspace/agent/control.c userspace/agent/status.c
 * needs: userspace/agent/tls.c userspace/agent/ktls.c userspace/agent/digest.c userspace/agent/suspect.c
 */
#include <netdb.h>
#include <pthread.h>

#include "agent.h"
#include "dial.h"
#include "log.h"

#include "tap.h"

static struct agent agent;
static const struct core_peer *peer;
static size_t stack;		/* of the thread that looked up */
static unsigned int answers;
static char answer[300];

/* In place of the library's: a name server that knows nobody. */
int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
		struct addrinfo **result)
{
	pthread_attr_t attr;

	(void)host;
	(void)port;
	(void)result;
	if (hints->ai_flags & AI_NUMERICHOST)
		return EAI_NONAME;
	pthread_getattr_np(pthread_self(), &attr);
	pthread_attr_getstacksize(&attr, &stack);
	pthread_attr_destroy(&attr);
	return EAI_NONAME;
}

static void resolved(void *arg, const struct sockaddr *address, socklen_t length,
		     const char *where, const char *why)
{
	(void)arg;
	(void)address;
	(void)length;
	(void)where;
	answers++;
	snprintf(answer, sizeof(answer), "%s", why ? why : "");
}

static void name(void)
{
	struct dial *handle;

	dial_start(&agent, peer, resolved, NULL, &handle);
	ok(!answers && handle, "a name is looked up in the background");
	for (int i = 0; i < 1000 && !answers; i++)
		loop_run(&agent.loop, 10);
	ok(answers == 1 && !handle && strstr(answer, "mail2's address mail.invalid cannot be found"),
	   "and whoever asked is told: %s", answer);
	ok(stack && stack <= DIAL_STACK, "it takes at most 256 KiB: %zu", stack);
}

static uint64_t random64(void *arg)
{
	(void)arg;
	return 1;
}

int main(void)
{
	static const uint8_t mine[REPL_KEY_BYTES] = { 5 }, theirs[REPL_KEY_BYTES] = { 9 };
	struct config_peer *p = &agent.config.agent.peer[0];
	struct err e;

	log_open("test_dial", LOG_LEVEL_ERROR);
	if (loop_init(&agent.loop, &e)) {
		printf("1..0 # SKIP %s\n", e.text);
		return 0;
	}
	core_init(&agent.core, "mail1", mine, random64, NULL);
	peer = core_peer_add(&agent.core, "mail2", theirs);
	memcpy(p->key.b, theirs, sizeof(theirs));
	snprintf(p->address.host, sizeof(p->address.host), "mail.invalid");
	snprintf(p->address.port, sizeof(p->address.port), "7788");
	agent.config.agent.peer_count = 1;
	need(!dial_init(&agent, &e), e.text);
	name();
	dial_exit(&agent);
	core_exit(&agent.core);
	loop_exit(&agent.loop);
	return tap_end();
}
