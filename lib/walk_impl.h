/* What the files of the walk share, and nobody else sees. */
#ifndef HAUL_LIB_WALK_IMPL_H
#define HAUL_LIB_WALK_IMPL_H

#include "lib/walk.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "lib/beneath.h"
#include "lib/filter.h"
#include "lib/names.h"

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC)
#define PATH_ROOM (ROOT_PATH_MAX + NAME_MAX + 2)

/* What the steps of walk_next return besides an enum walk_result. */
enum { WALK_AGAIN = -1 };

struct level {
	int fd;	      /* -1: not opened yet, closed to bound their number, or not readable */
	bool started; /* opened once, or failed to */
	bool silent;  /* the top of `SRC/.`: no entry of its own */
	size_t path_len;
	struct entry dir;
	bool listed; /* its children are names of the list, from name to name_end */
	size_t name, name_end;
	bool ignore_read;
	struct filter *ignore; /* its .gitignore; NULL without one */
	size_t ignore_bytes;
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
	const struct filter *filter; /* NULL: nothing is left out by name */
	uint64_t min_size, max_size; /* of regular files */
	bool one_file_system;
	bool gitignore;
	size_t ignore_bytes;	     /* of all levels */
	const struct listing *names; /* NULL: everything */
	size_t check, check_end;     /* names that were not visited: are they there? */
	bool covered;
	bool filtered; /* something was left out */
	int cwd;       /* of relative sources; AT_FDCWD unless -C */
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

struct source *walk_source_now(struct walk *w);
int walk_dir_flags(const struct walk *w);
void walk_path_cut(struct walk *w, size_t len);
/* False when it does not even fit the buffer; whether the receiver would take it is asked separately. */
bool walk_path_append(struct walk *w, const char *name);

int walk_entry_fill(struct walk *w, struct entry *out, enum entry_type type, const struct stat *st);
int walk_level_push(struct walk *w, const struct entry *dir, int fd, bool silent);
/* An entry, a problem, or WALK_AGAIN if it is left out. w->path names it already; dirfd and name reach it. */
int walk_visit(struct walk *w, int dirfd, const char *name, struct stat *st, struct entry *out,
	       struct haul_err *problem);
/* Is what w->path names left out by the filters? */
bool walk_leaves_out(struct walk *w, bool is_dir);

/* Subjects are spelt from what the user typed: SRC, then the path below it. WALK_PROBLEM. */
__attribute__((format(printf, 5, 6))) int walk_problem(struct walk *w, struct haul_err *problem,
						       enum haul_rc rc, int sys, const char *fmt, ...);
int walk_problem_errno(struct walk *w, struct haul_err *problem, int sys, const char *what);

/* -errno for what lies behind a symbolic link, unless they are followed. */
int walk_open_in_source(const struct walk *w, const struct source *src, const char *path, int flags);

/* Reads the .gitignore of an open level, if it has one. 0 or -errno. */
int walk_ignore_load(struct walk *w, struct level *lv);
void walk_ignore_drop(struct walk *w, struct level *lv);
/* What those of the levels say about what w->path names, which lies below them. */
enum verdict walk_ignore_ask(const struct walk *w, bool is_dir);

/* The only source was begun: its top level follows the list. */
void walk_list_start(struct walk *w);
/* The next child of a level that is listed and has one. */
int walk_list_step(struct walk *w, struct level *lv, struct entry *out, struct haul_err *problem);
/* The next name of w->check. */
int walk_list_check(struct walk *w, struct haul_err *problem);

/* The next source (walk_start.c), WALK_END after the last one. */
int walk_start(struct walk *w, struct entry *out, struct haul_err *problem);

#endif
