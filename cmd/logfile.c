/* Each event makes one line, and each line is one write. */
#include "cmd/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cmd/out.h"
#include "lib/escape.h"

#define LINE_BYTES 20480u /* a path of PATH_MAX whose bytes all take four, and words around it */

struct logfile {
	int fd, verbose;
	char line[LINE_BYTES];
};

struct line {
	char *out;
	size_t cap, len; /* goes on counting when it is full, like snprintf */
};

static char *rest(const struct line *l)
{
	return l->len < l->cap ? l->out + l->len : NULL;
}

static size_t room(const struct line *l)
{
	return l->len < l->cap ? l->cap - l->len : 0;
}

__attribute__((format(printf, 2, 3))) static void add(struct line *l, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(rest(l), room(l), fmt, ap);
	va_end(ap);
	l->len += n > 0 ? (size_t)n : 0;
}

static void add_escaped(struct line *l, const char *text, size_t len)
{
	l->len += escape_text(rest(l), room(l), text, len);
}

static void add_text(struct line *l, const char *text)
{
	if (text)
		add_escaped(l, text, strlen(text));
}

/* ": text", when there is any. */
static void add_why(struct line *l, const char *text)
{
	if (!text || !*text)
		return;
	add(l, ": ");
	add_text(l, text);
}

/* NULL: not logged. */
static const char *level_of(const struct event *ev, int verbose)
{
	switch (ev->type) {
	case EV_HELLO:
	case EV_CONNECT:
	case EV_RESUME:
		return "info";
	case EV_PLAN:
		return ev->u.plan.final ? "info" : NULL;
	case EV_DISCONNECT:
	case EV_RETRY:
	case EV_WARN:
		return "warn";
	case EV_FILE:
		if (ev->u.file.state == FILE_COMMITTED || ev->u.file.state == FILE_DELETED)
			return "info";
		if (ev->u.file.state == FILE_SKIPPED)
			return verbose >= 1 ? "info" : NULL;
		return ev->u.file.state == FILE_FAILED ? "error" : "warn";
	case EV_STATE:
	case EV_LEVEL:
	case EV_PRESSURE:
		return verbose >= 2 ? "debug" : NULL;
	case EV_ERROR:
		return "error";
	case EV_DONE:
		return ev->u.done.status ? "error" : "info";
	default:
		return NULL;
	}
}

static void head(struct line *l, const struct event *ev, const char *level, uint64_t realtime_ms)
{
	time_t sec = (time_t)(realtime_ms / 1000);
	struct tm tm;
	char ts[40] = "";
	if (gmtime_r(&sec, &tm))
		strftime(ts, sizeof ts, "%Y-%m-%dT%H:%M:%S", &tm);
	add(l, "%s.%03" PRIu64 "Z %s ", ts, realtime_ms % 1000, level);
	for (size_t i = 0; i < 4; i++)
		add(l, "%02x", ev->id[i]);
	add(l, " ");
}

static void add_file(struct line *l, const struct event *ev)
{
	add_escaped(l, ev->u.file.path, ev->u.file.path_len);
	add(l, ": %s", file_state_name(ev->u.file.state));
	if (ev->u.file.state == FILE_COMMITTED)
		add(l, ", %" PRIu64 " bytes", ev->u.file.size);
	add_why(l, ev->u.file.why);
	if (ev->u.file.sys)
		add_why(l, strerror(ev->u.file.sys));
}

static void add_error(struct line *l, const struct haul_err *err)
{
	if (*err->subject) {
		add_text(l, err->subject);
		add(l, ": ");
	}
	add_text(l, *err->why ? err->why : haul_rc_text(err->rc));
	if (err->sys)
		add_why(l, strerror(err->sys));
}

static void add_done(struct line *l, const struct event *ev)
{
	const struct metrics *m = ev->u.done.m;
	add(l,
	    "done, exit status %d: %" PRIu64 " files, %" PRIu64 " bytes, %" PRIu64 " on the wire, %" PRIu64
	    " skipped, %" PRIu64 " failed, %" PRIu64 " reconnects, %.3f s",
	    ev->u.done.status, m->files, m->bytes, m->wire_out > m->wire_in ? m->wire_out : m->wire_in,
	    m->skipped, m->failed, m->reconnects, ev->u.done.seconds);
	if (m->deleted)
		add(l, ", %" PRIu64 " deleted", m->deleted);
	if (ev->u.done.status == 0 && m->files && !m->durable)
		add(l, ", not forced to stable storage");
}

static void add_link(struct line *l, const struct event *ev)
{
	switch (ev->type) {
	case EV_CONNECT:
		add(l, "connected");
		add_why(l, ev->u.connect.peer);
		break;
	case EV_DISCONNECT:
		add(l, "connection lost");
		add_why(l, ev->u.disconnect.cause);
		break;
	case EV_RETRY:
		add_text(l, ev->u.retry.cause ? ev->u.retry.cause : "no connection");
		add(l, "; attempt %u in %.1f s", ev->u.retry.attempt + 1,
		    (double)ev->u.retry.delay_ms / 1000);
		break;
	default:
		add(l, "resumed at %" PRIu64 ", %" PRIu64 " bytes sent once more", ev->u.resume.from,
		    ev->u.resume.replayed_bytes);
	}
}

static void add_event(struct line *l, const struct event *ev)
{
	switch (ev->type) {
	case EV_HELLO:
		add(l, "haul %s %s, %s", ev->u.hello.version, ev->u.hello.role, ev->u.hello.mode);
		break;
	case EV_PLAN:
		add(l, "%" PRIu64 " files, %" PRIu64 " bytes in all", ev->u.plan.files, ev->u.plan.bytes);
		break;
	case EV_STATE:
		add(l, "state %s to %s", ev->u.state.from, ev->u.state.to);
		add_why(l, ev->u.state.why);
		break;
	case EV_LEVEL:
		add(l, "level %d to %d", ev->u.level.from, ev->u.level.to);
		add_why(l, ev->u.level.why);
		break;
	case EV_PRESSURE:
		add(l, "waits for %s since %" PRIu64 " ms", ev->u.pressure.on, ev->u.pressure.since_ms);
		break;
	case EV_FILE:
		add_file(l, ev);
		break;
	case EV_WARN:
		add_text(l, ev->u.warn.subject);
		add(l, "%s", ev->u.warn.subject ? ": " : "");
		add_text(l, ev->u.warn.text);
		break;
	case EV_ERROR:
		add_error(l, ev->u.error.err);
		break;
	case EV_DONE:
		add_done(l, ev);
		break;
	default:
		add_link(l, ev);
	}
}

size_t logfile_format(char *out, size_t cap, const struct event *ev, int verbose, uint64_t realtime_ms)
{
	struct line l = {.out = out, .cap = cap};
	const char *level = level_of(ev, verbose);
	if (!level)
		return 0;
	head(&l, ev, level, realtime_ms);
	add_event(&l, ev);
	return l.len;
}

void logfile_event(void *ctx, const struct event *ev)
{
	struct logfile *l = ctx;
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	uint64_t now_ms = (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
	size_t n = logfile_format(l->line, sizeof l->line - 1, ev, l->verbose, now_ms);
	if (n == 0)
		return;
	if (n > sizeof l->line - 2)
		n = strlen(l->line);
	l->line[n++] = '\n';
	(void)out_write(l->fd, l->line, n, 0);
}

enum haul_rc logfile_open(const char *path, int verbose, struct logfile **out, struct haul_err *err)
{
	struct logfile *l = calloc(1, sizeof *l);
	if (!l)
		return haul_fail(err, HAUL_NO_MEMORY, 0, path, "out of memory");
	l->verbose = verbose;
	/* non-blocking keeps a FIFO without a reader from hanging the start */
	l->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
		     0600);
	if (l->fd < 0) {
		int sys = errno;
		free(l);
		return haul_fail(err, HAUL_IO, sys, path, "cannot open for --log-file");
	}
	*out = l;
	return HAUL_OK;
}

void logfile_close(struct logfile *l)
{
	if (!l)
		return;
	close(l->fd);
	free(l);
}
