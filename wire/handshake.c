#include "wire/handshake.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* 0x89 is no ASCII; CR LF and ^Z tell of a terminal or a text mode in the path. */
static const uint8_t magic[8] = {0x89, 'H', 'A', 'U', 'L', '\r', '\n', 0x1a};

enum { MODE_PLAIN = 0 };

static void out_append(struct handshake *hs, const void *p, size_t n)
{
	memcpy(hs->out + hs->out_len, p, n);
	hs->out_len += n;
}

static void put_opening(struct handshake *hs, const struct hello *h)
{
	uint8_t b[OPENING_BYTES];
	struct wr w = wr_init(b, sizeof b);
	wr_bytes(&w, magic, sizeof magic);
	wr_uint(&w, PROTOCOL_MAJOR, 1);
	wr_uint(&w, MODE_PLAIN, 1);
	wr_uint(&w, 0, 6);
	wr_uint(&w, h->minor_min, 1);
	wr_uint(&w, h->minor_max, 1);
	wr_uint(&w, h->suites, 2);
	wr_uint(&w, h->offered, 2);
	wr_uint(&w, h->required, 2);
	wr_uint(&w, h->max_body, 4);
	wr_uint(&w, h->credit, 4);
	wr_bytes(&w, h->instance, sizeof h->instance);
	wr_uint(&w, XXH3_64bits(b, w.n), HELLO_TAG_BYTES);
	out_append(hs, b, w.n);
}

static void put_record(struct handshake *hs, uint8_t type, const uint8_t *body, size_t body_len)
{
	uint8_t head[FRAME_HEAD_BYTES], tag[RECORD_TAG_MAX_BYTES], len[RECORD_LEN_BYTES];
	frame_head_put(head, &(struct frame_head){.type = type, .body_len = (uint32_t)body_len});
	seal_close(&hs->tx, head, body, body_len, tag);
	size_t tag_len = seal_tag_bytes(&hs->tx);
	struct wr w = wr_init(len, sizeof len);
	wr_uint(&w, FRAME_HEAD_BYTES + body_len + tag_len, RECORD_LEN_BYTES);
	out_append(hs, len, sizeof len);
	out_append(hs, head, sizeof head);
	out_append(hs, body, body_len);
	out_append(hs, tag, tag_len);
}

static void expect(struct handshake *hs, enum handshake_state state, size_t want)
{
	hs->state = state;
	hs->in_len = 0;
	hs->in_want = want;
}

enum wire_rc handshake_initiate(struct handshake *hs, const struct hello *mine,
				const struct frame_attach *attach, struct wire_err *err)
{
	*hs = (struct handshake){.initiator = true, .mine = *mine, .attach = *attach};
	if (attach->subdir.n > SUBDIR_MAX_BYTES)
		return wire_fail(err, WIRE_VIOLATION, "the directory of ATTACH is too long",
				 attach->subdir.n);
	uint8_t body[64 + SUBDIR_MAX_BYTES];
	struct wr w = wr_init(body, sizeof body);
	frame_put_attach(&w, attach);
	put_opening(hs, mine);
	put_record(hs, F_ATTACH, body, w.n);
	expect(hs, HS_PREFIX, PREFIX_BYTES);
	return WIRE_OK;
}

void handshake_respond(struct handshake *hs, const struct hello *mine)
{
	*hs = (struct handshake){.mine = *mine};
	expect(hs, HS_PREFIX, PREFIX_BYTES);
}

size_t handshake_need(const struct handshake *hs)
{
	return hs->in_want - hs->in_len;
}

static enum wire_rc fail(struct handshake *hs, struct wire_err *err, enum wire_rc rc, const char *check,
			 uint64_t at)
{
	expect(hs, HS_FAILED, 0);
	return wire_fail(err, rc, check, at);
}

static enum wire_rc check_prefix(struct handshake *hs, struct wire_err *err)
{
	static const uint8_t zero[6];
	if (memcmp(hs->in, magic, sizeof magic) != 0)
		return fail(hs, err, WIRE_NOT_HAUL, "the peer does not speak haul", 0);
	if (hs->in[8] != PROTOCOL_MAJOR)
		return fail(hs, err, WIRE_VERSION, "the peer speaks another major version", hs->in[8]);
	if (hs->in[9] != MODE_PLAIN || memcmp(hs->in + 10, zero, sizeof zero) != 0)
		return fail(hs, err, WIRE_VERSION,
			    "the peer wants a handshake mode this side is not set up for", hs->in[9]);
	hs->in_want = OPENING_BYTES;
	return WIRE_MORE;
}

static enum wire_rc read_hello(struct handshake *hs, struct wire_err *err)
{
	struct rd r = rd_init(hs->in + PREFIX_BYTES, HELLO_BYTES + HELLO_TAG_BYTES);
	struct hello *h = &hs->peer;
	h->minor_min = rd_u8(&r);
	h->minor_max = rd_u8(&r);
	h->suites = rd_u16(&r);
	h->offered = rd_u16(&r);
	h->required = rd_u16(&r);
	h->max_body = rd_u32(&r);
	h->credit = rd_u32(&r);
	rd_fix(&r, h->instance, sizeof h->instance);
	if (rd_u64(&r) != XXH3_64bits(hs->in, PREFIX_BYTES + HELLO_BYTES))
		return fail(hs, err, WIRE_DAMAGED, "the opening does not match its tag", 0);
	if (h->max_body < RECORD_BODY_FLOOR_BYTES)
		return fail(hs, err, WIRE_VIOLATION, "the peer accepts only frames that are too small",
			    h->max_body);
	if (h->credit < EARLY_CREDIT_BYTES)
		return fail(hs, err, WIRE_VIOLATION, "the peer takes less before WELCOME than is sent",
			    h->credit);
	return WIRE_OK;
}

/* The highest minor version both speak, 0 if none. */
static uint8_t common_minor(const struct hello *a, const struct hello *b)
{
	uint8_t low = a->minor_min > b->minor_min ? a->minor_min : b->minor_min;
	uint8_t high = a->minor_max < b->minor_max ? a->minor_max : b->minor_max;
	return low <= high ? high : 0;
}

static enum wire_rc responder_hello(struct handshake *hs, struct wire_err *err)
{
	struct hello answer = hs->mine;
	hs->minor = common_minor(&hs->mine, &hs->peer);
	hs->features = hs->mine.offered & hs->peer.offered;
	answer.minor_min = answer.minor_max = hs->minor;
	put_opening(hs, &answer);
	uint16_t missing =
		(uint16_t)((hs->peer.required & ~hs->mine.offered) | (hs->mine.required & ~hs->peer.offered));
	if (!hs->minor || missing) {
		const char *why = hs->minor ? "a required feature is missing" : "no common protocol version";
		handshake_refuse(hs, 2, why);
		return fail(hs, err, WIRE_VERSION, why, missing);
	}
	expect(hs, HS_ATTACH, RECORD_LEN_BYTES);
	return WIRE_OK;
}

static enum wire_rc initiator_hello(struct handshake *hs)
{
	/* a version that does not fit comes with a REFUSE that says so */
	hs->minor = hs->peer.minor_max;
	hs->features = hs->mine.offered & hs->peer.offered;
	expect(hs, HS_WELCOME, RECORD_LEN_BYTES);
	return WIRE_OK;
}

static enum wire_rc read_length(struct handshake *hs, struct wire_err *err)
{
	struct rd r = rd_init(hs->in, RECORD_LEN_BYTES);
	uint32_t len = rd_u32(&r);
	if (len < FRAME_HEAD_BYTES + seal_tag_bytes(&hs->rx) ||
	    len > ATTACH_RECORD_MAX_BYTES - RECORD_LEN_BYTES)
		return fail(hs, err, WIRE_VIOLATION, "length of the first record", len);
	hs->in_want = RECORD_LEN_BYTES + len;
	return WIRE_MORE;
}

static enum wire_rc read_attach(struct handshake *hs, uint8_t type, struct span body, struct wire_err *err)
{
	const struct span *dir = &hs->attach.subdir;
	if (type != F_ATTACH || !frame_get_attach(body, &hs->attach) || hs->attach.fresh > 1 ||
	    (dir->n && memchr(dir->p, '\0', dir->n)) ||
	    (hs->attach.role != ROLE_SENDER && hs->attach.role != ROLE_RECEIVER))
		return fail(hs, err, WIRE_VIOLATION, "the first record is not a proper ATTACH", type);
	hs->state = HS_DECIDE; /* in[] stays: subdir looks into it */
	return WIRE_OK;
}

static enum wire_rc read_answer(struct handshake *hs, uint8_t type, struct span body, struct wire_err *err)
{
	if (type == F_REFUSE && frame_get_refuse(body, &hs->refuse)) {
		hs->state = HS_FAILED; /* in[] stays: the text looks into it */
		return wire_fail(err, WIRE_REFUSED, "refused by the peer", hs->refuse.code);
	}
	if (type != F_WELCOME || !frame_get_welcome(body, &hs->welcome))
		return fail(hs, err, WIRE_VIOLATION, "the answer is neither WELCOME nor REFUSE", type);
	if (hs->minor < hs->mine.minor_min || hs->minor > hs->mine.minor_max)
		return fail(hs, err, WIRE_VERSION, "the peer chose a version that was not offered",
			    hs->minor);
	if (hs->peer.required & ~hs->mine.offered)
		return fail(hs, err, WIRE_VERSION, "a required feature is missing", hs->peer.required);
	hs->state = HS_DONE;
	return WIRE_OK;
}

static enum wire_rc read_record(struct handshake *hs, struct wire_err *err)
{
	size_t body_len;
	if (!seal_open(&hs->rx, hs->in + RECORD_LEN_BYTES, hs->in_len - RECORD_LEN_BYTES, &body_len))
		return fail(hs, err, WIRE_DAMAGED, "the first record does not match its tag", 0);
	struct frame_head head;
	const char *why = frame_head_get(hs->in + RECORD_LEN_BYTES, &head);
	if (!why && head.body_len != body_len)
		why = "body length of the first record";
	if (why)
		return fail(hs, err, WIRE_VIOLATION, why, head.type);
	struct span body = {hs->in + RECORD_LEN_BYTES + FRAME_HEAD_BYTES, body_len};
	return hs->initiator ? read_answer(hs, head.type, body, err) : read_attach(hs, head.type, body, err);
}

enum wire_rc handshake_feed(struct handshake *hs, const uint8_t *p, size_t n, struct wire_err *err)
{
	memcpy(hs->in + hs->in_len, p, n);
	hs->in_len += n;
	/* not haul is said as soon as it is known: a stranger may never send sixteen bytes */
	if (hs->state == HS_PREFIX && hs->in_len < sizeof magic && memcmp(hs->in, magic, hs->in_len) != 0)
		return fail(hs, err, WIRE_NOT_HAUL, "the peer does not speak haul", 0);
	if (hs->in_len < hs->in_want)
		return WIRE_MORE;
	enum wire_rc rc;
	switch (hs->state) {
	case HS_PREFIX:
		if (hs->in_want == PREFIX_BYTES)
			return check_prefix(hs, err);
		rc = read_hello(hs, err);
		if (rc == WIRE_OK)
			rc = hs->initiator ? initiator_hello(hs) : responder_hello(hs, err);
		return rc;
	case HS_ATTACH:
	case HS_WELCOME:
		return hs->in_want == RECORD_LEN_BYTES ? read_length(hs, err) : read_record(hs, err);
	default:
		return fail(hs, err, WIRE_VIOLATION, "bytes after the handshake", hs->in_len);
	}
}

void handshake_welcome(struct handshake *hs, const struct frame_welcome *welcome)
{
	uint8_t body[64];
	struct wr w = wr_init(body, sizeof body);
	hs->welcome = *welcome;
	frame_put_welcome(&w, welcome);
	put_record(hs, F_WELCOME, body, w.n);
	hs->state = HS_DONE;
}

void handshake_refuse(struct handshake *hs, uint16_t code, const char *text)
{
	uint8_t body[8 + REASON_TEXT_MAX_BYTES];
	struct wr w = wr_init(body, sizeof body);
	size_t n = strnlen(text, REASON_TEXT_MAX_BYTES);
	frame_put_refuse(&w, &(struct frame_refuse){code, {(const uint8_t *)text, n}});
	put_record(hs, F_REFUSE, body, w.n);
	hs->state = HS_FAILED;
}

void handshake_sent(struct handshake *hs, size_t n)
{
	memmove(hs->out, hs->out + n, hs->out_len - n);
	hs->out_len -= n;
}
