/*
 * One record on its way over one connection: sealed when it leaves, opened when it arrives.
 *
 *   length u32   of what follows
 *   frame        head and body
 *   tag          plain: XXH3-64 of the body, seeded by XXH3-64 of the head, seeded by the record's number
 *                aead:  the frame is encrypted; Poly1305 over it and the length
 *
 * The number counts the records of one direction of one connection and is never sent, so a record that is
 * lost, repeated or moved does not open. A seal belongs to one connection and dies with it; with aead its key
 * does too, and is replaced by the next one (Noise REKEY) every SEAL_REKEY_RECORDS.
 */
#ifndef HAUL_WIRE_SEAL_H
#define HAUL_WIRE_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/limits.h"

#define SEAL_KEY_BYTES	   32u
#define SEAL_REKEY_RECORDS (1u << 16)

enum seal_mode { SEAL_PLAIN = 0, SEAL_AEAD };

struct seal {
	enum seal_mode mode;
	uint64_t number;      /* of the next record */
	uint32_t rekey_every; /* records; aead only */
	uint8_t key[SEAL_KEY_BYTES];
};

/* A seal that encrypts. rekey_every is SEAL_REKEY_RECORDS on both sides, but for tests. */
void seal_init_aead(struct seal *s, const uint8_t key[static SEAL_KEY_BYTES], uint32_t rekey_every);
void seal_wipe(struct seal *s);

/* Bytes of a tag in this mode. */
size_t seal_tag_bytes(const struct seal *s);

/* Plain only: computes the tag of one outgoing record and counts it; head and body stay where they are. */
void seal_close(struct seal *s, const uint8_t head[static FRAME_HEAD_BYTES], const uint8_t *body,
		size_t body_len, uint8_t tag[static RECORD_TAG_MAX_BYTES]);

/* Any mode: seals frame_len bytes where they are. record has room for the length before them and the tag
 * behind them, and is complete afterwards. False when the numbers are spent: nothing may be sent any more. */
bool seal_whole(struct seal *s, uint8_t *record, size_t frame_len);

/* Checks one record (length bytes of head, body and tag) and decrypts it in place; true and *body_len when it
 * is what the peer sealed. After false the seal is worthless: the connection is to be closed. */
bool seal_open(struct seal *s, uint8_t *record, size_t length, size_t *body_len);

#endif
