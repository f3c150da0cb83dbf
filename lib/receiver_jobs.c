#include "lib/receiver_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/holder.h"
#include "lib/plan.h"
#include "lib/walk.h"
#include "wire/err.h"

/* Chunks of an older version that one job reads. */
#define HAVE_READ_CHUNKS 16u

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
		receiver_no_memory(r, "a piece of the stream");
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

void receiver_pump_sink(struct receiver *r)
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
				receiver_settle(r, f);
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
		r->offered_files += content;
		r->m->entries +=
			(p->action == PLAN_SKIP || p->action == PLAN_DONE) && p->type != ENTRY_DIR_END;
		if (p->action == PLAN_SKIP && content) {
			r->m->skipped++;
			r->m->skipped_bytes += p->size;
		} else if (p->action == PLAN_FAILED) {
			r->m->failed++;
			r->worst = HAUL_PARTIAL;
			if (p->code == haul_rc_status(HAUL_NO_SPACE))
				receiver_stop(r, HAUL_NO_SPACE, p->sys,
					      "no space for what is still missing; what is there stays");
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

static void ended(struct receiver *r, const struct dest_job *job)
{
	struct dest_file *f = job->file;
	const struct frame_end *end = &job->end;
	uint8_t digest[DIGEST_BYTES];
	digest_sum_end(&f->sum, end->size, digest);
	/* what was asked for comes, or came behind this END and may not be written yet: another END follows
	 */
	if ((f->needs && end->status == 0) || !f->closed || job->end_number != f->ends)
		return;
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
		return;		     /* the sink settles it */
	receiver_add_to_batch(r, f); /* behind any checkpoint of it that is under way */
	if (r->cfg->sync == SYNC_NONE)
		receiver_submit_batch(r);
}

static void packed(struct receiver *r, struct dest_job *job)
{
	for (size_t i = 0; i < job->file_count; i++) {
		struct dest_file *f = job->files[i];
		f->received = f->size;
		if (!f->code && f->temp[0])
			receiver_add_to_batch(r, f);
		else
			receiver_settle(r, f);
	}
}

/* ---- chunks that are there already ---- */

static void ask_for(struct receiver *r, struct dest_file *f, uint64_t chunk)
{
	if (r->need_count == NEEDS_MAX) {
		dest_fail(f, HAUL_DIGEST, 0);
		return;
	}
	f->map.state[chunk] = CHUNK_NEEDED;
	f->needs++;
	f->asked++;
	size_t at = (r->need_head + r->need_count++) % NEEDS_MAX;
	r->need[at].file = f->id;
	r->need[at].chunk = chunk;
}

void receiver_pump_needs(struct receiver *r)
{
	while (r->need_count) {
		uint8_t b[32];
		struct wr w = wr_init(b, sizeof b);
		frame_put_need(&w,
			       &(struct frame_need){r->need[r->need_head].file, r->need[r->need_head].chunk});
		if (!receiver_send_fields(r, F_NEED, b, w.n))
			return;
		r->need_head = (r->need_head + 1) % NEEDS_MAX;
		r->need_count--;
	}
}

static void kept(struct receiver *r, struct dest_job *job)
{
	struct dest_file *f = job->file;
	for (uint32_t k = 0; k < job->keep.count && !job->failed; k++) {
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
	if (f->stream && !job->failed) {
		f->written += job->data.raw;
		digest_sum_add(&f->sum_done, job->data.offset, job->data.digest);
	}
	if (!f->map.state || job->failed)
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
		receiver_no_memory(r, "a list of chunks");
		return NULL;
	}
	uint64_t most = f->base == BASE_OLD ? HAVE_READ_CHUNKS : HAVE_DIGESTS_MAX,
		 left = f->map.count - f->have_next;
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

/* A disk that takes no more: whatever else comes of a large file, or of a stream without end, would come in
 * vain. */
static void stop_at_failure(struct receiver *r, struct dest_file *f)
{
	pthread_mutex_lock(&f->mu);
	enum haul_rc rc = haul_rc_from_status(f->code);
	int sys = f->sys;
	pthread_mutex_unlock(&f->mu);
	if (rc == HAUL_NO_SPACE)
		receiver_stop(r, rc, sys, "no space left at the destination; what is there stays");
	else if (rc == HAUL_IO && f->partial)
		receiver_stop(r, rc, sys, "the destination cannot be written; what is there stays");
}

/* What is known to be good of a file that failed, for the next run: before its END lets go of it. */
static bool lets_go(struct receiver *r, struct dest_job *job)
{
	struct dest_file *f = job->file;
	bool good = !f->code && job->end.status == 0;
	return good || !f->partial || f->stream || receiver_record_rest(r, f);
}

/* False when it must wait. */
static bool finish_job(struct receiver *r, struct dest_job *job)
{
	if (job->violation) {
		receiver_violation(r, job->violation, job->cost);
		return true;
	}
	if (job->kind == DEST_PLAN) {
		if (!receiver_send_body(r, F_WANT, job->out))
			return false;
		job->out = NULL;
		planned(r, job);
	}
	if (job->kind == DEST_HAVE) {
		if (!receiver_send_body(r, F_HAVE, job->out))
			return false;
		job->out = NULL;
		job->file->told = job->have_first + job->have_count == job->file->map.count;
		return true;
	}
	if (r->dest.root && !receiver_batch_takes(r, job->kind == DEST_PACK ? job->file_count : 1))
		return false;
	if (job->kind == DEST_KEEP && r->need_count + job->keep.count > NEEDS_MAX)
		return false;
	if (job->kind == DEST_END && !job->content) {
		if (!lets_go(r, job))
			return false;
		ended(r, job);
		job->content = 1; /* once, even if the sink makes it wait */
		r->m->total_final = true;
		if (r->dest.root)
			return true;
	}
	if (r->sink_stage && job->kind != DEST_PLAN && job->kind != DEST_DROP && !to_sink(r, job))
		return false;
	if (job->kind == DEST_PACK && r->dest.root)
		packed(r, job);
	if (job->failed)
		stop_at_failure(r, job->file);
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

void receiver_pump_jobs(struct receiver *r)
{
	/* once the session has failed, what came behind the failure means nothing any more */
	while (r->engine.phase <= ENGINE_DRAINING) {
		struct dest_job *job = r->held ? r->held : pool_take(r->workers);
		r->held = NULL;
		if (!job)
			break;
		if (!finish_job(r, job)) {
			r->held = job;
			break;
		}
		if (job->cost)
			link_consume(&r->engine.link, job->cost, engine_now_ms());
		dest_job_free(job);
	}
	pump_have(r);
	while (r->inbox_count && pool_submit(r->workers, r->inbox[r->inbox_head])) {
		r->inbox_head = (r->inbox_head + 1) % LINK_MESSAGES_MAX;
		r->inbox_count--;
	}
}
