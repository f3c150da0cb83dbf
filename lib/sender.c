#include "lib/sender.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/entropy.h"
#include "lib/sandbox.h"
#include "lib/sender_impl.h"
#include "wire/err.h"

/* Entries of the first batch, so that something moves at once. */
#define FIRST_BATCH  16u
#define SCAN_DEPTH   2u
#define STREAM_DEPTH 4u
/* --compress=auto: where the level begins, and how far below it may fall when packing holds things up */
#define AUTO_LEVEL 1
#define AUTO_FLOOR (-4)

/* ---- pump ---- */

static bool nothing_to_send(const struct sender *s)
{
	/* a receiver that takes no more makes all that is left to do pointless */
	bool all_read = s->stopped || (!s->ready_count && !sender_links_ready(s) && !s->current &&
				       !s->again_count && (!s->stream || s->stream_ended));
	return all_read && !s->outbox_count && pool_count(s->workers) == 0;
}

/* Nothing more can be done before the receiver answers: ask it to commit, or say that this was all. */
static void pump_end(struct sender *s)
{
	if (s->finished || s->draining || !nothing_to_send(s))
		return;
	bool all_offered = s->scan_ended || s->stopped;
	if (all_offered && ((!s->open_count && !s->link_count) || s->stopped)) {
		if (!sender_pump_delete(s)) {
			sender_outbox_drain(s);
			return;
		}
		uint8_t b[64];
		struct wr w = wr_init(b, sizeof b);
		frame_put_finish(&w, &(struct frame_finish){s->file_ids, s->next_id, s->m->bytes});
		s->finished = sender_outbox_fields(s, F_FINISH, b, w.n);
	} else if (!s->flushed && !s->unanswered && (all_offered || !sender_table_has_room(s, BATCH)) &&
		   s->open_count) {
		s->flushed = sender_outbox_fields(s, F_FLUSH, NULL, 0);
	}
	sender_outbox_drain(s);
}

static bool waits_for_credit(const struct sender *s)
{
	const struct outgoing *o = &s->outbox[s->outbox_head];
	return s->outbox_count && !link_can_send(&s->engine.link, o->cost, o->body->len);
}

/* Where the pipeline waits; the person sees it, and the peer is told when it is the source. */
static void note_blocked(struct sender *s)
{
	enum blocked_on on = BLOCKED_NONE;
	const struct link *l = &s->engine.link;
	if (l->state != LINK_UP || s->engine.write_blocked)
		on = BLOCKED_LINK;
	else if (waits_for_credit(s))
		on = BLOCKED_CREDIT;
	else if (s->outbox_count)
		on = BLOCKED_LINK;
	else if (pool_count(s->workers))
		on = BLOCKED_CPU;
	else if ((s->stream && s->stream->wanted && !s->stream_ended) || (!s->scan_ended && !s->open_count))
		on = BLOCKED_SOURCE;
	else if (s->open_count || s->deletion.state == DELETE_COUNTING ||
		 s->deletion.state == DELETE_REMOVING)
		on = BLOCKED_DISK;
	s->m->blocked = on;
	/* "source" excuses silence: said only once all that was read has been taken */
	bool all_taken = l->credit.acked == l->ring.end;
	enum blocked_on told = on == BLOCKED_SOURCE && !all_taken ? BLOCKED_NONE : on;
	link_blocked(&s->engine.link, (uint8_t)told);
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
		sender_begin(s);
		if (s->set.stream)
			sender_offer_stream(s);
	}
	for (bool more = true; more;) {
		size_t before = s->engine.link.ring.count;
		if (sender_outbox_drain(s) && s->scan)
			sender_pump_scan(s);
		/* its own place among those to be sent again becomes one among the open */
		if (sender_outbox_drain(s) && s->again_count && !s->stopped && sender_table_has_room(s, 0))
			sender_offer_again(s);
		if (sender_outbox_drain(s) && !s->stopped && !s->draining && sender_links_ready(s))
			sender_offer_links(s);
		if (sender_outbox_drain(s))
			sender_pump_done(s);
		sender_pump_jobs(s);
		if (sender_outbox_drain(s))
			sender_pump_stream(s);
		more = sender_outbox_drain(s) && s->engine.link.ring.count > before &&
		       s->engine.phase == ENGINE_RUNNING;
	}
	pump_end(s);
	link_waiting(&s->engine.link, waits_for_credit(s), engine_now_ms());
	note_blocked(s);
	govern(s);
	uint64_t unacked = content_in_ring(s);
	s->m->acked = (s->m->bytes > unacked ? s->m->bytes - unacked : 0) + s->m->kept_bytes;
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
	if (s->reader && s->stream && s->stream->wanted && !s->stream_ended && !s->stopped &&
	    !pool_full(s->workers))
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
static void sender_prove(void *self, bool alive)
{
	(void)self, (void)alive;
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

static enum haul_rc open_source(struct sender *s, struct haul_err *err)
{
	const struct haul_config *cfg = s->cfg;
	if (s->set.stream)
		return stream_in_open(&s->in, cfg->from_cmd, (uint32_t)cfg->chunk, s->engine.blocks, err);
	if (walk_new(cfg, s->set.sources, s->set.source_count, &s->walk, err) != HAUL_OK)
		return err->rc;
	s->source.walk = s->walk;
	if (cfg->hard_links && !(s->hardlinks = hardlinks_new(HARDLINKS_BYTES_MAX)))
		return haul_fail(err, HAUL_NO_MEMORY, 0, NULL, "no memory for hard links");
	s->engine.redial_at = UINT64_MAX;
	return HAUL_OK;
}

/* The producer runs already, and no thread does: only what begins from now on is bound. */
static enum haul_rc confine(struct sender *s, struct haul_err *err)
{
	struct sandbox now;
	enum haul_rc rc = sandbox_sender(s->cfg, s->set.sources, s->set.source_count, s->set.dial, &now, err);
	s->m->sandbox_abi = now.abi;
	s->m->sandbox_calls = now.calls;
	return rc;
}

static enum haul_rc start_stages(struct sender *s, struct haul_err *err)
{
	unsigned jobs = s->cfg->jobs;
	s->workers = pool_new(&worker_ops, &s->source, jobs, 2 * jobs + 2, jobs == 1);
	if (s->set.stream)
		s->reader = pool_new(&stream_in_ops, &s->in, 1, STREAM_DEPTH, false);
	else
		s->scan = pool_new(&scan_ops, NULL, 1, SCAN_DEPTH, false);
	if (!s->workers || !(s->reader || s->scan))
		return haul_fail(err, HAUL_NO_MEMORY, 0, NULL, "cannot start workers");
	return HAUL_OK;
}

static enum haul_rc set_up(struct sender *s, struct haul_err *err)
{
	const struct haul_config *cfg = s->cfg;
	struct engine_setup es = {
		.cfg = cfg,
		.bus = s->set.bus,
		.ops = &sender_ops,
		.self = s,
		.session_id = s->set.session_id,
		.key_worked = s->set.key_worked,
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
	governor_init(&s->governor, automatic ? AUTO_LEVEL : cfg->level_min,
		      automatic ? AUTO_FLOOR : cfg->level_min, cfg->level_max, engine_now_ms());
	s->m->level = cfg->compress == COMPRESS_NONE ? LEVEL_STORED : s->governor.level;
	atomic_init(&s->source.level, s->m->level);
	if (open_source(s, err) != HAUL_OK || confine(s, err) != HAUL_OK)
		return err->rc;
	return start_stages(s, err);
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
	for (size_t i = 0; i < s->link_count; i++)
		source_file_free(s->links[(s->link_head + i) % OPEN_ENTRIES_MAX]);
	hardlinks_free(s->hardlinks);
	engine_free(&s->engine);
	walk_free(s->walk);
}

static const char *subject_of(const struct haul_err *err)
{
	return err->subject[0] ? err->subject : NULL;
}

/* The only operand, or a tree where one file is taken. */
static bool all_refused(const struct sender *s)
{
	bool only = s->offered_files == 1 || (s->one_only && !s->m->files);
	return s->refused && s->refused == s->m->failed && only;
}

/* A run that went to its end may still have left single files behind. */
static void judge(struct sender *s, struct session_outcome *out)
{
	if (out->err.rc != HAUL_OK)
		return;
	if (s->stopped)
		out->err = s->stop;
	else if (s->deletion.guard.rc != HAUL_OK)
		out->err = s->deletion.guard;
	else if (all_refused(s))
		haul_fail(&out->err, HAUL_POLICY, s->first_bad.sys, subject_of(&s->first_bad), "%s",
			  s->first_bad.why);
	else if (s->unreadable && s->unreadable == s->offered_entries)
		haul_fail(&out->err, HAUL_NO_SOURCE, s->why_unreadable, s->set.sources[0], "cannot be read");
	else if (s->busy && s->busy == s->m->failed)
		haul_fail(&out->err, HAUL_BUSY, 0, NULL, "another sender sends to the same file now");
	else if (s->worst != HAUL_OK)
		haul_fail(&out->err, s->worst, 0, subject_of(&s->first_bad),
			  "%s%s%s; %llu failed, %llu vanished, %llu changed, %llu committed",
			  s->first_bad.rc ? s->first_bad.why : haul_rc_text(s->worst),
			  s->first_bad.sys ? ": " : "", s->first_bad.sys ? strerror(s->first_bad.sys) : "",
			  (unsigned long long)s->m->failed, (unsigned long long)s->m->vanished,
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
		out->told = s->engine.link.peer_finned || s->engine.err_from_peer;
		out->session_gone = s->engine.session_gone;
	}
	judge(s, out);
	out->metrics = s->engine.metrics;
	tear_down(s);
	free(s);
	return out->err.rc;
}

static uint64_t less(uint64_t from, uint64_t n)
{
	return n < from ? from - n : 0;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/*
 * Every byte of content counts once: as skipped, as kept from before the run, or as moved.
 *
 * What was committed before is skipped now. What was kept of the other files before is kept again now; what was
 * sent of them is either kept now, and counts as moved all the same, or lost and sent again.
 */
void session_add_metrics(struct metrics *to, const struct metrics *earlier)
{
	uint64_t kept = less(to->kept_bytes, earlier->open_kept), sent = to->bytes;
	uint64_t found = smaller(kept, earlier->open_sent), lost = earlier->open_sent - found;
	bool idle = !sent && !to->kept_bytes; /* it came to nothing, and does not tell what was lost */
	to->open_kept = idle ? earlier->open_kept : less(to->kept_bytes, to->committed_kept);
	to->open_sent = idle ? earlier->open_sent : less(sent + to->committed_kept, to->committed_bytes);
	lost = idle ? 0 : smaller(lost, earlier->bytes);
	to->files += earlier->files;
	to->skipped = less(to->skipped, earlier->files);
	to->skipped_bytes = less(to->skipped_bytes, earlier->committed_bytes);
	to->committed_bytes += earlier->committed_bytes;
	to->kept_bytes = earlier->kept_bytes + kept - found;
	to->bytes += earlier->bytes - lost;
	to->deleted += earlier->deleted;
	to->wire_in += earlier->wire_in;
	to->wire_out += earlier->wire_out;
	to->reconnects += earlier->reconnects;
	to->resent_bytes += earlier->resent_bytes + smaller(lost, sent);
	to->dup_bytes += earlier->dup_bytes;
	to->stale_acks += earlier->stale_acks;
}
