/*
 * JSON lines. A line that does not fit the descriptor now waits in a bounded queue; when that is full the
 * newest events are dropped, counted, and told by a `gap` before the next one that fits. The queue holds
 * whole lines, except that the first may have been written in part.
 */
#include "cmd/json.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmd/out.h"
#include "lib/clock.h"
#include "lib/escape.h"

#define QUEUE_BYTES 65536u
#define LINE_BYTES  49152u /* a path of PATH_MAX, six bytes each and once more in base64, fits */

struct json_log {
	int fd; /* -1: the reader is gone */
	bool own;
	unsigned done_wait_ms;
	uint64_t dropped;
	size_t queued;
	char queue[QUEUE_BYTES];
	char line[LINE_BYTES];
};

/* A line under construction: goes on counting when it is full, like snprintf. */
struct text {
	char *out;
	size_t cap, len;
	bool comma;
};

static char *rest(const struct text *t)
{
	return t->len < t->cap ? t->out + t->len : NULL;
}

static size_t room(const struct text *t)
{
	return t->len < t->cap ? t->cap - t->len : 0;
}

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(rest(t), room(t), fmt, ap);
	va_end(ap);
	t->len += n > 0 ? (size_t)n : 0;
}

static void key(struct text *t, const char *name)
{
	add(t, "%s\"%s\":", t->comma ? "," : "", name);
	t->comma = true;
}

static void number(struct text *t, const char *name, uint64_t value)
{
	key(t, name);
	add(t, "%" PRIu64, value);
}

static void boolean(struct text *t, const char *name, bool value)
{
	key(t, name);
	add(t, value ? "true" : "false");
}

static void string_n(struct text *t, const char *name, const char *value, size_t len)
{
	key(t, name);
	add(t, "\"");
	t->len += escape_json(rest(t), room(t), value, len);
	add(t, "\"");
}

/* A member that is left out when it has nothing to say. */
static void string(struct text *t, const char *name, const char *value)
{
	if (value)
		string_n(t, name, value, strlen(value));
}

static void open_object(struct text *t, const char *name)
{
	if (name)
		key(t, name);
	add(t, "{");
	t->comma = false;
}

static void close_object(struct text *t)
{
	add(t, "}");
	t->comma = true;
}

static void head(struct text *t, const struct event *ev, uint64_t realtime_ms)
{
	time_t sec = (time_t)(realtime_ms / 1000);
	struct tm tm;
	char ts[40] = "";

	if (gmtime_r(&sec, &tm))
		strftime(ts, sizeof ts, "%Y-%m-%dT%H:%M:%S", &tm);
	string(t, "type", event_type_name(ev->type));
	key(t, "t");
	add(t, "%" PRIu64 ".%06" PRIu64, ev->t_ns / 1000000000, ev->t_ns / 1000 % 1000000);
	key(t, "ts");
	add(t, "\"%s.%03" PRIu64 "Z\"", ts, realtime_ms % 1000);
	key(t, "id");
	add(t, "\"");
	for (size_t i = 0; i < sizeof ev->id; i++)
		add(t, "%02x", ev->id[i]);
	add(t, "\"");
}

static void file_members(struct text *t, const struct event *ev)
{
	const char *path = ev->u.file.path;
	size_t len = ev->u.file.path_len;
	string_n(t, "path", path, len);
	if (!utf8_valid(path, len)) {
		key(t, "path_b64");
		add(t, "\"");
		t->len += escape_base64(rest(t), room(t), path, len);
		add(t, "\"");
	}
	number(t, "size", ev->u.file.size);
	string(t, "state", file_state_name(ev->u.file.state));
	if (ev->u.file.sys)
		number(t, "errno", (uint64_t)ev->u.file.sys);
	string(t, "why", ev->u.file.why);
}

static void progress_members(struct text *t, const struct event *ev)
{
	const struct metrics *m = ev->u.progress.m;
	number(t, "bytes", m->bytes);
	number(t, "wire", m->wire_out);
	number(t, "wire_in", m->wire_in);
	number(t, "acked", m->acked);
	number(t, "total", m->total);
	boolean(t, "total_final", m->total_final);
	number(t, "rate", ev->u.progress.rate);
	key(t, "level");
	add(t, "%d", m->level);
	string(t, "blocked", blocked_on_name(m->blocked));
}

/* "subject: why: errno text", as report_failure prints it, before escaping */
static void reason_member(struct text *t, const struct haul_err *err)
{
	char reason[HAUL_SUBJECT_MAX + HAUL_WHY_MAX + 256];
	snprintf(reason, sizeof reason, "%s%s%s%s%s", err->subject, *err->subject ? ": " : "",
		 *err->why ? err->why : haul_rc_text(err->rc), err->sys ? ": " : "",
		 err->sys ? strerror(err->sys) : "");
	string(t, "reason", reason);
}

/* Whether a failure's subject is a file; for others it is an address, an option or a command. */
static bool is_about_file(enum haul_rc rc)
{
	return rc == HAUL_NO_SOURCE || rc == HAUL_POLICY || rc == HAUL_IO || rc == HAUL_NO_SPACE ||
	       rc == HAUL_DIGEST || rc == HAUL_PARTIAL || rc == HAUL_CHANGED || rc == HAUL_DELETE_GUARD;
}

static void error_members(struct text *t, const struct event *ev)
{
	const struct haul_err *err = ev->u.error.err, *also = ev->u.error.also;
	string(t, "code", haul_rc_name(err->rc));
	reason_member(t, err);
	string(t, "side", ev->u.error.side);
	boolean(t, "terminal", ev->u.error.terminal);
	boolean(t, "again", strcmp(haul_rc_class(err->rc), "again") == 0);
	if (*err->subject && is_about_file(err->rc))
		string(t, "path", err->subject);
	if (also && also->rc != HAUL_OK) {
		open_object(t, "also");
		string(t, "code", haul_rc_name(also->rc));
		reason_member(t, also);
		close_object(t);
	}
}

static void done_members(struct text *t, const struct event *ev)
{
	const struct metrics *m = ev->u.done.m;
	uint64_t ms = ev->u.done.seconds > 0 ? (uint64_t)(ev->u.done.seconds * 1000) : 0;
	number(t, "exit", (uint64_t)ev->u.done.status);
	string(t, "class", ev->u.done.class);
	number(t, "files", m->files);
	number(t, "bytes", m->bytes);
	number(t, "wire", m->wire_out);
	number(t, "wire_in", m->wire_in);
	number(t, "skipped", m->skipped);
	number(t, "failed", m->failed);
	number(t, "vanished", m->vanished);
	number(t, "changed", m->changed);
	number(t, "entries", m->entries);
	number(t, "skipped_bytes", m->skipped_bytes);
	number(t, "kept_bytes", m->kept_bytes);
	number(t, "reconnects", m->reconnects);
	number(t, "resent_bytes", m->resent_bytes);
	number(t, "dup_bytes", m->dup_bytes);
	boolean(t, "durable", m->durable);
	key(t, "seconds");
	add(t, "%" PRIu64 ".%03" PRIu64, ms / 1000, ms % 1000);
}

static void members(struct text *t, const struct event *ev)
{
	switch (ev->type) {
	case EV_HELLO:
		string(t, "role", ev->u.hello.role);
		string(t, "version", ev->u.hello.version);
		string(t, "mode", ev->u.hello.mode);
		break;
	case EV_PLAN:
		number(t, "files", ev->u.plan.files);
		number(t, "bytes", ev->u.plan.bytes);
		boolean(t, "final", ev->u.plan.final);
		break;
	case EV_STATE:
		string(t, "from", ev->u.state.from);
		string(t, "to", ev->u.state.to);
		string(t, "why", ev->u.state.why);
		break;
	case EV_RESUME:
		number(t, "from", ev->u.resume.from);
		number(t, "replayed_bytes", ev->u.resume.replayed_bytes);
		boolean(t, "verified", ev->u.resume.verified);
		break;
	case EV_CONNECT:
		string(t, "peer", ev->u.connect.peer);
		number(t, "attempt", ev->u.connect.attempt);
		break;
	case EV_DISCONNECT:
		string(t, "cause", ev->u.disconnect.cause);
		string(t, "side", ev->u.disconnect.side);
		break;
	case EV_RETRY:
		string(t, "cause", ev->u.retry.cause);
		number(t, "attempt", ev->u.retry.attempt);
		number(t, "delay_ms", ev->u.retry.delay_ms);
		break;
	case EV_FILE:
		file_members(t, ev);
		break;
	case EV_PROGRESS:
		progress_members(t, ev);
		break;
	case EV_PRESSURE:
		string(t, "on", ev->u.pressure.on);
		number(t, "since_ms", ev->u.pressure.since_ms);
		break;
	case EV_LEVEL:
		key(t, "from");
		add(t, "%d", ev->u.level.from);
		key(t, "to");
		add(t, "%d", ev->u.level.to);
		string(t, "why", ev->u.level.why);
		break;
	case EV_GAP:
		number(t, "dropped", ev->u.gap.dropped);
		break;
	case EV_WARN:
		string(t, "text", ev->u.warn.text);
		string(t, "subject", ev->u.warn.subject);
		break;
	case EV_ERROR:
		error_members(t, ev);
		break;
	case EV_DONE:
		done_members(t, ev);
		break;
	case EV_TYPE_COUNT:
		break;
	}
}

size_t json_format(char *out, size_t cap, const struct event *ev, uint64_t realtime_ms)
{
	struct text t = {.out = out, .cap = cap};
	open_object(&t, NULL);
	head(&t, ev, realtime_ms);
	members(&t, ev);
	close_object(&t);
	return t.len;
}

static enum haul_rc open_descriptor(const char *target, struct json_log *j, struct haul_err *err)
{
	char *end;
	errno = 0;
	long fd = strtol(target + 3, &end, 10);
	if (target[3] < '0' || target[3] > '9' || *end || errno || fd > INT32_MAX)
		return haul_fail(err, HAUL_USAGE, 0, target, "not a descriptor: --json takes fd:N");
	int flags = fcntl((int)fd, F_GETFL);
	if (flags < 0 || out_was_closed((int)fd))
		return haul_fail(err, HAUL_USAGE, 0, target, "--json cannot use it: descriptor %ld is closed",
				 fd);
	if ((flags & O_ACCMODE) == O_RDONLY)
		return haul_fail(err, HAUL_USAGE, 0, target,
				 "--json cannot use it: it is open for reading only");
	j->fd = (int)fd;
	return HAUL_OK;
}

/* Non-blocking is ours alone here, and keeps a FIFO without a reader from hanging the start. */
static int open_file(const char *target, struct haul_err *err)
{
	int fd = open(target, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0666);
	if (fd < 0)
		haul_fail(err, HAUL_IO, errno, target, "cannot open for --json");
	return fd;
}

static enum haul_rc open_target(const char *target, struct json_log *j, struct haul_err *err)
{
	if (!*target) {
		j->fd = STDERR_FILENO;
		return HAUL_OK;
	}
	if (strncmp(target, "fd:", 3) == 0)
		return open_descriptor(target, j, err);
	j->fd = open_file(target, err);
	j->own = j->fd >= 0;
	return err->rc;
}

enum haul_rc json_share(const char **target, char name[static 16], struct haul_err *err)
{
	if (!*target || !**target || strncmp(*target, "fd:", 3) == 0)
		return HAUL_OK;
	int fd = open_file(*target, err);
	if (fd < 0)
		return err->rc;
	snprintf(name, 16, "fd:%d", fd);
	*target = name;
	return HAUL_OK;
}

enum haul_rc json_open(const char *target, unsigned done_wait_ms, struct json_log **out, struct haul_err *err)
{
	struct json_log *j = calloc(1, sizeof *j);
	if (!j)
		return haul_fail(err, HAUL_NO_MEMORY, 0, NULL, "out of memory");
	j->fd = -1;
	j->done_wait_ms = done_wait_ms;
	enum haul_rc rc = open_target(target, j, err);
	if (rc) {
		json_close(j);
		return rc;
	}
	*out = j;
	return HAUL_OK;
}

void json_close(struct json_log *j)
{
	if (j && j->own && j->fd >= 0)
		close(j->fd);
	free(j);
}

static void switch_off(struct json_log *j)
{
	if (j->own)
		close(j->fd);
	j->fd = -1;
	j->queued = 0;
}

/* Writes from the queue, a line a write, until it is empty, the reader is slow, or the deadline is over. */
static void flush(struct json_log *j, uint64_t deadline_ms)
{
	while (j->fd >= 0 && j->queued) {
		uint64_t now = deadline_ms ? clock_now_ms() : 0;
		size_t len = (size_t)((char *)memchr(j->queue, '\n', j->queued) - j->queue) + 1;
		ssize_t n = out_write(j->fd, j->queue, len, now < deadline_ms ? (int)(deadline_ms - now) : 0);
		if (n < 0) {
			switch_off(j);
			return;
		}
		if (n == 0 && now >= deadline_ms)
			return;
		j->queued -= (size_t)n;
		memmove(j->queue, j->queue + n, j->queued);
	}
}

static uint64_t realtime_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void enqueue(struct json_log *j, const char *line, size_t len)
{
	memcpy(j->queue + j->queued, line, len);
	j->queue[j->queued + len] = '\n';
	j->queued += len + 1;
}

/* Queues ev, and before it what was lost; false if both do not fit together. */
static bool queue_event(struct json_log *j, const struct event *ev)
{
	char gap_line[256];
	size_t gap_len = 0;
	uint64_t now = realtime_ms();
	size_t len = json_format(j->line, sizeof j->line, ev, now);

	if (j->dropped) {
		struct event gap = {.type = EV_GAP, .t_ns = ev->t_ns, .u.gap.dropped = j->dropped};
		memcpy(gap.id, ev->id, sizeof gap.id);
		gap_len = json_format(gap_line, sizeof gap_line, &gap, now);
	}
	if (len >= sizeof j->line || len + gap_len + 2 > QUEUE_BYTES - j->queued)
		return false;
	if (gap_len)
		enqueue(j, gap_line, gap_len);
	enqueue(j, j->line, len);
	j->dropped = 0;
	return true;
}

void json_event(void *ctx, const struct event *ev)
{
	struct json_log *j = ctx;
	uint64_t deadline_ms = ev->type == EV_DONE ? clock_now_ms() + j->done_wait_ms : 0;

	if (j->fd < 0)
		return;
	flush(j, deadline_ms);
	if (j->fd >= 0 && !queue_event(j, ev))
		j->dropped++;
	flush(j, deadline_ms);
}
