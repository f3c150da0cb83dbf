/*
 * scan: the walk as a stage. A batch is what one OFFER carries: entries encoded, the files behind them, and
 * what could not be read on the way. The stage has one worker, because a walk is one sequence.
 */
#ifndef HAUL_LIB_SCAN_H
#define HAUL_LIB_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/hardlinks.h"
#include "lib/pool.h"
#include "lib/source.h"

#define SCAN_PROBLEMS_MAX 16u
#define SCAN_BATCH_BYTES  (32u << 10)
/* the last entry may begin just below the limit: room for one of the longest beyond it */
#define SCAN_BATCH_ROOM (SCAN_BATCH_BYTES + 64u + 2 * PATH_MAX_BYTES + META_MAX_BYTES)

struct scan_batch {
	/* in */
	struct walk *walk;
	const struct haul_config *cfg;
	struct hardlinks *hardlinks; /* NULL: every name is a file of its own */
	size_t limit;		     /* entries at most */

	/* out */
	struct source_file *files[OFFER_ENTRIES_MAX]; /* owned until the taker takes them */
	size_t count;
	struct source_file
		*later[OFFER_ENTRIES_MAX]; /* further names of files: not in body; owned likewise */
	size_t later_count;
	struct buf *body; /* ENTRY groups; headroom in front for the fields of OFFER */
	struct haul_err problems[SCAN_PROBLEMS_MAX];
	size_t problem_count;
	bool ended, nothing_readable, no_memory;
};

extern const struct pool_ops scan_ops;

struct scan_batch *scan_batch_new(const struct haul_config *cfg, struct walk *walk, size_t limit);
void scan_batch_free(struct scan_batch *b);

/* One entry as an OFFER of its own, for a file that is offered again. False when out of memory. */
bool scan_batch_add(struct scan_batch *b, const struct entry *e, struct source_file *f);

/* Puts id and count in front of the groups: the body of an OFFER. The body moves to the caller. */
struct buf *scan_batch_offer(struct scan_batch *b, uint64_t first);

#endif
