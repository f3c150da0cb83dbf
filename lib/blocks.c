#include "lib/blocks.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct blocks {
	size_t large, keep;
	pthread_mutex_t mu; /* guards kept and free */
	size_t kept;
	struct buf *free;
};

struct blocks *blocks_new(size_t large, size_t keep)
{
	struct blocks *b = calloc(1, sizeof *b);
	if (b) {
		*b = (struct blocks){.large = large, .keep = keep};
		pthread_mutex_init(&b->mu, NULL);
	}
	return b;
}

void blocks_free(struct blocks *b)
{
	if (!b)
		return;
	for (struct buf *f = b->free, *next; f; f = next) {
		next = f->next;
		free(f);
	}
	pthread_mutex_destroy(&b->mu);
	free(b);
}

static void put_large(struct buf *block)
{
	struct blocks *b = block->owner;
	pthread_mutex_lock(&b->mu);
	bool keep = b->kept < b->keep;
	if (keep) {
		block->next = b->free;
		b->free = block;
		b->kept++;
	}
	pthread_mutex_unlock(&b->mu);
	if (!keep)
		free(block);
}

static struct buf *get_large(struct blocks *b)
{
	pthread_mutex_lock(&b->mu);
	struct buf *block = b->free;
	if (block) {
		b->free = block->next;
		b->kept--;
	}
	pthread_mutex_unlock(&b->mu);
	if (!block) {
		block = buf_malloc(NULL, b->large);
		if (!block)
			return NULL;
		block->owner = b;
		block->put = put_large;
	}
	block->off = block->len = 0;
	return block;
}

struct buf *blocks_get(struct blocks *b, size_t cap)
{
	return cap > b->large / 2 && cap <= b->large ? get_large(b) : buf_malloc(NULL, cap);
}

static struct buf *source_get(void *ctx, size_t cap)
{
	return blocks_get(ctx, cap);
}

struct buf_source blocks_source(struct blocks *b)
{
	return (struct buf_source){source_get, b};
}

struct buf *blocks_fit(struct blocks *b, struct buf *block)
{
	(void)b;
	if (block->len > block->cap / 2 || block->cap < 4096)
		return block;
	struct buf *fit = buf_malloc(NULL, block->len);
	if (!fit)
		return block;
	memcpy(fit->data, buf_bytes(block), block->len);
	fit->len = block->len;
	buf_put(block);
	return fit;
}
