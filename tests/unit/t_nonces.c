/*
 * No key ever seals two things under one number. The cipher itself is watched: every pair of key and nonce that
 * anything hands to it, in a thousand connections of one session in each mode, cut at random bytes, the ring
 * replayed each time, the keys changed every fourth record.
 */
#include "tests/unit/unit.h"

#include <sodium.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "tests/unit/parties.h"
#include "wire/link.h"

#define CONNECTIONS   1000u
#define REKEY_EVERY   4u
#define PAIRS_MAX     3000000u
#define MESSAGE_BYTES 24u
#define WINDOW_BYTES  (64u << 10)
#define ROUNDS	      12u

/* ---- what the cipher is given ---- */

static XXH128_hash_t *pairs;
static size_t pair_count;
static uint8_t who; /* of the two sides computes now */

/* In place of libsodium's, for the whole program; its other form does the work. */
int crypto_aead_chacha20poly1305_ietf_encrypt(unsigned char *c, unsigned long long *clen,
					      const unsigned char *m, unsigned long long mlen,
					      const unsigned char *ad, unsigned long long adlen,
					      const unsigned char *nsec, const unsigned char *npub,
					      const unsigned char *k)
{
	static const uint8_t last[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	uint8_t pair[crypto_aead_chacha20poly1305_ietf_KEYBYTES +
		     crypto_aead_chacha20poly1305_ietf_NPUBBYTES + 1] = {0};
	memcpy(pair, k, crypto_aead_chacha20poly1305_ietf_KEYBYTES);
	memcpy(pair + crypto_aead_chacha20poly1305_ietf_KEYBYTES, npub,
	       crypto_aead_chacha20poly1305_ietf_NPUBBYTES);
	/* the next key is computed under this number on both sides, and never sent: once on each */
	if (memcmp(npub + 4, last, sizeof last) == 0)
		pair[sizeof pair - 1] = who;
	if (pair_count == PAIRS_MAX)
		abort();
	pairs[pair_count++] = XXH3_128bits(pair, sizeof pair);
	if (clen)
		*clen = mlen + crypto_aead_chacha20poly1305_ietf_ABYTES;
	return crypto_aead_chacha20poly1305_ietf_encrypt_detached(c, c + mlen, NULL, m, mlen, ad, adlen, nsec,
								  npub, k);
}

static int by_hash(const void *a, const void *b)
{
	return XXH128_cmp(a, b);
}

static size_t repeated_pairs(void)
{
	size_t n = 0;
	qsort(pairs, pair_count, sizeof *pairs, by_hash);
	for (size_t i = 1; i < pair_count; i++)
		n += XXH128_isEqual(pairs[i - 1], pairs[i]) != 0;
	return n;
}

static int begin(void **state)
{
	(void)state;
	pairs = malloc(PAIRS_MAX * sizeof *pairs);
	make_parties();
	return pairs ? 0 : -1;
}

static int end(void **state)
{
	(void)state;
	free(pairs);
	return 0;
}

/* ---- a session over many connections ---- */

struct side {
	struct link l;
	uint64_t next, got; /* number of the next message to send, of the next one to come */
};

static struct side side[2];

static void say(struct side *s, uint64_t now)
{
	struct buf *b = buf_malloc(NULL, MESSAGE_BYTES);
	assert_non_null(b);
	b->len = MESSAGE_BYTES;
	prng_fill(&(struct prng){s->next}, b->data, MESSAGE_BYTES);
	if (link_send(&s->l, F_DATA, MESSAGE_BYTES, b, now) == WIRE_OK)
		s->next++;
	else
		buf_put(b);
}

static void hear(struct side *s, uint64_t now)
{
	struct link_event ev;
	struct wire_err err = {0};
	enum wire_rc rc;
	who = s == &side[1];
	while ((rc = link_next(&s->l, now, &ev, &err)) == WIRE_OK) {
		if (ev.type != LINK_MESSAGE)
			continue;
		uint8_t expected[MESSAGE_BYTES];
		prng_fill(&(struct prng){s->got++}, expected, sizeof expected);
		assert_int_equal(ev.cost, sizeof expected);
		assert_memory_equal(buf_bytes(ev.body), expected, sizeof expected);
		buf_put(ev.body);
		link_consume(&s->l, ev.cost, now);
	}
	assert_int_equal(rc, WIRE_MORE);
}

static size_t gather(struct side *s, uint64_t now, struct iovec out[static CHANNEL_IOV_MAX])
{
	who = s == &side[1];
	return link_gather(&s->l, now, out);
}

/* At most so many bytes from one to the other. */
static void carry(struct side *from, struct side *to, size_t most, uint64_t now)
{
	struct iovec out[CHANNEL_IOV_MAX], in[2];
	while (most && gather(from, now, out) > 0) {
		link_space(&to->l, in);
		size_t n = out[0].iov_len < in[0].iov_len ? out[0].iov_len : in[0].iov_len;
		n = n < most ? n : most;
		memcpy(in[0].iov_base, out[0].iov_base, n);
		link_wrote(&from->l, n);
		link_filled(&to->l, n, now);
		hear(to, now);
		most -= n;
	}
}

/* The cut: what was written and never arrived. */
static void lose(struct side *from, size_t most, uint64_t now)
{
	struct iovec out[CHANNEL_IOV_MAX];
	while (most && gather(from, now, out) > 0) {
		size_t n = out[0].iov_len < most ? out[0].iov_len : most;
		link_wrote(&from->l, n);
		most -= n;
	}
}

static void connect_again(enum party_mode mode, bool fresh, struct prng *p, uint64_t now)
{
	struct duo d;
	struct wire_err err = {0};
	struct frame_attach a = {.role = ROLE_SENDER,
				 .fresh = fresh,
				 .received = link_received(&side[0].l),
				 .granted = link_grant(&side[0].l)};
	duo_begin(&d, mode, &a, p);
	d.i.rekey_every = d.r.rekey_every = REKEY_EVERY;
	duo_talk(&d, duo_messages(mode));
	assert_int_equal(d.r.state, HS_DECIDE);
	duo_welcome(&d, &(struct frame_welcome){.epoch = 1,
						.received = link_received(&side[1].l),
						.granted = link_grant(&side[1].l)});
	a = d.r.attach;
	assert_int_equal(link_attach(&side[1].l, &d.r, a.received, a.granted, now, &err), WIRE_OK);
	assert_int_equal(link_attach(&side[0].l, &d.i, d.i.welcome.received, d.i.welcome.granted, now, &err),
			 WIRE_OK);
}

static void converse(struct prng *p, uint64_t *now)
{
	for (unsigned round = 0; round < ROUNDS; round++, *now += 3)
		for (int k = 0; k < 2; k++) {
			for (size_t n = prng_below(p, 30); n; n--)
				say(&side[k], *now);
			carry(&side[k], &side[!k], prng_below(p, 2500), *now);
			link_tick(&side[k].l, *now);
		}
}

static void a_session(enum party_mode mode)
{
	struct prng p = {mode + 1};
	uint64_t now = 1000, replayed = 0;
	struct link_config cfg = {.window = WINDOW_BYTES,
				  .ring = WINDOW_BYTES,
				  .max_body = RECORD_BODY_MAX_BYTES,
				  .reconnect_ms = LINK_FOREVER,
				  .credit_wait_ms = LINK_FOREVER,
				  .idle_ms = LINK_FOREVER,
				  .source = {buf_malloc, NULL}};
	bool raised;
	for (int k = 0; k < 2; k++) {
		side[k] = (struct side){0};
		assert_int_equal(link_init(&side[k].l, &cfg, now, &raised), WIRE_OK);
	}
	for (unsigned c = 0; c < CONNECTIONS; c++) {
		connect_again(mode, c == 0, &p, now);
		converse(&p, &now);
		for (int k = 0; k < 2; k++)
			lose(&side[k], prng_below(&p, 4000), now);
		for (int k = 0; k < 2; k++)
			link_detach(&side[k].l, now);
	}
	for (int k = 0; k < 2; k++) {
		replayed += side[k].l.replayed_bytes / MESSAGE_BYTES;
		assert_true(side[k].got > 50 * CONNECTIONS && side[!k].got <= side[k].next);
		link_free(&side[k].l);
	}
	print_message("# %s: %u connections, %llu messages, %llu of them sealed again\n",
		      party_mode_names[mode], CONNECTIONS, (unsigned long long)(side[0].next + side[1].next),
		      (unsigned long long)replayed);
	assert_true(replayed > 10 * CONNECTIONS);
}

static void never_twice(void **state)
{
	(void)state;
	pair_count = 0;
	for (int mode = 0; mode < PARTY_MODES; mode++)
		a_session((enum party_mode)mode);
	print_message("# %zu uses of the cipher\n", pair_count);
	assert_true(pair_count > 300 * CONNECTIONS);
	assert_int_equal(repeated_pairs(), 0);
}

/* Would it be seen? The same secrets once more make the same keys. */
static void a_repetition_is_seen(void **state)
{
	(void)state;
	for (int mode = 0; mode < PARTY_MODES; mode++) {
		struct frame_attach a = {.role = ROLE_SENDER, .fresh = 1};
		pair_count = 0;
		for (int again = 0; again < 2; again++) {
			struct duo d;
			duo_begin(&d, (enum party_mode)mode, &a, &(struct prng){9});
			duo_talk(&d, duo_messages((enum party_mode)mode));
		}
		assert_true(pair_count >= 6);
		assert_int_equal(repeated_pairs(), pair_count / 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(never_twice),
		cmocka_unit_test(a_repetition_is_seen),
	};
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, begin, end);
}
