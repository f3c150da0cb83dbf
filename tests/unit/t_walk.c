/*
 * lib/walk: what comes out of a tree, how sources are named, and what opening an entry later refuses. A walk
 * is collected as sorted lines: "F path", "D path", "E path" (its end), "L path>target", "P path rc".
 */
#include "lib/walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/root.h"

#define COUNT(a)  (sizeof(a) / sizeof *(a))
#define LINES_MAX 4096

static char tmp[] = "/tmp/t_walk.XXXXXX";

static void remove_at(int dirfd, const char *name)
{
	if (unlinkat(dirfd, name, 0) == 0)
		return;
	int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	for (struct dirent *e; d && (e = readdir(d));)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			remove_at(fd, e->d_name);
	if (d)
		closedir(d);
	unlinkat(dirfd, name, AT_REMOVEDIR);
}

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0)
		return -1;
	ssize_t n = write(fd, text, strlen(text));
	close(fd);
	return n == (ssize_t)strlen(text) ? 0 : -1;
}

static int setup(void **state)
{
	(void)state;
	strcpy(tmp + sizeof tmp - 7, "XXXXXX");
	return mkdtemp(tmp) && chmod(tmp, 0755) == 0 && chdir(tmp) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	if (chdir("/") != 0)
		return -1;
	remove_at(AT_FDCWD, tmp);
	return 0;
}

static struct walk *walk_of(const char *const *sources, size_t count, enum links_mode links,
			    const char *chdir_to)
{
	struct haul_config cfg = {.links = links, .chdir_to = chdir_to, .max_size = SIZE_UNSET};
	struct haul_err err = {0};
	struct walk *w = NULL;
	return walk_new(&cfg, sources, count, &w, &err) == HAUL_OK ? w : NULL;
}

struct collected {
	char *lines[LINES_MAX];
	size_t count, dirs, files, problems;
	int last_sys;
	enum haul_rc last_rc;
	char open_dirs[ROOT_DEPTH_MAX + 2][ROOT_PATH_MAX + 1];
	size_t depth;
};

/* Every entry lies in the directory that is open now, and every end closes that one. */
static bool nested_well(struct collected *c, const struct entry *e)
{
	const char *top = c->depth ? c->open_dirs[c->depth - 1] : "";
	if (e->type == ENTRY_DIR_END)
		return c->depth > 0 && strcmp(c->open_dirs[--c->depth], e->path) == 0;
	const char *slash = strrchr(e->path, '/');
	size_t up = slash ? (size_t)(slash - e->path) : 0;
	if (strlen(top) != up || memcmp(top, e->path, up) != 0)
		return false;
	if (e->type == ENTRY_DIR)
		strcpy(c->open_dirs[c->depth++], e->path);
	return strlen(e->path) == e->path_len && !root_name_refused(e->path, e->path_len);
}

static void add_line(struct collected *c, enum walk_result r, const struct entry *e,
		     const struct haul_err *problem)
{
	assert_true(c->count < LINES_MAX);
	char **line = &c->lines[c->count++];
	int n;
	if (r == WALK_PROBLEM)
		n = asprintf(line, "P %s %s", e->path, haul_rc_name(problem->rc));
	else
		n = asprintf(line, "%c %s%s%s", "?FDLE"[e->type], e -> path, e -> target ? ">" : "",
			     e->target ? e->target : "");
	assert_true(n > 0);
}

static enum walk_result collect_one(struct walk *w, struct collected *c)
{
	struct entry e;
	struct haul_err problem;
	enum walk_result r = walk_next(w, &e, &problem);
	if (r == WALK_END)
		return r;
	add_line(c, r, &e, &problem);
	if (r == WALK_PROBLEM) {
		assert_int_not_equal(problem.rc, HAUL_OK);
		c->problems++;
		c->last_sys = problem.sys;
		c->last_rc = problem.rc;
		return r;
	}
	if (!nested_well(c, &e))
		fail_msg("%s is out of place", e.path);
	c->dirs += e.type == ENTRY_DIR;
	c->files += e.type == ENTRY_FILE;
	return r;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void collect_rest(struct walk *w, struct collected *c)
{
	while (collect_one(w, c) != WALK_END)
		;
	assert_int_equal(c->depth, 0);
	qsort(c->lines, c->count, sizeof *c->lines, by_text);
}

static void collected_free(struct collected *c)
{
	for (size_t i = 0; i < c->count; i++)
		free(c->lines[i]);
	free(c);
}

static struct collected *collected_new(void)
{
	struct collected *c = calloc(1, sizeof *c);
	assert_non_null(c);
	return c;
}

/* want: the sorted lines, each followed by "|". */
static void expect_walk(struct walk *w, const char *want)
{
	static char got[65536];
	assert_non_null(w);
	struct collected *c = collected_new();
	collect_rest(w, c);
	got[0] = '\0';
	for (size_t i = 0; i < c->count; i++)
		strcat(strcat(got, c->lines[i]), "|");
	collected_free(c);
	walk_free(w);
	assert_string_equal(got, want);
}

static void expect(const char *source, enum links_mode links, const char *chdir_to, const char *want)
{
	expect_walk(walk_of(&source, 1, links, chdir_to), want);
}

static void make_tree(void)
{
	assert_int_equal(mkdir("a", 0755), 0);
	assert_int_equal(mkdir("a/b", 0755), 0);
	assert_int_equal(put("a/b/f", "deep"), 0);
	assert_int_equal(put("file", "top"), 0);
	assert_int_equal(symlink("a", "ln"), 0);
	assert_int_equal(symlink("file", "lf"), 0);
	assert_int_equal(symlink("nowhere", "dangling"), 0);
}

#define TREE_B "D b|E b|F b/f|"
#define TREE_A "D a|D a/b|E a|E a/b|F a/b/f|"

static void source_names(void **state)
{
	(void)state;
	make_tree();
	static const struct {
		const char *source, *want;
	} table[] = {
		{"a", TREE_A},
		{"a/", TREE_A},
		{"a///", TREE_A},
		{"./a", TREE_A},
		{"a/b/..", TREE_A},
		{"a/b/../", TREE_A},
		{"a/b", TREE_B},
		{"a//b/", TREE_B},
		{"a/.", TREE_B},
		{"a/./", TREE_B},
		{"a/././/", TREE_B},
		{"a/b/.", "F f|"},
		{"file", "F file|"},
		{"./file", "F file|"},
		{"a/b/f", "F f|"},
		{"a/../file", "F file|"},
		{"ln", "L ln>a|"},
		{"ln/", "D ln|D ln/b|E ln|E ln/b|F ln/b/f|"},
		{"ln/.", TREE_B},
		{"ln/b", TREE_B},
		{"ln/b/f", "F f|"},
		{"lf", "L lf>file|"},
		{"dangling", "L dangling>nowhere|"},
		{"lf/", "P  NO_SOURCE|"},
		{"file/", "P  NO_SOURCE|"},
		{"file/.", "P  NO_SOURCE|"},
		{"missing", "P  NO_SOURCE|"},
		{"missing/x", "P  NO_SOURCE|"},
		{"", "P  NO_SOURCE|"},
	};
	for (size_t i = 0; i < COUNT(table); i++)
		expect(table[i].source, LINKS_KEEP, NULL, table[i].want);
	char absolute[128];
	snprintf(absolute, sizeof absolute, "%s/a", tmp);
	expect(absolute, LINKS_KEEP, "a", TREE_A);
	expect("a", LINKS_KEEP, tmp, TREE_A);
	expect("b", LINKS_KEEP, "a", TREE_B);
	expect(".", LINKS_KEEP, "a", TREE_B);
	expect("..", LINKS_KEEP, "a/b", TREE_A);
	expect("b/..", LINKS_KEEP, "a", TREE_A);
	assert_int_equal(chdir("a/b"), 0);
	expect("..", LINKS_KEEP, NULL, TREE_A);
	expect(".", LINKS_KEEP, NULL, "F f|");
}

static void chdir_fails(void **state)
{
	(void)state;
	struct haul_config cfg = {.chdir_to = "no/such"};
	struct haul_err err = {0};
	struct walk *w;
	assert_int_equal(walk_new(&cfg, NULL, 0, &w, &err), HAUL_NO_SOURCE);
	assert_int_equal(err.sys, ENOENT);
	assert_null(w);
	walk_free(NULL);
}

static void several_sources(void **state)
{
	(void)state;
	make_tree();
	const char *sources[] = {"a/b/f", "missing", "a/b", "file", "a/b/f"};
	struct walk *w = walk_of(sources, COUNT(sources), LINKS_KEEP, NULL);
	struct collected *c = collected_new();
	collect_rest(w, c);
	assert_int_equal(c->problems, 1);
	assert_int_equal(c->files, 4);
	assert_int_equal(c->last_sys, ENOENT);
	assert_false(walk_nothing_readable(w));
	assert_true(walk_source_fd(w, 0) >= 0);
	assert_int_equal(walk_source_fd(w, 0), walk_source_fd(w, 4)); /* one descriptor a parent */
	assert_int_equal(walk_source_fd(w, 1), -1);
	assert_int_equal(walk_source_fd(w, 99), -1);
	collected_free(c);
	walk_free(w);
}

static void nothing_readable(void **state)
{
	(void)state;
	const char *sources[] = {"missing", "fifo"};
	assert_int_equal(mkfifo("fifo", 0644), 0);
	struct walk *w = walk_of(sources, COUNT(sources), LINKS_KEEP, NULL);
	struct collected *c = collected_new();
	collect_rest(w, c);
	assert_int_equal(c->problems, 2);
	assert_int_equal(c->last_rc, HAUL_NO_SOURCE);
	assert_true(walk_nothing_readable(w));
	collected_free(c);
	walk_free(w);
	expect_walk(walk_of(NULL, 0, LINKS_KEEP, NULL), "");
}

static void odd_names_and_special_files(void **state)
{
	(void)state;
	struct sockaddr_un sa = {.sun_family = AF_UNIX, .sun_path = "s/sock"};
	assert_int_equal(mkdir("s", 0755), 0);
	assert_int_equal(put("s/new\nline", "x"), 0);
	assert_int_equal(put("s/\033[31m", "x"), 0);
	assert_int_equal(put("s/\xff\xfe", "x"), 0);
	assert_int_equal(put("s/-rf *", "x"), 0);
	assert_int_equal(mkdir("s/.haul", 0700), 0);
	assert_int_equal(put("s/.haul/t-1.part", "x"), 0);
	assert_int_equal(mkdir("s/sub", 0755), 0);
	assert_int_equal(mkdir("s/sub/.haul", 0700), 0);
	assert_int_equal(mkfifo("s/fifo", 0644), 0);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	close(fd);
	expect("s", LINKS_KEEP, NULL,
	       "D s|D s/sub|D s/sub/.haul|E s|E s/sub|E s/sub/.haul|F s/\033[31m|F s/-rf *|F s/new\nline|F "
	       "s/\xff\xfe|"
	       "P s/fifo IO|P s/sock IO|");
	assert_int_equal(remove("s/.haul/t-1.part"), 0);
	assert_int_equal(remove("s/.haul"), 0);
	assert_int_equal(put("s/.haul", "a file of that name"), 0);
	assert_int_equal(unlink("s/fifo") | unlink("s/sock") | unlink("s/\033[31m") | unlink("s/new\nline"),
			 0);
	expect("s/.", LINKS_KEEP, NULL, "D sub|D sub/.haul|E sub|E sub/.haul|F -rf *|F \xff\xfe|P .haul IO|");
	expect("s/.haul", LINKS_KEEP, NULL, "P .haul NO_SOURCE|");
}

static void subjects(void **state)
{
	(void)state;
	static const struct {
		const char *source, *subject;
	} table[] = {
		{"s", "s/fifo"},     {"s//", "s/fifo"},	   {"s/.", "s/./fifo"},
		{"./s", "./s/fifo"}, {"s/fifo", "s/fifo"}, {"s/no", "s/no"},
	};
	assert_int_equal(mkdir("s", 0755), 0);
	assert_int_equal(mkfifo("s/fifo", 0644), 0);
	for (size_t i = 0; i < COUNT(table); i++) {
		struct walk *w = walk_of(&table[i].source, 1, LINKS_KEEP, NULL);
		struct entry e;
		struct haul_err problem;
		while (walk_next(w, &e, &problem) == WALK_ENTRY)
			;
		assert_string_equal(problem.subject, table[i].subject);
		walk_free(w);
	}
}

static void links(void **state)
{
	(void)state;
	make_tree();
	assert_int_equal(symlink("..", "a/b/up"), 0);
	assert_int_equal(symlink("self", "a/self"), 0);
	assert_int_equal(symlink("../file", "a/out"), 0);
	expect("a", LINKS_KEEP, NULL,
	       "D a|D a/b|E a|E a/b|F a/b/f|L a/b/up>..|L a/out>../file|L a/self>self|");
	expect("a", LINKS_SKIP, NULL, TREE_A);
	expect("ln", LINKS_SKIP, NULL, "");
	expect("a", LINKS_FOLLOW, NULL, "D a|D a/b|E a|E a/b|F a/b/f|F a/out|P a/b/up IO|P a/self IO|");
	expect("ln", LINKS_FOLLOW, NULL,
	       "D ln|D ln/b|E ln|E ln/b|F ln/b/f|F ln/out|P ln/b/up IO|P ln/self IO|");
	expect("dangling", LINKS_FOLLOW, NULL, "P dangling NO_SOURCE|");
	expect("lf", LINKS_FOLLOW, NULL, "F lf|");
}

static void entry_fields(void **state)
{
	(void)state;
	make_tree();
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1234, .tv_nsec = 567891234}};
	assert_int_equal(truncate("file", 1 << 20), 0);
	assert_int_equal(chmod("file", 04751), 0);
	assert_int_equal(utimensat(AT_FDCWD, "file", times, 0), 0);
	const char *source = "file";
	struct walk *w = walk_of(&source, 1, LINKS_KEEP, NULL);
	struct entry e;
	struct haul_err problem;
	struct stamp now;
	assert_int_equal(walk_next(w, &e, &problem), WALK_ENTRY);
	assert_int_equal(e.mode, 04751);
	assert_int_equal(e.stamp.size, 1 << 20);
	assert_int_equal(e.stamp.mtime_s, 1234);
	assert_int_equal(e.stamp.mtime_ns, 567891234);
	assert_true(e.blocks < e.stamp.size);
	int fd = walk_open(w, 0, e.source_path, &now);
	assert_true(fd >= 0 && stamp_equal(&now, &e.stamp));
	assert_int_equal(chmod("file", 0644), 0);
	assert_int_equal(put("file", "changed"), 0);
	assert_int_equal(stamp_of_fd(fd, &now), 0);
	assert_false(stamp_equal(&now, &e.stamp));
	assert_int_equal(stamp_of_fd(-1, &now), -EBADF);
	close(fd);
	walk_free(w);
}

static void opening(void **state)
{
	(void)state;
	make_tree();
	static const char *const sources[] = {"a", "a/.", "ln/", "file"};
	static const char *const below[] = {"a/b/f", "b/f", "b/f", "file"};
	struct walk *w = walk_of(sources, COUNT(sources), LINKS_KEEP, NULL);
	struct entry e;
	struct haul_err problem;
	struct stamp now;
	size_t files = 0;
	for (enum walk_result r; (r = walk_next(w, &e, &problem)) != WALK_END;) {
		assert_int_equal(r, WALK_ENTRY);
		if (e.type != ENTRY_FILE)
			continue;
		files++;
		assert_string_equal(e.source_path, below[e.source]);
		int fd = walk_open(w, e.source, e.source_path, &now);
		assert_true(fd >= 0 && stamp_equal(&now, &e.stamp));
		close(fd);
	}
	assert_int_equal(files, COUNT(sources));
	assert_int_equal(walk_open(w, 0, "../file", &now), -EXDEV);
	assert_int_equal(walk_open(w, 0, "a/b", &now), -ESTALE);
	assert_int_equal(unlink("a/b/f"), 0);
	assert_int_equal(walk_open(w, 0, "a/b/f", &now), -ENOENT);
	assert_int_equal(mkfifo("a/b/f", 0644), 0);
	assert_int_equal(walk_open(w, 0, "a/b/f", &now), -ESTALE);
	assert_int_equal(unlink("a/b/f"), 0);
	assert_int_equal(symlink("../../file", "a/b/f"), 0);
	assert_int_equal(walk_open(w, 0, "a/b/f", &now), -ESTALE);
	assert_int_equal(rename("a/b", "other"), 0);
	assert_int_equal(symlink("../other", "a/b"), 0);
	assert_int_equal(walk_open(w, 0, "a/b/f", &now), -ESTALE);
	assert_int_equal(unlink("a/b"), 0);
	assert_int_equal(put("a/b", "a file now"), 0);
	assert_int_equal(walk_open(w, 0, "a/b/f", &now), -ENOENT);
	assert_int_equal(walk_open(w, 99, "a", &now), -ENOENT);
	walk_free(w);
}

static size_t open_fds(void)
{
	size_t n = 0;
	DIR *d = opendir("/proc/self/fd");
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* levels directories below each other, each with so many files; the paths are too long for one call. */
static void make_deep(const char *top, const char *name, int levels, int files)
{
	char file[32];
	assert_int_equal(mkdir(top, 0755), 0);
	assert_int_equal(chdir(top), 0);
	for (int i = 1; i <= levels; i++) {
		for (int k = 0; k < files; k++) {
			snprintf(file, sizeof file, "f%d", k);
			assert_int_equal(put(file, "x"), 0);
		}
		if (i == levels)
			break;
		assert_int_equal(mkdir(name, 0755), 0);
		assert_int_equal(chdir(name), 0);
	}
	assert_int_equal(chdir(tmp), 0);
}

static void deep_tree(void **state)
{
	(void)state;
	make_deep("deep", "d", 300, 3);
	const char *source = "deep";
	struct walk *w = walk_of(&source, 1, LINKS_KEEP, NULL);
	struct collected *c = collected_new();
	size_t before = open_fds(), most = 0;
	for (enum walk_result r = WALK_ENTRY; r != WALK_END;) {
		r = collect_one(w, c);
		size_t now = c->count % 16 == 0 ? open_fds() : 0;
		most = now > most ? now : most;
	}
	assert_true(most > before + 32 && most <= before + 64 + 2);
	assert_int_equal(c->dirs, 256);
	assert_int_equal(c->files, 255 * 3);
	assert_int_equal(c->problems, 4); /* what the 256th directory holds */
	assert_int_equal(open_fds(), before + 1);
	collected_free(c);
	walk_free(w);
	assert_int_equal(open_fds(), before);
}

/* Levels above that were closed to save descriptors are other directories when the walk comes back. */
static void replaced_while_deep(void **state)
{
	(void)state;
	make_deep("deep", "d", 100, 20);
	const char *source = "deep";
	struct walk *w = walk_of(&source, 1, LINKS_KEEP, NULL);
	struct collected *c = collected_new();
	while (c->dirs < 95)
		collect_one(w, c);
	assert_int_equal(rename("deep/d", "deep/was"), 0);
	make_deep("deep/d", "d", 40, 1);
	collect_rest(w, c);
	assert_true(c->problems > 0 && c->last_rc == HAUL_IO && c->last_sys == ESTALE);
	collected_free(c);
	walk_free(w);
}

static void too_long_paths(void **state)
{
	(void)state;
	char name[256] = {0};
	memset(name, 'x', 250);
	make_deep("long", name, 20, 1);
	const char *source = "long";
	struct walk *w = walk_of(&source, 1, LINKS_KEEP, NULL);
	struct collected *c = collected_new();
	collect_rest(w, c);
	assert_int_equal(c->dirs, 17); /* 4 + 16 * 251 = 4020 */
	assert_int_equal(c->problems, 1);
	collected_free(c);
	walk_free(w);
}

/* 4096 bytes: the receiver takes that, the kernel not in one call. */
static void longest_path(void **state)
{
	(void)state;
	char name[256] = {0};
	memset(name, 'x', 255);
	for (int i = 0; i < 16; i++) {
		name[i < 15 ? 255 : 127] = '\0';
		assert_int_equal(mkdir(name, 0755), 0);
		assert_int_equal(chdir(name), 0);
	}
	memset(name, 'y', 128);
	name[128] = '\0';
	assert_int_equal(put(name, "end"), 0);
	assert_int_equal(chdir(tmp), 0);
	const char *source = ".";
	struct walk *w = walk_of(&source, 1, LINKS_KEEP, NULL);
	struct entry e;
	struct haul_err problem;
	struct stamp now;
	int opened = 0;
	for (enum walk_result r; (r = walk_next(w, &e, &problem)) != WALK_END;) {
		assert_int_equal(r, WALK_ENTRY);
		if (e.type != ENTRY_FILE)
			continue;
		assert_int_equal(e.path_len, ROOT_PATH_MAX);
		int fd = walk_open(w, 0, e.source_path, &now);
		assert_true(fd >= 0);
		close(fd);
		opened++;
	}
	assert_int_equal(opened, 1);
	walk_free(w);
}

static void vanished(void **state)
{
	(void)state;
	assert_int_equal(mkdir("d", 0755), 0);
	assert_int_equal(put("d/f1", "x") | put("d/f2", "x") | put("d/f3", "x"), 0);
	const char *source = "d";
	struct walk *w = walk_of(&source, 1, LINKS_KEEP, NULL);
	struct collected *c = collected_new();
	assert_int_equal(collect_one(w, c), WALK_ENTRY);
	assert_int_equal(collect_one(w, c), WALK_ENTRY); /* one file; the other names are read by now */
	assert_int_equal(unlink("d/f1") | unlink("d/f2") | unlink("d/f3"), 0);
	collect_rest(w, c);
	assert_int_equal(c->problems, 2);
	assert_int_equal(c->last_rc, HAUL_CHANGED);
	assert_int_equal(c->last_sys, ENOENT);
	collected_free(c);
	walk_free(w);
}

static void vanished_directory(void **state)
{
	(void)state;
	assert_int_equal(mkdir("d", 0755) | mkdir("d/e", 0755), 0);
	const char *source = "d";
	struct walk *w = walk_of(&source, 1, LINKS_KEEP, NULL);
	struct collected *c = collected_new();
	assert_int_equal(collect_one(w, c), WALK_ENTRY);
	assert_int_equal(collect_one(w, c), WALK_ENTRY);
	assert_int_equal(rmdir("d/e"), 0);
	collect_rest(w, c);
	assert_int_equal(c->dirs, 2);
	assert_int_equal(c->problems, 1);
	assert_int_equal(c->last_rc, HAUL_CHANGED);
	collected_free(c);
	walk_free(w);
}

static void big_directory(void **state)
{
	(void)state;
	char path[300];
	assert_int_equal(mkdir("big", 0755), 0);
	for (int i = 0; i < 1000; i++) { /* several buffers full */
		snprintf(path, sizeof path, "big/%0200d", i);
		assert_int_equal(put(path, ""), 0);
	}
	const char *source = "big";
	struct walk *w = walk_of(&source, 1, LINKS_KEEP, NULL);
	struct collected *c = collected_new();
	collect_rest(w, c);
	assert_int_equal(c->files, 1000);
	for (size_t i = 1; i < c->count; i++)
		assert_string_not_equal(c->lines[i - 1], c->lines[i]);
	collected_free(c);
	walk_free(w);
}

static void as_nobody(void **state)
{
	(void)state;
	expect("t", LINKS_KEEP, NULL,
	       "D t|D t/closed|D t/through|E t|E t/closed|E t/through|F t/f|"
	       "P t/closed IO|P t/through IO|");
	expect("t/closed", LINKS_KEEP, NULL, "P closed NO_SOURCE|");
	expect("t/closed/.", LINKS_KEEP, NULL, "P  NO_SOURCE|");
	expect("t/through/f", LINKS_KEEP, NULL, "F f|"); /* a parent that can only be searched */
	const char *source = "t/f";
	struct walk *w = walk_of(&source, 1, LINKS_KEEP, NULL);
	struct entry e;
	struct haul_err problem;
	struct stamp now;
	assert_int_equal(walk_next(w, &e, &problem), WALK_ENTRY);
	assert_int_equal(walk_open(w, 0, e.source_path, &now), -EACCES);
	walk_free(w);
}

static void unreadable(void **state)
{
	(void)state;
	assert_int_equal(mkdir("t", 0755) | mkdir("t/closed", 0700) | put("t/closed/x", "x"), 0);
	assert_int_equal(put("t/f", "x") | chmod("t/f", 0) | chmod("t/closed", 0), 0);
	assert_int_equal(mkdir("t/through", 0755) | put("t/through/f", "x") | chmod("t/through", 0111), 0);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		const struct CMUnitTest tests[] = {cmocka_unit_test(as_nobody)};
		if (geteuid() == 0 && setuid(65534) != 0)
			_exit(99);
		_exit(cmocka_run_group_tests_name("walk as nobody", tests, NULL, NULL));
	}
	int status = -1;
	waitpid(pid, &status, 0);
	assert_int_equal(chmod("t/closed", 0700) | chmod("t/through", 0700), 0);
	assert_int_equal(status, 0);
}

enum { OPENED_FILES = 200 };

struct opener {
	const struct walk *walk;
	char paths[OPENED_FILES][32];
	size_t count;
	int failed;
};

static void *open_all(void *arg)
{
	struct opener *o = arg;
	struct stamp now;
	for (size_t i = 0; i < o->count; i++) {
		int fd = walk_open(o->walk, 0, o->paths[i], &now);
		o->failed += fd < 0;
		if (fd >= 0)
			close(fd);
	}
	return NULL;
}

/* Workers open what source 0 gave while the planner goes on with the others. */
static void concurrent_opening(void **state)
{
	(void)state;
	char path[32];
	make_tree();
	assert_int_equal(mkdir("many", 0755), 0);
	for (int i = 0; i < OPENED_FILES; i++) {
		snprintf(path, sizeof path, "many/%d", i);
		assert_int_equal(put(path, "x"), 0);
	}
	const char *sources[] = {"many", "a", "a/.", "ln/", "a/b", "a/b/.", "file", "a/b/..", "lf"};
	struct walk *w = walk_of(sources, COUNT(sources), LINKS_KEEP, NULL);
	struct opener *openers = calloc(4, sizeof *openers);
	struct entry e;
	struct haul_err problem;
	openers[0].walk = w;
	while (openers[0].count < OPENED_FILES) {
		assert_int_equal(walk_next(w, &e, &problem), WALK_ENTRY);
		if (e.type == ENTRY_FILE)
			strcpy(openers[0].paths[openers[0].count++], e.source_path);
	}
	pthread_t threads[4];
	for (int i = 1; i < 4; i++)
		openers[i] = openers[0];
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pthread_create(&threads[i], NULL, open_all, &openers[i]), 0);
	}
	while (walk_next(w, &e, &problem) != WALK_END)
		;
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(openers[i].failed, 0);
	}
	free(openers);
	walk_free(w);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(source_names),
		TEST(chdir_fails),
		TEST(several_sources),
		TEST(nothing_readable),
		TEST(odd_names_and_special_files),
		TEST(subjects),
		TEST(links),
		TEST(entry_fields),
		TEST(opening),
		TEST(deep_tree),
		TEST(replaced_while_deep),
		TEST(too_long_paths),
		TEST(longest_path),
		TEST(vanished),
		TEST(vanished_directory),
		TEST(big_directory),
		TEST(unreadable),
		TEST(concurrent_opening),
	};
	umask(022);
	return cmocka_run_group_tests_name("walk", tests, NULL, NULL);
}
