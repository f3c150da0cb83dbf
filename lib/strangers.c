#include "lib/strangers.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

struct origin origin_of(const struct sockaddr_storage *sa)
{
	struct origin o = {.local = sa->ss_family != AF_INET && sa->ss_family != AF_INET6};
	if (sa->ss_family == AF_INET) {
		const struct sockaddr_in *v4 = (const void *)sa;
		o.local = ntohl(v4->sin_addr.s_addr) >> 24 == 127;
		memcpy(o.address + 12, &v4->sin_addr, 4);
	} else if (sa->ss_family == AF_INET6) {
		const struct in6_addr *v6 = &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
		bool mapped = IN6_IS_ADDR_V4MAPPED(v6);
		o.local = IN6_IS_ADDR_LOOPBACK(v6) || (mapped && v6->s6_addr[12] == 127);
		if (mapped)
			memcpy(o.address + 12, v6->s6_addr + 12, 4);
		else
			memcpy(o.address, v6->s6_addr, 8); /* who has one address has a /64 of them */
	}
	if (o.local)
		memset(o.address, 0, sizeof o.address);
	return o;
}

static bool same_origin(const struct origin *a, const struct origin *b)
{
	return a->local == b->local && memcmp(a->address, b->address, sizeof a->address) == 0;
}

static unsigned places_of(const struct strangers *s, const struct origin *from)
{
	unsigned n = 0;
	for (size_t i = 0; i < STRANGERS_MAX; i++)
		n += s->place[i].h && same_origin(&s->place[i].from, from);
	return n;
}

/* The oldest of the source with most places; with `only`, of that source. */
static struct stranger *oldest(struct strangers *s, const struct origin *only)
{
	struct stranger *best = NULL;
	unsigned most = 0;
	for (size_t i = 0; i < STRANGERS_MAX; i++) {
		struct stranger *st = &s->place[i];
		if (!st->h || (only && !same_origin(&st->from, only)))
			continue;
		unsigned n = places_of(s, &st->from);
		if (!best || n > most || (n == most && st->number < best->number)) {
			best = st;
			most = n;
		}
	}
	return best;
}

struct stranger *strangers_victim(struct strangers *s)
{
	return oldest(s, NULL);
}

struct stranger *strangers_place(struct strangers *s, const struct origin *from)
{
	if (!from->local && places_of(s, from) >= STRANGERS_PER_SOURCE)
		return oldest(s, from);
	for (size_t i = 0; i < STRANGERS_MAX; i++)
		if (!s->place[i].h)
			return &s->place[i];
	return oldest(s, NULL);
}

void strangers_settle(struct strangers *s, struct stranger *place, struct handoff *h,
		      const struct origin *from, uint64_t now)
{
	*place = (struct stranger){.h = h, .from = *from, .number = ++s->count, .since = now};
}

uint64_t stranger_deadline(const struct stranger *st)
{
	return st->since + (st->h->hs.state == HS_PREFIX ? STRANGER_HELLO_MS : STRANGER_MS);
}
