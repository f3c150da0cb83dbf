#include "lib/partial.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/boot.h"
#include "lib/entropy.h"
#include "lib/holder.h"
#include "wire/cursor.h"

/* Without keys everybody is the same owner. */
#define OWNER_PLAIN "plain000"

/* ---- the map ---- */

bool chunk_map_init(struct chunk_map *m, uint64_t size, uint32_t chunk)
{
	*m = (struct chunk_map){.chunk = chunk, .size = size};
	m->count = size / chunk + (size % chunk != 0);
	if (m->count > PARTIAL_CHUNKS_MAX)
		return false;
	m->state = calloc(m->count ? m->count : 1, 1);
	m->digest = calloc(m->count ? m->count : 1, DIGEST_BYTES);
	if (m->state && m->digest)
		return true;
	chunk_map_free(m);
	return false;
}

void chunk_map_free(struct chunk_map *m)
{
	free(m->state);
	free(m->digest);
	*m = (struct chunk_map){0};
}

uint32_t chunk_map_length(const struct chunk_map *m, uint64_t i)
{
	uint64_t at = i * m->chunk;
	return m->size - at < m->chunk ? (uint32_t)(m->size - at) : m->chunk;
}

/* ---- opening ---- */

void partial_name_owner(char name[static JOURNAL_OWNER_CHARS + 1], const uint8_t *owner)
{
	/* no digits that the word for nobody has */
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
	name[0] = 0;
	for (size_t i = 0; owner && i < JOURNAL_OWNER_CHARS; i++) {
		name[i] = letters[owner[i] % 32];
		name[i + 1] = 0;
	}
}

char *partial_id(char id[static ROOT_TEMP_MAX], const char *owner, const char *path, size_t len)
{
	snprintf(id, ROOT_TEMP_MAX, "%s-%016llx", owner[0] ? owner : OWNER_PLAIN,
		 (unsigned long long)digest_stamp(path, len));
	return id;
}

static void name_it(struct partial *p, const struct journal_header *h)
{
	char id[ROOT_TEMP_MAX];
	if (h->stream)
		for (int i = 0; i < 16; i++)
			snprintf(id + 2 * i, 3, "%02x", h->session[i]);
	else
		partial_id(id, h->owner, h->path, h->path_len);
	snprintf(p->part, sizeof p->part, "%.40s.part", id);
	snprintf(p->journal, sizeof p->journal, "%.40s.j", id);
}

static void raise_top(struct partial *p, const struct journal_record *r)
{
	if (r->type == JOURNAL_CHUNK && r->offset + r->length > p->top)
		p->top = r->offset + r->length;
}

/* What a record says becomes part of the map, if it fits this version of the file. */
static void take_record(struct partial *p, struct chunk_map *map, const struct journal_record *r)
{
	if (r->type != JOURNAL_CHUNK) {
		struct rd rd = rd_init(r->digest, sizeof r->digest);
		p->link_offset = r->offset;
		p->stream_length = r->length;
		p->sum.low = rd_u64(&rd);
		p->sum.high = rd_u64(&rd);
		return;
	}
	uint64_t i = map ? r->offset / map->chunk : 0;
	if (!map || r->offset % map->chunk || i >= map->count || r->length != chunk_map_length(map, i))
		return;
	map->have += map->state[i] == CHUNK_ABSENT;
	map->state[i] = CHUNK_HAVE;
	memcpy(map->digest[i], r->digest, DIGEST_BYTES);
	raise_top(p, r);
}

/* 0, -ENOENT when it is no journal, or -errno. */
static int read_head(struct partial *p)
{
	uint8_t head[JOURNAL_HEAD_MAX_BYTES];
	ssize_t n = pread(p->jfd, head, sizeof head, 0);
	if (n < 0)
		return -errno;
	p->end = journal_get_header(head, (size_t)n, &p->head);
	p->head.boot = boot_id();
	return p->end ? 0 : -ENOENT;
}

static int read_records(struct partial *p, struct chunk_map *map)
{
	uint8_t block[JOURNAL_RECORD_BYTES * 256];
	ssize_t n;
	while ((n = pread(p->jfd, block, sizeof block, (off_t)p->end)) >= (ssize_t)JOURNAL_RECORD_BYTES) {
		struct journal_record r;
		size_t used = 0;
		while (used + JOURNAL_RECORD_BYTES <= (size_t)n &&
		       journal_get_record(&p->head, p->seq, block + used, (size_t)n - used, &r)) {
			take_record(p, map, &r);
			p->seq++;
			used += JOURNAL_RECORD_BYTES;
		}
		p->end += used;
		if (used < (size_t)n)
			break;
	}
	return n < 0 ? -errno : 0;
}

static bool same_file(const struct journal_header *a, const struct journal_header *b)
{
	return a->chunk == b->chunk && a->stream == b->stream && a->path_len == b->path_len &&
	       memcmp(a->path, b->path, a->path_len) == 0;
}

/* Reads what the journal says; *p knows where to go on. 0, -ENOENT when it is not about this file or says
 * nothing, or -errno: then nobody knows what is there. */
static int load(struct partial *p, const struct journal_header *want, struct chunk_map *map)
{
	int rc = read_head(p);
	if (rc == 0 && !same_file(&p->head, want))
		rc = -ENOENT;
	if (rc == 0)
		rc = read_records(p, map);
	/* what could not be read must not be met behind what will be appended */
	if (rc == 0 && ftruncate(p->jfd, (off_t)p->end) < 0)
		rc = -errno;
	return rc == 0 && !p->seq ? -ENOENT : rc;
}

/* What a map of the records covers. */
static int count_recorded(struct partial *p, uint64_t *recorded)
{
	struct chunk_map map = {0};
	if (!p->head.stream && !chunk_map_init(&map, p->head.size, p->head.chunk))
		return -ENOMEM;
	int rc = read_records(p, map.state ? &map : NULL);
	*recorded = p->stream_length;
	for (uint64_t i = 0; i < map.count; i++)
		*recorded += map.state[i] == CHUNK_HAVE ? chunk_map_length(&map, i) : 0;
	chunk_map_free(&map);
	return rc;
}

static int has_record(const struct partial *p)
{
	uint8_t b[JOURNAL_RECORD_BYTES];
	struct journal_record r;
	ssize_t n = pread(p->jfd, b, sizeof b, (off_t)p->end);
	if (n < 0)
		return -errno;
	return journal_get_record(&p->head, 0, b, (size_t)n, &r) ? 0 : -ENODATA;
}

int partial_peek(int jfd, struct journal_header *head, uint64_t *recorded)
{
	struct partial *p = calloc(1, sizeof *p);
	if (!p)
		return -ENOMEM;
	p->jfd = jfd;
	if (recorded)
		*recorded = 0;
	int rc = read_head(p);
	if (rc == 0)
		rc = has_record(p);
	if (rc == 0 && recorded)
		rc = count_recorded(p, recorded);
	*head = p->head;
	free(p);
	return rc;
}

static int write_at(int fd, const uint8_t *b, size_t n, uint64_t at)
{
	ssize_t put = pwrite(fd, b, n, (off_t)at);
	return put == (ssize_t)n ? 0 : put < 0 ? -errno : -ENOSPC;
}

/* A new journal: whatever was there speaks of another version or is damaged. */
static int begin(struct partial *p, const struct journal_header *want)
{
	uint8_t head[JOURNAL_HEAD_MAX_BYTES];
	p->head = *want;
	p->head.salt = entropy_u64();
	p->head.boot = boot_id();
	p->seq = 0;
	p->resumed = false;
	p->end = journal_put_header(&p->head, head);
	if (ftruncate(p->jfd, 0) < 0 || ftruncate(p->fd, 0) < 0)
		return -errno;
	return write_at(p->jfd, head, p->end, 0);
}

static int sync_state_dir(struct root *root)
{
	int fd = root_state_open_dir(root);
	int rc = fd < 0 ? fd : fsync(fd) < 0 ? -errno : 0;
	if (fd >= 0)
		close(fd);
	return rc;
}

/* Header and a record for each chunk there is, into an empty file. */
static int write_renewed(struct partial *p, int fd, const struct chunk_map *map)
{
	uint8_t head[JOURNAL_HEAD_MAX_BYTES], record[JOURNAL_RECORD_BYTES];
	p->seq = 0;
	p->end = journal_put_header(&p->head, head);
	int rc = ftruncate(fd, 0) < 0 ? -errno : write_at(fd, head, p->end, 0);
	for (uint64_t i = 0; rc == 0 && i < map->count; i++) {
		if (map->state[i] != CHUNK_HAVE)
			continue;
		struct journal_record r = {JOURNAL_CHUNK, i * map->chunk, chunk_map_length(map, i), {0}};
		memcpy(r.digest, map->digest[i], DIGEST_BYTES);
		journal_put_record(&p->head, p->seq++, &r, record);
		rc = write_at(fd, record, sizeof record, p->end);
		p->end += sizeof record;
	}
	return rc == 0 && fdatasync(fd) < 0 ? -errno : rc;
}

/* The file is another version now: the journal must say so, and keep what is there of the old one, which the
 * sender will compare chunk by chunk. The new one takes the place of the old one whole, and locked like it.
 */
static int renew(struct root *root, struct partial *p, const struct journal_header *want,
		 const struct chunk_map *map)
{
	char name[ROOT_TEMP_MAX];
	uint64_t seed = p->head.seed;
	snprintf(name, sizeof name, "%.56s" PARTIAL_RENEWED, p->journal);
	int fd = holder_mark(root, name, O_RDWR | O_CREAT);
	if (fd < 0)
		return fd;
	p->head = *want;
	p->head.seed = seed;
	p->head.salt = entropy_u64();
	p->head.boot = boot_id();
	int rc = write_renewed(p, fd, map);
	if (rc == 0)
		rc = root_state_rename(root, name, p->journal);
	if (rc < 0) {
		root_temp_unlink(root, name);
		close(fd);
		return rc;
	}
	close(p->jfd);
	p->jfd = fd;
	rc = sync_state_dir(root);
	p->dir_synced = rc == 0;
	return rc;
}

static struct partial *partial_new(void)
{
	struct partial *p = calloc(1, sizeof *p);
	if (p)
		p->fd = p->jfd = -1;
	return p;
}

/* After a failure: what is there is not ours to judge, unless it is nothing. */
static void let_go(struct root *root, struct partial *p)
{
	struct stat st;
	if (p->jfd >= 0 && fstat(p->jfd, &st) == 0 && st.st_size >= (off_t)JOURNAL_HEADER_BYTES)
		p->seq += !p->seq;
	partial_close(root, p, false);
}

/* What is written when the disk is full must still be recorded: a place for every record is taken now, if the
 * file system can do that. */
static void reserve(const struct partial *p, const struct chunk_map *map)
{
	uint64_t records = (map->count > p->seq ? map->count - p->seq : 0) * JOURNAL_RECORD_BYTES;
	if (records)
		fallocate(p->jfd, FALLOC_FL_KEEP_SIZE, (off_t)p->end, (off_t)records);
}

int partial_open(struct root *root, const struct journal_header *want, struct chunk_map *map,
		 struct partial **out)
{
	struct partial *p = partial_new();
	if (!p)
		return -ENOMEM;
	name_it(p, want);
	int rc = p->jfd = holder_lock(root, p->journal, O_RDWR | O_CREAT);
	if (rc >= 0)
		rc = p->fd = root_state_open(root, p->part, O_RDWR | O_CREAT);
	if (rc >= 0)
		rc = load(p, want, map);
	p->resumed = rc == 0;
	if (rc == -ENOENT)
		rc = begin(p, want);
	else if (rc == 0 && (p->head.stamp != want->stamp || p->head.size != want->size))
		rc = map ? renew(root, p, want, map) : 0;
	if (rc == 0 && map)
		reserve(p, map);
	if (rc == 0)
		*out = p;
	else
		let_go(root, p);
	return rc;
}

bool partial_has_stream(struct root *root, const uint8_t session[static 16])
{
	struct partial p;
	struct journal_header *h = calloc(1, sizeof *h);
	if (!h)
		return false;
	h->stream = true;
	memcpy(h->session, session, 16);
	name_it(&p, h);
	free(h);
	int fd = root_state_open(root, p.journal, O_RDONLY);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* What came after the last checkpoint will come again. What is missing before it will not. */
static int cut_stream(struct partial *p)
{
	struct stat st;
	if (fstat(p->fd, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size < p->stream_length)
		return -ENOENT;
	return ftruncate(p->fd, (off_t)p->stream_length) < 0 ? -errno : 0;
}

int partial_find_stream(struct root *root, const uint8_t session[static 16], struct partial **out)
{
	struct partial *p = partial_new();
	struct journal_header *want = calloc(1, sizeof *want);
	int rc = -ENOMEM;
	if (!p || !want)
		goto out;
	want->stream = true;
	memcpy(want->session, session, 16);
	name_it(p, want);
	rc = p->jfd = holder_lock(root, p->journal, O_RDWR);
	if (rc >= 0)
		rc = p->fd = root_state_open(root, p->part, O_RDWR);
	if (rc >= 0)
		rc = read_head(p);
	if (rc == 0) {
		*want = p->head;
		rc = load(p, want, NULL);
	}
	if (rc == 0)
		rc = cut_stream(p);
	p->resumed = rc == 0;
	if (rc == 0)
		*out = p;
out:
	free(want);
	if (p && rc < 0)
		let_go(root, p);
	return rc;
}

/* ---- recording ---- */

static int append(struct partial *p, const struct journal_record *records, size_t count, bool sync)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < count; i++) {
		uint8_t b[JOURNAL_RECORD_BYTES];
		struct journal_record r = records[i];
		/* nobody reads a stream's bytes again; those of a chunk are, before they count */
		if (r.type == JOURNAL_LINK && !sync)
			r.type = JOURNAL_LOOSE;
		journal_put_record(&p->head, p->seq, &r, b);
		rc = write_at(p->jfd, b, sizeof b, p->end);
		if (rc == 0) {
			p->seq++;
			p->end += sizeof b;
			raise_top(p, &r);
		}
	}
	return rc;
}

/* Not every file system can keep a place for records. Then the last chunk gives its own to those of the
 * others: it comes again, they need not. */
static bool gave_way(const struct partial *p, const struct journal_record *last, int rc)
{
	return (rc == -ENOSPC || rc == -EDQUOT) && last->type == JOURNAL_CHUNK && last->offset >= p->top &&
	       ftruncate(p->fd, (off_t)last->offset) == 0;
}

int partial_checkpoint(struct root *root, struct partial *p, const struct journal_record *records,
		       size_t count, bool sync)
{
	if (sync && fdatasync(p->fd) < 0)
		return -errno;
	uint64_t before = p->seq;
	int rc = append(p, records, count, sync);
	size_t done = (size_t)(p->seq - before);
	if (rc < 0 && count > done + 1 && gave_way(p, &records[count - 1], rc))
		append(p, records + done, count - done - 1, sync);
	if (sync && p->seq > before && fdatasync(p->jfd) < 0 && rc == 0)
		rc = -errno;
	if (rc == 0 && sync && !p->dir_synced) {
		rc = sync_state_dir(root);
		p->dir_synced = rc == 0;
	}
	return rc;
}

void partial_close(struct root *root, struct partial *p, bool forget)
{
	if (!p)
		return;
	/* the journal goes last, while it is locked: nobody can begin anew before all is gone */
	bool locked = p->jfd >= 0;
	if (locked && !forget && !p->seq)
		root_temp_unlink(root, p->part);
	if (locked)
		holder_unclaim(root, p->journal);
	if (locked && (forget || !p->seq))
		root_temp_unlink(root, p->journal);
	if (p->fd >= 0)
		close(p->fd);
	if (locked)
		close(p->jfd);
	free(p);
}
