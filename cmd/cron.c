/*
 * While it runs, standard error is a pipe to ourselves: programs inherit it, and what they write is read
 * whenever an event comes by, which is several times a second. Events for --json without a file go to the true
 * one; then nothing is kept back.
 */
#include "cmd/cron.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/out.h"
#include "cmd/verdict.h"
#include "lib/clock.h"

#define RECONNECT_MS  (UINT64_C(3600) * 1000)
#define DEADLINE_MS   (UINT64_C(6) * 3600 * 1000)
#define SAID_PIPE     (1 << 20)
#define SAID_READS    64 /* at a time: a program that never stops talking stops nothing */
#define BLOCK_WAIT_MS 1000

struct cron {
	struct verdict v;
	uint64_t start_ns;
	int true_stderr; /* -1: it was left alone */
	int said;	 /* our end of the pipe */
	bool json_there; /* events go to standard error: `done` is the last word */
};

void cron_imply(struct options *o)
{
	if (!o->cfg.cron)
		return;
	o->cfg.quiet = true;
	if (!o->given[OPTION_lock])
		o->cfg.lock_file = "";
	if (!o->given[OPTION_reconnect])
		o->cfg.reconnect_ms = RECONNECT_MS;
	if (!o->given[OPTION_deadline])
		o->cfg.deadline_ms = DEADLINE_MS;
}

/* Failing is fine: then programs talk for themselves. */
static void take_stderr(struct cron *c)
{
	int p[2];
	if (pipe2(p, O_CLOEXEC) < 0)
		return;
	fcntl(p[1], F_SETPIPE_SZ, SAID_PIPE);
	c->true_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	if (c->true_stderr < 0 || fcntl(p[0], F_SETFL, O_NONBLOCK) < 0 || dup2(p[1], STDERR_FILENO) < 0) {
		close(p[0]);
		if (c->true_stderr >= 0)
			close(c->true_stderr);
		c->true_stderr = -1;
	} else {
		c->said = p[0];
	}
	close(p[1]);
}

static void hear_programs(struct cron *c)
{
	char text[16384];
	ssize_t n;
	for (int i = 0; c->said >= 0 && i < SAID_READS && (n = read(c->said, text, sizeof text)) > 0; i++)
		verdict_said(&c->v, text, (size_t)n);
}

struct cron *cron_open(const struct options *o, char **argv)
{
	struct cron *c = o->cfg.cron ? calloc(1, sizeof *c) : NULL;
	if (!c)
		return NULL;
	c->v.command = (const char *const *)argv;
	c->v.started = time(NULL);
	c->start_ns = clock_now_ns();
	c->true_stderr = c->said = -1;
	c->json_there = o->cfg.json && (!*o->cfg.json || strcmp(o->cfg.json, "fd:2") == 0);
	if (!c->json_there)
		take_stderr(c);
	return c;
}

void cron_event(void *ctx, const struct event *ev)
{
	struct cron *c = ctx;
	verdict_event(&c->v, ev);
	hear_programs(c);
}

static void write_all(const char *text, size_t len)
{
	uint64_t until = clock_now_ms() + BLOCK_WAIT_MS;
	for (size_t at = 0; at < len;) {
		uint64_t now = clock_now_ms();
		ssize_t n =
			out_write(STDERR_FILENO, text + at, len - at, now < until ? (int)(until - now) : 0);
		if (n < 0 || (n == 0 && now >= until))
			return;
		at += (size_t)n;
	}
}

static void print_block(struct cron *c)
{
	char *text = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);
	if (!to)
		return;
	verdict_print(to, &c->v);
	if (fclose(to) == 0)
		write_all(text, len);
	free(text);
}

void cron_close(struct cron *c, const struct haul_err *err)
{
	if (!c)
		return;
	hear_programs(c);
	if (c->true_stderr >= 0) {
		dup2(c->true_stderr, STDERR_FILENO);
		close(c->true_stderr);
		close(c->said);
	}
	c->v.err = *err;
	c->v.ended = time(NULL);
	c->v.seconds = (double)(clock_now_ns() - c->start_ns) / 1e9;
	if (err->rc != HAUL_OK && !(c->json_there && c->v.over))
		print_block(c);
	free(c);
}
