#include "lib/keytext.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define MAGIC		  "haul-"
#define KEY_CHARS	  43u
#define CHECKSUM_CHARS	  4u
#define CHECKSUM_BYTES	  3u
#define BODY_CHARS	  (KEY_CHARS + CHECKSUM_CHARS)
#define VERSION_MAX	  8
#define BASE64		  sodium_base64_VARIANT_URLSAFE_NO_PADDING
#define FINGERPRINT_LABEL "haul/1 fingerprint"

static const struct {
	const char *word, *name;
} kinds[] = {
	[KEY_PSK] = {"psk", "pre-shared key"},
	[KEY_SECRET] = {"secret", "secret key of an identity"},
	[KEY_PUB] = {"pub", "public key"},
};
#define KINDS (sizeof kinds / sizeof *kinds)

static void checksum(const char *text, size_t len, char out[static CHECKSUM_CHARS + 1])
{
	uint8_t digest[crypto_generichash_BYTES_MIN];
	crypto_generichash(digest, sizeof digest, (const uint8_t *)text, len, NULL, 0);
	sodium_bin2base64(out, CHECKSUM_CHARS + 1, digest, CHECKSUM_BYTES, BASE64);
	sodium_memzero(digest, sizeof digest);
}

void keytext_encode(enum key_kind kind, const uint8_t key[static KEY_BYTES], char out[static KEYTEXT_BYTES])
{
	size_t n = (size_t)snprintf(out, KEYTEXT_BYTES, MAGIC "%s-1 ", kinds[kind].word);
	sodium_bin2base64(out + n, KEY_CHARS + 1, key, KEY_BYTES, BASE64);
	checksum(out, n + KEY_CHARS, out + n + KEY_CHARS);
}

/* The kind a text begins with; *rest is behind the dash that follows it. */
static bool take_kind(const char *text, size_t len, enum key_kind *kind, const char **rest)
{
	size_t magic = strlen(MAGIC);
	if (len < magic || memcmp(text, MAGIC, magic) != 0)
		return false;
	for (size_t i = 0; i < KINDS; i++) {
		size_t n = strlen(kinds[i].word);
		if (len > magic + n && memcmp(text + magic, kinds[i].word, n) == 0 &&
		    text[magic + n] == '-') {
			*kind = (enum key_kind)i;
			*rest = text + magic + n + 1;
			return true;
		}
	}
	return false;
}

bool keytext_looks_like(enum key_kind kind, const char *text)
{
	enum key_kind found;
	const char *rest;
	return take_kind(text, strlen(text), &found, &rest) && found == kind;
}

/* A point of low order makes every shared secret zero. */
static bool usable(enum key_kind kind, const uint8_t key[static KEY_BYTES])
{
	static const uint8_t scalar[KEY_BYTES] = {1};
	uint8_t product[KEY_BYTES];
	if (sodium_is_zero(key, KEY_BYTES))
		return false;
	return kind != KEY_PUB || crypto_scalarmult_curve25519(product, scalar, key) == 0;
}

#define BAD(...) haul_fail(err, HAUL_USAGE, 0, subject, __VA_ARGS__)

enum haul_rc keytext_decode(const char *text, size_t len, const char *subject, enum key_kind *kind,
			    uint8_t key[static KEY_BYTES], struct haul_err *err)
{
	const char *version, *end = text + len;
	char sum[CHECKSUM_CHARS + 1];

	sodium_memzero(key, KEY_BYTES);
	if (sodium_init() < 0)
		return haul_fail(err, HAUL_NO_MEMORY, 0, subject, "libsodium cannot be used");
	if (!take_kind(text, len, kind, &version))
		return BAD("not a key: no line that begins with haul-psk-1, haul-secret-1 or haul-pub-1");
	size_t digits = 0;
	while (version + digits < end && version[digits] >= '0' && version[digits] <= '9')
		digits++;
	if (digits == 0 || digits > VERSION_MAX || version + digits == end || version[digits] != ' ')
		return BAD("damaged %s: no version", kinds[*kind].name);
	if (digits != 1 || *version != '1')
		return BAD("unknown version %.*s of a %s: this haul knows version 1", (int)digits, version,
			   kinds[*kind].name);
	const char *body = version + 2;
	size_t chars = (size_t)(end - body);
	if (chars < BODY_CHARS)
		return BAD("damaged %s: cut off after %zu of %u characters", kinds[*kind].name, chars,
			   BODY_CHARS);
	if (chars > BODY_CHARS)
		return BAD("damaged %s: something follows it", kinds[*kind].name);
	checksum(text, len - CHECKSUM_CHARS, sum);
	if (sodium_memcmp(sum, end - CHECKSUM_CHARS, CHECKSUM_CHARS) != 0)
		return BAD("damaged %s: its checksum does not fit", kinds[*kind].name);
	if (sodium_base642bin(key, KEY_BYTES, body, KEY_CHARS, NULL, NULL, NULL, BASE64) != 0)
		return BAD("damaged %s: not base64url", kinds[*kind].name);
	if (!usable(*kind, key))
		return BAD("a %s that cannot work", kinds[*kind].name);
	return HAUL_OK;
}

enum haul_rc keytext_expect(enum key_kind wanted, enum key_kind kind, const char *subject,
			    struct haul_err *err)
{
	if (kind == wanted)
		return HAUL_OK;
	return BAD("a %s, but a %s (haul-%s-1) is needed", kinds[kind].name, kinds[wanted].name,
		   kinds[wanted].word);
}

void keytext_fingerprint(const uint8_t key[static KEY_BYTES], char out[static KEYTEXT_FINGERPRINT_BYTES])
{
	uint8_t digest[crypto_generichash_BYTES_MIN];
	crypto_generichash(digest, sizeof digest, (const uint8_t *)FINGERPRINT_LABEL,
			   strlen(FINGERPRINT_LABEL), key, KEY_BYTES);
	sodium_bin2hex(out, KEYTEXT_FINGERPRINT_BYTES, digest, sizeof digest);
}
