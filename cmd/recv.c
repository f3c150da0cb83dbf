/* haul recv: into a directory, a file or standard output; listening, or dialling a sender. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/help.h"
#include "cmd/keyopts.h"
#include "cmd/opts.h"
#include "cmd/out.h"
#include "cmd/report.h"
#include "cmd/subcommands.h"
#include "lib/auth.h"
#include "lib/entropy.h"
#include "lib/porter.h"
#include "lib/receiver.h"
#include "lib/serve.h"
#include "lib/user.h"

struct place {
	struct options options; /* with what the peer may do */
	char subdir[PATH_MAX_BYTES + 1];
};

/* What a peer of --peers may do: its own directory, less room, no overwriting. Its directory stands before
 * what it asks for; that both are proper names is seen to where they are opened. */
static bool confine(struct place *p, const struct options *o, const uint8_t owner[static OWNER_BYTES],
		    const char *subdir)
{
	const struct peer *rights = auth_peer_of(o->cfg.auth, owner);
	const char *below = "";
	p->options = *o;
	if (rights) {
		if (rights->max_bytes < o->cfg.quota)
			p->options.cfg.quota = rights->max_bytes;
		if (rights->no_overwrite)
			p->options.cfg.overwrite = OVERWRITE_NO;
		if (strcmp(rights->dir, ".") != 0)
			below = rights->dir;
	}
	int n = snprintf(p->subdir, sizeof p->subdir, "%s%s%s", below, *below && *subdir ? "/" : "", subdir);
	return n >= 0 && (size_t)n < sizeof p->subdir;
}

static int run_session(const struct options *o, const uint8_t id[static 16], bool beside,
		       struct receiver_setup setup, struct haul_err *err)
{
	struct report report;
	struct session_outcome out = {0};
	if (report_open(&report, &o->cfg, id, "recv", NULL, &out.err) != HAUL_OK) {
		report_failure(&out.err);
		return haul_exit_status(&out.err);
	}
	report.beside = beside;
	setup.cfg = &o->cfg;
	setup.dir = o->dir;
	setup.bus = &report.bus;
	if (!setup.session_id)
		setup.session_id = id;
	setup.signal_fd = signals_open();
	receiver_run(&setup, &out);
	*err = out.err;
	return report_close(&report, &out);
}

/* In the process of a session that the listener has admitted. */
static int serve_one(void *ctx, struct serve_session *s)
{
	static struct place place; /* of this process, which has one session */
	struct receiver_setup setup = {.first = s->first, .handoff_fd = s->handoff_fd};
	struct haul_err err = {0};
	if (!confine(&place, ctx, s->owner, s->subdir))
		return haul_rc_status(HAUL_POLICY);
	setup.resume = s->resume;
	setup.dry_run = s->dry_run;
	setup.session_id = s->bound_id;
	setup.owner = place.options.cfg.auth ? s->owner : NULL;
	if (place.subdir[0])
		setup.subdir = place.subdir;
	return run_session(&place.options, s->id, s->beside, setup, &err);
}

static bool known(void *ctx, const uint8_t id[static 16], const uint8_t owner[static OWNER_BYTES],
		  const char *subdir)
{
	static struct place p;
	return confine(&p, ctx, owner, subdir) &&
	       receiver_knows(&p.options.cfg, p.options.dir, p.subdir[0] ? p.subdir : NULL, id);
}

static int pull(const struct options *o, struct haul_err *err)
{
	struct endpoint dial;
	if (o->cfg.user && user_become(o->cfg.user, err) != HAUL_OK)
		return -1;
	if (endpoint_parse_peer(o->peer, &dial, err) != HAUL_OK)
		return -1;
	uint8_t id[16];
	entropy_fill(id, sizeof id);
	dial.pull = true;
	struct receiver_setup setup = {
		.dial = &dial, .handoff_fd = -1, .owner = auth_peer_owner(o->cfg.auth)};
	int status = run_session(o, id, false, setup, err);
	porter_stop();
	endpoint_free(&dial);
	return status;
}

/* The sessions have the log open, the listener opens it when it has something to say, which is seldom. */
static void log_notice(const struct haul_config *cfg, const char *text)
{
	struct logfile *log = NULL;
	struct haul_err unheard = {0};
	struct event ev = {.type = EV_WARN};
	ev.u.warn.text = text;
	if (logfile_open(cfg->log_file, cfg->verbose, &log, &unheard) == HAUL_OK)
		logfile_event(log, &ev);
	logfile_close(log);
}

/* For the one who sits before it, and for the log; scripts have the exit status. */
static void notice(void *ctx, const char *text)
{
	const struct haul_config *cfg = &((const struct options *)ctx)->cfg;
	char line[256];
	int n = snprintf(line, sizeof line, "haul: %s\n", text);
	bool watched = isatty(STDERR_FILENO) || cfg->verbose;
	if (!cfg->quiet && watched && !(cfg->json && !*cfg->json) && n > 0 && (size_t)n < sizeof line)
		(void)out_write(STDERR_FILENO, line, (size_t)n, 0);
	if (cfg->log_file)
		log_notice(cfg, text);
}

static enum haul_rc ready(void *ctx, struct haul_err *err)
{
	const struct options *o = ctx;
	return receiver_check(&o->cfg, o->dir, err);
}

static int serve(struct options *o, struct haul_err *err)
{
	struct serve_setup serve = {.cfg = &o->cfg,
				    .role = ROLE_RECEIVER,
				    .session = serve_one,
				    .known = known,
				    .ready = ready,
				    .dir = o->dir,
				    .notice = notice,
				    .ctx = o};
	/* one stream has one place to go to, and a code is for one session */
	o->cfg.once = o->cfg.once || o->cfg.output || o->cfg.to_cmd || o->cfg.code;
	char json[16];
	if (json_share(&o->cfg.json, json, err) != HAUL_OK)
		return -1;
	return serve_at(&serve, err);
}

int recv_main(int argc, char **argv)
{
	struct options o;
	struct haul_err err = {0};
	int status = -1;
	if (opts_parse(&o, CMD_RECV, argc, argv, &err) == HAUL_OK) {
		if (o.help) {
			help_subcommand(stdout, CMD_RECV);
			status = 0;
		} else if (keyopts_load(&o, &err) == HAUL_OK) {
			status = o.peer ? pull(&o, &err) : serve(&o, &err);
		}
	}
	if (status < 0) {
		report_failure(&err);
		status = haul_exit_status(&err);
	}
	opts_free(&o);
	return die_by(&err, status);
}
