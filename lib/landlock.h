/*
 * landlock: Landlock rulesets by raw system calls (landlock(7)), with the numbers of the newest ABI known
 * here: a distribution's header is older than its kernel may be. What the running kernel does not know is
 * left out.
 */
#ifndef HAUL_LIB_LANDLOCK_H
#define HAUL_LIB_LANDLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* Rights beneath a path. None of them lets a device, a FIFO or a socket be made, or a file be executed. */
#define LANDLOCK_READ	   (UINT64_C(1) << 2 | UINT64_C(1) << 3) /* files, directories */
#define LANDLOCK_READ_FILE (UINT64_C(1) << 2)
#define LANDLOCK_WRITE	   (UINT64_C(1) << 1 | UINT64_C(1) << 14) /* files that are there, truncate */
#define LANDLOCK_CREATE	   (UINT64_C(1) << 8)			  /* regular files */
#define LANDLOCK_REMOVE	   (UINT64_C(1) << 5)			  /* anything but directories */
#define LANDLOCK_TREE                                                                                        \
	(UINT64_C(1) << 4 | UINT64_C(1) << 7 | UINT64_C(1) << 12 |                                           \
	 UINT64_C(1) << 13) /* directories, symlinks, moving */
#define LANDLOCK_ALL (LANDLOCK_READ | LANDLOCK_WRITE | LANDLOCK_CREATE | LANDLOCK_REMOVE | LANDLOCK_TREE)

struct landlock {
	int fd;	      /* of the ruleset, -1: none */
	unsigned abi; /* of the kernel */
	uint64_t fs;  /* rights this kernel can withhold */
	int failed;   /* errno of the first call that failed */
};

/* The ABI of the running kernel; 0 without Landlock, and for ABI 1, where nothing can move to another
 * directory. */
unsigned landlock_abi(void);

/* Begins a ruleset that allows nothing: every right over files, to connect or bind a TCP socket (ABI 4), and
 * if hermit to reach abstract unix sockets of others (ABI 6). A failure shows in landlock_enforce. */
void landlock_begin(struct landlock *l, bool hermit);

/* Allows rights on path below dirfd, a directory with all beneath it or a file; symbolic links are followed.
 * A path that is not there allows nothing and is no failure. */
void landlock_allow(struct landlock *l, int dirfd, const char *path, uint64_t rights);

/* Allows connecting to a TCP port. */
void landlock_allow_connect(struct landlock *l, unsigned port);

/* Binds the calling thread and all it will start, for good. Frees the ruleset. 0 or -errno. */
int landlock_enforce(struct landlock *l);

#endif
