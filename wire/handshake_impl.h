/* handshake, what its two files share: handshake (states, mode 0), handshake_sealed (modes 1 and 2) and
 * handshake_code (mode 3). */
#ifndef HAUL_WIRE_HANDSHAKE_IMPL_H
#define HAUL_WIRE_HANDSHAKE_IMPL_H

#include "wire/cursor.h"
#include "wire/handshake.h"

/* of the prefix: Noise, 25519, ChaChaPoly, BLAKE2b */
#define HANDSHAKE_SUITE 1u

void hs_append(struct handshake *hs, const void *p, size_t n);
void hs_put_prefix(struct wr *w, enum auth_mode mode);
void hs_put_hello(struct wr *w, const struct hello *h);
void hs_get_hello(struct rd *r, struct hello *h);
enum wire_rc hs_check_hello(struct handshake *hs, struct wire_err *err);

/* The responder's answer to a HELLO that is right, and what the initiator makes of it. */
enum wire_rc hs_answer_hello(struct handshake *hs, struct wire_err *err);
enum wire_rc hs_take_hello(struct handshake *hs);

/* Seals the record that was laid behind out. */
void hs_seal_record(struct handshake *hs, size_t frame_len);

void hs_expect(struct handshake *hs, enum handshake_state state, size_t want);
enum wire_rc hs_fail(struct handshake *hs, struct wire_err *err, enum wire_rc rc, const char *check,
		     uint64_t at);

/* Modes 1 to 3. */
enum wire_rc hs_put_m1(struct handshake *hs, const uint8_t ephemeral[static AUTH_KEY_BYTES],
		       struct wire_err *err);
enum wire_rc hs_read_m1(struct handshake *hs, struct wire_err *err);
enum wire_rc hs_put_m2(struct handshake *hs, const struct hello *answer, struct wire_err *err);
enum wire_rc hs_read_m2(struct handshake *hs, struct wire_err *err);
/* Fails without a word to the peer. */
enum wire_rc hs_refuse_silently(struct handshake *hs, const char *check, struct wire_err *err);

/* Mode 3, before them. */
enum wire_rc hs_put_c1(struct handshake *hs, const uint8_t seed[static AUTH_KEY_BYTES], struct wire_err *err);
enum wire_rc hs_read_c1(struct handshake *hs, struct wire_err *err);
enum wire_rc hs_read_c2(struct handshake *hs, struct wire_err *err);
/* Is M1 of somebody who has the code? */
bool hs_code_fits(struct handshake *hs);

#endif
