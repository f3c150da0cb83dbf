#define ZSTD_STATIC_LINKING_ONLY /* ZSTD_frameHeader */
#include "lib/codec.h"

#include <stdlib.h>
#include <zstd.h>

#include "wire/limits.h"

struct codec_ctx {
	ZSTD_CCtx *pack; /* made when first used: a receiver never packs */
	ZSTD_DCtx *unpack;
};

struct codec_ctx *codec_new(void)
{
	return calloc(1, sizeof(struct codec_ctx));
}

void codec_free(struct codec_ctx *c)
{
	if (!c)
		return;
	ZSTD_freeCCtx(c->pack);
	ZSTD_freeDCtx(c->unpack);
	free(c);
}

size_t codec_pack(struct codec_ctx *c, int level, const uint8_t *in, size_t n, uint8_t *out, size_t cap)
{
	if (!c->pack && !(c->pack = ZSTD_createCCtx()))
		return 0;
	size_t got = ZSTD_compressCCtx(c->pack, out, cap, in, n, level);
	return ZSTD_isError(got) ? 0 : got;
}

/* One plain frame, nothing else: no skippable or second frame, no dictionary, no hidden size. */
static const char *check_frame(const uint8_t *in, size_t n, size_t raw)
{
	ZSTD_frameHeader h;
	if (ZSTD_getFrameHeader(&h, in, n) != 0)
		return "not a zstd frame";
	if (h.frameType != ZSTD_frame)
		return "a skippable zstd frame";
	if (h.dictID)
		return "a zstd frame wants a dictionary";
	if (h.frameContentSize != raw)
		return "a zstd frame has another size than announced";
	if (h.windowSize > CHUNK_MAX_BYTES)
		return "a zstd frame wants a window larger than a chunk";
	if (ZSTD_findFrameCompressedSize(in, n) != n)
		return "bytes behind a zstd frame";
	return NULL;
}

const char *codec_unpack(struct codec_ctx *c, const uint8_t *in, size_t n, uint8_t *out, size_t raw)
{
	const char *why = check_frame(in, n, raw);
	if (why)
		return why;
	if (!c->unpack && !(c->unpack = ZSTD_createDCtx()))
		return "no memory to unpack a chunk";
	return ZSTD_decompressDCtx(c->unpack, out, raw, in, n) == raw ? NULL : "a zstd frame does not unpack";
}
