/*
 * auth: whom this process talks to. Keys (lib/keys) go in; the credentials of handshakes and the rights of
 * their owners come out. Its memory is locked, and wiped when it is freed.
 */
#ifndef HAUL_LIB_AUTH_H
#define HAUL_LIB_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/keys.h"
#include "wire/credentials.h"

struct auth;

/* From keys that are loaded, which are borrowed and outlive it. realm: the listener's name, for which the protocol has
 * a place and haul no option; NULL for none. NULL when out of memory. */
struct auth *auth_new(const struct haul_keys *keys, const char *realm);
void auth_free(struct auth *a); /* NULL is fine */

/* In the process of a session, whose handshake is over: the keys go, mode and rights stay. NULL is fine. */
void auth_forget_keys(struct auth *a);

bool auth_is_code(const struct auth *a); /* false for NULL */
/* "plain" (NULL), "key", "peer" or "code". */
const char *auth_mode_name(const struct auth *a);

/* For handshakes; NULL for NULL: mode 0. */
const struct credentials *auth_credentials(const struct auth *a);

/* Which of the peers of a listener's list an owner is that a handshake has told; NULL without a list. */
const struct peer *auth_peer_of(const struct auth *a, const uint8_t owner[static OWNER_BYTES]);

/* The other party, of the side that dials: whose the files are that it sends. NULL for NULL. */
const uint8_t *auth_peer_owner(const struct auth *a);

#endif
