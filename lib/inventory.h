/*
 * inventory: what lies in the state directory of a destination: the unfinished transfers, for people to look
 * at and to give up. Looking writes nothing and disturbs nobody.
 */
#ifndef HAUL_LIB_INVENTORY_H
#define HAUL_LIB_INVENTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/root.h"
#include "wire/limits.h"

struct inventory_entry {
	char id[ROOT_TEMP_MAX];
	char owner[ROOT_TEMP_MAX]; /* who may continue it; "stream" for a stream */
	uint64_t size;		   /* UINT64_MAX: a stream of unknown length */
	uint64_t recorded;	   /* bytes that the next run need not get again */
	uint64_t disk;		   /* bytes allocated, journal included */
	uint64_t age_s;		   /* since something was last recorded */
	bool active;		   /* a session works on it */
	size_t path_len;
	char path[PATH_MAX_BYTES + 1];
};

/* Names in the state directory, sorted. */
struct inventory_names {
	char (*name)[ROOT_TEMP_MAX];
	size_t count, limit; /* names beyond limit are not looked at */
	bool no_memory;
};

/* Fills names, whose limit is set and the rest zero; free(names->name) in any case. 0 or -errno. */
int inventory_names(struct root *root, struct inventory_names *names);

/* Is name ID and this suffix (".part", ".j", ".j.pid") of an unfinished transfer? id gets the ID. */
bool inventory_id(const char *name, const char *suffix, char id[static ROOT_TEMP_MAX]);

/* Calls fn with each unfinished transfer, ordered by id; the entry is borrowed. 0 or -errno. */
int inventory_list(struct root *root, void (*fn)(void *ctx, const struct inventory_entry *e), void *ctx);

/* Removes one for good. *freed gets the bytes. 0, -ENOENT when there is none, -EBUSY while a session works
 * on it, or -errno. */
int inventory_discard(struct root *root, const char *id, uint64_t *freed);

#endif
