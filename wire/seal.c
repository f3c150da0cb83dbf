#include "wire/seal.h"

#include <assert.h>
#include <sodium.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "wire/cursor.h"
#include "wire/noise.h"

#define PLAIN_TAG_BYTES 8u
#define AEAD_TAG_BYTES	crypto_aead_chacha20poly1305_ietf_ABYTES

_Static_assert(AEAD_TAG_BYTES <= RECORD_TAG_MAX_BYTES, "room for a tag");

void seal_init_aead(struct seal *s, const uint8_t key[static SEAL_KEY_BYTES], uint32_t rekey_every)
{
	*s = (struct seal){.mode = SEAL_AEAD, .rekey_every = rekey_every};
	memcpy(s->key, key, sizeof s->key);
}

void seal_wipe(struct seal *s)
{
	sodium_memzero(s, sizeof *s);
}

size_t seal_tag_bytes(const struct seal *s)
{
	return s->mode == SEAL_AEAD ? AEAD_TAG_BYTES : PLAIN_TAG_BYTES;
}

/* ---- plain ---- */

static uint64_t plain_tag(uint64_t number, const uint8_t *head, const uint8_t *body, size_t body_len)
{
	uint64_t seed = XXH3_64bits_withSeed(head, FRAME_HEAD_BYTES, number);
	return XXH3_64bits_withSeed(body, body_len, seed);
}

void seal_close(struct seal *s, const uint8_t head[static FRAME_HEAD_BYTES], const uint8_t *body,
		size_t body_len, uint8_t tag[static RECORD_TAG_MAX_BYTES])
{
	assert(s->mode == SEAL_PLAIN); /* nothing leaves unencrypted by mistake */
	struct wr w = wr_init(tag, PLAIN_TAG_BYTES);
	wr_uint(&w, plain_tag(s->number++, head, body, body_len), PLAIN_TAG_BYTES);
}

static bool plain_open(struct seal *s, const uint8_t *record, size_t frame_len)
{
	const uint8_t *body = record + FRAME_HEAD_BYTES;
	struct rd r = rd_init(record + frame_len, PLAIN_TAG_BYTES);
	return plain_tag(s->number++, record, body, frame_len - FRAME_HEAD_BYTES) == rd_u64(&r);
}

/* ---- aead ---- */

struct aead_input {
	uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
	uint8_t length[RECORD_LEN_BYTES]; /* authenticated with the frame */
};

/* What the next record is sealed with; false when the numbers are spent (the last one is REKEY's). */
static bool aead_next(struct seal *s, size_t length, struct aead_input *in)
{
	if (s->number == UINT64_MAX)
		return false;
	if (s->number && s->number % s->rekey_every == 0)
		noise_rekey(s->key);
	struct wr w = wr_init(in->nonce, sizeof in->nonce);
	wr_uint(&w, 0, 4);
	wr_uint(&w, s->number++, 8);
	w = wr_init(in->length, sizeof in->length);
	wr_uint(&w, length, RECORD_LEN_BYTES);
	return true;
}

static bool aead_close(struct seal *s, uint8_t *frame, size_t frame_len)
{
	struct aead_input in;
	if (!aead_next(s, frame_len + AEAD_TAG_BYTES, &in))
		return false;
	crypto_aead_chacha20poly1305_ietf_encrypt(frame, NULL, frame, frame_len, in.length, sizeof in.length,
						  NULL, in.nonce, s->key);
	return true;
}

static bool aead_open(struct seal *s, uint8_t *frame, size_t length)
{
	struct aead_input in;
	return aead_next(s, length, &in) &&
	       crypto_aead_chacha20poly1305_ietf_decrypt(frame, NULL, NULL, frame, length, in.length,
							 sizeof in.length, in.nonce, s->key) == 0;
}

/* ---- both ---- */

bool seal_whole(struct seal *s, uint8_t *record, size_t frame_len)
{
	uint8_t *frame = record + RECORD_LEN_BYTES;
	struct wr w = wr_init(record, RECORD_LEN_BYTES);
	wr_uint(&w, frame_len + seal_tag_bytes(s), RECORD_LEN_BYTES);
	if (s->mode == SEAL_AEAD)
		return aead_close(s, frame, frame_len);
	seal_close(s, frame, frame + FRAME_HEAD_BYTES, frame_len - FRAME_HEAD_BYTES, frame + frame_len);
	return true;
}

bool seal_open(struct seal *s, uint8_t *record, size_t length, size_t *body_len)
{
	size_t tag = seal_tag_bytes(s);
	if (length < FRAME_HEAD_BYTES + tag)
		return false;
	*body_len = length - FRAME_HEAD_BYTES - tag;
	return s->mode == SEAL_AEAD ? aead_open(s, record, length) : plain_open(s, record, length - tag);
}
