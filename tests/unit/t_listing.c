/* Lists of names: how they are read and sorted; walks along them, and whether a walk says that it was not whole. */
#include "tests/unit/unit.h"

#include "lib/beneath.h"
#include "lib/filter.h"
#include "lib/listing.h"
#include "lib/walk.h"

static struct listing *list;
static struct haul_err err;

/* The text moves to the listing. */
static enum haul_rc listing_of(const char *text, size_t len, bool nul)
{
	char *copy = malloc(len + 1);
	assert_non_null(copy);
	memcpy(copy, text, len);
	listing_free(list);
	list = NULL;
	haul_err_clear(&err);
	return listing_new(copy, len, nul, "list", &list, &err);
}

#define LIST(text) assert_int_equal(listing_of(text, sizeof(text) - 1, false), HAUL_OK)

static int drop(void **state)
{
	listing_free(list);
	list = NULL;
	return leave_scratch(state);
}

/* want: the names, each followed by "|". */
static void expect_names(const char *want)
{
	char got[1024] = "";
	for (size_t i = 0; i < listing_count(list); i++)
		strcat(strcat(got, listing_name(list, i)), "|");
	assert_string_equal(got, want);
}

static void names_are_sorted_by_tree(void **state)
{
	(void)state;
	LIST("b\na-b\na/z\na\x01\na\na/b/c\na/b\na b\n");
	expect_names("a|a/b|a/b/c|a/z|a\x01|a b|a-b|b|");
}

static void names_are_brought_into_shape(void **state)
{
	(void)state;
	LIST("./x\n/y//z/\n\n\r\nx\nw/./v/.\nq\r\n..a\nu/../u\nlast");
	expect_names("..a|last|q|u/../u|w/v|x|y/z|");
	LIST("a\n./\nb\n");
	expect_names("|a|b|");
	LIST("");
	expect_names("");
	LIST("\n\n");
	expect_names("");
	assert_int_equal(listing_of("a\nb\0c\r\0\0d", 9, true), HAUL_OK);
	expect_names("a\nb|c\r|d|");
}

static void what_is_no_list_is_refused(void **state)
{
	static char lengthy[ROOT_PATH_MAX + 1];
	(void)state;
	memset(lengthy, 'x', sizeof lengthy);
	assert_int_equal(listing_of("a\0b", 3, false), HAUL_USAGE);
	assert_non_null(strstr(err.why, "-0"));
	assert_int_equal(listing_of(lengthy, ROOT_PATH_MAX, false), HAUL_OK);
	assert_int_equal(listing_of(lengthy, sizeof lengthy, false), HAUL_USAGE);
	assert_int_equal(listing_of(lengthy, sizeof lengthy, true), HAUL_USAGE);
	assert_string_equal(err.subject, "list");
}

static void groups(void **state)
{
	(void)state;
	LIST("a/b\na/b/c\na/b/d\na/bb\na/bb/c\nb\n");
	assert_int_equal(listing_group(list, 0, 6, 0), 5);
	assert_int_equal(listing_group(list, 0, 5, 2), 3);
	assert_int_equal(listing_group(list, 0, 2, 2), 2);
	assert_int_equal(listing_group(list, 3, 5, 2), 5);
	assert_int_equal(listing_group(list, 5, 6, 0), 6);
	assert_true(listing_leads_up(".."));
	assert_true(listing_leads_up("a/../b"));
	assert_true(listing_leads_up("a/.."));
	assert_false(listing_leads_up("..a/b../..."));
}

/* ---- walks ---- */

static struct filter *filter;

static struct haul_config config_of(void)
{
	return (struct haul_config){.names = list, .filter = filter, .max_size = SIZE_UNSET};
}

struct seen {
	size_t files, dirs, problems;
	bool filtered, nothing;
};

static struct seen walk_all(const struct haul_config *cfg)
{
	static const char *const sources[] = {"."};
	struct seen seen = {0};
	struct walk *w;
	struct entry e;
	assert_int_equal(walk_new(cfg, sources, 1, &w, &err), HAUL_OK);
	for (enum walk_result r; (r = walk_next(w, &e, &err)) != WALK_END;) {
		seen.problems += r == WALK_PROBLEM;
		seen.files += r == WALK_ENTRY && e.type == ENTRY_FILE;
		seen.dirs += r == WALK_ENTRY && e.type == ENTRY_DIR;
	}
	haul_err_clear(&err);
	seen.filtered = walk_filtered(w);
	seen.nothing = walk_nothing_readable(w);
	walk_free(w);
	return seen;
}

static void a_walk_knows_whether_it_was_whole(void **state)
{
	struct haul_config cfg = config_of();
	(void)state;
	put_file("a.o", "1234", 4);
	assert_int_equal(mkdir("d", 0755), 0);
	put_file("d/b", "12", 2);
	assert_false(walk_all(&cfg).filtered);
	cfg.min_size = 2;
	cfg.max_size = 4;
	cfg.one_file_system = cfg.gitignore = true;
	assert_false(walk_all(&cfg).filtered);
	cfg.min_size = 3;
	assert_true(walk_all(&cfg).filtered);
	cfg.min_size = 0;
	cfg.max_size = 3;
	assert_true(walk_all(&cfg).filtered);
	cfg.max_size = SIZE_UNSET;
	put_file("d/.gitignore", "c\n", 2);
	assert_false(walk_all(&cfg).filtered);
	put_file("d/.gitignore", "b\n", 2);
	assert_true(walk_all(&cfg).filtered);
	cfg.gitignore = false;
	cfg.filter = filter = filter_new();
	assert_int_equal(filter_add(filter, false, "*.c", 3, "", &err), HAUL_OK);
	assert_false(walk_all(&cfg).filtered);
	assert_int_equal(filter_add(filter, false, "d", 1, "", &err), HAUL_OK);
	struct seen seen = walk_all(&cfg);
	assert_true(seen.filtered && !seen.nothing);
	assert_int_equal(seen.dirs, 0);
	filter_free(filter);
	filter = NULL;
	LIST("a.o\nd\n");
	cfg = config_of();
	assert_true(walk_all(&cfg).filtered);
	LIST(".");
	cfg = config_of();
	assert_false(walk_all(&cfg).filtered);
}

/* Directories 100 deep, each with files before and after the next one: the upper ones are closed and opened again. */
static void a_deep_list(void **state)
{
	enum { DEEP = 100 };
	char path[3 * DEEP + 2] = "", text[DEEP * 2 * (3 * DEEP + 4)] = "";
	(void)state;
	for (size_t i = 0, at = 0; i < DEEP; i++) {
		for (const char *name = "az"; *name; name++) {
			path[at] = *name;
			path[at + 1] = '\0';
			put_file(path, "", 0);
			strcat(strcat(text, path), "\n");
		}
		memcpy(path + at, "dd", 3);
		assert_int_equal(mkdir(path, 0755), 0);
		memcpy(path + at, "dd/", 4);
		at += 3;
	}
	assert_int_equal(listing_of(text, strlen(text), false), HAUL_OK);
	struct haul_config cfg = config_of();
	struct seen seen = walk_all(&cfg);
	assert_int_equal(seen.files, 2 * DEEP);
	assert_int_equal(seen.dirs, DEEP - 1);
	assert_int_equal(seen.problems, 0);
}

static void names_that_cannot_be_sent(void **state)
{
	static char lengthy[ROOT_PATH_MAX + 1];
	(void)state;
	put_file("f", "", 0);
	assert_int_equal(mkdir("d", 0755), 0);
	assert_int_equal(symlink("d", "l"), 0);
	assert_int_equal(mkfifo("p", 0644), 0);
	LIST("f/x\nf\nf/y/z\nd/../f\nl/x\np\np/x\n.haul/x\n.haul\n");
	struct haul_config cfg = config_of();
	struct seen seen = walk_all(&cfg);
	assert_int_equal(seen.files, 1);
	assert_int_equal(seen.problems, 7); /* not p/x: p was told of */
	for (size_t i = 0; i < ROOT_PATH_MAX; i++)
		lengthy[i] = i % 2 ? '/' : 'd';
	lengthy[ROOT_PATH_MAX - 1] = 'd';
	assert_int_equal(listing_of(lengthy, ROOT_PATH_MAX, false), HAUL_OK);
	cfg = config_of();
	seen = walk_all(&cfg);
	assert_int_equal(seen.problems, 1);
	assert_true(seen.nothing);
	memset(lengthy, 'd', ROOT_PATH_MAX);
	assert_int_equal(listing_of(lengthy, ROOT_PATH_MAX, false), HAUL_OK);
	cfg = config_of();
	assert_int_equal(walk_all(&cfg).problems, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, enter_scratch, drop)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(names_are_sorted_by_tree),		 TEST(names_are_brought_into_shape),
		TEST(what_is_no_list_is_refused),	 TEST(groups),
		TEST(a_walk_knows_whether_it_was_whole), TEST(a_deep_list),
		TEST(names_that_cannot_be_sent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
