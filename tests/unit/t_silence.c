/*
 * What the work that a refusal costs tells: nothing of which key it was, or whose. Counted, not timed: the comparisons
 * (which take the same time whatever they find) and the hashes they compare, with twenty keys or peers, one of which
 * fits, or none.
 */
#include "tests/unit/unit.h"

#include <sodium.h>

#include "tests/unit/mutate.h"
#include "wire/handshake.h"

#define MANY 20u

/* ---- counting, in place of libsodium's own ---- */

static struct work {
	unsigned compared, hashed, multiplied;
} work;

int sodium_memcmp(const void *const a, const void *const b, size_t n)
{
	const volatile unsigned char *x = a, *y = b;
	unsigned char differ = 0;
	work.compared++;
	for (size_t i = 0; i < n; i++)
		differ |= x[i] ^ y[i];
	return differ ? -1 : 0;
}

int crypto_generichash_final(crypto_generichash_state *state, unsigned char *out, const size_t n)
{
	work.hashed++;
	return crypto_generichash_blake2b_final(state, out, n);
}

int crypto_scalarmult(unsigned char *q, const unsigned char *n, const unsigned char *p)
{
	work.multiplied++;
	return crypto_scalarmult_curve25519(q, n, p);
}

/* ---- a listener, and who comes ---- */

static struct credential party[MANY];
static struct credentials listener;

static struct hello some_hello(void)
{
	return (struct hello){.minor_min = 1, .minor_max = 1, .max_body = RECORD_BODY_MAX_BYTES};
}

/* What the listener does with the first message of somebody with these credentials. */
static struct work greet(const struct credentials *own, uint64_t seed, enum wire_rc expected)
{
	static struct handshake i, r;
	struct hello hello = some_hello();
	struct frame_attach a = {.role = ROLE_SENDER, .fresh = 1};
	struct prng p = {seed};
	uint8_t secret[32];
	struct wire_err err = {0};
	prng_fill(&p, secret, sizeof secret);
	assert_int_equal(handshake_initiate_with(&i, &hello, &a, own, secret, &err), WIRE_OK);
	prng_fill(&p, secret, sizeof secret);
	handshake_respond_with(&r, &hello, &listener, secret);
	enum wire_rc rc = WIRE_MORE;
	work = (struct work){0};
	for (size_t at = 0; rc == WIRE_MORE && at < i.out_len;) {
		size_t n = handshake_need(&r);
		rc = handshake_feed(&r, i.out + at, n, &err);
		at += n;
	}
	assert_int_equal(rc, expected);
	assert_int_equal(r.out_len, expected == WIRE_OK ? M2_BYTES : 0);
	return work;
}

static void same_work(struct work a, struct work b, const char *what)
{
	if (memcmp(&a, &b, sizeof a) != 0)
		fail_msg("%s: %u comparisons, %u hashes, %u products, not %u, %u, %u", what, b.compared,
			 b.hashed, b.multiplied, a.compared, a.hashed, a.multiplied);
}

static void make_key(uint8_t key[static 32], unsigned number)
{
	prng_fill(&(struct prng){number + 1000}, key, 32);
}

/* Every key is tried, whichever fits; who has none of them costs exactly that and no more. */
static void which_key(void **state)
{
	(void)state;
	uint8_t key[32];
	struct work first = {0};
	for (unsigned k = 0; k < MANY; k++) {
		make_key(key, k);
		credential_from_key(&party[k], key);
	}
	credentials_init(&listener, AUTH_KEY, "", party, MANY, NULL);
	for (unsigned k = 0; k <= MANY + 5; k++) {
		struct credential one;
		struct credentials own;
		make_key(key, k);
		credential_from_key(&one, key);
		credentials_init(&own, AUTH_KEY, "", &one, 1, NULL);
		struct work w = greet(&own, k, k < MANY ? WIRE_OK : WIRE_AUTH);
		assert_int_equal(w.compared, MANY);
		if (k == 0 || k == MANY)
			first = w;
		same_work(first, w, k < MANY ? "a key that fits" : "a key that does not");
		if (k >= MANY) {
			assert_int_equal(w.hashed, MANY);
			assert_int_equal(w.multiplied, 0);
		}
	}
}

/* The same of peers; who is not listed costs as much whoever he is, a listed one as much whichever he is. */
static void which_peer(void **state)
{
	(void)state;
	uint8_t secret[32], own_secret[32];
	struct noise_pair pair;
	struct work first = {0};
	make_key(own_secret, 999);
	for (unsigned k = 0; k < MANY; k++) {
		make_key(secret, k);
		noise_pair_from(&pair, secret);
		credential_from_peer(&party[k], pair.pub, NULL);
	}
	credentials_init(&listener, AUTH_PEER, "", party, MANY, own_secret);
	for (unsigned k = 0; k <= MANY + 5; k++) {
		struct credential to;
		struct credentials own;
		make_key(secret, k);
		credential_from_peer(&to, listener.own.pub, NULL);
		credentials_init(&own, AUTH_PEER, "", &to, 1, secret);
		struct work w = greet(&own, k, k < MANY ? WIRE_OK : WIRE_AUTH);
		assert_int_equal(w.compared, 1 + MANY); /* the gate, and the list */
		if (k == 0 || k == MANY)
			first = w;
		same_work(first, w, k < MANY ? "a listed peer" : "somebody else");
	}
}

/* A session id is made of the owner first and only then looked for: one that belongs to another owner is as unknown,
 * by the same work, as one that nobody has. */
static void whose_session(void **state)
{
	(void)state;
	struct handshake hs = {.mode = AUTH_PEER};
	uint8_t bound[3][16];
	for (unsigned k = 0; k < 3; k++) {
		hs.owner[0] = k == 0 ? 1 : 2; /* alice, bob; bob with an id that there is not */
		hs.attach.session[0] = k == 2;
		handshake_session_id(&hs, bound[k]);
	}
	for (unsigned k = 0; k < 3; k++)
		assert_memory_not_equal(bound[k], bound[(k + 1) % 3], 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(which_key),
		cmocka_unit_test(which_peer),
		cmocka_unit_test(whose_session),
	};
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
