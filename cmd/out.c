#include "cmd/out.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

ssize_t out_write(int fd, const void *data, size_t len, int wait_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	struct stat st;
	ssize_t n;

	int ready = poll(&p, 1, wait_ms);
	if (ready <= 0)
		return ready == 0 || errno == EINTR ? 0 : -errno;
	if (!(p.revents & POLLOUT))
		return -EPIPE;
	if (fstat(fd, &st) != 0)
		return -errno;
	if (S_ISSOCK(st.st_mode)) {
		n = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	} else {
		/* a pipe that polls writable has room for PIPE_BUF, for more it might block */
		if (!S_ISREG(st.st_mode) && len > PIPE_BUF)
			len = PIPE_BUF;
		n = write(fd, data, len);
	}
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	return n;
}

bool out_was_closed(int fd)
{
	struct stat held, null;
	int flags = fcntl(fd, F_GETFL);
	if ((fd != STDOUT_FILENO && fd != STDERR_FILENO) || flags < 0 || (flags & O_ACCMODE) != O_RDONLY)
		return false;
	return fstat(fd, &held) == 0 && stat("/dev/null", &null) == 0 && S_ISCHR(held.st_mode) &&
	       held.st_rdev == null.st_rdev;
}
