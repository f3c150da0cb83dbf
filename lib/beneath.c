#include "lib/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EAGAIN_TRIES 16

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

static int try_openat2(int dirfd, const char *path, int flags, unsigned mode)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_NOFOLLOW | O_CLOEXEC),
		.mode = mode,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
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

int open_name(int dirfd, const char *name, int flags, unsigned mode)
{
	int fd = try_openat2(dirfd, name, flags, mode);
	/* EPERM is what old container sandboxes answer for a call they do not know */
	if (fd != -ENOSYS && fd != -EPERM)
		return fd;
	fd = openat(dirfd, name, flags | O_NOFOLLOW | O_CLOEXEC, mode);
	return fd < 0 ? -errno : fd;
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
	int fd = try_openat2(dirfd, path, flags, 0);
	if (fd == -ENOSYS || fd == -EPERM || fd == -ENAMETOOLONG || fd == -EAGAIN)
		return open_by_steps(dirfd, path, flags);
	return fd;
}
