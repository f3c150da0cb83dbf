/*
 * A channel on hostile bytes: what channel_next accepts is a frame it may accept, of the length it said, and
 * nothing is kept that was not asked for.
 *
 *   input   pieces: how u8, length u16, bytes. how & 1: the piece is head and body of a record, to be sealed
 *           with the right number and tag; else it comes as it is. how >> 1: bytes that one read returns.
 */
#include "fuzz.h"

#include "wire/channel.h"

#define MAX_BODY (64u << 10)

static bool drain(struct channel *ch)
{
	struct channel_record rec;
	struct wire_err err = {0};
	enum wire_rc rc;
	while ((rc = channel_next(ch, &rec, &err)) == WIRE_OK) {
		CHECK(rec.body.n == rec.head.body_len && rec.body.n <= MAX_BODY);
		CHECK((rec.buf != NULL) == (frame_class_of(rec.head.type) == FRAME_CLASS_MESSAGE));
		buf_put(rec.buf);
	}
	return rc == WIRE_MORE;
}

static bool feed(struct channel *ch, const uint8_t *p, size_t n, size_t piece)
{
	while (n) {
		struct iovec iov[2];
		CHECK(channel_space(ch, iov) > 0 && iov[0].iov_len > 0);
		size_t take = iov[0].iov_len < n ? iov[0].iov_len : n;
		if (take > piece)
			take = piece;
		memcpy(iov[0].iov_base, p, take);
		channel_filled(ch, take);
		if (!drain(ch))
			return false;
		p += take;
		n -= take;
	}
	return true;
}

static bool feed_sealed(struct channel *ch, struct seal *tx, struct span in, size_t piece)
{
	uint8_t head[FRAME_HEAD_BYTES], tag[RECORD_TAG_MAX_BYTES], length[RECORD_LEN_BYTES];
	size_t body_len = in.n - FRAME_HEAD_BYTES;
	struct rd r = rd_init(in.p, in.n);
	struct frame_head h = {.type = rd_u8(&r), .body_len = (uint32_t)body_len};
	rd_take(&r, 7);
	h.cost = rd_u32(&r);
	h.offset = rd_u64(&r);
	frame_head_put(head, &h);
	seal_close(tx, head, r.p, body_len, tag);
	struct wr w = wr_init(length, sizeof length);
	wr_uint(&w, FRAME_HEAD_BYTES + body_len + seal_tag_bytes(tx), RECORD_LEN_BYTES);
	return feed(ch, length, sizeof length, piece) && feed(ch, head, sizeof head, piece) &&
	       feed(ch, r.p, body_len, piece) && feed(ch, tag, seal_tag_bytes(tx), piece);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct seal tx = {.mode = SEAL_PLAIN}, rx = tx;
	struct channel ch = {0};
	struct rd r = rd_init(p, n);
	CHECK(channel_open(&ch, &tx, &rx, 0, MAX_BODY, (struct buf_source){buf_malloc, NULL}));
	bool fine = true;
	while (fine && r.n > 3) {
		uint8_t how = rd_u8(&r);
		struct span in = script_bytes(&r, rd_u16(&r));
		size_t piece = how >> 1 ? how >> 1 : SIZE_MAX;
		if (how & 1 && in.n >= FRAME_HEAD_BYTES)
			fine = feed_sealed(&ch, &tx, in, piece);
		else
			fine = feed(&ch, in.p, in.n, piece);
	}
	channel_close(&ch);
	return 0;
}
