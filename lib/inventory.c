#include "lib/inventory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/holder.h"
#include "lib/partial.h"

/* ---- names ---- */

static void add_name(void *ctx, const char *name)
{
	struct inventory_names *n = ctx;
	size_t len = strlen(name);
	if (n->no_memory || n->count >= n->limit || len >= ROOT_TEMP_MAX)
		return;
	if (n->count == 0 || (n->count & (n->count - 1)) == 0) { /* the room is the next power of two */
		size_t room = n->count ? 2 * n->count : 1;
		void *grown = reallocarray(n->name, room, sizeof *n->name);
		n->no_memory = !grown;
		if (!grown)
			return;
		n->name = grown;
	}
	memcpy(n->name[n->count++], name, len + 1);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

int inventory_names(struct root *root, struct inventory_names *names)
{
	int rc = root_state_list(root, add_name, names);
	if (names->count)
		qsort(names->name, names->count, sizeof *names->name, by_name);
	return rc == 0 && names->no_memory ? -ENOMEM : rc;
}

#define HEX_DIGITS     "0123456789abcdef"
#define OWNER_LETTERS  "0123456789abcdefghijklmnopqrstuvwxyz"
#define OWNER_CHARS    8u
#define HASH_DIGITS    16u
#define SESSION_DIGITS 32u

/* lib/partial.h: OWNER-HASH, or the session of a stream. */
static bool is_id(const char *id, size_t len)
{
	if (len == SESSION_DIGITS && strspn(id, HEX_DIGITS) >= len)
		return true;
	return len == OWNER_CHARS + 1 + HASH_DIGITS && strspn(id, OWNER_LETTERS) == OWNER_CHARS &&
	       id[OWNER_CHARS] == '-' && strspn(id + OWNER_CHARS + 1, HEX_DIGITS) >= HASH_DIGITS;
}

bool inventory_id(const char *name, const char *suffix, char id[static ROOT_TEMP_MAX])
{
	size_t n = strcspn(name, ".");
	if (n >= ROOT_TEMP_MAX || !is_id(name, n) || strcmp(name + n, suffix) != 0)
		return false;
	memcpy(id, name, n);
	id[n] = '\0';
	return true;
}

/* ---- looking ---- */

static uint64_t allocated(int fd)
{
	struct stat st;
	return fd >= 0 && fstat(fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static int open_part(struct root *root, const char *id)
{
	char name[ROOT_TEMP_MAX + 8];
	snprintf(name, sizeof name, "%s.part", id);
	return root_state_open(root, name, O_RDONLY);
}

static void fill_times_and_places(struct root *root, int jfd, struct inventory_entry *e)
{
	struct stat st;
	struct timespec now;
	int part = open_part(root, e->id);
	clock_gettime(CLOCK_REALTIME, &now);
	if (fstat(jfd, &st) == 0 && now.tv_sec > st.st_mtim.tv_sec)
		e->age_s = (uint64_t)(now.tv_sec - st.st_mtim.tv_sec);
	e->disk = allocated(jfd) + allocated(part);
	if (part >= 0)
		close(part);
}

/* False when the journal says nothing (any more), unless a session is about to write. */
static bool look(struct root *root, const char *journal, struct inventory_entry *e)
{
	int fd = root_state_open(root, journal, O_RDONLY);
	struct journal_header *h = calloc(1, sizeof *h);
	e->active = holder_held(root, journal);
	int rc = fd < 0 ? fd : !h ? -ENOMEM : partial_peek(fd, h, &e->recorded);
	bool ok = h && (rc == 0 || (rc == -ENODATA && e->active));
	if (ok) {
		size_t owner = h->stream ? 0 : strcspn(e->id, "-");
		snprintf(e->owner, sizeof e->owner, "%.*s", (int)owner, e->id);
		if (h->stream)
			memcpy(e->owner, "stream", sizeof "stream");
		e->size = h->size;
		e->path_len = h->path_len;
		memcpy(e->path, h->path, h->path_len + 1u);
		fill_times_and_places(root, fd, e);
	}
	free(h);
	if (fd >= 0)
		close(fd);
	return ok;
}

int inventory_list(struct root *root, void (*fn)(void *ctx, const struct inventory_entry *e), void *ctx)
{
	struct inventory_names names = {.limit = SIZE_MAX};
	struct inventory_entry *e = calloc(1, sizeof *e);
	int rc = e ? inventory_names(root, &names) : -ENOMEM;
	for (size_t i = 0; rc == 0 && i < names.count; i++) {
		*e = (struct inventory_entry){0};
		if (inventory_id(names.name[i], ".j", e->id) && look(root, names.name[i], e))
			fn(ctx, e);
	}
	free(names.name);
	free(e);
	return rc;
}

/* ---- giving up ---- */

int inventory_discard(struct root *root, const char *id, uint64_t *freed)
{
	char journal[ROOT_TEMP_MAX], part[ROOT_TEMP_MAX];
	*freed = 0;
	if (!is_id(id, strlen(id)))
		return -ENOENT;
	snprintf(journal, sizeof journal, "%.40s.j", id);
	snprintf(part, sizeof part, "%.40s.part", id);
	int fd = holder_mark(root, journal, O_RDWR);
	if (fd < 0)
		return fd;
	int part_fd = open_part(root, id);
	uint64_t bytes = allocated(part_fd) + allocated(fd);
	int rc = part_fd < 0 && part_fd != -ENOENT ? part_fd : 0;
	if (part_fd >= 0)
		rc = root_temp_unlink(root, part);
	if (rc == 0) {
		holder_unclaim(root, journal);
		rc = root_temp_unlink(root, journal);
	}
	if (rc == 0)
		*freed = bytes;
	if (part_fd >= 0)
		close(part_fd);
	close(fd);
	root_tidy(root);
	return rc;
}
