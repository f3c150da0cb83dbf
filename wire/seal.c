#include "wire/seal.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "wire/cursor.h"

#define PLAIN_TAG_BYTES 8u

size_t seal_tag_bytes(const struct seal *s)
{
	(void)s;
	return PLAIN_TAG_BYTES;
}

static uint64_t plain_tag(uint64_t number, const uint8_t *head, const uint8_t *body, size_t body_len)
{
	uint64_t seed = XXH3_64bits_withSeed(head, FRAME_HEAD_BYTES, number);
	return XXH3_64bits_withSeed(body, body_len, seed);
}

void seal_close(struct seal *s, const uint8_t head[static FRAME_HEAD_BYTES], const uint8_t *body,
		size_t body_len, uint8_t tag[static RECORD_TAG_MAX_BYTES])
{
	struct wr w = wr_init(tag, PLAIN_TAG_BYTES);
	wr_uint(&w, plain_tag(s->number++, head, body, body_len), PLAIN_TAG_BYTES);
}

bool seal_open(struct seal *s, const uint8_t *record, size_t length, size_t *body_len)
{
	if (length < FRAME_HEAD_BYTES + PLAIN_TAG_BYTES)
		return false;
	*body_len = length - FRAME_HEAD_BYTES - PLAIN_TAG_BYTES;
	const uint8_t *body = record + FRAME_HEAD_BYTES;
	struct rd r = rd_init(body + *body_len, PLAIN_TAG_BYTES);
	return plain_tag(s->number++, record, body, *body_len) == rd_u64(&r);
}
