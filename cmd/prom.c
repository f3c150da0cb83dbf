#include "cmd/prom.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TEXT_BYTES  8192u
#define SUCCESS_KEY "haul_last_success_timestamp_seconds"

struct prom {
	char *path, *temp;
	struct prom_state state;
	uint64_t next_ns; /* of the session's clock */
};

/* The counters of struct metrics: name, member, help. */
#define COUNTERS(X)                                                                                          \
	X(files_committed, files, "Regular files and streams committed")                                     \
	X(files_skipped, skipped, "Regular files that were there already")                                   \
	X(entries_failed, failed, "Entries that failed")                                                     \
	X(files_vanished, vanished, "Files that vanished while the source was read")                         \
	X(files_changed, changed, "Files that changed while they were read")                                 \
	X(entries_deleted, deleted, "Entries removed at the receiver")                                       \
	X(entries, entries, "Entries of any type")                                                           \
	X(bytes, bytes, "Raw bytes of file content moved")                                                   \
	X(skipped_bytes, skipped_bytes, "Raw bytes that were there already")                                 \
	X(acked_bytes, acked, "Raw bytes the receiver has taken")                                            \
	X(wire_sent_bytes, wire_out, "Bytes written to connections")                                         \
	X(wire_received_bytes, wire_in, "Bytes read from connections")                                       \
	X(reconnects, reconnects, "Connections that were lost and resumed")                                  \
	X(resent_bytes, resent_bytes, "Raw bytes sent more than once")                                       \
	X(duplicate_bytes, dup_bytes, "Raw bytes that arrived more than once and were dropped")              \
	X(stale_acks, stale_acks, "Acknowledgements that told nothing new")

struct text {
	char *out;
	size_t cap, len; /* goes on counting when it is full, like snprintf */
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	bool fits = t->len < t->cap;
	int n = vsnprintf(fits ? t->out + t->len : NULL, fits ? t->cap - t->len : 0, fmt, ap);
	va_end(ap);
	t->len += n > 0 ? (size_t)n : 0;
}

static void describe(struct text *t, const char *name, const char *type, const char *help)
{
	add(t, "# HELP haul_%s %s.\n# TYPE haul_%s %s\n", name, help, name, type);
}

static void gauge(struct text *t, const char *name, const char *help, uint64_t value)
{
	describe(t, name, "gauge", help);
	add(t, "haul_%s %" PRIu64 "\n", name, value);
}

static void add_counters(struct text *t, const struct metrics *m)
{
#define X(name, member, help)                                                                                \
	describe(t, #name "_total", "counter", help);                                                        \
	add(t, "haul_" #name "_total %" PRIu64 "\n", m->member);
	COUNTERS(X)
#undef X
	describe(t, "wait_seconds_total", "counter", "Time spent waiting, by what for");
	for (int i = BLOCKED_SOURCE; i <= BLOCKED_DISK; i++)
		add(t, "haul_wait_seconds_total{on=\"%s\"} %.3f\n", blocked_on_name((enum blocked_on)i),
		    (double)m->wait_ns[i] / 1e9);
}

static void add_gauges(struct text *t, const struct prom_state *s)
{
	gauge(t, "known_bytes", "Raw bytes of the source known so far", s->m.total);
	gauge(t, "known_bytes_final", "1 once the source is scanned to its end", s->m.total_final);
	gauge(t, "rate_bytes", "Raw bytes a second of late", s->rate);
	describe(t, "compression_level", "gauge", "zstd level in use, 0 is stored");
	add(t, "haul_compression_level %d\n", s->m.level);
	gauge(t, "running", "1 while the run goes on", s->running);
	gauge(t, "start_timestamp_seconds", "Unix time at which the run began", s->started_s);
}

size_t prom_format(char *out, size_t cap, const struct prom_state *s)
{
	struct text t = {.out = out, .cap = cap};
	add_counters(&t, &s->m);
	add_gauges(&t, s);
	if (!s->running) {
		gauge(&t, "exit_status", "Exit status of the run", (uint64_t)s->status);
		describe(&t, "duration_seconds", "gauge", "How long the run took");
		add(&t, "haul_duration_seconds %.3f\n", s->seconds);
	}
	if (s->success_s)
		gauge(&t, "last_success_timestamp_seconds",
		      "Unix time at which a run last ended with status 0", s->success_s);
	return t.len;
}

uint64_t prom_last_success(const char *text)
{
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, SUCCESS_KEY " ", sizeof SUCCESS_KEY) == 0)
			return strtoull(line + sizeof SUCCESS_KEY, NULL, 10);
		if (!*line)
			break;
	}
	return 0;
}

static int write_temp(const struct prom *p, const char *text, size_t n)
{
	unlink(p->temp); /* left by a process that had our number */
	int fd = open(p->temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	ssize_t put = write(fd, text, n);
	int rc = put == (ssize_t)n ? 0 : put < 0 ? -errno : -ENOSPC;
	if (close(fd) < 0 && rc == 0)
		rc = -errno;
	return rc;
}

static int publish(const struct prom *p)
{
	char text[TEXT_BYTES];
	size_t n = prom_format(text, sizeof text, &p->state);
	if (n >= sizeof text)
		return -EFBIG;
	int rc = write_temp(p, text, n);
	if (rc == 0 && rename(p->temp, p->path) < 0)
		rc = -errno;
	if (rc < 0)
		unlink(p->temp);
	return rc;
}

static uint64_t success_before(const char *path)
{
	char text[TEXT_BYTES];
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t n = read(fd, text, sizeof text - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return prom_last_success(text);
}

enum haul_rc prom_open(const char *path, struct prom **out, struct haul_err *err)
{
	struct prom *p = calloc(1, sizeof *p);
	if (p)
		p->path = strdup(path);
	if (!p || !p->path || asprintf(&p->temp, "%s.%d.tmp", path, (int)getpid()) < 0) {
		if (p)
			p->temp = NULL;
		prom_close(p);
		return haul_fail(err, HAUL_NO_MEMORY, 0, path, "out of memory");
	}
	p->state.running = true;
	p->state.started_s = (uint64_t)time(NULL);
	p->state.success_s = success_before(path);
	int rc = publish(p);
	if (rc < 0) {
		prom_close(p);
		return haul_fail(err, HAUL_IO, -rc, path, "cannot write for --metrics");
	}
	*out = p;
	return HAUL_OK;
}

void prom_event(void *ctx, const struct event *ev)
{
	struct prom *p = ctx;
	if (ev->type == EV_PROGRESS) {
		p->state.m = *ev->u.progress.m;
		p->state.rate = ev->u.progress.rate;
		if (ev->t_ns < p->next_ns)
			return;
		p->next_ns = ev->t_ns + PROM_EVERY_MS * UINT64_C(1000000);
		(void)publish(p);
	} else if (ev->type == EV_DONE) {
		p->state.m = *ev->u.done.m;
		p->state.running = false;
		p->state.status = ev->u.done.status;
		p->state.seconds = ev->u.done.seconds;
		p->state.rate = 0;
		if (p->state.status == 0)
			p->state.success_s = (uint64_t)time(NULL);
		(void)publish(p);
	}
}

void prom_close(struct prom *p)
{
	if (!p)
		return;
	free(p->path);
	free(p->temp);
	free(p);
}
