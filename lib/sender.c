#include "lib/sender.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/entropy.h"
#include "lib/governor.h"
#include "lib/scan.h"
#include "lib/source.h"
#include "lib/stream_in.h"
#include "wire/err.h"

/* Entries of the first batches, so that something moves at once; then a full batch. */
#define FIRST_BATCH 16u
#define BATCH	    256u
#define SCAN_DEPTH  2u
#define STREAM_DEPTH 4u
/* Files up to this share of a chunk travel in packs. */
#define PACK_SHARE 4u
/* A file that changes while it is read is sent again this often. */
#define RESEND_MAX 2u
#define OUTBOX_MAX 8u
/* --compress=auto: where the level begins, and how far below it may fall when packing holds things up */
#define AUTO_LEVEL 1
#define AUTO_FLOOR (-4)

struct outgoing {
	uint8_t frame;
	uint32_t cost;
	struct buf *body;
	uint64_t content; /* raw bytes of files in it */
};

struct sender {
	struct sender_setup set;
	const struct haul_config *cfg;
	struct engine engine;
	struct metrics *m;

	/* scan */
	struct walk *walk;
	struct pool *scan;
	size_t next_batch;
	bool scan_ended;

	/* entries by id, from offer to result */
	struct source_file *open[OPEN_ENTRIES_MAX];
	uint64_t first_open, next_id;
	size_t open_count, unanswered; /* unanswered: offered, no WANT yet */

	/* wanted files in the order they were wanted */
	struct source_file *ready[OPEN_ENTRIES_MAX];
	size_t ready_head, ready_count;
	struct source_file *again[OPEN_ENTRIES_MAX]; /* changed while read: to be offered once more */
	size_t again_count;

	/* workers */
	struct source_config source;
	struct governor governor;
	struct pool *workers;
	struct source_file *current; /* the large file chunks are made of */
	struct outgoing outbox[OUTBOX_MAX];
	size_t outbox_head, outbox_count;
	uint64_t hole_from, hole_to; /* holes of one file in a row travel as one */
	struct source_file *hole_file;
	uint64_t keep_from, keep_count; /* so do chunks the receiver has */
	struct source_file *keep_file;

	/* stream */
	struct stream_in in;
	struct pool *reader;
	struct source_file *stream;
	bool stream_ended;
	uint64_t stream_read;

	bool begun, flushed, finished, stopped, draining;
	struct haul_err stop;
	uint64_t offered_files, offered_entries;
	enum haul_rc worst; /* of single files: PARTIAL, CHANGED, DIGEST or POLICY */
	uint64_t refused, busy; /* failed files: by policy, because another sender sends them now */
};

/* ---- events ---- */

static void file_event(struct sender *s, const struct source_file *f, enum file_state state, int sys, const char *why)
{
	struct event ev = {.type = EV_FILE};
	ev.u.file.path = f->path;
	ev.u.file.path_len = f->path_len;
	ev.u.file.size = f->stamp.size;
	ev.u.file.state = state;
	ev.u.file.sys = sys;
	ev.u.file.why = why;
	event_emit(s->set.bus, &ev);
}

static void problem_event(struct sender *s, const struct haul_err *p, enum file_state state)
{
	struct event ev = {.type = EV_FILE};
	ev.u.file.path = p->subject;
	ev.u.file.path_len = strlen(p->subject);
	ev.u.file.state = state;
	ev.u.file.sys = p->sys;
	ev.u.file.why = p->why;
	event_emit(s->set.bus, &ev);
}

/* The worst thing that happened to a single file decides the exit status of a run that went on. */
static void note_worst(struct sender *s, enum haul_rc rc)
{
	static const enum haul_rc order[] = {HAUL_OK, HAUL_CHANGED, HAUL_PARTIAL, HAUL_DIGEST};
	size_t now = 0, new = 0;
	for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
		now = order[i] == s->worst ? i : now;
		new = order[i] == rc ? i : new;
	}
	if (new > now)
		s->worst = rc;
}

static void count_failed(struct sender *s, const struct source_file *f, enum haul_rc rc, int sys, const char *why)
{
	s->m->failed++;
	note_worst(s, rc == HAUL_DIGEST ? HAUL_DIGEST : HAUL_PARTIAL);
	file_event(s, f, FILE_FAILED, sys, why);
}

static void count_vanished(struct sender *s, const struct source_file *f)
{
	if (s->cfg->vanished == VANISHED_IGNORE)
		return;
	s->m->vanished++;
	note_worst(s, s->cfg->vanished == VANISHED_ERROR ? HAUL_PARTIAL : HAUL_CHANGED);
	file_event(s, f, FILE_VANISHED, ENOENT, "vanished before it could be read");
}

/* ---- the table of open entries ---- */

static struct source_file **entry_slot(struct sender *s, uint64_t id)
{
	return &s->open[id % OPEN_ENTRIES_MAX];
}

static struct source_file *entry_of(struct sender *s, uint64_t id)
{
	struct source_file *f = *entry_slot(s, id);
	return f && f->id == id ? f : NULL;
}

static void open_entries(struct sender *s, struct scan_batch *b)
{
	for (size_t i = 0; i < b->count; i++) {
		struct source_file *f = b->files[i];
		f->id = s->next_id++;
		f->seed = s->source.seed;
		*entry_slot(s, f->id) = f;
		s->open_count++;
		s->offered_entries += f->type != ENTRY_DIR_END;
		if (f->type == ENTRY_FILE && !f->attempts) {
			s->offered_files++;
			s->m->total += f->stamp.size;
		}
	}
	s->unanswered += b->count;
	b->count = 0; /* they have moved */
}

static void close_entry(struct sender *s, struct source_file *f)
{
	*entry_slot(s, f->id) = NULL;
	s->open_count--;
	while (s->first_open < s->next_id && !*entry_slot(s, s->first_open))
		s->first_open++;
	source_file_free(f);
}

static bool table_has_room(const struct sender *s, size_t n)
{
	return s->next_id + n - s->first_open <= OPEN_ENTRIES_MAX;
}

/* ---- outbox: messages that wait for credit; refilled only when empty ---- */

static void outbox_put(struct sender *s, uint8_t frame, uint32_t cost, struct buf *body, uint64_t content)
{
	s->outbox[(s->outbox_head + s->outbox_count++) % OUTBOX_MAX] = (struct outgoing){frame, cost, body, content};
}

/* A message of fixed fields only. */
static bool outbox_fields(struct sender *s, uint8_t frame, const uint8_t *p, size_t n)
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
	outbox_put(s, frame, n ? (uint32_t)n : 1, b, 0);
	return true;
}

/* True when everything in it has gone to the link. */
static bool outbox_drain(struct sender *s)
{
	uint64_t now = engine_now_ms();
	while (s->outbox_count) {
		struct outgoing *o = &s->outbox[s->outbox_head];
		if (link_send(&s->engine.link, o->frame, o->cost, o->body, now) != WIRE_OK)
			return false;
		engine_step(&s->engine, o->frame, ROLE_SENDER);
		s->m->bytes += o->content;
		s->outbox_head = (s->outbox_head + 1) % OUTBOX_MAX;
		s->outbox_count--;
	}
	return true;
}

/* ---- scan and offers ---- */

static void begin(struct sender *s)
{
	static const uint8_t compare_size = 1, compare_content = 2;
	uint8_t b[64];
	struct wr w = wr_init(b, sizeof b);
	frame_put_begin(&w, &(struct frame_begin){
				    .seed = s->source.seed,
				    .chunk = (uint32_t)s->cfg->chunk,
				    .kind = s->set.stream ? 2 : 1,
				    .compare = s->cfg->checksum	   ? compare_content
					       : s->cfg->size_only ? compare_size
								   : 0,
				    .flags = (uint16_t)((s->cfg->dry_run ? 1 : 0) | (s->cfg->update ? 2 : 0) |
							(s->cfg->ignore_existing ? 4 : 0) |
							(s->cfg->existing ? 8 : 0) |
							(s->cfg->whole_file ? 16 : 0)),
			    });
	outbox_fields(s, F_BEGIN, b, w.n);
	s->begun = true;
}

static void scan_problems(struct sender *s, const struct scan_batch *b)
{
	for (size_t i = 0; i < b->problem_count; i++) {
		const struct haul_err *p = &b->problems[i];
		if (p->sys == ENOENT && p->rc != HAUL_NO_SOURCE) {
			if (s->cfg->vanished == VANISHED_IGNORE)
				continue;
			s->m->vanished++;
			note_worst(s, s->cfg->vanished == VANISHED_ERROR ? HAUL_PARTIAL : HAUL_CHANGED);
			problem_event(s, p, FILE_VANISHED);
		} else {
			s->m->failed++;
			note_worst(s, HAUL_PARTIAL);
			problem_event(s, p, FILE_FAILED);
		}
	}
}

static void plan_event(struct sender *s)
{
	struct event ev = {.type = EV_PLAN};
	ev.u.plan.files = s->offered_files;
	ev.u.plan.bytes = s->m->total;
	ev.u.plan.final = s->scan_ended;
	event_emit(s->set.bus, &ev);
}

static void scan_ended(struct sender *s, const struct scan_batch *b)
{
	s->scan_ended = true;
	s->m->total_final = true;
	plan_event(s);
	if (!b->nothing_readable && !b->no_memory)
		return;
	struct haul_err err = {0};
	if (b->no_memory)
		haul_fail(&err, HAUL_NO_MEMORY, 0, NULL, "no memory for an entry");
	else if (b->problem_count)
		haul_fail(&err, HAUL_NO_SOURCE, b->problems[0].sys, b->problems[0].subject, "%s", b->problems[0].why);
	else
		haul_fail(&err, HAUL_NO_SOURCE, 0, NULL, "none of the sources could be read");
	engine_abort(&s->engine, &err);
}

static void offer(struct sender *s, struct scan_batch *b)
{
	uint64_t first = s->next_id;
	size_t count = b->count;
	struct buf *body = count ? scan_batch_offer(b, first) : NULL;
	if (body) {
		open_entries(s, b);
		outbox_put(s, F_OFFER, (uint32_t)body->len, body, 0);
	}
}

/* Batches that the scan has finished become offers; new ones are started while the table has room. */
static void pump_scan(struct sender *s)
{
	struct scan_batch *b;
	while (!s->outbox_count && (b = pool_take(s->scan))) {
		if (s->set.dial && s->engine.redial_at == UINT64_MAX && !(b->ended && b->nothing_readable))
			s->engine.redial_at = 0; /* there is something to send: dial */
		scan_problems(s, b);
		if (!s->stopped)
			offer(s, b);
		if (b->ended && !s->scan_ended)
			scan_ended(s, b);
		scan_batch_free(b);
	}
	while (!s->scan_ended && !s->draining && !s->stopped && !pool_full(s->scan) &&
	       table_has_room(s, (pool_count(s->scan) + 1) * s->next_batch)) {
		b = scan_batch_new(s->walk, s->next_batch);
		if (!b || !pool_submit(s->scan, b)) {
			scan_batch_free(b);
			return;
		}
		s->next_batch = s->next_batch * 4 < BATCH ? s->next_batch * 4 : BATCH;
	}
}

/* A changed file is offered again as it is now. */
static void offer_again(struct sender *s)
{
	struct source_file *old = s->again[--s->again_count];
	struct stamp now;
	int fd = walk_open(s->walk, old->source, old->source_path, &now);
	if (fd < 0) {
		if (fd == -ENOENT)
			count_vanished(s, old);
		else
			count_failed(s, old, HAUL_PARTIAL, -fd, "cannot be read");
		source_file_free(old);
		return;
	}
	struct stat st;
	uint64_t blocks = fstat(fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : now.size;
	close(fd);
	struct entry e = {
		.type = ENTRY_FILE,
		.mode = old->mode,
		.stamp = now,
		.blocks = blocks,
		.path = old->path,
		.path_len = old->path_len,
		.source = old->source,
		.source_path = old->source_path,
	};
	struct scan_batch *b = scan_batch_new(s->walk, 1);
	struct source_file *f = source_file_new(&e);
	if (b && f && scan_batch_add(b, &e, f)) {
		f->attempts = old->attempts + 1;
		offer(s, b);
	} else {
		source_file_free(f);
		count_failed(s, old, HAUL_PARTIAL, ENOMEM, "no memory to send it again");
	}
	scan_batch_free(b);
	source_file_free(old);
}

/* ---- jobs ---- */

static void make_ready(struct sender *s, struct source_file *f)
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

static struct send_job *job_new(struct sender *s, enum job_kind kind, struct source_file *f)
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
	struct send_job *job = job_new(s, JOB_PACK, NULL);
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
	outbox_fields(s, F_HOLE, b, w.n);
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
	outbox_fields(s, F_KEEP, b, w.n);
	s->keep_file = NULL;
}

static void add_keep(struct sender *s, const struct send_job *job)
{
	uint64_t i = job->offset / s->cfg->chunk;
	if (s->keep_file != job->file || s->keep_from + s->keep_count != i || s->keep_count == KEEP_CHUNKS_MAX) {
		flush_keep(s);
		s->keep_file = job->file;
		s->keep_from = i;
		s->keep_count = 0;
	}
	s->keep_count++;
	s->m->kept_bytes += job->raw;
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
	outbox_fields(s, F_END, b, w.n);
}

/* Every chunk has come back. */
static void file_done(struct sender *s, struct source_file *f)
{
	flush_runs(s);
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
		job = job_new(s, JOB_CHUNK, f);
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
		file_done(s, f);
	return NULL;
}

static void pump_jobs(struct sender *s)
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
		if (!job->again) /* a chunk sent again was counted when it was kept */
			digest_sum_add(&f->sum, job->offset, job->digest);
		outbox_put(s, F_DATA, job->cost, job->body, job->raw);
		job->body = NULL;
	}
	if (!f->jobs && f->submitted)
		file_done(s, f);
}

static void pack_done(struct sender *s, struct send_job *job)
{
	if (job->body) {
		outbox_put(s, F_PACK, job->cost, job->body, job->raw);
		job->body = NULL;
		return;
	}
	struct haul_err err = {0};
	haul_fail(&err, HAUL_NO_MEMORY, 0, NULL, "no memory for a pack of files");
	engine_abort(&s->engine, &err);
}

static void pump_done(struct sender *s)
{
	struct send_job *job;
	while (!s->outbox_count && (job = pool_take(s->workers))) {
		s->flushed = false;
		if (job->kind == JOB_PACK)
			pack_done(s, job);
		else
			chunk_done(s, job);
		send_job_free(job);
		outbox_drain(s);
	}
}

/* ---- stream ---- */

static void offer_stream(struct sender *s)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	const char *name = s->cfg->name ? s->cfg->name : "stdin";
	struct entry e = {
		.type = ENTRY_STREAM,
		.mode = 0666,
		.stamp = {.size = s->cfg->stream_size, .mtime_s = ts.tv_sec, .mtime_ns = (uint32_t)ts.tv_nsec},
		.blocks = UINT64_MAX,
		.path = name,
		.path_len = strlen(name),
		.source_path = "",
	};
	struct scan_batch *b = scan_batch_new(NULL, 1);
	s->stream = b ? source_file_new(&e) : NULL;
	if (s->stream && scan_batch_add(b, &e, s->stream)) {
		s->offered_files = 1;
		offer(s, b);
	}
	scan_batch_free(b);
	s->scan_ended = true;
	s->m->total = s->cfg->stream_size == SIZE_UNSET ? 0 : s->cfg->stream_size;
	s->m->total_final = s->cfg->stream_size != SIZE_UNSET;
	plan_event(s);
}

static void piece_to_job(struct sender *s, struct stream_piece *piece)
{
	struct send_job *job = job_new(s, JOB_STREAM, s->stream);
	if (!job)
		return;
	job->offset = s->stream_read;
	job->raw = piece->len;
	job->body = piece->block;
	piece->block = NULL;
	s->stream_read += piece->len;
	s->stream->jobs++;
	if (!pool_submit(s->workers, job))
		send_job_free(job);
}

static void stream_end(struct sender *s, struct stream_piece *piece)
{
	s->stream_ended = true;
	if (piece->err.rc == HAUL_OK && s->cfg->stream_size != SIZE_UNSET && s->stream_read != s->cfg->stream_size)
		haul_fail(&piece->err, HAUL_COMMAND, 0, "--size", "the stream ended after %llu of %llu bytes",
			  (unsigned long long)s->stream_read, (unsigned long long)s->cfg->stream_size);
	if (piece->err.rc != HAUL_OK) {
		if (piece->err.rc != HAUL_SIGNAL)
			engine_abort(&s->engine, &piece->err);
		return;
	}
	s->stream->submitted = true;
	s->m->total = s->stream->stamp.size = s->stream_read;
	s->m->total_final = true;
	if (!s->stream->jobs)
		file_done(s, s->stream);
}

/* Pieces read become jobs for the workers; the reader gets new ones to fill. */
static void pump_stream(struct sender *s)
{
	if (!s->stream || !s->stream->wanted)
		return;
	struct stream_piece *piece;
	while (!s->stream_ended && !s->outbox_count && !pool_full(s->workers) && (piece = pool_take(s->reader))) {
		if (piece->len)
			piece_to_job(s, piece);
		if (piece->end)
			stream_end(s, piece);
		buf_put(piece->block);
		free(piece);
	}
	while (!s->stream_ended && !s->draining && !pool_full(s->reader)) {
		piece = calloc(1, sizeof *piece);
		if (!piece || !pool_submit(s->reader, piece)) {
			free(piece);
			return;
		}
	}
}

/* ---- answers ---- */

static enum haul_rc malformed(struct sender *s, const char *what, uint64_t at)
{
	struct haul_err err = {.at = at};
	haul_fail(&err, HAUL_PROTOCOL, 0, NULL, "%s (%llu)", what, (unsigned long long)at);
	return engine_abort(&s->engine, &err);
}

/* An entry that will not be committed, for a reason of the receiver's. */
static void entry_failed(struct sender *s, struct source_file *f, uint16_t code, uint16_t sys)
{
	enum haul_rc rc = haul_rc_from_status(code);
	s->refused += rc == HAUL_POLICY;
	s->busy += rc == HAUL_BUSY;
	count_failed(s, f, rc, sys, haul_rc_text(rc));
	close_entry(s, f);
}

/* The receiver wants it, but a dry run only says so. */
static void would_send(struct sender *s, struct source_file *f)
{
	s->m->entries++;
	file_event(s, f, FILE_PLANNED, 0, NULL);
	if (f == s->stream) {
		s->stream = NULL;
		s->stream_ended = true;
	}
	close_entry(s, f);
}

static void apply_verdict(struct sender *s, struct source_file *f, const struct frame_verdict *v)
{
	s->unanswered--;
	switch (v->action) {
	case 0:
		if (f->type == ENTRY_FILE) {
			s->m->skipped++;
			s->m->skipped_bytes += f->stamp.size;
			file_event(s, f, FILE_SKIPPED, 0, NULL);
		}
		s->m->entries += f->type != ENTRY_DIR_END;
		close_entry(s, f);
		return;
	case 1:
		if (s->cfg->dry_run) {
			would_send(s, f);
			return;
		}
		f->wanted = true;
		if (f->type == ENTRY_FILE)
			make_ready(s, f);
		return;
	case 4: /* it waits for the last HAVE */
		f->wanted = true;
		return;
	case 3:
		s->m->entries += f->type != ENTRY_DIR_END;
		close_entry(s, f);
		return;
	default:
		entry_failed(s, f, v->code, v->sys);
	}
}

static enum haul_rc on_want(struct sender *s, struct span body)
{
	struct frame_want want;
	if (!frame_get_want(body, &want))
		return malformed(s, "malformed WANT", body.n);
	struct rd r = rd_init(want.verdicts.p, want.verdicts.n);
	for (uint64_t id = want.first; id < want.first + want.count; id++) {
		struct frame_verdict v;
		struct source_file *f = entry_of(s, id);
		bool content = f && (f->type == ENTRY_FILE || f->type == ENTRY_STREAM);
		if (!frame_get_part_verdict(&r, &v) || !f || f->wanted || v.action > 4 ||
		    (v.action == 1 && !content) || (v.action == 4 && f->type != ENTRY_FILE))
			return malformed(s, "a verdict on an entry that was not offered", id);
		apply_verdict(s, f, &v);
	}
	return rd_done(&r) ? HAUL_OK : malformed(s, "bytes behind the verdicts of WANT", r.n);
}

static enum haul_rc on_have(struct sender *s, struct span body)
{
	struct frame_have h;
	struct source_file *f;
	if (!frame_get_have(body, &h) || h.digests.n % DIGEST_BYTES || h.digests.n / DIGEST_BYTES > HAVE_DIGESTS_MAX)
		return malformed(s, "malformed HAVE", body.n);
	f = entry_of(s, h.file);
	if (!f || f->type != ENTRY_FILE || !f->wanted || f->next ||
	    !source_file_have(f, (uint32_t)s->cfg->chunk, h.first, h.digests.p, h.digests.n / DIGEST_BYTES))
		return malformed(s, "HAVE for a file or chunk that was not asked about", h.file);
	f->seed = h.seed;
	if (h.last)
		make_ready(s, f);
	return HAUL_OK;
}

static enum haul_rc on_need(struct sender *s, struct span body)
{
	struct frame_need n;
	struct source_file *f;
	if (!frame_get_need(body, &n))
		return malformed(s, "malformed NEED", body.n);
	f = entry_of(s, n.file);
	if (!f || !f->wanted || !source_file_need(f, (uint32_t)s->cfg->chunk, n.chunk))
		return malformed(s, "NEED for a chunk that was not kept", n.chunk);
	if (f->submitted && s->current != f) { /* its END is out, or about to be: another one follows */
		f->submitted = false;
		make_ready(s, f);
	}
	return HAUL_OK;
}

/* The receiver dropped it because this side said it changed, vanished or could not be read. */
static void not_sent(struct sender *s, struct source_file *f)
{
	if (f->status == READ_VANISHED) {
		count_vanished(s, f);
	} else if (f->status == READ_FAILED) {
		count_failed(s, f, HAUL_PARTIAL, f->sys, "cannot be read");
	} else {
		s->m->changed++;
		note_worst(s, HAUL_CHANGED);
		file_event(s, f, FILE_CHANGED, 0, "changed while it was read, each time");
	}
	close_entry(s, f);
}

/* Takes it out of the table without freeing it: it will be offered under a new id. */
static void send_again(struct sender *s, struct source_file *f)
{
	*entry_slot(s, f->id) = NULL;
	s->open_count--;
	while (s->first_open < s->next_id && !*entry_slot(s, s->first_open))
		s->first_open++;
	s->again[s->again_count++] = f;
}

static void apply_outcome(struct sender *s, struct source_file *f, const struct frame_outcome *o)
{
	bool changed = f->status == READ_CHANGED;
	if (o->code == REASON_UNCHANGED) {
		s->m->skipped++;
		s->m->skipped_bytes += f->stamp.size;
		s->m->entries++;
		file_event(s, f, FILE_SKIPPED, 0, NULL);
		close_entry(s, f);
	} else if (o->code == 0) {
		s->m->files++;
		s->m->entries++;
		file_event(s, f, FILE_COMMITTED, 0, NULL);
		close_entry(s, f);
	} else if (f->type == ENTRY_FILE && f->attempts < RESEND_MAX && !s->draining && !s->stopped &&
		   (changed || (o->code == haul_rc_status(HAUL_DIGEST) && !f->attempts))) {
		send_again(s, f);
	} else if (f->status != READ_OK) {
		not_sent(s, f);
	} else {
		entry_failed(s, f, o->code, o->sys);
	}
}

static enum haul_rc on_result(struct sender *s, struct span body)
{
	struct frame_result result;
	if (!frame_get_result(body, &result))
		return malformed(s, "malformed RESULT", body.n);
	struct rd r = rd_init(result.results.p, result.results.n);
	for (unsigned i = 0; i < result.count; i++) {
		struct frame_outcome o;
		struct source_file *f;
		if (!frame_get_part_outcome(&r, &o) || !(f = entry_of(s, o.file)) || !f->wanted || f->jobs)
			return malformed(s, "a result for a file that is not open", i);
		apply_outcome(s, f, &o);
	}
	return rd_done(&r) ? HAUL_OK : malformed(s, "bytes behind the results of RESULT", r.n);
}

static enum haul_rc on_stop(struct sender *s, struct span body)
{
	struct frame_stop stop;
	if (!frame_get_stop(body, &stop))
		return malformed(s, "malformed STOP", body.n);
	haul_fail(&s->stop, haul_rc_from_status(stop.code), 0, s->set.dial ? s->set.dial->text : "the receiver",
		  "%.*s", (int)stop.text.n, (const char *)stop.text.p);
	s->stopped = true;
	return HAUL_OK;
}

static enum haul_rc on_summary(struct sender *s, struct span body)
{
	struct frame_summary summary;
	if (!frame_get_summary(body, &summary))
		return malformed(s, "malformed SUMMARY", body.n);
	if (!s->stopped && summary.files != s->m->files)
		return malformed(s, "the receiver committed another number of files than it said", summary.files);
	s->engine.settled = true;
	engine_finish(&s->engine);
	return HAUL_OK;
}

static enum haul_rc sender_message(void *self, struct link_event *ev)
{
	struct sender *s = self;
	struct span body = {buf_bytes(ev->body), ev->body->len};
	enum haul_rc rc = HAUL_OK;
	switch (ev->frame) {
	case F_WANT:
		rc = on_want(s, body);
		break;
	case F_HAVE:
		rc = on_have(s, body);
		break;
	case F_NEED:
		rc = on_need(s, body);
		break;
	case F_RESULT:
		rc = on_result(s, body);
		break;
	case F_STOP:
		rc = on_stop(s, body);
		break;
	default: /* F_SUMMARY: the session table lets nothing else through */
		rc = on_summary(s, body);
		break;
	}
	buf_put(ev->body);
	link_consume(&s->engine.link, ev->cost, engine_now_ms());
	return rc;
}

/* ---- pump ---- */

static bool nothing_to_send(const struct sender *s)
{
	return !s->outbox_count && !s->ready_count && !s->current && !s->again_count && pool_count(s->workers) == 0 &&
	       (!s->stream || s->stream_ended);
}

/* Nothing more can be done before the receiver answers: ask it to commit, or say that this was all. */
static void pump_end(struct sender *s)
{
	if (s->finished || s->draining || !nothing_to_send(s))
		return;
	bool all_offered = s->scan_ended || s->stopped;
	if (all_offered && (!s->open_count || s->stopped)) {
		uint8_t b[64];
		struct wr w = wr_init(b, sizeof b);
		frame_put_finish(&w, &(struct frame_finish){s->offered_files, s->offered_entries, s->m->bytes});
		s->finished = outbox_fields(s, F_FINISH, b, w.n);
	} else if (!s->flushed && !s->unanswered && (all_offered || !table_has_room(s, BATCH)) && s->open_count) {
		s->flushed = outbox_fields(s, F_FLUSH, NULL, 0);
	}
	outbox_drain(s);
}

/* Where the pipeline waits; the person sees it, and the peer is told when it is the source. */
static void note_blocked(struct sender *s)
{
	enum blocked_on on = BLOCKED_NONE;
	const struct link *l = &s->engine.link;
	if (l->state != LINK_UP || s->engine.write_blocked)
		on = BLOCKED_LINK;
	else if (s->outbox_count)
		on = BLOCKED_CREDIT;
	else if (pool_count(s->workers))
		on = BLOCKED_CPU;
	else if ((s->stream && s->stream->wanted && !s->stream_ended) || (!s->scan_ended && !s->open_count))
		on = BLOCKED_SOURCE;
	else if (s->open_count)
		on = BLOCKED_DISK;
	s->m->blocked = on;
	link_blocked(&s->engine.link, (uint8_t)(on == BLOCKED_SOURCE && l->ring.count == 0 ? 1 : on == BLOCKED_SOURCE ? 0 : on));
	link_owed(&s->engine.link, on == BLOCKED_DISK || s->finished, engine_now_ms());
}

static void govern(struct sender *s)
{
	int from = s->governor.level;
	if (s->cfg->compress == COMPRESS_NONE || !governor_step(&s->governor, s->m->wait_ns, engine_now_ms()))
		return;
	atomic_store_explicit(&s->source.level, s->governor.level, memory_order_relaxed);
	s->m->level = s->governor.level;
	struct event ev = {.type = EV_LEVEL};
	ev.u.level.from = from;
	ev.u.level.to = s->governor.level;
	ev.u.level.why = s->governor.level > from ? "link-bound" : "cpu-bound";
	event_emit(s->set.bus, &ev);
}

static uint64_t content_in_ring(const struct sender *s)
{
	uint64_t n = 0;
	const struct ring *r = &s->engine.link.ring;
	for (size_t i = 0; i < r->count; i++) {
		const struct ring_entry *e = ring_at(r, i);
		n += e->type == F_DATA || e->type == F_PACK ? e->cost : 0;
	}
	return n;
}

static enum haul_rc sender_pump(void *self)
{
	struct sender *s = self;
	if (!s->begun) {
		begin(s);
		if (s->set.stream)
			offer_stream(s);
	}
	for (bool more = true; more;) {
		size_t before = s->engine.link.ring.count;
		if (outbox_drain(s) && s->scan)
			pump_scan(s);
		if (outbox_drain(s) && s->again_count)
			offer_again(s);
		if (outbox_drain(s))
			pump_done(s);
		pump_jobs(s);
		if (outbox_drain(s))
			pump_stream(s);
		more = outbox_drain(s) && s->engine.link.ring.count > before && s->engine.phase == ENGINE_RUNNING;
	}
	pump_end(s);
	link_waiting(&s->engine.link, s->outbox_count > 0, engine_now_ms());
	note_blocked(s);
	govern(s);
	uint64_t unacked = content_in_ring(s);
	s->m->acked = s->m->bytes > unacked ? s->m->bytes - unacked : 0;
	return HAUL_OK;
}

static size_t sender_fds(void *self, int fds[static ENGINE_ROLE_FDS_MAX])
{
	struct sender *s = self;
	size_t n = 0;
	/* a stage whose work cannot be taken yet must not keep the loop awake */
	if (s->outbox_count)
		return 0;
	fds[n++] = pool_fd(s->workers);
	if (s->scan)
		fds[n++] = pool_fd(s->scan);
	if (s->reader && s->stream && s->stream->wanted && !s->stream_ended && !pool_full(s->workers))
		fds[n++] = pool_fd(s->reader);
	return n;
}

static uint64_t sender_deadline(void *self)
{
	(void)self;
	return UINT64_MAX;
}

static void sender_drain(void *self)
{
	struct sender *s = self;
	s->draining = true;
}

static bool sender_drained(void *self)
{
	struct sender *s = self;
	return s->engine.link.state != LINK_UP || (s->engine.link.ring.count == 0 && !pool_count(s->workers));
}

/* A sender holds nothing that others could want. */
static void sender_prove(void *self)
{
	(void)self;
}

static const struct engine_ops sender_ops = {
	.role = ROLE_SENDER,
	.message = sender_message,
	.pump = sender_pump,
	.fds = sender_fds,
	.deadline = sender_deadline,
	.drain = sender_drain,
	.drained = sender_drained,
	.prove = sender_prove,
};

static const struct pool_ops worker_ops = {source_worker_new, source_worker_free, source_run};

/* ---- set-up and end ---- */

static enum haul_rc set_up(struct sender *s, struct haul_err *err)
{
	const struct haul_config *cfg = s->cfg;
	struct engine_setup es = {
		.cfg = cfg,
		.bus = s->set.bus,
		.ops = &sender_ops,
		.self = s,
		.session_id = s->set.session_id,
		.dial = s->set.dial,
		.subdir = s->set.dial && s->set.dial->kind == ENDPOINT_TCP ? s->set.dial->path : NULL,
		.handoff_fd = s->set.handoff_fd,
		.signal_fd = s->set.signal_fd,
		.keep_until_durable = s->set.stream,
	};
	if (engine_init(&s->engine, &es) != HAUL_OK) {
		*err = s->engine.err;
		return err->rc;
	}
	s->source.blocks = s->engine.blocks;
	s->source.seed = entropy_u64();
	bool automatic = cfg->compress == COMPRESS_AUTO;
	governor_init(&s->governor, automatic ? AUTO_LEVEL : cfg->level_min, automatic ? AUTO_FLOOR : cfg->level_min,
		      cfg->level_max, engine_now_ms());
	s->m->level = cfg->compress == COMPRESS_NONE ? LEVEL_STORED : s->governor.level;
	atomic_init(&s->source.level, s->m->level);
	s->workers = pool_new(&worker_ops, &s->source, cfg->jobs, 2 * cfg->jobs + 2, cfg->jobs == 1);
	if (!s->workers)
		return haul_fail(err, HAUL_NO_MEMORY, 0, NULL, "cannot start workers");
	if (s->set.stream) {
		if (stream_in_open(&s->in, cfg->from_cmd, (uint32_t)cfg->chunk, s->engine.blocks, err) != HAUL_OK)
			return err->rc;
		s->reader = pool_new(&stream_in_ops, &s->in, 1, STREAM_DEPTH, false);
		return s->reader ? HAUL_OK : haul_fail(err, HAUL_NO_MEMORY, 0, NULL, "cannot start the reader");
	}
	if (walk_new(cfg, s->set.sources, s->set.source_count, &s->walk, err) != HAUL_OK)
		return err->rc;
	s->source.walk = s->walk;
	s->engine.redial_at = UINT64_MAX;
	s->scan = pool_new(&scan_ops, NULL, 1, SCAN_DEPTH, false);
	return s->scan ? HAUL_OK : haul_fail(err, HAUL_NO_MEMORY, 0, NULL, "cannot start the scan");
}

static void drop_job(void *ctx, void *job)
{
	(void)ctx;
	send_job_free(job);
}

static void drop_batch(void *ctx, void *batch)
{
	(void)ctx;
	scan_batch_free(batch);
}

static void drop_piece(void *ctx, void *arg)
{
	struct stream_piece *piece = arg;
	(void)ctx;
	buf_put(piece->block);
	free(piece);
}

static void tear_down(struct sender *s)
{
	if (s->reader)
		stream_in_cancel(&s->in);
	pool_free(s->scan, drop_batch);
	pool_free(s->reader, drop_piece);
	pool_free(s->workers, drop_job);
	if (s->set.stream)
		stream_in_close(&s->in);
	for (size_t i = 0; i < s->outbox_count; i++)
		buf_put(s->outbox[(s->outbox_head + i) % OUTBOX_MAX].body);
	for (size_t i = 0; i < OPEN_ENTRIES_MAX; i++)
		source_file_free(s->open[i]);
	for (size_t i = 0; i < s->again_count; i++)
		source_file_free(s->again[i]);
	engine_free(&s->engine);
	walk_free(s->walk);
}

/* A run that went to its end may still have left single files behind. */
static void judge(struct sender *s, struct session_outcome *out)
{
	if (out->err.rc != HAUL_OK)
		return;
	if (s->stopped)
		out->err = s->stop;
	else if (s->refused && s->refused == s->m->failed && s->offered_files == 1)
		haul_fail(&out->err, HAUL_POLICY, 0, NULL, "refused by the receiver's policy");
	else if (s->busy && s->busy == s->m->failed)
		haul_fail(&out->err, HAUL_BUSY, 0, NULL, "another sender sends to the same file now");
	else if (s->worst != HAUL_OK)
		haul_fail(&out->err, s->worst, 0, NULL, "%s: %llu failed, %llu vanished, %llu changed, %llu committed",
			  haul_rc_text(s->worst), (unsigned long long)s->m->failed, (unsigned long long)s->m->vanished,
			  (unsigned long long)s->m->changed, (unsigned long long)s->m->files);
}

enum haul_rc sender_run(const struct sender_setup *setup, struct session_outcome *out)
{
	*out = (struct session_outcome){0};
	struct sender *s = calloc(1, sizeof *s);
	if (!s)
		return haul_fail(&out->err, HAUL_NO_MEMORY, 0, NULL, "cannot set up a session");
	s->set = *setup;
	s->cfg = setup->cfg;
	s->m = &s->engine.metrics;
	s->next_batch = FIRST_BATCH;
	s->in = (struct stream_in){.fd = -1, .cancel = -1};
	if (set_up(s, &out->err) == HAUL_OK) {
		if (setup->first)
			engine_adopt(&s->engine, setup->first);
		engine_run(&s->engine);
		out->err = s->engine.err;
		out->also = s->engine.also;
		out->err_from_peer = s->engine.err_from_peer;
		out->session_gone = s->engine.session_gone;
	}
	judge(s, out);
	out->metrics = s->engine.metrics;
	tear_down(s);
	free(s);
	return out->err.rc;
}

/* What was committed before is skipped now: only what moved and what went wrong on the way adds up. */
void session_add_metrics(struct metrics *to, const struct metrics *earlier)
{
	to->files += earlier->files;
	to->skipped -= earlier->files < to->skipped ? earlier->files : to->skipped;
	to->bytes += earlier->bytes;
	to->wire_in += earlier->wire_in;
	to->wire_out += earlier->wire_out;
	to->reconnects += earlier->reconnects;
	to->resent_bytes += earlier->resent_bytes;
	to->dup_bytes += earlier->dup_bytes;
	to->stale_acks += earlier->stale_acks;
}
