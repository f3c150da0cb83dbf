/*
 * The other side of an engine whose stages run in line: says frames over its link, and hears what comes out of
 * it. There is no connection and no time.
 */
#ifndef HAUL_TESTS_FUZZ_TALK_H
#define HAUL_TESTS_FUZZ_TALK_H

#include "fuzz.h"

#include "lib/engine.h"
#include "wire/link.h"

#define TALK_BODY_MAX (64u << 10)

static const uint8_t talk_types[] = {
#define FRAME(lower, UPPER, id, class, doc) id,
#include "wire/frames.def"
};

struct talk {
	struct engine *engine;
	void (*pump)(void); /* the role does what it can, until nothing moves */
	void (*heard)(uint8_t type, struct span body);
	struct seal seal, hears;
	uint64_t at; /* offset of the next message said */
	bool over;   /* nothing more is to be said */
	size_t said_n;
	uint8_t said[1u << 20]; /* by the engine, and not yet a whole record */
	uint8_t body[TALK_BODY_MAX];
};

static struct talk talk;

/* A limit on nothing, no keys, and small chunks. */
static inline struct haul_config talk_config(void)
{
	return (struct haul_config){.window = 1u << 20,
				    .ring = 1u << 20,
				    .reconnect_ms = 1000,
				    .credit_wait_ms = DURATION_INF,
				    .idle_ms = DURATION_INF,
				    .connect_ms = 1000,
				    .deadline_ms = DURATION_INF,
				    .chunk = CHUNK_MIN_BYTES,
				    .jobs = 1,
				    .quota = SIZE_UNSET,
				    .stream_size = SIZE_UNSET};
}

static const uint8_t talk_id[16] = {1};

/* Begins a session of the role `self`, whose engine it is, and attaches its link. */
static inline void talk_begin(struct engine *e, const struct haul_config *cfg, const struct engine_ops *ops,
			      void *self)
{
	static struct event_bus bus;
	struct handshake hs = {.peer = {.max_body = RECORD_BODY_MAX_BYTES}};
	struct wire_err err = {0};
	struct engine_setup es = {.cfg = cfg,
				  .bus = &bus,
				  .ops = ops,
				  .self = self,
				  .session_id = talk_id,
				  .handoff_fd = -1,
				  .signal_fd = -1};
	event_bus_init(&bus, talk_id);
	talk.engine = e;
	talk.seal = talk.hears = (struct seal){0};
	talk.at = talk.said_n = 0;
	talk.over = false;
	CHECK(engine_init(e, &es) == HAUL_OK);
	link_grant(&e->link);
	CHECK(link_attach(&e->link, &hs, 0, 1u << 30, engine_now_ms(), &err) == WIRE_OK);
}

static inline bool talk_hear_record(void)
{
	struct frame_head h;
	struct rd length = rd_init(talk.said, talk.said_n);
	size_t len = rd_u32(&length), n;
	if (length.bad || length.n < len)
		return false;
	CHECK(seal_open(&talk.hears, talk.said + RECORD_LEN_BYTES, len, &n));
	CHECK(!frame_head_get(talk.said + RECORD_LEN_BYTES, &h) && h.body_len == n);
	talk.heard(h.type, (struct span){talk.said + RECORD_LEN_BYTES + FRAME_HEAD_BYTES, n});
	talk.said_n -= RECORD_LEN_BYTES + len;
	memmove(talk.said, talk.said + RECORD_LEN_BYTES + len, talk.said_n);
	return true;
}

/* Everything the link has to say. */
static inline void talk_hear(void)
{
	struct iovec iov[CHANNEL_IOV_MAX];
	for (size_t n; (n = link_gather(&talk.engine->link, engine_now_ms(), iov));) {
		size_t all = 0;
		for (size_t i = 0; i < n; all += iov[i++].iov_len) {
			CHECK(talk.said_n + iov[i].iov_len <= sizeof talk.said);
			memcpy(talk.said + talk.said_n, iov[i].iov_base, iov[i].iov_len);
			talk.said_n += iov[i].iov_len;
		}
		link_wrote(&talk.engine->link, all);
		while (talk_hear_record())
			continue;
	}
}

static inline void talk_deliver(void)
{
	struct link_event ev;
	struct wire_err err = {0};
	const struct engine_ops *ops = talk.engine->set.ops;
	enum frame_role from = ops->role == ROLE_SENDER ? ROLE_RECEIVER : ROLE_SENDER;
	enum wire_rc rc;
	while (!talk.over && (rc = link_next(&talk.engine->link, engine_now_ms(), &ev, &err)) != WIRE_MORE) {
		talk.over |= rc != WIRE_OK;
		if (rc != WIRE_OK || ev.type != LINK_MESSAGE)
			continue;
		if (engine_step(talk.engine, ev.frame, from) == HAUL_OK)
			ops->message(talk.engine->set.self, &ev);
		else
			buf_put(ev.body);
	}
	talk.pump();
	talk.over |= talk.engine->err.rc != HAUL_OK;
}

/* One frame, at the right place; a message costs 1 at least. */
static inline void talk_say(uint8_t type, uint32_t cost, struct span body)
{
	static uint8_t record[RECORD_LEN_BYTES + FRAME_HEAD_BYTES + TALK_BODY_MAX + RECORD_TAG_MAX_BYTES];
	struct frame_head h = {.type = type, .body_len = (uint32_t)body.n};
	CHECK(body.n <= TALK_BODY_MAX);
	if (frame_class_of(type) == FRAME_CLASS_MESSAGE) {
		h.cost = cost ? cost : 1;
		h.offset = talk.at;
		talk.at += h.cost;
	}
	frame_head_put(record + RECORD_LEN_BYTES, &h);
	if (body.n)
		memcpy(record + RECORD_LEN_BYTES + FRAME_HEAD_BYTES, body.p, body.n);
	CHECK(seal_whole(&talk.seal, record, FRAME_HEAD_BYTES + body.n));
	size_t left = RECORD_LEN_BYTES + FRAME_HEAD_BYTES + body.n + seal_tag_bytes(&talk.seal);
	for (const uint8_t *p = record; left && !talk.over;) {
		struct iovec iov[2];
		CHECK(link_space(&talk.engine->link, iov) > 0 && iov[0].iov_len);
		size_t n = iov[0].iov_len < left ? iov[0].iov_len : left;
		memcpy(iov[0].iov_base, p, n);
		link_filled(&talk.engine->link, n, engine_now_ms());
		talk_deliver();
		p += n;
		left -= n;
	}
}

/* What was written to talk.body; cost 0: its length. */
static inline void talk_say_body(uint8_t type, uint32_t cost, const struct wr *w)
{
	CHECK(!w->bad);
	talk_say(type, cost ? cost : (uint32_t)w->n, (struct span){w->p, w->n});
}

#endif
