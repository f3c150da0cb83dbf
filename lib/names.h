/* names: what a directory holds, read through a buffer that one depth of a walk keeps from directory to
 * directory. */
#ifndef HAUL_LIB_NAMES_H
#define HAUL_LIB_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#define NAMES_BYTES 32768

struct names {
	bool all;  /* the buffer holds every name that is left */
	char *buf; /* dirent64 records; owned by who has the struct */
	size_t cap, used, pos;
};

/* Reads more names behind those that are there. 0 or -errno. */
int names_fill(struct names *n, int fd);

/* 1 with the next name (in the buffer until the next call), 0 at the end, -errno. */
int names_next(struct names *n, int fd, const char **name);

#endif
