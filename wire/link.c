#include "wire/link_impl.h"

#include <assert.h>
#include <string.h>

/* A new connection starts the credit and idle clocks anew, but not for ever: a peer that attaches and then
 * moves nothing for long, again and again, is given up. What breaks at once runs up the reconnect clock
 * instead. */
#define FRUITLESS_MAX 3u

enum wire_rc link_init(struct link *l, const struct link_config *cfg, uint64_t now, bool *raised)
{
	*l = (struct link){.cfg = *cfg, .last_progress = now, .down_since = now, .owed = false};
	/* a window of stored chunks and one more must fit, or a full window could not be replayed */
	uint64_t least = cfg->window + CHUNK_MAX_BYTES;
	*raised = l->cfg.ring < least;
	if (*raised)
		l->cfg.ring = least;
	return ring_init(&l->ring, l->cfg.ring) ? WIRE_OK : WIRE_NOMEM;
}

void link_free(struct link *l)
{
	channel_close(&l->channel);
	ring_free(&l->ring);
}

void link_restore(struct link *l, uint64_t expected, uint64_t sent)
{
	assert(l->generation == 0 && l->ring.count == 0);
	l->expected = l->written = l->durable_here = l->told_written = l->told_durable = expected;
	l->ring.start = l->ring.end = sent;
	/* acked stays 0 until the peer says what it has written: what it has received may still take its
	 * window */
	l->credit.sent = sent;
}

static void progress(struct link *l, uint64_t now)
{
	l->last_progress = l->vain_since = now;
	l->down_spent = 0;
	l->fruitless = 0;
}

/* Counts the time since the last call as spent without a connection; the other two clocks stood still. */
static void book_down_time(struct link *l, uint64_t now)
{
	uint64_t spent = now - l->down_since;
	l->down_since = now;
	l->down_spent += spent;
	l->last_progress = sooner(l->last_progress + spent, now);
	l->credit_since = sooner(l->credit_since + spent, now);
}

/* ---- connections ---- */

uint64_t link_received(const struct link *l)
{
	return l->expected;
}

uint64_t link_grant(struct link *l)
{
	l->told_granted = l->written + l->cfg.window;
	return l->told_granted;
}

/* A channel whose first message is the ring's `at`-th. */
static enum wire_rc begin_connection(struct link *l, const struct handshake *hs, size_t at, uint64_t now,
				     struct wire_err *err)
{
	link_detach(l, now);
	if (!channel_open(&l->channel, &hs->tx, &hs->rx, ring_offset_at(&l->ring, at), l->cfg.max_body,
			  l->cfg.source))
		return wire_fail(err, WIRE_NOMEM, "a channel", 0);
	l->cursor = at;
	l->generation++;
	book_down_time(l, now);
	l->last_rx = l->last_tx = l->last_ping = now;
	/* whatever the last connection was told may have been lost with it */
	l->ack_due = l->written != 0;
	l->ack_at = now;
	l->cancel_due = l->cancelled;
	l->fin_due = l->fin_due || l->finned;
	l->finned = l->peer_finned = false;
	l->pong_due = l->ping_due = false;
	l->blocked_told = l->blocked_peer = 0;
	link_idle_update(l, now);
	return WIRE_OK;
}

enum wire_rc link_attach_early(struct link *l, const struct handshake *hs, uint64_t now, struct wire_err *err)
{
	enum wire_rc rc = begin_connection(l, hs, 0, now, err);
	if (rc != WIRE_OK)
		return rc;
	if (l->credit.granted < EARLY_CREDIT_BYTES)
		l->credit.granted = EARLY_CREDIT_BYTES;
	l->state = LINK_ATTACHING;
	return WIRE_OK;
}

/* The index in the ring at which a peer that expects `received` goes on: whole messages only. */
static enum wire_rc resume_at(const struct link *l, uint64_t received, size_t *at, struct wire_err *err)
{
	if (received > l->ring.end)
		return wire_fail(err, WIRE_VIOLATION, "the peer expects an offset that was never sent",
				 received);
	*at = ring_find(&l->ring, received);
	if (*at != SIZE_MAX)
		return WIRE_OK;
	return received < l->ring.start
		       ? wire_fail(err, WIRE_LOST, "the ring no longer holds the offset the peer expects",
				   received)
		       : wire_fail(err, WIRE_VIOLATION, "the peer expects an offset inside a message",
				   received);
}

enum wire_rc link_resumable(const struct link *l, uint64_t received, struct wire_err *err)
{
	size_t at;
	return resume_at(l, received, &at, err);
}

/* The answer to an early start: what is sealed stands, the peer drops what it has; the rest of that is
 * skipped. */
static void finish_early(struct link *l, const struct handshake *hs, uint64_t received, size_t at,
			 uint64_t now)
{
	book_down_time(l, now);
	l->channel.rx = hs->rx;
	if (at > l->cursor)
		l->cursor = at;
	channel_skip(&l->channel, received);
}

enum wire_rc link_attach(struct link *l, const struct handshake *hs, uint64_t received, uint64_t granted,
			 uint64_t now, struct wire_err *err)
{
	size_t at;
	uint64_t granted_before = l->credit.granted;
	enum wire_rc rc = resume_at(l, received, &at, err);
	if (rc != WIRE_OK)
		return rc;
	if (l->state == LINK_ATTACHING) {
		finish_early(l, hs, received, at, now);
		if (granted > l->credit.granted)
			l->credit.granted = granted;
	} else {
		rc = begin_connection(l, hs, at, now, err);
		if (rc != WIRE_OK)
			return rc;
		l->credit.granted = granted;
	}
	/* a peer that lost data takes its acks, and the credit above, back with it */
	if (received < l->credit.acked)
		l->credit.acked = received;
	if (l->credit.granted > granted_before)
		l->credit_since = now;
	if (l->fruitless < FRUITLESS_MAX)
		l->credit_since = l->last_progress = now;
	l->state = LINK_UP;
	l->last_rx = l->vain_since = now;
	return WIRE_OK;
}

void link_detach(struct link *l, uint64_t now)
{
	if (l->state == LINK_DOWN)
		return;
	if (l->channel.sent > l->replay_to)
		l->replay_to = l->channel.sent;
	l->bytes_in += l->channel.bytes_in;
	l->bytes_out += l->channel.bytes_out;
	channel_close(&l->channel);
	l->cursor = 0;
	if (l->state == LINK_ATTACHING)
		book_down_time(l, now);
	else if (now - l->vain_since >= PING_AFTER_MS)
		l->fruitless++;
	l->down_since = now;
	l->state = LINK_DOWN;
}

/* ---- out ---- */

bool link_can_send(const struct link *l, uint32_t cost, size_t stored)
{
	return !is_over(l) && !l->finned && credit_allows(&l->credit, cost) &&
	       ring_has_room(&l->ring, stored);
}

enum wire_rc link_send(struct link *l, uint8_t type, uint32_t cost, struct buf *body, uint64_t now)
{
	if (!link_can_send(l, cost, body->len)) {
		link_waiting(l, true, now);
		return WIRE_FULL;
	}
	ring_push(&l->ring, type, cost, body);
	l->credit.sent = l->ring.end;
	link_waiting(l, false, now);
	link_idle_update(l, now);
	return WIRE_OK;
}

void link_waiting(struct link *l, bool waiting, uint64_t now)
{
	if (waiting && !l->waiting)
		l->credit_since = now;
	/* the idle clock stood still while the credit clock ran */
	if (!waiting && l->waiting)
		l->last_progress = now;
	l->waiting = waiting;
}

void link_cancel(struct link *l, uint16_t code, const char *text)
{
	if (l->cancelled)
		return;
	size_t n = strnlen(text, sizeof l->cancel_text);
	memcpy(l->cancel_text, text, n);
	l->cancel = (struct frame_cancel){code, {(const uint8_t *)l->cancel_text, n}};
	l->cancelled = l->cancel_due = true;
}

void link_fin(struct link *l)
{
	l->fin_due = true;
}

static void put_ack(struct link *l)
{
	uint8_t body[CONTROL_BODY_MAX_BYTES];
	struct wr w = wr_init(body, sizeof body);
	struct frame_ack ack = {l->written, l->durable_here, link_grant(l)};
	frame_put_ack(&w, &ack);
	channel_put_control(&l->channel, F_ACK, body, w.n);
	l->told_written = ack.written;
	l->told_durable = ack.durable;
	l->ack_due = false;
}

static void put_ping(struct link *l, uint8_t type, uint32_t number)
{
	uint8_t body[CONTROL_BODY_MAX_BYTES];
	struct wr w = wr_init(body, sizeof body);
	frame_put_ping(&w, &(struct frame_ping){l->blocked_here, number});
	channel_put_control(&l->channel, type, body, w.n);
	l->blocked_told = l->blocked_here;
}

static void put_cancel(struct link *l)
{
	uint8_t body[CONTROL_BODY_MAX_BYTES];
	struct wr w = wr_init(body, sizeof body);
	frame_put_cancel(&w, &l->cancel);
	channel_put_control(&l->channel, F_CANCEL, body, w.n);
	l->cancel_due = false;
}

static void put_fin(struct link *l)
{
	uint8_t body[CONTROL_BODY_MAX_BYTES];
	struct wr w = wr_init(body, sizeof body);
	frame_put_fin(&w, &(struct frame_fin){l->channel.sent, l->expected});
	channel_put_control(&l->channel, F_FIN, body, w.n);
	l->fin_due = false;
	l->finned = true;
}

/* Control goes first: it passes bulk at the next frame boundary and needs no credit. */
static void seal_control(struct link *l, uint64_t now)
{
	struct channel *ch = &l->channel;
	if (ch->slot_count < CHANNEL_SLOTS && l->cancel_due)
		put_cancel(l);
	if (ch->slot_count < CHANNEL_SLOTS && l->ack_due && (now >= l->ack_at || l->fin_due))
		put_ack(l);
	if (ch->slot_count < CHANNEL_SLOTS && l->pong_due) {
		put_ping(l, F_PONG, l->pinged);
		l->pong_due = false;
	}
	if (ch->slot_count < CHANNEL_SLOTS && l->ping_due) {
		put_ping(l, F_PING, ++l->pings);
		l->ping_due = false;
		l->last_ping = now;
	}
}

static bool message_next(const struct link *l)
{
	if (is_over(l) || l->cursor >= l->ring.count)
		return false;
	const struct ring_entry *e = ring_at(&l->ring, l->cursor);
	return credit_covers(l->credit.granted, l->credit.acked, e->offset, e->cost);
}

static void seal_messages(struct link *l)
{
	while (channel_ready(&l->channel) && message_next(l)) {
		const struct ring_entry *e = ring_at(&l->ring, l->cursor++);
		if (e->offset < l->replay_to)
			l->replayed_bytes += e->cost;
		channel_put_message(&l->channel, e);
	}
}

size_t link_gather(struct link *l, uint64_t now, struct iovec iov[static CHANNEL_IOV_MAX])
{
	/* on a slow line one message takes long: its bytes on the way are movement too */
	if (l->channel.message_out != l->seen_out) {
		l->seen_out = l->channel.message_out;
		l->last_progress = now;
	}
	if (l->state == LINK_DOWN)
		return 0;
	size_t before = l->channel.slot_count;
	if (!l->finned) {
		if (l->state == LINK_UP)
			seal_control(l, now);
		seal_messages(l);
		bool all_out = is_over(l) || l->cursor == l->ring.count;
		if (l->fin_due && l->state == LINK_UP && all_out && !l->channel.slot_count)
			put_fin(l);
	}
	if (l->channel.slot_count > before)
		l->last_tx = now;
	return channel_gather(&l->channel, iov);
}

/* Frees what the peer has for good, but nothing that a sealed record still borrows. */
static void release(struct link *l)
{
	uint64_t upto = l->cfg.keep_until_durable ? l->durable : l->credit.acked;
	size_t before = l->ring.count;
	ring_release(&l->ring, sooner(upto, channel_borrows(&l->channel) - 1));
	size_t gone = before - l->ring.count;
	l->cursor -= gone < l->cursor ? gone : l->cursor;
}

void link_wrote(struct link *l, size_t n)
{
	channel_wrote(&l->channel, n);
	release(l);
}

/* ---- in ---- */

uint64_t link_unsent(const struct link *l)
{
	return l->state == LINK_DOWN ? 0 : l->ring.end - l->channel.sent;
}

void link_hold(struct link *l, uint64_t now)
{
	l->last_rx = now;
}

size_t link_space(struct link *l, struct iovec iov[static 2])
{
	assert(l->state != LINK_DOWN);
	return channel_space(&l->channel, iov);
}

void link_filled(struct link *l, size_t n, uint64_t now)
{
	if (l->channel.record)
		l->last_progress = now;
	l->last_rx = now;
	channel_filled(&l->channel, n);
}

static void schedule_ack(struct link *l, uint64_t at)
{
	if (!l->ack_due || at < l->ack_at)
		l->ack_at = at;
	l->ack_due = true;
}

void link_consume(struct link *l, uint32_t cost, uint64_t now)
{
	assert(cost <= l->expected - l->written && l->unwritten > 0);
	l->written += cost;
	l->unwritten--;
	uint64_t every = l->cfg.window / 4 < ACK_EVERY_BYTES ? l->cfg.window / 4 : ACK_EVERY_BYTES;
	bool starved = l->told_granted < l->expected || l->told_granted - l->expected < l->cfg.window / 2;
	bool much = l->written - l->told_written >= every;
	schedule_ack(l, starved || much ? now : now + ACK_DELAY_MS);
	link_idle_update(l, now);
}

void link_durable(struct link *l, uint64_t offset)
{
	assert(offset <= l->written);
	if (offset > l->durable_here) {
		l->durable_here = offset;
		schedule_ack(l, 0);
	}
}

static enum wire_rc on_message(struct link *l, struct channel_record *rec, uint64_t now,
			       struct link_event *ev, struct wire_err *err)
{
	const struct frame_head *h = &rec->head;
	if (h->offset < l->expected) {
		l->dup_bytes += h->cost;
		buf_put(rec->buf);
		return h->offset + h->cost <= l->expected
			       ? WIRE_MORE
			       : wire_fail(err, WIRE_VIOLATION, "a repeated message is longer than it was",
					   h->offset);
	}
	const char *why = NULL;
	if (h->offset > l->expected)
		why = "a message is missing before this one";
	else if (!credit_covers(l->told_granted, l->written, h->offset, h->cost) &&
		 !credit_covers(EARLY_CREDIT_BYTES, 0, h->offset, h->cost))
		why = "a message exceeds the credit";
	else if (l->unwritten >= LINK_MESSAGES_MAX)
		why = "too many messages are in flight";
	else if (l->peer_finned)
		why = "a message after FIN";
	if (why) {
		buf_put(rec->buf);
		return wire_fail(err, WIRE_VIOLATION, why, h->offset);
	}
	l->expected += h->cost;
	l->unwritten++;
	progress(l, now);
	link_idle_update(l, now);
	*ev = (struct link_event){LINK_MESSAGE, h->type, h->cost, h->offset, rec->buf, {0}};
	return WIRE_OK;
}

static enum wire_rc on_ack(struct link *l, struct span body, uint64_t now, struct link_event *ev,
			   struct wire_err *err)
{
	struct frame_ack ack;
	if (!frame_get_ack(body, &ack))
		return wire_fail(err, WIRE_VIOLATION, "malformed ACK", body.n);
	if (ack.written > l->channel.sent)
		return wire_fail(err, WIRE_VIOLATION, "an ACK is beyond what was sent", ack.written);
	if (ack.durable > ack.written)
		return wire_fail(err, WIRE_VIOLATION, "an ACK is durable beyond what is written",
				 ack.durable);
	bool moved = ack.written > l->credit.acked || ack.durable > l->durable;
	if (!moved && ack.granted <= l->credit.granted) {
		l->stale_acks++;
		return WIRE_MORE;
	}
	if (ack.granted > l->credit.granted)
		l->credit.granted = ack.granted;
	if (moved) {
		l->credit.acked = ack.written > l->credit.acked ? ack.written : l->credit.acked;
		l->durable = ack.durable > l->durable ? ack.durable : l->durable;
		release(l);
		progress(l, now);
		link_idle_update(l, now);
	}
	l->credit_since = now;
	*ev = (struct link_event){.type = LINK_ACKED};
	return WIRE_OK;
}

static enum wire_rc on_ping(struct link *l, uint8_t type, struct span body, uint64_t now,
			    struct wire_err *err)
{
	struct frame_ping ping;
	if (!frame_get_ping(body, &ping))
		return wire_fail(err, WIRE_VIOLATION, "malformed PING or PONG", body.n);
	if (type == F_PONG && ping.number > l->pings)
		return wire_fail(err, WIRE_VIOLATION, "PONG to a PING that was not sent", ping.number);
	l->blocked_peer = ping.blocked;
	link_idle_update(l, now);
	if (type == F_PONG) {
		l->answered = ping.number;
		return WIRE_MORE;
	}
	l->pinged = ping.number;
	l->pong_due = true;
	return WIRE_MORE;
}

static enum wire_rc on_control(struct link *l, const struct channel_record *rec, uint64_t now,
			       struct link_event *ev, struct wire_err *err)
{
	struct frame_fin fin;
	switch (rec->head.type) {
	case F_ACK:
		return on_ack(l, rec->body, now, ev, err);
	case F_PING:
	case F_PONG:
		return on_ping(l, rec->head.type, rec->body, now, err);
	case F_CANCEL:
		*ev = (struct link_event){.type = LINK_CANCELLED};
		if (!frame_get_cancel(rec->body, &ev->cancel))
			return wire_fail(err, WIRE_VIOLATION, "malformed CANCEL", rec->body.n);
		l->peer_cancelled = true;
		return WIRE_OK;
	default: /* F_FIN: no other control frame passes frame_head_get and channel_next */
		if (!frame_get_fin(rec->body, &fin))
			return wire_fail(err, WIRE_VIOLATION, "malformed FIN", rec->body.n);
		if (fin.sent != l->expected || fin.received > l->channel.sent)
			return wire_fail(err, WIRE_VIOLATION, "FIN does not agree with what was seen",
					 fin.sent);
		l->peer_finned = true;
		*ev = (struct link_event){.type = LINK_FINISHED};
		return WIRE_OK;
	}
}

enum wire_rc link_next(struct link *l, uint64_t now, struct link_event *ev, struct wire_err *err)
{
	while (l->state != LINK_DOWN) {
		struct channel_record rec;
		enum wire_rc rc = channel_next(&l->channel, &rec, err);
		if (rc != WIRE_OK)
			return rc;
		rc = rec.buf ? on_message(l, &rec, now, ev, err) : on_control(l, &rec, now, ev, err);
		if (rc != WIRE_MORE)
			return rc;
	}
	return WIRE_MORE;
}

uint64_t link_bytes_in(const struct link *l)
{
	return l->bytes_in + l->channel.bytes_in;
}

uint64_t link_bytes_out(const struct link *l)
{
	return l->bytes_out + l->channel.bytes_out;
}
