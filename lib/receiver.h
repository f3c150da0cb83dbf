/*
 * receiver: the role that writes. Answers offers, lets the workers verify and write what comes, commits, and
 * gives its verdict when the sender is done.
 *
 *   offers ─▶ plan ─▶ wants                     (workers)
 *   data, packs ─▶ unpack, verify, write ─▶ ack (workers; the ack follows the order of arrival)
 *   complete files ─▶ sync, rename ─▶ results   (one commit stage)
 */
#ifndef HAUL_LIB_RECEIVER_H
#define HAUL_LIB_RECEIVER_H

#include "lib/engine.h"
#include "lib/sender.h"

struct receiver_setup {
	const struct haul_config *cfg;
	struct event_bus *bus;
	const uint8_t *session_id;   /* that journals are kept under: bound to the peer, if it has a key */
	const uint8_t *owner;	     /* OWNER_BYTES: whose the journals are; NULL without keys */
	const char *dir;	     /* destination, NULL with cfg->output or cfg->to_cmd */
	const char *subdir;	     /* below it, asked for by the sender, or NULL */
	const struct endpoint *dial; /* the receiver dials, or NULL */
	struct handoff *first;	     /* the connection that opened the session, or NULL */
	int handoff_fd, signal_fd;
	bool dry_run; /* the sender has said so before BEGIN: nothing is made */
	bool resume;  /* a stream whose earlier receiver died: its journal tells where to go on */
};

/* Could a session write to dir, or to cfg->output? Asked by a listener before it tells anybody that it is one;
 * nothing is made. HAUL_IO or HAUL_USAGE. */
enum haul_rc receiver_check(const struct haul_config *cfg, const char *dir, struct haul_err *err);

/* Is there the journal of a stream with this session id, to be taken up? */
bool receiver_knows(const struct haul_config *cfg, const char *dir, const char *subdir,
		    const uint8_t id[static 16]);

/* Runs one session to its end. The exit status is that of out->err. */
enum haul_rc receiver_run(const struct receiver_setup *setup, struct session_outcome *out);

#endif
