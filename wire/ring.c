#include "wire/ring.h"

#include <assert.h>
#include <stdlib.h>

bool ring_init(struct ring *r, uint64_t capacity)
{
	*r = (struct ring){.capacity = capacity};
	r->slot = calloc(LINK_MESSAGES_MAX, sizeof *r->slot);
	return r->slot != NULL;
}

static struct ring_entry *slot_of(const struct ring *r, size_t i)
{
	return &r->slot[(r->head + i) % LINK_MESSAGES_MAX];
}

void ring_free(struct ring *r)
{
	for (size_t i = 0; i < r->count; i++)
		buf_put(slot_of(r, i)->body);
	free(r->slot);
	*r = (struct ring){0};
}

bool ring_has_room(const struct ring *r, size_t stored)
{
	if (r->count == 0)
		return true;
	return r->count < LINK_MESSAGES_MAX && r->stored < r->capacity && stored <= r->capacity - r->stored;
}

void ring_push(struct ring *r, uint8_t type, uint32_t cost, struct buf *body)
{
	assert(r->count < LINK_MESSAGES_MAX && cost > 0);
	*slot_of(r, r->count) = (struct ring_entry){r->end, cost, type, body};
	r->count++;
	r->stored += body->len;
	r->end += cost;
}

void ring_release(struct ring *r, uint64_t offset)
{
	while (r->count) {
		struct ring_entry *e = slot_of(r, 0);
		if (offset < e->offset + e->cost)
			return;
		r->stored -= e->body->len;
		r->start = e->offset + e->cost;
		buf_put(e->body);
		e->body = NULL;
		r->head = (r->head + 1) % LINK_MESSAGES_MAX;
		r->count--;
	}
}

const struct ring_entry *ring_at(const struct ring *r, size_t i)
{
	assert(i < r->count);
	return slot_of(r, i);
}

size_t ring_find(const struct ring *r, uint64_t offset)
{
	if (offset == r->end)
		return r->count;
	size_t low = 0, high = r->count; /* offsets grow with the index */
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (slot_of(r, mid)->offset < offset)
			low = mid + 1;
		else
			high = mid;
	}
	return low < r->count && slot_of(r, low)->offset == offset ? low : SIZE_MAX;
}

uint64_t ring_offset_at(const struct ring *r, size_t i)
{
	return i < r->count ? slot_of(r, i)->offset : r->end;
}
