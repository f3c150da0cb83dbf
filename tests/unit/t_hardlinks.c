/* lib/hardlinks: who brings the content, who waits, who takes over, and what is forgotten when. */
#include "unit.h"

#include "lib/hardlinks.h"

static void names(void **state)
{
	(void)state;
	struct hardlinks *h = hardlinks_new(HARDLINKS_BYTES_MAX);
	struct hardlink *first, *second, *third, *other;
	char path[16];
	assert_int_equal(hardlinks_note(h, 1, 7, 3, "a", &first), HARDLINKS_FIRST);
	assert_int_equal(hardlinks_note(h, 2, 7, 2, "b", &other), HARDLINKS_FIRST); /* another device */
	assert_int_equal(hardlinks_note(h, 1, 7, 3, "c", &second), HARDLINKS_LATER);
	assert_int_equal(hardlinks_note(h, 1, 7, 3, "d", &third), HARDLINKS_LATER);
	assert_ptr_equal(first, second);
	assert_ptr_equal(first, third);
	assert_int_equal(hardlinks_state(h, second), HARDLINKS_PENDING);
	hardlinks_settle(h, first, true);
	hardlinks_put(h, first);
	assert_int_equal(hardlinks_state(h, second), HARDLINKS_THERE);
	assert_true(hardlinks_path(h, second, path, sizeof path));
	assert_string_equal(path, "a");
	assert_false(hardlinks_path(h, second, path, 1));
	hardlinks_put(h, second);
	hardlinks_put(h, third);
	/* all names have come by: this is another file with the same number */
	assert_int_equal(hardlinks_note(h, 1, 7, 2, "e", &first), HARDLINKS_FIRST);
	assert_int_equal(hardlinks_state(h, first), HARDLINKS_PENDING);
	hardlinks_put(h, first);
	/* one name has not: it is remembered though nobody waits */
	assert_int_equal(hardlinks_note(h, 1, 7, 2, "f", &second), HARDLINKS_LATER);
	hardlinks_free(h);
}

static void taking_over(void **state)
{
	(void)state;
	struct hardlinks *h = hardlinks_new(HARDLINKS_BYTES_MAX);
	struct hardlink *first, *second, *third;
	char path[16];
	hardlinks_note(h, 1, 1, 3, "a", &first);
	hardlinks_note(h, 1, 1, 3, "b", &second);
	hardlinks_note(h, 1, 1, 3, "c", &third);
	hardlinks_settle(h, first, false);
	hardlinks_put(h, first);
	assert_int_equal(hardlinks_state(h, second), HARDLINKS_FAILED);
	assert_true(hardlinks_renew(h, second, "a-longer-b"));
	assert_int_equal(hardlinks_state(h, third), HARDLINKS_PENDING);
	hardlinks_settle(h, second, true);
	hardlinks_put(h, second);
	assert_true(hardlinks_path(h, third, path, sizeof path));
	assert_string_equal(path, "a-longer-b");
	hardlinks_put(h, third);
	hardlinks_free(h);
}

static void bounded(void **state)
{
	(void)state;
	struct hardlinks *h = hardlinks_new(1000);
	struct hardlink *l[100];
	size_t taken = 0;
	for (uint64_t i = 0; i < 100; i++)
		taken += hardlinks_note(h, 1, i, 2, "some/path", &l[i]) == HARDLINKS_FIRST;
	assert_true(taken > 2 && taken < 12);
	assert_int_equal(hardlinks_alone(h), 100 - taken);
	assert_null(l[99]);
	/* the other name of one that is remembered costs nothing; with it there is room again */
	struct hardlink *later;
	assert_int_equal(hardlinks_note(h, 1, 0, 2, "other", &later), HARDLINKS_LATER);
	assert_int_equal(hardlinks_note(h, 1, 99, 2, "some/path", &l[99]), HARDLINKS_ALONE);
	hardlinks_put(h, l[0]);
	hardlinks_put(h, later);
	assert_int_equal(hardlinks_note(h, 1, 99, 2, "some/path", &l[99]), HARDLINKS_FIRST);
	hardlinks_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(taking_over),
		cmocka_unit_test(bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
