/*
 * listing: the names of --files-from, sorted so that a directory comes right before all that lies in it, each
 * once. Held whole: the text, and four bytes a name. Never changed once made; any thread may ask.
 */
#ifndef HAUL_LIB_LISTING_H
#define HAUL_LIB_LISTING_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/err.h"

#define LISTING_BYTES_MAX ((size_t)256 << 20) /* of text */

struct listing;

/* Makes one of len bytes of text, malloc'd with room for another, which moves to it (even if it fails). Names end
 * at a line feed, with or without a carriage return, or at a NUL byte if nul. Empty ones are passed over. Slashes
 * in front, double and at the end, and components `.` are taken out; `..` stays. HAUL_USAGE with subject for a
 * NUL byte in a line and for a name of more than ROOT_PATH_MAX bytes. */
enum haul_rc listing_new(char *text, size_t len, bool nul, const char *subject, struct listing **out,
			 struct haul_err *err);
void listing_free(struct listing *l);

size_t listing_count(const struct listing *l);

/* The name at i < listing_count: relative, as root_name_refused likes it but for `..`; "" is the top itself. */
const char *listing_name(const struct listing *l, size_t i);

/* The names from i on, below end, whose component at `below` is that of i: where they end. */
size_t listing_group(const struct listing *l, size_t i, size_t end, size_t below);

/* Has the name a component `..`? */
bool listing_leads_up(const char *name);

#endif
