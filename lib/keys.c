#include "lib/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHECK_BYTES    3u
#define DIGITS	       47u /* base64url of key and checksum, unpadded */
#define FILE_MAX_BYTES 256u

static const char *const words[] = {
	[KEY_SHARED] = "haul-psk-1", [KEY_SECRET] = "haul-secret-1", [KEY_PUBLIC] = "haul-pub-1"};

static void checksum(enum key_kind kind, const uint8_t key[static KEY_BYTES], uint8_t out[static CHECK_BYTES])
{
	uint8_t digest[crypto_generichash_BYTES];
	crypto_generichash_state st;
	crypto_generichash_init(&st, NULL, 0, sizeof digest);
	crypto_generichash_update(&st, (const uint8_t *)words[kind], strlen(words[kind]));
	crypto_generichash_update(&st, key, KEY_BYTES);
	crypto_generichash_final(&st, digest, sizeof digest);
	memcpy(out, digest, CHECK_BYTES);
}

bool key_parse(const char *line, enum key_kind kind, uint8_t key[static KEY_BYTES])
{
	uint8_t raw[KEY_BYTES + CHECK_BYTES], check[CHECK_BYTES];
	size_t word = strlen(words[kind]), n = 0;
	if (strncmp(line, words[kind], word) == 0 && line[word] == ' ')
		line += word + 1;
	else if (kind != KEY_PUBLIC)
		return false;
	size_t digits = strcspn(line, " \t\r\n");
	bool good = digits == DIGITS && !line[digits + strspn(line + digits, " \t\r\n")] &&
		    sodium_base642bin(raw, sizeof raw, line, digits, NULL, &n, NULL,
				      sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0 &&
		    n == sizeof raw;
	if (good) {
		memcpy(key, raw, KEY_BYTES);
		checksum(kind, key, check);
		good = sodium_memcmp(check, raw + KEY_BYTES, CHECK_BYTES) == 0;
	}
	sodium_memzero(raw, sizeof raw);
	return good;
}

void key_format(enum key_kind kind, const uint8_t key[static KEY_BYTES], char line[static KEY_LINE_BYTES])
{
	uint8_t raw[KEY_BYTES + CHECK_BYTES];
	memcpy(raw, key, KEY_BYTES);
	checksum(kind, key, raw + KEY_BYTES);
	int n = snprintf(line, KEY_LINE_BYTES, "%s ", words[kind]);
	sodium_bin2base64(line + n, KEY_LINE_BYTES - (size_t)n, raw, sizeof raw,
			  sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	sodium_memzero(raw, sizeof raw);
}

enum haul_rc key_read(int fd, const char *subject, enum key_kind kind, uint8_t key[static KEY_BYTES],
		      struct haul_err *err)
{
	char text[FILE_MAX_BYTES + 1];
	size_t len = 0;
	ssize_t n = 0;
	while (len < FILE_MAX_BYTES &&
	       ((n = read(fd, text + len, FILE_MAX_BYTES - len)) > 0 || (n < 0 && errno == EINTR)))
		len += n > 0 ? (size_t)n : 0;
	int sys = errno;
	close(fd);
	text[len] = 0;
	bool good = n >= 0 && key_parse(text, kind, key);
	sodium_memzero(text, sizeof text);
	if (n < 0)
		return haul_fail(err, HAUL_USAGE, sys, subject, "cannot be read");
	if (!good)
		return haul_fail(err, HAUL_USAGE, 0, subject, "not a whole %s line", words[kind]);
	return HAUL_OK;
}

static enum haul_rc too_open(const struct stat *st, const char *path, struct haul_err *err)
{
	if (!S_ISREG(st->st_mode))
		return haul_fail(err, HAUL_USAGE, 0, path, "not a regular file");
	if (st->st_uid != geteuid() && st->st_uid != 0)
		return haul_fail(err, HAUL_USAGE, 0, path, "belongs to somebody else: chown %u %s",
				 (unsigned)geteuid(), path);
	if (st->st_mode & 077)
		return haul_fail(err, HAUL_USAGE, 0, path, "others can read this secret: chmod 600 %s", path);
	return HAUL_OK;
}

enum haul_rc key_load(const char *path, enum key_kind kind, uint8_t key[static KEY_BYTES],
		      struct haul_err *err)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0) {
		haul_fail(err, HAUL_USAGE, errno, path, "cannot be opened");
		if (fd >= 0)
			close(fd);
		return err->rc;
	}
	if (kind != KEY_PUBLIC && too_open(&st, path, err) != HAUL_OK) {
		close(fd);
		return err->rc;
	}
	return key_read(fd, path, kind, key, err);
}
