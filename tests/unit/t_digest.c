/* lib/digest: known answers, so that two implementations agree; order does not matter, place does. */
#include "unit.h"

#include "lib/digest.h"
#include "mutate.h"

static void hex(const uint8_t digest[DIGEST_BYTES], char out[33])
{
	for (size_t i = 0; i < DIGEST_BYTES; i++)
		sprintf(out + 2 * i, "%02x", digest[i]);
}

/* The published XXH3-128 of nothing is 99aa06d3014798d8 6001c324468d497f; the low half is written first, each
 * half little-endian. */
static void known_answers(void **state)
{
	static const struct {
		const char *text;
		uint64_t seed;
		const char *want;
	} table[] = {
		{"", 0, "7f498d4624c30160d8984701d306aa99"},
		{"haul", 1234567890123, "72181d0fbba97c2c8f04251755b84fbe"},
	};
	uint8_t d[DIGEST_BYTES];
	char text[33];
	(void)state;
	for (size_t i = 0; i < COUNT(table); i++) {
		digest_chunk(table[i].seed, (const uint8_t *)table[i].text, strlen(table[i].text), d);
		hex(d, text);
		assert_string_equal(text, table[i].want);
	}
}

/* Two chunks and a file of nothing; whoever changes these changes the protocol. */
static void known_sums(void **state)
{
	struct digest_sum sum = {0, 0};
	uint8_t d[DIGEST_BYTES];
	char text[33];
	(void)state;
	digest_sum_end(&sum, 0, d);
	hex(d, text);
	assert_string_equal(text, "2a8ac7e44ef93d74202329e27c5ce410");
	digest_chunk(7, (const uint8_t *)"first", 5, d);
	digest_sum_add(&sum, 0, d);
	digest_chunk(7, (const uint8_t *)"second", 6, d);
	digest_sum_add(&sum, 4096, d);
	digest_sum_end(&sum, 4102, d);
	hex(d, text);
	assert_string_equal(text, "c28bd9123604a0843b63a51b4867d5b7");
}

static void sum_of(const uint8_t (*digest)[DIGEST_BYTES], const uint64_t *offset, const size_t *order,
		   size_t n, uint64_t size, uint8_t out[DIGEST_BYTES])
{
	struct digest_sum sum = {0, 0};
	for (size_t i = 0; i < n; i++)
		digest_sum_add(&sum, offset[order[i]], digest[order[i]]);
	digest_sum_end(&sum, size, out);
}

static void order_does_not_matter(void **state)
{
	enum { N = 64 };
	uint8_t digest[N][DIGEST_BYTES], first[DIGEST_BYTES], again[DIGEST_BYTES];
	uint64_t offset[N];
	size_t order[N];
	struct prng rng = {1};
	(void)state;
	for (size_t i = 0; i < N; i++) {
		prng_fill(&rng, digest[i], DIGEST_BYTES);
		offset[i] = i << 20;
		order[i] = i;
	}
	sum_of(digest, offset, order, N, 12345, first);
	for (int round = 0; round < 100; round++) {
		for (size_t i = N - 1; i > 0; i--) {
			size_t k = prng_below(&rng, i + 1), t = order[i];
			order[i] = order[k];
			order[k] = t;
		}
		sum_of(digest, offset, order, N, 12345, again);
		assert_memory_equal(first, again, DIGEST_BYTES);
	}
}

static void place_size_and_content_matter(void **state)
{
	uint8_t digest[2][DIGEST_BYTES] = {{1}, {2}}, base[DIGEST_BYTES], other[DIGEST_BYTES];
	const size_t order[] = {0, 1};
	const uint64_t offset[] = {0, 4096}, swapped[] = {4096, 0};
	(void)state;
	sum_of(digest, offset, order, 2, 8192, base);
	sum_of(digest, swapped, order, 2, 8192, other);
	assert_memory_not_equal(base, other, DIGEST_BYTES);
	sum_of(digest, offset, order, 2, 8193, other);
	assert_memory_not_equal(base, other, DIGEST_BYTES);
	sum_of(digest, offset, order, 1, 8192, other);
	assert_memory_not_equal(base, other, DIGEST_BYTES);
	digest[1][15] ^= 1;
	sum_of(digest, offset, order, 2, 8192, other);
	assert_memory_not_equal(base, other, DIGEST_BYTES);
}

static void seed_matters(void **state)
{
	static const size_t sizes[] = {0, 1, 16, 17, 128, 129, 240, 241, 5000};
	static uint8_t p[5000];
	uint8_t a[DIGEST_BYTES], b[DIGEST_BYTES];
	(void)state;
	for (size_t i = 0; i < COUNT(sizes); i++) {
		digest_chunk(1, p, sizes[i], a);
		digest_chunk(2, p, sizes[i], b);
		assert_memory_not_equal(a, b, DIGEST_BYTES);
		digest_chunk(1, p, sizes[i], b);
		assert_memory_equal(a, b, DIGEST_BYTES);
	}
	assert_int_not_equal(digest_stamp(p, 8), digest_stamp(p, 9));
}

/* The carry from the low half to the high one. */
static void the_sum_carries(void **state)
{
	uint8_t d[DIGEST_BYTES] = {9};
	struct digest_sum zero = {0, 0}, full = {UINT64_MAX, 0};
	(void)state;
	digest_sum_add(&zero, 0, d);
	digest_sum_add(&full, 0, d);
	assert_true(full.low == zero.low - 1);
	assert_true(full.high == zero.high + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_answers),	 cmocka_unit_test(known_sums),
		cmocka_unit_test(order_does_not_matter), cmocka_unit_test(place_size_and_content_matter),
		cmocka_unit_test(seed_matters),		 cmocka_unit_test(the_sum_carries),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
