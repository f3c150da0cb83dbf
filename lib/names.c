#include "lib/names.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>

int names_fill(struct names *n, int fd)
{
	if (n->cap - n->used < NAMES_BYTES / 2) {
		size_t cap = n->cap ? n->cap * 2 : NAMES_BYTES;
		char *buf = realloc(n->buf, cap);
		if (!buf)
			return -ENOMEM;
		n->buf = buf;
		n->cap = cap;
	}
	ssize_t got = getdents64(fd, n->buf + n->used, n->cap - n->used);
	if (got < 0)
		return -errno;
	n->used += (size_t)got;
	n->all = got == 0;
	return 0;
}

int names_next(struct names *n, int fd, const char **name)
{
	if (n->pos == n->used && !n->all) {
		n->pos = n->used = 0;
		int rc = names_fill(n, fd);
		if (rc != 0)
			return rc;
	}
	if (n->pos == n->used)
		return 0;
	const struct dirent64 *d = (const void *)(n->buf + n->pos);
	n->pos += d->d_reclen;
	*name = d->d_name;
	return 1;
}
