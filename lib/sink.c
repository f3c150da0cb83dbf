#include "lib/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/command.h"

static void sink_run(void *ctx, void *worker, void *job);

const struct pool_ops sink_ops = {.run = sink_run};

bool sink_wanted(const char *path)
{
	struct stat st;
	return strcmp(path, "-") == 0 ||
	       (stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode));
}

/* A descriptor that was closed is held by a read-only one (cmd/main.c). */
static bool stdout_is_closed(void)
{
	int flags = fcntl(STDOUT_FILENO, F_GETFL);
	return flags < 0 || (flags & O_ACCMODE) == O_RDONLY;
}

enum haul_rc sink_check(const char *path, struct haul_err *err)
{
	struct stat st;
	if (strcmp(path, "-") == 0 && stdout_is_closed())
		return haul_fail(err, HAUL_IO, 0, "--output=-", "standard output is closed");
	if (strcmp(path, "-") != 0 && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return haul_fail(err, HAUL_IO, EISDIR, path, "cannot be the output");
	return HAUL_OK;
}

enum haul_rc sink_open(struct sink *s, const char *cmd, const char *path, struct haul_err *err)
{
	*s = (struct sink){.fd = -1, .cancel = -1};
	if (!cmd && sink_check(path, err) != HAUL_OK)
		return err->rc;
	s->cancel = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (cmd) {
		s->child = command_start(cmd, false, &s->fd);
		if (s->child < 0) {
			int sys = -s->child;
			s->child = 0;
			return haul_fail(err, HAUL_COMMAND, sys, cmd, "cannot start the consumer");
		}
	} else if (strcmp(path, "-") == 0) {
		s->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	} else {
		s->fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	}
	if (s->fd < 0 || s->cancel < 0)
		return haul_fail(err, HAUL_IO, errno, cmd ? cmd : path, "cannot be written");
	return HAUL_OK;
}

void sink_cancel(struct sink *s)
{
	uint64_t one = 1;
	if (s->cancel >= 0 && write(s->cancel, &one, sizeof one) < 0)
		return;
}

void sink_close(struct sink *s)
{
	if (s->fd >= 0)
		close(s->fd);
	if (s->child > 0)
		command_kill(s->child);
	if (s->cancel >= 0)
		close(s->cancel);
	*s = (struct sink){.fd = -1, .cancel = -1};
}

void sink_job_free(struct sink_job *job)
{
	buf_put(job->bytes);
	free(job);
}

/* Waits until the consumer takes more; false when cancelled. */
static bool wait_room(struct sink *s)
{
	struct pollfd p[2] = {{s->fd, POLLOUT, 0}, {s->cancel, POLLIN, 0}};
	while (poll(p, 2, -1) < 0)
		if (errno != EINTR)
			return true;
	return !p[1].revents;
}

static void put(struct sink *s, struct sink_job *job, const uint8_t *p, size_t n)
{
	while (n && job->err.rc == HAUL_OK) {
		if (!wait_room(s)) {
			haul_fail(&job->err, HAUL_SIGNAL, 0, "standard output", "not written to the end");
			return;
		}
		/* a pipe takes at least PIPE_BUF once poll says so; more could block past a cancel */
		ssize_t put = write(s->fd, p, n < 65536 ? n : 65536);
		if (put < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (put < 0) {
			enum haul_rc rc = errno == EPIPE ? HAUL_COMMAND : haul_rc_from_errno(errno);
			haul_fail(&job->err, rc, errno, s->child ? "--to-cmd" : "standard output",
				  "the consumer takes no more");
			return;
		}
		p += put;
		n -= (size_t)put;
	}
}

static void finish(struct sink *s, struct sink_job *job)
{
	char text[64];
	if (s->fd >= 0 && close(s->fd) < 0 && errno != EINTR)
		haul_fail(&job->err, haul_rc_from_errno(errno), errno, "standard output", "cannot be closed");
	s->fd = -1;
	const char *why = s->child > 0 ? command_wait(s->child, text) : NULL;
	s->child = 0;
	if (why)
		haul_fail(&job->err, HAUL_COMMAND, 0, "--to-cmd", "the consumer failed: %s", why);
}

static void sink_run(void *ctx, void *worker, void *arg)
{
	static const uint8_t zeros[65536];
	struct sink *s = ctx;
	struct sink_job *job = arg;
	(void)worker;
	if (job->bytes)
		put(s, job, buf_bytes(job->bytes), job->bytes->len);
	for (uint64_t left = job->zeros; left && job->err.rc == HAUL_OK;
	     left -= left < sizeof zeros ? left : sizeof zeros)
		put(s, job, zeros, left < sizeof zeros ? (size_t)left : sizeof zeros);
	if (job->end)
		finish(s, job);
}
