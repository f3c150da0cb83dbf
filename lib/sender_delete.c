/*
 * --delete at the sender: when all is committed and nothing went wrong, the receiver counts what it has that
 * was not offered; the guard decides; then the receiver removes it. A dry run has it named instead.
 */
#include "lib/sender_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/strays.h"

enum { MODE_COUNT = 1, MODE_LIST = 2, MODE_REMOVE = 3 };

/* Of few entries every one is a large part: the percentage is for more than so many. */
#define FEW	  20u
#define COUNT_MAX (UINT64_MAX / 128)

static void warn(struct sender *s, const char *subject, const char *text)
{
	struct event ev = {.type = EV_WARN};
	ev.u.warn.subject = subject;
	ev.u.warn.text = text;
	event_emit(s->set.bus, &ev);
}

static void ask(struct sender *s, uint8_t mode)
{
	uint8_t b[64];
	struct wr w = wr_init(b, sizeof b);
	const char *empty;
	frame_put_delete(&w, &(struct frame_delete){mode, walk_roots(s->walk, &empty), s->deletion.found});
	if (!sender_outbox_fields(s, F_DELETE, b, w.n))
		return;
	s->deletion.most = mode == MODE_REMOVE ? s->deletion.found : COUNT_MAX;
	s->deletion.seen = s->deletion.found = 0;
	s->deletion.state = mode == MODE_REMOVE ? DELETE_REMOVING : DELETE_COUNTING;
}

static void begin(struct sender *s)
{
	const char *empty;
	walk_roots(s->walk, &empty);
	s->deletion.state = DELETE_OVER;
	if (walk_filtered(s->walk) || s->worst != HAUL_OK || s->m->failed || s->m->vanished || s->m->changed)
		warn(s, "--delete", "nothing deleted: the scan was not complete, or not everything arrived");
	else if (empty)
		haul_fail(&s->deletion.guard, HAUL_DELETE_GUARD, 0, empty,
			  "delete guard: the source is empty: nothing deleted");
	else
		ask(s, s->cfg->dry_run ? MODE_LIST : MODE_COUNT);
}

bool sender_pump_delete(struct sender *s)
{
	if (!s->cfg->delete_strays || s->stopped)
		return true;
	if (s->deletion.state == DELETE_TO_COME)
		begin(s);
	return s->deletion.state == DELETE_OVER;
}

/* True when the guard lets so many go. */
static bool guard_passes(struct sender *s)
{
	uint64_t n = s->deletion.found, of = s->deletion.seen, percent = s->cfg->max_delete_percent;
	char limit[48];
	if (n > s->cfg->max_delete)
		snprintf(limit, sizeof limit, "%llu", (unsigned long long)s->cfg->max_delete);
	else if (n > FEW && n * 100 > of * percent)
		snprintf(limit, sizeof limit, "%u%%", s->cfg->max_delete_percent);
	else
		return true;
	haul_fail(&s->deletion.guard, HAUL_DELETE_GUARD, 0, s->set.dial ? s->set.dial->text : "the receiver",
		  "delete guard: %llu of %llu entries would be deleted, more than %s: nothing deleted; "
		  "--max-delete=N,P%% raises it",
		  (unsigned long long)n, (unsigned long long)of, limit);
	return false;
}

static void stray_event(struct sender *s, const struct frame_stray *stray)
{
	struct event ev = {.type = EV_FILE};
	char subject[HAUL_SUBJECT_MAX];
	switch (stray->state) {
	case STRAY_FOUND:
		ev.u.file.state = FILE_STRAY;
		break;
	case STRAY_REMOVED:
		ev.u.file.state = FILE_DELETED;
		s->m->deleted++;
		break;
	case STRAY_STAYS:
		snprintf(subject, sizeof subject, "%.*s", (int)stray->path.n, (const char *)stray->path.p);
		warn(s, subject,
		     stray->sys == EXDEV ? "not deleted: something is mounted there"
					 : "not deleted: it holds the state of other transfers");
		return;
	default:
		ev.u.file.state = FILE_FAILED;
		ev.u.file.why = "cannot be deleted";
		s->m->failed++;
		sender_note_worst(s, HAUL_PARTIAL);
		snprintf(subject, sizeof subject, "%.*s", (int)stray->path.n, (const char *)stray->path.p);
		haul_fail(&s->first_bad, HAUL_PARTIAL, stray->sys, subject, "cannot be deleted");
	}
	ev.u.file.path = (const char *)stray->path.p;
	ev.u.file.path_len = stray->path.n;
	ev.u.file.sys = stray->sys;
	event_emit(s->set.bus, &ev);
}

static bool state_fits(const struct sender *s, uint8_t state)
{
	bool removing = s->deletion.state == DELETE_REMOVING;
	return state == STRAY_FOUND ? !removing : state == STRAY_REMOVED ? removing : state <= STRAY_FAILED;
}

/* The last answer is in. */
static void answered(struct sender *s, uint16_t code, uint16_t sys)
{
	bool counting = s->deletion.state == DELETE_COUNTING;
	s->deletion.state = DELETE_OVER;
	if (code) {
		sender_note_worst(s, HAUL_PARTIAL);
		haul_fail(&s->first_bad, HAUL_PARTIAL, sys, "--delete",
			  counting ? "the receiver could not tell what to delete: nothing deleted"
				   : "there is more now than was counted: not everything was deleted");
	} else if (counting && guard_passes(s) && s->deletion.found && !s->cfg->dry_run) {
		ask(s, MODE_REMOVE);
	}
}

enum haul_rc sender_on_strays(struct sender *s, struct span body)
{
	struct frame_strays a;
	struct frame_stray stray;
	bool asked = s->deletion.state == DELETE_COUNTING || s->deletion.state == DELETE_REMOVING;
	if (!frame_get_strays(body, &a) || !asked || a.last > 1 || a.found > a.seen || a.seen > COUNT_MAX ||
	    a.found < s->deletion.found || a.found > s->deletion.most)
		return sender_malformed(s, "malformed STRAYS", a.found);
	s->deletion.seen = a.seen;
	s->deletion.found = a.found;
	struct rd r = rd_init(a.strays.p, a.strays.n);
	while (r.n) {
		if (!frame_get_part_stray(&r, &stray) || !stray.path.n || stray.path.n > PATH_MAX_BYTES ||
		    !state_fits(s, stray.state))
			return sender_malformed(s, "a malformed STRAY", r.n);
		stray_event(s, &stray);
	}
	if (a.last && !s->stopped)
		answered(s, a.code, a.sys);
	return HAUL_OK;
}
