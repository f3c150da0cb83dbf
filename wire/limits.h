/* Every bound of the protocol, with its unit and why it is what it is. */
#ifndef HAUL_WIRE_LIMITS_H
#define HAUL_WIRE_LIMITS_H

#define CHUNK_MIN_BYTES	    (4u << 10)
#define CHUNK_DEFAULT_BYTES (1u << 20)
#define CHUNK_MAX_BYTES	    (4u << 20)

/* type, flags, zero, body length, cost, offset */
#define FRAME_HEAD_BYTES 20u
#define RECORD_LEN_BYTES 4u
/* room for the longest tag: XXH3-64 takes 8, Poly1305 16 */
#define RECORD_TAG_MAX_BYTES 16u
/* fields in front of a payload: DATA has 37; the rest is for what may come */
#define MESSAGE_FIXED_MAX_BYTES 64u

/* A stored body is at most its raw bytes and the fixed fields: chunks that do not shrink are stored raw. */
#define BODY_SLACK_BYTES      256u
#define RECORD_BODY_MAX_BYTES (CHUNK_MAX_BYTES + BODY_SLACK_BYTES)

/* Before the handshake is answered the initiator may send this much of its stream. */
#define EARLY_CREDIT_BYTES   (64u << 10)
#define WINDOW_DEFAULT_BYTES (64u << 20)
#define WINDOW_MAX_BYTES     (1ull << 40)
/* what a peer may send before it has been granted anything: less cannot be asked for */
#define WINDOW_MIN_BYTES EARLY_CREDIT_BYTES
/* Unacked messages a direction: bounds what many tiny messages cost beside their bytes. */
#define LINK_MESSAGES_MAX 4096u

#define PATH_MAX_BYTES	  4096u
/* of ATTACH: small, because it is held for strangers */
#define SUBDIR_MAX_BYTES      1024u
#define REASON_TEXT_MAX_BYTES 256u
/* Entries in one OFFER, and entries that may wait for their result. */
#define OFFER_ENTRIES_MAX 512u
#define OPEN_ENTRIES_MAX  16384u
#define PACK_FILES_MAX	  1024u
#define HAVE_DIGESTS_MAX  2048u
#define KEEP_CHUNKS_MAX	  64u

/* What an entry may tell of itself besides: names and numbers of its owner, and attributes. */
#define META_MAX_BYTES	     (16u << 10)
#define META_ATTRIBUTES_MAX  64u
#define META_NAME_MAX_BYTES  255u
#define META_VALUE_MAX_BYTES (8u << 10)
/* of all files that wait for their result; a sender stays below the half of it */
#define META_OPEN_MAX_BYTES (32u << 20)

#define PING_AFTER_MS	    10000u
#define DEAD_AFTER_MS	    30000u
/* An ACK is sent at once when this much was taken since the last one, else after the delay. */
#define ACK_EVERY_BYTES (1u << 20)
#define ACK_DELAY_MS	5u

#endif
