/*
 * The opening of a connection, sans-I/O and without memory of its own.
 *
 *   initiator                                   responder
 *   prefix 16, HELLO 32, tag 8, ATTACH record ->
 *                            <- prefix 16, HELLO 32, tag 8, WELCOME or REFUSE record
 *
 * Everything before ATTACH has a fixed size, so nothing is allocated for a stranger. handshake_need says how
 * many bytes to read next; reading exactly that many never takes a byte that belongs to the link, so the
 * connection can be handed to another process afterwards. In mode 0 (plain) the initiator says all it has to
 * say at once; an encrypted mode will wait for the answer before ATTACH, in the same states.
 */
#ifndef HAUL_WIRE_HANDSHAKE_H
#define HAUL_WIRE_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/err.h"
#include "wire/frame.h"
#include "wire/seal.h"

#define PROTOCOL_MAJOR	   1
#define PROTOCOL_MINOR	   1 /* the newest this code speaks; the oldest is PROTOCOL_MINOR_MIN */
#define PROTOCOL_MINOR_MIN 1

#define PREFIX_BYTES	   16u
#define HELLO_BYTES	   32u
#define HELLO_TAG_BYTES	   8u
#define OPENING_BYTES	   (PREFIX_BYTES + HELLO_BYTES + HELLO_TAG_BYTES)
/* the longest ATTACH, WELCOME or REFUSE record */
#define ATTACH_RECORD_MAX_BYTES                                                                              \
	(RECORD_LEN_BYTES + FRAME_HEAD_BYTES + 64u + SUBDIR_MAX_BYTES + RECORD_TAG_MAX_BYTES)

/* Feature bits: offered ones are used when both sides have them, required ones are refused by name when the
 * other side lacks them. There are none yet; 16 of each fit the HELLO. */
#define FEATURES_KNOWN 0x0000u

/* What each side says of itself: HELLO. */
struct hello {
	uint8_t minor_min, minor_max; /* responder: both are the chosen one; 0 when it refuses */
	uint16_t suites;	      /* bulk ciphers offered, or the chosen one; 0 in mode 0 */
	uint16_t offered, required;   /* feature bits */
	uint32_t max_body;	      /* the longest frame body it accepts */
	uint32_t credit;	      /* raw bytes that may be sent before WELCOME */
	uint8_t instance[16];	      /* random, of this process */
};

enum handshake_state {
	HS_PREFIX,  /* wants the peer's prefix and HELLO */
	HS_ATTACH,  /* responder: wants ATTACH */
	HS_DECIDE,  /* responder: ATTACH is there, handshake_welcome or handshake_refuse comes next */
	HS_WELCOME, /* initiator: wants WELCOME or REFUSE */
	HS_DONE,
	HS_FAILED,
};

struct handshake {
	enum handshake_state state;
	bool initiator;
	struct hello mine, peer;
	uint8_t minor;		    /* agreed */
	uint16_t features;	    /* agreed: offered by both */
	struct seal tx, rx;	    /* the channel goes on with these */
	struct frame_attach attach; /* subdir looks into in[] */
	struct frame_welcome welcome;
	struct frame_refuse refuse; /* text looks into in[] */
	size_t in_len, in_want;
	size_t out_len;
	uint8_t in[ATTACH_RECORD_MAX_BYTES];
	uint8_t out[OPENING_BYTES + ATTACH_RECORD_MAX_BYTES];
};

/* Begins as initiator: out[0..out_len) is to be sent. attach is copied. WIRE_VIOLATION when its subdir is too
 * long. */
enum wire_rc handshake_initiate(struct handshake *hs, const struct hello *mine,
				const struct frame_attach *attach, struct wire_err *err);
/* Begins as responder: nothing is sent before the peer's first bytes are right. */
void handshake_respond(struct handshake *hs, const struct hello *mine);

/* Bytes to read next, never more than belong to the handshake; 0 when it wants none. */
size_t handshake_need(const struct handshake *hs);

/* Takes n <= handshake_need bytes. WIRE_MORE: go on; WIRE_OK: the state changed (look at it). WIRE_NOT_HAUL,
 * WIRE_VERSION, WIRE_DAMAGED, WIRE_VIOLATION, WIRE_REFUSED end it; out may hold a last answer to send. */
enum wire_rc handshake_feed(struct handshake *hs, const uint8_t *p, size_t n, struct wire_err *err);

/* Responder, in HS_DECIDE: append the answer to out. */
void handshake_welcome(struct handshake *hs, const struct frame_welcome *w);
void handshake_refuse(struct handshake *hs, uint16_t code, const char *text);

/* Tells that the first n bytes of out were sent. */
void handshake_sent(struct handshake *hs, size_t n);

#endif
