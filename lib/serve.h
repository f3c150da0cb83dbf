/*
 * serve: the listener. The parent accepts, bounds and routes; every session is a process of its own, so that
 * a fault ends one session and a memory limit is real.
 *
 *   accept ─▶ handshake up to ATTACH ─▶ a session that lives here? hand the socket to its process
 *                                       a fresh one? admit (fork), let it wait, or BUSY
 *
 * A stranger costs one descriptor, one struct handshake and ten seconds; there are few places
 * (lib/strangers.h).
 */
#ifndef HAUL_LIB_SERVE_H
#define HAUL_LIB_SERVE_H

#include "lib/engine.h"

/* What the session's process is given. */
struct serve_session {
	uint8_t id[16];	      /* as the peer and the events call it */
	uint8_t bound_id[16]; /* the same bound to the peer's key: what is kept under it is the peer's */
	uint8_t owner[OWNER_BYTES];	   /* who the peer is; zero without keys */
	char subdir[SUBDIR_MAX_BYTES + 1]; /* "" for none */
	struct handoff *first;
	int handoff_fd; /* brings further connections of this session */
	bool beside;	/* the peer has started this process, or its ssh has: one of both is to report */
	bool resume;	/* the peer goes on with a session whose process is gone */
	bool dry_run;	/* nothing may be made, not even a directory */
};

struct serve_setup {
	const struct haul_config *cfg;
	enum frame_role role; /* of this side */
	/* Runs a session in its own process; its value is the process's exit status. */
	int (*session)(void *ctx, struct serve_session *s);
	/* Does the disk know this session, though no process does? May be NULL. */
	bool (*known)(void *ctx, const uint8_t bound_id[static 16], const uint8_t owner[static OWNER_BYTES],
		      const char *subdir);
	/* Asked before anybody is told that this side listens; may be NULL. */
	enum haul_rc (*ready)(void *ctx, struct haul_err *err);
	/* What a session will open, for the sandbox of the listener. */
	const char *dir;
	const char *const *sources;
	size_t source_count;
	/* For the log: something the listener itself noticed (may be NULL). */
	void (*notice)(void *ctx, const char *text);
	void *ctx;
};

/*
 * Listens at cfg->listen, tells where (--port-file, sd_notify), and serves until a signal comes, or with
 * cfg->once until the first session has ended. An address that is one connection already (stdio:, inetd
 * style) is served in this process. The exit status of that session, 0 after serving many, or -1 with err
 * filled.
 */
int serve_at(const struct serve_setup *setup, struct haul_err *err);

#endif
