/* lib/command: children with one pipe, and how they end. */
#include "unit.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "lib/clock.h"
#include "lib/command.h"

static size_t read_all(int fd, char *out, size_t cap)
{
	size_t n = 0;
	for (ssize_t got; n < cap && (got = read(fd, out + n, cap - n)) > 0;)
		n += (size_t)got;
	return n;
}

static void produces(void **state)
{
	int fd = -1;
	char out[64], text[64];
	(void)state;
	pid_t pid = command_start("printf 'one two'", true, &fd);
	assert_true(pid > 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(read_all(fd, out, sizeof out), 7);
	assert_memory_equal(out, "one two", 7);
	assert_null(command_wait(pid, text));
	close(fd);
}

static void consumes(void **state)
{
	int fd = -1;
	char out[64], text[64];
	(void)state;
	pid_t pid = command_start("cat >got", false, &fd);
	assert_true(pid > 0);
	assert_int_equal(write(fd, "hello", 5), 5);
	close(fd);
	assert_null(command_wait(pid, text));
	assert_int_equal(get_file("got", out, sizeof out), 5);
}

static void endings(void **state)
{
	static const struct {
		const char *cmd, *want;
	} table[] = {
		{"true", NULL},
		{"exit 3", "exit status 3"},
		{"kill -9 $$", "killed by signal 9"},
		{"no-such-command-here 2>/dev/null", "exit status 127"},
		{"kill -PIPE $$", "killed by signal 13"}, /* ignored here, not in the child */
	};
	char text[64];
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < COUNT(table); i++) {
		int fd = -1;
		const char *why = command_wait(command_start(table[i].cmd, true, &fd), text);
		close(fd);
		if (table[i].want)
			assert_string_equal(why, table[i].want);
		else
			assert_null(why);
	}
	assert_string_equal(command_wait(getpid(), text), "lost");
}

/* A mask of ours must not be the child's, or SIGTERM would not reach it. */
static void killing(void **state)
{
	static const char *const stubborn[] = {"exec sleep 60", "trap '' TERM; sleep 60 & wait; sleep 60"};
	sigset_t all, before;
	(void)state;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	for (size_t i = 0; i < COUNT(stubborn); i++) {
		int fd = -1;
		pid_t pid = command_start(stubborn[i], true, &fd);
		assert_true(pid > 0);
		uint64_t start = clock_now_ms();
		command_kill(pid);
		assert_true(clock_now_ms() - start < 5000);
		assert_int_equal(waitpid(pid, NULL, 0), -1);
		assert_int_equal(errno, ECHILD);
		close(fd);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(produces),
		cmocka_unit_test(consumes),
		cmocka_unit_test(endings),
		cmocka_unit_test(killing),
	};
	return cmocka_run_group_tests(tests, enter_scratch, leave_scratch);
}
