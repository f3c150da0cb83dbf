#include "lib/engine_impl.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/auth.h"
#include "lib/clock.h"
#include "lib/entropy.h"

/* One attempt, from dialling to the answer of the handshake, when the budget would allow more. */
#define ATTEMPT_MS 10000u
/* Connections in a row that end in damage and move nothing: replay does not cure it. */
#define BARREN_MAX 3u

/* ---- losing ---- */

static void forget_handshake(struct engine *e)
{
	if (e->hs)
		handshake_wipe(e->hs);
	free(e->hs);
	e->hs = NULL;
}

static void close_conn(struct engine *e)
{
	if (e->conn_open)
		conn_close(&e->conn, 100);
	e->conn_open = false;
	forget_handshake(e);
	e->opening_len = 0;
	e->write_blocked = false;
	e->attempt_deadline = UINT64_MAX;
	dial_abort(e->dial);
	e->dial = NULL;
}

/* The first redial after a connection that worked goes out at once; then the back-off rules. */
static uint64_t schedule_redial(struct engine *e, bool worked)
{
	uint64_t now = clock_now_ms();
	if (worked && e->link.credit.acked + e->link.expected != e->acked_at_loss) {
		e->acked_at_loss = e->link.credit.acked + e->link.expected;
		backoff_reset(&e->backoff);
		e->redial_at = now;
		return 0;
	}
	uint64_t delay = backoff_next(&e->backoff);
	e->redial_at = now + delay;
	return delay;
}

void engine_conn_lost(struct engine *e, const char *cause, const char *side)
{
	bool worked = e->link.state == LINK_UP;
	link_detach(&e->link, clock_now_ms());
	close_conn(e);
	if (e->phase == ENGINE_FINISHING || e->phase == ENGINE_ABORTING ||
	    (e->settled && e->link.ring.count == 0)) {
		e->phase = ENGINE_OVER;
		return;
	}
	uint64_t delay = e->set.dial ? schedule_redial(e, worked) : 0;
	struct event ev = {.type = worked ? EV_DISCONNECT : EV_RETRY};
	if (worked) {
		ev.u.disconnect.cause = cause;
		ev.u.disconnect.side = side;
	} else {
		if (cause != e->last_cause)
			snprintf(e->last_cause, sizeof e->last_cause, "%s", cause);
		ev.u.retry.cause = cause;
		ev.u.retry.attempt = e->backoff.attempts;
		ev.u.retry.delay_ms = delay;
	}
	event_emit(e->set.bus, &ev);
	if (!e->set.dial && e->set.handoff_fd < 0) { /* there is no way another one could come */
		struct haul_err err = {0};
		haul_fail(&err, HAUL_LINK_LOST, 0, NULL, "link lost; run the same command again to continue");
		engine_abort(e, &err);
	}
}

/* ---- attaching ---- */

static void set_opening(struct engine *e, struct handshake *hs)
{
	memcpy(e->opening + e->opening_len, hs->out, hs->out_len);
	e->opening_len += hs->out_len;
	handshake_sent(hs, hs->out_len);
}

static enum haul_rc wire_abort(struct engine *e, enum haul_rc rc, const struct wire_err *w)
{
	struct haul_err err = {.at = w->at};
	haul_fail(&err, rc, 0, e->set.dial ? e->set.dial->text : NULL, "%s (%llu)", w->check,
		  (unsigned long long)w->at);
	return engine_abort(e, &err);
}

/* The side that waits may learn of a cut long before the side that dials: it waits that much longer. */
static uint64_t reconnect_budget(const struct engine *e)
{
	uint64_t ms = e->set.cfg->reconnect_ms, more = ms < DEAD_AFTER_MS ? ms : DEAD_AFTER_MS;
	return e->set.dial || ms == DURATION_INF ? ms : ms + more;
}

static void attached(struct engine *e, uint64_t received)
{
	bool again = e->was_up;
	e->was_up = true;
	e->attempt_deadline = UINT64_MAX;
	e->link.cfg.reconnect_ms = reconnect_budget(e);
	struct event ev = {.type = EV_CONNECT};
	ev.u.connect.peer = e->set.dial ? e->set.dial->text : "";
	ev.u.connect.attempt = e->link.generation;
	event_emit(e->set.bus, &ev);
	if (!again)
		return;
	e->metrics.reconnects++;
	ev = (struct event){.type = EV_RESUME};
	ev.u.resume.from = received;
	ev.u.resume.replayed_bytes = e->link.replay_to > received ? e->link.replay_to - received : 0;
	ev.u.resume.verified = true;
	event_emit(e->set.bus, &ev);
}

/* Initiator: the peer said WELCOME. */
static void welcomed(struct engine *e)
{
	struct wire_err err = {0};
	const struct frame_welcome *w = &e->hs->welcome;
	enum wire_rc rc = link_attach(&e->link, e->hs, w->received, w->granted, clock_now_ms(), &err);
	uint64_t received = w->received;
	if (rc == WIRE_OK) {
		forget_handshake(e);
		attached(e, received);
		return;
	}
	wire_abort(e,
		   rc == WIRE_LOST    ? HAUL_NO_RESUME
		   : rc == WIRE_NOMEM ? HAUL_NO_MEMORY
				      : HAUL_PROTOCOL,
		   &err);
}

static void refused(struct engine *e)
{
	const struct frame_refuse *r = &e->hs->refuse;
	struct haul_err err = {0};
	if (r->code == REASON_NO_SESSION) {
		e->session_gone = true;
		haul_fail(&err, HAUL_LINK_LOST, 0, e->set.dial->text,
			  "the receiver does not know this session any more");
	} else {
		haul_fail(&err, haul_rc_from_reason(r->code), 0, e->set.dial->text, "refused: %.*s",
			  (int)r->text.n, (const char *)r->text.p);
	}
	e->err_from_peer = true;
	engine_abort(e, &err);
	e->phase = ENGINE_OVER;
}

static void not_authenticated(struct engine *e, const char *why)
{
	struct haul_err err = {0};
	haul_fail(&err, HAUL_AUTH, 0, e->set.dial->text, "authentication failed: %s", why);
	engine_abort(e, &err);
}

static void shake_failed(struct engine *e, enum wire_rc rc, const struct wire_err *err)
{
	/* what fails only now and then is the line, not the peer */
	bool transient = rc == WIRE_DAMAGED || e->was_up;
	if (rc == WIRE_REFUSED)
		refused(e);
	else if (rc == WIRE_AUTH && !e->was_up)
		not_authenticated(e, err->check);
	else if (transient && ++e->barren < BARREN_MAX)
		engine_conn_lost(e, err->check, "peer");
	else
		wire_abort(e, rc == WIRE_VERSION ? HAUL_VERSION : HAUL_PROTOCOL, err);
}

/* The connection ended before the answer. A peer that wants another key says nothing, and closes once it has
 * read what it was asked: that cannot be told from a tunnel that leads nowhere, so with a key the worse is
 * assumed, as long as that key has never worked. */
static void shake_ended(struct engine *e, ssize_t n)
{
	bool worked = e->was_up || e->set.key_worked;
	bool asked = e->hs->state == HS_PREFIX || e->hs->state == HS_CODE;
	if (n == 0 && handshake_is_sealed(e->hs) && asked && !e->opening_len && !worked)
		not_authenticated(e, e->hs->mode == AUTH_CODE
					     ? "it closed instead of answering, and has another code or none"
					     : "it closed instead of answering, and has another key or none");
	else
		engine_conn_lost(e, n ? strerror(errno) : "closed before the handshake was answered", "peer");
}

void engine_conn_shake(struct engine *e)
{
	while (e->hs) {
		uint8_t b[512];
		size_t want = handshake_need(e->hs);
		ssize_t n = read(e->conn.in, b, want < sizeof b ? want : sizeof b);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			shake_ended(e, n);
			return;
		}
		struct wire_err err = {0};
		enum wire_rc rc = handshake_feed(e->hs, b, (size_t)n, &err);
		if (rc == WIRE_OK)
			set_opening(e, e->hs);
		if (rc == WIRE_OK && e->hs->state == HS_DONE)
			welcomed(e);
		else if (rc != WIRE_OK && rc != WIRE_MORE) {
			shake_failed(e, rc, &err);
			return;
		}
	}
}

bool engine_conn_flush_opening(struct engine *e)
{
	while (e->opening_len) {
		ssize_t n = write(e->conn.out, e->opening, e->opening_len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			e->write_blocked = true;
			return false;
		}
		if (n < 0) {
			engine_conn_lost(e, strerror(errno), "local");
			return false;
		}
		e->opening_len -= (size_t)n;
		memmove(e->opening, e->opening + n, e->opening_len);
	}
	return true;
}

/* ---- dialling ---- */

/* Connected: say who we are and which session this is. */
static void open_handshake(struct engine *e)
{
	e->hs = malloc(sizeof *e->hs);
	if (!e->hs) {
		engine_conn_lost(e, "out of memory", "local");
		return;
	}
	struct hello hello = handoff_hello();
	struct frame_attach attach = {
		.role = (uint8_t)e->set.ops->role,
		.fresh = e->was_up	       ? ATTACH_RESUME
			 : e->set.cfg->dry_run ? ATTACH_DRY_RUN
					       : ATTACH_FRESH,
		.received = link_received(&e->link),
		.granted = link_grant(&e->link),
	};
	memcpy(attach.session, e->set.session_id, sizeof attach.session);
	if (e->set.subdir)
		attach.subdir = (struct span){(const uint8_t *)e->set.subdir, strlen(e->set.subdir)};
	struct wire_err err = {0};
	uint8_t ephemeral[AUTH_KEY_BYTES];
	entropy_fill(ephemeral, sizeof ephemeral);
	enum wire_rc rc = handshake_initiate_with(e->hs, &hello, &attach, auth_credentials(e->set.cfg->auth),
						  ephemeral, &err);
	sodium_memzero(ephemeral, sizeof ephemeral);
	if (rc == WIRE_OK) {
		set_opening(e, e->hs);
		if (attach.fresh && !handshake_is_sealed(e->hs))
			rc = link_attach_early(&e->link, e->hs, clock_now_ms(), &err);
	}
	if (rc != WIRE_OK)
		wire_abort(e,
			   rc == WIRE_NOMEM  ? HAUL_NO_MEMORY
			   : rc == WIRE_AUTH ? HAUL_AUTH
					     : HAUL_USAGE,
			   &err);
}

/* The text is copied: losing the connection frees what it lives in. */
static void dial_failed(struct engine *e, int rc, const char *why)
{
	char text[128];
	snprintf(text, sizeof text, "%s", why);
	bool hopeless = !e->was_up && dial_is_hopeless(e->set.dial, rc);
	engine_conn_lost(e, text, "peer");
	if (hopeless) {
		struct haul_err err = {0};
		haul_fail(&err, HAUL_CONNECT, 0, e->set.dial->text, "could not connect: %s", text);
		engine_abort(e, &err);
	}
}

static void step_dial(struct engine *e)
{
	int rc = dial_step(e->dial, &e->conn);
	if (rc == -EINPROGRESS)
		return;
	if (rc < 0) {
		dial_failed(e, rc, dial_error_text(e->dial));
		return;
	}
	dial_abort(e->dial);
	e->dial = NULL;
	e->conn_open = true;
	open_handshake(e);
}

void engine_conn_dial(struct engine *e, uint64_t now)
{
	if (!e->set.dial || (e->phase != ENGINE_RUNNING && e->phase != ENGINE_DRAINING))
		return;
	if (now >= e->attempt_deadline) {
		engine_conn_lost(e, "no answer in time", "peer");
		return;
	}
	if (e->dial) {
		step_dial(e);
	} else if (!e->conn_open && now >= e->redial_at) {
		e->attempt_deadline =
			now + (e->set.cfg->connect_ms < ATTEMPT_MS ? e->set.cfg->connect_ms : ATTEMPT_MS);
		int rc = dial_start(e->set.dial, e->set.cfg, &e->dial);
		if (rc < 0 && rc != -EINPROGRESS)
			dial_failed(e, rc, e->dial ? dial_error_text(e->dial) : strerror(-rc));
		else
			step_dial(e);
	}
}

uint64_t engine_conn_deadline(const struct engine *e)
{
	if (!e->set.dial)
		return UINT64_MAX;
	uint64_t at = e->attempt_deadline;
	if (e->dial)
		at = clock_earlier(at, dial_wake_ms(e->dial));
	else if (!e->conn_open)
		at = clock_earlier(at, e->redial_at);
	return at;
}

/* ---- being handed connections ---- */

enum haul_rc engine_adopt(struct engine *e, struct handoff *h)
{
	struct wire_err err = {0};
	struct handshake *hs = &h->hs;
	uint64_t now = clock_now_ms(), received = hs->attach.received;
	enum wire_rc rc = link_resumable(&e->link, received, &err);
	if (rc != WIRE_OK) {
		/* perhaps only dialled before the present connection and accepted after it */
		handoff_refuse(h, (uint16_t)haul_rc_status(rc == WIRE_LOST ? HAUL_NO_RESUME : HAUL_PROTOCOL),
			       err.check);
		conn_close(&h->conn, 0);
		handshake_wipe(hs);
		return HAUL_OK;
	}
	if (e->conn_open) /* the newer connection fences the older */
		engine_conn_lost(e, "superseded by a newer connection", "peer");
	e->conn = h->conn;
	e->conn_open = true;
	handshake_welcome(hs, &(struct frame_welcome){
				      .epoch = e->link.generation + 1,
				      .received = link_received(&e->link),
				      .granted = link_grant(&e->link),
			      });
	set_opening(e, hs);
	rc = link_attach(&e->link, hs, received, hs->attach.granted, now, &err);
	handshake_wipe(hs);
	if (rc != WIRE_OK)
		return wire_abort(e, rc == WIRE_NOMEM ? HAUL_NO_MEMORY : HAUL_PROTOCOL, &err);
	attached(e, received);
	return HAUL_OK;
}

void engine_conn_accept(struct engine *e)
{
	struct handoff *h = malloc(sizeof *h);
	int rc = h ? handoff_receive(e->set.handoff_fd, h) : -ENOMEM;
	while (rc == 0) {
		engine_adopt(e, h);
		rc = handoff_receive(e->set.handoff_fd, h);
	}
	free(h);
}
