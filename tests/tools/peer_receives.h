/* peer, the scripts of receivers: what each answers to what it hears. Senders are run with -z none. */
#ifndef HAUL_TESTS_PEER_RECEIVES_H
#define HAUL_TESTS_PEER_RECEIVES_H

#include "tests/tools/peer_sends.h"

enum {
	R_HONEST,
	R_ACK_BEYOND,
	R_ACK_STALE,
	R_ACK_GRANTS,
	R_WANT_UNKNOWN,
	R_WANT_WRAP,
	R_WANT_TWICE,
	R_WANT_SHORT,
	R_WANT_LONG,
	R_WANT_ACTION,
	R_WANT_EMPTY,
	R_WANT_DIR,
	R_WANT_DONE,
	R_WANT_REFUSED_0,
	R_RESULT_UNKNOWN,
	R_RESULT_EARLY,
	R_RESULT_UNWANTED,
	R_RESULT_TWICE,
	R_RESULT_EMPTY,
	R_RESULT_14,
	R_SUMMARY_EARLY,
	R_SUMMARY_MORE,
	R_SUMMARY_NONE,
	R_STOP_0,
	R_STOP_13,
	R_CANCEL,
	R_FIN,
	R_CLOSE,
	R_SILENT,
	R_HAVE_UNASKED,
	R_HAVE_TWICE,
	R_HAVE_MANY,
	R_HAVE_GAP,
	R_HAVE_EMPTY,
	R_NEED_UNASKED,
	R_NEED_AGAIN,
	R_NEED_UNTOLD,
	R_BEGIN,
	R_PINGS,
	R_SOURCE,
	R_FRAME,
	R_STRAYS_UNASKED,
	R_STRAYS_MORE,
	R_STRAYS_STATE,
	R_STRAYS_SHORT,
	R_STRAYS_FEWER,
};

static void result(struct peer *p, uint64_t id, unsigned code)
{
	uint8_t b[64];
	struct wr w = wr_init(b, sizeof b);
	frame_put_result(&w, &(struct frame_result){.count = 1});
	frame_put_outcome(&w, &(struct frame_outcome){id, (uint16_t)code, 0});
	peer_message(p, F_RESULT, 0, b, w.n);
}

static void have(struct peer *p, uint64_t id, uint64_t first, unsigned last, size_t chunks)
{
	static uint8_t b[64 + 4096 * DIGEST_BYTES];
	struct wr w = wr_init(b, sizeof b);
	frame_put_have(&w, &(struct frame_have){
				   id, PEER_SEED, first, (uint8_t)last, {zeros, chunks * DIGEST_BYTES}});
	peer_message(p, F_HAVE, 0, b, w.n);
}

static void want(struct peer *p, uint64_t first, const uint8_t *actions, unsigned count, unsigned said)
{
	static uint8_t b[65536];
	struct wr w = wr_init(b, sizeof b);
	frame_put_want(&w, &(struct frame_want){first, (uint16_t)said, {NULL, 0}});
	for (unsigned i = 0; i < count; i++)
		frame_put_verdict(&w, &(struct frame_verdict){actions[i], 0, 0});
	peer_message(p, F_WANT, 0, b, w.n);
}

static uint64_t committed;

/* The first OFFER's entries: what an honest receiver would say, and the first file among them. */
static uint64_t judge(struct frame_offer *o, uint8_t actions[static 1024], bool compare)
{
	struct rd r = rd_init(o->entries.p, o->entries.n);
	struct frame_entry e;
	uint64_t file = UINT64_MAX;
	for (unsigned i = 0; i < o->count && frame_get_part_entry(&r, &e); i++) {
		bool content = e.type == FILE_ENTRY || e.type == STREAM_ENTRY;
		actions[i] = !content ? 3 : compare ? 4 : 1;
		if (content && file == UINT64_MAX)
			file = o->first + i;
	}
	return file;
}

static void on_offer(struct peer *p, const struct script *s, struct span body)
{
	uint8_t actions[1024];
	struct frame_offer o;
	if (!frame_get_offer(body, &o))
		return;
	uint64_t how = s->number;
	bool compare = how >= R_HAVE_TWICE && how <= R_NEED_UNTOLD;
	uint64_t file = judge(&o, actions, compare), i = file - o.first;
	bool any = file != UINT64_MAX;
	if (how == R_WANT_UNKNOWN)
		want(p, o.first + 1000, actions, 1, 1);
	if (how == R_WANT_WRAP)
		want(p, UINT64_MAX, actions, 0, 1);
	if (how == R_WANT_SHORT)
		want(p, o.first, actions, 1, 2);
	if (how == R_WANT_LONG)
		want(p, o.first, actions, 2, 1);
	if (how == R_WANT_ACTION)
		memset(actions, 9, sizeof actions);
	if (how == R_WANT_DIR)
		memset(actions, 1, sizeof actions);
	if (how == R_WANT_DONE)
		memset(actions, 3, sizeof actions);
	if (how == R_WANT_REFUSED_0)
		memset(actions, 2, sizeof actions);
	if (how == R_WANT_EMPTY)
		for (int n = 0; n < 200000 && !p->closed; n++)
			want(p, o.first, actions, 0, 0);
	if (how == R_RESULT_UNWANTED && any)
		result(p, file, 0);
	want(p, o.first, actions, o.count, o.count);
	if (how == R_WANT_TWICE)
		want(p, o.first, actions, o.count, o.count);
	if (!any)
		return;
	if (how == R_RESULT_EARLY)
		for (; i < o.count; i++)
			if (actions[i] == 1)
				result(p, o.first + i, 0);
	if (how == R_HAVE_UNASKED || how == R_HAVE_TWICE)
		have(p, file, 0, 1, 1);
	if (how == R_HAVE_TWICE)
		have(p, file, 1, 1, 1);
	if (how == R_HAVE_MANY)
		have(p, file, 0, 1, 2000);
	if (how == R_NEED_AGAIN)
		have(p, file, 0, 1, 1);
	if (how == R_HAVE_GAP)
		have(p, file, 1, 1, 1);
	if (how == R_HAVE_EMPTY)
		have(p, file, 0, 0, 0);
	if (how == R_NEED_UNASKED || how == R_NEED_UNTOLD)
		PUT(p, need, NEED, file, 0);
}

static void on_pack(struct peer *p, const struct script *s, struct span body)
{
	struct frame_pack f;
	struct frame_packed part;
	if (!frame_get_pack(body, &f) || f.codec != STORED)
		return;
	struct rd r = rd_init(f.payload.p, f.payload.n);
	for (unsigned i = 0; i < f.count && frame_get_part_packed(&r, &part); i++) {
		result(p, part.file, s->number == R_RESULT_14 ? 14 : 0);
		committed++;
	}
}

static void on_end(struct peer *p, const struct script *s, struct span body)
{
	struct frame_end e;
	if (!frame_get_end(body, &e))
		return;
	if (s->number == R_NEED_AGAIN) { /* for as long as it goes */
		PUT(p, need, NEED, e.file, 0);
		return;
	}
	result(p, e.file, s->number == R_RESULT_14 ? 14 : 0);
	if (s->number == R_RESULT_TWICE)
		result(p, e.file, 0);
	committed++;
}

static void on_finish(struct peer *p, const struct script *s)
{
	uint64_t n = s->number == R_RESULT_14 ? 0 : committed;
	if (s->number == R_SUMMARY_NONE)
		p->fin_due = true;
	else
		PUT(p, summary, SUMMARY, n + (s->number == R_SUMMARY_MORE), 0, 0, 1, 0);
}

/* What a script says as soon as it hears the first content. */
static void interrupt(struct peer *p, const struct script *s)
{
	struct frame_head odd = {.type = 0x7f, .cost = 1, .offset = p->out};
	switch (s->number) {
	case R_ACK_BEYOND:
		CONTROL(p, ack, ACK, p->in + 100000000, 0, p->in + 100000000);
		break;
	case R_ACK_STALE:
		for (int i = 0; i < 1000; i++)
			CONTROL(p, ack, ACK, 1, 0, 1);
		break;
	case R_ACK_GRANTS:
		CONTROL(p, ack, ACK, 0, 0, UINT64_MAX);
		break;
	case R_RESULT_UNKNOWN:
		result(p, 123456, 0);
		break;
	case R_RESULT_EMPTY:
		peer_message(p, F_RESULT, 0, zeros, 2);
		break;
	case R_SUMMARY_EARLY:
		PUT(p, summary, SUMMARY, 0, 0, 0, 1, 0);
		break;
	case R_STOP_0:
		PUT(p, stop, STOP, 0, 0, {(const uint8_t *)"no reason", 9});
		break;
	case R_STOP_13:
		PUT(p, stop, STOP, 13, 28, {(const uint8_t *)"full", 4});
		break;
	case R_CANCEL:
		CONTROL(p, cancel, CANCEL, (uint16_t)s->n, {(const uint8_t *)s->text, strlen(s->text)});
		break;
	case R_FIN:
		peer_fin(p);
		break;
	case R_CLOSE:
		p->closed = true;
		break;
	case R_BEGIN:
		begin(p);
		break;
	case R_STRAYS_UNASKED:
		PUT(p, strays, STRAYS, 1, 0, 1, 0, 0, {NULL, 0});
		break;
	case R_FRAME:
		peer_record(p, &odd, NULL, 0);
		break;
	case R_SOURCE:
		CONTROL(p, ping, PING, 1, 1);
		break;
	case R_PINGS:
		for (uint32_t i = 1; i <= 10000 && !p->closed; i++)
			CONTROL(p, ping, PING, 0, i);
		break;
	default:
		break;
	}
}

/* What a DELETE may be answered with that cannot be. */
static void on_delete(struct peer *p, const struct script *s)
{
	uint8_t b[64];
	struct wr w = wr_init(b, sizeof b);
	uint8_t state = s->number == R_STRAYS_STATE ? 1 : 0; /* removed, though it was to be counted */
	frame_put_stray(&w, &(struct frame_stray){state, 0, {(const uint8_t *)"src/x", 5}});
	size_t n = s->number == R_STRAYS_SHORT ? w.n - 1 : w.n;
	if (s->number == R_STRAYS_FEWER)
		PUT(p, strays, STRAYS, 9, 9, 0, 0, 0, {NULL, 0});
	PUT(p, strays, STRAYS, 9, s->number == R_STRAYS_MORE ? 10 : 1, 1, 0, 0, {b, n});
}

static void receiver_hears(struct peer *p, const struct frame_head *head, struct span body)
{
	const struct script *s = p->self;
	bool content = head->type == F_PACK || head->type == F_DATA;
	if (content && p->heard[F_PACK] + p->heard[F_DATA] == 1)
		interrupt(p, s);
	if (s->number == R_SILENT && p->heard[F_DATA])
		p->mute = true;
	if (p->mute || p->closed)
		return;
	if (s->number == R_SOURCE && p->heard[F_PACK] + p->heard[F_DATA]) /* no result ever, and an excuse */
		return;
	if (head->type == F_OFFER)
		on_offer(p, s, body);
	else if (head->type == F_PACK)
		on_pack(p, s, body);
	else if (head->type == F_END)
		on_end(p, s, body);
	else if (head->type == F_DELETE)
		on_delete(p, s);
	else if (head->type == F_FINISH)
		on_finish(p, s);
}

static void receive(struct peer *p, const struct script *s)
{
	(void)s;
	committed = 0;
	peer_drain(p, ANSWER_MS);
}

#define R(name, n, text, number)                                                                             \
	{                                                                                                    \
		name, false, receive, text, n, number, receiver_hears                                        \
	}

static const struct script receives[] = {
	R("take-honest", 0, "", R_HONEST),
	R("take-ack-beyond", 0, "", R_ACK_BEYOND),
	R("take-ack-stale", 0, "", R_ACK_STALE),
	R("take-ack-grants", 0, "", R_ACK_GRANTS),
	R("take-want-unknown", 0, "", R_WANT_UNKNOWN),
	R("take-want-wrap", 0, "", R_WANT_WRAP),
	R("take-want-twice", 0, "", R_WANT_TWICE),
	R("take-want-short", 0, "", R_WANT_SHORT),
	R("take-want-long", 0, "", R_WANT_LONG),
	R("take-want-action", 0, "", R_WANT_ACTION),
	R("take-want-empty", 0, "", R_WANT_EMPTY),
	R("take-want-dir", 0, "", R_WANT_DIR),
	R("take-want-done", 0, "", R_WANT_DONE),
	R("take-want-refused-0", 0, "", R_WANT_REFUSED_0),
	R("take-result-unknown", 0, "", R_RESULT_UNKNOWN),
	R("take-result-early", 0, "", R_RESULT_EARLY),
	R("take-result-unwanted", 0, "", R_RESULT_UNWANTED),
	R("take-result-twice", 0, "", R_RESULT_TWICE),
	R("take-result-empty", 0, "", R_RESULT_EMPTY),
	R("take-result-14", 0, "", R_RESULT_14),
	R("take-summary-early", 0, "", R_SUMMARY_EARLY),
	R("take-summary-more", 0, "", R_SUMMARY_MORE),
	R("take-summary-none", 0, "", R_SUMMARY_NONE),
	R("take-stop-0", 0, "", R_STOP_0),
	R("take-stop-13", 0, "", R_STOP_13),
	R("take-cancel-0", 0, "all is well", R_CANCEL),
	R("take-cancel-128", 128, "a signal", R_CANCEL),
	R("take-cancel-goaway", REASON_GOAWAY, "going away", R_CANCEL),
	R("take-cancel-escape", 4, "evil\033[31m\nline", R_CANCEL),
	R("take-fin", 0, "", R_FIN),
	R("take-close", 0, "", R_CLOSE),
	R("take-silent", 0, "", R_SILENT),
	R("take-have-unasked", 0, "", R_HAVE_UNASKED),
	R("take-have-twice", 0, "", R_HAVE_TWICE),
	R("take-have-many", 0, "", R_HAVE_MANY),
	R("take-have-gap", 0, "", R_HAVE_GAP),
	R("take-have-empty", 0, "", R_HAVE_EMPTY),
	R("take-need-unasked", 0, "", R_NEED_UNASKED),
	R("take-need-untold", 0, "", R_NEED_UNTOLD),
	R("take-need-again", 0, "", R_NEED_AGAIN),
	R("take-begin", 0, "", R_BEGIN),
	R("take-pings", 0, "", R_PINGS),
	R("take-excused", 0, "", R_SOURCE),
	R("take-frame", 0, "", R_FRAME),
	R("take-strays-unasked", 0, "", R_STRAYS_UNASKED),
	R("take-strays-more", 0, "", R_STRAYS_MORE),
	R("take-strays-state", 0, "", R_STRAYS_STATE),
	R("take-strays-short", 0, "", R_STRAYS_SHORT),
	R("take-strays-fewer", 0, "", R_STRAYS_FEWER),
	{0},
};
#endif
