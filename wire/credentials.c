#include "wire/credentials.h"

#include <sodium.h>
#include <string.h>

#define PREFIX_BYTES 16u

static void derive(const uint8_t key[static AUTH_KEY_BYTES], const char *label, uint8_t *out, size_t n)
{
	crypto_generichash(out, n, (const uint8_t *)label, strlen(label), key, AUTH_KEY_BYTES);
}

void credential_from_key(struct credential *c, const uint8_t key[static AUTH_KEY_BYTES])
{
	*c = (struct credential){0};
	derive(key, "haul/1 psk", c->psk, sizeof c->psk);
	derive(key, "haul/1 gate", c->gatekey, sizeof c->gatekey);
	derive(key, "haul/1 owner", c->owner, sizeof c->owner);
}

void credential_from_peer(struct credential *c, const uint8_t pub[static AUTH_KEY_BYTES], const uint8_t *key)
{
	*c = (struct credential){0};
	memcpy(c->pub, pub, sizeof c->pub);
	derive(pub, "haul/1 gate", c->gatekey, sizeof c->gatekey);
	derive(pub, "haul/1 owner", c->owner, sizeof c->owner);
	if (key)
		derive(key, "haul/1 psk", c->psk, sizeof c->psk);
}

/* A code is for one session, and the next has another: whoever was told one may go on with what an earlier one
 * has left unfinished, so they all are one owner. */
void credential_of_code(struct credential *c)
{
	static const char label[] = "haul/1 owner code";
	*c = (struct credential){0};
	crypto_generichash(c->owner, sizeof c->owner, (const uint8_t *)label, sizeof label - 1, NULL, 0);
}

void credential_code_key(const uint8_t isk[static 64], uint8_t key[static AUTH_KEY_BYTES])
{
	static const char label[] = "haul/1 cpace";
	crypto_generichash(key, AUTH_KEY_BYTES, (const uint8_t *)label, sizeof label - 1, isk, 64);
}

void credentials_init(struct credentials *c, enum auth_mode mode, const char *realm,
		      const struct credential *party, size_t count, const uint8_t *secret)
{
	static const char label[] = "haul/1 realm"; /* its NUL divides it from the name */
	crypto_generichash_state st;
	*c = (struct credentials){.mode = mode, .party = party, .count = count, .name = realm};
	crypto_generichash_init(&st, NULL, 0, sizeof c->realm);
	crypto_generichash_update(&st, (const uint8_t *)label, sizeof label);
	crypto_generichash_update(&st, (const uint8_t *)realm, strlen(realm));
	crypto_generichash_final(&st, c->realm, sizeof c->realm);
	if (mode == AUTH_PEER) {
		noise_pair_from(&c->own, secret);
		credential_from_peer(&c->self, c->own.pub, NULL);
	}
	if (mode == AUTH_CODE)
		memcpy(c->prs, secret, sizeof c->prs);
}

void credentials_wipe(struct credentials *c)
{
	sodium_memzero(c, sizeof *c);
}

void credential_gate(const uint8_t gatekey[static AUTH_KEY_BYTES], const uint8_t *prefix, size_t prefix_len,
		     const uint8_t ephemeral[static AUTH_KEY_BYTES], uint8_t gate[static GATE_BYTES])
{
	crypto_generichash_state st;
	crypto_generichash_init(&st, gatekey, AUTH_KEY_BYTES, GATE_BYTES);
	crypto_generichash_update(&st, prefix, prefix_len);
	crypto_generichash_update(&st, ephemeral, AUTH_KEY_BYTES);
	crypto_generichash_final(&st, gate, GATE_BYTES);
}

void credentials_prologue(const struct credentials *c, const uint8_t prefix[static 16],
			  uint8_t out[static PROLOGUE_BYTES])
{
	memcpy(out, "haul/1\0", 8);
	memcpy(out + 8, prefix, PREFIX_BYTES);
	memcpy(out + 8 + PREFIX_BYTES, c->realm, sizeof c->realm);
}

const struct credential *credentials_by_gate(const struct credentials *c, const uint8_t prefix[static 16],
					     const uint8_t ephemeral[static AUTH_KEY_BYTES],
					     const uint8_t gate[static GATE_BYTES])
{
	const struct credential *list = c->mode == AUTH_PEER ? &c->self : c->party, *found = NULL;
	size_t count = c->mode == AUTH_PEER ? 1 : c->count;
	for (size_t i = 0; i < count; i++) {
		uint8_t expected[GATE_BYTES];
		credential_gate(list[i].gatekey, prefix, PREFIX_BYTES, ephemeral, expected);
		if (sodium_memcmp(expected, gate, sizeof expected) == 0)
			found = &list[i];
	}
	return found;
}

const struct credential *credentials_by_pub(const struct credentials *c,
					    const uint8_t pub[static AUTH_KEY_BYTES])
{
	const struct credential *found = NULL;
	for (size_t i = 0; i < c->count; i++)
		if (sodium_memcmp(c->party[i].pub, pub, AUTH_KEY_BYTES) == 0)
			found = &c->party[i];
	return found;
}

void credentials_channel_id(const uint8_t hash[static NOISE_HASH_BYTES], uint8_t id[static CHANNEL_ID_BYTES])
{
	static const char label[] = "haul/1 cb";
	crypto_generichash(id, CHANNEL_ID_BYTES, (const uint8_t *)label, sizeof label - 1, hash,
			   NOISE_HASH_BYTES);
}
