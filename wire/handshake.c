/* The states of an opening, and what mode 0 says in them; see handshake_sealed.c and handshake_code.c. */
#include "wire/handshake_impl.h"

#include <sodium.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* 0x89 is no ASCII; CR LF and ^Z tell of a terminal or a text mode in the path. */
static const uint8_t magic[8] = {0x89, 'H', 'A', 'U', 'L', '\r', '\n', 0x1a};

static const struct hello no_hello;

_Static_assert(sizeof(struct handshake) <= 4096, "what a stranger costs");

/* ---- writing ---- */

void hs_append(struct handshake *hs, const void *p, size_t n)
{
	memcpy(hs->out + hs->out_len, p, n);
	hs->out_len += n;
}

void hs_put_prefix(struct wr *w, enum auth_mode mode)
{
	wr_bytes(w, magic, sizeof magic);
	wr_uint(w, PROTOCOL_MAJOR, 1);
	wr_uint(w, mode, 1);
	wr_uint(w, mode == AUTH_NONE ? 0 : HANDSHAKE_SUITE, 1);
	wr_uint(w, 0, 5);
}

void hs_put_hello(struct wr *w, const struct hello *h)
{
	wr_uint(w, h->minor_min, 1);
	wr_uint(w, h->minor_max, 1);
	wr_uint(w, h->suites, 2);
	wr_uint(w, h->offered, 2);
	wr_uint(w, h->required, 2);
	wr_uint(w, h->max_body, 4);
	wr_uint(w, h->credit, 4);
	wr_bytes(w, h->instance, sizeof h->instance);
}

static void put_opening(struct handshake *hs, const struct hello *h)
{
	uint8_t b[OPENING_BYTES];
	struct wr w = wr_init(b, sizeof b);
	hs_put_prefix(&w, AUTH_NONE);
	hs_put_hello(&w, h);
	wr_uint(&w, XXH3_64bits(b, w.n), HELLO_TAG_BYTES);
	hs_append(hs, b, w.n);
}

/* A record behind all there is in out, not sealed: its length. */
static size_t lay_record(struct handshake *hs, uint8_t type, const uint8_t *body, size_t body_len)
{
	uint8_t *frame = hs->out + hs->out_len + RECORD_LEN_BYTES;
	frame_head_put(frame, &(struct frame_head){.type = type, .body_len = (uint32_t)body_len});
	memcpy(frame + FRAME_HEAD_BYTES, body, body_len);
	return FRAME_HEAD_BYTES + body_len;
}

void hs_seal_record(struct handshake *hs, size_t frame_len)
{
	/* among the first records of a connection the numbers are not spent */
	(void)seal_whole(&hs->tx, hs->out + hs->out_len, frame_len);
	hs->out_len += RECORD_LEN_BYTES + frame_len + seal_tag_bytes(&hs->tx);
}

static void put_record(struct handshake *hs, uint8_t type, const uint8_t *body, size_t body_len)
{
	hs_seal_record(hs, lay_record(hs, type, body, body_len));
}

void hs_expect(struct handshake *hs, enum handshake_state state, size_t want)
{
	hs->state = state;
	hs->in_len = 0;
	hs->in_want = want;
}

/* ---- beginning ---- */

enum wire_rc handshake_initiate(struct handshake *hs, const struct hello *mine,
				const struct frame_attach *attach, struct wire_err *err)
{
	static const uint8_t none[AUTH_KEY_BYTES];
	return handshake_initiate_with(hs, mine, attach, NULL, none, err);
}

void handshake_respond(struct handshake *hs, const struct hello *mine)
{
	static const uint8_t none[AUTH_KEY_BYTES];
	handshake_respond_with(hs, mine, NULL, none);
}

enum wire_rc handshake_initiate_with(struct handshake *hs, const struct hello *mine,
				     const struct frame_attach *attach, const struct credentials *own,
				     const uint8_t ephemeral[static AUTH_KEY_BYTES], struct wire_err *err)
{
	*hs = (struct handshake){.initiator = true, .mine = *mine, .attach = *attach};
	hs->mode = own ? own->mode : AUTH_NONE;
	if (attach->subdir.n > SUBDIR_MAX_BYTES)
		return wire_fail(err, WIRE_VIOLATION, "the directory of ATTACH is too long",
				 attach->subdir.n);
	uint8_t body[64 + SUBDIR_MAX_BYTES];
	struct wr w = wr_init(body, sizeof body);
	frame_put_attach(&w, attach);
	if (!handshake_is_sealed(hs)) {
		put_opening(hs, mine);
		put_record(hs, F_ATTACH, body, w.n);
		hs_expect(hs, HS_PREFIX, PREFIX_BYTES);
		return WIRE_OK;
	}
	hs->own = own;
	bool code = hs->mode == AUTH_CODE;
	enum wire_rc rc = code ? hs_put_c1(hs, ephemeral, err) : hs_put_m1(hs, ephemeral, err);
	if (rc != WIRE_OK)
		return rc;
	hs->held = lay_record(hs, F_ATTACH, body, w.n);
	if (code)
		hs_expect(hs, HS_CODE, C2_BYTES);
	else
		hs_expect(hs, HS_PREFIX, M2_BYTES);
	return WIRE_OK;
}

void handshake_respond_with(struct handshake *hs, const struct hello *mine, const struct credentials *own,
			    const uint8_t ephemeral[static AUTH_KEY_BYTES])
{
	*hs = (struct handshake){.mine = *mine};
	hs->mode = own ? own->mode : AUTH_NONE;
	if (handshake_is_sealed(hs)) {
		hs->own = own;
		memcpy(hs->noise.e.secret, ephemeral, AUTH_KEY_BYTES);
	}
	hs_expect(hs, HS_PREFIX, PREFIX_BYTES);
}

void handshake_session_id(const struct handshake *hs, uint8_t id[static 16])
{
	if (handshake_is_sealed(hs))
		crypto_generichash(id, 16, hs->attach.session, sizeof hs->attach.session, hs->owner,
				   sizeof hs->owner);
	else
		memcpy(id, hs->attach.session, 16);
}

bool handshake_is_sealed(const struct handshake *hs)
{
	return hs->mode != AUTH_NONE;
}

bool handshake_out_is_due(const struct handshake *hs)
{
	return hs->out_len && handshake_is_sealed(hs);
}

size_t handshake_need(const struct handshake *hs)
{
	return hs->in_want - hs->in_len;
}

enum wire_rc hs_fail(struct handshake *hs, struct wire_err *err, enum wire_rc rc, const char *check,
		     uint64_t at)
{
	hs_expect(hs, HS_FAILED, 0);
	noise_wipe(&hs->noise);
	sodium_memzero(hs->code.scalar, sizeof hs->code.scalar);
	sodium_memzero(&hs->code.party, sizeof hs->code.party);
	return wire_fail(err, rc, check, at);
}

/* ---- reading ---- */

/* Another mode than ours: who asks in the open for nothing secret may know that it needs a key. */
static enum wire_rc other_mode(struct handshake *hs, bool proper, struct wire_err *err)
{
	uint8_t theirs = hs->in[9];
	if (theirs == AUTH_NONE && proper && !hs->initiator) {
		uint8_t b[PREFIX_BYTES];
		struct wr w = wr_init(b, sizeof b);
		hs_put_prefix(&w, hs->mode);
		hs_append(hs, b, w.n);
	}
	if (proper && theirs <= AUTH_CODE)
		return hs_fail(hs, err, WIRE_AUTH,
			       theirs == AUTH_NONE   ? "the peer has no key, and one is needed here"
			       : theirs == AUTH_CODE ? "the peer wants a code, and this side has none"
						     : "the peer wants a key that this side does not use",
			       theirs);
	return hs_fail(hs, err, WIRE_VERSION, "the peer wants a handshake mode this side is not set up for",
		       theirs);
}

static enum wire_rc check_prefix(struct handshake *hs, struct wire_err *err)
{
	static const uint8_t zero[5];
	if (memcmp(hs->in, magic, sizeof magic) != 0)
		return hs_fail(hs, err, WIRE_NOT_HAUL, "the peer does not speak haul", 0);
	if (hs->in[8] != PROTOCOL_MAJOR)
		return hs_fail(hs, err, WIRE_VERSION, "the peer speaks another major version", hs->in[8]);
	bool proper = hs->in[10] == (hs->in[9] == AUTH_NONE ? 0 : HANDSHAKE_SUITE) &&
		      memcmp(hs->in + 11, zero, sizeof zero) == 0;
	if (hs->in[9] != hs->mode || !proper)
		return other_mode(hs, proper, err);
	hs->in_want = hs->mode == AUTH_KEY    ? M1_KEY_BYTES
		      : hs->mode == AUTH_PEER ? M1_PEER_BYTES
		      : hs->mode == AUTH_CODE ? C1_BYTES
					      : OPENING_BYTES;
	return WIRE_MORE;
}

void hs_get_hello(struct rd *r, struct hello *h)
{
	h->minor_min = rd_u8(r);
	h->minor_max = rd_u8(r);
	h->suites = rd_u16(r);
	h->offered = rd_u16(r);
	h->required = rd_u16(r);
	h->max_body = rd_u32(r);
	h->credit = rd_u32(r);
	rd_fix(r, h->instance, sizeof h->instance);
}

enum wire_rc hs_check_hello(struct handshake *hs, struct wire_err *err)
{
	/* both may send bodies as long as they accept: so nobody need ask before sending */
	if (hs->peer.max_body < hs->mine.max_body)
		return hs_fail(hs, err, WIRE_VIOLATION, "the peer accepts only frames that are too small",
			       hs->peer.max_body);
	if (hs->mode == AUTH_NONE && hs->peer.credit < EARLY_CREDIT_BYTES)
		return hs_fail(hs, err, WIRE_VIOLATION, "the peer takes less before WELCOME than is sent",
			       hs->peer.credit);
	return WIRE_OK;
}

static enum wire_rc read_hello(struct handshake *hs, struct wire_err *err)
{
	struct rd r = rd_init(hs->in + PREFIX_BYTES, HELLO_BYTES + HELLO_TAG_BYTES);
	hs_get_hello(&r, &hs->peer);
	if (rd_u64(&r) != XXH3_64bits(hs->in, PREFIX_BYTES + HELLO_BYTES)) {
		hs->peer = no_hello;
		return hs_fail(hs, err, WIRE_DAMAGED, "the opening does not match its tag", 0);
	}
	return hs_check_hello(hs, err);
}

/* The highest minor version both speak, 0 if none. */
static uint8_t common_minor(const struct hello *a, const struct hello *b)
{
	uint8_t low = a->minor_min > b->minor_min ? a->minor_min : b->minor_min;
	uint8_t high = a->minor_max < b->minor_max ? a->minor_max : b->minor_max;
	return low <= high ? high : 0;
}

enum wire_rc hs_answer_hello(struct handshake *hs, struct wire_err *err)
{
	struct hello answer = hs->mine;
	hs->minor = common_minor(&hs->mine, &hs->peer);
	hs->features = hs->mine.offered & hs->peer.offered;
	answer.minor_min = answer.minor_max = hs->minor;
	if (!handshake_is_sealed(hs)) {
		put_opening(hs, &answer);
	} else {
		enum wire_rc rc = hs_put_m2(hs, &answer, err);
		if (rc != WIRE_OK)
			return rc;
	}
	uint16_t missing =
		(uint16_t)((hs->peer.required & ~hs->mine.offered) | (hs->mine.required & ~hs->peer.offered));
	if (!hs->minor || missing) {
		const char *why = hs->minor ? "a required feature is missing" : "no common protocol version";
		handshake_refuse(hs, 2, why);
		return hs_fail(hs, err, WIRE_VERSION, why, missing);
	}
	hs_expect(hs, HS_ATTACH, RECORD_LEN_BYTES);
	return WIRE_OK;
}

enum wire_rc hs_take_hello(struct handshake *hs)
{
	/* a version that does not fit comes with a REFUSE that says so */
	hs->minor = hs->peer.minor_max;
	hs->features = hs->mine.offered & hs->peer.offered;
	hs_expect(hs, HS_WELCOME, RECORD_LEN_BYTES);
	return WIRE_OK;
}

static enum wire_rc read_length(struct handshake *hs, struct wire_err *err)
{
	struct rd r = rd_init(hs->in, RECORD_LEN_BYTES);
	uint32_t len = rd_u32(&r);
	if (len < FRAME_HEAD_BYTES + seal_tag_bytes(&hs->rx) ||
	    len > ATTACH_RECORD_MAX_BYTES - RECORD_LEN_BYTES)
		return hs_fail(hs, err, WIRE_VIOLATION, "length of the first record", len);
	hs->in_want = RECORD_LEN_BYTES + len;
	return WIRE_MORE;
}

static enum wire_rc read_attach(struct handshake *hs, uint8_t type, struct span body, struct wire_err *err)
{
	const struct span *dir = &hs->attach.subdir;
	if (type != F_ATTACH || !frame_get_attach(body, &hs->attach) || hs->attach.fresh > ATTACH_DRY_RUN ||
	    (dir->n && memchr(dir->p, '\0', dir->n)) ||
	    (hs->attach.role != ROLE_SENDER && hs->attach.role != ROLE_RECEIVER))
		return hs_fail(hs, err, WIRE_VIOLATION, "the first record is not a proper ATTACH", type);
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
		return hs_fail(hs, err, WIRE_VIOLATION, "the answer is neither WELCOME nor REFUSE", type);
	if (hs->minor < hs->mine.minor_min || hs->minor > hs->mine.minor_max)
		return hs_fail(hs, err, WIRE_VERSION, "the peer chose a version that was not offered",
			       hs->minor);
	if (hs->peer.required & ~hs->mine.offered)
		return hs_fail(hs, err, WIRE_VERSION, "a required feature is missing", hs->peer.required);
	hs->state = HS_DONE;
	return WIRE_OK;
}

static enum wire_rc read_record(struct handshake *hs, struct wire_err *err)
{
	size_t body_len;
	if (!seal_open(&hs->rx, hs->in + RECORD_LEN_BYTES, hs->in_len - RECORD_LEN_BYTES, &body_len))
		return hs_fail(hs, err, handshake_is_sealed(hs) && !hs->initiator ? WIRE_AUTH : WIRE_DAMAGED,
			       "the first record does not match its tag", 0);
	struct frame_head head;
	const char *why = frame_head_get(hs->in + RECORD_LEN_BYTES, &head);
	if (!why && head.body_len != body_len)
		why = "body length of the first record";
	if (why)
		return hs_fail(hs, err, WIRE_VIOLATION, why, head.type);
	struct span body = {hs->in + RECORD_LEN_BYTES + FRAME_HEAD_BYTES, body_len};
	return hs->initiator ? read_answer(hs, head.type, body, err) : read_attach(hs, head.type, body, err);
}

enum wire_rc handshake_feed(struct handshake *hs, const uint8_t *p, size_t n, struct wire_err *err)
{
	memcpy(hs->in + hs->in_len, p, n);
	hs->in_len += n;
	/* not haul is said as soon as it is known: a stranger may never send sixteen bytes */
	bool m2 = hs->initiator && handshake_is_sealed(hs); /* which has no prefix */
	if (hs->state == HS_PREFIX && !m2 && hs->in_len < sizeof magic &&
	    memcmp(hs->in, magic, hs->in_len) != 0)
		return hs_fail(hs, err, WIRE_NOT_HAUL, "the peer does not speak haul", 0);
	if (hs->in_len < hs->in_want)
		return WIRE_MORE;
	enum wire_rc rc;
	switch (hs->state) {
	case HS_PREFIX:
		if (hs->in_want == PREFIX_BYTES)
			return check_prefix(hs, err);
		if (handshake_is_sealed(hs) && hs->initiator)
			return hs_read_m2(hs, err);
		if (handshake_is_sealed(hs))
			return hs->mode == AUTH_CODE ? hs_read_c1(hs, err) : hs_read_m1(hs, err);
		rc = read_hello(hs, err);
		if (rc == WIRE_OK)
			rc = hs->initiator ? hs_take_hello(hs) : hs_answer_hello(hs, err);
		return rc;
	case HS_CODE:
		return hs->initiator ? hs_read_c2(hs, err) : hs_read_m1(hs, err);
	case HS_ATTACH:
	case HS_WELCOME:
		return hs->in_want == RECORD_LEN_BYTES ? read_length(hs, err) : read_record(hs, err);
	default:
		return hs_fail(hs, err, WIRE_VIOLATION, "bytes after the handshake", hs->in_len);
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
	size_t held = hs->held ? RECORD_LEN_BYTES + hs->held : 0;
	memmove(hs->out, hs->out + n, hs->out_len - n + held);
	hs->out_len -= n;
}

void handshake_wipe(struct handshake *hs)
{
	sodium_memzero(hs, sizeof *hs);
}
