/*
 * The destination directory. Every path is cut into a parent, opened beneath the root once and kept in a
 * small cache, and a last component, used only with an *at() call that does not follow it.
 *
 * Invariant: a descriptor in the cache was reached without passing a symbolic link. Who renames a directory
 * meanwhile keeps getting its files, wherever it is now; who removes it makes us look it up again.
 */
#include "lib/root.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/destdir.h"
#include "lib/dircache.h"
#include "lib/place.h"
#include "lib/seccomp.h"

#define STATE_TRIES  8
#define NR_FCHMODAT2 452 /* Linux 6.6; the same everywhere */
#define DIR_FLAGS    (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

struct root {
	struct root_dir *top; /* the root itself, never in the cache */
	_Atomic uint64_t serial;

	struct dircache cache; /* its lock also guards state */
	struct root_dir *state;
};

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
	int fd;
	if (mkdirat(parent->fd, name, 0777) == 0 || errno == EEXIST)
		fd = open_name(parent->fd, name, DIR_FLAGS, 0);
	else
		fd = -errno;
	root_dir_put(root, parent);
	return fd;
}

/* Recursive through dir_make, at most ROOT_DEPTH_MAX deep. */
static struct root_dir *dir_get(struct root *root, const char *path, size_t len, bool mkdirs)
{
	if (root->top->fd < 0) { /* absent: nothing is in it, nothing can be made */
		errno = ENOENT;
		return NULL;
	}
	uint64_t hash = dircache_hash(path, len);
	struct root_dir *dir = dircache_find(&root->cache, hash, path, len);
	if (dir)
		return dir;
	dir = dircache_dir(path, len, hash, -1);
	if (!dir)
		return NULL;
	dir->fd = open_beneath(root->top->fd, len ? dir->path : ".", DIR_FLAGS);
	if (dir->fd == -ENOENT && mkdirs)
		dir->fd = dir_make(root, dir->path, len);
	if (dir->fd >= 0)
		return dircache_add(&root->cache, dir);
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
		dircache_clear(&root->cache);
		dir = dir_get(root, path, up, mkdirs);
	}
	return dir;
}

void root_dir_put(struct root *root, struct root_dir *dir)
{
	dircache_put(&root->cache, dir);
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
	dircache_clear(&root->cache);
	return in_parent(root, path, mkdirs, op, arg);
}

static struct root *root_new(int fd)
{
	struct root *root = calloc(1, sizeof *root);
	if (!root)
		return NULL;
	uint64_t serial = 0;
	root->top = dircache_dir("", 0, 0, fd);
	if (!root->top || getrandom(&serial, sizeof serial, 0) != sizeof serial) {
		free(root->top);
		free(root);
		return NULL;
	}
	atomic_init(&root->serial, serial);
	dircache_init(&root->cache);
	return root;
}

/* Opens SUBDIR below fd, which is closed, and returns it; or -errno. */
static int enter_subdir(int fd, const char *subdir, bool make)
{
	struct root *outer = root_new(fd);
	if (!outer) {
		close(fd);
		return -ENOMEM;
	}
	struct root_dir *dir = dir_get(outer, subdir, strlen(subdir), make);
	int inner = dir ? fcntl(dir->fd, F_DUPFD_CLOEXEC, 0) : -1;
	int rc = inner >= 0 ? inner : errno == ENOENT && !make ? DESTDIR_ABSENT : -errno;
	if (dir)
		root_dir_put(outer, dir);
	root_close(outer);
	return rc;
}

static enum haul_rc open_root(const char *dir, const char *subdir, bool make, struct root **out,
			      struct haul_err *err)
{
	*out = NULL;
	const char *refused = subdir ? root_name_refused(subdir, strlen(subdir)) : NULL;
	if (refused)
		return haul_fail(err, HAUL_POLICY, 0, subdir, "subdirectory refused: %s", refused);
	int fd = make ? destdir_open(dir) : destdir_look(dir);
	if (fd < 0 && fd != DESTDIR_ABSENT)
		return haul_fail(err, haul_rc_from_errno(-fd), 0, dir, "cannot open the directory: %s",
				 strerror(-fd));
	if (subdir && fd >= 0)
		fd = enter_subdir(fd, subdir, make);
	if (fd < 0 && fd != DESTDIR_ABSENT)
		return haul_fail(err, fd == -ENOTDIR || fd == -ELOOP ? HAUL_POLICY : haul_rc_from_errno(-fd),
				 0, subdir, "cannot open the subdirectory: %s", strerror(-fd));
	*out = root_new(fd < 0 ? -1 : fd);
	if (!*out && fd >= 0)
		close(fd);
	return *out ? HAUL_OK : haul_fail(err, HAUL_NO_MEMORY, ENOMEM, dir, "out of memory");
}

enum haul_rc root_open(const char *dir, const char *subdir, struct root **out, struct haul_err *err)
{
	return open_root(dir, subdir, true, out, err);
}

enum haul_rc root_look(const char *dir, const char *subdir, struct root **out, struct haul_err *err)
{
	return open_root(dir, subdir, false, out, err);
}

void root_close(struct root *root)
{
	if (!root)
		return;
	dircache_unref(root->state);
	dircache_unref(root->top);
	dircache_free(&root->cache);
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
	int fd = open_name(top, ROOT_STATE_DIR, DIR_FLAGS, 0);
	if (fd < 0)
		return fd;
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
	pthread_mutex_lock(&root->cache.lock);
	if (!root->state) {
		int fd = state_open(root->top->fd);
		errno = fd < 0 ? -fd : 0;
		root->state = fd < 0 ? NULL : dircache_dir("", 0, 0, fd);
		if (!root->state && fd >= 0)
			close(fd);
	}
	struct root_dir *state = root->state;
	if (state)
		state->refs++;
	pthread_mutex_unlock(&root->cache.lock);
	return state;
}

/* Only if it is still that one (NULL: any). */
static void state_forget(struct root *root, const struct root_dir *state)
{
	pthread_mutex_lock(&root->cache.lock);
	if (!state || root->state == state) {
		dircache_unref(root->state);
		root->state = NULL;
	}
	pthread_mutex_unlock(&root->cache.lock);
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
	return open_name(state, name, O_RDWR | O_CREAT | O_EXCL, 0600);
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

/* Names in .haul for what lives only within one call. The serial number began at random, far from those of
 * files. */
static void aside_name(struct root *root, const char *tag, char name[static ROOT_TEMP_MAX])
{
	snprintf(name, ROOT_TEMP_MAX, "%.*s-%" PRIx64 ".part", ROOT_TAG_MAX, tag,
		 atomic_fetch_add(&root->serial, 1));
}

static int op_place(struct root *root, int dirfd, const char *name, void *arg)
{
	(void)root;
	return place_file(arg, dirfd, name);
}

int root_commit(struct root *root, const char *tag, const char *temp, const char *path, bool noreplace,
		bool backup)
{
	if (!temp_name_ok(temp, ROOT_TEMP_MAX) || !temp_name_ok(tag, ROOT_TAG_MAX + 1))
		return -EINVAL;
	struct root_dir *state = state_get(root);
	if (!state)
		return -errno;
	char aside[ROOT_TEMP_MAX];
	aside_name(root, tag, aside);
	struct placing p = {state->fd, temp, noreplace, backup, aside};
	int rc = change_in_parent(root, path, true, op_place, &p);
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

/* By name before Linux 5.8, which knows no other way. */
static int touch_symlink(int dirfd, const char *name, const struct timespec times[static 2])
{
	int fd = open_name(dirfd, name, O_PATH, 0);
	if (fd < 0)
		return fd;
	int sys = utimensat(fd, seccomp_this, times, AT_EMPTY_PATH) != 0 ? errno : 0;
	close(fd);
	if (sys == EINVAL)
		sys = utimensat(dirfd, name, times, AT_SYMLINK_NOFOLLOW) != 0 ? errno : 0;
	return -sys;
}

int root_symlink(struct root *root, const char *tag, const char *path, const char *target, int64_t mtime_s,
		 uint32_t mtime_ns)
{
	struct timespec times[2];
	if (!mtime_pair(mtime_s, mtime_ns, times) || !temp_name_ok(tag, ROOT_TAG_MAX + 1))
		return -EINVAL;
	char aside[ROOT_TEMP_MAX];
	aside_name(root, tag, aside);
	int rc = in_state(root, op_symlink, aside, target);
	struct root_dir *state = rc == 0 ? state_get(root) : NULL;
	if (!state)
		return rc != 0 ? rc : -errno;
	struct placing p = {.state = state->fd, .temp = aside};
	rc = touch_symlink(state->fd, aside, times);
	if (rc == 0)
		rc = change_in_parent(root, path, true, op_place, &p);
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
		return S_ISLNK(st->st_mode) ? -ELOOP : place_in_the_way(st->st_mode);
	int fd = open_name(dirfd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	if (fd < 0)
		return fd;
	if (fstat(fd, st) == 0 && S_ISREG(st->st_mode))
		return fd;
	close(fd);
	return -ESTALE;
}

int root_open_file(struct root *root, const char *path, struct stat *st)
{
	return in_parent(root, path, false, op_open_file, st);
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

/* A directory of ours that an earlier run left read-only must take files again. */
static int make_usable(int dirfd, const char *name, const struct stat *st)
{
	mode_t mode = (st->st_mode & 07777) | 0700;
	if ((st->st_mode & 0700) == 0700 || st->st_uid != geteuid())
		return 0;
	int fd = open_name(dirfd, name, DIR_FLAGS, 0);
	if (fd == -EACCES)
		return chmod_closed(dirfd, name, mode);
	if (fd < 0)
		return fd;
	int rc = fchmod(fd, mode) != 0 ? -errno : 0;
	close(fd);
	return rc;
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
	int fd = open_name(dirfd, name, DIR_FLAGS, 0);
	if (fd < 0)
		return fd;
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

static int open_regular(int state, const char *name, int flags)
{
	int fd = open_name(state, name, flags | O_NONBLOCK, flags & O_CREAT ? 0600 : 0);
	if (fd < 0)
		return fd;
	struct stat st;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		return fd;
	close(fd);
	return -EEXIST;
}

static int op_open_make(int state, const char *name, const char *arg)
{
	(void)arg;
	return open_regular(state, name, O_RDWR | O_CREAT);
}

int root_state_open(struct root *root, const char *name, int flags)
{
	if (!*name || strchr(name, '/'))
		return -EINVAL;
	if (flags & O_CREAT)
		return in_state(root, op_open_make, name, NULL);
	int state = root_state_open_dir(root);
	int fd = state < 0 ? state : open_regular(state, name, flags);
	if (state >= 0)
		close(state);
	return fd;
}

int root_state_rename(struct root *root, const char *from, const char *to)
{
	if (!temp_name_ok(from, ROOT_TEMP_MAX) || !temp_name_ok(to, ROOT_TEMP_MAX))
		return -EINVAL;
	int state = root_state_open_dir(root);
	if (state < 0)
		return state;
	int rc = renameat(state, from, state, to) != 0 ? -errno : 0;
	close(state);
	return rc;
}

int root_state_stat(struct root *root, const char *name, struct stat *st)
{
	int state = root_state_open_dir(root);
	if (state < 0)
		return state;
	int rc = fstatat(state, name, st, AT_SYMLINK_NOFOLLOW) != 0 ? -errno : 0;
	close(state);
	return rc;
}

int root_state_open_dir(struct root *root)
{
	return open_name(root->top->fd, ROOT_STATE_DIR, DIR_FLAGS, 0);
}

int root_state_list(struct root *root, void (*fn)(void *ctx, const char *name), void *ctx)
{
	int fd = root_state_open_dir(root);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	DIR *dir = fdopendir(fd);
	if (!dir) {
		int sys = errno;
		close(fd);
		return -sys;
	}
	for (struct dirent *d; (d = readdir(dir));)
		if (d->d_name[0] != '.')
			fn(ctx, d->d_name);
	closedir(dir);
	return 0;
}
