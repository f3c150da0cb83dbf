/* lib/codec: what it packs it unpacks, and of anything else it says why not. */
#include "unit.h"

#include <zstd.h>

#include "lib/codec.h"
#include "mutate.h"

static struct codec_ctx *ctx;

/* Unpacks into a block of exactly raw bytes, so that a sanitizer sees a write behind it. */
static const char *unpack(const uint8_t *p, size_t n, size_t raw)
{
	uint8_t *out = malloc(raw ? raw : 1);
	assert_non_null(out);
	const char *why = codec_unpack(ctx, p, n, out, raw);
	free(out);
	return why;
}

static void fill(uint8_t *p, size_t n, bool dull)
{
	struct prng rng = {n};
	for (size_t i = 0; i < n; i++)
		p[i] = dull ? (uint8_t)prng_next(&rng) : (uint8_t) "the quick brown fox "[i % 20];
}

static void there_and_back(void **state)
{
	static const size_t sizes[] = {1, 31, 4096, 70000, 1 << 20, 4 << 20};
	static const int levels[] = {-5, 1, 3, 9, 12};
	(void)state;
	for (size_t i = 0; i < COUNT(sizes); i++) {
		size_t n = sizes[i], cap = ZSTD_compressBound(n);
		uint8_t *in = malloc(n), *packed = malloc(cap), *out = malloc(n);
		fill(in, n, false);
		for (size_t k = 0; k < COUNT(levels); k++) {
			size_t got = codec_pack(ctx, levels[k], in, n, packed, cap);
			assert_true(got > 0 && got <= cap);
			assert_null(codec_unpack(ctx, packed, got, out, n));
			assert_memory_equal(in, out, n);
		}
		free(in);
		free(packed);
		free(out);
	}
	codec_free(NULL);
}

static void what_does_not_shrink(void **state)
{
	uint8_t in[4096], out[4096];
	(void)state;
	fill(in, sizeof in, true);
	assert_int_equal(codec_pack(ctx, 3, in, sizeof in, out, sizeof in - 128), 0);
	fill(in, sizeof in, false);
	assert_true(codec_pack(ctx, 3, in, sizeof in, out, sizeof in - 128) > 0);
}

#define MAGIC 0x28, 0xb5, 0x2f, 0xfd
/* block header: last, type raw or RLE, size */
#define RAW_BLOCK(n)	 (uint8_t)(1 | 0 << 1 | (n) << 3), (uint8_t)((n) >> 5), (uint8_t)((n) >> 13)
#define RLE_BLOCK(n)	 (uint8_t)(1 | 1 << 1 | (n) << 3), (uint8_t)((n) >> 5), (uint8_t)((n) >> 13)
#define FRAME(name, ...) static const uint8_t name[] = {__VA_ARGS__}

/* single segment, content size 3 in one byte */
FRAME(plain, MAGIC, 0x20, 3, RAW_BLOCK(3), 'a', 'b', 'c');
FRAME(wrong_magic, 0x29, 0xb5, 0x2f, 0xfd, 0x20, 3, RAW_BLOCK(3), 'a', 'b', 'c');
FRAME(old_magic, 0x27, 0xb5, 0x2f, 0xfd, 0x20, 3, RAW_BLOCK(3), 'a', 'b', 'c');
FRAME(skippable, 0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c');
FRAME(skippable_first, 0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0, MAGIC, 0x20, 3, RAW_BLOCK(3), 'a', 'b', 'c');
FRAME(skippable_last, MAGIC, 0x20, 3, RAW_BLOCK(3), 'a', 'b', 'c', 0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0);
FRAME(two_frames, MAGIC, 0x20, 2, RAW_BLOCK(2), 'a', 'b', MAGIC, 0x20, 1, RAW_BLOCK(1), 'c');
FRAME(two_whole, MAGIC, 0x20, 3, RAW_BLOCK(3), 'a', 'b', 'c', MAGIC, 0x20, 3, RAW_BLOCK(3), 'a', 'b', 'c');
FRAME(dictionary, MAGIC, 0x21, 7, 3, RAW_BLOCK(3), 'a', 'b', 'c');
FRAME(no_size, MAGIC, 0x00, 0x00, RAW_BLOCK(3), 'a', 'b', 'c');
FRAME(size_less, MAGIC, 0x20, 2, RAW_BLOCK(3), 'a', 'b', 'c');
FRAME(size_more, MAGIC, 0x20, 4, RAW_BLOCK(3), 'a', 'b', 'c');
FRAME(lies_less, MAGIC, 0x20, 3, RAW_BLOCK(2), 'a', 'b');
FRAME(lies_more, MAGIC, 0x20, 3, RAW_BLOCK(4), 'a', 'b', 'c', 'd');
/* content size in four bytes, window of 8 MiB, of 4 MiB */
FRAME(window_8m, MAGIC, 0x80, 13 << 3, 3, 0, 0, 0, RAW_BLOCK(3), 'a', 'b', 'c');
FRAME(window_4m, MAGIC, 0x80, 12 << 3, 3, 0, 0, 0, RAW_BLOCK(3), 'a', 'b', 'c');
FRAME(window_huge, MAGIC, 0x80, 0xff, 3, 0, 0, 0, RAW_BLOCK(3), 'a', 'b', 'c');
FRAME(trailing, MAGIC, 0x20, 3, RAW_BLOCK(3), 'a', 'b', 'c', 0);
FRAME(cut, MAGIC, 0x20, 3, RAW_BLOCK(3), 'a', 'b');
FRAME(head_only, MAGIC, 0x20, 3);
FRAME(magic_only, MAGIC);
FRAME(reserved_bit, MAGIC, 0x28, 3, RAW_BLOCK(3), 'a', 'b', 'c');
FRAME(reserved_block, MAGIC, 0x20, 3, 7 | 3 << 3, 0, 0, 'a', 'b', 'c');
FRAME(bomb, MAGIC, 0x20, 3, RLE_BLOCK(131072), 'a');
FRAME(honest_bomb, MAGIC, 0xa0, 0, 0, 0, 0x40, RLE_BLOCK(131072), 'a');
FRAME(bad_checksum, MAGIC, 0x24, 3, RAW_BLOCK(3), 'a', 'b', 'c', 1, 2, 3, 4);

static void bad_frames(void **state)
{
#define BAD(x)                                                                                               \
	{                                                                                                    \
#x, x, sizeof x                                                                              \
	}
	static const struct {
		const char *name;
		const uint8_t *p;
		size_t n;
	} bad[] = {
		BAD(wrong_magic),
		BAD(old_magic),
		BAD(skippable),
		BAD(skippable_first),
		BAD(skippable_last),
		BAD(two_frames),
		BAD(two_whole),
		BAD(dictionary),
		BAD(no_size),
		BAD(size_less),
		BAD(size_more),
		BAD(lies_less),
		BAD(lies_more),
		BAD(window_8m),
		BAD(window_huge),
		BAD(trailing),
		BAD(cut),
		BAD(head_only),
		BAD(magic_only),
		BAD(reserved_bit),
		BAD(bomb),
		BAD(honest_bomb),
		BAD(bad_checksum),
		BAD(reserved_block),
	};
	(void)state;
	assert_null(unpack(plain, sizeof plain, 3));
	assert_null(unpack(window_4m, sizeof window_4m, 3));
	for (size_t i = 0; i < COUNT(bad); i++)
		if (!unpack(bad[i].p, bad[i].n, 3))
			fail_msg("%s was taken", bad[i].name);
	assert_non_null(unpack(plain, sizeof plain, 2));
	assert_non_null(unpack(plain, sizeof plain, 4));
	assert_non_null(unpack(plain, 0, 3));
	assert_non_null(unpack(plain, 0, 0));
}

struct damage {
	const uint8_t *in;
	size_t n, taken;
};

static void damaged(void *arg, enum mutation kind, size_t at, const uint8_t *p, size_t n)
{
	struct damage *d = arg;
	(void)at;
	const char *why = unpack(p, n, d->n);
	d->taken += why == NULL;
	if (kind == MUTATE_CUT || kind == MUTATE_APPEND)
		assert_non_null(why);
}

static void mutations(void **state)
{
	uint8_t in[600], packed[1024];
	struct damage d = {in, sizeof in, 0};
	(void)state;
	fill(in, sizeof in, false);
	for (size_t i = 0; i < 300; i += 7)
		in[i] = (uint8_t)(i * 31);
	size_t n = codec_pack(ctx, 5, in, sizeof in, packed, sizeof packed);
	assert_true(n > 0);
	mutate_each(packed, n, damaged, &d);
	struct prng rng = {42};
	for (int round = 0; round < 20000; round++) {
		uint8_t copy[1024];
		memcpy(copy, packed, n);
		for (size_t k = prng_below(&rng, 6) + 1; k--;)
			copy[prng_below(&rng, n)] = (uint8_t)prng_next(&rng);
		(void)unpack(copy, n, sizeof in);
	}
}

static int make(void **state)
{
	(void)state;
	return (ctx = codec_new()) ? 0 : -1;
}

static int unmake(void **state)
{
	(void)state;
	codec_free(ctx);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(what_does_not_shrink),
		cmocka_unit_test(bad_frames),
		cmocka_unit_test(mutations),
	};
	return cmocka_run_group_tests(tests, make, unmake);
}
