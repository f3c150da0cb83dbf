/*
 * A link and the session table against a peer that says anything, over connections that come and go: sealed
 * frames with the expected offset or near it, raw bytes, acks, cuts in the middle of a write, replays and
 * time; and somebody between them who changes, repeats and drops records.
 *
 *   input   role u8 (1: sender; 2: keeps until durable; 4: with keys), then steps: an opcode u8 and its
 *           operands; see the table at the end
 *
 * Held to: what arrives is in order and without gaps, nothing is lost by a cut, the ring stays in its bounds;
 * nothing of an altered record is taken; what goes out opens, in order and without gaps from where the peer is.
 */
#include "fuzz.h"

#include "wire/link.h"
#include "wire/session.h"

#define WINDOW	 65536u
#define OPEN_MAX 4096u

struct rig {
	struct link l;
	struct session session;
	enum frame_role mine;
	bool keyed;
	struct seal peer;   /* of what the peer says on this connection */
	struct seal hears;  /* and of what it hears */
	uint64_t expects;   /* the offset it waits for */
	uint8_t said[4096]; /* to it, and not yet a whole record */
	size_t said_n;
	uint64_t now, accepted;
	uint32_t cost[OPEN_MAX]; /* of messages not yet consumed: a ring */
	size_t first, open;
	bool over;
};

static struct rig rig;

static const uint8_t types[] = {
#define FRAME(lower, UPPER, id, class, doc) id,
#include "wire/frames.def"
};

static uint8_t frame_type(struct rd *r)
{
	return types[rd_u8(r) % sizeof types];
}

/* An error of the connection takes it down; any other ends the session. */
static void fail(enum wire_rc rc)
{
	if (rc == WIRE_DAMAGED)
		link_detach(&rig.l, rig.now);
	else
		rig.over = true;
}

static void arrived(const struct link_event *ev)
{
	struct wire_err err = {0};
	enum frame_role from = rig.mine == ROLE_SENDER ? ROLE_RECEIVER : ROLE_SENDER;
	CHECK(ev->offset == rig.accepted);
	rig.accepted += ev->cost;
	CHECK(link_received(&rig.l) == rig.accepted && rig.open < OPEN_MAX);
	rig.cost[(rig.first + rig.open++) % OPEN_MAX] = ev->cost;
	if (session_step(&rig.session, ev->frame, from, &err) != WIRE_OK)
		rig.over = true;
}

static void drain(void)
{
	struct link_event ev;
	struct wire_err err = {0};
	enum wire_rc rc;
	while ((rc = link_next(&rig.l, rig.now, &ev, &err)) == WIRE_OK) {
		if (ev.type == LINK_MESSAGE) {
			arrived(&ev);
			buf_put(ev.body);
		}
	}
	if (rc != WIRE_MORE) {
		CHECK(err.check);
		fail(rc);
	}
}

static void feed(const uint8_t *p, size_t n, size_t piece)
{
	while (n && !rig.over && rig.l.state != LINK_DOWN) {
		struct iovec iov[2];
		CHECK(link_space(&rig.l, iov) > 0 && iov[0].iov_len > 0);
		size_t take = iov[0].iov_len < n ? iov[0].iov_len : n;
		take = take < piece ? take : piece;
		memcpy(iov[0].iov_base, p, take);
		link_filled(&rig.l, take, rig.now);
		drain();
		p += take;
		n -= take;
	}
}

/* ---- what goes out ---- */

static void hear_record(size_t len)
{
	struct frame_head h;
	size_t body_len;
	CHECK(seal_open(&rig.hears, rig.said + RECORD_LEN_BYTES, len, &body_len));
	CHECK(!frame_head_get(rig.said + RECORD_LEN_BYTES, &h) && h.body_len == body_len);
	if (frame_class_of(h.type) == FRAME_CLASS_MESSAGE) {
		CHECK(h.offset == rig.expects && h.cost);
		rig.expects += h.cost;
	}
}

static void hear(const uint8_t *p, size_t n)
{
	while (n) {
		struct rd length = rd_init(rig.said, RECORD_LEN_BYTES);
		size_t want = RECORD_LEN_BYTES;
		if (rig.said_n >= want)
			want += rd_u32(&length);
		CHECK(want <= sizeof rig.said);
		size_t take = want - rig.said_n < n ? want - rig.said_n : n;
		memcpy(rig.said + rig.said_n, p, take);
		rig.said_n += take;
		p += take;
		n -= take;
		if (rig.said_n == want && want > RECORD_LEN_BYTES) {
			hear_record(want - RECORD_LEN_BYTES);
			rig.said_n = 0;
		}
	}
}

/* ---- steps ---- */

/* One direction of a connection: each has keys of its own. */
static void make_seal(struct seal *s, uint8_t direction)
{
	uint8_t key[SEAL_KEY_BYTES] = {direction, (uint8_t)rig.l.generation};
	*s = (struct seal){0};
	if (rig.keyed)
		seal_init_aead(s, key, 5);
}

static void step_attach(struct rd *r)
{
	static struct handshake hs = {.peer = {.max_body = RECORD_BODY_MAX_BYTES}};
	struct wire_err err = {0};
	uint64_t received = rig.l.channel.sent - rd_u8(r), granted = rig.l.credit.granted + rd_u16(r);
	if (received > rig.l.channel.sent)
		received = 0;
	link_grant(&rig.l);
	make_seal(&hs.rx, 1);
	make_seal(&hs.tx, 2);
	rig.peer = hs.rx;
	rig.hears = hs.tx;
	rig.expects = received;
	rig.said_n = 0;
	if (link_attach(&rig.l, &hs, received, granted, rig.now, &err) != WIRE_OK)
		rig.over = true;
}

static void step_detach(struct rd *r)
{
	(void)r;
	link_detach(&rig.l, rig.now);
}

struct record {
	uint8_t p[RECORD_LEN_BYTES + FRAME_HEAD_BYTES + 256 + RECORD_TAG_MAX_BYTES];
	size_t n, piece;
};

/* What the peer says next. */
static void make_record(struct rd *r, struct record *out)
{
	struct frame_head h = {.type = frame_type(r)};
	int8_t beside = (int8_t)rd_u8(r);
	uint16_t cost = rd_u16(r);
	out->piece = (size_t)rd_u8(r) + 1;
	struct span body = script_bytes(r, rd_u8(r));
	if (frame_class_of(h.type) == FRAME_CLASS_MESSAGE) {
		h.cost = cost;
		h.offset = rig.accepted + (uint64_t)(int64_t)beside;
	}
	h.body_len = (uint32_t)body.n;
	struct wr w = wr_init(out->p + RECORD_LEN_BYTES + FRAME_HEAD_BYTES, 256);
	frame_head_put(out->p + RECORD_LEN_BYTES, &h);
	wr_bytes(&w, body.p, body.n);
	CHECK(seal_whole(&rig.peer, out->p, FRAME_HEAD_BYTES + body.n));
	out->n = RECORD_LEN_BYTES + FRAME_HEAD_BYTES + body.n + seal_tag_bytes(&rig.peer);
}

static void step_frame(struct rd *r)
{
	struct record rec;
	make_record(r, &rec);
	feed(rec.p, rec.n, rec.piece);
}

/* A bit is changed, a record comes twice, or one is missing. */
static void step_alter(struct rd *r)
{
	struct record rec;
	uint16_t how = rd_u16(r);
	uint64_t before = rig.accepted;
	make_record(r, &rec);
	if (how & 1) {
		rec.p[(how >> 4) % rec.n] ^= (uint8_t)(1u << (how >> 1 & 7));
	} else if (how & 2) {
		feed(rec.p, rec.n, rec.piece);
		before = rig.accepted;
	} else {
		make_record(r, &rec);
	}
	feed(rec.p, rec.n, rec.piece);
	CHECK(rig.accepted == before);
}

/* An ACK that is right more often than chance would have it. */
static void step_ack(struct rd *r)
{
	uint8_t body[24], script[6 + sizeof body] = {0};
	struct wr w = wr_init(body, sizeof body);
	uint64_t written = rig.l.channel.sent - rd_u8(r) % 4;
	wr_uint(&w, written, 8);
	wr_uint(&w, written - rd_u8(r) % 4, 8);
	wr_uint(&w, rig.l.credit.granted + rd_u16(r), 8);
	for (size_t i = 0; i < sizeof types; i++)
		if (types[i] == F_ACK)
			script[0] = (uint8_t)i;
	script[4] = UINT8_MAX;
	script[5] = sizeof body;
	memcpy(script + 6, body, sizeof body);
	struct rd frame = rd_init(script, sizeof script);
	step_frame(&frame);
}

static void step_raw(struct rd *r)
{
	struct span in = script_bytes(r, rd_u8(r));
	feed(in.p, in.n, SIZE_MAX);
}

static void step_send(struct rd *r)
{
	struct wire_err err = {0};
	struct session after = rig.session;
	uint8_t type = frame_type(r);
	uint32_t cost = (uint32_t)rd_u16(r) + 1;
	size_t n = rd_u8(r) % (cost < 64 ? cost : 64);
	if (frame_class_of(type) != FRAME_CLASS_MESSAGE ||
	    session_step(&after, type, rig.mine, &err) != WIRE_OK)
		return;
	struct buf *b = buf_malloc(NULL, 64);
	CHECK(b);
	memset(b->data, type, n);
	b->len = n;
	bool can = link_can_send(&rig.l, cost, n);
	enum wire_rc rc = link_send(&rig.l, type, cost, b, rig.now);
	CHECK((rc == WIRE_OK) == can);
	if (rc == WIRE_OK)
		rig.session = after;
	else
		buf_put(b);
}

static void step_write(struct rd *r)
{
	struct iovec iov[CHANNEL_IOV_MAX];
	size_t most = rd_u16(r), n = 0;
	if (rig.l.state == LINK_DOWN)
		return;
	size_t areas = link_gather(&rig.l, rig.now, iov);
	for (size_t i = 0; i < areas && n < most; i++) {
		size_t take = iov[i].iov_len < most - n ? iov[i].iov_len : most - n;
		hear(iov[i].iov_base, take);
		n += take;
	}
	if (areas)
		link_wrote(&rig.l, n);
}

static void step_time(struct rd *r)
{
	rig.now += rd_u16(r);
	enum link_verdict v = link_tick(&rig.l, rig.now);
	if (v == LINK_PEER_DEAD)
		link_detach(&rig.l, rig.now);
	else if (v != LINK_FINE)
		rig.over = true;
	(void)link_deadline(&rig.l, rig.now);
}

static void step_consume(struct rd *r)
{
	for (unsigned n = rd_u8(r); n && rig.open; n--) {
		link_consume(&rig.l, rig.cost[rig.first], rig.now);
		rig.first = (rig.first + 1) % OPEN_MAX;
		rig.open--;
	}
	CHECK(rig.l.written <= rig.l.expected);
	link_durable(&rig.l, rig.l.written);
}

static void step_state(struct rd *r)
{
	uint8_t what = rd_u8(r);
	if (what & 1)
		link_waiting(&rig.l, what & 2, rig.now);
	if (what & 4)
		link_owed(&rig.l, what & 8, rig.now);
	if (what & 16)
		link_blocked(&rig.l, what >> 6);
	if (what == 0x20)
		link_fin(&rig.l);
	if (what == 0x60)
		link_cancel(&rig.l, what, "over");
}

static void (*const steps[])(struct rd *) = {step_frame,   step_ack,   step_send, step_write,  step_time,
					     step_consume, step_state, step_raw,  step_attach, step_detach};
#define ALTER 250 /* and above: step_alter */

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct link_config cfg = {.window = WINDOW,
				  .ring = 1 << 16,
				  .max_body = RECORD_BODY_MAX_BYTES,
				  .reconnect_ms = 300000,
				  .credit_wait_ms = 300000,
				  .idle_ms = 600000,
				  .source = {buf_malloc, NULL}};
	struct rd r = rd_init(p, n), none = {0};
	bool raised;
	memset(&rig, 0, sizeof rig);
	rig.now = 1000000;
	uint8_t role = rd_u8(&r);
	rig.mine = role & 1 ? ROLE_SENDER : ROLE_RECEIVER;
	cfg.keep_until_durable = role & 2;
	rig.keyed = role & 4;
	CHECK(link_init(&rig.l, &cfg, rig.now, &raised) == WIRE_OK);
	step_attach(&none);
	while (r.n && !r.bad && !rig.over) {
		uint8_t op = rd_u8(&r);
		(op < ALTER ? steps[op % (sizeof steps / sizeof *steps)] : step_alter)(&r);
	}
	link_free(&rig.l);
	return 0;
}
