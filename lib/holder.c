#include "lib/holder.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/clock.h"

/* A holder's probe and some time to write the proof; then, how long a killed process may take to be gone. */
#define PROVE_MS   (HOLDER_PROBE_MS + 1000)
#define DIE_MS	   1000
#define LOOK_MS	   100
#define LOCK_TRIES 8

struct claim {
	int64_t pid;
	uint64_t proved_ms; /* monotonic clock of this machine */
};

static int claim_open(struct root *root, const char *name, int flags)
{
	char claim[ROOT_TEMP_MAX + 8];
	snprintf(claim, sizeof claim, "%s.pid", name);
	return root_state_open(root, claim, flags);
}

void holder_unclaim(struct root *root, const char *name)
{
	char claim[ROOT_TEMP_MAX + 8];
	snprintf(claim, sizeof claim, "%s.pid", name);
	root_temp_unlink(root, claim);
}

/* Without a claim nobody can challenge us: they answer busy, which is safe. */
static void write_claim(struct root *root, const char *name, uint64_t proved_ms)
{
	struct claim c = {getpid(), proved_ms};
	int fd = claim_open(root, name, O_RDWR | O_CREAT);
	if (fd < 0)
		return;
	if (pwrite(fd, &c, sizeof c, 0) != (ssize_t)sizeof c)
		holder_unclaim(root, name);
	close(fd);
}

static bool read_claim(struct root *root, const char *name, struct claim *c)
{
	int fd = claim_open(root, name, O_RDONLY);
	bool ok = fd >= 0 && pread(fd, c, sizeof *c, 0) == (ssize_t)sizeof *c && c->pid > 1;
	if (fd >= 0)
		close(fd);
	return ok;
}

void holder_prove(struct root *root, const char *name)
{
	write_claim(root, name, clock_now_ms());
}

static bool wait_gone(int pidfd, int ms)
{
	struct pollfd p = {pidfd, POLLIN, 0};
	return poll(&p, 1, ms) > 0;
}

/* True when the holder is gone. */
static bool challenge(struct root *root, const char *name)
{
	struct claim c;
	if (!read_claim(root, name, &c) || c.pid == getpid())
		return false;
	int pidfd = (int)syscall(SYS_pidfd_open, (pid_t)c.pid, 0);
	if (pidfd < 0)
		return errno == ESRCH;
	uint64_t asked = clock_now_ms();
	bool gone = syscall(SYS_pidfd_send_signal, pidfd, SIGUSR1, NULL, 0) < 0, proved = false;
	while (!gone && !proved && clock_now_ms() < asked + PROVE_MS) {
		gone = wait_gone(pidfd, LOOK_MS);
		proved = read_claim(root, name, &c) && c.proved_ms >= asked;
	}
	if (!gone && !proved) {
		syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
		gone = wait_gone(pidfd, DIE_MS);
	}
	close(pidfd);
	return gone;
}

static bool lock(int fd)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	return fcntl(fd, F_OFD_SETLK, &l) == 0;
}

/* One try: fd, -EBUSY when it is held, -EAGAIN when it was removed under our hands. */
static int attempt(struct root *root, const char *name, int flags)
{
	int fd = root_state_open(root, name, flags);
	if (fd < 0)
		return fd;
	struct stat st;
	int rc = lock(fd) ? 0 : -EBUSY;
	if (rc == 0 && (fstat(fd, &st) < 0 || st.st_nlink == 0))
		rc = -EAGAIN;
	if (rc == 0) {
		write_claim(root, name, 0);
		return fd;
	}
	close(fd);
	return rc;
}

int holder_try(struct root *root, const char *name, int flags)
{
	int rc = -EAGAIN;
	for (int i = 0; i < LOCK_TRIES && rc == -EAGAIN; i++)
		rc = attempt(root, name, flags);
	return rc == -EAGAIN ? -EBUSY : rc;
}

int holder_lock(struct root *root, const char *name, int flags)
{
	int rc = -EBUSY;
	for (int i = 0; i < LOCK_TRIES; i++) {
		rc = holder_try(root, name, flags);
		if (rc != -EBUSY || !challenge(root, name))
			return rc;
	}
	return rc;
}
