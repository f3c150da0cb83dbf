/*
 * A packed chunk of any bytes: unpacked into a block of exactly the declared length, or refused; and what is
 * packed here comes back. Input: declared length u24, bytes.
 */
#include "fuzz.h"

#include "lib/codec.h"

static void there_and_back(struct codec_ctx *c, struct span in)
{
	uint8_t *packed = malloc(in.n), *back = malloc(in.n);
	CHECK(packed && back);
	size_t len = codec_pack(c, 1, in.p, in.n, packed, in.n);
	CHECK(len <= in.n);
	if (len) {
		CHECK(!codec_unpack(c, packed, len, back, in.n));
		CHECK(memcmp(back, in.p, in.n) == 0);
	}
	free(packed);
	free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static struct codec_ctx *c;
	struct rd r = rd_init(p, n);
	size_t raw = (size_t)rd_uint(&r, 3) % (256u << 10);
	if (!c)
		c = codec_new();
	CHECK(c);
	if (r.bad || !r.n)
		return 0;
	uint8_t *out = malloc(raw ? raw : 1);
	CHECK(out);
	(void)codec_unpack(c, r.p, r.n, out, raw);
	free(out);
	there_and_back(c, (struct span){r.p, r.n});
	return 0;
}
