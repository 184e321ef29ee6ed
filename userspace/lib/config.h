/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The configuration: DIR/agent.conf for the node and DIR/volumes/NAME.conf for
 * each volume.  repl.conf(5) describes the keys.
 */
#ifndef REPL_CONFIG_H
#define REPL_CONFIG_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/un.h>

#include <linux/repl.h>
#include <repl/format.h>
#include <repl/wire.h>

#include "err.h"
#include "key.h"

#define CONFIG_DIR	"/etc/repl"
#define CONFIG_SOCKET	"/run/repl/agent.sock"
#define CONFIG_FAILOVER	"/run/repl-failover.sock"
#define CONFIG_PORT	"7788"
#define CONFIG_SAVE_DIR	"/var/lib/repl/saved"
#define CONFIG_STAGING_SIZE	(4ULL << 30)
#define CONFIG_STAGING_DIR	"/var/lib/repl/staging"

enum config_limits {
	CONFIG_LISTEN_MAX	= 8,
	CONFIG_PEERS_MAX	= 32,	/* of a node */
	CONFIG_HOST_MAX		= 256,
	CONFIG_PORT_MAX		= 6,
	CONFIG_WHERE_MAX	= 512,
	CONFIG_SAVE_DIR_MAX	= 256,
	CONFIG_STAGING_DIR_MAX	= CONFIG_SAVE_DIR_MAX,
	CONFIG_JOIN_LIMIT_MS	= 200,
	CONFIG_TAKEOVER_MS	= 30000,
	CONFIG_INTERVAL_MS	= 1000,
};

/* Where to listen or to connect to; text for getaddrinfo(), not resolved here. */
struct config_address {
	char host[CONFIG_HOST_MAX];	/* without the [] of IPv6; "" is every address */
	char port[CONFIG_PORT_MAX];
};

/* A node that this one talks to: [peer "NAME"] of agent.conf. */
struct config_peer {
	char name[REPL_NODE_MAX];
	struct config_address address;
	struct key_public key;
	unsigned int line;		/* of the section in agent.conf */
};

struct config_agent {
	char path[PATH_MAX];		/* of the file */
	char name[REPL_NODE_MAX];
	char key_path[PATH_MAX];
	char socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char failover_socket[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct config_address listen[CONFIG_LISTEN_MAX];
	size_t listen_count;
	struct config_peer peer[CONFIG_PEERS_MAX];
	size_t peer_count;
};

enum config_mode {
	CONFIG_MODE_SYNC = 1,
	CONFIG_MODE_ROLLING,		/* behind by an epoch, on purpose */
};

enum config_arbiter {
	CONFIG_ARBITER_NONE,
	CONFIG_ARBITER_NODE,
	CONFIG_ARBITER_COMMAND,
};

enum config_encryption {
	CONFIG_ENCRYPTION_TLS,
	CONFIG_ENCRYPTION_NONE,
};

/* A copy of the volume elsewhere: [peer "NAME"] of a volume's file. */
struct config_volume_peer {
	char name[REPL_NODE_MAX];	/* of a config_peer */
	enum config_mode mode;
	uint32_t interval_ms;		/* of epochs, when it is rolling */
	uint32_t lag_bound_ms;		/* of its copy's age; 0: not said */
	bool save_and_follow;		/* an old primary that is back: on-return */
	bool throttle;			/* writes wait for it: on-lag */
	unsigned int line;
};

struct config_volume {
	char path[PATH_MAX];		/* of the file */
	char name[REPL_NAME_MAX];
	char device[PATH_MAX];
	char metadata[PATH_MAX];	/* "" is internal */
	uint32_t minor;
	enum repl_on_peer_loss on_peer_loss;	/* REPL_LOSS_ARBITER if there is one */
	enum config_arbiter arbiter;
	char arbiter_is[PATH_MAX];	/* a config_peer's name, or an absolute path */
	bool takeover;			/* by itself */
	uint32_t takeover_ms;		/* after the primary is gone for so long */
	enum config_encryption encryption;	/* of the links */
	uint32_t join_limit_ms;
	uint32_t timeout_ms;
	uint32_t stuck_timeout_ms;
	uint64_t rate_limit;		/* bytes/s of catch-up; 0 is none */
	char staging_dir[CONFIG_STAGING_DIR_MAX];	/* where deltas wait */
	uint64_t staging_size;		/* bytes of them, at most */
	bool direct_apply;		/* what does not fit there is applied as it comes */
	char save_dir[CONFIG_SAVE_DIR_MAX];	/* for what a split's loser had alone */
	struct config_volume_peer peer[REPL_SLOTS_MAX];
	size_t peer_count;
	bool bad;			/* a mistake in it, or against another one, was reported */
};

struct config {
	char dir[PATH_MAX];
	bool agent_good;		/* no mistake in agent.conf itself */
	struct config_agent agent;
	struct config_volume *volume;	/* ordered by file name */
	size_t volume_count;
};

/* Told of each problem: one sentence that starts with "file:line: " or "file: ". */
typedef void config_report(void *arg, const char *text);

/**
 * config_load - read and check all files of a configuration directory
 * @dir: normally CONFIG_DIR
 * @c: filled; release with config_free() also after a failure
 * @report: called for every problem, not only the first
 * @arg: for @report
 *
 * Checks each file, and that every volume's peers are known to agent.conf and
 * that no two volumes ask for the same minor or device.  Opens no device.
 * Return: 0, -EINVAL after problems were reported, or -ENOMEM.
 */
int config_load(const char *dir, struct config *c, config_report *report, void *arg);

/**
 * config_keep_good - go on without the volumes that have a mistake
 * @c: what config_load() has returned -EINVAL for
 * @old: what @c is to take the place of, or NULL: a volume that is bad stays as it is there
 * @left_out: told the name of each volume that is bad; of two that ask for the same
 *	device or minor, both are: which one was meant cannot be known
 * @arg: for @left_out
 *
 * Return: whether anything is left to go on with: false when agent.conf is bad.
 */
bool config_keep_good(struct config *c, const struct config *old, config_report *left_out,
		      void *arg);

/** config_free - release what config_load() took */
void config_free(struct config *c);

/**
 * config_check_devices - what only this machine can tell, and what a volume is not left out for
 *
 * Reports a backing or metadata device that is missing or is no block device,
 * and a key file that key_load_private() refuses.
 * Return: 0, or -EINVAL after problems were reported.
 */
int config_check_devices(const struct config *c, config_report *report, void *arg);

/** config_load_agent - read DIR/agent.conf alone: enough to find the agent's socket */
int config_load_agent(const char *dir, struct config_agent *a, config_report *report, void *arg);

/** config_parse_agent - the same from memory; @path is used in messages only */
int config_parse_agent(const char *text, size_t length, const char *path,
		       struct config_agent *a, config_report *report, void *arg);

/**
 * config_parse_volume - a volume's file from memory
 * @path: its base name, without ".conf", becomes the volume's name
 */
int config_parse_volume(const char *text, size_t length, const char *path,
			struct config_volume *v, config_report *report, void *arg);

/** config_parse_address - "host:port", "[v6]:port", "host", ":port". Return: 0 or -EINVAL. */
int config_parse_address(const char *text, struct config_address *a);

/** config_valid_name - letters, digits, "._-", starts with a letter or digit, 1..63 bytes */
bool config_valid_name(const char *name);

/** config_find_volume - by name, or NULL */
const struct config_volume *config_find_volume(const struct config *c, const char *name);

/** config_find_peer - by name, or NULL */
const struct config_peer *config_find_peer(const struct config_agent *a, const char *name);

/** config_find_peer_key - by public key, or NULL */
const struct config_peer *config_find_peer_key(const struct config_agent *a,
					       const uint8_t key[REPL_KEY_BYTES]);

/* sense.c: whether what a volume's file says, each line of it right by itself, makes sense together. */

/** sense_say - report a problem. Return: 1, as a caller counts. */
unsigned int sense_say(config_report *report, void *arg, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/**
 * sense_live - more sync peers than can be live at a time
 *
 * No reason to leave the volume out: the others are served, and who is one too many waits
 * until another one has gone. Return: how many problems.
 */
unsigned int sense_live(const struct config_volume *v, config_report *report, void *arg);

/** sense_volume - and settle what one line means in the light of others. Return: how many problems. */
unsigned int sense_volume(struct config_volume *v, config_report *report, void *arg);

#endif /* REPL_CONFIG_H */
