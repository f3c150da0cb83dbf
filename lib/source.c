#include "lib/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "wire/frame.h"

/* After this many chunks of a file that did not shrink, only every n-th is tried, n doubling up to the cap.
 */
#define DULL_AFTER 2u
#define DULL_CAP   16u

struct source_file *source_file_new(const struct entry *e)
{
	size_t path = e->path_len + 1, below = strlen(e->source_path) + 1;
	struct source_file *f = calloc(1, sizeof *f + path + below);
	if (!f)
		return NULL;
	f->type = e->type;
	f->source = e->source;
	f->mode = e->mode;
	f->uid = e->uid;
	f->gid = e->gid;
	f->meta_len = e->meta_len;
	f->stamp = e->stamp;
	f->sparse = e->type == ENTRY_DIR_END ? e->part : e->blocks < e->stamp.size;
	f->path = (char *)(f + 1);
	f->path_len = e->path_len;
	f->source_path = f->path + path;
	f->fd = -1;
	memcpy(f->path, e->path, e->path_len);
	memcpy(f->source_path, e->source_path, below);
	pthread_mutex_init(&f->mu, NULL);
	return f;
}

void source_file_free(struct source_file *f)
{
	if (!f)
		return;
	if (f->fd >= 0)
		close(f->fd);
	free(f->have);
	free(f->needs);
	free(f->asked);
	pthread_mutex_destroy(&f->mu);
	free(f);
}

bool source_file_have(struct source_file *f, uint32_t chunk, uint64_t first, const uint8_t *digests,
		      size_t count)
{
	if (!f->have) {
		f->have_count = f->stamp.size / chunk + (f->stamp.size % chunk != 0);
		f->have = calloc(f->have_count ? f->have_count : 1, DIGEST_BYTES);
	}
	if (!f->have || first != f->have_told || count > f->have_count - first)
		return false;
	memcpy(f->have + first, digests, count * DIGEST_BYTES);
	f->have_told += count;
	return true;
}

bool source_file_need(struct source_file *f, uint32_t chunk, uint64_t i)
{
	if (!f->have || i >= f->have_count || i > f->stamp.size / chunk)
		return false;
	if (!f->asked)
		f->asked = calloc(f->have_count / 8 + 1, 1);
	uint8_t bit = (uint8_t)(1u << i % 8);
	if (!f->asked || f->asked[i / 8] & bit)
		return false;
	if (f->need_count == f->need_cap) {
		size_t cap = f->need_cap ? 2 * f->need_cap : 16;
		uint64_t *more = cap > f->have_count + 16 ? NULL : realloc(f->needs, cap * sizeof *more);
		if (!more)
			return false;
		f->needs = more;
		f->need_cap = cap;
	}
	f->needs[f->need_count++] = i;
	f->asked[i / 8] |= bit;
	return true;
}

void send_job_free(struct send_job *job)
{
	buf_put(job->body);
	free(job->files);
	free(job);
}

void *source_worker_new(void *ctx)
{
	(void)ctx;
	return codec_new();
}

void source_worker_free(void *worker)
{
	codec_free(worker);
}

/* ---- reading ---- */

static enum read_status status_of_errno(int sys)
{
	return sys == ENOENT ? READ_VANISHED : sys == ESTALE ? READ_CHANGED : READ_FAILED;
}

static void set_status(struct source_file *f, enum read_status status, int sys)
{
	pthread_mutex_lock(&f->mu);
	if (f->status == READ_OK) {
		f->status = status;
		f->sys = sys;
	}
	pthread_mutex_unlock(&f->mu);
}

/* Opens f if this is the first worker to need it. The descriptor, or -1 once anything was wrong with it. */
static int file_fd(const struct source_config *cfg, struct source_file *f)
{
	pthread_mutex_lock(&f->mu);
	if (f->fd < 0 && f->status == READ_OK) {
		struct stamp now;
		int fd = walk_open(cfg->walk, f->source, f->source_path, &now);
		if (fd < 0) {
			f->status = status_of_errno(-fd);
			f->sys = -fd;
		} else {
			f->fd = fd;
			if (!stamp_equal(&now, &f->stamp))
				f->status = READ_CHANGED;
		}
	}
	int fd = f->status == READ_OK ? f->fd : -1;
	pthread_mutex_unlock(&f->mu);
	return fd;
}

/* Exactly n bytes at offset: anything less means that the file is not what it was. */
static enum read_status read_exactly(int fd, uint8_t *p, size_t n, uint64_t offset, int *sys)
{
	while (n) {
		ssize_t got = pread(fd, p, n, (off_t)offset);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			*sys = got ? errno : 0;
			return got ? READ_FAILED : READ_CHANGED;
		}
		p += got;
		n -= (size_t)got;
		offset += (uint64_t)got;
	}
	return READ_OK;
}

static bool is_hole(int fd, uint64_t offset, uint32_t n)
{
	off_t data = lseek(fd, (off_t)offset, SEEK_DATA);
	return data < 0 ? errno == ENXIO : (uint64_t)data >= offset + n;
}

enum read_status source_file_close(struct source_file *f)
{
	if (f->status == READ_OK) {
		struct stamp now;
		int rc = f->fd < 0 ? 0 : stamp_of_fd(f->fd, &now);
		if (rc < 0)
			set_status(f, READ_FAILED, -rc);
		else if (f->fd >= 0 && !stamp_equal(&now, &f->stamp))
			set_status(f, READ_CHANGED, 0);
	}
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
	return f->status;
}

/* ---- packing ---- */

/*
 * The payload is `raw` bytes in block at PAYLOAD_AT. Gives the block to send: packed into another one when
 * that is smaller, else the same; content begins at the payload. *codec says which.
 */
static struct buf *pack_payload(const struct source_config *cfg, struct codec_ctx *codec_ctx,
				struct buf *block, uint32_t raw, int level, uint8_t *codec)
{
	block->off = PAYLOAD_AT;
	block->len = raw;
	*codec = CODEC_STORED;
	if (level == LEVEL_STORED || raw < 32)
		return block;
	struct buf *packed = blocks_get(cfg->blocks, PAYLOAD_AT + raw);
	if (!packed)
		return block;
	/* worth unpacking only if it saves something */
	size_t n = codec_pack(codec_ctx, level, block->data + PAYLOAD_AT, raw, packed->data + PAYLOAD_AT,
			      raw - raw / 32);
	if (!n) {
		buf_put(packed);
		return block;
	}
	packed->off = PAYLOAD_AT;
	packed->len = n;
	*codec = CODEC_ZSTD;
	buf_put(block);
	return packed;
}

/* Puts the fixed fields directly in front of the payload. */
static void put_fields(struct buf *b, const uint8_t *fields, size_t n)
{
	b->off -= n;
	b->len += n;
	memcpy(b->data + b->off, fields, n);
}

/* Does this chunk deserve a try? Files that do not shrink are asked less and less often. */
static bool worth_packing(struct source_file *f, uint64_t offset, uint32_t raw)
{
	unsigned dull = atomic_load_explicit(&f->dull, memory_order_relaxed);
	if (dull < DULL_AFTER)
		return true;
	unsigned every = 1u << (dull - DULL_AFTER + 1);
	return (offset / (raw ? raw : 1)) % (every < DULL_CAP ? every : DULL_CAP) == 0;
}

static void remember_dullness(struct source_file *f, bool shrank)
{
	if (shrank)
		atomic_store_explicit(&f->dull, 0, memory_order_relaxed);
	else if (atomic_load_explicit(&f->dull, memory_order_relaxed) < 16)
		atomic_fetch_add_explicit(&f->dull, 1, memory_order_relaxed);
}

static void pack_chunk(const struct source_config *cfg, struct codec_ctx *codec_ctx, struct send_job *job,
		       struct buf *block)
{
	int level = atomic_load_explicit(&cfg->level, memory_order_relaxed);
	bool try = level != LEVEL_STORED && worth_packing(job->file, job->offset, job->raw);
	struct frame_data d = {.file = job->file->id, .offset = job->offset, .raw = job->raw};
	digest_chunk(job->file->seed, block->data + PAYLOAD_AT, job->raw, job->digest);
	job->keep = job->expect && memcmp(job->digest, job->expect, DIGEST_BYTES) == 0;
	if (job->keep) {
		buf_put(block);
		return;
	}
	memcpy(d.digest, job->digest, sizeof d.digest);
	block = pack_payload(cfg, codec_ctx, block, job->raw, try ? level : LEVEL_STORED, &d.codec);
	if (try)
		remember_dullness(job->file, d.codec == CODEC_ZSTD);

	uint8_t fields[PAYLOAD_AT];
	struct wr w = wr_init(fields, sizeof fields);
	frame_put_data(&w, &d);
	put_fields(block, fields, w.n);
	job->body = blocks_fit(cfg->blocks, block);
	job->cost = job->raw;
}

static void run_chunk(const struct source_config *cfg, struct codec_ctx *codec_ctx, struct send_job *job)
{
	struct source_file *f = job->file;
	int fd = file_fd(cfg, f), sys = 0;
	if (fd < 0)
		return;
	job->hole = f->sparse && is_hole(fd, job->offset, job->raw);
	if (job->hole)
		return;
	struct buf *block = blocks_get(cfg->blocks, PAYLOAD_AT + job->raw);
	enum read_status status = READ_FAILED;
	if (block)
		status = read_exactly(fd, block->data + PAYLOAD_AT, job->raw, job->offset, &sys);
	if (status == READ_OK) {
		pack_chunk(cfg, codec_ctx, job, block);
		return;
	}
	buf_put(block);
	set_status(f, status, block ? sys : ENOMEM);
}

/* Reads one small file whole to p; its size, or 0 with the file's status set. */
static uint32_t read_small(const struct source_config *cfg, struct source_file *f, uint8_t *p)
{
	int fd = file_fd(cfg, f), sys = 0;
	uint32_t size = (uint32_t)f->stamp.size;
	if (fd >= 0) {
		enum read_status status = read_exactly(fd, p, size, 0, &sys);
		if (status != READ_OK)
			set_status(f, status, sys);
	}
	return source_file_close(f) == READ_OK ? size : 0;
}

static void run_pack(const struct source_config *cfg, struct codec_ctx *codec_ctx, struct send_job *job)
{
	uint32_t groups = (uint32_t)job->count * PACKED_BYTES, at = groups;
	struct buf *block = blocks_get(cfg->blocks, PAYLOAD_AT + groups + job->raw);
	if (!block) {
		for (size_t i = 0; i < job->count; i++)
			set_status(job->files[i], READ_FAILED, ENOMEM);
		return;
	}
	struct wr w = wr_init(block->data + PAYLOAD_AT, groups);
	for (size_t i = 0; i < job->count; i++) {
		struct source_file *f = job->files[i];
		struct frame_packed p = {.file = f->id};
		uint8_t *content = block->data + PAYLOAD_AT + at;
		p.size = read_small(cfg, f, content);
		p.status = (uint8_t)f->status;
		digest_chunk(cfg->seed, content, p.size, p.digest);
		frame_put_packed(&w, &p);
		at += p.size;
	}
	struct frame_pack head = {.count = (uint16_t)job->count, .raw = at};
	block = pack_payload(cfg, codec_ctx, block, at,
			     atomic_load_explicit(&cfg->level, memory_order_relaxed), &head.codec);
	uint8_t fields[PAYLOAD_AT];
	struct wr fw = wr_init(fields, sizeof fields);
	frame_put_pack(&fw, &head);
	put_fields(block, fields, fw.n);
	job->body = blocks_fit(cfg->blocks, block);
	job->cost = at;
	job->raw = at - groups;
}

void source_run(void *ctx, void *worker, void *arg)
{
	struct send_job *job = arg;
	struct buf *block;
	switch (job->kind) {
	case JOB_CHUNK:
		run_chunk(ctx, worker, job);
		return;
	case JOB_PACK:
		run_pack(ctx, worker, job);
		return;
	case JOB_STREAM: /* the reader has filled body at PAYLOAD_AT */
		block = job->body;
		job->body = NULL;
		pack_chunk(ctx, worker, job, block);
		return;
	}
}
