#include "lib/metaset.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/idmap.h"
#include "lib/seccomp.h"

#define LIST_BYTES (64u << 10) /* XATTR_LIST_MAX of Linux */

/* ---- owners ---- */

/* The number here of somebody at the sender: by name where both have it. */
static uint32_t local_id(const struct frame_meta *m)
{
	uint32_t id = m->id;
	enum idmap_kind kind = m->kind == META_USER ? IDMAP_USER : IDMAP_GROUP;
	/* whoever is 0 there is 0 here, and nobody else is */
	if (m->id && idmap_id(kind, (const char *)m->name.p, m->name.n, &id) && id)
		return id;
	return m->id;
}

/* False when the groups do not tell. */
static bool owner_of(struct span groups, uid_t *uid, gid_t *gid)
{
	struct rd r = rd_init(groups.p, groups.n);
	struct frame_meta m;
	if (!r.n || !frame_get_part_meta(&r, &m) || m.kind != META_USER)
		return false;
	*uid = local_id(&m);
	if (!frame_get_part_meta(&r, &m) || m.kind != META_GROUP)
		return false;
	*gid = local_id(&m);
	return true;
}

static int change_owner(int fd, uid_t uid, gid_t gid)
{
	return fchownat(fd, seccomp_this, uid, gid, AT_EMPTY_PATH) != 0 ? -errno : 0;
}

/* What has no privilege to give a file away, or no such owner in its name space. */
static bool owner_is_denied(int rc)
{
	return rc == -EPERM || rc == -EINVAL || rc == -EOPNOTSUPP;
}

int metaset_owner(struct metaset *m, int fd, struct span groups)
{
	uid_t uid;
	gid_t gid;
	struct stat st;
	if (!(m->tells & TELLS_OWNERS) || !owner_of(groups, &uid, &gid))
		return 0;
	if (fstat(fd, &st) != 0)
		return -errno;
	if (st.st_uid == uid && st.st_gid == gid)
		return 0;
	int rc = change_owner(fd, uid, gid);
	if (!owner_is_denied(rc) || (m->tells & TELLS_MUST(TELLS_OWNERS)))
		return rc;
	if (st.st_gid != gid) /* a group of one's own may be given all the same */
		rc = change_owner(fd, (uid_t)-1, gid);
	if (st.st_uid != uid || rc != 0)
		atomic_fetch_add(&m->unset, 1);
	return 0;
}

/* ---- attributes ---- */

static bool attribute_is_denied(int rc)
{
	return rc == -EPERM || rc == -EACCES || rc == -EOPNOTSUPP || rc == -E2BIG || rc == -EINVAL;
}

/* What became of an attribute: an error where it is needed, else it is counted. */
static int judge(struct metaset *m, unsigned domain, int rc)
{
	/* there is no room for it at this file: that says nothing of the disk */
	if (rc == -ENOSPC || rc == -EDQUOT || rc == -ERANGE)
		rc = -E2BIG;
	if (rc == 0 || !attribute_is_denied(rc) || (m->tells & TELLS_MUST(domain)))
		return rc;
	atomic_fetch_add(&m->unset, 1);
	return 0;
}

static int set_one(int fd, const char *name, struct span value)
{
	uint8_t now[META_VALUE_MAX_BYTES];
	ssize_t n = fgetxattr(fd, name, now, sizeof now);
	if (n >= 0 && (size_t)n == value.n && (n == 0 || memcmp(now, value.p, value.n) == 0))
		return 0;
	return fsetxattr(fd, name, value.p ? value.p : (const uint8_t *)"", value.n, 0) != 0 ? -errno : 0;
}

/* Those of one domain. */
static int set_all(struct metaset *m, int fd, struct span groups, unsigned domain)
{
	struct rd r = rd_init(groups.p, groups.n);
	struct frame_meta g;
	int rc = 0;
	while (rc == 0 && r.n && frame_get_part_meta(&r, &g)) {
		char name[META_NAME_MAX_BYTES + 1];
		if (g.kind != META_ATTRIBUTE || meta_domain((const char *)g.name.p, g.name.n) != domain)
			continue;
		memcpy(name, g.name.p, g.name.n);
		name[g.name.n] = '\0';
		rc = judge(m, domain, set_one(fd, name, g.value));
	}
	return rc;
}

static bool is_told(struct span groups, const char *name)
{
	struct rd r = rd_init(groups.p, groups.n);
	struct frame_meta g;
	size_t n = strlen(name);
	while (r.n && frame_get_part_meta(&r, &g))
		if (g.kind == META_ATTRIBUTE && g.name.n == n && memcmp(g.name.p, name, n) == 0)
			return true;
	return false;
}

/* What an older version had, or a default list of the directory gave it. */
static int remove_others(struct metaset *m, int fd, struct span groups)
{
	ssize_t n = flistxattr(fd, NULL, 0);
	if (n <= 0)
		return n == 0 || errno == EOPNOTSUPP ? 0 : -errno;
	char *names = malloc(LIST_BYTES);
	if (!names)
		return -ENOMEM;
	n = flistxattr(fd, names, LIST_BYTES);
	int rc = n < 0 ? -errno : 0;
	for (const char *at = names; rc == 0 && at < names + n; at += strlen(at) + 1) {
		unsigned domain = meta_domain(at, strlen(at));
		if (!(domain & m->tells) || is_told(groups, at))
			continue;
		if (fremovexattr(fd, at) != 0 && errno != ENODATA)
			rc = judge(m, domain, -errno);
	}
	free(names);
	return rc;
}

/* Lists last: one may take from us the right to write the rest. */
int metaset_apply(struct metaset *m, int fd, struct span groups)
{
	int rc = metaset_owner(m, fd, groups);
	if (rc == 0 && (m->tells & (TELLS_ATTRIBUTES | TELLS_ACLS)))
		rc = remove_others(m, fd, groups);
	if (rc == 0 && (m->tells & TELLS_ATTRIBUTES))
		rc = set_all(m, fd, groups, TELLS_ATTRIBUTES);
	if (rc == 0 && (m->tells & TELLS_ACLS))
		rc = set_all(m, fd, groups, TELLS_ACLS);
	return rc;
}

bool metaset_differs(const struct metaset *m, const struct stat *st, struct span groups)
{
	uid_t uid;
	gid_t gid;
	if (m->tells & (TELLS_ATTRIBUTES | TELLS_ACLS))
		return true;
	return (m->tells & TELLS_OWNERS) && owner_of(groups, &uid, &gid) &&
	       (st->st_uid != uid || st->st_gid != gid);
}
