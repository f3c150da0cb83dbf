/*
 * The last step of a file: from its temporary name to the final one, atomically, over whatever may be
 * replaced there. Works on descriptors alone; what file systems cannot do (RENAME_NOREPLACE, hard links) is
 * done in the next best way. Part of lib/root.
 */
#ifndef HAUL_LIB_PLACE_H
#define HAUL_LIB_PLACE_H

#include <stdbool.h>
#include <sys/types.h>

struct placing {
	int state;	   /* directory of temp */
	const char *temp;  /* its name */
	bool noreplace;	   /* an existing name is -EEXIST */
	bool backup;	   /* an existing regular file is kept as NAME~ */
	const char *aside; /* a name free in state, for backup */
};

/* Gives p->temp the name `name` in dirfd. 0 or -errno, as root_commit; temp is still there after an error. */
int place_file(const struct placing *p, int dirfd, const char *name);

/* May what has this mode be replaced? 0, -EISDIR for a directory, -EEXIST for a FIFO, socket or device. */
int place_in_the_way(mode_t mode);

#endif
