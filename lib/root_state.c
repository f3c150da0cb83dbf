/* DIR/.haul: what is not complete yet, and the memory of it. */
#include "lib/root_impl.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_TRIES 8

static int state_open(int top)
{
	if (mkdirat(top, ROOT_STATE_DIR, 0700) != 0 && errno != EEXIST)
		return -errno;
	int fd = open_name(top, ROOT_STATE_DIR, ROOT_DIR_FLAGS, 0);
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

struct root_dir *root_state_get(struct root *root)
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

int root_in_state(struct root *root, root_state_op *op, const char *name, const char *arg)
{
	int rc = -ENOENT;
	for (int i = 0; i < STATE_TRIES && rc == -ENOENT; i++) {
		struct root_dir *state = root_state_get(root);
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

bool root_temp_name_ok(const char *name, size_t room)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.-");
	return n > 0 && n < room && name[n] == '\0';
}

int root_temp_open(struct root *root, const char *tag, uint64_t number, char name[static ROOT_TEMP_MAX])
{
	if (!root_temp_name_ok(tag, ROOT_TAG_MAX + 1))
		return -EINVAL;
	snprintf(name, ROOT_TEMP_MAX, "%.*s-%" PRIx64 ".part", ROOT_TAG_MAX, tag, number);
	return root_in_state(root, op_temp_open, name, NULL);
}

int root_temp_unlink(struct root *root, const char *name)
{
	if (!root_temp_name_ok(name, ROOT_TEMP_MAX))
		return -EINVAL;
	struct root_dir *state = root_state_get(root);
	if (!state)
		return -errno;
	int rc = unlinkat(state->fd, name, 0) != 0 ? -errno : 0;
	root_dir_put(root, state);
	return rc;
}

void root_aside_name(struct root *root, const char *tag, char name[static ROOT_TEMP_MAX])
{
	snprintf(name, ROOT_TEMP_MAX, "%.*s-%" PRIx64 ".part", ROOT_TAG_MAX, tag,
		 atomic_fetch_add(&root->serial, 1));
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
		return root_in_state(root, op_open_make, name, NULL);
	int state = root_state_open_dir(root);
	int fd = state < 0 ? state : open_regular(state, name, flags);
	if (state >= 0)
		close(state);
	return fd;
}

int root_state_rename(struct root *root, const char *from, const char *to)
{
	if (!root_temp_name_ok(from, ROOT_TEMP_MAX) || !root_temp_name_ok(to, ROOT_TEMP_MAX))
		return -EINVAL;
	int state = root_state_open_dir(root);
	if (state < 0)
		return state;
	int rc = renameat(state, from, state, to) != 0 ? -errno : 0;
	close(state);
	return rc;
}

int root_state_open_dir(struct root *root)
{
	return open_name(root->top->fd, ROOT_STATE_DIR, ROOT_DIR_FLAGS, 0);
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
