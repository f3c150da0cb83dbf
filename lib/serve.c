#include "lib/serve.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
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
#include "lib/engine_conn.h"
#include "lib/entropy.h"

#define STRANGERS_MAX	16u
#define STRANGER_MS	10000u
#define SESSIONS_MAX	256u
#define WAITING_MAX	256u
#define EMFILE_PAUSE_MS 100u

struct stranger {
	struct handoff *h; /* NULL: free */
	uint64_t deadline, last_heard;
};

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
	struct stranger stranger[STRANGERS_MAX];
	struct child child[SESSIONS_MAX];
	size_t children;
	struct waiting waiting[WAITING_MAX];
	size_t waiting_count;
	uint64_t accept_at; /* not before, ms: descriptors ran out */
	bool served_one, done;
	int status, signal;
	uint64_t kill_at;
};

static void notice(struct server *s, const char *text)
{
	if (s->set->notice)
		s->set->notice(s->set->ctx, text);
}

static void forget_handoff(struct handoff *h)
{
	if (h) {
		conn_close(&h->conn, 0);
		handshake_wipe(&h->hs);
	}
	free(h);
}

/* It lives on in another process, with its socket and its keys. */
static void moved_handoff(struct handoff *h)
{
	close(h->conn.in);
	handshake_wipe(&h->hs);
	free(h);
}

/* The answer is short and goes to a fresh socket: if it does not fit at once, nobody is listening. */
static void send_answer(struct handoff *h)
{
	ssize_t n = write(h->conn.out, h->hs.out, h->hs.out_len);
	(void)n;
	shutdown(h->conn.out, SHUT_WR);
	/* unread bytes would turn our close into a reset that overtakes the answer; who sends without end
	 * gets one
	 */
	char rest[4096];
	for (int i = 0; i < 64 && read(h->conn.in, rest, sizeof rest) > 0; i++)
		;
}

/* M2 goes out before ATTACH comes in. */
static bool answer_now(struct handoff *h)
{
	if (!handshake_out_is_due(&h->hs))
		return true;
	ssize_t n = write(h->conn.out, h->hs.out, h->hs.out_len);
	bool whole = n == (ssize_t)h->hs.out_len;
	handshake_sent(&h->hs, h->hs.out_len);
	return whole;
}

/* Begins as responder with what this side is configured with. */
static void respond(struct handoff *h, const struct haul_config *cfg, const struct hello *hello)
{
	uint8_t ephemeral[AUTH_KEY_BYTES];
	entropy_fill(ephemeral, sizeof ephemeral);
	handshake_respond_with(&h->hs, hello, auth_credentials(cfg->auth), ephemeral);
	sodium_memzero(ephemeral, sizeof ephemeral);
}

static void refuse(struct handoff *h, uint16_t code, const char *text)
{
	handshake_refuse(&h->hs, code, text);
	send_answer(h);
	forget_handoff(h);
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
		forget_handoff(s->stranger[i].h);
	for (size_t i = 0; i < SESSIONS_MAX; i++)
		if (s->child[i].pid)
			close(s->child[i].socket);
	for (size_t i = 0; i < s->waiting_count; i++)
		forget_handoff(s->waiting[i].h);
}

static void name_session(struct serve_session *session, const struct handoff *h)
{
	memcpy(session->id, h->hs.attach.session, sizeof session->id);
	handshake_session_id(&h->hs, session->bound_id);
	memcpy(session->owner, h->hs.owner, sizeof session->owner);
}

_Noreturn static void run_session(struct server *s, struct handoff *h, const char *subdir, int socket)
{
	struct serve_session session = {.first = h, .handoff_fd = socket};
	/* a receiver that is killed takes its sessions with it: the next one must not meet a twin */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	session.resume = !h->hs.attach.fresh;
	name_session(&session, h);
	snprintf(session.subdir, sizeof session.subdir, "%s", subdir);
	if (s->listen_fd >= 0)
		close(s->listen_fd);
	close(s->signal_fd);
	close_all(s);
	auth_forget_keys(s->set->cfg->auth);
	_exit(s->set->session(s->set->ctx, &session));
}

static void start_session(struct server *s, struct handoff *h, const char *subdir)
{
	int pair[2];
	size_t slot = 0;
	while (slot < SESSIONS_MAX && s->child[slot].pid)
		slot++;
	if (slot == SESSIONS_MAX || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
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
	moved_handoff(h);
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
			forget_handoff(w->h); /* it dialled again: it keeps its place */
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
			moved_handoff(h);
		} else {
			refuse(h, REASON_NO_SESSION, "the session has just ended");
		}
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
			s->child[i] = (struct child){0};
			s->children--;
			s->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
			if (WIFSIGNALED(status) && !s->signal)
				notice(s, "a session's process died");
			s->done |= s->set->cfg->once;
		}
	}
	start_waiting(s);
}

/* ---- strangers ---- */

static void drop_stranger(struct stranger *st)
{
	forget_handoff(st->h);
	st->h = NULL;
}

static void hear(struct server *s, struct stranger *st)
{
	struct handoff *h = st->h;
	while (h->hs.state != HS_DECIDE) {
		uint8_t b[512];
		size_t want = handshake_need(&h->hs);
		ssize_t n = read(h->conn.in, b, want < sizeof b ? want : sizeof b);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		struct wire_err err = {0};
		enum wire_rc rc = n > 0 ? handshake_feed(&h->hs, b, (size_t)n, &err) : WIRE_NOT_HAUL;
		if (rc == WIRE_OK || rc == WIRE_MORE) {
			st->last_heard = clock_now_ms();
			if (answer_now(h))
				continue;
			rc = WIRE_NOT_HAUL;
		}
		if (n > 0) /* an orderly end, even in silence: a keyed peer takes it for an answer */
			send_answer(h);
		drop_stranger(st);
		return;
	}
	st->h = NULL;
	route(s, h);
}

/* A free place, made by sending away whoever has been silent longest. */
static struct stranger *place_for_stranger(struct server *s)
{
	struct stranger *quietest = &s->stranger[0];
	for (size_t i = 0; i < STRANGERS_MAX; i++) {
		if (!s->stranger[i].h)
			return &s->stranger[i];
		if (s->stranger[i].last_heard < quietest->last_heard)
			quietest = &s->stranger[i];
	}
	drop_stranger(quietest);
	return quietest;
}

static void greet(struct server *s, struct conn conn)
{
	struct handoff *h = calloc(1, sizeof *h);
	if (!h) {
		conn_close(&conn, 0);
		return;
	}
	h->conn = conn;
	respond(h, s->set->cfg, &s->hello);
	struct stranger *st = place_for_stranger(s);
	*st = (struct stranger){h, clock_now_ms() + STRANGER_MS, clock_now_ms()};
	hear(s, st); /* an honest peer has spoken already */
}

static void accept_all(struct server *s)
{
	for (int i = 0; i < 64; i++) {
		int fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
				s->accept_at = clock_now_ms() + EMFILE_PAUSE_MS;
			return;
		}
		conn_tune(fd);
		greet(s, (struct conn){.in = fd, .out = fd});
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
	bool listening = now >= s->accept_at && !s->signal;
	fds[n++] = (struct pollfd){listening ? s->listen_fd : -1, POLLIN, 0};
	if (!listening && !s->signal)
		at = s->accept_at;
	for (size_t i = 0; i < STRANGERS_MAX; i++) {
		if (!s->stranger[i].h)
			continue;
		who[n] = i;
		at = least(at, s->stranger[i].deadline);
		fds[n++] = (struct pollfd){s->stranger[i].h->conn.in, POLLIN, 0};
	}
	if (s->kill_at)
		at = least(at, s->kill_at);
	int timeout = at == UINT64_MAX ? -1 : at <= now ? 0 : at - now > 60000 ? 60000 : (int)(at - now);
	poll(fds, n, timeout);
	now = clock_now_ms();
	if (fds[0].revents)
		read_signals(s);
	for (nfds_t i = 2; i < n; i++) {
		struct stranger *st = &s->stranger[who[i]];
		if (fds[i].revents && st->h)
			hear(s, st);
		if (st->h && now >= st->deadline)
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

static struct hello listener_hello(void)
{
	struct hello h = {
		.minor_min = PROTOCOL_MINOR_MIN,
		.minor_max = PROTOCOL_MINOR,
		.offered = FEATURES_KNOWN,
		.max_body = RECORD_BODY_MAX_BYTES,
		.credit = EARLY_CREDIT_BYTES,
	};
	entropy_fill(h.instance, sizeof h.instance);
	return h;
}

static int serve_many(const struct serve_setup *setup, int listen_fd, struct haul_err *err)
{
	struct server *s = calloc(1, sizeof *s);
	if (!s) {
		haul_fail(err, HAUL_NO_MEMORY, 0, NULL, "cannot start the listener");
		return -1;
	}
	s->set = setup;
	s->listen_fd = listen_fd;
	s->hello = listener_hello();
	s->signal_fd = block_signals();
	while (!s->done && !(s->signal && !s->children))
		turn(s);
	close_all(s);
	close(s->signal_fd);
	int status = setup->cfg->once ? s->status : 0;
	if (s->signal) { /* said by the shell, not by us: an idle listener has nothing to report */
		err->rc = HAUL_SIGNAL;
		err->signal = s->signal;
		status = 128 + s->signal;
	}
	free(s);
	return status;
}

/* ---- one connection ---- */

static enum haul_rc shake_single(struct handoff *h, struct haul_err *err)
{
	uint64_t deadline = clock_now_ms() + STRANGER_MS;
	while (h->hs.state != HS_DECIDE) {
		uint64_t now = clock_now_ms();
		struct pollfd p = {h->conn.in, POLLIN, 0};
		if (now >= deadline || poll(&p, 1, (int)(deadline - now)) == 0)
			return haul_fail(err, HAUL_CONNECT, 0, "stdio", "the peer said nothing in time");
		uint8_t b[512];
		size_t want = handshake_need(&h->hs);
		ssize_t n = read(h->conn.in, b, want < sizeof b ? want : sizeof b);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return haul_fail(err, HAUL_CONNECT, n ? errno : 0, "stdio",
					 "closed before the handshake");
		struct wire_err w = {0};
		enum wire_rc rc = handshake_feed(&h->hs, b, (size_t)n, &w);
		if ((rc == WIRE_OK || rc == WIRE_MORE) && answer_now(h))
			continue;
		send_answer(h);
		return haul_fail(err,
				 rc == WIRE_VERSION ? HAUL_VERSION
				 : rc == WIRE_AUTH  ? HAUL_AUTH
						    : HAUL_PROTOCOL,
				 0, "stdio", "%s", w.check ? w.check : "cannot be answered");
	}
	return HAUL_OK;
}

static int serve_single(const struct serve_setup *setup, struct conn conn, struct haul_err *err)
{
	int status = -1;
	struct handoff *h = calloc(1, sizeof *h);
	if (!h) {
		haul_fail(err, HAUL_NO_MEMORY, 0, NULL, "cannot start the session");
		return -1;
	}
	struct hello hello = listener_hello();
	h->conn = conn;
	respond(h, setup->cfg, &hello);
	const struct frame_attach *a = &h->hs.attach;
	if (shake_single(h, err) == HAUL_OK && a->role == setup->role) {
		haul_fail(err, HAUL_POLICY, 0, "stdio", "both sides have the same role");
		handshake_refuse(&h->hs, (uint16_t)haul_rc_status(HAUL_POLICY), err->why);
		send_answer(h);
	} else if (err->rc == HAUL_OK) {
		struct serve_session session = {.first = h, .handoff_fd = -1};
		name_session(&session, h);
		snprintf(session.subdir, sizeof session.subdir, "%.*s", (int)a->subdir.n,
			 (const char *)a->subdir.p);
		status = setup->session(setup->ctx, &session);
	}
	handshake_wipe(&h->hs);
	free(h);
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
	if (!endpoint_is_local(&ep) && !cfg->insecure && !cfg->auth) {
		haul_fail(err, HAUL_USAGE, 0, ep.text,
			  "not encrypted: listening beyond this machine needs --key, or --insecure");
	} else if (endpoint_is_single(&ep)) {
		struct conn conn;
		int rc = conn_adopt(&ep, &conn);
		if (rc < 0)
			haul_fail(err, HAUL_IO, -rc, ep.text, "cannot be used as a connection");
		else
			status = serve_single(setup, conn, err);
	} else if ((fd = endpoint_listen(&ep, &bound, err)) >= 0) {
		if (!cfg->port_file || port_file_write(cfg->port_file, bound, err) == HAUL_OK) {
			notify_systemd("READY=1");
			status = serve_many(setup, fd, err);
			notify_systemd("STOPPING=1");
		}
		endpoint_unlisten(&ep, fd);
	}
	free(bound);
	endpoint_free(&ep);
	return status;
}
