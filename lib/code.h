/*
 * code: the short secret that one person reads out and another types: nine letters and digits in groups of
 * three, "k7m-4qx-9de". Eight of them are random, 40 bits; the ninth checks them, so that a slip of the
 * finger is noticed before it costs a guess. The letters are Crockford's base 32: no i, l, o, u.
 */
#ifndef HAUL_LIB_CODE_H
#define HAUL_LIB_CODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CODE_ENTROPY_BYTES 5u
#define CODE_LETTERS	   9u
#define CODE_BYTES	   (CODE_LETTERS + 1u) /* as it is kept: no dashes, and a NUL */
#define CODE_TEXT_BYTES	   (CODE_LETTERS + 3u) /* as it is shown: two dashes, and a NUL */
#define CODE_PRS_BYTES	   32u

/* Every value of entropy makes another code. */
void code_new(const uint8_t entropy[static CODE_ENTROPY_BYTES], char code[static CODE_BYTES]);

/* As people are shown it. */
void code_show(const char code[static CODE_BYTES], char text[static CODE_TEXT_BYTES]);

/* What somebody typed, n bytes: capitals are small letters, o is 0, i and l are 1; spaces, tabs, line ends
 * and dashes do not count. NULL, or why it is no code (static text; code is then empty). */
const char *code_parse(const char *typed, size_t n, char code[static CODE_BYTES]);

/* The secret of the code for the listener called realm; slow (0.3 s and 64 MiB) on purpose. False when there
 * is not that much memory. */
bool code_prs(const char code[static CODE_BYTES], const char *realm, uint8_t prs[static CODE_PRS_BYTES]);

#endif
