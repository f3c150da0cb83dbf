/* Mode 3: CPace makes a key of the code for this connection; what follows is mode 1 with that key. */
#include "wire/handshake_impl.h"

#include <sodium.h>
#include <string.h>

/* What one seed is spent on: the parts tell nothing of each other. */
static void derive(const uint8_t seed[static AUTH_KEY_BYTES], const char *label, uint8_t *out, size_t n)
{
	crypto_generichash(out, n, (const uint8_t *)label, strlen(label), seed, AUTH_KEY_BYTES);
}

/* CI = lv("haul/1 cpace") || lv(name), as in the draft; sid is set. Leaves scalar and share in code, and the
 * ephemeral key of M1 or M2 where it is looked for. */
static bool make_share(struct handshake *hs, const uint8_t seed[static AUTH_KEY_BYTES])
{
	static const char label[] = "\x0chaul/1 cpace";
	const char *name = hs->own->name;
	uint8_t ci[sizeof label + CODE_NAME_MAX_BYTES], g[CPACE_POINT_BYTES], entropy[CPACE_SCALAR_BYTES];
	size_t n = strnlen(name, CODE_NAME_MAX_BYTES);
	memcpy(ci, label, sizeof label - 1);
	ci[sizeof label - 1] = (uint8_t)n;
	memcpy(ci + sizeof label, name, n);
	cpace_generator((struct cpace_bytes){hs->own->prs, sizeof hs->own->prs},
			(struct cpace_bytes){ci, sizeof label + n},
			(struct cpace_bytes){hs->code.sid, CODE_SID_BYTES}, g);
	derive(seed, "haul/1 code scalar", entropy, sizeof entropy);
	bool made = cpace_share(g, entropy, hs->code.scalar, hs->code.share);
	derive(seed, "haul/1 code ephemeral", hs->noise.e.secret, AUTH_KEY_BYTES);
	sodium_memzero(g, sizeof g);
	sodium_memzero(entropy, sizeof entropy);
	return made;
}

/* Both shares are known: the party of this connection. */
static bool make_party(struct handshake *hs, const uint8_t *ya, const uint8_t *yb)
{
	uint8_t prefix[PREFIX_BYTES], isk[CPACE_ISK_BYTES], key[AUTH_KEY_BYTES];
	struct wr w = wr_init(prefix, sizeof prefix);
	hs_put_prefix(&w, AUTH_CODE);
	struct cpace_transcript t = {.ya = ya, .yb = yb, .ada = {prefix, sizeof prefix}};
	bool made = cpace_finish(hs->code.scalar, hs->initiator ? yb : ya,
				 (struct cpace_bytes){hs->code.sid, CODE_SID_BYTES}, &t, isk);
	if (made) {
		credential_code_key(isk, key);
		credential_from_key(&hs->code.party, key);
		memcpy(hs->code.party.owner, hs->own->party->owner, OWNER_BYTES);
	}
	sodium_memzero(hs->code.scalar, sizeof hs->code.scalar);
	sodium_memzero(isk, sizeof isk);
	sodium_memzero(key, sizeof key);
	return made;
}

enum wire_rc hs_put_c1(struct handshake *hs, const uint8_t seed[static AUTH_KEY_BYTES], struct wire_err *err)
{
	struct wr w = wr_init(hs->out, C1_BYTES);
	derive(seed, "haul/1 code sid", hs->code.sid, sizeof hs->code.sid);
	if (!make_share(hs, seed))
		return hs_refuse_silently(hs, "no share can be made of the code", err);
	hs_put_prefix(&w, AUTH_CODE);
	wr_bytes(&w, hs->code.sid, sizeof hs->code.sid);
	wr_bytes(&w, hs->code.share, sizeof hs->code.share);
	hs->out_len = C1_BYTES;
	return WIRE_OK;
}

/* Answers with C2. A peer with another code cannot be told from one with the right one yet. */
enum wire_rc hs_read_c1(struct handshake *hs, struct wire_err *err)
{
	uint8_t seed[AUTH_KEY_BYTES];
	const uint8_t *ya = hs->in + PREFIX_BYTES + CODE_SID_BYTES;
	memcpy(hs->code.sid, hs->in + PREFIX_BYTES, CODE_SID_BYTES);
	memcpy(seed, hs->noise.e.secret, sizeof seed);
	bool made = make_share(hs, seed) && make_party(hs, ya, hs->code.share);
	sodium_memzero(seed, sizeof seed);
	if (!made)
		return hs_refuse_silently(hs, "the peer's share is no point", err);
	hs_append(hs, hs->code.share, C2_BYTES);
	hs_expect(hs, HS_CODE, M1_KEY_BYTES);
	return WIRE_OK;
}

/* Goes on with M1, before the ATTACH that waits behind it. */
enum wire_rc hs_read_c2(struct handshake *hs, struct wire_err *err)
{
	uint8_t ephemeral[AUTH_KEY_BYTES];
	if (hs->out_len)
		return hs_fail(hs, err, WIRE_VIOLATION, "an answer before the question was sent",
			       hs->out_len);
	if (!make_party(hs, hs->code.share, hs->in))
		return hs_refuse_silently(hs, "the peer's share is no point", err);
	memmove(hs->out + M1_KEY_BYTES, hs->out, RECORD_LEN_BYTES + hs->held);
	memcpy(ephemeral, hs->noise.e.secret, sizeof ephemeral);
	enum wire_rc rc = hs_put_m1(hs, ephemeral, err);
	sodium_memzero(ephemeral, sizeof ephemeral);
	if (rc == WIRE_OK)
		hs_expect(hs, HS_PREFIX, M2_BYTES);
	return rc;
}

bool hs_code_fits(struct handshake *hs)
{
	uint8_t prefix[PREFIX_BYTES], gate[GATE_BYTES];
	struct wr w = wr_init(prefix, sizeof prefix);
	hs_put_prefix(&w, AUTH_CODE);
	credential_gate(hs->code.party.gatekey, prefix, sizeof prefix, hs->in + PREFIX_BYTES + GATE_BYTES,
			gate);
	hs->code.wrong = sodium_memcmp(gate, hs->in + PREFIX_BYTES, sizeof gate) != 0;
	return !hs->code.wrong && memcmp(prefix, hs->in, sizeof prefix) == 0;
}
