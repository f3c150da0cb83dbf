/*
 * Both roles of the opening on hostile bytes: it never wants more than its buffer holds and always ends.
 *
 *   input   role u8 (odd: initiator; 2: the honest opening goes before), piece u8, bytes
 */
#include "fuzz.h"

#include "wire/handshake.h"

static const struct hello mine = {.minor_min = PROTOCOL_MINOR_MIN,
				  .minor_max = PROTOCOL_MINOR,
				  .max_body = RECORD_BODY_MAX_BYTES,
				  .credit = EARLY_CREDIT_BYTES};
static const struct frame_attach attach = {.role = ROLE_SENDER, .fresh = 1};

static void take(struct handshake *hs, struct rd *r, size_t piece)
{
	struct wire_err err = {0};
	enum wire_rc rc = WIRE_MORE;
	while (r->n && (rc == WIRE_MORE || rc == WIRE_OK)) {
		size_t need = handshake_need(hs);
		if (!need)
			break;
		CHECK(hs->in_len + need <= sizeof hs->in);
		struct span in = script_bytes(r, need < piece ? need : piece);
		rc = handshake_feed(hs, in.p, in.n, &err);
		CHECK(hs->out_len <= sizeof hs->out);
		if (rc == WIRE_OK)
			CHECK(hs->state != HS_FAILED);
		else if (rc != WIRE_MORE)
			CHECK(handshake_need(hs) == 0);
	}
}

static void answer(struct handshake *hs, struct rd *r)
{
	struct frame_welcome w = {.epoch = 1, .received = hs->attach.received};
	CHECK(hs->attach.subdir.n <= SUBDIR_MAX_BYTES);
	if (r->n & 1)
		handshake_welcome(hs, &w);
	else
		handshake_refuse(hs, 1, "no");
	CHECK(hs->out_len <= sizeof hs->out);
	handshake_sent(hs, hs->out_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static struct handshake hs, honest;
	struct wire_err err = {0};
	struct rd r = rd_init(p, n);
	uint8_t role = rd_u8(&r);
	size_t piece = rd_u8(&r);
	if (!piece)
		piece = SIZE_MAX;
	if (role & 1) {
		CHECK(handshake_initiate(&hs, &mine, &attach, &err) == WIRE_OK);
		handshake_sent(&hs, hs.out_len);
		handshake_respond(&honest, &mine);
	} else {
		handshake_respond(&hs, &mine);
		CHECK(handshake_initiate(&honest, &mine, &attach, &err) == WIRE_OK);
	}
	if (role & 2) {
		size_t n_honest = honest.out_len < OPENING_BYTES ? honest.out_len : OPENING_BYTES;
		struct rd opening = rd_init(honest.out, n_honest);
		take(&hs, &opening, piece);
	}
	take(&hs, &r, piece);
	if (hs.state == HS_DECIDE)
		answer(&hs, &r);
	return 0;
}
