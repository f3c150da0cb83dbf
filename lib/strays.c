/*
 * One struct level for every directory between the root and here, as in lib/walk.c. A level is a stray itself,
 * or was offered; one that was offered whole has strays for children.
 */
#include "lib/strays.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/beneath.h"
#include "lib/names.h"

/* Names between two pauses. */
#define PAUSE_NAMES 4096u
/* What the steps return besides an enum strays_result. */
enum { STRAYS_AGAIN = -1 };

struct level {
	int fd;
	size_t path_len;
	bool whole;  /* what was not offered here is a stray */
	bool stray;  /* it is one, and so is all below */
	bool stays;  /* because something below stays */
	mode_t shut; /* st_mode that it gets back; 0: it was not changed */
	struct names names;
};

struct strays {
	const struct kept *kept;
	enum strays_mode mode;
	uint64_t most, seen, found;

	struct level levels[ROOT_DEPTH_MAX + 1];
	size_t depth;
	size_t path_len;
	char path[ROOT_PATH_MAX + 1];
};

static void level_push(struct strays *s, int fd, bool whole, bool stray)
{
	struct level *lv = &s->levels[s->depth++];
	*lv = (struct level){
		.fd = fd,
		.path_len = s->path_len,
		.whole = whole,
		.stray = stray,
		.names = {.buf = lv->names.buf, .cap = lv->names.cap},
	};
}

static void level_close(struct level *lv)
{
	if (lv->shut)
		(void)!fchmod(lv->fd, lv->shut & 07777);
	close(lv->fd);
}

struct strays *strays_new(struct root *root, const struct kept *kept, enum strays_mode mode, bool top,
			  uint64_t most)
{
	struct strays *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	s->kept = kept;
	s->mode = mode;
	s->most = most;
	if (root_fd(root) < 0) /* it is not there, and a dry run does not make it */
		return s;
	int fd = open_name(root_fd(root), ".", O_RDONLY | O_DIRECTORY, 0);
	if (fd >= 0) {
		level_push(s, fd, top, false);
		return s;
	}
	free(s);
	errno = -fd;
	return NULL;
}

void strays_free(struct strays *s)
{
	for (size_t i = 0; s && i <= ROOT_DEPTH_MAX; i++) {
		if (i < s->depth)
			level_close(&s->levels[i]);
		free(s->levels[i].names.buf);
	}
	free(s);
}

uint64_t strays_seen(const struct strays *s)
{
	return s->seen;
}

uint64_t strays_found(const struct strays *s)
{
	return s->found;
}

static void path_cut(struct strays *s, size_t len)
{
	s->path_len = len;
	s->path[len] = '\0';
}

static bool path_append(struct strays *s, const char *name)
{
	size_t n = strlen(name), at = s->path_len + (s->path_len > 0);
	if (at + n > ROOT_PATH_MAX)
		return false;
	if (s->path_len > 0)
		s->path[s->path_len] = '/';
	memcpy(s->path + at, name, n + 1);
	s->path_len = at + n;
	return true;
}

/* The path as it stands is what is told of. What stays keeps the stray directories above it. */
static int tell(struct strays *s, struct level *in, struct stray *out, enum stray_state state, int sys)
{
	*out = (struct stray){state, sys, s->path, s->path_len};
	if (state == STRAY_FOUND || state == STRAY_REMOVED)
		s->found++;
	else
		in->stays = true;
	return STRAYS_ONE;
}

/* The stray `name` in lv, empty by now if it is a directory. */
static int dispose(struct strays *s, struct level *lv, const char *name, int flags, struct stray *out)
{
	if (s->mode != STRAYS_REMOVE)
		return tell(s, lv, out, STRAY_FOUND, 0);
	if (s->found >= s->most)
		return STRAYS_MORE;
	if (unlinkat(lv->fd, name, flags) == 0)
		return tell(s, lv, out, STRAY_REMOVED, 0);
	return errno == ENOENT ? STRAYS_AGAIN : tell(s, lv, out, STRAY_FAILED, errno);
}

static int enter_stray(struct strays *s, struct level *lv, const char *name, const struct stat *st,
		       struct stray *out)
{
	int rc = s->mode != STRAYS_LOOK ? open_make_usable(lv->fd, name, st) : 0;
	int fd = rc < 0 ? rc : open_dir_here(lv->fd, name);
	if (fd == -EXDEV)
		return tell(s, lv, out, STRAY_STAYS, EXDEV);
	if (fd == -EACCES && s->mode != STRAYS_REMOVE) /* removing it would show what is in it */
		return tell(s, lv, out, STRAY_FOUND, 0);
	if (fd == -ENOENT)
		return STRAYS_AGAIN;
	if (fd < 0)
		return tell(s, lv, out, STRAY_FAILED, -fd);
	level_push(s, fd, false, true);
	if (s->mode == STRAYS_COUNT && (st->st_mode & 0700) != 0700 && st->st_uid == geteuid())
		s->levels[s->depth - 1].shut = st->st_mode;
	return STRAYS_AGAIN;
}

static int visit_stray(struct strays *s, struct level *lv, const char *name, struct stray *out)
{
	struct stat st;
	if (fstatat(lv->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? STRAYS_AGAIN : tell(s, lv, out, STRAY_FAILED, errno);
	s->seen++;
	if (!S_ISDIR(st.st_mode))
		return dispose(s, lv, name, 0, out);
	if (s->depth > ROOT_DEPTH_MAX)
		return tell(s, lv, out, STRAY_FAILED, ENAMETOOLONG);
	if (strcmp(name, ROOT_STATE_DIR) == 0)
		return tell(s, lv, out, STRAY_STAYS, EBUSY);
	return enter_stray(s, lv, name, &st, out);
}

/* Offered as a directory, and one here too: there may be strays below. */
static int visit_offered(struct strays *s, struct level *lv, const char *name, struct stray *out)
{
	bool part = kept_has(s->kept, KEPT_PART, s->path, s->path_len);
	bool whole = kept_has(s->kept, KEPT_WHOLE, s->path, s->path_len);
	s->seen += lv->whole;
	if ((!part && !whole) || s->depth > ROOT_DEPTH_MAX)
		return STRAYS_AGAIN;
	int fd = open_dir_here(lv->fd, name);
	if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
		return STRAYS_AGAIN;
	if (fd < 0)
		return tell(s, lv, out, fd == -EXDEV ? STRAY_STAYS : STRAY_FAILED, -fd);
	level_push(s, fd, whole && !part, false);
	return STRAYS_AGAIN;
}

static int leave(struct strays *s, struct level *lv, struct stray *out)
{
	struct level *up = lv - 1;
	level_close(lv);
	s->depth--;
	if (!lv->stray)
		return s->depth ? STRAYS_AGAIN : STRAYS_END;
	up->stays |= lv->stays;
	if (lv->stays)
		return STRAYS_AGAIN;
	return dispose(s, up, s->path + up->path_len + (up->path_len > 0), AT_REMOVEDIR, out);
}

static int step(struct strays *s, struct stray *out)
{
	struct level *lv = &s->levels[s->depth - 1];
	const char *name = NULL;
	path_cut(s, lv->path_len);
	int rc = names_next(&lv->names, lv->fd, &name);
	if (rc == 0 || rc == -ENOENT) /* somebody else has removed it */
		return leave(s, lv, out);
	if (rc < 0) {
		lv->names.all = true;
		lv->names.pos = lv->names.used = 0;
		return tell(s, lv, out, STRAY_FAILED, -rc);
	}
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
	    (s->depth == 1 && strcmp(name, ROOT_STATE_DIR) == 0))
		return STRAYS_AGAIN;
	bool strays_here = lv->whole || lv->stray;
	if (!path_append(s, name))
		return strays_here ? tell(s, lv, out, STRAY_FAILED, ENAMETOOLONG) : STRAYS_AGAIN;
	if (!lv->stray && kept_has(s->kept, KEPT_NAME, s->path, s->path_len))
		return visit_offered(s, lv, name, out);
	return strays_here ? visit_stray(s, lv, name, out) : STRAYS_AGAIN;
}

enum strays_result strays_next(struct strays *s, struct stray *out)
{
	int rc = s->depth ? STRAYS_AGAIN : STRAYS_END;
	for (unsigned i = 0; rc == STRAYS_AGAIN && i < PAUSE_NAMES; i++)
		rc = step(s, out);
	return rc == STRAYS_AGAIN ? STRAYS_PAUSE : (enum strays_result)rc;
}
