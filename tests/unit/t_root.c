/*
 * lib/root: names, confinement, replacing, directories, the cache. Each test has a directory of its own with
 * dst (the root) and outside (which must never change). The suite runs again as on an old kernel or another
 * file system: without openat2 and RENAME_NOREPLACE, then also without hard links.
 */
#include "lib/root.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <dirent.h>
#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

static struct root *root;
static char tmp[] = "/tmp/t_root.XXXXXX";
static _Atomic uint64_t numbers;

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

static void remove_tree(const char *path)
{
	remove_at(AT_FDCWD, path);
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

static const char *get(const char *path)
{
	static char text[256];
	int fd = open(path, O_RDONLY | O_NONBLOCK);
	if (fd < 0)
		return "(absent)";
	ssize_t n = read(fd, text, sizeof text - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

static int setup(void **state)
{
	(void)state;
	struct haul_err err = {0};
	strcpy(tmp + sizeof tmp - 7, "XXXXXX");
	if (!mkdtemp(tmp) || chdir(tmp) != 0 || mkdir("outside", 0755) != 0 ||
	    put("outside/secret", "secret") != 0)
		return -1;
	return root_open("dst", NULL, &root, &err) == HAUL_OK ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	bool same = strcmp(get("outside/secret"), "secret") == 0 && unlink("outside/secret") == 0 &&
		    rmdir("outside") == 0;
	root_close(root);
	if (chdir("/") != 0)
		return -1;
	remove_tree(tmp);
	return same ? 0 : -1; /* rmdir fails if anything was put there */
}

/* A temporary file holding text, committed to path. */
static int send_file(const char *path, const char *text, bool noreplace, bool backup)
{
	char name[ROOT_TEMP_MAX];
	int fd = root_temp_open(root, "t", atomic_fetch_add(&numbers, 1), name);
	if (fd < 0)
		return fd;
	ssize_t n = write(fd, text, strlen(text));
	close(fd);
	int rc = n < 0 ? -EIO : root_commit(root, "t", name, path, noreplace, backup);
	if (rc != 0 && root_temp_unlink(root, name) != 0)
		return -EIO; /* it must still be there */
	return rc;
}

static void names(void **state)
{
	(void)state;
	static const struct {
		const char *path;
		size_t len;
		bool fine;
	} table[] = {
#define NAME(text, fine) {text, sizeof(text) - 1, fine}
		NAME("a", true),	NAME("a/b/c", true),	    NAME("...", true),
		NAME("..a/.b", true),	NAME("a\nb", true),	    NAME("a\033[31m", true),
		NAME("\xc2\x9b", true), NAME("\xe2\x80\xae", true), NAME("\xff\xfe/\x80", true),
		NAME(" ", true),	NAME("-rf", true),	    NAME(".haul2", true),
		NAME(".hau", true),	NAME("a/.haul", true),	    NAME("", false),
		NAME("/", false),	NAME("/abs", false),	    NAME(".", false),
		NAME("..", false),	NAME("../x", false),	    NAME("a/..", false),
		NAME("a/../b", false),	NAME("a/./b", false),	    NAME("./a", false),
		NAME("a/.", false),	NAME("a//b", false),	    NAME("a/", false),
		NAME("a//", false),	NAME("a\0b", false),	    NAME("\0", false),
		NAME(".haul", false),	NAME(".haul/x", false),
#undef NAME
	};
	for (size_t i = 0; i < COUNT(table); i++)
		assert_int_equal(root_name_refused(table[i].path, table[i].len) == NULL, table[i].fine);
}

static void name_limits(void **state)
{
	(void)state;
	static char path[ROOT_PATH_MAX + 2];
	memset(path, 'x', sizeof path);
	assert_null(root_name_refused(path, 255));
	assert_non_null(root_name_refused(path, 256));
	for (size_t i = 200; i < sizeof path; i += 200)
		path[i] = '/';
	assert_null(root_name_refused(path, 4096));
	assert_non_null(root_name_refused(path, 4097));
	memset(path, 'x', sizeof path);
	for (size_t i = 1; i < sizeof path; i += 2)
		path[i] = '/';
	assert_null(root_name_refused(path, 2 * 256 - 1));
	assert_non_null(root_name_refused(path, 2 * 257 - 1));
}

/* Every call that takes a path, with one that must not be used. */
static void expect_all(const char *path, int want1, int want2)
{
	struct stat st;
	bool created;
	const char *name;
	int got[] = {
		send_file(path, "evil", false, false),
		send_file(path, "evil", true, false),
		send_file(path, "evil", false, true),
		root_stat(root, path, &st),
		root_open_file(root, path, &st),
		root_mkdir(root, path, &created),
		root_symlink(root, "t", path, "evil", 1, 1, NULL, NULL),
		root_dir_meta(root, path, 0777, 1, 1),
		root_sync_parent(root, path),
		root_dir_get(root, path, true, &name) ? 0 : -errno,
	};
	for (size_t i = 0; i < COUNT(got); i++)
		if (got[i] != want1 && got[i] != want2)
			fail_msg("%s: call %zu gave %d", path, i, got[i]);
}

static void refused_everywhere(void **state)
{
	(void)state;
	static const char *const paths[] = {
		"", "..", "../outside/x", "/tmp/x", "a/../../outside/x", ".haul/x", ".", "a/"};
	for (size_t i = 0; i < COUNT(paths); i++)
		expect_all(paths[i], -EINVAL, -EINVAL);
}

static void symlink_components(void **state)
{
	(void)state;
	assert_int_equal(mkdir("dst/in", 0755), 0);
	assert_int_equal(symlink("../outside", "dst/link"), 0);
	assert_int_equal(symlink("../../outside", "dst/in/link"), 0);
	assert_int_equal(symlink("in", "dst/inner"), 0);
	expect_all("link/secret", -ELOOP, -ENOTDIR);
	expect_all("link/a/b", -ELOOP, -ENOTDIR);
	expect_all("in/link/secret", -ELOOP, -ENOTDIR);
	expect_all("inner/x", -ELOOP, -ENOTDIR);
	assert_int_equal(put("dst/file", "x"), 0);
	expect_all("file/x", -ENOTDIR, -ENOTDIR);
}

static void final_symlink_is_replaced(void **state)
{
	(void)state;
	struct stat st;
	assert_int_equal(symlink("../outside/secret", "dst/f"), 0);
	assert_int_equal(root_open_file(root, "f", &st), -ELOOP);
	assert_int_equal(root_dir_meta(root, "f", 0700, 1, 1), -ENOTDIR);
	assert_int_equal(send_file("f", "new", false, true), 0);
	assert_int_equal(lstat("dst/f", &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_string_equal(get("dst/f"), "new");
	assert_int_equal(access("dst/f~", F_OK), -1);
}

static void make_socket(const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	strcpy(sa.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	close(fd);
}

static void things_in_the_way(void **state)
{
	(void)state;
	static const char *const special[] = {"fifo", "sock"};
	struct stat st;
	assert_int_equal(mkfifo("dst/fifo", 0644), 0);
	make_socket("dst/sock");
	assert_int_equal(mkdir("dst/dir", 0755), 0);
	for (size_t i = 0; i < COUNT(special); i++) {
		assert_int_equal(send_file(special[i], "x", false, false), -EEXIST);
		assert_int_equal(send_file(special[i], "x", false, true), -EEXIST);
		assert_int_equal(root_symlink(root, "t", special[i], "x", 1, 1, NULL, NULL), -EEXIST);
		assert_int_equal(root_open_file(root, special[i], &st), -EEXIST);
	}
	assert_int_equal(send_file("dir", "x", false, false), -EISDIR);
	assert_int_equal(send_file("dir", "x", true, false), -EEXIST);
	assert_int_equal(root_symlink(root, "t", "dir", "x", 1, 1, NULL, NULL), -EISDIR);
	assert_int_equal(root_open_file(root, "dir", &st), -EISDIR);
	assert_int_equal(rmdir("dst/.haul"), 0); /* nothing was left behind */
}

static void replace_and_noreplace(void **state)
{
	(void)state;
	struct stat st;
	assert_int_equal(send_file("f", "one", true, false), 0);
	assert_int_equal(send_file("f", "two", true, false), -EEXIST);
	assert_string_equal(get("dst/f"), "one");
	assert_int_equal(send_file("f", "three", false, false), 0);
	assert_string_equal(get("dst/f"), "three");
	int fd = root_open_file(root, "f", &st);
	assert_true(fd >= 0 && st.st_size == 5);
	close(fd);
	assert_int_equal(root_open_file(root, "g", &st), -ENOENT);
	assert_int_equal(root_stat(root, "no/such", &st), -ENOENT);
	assert_int_equal(root_sync_parent(root, "f"), 0);
}

static void backup(void **state)
{
	(void)state;
	assert_int_equal(send_file("f", "one", false, true), 0);
	assert_int_equal(access("dst/f~", F_OK), -1);
	assert_int_equal(send_file("f", "two", false, true), 0);
	assert_string_equal(get("dst/f~"), "one");
	assert_int_equal(send_file("f", "three", false, true), 0);
	assert_string_equal(get("dst/f~"), "two");
	assert_string_equal(get("dst/f"), "three");
	assert_int_equal(unlink("dst/f~"), 0);
	assert_int_equal(link("dst/f", "dst/f~"), 0); /* two names of one file: rename keeps both */
	assert_int_equal(send_file("f", "four", false, true), 0);
	assert_string_equal(get("dst/f~"), "three");
	assert_int_equal(unlink("dst/f~"), 0);
	assert_int_equal(mkdir("dst/f~", 0755), 0);
	assert_int_equal(send_file("f", "five", false, true), -EISDIR);
	assert_string_equal(get("dst/f"), "four");
	char longest[256] = {0};
	memset(longest, 'x', 255);
	assert_int_equal(send_file(longest, "1", false, true), 0);
	assert_int_equal(send_file(longest, "2", false, true), -ENAMETOOLONG);
	root_tidy(root);
	assert_int_equal(access("dst/.haul", F_OK), -1);
}

static void directories(void **state)
{
	(void)state;
	bool created;
	struct stat st;
	const char *name;
	mode_t mask = umask(027);
	struct root_dir *dir = root_dir_get(root, "p/q/r/file", true, &name);
	umask(mask);
	assert_non_null(dir);
	assert_string_equal(name, "file");
	assert_int_equal(faccessat(root_dir_fd(dir), "../../q/r", F_OK, 0), 0);
	root_dir_put(root, dir);
	assert_int_equal(stat("dst/p/q", &st), 0);
	assert_int_equal(st.st_mode & 0777, 0750);
	assert_null(root_dir_get(root, "none/file", false, &name));
	assert_int_equal(errno, ENOENT);
	assert_int_equal(root_mkdir(root, "m/n", &created), 0);
	assert_true(created);
	assert_int_equal(stat("dst/m/n", &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(root_mkdir(root, "m/n", &created), 0);
	assert_false(created);
	assert_int_equal(symlink("n", "dst/m/link"), 0);
	assert_int_equal(root_mkdir(root, "m/link", &created), -EEXIST);
	assert_int_equal(chmod("dst/m/n", 0111), 0);
	assert_int_equal(root_mkdir(root, "m/n", &created), 0);
	assert_int_equal(stat("dst/m/n", &st), 0);
	assert_int_equal(st.st_mode & 0777, 0711);
}

static void metadata(void **state)
{
	(void)state;
	struct stat st;
	assert_int_equal(mkdir("dst/d", 0700), 0);
	assert_int_equal(chmod("dst/d", 01700), 0);
	assert_int_equal(root_dir_meta(root, "d", 06751, 1234567890, 987654321), 0);
	assert_int_equal(stat("dst/d", &st), 0);
	assert_int_equal(st.st_mode & 07777, 01751);
	assert_int_equal(st.st_mtim.tv_sec, 1234567890);
	assert_int_equal(st.st_mtim.tv_nsec, 987654321);
	assert_int_equal(root_dir_meta(root, "d", 0755, -1, 5), 0);
	assert_int_equal(root_dir_meta(root, "d", 0755, 0, 0x3fffffff), -EINVAL);
	assert_int_equal(root_dir_meta(root, "none", 0755, 0, 0), -ENOENT);
	assert_int_equal(root_symlink(root, "t", "x/l", "/outside", 77, 123456789, NULL, NULL), 0);
	assert_int_equal(lstat("dst/x/l", &st), 0);
	assert_true(S_ISLNK(st.st_mode) && st.st_mtim.tv_sec == 77 && st.st_mtim.tv_nsec == 123456789);
	assert_int_equal(root_symlink(root, "t", "x/l", "second", 78, 0, NULL, NULL), 0);
	char target[16] = {0};
	assert_int_equal(readlink("dst/x/l", target, sizeof target - 1), 6);
	assert_string_equal(target, "second");
	assert_int_equal(root_symlink(root, "t", "x/l", "", 78, 0, NULL, NULL), -ENOENT);
	assert_int_equal(root_symlink(root, "t", "x/l", "t", 78, 1000000000, NULL, NULL), -EINVAL);
	assert_int_equal(rmdir("dst/.haul"), 0);
}

static void temporary_names(void **state)
{
	(void)state;
	char name[ROOT_TEMP_MAX];
	static const char *const bad[] = {"", "a/b", "A", "a b", "0123456789012345678901234567890123456789x"};
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_int_equal(root_temp_open(root, bad[i], 1, name), -EINVAL);
	int fd = root_temp_open(root, "0123456789012345678901234567890123456789", UINT64_MAX, name);
	assert_true(fd >= 0);
	assert_string_equal(name, "0123456789012345678901234567890123456789-ffffffffffffffff.part");
	struct stat st;
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	close(fd);
	assert_int_equal(root_temp_open(root, "0123456789012345678901234567890123456789", UINT64_MAX, name),
			 -EEXIST);
	root_tidy(root);
	assert_int_equal(stat("dst/.haul", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(root_temp_unlink(root, name), 0);
	assert_int_equal(root_temp_unlink(root, "../x"), -EINVAL);
	assert_int_equal(root_commit(root, "t", name, "f", false, false), -ENOENT);
	root_tidy(root);
	assert_int_equal(access("dst/.haul", F_OK), -1);
	assert_int_equal(send_file("f", "x", false, false), 0); /* made again */
}

static void state_directory_is_checked(void **state)
{
	(void)state;
	char name[ROOT_TEMP_MAX];
	struct stat st;
	assert_int_equal(symlink("../outside", "dst/.haul"), 0);
	assert_int_equal(root_temp_open(root, "t", 1, name), -ENOTDIR);
	assert_int_equal(root_symlink(root, "t", "l", "t", 1, 1, NULL, NULL), -ENOTDIR);
	root_tidy(root);
	assert_int_equal(unlink("dst/.haul"), 0);
	assert_int_equal(put("dst/.haul", "x"), 0);
	assert_int_equal(root_temp_open(root, "t", 1, name), -ENOTDIR);
	assert_int_equal(unlink("dst/.haul"), 0);
	assert_int_equal(mkdir("dst/.haul", 0777), 0);
	if (geteuid() == 0) {
		assert_int_equal(chown("dst/.haul", 65534, 65534), 0);
		assert_int_equal(root_temp_open(root, "t", 1, name), -EPERM);
		assert_int_equal(chown("dst/.haul", 0, 0), 0);
	}
	assert_int_equal(send_file("f", "x", false, false), 0);
	assert_int_equal(stat("dst/.haul", &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
}

static void looking(void **state)
{
	(void)state;
	struct haul_err err = {0};
	struct root *seen;
	struct stat st;
	static const char *const absent[][2] = {{"new", NULL}, {"new", "sub"}, {"dst", "sub/deep"}};
	for (size_t i = 0; i < 3; i++) {
		const char *name;
		bool created;
		assert_int_equal(root_look(absent[i][0], absent[i][1], &seen, &err), HAUL_OK);
		assert_int_equal(root_fd(seen), -1);
		assert_int_equal(root_stat(seen, "f", &st), -ENOENT);
		assert_null(root_dir_get(seen, "a/f", true, &name));
		assert_int_equal(root_mkdir(seen, "d", &created), -ENOENT);
		root_tidy(seen);
		root_close(seen);
	}
	assert_int_equal(access("new", F_OK), -1);
	assert_int_equal(access("dst/sub", F_OK), -1);
	assert_int_equal(put("dst/f", "x"), 0);
	assert_int_equal(root_look("dst", NULL, &seen, &err), HAUL_OK);
	assert_int_equal(root_stat(seen, "f", &st), 0);
	root_close(seen);
	assert_int_equal(root_look("no/such", NULL, &seen, &err), HAUL_IO);
	haul_err_clear(&err);
	assert_int_equal(root_look("outside/secret", NULL, &seen, &err), HAUL_IO);
	haul_err_clear(&err);
	assert_int_equal(symlink("nowhere", "dangling"), 0);
	assert_int_equal(root_look("dangling", NULL, &seen, &err), HAUL_IO);
	haul_err_clear(&err);
	assert_int_equal(root_look("dst", "../outside", &seen, &err), HAUL_POLICY);
}

static void opening(void **state)
{
	(void)state;
	struct haul_err err = {0};
	struct root *other;
	assert_int_equal(root_open("no/such", NULL, &other, &err), HAUL_IO);
	assert_non_null(strstr(err.why, strerror(ENOENT)));
	assert_null(other);
	haul_err_clear(&err);
	assert_int_equal(root_open("outside/secret", NULL, &other, &err), HAUL_IO);
	haul_err_clear(&err);
	assert_int_equal(root_open("dst", "../outside", &other, &err), HAUL_POLICY);
	haul_err_clear(&err);
	assert_int_equal(symlink("../outside", "dst/link"), 0);
	assert_int_equal(root_open("dst", "link/x", &other, &err), HAUL_POLICY);
	haul_err_clear(&err);
	assert_int_equal(root_open("dst", "sub/deep", &other, &err), HAUL_OK);
	struct root *first = root;
	root = other;
	int rc = send_file("f", "x", false, false);
	root = first;
	assert_int_equal(rc, 0);
	assert_string_equal(get("dst/sub/deep/f"), "x");
	assert_int_equal(access("dst/sub/deep/.haul", F_OK), 0);
	root_close(other);
	root_close(NULL);
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

static void cache_is_bounded(void **state)
{
	(void)state;
	char path[64];
	size_t before = open_fds();
	for (int i = 0; i < 600; i++) {
		snprintf(path, sizeof path, "d%d/e/f", i % 200);
		assert_int_equal(send_file(path, path, false, false), 0);
	}
	assert_true(open_fds() <= before + 64 + 1);
	assert_string_equal(get("dst/d199/e/f"), "d199/e/f");
}

static void removed_directories(void **state)
{
	(void)state;
	bool created;
	struct stat st;
	assert_int_equal(send_file("a/b/c/f", "1", false, false), 0);
	remove_tree("dst/a");
	assert_int_equal(send_file("a/b/c/f", "2", false, false), 0);
	assert_string_equal(get("dst/a/b/c/f"), "2");
	remove_tree("dst/a");
	assert_int_equal(root_mkdir(root, "a/b/c/d", &created), 0);
	assert_true(created);
	remove_tree("dst/a");
	assert_int_equal(root_symlink(root, "t", "a/b/c/l", "t", 1, 1, NULL, NULL), 0);
	assert_int_equal(lstat("dst/a/b/c/l", &st), 0);
	remove_tree("dst/.haul");
	assert_int_equal(send_file("a/f", "3", false, false), 0);
	assert_string_equal(get("dst/a/f"), "3");
	remove_tree("dst/a");
	assert_int_equal(symlink("../outside", "dst/a"), 0);
	int rc = send_file("a/f", "4", false, false);
	assert_true(rc == -ELOOP || rc == -ENOTDIR);
}

static void longest_path(void **state)
{
	(void)state;
	static char path[ROOT_PATH_MAX + 1];
	struct stat st;
	bool created;
	memset(path, 'x', ROOT_PATH_MAX);
	for (size_t i = 255; i < 3840; i += 256)
		path[i] = '/';
	path[3967] = '/';
	assert_int_equal(send_file(path, "deep", false, true), 0);
	assert_int_equal(send_file(path, "again", false, false), 0);
	assert_int_equal(root_stat(root, path, &st), 0);
	assert_int_equal(st.st_size, 5);
	path[4095] = 'd';
	assert_int_equal(root_mkdir(root, path, &created), 0);
	assert_int_equal(root_dir_meta(root, path, 0755, 5, 5), 0);
	memset(path, 'y', 511);
	for (size_t i = 1; i < 511; i += 2)
		path[i] = '/';
	path[511] = '\0';
	assert_int_equal(send_file(path, "256 levels", false, false), 0);
}

static void *commit_many(void *arg)
{
	int self = *(int *)arg, failed = 0;
	for (int i = 0; i < 200; i++) {
		char path[64], text[16];
		struct stat st;
		bool created;
		snprintf(path, sizeof path, "n%d/m%d/f%d", i % 90, i % 7, self == 0 ? i : i % 20);
		snprintf(text, sizeof text, "%d", i);
		failed += send_file(path, text, false, i % 5 == 0) != 0;
		failed += root_stat(root, path, &st) != 0;
		snprintf(path, sizeof path, "n%d/k%d", i % 90, i % 11);
		failed += root_mkdir(root, path, &created) != 0;
		failed += root_dir_meta(root, path, 0750, i, 0) != 0;
		if (i % 50 == 0)
			root_tidy(root);
	}
	*(int *)arg = failed;
	return NULL;
}

static void four_threads(void **state)
{
	(void)state;
	pthread_t threads[4];
	int results[4] = {0, 1, 2, 3};
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, commit_many, &results[i]), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < 4; i++)
		assert_int_equal(results[i], 0);
	assert_string_equal(get("dst/n19/m3/f199"), "199");
}

static _Atomic bool flipping;

static void *flip(void *arg)
{
	(void)arg;
	size_t flips = 0;
	while (atomic_load(&flipping))
		flips += renameat2(AT_FDCWD, "dst/a", AT_FDCWD, "dst/b", RENAME_EXCHANGE) == 0;
	return (void *)(uintptr_t)flips;
}

/* dst/a is a directory half of the time and a link to the outside otherwise. */
static void flipping_symlink(void **state)
{
	(void)state;
	pthread_t thread;
	assert_int_equal(mkdir("dst/a", 0755), 0);
	assert_int_equal(symlink("../outside", "dst/b"), 0);
	atomic_store(&flipping, true);
	assert_int_equal(pthread_create(&thread, NULL, flip, NULL), 0);
	int refused = 0;
	for (int i = 0; i < 1000; i++) {
		char path[64];
		bool created;
		snprintf(path, sizeof path, "a/d%d/secret", i);
		refused += send_file(path, "evil", false, false) != 0;
		snprintf(path, sizeof path, "a/e%d", i);
		refused += root_mkdir(root, path, &created) != 0;
		refused += root_dir_meta(root, "a", 0777, i, 0) != 0;
		refused += send_file("a/secret", "evil", false, true) != 0;
	}
	atomic_store(&flipping, false);
	void *flips;
	pthread_join(thread, &flips);
	assert_true((uintptr_t)flips > 100 && refused > 0); /* or nothing was tested */
	struct stat st;
	assert_int_equal(stat("outside", &st), 0);
	assert_int_equal(st.st_mode & 0777, 0755);
}

static int deny(bool links)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, links ? SYS_linkat : SYS_openat2, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_renameat2, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[4])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, RENAME_NOREPLACE, 3, 2),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
	};
	struct sock_fprog prog = {.len = COUNT(code), .filter = code};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
static const struct CMUnitTest root_tests[] = {
	TEST(names),
	TEST(name_limits),
	TEST(refused_everywhere),
	TEST(symlink_components),
	TEST(final_symlink_is_replaced),
	TEST(things_in_the_way),
	TEST(replace_and_noreplace),
	TEST(backup),
	TEST(directories),
	TEST(metadata),
	TEST(temporary_names),
	TEST(state_directory_is_checked),
	TEST(opening),
	TEST(looking),
	TEST(cache_is_bounded),
	TEST(removed_directories),
	TEST(longest_path),
	TEST(four_threads),
	TEST(flipping_symlink),
};

/* What does not depend on a name staying there while it is backed up. */
static const struct CMUnitTest linkless_tests[] = {
	TEST(things_in_the_way), TEST(replace_and_noreplace), TEST(backup),
	TEST(metadata),		 TEST(removed_directories),
};

static int run_full(void)
{
	return deny(false) != 0 ||
	       cmocka_run_group_tests_name("root, old kernel", root_tests, NULL, NULL) != 0;
}

static int run_linkless(void)
{
	return deny(true) != 0 ||
	       cmocka_run_group_tests_name("root, no links", linkless_tests, NULL, NULL) != 0;
}

static int in_child(int (*run)(void))
{
	int status = -1;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		_exit(run());
	waitpid(pid, &status, 0);
	return status != 0;
}

int main(void)
{
	umask(022);
	int failed = cmocka_run_group_tests_name("root", root_tests, NULL, NULL);
	return failed != 0 || in_child(run_full) || in_child(run_linkless);
}
