/*
 * A walk that minds .gitignore: each level holds the rules of its own directory, and asks from the deepest up. They
 * are read on the way down, so none from above a source counts. Bounded, like all that comes from a tree.
 */
#include "lib/walk_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/bytes.h"

#define NAME	       ".gitignore"
#define FILE_BYTES_MAX (UINT64_C(1) << 20)
#define ALL_BYTES_MAX  (2 * FILE_BYTES_MAX) /* of all levels that are open */

/* 0 or -errno. */
static int parse(struct walk *w, struct level *lv, int fd, size_t size)
{
	if (size > FILE_BYTES_MAX || w->ignore_bytes + size > ALL_BYTES_MAX)
		return -EFBIG;
	char *text = malloc(size + 1);
	lv->ignore = filter_new();
	int rc = text && lv->ignore ? bytes_read(fd, (uint8_t *)text, size, 0) : -ENOMEM;
	if (rc == 0 && !filter_add_gitignore(lv->ignore, text, size))
		rc = -ENOMEM;
	free(text);
	lv->ignore_bytes = size;
	w->ignore_bytes += size;
	return rc;
}

/* git itself follows no link there. */
int walk_ignore_load(struct walk *w, struct level *lv)
{
	struct stat st;
	lv->ignore_read = true;
	int fd = openat(lv->fd, NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ELOOP || errno == ENXIO ? 0 : -errno;
	int rc = fstat(fd, &st) != 0   ? -errno
		 : S_ISREG(st.st_mode) ? parse(w, lv, fd, (size_t)st.st_size)
				       : 0;
	close(fd);
	return rc;
}

void walk_ignore_drop(struct walk *w, struct level *lv)
{
	filter_free(lv->ignore);
	lv->ignore = NULL;
	w->ignore_bytes -= lv->ignore_bytes;
	lv->ignore_bytes = 0;
}

enum verdict walk_ignore_ask(const struct walk *w, bool is_dir)
{
	for (size_t i = w->depth; i > 0; i--) {
		const struct level *lv = &w->levels[i - 1];
		size_t below = lv->path_len + (lv->path_len > 0);
		if (!lv->ignore || w->path_len <= below)
			continue;
		enum verdict v = filter_ask(lv->ignore, w->path + below, w->path_len - below, is_dir);
		if (v != FILTER_NONE)
			return v;
	}
	return FILTER_NONE;
}
