/* lib/root when the kernel says no, and when somebody else changes the tree at the worst moment. */
#include "unit.h"

#include "lib/root.h"
#include "tests/unit/failing.h"

static struct root *root;
static struct haul_err err;

static int begin(void **state)
{
	haul_err_clear(&err);
	return enter_scratch(state) == 0 && root_open("dst", NULL, &root, &err) == HAUL_OK ? 0 : -1;
}

static int end(void **state)
{
	root_close(root);
	root = NULL;
	return leave_scratch(state);
}

/* ---- what is tried; each in a tree of its own ---- */

static char temp[ROOT_TEMP_MAX];

static void nothing_before(void)
{
}

static void with_temp(void)
{
	int fd = root_temp_open(root, "t", 1, temp);
	assert_true(fd >= 0);
	assert_true(write(fd, "new", 3) == 3);
	close(fd);
}

static void with_state(void)
{
	with_temp();
	put_file("dst/.haul/a", "a", 1);
}

static void with_loose_state(void)
{
	assert_int_equal(mkdir("dst/.haul", 0700), 0);
	assert_int_equal(chmod("dst/.haul", 0755), 0);
}

static void with_file(void)
{
	put_file("dst/f", "old", 3);
}

static void with_dir(void)
{
	assert_int_equal(mkdir("dst/d", 0700), 0);
}

static void with_closed_dir(void)
{
	with_dir();
	assert_int_equal(chmod("dst/d", 0), 0);
}

static void with_deep_dir(void)
{
	with_temp();
	assert_int_equal(mkdir("dst/a", 0700), 0);
	assert_int_equal(mkdir("dst/a/b", 0700), 0);
}

static int open_temp(void)
{
	char name[ROOT_TEMP_MAX];
	int fd = root_temp_open(root, "t", 2, name);
	return fd < 0 ? fd : close(fd);
}

static int unlink_temp(void)
{
	return root_temp_unlink(root, "t-1.part");
}

static int commit(void)
{
	return root_commit(root, "t", temp, "a/b/f", false, false);
}

static int commit_top(void)
{
	return root_commit(root, "t", "t-1.part", "f", false, false);
}

static int link_to_it(void)
{
	int rc = root_symlink(root, "t", "l", "target", 7, 8, NULL, NULL);
	if (rc != 0)
		assert_int_equal(access("dst/l", F_OK), -1);
	return rc;
}

static int open_it(void)
{
	struct stat st;
	int fd = root_open_file(root, "f", &st);
	return fd < 0 ? fd : close(fd);
}

static int make_dir(void)
{
	bool created;
	return root_mkdir(root, "d", &created);
}

static int dir_meta(void)
{
	return root_dir_meta(root, "d", 0711, 5, 6);
}

static int sync_it(void)
{
	return root_sync_parent(root, "f");
}

static int state_file(void)
{
	int fd = root_state_open(root, "a", O_RDONLY);
	return fd < 0 ? fd : close(fd);
}

static int state_rename(void)
{
	return root_state_rename(root, "a", "b");
}

static void count_name(void *ctx, const char *name)
{
	assert_true(name[0] != '\0');
	++*(int *)ctx;
}

static int state_list(void)
{
	int names = 0;
	int rc = root_state_list(root, count_name, &names);
	assert_int_equal(names, rc == 0 ? 2 : 0);
	return rc;
}

/* ---- one call fails ---- */

static const struct {
	const char *call;
	unsigned skip, times;
	int sys;
	void (*prepare)(void);
	int (*act)(void);
	int want;
} failures[] = {
	/* the state directory */
	{"mkdirat", 0, 1, EACCES, nothing_before, open_temp, -EACCES},
	{"openat2", 0, 1, EMFILE, nothing_before, open_temp, -EMFILE},
	{"fstat", 0, 1, EIO, nothing_before, open_temp, -EIO},
	{"geteuid", 0, 1, EIO, nothing_before, open_temp, -EPERM},
	{"fchmod", 0, 1, EPERM, with_loose_state, open_temp, -EPERM},
	{"malloc", 0, 1, ENOMEM, nothing_before, open_temp, -ENOMEM},
	{"openat2", 1, 1, ENOSPC, nothing_before, open_temp, -ENOSPC},
	{"openat2", 0, 1, EMFILE, with_loose_state, unlink_temp, -EMFILE},
	{"openat2", 0, 1, EMFILE, with_loose_state, commit_top, -EMFILE},
	/* a .haul that is removed between making it and opening it is made again */
	{"openat2", 0, 1, ENOENT, nothing_before, open_temp, 0},
	{"openat2", 1, 1, ENOENT, nothing_before, open_temp, 0},
	{"openat2", 0, 99, ENOENT, nothing_before, open_temp, -ENOENT},
	/* parents */
	{"malloc", 0, 1, ENOMEM, with_temp, commit, -ENOMEM},
	{"mkdirat", 0, 1, ENOSPC, with_temp, commit, -ENOSPC},
	{"mkdirat", 1, 1, ENOSPC, with_temp, commit, -ENOSPC},
	{"openat2", 0, 1, EMFILE, with_temp, commit, -EMFILE},
	{"openat2", 0, 1, EMFILE, with_deep_dir, commit, -EMFILE},
	/* another one made it; and removed it again before it could be opened */
	{"mkdirat", 0, 1, EEXIST, with_temp, commit, 0},
	{"mkdirat", 0, 99, EEXIST, with_temp, commit, -ENOENT},
	/* symbolic links */
	{"openat2", 0, 1, EMFILE, with_temp, link_to_it, -EMFILE},
	{"openat2", 1, 1, EMFILE, with_temp, link_to_it, -EMFILE},
	{"utimensat", 0, 1, EIO, with_temp, link_to_it, -EIO},
	{"utimensat", 0, 2, EINVAL, with_temp, link_to_it, -EINVAL},
	{"utimensat", 0, 1, EINVAL, with_temp, link_to_it, 0}, /* before Linux 5.8 */
	/* reading what is there */
	{"fstatat", 0, 1, EIO, with_file, open_it, -EIO},
	{"openat2", 1, 1, EACCES, with_file, open_it, -EACCES},
	{"fstat", 0, 1, EIO, with_file, open_it, -ESTALE},
	/* directories */
	{"mkdirat", 0, 1, EEXIST, nothing_before, make_dir, 0},
	{"mkdirat", 0, 1, ESTALE, nothing_before, make_dir, 0},
	{"mkdirat", 0, 99, ESTALE, nothing_before, make_dir, -ESTALE},
	{"fstatat", 0, 1, EIO, with_dir, make_dir, -EIO},
	{"openat2", 1, 1, EMFILE, with_closed_dir, make_dir, -EMFILE},
	{"fchmod", 0, 1, EPERM, with_closed_dir, make_dir, -EPERM},
	{"openat2", 1, 1, EACCES, with_closed_dir, make_dir, 0},
	{"openat2", 1, 2, EACCES, with_closed_dir, make_dir, -EACCES},
	{"openat2", 1, 1, EMFILE, with_dir, dir_meta, -EMFILE},
	{"fstat", 0, 1, EIO, with_dir, dir_meta, -EIO},
	{"futimens", 0, 1, EROFS, with_dir, dir_meta, -EROFS},
	{"fchmod", 0, 1, EPERM, with_dir, dir_meta, -EPERM},
	{"fsync", 0, 1, EIO, with_file, sync_it, -EIO},
	/* files of the state directory */
	{"openat2", 0, 1, EMFILE, with_state, state_file, -EMFILE},
	{"openat2", 1, 1, EMFILE, with_state, state_file, -EMFILE},
	{"fstat", 0, 1, EIO, with_state, state_file, -EEXIST},
	{"openat2", 0, 1, EMFILE, with_state, state_rename, -EMFILE},
	{"renameat", 0, 1, EIO, with_state, state_rename, -EIO},
	{"openat2", 0, 1, EMFILE, with_state, state_list, -EMFILE},
	{"openat2", 0, 1, ENOENT, nothing_before, unlink_temp, -ENOENT},
	{"fdopendir", 0, 1, ENOMEM, with_state, state_list, -ENOMEM},
};

static int lowest_free(void)
{
	int fd = dup(0);
	close(fd);
	return fd;
}

/* Afterwards the same is done without a fault, and works; no descriptor stays open. */
static void one_call_fails(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(failures); i++) {
		int lowest = lowest_free();
		assert_int_equal(begin(state), 0);
		failures[i].prepare();
		fail_calls(failures[i].call, failures[i].skip, failures[i].times, failures[i].sys);
		int rc = failures[i].act();
		bool failed = all_failed() || failures[i].times > 9;
		if (rc != failures[i].want || !failed)
			fail_msg("case %zu: %s with errno %d: %d instead of %d%s", i, failures[i].call,
				 failures[i].sys, rc, failures[i].want, failed ? "" : ", was not called");
		if (rc != 0 && failures[i].act != unlink_temp && failures[i].act != commit_top)
			assert_int_equal(failures[i].act(), 0);
		assert_int_equal(end(state), 0);
		assert_int_equal(lowest_free(), lowest);
	}
}

/* Between the look at the file and opening it, it becomes a FIFO: nothing waits for a writer. */
static void become_fifo(void)
{
	assert_int_equal(unlink("dst/f"), 0);
	assert_int_equal(mkfifo("dst/f", 0600), 0);
}

static void become_link(void)
{
	assert_int_equal(unlink("dst/f"), 0);
	assert_int_equal(symlink("/etc/passwd", "dst/f"), 0);
}

static void a_file_replaced_meanwhile(void **state)
{
	(void)state;
	with_file();
	before_call("openat2", 1, become_fifo);
	assert_int_equal(open_it(), -ESTALE);
	assert_true(all_failed());
	assert_int_equal(unlink("dst/f"), 0);
	with_file();
	before_call("openat2", 0, become_link);
	assert_int_equal(open_it(), -ELOOP);
	assert_true(all_failed());
}

/* The mode of a directory that cannot be opened: by descriptor where the kernel can, else by glibc. */
static void closed_directories(void **state)
{
	struct stat st;
	(void)state;
	with_closed_dir();
	fail_calls("openat2", 1, 1, EACCES);
	assert_int_equal(make_dir(), 0);
	assert_true(all_failed());
	assert_int_equal(stat("dst/d", &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
}

static void without_fchmodat2(void)
{
	fail_calls("syscall", 0, 1, ENOSYS);
}

/* Cannot be opened, and the kernel has no fchmodat2. */
static void closed_directories_of_old(void **state)
{
	struct stat st;
	(void)state;
	with_closed_dir();
	struct root_dir *parent;
	const char *name;
	assert_non_null(parent = root_dir_get(root, "d", false, &name)); /* now it is cached */
	root_dir_put(root, parent);
	fail_calls("openat2", 0, 1, EACCES);
	failing.before = without_fchmodat2;
	assert_int_equal(make_dir(), 0);
	assert_true(all_failed());
	assert_int_equal(stat("dst/d", &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
}

static void what_is_no_name(void **state)
{
	(void)state;
	with_temp();
	assert_int_equal(root_commit(root, "t", "../x", "f", false, false), -EINVAL);
	assert_int_equal(root_commit(root, "T", temp, "f", false, false), -EINVAL);
	assert_int_equal(root_symlink(root, "a/b", "l", "x", 0, 0, NULL, NULL), -EINVAL);
	assert_int_equal(root_symlink(root, "t", "l", "x", 0, 1000000000, NULL, NULL), -EINVAL);
	assert_int_equal(root_state_rename(root, "", "b"), -EINVAL);
	assert_int_equal(root_state_rename(root, "a", "../b"), -EINVAL);
	assert_int_equal(root_state_open(root, "", O_RDONLY), -EINVAL);
	assert_int_equal(root_state_open(root, "../f", O_RDONLY | O_CREAT), -EINVAL);
	assert_int_equal(access("dst/b", F_OK), -1);
	assert_int_equal(mkfifo("dst/.haul/a", 0600), 0);
	assert_int_equal(root_state_open(root, "a", O_RDONLY), -EEXIST);
	assert_int_equal(root_state_open(root, "a", O_RDWR | O_CREAT), -EEXIST);
}

/* ---- final names where the file system knows little ---- */

static void without_links(void)
{
	fail_calls("linkat", 0, 1, EPERM);
}

static void remove_it(void)
{
	assert_int_equal(unlink("dst/f"), 0);
}

static void assert_content(const char *path, const char *text)
{
	char got[16] = "";
	assert_true(get_file(path, got, sizeof got - 1) >= 0);
	assert_string_equal(got, text);
}

/* Commits "new" to f, which is "old" if it is there. */
static int commit_over(bool there, bool noreplace, bool keep, const char *call, int sys, void (*then)(void))
{
	unlink("dst/f");
	unlink("dst/f~");
	unlink("dst/.haul/t-1.part");
	if (there)
		with_file();
	with_temp();
	fail_calls(call, 0, 1, sys);
	failing.before = then;
	int rc = root_commit(root, "t", temp, "f", noreplace, keep);
	assert_true(all_failed());
	assert_int_equal(access("dst/.haul/t-1.part", F_OK), rc == 0 ? -1 : 0);
	if (rc == 0)
		assert_content("dst/f", "new");
	else if (there)
		assert_content("dst/f", "old");
	return rc;
}

static void poor_file_systems(void **state)
{
	(void)state;
	/* no RENAME_NOREPLACE; then no hard links either */
	assert_int_equal(commit_over(false, true, false, "renameat2", EINVAL, NULL), 0);
	assert_int_equal(commit_over(true, true, false, "renameat2", ENOSYS, NULL), -EEXIST);
	assert_int_equal(commit_over(true, false, false, "renameat2", EINVAL, NULL), 0);
	assert_int_equal(commit_over(false, true, false, "renameat2", EINVAL, without_links), 0);
	assert_int_equal(commit_over(true, true, false, "renameat2", EINVAL, without_links), -EEXIST);
	assert_int_equal(commit_over(false, false, false, "renameat2", EIO, NULL), -EIO);
	/* it is removed between being seen and being looked at, or cannot be looked at */
	assert_int_equal(commit_over(true, false, false, "fstatat", ENOENT, remove_it), 0);
	assert_int_equal(commit_over(true, false, false, "fstatat", EIO, NULL), -EIO);
	assert_int_equal(commit_over(true, false, false, "renameat", EIO, NULL), -EIO);
}

static void backups(void **state)
{
	static const int unknown[] = {EPERM, EOPNOTSUPP, EMLINK, ENOSYS};
	(void)state;
	for (size_t i = 0; i < COUNT(unknown); i++) {
		assert_int_equal(commit_over(true, false, true, "linkat", unknown[i], NULL), 0);
		assert_content("dst/f~", "old");
	}
	assert_int_equal(commit_over(true, false, true, "linkat", EIO, NULL), -EIO);
	assert_int_equal(access("dst/f~", F_OK), -1);
	/* what is in the way of the backup stays, and so does the file */
	assert_int_equal(mkdir("dst/f~", 0700), 0);
	assert_int_equal(commit_over(true, false, true, "linkat", EPERM, NULL), -EISDIR);
	assert_int_equal(rmdir("dst/f~"), 0);
}

/* ---- opening the root itself ---- */

static void opening_fails(void **state)
{
	static const struct {
		const char *call;
		unsigned skip;
		int sys;
		const char *dir, *subdir;
		enum haul_rc want;
	} cases[] = {
		{"mkdir", 0, EACCES, "new", NULL, HAUL_IO},
		{"mkdir", 0, EEXIST, "new", NULL, HAUL_IO}, /* and removed again by another */
		{"mkdir", 0, ENOSPC, "new", NULL, HAUL_NO_SPACE},
		{"calloc", 0, ENOMEM, "dst", NULL, HAUL_NO_MEMORY},
		{"malloc", 0, ENOMEM, "dst", NULL, HAUL_NO_MEMORY},
		{"getrandom", 0, ENOSYS, "dst", NULL, HAUL_NO_MEMORY},
		{"calloc", 0, ENOMEM, "dst", "sub", HAUL_IO},
		{"calloc", 1, ENOMEM, "dst", "sub", HAUL_NO_MEMORY},
		{"fcntl", 0, EMFILE, "dst", "sub", HAUL_IO},
		{"mkdirat", 0, EDQUOT, "dst", "sub", HAUL_NO_SPACE},
		{"openat2", 0, ELOOP, "dst", "sub", HAUL_POLICY},
		{"openat2", 0, ENOTDIR, "dst", "sub", HAUL_POLICY},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct root *other = NULL;
		haul_err_clear(&err);
		fail_calls(cases[i].call, cases[i].skip, 1, cases[i].sys);
		enum haul_rc rc = root_open(cases[i].dir, cases[i].subdir, &other, &err);
		if (!all_failed() || rc != cases[i].want || other)
			fail_msg("case %zu: %s with errno %d: %s", i, cases[i].call, cases[i].sys,
				 haul_rc_name(rc));
		assert_true(err.why[0] != '\0');
		assert_int_equal(rmdir("dst/sub") == 0 || errno == ENOENT, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_call_fails),
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
		TEST(a_file_replaced_meanwhile),
		TEST(closed_directories),
		TEST(closed_directories_of_old),
		TEST(what_is_no_name),
		TEST(poor_file_systems),
		TEST(backups),
		TEST(opening_fails),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
