/*
 * How a walk begins with a source. It is read below a base descriptor: the directory that holds it, shared by
 * all sources from there, or the source directory itself where it has no usable name of its own (`.`, `..`, a
 * symlink followed). Bases are only ever added, and stay open until walk_free, so walk_open may use them from
 * any thread.
 */
#include "lib/walk_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/operand.h"

static int source_problem(struct walk *w, struct haul_err *problem, int sys)
{
	return walk_problem(w, problem, HAUL_NO_SOURCE, sys, "cannot be read");
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
	for (size_t i = w->base_count; i > 0; i--)
		if (w->bases[i - 1].dir && strcmp(w->bases[i - 1].dir, dir) == 0)
			return w->bases[i - 1].fd;
	int fd = openat(w->cwd, dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : base_add(w, dir, fd);
}

/* A directory that is its own base: name is what it arrives under, "" for its contents only. */
static int start_own_base(struct walk *w, const char *name, struct entry *out, struct haul_err *problem)
{
	struct source *src = walk_source_now(w);
	const char *refused = name[0] ? root_name_refused(name, strlen(name)) : NULL;
	if (refused)
		return walk_problem(w, problem, HAUL_NO_SOURCE, 0, "cannot be sent: %s", refused);
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
	if (name[0]) {
		walk_path_append(w, name);
		if (walk_leaves_out(w, true)) {
			close(top);
			return WALK_AGAIN;
		}
	}
	src->skip = w->path_len ? w->path_len + 1 : 0;
	walk_entry_fill(w, out, ENTRY_DIR, &st);
	return walk_level_push(w, out, top, name[0] == '\0');
}

/* A file, a symlink or a directory below the directory that holds it. */
static int start_in_parent(struct walk *w, int parent, const char *name, struct stat *st, struct entry *out,
			   struct haul_err *problem)
{
	walk_source_now(w)->fd = parent;
	walk_path_append(w, name);
	int rc = walk_visit(w, parent, name, st, out, problem);
	if (rc == WALK_PROBLEM) {
		problem->rc = HAUL_NO_SOURCE;
		return rc;
	}
	if (rc == WALK_ENTRY && out->type == ENTRY_DIR) {
		struct level *lv = &w->levels[0];
		lv->started = true;
		lv->fd = openat(parent, name, walk_dir_flags(w));
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
		char *name = operand_real_name(w->chdir_to, walk_source_now(w)->text);
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

int walk_start(struct walk *w, struct entry *out, struct haul_err *problem)
{
	if (w->next == w->count)
		return WALK_END;
	struct source *src = &w->sources[w->next++];
	walk_path_cut(w, 0);
	if (src->text[0] == '\0')
		return source_problem(w, problem, ENOENT);
	if (w->names) {
		int made = start_own_base(w, "", out, problem);
		if (w->depth)
			walk_list_start(w);
		return made;
	}
	struct operand op;
	int rc = operand_parse(src->text, &op) ? start_spelled(w, &op, out, problem)
					       : source_problem(w, problem, ENOMEM);
	operand_free(&op);
	return rc;
}
