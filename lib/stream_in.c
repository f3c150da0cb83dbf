#include "lib/stream_in.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/command.h"
#include "lib/source.h"

/* Contract: what is read flows on within 200 ms. */
#define LINGER_MS  100
#define PIPE_BYTES (1 << 20)

static void stream_run(void *ctx, void *worker, void *job);

const struct pool_ops stream_in_ops = {.run = stream_run};

enum haul_rc stream_in_open(struct stream_in *s, const char *cmd, uint32_t chunk, struct blocks *blocks,
			    struct haul_err *err)
{
	*s = (struct stream_in){.fd = -1, .chunk = chunk, .blocks = blocks};
	s->cancel = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (cmd) {
		s->child = command_start(cmd, true, &s->fd);
		if (s->child < 0) {
			int sys = -s->child;
			s->child = 0;
			return haul_fail(err, HAUL_COMMAND, sys, cmd, "cannot start the producer");
		}
	} else {
		s->fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	}
	if (s->fd < 0 || s->cancel < 0)
		return haul_fail(err, HAUL_NO_SOURCE, errno, "standard input", "cannot be read");
	fcntl(s->fd, F_SETPIPE_SZ, PIPE_BYTES); /* fewer wake-ups; not a pipe or not allowed is fine */
	return HAUL_OK;
}

void stream_in_cancel(struct stream_in *s)
{
	uint64_t one = 1;
	if (s->cancel >= 0 && write(s->cancel, &one, sizeof one) < 0)
		return;
}

void stream_in_close(struct stream_in *s)
{
	if (s->fd >= 0)
		close(s->fd);
	if (s->child > 0)
		command_kill(s->child);
	if (s->cancel >= 0)
		close(s->cancel);
	*s = (struct stream_in){.fd = -1, .cancel = -1};
}

/* Waits for input; 1 there is some, 0 the time is up, -1 cancelled. */
static int wait_input(struct stream_in *s, int timeout_ms)
{
	struct pollfd p[2] = {{s->fd, POLLIN, 0}, {s->cancel, POLLIN, 0}};
	int n;
	do
		n = poll(p, 2, timeout_ms);
	while (n < 0 && errno == EINTR);
	if (p[1].revents)
		return -1;
	return n > 0;
}

static void end_of_stream(struct stream_in *s, struct stream_piece *piece)
{
	char text[64];
	piece->end = true;
	if (s->child <= 0)
		return;
	const char *why = command_wait(s->child, text);
	s->child = 0;
	if (why)
		haul_fail(&piece->err, HAUL_COMMAND, 0, "--from-cmd",
			  "the producer failed: %s; nothing was committed", why);
}

static void stream_run(void *ctx, void *worker, void *job)
{
	struct stream_in *s = ctx;
	struct stream_piece *piece = job;
	(void)worker;
	piece->block = blocks_get(s->blocks, PAYLOAD_AT + s->chunk);
	if (!piece->block) {
		piece->end = true;
		haul_fail(&piece->err, HAUL_NO_MEMORY, 0, "standard input", "no memory for a chunk");
		return;
	}
	uint64_t deadline = 0;
	while (piece->len < s->chunk) {
		uint64_t now = clock_now_ms();
		int timeout = !piece->len ? -1 : deadline > now ? (int)(deadline - now) : 0;
		int there = wait_input(s, timeout);
		if (there < 0) {
			piece->end = true;
			haul_fail(&piece->err, HAUL_SIGNAL, 0, "standard input", "not read to its end");
			return;
		}
		if (there == 0)
			return;
		ssize_t n = read(s->fd, piece->block->data + PAYLOAD_AT + piece->len, s->chunk - piece->len);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0) {
			piece->end = true;
			haul_fail(&piece->err, HAUL_IO, errno, "standard input", "cannot read");
			return;
		}
		if (n == 0) {
			end_of_stream(s, piece);
			return;
		}
		if (!piece->len)
			deadline = clock_now_ms() + LINGER_MS;
		piece->len += (uint32_t)n;
	}
}
