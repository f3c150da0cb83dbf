/* The two Noise messages of modes 1 to 3, and the keys that come out of them. */
#include "wire/handshake_impl.h"

#include <sodium.h>
#include <string.h>

static void begin_noise(struct handshake *hs, const uint8_t prefix[static PREFIX_BYTES],
			const uint8_t *peer_pub, const uint8_t ephemeral[static AUTH_KEY_BYTES])
{
	uint8_t prologue[PROLOGUE_BYTES];
	credentials_prologue(hs->own, prefix, prologue);
	bool peer = hs->mode == AUTH_PEER;
	noise_begin(&hs->noise, peer ? NOISE_IKPSK2 : NOISE_NNPSK0, hs->initiator, prologue, sizeof prologue,
		    peer ? &hs->own->own : NULL, peer ? peer_pub : NULL, ephemeral);
}

/* Both messages are through: the keys of the records; nothing of the handshake is needed any more. */
static void end_noise(struct handshake *hs)
{
	uint8_t i2r[SEAL_KEY_BYTES], r2i[SEAL_KEY_BYTES];
	uint32_t every = hs->rekey_every ? hs->rekey_every : SEAL_REKEY_RECORDS;
	noise_split(&hs->noise, i2r, r2i);
	seal_init_aead(&hs->tx, hs->initiator ? i2r : r2i, every);
	seal_init_aead(&hs->rx, hs->initiator ? r2i : i2r, every);
	credentials_channel_id(hs->noise.h, hs->channel_id);
	sodium_memzero(i2r, sizeof i2r);
	sodium_memzero(r2i, sizeof r2i);
	noise_wipe(&hs->noise);
	sodium_memzero(&hs->code, sizeof hs->code);
	hs->own = NULL;
}

enum wire_rc hs_refuse_silently(struct handshake *hs, const char *check, struct wire_err *err)
{
	hs->own = NULL;
	hs->peer = (struct hello){0};
	return hs_fail(hs, err, WIRE_AUTH, check, 0);
}

/* ---- M1 ---- */

enum wire_rc hs_put_m1(struct handshake *hs, const uint8_t ephemeral[static AUTH_KEY_BYTES],
		       struct wire_err *err)
{
	const struct credential *party = hs->mode == AUTH_CODE ? &hs->code.party : hs->own->party;
	uint8_t payload[HELLO_BYTES];
	struct hello mine = hs->mine;
	mine.credit = 0; /* nothing is sent before M2: the field has no use in this direction */
	mine.suites = mine.suites ? mine.suites : SUITE_CHACHAPOLY;
	struct wr w = wr_init(hs->out, PREFIX_BYTES);
	hs_put_prefix(&w, hs->mode);
	begin_noise(hs, hs->out, party->pub, ephemeral);
	memcpy(hs->noise.psk, party->psk, sizeof hs->noise.psk);
	memcpy(hs->owner, hs->mode == AUTH_PEER ? hs->own->self.owner : party->owner, sizeof hs->owner);
	credential_gate(party->gatekey, hs->out, PREFIX_BYTES, hs->noise.e.pub, hs->out + PREFIX_BYTES);
	w = wr_init(payload, sizeof payload);
	hs_put_hello(&w, &mine);
	size_t at = PREFIX_BYTES + GATE_BYTES, len = noise_overhead(&hs->noise) + sizeof payload;
	if (!noise_write(&hs->noise, payload, sizeof payload, hs->out + at))
		return hs_fail(hs, err, WIRE_AUTH, "the peer's public key is not usable", 0);
	hs->out_len = at + len;
	return WIRE_OK;
}

enum wire_rc hs_read_m1(struct handshake *hs, struct wire_err *err)
{
	uint8_t payload[HELLO_BYTES], ephemeral[AUTH_KEY_BYTES];
	const uint8_t *gate = hs->in + PREFIX_BYTES, *message = gate + GATE_BYTES;
	const struct credential *party;
	if (hs->mode == AUTH_CODE)
		party = hs_code_fits(hs) ? &hs->code.party : NULL;
	else
		party = credentials_by_gate(hs->own, hs->in, message, gate);
	if (!party)
		return hs_refuse_silently(hs, "the peer does not have the key", err);
	memcpy(ephemeral, hs->noise.e.secret, sizeof ephemeral);
	begin_noise(hs, hs->in, NULL, ephemeral);
	sodium_memzero(ephemeral, sizeof ephemeral);
	if (hs->mode != AUTH_PEER)
		memcpy(hs->noise.psk, party->psk, sizeof hs->noise.psk);
	if (!noise_read(&hs->noise, message, hs->in_len - PREFIX_BYTES - GATE_BYTES, payload))
		return hs_refuse_silently(hs, "the peer's first message does not open", err);
	if (hs->mode == AUTH_PEER) {
		party = credentials_by_pub(hs->own, hs->noise.rs);
		if (!party)
			return hs_refuse_silently(hs, "the peer is not among the authorised ones", err);
		memcpy(hs->noise.psk, party->psk, sizeof hs->noise.psk);
	}
	memcpy(hs->owner, party->owner, sizeof hs->owner);
	struct rd r = rd_init(payload, sizeof payload);
	hs_get_hello(&r, &hs->peer);
	if (hs->peer.credit || !(hs->peer.suites & SUITE_CHACHAPOLY))
		return hs_refuse_silently(hs, "reserved bytes of M1, or no cipher in common", err);
	enum wire_rc rc = hs_check_hello(hs, err);
	return rc == WIRE_OK ? hs_answer_hello(hs, err) : rc;
}

/* ---- M2 ---- */

/* minor u8, suite u8, zero u16, and on as in HELLO */
enum wire_rc hs_put_m2(struct handshake *hs, const struct hello *answer, struct wire_err *err)
{
	uint8_t payload[HELLO_BYTES], message[M2_BYTES];
	struct wr w = wr_init(payload, sizeof payload);
	wr_uint(&w, answer->minor_max, 1);
	wr_uint(&w, SUITE_CHACHAPOLY, 1);
	wr_uint(&w, 0, 2);
	wr_uint(&w, answer->offered, 2);
	wr_uint(&w, answer->required, 2);
	wr_uint(&w, answer->max_body, 4);
	wr_uint(&w, answer->credit, 4);
	wr_bytes(&w, answer->instance, sizeof answer->instance);
	if (!noise_write(&hs->noise, payload, sizeof payload, message))
		return hs_refuse_silently(hs, "the peer's key is not usable", err);
	hs_append(hs, message, sizeof message);
	end_noise(hs);
	return WIRE_OK;
}

enum wire_rc hs_read_m2(struct handshake *hs, struct wire_err *err)
{
	uint8_t payload[HELLO_BYTES];
	struct hello *h = &hs->peer;
	if (!noise_read(&hs->noise, hs->in, hs->in_len, payload))
		return hs_refuse_silently(hs, "the peer does not have the key", err);
	struct rd r = rd_init(payload, sizeof payload);
	h->minor_min = h->minor_max = rd_u8(&r);
	h->suites = rd_u8(&r);
	uint16_t zero = rd_u16(&r);
	h->offered = rd_u16(&r);
	h->required = rd_u16(&r);
	h->max_body = rd_u32(&r);
	h->credit = rd_u32(&r);
	rd_fix(&r, h->instance, sizeof h->instance);
	if (zero || h->suites != SUITE_CHACHAPOLY)
		return hs_fail(hs, err, WIRE_VIOLATION,
			       "reserved bytes of M2, or a cipher that was not offered", h->suites);
	enum wire_rc rc = hs_check_hello(hs, err);
	if (rc != WIRE_OK)
		return rc;
	end_noise(hs);
	hs_seal_record(hs, hs->held);
	hs->held = 0;
	return hs_take_hello(hs);
}
