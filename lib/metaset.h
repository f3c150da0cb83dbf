/*
 * metaset: what an entry tells of itself (lib/meta.h), set on a descriptor of the receiver's. Nothing is done
 * by path, and nothing that the sender did not announce.
 *
 * What is only to be tried and cannot be done here (no privilege, no such thing in this file system) is counted.
 */
#ifndef HAUL_LIB_METASET_H
#define HAUL_LIB_METASET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "lib/meta.h"

struct metaset {
	unsigned tells;		    /* of BEGIN */
	atomic_uint_fast64_t unset; /* tried in vain */
	atomic_uint_fast64_t held;  /* bytes of groups in memory */
};

/* Owner, attributes and access control lists of what fd is open for; in this order and before the mode, which
 * has the last word. Of a symbolic link, opened with O_PATH, the owner alone. groups have been checked. 0 or
 * -errno: what was told as needed is missing. */
int metaset_apply(struct metaset *m, int fd, struct span groups);
int metaset_owner(struct metaset *m, int fd, struct span groups);

/* Is there perhaps something to mend on a file that has st? */
bool metaset_differs(const struct metaset *m, const struct stat *st, struct span groups);

#endif
