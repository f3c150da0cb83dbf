/* The replay ring against a plain list: what it holds, finds and frees; and the credit arithmetic beside it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/mutate.h"
#include "wire/credit.h"
#include "wire/ring.h"

static size_t live; /* blocks handed out and not given back */

static void put_counted(struct buf *b)
{
	live--;
	free(b);
}

static struct buf *block(size_t len)
{
	struct buf *b = buf_malloc(NULL, len);
	assert_non_null(b);
	b->len = len;
	b->put = put_counted;
	live++;
	return b;
}

static void holds_in_order(void **state)
{
	(void)state;
	struct ring r;
	assert_true(ring_init(&r, 1000));
	assert_int_equal(ring_find(&r, 0), 0);
	assert_true(ring_find(&r, 1) == SIZE_MAX);
	for (uint32_t i = 0; i < 10; i++)
		ring_push(&r, (uint8_t)(0x20 + i), 10 + i, block(i));
	assert_int_equal(r.count, 10);
	assert_true(r.start == 0 && r.end == 145 && r.stored == 45);
	uint64_t offset = 0;
	for (size_t i = 0; i < 10; i++) {
		const struct ring_entry *e = ring_at(&r, i);
		assert_true(e->offset == offset && e->cost == 10 + i && e->type == 0x20 + i &&
			    e->body->len == i);
		assert_int_equal(ring_find(&r, offset), i);
		assert_true(ring_offset_at(&r, i) == offset);
		/* inside a message there is nothing to resume from */
		for (uint64_t in = 1; in < e->cost; in++)
			assert_true(ring_find(&r, offset + in) == SIZE_MAX);
		offset += e->cost;
	}
	assert_int_equal(ring_find(&r, 145), 10);
	assert_true(ring_find(&r, 146) == SIZE_MAX);
	assert_true(ring_find(&r, UINT64_MAX) == SIZE_MAX);
	assert_true(ring_offset_at(&r, 10) == 145);
	ring_free(&r);
	assert_int_equal(live, 0);
}

static void releases_whole_messages(void **state)
{
	(void)state;
	struct ring r;
	assert_true(ring_init(&r, 1000));
	for (int i = 0; i < 4; i++)
		ring_push(&r, 0x23, 10, block(7));
	ring_release(&r, 9);
	assert_int_equal(r.count, 4);
	ring_release(&r, 19);
	assert_true(r.count == 3 && r.start == 10 && r.stored == 21 && live == 3);
	assert_true(ring_find(&r, 0) == SIZE_MAX);
	assert_int_equal(ring_find(&r, 10), 0);
	ring_release(&r, 5); /* going back frees nothing */
	assert_int_equal(r.count, 3);
	ring_release(&r, UINT64_MAX);
	assert_true(r.count == 0 && r.start == 40 && r.end == 40 && r.stored == 0 && live == 0);
	/* empty: only the trailing edge can be resumed */
	assert_int_equal(ring_find(&r, 40), 0);
	assert_true(ring_find(&r, 39) == SIZE_MAX);
	assert_true(ring_find(&r, 0) == SIZE_MAX);
	ring_free(&r);
}

static void room(void **state)
{
	(void)state;
	struct ring r;
	assert_true(ring_init(&r, 100));
	assert_true(ring_has_room(&r, 100000)); /* alone, anything fits */
	ring_push(&r, 0x23, 1, block(60));
	assert_true(ring_has_room(&r, 40));
	assert_false(ring_has_room(&r, 41));
	assert_false(ring_has_room(&r, SIZE_MAX));
	ring_push(&r, 0x23, 1, block(40));
	assert_false(ring_has_room(&r, 0));
	ring_release(&r, 1);
	assert_true(ring_has_room(&r, 60));
	ring_release(&r, 2);
	ring_push(&r, 0x23, 1, block(5000));
	assert_false(ring_has_room(&r, 0));
	ring_release(&r, 3);
	assert_true(ring_has_room(&r, 5000));
	ring_free(&r);
	assert_int_equal(live, 0);
}

static void many_small_ones_fill_it_too(void **state)
{
	(void)state;
	struct ring r;
	assert_true(ring_init(&r, 1u << 30));
	for (unsigned i = 0; i < LINK_MESSAGES_MAX; i++) {
		assert_true(ring_has_room(&r, 0));
		ring_push(&r, 0x26, 1, block(0));
	}
	assert_false(ring_has_room(&r, 0));
	ring_release(&r, 1);
	assert_true(ring_has_room(&r, 0));
	ring_free(&r);
	assert_int_equal(live, 0);
}

/* A random life, beside a list that is too simple to be wrong. */
static void agrees_with_a_list(void **state)
{
	(void)state;
	struct prng p = {1};
	enum { MODEL_MAX = 20000 };
	static struct {
		uint64_t offset;
		uint32_t cost;
		size_t stored;
	} list[MODEL_MAX];
	size_t first = 0, last = 0;
	uint64_t end = 0, stored = 0;
	struct ring r;
	assert_true(ring_init(&r, 20000));
	while (last < MODEL_MAX) {
		size_t n = prng_below(&p, 300);
		bool fits = first == last ||
			    (last - first < LINK_MESSAGES_MAX && stored < 20000 && stored + n <= 20000);
		assert_int_equal(ring_has_room(&r, n), fits);
		if (fits && prng_below(&p, 3)) {
			uint32_t cost = (uint32_t)(1 + prng_below(&p, 50));
			ring_push(&r, 0x23, cost, block(n));
			list[last].offset = end;
			list[last].cost = cost;
			list[last++].stored = n;
			end += cost;
			stored += n;
		} else {
			uint64_t start = first < last ? list[first].offset : end;
			uint64_t upto = start + prng_below(&p, (size_t)(end - start) + 2);
			ring_release(&r, upto);
			while (first < last && list[first].offset + list[first].cost <= upto)
				stored -= list[first++].stored;
		}
		assert_true(r.count == last - first && r.end == end && r.stored == stored && live == r.count);
		assert_true(r.start == (first < last ? list[first].offset : end));
		uint64_t ask = r.start + prng_below(&p, (size_t)(end - r.start) + 3);
		size_t want = ask == end ? last - first : SIZE_MAX;
		for (size_t i = first; i < last; i++)
			if (list[i].offset == ask)
				want = i - first;
		assert_true(ring_find(&r, ask) == want);
	}
	ring_free(&r);
	assert_int_equal(live, 0);
}

/* ---- credit ---- */

static void a_window_is_kept(void **state)
{
	(void)state;
	struct credit c = {.granted = 100, .sent = 60, .acked = 20};
	assert_true(credit_allows(&c, 40));
	assert_false(credit_allows(&c, 41));
	assert_false(credit_allows(&c, UINT64_MAX));
	c.sent = 100;
	assert_false(credit_allows(&c, 1));
	c.sent = 140; /* one large message is out */
	assert_false(credit_allows(&c, 1));
}

static void one_large_message_passes_alone(void **state)
{
	(void)state;
	struct credit c = {.granted = 1, .sent = 0, .acked = 0};
	assert_true(credit_allows(&c, 1u << 20));
	c.sent = 1u << 20;
	assert_false(credit_allows(&c, 1));
	c.acked = c.sent;
	assert_true(credit_allows(&c, 1u << 20));
	c = (struct credit){.granted = 0, .sent = 7, .acked = 7};
	assert_true(credit_allows(&c, 5));
}

/* Whatever the sender's rule lets go, the receiver's rule lets in, when its acks are on their way. */
static void both_rules_agree(void **state)
{
	(void)state;
	struct prng p = {2};
	for (int k = 0; k < 200000; k++) {
		uint64_t window = 1 + prng_below(&p, 20);
		uint64_t acked = prng_below(&p, 20), written = acked + prng_below(&p, 20);
		struct credit c = {.granted = acked + window, .acked = acked};
		c.sent = written + prng_below(&p, 20);
		uint64_t cost = 1 + prng_below(&p, 30);
		if (c.sent == c.acked)
			assert_true(written == c.sent);
		if (credit_allows(&c, cost))
			assert_true(credit_covers(written + window, written, c.sent, cost));
	}
	assert_true(credit_covers(10, 50, 50, 1000));
	assert_false(credit_covers(10, 50, 51, 1));
	assert_false(credit_covers(100, 50, 51, 50));
	assert_true(credit_covers(100, 50, 51, 49));
	assert_false(credit_covers(100, 50, 60, UINT64_MAX - 10));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(holds_in_order),
		cmocka_unit_test(releases_whole_messages),
		cmocka_unit_test(room),
		cmocka_unit_test(many_small_ones_fill_it_too),
		cmocka_unit_test(agrees_with_a_list),
		cmocka_unit_test(a_window_is_kept),
		cmocka_unit_test(one_large_message_passes_alone),
		cmocka_unit_test(both_rules_agree),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
