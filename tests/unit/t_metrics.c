/* session_add_metrics: what several sessions of one run add up to. */
#include "unit.h"

#include "lib/sender.h"

static uint64_t all_of(const struct metrics *m)
{
	return m->bytes + m->kept_bytes + m->skipped_bytes;
}

/* A run over a (10), b (20) and c (40), of which 5 of b were there before; the receiver is killed
 * when a is committed and 12 of b's 15 are sent. */
static struct metrics first_of_two(void)
{
	struct metrics first = {.files = 1,
				.bytes = 22,
				.kept_bytes = 5,
				.committed_bytes = 10,
				.wire_out = 30,
				.reconnects = 1,
				.resent_bytes = 3};
	session_add_metrics(&first, &(struct metrics){0});
	assert_int_equal(first.bytes, 22);
	assert_int_equal(first.resent_bytes, 3);
	return first;
}

static void nothing_was_lost(void **state)
{
	(void)state;
	struct metrics first = first_of_two();
	/* 17 of b are found, and 7 of c, of an earlier run that this one had not come to */
	struct metrics last = {.files = 2,
			       .skipped = 1,
			       .skipped_bytes = 10,
			       .bytes = 3 + 33,
			       .kept_bytes = 17 + 7,
			       .committed_bytes = 60,
			       .committed_kept = 17 + 7};
	session_add_metrics(&last, &first);
	assert_int_equal(all_of(&last), 70);
	assert_int_equal(last.bytes, 22 + 36);
	assert_int_equal(last.kept_bytes, 5 + 7);
	assert_int_equal(last.skipped_bytes, 0);
	assert_int_equal(last.skipped, 0);
	assert_int_equal(last.files, 3);
	assert_int_equal(last.resent_bytes, 3);
	assert_int_equal(last.wire_out, 30);
}

static void all_was_lost(void **state)
{
	(void)state;
	struct metrics first = first_of_two();
	/* only what was recorded before is found */
	struct metrics last = {.files = 2,
			       .skipped = 1,
			       .skipped_bytes = 10,
			       .bytes = 15 + 40,
			       .kept_bytes = 5,
			       .committed_bytes = 60,
			       .committed_kept = 5};
	session_add_metrics(&last, &first);
	assert_int_equal(all_of(&last), 70);
	assert_int_equal(last.bytes, 10 + 55);
	assert_int_equal(last.kept_bytes, 5);
	assert_int_equal(last.resent_bytes, 3 + 12);
}

/* A session that comes to nothing between two others takes nothing away. */
static void idle_session(void **state)
{
	(void)state;
	struct metrics first = first_of_two(), idle = {.wire_out = 1};
	session_add_metrics(&idle, &first);
	assert_int_equal(idle.bytes, 22);
	assert_int_equal(idle.kept_bytes, 5);
	struct metrics last = {.files = 2,
			       .skipped = 1,
			       .skipped_bytes = 10,
			       .bytes = 3 + 40,
			       .kept_bytes = 17,
			       .committed_bytes = 60,
			       .committed_kept = 17};
	session_add_metrics(&last, &idle);
	assert_int_equal(all_of(&last), 70);
	assert_int_equal(last.resent_bytes, 3);
	assert_int_equal(last.wire_out, 31);
}

/* Whatever a peer makes of it, nothing goes below zero. */
static void nonsense(void **state)
{
	(void)state;
	struct metrics first = {.committed_bytes = 100, .committed_kept = 7, .open_sent = 9},
		       last = {.bytes = 1};
	session_add_metrics(&first, &(struct metrics){.open_kept = 50, .open_sent = 60});
	session_add_metrics(&last, &first);
	assert_true(last.bytes <= 1 && last.kept_bytes == 0 && last.skipped_bytes == 0 &&
		    last.resent_bytes <= 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_was_lost),
		cmocka_unit_test(all_was_lost),
		cmocka_unit_test(idle_session),
		cmocka_unit_test(nonsense),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
