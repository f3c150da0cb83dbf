/*
 * Sources to a stream of entries. One struct level for every directory between the source and here; its
 * descriptor and buffer belong to the walk. w->path holds the path of the current entry, cut back to the
 * level's own length before each name.
 */
#include "lib/walk_impl.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/operand.h"

#define OPEN_LEVELS_MAX 64
#define FILE_FLAGS	(O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

enum haul_rc walk_new(const struct haul_config *cfg, const char *const *sources, size_t count,
		      struct walk **out, struct haul_err *err)
{
	*out = NULL;
	struct walk *w = calloc(1, sizeof *w);
	if (!w)
		return haul_fail(err, HAUL_NO_MEMORY, ENOMEM, NULL, "out of memory");
	w->links = cfg->links;
	w->tell_left_out = cfg->delete_strays;
	w->filter = cfg->filter;
	w->min_size = cfg->min_size;
	w->max_size = cfg->max_size;
	w->one_file_system = cfg->one_file_system;
	w->names = cfg->names;
	w->gitignore = cfg->gitignore;
	w->cwd = AT_FDCWD;
	w->count = count;
	w->sources = calloc(count + 1, sizeof *w->sources);
	w->chdir_to = strdup(cfg->chdir_to ? cfg->chdir_to : ".");
	if (!w->sources || !w->chdir_to) {
		walk_free(w);
		return haul_fail(err, HAUL_NO_MEMORY, ENOMEM, NULL, "out of memory");
	}
	for (size_t i = 0; i < count; i++)
		w->sources[i] = (struct source){.text = sources[i], .fd = -1};
	if (cfg->chdir_to)
		w->cwd = open(cfg->chdir_to, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (cfg->chdir_to && w->cwd < 0) {
		int sys = errno;
		walk_free(w);
		return haul_fail(err, HAUL_NO_SOURCE, sys, cfg->chdir_to, "cannot enter the directory");
	}
	*out = w;
	return HAUL_OK;
}

void walk_free(struct walk *w)
{
	if (!w)
		return;
	for (size_t i = 0; i <= ROOT_DEPTH_MAX; i++) {
		if (i < w->depth && w->levels[i].fd >= 0)
			close(w->levels[i].fd);
		walk_ignore_drop(w, &w->levels[i]);
		free(w->levels[i].names.buf);
	}
	for (size_t i = 0; i < w->base_count; i++) {
		close(w->bases[i].fd);
		free(w->bases[i].dir);
	}
	if (w->cwd >= 0)
		close(w->cwd);
	free(w->bases);
	free(w->sources);
	free(w->chdir_to);
	free(w);
}

struct source *walk_source_now(struct walk *w)
{
	return &w->sources[w->next - 1];
}

int walk_problem(struct walk *w, struct haul_err *problem, enum haul_rc rc, int sys, const char *fmt, ...)
{
	const struct source *src = walk_source_now(w);
	size_t top = w->depth ? w->levels[0].path_len : w->path_len;
	const char *below = w->path + top + (top > 0);
	char subject[HAUL_SUBJECT_MAX], why[HAUL_WHY_MAX];
	operand_subject(src->text, w->path_len > top ? below : "", subject, sizeof subject);
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(why, sizeof why, fmt, ap);
	va_end(ap);
	haul_fail(problem, rc, sys, subject, "%s", why);
	return WALK_PROBLEM;
}

int walk_problem_errno(struct walk *w, struct haul_err *problem, int sys, const char *what)
{
	if (sys == ENOENT)
		return walk_problem(w, problem, HAUL_CHANGED, sys, "vanished");
	return walk_problem(w, problem, HAUL_IO, sys, "%s", what);
}

void walk_path_cut(struct walk *w, size_t len)
{
	w->path_len = len;
	w->path[len] = '\0';
}

bool walk_path_append(struct walk *w, const char *name)
{
	size_t n = strlen(name), at = w->path_len + (w->path_len > 0);
	if (at + n >= PATH_ROOM)
		return false;
	if (w->path_len > 0)
		w->path[w->path_len] = '/';
	memcpy(w->path + at, name, n + 1);
	w->path_len = at + n;
	return true;
}

static const char *path_below_source(struct walk *w)
{
	const struct source *src = walk_source_now(w);
	return w->path_len > src->skip ? w->path + src->skip : ".";
}

int walk_entry_fill(struct walk *w, struct entry *out, enum entry_type type, const struct stat *st)
{
	*out = (struct entry){
		.type = type,
		.mode = st->st_mode & 07777,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.links = st->st_nlink,
		.blocks = (uint64_t)st->st_blocks * 512,
		.path = w->path,
		.path_len = w->path_len,
		.source = (unsigned)(w->next - 1),
		.source_path = path_below_source(w),
	};
	stamp_of_stat(st, &out->stamp);
	return WALK_ENTRY;
}

int walk_dir_flags(const struct walk *w)
{
	return w->links == LINKS_FOLLOW ? DIR_FLAGS : DIR_FLAGS | O_NOFOLLOW;
}

/* What is left of the directory is given up. */
static void level_abandon(struct level *lv)
{
	lv->started = lv->names.all = lv->part = lv->any = true;
	lv->names.pos = lv->names.used = 0;
	lv->name = lv->name_end;
}

/* Closes the highest open level once there are too many below it. Its remaining names are read first: a
 * position in a directory does not survive closing on every file system. If that fails it stays open, and the
 * error comes up again when its turn is. */
static void levels_bound(struct walk *w)
{
	if (w->depth <= OPEN_LEVELS_MAX)
		return;
	struct level *lv = &w->levels[w->depth - 1 - OPEN_LEVELS_MAX];
	while (lv->fd >= 0 && !lv->names.all)
		if (names_fill(&lv->names, lv->fd) != 0)
			return;
	if (lv->fd >= 0)
		close(lv->fd);
	lv->fd = -1;
}

int walk_level_push(struct walk *w, const struct entry *dir, int fd, bool silent)
{
	struct level *lv = &w->levels[w->depth++];
	if (lv->names.cap > 8 * NAMES_BYTES) {
		free(lv->names.buf);
		lv->names = (struct names){0};
	}
	*lv = (struct level){
		.fd = fd,
		.started = fd >= 0,
		.silent = silent,
		.path_len = w->path_len,
		.dir = *dir,
		.names = {.buf = lv->names.buf, .cap = lv->names.cap},
	};
	return silent ? WALK_AGAIN : WALK_ENTRY;
}

static int level_pop(struct walk *w, struct level *lv, struct entry *out)
{
	if (lv->fd >= 0)
		close(lv->fd);
	walk_ignore_drop(w, lv);
	w->depth--;
	if (w->depth == 0 && !lv->any && !lv->listed && !w->empty)
		w->empty = walk_source_now(w)->text;
	if (lv->silent)
		return WALK_AGAIN;
	*out = lv->dir;
	out->type = ENTRY_DIR_END;
	out->part = lv->part;
	return WALK_ENTRY;
}

/* One whose names are known is only searched. */
static int level_flags(const struct level *lv)
{
	return lv->listed ? O_PATH : 0;
}

static int level_open(struct walk *w, struct level *lv)
{
	const struct level *up = lv - 1;
	lv->started = true;
	lv->fd = openat(up->fd, w->path + up->path_len + (up->path_len > 0),
			walk_dir_flags(w) | level_flags(lv));
	if (lv->fd < 0)
		return -errno;
	levels_bound(w);
	return 0;
}

int walk_open_in_source(const struct walk *w, const struct source *src, const char *path, int flags)
{
	if (w->links != LINKS_FOLLOW)
		return open_beneath(src->fd, path, flags);
	int fd = openat(src->fd, path, flags);
	return fd < 0 ? -errno : fd;
}

/* Back in a level that levels_bound closed: it must be the same directory still. */
static int level_reopen(struct walk *w, struct level *lv)
{
	struct stamp now;
	int fd =
		walk_open_in_source(w, walk_source_now(w), path_below_source(w), DIR_FLAGS | level_flags(lv));
	if (fd < 0)
		return fd;
	int rc = stamp_of_fd(fd, &now);
	if (rc == 0 && (now.dev != lv->dir.stamp.dev || now.ino != lv->dir.stamp.ino))
		rc = -ESTALE;
	if (rc != 0)
		close(fd);
	else
		lv->fd = fd;
	return rc;
}

static bool is_ancestor(const struct walk *w, const struct stat *st)
{
	for (size_t i = 0; i < w->depth; i++)
		if (w->levels[i].dir.stamp.ino == st->st_ino && w->levels[i].dir.stamp.dev == st->st_dev)
			return true;
	return false;
}

static const char *special_name(mode_t mode)
{
	if (S_ISFIFO(mode))
		return "is a FIFO, not sent";
	if (S_ISSOCK(mode))
		return "is a socket, not sent";
	return "is a device, not sent";
}

/* What is not sent because the user does not want links. */
static int leave_out(struct walk *w, const struct stat *st, struct entry *out)
{
	return w->tell_left_out ? walk_entry_fill(w, out, ENTRY_LEFT_OUT, st) : WALK_AGAIN;
}

static int visit_symlink(struct walk *w, int dirfd, const char *name, const struct stat *st,
			 struct entry *out, struct haul_err *problem)
{
	if (w->links == LINKS_SKIP)
		return leave_out(w, st, out);
	ssize_t n = readlinkat(dirfd, name, w->target, sizeof w->target);
	if (n < 0)
		return walk_problem_errno(w, problem, errno, "cannot read the symbolic link");
	if ((size_t)n == sizeof w->target)
		return walk_problem(w, problem, HAUL_IO, 0, "symbolic link is too long");
	w->target[n] = '\0';
	walk_entry_fill(w, out, ENTRY_SYMLINK, st);
	out->target = w->target;
	out->target_len = (size_t)n;
	return WALK_ENTRY;
}

/* Is what w->path names left out, whatever it is? For what cannot be looked at. */
static bool hides(struct walk *w)
{
	return walk_leaves_out(w, false) || walk_leaves_out(w, true);
}

static bool size_left_out(struct walk *w, const struct stat *st)
{
	uint64_t size = (uint64_t)st->st_size;
	bool out = S_ISREG(st->st_mode) && (size < w->min_size || size > w->max_size);
	w->filtered |= out;
	return out;
}

bool walk_leaves_out(struct walk *w, bool is_dir)
{
	enum verdict v = w->filter ? filter_ask(w->filter, w->path, w->path_len, is_dir) : FILTER_NONE;
	if (v == FILTER_NONE && w->gitignore)
		v = walk_ignore_ask(w, is_dir);
	bool out = v == FILTER_LEAVE;
	w->filtered |= out;
	return out;
}

static int cannot_follow(struct walk *w, int sys, struct haul_err *problem)
{
	if (hides(w))
		return WALK_AGAIN;
	if (sys == ENOENT)
		return walk_problem(w, problem, HAUL_IO, 0, "symbolic link leads nowhere");
	return walk_problem_errno(w, problem, sys, "cannot follow the symbolic link");
}

/* One on another device than its source is sent, but not entered. */
static int visit_dir(struct walk *w, const struct stat *st, struct entry *out)
{
	bool other = w->one_file_system && w->depth && st->st_dev != w->levels[0].dir.stamp.dev;
	walk_entry_fill(w, out, ENTRY_DIR, st);
	int rc = walk_level_push(w, out, -1, false);
	if (other) {
		level_abandon(&w->levels[w->depth - 1]);
		w->filtered = true;
	}
	return rc;
}

int walk_visit(struct walk *w, int dirfd, const char *name, struct stat *st, struct entry *out,
	       struct haul_err *problem)
{
	bool followed = S_ISLNK(st->st_mode) && w->links == LINKS_FOLLOW;
	if (followed && fstatat(dirfd, name, st, 0) != 0)
		return cannot_follow(w, errno, problem);
	if (walk_leaves_out(w, S_ISDIR(st->st_mode)) || size_left_out(w, st))
		return WALK_AGAIN;
	const char *refused = root_name_refused(w->path, w->path_len);
	if (refused)
		return walk_problem(w, problem, HAUL_IO, 0, "cannot be sent: %s", refused);
	if (followed && S_ISDIR(st->st_mode) && is_ancestor(w, st))
		return walk_problem(w, problem, HAUL_IO, ELOOP,
				    "symbolic link leads back to a directory above");
	if (S_ISLNK(st->st_mode))
		return visit_symlink(w, dirfd, name, st, out, problem);
	if (S_ISREG(st->st_mode))
		return walk_entry_fill(w, out, ENTRY_FILE, st);
	if (S_ISDIR(st->st_mode))
		return visit_dir(w, st, out);
	return walk_problem(w, problem, HAUL_IO, 0, "%s", special_name(st->st_mode));
}

static int visit_child(struct walk *w, struct level *lv, const char *name, struct entry *out,
		       struct haul_err *problem)
{
	bool is_state = w->depth == 1 && strcmp(name, ROOT_STATE_DIR) == 0;
	lv->any |= !is_state;
	if (!walk_path_append(w, name))
		return walk_problem(w, problem, HAUL_IO, 0, "a name in it is too long");
	struct stat st;
	if (fstatat(lv->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
		int sys = errno;
		return hides(w) ? WALK_AGAIN : walk_problem_errno(w, problem, sys, "cannot stat");
	}
	if (is_state && S_ISDIR(st.st_mode))
		return WALK_AGAIN;
	return walk_visit(w, lv->fd, name, &st, out, problem);
}

static bool is_dots(const char *name)
{
	return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

/* 1 with another child, *name if it was read and not listed; 0 at the end, -errno. *what could not be done. */
static int next_child(struct walk *w, struct level *lv, const char **name, const char **what)
{
	int rc = lv->started ? 0 : level_open(w, lv);
	*name = NULL;
	*what = "cannot read the directory";
	if (rc == 0 && w->gitignore && !lv->ignore_read && lv->fd >= 0 && (rc = walk_ignore_load(w, lv)) != 0)
		*what = "its .gitignore cannot be read, so nothing in it is sent";
	if (rc == 0 && lv->listed)
		return lv->name < lv->name_end;
	if (rc == 0)
		do
			rc = names_next(&lv->names, lv->fd, name);
		while (rc > 0 && is_dots(*name));
	return rc;
}

static int step_level(struct walk *w, struct entry *out, struct haul_err *problem)
{
	struct level *lv = &w->levels[w->depth - 1];
	const char *name, *what;
	walk_path_cut(w, lv->path_len);
	int rc = next_child(w, lv, &name, &what);
	if (rc == 0)
		return level_pop(w, lv, out);
	if (rc > 0 && lv->fd < 0)
		rc = level_reopen(w, lv);
	if (rc >= 0) {
		rc = name ? visit_child(w, lv, name, out, problem) : walk_list_step(w, lv, out, problem);
		lv->part |= rc == WALK_PROBLEM && problem->sys != ENOENT;
		return rc;
	}
	level_abandon(lv);
	return walk_problem_errno(w, problem, -rc, what);
}

static int step(struct walk *w, struct entry *out, struct haul_err *problem)
{
	if (w->check < w->check_end)
		return walk_list_check(w, problem);
	return w->depth ? step_level(w, out, problem) : walk_start(w, out, problem);
}

enum walk_result walk_next(struct walk *w, struct entry *out, struct haul_err *problem)
{
	int rc = WALK_AGAIN;
	haul_err_clear(problem);
	while (rc == WALK_AGAIN)
		rc = step(w, out, problem);
	if (rc == WALK_PROBLEM)
		*out = (struct entry){
			.path = w->path, .path_len = w->path_len, .source = (unsigned)(w->next - 1)};
	return (enum walk_result)rc;
}

int walk_source_fd(const struct walk *w, unsigned source)
{
	return source < w->count ? w->sources[source].fd : -1;
}

bool walk_nothing_readable(const struct walk *w)
{
	return w->readable == 0;
}

bool walk_roots(const struct walk *w, const char **empty)
{
	*empty = w->empty;
	return w->to_top;
}

bool walk_filtered(const struct walk *w)
{
	return w->filtered;
}

int walk_open(const struct walk *w, unsigned source, const char *source_path, struct stamp *now)
{
	if (walk_source_fd(w, source) < 0)
		return -ENOENT;
	int fd = walk_open_in_source(w, &w->sources[source], source_path, FILE_FLAGS);
	if (fd == -ELOOP || fd == -ENXIO)
		return -ESTALE;
	if (fd < 0)
		return fd == -ENOTDIR ? -ENOENT : fd;
	struct stat st;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		stamp_of_stat(&st, now);
		return fd;
	}
	close(fd);
	return -ESTALE;
}

int walk_open_any(const struct walk *w, unsigned source, const char *source_path)
{
	if (walk_source_fd(w, source) < 0)
		return -ENOENT;
	int fd = walk_open_in_source(w, &w->sources[source], source_path, FILE_FLAGS);
	struct stat st;
	if (fd < 0 || (fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))))
		return fd;
	close(fd);
	return -ESTALE;
}

int walk_remove(const struct walk *w, unsigned source, const char *source_path, const struct stamp *as)
{
	struct stamp now;
	int fd = walk_open(w, source, source_path, &now);
	if (fd < 0)
		return fd;
	close(fd);
	if (!stamp_equal(&now, as))
		return -ESTALE;
	/* the directory that holds it is found without following a link, and the name is removed there */
	const char *slash = strrchr(source_path, '/');
	char dir[ROOT_PATH_MAX + 1] = ".";
	if (slash)
		snprintf(dir, sizeof dir, "%.*s", (int)(slash - source_path), source_path);
	int at = open_beneath(walk_source_fd(w, source), dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (at < 0)
		return at;
	int rc = unlinkat(at, slash ? slash + 1 : source_path, 0) < 0 ? -errno : 0;
	close(at);
	return rc;
}
