/* What most tests begin with: cmocka and what it needs, and a directory of their own. */
#ifndef HAUL_TESTS_UNIT_H
#define HAUL_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* A fresh directory, which becomes the working one; removed by leave_scratch. */
static char scratch_dir[64];

__attribute__((unused)) static int enter_scratch(void **state)
{
	(void)state;
	snprintf(scratch_dir, sizeof scratch_dir, "/tmp/haul-unit.XXXXXX");
	return mkdtemp(scratch_dir) && chdir(scratch_dir) == 0 ? 0 : -1;
}

__attribute__((unused)) static int leave_scratch(void **state)
{
	char cmd[192];
	(void)state;
	snprintf(cmd, sizeof cmd, "chmod -R u+rwx %s; rm -rf %s", scratch_dir, scratch_dir);
	return chdir("/") == 0 && system(cmd) == 0 ? 0 : -1;
}

__attribute__((unused)) static void put_file(const char *path, const void *p, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	assert_true(fd >= 0);
	for (const char *at = p; n;) {
		ssize_t put = write(fd, at, n);
		assert_true(put > 0);
		at += put;
		n -= (size_t)put;
	}
	close(fd);
}

/* Length of the file's content, which is cut to cap; -1 without a file. */
__attribute__((unused)) static ssize_t get_file(const char *path, void *p, size_t cap)
{
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		return -1;
	size_t n = 0;
	for (ssize_t got; n < cap && (got = read(fd, (char *)p + n, cap - n)) > 0;)
		n += (size_t)got;
	close(fd);
	return (ssize_t)n;
}

#endif
