/*
 * filter: what to take and what to leave out, by name. Rules are asked in the order in which they were added and the
 * first that matches decides, as with rsync; of a .gitignore the last one does. Compiled once, then never changed, so
 * that any thread may ask.
 */
#ifndef HAUL_LIB_FILTER_H
#define HAUL_LIB_FILTER_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/err.h"

enum verdict { FILTER_NONE, FILTER_TAKE, FILTER_LEAVE };

struct filter;

/* NULL when out of memory. */
struct filter *filter_new(void);
void filter_free(struct filter *f);

/* Adds one rule, a pattern as GLOB_RSYNC has it. `+ ` or `- ` before it says include or exclude, whatever include
 * says; `!` alone forgets all rules so far. HAUL_USAGE with subject when it is empty or too long. */
enum haul_rc filter_add(struct filter *f, bool include, const char *pattern, size_t len, const char *subject,
			struct haul_err *err);

/* Adds what a file holds, len bytes of text, which are not kept: excludes, one a line (`\r\n` is fine). Empty lines
 * and those that begin with `#` or `;` are passed over. nul: one ends at a NUL byte and nothing is a comment. A line that is no rule is HAUL_USAGE with `subject:LINE`. */
enum haul_rc filter_add_text(struct filter *f, const char *text, size_t len, bool nul, const char *subject,
			     struct haul_err *err);

/* Adds the lines of a .gitignore. False when out of memory; a line that is too long is no rule. */
bool filter_add_gitignore(struct filter *f, const char *text, size_t len);

/* What the first rule that matches says; the last, if they are of a .gitignore. path: as glob_match has it. */
enum verdict filter_ask(const struct filter *f, const char *path, size_t len, bool is_dir);

#endif
