/*
 * The Noise handshakes haul uses, exactly as in the specification (revision 34), over libsodium:
 *
 *   Noise_NNpsk0_25519_ChaChaPoly_BLAKE2b    -> psk, e             <- e, ee
 *   Noise_IKpsk2_25519_ChaChaPoly_BLAKE2b    -> e, es, s, ss       <- e, ee, se, psk
 *
 * Sans-I/O: the ephemeral secret is an argument. The state lies in its owner's memory, owns nothing, and is
 * to be wiped (noise_wipe) as soon as the keys are split off or the handshake has failed.
 */
#ifndef HAUL_WIRE_NOISE_H
#define HAUL_WIRE_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NOISE_KEY_BYTES	 32u
#define NOISE_TAG_BYTES	 16u
#define NOISE_HASH_BYTES 64u

enum noise_pattern { NOISE_NNPSK0, NOISE_IKPSK2 };

struct noise_pair {
	uint8_t secret[NOISE_KEY_BYTES], pub[NOISE_KEY_BYTES];
};

struct noise {
	enum noise_pattern pattern;
	bool initiator;
	unsigned message; /* number of the next one */
	uint8_t ck[NOISE_HASH_BYTES], h[NOISE_HASH_BYTES], k[NOISE_KEY_BYTES];
	uint64_t n;
	struct noise_pair s, e;
	uint8_t rs[NOISE_KEY_BYTES], re[NOISE_KEY_BYTES];
	uint8_t psk[NOISE_KEY_BYTES]; /* may be set until the message that mixes it in */
};

/* The pair of a secret. */
void noise_pair_from(struct noise_pair *pair, const uint8_t secret[static NOISE_KEY_BYTES]);

/* Begins. NNpsk0 wants neither s nor rs; in IKpsk2 both sides have s, and the initiator has rs. The psk is
 * zero until n->psk is set. */
void noise_begin(struct noise *n, enum noise_pattern pattern, bool initiator, const uint8_t *prologue,
		 size_t prologue_len, const struct noise_pair *s, const uint8_t *rs,
		 const uint8_t ephemeral[static NOISE_KEY_BYTES]);

/* Bytes of the message that comes next, without its payload. */
size_t noise_overhead(const struct noise *n);

/* Writes the next message: noise_overhead and the payload's bytes. False: a key of the peer is unusable. */
bool noise_write(struct noise *n, const uint8_t *payload, size_t payload_len, uint8_t *out);

/* Reads the next message; payload takes len - noise_overhead bytes. False: it is not what the peer wrote, and
 * the handshake is over. */
bool noise_read(struct noise *n, const uint8_t *message, size_t len, uint8_t *payload);

/* After the last message: the keys of the two directions. */
void noise_split(const struct noise *n, uint8_t i2r[static NOISE_KEY_BYTES],
		 uint8_t r2i[static NOISE_KEY_BYTES]);

/* REKEY: the key that follows this one. */
void noise_rekey(uint8_t key[static NOISE_KEY_BYTES]);

void noise_wipe(struct noise *n);

#endif
