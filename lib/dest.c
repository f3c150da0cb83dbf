#include "lib/dest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/plan.h"
#include "lib/pool.h"
#include "wire/err.h"

/* Zero runs of this many bytes in a file with holes are not written. */
#define HOLE_BYTES 4096u

enum haul_rc dest_init(struct dest *d, const struct haul_config *cfg, struct blocks *blocks,
		       const uint8_t session_id[static 16], struct haul_err *err)
{
	*d = (struct dest){.cfg = cfg, .blocks = blocks, .dirs_fd = -1};
	pthread_mutex_init(&d->mu, NULL);
	pthread_mutex_init(&d->dirs_mu, NULL);
	memcpy(d->session, session_id, sizeof d->session);
	for (size_t i = 0; i < 8; i++)
		snprintf(d->tag + 2 * i, 3, "%02x", session_id[i]);
	d->umask = umask(0);
	umask(d->umask);
	(void)err;
	return HAUL_OK;
}

void dest_free(struct dest *d)
{
	for (size_t i = 0; i < OPEN_ENTRIES_MAX; i++)
		if (d->table[i])
			dest_forget(d, d->table[i]);
	if (d->dirs_fd >= 0)
		close(d->dirs_fd);
	if (d->root)
		root_tidy(d->root);
	root_close(d->root);
	pthread_mutex_destroy(&d->dirs_mu);
	pthread_mutex_destroy(&d->mu);
}

/* ---- the table ---- */

struct dest_file *dest_find(struct dest *d, uint64_t id)
{
	pthread_mutex_lock(&d->mu);
	struct dest_file *f = d->table[id % OPEN_ENTRIES_MAX];
	pthread_mutex_unlock(&d->mu);
	return f && f->id == id ? f : NULL;
}

/* For a pack: the file, if nothing has carried it yet. */
static struct dest_file *claim(struct dest *d, uint64_t id)
{
	pthread_mutex_lock(&d->mu);
	struct dest_file *f = d->table[id % OPEN_ENTRIES_MAX];
	bool ours = f && f->id == id && f->state == DEST_WANTED;
	if (ours)
		f->state = DEST_RECEIVING;
	pthread_mutex_unlock(&d->mu);
	return ours ? f : NULL;
}

void dest_forget(struct dest *d, struct dest_file *f)
{
	pthread_mutex_lock(&d->mu);
	d->table[f->id % OPEN_ENTRIES_MAX] = NULL;
	while (d->first < d->next && !d->table[d->first % OPEN_ENTRIES_MAX])
		d->first++;
	pthread_mutex_unlock(&d->mu);
	dest_file_free(d, f);
}

void dest_file_free(struct dest *d, struct dest_file *f)
{
	if (f->partial) /* committed: its journal has served; else both stay for the next run */
		partial_close(d->root, f->partial, !f->temp[0]);
	else if (f->fd >= 0)
		close(f->fd);
	if (f->temp[0] && !f->partial)
		root_temp_unlink(d->root, f->temp);
	if (f->base_fd >= 0)
		close(f->base_fd);
	atomic_fetch_sub(&d->maps, f->map.count);
	chunk_map_free(&f->map);
	pthread_mutex_destroy(&f->mu);
	free(f);
}

struct dest_file *dest_take_up(struct dest *d)
{
	struct partial *p = NULL;
	if (!d->root || partial_find_stream(d->root, d->session, &p) < 0)
		return NULL;
	struct dest_file *f = calloc(1, sizeof *f + p->head.path_len + 1u);
	if (!f) {
		partial_close(d->root, p, false);
		return NULL;
	}
	*f = (struct dest_file){.size = p->head.size,
				.mode = p->head.mode,
				.stream = true,
				.chunked = true,
				.seed = p->head.seed,
				.state = DEST_RECEIVING,
				.partial = p,
				.fd = p->fd,
				.base_fd = -1};
	f->path = (char *)(f + 1);
	f->path_len = p->head.path_len;
	memcpy(f->path, p->head.path, f->path_len);
	memcpy(f->temp, p->part, sizeof f->temp);
	f->received = f->written = f->recorded = p->stream_length;
	f->sum = f->sum_done = p->sum;
	pthread_mutex_init(&f->mu, NULL);
	d->table[0] = f;
	d->seed = p->head.seed;
	d->chunk = p->head.chunk;
	d->taken_single = true;
	return f;
}

void dest_fail(struct dest_file *f, enum haul_rc rc, int sys)
{
	pthread_mutex_lock(&f->mu);
	if (!f->code) {
		f->code = (uint16_t)haul_rc_status(rc);
		f->sys = (uint16_t)sys;
	}
	pthread_mutex_unlock(&f->mu);
}

static void fail_errno(struct dest_file *f, int sys)
{
	dest_fail(f, haul_rc_from_errno(sys), sys);
}

/* ---- writing ---- */

static int open_temp(struct dest *d, struct dest_file *f)
{
	int fd = root_temp_open(d->root, d->tag, atomic_fetch_add(&d->temp_number, 1), f->temp);
	if (fd < 0)
		f->temp[0] = '\0';
	else
		atomic_store_explicit(&d->wrote, true, memory_order_relaxed);
	return fd;
}

/* The descriptor chunks go to, made by whichever worker comes first; -1 once the file has failed. */
static int file_fd(struct dest *d, struct dest_file *f)
{
	pthread_mutex_lock(&f->mu);
	if (f->fd < 0 && !f->code) {
		int fd = open_temp(d, f);
		if (fd < 0) {
			f->code = (uint16_t)haul_rc_status(haul_rc_from_errno(-fd));
			f->sys = (uint16_t)-fd;
		} else {
			f->fd = fd;
		}
	}
	int fd = f->code ? -1 : f->fd;
	pthread_mutex_unlock(&f->mu);
	return fd;
}

static int write_all(int fd, const uint8_t *p, size_t n, uint64_t offset)
{
	while (n) {
		ssize_t put = pwrite(fd, p, n, (off_t)offset);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put ? -errno : -EIO;
		p += put;
		n -= (size_t)put;
		offset += (uint64_t)put;
	}
	return 0;
}

static bool all_zero(const uint8_t *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* Bytes from p on that are of one kind: blocks of zeros, or not. */
static size_t run_length(const uint8_t *p, size_t n, bool *zero)
{
	size_t at = 0;
	*zero = false;
	while (at < n) {
		size_t block = n - at < HOLE_BYTES ? n - at : HOLE_BYTES;
		bool z = all_zero(p + at, block);
		if (at && z != *zero)
			return at;
		*zero = z;
		at += block;
	}
	return at;
}

/* Leaves blocks of zeros unwritten: the file ends up with its final size anyway. */
static int write_sparse(int fd, const uint8_t *p, size_t n, uint64_t offset)
{
	while (n) {
		bool zero;
		size_t run = run_length(p, n, &zero);
		int rc = zero ? 0 : write_all(fd, p, run, offset);
		if (rc < 0)
			return rc;
		p += run;
		n -= run;
		offset += run;
	}
	return 0;
}

static int punch(int fd, uint64_t offset, uint64_t n)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)n) < 0 ? -errno
												      : 0;
}

static int set_meta(const struct dest *d, const struct dest_file *f, int fd)
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {f->mtime_s, f->mtime_ns}};
	/* set-id bits are not the sender's to give */
	if (fchmod(fd, f->stream ? 0666 & ~d->umask : f->mode & 0777) < 0)
		return -errno;
	return f->stream || futimens(fd, times) == 0 ? 0 : -errno;
}

/* ---- chunks ---- */

static const char *unpack(struct codec_ctx *codec, uint8_t how, struct span in, uint8_t *out, uint32_t raw)
{
	if (how == CODEC_ZSTD)
		return codec_unpack(codec, in.p, in.n, out, raw);
	if (how != CODEC_STORED)
		return "an unknown codec";
	if (in.n != raw)
		return "a stored payload has another size than announced";
	memcpy(out, in.p, raw);
	return NULL;
}

struct worker {
	struct codec_ctx *codec;
	uint8_t *scratch; /* RECORD_BODY_MAX_BYTES, made when first needed */
};

static void *worker_new(void *ctx)
{
	(void)ctx;
	struct worker *w = calloc(1, sizeof *w);
	if (w)
		w->codec = codec_new();
	return w;
}

static void worker_free(void *arg)
{
	struct worker *w = arg;
	if (!w)
		return;
	codec_free(w->codec);
	free(w->scratch);
	free(w);
}

static bool worker_ready(struct worker *w)
{
	if (w && !w->scratch)
		w->scratch = malloc(RECORD_BODY_MAX_BYTES);
	return w && w->codec && w->scratch;
}

/* The unpacked content: the message itself when it is stored, else the worker's scratch. NULL with
 * job->violation. */
static const uint8_t *content_of(struct worker *w, struct dest_job *job)
{
	const struct frame_data *data = &job->data;
	if (data->codec == CODEC_STORED && data->payload.n == data->raw)
		return data->payload.p;
	job->violation = unpack(w->codec, data->codec, data->payload, w->scratch, data->raw);
	return job->violation ? NULL : w->scratch;
}

/* The content of a chunk or file on its way to the sink. */
static void hand_on(struct dest *d, struct dest_job *job, struct dest_file *f, const uint8_t *p, uint32_t n)
{
	job->out = blocks_get(d->blocks, n);
	if (!job->out) {
		dest_fail(f, HAUL_NO_MEMORY, ENOMEM);
		return;
	}
	memcpy(job->out->data, p, n);
	job->out->len = n;
}

static void run_data(struct dest *d, struct worker *w, struct dest_job *job)
{
	struct dest_file *f = job->file;
	uint8_t digest[DIGEST_BYTES];
	const uint8_t *p = content_of(w, job);
	if (!p)
		return;
	digest_chunk(f->seed, p, job->data.raw, digest);
	if (memcmp(digest, job->data.digest, sizeof digest) != 0) {
		dest_fail(f, HAUL_DIGEST, 0);
		return;
	}
	job->content = job->data.raw;
	if (!d->root) {
		hand_on(d, job, f, p, job->data.raw);
		return;
	}
	int fd = file_fd(d, f);
	if (fd < 0)
		return;
	/* what an earlier run left there unrecorded must not shine through the holes */
	int rc = f->sparse && f->partial && f->partial->resumed ? punch(fd, job->data.offset, job->data.raw)
								: 0;
	if (rc == 0)
		rc = f->sparse ? write_sparse(fd, p, job->data.raw, job->data.offset)
			       : write_all(fd, p, job->data.raw, job->data.offset);
	if (rc < 0)
		fail_errno(f, -rc);
}

static void run_hole(struct dest *d, struct dest_job *job)
{
	struct dest_file *f = job->file;
	if (!d->root || !f->partial || !f->partial->resumed)
		return; /* nothing was ever there: the final size makes the hole */
	int rc = punch(f->fd, job->hole.offset, job->hole.length);
	if (rc < 0)
		fail_errno(f, -rc);
}

/* ---- chunks that are there already ---- */

static int read_all(int fd, uint8_t *p, size_t n, uint64_t offset)
{
	while (n) {
		ssize_t got = pread(fd, p, n, (off_t)offset);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got ? -errno : -ENODATA;
		p += got;
		n -= (size_t)got;
		offset += (uint64_t)got;
	}
	return 0;
}

static int base_fd(const struct dest_file *f)
{
	return f->base == BASE_OLD ? f->base_fd : f->fd;
}

/* Tells the sender of some chunks: what the journal says, or for an older version what reading it gives. */
static void run_have(struct worker *w, struct dest_job *job)
{
	struct dest_file *f = job->file;
	uint64_t end = job->have_first + job->have_count;
	job->out = buf_malloc(NULL, 32 + job->have_count * DIGEST_BYTES);
	if (!job->out) {
		job->violation = "out of memory";
		return;
	}
	for (uint64_t i = job->have_first; i < end && f->base == BASE_OLD; i++) {
		uint32_t n = chunk_map_length(&f->map, i);
		if (f->map.state[i] == CHUNK_HAVE &&
		    read_all(f->base_fd, w->scratch, n, i * f->map.chunk) == 0)
			digest_chunk(f->seed, w->scratch, n, f->map.digest[i]);
	}
	struct wr wr = wr_init(job->out->data, job->out->cap);
	frame_put_have(&wr,
		       &(struct frame_have){
			       .file = f->id,
			       .seed = f->seed,
			       .first = job->have_first,
			       .last = end == f->map.count,
			       .digests = {f->map.digest[job->have_first], job->have_count * DIGEST_BYTES},
		       });
	job->out->len = wr.n;
}

/* One kept chunk: read it again, and take it over from an older version. 0, -EBADMSG when it changed, -errno.
 */
static int keep_one(struct dest *d, struct dest_file *f, uint64_t i, uint8_t *scratch, bool copy)
{
	uint8_t digest[DIGEST_BYTES];
	uint32_t n = chunk_map_length(&f->map, i);
	if (read_all(base_fd(f), scratch, n, i * f->map.chunk) < 0)
		return -EBADMSG;
	digest_chunk(f->seed, scratch, n, digest);
	if (memcmp(digest, f->map.digest[i], sizeof digest) != 0)
		return -EBADMSG;
	if (!copy)
		return 0;
	int fd = file_fd(d, f);
	if (fd < 0)
		return 0; /* has failed for a reason of its own */
	return f->sparse ? write_sparse(fd, scratch, n, i * f->map.chunk)
			 : write_all(fd, scratch, n, i * f->map.chunk);
}

static void run_keep(struct dest *d, struct worker *w, struct dest_job *job)
{
	struct dest_file *f = job->file;
	for (uint32_t k = 0; k < job->keep.count; k++) {
		uint64_t i = job->keep.first + k;
		int rc = keep_one(d, f, i, w->scratch, f->base == BASE_OLD && !f->lazy);
		if (rc == -EBADMSG)
			job->bad |= 1ull << k;
		else if (rc < 0)
			fail_errno(f, -rc);
	}
}

/* Something differs after all: the chunks that were only compared have to be copied. */
static int copy_kept(struct dest *d, struct dest_file *f)
{
	uint8_t *scratch = malloc(f->map.chunk);
	int rc = scratch ? 0 : -ENOMEM;
	for (uint64_t i = 0; rc == 0 && i < f->map.count; i++)
		if (f->map.state[i] == CHUNK_KEPT)
			rc = keep_one(d, f, i, scratch, true);
	free(scratch);
	return rc;
}

/* ---- packs ---- */

/* Writes one small file whole into a temporary file of its own. 0 or -errno. */
static int write_small(struct dest *d, struct dest_file *f, const uint8_t *p, uint32_t n)
{
	int fd = open_temp(d, f);
	if (fd < 0)
		return fd;
	int rc = write_all(fd, p, n, 0);
	if (rc == 0)
		rc = set_meta(d, f, fd);
	if (rc == 0 && d->cfg->sync == SYNC_FILE && fsync(fd) < 0)
		rc = -errno;
	if (close(fd) < 0 && rc == 0)
		rc = -errno;
	return rc;
}

static int commit_name(struct dest *d, struct dest_file *f)
{
	int rc = root_commit(d->root, f->temp, f->path, d->cfg->overwrite == OVERWRITE_NO,
			     d->cfg->overwrite == OVERWRITE_BACKUP);
	if (rc == 0)
		f->temp[0] = '\0';
	return rc;
}

static void receive_small(struct dest *d, struct dest_job *job, struct dest_file *f,
			  const struct frame_packed *p, const uint8_t *content)
{
	uint8_t digest[DIGEST_BYTES];
	digest_chunk(d->seed, content, p->size, digest);
	if (p->status != 0) {
		dest_fail(f, HAUL_CHANGED, 0);
	} else if (p->size != f->size || memcmp(digest, p->digest, sizeof digest) != 0) {
		dest_fail(f, HAUL_DIGEST, 0);
	} else if (!d->root) {
		hand_on(d, job, f, content, p->size);
	} else {
		int rc = write_small(d, f, content, p->size);
		if (rc == 0 && d->cfg->sync == SYNC_NONE)
			rc = commit_name(d, f);
		if (rc < 0)
			fail_errno(f, -rc);
	}
}

static void run_pack(struct dest *d, struct worker *w, struct dest_job *job)
{
	struct frame_pack pack;
	struct span body = {buf_bytes(job->body), job->body->len};
	uint64_t groups;
	if (!frame_get_pack(body, &pack) || pack.raw > RECORD_BODY_MAX_BYTES || pack.raw != job->cost ||
	    pack.count == 0 || pack.count > PACK_FILES_MAX) {
		job->violation = "malformed PACK";
		return;
	}
	job->violation = unpack(w->codec, pack.codec, pack.payload, w->scratch, pack.raw);
	job->files = calloc(pack.count, sizeof(struct dest_file *));
	if (job->violation || !job->files) {
		job->violation = job->violation ? job->violation : "no memory for a pack";
		return;
	}
	struct rd r = rd_init(w->scratch, pack.raw);
	struct frame_packed p;
	for (unsigned i = 0; i < pack.count; i++)
		frame_get_part_packed(&r, &p);
	groups = pack.raw - r.n;
	struct rd content = r;
	r = rd_init(w->scratch, groups);
	for (unsigned i = 0; i < pack.count && !job->violation; i++) {
		if (!frame_get_part_packed(&r, &p)) {
			job->violation = "a PACK is too short for its groups";
			return;
		}
		const uint8_t *bytes = rd_take(&content, p.size);
		struct dest_file *f = bytes ? claim(d, p.file) : NULL;
		if (!f) {
			job->violation =
				bytes ? "a PACK carries a file that is not wanted" : "a PACK is too short";
			return;
		}
		job->files[job->file_count++] = f;
		receive_small(d, job, f, &p, bytes);
		job->content += p.size;
	}
	if (!job->violation && !rd_done(&content))
		job->violation = "bytes behind the contents of a PACK";
}

/* ---- the stage ---- */

static void run(void *ctx, void *worker, void *arg)
{
	struct dest *d = ctx;
	struct dest_job *job = arg;
	struct worker *w = worker;
	if (!worker_ready(w)) {
		job->violation = "out of memory";
		return;
	}
	switch (job->kind) {
	case DEST_PLAN:
		plan_run(d, job);
		return;
	case DEST_PACK:
		run_pack(d, w, job);
		return;
	case DEST_DATA:
		run_data(d, w, job);
		return;
	case DEST_HAVE:
		run_have(w, job);
		return;
	case DEST_KEEP:
		run_keep(d, w, job);
		return;
	case DEST_HOLE:
		run_hole(d, job);
		return;
	case DEST_END:
	case DEST_DROP:
		return;
	}
}

const struct pool_ops dest_ops = {worker_new, worker_free, run};

void dest_job_free(struct dest_job *job)
{
	if (!job)
		return;
	buf_put(job->body);
	buf_put(job->out);
	free(job->planned);
	free(job->files);
	free(job);
}

/* ---- commit ---- */

static int complete(struct dest *d, struct dest_file *f)
{
	int rc = f->lazy ? copy_kept(d, f) : 0;
	int fd = rc < 0 ? rc : file_fd(d, f); /* an empty file, or one that is all hole, has none yet */
	if (fd < 0)
		return f->code ? 0 : rc < 0 ? rc : -EIO;
	if (ftruncate(fd, (off_t)f->size) < 0)
		return -errno;
	return set_meta(d, f, fd);
}

static int sync_one(struct dest *d, struct dest_file *f)
{
	/* a small one was written by a pack and closed: the flush of the batch is its sync */
	return f->chunked && d->cfg->sync != SYNC_NONE && fsync(f->fd) < 0 ? -errno : 0;
}

/* Compared and found the same: only times and mode may differ. */
static int mend_unchanged(struct dest *d, const struct dest_file *f)
{
	struct stat st;
	int fd = root_open_file(d->root, f->path, &st);
	if (fd < 0)
		return fd;
	int rc = set_meta(d, f, fd);
	close(fd);
	return rc;
}

static bool small_files_among(struct dest_file **files, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!files[i]->code && !files[i]->chunked)
			return true;
	return false;
}

void dest_commit(struct dest *d, struct dest_file **files, size_t count)
{
	int batch = 0;
	for (size_t i = 0; i < count; i++) {
		struct dest_file *f = files[i];
		int rc = f->code == REASON_UNCHANGED ? mend_unchanged(d, f) : 0;
		if (f->chunked && !f->code)
			rc = complete(d, f);
		if (rc < 0) {
			f->code = f->code == REASON_UNCHANGED ? 0 : f->code;
			fail_errno(f, -rc);
		}
	}
	/* one flush for all that packs wrote; a failed one is never believed later */
	if (d->cfg->sync == SYNC_BATCH && small_files_among(files, count) && syncfs(root_fd(d->root)) < 0)
		batch = errno;
	for (size_t i = 0; i < count; i++) {
		struct dest_file *f = files[i];
		int rc = f->code ? 0 : batch && !f->chunked ? -batch : sync_one(d, f);
		if (rc == 0 && !f->code)
			rc = commit_name(d, f);
		if (rc < 0)
			fail_errno(f, -rc);
	}
	for (size_t i = 0; i < count && d->cfg->sync != SYNC_NONE; i++) {
		/* neighbours mostly share a directory: one sync serves them all */
		const char *slash = strrchr(files[i]->path, '/');
		size_t dir = slash ? (size_t)(slash - files[i]->path) + 1 : 0;
		bool same = i + 1 < count && strncmp(files[i]->path, files[i + 1]->path, dir) == 0 &&
			    !strchr(files[i + 1]->path + dir, '/');
		if (files[i]->code || same)
			continue;
		int rc = root_sync_parent(d->root, files[i]->path);
		if (rc < 0)
			fail_errno(files[i], -rc);
	}
}

int dest_finish(struct dest *d)
{
	int rc = d->dirs_fd >= 0 ? plan_apply_dirs(d) : 0;
	if (d->root)
		root_tidy(d->root);
	if (rc == 0 && d->root && d->cfg->sync != SYNC_NONE && atomic_load(&d->wrote) &&
	    syncfs(root_fd(d->root)) < 0)
		rc = -errno;
	return rc;
}
