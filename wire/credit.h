/*
 * The credit window of one direction: three totals that only grow, acked <= sent <= granted, and no signed
 * balance that could drift. Counted in raw bytes. One message that is larger than the whole window passes
 * when nothing is in flight, so a window smaller than a chunk is slow and never stuck.
 */
#ifndef HAUL_WIRE_CREDIT_H
#define HAUL_WIRE_CREDIT_H

#include <stdbool.h>
#include <stdint.h>

struct credit {
	uint64_t granted, sent, acked;
};

static inline bool credit_allows(const struct credit *c, uint64_t cost)
{
	return c->sent == c->acked || (c->sent <= c->granted && cost <= c->granted - c->sent);
}

/* The receiving side of the same rule: may a message at `offset` have been sent, seen from here? */
static inline bool credit_covers(uint64_t granted, uint64_t written, uint64_t offset, uint64_t cost)
{
	return offset == written || (offset <= granted && cost <= granted - offset);
}

#endif
