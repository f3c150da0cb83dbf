/* Who gets a session: one process each, started, refused or kept waiting, found again, and reaped. */
#include "lib/serve_impl.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/auth.h"
#include "lib/holder.h"

void serve_notice(struct server *s, const char *text)
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

static struct child *child_of(struct server *s, const uint8_t id[static 16])
{
	for (size_t i = 0; i < SESSIONS_MAX; i++)
		if (s->child[i].pid && memcmp(s->child[i].id, id, 16) == 0)
			return &s->child[i];
	return NULL;
}

void serve_close_all(struct server *s)
{
	for (size_t i = 0; i < STRANGERS_MAX; i++)
		handoff_free(s->strangers.place[i].h);
	for (size_t i = 0; i < SESSIONS_MAX; i++)
		if (s->child[i].pid)
			close(s->child[i].socket);
	for (size_t i = 0; i < s->waiting_count; i++)
		handoff_free(s->waiting[i].h);
}

void serve_drop(struct stranger *st)
{
	handoff_free(st->h);
	st->h = NULL;
}

bool serve_make_room(struct server *s)
{
	struct stranger *st = errno == EMFILE ? strangers_victim(&s->strangers) : NULL;
	if (st)
		serve_drop(st);
	return st != NULL;
}

static int session_socket(struct server *s, int pair[static 2])
{
	int rc;
	do
		rc = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
	while (rc < 0 && serve_make_room(s));
	return rc;
}

void serve_name_session(struct serve_session *session, const struct handoff *h)
{
	memcpy(session->id, h->hs.attach.session, sizeof session->id);
	handshake_session_id(&h->hs, session->bound_id);
	memcpy(session->owner, h->hs.owner, sizeof session->owner);
	session->dry_run = h->hs.attach.fresh == ATTACH_DRY_RUN;
}

_Noreturn static void run_session(struct server *s, struct handoff *h, const char *subdir, int socket)
{
	struct serve_session session = {.first = h, .handoff_fd = socket};
	/* a receiver that is killed takes its sessions with it: the next one must not meet a twin */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	session.resume = h->hs.attach.fresh == ATTACH_RESUME;
	serve_name_session(&session, h);
	snprintf(session.subdir, sizeof session.subdir, "%s", subdir);
	if (s->listen_fd >= 0)
		close(s->listen_fd);
	close(s->signal_fd);
	serve_close_all(s);
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

void serve_route(struct server *s, struct handoff *h)
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

void serve_reap(struct server *s)
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
				serve_notice(s, "a session's process died");
			s->cut_off += WIFSIGNALED(status) && s->signal;
			s->done |= s->set->cfg->once;
		}
	}
	start_waiting(s);
}
