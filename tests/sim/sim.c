/*
 * Two links in one process, over scripted pipes, in virtual time.
 *
 *   exhaustive   a small transfer both ways is cut behind every single byte of either direction, goes on, and
 * is cut again at sampled bytes of the replay; for four windows; bytes in one piece and one at a time random
 * seeded schedules: cuts, half-open connections, flaps, stalls, cancels, crashes, at random times
 *
 * After every step: what was delivered is exactly once, in order, to the byte; what is held is bounded; and
 * every run ends. A failure names the one command that repeats it.
 *
 *   sim [--schedules N]      N random ones, and the exhaustive part thinned in proportion (or SIM_SCHEDULES)
 *   sim --seed N             one random schedule, told step by step
 *   sim --cut W,CHOP,D1,N1,D2,N2   one exhaustive one
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/pipe.h"
#include "tests/unit/mutate.h"
#include "wire/link.h"

#define DEFAULT_SCHEDULES 100000u
#define CONNS		  6
#define MESSAGES_MAX	  64
#define BODY_MAX	  (100u << 10)
#define NEVER		  UINT64_MAX
#define CREDIT_WAIT_MS	  30000u
#define IDLE_MS		  60000u
#define RECONNECT_MS	  30000u
#define ATTEMPT_MS	  3000u
#define CUTS_MAX	  6u
/* the side that waits to be dialled may know of a cut long before the one that dials does, each time */
#define WAIT_MS (RECONNECT_MS + CUTS_MAX * DEAD_AFTER_MS)
/* virtual time no schedule needs: all its stalls together and the longest clock */
#define RUN_MS	  600000u
#define STEPS_MAX 300000u
#define SPIN_MAX  50

/* ---- what a run is made of ---- */

enum stall { STALL_NONE, STALL_CONSUMER, STALL_NETWORK };

struct cut {
	int side; /* whose incoming bytes are counted */
	uint64_t after;
};

struct script {
	uint64_t seed;
	bool random;
	uint64_t window[2];
	bool keep[2]; /* keep_until_durable */
	bool early;
	bool sealed; /* encrypted: the same link over records that are */
	size_t messages[2];
	size_t chop;	   /* bytes moved at a time; 0: random */
	struct cut cut[2]; /* exhaustive: of the first connections */
	unsigned cuts;
	enum stall stall;
	int stall_side;
	uint64_t stall_at;
	uint64_t cancel_at[2];
	uint64_t crash_at; /* side 1 forgets all but what is durable, and takes the session up again */
};

/* A message is a function of the seed, the side and its number. */
struct message {
	uint8_t type;
	uint32_t cost, stored;
	uint64_t body_seed;
};

struct arrival {
	uint32_t cost;
	uint64_t due; /* consumed then */
};

struct side {
	struct link link;
	struct conn *conn; /* the link's */
	bool was_up, over, crashed;
	unsigned crashes;
	uint64_t dial_at;

	struct message out[MESSAGES_MAX];
	size_t count, next; /* next to give to the link */
	uint32_t largest;
	size_t got;	  /* messages that arrived */
	uint64_t got_end; /* offset behind them */
	struct arrival in[MESSAGES_MAX];
	size_t consumed;
	uint64_t durable_at;
	bool cancelled, told_cancel;

	/* for the judgement of clocks: kept apart from the link's own */
	uint64_t acked_at, moved_at, down_at, down_ms;
	uint64_t fed_at; /* last time the link was given a message while it was empty */
};

struct conn {
	bool up[2]; /* this side still holds it */
	bool shaking[2];
	uint64_t notice[2]; /* when this side learns that the other is gone */
	unsigned number;
	uint64_t give_up; /* a handshake that is not answered by then is an attempt that failed */
	struct handshake hs[2];
	struct pipe to[2];
};

struct world {
	struct script script;
	struct prng prng;
	uint64_t now;
	struct side side[2]; /* 0 dials, 1 answers */
	struct conn conn[CONNS];
	unsigned dialled, untold;
	unsigned large;	      /* 2: there are large messages, 0: none */
	uint64_t total[2][2]; /* bytes of the first two connections, by side that took them */
	bool active;	      /* something moved in this step */
	enum link_verdict verdict;
	int verdict_side;
};

static struct {
	uint64_t schedules, cuts, bytes, messages, replayed, dup;
	bool verbose;
} figures;

static long live; /* blocks handed out and not given back */

/* ---- saying what happened ---- */

static void say(const struct world *w, const char *format, ...)
{
	if (!figures.verbose)
		return;
	va_list ap;
	va_start(ap, format);
	printf("%8llu ms  ", (unsigned long long)w->now);
	vprintf(format, ap);
	printf("\n");
	va_end(ap);
}

static _Noreturn void violation(const struct world *w, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	const struct script *s = &w->script;
	printf("sim: VIOLATION at %llu ms: ", (unsigned long long)w->now);
	vprintf(format, ap);
	if (s->random)
		printf("\nrepeat with: sim --seed %llu\n", (unsigned long long)s->seed);
	else
		printf("\nrepeat with: sim --cut %llu,%zu,%d,%lld,%d,%lld\n",
		       (unsigned long long)s->window[0], s->chop, s->cut[0].side,
		       s->cuts > 0 ? (long long)s->cut[0].after : -1, s->cut[1].side,
		       s->cuts > 1 ? (long long)s->cut[1].after : -1);
	va_end(ap);
	exit(1);
}

static bool chance(struct world *w, size_t one_in)
{
	return w->script.random && prng_below(&w->prng, one_in) == 0;
}

static uint64_t soon(struct world *w, size_t ms)
{
	return w->now + (w->script.random ? prng_below(&w->prng, ms + 1) : 0);
}

/* ---- messages ---- */

static void put_counted(struct buf *b)
{
	live--;
	free(b);
}

static struct buf *get_counted(void *ctx, size_t cap)
{
	struct buf *b = buf_malloc(ctx, cap);
	if (b) {
		b->put = put_counted;
		live++;
	}
	return b;
}

static void fill_body(uint64_t seed, uint8_t *out, size_t n)
{
	struct prng p = {seed};
	for (size_t i = 0; i < n; i += 8) {
		uint64_t v = prng_next(&p);
		memcpy(out + i, &v, n - i < 8 ? n - i : 8);
	}
}

static struct message some_message(const struct script *s, int side, size_t number)
{
	struct prng p = {s->seed ^ (uint64_t)(side + 1) << 56 ^ (uint64_t)number << 40};
	prng_next(&p);
	struct message m = {.type = prng_below(&p, 2) ? F_DATA : F_RESULT};
	size_t kind = s->random ? prng_below(&p, 40) : 20;
	size_t most = kind == 0	   ? BODY_MAX
		      : kind < 3   ? 20000
		      : kind < 10  ? 2000
		      : kind == 39 ? 1
		      : s->random  ? 200
				   : 90;
	m.cost = (uint32_t)(1 + prng_below(&p, most));
	switch (prng_below(&p, 3)) {
	case 0: /* shrank */
		m.stored = (uint32_t)prng_below(&p, m.cost);
		break;
	case 1:
		m.stored = m.cost;
		break;
	default: /* stored raw behind its fixed fields */
		m.stored = m.cost + (uint32_t)prng_below(&p, s->random ? BODY_SLACK_BYTES + 1 : 20);
		break;
	}
	m.body_seed = prng_next(&p);
	return m;
}

static struct buf *body_of(const struct message *m)
{
	struct buf *b = get_counted(NULL, m->stored);
	if (!b)
		abort();
	fill_body(m->body_seed, b->data, m->stored);
	b->len = m->stored;
	return b;
}

static void check_delivery(struct world *w, int i, const struct link_event *ev)
{
	struct side *s = &w->side[i], *peer = &w->side[!i];
	static uint8_t want[BODY_MAX + BODY_SLACK_BYTES + 8];
	if (s->got >= peer->next)
		violation(w, "side %d got message %zu before it was sent", i, s->got);
	const struct message *m = &peer->out[s->got];
	if (ev->offset != s->got_end || ev->cost != m->cost || ev->frame != m->type)
		violation(w, "side %d: message %zu is another: offset %llu, expected %llu", i, s->got,
			  (unsigned long long)ev->offset, (unsigned long long)s->got_end);
	fill_body(m->body_seed, want, m->stored);
	if (ev->body->len != m->stored || (m->stored && memcmp(buf_bytes(ev->body), want, m->stored) != 0))
		violation(w, "side %d: message %zu has another body", i, s->got);
	figures.bytes += m->stored;
	figures.messages++;
}

static void init_link(struct world *w, int i)
{
	const struct script *script = &w->script;
	struct link_config cfg = {.window = script->window[i],
				  .ring = script->window[!i],
				  .max_body = RECORD_BODY_MAX_BYTES,
				  .keep_until_durable = script->keep[i],
				  .reconnect_ms = i ? WAIT_MS : RECONNECT_MS,
				  .credit_wait_ms = CREDIT_WAIT_MS,
				  .idle_ms = IDLE_MS,
				  .source = {get_counted, NULL}};
	bool raised;
	if (link_init(&w->side[i].link, &cfg, w->now, &raised) != WIRE_OK)
		abort();
	link_owed(&w->side[i].link, true, w->now);
}

/* ---- connections ---- */

static void set_cut(struct world *w, struct conn *c)
{
	unsigned number = c->number;
	uint64_t allow[2] = {NEVER, NEVER};
	if (!w->script.random && number < w->script.cuts)
		allow[w->script.cut[number].side] = w->script.cut[number].after;
	/* the further the run, the rarer the cuts: it has to end */
	if (w->script.random && number < CUTS_MAX && prng_below(&w->prng, 3))
		allow[prng_below(&w->prng, 2)] = prng_below(&w->prng, prng_below(&w->prng, 2) ? 400 : 40000);
	for (int i = 0; i < 2; i++) {
		static const size_t caps[] = {1, 16, 300, 5000, PIPE_MAX};
		/* no large message through a needle's eye, it takes too long */
		size_t cap =
			w->script.random ? caps[w->large + prng_below(&w->prng, 5u - w->large)] : PIPE_MAX;
		pipe_open(&c->to[i], cap, allow[i]);
	}
}

/* When a side learns of the end of a connection; twice a run it is not told, and finds out by itself. */
static uint64_t some_notice(struct world *w)
{
	if (w->untold < 2 && chance(w, 8)) {
		w->untold++;
		return NEVER - 1;
	}
	return soon(w, chance(w, 4) ? 3000 : 20);
}

static void side_down(struct world *w, int i, const char *why)
{
	struct side *s = &w->side[i];
	struct conn *c = s->conn;
	if (!c)
		return;
	say(w, "side %d loses connection %u: %s", i, c->number, why);
	if (s->link.state == LINK_UP)
		s->down_at = w->now;
	link_detach(&s->link, w->now);
	c->up[i] = c->shaking[i] = false;
	s->conn = NULL;
	if (c->notice[!i] == NEVER)
		c->notice[!i] = some_notice(w);
	if (i == 0)
		s->dial_at = soon(w, chance(w, 4) ? 800 : 20);
}

/* The line is cut: what is on its way is lost, or some of it still arrives. */
static void conn_cut(struct world *w, struct conn *c)
{
	figures.cuts++;
	say(w, "connection %u is cut", c->number);
	for (int i = 0; i < 2; i++) {
		if (c->notice[i] == NEVER)
			c->notice[i] = some_notice(w);
		c->to[i].allow = chance(w, 2) ? prng_below(&w->prng, c->to[i].len + 1) : 0;
	}
}

static bool network_stalled(const struct world *w)
{
	return w->script.stall == STALL_NETWORK && w->now >= w->script.stall_at;
}

/* What both sides of a sealed run have. */
static struct credential shared_key;
static struct credentials shared;

static void make_credentials(void)
{
	static const uint8_t key[AUTH_KEY_BYTES] = {1, 2, 3};
	credential_from_key(&shared_key, key);
	credentials_init(&shared, AUTH_KEY, "sim", &shared_key, 1, NULL);
}

static struct hello hello_of(int side)
{
	return (struct hello){.minor_min = 1,
			      .minor_max = 1,
			      .max_body = RECORD_BODY_MAX_BYTES,
			      .credit = EARLY_CREDIT_BYTES,
			      .instance = {(uint8_t)side}};
}

static void dial(struct world *w)
{
	struct side *s = &w->side[0];
	struct conn *c = NULL;
	for (int k = 0; k < CONNS && !c; k++)
		if (!w->conn[k].up[0] && !w->conn[k].up[1])
			c = &w->conn[k];
	if (!c) {
		s->dial_at = w->now + 100;
		return;
	}
	c->number = w->dialled++;
	c->up[0] = c->up[1] = c->shaking[0] = c->shaking[1] = true;
	c->notice[0] = c->notice[1] = NEVER;
	c->give_up = w->now + ATTEMPT_MS;
	set_cut(w, c);
	struct hello mine = hello_of(0), other = hello_of(1);
	struct frame_attach attach = {.session = {1, 2, 3},
				      .role = ROLE_SENDER,
				      .fresh = !s->was_up,
				      .received = link_received(&s->link),
				      .granted = link_grant(&s->link)};
	struct wire_err err = {0};
	const struct credentials *own = w->script.sealed ? &shared : NULL;
	uint8_t secret[2][AUTH_KEY_BYTES];
	prng_fill(&(struct prng){w->script.seed + w->dialled}, secret[0], sizeof secret);
	if (handshake_initiate_with(&c->hs[0], &mine, &attach, own, secret[0], &err) != WIRE_OK)
		violation(w, "handshake_initiate: %s", err.check);
	handshake_respond_with(&c->hs[1], &other, own, secret[1]);
	c->hs[0].rekey_every = c->hs[1].rekey_every = 4;
	s->conn = c;
	if (attach.fresh && w->script.early && !own &&
	    link_attach_early(&s->link, &c->hs[0], w->now, &err) != WIRE_OK)
		violation(w, "link_attach_early: %s", err.check);
	say(w, "side 0 dials connection %u, received %llu%s", c->number, (unsigned long long)attach.received,
	    attach.fresh ? ", fresh" : "");
	w->active = true;
}

static void side_up(struct world *w, int i, struct conn *c)
{
	struct side *s = &w->side[i];
	c->shaking[i] = false;
	s->conn = c;
	s->was_up = true;
	s->down_ms += w->now - s->down_at;
	say(w, "side %d is up on connection %u, sends from %llu", i, c->number,
	    (unsigned long long)s->link.channel.sent);
}

/* ---- a crash ---- */

/* How many messages of a side end at or below an offset. */
static size_t messages_below(const struct side *s, uint64_t offset)
{
	size_t n = 0;
	for (uint64_t end = 0; n < s->count && (end += s->out[n].cost) <= offset;)
		n++;
	return n;
}

static void crash(struct world *w)
{
	struct side *s = &w->side[1];
	if (s->over || s->crashed || s->crashes || w->now < w->script.crash_at)
		return;
	say(w, "side 1 crashes, %llu durable", (unsigned long long)s->link.durable_here);
	side_down(w, 1, "crash");
	s->got_end = s->link.durable_here;
	s->got = s->consumed = messages_below(&w->side[0], s->got_end);
	s->durable_at = 0;
	s->told_cancel = false;
	link_free(&s->link);
	init_link(w, 1);
	s->crashed = w->active = true;
	s->crashes++;
}

/* What was received and is durable it knows; what the peer has of its own messages, the peer tells. */
static void restore(struct world *w, uint64_t peer_has)
{
	struct side *s = &w->side[1];
	link_free(&s->link);
	init_link(w, 1);
	link_restore(&s->link, s->got_end, peer_has);
	s->next = messages_below(s, peer_has);
	s->crashed = false;
	s->moved_at = s->acked_at = s->down_at = w->now;
	s->down_ms = 0;
	say(w, "side 1 is back, received %llu, sent %llu", (unsigned long long)s->got_end,
	    (unsigned long long)peer_has);
}

/* ---- the handshake ---- */

static void answer(struct world *w, struct conn *c)
{
	struct side *s = &w->side[1];
	struct handshake *hs = &c->hs[1];
	struct wire_err err = {0};
	if (s->over) {
		handshake_refuse(hs, REASON_NO_SESSION, "over");
		return;
	}
	if (s->crashed)
		restore(w, hs->attach.received);
	if (link_resumable(&s->link, hs->attach.received, &err) != WIRE_OK) {
		if (s->conn && s->conn->number < c->number)
			violation(w, "the newest connection cannot resume: %s", err.check);
		handshake_refuse(hs, 24, err.check);
		return;
	}
	if (s->conn)
		side_down(w, 1, "a newer one");
	handshake_welcome(hs, &(struct frame_welcome){.epoch = s->link.generation + 1,
						      .received = link_received(&s->link),
						      .granted = link_grant(&s->link)});
	if (link_attach(&s->link, hs, hs->attach.received, hs->attach.granted, w->now, &err) != WIRE_OK)
		violation(w, "side 1 cannot attach: %s %llu", err.check, (unsigned long long)err.at);
	side_up(w, 1, c);
}

static bool complete(const struct world *w, int i)
{
	const struct side *s = &w->side[i], *peer = &w->side[!i];
	if (s->link.cancelled || s->link.peer_cancelled)
		return true;
	uint64_t freed = w->script.keep[i] ? s->link.durable : s->link.credit.acked;
	return s->next == s->count && freed == s->link.credit.sent && s->got == peer->count &&
	       s->consumed == s->got && (!w->script.keep[!i] || s->link.durable_here == s->link.written);
}

static void side_over(struct world *w, int i, const char *why)
{
	say(w, "side %d is done: %s", i, why);
	if (!complete(w, i))
		violation(w, "side %d ends before it is complete: %s", i, why);
	side_down(w, i, "done");
	w->side[i].over = true;
	w->active = true;
}

static void welcomed(struct world *w, struct conn *c)
{
	struct side *s = &w->side[0];
	struct wire_err err = {0};
	const struct frame_welcome *f = &c->hs[0].welcome;
	if (link_attach(&s->link, &c->hs[0], f->received, f->granted, w->now, &err) != WIRE_OK)
		violation(w, "side 0 cannot attach: %s %llu", err.check, (unsigned long long)err.at);
	side_up(w, 0, c);
}

static size_t some_bytes(struct world *w)
{
	if (w->script.chop)
		return w->script.chop;
	return prng_below(&w->prng, 3) == 0 ? 1 + prng_below(&w->prng, 40) : PIPE_MAX;
}

static void shake(struct world *w, int i, struct conn *c)
{
	struct handshake *hs = &c->hs[i];
	uint8_t b[ATTACH_RECORD_MAX_BYTES];
	size_t want = handshake_need(hs), most = some_bytes(w);
	size_t n = pipe_get(&c->to[i], b, want < most ? want : most);
	if (!n)
		return;
	w->active = true;
	struct wire_err err = {0};
	enum wire_rc rc = handshake_feed(hs, b, n, &err);
	if (rc == WIRE_REFUSED) {
		if (hs->refuse.code != REASON_NO_SESSION)
			violation(w, "refused: %.*s", (int)hs->refuse.text.n,
				  (const char *)hs->refuse.text.p);
		side_over(w, 0, "the peer was done before");
	} else if (rc != WIRE_OK && rc != WIRE_MORE) {
		violation(w, "side %d: handshake: %s", i, err.check);
	} else if (hs->state == HS_DECIDE) {
		answer(w, c);
	} else if (hs->state == HS_DONE) {
		welcomed(w, c);
	}
}

/* ---- a side's turn ---- */

static void arrived(struct world *w, int i, struct link_event *ev)
{
	struct side *s = &w->side[i];
	check_delivery(w, i, ev);
	s->in[s->got].cost = ev->cost;
	s->in[s->got].due = soon(w, chance(w, 10) ? 2000 : 30);
	s->got++;
	s->got_end += ev->cost;
	s->moved_at = w->now;
	s->down_ms = 0;
	buf_put(ev->body);
}

static void cancelled(struct world *w, int i, const struct link_event *ev)
{
	struct side *s = &w->side[i];
	char text[32];
	int n = snprintf(text, sizeof text, "first reason of %d", !i);
	if (!w->side[!i].cancelled || ev->cancel.code != 40 + !i || ev->cancel.text.n != (size_t)n ||
	    memcmp(ev->cancel.text.p, text, (size_t)n) != 0)
		violation(w, "side %d is told of another cancel than the peer's first", i);
	if (!s->told_cancel)
		say(w, "side %d hears of the cancel", i);
	s->told_cancel = true;
	link_fin(&s->link);
}

static void on_event(struct world *w, int i, struct link_event *ev)
{
	struct side *s = &w->side[i];
	switch (ev->type) {
	case LINK_MESSAGE:
		arrived(w, i, ev);
		break;
	case LINK_ACKED:
		s->acked_at = s->moved_at = w->now;
		s->down_ms = 0;
		break;
	case LINK_CANCELLED:
		cancelled(w, i, ev);
		break;
	case LINK_FINISHED:
		if (!complete(w, i))
			violation(w, "side %d: FIN, but not all is consumed and acked", i);
		link_fin(&s->link);
		break;
	}
}

static void take(struct world *w, int i)
{
	struct side *s = &w->side[i];
	struct iovec iov[2];
	size_t areas = link_space(&s->link, iov), most = some_bytes(w), n = 0;
	for (size_t k = 0; k < areas && most; k++) {
		if (!iov[k].iov_len)
			violation(w, "side %d: an empty area to read into", i);
		size_t want = iov[k].iov_len < most ? iov[k].iov_len : most;
		size_t got = pipe_get(&s->conn->to[i], iov[k].iov_base, want);
		n += got;
		most -= got;
		if (got < want)
			break;
	}
	if (!n)
		return;
	w->active = true;
	link_filled(&s->link, n, w->now);
	for (;;) {
		struct link_event ev;
		struct wire_err err = {0};
		enum wire_rc rc = link_next(&s->link, w->now, &ev, &err);
		if (rc == WIRE_MORE)
			return;
		if (rc != WIRE_OK)
			violation(w, "side %d: rc %d: %s (%llu)", i, rc, err.check,
				  (unsigned long long)err.at);
		on_event(w, i, &ev);
	}
}

static bool consumer_stalled(const struct world *w, int i)
{
	return w->script.stall == STALL_CONSUMER && w->script.stall_side == i && w->now >= w->script.stall_at;
}

static void consume(struct world *w, int i)
{
	struct side *s = &w->side[i];
	if (consumer_stalled(w, i))
		return;
	while (s->consumed < s->got && s->in[s->consumed].due <= w->now) {
		link_consume(&s->link, s->in[s->consumed++].cost, w->now);
		s->durable_at = soon(w, 500);
		w->active = true;
	}
	if (s->link.durable_here < s->link.written && w->now >= s->durable_at) {
		link_durable(&s->link, s->link.written);
		w->active = true;
	}
}

static void produce(struct world *w, int i)
{
	struct side *s = &w->side[i];
	while (s->next < s->count && !s->link.cancelled && !s->link.peer_cancelled) {
		const struct message *m = &s->out[s->next];
		bool can = link_can_send(&s->link, m->cost, m->stored);
		if (!can && !chance(w, 20)) {
			link_waiting(&s->link, true, w->now);
			return;
		}
		struct buf *b = body_of(m);
		bool empty = s->link.ring.count == 0;
		enum wire_rc rc = link_send(&s->link, m->type, m->cost, b, w->now);
		if (can != (rc == WIRE_OK))
			violation(w, "side %d: link_can_send and link_send disagree", i);
		if (rc != WIRE_OK) {
			buf_put(b);
			return;
		}
		if (empty)
			s->fed_at = w->now;
		s->next++;
		w->active = true;
	}
	if (complete(w, i) && !s->link.fin_due && !s->link.finned)
		link_fin(&s->link);
}

static void write_out(struct world *w, int i, struct conn *c)
{
	struct handshake *hs = &c->hs[i];
	struct side *s = &w->side[i];
	if (hs->out_len) {
		size_t n = pipe_put(&c->to[!i], hs->out, hs->out_len);
		handshake_sent(hs, n);
		w->active |= n > 0;
	}
	struct iovec iov[CHANNEL_IOV_MAX];
	/* asked also when nothing can be written yet, so that what is due is sealed and no longer due */
	size_t areas = s->conn == c ? link_gather(&s->link, w->now, iov) : 0, most = some_bytes(w), put = 0;
	if (hs->out_len)
		return;
	if (hs->state == HS_FAILED) { /* refused, and the refusal is out */
		c->up[i] = c->shaking[i] = false;
		if (c->notice[!i] == NEVER)
			c->notice[!i] = soon(w, 20);
		return;
	}
	for (size_t k = 0; k < areas && most; k++) {
		size_t want = iov[k].iov_len < most ? iov[k].iov_len : most;
		size_t n = pipe_put(&c->to[!i], iov[k].iov_base, want);
		put += n;
		most -= n;
		if (n < want)
			break;
	}
	if (put) {
		link_wrote(&s->link, put);
		w->active = true;
	}
}

static void end_by_clock(struct world *w, int i, enum link_verdict v)
{
	const struct side *s = &w->side[i];
	static const char *const names[] = {"fine", "peer dead", "no reconnect", "no credit", "no progress"};
	uint64_t moved = s->moved_at > s->fed_at ? s->moved_at : s->fed_at;
	say(w, "side %d: %s", i, names[v]);
	if (v == LINK_NO_RECONNECT && complete(w, i) && w->side[!i].over) {
		side_over(w, i, "the peer does not come back");
		return;
	}
	if (w->script.stall == STALL_NONE)
		violation(w, "side %d: %s, and nothing stalled", i, names[v]);
	if (v == LINK_NO_CREDIT && w->now - s->acked_at < CREDIT_WAIT_MS)
		violation(w, "side %d: credit clock, %llu ms after the last ACK", i,
			  (unsigned long long)(w->now - s->acked_at));
	if (v == LINK_NO_PROGRESS && w->now - moved < IDLE_MS)
		violation(w, "side %d: idle clock, %llu ms after the last progress", i,
			  (unsigned long long)(w->now - moved));
	uint64_t down = s->down_ms + w->now - s->down_at;
	if (v == LINK_NO_RECONNECT && down < (i ? WAIT_MS : RECONNECT_MS))
		violation(w, "side %d: reconnect clock, %llu ms without a connection", i,
			  (unsigned long long)down);
	w->verdict = v;
	w->verdict_side = i;
}

static void tick(struct world *w, int i)
{
	struct side *s = &w->side[i];
	enum link_verdict v = link_tick(&s->link, w->now);
	if (v == LINK_PEER_DEAD) {
		if (w->now - s->link.last_rx < DEAD_AFTER_MS)
			violation(w, "side %d: declared dead too soon", i);
		side_down(w, i, "peer dead");
		w->active = true;
	} else if (v != LINK_FINE) {
		end_by_clock(w, i, v);
	}
}

/* An end comes behind the bytes before it; a reset does not wait for them. */
static bool ends_here(struct world *w, const struct pipe *p)
{
	return p->len == 0 || p->allow == 0 || chance(w, 8);
}

static bool gone(struct world *w, int i, const struct conn *c)
{
	return (c->notice[i] <= w->now && ends_here(w, &c->to[i])) || (c->shaking[i] && c->give_up <= w->now);
}

static bool fin_both_ways(const struct side *s)
{
	return s->link.state == LINK_UP && s->link.finned && s->link.peer_finned &&
	       !s->link.channel.slot_count;
}

static void turn(struct world *w, int i)
{
	struct side *s = &w->side[i];
	for (int k = 0; k < CONNS; k++) {
		struct conn *c = &w->conn[k];
		if (!c->up[i])
			continue;
		if (c->shaking[i] && c->hs[i].state != HS_FAILED && (i == 1 || s->conn == c))
			shake(w, i, c);
		else if (s->conn == c && !c->shaking[i])
			take(w, i);
		if (c->up[i])
			write_out(w, i, c);
		if (s->conn == c && fin_both_ways(s))
			side_over(w, i, "FIN both ways");
		if (c->up[i] && c->to[i].allow == 0 && c->notice[i] == NEVER)
			conn_cut(w, c);
		if (c->up[i] && gone(w, i, c)) {
			if (s->conn == c)
				side_down(w, i, "it is gone");
			c->up[i] = c->shaking[i] = false;
			w->active = true;
		}
	}
	if (s->crashed && w->side[!i].over) /* nobody will ask for it again */
		s->over = w->active = true;
	if (s->over || s->crashed)
		return;
	consume(w, i);
	produce(w, i);
	tick(w, i);
}

static void dialler(struct world *w)
{
	struct side *s = &w->side[0];
	if (s->over)
		return;
	if (s->conn && network_stalled(w)) {
		conn_cut(w, s->conn);
		side_down(w, 0, "the network stalls");
	}
	/* gives up a connection that was fine: the other side still holds it when the next one comes */
	if (s->conn && w->dialled < CUTS_MAX && chance(w, 200)) {
		side_down(w, 0, "flap");
		s->dial_at = w->now;
	}
	if (!s->conn && w->now >= s->dial_at && !network_stalled(w))
		dial(w);
}

static void canceller(struct world *w, int i)
{
	struct side *s = &w->side[i];
	if (s->over || s->crashed || s->cancelled || w->now < w->script.cancel_at[i] || s->link.fin_due ||
	    s->link.finned)
		return;
	char text[32];
	snprintf(text, sizeof text, "first reason of %d", i);
	say(w, "side %d cancels", i);
	link_cancel(&s->link, (uint16_t)(40 + i), text);
	link_cancel(&s->link, 99, "a later reason");
	link_fin(&s->link);
	s->cancelled = w->active = true;
}

/* ---- invariants ---- */

static uint64_t most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void check(struct world *w, int i)
{
	const struct side *s = &w->side[i];
	const struct link *l = &s->link;
	uint64_t bound = most(most(w->script.window[!i], EARLY_CREDIT_BYTES), s->largest);
	if (l->credit.acked > l->credit.sent || l->credit.sent != l->ring.end)
		violation(w, "side %d: acked %llu, sent %llu, ring end %llu", i,
			  (unsigned long long)l->credit.acked, (unsigned long long)l->credit.sent,
			  (unsigned long long)l->ring.end);
	if (l->ring.stored > most(l->ring.capacity, s->largest + BODY_SLACK_BYTES))
		violation(w, "side %d: the ring holds %llu bytes", i, (unsigned long long)l->ring.stored);
	if (l->ring.count > LINK_MESSAGES_MAX || l->cursor > l->ring.count)
		violation(w, "side %d: %zu messages in the ring, cursor %zu", i, l->ring.count, l->cursor);
	const struct link *peer = &w->side[!i].link;
	if (!s->crashed && peer->expected > l->ring.end)
		violation(w, "side %d: the peer has more than there is", i);
	if (s->crashed || w->side[!i].crashes) /* and has given its totals back */
		return;
	if (l->credit.sent - peer->written > bound)
		violation(w, "side %d: %llu raw bytes in flight", i,
			  (unsigned long long)(l->credit.sent - peer->written));
	if (peer->written > peer->expected || peer->expected - peer->written > bound)
		violation(w, "side %d: %llu bytes taken and not consumed", !i,
			  (unsigned long long)(peer->expected - peer->written));
	if (l->credit.acked > peer->written)
		violation(w, "side %d: acked %llu, written %llu", i, (unsigned long long)l->credit.acked,
			  (unsigned long long)peer->written);
}

/* ---- a run ---- */

static void begin(struct world *w, const struct script *script)
{
	w->script = *script;
	w->prng = (struct prng){script->seed * 2 + 1};
	w->now = 1000;
	w->dialled = w->large = w->untold = 0;
	w->verdict = LINK_FINE;
	memset(w->total, 0, sizeof w->total);
	for (int k = 0; k < CONNS; k++) {
		w->conn[k].up[0] = w->conn[k].up[1] = false;
		w->conn[k].number = UINT32_MAX;
	}
	for (int i = 0; i < 2; i++) {
		struct side *s = &w->side[i];
		*s = (struct side){.count = script->messages[i], .dial_at = w->now, .acked_at = w->now};
		s->moved_at = s->down_at = w->now;
		for (size_t k = 0; k < s->count; k++) {
			s->out[k] = some_message(script, i, k);
			if (s->out[k].cost > s->largest)
				s->largest = s->out[k].cost;
		}
		if (s->largest > 4000)
			w->large = 2;
		if (w->large && script->random)
			w->script.chop = 0;
		init_link(w, i);
	}
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* When something can happen next if nothing moves now. */
static uint64_t next_time(const struct world *w)
{
	uint64_t at = NEVER;
	for (int i = 0; i < 2; i++) {
		const struct side *s = &w->side[i];
		for (int k = 0; k < CONNS; k++)
			if (w->conn[k].up[i])
				at = sooner(at, w->conn[k].shaking[i]
							? sooner(w->conn[k].notice[i], w->conn[k].give_up)
							: w->conn[k].notice[i]);
		if (s->over || s->crashed)
			continue;
		at = sooner(at, link_deadline(&s->link, w->now));
		if (s->consumed < s->got && !consumer_stalled(w, i))
			at = sooner(at, s->in[s->consumed].due);
		if (s->link.durable_here < s->link.written && !consumer_stalled(w, i))
			at = sooner(at, s->durable_at);
		if (i == 0 && !s->conn && !network_stalled(w))
			at = sooner(at, s->dial_at);
		if (!s->cancelled && !s->link.fin_due && !s->link.finned)
			at = sooner(at, w->script.cancel_at[i]);
	}
	if (!w->side[1].crashes && !w->side[1].over)
		at = sooner(at, w->script.crash_at);
	if (w->script.stall != STALL_NONE && w->now < w->script.stall_at)
		at = sooner(at, w->script.stall_at);
	return at;
}

static void step(struct world *w, int *spins)
{
	w->active = false;
	dialler(w);
	for (int i = 0; i < 2; i++)
		canceller(w, i);
	crash(w);
	int first = chance(w, 2);
	for (int k = 0; k < 2 && w->verdict == LINK_FINE; k++)
		turn(w, first ^ k);
	for (int i = 0; i < 2; i++)
		check(w, i);
	for (int k = 0; k < CONNS; k++)
		if (w->conn[k].number < 2)
			for (int i = 0; i < 2; i++)
				w->total[w->conn[k].number][i] = w->conn[k].to[i].total;
	if (w->active) {
		*spins = 0;
		if (chance(w, 50))
			w->now += prng_below(&w->prng, 20);
		return;
	}
	uint64_t at = next_time(w);
	/* a deadline that has passed and makes nothing happen would be a busy loop */
	if (at <= w->now && ++*spins > SPIN_MAX)
		violation(w, "a deadline that has passed makes nothing happen: %llu", (unsigned long long)at);
	if (at == NEVER)
		violation(w, "nothing will ever happen");
	if (at > w->now)
		w->now = at;
}

static void finish(struct world *w)
{
	for (int i = 0; i < 2; i++) {
		struct side *s = &w->side[i];
		bool cut_short = w->verdict != LINK_FINE || s->link.cancelled || s->link.peer_cancelled;
		if (!cut_short && !s->crashed && s->got != w->side[!i].count)
			violation(w, "side %d got %zu of %zu messages", i, s->got, w->side[!i].count);
		figures.replayed += s->link.replayed_bytes;
		figures.dup += s->link.dup_bytes;
		link_free(&s->link);
	}
	if (live)
		violation(w, "%ld blocks leak", live);
	figures.schedules++;
}

static void run(struct world *w, const struct script *script)
{
	int spins = 0;
	uint64_t steps = 0;
	begin(w, script);
	while (w->verdict == LINK_FINE && !(w->side[0].over && w->side[1].over)) {
		step(w, &spins);
		if (w->now > RUN_MS || ++steps > STEPS_MAX)
			violation(w, "the run does not end");
	}
	finish(w);
}

/* ---- exhaustive ---- */

static struct script small(uint64_t window, size_t chop)
{
	return (struct script){.seed = 4,
			       .window = {window, window},
			       .early = true,
			       .messages = {5, 4},
			       .chop = chop,
			       .cancel_at = {NEVER, NEVER},
			       .crash_at = NEVER};
}

/* Every byte of the first connection, and of what follows each such cut every `stride`-th, shifted each time.
 */
static void cut_everywhere(struct world *w, uint64_t window, size_t chop, uint64_t thin, uint64_t stride)
{
	struct script s = small(window, chop);
	run(w, &s);
	uint64_t first[2] = {w->total[0][0], w->total[0][1]}, phase = 0;
	for (s.cut[0].side = 0; s.cut[0].side < 2; s.cut[0].side++)
		for (s.cut[0].after = 0; s.cut[0].after <= first[s.cut[0].side]; s.cut[0].after += thin) {
			s.cuts = 1;
			run(w, &s);
			uint64_t second[2] = {w->total[1][0], w->total[1][1]};
			s.cuts = 2;
			phase++;
			for (s.cut[1].side = 0; s.cut[1].side < 2; s.cut[1].side++)
				for (s.cut[1].after = phase % stride; s.cut[1].after <= second[s.cut[1].side];
				     s.cut[1].after += stride)
					run(w, &s);
		}
}

static void exhaustive(struct world *w, uint64_t schedules)
{
	static const uint64_t windows[] = {1, 7, 4096, 1u << 20};
	uint64_t thin = schedules >= DEFAULT_SCHEDULES ? 1 : DEFAULT_SCHEDULES / (schedules + 1) + 1;
	for (size_t k = 0; k < sizeof windows / sizeof windows[0]; k++) {
		cut_everywhere(w, windows[k], PIPE_MAX, thin, 29);
		cut_everywhere(w, windows[k], 1, thin, 199);
	}
}

/* ---- random ---- */

static struct script from_seed(uint64_t seed)
{
	static const uint64_t windows[] = {1, 7, 300, 4096, 65536, 1u << 20};
	struct prng p = {seed ^ 0x5eed5eed5eedu};
	struct script s = {.seed = seed, .random = true, .cancel_at = {NEVER, NEVER}};
	size_t many = prng_below(&p, 10) == 0 ? MESSAGES_MAX : 12;
	for (int i = 0; i < 2; i++) {
		s.window[i] = windows[prng_below(&p, 6)];
		s.keep[i] = prng_below(&p, 3) == 0;
		s.messages[i] = prng_below(&p, many + 1);
		if (prng_below(&p, 16) == 0)
			s.cancel_at[i] = 1000 + prng_below(&p, 1500);
	}
	s.early = prng_below(&p, 4) != 0;
	s.sealed = prng_below(&p, 4) == 0;
	s.chop = many == 12 && prng_below(&p, 40) == 0;
	size_t kind = prng_below(&p, 20);
	s.stall = kind == 0 ? STALL_CONSUMER : kind == 1 ? STALL_NETWORK : STALL_NONE;
	s.stall_side = (int)prng_below(&p, 2);
	s.stall_at = 1000 + prng_below(&p, 1500);
	s.crash_at = NEVER;
	/* a sender that can be asked again for what was not durable */
	if (s.stall == STALL_NONE && s.cancel_at[1] == NEVER && prng_below(&p, 8) == 0) {
		s.keep[0] = true;
		s.crash_at = 1000 + prng_below(&p, 1500);
	}
	return s;
}

static int usage(void)
{
	fprintf(stderr, "usage: sim [--schedules N | --seed N | --cut W,CHOP,D1,N1,D2,N2]\n");
	return 2;
}

static int one_cut(struct world *w, const char *text)
{
	unsigned long long window, chop;
	long long n1, n2;
	int d1, d2;
	if (sscanf(text, "%llu,%llu,%d,%lld,%d,%lld", &window, &chop, &d1, &n1, &d2, &n2) != 6)
		return usage();
	struct script s = small(window, chop);
	s.cut[0] = (struct cut){d1 & 1, (uint64_t)n1};
	s.cut[1] = (struct cut){d2 & 1, (uint64_t)n2};
	s.cuts = n1 < 0 ? 0 : n2 < 0 ? 1 : 2;
	figures.verbose = true;
	run(w, &s);
	return 0;
}

int main(int argc, char **argv)
{
	static struct world w;
	make_credentials();
	const char *env = getenv("SIM_SCHEDULES");
	uint64_t schedules = env && *env ? strtoull(env, NULL, 10) : DEFAULT_SCHEDULES;
	if (argc == 3 && strcmp(argv[1], "--cut") == 0)
		return one_cut(&w, argv[2]);
	if (argc == 3 && strcmp(argv[1], "--seed") == 0) {
		struct script s = from_seed(strtoull(argv[2], NULL, 10));
		figures.verbose = true;
		run(&w, &s);
		return 0;
	}
	if (argc == 3 && strcmp(argv[1], "--schedules") == 0)
		schedules = strtoull(argv[2], NULL, 10);
	else if (argc != 1)
		return usage();
	exhaustive(&w, schedules);
	for (uint64_t seed = 1; seed <= schedules; seed++) {
		struct script s = from_seed(seed);
		run(&w, &s);
	}
	printf("sim: %llu schedules, %llu cuts, %llu bytes delivered, 0 violations\n",
	       (unsigned long long)figures.schedules, (unsigned long long)figures.cuts,
	       (unsigned long long)figures.bytes);
	return 0;
}
