/*
 * chaos: a TCP proxy that breaks connections at exact bytes, for haul's own tests. One thread, one ppoll.
 *
 * Connections are numbered from 1 as accepted; refused ones do not count. Of the counted direction exactly
 * as many bytes are read as may be forwarded, so that a cut, stall or freeze falls on its byte. A reset
 * waits until the kernels of both peers have what was forwarded to them.
 *
 *   --listen HOST:PORT --to HOST:PORT|unix:PATH --port-file F    127.0.0.1:0; F is written atomically
 *   --cut-after N[,N...]        the k-th connection ends after the k-th N bytes; - spares it
 *   --cut-every N --cuts M --seed S    each connection ends after N +-50 % bytes, M cuts in all
 *   --cut-dir c2s|s2c|both      the bytes that count for cuts, stalls and freezes (c2s)
 *   --cut-how rst|fin|blackhole    how it ends (rst); a black hole swallows everything and stays open
 *   --refuse K, --down MS       after a cut: reset the next K; do not listen for MS
 *   --stall MS@N                once a connection, forward nothing for MS after N bytes
 *   --freeze-after N[,N...]     like --cut-after, but neither read nor write from there on
 *   --rate N, --trickle N       bytes a second in each direction; bytes a write
 *   --flip OFFSET:BIT[:CONN[:c2s|s2c]]    invert one bit, in connection 1 and c2s by default; repeatable
 *   --log F                     JSON lines: listen open fin cut stall freeze flip refuse down close exit
 *   --until-eof                 end with standard input; SIGTERM and SIGINT end it too
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_SIZE  ((size_t)256 * 1024)
#define LINKS_MAX    256
#define LIST_MAX     65536
#define FLIPS_MAX    64
#define ROUNDS	     8 /* reads and writes of one link before the others have their turn */
#define NEVER	     UINT64_MAX
#define MS	     UINT64_C(1000000)
#define FLUSH_MAX_NS (5000 * MS)

enum { C2S, S2C, BOTH };
enum how { RST, FIN, BLACKHOLE };
enum state { LIVE, FLUSHING, DISCARDING, FROZEN };

static const char *const dir_names[] = {"c2s", "s2c", "both", NULL};
static const char *const how_names[] = {"rst", "fin", "blackhole", NULL};

struct flip {
	uint64_t offset, conn;
	unsigned bit, dir;
};

struct address {
	struct sockaddr_storage sa;
	socklen_t len;
};

static struct {
	const char *listen, *to, *port_file;
	uint64_t cut_every, cuts, seed, cut_after[LIST_MAX], freeze_after[LIST_MAX];
	size_t n_cut_after, n_freeze_after, n_flips;
	unsigned cut_dir, cut_how;
	uint64_t refuse, down_ms, stall_ms, stall_at, rate, trickle;
	struct flip flips[FLIPS_MAX];
	FILE *log;
	bool until_eof;
} opt = {.cuts = NEVER, .stall_at = NEVER, .cut_how = RST};

/* One direction: in counts what was read, out what was written; buf[off, off + len) is between. */
struct flow {
	uint8_t *buf;
	size_t off, len;
	uint64_t in, out, next_write;
	bool eof, fin;
};

struct link {
	uint64_t id, cut_at, stall_at, freeze_at; /* the marks, on counted bytes */
	uint64_t wake;				  /* when a stall or a flush ends */
	int fd[2];				  /* client, server; flow[d] reads fd[d] and writes fd[!d] */
	struct flow flow[2];
	enum state state;
	bool broken;
};

static struct link *links[LINKS_MAX];
static size_t n_links;
static uint64_t n_opened, refuse_left, listen_again = NEVER, started;
static int listener = -1;
static struct address listen_addr, to_addr;
static volatile sig_atomic_t stop;

static uint64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 * MS + (uint64_t)ts.tv_nsec;
}

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fputs("chaos: ", stderr);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

/* One event; fmt holds the members after type and t. */
__attribute__((format(printf, 2, 3))) static void note(const char *type, const char *fmt, ...)
{
	if (!opt.log)
		return;
	va_list ap;
	va_start(ap, fmt);
	fprintf(opt.log, "{\"type\":\"%s\",\"t\":%.6f", type, (double)(now_ns() - started) / 1e9);
	vfprintf(opt.log, fmt, ap);
	fputs("}\n", opt.log);
	fflush(opt.log);
	va_end(ap);
}

static void note_link(const char *type, const struct link *l, const char *key, const char *value)
{
	note(type, ",\"conn\":%" PRIu64 ",\"%s\":\"%s\",\"c2s\":%" PRIu64 ",\"s2c\":%" PRIu64, l->id, key,
	     value, l->flow[C2S].out, l->flow[S2C].out);
}

static uint64_t draw(void)
{
	uint64_t z = opt.seed += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* Opening and closing */

static void resolve(const char *text, struct address *a)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&a->sa;
	if (strncmp(text, "unix:", 5) == 0) {
		un->sun_family = AF_UNIX;
		if (strlen(text + 5) >= sizeof un->sun_path)
			die("%s: too long", text);
		strcpy(un->sun_path, text + 5);
		a->len = sizeof *un;
		return;
	}
	char host[256];
	const char *colon = strrchr(text, ':');
	size_t skip = *text == '[';
	if (!colon || (size_t)(colon - text) >= sizeof host || (size_t)(colon - text) < 2 * skip)
		die("%s: HOST:PORT or unix:PATH is meant", text);
	snprintf(host, sizeof host, "%.*s", (int)((size_t)(colon - text) - 2 * skip), text + skip);
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *ai;
	int rc = getaddrinfo(host, colon + 1, &hints, &ai);
	if (rc)
		die("%s: %s", text, gai_strerror(rc));
	memcpy(&a->sa, ai->ai_addr, ai->ai_addrlen);
	a->len = ai->ai_addrlen;
	freeaddrinfo(ai);
}

/* The port found the first time is kept when listening again after --down. */
static void start_listening(void)
{
	int on = 1;
	char host[NI_MAXHOST], port[NI_MAXSERV];
	struct sockaddr *sa = (struct sockaddr *)&listen_addr.sa;
	listener = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
	    bind(listener, sa, listen_addr.len) < 0 || listen(listener, LINKS_MAX) < 0 ||
	    getsockname(listener, sa, &listen_addr.len) < 0)
		die("%s: %s", opt.listen, strerror(errno));
	listen_again = NEVER;
	getnameinfo(sa, listen_addr.len, host, sizeof host, port, sizeof port,
		    NI_NUMERICHOST | NI_NUMERICSERV);
	bool v6 = sa->sa_family == AF_INET6;
	char text[NI_MAXHOST + NI_MAXSERV + 4];
	snprintf(text, sizeof text, "%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "", port);
	note("listen", ",\"addr\":\"%s\"", text);
	if (!opt.port_file)
		return;
	char temp[4096];
	snprintf(temp, sizeof temp, "%s.%ld", opt.port_file, (long)getpid());
	FILE *f = fopen(temp, "we");
	if (!f || fprintf(f, "%s\n", text) < 0 || fclose(f) != 0 || rename(temp, opt.port_file) < 0)
		die("%s: %s", opt.port_file, strerror(errno));
	opt.port_file = NULL;
}

static void reset_on_close(int fd)
{
	struct linger hard = {.l_onoff = 1};
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}

static void link_close(size_t i, const char *why, bool reset)
{
	struct link *l = links[i];
	note_link("close", l, "how", why);
	for (int d = 0; d < 2; d++) {
		if (reset)
			reset_on_close(l->fd[d]);
		close(l->fd[d]);
		free(l->flow[d].buf);
	}
	free(l);
	links[i] = links[--n_links];
}

static int connect_server(void)
{
	const struct sockaddr *sa = (const struct sockaddr *)&to_addr.sa;
	int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, sa, to_addr.len) == 0 || errno == EINPROGRESS)
		return fd; /* a refusal that comes later is the first read's error */
	close(fd);
	return -1;
}

static uint64_t next_cut(uint64_t id)
{
	if (opt.cut_every && opt.cuts)
		return opt.cut_every / 2 + draw() % (opt.cut_every + 1);
	return id <= opt.n_cut_after ? opt.cut_after[id - 1] : NEVER;
}

static void link_open(int client, int server)
{
	int on = 1;
	struct link *l = calloc(1, sizeof *l);
	if (!l || !(l->flow[0].buf = malloc(BUFFER_SIZE)) || !(l->flow[1].buf = malloc(BUFFER_SIZE)))
		die("out of memory");
	l->fd[0] = client;
	l->fd[1] = server;
	for (int d = 0; d < 2; d++)
		(void)setsockopt(l->fd[d], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	l->id = ++n_opened;
	l->cut_at = next_cut(l->id);
	l->freeze_at = l->id <= opt.n_freeze_after ? opt.freeze_after[l->id - 1] : NEVER;
	l->stall_at = opt.stall_at;
	links[n_links++] = l;
	note("open", ",\"conn\":%" PRIu64, l->id);
}

static void accept_one(void)
{
	int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (client < 0)
		return;
	int server = refuse_left ? -1 : connect_server();
	if (server >= 0) {
		link_open(client, server);
		return;
	}
	note(refuse_left ? "refuse" : "connect_fail", ",\"left\":%" PRIu64, refuse_left);
	refuse_left -= refuse_left > 0;
	reset_on_close(client);
	close(client);
}

/* Faults */

static bool counts(int dir)
{
	return opt.cut_dir == BOTH || (int)opt.cut_dir == dir;
}

static uint64_t counted_in(const struct link *l)
{
	return (counts(C2S) ? l->flow[C2S].in : 0) + (counts(S2C) ? l->flow[S2C].in : 0);
}

static uint64_t counted_out(const struct link *l)
{
	return (counts(C2S) ? l->flow[C2S].out : 0) + (counts(S2C) ? l->flow[S2C].out : 0);
}

static uint64_t next_mark(const struct link *l)
{
	uint64_t mark = l->cut_at < l->stall_at ? l->cut_at : l->stall_at;
	return mark < l->freeze_at ? mark : l->freeze_at;
}

static void begin_cut(struct link *l)
{
	l->cut_at = NEVER;
	if (opt.cuts == 0)
		return;
	opt.cuts -= opt.cuts != NEVER;
	note_link("cut", l, "how", how_names[opt.cut_how]);
	l->state = opt.cut_how == RST ? FLUSHING : DISCARDING;
	l->wake = now_ns() + FLUSH_MAX_NS;
	if (opt.cut_how == FIN)
		for (int d = 0; d < 2; d++)
			(void)shutdown(l->fd[d], SHUT_WR);
	refuse_left = opt.refuse;
	if (opt.down_ms && listener >= 0) {
		note("down", ",\"ms\":%" PRIu64, opt.down_ms);
		close(listener);
		listener = -1;
		listen_again = now_ns() + opt.down_ms * MS;
	}
}

static void meet_marks(struct link *l)
{
	uint64_t done = counted_out(l);
	if (l->stall_at <= done) {
		l->stall_at = NEVER;
		l->wake = now_ns() + opt.stall_ms * MS;
		note("stall", ",\"conn\":%" PRIu64 ",\"ms\":%" PRIu64, l->id, opt.stall_ms);
	}
	if (l->freeze_at <= done) {
		l->state = FROZEN;
		note_link("freeze", l, "dir", dir_names[opt.cut_dir]);
	} else if (l->cut_at <= done) {
		begin_cut(l);
	}
}

static void flip_bits(const struct link *l, unsigned dir, uint64_t start, uint8_t *buf, size_t len)
{
	for (const struct flip *f = opt.flips; f < opt.flips + opt.n_flips; f++) {
		if (f->conn != l->id || f->dir != dir || f->offset < start || f->offset - start >= len)
			continue;
		buf[f->offset - start] ^= (uint8_t)(1u << f->bit);
		note("flip", ",\"conn\":%" PRIu64 ",\"dir\":\"%s\",\"offset\":%" PRIu64 ",\"bit\":%u", l->id,
		     dir_names[dir], f->offset, f->bit);
	}
}

/* Moving bytes: fill and drain tell whether they got anywhere */

static bool stalled(const struct link *l)
{
	return l->state == LIVE && now_ns() < l->wake;
}

static size_t may_read(const struct link *l, int d)
{
	const struct flow *f = &l->flow[d];
	uint64_t mark = next_mark(l), in = counted_in(l);
	if (f->eof || f->len)
		return 0;
	if (!counts(d) || mark == NEVER)
		return BUFFER_SIZE;
	return mark <= in ? 0 : mark - in < BUFFER_SIZE ? (size_t)(mark - in) : BUFFER_SIZE;
}

static bool fill(struct link *l, int d)
{
	struct flow *f = &l->flow[d];
	size_t room = may_read(l, d);
	if (room == 0)
		return false;
	ssize_t n = read(l->fd[d], f->buf, room);
	if (n < 0) {
		l->broken = l->broken || (errno != EAGAIN && errno != EINTR);
		return false;
	}
	flip_bits(l, (unsigned)d, f->in, f->buf, (size_t)n);
	f->eof = n == 0;
	f->off = 0;
	f->len = (size_t)n;
	f->in += (size_t)n;
	return true;
}

static size_t may_write(const struct flow *f)
{
	size_t max = f->len;
	if (opt.trickle && max > opt.trickle)
		max = opt.trickle;
	if (opt.rate && max > opt.rate / 64 + 1) /* some 16 ms a piece */
		max = opt.rate / 64 + 1;
	return max;
}

static bool drain(struct link *l, int d)
{
	struct flow *f = &l->flow[d];
	if (f->len == 0 && f->eof && !f->fin) {
		f->fin = true;
		note("fin", ",\"conn\":%" PRIu64 ",\"dir\":\"%s\",\"bytes\":%" PRIu64, l->id, dir_names[d],
		     f->out);
		(void)shutdown(l->fd[!d], SHUT_WR);
	}
	uint64_t now = opt.rate ? now_ns() : 0;
	if (f->len == 0 || now < f->next_write)
		return false;
	ssize_t n = write(l->fd[!d], f->buf + f->off, may_write(f));
	if (n < 0) {
		l->broken = l->broken || (errno != EAGAIN && errno != EINTR);
		return false;
	}
	f->off += (size_t)n;
	f->len -= (size_t)n;
	f->out += (size_t)n;
	if (opt.rate)
		f->next_write =
			(f->next_write > now ? f->next_write : now) + (uint64_t)n * 1000 * MS / opt.rate;
	return true;
}

static void forward(struct link *l)
{
	for (int d = 0; d < 2; d++)
		for (int i = 0; i < ROUNDS && l->state == LIVE && !l->broken && !stalled(l); i++) {
			bool moved = fill(l, d);
			moved = drain(l, d) || moved;
			meet_marks(l);
			if (!moved)
				break;
		}
}

static void discard(struct link *l)
{
	for (int d = 0; d < 2; d++) {
		ssize_t n = l->flow[d].eof ? -1 : read(l->fd[d], l->flow[d].buf, BUFFER_SIZE);
		bool again = n < 0 && (errno == EAGAIN || errno == EINTR);
		l->flow[d].eof = l->flow[d].eof || n == 0 || (n < 0 && !again);
	}
}

static bool flushed(const struct link *l)
{
	int left[2] = {0, 0};
	for (int d = 0; d < 2; d++)
		if (d == C2S || to_addr.sa.ss_family != AF_UNIX)
			(void)ioctl(l->fd[d], SIOCOUTQ, &left[d]);
	return (left[0] == 0 && left[1] == 0) || now_ns() >= l->wake;
}

/* Does what can be done now; the link may be gone afterwards. */
static void link_step(size_t i)
{
	struct link *l = links[i];
	meet_marks(l);
	if (l->state == LIVE)
		forward(l);
	else if (l->state == DISCARDING)
		discard(l);
	bool ended = l->state != FROZEN && l->flow[C2S].eof && l->flow[S2C].eof;
	if (l->broken)
		link_close(i, "reset", true);
	else if (l->state == FLUSHING && flushed(l))
		link_close(i, "cut", true);
	else if (ended && (l->state == DISCARDING || (l->flow[C2S].fin && l->flow[S2C].fin)))
		link_close(i, l->state == LIVE ? "eof" : "cut", false);
}

/* The loop */

/* Fills p[0, 2) for a link; returns when it must be looked at even if nothing happens. Descriptors nothing is
 * wanted of are left out, or their hang-up would spin the loop. */
static uint64_t link_wants(const struct link *l, struct pollfd p[2])
{
	uint64_t wake = NEVER, now = now_ns();
	short events[2] = {0, 0};
	for (int d = 0; d < 2; d++) {
		const struct flow *f = &l->flow[d];
		if (l->state == DISCARDING && !f->eof)
			events[d] = (short)(events[d] | POLLIN);
		if (l->state != LIVE || now < l->wake)
			continue;
		if (may_read(l, d))
			events[d] = (short)(events[d] | POLLIN);
		if (f->len && now < f->next_write)
			wake = f->next_write < wake ? f->next_write : wake;
		else if (f->len)
			events[!d] = (short)(events[!d] | POLLOUT);
	}
	for (int d = 0; d < 2; d++)
		p[d] = (struct pollfd){.fd = events[d] ? l->fd[d] : -1, .events = events[d]};
	if (l->state == FLUSHING)
		return now + MS;
	return l->state == LIVE && now < l->wake ? l->wake : wake;
}

static void wait_for(struct pollfd *p, size_t n, uint64_t wake, const sigset_t *mask)
{
	uint64_t now = now_ns(), left = wake > now ? wake - now : 0;
	struct timespec ts = {.tv_sec = (time_t)(left / (1000 * MS)), .tv_nsec = (long)(left % (1000 * MS))};
	if (ppoll(p, n, wake == NEVER ? NULL : &ts, mask) < 0 && errno != EINTR)
		die("ppoll: %s", strerror(errno));
}

static void turn(const sigset_t *mask)
{
	static struct pollfd p[2 + 2 * LINKS_MAX];
	uint64_t wake = listen_again;
	size_t n = n_links;
	p[0] = (struct pollfd){.fd = n < LINKS_MAX ? listener : -1, .events = POLLIN};
	p[1] = (struct pollfd){.fd = opt.until_eof ? STDIN_FILENO : -1, .events = POLLIN};
	for (size_t i = 0; i < n; i++) {
		uint64_t t = link_wants(links[i], &p[2 + 2 * i]);
		wake = t < wake ? t : wake;
	}
	wait_for(p, 2 + 2 * n, wake, mask);
	char byte;
	if (p[1].revents && read(STDIN_FILENO, &byte, 1) <= 0)
		stop = 1;
	if (now_ns() >= listen_again)
		start_listening();
	else if (p[0].revents && listener >= 0)
		accept_one();
	for (size_t i = n_links; i-- > 0;)
		link_step(i);
}

/* The command line */

static uint64_t number(const char *s, char **end, const char *option)
{
	uint64_t value = strtoull(s, end, 10);
	if (*end == s)
		die("--%s: no number: %s", option, s);
	if (**end && strchr("kMG", **end))
		value <<= 10 * (strchr("kMG", *(*end)++) - "kMG" + 1);
	return value;
}

static uint64_t whole(const char *s, const char *option)
{
	char *end;
	uint64_t value = number(s, &end, option);
	if (*end)
		die("--%s: no number: %s", option, s);
	return value;
}

static unsigned word(const char *s, const char *const names[], const char *option)
{
	for (unsigned i = 0; names[i]; i++)
		if (strcmp(s, names[i]) == 0)
			return i;
	die("--%s: unknown: %s", option, s);
}

static size_t list(char *s, uint64_t values[LIST_MAX], const char *option)
{
	size_t n = 0;
	char *rest = NULL;
	for (char *w = strtok_r(s, ",", &rest); w; w = strtok_r(NULL, ",", &rest)) {
		if (n == LIST_MAX)
			die("--%s: too many", option);
		values[n++] = strcmp(w, "-") == 0 ? NEVER : whole(w, option);
	}
	return n;
}

/* OFFSET:BIT[:CONN[:c2s|s2c]] */
static void add_flip(const char *s)
{
	char *end;
	struct flip f = {.conn = 1, .dir = C2S};
	if (opt.n_flips == FLIPS_MAX)
		die("--flip: too many");
	f.offset = number(s, &end, "flip");
	f.bit = *end == ':' ? (unsigned)number(end + 1, &end, "flip") : 8;
	if (*end == ':')
		f.conn = number(end + 1, &end, "flip");
	if (*end == ':')
		f.dir = word(end + 1, dir_names, "flip");
	else if (*end)
		die("--flip: OFFSET:BIT[:CONN[:c2s|s2c]] is meant");
	if (f.bit > 7 || f.dir > S2C)
		die("--flip: %s: a bit is 0 to 7, a direction c2s or s2c", s);
	opt.flips[opt.n_flips++] = f;
}

static void set_stall(const char *s)
{
	char *end;
	opt.stall_ms = number(s, &end, "stall");
	if (*end != '@')
		die("--stall: MS@BYTES is meant");
	opt.stall_at = whole(end + 1, "stall");
}

/* clang-format off */
static const struct option options[] = {
	{"listen", 1, NULL, 'l'},     {"to", 1, NULL, 't'},        {"port-file", 1, NULL, 'p'},
	{"cut-every", 1, NULL, 'e'},  {"cuts", 1, NULL, 'm'},      {"seed", 1, NULL, 's'},
	{"cut-after", 1, NULL, 'a'},  {"cut-dir", 1, NULL, 'd'},   {"cut-how", 1, NULL, 'h'},
	{"refuse", 1, NULL, 'r'},     {"down", 1, NULL, 'w'},      {"stall", 1, NULL, 'S'},
	{"rate", 1, NULL, 'R'},       {"trickle", 1, NULL, 'T'},   {"flip", 1, NULL, 'f'},
	{"freeze-after", 1, NULL, 'z'}, {"log", 1, NULL, 'L'},     {"until-eof", 0, NULL, 'u'},
	{NULL, 0, NULL, 0},
};

static void set_option(int c, char *arg, const char *name)
{
	switch (c) {
	case 'l': opt.listen = arg; break;
	case 't': opt.to = arg; break;
	case 'p': opt.port_file = arg; break;
	case 'e': opt.cut_every = whole(arg, name); break;
	case 'm': opt.cuts = whole(arg, name); break;
	case 's': opt.seed = whole(arg, name); break;
	case 'a': opt.n_cut_after = list(arg, opt.cut_after, name); break;
	case 'z': opt.n_freeze_after = list(arg, opt.freeze_after, name); break;
	case 'd': opt.cut_dir = word(arg, dir_names, name); break;
	case 'h': opt.cut_how = word(arg, how_names, name); break;
	case 'r': opt.refuse = whole(arg, name); break;
	case 'w': opt.down_ms = whole(arg, name); break;
	case 'S': set_stall(arg); break;
	case 'R': opt.rate = whole(arg, name); break;
	case 'T': opt.trickle = whole(arg, name); break;
	case 'f': add_flip(arg); break;
	case 'u': opt.until_eof = true; break;
	case 'L': if (!(opt.log = fopen(arg, "we"))) die("%s: %s", arg, strerror(errno)); break;
	default: die("see the head of tests/tools/chaos.c");
	}
}
/* clang-format on */

static void on_signal(int signal)
{
	(void)signal;
	stop = 1;
}

int main(int argc, char **argv)
{
	int index = 0, c;
	while ((c = getopt_long(argc, argv, "", options, &index)) != -1)
		set_option(c, optarg, options[index].name);
	if (!opt.to || optind < argc)
		die("--to HOST:PORT or unix:PATH is needed, and nothing but options");
	if (!opt.listen)
		opt.listen = "127.0.0.1:0";
	sigset_t ending, open_mask;
	sigemptyset(&ending);
	sigaddset(&ending, SIGTERM);
	sigaddset(&ending, SIGINT);
	sigprocmask(SIG_BLOCK, &ending, &open_mask); /* they arrive only inside ppoll */
	sigdelset(&open_mask, SIGTERM);
	sigdelset(&open_mask, SIGINT);
	struct sigaction sa = {.sa_handler = on_signal};
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	started = now_ns();
	resolve(opt.to, &to_addr);
	resolve(opt.listen, &listen_addr);
	start_listening();
	while (!stop)
		turn(&open_mask);
	while (n_links)
		link_close(n_links - 1, "exit", true);
	note("exit", ",\"opened\":%" PRIu64, n_opened);
	return 0;
}
