/*
 * Handshakes with keys: the protocol's own vectors; every cut into reads, never a byte too many; every
 * flipped bit of M1, M2, M3 and of a record of each type refused, and refused in silence; wrong keys, names
 * and modes; records that are lost, repeated, moved or reflected; no key and number twice.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <sodium.h>

#include "tests/unit/hex.h"
#include "tests/unit/mutate.h"
#include "tests/unit/secure_vectors.h"
#include "wire/channel.h"
#include "wire/handshake.h"

enum { KEY, PEER, MODES };

/* ---- two parties ---- */

static struct credential keyed, of_i, of_r, strange;
static struct credentials mode_i[MODES], mode_r[MODES];

/* SHA-256("haul-test " label), as the vectors say */
static void test_secret(const char *label, uint8_t out[static 32])
{
	char text[64];
	int n = snprintf(text, sizeof text, "haul-test %s", label);
	crypto_hash_sha256(out, (const uint8_t *)text, (size_t)n);
}

static int make_parties(void **state)
{
	(void)state;
	uint8_t key[32], si[32], sr[32], other[32];
	struct noise_pair pi, pr, po;
	for (size_t i = 0; i < 32; i++)
		key[i] = (uint8_t)i;
	test_secret("si", si);
	test_secret("sr", sr);
	test_secret("other", other);
	noise_pair_from(&pi, si);
	noise_pair_from(&pr, sr);
	noise_pair_from(&po, other);
	credential_from_key(&keyed, key);
	credential_from_peer(&of_i, pi.pub, NULL);
	credential_from_peer(&of_r, pr.pub, NULL);
	credential_from_peer(&strange, po.pub, NULL);
	credentials_init(&mode_i[KEY], AUTH_KEY, "", &keyed, 1, NULL);
	credentials_init(&mode_r[KEY], AUTH_KEY, "", &keyed, 1, NULL);
	credentials_init(&mode_i[PEER], AUTH_PEER, "", &of_r, 1, si);
	credentials_init(&mode_r[PEER], AUTH_PEER, "", &of_i, 1, sr);
	return 0;
}

static struct hello hello_of(const char *label)
{
	uint8_t secret[32];
	struct hello h = {.minor_min = 1,
			  .minor_max = 1,
			  .suites = 3,
			  .max_body = 1u << 20,
			  .credit = EARLY_CREDIT_BYTES};
	test_secret(label, secret);
	memcpy(h.instance, secret, sizeof h.instance);
	return h;
}

static struct frame_attach some_attach(void)
{
	struct frame_attach a = {.role = ROLE_SENDER, .fresh = 1, .received = 77, .granted = 1234567};
	prng_fill(&(struct prng){10}, a.session, sizeof a.session);
	a.subdir = (struct span){(const uint8_t *)"in/here", 7};
	return a;
}

static const struct frame_welcome some_welcome = {.epoch = 3, .received = 42, .granted = 1ull << 40};

struct duo {
	struct handshake i, r;
};

static struct duo begin_with(const struct credentials *ci, const struct credentials *cr, const char *ei,
			     const char *er)
{
	struct duo d;
	uint8_t secret[32];
	struct wire_err err = {0};
	struct hello mine = hello_of("ii"), theirs = hello_of("ir");
	struct frame_attach a = some_attach();
	theirs.credit = 8u << 20;
	test_secret(ei, secret);
	assert_int_equal(handshake_initiate_with(&d.i, &mine, &a, ci, secret, &err), WIRE_OK);
	test_secret(er, secret);
	handshake_respond_with(&d.r, &theirs, cr, secret);
	return d;
}

static struct duo begin(int mode)
{
	return begin_with(&mode_i[mode], &mode_r[mode], "ei", "er");
}

static enum wire_rc feed(struct handshake *hs, const uint8_t *p, size_t n, size_t chunk, size_t *taken)
{
	enum wire_rc rc = WIRE_MORE;
	struct wire_err err = {0};
	*taken = 0;
	while (*taken < n && handshake_need(hs) && (rc == WIRE_MORE || rc == WIRE_OK)) {
		size_t k = handshake_need(hs);
		k = k < chunk ? k : chunk;
		k = k < n - *taken ? k : n - *taken;
		rc = handshake_feed(hs, p + *taken, k, &err);
		*taken += k;
	}
	return rc;
}

/* What `from` has to say reaches `to`, in pieces, followed by bytes that must be left alone. */
static enum wire_rc exchange_in(struct handshake *from, struct handshake *to, size_t chunk)
{
	static uint8_t bytes[sizeof from->out + 50];
	size_t n = from->out_len, taken;
	memcpy(bytes, from->out, n);
	memset(bytes + n, 0xee, 50);
	handshake_sent(from, n);
	bool more = to->initiator && to->state == HS_PREFIX; /* it will want an answer after this */
	enum wire_rc rc = feed(to, bytes, more || to->state == HS_PREFIX ? n : n + 50, chunk, &taken);
	if (rc == WIRE_OK)
		assert_int_equal(taken, n);
	return rc;
}

static enum wire_rc exchange(struct handshake *from, struct handshake *to)
{
	return exchange_in(from, to, SIZE_MAX);
}

/* Up to HS_DECIDE, or beyond. */
static void agree(struct duo *d, bool welcome)
{
	assert_int_equal(exchange(&d->i, &d->r), WIRE_OK);
	assert_int_equal(exchange(&d->r, &d->i), WIRE_OK);
	assert_int_equal(exchange(&d->i, &d->r), WIRE_OK);
	assert_int_equal(d->r.state, HS_DECIDE);
	if (!welcome)
		return;
	handshake_welcome(&d->r, &some_welcome);
	assert_int_equal(exchange(&d->r, &d->i), WIRE_OK);
	assert_int_equal(d->i.state, HS_DONE);
}

static void both_sides_agree(void **state)
{
	(void)state;
	for (int mode = 0; mode < MODES; mode++)
		for (size_t chunk = 1; chunk <= 200; chunk++) {
			struct duo d = begin(mode);
			assert_int_equal(d.r.out_len, 0);
			assert_int_equal(exchange_in(&d.i, &d.r, chunk), WIRE_OK);
			assert_true(handshake_out_is_due(&d.r));
			assert_int_equal(d.r.out_len, M2_BYTES);
			assert_int_equal(exchange_in(&d.r, &d.i, chunk), WIRE_OK);
			assert_int_equal(exchange_in(&d.i, &d.r, chunk), WIRE_OK);
			assert_int_equal(d.r.state, HS_DECIDE);
			assert_memory_equal(d.r.attach.session, some_attach().session, 16);
			assert_int_equal(d.r.attach.subdir.n, 7);
			assert_memory_equal(d.r.attach.subdir.p, "in/here", 7);
			assert_memory_equal(d.r.owner, mode == KEY ? keyed.owner : of_i.owner, OWNER_BYTES);
			assert_memory_equal(d.i.owner, d.r.owner, OWNER_BYTES);
			assert_memory_equal(d.i.channel_id, d.r.channel_id, CHANNEL_ID_BYTES);
			handshake_welcome(&d.r, &some_welcome);
			assert_int_equal(exchange_in(&d.r, &d.i, chunk), WIRE_OK);
			assert_int_equal(d.i.state, HS_DONE);
			assert_true(d.i.welcome.received == 42);
			assert_true(d.i.tx.number == 1 && d.i.rx.number == 1 && d.r.tx.number == 1);
			assert_memory_equal(d.i.tx.key, d.r.rx.key, SEAL_KEY_BYTES);
			assert_memory_equal(d.i.rx.key, d.r.tx.key, SEAL_KEY_BYTES);
			assert_memory_not_equal(d.i.tx.key, d.i.rx.key, SEAL_KEY_BYTES);
		}
}

static void a_refusal_is_sealed(void **state)
{
	(void)state;
	for (int mode = 0; mode < MODES; mode++) {
		struct duo d = begin(mode);
		agree(&d, false);
		handshake_refuse(&d.r, 75, "busy");
		assert_null(memmem(d.r.out, d.r.out_len, "busy", 4));
		assert_int_equal(exchange(&d.r, &d.i), WIRE_REFUSED);
		assert_int_equal(d.i.refuse.code, 75);
		assert_memory_equal(d.i.refuse.text.p, "busy", 4);
	}
}

/* ---- vectors ---- */

static void own_vectors(void **state)
{
	(void)state;
	for (int mode = 0; mode < MODES; mode++) {
		const struct secure_vector *v = &secure_vectors[mode];
		uint8_t expected[M1_PEER_BYTES], record[64] = {0};
		struct duo d = begin(mode);
		size_t n = from_hex(v->m1, expected, sizeof expected);
		assert_int_equal(d.i.out_len, n);
		assert_memory_equal(d.i.out, expected, n);
		assert_int_equal(exchange(&d.i, &d.r), WIRE_OK);
		n = from_hex(v->m2, expected, sizeof expected);
		assert_int_equal(d.r.out_len, n);
		assert_memory_equal(d.r.out, expected, n);
		struct seal rx = d.r.rx; /* the key of record 0, before ATTACH has used it */
		memcpy(record + RECORD_LEN_BYTES, "\1confirm", 8);
		assert_true(seal_whole(&rx, record, 8));
		n = from_hex(v->record, expected, sizeof expected);
		assert_memory_equal(record, expected, n);
	}
}

/* ---- damage ---- */

static struct {
	struct handshake fed;
	size_t refused, waiting;
} damage;

static void judge(void *ctx, enum mutation kind, size_t at, const uint8_t *p, size_t n)
{
	const struct handshake *fresh = ctx;
	size_t taken, said = fresh->out_len;
	if (kind == MUTATE_APPEND)
		return;
	damage.fed = *fresh;
	enum wire_rc rc = feed(&damage.fed, p, n, SIZE_MAX, &taken);
	if (rc == WIRE_MORE || (rc == WIRE_OK && kind == MUTATE_CUT)) {
		/* a cut, or a length that grew: it waits for what never comes */
		assert_int_equal(damage.fed.state, fresh->state);
		damage.waiting++;
	} else {
		if (rc != WIRE_AUTH && rc != WIRE_NOT_HAUL && rc != WIRE_VERSION && rc != WIRE_DAMAGED &&
		    rc != WIRE_VIOLATION)
			fail_msg("mutation %d at %zu: rc %d", kind, at, rc);
		assert_int_equal(damage.fed.state, HS_FAILED);
		/* silence, but for the one who says in the open that it has no key */
		bool open_mode = fresh->state == HS_PREFIX && damage.fed.in[9] == AUTH_NONE;
		if (damage.fed.out_len != said && !open_mode)
			fail_msg("mutation %d at %zu is answered", kind, at);
		damage.refused++;
	}
}

static void no_flipped_bit_passes(void **state)
{
	(void)state;
	for (int mode = 0; mode < MODES; mode++) {
		struct duo d = begin(mode);
		damage.refused = damage.waiting = 0;
		size_t n = d.i.out_len;
		mutate_each(d.i.out, n, judge, &d.r);
		assert_true(damage.refused >= 8 * n);
		assert_int_equal(exchange(&d.i, &d.r), WIRE_OK);

		damage.refused = 0;
		mutate_each(d.r.out, d.r.out_len, judge, &d.i);
		assert_true(damage.refused >= 8 * d.r.out_len);
		assert_int_equal(exchange(&d.r, &d.i), WIRE_OK);

		damage.refused = 0;
		n = d.i.out_len;
		mutate_each(d.i.out, n, judge, &d.r); /* M3; a length that grows within bounds waits */
		assert_true(damage.refused >= 8 * n - 32);
		assert_int_equal(exchange(&d.i, &d.r), WIRE_OK);

		struct handshake refusing = d.r;
		handshake_welcome(&d.r, &some_welcome);
		damage.refused = 0;
		mutate_each(d.r.out, d.r.out_len, judge, &d.i);
		assert_true(damage.refused >= 8 * d.r.out_len - 32);
		handshake_refuse(&refusing, 75, "busy");
		damage.refused = 0;
		mutate_each(refusing.out, refusing.out_len, judge, &d.i);
		assert_true(damage.refused >= 8 * refusing.out_len - 32);
	}
}

/* ---- the wrong ones ---- */

static void wrong_parties(void **state)
{
	(void)state;
	uint8_t key[32] = {9}, si[32], sr[32], other[32];
	struct credential wrong_key, with_psk;
	struct credentials k, realm, to_stranger, from_stranger, hardened;
	test_secret("si", si);
	test_secret("sr", sr);
	test_secret("other", other);
	credential_from_key(&wrong_key, key);
	credential_from_peer(&with_psk, of_i.pub, key);
	credentials_init(&k, AUTH_KEY, "", &wrong_key, 1, NULL);
	credentials_init(&realm, AUTH_KEY, "elsewhere", &keyed, 1, NULL);
	credentials_init(&to_stranger, AUTH_PEER, "", &strange, 1, si);
	credentials_init(&from_stranger, AUTH_PEER, "", &of_r, 1, other);
	credentials_init(&hardened, AUTH_PEER, "", &with_psk, 1, sr);
	const struct {
		const struct credentials *i, *r;
	} cases[] = {
		{&k, &mode_r[KEY]},
		{&mode_i[KEY], &k},
		{&mode_i[KEY], &realm},
		{&realm, &mode_r[KEY]},
		{&to_stranger, &mode_r[PEER]},
		{&from_stranger, &mode_r[PEER]},
		{&mode_i[KEY], &mode_r[PEER]},
		{&mode_i[PEER], &mode_r[KEY]},
		{&mode_i[PEER], &mode_i[PEER]},
	};
	for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
		struct duo d = begin_with(cases[c].i, cases[c].r, "ei", "er");
		assert_int_equal(exchange(&d.i, &d.r), WIRE_AUTH);
		assert_int_equal(d.r.state, HS_FAILED);
		assert_int_equal(d.r.out_len, 0);
	}
	/* a key on top of the static ones shows in the answer */
	struct duo d = begin_with(&mode_i[PEER], &hardened, "ei", "er");
	assert_int_equal(exchange(&d.i, &d.r), WIRE_OK);
	assert_int_equal(exchange(&d.r, &d.i), WIRE_AUTH);
	assert_int_equal(d.i.out_len, 0);
}

static void without_a_key(void **state)
{
	(void)state;
	for (int mode = 0; mode < MODES; mode++) {
		/* the one without a key is told that one is needed, and nothing else */
		struct duo d = begin_with(NULL, &mode_r[mode], "ei", "er");
		assert_int_equal(exchange(&d.i, &d.r), WIRE_AUTH);
		assert_int_equal(d.r.out_len, PREFIX_BYTES);
		assert_int_equal(d.r.out[9], mode + 1);
		assert_int_equal(exchange(&d.r, &d.i), WIRE_AUTH);
		/* the one with a key is not answered by one without */
		d = begin_with(&mode_i[mode], NULL, "ei", "er");
		assert_int_equal(exchange(&d.i, &d.r), WIRE_AUTH);
		assert_int_equal(d.r.out_len, 0);
		/* and an answer in the open is no answer to it */
		struct duo plain = begin_with(NULL, NULL, "ei", "er");
		assert_int_equal(exchange(&plain.i, &plain.r), WIRE_OK);
		handshake_welcome(&plain.r, &some_welcome);
		d = begin(mode);
		assert_int_equal(exchange(&plain.r, &d.i), WIRE_AUTH);
	}
}

static void one_of_many_parties(void **state)
{
	(void)state;
	enum { MANY = 20 };
	struct credential party[MANY];
	struct credentials all, one;
	for (size_t k = 0; k < MANY; k++) {
		uint8_t key[32] = {(uint8_t)(k + 1)};
		credential_from_key(&party[k], key);
	}
	credentials_init(&all, AUTH_KEY, "", party, MANY, NULL);
	for (size_t k = 0; k < MANY; k++) {
		credentials_init(&one, AUTH_KEY, "", &party[k], 1, NULL);
		struct duo d = begin_with(&one, &all, "ei", "er");
		agree(&d, true);
		assert_memory_equal(d.r.owner, party[k].owner, OWNER_BYTES);
	}
}

/* The same session id under two keys is two sessions; under one key, over any connection, it is one. */
static void sessions_belong_to_their_owner(void **state)
{
	(void)state;
	struct credential party[2];
	struct credentials both, one;
	uint8_t id[2][2][16];
	for (uint8_t k = 0; k < 2; k++)
		credential_from_key(&party[k], (const uint8_t[32]){k});
	credentials_init(&both, AUTH_KEY, "", party, 2, NULL);
	for (size_t k = 0; k < 2; k++)
		for (size_t again = 0; again < 2; again++) {
			credentials_init(&one, AUTH_KEY, "", &party[k], 1, NULL);
			struct duo d = begin_with(&one, &both, again ? "ei" : "ei2", again ? "er" : "er2");
			agree(&d, false);
			assert_memory_equal(d.r.attach.session, some_attach().session, 16);
			handshake_session_id(&d.r, id[k][again]);
			assert_memory_not_equal(id[k][again], d.r.attach.session, 16);
		}
	assert_memory_equal(id[0][0], id[0][1], 16);
	assert_memory_equal(id[1][0], id[1][1], 16);
	assert_memory_not_equal(id[0][0], id[1][0], 16);
	struct duo plain = begin_with(NULL, NULL, "ei", "er");
	assert_int_equal(exchange(&plain.i, &plain.r), WIRE_OK);
	handshake_session_id(&plain.r, id[0][0]);
	assert_memory_equal(id[0][0], some_attach().session, 16);
}

static void replays(void **state)
{
	(void)state;
	/* an old M1 is answered under new keys, and whatever followed it then does not fit now */
	for (int mode = 0; mode < MODES; mode++) {
		struct duo d = begin(mode);
		uint8_t m1[M1_PEER_BYTES], m3[sizeof d.i.out];
		size_t n1 = d.i.out_len, taken;
		memcpy(m1, d.i.out, n1);
		assert_int_equal(exchange(&d.i, &d.r), WIRE_OK);
		assert_int_equal(exchange(&d.r, &d.i), WIRE_OK);
		size_t n3 = d.i.out_len;
		memcpy(m3, d.i.out, n3);
		for (int k = 0; k < 50; k++) {
			char label[16];
			snprintf(label, sizeof label, "er %d", k);
			struct duo again = begin_with(&mode_i[mode], &mode_r[mode], "ei", label);
			assert_int_equal(feed(&again.r, m1, n1, SIZE_MAX, &taken), WIRE_OK);
			handshake_sent(&again.r, again.r.out_len);
			assert_int_equal(feed(&again.r, m3, n3, SIZE_MAX, &taken), WIRE_AUTH);
			assert_int_equal(again.r.out_len, 0);
		}
	}
}

/* ---- records ---- */

static const uint8_t types[] = {F_ACK,	F_PING, F_PONG, F_CANCEL, F_FIN,  F_BEGIN,  F_OFFER,
				F_PACK, F_DATA, F_HOLE, F_END,	  F_KEEP, F_FLUSH,  F_FINISH,
				F_WANT, F_HAVE, F_NEED, F_RESULT, F_STOP, F_SUMMARY};

struct sealed {
	uint8_t p[RECORD_LEN_BYTES + FRAME_HEAD_BYTES + 64 + RECORD_TAG_MAX_BYTES];
	size_t length; /* behind the length field */
};

static struct sealed record_of(struct seal *tx, uint8_t type, uint64_t seed)
{
	struct sealed s;
	bool message = frame_class_of(type) == FRAME_CLASS_MESSAGE;
	frame_head_put(s.p + RECORD_LEN_BYTES, &(struct frame_head){.type = type,
								    .body_len = 40,
								    .cost = message ? 40 : 0,
								    .offset = message ? seed : 0});
	prng_fill(&(struct prng){seed}, s.p + RECORD_LEN_BYTES + FRAME_HEAD_BYTES, 40);
	assert_true(seal_whole(tx, s.p, FRAME_HEAD_BYTES + 40));
	s.length = FRAME_HEAD_BYTES + 40 + seal_tag_bytes(tx);
	return s;
}

static bool opens(struct seal rx, struct sealed s, size_t length)
{
	size_t body_len;
	return seal_open(&rx, s.p + RECORD_LEN_BYTES, length, &body_len);
}

static void records_of_every_type(void **state)
{
	(void)state;
	struct duo d = begin(KEY);
	agree(&d, true);
	for (size_t t = 0; t < sizeof types; t++) {
		struct seal rx = d.r.rx;
		struct sealed s = record_of(&d.i.tx, types[t], t);
		assert_true(opens(rx, s, s.length));
		for (size_t bit = 0; bit < 8 * s.length; bit++) {
			s.p[RECORD_LEN_BYTES + bit / 8] ^= (uint8_t)(1u << bit % 8);
			if (opens(rx, s, s.length))
				fail_msg("%s opens with bit %zu flipped", frame_name(types[t]), bit);
			s.p[RECORD_LEN_BYTES + bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
		for (size_t length = 0; length < s.length; length++)
			assert_false(opens(rx, s, length));
		size_t body_len;
		assert_true(seal_open(&d.r.rx, s.p + RECORD_LEN_BYTES, s.length, &body_len));
	}
}

static void records_only_in_their_place(void **state)
{
	(void)state;
	struct duo a = begin(KEY), b = begin_with(&mode_i[KEY], &mode_r[KEY], "ei2", "er2");
	agree(&a, true);
	agree(&b, true);
	a.i.tx.rekey_every = a.r.rx.rekey_every = 4; /* as far as this run is concerned from here on */
	struct seal at[12];
	struct sealed s[12];
	for (size_t i = 0; i < 12; i++) {
		size_t body_len;
		s[i] = record_of(&a.i.tx, F_DATA, i);
		at[i] = a.r.rx;
		struct sealed copy = s[i];
		assert_true(seal_open(&a.r.rx, copy.p + RECORD_LEN_BYTES, copy.length, &body_len));
	}
	for (size_t i = 0; i < 12; i++) {
		for (size_t k = 0; k < 12; k++) /* lost, repeated, swapped */
			assert_int_equal(opens(at[k], s[i], s[i].length), i == k);
		struct seal reflected = a.i.rx, moved = b.r.rx;
		for (uint64_t n = 0; n < 14; n++) {
			reflected.number = moved.number = n;
			reflected.rekey_every = moved.rekey_every = 1000;
			assert_false(opens(reflected, s[i], s[i].length));
			assert_false(opens(moved, s[i], s[i].length));
		}
	}
}

static void keys_change_together(void **state)
{
	(void)state;
	struct duo d = begin(KEY);
	agree(&d, true);
	uint8_t before[SEAL_KEY_BYTES];
	memcpy(before, d.i.tx.key, sizeof before);
	for (uint64_t n = d.i.tx.number; n < 2 * SEAL_REKEY_RECORDS + 3; n++) {
		size_t body_len;
		struct sealed s = record_of(&d.i.tx, F_PING, n);
		assert_true(seal_open(&d.r.rx, s.p + RECORD_LEN_BYTES, s.length, &body_len));
		assert_memory_equal(d.i.tx.key, d.r.rx.key, sizeof before);
		bool changed = memcmp(before, d.i.tx.key, sizeof before) != 0;
		assert_int_equal(changed, n && n % SEAL_REKEY_RECORDS == 0);
		memcpy(before, d.i.tx.key, sizeof before);
	}
}

static void numbers_end(void **state)
{
	(void)state;
	struct duo d = begin(KEY);
	agree(&d, true);
	d.i.tx.number = d.r.rx.number = UINT64_MAX - 1;
	d.i.tx.rekey_every = d.r.rx.rekey_every = SEAL_REKEY_RECORDS;
	size_t body_len;
	struct sealed s = record_of(&d.i.tx, F_PING, 1);
	assert_true(seal_open(&d.r.rx, s.p + RECORD_LEN_BYTES, s.length, &body_len));
	assert_false(seal_whole(&d.i.tx, s.p, FRAME_HEAD_BYTES + 40));
	assert_false(seal_open(&d.r.rx, s.p + RECORD_LEN_BYTES, s.length, &body_len));
}

static int by_bytes(const void *a, const void *b)
{
	return memcmp(a, b, 32);
}

static void no_key_and_number_twice(void **state)
{
	(void)state;
	enum { RECONNECTS = 1000, RECORDS = 12, EVERY = 4, KEYS = RECORDS / EVERY };
	static uint8_t keys[2 * RECONNECTS * KEYS][SEAL_KEY_BYTES];
	size_t n = 0;
	for (int k = 0; k < RECONNECTS; k++) {
		char ei[16], er[16];
		snprintf(ei, sizeof ei, "ei %d", k);
		snprintf(er, sizeof er, "er %d", k);
		struct duo d = begin_with(&mode_i[KEY], &mode_r[KEY], ei, er);
		d.i.rekey_every = d.r.rekey_every = EVERY;
		agree(&d, true);
		struct seal *tx[] = {&d.i.tx, &d.r.tx};
		for (size_t side = 0; side < 2; side++) {
			memcpy(keys[n++], tx[side]->key, SEAL_KEY_BYTES);
			while (tx[side]->number < RECORDS) {
				uint64_t number = tx[side]->number;
				record_of(tx[side], F_PING, number);
				assert_int_equal(tx[side]->number, number + 1);
				if (number % EVERY == 0)
					memcpy(keys[n++], tx[side]->key, SEAL_KEY_BYTES);
			}
		}
	}
	/* within a key the number only rises, so distinct keys are all it takes */
	assert_int_equal(n, sizeof keys / sizeof keys[0]);
	qsort(keys, n, sizeof keys[0], by_bytes);
	for (size_t i = 1; i < n; i++)
		assert_memory_not_equal(keys[i - 1], keys[i], SEAL_KEY_BYTES);
}

/* ---- the channel ---- */

static void channels_carry_encrypted_records(void **state)
{
	(void)state;
	struct duo d = begin(PEER);
	agree(&d, true);
	struct channel tx, rx;
	struct buf_source source = {buf_malloc, NULL};
	struct ring ring;
	assert_true(ring_init(&ring, 64u << 20));
	assert_true(channel_open(&tx, &d.i.tx, &d.i.rx, 0, RECORD_BODY_MAX_BYTES, source));
	assert_true(channel_open(&rx, &d.r.tx, &d.r.rx, 0, RECORD_BODY_MAX_BYTES, source));
	static const uint32_t sizes[] = {1, 40, 16000, 70000, 1 << 20, CHUNK_MAX_BYTES, 5, 300000, 2};
	enum { COUNT = sizeof sizes / sizeof sizes[0] };
	for (size_t k = 0; k < COUNT; k++) {
		struct buf *b = buf_malloc(NULL, sizes[k]);
		assert_non_null(b);
		prng_fill(&(struct prng){k}, b->data, b->len = sizes[k]);
		ring_push(&ring, F_DATA, sizes[k], b);
	}
	size_t put = 0, got = 0;
	while (got < COUNT) {
		struct iovec out[CHANNEL_IOV_MAX], in[2];
		while (put < COUNT && channel_ready(&tx))
			channel_put_message(&tx, ring_at(&ring, put++));
		assert_true(channel_borrows(&tx) == UINT64_MAX);
		size_t areas = channel_gather(&tx, out), room = channel_space(&rx, in);
		assert_true(areas && room);
		size_t n = out[0].iov_len < in[0].iov_len ? out[0].iov_len : in[0].iov_len;
		memcpy(in[0].iov_base, out[0].iov_base, n);
		channel_wrote(&tx, n);
		channel_filled(&rx, n);
		struct channel_record r;
		struct wire_err err = {0};
		while (channel_next(&rx, &r, &err) == WIRE_OK) {
			const struct ring_entry *e = ring_at(&ring, got++);
			assert_int_equal(r.body.n, e->cost);
			assert_memory_equal(r.body.p, buf_bytes(e->body), e->cost);
			buf_put(r.buf);
		}
		assert_int_equal(err.rc, WIRE_OK);
	}
	/* the ring was left as it was, to be sealed again */
	for (size_t k = 0; k < COUNT; k++) {
		uint8_t first[8];
		prng_fill(&(struct prng){k}, first, 1);
		assert_int_equal(buf_bytes(ring_at(&ring, k)->body)[0], first[0]);
	}
	channel_close(&tx);
	channel_close(&rx);
	ring_free(&ring);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_sides_agree),
		cmocka_unit_test(a_refusal_is_sealed),
		cmocka_unit_test(own_vectors),
		cmocka_unit_test(no_flipped_bit_passes),
		cmocka_unit_test(wrong_parties),
		cmocka_unit_test(without_a_key),
		cmocka_unit_test(one_of_many_parties),
		cmocka_unit_test(sessions_belong_to_their_owner),
		cmocka_unit_test(replays),
		cmocka_unit_test(records_of_every_type),
		cmocka_unit_test(records_only_in_their_place),
		cmocka_unit_test(keys_change_together),
		cmocka_unit_test(numbers_end),
		cmocka_unit_test(no_key_and_number_twice),
		cmocka_unit_test(channels_carry_encrypted_records),
	};
	return cmocka_run_group_tests(tests, make_parties, NULL);
}
