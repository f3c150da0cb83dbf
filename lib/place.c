#include "lib/place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int place_in_the_way(mode_t mode)
{
	if (S_ISDIR(mode))
		return -EISDIR;
	return S_ISREG(mode) || S_ISLNK(mode) ? 0 : -EEXIST;
}

static int move_over(int from, const char *old, int to, const char *name)
{
	return renameat(from, old, to, name) != 0 ? -errno : 0;
}

/* NFS and some FUSE file systems do not know RENAME_NOREPLACE; a hard link also refuses an existing name, and
 * where there are none either, looking first is all that is left. */
static int move_new(int from, const char *old, int to, const char *name)
{
	if (renameat2(from, old, to, name, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	if (linkat(from, old, to, name, 0) == 0)
		return unlinkat(from, old, 0) != 0 ? -errno : 0;
	if (errno != EPERM && errno != EOPNOTSUPP && errno != EMLINK && errno != ENOSYS)
		return -errno;
	if (faccessat(to, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	return errno == ENOENT ? move_over(from, old, to, name) : -errno;
}

static int keep_backup(const struct placing *p, int dirfd, const char *name);

/* The new name is tried first: mostly it is free, and then this is one system call. */
int place_file(const struct placing *p, int dirfd, const char *name)
{
	int rc = move_new(p->state, p->temp, dirfd, name);
	if (rc != -EEXIST || p->noreplace)
		return rc;
	struct stat st;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? move_new(p->state, p->temp, dirfd, name) : -errno;
	rc = place_in_the_way(st.st_mode);
	if (rc == 0 && p->backup && S_ISREG(st.st_mode))
		rc = keep_backup(p, dirfd, name);
	return rc != 0 ? rc : move_over(p->state, p->temp, dirfd, name);
}

/* Without hard links NAME is absent for a moment; with them never. */
static int rename_to_backup(int dirfd, const char *name, const char *backup)
{
	struct stat st;
	if (fstatat(dirfd, backup, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		int rc = place_in_the_way(st.st_mode);
		if (rc != 0)
			return rc;
	}
	return move_over(dirfd, name, dirfd, backup);
}

static int keep_backup(const struct placing *p, int dirfd, const char *name)
{
	char backup[NAME_MAX + 2];
	if (snprintf(backup, sizeof backup, "%s~", name) > NAME_MAX)
		return -ENAMETOOLONG;
	if (linkat(dirfd, name, p->state, p->aside, 0) != 0) {
		bool cannot = errno == EPERM || errno == EOPNOTSUPP || errno == EMLINK || errno == ENOSYS;
		return cannot ? rename_to_backup(dirfd, name, backup) : -errno;
	}
	struct placing kept = {.state = p->state, .temp = p->aside};
	int rc = place_file(&kept, dirfd, backup);
	/* rename leaves both names when they are links to one file already */
	unlinkat(p->state, p->aside, 0);
	return rc;
}
