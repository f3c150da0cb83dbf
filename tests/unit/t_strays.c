/*
 * lib/kept and lib/strays: what was offered is known again, and the rest of a tree is named, counted or removed,
 * and nothing else. Each test has a directory of its own, dst the root.
 */
#include "unit.h"

#include <errno.h>

#include "lib/kept.h"
#include "lib/strays.h"

static struct kept kept;
static struct root *root;

static int begin(void **state)
{
	struct haul_err err = {0};
	if (enter_scratch(state) != 0)
		return -1;
	kept_init(&kept, 4711);
	return root_open("dst", NULL, &root, &err) == HAUL_OK ? 0 : -1;
}

static int finish(void **state)
{
	kept_free(&kept);
	root_close(root);
	return leave_scratch(state);
}

static void offered(enum kept_kind kind, const char *path)
{
	kept_add(&kept, kind, path, strlen(path));
}

static void offered_dir(const char *path)
{
	offered(KEPT_NAME, path);
	offered(KEPT_WHOLE, path);
}

static void make_file(const char *path)
{
	put_file(path, "x", 1);
}

static bool there(const char *path)
{
	struct stat st;
	return lstat(path, &st) == 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Walks to the end; what was told, sorted: "0path 1path ...", the digit is the state. */
static enum strays_result walk(enum strays_mode mode, bool top, uint64_t most, char *text, size_t cap,
			       uint64_t *seen, uint64_t *found)
{
	char *told[64];
	size_t count = 0;
	struct stray s;
	enum strays_result rc;
	struct strays *w = strays_new(root, &kept, mode, top, most);
	assert_non_null(w);
	while ((rc = strays_next(w, &s)) == STRAYS_ONE || rc == STRAYS_PAUSE) {
		if (rc == STRAYS_PAUSE)
			continue;
		assert_true(count < COUNT(told));
		assert_int_equal(strlen(s.path), s.path_len);
		assert_true(asprintf(&told[count++], "%d%s", s.state, s.path) > 0);
	}
	qsort(told, count, sizeof *told, by_text);
	*text = '\0';
	for (size_t i = 0; i < count; i++) {
		assert_true(strlen(text) + strlen(told[i]) + 2 < cap);
		strcat(strcat(text, told[i]), " ");
		free(told[i]);
	}
	*seen = strays_seen(w);
	*found = strays_found(w);
	strays_free(w);
	return rc;
}

static void expect(enum strays_mode mode, bool top, const char *want, uint64_t want_seen, uint64_t want_found)
{
	char text[4096];
	uint64_t seen, found;
	assert_int_equal(walk(mode, top, UINT64_MAX, text, sizeof text, &seen, &found), STRAYS_END);
	assert_string_equal(text, want);
	assert_int_equal(seen, want_seen);
	assert_int_equal(found, want_found);
}

static void many_records(void **state)
{
	char name[32];
	(void)state;
	for (int i = 0; i < 100000; i++) {
		int n = snprintf(name, sizeof name, "dir/%d", i);
		kept_add(&kept, i % 2 ? KEPT_NAME : KEPT_WHOLE, name, (size_t)n);
	}
	assert_int_equal(kept_seal(&kept), 0);
	for (int i = 0; i < 100000; i++) {
		int n = snprintf(name, sizeof name, "dir/%d", i);
		assert_int_equal(kept_has(&kept, KEPT_NAME, name, (size_t)n), i % 2);
		assert_int_equal(kept_has(&kept, KEPT_WHOLE, name, (size_t)n), !(i % 2));
		assert_false(kept_has(&kept, KEPT_PART, name, (size_t)n));
	}
	for (int i = 100000; i < 200000; i++) {
		int n = snprintf(name, sizeof name, "dir/%d", i);
		assert_false(kept_has(&kept, KEPT_NAME, name, (size_t)n));
	}
}

static void nothing_recorded(void **state)
{
	(void)state;
	assert_int_equal(kept_seal(&kept), 0);
	assert_false(kept_has(&kept, KEPT_NAME, "a", 1));
	make_file("dst/a");
	expect(STRAYS_COUNT, false, "", 0, 0);
	expect(STRAYS_COUNT, true, "0a ", 1, 1);
}

static void a_set_that_is_full(void **state)
{
	(void)state;
	offered(KEPT_NAME, "a");
	kept.failed = E2BIG;
	offered(KEPT_NAME, "b");
	assert_int_equal(kept_seal(&kept), -E2BIG);
	assert_int_equal(kept.count, 1);
}

static void make_tree(void)
{
	static const char *const dirs[] = {
		"dst/a",     "dst/a/sub", "dst/a/old",	"dst/a/old/deep",   "dst/part",
		"dst/other", "dst/.haul", "dst/a/held", "dst/a/held/.haul", "outside"};
	static const char *const files[] = {"dst/a/f",		"dst/a/sub/f",	     "dst/a/sub/g",
					    "dst/a/old/deep/f", "dst/part/f",	     "dst/other/f",
					    "dst/.haul/f",	"dst/top",	     "dst/a/held/f",
					    "outside/f",	"dst/a/held/.haul/f"};
	for (size_t i = 0; i < COUNT(dirs); i++)
		assert_int_equal(mkdir(dirs[i], 0755), 0);
	for (size_t i = 0; i < COUNT(files); i++)
		make_file(files[i]);
	assert_int_equal(symlink("../../outside", "dst/a/link"), 0);
	assert_int_equal(mkfifo("dst/a/fifo", 0600), 0);
	offered_dir("a");
	offered(KEPT_NAME, "a/f");
	offered_dir("a/sub");
	offered(KEPT_NAME, "a/sub/f");
	/* two sources: one has told all of it, the other has not */
	offered_dir("part");
	offered(KEPT_PART, "part");
	/* an end without a beginning, of something that is in nobody's directory */
	offered(KEPT_WHOLE, "other");
	/* offered as directories, and are none, or not there */
	offered_dir("a/sub/f");
	offered_dir("gone");
	assert_int_equal(kept_seal(&kept), 0);
}

#define STRAYS_OF_A "a/fifo 0a/held/f 0a/link 0a/old 0a/old/deep 0a/old/deep/f 0a/sub/g 2a/held/.haul "

#define STRAYS_OF_A_AND_TOP                                                                                  \
	"a/fifo 0a/held/f 0a/link 0a/old 0a/old/deep 0a/old/deep/f 0a/sub/g 0other 0other/f 0top "           \
	"2a/held/.haul "

static void only_in_whole_directories(void **state)
{
	(void)state;
	make_tree();
	expect(STRAYS_LOOK, false, "0" STRAYS_OF_A, 12, 7);
	expect(STRAYS_COUNT, false, "0" STRAYS_OF_A, 12, 7);
	/* with the top what nobody offered goes, too; a state directory of ours does not */
	expect(STRAYS_COUNT, true, "0" STRAYS_OF_A_AND_TOP, 17, 10);
}

static void removed(void **state)
{
	(void)state;
	make_tree();
	expect(STRAYS_REMOVE, false,
	       "1a/fifo 1a/held/f 1a/link 1a/old 1a/old/deep 1a/old/deep/f 1a/sub/g 2a/held/.haul ", 12, 7);
	static const char *const stay[] = {"dst/a/f",	  "dst/a/sub/f", "dst/part/f", "dst/other/f",
					   "dst/.haul/f", "dst/top",	 "outside/f",  "dst/a/held/.haul/f"};
	static const char *const go[] = {"dst/a/old", "dst/a/sub/g", "dst/a/link", "dst/a/fifo",
					 "dst/a/held/f"};
	for (size_t i = 0; i < COUNT(stay); i++)
		assert_true(there(stay[i]));
	for (size_t i = 0; i < COUNT(go); i++)
		assert_false(there(go[i]));
	expect(STRAYS_COUNT, false, "2a/held/.haul ", 5, 0);
}

static void no_more_than_so_many(void **state)
{
	char text[4096];
	uint64_t seen, found;
	(void)state;
	make_tree();
	assert_int_equal(walk(STRAYS_REMOVE, false, 3, text, sizeof text, &seen, &found), STRAYS_MORE);
	assert_int_equal(found, 3);
	/* the rest is still there */
	assert_int_equal(walk(STRAYS_LOOK, false, 0, text, sizeof text, &seen, &found), STRAYS_END);
	assert_int_equal(found, 4);
}

static void closed_directories(void **state)
{
	struct stat st;
	(void)state;
	assert_int_equal(mkdir("dst/a", 0755), 0);
	assert_int_equal(mkdir("dst/a/old", 0755), 0);
	assert_int_equal(mkdir("dst/a/old/deep", 0755), 0);
	make_file("dst/a/old/deep/f");
	assert_int_equal(chmod("dst/a/old/deep", 0500), 0);
	assert_int_equal(chmod("dst/a/old", 0), 0);
	offered_dir("a");
	assert_int_equal(kept_seal(&kept), 0);
	expect(STRAYS_COUNT, false, "0a/old 0a/old/deep 0a/old/deep/f ", 3, 3);
	assert_int_equal(stat("dst/a/old", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0); /* as it was */
	expect(STRAYS_REMOVE, false, "1a/old 1a/old/deep 1a/old/deep/f ", 3, 3);
	assert_true(there("dst/a"));
	assert_false(there("dst/a/old"));
}

/* Deeper than any entry may be: told, and left with all above it. */
static void too_deep(void **state)
{
	char text[65536];
	uint64_t seen, found;
	(void)state;
	assert_int_equal(mkdir("dst/a", 0755), 0);
	assert_int_equal(chdir("dst/a"), 0);
	for (int i = 0; i < 300; i++) {
		assert_int_equal(mkdir("d", 0755), 0);
		assert_int_equal(chdir("d"), 0);
	}
	assert_int_equal(chdir(scratch_dir), 0);
	offered_dir("a");
	assert_int_equal(kept_seal(&kept), 0);
	assert_int_equal(walk(STRAYS_REMOVE, false, UINT64_MAX, text, sizeof text, &seen, &found),
			 STRAYS_END);
	assert_int_equal(text[0], '0' + STRAY_FAILED);
	assert_int_equal(found, 0);
	assert_int_equal(seen, 256);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, begin, finish)
		T(many_records), T(nothing_recorded),	  T(a_set_that_is_full), T(only_in_whole_directories),
		T(removed),	 T(no_more_than_so_many), T(closed_directories), T(too_deep),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
