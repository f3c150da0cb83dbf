/*
 * A journal of any bytes: what is believed encodes to the bytes that were read, and the numbers go on without
 * a gap. Input: a journal; with an odd first byte the records are sealed here for the header, so that the
 * fields behind the checksum are reached.
 */
#include "fuzz.h"

#include "lib/journal.h"

static void believed(const struct journal_header *h, const uint8_t *p, size_t n)
{
	struct journal_record rec;
	uint8_t again[JOURNAL_RECORD_BYTES];
	uint64_t seq = 0;
	for (; journal_get_record(h, seq, p, n, &rec); seq++) {
		CHECK(n >= JOURNAL_RECORD_BYTES);
		journal_put_record(h, seq, &rec, again);
		CHECK(memcmp(again, p, sizeof again) == 0);
		CHECK(!journal_get_record(h, seq + 1, p, n, &rec));
		p += JOURNAL_RECORD_BYTES;
		n -= JOURNAL_RECORD_BYTES;
	}
}

static void sealed(struct journal_header *h, struct rd *r)
{
	struct journal_record rec = {.type = 1 + rd_u8(r) % 2}, back;
	uint8_t at[JOURNAL_RECORD_BYTES];
	uint64_t seq = rd_u64(r);
	rec.offset = rd_u64(r);
	rec.length = rd_u64(r);
	rd_fix(r, rec.digest, sizeof rec.digest);
	journal_put_record(h, seq, &rec, at);
	if (journal_get_record(h, seq, at, sizeof at, &back))
		CHECK(back.offset == rec.offset && back.length == rec.length && back.type == rec.type);
	uint8_t bit = rd_u8(r);
	at[bit % sizeof at] ^= (uint8_t)(1u << bit / sizeof at);
	CHECK(!journal_get_record(h, seq, at, sizeof at, &back));
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static struct journal_header h;
	static uint8_t again[JOURNAL_HEAD_MAX_BYTES];
	struct rd r = rd_init(p, n);
	uint8_t how = rd_u8(&r);
	memset(&h, 0, sizeof h);
	if (how & 1) {
		h.salt = rd_u64(&r);
		while (r.n && !r.bad)
			sealed(&h, &r);
		return 0;
	}
	size_t head = r.n ? journal_get_header(r.p, r.n, &h) : 0;
	if (head) {
		CHECK(head <= r.n && h.path_len <= PATH_MAX_BYTES && h.path[h.path_len] == 0);
		CHECK(journal_put_header(&h, again) == head);
		believed(&h, r.p + head, r.n - head);
	}
	return 0;
}
