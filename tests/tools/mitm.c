/*
 * mitm: somebody in the middle who knows where each record begins and ends, and nothing else. One connection at a
 * time; each is relayed until it ends on either side.
 *
 *   mitm --to HOST:PORT --port-file F --mode plain|key|peer|code --do WHAT [--dir c2s|s2c] [--at N] [--bit N]
 *        [--every] [--once] [--record F]
 *
 * WHAT happens to record N of that direction, counted from 0 behind the opening of each connection, in the first
 * connection that has one, or --every time:
 *
 *   drop repeat swap (with the next) flip (a bit, counted in the record) reflect (goes back instead of on)
 *   insert (is kept, and comes again in the next connection, before its record N) end (orderly, before it: an end of
 *   file that nobody meant)
 *   strip (of the first 16 bytes of the connection)    none
 *
 * --once: whoever comes after that is closed on.
 * --record: all that the first client says, as it says it. SIGTERM ends it; a line on standard output tells what was
 * done, with the record's length.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER_BYTES (8u << 20)
#define PREFIX_BYTES 16u

enum act { NONE, DROP, REPEAT, SWAP, FLIP, REFLECT, INSERT, END, STRIP };
static const char *const acts[] = {"none",    "drop",	"repeat", "swap",  "flip",
				   "reflect", "insert", "end",	  "strip", NULL};

/* Bytes before the first record, each way. */
static const struct {
	const char *name;
	size_t opening[2];
} modes[] = {{"plain", {56, 56}},
	     {"key", {112, 80}},
	     {"peer", {160, 80}},
	     {"code", {64 + 112, 32 + 80}},
	     {NULL, {0, 0}}};

static struct {
	const char *to, *port_file;
	int mode, act, dir;
	uint64_t at, bit;
	bool every, once;
	FILE *record;
} opt = {.mode = -1, .act = NONE};

struct flow {
	uint8_t *buf; /* what has come and not gone on */
	size_t len, skip, opening;
	uint64_t records;
	uint8_t *held; /* swap */
	size_t held_len;
};

static bool acted;
static uint8_t *kept; /* insert */
static size_t kept_len;

_Noreturn static void die(const char *what)
{
	fprintf(stderr, "mitm: %s: %s\n", what, strerror(errno));
	exit(2);
}

static int lookup(const char *const *names, const char *name)
{
	for (int i = 0; names[i]; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	errno = EINVAL;
	die(name);
}

static int mode_of(const char *name)
{
	for (int i = 0; modes[i].name; i++)
		if (strcmp(modes[i].name, name) == 0)
			return i;
	errno = EINVAL;
	die(name);
}

static struct sockaddr_in address(const char *text)
{
	char host[64];
	unsigned port;
	struct sockaddr_in sa = {.sin_family = AF_INET};
	if (sscanf(text, "%63[0-9.]:%u", host, &port) != 2 || inet_pton(AF_INET, host, &sa.sin_addr) != 1) {
		errno = EINVAL;
		die(text);
	}
	sa.sin_port = htons((uint16_t)port);
	return sa;
}

static int listen_here(void)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof sa;
	char temp[4096];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, len) < 0 || listen(fd, 64) < 0 ||
	    getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		die("listen");
	snprintf(temp, sizeof temp, "%s.tmp", opt.port_file);
	FILE *f = fopen(temp, "w");
	if (!f || fprintf(f, "127.0.0.1:%u\n", ntohs(sa.sin_port)) < 0 || fclose(f) != 0 ||
	    rename(temp, opt.port_file) < 0)
		die(opt.port_file);
	return fd;
}

static bool put(int fd, const uint8_t *p, size_t n)
{
	while (n) {
		ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
		if (k < 0)
			return false;
		p += k;
		n -= (size_t)k;
	}
	return true;
}

static void done(size_t len)
{
	acted = true;
	printf("%s record %llu of %zu bytes\n", acts[opt.act], (unsigned long long)opt.at, len);
	fflush(stdout);
}

/* One whole record goes on, or whatever becomes of it. False: the connection is at its end. */
static bool pass_record(struct flow *f, uint8_t *p, size_t n, int from, int to, bool mine)
{
	bool now = mine && f->records == opt.at && (!acted || opt.every);
	f->records += mine;
	if (mine && opt.act == INSERT && kept && f->records == opt.at + 1) {
		bool good = put(to, kept, kept_len) && put(to, p, n);
		free(kept);
		kept = NULL;
		return good;
	}
	if (f->held) {
		bool good = put(to, p, n) && put(to, f->held, f->held_len);
		free(f->held);
		f->held = NULL;
		return good;
	}
	if (!now || opt.act == NONE)
		return put(to, p, n);
	done(n);
	switch (opt.act) {
	case DROP:
		return true;
	case REPEAT:
		return put(to, p, n) && put(to, p, n);
	case SWAP:
		f->held = malloc(n);
		f->held_len = n;
		memcpy(f->held, p, n);
		return true;
	case FLIP:
		p[opt.bit / 8 % n] ^= (uint8_t)(1u << opt.bit % 8);
		return put(to, p, n);
	case REFLECT:
		return put(from, p, n);
	case INSERT:
		kept = malloc(n);
		kept_len = n;
		memcpy(kept, p, n);
		return false; /* so that there is a next connection */
	case END:
		return false;
	default:
		return put(to, p, n);
	}
}

/* Everything that is whole. */
static bool pass(struct flow *f, int from, int to, bool mine)
{
	size_t at = 0;
	bool good = true;
	if (f->skip && f->len >= f->skip) {
		done(f->skip);
		at = f->skip;
		f->skip = 0;
	}
	if (f->opening && !f->skip) {
		size_t n = f->len - at < f->opening ? f->len - at : f->opening;
		good = put(to, f->buf + at, n);
		f->opening -= n;
		at += n;
	}
	while (good && !f->opening && f->len - at >= 4) {
		uint32_t n;
		memcpy(&n, f->buf + at, 4);
		if (n > BUFFER_BYTES - 4 || f->len - at < 4 + (size_t)n)
			break;
		good = pass_record(f, f->buf + at, 4 + n, from, to, mine);
		at += 4 + n;
	}
	memmove(f->buf, f->buf + at, f->len - at);
	f->len -= at;
	return good;
}

static void relay(int client)
{
	struct sockaddr_in sa = address(opt.to);
	int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (server < 0 || connect(server, (struct sockaddr *)&sa, sizeof sa) < 0) {
		close(client);
		close(server);
		return;
	}
	static uint8_t buf[2][BUFFER_BYTES];
	struct flow flow[2] = {{.buf = buf[0]}, {.buf = buf[1]}};
	int fd[2] = {client, server};
	bool open = true;
	for (int d = 0; d < 2; d++)
		flow[d].opening = modes[opt.mode].opening[d];
	flow[opt.dir].skip = opt.act == STRIP ? PREFIX_BYTES : 0;
	flow[opt.dir].opening -= flow[opt.dir].skip;
	while (open) {
		struct pollfd p[2] = {{fd[0], POLLIN, 0}, {fd[1], POLLIN, 0}};
		poll(p, 2, -1);
		for (int d = 0; d < 2 && open; d++) {
			struct flow *f = &flow[d];
			if (!p[d].revents)
				continue;
			ssize_t n = recv(fd[d], f->buf + f->len, BUFFER_BYTES - f->len, 0);
			if (n > 0 && d == 0 && opt.record)
				fwrite(f->buf + f->len, 1, (size_t)n, opt.record);
			if (n > 0)
				f->len += (size_t)n;
			open = n > 0 && pass(f, fd[d], fd[!d], d == opt.dir);
			if (n <= 0)
				put(fd[!d], f->buf, f->len);
		}
	}
	for (int d = 0; d < 2; d++) {
		free(flow[d].held);
		shutdown(fd[d], SHUT_WR);
	}
	if (opt.record)
		fclose(opt.record);
	opt.record = NULL;
	/* unread bytes would make a reset of the end: what comes is read until they have noticed */
	for (int d = 0; d < 2; d++) {
		struct pollfd p = {fd[d], POLLIN, 0};
		while (poll(&p, 1, 2000) > 0 && recv(fd[d], buf[d], BUFFER_BYTES, 0) > 0)
			;
		close(fd[d]);
	}
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {{"to", 1, NULL, 't'},
						{"port-file", 1, NULL, 'p'},
						{"mode", 1, NULL, 'm'},
						{"do", 1, NULL, 'd'},
						{"dir", 1, NULL, 'r'},
						{"at", 1, NULL, 'a'},
						{"every", 0, NULL, 'e'},
						{"once", 0, NULL, 'o'},
						{"bit", 1, NULL, 'b'},
						{"record", 1, NULL, 'f'},
						{0}};
	static const char *const dirs[] = {"c2s", "s2c", NULL};
	int c;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 't':
			opt.to = optarg;
			break;
		case 'p':
			opt.port_file = optarg;
			break;
		case 'm':
			opt.mode = mode_of(optarg);
			break;
		case 'd':
			opt.act = lookup(acts, optarg);
			break;
		case 'r':
			opt.dir = lookup(dirs, optarg);
			break;
		case 'a':
			opt.at = strtoull(optarg, NULL, 10);
			break;
		case 'b':
			opt.bit = strtoull(optarg, NULL, 10);
			break;
		case 'e':
			opt.every = true;
			break;
		case 'o':
			opt.once = true;
			break;
		case 'f':
			opt.record = fopen(optarg, "wb");
			break;
		default:
			exit(1);
		}
	}
	if (!opt.to || !opt.port_file || opt.mode < 0) {
		fprintf(stderr, "mitm: --to, --port-file and --mode are needed\n");
		exit(1);
	}
}

int main(int argc, char **argv)
{
	parse(argc, argv);
	int listener = listen_here();
	for (;;) {
		int client = accept(listener, NULL, NULL);
		if (client >= 0 && opt.once && acted)
			close(client);
		else if (client >= 0)
			relay(client);
	}
}
