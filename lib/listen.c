/* Listening sockets. The caller accepts; the descriptor is the caller's until endpoint_unlisten. */
#include "lib/endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static bool addr_is_local(const struct sockaddr *sa)
{
	if (sa->sa_family == AF_UNIX)
		return true;
	if (sa->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)(const void *)sa)->sin_addr.s_addr) >> 24 == 127;
	if (sa->sa_family != AF_INET6)
		return false;
	const struct in6_addr *v6 = &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
	return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127);
}

/* A name other than localhost is not looked up: it may mean something else a moment later. */
static bool host_is_local(const char *host)
{
	if (strcasecmp(host, "localhost") == 0)
		return true;
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	if (inet_pton(AF_INET, host, &v4.sin_addr) == 1)
		return addr_is_local((struct sockaddr *)&v4);
	return inet_pton(AF_INET6, host, &v6.sin6_addr) == 1 && addr_is_local((struct sockaddr *)&v6);
}

/* What is no socket is a pipe or a device: local by nature. */
static bool fd_is_local(int fd)
{
	struct sockaddr_storage ss = {.ss_family = AF_UNSPEC};
	socklen_t len = sizeof ss;
	if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0)
		return errno == ENOTSOCK;
	return addr_is_local((struct sockaddr *)&ss);
}

bool endpoint_is_local(const struct endpoint *ep)
{
	switch (ep->kind) {
	case ENDPOINT_TCP:
		return host_is_local(ep->host);
	case ENDPOINT_FD:
	case ENDPOINT_SYSTEMD:
		return fd_is_local(ep->fd);
	default:
		return true;
	}
}

static bool fd_listens(int fd)
{
	int on = 0;
	socklen_t len = sizeof on;
	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) == 0 && on;
}

/* sd_listen_fds(3): the variables speak to us only if LISTEN_PID is ours */
static bool systemd_passed_one(void)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	return pid && fds && strtol(pid, NULL, 10) == (long)getpid() && strcmp(fds, "1") == 0;
}

bool endpoint_is_single(const struct endpoint *ep)
{
	if (ep->kind == ENDPOINT_STDIO)
		return true;
	bool inherited = ep->kind == ENDPOINT_FD || (ep->kind == ENDPOINT_SYSTEMD && systemd_passed_one());
	return inherited && fcntl(ep->fd, F_GETFD) >= 0 && !fd_listens(ep->fd);
}

static const char *unfit(int fd)
{
	struct stat st;
	struct sockaddr_storage ss;
	socklen_t len = sizeof ss, size = sizeof(int);
	int type = 0;
	if (fstat(fd, &st) < 0)
		return "is not open";
	if (!S_ISSOCK(st.st_mode))
		return S_ISREG(st.st_mode) ? "is a file" : "is not a socket";
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM)
		return "is not a stream socket";
	if (!fd_listens(fd) && getpeername(fd, (struct sockaddr *)&ss, &len) < 0)
		return "is a socket that neither listens nor is connected";
	return NULL;
}

enum haul_rc endpoint_check(const struct endpoint *ep, struct haul_err *err)
{
	if (ep->kind == ENDPOINT_SYSTEMD && !systemd_passed_one())
		return haul_fail(err, HAUL_USAGE, 0,
				 "--listen=systemd:", "systemd passed no socket, or more than one");
	const char *why = ep->kind == ENDPOINT_FD || ep->kind == ENDPOINT_SYSTEMD ? unfit(ep->fd) : NULL;
	return why ? haul_fail(err, HAUL_USAGE, 0, ep->text,
			       "descriptor %d %s; it must be an open listening socket, or a connection",
			       ep->fd, why)
		   : HAUL_OK;
}

static int fail_errno(const struct endpoint *ep, const char *what, struct haul_err *err)
{
	int sys = errno;
	haul_fail(err, HAUL_IO, sys, ep->text, "%s", what);
	errno = sys;
	return -1;
}

/* HOST:PORT of a TCP socket, the path of a unix one */
static char *bound_name(int fd)
{
	struct sockaddr_storage ss = {.ss_family = AF_UNSPEC};
	socklen_t len = sizeof ss;
	char host[NI_MAXHOST] = "", port[NI_MAXSERV] = "", *text = NULL;
	if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0)
		return NULL;
	if (ss.ss_family == AF_UNIX) {
		const struct sockaddr_un *un = (const struct sockaddr_un *)&ss;
		return strndup(un->sun_path, len - offsetof(struct sockaddr_un, sun_path));
	}
	if (getnameinfo((struct sockaddr *)&ss, len, host, sizeof host, port, sizeof port,
			NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		return NULL;
	bool v6 = ss.ss_family == AF_INET6;
	int n = asprintf(&text, "%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "", port);
	return n < 0 ? NULL : text;
}

static int bind_one(const struct addrinfo *ai)
{
	int on = 1;
	int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, ai->ai_protocol);
	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
	    bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, LISTEN_BACKLOG) == 0)
		return fd;
	int sys = errno;
	close(fd);
	errno = sys;
	return -1;
}

static int listen_tcp(const struct endpoint *ep, struct haul_err *err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	struct addrinfo *list = NULL;
	int rc = getaddrinfo(ep->host, ep->port, &hints, &list);
	if (rc == EAI_SYSTEM)
		return fail_errno(ep, "cannot look up the address", err);
	if (rc != 0) {
		haul_fail(err, rc == EAI_NONAME ? HAUL_USAGE : HAUL_IO, 0, ep->text, "%s", gai_strerror(rc));
		return -1;
	}
	int fd = -1;
	for (const struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next)
		fd = bind_one(ai);
	int sys = errno;
	freeaddrinfo(list);
	errno = sys;
	return fd < 0 ? fail_errno(ep, "cannot listen", err) : fd;
}

/* Mode 0600: on Linux a unix socket's file takes the mode of its descriptor. */
static int bind_unix(const struct sockaddr_un *un)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (fchmod(fd, 0600) == 0 && bind(fd, (const struct sockaddr *)un, sizeof *un) == 0 &&
	    listen(fd, LISTEN_BACKLOG) == 0)
		return fd;
	int sys = errno;
	close(fd);
	errno = sys;
	return -1;
}

static bool is_stale(const struct sockaddr_un *un)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	int refused = connect(fd, (const struct sockaddr *)un, sizeof *un) < 0 && errno == ECONNREFUSED;
	close(fd);
	return refused;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/*
 * Removes a socket nobody accepts on. Two servers may both find the same stale one, and the slower must not
 * remove the faster one's new socket: so it is moved aside, looked at again, and put back if it is another.
 */
static bool remove_stale(const struct sockaddr_un *un)
{
	struct stat before, after;
	char aside[sizeof un->sun_path + 16];
	snprintf(aside, sizeof aside, "%s.%ld", un->sun_path, (long)getpid());
	if (lstat(un->sun_path, &before) < 0 || !S_ISSOCK(before.st_mode) || !is_stale(un) ||
	    rename(un->sun_path, aside) < 0)
		return false;
	if (lstat(aside, &after) == 0 && same_file(&before, &after))
		return unlink(aside) == 0;
	renameat2(AT_FDCWD, aside, AT_FDCWD, un->sun_path, RENAME_NOREPLACE);
	return false;
}

static int listen_unix(const struct endpoint *ep, struct haul_err *err)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	memcpy(un.sun_path, ep->path, strlen(ep->path));
	int fd = bind_unix(&un);
	if (fd < 0 && errno == EADDRINUSE) {
		fd = remove_stale(&un) ? bind_unix(&un) : -1;
		errno = EADDRINUSE;
	}
	return fd < 0 ? fail_errno(ep, "cannot listen", err) : fd;
}

static int listen_inherited(const struct endpoint *ep, struct haul_err *err)
{
	if (endpoint_check(ep, err) != HAUL_OK)
		return -1;
	if (!fd_listens(ep->fd)) {
		haul_fail(err, HAUL_USAGE, 0, ep->text, "the descriptor does not listen");
		return -1;
	}
	int flags = fcntl(ep->fd, F_GETFL);
	if (flags < 0 || fcntl(ep->fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    fcntl(ep->fd, F_SETFD, FD_CLOEXEC) < 0)
		return fail_errno(ep, "cannot use the descriptor", err);
	return ep->fd;
}

int endpoint_listen(const struct endpoint *ep, char **bound, struct haul_err *err)
{
	int fd = -1;
	*bound = NULL;
	if (ep->kind == ENDPOINT_TCP)
		fd = listen_tcp(ep, err);
	else if (ep->kind == ENDPOINT_UNIX)
		fd = listen_unix(ep, err);
	else if (ep->kind == ENDPOINT_FD || ep->kind == ENDPOINT_SYSTEMD)
		fd = listen_inherited(ep, err);
	else
		haul_fail(err, HAUL_USAGE, 0, ep->text, "no address to listen on");
	if (fd < 0)
		return -1;
	*bound = bound_name(fd);
	if (*bound)
		return fd;
	haul_fail(err, HAUL_NO_MEMORY, 0, ep->text, "cannot name the bound address");
	endpoint_unlisten(ep, fd);
	return -1;
}

void endpoint_unlisten(const struct endpoint *ep, int fd)
{
	if (fd < 0)
		return;
	if (ep->kind == ENDPOINT_UNIX)
		unlink(ep->path);
	close(fd);
}

static int write_line(int fd, const char *text)
{
	if (fd < 0)
		return -1;
	int bad = dprintf(fd, "%s\n", text) < 0;
	int sys = errno;
	if (close(fd) < 0 && !bad)
		return -1;
	errno = sys;
	return bad ? -1 : 0;
}

static int replace_file(const char *file, const char *text)
{
	char *temp;
	if (asprintf(&temp, "%s.%ld", file, (long)getpid()) < 0)
		return -1;
	unlink(temp);
	int rc = write_line(open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666), text);
	if (rc == 0)
		rc = rename(temp, file);
	int sys = errno;
	if (rc < 0)
		unlink(temp);
	free(temp);
	errno = sys;
	return rc;
}

enum haul_rc port_file_write(const char *file, const char *text, struct haul_err *err)
{
	struct stat st;
	bool special = stat(file, &st) == 0 && !S_ISREG(st.st_mode);
	int rc = special ? write_line(open(file, O_WRONLY | O_CLOEXEC | O_NOCTTY), text)
			 : replace_file(file, text);
	if (rc == 0)
		return HAUL_OK;
	int sys = errno;
	return haul_fail(err, haul_rc_from_errno(sys), sys, file, "cannot write the port file");
}

struct port_file port_file_mine(const char *file)
{
	struct port_file mine = {.file = file};
	if (file && (lstat(file, &mine.st) < 0 || !S_ISREG(mine.st.st_mode)))
		mine.file = NULL; /* a FIFO, a device: there before us */
	return mine;
}

void port_file_remove(const struct port_file *mine)
{
	struct stat now;
	if (mine->file && lstat(mine->file, &now) == 0 && same_file(&mine->st, &now))
		unlink(mine->file);
}

void notify_systemd(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	size_t len = path ? strlen(path) : 0;
	if (len == 0 || len >= sizeof un.sun_path)
		return;
	memcpy(un.sun_path, path, len);
	if (un.sun_path[0] == '@')
		un.sun_path[0] = '\0';
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&un, size);
	close(fd);
}
