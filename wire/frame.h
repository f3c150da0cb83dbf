/*
 * Frames: structs, encoders, decoders and names, all expanded from frames.def.
 *
 *   head   type u8, flags u8 (0), zero u16, body length u32, cost u32, offset u64
 *   body   the fields of the frame, in the order of frames.def
 *
 * A decoder fills a struct whose spans look into the body; it fails on a short body and on bytes left over.
 */
#ifndef HAUL_WIRE_FRAME_H
#define HAUL_WIRE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/cursor.h"
#include "wire/limits.h"

enum frame_class { FRAME_CLASS_NONE, FRAME_CLASS_ATTACH, FRAME_CLASS_CONTROL, FRAME_CLASS_MESSAGE };

#define FRAME(lower, UPPER, id, class, doc) F_##UPPER = (id),
enum frame_type {
#include "wire/frames.def"
};

#define FRAME(lower, UPPER, id, class, doc) struct frame_##lower {
#define PART(lower, doc)		    struct frame_##lower {
#define U8(field, doc)			    uint8_t field;
#define U16(field, doc)			    uint16_t field;
#define U32(field, doc)			    uint32_t field;
#define U64(field, doc)			    uint64_t field;
#define I64(field, doc)			    int64_t field;
#define FIX(field, bytes, doc)		    uint8_t field[bytes];
#define STR(field, doc)			    struct span field;
#define TAIL(field, doc)		    struct span field;
#define END                                                                                                  \
	}                                                                                                    \
	;
#include "wire/frames.def"

/* frame_put_X appends the body of X to w. frame_get_X reads a whole body, frame_get_part_X one group of a
 * repetition (what follows is left in r); false means malformed. */
#define FRAME(lower, UPPER, id, class, doc)                                                                  \
	void frame_put_##lower(struct wr *w, const struct frame_##lower *f);                                 \
	bool frame_get_##lower(struct span body, struct frame_##lower *f);
#define PART(lower, doc)                                                                                     \
	void frame_put_##lower(struct wr *w, const struct frame_##lower *f);                                 \
	bool frame_get_part_##lower(struct rd *r, struct frame_##lower *f);
#include "wire/frames.def"

/* Flags of BEGIN. */
enum {
	BEGIN_DRY_RUN = 1,
	BEGIN_SKIP_NEWER = 2,
	BEGIN_SKIP_EXISTING = 4,
	BEGIN_ONLY_EXISTING = 8,
	BEGIN_WHOLE_FILES = 16,
	BEGIN_DELETE = 32,
	BEGIN_KNOWN = 63,
};

enum frame_role { ROLE_SENDER = 1, ROLE_RECEIVER = 2 };

struct frame_head {
	uint8_t type;
	uint32_t body_len;
	uint32_t cost;
	uint64_t offset;
};

void frame_head_put(uint8_t out[static FRAME_HEAD_BYTES], const struct frame_head *h);

/* Why a head cannot be right, or NULL: unknown type, reserved bytes set, a cost or offset on what is not a
 * message, a body longer than its cost and the slack allow. */
const char *frame_head_get(const uint8_t in[static FRAME_HEAD_BYTES], struct frame_head *h);

enum frame_class frame_class_of(uint8_t type);
const char *frame_name(uint8_t type); /* "DATA", or "?" */

#endif
