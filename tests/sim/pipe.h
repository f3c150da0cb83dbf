/* One direction of a simulated connection: bytes on their way, at most as many as a socket would hold. */
#ifndef HAUL_TESTS_PIPE_H
#define HAUL_TESTS_PIPE_H

#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#define PIPE_MAX (64u << 10)

struct pipe {
	size_t head, len, cap; /* cap <= PIPE_MAX */
	uint64_t allow;	       /* bytes it will still hand over before it breaks */
	uint64_t total;	       /* bytes handed over */
	uint8_t data[PIPE_MAX];
};

static inline void pipe_open(struct pipe *p, size_t cap, uint64_t allow)
{
	p->head = p->len = 0;
	p->cap = cap;
	p->allow = allow;
	p->total = 0;
}

/* Takes what fits of n bytes. */
static inline size_t pipe_put(struct pipe *p, const uint8_t *from, size_t n)
{
	if (n > p->cap - p->len)
		n = p->cap - p->len;
	size_t tail = (p->head + p->len) % PIPE_MAX, first = PIPE_MAX - tail;
	if (first > n)
		first = n;
	memcpy(p->data + tail, from, first);
	memcpy(p->data, from + first, n - first);
	p->len += n;
	return n;
}

/* Hands over up to n bytes, fewer when it is empty or breaks here. */
static inline size_t pipe_get(struct pipe *p, uint8_t *to, size_t n)
{
	if (n > p->len)
		n = p->len;
	if (n > p->allow)
		n = (size_t)p->allow;
	size_t first = PIPE_MAX - p->head;
	if (first > n)
		first = n;
	memcpy(to, p->data + p->head, first);
	memcpy(to + first, p->data, n - first);
	p->head = (p->head + n) % PIPE_MAX;
	p->len -= n;
	p->allow -= n;
	p->total += n;
	return n;
}

#endif
