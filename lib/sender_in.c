#include "lib/sender_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "wire/err.h"

/* ---- events ---- */

/* The first thing that went wrong is what the last words name. */
static void note_first(struct sender *s, const char *path, enum file_state state, int sys, const char *why)
{
	if (state == FILE_FAILED || state == FILE_VANISHED || state == FILE_CHANGED)
		haul_fail(&s->first_bad, HAUL_PARTIAL, sys, path, "%s", why ? why : "failed");
}

static void file_event(struct sender *s, const struct source_file *f, enum file_state state, int sys,
		       const char *why)
{
	struct event ev = {.type = EV_FILE};
	ev.u.file.path = f->path;
	ev.u.file.path_len = f->path_len;
	ev.u.file.size = f->stamp.size;
	ev.u.file.state = state;
	ev.u.file.sys = sys;
	ev.u.file.why = why;
	note_first(s, f->path, state, sys, why);
	event_emit(s->set.bus, &ev);
}

void sender_problem_event(struct sender *s, const struct haul_err *p, enum file_state state)
{
	struct event ev = {.type = EV_FILE};
	ev.u.file.path = p->subject;
	ev.u.file.path_len = strlen(p->subject);
	ev.u.file.state = state;
	ev.u.file.sys = p->sys;
	ev.u.file.why = p->why;
	note_first(s, p->subject, state, p->sys, p->why);
	event_emit(s->set.bus, &ev);
}

void sender_note_worst(struct sender *s, enum haul_rc rc)
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

void sender_count_failed(struct sender *s, const struct source_file *f, enum haul_rc rc, int sys,
			 const char *why)
{
	s->m->failed++;
	sender_note_worst(s, rc == HAUL_DIGEST ? HAUL_DIGEST : HAUL_PARTIAL);
	file_event(s, f, FILE_FAILED, sys, why);
}

void sender_count_vanished(struct sender *s, const struct source_file *f)
{
	if (s->cfg->vanished == VANISHED_IGNORE)
		return;
	s->m->vanished++;
	sender_note_worst(s, s->cfg->vanished == VANISHED_ERROR ? HAUL_PARTIAL : HAUL_CHANGED);
	file_event(s, f, FILE_VANISHED, ENOENT, "vanished before it could be read");
}

void sender_count_gone(struct sender *s, const struct source_file *f, int sys)
{
	if (sys == ENOENT)
		sender_count_vanished(s, f);
	else
		sender_count_failed(s, f, HAUL_PARTIAL, sys, "cannot be read");
}

/* ---- answers ---- */

enum haul_rc sender_malformed(struct sender *s, const char *what, uint64_t at)
{
	struct haul_err err = {.at = at};
	haul_fail(&err, HAUL_PROTOCOL, 0, NULL, "%s (%llu)", what, (unsigned long long)at);
	return engine_abort(&s->engine, &err);
}

/* An entry that will not be committed, for a reason of the receiver's. */
static void entry_failed(struct sender *s, struct source_file *f, uint16_t code, uint16_t sys)
{
	enum haul_rc rc = haul_rc_from_reason(code);
	s->refused += rc == HAUL_POLICY;
	s->one_only |= code == REASON_ONE_ONLY;
	s->busy += rc == HAUL_BUSY;
	int shown = sys;
	const char *why = haul_reason_text(code, &shown);
	sender_count_failed(s, f, rc, shown, why);
	sender_close_entry(s, f);
}

/* The receiver wants it, but a dry run only says so. */
static void would_send(struct sender *s, struct source_file *f)
{
	s->m->entries++;
	s->would_files++;
	s->would_bytes += f->type == ENTRY_FILE ? f->stamp.size : 0;
	file_event(s, f, FILE_PLANNED, 0, NULL);
	f->landed = true;
	sender_close_entry(s, f);
}

/* Takes it out of the table without freeing it: it will be offered under a new id. */
static void send_again(struct sender *s, struct source_file *f)
{
	*sender_entry_slot(s, f->id) = NULL;
	s->open_count--;
	s->open_meta -= f->meta_len;
	if (f->type == ENTRY_LINK)
		sender_settle_link(s, f);
	while (s->first_open < s->next_id && !*sender_entry_slot(s, s->first_open))
		s->first_open++;
	s->again[s->again_count++] = f;
}

/* Removing one name changes the status of all others: only content and mtime must be what they were. */
static int stamp_of_link(struct sender *s, const struct source_file *f, struct stamp *now)
{
	int fd = walk_open(s->walk, f->source, f->source_path, now);
	if (fd < 0)
		return fd;
	close(fd);
	struct stamp as = *now;
	as.ctime_s = f->stamp.ctime_s;
	as.ctime_ns = f->stamp.ctime_ns;
	return stamp_equal(&as, &f->stamp) ? 0 : -ESTALE;
}

/* --remove-source-files: it is committed over there, so it may go here. */
static void remove_source(struct sender *s, const struct source_file *f)
{
	bool link = f->type == ENTRY_LINK;
	if (!s->cfg->remove_source_files || (f->type != ENTRY_FILE && !link))
		return;
	struct stamp as = f->stamp;
	int rc = link ? stamp_of_link(s, f, &as) : 0;
	if (rc == 0)
		rc = walk_remove(s->walk, f->source, f->source_path, &as);
	if (rc == 0)
		return;
	sender_note_worst(s, HAUL_PARTIAL);
	struct event ev = {.type = EV_WARN};
	ev.u.warn.subject = f->path;
	ev.u.warn.text = rc == -ESTALE ? "changed since it was sent: not removed" : "cannot be removed";
	event_emit(s->set.bus, &ev);
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
		s->m->entries += entry_counts(f->type);
		f->landed = true;
		sender_close_entry(s, f);
		return;
	case 1:
		if (s->cfg->dry_run) {
			would_send(s, f);
			return;
		}
		f->wanted = true;
		if (f->type == ENTRY_FILE)
			sender_make_ready(s, f);
		return;
	case 5: /* as a file of its own */
		send_again(s, f);
		return;
	case 4: /* it waits for the last HAVE */
		f->wanted = f->listing = true;
		return;
	case 3:
		remove_source(s, f);
		s->m->entries += entry_counts(f->type);
		sender_close_entry(s, f);
		return;
	default:
		entry_failed(s, f, v->code, v->sys);
	}
}

static enum haul_rc on_want(struct sender *s, struct span body)
{
	struct frame_want want;
	if (!frame_get_want(body, &want) || !want.count)
		return sender_malformed(s, "malformed WANT", body.n);
	struct rd r = rd_init(want.verdicts.p, want.verdicts.n);
	for (uint64_t i = 0; i < want.count; i++) {
		struct frame_verdict v;
		uint64_t id = want.first + i; /* one that wraps is nobody's */
		struct source_file *f = sender_entry_of(s, id);
		bool content = f && (f->type == ENTRY_FILE || f->type == ENTRY_STREAM);
		if (!frame_get_part_verdict(&r, &v) || !f || f->wanted || v.action > 5 ||
		    (v.action == 1 && !content) || (v.action == 3 && content) ||
		    (v.action == 4 && f->type != ENTRY_FILE) || (v.action == 5 && f->type != ENTRY_LINK))
			return sender_malformed(s, "a verdict on an entry that was not offered", id);
		if (v.action == 4 && s->cfg->dry_run) /* what is not there would be sent */
			return sender_malformed(s, "a file to be compared in a dry run", id);
		apply_verdict(s, f, &v);
	}
	return rd_done(&r) ? HAUL_OK : sender_malformed(s, "bytes behind the verdicts of WANT", r.n);
}

static enum haul_rc on_have(struct sender *s, struct span body)
{
	struct frame_have h;
	struct source_file *f;
	if (!frame_get_have(body, &h) || h.digests.n % DIGEST_BYTES || !h.digests.n ||
	    h.digests.n / DIGEST_BYTES > HAVE_DIGESTS_MAX)
		return sender_malformed(s, "malformed HAVE", body.n);
	f = sender_entry_of(s, h.file);
	if (!f || !f->listing ||
	    !source_file_have(f, (uint32_t)s->cfg->chunk, h.first, h.digests.p, h.digests.n / DIGEST_BYTES))
		return sender_malformed(s, "HAVE for a file or chunk that was not asked about", h.file);
	f->seed = h.seed;
	if (h.last) {
		f->listing = false;
		sender_make_ready(s, f);
	}
	return HAUL_OK;
}

static enum haul_rc on_need(struct sender *s, struct span body)
{
	struct frame_need n;
	struct source_file *f;
	if (!frame_get_need(body, &n))
		return sender_malformed(s, "malformed NEED", body.n);
	f = sender_entry_of(s, n.file);
	if (!f || f->listing || !source_file_need(f, (uint32_t)s->cfg->chunk, n.chunk))
		return sender_malformed(s, "NEED for a chunk that was not kept, or once more", n.chunk);
	if (f->told && f->status != READ_OK) {
		f->need_count = 0;
		return HAUL_OK; /* its END has said that it is not complete */
	}
	if (f->submitted && s->current != f) { /* its END is out, or about to be: another one follows */
		f->submitted = f->told = false;
		sender_make_ready(s, f);
	}
	return HAUL_OK;
}

/* The receiver dropped it because this side said it changed, vanished or could not be read. */
static void not_sent(struct sender *s, struct source_file *f)
{
	if (f->status == READ_VANISHED) {
		sender_count_vanished(s, f);
	} else if (f->status == READ_FAILED) {
		s->unreadable++;
		s->why_unreadable = f->sys;
		sender_count_failed(s, f, HAUL_PARTIAL, f->sys, "cannot be read");
	} else {
		s->m->changed++;
		sender_note_worst(s, HAUL_CHANGED);
		file_event(s, f, FILE_CHANGED, 0, "changed while it was read, each time");
	}
	sender_close_entry(s, f);
}

static void apply_outcome(struct sender *s, struct source_file *f, const struct frame_outcome *o)
{
	bool changed = f->status == READ_CHANGED;
	if (o->code == REASON_UNCHANGED) {
		s->m->skipped++;
		s->m->skipped_bytes += f->stamp.size;
		s->m->kept_bytes -= f->kept;
		s->m->entries++;
		f->landed = true;
		file_event(s, f, FILE_SKIPPED, 0, NULL);
		sender_close_entry(s, f);
	} else if (o->code == 0) {
		remove_source(s, f);
		f->landed = true;
		s->m->files++;
		s->m->committed_bytes += f->stamp.size;
		s->m->committed_kept += f->kept;
		s->m->entries++;
		file_event(s, f, FILE_COMMITTED, 0, NULL);
		sender_close_entry(s, f);
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
	if (!frame_get_result(body, &result) || !result.count)
		return sender_malformed(s, "malformed RESULT", body.n);
	struct rd r = rd_init(result.results.p, result.results.n);
	for (unsigned i = 0; i < result.count; i++) {
		struct frame_outcome o;
		struct source_file *f;
		if (!frame_get_part_outcome(&r, &o) || !(f = sender_entry_of(s, o.file)) || !f->told)
			return sender_malformed(s, "a result for a file that is not open", i);
		apply_outcome(s, f, &o);
	}
	return rd_done(&r) ? HAUL_OK : sender_malformed(s, "bytes behind the results of RESULT", r.n);
}

static enum haul_rc on_stop(struct sender *s, struct span body)
{
	struct frame_stop stop;
	if (!frame_get_stop(body, &stop))
		return sender_malformed(s, "malformed STOP", body.n);
	haul_fail(&s->stop, haul_rc_from_reason(stop.code), stop.sys,
		  s->set.dial ? s->set.dial->text : "the receiver", "%.*s", (int)stop.text.n,
		  (const char *)stop.text.p);
	s->stopped = true;
	return HAUL_OK;
}

static enum haul_rc on_summary(struct sender *s, struct span body)
{
	struct frame_summary summary;
	if (!frame_get_summary(body, &summary))
		return sender_malformed(s, "malformed SUMMARY", body.n);
	if (!s->stopped && summary.files != s->m->files)
		return sender_malformed(s, "the receiver committed another number of files than it said",
					summary.files);
	if (summary.failed > s->m->failed) { /* told by nothing else: directories at the very end */
		struct event ev = {.type = EV_WARN};
		ev.u.warn.text = "the mode or times of some directories could not be set";
		event_emit(s->set.bus, &ev);
		s->m->failed = summary.failed;
		sender_note_worst(s, HAUL_PARTIAL);
	}
	if (summary.unset) {
		struct event ev = {.type = EV_WARN};
		char text[128];
		snprintf(text, sizeof text,
			 "%llu owners or attributes could not be set at the receiver, and were only to be "
			 "tried",
			 (unsigned long long)summary.unset);
		ev.u.warn.text = text;
		event_emit(s->set.bus, &ev);
	}
	s->m->durable = summary.durable == 1;
	if (!s->m->durable && !s->cfg->dry_run && s->m->files) {
		struct event ev = {.type = EV_WARN};
		ev.u.warn.text =
			"the receiver did not sync (--sync=none): a power cut may take back what was sent";
		event_emit(s->set.bus, &ev);
	}
	if (s->cfg->dry_run) {
		struct event ev = {.type = EV_PLAN};
		ev.u.plan.strays = s->deletion.found;
		ev.u.plan.files = s->would_files;
		ev.u.plan.bytes = s->would_bytes;
		ev.u.plan.final = true;
		event_emit(s->set.bus, &ev);
	}
	s->engine.settled = true;
	engine_finish(&s->engine);
	return HAUL_OK;
}

enum haul_rc sender_message(void *self, struct link_event *ev)
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
	case F_STRAYS:
		rc = sender_on_strays(s, body);
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
