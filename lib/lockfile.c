#include "lib/lockfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/digest.h"

/* There is no way to wait for a lock and a clock at once: look again this often. */
#define LOOK_MS 100

static void default_name(const char *dest, char name[static 512])
{
	snprintf(name, 512, "/tmp/haul-%u-%016llx.lock", (unsigned)getuid(),
		 (unsigned long long)digest_stamp(dest, strlen(dest)));
}

/* Waits a moment; the signal that ends the waiting, or 0. */
static int pause_or_signal(int signal_fd)
{
	struct pollfd p = {.fd = signal_fd, .events = POLLIN};
	struct signalfd_siginfo si;
	if (poll(&p, 1, LOOK_MS) <= 0 || read(signal_fd, &si, sizeof si) != (ssize_t)sizeof si)
		return 0;
	return si.ssi_signo == SIGINT || si.ssi_signo == SIGTERM ? (int)si.ssi_signo : 0;
}

static enum haul_rc wait_for_lock(int fd, const char *file, uint64_t wait_ms, int signal_fd,
				  struct haul_err *err)
{
	uint64_t until = wait_ms > UINT64_MAX - clock_now_ms() ? UINT64_MAX : clock_now_ms() + wait_ms;
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	while (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
		if (errno != EAGAIN && errno != EACCES)
			return haul_fail(err, HAUL_IO, errno, file, "cannot be locked");
		if (clock_now_ms() >= until)
			return haul_fail(err, HAUL_BUSY, 0, file, "another run holds the lock");
		int sig = pause_or_signal(signal_fd);
		if (sig) {
			err->signal = sig;
			return haul_fail(err, HAUL_SIGNAL, 0, file,
					 "ended by signal %d, waiting for the lock", sig);
		}
	}
	return HAUL_OK;
}

enum haul_rc lockfile_take(const char *file, const char *dest, uint64_t wait_ms, int signal_fd, int *fd,
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
		*fd = -1;
		return haul_fail(err, HAUL_USAGE, 0, file, "cannot be used as a lock: it is another user's");
	}
	if (wait_for_lock(*fd, file, wait_ms, signal_fd, err) == HAUL_OK) {
		futimens(*fd, NULL); /* or a cleaner of /tmp takes it for forgotten, while it is held */
		return HAUL_OK;
	}
	close(*fd);
	*fd = -1;
	return err->rc;
}
