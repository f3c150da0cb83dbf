/*
 * strays: what is there and was not offered, for --delete. One walk through the destination, from its root
 * through directories that were offered; in those that were offered whole, all that was not is a stray, with
 * everything below it. Strays are named, or removed, from the leaves up.
 *
 * Everything goes through descriptors of directories opened beneath the root, by names that are not followed:
 * a symlink is removed, never what it leads to. What another file system is mounted on stays, and so does a
 * directory `.haul` at any depth (a session with a SUBDIR may live in it). Part of lib/root.
 */
#ifndef HAUL_LIB_STRAYS_H
#define HAUL_LIB_STRAYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/kept.h"
#include "lib/root.h"

/* As in a STRAY of the wire. */
enum stray_state {
	STRAY_FOUND = 0,   /* would be removed */
	STRAY_REMOVED = 1, /* was */
	STRAY_STAYS = 2,   /* a mount point, or state of ours: sys is EXDEV or EBUSY */
	STRAY_FAILED = 3,  /* sys says why */
};

struct stray {
	enum stray_state state;
	int sys;
	const char *path; /* borrowed until the next call */
	size_t path_len;
};

struct strays;

/* LOOK changes nothing at all, so a directory of ours that is closed counts as one. COUNT opens it for the
 * moment, and REMOVE for good. */
enum strays_mode { STRAYS_LOOK, STRAYS_COUNT, STRAYS_REMOVE };

/* kept is sealed, and borrowed like root until strays_free. top: the root itself was offered whole. most: of
 * REMOVE, no more than so many. NULL with errno set. */
struct strays *strays_new(struct root *root, const struct kept *kept, enum strays_mode mode, bool top,
			  uint64_t most);
void strays_free(struct strays *s);

/* STRAYS_ONE: *out is filled. STRAYS_PAUSE: many names were looked at and nothing was found; go on.
 * STRAYS_END: that was all. STRAYS_MORE: there is more to remove than `most`, and it stays. */
enum strays_result { STRAYS_ONE, STRAYS_PAUSE, STRAYS_END, STRAYS_MORE };
enum strays_result strays_next(struct strays *s, struct stray *out);

/* Entries met in directories offered whole, and below strays; how many of them are strays (or were removed).
 */
uint64_t strays_seen(const struct strays *s);
uint64_t strays_found(const struct strays *s);

#endif
