/*
 * keys: what this process proves itself with, and whom it expects. All of it lies in memory of libsodium's
 * own (guard pages, locked, left out of core files) and is wiped by keys_free. A process forked later has a
 * copy, which is not locked.
 */
#ifndef HAUL_LIB_KEYS_H
#define HAUL_LIB_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/keytext.h"
#include "lib/peers.h"

enum keys_mode {
	KEYS_PSK,   /* psk */
	KEYS_PEER,  /* secret, pub, and peer: the one other side */
	KEYS_PEERS, /* secret, pub, and peers: a listener's list */
	KEYS_CODE,  /* psk: what a code was made into (lib/code.h) */
};

struct haul_keys {
	enum keys_mode mode;
	bool unlocked; /* the memory could not be locked: worth a warning, no more */
	bool has_psk;  /* psk is a key that was loaded: with static keys, one on top of them */
	uint8_t psk[KEY_BYTES];
	uint8_t secret[KEY_BYTES], pub[KEY_BYTES];
	uint8_t peer[KEY_BYTES];
	struct peers peers;
};

/*
 * Memory for keys, all zero; owned by the caller until keys_free. From here on this process leaves no core
 * file and cannot be traced by others of its user (PR_SET_DUMPABLE, RLIMIT_CORE). HAUL_NO_MEMORY.
 */
enum haul_rc keys_new(struct haul_keys **out, struct haul_err *err);
void keys_free(struct haul_keys *k); /* NULL is fine */
/* In the process of a session, whose handshake is over: the secrets go, who may do what stays. NULL is fine. */
void keys_forget(struct haul_keys *k);

/* Each fills its part and sets mode; a pre-shared key that is loaded before an identity stays, on top of it. All failures are HAUL_USAGE, with the path (or fd:N) as subject; what
 * the files must be like says lib/keyfile.h. The descriptor is closed. */
enum haul_rc keys_load_psk(struct haul_keys *k, const char *path, struct haul_err *err);
enum haul_rc keys_load_psk_fd(struct haul_keys *k, int fd, struct haul_err *err);

/* secret, and pub from it. Then one of keys_load_peer (a haul-pub-1 text, or the path of a file that holds
 * one) and keys_load_peers; our own public key among them is refused. */
enum haul_rc keys_load_identity(struct haul_keys *k, const char *path, struct haul_err *err);
enum haul_rc keys_load_peer(struct haul_keys *k, const char *text_or_path, struct haul_err *err);
enum haul_rc keys_load_peers(struct haul_keys *k, const char *path, struct haul_err *err);

/* A public key, from its text or a file. */
enum haul_rc keys_parse_public(const char *text_or_path, uint8_t pub[static KEY_BYTES], struct haul_err *err);

/* A key file of whatever kind, for showing: fills psk, or secret and pub, or pub. */
enum haul_rc keys_load_any(struct haul_keys *k, const char *path, enum key_kind *kind, struct haul_err *err);

/* New random ones. */
void keys_make_psk(struct haul_keys *k);
void keys_make_identity(struct haul_keys *k);

#endif
