/*
 * lib/sandbox: each sandbox is entered in a child, which then tries what it must not be able to do any more,
 * and what it must. Without a filter (sanitizers) only the part of Landlock is expected, and said.
 */
#include "lib/sandbox.h"

#include "tests/unit/unit.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "lib/landlock.h"
#include "lib/porter.h"
#include "lib/root.h"
#include "lib/seccomp.h"

#define KILLED	   (1000 + SIGSYS)
#define CANNOT	   240 /* the sandbox itself could not be entered */
#define CLOSED	   1   /* ports nobody listens on */
#define OTHER_PORT 2

static struct haul_config cfg;
static char *command = (char *)(uintptr_t) "exec cat";
static char *tcp_host = (char *)(uintptr_t) "127.0.0.1", *tcp_port = (char *)(uintptr_t) "1";

/* ---- what a process may try: 0 or errno ---- */

static int result(long rc)
{
	return rc < 0 ? errno : 0;
}

static int try_exec(void)
{
	return result(execl("/bin/true", "true", (char *)NULL));
}

static int try_fork(void)
{
	return result(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
}

static int try_socket(void)
{
	return result(socket(AF_INET, SOCK_STREAM, 0));
}

static int try_ptrace(void)
{
	return result(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

static int try_ring(void)
{
	char params[120] = {0};
	return result(syscall(SYS_io_uring_setup, 8, params));
}

static int try_root(void)
{
	return result(setuid(0));
}

static int try_open_outside(void)
{
	return result(open("outside/file", O_RDONLY));
}

static int open2(const char *path, uint64_t flags)
{
	struct {
		uint64_t flags, mode, resolve;
	} how = {flags, flags & O_CREAT ? 0600 : 0, 0};
	return (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
}

static int try_open2_outside(void)
{
	return result(open2("outside/file", O_RDONLY));
}

static int try_list_outside(void)
{
	return result(open2("outside", O_RDONLY | O_DIRECTORY));
}

static int try_planted_link(void)
{
	return result(open2("dir/link", O_WRONLY));
}

static int try_make_outside(void)
{
	return result(open2("outside/new", O_WRONLY | O_CREAT));
}

static int try_mkdir_outside(void)
{
	return result(mkdirat(AT_FDCWD, "outside/d", 0755));
}

static int try_unlink_outside(void)
{
	return result(unlinkat(AT_FDCWD, "outside/file", 0));
}

static int try_rename_out(void)
{
	return result(renameat(AT_FDCWD, "dir/file", AT_FDCWD, "outside/taken"));
}

static int try_chmod_outside(void)
{
	return result(chmod("outside/file", 0777));
}

static int try_fchmodat_outside(void)
{
	return result(fchmodat(AT_FDCWD, "outside/file", 0777, 0));
}

static int try_utimes_outside(void)
{
	struct timespec t[2] = {{0}, {0}};
	return result(utimensat(AT_FDCWD, "outside/file", t, 0));
}

static int try_setxattr_outside(void)
{
	return result(syscall(SYS_setxattr, "outside/file", "user.x", "y", 1, 0));
}

static int try_truncate_outside(void)
{
	return result(truncate("outside/file", 0));
}

static int try_fifo(void)
{
	return result(syscall(SYS_mknodat, AT_FDCWD, "dir/fifo", S_IFIFO | 0600, 0));
}

static int try_exec_memory(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
		       ? errno
		       : 0;
}

static int try_x32(void)
{
	return result(syscall(0x40000000L + 39));
}

static int try_unknown(void)
{
	return result(syscall(9999));
}

/* What the receiver itself does, in its own words. */
static int try_receive(void)
{
	struct root *root;
	struct haul_err err = {0};
	struct stat st;
	char temp[ROOT_TEMP_MAX];
	bool created;
	if (root_open("dir", NULL, &root, &err) != HAUL_OK)
		return EIO;
	if (sandbox_receiver(&cfg, root_fd(root), NULL, &(struct sandbox){0}, &err) != HAUL_OK)
		return CANNOT;
	int fd = root_temp_open(root, "t", 1, temp);
	int rc = fd < 0 || write(fd, "x", 1) != 1 || fchmod(fd, 0600) || fsync(fd) ? EIO : 0;
	if (rc == 0)
		rc = -root_mkdir(root, "sub", &created);
	if (rc == 0)
		rc = -root_commit(root, "t", temp, "sub/deep/file", false, false);
	if (rc == 0)
		rc = -root_symlink(root, "t", "sub/link", "target", 1000000000, 5, NULL, NULL);
	if (rc == 0)
		rc = -root_stat(root, "sub/link", &st);
	if (rc == 0 && (st.st_mtim.tv_sec != 1000000000 || st.st_mtim.tv_nsec != 5))
		rc = ERANGE;
	return rc ? rc : -root_dir_meta(root, "sub", 0711, 1000000000, 7);
}

static int try_directory_without_rights(void)
{
	struct root *root;
	struct haul_err err = {0};
	bool created;
	if (geteuid() == 0 && (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534)))
		return EIO;
	if (root_open("dir", NULL, &root, &err) != HAUL_OK)
		return EIO;
	if (mkdir("dir/closed", 0300) || mkdir("dir/none", 0))
		return errno;
	if (sandbox_receiver(&cfg, root_fd(root), NULL, &(struct sandbox){0}, &err) != HAUL_OK)
		return CANNOT;
	int rc = -root_mkdir(root, "closed", &created);
	return rc ? rc : -root_mkdir(root, "none", &created);
}

static void *nothing(void *arg)
{
	return arg;
}

static int try_thread(void)
{
	pthread_t t;
	int rc = pthread_create(&t, NULL, nothing, NULL);
	return rc ? rc : pthread_join(t, NULL);
}

static int try_open_inside(void)
{
	return result(open2("dir/file", O_RDWR));
}

static int try_read_inside(void)
{
	return result(openat(AT_FDCWD, "dir/file", O_RDONLY));
}

static int try_write_inside(void)
{
	return result(openat(AT_FDCWD, "dir/file", O_RDWR));
}

static int try_unlink_inside(void)
{
	return result(unlinkat(AT_FDCWD, "dir/file", 0));
}

static int connect_to(unsigned port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	return fd < 0 ? errno : result(connect(fd, (struct sockaddr *)&in, sizeof in));
}

static int try_connect(void)
{
	return connect_to(CLOSED);
}

static int try_connect_elsewhere(void)
{
	return connect_to(OTHER_PORT);
}

/* A session of a listener: forked, then confined further. */
static int try_session(void)
{
	int status;
	pid_t pid = fork();
	if (pid == 0)
		_exit(try_receive());
	return pid < 0						      ? errno
	       : waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status)
								      : EIO;
}

/* ---- entering ---- */

static int as_receiver(void)
{
	struct sandbox now;
	struct haul_err err = {0};
	/* neither can be asked for later */
	unsigned abi = landlock_abi();
	bool filters = seccomp_available();
	int fd = open("dir", O_RDONLY | O_DIRECTORY);
	if (fd < 0 || sandbox_receiver(&cfg, fd, NULL, &now, &err) != HAUL_OK || !abi || now.abi != abi)
		return CANNOT;
	return (now.calls > 0) == filters ? 0 : CANNOT;
}

static int as_sink(void)
{
	struct haul_err err = {0};
	return sandbox_receiver(&cfg, -1, NULL, &(struct sandbox){0}, &err) == HAUL_OK ? 0 : CANNOT;
}

static int as_sender(void)
{
	const char *sources[] = {"dir"};
	struct haul_err err = {0};
	struct endpoint to = {.kind = ENDPOINT_TCP, .host = tcp_host, .port = tcp_port};
	return sandbox_sender(&cfg, sources, 1, &to, &(struct sandbox){0}, &err) == HAUL_OK ? 0 : CANNOT;
}

static int as_sender_that_removes(void)
{
	cfg.remove_source_files = true;
	return as_sender();
}

static int as_listener(void)
{
	struct haul_err err = {0};
	struct endpoint at = {.kind = ENDPOINT_TCP, .host = tcp_host, .port = tcp_port};
	return sandbox_listener(&cfg, &at, "top/dir", NULL, 0, &err) == HAUL_OK ? 0 : CANNOT;
}

static int as_nobody(void)
{
	return 0;
}

/* What becomes of a child that enters and then tries: 0, errno, or 1000 + the signal that ended it. */
static int outcome(int (*enter)(void), int (*attempt)(void))
{
	int status;
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
		int rc = enter();
		_exit(rc ? rc : attempt());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

struct attempt {
	const char *what;
	int (*try)(void);
	int want;
	bool filtered; /* by seccomp: without it only Landlock stands in the way, or nothing */
};

static void attempt_all(int (*enter)(void), const struct attempt *a, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (a[i].filtered && !seccomp_available())
			continue;
		int got = outcome(enter, a[i].try);
		if (got != a[i].want)
			fail_msg("%s: got %d, want %d", a[i].what, got, a[i].want);
	}
}

static void outside_is_untouched(void)
{
	struct stat st;
	assert_int_equal(stat("outside/file", &st), 0);
	assert_int_equal(st.st_size, 6);
	assert_int_equal(st.st_mode & 0777, 0644);
	assert_true(st.st_mtim.tv_sec != 0);
	assert_int_equal(access("outside/new", F_OK), -1);
	assert_int_equal(access("outside/taken", F_OK), -1);
	assert_int_equal(access("outside/d", F_OK), -1);
}

static int setup(void **state)
{
	if (enter_scratch(state) != 0 || mkdir("dir", 0777) || mkdir("outside", 0755) || mkdir("top", 0777) ||
	    chmod("dir", 0777) || chmod(".", 0777) || symlink("../outside/file", "dir/link"))
		return -1;
	put_file("outside/file", "secret", 6);
	put_file("dir/file", "mine", 4);
	cfg = (struct haul_config){.sandbox = SANDBOX_AUTO, .jobs = 1};
	return 0;
}

/* ---- tests ---- */

static const struct attempt forbidden_anyway[] = {
	{"execve", try_exec, KILLED, true},
	{"ptrace", try_ptrace, KILLED, true},
	{"io_uring", try_ring, KILLED, true},
	{"setuid", try_root, KILLED, true},
	{"chmod outside", try_chmod_outside, EACCES, true},
	{"fchmodat outside", try_fchmodat_outside, EACCES, true},
	{"setxattr outside", try_setxattr_outside, EACCES, true},
	{"truncate outside", try_truncate_outside, EACCES, true},
	{"utimensat outside", try_utimes_outside, EACCES, true},
	{"executable memory", try_exec_memory, EACCES, true},
	{"a call nobody knows", try_unknown, ENOSYS, true},
#ifdef __x86_64__
	{"the x32 ABI", try_x32, KILLED, true},
#endif
	{"open outside", try_open_outside, EACCES, false},
	{"create outside", try_make_outside, EACCES, false},
	{"mkdir outside", try_mkdir_outside, EACCES, false},
	{"unlink outside", try_unlink_outside, EACCES, false},
};

static void receiver(void **state)
{
	static const struct attempt own[] = {
		{"fork", try_fork, KILLED, true},
		{"socket", try_socket, KILLED, true},
		{"openat inside", try_read_inside, EACCES, true},
		{"openat2 outside", try_open2_outside, EACCES, false},
		{"list outside", try_list_outside, EACCES, false},
		{"write through a planted link", try_planted_link, EACCES, false},
		{"move out", try_rename_out, EACCES, false},
		{"FIFO inside", try_fifo, EACCES, false},
		{"open inside", try_open_inside, 0, false},
		{"a thread", try_thread, 0, false},
	};
	(void)state;
	attempt_all(as_receiver, forbidden_anyway, COUNT(forbidden_anyway));
	attempt_all(as_receiver, own, COUNT(own));
	outside_is_untouched();
	assert_int_equal(outcome(as_nobody, try_receive), 0);
	assert_int_equal(outcome(as_nobody, try_directory_without_rights), 0);
}

/* A stream into a descriptor needs no files at all. */
static void receiver_of_a_stream(void **state)
{
	static const struct attempt own[] = {
		{"fork", try_fork, KILLED, true},
		{"socket", try_socket, KILLED, true},
		{"open inside", try_open_inside, EACCES, false},
		{"a thread", try_thread, 0, false},
	};
	(void)state;
	attempt_all(as_sink, forbidden_anyway, COUNT(forbidden_anyway));
	attempt_all(as_sink, own, COUNT(own));
	outside_is_untouched();
}

static void sender(void **state)
{
	static const struct attempt own[] = {
		{"fork", try_fork, KILLED, true},
		{"read a source", try_read_inside, 0, false},
		{"write a source", try_write_inside, EACCES, false},
		{"remove a source", try_unlink_inside, EACCES, false},
		{"openat2 outside", try_open2_outside, EACCES, false},
		{"list outside", try_list_outside, EACCES, false},
		{"connect", try_connect, ECONNREFUSED, false},
		{"a thread", try_thread, 0, false},
	};
	(void)state;
	attempt_all(as_sender, forbidden_anyway, COUNT(forbidden_anyway));
	attempt_all(as_sender, own, COUNT(own));
	assert_int_equal(outcome(as_sender, try_connect_elsewhere),
			 landlock_abi() >= 4 ? EACCES : ECONNREFUSED);
	outside_is_untouched();
	assert_int_equal(outcome(as_sender_that_removes, try_unlink_inside), 0);
}

static void listener(void **state)
{
	static const struct attempt own[] = {
		{"socket", try_socket, KILLED, true},
		{"openat2 outside", try_open2_outside, EACCES, false},
	};
	(void)state;
	attempt_all(as_listener, forbidden_anyway, COUNT(forbidden_anyway));
	attempt_all(as_listener, own, COUNT(own));
	outside_is_untouched();
	/* DIR does not exist yet when the listener is confined */
	assert_int_equal(mkdir("top/dir", 0777), 0);
	assert_int_equal(chdir("top"), 0);
	assert_int_equal(symlink("..", "top"), 0);
	assert_int_equal(outcome(as_listener, try_session), 0);
	assert_int_equal(access("dir/sub/deep/file", F_OK), 0);
}

/* ---- where there is less ---- */

static void without_landlock(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 444, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {COUNT(code), code};
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

static int on_an_old_kernel(void)
{
	struct sandbox now;
	struct haul_err err = {0};
	int fd = open("dir", O_RDONLY | O_DIRECTORY);
	bool filters = seccomp_available();
	without_landlock();
	if (landlock_abi() != 0 || sandbox_receiver(&cfg, fd, NULL, &now, &err) != HAUL_OK || now.abi != 0)
		return CANNOT;
	return (now.calls > 0) == filters ? 0 : CANNOT;
}

static int required_on_an_old_kernel(void)
{
	struct sandbox now;
	struct haul_err err = {0};
	without_landlock();
	cfg.sandbox = SANDBOX_REQUIRE;
	return sandbox_receiver(&cfg, AT_FDCWD, NULL, &now, &err) == HAUL_USAGE ? 0 : CANNOT;
}

static void old_kernel(void **state)
{
	(void)state;
	assert_int_equal(outcome(on_an_old_kernel, try_open2_outside), 0);
	assert_int_equal(outcome(required_on_an_old_kernel, try_open2_outside), 0);
	if (seccomp_available())
		assert_int_equal(outcome(on_an_old_kernel, try_exec), KILLED);
}

static int required(void)
{
	cfg.sandbox = SANDBOX_REQUIRE;
	return as_receiver();
}

static int not_wanted(void)
{
	cfg.no_sandbox = true;
	struct haul_err err = {0};
	struct sandbox now;
	return sandbox_receiver(&cfg, AT_FDCWD, NULL, &now, &err) == HAUL_OK && !now.abi && !now.calls
		       ? 0
		       : CANNOT;
}

/* What is to carry the connection runs, though nothing can be started any more. */
static int carried_by_a_program(void)
{
	struct haul_err err = {0};
	struct sandbox now;
	struct endpoint dial = {.kind = ENDPOINT_EXEC, .path = command};
	const char *sources[] = {"dir"};
	char word[8], text[PORTER_TEXT_MAX];
	int fd;
	if (sandbox_sender(&cfg, sources, 1, &dial, &now, &err) != HAUL_OK || !now.abi)
		return CANNOT;
	for (int i = 0; i < 2; i++) {
		if (porter_dial(&fd, text) != 0 || write(fd, "word\n", 5) != 5)
			return CANNOT;
		while (read(fd, word, 5) < 0 && errno == EAGAIN)
			;
		if (memcmp(word, "word\n", 5) != 0)
			return CANNOT;
		close(fd);
	}
	porter_stop();
	return porter_runs() ? CANNOT : 0;
}

static void modes(void **state)
{
	(void)state;
	assert_int_equal(outcome(required, try_thread), seccomp_available() ? 0 : CANNOT);
	assert_int_equal(outcome(not_wanted, try_exec), 0);
	assert_int_equal(outcome(carried_by_a_program, try_exec), seccomp_available() ? KILLED : EACCES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(receiver, setup, leave_scratch),
		cmocka_unit_test_setup_teardown(receiver_of_a_stream, setup, leave_scratch),
		cmocka_unit_test_setup_teardown(sender, setup, leave_scratch),
		cmocka_unit_test_setup_teardown(listener, setup, leave_scratch),
		cmocka_unit_test_setup_teardown(old_kernel, setup, leave_scratch),
		cmocka_unit_test_setup_teardown(modes, setup, leave_scratch),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
