/* Words of a command line: splitting them, and how far one is from another. */
#ifndef HAUL_CMD_WORDS_H
#define HAUL_CMD_WORDS_H

#include <stdbool.h>
#include <stddef.h>

/* Splits text in place as a shell does quotes and backslashes, but expands nothing. word gets the words and a
 * NULL: strlen(text) / 2 + 2 places are enough. False if a quote stays open. */
bool words_split(char *text, char **word);

/* Slips between a[0..a_len) and b; a swap of neighbours is one. Longer than 31 bytes is far from everything.
 */
unsigned words_distance(const char *a, size_t a_len, const char *b);

#endif
