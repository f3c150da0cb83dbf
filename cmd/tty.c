/*
 * The terminal subscriber. There is at most one live progress line, at the bottom, without a newline; every
 * other line first takes it away and the next progress event brings it back.
 */
#include "cmd/tty.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cmd/out.h"
#include "lib/escape.h"
#include "lib/units.h"

#define REDRAW_NS	UINT64_C(200000000)
#define PLAIN_NS	UINT64_C(10000000000)
#define WIDTH_MAX	500u
#define LINE_BYTES	FAILURE_BYTES
#define FAILURE_WAIT_MS 1000

struct tty {
	const struct haul_config *cfg;
	enum progress_mode progress; /* TTY, PLAIN or OFF */
	bool person;		     /* somebody watches: a terminal that is not given to JSON */
	bool colour;
	bool live;	    /* a progress line stands on the terminal */
	uint64_t next_ns;   /* not before */
	struct metrics now; /* the last progress */
	uint64_t rate;
};

struct line {
	char text[LINE_BYTES];
	size_t len;
};

__attribute__((format(printf, 2, 3))) static void add(struct line *l, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(l->text + l->len, sizeof l->text - l->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		l->len += (size_t)n < sizeof l->text - l->len ? (size_t)n : sizeof l->text - l->len - 1;
}

static void add_escaped(struct line *l, const char *text, size_t len)
{
	escape_text(l->text + l->len, sizeof l->text - l->len, text, len);
	l->len += strlen(l->text + l->len);
}

static void add_text(struct line *l, const char *text)
{
	add_escaped(l, text, strlen(text));
}

static void add_size(struct line *l, uint64_t n)
{
	char text[UNITS_SIZE_BYTES];
	units_show_size(text, n);
	add(l, "%s", text);
}

static void add_duration(struct line *l, uint64_t s)
{
	if (s >= 86400)
		add(l, "%" PRIu64 "d%02" PRIu64 "h", s / 86400, s / 3600 % 24);
	else if (s >= 3600)
		add(l, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64, s / 3600, s / 60 % 60, s % 60);
	else
		add(l, "%" PRIu64 ":%02" PRIu64, s / 60, s % 60);
}

static void say(const char *text, size_t len)
{
	(void)out_write(STDERR_FILENO, text, len, 0);
}

static void clear_live(struct tty *t)
{
	if (t->live)
		say("\r\033[K", 4);
	t->live = false;
}

static void finish_line(struct tty *t, struct line *l)
{
	if (t->live)
		clear_live(t);
	if (l->len > sizeof l->text - 2)
		l->len = sizeof l->text - 2;
	l->text[l->len++] = '\n';
	say(l->text, l->len);
}

static unsigned width(void)
{
	struct winsize w;
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) != 0 || w.ws_col == 0)
		return 80;
	return w.ws_col < WIDTH_MAX ? w.ws_col : WIDTH_MAX;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Whole file content that need not travel any more. */
static uint64_t finished(const struct metrics *m)
{
	uint64_t n = m->acked + m->skipped_bytes;
	return m->total_final && n > m->total ? m->total : n;
}

static void format_progress(const struct tty *t, struct line *l)
{
	const struct metrics *m = &t->now;
	uint64_t have = finished(m), wire = larger(m->wire_out, m->wire_in);

	if (m->total_final && m->total)
		add(l, "%3u%%  ", (unsigned)((double)have * 100 / (double)m->total));
	add_size(l, have);
	if (m->total > have || m->total_final) {
		add(l, " of ");
		add_size(l, m->total);
		add(l, m->total_final ? "" : "+");
	}
	add(l, "  ");
	add_size(l, t->rate);
	add(l, "/s");
	if (m->level > 0 && wire && m->bytes > wire)
		add(l, "  x%.1f", (double)m->bytes / (double)wire);
	if (m->total_final && t->rate && m->total > have) {
		add(l, "  ETA ");
		add_duration(l, (m->total - have) / t->rate + 1);
	}
	if (m->blocked != BLOCKED_NONE)
		add(l, "  waits for %s", blocked_on_name(m->blocked));
	if (m->reconnects)
		add(l, "  %" PRIu64 " reconnect%s", m->reconnects, m->reconnects == 1 ? "" : "s");
}

static void draw_progress(struct tty *t)
{
	struct line body = {.len = 0}, l = {.len = 0};
	unsigned columns = width();

	format_progress(t, &body);
	/* the last column stays free: some terminals wrap as soon as it is written */
	if (body.len > columns - 1)
		body.text[columns - 1] = '\0';
	add(&l, "\r%s\033[K", body.text);
	say(l.text, l.len);
	t->live = true;
}

static void on_progress(struct tty *t, const struct event *ev)
{
	t->now = *ev->u.progress.m;
	t->rate = ev->u.progress.rate;
	if (t->progress == PROGRESS_OFF || ev->t_ns < t->next_ns)
		return;
	if (t->progress == PROGRESS_TTY) {
		draw_progress(t);
		t->next_ns = ev->t_ns + REDRAW_NS;
	} else {
		struct line l = {.len = 0};
		add(&l, "haul: ");
		format_progress(t, &l);
		finish_line(t, &l);
		t->next_ns = ev->t_ns + PLAIN_NS;
	}
}

/* The plan of a dry run is what was asked for: it goes to standard output. */
static void on_planned(struct tty *t, const struct event *ev)
{
	struct line l = {.len = 0};
	add_escaped(&l, ev->u.file.path, ev->u.file.path_len);
	clear_live(t);
	printf("%.*s\n", (int)(l.len < sizeof l.text ? l.len : sizeof l.text - 1), l.text);
}

static void on_file(struct tty *t, const struct event *ev)
{
	enum file_state state = ev->u.file.state;
	bool good = state == FILE_COMMITTED, bad = !good && state != FILE_SKIPPED;
	int from = state == FILE_COMMITTED ? 1 : state == FILE_SKIPPED ? 2 : t->person ? 0 : 1;
	struct line l = {.len = 0};

	if (state == FILE_PLANNED)
		on_planned(t, ev);
	if (state == FILE_PLANNED || t->cfg->verbose < from)
		return;
	if (bad)
		add(&l, "%shaul: ", t->colour ? "\033[31m" : "");
	add_escaped(&l, ev->u.file.path, ev->u.file.path_len);
	if (!good)
		add(&l, ": %s", file_state_name(state));
	if (ev->u.file.why) {
		add(&l, ": ");
		add_text(&l, ev->u.file.why);
	}
	if (ev->u.file.sys)
		add(&l, ": %s", strerror(ev->u.file.sys));
	if (bad && t->colour)
		add(&l, "\033[m");
	finish_line(t, &l);
}

/* One line "haul: text" about the link or a warning. */
__attribute__((format(printf, 2, 3))) static void note(struct tty *t, const char *fmt, ...)
{
	char text[1024];
	struct line l = {.len = 0};
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	add(&l, "haul: ");
	add_text(&l, text);
	finish_line(t, &l);
}

static void on_warn(struct tty *t, const struct event *ev)
{
	const char *subject = ev->u.warn.subject;
	note(t, "%s%s%s", subject ? subject : "", subject ? ": " : "",
	     ev->u.warn.text ? ev->u.warn.text : "");
}

static void on_link(struct tty *t, const struct event *ev)
{
	if (ev->type == EV_CONNECT && t->cfg->verbose > 1)
		note(t, "connected to %s", ev->u.connect.peer ? ev->u.connect.peer : "the peer");
	else if (ev->type == EV_DISCONNECT)
		note(t, "connection lost: %s", ev->u.disconnect.cause ? ev->u.disconnect.cause : "closed");
	else if (ev->type == EV_RETRY && (ev->u.retry.attempt <= 1 || t->cfg->verbose > 1))
		note(t, "%s; next attempt in %.1f s", ev->u.retry.cause ? ev->u.retry.cause : "no connection",
		     (double)ev->u.retry.delay_ms / 1000);
	else if (ev->type == EV_RESUME)
		note(t, "connected again, %" PRIu64 " bytes sent once more", ev->u.resume.replayed_bytes);
}

static void add_count(struct line *l, const char *what, uint64_t n)
{
	if (n)
		add(l, ", %" PRIu64 " %s", n, what);
}

static void print_summary(struct tty *t, const struct metrics *m, int status, double seconds)
{
	struct line l = {.len = 0};
	add(&l, "haul: %" PRIu64 " file%s, ", m->files, m->files == 1 ? "" : "s");
	add_size(&l, m->bytes);
	add(&l, " in %.1f s (", seconds);
	add_size(&l, seconds > 0 ? (uint64_t)((double)m->bytes / seconds) : 0);
	add(&l, "/s), ");
	add_size(&l, larger(m->wire_out, m->wire_in));
	add(&l, " on the wire");
	add_count(&l, "skipped", m->skipped);
	add_count(&l, "failed", m->failed);
	add_count(&l, "vanished", m->vanished);
	add_count(&l, "changed", m->changed);
	add_count(&l, m->reconnects == 1 ? "reconnect" : "reconnects", m->reconnects);
	if (status == 0 && m->files && !m->durable)
		add(&l, "; not forced to stable storage");
	finish_line(t, &l);
}

static void print_stats(struct tty *t, const struct metrics *m)
{
	struct line l = {.len = 0};
	add(&l, "haul: waited");
	for (int i = BLOCKED_SOURCE; i <= BLOCKED_DISK; i++)
		add(&l, "%s %s %.1f s", i == BLOCKED_SOURCE ? "" : ",", blocked_on_name((enum blocked_on)i),
		    (double)m->wait_ns[i] / 1e9);
	finish_line(t, &l);

	l.len = 0;
	add(&l, "haul: %" PRIu64 " entries; skipped ", m->entries);
	add_size(&l, m->skipped_bytes);
	add(&l, "; wire out ");
	add_size(&l, m->wire_out);
	add(&l, ", in ");
	add_size(&l, m->wire_in);
	add(&l, "; sent again ");
	add_size(&l, m->resent_bytes);
	add(&l, ", met again ");
	add_size(&l, m->dup_bytes);
	finish_line(t, &l);
}

static void print_sandbox(struct tty *t, const struct metrics *m)
{
	struct line l = {.len = 0};
	add(&l, "haul: sandbox: ");
	if (m->sandbox_abi)
		add(&l, "Landlock ABI %u", m->sandbox_abi);
	else
		add(&l, "no Landlock");
	if (m->sandbox_calls)
		add(&l, ", %u system calls", m->sandbox_calls);
	else
		add(&l, ", any system call");
	finish_line(t, &l);
}

static void on_done(struct tty *t, const struct event *ev)
{
	clear_live(t);
	if (t->person || t->cfg->stats)
		print_summary(t, ev->u.done.m, ev->u.done.status, ev->u.done.seconds);
	if (t->cfg->stats)
		print_stats(t, ev->u.done.m);
	if (t->cfg->stats || t->cfg->verbose)
		print_sandbox(t, ev->u.done.m);
}

static void on_dry_run(const struct event *ev)
{
	struct line l = {.len = 0};
	add(&l, "would send %" PRIu64 " file%s, ", ev->u.plan.files, ev->u.plan.files == 1 ? "" : "s");
	add_size(&l, ev->u.plan.bytes);
	printf("%s (%" PRIu64 " bytes)\n", l.text, ev->u.plan.bytes);
}

void tty_event(void *ctx, const struct event *ev)
{
	struct tty *t = ctx;
	if (t->cfg->quiet)
		return;
	switch (ev->type) {
	case EV_PROGRESS:
		on_progress(t, ev);
		break;
	case EV_FILE:
		on_file(t, ev);
		break;
	case EV_WARN:
		if (t->person || t->cfg->verbose)
			on_warn(t, ev);
		break;
	case EV_CONNECT:
	case EV_DISCONNECT:
	case EV_RETRY:
	case EV_RESUME:
		if (t->person || t->cfg->verbose)
			on_link(t, ev);
		break;
	case EV_STATE:
		if (t->cfg->verbose > 2)
			note(t, "state %s to %s%s%s", ev->u.state.from, ev->u.state.to,
			     ev->u.state.why ? ": " : "", ev->u.state.why ? ev->u.state.why : "");
		break;
	case EV_PLAN:
		if (t->cfg->dry_run)
			on_dry_run(ev);
		break;
	case EV_DONE:
		on_done(t, ev);
		break;
	default:
		break;
	}
}

struct tty *tty_open(const struct haul_config *cfg)
{
	struct tty *t = calloc(1, sizeof *t);
	const char *term = getenv("TERM"), *no_colour = getenv("NO_COLOR");
	if (!t)
		return NULL;
	bool terminal = isatty(STDERR_FILENO);
	bool smart = terminal && term && *term && strcmp(term, "dumb") != 0;
	t->cfg = cfg;
	t->person = terminal && !(cfg->json && !*cfg->json);
	t->colour = smart && !(no_colour && *no_colour);
	t->progress = cfg->progress;
	if (t->progress == PROGRESS_AUTO)
		t->progress = t->person && smart ? PROGRESS_TTY : PROGRESS_OFF;
	return t;
}

void tty_close(struct tty *t)
{
	if (t)
		clear_live(t);
	free(t);
}

size_t failure_text(char out[static FAILURE_BYTES], const struct haul_err *err)
{
	struct line l = {.len = 0};
	add(&l, "haul: ");
	if (*err->subject) {
		add_text(&l, err->subject);
		add(&l, ": ");
	}
	if (*err->why)
		add_text(&l, err->why);
	else if (err->rc == HAUL_SIGNAL)
		add(&l, "ended by signal %d; state kept", err->signal);
	else
		add(&l, "%s", haul_rc_text(err->rc));
	if (err->sys)
		add(&l, ": %s", strerror(err->sys));
	add(&l, "\n");
	/* it holds subject and why even if each byte takes four, so the newline is there */
	memcpy(out, l.text, l.len + 1);
	return l.len;
}

void report_failure(const struct haul_err *err)
{
	char text[FAILURE_BYTES];
	if (err->rc != HAUL_OK)
		(void)out_write(STDERR_FILENO, text, failure_text(text, err), FAILURE_WAIT_MS);
}
