#include "lib/sweep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/entropy.h"
#include "lib/holder.h"
#include "lib/inventory.h"
#include "lib/partial.h"

#define TAG_TRIES  8
#define TAG_DIGITS (SWEEP_TAG_BYTES - 1)
#define HEX_DIGITS "0123456789abcdef"

struct sweep {
	struct root *root;
	size_t removed;
	/* of the name before: names of one session, or of one transfer, follow each other */
	char tag[SWEEP_TAG_BYTES];
	bool tag_live;
	char id[ROOT_TEMP_MAX];
};

static void session_name(char name[static ROOT_TEMP_MAX], const char *tag)
{
	snprintf(name, ROOT_TEMP_MAX, "%.16s.session", tag);
}

int sweep_begin(struct root *root, char tag[static SWEEP_TAG_BYTES])
{
	char name[ROOT_TEMP_MAX];
	int fd = -1;
	/* busy: somebody sweeps, and has met the file before we locked it */
	for (int i = 0; i < TAG_TRIES && fd < 0; i++) {
		snprintf(tag, SWEEP_TAG_BYTES, "%016llx", (unsigned long long)entropy_u64());
		session_name(name, tag);
		fd = holder_mark(root, name, O_RDWR | O_CREAT);
	}
	return fd;
}

void sweep_end(struct root *root, const char *tag, int fd)
{
	char name[ROOT_TEMP_MAX];
	session_name(name, tag);
	root_temp_unlink(root, name);
	close(fd);
}

static void drop(struct sweep *s, const char *name)
{
	s->removed += root_temp_unlink(s->root, name) == 0;
}

/* ---- sessions ---- */

static bool is_tagged(const char *name)
{
	return strspn(name, HEX_DIGITS) == TAG_DIGITS;
}

static bool is_temp(const char *name)
{
	if (!is_tagged(name) || name[TAG_DIGITS] != '-')
		return false;
	const char *number = name + TAG_DIGITS + 1;
	size_t n = strspn(number, HEX_DIGITS);
	return n > 0 && strcmp(number + n, ".part") == 0;
}

static void sweep_temp(struct sweep *s, const char *name)
{
	if (strncmp(s->tag, name, TAG_DIGITS) != 0) {
		char lock[ROOT_TEMP_MAX];
		snprintf(s->tag, sizeof s->tag, "%.16s", name);
		session_name(lock, s->tag);
		s->tag_live = holder_held(s->root, lock);
	}
	if (!s->tag_live)
		drop(s, name);
}

/* Removed under its lock: a session that is about to lock it sees that it is gone and takes another. */
static void sweep_session(struct sweep *s, const char *name)
{
	if (holder_held(s->root, name))
		return;
	int fd = holder_mark(s->root, name, O_RDWR);
	if (fd < 0)
		return;
	drop(s, name);
	close(fd);
}

/* ---- transfers ---- */

/* Has it data and a journal that speaks of it? */
static bool worth_keeping(struct root *root, const char *part, const char *journal)
{
	struct journal_header *h = calloc(1, sizeof *h);
	int fd = root_state_open(root, part, O_RDONLY), jfd = root_state_open(root, journal, O_RDONLY);
	int rc = !h ? -ENOMEM : fd < 0 ? fd : jfd < 0 ? jfd : partial_peek(jfd, h, NULL);
	free(h);
	if (fd >= 0)
		close(fd);
	if (jfd >= 0)
		close(jfd);
	return rc != -ENOENT && rc != -ENODATA; /* any other failure is not for us to judge by */
}

/* Whoever works on a transfer holds its journal, so we do while we remove it, and look again. */
static void sweep_transfer(struct sweep *s, const char *id)
{
	char part[ROOT_TEMP_MAX], journal[ROOT_TEMP_MAX], claim[ROOT_TEMP_MAX];
	snprintf(part, sizeof part, "%.40s.part", id);
	snprintf(journal, sizeof journal, "%.40s.j", id);
	snprintf(claim, sizeof claim, "%.40s.j.pid", id);
	if (worth_keeping(s->root, part, journal) || holder_held(s->root, journal))
		return;
	int fd = holder_mark(s->root, journal, O_RDWR | O_CREAT);
	if (fd < 0)
		return;
	if (!worth_keeping(s->root, part, journal)) {
		drop(s, part);
		drop(s, claim);
		drop(s, journal);
	}
	close(fd);
}

/* A renewed journal that never took its place; who is about to do that holds the old one. */
static void sweep_renewed(struct sweep *s, const char *name, const char *id)
{
	char journal[ROOT_TEMP_MAX];
	snprintf(journal, sizeof journal, "%.40s.j", id);
	if (holder_held(s->root, journal))
		return;
	int fd = holder_mark(s->root, journal, O_RDWR);
	if (fd >= 0 || fd == -ENOENT)
		drop(s, name);
	if (fd >= 0)
		close(fd);
}

static bool part_of_transfer(const char *name, char id[static ROOT_TEMP_MAX])
{
	return inventory_id(name, ".part", id) || inventory_id(name, ".j", id) ||
	       inventory_id(name, ".j.pid", id);
}

/* ---- the rest ---- */

static void sweep_name(struct sweep *s, const char *name)
{
	char id[ROOT_TEMP_MAX];
	if (is_temp(name))
		sweep_temp(s, name);
	else if (is_tagged(name) && strcmp(name + TAG_DIGITS, ".session") == 0)
		sweep_session(s, name);
	else if (inventory_id(name, ".j" PARTIAL_RENEWED, id))
		sweep_renewed(s, name, id);
	else if (part_of_transfer(name, id) && strcmp(s->id, id) != 0)
		sweep_transfer(s, memcpy(s->id, id, sizeof id));
}

size_t sweep_run(struct root *root)
{
	struct sweep s = {.root = root};
	struct inventory_names names = {.limit = SWEEP_NAMES_MAX};
	if (inventory_names(root, &names) == 0)
		for (size_t i = 0; i < names.count; i++)
			sweep_name(&s, names.name[i]);
	free(names.name);
	if (names.count)
		root_tidy(root);
	return s.removed;
}
