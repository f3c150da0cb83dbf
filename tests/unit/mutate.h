/*
 * What every decoder test shares: a seeded generator, and the walk over all small damages of a byte string.
 * Each damaged copy lies in a block of exactly its own size, so that a sanitizer sees a read behind its end.
 */
#ifndef HAUL_TESTS_MUTATE_H
#define HAUL_TESTS_MUTATE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* splitmix64 */
struct prng {
	uint64_t state;
};

static inline uint64_t prng_next(struct prng *p)
{
	uint64_t z = (p->state += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* 0 <= result < n; n > 0 */
static inline size_t prng_below(struct prng *p, size_t n)
{
	return (size_t)(prng_next(p) % n);
}

static inline void prng_fill(struct prng *p, uint8_t *out, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = (uint8_t)prng_next(p);
}

enum mutation { MUTATE_NONE, MUTATE_BIT, MUTATE_BYTE, MUTATE_CUT, MUTATE_APPEND };

/* at: bit, byte, remaining length, or number of appended bytes */
typedef void mutate_visit(void *ctx, enum mutation kind, size_t at, const uint8_t *p, size_t n);

static inline void mutate_one(const uint8_t *p, size_t n, enum mutation kind, size_t at, size_t byte,
			      uint8_t value, mutate_visit *visit, void *ctx)
{
	size_t len = kind == MUTATE_CUT ? at : kind == MUTATE_APPEND ? n + at : n;
	uint8_t *copy = malloc(len ? len : 1);
	if (!copy)
		abort();
	if (n && len)
		memcpy(copy, p, len < n ? len : n);
	if (len > n)
		memset(copy + n, value, len - n);
	if (kind == MUTATE_BIT || kind == MUTATE_BYTE)
		copy[byte] = value;
	visit(ctx, kind, at, copy, len);
	free(copy);
}

/* Every bit flipped, every byte set to 00, ff and its successor, every shorter length, 1 and 9 bytes
 * appended. */
static inline void mutate_each(const uint8_t *p, size_t n, mutate_visit *visit, void *ctx)
{
	for (size_t i = 0; i < 8 * n; i++)
		mutate_one(p, n, MUTATE_BIT, i, i / 8, (uint8_t)(p[i / 8] ^ 1u << i % 8), visit, ctx);
	for (size_t i = 0; i < n; i++) {
		const uint8_t values[] = {0x00, 0xff, (uint8_t)(p[i] + 1)};
		for (size_t k = 0; k < sizeof values; k++)
			if (values[k] != p[i])
				mutate_one(p, n, MUTATE_BYTE, i, i, values[k], visit, ctx);
	}
	for (size_t len = 0; len < n; len++)
		mutate_one(p, n, MUTATE_CUT, len, 0, 0, visit, ctx);
	mutate_one(p, n, MUTATE_APPEND, 1, 0, 0x00, visit, ctx);
	mutate_one(p, n, MUTATE_APPEND, 1, 0, 0xa5, visit, ctx);
	mutate_one(p, n, MUTATE_APPEND, 9, 0, 0xff, visit, ctx);
}

#endif
