/*
 * One record on its way over one connection: sealed when it leaves, opened when it arrives.
 *
 *   length u32   of what follows
 *   frame        head and body
 *   tag          plain: XXH3-64 of the body, seeded by XXH3-64 of the head, seeded by the record's number
 *
 * The number counts the records of one direction of one connection and is never sent, so a record that is
 * lost, repeated or moved does not open. A seal belongs to one connection and dies with it.
 */
#ifndef HAUL_WIRE_SEAL_H
#define HAUL_WIRE_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/limits.h"

enum seal_mode { SEAL_PLAIN = 0 };

struct seal {
	enum seal_mode mode;
	uint64_t number; /* of the next record */
};

/* Bytes of a tag in this mode. */
size_t seal_tag_bytes(const struct seal *s);

/* Computes the tag of one outgoing record and counts it. Plain records leave head and body where they are. */
void seal_close(struct seal *s, const uint8_t head[static FRAME_HEAD_BYTES], const uint8_t *body,
		size_t body_len, uint8_t tag[static RECORD_TAG_MAX_BYTES]);

/* Checks one record (length bytes of head, body and tag); true and *body_len when it is what the peer sealed.
 */
bool seal_open(struct seal *s, const uint8_t *record, size_t length, size_t *body_len);

#endif
