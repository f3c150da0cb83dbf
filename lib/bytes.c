#include "lib/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

/* Zero runs of this many bytes in a file with holes are not written. */
#define HOLE_BYTES 4096u
/* One pwrite: larger ones make the page cache look for large folios, which cost more than the calls they
 * save. */
#define WRITE_BYTES (128u << 10)

int bytes_read(int fd, uint8_t *p, size_t n, uint64_t offset)
{
	while (n) {
		ssize_t got = pread(fd, p, n, (off_t)offset);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got ? -errno : -ENODATA;
		p += got;
		n -= (size_t)got;
		offset += (uint64_t)got;
	}
	return 0;
}

int bytes_write(int fd, const uint8_t *p, size_t n, uint64_t offset)
{
	while (n) {
		ssize_t put = pwrite(fd, p, n < WRITE_BYTES ? n : WRITE_BYTES, (off_t)offset);
		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return put ? -errno : -EIO;
		p += put;
		n -= (size_t)put;
		offset += (uint64_t)put;
	}
	return 0;
}

static bool all_zero(const uint8_t *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* Bytes from p on that are of one kind: blocks of zeros, or not. */
static size_t run_length(const uint8_t *p, size_t n, bool *zero)
{
	size_t at = 0;
	*zero = false;
	while (at < n) {
		size_t block = n - at < HOLE_BYTES ? n - at : HOLE_BYTES;
		bool z = all_zero(p + at, block);
		if (at && z != *zero)
			return at;
		*zero = z;
		at += block;
	}
	return at;
}

/* Leaves blocks of zeros unwritten: the file ends up with its final size anyway. */
int bytes_write_sparse(int fd, const uint8_t *p, size_t n, uint64_t offset)
{
	while (n) {
		bool zero;
		size_t run = run_length(p, n, &zero);
		int rc = zero ? 0 : bytes_write(fd, p, run, offset);
		if (rc < 0)
			return rc;
		p += run;
		n -= run;
		offset += run;
	}
	return 0;
}

int bytes_punch(int fd, uint64_t offset, uint64_t n)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)n) < 0 ? -errno
												      : 0;
}
