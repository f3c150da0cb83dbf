#include "wire/channel.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

bool channel_open(struct channel *ch, const struct seal *tx, const struct seal *rx, uint64_t sent,
		  uint32_t max_body, struct buf_source source)
{
	*ch = (struct channel){
		.tx = *tx,
		.rx = *rx,
		.source = source,
		.max_body = max_body,
		.sent = sent,
	};
	ch->stage = malloc(CHANNEL_STAGE_BYTES);
	if (tx->mode == SEAL_AEAD)
		ch->sealed = malloc(CHANNEL_SEALED_BYTES);
	if (ch->stage && (ch->sealed || tx->mode == SEAL_PLAIN))
		return true;
	channel_close(ch);
	return false;
}

void channel_close(struct channel *ch)
{
	buf_put(ch->record);
	if (ch->stage)
		sodium_memzero(ch->stage, CHANNEL_STAGE_BYTES);
	free(ch->stage);
	free(ch->sealed);
	sodium_memzero(ch, sizeof *ch);
}

/* ---- in ---- */

size_t channel_space(struct channel *ch, struct iovec iov[static 2])
{
	size_t n = 0;
	if (ch->record)
		iov[n++] = (struct iovec){ch->record->data + ch->record->len,
					  ch->record_length - ch->record->len};
	if (ch->stage_pos) {
		memmove(ch->stage, ch->stage + ch->stage_pos, ch->stage_len - ch->stage_pos);
		ch->stage_len -= ch->stage_pos;
		ch->stage_pos = 0;
	}
	iov[n++] = (struct iovec){ch->stage + ch->stage_len, CHANNEL_STAGE_BYTES - ch->stage_len};
	return n;
}

void channel_filled(struct channel *ch, size_t n)
{
	ch->bytes_in += n;
	if (ch->record) {
		size_t rest = ch->record_length - ch->record->len;
		size_t part = n < rest ? n : rest;
		ch->record->len += part;
		n -= part;
	}
	ch->stage_len += n;
}

/* Opens one record at p and describes it; the body stays where it is. */
static enum wire_rc open_record(struct channel *ch, uint8_t *p, size_t length, struct channel_record *out,
				struct wire_err *err)
{
	size_t body_len;
	if (!seal_open(&ch->rx, p, length, &body_len))
		return wire_fail(err, WIRE_DAMAGED, "a record does not match its tag", ch->rx.number - 1);
	const char *why = frame_head_get(p, &out->head);
	if (!why && out->head.body_len != body_len)
		why = "a body is not as long as its head says";
	if (!why && frame_class_of(out->head.type) == FRAME_CLASS_ATTACH)
		why = "ATTACH or its answer after the handshake";
	if (!why && frame_class_of(out->head.type) == FRAME_CLASS_CONTROL &&
	    body_len > CONTROL_BODY_MAX_BYTES)
		why = "a control frame is too long";
	if (why)
		return wire_fail(err, WIRE_VIOLATION, why, out->head.type);
	out->body = (struct span){p + FRAME_HEAD_BYTES, body_len};
	out->buf = NULL;
	return WIRE_OK;
}

static enum wire_rc next_large(struct channel *ch, struct channel_record *out, struct wire_err *err)
{
	struct buf *b = ch->record;
	if (b->len < ch->record_length)
		return WIRE_MORE;
	ch->record = NULL;
	enum wire_rc rc = open_record(ch, b->data, b->len, out, err);
	if (rc != WIRE_OK) {
		buf_put(b);
		return rc;
	}
	b->off = FRAME_HEAD_BYTES;
	b->len = out->body.n;
	out->buf = b;
	return WIRE_OK;
}

/* A record that does not fit the stage moves to a block of its own. */
static enum wire_rc begin_large(struct channel *ch, size_t length, struct wire_err *err)
{
	struct buf *b = ch->source.get(ch->source.ctx, length);
	if (!b)
		return wire_fail(err, WIRE_NOMEM, "a block for a record", length);
	b->off = 0;
	b->len = ch->stage_len - ch->stage_pos - RECORD_LEN_BYTES;
	memcpy(b->data, ch->stage + ch->stage_pos + RECORD_LEN_BYTES, b->len);
	ch->stage_pos = ch->stage_len = 0;
	ch->record = b;
	ch->record_length = length;
	return WIRE_MORE;
}

static enum wire_rc next_small(struct channel *ch, size_t length, struct channel_record *out,
			       struct wire_err *err)
{
	uint8_t *p = ch->stage + ch->stage_pos + RECORD_LEN_BYTES;
	ch->stage_pos += RECORD_LEN_BYTES + length;
	enum wire_rc rc = open_record(ch, p, length, out, err);
	if (rc != WIRE_OK || frame_class_of(out->head.type) != FRAME_CLASS_MESSAGE)
		return rc;
	out->buf = ch->source.get(ch->source.ctx, out->body.n);
	if (!out->buf)
		return wire_fail(err, WIRE_NOMEM, "a block for a message", out->body.n);
	out->buf->off = 0;
	out->buf->len = out->body.n;
	if (out->body.n)
		memcpy(out->buf->data, out->body.p, out->body.n);
	out->body.p = out->buf->data;
	return WIRE_OK;
}

static enum wire_rc next_record(struct channel *ch, struct channel_record *out, struct wire_err *err)
{
	if (ch->record)
		return next_large(ch, out, err);
	size_t have = ch->stage_len - ch->stage_pos;
	if (have < RECORD_LEN_BYTES)
		return WIRE_MORE;
	struct rd r = rd_init(ch->stage + ch->stage_pos, RECORD_LEN_BYTES);
	size_t length = rd_u32(&r), tag = seal_tag_bytes(&ch->rx);
	/* not yet vouched for by a tag, so a wrong length is damage like any other */
	if (length < FRAME_HEAD_BYTES + tag || length > FRAME_HEAD_BYTES + ch->max_body + tag)
		return wire_fail(err, WIRE_DAMAGED, "length of a record", length);
	if (have - RECORD_LEN_BYTES >= length)
		return next_small(ch, length, out, err);
	if (length > CHANNEL_STAGE_BYTES / 4)
		return begin_large(ch, length, err);
	return WIRE_MORE;
}

enum wire_rc channel_next(struct channel *ch, struct channel_record *out, struct wire_err *err)
{
	if (ch->damaged) {
		ch->stage_pos = ch->stage_len = 0;
		return WIRE_MORE;
	}
	enum wire_rc rc = next_record(ch, out, err);
	ch->damaged = rc == WIRE_DAMAGED;
	return rc;
}

/* ---- out ---- */

static size_t slot_bytes(const struct channel_slot *s)
{
	return sizeof s->head + s->body_len + s->tag_len;
}

bool channel_ready(const struct channel *ch)
{
	return ch->slot_count < CHANNEL_SLOTS && ch->ahead < CHANNEL_AHEAD_BYTES &&
	       ch->sealed_len < CHANNEL_SEALED_FILL_BYTES;
}

static struct channel_slot *push_slot(struct channel *ch)
{
	assert(ch->slot_count < CHANNEL_SLOTS);
	return &ch->slot[(ch->slot_head + ch->slot_count++) % CHANNEL_SLOTS];
}

static void encrypt_slot(struct channel *ch, struct channel_slot *s, const struct frame_head *head)
{
	uint8_t *record = ch->sealed + ch->sealed_len;
	assert(slot_bytes(s) <= CHANNEL_SEALED_BYTES - ch->sealed_len);
	frame_head_put(record + RECORD_LEN_BYTES, head);
	if (s->body_len)
		memcpy(record + RECORD_LEN_BYTES + FRAME_HEAD_BYTES, s->body, s->body_len);
	/* at a record a nanosecond the numbers last for centuries */
	bool sealed = seal_whole(&ch->tx, record, FRAME_HEAD_BYTES + s->body_len);
	assert(sealed);
	(void)sealed;
	s->sealed = record;
	ch->sealed_len += slot_bytes(s);
}

static void seal_slot(struct channel *ch, struct channel_slot *s, const struct frame_head *head)
{
	s->body_len = head->body_len;
	s->tag_len = seal_tag_bytes(&ch->tx);
	s->sealed = NULL;
	ch->ahead += slot_bytes(s);
	if (ch->tx.mode == SEAL_AEAD) {
		encrypt_slot(ch, s, head);
		return;
	}
	struct wr w = wr_init(s->head, RECORD_LEN_BYTES);
	wr_uint(&w, FRAME_HEAD_BYTES + s->body_len + s->tag_len, RECORD_LEN_BYTES);
	frame_head_put(s->head + RECORD_LEN_BYTES, head);
	seal_close(&ch->tx, s->head + RECORD_LEN_BYTES, s->body, s->body_len, s->tag);
}

void channel_put_control(struct channel *ch, uint8_t type, const uint8_t *body, size_t body_len)
{
	struct channel_slot *s = push_slot(ch);
	assert(body_len <= sizeof s->control);
	memcpy(s->control, body, body_len);
	s->body = s->control;
	s->end = 0;
	seal_slot(ch, s, &(struct frame_head){.type = type, .body_len = (uint32_t)body_len});
}

void channel_put_message(struct channel *ch, const struct ring_entry *e)
{
	struct channel_slot *s = push_slot(ch);
	s->body = buf_bytes(e->body);
	s->end = e->offset + e->cost;
	seal_slot(ch, s, &(struct frame_head){e->type, (uint32_t)e->body->len, e->cost, e->offset});
}

static void add_iov(struct iovec *iov, size_t *n, size_t *skip, const uint8_t *p, size_t len)
{
	size_t cut = *skip < len ? *skip : len;
	*skip -= cut;
	if (len > cut)
		iov[(*n)++] = (struct iovec){(void *)(uintptr_t)(p + cut), len - cut};
}

size_t channel_gather(const struct channel *ch, struct iovec iov[static CHANNEL_IOV_MAX])
{
	size_t n = 0, skip = ch->slot_written;
	for (size_t i = 0; i < ch->slot_count; i++) {
		const struct channel_slot *s = &ch->slot[(ch->slot_head + i) % CHANNEL_SLOTS];
		if (s->sealed) {
			add_iov(iov, &n, &skip, s->sealed, slot_bytes(s));
			continue;
		}
		add_iov(iov, &n, &skip, s->head, sizeof s->head);
		add_iov(iov, &n, &skip, s->body, s->body_len);
		add_iov(iov, &n, &skip, s->tag, s->tag_len);
	}
	return n;
}

void channel_wrote(struct channel *ch, size_t n)
{
	ch->bytes_out += n;
	ch->slot_written += n;
	if (ch->slot_count && ch->slot[ch->slot_head].end)
		ch->message_out += n;
	while (ch->slot_count) {
		const struct channel_slot *s = &ch->slot[ch->slot_head];
		if (ch->slot_written < slot_bytes(s))
			return;
		ch->slot_written -= slot_bytes(s);
		ch->ahead -= slot_bytes(s);
		channel_skip(ch, s->end);
		ch->slot_head = (ch->slot_head + 1) % CHANNEL_SLOTS;
		ch->slot_count--;
	}
	ch->sealed_len = 0;
}

void channel_skip(struct channel *ch, uint64_t offset)
{
	if (offset > ch->sent)
		ch->sent = offset;
}

uint64_t channel_borrows(const struct channel *ch)
{
	for (size_t i = 0; i < ch->slot_count; i++) {
		const struct channel_slot *s = &ch->slot[(ch->slot_head + i) % CHANNEL_SLOTS];
		if (s->end && !s->sealed)
			return s->end;
	}
	return UINT64_MAX;
}
