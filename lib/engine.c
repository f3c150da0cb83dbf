#include "lib/engine.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/engine_impl.h"
#include "lib/holder.h"

#define PROGRESS_MS 200u
/* Blocks kept for reuse: a full window of chunks. */
#define BLOCKS_KEEP 80
#define FDS_MAX	    (5 + ENGINE_ROLE_FDS_MAX)

uint64_t engine_now_ms(void)
{
	return clock_now_ms();
}

static uint64_t after(uint64_t now, uint64_t span)
{
	return span > UINT64_MAX - now ? UINT64_MAX : now + span;
}

static void warn(const struct engine_setup *set, const char *subject, const char *text)
{
	struct event ev = {.type = EV_WARN};
	ev.u.warn.subject = subject;
	ev.u.warn.text = text;
	event_emit(set->bus, &ev);
}

enum haul_rc engine_init(struct engine *e, const struct engine_setup *set)
{
	const struct haul_config *cfg = set->cfg;
	uint64_t now = clock_now_ms();
	*e = (struct engine){.set = *set,
			     .conn = {-1, -1, 0, false, false},
			     .phase_deadline = UINT64_MAX,
			     .attempt_deadline = UINT64_MAX,
			     .redial_at = now,
			     .progress_at = now + PROGRESS_MS};
	size_t block = (cfg->chunk > CHUNK_DEFAULT_BYTES ? CHUNK_MAX_BYTES : CHUNK_DEFAULT_BYTES) + 4096;
	e->blocks = blocks_new(block, BLOCKS_KEEP);
	e->opening_cap = sizeof((struct handshake *)0)->out;
	e->opening = malloc(e->opening_cap);
	if (!e->blocks || !e->opening)
		return haul_fail(&e->err, HAUL_NO_MEMORY, 0, NULL, "cannot set up a session");
	struct link_config link = {
		.window = cfg->window < WINDOW_MIN_BYTES ? WINDOW_MIN_BYTES : cfg->window,
		.ring = cfg->ring,
		.max_body = RECORD_BODY_MAX_BYTES,
		.keep_until_durable = set->keep_until_durable,
		.peer_is_source = set->ops->role == ROLE_RECEIVER,
		/* until the first answer, this is the time to get one */
		.reconnect_ms =
			set->dial ? cfg->connect_ms : clock_earlier(cfg->connect_ms, cfg->reconnect_ms),
		.credit_wait_ms = cfg->credit_wait_ms,
		.idle_ms = cfg->idle_ms,
		.source = blocks_source(e->blocks),
	};
	bool raised;
	if (link_init(&e->link, &link, now, &raised) != WIRE_OK)
		return haul_fail(&e->err, HAUL_NO_MEMORY, 0, NULL, "cannot set up a link");
	if (raised && cfg->ring_set)
		warn(set, "--ring", "raised to hold a full window and a chunk");
	if (cfg->window < WINDOW_MIN_BYTES)
		warn(set, "--window", "raised to 64 KiB, the least there is");
	e->deadline = after(now, cfg->deadline_ms);
	backoff_init(&e->backoff, cfg->retry_min_ms, cfg->retry_max_ms);
	pace_init(&e->pace, cfg->bwlimit, clock_now_ns());
	return HAUL_OK;
}

void engine_free(struct engine *e)
{
	if (e->conn_open)
		conn_close(&e->conn, 1000);
	dial_abort(e->dial);
	if (e->hs)
		handshake_wipe(e->hs);
	free(e->hs);
	free(e->opening);
	link_free(&e->link);
	blocks_free(e->blocks);
}

/* ---- phases ---- */

void engine_enter(struct engine *e, enum engine_phase phase, uint64_t within_ms)
{
	if (phase > e->phase) {
		e->phase = phase;
		e->phase_deadline = after(clock_now_ms(), within_ms);
	}
}

enum haul_rc engine_step(struct engine *e, uint8_t frame, enum frame_role from)
{
	enum session_state before = e->session.state;
	struct wire_err w = {0};
	if (session_step(&e->session, frame, from, &w) != WIRE_OK) {
		struct haul_err err = {.at = frame};
		haul_fail(&err, HAUL_PROTOCOL, 0, NULL, "%s: %s while %s", w.check, frame_name(frame),
			  session_state_name(before));
		return engine_abort(e, &err);
	}
	if (before != e->session.state) {
		struct event ev = {.type = EV_STATE};
		ev.u.state.from = session_state_name(before);
		ev.u.state.to = session_state_name(e->session.state);
		ev.u.state.why = frame_name(frame);
		event_emit(e->set.bus, &ev);
	}
	return HAUL_OK;
}

void engine_finish(struct engine *e)
{
	link_fin(&e->link);
	engine_enter(e, ENGINE_FINISHING, FINISH_MS);
}

/* What the peer is told of a reason: an interrupted receiver can be dialled again, anything else is final. */
static uint16_t reason_code(const struct engine *e, enum haul_rc rc)
{
	if (rc == HAUL_SIGNAL)
		return e->set.ops->role == ROLE_RECEIVER ? REASON_GOAWAY
							 : (uint16_t)haul_rc_status(HAUL_LINK_LOST);
	return (uint16_t)haul_rc_status(rc);
}

enum haul_rc engine_abort(struct engine *e, const struct haul_err *err)
{
	if (e->err.rc != HAUL_OK) {
		if (e->also.rc == HAUL_OK)
			e->also = *err;
		return e->err.rc;
	}
	e->err = *err;
	char text[HAUL_WHY_MAX + 64];
	snprintf(text, sizeof text, "%s%s%s", err->why, err->sys ? ": " : "",
		 err->sys ? strerror(err->sys) : "");
	link_cancel(&e->link, reason_code(e, err->rc), text);
	link_fin(&e->link);
	bool mute = clock_now_ms() - e->link.last_rx > ABORT_MS;
	engine_enter(e, ENGINE_ABORTING, mute ? ABORT_MUTE_MS : ABORT_MS);
	if (e->link.state != LINK_UP)
		e->phase = ENGINE_OVER;
	return err->rc;
}

static enum haul_rc end_by_clock(struct engine *e, enum haul_rc rc, const char *why)
{
	struct haul_err err = {0};
	haul_fail(&err, rc, 0, e->set.dial ? e->set.dial->text : NULL, "%s", why);
	return engine_abort(e, &err);
}

static void never_connected(struct engine *e)
{
	char why[128];
	snprintf(why, sizeof why, "could not connect: %s",
		 *e->last_cause ? e->last_cause : "nobody answered in time");
	end_by_clock(e, HAUL_CONNECT, why);
}

/* ---- signals ---- */

static void interrupted(struct engine *e, int signal)
{
	struct haul_err err = {.signal = signal};
	haul_fail(&err, HAUL_SIGNAL, 0, NULL, "interrupted by %s; run the same command again to continue",
		  signal == SIGINT   ? "SIGINT"
		  : signal == SIGHUP ? "SIGHUP"
				     : "SIGTERM");
	engine_abort(e, &err);
}

/* A rerun wants what this session holds: is there still anybody to hold it for? What comes in from now on may have
 * been on its way since before the peer died; the answer to a PING that is sent now cannot. */
static void challenged(struct engine *e)
{
	e->link.ping_due = true;
	e->probe_ping = e->link.pings + 1;
	e->probe_generation = e->link.generation;
	e->probe_at = clock_now_ms();
	e->probe_told = 0;
}

/* The answer may be behind much else that is on its way: as long as that comes in, there is more time. */
static uint64_t probe_deadline(const struct engine *e)
{
	uint64_t heard = e->link.last_rx > e->probe_at ? e->link.last_rx : e->probe_at;
	return clock_earlier(heard + HOLDER_PROBE_MS, e->probe_at + HOLDER_PROBE_MAX_MS);
}

static void act_on_probe(struct engine *e, uint64_t now)
{
	if (!e->probe_at || e->phase >= ENGINE_FINISHING)
		return;
	bool up = e->link.state == LINK_UP;
	if (up && (e->link.answered >= e->probe_ping || e->link.generation != e->probe_generation)) {
		e->probe_at = 0;
		e->set.ops->prove(e->set.self, true);
	} else if (!up || now >= probe_deadline(e)) {
		struct haul_err err = {0};
		haul_fail(&err, HAUL_BUSY, 0, NULL, SUPERSEDED);
		engine_abort(e, &err);
		e->phase = ENGINE_OVER;
	} else if (now >= e->probe_told + HOLDER_TELL_MS) {
		e->probe_told = now;
		e->set.ops->prove(e->set.self, false);
	}
}

static void read_signals(struct engine *e)
{
	struct signalfd_siginfo si;
	while (read(e->set.signal_fd, &si, sizeof si) == (ssize_t)sizeof si) {
		int sig = (int)si.ssi_signo;
		if (sig == SIGUSR1) {
			challenged(e);
			continue;
		}
		if (sig == SIGHUP && e->set.dial && !e->conn_open && !e->dial && e->redial_at != UINT64_MAX) {
			e->redial_at = 0; /* a wake-up call while waiting to dial */
			continue;
		}
		if (e->phase != ENGINE_RUNNING) { /* the second one, or too late for anything else */
			interrupted(e, sig);
			e->phase = ENGINE_OVER;
			return;
		}
		e->signal = sig;
		e->set.ops->drain(e->set.self);
		engine_enter(e, ENGINE_DRAINING, e->set.cfg->grace_ms);
	}
}

/* ---- progress ---- */

static uint64_t sliding_rate(struct engine *e, uint64_t now)
{
	unsigned n = e->samples < 16 ? e->samples : 16;
	e->sample[e->samples++ % 16].t_ms = now;
	e->sample[(e->samples - 1) % 16].bytes = e->metrics.acked;
	if (!n)
		return 0;
	unsigned oldest = n < 16 ? 0 : e->samples % 16;
	uint64_t span = now - e->sample[oldest].t_ms;
	return span ? (e->metrics.acked - e->sample[oldest].bytes) * 1000 / span : 0;
}

static void say_progress(struct engine *e, uint64_t now)
{
	struct metrics *m = &e->metrics;
	m->wire_in = link_bytes_in(&e->link);
	m->wire_out = link_bytes_out(&e->link);
	m->resent_bytes = e->link.replayed_bytes;
	m->dup_bytes = e->link.dup_bytes;
	m->stale_acks = e->link.stale_acks;
	if (now < e->progress_at)
		return;
	e->progress_at = now + PROGRESS_MS;
	struct event ev = {.type = EV_PROGRESS};
	ev.u.progress.m = m;
	ev.u.progress.rate = sliding_rate(e, now);
	event_emit(e->set.bus, &ev);
}

/* ---- clocks ---- */

static void act_on_clock(struct engine *e)
{
	if (e->phase <= ENGINE_DRAINING && clock_now_ms() >= e->deadline) {
		end_by_clock(e, HAUL_DEADLINE,
			     "the deadline has come; run the same command again to continue");
		return;
	}
	switch (link_tick(&e->link, clock_now_ms())) {
	case LINK_FINE:
		return;
	case LINK_PEER_DEAD:
		engine_conn_lost(e, "no sign of life", "peer");
		return;
	case LINK_NO_RECONNECT:
		if (e->settled)
			e->phase = ENGINE_OVER; /* all is committed; the sender never came for the verdict */
		else if (e->was_up)
			end_by_clock(e, HAUL_LINK_LOST,
				     "link lost and not regained; run the same command again to continue");
		else
			never_connected(e);
		return;
	case LINK_NO_CREDIT:
		end_by_clock(e, HAUL_IDLE, "the receiver took nothing for too long (--credit-wait)");
		return;
	case LINK_NO_PROGRESS:
		end_by_clock(e, HAUL_IDLE, "the peer made no progress for too long (--idle)");
		return;
	}
}

static void act_on_phase(struct engine *e, uint64_t now)
{
	if (e->phase == ENGINE_DRAINING && (now >= e->phase_deadline || e->set.ops->drained(e->set.self)))
		interrupted(e, e->signal);
	else if (e->phase > ENGINE_DRAINING && now >= e->phase_deadline)
		e->phase = ENGINE_OVER;
	/* FIN is out: half-close, so that the peer reads it before our close can turn into a reset */
	if (e->phase == ENGINE_FINISHING && e->link.finned && e->link.peer_finned &&
	    !e->link.channel.slot_count)
		e->phase = ENGINE_OVER;
}

/* ---- the loop ---- */

static int timeout_of(const struct engine *e, uint64_t now, uint64_t deadline)
{
	if (e->conn_open && !e->write_blocked)
		deadline = clock_earlier(
			deadline, after(now, pace_wait_ms(&e->pace) ? pace_wait_ms(&e->pace) : UINT64_MAX));
	if (deadline <= now) /* what is due may need the socket: then its readiness wakes us, not the clock */
		return e->write_blocked ? 5 : 0;
	return deadline - now > 60000 ? 60000 : (int)(deadline - now);
}

static uint64_t next_deadline(const struct engine *e, uint64_t now)
{
	uint64_t at = clock_earlier(link_deadline(&e->link, now), engine_conn_deadline(e));
	at = clock_earlier(at, e->phase_deadline);
	if (e->phase <= ENGINE_DRAINING)
		at = clock_earlier(at, e->deadline);
	if (e->probe_at)
		at = clock_earlier(at, clock_earlier(probe_deadline(e), e->probe_told + HOLDER_TELL_MS));
	at = clock_earlier(at, e->set.ops->deadline(e->set.self));
	return clock_earlier(at, e->progress_at);
}

static void add_fd(struct pollfd *fds, nfds_t *n, int fd, short events)
{
	if (fd >= 0)
		fds[(*n)++] = (struct pollfd){fd, events, 0};
}

static void wait_for_something(struct engine *e)
{
	struct pollfd fds[FDS_MAX];
	nfds_t n = 0, conn_at;
	int role_fds[ENGINE_ROLE_FDS_MAX];
	size_t role_count = e->set.ops->fds(e->set.self, role_fds);
	for (size_t i = 0; i < role_count; i++)
		add_fd(fds, &n, role_fds[i], POLLIN);
	add_fd(fds, &n, e->set.signal_fd, POLLIN);
	add_fd(fds, &n, e->set.handoff_fd, POLLIN);
	if (e->dial)
		add_fd(fds, &n, dial_poll_fd(e->dial), POLLOUT);
	conn_at = n;
	if (e->conn_open) {
		bool hold = e->hold_reading && !e->hs && e->phase == ENGINE_RUNNING;
		if (hold)
			link_hold(&e->link, clock_now_ms());
		short out = e->write_blocked ? POLLOUT : 0;
		bool both = e->conn.out == e->conn.in;
		add_fd(fds, &n, e->conn.in, (short)((hold ? 0 : POLLIN) | (both ? out : 0)));
		if (out && !both)
			add_fd(fds, &n, e->conn.out, out);
	}
	uint64_t before = clock_now_ns(), now = before / 1000000u;
	poll(fds, n, timeout_of(e, now, next_deadline(e, now)));
	e->metrics.wait_ns[e->metrics.blocked] += clock_now_ns() - before;

	if (e->set.signal_fd >= 0)
		read_signals(e);
	if (e->set.handoff_fd >= 0)
		engine_conn_accept(e);
	if (!e->conn_open || e->phase == ENGINE_OVER ||
	    !(fds[conn_at].revents & (POLLIN | POLLHUP | POLLERR)))
		return;
	if (e->hs)
		engine_conn_shake(e);
	if (!e->hs && e->conn_open)
		engine_read(e);
}

enum haul_rc engine_run(struct engine *e)
{
	while (e->phase != ENGINE_OVER) {
		engine_conn_dial(e, clock_now_ms());
		if (e->phase <= ENGINE_DRAINING)
			e->set.ops->pump(e->set.self);
		engine_flush(e);
		act_on_phase(e, clock_now_ms());
		if (e->phase == ENGINE_OVER)
			break;
		wait_for_something(e);
		if (e->phase != ENGINE_OVER)
			act_on_clock(e);
		if (e->phase != ENGINE_OVER)
			act_on_probe(e, clock_now_ms());
		say_progress(e, clock_now_ms());
	}
	engine_flush(e);
	e->progress_at = 0;
	say_progress(e, clock_now_ms());
	return e->err.rc;
}
