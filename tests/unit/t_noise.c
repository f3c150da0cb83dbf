/*
 * Noise as published: every vector for the two suites haul uses, as writer and as reader; keys of low order;
 * flipped bits. The protocol's own vectors, which tests/unit/vectors.py derives a second time, are those of
 * t_secure.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <sodium.h>

#include "tests/unit/hex.h"
#include "tests/unit/noise_vectors.h"
#include "wire/noise.h"

#define MESSAGE_MAX 512
#define VECTORS	    (sizeof noise_vectors / sizeof noise_vectors[0])

struct duo {
	struct noise i, r;
};

static struct duo begin(const struct noise_vector *v)
{
	struct duo d;
	uint8_t prologue[MESSAGE_MAX], secret[32], ephemeral[32], rs[32];
	struct noise_pair s;
	bool statics = v->init_static[0] != 0;
	size_t n = from_hex(v->prologue, prologue, sizeof prologue);

	if (statics) {
		from_hex(v->init_static, secret, 32);
		from_hex(v->init_remote_static, rs, 32);
		noise_pair_from(&s, secret);
	}
	from_hex(v->init_ephemeral, ephemeral, 32);
	noise_begin(&d.i, v->pattern, true, prologue, n, statics ? &s : NULL, statics ? rs : NULL, ephemeral);
	from_hex(v->psk, d.i.psk, 32);

	if (statics) {
		from_hex(v->resp_static, secret, 32);
		noise_pair_from(&s, secret);
		assert_memory_equal(s.pub, rs, 32);
	}
	from_hex(v->resp_ephemeral, ephemeral, 32);
	noise_begin(&d.r, v->pattern, false, prologue, n, statics ? &s : NULL, NULL, ephemeral);
	from_hex(v->psk, d.r.psk, 32);
	return d;
}

/* One handshake message, written by one side and read by the other. */
static void shake(const struct noise_vector *v, size_t k, struct noise *from, struct noise *to)
{
	uint8_t payload[MESSAGE_MAX], expected[MESSAGE_MAX], got[MESSAGE_MAX], back[MESSAGE_MAX];
	size_t n = from_hex(v->message[k].payload, payload, sizeof payload);
	size_t len = from_hex(v->message[k].ciphertext, expected, sizeof expected);
	assert_int_equal(noise_overhead(from) + n, len);
	assert_int_equal(noise_overhead(to) + n, len);
	assert_true(noise_write(from, payload, n, got));
	assert_memory_equal(got, expected, len);
	assert_true(noise_read(to, got, len, back));
	assert_memory_equal(back, payload, n);
	assert_memory_equal(from->h, to->h, sizeof from->h);
}

static void published_vectors(void **state)
{
	(void)state;
	for (size_t k = 0; k < VECTORS; k++) {
		const struct noise_vector *v = &noise_vectors[k];
		struct duo d = begin(v);
		uint8_t hash[64], key[2][32], again[2][32];
		shake(v, 0, &d.i, &d.r);
		shake(v, 1, &d.r, &d.i);
		assert_int_equal(from_hex(v->hash, hash, sizeof hash), 64);
		assert_memory_equal(d.i.h, hash, 64);
		noise_split(&d.i, key[0], key[1]);
		noise_split(&d.r, again[0], again[1]);
		assert_memory_equal(key, again, sizeof key);
		for (size_t m = 2; m < 6; m++) {
			uint8_t payload[MESSAGE_MAX], expected[MESSAGE_MAX], got[MESSAGE_MAX],
				nonce[12] = {0};
			size_t n = from_hex(v->message[m].payload, payload, sizeof payload);
			nonce[4] = (uint8_t)(m / 2 - 1);
			crypto_aead_chacha20poly1305_ietf_encrypt(got, NULL, payload, n, NULL, 0, NULL, nonce,
								  key[m % 2]);
			assert_int_equal(from_hex(v->message[m].ciphertext, expected, sizeof expected),
					 n + 16);
			assert_memory_equal(got, expected, n + 16);
		}
	}
}

static void every_flipped_bit_is_noticed(void **state)
{
	(void)state;
	for (size_t k = 0; k < VECTORS; k++) {
		const struct noise_vector *v = &noise_vectors[k];
		uint8_t m[2][MESSAGE_MAX], payload[MESSAGE_MAX];
		struct duo whole = begin(v);
		size_t n[2] = {from_hex(v->message[0].ciphertext, m[0], MESSAGE_MAX),
			       from_hex(v->message[1].ciphertext, m[1], MESSAGE_MAX)};
		assert_true(noise_write(&whole.i, (const uint8_t *)"", 0, payload));
		for (size_t side = 0; side < 2; side++)
			for (size_t bit = 0; bit < 8 * n[side]; bit++) {
				struct noise reader = side ? whole.i : whole.r;
				/* the top bit of a public key is no part of it, but of the transcript */
				m[side][bit / 8] ^= (uint8_t)(1u << bit % 8);
				if (noise_read(&reader, m[side], n[side], payload))
					fail_msg("vector %zu, message %zu, bit %zu", k, side, bit);
				m[side][bit / 8] ^= (uint8_t)(1u << bit % 8);
			}
		for (size_t len = 0; len < n[0]; len++) {
			struct noise reader = whole.r;
			assert_false(noise_read(&reader, m[0], len, payload));
		}
	}
}

/* Keys whose product with anything is zero, in every encoding below 2^255 and with the top bit set. */
static const char *const low_order[] = {
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
};

static void keys_of_low_order(void **state)
{
	(void)state;
	for (size_t k = 0; k < 2 * sizeof low_order / sizeof low_order[0]; k++) {
		uint8_t bad[32], out[MESSAGE_MAX], payload[MESSAGE_MAX];
		from_hex(low_order[k / 2], bad, 32);
		bad[31] |= k % 2 ? 0x80 : 0;

		/* as the responder's static key, and as the initiator's ephemeral one */
		struct duo d = begin(&noise_vectors[1]);
		memcpy(d.i.rs, bad, 32);
		assert_false(noise_write(&d.i, (const uint8_t *)"", 0, out));
		d = begin(&noise_vectors[0]);
		assert_true(noise_write(&d.i, (const uint8_t *)"", 0, out));
		assert_true(noise_read(&d.r, out, 48, payload));
		memcpy(d.r.re, bad, 32);
		assert_false(noise_write(&d.r, (const uint8_t *)"", 0, out));
		/* a message that carries it is read until it has to be multiplied */
		d = begin(&noise_vectors[1]);
		memcpy(out, bad, 32);
		assert_false(noise_read(&d.r, out, 96, payload));
	}
}

static void another_psk_prologue_or_key(void **state)
{
	(void)state;
	for (size_t k = 0; k < VECTORS; k++) {
		uint8_t out[MESSAGE_MAX], payload[MESSAGE_MAX];
		struct duo d = begin(&noise_vectors[k]);
		size_t n = noise_overhead(&d.i);
		d.r.h[0] ^= 1;
		assert_true(noise_write(&d.i, (const uint8_t *)"", 0, out));
		assert_false(noise_read(&d.r, out, n, payload));

		d = begin(&noise_vectors[k]);
		d.r.psk[31] ^= 1;
		assert_true(noise_write(&d.i, (const uint8_t *)"", 0, out));
		bool first = noise_read(&d.r, out, n, payload);
		assert_int_equal(first, noise_vectors[k].pattern == NOISE_IKPSK2);
		if (first) { /* psk2 is mixed into the answer */
			n = noise_overhead(&d.r);
			assert_true(noise_write(&d.r, (const uint8_t *)"", 0, out));
			assert_false(noise_read(&d.i, out, n, payload));
		}
	}
}

static void rekey_is_the_encryption_of_zeros(void **state)
{
	(void)state;
	uint8_t key[32] = {1, 2, 3}, before[32], nonce[12], out[48];
	static const uint8_t zeros[32];
	memcpy(before, key, 32);
	memset(nonce, 0, 4);
	memset(nonce + 4, 0xff, 8);
	crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, zeros, 32, NULL, 0, NULL, nonce, before);
	noise_rekey(key);
	assert_memory_equal(key, out, 32);
	assert_memory_not_equal(key, before, 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_vectors),
		cmocka_unit_test(every_flipped_bit_is_noticed),
		cmocka_unit_test(keys_of_low_order),
		cmocka_unit_test(another_psk_prologue_or_key),
		cmocka_unit_test(rekey_is_the_encryption_of_zeros),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
