/*
 * The replay ring: every message that was given to the link and not yet released by the peer, unsealed, in
 * order of offset, without a gap. It is the only queue of unacked messages, and it never drops one: when it
 * is full the producer waits. Entries own their buf.
 */
#ifndef HAUL_WIRE_RING_H
#define HAUL_WIRE_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/buf.h"
#include "wire/limits.h"

struct ring_entry {
	uint64_t offset; /* logical, raw */
	uint32_t cost;	 /* raw bytes, at least 1 */
	uint8_t type;
	struct buf *body; /* stored bytes: buf_bytes(body), body->len */
};

struct ring {
	struct ring_entry *slot; /* LINK_MESSAGES_MAX of them */
	size_t head, count;
	uint64_t stored, capacity; /* bytes of bodies held; at most one body over capacity */
	uint64_t start, end;	   /* logical range held: [start, end) */
};

/* False when out of memory. capacity is in stored bytes. */
bool ring_init(struct ring *r, uint64_t capacity);
void ring_free(struct ring *r);

/* Room for a body of that many stored bytes? One entry always fits an empty ring. */
bool ring_has_room(const struct ring *r, size_t stored);

/* Appends at r->end; the body moves to the ring. Call only when ring_has_room. */
void ring_push(struct ring *r, uint8_t type, uint32_t cost, struct buf *body);

/* Drops every entry that ends at or below offset. */
void ring_release(struct ring *r, uint64_t offset);

/* The i-th entry from the oldest; i < r->count. */
const struct ring_entry *ring_at(const struct ring *r, size_t i);

/* Index of the entry that begins at offset, r->count when offset == r->end, SIZE_MAX when it is not held or
 * lies inside a message. */
size_t ring_find(const struct ring *r, uint64_t offset);

/* The offset at which the i-th entry begins, r->end for i == r->count. */
uint64_t ring_offset_at(const struct ring *r, size_t i);

#endif
