/*
 * The directories are walked from the file's own upwards by descriptors ("..", until it leads nowhere else),
 * so that what was checked is what holds the file, however the path is spelt and whatever its links are.
 */
#include "lib/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/clock.h"
#include "wire/cursor.h"

#define DEPTH_MAX	  256
#define ADVICE_MAX	  160
#define ACL_MAX_BYTES	  (4 + 64 * 8) /* a longer list is not looked at: then the mode counts */
#define DIR_FLAGS	  (O_PATH | O_DIRECTORY | O_CLOEXEC)
#define PLAIN_CHARS	  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./,:@%+=-"

#define BAD(subject, ...) haul_fail(err, HAUL_USAGE, 0, subject, __VA_ARGS__)

/* The command for a shell; without the path if that would be cut, because half a path is another one. */
static void advise(char out[static ADVICE_MAX], const char *how, const char *path)
{
	size_t n = (size_t)snprintf(out, ADVICE_MAX, "%s ", how), start = n;
	bool quote = path[strspn(path, PLAIN_CHARS)] != '\0';
	if (path[0] == '-')
		n += (size_t)snprintf(out + n, ADVICE_MAX - n, "./");
	if (quote)
		out[n++] = '\'';
	for (; *path && n + 8 < ADVICE_MAX; path++) {
		if (*path == '\'')
			n += (size_t)snprintf(out + n, ADVICE_MAX - n, "'\\''");
		else
			out[n++] = *path;
	}
	if (quote)
		out[n++] = '\'';
	out[n] = '\0';
	if (*path)
		snprintf(out + start - 1, ADVICE_MAX - start + 1, " on it");
}

static bool trusted_owner(uid_t uid)
{
	return uid == geteuid() || uid == 0;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static enum haul_rc check_dir(const struct stat *st, const char *name, struct haul_err *err)
{
	char advice[ADVICE_MAX];
	bool sticky = st->st_mode & S_ISVTX;
	if (!trusted_owner(st->st_uid))
		return BAD(name, "this directory belongs to uid %u, who could replace the key in it",
			   (unsigned)st->st_uid);
	if (!(st->st_mode & 022) || sticky)
		return HAUL_OK;
	advise(advice, "chmod go-w", name);
	return BAD(name, "others may change this directory (mode %04o) and so the key in it; run: %s",
		   (unsigned)st->st_mode & 07777, advice);
}

/* Spells the parent of the directory `name`, whose parent is `up`: by cutting the last component if that is
 * right, else with "..". */
static void name_parent(char name[static PATH_MAX], const struct stat *up)
{
	struct stat st;
	char cut[PATH_MAX];
	char *slash = strrchr(name, '/');
	snprintf(cut, sizeof cut, "%.*s", slash ? (int)(slash - name) : 0, name);
	if (!*cut)
		snprintf(cut, sizeof cut, "%s", slash ? "/" : ".");
	if (fstatat(AT_FDCWD, cut, &st, 0) == 0 && same_file(&st, up)) {
		memcpy(name, cut, sizeof cut);
		return;
	}
	size_t n = strlen(name);
	if (n + 4 < PATH_MAX)
		memcpy(name + n, "/..", 4);
}

/* Checks dir and all above it. Consumes dir. */
static enum haul_rc check_dirs(int dir, const char *first, struct haul_err *err)
{
	struct stat st, up = {0};
	char name[PATH_MAX];
	enum haul_rc rc = HAUL_OK;
	snprintf(name, sizeof name, "%s", first);
	if (fstat(dir, &st) < 0)
		rc = haul_fail(err, HAUL_USAGE, errno, name, "cannot be looked at");
	for (int depth = 0; rc == HAUL_OK && (rc = check_dir(&st, name, err)) == HAUL_OK; depth++) {
		int above = depth < DEPTH_MAX ? openat(dir, "..", DIR_FLAGS) : -1;
		if (above < 0 || fstat(above, &up) < 0)
			rc = haul_fail(err, HAUL_USAGE, errno, name,
				       "the directory above cannot be looked at");
		close(dir);
		dir = above;
		if (rc || same_file(&st, &up))
			break;
		name_parent(name, &up);
		st = up;
	}
	if (dir >= 0)
		close(dir);
	return rc;
}

/* The checked directory that holds path, or -1; *name is the last component in path. */
static int open_dir(const char *path, const char **name, struct haul_err *err)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	*name = slash ? slash + 1 : path;
	if (!**name || strcmp(*name, ".") == 0 || strcmp(*name, "..") == 0) {
		BAD(path, *path ? "a directory, not a file" : "the name of the file is empty");
		return -1;
	}
	if (strlen(path) >= sizeof dir) {
		haul_fail(err, HAUL_USAGE, ENAMETOOLONG, path, "cannot be opened");
		return -1;
	}
	snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
	if (slash == path)
		strcpy(dir, "/");
	int fd = openat(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == EACCES) /* may be passed, but not listed */
		fd = openat(AT_FDCWD, dir, DIR_FLAGS);
	int walk = fd < 0 ? -1 : openat(fd, ".", DIR_FLAGS);
	if (walk < 0)
		haul_fail(err, HAUL_USAGE, errno, path, "cannot be opened");
	if (walk >= 0 && check_dirs(walk, dir, err) == HAUL_OK)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* What one entry of a list gives to others; with a list the group's bits of the mode are its mask. */
static unsigned acl_entry(unsigned tag, unsigned permissions, uint32_t id, unsigned mask)
{
	switch (tag) {
	case ACL_USER:
		return trusted_owner(id) ? 0 : permissions & mask;
	case ACL_GROUP_OBJ:
	case ACL_GROUP:
		return permissions & mask;
	case ACL_OTHER:
		return permissions;
	case ACL_USER_OBJ: /* whom trusted_owner knows */
	case ACL_MASK:
		return 0;
	default:
		return 7;
	}
}

static unsigned allowed_to_others(int fd, mode_t mode)
{
	uint8_t list[ACL_MAX_BYTES];
	unsigned by_mode = (mode | mode >> 3) & 7, by_list = 0;
	ssize_t n = fgetxattr(fd, "system.posix_acl_access", list, sizeof list);
	struct rd r = rd_init(list, n < 0 ? 0 : (size_t)n);
	if (rd_u32(&r) != POSIX_ACL_XATTR_VERSION)
		return by_mode;
	while (r.n && !r.bad) {
		unsigned tag = rd_u16(&r), permissions = rd_u16(&r);
		uint32_t id = rd_u32(&r);
		by_list |= acl_entry(tag, permissions, id, mode >> 3 & 7);
	}
	return rd_done(&r) ? by_list : by_mode;
}

enum haul_rc keyfile_open(struct keyfile *f, const char *path, struct haul_err *err)
{
	const char *name;
	struct stat st;
	*f = (struct keyfile){.path = path, .fd = -1};
	int dir = open_dir(path, &name, err);
	if (dir < 0)
		return err->rc;
	f->fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	int sys = errno;
	close(dir);
	if (f->fd < 0 && sys == ELOOP)
		return BAD(path, "a symbolic link, which may lead anywhere: name the file itself");
	if (f->fd < 0 || fstat(f->fd, &st) < 0)
		return haul_fail(err, HAUL_USAGE, f->fd < 0 ? sys : errno, path, "cannot be opened");
	if (!S_ISREG(st.st_mode))
		return BAD(path, "not a regular file");
	if (!trusted_owner(st.st_uid))
		return BAD(path, "belongs to uid %u, neither to this user nor to root", (unsigned)st.st_uid);
	f->mode = st.st_mode & 07777;
	f->others = allowed_to_others(f->fd, f->mode);
	return HAUL_OK;
}

void keyfile_close(struct keyfile *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

enum haul_rc keyfile_check(const struct keyfile *f, bool secret, struct haul_err *err)
{
	char advice[ADVICE_MAX];
	if (!(f->others & (secret ? 7 : 2)))
		return HAUL_OK;
	advise(advice, secret ? "chmod 600" : "chmod go-w", f->path);
	return BAD(f->path, "open to others (mode %04o); run: %s", (unsigned)f->mode, advice);
}

enum haul_rc keyfile_read(struct keyfile *f, char *buf, size_t cap, size_t *len, struct haul_err *err)
{
	char more;
	*len = 0;
	for (;;) {
		bool full = *len == cap;
		ssize_t n = full ? read(f->fd, &more, 1) : read(f->fd, buf + *len, cap - *len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return haul_fail(err, HAUL_USAGE, errno, f->path, "cannot be read");
		if (n == 0)
			return HAUL_OK;
		if (full)
			return BAD(f->path, "longer than the %zu bytes it may have", cap);
		*len += (size_t)n;
	}
}

/* Until there is something to read, or the time is over (false). */
static bool await(int fd, uint64_t until_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	for (;;) {
		uint64_t now = clock_now_ms();
		int n = poll(&p, 1, now < until_ms ? (int)(until_ms - now) : 0);
		if (n >= 0 || errno != EINTR)
			return n != 0;
	}
}

enum haul_rc keyfile_read_fd(int fd, char *buf, size_t cap, size_t *len, struct haul_err *err)
{
	char subject[32];
	uint64_t until = clock_now_ms() + KEYFILE_FD_WAIT_MS;
	const char *newline = NULL;
	enum haul_rc rc = HAUL_OK;
	snprintf(subject, sizeof subject, "fd:%d", fd);
	*len = 0;
	if (fcntl(fd, F_GETFD) < 0)
		return haul_fail(err, HAUL_USAGE, errno, subject, "cannot be read");
	while (!newline && *len < cap && rc == HAUL_OK) {
		if (!await(fd, until)) {
			rc = BAD(subject, "nobody has written a key for %d s", KEYFILE_FD_WAIT_MS / 1000);
			break;
		}
		ssize_t n = read(fd, buf + *len, cap - *len);
		if (n == 0)
			break;
		if (n > 0) {
			newline = memchr(buf + *len, '\n', (size_t)n);
			*len += (size_t)n;
		} else if (errno != EINTR && errno != EAGAIN) {
			rc = haul_fail(err, HAUL_USAGE, errno, subject, "cannot be read");
		}
	}
	if (newline)
		*len = (size_t)(newline - buf);
	close(fd);
	return rc;
}

static int put_line(int fd, const char *text)
{
	for (const char *end = text + strlen(text); text <= end;) {
		ssize_t n = text < end ? write(fd, text, (size_t)(end - text)) : write(fd, "\n", 1);
		if (n < 0 && errno != EINTR)
			return -1;
		if (n > 0)
			text += n;
	}
	return fsync(fd);
}

enum haul_rc keyfile_create(const char *path, mode_t mode, const char *text, struct haul_err *err)
{
	const char *name;
	int dir = open_dir(path, &name, err);
	if (dir < 0)
		return err->rc;
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	int sys = errno;
	if (fd < 0 && sys == EEXIST) {
		BAD(path, "exists already, and is never overwritten");
	} else if (fd < 0) {
		haul_fail(err, HAUL_USAGE, sys, path, "cannot be made");
	} else {
		/* whatever the umask; a directory that cannot be synced (O_PATH) is as good as it gets */
		int bad = fchmod(fd, mode) < 0 || put_line(fd, text) < 0;
		sys = errno;
		if (!bad && fsync(dir) < 0 && errno != EBADF && errno != EINVAL) {
			bad = 1;
			sys = errno;
		}
		if (close(fd) < 0 && !bad) {
			bad = 1;
			sys = errno;
		}
		if (bad) {
			unlinkat(dir, name, 0);
			haul_fail(err, haul_rc_from_errno(sys), sys, path, "cannot be written");
		}
	}
	close(dir);
	return err->rc;
}

void keyfile_remove(const char *path)
{
	unlinkat(AT_FDCWD, path, 0);
}
