/*
 * source: what the sending workers do. A job is one chunk of a file, a pack of small files, or a piece of a
 * stream; it comes back as the body of one message, digested and packed, with room in front for nothing more.
 *
 * A file is read by several workers at once through one descriptor; it is checked against the stamp of the
 * walk when it is opened and again after the last read. What does not match is never called complete.
 */
#ifndef HAUL_LIB_SOURCE_H
#define HAUL_LIB_SOURCE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/blocks.h"
#include "lib/codec.h"
#include "lib/digest.h"
#include "lib/walk.h"
#include "wire/limits.h"

/* How reading a file ended; the numbers travel in PACKED and END. */
enum read_status { READ_OK = 0, READ_CHANGED = 1, READ_VANISHED = 2, READ_FAILED = 3 };

/* One entry from the walk until its result is in. Owned by the sender; jobs borrow it. */
struct source_file {
	uint64_t id;
	enum entry_type type;
	unsigned source, attempts;
	uint32_t mode, uid, gid;
	struct stamp stamp;
	size_t meta_len;	  /* bytes of META groups it was offered with */
	bool sparse, wanted;	  /* sparse: of a DIR_END, what entry.part says */
	struct hardlink *link;	  /* it is one name of several (lib/hardlinks.h); counted */
	bool landed;		  /* its content is there */
	char *path, *source_path; /* one allocation with this struct */
	size_t path_len;

	/* workers, under mu */
	pthread_mutex_t mu;
	int fd; /* -1: not open */
	enum read_status status;
	int sys;
	atomic_uint dull; /* chunks in a row that did not shrink */

	/* wire thread */
	size_t jobs;	/* chunks of it inside the stage */
	uint64_t next;	/* offset of the next chunk to make */
	uint64_t kept;	/* bytes that the receiver had, and keeps */
	bool submitted; /* no more chunks will be made */
	bool told;	/* its PACK or END is out: now, and not before, there may be a result */
	bool listing;	/* the receiver compares: its list of chunks is to come */
	uint64_t seed;	/* of its digests */
	struct digest_sum sum;

	/* what the receiver has of it: digests by chunk number, all zeros for none */
	uint8_t (*have)[DIGEST_BYTES];
	uint64_t have_count, have_told; /* chunks of the file; told of so far */
	bool comparing;			/* what is missing is sent: now the rest is compared */
	uint64_t *needs;		/* chunks asked for again */
	size_t need_count, need_cap;
	uint8_t *asked; /* a bit a chunk: it has been asked for again, which is done once */
};

enum job_kind { JOB_CHUNK, JOB_PACK, JOB_STREAM };

struct send_job {
	enum job_kind kind;
	struct source_file *file; /* CHUNK, STREAM */
	uint64_t offset;
	uint32_t raw;		    /* bytes to read; bytes read */
	struct source_file **files; /* PACK, owned */
	size_t count;

	/* outcome: body NULL for a hole, or when nothing could be read */
	struct buf *body;
	uint32_t cost;
	bool hole;
	const uint8_t *expect; /* CHUNK: digest of what the receiver has, or NULL; borrowed from the file */
	bool keep;	       /* it has just that */
	bool again;	       /* asked for after all, though it was kept */
	uint8_t digest[DIGEST_BYTES];
};

struct source_config {
	const struct walk *walk;
	struct blocks *blocks;
	uint64_t seed;
	atomic_int level; /* zstd level for the next chunk; LEVEL_STORED: do not pack */
};

#define LEVEL_STORED 0
/* frame fields and packing headroom in front of a payload */
#define PAYLOAD_AT   MESSAGE_FIXED_MAX_BYTES
#define PACKED_BYTES 29u

/* Notes that the receiver has these chunks of f, in order from the first; false when it cannot be right. */
bool source_file_have(struct source_file *f, uint32_t chunk, uint64_t first, const uint8_t *digests,
		      size_t count);
/* Notes that a chunk is to be sent in any case; false when out of memory or range. */
bool source_file_need(struct source_file *f, uint32_t chunk, uint64_t i);

/* A copy of an entry; NULL when out of memory. */
struct source_file *source_file_new(const struct entry *e);
void source_file_free(struct source_file *f);

/* Worker entry points (struct pool_ops): ctx is a struct source_config. */
void *source_worker_new(void *ctx);
void source_worker_free(void *worker);
void source_run(void *ctx, void *worker, void *job);

/* After the last chunk of a file has come back: is what was read one consistent version? Closes it. */
enum read_status source_file_close(struct source_file *f);

void send_job_free(struct send_job *job);

#endif
