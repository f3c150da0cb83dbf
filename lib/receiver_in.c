#include "lib/receiver_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/holder.h"
#include "lib/plan.h"
#include "lib/walk.h"
#include "wire/err.h"

enum { KIND_TREE = 1, KIND_STREAM = 2 }; /* of BEGIN */

/* Who lets nothing be overwritten, or keeps a copy, lets nothing be deleted. */
static void check_delete(struct receiver *r)
{
	if (r->cfg->overwrite != OVERWRITE_YES)
		receiver_stop(r, HAUL_POLICY, 0, "this receiver lets nothing be deleted (--overwrite)");
	else if (r->dest.single)
		receiver_stop(r, HAUL_POLICY, 0,
			      "this receiver takes one stream: there is nothing to delete");
}

/* ---- messages in ---- */

static enum haul_rc on_begin(struct receiver *r, struct span body)
{
	struct frame_begin b;
	if (!frame_get_begin(body, &b) || b.chunk < CHUNK_MIN_BYTES || b.chunk > CHUNK_MAX_BYTES ||
	    (b.kind != KIND_TREE && b.kind != KIND_STREAM) || b.compare > 2 || b.tells & ~TELLS_KNOWN ||
	    (b.tells >> 8 & ~b.tells) != 0 || (b.kind == KIND_STREAM && b.flags & BEGIN_DELETE))
		return receiver_violation(r, "malformed BEGIN", body.n);
	if (b.flags & ~BEGIN_KNOWN) {
		struct haul_err err = {.at = b.flags};
		haul_fail(&err, HAUL_VERSION, 0, NULL, "the sender asks for something unknown (flags %#x)",
			  (unsigned)b.flags);
		return engine_abort(&r->engine, &err);
	}
	if (r->set.dry_run && !(b.flags & BEGIN_DRY_RUN))
		return receiver_violation(r, "BEGIN of another run than ATTACH announced", b.flags);
	if (r->dest.root && !(b.flags & BEGIN_DRY_RUN)) {
		sweep_run(r->dest.root);
		leftovers_find(&r->dest.leftovers, r->dest.root, r->dest.owner);
	}
	r->dest.seed = b.seed;
	r->dest.chunk = b.chunk;
	r->dest.compare = b.compare;
	r->dest.flags = b.flags;
	r->dest.meta.tells = b.tells;
	if (b.flags & BEGIN_DELETE)
		check_delete(r);
	return HAUL_OK;
}

static enum haul_rc on_offer(struct receiver *r, struct dest_job *job, struct span body)
{
	struct frame_offer offer;
	if (!frame_get_offer(body, &offer) || offer.first != r->next_offer || !offer.count ||
	    offer.count > OFFER_ENTRIES_MAX)
		return receiver_violation(r, "malformed OFFER", offer.first);
	if (r->deletion.begun)
		return receiver_violation(r, "OFFER behind DELETE", offer.first);
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
	if (!f || (f->base != BASE_NONE && !f->told))
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

/* Without a map: what overlaps is found by the digest, but what never ends has none. */
static bool taken_in(struct dest_file *f, uint64_t n)
{
	f->taken += n;
	return f->taken / 4 <= f->size;
}

/* A file with a map takes each chunk once, whole, unless it asked for it again. Behind an END nothing else
 * comes: it would be written into a file that was found complete. */
static bool chunk_may_come(struct dest_file *f, uint64_t offset, uint32_t n)
{
	if (!f->map.state)
		return !f->closed && (f->stream || taken_in(f, n));
	uint64_t i = offset / f->map.chunk;
	if (offset % f->map.chunk || i >= f->map.count || n != chunk_map_length(&f->map, i))
		return false;
	uint8_t state = f->map.state[i];
	if (f->closed && state != CHUNK_NEEDED)
		return false;
	f->closed = false;
	f->needs -= state == CHUNK_NEEDED;
	f->map.state[i] = CHUNK_MOVING;
	return state == CHUNK_ABSENT || state == CHUNK_HAVE || state == CHUNK_NEEDED;
}

static enum haul_rc on_data(struct receiver *r, struct dest_job *job, struct span body)
{
	struct frame_data *d = &job->data;
	if (!frame_get_data(body, d) || d->raw != job->cost)
		return receiver_violation(r, "malformed DATA", body.n);
	struct dest_file *f = receiving(r, d->file);
	if (!f || !fits(f, d->offset, d->raw) || !in_order(r, f, d->offset, d->raw))
		return receiver_violation(r, "DATA for a file that is not wanted, or beyond its size",
					  d->file);
	if (!chunk_may_come(f, d->offset, d->raw))
		return receiver_violation(r, "DATA for a chunk that is there or is none", d->offset);
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
		return receiver_violation(r, "malformed HOLE", body.n);
	struct dest_file *f = receiving(r, h->file);
	if (!f || f->stream || (f->closed && !f->map.state) || !h->length || !fits(f, h->offset, h->length) ||
	    !in_order(r, f, h->offset, h->length))
		return receiver_violation(r, "HOLE in a file that is not wanted, or beyond its size",
					  h->file);
	if (!f->map.state && !taken_in(f, h->length))
		return receiver_violation(r, "HOLE beyond what is missing", h->offset);
	if (f->map.state && h->offset + h->length != f->map.size && h->length % f->map.chunk)
		return receiver_violation(r, "HOLE that ends inside a chunk", h->length);
	for (uint64_t at = h->offset; f->map.state && at < h->offset + h->length; at += f->map.chunk)
		if (!chunk_may_come(f, at, chunk_map_length(&f->map, at / f->map.chunk)))
			return receiver_violation(r, "HOLE over a chunk that is there or is none", at);
	f->fresh = true;
	job->kind = DEST_HOLE;
	job->file = f;
	return HAUL_OK;
}

static enum haul_rc on_keep(struct receiver *r, struct dest_job *job, struct span body)
{
	struct frame_keep *k = &job->keep;
	if (!frame_get_keep(body, k) || !k->count || k->count > KEEP_CHUNKS_MAX)
		return receiver_violation(r, "malformed KEEP", body.n);
	struct dest_file *f = receiving(r, k->file);
	if (!f || f->closed || f->base == BASE_NONE || k->first >= f->map.count ||
	    k->count > f->map.count - k->first)
		return receiver_violation(r, "KEEP for chunks that were not offered", k->first);
	for (uint64_t i = k->first; i < k->first + k->count; i++) {
		if (f->map.state[i] != CHUNK_HAVE)
			return receiver_violation(r, "KEEP for a chunk that was not offered", i);
		f->map.state[i] = CHUNK_MOVING;
	}
	job->kind = DEST_KEEP;
	job->file = f;
	return HAUL_OK;
}

static enum haul_rc on_end(struct receiver *r, struct dest_job *job, struct span body)
{
	if (!frame_get_end(body, &job->end))
		return receiver_violation(r, "malformed END", body.n);
	struct dest_file *f = receiving(r, job->end.file);
	/* what was asked for may turn out to be unreadable: then only the END comes again */
	if (!f || (f->closed && !f->needs) || f->ends > f->asked)
		return receiver_violation(r, "END of a file that is not open", job->end.file);
	f->closed = true;
	job->end_number = ++f->ends;
	job->kind = DEST_END;
	job->file = f;
	return HAUL_OK;
}

/* The sender's account of what it has offered, which is complete: all before it has come, in order. */
static enum haul_rc on_finish(struct receiver *r, struct span body)
{
	struct frame_finish f;
	if (!frame_get_finish(body, &f))
		return receiver_violation(r, "malformed FINISH", body.n);
	if (!r->stopped && f.entries != r->next_offer)
		return receiver_violation(r, "FINISH counts other entries than were offered", f.entries);
	r->finish_files = f.files;
	r->finish_asked = true;
	return HAUL_OK;
}

/* Raw bytes count against the quota before they are unpacked. */
static void check_quota(struct receiver *r, const struct link_event *ev)
{
	if (ev->frame == F_DATA || ev->frame == F_PACK)
		r->quota_used += ev->cost;
	if (r->cfg->quota != SIZE_UNSET && r->quota_used > r->cfg->quota)
		receiver_stop(r, HAUL_POLICY, 0, "the quota of this receiver is used up");
}

/* After a stop, what still comes is acked and dropped, so that the sender can say it is done. */
static bool dropped(const struct receiver *r, uint8_t frame)
{
	return r->stopped && frame != F_BEGIN && frame != F_FINISH;
}

/* What was under way when the sender was told comes still, and no more. */
static enum haul_rc on_dropped(struct receiver *r, const struct link_event *ev)
{
	r->dropped_bytes += ev->cost;
	if (r->dropped_bytes > 2 * r->cfg->window + DROPPED_MAX_BYTES)
		return receiver_violation(r, "the sender goes on behind STOP", r->dropped_bytes);
	return HAUL_OK;
}

static enum haul_rc sort_message(struct receiver *r, struct dest_job *job, const struct link_event *ev)
{
	struct span body = {buf_bytes(ev->body), ev->body->len};
	job->kind = DEST_DROP;
	check_quota(r, ev);
	if (dropped(r, ev->frame))
		return on_dropped(r, ev);
	r->flushes = ev->frame == F_FLUSH ? r->flushes + 1 : 0;
	if (r->flushes > FLUSHES_MAX)
		return receiver_violation(r, "FLUSH after FLUSH, and nothing between", r->flushes);
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
	case F_DELETE:
		return receiver_on_delete(r, body);
	case F_FLUSH:
		r->flush_asked = true;
		return HAUL_OK;
	default: /* F_FINISH: the session table lets nothing else through */
		if (r->deletion.asked && !r->stopped)
			return receiver_violation(r, "FINISH before the answer to DELETE", r->next_offer);
		return on_finish(r, body);
	}
}

enum haul_rc receiver_message(void *self, struct link_event *ev)
{
	struct receiver *r = self;
	struct dest_job *job = calloc(1, sizeof *job);
	if (!job) {
		buf_put(ev->body);
		return receiver_no_memory(r, "a message");
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
