#include "lib/receiver_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/holder.h"
#include "lib/plan.h"
#include "lib/walk.h"
#include "wire/err.h"

#define BATCH_BYTES (64u << 20)

/* ---- failing ---- */

enum haul_rc receiver_violation(struct receiver *r, const char *what, uint64_t at)
{
	struct haul_err err = {.at = at};
	haul_fail(&err, HAUL_PROTOCOL, 0, NULL, "%s (%llu)", what, (unsigned long long)at);
	return engine_abort(&r->engine, &err);
}

enum haul_rc receiver_no_memory(struct receiver *r, const char *what)
{
	struct haul_err err = {0};
	haul_fail(&err, HAUL_NO_MEMORY, 0, NULL, "no memory for %s", what);
	return engine_abort(&r->engine, &err);
}

void receiver_stop(struct receiver *r, enum haul_rc rc, int sys, const char *why)
{
	if (r->stopped)
		return;
	haul_fail(&r->stop, rc, sys, r->set.dir, "%s", why);
	r->stopped = true;
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

void receiver_settle(struct receiver *r, struct dest_file *f)
{
	bool unchanged = f->code == REASON_UNCHANGED;
	enum haul_rc rc = f->code && !unchanged ? haul_rc_from_status(f->code) : HAUL_OK;
	deactivate(r, f);
	if (r->outcome_count == OPEN_ENTRIES_MAX) {
		receiver_violation(r, "the sender takes no results", r->outcome_count);
		return;
	}
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
		dest_note_bad(&r->dest, f->path, f->code, f->sys);
		file_event(r, f, FILE_FAILED, haul_rc_text(rc));
		if (rc == HAUL_NO_SPACE)
			receiver_stop(r, rc, f->sys,
				      "no space left at the destination; what is committed stays");
	}
	dest_forget(&r->dest, f);
}

/* ---- commit ---- */

void receiver_submit_batch(struct receiver *r)
{
	if (!r->batch || (!r->batch->count && !r->batch->finish) || !pool_submit(r->commit, r->batch))
		return;
	r->batch = NULL;
}

static struct commit_job *open_batch(struct receiver *r)
{
	if (!r->batch && !(r->batch = calloc(1, sizeof *r->batch)))
		receiver_no_memory(r, "a batch");
	if (r->batch && !r->batch->count)
		r->batch_since = engine_now_ms();
	return r->batch;
}

static bool batch_is_full(const struct receiver *r)
{
	return r->batch && (r->batch->count == BATCH_FILES || r->batch->bytes >= BATCH_BYTES);
}

bool receiver_batch_takes(struct receiver *r, size_t n)
{
	if (r->batch && (r->batch->count + n > BATCH_FILES || batch_is_full(r)))
		receiver_submit_batch(r);
	return !r->batch || r->batch->count + n <= BATCH_FILES;
}

void receiver_add_to_batch(struct receiver *r, struct dest_file *f)
{
	struct commit_job *b = open_batch(r);
	if (!b)
		return;
	b->files[b->count++] = f;
	b->bytes += f->received;
	if (batch_is_full(r))
		receiver_submit_batch(r);
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

const struct pool_ops receiver_commit_ops = {.run = commit_run};

/* ---- checkpoints ---- */

void receiver_free_commit_job(struct commit_job *job)
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

/* A chunk that was written is good, whatever became of others. */
uint64_t receiver_unrecorded(const struct dest_file *f)
{
	if (f->ended || f->unsafe || (f->stream && f->code))
		return 0;
	return f->stream ? f->written - f->recorded : f->map.written * f->map.chunk;
}

bool receiver_unrecorded_left(const struct receiver *r)
{
	for (const struct dest_file *f = r->active; f; f = f->active_link)
		if (f->checkpointing || receiver_unrecorded(f))
			return true;
	return false;
}

static void start_checkpoint(struct receiver *r, struct dest_file *f)
{
	struct commit_job *job = pool_full(r->commit) ? NULL : calloc(1, sizeof *job);
	if (!job)
		return; /* not now: later */
	job->checkpoint.file = f;
	bool ok = f->stream ? collect_stream(r, &job->checkpoint) : collect_chunks(&job->checkpoint);
	if (ok && pool_submit(r->commit, job))
		f->checkpointing = true;
	else
		receiver_free_commit_job(job);
	if (!ok && r->stopped) /* there is no later */
		f->unsafe = true;
}

bool receiver_record_rest(struct receiver *r, struct dest_file *f)
{
	if (!f->checkpointing && receiver_unrecorded(f))
		start_checkpoint(r, f);
	return !f->checkpointing && !receiver_unrecorded(f);
}

void receiver_record_last(struct receiver *r)
{
	if (r->draining) /* done already, or the time for it is over */
		return;
	for (struct dest_file *f = r->active; f; f = f->active_link) {
		struct checkpoint c = {.file = f};
		bool wanted = f->temp[0] && f->map.written && !f->unsafe && !f->stream;
		if (wanted && collect_chunks(&c))
			partial_checkpoint(r->dest.root, f->partial, c.records, c.count,
					   r->cfg->sync != SYNC_NONE);
		free(c.records);
		free(c.chunks);
	}
}

static void checkpoint_done(struct receiver *r, struct checkpoint *c)
{
	struct dest_file *f = c->file;
	f->checkpointing = false;
	f->in_journal |= c->rc == 0;
	f->checkpoint_ms = engine_now_ms();
	if (c->rc < 0) {
		/* a failed sync is never believed later: what it covered counts as lost, and so does the file
		 */
		f->unsafe = true;
		dest_fail(f, haul_rc_from_errno(-c->rc), -c->rc);
		receiver_stop(r, haul_rc_from_errno(-c->rc), -c->rc,
			      "the destination could not be synced; what is recorded stays");
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

void receiver_pump_checkpoints(struct receiver *r)
{
	uint64_t now = engine_now_ms();
	bool stream_open = false;
	for (struct dest_file *f = r->active; f; f = f->active_link) {
		uint64_t n = receiver_unrecorded(f);
		stream_open |= f->stream && (n || f->checkpointing);
		/* a stream can be taken up from its very beginning on */
		bool first = f->stream && !f->in_journal && !f->ended;
		n += first;
		bool due = first || n >= CHECKPOINT_BYTES || now - f->checkpoint_ms >= CHECKPOINT_MS ||
			   r->draining || r->stopped;
		if (n && due && !f->checkpointing)
			start_checkpoint(r, f);
	}
	/* nothing of a stream is waiting for the disk: what was said otherwise needs no keeping */
	if (!stream_open && !r->sink_stage)
		link_durable(&r->engine.link, r->engine.link.written);
}

void receiver_pump_commits(struct receiver *r)
{
	struct commit_job *job;
	if (r->engine.phase > ENGINE_DRAINING)
		return; /* nothing is committed behind a failure */
	while ((job = pool_take(r->commit))) {
		if (job->checkpoint.file)
			checkpoint_done(r, &job->checkpoint);
		for (size_t i = 0; i < job->count; i++)
			receiver_settle(r, job->files[i]);
		if (job->finish) {
			r->finish_sent = true;
			r->finish_rc = job->finish_rc;
			r->m->failed += r->dest.dirs_failed;
			if (r->dest.dirs_failed)
				r->worst = HAUL_PARTIAL;
			if (job->finish_rc < 0)
				receiver_stop(r, haul_rc_from_errno(-job->finish_rc), -job->finish_rc,
					      "the last sync of the destination failed");
		}
		receiver_free_commit_job(job);
	}
	bool idle = !r->inbox_count && !r->held && pool_count(r->workers) == 0;
	bool old = r->batch && r->batch->count && engine_now_ms() - r->batch_since >= BATCH_MS;
	if (batch_is_full(r) || old || (idle && (r->flush_asked || r->draining)))
		receiver_submit_batch(r);
	if (r->finish_asked && idle && !r->stopped && dest_has_open(&r->dest)) {
		r->finish_asked = false;
		receiver_violation(r, "FINISH while files are wanted that have not come", r->next_offer);
	}
	if (r->finish_asked && idle && !r->stopped && r->finish_files != r->offered_files) {
		r->finish_asked = false;
		receiver_violation(r, "FINISH counts other files than were offered", r->finish_files);
	}
	if (r->finish_asked && idle && !r->finish_sent && pool_count(r->commit) == 0 &&
	    !receiver_unrecorded_left(r) && open_batch(r)) {
		r->batch->finish = true;
		r->finish_asked = false;
		receiver_submit_batch(r);
	}
}
