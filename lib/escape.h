/*
 * Text that came from elsewhere (a peer, a directory), made fit to be shown.
 *
 * All functions work like snprintf: they write at most cap bytes, the last a NUL, never half a sequence, and
 * return the length the whole result has; a result of cap or more was cut. cap may be 0, then out may be
 * NULL.
 */
#ifndef HAUL_LIB_ESCAPE_H
#define HAUL_LIB_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * For terminals and logs: one line that cannot move the cursor or reorder itself. A backslash becomes \\; C0
 * controls, DEL and bytes that are not valid UTF-8 become \xNN; C1 controls, the line and paragraph
 * separators and the bidi controls (U+061C, U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069) become \u{N},
 * in hex.
 */
size_t escape_text(char *out, size_t cap, const char *in, size_t len);

/* The inside of a JSON string (RFC 8259), ASCII controls escaped. Invalid UTF-8 becomes U+FFFD, one a byte.
 */
size_t escape_json(char *out, size_t cap, const char *in, size_t len);

/* RFC 4648 base64 with padding. */
size_t escape_base64(char *out, size_t cap, const void *in, size_t len);

/* Whether the bytes are UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
 */
bool utf8_valid(const char *in, size_t len);

/* Length of the valid UTF-8 sequence at the start of in, 0 if there is none; *code gets the character. */
size_t utf8_decode(const char *in, size_t len, unsigned *code);

#endif
