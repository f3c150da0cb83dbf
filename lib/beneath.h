/*
 * Names that may come from the other side, and opening them without ever leaving a directory: openat2 with
 * RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS, step by step where there is no openat2.
 */
#ifndef HAUL_LIB_BENEATH_H
#define HAUL_LIB_BENEATH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#define ROOT_PATH_MAX	   4096 /* bytes of a whole relative path, without the NUL */
#define ROOT_COMPONENT_MAX 255
#define ROOT_DEPTH_MAX	   256
#define ROOT_STATE_DIR	   ".haul"

/* Why a name from the peer cannot be used; NULL when it can. One test for every spelling that is refused:
 * empty, absolute, NUL inside, empty component, ".", "..", trailing slash, component over 255 bytes, path
 * over 4096 bytes, deeper than 256, first component ".haul". Newlines, control bytes and invalid UTF-8 are
 * fine (they are escaped when shown). */
const char *root_name_refused(const char *path, size_t len);

/* Opens path, canonical or ".", beneath dirfd; a symbolic link anywhere in it is ELOOP (or ENOTDIR). flags as
 * for open(2) without O_CREAT. fd or -errno. Also what the sender reads its sources with. */
int open_beneath(int dirfd, const char *path, int flags);

/* The same for one name, never followed; mode for O_CREAT, 0 without. Only where there is no openat2 it is
 * openat. */
int open_name(int dirfd, const char *name, int flags, unsigned mode);

/* A directory to be read, by one name that is not followed. -EXDEV when something else is mounted there. */
int open_dir_here(int dirfd, const char *name);

/* A directory of ours that lacks u+rwx gets it: an earlier run may have left it read-only. *st is what is
 * known of it. 0, also when there is nothing to do, or -errno. */
int open_make_usable(int dirfd, const char *name, const struct stat *st);

#endif
