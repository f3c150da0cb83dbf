#include "cmd/report.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "cmd/help.h"
#include "lib/auth.h"
#include "lib/clock.h"
#include "lib/keys.h"

int signals_open(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1); /* lib/holder.h */
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void close_all(struct report *r)
{
	tty_close(r->tty);
	json_close(r->json);
	logfile_close(r->log);
	prom_close(r->prom);
}

/* The terminal comes first: it is the one that may be missing. */
static enum haul_rc open_all(struct report *r, const struct haul_config *cfg, struct haul_err *err)
{
	unsigned wait = cfg->grace_ms < 10000 ? (unsigned)cfg->grace_ms : 10000;
	r->tty = r->cron ? NULL : tty_open(cfg);
	if (r->tty)
		event_bus_subscribe(&r->bus, tty_event, r->tty);
	if (r->cron)
		event_bus_subscribe(&r->bus, cron_event, r->cron);
	if (cfg->log_file && logfile_open(cfg->log_file, cfg->verbose, &r->log, err) != HAUL_OK)
		return err->rc;
	if (r->log)
		event_bus_subscribe(&r->bus, logfile_event, r->log);
	if (cfg->metrics && prom_open(cfg->metrics, &r->prom, err) != HAUL_OK)
		return err->rc;
	if (r->prom)
		event_bus_subscribe(&r->bus, prom_event, r->prom);
	if (cfg->json && json_open(cfg->json, wait, &r->json, err) != HAUL_OK)
		return err->rc;
	if (r->json)
		event_bus_subscribe(&r->bus, json_event, r->json);
	return HAUL_OK;
}

enum haul_rc report_open(struct report *r, const struct haul_config *cfg, const uint8_t id[static 16],
			 const char *role, struct cron *cron, struct haul_err *err)
{
	*r = (struct report){.cfg = cfg, .cron = cron, .start_ns = clock_now_ns()};
	event_bus_init(&r->bus, id);
	if (open_all(r, cfg, err) != HAUL_OK) {
		close_all(r);
		return err->rc;
	}
	struct event ev = {.type = EV_HELLO};
	ev.u.hello.role = role;
	ev.u.hello.version = help_release;
	ev.u.hello.mode = auth_mode_name(cfg->auth);
	event_emit(&r->bus, &ev);
	if (cfg->keys && cfg->keys->unlocked) {
		ev = (struct event){.type = EV_WARN};
		ev.u.warn.text = "keys could not be locked in memory (ulimit -l): they may reach the swap";
		event_emit(&r->bus, &ev);
	}
	return HAUL_OK;
}

int report_close(struct report *r, const struct session_outcome *out)
{
	int status = haul_exit_status(&out->err);
	struct event ev = {.type = EV_ERROR};
	if (out->err.rc != HAUL_OK) {
		ev.u.error.err = &out->err;
		ev.u.error.side = out->err_from_peer ? "peer" : "local";
		ev.u.error.terminal = out->err.rc != HAUL_PARTIAL && out->err.rc != HAUL_CHANGED;
		ev.u.error.also = out->also.rc == HAUL_OK ? NULL : &out->also;
		event_emit(&r->bus, &ev);
	}
	ev = (struct event){.type = EV_DONE};
	ev.u.done.status = status;
	ev.u.done.class = haul_rc_class(out->err.rc);
	ev.u.done.m = &out->metrics;
	ev.u.done.seconds = (double)(clock_now_ns() - r->start_ns) / 1e9;
	event_emit(&r->bus, &ev);
	bool last_word = r->cfg->json && !*r->cfg->json;
	/* its end is ours, and a link that is lost is lost to both */
	bool known = out->told || out->err.rc == HAUL_SIGNAL || out->err.rc == HAUL_LINK_LOST;
	last_word |= r->beside && known && !r->cfg->verbose;
	close_all(r);
	if (out->err.rc != HAUL_OK && !last_word && !r->cron)
		report_failure(&out->err);
	return status;
}

int die_by(const struct haul_err *err, int status)
{
	if (err->rc != HAUL_SIGNAL || err->signal <= 0)
		return status;
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, err->signal);
	signal(err->signal, SIG_DFL);
	raise(err->signal);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	return status;
}
