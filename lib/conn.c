/* The end of a connection, and connections that were there before us. */
#include "lib/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/endpoint.h"

#define KEEPALIVE_IDLE_S     15
#define KEEPALIVE_INTERVAL_S 5
#define KEEPALIVE_PROBES     3
#define USER_TIMEOUT_MS	     30000

#define ADOPTED_FD_MIN	     10 /* away from the numbers a shell or systemd hands out */
#define CHILD_POLL_MS	     5
#define CHILD_TERM_MS	     500 /* between SIGTERM and SIGKILL */

void conn_tune(int fd)
{
	static const struct {
		int level, name, value;
	} options[] = {
		{IPPROTO_TCP, TCP_NODELAY, 1},
		{SOL_SOCKET, SO_KEEPALIVE, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
		{IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S},
		{IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES},
		{IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS},
	};
	for (size_t i = 0; i < sizeof options / sizeof *options; i++)
		(void)setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int));
}

/* O_NONBLOCK where waiting is possible; *restore tells whether that was a change. */
static int make_nonblocking(int fd, bool *restore)
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fstat(fd, &st) < 0)
		return -1;
	*restore = false;
	if ((flags & O_NONBLOCK) || !(S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode)))
		return 0;
	*restore = true;
	return fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

static void restore_blocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	if (flags >= 0)
		(void)fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
}

static int adopt_stdio(struct conn *c)
{
	static bool used;
	if (used)
		return -ENOTCONN;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	c->in = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, ADOPTED_FD_MIN);
	c->out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, ADOPTED_FD_MIN);
	int rc = 0;
	if (null < 0 || c->in < 0 || c->out < 0 || make_nonblocking(c->in, &c->restore_in) < 0 ||
	    make_nonblocking(c->out, &c->restore_out) < 0 || dup2(null, STDIN_FILENO) < 0 ||
	    dup2(null, STDOUT_FILENO) < 0)
		rc = -errno;
	if (null > STDERR_FILENO)
		close(null);
	used = rc == 0;
	return rc;
}

static int adopt_fd(int fd, struct conn *c)
{
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0)
		return -errno;
	if ((flags & O_ACCMODE) != O_RDWR)
		return -EBADF;
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || make_nonblocking(fd, &c->restore_in) < 0)
		return -errno;
	c->in = c->out = fd;
	conn_tune(fd);
	return 0;
}

int conn_adopt(const struct endpoint *ep, struct conn *out)
{
	struct conn c = {.in = -1, .out = -1};
	int rc = ep->kind == ENDPOINT_STDIO ? adopt_stdio(&c) : adopt_fd(ep->fd, &c);
	if (rc < 0)
		conn_close(&c, 0);
	*out = c;
	return rc;
}

static bool wait_child(pid_t child, uint64_t until, int *status)
{
	for (;;) {
		pid_t got = waitpid(child, status, WNOHANG);
		if (got == child || (got < 0 && errno != EINTR))
			return true;
		if (clock_now_ms() >= until)
			return false;
		(void)poll(NULL, 0, CHILD_POLL_MS);
	}
}

static int end_child(pid_t child, unsigned grace_ms)
{
	int status = 0;
	if (wait_child(child, clock_now_ms() + grace_ms, &status))
		return status;
	kill(child, SIGTERM);
	if (wait_child(child, clock_now_ms() + CHILD_TERM_MS, &status))
		return status;
	kill(child, SIGKILL);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

int conn_close(struct conn *c, unsigned grace_ms)
{
	if (c->restore_in)
		restore_blocking(c->in);
	if (c->restore_out)
		restore_blocking(c->out);
	if (c->in >= 0)
		close(c->in);
	if (c->out >= 0 && c->out != c->in)
		close(c->out);
	int status = c->child > 0 ? end_child(c->child, grace_ms) : 0;
	*c = (struct conn){.in = -1, .out = -1};
	return status;
}
