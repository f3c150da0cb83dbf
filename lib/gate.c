#include "lib/gate.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

bool gate_admits(struct gate *g, const struct sockaddr_storage *peer)
{
	if (cidr_allows(g->only, peer))
		return true;
	g->refused++;
	cidr_show(peer, g->last);
	return false;
}

bool gate_report(struct gate *g, uint64_t now_ms, bool at_end, char text[static GATE_TEXT_BYTES])
{
	uint64_t n = g->refused - g->told;
	if (n == 0 || (now_ms < g->next_ms && !at_end))
		return false;
	g->told = g->refused;
	g->next_ms = now_ms + GATE_EVERY_MS;
	snprintf(text, GATE_TEXT_BYTES,
		 "%" PRIu64
		 " connection%s from elsewhere closed (--recv-only-from), the last from %s; %" PRIu64
		 " so far",
		 n, n == 1 ? "" : "s", g->last, g->refused);
	return true;
}

/* A sender with a key takes an orderly end without an answer for a wrong key; this is none. */
void gate_close(int fd)
{
	struct linger at_once = {.l_onoff = 1, .l_linger = 0};
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
	close(fd);
}
