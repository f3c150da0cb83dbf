#include "lib/destdir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPEN_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC)

int destdir_open(const char *dir)
{
	int fd = open(dir, OPEN_FLAGS);
	if (fd < 0 && errno == ENOENT && (mkdir(dir, 0777) == 0 || errno == EEXIST))
		fd = open(dir, OPEN_FLAGS);
	return fd < 0 ? -errno : fd;
}

/* The directory that holds dir's last component. */
static int parent_of(const char *dir, char parent[static PATH_MAX])
{
	size_t n = strlen(dir);
	while (n > 1 && dir[n - 1] == '/')
		n--;
	while (n > 0 && dir[n - 1] != '/')
		n--;
	if (n >= PATH_MAX)
		return -ENAMETOOLONG;
	snprintf(parent, PATH_MAX, "%.*s", n ? (int)n : 1, n ? dir : ".");
	return 0;
}

/* Is nothing there, not even a symbolic link, and a directory around it? 0 or -errno. */
static int missing_in(const char *dir, char parent[static PATH_MAX])
{
	struct stat st;
	int rc = parent_of(dir, parent);
	if (rc < 0)
		return rc;
	if (lstat(dir, &st) == 0)
		return -ENOENT; /* a link to nowhere: mkdir does not follow it */
	if (errno != ENOENT || stat(parent, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int destdir_look(const char *dir)
{
	char parent[PATH_MAX];
	int fd = open(dir, OPEN_FLAGS);
	if (fd >= 0 || errno != ENOENT)
		return fd < 0 ? -errno : fd;
	int rc = missing_in(dir, parent);
	return rc < 0 ? rc : DESTDIR_ABSENT;
}

int destdir_check(const char *dir)
{
	char parent[PATH_MAX];
	const char *written = dir;
	struct stat st;
	if (stat(dir, &st) < 0) {
		int rc = errno == ENOENT ? missing_in(dir, parent) : -errno;
		if (rc < 0)
			return rc;
		written = parent;
	} else if (!S_ISDIR(st.st_mode)) {
		return -ENOTDIR;
	}
	return faccessat(AT_FDCWD, written, R_OK | W_OK | X_OK, AT_EACCESS) < 0 ? -errno : 0;
}
