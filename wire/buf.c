#include "wire/buf.h"

#include <stdlib.h>

static void put_free(struct buf *b)
{
	free(b);
}

struct buf *buf_malloc(void *ctx, size_t cap)
{
	(void)ctx;
	if (cap > SIZE_MAX - sizeof(struct buf))
		return NULL;
	struct buf *b = malloc(sizeof *b + cap);
	if (!b)
		return NULL;
	*b = (struct buf){.data = (uint8_t *)(b + 1), .cap = cap, .put = put_free};
	return b;
}
