/* lib/journal: what damage, staleness and repetition make of it. What is read is always a prefix of what was
 * written, and never goes past the damage. */
#include "lib/journal.h"

#include "tests/unit/mutate.h"
#include "tests/unit/unit.h"

#define RECORDS 5u
#define PATH	"dir/some file"

static struct journal_header head;
static struct journal_record records[RECORDS + 1];
static uint8_t journal[JOURNAL_HEAD_MAX_BYTES + (RECORDS + 2) * JOURNAL_RECORD_BYTES];
static size_t head_bytes, journal_bytes;

static struct journal_header make_head(const char *path, size_t len, uint64_t salt)
{
	struct journal_header h = {.session = "0123456789abcde",
				   .seed = 0x0123456789abcdef,
				   .stamp = UINT64_MAX - 1,
				   .size = 1ull << 40,
				   .chunk = CHUNK_MAX_BYTES,
				   .mode = 0640,
				   .salt = salt,
				   .path_len = (uint16_t)len};
	memcpy(h.path, path, len);
	return h;
}

static void put_record(uint64_t place, uint64_t seq)
{
	journal_put_record(&head, seq, &records[seq % (RECORDS + 1)],
			   journal + head_bytes + place * JOURNAL_RECORD_BYTES);
}

static int make(void **state)
{
	(void)state;
	struct prng random = {7};
	memset(journal, 0, sizeof journal);
	head = make_head(PATH, strlen(PATH), 0x5a17);
	for (unsigned i = 0; i <= RECORDS; i++) {
		records[i] = (struct journal_record){
			i % 2 ? JOURNAL_LINK : JOURNAL_CHUNK, prng_next(&random), prng_next(&random), {0}};
		prng_fill(&random, records[i].digest, DIGEST_BYTES);
	}
	head_bytes = journal_put_header(&head, journal);
	for (unsigned i = 0; i < RECORDS; i++)
		put_record(i, i);
	journal_bytes = head_bytes + RECORDS * JOURNAL_RECORD_BYTES;
	return 0;
}

static bool same_record(const struct journal_record *a, const struct journal_record *b)
{
	return a->type == b->type && a->offset == b->offset && a->length == b->length &&
	       memcmp(a->digest, b->digest, DIGEST_BYTES) == 0;
}

/* Reads as a receiver does: the number of records, each of which must be the one that was written; -1 when
 * the header is not believed. */
static int read_journal(const uint8_t *p, size_t n)
{
	struct journal_header h;
	struct journal_record r;
	size_t at = journal_get_header(p, n, &h);
	int count = 0;
	if (!at)
		return -1;
	assert_int_equal(at % JOURNAL_RECORD_BYTES, 0);
	assert_true(at <= n);
	for (; journal_get_record(&h, (uint64_t)count, p + at, n - at, &r); at += JOURNAL_RECORD_BYTES) {
		assert_true(count <= (int)RECORDS);
		assert_true(same_record(&r, &records[count]));
		count++;
	}
	return count;
}

static void round_trip(void **state)
{
	(void)state;
	static char path[PATH_MAX_BYTES];
	static uint8_t out[JOURNAL_HEAD_MAX_BYTES];
	const size_t lengths[] = {0, 1, 63, 64, 65, 4095, PATH_MAX_BYTES};
	memset(path, '\xff', sizeof path);
	for (size_t i = 0; i < COUNT(lengths); i++)
		for (int stream = 0; stream < 2; stream++) {
			struct journal_header h = make_head(path, lengths[i], i), back;
			h.stream = stream;
			memset(out, 0xa5, sizeof out);
			size_t n = journal_put_header(&h, out);
			assert_int_equal(n, JOURNAL_HEADER_BYTES + (lengths[i] + 63) / 64 * 64);
			assert_int_equal(journal_get_header(out, n, &back), n);
			assert_memory_equal(back.session, h.session, sizeof h.session);
			assert_true(back.seed == h.seed && back.stamp == h.stamp && back.size == h.size);
			assert_true(back.chunk == h.chunk && back.mode == h.mode && back.salt == h.salt);
			assert_true(back.stream == h.stream && back.path_len == h.path_len);
			assert_memory_equal(back.path, h.path, h.path_len);
			assert_int_equal(back.path[back.path_len], 0);
		}
	assert_int_equal(read_journal(journal, journal_bytes), RECORDS);
}

/* How many records may be believed at most once byte `at` is damaged or missing. */
static int intact_before(size_t at)
{
	return at < head_bytes ? 0 : (int)((at - head_bytes) / JOURNAL_RECORD_BYTES);
}

struct tally {
	unsigned seen[MUTATE_APPEND + 1];
};

static void judge(void *ctx, enum mutation kind, size_t at, const uint8_t *p, size_t n)
{
	struct tally *t = ctx;
	int count = read_journal(p, n);
	t->seen[kind]++;
	if (kind == MUTATE_APPEND) {
		assert_int_equal(count, RECORDS);
		return;
	}
	size_t byte = kind == MUTATE_BIT ? at / 8 : at;
	bool padding = byte >= JOURNAL_HEADER_BYTES + strlen(PATH) && byte < head_bytes;
	if (padding && kind != MUTATE_CUT)
		assert_int_equal(count, RECORDS);
	else if (byte < head_bytes)
		assert_int_equal(count, -1);
	else
		assert_int_equal(count, intact_before(byte));
}

static void every_damage(void **state)
{
	(void)state;
	struct tally t = {{0}};
	mutate_each(journal, journal_bytes, judge, &t);
	assert_int_equal(t.seen[MUTATE_BIT], 8 * journal_bytes);
	assert_int_equal(t.seen[MUTATE_CUT], journal_bytes);
}

/* Blocks of an older journal, which the file system brought back behind the end of the new one. */
static void stale_salt(void **state)
{
	(void)state;
	struct journal_header now = head;
	now.salt++;
	journal_put_header(&now, journal);
	assert_int_equal(read_journal(journal, journal_bytes), 0);
	journal_put_record(&now, 0, &records[0], journal + head_bytes);
	assert_int_equal(read_journal(journal, journal_bytes), 1);
}

static void repeated_tail(void **state)
{
	(void)state;
	put_record(RECORDS, RECORDS - 1);
	assert_int_equal(read_journal(journal, journal_bytes + JOURNAL_RECORD_BYTES), RECORDS);
	put_record(RECORDS, RECORDS);
	assert_int_equal(read_journal(journal, journal_bytes + JOURNAL_RECORD_BYTES), RECORDS + 1);
}

static void sequence_gap(void **state)
{
	(void)state;
	put_record(2, 3);
	assert_int_equal(read_journal(journal, journal_bytes), 2);
	put_record(2, 2);
	put_record(3, 2);
	assert_int_equal(read_journal(journal, journal_bytes), 3);
	put_record(0, 1);
	assert_int_equal(read_journal(journal, journal_bytes), 0);
}

static void unknown_type(void **state)
{
	(void)state;
	records[1].type = (enum journal_type)4;
	put_record(1, 1);
	assert_int_equal(read_journal(journal, journal_bytes), 1);
	records[1].type = (enum journal_type)0;
	put_record(1, 1);
	assert_int_equal(read_journal(journal, journal_bytes), 1);
}

/* What was not synced is believed in the boot that wrote it, and so is what follows. */
static void loose_in_another_boot(void **state)
{
	(void)state;
	records[3].type = JOURNAL_LOOSE;
	put_record(3, 3);
	assert_int_equal(read_journal(journal, journal_bytes), RECORDS);
	head.boot = 1;
	put_record(3, 3);
	struct journal_record r;
	const uint8_t *at = journal + head_bytes + 3 * JOURNAL_RECORD_BYTES;
	assert_true(journal_get_record(&head, 3, at, JOURNAL_RECORD_BYTES, &r));
	assert_int_equal(r.type, JOURNAL_LOOSE);
	head.boot = 2;
	assert_false(journal_get_record(&head, 3, at, JOURNAL_RECORD_BYTES, &r));
	head.boot = 0;
	assert_int_equal(read_journal(journal, journal_bytes), 3);
}

/* Well summed, but not possible. */
static void impossible_headers(void **state)
{
	(void)state;
	struct journal_header h = head, back;
	const uint32_t chunks[] = {0, CHUNK_MIN_BYTES - 1, CHUNK_MAX_BYTES + 1, UINT32_MAX};
	for (size_t i = 0; i < COUNT(chunks); i++) {
		h.chunk = chunks[i];
		journal_put_header(&h, journal);
		assert_int_equal(journal_get_header(journal, journal_bytes, &back), 0);
	}
	h.chunk = CHUNK_MIN_BYTES;
	journal_put_header(&h, journal);
	assert_int_equal(journal_get_header(journal, journal_bytes, &back), head_bytes);
	assert_int_equal(journal_get_header(journal, 0, &back), 0);
}

#define TEST(f) cmocka_unit_test_setup(f, make)
int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(round_trip),
		TEST(every_damage),
		TEST(stale_salt),
		TEST(repeated_tail),
		TEST(sequence_gap),
		TEST(unknown_type),
		TEST(loose_in_another_boot),
		TEST(impossible_headers),
	};
	return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
