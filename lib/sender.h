/*
 * sender: the role that has the files. Scans, offers, reads what is wanted, and is done when every entry has
 * its result and the receiver has given its verdict.
 *
 *   scan ─batches─▶ offers ─┐                        ┌─▶ results: committed, failed, changed ...
 *                           link ◀─▶ the receiver ───┤
 *   workers ─chunks─────────┘                        └─▶ wants ─▶ ready ─▶ jobs for the workers
 */
#ifndef HAUL_LIB_SENDER_H
#define HAUL_LIB_SENDER_H

#include "lib/engine.h"

struct sender_setup {
	const struct haul_config *cfg;
	struct event_bus *bus;
	const uint8_t *session_id;
	const char *const *sources; /* paths; none for a stream */
	size_t source_count;
	bool stream;		     /* standard input, or cfg->from_cmd */
	const struct endpoint *dial; /* or NULL with first set: the receiver dialled */
	struct handoff *first;
	int handoff_fd, signal_fd;
	bool key_worked; /* in an earlier session of this run */
};

/* How it ended: metrics and the first two failures. */
struct session_outcome {
	struct haul_err err, also;
	bool err_from_peer;
	bool told;	   /* the peer knows how it ended, and has taken its leave */
	bool session_gone; /* the receiver has forgotten the session: starting over may continue it */
	struct metrics metrics;
};

/* Adds what an earlier session of the same run has done. */
void session_add_metrics(struct metrics *to, const struct metrics *earlier);

/* Runs one session to its end. The exit status is that of out->err. */
enum haul_rc sender_run(const struct sender_setup *setup, struct session_outcome *out);

#endif
