/*
 * Blocks of memory for chunks: a source for wire/buf.h that keeps the last few large blocks for reuse, newest
 * first, so that a chunk finds warm cache lines. Thread-safe. What is small is plain malloc.
 */
#ifndef HAUL_LIB_BLOCKS_H
#define HAUL_LIB_BLOCKS_H

#include "wire/buf.h"

struct blocks;

/* large: capacity of the blocks that are kept; keep: how many. NULL when out of memory. */
struct blocks *blocks_new(size_t large, size_t keep);
/* Frees the kept ones; blocks still out must have been put back before. */
void blocks_free(struct blocks *b);

struct buf_source blocks_source(struct blocks *b);
struct buf *blocks_get(struct blocks *b, size_t cap);

/* The same content in a block that is not mostly empty: what waits in a ring must not cost more than it
 * holds. On lack of memory the block itself comes back. */
struct buf *blocks_fit(struct blocks *b, struct buf *block);

#endif
