#include "cmd/auth.h"

#include <limits.h>
#include <stdlib.h>

#include "lib/auth.h"
#include "lib/keys.h"
#include "lib/units.h"

#define WRONG(err, subject, ...) haul_fail(err, HAUL_USAGE, 0, subject, __VA_ARGS__)

/* ---- the shared key ---- */

static enum haul_rc load_from_fd(struct haul_keys *k, const char *text, struct haul_err *err)
{
	unsigned fd;
	if (!units_count(text, &fd) || fd > INT_MAX)
		return WRONG(err, "--key-fd", "%s is not the number of a descriptor", text);
	return keys_load_psk_fd(k, (int)fd, err);
}

/* Which file it is in, NULL for none or a descriptor. What the environment says is for those who said nothing
 * of keys. */
static const char *psk_file(const struct haul_config *cfg)
{
	const char *env = getenv("HAUL_KEY_FILE");
	if (cfg->key_file || cfg->key_fd || cfg->identity)
		return cfg->key_file;
	return env && *env ? env : NULL;
}

/* ---- identities ---- */

static enum haul_rc check_identity(const struct options *o, bool psk, struct haul_err *err)
{
	const struct haul_config *cfg = &o->cfg;
	if (!cfg->identity && (cfg->peer_key || cfg->peers_file))
		return WRONG(err, cfg->peer_key ? "--peer" : "--peers", "needs --identity=FILE");
	if (cfg->identity && !cfg->peer_key && !cfg->peers_file)
		return WRONG(err, "--identity", "needs --peer=PUB%s",
			     o->sub == CMD_RECV ? " or --peers=FILE" : "");
	if (cfg->peer_key && cfg->peers_file)
		return WRONG(err, "--peers", "cannot be given together with --peer");
	if (cfg->peers_file && psk)
		return WRONG(err, "--peers", "cannot be given together with a pre-shared key");
	if (cfg->peers_file && o->peer)
		return WRONG(err, "--peers", "is for listening, but %s is dialled", o->peer);
	return HAUL_OK;
}

static enum haul_rc load_identity(const struct haul_config *cfg, struct haul_keys *k, struct haul_err *err)
{
	if (keys_load_identity(k, cfg->identity, err) != HAUL_OK)
		return err->rc;
	return cfg->peers_file ? keys_load_peers(k, cfg->peers_file, err)
			       : keys_load_peer(k, cfg->peer_key, err);
}

/* ---- all of it ---- */

enum haul_rc auth_load(struct options *o, struct haul_err *err)
{
	const struct haul_config *cfg = &o->cfg;
	const char *file = psk_file(cfg);
	bool psk = file || cfg->key_fd;
	if (check_identity(o, psk, err) != HAUL_OK)
		return err->rc;
	if (file && cfg->key_fd)
		return WRONG(err, "--key-fd", "cannot be given together with --key");
	if (!cfg->identity && !psk)
		return HAUL_OK;
	if (keys_new(&o->keys, err) != HAUL_OK)
		return err->rc;
	if (psk &&
	    (file ? keys_load_psk(o->keys, file, err) : load_from_fd(o->keys, cfg->key_fd, err)) != HAUL_OK)
		return err->rc;
	if (cfg->identity && load_identity(cfg, o->keys, err) != HAUL_OK)
		return err->rc;
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
