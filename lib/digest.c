#include "lib/digest.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "wire/cursor.h"

static void put128(XXH128_hash_t h, uint8_t out[static DIGEST_BYTES])
{
	struct wr w = wr_init(out, DIGEST_BYTES);
	wr_uint(&w, h.low64, 8);
	wr_uint(&w, h.high64, 8);
}

void digest_chunk(uint64_t seed, const uint8_t *p, size_t n, uint8_t out[static DIGEST_BYTES])
{
	put128(XXH3_128bits_withSeed(p, n, seed), out);
}

void digest_sum_add(struct digest_sum *sum, uint64_t offset, const uint8_t digest[static DIGEST_BYTES])
{
	uint8_t b[8 + DIGEST_BYTES];
	struct wr w = wr_init(b, sizeof b);
	wr_uint(&w, offset, 8);
	wr_bytes(&w, digest, DIGEST_BYTES);
	XXH128_hash_t h = XXH3_128bits(b, sizeof b);
	sum->low += h.low64;
	sum->high += h.high64 + (sum->low < h.low64);
}

void digest_sum_end(const struct digest_sum *sum, uint64_t size, uint8_t out[static DIGEST_BYTES])
{
	uint8_t b[24];
	struct wr w = wr_init(b, sizeof b);
	wr_uint(&w, sum->low, 8);
	wr_uint(&w, sum->high, 8);
	wr_uint(&w, size, 8);
	put128(XXH3_128bits(b, sizeof b), out);
}

uint64_t digest_name(uint64_t seed, const void *p, size_t n)
{
	return XXH3_64bits_withSeed(p, n, seed);
}

uint64_t digest_stamp(const void *p, size_t n)
{
	return XXH3_64bits(p, n);
}
