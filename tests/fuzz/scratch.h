/* A directory of a target's own, in memory if there is any, that is gone when the target ends. */
#ifndef HAUL_TESTS_FUZZ_SCRATCH_H
#define HAUL_TESTS_FUZZ_SCRATCH_H

#include "fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char scratch[32];

/* Everything below at/name, but not that itself; no link is followed. */
static inline void scratch_empty(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	for (struct dirent *e; d && (e = readdir(d));) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
		    unlinkat(fd, e->d_name, 0) == 0)
			continue;
		if (fchmodat(fd, e->d_name, 0700, 0) < 0)
			continue;
		scratch_empty(fd, e->d_name);
		unlinkat(fd, e->d_name, AT_REMOVEDIR);
	}
	if (d)
		closedir(d);
}

static inline void scratch_remove(void)
{
	scratch_empty(AT_FDCWD, scratch);
	rmdir(scratch);
}

/* Makes it: its descriptor. */
static inline int scratch_make(void)
{
	snprintf(scratch, sizeof scratch, "%s/haul-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	CHECK(mkdtemp(scratch));
	atexit(scratch_remove);
	int at = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(at >= 0);
	return at;
}

static inline void scratch_file(int at, const char *path, const void *p, size_t n)
{
	int fd = openat(at, path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
	CHECK(fd >= 0 && write(fd, p, n) == (ssize_t)n);
	close(fd);
}

static inline size_t scratch_count(int at, const char *name)
{
	size_t n = 0;
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	DIR *d = fdopendir(fd);
	CHECK(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

#endif
