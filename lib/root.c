/*
 * The destination directory. Every path is cut into a parent, opened beneath the root once and kept in a
 * small cache, and a last component, used only with an *at() call that does not follow it.
 *
 * Invariant: a descriptor in the cache was reached without passing a symbolic link. Who renames a directory
 * meanwhile keeps getting its files, wherever it is now; who removes it makes us look it up again.
 */
#include "lib/root_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "lib/destdir.h"
#include "lib/place.h"
#include "lib/seccomp.h"

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
		fd = open_name(parent->fd, name, ROOT_DIR_FLAGS, 0);
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
	dir->fd = open_beneath(root->top->fd, len ? dir->path : ".", ROOT_DIR_FLAGS);
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
	if (!root->top || getrandom(&serial, sizeof serial, 0) != (ssize_t)sizeof serial) {
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

static int op_symlink(int state, const char *name, const char *target)
{
	return symlinkat(target, state, name) != 0 ? -errno : 0;
}

static int op_place(struct root *root, int dirfd, const char *name, void *arg)
{
	(void)root;
	return place_file(arg, dirfd, name);
}

int root_commit(struct root *root, const char *tag, const char *temp, const char *path, bool noreplace,
		bool backup)
{
	if (!root_temp_name_ok(temp, ROOT_TEMP_MAX) || !root_temp_name_ok(tag, ROOT_TAG_MAX + 1))
		return -EINVAL;
	struct root_dir *state = root_state_get(root);
	if (!state)
		return -errno;
	char aside[ROOT_TEMP_MAX];
	root_aside_name(root, tag, aside);
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

/* Times by name before Linux 5.8, which knows no other way. */
static int finish_symlink(int dirfd, const char *name, const struct timespec times[static 2],
			  root_link_fn *also, void *arg)
{
	int fd = open_name(dirfd, name, O_PATH, 0);
	if (fd < 0)
		return fd;
	int rc = also ? also(fd, arg) : 0;
	if (rc != 0) {
		close(fd);
		return rc;
	}
	int sys = utimensat(fd, seccomp_this, times, AT_EMPTY_PATH) != 0 ? errno : 0;
	close(fd);
	if (sys == EINVAL)
		sys = utimensat(dirfd, name, times, AT_SYMLINK_NOFOLLOW) != 0 ? errno : 0;
	return -sys;
}

int root_symlink(struct root *root, const char *tag, const char *path, const char *target, int64_t mtime_s,
		 uint32_t mtime_ns, root_link_fn *also, void *arg)
{
	struct timespec times[2];
	if (!mtime_pair(mtime_s, mtime_ns, times) || !root_temp_name_ok(tag, ROOT_TAG_MAX + 1))
		return -EINVAL;
	char aside[ROOT_TEMP_MAX];
	root_aside_name(root, tag, aside);
	int rc = root_in_state(root, op_symlink, aside, target);
	struct root_dir *state = rc == 0 ? root_state_get(root) : NULL;
	if (!state)
		return rc != 0 ? rc : -errno;
	struct placing p = {.state = state->fd, .temp = aside};
	rc = finish_symlink(state->fd, aside, times, also, arg);
	if (rc == 0)
		rc = change_in_parent(root, path, true, op_place, &p);
	if (rc != 0)
		unlinkat(state->fd, aside, 0);
	root_dir_put(root, state);
	return rc;
}

struct linking {
	int state;
	const char *aside;
};

static int op_link(struct root *root, int dirfd, const char *name, void *arg)
{
	(void)root;
	const struct linking *l = arg;
	return linkat(dirfd, name, l->state, l->aside, 0) != 0 ? -errno : 0;
}

int root_link(struct root *root, const char *tag, const char *from, const char *path, bool noreplace,
	      bool backup)
{
	if (!root_temp_name_ok(tag, ROOT_TAG_MAX + 1))
		return -EINVAL;
	char aside[ROOT_TEMP_MAX];
	root_aside_name(root, tag, aside);
	struct root_dir *state = root_state_get(root);
	if (!state)
		return -errno;
	struct stat st;
	struct linking l = {state->fd, aside};
	int rc = in_parent(root, from, false, op_link, &l);
	bool made = rc == 0;
	if (made && (fstatat(state->fd, aside, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode)))
		rc = -ESTALE;
	if (rc == 0)
		rc = root_commit(root, tag, aside, path, noreplace, backup);
	/* also when it went well: rename leaves both names of one file as they are */
	if (made)
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

static int op_mkdir(struct root *root, int dirfd, const char *name, void *created)
{
	(void)root;
	struct stat st;
	*(bool *)created = mkdirat(dirfd, name, 0700) == 0;
	if (*(bool *)created)
		return 0;
	if (errno != EEXIST || fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? open_make_usable(dirfd, name, &st) : -EEXIST;
}

int root_mkdir(struct root *root, const char *path, bool *created)
{
	return change_in_parent(root, path, true, op_mkdir, created);
}

static int op_open_dir(struct root *root, int dirfd, const char *name, void *arg)
{
	(void)root, (void)arg;
	return open_name(dirfd, name, ROOT_DIR_FLAGS, 0);
}

int root_open_dir(struct root *root, const char *path)
{
	return in_parent(root, path, false, op_open_dir, NULL);
}

struct dir_meta {
	mode_t mode;
	struct timespec times[2];
};

static int op_dir_meta(struct root *root, int dirfd, const char *name, void *arg)
{
	(void)root;
	const struct dir_meta *m = arg;
	int fd = open_name(dirfd, name, ROOT_DIR_FLAGS, 0);
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
