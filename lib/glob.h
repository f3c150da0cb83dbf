/*
 * glob: one pattern with wildcards, compiled once, asked often.
 *
 * `*` is any run without a slash, `?` any character but a slash, `[...]` one of a class (ranges, `!` or `^`
 * for "none of", names like [:digit:]), a backslash takes the next character as it is. A slash at the end
 * means directories only. Matching walks the text once with the set of places in the pattern that it may be
 * at: length of the text times length of the pattern at worst, whatever the pattern.
 *
 * GLOB_RSYNC, as rsync's --exclude has it: a slash in front ties the pattern to the top; a slash inside, or
 * `**` (any run at all), makes it match the end of the whole path, from the beginning of a component; any
 * other matches the last component. `dir/` and three stars match dir and all in it. Without a wildcard a
 * backslash is a backslash.
 *
 * GLOB_GIT, as gitignore(5) has it: a slash in front or inside ties the pattern to the top; `**` counts only
 * as a whole component, and may then stand for none or for several.
 */
#ifndef HAUL_LIB_GLOB_H
#define HAUL_LIB_GLOB_H

#include <stdbool.h>
#include <stddef.h>

#define GLOB_TEXT_MAX 4096 /* bytes of a pattern */

enum glob_dialect { GLOB_RSYNC, GLOB_GIT };

struct glob;

/* text: len bytes, GLOB_TEXT_MAX at most, copied. NULL when out of memory. A pattern that makes no sense, like
 * an open class, matches nothing. */
struct glob *glob_new(enum glob_dialect dialect, const char *text, size_t len);
void glob_free(struct glob *g);

/* path: len bytes, relative, without a slash at either end. */
bool glob_match(const struct glob *g, const char *path, size_t len, bool is_dir);

#endif
