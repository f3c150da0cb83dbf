/*
 * Digests of content: XXH3-128 of each chunk, seeded by the session, and their sum for a whole file.
 *
 * The sum adds, modulo 2^128, XXH3-128 of (index, digest) of every chunk that is not a hole, and of the size.
 * Addition does not care for order, so chunks may be digested side by side, arrive in any order and be taken
 * over from an earlier run; the index keeps two chunks from changing places.
 */
#ifndef HAUL_LIB_DIGEST_H
#define HAUL_LIB_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#define DIGEST_BYTES 16

struct digest_sum {
	uint64_t low, high;
};

void digest_chunk(uint64_t seed, const uint8_t *p, size_t n, uint8_t out[static DIGEST_BYTES]);
/* index: offset of the chunk in bytes. */
void digest_sum_add(struct digest_sum *sum, uint64_t offset, const uint8_t digest[static DIGEST_BYTES]);
void digest_sum_end(const struct digest_sum *sum, uint64_t size, uint8_t out[static DIGEST_BYTES]);

/* 64 bits of a name, for a set that lives in this process. */
uint64_t digest_name(uint64_t seed, const void *p, size_t n);

/* A 64-bit stamp of anything fixed in size (source identity on the wire). */
uint64_t digest_stamp(const void *p, size_t n);

#endif
