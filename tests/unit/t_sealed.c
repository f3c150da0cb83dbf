/*
 * The encrypted opening against a peer that has the key and still does not keep to the protocol: it makes its Noise
 * messages by hand. With the key or without it, a listener that refuses before M2 says nothing.
 */
#include "unit.h"

#include "wire/cursor.h"
#include "wire/handshake.h"

static struct credential party;
static struct credentials own;

static int make_key(void **state)
{
	static const uint8_t key[AUTH_KEY_BYTES] = {1, 2, 3};
	(void)state;
	credential_from_key(&party, key);
	credentials_init(&own, AUTH_KEY, "", &party, 1, NULL);
	return 0;
}

static struct hello some_hello(void)
{
	return (struct hello){.minor_min = 1,
			      .minor_max = 1,
			      .suites = SUITE_CHACHAPOLY,
			      .offered = 0x0f,
			      .max_body = 1u << 20,
			      .credit = EARLY_CREDIT_BYTES};
}

static const struct frame_attach some_attach = {.role = ROLE_SENDER, .fresh = 1};

static struct handshake initiator(void)
{
	static const uint8_t ephemeral[AUTH_KEY_BYTES] = {9};
	struct handshake i;
	struct wire_err err = {0};
	struct hello mine = some_hello();
	assert_int_equal(handshake_initiate_with(&i, &mine, &some_attach, &own, ephemeral, &err), WIRE_OK);
	return i;
}

static struct handshake responder(void)
{
	static const uint8_t ephemeral[AUTH_KEY_BYTES] = {10};
	struct handshake r;
	struct hello mine = some_hello();
	handshake_respond_with(&r, &mine, &own, ephemeral);
	return r;
}

static enum wire_rc feed(struct handshake *hs, const uint8_t *p, size_t n, struct wire_err *err)
{
	enum wire_rc rc = WIRE_MORE;
	*err = (struct wire_err){0};
	while (n > 0 && handshake_need(hs) && (rc == WIRE_MORE || rc == WIRE_OK)) {
		size_t k = handshake_need(hs) < n ? handshake_need(hs) : n;
		rc = handshake_feed(hs, p, k, err);
		p += k;
		n -= k;
	}
	return rc;
}

/* ---- a peer that begins ---- */

enum point { FINE, LOW_ORDER };

/* M1 with the key, with this HELLO in it, of an ephemeral key that is none if it is to be so. */
static void make_m1(const struct hello *h, enum point point, uint8_t m1[static M1_KEY_BYTES])
{
	static const uint8_t ephemeral[AUTH_KEY_BYTES] = {9};
	struct handshake model = initiator();
	uint8_t prologue[PROLOGUE_BYTES], payload[HELLO_BYTES];
	struct noise n;
	memcpy(m1, model.out, PREFIX_BYTES);
	credentials_prologue(&own, m1, prologue);
	noise_begin(&n, NOISE_NNPSK0, true, prologue, sizeof prologue, NULL, NULL, ephemeral);
	memcpy(n.psk, party.psk, sizeof n.psk);
	if (point == LOW_ORDER)
		memset(n.e.pub, 0, sizeof n.e.pub);
	credential_gate(party.gatekey, m1, PREFIX_BYTES, n.e.pub, m1 + PREFIX_BYTES);
	struct wr w = wr_init(payload, sizeof payload);
	wr_uint(&w, h->minor_min, 1);
	wr_uint(&w, h->minor_max, 1);
	wr_uint(&w, h->suites, 2);
	wr_uint(&w, h->offered, 2);
	wr_uint(&w, h->required, 2);
	wr_uint(&w, h->max_body, 4);
	wr_uint(&w, h->credit, 4);
	wr_bytes(&w, h->instance, sizeof h->instance);
	assert_true(noise_write(&n, payload, sizeof payload, m1 + PREFIX_BYTES + GATE_BYTES));
}

static void first_messages(void **state)
{
	static const struct {
		uint16_t suites;
		uint32_t max_body, credit;
		enum point point;
		enum wire_rc want;
		const char *check;
	} cases[] = {
		{SUITE_CHACHAPOLY, 1u << 20, 0, FINE, WIRE_OK, NULL},
		{0xffff, 1u << 30, 0, FINE, WIRE_OK, NULL},
		{0, 1u << 20, 0, FINE, WIRE_AUTH, "no cipher in common"},
		{2, 1u << 20, 0, FINE, WIRE_AUTH, "no cipher in common"},
		{SUITE_CHACHAPOLY, 1u << 20, 1, FINE, WIRE_AUTH, "reserved bytes of M1"},
		{SUITE_CHACHAPOLY, (1u << 20) - 1, 0, FINE, WIRE_VIOLATION, "frames that are too small"},
		{SUITE_CHACHAPOLY, 1u << 20, 0, LOW_ORDER, WIRE_AUTH, "key is not usable"},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint8_t m1[M1_KEY_BYTES];
		struct wire_err err;
		struct handshake r = responder();
		struct hello h = some_hello();
		h.suites = cases[i].suites;
		h.max_body = cases[i].max_body;
		h.credit = cases[i].credit;
		make_m1(&h, cases[i].point, m1);
		enum wire_rc rc = feed(&r, m1, sizeof m1, &err);
		if (rc != cases[i].want || (cases[i].check && !strstr(err.check, cases[i].check)))
			fail_msg("case %zu: %d, %s", i, rc, err.check);
		if (rc == WIRE_OK) {
			assert_int_equal(r.out_len, M2_BYTES);
			continue;
		}
		assert_int_equal(r.out_len, 0);
		assert_int_equal(r.state, HS_FAILED);
		assert_int_equal(handshake_need(&r), 0);
	}
}

/* ---- a peer that is dialled ---- */

struct m2 {
	uint8_t minor, suite;
	uint16_t zero, offered, required;
	uint32_t max_body;
};

static const struct m2 fine = {1, SUITE_CHACHAPOLY, 0, 0x0f, 0, 1u << 20};

/* Answers what i has to say with M2; *tx seals what would follow it. */
static void make_m2(const struct handshake *i, const struct m2 *m, uint8_t out[static M2_BYTES],
		    struct seal *tx)
{
	static const uint8_t ephemeral[AUTH_KEY_BYTES] = {10};
	uint8_t prologue[PROLOGUE_BYTES], payload[HELLO_BYTES], i2r[AUTH_KEY_BYTES], r2i[AUTH_KEY_BYTES];
	struct noise n;
	credentials_prologue(&own, i->out, prologue);
	noise_begin(&n, NOISE_NNPSK0, false, prologue, sizeof prologue, NULL, NULL, ephemeral);
	memcpy(n.psk, party.psk, sizeof n.psk);
	assert_true(noise_read(&n, i->out + PREFIX_BYTES + GATE_BYTES,
			       M1_KEY_BYTES - PREFIX_BYTES - GATE_BYTES, payload));
	struct wr w = wr_init(payload, sizeof payload);
	wr_uint(&w, m->minor, 1);
	wr_uint(&w, m->suite, 1);
	wr_uint(&w, m->zero, 2);
	wr_uint(&w, m->offered, 2);
	wr_uint(&w, m->required, 2);
	wr_uint(&w, m->max_body, 4);
	wr_uint(&w, EARLY_CREDIT_BYTES, 4);
	memset(payload + HELLO_BYTES - 16, 7, 16);
	assert_true(noise_write(&n, payload, sizeof payload, out));
	noise_split(&n, i2r, r2i);
	seal_init_aead(tx, r2i, SEAL_REKEY_RECORDS);
}

static void second_messages(void **state)
{
	(void)state;
	for (int field = 0; field < 5; field++) {
		struct handshake i = initiator();
		struct m2 m = fine;
		struct wire_err err;
		struct seal tx;
		uint8_t bytes[M2_BYTES];
		m.suite = field == 1 ? 2 : field == 2 ? 0 : m.suite;
		m.zero = field == 3 ? 0x0100 : 0;
		m.max_body -= field == 4;
		make_m2(&i, &m, bytes, &tx);
		handshake_sent(&i, i.out_len);
		enum wire_rc rc = feed(&i, bytes, sizeof bytes, &err);
		assert_int_equal(rc, field ? WIRE_VIOLATION : WIRE_OK);
		assert_true((i.out_len > 0) == (field == 0)); /* ATTACH follows only what is right */
		if (field)
			assert_non_null(strstr(err.check, field == 4 ? "too small" : "reserved bytes of M2"));
	}
}

/* What M2 chose is judged when WELCOME comes instead of a REFUSE. */
static void welcomes(void **state)
{
	static const struct {
		uint8_t minor;
		uint16_t required;
		enum wire_rc want;
		const char *check;
	} cases[] = {
		{1, 0, WIRE_OK, NULL},
		{1, 0x0008, WIRE_OK, NULL},
		{0, 0, WIRE_VERSION, "a version that was not offered"},
		{2, 0, WIRE_VERSION, "a version that was not offered"},
		{1, 0x0010, WIRE_VERSION, "a required feature is missing"},
		{1, 0x8008, WIRE_VERSION, "a required feature is missing"},
	};
	(void)state;
	for (size_t k = 0; k < COUNT(cases); k++) {
		struct handshake i = initiator();
		struct m2 m = fine;
		struct wire_err err;
		struct seal tx;
		uint8_t bytes[M2_BYTES], record[200];
		m.minor = cases[k].minor;
		m.required = cases[k].required;
		make_m2(&i, &m, bytes, &tx);
		handshake_sent(&i, i.out_len);
		assert_int_equal(feed(&i, bytes, sizeof bytes, &err), WIRE_OK);
		struct frame_welcome welcome = {.epoch = 3, .granted = 1u << 20};
		uint8_t *frame = record + RECORD_LEN_BYTES;
		struct wr w = wr_init(frame + FRAME_HEAD_BYTES, 100);
		frame_put_welcome(&w, &welcome);
		frame_head_put(frame, &(struct frame_head){.type = F_WELCOME, .body_len = (uint32_t)w.n});
		assert_true(seal_whole(&tx, record, FRAME_HEAD_BYTES + w.n));
		size_t len = RECORD_LEN_BYTES + FRAME_HEAD_BYTES + w.n + seal_tag_bytes(&tx);
		enum wire_rc rc = feed(&i, record, len, &err);
		if (rc != cases[k].want || (cases[k].check && !strstr(err.check, cases[k].check)))
			fail_msg("case %zu: %d, %s", k, rc, err.check);
		assert_int_equal(i.state, rc == WIRE_OK ? HS_DONE : HS_FAILED);
	}
}

/* ---- keys that are none, and the end of secrets ---- */

static void a_peer_whose_key_is_none(void **state)
{
	static const uint8_t zero[AUTH_KEY_BYTES], secret[AUTH_KEY_BYTES] = {5};
	struct credential nobody;
	struct credentials mine;
	struct handshake i;
	struct wire_err err = {0};
	struct hello h = some_hello();
	(void)state;
	credential_from_peer(&nobody, zero, NULL);
	credentials_init(&mine, AUTH_PEER, "", &nobody, 1, secret);
	assert_int_equal(handshake_initiate_with(&i, &h, &some_attach, &mine, secret, &err), WIRE_AUTH);
	assert_non_null(strstr(err.check, "public key is not usable"));
	assert_int_equal(i.out_len, 0);
}

static void secrets_are_wiped(void **state)
{
	static const struct handshake no_handshake;
	static const struct credentials no_credentials;
	struct handshake i = initiator();
	struct credentials c = own;
	(void)state;
	handshake_wipe(&i);
	assert_memory_equal(&i, &no_handshake, sizeof i);
	credentials_wipe(&c);
	assert_memory_equal(&c, &no_credentials, sizeof c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_messages),    cmocka_unit_test(second_messages),
		cmocka_unit_test(welcomes),	     cmocka_unit_test(a_peer_whose_key_is_none),
		cmocka_unit_test(secrets_are_wiped),
	};
	return cmocka_run_group_tests(tests, make_key, NULL);
}
