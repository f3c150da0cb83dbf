/*
 * One connection of a link: a byte stream each way, cut into sealed records. Sans-I/O: the caller reads into
 * channel_space, writes what channel_gather gives, and tells how much. A channel dies with its connection;
 * nothing in it survives, and a record that was cut is forgotten (the ring still has it).
 *
 * Inbound, small records are parsed where they were staged; a large one gets a block of its own as soon as
 * its length is known, and the rest of it is read straight into that block; encrypted ones are decrypted
 * where they are.
 *
 * Outbound, plain records borrow their bodies from the ring until they are written. Encrypted ones are made
 * in a buffer of the channel; the ring keeps what they were made from.
 */
#ifndef HAUL_WIRE_CHANNEL_H
#define HAUL_WIRE_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "wire/buf.h"
#include "wire/err.h"
#include "wire/frame.h"
#include "wire/ring.h"
#include "wire/seal.h"

#define CHANNEL_STAGE_BYTES (64u << 10)
/* Records sealed ahead of the socket. Few, so that control soon passes; enough for one writev of small ones.
 */
#define CHANNEL_SLOTS	    16u
#define CHANNEL_AHEAD_BYTES (256u << 10)
#define CHANNEL_IOV_MAX	    (3u * CHANNEL_SLOTS)
/* Encrypted records are made one behind the other, and from the start again when all are out. Another one is
 * begun while the buffer is filled less than this; the longest record fits behind it. */
#define CHANNEL_SEALED_FILL_BYTES (2u * CHANNEL_AHEAD_BYTES)
#define CHANNEL_SEALED_BYTES                                                                                 \
	(CHANNEL_SEALED_FILL_BYTES + RECORD_LEN_BYTES + FRAME_HEAD_BYTES + RECORD_BODY_MAX_BYTES +           \
	 RECORD_TAG_MAX_BYTES)
#define CONTROL_BODY_MAX_BYTES (REASON_TEXT_MAX_BYTES + 32u)

struct channel_slot {
	uint8_t head[RECORD_LEN_BYTES + FRAME_HEAD_BYTES];
	uint8_t tag[RECORD_TAG_MAX_BYTES];
	uint8_t control[CONTROL_BODY_MAX_BYTES];
	const uint8_t *body;   /* control[] or borrowed from the ring */
	const uint8_t *sealed; /* the whole record, encrypted, in the channel's buffer; NULL when plain */
	size_t body_len, tag_len;
	uint64_t end; /* of a message: offset behind it; 0 for control */
};

struct channel {
	struct seal tx, rx;
	struct buf_source source;
	uint32_t max_body;

	uint8_t *stage;
	size_t stage_pos, stage_len;
	struct buf *record; /* being filled past the stage; record->len of record_length so far */
	size_t record_length;
	bool damaged; /* nothing that comes is believed any more */

	struct channel_slot slot[CHANNEL_SLOTS];
	size_t slot_head, slot_count;
	size_t slot_written; /* bytes of the first slot that are out */
	size_t ahead;	     /* bytes in slots */
	uint8_t *sealed;     /* encrypted records, NULL when plain */
	size_t sealed_len;

	uint64_t sent; /* offset behind the last message that is out in full, or that the peer had before */
	uint64_t bytes_in, bytes_out;
	uint64_t message_out; /* bytes out while a message was being written */
};

/* What came: head and body. buf is set for messages: its content is the body and the caller owns it; the body
 * of a control frame is borrowed until the next call. */
struct channel_record {
	struct frame_head head;
	struct span body;
	struct buf *buf;
};

/* False when out of memory. sent: offset the outgoing messages begin at. */
bool channel_open(struct channel *ch, const struct seal *tx, const struct seal *rx, uint64_t sent,
		  uint32_t max_body, struct buf_source source);
void channel_close(struct channel *ch); /* a closed or zeroed one is fine */

/* Where to read the next bytes: one or two areas, never empty once channel_next has said WIRE_MORE. */
size_t channel_space(struct channel *ch, struct iovec iov[static 2]);
void channel_filled(struct channel *ch, size_t n);

/* The next whole record, opened. WIRE_OK, WIRE_MORE, WIRE_DAMAGED, WIRE_VIOLATION or WIRE_NOMEM. Behind damage no record
 * is given out any more, whatever comes: then it is WIRE_MORE for ever. */
enum wire_rc channel_next(struct channel *ch, struct channel_record *out, struct wire_err *err);

/* May another record be sealed now? */
bool channel_ready(const struct channel *ch);
void channel_put_control(struct channel *ch, uint8_t type, const uint8_t *body, size_t body_len);
/* The entry's body is borrowed until its bytes are out or the channel is closed. */
void channel_put_message(struct channel *ch, const struct ring_entry *e);

/* What to write next; 0 when there is nothing. */
size_t channel_gather(const struct channel *ch, struct iovec iov[static CHANNEL_IOV_MAX]);
void channel_wrote(struct channel *ch, size_t n);

/* The peer has everything below offset, whatever is still in the slots. */
void channel_skip(struct channel *ch, uint64_t offset);
/* Offset behind the first message whose body is borrowed, UINT64_MAX if none is. */
uint64_t channel_borrows(const struct channel *ch);

#endif
