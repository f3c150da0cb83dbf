/*
 * walk: sources to a stream of entries, without ever holding the tree in memory.
 *
 * Depth-first with one open directory descriptor a level (bounded; deeper levels are reopened), names in
 * readdir order. A directory's entry comes before its content and again, as ENTRY_DIR_END, after it: the
 * receiver sets directory times from that one. Symlinks are never followed on the way down unless asked
 * (links=follow). FIFOs, sockets and devices are reported as problems and skipped, never opened.
 */
#ifndef HAUL_LIB_WALK_H
#define HAUL_LIB_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/config.h"
#include "lib/err.h"
#include "lib/stamp.h"

enum entry_type {
	ENTRY_FILE = 1,
	ENTRY_DIR = 2,
	ENTRY_SYMLINK = 3,
	ENTRY_DIR_END = 4,
	ENTRY_STREAM = 5,
	ENTRY_LEFT_OUT = 6, /* not sent; told so that --delete lets it be */
	ENTRY_LINK = 7,
};

/* Is an entry of this type a thing of the tree that is sent? */
static inline bool entry_counts(unsigned type)
{
	return type != ENTRY_DIR_END && type != ENTRY_LEFT_OUT;
}

struct entry {
	enum entry_type type;
	uint32_t mode; /* st_mode & 07777 */
	struct stamp stamp;
	uint32_t uid, gid;
	uint64_t links;	 /* names of the file */
	uint64_t blocks; /* st_blocks * 512: less than size when there are holes */
	bool part;	 /* DIR_END: there are names that no entry tells of */
	const char
		*path; /* as the receiver shall name it, NUL-terminated, borrowed until the next walk_next */
	size_t path_len;
	const char *target; /* symlink target, or NULL; borrowed likewise */
	size_t target_len;
	const uint8_t *meta; /* META groups (lib/meta.h), or NULL; borrowed likewise */
	size_t meta_len;
	unsigned source; /* index of the SRC it came from */
	const char
		*source_path; /* path below walk_source_fd(source), for opening it later; borrowed likewise */
};

struct walk;

/* Prepares a walk over sources[count] (paths as the user gave them, borrowed until walk_free; a directory
 * arrives under its own name, `SRC/.` and `/` give their contents, `..` arrives under the name it really has;
 * a trailing slash changes nothing, but follows a symlink). A SRC that is a symlink is treated as links says.
 * The top directory `.haul` of a source is skipped silently. Relative ones are looked up below cfg->chdir_to
 * if that is set; it is opened here (HAUL_NO_SOURCE). No source is read yet.
 *
 * What cfg's filters leave out is no entry, and no problem either; that goes for a SRC, too, but not for the top
 * of `SRC/.`. A directory that is left out is not entered; with cfg->gitignore nothing is sent of one whose
 * .gitignore cannot be read (HAUL_IO).
 *
 * With cfg->names there is one SRC, a directory, and only what it lists is sent, as from `SRC/.`: directories that
 * lead to a name as well, a directory that is named with all in it. A name that is missing is HAUL_NO_SOURCE.
 *
 * cfg->filter and cfg->names are borrowed until walk_free. */
enum haul_rc walk_new(const struct haul_config *cfg, const char *const *sources, size_t count,
		      struct walk **out, struct haul_err *err);
void walk_free(struct walk *walk);

/* WALK_ENTRY: *out is filled. WALK_PROBLEM: *problem tells of one path that cannot be sent, out->path is what
 * the receiver would have called it ("" if nothing); the walk goes on. problem->rc says what kind:
 *   HAUL_NO_SOURCE  a SRC itself, or a name of the list (sys may be ENOENT: missing, not something that
 *                   vanished)
 *   HAUL_CHANGED    vanished since its directory was read, sys is ENOENT
 *   HAUL_IO         anything else: unreadable directory, special file (sys 0), name the receiver refuses (sys
 * 0) An unreadable directory below a SRC is an ENTRY_DIR, then the problem, then its ENTRY_DIR_END; an
 * unreadable SRC is the problem alone. WALK_END: done. One thread only. */
enum walk_result { WALK_ENTRY, WALK_PROBLEM, WALK_END };
enum walk_result walk_next(struct walk *walk, struct entry *out, struct haul_err *problem);

/* The directory descriptor that source_path is relative to (O_PATH, and shared, when it is the parent of
 * several SRCs); owned by the walk, valid until walk_free, from any thread that has an entry of that source.
 * -1 when that source could not be opened. */
int walk_source_fd(const struct walk *walk, unsigned source);

/* True when none of the sources could be read (exit 3). Valid after WALK_END. */
bool walk_nothing_readable(const struct walk *walk);

/* True when the contents of a SRC go to the top (`SRC/.`). *empty is a SRC that is a directory without a
 * single name in it, as the user gave it; NULL if there is none. Valid after WALK_END. */
bool walk_roots(const struct walk *walk, const char **empty);

/* True when cfg's filters (or its list) left something out: what was walked is not all there is. (links=skip is no filter.) Valid
 * after WALK_END. */
bool walk_filtered(const struct walk *walk);

/* Opens the regular file an entry came from: beneath its source, no symlink followed (unless links=follow),
 * O_NONBLOCK, checked S_ISREG. fd with *now filled, or -errno (-ENOENT vanished, -ESTALE no longer a regular
 * file). From any thread. */
int walk_open(const struct walk *walk, unsigned source, const char *source_path, struct stamp *now);

/* Opens what an entry came from, file or directory, to read its attributes; as walk_open else. fd or -errno. */
int walk_open_any(const struct walk *walk, unsigned source, const char *source_path);

/* Removes a source file, unless it is no longer the version that `as` tells of (-ESTALE). 0 or -errno. */
int walk_remove(const struct walk *walk, unsigned source, const char *source_path, const struct stamp *as);

#endif
