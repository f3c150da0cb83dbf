/*
 * One connection: records survive every way a byte stream can be cut into reads and writes, large ones go
 * straight to their block, and nothing that was damaged or is out of place gets through.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/mutate.h"
#include "wire/channel.h"

#define MAX_BODY (512u << 10)
#define NO_LIMIT SIZE_MAX

/* ---- blocks that are counted, and that run out when told ---- */

static long live;
static size_t blocks_left = NO_LIMIT;

static void put_counted(struct buf *b)
{
	live--;
	free(b);
}

static struct buf *get_counted(void *ctx, size_t cap)
{
	if (!blocks_left)
		return NULL;
	if (blocks_left != NO_LIMIT)
		blocks_left--;
	struct buf *b = buf_malloc(ctx, cap);
	assert_non_null(b);
	b->put = put_counted;
	live++;
	return b;
}

static void open_channel(struct channel *ch)
{
	struct seal zero = {0};
	assert_true(channel_open(ch, &zero, &zero, 0, MAX_BODY, (struct buf_source){get_counted, NULL}));
}

/* ---- what is sent ---- */

/* lengths around every border: empty, a stage quarter, a stage, more */
static const size_t lengths[] = {
	0, 1, 90, 300, 16383 - 28, 16384 - 28, 16385 - 28, 20000, 65536 - 28 - 4, 65536, 200000, 3, 0};

#define MESSAGES (sizeof lengths / sizeof lengths[0])

static struct ring_entry entries[MESSAGES];

static int make_entries(void **state)
{
	(void)state;
	uint64_t offset = 0;
	for (size_t i = 0; i < MESSAGES; i++) {
		struct buf *b = buf_malloc(NULL, lengths[i] + 5);
		if (!b)
			return -1;
		b->off = 5; /* headroom is not content */
		b->len = lengths[i];
		prng_fill(&(struct prng){i}, buf_bytes(b), b->len);
		entries[i] = (struct ring_entry){offset, (uint32_t)lengths[i] + 1, F_DATA, b};
		offset += entries[i].cost;
	}
	return 0;
}

static int free_entries(void **state)
{
	(void)state;
	for (size_t i = 0; i < MESSAGES; i++)
		buf_put(entries[i].body);
	return 0;
}

struct bytes {
	uint8_t *p;
	size_t n;
};

/* Everything the channel has to write, taken in pieces of at most `piece` bytes. */
static void drain(struct channel *ch, struct bytes *out, size_t piece)
{
	struct iovec iov[CHANNEL_IOV_MAX];
	size_t areas;
	while ((areas = channel_gather(ch, iov)) > 0) {
		size_t left = piece, n = 0;
		for (size_t i = 0; i < areas && left; i++) {
			assert_true(iov[i].iov_len > 0);
			size_t k = iov[i].iov_len < left ? iov[i].iov_len : left;
			memcpy(out->p + out->n, iov[i].iov_base, k);
			out->n += k;
			left -= k;
			n += k;
		}
		channel_wrote(ch, n);
	}
}

/* Every message, a PING before each second one. */
static struct bytes stream(size_t first, size_t count, size_t piece)
{
	struct channel ch;
	struct bytes out = {malloc(1u << 20), 0};
	assert_non_null(out.p);
	open_channel(&ch);
	for (size_t i = first; i < first + count; i++) {
		if (!channel_ready(&ch))
			drain(&ch, &out, piece);
		if (i % 2)
			channel_put_control(&ch, F_PING, (const uint8_t *)"\1", 1);
		channel_put_message(&ch, &entries[i]);
	}
	drain(&ch, &out, piece);
	assert_true(ch.sent == entries[first + count - 1].offset + entries[first + count - 1].cost);
	assert_true(ch.bytes_out == out.n);
	channel_close(&ch);
	return out;
}

/* ---- what arrives ---- */

struct reader {
	struct channel ch;
	size_t next, end; /* message expected */
	bool control;	  /* and whether its PING has come */
	size_t direct;	  /* bytes that were read straight into a block */
};

static void check_record(struct reader *r, struct channel_record *rec)
{
	assert_true(r->next < r->end);
	const struct ring_entry *e = &entries[r->next];
	if (r->next % 2 && !r->control) {
		assert_int_equal(rec->head.type, F_PING);
		assert_null(rec->buf);
		assert_int_equal(rec->body.n, 1);
		assert_int_equal(rec->body.p[0], 1);
		r->control = true;
		return;
	}
	assert_int_equal(rec->head.type, F_DATA);
	assert_true(rec->head.offset == e->offset && rec->head.cost == e->cost);
	assert_int_equal(rec->body.n, e->body->len);
	assert_non_null(rec->buf);
	assert_int_equal(rec->buf->len, e->body->len);
	if (e->body->len) {
		assert_ptr_equal(rec->body.p, buf_bytes(rec->buf));
		assert_memory_equal(rec->body.p, buf_bytes(e->body), e->body->len);
	}
	buf_put(rec->buf);
	r->next++;
	r->control = false;
}

static enum wire_rc next_records(struct reader *r, struct wire_err *err)
{
	struct channel_record rec;
	enum wire_rc rc;
	while ((rc = channel_next(&r->ch, &rec, err)) == WIRE_OK)
		check_record(r, &rec);
	return rc;
}

static enum wire_rc feed(struct reader *r, const uint8_t *p, size_t n, size_t chunk, struct wire_err *err)
{
	enum wire_rc rc = WIRE_MORE;
	while (n && rc == WIRE_MORE) {
		struct iovec iov[2];
		size_t areas = channel_space(&r->ch, iov), took = 0;
		for (size_t i = 0; i < areas; i++) {
			size_t k = n < chunk - took ? n : chunk - took;
			assert_true(iov[i].iov_len > 0);
			k = k < iov[i].iov_len ? k : iov[i].iov_len;
			memcpy(iov[i].iov_base, p, k);
			if (areas == 2 && i == 0)
				r->direct += k;
			p += k;
			n -= k;
			took += k;
			if (k < iov[i].iov_len)
				break;
		}
		channel_filled(&r->ch, took);
		rc = next_records(r, err);
	}
	return rc;
}

static void every_way_to_cut_reads(void **state)
{
	(void)state;
	struct bytes s = stream(0, MESSAGES, SIZE_MAX);
	static const size_t chunks[] = {1,    2,     3,	    7,	   31,	  32,	 33,	  1000,
					4096, 16384, 16417, 65535, 65536, 65537, SIZE_MAX};
	for (size_t i = 0; i < sizeof chunks / sizeof chunks[0]; i++) {
		struct reader r = {.end = MESSAGES};
		struct wire_err err = {0};
		open_channel(&r.ch);
		assert_int_equal(feed(&r, s.p, s.n, chunks[i], &err), WIRE_MORE);
		assert_int_equal(r.next, MESSAGES);
		assert_true(r.ch.bytes_in == s.n);
		/* of the largest one at least what the stage did not hold already */
		assert_true(r.direct >= 200000 - CHANNEL_STAGE_BYTES);
		channel_close(&r.ch);
		assert_int_equal(live, 0);
	}
	free(s.p);
}

static void random_cuts(void **state)
{
	(void)state;
	struct bytes s = stream(0, MESSAGES, SIZE_MAX);
	struct prng p = {1};
	for (int k = 0; k < 100; k++) {
		struct reader r = {.end = MESSAGES};
		struct wire_err err = {0};
		open_channel(&r.ch);
		for (size_t at = 0; at < s.n;) {
			size_t n = 1 + prng_below(&p, prng_below(&p, 4) ? 200 : 70000);
			n = n < s.n - at ? n : s.n - at;
			assert_int_equal(feed(&r, s.p + at, n, SIZE_MAX, &err), WIRE_MORE);
			at += n;
		}
		assert_int_equal(r.next, MESSAGES);
		channel_close(&r.ch);
	}
	free(s.p);
	assert_int_equal(live, 0);
}

static void every_two_pieces(void **state)
{
	(void)state;
	struct bytes s = stream(0, 4, SIZE_MAX);
	for (size_t at = 0; at <= s.n; at++) {
		struct reader r = {.end = 4};
		struct wire_err err = {0};
		open_channel(&r.ch);
		feed(&r, s.p, at, SIZE_MAX, &err);
		feed(&r, s.p + at, s.n - at, SIZE_MAX, &err);
		assert_int_equal(err.rc, WIRE_OK);
		assert_int_equal(r.next, 4);
		channel_close(&r.ch);
	}
	free(s.p);
}

static void writes_of_any_size_make_the_same_bytes(void **state)
{
	(void)state;
	struct bytes whole = stream(0, MESSAGES, SIZE_MAX);
	static const size_t pieces[] = {1, 5, 23, 24, 25, 1000, 65536};
	for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
		struct bytes s = stream(0, MESSAGES, pieces[i]);
		assert_int_equal(s.n, whole.n);
		assert_memory_equal(s.p, whole.p, s.n);
		free(s.p);
	}
	free(whole.p);
}

/* ---- damage ---- */

static void judge(void *ctx, enum mutation kind, size_t at, const uint8_t *p, size_t n)
{
	const struct bytes *whole = ctx;
	struct reader r = {.end = 4};
	struct wire_err err = {0};
	open_channel(&r.ch);
	enum wire_rc rc = feed(&r, p, n, 100, &err);
	if (rc != WIRE_DAMAGED && rc != WIRE_MORE)
		fail_msg("mutation %d at %zu: rc %d: %s", kind, at, rc, err.check);
	if (kind == MUTATE_APPEND)
		assert_int_equal(r.next, 4);
	else if (r.next == 4)
		fail_msg("all arrives after mutation %d at %zu of %zu", kind, at, whole->n);
	channel_close(&r.ch);
	if (live)
		fail_msg("a block leaks after mutation %d at %zu", kind, at);
}

static void no_flipped_bit_passes(void **state)
{
	(void)state;
	struct bytes s = stream(0, 4, SIZE_MAX);
	mutate_each(s.p, s.n, judge, &s);
	free(s.p);
}

static void flips_in_a_large_record(void **state)
{
	(void)state;
	struct bytes s = stream(10, 1, SIZE_MAX);
	for (size_t at = 0; at < s.n; at += at < 40 || at > s.n - 20 ? 1 : 4999) {
		struct reader r = {.next = 10, .end = 11};
		struct wire_err err = {0};
		open_channel(&r.ch);
		s.p[at] ^= 0x10;
		enum wire_rc rc = feed(&r, s.p, s.n, 5000, &err);
		s.p[at] ^= 0x10;
		assert_int_equal(r.next, 10);
		assert_true(rc == WIRE_DAMAGED || (rc == WIRE_MORE && at < RECORD_LEN_BYTES));
		channel_close(&r.ch);
		assert_int_equal(live, 0);
	}
	free(s.p);
}

static void lengths_out_of_range_are_damage(void **state)
{
	(void)state;
	static const struct {
		uint32_t length;
		enum wire_rc rc;
	} cases[] = {
		{0, WIRE_DAMAGED},
		{27, WIRE_DAMAGED},
		{28, WIRE_MORE},
		{28 + MAX_BODY, WIRE_MORE},
		{28 + MAX_BODY + 1, WIRE_DAMAGED},
		{UINT32_MAX, WIRE_DAMAGED},
		{UINT32_MAX - 3, WIRE_DAMAGED},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct reader r = {0};
		struct wire_err err = {0};
		uint8_t b[RECORD_LEN_BYTES];
		struct wr w = wr_init(b, sizeof b);
		wr_uint(&w, cases[i].length, sizeof b);
		open_channel(&r.ch);
		assert_int_equal(feed(&r, b, sizeof b, SIZE_MAX, &err), cases[i].rc);
		if (cases[i].rc == WIRE_DAMAGED)
			assert_true(err.at == cases[i].length);
		channel_close(&r.ch);
		assert_int_equal(live, 0);
	}
}

/* ---- sealed well, and still wrong ---- */

static enum wire_rc forged(const struct frame_head *head, size_t body_len, const char **why)
{
	struct reader r = {0};
	struct wire_err err = {0};
	struct seal seal = {0};
	uint8_t *p = calloc(1, RECORD_LEN_BYTES + FRAME_HEAD_BYTES + body_len + RECORD_TAG_MAX_BYTES);
	assert_non_null(p);
	struct wr w = wr_init(p, RECORD_LEN_BYTES);
	wr_uint(&w, FRAME_HEAD_BYTES + body_len + seal_tag_bytes(&seal), RECORD_LEN_BYTES);
	frame_head_put(p + RECORD_LEN_BYTES, head);
	uint8_t *body = p + RECORD_LEN_BYTES + FRAME_HEAD_BYTES, tag[RECORD_TAG_MAX_BYTES];
	seal_close(&seal, p + RECORD_LEN_BYTES, body, body_len, tag);
	memcpy(body + body_len, tag, seal_tag_bytes(&seal));
	open_channel(&r.ch);
	size_t n = RECORD_LEN_BYTES + FRAME_HEAD_BYTES + body_len + seal_tag_bytes(&seal);
	enum wire_rc rc = feed(&r, p, n, 5000, &err);
	*why = err.check;
	channel_close(&r.ch);
	free(p);
	assert_int_equal(live, 0);
	return rc;
}

static void assert_violation(const struct frame_head *head, size_t body_len, const char *part)
{
	const char *why;
	enum wire_rc rc = forged(head, body_len, &why);
	if (rc != WIRE_VIOLATION || !strstr(why, part))
		fail_msg("%s: rc %d (%s), expected: %s", frame_name(head->type), rc, why ? why : "-", part);
}

static void what_no_peer_says(void **state)
{
	(void)state;
	static const uint8_t attaching[] = {F_ATTACH, F_WELCOME, F_REFUSE};
	for (size_t i = 0; i < sizeof attaching; i++)
		assert_violation(&(struct frame_head){attaching[i], 50, 0, 0}, 50, "after the handshake");
	assert_violation(&(struct frame_head){0x7f, 10, 0, 0}, 10, "unknown");
	assert_violation(&(struct frame_head){0x7f, 30000, 1, 0}, 30000, "unknown");
	assert_violation(&(struct frame_head){F_DATA, 10, 0, 0}, 10, "costs nothing");
	assert_violation(&(struct frame_head){F_DATA, 11, 100, 0}, 10, "as long as its head says");
	assert_violation(&(struct frame_head){F_DATA, 9, 100, 0}, 10, "as long as its head says");
	assert_violation(&(struct frame_head){F_DATA, 30001, 100000, 0}, 30000, "as long as its head says");
	assert_violation(&(struct frame_head){F_DATA, 30000, 1, 0}, 30000, "longer than its cost");
}

/* A control frame is refused for its length in the stage and in a block of its own alike. */
static void control_frames_are_short(void **state)
{
	(void)state;
	static const uint8_t control[] = {F_ACK, F_PING, F_PONG, F_CANCEL, F_FIN};
	for (size_t i = 0; i < sizeof control; i++) {
		static const uint32_t too_long[] = {CONTROL_BODY_MAX_BYTES + 1, 4000, 16384, 30000, 100000};
		for (size_t k = 0; k < sizeof too_long / sizeof too_long[0]; k++)
			assert_violation(&(struct frame_head){control[i], too_long[k], 0, 0}, too_long[k],
					 "is too long");
	}
}

/* ---- memory ---- */

static void blocks_that_run_out(void **state)
{
	(void)state;
	struct bytes s = stream(0, MESSAGES, SIZE_MAX);
	for (size_t left = 0; left <= MESSAGES; left++) {
		struct reader r = {.end = MESSAGES};
		struct wire_err err = {0};
		open_channel(&r.ch);
		blocks_left = left;
		enum wire_rc rc = feed(&r, s.p, s.n, 10000, &err);
		blocks_left = NO_LIMIT;
		assert_int_equal(rc, left < MESSAGES ? WIRE_NOMEM : WIRE_MORE);
		assert_int_equal(r.next, left);
		channel_close(&r.ch);
		assert_int_equal(live, 0);
	}
	free(s.p);
}

static void a_cut_record_is_forgotten(void **state)
{
	(void)state;
	struct bytes s = stream(10, 1, SIZE_MAX);
	for (size_t n = 0; n < s.n; n += 9973) {
		struct reader r = {.next = 10, .end = 11};
		struct wire_err err = {0};
		open_channel(&r.ch);
		assert_int_equal(feed(&r, s.p, n, 3000, &err), WIRE_MORE);
		channel_close(&r.ch);
		channel_close(&r.ch);
		assert_int_equal(live, 0);
	}
	free(s.p);
}

/* ---- the queue of sealed records ---- */

static void slots(void **state)
{
	(void)state;
	struct channel ch;
	struct bytes out = {malloc(1u << 20), 0};
	assert_non_null(out.p);
	open_channel(&ch);
	for (size_t i = 0; i < CHANNEL_SLOTS; i++) {
		assert_true(channel_ready(&ch));
		channel_put_control(&ch, F_PING, (const uint8_t *)"\0", 1);
	}
	assert_false(channel_ready(&ch));
	channel_wrote(&ch, 32);
	assert_false(channel_ready(&ch));
	channel_wrote(&ch, 1);
	assert_true(channel_ready(&ch));
	drain(&ch, &out, 100);
	/* or by bytes: a large record closes it */
	struct ring_entry big = entries[10];
	big.offset = 0;
	assert_true(channel_ready(&ch));
	channel_put_message(&ch, &big);
	assert_true(channel_ready(&ch));
	big.offset += big.cost;
	channel_put_message(&ch, &big);
	assert_false(channel_ready(&ch));
	channel_close(&ch);
	free(out.p);
}

static void sent_is_what_is_out_in_full(void **state)
{
	(void)state;
	struct channel ch;
	open_channel(&ch);
	assert_true(channel_borrows(&ch) == UINT64_MAX);
	channel_put_control(&ch, F_PING, (const uint8_t *)"\0", 1);
	assert_true(channel_borrows(&ch) == UINT64_MAX);
	channel_put_message(&ch, &entries[2]);
	channel_put_message(&ch, &entries[3]);
	uint64_t end2 = entries[3].offset, end3 = end2 + entries[3].cost;
	size_t size2 = 32 + entries[2].body->len, size3 = 32 + entries[3].body->len;
	assert_true(channel_borrows(&ch) == end2);
	channel_wrote(&ch, 33 + size2 - 1);
	assert_true(ch.sent == 0 && channel_borrows(&ch) == end2);
	channel_wrote(&ch, 1);
	assert_true(ch.sent == end2 && channel_borrows(&ch) == end3);
	/* what the peer has is not unsaid by what is still to be written */
	channel_skip(&ch, end3 + 1000);
	assert_true(ch.sent == end3 + 1000);
	channel_wrote(&ch, size3);
	assert_true(ch.sent == end3 + 1000 && channel_borrows(&ch) == UINT64_MAX);
	channel_skip(&ch, 1);
	assert_true(ch.sent == end3 + 1000);
	channel_close(&ch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_way_to_cut_reads),
		cmocka_unit_test(random_cuts),
		cmocka_unit_test(every_two_pieces),
		cmocka_unit_test(writes_of_any_size_make_the_same_bytes),
		cmocka_unit_test(no_flipped_bit_passes),
		cmocka_unit_test(flips_in_a_large_record),
		cmocka_unit_test(lengths_out_of_range_are_damage),
		cmocka_unit_test(what_no_peer_says),
		cmocka_unit_test(control_frames_are_short),
		cmocka_unit_test(blocks_that_run_out),
		cmocka_unit_test(a_cut_record_is_forgotten),
		cmocka_unit_test(slots),
		cmocka_unit_test(sent_is_what_is_out_in_full),
	};
	return cmocka_run_group_tests(tests, make_entries, free_entries);
}
