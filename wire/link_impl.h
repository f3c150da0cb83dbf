/* link, what its two files share: link (messages, acks, connections) and link_clock (time). */
#ifndef HAUL_WIRE_LINK_IMPL_H
#define HAUL_WIRE_LINK_IMPL_H

#include "wire/link.h"

static inline uint64_t later(uint64_t since, uint64_t span)
{
	return span > LINK_FOREVER - since ? LINK_FOREVER : since + span;
}

static inline uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline bool is_over(const struct link *l)
{
	return l->cancelled || l->peer_cancelled;
}

/* Called after whatever may change what is owed: the idle clock begins anew where it begins to run. */
void link_idle_update(struct link *l, uint64_t now);

#endif
