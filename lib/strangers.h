/*
 * strangers: connections of which nobody knows yet who they are. Each costs a descriptor and a struct
 * handshake, there are few places, and nobody keeps one for long, however busily he types:
 *
 *   the opening (HELLO) is whole     within STRANGER_HELLO_MS of being accepted
 *   all of the handshake             within STRANGER_MS
 *   a source has its share already   its oldest makes room; this machine is no source: tunnels end here
 *   every place is taken             the oldest of the source with most places makes room
 *
 * An honest peer says all it has to say at once, so it is gone from here before that many others have come.
 */
#ifndef HAUL_LIB_STRANGERS_H
#define HAUL_LIB_STRANGERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "lib/engine.h"

#define STRANGERS_MAX	     16u
#define STRANGERS_PER_SOURCE 4u
#define STRANGER_HELLO_MS    5000u
#define STRANGER_MS	     10000u

/* Whom a connection comes from: an IPv4 address, an IPv6 /64, or this machine. */
struct origin {
	bool local;
	uint8_t address[16];
};

struct stranger {
	struct handoff *h; /* owned; NULL: free */
	struct origin from;
	uint64_t number; /* grows: who came later has the higher */
	uint64_t since;	 /* ms */
};

struct strangers {
	struct stranger place[STRANGERS_MAX];
	uint64_t count; /* that ever came */
};

struct origin origin_of(const struct sockaddr_storage *sa);

/* The place for one more from this origin. If somebody has it, the caller sends him away first. */
struct stranger *strangers_place(struct strangers *s, const struct origin *from);
/* Who makes room when something else is short; NULL when there is nobody. */
struct stranger *strangers_victim(struct strangers *s);
/* Settles h in a place that is free now. */
void strangers_settle(struct strangers *s, struct stranger *place, struct handoff *h,
		      const struct origin *from, uint64_t now);
/* When he has to be gone, ms: whatever he says in the meantime, only a whole message counts. */
uint64_t stranger_deadline(const struct stranger *st);

#endif
