/*
 * Packing one chunk: zstd, one frame a chunk, or stored when that is not smaller. And back, trusting nothing:
 * one frame, the declared size, a window no larger than a chunk, every byte used.
 */
#ifndef HAUL_LIB_CODEC_H
#define HAUL_LIB_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum codec { CODEC_STORED = 0, CODEC_ZSTD = 1 };

/* Contexts of one worker. */
struct codec_ctx;
struct codec_ctx *codec_new(void);
void codec_free(struct codec_ctx *c); /* NULL is fine */

/* Packs n bytes into out[cap] at a zstd level (negative: fast). 0 when it does not get smaller than cap. */
size_t codec_pack(struct codec_ctx *c, int level, const uint8_t *in, size_t n, uint8_t *out, size_t cap);

/* Unpacks exactly raw bytes into out. NULL, or why not (static text). */
const char *codec_unpack(struct codec_ctx *c, const uint8_t *in, size_t n, uint8_t *out, size_t raw);

#endif
