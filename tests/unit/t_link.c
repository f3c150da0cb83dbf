/*
 * A link against a puppet: a bare channel that says whatever the test wants the peer to say, on a clock that
 * the test moves. What two links make of each other over broken lines is tests/sim.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>

/* The two files of wire/ that allocate are compiled into this test, so that their memory can run out. */
static void *scarce_malloc(size_t n);
static void *scarce_calloc(size_t n, size_t size);
#define malloc scarce_malloc
#define calloc scarce_calloc
#include "wire/channel.c"
#include "wire/ring.c"
#undef malloc
#undef calloc

#include "tests/unit/mutate.h"
#include "wire/link.h"

#define NO_LIMIT   SIZE_MAX
#define FRAMES_MAX 5000
#define WINDOW	   1000u

/* ---- memory that is counted, and that runs out when told ---- */

static size_t grants_left = NO_LIMIT;
static long live;

static bool granted_memory(void)
{
	if (!grants_left)
		return false;
	if (grants_left != NO_LIMIT)
		grants_left--;
	return true;
}

static void *scarce_malloc(size_t n)
{
	return granted_memory() ? malloc(n) : NULL;
}

static void *scarce_calloc(size_t n, size_t size)
{
	return granted_memory() ? calloc(n, size) : NULL;
}

static void put_counted(struct buf *b)
{
	live--;
	free(b);
}

static struct buf *get_counted(void *ctx, size_t cap)
{
	struct buf *b = granted_memory() ? buf_malloc(ctx, cap) : NULL;
	if (b) {
		b->put = put_counted;
		live++;
	}
	return b;
}

/* ---- the rig ---- */

struct seen {
	uint8_t type;
	uint32_t cost;
	uint64_t offset;
	size_t len;
	uint8_t body[REASON_TEXT_MAX_BYTES + 32];
};

struct rig {
	struct link l;
	struct channel peer;
	uint64_t now;
	struct wire_err err;
	struct link_event ev[FRAMES_MAX]; /* of the last deliver */
	size_t events;
	struct seen seen[FRAMES_MAX]; /* of the last collect */
	size_t frames;
	uint32_t peer_pings;
};

static struct rig rig;

static struct link_config config(void)
{
	return (struct link_config){.window = WINDOW,
				    .ring = 1 << 20,
				    .max_body = RECORD_BODY_MAX_BYTES,
				    .reconnect_ms = 30000,
				    .credit_wait_ms = 30000,
				    .idle_ms = 60000,
				    .source = {get_counted, NULL}};
}

static struct rig *start(const struct link_config *cfg)
{
	bool raised;
	memset(&rig, 0, sizeof rig);
	live = 0; /* what a test that failed has left behind is not this one's */
	rig.now = 1000000;
	assert_int_equal(link_init(&rig.l, cfg, rig.now, &raised), WIRE_OK);
	return &rig;
}

static struct rig *start_default(void)
{
	struct link_config cfg = config();
	return start(&cfg);
}

static void stop(struct rig *r)
{
	channel_close(&r->peer);
	link_free(&r->l);
	assert_int_equal(live, 0);
}

static void open_peer(struct rig *r)
{
	struct seal zero = {0};
	channel_close(&r->peer);
	assert_true(channel_open(&r->peer, &zero, &zero, 0, RECORD_BODY_MAX_BYTES,
				 (struct buf_source){get_counted, NULL}));
}

static enum wire_rc attach(struct rig *r, uint64_t received, uint64_t granted)
{
	struct handshake hs = {.peer = {.max_body = RECORD_BODY_MAX_BYTES}};
	r->err = (struct wire_err){0};
	link_grant(&r->l); /* said in the handshake */
	enum wire_rc rc = link_attach(&r->l, &hs, received, granted, r->now, &r->err);
	if (rc == WIRE_OK)
		open_peer(r);
	return rc;
}

static struct rig *start_up(const struct link_config *cfg, uint64_t granted)
{
	struct rig *r = start(cfg);
	assert_int_equal(attach(r, 0, granted), WIRE_OK);
	return r;
}

static struct rig *start_up_default(void)
{
	struct link_config cfg = config();
	return start_up(&cfg, 10000);
}

/* Bytes from the puppet to the link; events are kept, bodies given back. */
static enum wire_rc deliver(struct rig *r)
{
	struct iovec from[CHANNEL_IOV_MAX], to[2];
	enum wire_rc rc = WIRE_MORE;
	size_t areas;
	r->events = 0;
	r->err = (struct wire_err){0};
	while (rc == WIRE_MORE && (areas = channel_gather(&r->peer, from)) > 0) {
		size_t spaces = link_space(&r->l, to), n = 0;
		for (size_t i = 0, at = 0; i < areas && spaces; i++) {
			size_t k =
				from[i].iov_len < to[0].iov_len - at ? from[i].iov_len : to[0].iov_len - at;
			memcpy((uint8_t *)to[0].iov_base + at, from[i].iov_base, k);
			at += k;
			n += k;
			if (k < from[i].iov_len)
				break;
		}
		channel_wrote(&r->peer, n);
		link_filled(&r->l, n, r->now);
		while ((rc = link_next(&r->l, r->now, &r->ev[r->events], &r->err)) == WIRE_OK) {
			assert_true(r->events + 1 < FRAMES_MAX);
			buf_put(r->ev[r->events++].body);
		}
	}
	return rc;
}

/* Up to `most` bytes from the link to the puppet; tells how many. */
static size_t collect_some(struct rig *r, size_t most)
{
	struct iovec from[CHANNEL_IOV_MAX], to[2];
	size_t areas, total = 0;
	r->frames = 0;
	while (total < most && (areas = link_gather(&r->l, r->now, from)) > 0) {
		channel_space(&r->peer, to);
		size_t n = from[0].iov_len < to[0].iov_len ? from[0].iov_len : to[0].iov_len;
		n = n < most - total ? n : most - total;
		memcpy(to[0].iov_base, from[0].iov_base, n);
		channel_filled(&r->peer, n);
		link_wrote(&r->l, n);
		total += n;
		struct channel_record rec;
		enum wire_rc rc;
		while ((rc = channel_next(&r->peer, &rec, &r->err)) == WIRE_OK) {
			struct seen *s = &r->seen[r->frames++];
			assert_true(r->frames < FRAMES_MAX);
			*s = (struct seen){rec.head.type, rec.head.cost, rec.head.offset, rec.body.n, {0}};
			memcpy(s->body, rec.body.p,
			       rec.body.n < sizeof s->body ? rec.body.n : sizeof s->body);
			buf_put(rec.buf);
		}
		assert_int_equal(rc, WIRE_MORE);
	}
	return total;
}

static size_t collect(struct rig *r)
{
	return collect_some(r, SIZE_MAX);
}

static const struct seen *saw(const struct rig *r, uint8_t type)
{
	for (size_t i = 0; i < r->frames; i++)
		if (r->seen[i].type == type)
			return &r->seen[i];
	return NULL;
}

static size_t count_seen(const struct rig *r, uint8_t type)
{
	size_t n = 0;
	for (size_t i = 0; i < r->frames; i++)
		n += r->seen[i].type == type;
	return n;
}

static struct frame_ack ack_of(const struct seen *s)
{
	struct frame_ack ack;
	assert_non_null(s);
	assert_true(frame_get_ack((struct span){s->body, s->len}, &ack));
	return ack;
}

static enum wire_rc send_body(struct rig *r, uint32_t cost, size_t stored)
{
	struct buf *b = get_counted(NULL, stored);
	assert_non_null(b);
	memset(b->data, (int)(cost & 0xff), stored);
	b->len = stored;
	enum wire_rc rc = link_send(&r->l, F_DATA, cost, b, r->now);
	if (rc != WIRE_OK)
		buf_put(b);
	return rc;
}

static enum wire_rc send(struct rig *r, uint32_t cost)
{
	return send_body(r, cost, 10);
}

static enum wire_rc peer_ack(struct rig *r, uint64_t written, uint64_t durable, uint64_t granted)
{
	uint8_t b[64];
	struct wr w = wr_init(b, sizeof b);
	frame_put_ack(&w, &(struct frame_ack){written, durable, granted});
	channel_put_control(&r->peer, F_ACK, b, w.n);
	return deliver(r);
}

static enum wire_rc peer_ping(struct rig *r, uint8_t type, uint8_t blocked)
{
	uint8_t b[64];
	struct wr w = wr_init(b, sizeof b);
	frame_put_ping(&w, &(struct frame_ping){blocked, type == F_PING ? ++r->peer_pings : r->l.pings});
	channel_put_control(&r->peer, type, b, w.n);
	return deliver(r);
}

static enum wire_rc peer_fin(struct rig *r, uint64_t sent, uint64_t received)
{
	uint8_t b[64];
	struct wr w = wr_init(b, sizeof b);
	frame_put_fin(&w, &(struct frame_fin){sent, received});
	channel_put_control(&r->peer, F_FIN, b, w.n);
	return deliver(r);
}

static enum wire_rc peer_cancel(struct rig *r, uint16_t code, const char *text)
{
	uint8_t b[CONTROL_BODY_MAX_BYTES];
	struct wr w = wr_init(b, sizeof b);
	frame_put_cancel(&w, &(struct frame_cancel){code, {(const uint8_t *)text, strlen(text)}});
	channel_put_control(&r->peer, F_CANCEL, b, w.n);
	return deliver(r);
}

static enum wire_rc peer_message(struct rig *r, uint64_t offset, uint32_t cost)
{
	struct buf *b = get_counted(NULL, 4);
	assert_non_null(b);
	memcpy(b->data, "body", 4);
	b->len = 4;
	struct ring_entry e = {offset, cost, F_DATA, b};
	channel_put_message(&r->peer, &e);
	enum wire_rc rc = deliver(r);
	buf_put(b);
	return rc;
}

static void assert_failed(const struct rig *r, enum wire_rc rc, enum wire_rc want, const char *part)
{
	if (rc != want || r->err.rc != want || !strstr(r->err.check, part))
		fail_msg("rc %d (%s), expected %d: %s", rc, r->err.check ? r->err.check : "-", want, part);
}

static void assert_clock(const struct rig *r, enum link_clock want, uint64_t expires)
{
	uint64_t at;
	enum link_clock clock = link_clock(&r->l, &at);
	if (clock != want || at != expires)
		fail_msg("clock %d runs out %lld ms from now, expected %d, %lld", clock,
			 (long long)(at - r->now), want, (long long)(expires - r->now));
}

static enum link_verdict tick_after(struct rig *r, uint64_t ms)
{
	r->now += ms;
	return link_tick(&r->l, r->now);
}

/* ---- in ---- */

static void messages_in_order(void **state)
{
	(void)state;
	struct rig *r = start_up_default();
	assert_int_equal(peer_message(r, 0, 10), WIRE_MORE);
	assert_int_equal(r->events, 1);
	assert_true(r->ev[0].type == LINK_MESSAGE && r->ev[0].offset == 0 && r->ev[0].cost == 10);
	assert_int_equal(peer_message(r, 10, 5), WIRE_MORE);
	assert_int_equal(r->events, 1);
	assert_true(link_received(&r->l) == 15);
	stop(r);
}

static void repeated_messages_are_dropped_and_counted(void **state)
{
	(void)state;
	struct rig *r = start_up_default();
	peer_message(r, 0, 10);
	peer_message(r, 10, 5);
	assert_int_equal(peer_message(r, 0, 10), WIRE_MORE);
	assert_int_equal(r->events, 0);
	assert_int_equal(peer_message(r, 10, 5), WIRE_MORE);
	assert_int_equal(r->events, 0);
	assert_true(r->l.dup_bytes == 15 && link_received(&r->l) == 15 && r->l.unwritten == 2);
	assert_failed(r, peer_message(r, 10, 6), WIRE_VIOLATION, "longer than it was");
	stop(r);
}

static void a_gap_is_a_violation(void **state)
{
	(void)state;
	struct rig *r = start_up_default();
	peer_message(r, 0, 10);
	assert_failed(r, peer_message(r, 11, 5), WIRE_VIOLATION, "is missing");
	assert_true(link_received(&r->l) == 10);
	stop(r);
	r = start_up_default();
	assert_failed(r, peer_message(r, UINT64_MAX - 5, 5), WIRE_VIOLATION, "is missing");
	stop(r);
}

static void credit_of_the_peer(void **state)
{
	(void)state;
	struct link_config cfg = config();
	cfg.window = 100000; /* more than early credit */
	struct rig *r = start_up(&cfg, 0);
	assert_int_equal(peer_message(r, 0, 99999), WIRE_MORE);
	assert_failed(r, peer_message(r, 99999, 2), WIRE_VIOLATION, "exceeds the credit");
	stop(r);
	/* alone, one message may be as large as it likes */
	r = start_up(&cfg, 0);
	assert_int_equal(peer_message(r, 0, 1000000), WIRE_MORE);
	assert_failed(r, peer_message(r, 1000000, 1), WIRE_VIOLATION, "exceeds the credit");
	stop(r);
	/* when it is consumed, the next may come, whatever was told of it */
	r = start_up(&cfg, 0);
	peer_message(r, 0, 1000000);
	link_consume(&r->l, 1000000, r->now);
	assert_int_equal(peer_message(r, 1000000, 2000000), WIRE_MORE);
	assert_int_equal(r->events, 1);
	stop(r);
	/* a small window does not take back early credit */
	cfg.window = 1;
	r = start_up(&cfg, 0);
	assert_int_equal(peer_message(r, 0, EARLY_CREDIT_BYTES - 1), WIRE_MORE);
	assert_int_equal(peer_message(r, EARLY_CREDIT_BYTES - 1, 1), WIRE_MORE);
	assert_failed(r, peer_message(r, EARLY_CREDIT_BYTES, 1), WIRE_VIOLATION, "exceeds the credit");
	stop(r);
}

static void too_many_messages(void **state)
{
	(void)state;
	struct link_config cfg = config();
	cfg.window = 1 << 20;
	struct rig *r = start_up(&cfg, 0);
	for (unsigned i = 0; i < LINK_MESSAGES_MAX; i++)
		assert_int_equal(peer_message(r, i, 1), WIRE_MORE);
	assert_failed(r, peer_message(r, LINK_MESSAGES_MAX, 1), WIRE_VIOLATION, "too many messages");
	stop(r);
	r = start_up(&cfg, 0);
	for (unsigned i = 0; i < 2 * LINK_MESSAGES_MAX; i++) {
		assert_int_equal(peer_message(r, i, 1), WIRE_MORE);
		link_consume(&r->l, 1, r->now);
	}
	stop(r);
}

static void malformed_control(void **state)
{
	(void)state;
	static const struct {
		uint8_t type;
		size_t n;
		const char *why;
	} cases[] = {{F_ACK, 23, "ACK"},      {F_ACK, 25, "ACK"},     {F_PING, 4, "PING"},
		     {F_PONG, 6, "PONG"},     {F_FIN, 15, "FIN"},     {F_FIN, 17, "FIN"},
		     {F_CANCEL, 3, "CANCEL"}, {F_CANCEL, 5, "CANCEL"}};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		uint8_t zeros[32] = {0};
		struct rig *r = start_up_default();
		channel_put_control(&r->peer, cases[i].type, zeros, cases[i].n);
		assert_failed(r, deliver(r), WIRE_VIOLATION, cases[i].why);
		assert_int_equal(r->events, 0);
		stop(r);
	}
}

/* A PONG names the PING it answers, so that one that has been on its way for long is known for what it is. */
static void numbered_pings(void **state)
{
	(void)state;
	struct rig *r = start_up_default();
	r->l.ping_due = true;
	collect(r);
	r->l.ping_due = true;
	collect(r);
	assert_int_equal(r->l.pings, 2);
	for (uint32_t number = 1; number <= 3; number++) {
		uint8_t b[64];
		struct wr w = wr_init(b, sizeof b);
		frame_put_pong(&w, &(struct frame_pong){0, number});
		channel_put_control(&r->peer, F_PONG, b, w.n);
		if (number == 3) {
			assert_failed(r, deliver(r), WIRE_VIOLATION, "PONG to a PING that was not sent");
		} else {
			assert_int_equal(deliver(r), WIRE_MORE);
			assert_int_equal(r->l.answered, number);
		}
	}
	stop(r);
	r = start_up_default();
	r->peer_pings = 41;
	peer_ping(r, F_PING, 0);
	assert_int_equal(r->l.pinged, 42);
	stop(r);
}

/* ---- acks ---- */

static void acks_release(void **state)
{
	(void)state;
	struct rig *r = start_up_default();
	for (int i = 0; i < 3; i++)
		assert_int_equal(send(r, 100), WIRE_OK);
	collect(r);
	assert_int_equal(count_seen(r, F_DATA), 3);
	assert_int_equal(r->l.ring.count, 3);
	assert_int_equal(peer_ack(r, 200, 0, 10200), WIRE_MORE);
	assert_int_equal(r->events, 1);
	assert_int_equal(r->ev[0].type, LINK_ACKED);
	assert_true(r->l.ring.count == 1 && r->l.credit.acked == 200 && r->l.credit.granted == 10200 &&
		    live == 1);
	assert_int_equal(collect(r), 0); /* and nothing is sent twice */
	stop(r);
}

static void keeps_until_durable(void **state)
{
	(void)state;
	struct link_config cfg = config();
	cfg.keep_until_durable = true;
	struct rig *r = start_up(&cfg, 10000);
	for (int i = 0; i < 3; i++)
		send(r, 100);
	collect(r);
	peer_ack(r, 300, 0, 10300);
	assert_true(r->l.ring.count == 3 && r->l.credit.acked == 300);
	peer_ack(r, 300, 199, 10300);
	assert_int_equal(r->l.ring.count, 2);
	peer_ack(r, 300, 300, 10300);
	assert_int_equal(r->l.ring.count, 0);
	/* what is written and not durable can be asked for again */
	send(r, 50);
	collect(r);
	peer_ack(r, 350, 300, 10350);
	assert_int_equal(attach(r, 300, 10300), WIRE_OK);
	collect(r);
	assert_non_null(saw(r, F_DATA));
	assert_true(saw(r, F_DATA)->offset == 300);
	stop(r);
}

static void acks_that_cannot_be(void **state)
{
	(void)state;
	struct rig *r = start_up_default();
	send(r, 100);
	assert_failed(r, peer_ack(r, 1, 0, 10000), WIRE_VIOLATION, "beyond what was sent");
	stop(r);
	/* sent is what is out in full: not the message that is half written */
	r = start_up_default();
	send(r, 100);
	send(r, 100);
	assert_int_equal(collect_some(r, 42 + 20), 42 + 20);
	assert_int_equal(peer_ack(r, 100, 0, 10000), WIRE_MORE);
	assert_failed(r, peer_ack(r, 200, 0, 10000), WIRE_VIOLATION, "beyond what was sent");
	stop(r);
	r = start_up_default();
	send(r, 100);
	collect(r);
	assert_failed(r, peer_ack(r, UINT64_MAX, 0, 0), WIRE_VIOLATION, "beyond what was sent");
	stop(r);
	r = start_up_default();
	send(r, 100);
	collect(r);
	assert_failed(r, peer_ack(r, 50, 51, 0), WIRE_VIOLATION, "durable beyond");
	stop(r);
}

static void stale_acks_are_counted_and_no_progress(void **state)
{
	(void)state;
	struct rig *r = start_up_default();
	for (int i = 0; i < 3; i++)
		send(r, 100);
	collect(r);
	peer_ack(r, 200, 100, 10200);
	assert_true(r->l.last_progress == r->now);
	uint64_t then = r->now;
	r->now += 5000;
	static const struct frame_ack stale[] = {
		{200, 100, 10200}, {100, 100, 10200}, {200, 0, 0}, {0, 0, 0}, {200, 100, 10199}};
	for (size_t i = 0; i < sizeof stale / sizeof stale[0]; i++) {
		assert_int_equal(peer_ack(r, stale[i].written, stale[i].durable, stale[i].granted),
				 WIRE_MORE);
		assert_int_equal(r->events, 0);
		assert_int_equal(r->l.stale_acks, i + 1);
	}
	assert_true(r->l.credit.acked == 200 && r->l.durable == 100 && r->l.credit.granted == 10200);
	assert_true(r->l.last_progress == then);
	assert_int_equal(r->l.ring.count, 1);
	assert_clock(r, LINK_CLOCK_IDLE, then + 60000);
	/* a grant alone is news, and no progress either */
	assert_int_equal(peer_ack(r, 200, 100, 10201), WIRE_MORE);
	assert_int_equal(r->events, 1);
	assert_true(r->l.last_progress == then && r->l.stale_acks == 5);
	stop(r);
}

static void acks_that_are_sent(void **state)
{
	(void)state;
	struct link_config cfg = config();
	cfg.window = 100000;
	struct rig *r = start_up(&cfg, 0);
	peer_message(r, 0, 1000);
	assert_int_equal(collect(r), 0); /* nothing is consumed yet */
	link_consume(&r->l, 1000, r->now);
	assert_int_equal(collect(r), 0); /* a small one waits for company */
	assert_true(link_deadline(&r->l, r->now) == r->now + ACK_DELAY_MS);
	r->now += ACK_DELAY_MS;
	collect(r);
	struct frame_ack ack = ack_of(saw(r, F_ACK));
	assert_true(ack.written == 1000 && ack.durable == 0 && ack.granted == 101000);
	assert_int_equal(collect(r), 0);
	/* a quarter of the window does not wait */
	peer_message(r, 1000, 25000);
	link_consume(&r->l, 25000, r->now);
	collect(r);
	assert_true(ack_of(saw(r, F_ACK)).written == 26000);
	/* nor does anything when the peer runs out of credit */
	peer_message(r, 26000, 500);
	peer_message(r, 26500, 90000);
	link_consume(&r->l, 500, r->now);
	collect(r);
	assert_true(ack_of(saw(r, F_ACK)).granted == 126500);
	/* nor what became durable */
	link_durable(&r->l, 26500);
	link_durable(&r->l, 100);
	collect(r);
	ack = ack_of(saw(r, F_ACK));
	assert_true(ack.written == 26500 && ack.durable == 26500);
	stop(r);
}

static void a_new_connection_begins_with_an_ack(void **state)
{
	(void)state;
	struct rig *r = start_up_default();
	peer_message(r, 0, 100);
	link_consume(&r->l, 100, r->now);
	collect(r);
	assert_int_equal(attach(r, 0, 10000), WIRE_OK);
	collect(r);
	assert_true(ack_of(saw(r, F_ACK)).written == 100);
	stop(r);
}

/* ---- out ---- */

static void a_window_of_one(void **state)
{
	(void)state;
	struct link_config cfg = config();
	struct rig *r = start_up(&cfg, 1);
	uint64_t offset = 0;
	for (uint32_t cost = 1; cost < 3000000; cost = cost * 3 + 1) {
		assert_true(link_can_send(&r->l, cost, 10));
		assert_int_equal(send(r, cost), WIRE_OK);
		assert_false(link_can_send(&r->l, 1, 10));
		assert_int_equal(send(r, 1), WIRE_FULL);
		collect(r);
		assert_int_equal(count_seen(r, F_DATA), 1);
		assert_true(saw(r, F_DATA)->offset == offset);
		offset += cost;
		peer_ack(r, offset, 0, offset + 1);
	}
	stop(r);
}

static void credit_is_kept(void **state)
{
	(void)state;
	struct link_config cfg = config();
	struct rig *r = start_up(&cfg, 100);
	assert_int_equal(send(r, 60), WIRE_OK);
	assert_int_equal(send(r, 41), WIRE_FULL);
	assert_int_equal(send(r, 40), WIRE_OK);
	assert_int_equal(send(r, 1), WIRE_FULL);
	collect(r);
	assert_int_equal(count_seen(r, F_DATA), 2);
	peer_ack(r, 60, 0, 160);
	assert_int_equal(send(r, 61), WIRE_FULL);
	assert_int_equal(send(r, 60), WIRE_OK);
	stop(r);
}

static void messages_are_counted_too(void **state)
{
	(void)state;
	struct link_config cfg = config();
	struct rig *r = start_up(&cfg, 1 << 30);
	for (unsigned i = 0; i < LINK_MESSAGES_MAX; i++)
		assert_int_equal(send_body(r, 1, 0), WIRE_OK);
	assert_int_equal(send_body(r, 1, 0), WIRE_FULL);
	collect(r);
	assert_int_equal(count_seen(r, F_DATA), LINK_MESSAGES_MAX);
	peer_ack(r, 1, 0, 1 << 30);
	assert_int_equal(send_body(r, 1, 0), WIRE_OK);
	assert_int_equal(send_body(r, 1, 0), WIRE_FULL);
	stop(r);
}

static void the_ring_holds_a_full_window(void **state)
{
	(void)state;
	struct link_config cfg = config();
	bool raised;
	struct link l;
	cfg.window = 1 << 20, cfg.ring = 1;
	assert_int_equal(link_init(&l, &cfg, 0, &raised), WIRE_OK);
	assert_true(raised && l.cfg.ring >= cfg.window + CHUNK_MAX_BYTES && l.ring.capacity == l.cfg.ring);
	link_free(&l);
	cfg.ring = 64 << 20;
	assert_int_equal(link_init(&l, &cfg, 0, &raised), WIRE_OK);
	assert_true(!raised && l.ring.capacity == 64 << 20);
	link_free(&l);
	/* full of bodies that grew as far as they may, it is credit that ends, not room */
	struct rig *r =
		start_up(&(struct link_config){.window = 1 << 20, .source = {get_counted, NULL}}, 1 << 20);
	for (unsigned i = 0; i < LINK_MESSAGES_MAX; i++)
		assert_int_equal(send_body(r, 256, 256 + BODY_SLACK_BYTES), WIRE_OK);
	assert_false(link_can_send(&r->l, 1, 0));
	stop(r);
}

static void control_passes_bulk(void **state)
{
	(void)state;
	struct link_config cfg = config();
	struct rig *r = start_up(&cfg, 1 << 30);
	for (int i = 0; i < 100; i++)
		assert_int_equal(send_body(r, 10000, 10000), WIRE_OK);
	collect_some(r, 100000);
	size_t ahead = r->l.channel.slot_count;
	assert_true(ahead > 1);
	link_cancel(&r->l, 40, "stop it");
	collect(r);
	/* behind what was sealed already, and before all the rest */
	size_t at = (size_t)(saw(r, F_CANCEL) - r->seen);
	assert_non_null(saw(r, F_CANCEL));
	assert_true(at <= ahead);
	assert_int_equal(at + 1, r->frames);
	stop(r);
}

/* ---- resume ---- */

static void resumes_where_the_peer_says(void **state)
{
	(void)state;
	for (uint64_t received = 0; received <= 500; received += 100) {
		struct rig *r = start_up_default();
		for (int i = 0; i < 5; i++)
			send(r, 100);
		collect(r);
		link_detach(&r->l, r->now);
		assert_int_equal(attach(r, received, 10000), WIRE_OK);
		collect(r);
		assert_int_equal(count_seen(r, F_DATA), 5 - received / 100);
		for (size_t i = 0; i < r->frames; i++)
			assert_true(r->seen[i].offset == received + 100 * i);
		assert_true(r->l.replayed_bytes == 500 - received);
		stop(r);
	}
}

/* The peer dials again before the old connection is known to be dead. */
static void a_newer_connection_replaces_the_older(void **state)
{
	(void)state;
	struct rig *r = start_up_default();
	for (int i = 0; i < 5; i++)
		send(r, 100);
	collect_some(r, 150);
	unsigned before = r->l.generation;
	assert_int_equal(attach(r, 200, 10000), WIRE_OK);
	assert_int_equal(r->l.generation, before + 1);
	collect_some(r, 1);
	/* its first ACK may cover all it has, sent on whatever connection */
	assert_int_equal(peer_ack(r, 200, 0, 10000), WIRE_MORE);
	assert_int_equal(r->l.ring.count, 3);
	collect(r);
	assert_int_equal(count_seen(r, F_DATA), 3);
	assert_true(saw(r, F_DATA)->offset == 200);
	stop(r);
}

static void resume_that_cannot_be(void **state)
{
	(void)state;
	static const struct {
		uint64_t received;
		enum wire_rc rc;
		const char *why;
	} cases[] = {
		{0, WIRE_LOST, "no longer holds"},	   {199, WIRE_LOST, "no longer holds"},
		{201, WIRE_VIOLATION, "inside a message"}, {499, WIRE_VIOLATION, "inside a message"},
		{501, WIRE_VIOLATION, "never sent"},	   {UINT64_MAX, WIRE_VIOLATION, "never sent"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		for (int up = 0; up < 2; up++) {
			struct rig *r = start_up_default();
			for (int k = 0; k < 5; k++)
				send(r, 100);
			collect(r);
			peer_ack(r, 200, 0, 10200);
			if (!up)
				link_detach(&r->l, r->now);
			struct wire_err err = {0};
			assert_int_equal(link_resumable(&r->l, cases[i].received, &err), cases[i].rc);
			assert_failed(r, attach(r, cases[i].received, 10000), cases[i].rc, cases[i].why);
			/* and nothing has changed: the connection there was, if any, goes on */
			assert_int_equal(r->l.state, up ? LINK_UP : LINK_DOWN);
			assert_true(r->l.credit.acked == 200 && r->l.credit.granted == 10200);
			if (up)
				assert_int_equal(peer_ack(r, 300, 0, 10300), WIRE_MORE);
			else
				assert_int_equal(attach(r, 300, 10300), WIRE_OK);
			stop(r);
		}
}

static void a_peer_that_lost_data_takes_its_acks_back(void **state)
{
	(void)state;
	struct link_config cfg = config();
	cfg.keep_until_durable = true;
	struct rig *r = start_up(&cfg, 500);
	for (int i = 0; i < 5; i++)
		send(r, 100);
	collect(r);
	peer_ack(r, 500, 100, 1000);
	link_detach(&r->l, r->now);
	/* it comes back with what was durable, and grants from there */
	assert_int_equal(attach(r, 100, 300), WIRE_OK);
	assert_true(r->l.credit.acked == 100 && r->l.credit.granted == 300);
	collect(r);
	assert_int_equal(count_seen(r, F_DATA), 2);
	assert_int_equal(send(r, 1), WIRE_FULL);
	peer_ack(r, 300, 100, 500);
	collect(r);
	assert_int_equal(count_seen(r, F_DATA), 2);
	stop(r);
}

static void taken_up_by_another_process(void **state)
{
	(void)state;
	struct rig *r = start_default();
	link_restore(&r->l, 500, 300);
	assert_true(link_received(&r->l) == 500 && link_grant(&r->l) == 500 + WINDOW);
	assert_failed(r, attach(r, 299, 10000), WIRE_LOST, "no longer holds");
	assert_failed(r, attach(r, 301, 10000), WIRE_VIOLATION, "never sent");
	assert_int_equal(attach(r, 300, 350), WIRE_OK);
	collect(r);
	struct frame_ack ack = ack_of(saw(r, F_ACK));
	assert_true(ack.written == 500 && ack.durable == 500 && ack.granted == 500 + WINDOW);
	assert_int_equal(send(r, 50), WIRE_OK);
	assert_int_equal(send(r, 1), WIRE_FULL);
	collect(r);
	assert_true(saw(r, F_DATA)->offset == 300);
	assert_true(r->l.replayed_bytes == 0);
	assert_int_equal(peer_message(r, 490, 10), WIRE_MORE);
	assert_int_equal(r->events, 0);
	assert_int_equal(peer_message(r, 500, 10), WIRE_MORE);
	assert_int_equal(r->events, 1);
	assert_int_equal(peer_ack(r, 350, 0, 360), WIRE_MORE);
	assert_int_equal(r->l.ring.count, 0);
	stop(r);
}

static void early_credit(void **state)
{
	(void)state;
	struct rig *r = start_default();
	struct handshake hs = {.tx = {.number = 0}};
	send_body(r, 50, 50); /* without credit one message may wait in the ring */
	assert_int_equal(send(r, 1), WIRE_FULL);
	assert_int_equal(link_attach_early(&r->l, &hs, r->now, &r->err), WIRE_OK);
	assert_int_equal(r->l.state, LINK_ATTACHING);
	open_peer(r);
	assert_int_equal(send(r, EARLY_CREDIT_BYTES - 50), WIRE_OK);
	assert_int_equal(send(r, 1), WIRE_FULL);
	collect(r);
	assert_int_equal(count_seen(r, F_DATA), 2);
	/* WELCOME */
	hs.peer.max_body = RECORD_BODY_MAX_BYTES;
	assert_int_equal(link_attach(&r->l, &hs, 0, 100000, r->now, &r->err), WIRE_OK);
	assert_int_equal(r->l.state, LINK_UP);
	assert_int_equal(collect(r), 0);
	assert_int_equal(send(r, 100000 - EARLY_CREDIT_BYTES), WIRE_OK);
	assert_int_equal(peer_ack(r, 50, 0, 100050), WIRE_MORE);
	stop(r);
}

/* The first attempt reached the peer, its WELCOME did not reach us: on the second the peer has a part. */
static void early_credit_again(void **state)
{
	(void)state;
	for (size_t out = 0; out <= 5 * 42; out++) {
		struct rig *r = start_default();
		struct handshake hs = {.tx = {.number = 0}};
		assert_int_equal(link_attach_early(&r->l, &hs, r->now, &r->err), WIRE_OK);
		open_peer(r);
		for (int i = 0; i < 5; i++)
			assert_int_equal(send(r, 100), WIRE_OK);
		collect(r);
		link_detach(&r->l, r->now);
		assert_int_equal(link_attach_early(&r->l, &hs, r->now, &r->err), WIRE_OK);
		open_peer(r);
		collect_some(r, out);
		hs.peer.max_body = RECORD_BODY_MAX_BYTES;
		assert_int_equal(link_attach(&r->l, &hs, 300, 10000, r->now, &r->err), WIRE_OK);
		/* it acks at once what it has, and that is still borrowed by what is being written */
		assert_int_equal(peer_ack(r, 300, 0, 10300), WIRE_MORE);
		assert_true(r->l.credit.acked == 300);
		collect(r);
		link_fin(&r->l);
		collect(r);
		struct frame_fin fin;
		assert_int_equal(r->frames, 1);
		assert_true(frame_get_fin((struct span){r->seen[0].body, r->seen[0].len}, &fin));
		assert_true(fin.sent == 500);
		assert_int_equal(r->l.ring.count, 2);
		assert_int_equal(peer_ack(r, 500, 0, 10300), WIRE_MORE);
		assert_int_equal(r->l.ring.count, 0);
		stop(r);
	}
}

static void what_was_not_sealed_early_is_skipped(void **state)
{
	(void)state;
	struct rig *r = start_default();
	struct handshake hs = {.peer = {.max_body = RECORD_BODY_MAX_BYTES}};
	link_attach_early(&r->l, &hs, r->now, &r->err);
	open_peer(r);
	for (int i = 0; i < 5; i++)
		send(r, 100);
	assert_int_equal(link_attach(&r->l, &hs, 500, 10000, r->now, &r->err), WIRE_OK);
	assert_int_equal(collect(r), 0);
	assert_failed(r, link_attach(&r->l, &hs, 501, 10000, r->now, &r->err), WIRE_VIOLATION, "never sent");
	stop(r);
}

/* ---- the end ---- */

static void cancel_sticks(void **state)
{
	(void)state;
	struct rig *r = start_up_default();
	send(r, 10);
	link_cancel(&r->l, 41, "the first");
	link_cancel(&r->l, 42, "the second");
	assert_false(link_can_send(&r->l, 1, 1));
	for (int connection = 0; connection < 3; connection++) {
		collect(r);
		struct frame_cancel c;
		assert_int_equal(count_seen(r, F_CANCEL), 1);
		assert_int_equal(count_seen(r, F_DATA), 0);
		const struct seen *s = saw(r, F_CANCEL);
		assert_true(frame_get_cancel((struct span){s->body, s->len}, &c));
		assert_int_equal(c.code, 41);
		assert_int_equal(c.text.n, 9);
		assert_memory_equal(c.text.p, "the first", 9);
		assert_int_equal(collect(r), 0);
		assert_int_equal(attach(r, 0, 10000), WIRE_OK);
	}
	stop(r);
}

static void a_long_reason_is_cut(void **state)
{
	(void)state;
	char text[400];
	memset(text, 'r', sizeof text);
	text[399] = 0;
	struct rig *r = start_up_default();
	link_cancel(&r->l, 41, text);
	collect(r);
	struct frame_cancel c;
	const struct seen *s = saw(r, F_CANCEL);
	assert_non_null(s);
	assert_true(frame_get_cancel((struct span){s->body, s->len}, &c));
	assert_int_equal(c.text.n, REASON_TEXT_MAX_BYTES);
	stop(r);
}

/* Nothing is sent to a peer that has ended the session, and FIN does not wait for credit that never comes. */
static void cancelled_by_the_peer(void **state)
{
	(void)state;
	struct link_config cfg = config();
	struct rig *r = start_up(&cfg, 1);
	send(r, 10);
	collect(r);
	assert_int_equal(peer_cancel(r, 22, "no more"), WIRE_MORE);
	assert_int_equal(r->events, 1);
	assert_int_equal(r->ev[0].type, LINK_CANCELLED);
	assert_int_equal(r->ev[0].cancel.code, 22);
	assert_int_equal(r->ev[0].cancel.text.n, 7);
	assert_false(link_can_send(&r->l, 1, 1));
	link_fin(&r->l);
	collect(r);
	assert_non_null(saw(r, F_FIN));
	stop(r);
}

static void fin_comes_last(void **state)
{
	(void)state;
	struct rig *r = start_up_default();
	peer_message(r, 0, 100);
	link_consume(&r->l, 100, r->now);
	for (int i = 0; i < 3; i++)
		send(r, 100);
	link_fin(&r->l);
	collect(r);
	/* with the ACK that was waiting for company */
	assert_int_equal(r->frames, 5);
	assert_true(ack_of(saw(r, F_ACK)).written == 100);
	assert_int_equal(r->seen[4].type, F_FIN);
	struct frame_fin fin;
	assert_true(frame_get_fin((struct span){r->seen[4].body, r->seen[4].len}, &fin));
	assert_true(fin.sent == 300 && fin.received == 100);
	/* and nothing follows it */
	assert_int_equal(send(r, 1), WIRE_FULL);
	peer_ping(r, F_PING, 0);
	link_cancel(&r->l, 1, "too late");
	r->now += 20000;
	link_tick(&r->l, r->now);
	assert_int_equal(collect(r), 0);
	stop(r);
}

static void fin_must_agree(void **state)
{
	(void)state;
	struct rig *r = start_up_default();
	send(r, 100);
	collect(r);
	peer_message(r, 0, 10);
	assert_int_equal(peer_fin(r, 10, 100), WIRE_MORE);
	assert_int_equal(r->events, 1);
	assert_int_equal(r->ev[0].type, LINK_FINISHED);
	assert_failed(r, peer_message(r, 10, 1), WIRE_VIOLATION, "after FIN");
	stop(r);
	static const struct frame_fin wrong[] = {{9, 100},  {11, 100},	      {0, 100},
						 {10, 101}, {10, UINT64_MAX}, {UINT64_MAX, 100}};
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		r = start_up_default();
		send(r, 100);
		collect(r);
		peer_message(r, 0, 10);
		assert_failed(r, peer_fin(r, wrong[i].sent, wrong[i].received), WIRE_VIOLATION,
			      "does not agree");
		stop(r);
	}
}

static void a_lost_fin_is_said_again(void **state)
{
	(void)state;
	struct rig *r = start_up_default();
	send(r, 100);
	link_fin(&r->l);
	collect(r);
	assert_non_null(saw(r, F_FIN));
	peer_fin(r, 0, 0);
	assert_int_equal(attach(r, 0, 10000), WIRE_OK);
	assert_false(r->l.peer_finned);
	collect(r);
	assert_int_equal(r->frames, 2);
	assert_true(r->seen[0].type == F_DATA && r->seen[1].type == F_FIN);
	stop(r);
}

/* ---- clocks ---- */

static void exactly_one_clock_runs(void **state)
{
	(void)state;
	struct link_config cfg = config();
	struct rig *r = start(&cfg);
	uint64_t t0 = r->now;
	assert_clock(r, LINK_CLOCK_RECONNECT, t0 + 30000);
	link_waiting(&r->l, true, r->now);
	link_owed(&r->l, true, r->now);
	assert_clock(r, LINK_CLOCK_RECONNECT, t0 + 30000);
	link_waiting(&r->l, false, r->now);
	link_owed(&r->l, false, r->now);
	r->now += 100;
	assert_int_equal(attach(r, 0, 100), WIRE_OK);
	assert_clock(r, LINK_CLOCK_NONE, LINK_FOREVER);
	r->now += 100000;
	r->l.last_rx = r->now; /* alive */
	send(r, 100);
	assert_clock(r, LINK_CLOCK_IDLE, r->now + 60000);
	r->now += 100;
	r->l.last_rx = r->now + 29000;
	assert_int_equal(send(r, 1), WIRE_FULL);
	assert_clock(r, LINK_CLOCK_CREDIT, r->now + 30000);
	link_detach(&r->l, r->now);
	assert_clock(r, LINK_CLOCK_RECONNECT, r->now + 29900);
	stop(r);
}

static void time_without_a_connection_adds_up(void **state)
{
	(void)state;
	struct rig *r = start_default();
	struct handshake hs = {.peer = {.max_body = RECORD_BODY_MAX_BYTES}};
	assert_int_equal(tick_after(r, 10000), LINK_FINE);
	assert_int_equal(attach(r, 0, 100), WIRE_OK); /* 10 s are spent */
	r->now += 500000;			      /* these are not */
	link_detach(&r->l, r->now);
	assert_clock(r, LINK_CLOCK_RECONNECT, r->now + 20000);
	assert_int_equal(tick_after(r, 12000), LINK_FINE);
	/* a handshake that is not answered is not a connection */
	assert_int_equal(link_attach_early(&r->l, &hs, r->now, &r->err), WIRE_OK);
	assert_clock(r, LINK_CLOCK_RECONNECT, r->now + 8000);
	assert_int_equal(tick_after(r, 3000), LINK_FINE);
	link_detach(&r->l, r->now);
	assert_clock(r, LINK_CLOCK_RECONNECT, r->now + 5000);
	assert_int_equal(tick_after(r, 4999), LINK_FINE);
	assert_int_equal(tick_after(r, 1), LINK_NO_RECONNECT);
	/* answered at the last moment; progress makes all of it good */
	assert_int_equal(attach(r, 0, 100), WIRE_OK);
	assert_int_equal(link_tick(&r->l, r->now), LINK_FINE);
	peer_message(r, 0, 1);
	link_detach(&r->l, r->now);
	assert_clock(r, LINK_CLOCK_RECONNECT, r->now + 30000);
	stop(r);
}

static void no_limit_is_no_limit(void **state)
{
	(void)state;
	struct link_config cfg = config();
	cfg.reconnect_ms = cfg.credit_wait_ms = cfg.idle_ms = LINK_FOREVER;
	struct rig *r = start(&cfg);
	assert_int_equal(tick_after(r, 1u << 30), LINK_FINE);
	assert_clock(r, LINK_CLOCK_RECONNECT, LINK_FOREVER);
	assert_true(link_deadline(&r->l, r->now) == LINK_FOREVER);
	attach(r, 0, 100);
	send(r, 100);
	assert_clock(r, LINK_CLOCK_IDLE, LINK_FOREVER);
	assert_int_equal(send(r, 100), WIRE_FULL);
	assert_clock(r, LINK_CLOCK_CREDIT, LINK_FOREVER);
	stop(r);
}

/* With limits so short that the peer's silence is not yet in question. */
static struct rig *start_short(uint64_t granted)
{
	struct link_config cfg = config();
	cfg.credit_wait_ms = 3000;
	cfg.idle_ms = 5000;
	return start_up(&cfg, granted);
}

static void the_credit_clock(void **state)
{
	(void)state;
	struct rig *r = start_short(100);
	send(r, 100);
	collect(r);
	assert_int_equal(tick_after(r, 2000), LINK_FINE);
	assert_int_equal(send(r, 1), WIRE_FULL);
	assert_clock(r, LINK_CLOCK_CREDIT, r->now + 3000);
	assert_int_equal(tick_after(r, 1000), LINK_FINE);
	assert_int_equal(send(r, 1), WIRE_FULL); /* asking again changes nothing */
	assert_clock(r, LINK_CLOCK_CREDIT, r->now + 2000);
	peer_ack(r, 0, 0, 100); /* nor does an ACK that says nothing */
	assert_clock(r, LINK_CLOCK_CREDIT, r->now + 2000);
	peer_ack(r, 100, 0, 100);
	assert_clock(r, LINK_CLOCK_CREDIT, r->now + 3000);
	assert_int_equal(send(r, 1), WIRE_OK);
	assert_clock(r, LINK_CLOCK_IDLE, r->now + 5000);
	assert_int_equal(send(r, 1), WIRE_FULL);
	assert_int_equal(tick_after(r, 2999), LINK_FINE);
	assert_int_equal(tick_after(r, 1), LINK_NO_CREDIT);
	stop(r);
}

static void the_idle_clock(void **state)
{
	(void)state;
	struct rig *r = start_short(1000);
	assert_int_equal(tick_after(r, 9000), LINK_FINE); /* nothing is owed */
	peer_ping(r, F_PONG, 0);			  /* (and it lives) */
	send(r, 10);					  /* now something is, from now on */
	assert_clock(r, LINK_CLOCK_IDLE, r->now + 5000);
	collect(r);
	assert_int_equal(tick_after(r, 4999), LINK_FINE);
	peer_ping(r, F_PONG, 0); /* alive, and no progress */
	assert_int_equal(tick_after(r, 1), LINK_NO_PROGRESS);
	peer_ack(r, 10, 0, 1000);
	assert_clock(r, LINK_CLOCK_NONE, LINK_FOREVER);
	link_owed(&r->l, true, r->now);
	assert_clock(r, LINK_CLOCK_IDLE, r->now + 5000);
	assert_int_equal(tick_after(r, 4000), LINK_FINE);
	link_owed(&r->l, true, r->now); /* is no news */
	assert_clock(r, LINK_CLOCK_IDLE, r->now + 1000);
	/* a message is, and while it is not consumed it is this side that is busy */
	peer_message(r, 0, 1);
	assert_clock(r, LINK_CLOCK_NONE, LINK_FOREVER);
	r->now += 8000;
	peer_ping(r, F_PONG, 0);
	link_consume(&r->l, 1, r->now);
	assert_clock(r, LINK_CLOCK_IDLE, r->now + 5000);
	link_owed(&r->l, false, r->now);
	assert_clock(r, LINK_CLOCK_NONE, LINK_FOREVER);
	stop(r);
}

static void a_slow_producer_owes_nothing(void **state)
{
	(void)state;
	struct rig *r = start_short(1000);
	/* who has no producer has no excuse */
	link_owed(&r->l, true, r->now);
	peer_ping(r, F_PING, 1);
	assert_clock(r, LINK_CLOCK_IDLE, r->now + 5000);
	r->l.cfg.peer_is_source = true;
	link_owed(&r->l, true, r->now);
	r->now += 4000;
	peer_ping(r, F_PING, 1);
	assert_clock(r, LINK_CLOCK_NONE, LINK_FOREVER);
	r->now += 9000;
	peer_ping(r, F_PING, 0); /* it has something at last, and gets the whole time to send it */
	assert_clock(r, LINK_CLOCK_IDLE, r->now + 5000);
	for (uint8_t blocked = 2; blocked <= 5; blocked++) {
		peer_ping(r, F_PONG, blocked);
		assert_clock(r, LINK_CLOCK_IDLE, r->now + 5000);
	}
	/* what it said is forgotten with the connection */
	peer_ping(r, F_PING, 1);
	r->now += 9000;
	attach(r, 0, 1000);
	assert_clock(r, LINK_CLOCK_IDLE, r->now + 5000);
	stop(r);
}

static void other_clocks_stand_still_without_a_connection(void **state)
{
	(void)state;
	struct rig *r = start_short(100);
	send(r, 100);
	assert_int_equal(tick_after(r, 1000), LINK_FINE);
	link_detach(&r->l, r->now);
	assert_int_equal(tick_after(r, 10000), LINK_FINE);
	attach(r, 0, 100);
	assert_int_equal(link_tick(&r->l, r->now), LINK_FINE);
	assert_clock(r, LINK_CLOCK_IDLE, r->now + 5000);
	assert_int_equal(send(r, 1), WIRE_FULL);
	link_detach(&r->l, r->now);
	assert_int_equal(tick_after(r, 10000), LINK_FINE);
	attach(r, 0, 100);
	assert_int_equal(link_tick(&r->l, r->now), LINK_FINE);
	assert_clock(r, LINK_CLOCK_CREDIT, r->now + 3000);
	stop(r);
}

/* Connections that stand and move nothing do not start the clocks anew for ever. */
static void attaching_is_not_progress(void **state)
{
	(void)state;
	struct link_config cfg = config();
	struct rig *r = start_up(&cfg, 100);
	send(r, 100);
	unsigned connections = 1;
	enum link_verdict v;
	while ((v = tick_after(r, 1000)) == LINK_FINE || v == LINK_PEER_DEAD) {
		assert_true(connections < 20);
		if (v == LINK_FINE)
			continue;
		link_detach(&r->l, r->now);
		attach(r, 0, 100);
		connections++;
	}
	assert_int_equal(v, LINK_NO_PROGRESS);
	assert_true(connections > 2);
	stop(r);
}

static void silence(void **state)
{
	(void)state;
	struct rig *r = start_up_default();
	uint64_t t0 = r->now;
	assert_true(link_deadline(&r->l, r->now) == t0 + PING_AFTER_MS);
	assert_int_equal(tick_after(r, PING_AFTER_MS - 1), LINK_FINE);
	assert_int_equal(collect(r), 0);
	assert_int_equal(tick_after(r, 1), LINK_FINE);
	collect(r);
	assert_int_equal(count_seen(r, F_PING), 1);
	assert_true(link_deadline(&r->l, r->now) == t0 + 2 * PING_AFTER_MS);
	/* an answer starts it anew */
	r->now += 100;
	peer_ping(r, F_PONG, 0);
	uint64_t t1 = r->now;
	assert_int_equal(tick_after(r, DEAD_AFTER_MS - 1), LINK_FINE);
	collect(r);
	assert_int_equal(count_seen(r, F_PING), 1);
	assert_true(link_deadline(&r->l, r->now) == t1 + DEAD_AFTER_MS);
	assert_int_equal(tick_after(r, 1), LINK_PEER_DEAD);
	stop(r);
}

static void a_ping_is_answered(void **state)
{
	(void)state;
	struct rig *r = start_up_default();
	link_blocked(&r->l, 5);
	peer_ping(r, F_PING, 0);
	collect(r);
	assert_int_equal(r->frames, 1);
	assert_int_equal(r->seen[0].type, F_PONG);
	assert_int_equal(r->seen[0].body[0], 5);
	peer_ping(r, F_PONG, 0);
	assert_int_equal(collect(r), 0);
	stop(r);
}

/* A peer that is busy sending hears from this side too, or a slow line would look dead to it. */
static void silence_of_this_side(void **state)
{
	(void)state;
	struct link_config cfg = config();
	cfg.window = 1 << 20;
	struct rig *r = start_up(&cfg, 0);
	size_t pings = 0;
	for (uint64_t i = 0; i < 50; i++) {
		assert_int_equal(tick_after(r, 1000), LINK_FINE);
		peer_message(r, i, 1); /* comes in, and is not consumed: there is nothing to ack */
		collect(r);
		pings += count_seen(r, F_PING);
	}
	assert_int_equal(pings, 5);
	stop(r);
}

static void what_it_waits_for_is_told(void **state)
{
	(void)state;
	struct rig *r = start_up_default();
	r->now += 1000;
	link_blocked(&r->l, 1);
	assert_true(link_deadline(&r->l, r->now) <= r->now);
	link_tick(&r->l, r->now);
	collect(r);
	assert_int_equal(count_seen(r, F_PING), 1);
	assert_int_equal(saw(r, F_PING)->body[0], 1);
	/* not again, and a change soon after waits a little */
	link_tick(&r->l, r->now);
	assert_int_equal(collect(r), 0);
	link_blocked(&r->l, 0);
	link_tick(&r->l, r->now);
	assert_int_equal(collect(r), 0);
	r->now = link_deadline(&r->l, r->now);
	link_tick(&r->l, r->now);
	collect(r);
	assert_int_equal(count_seen(r, F_PING), 1);
	assert_int_equal(saw(r, F_PING)->body[0], 0);
	stop(r);
}

/* A connection that is silent is judged by liveness first; a lost line is not a peer that gives no credit. */
static void silence_before_credit(void **state)
{
	(void)state;
	struct link_config cfg = config();
	struct rig *r = start_up(&cfg, 100);
	send(r, 100);
	collect(r);
	assert_int_equal(send(r, 1), WIRE_FULL);
	r->now += 5000;
	peer_ping(r, F_PONG, 0); /* the last that is heard */
	assert_int_equal(tick_after(r, 25000), LINK_FINE);
	assert_int_equal(tick_after(r, 4999), LINK_FINE);
	assert_int_equal(tick_after(r, 1), LINK_PEER_DEAD);
	stop(r);
	/* a peer that answers, and grants nothing, is told so in time */
	r = start_up(&cfg, 100);
	send(r, 100);
	assert_int_equal(send(r, 1), WIRE_FULL);
	for (int i = 0; i < 29; i++) {
		assert_int_equal(tick_after(r, 1000), LINK_FINE);
		peer_ping(r, F_PONG, 0);
	}
	assert_int_equal(tick_after(r, 1000), LINK_NO_CREDIT);
	stop(r);
}

/* A deadline is in the future, unless something can be done about it now. */
static void no_deadline_spins(void **state)
{
	(void)state;
	struct link_config cfg = config();
	cfg.window = 1 << 20;
	struct rig *r = start_up(&cfg, 1 << 20);
	struct iovec iov[CHANNEL_IOV_MAX];
	for (unsigned i = 0; i < CHANNEL_SLOTS; i++)
		send(r, 1);
	assert_true(link_gather(&r->l, r->now, iov) > 0);
	assert_int_equal(r->l.channel.slot_count, CHANNEL_SLOTS); /* and the socket takes none of it */
	peer_message(r, 0, 100);
	link_consume(&r->l, 100, r->now);
	for (int i = 0; i < 100; i++) {
		uint64_t at = link_deadline(&r->l, r->now);
		assert_true(at > r->now);
		r->now = at < r->now + 500 ? at : r->now + 500;
		if (link_tick(&r->l, r->now) != LINK_FINE)
			break;
		link_gather(&r->l, r->now, iov);
	}
	assert_true(link_tick(&r->l, r->now) == LINK_PEER_DEAD);
	stop(r);
	/* after FIN nothing is due but the end */
	r = start_up(&cfg, 0);
	link_fin(&r->l);
	collect(r);
	peer_message(r, 0, 100);
	link_consume(&r->l, 100, r->now);
	r->now += 20000;
	link_tick(&r->l, r->now);
	assert_true(link_deadline(&r->l, r->now) > r->now);
	stop(r);
}

/* ---- memory ---- */

/* A life with everything in it; stops at the first failure and tells what it was. */
static enum wire_rc life(void)
{
	struct link l;
	struct channel peer = {0};
	struct seal zero = {0};
	struct handshake hs = {.peer = {.max_body = RECORD_BODY_MAX_BYTES}};
	struct wire_err err = {0};
	struct link_config cfg = config();
	struct buf_source source = {get_counted, NULL};
	bool raised;
	static uint8_t bytes[1 << 18];
	size_t n = 0;
	enum wire_rc rc = link_init(&l, &cfg, 0, &raised);
	if (rc != WIRE_OK)
		goto out;
	for (int connection = 0; connection < 3 && rc == WIRE_OK; connection++) {
		rc = connection ? link_attach(&l, &hs, 0, 10000, 0, &err)
				: link_attach_early(&l, &hs, 0, &err);
		struct buf *b = rc == WIRE_OK ? get_counted(NULL, 10) : NULL;
		if (b && link_send(&l, F_DATA, 10, b, 0) != WIRE_OK)
			buf_put(b);
		struct iovec iov[CHANNEL_IOV_MAX];
		link_gather(&l, 0, iov);
	}
	if (rc == WIRE_OK && !channel_open(&peer, &zero, &zero, 0, 1 << 20, source))
		rc = WIRE_NOMEM;
	struct buf *small = rc == WIRE_OK ? get_counted(NULL, 10) : NULL,
		   *large = small ? get_counted(NULL, 100000) : NULL;
	if (large) {
		small->len = 10, large->len = 100000;
		memset(small->data, 1, 10);
		memset(large->data, 2, 100000);
		channel_put_message(&peer, &(struct ring_entry){0, 10, F_DATA, small});
		channel_put_message(&peer, &(struct ring_entry){10, 500, F_DATA, small});
		struct iovec iov[CHANNEL_IOV_MAX];
		for (size_t i = 0, areas = channel_gather(&peer, iov); i < areas; n += iov[i++].iov_len)
			memcpy(bytes + n, iov[i].iov_base, iov[i].iov_len);
		channel_wrote(&peer, n);
		channel_put_message(&peer, &(struct ring_entry){510, 100000, F_DATA, large});
		size_t areas = channel_gather(&peer, iov);
		for (size_t i = 0; i < areas; n += iov[i++].iov_len)
			memcpy(bytes + n, iov[i].iov_base, iov[i].iov_len);
	} else if (rc == WIRE_OK) {
		rc = WIRE_NOMEM;
	}
	buf_put(small);
	for (size_t at = 0; rc == WIRE_OK && at < n;) {
		struct iovec to[2];
		link_space(&l, to);
		size_t k = to[0].iov_len < n - at ? to[0].iov_len : n - at;
		k = k < 30000 ? k : 30000;
		memcpy(to[0].iov_base, bytes + at, k);
		at += k;
		link_filled(&l, k, 0);
		struct link_event ev;
		while ((rc = link_next(&l, 0, &ev, &err)) == WIRE_OK) {
			buf_put(ev.body);
			link_consume(&l, ev.cost, 0);
		}
		rc = rc == WIRE_MORE ? WIRE_OK : rc;
	}
	if (rc == WIRE_OK && l.expected != 100510)
		fail_msg("%llu bytes arrived", (unsigned long long)l.expected);
	buf_put(large);
	channel_close(&peer);
out:
	link_free(&l);
	return rc;
}

static void every_allocation_fails_once(void **state)
{
	(void)state;
	size_t failures = 0;
	enum wire_rc rc;
	do {
		grants_left = failures++;
		rc = life();
		grants_left = NO_LIMIT;
		assert_true(rc == WIRE_NOMEM || rc == WIRE_OK);
		assert_int_equal(live, 0);
	} while (rc == WIRE_NOMEM || failures < 5);
	/* ring, three channels, the puppet, five blocks to send, three to receive */
	assert_true(failures > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_in_order),
		cmocka_unit_test(repeated_messages_are_dropped_and_counted),
		cmocka_unit_test(a_gap_is_a_violation),
		cmocka_unit_test(credit_of_the_peer),
		cmocka_unit_test(too_many_messages),
		cmocka_unit_test(malformed_control),
		cmocka_unit_test(numbered_pings),
		cmocka_unit_test(acks_release),
		cmocka_unit_test(keeps_until_durable),
		cmocka_unit_test(acks_that_cannot_be),
		cmocka_unit_test(stale_acks_are_counted_and_no_progress),
		cmocka_unit_test(acks_that_are_sent),
		cmocka_unit_test(a_new_connection_begins_with_an_ack),
		cmocka_unit_test(a_window_of_one),
		cmocka_unit_test(credit_is_kept),
		cmocka_unit_test(messages_are_counted_too),
		cmocka_unit_test(the_ring_holds_a_full_window),
		cmocka_unit_test(control_passes_bulk),
		cmocka_unit_test(resumes_where_the_peer_says),
		cmocka_unit_test(a_newer_connection_replaces_the_older),
		cmocka_unit_test(resume_that_cannot_be),
		cmocka_unit_test(a_peer_that_lost_data_takes_its_acks_back),
		cmocka_unit_test(taken_up_by_another_process),
		cmocka_unit_test(early_credit),
		cmocka_unit_test(early_credit_again),
		cmocka_unit_test(what_was_not_sealed_early_is_skipped),
		cmocka_unit_test(cancel_sticks),
		cmocka_unit_test(a_long_reason_is_cut),
		cmocka_unit_test(cancelled_by_the_peer),
		cmocka_unit_test(fin_comes_last),
		cmocka_unit_test(fin_must_agree),
		cmocka_unit_test(a_lost_fin_is_said_again),
		cmocka_unit_test(exactly_one_clock_runs),
		cmocka_unit_test(time_without_a_connection_adds_up),
		cmocka_unit_test(no_limit_is_no_limit),
		cmocka_unit_test(the_credit_clock),
		cmocka_unit_test(the_idle_clock),
		cmocka_unit_test(a_slow_producer_owes_nothing),
		cmocka_unit_test(other_clocks_stand_still_without_a_connection),
		cmocka_unit_test(attaching_is_not_progress),
		cmocka_unit_test(silence),
		cmocka_unit_test(a_ping_is_answered),
		cmocka_unit_test(silence_of_this_side),
		cmocka_unit_test(what_it_waits_for_is_told),
		cmocka_unit_test(silence_before_credit),
		cmocka_unit_test(no_deadline_spins),
		cmocka_unit_test(every_allocation_fails_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
