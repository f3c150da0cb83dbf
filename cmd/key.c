/* haul key: making keys, and showing of them what may be seen. */
#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd/help.h"
#include "cmd/opts.h"
#include "cmd/subcommands.h"
#include "cmd/tty.h"
#include "lib/keyfile.h"
#include "lib/keys.h"

#define WRONG(subject, ...) haul_fail(err, HAUL_USAGE, 0, subject, __VA_ARGS__)

/* $XDG_CONFIG_HOME/haul/key, or ~/.config/haul/key */
static enum haul_rc default_path(char path[static PATH_MAX], struct haul_err *err)
{
	const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	int n = -1;
	if (config && *config == '/')
		n = snprintf(path, PATH_MAX, "%s/haul/key", config);
	else if (home && *home == '/')
		n = snprintf(path, PATH_MAX, "%s/.config/haul/key", home);
	return n < 0 || n >= PATH_MAX ? WRONG(NULL, "HOME names no place for a key: name a FILE") : HAUL_OK;
}

/* The directories above the default path that are missing, for nobody else. */
static enum haul_rc make_dirs(char *path, struct haul_err *err)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(path, 0700) < 0 && errno != EEXIST)
			return haul_fail(err, HAUL_USAGE, errno, path, "cannot make the directory");
		*slash = '/';
	}
	return HAUL_OK;
}

static enum haul_rc create(const char *path, mode_t mode, enum key_kind kind, const uint8_t *key,
			   struct haul_err *err)
{
	char text[KEYTEXT_BYTES];
	keytext_encode(kind, key, text);
	enum haul_rc rc = keyfile_create(path, mode, text, err);
	sodium_memzero(text, sizeof text);
	return rc;
}

static enum haul_rc new_psk(struct haul_keys *k, const char *path, struct haul_err *err)
{
	keys_make_psk(k);
	if (create(path, 0600, KEY_PSK, k->psk, err) != HAUL_OK)
		return err->rc;
	printf("%s\n", path);
	fprintf(stderr, "Both sides need this file: copy it to the other one (scp -p), keep it from others,\n"
			"and give each of them --key=FILE.\n");
	return HAUL_OK;
}

static enum haul_rc new_identity(struct haul_keys *k, const char *path, struct haul_err *err)
{
	char pub[PATH_MAX], text[KEYTEXT_BYTES];
	if (snprintf(pub, sizeof pub, "%s.pub", path) >= (int)sizeof pub)
		return haul_fail(err, HAUL_USAGE, ENAMETOOLONG, path, "cannot be made");
	keys_make_identity(k);
	if (create(path, 0600, KEY_SECRET, k->secret, err) != HAUL_OK)
		return err->rc;
	if (create(pub, 0644, KEY_PUB, k->pub, err) != HAUL_OK) {
		keyfile_remove(path);
		return err->rc;
	}
	keytext_encode(KEY_PUB, k->pub, text);
	printf("%s\n", path);
	fprintf(stderr,
		"The other side needs the line in FILE.pub, which is no secret:\n"
		"    --peer='%s'\n"
		"This side takes --identity=FILE, and --peer with the other one's.\n",
		text);
	return HAUL_OK;
}

static enum haul_rc new_key(const struct options *o, struct haul_keys *k, struct haul_err *err)
{
	char path[PATH_MAX];
	const char *file = o->operand_count > 1 ? o->operands[1] : NULL;
	if (o->cfg.identity && file)
		return WRONG(file, "one FILE too many: haul key new --identity=FILE");
	if (o->cfg.identity)
		return new_identity(k, o->cfg.identity, err);
	if (!file && (default_path(path, err) != HAUL_OK || make_dirs(path, err) != HAUL_OK))
		return err->rc;
	return new_psk(k, file ? file : path, err);
}

static enum haul_rc show_key(const struct options *o, struct haul_keys *k, struct haul_err *err)
{
	char path[PATH_MAX], text[KEYTEXT_BYTES];
	enum key_kind kind;
	const char *file = o->operand_count > 1 ? o->operands[1] : getenv("HAUL_KEY_FILE");
	if (o->cfg.identity)
		return WRONG("--identity", "is for key new: haul key show FILE");
	if (!file || !*file) {
		if (default_path(path, err) != HAUL_OK)
			return err->rc;
		file = path;
	}
	if (keys_load_any(k, file, &kind, err) != HAUL_OK)
		return err->rc;
	if (kind == KEY_PSK) {
		char print[KEYTEXT_FINGERPRINT_BYTES];
		keytext_fingerprint(k->psk, print);
		printf("fingerprint %s\n", print);
	} else {
		keytext_encode(KEY_PUB, k->pub, text);
		printf("%s\n", text);
	}
	return HAUL_OK;
}

static enum haul_rc run(const struct options *o, struct haul_err *err)
{
	static const struct {
		const char *word;
		enum haul_rc (*run)(const struct options *o, struct haul_keys *k, struct haul_err *err);
	} verbs[] = {{"new", new_key}, {"show", show_key}};
	struct haul_keys *k;
	if (o->operand_count == 0)
		return WRONG(NULL, "new or show is missing: haul key new|show [FILE]");
	if (o->operand_count > 2)
		return WRONG(o->operands[2], "one operand too many: haul key new|show [FILE]");
	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
		if (strcmp(o->operands[0], verbs[i].word) != 0)
			continue;
		if (keys_new(&k, err) == HAUL_OK)
			verbs[i].run(o, k, err);
		keys_free(k);
		return err->rc;
	}
	return WRONG(o->operands[0], "neither new nor show: haul key new|show [FILE]");
}

int key_main(int argc, char **argv)
{
	struct options o;
	struct haul_err err = {0};
	if (opts_parse(&o, CMD_KEY, argc, argv, &err) == HAUL_OK) {
		if (o.help)
			help_subcommand(stdout, CMD_KEY);
		else
			run(&o, &err);
	}
	report_failure(&err);
	opts_free(&o);
	return haul_exit_status(&err);
}
