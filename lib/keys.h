/*
 * keys: the files keys live in. One line: a word that says what it is, and 47 letters of base64url: the 32
 * bytes of the key and three of a checksum, so that a cut or mistyped key is noticed.
 */
#ifndef HAUL_LIB_KEYS_H
#define HAUL_LIB_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"

#define KEY_BYTES      32u
#define KEY_LINE_BYTES 64u /* the longest line, with its NUL */

enum key_kind { KEY_SHARED, KEY_SECRET, KEY_PUBLIC };

/* Reads one line, with or without its end; the word may be left out for a public key. */
bool key_parse(const char *line, enum key_kind kind, uint8_t key[static KEY_BYTES]);

/* Writes the line, without its end. */
void key_format(enum key_kind kind, const uint8_t key[static KEY_BYTES], char line[static KEY_LINE_BYTES]);

/* Reads the key at path. A secret must be a file of this user or of root that nobody else can read.
 * HAUL_USAGE, with what to do about it. */
enum haul_rc key_load(const char *path, enum key_kind kind, uint8_t key[static KEY_BYTES],
		      struct haul_err *err);
/* The same from a descriptor, which is closed; what it is is its owner's business. */
enum haul_rc key_read(int fd, const char *subject, enum key_kind kind, uint8_t key[static KEY_BYTES],
		      struct haul_err *err);

#endif
