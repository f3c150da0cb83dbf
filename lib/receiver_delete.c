/*
 * --delete at the receiver: answers a DELETE in steps of the commit stage, one message each, so that neither a
 * long list nor a long search holds anything up. What was removed is told by the answer alone.
 */
#include "lib/receiver_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/strays.h"

enum { MODE_COUNT = 1, MODE_LIST = 2, MODE_REMOVE = 3 };

#define ANSWER_BYTES (32u << 10)
#define ANSWER_MS    1000u /* removing may be slow: NFS */
#define FIXED_BYTES  32u   /* of STRAYS */
#define STRAY_BYTES  (8u + PATH_MAX_BYTES)

/* ---- in the commit stage ---- */

static int begin_walk(struct receiver *r)
{
	struct deletion *d = &r->deletion;
	enum strays_mode mode = r->dest.flags & BEGIN_DRY_RUN ? STRAYS_LOOK
				: d->ask.mode == MODE_REMOVE  ? STRAYS_REMOVE
							      : STRAYS_COUNT;
	int rc = kept_seal(&r->dest.kept);
	if (rc < 0)
		return rc;
	d->walk = strays_new(r->dest.root, &r->dest.kept, mode, d->ask.top, d->ask.most);
	return d->walk ? 0 : -errno;
}

static void put_stray(struct wr *w, const struct stray *s)
{
	frame_put_stray(w, &(struct frame_stray){(uint8_t)s->state,
						 (uint16_t)s->sys,
						 {(const uint8_t *)s->path, s->path_len}});
}

/* Fills w with groups until there is a message's worth of them, or the sender has waited long enough for a
 * sign; what it ended with. */
static enum strays_result collect(struct receiver *r, struct wr *w)
{
	struct stray s;
	uint64_t until = engine_now_ms() + ANSWER_MS;
	while (w->n < ANSWER_BYTES && engine_now_ms() < until) {
		enum strays_result rc = strays_next(r->deletion.walk, &s);
		if (rc != STRAYS_ONE)
			return rc;
		if (r->deletion.ask.mode != MODE_COUNT)
			put_stray(w, &s);
	}
	return STRAYS_PAUSE;
}

void receiver_delete_step(struct receiver *r, struct commit_job *job)
{
	struct deletion *d = &r->deletion;
	struct frame_strays answer = {0};
	job->answer = buf_malloc(NULL, FIXED_BYTES + ANSWER_BYTES + STRAY_BYTES);
	uint8_t *groups = job->answer ? malloc(ANSWER_BYTES + STRAY_BYTES) : NULL;
	if (!groups)
		return;
	struct wr g = wr_init(groups, ANSWER_BYTES + STRAY_BYTES);
	int sys = d->walk ? 0 : begin_walk(r);
	enum strays_result rc = sys < 0 ? STRAYS_END : collect(r, &g);
	answer.last = rc == STRAYS_END || rc == STRAYS_MORE;
	if (sys < 0) {
		answer.sys = (uint16_t)-sys;
		answer.code =
			(uint16_t)haul_rc_status(sys == -E2BIG || sys == -ENOMEM ? HAUL_NO_MEMORY : HAUL_IO);
	} else if (rc == STRAYS_MORE) {
		answer.code = (uint16_t)haul_rc_status(HAUL_DELETE_GUARD);
	}
	if (d->walk) {
		answer.seen = strays_seen(d->walk);
		answer.found = strays_found(d->walk);
	}
	answer.strays = (struct span){groups, g.n};
	struct wr w = wr_init(job->answer->data, job->answer->cap);
	frame_put_strays(&w, &answer);
	job->answer->len = w.n;
	job->answer_last = answer.last;
	free(groups);
}

/* ---- in the wire thread ---- */

enum haul_rc receiver_on_delete(struct receiver *r, struct span body)
{
	struct deletion *d = &r->deletion;
	struct frame_delete ask; /* the last one may be in the stage's hands still */
	bool dry = r->dest.flags & BEGIN_DRY_RUN;
	if (!frame_get_delete(body, &ask) || ask.mode < MODE_COUNT || ask.mode > MODE_REMOVE || ask.top > 1)
		return receiver_violation(r, "malformed DELETE", body.n);
	if (!(r->dest.flags & BEGIN_DELETE) || !r->dest.root || d->asked || (dry && ask.mode == MODE_REMOVE))
		return receiver_violation(
			r, "DELETE that BEGIN did not announce, or before the last was answered", ask.mode);
	d->ask = ask;
	d->asked = d->begun = true;
	return HAUL_OK;
}

/* The person at this side hears of each one, too. */
static void tell_removed(struct receiver *r, const struct buf *answer)
{
	struct frame_strays a;
	struct frame_stray s;
	if (!frame_get_strays((struct span){buf_bytes(answer), answer->len}, &a))
		return;
	struct rd rd = rd_init(a.strays.p, a.strays.n);
	while (rd.n && frame_get_part_stray(&rd, &s)) {
		struct event ev = {.type = EV_FILE};
		if (s.state != STRAY_REMOVED && s.state != STRAY_FAILED)
			continue;
		ev.u.file.path = (const char *)s.path.p;
		ev.u.file.path_len = s.path.n;
		ev.u.file.state = s.state == STRAY_REMOVED ? FILE_DELETED : FILE_FAILED;
		ev.u.file.sys = s.sys;
		ev.u.file.why = s.state == STRAY_REMOVED ? NULL : "cannot be deleted";
		event_emit(r->set.bus, &ev);
		if (s.state == STRAY_REMOVED) {
			r->m->deleted++;
		} else {
			r->m->failed++;
			r->worst = HAUL_PARTIAL;
		}
	}
}

void receiver_delete_done(struct receiver *r, struct commit_job *job)
{
	struct deletion *d = &r->deletion;
	d->running = false;
	if (!job->answer || !job->answer->len) {
		receiver_no_memory(r, "a list of what is to be deleted");
		return;
	}
	d->answer = job->answer;
	d->last = job->answer_last;
	job->answer = NULL;
	if (d->ask.mode == MODE_REMOVE) {
		atomic_store(&r->dest.unsynced, true);
		tell_removed(r, d->answer);
	}
}

static bool send_answer(struct receiver *r)
{
	struct deletion *d = &r->deletion;
	if (!receiver_send_body(r, F_STRAYS, d->answer))
		return false;
	d->answer = NULL;
	if (d->last) {
		d->asked = d->last = false;
		strays_free(d->walk);
		d->walk = NULL;
	}
	return true;
}

void receiver_pump_delete(struct receiver *r)
{
	struct deletion *d = &r->deletion;
	bool idle = !r->inbox_count && !r->held && pool_count(r->workers) == 0 && pool_count(r->commit) == 0;
	if (r->engine.phase > ENGINE_DRAINING || r->stopped || (d->answer && !send_answer(r)))
		return;
	if (!d->asked || d->running || r->draining || !idle)
		return;
	if (dest_has_open(&r->dest)) {
		d->asked = false;
		receiver_violation(r, "DELETE while files are wanted that have not come", r->next_offer);
		return;
	}
	struct commit_job *job = calloc(1, sizeof *job);
	if (job) {
		job->deletion = true;
		d->running = pool_submit(r->commit, job);
	}
	if (!d->running)
		free(job);
}

void receiver_free_deletion(struct receiver *r)
{
	buf_put(r->deletion.answer);
	strays_free(r->deletion.walk);
}
