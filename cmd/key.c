/* haul key: making keys, and showing what of them may be shown. */
#include <stdio.h>
#include <string.h>

#include "cmd/report.h"
#include "cmd/subcommands.h"
#include "lib/keyfile.h"
#include "lib/keys.h"

static enum haul_rc make(struct haul_keys *k, bool identity, const char *file, struct haul_err *err)
{
	char text[KEYTEXT_BYTES];
	if (identity)
		keys_make_identity(k);
	else
		keys_make_psk(k);
	keytext_encode(identity ? KEY_SECRET : KEY_PSK, identity ? k->secret : k->psk, text);
	enum haul_rc rc = HAUL_OK;
	if (file)
		rc = keyfile_create(file, 0600, text, err);
	else
		puts(text);
	explicit_bzero(text, sizeof text);
	return rc;
}

/* Of an identity its public key, for --peer and --peers of the other side; of a pre-shared key a name for it.
 */
static enum haul_rc show(struct haul_keys *k, const char *file, struct haul_err *err)
{
	enum key_kind kind;
	char text[KEYTEXT_BYTES];
	if (keys_load_any(k, file, &kind, err) != HAUL_OK)
		return err->rc;
	if (kind == KEY_PSK)
		keytext_fingerprint(k->psk, text);
	else
		keytext_encode(KEY_PUB, k->pub, text);
	puts(text);
	return HAUL_OK;
}

int key_main(int argc, char **argv)
{
	struct haul_err err = {0};
	struct haul_keys *k = NULL;
	bool identity = argc > 2 && strcmp(argv[2], "--identity") == 0;
	const char *file = argc > 2 + identity ? argv[2 + identity] : NULL;
	if (argc < 2 || argc > 3 + identity || (file && file[0] == '-' && file[1]))
		haul_fail(&err, HAUL_USAGE, 0, "key",
			  "usage: haul key new [--identity] [FILE] | haul key show FILE");
	else if (keys_new(&k, &err) != HAUL_OK)
		; /* said there */
	else if (strcmp(argv[1], "new") == 0)
		make(k, identity, file, &err);
	else if (strcmp(argv[1], "show") == 0 && file && !identity)
		show(k, file, &err);
	else
		haul_fail(&err, HAUL_USAGE, 0, argv[1],
			  "usage: haul key new [--identity] [FILE] | haul key show FILE");
	keys_free(k);
	if (err.rc == HAUL_OK)
		return 0;
	report_failure(&err);
	return haul_exit_status(&err);
}
