/*
 * knock: connections that are not meant well, one after the other, quickly.
 *
 *   knock IPV4:PORT replay FILE N     N times what is in FILE, as it was once recorded
 *   knock IPV4:PORT garbage SEED N    N times something else: noise, or a beginning of haul's and then noise, cut
 *                                     anywhere
 *
 * Each is read to its end. At last one line: connections, those that were answered, bytes of all answers, of the
 * longest. Exit status: 0, 1 usage, 2 a connection was not accepted or not ended.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/mutate.h"

#define BYTES_MAX   (1u << 20)
#define WAIT_MS	    10000
#define PREFIX_SIZE 16u

static uint8_t bytes[BYTES_MAX];

static int usage(void)
{
	fprintf(stderr, "usage: knock IPV4:PORT replay FILE N | knock IPV4:PORT garbage SEED N\n");
	return 1;
}

static bool parse_address(const char *text, struct sockaddr_in *sa)
{
	char host[64];
	unsigned port;
	*sa = (struct sockaddr_in){.sin_family = AF_INET};
	if (sscanf(text, "%63[0-9.]:%u", host, &port) != 2 || port > 65535)
		return false;
	sa->sin_port = htons((uint16_t)port);
	return inet_pton(AF_INET, host, &sa->sin_addr) == 1;
}

/* Whatever n bytes are taken, what comes back until the other side ends it; -1 when it does not. */
static ssize_t knock(const struct sockaddr_in *sa, size_t n)
{
	char answer[4096];
	ssize_t total = 0, got = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)sa, sizeof *sa) < 0)
		return -1;
	for (size_t at = 0; at < n;) {
		ssize_t put = send(fd, bytes + at, n - at, MSG_NOSIGNAL);
		if (put < 0)
			break; /* it has had enough */
		at += (size_t)put;
	}
	shutdown(fd, SHUT_WR);
	while (got > 0) {
		struct pollfd p = {fd, POLLIN, 0};
		if (poll(&p, 1, WAIT_MS) <= 0) {
			total = -1;
			break;
		}
		got = recv(fd, answer, sizeof answer, 0);
		total += got > 0 ? got : 0;
	}
	close(fd);
	return total;
}

/* A prefix that is right in every way, of one of the four modes, or of none. */
static void put_prefix(unsigned mode)
{
	static const uint8_t magic[8] = {0x89, 'H', 'A', 'U', 'L', '\r', '\n', 0x1a};
	memset(bytes, 0, PREFIX_SIZE);
	memcpy(bytes, magic, sizeof magic);
	bytes[8] = 1;
	bytes[9] = (uint8_t)mode;
	bytes[10] = mode != 0;
}

static size_t make_garbage(struct prng *p)
{
	size_t n = prng_below(p, prng_below(p, 8) ? 300 : 70000);
	prng_fill(p, bytes, n > PREFIX_SIZE ? n : PREFIX_SIZE);
	switch (prng_below(p, 4)) {
	case 0: /* noise */
		break;
	case 1: /* another prefix, by a bit */
		put_prefix(1 + (unsigned)prng_below(p, 3));
		bytes[prng_below(p, PREFIX_SIZE)] ^= (uint8_t)(1u << prng_below(p, 8));
		break;
	default: /* a mode with keys */
		put_prefix(1 + (unsigned)prng_below(p, 4));
		break;
	}
	return n;
}

static size_t read_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	size_t n = f ? fread(bytes, 1, sizeof bytes, f) : 0;
	if (f)
		fclose(f);
	return n;
}

int main(int argc, char **argv)
{
	struct sockaddr_in sa;
	bool replay = argc == 5 && strcmp(argv[2], "replay") == 0;
	if (argc != 5 || (!replay && strcmp(argv[2], "garbage") != 0) || !parse_address(argv[1], &sa))
		return usage();
	struct prng p = {strtoull(argv[3], NULL, 10)};
	unsigned long count = strtoul(argv[4], NULL, 10), answered = 0, total = 0, longest = 0;
	size_t n = replay ? read_file(argv[3]) : 0;
	if (!count || (replay && !n))
		return usage();
	for (unsigned long i = 0; i < count; i++) {
		ssize_t got = knock(&sa, replay ? n : make_garbage(&p));
		if (got < 0) {
			fprintf(stderr, "knock: connection %lu is not accepted, or not ended\n", i);
			return 2;
		}
		answered += got > 0;
		total += (unsigned long)got;
		longest = (unsigned long)got > longest ? (unsigned long)got : longest;
	}
	printf("%lu connections, %lu answered, %lu bytes, %lu the longest\n", count, answered, total,
	       longest);
	return 0;
}
