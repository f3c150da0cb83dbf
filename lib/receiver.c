#include "lib/receiver.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/dest.h"
#include "lib/holder.h"
#include "lib/plan.h"
#include "lib/sink.h"
#include "lib/walk.h"
#include "wire/err.h"

/* A batch of small files is committed when it is this large, or this old, or when the sender asks. */
#define BATCH_FILES 1024u
#define BATCH_BYTES (64u << 20)
#define BATCH_MS    2000u
#define SINK_DEPTH  4u
#define COMMIT_DEPTH 4u
#define OUTCOMES_A_RESULT 1024u
/* What would have to be sent again after a kill: at most this much, or what came in this time, and one chunk. */
#define CHECKPOINT_BYTES (64u << 20)
#define CHECKPOINT_MS	 2000u
/* Chunks of an older version that one job reads. */
#define HAVE_READ_CHUNKS 16u
#define NEEDS_MAX	 1024u

struct checkpoint {
	struct dest_file *file;
	struct journal_record *records;
	uint64_t *chunks; /* numbers of the chunks recorded, NULL for a stream */
	size_t count;
	uint64_t link_offset, written; /* stream */
	int rc;
};

struct commit_job {
	struct checkpoint checkpoint; /* of a file under way; nothing else in this job then */
	struct dest_file *files[BATCH_FILES];
	size_t count;
	uint64_t bytes;
	bool finish; /* the last: directories, and the verdict */
	int finish_rc;
};

struct receiver {
	struct receiver_setup set;
	const struct haul_config *cfg;
	struct engine engine;
	struct metrics *m;
	struct dest dest;

	struct pool *workers;
	struct dest_job *inbox[LINK_MESSAGES_MAX]; /* arrived, not yet in the stage */
	size_t inbox_head, inbox_count;
	struct dest_job *held; /* finished, but what it leads to does not fit yet */

	struct pool *commit;
	struct commit_job *batch; /* being filled */
	uint64_t batch_since;
	bool flush_asked;

	struct dest_file *have_head, **have_tail; /* whose chunks are to be told of */
	struct dest_file *active;		  /* with a journal, under way */
	struct {
		uint64_t file, chunk;
	} need[NEEDS_MAX]; /* to be asked for */
	size_t need_head, need_count;

	struct sink sink;
	struct pool *sink_stage;
	uint64_t sink_next; /* offset the stream must go on at */

	struct frame_outcome outcome[OPEN_ENTRIES_MAX]; /* to be told */
	size_t outcome_head, outcome_count;

	uint64_t next_offer, quota_used;
	bool begun, finish_asked, finish_sent, summary_sent, stopped, stop_sent, draining;
	struct haul_err stop;
	int finish_rc;
	enum haul_rc worst;
};

/* ---- failing ---- */

static enum haul_rc violation(struct receiver *r, const char *what, uint64_t at)
{
	struct haul_err err = {.at = at};
	haul_fail(&err, HAUL_PROTOCOL, 0, NULL, "%s (%llu)", what, (unsigned long long)at);
	return engine_abort(&r->engine, &err);
}

static enum haul_rc no_memory(struct receiver *r, const char *what)
{
	struct haul_err err = {0};
	haul_fail(&err, HAUL_NO_MEMORY, 0, NULL, "no memory for %s", what);
	return engine_abort(&r->engine, &err);
}

/* Takes no more content; what is verified stays, and the sender hears why. */
static void stop(struct receiver *r, enum haul_rc rc, int sys, const char *why)
{
	if (r->stopped)
		return;
	haul_fail(&r->stop, rc, sys, r->set.dir, "%s", why);
	r->stopped = true;
}

/* ---- messages out: tried each pump until the link takes them ---- */

static bool send_body(struct receiver *r, uint8_t frame, struct buf *body)
{
	uint32_t cost = body->len ? (uint32_t)body->len : 1;
	if (link_send(&r->engine.link, frame, cost, body, engine_now_ms()) != WIRE_OK)
		return false;
	engine_step(&r->engine, frame, ROLE_RECEIVER);
	return true;
}

static bool send_fields(struct receiver *r, uint8_t frame, const uint8_t *p, size_t n)
{
	struct buf *b = buf_malloc(NULL, n);
	if (!b) {
		no_memory(r, "a message");
		return false;
	}
	memcpy(b->data, p, n);
	b->len = n;
	if (send_body(r, frame, b))
		return true;
	buf_put(b);
	return false;
}

static void pump_outcomes(struct receiver *r)
{
	while (r->outcome_count) {
		size_t n = r->outcome_count < OUTCOMES_A_RESULT ? r->outcome_count : OUTCOMES_A_RESULT;
		struct buf *b = buf_malloc(NULL, 2 + n * 12);
		if (!b) {
			no_memory(r, "results");
			return;
		}
		struct wr w = wr_init(b->data, b->cap);
		frame_put_result(&w, &(struct frame_result){.count = (uint16_t)n});
		for (size_t i = 0; i < n; i++)
			frame_put_outcome(&w, &r->outcome[(r->outcome_head + i) % OPEN_ENTRIES_MAX]);
		b->len = w.n;
		if (!send_body(r, F_RESULT, b)) {
			buf_put(b);
			return;
		}
		r->outcome_head = (r->outcome_head + n) % OPEN_ENTRIES_MAX;
		r->outcome_count -= n;
	}
}

static void send_stop(struct receiver *r)
{
	uint8_t b[32 + REASON_TEXT_MAX_BYTES];
	struct wr w = wr_init(b, sizeof b);
	size_t n = strnlen(r->stop.why, REASON_TEXT_MAX_BYTES);
	frame_put_stop(&w, &(struct frame_stop){(uint16_t)haul_rc_status(r->stop.rc), (uint16_t)r->stop.sys,
						{(const uint8_t *)r->stop.why, n}});
	r->stop_sent = send_fields(r, F_STOP, b, w.n);
}

static void send_summary(struct receiver *r)
{
	uint8_t b[64];
	struct wr w = wr_init(b, sizeof b);
	frame_put_summary(&w, &(struct frame_summary){
				      .files = r->m->files,
				      .bytes = r->m->bytes,
				      .failed = r->m->failed,
				      .durable = r->cfg->sync != SYNC_NONE && r->finish_rc == 0,
			      });
	if (send_fields(r, F_SUMMARY, b, w.n)) {
		r->summary_sent = true;
		r->engine.settled = true;
	}
}

/* ---- outcomes ---- */

static void file_event(struct receiver *r, const struct dest_file *f, enum file_state state, const char *why)
{
	struct event ev = {.type = EV_FILE};
	ev.u.file.path = f->path;
	ev.u.file.path_len = f->path_len;
	ev.u.file.size = f->size == UINT64_MAX ? f->received : f->size;
	ev.u.file.state = state;
	ev.u.file.sys = f->sys;
	ev.u.file.why = why;
	event_emit(r->set.bus, &ev);
}

static void deactivate(struct receiver *r, struct dest_file *f)
{
	for (struct dest_file **at = &r->active; *at; at = &(*at)->active_link)
		if (*at == f) {
			*at = f->active_link;
			return;
		}
}

static void settle(struct receiver *r, struct dest_file *f)
{
	bool unchanged = f->code == REASON_UNCHANGED;
	enum haul_rc rc = f->code && !unchanged ? haul_rc_from_status(f->code) : HAUL_OK;
	deactivate(r, f);
	r->outcome[(r->outcome_head + r->outcome_count++) % OPEN_ENTRIES_MAX] =
		(struct frame_outcome){f->id, f->code, f->sys};
	if (unchanged) {
		r->m->skipped++;
		r->m->skipped_bytes += f->size;
		r->m->entries++;
		file_event(r, f, FILE_SKIPPED, NULL);
	} else if (rc == HAUL_OK) {
		r->m->files++;
		r->m->entries++;
		file_event(r, f, FILE_COMMITTED, NULL);
	} else if (rc == HAUL_CHANGED) {
		/* the sender says what became of it: it may come again */
	} else {
		r->m->failed++;
		r->worst = HAUL_PARTIAL;
		file_event(r, f, FILE_FAILED, haul_rc_text(rc));
		if (rc == HAUL_NO_SPACE)
			stop(r, rc, f->sys, "no space left at the destination; what is committed stays");
	}
	dest_forget(&r->dest, f);
}

/* ---- commit ---- */

static void submit_batch(struct receiver *r)
{
	if (!r->batch || (!r->batch->count && !r->batch->finish) || !pool_submit(r->commit, r->batch))
		return;
	r->batch = NULL;
}

static struct commit_job *open_batch(struct receiver *r)
{
	if (!r->batch && !(r->batch = calloc(1, sizeof *r->batch)))
		no_memory(r, "a batch");
	if (r->batch && !r->batch->count)
		r->batch_since = engine_now_ms();
	return r->batch;
}

static bool batch_is_full(const struct receiver *r)
{
	return r->batch && (r->batch->count == BATCH_FILES || r->batch->bytes >= BATCH_BYTES);
}

/* Room for n more files in the batch; false while the commit stage is behind. */
static bool batch_takes(struct receiver *r, size_t n)
{
	if (r->batch && (r->batch->count + n > BATCH_FILES || batch_is_full(r)))
		submit_batch(r);
	return !r->batch || r->batch->count + n <= BATCH_FILES;
}

static void add_to_batch(struct receiver *r, struct dest_file *f)
{
	struct commit_job *b = open_batch(r);
	if (!b)
		return;
	b->files[b->count++] = f;
	b->bytes += f->received;
	if (batch_is_full(r))
		submit_batch(r);
}

static void commit_run(void *ctx, void *worker, void *arg)
{
	struct receiver *r = ctx;
	struct commit_job *job = arg;
	(void)worker;
	struct checkpoint *c = &job->checkpoint;
	if (c->file) {
		c->rc = partial_checkpoint(r->dest.root, c->file->partial, c->records, c->count,
					   r->cfg->sync != SYNC_NONE);
		return;
	}
	dest_commit(&r->dest, job->files, job->count);
	if (job->finish)
		job->finish_rc = dest_finish(&r->dest);
}

static const struct pool_ops commit_ops = {.run = commit_run};

/* ---- checkpoints ---- */

static void free_commit_job(struct commit_job *job)
{
	free(job->checkpoint.records);
	free(job->checkpoint.chunks);
	free(job);
}

/* Every chunk that is written and not recorded. */
static bool collect_chunks(struct checkpoint *c)
{
	const struct chunk_map *m = &c->file->map;
	c->records = calloc(m->written, sizeof *c->records);
	c->chunks = calloc(m->written, sizeof *c->chunks);
	if (!c->records || !c->chunks)
		return false;
	for (uint64_t i = 0; i < m->count && c->count < m->written; i++) {
		if (m->state[i] != CHUNK_WRITTEN)
			continue;
		struct journal_record *rec = &c->records[c->count];
		*rec = (struct journal_record){JOURNAL_CHUNK, i * m->chunk, chunk_map_length(m, i), {0}};
		memcpy(rec->digest, m->digest[i], DIGEST_BYTES);
		c->chunks[c->count++] = i;
	}
	return true;
}

/* A stream: how far it is, on the link and in the file. */
static bool collect_stream(struct receiver *r, struct checkpoint *c)
{
	c->records = calloc(1, sizeof *c->records);
	if (!c->records)
		return false;
	c->count = 1;
	c->link_offset = r->engine.link.written;
	c->written = c->file->written;
	*c->records = (struct journal_record){JOURNAL_LINK, c->link_offset, c->written, {0}};
	struct wr w = wr_init(c->records->digest, DIGEST_BYTES);
	wr_uint(&w, c->file->sum_done.low, 8);
	wr_uint(&w, c->file->sum_done.high, 8);
	return true;
}

/* Bytes a checkpoint would record. A file that has ended is about to be committed: it needs none. */
static uint64_t unrecorded(const struct dest_file *f)
{
	if (f->ended || f->code)
		return 0;
	return f->stream ? f->written - f->recorded : f->map.written * f->map.chunk;
}

static void start_checkpoint(struct receiver *r, struct dest_file *f)
{
	struct commit_job *job = calloc(1, sizeof *job);
	if (!job)
		return; /* not now: later */
	job->checkpoint.file = f;
	bool ok = f->stream ? collect_stream(r, &job->checkpoint) : collect_chunks(&job->checkpoint);
	if (ok && pool_submit(r->commit, job))
		f->checkpointing = true;
	else
		free_commit_job(job);
}

static void checkpoint_done(struct receiver *r, struct checkpoint *c)
{
	struct dest_file *f = c->file;
	f->checkpointing = false;
	f->checkpoint_ms = engine_now_ms();
	if (c->rc < 0) {
		/* a failed sync is never believed later: what it covered counts as lost, and so does the file */
		dest_fail(f, haul_rc_from_errno(-c->rc), -c->rc);
		stop(r, haul_rc_from_errno(-c->rc), -c->rc, "the destination could not be synced; what is recorded stays");
		return;
	}
	for (size_t k = 0; c->chunks && k < c->count; k++) {
		f->map.state[c->chunks[k]] = CHUNK_RECORDED;
		f->map.written--;
	}
	if (f->stream) {
		f->recorded = c->written;
		link_durable(&r->engine.link, c->link_offset);
	}
}

static void pump_checkpoints(struct receiver *r)
{
	uint64_t now = engine_now_ms();
	bool stream_open = false;
	for (struct dest_file *f = r->active; f; f = f->active_link) {
		uint64_t n = unrecorded(f);
		stream_open |= f->stream && (n || f->checkpointing);
		/* a stream can be taken up from its very beginning on */
		bool first = f->stream && !f->partial->seq && !f->ended;
		n += first;
		bool due = first || n >= CHECKPOINT_BYTES || now - f->checkpoint_ms >= CHECKPOINT_MS || r->draining;
		if (n && due && !f->checkpointing)
			start_checkpoint(r, f);
	}
	/* nothing of a stream is waiting for the disk: what was said otherwise needs no keeping */
	if (!stream_open && !r->sink_stage)
		link_durable(&r->engine.link, r->engine.link.written);
}

static void pump_commits(struct receiver *r)
{
	struct commit_job *job;
	while ((job = pool_take(r->commit))) {
		if (job->checkpoint.file)
			checkpoint_done(r, &job->checkpoint);
		for (size_t i = 0; i < job->count; i++)
			settle(r, job->files[i]);
		if (job->finish) {
			r->finish_sent = true;
			r->finish_rc = job->finish_rc;
			if (job->finish_rc < 0)
				stop(r, haul_rc_from_errno(-job->finish_rc), -job->finish_rc,
				     "the last sync of the destination failed");
		}
		free_commit_job(job);
	}
	bool idle = !r->inbox_count && !r->held && pool_count(r->workers) == 0;
	bool old = r->batch && r->batch->count && engine_now_ms() - r->batch_since >= BATCH_MS;
	if (batch_is_full(r) || old || (idle && (r->flush_asked || r->draining)))
		submit_batch(r);
	if (r->finish_asked && idle && !r->finish_sent && pool_count(r->commit) == 0 && open_batch(r)) {
		r->batch->finish = true;
		r->finish_asked = false;
		submit_batch(r);
	}
}

/* ---- sink ---- */

/* What a finished job means for a sink; false when the sink has no room for it yet. */
static bool to_sink(struct receiver *r, struct dest_job *job)
{
	bool end = job->kind == DEST_END || job->kind == DEST_PACK;
	struct dest_file *f = job->kind == DEST_PACK ? (job->file_count ? job->files[0] : NULL) : job->file;
	if (!f || (f->code && !end))
		return true;
	if (pool_full(r->sink_stage))
		return false;
	struct sink_job *s = calloc(1, sizeof *s);
	if (!s) {
		no_memory(r, "a piece of the stream");
		return true;
	}
	s->bytes = job->out;
	job->out = NULL;
	s->zeros = job->kind == DEST_HOLE ? job->hole.length : 0;
	s->cost = job->cost;
	s->end = end && !f->code;
	s->last = end;
	s->file = f->id;
	pool_submit(r->sink_stage, s);
	job->cost = 0; /* consumed when it is handed over */
	return true;
}

static void pump_sink(struct receiver *r)
{
	struct sink_job *s;
	while (r->sink_stage && (s = pool_take(r->sink_stage))) {
		struct dest_file *f = dest_find(&r->dest, s->file);
		if (s->err.rc != HAUL_OK) {
			if (s->err.rc != HAUL_SIGNAL)
				engine_abort(&r->engine, &s->err);
		} else {
			link_consume(&r->engine.link, s->cost, engine_now_ms());
			link_durable(&r->engine.link, r->engine.link.written);
			r->m->acked += s->bytes ? s->bytes->len : s->zeros;
			if (s->last)
				settle(r, f);
		}
		sink_job_free(s);
	}
}

/* ---- finished jobs, in the order the messages came ---- */

static void planned(struct receiver *r, struct dest_job *job)
{
	for (unsigned i = 0; i < job->count; i++) {
		struct dest_planned *p = &job->planned[i];
		bool content = p->type == ENTRY_FILE || p->type == ENTRY_STREAM;
		r->m->entries += (p->action == PLAN_SKIP || p->action == PLAN_DONE) && p->type != ENTRY_DIR_END;
		if (p->action == PLAN_SKIP && content) {
			r->m->skipped++;
			r->m->skipped_bytes += p->size;
		} else if (p->action == PLAN_FAILED) {
			r->m->failed++;
			r->worst = HAUL_PARTIAL;
		}
		if ((p->action == PLAN_SEND || p->action == PLAN_COMPARE) && p->size != UINT64_MAX)
			r->m->total += p->size;
		if (!p->file)
			continue;
		if (p->action == PLAN_COMPARE) {
			*r->have_tail = p->file;
			r->have_tail = &p->file->have_link;
		}
		if (p->file->partial) {
			p->file->active_link = r->active;
			r->active = p->file;
			p->file->checkpoint_ms = engine_now_ms();
		}
	}
}

/* The whole of a large file or stream has come: is it what the sender read? */
static void ended(struct receiver *r, struct dest_file *f, const struct frame_end *end)
{
	uint8_t digest[DIGEST_BYTES];
	digest_sum_end(&f->sum, end->size, digest);
	if (f->needs && end->status == 0)
		return; /* what was asked for comes, and another END behind it */
	f->needs = 0;
	f->ended = true;
	pthread_mutex_lock(&r->dest.mu);
	f->state = DEST_WRITTEN; /* nothing more may come for it */
	pthread_mutex_unlock(&r->dest.mu);
	if (end->status != 0)
		dest_fail(f, HAUL_CHANGED, 0);
	else if (end->size != f->received || (f->size != UINT64_MAX && f->size != end->size) ||
		 memcmp(digest, end->digest, sizeof digest) != 0)
		dest_fail(f, HAUL_DIGEST, 0);
	else if (f->lazy && !f->fresh)
		f->code = REASON_UNCHANGED;
	f->size = end->size;
	if (!r->dest.root)
		return; /* the sink settles it */
	add_to_batch(r, f); /* behind any checkpoint of it that is under way */
	if (r->cfg->sync == SYNC_NONE)
		submit_batch(r);
}

static void packed(struct receiver *r, struct dest_job *job)
{
	for (size_t i = 0; i < job->file_count; i++) {
		struct dest_file *f = job->files[i];
		f->received = f->size;
		if (!f->code && f->temp[0])
			add_to_batch(r, f);
		else
			settle(r, f);
	}
}

/* ---- chunks that are there already ---- */

static void ask_for(struct receiver *r, struct dest_file *f, uint64_t chunk)
{
	f->map.state[chunk] = CHUNK_NEEDED;
	f->needs++;
	if (r->need_count == NEEDS_MAX) {
		dest_fail(f, HAUL_DIGEST, 0);
		return;
	}
	size_t at = (r->need_head + r->need_count++) % NEEDS_MAX;
	r->need[at].file = f->id;
	r->need[at].chunk = chunk;
}

static void pump_needs(struct receiver *r)
{
	while (r->need_count) {
		uint8_t b[32];
		struct wr w = wr_init(b, sizeof b);
		frame_put_need(&w, &(struct frame_need){r->need[r->need_head].file, r->need[r->need_head].chunk});
		if (!send_fields(r, F_NEED, b, w.n))
			return;
		r->need_head = (r->need_head + 1) % NEEDS_MAX;
		r->need_count--;
	}
}

static void kept(struct receiver *r, struct dest_job *job)
{
	struct dest_file *f = job->file;
	for (uint32_t k = 0; k < job->keep.count; k++) {
		uint64_t i = job->keep.first + k;
		if (job->bad >> k & 1) {
			ask_for(r, f, i);
			continue;
		}
		uint32_t n = chunk_map_length(&f->map, i);
		digest_sum_add(&f->sum, i * f->map.chunk, f->map.digest[i]);
		f->received += n;
		r->m->acked += n;
		r->m->kept_bytes += n;
		bool recorded = f->base == BASE_PARTIAL;
		f->map.state[i] = recorded ? CHUNK_RECORDED : f->lazy ? CHUNK_KEPT : CHUNK_WRITTEN;
		f->map.written += !recorded && !f->lazy && f->partial;
	}
}

static void chunk_written(struct dest_job *job)
{
	struct dest_file *f = job->file;
	if (f->stream) {
		f->written += job->data.raw;
		digest_sum_add(&f->sum_done, job->data.offset, job->data.digest);
	}
	if (!f->map.state || f->code)
		return;
	uint64_t i = job->data.offset / f->map.chunk;
	f->map.state[i] = CHUNK_WRITTEN;
	f->map.written += f->partial != NULL;
	memcpy(f->map.digest[i], job->data.digest, DIGEST_BYTES);
}

static struct dest_job *make_have(struct receiver *r, struct dest_file *f)
{
	struct dest_job *job = calloc(1, sizeof *job);
	if (!job) {
		no_memory(r, "a list of chunks");
		return NULL;
	}
	uint64_t most = f->base == BASE_OLD ? HAVE_READ_CHUNKS : HAVE_DIGESTS_MAX, left = f->map.count - f->have_next;
	job->kind = DEST_HAVE;
	job->file = f;
	job->have_first = f->have_next;
	job->have_count = left < most ? left : most;
	return job;
}

static void pump_have(struct receiver *r)
{
	while (r->have_head && !pool_full(r->workers)) {
		struct dest_file *f = r->have_head;
		struct dest_job *job = make_have(r, f);
		if (!job || !pool_submit(r->workers, job)) {
			free(job);
			return;
		}
		f->have_next += job->have_count;
		if (f->have_next < f->map.count)
			continue;
		r->have_head = f->have_link;
		if (!r->have_head)
			r->have_tail = &r->have_head;
	}
}

/* False when it must wait. */
static bool finish_job(struct receiver *r, struct dest_job *job)
{
	if (job->violation) {
		violation(r, job->violation, job->cost);
		return true;
	}
	if (job->kind == DEST_PLAN) {
		if (!send_body(r, F_WANT, job->out))
			return false;
		job->out = NULL;
		planned(r, job);
	}
	if (job->kind == DEST_HAVE) {
		if (!send_body(r, F_HAVE, job->out))
			return false;
		job->out = NULL;
		return true;
	}
	if (r->dest.root && !batch_takes(r, job->kind == DEST_PACK ? job->file_count : 1))
		return false;
	if (job->kind == DEST_END && !job->content) {
		ended(r, job->file, &job->end);
		job->content = 1; /* once, even if the sink makes it wait */
		r->m->total_final = true;
		if (r->dest.root)
			return true;
	}
	if (r->sink_stage && job->kind != DEST_PLAN && job->kind != DEST_DROP && !to_sink(r, job))
		return false;
	if (job->kind == DEST_PACK && r->dest.root)
		packed(r, job);
	if (job->kind == DEST_KEEP)
		kept(r, job);
	if (job->kind == DEST_DATA)
		chunk_written(job);
	if (job->kind == DEST_PACK || job->kind == DEST_DATA) {
		r->m->bytes += job->content;
		if (!r->sink_stage)
			r->m->acked += job->content;
	}
	return true;
}

static void pump_jobs(struct receiver *r)
{
	for (;;) {
		struct dest_job *job = r->held ? r->held : pool_take(r->workers);
		r->held = NULL;
		if (!job)
			break;
		if (!finish_job(r, job)) {
			r->held = job;
			break;
		}
		if (job->cost && r->engine.phase <= ENGINE_DRAINING)
			link_consume(&r->engine.link, job->cost, engine_now_ms());
		dest_job_free(job);
	}
	pump_have(r);
	while (r->inbox_count && pool_submit(r->workers, r->inbox[r->inbox_head])) {
		r->inbox_head = (r->inbox_head + 1) % LINK_MESSAGES_MAX;
		r->inbox_count--;
	}
}

/* ---- messages in ---- */

static enum haul_rc on_begin(struct receiver *r, struct span body)
{
	struct frame_begin b;
	if (!frame_get_begin(body, &b) || b.chunk < CHUNK_MIN_BYTES || b.chunk > CHUNK_MAX_BYTES || b.compare > 2)
		return violation(r, "malformed BEGIN", body.n);
	r->dest.seed = b.seed;
	r->dest.chunk = b.chunk;
	r->dest.compare = b.compare;
	r->dest.flags = b.flags;
	return HAUL_OK;
}

static enum haul_rc on_offer(struct receiver *r, struct dest_job *job, struct span body)
{
	struct frame_offer offer;
	if (!frame_get_offer(body, &offer) || offer.first != r->next_offer || !offer.count ||
	    offer.count > OFFER_ENTRIES_MAX)
		return violation(r, "malformed OFFER", offer.first);
	job->kind = r->stopped ? DEST_DROP : DEST_PLAN;
	job->first = offer.first;
	job->count = offer.count;
	r->next_offer += offer.count;
	pthread_mutex_lock(&r->dest.mu);
	r->dest.next = r->next_offer;
	pthread_mutex_unlock(&r->dest.mu);
	return HAUL_OK;
}

/* The file a chunk is for, if it may take one. */
static struct dest_file *receiving(struct receiver *r, uint64_t id)
{
	struct dest_file *f = dest_find(&r->dest, id);
	if (!f)
		return NULL;
	pthread_mutex_lock(&r->dest.mu);
	bool ok = f->state == DEST_WANTED || (f->state == DEST_RECEIVING && f->chunked);
	f->chunked = ok;
	f->state = DEST_RECEIVING;
	pthread_mutex_unlock(&r->dest.mu);
	return ok ? f : NULL;
}

static bool fits(const struct dest_file *f, uint64_t offset, uint64_t n)
{
	uint64_t limit = f->size == UINT64_MAX ? INT64_MAX : f->size;
	return offset <= limit && n <= limit - offset;
}

/* Streams and sinks take their bytes in order only. */
static bool in_order(struct receiver *r, struct dest_file *f, uint64_t offset, uint64_t n)
{
	bool must = r->sink_stage || f->stream;
	if (must && offset != f->received)
		return false;
	f->received += n;
	return true;
}

/* A file with a map takes each chunk once, whole, unless it asked for it again. */
static bool chunk_may_come(struct dest_file *f, uint64_t offset, uint32_t n)
{
	if (!f->map.state)
		return true;
	uint64_t i = offset / f->map.chunk;
	if (offset % f->map.chunk || i >= f->map.count || n != chunk_map_length(&f->map, i))
		return false;
	uint8_t state = f->map.state[i];
	f->needs -= state == CHUNK_NEEDED;
	f->map.state[i] = CHUNK_MOVING;
	return state == CHUNK_ABSENT || state == CHUNK_HAVE || state == CHUNK_NEEDED;
}

static enum haul_rc on_data(struct receiver *r, struct dest_job *job, struct span body)
{
	struct frame_data *d = &job->data;
	if (!frame_get_data(body, d) || d->raw != job->cost)
		return violation(r, "malformed DATA", body.n);
	struct dest_file *f = receiving(r, d->file);
	if (!f || !fits(f, d->offset, d->raw) || !in_order(r, f, d->offset, d->raw))
		return violation(r, "DATA for a file that is not wanted, or beyond its size", d->file);
	if (!chunk_may_come(f, d->offset, d->raw))
		return violation(r, "DATA for a chunk that is there or is none", d->offset);
	f->fresh = true;
	digest_sum_add(&f->sum, d->offset, d->digest);
	job->kind = DEST_DATA;
	job->file = f;
	return HAUL_OK;
}

static enum haul_rc on_hole(struct receiver *r, struct dest_job *job, struct span body)
{
	struct frame_hole *h = &job->hole;
	if (!frame_get_hole(body, h))
		return violation(r, "malformed HOLE", body.n);
	struct dest_file *f = receiving(r, h->file);
	if (!f || !h->length || !fits(f, h->offset, h->length) || !in_order(r, f, h->offset, h->length))
		return violation(r, "HOLE in a file that is not wanted, or beyond its size", h->file);
	for (uint64_t at = h->offset; f->map.state && at < h->offset + h->length; at += f->map.chunk)
		if (!chunk_may_come(f, at, chunk_map_length(&f->map, at / f->map.chunk)))
			return violation(r, "HOLE over a chunk that is there or is none", at);
	f->fresh = true;
	job->kind = DEST_HOLE;
	job->file = f;
	return HAUL_OK;
}

static enum haul_rc on_keep(struct receiver *r, struct dest_job *job, struct span body)
{
	struct frame_keep *k = &job->keep;
	if (!frame_get_keep(body, k) || !k->count || k->count > KEEP_CHUNKS_MAX)
		return violation(r, "malformed KEEP", body.n);
	struct dest_file *f = receiving(r, k->file);
	if (!f || f->base == BASE_NONE || k->first >= f->map.count || k->count > f->map.count - k->first)
		return violation(r, "KEEP for chunks that were not offered", k->first);
	for (uint64_t i = k->first; i < k->first + k->count; i++) {
		if (f->map.state[i] != CHUNK_HAVE)
			return violation(r, "KEEP for a chunk that was not offered", i);
		f->map.state[i] = CHUNK_MOVING;
	}
	job->kind = DEST_KEEP;
	job->file = f;
	return HAUL_OK;
}

static enum haul_rc on_end(struct receiver *r, struct dest_job *job, struct span body)
{
	if (!frame_get_end(body, &job->end))
		return violation(r, "malformed END", body.n);
	struct dest_file *f = receiving(r, job->end.file);
	if (!f)
		return violation(r, "END of a file that is not open", job->end.file);
	job->kind = DEST_END;
	job->file = f;
	return HAUL_OK;
}

/* Raw bytes count against the quota before they are unpacked. */
static void check_quota(struct receiver *r, const struct link_event *ev)
{
	if (ev->frame == F_DATA || ev->frame == F_PACK)
		r->quota_used += ev->cost;
	if (r->cfg->quota != SIZE_UNSET && r->quota_used > r->cfg->quota)
		stop(r, HAUL_POLICY, 0, "the quota of this receiver is used up");
}

/* After a stop, what still comes is acked and dropped, so that the sender can say it is done. */
static bool dropped(const struct receiver *r, uint8_t frame)
{
	return r->stopped && frame != F_BEGIN && frame != F_FINISH;
}

static enum haul_rc sort_message(struct receiver *r, struct dest_job *job, const struct link_event *ev)
{
	struct span body = {buf_bytes(ev->body), ev->body->len};
	job->kind = DEST_DROP;
	check_quota(r, ev);
	if (dropped(r, ev->frame))
		return HAUL_OK;
	switch (ev->frame) {
	case F_BEGIN:
		return on_begin(r, body);
	case F_OFFER:
		r->flush_asked = false;
		return on_offer(r, job, body);
	case F_PACK:
		r->flush_asked = false;
		job->kind = DEST_PACK;
		return HAUL_OK;
	case F_DATA:
		r->flush_asked = false;
		return on_data(r, job, body);
	case F_HOLE:
		return on_hole(r, job, body);
	case F_KEEP:
		r->flush_asked = false;
		return on_keep(r, job, body);
	case F_END:
		return on_end(r, job, body);
	case F_FLUSH:
		r->flush_asked = true;
		return HAUL_OK;
	default: /* F_FINISH: the session table lets nothing else through */
		r->finish_asked = true;
		return HAUL_OK;
	}
}

static enum haul_rc receiver_message(void *self, struct link_event *ev)
{
	struct receiver *r = self;
	struct dest_job *job = calloc(1, sizeof *job);
	if (!job) {
		buf_put(ev->body);
		return no_memory(r, "a message");
	}
	job->cost = ev->cost;
	job->body = ev->body;
	enum haul_rc rc = sort_message(r, job, ev);
	if (rc != HAUL_OK) {
		dest_job_free(job);
		return rc;
	}
	r->inbox[(r->inbox_head + r->inbox_count++) % LINK_MESSAGES_MAX] = job;
	return HAUL_OK;
}

/* ---- pump ---- */

static void note_blocked(struct receiver *r)
{
	const struct link *l = &r->engine.link;
	bool writing = r->inbox_count || r->held || pool_count(r->workers) ||
		       (r->sink_stage && pool_count(r->sink_stage)) || pool_count(r->commit);
	enum blocked_on on = BLOCKED_LINK;
	if (writing)
		on = BLOCKED_DISK;
	else if (l->blocked_peer == BLOCKED_SOURCE)
		on = BLOCKED_SOURCE;
	r->m->blocked = on;
	link_blocked(&r->engine.link, on == BLOCKED_DISK ? BLOCKED_DISK : BLOCKED_NONE);
	link_owed(&r->engine.link, !r->summary_sent, engine_now_ms());
}

static enum haul_rc receiver_pump(void *self)
{
	struct receiver *r = self;
	pump_sink(r);
	pump_jobs(r);
	pump_sink(r);
	pump_commits(r);
	pump_checkpoints(r);
	pump_needs(r);
	pump_outcomes(r);
	if (r->stopped && !r->stop_sent && r->engine.session.state != SESSION_INIT)
		send_stop(r);
	if (r->finish_sent && !r->outcome_count && !r->summary_sent && (!r->stopped || r->stop_sent))
		send_summary(r);
	note_blocked(r);
	return HAUL_OK;
}

static size_t receiver_fds(void *self, int fds[static ENGINE_ROLE_FDS_MAX])
{
	struct receiver *r = self;
	size_t n = 0;
	if (!r->held)
		fds[n++] = pool_fd(r->workers);
	fds[n++] = pool_fd(r->commit);
	if (r->sink_stage)
		fds[n++] = pool_fd(r->sink_stage);
	return n;
}

static uint64_t receiver_deadline(void *self)
{
	struct receiver *r = self;
	uint64_t at = r->batch && r->batch->count ? r->batch_since + BATCH_MS : UINT64_MAX;
	for (struct dest_file *f = r->active; f; f = f->active_link)
		if (unrecorded(f) && !f->checkpointing && f->checkpoint_ms + CHECKPOINT_MS < at)
			at = f->checkpoint_ms + CHECKPOINT_MS;
	return at;
}

static void receiver_drain(void *self)
{
	struct receiver *r = self;
	r->draining = true;
}

static bool receiver_drained(void *self)
{
	struct receiver *r = self;
	for (struct dest_file *f = r->active; f; f = f->active_link)
		if (unrecorded(f))
			return false;
	return !r->inbox_count && !r->held && !pool_count(r->workers) && !pool_count(r->commit) &&
	       (!r->batch || !r->batch->count) && !r->outcome_count;
}

static void receiver_prove(void *self)
{
	struct receiver *r = self;
	for (struct dest_file *f = r->active; f; f = f->active_link)
		holder_prove(r->dest.root, f->partial->journal);
}

static const struct engine_ops receiver_ops = {
	.role = ROLE_RECEIVER,
	.message = receiver_message,
	.pump = receiver_pump,
	.fds = receiver_fds,
	.deadline = receiver_deadline,
	.drain = receiver_drain,
	.drained = receiver_drained,
	.prove = receiver_prove,
};

/* ---- set-up and end ---- */

/* -o FILE: a tree of one name in the directory that holds it. */
static enum haul_rc open_output(const char *file, struct root **root, const char **only, struct haul_err *err)
{
	const char *slash = strrchr(file, '/');
	char dir[PATH_MAX_BYTES + 1];
	size_t n = slash ? (size_t)(slash - file) : 0;
	if (n > PATH_MAX_BYTES)
		return haul_fail(err, HAUL_USAGE, ENAMETOOLONG, file, "cannot be the output");
	snprintf(dir, sizeof dir, "%.*s", (int)n, file);
	*only = slash ? slash + 1 : file;
	const char *why = root_name_refused(*only, strlen(*only));
	if (why)
		return haul_fail(err, HAUL_USAGE, 0, file, "cannot be the output: %s", why);
	return root_open(slash ? (n ? dir : "/") : ".", NULL, root, err);
}

/* The destination, unless it is a sink: then *root stays NULL. */
static enum haul_rc open_root(const struct haul_config *cfg, const char *dir, const char *subdir, struct root **root,
			      const char **only, struct haul_err *err)
{
	if (cfg->to_cmd || (cfg->output && sink_wanted(cfg->output)))
		return HAUL_OK;
	return cfg->output ? open_output(cfg->output, root, only, err) : root_open(dir, subdir, root, err);
}

bool receiver_knows(const struct haul_config *cfg, const char *dir, const char *subdir, const uint8_t id[static 16])
{
	struct root *root = NULL;
	const char *only;
	struct haul_err err = {0};
	bool known = open_root(cfg, dir, subdir, &root, &only, &err) == HAUL_OK && root && partial_has_stream(root, id);
	root_close(root);
	return known;
}

static enum haul_rc open_destination(struct receiver *r, struct haul_err *err)
{
	const struct haul_config *cfg = r->cfg;
	r->dest.single = cfg->output || cfg->to_cmd;
	if (open_root(cfg, r->set.dir, r->set.subdir, &r->dest.root, &r->dest.only, err) != HAUL_OK)
		return err->rc;
	if (r->dest.root)
		return HAUL_OK;
	if (sink_open(&r->sink, cfg->to_cmd, cfg->output, err) != HAUL_OK)
		return err->rc;
	r->sink_stage = pool_new(&sink_ops, &r->sink, 1, SINK_DEPTH, false);
	return r->sink_stage ? HAUL_OK : haul_fail(err, HAUL_NO_MEMORY, 0, NULL, "cannot start the writer");
}

/* Everything an earlier process of this session knew at its last checkpoint. */
static enum haul_rc take_up(struct receiver *r, struct haul_err *err)
{
	struct dest_file *f = dest_take_up(&r->dest);
	if (!f)
		return haul_fail(err, HAUL_NO_RESUME, 0, NULL, "the stream's journal cannot be taken up");
	r->begun = true;
	r->next_offer = f->id + 1;
	r->dest.next = r->next_offer;
	r->active = f;
	r->m->bytes = r->m->acked = f->received;
	f->checkpoint_ms = engine_now_ms();
	r->engine.session.state = SESSION_OPEN;
	link_restore(&r->engine.link, f->partial->link_offset, r->set.first->hs.attach.received);
	return HAUL_OK;
}

static enum haul_rc set_up(struct receiver *r, struct haul_err *err)
{
	const struct haul_config *cfg = r->cfg;
	struct engine_setup es = {
		.cfg = cfg,
		.bus = r->set.bus,
		.ops = &receiver_ops,
		.self = r,
		.session_id = r->set.session_id,
		.dial = r->set.dial,
		.subdir = NULL,
		.handoff_fd = r->set.handoff_fd,
		.signal_fd = r->set.signal_fd,
	};
	if (engine_init(&r->engine, &es) != HAUL_OK) {
		*err = r->engine.err;
		return err->rc;
	}
	if (dest_init(&r->dest, cfg, r->engine.blocks, r->set.session_id, err) != HAUL_OK)
		return err->rc;
	r->workers = pool_new(&dest_ops, &r->dest, cfg->jobs, 2 * cfg->jobs + 2, cfg->jobs == 1);
	r->commit = pool_new(&commit_ops, r, 1, COMMIT_DEPTH, false);
	if (!r->workers || !r->commit)
		return haul_fail(err, HAUL_NO_MEMORY, 0, NULL, "cannot start workers");
	if (open_destination(r, err) != HAUL_OK)
		return err->rc;
	return r->set.resume ? take_up(r, err) : HAUL_OK;
}

static void drop_job(void *ctx, void *job)
{
	(void)ctx;
	dest_job_free(job);
}

static void drop_commit(void *ctx, void *job)
{
	(void)ctx;
	free_commit_job(job);
}

static void drop_sink(void *ctx, void *job)
{
	(void)ctx;
	sink_job_free(job);
}

static void tear_down(struct receiver *r)
{
	sink_cancel(&r->sink);
	pool_free(r->workers, drop_job);
	pool_free(r->commit, drop_commit);
	pool_free(r->sink_stage, drop_sink);
	sink_close(&r->sink);
	dest_job_free(r->held);
	for (size_t i = 0; i < r->inbox_count; i++)
		dest_job_free(r->inbox[(r->inbox_head + i) % LINK_MESSAGES_MAX]);
	free(r->batch);
	dest_free(&r->dest);
	engine_free(&r->engine);
}

static void judge(struct receiver *r, struct session_outcome *out)
{
	if (out->err.rc != HAUL_OK)
		return;
	if (r->stopped)
		out->err = r->stop;
	else if (r->worst != HAUL_OK)
		haul_fail(&out->err, r->worst, 0, r->set.dir, "%s: %llu failed, %llu committed",
			  haul_rc_text(r->worst), (unsigned long long)r->m->failed, (unsigned long long)r->m->files);
}

enum haul_rc receiver_run(const struct receiver_setup *setup, struct session_outcome *out)
{
	*out = (struct session_outcome){0};
	struct receiver *r = calloc(1, sizeof *r);
	if (!r)
		return haul_fail(&out->err, HAUL_NO_MEMORY, 0, NULL, "cannot set up a session");
	r->set = *setup;
	r->cfg = setup->cfg;
	r->m = &r->engine.metrics;
	r->sink = (struct sink){.fd = -1, .cancel = -1};
	r->dest.dirs_fd = -1;
	r->have_tail = &r->have_head;
	struct haul_err err = {0};
	if (set_up(r, &err) != HAUL_OK) {
		/* the sender is told: it waits for an answer */
		if (r->engine.set.ops)
			engine_abort(&r->engine, &err);
		else
			out->err = err;
	}
	if (out->err.rc == HAUL_OK) {
		if (setup->first)
			engine_adopt(&r->engine, setup->first);
		engine_run(&r->engine);
		out->err = r->engine.err;
		out->also = r->engine.also;
		out->err_from_peer = r->engine.err_from_peer;
		out->session_gone = r->engine.session_gone;
	}
	judge(r, out);
	out->metrics = r->engine.metrics;
	tear_down(r);
	free(r);
	return out->err.rc;
}
