/*
 * A packed chunk: unpacked into a block of exactly the declared length, or refused.
 *
 *   input   what u8, declared length u24, then: 0 any bytes; 1 content to be packed; 2 content to be packed,
 *           and what happens to the packed chunk: see spoil; 3 blocks of a frame that is made here: kind u8,
 *           length u16, bytes
 *
 * Held to: what is packed comes back; a chunk that was cut, that something follows, or that is declared with
 * another length is refused; a frame unpacks to what its blocks hold or not at all.
 */
#include "fuzz.h"

#include "lib/codec.h"

#define RAW_MAX	    (64u << 10)
#define CONTENT_MAX 4096u
#define PACKED_MAX  (3 * CONTENT_MAX)

static struct codec_ctx *ctx;

/* Into a block of its own, so that a sanitizer sees a byte too many; what is there is to be freed. */
static uint8_t *unpack(struct span in, size_t raw)
{
	uint8_t *copy = malloc(in.n ? in.n : 1), *out = malloc(raw ? raw : 1);
	CHECK(copy && out);
	if (in.n)
		memcpy(copy, in.p, in.n);
	const char *why = codec_unpack(ctx, copy, in.n, out, raw);
	free(copy);
	if (!why)
		return out;
	CHECK(why[0]);
	free(out);
	return NULL;
}

static void any_bytes(struct rd *r, size_t raw)
{
	free(unpack((struct span){r->p, r->n}, raw));
}

static size_t pack(struct span in, size_t raw, uint8_t *out, size_t cap)
{
	return codec_pack(ctx, (int)(raw % 5) - 1, in.p, in.n, out, cap);
}

static void there_and_back(struct rd *r, size_t raw)
{
	uint8_t *packed = malloc(r->n ? r->n : 1), *back;
	CHECK(packed);
	size_t len = pack((struct span){r->p, r->n}, raw, packed, r->n);
	CHECK(len <= r->n);
	if (len) {
		CHECK((back = unpack((struct span){packed, len}, r->n)) && memcmp(back, r->p, r->n) == 0);
		free(back);
		CHECK(!unpack((struct span){packed, len}, r->n - 1));
		CHECK(!unpack((struct span){packed, len}, r->n + 1));
	}
	free(packed);
}

static void spoil(struct rd *r, size_t raw)
{
	static uint8_t packed[PACKED_MAX];
	static const uint8_t skippable[] = {0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 7};
	uint8_t how = rd_u8(r);
	struct span in = script_bytes(r, CONTENT_MAX);
	size_t len = pack(in, how, packed, sizeof packed), more;
	CHECK(len && len <= PACKED_MAX / 2);
	switch (how % 5) {
	case 0: /* may unpack to something else, of this length */
		packed[raw / 8 % len] ^= (uint8_t)(1u << raw % 8);
		free(unpack((struct span){packed, len}, in.n));
		return;
	case 1:
		CHECK(!unpack((struct span){packed, raw % len}, in.n));
		return;
	case 2: /* a second frame: the whole, or the rest of it */
		more = pack(in, how, packed + len, sizeof packed - len);
		CHECK(!unpack((struct span){packed, len + more}, in.n));
		CHECK(!unpack((struct span){packed, len + more}, 2 * in.n + 1));
		return;
	case 3:
		memcpy(packed + len, skippable, sizeof skippable);
		CHECK(!unpack((struct span){packed, len + sizeof skippable}, in.n));
		return;
	default:
		if (raw != in.n)
			CHECK(!unpack((struct span){packed, len}, raw));
	}
}

static void repeat(struct wr *w, uint8_t byte, size_t n)
{
	if (w->bad || n > w->cap - w->n) {
		w->bad = true;
		return;
	}
	memset(w->p + w->n, byte, n);
	w->n += n;
}

/* Stored blocks, repeated bytes and compressed ones; the content of the first two is known. */
static void blocks(struct rd *r, size_t raw)
{
	static uint8_t frame[8192 + PACKED_MAX], content[RAW_MAX];
	struct wr w = wr_init(frame, sizeof frame), c = wr_init(content, raw);
	bool known = true, last = false;
	wr_uint(&w, 0xfd2fb528, 4);
	wr_uint(&w, 0xa0, 1); /* in one segment, length u32 */
	wr_uint(&w, raw, 4);
	while (r->n && !r->bad && !last) {
		uint8_t kind = rd_u8(r);
		uint32_t n = rd_u16(r), type = kind & 3;
		uint8_t repeated = r->n ? r->p[0] : 0;
		last = kind & 4;
		known &= type < 2;
		n = type == 1 ? n << (kind >> 7) : n;
		struct span in = script_bytes(r, type == 1 ? 1 : n);
		n = type == 1 ? n : (uint32_t)in.n;
		wr_uint(&w, (n << 3 | type << 1 | last) & 0xffffff, 3);
		wr_bytes(&w, in.p, in.n);
		if (type == 0)
			wr_bytes(&c, in.p, in.n);
		if (type == 1)
			repeat(&c, repeated, n);
	}
	uint8_t *out = unpack((struct span){frame, w.n}, raw);
	if (out)
		CHECK(last && (!known || (!c.bad && c.n == raw && memcmp(out, content, raw) == 0)));
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static void (*const kinds[])(struct rd *, size_t) = {any_bytes, there_and_back, spoil, blocks};
	struct rd r = rd_init(p, n);
	uint8_t what = rd_u8(&r);
	size_t raw = (size_t)rd_uint(&r, 3) % RAW_MAX;
	if (!ctx)
		ctx = codec_new();
	CHECK(ctx);
	if (!r.bad && r.n)
		kinds[what % (sizeof kinds / sizeof *kinds)](&r, raw);
	return 0;
}
