#include "cmd/keyopts.h"

#include <limits.h>
#include <sodium.h>
#include <stdlib.h>
#include <unistd.h>

#include "cmd/coded.h"
#include "lib/auth.h"
#include "lib/units.h"

#define WRONG(subject, ...) haul_fail(err, HAUL_USAGE, 0, subject, __VA_ARGS__)

/* What everybody on this machine can read is no secret any more. */
static enum haul_rc check_value(const char *subject, const char *value, struct haul_err *err)
{
	if (!value || (!keytext_looks_like(KEY_PSK, value) && !keytext_looks_like(KEY_SECRET, value)))
		return HAUL_OK;
	return WRONG(subject,
		     "a secret here is seen by others and spoilt: make a new one, and name its file");
}

static enum haul_rc check_values(const struct haul_config *cfg, const char *key_name, struct haul_err *err)
{
	if (check_value(key_name, cfg->key_file, err) || check_value("--key-fd", cfg->key_fd, err) ||
	    check_value("--identity", cfg->identity, err) || check_value("--peer", cfg->peer, err) ||
	    check_value("--peers", cfg->peers, err))
		return err->rc;
	unsigned fd;
	if (cfg->key_fd && (!units_count(cfg->key_fd, &fd) || fd <= STDERR_FILENO || fd > INT_MAX))
		return WRONG("--key-fd", "%s is no descriptor from 3 on (like --key-fd=3 3<FILE)",
			     cfg->key_fd);
	if (cfg->code_fd && (!units_count(cfg->code_fd, &fd) || fd <= STDERR_FILENO || fd > INT_MAX))
		return WRONG("--code-fd", "%s is no descriptor from 3 on (like --code-fd=3)", cfg->code_fd);
	return HAUL_OK;
}

enum haul_rc keyopts_check(struct options *o, struct haul_err *err)
{
	struct haul_config *cfg = &o->cfg;
	const char *key_name = cfg->key_file ? "--key" : "HAUL_KEY_FILE";
	const char *environment = getenv("HAUL_KEY_FILE");
	bool named = cfg->key_file || cfg->key_fd || cfg->identity || cfg->code || cfg->code_fd;
	if (!named && environment && *environment)
		cfg->key_file = environment;
	if (check_values(cfg, key_name, err))
		return err->rc;
	cfg->code = cfg->code || cfg->code_fd;
	if (cfg->code && (cfg->key_file || cfg->key_fd || cfg->identity || cfg->peer || cfg->peers))
		return WRONG("--code", "cannot be given together with keys");
	if (cfg->key_file && cfg->key_fd)
		return WRONG("--key-fd", "cannot be given together with --key");
	if (!cfg->identity && (cfg->peer || cfg->peers))
		return WRONG(cfg->peer ? "--peer" : "--peers",
			     "needs --identity, the static key of this side");
	if (cfg->peer && cfg->peers)
		return WRONG("--peers", "cannot be given together with --peer");
	if (cfg->peers && o->peer)
		return WRONG("--peers", "is for listening, but %s is dialled: name its key with --peer",
			     o->peer);
	if (cfg->identity && !cfg->peer && !cfg->peers)
		return WRONG("--identity",
			     "needs --peer, the public key of the other side (recv: or --peers)");
	return HAUL_OK;
}

static enum haul_rc load_code(const struct options *o, struct haul_keys *k, struct haul_err *err)
{
	char code[CODE_BYTES];
	k->mode = KEYS_CODE;
	enum haul_rc rc = o->peer ? code_ask(o, code, err) : code_tell(o, code, err);
	if (rc == HAUL_OK && !code_prs(code, "", k->psk))
		rc = haul_fail(err, HAUL_NO_MEMORY, 0, "--code", "out of memory");
	sodium_memzero(code, sizeof code);
	return rc;
}

static enum haul_rc load(const struct haul_config *cfg, struct haul_keys *k, struct haul_err *err)
{
	unsigned fd = 0;
	if (cfg->key_fd && units_count(cfg->key_fd, &fd) && keys_load_psk_fd(k, (int)fd, err))
		return err->rc;
	if (cfg->key_file && keys_load_psk(k, cfg->key_file, err))
		return err->rc;
	if (!cfg->identity || keys_load_identity(k, cfg->identity, err))
		return err->rc;
	return cfg->peers ? keys_load_peers(k, cfg->peers, err) : keys_load_peer(k, cfg->peer, err);
}

enum haul_rc keyopts_load(struct options *o, struct haul_err *err)
{
	const struct haul_config *cfg = &o->cfg;
	if (!cfg->key_file && !cfg->key_fd && !cfg->identity && !cfg->code)
		return HAUL_OK;
	if (keys_new(&o->cfg.keys, err) ||
	    (cfg->code ? load_code(o, o->cfg.keys, err) : load(cfg, o->cfg.keys, err)))
		return err->rc;
	o->cfg.auth = auth_new(o->cfg.keys, NULL);
	return o->cfg.auth ? HAUL_OK : haul_fail(err, HAUL_NO_MEMORY, 0, NULL, "no memory for keys");
}
