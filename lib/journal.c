#include "lib/journal.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "wire/cursor.h"

#define HEADER_MAGIC 0x314a4c55u /* "ULJ1" */
#define RECORD_MAGIC 0x314a4c52u
#define CHECK_BYTES  8u

static size_t padded(size_t path_len)
{
	return (path_len + JOURNAL_RECORD_BYTES - 1) / JOURNAL_RECORD_BYTES * JOURNAL_RECORD_BYTES;
}

size_t journal_put_header(const struct journal_header *h, uint8_t out[static JOURNAL_HEAD_MAX_BYTES])
{
	size_t n = JOURNAL_HEADER_BYTES + padded(h->path_len);
	memset(out, 0, n);
	struct wr w = wr_init(out, JOURNAL_HEADER_BYTES - CHECK_BYTES);
	wr_uint(&w, HEADER_MAGIC, 4);
	wr_uint(&w, h->path_len, 2);
	wr_uint(&w, h->stream, 2);
	wr_bytes(&w, h->session, sizeof h->session);
	wr_uint(&w, h->seed, 8);
	wr_uint(&w, h->stamp, 8);
	wr_uint(&w, h->size, 8);
	wr_uint(&w, h->chunk, 4);
	wr_uint(&w, h->mode, 4);
	wr_uint(&w, h->salt, 8);
	wr_uint(&w, XXH3_64bits(h->path, h->path_len), 8);
	memcpy(out + JOURNAL_HEADER_BYTES, h->path, h->path_len);
	w = wr_init(out + JOURNAL_HEADER_BYTES - CHECK_BYTES, CHECK_BYTES);
	wr_uint(&w, XXH3_64bits(out, JOURNAL_HEADER_BYTES - CHECK_BYTES), CHECK_BYTES);
	return n;
}

size_t journal_get_header(const uint8_t *p, size_t n, struct journal_header *h)
{
	*h = (struct journal_header){0};
	if (n < JOURNAL_HEADER_BYTES)
		return 0;
	struct rd r = rd_init(p, JOURNAL_HEADER_BYTES - CHECK_BYTES);
	uint32_t magic = rd_u32(&r);
	h->path_len = rd_u16(&r);
	h->stream = rd_u16(&r) != 0;
	rd_fix(&r, h->session, sizeof h->session);
	h->seed = rd_u64(&r);
	h->stamp = rd_u64(&r);
	h->size = rd_u64(&r);
	h->chunk = rd_u32(&r);
	h->mode = rd_u32(&r);
	h->salt = rd_u64(&r);
	uint64_t path_check = rd_u64(&r);
	struct rd check = rd_init(p + JOURNAL_HEADER_BYTES - CHECK_BYTES, CHECK_BYTES);
	size_t head = JOURNAL_HEADER_BYTES + padded(h->path_len);
	if (magic != HEADER_MAGIC || rd_u64(&check) != XXH3_64bits(p, JOURNAL_HEADER_BYTES - CHECK_BYTES) ||
	    h->path_len > PATH_MAX_BYTES || head > n || h->chunk < CHUNK_MIN_BYTES ||
	    h->chunk > CHUNK_MAX_BYTES)
		return 0;
	memcpy(h->path, p + JOURNAL_HEADER_BYTES, h->path_len);
	return XXH3_64bits(h->path, h->path_len) == path_check ? head : 0;
}

/* A loose record has the salt of its boot: in the next one the journal ends before it. */
static uint64_t record_salt(const struct journal_header *h, uint32_t type)
{
	return type == JOURNAL_LOOSE ? h->salt ^ h->boot : h->salt;
}

void journal_put_record(const struct journal_header *h, uint64_t seq, const struct journal_record *rec,
			uint8_t out[static JOURNAL_RECORD_BYTES])
{
	struct wr w = wr_init(out, JOURNAL_RECORD_BYTES);
	wr_uint(&w, RECORD_MAGIC, 4);
	wr_uint(&w, rec->type, 4);
	wr_uint(&w, seq, 8);
	wr_uint(&w, rec->offset, 8);
	wr_uint(&w, rec->length, 8);
	wr_bytes(&w, rec->digest, DIGEST_BYTES);
	wr_uint(&w, record_salt(h, rec->type), 8);
	wr_uint(&w, XXH3_64bits(out, w.n), CHECK_BYTES);
}

bool journal_get_record(const struct journal_header *h, uint64_t seq, const uint8_t *p, size_t n,
			struct journal_record *rec)
{
	if (n < JOURNAL_RECORD_BYTES)
		return false;
	struct rd r = rd_init(p, JOURNAL_RECORD_BYTES);
	uint32_t magic = rd_u32(&r), type = rd_u32(&r);
	uint64_t number = rd_u64(&r);
	*rec = (struct journal_record){.type = (enum journal_type)type};
	rec->offset = rd_u64(&r);
	rec->length = rd_u64(&r);
	rd_fix(&r, rec->digest, DIGEST_BYTES);
	uint64_t salt = rd_u64(&r), check = rd_u64(&r);
	return magic == RECORD_MAGIC && number == seq && salt == record_salt(h, type) &&
	       type >= JOURNAL_CHUNK && type <= JOURNAL_LOOSE &&
	       check == XXH3_64bits(p, JOURNAL_RECORD_BYTES - CHECK_BYTES);
}
