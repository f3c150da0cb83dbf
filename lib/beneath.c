#include "lib/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/seccomp.h"

#define EAGAIN_TRIES 16
#define NR_FCHMODAT2 452 /* Linux 6.6; the same everywhere */

static const char *component_refused(const char *name, size_t len)
{
	if (len == 0)
		return "empty component";
	if (len > ROOT_COMPONENT_MAX)
		return "component over 255 bytes";
	if (len == 1 && name[0] == '.')
		return "component \".\"";
	if (len == 2 && name[0] == '.' && name[1] == '.')
		return "component \"..\"";
	return NULL;
}

const char *root_name_refused(const char *path, size_t len)
{
	if (len == 0)
		return "empty name";
	if (path[0] == '/')
		return "absolute path";
	if (len > ROOT_PATH_MAX)
		return "path over 4096 bytes";
	if (memchr(path, '\0', len))
		return "NUL byte in the name";
	if (path[len - 1] == '/')
		return "trailing slash";
	size_t depth = 0;
	for (size_t at = 0, n; at < len; at += n + 1) {
		const char *slash = memchr(path + at, '/', len - at);
		n = slash ? (size_t)(slash - path) - at : len - at;
		const char *why = component_refused(path + at, n);
		if (why)
			return why;
		if (depth == 0 && n == strlen(ROOT_STATE_DIR) && memcmp(path, ROOT_STATE_DIR, n) == 0)
			return "reserved name \"" ROOT_STATE_DIR "\"";
		if (++depth > ROOT_DEPTH_MAX)
			return "deeper than 256 levels";
	}
	return NULL;
}

static int try_openat2(int dirfd, const char *path, int flags, unsigned mode, uint64_t resolve)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_NOFOLLOW | O_CLOEXEC),
		.mode = mode,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | resolve,
	};
	for (int i = 0; i < EAGAIN_TRIES; i++) {
		long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof how);
		if (fd >= 0)
			return (int)fd;
		if (errno != EAGAIN && errno != EINTR)
			break;
	}
	return -errno;
}

static int open_one(int dirfd, const char *name, int flags, unsigned mode, uint64_t resolve)
{
	int fd = try_openat2(dirfd, name, flags, mode, resolve);
	/* EPERM is what old container sandboxes answer for a call they do not know */
	if (fd != -ENOSYS && fd != -EPERM)
		return fd;
	fd = openat(dirfd, name, flags | O_NOFOLLOW | O_CLOEXEC, mode);
	return fd < 0 ? -errno : fd;
}

int open_name(int dirfd, const char *name, int flags, unsigned mode)
{
	return open_one(dirfd, name, flags, mode, 0);
}

int open_dir_here(int dirfd, const char *name)
{
	struct stat up, st;
	int fd = open_one(dirfd, name, O_RDONLY | O_DIRECTORY, 0, RESOLVE_NO_XDEV);
	if (fd < 0)
		return fd;
	/* where there is no openat2 a bind mount of the same file system is not noticed */
	int rc = fstat(dirfd, &up) != 0 || fstat(fd, &st) != 0 ? -errno : st.st_dev != up.st_dev ? -EXDEV : 0;
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

/* The mode of a directory that cannot be opened to be read: through an O_PATH descriptor, so that a symlink
 * put there meanwhile is not followed. Before Linux 6.6 only by the path of that descriptor (glibc does
 * that), which the sandbox does not let pass. */
static int chmod_closed(int dirfd, const char *name, mode_t mode)
{
	int fd = open_name(dirfd, name, O_PATH | O_DIRECTORY, 0);
	if (fd < 0)
		return fd;
	long rc = syscall(NR_FCHMODAT2, fd, seccomp_this, mode, AT_EMPTY_PATH);
	int sys = rc == 0 ? 0 : errno;
	close(fd);
	if (sys == ENOSYS)
		sys = fchmodat(dirfd, name, mode, AT_SYMLINK_NOFOLLOW) != 0 ? errno : 0;
	return -sys;
}

int open_make_usable(int dirfd, const char *name, const struct stat *st)
{
	mode_t mode = (st->st_mode & 07777) | 0700;
	if ((st->st_mode & 0700) == 0700 || st->st_uid != geteuid())
		return 0;
	int fd = open_name(dirfd, name, O_RDONLY | O_DIRECTORY, 0);
	if (fd == -EACCES)
		return chmod_closed(dirfd, name, mode);
	if (fd < 0)
		return fd;
	int rc = fchmod(fd, mode) != 0 ? -errno : 0;
	close(fd);
	return rc;
}

/* For kernels and containers without openat2, and for paths longer than the kernel takes at once. */
static int open_by_steps(int dirfd, const char *path, int flags)
{
	char name[NAME_MAX + 1];
	for (int at = dirfd;;) {
		size_t n = strcspn(path, "/");
		bool last = path[n] == '\0';
		snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : NAME_MAX), path);
		int fd = n > NAME_MAX ? -ENAMETOOLONG : -EXDEV;
		if (n <= NAME_MAX && strcmp(name, "..") != 0)
			fd = open_name(at, name, last ? flags : O_PATH | O_DIRECTORY, 0);
		if (at != dirfd)
			close(at);
		if (fd < 0 || last)
			return fd;
		at = fd;
		path += n + 1;
	}
}

int open_beneath(int dirfd, const char *path, int flags)
{
	int fd = try_openat2(dirfd, path, flags, 0, 0);
	if (fd == -ENOSYS || fd == -EPERM || fd == -ENAMETOOLONG || fd == -EAGAIN)
		return open_by_steps(dirfd, path, flags);
	return fd;
}
