/*
 * Every frame and group of frames.def, generated from it: random values survive encoding and decoding; damage
 * is refused or means exactly what its bytes say. Then the checks of a frame's head.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>

#include "tests/unit/mutate.h"
#include "wire/frame.h"

#define ROUNDS	 20
#define BODY_MAX 512

/* One object that can hold any of them. */
#define FRAME(lower, UPPER, id, class, doc) struct frame_##lower lower;
#define PART(lower, doc)		    struct frame_##lower lower;
union any {
#include "wire/frames.def"
};

/* What strings and tails look into. */
static uint8_t noise[4096];

static struct span some_bytes(struct prng *p, size_t max)
{
	return (struct span){noise + prng_below(p, sizeof noise - max), prng_below(p, max + 1)};
}

/* random values, the ends of the range among them */
static uint64_t some_number(struct prng *p)
{
	uint64_t r = prng_next(p);
	return r % 5 == 0 ? 0 : r % 5 == 1 ? UINT64_MAX : prng_next(p);
}

#define FRAME(lower, UPPER, id, class, doc)                                                                  \
	static void gen_##lower(struct prng *p, union any *u)                                                \
	{                                                                                                    \
		struct frame_##lower *f = &u->lower;                                                         \
		(void)p, (void)f;
#define PART(lower, doc)       FRAME(lower, , , , )
#define U8(field, doc)	       f->field = (uint8_t)some_number(p);
#define U16(field, doc)	       f->field = (uint16_t)some_number(p);
#define U32(field, doc)	       f->field = (uint32_t)some_number(p);
#define U64(field, doc)	       f->field = some_number(p);
#define I64(field, doc)	       f->field = (int64_t)some_number(p);
#define FIX(field, bytes, doc) prng_fill(p, f->field, bytes);
#define STR(field, doc)	       f->field = some_bytes(p, 40);
#define TAIL(field, doc)       f->field = some_bytes(p, 60);
#define END		       }
#include "wire/frames.def"

static bool same_span(struct span a, struct span b)
{
	return a.n == b.n && (!a.n || memcmp(a.p, b.p, a.n) == 0);
}

#define FRAME(lower, UPPER, id, class, doc)                                                                  \
	static bool same_##lower(const union any *x, const union any *y)                                     \
	{                                                                                                    \
		const struct frame_##lower *a = &x->lower, *b = &y->lower;                                   \
		(void)a, (void)b;
#define PART(lower, doc) FRAME(lower, , , , )
#define SAME(field)                                                                                          \
	if (a->field != b->field)                                                                            \
		return false;
#define U8(field, doc)	SAME(field)
#define U16(field, doc) SAME(field)
#define U32(field, doc) SAME(field)
#define U64(field, doc) SAME(field)
#define I64(field, doc) SAME(field)
#define FIX(field, bytes, doc)                                                                               \
	if (memcmp(a->field, b->field, bytes) != 0)                                                          \
		return false;
#define STR(field, doc)                                                                                      \
	if (!same_span(a->field, b->field))                                                                  \
		return false;
#define TAIL(field, doc) STR(field, )
#define END                                                                                                  \
	return true;                                                                                         \
	}
#include "wire/frames.def"

/* rest: what a group leaves in the reader; a frame leaves nothing */
#define FRAME(lower, UPPER, id, class, doc)                                                                  \
	static void put_##lower(struct wr *w, const union any *u)                                            \
	{                                                                                                    \
		frame_put_##lower(w, &u->lower);                                                             \
	}                                                                                                    \
	static bool get_##lower(struct span body, union any *u, size_t *rest)                                \
	{                                                                                                    \
		*rest = 0;                                                                                   \
		return frame_get_##lower(body, &u->lower);                                                   \
	}
#define PART(lower, doc)                                                                                     \
	static void put_##lower(struct wr *w, const union any *u)                                            \
	{                                                                                                    \
		frame_put_##lower(w, &u->lower);                                                             \
	}                                                                                                    \
	static bool get_##lower(struct span body, union any *u, size_t *rest)                                \
	{                                                                                                    \
		struct rd r = rd_init(body.p, body.n);                                                       \
		bool ok = frame_get_part_##lower(&r, &u->lower);                                             \
		*rest = r.n;                                                                                 \
		return ok;                                                                                   \
	}
#include "wire/frames.def"

/* The shortest body, and whether it has strings, or a tail that takes whatever follows. */
#define FRAME(lower, UPPER, id, class, doc) enum { LEAST_##lower = 0
#define PART(lower, doc)		    FRAME(lower, , , , )
#define U8(field, doc)			    +1
#define U16(field, doc)			    +2
#define U32(field, doc)			    +4
#define U64(field, doc)			    +8
#define I64(field, doc)			    +8
#define FIX(field, bytes, doc)		    +(bytes)
#define STR(field, doc)			    +2
#define END                                                                                                  \
	}                                                                                                    \
	;
#include "wire/frames.def"
#define FRAME(lower, UPPER, id, class, doc) enum { TAILS_##lower = 0
#define PART(lower, doc)		    FRAME(lower, , , , )
#define TAIL(field, doc)		    +1
#define END                                                                                                  \
	}                                                                                                    \
	;
#include "wire/frames.def"
#define FRAME(lower, UPPER, id, class, doc) enum { STRINGS_##lower = 0
#define PART(lower, doc)		    FRAME(lower, , , , )
#define STR(field, doc)			    +1
#define END                                                                                                  \
	}                                                                                                    \
	;
#include "wire/frames.def"

static const struct codec {
	const char *name;
	bool part;
	size_t least, tails, strings;
	void (*gen)(struct prng *p, union any *u);
	bool (*same)(const union any *x, const union any *y);
	void (*put)(struct wr *w, const union any *u);
	bool (*get)(struct span body, union any *u, size_t *rest);
} codecs[] = {
#define ROW(lower, part)                                                                                     \
	{#lower,      part,	    LEAST_##lower, TAILS_##lower, STRINGS_##lower,                           \
	 gen_##lower, same_##lower, put_##lower,   get_##lower},
#define FRAME(lower, UPPER, id, class, doc) ROW(lower, false)
#define PART(lower, doc)		    ROW(lower, true)
#include "wire/frames.def"
};

#define CODECS (sizeof codecs / sizeof codecs[0])

struct encoded {
	uint8_t p[BODY_MAX];
	size_t n;
};

static struct encoded encode(const struct codec *c, const union any *u)
{
	struct encoded e;
	struct wr w = wr_init(e.p, sizeof e.p);
	c->put(&w, u);
	if (w.bad)
		fail_msg("%s: does not fit %d bytes", c->name, BODY_MAX);
	e.n = w.n;
	return e;
}

static void round_trip(void **state)
{
	(void)state;
	struct prng p = {1};
	for (size_t i = 0; i < CODECS; i++)
		for (int k = 0; k < 50 * ROUNDS; k++) {
			union any in, out;
			size_t rest;
			codecs[i].gen(&p, &in);
			struct encoded e = encode(&codecs[i], &in);
			if (e.n < codecs[i].least)
				fail_msg("%s: %zu bytes, at least %zu expected", codecs[i].name, e.n,
					 codecs[i].least);
			if (!codecs[i].get((struct span){e.p, e.n}, &out, &rest) || rest)
				fail_msg("%s: what was encoded is refused", codecs[i].name);
			if (!codecs[i].same(&in, &out))
				fail_msg("%s: decoded to something else", codecs[i].name);
		}
}

static void refusal_expected(const struct codec *c, enum mutation kind, size_t at, bool got)
{
	static const char *const kinds[] = {"nothing", "bit", "byte", "cut to", "append"};
	if (got)
		fail_msg("%s: accepted after %s %zu", c->name, kinds[kind], at);
}

/* Accepted bytes mean what they say: they encode to themselves, so no two byte strings mean the same. */
static void judge(void *ctx, enum mutation kind, size_t at, const uint8_t *p, size_t n)
{
	const struct codec *c = ctx;
	union any u;
	size_t rest;
	bool got = c->get((struct span){p, n}, &u, &rest);
	if (n < c->least)
		refusal_expected(c, kind, at, got);
	if (kind == MUTATE_CUT && !c->tails)
		refusal_expected(c, kind, at, got);
	if (kind == MUTATE_APPEND && !c->tails && !c->part)
		refusal_expected(c, kind, at, got);
	bool flipped = kind == MUTATE_BIT || kind == MUTATE_BYTE;
	if (flipped && !c->strings && !got)
		fail_msg("%s: %zu: a frame without lengths refuses a value", c->name, at);
	if (kind == MUTATE_APPEND && c->part && (!got || rest != at))
		fail_msg("%s: a group leaves %zu of %zu bytes that follow it", c->name, rest, at);
	if (!got)
		return;
	struct encoded e = encode(c, &u);
	if (e.n != n - rest || memcmp(e.p, p, e.n) != 0)
		fail_msg("%s: accepted bytes encode to others (mutation %d at %zu)", c->name, kind, at);
}

static void mutations(void **state)
{
	(void)state;
	struct prng p = {2};
	for (size_t i = 0; i < CODECS; i++)
		for (int k = 0; k < ROUNDS; k++) {
			union any u;
			codecs[i].gen(&p, &u);
			struct encoded e = encode(&codecs[i], &u);
			mutate_each(e.p, e.n, judge, (void *)(uintptr_t)&codecs[i]);
		}
}

static void noise_is_survived(void **state)
{
	(void)state;
	struct prng p = {3};
	for (size_t i = 0; i < CODECS; i++)
		for (int k = 0; k < 100 * ROUNDS; k++) {
			struct encoded e = {.n = prng_below(&p, 128)};
			prng_fill(&p, e.p, e.n);
			mutate_one(e.p, e.n, MUTATE_NONE, 0, 0, 0, judge, (void *)(uintptr_t)&codecs[i]);
		}
}

static void groups_follow_one_another(void **state)
{
	(void)state;
	struct prng p = {4};
	for (size_t i = 0; i < CODECS; i++) {
		if (!codecs[i].part)
			continue;
		union any in[5], out;
		struct encoded all = {.n = 0};
		for (size_t k = 0; k < 5; k++) {
			codecs[i].gen(&p, &in[k]);
			struct encoded e = encode(&codecs[i], &in[k]);
			assert_true(all.n + e.n <= sizeof all.p);
			memcpy(all.p + all.n, e.p, e.n);
			all.n += e.n;
		}
		size_t rest = all.n;
		for (size_t k = 0; k < 5; k++) {
			size_t left = rest;
			assert_true(codecs[i].get((struct span){all.p + all.n - left, left}, &out, &rest));
			assert_true(codecs[i].same(&in[k], &out));
		}
		assert_int_equal(rest, 0);
	}
}

static void types_are_told_apart(void **state)
{
	(void)state;
	static const struct {
		uint8_t id;
		const char *name;
		enum frame_class class;
	} known[] = {
#define FRAME(lower, UPPER, id, class, doc) {id, #UPPER, FRAME_CLASS_##class},
#include "wire/frames.def"
	};
	unsigned seen[256] = {0};
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		if (seen[known[i].id]++)
			fail_msg("%s: its id is taken", known[i].name);
		assert_string_equal(frame_name(known[i].id), known[i].name);
		assert_int_equal(frame_class_of(known[i].id), known[i].class);
	}
	for (unsigned id = 0; id < 256; id++)
		if (!seen[id]) {
			assert_string_equal(frame_name((uint8_t)id), "?");
			assert_int_equal(frame_class_of((uint8_t)id), FRAME_CLASS_NONE);
		}
}

/* ---- heads ---- */

static const char *verdict(struct frame_head h)
{
	uint8_t b[FRAME_HEAD_BYTES];
	struct frame_head out;
	frame_head_put(b, &h);
	const char *why = frame_head_get(b, &out);
	assert_int_equal(out.type, h.type);
	assert_int_equal(out.body_len, h.body_len);
	assert_int_equal(out.cost, h.cost);
	assert_true(out.offset == h.offset);
	return why;
}

static void assert_refused(struct frame_head h, const char *part)
{
	const char *why = verdict(h);
	if (!why || !strstr(why, part))
		fail_msg("%s: %s, expected: %s", frame_name(h.type), why ? why : "accepted", part);
}

static void head_limits(void **state)
{
	(void)state;
	for (unsigned type = 0; type < 256; type++) {
		uint8_t t = (uint8_t)type;
		switch (frame_class_of(t)) {
		case FRAME_CLASS_NONE:
			assert_refused((struct frame_head){t, 0, 0, 0}, "unknown");
			assert_refused((struct frame_head){t, 1, 1, 0}, "unknown");
			break;
		case FRAME_CLASS_ATTACH:
		case FRAME_CLASS_CONTROL:
			assert_null(verdict((struct frame_head){t, 10, 0, 0}));
			assert_refused((struct frame_head){t, 10, 1, 0}, "a cost or an offset");
			assert_refused((struct frame_head){t, 10, 0, 1}, "a cost or an offset");
			assert_refused((struct frame_head){t, 10, 0, 1ull << 63}, "a cost or an offset");
			break;
		case FRAME_CLASS_MESSAGE:
			assert_null(verdict((struct frame_head){t, 0, 1, UINT64_MAX}));
			assert_null(verdict((struct frame_head){t, 1 + BODY_SLACK_BYTES, 1, 0}));
			assert_null(verdict((struct frame_head){t, 0, RECORD_BODY_MAX_BYTES, 0}));
			assert_refused((struct frame_head){t, 0, 0, 0}, "costs nothing");
			assert_refused((struct frame_head){t, 2 + BODY_SLACK_BYTES, 1, 0},
				       "longer than its cost");
			assert_refused((struct frame_head){t, UINT32_MAX, 1, 0}, "longer than its cost");
			assert_refused((struct frame_head){t, 0, RECORD_BODY_MAX_BYTES + 1, 0},
				       "more than a chunk");
			assert_refused((struct frame_head){t, 0, UINT32_MAX, 0}, "more than a chunk");
			break;
		}
	}
}

/* An accepted head encodes to itself: nothing is hidden in reserved bytes. */
static void judge_head(void *ctx, enum mutation kind, size_t at, const uint8_t *p, size_t n)
{
	(void)ctx;
	if (n != FRAME_HEAD_BYTES)
		return;
	struct frame_head h;
	const char *why = frame_head_get(p, &h);
	size_t byte = kind == MUTATE_BIT ? at / 8 : at;
	if (byte >= 1 && byte <= 3 && !why)
		fail_msg("a reserved byte is set and nobody minds (%zu)", byte);
	if (why)
		return;
	uint8_t again[FRAME_HEAD_BYTES];
	frame_head_put(again, &h);
	assert_memory_equal(again, p, sizeof again);
}

static void head_mutations(void **state)
{
	(void)state;
	static const struct frame_head heads[] = {
		{F_DATA, 1000, 900, 123456789},
		{F_ACK, 24, 0, 0},
		{F_ATTACH, 40, 0, 0},
		{F_FLUSH, 0, 1, UINT64_MAX},
	};
	for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
		uint8_t b[FRAME_HEAD_BYTES];
		frame_head_put(b, &heads[i]);
		mutate_each(b, sizeof b, judge_head, NULL);
	}
}

static int setup(void **state)
{
	(void)state;
	prng_fill(&(struct prng){5}, noise, sizeof noise);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),		cmocka_unit_test(mutations),
		cmocka_unit_test(noise_is_survived),	cmocka_unit_test(groups_follow_one_another),
		cmocka_unit_test(types_are_told_apart), cmocka_unit_test(head_limits),
		cmocka_unit_test(head_mutations),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
