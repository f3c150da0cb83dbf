/*
 * peers: the file of authorised peers, one a line:
 *
 *     haul-pub-1 KEY name=NAME dir=DIR [max-bytes=SIZE] [max-sessions=N] [no-overwrite] [ro]
 *
 * The public key comes first, the rest in any order, each once, separated by blanks; NAME and DIR are needed.
 * Lines that are empty or begin with # are passed over. No key and no name may come twice. The file must be
 * one that nobody else can change (lib/keyfile.h).
 */
#ifndef HAUL_LIB_PEERS_H
#define HAUL_LIB_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/keytext.h"

#define PEERS_FILE_MAX 262144u /* bytes */
#define PEERS_LINE_MAX 5120u   /* bytes: the longest DIR and the rest */
#define PEERS_MAX      1024u
#define PEER_NAME_MAX  64u

struct peer {
	uint8_t pub[KEY_BYTES];
	const char *name;      /* 1 to 64 of A-Z a-z 0-9 . _ @ + - */
	const char *dir;       /* canonical, below the receiver's DIR; "." is DIR itself */
	uint64_t max_bytes;    /* SIZE_UNSET if not given */
	unsigned max_sessions; /* 0 if not given */
	bool no_overwrite, read_only;
};

/* A zeroed one is empty. */
struct peers {
	struct peer *peer;
	size_t count;
	char *text; /* what the strings look into */
};

/* Fills an empty p, which owns what it holds until peers_free. HAUL_USAGE with FILE:LINE (or FILE) as
 * subject; a file that authorises nobody is one of those. Nothing is left in p after a failure. */
enum haul_rc peers_load(struct peers *p, const char *path, struct haul_err *err);

/* The same of a text in memory; path is for messages. */
enum haul_rc peers_parse(struct peers *p, const char *path, const char *text, size_t len,
			 struct haul_err *err);

void peers_free(struct peers *p);

/* The peer with this key, or NULL. */
const struct peer *peers_find(const struct peers *p, const uint8_t pub[static KEY_BYTES]);

#endif
