/*
 * endpoint: where the other side is. Parses DEST, FROM and listen addresses; dialling is
 * lib/dial.h, listening lib/listen.h, the connection lib/conn.h; all come with this header. All their
 * descriptors are non-blocking and close-on-exec.
 */
#ifndef HAUL_LIB_ENDPOINT_H
#define HAUL_LIB_ENDPOINT_H

#include <stdbool.h>

#include "lib/dial.h"
#include "lib/err.h"
#include "lib/listen.h"

#define ENDPOINT_LISTEN_DEFAULT "127.0.0.1:4285"

enum endpoint_kind {
	ENDPOINT_TCP,
	ENDPOINT_UNIX,
	ENDPOINT_SSH,
	ENDPOINT_EXEC,
	ENDPOINT_STDIO,
	ENDPOINT_FD,
	ENDPOINT_SYSTEMD
};

struct endpoint {
	enum endpoint_kind kind;
	char *host; /* TCP, SSH (user@host kept together); IPv6 without its brackets */
	char *port; /* TCP: digits; SSH: digits or NULL */
	char *path; /* UNIX: socket; SSH: remote directory; EXEC: command; TCP: SUBDIR or NULL */
	int fd;	    /* FD */
	bool pull;  /* SSH: set by the caller when the far end is the one to send */
	char *text; /* as the user wrote it, for messages */
};

/*
 * DEST and FROM: HOST:PORT[/SUBDIR], tcp://HOST:PORT[/SUBDIR], [v6]:PORT, unix:PATH, [USER@]HOST:PATH,
 * ssh://[USER@]HOST[:PORT]/PATH, exec:CMD, stdio:. Digits after the colon, up to the end or a slash, mean
 * TCP; anything else ssh. A SUBDIR loses "." and empty components and becomes NULL if nothing is left. The
 * ssh PATH is relative to the login directory unless absolute; "~/x" is "x"; with ssh:// the slash belongs
 * to it (ssh://h/~/x is "x"). On failure HAUL_USAGE with the text as subject, and nothing to free.
 */
enum haul_rc endpoint_parse_peer(const char *text, struct endpoint *out, struct haul_err *err);

/* Listen forms: HOST:PORT (port 0 = any), [v6]:PORT, unix:PATH, stdio:, fd:N, systemd:; NULL is the default.
 */
enum haul_rc endpoint_parse_listen(const char *text, struct endpoint *out, struct haul_err *err);

/* Frees the strings and zeroes *ep; a zeroed endpoint is fine. */
void endpoint_free(struct endpoint *ep);

#endif
