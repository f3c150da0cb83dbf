/* link, the part that time moves: which clock runs, when it has run out, PING. */
#include "wire/link_impl.h"

/* A change of what this side waits for is told at most this often. */
#define BLOCKED_TELL_MS 200u

static bool something_is_owed(const struct link *l)
{
	if (l->ring.count && l->credit.acked != l->ring.end)
		return true;
	/* a producer that is slow, and says so, owes nothing; neither does anybody while this side has work
	 */
	bool excused = l->cfg.peer_is_source && l->blocked_peer == 1;
	return l->owed && l->unwritten == 0 && !excused;
}

void link_idle_update(struct link *l, uint64_t now)
{
	bool runs = something_is_owed(l);
	if (runs && !l->idle_runs)
		l->last_progress = now;
	l->idle_runs = runs;
}

void link_owed(struct link *l, bool owed, uint64_t now)
{
	l->owed = owed;
	link_idle_update(l, now);
}

void link_blocked(struct link *l, uint8_t blocked)
{
	l->blocked_here = blocked;
}

/*
 * When a clock that has run since `since` on a connection runs out. A connection that has been silent for
 * long is judged by whether the peer lives, not by how far it got: the clock waits for that verdict, and is
 * heard at once when the peer does answer.
 */
static uint64_t runs_out(const struct link *l, uint64_t since, uint64_t limit)
{
	uint64_t at = later(since, limit), dead = l->last_rx + DEAD_AFTER_MS;
	return at >= l->last_rx + PING_AFTER_MS && at < dead ? dead : at;
}

enum link_clock link_clock(const struct link *l, uint64_t *expires)
{
	*expires = LINK_FOREVER;
	if (l->state != LINK_UP) {
		uint64_t left = l->cfg.reconnect_ms > l->down_spent ? l->cfg.reconnect_ms - l->down_spent : 0;
		*expires = l->cfg.reconnect_ms == LINK_FOREVER ? LINK_FOREVER : later(l->down_since, left);
		return LINK_CLOCK_RECONNECT;
	}
	if (l->waiting && !is_over(l)) {
		*expires = runs_out(l, l->credit_since, l->cfg.credit_wait_ms);
		return LINK_CLOCK_CREDIT;
	}
	if (!something_is_owed(l))
		return LINK_CLOCK_NONE;
	*expires = runs_out(l, l->last_progress, l->cfg.idle_ms);
	return LINK_CLOCK_IDLE;
}

/* Since when this connection is silent, in either direction: a peer that has been sending one large message
 * for long, over a slow line, must hear something too, or it takes this side for dead. */
static uint64_t quiet_since(const struct link *l)
{
	uint64_t quiet = sooner(l->last_rx, l->last_tx);
	return quiet > l->last_ping ? quiet : l->last_ping;
}

enum link_verdict link_tick(struct link *l, uint64_t now)
{
	static const enum link_verdict verdicts[] = {
		[LINK_CLOCK_RECONNECT] = LINK_NO_RECONNECT,
		[LINK_CLOCK_CREDIT] = LINK_NO_CREDIT,
		[LINK_CLOCK_IDLE] = LINK_NO_PROGRESS,
	};
	if (l->state == LINK_UP) {
		bool silent = now >= quiet_since(l) + PING_AFTER_MS;
		bool changed = l->blocked_here != l->blocked_told && now - l->last_ping >= BLOCKED_TELL_MS;
		if (silent || changed)
			l->ping_due = true;
		if (now - l->last_rx >= DEAD_AFTER_MS)
			return LINK_PEER_DEAD;
	}
	uint64_t expires;
	enum link_clock clock = link_clock(l, &expires);
	return clock != LINK_CLOCK_NONE && now >= expires ? verdicts[clock] : LINK_FINE;
}

uint64_t link_deadline(const struct link *l, uint64_t now)
{
	uint64_t at;
	link_clock(l, &at);
	if (l->state != LINK_UP)
		return at;
	at = sooner(at, l->last_rx + DEAD_AFTER_MS);
	/* what waits for room to write is woken by the socket, not by time */
	if (l->finned || l->channel.slot_count == CHANNEL_SLOTS)
		return at;
	if (l->ack_due && l->channel.slot_count < CHANNEL_SLOTS)
		at = sooner(at, l->ack_at > now ? l->ack_at : now);
	at = sooner(at, quiet_since(l) + PING_AFTER_MS);
	if (l->blocked_here != l->blocked_told)
		at = sooner(at, l->last_ping + BLOCKED_TELL_MS);
	return at;
}
