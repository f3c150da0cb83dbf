#include "wire/cpace.h"

#include <string.h>

#include <sodium.h>

#define DSI	    "CPaceRistretto255"
#define DSI_ISK	    DSI "_ISK"
#define BLOCK_BYTES 128u /* SHA-512 takes in at a time */

static const struct cpace_bytes dsi = {(const uint8_t *)DSI, sizeof DSI - 1};
static const struct cpace_bytes dsi_isk = {(const uint8_t *)DSI_ISK, sizeof DSI_ISK - 1};

/* LEB128; returns its length */
static size_t length_encode(size_t n, uint8_t out[static 10])
{
	size_t k = 0;
	for (; n >= 0x80; n >>= 7)
		out[k++] = (uint8_t)(n | 0x80);
	out[k++] = (uint8_t)n;
	return k;
}

/* prepend_len, one term of lv_cat */
static void absorb(crypto_hash_sha512_state *h, struct cpace_bytes b)
{
	uint8_t length[10];
	crypto_hash_sha512_update(h, length, length_encode(b.n, length));
	if (b.n)
		crypto_hash_sha512_update(h, b.p, b.n);
}

static size_t prepended(struct cpace_bytes b)
{
	uint8_t length[10];
	return length_encode(b.n, length) + b.n;
}

void cpace_generator(struct cpace_bytes prs, struct cpace_bytes ci, struct cpace_bytes sid,
		     uint8_t g[static CPACE_POINT_BYTES])
{
	static const uint8_t zeros[BLOCK_BYTES];
	crypto_hash_sha512_state h;
	uint8_t hash[crypto_hash_sha512_BYTES];
	size_t used = prepended(prs) + prepended(dsi) + 1;
	struct cpace_bytes pad = {zeros, used < BLOCK_BYTES ? BLOCK_BYTES - used : 0};

	crypto_hash_sha512_init(&h);
	absorb(&h, dsi);
	absorb(&h, prs);
	absorb(&h, pad);
	absorb(&h, ci);
	absorb(&h, sid);
	crypto_hash_sha512_final(&h, hash);
	crypto_core_ristretto255_from_hash(g, hash);
	sodium_memzero(&h, sizeof h);
	sodium_memzero(hash, sizeof hash);
}

bool cpace_share(const uint8_t g[static CPACE_POINT_BYTES], const uint8_t entropy[static CPACE_SCALAR_BYTES],
		 uint8_t scalar[static CPACE_SCALAR_BYTES], uint8_t share[static CPACE_POINT_BYTES])
{
	memcpy(scalar, entropy, CPACE_SCALAR_BYTES);
	scalar[CPACE_SCALAR_BYTES - 1] &= 0x0f; /* 252 bits, below the order of the group */
	if (crypto_scalarmult_ristretto255(share, scalar, g) == 0)
		return true;
	sodium_memzero(share, CPACE_POINT_BYTES);
	return false;
}

bool cpace_finish(const uint8_t scalar[static CPACE_SCALAR_BYTES],
		  const uint8_t peer[static CPACE_POINT_BYTES], struct cpace_bytes sid,
		  const struct cpace_transcript *t, uint8_t isk[static CPACE_ISK_BYTES])
{
	crypto_hash_sha512_state h;
	uint8_t k[CPACE_POINT_BYTES];

	sodium_memzero(isk, CPACE_ISK_BYTES);
	/* refuses what does not decode, and a product that is the neutral element */
	if (crypto_scalarmult_ristretto255(k, scalar, peer) != 0) {
		sodium_memzero(k, sizeof k);
		return false;
	}
	crypto_hash_sha512_init(&h);
	absorb(&h, dsi_isk);
	absorb(&h, sid);
	absorb(&h, (struct cpace_bytes){k, sizeof k});
	absorb(&h, (struct cpace_bytes){t->ya, CPACE_POINT_BYTES});
	absorb(&h, t->ada);
	absorb(&h, (struct cpace_bytes){t->yb, CPACE_POINT_BYTES});
	absorb(&h, t->adb);
	crypto_hash_sha512_final(&h, isk);
	sodium_memzero(&h, sizeof h);
	sodium_memzero(k, sizeof k);
	return true;
}
