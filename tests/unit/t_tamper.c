/*
 * Somebody in the middle, in every mode that encrypts: each bit of the opening and of one record of each type, both
 * ways; records that are dropped, swapped, repeated, reflected, cut, or come from another connection. Whatever it is,
 * the side that reads it is through with the connection, and has been given nothing of it.
 */
#include "tests/unit/unit.h"

#include <sodium.h>

#include "tests/unit/parties.h"
#include "wire/channel.h"

#define BODY_BYTES   64u
#define BODY_MAX     4096u /* what the reader accepts: a length that grew has to wait for no more */
#define AFTER_BYTES  (2 * BODY_MAX)
#define RECORD_BYTES (RECORD_LEN_BYTES + FRAME_HEAD_BYTES + BODY_BYTES + 16u)

static const uint8_t types[] = {F_ACK,	F_PING, F_PONG, F_CANCEL, F_FIN,  F_BEGIN,  F_OFFER,
				F_PACK, F_DATA, F_HOLE, F_END,	  F_KEEP, F_FLUSH,  F_FINISH,
				F_WANT, F_HAVE, F_NEED, F_RESULT, F_STOP, F_SUMMARY};
#define TYPES COUNT(types)

static size_t refused; /* so many changes, in this test */

static int begin(void **state)
{
	(void)state;
	make_parties();
	return 0;
}

static struct frame_attach some_attach(void)
{
	struct frame_attach a = {.role = ROLE_SENDER, .fresh = 1, .received = 77, .granted = 1234567};
	a.subdir = (struct span){(const uint8_t *)"in/here", 7};
	return a;
}

static struct duo begun(enum party_mode mode, uint64_t seed)
{
	struct duo d;
	struct frame_attach a = some_attach();
	duo_begin(&d, mode, &a, &(struct prng){seed});
	return d;
}

static const struct frame_welcome welcome = {.epoch = 3, .received = 42, .granted = 1u << 20};

static struct duo connected(enum party_mode mode, uint64_t seed)
{
	struct duo d = begun(mode, seed);
	duo_talk(&d, duo_messages(mode));
	duo_welcome(&d, &welcome);
	return d;
}

/* ---- the opening ---- */

static bool is_over(const struct handshake *hs)
{
	return hs->state == HS_DONE || hs->state == HS_DECIDE;
}

/* The m-th message arrives as changed, with bytes behind it that somebody may be waiting for; then both go on. */
static void refuse_opening(const struct duo *before, unsigned m, const uint8_t *changed, size_t n, size_t bit)
{
	struct duo d = *before;
	struct handshake *to = m % 2 ? &d.i : &d.r, *from = m % 2 ? &d.r : &d.i;
	uint8_t bytes[sizeof to->in + sizeof to->out];
	memset(bytes, 0x55, sizeof bytes);
	memcpy(bytes, changed, n);
	bool was_done = is_over(from);
	size_t said = to->out_len;
	enum wire_rc rc = duo_feed(to, bytes, sizeof bytes);
	bool answered = to->out_len > said;
	for (int k = 0; k < 4 && rc == WIRE_OK && !is_over(to); k++) {
		rc = duo_say(to, from);
		struct handshake *next = from;
		from = to;
		to = next;
	}
	if (is_over(to) || (is_over(from) && !was_done))
		fail_msg("message %u: bit %zu is not noticed", m, bit);
	/* C1 and C2, which prove nothing, and the prefix of mode 0 aside, what was changed is met with silence */
	bool told = d.r.in[9] == AUTH_NONE || (before->r.mode == AUTH_CODE && m < 2);
	if (answered && !told)
		fail_msg("message %u: bit %zu is answered", m, bit);
	refused++;
}

static void every_bit_of_the_opening(void **state)
{
	(void)state;
	for (int mode = 0; mode < PARTY_MODES; mode++) {
		refused = 0;
		for (unsigned m = 0; m <= duo_messages((enum party_mode)mode); m++) {
			struct duo d = begun((enum party_mode)mode, 5);
			duo_talk(&d, m);
			if (m == duo_messages((enum party_mode)mode))
				handshake_welcome(&d.r, &welcome);
			struct handshake *from = m % 2 ? &d.r : &d.i;
			uint8_t bytes[sizeof from->out];
			size_t n = from->out_len;
			assert_true(n > 30);
			memcpy(bytes, from->out, n);
			handshake_sent(from, n);
			for (size_t bit = 0; bit < 8 * n; bit++) {
				bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
				refuse_opening(&d, m, bytes, n, bit);
				bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
			}
		}
		print_message("# %s: %zu flipped bits of the opening, none accepted\n",
			      party_mode_names[mode], refused);
	}
}

/* ---- records ---- */

struct stream {
	uint8_t p[TYPES][RECORD_BYTES];
	struct seal at[TYPES + 1]; /* of the reader, before each of them */
};

/* One record of each type, as `tx` seals them; the reader has `rx`. */
static void make_stream(struct stream *s, struct seal tx, struct seal rx)
{
	for (size_t t = 0; t < TYPES; t++) {
		bool message = frame_class_of(types[t]) == FRAME_CLASS_MESSAGE;
		struct frame_head h = {types[t], BODY_BYTES, message ? BODY_BYTES : 0, message ? t : 0};
		uint8_t copy[RECORD_BYTES];
		size_t body_len;
		frame_head_put(s->p[t] + RECORD_LEN_BYTES, &h);
		prng_fill(&(struct prng){t}, s->p[t] + RECORD_LEN_BYTES + FRAME_HEAD_BYTES, BODY_BYTES);
		assert_true(seal_whole(&tx, s->p[t], FRAME_HEAD_BYTES + BODY_BYTES));
		s->at[t] = rx;
		memcpy(copy, s->p[t], sizeof copy);
		assert_true(
			seal_open(&rx, copy + RECORD_LEN_BYTES, RECORD_BYTES - RECORD_LEN_BYTES, &body_len));
	}
	s->at[TYPES] = rx;
}

/* A reader takes n bytes, all of them, even when it has had enough: how many records come out, and the first bad news.
 */
static enum wire_rc records_in(const struct seal *rx, const uint8_t *p, size_t n, size_t *count)
{
	struct channel ch;
	struct seal tx = {0};
	struct channel_record rec;
	struct wire_err err = {0};
	enum wire_rc rc = WIRE_MORE, bad = WIRE_MORE;
	*count = 0;
	assert_true(channel_open(&ch, &tx, rx, 0, BODY_MAX, (struct buf_source){buf_malloc, NULL}));
	while (n) {
		struct iovec iov[2];
		assert_true(channel_space(&ch, iov) && iov[0].iov_len);
		size_t k = n < iov[0].iov_len ? n : iov[0].iov_len;
		k = k < 333 ? k : 333;
		memcpy(iov[0].iov_base, p, k);
		channel_filled(&ch, k);
		p += k;
		n -= k;
		while ((rc = channel_next(&ch, &rec, &err)) == WIRE_OK) {
			buf_put(rec.buf);
			++*count;
		}
		bad = bad == WIRE_MORE ? rc : bad;
		if (rc != WIRE_MORE)
			assert_int_equal(channel_next(&ch, &rec, &err), WIRE_MORE);
	}
	channel_close(&ch);
	return bad;
}

/* The first `good` records are what they should be, the rest is never seen. */
static void ends_after(const struct seal *rx, const uint8_t *p, size_t n, size_t good, const char *what,
		       size_t at)
{
	size_t count;
	enum wire_rc rc = records_in(rx, p, n, &count);
	if (rc != WIRE_DAMAGED || count != good)
		fail_msg("%s at %zu: rc %d after %zu records, not %zu", what, at, rc, count, good);
	refused++;
}

static void flip_each_bit(const struct stream *s)
{
	for (size_t t = 0; t < TYPES; t++) {
		uint8_t bytes[RECORD_BYTES + AFTER_BYTES];
		memset(bytes, 0x55, sizeof bytes);
		memcpy(bytes, s->p[t], RECORD_BYTES);
		size_t count;
		assert_int_equal(records_in(&s->at[t], bytes, RECORD_BYTES, &count), WIRE_MORE);
		assert_int_equal(count, 1);
		for (size_t bit = 0; bit < 8 * RECORD_BYTES; bit++) {
			bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
			ends_after(&s->at[t], bytes, sizeof bytes, 0, frame_name(types[t]), bit);
			bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
	}
}

static void every_bit_of_every_record(void **state)
{
	(void)state;
	static struct stream s;
	for (int mode = 0; mode < PARTY_MODES; mode++) {
		struct duo d = connected((enum party_mode)mode, 6);
		refused = 0;
		make_stream(&s, d.i.tx, d.r.rx);
		flip_each_bit(&s);
		make_stream(&s, d.r.tx, d.i.rx);
		flip_each_bit(&s);
		assert_int_equal(refused, 2 * TYPES * 8 * RECORD_BYTES);
		print_message("# %s: %zu flipped bits of records, none accepted\n", party_mode_names[mode],
			      refused);
	}
}

/* ---- order ---- */

struct sequence {
	uint8_t p[2 * TYPES * RECORD_BYTES];
	size_t n;
};

static void add(struct sequence *q, const uint8_t *record)
{
	memcpy(q->p + q->n, record, RECORD_BYTES);
	q->n += RECORD_BYTES;
}

/* s with something done at record k; `other` stands for a stream that is not this one. */
static void change_order(const struct stream *s, const struct stream *other, size_t k)
{
	static struct sequence drop, swap, repeat, late, foreign, instead;
	drop.n = swap.n = repeat.n = late.n = foreign.n = instead.n = 0;
	for (size_t t = 0; t < TYPES; t++) {
		size_t swapped = t == k ? k + 1 : t == k + 1 ? k : t;
		if (t != k)
			add(&drop, s->p[t]);
		if (k + 1 < TYPES)
			add(&swap, s->p[swapped]);
		add(&repeat, s->p[t]);
		if (t == k)
			add(&repeat, s->p[t]);
		add(&late, s->p[t]);
		if (t == k)
			add(&foreign, other->p[t]);
		add(&foreign, s->p[t]);
		add(&instead, t == k ? other->p[t] : s->p[t]);
	}
	add(&late, s->p[k]);
	if (k + 1 < TYPES) {
		ends_after(&s->at[0], drop.p, drop.n, k, "dropped", k);
		ends_after(&s->at[0], swap.p, swap.n, k, "swapped", k);
	}
	ends_after(&s->at[0], repeat.p, repeat.n, k + 1, "repeated", k);
	ends_after(&s->at[0], late.p, late.n, TYPES, "repeated at the end", k);
	ends_after(&s->at[0], foreign.p, foreign.n, k, "inserted", k);
	ends_after(&s->at[0], instead.p, instead.n, k, "exchanged", k);
}

static void records_only_where_they_were_sealed(void **state)
{
	(void)state;
	static struct stream s, back, elsewhere;
	for (int mode = 0; mode < PARTY_MODES; mode++) {
		struct duo d = connected((enum party_mode)mode, 7), e = connected((enum party_mode)mode, 8);
		refused = 0;
		for (int dir = 0; dir < 2; dir++) {
			make_stream(&s, dir ? d.r.tx : d.i.tx, dir ? d.i.rx : d.r.rx);
			make_stream(&back, dir ? d.i.tx : d.r.tx, dir ? d.r.rx : d.i.rx);
			make_stream(&elsewhere, dir ? e.r.tx : e.i.tx, dir ? e.i.rx : e.r.rx);
			for (size_t k = 0; k < TYPES; k++) {
				change_order(&s, &back, k);	 /* reflected */
				change_order(&s, &elsewhere, k); /* of another connection of the same two */
			}
		}
		print_message("# %s: %zu records out of their place, none accepted\n", party_mode_names[mode],
			      refused);
	}
}

/* Every cut is an end without FIN: what is whole comes out, what is not is waited for, and nothing is taken for an
 * end that was not said. */
static void cut_at_every_byte(void **state)
{
	(void)state;
	static struct stream s;
	for (int mode = 0; mode < PARTY_MODES; mode++) {
		struct duo d = connected((enum party_mode)mode, 9);
		make_stream(&s, d.i.tx, d.r.rx);
		for (size_t n = 1; n <= sizeof s.p; n++) {
			size_t count;
			assert_int_equal(records_in(&s.at[0], s.p[0], n, &count), WIRE_MORE);
			assert_int_equal(count, n / RECORD_BYTES);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_bit_of_the_opening),
		cmocka_unit_test(every_bit_of_every_record),
		cmocka_unit_test(records_only_where_they_were_sealed),
		cmocka_unit_test(cut_at_every_byte),
	};
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, begin, NULL);
}
