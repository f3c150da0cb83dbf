/* lib/backoff and lib/pace: every delay is within its bounds, every byte within the rate. */
#include "unit.h"

#include "lib/backoff.h"
#include "lib/pace.h"
#include "mutate.h"

static void delays_stay_in_bounds(void **state)
{
	static const struct {
		uint64_t min, max;
	} table[] = {{1, 1}, {500, 60000}, {500, 100}, {1, UINT64_MAX / 2}, {1000, 1001}, {100, 150}};
	(void)state;
	for (size_t i = 0; i < COUNT(table); i++) {
		struct backoff b;
		uint64_t min = table[i].min, max = table[i].max < min ? min : table[i].max, last = min;
		backoff_init(&b, min, table[i].max);
		for (unsigned n = 1; n <= 500; n++) {
			uint64_t d = backoff_next(&b);
			assert_true(d >= min && d <= max);
			assert_true(last > max / 3 || d <= 3 * (last > min ? last : min));
			assert_int_equal(b.attempts, n);
			last = d;
		}
		backoff_reset(&b);
		assert_int_equal(b.attempts, 0);
		uint64_t first = backoff_next(&b);
		assert_true(first >= min && (min > max / 3 || first <= 3 * min));
	}
}

static void delays_differ(void **state)
{
	struct backoff b;
	uint64_t least = UINT64_MAX, most = 0;
	(void)state;
	backoff_init(&b, 500, 60000);
	for (int i = 0; i < 1000; i++) {
		uint64_t d = backoff_next(&b);
		least = d < least ? d : least;
		most = d > most ? d : most;
	}
	assert_true(least < 5000 && most > 30000);
}

static void no_limit(void **state)
{
	struct pace p;
	(void)state;
	pace_init(&p, 0, 5);
	assert_true(pace_allowance(&p, 5) == UINT64_MAX);
	pace_spend(&p, UINT64_MAX);
	assert_true(pace_allowance(&p, 5) == UINT64_MAX);
	assert_int_equal(pace_wait_ms(&p), 0);
}

/* Whoever takes all he may, whenever he may, gets the rate: no more than it and a burst, and almost all of
 * it. */
static void the_rate_holds(void **state)
{
	static const uint64_t rates[] = {1, 1000, 100000, 10000000, UINT64_C(40000000000)};
	(void)state;
	for (size_t i = 0; i < COUNT(rates); i++) {
		struct prng rng = {i};
		struct pace p;
		uint64_t now = 1000, begin = now, sent = 0;
		pace_init(&p, rates[i], now);
		while (now - begin < UINT64_C(60000000000)) {
			uint64_t may = pace_allowance(&p, now);
			uint64_t n = may > 3 ? may - prng_below(&rng, 3) : may;
			pace_spend(&p, n);
			sent += n;
			assert_true((double)sent <=
				    (double)rates[i] * ((double)(now - begin) / 1e9 + 0.1) + 1025);
			uint64_t wait = pace_wait_ms(&p);
			now += (wait ? wait : 1) * 1000000;
		}
		if (rates[i] >= 1000)
			assert_true((double)sent > 0.9 * 60 * (double)rates[i]);
	}
}

/* What was not used is not saved up. */
static void no_saving_up(void **state)
{
	struct pace p;
	(void)state;
	pace_init(&p, 1000000, 0);
	assert_true(pace_allowance(&p, UINT64_C(3600000000000)) <= 100000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(delays_stay_in_bounds),
		cmocka_unit_test(delays_differ),
		cmocka_unit_test(no_limit),
		cmocka_unit_test(the_rate_holds),
		cmocka_unit_test(no_saving_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
