/*
 * kept: what a session has offered, so that --delete can tell the rest. 8 bytes a record, 16 while they are
 * sorted: two records a directory, one anything else.
 *
 * Only digests of paths are kept, under a seed nobody else knows. Should two paths have the same one, the
 * worst is that something stays that could have been deleted.
 */
#ifndef HAUL_LIB_KEPT_H
#define HAUL_LIB_KEPT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Records a session may make: 256 MiB of them. */
#define KEPT_MAX (32u << 20)

/* NAME: it was offered, or is to stay. WHOLE: a directory whose every name was told. PART: one of which some
 * were not; whoever says so is right. */
enum kept_kind { KEPT_NAME, KEPT_WHOLE, KEPT_PART };

struct kept {
	pthread_mutex_t mu; /* guards the rest until kept_seal */
	uint64_t seed;
	uint64_t *record;
	size_t count, cap;
	int failed; /* errno: some are missing, and the set is good for nothing */
};

void kept_init(struct kept *k, uint64_t seed);
void kept_free(struct kept *k);

/* From any thread. */
void kept_add(struct kept *k, enum kept_kind kind, const char *path, size_t len);

/* Nothing is added any more. 0, or -ENOMEM or -E2BIG when not everything could be recorded. */
int kept_seal(struct kept *k);

/* After kept_seal, from any thread. */
bool kept_has(const struct kept *k, enum kept_kind kind, const char *path, size_t len);

#endif
