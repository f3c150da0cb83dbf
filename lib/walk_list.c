/*
 * A walk along a list of names. A directory that only leads to names of the list takes its children from there; one
 * that is named is read as any other. Names that cannot be visited on the way (they are missing, or lie behind a
 * link) wait in w->check, and are told of one by one.
 */
#include "lib/walk_impl.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "lib/listing.h"

/* Names below from are done with. covered: they lie in a directory that is taken whole, and only need to be there. */
static void check_later(struct walk *w, size_t from, size_t to, bool covered)
{
	w->check = from;
	w->check_end = to;
	w->covered = covered;
}

void walk_list_start(struct walk *w)
{
	struct level *top = &w->levels[0];
	size_t count = listing_count(w->names);
	bool whole = count && !*listing_name(w->names, 0);
	w->filtered |= !whole;
	w->readable -= count && !whole; /* that a name can be read decides */
	top->listed = top->names.all = !whole;
	top->name = 0;
	top->name_end = count;
	if (whole)
		check_later(w, 1, count, true);
}

/* What the names of the group lead through, or not. */
static bool is_directory(const struct walk *w, int dirfd, const char *name, struct stat *st)
{
	struct stat to;
	if (S_ISLNK(st->st_mode) && w->links == LINKS_FOLLOW)
		return fstatat(dirfd, name, &to, 0) == 0 && S_ISDIR(to.st_mode);
	return S_ISDIR(st->st_mode);
}

/* The entry of a directory was made, and its level pushed unless it is not entered. */
static void enter(struct walk *w, size_t from, size_t to, bool named)
{
	struct level *lv = &w->levels[w->depth - 1];
	if (named || lv->started) {
		check_later(w, from + named, lv->started ? from + named : to, true);
		return;
	}
	lv->listed = lv->names.all = true;
	lv->name = from;
	lv->name_end = to;
}

int walk_list_step(struct walk *w, struct level *lv, struct entry *out, struct haul_err *problem)
{
	size_t from = lv->name, below = lv->path_len + (lv->path_len > 0);
	size_t to = listing_group(w->names, from, lv->name_end, below);
	const char *text = listing_name(w->names, from) + below;
	size_t n = strcspn(text, "/");
	bool named = text[n] == '\0';
	char name[NAME_MAX + 1] = "..";
	struct stat st;
	lv->name = to;
	if (n < sizeof name)
		*(char *)mempcpy(name, text, n) = '\0';
	if (strcmp(name, "..") == 0 || !walk_path_append(w, name) ||
	    fstatat(lv->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
	    (!named && !is_directory(w, lv->fd, name, &st))) {
		check_later(w, from, to, false);
		return WALK_AGAIN;
	}
	int rc = walk_visit(w, lv->fd, name, &st, out, problem);
	w->readable += rc == WALK_AGAIN || (named && rc == WALK_ENTRY);
	if (rc == WALK_ENTRY && out->type == ENTRY_DIR)
		enter(w, from, to, named);
	else if (rc == WALK_ENTRY)
		check_later(w, from + 1, to, false);
	return rc;
}

/* Is a name left out, or a directory on the way to it? */
static bool name_left_out(struct walk *w)
{
	size_t len = w->path_len;
	bool out = false;
	for (char *slash = strchr(w->path, '/'); slash && !out; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		w->path_len = (size_t)(slash - w->path);
		out = walk_leaves_out(w, true);
		*slash = '/';
	}
	w->path_len = len;
	return out || walk_leaves_out(w, false) || walk_leaves_out(w, true);
}

/* As it is listed, which is also what the receiver would have called it. */
static int missing(const char *name, struct haul_err *problem, int sys, const char *why)
{
	haul_fail(problem, HAUL_NO_SOURCE, sys, name, "%s", why);
	return WALK_PROBLEM;
}

int walk_list_check(struct walk *w, struct haul_err *problem)
{
	const char *name = listing_name(w->names, w->check++);
	walk_path_cut(w, 0);
	walk_path_append(w, name);
	if (listing_leads_up(name))
		return missing(name, problem, 0, "cannot be sent: component \"..\"");
	if (name_left_out(w)) {
		w->readable++;
		return WALK_AGAIN;
	}
	int fd = walk_open_in_source(w, walk_source_now(w), name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	if (fd >= 0 && w->covered)
		return WALK_AGAIN;
	if (fd == -ELOOP)
		return missing(name, problem, 0, "lies behind a symbolic link");
	return missing(name, problem, fd < 0 ? -fd : 0, "cannot be read");
}
