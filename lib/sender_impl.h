/*
 * The sender's inside, shared by the files that make it up:
 *
 *   sender        set-up, pump, verdict; streams
 *   sender_offer  entries from the scan to the offer
 *   sender_jobs   wanted files to jobs, finished jobs to messages
 *   sender_in     what the receiver answers
 *   sender_links  later names of files
 *   sender_delete what the receiver has and the source has not
 *
 * All of it runs in the wire thread, but for what the stages run (lib/scan.h, lib/source.h, lib/stream_in.h).
 */
#ifndef HAUL_LIB_SENDER_IMPL_H
#define HAUL_LIB_SENDER_IMPL_H

#include "lib/governor.h"
#include "lib/scan.h"
#include "lib/sender.h"
#include "lib/source.h"
#include "lib/stream_in.h"

/* Entries of a full batch of the scan. */
#define BATCH 256u
/* A file that changes while it is read is sent again this often. */
#define RESEND_MAX 2u
#define OUTBOX_MAX 8u
/* Raw bytes given to the link ahead of the socket. */
#define UNSENT_MAX (4u << 20)

struct outgoing {
	uint8_t frame;
	uint32_t cost;
	struct buf *body;
	uint64_t content; /* raw bytes of files in it */
};

struct sender {
	struct sender_setup set;
	const struct haul_config *cfg;
	struct engine engine;
	struct metrics *m;

	/* scan */
	struct walk *walk;
	struct pool *scan;
	size_t next_batch;
	bool scan_ended;

	/* entries by id, from offer to result */
	struct source_file *open[OPEN_ENTRIES_MAX];
	uint64_t first_open, next_id;
	size_t open_count, unanswered; /* unanswered: offered, no WANT yet */
	uint64_t open_meta;	       /* bytes of META groups of the open ones */

	/* wanted files in the order they were wanted */
	struct source_file *ready[OPEN_ENTRIES_MAX];
	size_t ready_head, ready_count;
	struct source_file *again[OPEN_ENTRIES_MAX]; /* changed while read: to be offered once more */
	size_t again_count;
	struct hardlinks *hardlinks;
	struct source_file *links[OPEN_ENTRIES_MAX]; /* later names: to be offered when the first is there */
	size_t link_head, link_count;

	/* workers */
	struct source_config source;
	struct governor governor;
	struct pool *workers;
	struct source_file *current; /* the large file chunks are made of */
	struct outgoing outbox[OUTBOX_MAX];
	size_t outbox_head, outbox_count;
	uint64_t hole_from, hole_to; /* holes of one file in a row travel as one */
	struct source_file *hole_file;
	uint64_t keep_from, keep_count; /* so do chunks the receiver has */
	struct source_file *keep_file;

	/* stream */
	struct stream_in in;
	struct pool *reader;
	struct source_file *stream;
	bool stream_ended;
	uint64_t stream_read;

	bool begun, flushed, finished, stopped, draining;
	struct haul_err stop;
	uint64_t would_files, would_bytes; /* --dry-run */
	struct {
		enum { DELETE_TO_COME, DELETE_COUNTING, DELETE_REMOVING, DELETE_OVER } state;
		uint64_t seen, found, most; /* most: what may be found */
		struct haul_err guard;	    /* why nothing was deleted, if it was the guard */
	} deletion;
	uint64_t offered_files, offered_entries;
	uint64_t file_ids;	   /* ids of files and streams, those that were offered again included */
	enum haul_rc worst;	   /* of single files: PARTIAL, CHANGED, DIGEST or POLICY */
	struct haul_err first_bad; /* the first file that failed, vanished or changed */
	bool one_only;		   /* the receiver takes one file or stream, and this is another thing */
	uint64_t refused, busy;	   /* failed files: by policy, because another sender sends them now */
	uint64_t unreadable;	   /* files that could be listed but not read */
	int why_unreadable;
};

/* ---- sender_offer ---- */

struct source_file **sender_entry_slot(struct sender *s, uint64_t id);
struct source_file *sender_entry_of(struct sender *s, uint64_t id);
void sender_close_entry(struct sender *s, struct source_file *f);
bool sender_table_has_room(const struct sender *s, size_t n);
void sender_begin(struct sender *s);
void sender_plan_event(struct sender *s);
void sender_offer(struct sender *s, struct scan_batch *b);
/* Batches that the scan has finished become offers; new ones are started while the table has room. */
void sender_pump_scan(struct sender *s);
/* A changed file is offered again as it is now. */
void sender_offer_again(struct sender *s);
/* Adds old to a batch as it is now, read from fd, as an entry of this type: the entry, which the batch owns, or
 * NULL. old and fd stay the caller's. */
struct source_file *sender_add_now(struct sender *s, struct scan_batch *b, const struct source_file *old,
				   int fd, const struct stamp *now, enum entry_type type, const char *target);

/* ---- sender_links ---- */

void sender_take_links(struct sender *s, struct scan_batch *b);
/* Can the next of them be offered? */
bool sender_links_ready(const struct sender *s);
void sender_offer_links(struct sender *s);
/* The other names of f hear what became of it; f is one of them no more. */
void sender_settle_link(struct sender *s, struct source_file *f);

/* ---- sender_jobs ---- */

void sender_outbox_put(struct sender *s, uint8_t frame, uint32_t cost, struct buf *body, uint64_t content);
/* A message of fixed fields only. */
bool sender_outbox_fields(struct sender *s, uint8_t frame, const uint8_t *p, size_t n);
/* True when everything in it has gone to the link. */
bool sender_outbox_drain(struct sender *s);
void sender_make_ready(struct sender *s, struct source_file *f);
struct send_job *sender_job_new(struct sender *s, enum job_kind kind, struct source_file *f);
/* Every chunk has come back. */
void sender_file_done(struct sender *s, struct source_file *f);
void sender_pump_jobs(struct sender *s);
void sender_pump_done(struct sender *s);

/* ---- sender_in ---- */

void sender_problem_event(struct sender *s, const struct haul_err *p, enum file_state state);
/* The worst thing that happened to a single file decides the exit status of a run that went on. */
void sender_note_worst(struct sender *s, enum haul_rc rc);
void sender_count_failed(struct sender *s, const struct source_file *f, enum haul_rc rc, int sys,
			 const char *why);
void sender_count_vanished(struct sender *s, const struct source_file *f);
/* It can no longer be opened: sys says why. */
void sender_count_gone(struct sender *s, const struct source_file *f, int sys);
enum haul_rc sender_malformed(struct sender *s, const char *what, uint64_t at);
enum haul_rc sender_message(void *self, struct link_event *ev);

/* ---- sender_delete ---- */

/* When every entry has its result: true once FINISH may follow. */
bool sender_pump_delete(struct sender *s);
enum haul_rc sender_on_strays(struct sender *s, struct span body);

/* ---- sender_stream ---- */

/* A pipe instead of a tree: its one entry. */
void sender_offer_stream(struct sender *s);
/* Pieces read become jobs for the workers; the reader gets new ones to fill. */
void sender_pump_stream(struct sender *s);

#endif
