/*
 * The destination directory. Every path is cut into a parent, opened beneath the root once and kept in a
 * small cache, and a last component, used only with an *at() call that does not follow it.
 *
 * Invariant: a descriptor in the cache was reached without passing a symbolic link. Who renames a directory
 * meanwhile keeps getting its files, wherever it is now; who removes it makes us look it up again.
 */
#include "lib/root.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CACHE_DIRS   64
#define EAGAIN_TRIES 16
#define STATE_TRIES  8
#define DIR_FLAGS    (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

struct root_dir {
	int fd;
	unsigned refs; /* guarded by root->lock; the cache holds one */
	uint64_t hash;
	size_t len;
	char path[];
};

struct slot {
	uint64_t hash, used;
	struct root_dir *dir; /* NULL: free */
};

struct root {
	struct root_dir *top; /* the root itself, never in the cache */
	_Atomic uint64_t serial;

	pthread_mutex_t lock; /* of all below, and of the reference counts */
	struct root_dir *state;
	uint64_t tick;
	struct slot cache[CACHE_DIRS];
};

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

/* For kernels and sandboxes without openat2, and for paths longer than the kernel takes at once. */
static int open_by_steps(int dirfd, const char *path, int flags)
{
	char name[NAME_MAX + 1];
	for (int at = dirfd;;) {
		size_t n = strcspn(path, "/");
		bool last = path[n] == '\0';
		snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : NAME_MAX), path);
		errno = n > NAME_MAX ? ENAMETOOLONG : EXDEV;
		int fd = -1;
		if (n <= NAME_MAX && strcmp(name, "..") != 0)
			fd = openat(at, name, last ? flags : O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		int sys = errno;
		if (at != dirfd)
			close(at);
		if (fd < 0)
			return -sys;
		if (last)
			return fd;
		at = fd;
		path += n + 1;
	}
}

int open_beneath(int dirfd, const char *path, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_NOFOLLOW | O_CLOEXEC),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	for (int i = 0; i < EAGAIN_TRIES; i++) {
		long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof how);
		if (fd >= 0)
			return (int)fd;
		if (errno != EAGAIN && errno != EINTR)
			break;
	}
	/* EPERM is what old container sandboxes answer for a call they do not know */
	if (errno == ENOSYS || errno == EPERM || errno == ENAMETOOLONG || errno == EAGAIN)
		return open_by_steps(dirfd, path, flags | O_NOFOLLOW | O_CLOEXEC);
	return -errno;
}

static uint64_t hash_path(const char *path, size_t len)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)path[i]) * UINT64_C(0x100000001b3);
	return h;
}

static struct root_dir *dir_new(const char *path, size_t len, uint64_t hash, int fd)
{
	struct root_dir *dir = malloc(sizeof *dir + len + 1);
	if (!dir)
		return NULL;
	*dir = (struct root_dir){.fd = fd, .refs = 1, .hash = hash, .len = len};
	memcpy(dir->path, path, len);
	dir->path[len] = '\0';
	return dir;
}

/* Under the lock. */
static void dir_unref(struct root_dir *dir)
{
	if (!dir || --dir->refs > 0)
		return;
	close(dir->fd);
	free(dir);
}

/* Under the lock. */
static struct slot *cache_slot(struct root *root, uint64_t hash, const char *path, size_t len)
{
	for (struct slot *s = root->cache; s < root->cache + CACHE_DIRS; s++)
		if (s->hash == hash && s->dir && s->dir->len == len && memcmp(s->dir->path, path, len) == 0) {
			s->used = ++root->tick;
			return s;
		}
	return NULL;
}

static struct root_dir *cache_find(struct root *root, uint64_t hash, const char *path, size_t len)
{
	pthread_mutex_lock(&root->lock);
	struct slot *s = cache_slot(root, hash, path, len);
	struct root_dir *dir = s ? s->dir : NULL;
	if (dir)
		dir->refs++;
	pthread_mutex_unlock(&root->lock);
	return dir;
}

/* Takes the caller's fresh dir over; returns it, or the one another thread was faster with. */
static struct root_dir *cache_add(struct root *root, struct root_dir *dir)
{
	pthread_mutex_lock(&root->lock);
	struct slot *s = cache_slot(root, dir->hash, dir->path, dir->len);
	if (s) {
		dir_unref(dir);
	} else {
		s = root->cache;
		for (struct slot *i = s; i < root->cache + CACHE_DIRS; i++)
			if (i->used < s->used)
				s = i;
		dir_unref(s->dir);
		*s = (struct slot){.hash = dir->hash, .used = ++root->tick, .dir = dir};
	}
	dir = s->dir;
	dir->refs++;
	pthread_mutex_unlock(&root->lock);
	return dir;
}

/* One removed directory may have stale ancestors in the cache too, so all of it goes. */
static void cache_clear(struct root *root)
{
	pthread_mutex_lock(&root->lock);
	for (size_t i = 0; i < CACHE_DIRS; i++) {
		dir_unref(root->cache[i].dir);
		root->cache[i] = (struct slot){0};
	}
	pthread_mutex_unlock(&root->lock);
}

static size_t parent_len(const char *path, size_t len)
{
	const char *slash = memrchr(path, '/', len);
	return slash ? (size_t)(slash - path) : 0;
}

static struct root_dir *dir_get(struct root *root, const char *path, size_t len, bool mkdirs);

static int dir_make(struct root *root, const char *path, size_t len)
{
	size_t up = parent_len(path, len);
	struct root_dir *parent = dir_get(root, path, up, true);
	if (!parent)
		return -errno;
	const char *name = path + up + (up > 0);
	int fd = -1;
	if (mkdirat(parent->fd, name, 0777) == 0 || errno == EEXIST)
		fd = openat(parent->fd, name, DIR_FLAGS);
	int rc = fd < 0 ? -errno : fd;
	root_dir_put(root, parent);
	return rc;
}

/* Recursive through dir_make, at most ROOT_DEPTH_MAX deep. */
static struct root_dir *dir_get(struct root *root, const char *path, size_t len, bool mkdirs)
{
	uint64_t hash = hash_path(path, len);
	struct root_dir *dir = cache_find(root, hash, path, len);
	if (dir)
		return dir;
	dir = dir_new(path, len, hash, -1);
	if (!dir)
		return NULL;
	dir->fd = open_beneath(root->top->fd, len ? dir->path : ".", DIR_FLAGS);
	if (dir->fd == -ENOENT && mkdirs)
		dir->fd = dir_make(root, dir->path, len);
	if (dir->fd >= 0)
		return cache_add(root, dir);
	errno = -dir->fd;
	free(dir);
	return NULL;
}

struct root_dir *root_dir_get(struct root *root, const char *path, bool mkdirs, const char **name)
{
	size_t len = strlen(path);
	if (root_name_refused(path, len)) {
		errno = EINVAL;
		return NULL;
	}
	size_t up = parent_len(path, len);
	*name = path + up + (up > 0);
	struct root_dir *dir = dir_get(root, path, up, mkdirs);
	if (!dir && mkdirs && errno == ENOENT) {
		cache_clear(root);
		dir = dir_get(root, path, up, mkdirs);
	}
	return dir;
}

void root_dir_put(struct root *root, struct root_dir *dir)
{
	pthread_mutex_lock(&root->lock);
	dir_unref(dir);
	pthread_mutex_unlock(&root->lock);
}

int root_dir_fd(const struct root_dir *dir)
{
	return dir->fd;
}

typedef int parent_op(struct root *root, int dirfd, const char *name, void *arg);

static int in_parent(struct root *root, const char *path, bool mkdirs, parent_op *op, void *arg)
{
	const char *name;
	struct root_dir *dir = root_dir_get(root, path, mkdirs, &name);
	if (!dir)
		return -errno;
	int rc = op(root, dir->fd, name, arg);
	root_dir_put(root, dir);
	return rc;
}

/* For what cannot answer ENOENT unless a cached directory was removed behind our back. */
static int change_in_parent(struct root *root, const char *path, bool mkdirs, parent_op *op, void *arg)
{
	int rc = in_parent(root, path, mkdirs, op, arg);
	if (rc != -ENOENT && rc != -ESTALE)
		return rc;
	cache_clear(root);
	return in_parent(root, path, mkdirs, op, arg);
}

static struct root *root_new(int fd)
{
	struct root *root = calloc(1, sizeof *root);
	if (!root)
		return NULL;
	uint64_t serial = 0;
	root->top = dir_new("", 0, 0, fd);
	if (!root->top || getrandom(&serial, sizeof serial, 0) != sizeof serial) {
		free(root->top);
		free(root);
		return NULL;
	}
	atomic_init(&root->serial, serial);
	pthread_mutex_init(&root->lock, NULL);
	return root;
}

static int open_or_make(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && (mkdir(dir, 0777) == 0 || errno == EEXIST))
		fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Makes SUBDIR below the open directory fd and returns it open instead of fd, which is closed; or -errno. */
static int enter_subdir(int fd, const char *subdir)
{
	struct root *outer = root_new(fd);
	if (!outer) {
		close(fd);
		return -ENOMEM;
	}
	struct root_dir *dir = dir_get(outer, subdir, strlen(subdir), true);
	int inner = dir ? fcntl(dir->fd, F_DUPFD_CLOEXEC, 0) : -1;
	int rc = inner < 0 ? -errno : inner;
	if (dir)
		root_dir_put(outer, dir);
	root_close(outer);
	return rc;
}

enum haul_rc root_open(const char *dir, const char *subdir, struct root **out, struct haul_err *err)
{
	*out = NULL;
	const char *refused = subdir ? root_name_refused(subdir, strlen(subdir)) : NULL;
	if (refused)
		return haul_fail(err, HAUL_POLICY, 0, subdir, "subdirectory refused: %s", refused);
	int fd = open_or_make(dir);
	if (fd < 0)
		return haul_fail(err, haul_rc_from_errno(-fd), -fd, dir, "cannot open the directory: %s",
				 strerror(-fd));
	if (subdir)
		fd = enter_subdir(fd, subdir);
	if (fd < 0)
		return haul_fail(err, haul_rc_from_errno(-fd), -fd, subdir,
				 "cannot open the subdirectory: %s", strerror(-fd));
	*out = root_new(fd);
	if (*out)
		return HAUL_OK;
	close(fd);
	return haul_fail(err, HAUL_NO_MEMORY, ENOMEM, dir, "out of memory");
}

void root_close(struct root *root)
{
	if (!root)
		return;
	cache_clear(root);
	dir_unref(root->state);
	dir_unref(root->top);
	pthread_mutex_destroy(&root->lock);
	free(root);
}

int root_fd(const struct root *root)
{
	return root->top->fd;
}

static int state_open(int top)
{
	if (mkdirat(top, ROOT_STATE_DIR, 0700) != 0 && errno != EEXIST)
		return -errno;
	int fd = openat(top, ROOT_STATE_DIR, DIR_FLAGS);
	if (fd < 0)
		return -errno;
	struct stat st;
	int rc = fstat(fd, &st) != 0 ? -errno : 0;
	if (rc == 0 && st.st_uid != geteuid())
		rc = -EPERM;
	if (rc == 0 && (st.st_mode & 0777) != 0700 && fchmod(fd, 0700) != 0)
		rc = -errno;
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

/* Counted; NULL with errno set. */
static struct root_dir *state_get(struct root *root)
{
	pthread_mutex_lock(&root->lock);
	if (!root->state) {
		int fd = state_open(root->top->fd);
		errno = fd < 0 ? -fd : 0;
		root->state = fd < 0 ? NULL : dir_new("", 0, 0, fd);
		if (!root->state && fd >= 0)
			close(fd);
	}
	struct root_dir *state = root->state;
	if (state)
		state->refs++;
	pthread_mutex_unlock(&root->lock);
	return state;
}

/* Only if it is still that one (NULL: any). */
static void state_forget(struct root *root, const struct root_dir *state)
{
	pthread_mutex_lock(&root->lock);
	if (!state || root->state == state) {
		dir_unref(root->state);
		root->state = NULL;
	}
	pthread_mutex_unlock(&root->lock);
}

typedef int state_op(int state, const char *name, const char *arg);

/* Another session's root_tidy may remove an empty .haul at any moment, also between our mkdir and open. */
static int in_state(struct root *root, state_op *op, const char *name, const char *arg)
{
	int rc = -ENOENT;
	for (int i = 0; i < STATE_TRIES && rc == -ENOENT; i++) {
		struct root_dir *state = state_get(root);
		rc = state ? op(state->fd, name, arg) : -errno;
		if (!state)
			continue;
		if (rc == -ENOENT)
			state_forget(root, state);
		root_dir_put(root, state);
	}
	return rc;
}

static int op_temp_open(int state, const char *name, const char *arg)
{
	(void)arg;
	int fd = openat(state, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

static int op_symlink(int state, const char *name, const char *target)
{
	return symlinkat(target, state, name) != 0 ? -errno : 0;
}

static bool temp_name_ok(const char *name, size_t room)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.-");
	return n > 0 && n < room && name[n] == '\0';
}

int root_temp_open(struct root *root, const char *tag, uint64_t number, char name[static ROOT_TEMP_MAX])
{
	if (!temp_name_ok(tag, ROOT_TAG_MAX + 1))
		return -EINVAL;
	snprintf(name, ROOT_TEMP_MAX, "%.*s-%" PRIx64 ".part", ROOT_TAG_MAX, tag, number);
	return in_state(root, op_temp_open, name, NULL);
}

int root_temp_unlink(struct root *root, const char *name)
{
	if (!temp_name_ok(name, ROOT_TEMP_MAX))
		return -EINVAL;
	struct root_dir *state = state_get(root);
	if (!state)
		return -errno;
	int rc = unlinkat(state->fd, name, 0) != 0 ? -errno : 0;
	root_dir_put(root, state);
	return rc;
}

/* Names in .haul for what lives only within one call. */
static void aside_name(struct root *root, const char *what, char name[static ROOT_TEMP_MAX])
{
	snprintf(name, ROOT_TEMP_MAX, "%.8s-%" PRIx64 ".part", what, atomic_fetch_add(&root->serial, 1));
}

static int type_in_the_way(mode_t mode)
{
	if (S_ISDIR(mode))
		return -EISDIR;
	return S_ISREG(mode) || S_ISLNK(mode) ? 0 : -EEXIST;
}

static int move_over(int from, const char *old, int to, const char *name)
{
	return renameat(from, old, to, name) != 0 ? -errno : 0;
}

/* NFS and some FUSE file systems do not know RENAME_NOREPLACE; a hard link also refuses an existing name, and
 * where there are none either, looking first is all that is left. */
static int move_new(int from, const char *old, int to, const char *name)
{
	if (renameat2(from, old, to, name, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	if (linkat(from, old, to, name, 0) == 0)
		return unlinkat(from, old, 0) != 0 ? -errno : 0;
	if (errno != EPERM && errno != EOPNOTSUPP && errno != EMLINK && errno != ENOSYS)
		return -errno;
	if (faccessat(to, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	return errno == ENOENT ? move_over(from, old, to, name) : -errno;
}

struct placing {
	int state;
	const char *temp;
	bool noreplace, backup;
};

static int keep_backup(struct root *root, int state, int dirfd, const char *name);

/* The new name is tried first: mostly it is free, and then this is one system call. */
static int place(struct root *root, int dirfd, const char *name, void *arg)
{
	const struct placing *p = arg;
	int rc = move_new(p->state, p->temp, dirfd, name);
	if (rc != -EEXIST || p->noreplace)
		return rc;
	struct stat st;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? move_new(p->state, p->temp, dirfd, name) : -errno;
	rc = type_in_the_way(st.st_mode);
	if (rc == 0 && p->backup && S_ISREG(st.st_mode))
		rc = keep_backup(root, p->state, dirfd, name);
	return rc != 0 ? rc : move_over(p->state, p->temp, dirfd, name);
}

/* Without hard links NAME is absent for a moment; with them never. */
static int rename_to_backup(int dirfd, const char *name, const char *backup)
{
	struct stat st;
	if (fstatat(dirfd, backup, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		int rc = type_in_the_way(st.st_mode);
		if (rc != 0)
			return rc;
	}
	return move_over(dirfd, name, dirfd, backup);
}

static int keep_backup(struct root *root, int state, int dirfd, const char *name)
{
	char backup[NAME_MAX + 2], aside[ROOT_TEMP_MAX];
	if (snprintf(backup, sizeof backup, "%s~", name) > NAME_MAX)
		return -ENAMETOOLONG;
	aside_name(root, "old", aside);
	if (linkat(dirfd, name, state, aside, 0) != 0) {
		bool cannot = errno == EPERM || errno == EOPNOTSUPP || errno == EMLINK || errno == ENOSYS;
		return cannot ? rename_to_backup(dirfd, name, backup) : -errno;
	}
	struct placing p = {.state = state, .temp = aside};
	int rc = place(root, dirfd, backup, &p);
	/* rename leaves both names when they are links to one file already */
	unlinkat(state, aside, 0);
	return rc;
}

int root_commit(struct root *root, const char *temp, const char *path, bool noreplace, bool backup)
{
	if (!temp_name_ok(temp, ROOT_TEMP_MAX))
		return -EINVAL;
	struct root_dir *state = state_get(root);
	if (!state)
		return -errno;
	struct placing p = {.state = state->fd, .temp = temp, .noreplace = noreplace, .backup = backup};
	int rc = change_in_parent(root, path, true, place, &p);
	root_dir_put(root, state);
	return rc;
}

/* Nanoseconds from a peer must not reach the kernel as UTIME_NOW. */
static bool mtime_pair(int64_t s, uint32_t ns, struct timespec times[static 2])
{
	times[0] = (struct timespec){.tv_nsec = UTIME_OMIT};
	times[1] = (struct timespec){.tv_sec = s, .tv_nsec = ns};
	return ns < 1000000000;
}

int root_symlink(struct root *root, const char *path, const char *target, int64_t mtime_s, uint32_t mtime_ns)
{
	struct timespec times[2];
	if (!mtime_pair(mtime_s, mtime_ns, times))
		return -EINVAL;
	char aside[ROOT_TEMP_MAX];
	aside_name(root, "link", aside);
	int rc = in_state(root, op_symlink, aside, target);
	struct root_dir *state = rc == 0 ? state_get(root) : NULL;
	if (!state)
		return rc != 0 ? rc : -errno;
	struct placing p = {.state = state->fd, .temp = aside};
	if (utimensat(state->fd, aside, times, AT_SYMLINK_NOFOLLOW) != 0)
		rc = -errno;
	if (rc == 0)
		rc = change_in_parent(root, path, true, place, &p);
	if (rc != 0)
		unlinkat(state->fd, aside, 0);
	root_dir_put(root, state);
	return rc;
}

static int op_stat(struct root *root, int dirfd, const char *name, void *arg)
{
	(void)root;
	return fstatat(dirfd, name, arg, AT_SYMLINK_NOFOLLOW) != 0 ? -errno : 0;
}

int root_stat(struct root *root, const char *path, struct stat *st)
{
	return in_parent(root, path, false, op_stat, st);
}

/* Looks before it opens: opening a device may already do something. */
static int op_open_file(struct root *root, int dirfd, const char *name, void *arg)
{
	struct stat *st = arg;
	int rc = op_stat(root, dirfd, name, st);
	if (rc != 0)
		return rc;
	if (!S_ISREG(st->st_mode))
		return S_ISLNK(st->st_mode) ? -ELOOP : type_in_the_way(st->st_mode);
	int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, st) == 0 && S_ISREG(st->st_mode))
		return fd;
	close(fd);
	return -ESTALE;
}

int root_open_file(struct root *root, const char *path, struct stat *st)
{
	return in_parent(root, path, false, op_open_file, st);
}

/* A directory of ours that an earlier run left read-only must take files again; glibc makes this chmod
 * through an O_PATH descriptor, so a symlink put there meanwhile is not followed. */
static int make_usable(int dirfd, const char *name, const struct stat *st)
{
	if ((st->st_mode & 0700) == 0700 || st->st_uid != geteuid())
		return 0;
	return fchmodat(dirfd, name, (st->st_mode & 07777) | 0700, AT_SYMLINK_NOFOLLOW) != 0 ? -errno : 0;
}

static int op_mkdir(struct root *root, int dirfd, const char *name, void *created)
{
	(void)root;
	struct stat st;
	*(bool *)created = mkdirat(dirfd, name, 0700) == 0;
	if (*(bool *)created)
		return 0;
	if (errno != EEXIST || fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? make_usable(dirfd, name, &st) : -EEXIST;
}

int root_mkdir(struct root *root, const char *path, bool *created)
{
	return change_in_parent(root, path, true, op_mkdir, created);
}

struct dir_meta {
	mode_t mode;
	struct timespec times[2];
};

static int op_dir_meta(struct root *root, int dirfd, const char *name, void *arg)
{
	(void)root;
	const struct dir_meta *m = arg;
	int fd = openat(dirfd, name, DIR_FLAGS);
	if (fd < 0)
		return -errno;
	/* set-group-ID and sticky bits are the receiver's own: a peer neither sets nor clears them */
	struct stat st;
	int rc = 0;
	if (fstat(fd, &st) != 0 || futimens(fd, m->times) != 0 ||
	    fchmod(fd, (st.st_mode & 07000) | m->mode) != 0)
		rc = -errno;
	close(fd);
	return rc;
}

int root_dir_meta(struct root *root, const char *path, uint32_t mode, int64_t mtime_s, uint32_t mtime_ns)
{
	struct dir_meta m = {.mode = mode & 0777};
	if (!mtime_pair(mtime_s, mtime_ns, m.times))
		return -EINVAL;
	return change_in_parent(root, path, false, op_dir_meta, &m);
}

static int op_fsync(struct root *root, int dirfd, const char *name, void *arg)
{
	(void)root, (void)name, (void)arg;
	return fsync(dirfd) != 0 ? -errno : 0;
}

int root_sync_parent(struct root *root, const char *path)
{
	return in_parent(root, path, false, op_fsync, NULL);
}

void root_tidy(struct root *root)
{
	if (unlinkat(root->top->fd, ROOT_STATE_DIR, AT_REMOVEDIR) == 0)
		state_forget(root, NULL);
}
