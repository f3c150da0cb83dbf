/* Numbers as the user writes and reads them. All bool functions: false if text is not of that form or too
 * large. */
#ifndef HAUL_LIB_UNITS_H
#define HAUL_LIB_UNITS_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes, INT64_MAX at most: k M G T or KiB.. are binary, kB MB.. decimal, bare is bytes; up to 6 decimals. */
bool units_size(const char *text, uint64_t *out);

/* Bytes a second: a size, or a size and "/s". */
bool units_rate(const char *text, uint64_t *out);

/* Milliseconds, 36500 days at most: ms s m h d, bare is seconds; up to 6 decimals. `inf` is DURATION_INF. */
bool units_duration(const char *text, uint64_t *out);

/* Digits alone. */
bool units_count(const char *text, unsigned *out);

/* A size for people, in at most 8 columns: "999 B", "1.50 GiB". */
#define UNITS_SIZE_BYTES 16
void units_show_size(char out[static UNITS_SIZE_BYTES], uint64_t n);

/* Splits "A..B" into copies; "A" is both. False if a part is too long to be a value. */
bool units_range(const char *text, char low[static 32], char high[static 32]);

#endif
