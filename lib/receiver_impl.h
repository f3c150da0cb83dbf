/*
 * The receiver's inside, shared by the files that make it up:
 *
 *   receiver         set-up, pump, verdict; what goes out
 *   receiver_in      what comes in: checked, and queued for the stages
 *   receiver_jobs    finished jobs in the order of arrival; HAVE, KEEP and NEED; the sink
 *   receiver_commit  batches, checkpoints, outcomes
 *
 * All of it runs in the wire thread, but for what the stages run (lib/dest.h).
 */
#ifndef HAUL_LIB_RECEIVER_IMPL_H
#define HAUL_LIB_RECEIVER_IMPL_H

#include "lib/dest.h"
#include "lib/receiver.h"
#include "lib/sink.h"

#define BATCH_FILES 1024u
#define NEEDS_MAX   1024u
#define SINK_DEPTH  4u
/* One says all there is to say; a sender that says nothing else for ever would never be idle. */
#define FLUSHES_MAX 64u
/* Behind a STOP, beyond two windows: what a sender's workers may have in hand. */
#define DROPPED_MAX_BYTES (UINT64_C(1) << 30)
#define COMMIT_DEPTH	  4u
/* A batch of small files is committed when it is full, or this old, or when the sender asks. */
#define BATCH_MS 2000u
/* What would have to be sent again after a kill: at most this much, or what came in this time, and one chunk.
 */
#define CHECKPOINT_BYTES (64u << 20)
#define CHECKPOINT_MS	 2000u

struct checkpoint {
	struct dest_file *file;
	struct journal_record *records;
	uint64_t *chunks; /* numbers of the chunks recorded, NULL for a stream */
	size_t count;
	uint64_t link_offset, written; /* stream */
	int rc;
};

struct commit_job {
	struct checkpoint checkpoint; /* of a file under way; nothing else in this job then */
	struct dest_file *files[BATCH_FILES];
	size_t count;
	uint64_t bytes;
	bool finish; /* the last: directories, and the verdict */
	int finish_rc;
};

struct receiver {
	struct receiver_setup set;
	const struct haul_config *cfg;
	struct engine engine;
	struct metrics *m;
	struct dest dest;

	struct pool *workers;
	struct dest_job *inbox[LINK_MESSAGES_MAX]; /* arrived, not yet in the stage */
	size_t inbox_head, inbox_count;
	struct dest_job *held; /* finished, but what it leads to does not fit yet */

	struct pool *commit;
	struct commit_job *batch; /* being filled */
	uint64_t batch_since;
	bool flush_asked;
	unsigned flushes; /* in a row */

	struct dest_file *have_head, **have_tail; /* whose chunks are to be told of */
	struct dest_file *active;		  /* with a journal, under way */
	struct {
		uint64_t file, chunk;
	} need[NEEDS_MAX]; /* to be asked for */
	size_t need_head, need_count;

	struct sink sink;
	struct pool *sink_stage;
	uint64_t sink_next; /* offset the stream must go on at */

	struct frame_outcome outcome[OPEN_ENTRIES_MAX]; /* to be told */
	size_t outcome_head, outcome_count;

	uint64_t next_offer, offered_files, quota_used, dropped_bytes;
	uint64_t finish_files; /* as FINISH says */
	bool begun, finish_asked, finish_sent, summary_sent, stopped, stop_sent, draining;
	struct haul_err stop;
	int finish_rc;
	enum haul_rc worst;
};

/* ---- receiver ---- */

bool receiver_send_body(struct receiver *r, uint8_t frame, struct buf *body);
bool receiver_send_fields(struct receiver *r, uint8_t frame, const uint8_t *p, size_t n);

/* ---- receiver_in ---- */

enum haul_rc receiver_message(void *self, struct link_event *ev);

/* ---- receiver_jobs ---- */

void receiver_pump_sink(struct receiver *r);
void receiver_pump_needs(struct receiver *r);
void receiver_pump_jobs(struct receiver *r);

/* ---- receiver_commit ---- */

enum haul_rc receiver_violation(struct receiver *r, const char *what, uint64_t at);
enum haul_rc receiver_no_memory(struct receiver *r, const char *what);
/* Takes no more content; what is verified stays, and the sender hears why. */
void receiver_stop(struct receiver *r, enum haul_rc rc, int sys, const char *why);
void receiver_settle(struct receiver *r, struct dest_file *f);
void receiver_submit_batch(struct receiver *r);
/* Room for n more files in the batch; false while the commit stage is behind. */
bool receiver_batch_takes(struct receiver *r, size_t n);
void receiver_add_to_batch(struct receiver *r, struct dest_file *f);
void receiver_free_commit_job(struct commit_job *job);
/* Bytes a checkpoint would record. A file that has ended is about to be committed: it needs none. */
uint64_t receiver_unrecorded(const struct dest_file *f);
/* Of any file under way, or being recorded now. */
bool receiver_unrecorded_left(const struct receiver *r);
/* What there is of a file that will not be committed; false: not now, the stage is busy. */
bool receiver_record_rest(struct receiver *r, struct dest_file *f);
/* When the session is over and its stages have ended: whatever ended it, what came is there for the next run.
 */
void receiver_record_last(struct receiver *r);
void receiver_pump_checkpoints(struct receiver *r);
void receiver_pump_commits(struct receiver *r);

extern const struct pool_ops receiver_commit_ops;

#endif
