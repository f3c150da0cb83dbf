/*
 * partial: one large file that is not complete yet, and the memory of it that survives the process.
 *
 *   .haul/OWNER-HASH.part   the bytes, at their final offsets
 *   .haul/OWNER-HASH.j      the journal: which chunks of it are on disk, with their digests
 *   .haul/OWNER-HASH.j.new  the journal of another version of the file, about to replace it
 *
 * OWNER names who may continue it, HASH the path; a stream is named by its session instead, because only that
 * very sender still has the bytes that are missing. The journal is locked as long as a session works on the
 * file (lib/holder.h).
 *
 * The map knows of every chunk whether it is there. It is the wire thread's; workers read digests of chunks
 * that were handed to them.
 */
#ifndef HAUL_LIB_PARTIAL_H
#define HAUL_LIB_PARTIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/journal.h"
#include "lib/root.h"

#define PARTIAL_RENEWED ".new"

/* Smaller files are simply sent again. */
#define PARTIAL_MIN_BYTES  (8u << 20)
#define PARTIAL_CHUNKS_MAX (4u << 20)

enum chunk_state {
	CHUNK_ABSENT,
	CHUNK_HAVE,    /* the journal, or an older version, says so: offered to the sender */
	CHUNK_MOVING,  /* its content, or the word to keep it, has come; being checked and written */
	CHUNK_KEPT,    /* as in the older version; to be copied if anything else differs */
	CHUNK_NEEDED,  /* that check failed: asked for */
	CHUNK_WRITTEN, /* verified and written, not in the journal yet */
	CHUNK_RECORDED,
};

struct chunk_map {
	uint32_t chunk; /* bytes */
	uint64_t size;	/* of the file */
	uint64_t count;
	uint8_t *state;
	uint8_t (*digest)[DIGEST_BYTES];
	uint64_t written; /* chunks that are WRITTEN */
	uint64_t have;	  /* chunks that were HAVE when it was opened */
};

struct partial {
	char part[ROOT_TEMP_MAX], journal[ROOT_TEMP_MAX];
	int fd, jfd;
	struct journal_header head;
	uint64_t seq, end; /* next record's number and place */
	uint64_t top;	   /* no chunk is recorded beyond it */
	bool resumed;	   /* there was something of it */
	bool dir_synced;
	/* of a stream, from its last LINK record */
	uint64_t link_offset, stream_length;
	struct digest_sum sum;
};

bool chunk_map_init(struct chunk_map *m, uint64_t size, uint32_t chunk);
void chunk_map_free(struct chunk_map *m);
/* Raw bytes of chunk i. */
uint32_t chunk_map_length(const struct chunk_map *m, uint64_t i);

/* The word for an owner (a digest of its key; NULL: nobody, "") in the names of its partials. */
void partial_name_owner(char name[static JOURNAL_OWNER_CHARS + 1], const uint8_t *owner);

/* What the partial of a path is called, without a suffix: id, filled. */
char *partial_id(char id[static ROOT_TEMP_MAX], const char *owner, const char *path, size_t len);

/* Opens or begins the partial for head->path (or head->session, for a stream), locked. Chunks that the
 * journal vouches for become CHUNK_HAVE in map (NULL for a stream). *out is the caller's; the seed to go on
 * with is
 * (*out)->head.seed. 0, -EBUSY when another live session holds it, or -errno. */
int partial_open(struct root *root, const struct journal_header *head, struct chunk_map *map,
		 struct partial **out);

/* Is there one of a stream? */
bool partial_has_stream(struct root *root, const uint8_t session[static 16]);

/* Finds the partial of a stream by its session: 0, -ENOENT when there is none. */
int partial_find_stream(struct root *root, const uint8_t session[static 16], struct partial **out);

/* Reads the journal open at jfd and changes nothing: its header, and the bytes that are recorded (NULL: do
 * not count). 0, -ENOENT when it is none, -ENODATA when it records nothing, or -errno. */
int partial_peek(int jfd, struct journal_header *head, uint64_t *recorded);

/* Makes it survive: syncs the data (unless sync is false), then appends records. 0 or -errno; after a failed
 * sync nothing was recorded, after a failed append (no space) what still could be. */
int partial_checkpoint(struct root *root, struct partial *p, const struct journal_record *records,
		       size_t count, bool sync);

/* Closes. With forget, or when nothing was ever recorded, removes journal and data too. NULL is fine. */
void partial_close(struct root *root, struct partial *p, bool forget);

#endif
