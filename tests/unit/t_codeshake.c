/*
 * Handshakes with a code: in every cut into reads, every flipped bit of all five messages, wrong codes and names,
 * shares that are no points, other modes; who tried what is told apart.
 */
#include "tests/unit/unit.h"
#include "tests/unit/mutate.h"

#include <sodium.h>

#include "tests/unit/code_vectors.h"
#include "tests/unit/hex.h"
#include "wire/handshake.h"

static struct credential anybody, keyed;
static struct credentials right, wrong, elsewhere, key;

static int make_parties(void **state)
{
	(void)state;
	static const uint8_t prs[32] = {1, 2, 3}, other[32] = {1, 2, 4};
	credential_of_code(&anybody);
	credential_from_key(&keyed, prs);
	credentials_init(&right, AUTH_CODE, "", &anybody, 1, prs);
	credentials_init(&wrong, AUTH_CODE, "", &anybody, 1, other);
	credentials_init(&elsewhere, AUTH_CODE, "elsewhere", &anybody, 1, prs);
	credentials_init(&key, AUTH_KEY, "", &keyed, 1, NULL);
	return 0;
}

static struct hello some_hello(uint64_t seed)
{
	struct hello h = {.minor_min = 1, .minor_max = 1, .suites = SUITE_CHACHAPOLY, .max_body = 1u << 20};
	h.max_body = RECORD_BODY_MAX_BYTES;
	prng_fill(&(struct prng){seed}, h.instance, sizeof h.instance);
	return h;
}

struct duo {
	struct handshake i, r;
};

static struct duo begin(const struct credentials *ci, const struct credentials *cr, uint64_t seed)
{
	struct duo d;
	struct wire_err err = {0};
	uint8_t entropy[32];
	struct prng p = {seed};
	struct hello mine = some_hello(1), theirs = some_hello(2);
	struct frame_attach a = {.role = ROLE_SENDER, .fresh = 1, .received = 77, .granted = 1234567};
	a.subdir = (struct span){(const uint8_t *)"in/here", 7};
	prng_fill(&p, entropy, sizeof entropy);
	assert_int_equal(handshake_initiate_with(&d.i, &mine, &a, ci, entropy, &err), WIRE_OK);
	prng_fill(&p, entropy, sizeof entropy);
	handshake_respond_with(&d.r, &theirs, cr, entropy);
	return d;
}

/* Feeds p in pieces, as long as `to` wants any. */
static enum wire_rc feed(struct handshake *to, const uint8_t *p, size_t n, size_t chunk)
{
	enum wire_rc rc = WIRE_MORE;
	struct wire_err err = {0};
	while (n && handshake_need(to) && (rc == WIRE_MORE || rc == WIRE_OK)) {
		size_t k = handshake_need(to);
		k = k < chunk ? k : chunk;
		k = k < n ? k : n;
		rc = handshake_feed(to, p, k, &err);
		p += k;
		n -= k;
	}
	if (rc == WIRE_OK)
		assert_int_equal(n, 0);
	return rc;
}

static enum wire_rc say(struct handshake *from, struct handshake *to, size_t chunk)
{
	static uint8_t bytes[sizeof from->out];
	size_t n = from->out_len;
	memcpy(bytes, from->out, n);
	handshake_sent(from, n);
	return feed(to, bytes, n, chunk);
}

/* The first `messages` of C1, C2, M1, M2, M3 and the answer to it. */
enum { C1 = 1, C2, M1, M2, M3, ANSWER };

static void talk(struct duo *d, int messages, size_t chunk)
{
	static const size_t length[] = {
		[C1] = C1_BYTES, [C2] = C2_BYTES, [M1] = M1_KEY_BYTES, [M2] = M2_BYTES};
	for (int m = C1; m <= messages; m++) {
		if (m == ANSWER)
			handshake_welcome(&d->r, &(struct frame_welcome){.epoch = 3, .received = 42});
		struct handshake *from = m % 2 ? &d->i : &d->r, *to = m % 2 ? &d->r : &d->i;
		if (m < M3)
			assert_int_equal(from->out_len, length[m]);
		assert_int_equal(say(from, to, chunk), WIRE_OK);
	}
}

static void agreement(void **state)
{
	(void)state;
	for (size_t chunk = 1; chunk <= 200; chunk++) {
		struct duo d = begin(&right, &right, chunk);
		talk(&d, M3, chunk);
		assert_int_equal(d.r.state, HS_DECIDE);
		assert_int_equal(d.r.attach.subdir.n, 7);
		assert_memory_equal(d.r.attach.subdir.p, "in/here", 7);
		assert_true(d.r.attach.received == 77 && d.r.attach.granted == 1234567);
		handshake_welcome(&d.r, &(struct frame_welcome){.epoch = 3, .received = 42});
		assert_int_equal(say(&d.r, &d.i, chunk), WIRE_OK);
		assert_int_equal(d.i.state, HS_DONE);
		assert_memory_equal(d.i.channel_id, d.r.channel_id, CHANNEL_ID_BYTES);
		assert_memory_equal(d.i.owner, anybody.owner, OWNER_BYTES);
		assert_memory_equal(d.r.owner, anybody.owner, OWNER_BYTES);
		assert_int_equal(handshake_need(&d.i), 0);
		assert_true(sodium_is_zero((const uint8_t *)&d.i.code, sizeof d.i.code));
		assert_true(sodium_is_zero((const uint8_t *)&d.r.code, sizeof d.r.code));
	}
	struct duo a = begin(&right, &right, 1), b = begin(&right, &right, 2);
	assert_memory_not_equal(a.i.out, b.i.out, C1_BYTES);
	talk(&a, ANSWER, SIZE_MAX);
	talk(&b, ANSWER, SIZE_MAX);
	assert_memory_not_equal(a.i.channel_id, b.i.channel_id, CHANNEL_ID_BYTES);
}

/* Only the first message of proof tells; then nothing is answered. */
static void another_code(void **state)
{
	(void)state;
	const struct credentials *others[] = {&wrong, &elsewhere};
	for (size_t i = 0; i < COUNT(others); i++) {
		struct duo d = begin(others[i], &right, 5);
		talk(&d, C2, SIZE_MAX);
		assert_false(d.r.code.wrong);
		assert_int_equal(say(&d.i, &d.r, SIZE_MAX), WIRE_AUTH);
		assert_true(d.r.code.wrong);
		assert_int_equal(d.r.state, HS_FAILED);
		assert_int_equal(d.r.out_len, 0);
		assert_int_equal(handshake_need(&d.r), 0);
	}
}

static void other_modes(void **state)
{
	(void)state;
	const struct {
		const struct credentials *i, *r;
		size_t answer;
	} cases[] = {
		{&right, &key, 0},
		{&key, &right, 0},
		{&right, NULL, 0},
		{NULL, &right, PREFIX_BYTES},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct duo d = begin(cases[i].i, cases[i].r, 6);
		assert_int_equal(say(&d.i, &d.r, SIZE_MAX), WIRE_AUTH);
		assert_int_equal(d.r.out_len, cases[i].answer);
		assert_false(d.r.code.wrong);
	}
}

struct flipping {
	const struct duo *before;
	bool to_responder;
	unsigned refused, guesses;
};

/* A changed message ends the handshake at once, or at the very next message. */
static void judge(void *ctx, enum mutation kind, size_t at, const uint8_t *p, size_t n)
{
	struct flipping *f = ctx;
	if (kind != MUTATE_BIT && kind != MUTATE_BYTE)
		return;
	struct duo d = *f->before;
	struct handshake *to = f->to_responder ? &d.r : &d.i, *from = f->to_responder ? &d.i : &d.r;
	enum wire_rc rc = feed(to, p, n, SIZE_MAX);
	f->guesses += d.r.code.wrong;
	for (int m = 0; m < 2 && rc == WIRE_OK && to->state != HS_DECIDE && to->state != HS_DONE; m++) {
		rc = say(to, from, SIZE_MAX);
		struct handshake *next = from;
		from = to;
		to = next;
	}
	if (rc == WIRE_OK)
		fail_msg("mutation %d at %zu is not noticed", kind, at);
	f->refused++;
}

static void flips(void **state)
{
	(void)state;
	for (int m = C1; m <= M3; m++) {
		struct duo d = begin(&right, &right, 9);
		talk(&d, m - 1, SIZE_MAX);
		struct handshake *from = m % 2 ? &d.i : &d.r;
		uint8_t bytes[sizeof from->out];
		size_t n = from->out_len;
		memcpy(bytes, from->out, n);
		handshake_sent(from, n);
		struct flipping f = {.before = &d, .to_responder = m % 2};
		mutate_each(bytes, n, judge, &f);
		assert_true(f.refused >= 8 * n);
		if (m == M1) /* of the gate and of what it proves, not of the prefix */
			assert_true(f.guesses >= 8 * (GATE_BYTES + NOISE_KEY_BYTES));
	}
}

static void no_points(void **state)
{
	(void)state;
	for (int side = 0; side < 2; side++)
		for (int byte = 0; byte < 2; byte++) {
			struct duo d = begin(&right, &right, 11);
			uint8_t c1[C1_BYTES], point[C2_BYTES];
			memset(point, byte ? 0xff : 0, sizeof point);
			memcpy(c1, d.i.out, sizeof c1);
			handshake_sent(&d.i, d.i.out_len);
			memcpy(c1 + sizeof c1 - sizeof point, point, sizeof point);
			struct handshake *to = side ? &d.i : &d.r;
			enum wire_rc rc =
				feed(to, side ? point : c1, side ? sizeof point : sizeof c1, SIZE_MAX);
			assert_int_equal(rc, WIRE_AUTH);
			assert_int_equal(to->out_len, 0);
			assert_false(to->code.wrong);
		}
}

/* An old C1 and M1 are answered under a new share: M1 does not fit it. */
static void replay(void **state)
{
	(void)state;
	struct duo d = begin(&right, &right, 12), again = begin(&right, &right, 13);
	uint8_t c1[C1_BYTES];
	memcpy(c1, d.i.out, sizeof c1);
	talk(&d, C2, SIZE_MAX);
	assert_int_equal(feed(&again.r, c1, sizeof c1, SIZE_MAX), WIRE_OK);
	handshake_sent(&again.r, again.r.out_len);
	assert_int_equal(feed(&again.r, d.i.out, M1_KEY_BYTES, SIZE_MAX), WIRE_AUTH);
	assert_true(again.r.code.wrong);
}

/* Who answers before the question has gone out. */
static void hasty_answer(void **state)
{
	(void)state;
	struct duo d = begin(&right, &right, 14);
	struct wire_err err = {0};
	uint8_t point[C2_BYTES];
	memcpy(point, d.i.code.share, sizeof point);
	assert_int_equal(handshake_feed(&d.i, point, sizeof point, &err), WIRE_VIOLATION);
}

/* ---- vectors ---- */

/* SHA-256("haul-test " label), as the vectors say */
static void test_secret(const char *label, uint8_t out[static 32])
{
	char text[64];
	int n = snprintf(text, sizeof text, "haul-test %s", label);
	crypto_hash_sha256(out, (const uint8_t *)text, (size_t)n);
}

static struct hello vector_hello(const char *label)
{
	uint8_t secret[32];
	struct hello h = {.minor_min = 1, .minor_max = 1, .suites = 3, .max_body = 1u << 20};
	test_secret(label, secret);
	memcpy(h.instance, secret, sizeof h.instance);
	return h;
}

static void says(struct handshake *from, const char *text)
{
	uint8_t expected[M1_PEER_BYTES];
	assert_int_equal(from->out_len, from_hex(text, expected, sizeof expected));
	assert_memory_equal(from->out, expected, from->out_len);
}

static void own_vectors(void **state)
{
	(void)state;
	const struct code_vector *v = &code_vectors[0];
	uint8_t secret[32], record[64] = {0}, expected[64];
	struct credentials c;
	struct duo d;
	struct wire_err err = {0};
	struct hello mine = vector_hello("ii"), theirs = vector_hello("ir");
	struct frame_attach a = {.role = ROLE_SENDER, .fresh = 1};
	theirs.credit = 8u << 20;
	test_secret("prs", secret);
	credentials_init(&c, AUTH_CODE, "office", &anybody, 1, secret);
	test_secret("ei", secret);
	assert_int_equal(handshake_initiate_with(&d.i, &mine, &a, &c, secret, &err), WIRE_OK);
	test_secret("er", secret);
	handshake_respond_with(&d.r, &theirs, &c, secret);
	says(&d.i, v->c1);
	assert_int_equal(say(&d.i, &d.r, SIZE_MAX), WIRE_OK);
	says(&d.r, v->c2);
	assert_int_equal(say(&d.r, &d.i, SIZE_MAX), WIRE_OK);
	says(&d.i, v->m1);
	assert_int_equal(say(&d.i, &d.r, SIZE_MAX), WIRE_OK);
	says(&d.r, v->m2);
	struct seal rx = d.r.rx; /* the key of record 0, before ATTACH has used it */
	memcpy(record + RECORD_LEN_BYTES, "\1confirm", 8);
	assert_true(seal_whole(&rx, record, 8));
	size_t n = from_hex(v->record, expected, sizeof expected);
	assert_memory_equal(record, expected, n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agreement),	cmocka_unit_test(another_code), cmocka_unit_test(other_modes),
		cmocka_unit_test(flips),	cmocka_unit_test(no_points),	cmocka_unit_test(replay),
		cmocka_unit_test(hasty_answer), cmocka_unit_test(own_vectors),
	};
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, make_parties, NULL);
}
