#include "cmd/auth.h"

#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/auth.h"
#include "lib/keys.h"
#include "lib/units.h"

#define WRONG(err, subject, ...) haul_fail(err, HAUL_USAGE, 0, subject, __VA_ARGS__)

/* ---- the rules ---- */

/* What everybody on this machine can read is no secret any more. */
static enum haul_rc check_value(const char *subject, const char *value, struct haul_err *err)
{
	if (!value || (!keytext_looks_like(KEY_PSK, value) && !keytext_looks_like(KEY_SECRET, value)))
		return HAUL_OK;
	return WRONG(err, subject,
		     "a secret here is seen by others and spoilt: make a new one, and name its file");
}

static enum haul_rc check_values(const struct haul_config *cfg, const char *file_from, struct haul_err *err)
{
	unsigned fd;
	if (check_value(file_from, cfg->key_file, err) || check_value("--key-fd", cfg->key_fd, err) ||
	    check_value("--identity", cfg->identity, err) || check_value("--peer", cfg->peer_key, err) ||
	    check_value("--peers", cfg->peers_file, err))
		return err->rc;
	if (cfg->key_fd && (!units_count(cfg->key_fd, &fd) || fd <= STDERR_FILENO || fd > INT_MAX))
		return WRONG(err, "--key-fd", "%s is no descriptor from 3 on (like --key-fd=3 3<FILE)",
			     cfg->key_fd);
	return HAUL_OK;
}

static enum haul_rc check_identity(const struct options *o, struct haul_err *err)
{
	const struct haul_config *cfg = &o->cfg;
	if (!cfg->identity && (cfg->peer_key || cfg->peers_file))
		return WRONG(err, cfg->peer_key ? "--peer" : "--peers", "needs --identity=FILE");
	if (cfg->identity && !cfg->peer_key && !cfg->peers_file)
		return WRONG(err, "--identity", "needs --peer=PUB%s",
			     o->sub == CMD_RECV ? " or --peers=FILE" : "");
	if (cfg->peer_key && cfg->peers_file)
		return WRONG(err, "--peers", "cannot be given together with --peer");
	if (cfg->peers_file && (cfg->key_file || cfg->key_fd))
		return WRONG(err, "--peers", "cannot be given together with a pre-shared key");
	if (cfg->peers_file && o->peer)
		return WRONG(err, "--peers", "is for listening, but %s is dialled", o->peer);
	return HAUL_OK;
}

/* What the environment says is for those who said nothing of keys. */
enum haul_rc auth_check(struct options *o, struct haul_err *err)
{
	struct haul_config *cfg = &o->cfg;
	const char *environment = getenv("HAUL_KEY_FILE"), *file_from = "--key";
	if (!cfg->key_file && !cfg->key_fd && !cfg->identity && environment && *environment) {
		cfg->key_file = environment;
		file_from = "HAUL_KEY_FILE";
	}
	if (check_values(cfg, file_from, err) != HAUL_OK || check_identity(o, err) != HAUL_OK)
		return err->rc;
	return cfg->key_file && cfg->key_fd ? WRONG(err, "--key-fd", "cannot be given together with --key")
					    : HAUL_OK;
}

/* ---- loading ---- */

static enum haul_rc load_psk(const struct haul_config *cfg, struct haul_keys *k, struct haul_err *err)
{
	unsigned fd = 0;
	if (cfg->key_file)
		return keys_load_psk(k, cfg->key_file, err);
	return units_count(cfg->key_fd, &fd) ? keys_load_psk_fd(k, (int)fd, err) : HAUL_USAGE;
}

static enum haul_rc load_identity(const struct haul_config *cfg, struct haul_keys *k, struct haul_err *err)
{
	if (keys_load_identity(k, cfg->identity, err) != HAUL_OK)
		return err->rc;
	return cfg->peers_file ? keys_load_peers(k, cfg->peers_file, err)
			       : keys_load_peer(k, cfg->peer_key, err);
}

enum haul_rc auth_load(struct options *o, struct haul_err *err)
{
	const struct haul_config *cfg = &o->cfg;
	bool psk = cfg->key_file || cfg->key_fd;
	if (!cfg->identity && !psk)
		return HAUL_OK;
	if (keys_new(&o->keys, err) != HAUL_OK || (psk && load_psk(cfg, o->keys, err) != HAUL_OK) ||
	    (cfg->identity && load_identity(cfg, o->keys, err) != HAUL_OK))
		return err->rc;
	o->cfg.keys_unlocked = o->keys->unlocked;
	o->cfg.auth = auth_new(o->keys, psk, "");
	return o->cfg.auth ? HAUL_OK : haul_fail(err, HAUL_NO_MEMORY, 0, NULL, "no memory for keys");
}

void auth_unload(struct options *o)
{
	auth_free(o->cfg.auth);
	keys_free(o->keys);
	o->cfg.auth = NULL;
	o->keys = NULL;
}
