/* dest, the half that runs in workers: unpack, verify, write; compare with what is there. */
#include "lib/dest_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/plan.h"
#include "lib/pool.h"
#include "wire/err.h"

struct worker {
	struct codec_ctx *codec;
	uint8_t *scratch; /* RECORD_BODY_MAX_BYTES, made when first needed */
};

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

static void write_failed(struct dest_job *job, int rc)
{
	job->failed |= rc < 0;
	if (rc < 0)
		dest_fail_errno(job->file, -rc);
}

static void run_data(struct dest *d, struct worker *w, struct dest_job *job)
{
	struct dest_file *f = job->file;
	uint8_t digest[DIGEST_BYTES];
	const uint8_t *p = content_of(w, job);
	if (!p)
		return;
	digest_chunk(f->seed, p, job->data.raw, digest);
	job->failed = memcmp(digest, job->data.digest, sizeof digest) != 0;
	if (job->failed) {
		dest_fail(f, HAUL_DIGEST, 0);
		return;
	}
	job->content = job->data.raw;
	if (!d->root) {
		hand_on(d, job, f, p, job->data.raw);
		return;
	}
	int fd = dest_file_fd(d, f);
	job->failed = fd < 0;
	if (fd < 0)
		return;
	/* what an earlier run left there unrecorded must not shine through the holes */
	int rc = f->sparse && f->partial && f->partial->resumed
			 ? bytes_punch(fd, job->data.offset, job->data.raw)
			 : 0;
	if (rc == 0)
		rc = f->sparse ? bytes_write_sparse(fd, p, job->data.raw, job->data.offset)
			       : bytes_write(fd, p, job->data.raw, job->data.offset);
	dest_file_done(d, f);
	write_failed(job, rc);
}

static void run_hole(struct dest *d, struct dest_job *job)
{
	struct dest_file *f = job->file;
	if (!d->root || !f->partial || !f->partial->resumed)
		return; /* nothing was ever there: the final size makes the hole */
	write_failed(job, bytes_punch(f->fd, job->hole.offset, job->hole.length));
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
		    bytes_read(f->base_fd, w->scratch, n, i * f->map.chunk) == 0)
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

int dest_keep_one(struct dest *d, struct dest_file *f, uint64_t i, uint8_t *scratch, bool copy)
{
	uint8_t digest[DIGEST_BYTES];
	uint32_t n = chunk_map_length(&f->map, i);
	if (bytes_read(base_fd(f), scratch, n, i * f->map.chunk) < 0)
		return -EBADMSG;
	digest_chunk(f->seed, scratch, n, digest);
	if (memcmp(digest, f->map.digest[i], sizeof digest) != 0)
		return -EBADMSG;
	if (!copy)
		return 0;
	int fd = dest_file_fd(d, f);
	if (fd < 0)
		return 0; /* has failed for a reason of its own */
	int rc = f->sparse ? bytes_write_sparse(fd, scratch, n, i * f->map.chunk)
			   : bytes_write(fd, scratch, n, i * f->map.chunk);
	dest_file_done(d, f);
	return rc;
}

static void run_keep(struct dest *d, struct worker *w, struct dest_job *job)
{
	struct dest_file *f = job->file;
	for (uint32_t k = 0; k < job->keep.count; k++) {
		uint64_t i = job->keep.first + k;
		int rc = dest_keep_one(d, f, i, w->scratch, f->base == BASE_OLD && !f->lazy);
		if (rc == -EBADMSG)
			job->bad |= 1ull << k;
		else
			write_failed(job, rc);
	}
}

/* Writes one small file whole into a temporary file of its own. 0 or -errno. */
static int write_small(struct dest *d, struct dest_file *f, const uint8_t *p, uint32_t n)
{
	int fd = dest_open_temp(d, f);
	if (fd < 0)
		return fd;
	int rc = bytes_write(fd, p, n, 0);
	if (rc == 0)
		rc = dest_set_meta(d, f, fd);
	if (rc == 0 && d->cfg->sync == SYNC_FILE && fsync(fd) < 0)
		rc = -errno;
	if (close(fd) < 0 && rc == 0)
		rc = -errno;
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
			rc = dest_give_name(d, f);
		if (rc < 0)
			dest_fail_errno(f, -rc);
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
		struct dest_file *f = bytes ? dest_claim(d, p.file) : NULL;
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
