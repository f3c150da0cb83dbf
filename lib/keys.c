#include "lib/keys.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "lib/entropy.h"
#include "lib/keyfile.h"

/* A key, its newline, and room to tell a longer file from it. */
#define TEXT_MAX (KEYTEXT_BYTES + 64)

enum haul_rc keys_new(struct haul_keys **out, struct haul_err *err)
{
	static const struct rlimit none = {0, 0};
	*out = NULL;
	if (sodium_init() < 0)
		return haul_fail(err, HAUL_NO_MEMORY, 0, NULL, "libsodium cannot be used");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || setrlimit(RLIMIT_CORE, &none) < 0)
		return haul_fail(err, HAUL_NO_MEMORY, errno, NULL, "core files cannot be turned off");
	struct haul_keys *k = sodium_malloc(sizeof *k);
	if (!k)
		return haul_fail(err, HAUL_NO_MEMORY, errno, NULL, "no memory for keys");
	memset(k, 0, sizeof *k);
	k->unlocked = sodium_mlock(k, sizeof *k) < 0; /* sodium_malloc tried, but does not tell */
	*out = k;
	return HAUL_OK;
}

void keys_forget(struct haul_keys *k)
{
	if (!k)
		return;
	sodium_memzero(k->psk, sizeof k->psk);
	sodium_memzero(k->secret, sizeof k->secret);
}

void keys_free(struct haul_keys *k)
{
	if (!k)
		return;
	peers_free(&k->peers);
	sodium_free(k);
}

/* Where a key comes from: a path, or a descriptor. */
struct source {
	const char *path; /* NULL: fd */
	int fd;
};

/* A public key may be readable by all. If it is none that is wanted, its kind is the better refusal. */
static enum haul_rc read_path(const char *path, char *text, size_t *len, struct haul_err *err)
{
	struct keyfile f;
	enum haul_rc rc = keyfile_open(&f, path, err);
	if (rc == HAUL_OK)
		rc = keyfile_read(&f, text, TEXT_MAX - 1, len, err);
	if (rc == HAUL_OK) {
		text[*len] = '\0';
		rc = keyfile_check(&f, !keytext_looks_like(KEY_PUB, text), err);
	}
	keyfile_close(&f);
	if (rc == HAUL_OK && *len && text[*len - 1] == '\n')
		--*len;
	return rc;
}

/* The text lies in memory that sodium_free wipes. */
static enum haul_rc load(struct source from, enum key_kind *kind, uint8_t key[static KEY_BYTES],
			 struct haul_err *err)
{
	size_t len;
	char fd[32];
	snprintf(fd, sizeof fd, "fd:%d", from.fd);
	if (sodium_init() < 0)
		return haul_fail(err, HAUL_NO_MEMORY, 0, NULL, "libsodium cannot be used");
	char *text = sodium_malloc(TEXT_MAX);
	if (!text)
		return haul_fail(err, HAUL_NO_MEMORY, errno, NULL, "no memory for keys");
	enum haul_rc rc = from.path ? read_path(from.path, text, &len, err)
				    : keyfile_read_fd(from.fd, text, TEXT_MAX - 1, &len, err);
	if (rc == HAUL_OK)
		rc = keytext_decode(text, len, from.path ? from.path : fd, kind, key, err);
	sodium_free(text);
	return rc;
}

static enum haul_rc load_kind(struct source from, enum key_kind wanted, uint8_t key[static KEY_BYTES],
			      struct haul_err *err)
{
	enum key_kind kind = KEY_PSK;
	char fd[32];
	snprintf(fd, sizeof fd, "fd:%d", from.fd);
	enum haul_rc rc = load(from, &kind, key, err);
	if (rc == HAUL_OK)
		rc = keytext_expect(wanted, kind, from.path ? from.path : fd, err);
	if (rc)
		sodium_memzero(key, KEY_BYTES);
	return rc;
}

static enum haul_rc load_psk(struct haul_keys *k, struct source from, struct haul_err *err)
{
	k->mode = KEYS_PSK;
	k->has_psk = load_kind(from, KEY_PSK, k->psk, err) == HAUL_OK;
	return err->rc;
}

enum haul_rc keys_load_psk(struct haul_keys *k, const char *path, struct haul_err *err)
{
	return load_psk(k, (struct source){.path = path}, err);
}

enum haul_rc keys_load_psk_fd(struct haul_keys *k, int fd, struct haul_err *err)
{
	return load_psk(k, (struct source){.fd = fd}, err);
}

enum haul_rc keys_load_identity(struct haul_keys *k, const char *path, struct haul_err *err)
{
	k->mode = KEYS_PEER;
	if (load_kind((struct source){.path = path}, KEY_SECRET, k->secret, err) == HAUL_OK)
		crypto_scalarmult_curve25519_base(k->pub, k->secret);
	return err->rc;
}

enum haul_rc keys_parse_public(const char *text_or_path, uint8_t pub[static KEY_BYTES], struct haul_err *err)
{
	enum key_kind kind;
	if (!keytext_looks_like(KEY_PUB, text_or_path))
		return load_kind((struct source){.path = text_or_path}, KEY_PUB, pub, err);
	return keytext_decode(text_or_path, strlen(text_or_path), text_or_path, &kind, pub, err);
}

static bool is_own(const struct haul_keys *k, const uint8_t pub[static KEY_BYTES])
{
	return memcmp(k->pub, pub, KEY_BYTES) == 0;
}

enum haul_rc keys_load_peer(struct haul_keys *k, const char *text_or_path, struct haul_err *err)
{
	k->mode = KEYS_PEER;
	if (keys_parse_public(text_or_path, k->peer, err) == HAUL_OK && is_own(k, k->peer))
		return haul_fail(err, HAUL_USAGE, 0, text_or_path,
				 "the public key of this side, not of the other one");
	return err->rc;
}

enum haul_rc keys_load_peers(struct haul_keys *k, const char *path, struct haul_err *err)
{
	k->mode = KEYS_PEERS;
	if (peers_load(&k->peers, path, err) != HAUL_OK)
		return err->rc;
	for (size_t i = 0; i < k->peers.count; i++)
		if (is_own(k, k->peers.peer[i].pub))
			return haul_fail(err, HAUL_USAGE, 0, path,
					 "%s has the public key of this side, not of the other one",
					 k->peers.peer[i].name);
	return HAUL_OK;
}

enum haul_rc keys_load_any(struct haul_keys *k, const char *path, enum key_kind *kind, struct haul_err *err)
{
	uint8_t *key = k->secret;
	if (load((struct source){.path = path}, kind, key, err) != HAUL_OK)
		return err->rc;
	if (*kind == KEY_SECRET) {
		crypto_scalarmult_curve25519_base(k->pub, key);
		return HAUL_OK;
	}
	memcpy(*kind == KEY_PSK ? k->psk : k->pub, key, KEY_BYTES);
	sodium_memzero(key, KEY_BYTES);
	return HAUL_OK;
}

void keys_make_psk(struct haul_keys *k)
{
	k->mode = KEYS_PSK;
	entropy_fill(k->psk, sizeof k->psk);
}

void keys_make_identity(struct haul_keys *k)
{
	k->mode = KEYS_PEER;
	entropy_fill(k->secret, sizeof k->secret);
	crypto_scalarmult_curve25519_base(k->pub, k->secret);
}
