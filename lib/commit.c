/* commit: from verified bytes in temporary files to files under their final names, on stable storage. */
#include "lib/dest_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/plan.h"
#include "wire/err.h"

/* Something differs after all: the chunks that were only compared have to be copied. */
static int copy_kept(struct dest *d, struct dest_file *f)
{
	uint8_t *scratch = malloc(f->map.chunk);
	int rc = scratch ? 0 : -ENOMEM;
	for (uint64_t i = 0; rc == 0 && i < f->map.count; i++)
		if (f->map.state[i] == CHUNK_KEPT)
			rc = dest_keep_one(d, f, i, scratch, true);
	free(scratch);
	return rc;
}

/* Without syncs the size is all that the next run sees of what a power cut took. ftruncate would be in the
 * log of the file system long before the bytes are on the disk, so the size comes from the last byte written.
 */
static int set_size(const struct dest *d, const struct dest_file *f, int fd)
{
	struct stat st;
	if (d->cfg->sync != SYNC_NONE)
		return ftruncate(fd, (off_t)f->size) < 0 ? -errno : 0;
	if (fstat(fd, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size < f->size)
		return bytes_write(fd, (const uint8_t[]){0}, 1, f->size - 1);
	return (uint64_t)st.st_size > f->size && ftruncate(fd, (off_t)f->size) < 0 ? -errno : 0;
}

static int complete(struct dest *d, struct dest_file *f)
{
	int rc = f->lazy ? copy_kept(d, f) : 0;
	int fd = rc < 0 ? rc : dest_file_fd(d, f); /* an empty file, or one that is all hole, has none yet */
	if (fd < 0)
		return f->code ? 0 : rc < 0 ? rc : -EIO;
	rc = set_size(d, f, fd);
	rc = rc < 0 ? rc : dest_set_meta(d, f, fd);
	dest_file_done(d, f);
	return rc;
}

static int sync_one(struct dest *d, struct dest_file *f)
{
	/* a small one was written by a pack and closed: the flush of the batch is its sync */
	if (!f->chunked || d->cfg->sync == SYNC_NONE)
		return 0;
	int fd = dest_file_fd(d, f);
	if (fd < 0)
		return 0; /* it has failed, and says why */
	int rc = fsync(fd) < 0 ? -errno : 0;
	dest_file_done(d, f);
	return rc;
}

/* Compared and found the same: only times and mode may differ. */
static int mend_unchanged(struct dest *d, const struct dest_file *f)
{
	struct stat st;
	int fd = root_open_file(d->root, f->path, &st);
	if (fd < 0)
		return fd;
	int rc = dest_set_meta(d, f, fd);
	close(fd);
	return rc;
}

static bool small_files_among(struct dest_file **files, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!files[i]->code && !files[i]->chunked)
			return true;
	return false;
}

/* Size and metadata of what came in chunks; an unchanged file only gets its times and mode. */
static void finish_content(struct dest *d, struct dest_file *f)
{
	int rc = f->code == REASON_UNCHANGED ? mend_unchanged(d, f) : 0;
	if (f->chunked && !f->code)
		rc = complete(d, f);
	if (rc == 0)
		return;
	f->code = f->code == REASON_UNCHANGED ? 0 : f->code;
	dest_fail_errno(f, -rc);
}

static bool same_parent(const struct dest_file *a, const struct dest_file *b)
{
	const char *slash = strrchr(a->path, '/');
	size_t dir = slash ? (size_t)(slash - a->path) + 1 : 0;
	return strncmp(a->path, b->path, dir) == 0 && !strchr(b->path + dir, '/');
}

/* A rename lasts once its directory is synced. Neighbours mostly share one: a sync serves them all, and
 * failing it fails them all. */
static void sync_parents(struct dest *d, struct dest_file **files, size_t count)
{
	for (size_t i = 0, end; i < count; i = end) {
		bool any = false;
		for (end = i; end < count && same_parent(files[i], files[end]); end++)
			any |= !files[end]->code;
		int rc = any ? root_sync_parent(d->root, files[i]->path) : 0;
		for (size_t k = i; k < end && rc < 0; k++)
			dest_fail_errno(files[k], -rc);
	}
}

void dest_commit(struct dest *d, struct dest_file **files, size_t count)
{
	for (size_t i = 0; i < count; i++)
		finish_content(d, files[i]);
	/* one flush for all that packs wrote; a failed one is never believed later */
	int flush = 0;
	if (d->cfg->sync == SYNC_BATCH && small_files_among(files, count) && syncfs(root_fd(d->root)) < 0)
		flush = -errno;
	for (size_t i = 0; i < count; i++) {
		struct dest_file *f = files[i];
		int rc = f->code ? 0 : f->chunked ? sync_one(d, f) : flush;
		if (rc == 0 && !f->code)
			rc = dest_give_name(d, f);
		if (rc < 0)
			dest_fail_errno(f, -rc);
	}
	if (d->cfg->sync != SYNC_NONE)
		sync_parents(d, files, count);
}

int dest_finish(struct dest *d)
{
	int rc = d->dirs_fd >= 0 ? plan_apply_dirs(d) : 0;
	dest_tidy(d);
	/* also what was found unchanged: a run that was killed may have named it and not have synced it */
	if (rc == 0 && d->root && d->cfg->sync != SYNC_NONE && atomic_load(&d->unsynced) &&
	    syncfs(root_fd(d->root)) < 0)
		rc = -errno;
	return rc;
}
