#include "lib/boot.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/beneath.h"
#include "lib/digest.h"
#include "lib/entropy.h"

#define START_FIELD 22 /* of /proc/PID/stat, see proc(5) */
#define NAME_FIELD  2  /* in parentheses, may hold blanks and parentheses itself */

static uint64_t this_boot;
static int proc = -1; /* for good: in a sandbox it can be looked into, but not opened */

/* At most size - 1 bytes, then a NUL; how many, 0 on any failure. */
static size_t read_text(const char *path, char *text, size_t size)
{
	int fd = open_beneath(proc, path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n > 0 ? (size_t)n : 0;
}

static void find_out(void)
{
	char text[64];
	proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	size_t n = read_text("sys/kernel/random/boot_id", text, sizeof text);
	this_boot = n ? digest_stamp(text, n) : entropy_u64();
}

uint64_t boot_id(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, find_out);
	return this_boot;
}

uint64_t boot_process_start(pid_t pid)
{
	char path[32], text[1024];
	boot_id();
	snprintf(path, sizeof path, "%d/stat", (int)pid);
	const char *at = read_text(path, text, sizeof text) ? strrchr(text, ')') : NULL;
	for (int field = NAME_FIELD; at && field < START_FIELD; field++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at, NULL, 10) : 0;
}
