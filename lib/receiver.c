#include "lib/receiver.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/destdir.h"
#include "lib/holder.h"
#include "lib/plan.h"
#include "lib/receiver_impl.h"
#include "lib/sandbox.h"
#include "lib/walk.h"
#include "wire/err.h"

#define OUTCOMES_A_RESULT 1024u
#define READ_AHEAD	  (8u << 20)

/* ---- messages out: tried each pump until the link takes them ---- */

bool receiver_send_body(struct receiver *r, uint8_t frame, struct buf *body)
{
	uint32_t cost = body->len ? (uint32_t)body->len : 1;
	if (link_send(&r->engine.link, frame, cost, body, engine_now_ms()) != WIRE_OK)
		return false;
	engine_step(&r->engine, frame, ROLE_RECEIVER);
	return true;
}

bool receiver_send_fields(struct receiver *r, uint8_t frame, const uint8_t *p, size_t n)
{
	struct buf *b = buf_malloc(NULL, n);
	if (!b) {
		receiver_no_memory(r, "a message");
		return false;
	}
	memcpy(b->data, p, n);
	b->len = n;
	if (receiver_send_body(r, frame, b))
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
			receiver_no_memory(r, "results");
			return;
		}
		struct wr w = wr_init(b->data, b->cap);
		frame_put_result(&w, &(struct frame_result){.count = (uint16_t)n});
		for (size_t i = 0; i < n; i++)
			frame_put_outcome(&w, &r->outcome[(r->outcome_head + i) % OPEN_ENTRIES_MAX]);
		b->len = w.n;
		if (!receiver_send_body(r, F_RESULT, b)) {
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
	frame_put_stop(&w, &(struct frame_stop){(uint16_t)haul_rc_status(r->stop.rc),
						(uint16_t)r->stop.sys,
						{(const uint8_t *)r->stop.why, n}});
	r->stop_sent = receiver_send_fields(r, F_STOP, b, w.n);
}

static void send_summary(struct receiver *r)
{
	uint8_t b[64];
	struct wr w = wr_init(b, sizeof b);
	r->m->durable = r->cfg->sync != SYNC_NONE && r->finish_rc == 0;
	frame_put_summary(&w, &(struct frame_summary){
				      .files = r->m->files,
				      .bytes = r->m->bytes,
				      .failed = r->m->failed,
				      .durable = r->m->durable,
				      .unset = atomic_load(&r->dest.meta.unset),
			      });
	if (receiver_send_fields(r, F_SUMMARY, b, w.n)) {
		r->summary_sent = true;
		r->engine.settled = true;
	}
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
	receiver_pump_sink(r);
	receiver_pump_jobs(r);
	receiver_pump_sink(r);
	receiver_pump_commits(r);
	if (r->held)
		receiver_pump_jobs(r); /* perhaps it waited for that */
	receiver_pump_checkpoints(r);
	receiver_pump_needs(r);
	pump_outcomes(r);
	receiver_pump_delete(r);
	if (r->stopped && !r->stop_sent && r->engine.session.state != SESSION_INIT)
		send_stop(r);
	if (r->finish_sent && !r->outcome_count && !r->summary_sent && (!r->stopped || r->stop_sent))
		send_summary(r);
	/* a worker's block is warm if it comes soon: what cannot be written soon may wait in the socket */
	r->engine.hold_reading = r->engine.link.expected - r->engine.link.written > READ_AHEAD;
	note_blocked(r);
	return HAUL_OK;
}

static size_t receiver_fds(void *self, int fds[static ENGINE_ROLE_FDS_MAX])
{
	struct receiver *r = self;
	size_t n = 0;
	if (!r->workers || !r->commit) /* it failed before they were there, and takes its leave */
		return 0;
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
		if (receiver_unrecorded(f) && !f->checkpointing && f->checkpoint_ms + CHECKPOINT_MS < at)
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
	return !receiver_unrecorded_left(r) && !r->inbox_count && !r->held && !pool_count(r->workers) &&
	       !pool_count(r->commit) && (!r->batch || !r->batch->count) && !r->outcome_count;
}

static void receiver_prove(void *self, bool alive)
{
	struct receiver *r = self;
	for (struct dest_file *f = r->active; f; f = f->active_link)
		holder_prove(r->dest.root, f->partial->journal, alive);
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

typedef enum haul_rc root_opener(const char *dir, const char *subdir, struct root **out,
				 struct haul_err *err);

/* -o FILE: the directory that holds it, and the one name in it. */
static enum haul_rc split_output(const char *file, char dir[static PATH_MAX_BYTES + 1], const char **only,
				 struct haul_err *err)
{
	const char *slash = strrchr(file, '/');
	size_t n = slash ? (size_t)(slash - file) : 0;
	if (n > PATH_MAX_BYTES)
		return haul_fail(err, HAUL_USAGE, ENAMETOOLONG, file, "cannot be the output");
	snprintf(dir, PATH_MAX_BYTES + 1, "%.*s", (int)n, file);
	*only = slash ? slash + 1 : file;
	const char *why = root_name_refused(*only, strlen(*only));
	if (why)
		return haul_fail(err, HAUL_USAGE, 0, file, "cannot be the output: %s", why);
	if (!n)
		snprintf(dir, PATH_MAX_BYTES + 1, "%s", slash ? "/" : ".");
	return HAUL_OK;
}

static enum haul_rc open_output(const char *file, root_opener *open, struct root **root, const char **only,
				struct haul_err *err)
{
	char dir[PATH_MAX_BYTES + 1];
	return split_output(file, dir, only, err) == HAUL_OK ? open(dir, NULL, root, err) : err->rc;
}

enum haul_rc receiver_check(const struct haul_config *cfg, const char *dir, struct haul_err *err)
{
	char holder[PATH_MAX_BYTES + 1];
	const char *only;
	if (cfg->to_cmd)
		return HAUL_OK;
	if (cfg->output && sink_check(cfg->output, err) != HAUL_OK)
		return err->rc;
	if (cfg->output && sink_wanted(cfg->output))
		return HAUL_OK;
	if (cfg->output && split_output(cfg->output, holder, &only, err) != HAUL_OK)
		return err->rc;
	int rc = destdir_check(cfg->output ? holder : dir);
	if (rc == 0 || (rc == -EACCES && cfg->peers)) /* they have directories of their own in it */
		return HAUL_OK;
	return haul_fail(err, haul_rc_from_errno(-rc), -rc, cfg->output ? cfg->output : dir,
			 "nothing can be received there");
}

/* The destination, unless it is a sink: then *root stays NULL. */
static enum haul_rc open_root(const struct haul_config *cfg, const char *dir, const char *subdir,
			      root_opener *open, struct root **root, const char **only, struct haul_err *err)
{
	if (cfg->to_cmd || (cfg->output && sink_wanted(cfg->output)))
		return HAUL_OK;
	return cfg->output ? open_output(cfg->output, open, root, only, err) : open(dir, subdir, root, err);
}

bool receiver_knows(const struct haul_config *cfg, const char *dir, const char *subdir,
		    const uint8_t id[static 16])
{
	struct root *root = NULL;
	const char *only;
	struct haul_err err = {0};
	bool known = open_root(cfg, dir, subdir, root_look, &root, &only, &err) == HAUL_OK && root &&
		     partial_has_stream(root, id);
	root_close(root);
	return known;
}

static enum haul_rc open_destination(struct receiver *r, struct haul_err *err)
{
	const struct haul_config *cfg = r->cfg;
	r->dest.single = cfg->output || cfg->to_cmd;
	root_opener *open = r->set.dry_run ? root_look : root_open;
	if (open_root(cfg, r->set.dir, r->set.subdir, open, &r->dest.root, &r->dest.only, err) != HAUL_OK)
		return err->rc;
	/* a consumer is started for what it is given */
	return r->dest.root || r->set.dry_run ? HAUL_OK : sink_open(&r->sink, cfg->to_cmd, cfg->output, err);
}

/* Everything that is to be opened or started is; threads are not, for only they would inherit what follows.
 */
static enum haul_rc confine(struct receiver *r, struct haul_err *err)
{
	struct sandbox now;
	int root = r->dest.root ? root_fd(r->dest.root) : -1;
	enum haul_rc rc = sandbox_receiver(r->cfg, root, r->set.dial, &now, err);
	r->m->sandbox_abi = now.abi;
	r->m->sandbox_calls = now.calls;
	return rc;
}

static enum haul_rc start_stages(struct receiver *r, struct haul_err *err)
{
	unsigned jobs = r->cfg->jobs;
	r->workers = pool_new(&dest_ops, &r->dest, jobs, 2 * jobs + 2, jobs == 1);
	r->commit = pool_new(&receiver_commit_ops, r, 1, COMMIT_DEPTH, false);
	if (!r->dest.root)
		r->sink_stage = pool_new(&sink_ops, &r->sink, 1, SINK_DEPTH, false);
	if (!r->workers || !r->commit || (!r->dest.root && !r->sink_stage))
		return haul_fail(err, HAUL_NO_MEMORY, 0, NULL, "cannot start workers");
	return HAUL_OK;
}

/* Everything an earlier process of this session knew at its last checkpoint. */
static enum haul_rc take_up(struct receiver *r, struct haul_err *err)
{
	struct dest_file *f = dest_take_up(&r->dest);
	if (!f)
		return haul_fail(err, HAUL_NO_RESUME, 0, NULL, "the stream's journal cannot be taken up");
	r->begun = true;
	sweep_run(r->dest.root);
	r->next_offer = f->id + 1;
	r->offered_files = 1;
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
	partial_name_owner(r->dest.owner, r->set.owner);
	if (open_destination(r, err) != HAUL_OK || confine(r, err) != HAUL_OK ||
	    start_stages(r, err) != HAUL_OK)
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
	receiver_free_commit_job(job);
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
	receiver_record_last(r);
	sink_close(&r->sink);
	dest_job_free(r->held);
	for (size_t i = 0; i < r->inbox_count; i++)
		dest_job_free(r->inbox[(r->inbox_head + i) % LINK_MESSAGES_MAX]);
	free(r->batch);
	receiver_free_deletion(r);
	r->dest.abandon_streams = r->engine.err_from_peer || r->engine.err.rc == HAUL_OK;
	dest_free(&r->dest);
	engine_free(&r->engine);
}

static void judge(struct receiver *r, struct session_outcome *out)
{
	const struct haul_err *bad = &r->dest.first_bad;
	bool none_taken = r->dest.single && bad->rc == HAUL_POLICY && !r->m->files;
	if (out->err.rc != HAUL_OK)
		return;
	if (r->stopped)
		out->err = r->stop;
	else if (r->worst != HAUL_OK)
		haul_fail(&out->err, none_taken ? HAUL_POLICY : r->worst, 0,
			  bad->rc ? bad->subject : r->set.dir, "%s%s%s; %llu failed, %llu committed",
			  bad->rc ? bad->why : haul_rc_text(r->worst), bad->sys ? ": " : "",
			  bad->sys ? strerror(bad->sys) : "", (unsigned long long)r->m->failed,
			  (unsigned long long)r->m->files);
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
	set_up(r, &err);
	if (!r->engine.set.ops)
		out->err = err;
	if (out->err.rc == HAUL_OK) {
		if (setup->first)
			engine_adopt(&r->engine, setup->first);
		if (err.rc != HAUL_OK) /* the sender is told: it waits for an answer */
			engine_abort(&r->engine, &err);
		engine_run(&r->engine);
		out->err = r->engine.err;
		out->also = r->engine.also;
		out->err_from_peer = r->engine.err_from_peer;
		out->told = r->engine.link.peer_finned || r->engine.err_from_peer;
		out->session_gone = r->engine.session_gone;
	}
	judge(r, out);
	out->metrics = r->engine.metrics;
	tear_down(r);
	free(r);
	return out->err.rc;
}
