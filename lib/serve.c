#include "lib/serve.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/auth.h"
#include "lib/clock.h"
#include "lib/handoff.h"
#include "lib/holder.h"
#include "lib/sandbox.h"
#include "lib/single.h"
#include "lib/strangers.h"
#include "lib/user.h"

#define SESSIONS_MAX	256u
#define WAITING_MAX	256u
#define EMFILE_PAUSE_MS 100u
/* With a code: wrong ones before it is given up; silence after one; between two that may try. */
#define WRONG_CODES_MAX 3u
#define WRONG_CODE_MS	1000u
#define CODE_EVERY_MS	50u
/* Sessions that lost to another one and may not know yet: the last so many are told, not taken for new. */
#define SUPERSEDED_MAX 64u

struct child {
	pid_t pid; /* 0: free */
	int socket;
	uint8_t id[16];
	uint8_t owner[OWNER_BYTES];
};

struct waiting {
	struct handoff *h;
	char subdir[SUBDIR_MAX_BYTES + 1];
};

struct server {
	const struct serve_setup *set;
	struct hello hello;
	int listen_fd, signal_fd;
	struct strangers strangers;
	struct child child[SESSIONS_MAX];
	size_t children;
	struct waiting waiting[WAITING_MAX];
	size_t waiting_count;
	uint8_t superseded[SUPERSEDED_MAX][16];
	size_t superseded_count; /* in all: the ring's next place */
	size_t cut_off;		 /* sessions that did not end in time, and could not say so */
	uint64_t accept_at;	 /* not before, ms: descriptors ran out, or a code takes its time */
	bool by_code;
	unsigned wrong_codes;
	uint64_t quiet_until; /* ms: nobody is heard after a wrong code */
	bool gave_up;
	bool served_one, done;
	int status, signal;
	uint64_t kill_at;
};

static void notice(struct server *s, const char *text)
{
	if (s->set->notice)
		s->set->notice(s->set->ctx, text);
}

/* Says no, and is done with it. */
static void refuse(struct handoff *h, uint16_t code, const char *text)
{
	handoff_refuse(h, code, text);
	handoff_free(h);
}

/* ---- sessions ---- */

static struct child *child_of(struct server *s, const uint8_t id[static 16])
{
	for (size_t i = 0; i < SESSIONS_MAX; i++)
		if (s->child[i].pid && memcmp(s->child[i].id, id, 16) == 0)
			return &s->child[i];
	return NULL;
}

static void close_all(struct server *s)
{
	for (size_t i = 0; i < STRANGERS_MAX; i++)
		handoff_free(s->strangers.place[i].h);
	for (size_t i = 0; i < SESSIONS_MAX; i++)
		if (s->child[i].pid)
			close(s->child[i].socket);
	for (size_t i = 0; i < s->waiting_count; i++)
		handoff_free(s->waiting[i].h);
}

static void drop_stranger(struct stranger *st)
{
	handoff_free(st->h);
	st->h = NULL;
}

/* Descriptors ran out: a stranger's is worth least. False when there is none. */
static bool make_room(struct server *s)
{
	struct stranger *st = errno == EMFILE ? strangers_victim(&s->strangers) : NULL;
	if (st)
		drop_stranger(st);
	return st != NULL;
}

static int session_socket(struct server *s, int pair[static 2])
{
	int rc;
	do
		rc = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
	while (rc < 0 && make_room(s));
	return rc;
}

_Noreturn static void run_session(struct server *s, struct handoff *h, const char *subdir, int socket)
{
	struct serve_session session = {.first = h, .handoff_fd = socket};
	/* a receiver that is killed takes its sessions with it: the next one must not meet a twin */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	session.resume = h->hs.attach.fresh == ATTACH_RESUME;
	single_name_session(&session, h);
	snprintf(session.subdir, sizeof session.subdir, "%s", subdir);
	if (s->listen_fd >= 0)
		close(s->listen_fd);
	close(s->signal_fd);
	close_all(s);
	auth_forget_keys(s->set->cfg->auth);
	keys_forget(s->set->cfg->keys);
	_exit(s->set->session(s->set->ctx, &session));
}

static void start_session(struct server *s, struct handoff *h, const char *subdir)
{
	int pair[2];
	size_t slot = 0;
	while (slot < SESSIONS_MAX && s->child[slot].pid)
		slot++;
	if (slot == SESSIONS_MAX || session_socket(s, pair) < 0) {
		refuse(h, (uint16_t)haul_rc_status(HAUL_BUSY), "the receiver is out of descriptors");
		return;
	}
	pid_t pid = fork();
	if (pid == 0) {
		close(pair[0]);
		run_session(s, h, subdir, pair[1]);
	}
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		refuse(h, (uint16_t)haul_rc_status(HAUL_BUSY), "the receiver cannot start another process");
		return;
	}
	s->child[slot] = (struct child){.pid = pid, .socket = pair[0]};
	handshake_session_id(&h->hs, s->child[slot].id);
	memcpy(s->child[slot].owner, h->hs.owner, OWNER_BYTES);
	s->children++;
	s->served_one = true;
	handoff_moved(h);
}

static bool may_start(const struct server *s)
{
	return !s->signal && !(s->set->cfg->once && s->served_one) && s->children < s->set->cfg->max_sessions;
}

static bool same_session(const struct handoff *a, const struct handoff *b)
{
	uint8_t id[2][16];
	handshake_session_id(&a->hs, id[0]);
	handshake_session_id(&b->hs, id[1]);
	return memcmp(id[0], id[1], sizeof id[0]) == 0;
}

static void let_wait(struct server *s, struct handoff *h, const char *subdir)
{
	for (size_t i = 0; i < s->waiting_count; i++) {
		struct waiting *w = &s->waiting[i];
		if (same_session(w->h, h)) {
			handoff_free(w->h); /* it dialled again: it keeps its place */
			w->h = h;
			return;
		}
	}
	unsigned most = s->set->cfg->overload_queue < WAITING_MAX ? s->set->cfg->overload_queue : WAITING_MAX;
	bool once = s->set->cfg->once && s->served_one;
	if (s->set->cfg->overload != OVERLOAD_QUEUE || s->waiting_count >= most || s->signal || once) {
		refuse(h, (uint16_t)haul_rc_status(HAUL_BUSY),
		       once ? "the receiver serves another sender"
			    : "the receiver serves as many senders as it may");
		return;
	}
	struct waiting *w = &s->waiting[s->waiting_count++];
	w->h = h;
	snprintf(w->subdir, sizeof w->subdir, "%s", subdir);
}

static void start_waiting(struct server *s)
{
	while (s->waiting_count && may_start(s)) {
		struct waiting w = s->waiting[0];
		s->waiting_count--;
		memmove(s->waiting, s->waiting + 1, s->waiting_count * sizeof w);
		start_session(s, w.h, w.subdir);
	}
}

static void remember_superseded(struct server *s, const uint8_t id[static 16])
{
	memcpy(s->superseded[s->superseded_count++ % SUPERSEDED_MAX], id, 16);
}

static bool was_superseded(const struct server *s, const uint8_t id[static 16])
{
	for (size_t i = 0; i < s->superseded_count && i < SUPERSEDED_MAX; i++)
		if (memcmp(s->superseded[i], id, 16) == 0)
			return true;
	return false;
}

/* Why this owner may not begin a session now, or NULL. */
static const char *forbidden(const struct server *s, const struct handoff *h, enum haul_rc *rc)
{
	const struct peer *rights = auth_peer_of(s->set->cfg->auth, h->hs.owner);
	unsigned sessions = 0;
	if (!rights)
		return NULL;
	*rc = HAUL_POLICY;
	if (rights->read_only && s->set->role == ROLE_RECEIVER)
		return "this key may not send";
	for (size_t i = 0; i < SESSIONS_MAX; i++)
		sessions += s->child[i].pid && memcmp(s->child[i].owner, h->hs.owner, OWNER_BYTES) == 0;
	*rc = HAUL_BUSY;
	return rights->max_sessions && sessions >= rights->max_sessions
		       ? "this key has as many sessions as it may"
		       : NULL;
}

/* ATTACH has come: route it. h moves on. */
static void route(struct server *s, struct handoff *h)
{
	const struct frame_attach *a = &h->hs.attach;
	char subdir[SUBDIR_MAX_BYTES + 1];
	snprintf(subdir, sizeof subdir, "%.*s", (int)a->subdir.n, (const char *)a->subdir.p);
	uint8_t id[16];
	handshake_session_id(&h->hs, id);
	struct child *c = child_of(s, id);
	enum haul_rc rc;
	const char *why = c ? NULL : forbidden(s, h, &rc);
	if (a->role == s->set->role) {
		refuse(h, (uint16_t)haul_rc_status(HAUL_POLICY),
		       s->set->role == ROLE_RECEIVER ? "this side only receives" : "this side only sends");
	} else if (c) {
		if (handoff_send(c->socket, h) == 0) {
			handoff_moved(h);
		} else {
			refuse(h, REASON_NO_SESSION, "the session has just ended");
		}
	} else if (was_superseded(s, id)) {
		refuse(h, (uint16_t)haul_rc_status(HAUL_BUSY), SUPERSEDED);
	} else if (why) {
		refuse(h, (uint16_t)haul_rc_status(rc), why);
	} else if (!a->fresh && !(s->set->known && s->set->known(s->set->ctx, id, h->hs.owner, subdir))) {
		refuse(h, REASON_NO_SESSION, "no such session");
	} else if (may_start(s) && !s->waiting_count) {
		start_session(s, h, subdir);
	} else {
		let_wait(s, h, subdir);
	}
}

static void reap(struct server *s)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (size_t i = 0; i < SESSIONS_MAX; i++) {
			if (s->child[i].pid != pid)
				continue;
			close(s->child[i].socket);
			bool ended = WIFSIGNALED(status) && WTERMSIG(status) == HOLDER_END_SIGNAL;
			if (ended || (WIFEXITED(status) && WEXITSTATUS(status) == haul_rc_status(HAUL_BUSY)))
				remember_superseded(s, s->child[i].id);
			s->child[i] = (struct child){0};
			s->children--;
			s->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
			if (WIFSIGNALED(status) && !s->signal)
				notice(s, "a session's process died");
			s->cut_off += WIFSIGNALED(status) && s->signal;
			s->done |= s->set->cfg->once;
		}
	}
	start_waiting(s);
}

/* ---- strangers ---- */

/* A code is for two people and one session: before that has begun, three strangers end it. Afterwards the code
 * opens no session any more, and guessing it at this pace is hopeless. */
static void count_wrong_code(struct server *s)
{
	s->quiet_until = clock_now_ms() + WRONG_CODE_MS;
	s->gave_up = ++s->wrong_codes >= WRONG_CODES_MAX && !s->served_one;
	s->done |= s->gave_up;
	notice(s, "somebody tried a wrong code");
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
		route(s, h);
	} else if (rc != WIRE_MORE) {
		if (h->hs.code.wrong)
			count_wrong_code(s);
		drop_stranger(st);
	}
}

static void greet(struct server *s, struct conn conn, const struct origin *from)
{
	struct handoff *h = handoff_new(conn, s->set->cfg, &s->hello);
	if (!h)
		return;
	struct stranger *st = strangers_place(&s->strangers, from);
	drop_stranger(st);
	strangers_settle(&s->strangers, st, h, from, clock_now_ms());
	hear(s, st); /* an honest peer has spoken already */
}

static void accept_all(struct server *s)
{
	for (int i = 0; i < 64; i++) {
		struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
		socklen_t len = sizeof sa;
		int fd = accept4(s->listen_fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0 && make_room(s))
			continue;
		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
				s->accept_at = clock_now_ms() + EMFILE_PAUSE_MS;
			return;
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
	reap(s);
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
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
		at = least(at, stranger_deadline(st));
		fds[n++] = (struct pollfd){quiet ? -1 : st->h->conn.in, POLLIN, 0};
	}
	if (s->kill_at)
		at = least(at, s->kill_at);
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
			drop_stranger(st);
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
	s->hello = handoff_hello();
	s->by_code = auth_is_code(setup->cfg->auth);
	s->signal_fd = signal_fd;
	while (!s->done && !(s->signal && !s->children))
		turn(s);
	close_all(s);
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

/* ---- where ---- */

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
			status = single_serve(setup, &ep, conn, err);
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
