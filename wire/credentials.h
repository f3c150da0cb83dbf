/*
 * Who may talk to whom: keys as the handshake needs them, derived once from the raw ones.
 *
 *   AUTH_NONE   nobody is asked (mode 0)
 *   AUTH_KEY    one secret shared by two parties (mode 1)
 *   AUTH_PEER   static keys of both, and perhaps a shared key on top (mode 2)
 *   AUTH_CODE   a short secret that somebody types; each connection makes a key of it (mode 3)
 *
 * D(K, label) is BLAKE2b keyed with K over the label; a raw key is used for nothing else. Plain data that its
 * owner wipes; the mode is configuration, and never the peer's choice.
 */
#ifndef HAUL_WIRE_CREDENTIALS_H
#define HAUL_WIRE_CREDENTIALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/noise.h"

#define AUTH_KEY_BYTES	    NOISE_KEY_BYTES
#define GATE_BYTES	    16u
#define OWNER_BYTES	    32u
#define PROLOGUE_BYTES	    56u
#define CHANNEL_ID_BYTES    16u
#define CODE_NAME_MAX_BYTES 127u /* of a name that counts, with a code */

enum auth_mode { AUTH_NONE = 0, AUTH_KEY = 1, AUTH_PEER = 2, AUTH_CODE = 3 };

/* One party this side will talk to. */
struct credential {
	uint8_t gatekey[AUTH_KEY_BYTES];
	uint8_t psk[AUTH_KEY_BYTES]; /* zero when peers share no key */
	uint8_t owner[OWNER_BYTES];  /* who that party is, in journals and for its sessions */
	uint8_t pub[AUTH_KEY_BYTES]; /* AUTH_PEER */
};

struct credentials {
	enum auth_mode mode;
	uint8_t realm[32];		/* digest of the listener's name */
	struct noise_pair own;		/* AUTH_PEER */
	struct credential self;		/* AUTH_PEER: of own.pub */
	uint8_t prs[AUTH_KEY_BYTES];	/* AUTH_CODE: the code, stretched */
	const char *name;		/* the listener's, borrowed */
	const struct credential *party; /* borrowed; an initiator has one */
	size_t count;
};

void credential_from_key(struct credential *c, const uint8_t key[static AUTH_KEY_BYTES]);
/* key: shared with that peer, or NULL. */
void credential_from_peer(struct credential *c, const uint8_t pub[static AUTH_KEY_BYTES], const uint8_t *key);

/* Whoever has the code of a connection: its keys are made by CPace, only the owner is set. */
void credential_of_code(struct credential *c);
/* The key of one connection (32 bytes) from the 64 that CPace gives. */
void credential_code_key(const uint8_t isk[static 64], uint8_t key[static AUTH_KEY_BYTES]);

/* realm: the listener's name, "" for none; it is borrowed. secret: this side's static one, or what a code was
 * stretched to. */
void credentials_init(struct credentials *c, enum auth_mode mode, const char *realm,
		      const struct credential *party, size_t count, const uint8_t *secret);
void credentials_wipe(struct credentials *c);

/* What proves, before anything is computed, that the first message is meant for this listener. */
void credential_gate(const uint8_t gatekey[static AUTH_KEY_BYTES], const uint8_t *prefix, size_t prefix_len,
		     const uint8_t ephemeral[static AUTH_KEY_BYTES], uint8_t gate[static GATE_BYTES]);

/* What both sides must agree on without saying it. */
void credentials_prologue(const struct credentials *c, const uint8_t prefix[static 16],
			  uint8_t out[static PROLOGUE_BYTES]);

/* The party whose gate (AUTH_KEY) or static key (AUTH_PEER) this is, or NULL. All are tried, whichever fits.
 */
const struct credential *credentials_by_gate(const struct credentials *c, const uint8_t prefix[static 16],
					     const uint8_t ephemeral[static AUTH_KEY_BYTES],
					     const uint8_t gate[static GATE_BYTES]);
const struct credential *credentials_by_pub(const struct credentials *c,
					    const uint8_t pub[static AUTH_KEY_BYTES]);

/* A name of the connection that both sides compute and nobody else knows: for people to compare. */
void credentials_channel_id(const uint8_t hash[static NOISE_HASH_BYTES], uint8_t id[static CHANNEL_ID_BYTES]);

#endif
