/* A record opens if it is what the peer sealed, in the place where it was sealed, and in no other case. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/mutate.h"
#include "wire/seal.h"

#define BODY_MAX 2048

struct sealed {
	uint8_t p[FRAME_HEAD_BYTES + BODY_MAX + RECORD_TAG_MAX_BYTES];
	size_t n;
};

static struct sealed seal(struct seal *s, struct prng *p, size_t body_len)
{
	struct sealed r;
	uint8_t tag[RECORD_TAG_MAX_BYTES];
	prng_fill(p, r.p, FRAME_HEAD_BYTES + body_len);
	seal_close(s, r.p, r.p + FRAME_HEAD_BYTES, body_len, tag);
	r.n = FRAME_HEAD_BYTES + body_len;
	memcpy(r.p + r.n, tag, seal_tag_bytes(s));
	r.n += seal_tag_bytes(s);
	return r;
}

/* on a copy: opening may decrypt in place */
static bool opens(struct seal s, const uint8_t *p, size_t n)
{
	size_t body_len;
	uint8_t *copy = malloc(n ? n : 1);
	assert_non_null(copy);
	memcpy(copy, p, n);
	bool good = seal_open(&s, copy, n, &body_len);
	free(copy);
	return good;
}

static void round_trip(void **state)
{
	(void)state;
	struct prng p = {1};
	struct seal tx = {0}, rx = {0};
	for (size_t len = 0; len <= BODY_MAX; len += len < 300 ? 1 : 97) {
		struct sealed r = seal(&tx, &p, len);
		size_t body_len = SIZE_MAX;
		assert_true(seal_open(&rx, r.p, r.n, &body_len));
		assert_int_equal(body_len, len);
	}
	assert_true(tx.number == rx.number && tx.number > 300);
}

static void refused(void *ctx, enum mutation kind, size_t at, const uint8_t *p, size_t n)
{
	const struct seal *rx = ctx;
	if (opens(*rx, p, n))
		fail_msg("a record opens after mutation %d at %zu", kind, at);
}

static void mutations(void **state)
{
	(void)state;
	struct prng p = {2};
	static const size_t lengths[] = {0, 1, 7, 8, 9, 16, 17, 128, 129, 240, 241, 513};
	struct seal tx = {0};
	for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
		struct seal rx = tx;
		struct sealed r = seal(&tx, &p, lengths[i]);
		assert_true(opens(rx, r.p, r.n));
		mutate_each(r.p, r.n, refused, &rx);
	}
}

static void only_in_its_place(void **state)
{
	(void)state;
	struct prng p = {3};
	struct seal tx = {0};
	struct sealed r[8];
	for (size_t i = 0; i < 8; i++)
		r[i] = seal(&tx, &p, i * 5);
	/* lost, repeated and moved records are all the same thing: a record under another number */
	for (size_t number = 0; number < 8; number++)
		for (size_t i = 0; i < 8; i++) {
			struct seal rx = {.number = number};
			if (opens(rx, r[i].p, r[i].n) != (i == number))
				fail_msg("record %zu as number %zu", i, number);
		}
}

static void equal_records_have_different_tags(void **state)
{
	(void)state;
	struct seal tx = {0};
	struct sealed a = seal(&tx, &(struct prng){4}, 64), b = seal(&tx, &(struct prng){4}, 64);
	size_t tag = seal_tag_bytes(&tx);
	assert_memory_equal(a.p, b.p, a.n - tag);
	assert_memory_not_equal(a.p + a.n - tag, b.p + b.n - tag, tag);
}

static void too_short_for_a_record(void **state)
{
	(void)state;
	struct seal s = {0};
	size_t least = FRAME_HEAD_BYTES + seal_tag_bytes(&s);
	uint8_t *p = calloc(1, least);
	assert_non_null(p);
	for (size_t n = 0; n < least; n++)
		assert_false(opens(s, p + least - n, n));
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(mutations),
		cmocka_unit_test(only_in_its_place),
		cmocka_unit_test(equal_records_have_different_tags),
		cmocka_unit_test(too_short_for_a_record),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
