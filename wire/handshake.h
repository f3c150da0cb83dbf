/*
 * The opening of a connection, sans-I/O and without memory of its own.
 *
 *   initiator                                   responder
 *   mode 0, plain
 *   prefix 16, HELLO 32, tag 8, ATTACH record ->
 *                            <- prefix 16, HELLO 32, tag 8, WELCOME or REFUSE record
 *   modes 1 (key) and 2 (peer): Noise, with HELLO inside
 *   M1: prefix 16, gate 16, e 32, [s 48], HELLO 48 ->
 *                                      <- M2: e 32, HELLO 48
 *   M3: ATTACH record, sealed ->
 *                                      <- WELCOME or REFUSE record, sealed
 *   mode 3 (code): CPace, then as mode 1 with the key that came of it
 *   C1: prefix 16, sid 16, Ya 32 ->
 *                                      <- C2: Yb 32
 *
 * Everything before ATTACH has a fixed size, so nothing is allocated for a stranger. handshake_need says how
 * many bytes to read next; reading exactly that many never takes a byte that belongs to the link, so the
 * connection can be handed to another process afterwards: the seals go with the struct. The mode is this
 * side's configuration. With keys a stranger is answered by silence, with one exception: who says in the open
 * that it has no key is told, by a bare prefix, that one is needed.
 *
 * The prefix, the listener's name and both HELLOs are in the transcript of modes 1 to 3, so whatever is
 * changed on the way makes the handshake fail. The responder knows the initiator from M3 on, not before.
 */
#ifndef HAUL_WIRE_HANDSHAKE_H
#define HAUL_WIRE_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/cpace.h"
#include "wire/credentials.h"
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
#define PAYLOAD_BYTES	   (HELLO_BYTES + NOISE_TAG_BYTES)
#define M1_KEY_BYTES	   (PREFIX_BYTES + GATE_BYTES + NOISE_KEY_BYTES + PAYLOAD_BYTES)
#define M1_PEER_BYTES	   (M1_KEY_BYTES + NOISE_KEY_BYTES + NOISE_TAG_BYTES)
#define M2_BYTES	   (NOISE_KEY_BYTES + PAYLOAD_BYTES)
#define CODE_SID_BYTES	   16u
#define C1_BYTES	   (PREFIX_BYTES + CODE_SID_BYTES + CPACE_POINT_BYTES)
#define C2_BYTES	   CPACE_POINT_BYTES
#define SUITE_CHACHAPOLY   0x0001u
/* the longest ATTACH, WELCOME or REFUSE record */
#define ATTACH_RECORD_MAX_BYTES                                                                              \
	(RECORD_LEN_BYTES + FRAME_HEAD_BYTES + 64u + SUBDIR_MAX_BYTES + RECORD_TAG_MAX_BYTES)

/* Feature bits: offered ones are used when both sides have them, required ones are refused by name when the
 * other side lacks them. 16 of each fit the HELLO. */
#define FEATURE_DELETE 0x0001u /* DELETE and STRAYS, entries of type 6 */
#define FEATURES_KNOWN FEATURE_DELETE

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
	HS_PREFIX,  /* wants the peer's prefix and HELLO, M1, M2 or C1 */
	HS_CODE,    /* mode 3: the initiator wants C2, the responder M1 */
	HS_ATTACH,  /* responder: wants ATTACH */
	HS_DECIDE,  /* responder: ATTACH is there, handshake_welcome or handshake_refuse comes next */
	HS_WELCOME, /* initiator: wants WELCOME or REFUSE */
	HS_DONE,
	HS_FAILED,
};

/* fresh of ATTACH */
enum { ATTACH_RESUME = 0, ATTACH_FRESH = 1, ATTACH_DRY_RUN = 2 };

struct handshake {
	enum handshake_state state;
	bool initiator;
	enum auth_mode mode;
	struct hello mine, peer;
	uint8_t minor;		       /* agreed */
	uint16_t features;	       /* agreed: offered by both */
	const struct credentials *own; /* NULL in mode 0, and once the keys are agreed */
	struct noise noise;
	struct {
		uint8_t sid[CODE_SID_BYTES], scalar[CPACE_SCALAR_BYTES], share[CPACE_POINT_BYTES];
		struct credential party; /* with the key that CPace made */
		bool wrong;		 /* responder: the peer has tried another code */
	} code;
	uint32_t rekey_every;		      /* records; SEAL_REKEY_RECORDS, but for tests */
	uint8_t owner[OWNER_BYTES];	      /* who the initiator is, zero in mode 0; a responder's word from
						 HS_DECIDE on */
	uint8_t channel_id[CHANNEL_ID_BYTES]; /* the same on both sides and nowhere else; modes 1 to 3 */
	struct seal tx, rx;		      /* the channel goes on with these */
	struct frame_attach attach;	      /* subdir looks into in[] */
	struct frame_welcome welcome;
	struct frame_refuse refuse; /* text looks into in[] */
	size_t in_len, in_want;
	size_t out_len;
	size_t held; /* behind out_len: ATTACH, not sealed yet */
	uint8_t in[ATTACH_RECORD_MAX_BYTES];
	uint8_t out[M1_PEER_BYTES + ATTACH_RECORD_MAX_BYTES];
};

/* Begins as initiator: out[0..out_len) is to be sent. attach is copied. WIRE_VIOLATION when its subdir is too
 * long. */
enum wire_rc handshake_initiate(struct handshake *hs, const struct hello *mine,
				const struct frame_attach *attach, struct wire_err *err);
/* Begins as responder: nothing is sent before the peer's first bytes are right. */
void handshake_respond(struct handshake *hs, const struct hello *mine);

/* The same with keys; own NULL or AUTH_NONE: mode 0. own is borrowed until the keys are agreed; ephemeral is
 * random and used once. ATTACH comes into out when M2 has been fed. WIRE_AUTH when the peer's key is no key.
 */
enum wire_rc handshake_initiate_with(struct handshake *hs, const struct hello *mine,
				     const struct frame_attach *attach, const struct credentials *own,
				     const uint8_t ephemeral[static AUTH_KEY_BYTES], struct wire_err *err);
void handshake_respond_with(struct handshake *hs, const struct hello *mine, const struct credentials *own,
			    const uint8_t ephemeral[static AUTH_KEY_BYTES]);

/* Responder, from HS_DECIDE on: the session's id as this side keeps it. With keys it is bound to the owner,
 * so that nobody else can ask for it; without, it is the one in ATTACH. */
void handshake_session_id(const struct handshake *hs, uint8_t id[static 16]);

/* Is it one that encrypts? */
bool handshake_is_sealed(const struct handshake *hs);
/* Must out be sent before the peer says more? In mode 0 it may wait for the answer. */
bool handshake_out_is_due(const struct handshake *hs);

/* Bytes to read next, never more than belong to the handshake; 0 when it wants none. */
size_t handshake_need(const struct handshake *hs);

/* Takes n <= handshake_need bytes. WIRE_MORE: go on; WIRE_OK: the state changed (look at it). WIRE_NOT_HAUL,
 * WIRE_VERSION, WIRE_AUTH, WIRE_DAMAGED, WIRE_VIOLATION, WIRE_REFUSED end it; out may hold a last answer to
 * send. */
enum wire_rc handshake_feed(struct handshake *hs, const uint8_t *p, size_t n, struct wire_err *err);

/* Responder, in HS_DECIDE: append the answer to out. */
void handshake_welcome(struct handshake *hs, const struct frame_welcome *w);
void handshake_refuse(struct handshake *hs, uint16_t code, const char *text);

/* Tells that the first n bytes of out were sent. */
void handshake_sent(struct handshake *hs, size_t n);

/* Forgets all keys; before its memory is given up. */
void handshake_wipe(struct handshake *hs);

#endif
