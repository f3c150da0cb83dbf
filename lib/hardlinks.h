/*
 * hardlinks: which files of the source are one file under several names. The first name that the walk meets
 * brings the content; the later ones travel as links to it, once it is there. When it does not get there, the
 * next name takes its place.
 *
 * Bounded: HARDLINKS_BYTES_MAX of memory in all. What does not fit is sent as files of their own. Thread-safe:
 * the scan notes names, the wire thread says what became of them.
 */
#ifndef HAUL_LIB_HARDLINKS_H
#define HAUL_LIB_HARDLINKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* About half a million files with several names whose other names have not come by. */
#define HARDLINKS_BYTES_MAX (128u << 20)

struct hardlinks;
struct hardlink; /* one such file; counted */

enum hardlinks_role { HARDLINKS_ALONE, HARDLINKS_FIRST, HARDLINKS_LATER };
enum hardlinks_state { HARDLINKS_PENDING, HARDLINKS_THERE, HARDLINKS_FAILED };

/* NULL when out of memory. bytes_max: as HARDLINKS_BYTES_MAX. */
struct hardlinks *hardlinks_new(size_t bytes_max);
void hardlinks_free(struct hardlinks *h); /* NULL is fine; what it gave out goes with it */

/* A name of a file that has `names` of them. FIRST and LATER: *out is what it is known by, to be given back with
 * hardlinks_put. ALONE: there is no room to remember it. */
enum hardlinks_role hardlinks_note(struct hardlinks *h, uint64_t dev, uint64_t ino, uint64_t names,
				   const char *path, struct hardlink **out);
void hardlinks_put(struct hardlinks *h, struct hardlink *l);

enum hardlinks_state hardlinks_state(struct hardlinks *h, const struct hardlink *l);
/* What became of the name that brings the content. */
void hardlinks_settle(struct hardlinks *h, struct hardlink *l, bool there);
/* Another name brings it now. False when out of memory: nothing has changed. */
bool hardlinks_renew(struct hardlinks *h, struct hardlink *l, const char *path);
/* The name that brought it; false when it is longer than size - 1. */
bool hardlinks_path(struct hardlinks *h, const struct hardlink *l, char *path, size_t size);

/* Names that there was no room for. */
uint64_t hardlinks_alone(struct hardlinks *h);

#endif
