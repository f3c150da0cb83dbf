/* The expansions of frames.def. */
#include "wire/frame.h"

#define FRAME(lower, UPPER, id, class, doc) [id] = {#UPPER, FRAME_CLASS_##class},
static const struct {
	const char *name;
	enum frame_class class;
} frames[256] = {
#include "wire/frames.def"
};

#define FRAME(lower, UPPER, id, class, doc)                                                                  \
	void frame_put_##lower(struct wr *w, const struct frame_##lower *f)                                  \
	{                                                                                                    \
		(void)w, (void)f;
#define PART(lower, doc)       FRAME(lower, , , , )
#define U8(field, doc)	       wr_uint(w, f->field, 1);
#define U16(field, doc)	       wr_uint(w, f->field, 2);
#define U32(field, doc)	       wr_uint(w, f->field, 4);
#define U64(field, doc)	       wr_uint(w, f->field, 8);
#define I64(field, doc)	       wr_uint(w, (uint64_t)f->field, 8);
#define FIX(field, bytes, doc) wr_bytes(w, f->field, bytes);
#define STR(field, doc)	       wr_str(w, f->field);
#define TAIL(field, doc)       wr_bytes(w, f->field.p, f->field.n);
#define END		       }
#include "wire/frames.def"

/* One body per frame and group: the getter leaves the verdict to the public functions below. */
#define FRAME(lower, UPPER, id, class, doc)                                                                  \
	static void get_##lower(struct rd *r, struct frame_##lower *f)                                       \
	{                                                                                                    \
		(void)r, (void)f;
#define PART(lower, doc)       FRAME(lower, , , , )
#define U8(field, doc)	       f->field = rd_u8(r);
#define U16(field, doc)	       f->field = rd_u16(r);
#define U32(field, doc)	       f->field = rd_u32(r);
#define U64(field, doc)	       f->field = rd_u64(r);
#define I64(field, doc)	       f->field = (int64_t)rd_u64(r);
#define FIX(field, bytes, doc) rd_fix(r, f->field, bytes);
#define STR(field, doc)	       f->field = rd_str(r);
#define TAIL(field, doc)       f->field = rd_tail(r);
#define END		       }
#include "wire/frames.def"

#define FRAME(lower, UPPER, id, class, doc)                                                                  \
	bool frame_get_##lower(struct span body, struct frame_##lower *f)                                    \
	{                                                                                                    \
		struct rd r = rd_init(body.p, body.n);                                                       \
		get_##lower(&r, f);                                                                          \
		return rd_done(&r);                                                                          \
	}
#define PART(lower, doc)                                                                                     \
	bool frame_get_part_##lower(struct rd *r, struct frame_##lower *f)                                   \
	{                                                                                                    \
		get_##lower(r, f);                                                                           \
		return !r->bad;                                                                              \
	}
#include "wire/frames.def"

enum frame_class frame_class_of(uint8_t type)
{
	return frames[type].class;
}

const char *frame_name(uint8_t type)
{
	return frames[type].name ? frames[type].name : "?";
}

void frame_head_put(uint8_t out[static FRAME_HEAD_BYTES], const struct frame_head *h)
{
	struct wr w = wr_init(out, FRAME_HEAD_BYTES);
	wr_uint(&w, h->type, 1);
	wr_uint(&w, 0, 3);
	wr_uint(&w, h->body_len, 4);
	wr_uint(&w, h->cost, 4);
	wr_uint(&w, h->offset, 8);
}

const char *frame_head_get(const uint8_t in[static FRAME_HEAD_BYTES], struct frame_head *h)
{
	struct rd r = rd_init(in, FRAME_HEAD_BYTES);
	h->type = rd_u8(&r);
	uint64_t zero = rd_uint(&r, 3);
	h->body_len = rd_u32(&r);
	h->cost = rd_u32(&r);
	h->offset = rd_u64(&r);

	enum frame_class class = frame_class_of(h->type);
	if (class == FRAME_CLASS_NONE)
		return "unknown frame type";
	if (zero)
		return "reserved bytes of a frame head are set";
	if (class != FRAME_CLASS_MESSAGE)
		return h->cost || h->offset ? "a control frame has a cost or an offset" : NULL;
	if (!h->cost)
		return "a message costs nothing";
	if (h->cost > RECORD_BODY_MAX_BYTES)
		return "a message costs more than a chunk";
	if (h->body_len > h->cost + BODY_SLACK_BYTES)
		return "a body is longer than its cost allows";
	return NULL;
}
