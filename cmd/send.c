/* haul send: sources to a receiver, dialled or waited for. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/filteropts.h"
#include "cmd/help.h"
#include "cmd/keyopts.h"
#include "cmd/opts.h"
#include "cmd/report.h"
#include "cmd/subcommands.h"
#include "lib/clock.h"
#include "lib/entropy.h"
#include "lib/lockfile.h"
#include "lib/operand.h"
#include "lib/porter.h"
#include "lib/sender.h"
#include "lib/serve.h"

static bool is_stream(const struct options *o)
{
	return o->cfg.from_cmd || (o->source_count == 1 && strcmp(o->operands[0], "-") == 0);
}

static struct sender_setup setup_of(const struct options *o)
{
	return (struct sender_setup){
		.cfg = &o->cfg,
		.sources = o->operands,
		.source_count = is_stream(o) ? 0 : o->source_count,
		.stream = is_stream(o),
		.handoff_fd = -1,
		.signal_fd = -1,
	};
}

/* Sessions the receiver has forgotten, in a row, without anything gained between. */
#define RESTARTS_MAX 5u

/* The receiver was started anew: what it has committed is skipped, what it has begun is continued. */
static void restart(struct report *report, uint8_t id[static 16])
{
	struct event ev = {.type = EV_RESUME};
	ev.u.resume.verified = true;
	event_emit(&report->bus, &ev);
	entropy_fill(id, 16);
}

/* What is left of --deadline: it counts from the start of the run, waiting for the lock and all. */
static uint64_t time_left(const struct haul_config *cfg, uint64_t started_ms)
{
	uint64_t gone = clock_now_ms() - started_ms;
	if (cfg->deadline_ms == DURATION_INF)
		return DURATION_INF;
	return cfg->deadline_ms > gone ? cfg->deadline_ms - gone : 0;
}

static int take_lock(const struct options *o, int signal_fd, struct haul_err *err)
{
	const struct haul_config *cfg = &o->cfg;
	uint64_t wait_ms = cfg->lock_wait_ms < cfg->deadline_ms ? cfg->lock_wait_ms : cfg->deadline_ms;
	int lock = -1;
	if (cfg->lock_file)
		lockfile_take(cfg->lock_file, o->peer ? o->peer : cfg->listen, wait_ms, signal_fd, &lock,
			      err);
	return lock;
}

/* One session after another while the receiver keeps forgetting them and files can be read again. */
static int push(const struct options *o, struct cron *cron, struct haul_err *err)
{
	struct endpoint dial;
	if (endpoint_parse_peer(o->peer, &dial, err) != HAUL_OK)
		return -1;
	struct report report;
	struct session_outcome out = {0};
	struct sender_setup setup = setup_of(o);
	struct haul_config cfg = o->cfg;
	uint64_t started_ms = clock_now_ms();
	uint8_t id[16];
	entropy_fill(id, sizeof id);
	if (report_open(&report, &o->cfg, id, "send", cron, err) != HAUL_OK) {
		endpoint_free(&dial);
		return -1;
	}
	setup.cfg = &cfg;
	setup.bus = &report.bus;
	setup.session_id = id;
	setup.dial = &dial;
	setup.signal_fd = signals_open();
	struct metrics before = {0};
	int lock = take_lock(o, setup.signal_fd, &out.err);
	uint64_t kept = 0; /* of files under way, at most: it grows when a session left something behind */
	for (unsigned barren = 0; out.err.rc == HAUL_OK; barren++) {
		cfg.deadline_ms = time_left(&o->cfg, started_ms);
		sender_run(&setup, &out);
		bool gained = out.metrics.files || out.metrics.kept_bytes > kept;
		if (gained)
			kept = out.metrics.kept_bytes;
		session_add_metrics(&out.metrics, &before);
		if (before.reconnects && out.err.rc == HAUL_CONNECT)
			out.err.rc = HAUL_LINK_LOST; /* it was there before */
		if (!out.session_gone || setup.stream || barren >= RESTARTS_MAX)
			break;
		barren = gained ? 0 : barren;
		setup.key_worked = true; /* who forgets a session has been asked for it */
		before = out.metrics;
		before.reconnects++;
		restart(&report, id);
		haul_err_clear(&out.err);
	}
	if (out.session_gone && setup.stream) {
		haul_err_clear(&out.err);
		haul_fail(&out.err, HAUL_NO_RESUME, 0, o->peer,
			  "the receiver no longer has this stream, and the ring no longer its beginning; "
			  "start it again");
	}
	int status = report_close(&report, &out);
	if (lock >= 0)
		close(lock);
	porter_stop();
	endpoint_free(&dial);
	*err = out.err;
	return status;
}

/* In the process of the one session that a listening sender serves. */
static int serve_one(void *ctx, struct serve_session *s)
{
	const struct options *o = ctx;
	struct report report;
	struct session_outcome out = {0};
	struct sender_setup setup = setup_of(o);
	if (report_open(&report, &o->cfg, s->id, "send", NULL, &out.err) != HAUL_OK) {
		report_failure(&out.err);
		return haul_exit_status(&out.err);
	}
	setup.bus = &report.bus;
	setup.session_id = s->id;
	setup.first = s->first;
	report.beside = s->beside;
	setup.handoff_fd = s->handoff_fd;
	setup.signal_fd = signals_open();
	sender_run(&setup, &out);
	return report_close(&report, &out);
}

static int wait_for_receiver(struct options *o, struct haul_err *err)
{
	o->cfg.once = true;
	struct sender_setup s = setup_of(o);
	struct serve_setup serve = {.cfg = &o->cfg,
				    .role = ROLE_SENDER,
				    .session = serve_one,
				    .sources = s.sources,
				    .source_count = s.source_count,
				    .ctx = o};
	int lock = take_lock(o, -1, err);
	int status = err->rc == HAUL_OK ? serve_at(&serve, err) : -1;
	if (lock >= 0)
		close(lock);
	return status;
}

/* What arrives under one name would be one file in the end, and with --remove-source-files the others gone. */
static enum haul_rc check_names(const struct options *o, struct haul_err *err)
{
	size_t earlier = 0, i = operand_clash(o->cfg.chdir_to, o->operands, o->source_count, &earlier);
	if (i < o->source_count)
		return haul_fail(err, HAUL_USAGE, 0, o->operands[i], "arrives under the same name as %s",
				 o->operands[earlier]);
	for (i = 0; o->cfg.remove_source_files && o->source_count > 1 && i < o->source_count; i++)
		if (operand_is_content(o->operands[i]))
			return haul_fail(err, HAUL_USAGE, 0, o->operands[i],
					 "with --remove-source-files what is in a directory is sent alone");
	return HAUL_OK;
}

int send_main(int argc, char **argv)
{
	struct options o;
	struct haul_err err = {0};
	int status = -1;
	enum haul_rc rc = opts_parse(&o, CMD_SEND, argc, argv, &err);
	struct cron *cron = cron_open(&o, argv);
	if (rc == HAUL_OK) {
		if (o.help) {
			help_subcommand(stdout, CMD_SEND);
			status = 0;
		} else if (check_names(&o, &err) == HAUL_OK && filteropts_load(&o, &err) == HAUL_OK &&
			   keyopts_load(&o, &err) == HAUL_OK) {
			status = o.peer ? push(&o, cron, &err) : wait_for_receiver(&o, &err);
		}
	}
	if (status < 0) {
		if (!cron)
			report_failure(&err);
		status = haul_exit_status(&err);
	}
	cron_close(cron, &err);
	opts_free(&o);
	return die_by(&err, status);
}
