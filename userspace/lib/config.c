// SPDX-License-Identifier: GPL-2.0-or-later
#include "config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rules.h"
#include "units.h"

enum config_bounds {
	CONFIG_FILE_MAX = 1 << 20,
};

static const char config_suffix[] = ".conf";

/* -- values ---------------------------------------------------------------- */

bool config_valid_name(const char *name)
{
	size_t length = strlen(name);

	if (!length || length >= REPL_NAME_MAX || !isalnum((unsigned char)name[0]))
		return false;
	for (; *name; name++) {
		if (!isascii(*name) || (!isalnum((unsigned char)*name) && !strchr("._-", *name)))
			return false;
	}
	return true;
}

static bool valid_port(const char *port)
{
	size_t length = strlen(port);

	return length && length < CONFIG_PORT_MAX && strspn(port, "0123456789") == length &&
	       atoi(port) > 0 && atoi(port) < 65536;
}

static bool is_ipv6(const char *text)
{
	struct in6_addr address;

	return inet_pton(AF_INET6, text, &address) == 1;
}

int config_parse_address(const char *text, struct config_address *a)
{
	const char *colon = strrchr(text, ':');
	const char *port = CONFIG_PORT;
	const char *host = text;
	size_t length = strlen(text);

	if (*text == '[') {
		const char *close = strchr(text, ']');

		if (!close || (close[1] && close[1] != ':'))
			return -EINVAL;
		if (close[1])
			port = close + 2;
		host = text + 1;
		length = close - host;
		if (!length)
			return -EINVAL;
	} else if (colon && colon == strchr(text, ':')) {
		port = colon + 1;
		length = colon - text;
	}
	/* Several colons outside of brackets: nothing but a bare IPv6 address has them. */
	if (!*text || (host == text && memchr(host, ':', length) && !is_ipv6(text)))
		return -EINVAL;
	if (length >= sizeof(a->host) || !valid_port(port))
		return -EINVAL;
	if (memchr(host, ' ', length) || memchr(host, '[', length) || memchr(host, '/', length))
		return -EINVAL;
	memcpy(a->host, host, length);
	a->host[length] = '\0';
	strcpy(a->port, port);
	return 0;
}

static int set_name(void *field, const char *value)
{
	if (!config_valid_name(value))
		return -EINVAL;
	strcpy(field, value);
	return 0;
}

static int set_path(void *field, const char *value)
{
	if (*value != '/' || strlen(value) >= PATH_MAX)
		return -EINVAL;
	strcpy(field, value);
	return 0;
}

static int set_socket(void *field, const char *value)
{
	if (*value != '/' || strlen(value) >= sizeof(((struct config_agent *)0)->socket))
		return -EINVAL;
	strcpy(field, value);
	return 0;
}

static int set_listen(void *object, const char *value)
{
	struct config_agent *a = object;

	if (a->listen_count == CONFIG_LISTEN_MAX)
		return -E2BIG;
	if (config_parse_address(value, &a->listen[a->listen_count]))
		return -EINVAL;
	a->listen_count++;
	return 0;
}

static int set_address(void *field, const char *value)
{
	struct config_address *a = field;

	return config_parse_address(value, a) || !a->host[0] ? -EINVAL : 0;
}

static int set_key(void *field, const char *value)
{
	struct key_public *key = field;

	return key_decode(value, key->b);
}

static int set_minor(void *field, const char *value)
{
	unsigned long minor;
	char *end;

	if (!isdigit((unsigned char)*value))
		return -EINVAL;
	errno = 0;
	minor = strtoul(value, &end, 10);
	if (errno || *end || minor >= REPL_MINORS_MAX)
		return -EINVAL;
	*(uint32_t *)field = minor;
	return 0;
}

static int set_on_peer_loss(void *field, const char *value)
{
	enum repl_on_peer_loss *policy = field;

	if (strcmp(value, "continue") == 0)
		*policy = REPL_LOSS_CONTINUE;
	else if (strcmp(value, "freeze") == 0)
		*policy = REPL_LOSS_FREEZE;
	else
		return -EINVAL;
	return 0;
}

static int set_arbiter(void *object, const char *value)
{
	struct config_volume *v = object;

	v->arbiter_is[0] = '\0';
	v->arbiter = CONFIG_ARBITER_NONE;
	if (strcmp(value, "none") == 0)
		return 0;
	if (strncmp(value, "node:", 5) == 0) {
		v->arbiter = CONFIG_ARBITER_NODE;
		return set_name(v->arbiter_is, value + 5);
	}
	if (strncmp(value, "command:", 8) != 0)
		return -EINVAL;
	v->arbiter = CONFIG_ARBITER_COMMAND;
	return set_path(v->arbiter_is, value + 8);
}

static int set_takeover(void *field, const char *value)
{
	if (strcmp(value, "auto") != 0 && strcmp(value, "manual") != 0)
		return -EINVAL;
	*(bool *)field = strcmp(value, "auto") == 0;
	return 0;
}

static int set_encryption(void *field, const char *value)
{
	enum config_encryption *encryption = field;

	if (strcmp(value, "tls") == 0)
		*encryption = CONFIG_ENCRYPTION_TLS;
	else if (strcmp(value, "none") == 0)
		*encryption = CONFIG_ENCRYPTION_NONE;
	else
		return -EINVAL;
	return 0;
}

static int set_mode(void *field, const char *value)
{
	enum config_mode *mode = field;

	if (strcmp(value, "sync") == 0)
		*mode = CONFIG_MODE_SYNC;
	else if (strcmp(value, "rolling") == 0)
		*mode = CONFIG_MODE_ROLLING;
	else
		return -EINVAL;
	return 0;
}

static int set_ms(void *field, const char *value, uint64_t min, uint64_t max)
{
	uint64_t ms;

	if (units_parse_duration(value, &ms) || ms < min || ms > max)
		return -EINVAL;
	*(uint32_t *)field = ms;
	return 0;
}

static int set_join_limit(void *field, const char *value)
{
	return set_ms(field, value, 1, REPL_DEADLINE_MAX_MS);
}

static int set_interval(void *field, const char *value)
{
	return set_ms(field, value, 100, 3600 * 1000);
}

static int set_lag_bound(void *field, const char *value)
{
	return set_ms(field, value, 500, 24 * 3600 * 1000);
}

static int set_on_lag(void *field, const char *value)
{
	if (strcmp(value, "alarm") && strcmp(value, "throttle"))
		return -EINVAL;
	*(bool *)field = *value == 't';
	return 0;
}

static int set_on_return(void *field, const char *value)
{
	if (strcmp(value, "wait") && strcmp(value, "save-and-follow"))
		return -EINVAL;
	*(bool *)field = *value == 's';
	return 0;
}

static int set_takeover_after(void *field, const char *value)
{
	return set_ms(field, value, 1000, 24 * 3600 * 1000);
}

static int set_timeout(void *field, const char *value)
{
	return set_ms(field, value, REPL_TIMEOUT_MIN_MS, REPL_TIMEOUT_MAX_MS);
}

static int set_rate(void *field, const char *value)
{
	return units_parse_rate(value, field);
}

static int set_save_dir(void *field, const char *value)
{
	size_t length = strlen(value);

	if (*value != '/' || length >= CONFIG_SAVE_DIR_MAX)
		return -EINVAL;
	memcpy(field, value, length + 1);
	return 0;
}

static int set_staging_size(void *field, const char *value)
{
	uint64_t bytes;

	if (units_parse_size(value, &bytes) || bytes < 1 << 20)
		return -EINVAL;
	memcpy(field, &bytes, sizeof(bytes));
	return 0;
}

static int set_yes_no(void *field, const char *value)
{
	if (strcmp(value, "yes") && strcmp(value, "no"))
		return -EINVAL;
	*(bool *)field = *value == 'y';
	return 0;
}

/* -- agent.conf ------------------------------------------------------------ */

#define KEY(type, member, name, flags, set, expected) \
	{ name, flags, offsetof(struct type, member), set, expected }

static const char expected_name[] =
	"a name: letters, digits, '.', '_', '-', at most 63, a letter or digit first";

static const struct rules_key node_keys[] = {
	KEY(config_agent, name, "name", RULES_REQUIRED, set_name, expected_name),
	KEY(config_agent, key_path, "key", RULES_REQUIRED, set_path,
	    "the absolute path of this node's private key"),
	{ "listen", RULES_REPEAT, 0, set_listen,
	  "address:port, [IPv6]:port or :port, at most 8 of them" },
	KEY(config_agent, socket, "socket", 0, set_socket,
	    "an absolute path of at most 107 bytes"),
	KEY(config_agent, failover_socket, "failover-socket", 0, set_socket,
	    "an absolute path of at most 107 bytes"),
	{}
};

static const struct rules_key peer_keys[] = {
	KEY(config_peer, address, "address", RULES_REQUIRED, set_address,
	    "host:port, host or [IPv6]:port"),
	KEY(config_peer, key, "public-key", RULES_REQUIRED, set_key,
	    "the peer's public key, 44 base64 characters, as repl-ctl pubkey prints it"),
	{}
};

static void *open_node(void *root, const char *label, unsigned int line, const char **why)
{
	(void)label;
	(void)line;
	(void)why;
	return root;
}

static void *open_peer(void *root, const char *label, unsigned int line, const char **why)
{
	struct config_agent *a = root;
	struct config_peer *p;

	if (!config_valid_name(label)) {
		*why = "is no name: letters, digits, '.', '_', '-' are";
		return NULL;
	}
	if (config_find_peer(a, label)) {
		*why = "this peer has a section already";
		return NULL;
	}
	if (a->peer_count == CONFIG_PEERS_MAX) {
		*why = "too many peers: 32 are the limit";
		return NULL;
	}
	p = &a->peer[a->peer_count++];
	strcpy(p->name, label);
	p->line = line;
	return p;
}

static const struct rules_section agent_sections[] = {
	{ "node", 0, RULES_REQUIRED, open_node, node_keys },
	{ "peer", 1, 0, open_peer, peer_keys },
	{}
};

static unsigned int check_peers(const struct config_agent *a, config_report *report, void *arg)
{
	static const struct key_public unset;
	unsigned int problems = 0;

	for (size_t i = 0; i < a->peer_count; i++) {
		const struct config_peer *p = &a->peer[i];

		if (strcmp(p->name, a->name) == 0) {
			sense_say(report, arg, "%s:%u: [peer \"%s\"] is this node itself", a->path,
				  p->line, p->name);
			problems++;
		}
		for (size_t j = 0; j < i; j++) {
			if (!key_public_equal(&p->key, &a->peer[j].key) ||
			    key_public_equal(&p->key, &unset))
				continue;
			sense_say(report, arg, "%s:%u: [peer \"%s\"] has the public key of [peer \"%s\"]",
				  a->path, p->line, p->name, a->peer[j].name);
			problems++;
		}
	}
	return problems;
}

int config_parse_agent(const char *text, size_t length, const char *path,
		       struct config_agent *a, config_report *report, void *arg)
{
	unsigned int problems;

	memset(a, 0, sizeof(*a));
	snprintf(a->path, sizeof(a->path), "%s", path);
	strcpy(a->socket, CONFIG_SOCKET);
	strcpy(a->failover_socket, CONFIG_FAILOVER);
	problems = rules_parse(text, length, path, agent_sections, a, report, arg);
	if (!a->listen_count) {
		strcpy(a->listen[0].port, CONFIG_PORT);
		a->listen_count = 1;
	}
	problems += check_peers(a, report, arg);
	return problems ? -EINVAL : 0;
}

/* -- volumes --------------------------------------------------------------- */

static const char expected_timeout[] = "a time from 500ms to 10min, such as 10s";

static const struct rules_key volume_keys[] = {
	KEY(config_volume, device, "device", RULES_REQUIRED, set_path,
	    "the absolute path of the backing device"),
	KEY(config_volume, metadata, "metadata", 0, set_path,
	    "the absolute path of the metadata device"),
	KEY(config_volume, minor, "minor", RULES_REQUIRED, set_minor,
	    "a number from 0 to 1023: the N of /dev/replN"),
	KEY(config_volume, on_peer_loss, "on-peer-loss", 0, set_on_peer_loss,
	    "continue or freeze"),
	{ "arbiter", 0, 0, set_arbiter, "none, node:NAME or command:/PATH" },
	KEY(config_volume, takeover, "takeover", 0, set_takeover, "manual or auto"),
	KEY(config_volume, takeover_ms, "takeover-after", 0, set_takeover_after,
	    "a time from 1s to 24h, such as 30s"),
	KEY(config_volume, encryption, "encryption", 0, set_encryption, "tls or none"),
	KEY(config_volume, join_limit_ms, "join-limit", 0, set_join_limit,
	    "a time from 1ms to 1min, such as 200ms"),
	KEY(config_volume, timeout_ms, "timeout", 0, set_timeout, expected_timeout),
	KEY(config_volume, stuck_timeout_ms, "stuck-timeout", 0, set_timeout, expected_timeout),
	KEY(config_volume, rate_limit, "rate-limit", 0, set_rate,
	    "none, or a rate such as 100 MiB/s"),
	KEY(config_volume, save_dir, "save-dir", 0, set_save_dir,
	    "the absolute path of a directory, at most 255 bytes"),
	KEY(config_volume, staging_dir, "staging-dir", 0, set_save_dir,
	    "the absolute path of a directory, at most 255 bytes"),
	KEY(config_volume, staging_size, "staging-size", 0, set_staging_size,
	    "a size of at least 1 MiB, such as 4 GiB"),
	KEY(config_volume, direct_apply, "direct-apply", 0, set_yes_no, "yes or no"),
	{}
};

static const struct rules_key volume_peer_keys[] = {
	KEY(config_volume_peer, mode, "mode", 0, set_mode, "sync or rolling"),
	KEY(config_volume_peer, interval_ms, "interval", 0, set_interval,
	    "a time from 100ms to 1h, such as 1s"),
	KEY(config_volume_peer, lag_bound_ms, "lag-bound", 0, set_lag_bound,
	    "a time from 500ms to 24h, such as 30s"),
	KEY(config_volume_peer, throttle, "on-lag", 0, set_on_lag, "alarm or throttle"),
	KEY(config_volume_peer, save_and_follow, "on-return", 0, set_on_return, "wait or save-and-follow"),
	{}
};

static void *open_volume(void *root, const char *label, unsigned int line, const char **why)
{
	(void)label;
	(void)line;
	(void)why;
	return root;
}

static void *open_volume_peer(void *root, const char *label, unsigned int line, const char **why)
{
	struct config_volume *v = root;
	struct config_volume_peer *p;

	if (!config_valid_name(label)) {
		*why = "is no name: letters, digits, '.', '_', '-' are";
		return NULL;
	}
	for (size_t i = 0; i < v->peer_count; i++) {
		if (strcmp(v->peer[i].name, label) == 0) {
			*why = "this peer has a section already";
			return NULL;
		}
	}
	if (v->peer_count == REPL_SLOTS_MAX) {
		*why = "too many peers: a volume has at most 16 slots";
		return NULL;
	}
	p = &v->peer[v->peer_count++];
	strcpy(p->name, label);
	p->mode = CONFIG_MODE_SYNC;
	p->interval_ms = CONFIG_INTERVAL_MS;
	p->line = line;
	return p;
}

static const struct rules_section volume_sections[] = {
	{ "volume", 0, RULES_REQUIRED, open_volume, volume_keys },
	{ "peer", 1, 0, open_volume_peer, volume_peer_keys },
	{}
};

/* Takes the volume's name from its file's. */
static int name_from_path(const char *path, char name[REPL_NAME_MAX])
{
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	size_t length = strlen(base);
	size_t suffix = sizeof(config_suffix) - 1;

	if (length > suffix && strcmp(base + length - suffix, config_suffix) == 0)
		length -= suffix;
	if (length >= REPL_NAME_MAX)
		return -EINVAL;
	memcpy(name, base, length);
	name[length] = '\0';
	return config_valid_name(name) ? 0 : -EINVAL;
}

int config_parse_volume(const char *text, size_t length, const char *path,
			struct config_volume *v, config_report *report, void *arg)
{
	unsigned int problems = 0;

	memset(v, 0, sizeof(*v));
	snprintf(v->path, sizeof(v->path), "%s", path);
	v->join_limit_ms = CONFIG_JOIN_LIMIT_MS;
	v->timeout_ms = REPL_TIMEOUT_MS;
	v->stuck_timeout_ms = REPL_STUCK_MS;
	v->minor = REPL_MINORS_MAX;
	v->on_peer_loss = REPL_LOSS_ARBITER;
	v->takeover_ms = CONFIG_TAKEOVER_MS;
	strcpy(v->save_dir, CONFIG_SAVE_DIR);
	strcpy(v->staging_dir, CONFIG_STAGING_DIR);
	v->staging_size = CONFIG_STAGING_SIZE;
	v->direct_apply = true;
	if (name_from_path(path, v->name)) {
		sense_say(report, arg, "%s: the file's name gives no volume name; expected %s", path,
			  expected_name);
		problems++;
	}
	problems += rules_parse(text, length, path, volume_sections, v, report, arg);
	problems += sense_volume(v, report, arg);
	return problems ? -EINVAL : 0;
}

/* -- files ----------------------------------------------------------------- */

/* Return: the bytes read, or -EINVAL after a report, or -ENOMEM. */
static ssize_t read_file(const char *path, char **text, config_report *report, void *arg)
{
	FILE *f = fopen(path, "re");
	size_t got;

	if (!f) {
		sense_say(report, arg, "%s: %s", path, strerror(errno));
		return -EINVAL;
	}
	*text = malloc(CONFIG_FILE_MAX + 1);
	if (!*text) {
		fclose(f);
		return -ENOMEM;
	}
	got = fread(*text, 1, CONFIG_FILE_MAX + 1, f);
	if (ferror(f)) {
		sense_say(report, arg, "%s: %s", path, strerror(errno));
		goto free_text;
	}
	if (got > CONFIG_FILE_MAX) {
		sense_say(report, arg, "%s: longer than 1 MiB; this is no configuration", path);
		goto free_text;
	}
	fclose(f);
	return got;

free_text:
	fclose(f);
	free(*text);
	return -EINVAL;
}

int config_load_agent(const char *dir, struct config_agent *a, config_report *report, void *arg)
{
	char path[PATH_MAX];
	ssize_t length;
	char *text;
	int ret;

	memset(a, 0, sizeof(*a));
	if (snprintf(path, sizeof(path), "%s/agent.conf", dir) >= (int)sizeof(path)) {
		sense_say(report, arg, "%s: the name of this directory is too long", dir);
		return -EINVAL;
	}
	length = read_file(path, &text, report, arg);
	if (length < 0)
		return length;
	ret = config_parse_agent(text, length, path, a, report, arg);
	free(text);
	return ret;
}

static int load_volume(struct config *c, const char *file, config_report *report, void *arg)
{
	struct config_volume *grown;
	char path[PATH_MAX];
	ssize_t length;
	char *text;
	int ret;

	if (snprintf(path, sizeof(path), "%s/volumes/%s", c->dir, file) >= (int)sizeof(path)) {
		sense_say(report, arg, "%s/volumes: the name of a file in it is too long", c->dir);
		return -EINVAL;
	}
	grown = reallocarray(c->volume, c->volume_count + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	c->volume = grown;
	length = read_file(path, &text, report, arg);
	if (length < 0) {
		/* Known by its name, so that it stays what it was: config_keep_good(). */
		config_parse_volume("", 0, path, &grown[c->volume_count], NULL, NULL);
		grown[c->volume_count++].bad = true;
		return length;
	}
	ret = config_parse_volume(text, length, path, &grown[c->volume_count], report, arg);
	grown[c->volume_count++].bad = ret;
	free(text);
	return ret;
}

/* Editors leave "x.conf~" and ".x.conf.swp" behind: those are no volumes. */
static int is_volume_file(const struct dirent *d)
{
	size_t length = strlen(d->d_name);
	size_t suffix = sizeof(config_suffix) - 1;

	return d->d_name[0] != '.' && length > suffix &&
	       strcmp(d->d_name + length - suffix, config_suffix) == 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int load_volumes(struct config *c, config_report *report, void *arg)
{
	struct dirent **entry;
	char path[PATH_MAX];
	int result = 0;
	int count;

	if (snprintf(path, sizeof(path), "%s/volumes", c->dir) >= (int)sizeof(path)) {
		sense_say(report, arg, "%s: the name of this directory is too long", c->dir);
		return -EINVAL;
	}
	count = scandir(path, &entry, is_volume_file, by_bytes);
	if (count < 0 && errno == ENOENT)
		return 0;	/* a node without volumes yet */
	if (count < 0) {
		sense_say(report, arg, "%s: %s", path, strerror(errno));
		return -EINVAL;
	}
	for (int i = 0; i < count; i++) {
		int ret = result == -ENOMEM ? result :
			  load_volume(c, entry[i]->d_name, report, arg);

		if (ret)
			result = ret;
		free(entry[i]);
	}
	free(entry);
	return result;
}

/* -- across files ---------------------------------------------------------- */

static unsigned int check_pair(struct config_volume *a, struct config_volume *b,
			       config_report *report, void *arg)
{
	unsigned int problems = 0;

	if (a->minor == b->minor && a->minor < REPL_MINORS_MAX) {
		sense_say(report, arg, "%s: minor %u is also asked for by %s; give one of them another",
			  b->path, b->minor, a->path);
		problems++;
	}
	if (b->device[0] && strcmp(a->device, b->device) == 0) {
		sense_say(report, arg, "%s: device %s is also used by %s; give each volume its own", b->path,
			  b->device, a->path);
		problems++;
	}
	if (b->metadata[0] &&
	    (strcmp(a->metadata, b->metadata) == 0 || strcmp(a->device, b->metadata) == 0)) {
		sense_say(report, arg, "%s: metadata %s is also used by %s; give each volume its own",
			  b->path, b->metadata, a->path);
		problems++;
	}
	if (a->metadata[0] && strcmp(a->metadata, b->device) == 0) {
		sense_say(report, arg, "%s: device %s is the metadata of %s; give each volume its own", b->path,
			  b->device, a->path);
		problems++;
	}
	if (problems)
		a->bad = b->bad = true;
	return problems;
}

static unsigned int check_across(struct config *c, config_report *report, void *arg)
{
	unsigned int problems = 0;

	for (size_t i = 0; i < c->volume_count; i++) {
		struct config_volume *v = &c->volume[i];

		for (size_t j = 0; j < i; j++)
			problems += check_pair(&c->volume[j], v, report, arg);
		if (v->arbiter == CONFIG_ARBITER_NODE &&
		    !config_find_peer(&c->agent, v->arbiter_is)) {
			problems += sense_say(report, arg, "%s: arbiter = node:%s has no section in %s; add "
					      "[peer \"%s\"] there", v->path, v->arbiter_is, c->agent.path,
					      v->arbiter_is);
			v->bad = true;
		}
		for (size_t j = 0; j < v->peer_count; j++) {
			if (config_find_peer(&c->agent, v->peer[j].name))
				continue;
			sense_say(report, arg,
				  "%s:%u: peer %s has no section in %s; add [peer \"%s\"] there",
				  v->path, v->peer[j].line, v->peer[j].name, c->agent.path,
				  v->peer[j].name);
			v->bad = true;
			problems++;
		}
	}
	return problems;
}

int config_load(const char *dir, struct config *c, config_report *report, void *arg)
{
	int agent_ret, ret;

	memset(c, 0, sizeof(*c));
	if (snprintf(c->dir, sizeof(c->dir), "%s", dir) >= (int)sizeof(c->dir)) {
		sense_say(report, arg, "%s: the name of this directory is too long", dir);
		return -EINVAL;
	}
	agent_ret = config_load_agent(dir, &c->agent, report, arg);
	if (agent_ret == -ENOMEM)
		return -ENOMEM;
	ret = load_volumes(c, report, arg);
	if (ret == -ENOMEM)
		return -ENOMEM;
	/* With agent.conf in doubt every peer would look unknown. */
	if (agent_ret)
		return agent_ret;
	c->agent_good = true;
	if (check_across(c, report, arg))
		return -EINVAL;
	return ret;
}

bool config_keep_good(struct config *c, const struct config *old, config_report *left_out,
		      void *arg)
{
	size_t kept = 0;

	if (!c->agent_good)
		return false;
	for (size_t i = 0; i < c->volume_count; i++) {
		const struct config_volume *v = &c->volume[i];

		if (v->bad) {
			left_out(arg, v->name);
			v = old ? config_find_volume(old, v->name) : NULL;
		}
		if (v)
			memmove(&c->volume[kept++], v, sizeof(*v));
	}
	c->volume_count = kept;
	return true;
}

void config_free(struct config *c)
{
	free(c->volume);
	c->volume = NULL;
	c->volume_count = 0;
}

static unsigned int check_block_device(const char *file, const char *key, const char *path,
				       dev_t *number, config_report *report, void *arg)
{
	struct stat st;

	*number = 0;
	if (stat(path, &st) < 0) {
		sense_say(report, arg, "%s: %s %s: %s; create it, or correct %s =", file, key, path,
			  strerror(errno), key);
		return 1;
	}
	if (!S_ISBLK(st.st_mode)) {
		sense_say(report, arg, "%s: %s %s is no block device; correct %s =", file, key, path, key);
		return 1;
	}
	*number = st.st_rdev;
	return 0;
}

int config_check_devices(const struct config *c, config_report *report, void *arg)
{
	dev_t *used = calloc(c->volume_count + 1, sizeof(*used));
	struct key_private key;
	unsigned int problems = 0;
	struct err e;
	dev_t meta;

	if (!used)
		return -ENOMEM;
	if (key_load_private(c->agent.key_path, &key, &e))
		problems += sense_say(report, arg, "%s: key: %s", c->agent.path, e.text);
	key_wipe(&key, sizeof(key));
	for (size_t i = 0; i < c->volume_count; i++) {
		const struct config_volume *v = &c->volume[i];

		problems += sense_live(v, report, arg);
		problems += check_block_device(v->path, "device", v->device, &used[i], report, arg);
		if (v->arbiter == CONFIG_ARBITER_COMMAND && access(v->arbiter_is, X_OK))
			problems += sense_say(report, arg, "%s: arbiter = command:%s: %s; it must be there, and "
					      "executable", v->path, v->arbiter_is, strerror(errno));
		if (v->metadata[0])
			problems += check_block_device(v->path, "metadata", v->metadata, &meta,
						       report, arg);
		/* Two paths may lead to one device: /dev/vg0/spool and /dev/dm-3. */
		for (size_t j = 0; used[i] && j < i; j++) {
			if (used[j] != used[i] || strcmp(c->volume[j].device, v->device) == 0)
				continue;
			sense_say(report, arg, "%s: device %s is the same as %s of %s; give each volume its own",
				  v->path, v->device, c->volume[j].device, c->volume[j].path);
			problems++;
		}
	}
	free(used);
	return problems ? -EINVAL : 0;
}

const struct config_volume *config_find_volume(const struct config *c, const char *name)
{
	for (size_t i = 0; i < c->volume_count; i++) {
		if (strcmp(c->volume[i].name, name) == 0)
			return &c->volume[i];
	}
	return NULL;
}

const struct config_peer *config_find_peer(const struct config_agent *a, const char *name)
{
	for (size_t i = 0; i < a->peer_count; i++) {
		if (strcmp(a->peer[i].name, name) == 0)
			return &a->peer[i];
	}
	return NULL;
}

const struct config_peer *config_find_peer_key(const struct config_agent *a,
					       const uint8_t key[REPL_KEY_BYTES])
{
	for (size_t i = 0; i < a->peer_count; i++) {
		if (memcmp(a->peer[i].key.b, key, REPL_KEY_BYTES) == 0)
			return &a->peer[i];
	}
	return NULL;
}
