/*
 * Every decoder of wire/frame: what is accepted encodes to the same bytes again.
 *
 *   input   type u8, then a body; or a part's number in its place
 */
#include "fuzz.h"

#include "wire/frame.h"

static void same(const struct wr *w, struct span body)
{
	CHECK(!w->bad && w->n == body.n);
	CHECK(!body.n || memcmp(w->p, body.p, body.n) == 0);
}

/* Field by field through a copy of the right size: spans look into body. */
#define FRAME(lower, UPPER, id, class, doc)                                                                  \
	static void try_##lower(struct span body, uint8_t *out)                                              \
	{                                                                                                    \
		struct frame_##lower f;                                                                      \
		struct wr w = wr_init(out, body.n);                                                          \
		if (!frame_get_##lower(body, &f))                                                            \
			return;                                                                              \
		frame_put_##lower(&w, &f);                                                                   \
		same(&w, body);                                                                              \
	}
#define PART(lower, doc)                                                                                     \
	static void try_##lower(struct span body, uint8_t *out)                                              \
	{                                                                                                    \
		struct frame_##lower f;                                                                      \
		struct rd r = rd_init(body.p, body.n);                                                       \
		while (r.n && frame_get_part_##lower(&r, &f)) {                                              \
			struct wr w = wr_init(out, body.n);                                                  \
			frame_put_##lower(&w, &f);                                                           \
			CHECK(w.n <= (size_t)(r.p - body.p));                                                \
			same(&w, (struct span){r.p - w.n, w.n});                                             \
		}                                                                                            \
	}
#include "wire/frames.def"

static void try_head(struct span in)
{
	struct frame_head h;
	uint8_t again[FRAME_HEAD_BYTES];
	if (in.n < FRAME_HEAD_BYTES || frame_head_get(in.p, &h))
		return;
	frame_head_put(again, &h);
	CHECK(memcmp(again, in.p, FRAME_HEAD_BYTES) == 0);
}

static void (*const frames[256])(struct span, uint8_t *) = {
#define FRAME(lower, UPPER, id, class, doc) [id] = try_##lower,
#include "wire/frames.def"
};

static void (*const parts[])(struct span, uint8_t *) = {
#define PART(lower, doc) try_##lower,
#include "wire/frames.def"
};

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	if (!n)
		return 0;
	struct span body = {p + 1, n - 1};
	uint8_t *out = malloc(n);
	CHECK(out);
	try_head(body);
	if (frames[p[0]])
		frames[p[0]](body, out);
	else
		parts[p[0] % (sizeof parts / sizeof *parts)](body, out);
	free(out);
	return 0;
}
