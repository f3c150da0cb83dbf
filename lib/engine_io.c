/* The bytes of the connection of the moment: records in and what they mean, what the link has gathered out. */
#include "lib/engine_impl.h"

#include <errno.h>
#include <string.h>

#include "lib/clock.h"

#define READS_A_TURN  16
#define WRITES_A_TURN 64

static void on_cancelled(struct engine *e, const struct frame_cancel *c)
{
	if (c->code == REASON_GOAWAY && e->set.dial) {
		engine_conn_lost(e, "the peer is going down", "peer");
		return;
	}
	struct haul_err err = {0};
	enum haul_rc rc = c->code == REASON_GOAWAY ? HAUL_LINK_LOST : haul_rc_from_reason(c->code);
	haul_fail(&err, rc, 0, e->set.dial ? e->set.dial->text : "the peer", "%.*s", (int)c->text.n,
		  (const char *)c->text.p);
	e->err_from_peer = true;
	engine_abort(e, &err);
	e->link.cancel_due = false; /* the peer knows */
	if (e->phase == ENGINE_ABORTING)
		e->phase_deadline = clock_earlier(e->phase_deadline, clock_now_ms() + ABORT_MUTE_MS);
}

static void on_event(struct engine *e, struct link_event *ev)
{
	switch (ev->type) {
	case LINK_MESSAGE:
		if (e->phase >= ENGINE_FINISHING ||
		    engine_step(e, ev->frame,
				e->set.ops->role == ROLE_SENDER ? ROLE_RECEIVER : ROLE_SENDER) != HAUL_OK) {
			buf_put(ev->body);
			return;
		}
		e->set.ops->message(e->set.self, ev);
		return;
	case LINK_CANCELLED:
		on_cancelled(e, &ev->cancel);
		return;
	case LINK_FINISHED:
		if (e->phase == ENGINE_FINISHING || e->phase == ENGINE_ABORTING || e->settled) {
			link_fin(&e->link); /* answered before leaving */
			e->phase = e->link.finned || e->phase == ENGINE_ABORTING ? ENGINE_OVER : e->phase;
			engine_enter(e, ENGINE_FINISHING, FINISH_MS);
		} else {
			engine_conn_lost(e, "closed by the peer", "peer");
		}
		return;
	case LINK_ACKED:
		e->barren = 0;
		return;
	}
}

static void connection_failed(struct engine *e, enum wire_rc rc, const struct wire_err *w)
{
	if (rc == WIRE_DAMAGED && ++e->barren < 3) {
		engine_conn_lost(e, w->check, "peer");
		return;
	}
	struct haul_err err = {.at = w->at};
	haul_fail(&err, rc == WIRE_NOMEM ? HAUL_NO_MEMORY : HAUL_PROTOCOL, 0,
		  e->set.dial ? e->set.dial->text : "peer", "%s (%llu)", w->check, (unsigned long long)w->at);
	engine_abort(e, &err);
}

static void handle_records(struct engine *e)
{
	while (e->conn_open && !e->hs) {
		struct link_event ev;
		struct wire_err w = {0};
		enum wire_rc rc = link_next(&e->link, clock_now_ms(), &ev, &w);
		if (rc == WIRE_MORE)
			return;
		if (rc != WIRE_OK) {
			connection_failed(e, rc, &w);
			return;
		}
		if (ev.type == LINK_MESSAGE)
			e->barren = 0;
		on_event(e, &ev);
		if (e->phase == ENGINE_OVER)
			return;
	}
}

void engine_read(struct engine *e)
{
	for (int turn = 0; turn < READS_A_TURN && e->conn_open && e->phase != ENGINE_OVER; turn++) {
		struct iovec iov[2];
		size_t n = link_space(&e->link, iov), room = 0;
		for (size_t i = 0; i < n; i++)
			room += iov[i].iov_len;
		ssize_t got = readv(e->conn.in, iov, (int)n);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (got <= 0) {
			engine_conn_lost(e, got ? strerror(errno) : "closed by the peer", "peer");
			return;
		}
		link_filled(&e->link, (size_t)got, clock_now_ms());
		handle_records(e);
		if ((size_t)got < room)
			return; /* the socket is empty: save the call that would say so */
	}
}

/* ---- out ---- */

/* Cuts iov to at most n bytes; returns how many entries are left. */
static size_t trim_iov(struct iovec *iov, size_t count, uint64_t n)
{
	for (size_t i = 0; i < count; i++) {
		if (iov[i].iov_len >= n) {
			iov[i].iov_len = (size_t)n;
			return n ? i + 1 : i;
		}
		n -= iov[i].iov_len;
	}
	return count;
}

void engine_flush(struct engine *e)
{
	e->write_blocked = false;
	if (!e->conn_open || !engine_conn_flush_opening(e))
		return;
	for (int turn = 0; turn < WRITES_A_TURN && e->conn_open; turn++) {
		struct iovec iov[CHANNEL_IOV_MAX];
		size_t n = link_gather(&e->link, clock_now_ms(), iov);
		if (n)
			n = trim_iov(iov, n, pace_allowance(&e->pace, clock_now_ns()));
		if (!n)
			return;
		ssize_t put = writev(e->conn.out, iov, (int)n);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0 && errno == EAGAIN) {
			e->write_blocked = true;
			return;
		}
		if (put < 0) {
			engine_conn_lost(e, strerror(errno), "local");
			return;
		}
		link_wrote(&e->link, (size_t)put);
		pace_spend(&e->pace, (uint64_t)put);
	}
}
