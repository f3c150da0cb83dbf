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

#include "lib/boot.h"
#include "lib/clock.h"

/* A holder's probe and some time to write the proof; in all; then, how long a killed process may take to be
 * gone. */
#define PROVE_MS     (HOLDER_PROBE_MS + 1000)
#define PROVE_MAX_MS (HOLDER_PROBE_MAX_MS + 1000)
#define DIE_MS	     1000
#define LOOK_MS	     100
#define LOCK_TRIES   8
#define CLAIM_TRIES  10

/* A process number alone could be another's by now, and is when the machine has been started again. */
struct claim {
	int64_t pid;
	uint64_t boot, start;	       /* lib/boot.h */
	uint64_t proved_ms, asking_ms; /* monotonic clock of this machine */
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
static void write_claim(struct root *root, const char *name, uint64_t proved_ms, uint64_t asking_ms)
{
	struct claim c = {getpid(), boot_id(), boot_process_start(getpid()), proved_ms, asking_ms};
	int fd = claim_open(root, name, O_RDWR | O_CREAT);
	/* a claim that a dead process left must not be taken for ours */
	if (fd < 0 || pwrite(fd, &c, sizeof c, 0) != (ssize_t)sizeof c)
		holder_unclaim(root, name);
	if (fd >= 0)
		close(fd);
}

static bool is_alive(const struct claim *c)
{
	return c->pid > 1 && c->boot == boot_id() && c->start &&
	       c->start == boot_process_start((pid_t)c->pid);
}

/* False also for the claim of a process that is gone. */
static bool read_claim(struct root *root, const char *name, struct claim *c)
{
	int fd = claim_open(root, name, O_RDONLY);
	bool ok = fd >= 0 && pread(fd, c, sizeof *c, 0) == (ssize_t)sizeof *c && is_alive(c);
	if (fd >= 0)
		close(fd);
	return ok;
}

void holder_prove(struct root *root, const char *name, bool alive)
{
	uint64_t now = clock_now_ms();
	write_claim(root, name, alive ? now : 0, now);
}

static bool wait_gone(int pidfd, int ms)
{
	struct pollfd p = {pidfd, POLLIN, 0};
	return poll(&p, 1, ms) > 0;
}

/* The holder's claim. Who has just locked the file is about to write it; who only looks will let go. */
static bool find_claim(struct root *root, const char *name, struct claim *c)
{
	for (int i = 0; i < CLAIM_TRIES; i++) {
		if (read_claim(root, name, c))
			return true;
		if (!holder_held(root, name))
			return false;
		poll(NULL, 0, LOOK_MS);
	}
	return false;
}

/* A stopped process takes the signal when it is continued, before it does anything else. What does not even
 * hear that is killed. */
static bool end_holder(int pidfd)
{
	syscall(SYS_pidfd_send_signal, pidfd, HOLDER_END_SIGNAL, NULL, 0);
	syscall(SYS_pidfd_send_signal, pidfd, SIGCONT, NULL, 0);
	if (wait_gone(pidfd, DIE_MS))
		return true;
	syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	return wait_gone(pidfd, DIE_MS);
}

/* True when the holder is gone. */
static bool challenge(struct root *root, const char *name)
{
	struct claim c;
	if (!find_claim(root, name, &c))
		return !holder_held(root, name);
	if (c.pid == getpid())
		return false;
	int pidfd = (int)syscall(SYS_pidfd_open, (pid_t)c.pid, 0);
	if (pidfd < 0)
		return errno == ESRCH;
	if (!is_alive(&c)) { /* it went, and the number may have gone to another, before we had hold of it */
		close(pidfd);
		return !holder_held(root, name);
	}
	uint64_t asked = clock_now_ms(), heard = asked;
	bool gone = syscall(SYS_pidfd_send_signal, pidfd, SIGUSR1, NULL, 0) < 0, proved = false;
	while (!gone && !proved && clock_now_ms() < clock_earlier(heard + PROVE_MS, asked + PROVE_MAX_MS)) {
		gone = wait_gone(pidfd, LOOK_MS);
		if (!read_claim(root, name, &c))
			continue;
		proved = c.proved_ms >= asked;
		heard = c.asking_ms > heard ? c.asking_ms : heard;
	}
	if (!gone && !proved)
		gone = end_holder(pidfd);
	close(pidfd);
	return gone;
}

/* 0, -EBUSY when somebody has it, or -errno. */
static int lock(int fd)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	if (fcntl(fd, F_OFD_SETLK, &l) == 0)
		return 0;
	return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
}

/* One try: fd, -EBUSY when it is held, -EAGAIN when it was removed under our hands. */
static int attempt(struct root *root, const char *name, int flags, bool claim)
{
	int fd = root_state_open(root, name, flags);
	if (fd < 0)
		return fd;
	struct stat st;
	int rc = lock(fd);
	if (rc != -EBUSY && !claim)
		rc = 0;
	if (rc == 0 && (fstat(fd, &st) < 0 || st.st_nlink == 0))
		rc = -EAGAIN;
	if (rc == 0) {
		if (claim)
			write_claim(root, name, 0, 0);
		return fd;
	}
	close(fd);
	return rc;
}

static int attempts(struct root *root, const char *name, int flags, bool claim)
{
	int rc = -EAGAIN;
	for (int i = 0; i < LOCK_TRIES && rc == -EAGAIN; i++)
		rc = attempt(root, name, flags, claim);
	return rc == -EAGAIN ? -EBUSY : rc;
}

int holder_try(struct root *root, const char *name, int flags)
{
	return attempts(root, name, flags, true);
}

int holder_mark(struct root *root, const char *name, int flags)
{
	return attempts(root, name, flags, false);
}

bool holder_held(struct root *root, const char *name)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = root_state_open(root, name, O_RDONLY);
	if (fd < 0)
		return fd != -ENOENT;
	bool held = fcntl(fd, F_OFD_GETLK, &l) < 0 || l.l_type != F_UNLCK;
	close(fd);
	return held;
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
