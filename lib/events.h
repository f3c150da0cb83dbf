/*
 * The event bus: what a session tells the world, as it happens.
 *
 * The engine emits; subscribers (JSON lines, terminal, log) are callbacks registered before the session
 * starts. Emitting never waits: a subscriber that writes to a slow descriptor keeps a bounded queue of its
 * own, drops the newest when it is full and puts `gap {dropped:N}` before the next event it delivers. The
 * last event of a session is `done`; it is kept, and delivered to a subscriber that comes late.
 * All calls are made from the wire thread of the session.
 */
#ifndef HAUL_LIB_EVENTS_H
#define HAUL_LIB_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

enum event_type {
	EV_HELLO,
	EV_PLAN,
	EV_STATE,
	EV_RESUME,
	EV_CONNECT,
	EV_DISCONNECT,
	EV_RETRY,
	EV_FILE,
	EV_PROGRESS,
	EV_PRESSURE,
	EV_LEVEL,
	EV_GAP,
	EV_WARN,
	EV_ERROR,
	EV_DONE,
	EV_TYPE_COUNT
};

/* planned: a dry run would send it; stray: a dry run would delete it */
enum file_state {
	FILE_COMMITTED,
	FILE_SKIPPED,
	FILE_FAILED,
	FILE_VANISHED,
	FILE_CHANGED,
	FILE_PLANNED,
	FILE_DELETED,
	FILE_STRAY
};
enum blocked_on { BLOCKED_NONE, BLOCKED_SOURCE, BLOCKED_CPU, BLOCKED_LINK, BLOCKED_CREDIT, BLOCKED_DISK };

/* Numbers that only grow during a session; the source of progress, done and --stats. */
struct metrics {
	uint64_t files, skipped, failed, vanished, changed,
		entries;  /* files: committed regular files and streams */
	uint64_t deleted; /* entries the receiver removed for --delete */
	uint64_t bytes;	  /* raw bytes of file content moved (sent, or received and verified) */
	uint64_t skipped_bytes;
	uint64_t kept_bytes; /* of files that were continued or updated: found in place, not sent */
	/* sender: of kept_bytes and of the sizes of files, what is committed */
	uint64_t committed_kept, committed_bytes;
	/* sender, between two sessions of a run: of the files that the last one did not commit */
	uint64_t open_kept, open_sent;
	uint64_t wire_out, wire_in;
	uint64_t acked;	  /* raw bytes the receiver has taken (sender: acked; receiver: written) */
	uint64_t total;	  /* raw bytes known so far */
	bool total_final; /* the scan is complete */
	bool durable;	  /* the receiver has said that all it committed is on stable storage */
	uint64_t reconnects, resent_bytes, dup_bytes, stale_acks;
	uint64_t wait_ns[BLOCKED_DISK + 1]; /* time the session spent blocked on each cause */
	int level;			    /* zstd level in use, 0 = stored */
	enum blocked_on blocked;
	unsigned sandbox_abi, sandbox_calls; /* of Landlock, and system calls left; 0: none, no filter */
};

/* One event. Only the members of its type are read; every pointer is borrowed until emit returns. */
struct event {
	enum event_type type;
	uint64_t t_ns;	/* monotonic, since the session's start; set by the bus */
	uint8_t id[16]; /* session id; set by the bus */
	union {
		struct {
			const char *role, *version, *mode;
		} hello;
		struct {
			uint64_t files, bytes, strays; /* strays: a dry run would delete them */
			bool final;
		} plan;
		struct {
			const char *from, *to, *why;
		} state;
		struct {
			uint64_t from, replayed_bytes;
			bool verified;
		} resume;
		struct {
			const char *peer;
			unsigned attempt;
		} connect;
		struct {
			const char *cause, *side;
		} disconnect;
		struct {
			const char *cause;
			unsigned attempt;
			uint64_t delay_ms;
		} retry;
		struct {
			const char *path;
			size_t path_len;
			uint64_t size;
			enum file_state state;
			int sys;
			const char *why;
		} file;
		struct {
			const struct metrics *m;
			uint64_t rate;
		} progress; /* rate: raw bytes a second, sliding */
		struct {
			const char *on;
			uint64_t since_ms;
		} pressure;
		struct {
			int from, to;
			const char *why;
		} level;
		struct {
			uint64_t dropped;
		} gap;
		struct {
			const char *text;
			const char *subject;
		} warn;
		struct {
			const struct haul_err *err;
			const char *side;
			bool terminal;
			const struct haul_err *also;
		} error;
		struct {
			int status;
			const char *class;
			const struct metrics *m;
			double seconds;
		} done;
	} u;
};

typedef void event_fn(void *ctx, const struct event *ev);

#define EVENT_SUBSCRIBERS_MAX 4

struct event_bus {
	uint64_t start_ns;
	uint8_t id[16];
	size_t count;
	struct {
		event_fn *fn;
		void *ctx;
	} subscriber[EVENT_SUBSCRIBERS_MAX];
	bool ended; /* done was emitted */
	struct event last;
};

/* Starts the session's clock. */
void event_bus_init(struct event_bus *bus, const uint8_t id[static 16]);

/* Adds a subscriber; it gets the terminal event at once if there was one. False when all places are taken. */
bool event_bus_subscribe(struct event_bus *bus, event_fn *fn, void *ctx);

/* Stamps and delivers ev to every subscriber in order. Nothing is delivered after `done`. */
void event_emit(struct event_bus *bus, struct event *ev);

const char *event_type_name(enum event_type type);  /* "hello", ... */
const char *file_state_name(enum file_state state); /* "committed", ... */
const char *blocked_on_name(enum blocked_on on);    /* "none", "source", ... */

#endif
