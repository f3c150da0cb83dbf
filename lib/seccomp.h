/*
 * seccomp: which system calls a process keeps, as a table; the filter is made from it (seccomp(2)).
 *
 * A call that is in no row answers ENOSYS, so that the C library takes another way. What could only be an
 * attack ends the process.
 */
#ifndef HAUL_LIB_SECCOMP_H
#define HAUL_LIB_SECCOMP_H

#include <stdbool.h>

/* Set in a build whose runtime needs more than haul itself: no filter, and it may read all of /proc. */
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define HAUL_SANITIZED
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define HAUL_SANITIZED
#endif
#endif

/* What a process goes on doing beyond moving bytes between descriptors it has. */
enum seccomp_use {
	SECCOMP_WRITE = 1,   /* the destination: openat2 and *at(), metadata by descriptor */
	SECCOMP_READ = 2,    /* sources: openat and reading directories */
	SECCOMP_PATHS = 4,   /* opens and renames by path: metrics, what sessions still open */
	SECCOMP_DIAL = 8,    /* TCP and unix sockets */
	SECCOMP_LOOKUP = 16, /* host names: files, UDP, modules of the name service */
	SECCOMP_LISTEN = 32, /* accept, fork sessions, which confine themselves further */
};

/* An empty path that never changes: the only one besides NULL that utimensat, fchownat and fchmodat2 may be given. */
extern const char seccomp_this[1];

/* True where there is a table for this machine and the kernel takes filters. */
bool seccomp_available(void);

/* Takes all other calls away from every thread of the process, for good. *calls is how many are left. 0 or
 * -errno. */
int seccomp_enter(unsigned uses, unsigned *calls);

#endif
