/*
 * engine: the wire thread of one session. It owns the link, the connection of the moment and the clocks, and
 * calls the role (sender or receiver) for everything that has to do with files.
 *
 *   loop:  role->pump    takes finished work from the stages, gives messages to the link
 *          flush         seals and writes what credit and socket allow
 *          poll          one wait for sockets, stages, signals and the nearest deadline
 *          read          records in, events to the role
 *          clocks        link_tick, dialling, back-off, progress
 *
 * A lost connection is an event: the initiator dials again, the responder waits to be handed the next one.
 * Nothing else in haul polls or sleeps.
 */
#ifndef HAUL_LIB_ENGINE_H
#define HAUL_LIB_ENGINE_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/backoff.h"
#include "lib/blocks.h"
#include "lib/config.h"
#include "lib/endpoint.h"
#include "lib/err.h"
#include "lib/events.h"
#include "lib/handoff.h"
#include "lib/pace.h"
#include "wire/handshake.h"
#include "wire/link.h"
#include "wire/session.h"

#define ENGINE_ROLE_FDS_MAX 4

struct engine;

struct engine_ops {
	enum frame_role role;
	/* A message arrived and is legal in this state; ev->body moves to the role, which owes link_consume.
	 */
	enum haul_rc (*message)(void *self, struct link_event *ev);
	/* Called after every wake-up: do what can be done without waiting. */
	enum haul_rc (*pump)(void *self);
	/* Descriptors that wake the loop when readable; returns their number. */
	size_t (*fds)(void *self, int fds[static ENGINE_ROLE_FDS_MAX]);
	/* When pump must run again even if nothing wakes the loop (ms), UINT64_MAX for never. */
	uint64_t (*deadline)(void *self);
	/* A signal asked for an orderly end: take no new work. */
	void (*drain)(void *self);
	/* True once nothing is left that drain should wait for. */
	bool (*drained)(void *self);
	/* Somebody else wants a file this session works on: the peer is alive, or is being asked. */
	void (*prove)(void *self, bool alive);
};

struct engine_setup {
	const struct haul_config *cfg;
	struct event_bus *bus;
	const struct engine_ops *ops;
	void *self;
	const uint8_t *session_id;   /* 16 bytes */
	const struct endpoint *dial; /* initiator; NULL for a responder */
	const char *subdir;	     /* initiator that sends: below the receiver's root, or NULL */
	int handoff_fd;		     /* responder: a socket that brings further connections, or -1 */
	int signal_fd;		     /* signalfd with SIGINT, SIGTERM and SIGHUP, or -1 */
	bool keep_until_durable;
	bool key_worked; /* the peer has answered this key before: silence does not mean that it is wrong */
};

enum engine_phase {
	ENGINE_RUNNING,
	ENGINE_DRAINING,  /* a signal came: what is under way may finish, within grace */
	ENGINE_FINISHING, /* the verdict is there: FIN goes out and the peer's is awaited, briefly */
	ENGINE_ABORTING,  /* an error: CANCEL goes out and the peer's FIN is awaited, briefly */
	ENGINE_OVER,
};

struct engine {
	struct engine_setup set;
	struct link link;
	struct session session;
	struct metrics metrics;
	struct blocks *blocks;
	struct haul_err err;  /* why it ended; rc OK for a good end */
	struct haul_err also; /* the next thing that went wrong after that */
	bool err_from_peer;
	uint64_t deadline; /* --deadline, ms; UINT64_MAX none */
	/* challenged (lib/holder.h): when (0: not), and when we last said that we are at it; the PING whose
	 * answer proves the peer alive, or any connection later than this one */
	uint64_t probe_at, probe_told;
	uint32_t probe_ping;
	unsigned probe_generation;
	bool session_gone; /* the peer does not know this session (any more) */

	enum engine_phase phase;
	uint64_t phase_deadline; /* ms, for all but RUNNING */
	int signal;		 /* that began the draining */
	bool settled;		 /* everything is committed: losing the connection now is no failure */

	struct conn conn;
	bool conn_open, was_up; /* was_up: since the session began, a handshake was answered */
	uint64_t attempt_deadline;
	struct dial *dial;
	struct handshake *hs; /* while a handshake runs */
	uint8_t *opening;     /* what is left of it to be written before the link's own bytes */
	size_t opening_len, opening_cap;
	uint64_t redial_at;
	struct backoff backoff;
	uint64_t acked_at_loss;
	unsigned barren;     /* connections in a row that ended in damage and moved nothing */
	char last_cause[96]; /* why the last attempt failed, for the last words */
	bool resuming;
	uint64_t replayed_before;

	bool hold_reading; /* the role has enough to do: let the socket fill */
	struct pace pace;
	bool write_blocked;
	uint64_t progress_at, progress_said;
	struct {
		uint64_t t_ms, bytes;
	} sample[16];
	unsigned samples;
	bool flushed_anything;
};

enum haul_rc engine_init(struct engine *e, const struct engine_setup *set);
void engine_free(struct engine *e);

/* Responder: the connection that opened the session. */
enum haul_rc engine_adopt(struct engine *e, struct handoff *h);

/* Runs the session to its end; e->err tells how it ended. Never emits `error` or `done`: the caller does. */
enum haul_rc engine_run(struct engine *e);

/* ---- for roles ---- */

/* Steps the session over a frame of this side, encodes nothing. Emits `state` when it changes. */
enum haul_rc engine_step(struct engine *e, uint8_t frame, enum frame_role from);
/* Everything is done and said: FIN, then leave. */
void engine_finish(struct engine *e);
/* Records err and tells the peer. The first failure wins. */
enum haul_rc engine_abort(struct engine *e, const struct haul_err *err);
uint64_t engine_now_ms(void);

/* Why a session ends that another one has taken a file from: with HAUL_BUSY, and for good. */
#define SUPERSEDED "superseded: another run of the same transfer has taken over"

#endif
