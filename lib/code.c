#include "lib/code.h"

#include <string.h>

#include <sodium.h>

#define LETTER_BITS 5
#define GROUP	    3u
#define CHECKED	    (CODE_LETTERS - 1)
#define SALT_LABEL  "haul/1 pw-salt" /* its NUL belongs to it */
#define KDF_OPS	    3u
#define KDF_MEMORY  ((size_t)64 << 20)

static const char letters[] = "0123456789abcdefghjkmnpqrstvwxyz";

static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		c = (char)(c - 'A' + 'a');
	if (c == 'o')
		c = '0';
	if (c == 'i' || c == 'l')
		c = '1';
	const char *at = c ? strchr(letters, c) : NULL;
	return at ? (int)(at - letters) : -1;
}

/* Odd weights notice every wrong letter, and almost every pair in the wrong order. */
static unsigned check_of(const char *code)
{
	unsigned sum = 0;
	for (unsigned i = 0; i < CHECKED; i++)
		sum += (2 * i + 1) * (unsigned)value_of(code[i]);
	return sum % (sizeof letters - 1);
}

void code_new(const uint8_t entropy[static CODE_ENTROPY_BYTES], char code[static CODE_BYTES])
{
	uint64_t bits = 0;
	for (unsigned i = 0; i < CODE_ENTROPY_BYTES; i++)
		bits = bits << 8 | entropy[i];
	for (unsigned i = 0; i < CHECKED; i++, bits >>= LETTER_BITS)
		code[i] = letters[bits % (1u << LETTER_BITS)];
	code[CHECKED] = letters[check_of(code)];
	code[CODE_LETTERS] = '\0';
	sodium_memzero(&bits, sizeof bits);
}

void code_show(const char code[static CODE_BYTES], char text[static CODE_TEXT_BYTES])
{
	for (unsigned i = 0; i < CODE_LETTERS; i++) {
		if (i && i % GROUP == 0)
			*text++ = '-';
		*text++ = code[i];
	}
	*text = '\0';
}

static const char *parse(const char *typed, size_t n, char code[static CODE_BYTES])
{
	unsigned got = 0;
	for (size_t i = 0; i < n; i++) {
		if (typed[i] && strchr(" \t\r\n-", typed[i]))
			continue;
		int value = value_of(typed[i]);
		if (value < 0)
			return "a code has letters and digits only, and no u";
		if (got == CODE_LETTERS)
			return "that is longer than a code";
		code[got++] = letters[value];
	}
	if (got < CODE_LETTERS)
		return "that is shorter than a code";
	if (value_of(code[CHECKED]) != (int)check_of(code))
		return "that is no code; there is a slip in it";
	return NULL;
}

const char *code_parse(const char *typed, size_t n, char code[static CODE_BYTES])
{
	memset(code, 0, CODE_BYTES);
	const char *why = parse(typed, n, code);
	if (why)
		sodium_memzero(code, CODE_BYTES);
	return why;
}

bool code_prs(const char code[static CODE_BYTES], const char *realm, uint8_t prs[static CODE_PRS_BYTES])
{
	uint8_t salt[crypto_pwhash_SALTBYTES];
	crypto_generichash_state h;
	crypto_generichash_init(&h, NULL, 0, sizeof salt);
	crypto_generichash_update(&h, (const uint8_t *)SALT_LABEL, sizeof SALT_LABEL);
	crypto_generichash_update(&h, (const uint8_t *)realm, strlen(realm));
	crypto_generichash_final(&h, salt, sizeof salt);
	return crypto_pwhash(prs, CODE_PRS_BYTES, code, strlen(code), salt, KDF_OPS, KDF_MEMORY,
			     crypto_pwhash_ALG_ARGON2ID13) == 0;
}
