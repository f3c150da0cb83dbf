/* haul recv: into a directory, a file or standard output; listening, or dialling a sender. */
#include <stdio.h>
#include <string.h>

#include "cmd/auth.h"
#include "cmd/help.h"
#include "cmd/opts.h"
#include "cmd/report.h"
#include "cmd/subcommands.h"
#include "lib/auth.h"
#include "lib/entropy.h"
#include "lib/porter.h"
#include "lib/receiver.h"
#include "lib/serve.h"
#include "lib/user.h"

/* What a peer of --peers may do: its own directory, less room, no overwriting. */
static struct options confined(const struct options *o, const uint8_t owner[static OWNER_BYTES],
			       char dir[static PATH_MAX_BYTES + 1])
{
	struct options mine = *o;
	const struct auth_rights *rights = auth_rights_of(o->cfg.auth, owner);
	if (!rights)
		return mine;
	if (rights->max_bytes < mine.cfg.quota)
		mine.cfg.quota = rights->max_bytes;
	if (rights->no_overwrite)
		mine.cfg.overwrite = OVERWRITE_NO;
	if (rights->dir && o->dir) {
		bool below = rights->dir[0] != '/';
		snprintf(dir, PATH_MAX_BYTES + 1, "%s%s%s", below ? o->dir : "", below ? "/" : "",
			 rights->dir);
		mine.dir = dir;
	}
	return mine;
}

static int run_session(const struct options *o, const uint8_t id[static 16], struct receiver_setup *setup,
		       struct haul_err *err)
{
	struct report report;
	struct session_outcome out = {0};
	if (report_open(&report, &o->cfg, id, "recv", &out.err) != HAUL_OK) {
		report_failure(&out.err);
		return haul_exit_status(&out.err);
	}
	setup->cfg = &o->cfg;
	setup->dir = o->dir;
	setup->bus = &report.bus;
	if (!setup->session_id)
		setup->session_id = id;
	setup->signal_fd = signals_open();
	receiver_run(setup, &out);
	*err = out.err;
	return report_close(&report, &out);
}

/* In the process of a session that the listener has admitted. */
static int serve_one(void *ctx, struct serve_session *s)
{
	char dir[PATH_MAX_BYTES + 1];
	struct options o = confined(ctx, s->owner, dir);
	struct receiver_setup setup = {.first = s->first, .handoff_fd = s->handoff_fd};
	struct haul_err err = {0};
	setup.resume = s->resume;
	setup.session_id = s->bound_id;
	setup.owner = o.cfg.auth ? s->owner : NULL;
	if (s->subdir[0])
		setup.subdir = s->subdir;
	return run_session(&o, s->id, &setup, &err);
}

static bool known(void *ctx, const uint8_t id[static 16], const uint8_t owner[static OWNER_BYTES],
		  const char *subdir)
{
	char dir[PATH_MAX_BYTES + 1];
	struct options o = confined(ctx, owner, dir);
	return receiver_knows(&o.cfg, o.dir, subdir[0] ? subdir : NULL, id);
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
	int status = run_session(o, id, &setup, err);
	porter_stop();
	endpoint_free(&dial);
	return status;
}

static int serve(struct options *o, struct haul_err *err)
{
	struct serve_setup serve = {.cfg = &o->cfg,
				    .role = ROLE_RECEIVER,
				    .session = serve_one,
				    .known = known,
				    .dir = o->dir,
				    .ctx = o};
	/* one stream has one place to go to */
	o->cfg.once = o->cfg.once || o->cfg.output || o->cfg.to_cmd;
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
		} else if (auth_load(&o, &err) == HAUL_OK) {
			status = o.peer ? pull(&o, &err) : serve(&o, &err);
		}
	}
	if (status < 0) {
		report_failure(&err);
		status = haul_exit_status(&err);
	}
	auth_unload(&o);
	opts_free(&o);
	return die_by(&err, status);
}
