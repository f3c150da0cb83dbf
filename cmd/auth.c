#include "cmd/auth.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd/coded.h"
#include "cmd/units.h"
#include "cmd/words.h"
#include "lib/auth.h"
#include "lib/code.h"
#include "lib/keys.h"

#define PEERS_MAX		 1024u
#define PEERS_FILE_BYTES	 (256u << 10)

#define WRONG(err, subject, ...) haul_fail(err, HAUL_USAGE, 0, subject, __VA_ARGS__)

/* ---- the shared key ---- */

/* Reads it from wherever it is; false in *there when there is none. */
static enum haul_rc shared_key(const struct options *o, uint8_t key[static KEY_BYTES], bool *there,
			       struct haul_err *err)
{
	const struct haul_config *cfg = &o->cfg;
	const char *file = cfg->key_file, *env = getenv("HAUL_KEY_FILE");
	unsigned fd;
	if (cfg->key_file && cfg->key_fd)
		return WRONG(err, "--key-fd", "cannot be given together with --key");
	*there = true;
	if (cfg->key_fd) {
		if (!units_count(cfg->key_fd, &fd) || fd > INT32_MAX)
			return WRONG(err, cfg->key_fd, "not a descriptor for --key-fd");
		return key_read((int)fd, "--key-fd", KEY_SHARED, key, err);
	}
	/* what the environment says is for those who said nothing of keys */
	if (!file && env && *env && !cfg->identity)
		file = env;
	*there = file != NULL;
	return file ? key_load(file, KEY_SHARED, key, err) : HAUL_OK;
}

/* ---- --peers ---- */

static bool take_right(struct auth_rights *r, char *word)
{
	uint64_t size;
	if (strcmp(word, "no-overwrite") == 0)
		r->no_overwrite = true;
	else if (strcmp(word, "ro") == 0)
		r->read_only = true;
	else if (strncmp(word, "name=", 5) == 0 && word[5])
		r->name = word + 5;
	else if (strncmp(word, "dir=", 4) == 0 && word[4])
		r->dir = word + 4;
	else if (strncmp(word, "max-bytes=", 10) == 0 && units_size(word + 10, &size) && size)
		r->max_bytes = size;
	else
		return strncmp(word, "max-sessions=", 13) == 0 && units_count(word + 13, &r->max_sessions) &&
		       r->max_sessions;
	return true;
}

/* PUB name=... dir=... max-bytes=... max-sessions=... no-overwrite ro; the words stay in line. */
static enum haul_rc take_peer(struct auth *a, char *line, unsigned number, const char *file,
			      struct haul_err *err)
{
	struct auth_rights rights = {.max_bytes = SIZE_UNSET};
	uint8_t pub[KEY_BYTES];
	char **word = calloc(strlen(line) / 2 + 2, sizeof *word);
	enum haul_rc rc = HAUL_OK;
	if (!word)
		return haul_fail(err, HAUL_NO_MEMORY, 0, file, "out of memory");
	if (!words_split(line, word))
		rc = WRONG(err, file, "line %u: a quote is not closed", number);
	char **next = word;
	if (rc == HAUL_OK && *next && strcmp(*next, "haul-pub-1") == 0)
		next++;
	if (rc == HAUL_OK && (!*next || !key_parse(*next++, KEY_PUBLIC, pub)))
		rc = WRONG(err, file, "line %u: does not begin with a whole public key", number);
	for (; rc == HAUL_OK && *next; next++)
		if (!take_right(&rights, *next))
			rc = WRONG(err, file, "line %u: %s is no right of a peer", number, *next);
	if (rc == HAUL_OK && !auth_add_peer(a, pub, NULL, &rights))
		rc = WRONG(err, file, "more than %u peers", PEERS_MAX);
	free(word);
	return rc;
}

static char *read_peers(const char *file, struct haul_err *err)
{
	char *text = NULL;
	struct stat st;
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	if (!f || fstat(fd, &st) < 0) {
		haul_fail(err, HAUL_USAGE, errno, file, "cannot be opened");
	} else if (st.st_mode & 022) {
		WRONG(err, file, "others can change who may send: chmod go-w %s", file);
	} else if ((text = calloc(1, PEERS_FILE_BYTES + 1))) {
		size_t n = fread(text, 1, PEERS_FILE_BYTES + 1, f);
		if (n > PEERS_FILE_BYTES || strlen(text) != n) {
			WRONG(err, file, "too long, or not text");
			free(text);
			text = NULL;
		}
	} else {
		haul_fail(err, HAUL_NO_MEMORY, 0, file, "out of memory");
	}
	if (f)
		fclose(f);
	return text;
}

static enum haul_rc load_peers(struct options *o, const uint8_t secret[static KEY_BYTES],
			       struct haul_err *err)
{
	const char *file = o->cfg.peers_file;
	struct auth *a = auth_new_peers("", secret, PEERS_MAX);
	if (!a)
		return haul_fail(err, HAUL_NO_MEMORY, 0, NULL, "out of memory");
	o->cfg.auth = a;
	o->peers_text = read_peers(file, err);
	unsigned number = 0, peers = 0;
	for (char *line = o->peers_text, *end; line && err->rc == HAUL_OK; line = end) {
		end = strchr(line, '\n');
		if (end)
			*end++ = 0;
		number++;
		if (!line[strspn(line, " \t\r")] || line[strspn(line, " \t")] == '#')
			continue;
		peers++;
		take_peer(a, line, number, file, err);
	}
	if (err->rc == HAUL_OK && !peers)
		WRONG(err, file, "no peer in it");
	return err->rc;
}

/* ---- all of it ---- */

static enum haul_rc load_identity(struct options *o, const uint8_t *key, struct haul_err *err)
{
	const struct haul_config *cfg = &o->cfg;
	uint8_t secret[KEY_BYTES], pub[KEY_BYTES];
	if (!cfg->peer_key && !cfg->peers_file)
		return WRONG(err, "--identity", "needs --peer=PUB%s",
			     o->sub == CMD_RECV ? " or --peers=FILE" : "");
	if (cfg->peer_key && cfg->peers_file)
		return WRONG(err, "--peers", "cannot be given together with --peer");
	if (cfg->peers_file && (key || o->peer))
		return WRONG(err, "--peers",
			     key ? "cannot be given together with --key" : "is for listening");
	if (cfg->peer_key && !key_parse(cfg->peer_key, KEY_PUBLIC, pub) &&
	    key_load(cfg->peer_key, KEY_PUBLIC, pub, err) != HAUL_OK)
		return err->rc;
	if (key_load(cfg->identity, KEY_SECRET, secret, err) == HAUL_OK) {
		if (cfg->peers_file)
			load_peers(o, secret, err);
		else if (!(o->cfg.auth = auth_new_peer("", secret, pub, key)))
			haul_fail(err, HAUL_NO_MEMORY, 0, NULL, "out of memory");
	}
	sodium_memzero(secret, sizeof secret);
	return err->rc;
}

static enum haul_rc load_code(struct options *o, struct haul_err *err)
{
	const struct haul_config *cfg = &o->cfg;
	char code[CODE_BYTES];
	uint8_t prs[CODE_PRS_BYTES];
	o->cfg.code = true;
	if (cfg->key_file || cfg->key_fd || cfg->identity || cfg->peer_key || cfg->peers_file)
		return WRONG(err, "--code", "cannot be given together with keys");
	enum haul_rc rc = o->peer ? code_ask(o, code, err) : code_tell(o, code, err);
	if (rc == HAUL_OK && (!code_prs(code, "", prs) || !(o->cfg.auth = auth_new_code("", prs))))
		rc = haul_fail(err, HAUL_NO_MEMORY, 0, "--code", "out of memory");
	sodium_memzero(code, sizeof code);
	sodium_memzero(prs, sizeof prs);
	return rc;
}

enum haul_rc auth_load(struct options *o, struct haul_err *err)
{
	uint8_t key[KEY_BYTES];
	bool there = false;
	if (o->cfg.code || o->cfg.code_fd)
		return load_code(o, err);
	if (!o->cfg.identity && (o->cfg.peer_key || o->cfg.peers_file))
		return WRONG(err, o->cfg.peer_key ? "--peer" : "--peers", "needs --identity=FILE");
	if (shared_key(o, key, &there, err) != HAUL_OK)
		return err->rc;
	if (o->cfg.identity)
		load_identity(o, there ? key : NULL, err);
	else if (there && !(o->cfg.auth = auth_new_key("", key)))
		haul_fail(err, HAUL_NO_MEMORY, 0, NULL, "out of memory");
	sodium_memzero(key, sizeof key);
	return err->rc;
}

void auth_unload(struct options *o)
{
	auth_free(o->cfg.auth);
	o->cfg.auth = NULL;
	free(o->peers_text);
	o->peers_text = NULL;
}
