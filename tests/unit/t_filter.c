/* Patterns against paths, in both dialects; lists of rules; that no pattern takes long. */
#include "tests/unit/unit.h"

#include "lib/filter.h"
#include "lib/glob.h"

struct row {
	const char *pattern, *path; /* a slash at the end of path: a directory */
	bool match;
};

static void check(enum glob_dialect dialect, const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct row *r = &rows[i];
		size_t len = strlen(r->path);
		bool is_dir = r->path[len - 1] == '/';
		struct glob *g = glob_new(dialect, r->pattern, strlen(r->pattern));
		assert_non_null(g);
		if (glob_match(g, r->path, len - is_dir, is_dir) != r->match)
			fail_msg("row %zu: '%s' against '%s': want %d", i, r->pattern, r->path, r->match);
		glob_free(g);
	}
}

/* From rsync(1), PATTERN MATCHING RULES and ANCHORING. */
static const struct row rsync_rows[] = {
	/* without a slash: the last component, at any depth */
	{"foo", "foo", true},
	{"foo", "foo/", true},
	{"foo", "a/b/foo", true},
	{"foo", "foo/bar", false},
	{"foo", "foobar", false},
	{"foo", "afoo", false},
	{"*.o", "a.o", true},
	{"*.o", "deep/down/a.o", true},
	{"*.o", ".o", true},
	{"*.o", "a.o/x", false},
	{"*.o", "a.oo", false},
	{"*", "anything", true},
	{"*", "a/b", true},
	/* a slash in front: the top */
	{"/foo", "foo", true},
	{"/foo", "a/foo", false},
	{"/foo/bar", "foo/bar", true},
	{"/foo/bar", "foo/bar/baz", false},
	{"/foo/bar", "a/foo/bar", false},
	{"/*", "foo", true},
	{"/*", "foo/bar", false},
	{"/*/bar", "foo/bar", true},
	{"/*/bar", "a/foo/bar", false},
	{"/", "foo", false},
	/* a slash at the end: directories */
	{"foo/", "foo/", true},
	{"foo/", "foo", false},
	{"foo/", "a/foo/", true},
	{"/foo/", "foo/", true},
	{"/foo/", "a/foo/", false},
	{"*/", "a/", true},
	{"*/", "a", false},
	/* a slash inside: the end of the path */
	{"foo/bar", "foo/bar", true},
	{"foo/bar", "a/foo/bar", true},
	{"foo/bar", "afoo/bar", false},
	{"foo/bar", "foo/bar/x", false},
	{"foo/bar", "bar", false},
	{"foo/*.c", "foo/a.c", true},
	{"foo/*.c", "src/foo/a.c", true},
	{"foo/*.c", "foo/x/a.c", false},
	{"f*/b?r/", "a/foo/bar/", true},
	{"a/*/c", "a/b/c", true},
	{"a/*/c", "x/a/b/c", true},
	{"a/*/c", "a/b/b/c", false},
	/* one and a run of characters stop at slashes */
	{"/a?c", "abc", true},
	{"/a?c", "a/c", false},
	{"/a?c", "ac", false},
	{"/a*c", "a/c", false},
	{"/a*c", "axxc", true},
	{"/a*c", "ac", true},
	/* two stars do not */
	{"/a/**", "a/b", true},
	{"/a/**", "a/b/c", true},
	{"/a/**", "a/", false},
	{"/a/**/z", "a/b/c/z", true},
	{"/a/**/z", "a/b/z", true},
	{"/a/**/z", "a/z", false},
	{"/a**z", "a/b/z", true},
	{"/a**z", "az", true},
	{"a**z", "x/a/b/z", true},
	{"a**z", "xa/b/z", false},
	{"**/foo", "foo", true},
	{"**/foo", "a/b/foo", true},
	{"**/foo", "afoo", false},
	{"**foo", "afoo", true},
	{"**foo", "a/b/xfoo", true},
	{"foo/**/bar", "foo/a/bar", true},
	{"foo/**/bar", "x/foo/a/b/bar", true},
	{"foo/**", "x/foo/y", true},
	{"foo**", "x/foobar/y", true},
	{"**", "a/b", true},
	{"**/", "a/b/", true},
	{"**/", "a/b", false},
	/* a directory and all in it */
	{"foo/***", "foo/", true},
	{"foo/***", "foo", false},
	{"foo/***", "foo/a", true},
	{"foo/***", "foo/a/b", true},
	{"foo/***", "x/foo/", true},
	{"foo/***", "x/foo/a/b", true},
	{"foo/***", "xfoo/", false},
	{"/foo/***", "foo/", true},
	{"/foo/***", "x/foo/", false},
	{"/foo/***", "foo/a/b", true},
	{"/foo/***", "foobar/", false},
	/* classes */
	{"[abc]", "b", true},
	{"[abc]", "d", false},
	{"[a-c]x", "bx", true},
	{"[a-c]x", "dx", false},
	{"[!a-c]", "d", true},
	{"[!a-c]", "a", false},
	{"[^a-c]", "d", true},
	{"[^a-c]", "a", false},
	{"[]a]", "]", true},
	{"[]a]", "a", true},
	{"[!]a]", "]", false},
	{"[a-]", "-", true},
	{"[-a]", "-", true},
	{"[\\]a]", "]", true},
	{"[\\a-c]", "b", true},
	{"[[:digit:]]x", "7x", true},
	{"[[:digit:]]x", "ax", false},
	{"[[:alpha:][:digit:]_]", "_", true},
	{"[![:space:]]", " ", false},
	{"[[:upper:]]", "Q", true},
	{"[[:upper:]]", "q", false},
	{"[[:xdigit:]]", "f", true},
	{"[[:punct:]]", "~", true},
	{"/a[!b]c", "a/c", false},
	{"/a[./]c", "a/c", false},
	{"[b-a]", "b", true},
	{"[b-a]", "a", false},
	{"[[:foo:]]", "f", false},
	{"[[:foo:]]", ":]", false},
	{"[[:foo]", "o", true},
	{"[[:alpha:]-z]", "-", true},
	{"[a", "a", false},
	{"[a", "[a", false},
	{"[", "[", false},
	{"[]", "[]", false},
	{"[!a-c]", "\xff", true},
	/* a backslash: of itself where there is no wildcard, of what follows where there is */
	{"a\\b", "a\\b", true},
	{"a\\*", "a*", true},
	{"a\\*", "ab", false},
	{"\\[x\\]*", "[x]y", true},
	{"a\\\\*", "a\\b", true},
	{"*\\", "a\\", false},
	{"?\\?", "a?", true},
	/* other bytes are what they are */
	{"#x", "#x", true},
	{"\xc3\xa4*", "\xc3\xa4x", true},
	{"?", "\xc3\xa4", false},
	{"a\nb", "a\nb", true},
};

static void rsync_dialect(void **state)
{
	(void)state;
	check(GLOB_RSYNC, rsync_rows, COUNT(rsync_rows));
}

/* Every run of stars gives way at the right place, whatever came before. */
static void backing_off(void **state)
{
	static const struct row rows[] = {
		{"*a*a*b", "aaaaab", true},
		{"*a*a*b", "ab", false},
		{"*ab*abc*", "xababxabcx", true},
		{"/*a/*b", "xa/xb", true},
		{"/*a/*b", "xa/y/xb", false},
		{"/**a*b", "xa/a/ab", true},
		{"/**a*b", "xa/b", false},
		{"/**/a*b/**/c", "1/a2b/3/c", true},
		{"/**/a*b/**/c", "1/a2/b/3/c", false},
		{"a**b**c", "x/a/b/a/c", true},
		{"a*/**c", "x/ay/z/c", true},
		{"*?*?*", "ab", true},
		{"*?*?*", "a", false},
	};
	(void)state;
	check(GLOB_RSYNC, rows, COUNT(rows));
}

/* The work is bounded by the product of the lengths: 4096 x 4096 steps, not 2 to the power of something. */
static void hostile_patterns(void **state)
{
	static const char *const units[] = {"*a", "**a", "a**", "*?", "**/", "[a-z]*", "a/**", "*/"};
	static char pattern[GLOB_TEXT_MAX + 1], path[4097];
	(void)state;
	for (size_t i = 0; i < COUNT(units); i++) {
		size_t n = strlen(units[i]), len = 0;
		for (; len + n < 400; len += n)
			memcpy(pattern + len, units[i], n);
		pattern[len++] = 'b';
		for (size_t k = 0; k < 4096; k++)
			path[k] = k % 64 == 63 ? '/' : 'a';
		struct glob *g = glob_new(GLOB_RSYNC, pattern, len);
		assert_non_null(g);
		assert_false(glob_match(g, path, 4095, false));
		path[4094] = 'b';
		glob_match(g, path, 4095, false);
		glob_free(g);
	}
	memset(pattern, '*', GLOB_TEXT_MAX);
	struct glob *g = glob_new(GLOB_RSYNC, pattern, GLOB_TEXT_MAX);
	assert_true(glob_match(g, path, 4095, false));
	glob_free(g);
	memset(pattern, '[', GLOB_TEXT_MAX);
	g = glob_new(GLOB_RSYNC, pattern, GLOB_TEXT_MAX);
	assert_false(glob_match(g, path, 4095, false));
	glob_free(g);
}

/* From gitignore(5), PATTERN FORMAT. */
static void git_dialect(void **state)
{
	static const struct row rows[] = {
		{"foo", "a/foo", true},
		{"foo", "foo/", true},
		{"foo", "foobar", false},
		{"foo/", "a/foo/", true},
		{"foo/", "foo", false},
		{"/foo", "foo", true},
		{"/foo", "a/foo", false},
		{"doc/frotz", "doc/frotz", true},
		{"doc/frotz", "a/doc/frotz", false},
		{"doc/frotz/", "doc/frotz/", true},
		{"doc/frotz/", "doc/frotz", false},
		{"/doc/*", "doc/a", true},
		{"/doc/*", "doc/a/b", false},
		{"foo/*", "foo/test.json", true},
		{"foo/*", "foo/bar/hello.c", false},
		{"foo/*", "a/foo/x", false},
		{"**/foo", "foo", true},
		{"**/foo", "a/b/foo", true},
		{"**/foo", "afoo", false},
		{"**/foo/bar", "a/foo/bar", true},
		{"**/foo/bar", "foo/a/bar", false},
		{"abc/**", "abc/x/y", true},
		{"abc/**", "abc/", false},
		{"a/**/b", "a/b", true},
		{"a/**/b", "a/x/b", true},
		{"a/**/b", "a/x/y/b", true},
		{"a/**/b", "ab", false},
		{"a/**/b", "x/a/b", false},
		{"a/**/**/b", "a/b", true},
		{"a/***/b", "a/x/y/b", true},
		{"a**b", "axb", true},
		{"a/x**b", "a/xy/b", false},
		{"**", "a", true},
		{"*.[oa]", "x/y.o", true},
		{"*.[!oa]", "x/y.o", false},
		{"\\!x", "!x", true},
		{"\\#x", "#x", true},
		{"\\x", "x", true},
		{"x\\", "x\\", false},
		{"x\\ ", "x ", true},
		{"a/[^b]/c", "a/x/c", true},
		{"/", "a/", false},
		{"a?c/d", "a/c/d", false},
	};
	(void)state;
	check(GLOB_GIT, rows, COUNT(rows));
}

/* ---- rules ---- */

static struct filter *filter;
static struct haul_err err;

static int new_filter(void **state)
{
	(void)state;
	haul_err_clear(&err);
	return (filter = filter_new()) ? 0 : -1;
}

static int drop_filter(void **state)
{
	(void)state;
	filter_free(filter);
	return 0;
}

static enum haul_rc add(bool include, const char *pattern)
{
	return filter_add(filter, include, pattern, strlen(pattern), "--exclude", &err);
}

static enum verdict ask(const char *path)
{
	size_t len = strlen(path);
	bool is_dir = path[len - 1] == '/';
	return filter_ask(filter, path, len - is_dir, is_dir);
}

static void the_first_rule_decides(void **state)
{
	(void)state;
	assert_int_equal(ask("a.c"), FILTER_NONE);
	assert_int_equal(add(true, "*.c"), HAUL_OK);
	assert_int_equal(add(true, "*/"), HAUL_OK);
	assert_int_equal(add(false, "*"), HAUL_OK);
	assert_int_equal(add(true, "*.h"), HAUL_OK);
	assert_int_equal(ask("a.c"), FILTER_TAKE);
	assert_int_equal(ask("d/"), FILTER_TAKE);
	assert_int_equal(ask("d"), FILTER_LEAVE);
	assert_int_equal(ask("a.h"), FILTER_LEAVE);
}

static void prefixes(void **state)
{
	(void)state;
	assert_int_equal(add(false, "+ a"), HAUL_OK);
	assert_int_equal(add(true, "- b"), HAUL_OK);
	assert_int_equal(add(false, "+c"), HAUL_OK);
	assert_int_equal(add(false, "-  d"), HAUL_OK);
	assert_int_equal(ask("a"), FILTER_TAKE);
	assert_int_equal(ask("b"), FILTER_LEAVE);
	assert_int_equal(ask("+c"), FILTER_LEAVE);
	assert_int_equal(ask(" d"), FILTER_LEAVE);
	assert_int_equal(add(false, "!"), HAUL_OK);
	assert_int_equal(ask("b"), FILTER_NONE);
	assert_int_equal(add(false, "!x"), HAUL_OK);
	assert_int_equal(ask("!x"), FILTER_LEAVE);
}

static void refusals(void **state)
{
	static char lengthy[GLOB_TEXT_MAX + 1];
	(void)state;
	memset(lengthy, 'x', sizeof lengthy);
	assert_int_equal(filter_add(filter, false, lengthy, GLOB_TEXT_MAX, "s", &err), HAUL_OK);
	assert_int_equal(filter_add(filter, false, lengthy, sizeof lengthy, "s", &err), HAUL_USAGE);
	haul_err_clear(&err);
	assert_int_equal(add(false, "- "), HAUL_USAGE);
	haul_err_clear(&err);
	assert_int_equal(filter_add_text(filter, "a\0b", 3, false, "s", &err), HAUL_USAGE);
	assert_non_null(strstr(err.why, "-0"));
	haul_err_clear(&err);
	assert_int_equal(filter_add_text(filter, "a\n#\n- \nb", 8, false, "s", &err), HAUL_USAGE);
	assert_string_equal(err.subject, "s:3");
}

static void files_of_rules(void **state)
{
	static const char text[] = "# no rule\n; nor this\n\n\r\n*.o\r\n+ keep\n- keep*\n #blank\nlast";
	(void)state;
	assert_int_equal(filter_add_text(filter, text, sizeof text - 1, false, "s", &err), HAUL_OK);
	assert_int_equal(ask("a.o"), FILTER_LEAVE);
	assert_int_equal(ask("keep"), FILTER_TAKE);
	assert_int_equal(ask("keeper"), FILTER_LEAVE);
	assert_int_equal(ask(" #blank"), FILTER_LEAVE);
	assert_int_equal(ask("last"), FILTER_LEAVE);
	assert_int_equal(ask("# no rule"), FILTER_NONE);
	assert_int_equal(ask("; nor this"), FILTER_NONE);
}

static void files_of_rules_with_nul(void **state)
{
	static const char text[] = "#a\0new\nline\0\0cr\r\0+ b";
	(void)state;
	assert_int_equal(filter_add_text(filter, text, sizeof text - 1, true, "s", &err), HAUL_OK);
	assert_int_equal(ask("#a"), FILTER_LEAVE);
	assert_int_equal(ask("new\nline"), FILTER_LEAVE);
	assert_int_equal(ask("cr\r"), FILTER_LEAVE);
	assert_int_equal(ask("b"), FILTER_TAKE);
}

static void gitignore_lines(void **state)
{
	static const char text[] =
		"\xef\xbb\xbf"
		"*.o\n# no\n!keep.o\nblank  \nescaped\\ \n\\#hash\n!#bang\r\n\n   \n*/x\n#bang\n";
	(void)state;
	assert_true(filter_add_gitignore(filter, text, sizeof text - 1));
	assert_int_equal(ask("d/a.o"), FILTER_LEAVE);
	assert_int_equal(ask("d/keep.o"), FILTER_TAKE);
	assert_int_equal(ask("blank"), FILTER_LEAVE);
	assert_int_equal(ask("escaped "), FILTER_LEAVE);
	assert_int_equal(ask("#hash"), FILTER_LEAVE);
	assert_int_equal(ask("#bang"), FILTER_TAKE);
	assert_int_equal(ask("d/x"), FILTER_LEAVE);
	assert_int_equal(ask("x"), FILTER_NONE);
}

#define WITH_FILTER(f) cmocka_unit_test_setup_teardown(f, new_filter, drop_filter)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rsync_dialect),
		cmocka_unit_test(git_dialect),
		cmocka_unit_test(backing_off),
		cmocka_unit_test(hostile_patterns),
		WITH_FILTER(the_first_rule_decides),
		WITH_FILTER(prefixes),
		WITH_FILTER(refusals),
		WITH_FILTER(files_of_rules),
		WITH_FILTER(files_of_rules_with_nul),
		WITH_FILTER(gitignore_lines),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
