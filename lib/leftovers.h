/*
 * leftovers: unfinished transfers of this owner whose file needs none any more, because the source has another
 * version by now that is too small for one, or the same as is there.
 */
#ifndef HAUL_LIB_LEFTOVERS_H
#define HAUL_LIB_LEFTOVERS_H

#include <stddef.h>

#include "lib/root.h"

/* Looked at in one session; what is beyond them waits for the next one. */
#define LEFTOVERS_MAX 256u

struct leftovers {
	char (*id)[ROOT_TEMP_MAX]; /* sorted */
	size_t count;
};

/* What owner ("" for nobody) has in the state directory as the session begins. Then from any thread. */
void leftovers_find(struct leftovers *l, struct root *root, const char *owner);
void leftovers_free(struct leftovers *l);

/* Removes the one of this path, if there is one and no other session works on it. */
void leftovers_drop(const struct leftovers *l, struct root *root, const char *owner, const char *path,
		    size_t len);

#endif
