#include "wire/noise.h"

#include <sodium.h>
#include <string.h>

#include "wire/cursor.h"

#define HMAC_BLOCK_BYTES 128u
#define TOKENS_MAX	 4u

enum token { T_END, T_E, T_S, T_EE, T_ES, T_SE, T_SS, T_PSK };

static const struct {
	const char *name;
	bool responder_known; /* pre-message: <- s */
	uint8_t message[2][TOKENS_MAX + 1];
} patterns[] = {
	[NOISE_NNPSK0] = {"Noise_NNpsk0_25519_ChaChaPoly_BLAKE2b", false, {{T_PSK, T_E}, {T_E, T_EE}}},
	[NOISE_IKPSK2] = {"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2b",
			  true,
			  {{T_E, T_ES, T_S, T_SS}, {T_E, T_EE, T_SE, T_PSK}}},
};

/* ---- hashing ---- */

struct piece {
	const void *p;
	size_t n;
};

static void hash(const struct piece *pieces, size_t count, uint8_t out[static NOISE_HASH_BYTES])
{
	crypto_generichash_state st;
	crypto_generichash_init(&st, NULL, 0, NOISE_HASH_BYTES);
	for (size_t i = 0; i < count; i++)
		crypto_generichash_update(&st, pieces[i].p, pieces[i].n);
	crypto_generichash_final(&st, out, NOISE_HASH_BYTES);
}

/* HMAC over BLAKE2b, which is not keyed BLAKE2b. */
static void hmac(const uint8_t key[static NOISE_HASH_BYTES], struct piece a, struct piece b,
		 uint8_t out[static NOISE_HASH_BYTES])
{
	uint8_t pad[HMAC_BLOCK_BYTES], inner[NOISE_HASH_BYTES];
	memset(pad, 0x36, sizeof pad);
	for (size_t i = 0; i < NOISE_HASH_BYTES; i++)
		pad[i] ^= key[i];
	hash((struct piece[]){{pad, sizeof pad}, a, b}, 3, inner);
	for (size_t i = 0; i < sizeof pad; i++)
		pad[i] ^= 0x36 ^ 0x5c;
	hash((struct piece[]){{pad, sizeof pad}, {inner, sizeof inner}}, 2, out);
	sodium_memzero(pad, sizeof pad);
	sodium_memzero(inner, sizeof inner);
}

/* HKDF with `count` outputs of NOISE_HASH_BYTES. */
static void hkdf(const uint8_t ck[static NOISE_HASH_BYTES], struct piece input, size_t count,
		 uint8_t out[][NOISE_HASH_BYTES])
{
	uint8_t temp[NOISE_HASH_BYTES];
	hmac(ck, input, (struct piece){NULL, 0}, temp);
	for (size_t i = 0; i < count; i++) {
		uint8_t number = (uint8_t)(i + 1);
		struct piece last = {i ? out[i - 1] : NULL, i ? NOISE_HASH_BYTES : 0};
		hmac(temp, last, (struct piece){&number, 1}, out[i]);
	}
	sodium_memzero(temp, sizeof temp);
}

/* ---- the symmetric state ---- */

static void mix_hash(struct noise *n, const void *p, size_t len)
{
	hash((struct piece[]){{n->h, sizeof n->h}, {p, len}}, 2, n->h);
}

static void set_key(struct noise *n, const uint8_t key[static NOISE_KEY_BYTES])
{
	memcpy(n->k, key, NOISE_KEY_BYTES);
	n->n = 0;
}

static void mix_key(struct noise *n, const uint8_t input[static NOISE_KEY_BYTES])
{
	uint8_t out[2][NOISE_HASH_BYTES];
	hkdf(n->ck, (struct piece){input, NOISE_KEY_BYTES}, 2, out);
	memcpy(n->ck, out[0], sizeof n->ck);
	set_key(n, out[1]);
	sodium_memzero(out, sizeof out);
}

static void mix_psk(struct noise *n)
{
	uint8_t out[3][NOISE_HASH_BYTES];
	hkdf(n->ck, (struct piece){n->psk, NOISE_KEY_BYTES}, 3, out);
	memcpy(n->ck, out[0], sizeof n->ck);
	mix_hash(n, out[1], NOISE_HASH_BYTES);
	set_key(n, out[2]);
	sodium_memzero(out, sizeof out);
}

static void put_nonce(uint8_t nonce[static 12], uint64_t number)
{
	struct wr w = wr_init(nonce, 12);
	wr_uint(&w, 0, 4);
	wr_uint(&w, number, 8);
}

/* There is always a key: a pattern with a psk mixes one in with its first token, whether psk or e. */
static void encrypt_and_hash(struct noise *n, const uint8_t *p, size_t len, uint8_t *out)
{
	uint8_t nonce[12];
	put_nonce(nonce, n->n++);
	crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, p, len, n->h, sizeof n->h, NULL, nonce, n->k);
	mix_hash(n, out, len + NOISE_TAG_BYTES);
}

static bool decrypt_and_hash(struct noise *n, const uint8_t *p, size_t len, uint8_t *out)
{
	uint8_t nonce[12];
	put_nonce(nonce, n->n++);
	if (crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, p, len, n->h, sizeof n->h, nonce,
						      n->k) != 0)
		return false;
	mix_hash(n, p, len);
	return true;
}

/* ---- the handshake ---- */

void noise_pair_from(struct noise_pair *pair, const uint8_t secret[static NOISE_KEY_BYTES])
{
	memcpy(pair->secret, secret, NOISE_KEY_BYTES);
	crypto_scalarmult_base(pair->pub, pair->secret);
}

void noise_begin(struct noise *n, enum noise_pattern pattern, bool initiator, const uint8_t *prologue,
		 size_t prologue_len, const struct noise_pair *s, const uint8_t *rs,
		 const uint8_t ephemeral[static NOISE_KEY_BYTES])
{
	const char *name = patterns[pattern].name;
	*n = (struct noise){.pattern = pattern, .initiator = initiator};
	memcpy(n->h, name, strlen(name)); /* shorter than a hash: padded with zeros */
	memcpy(n->ck, n->h, sizeof n->ck);
	mix_hash(n, prologue, prologue_len);
	noise_pair_from(&n->e, ephemeral);
	if (s)
		n->s = *s;
	if (rs)
		memcpy(n->rs, rs, sizeof n->rs);
	if (patterns[pattern].responder_known)
		mix_hash(n, initiator ? n->rs : n->s.pub, NOISE_KEY_BYTES);
}

/* Mixes in a shared secret; false when the peer's key is of low order. */
static bool mix_dh(struct noise *n, const uint8_t *secret, const uint8_t *pub)
{
	uint8_t shared[NOISE_KEY_BYTES];
	bool good = crypto_scalarmult(shared, secret, pub) == 0;
	if (good)
		mix_key(n, shared);
	sodium_memzero(shared, sizeof shared);
	return good;
}

/* The tokens that do not travel. The first letter is the initiator's key, the second the responder's. */
static bool mix_token(struct noise *n, uint8_t token)
{
	bool mine_static =
		token == T_SS || (token == T_SE && n->initiator) || (token == T_ES && !n->initiator);
	bool peers_static =
		token == T_SS || (token == T_ES && n->initiator) || (token == T_SE && !n->initiator);
	if (token != T_PSK)
		return mix_dh(n, (mine_static ? &n->s : &n->e)->secret, peers_static ? n->rs : n->re);
	mix_psk(n);
	return true;
}

/* An ephemeral key is mixed in as a key too in every pattern with a psk. */
static void mix_ephemeral(struct noise *n, const uint8_t *pub)
{
	mix_hash(n, pub, NOISE_KEY_BYTES);
	mix_key(n, pub);
}

size_t noise_overhead(const struct noise *n)
{
	size_t bytes = NOISE_TAG_BYTES;
	for (const uint8_t *t = patterns[n->pattern].message[n->message]; *t; t++) {
		if (*t == T_E)
			bytes += NOISE_KEY_BYTES;
		if (*t == T_S)
			bytes += NOISE_KEY_BYTES + NOISE_TAG_BYTES;
	}
	return bytes;
}

bool noise_write(struct noise *n, const uint8_t *payload, size_t payload_len, uint8_t *out)
{
	for (const uint8_t *t = patterns[n->pattern].message[n->message]; *t; t++) {
		if (*t == T_E) {
			memcpy(out, n->e.pub, NOISE_KEY_BYTES);
			mix_ephemeral(n, n->e.pub);
			out += NOISE_KEY_BYTES;
		} else if (*t == T_S) {
			encrypt_and_hash(n, n->s.pub, NOISE_KEY_BYTES, out);
			out += NOISE_KEY_BYTES + NOISE_TAG_BYTES;
		} else if (!mix_token(n, *t)) {
			return false;
		}
	}
	encrypt_and_hash(n, payload, payload_len, out);
	n->message++;
	return true;
}

bool noise_read(struct noise *n, const uint8_t *message, size_t len, uint8_t *payload)
{
	if (len < noise_overhead(n))
		return false;
	struct rd r = rd_init(message, len);
	for (const uint8_t *t = patterns[n->pattern].message[n->message]; *t; t++) {
		if (*t == T_E) {
			rd_fix(&r, n->re, sizeof n->re);
			mix_ephemeral(n, n->re);
		} else if (*t == T_S) {
			size_t sealed = NOISE_KEY_BYTES + NOISE_TAG_BYTES;
			if (!decrypt_and_hash(n, rd_take(&r, sealed), sealed, n->rs))
				return false;
		} else if (!mix_token(n, *t)) {
			return false;
		}
	}
	n->message++;
	return decrypt_and_hash(n, r.p, r.n, payload);
}

void noise_split(const struct noise *n, uint8_t i2r[static NOISE_KEY_BYTES],
		 uint8_t r2i[static NOISE_KEY_BYTES])
{
	uint8_t out[2][NOISE_HASH_BYTES];
	hkdf(n->ck, (struct piece){NULL, 0}, 2, out);
	memcpy(i2r, out[0], NOISE_KEY_BYTES);
	memcpy(r2i, out[1], NOISE_KEY_BYTES);
	sodium_memzero(out, sizeof out);
}

void noise_rekey(uint8_t key[static NOISE_KEY_BYTES])
{
	static const uint8_t zeros[NOISE_KEY_BYTES];
	uint8_t nonce[12], out[NOISE_KEY_BYTES + NOISE_TAG_BYTES];
	put_nonce(nonce, UINT64_MAX);
	crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, zeros, sizeof zeros, NULL, 0, NULL, nonce, key);
	memcpy(key, out, NOISE_KEY_BYTES);
	sodium_memzero(out, sizeof out);
}

void noise_wipe(struct noise *n)
{
	sodium_memzero(n, sizeof *n);
}
