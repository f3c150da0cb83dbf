#include "lib/stamp.h"

#include <errno.h>

void stamp_of_stat(const struct stat *st, struct stamp *out)
{
	*out = (struct stamp){
		.dev = st->st_dev,
		.ino = st->st_ino,
		.size = (uint64_t)st->st_size,
		.mtime_s = st->st_mtim.tv_sec,
		.mtime_ns = (uint32_t)st->st_mtim.tv_nsec,
		.ctime_s = st->st_ctim.tv_sec,
		.ctime_ns = (uint32_t)st->st_ctim.tv_nsec,
	};
}

int stamp_of_fd(int fd, struct stamp *out)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return -errno;
	stamp_of_stat(&st, out);
	return 0;
}

bool stamp_equal(const struct stamp *a, const struct stamp *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->mtime_s == b->mtime_s &&
	       a->mtime_ns == b->mtime_ns && a->ctime_s == b->ctime_s && a->ctime_ns == b->ctime_ns;
}
