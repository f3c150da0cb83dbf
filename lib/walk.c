/*
 * Sources to a stream of entries. One struct level for every directory between the source and here; its
 * descriptor and buffer belong to the walk. w->path holds the path of the current entry, cut back to the
 * level's own length before each name.
 *
 * A source is read below a base descriptor: the directory that holds it, shared by all sources from there,
 * or the source directory itself where it has no usable name of its own (`.`, `..`, a symlink followed).
 * Bases are only ever added, and stay open until walk_free, so walk_open may use them from any thread.
 */
#include "lib/walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/beneath.h"
#include "lib/names.h"
#include "lib/operand.h"

#define OPEN_LEVELS_MAX 64
#define DIR_FLAGS	(O_RDONLY | O_DIRECTORY | O_CLOEXEC)
#define FILE_FLAGS	(O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
#define PATH_ROOM	(ROOT_PATH_MAX + NAME_MAX + 2)

/* What the steps of walk_next return besides an enum walk_result. */
enum { WALK_AGAIN = -1 };

struct level {
	int fd;	      /* -1: not opened yet, closed to bound their number, or not readable */
	bool started; /* opened once, or failed to */
	bool silent;  /* the top of `SRC/.`: no entry of its own */
	size_t path_len;
	struct entry dir;
	struct names names; /* its buffer is kept for the next directory at this depth */
};

struct base {
	char *dir; /* NULL: belongs to one source only */
	int fd;
};

struct source {
	const char *text; /* as the user gave it */
	int fd;		  /* its base's */
	size_t skip;	  /* entry path + skip is the path below fd */
};

struct walk {
	enum links_mode links;
	int cwd; /* of relative sources; AT_FDCWD unless -C */
	char *chdir_to;
	struct source *sources;
	size_t count, next, readable;
	struct base *bases;
	size_t base_count;

	struct level levels[ROOT_DEPTH_MAX + 1];
	size_t depth;
	size_t path_len;
	char path[PATH_ROOM];
	char target[PATH_MAX];
};

enum haul_rc walk_new(const struct haul_config *cfg, const char *const *sources, size_t count,
		      struct walk **out, struct haul_err *err)
{
	*out = NULL;
	struct walk *w = calloc(1, sizeof *w);
	if (!w)
		return haul_fail(err, HAUL_NO_MEMORY, ENOMEM, NULL, "out of memory");
	w->links = cfg->links;
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

static struct source *source_now(struct walk *w)
{
	return &w->sources[w->next - 1];
}

/* Subjects are spelt from what the user typed: SRC, then the path below it. */
__attribute__((format(printf, 5, 6))) static int problem_at(struct walk *w, struct haul_err *problem,
							    enum haul_rc rc, int sys, const char *fmt, ...)
{
	const struct source *src = source_now(w);
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

static int problem_errno(struct walk *w, struct haul_err *problem, int sys, const char *what)
{
	if (sys == ENOENT)
		return problem_at(w, problem, HAUL_CHANGED, sys, "vanished");
	return problem_at(w, problem, HAUL_IO, sys, "%s", what);
}

static int source_problem(struct walk *w, struct haul_err *problem, int sys)
{
	return problem_at(w, problem, HAUL_NO_SOURCE, sys, "cannot be read");
}

static void path_cut(struct walk *w, size_t len)
{
	w->path_len = len;
	w->path[len] = '\0';
}

/* False when it does not even fit the buffer; whether the receiver would take it is asked separately. */
static bool path_append(struct walk *w, const char *name)
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
	const struct source *src = source_now(w);
	return w->path_len > src->skip ? w->path + src->skip : ".";
}

static int entry_fill(struct walk *w, struct entry *out, enum entry_type type, const struct stat *st)
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

static int dir_flags(const struct walk *w)
{
	return w->links == LINKS_FOLLOW ? DIR_FLAGS : DIR_FLAGS | O_NOFOLLOW;
}

/* What is left of the directory is given up. */
static void level_abandon(struct level *lv)
{
	lv->started = lv->names.all = true;
	lv->names.pos = lv->names.used = 0;
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

static int level_push(struct walk *w, const struct entry *dir, int fd, bool silent)
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
	w->depth--;
	if (lv->silent)
		return WALK_AGAIN;
	*out = lv->dir;
	out->type = ENTRY_DIR_END;
	return WALK_ENTRY;
}

static int level_open(struct walk *w, struct level *lv)
{
	const struct level *up = lv - 1;
	lv->started = true;
	lv->fd = openat(up->fd, w->path + up->path_len + (up->path_len > 0), dir_flags(w));
	if (lv->fd < 0)
		return -errno;
	levels_bound(w);
	return 0;
}

static int open_in_source(const struct walk *w, const struct source *src, const char *path, int flags)
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
	int fd = open_in_source(w, source_now(w), path_below_source(w), DIR_FLAGS);
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

static int visit_symlink(struct walk *w, int dirfd, const char *name, const struct stat *st,
			 struct entry *out, struct haul_err *problem)
{
	if (w->links == LINKS_SKIP)
		return WALK_AGAIN;
	ssize_t n = readlinkat(dirfd, name, w->target, sizeof w->target);
	if (n < 0)
		return problem_errno(w, problem, errno, "cannot read the symbolic link");
	if ((size_t)n == sizeof w->target)
		return problem_at(w, problem, HAUL_IO, 0, "symbolic link is too long");
	w->target[n] = '\0';
	entry_fill(w, out, ENTRY_SYMLINK, st);
	out->target = w->target;
	out->target_len = (size_t)n;
	return WALK_ENTRY;
}

/* links=follow: *st becomes what the link leads to. */
static int follow(struct walk *w, int dirfd, const char *name, struct stat *st, struct haul_err *problem)
{
	if (fstatat(dirfd, name, st, 0) != 0) {
		if (errno == ENOENT)
			return problem_at(w, problem, HAUL_IO, 0, "symbolic link leads nowhere");
		return problem_errno(w, problem, errno, "cannot follow the symbolic link");
	}
	if (S_ISDIR(st->st_mode) && is_ancestor(w, st))
		return problem_at(w, problem, HAUL_IO, ELOOP,
				  "symbolic link leads back to a directory above");
	return WALK_AGAIN;
}

/* w->path names it already; dirfd and name reach it. */
static int visit(struct walk *w, int dirfd, const char *name, struct stat *st, struct entry *out,
		 struct haul_err *problem)
{
	if (S_ISLNK(st->st_mode) && w->links == LINKS_FOLLOW) {
		int rc = follow(w, dirfd, name, st, problem);
		if (rc != WALK_AGAIN)
			return rc;
	}
	if (S_ISLNK(st->st_mode))
		return visit_symlink(w, dirfd, name, st, out, problem);
	if (S_ISREG(st->st_mode))
		return entry_fill(w, out, ENTRY_FILE, st);
	if (!S_ISDIR(st->st_mode))
		return problem_at(w, problem, HAUL_IO, 0, "%s", special_name(st->st_mode));
	entry_fill(w, out, ENTRY_DIR, st);
	return level_push(w, out, -1, false);
}

static int visit_child(struct walk *w, struct level *lv, const char *name, struct entry *out,
		       struct haul_err *problem)
{
	bool is_state = w->depth == 1 && strcmp(name, ROOT_STATE_DIR) == 0;
	if (!path_append(w, name))
		return problem_at(w, problem, HAUL_IO, 0, "a name in it is too long");
	struct stat st;
	if (fstatat(lv->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return problem_errno(w, problem, errno, "cannot stat");
	if (is_state && S_ISDIR(st.st_mode))
		return WALK_AGAIN;
	const char *refused = root_name_refused(w->path, w->path_len);
	if (refused)
		return problem_at(w, problem, HAUL_IO, 0, "cannot be sent: %s", refused);
	return visit(w, lv->fd, name, &st, out, problem);
}

static int step_level(struct walk *w, struct entry *out, struct haul_err *problem)
{
	struct level *lv = &w->levels[w->depth - 1];
	path_cut(w, lv->path_len);
	int rc = lv->started ? 0 : level_open(w, lv);
	const char *name = NULL;
	if (rc == 0)
		rc = names_next(&lv->names, lv->fd, &name);
	if (rc == 0)
		return level_pop(w, lv, out);
	if (name && (strcmp(name, ".") == 0 || strcmp(name, "..") == 0))
		return WALK_AGAIN;
	if (name && lv->fd < 0)
		rc = level_reopen(w, lv);
	if (name && rc >= 0)
		return visit_child(w, lv, name, out, problem);
	level_abandon(lv);
	return problem_errno(w, problem, -rc, "cannot read the directory");
}

static int base_add(struct walk *w, const char *dir, int fd)
{
	struct base *bases = realloc(w->bases, (w->base_count + 1) * sizeof *bases);
	char *copy = dir ? strdup(dir) : NULL;
	if (bases)
		w->bases = bases;
	if (!bases || (dir && !copy)) {
		free(copy);
		close(fd);
		return -ENOMEM;
	}
	w->bases[w->base_count++] = (struct base){.dir = copy, .fd = fd};
	return fd;
}

/* O_PATH: only searching it is needed. From the last one: `haul send dir/...` repeats the same parent. */
static int base_open(struct walk *w, const char *dir)
{
	for (size_t i = w->base_count; i-- > 0;)
		if (w->bases[i].dir && strcmp(w->bases[i].dir, dir) == 0)
			return w->bases[i].fd;
	int fd = openat(w->cwd, dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : base_add(w, dir, fd);
}

/* A directory that is its own base: name is what it arrives under, "" for its contents only. */
static int start_own_base(struct walk *w, const char *name, struct entry *out, struct haul_err *problem)
{
	struct source *src = source_now(w);
	const char *refused = name[0] ? root_name_refused(name, strlen(name)) : NULL;
	if (refused)
		return problem_at(w, problem, HAUL_NO_SOURCE, 0, "cannot be sent: %s", refused);
	struct stat st;
	int fd = openat(w->cwd, src->text, DIR_FLAGS);
	if (fd < 0 || fstat(fd, &st) != 0) {
		int sys = errno;
		if (fd >= 0)
			close(fd);
		return source_problem(w, problem, sys);
	}
	src->fd = base_add(w, NULL, fd);
	int top = src->fd < 0 ? -1 : openat(fd, ".", DIR_FLAGS);
	if (top < 0)
		return source_problem(w, problem, src->fd < 0 ? ENOMEM : errno);
	w->readable++;
	if (name[0])
		path_append(w, name);
	src->skip = w->path_len ? w->path_len + 1 : 0;
	entry_fill(w, out, ENTRY_DIR, &st);
	return level_push(w, out, top, name[0] == '\0');
}

/* A file, a symlink or a directory below the directory that holds it. */
static int start_in_parent(struct walk *w, int parent, const char *name, struct stat *st, struct entry *out,
			   struct haul_err *problem)
{
	source_now(w)->fd = parent;
	path_append(w, name);
	const char *refused = root_name_refused(w->path, w->path_len);
	if (refused)
		return problem_at(w, problem, HAUL_NO_SOURCE, 0, "cannot be sent: %s", refused);
	int rc = visit(w, parent, name, st, out, problem);
	if (rc == WALK_PROBLEM) {
		problem->rc = HAUL_NO_SOURCE;
		return rc;
	}
	if (rc == WALK_ENTRY && out->type == ENTRY_DIR) {
		struct level *lv = &w->levels[0];
		lv->started = true;
		lv->fd = openat(parent, name, dir_flags(w));
		if (lv->fd < 0) {
			w->depth = 0;
			return source_problem(w, problem, errno);
		}
	}
	w->readable++;
	return rc;
}

static int start_spelled(struct walk *w, const struct operand *op, struct entry *out,
			 struct haul_err *problem)
{
	if (op->name[0] == '\0' || strcmp(op->name, ".") == 0)
		return start_own_base(w, "", out, problem);
	if (strcmp(op->name, "..") == 0) {
		char *name = operand_real_name(w->chdir_to, source_now(w)->text);
		int rc = name ? start_own_base(w, name, out, problem) : source_problem(w, problem, errno);
		free(name);
		return rc;
	}
	struct stat st;
	int parent = base_open(w, op->dir);
	if (parent < 0)
		return source_problem(w, problem, -parent);
	if (fstatat(parent, op->name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return source_problem(w, problem, errno);
	if (op->slash && S_ISLNK(st.st_mode))
		return start_own_base(w, op->name, out, problem);
	if (op->slash && !S_ISDIR(st.st_mode))
		return source_problem(w, problem, ENOTDIR);
	return start_in_parent(w, parent, op->name, &st, out, problem);
}

static int step_source(struct walk *w, struct entry *out, struct haul_err *problem)
{
	if (w->next == w->count)
		return WALK_END;
	struct source *src = &w->sources[w->next++];
	path_cut(w, 0);
	if (src->text[0] == '\0')
		return source_problem(w, problem, ENOENT);
	struct operand op;
	int rc = operand_parse(src->text, &op) ? start_spelled(w, &op, out, problem)
					       : source_problem(w, problem, ENOMEM);
	operand_free(&op);
	return rc;
}

enum walk_result walk_next(struct walk *w, struct entry *out, struct haul_err *problem)
{
	int rc = WALK_AGAIN;
	haul_err_clear(problem);
	while (rc == WALK_AGAIN)
		rc = w->depth ? step_level(w, out, problem) : step_source(w, out, problem);
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

int walk_open(const struct walk *w, unsigned source, const char *source_path, struct stamp *now)
{
	if (walk_source_fd(w, source) < 0)
		return -ENOENT;
	int fd = open_in_source(w, &w->sources[source], source_path, FILE_FLAGS);
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
	int fd = open_in_source(w, &w->sources[source], source_path, FILE_FLAGS);
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
