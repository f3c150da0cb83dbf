/*
 * dest: what the receiving workers do with the destination tree. Compares offers with what is there, writes
 * chunks and packs into temporary files, and gives them their final names.
 *
 * A file is known by its id from the offer to its result. Workers reach it through the table here, which has
 * the only lock; what they write goes to a temporary file under .haul until every byte of it is verified.
 */
#ifndef HAUL_LIB_DEST_H
#define HAUL_LIB_DEST_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/blocks.h"
#include "lib/codec.h"
#include "lib/config.h"
#include "lib/digest.h"
#include "lib/kept.h"
#include "lib/leftovers.h"
#include "lib/metaset.h"
#include "lib/partial.h"
#include "lib/root.h"
#include "lib/sweep.h"
#include "wire/frame.h"

enum dest_state {
	DEST_WANTED,	/* nothing of it has come */
	DEST_RECEIVING, /* claimed: chunks or a pack carry it */
	DEST_WRITTEN,	/* verified and in its temporary file; to be committed */
	DEST_DONE,	/* has its outcome */
};

/* What is there already that a file can be made from, chunk by chunk. */
enum dest_base {
	BASE_NONE,
	BASE_PARTIAL, /* an unfinished transfer, in place */
	BASE_OLD,     /* an older version under the final name */
};

struct dest_file {
	uint64_t id, size; /* size: UINT64_MAX for a stream of unknown length */
	uint64_t stamp, seed;
	uint32_t mode;
	int64_t mtime_s;
	uint32_t mtime_ns;
	bool stream, sparse;
	char *path; /* one allocation with this struct */
	size_t path_len;
	struct span meta; /* its META groups, checked; in the same allocation */

	enum dest_state state; /* under the table's lock */

	pthread_mutex_t mu; /* guards fd and temp while workers write, and who sets code first */
	int fd;
	unsigned users;		  /* of fd, just now */
	char temp[ROOT_TEMP_MAX]; /* "" when there is none */
	_Atomic uint16_t code;	  /* reason it will not be committed, 0 so far; sys was set before it */
	uint16_t sys;

	/* wire thread */
	struct digest_sum sum;
	uint64_t received; /* raw bytes, holes included */
	uint64_t taken;	   /* the same without a map, when the order is free */
	bool chunked;	   /* carried by chunks, not by a pack */
	uint32_t ends;	   /* END frames that came */
	bool closed;	   /* the last thing that came is an END: only what was asked for opens it again */
	bool told;	   /* base: the last HAVE is out; until then nothing may come */

	/* large files: what survives this process, and what is known of each chunk */
	struct partial *partial;
	struct chunk_map map; /* state NULL: none */
	enum dest_base base;
	int base_fd;	    /* of an older version */
	unsigned held;	    /* its share of the descriptors in dest.held */
	bool lazy, fresh;   /* compare only, copy if something differs; something did */
	uint64_t needs;	    /* chunks asked for after a keep failed, not here yet */
	uint64_t asked;	    /* in all */
	uint64_t have_next; /* first chunk no HAVE has told of yet */
	struct dest_file *have_link, *active_link; /* queues of the wire thread */
	uint64_t checkpoint_ms;			   /* of the last one, or of the first unrecorded chunk */
	bool checkpointing, ended;
	bool unsafe;		    /* a sync failed: what it covered is never recorded */
	bool in_journal;	    /* stream: the journal has a record to take it up from */
	struct digest_sum sum_done; /* stream: of what is written */
	uint64_t written, recorded; /* stream: bytes, in order */
};

struct dest {
	const struct haul_config *cfg;
	struct root *root; /* NULL when the stream goes to a sink */
	struct blocks *blocks;
	uint64_t seed;
	mode_t umask; /* for streams, which have no mode of their own */
	uint32_t chunk;
	atomic_uint_fast64_t maps;  /* chunks in all maps: bounds their memory */
	atomic_uint_fast64_t held;  /* descriptors of wanted files, kept from the offer on */
	uint64_t held_max;	    /* beyond it a file is received whole, and without a journal */
	atomic_uint_fast64_t loose; /* descriptors of other temporary files */
	uint64_t loose_max;	    /* beyond it each is closed after every write */
	uint8_t compare;
	uint16_t flags;
	uint8_t session[16];
	char owner[JOURNAL_OWNER_CHARS + 1]; /* of its partials; "" without keys */
	struct leftovers leftovers;	     /* partials that were there when it began */
	char tag[SWEEP_TAG_BYTES];	     /* of this session's temporary files */
	int mark_fd;			     /* makes them ours (lib/sweep.h); -1: there are none */
	pthread_mutex_t mark_mu;	     /* guards tag and mark_fd */
	const char *only;		     /* -o FILE: the one path that a stream or file gets, else NULL */
	bool single;			     /* one stream or file, nothing else */

	pthread_mutex_t mu;	   /* guards table, first, taken_single and first_bad */
	struct haul_err first_bad; /* the first entry that failed, for the last words */
	struct dest_file *table[OPEN_ENTRIES_MAX];
	size_t open;	      /* files in it */
	uint64_t first, next; /* ids that may be open: [first, next) */
	bool taken_single;
	atomic_uint_fast64_t temp_number;
	bool abandon_streams; /* the session is over: nobody can go on with its stream */
	/* something was made or changed, or found as a run that died may have left it */
	atomic_bool unsynced;

	struct kept kept;    /* --delete: what was offered */
	struct metaset meta; /* owners and attributes: what is set, and what could not be */

	uint64_t dirs_failed; /* whose mode or times could not be set */
	int dirs_fd; /* temporary record of directories whose mode and time are set at the end; -1 none */
	pthread_mutex_t dirs_mu;
};

enum dest_job_kind { DEST_PLAN, DEST_HAVE, DEST_PACK, DEST_DATA, DEST_HOLE, DEST_KEEP, DEST_END, DEST_DROP };

/* A planned entry, for the events of the wire thread. */
struct dest_planned {
	struct dest_file *file; /* wanted */
	uint8_t action, type;
	uint16_t code, sys; /* when it failed */
	uint64_t size;
};

struct dest_job {
	enum dest_job_kind kind;
	uint32_t cost;
	struct buf *body;	/* of the message; the stage owns it */
	struct dest_file *file; /* DATA, HOLE, END */
	struct frame_data data;
	struct frame_hole hole;
	struct frame_keep keep;
	struct frame_end end;
	uint32_t end_number;		 /* of f->ends */
	uint64_t have_first, have_count; /* HAVE: chunks to tell of */
	uint64_t first;			 /* PLAN: id of the first entry */
	uint16_t count;

	/* outcome */
	const char *violation; /* the peer broke the protocol: static text */
	struct buf *out;       /* PLAN: body of a WANT. DATA to a sink: the unpacked content */
	struct dest_planned *planned;
	struct dest_file **files; /* PACK: written or failed */
	size_t file_count;
	uint64_t content; /* raw bytes verified */
	uint64_t bad;	  /* KEEP: bit i: chunk first + i is not what it was */
	bool failed;	  /* DATA, HOLE, KEEP: it did not get into the file, which has failed */
};

enum haul_rc dest_init(struct dest *d, const struct haul_config *cfg, struct blocks *blocks,
		       const uint8_t session_id[static 16], struct haul_err *err);
/* Removes the temporary files of what was not committed. */
void dest_free(struct dest *d);

/* struct pool_ops of the workers: ctx is a struct dest, jobs are struct dest_job. */
extern const struct pool_ops dest_ops;
void dest_job_free(struct dest_job *job);

/* Wire thread. The open, wanted file with this id, or NULL. */
struct dest_file *dest_find(struct dest *d, uint64_t id);
/* Wire thread. True while any wanted file has no outcome. */
bool dest_has_open(struct dest *d);
/* Takes it out of the table and frees it; its temporary file goes too if it still has one. */
void dest_forget(struct dest *d, struct dest_file *f);
/* The stream of this session as its journal knows it, in the table; NULL when there is none. */
struct dest_file *dest_take_up(struct dest *d);
/* Frees a file that is not in the table. What is unfinished of a large one stays on disk, with its journal.
 */
void dest_file_free(struct dest *d, struct dest_file *f);
/* Remembers the first entry that failed. */
void dest_note_bad(struct dest *d, const char *path, unsigned reason, int sys);
/* Records why a file will not be committed; the first reason stays. */
void dest_fail(struct dest_file *f, enum haul_rc rc, int sys);

/* The tag of this session's temporary files, with its lock held from now on; NULL with errno set. */
const char *dest_tag(struct dest *d);
/* A temporary file of this session; as root_temp_open. */
int dest_temp_open(struct dest *d, char name[static ROOT_TEMP_MAX]);

/* Commits files that are DEST_WRITTEN: syncs as configured, renames, syncs directories; sets code and sys.
 * Runs in the commit stage. */
void dest_commit(struct dest *d, struct dest_file **files, size_t count);
/* Modes and times of all directories, the last sync, .haul away. 0 or -errno. */
int dest_finish(struct dest *d);

#endif
