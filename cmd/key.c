/* haul key: making keys, and showing what of them may be shown. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/report.h"
#include "cmd/subcommands.h"
#include "lib/entropy.h"
#include "lib/keys.h"
#include "wire/noise.h"

static enum haul_rc write_new(const char *file, const char *line, struct haul_err *err)
{
	if (!file || strcmp(file, "-") == 0) {
		puts(line);
		return HAUL_OK;
	}
	int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return haul_fail(err, HAUL_USAGE, errno, file, "cannot be made");
	bool good = dprintf(fd, "%s\n", line) > 0 && fsync(fd) == 0;
	if (close(fd) != 0 || !good)
		return haul_fail(err, HAUL_IO, errno, file, "cannot be written");
	return HAUL_OK;
}

static enum haul_rc make(bool identity, const char *file, struct haul_err *err)
{
	uint8_t key[KEY_BYTES];
	char line[KEY_LINE_BYTES];
	entropy_fill(key, sizeof key);
	key_format(identity ? KEY_SECRET : KEY_SHARED, key, line);
	enum haul_rc rc = write_new(file, line, err);
	sodium_memzero(key, sizeof key);
	sodium_memzero(line, sizeof line);
	return rc;
}

/* Of an identity its public key, for --peer and --peers of the other side; of a shared key a name for it. */
static enum haul_rc show(const char *file, struct haul_err *err)
{
	uint8_t key[KEY_BYTES], name[8];
	char line[KEY_LINE_BYTES];
	struct haul_err shared = {0};
	if (key_load(file, KEY_SECRET, key, err) == HAUL_OK) {
		struct noise_pair pair;
		noise_pair_from(&pair, key);
		key_format(KEY_PUBLIC, pair.pub, line);
		puts(line);
		sodium_memzero(&pair, sizeof pair);
	} else if (key_load(file, KEY_SHARED, key, &shared) == HAUL_OK) {
		haul_err_clear(err);
		crypto_generichash(name, sizeof name, (const uint8_t *)"haul/1 name", 11, key, sizeof key);
		sodium_bin2hex(line, sizeof line, name, sizeof name);
		printf("shared key %s\n", line);
	}
	sodium_memzero(key, sizeof key);
	return err->rc;
}

int key_main(int argc, char **argv)
{
	struct haul_err err = {0};
	bool identity = argc > 2 && strcmp(argv[2], "--identity") == 0;
	const char *file = argc > 2 + identity ? argv[2 + identity] : NULL;
	if (argc < 2 || argc > 3 + identity || (file && file[0] == '-' && file[1]))
		haul_fail(&err, HAUL_USAGE, 0, "key",
			  "usage: haul key new [--identity] [FILE] | haul key show FILE");
	else if (strcmp(argv[1], "new") == 0)
		make(identity, file, &err);
	else if (strcmp(argv[1], "show") == 0 && file && !identity)
		show(file, &err);
	else
		haul_fail(&err, HAUL_USAGE, 0, argv[1],
			  "usage: haul key new [--identity] [FILE] | haul key show FILE");
	if (err.rc == HAUL_OK)
		return 0;
	report_failure(&err);
	return haul_exit_status(&err);
}
