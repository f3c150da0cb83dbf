#include "lib/sender_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "wire/err.h"

/* Files up to this share of a chunk travel in packs. */
#define PACK_SHARE 4u

/* ---- outbox: messages that wait for credit; refilled only when empty ---- */

void sender_outbox_put(struct sender *s, uint8_t frame, uint32_t cost, struct buf *body, uint64_t content)
{
	s->outbox[(s->outbox_head + s->outbox_count++) % OUTBOX_MAX] =
		(struct outgoing){frame, cost, body, content};
}

bool sender_outbox_fields(struct sender *s, uint8_t frame, const uint8_t *p, size_t n)
{
	struct buf *b = buf_malloc(NULL, n ? n : 1);
	if (!b) {
		struct haul_err err = {0};
		haul_fail(&err, HAUL_NO_MEMORY, 0, NULL, "no memory for a message");
		engine_abort(&s->engine, &err);
		return false;
	}
	if (n)
		memcpy(b->data, p, n);
	b->len = n;
	sender_outbox_put(s, frame, n ? (uint32_t)n : 1, b, 0);
	return true;
}

bool sender_outbox_drain(struct sender *s)
{
	uint64_t now = engine_now_ms();
	while (s->outbox_count) {
		struct outgoing *o = &s->outbox[s->outbox_head];
		/* what waits for the socket waits in few, warm blocks; credit is for what is on its way */
		if (o->content && link_unsent(&s->engine.link) > UNSENT_MAX)
			return false;
		if (link_send(&s->engine.link, o->frame, o->cost, o->body, now) != WIRE_OK)
			return false;
		engine_step(&s->engine, o->frame, ROLE_SENDER);
		s->m->bytes += o->content;
		s->outbox_head = (s->outbox_head + 1) % OUTBOX_MAX;
		s->outbox_count--;
	}
	return true;
}

/* ---- jobs ---- */

void sender_make_ready(struct sender *s, struct source_file *f)
{
	s->ready[(s->ready_head + s->ready_count++) % OPEN_ENTRIES_MAX] = f;
}

static struct source_file *ready_pop(struct sender *s)
{
	struct source_file *f = s->ready[s->ready_head];
	s->ready_head = (s->ready_head + 1) % OPEN_ENTRIES_MAX;
	s->ready_count--;
	return f;
}

static bool goes_in_pack(const struct sender *s, const struct source_file *f)
{
	return f->stamp.size <= s->cfg->chunk / PACK_SHARE && !f->have;
}

struct send_job *sender_job_new(struct sender *s, enum job_kind kind, struct source_file *f)
{
	struct send_job *job = calloc(1, sizeof *job);
	if (job) {
		job->kind = kind;
		job->file = f;
		return job;
	}
	struct haul_err err = {0};
	haul_fail(&err, HAUL_NO_MEMORY, 0, NULL, "no memory for a chunk");
	engine_abort(&s->engine, &err);
	return NULL;
}

/* As many small files as fit one chunk. */
static struct send_job *make_pack(struct sender *s)
{
	struct send_job *job = sender_job_new(s, JOB_PACK, NULL);
	if (!job || !(job->files = calloc(PACK_FILES_MAX, sizeof(struct source_file *)))) {
		free(job);
		return NULL;
	}
	uint64_t room = s->cfg->chunk;
	while (s->ready_count && job->count < PACK_FILES_MAX) {
		struct source_file *f = s->ready[s->ready_head];
		if (!goes_in_pack(s, f) || (job->count && f->stamp.size + PACKED_BYTES > room))
			break;
		uint64_t takes = f->stamp.size + PACKED_BYTES;
		room -= takes < room ? takes : room;
		job->raw += (uint32_t)f->stamp.size;
		job->files[job->count++] = ready_pop(s);
	}
	return job;
}

static bool file_is_bad(struct source_file *f)
{
	pthread_mutex_lock(&f->mu);
	bool bad = f->status != READ_OK;
	pthread_mutex_unlock(&f->mu);
	return bad;
}

/* ---- runs of holes and of kept chunks, and the end of a file ---- */

static void flush_hole(struct sender *s)
{
	uint8_t b[64];
	struct wr w = wr_init(b, sizeof b);
	if (!s->hole_file)
		return;
	frame_put_hole(&w, &(struct frame_hole){s->hole_file->id, s->hole_from, s->hole_to - s->hole_from});
	sender_outbox_fields(s, F_HOLE, b, w.n);
	s->m->bytes += s->hole_to - s->hole_from;
	s->hole_file = NULL;
}

static void add_hole(struct sender *s, const struct send_job *job)
{
	if (s->hole_file != job->file || s->hole_to != job->offset) {
		flush_hole(s);
		s->hole_file = job->file;
		s->hole_from = job->offset;
	}
	s->hole_to = job->offset + job->raw;
}

static void flush_keep(struct sender *s)
{
	uint8_t b[64];
	struct wr w = wr_init(b, sizeof b);
	if (!s->keep_file)
		return;
	frame_put_keep(&w, &(struct frame_keep){s->keep_file->id, s->keep_from, (uint32_t)s->keep_count});
	sender_outbox_fields(s, F_KEEP, b, w.n);
	s->keep_file = NULL;
}

static void add_keep(struct sender *s, const struct send_job *job)
{
	uint64_t i = job->offset / s->cfg->chunk;
	if (s->keep_file != job->file || s->keep_from + s->keep_count != i ||
	    s->keep_count == KEEP_CHUNKS_MAX) {
		flush_keep(s);
		s->keep_file = job->file;
		s->keep_from = i;
		s->keep_count = 0;
	}
	s->keep_count++;
	s->m->kept_bytes += job->raw;
	job->file->kept += job->raw;
}

static void flush_runs(struct sender *s)
{
	flush_hole(s);
	flush_keep(s);
}

static void put_end(struct sender *s, struct source_file *f, uint64_t size, enum read_status status)
{
	struct frame_end end = {.file = f->id, .size = size, .status = (uint8_t)status};
	digest_sum_end(&f->sum, size, end.digest);
	uint8_t b[64];
	struct wr w = wr_init(b, sizeof b);
	frame_put_end(&w, &end);
	sender_outbox_fields(s, F_END, b, w.n);
}

void sender_file_done(struct sender *s, struct source_file *f)
{
	flush_runs(s);
	f->told = true;
	put_end(s, f, f->stamp.size, f->type == ENTRY_STREAM ? READ_OK : source_file_close(f));
}

static const uint8_t *had_by_receiver(const struct source_file *f, uint64_t i)
{
	static const uint8_t none[DIGEST_BYTES];
	return f->have && memcmp(f->have[i], none, sizeof none) != 0 ? f->have[i] : NULL;
}

/* The next chunk to read: what was asked for again, then what the receiver lacks, then what it has, to be
 * compared. False when there is none left. */
static bool next_chunk(struct sender *s, struct source_file *f, uint64_t *offset, const uint8_t **expect)
{
	*expect = NULL;
	if (f->need_count) {
		*offset = f->needs[--f->need_count] * s->cfg->chunk;
		return true;
	}
	for (;;) {
		if (f->next >= f->stamp.size) {
			if (!f->have || f->comparing)
				return false;
			f->comparing = true;
			f->next = 0;
			continue;
		}
		*offset = f->next;
		const uint8_t *had = had_by_receiver(f, f->next / s->cfg->chunk);
		f->next += s->cfg->chunk;
		if (f->comparing != (had != NULL))
			continue;
		*expect = had;
		return true;
	}
}

/* NULL when the current file has no more chunks. */
static struct send_job *make_chunk(struct sender *s)
{
	struct source_file *f = s->current;
	uint64_t offset;
	const uint8_t *expect;
	struct send_job *job = NULL;
	bool again = f->need_count > 0;
	if (!file_is_bad(f) && next_chunk(s, f, &offset, &expect)) {
		job = sender_job_new(s, JOB_CHUNK, f);
		if (!job)
			return NULL;
		uint64_t left = f->stamp.size - offset;
		job->offset = offset;
		job->raw = (uint32_t)(left < s->cfg->chunk ? left : s->cfg->chunk);
		job->expect = expect;
		job->again = again;
		f->jobs++;
		return job;
	}
	f->submitted = true;
	s->current = NULL;
	if (!f->jobs)
		sender_file_done(s, f);
	return NULL;
}

void sender_pump_jobs(struct sender *s)
{
	/* the end of a file may take three places in the outbox */
	while (!pool_full(s->workers) && !s->draining && !s->stopped && s->outbox_count + 3 <= OUTBOX_MAX) {
		struct send_job *job;
		if (s->current) {
			job = make_chunk(s);
			if (!job)
				continue;
		} else if (!s->ready_count)
			return;
		else if (goes_in_pack(s, s->ready[s->ready_head]))
			job = make_pack(s);
		else {
			s->current = ready_pop(s);
			continue;
		}
		if (!job || !pool_submit(s->workers, job)) {
			free(job);
			return;
		}
	}
}

/* ---- finished jobs ---- */

static void chunk_done(struct sender *s, struct send_job *job)
{
	struct source_file *f = job->file;
	f->jobs--;
	if (job->keep) {
		flush_hole(s);
		digest_sum_add(&f->sum, job->offset, job->digest);
		add_keep(s, job);
	} else if (job->hole) {
		flush_keep(s);
		add_hole(s, job);
	} else if (job->body) {
		flush_runs(s);
		if (job->again) { /* it was counted when it was kept */
			f->kept -= job->raw;
			s->m->kept_bytes -= job->raw;
		} else {
			digest_sum_add(&f->sum, job->offset, job->digest);
		}
		sender_outbox_put(s, F_DATA, job->cost, job->body, job->raw);
		job->body = NULL;
	}
	if (!f->jobs && f->submitted)
		sender_file_done(s, f);
}

static void pack_done(struct sender *s, struct send_job *job)
{
	if (job->body) {
		for (size_t i = 0; i < job->count; i++)
			job->files[i]->told = true;
		sender_outbox_put(s, F_PACK, job->cost, job->body, job->raw);
		job->body = NULL;
		return;
	}
	struct haul_err err = {0};
	haul_fail(&err, HAUL_NO_MEMORY, 0, NULL, "no memory for a pack of files");
	engine_abort(&s->engine, &err);
}

void sender_pump_done(struct sender *s)
{
	struct send_job *job;
	while (!s->outbox_count && (job = pool_take(s->workers))) {
		s->flushed = false;
		if (job->kind == JOB_PACK)
			pack_done(s, job);
		else
			chunk_done(s, job);
		send_job_free(job);
		sender_outbox_drain(s);
	}
}
