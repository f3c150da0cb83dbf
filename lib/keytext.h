/*
 * keytext: keys as one line of text.
 *
 *     haul-psk-1 KKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKKCCCC
 *
 * The first word names kind (psk, secret, pub) and version. After one space come the 32 bytes of the key in
 * base64url without padding (K, 43 characters) and the checksum (C, 4 characters): the first 3 bytes of
 * BLAKE2b-128 over everything before them, the first word included, in base64url. The checksum is against
 * truncation and typing errors, not against forgers.
 *
 * Messages never quote what was read: it may be a secret.
 */
#ifndef HAUL_LIB_KEYTEXT_H
#define HAUL_LIB_KEYTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

#define KEY_BYTES		  32u
#define KEYTEXT_BYTES		  64u /* of the longest text, with its NUL */
#define KEYTEXT_FINGERPRINT_BYTES 40u

enum key_kind { KEY_PSK, KEY_SECRET, KEY_PUB };

/* The text of a key, without a newline. */
void keytext_encode(enum key_kind kind, const uint8_t key[static KEY_BYTES], char out[static KEYTEXT_BYTES]);

/* Reads a text of exactly len bytes, of any kind. HAUL_USAGE with subject when it is none, is damaged, has
 * another version, or is a key that cannot work (zero; a public key of low order). key is written in any
 * case.
 */
enum haul_rc keytext_decode(const char *text, size_t len, const char *subject, enum key_kind *kind,
			    uint8_t key[static KEY_BYTES], struct haul_err *err);

/* HAUL_USAGE unless kind is the wanted one. */
enum haul_rc keytext_expect(enum key_kind wanted, enum key_kind kind, const char *subject,
			    struct haul_err *err);

/* Does text begin like a key of this kind, in whatever version? */
bool keytext_looks_like(enum key_kind kind, const char *text);

/* What may be shown of a pre-shared key: a digest that both sides can compare. */
void keytext_fingerprint(const uint8_t key[static KEY_BYTES], char out[static KEYTEXT_FINGERPRINT_BYTES]);

#endif
