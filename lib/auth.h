/*
 * auth: whom this process talks to, and what each of them may do. Raw keys (lib/keys) go in; the credentials
 * of the handshakes and the rights of their owners come out. It owns what it was made from: locked memory
 * that is wiped when it is freed.
 */
#ifndef HAUL_LIB_AUTH_H
#define HAUL_LIB_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "wire/credentials.h"

/* What the holder of a key may do here. Strings are borrowed and outlive it. */
struct auth_rights {
	const char *name;      /* for people, or NULL */
	const char *dir;       /* it is confined to; NULL: wherever everybody is */
	uint64_t max_bytes;    /* a session may store; SIZE_UNSET: no limit of its own */
	unsigned max_sessions; /* at the same time; 0: no limit of its own */
	bool no_overwrite;
	bool read_only; /* may fetch, not send */
};

struct auth;

/* One party: a shared key, or this side's static secret and the peer's public key, with a key on top of these
 * or NULL. realm: the listener's name, or "". NULL when out of memory. */
struct auth *auth_new_key(const char *realm, const uint8_t key[static AUTH_KEY_BYTES]);
struct auth *auth_new_peer(const char *realm, const uint8_t secret[static AUTH_KEY_BYTES],
			   const uint8_t pub[static AUTH_KEY_BYTES], const uint8_t *key);

/* Whoever knows the code that prs was made of (code_prs). */
struct auth *auth_new_code(const char *realm, const uint8_t prs[static AUTH_KEY_BYTES]);

/* A listener for up to `room` peers, which are added one by one. */
struct auth *auth_new_peers(const char *realm, const uint8_t secret[static AUTH_KEY_BYTES], size_t room);
/* False when there is no more room. */
bool auth_add_peer(struct auth *a, const uint8_t pub[static AUTH_KEY_BYTES], const uint8_t *key,
		   const struct auth_rights *rights);
void auth_free(struct auth *a); /* NULL is fine */

/* In the process of a session, whose handshake is over: the keys go, modes and rights stay. NULL is fine. */
void auth_forget_keys(struct auth *a);

/* "plain" (NULL), "key" or "peer". */
bool auth_is_code(const struct auth *a);
const char *auth_mode_name(const struct auth *a);

/* For handshakes; NULL for NULL: mode 0. */
const struct credentials *auth_credentials(const struct auth *a);

/* Rights of an owner that a handshake has told; NULL when there are none to tell. */
const struct auth_rights *auth_rights_of(const struct auth *a, const uint8_t owner[static OWNER_BYTES]);

/* The other party, of the side that dials: whose the files are that it sends. */
const uint8_t *auth_peer_owner(const struct auth *a);

#endif
