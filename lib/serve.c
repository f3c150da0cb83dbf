#include "lib/serve_impl.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/auth.h"
#include "lib/clock.h"
#include "lib/gate.h"
#include "lib/handoff.h"
#include "lib/sandbox.h"
#include "lib/user.h"

#define EMFILE_PAUSE_MS 100u
/* With a code: wrong ones before it is given up; silence after one; between two that may try. */
#define WRONG_CODES_MAX 3u
#define WRONG_CODE_MS	1000u
#define CODE_EVERY_MS	50u

/* ---- strangers ---- */

/* A code is for two people and one session: before that has begun, three strangers end it. Afterwards the code
 * opens no session any more, and guessing it at this pace is hopeless. */
static void count_wrong_code(struct server *s)
{
	s->quiet_until = clock_now_ms() + WRONG_CODE_MS;
	s->gave_up = ++s->wrong_codes >= WRONG_CODES_MAX && !s->served_one;
	s->done |= s->gave_up;
	serve_notice(s, "somebody tried a wrong code");
}

static void hear(struct server *s, struct stranger *st)
{
	struct wire_err err = {0};
	if (clock_now_ms() < s->quiet_until)
		return;
	struct handoff *h = st->h;
	enum wire_rc rc = handoff_hear(h, &err);
	if (rc == WIRE_OK) {
		st->h = NULL;
		serve_route(s, h);
	} else if (rc != WIRE_MORE) {
		if (h->hs.code.wrong)
			count_wrong_code(s);
		serve_drop(st);
	}
}

static void greet(struct server *s, struct conn conn, const struct origin *from)
{
	struct handoff *h = handoff_new(conn, s->set->cfg, &s->hello);
	if (!h)
		return;
	struct stranger *st = strangers_place(&s->strangers, from);
	serve_drop(st);
	strangers_settle(&s->strangers, st, h, from, clock_now_ms());
	hear(s, st); /* an honest peer has spoken already */
}

static void tell_of_refused(struct server *s, bool at_end)
{
	char text[GATE_TEXT_BYTES];
	if (gate_report(&s->gate, clock_now_ms(), at_end, text))
		serve_notice(s, text);
}

static void accept_all(struct server *s)
{
	for (int i = 0; i < 64; i++) {
		struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
		socklen_t len = sizeof sa;
		int fd = accept4(s->listen_fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0 && serve_make_room(s))
			continue;
		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
				s->accept_at = clock_now_ms() + EMFILE_PAUSE_MS;
			return;
		}
		if (!gate_admits(&s->gate, &sa)) {
			gate_close(fd);
			tell_of_refused(s, false);
			continue;
		}
		conn_tune(fd);
		struct origin from = origin_of(&sa);
		greet(s, (struct conn){.in = fd, .out = fd}, &from);
		if (s->by_code) {
			s->accept_at = clock_now_ms() + CODE_EVERY_MS;
			return;
		}
	}
}

/* ---- the loop ---- */

static void read_signals(struct server *s)
{
	struct signalfd_siginfo si;
	while (read(s->signal_fd, &si, sizeof si) == (ssize_t)sizeof si) {
		if (si.ssi_signo == SIGCHLD || si.ssi_signo == SIGHUP)
			continue;
		bool second = s->signal != 0;
		s->signal = (int)si.ssi_signo;
		if (!second) /* time to drain, and to say so */
			s->kill_at = clock_now_ms() + s->set->cfg->grace_ms + 3000;
		for (size_t i = 0; i < SESSIONS_MAX; i++)
			if (s->child[i].pid)
				kill(s->child[i].pid, second ? SIGKILL : s->signal);
	}
	serve_reap(s);
}

static void turn(struct server *s)
{
	struct pollfd fds[STRANGERS_MAX + 2];
	size_t who[STRANGERS_MAX + 2];
	nfds_t n = 0;
	uint64_t now = clock_now_ms(), at = UINT64_MAX;
	fds[n++] = (struct pollfd){s->signal_fd, POLLIN, 0};
	bool quiet = now < s->quiet_until;
	bool listening = now >= s->accept_at && !quiet && !s->signal;
	fds[n++] = (struct pollfd){listening ? s->listen_fd : -1, POLLIN, 0};
	if (!listening && !s->signal)
		at = quiet && s->quiet_until > s->accept_at ? s->quiet_until : s->accept_at;
	for (size_t i = 0; i < STRANGERS_MAX; i++) {
		const struct stranger *st = &s->strangers.place[i];
		if (!st->h)
			continue;
		who[n] = i;
		at = clock_earlier(at, stranger_deadline(st));
		fds[n++] = (struct pollfd){quiet ? -1 : st->h->conn.in, POLLIN, 0};
	}
	if (s->kill_at)
		at = clock_earlier(at, s->kill_at);
	int timeout = at == UINT64_MAX ? -1 : at <= now ? 0 : at - now > 60000 ? 60000 : (int)(at - now);
	poll(fds, n, timeout);
	now = clock_now_ms();
	if (fds[0].revents)
		read_signals(s);
	for (nfds_t i = 2; i < n; i++) {
		struct stranger *st = &s->strangers.place[who[i]];
		/* a session that was started for another may have cost this one its place */
		if (fds[i].revents && st->h)
			hear(s, st);
		if (st->h && now >= stranger_deadline(st))
			serve_drop(st);
	}
	if (fds[1].revents)
		accept_all(s);
	for (size_t i = 0; s->kill_at && now >= s->kill_at && i < SESSIONS_MAX; i++)
		if (s->child[i].pid)
			kill(s->child[i].pid, SIGKILL);
}

static int block_signals(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int serve_many(const struct serve_setup *setup, int listen_fd, int signal_fd, struct haul_err *err)
{
	struct server *s = calloc(1, sizeof *s);
	if (!s) {
		haul_fail(err, HAUL_NO_MEMORY, 0, NULL, "cannot start the listener");
		return -1;
	}
	s->set = setup;
	s->listen_fd = listen_fd;
	s->gate.only = &setup->cfg->only_from;
	s->hello = handoff_hello();
	s->by_code = auth_is_code(setup->cfg->auth);
	s->signal_fd = signal_fd;
	while (!s->done && !(s->signal && !s->children))
		turn(s);
	tell_of_refused(s, true);
	serve_close_all(s);
	close(s->signal_fd);
	int status = setup->cfg->once ? s->status : 0;
	if (s->gave_up) {
		haul_fail(err, HAUL_AUTH, 0, "--code", "%u wrong codes were tried; start again for a new one",
			  s->wrong_codes);
		status = -1;
	}
	if (s->signal) { /* said by the shell, not by us: an idle listener has nothing to report */
		status = 128 + s->signal;
		if (s->cut_off) {
			haul_fail(err, HAUL_SIGNAL, 0, NULL,
				  "%zu unfinished session%s cut off; run the same command again to continue",
				  s->cut_off, s->cut_off == 1 ? "" : "s");
			status = -1; /* to be reported */
		}
		err->rc = HAUL_SIGNAL;
		err->signal = s->signal;
	}
	free(s);
	return status;
}

/* Everything this process itself opens is open: who we are, and what we and our sessions may still do. */
static enum haul_rc confine(const struct serve_setup *set, const struct endpoint *ep, struct haul_err *err)
{
	if (set->cfg->user && user_become(set->cfg->user, err) != HAUL_OK)
		return err->rc;
	return sandbox_listener(set->cfg, ep, set->dir, set->sources, set->source_count, err);
}

static int serve_confined(const struct serve_setup *setup, const struct endpoint *ep, int fd, int signal_fd,
			  struct haul_err *err)
{
	if (confine(setup, ep, err) != HAUL_OK)
		return -1;
	notify_systemd("READY=1");
	int status = serve_many(setup, fd, signal_fd, err);
	notify_systemd("STOPPING=1");
	return status;
}

int serve_at(const struct serve_setup *setup, struct haul_err *err)
{
	const struct haul_config *cfg = setup->cfg;
	struct endpoint ep;
	char *bound = NULL;
	int status = -1, fd = -1;
	if (endpoint_parse_listen(cfg->listen, &ep, err) != HAUL_OK)
		return -1;
	if (endpoint_check(&ep, err) != HAUL_OK) {
		status = -1;
	} else if (!endpoint_is_local(&ep) && !cfg->insecure && !cfg->auth) {
		haul_fail(err, HAUL_USAGE, 0, ep.text,
			  "not encrypted: listening beyond this machine needs --key, or --insecure");
	} else if (endpoint_is_single(&ep)) {
		struct conn conn;
		int rc = conn_adopt(&ep, &conn);
		if (rc < 0)
			haul_fail(err, HAUL_IO, -rc, ep.text, "cannot be used as a connection");
		else if (confine(setup, &ep, err) == HAUL_OK)
			status = serve_single(setup, &ep, conn, err);
	} else if (setup->ready && setup->ready(setup->ctx, err) != HAUL_OK) {
		status = -1;
	} else if ((fd = endpoint_listen(&ep, &bound, err)) >= 0) {
		/* whoever reads the port file may send a signal at once */
		int signal_fd = block_signals();
		if (!cfg->port_file || port_file_write(cfg->port_file, bound, err) == HAUL_OK) {
			struct port_file mine = port_file_mine(cfg->port_file);
			status = serve_confined(setup, &ep, fd, signal_fd, err);
			port_file_remove(&mine);
		}
		endpoint_unlisten(&ep, fd);
	}
	free(bound);
	endpoint_free(&ep);
	return status;
}
