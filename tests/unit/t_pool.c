/* lib/pool: order, bounds, inline mode, and freeing at any moment. Also worth running under tsan. */
#include "unit.h"

#include <poll.h>
#include <stdatomic.h>

#include "lib/pool.h"
#include "mutate.h"

struct job {
	unsigned number, sleep_us;
	bool ran;
};

struct stage {
	atomic_uint workers_made, workers_freed, running, most;
	unsigned dropped;
};

static void *worker_new(void *ctx)
{
	struct stage *s = ctx;
	atomic_fetch_add(&s->workers_made, 1);
	return s;
}

static void worker_free(void *worker)
{
	struct stage *s = worker;
	atomic_fetch_add(&s->workers_freed, 1);
}

static void run(void *ctx, void *worker, void *arg)
{
	struct stage *s = ctx;
	struct job *job = arg;
	assert_ptr_equal(worker, s);
	unsigned now = atomic_fetch_add(&s->running, 1) + 1, most = atomic_load(&s->most);
	while (now > most && !atomic_compare_exchange_weak(&s->most, &most, now))
		;
	if (job->sleep_us)
		usleep(job->sleep_us);
	job->ran = true;
	atomic_fetch_sub(&s->running, 1);
}

static const struct pool_ops ops = {worker_new, worker_free, run};
static const struct pool_ops bare_ops = {.run = run};

static void drop(void *ctx, void *job)
{
	struct stage *s = ctx;
	s->dropped++;
	free(job);
}

static struct job *job_new(unsigned number, unsigned sleep_us)
{
	struct job *j = calloc(1, sizeof *j);
	assert_non_null(j);
	*j = (struct job){.number = number, .sleep_us = sleep_us};
	return j;
}

static bool readable(struct pool *p, int timeout_ms)
{
	struct pollfd fd = {pool_fd(p), POLLIN, 0};
	return poll(&fd, 1, timeout_ms) == 1;
}

static void take_in_order(struct pool *p, unsigned *next)
{
	struct job *j;
	while ((j = pool_take(p))) {
		assert_int_equal(j->number, (*next)++);
		assert_true(j->ran);
		free(j);
	}
}

static void in_order(unsigned workers, size_t depth, unsigned count, bool inline_run)
{
	struct stage s = {0};
	struct prng rng = {workers * 1000 + depth};
	struct pool *p = pool_new(&ops, &s, workers, depth, inline_run);
	unsigned sent = 0, taken = 0;
	assert_non_null(p);
	while (taken < count) {
		while (sent < count && !pool_full(p))
			assert_true(pool_submit(p, job_new(sent++, prng_below(&rng, 4) ? 0 : 200)));
		assert_true(pool_count(p) <= depth);
		assert_true(readable(p, 10000));
		take_in_order(p, &taken);
	}
	assert_false(readable(p, 0));
	assert_int_equal(pool_count(p), 0);
	pool_free(p, drop);
	assert_int_equal(s.dropped, 0);
	assert_int_equal(s.workers_made, s.workers_freed);
	assert_true(atomic_load(&s.most) <= workers);
}

static void jobs_come_out_in_order(void **state)
{
	(void)state;
	in_order(1, 1, 50, false);
	in_order(1, 8, 200, false);
	in_order(4, 3, 200, false);
	in_order(8, 64, 2000, false);
	in_order(1, 5, 50, true);
}

static void a_refused_job_stays(void **state)
{
	struct stage s = {0};
	struct pool *p = pool_new(&ops, &s, 1, 2, false);
	unsigned taken = 0;
	(void)state;
	assert_true(pool_submit(p, job_new(0, 20000)));
	assert_true(pool_submit(p, job_new(1, 0)));
	struct job *kept = job_new(2, 0);
	assert_false(pool_submit(p, kept));
	assert_false(kept->ran);
	assert_int_equal(pool_count(p), 2);
	while (!taken) {
		assert_true(readable(p, 10000));
		take_in_order(p, &taken);
	}
	assert_true(pool_submit(p, kept));
	while (taken < 3) {
		assert_true(readable(p, 10000));
		take_in_order(p, &taken);
	}
	pool_free(p, drop);
}

/* A later job that is done does not show until the oldest is. */
static void the_oldest_comes_first(void **state)
{
	struct stage s = {0};
	struct pool *p = pool_new(&ops, &s, 2, 4, false);
	unsigned taken = 0;
	(void)state;
	struct job *fast = job_new(1, 0);
	assert_true(pool_submit(p, job_new(0, 100000)));
	assert_true(pool_submit(p, fast));
	assert_null(pool_take(p));
	assert_true(readable(p, 10000));
	while (taken < 2) {
		assert_true(readable(p, 10000));
		take_in_order(p, &taken);
	}
	pool_free(p, drop);
}

static void inline_runs_at_once(void **state)
{
	struct stage s = {0};
	struct pool *p = pool_new(&ops, &s, 4, 3, true);
	(void)state;
	struct job *j = job_new(7, 0);
	assert_true(pool_submit(p, j));
	assert_true(j->ran);
	assert_true(readable(p, 0));
	assert_ptr_equal(pool_take(p), j);
	assert_false(readable(p, 0));
	assert_null(pool_take(p));
	assert_int_equal(s.workers_made, 1);
	free(j);
	pool_free(p, NULL);
	assert_int_equal(s.workers_freed, 1);
}

static void free_gives_jobs_back(void **state)
{
	(void)state;
	pool_free(NULL, NULL);
	for (unsigned workers = 1; workers <= 3; workers++)
		for (unsigned jobs = 0; jobs <= 6; jobs++) {
			struct stage s = {0};
			struct pool *p = pool_new(&ops, &s, workers, 6, false);
			for (unsigned i = 0; i < jobs; i++)
				assert_true(pool_submit(p, job_new(i, i % 2 ? 0 : 500)));
			pool_free(p, drop);
			assert_int_equal(s.dropped, jobs);
			assert_int_equal(s.workers_freed, s.workers_made);
		}
}

static void workers_without_context(void **state)
{
	(void)state;
	struct stage s = {0};
	for (int inline_run = 0; inline_run <= 1; inline_run++) {
		struct pool *p = pool_new(&bare_ops, &s, 2, 2, inline_run);
		assert_non_null(p);
		pool_free(p, NULL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(jobs_come_out_in_order), cmocka_unit_test(a_refused_job_stays),
		cmocka_unit_test(the_oldest_comes_first), cmocka_unit_test(inline_runs_at_once),
		cmocka_unit_test(free_gives_jobs_back),	  cmocka_unit_test(workers_without_context),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
