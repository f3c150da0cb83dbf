#include "lib/user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define NAME_MAX_BYTES 256

struct who {
	uid_t uid;
	gid_t gid;
};

static bool number(const char *text, uint32_t *out)
{
	char *end;
	errno = 0;
	unsigned long n = strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end || errno || n >= UINT32_MAX)
		return false;
	*out = (uint32_t)n;
	return true;
}

static bool find_user(const char *name, struct who *out)
{
	uint32_t id;
	const struct passwd *pw = number(name, &id) ? getpwuid(id) : getpwnam(name);
	if (!pw)
		return false;
	*out = (struct who){pw->pw_uid, pw->pw_gid};
	return true;
}

static bool find_group(const char *name, gid_t *gid)
{
	uint32_t id;
	if (number(name, &id)) {
		*gid = id;
		return true;
	}
	const struct group *gr = getgrnam(name);
	if (gr)
		*gid = gr->gr_gid;
	return gr != NULL;
}

static enum haul_rc look_up(const char *spec, struct who *out, struct haul_err *err)
{
	char name[NAME_MAX_BYTES];
	const char *group = strchr(spec, ':');
	size_t n = group ? (size_t)(group - spec) : strlen(spec);
	snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : 0), spec);
	if (!find_user(name, out))
		return haul_fail(err, HAUL_USAGE, 0, spec, "no such user");
	if (group && !find_group(group + 1, &out->gid))
		return haul_fail(err, HAUL_USAGE, 0, spec, "no such group");
	if (out->uid == 0)
		return haul_fail(err, HAUL_USAGE, 0, spec, "is root: there is nothing to give up");
	return HAUL_OK;
}

static bool is_only(const struct who *w)
{
	uid_t r, e, s;
	gid_t gr, ge, gs, extra[2];
	int n = getgroups(2, extra);
	return getresuid(&r, &e, &s) == 0 && getresgid(&gr, &ge, &gs) == 0 && r == w->uid && e == w->uid &&
	       s == w->uid && gr == w->gid && ge == w->gid && gs == w->gid &&
	       (n == 0 || (n == 1 && extra[0] == w->gid));
}

/* Nothing that root could still do works. */
static bool for_good(const struct who *w)
{
	return is_only(w) && setuid(0) < 0 && seteuid(0) < 0 && setresuid((uid_t)-1, 0, (uid_t)-1) < 0 &&
	       (w->gid == 0 || (setgid(0) < 0 && setegid(0) < 0)) && is_only(w);
}

enum haul_rc user_become(const char *spec, struct haul_err *err)
{
	struct who w = {0};
	if (look_up(spec, &w, err) != HAUL_OK)
		return err->rc;
	if (geteuid() != 0 && getuid() == w.uid && geteuid() == w.uid)
		return HAUL_OK;
	if (geteuid() != 0)
		return haul_fail(err, HAUL_USAGE, 0, "--user", "only root can become %s", spec);
	if (setgroups(1, &w.gid) != 0 || setresgid(w.gid, w.gid, w.gid) != 0 ||
	    setresuid(w.uid, w.uid, w.uid) != 0)
		return haul_fail(err, HAUL_IO, errno, "--user", "cannot become %s", spec);
	if (!for_good(&w))
		return haul_fail(err, HAUL_IO, 0, "--user", "root was not given up for good");
	return HAUL_OK;
}
