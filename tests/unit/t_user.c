/* lib/user: becoming somebody else, in children; as root it succeeds, as anybody else it is refused. */
#include "lib/user.h"

#include "tests/unit/unit.h"

#include <grp.h>
#include <sys/types.h>
#include <sys/wait.h>

#define NOBODY 65534u

static int become(const char *spec)
{
	struct haul_err err = {0};
	int status;
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit((int)user_become(spec, &err));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void refusals(void **state)
{
	static const char *const bad[] = {
		"",	    "root", "0",  "no-such-user-here", "nobody:", "nobody:no-such-group",
		":nogroup", "12x",  "-1", "4294967295"};
	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_int_equal(become(bad[i]), HAUL_USAGE);
	char longest[600];
	memset(longest, 'x', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	assert_int_equal(become(longest), HAUL_USAGE);
}

/* Run in a child: 0 when nothing of root is left. */
static int after(const char *spec, gid_t gid)
{
	struct haul_err err = {0};
	gid_t groups[8], more[] = {0, 1, 2};
	if (setgroups(3, more) != 0 || user_become(spec, &err) != HAUL_OK)
		return 1;
	int n = getgroups(8, groups);
	if (getuid() != NOBODY || geteuid() != NOBODY || getgid() != gid || getegid() != gid)
		return 2;
	if (n != 1 || groups[0] != gid)
		return 3;
	if (setuid(0) == 0 || seteuid(0) == 0 || setgid(0) == 0 || setgroups(1, more) == 0)
		return 4;
	if (open("secret", O_RDONLY) >= 0)
		return 5;
	return user_become(spec, &err) == HAUL_OK ? 0 : 6; /* it is that user already */
}

static void for_good(void **state)
{
	(void)state;
	static const struct {
		const char *spec;
		gid_t gid;
	} who[] = {{"nobody", NOBODY}, {"65534", NOBODY}, {"nobody:daemon", 1}, {"nobody:7", 7}};
	put_file("secret", "x", 1);
	assert_int_equal(chmod("secret", 0600), 0);
	for (size_t i = 0; i < COUNT(who); i++) {
		int status;
		if (geteuid() != 0) { /* only root can become another one */
			assert_int_equal(become(who[i].spec), HAUL_USAGE);
			continue;
		}
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			_exit(after(who[i].spec, who[i].gid));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refusals),
		cmocka_unit_test_setup_teardown(for_good, enter_scratch, leave_scratch),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
