/* Dialling: TCP addresses in turn, unix sockets, and children that carry a connection. */
#include "lib/dial.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/endpoint.h"
#include "lib/porter.h"

struct dial {
	struct addrinfo *list, *at; /* TCP: all addresses, and the one being tried */
	struct conn conn;	    /* in == out == the socket; moves to the caller when connected */
	uint64_t deadline, wake;    /* of the whole, of this address */
	char text[PORTER_TEXT_MAX];
};

extern char **environ;

/* Notes a failure in words, first letter small; returns it negated. */
static int dial_fail(struct dial *d, int sys, const char *text)
{
	snprintf(d->text, sizeof d->text, "%s", text ? text : strerror(sys));
	if (!isupper((unsigned char)d->text[1]))
		d->text[0] = (char)tolower((unsigned char)d->text[0]);
	return -sys;
}

static void dial_close(struct dial *d)
{
	conn_close(&d->conn, 0);
}

/* The addresses left share the time left, so that one black hole does not eat it all. */
static uint64_t share(const struct dial *d)
{
	uint64_t left = 0, now = clock_now_ms();
	for (const struct addrinfo *ai = d->at; ai; ai = ai->ai_next)
		left++;
	if (d->deadline == UINT64_MAX || left <= 1)
		return d->deadline;
	return d->deadline > now ? now + (d->deadline - now) / left : now;
}

static int connect_to(struct dial *d, int family, const struct sockaddr *sa, socklen_t len)
{
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return dial_fail(d, errno, NULL);
	d->conn.in = d->conn.out = fd;
	d->wake = share(d);
	if (connect(fd, sa, len) == 0 || errno == EINPROGRESS)
		return 0;
	int rc = errno == EAGAIN ? dial_fail(d, EAGAIN, "the listener's queue is full")
				 : dial_fail(d, errno, NULL);
	dial_close(d);
	return rc;
}

/* Begins with d->at, or the first address after it that can be begun with. */
static int connect_next(struct dial *d)
{
	int rc = -EADDRNOTAVAIL;
	for (; d->at; d->at = d->at->ai_next)
		if ((rc = connect_to(d, d->at->ai_family, d->at->ai_addr, d->at->ai_addrlen)) == 0)
			break;
	return rc;
}

static int errno_of_gai(int rc)
{
	switch (rc) {
	case EAI_SYSTEM:
		return errno ? errno : EIO;
	case EAI_MEMORY:
		return ENOMEM;
	case EAI_AGAIN:
		return EAGAIN;
	default:
		return ENOENT;
	}
}

static int dial_tcp(struct dial *d, const struct endpoint *ep)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	int rc = getaddrinfo(ep->host, ep->port, &hints, &d->list);
	if (rc != 0) {
		int sys = errno_of_gai(rc);
		d->list = NULL;
		return dial_fail(d, sys, rc == EAI_SYSTEM ? NULL : gai_strerror(rc));
	}
	d->at = d->list;
	return connect_next(d);
}

static int dial_unix(struct dial *d, const struct endpoint *ep)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	snprintf(un.sun_path, sizeof un.sun_path, "%s", ep->path);
	return connect_to(d, AF_UNIX, (const struct sockaddr *)&un, sizeof un);
}

/* Everything about the child that is not its words: see the head of dial.h. */
static int prepare_child(posix_spawnattr_t *attr, posix_spawn_file_actions_t *files, int fd)
{
	sigset_t all, none;
	sigfillset(&all);
	sigemptyset(&none);
	int rc = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	if (rc == 0)
		rc = posix_spawnattr_setsigdefault(attr, &all);
	if (rc == 0)
		rc = posix_spawnattr_setsigmask(attr, &none);
	if (rc == 0)
		rc = posix_spawn_file_actions_adddup2(files, fd, STDIN_FILENO);
	if (rc == 0)
		rc = posix_spawn_file_actions_adddup2(files, fd, STDOUT_FILENO);
	if (rc == 0)
		rc = posix_spawn_file_actions_addclosefrom_np(files, STDERR_FILENO + 1);
	return rc;
}

static int spawn_on(int fd, const char *const words[], pid_t *child)
{
	posix_spawnattr_t attr;
	posix_spawn_file_actions_t files;
	if (posix_spawnattr_init(&attr) != 0)
		return ENOMEM;
	int rc = posix_spawn_file_actions_init(&files);
	if (rc == 0) {
		rc = prepare_child(&attr, &files, fd);
		if (rc == 0)
			rc = posix_spawnp(child, words[0], &files, &attr, (char *const *)words, environ);
		posix_spawn_file_actions_destroy(&files);
	}
	posix_spawnattr_destroy(&attr);
	return rc;
}

static int dial_child(struct dial *d, const char *const words[])
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return dial_fail(d, errno, NULL);
	d->conn.in = d->conn.out = pair[0];
	int rc = fcntl(pair[0], F_SETFL, O_RDWR | O_NONBLOCK) < 0 ? errno
								  : spawn_on(pair[1], words, &d->conn.child);
	close(pair[1]);
	if (rc == 0)
		return 0;
	d->conn.child = 0;
	dial_close(d);
	char text[sizeof d->text];
	snprintf(text, sizeof text, "cannot run %.80s: %s", words[0], strerror(rc));
	return dial_fail(d, rc, text);
}

static int dial_exec(struct dial *d, const struct endpoint *ep)
{
	const char *words[] = {"/bin/sh", "-c", ep->path, NULL};
	return dial_child(d, words);
}

/* In single quotes, for a POSIX shell: the quote itself becomes '\'' */
static void put_quoted(FILE *to, const char *s)
{
	putc('\'', to);
	for (; *s; s++)
		if (*s == '\'')
			fputs("'\\''", to);
		else
			putc(*s, to);
	putc('\'', to);
}

/* haul_path is not quoted: it may be words ("nice haul"), as with rsync. */
static char *remote_command(const struct endpoint *ep, const struct haul_config *cfg)
{
	char *text = NULL;
	size_t len;
	FILE *to = open_memstream(&text, &len);
	if (!to)
		return NULL;
	fprintf(to, "%s %s -- ", cfg->haul_path ? cfg->haul_path : "haul",
		ep->pull ? "send --listen=stdio:" : "recv --stdio");
	put_quoted(to, ep->path);
	bool bad = ferror(to) != 0;
	if (fclose(to) == 0 && !bad)
		return text;
	free(text);
	return NULL;
}

/* ssh's words: rsh split at blanks, -p PORT, the host, the command; -errno */
static int run_ssh(struct dial *d, const struct endpoint *ep, char *rsh, const char *command)
{
	const char **words = calloc(strlen(rsh) / 2 + 6, sizeof *words);
	if (!words)
		return dial_fail(d, ENOMEM, NULL);
	size_t n = 0;
	char *rest = NULL;
	for (char *w = strtok_r(rsh, " \t", &rest); w; w = strtok_r(NULL, " \t", &rest))
		words[n++] = w;
	if (n == 0)
		words[n++] = "ssh";
	if (ep->port) {
		words[n++] = "-p";
		words[n++] = ep->port;
	}
	words[n++] = ep->host;
	words[n++] = command;
	int rc = dial_child(d, words);
	free(words);
	return rc;
}

static int dial_ssh(struct dial *d, const struct endpoint *ep, const struct haul_config *cfg)
{
	char *rsh = strdup(cfg->rsh ? cfg->rsh : "ssh"), *command = remote_command(ep, cfg);
	int rc = rsh && command ? run_ssh(d, ep, rsh, command) : dial_fail(d, ENOMEM, NULL);
	free(rsh);
	free(command);
	return rc;
}

/* By the porter, if we are confined: its child is not ours. */
static int dial_program(struct dial *d, const struct endpoint *ep, const struct haul_config *cfg)
{
	if (!porter_runs())
		return ep->kind == ENDPOINT_SSH ? dial_ssh(d, ep, cfg) : dial_exec(d, ep);
	int fd = -1, rc = porter_dial(&fd, d->text);
	d->conn.in = d->conn.out = fd;
	return rc;
}

static int dial_adopt(struct dial *d, const struct endpoint *ep)
{
	int rc = conn_adopt(ep, &d->conn);
	return rc < 0 ? dial_fail(d, -rc, rc == -ENOTCONN ? "standard input and output are used up" : NULL)
		      : 0;
}

int dial_start(const struct endpoint *ep, const struct haul_config *cfg, struct dial **out)
{
	struct dial *d = *out = calloc(1, sizeof *d);
	if (!d)
		return -ENOMEM;
	uint64_t now = clock_now_ms();
	d->conn = (struct conn){.in = -1, .out = -1};
	d->deadline = cfg->connect_ms < UINT64_MAX - now ? now + cfg->connect_ms : UINT64_MAX;
	d->wake = d->deadline;
	switch (ep->kind) {
	case ENDPOINT_TCP:
		return dial_tcp(d, ep);
	case ENDPOINT_UNIX:
		return dial_unix(d, ep);
	case ENDPOINT_SSH:
	case ENDPOINT_EXEC:
		return dial_program(d, ep, cfg);
	default:
		return dial_adopt(d, ep);
	}
}

int dial_poll_fd(const struct dial *d)
{
	return d->conn.out;
}

uint64_t dial_wake_ms(const struct dial *d)
{
	return d->wake;
}

/* A port in the ephemeral range that nobody listens on can meet the very socket that dials it. */
static bool is_self_connected(int fd)
{
	struct sockaddr_storage own = {0}, peer = {0};
	socklen_t own_len = sizeof own, peer_len = sizeof peer;
	return getsockname(fd, (struct sockaddr *)&own, &own_len) == 0 &&
	       getpeername(fd, (struct sockaddr *)&peer, &peer_len) == 0 && own.ss_family != AF_UNIX &&
	       own_len == peer_len && memcmp(&own, &peer, own_len) == 0;
}

/* 0 connected, EINPROGRESS not yet, else why not */
static int connect_result(const struct dial *d)
{
	struct pollfd p = {.fd = d->conn.out, .events = POLLOUT};
	int sys = 0;
	socklen_t len = sizeof sys;
	int n = poll(&p, 1, 0);
	if (n <= 0)
		return clock_now_ms() < d->wake ? EINPROGRESS : ETIMEDOUT;
	if (getsockopt(p.fd, SOL_SOCKET, SO_ERROR, &sys, &len) < 0)
		return errno;
	return sys == 0 && is_self_connected(p.fd) ? ECONNREFUSED : sys;
}

static int dial_done(struct dial *d, struct conn *out)
{
	conn_tune(d->conn.out);
	*out = d->conn;
	d->conn = (struct conn){.in = -1, .out = -1};
	return 0;
}

int dial_step(struct dial *d, struct conn *out)
{
	if (d->conn.out < 0)
		return -ENOTCONN;
	if (d->conn.child || d->conn.in != d->conn.out)
		return dial_done(d, out);
	int sys = connect_result(d);
	if (sys == 0)
		return dial_done(d, out);
	if (sys == EINPROGRESS)
		return -EINPROGRESS;
	int rc = dial_fail(d, sys, NULL);
	dial_close(d);
	if (!d->at || !d->at->ai_next)
		return rc;
	d->at = d->at->ai_next;
	rc = connect_next(d);
	return rc < 0 ? rc : -EINPROGRESS;
}

bool dial_is_hopeless(const struct endpoint *ep, int rc)
{
	bool path = ep->kind == ENDPOINT_UNIX,
	     program = ep->kind == ENDPOINT_SSH || ep->kind == ENDPOINT_EXEC;
	switch (-rc) {
	case ENOENT: /* a socket may still be made */
	case ENOEXEC:
	case E2BIG:
		return program;
	case ENOTDIR:
	case ELOOP:
	case ENAMETOOLONG:
	case EACCES:
		return path || program;
	case EPROTOTYPE:
		return path;
	default:
		return false;
	}
}

const char *dial_error_text(const struct dial *d)
{
	return d ? d->text : "out of memory";
}

void dial_abort(struct dial *d)
{
	if (!d)
		return;
	dial_close(d);
	if (d->list)
		freeaddrinfo(d->list);
	free(d);
}
