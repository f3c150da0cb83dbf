/* stamp: what identifies the very content of a file at a moment. */
#ifndef HAUL_LIB_STAMP_H
#define HAUL_LIB_STAMP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct stamp {
	uint64_t dev, ino, size;
	int64_t mtime_s, ctime_s;
	uint32_t mtime_ns, ctime_ns;
};

void stamp_of_stat(const struct stat *st, struct stamp *out);
/* Of an open file; 0 or -errno. */
int stamp_of_fd(int fd, struct stamp *out);
bool stamp_equal(const struct stamp *a, const struct stamp *b);

#endif
