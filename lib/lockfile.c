#include "lib/lockfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/digest.h"

/* There is no way to wait for a lock and a clock at once: look again this often. */
#define LOOK_MS 100

static void default_name(const char *dest, char name[static 512])
{
	const char *dir = getenv("XDG_RUNTIME_DIR");
	snprintf(name, 512, "%.400s/haul-%u-%016llx.lock", dir && dir[0] == '/' ? dir : "/tmp",
		 (unsigned)getuid(), (unsigned long long)digest_stamp(dest, strlen(dest)));
}

enum haul_rc lockfile_take(const char *file, const char *dest, uint64_t wait_ms, int *fd,
			   struct haul_err *err)
{
	char name[512];
	if (!*file) {
		default_name(dest, name);
		file = name;
	}
	*fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
	struct stat st;
	if (*fd < 0 || fstat(*fd, &st) < 0)
		return haul_fail(err, HAUL_IO, errno, file, "cannot be used as a lock");
	if (st.st_uid != geteuid() && st.st_uid != 0) {
		close(*fd);
		return haul_fail(err, HAUL_USAGE, 0, file, "cannot be used as a lock: it is another user's");
	}
	uint64_t until = wait_ms > UINT64_MAX - clock_now_ms() ? UINT64_MAX : clock_now_ms() + wait_ms;
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	while (fcntl(*fd, F_OFD_SETLK, &lock) < 0) {
		bool held = errno == EAGAIN || errno == EACCES;
		if (held && clock_now_ms() < until) {
			poll(NULL, 0, LOOK_MS);
			continue;
		}
		int sys = held ? 0 : errno;
		close(*fd);
		*fd = -1;
		return held ? haul_fail(err, HAUL_BUSY, 0, file, "another run holds the lock")
			    : haul_fail(err, HAUL_IO, sys, file, "cannot be locked");
	}
	return HAUL_OK;
}
