/*
 * asks: somebody with an identity that is let in asks for a session that may be another's.
 *
 *   asks IPV4:PORT IDENTITY_FILE PEER_PUB_FILE SESSION_HEX
 *
 * Says ATTACH with that session, to go on with it, and tells the answer: the bytes of each message, and what REFUSE
 * says. Exit status: 0 refused, 1 usage, 2 no answer, 3 welcomed.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/auth.h"
#include "lib/entropy.h"
#include "wire/handshake.h"

static int dial(const char *text)
{
	char host[64];
	unsigned port;
	struct sockaddr_in sa = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || sscanf(text, "%63[0-9.]:%u", host, &port) != 2 ||
	    inet_pton(AF_INET, host, &sa.sin_addr) != 1)
		return -1;
	sa.sin_port = htons((uint16_t)port);
	return connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0 ? -1 : fd;
}

/* To the end of the handshake; *bytes counts what is read. */
static enum wire_rc talk(int fd, struct handshake *hs, size_t *bytes)
{
	enum wire_rc rc = WIRE_OK;
	while (rc == WIRE_OK || rc == WIRE_MORE) {
		uint8_t b[512];
		struct wire_err err = {0};
		struct pollfd p = {fd, POLLIN, 0};
		if (hs->out_len && send(fd, hs->out, hs->out_len, MSG_NOSIGNAL) != (ssize_t)hs->out_len)
			return WIRE_NOT_HAUL;
		handshake_sent(hs, hs->out_len);
		if (hs->state == HS_DONE)
			return WIRE_OK;
		size_t want = handshake_need(hs);
		ssize_t n = poll(&p, 1, 10000) > 0 ? recv(fd, b, want < sizeof b ? want : sizeof b, 0) : 0;
		if (n <= 0)
			return WIRE_NOT_HAUL;
		*bytes += (size_t)n;
		rc = handshake_feed(hs, b, (size_t)n, &err);
	}
	return rc;
}

int main(int argc, char **argv)
{
	struct haul_err err = {0};
	struct haul_keys *keys;
	struct frame_attach attach = {.role = ROLE_SENDER, .granted = 1u << 20};
	struct hello hello = {.minor_min = 1, .minor_max = 1, .max_body = RECORD_BODY_MAX_BYTES};
	struct handshake hs;
	struct wire_err why = {0};
	uint8_t secret[AUTH_KEY_BYTES];
	size_t n = 0, bytes = 0;
	if (argc != 5 || keys_new(&keys, &err) || keys_load_identity(keys, argv[2], &err) ||
	    keys_load_peer(keys, argv[3], &err) ||
	    sodium_hex2bin(attach.session, sizeof attach.session, argv[4], strlen(argv[4]), NULL, &n, NULL) !=
		    0 ||
	    n != sizeof attach.session) {
		fprintf(stderr, "usage: asks IPV4:PORT IDENTITY PEER_PUB SESSION: %s\n", err.why);
		return 1;
	}
	struct auth *auth = auth_new(keys, NULL);
	int fd = dial(argv[1]);
	entropy_fill(secret, sizeof secret);
	if (!auth || fd < 0 ||
	    handshake_initiate_with(&hs, &hello, &attach, auth_credentials(auth), secret, &why) != WIRE_OK)
		return 2;
	enum wire_rc rc = talk(fd, &hs, &bytes);
	if (rc == WIRE_REFUSED)
		printf("%zu bytes: REFUSE %u %.*s\n", bytes, hs.refuse.code, (int)hs.refuse.text.n,
		       (const char *)hs.refuse.text.p);
	else if (rc == WIRE_OK)
		printf("%zu bytes: WELCOME\n", bytes);
	auth_free(auth);
	keys_free(keys);
	close(fd);
	return rc == WIRE_REFUSED ? 0 : rc == WIRE_OK ? 3 : 2;
}
