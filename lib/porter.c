#include "lib/porter.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* How long a program may take to end by itself: when another is wanted, and at the end. */
#define NEXT_GRACE_MS 100
#define LAST_GRACE_MS 1000

struct answer {
	int rc;
	char text[PORTER_TEXT_MAX];
};

/* In the maker. */
static int order_fd = -1;
static pid_t porter;

union control {
	char buf[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

static void reply(int fd, const struct answer *a, int pass)
{
	union control control = {0};
	struct iovec iov = {(void *)(uintptr_t)a, sizeof *a};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	if (pass >= 0) {
		msg.msg_control = control.buf;
		msg.msg_controllen = sizeof control.buf;
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		*c = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(c), &pass, sizeof pass);
	}
	/* whoever asked and is gone will be noticed by the next read */
	ssize_t n = sendmsg(fd, &msg, MSG_NOSIGNAL);
	(void)n;
}

/* Nothing of the maker's stays open here but standard error, which the programs share. */
static int let_go(int fd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 || dup2(fd, 3) < 0)
		return -1;
	closefrom(4);
	return fcntl(3, F_SETFD, FD_CLOEXEC) < 0 ? -1 : 3;
}

/* Starts the program; only its number is kept here. */
static void serve_order(int fd, const struct endpoint *ep, const struct haul_config *cfg, struct conn *conn)
{
	struct dial *d;
	struct answer a = {0};
	conn_close(conn, NEXT_GRACE_MS);
	a.rc = dial_start(ep, cfg, &d);
	if (a.rc == 0)
		a.rc = dial_step(d, conn);
	if (a.rc < 0)
		snprintf(a.text, sizeof a.text, "%s", dial_error_text(d));
	dial_abort(d);
	reply(fd, &a, a.rc == 0 ? conn->out : -1);
	if (conn->out >= 0)
		close(conn->out);
	conn->in = conn->out = -1;
}

static void run(int fd, const struct endpoint *ep, const struct haul_config *cfg)
{
	struct conn conn = {.in = -1, .out = -1};
	char order;
	fd = let_go(fd);
	while (fd >= 0) {
		ssize_t n = recv(fd, &order, 1, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		serve_order(fd, ep, cfg, &conn);
	}
	conn_close(&conn, LAST_GRACE_MS);
}

int porter_start(const struct endpoint *ep, const struct haul_config *cfg)
{
	int pair[2];
	if (porter_runs())
		return 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	pid_t pid = fork();
	if (pid == 0) {
		close(pair[0]);
		run(pair[1], ep, cfg);
		_exit(0);
	}
	int sys = errno;
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return -sys;
	}
	order_fd = pair[0];
	porter = pid;
	return 0;
}

bool porter_runs(void)
{
	return order_fd >= 0;
}

int porter_dial(int *fd, char text[static PORTER_TEXT_MAX])
{
	union control control = {0};
	struct answer a = {0};
	struct iovec iov = {&a, sizeof a};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.buf,
			     .msg_controllen = sizeof control.buf};
	ssize_t n = send(order_fd, "d", 1, MSG_NOSIGNAL);
	while (n > 0 && (n = recvmsg(order_fd, &msg, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
		n = 1;
	struct cmsghdr *c = n == (ssize_t)sizeof a ? CMSG_FIRSTHDR(&msg) : NULL;
	a.text[sizeof a.text - 1] = '\0';
	if (c && c->cmsg_type == SCM_RIGHTS) {
		memcpy(fd, CMSG_DATA(c), sizeof *fd);
		return 0;
	}
	bool told = n == (ssize_t)sizeof a && a.rc < 0;
	snprintf(text, PORTER_TEXT_MAX, "%s", told ? a.text : "the process that starts programs is gone");
	return told ? a.rc : -ECHILD;
}

void porter_stop(void)
{
	if (!porter_runs())
		return;
	close(order_fd);
	order_fd = -1;
	while (waitpid(porter, NULL, 0) < 0 && errno == EINTR)
		;
}
