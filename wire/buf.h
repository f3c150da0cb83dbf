/*
 * A block of bytes with one owner at a time. The window [off, off + len) is its content; what lies before
 * off is headroom, so that fixed fields are written in front of a payload without moving it.
 */
#ifndef HAUL_WIRE_BUF_H
#define HAUL_WIRE_BUF_H

#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *data;
	size_t cap, off, len;
	void (*put)(struct buf *b); /* gives it back to where it came from */
	void *owner;		    /* for put */
	struct buf *next;	    /* for free lists of the source */
};

/* Where blocks come from: get returns a block of at least cap bytes, off and len 0, or NULL. */
struct buf_source {
	struct buf *(*get)(void *ctx, size_t cap);
	void *ctx;
};

static inline uint8_t *buf_bytes(const struct buf *b)
{
	return b->data + b->off;
}

/* NULL is fine. */
static inline void buf_put(struct buf *b)
{
	if (b)
		b->put(b);
}

/* A source on malloc, one block each. */
struct buf *buf_malloc(void *ctx, size_t cap);

#endif
