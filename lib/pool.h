/*
 * An ordered stage: jobs go in, workers run them side by side, jobs come out in the order they went in.
 *
 * The one way threads share work in haul. The wire thread submits and takes and never waits; it polls
 * pool_fd, which becomes readable when the oldest job is finished. Bounded: at most `depth` jobs are inside,
 * and a refused job stays with the caller. A stage of one worker is a queue in front of something that blocks
 * (a slow reader, fsync). With inline set the caller's thread runs each job at once.
 */
#ifndef HAUL_LIB_POOL_H
#define HAUL_LIB_POOL_H

#include <stdbool.h>
#include <stddef.h>

struct pool;

struct pool_ops {
	/* What a worker keeps between jobs (contexts, scratch); may be NULL. */
	void *(*worker_new)(void *ctx);
	void (*worker_free)(void *worker);
	void (*run)(void *ctx, void *worker, void *job);
};

/* NULL when out of memory or threads. ops and ctx are borrowed until pool_free. */
struct pool *pool_new(const struct pool_ops *ops, void *ctx, unsigned workers, size_t depth, bool inline_run);

/* False when depth is reached: the caller keeps the job. */
bool pool_submit(struct pool *p, void *job);
bool pool_full(const struct pool *p);

/* The oldest job if it is finished, else NULL. The job moves to the caller. */
void *pool_take(struct pool *p);

/* Jobs inside. */
size_t pool_count(const struct pool *p);

/* Readable when pool_take may give something. pool_take clears it. */
int pool_fd(const struct pool *p);

/* Waits for what is running, joins, and gives every job still inside to drop (may be NULL). NULL p is fine.
 */
void pool_free(struct pool *p, void (*drop)(void *ctx, void *job));

#endif
