/* What the files of the listener share: serve.c, its loop and its strangers; serve_sessions.c; serve_single.c. */
#ifndef HAUL_LIB_SERVE_IMPL_H
#define HAUL_LIB_SERVE_IMPL_H

#include <sys/types.h>

#include "lib/conn.h"
#include "lib/gate.h"
#include "lib/serve.h"
#include "lib/strangers.h"

#define SESSIONS_MAX 256u
#define WAITING_MAX  256u
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
	struct gate gate;
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

/* For the log. */
void serve_notice(struct server *s, const char *text);

/* ATTACH has come: h goes to the session it belongs to, to a new one, or is told why not. */
void serve_route(struct server *s, struct handoff *h);
/* Sessions that have ended make room for those that wait. */
void serve_reap(struct server *s);
/* What a session's process is told of its peer. */
void serve_name_session(struct serve_session *session, const struct handoff *h);

void serve_drop(struct stranger *st);
/* Descriptors ran out: a stranger's is worth least. False when there is none, or errno says something else. */
bool serve_make_room(struct server *s);
/* Every descriptor but the listener's own. */
void serve_close_all(struct server *s);

/* Hears who is at the one connection there is, which moves here, and runs the session in this process. The exit
 * status, or -1 with err filled when it is to be reported. */
int serve_single(const struct serve_setup *setup, const struct endpoint *ep, struct conn conn,
		 struct haul_err *err);

#endif
