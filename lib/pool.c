/*
 * slot[head .. head+count) are the jobs inside, oldest first. `next` counts slots already given to a worker.
 *
 *   submit: count++, wake one worker        worker: takes slot[next++], runs it, marks it done
 *   take:   oldest done? head++, count--    worker: if it was the oldest, writes the eventfd
 *
 * Only the wire thread submits and takes, so count never grows between its look and its act.
 */
#include "lib/pool.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct slot {
	void *job;
	bool done;
};

struct pool {
	const struct pool_ops *ops;
	void *ctx;
	bool inline_run;
	void *inline_worker;
	int fd;
	pthread_t *thread;
	unsigned threads;

	pthread_mutex_t mu; /* guards all below */
	pthread_cond_t work;
	struct slot *slot;
	size_t depth, head, count, next;
	bool closed;
};

static struct slot *slot_at(struct pool *p, size_t i)
{
	return &p->slot[(p->head + i) % p->depth];
}

static void signal_oldest(struct pool *p)
{
	uint64_t one = 1;
	ssize_t n = write(p->fd, &one, sizeof one);
	(void)n; /* the counter cannot overflow: take resets it */
}

static void *worker_main(void *arg)
{
	struct pool *p = arg;
	void *worker = p->ops->worker_new ? p->ops->worker_new(p->ctx) : NULL;
	pthread_mutex_lock(&p->mu);
	for (;;) {
		while (p->next == p->count && !p->closed)
			pthread_cond_wait(&p->work, &p->mu);
		if (p->closed)
			break;
		struct slot *s = slot_at(p, p->next++);
		pthread_mutex_unlock(&p->mu);
		p->ops->run(p->ctx, worker, s->job);
		pthread_mutex_lock(&p->mu);
		s->done = true;
		if (s == slot_at(p, 0))
			signal_oldest(p);
	}
	pthread_mutex_unlock(&p->mu);
	if (p->ops->worker_free)
		p->ops->worker_free(worker);
	return NULL;
}

struct pool *pool_new(const struct pool_ops *ops, void *ctx, unsigned workers, size_t depth, bool inline_run)
{
	struct pool *p = calloc(1, sizeof *p);
	if (!p)
		return NULL;
	*p = (struct pool){.ops = ops, .ctx = ctx, .inline_run = inline_run, .depth = depth};
	pthread_mutex_init(&p->mu, NULL);
	pthread_cond_init(&p->work, NULL);
	p->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	p->slot = calloc(depth, sizeof *p->slot);
	p->thread = calloc(workers, sizeof *p->thread);
	if (p->fd < 0 || !p->slot || !p->thread)
		goto fail;
	if (inline_run) {
		p->inline_worker = ops->worker_new ? ops->worker_new(ctx) : NULL;
		return p;
	}
	for (; p->threads < workers; p->threads++)
		if (pthread_create(&p->thread[p->threads], NULL, worker_main, p) != 0)
			break;
	if (p->threads)
		return p; /* fewer workers than asked for still do the work */
fail:
	pool_free(p, NULL);
	return NULL;
}

bool pool_submit(struct pool *p, void *job)
{
	pthread_mutex_lock(&p->mu);
	bool taken = p->count < p->depth;
	if (taken) {
		*slot_at(p, p->count++) = (struct slot){.job = job};
		if (!p->inline_run)
			pthread_cond_signal(&p->work);
	}
	pthread_mutex_unlock(&p->mu);
	if (taken && p->inline_run) {
		p->ops->run(p->ctx, p->inline_worker, job);
		slot_at(p, p->count - 1)->done = true;
		signal_oldest(p);
	}
	return taken;
}

bool pool_full(const struct pool *p)
{
	return pool_count(p) >= p->depth;
}

void *pool_take(struct pool *p)
{
	void *job = NULL;
	pthread_mutex_lock(&p->mu);
	if (p->count && slot_at(p, 0)->done) {
		job = slot_at(p, 0)->job;
		p->head = (p->head + 1) % p->depth;
		p->count--;
		p->next -= p->inline_run ? 0 : 1;
	}
	if (!p->count || !slot_at(p, 0)->done) {
		uint64_t n;
		ssize_t got = read(p->fd, &n, sizeof n);
		(void)got; /* EAGAIN: it was clear */
	}
	pthread_mutex_unlock(&p->mu);
	return job;
}

size_t pool_count(const struct pool *p)
{
	struct pool *m = (struct pool *)(uintptr_t)p;
	pthread_mutex_lock(&m->mu);
	size_t n = p->count;
	pthread_mutex_unlock(&m->mu);
	return n;
}

int pool_fd(const struct pool *p)
{
	return p->fd;
}

void pool_free(struct pool *p, void (*drop)(void *ctx, void *job))
{
	if (!p)
		return;
	pthread_mutex_lock(&p->mu);
	p->closed = true;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->mu);
	for (unsigned i = 0; i < p->threads; i++)
		pthread_join(p->thread[i], NULL);
	if (p->inline_run && p->ops->worker_free && p->inline_worker)
		p->ops->worker_free(p->inline_worker);
	for (size_t i = 0; drop && i < p->count; i++)
		drop(p->ctx, slot_at(p, i)->job);
	if (p->fd >= 0)
		close(p->fd);
	pthread_cond_destroy(&p->work);
	pthread_mutex_destroy(&p->mu);
	free(p->thread);
	free(p->slot);
	free(p);
}
