/*
 * gate: who may connect to a listener at all, by address (--recv-only-from). Whoever may not is closed on before
 * anything of his is read, and costs nothing. They are counted, and told of now and then, not one by one: a
 * scanner must not fill a log.
 */
#ifndef HAUL_LIB_GATE_H
#define HAUL_LIB_GATE_H

#include "lib/cidr.h"

#define GATE_EVERY_MS	60000u
#define GATE_TEXT_BYTES 160u

struct gate {
	const struct cidr_list *only; /* borrowed */
	uint64_t refused, told;	      /* so far, and of them in a report */
	uint64_t next_ms;	      /* no report before */
	char last[CIDR_ADDRESS_BYTES];
};

/* Whether this peer may come in; if not he is counted. */
bool gate_admits(struct gate *g, const struct sockaddr_storage *peer);

/* What is to be told now about those who were refused since the last time: every minute at most, whatever the
 * clock says at the end. False when there is nothing. */
bool gate_report(struct gate *g, uint64_t now_ms, bool at_end, char text[static GATE_TEXT_BYTES]);

/* Closes fd with a reset: to the peer a failed attempt, whatever he has sent meanwhile. */
void gate_close(int fd);

#endif
