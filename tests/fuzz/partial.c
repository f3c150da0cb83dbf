/*
 * What a later process believes of an unfinished file, whatever has become of its journal and its bytes.
 *
 *   input   what u8 (bits below), then records of an honest writer: count u8; a chunk u8 each, or for a
 *           stream how far it came u16 each. Then what happens to the two files: see the table
 *
 * Held to: believed is what the whole records before the first damage say, no more and no less; of that only
 * chunks count whose bytes are still the ones that were written; and what is recorded after it is found, too.
 */
#include "scratch.h"

#include <errno.h>

#include "lib/boot.h"
#include "lib/dest_impl.h"
#include "lib/partial.h"

enum {
	STREAM = 1,
	OTHER_VERSION = 2,
	SHORTER = 4,
	LONGER = 8,
	GO_ON = 16,
	FORGET = 32,
	OWNED = 64,
	PEEK = 128
};

#define CHUNK	    4096u
#define CHUNKS	    8u
#define REST	    100u
#define SIZE	    ((CHUNKS - 1) * CHUNK + REST)
#define RECORDS_MAX 64u

static struct root *root;

/* Every byte and every digest an honest writer knows of. */
static uint8_t content[CHUNKS * CHUNK], digest[2][CHUNKS][DIGEST_BYTES]; /* [0]: of a chunk of REST bytes */

static struct {
	struct journal_header head, want;
	struct journal_record record[RECORDS_MAX];
	size_t records, believed;
	uint8_t honest[JOURNAL_HEAD_MAX_BYTES + RECORDS_MAX * JOURNAL_RECORD_BYTES];
	uint8_t journal[2 * JOURNAL_HEAD_MAX_BYTES + RECORDS_MAX * JOURNAL_RECORD_BYTES];
	uint8_t part[sizeof content];
	size_t head_n, honest_n, journal_n, part_n;
} rig;

/* ---- the directory ---- */

static void let_go(void)
{
	root_close(root);
}

static void set_up(void)
{
	struct haul_err err = {0};
	close(scratch_make());
	CHECK(root_open(scratch, NULL, &root, &err) == HAUL_OK);
	atexit(let_go);
	for (size_t i = 0; i < sizeof content; i++)
		content[i] = (uint8_t)(i / CHUNK + i % 251);
	for (size_t i = 0; i < CHUNKS; i++) {
		digest_chunk(5, content + i * CHUNK, REST, digest[0][i]);
		digest_chunk(5, content + i * CHUNK, CHUNK, digest[1][i]);
	}
}

/* ---- an honest writer ---- */

static struct journal_record of_chunk(size_t i, uint64_t size)
{
	struct journal_record r = {.type = JOURNAL_CHUNK, .offset = i * CHUNK, .length = CHUNK};
	if (r.offset + r.length > size)
		r.length = REST;
	memcpy(r.digest, digest[r.length == CHUNK][i], DIGEST_BYTES);
	return r;
}

static void make_honest(uint8_t what, struct rd *r)
{
	rig.head = (struct journal_header){.seed = 5,
					   .stamp = 6,
					   .size = SIZE,
					   .chunk = CHUNK,
					   .mode = 0644,
					   .stream = what & STREAM,
					   .salt = 0x5a17,
					   .boot = boot_id(),
					   .session = "SESSION-SESSION",
					   .path = "a/big",
					   .path_len = 5};
	strcpy(rig.head.owner, what & OWNED ? "somebody" : "");
	rig.want = rig.head;
	rig.want.stamp += (what & OTHER_VERSION) != 0;
	rig.want.size = what & SHORTER ? 3 * CHUNK : what & LONGER ? CHUNKS * CHUNK : SIZE;
	rig.records = rd_u8(r) % RECORDS_MAX;
	rig.head_n = rig.honest_n = journal_put_header(&rig.head, rig.honest);
	for (size_t i = 0; i < rig.records; i++) {
		struct journal_record *rec = &rig.record[i];
		*rec = of_chunk(what & STREAM ? 0 : rd_u8(r) % CHUNKS, SIZE);
		if (what & STREAM) {
			uint16_t far = rd_u16(r);
			*rec = (struct journal_record){
				far & 1 ? JOURNAL_LOOSE : JOURNAL_LINK, far / 2u, far, {1}};
		}
		journal_put_record(&rig.head, i, rec, rig.honest + rig.honest_n);
		rig.honest_n += JOURNAL_RECORD_BYTES;
	}
}

/* ---- what happens to it ---- */

static void change_journal(struct rd *r)
{
	size_t at = rd_u16(r);
	rig.journal[at % rig.honest_n] ^= rd_u8(r);
}

static void cut_journal(struct rd *r)
{
	rig.journal_n = rd_u16(r) % (rig.journal_n + 1);
}

static void repeat_record(struct rd *r)
{
	size_t from = rd_u8(r) % RECORDS_MAX, to = rd_u8(r) % RECORDS_MAX, n = JOURNAL_RECORD_BYTES;
	memmove(rig.journal + rig.head_n + to * n, rig.journal + rig.head_n + from * n, n);
	if (rig.journal_n < rig.head_n + (to + 1) * n)
		rig.journal_n = rig.head_n + (to + 1) * n;
}

/* A block of an older journal of the same file, which had a salt of its own. */
static void stale_record(struct rd *r)
{
	size_t at = rd_u8(r) % RECORDS_MAX, n = JOURNAL_RECORD_BYTES;
	struct journal_header older = rig.head;
	older.salt++;
	if (at < rig.records)
		journal_put_record(&older, at, &rig.record[at], rig.journal + rig.head_n + at * n);
}

static void change_part(struct rd *r)
{
	size_t at = rd_u16(r);
	rig.part[at % sizeof rig.part] ^= rd_u8(r);
}

static void cut_part(struct rd *r)
{
	rig.part_n = rd_u16(r) % (rig.part_n + 1);
}

static void (*const happenings[])(struct rd *) = {change_journal, cut_journal, repeat_record,
						  stale_record,	  change_part, cut_part};

static void let_happen(struct rd *r)
{
	memset(rig.journal, 0, sizeof rig.journal);
	memcpy(rig.journal, rig.honest, rig.honest_n);
	memcpy(rig.part, content, sizeof content);
	rig.journal_n = rig.honest_n;
	rig.part_n = SIZE;
	while (r->n && !r->bad)
		happenings[rd_u8(r) % (sizeof happenings / sizeof *happenings)](r);
	memset(rig.part + rig.part_n, 0, sizeof rig.part - rig.part_n);
	/* padding behind the path says nothing */
	bool head = rig.journal_n >= rig.head_n &&
		    memcmp(rig.journal, rig.honest, JOURNAL_HEADER_BYTES + rig.head.path_len) == 0;
	rig.believed = 0;
	for (size_t at = rig.head_n; head && rig.believed < rig.records; at += JOURNAL_RECORD_BYTES) {
		if (rig.journal_n < at + JOURNAL_RECORD_BYTES ||
		    memcmp(rig.journal + at, rig.honest + at, JOURNAL_RECORD_BYTES) != 0)
			break;
		rig.believed++;
	}
}

static void put_file(const char *name, const uint8_t *p, size_t n)
{
	int fd = root_state_open(root, name, O_RDWR | O_CREAT);
	CHECK(fd >= 0 && pwrite(fd, p, n, 0) == (ssize_t)n && ftruncate(fd, (off_t)n) == 0);
	close(fd);
}

/* ---- a later process ---- */

static off_t size_of(int fd)
{
	struct stat st;
	CHECK(fstat(fd, &st) == 0);
	return st.st_size;
}

/* The chunk as the whole records tell of it, for a file of the size that is wanted now. */
static const struct journal_record *last_word(size_t i, const struct chunk_map *map)
{
	for (size_t k = rig.believed; k-- > 0;)
		if (rig.record[k].offset == i * CHUNK && rig.record[k].length == chunk_map_length(map, i))
			return &rig.record[k];
	return NULL;
}

/* also: a chunk recorded since, or CHUNKS. */
static void check_map(struct partial *p, struct chunk_map *map, size_t also)
{
	static uint8_t block[CHUNK];
	struct dest_file f = {
		.fd = p->fd, .base_fd = -1, .map = *map, .seed = p->head.seed, .base = BASE_PARTIAL};
	uint64_t have = 0;
	off_t size = size_of(p->fd);
	for (size_t i = 0; i < map->count; i++) {
		const struct journal_record *r = last_word(i, map);
		uint32_t n = chunk_map_length(map, i);
		CHECK((map->state[i] == CHUNK_HAVE) == (r || i == also));
		if (map->state[i] != CHUNK_HAVE)
			continue;
		have++;
		CHECK(memcmp(map->digest[i], digest[n == CHUNK][i], DIGEST_BYTES) == 0);
		bool there = size >= (off_t)(i * CHUNK + n) &&
			     memcmp(rig.part + i * CHUNK, content + i * CHUNK, n) == 0;
		CHECK((dest_keep_one(NULL, &f, i, block, false) == 0) == there);
	}
	CHECK(map->have == have);
}

static struct partial *open_again(struct chunk_map *map)
{
	struct partial *p = NULL;
	CHECK(chunk_map_init(map, rig.want.size, rig.want.chunk));
	CHECK(partial_open(root, &rig.want, map, &p) == 0 && p);
	return p;
}

static void file_resumes(uint8_t what)
{
	struct chunk_map map;
	struct partial *p = open_again(&map);
	bool other = rig.believed && (rig.want.size != SIZE || rig.want.stamp != rig.head.stamp);
	size_t also = CHUNKS;
	CHECK(p->resumed == (rig.believed != 0) && size_of(p->jfd) == (off_t)p->end);
	CHECK(p->seq == (other ? map.have : rig.believed) && p->head.size == rig.want.size);
	CHECK(p->head.salt != rig.head.salt || (rig.believed && !other));
	check_map(p, &map, CHUNKS);
	for (size_t i = 0; what & GO_ON && i < map.count && also == CHUNKS; i++)
		also = map.state[i] == CHUNK_ABSENT ? i : CHUNKS;
	if (also < CHUNKS && chunk_map_length(&map, also) >= REST) {
		struct journal_record r = of_chunk(also, rig.want.size);
		CHECK(bytes_write(p->fd, content + r.offset, (size_t)r.length, r.offset) == 0);
		memcpy(rig.part + r.offset, content + r.offset, (size_t)r.length);
		CHECK(partial_checkpoint(root, p, &r, 1, false) == 0);
		partial_close(root, p, false);
		chunk_map_free(&map);
		p = open_again(&map);
		check_map(p, &map, also);
	}
	chunk_map_free(&map);
	partial_close(root, p, what & FORGET);
}

static void stream_resumes(uint8_t what)
{
	struct partial *p = NULL;
	int rc = partial_find_stream(root, rig.head.session, &p);
	const struct journal_record *last = rig.believed ? &rig.record[rig.believed - 1] : NULL;
	CHECK((rc == 0) == (last && last->length <= rig.part_n));
	if (rc < 0) {
		CHECK(rc == -ENOENT);
		return;
	}
	CHECK(p->stream_length == last->length && p->link_offset == last->offset && p->sum.low == 1);
	CHECK(size_of(p->fd) == (off_t)last->length && p->seq == rig.believed);
	partial_close(root, p, what & FORGET);
}

/* Reading alone tells the same. */
static void peek(const char *name)
{
	static struct journal_header head;
	uint64_t recorded, sum = 0;
	struct chunk_map as_written = {.chunk = CHUNK, .size = SIZE};
	int fd = root_state_open(root, name, O_RDONLY);
	int rc = partial_peek(fd, &head, &recorded);
	close(fd);
	CHECK((rc == 0) == (rig.believed != 0) && (rc == 0 || rc == -ENOENT || rc == -ENODATA));
	for (size_t i = 0; i < CHUNKS && !rig.head.stream; i++)
		sum += last_word(i, &as_written) ? chunk_map_length(&as_written, i) : 0;
	if (rig.head.stream && rig.believed)
		sum = rig.record[rig.believed - 1].length;
	CHECK(rc < 0 || recorded == sum);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct rd r = rd_init(p, n);
	uint8_t what = rd_u8(&r);
	char name[2][ROOT_TEMP_MAX];
	if (!root)
		set_up();
	make_honest(what, &r);
	let_happen(&r);
	if (what & STREAM)
		snprintf(name[0], sizeof name[0], "%s", "53455353494f4e2d53455353494f4e00.j");
	else
		snprintf(name[0], sizeof name[0], "%s-%016llx.j", what & OWNED ? "somebody" : "plain000",
			 (unsigned long long)digest_stamp(rig.head.path, rig.head.path_len));
	snprintf(name[1], sizeof name[1], "%.*s.part", (int)strlen(name[0]) - 2, name[0]);
	put_file(name[0], rig.journal, rig.journal_n);
	put_file(name[1], rig.part, rig.part_n);
	if (what & PEEK)
		peek(name[0]);
	(what & STREAM ? stream_resumes : file_resumes)(what);
	return 0;
}
