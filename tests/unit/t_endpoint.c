/* Addresses, dialling, listening: tables of spellings, then real sockets and children. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/endpoint.h"

#define LEN(a) (sizeof(a) / sizeof *(a))

static char scratch[] = "/tmp/t_endpoint.XXXXXX";

static const char *in_scratch(const char *name)
{
	static char path[4][128];
	static unsigned turn;
	char *p = path[turn++ % LEN(path)];
	snprintf(p, sizeof path[0], "%s/%s", scratch, name);
	return p;
}

struct good {
	const char *text;
	enum endpoint_kind kind;
	const char *host, *port, *path;
	int fd;
};

static void assert_same_text(const char *text, const char *have, const char *want)
{
	if (have == want || (have && want && strcmp(have, want) == 0))
		return;
	fail_msg("%s: have %s, want %s", text, have ? have : "NULL", want ? want : "NULL");
}

typedef enum haul_rc parser(const char *text, struct endpoint *out, struct haul_err *err);

static void check_good(parser *parse, const struct good *g)
{
	struct endpoint ep;
	struct haul_err err = {0};
	if (parse(g->text, &ep, &err) != HAUL_OK)
		fail_msg("%s: refused: %s", g->text, err.why);
	if (ep.kind != g->kind)
		fail_msg("%s: kind %d, want %d", g->text, (int)ep.kind, (int)g->kind);
	assert_same_text(g->text, ep.host, g->host);
	assert_same_text(g->text, ep.port, g->port);
	assert_same_text(g->text, ep.path, g->path);
	assert_same_text(g->text, ep.text, g->text);
	if (g->kind == ENDPOINT_FD)
		assert_int_equal(ep.fd, g->fd);
	endpoint_free(&ep);
	endpoint_free(&ep);
}

static void check_bad(parser *parse, const char *text, const char *why)
{
	struct endpoint ep;
	struct haul_err err = {0};
	if (parse(text, &ep, &err) != HAUL_USAGE)
		fail_msg("%s: not refused", text);
	if (!strstr(err.why, why))
		fail_msg("%s: refused with \"%s\", want \"%s\"", text, err.why, why);
	assert_string_equal(err.subject, text);
	assert_null(ep.host);
	assert_null(ep.text);
}

static void peer_good(void **state)
{
	(void)state;
	static const struct good table[] = {
		{"h:1", ENDPOINT_TCP, "h", "1", NULL, 0},
		{"backup.example.org:4285", ENDPOINT_TCP, "backup.example.org", "4285", NULL, 0},
		{"127.0.0.1:65535", ENDPOINT_TCP, "127.0.0.1", "65535", NULL, 0},
		{"HOST:22/sub", ENDPOINT_TCP, "HOST", "22", "sub", 0},
		{"h:1/", ENDPOINT_TCP, "h", "1", NULL, 0},
		{"h:1/./", ENDPOINT_TCP, "h", "1", NULL, 0},
		{"h:1/a//b/./c/", ENDPOINT_TCP, "h", "1", "a/b/c", 0},
		{"h:1/my dir/..x/...", ENDPOINT_TCP, "h", "1", "my dir/..x/...", 0},
		{"h:1/a:b@[c]", ENDPOINT_TCP, "h", "1", "a:b@[c]", 0},
		{"tcp://h:1", ENDPOINT_TCP, "h", "1", NULL, 0},
		{"tcp://h:1/a/b", ENDPOINT_TCP, "h", "1", "a/b", 0},
		{"tcp://[::1]:2/x", ENDPOINT_TCP, "::1", "2", "x", 0},
		{"[::1]:4285", ENDPOINT_TCP, "::1", "4285", NULL, 0},
		{"[fe80::1%eth0]:1/d", ENDPOINT_TCP, "fe80::1%eth0", "1", "d", 0},
		{"[::ffff:10.0.0.1]:9", ENDPOINT_TCP, "::ffff:10.0.0.1", "9", NULL, 0},
		{"h:path", ENDPOINT_SSH, "h", NULL, "path", 0},
		{"h:/srv/a b", ENDPOINT_SSH, "h", NULL, "/srv/a b", 0},
		{"h:22x", ENDPOINT_SSH, "h", NULL, "22x", 0},
		{"h:22:33", ENDPOINT_SSH, "h", NULL, "22:33", 0},
		{"h:./22", ENDPOINT_SSH, "h", NULL, "./22", 0},
		{"h:.", ENDPOINT_SSH, "h", NULL, ".", 0},
		{"h:~", ENDPOINT_SSH, "h", NULL, ".", 0},
		{"h:~/x", ENDPOINT_SSH, "h", NULL, "x", 0},
		{"h:~//x", ENDPOINT_SSH, "h", NULL, "x", 0},
		{"h:a/~u", ENDPOINT_SSH, "h", NULL, "a/~u", 0},
		{"u@h:it's", ENDPOINT_SSH, "u@h", NULL, "it's", 0},
		{"u@[::1]:p", ENDPOINT_SSH, "u@::1", NULL, "p", 0},
		{"[::1]:p", ENDPOINT_SSH, "::1", NULL, "p", 0},
		{"ssh://h/srv", ENDPOINT_SSH, "h", NULL, "/srv", 0},
		{"ssh://u@h:2222/srv/x", ENDPOINT_SSH, "u@h", "2222", "/srv/x", 0},
		{"ssh://h/~/x", ENDPOINT_SSH, "h", NULL, "x", 0},
		{"ssh://h/", ENDPOINT_SSH, "h", NULL, "/", 0},
		{"ssh://u@[::1]:2/p", ENDPOINT_SSH, "u@::1", "2", "/p", 0},
		{"unix:/run/a b.sock", ENDPOINT_UNIX, NULL, NULL, "/run/a b.sock", 0},
		{"unix:rel", ENDPOINT_UNIX, NULL, NULL, "rel", 0},
		{"exec:haul recv --stdio d\n", ENDPOINT_EXEC, NULL, NULL, "haul recv --stdio d\n", 0},
		{"stdio:", ENDPOINT_STDIO, NULL, NULL, NULL, 0},
		{"unix:path:1", ENDPOINT_UNIX, NULL, NULL, "path:1", 0},
		{"fd:3", ENDPOINT_TCP, "fd", "3", NULL, 0},
	};
	for (size_t i = 0; i < LEN(table); i++)
		check_good(endpoint_parse_peer, &table[i]);
}

static void peer_bad(void **state)
{
	(void)state;
	static const char *const table[][2] = {
		{"", "empty"},
		{"dir", "no address"},
		{"./a:1", "no address"},
		{"/abs/a:b", "host is missing"},
		{":4285", "host is missing"},
		{":", "host is missing"},
		{"host:", "port or path is missing"},
		{"tcp://host", "port is missing"},
		{"tcp://host:", "port is missing"},
		{"tcp://host/x", "port is missing"},
		{"tcp://:1", "host is missing"},
		{"tcp://h:x", "port is not a number"},
		{"tcp://h:1x", "port is not a number"},
		{"tcp://u@h:1", "no user"},
		{"u@h:22", "no user"},
		{"h:0", "1 to 65535"},
		{"h:0/x", "1 to 65535"},
		{"h:65536", "1 to 65535"},
		{"h:70000", "1 to 65535"},
		{"h:99999999999999999999", "1 to 65535"},
		{"h:1//abs", "absolute"},
		{"h:1/..", "above"},
		{"h:1/a/../b", "above"},
		{"h:1/../b", "above"},
		{"h:1/a/..", "above"},
		{"::1", "brackets"},
		{"::1:4285", "brackets"},
		{"fe80::1/x", "brackets"},
		{"[::1]", "no address"},
		{"[::1", "no IPv6"},
		{"[h]:1", "no IPv6"},
		{"[]:1", "no IPv6"},
		{"[::1]x:1", "after the brackets"},
		{"x[::1]:1", "bracket inside"},
		{"my host:1", "no host name has"},
		{"h :path", "no host name has"},
		{"h: 1/\n", "control"},
		{"h:pa\nth", "control"},
		{"h\n:1", "control"},
		{"h:1\n", "control"},
		{"unix:a\nb", "control"},
		{"h;reboot:x", "no host name has"},
		{"$(id):x", "no host name has"},
		{"-oProxyCommand=x:p", "dash"},
		{"u@-oX:p", "dash"},
		{"-u@h:p", "dash"},
		{"ssh://-oX/p", "dash"},
		{"@h:p", "user is empty"},
		{"u@:p", "host is missing"},
		{"h:~root/x", "~USER"},
		{"ssh://h/~root", "~USER"},
		{"ssh://h", "path is missing"},
		{"ssh://h:22", "path is missing"},
		{"ssh://h:/p", "port is missing"},
		{"ssh://h:x/p", "port is missing"},
		{"ssh://h:2x/p", "port is not a number"},
		{"ssh://h:0/p", "1 to 65535"},
		{"ssh:///p", "host is missing"},
		{"unix:", "path is missing"},
		{"exec:", "command is missing"},
		{"exec: \t", "command is missing"},
		{"stdio:x", "nothing follows"},
	};
	for (size_t i = 0; i < LEN(table); i++)
		check_bad(endpoint_parse_peer, table[i][0], table[i][1]);
	char longest[5 + 108 + 1] = "unix:";
	memset(longest + 5, 'x', 108);
	check_bad(endpoint_parse_peer, longest, "107 bytes");
	longest[5 + 107] = '\0';
	check_good(endpoint_parse_peer, &(struct good){longest, ENDPOINT_UNIX, NULL, NULL, longest + 5, 0});
}

static void listen_forms(void **state)
{
	(void)state;
	static const struct good good[] = {
		{"127.0.0.1:0", ENDPOINT_TCP, "127.0.0.1", "0", NULL, 0},
		{"[::]:4285", ENDPOINT_TCP, "::", "4285", NULL, 0},
		{"localhost:65535", ENDPOINT_TCP, "localhost", "65535", NULL, 0},
		{"unix:/x", ENDPOINT_UNIX, NULL, NULL, "/x", 0},
		{"stdio:", ENDPOINT_STDIO, NULL, NULL, NULL, 0},
		{"fd:0", ENDPOINT_FD, NULL, NULL, NULL, 0},
		{"fd:17", ENDPOINT_FD, NULL, NULL, NULL, 17},
		{"systemd:", ENDPOINT_SYSTEMD, NULL, NULL, NULL, 3},
	};
	static const char *const bad[][2] = {
		{"", "empty"},
		{":4285", "host is missing"},
		{"4285", "port is missing"},
		{"h:", "port is missing"},
		{"h:65536", "0 to 65535"},
		{"h:1/x", "is meant"},
		{"h:path", "is meant"},
		{"::1:0", "brackets"},
		{"u@h:1", "no user"},
		{"fd:", "descriptor"},
		{"fd:x", "descriptor"},
		{"fd:-1", "descriptor"},
		{"fd:1x", "descriptor"},
		{"fd:9999999", "descriptor"},
		{"systemd:x", "nothing follows"},
		{"stdio:x", "nothing follows"},
		{"unix:", "path is missing"},
		{"[::1]", "port is missing"},
	};
	for (size_t i = 0; i < LEN(good); i++)
		check_good(endpoint_parse_listen, &good[i]);
	for (size_t i = 0; i < LEN(bad); i++)
		check_bad(endpoint_parse_listen, bad[i][0], bad[i][1]);
	struct endpoint ep;
	struct haul_err err = {0};
	assert_int_equal(endpoint_parse_listen(NULL, &ep, &err), HAUL_OK);
	assert_string_equal(ep.text, ENDPOINT_LISTEN_DEFAULT);
	endpoint_free(&ep);
}

static void addresses_survive_mutation(void **state)
{
	(void)state;
	static const char *const seeds[] = {"tcp://[fe80::1%eth0]:4285/a/b",
					    "ssh://u@h:22/~/x",
					    "u@[::1]:~/p",
					    "h:1/a/./b",
					    "unix:/x",
					    "fd:3"};
	unsigned kept = 0;
	for (size_t i = 0; i < LEN(seeds); i++)
		for (size_t at = 0; at < strlen(seeds[i]); at++)
			for (unsigned byte = 0; byte < 256; byte++) {
				char *text = strdup(seeds[i]);
				text[at] = (char)byte;
				struct endpoint ep;
				struct haul_err err = {0};
				kept += endpoint_parse_peer(text, &ep, &err) == HAUL_OK;
				endpoint_free(&ep);
				haul_err_clear(&err);
				kept += endpoint_parse_listen(text, &ep, &err) == HAUL_OK;
				endpoint_free(&ep);
				free(text);
			}
	assert_true(kept > 100);
}

static void locality(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool local;
	} table[] = {
		{"127.0.0.1:1", true},
		{"127.9.9.9:1", true},
		{"localhost:1", true},
		{"LOCALHOST:1", true},
		{"[::1]:1", true},
		{"unix:/x", true},
		{"stdio:", true},
		{"[::ffff:127.0.0.1]:1", true},
		{"0.0.0.0:1", false},
		{"[::]:1", false},
		{"10.0.0.1:1", false},
		{"[::ffff:10.0.0.1]:1", false},
		{"127.example:1", false},
		{"fd:999999", false},
		{"localhost.evil.org:1", false},
	};
	for (size_t i = 0; i < LEN(table); i++) {
		struct endpoint ep;
		struct haul_err err = {0};
		assert_int_equal(endpoint_parse_listen(table[i].text, &ep, &err), HAUL_OK);
		if (endpoint_is_local(&ep) != table[i].local)
			fail_msg("%s: local %d", table[i].text, !table[i].local);
		endpoint_free(&ep);
	}
}

/* A listener and the address it got. */
struct server {
	struct endpoint ep;
	int fd;
	char *bound;
};

static void serve(struct server *s, const char *text)
{
	struct haul_err err = {0};
	assert_int_equal(endpoint_parse_listen(text, &s->ep, &err), HAUL_OK);
	s->fd = endpoint_listen(&s->ep, &s->bound, &err);
	if (s->fd < 0)
		fail_msg("%s: %s: %s", text, err.why, strerror(err.sys));
	assert_true(fcntl(s->fd, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(s->fd, F_GETFL) & O_NONBLOCK);
}

static void unserve(struct server *s)
{
	endpoint_unlisten(&s->ep, s->fd);
	endpoint_free(&s->ep);
	free(s->bound);
}

/* Dials to the end; 0 or -errno, with the words in *text. */
static int dial_all(const char *address, const struct haul_config *cfg, struct conn *c, char text[static 128])
{
	struct endpoint ep;
	struct haul_err err = {0};
	struct dial *d = NULL;
	if (endpoint_parse_peer(address, &ep, &err) != HAUL_OK)
		fail_msg("%s: %s", address, err.why);
	int rc = dial_start(&ep, cfg, &d);
	while (rc == 0 && (rc = dial_step(d, c)) == -EINPROGRESS) {
		struct pollfd p = {.fd = dial_poll_fd(d), .events = POLLOUT};
		uint64_t now = clock_now_ms(), wake = dial_wake_ms(d);
		poll(&p, 1, wake > now ? (int)(wake - now) : 0);
		rc = 0;
	}
	snprintf(text, 128, "%s", dial_error_text(d));
	dial_abort(d);
	endpoint_free(&ep);
	return rc;
}

static const struct haul_config config = {.connect_ms = 5000};

static void must_dial(const char *address, const struct haul_config *cfg, struct conn *c)
{
	char text[128];
	if (dial_all(address, cfg, c, text) != 0)
		fail_msg("%s: %s", address, text);
	assert_true(fcntl(c->in, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(c->in, F_GETFL) & O_NONBLOCK);
}

static void send_text(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* What arrives until the end of file. */
static const char *read_all(int fd)
{
	static char buf[4096];
	size_t have = 0;
	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		assert_int_equal(poll(&p, 1, 10000), 1);
		ssize_t n = read(fd, buf + have, sizeof buf - 1 - have);
		assert_true(n >= 0);
		if (n == 0)
			break;
		have += (size_t)n;
	}
	buf[have] = '\0';
	return buf;
}

static int option(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof value;
	getsockopt(fd, level, name, &value, &len);
	return value;
}

static void talk(struct server *s, const char *address)
{
	struct conn c;
	must_dial(address, &config, &c);
	assert_int_equal(c.in, c.out);
	int peer = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
	assert_true(peer >= 0);
	send_text(c.out, "there");
	assert_int_equal(shutdown(c.out, SHUT_WR), 0);
	assert_string_equal(read_all(peer), "there");
	send_text(peer, "back");
	close(peer);
	assert_string_equal(read_all(c.in), "back");
	assert_int_equal(conn_close(&c, 0), 0);
	assert_int_equal(c.in, -1);
	assert_int_equal(conn_close(&c, 0), 0);
}

static void tcp_connects(void **state)
{
	(void)state;
	static const char *const hosts[] = {"127.0.0.1:0", "[::1]:0", "localhost:0"};
	for (size_t i = 0; i < LEN(hosts); i++) {
		struct server s;
		if (i == 1 && access("/proc/net/if_inet6", R_OK) != 0)
			continue;
		serve(&s, hosts[i]);
		assert_string_not_equal(strrchr(s.bound, ':'), ":0");
		talk(&s, s.bound);
		unserve(&s);
	}
}

static void tcp_is_tuned(void **state)
{
	(void)state;
	struct server s;
	struct conn c;
	serve(&s, "127.0.0.1:0");
	must_dial(s.bound, &config, &c);
	assert_int_equal(option(c.in, IPPROTO_TCP, TCP_NODELAY), 1);
	assert_int_equal(option(c.in, SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(option(c.in, IPPROTO_TCP, TCP_KEEPIDLE), 15);
	assert_int_equal(option(c.in, IPPROTO_TCP, TCP_KEEPINTVL), 5);
	assert_int_equal(option(c.in, IPPROTO_TCP, TCP_KEEPCNT), 3);
	assert_int_equal(option(c.in, IPPROTO_TCP, TCP_USER_TIMEOUT), 30000);
	conn_close(&c, 0);
	unserve(&s);
}

static void closed_port_is_refused(void **state)
{
	(void)state;
	struct server s;
	struct conn c;
	char text[128], address[64];
	serve(&s, "127.0.0.1:0");
	snprintf(address, sizeof address, "%s", s.bound);
	unserve(&s);
	assert_int_equal(dial_all(address, &config, &c, text), -ECONNREFUSED);
	assert_string_equal(text, "connection refused");
}

/* A full accept queue drops the handshake: what a black hole looks like on loopback. */
static void black_hole_times_out(void **state)
{
	(void)state;
	struct haul_config quick = {.connect_ms = 150};
	struct server s;
	struct conn c[3];
	char text[128];
	serve(&s, "127.0.0.1:0");
	assert_int_equal(listen(s.fd, 0), 0);
	int rc = 0;
	uint64_t began = clock_now_ms();
	size_t n = 0;
	while (n < LEN(c) && (rc = dial_all(s.bound, &quick, &c[n], text)) == 0)
		n++;
	assert_int_equal(rc, -ETIMEDOUT);
	assert_string_equal(text, "connection timed out");
	assert_in_range(clock_now_ms() - began, 140, 3000);
	while (n > 0)
		conn_close(&c[--n], 0);
	unserve(&s);
}

static void unknown_name(void **state)
{
	(void)state;
	struct conn c;
	char text[128];
	assert_true(dial_all("no-such-host.invalid:1", &config, &c, text) < 0);
	assert_true(strlen(text) > 0);
}

static void dial_can_be_aborted(void **state)
{
	(void)state;
	struct server s;
	struct endpoint ep;
	struct haul_err err = {0};
	struct dial *d;
	struct conn c;
	serve(&s, "127.0.0.1:0");
	assert_int_equal(endpoint_parse_peer(s.bound, &ep, &err), HAUL_OK);
	assert_int_equal(dial_start(&ep, &config, &d), 0);
	int fd = dial_poll_fd(d);
	assert_true(fcntl(fd, F_GETFD) >= 0);
	dial_abort(d);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	dial_abort(NULL);
	assert_int_equal(dial_start(&ep, &config, &d), 0);
	while (dial_step(d, &c) == -EINPROGRESS)
		;
	dial_abort(d);
	assert_true(fcntl(c.in, F_GETFD) >= 0);
	conn_close(&c, 0);
	endpoint_free(&ep);
	unserve(&s);
}

static void unix_connects(void **state)
{
	(void)state;
	struct server s;
	struct stat st;
	char address[160], text[128];
	struct conn c;
	const char *path = in_scratch("sock");
	snprintf(address, sizeof address, "unix:%s", path);
	serve(&s, address);
	assert_string_equal(s.bound, path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600 & ~022);
	talk(&s, address);
	unserve(&s);
	assert_int_equal(dial_all(address, &config, &c, text), -ENOENT);
	assert_string_equal(text, "no such file or directory");
}

static int listen_fails(const char *address)
{
	struct endpoint ep;
	struct haul_err err = {0};
	char *bound;
	assert_int_equal(endpoint_parse_listen(address, &ep, &err), HAUL_OK);
	assert_int_equal(endpoint_listen(&ep, &bound, &err), -1);
	assert_null(bound);
	assert_int_equal(err.rc, HAUL_IO);
	assert_string_equal(err.subject, address);
	endpoint_free(&ep);
	return err.sys;
}

static unsigned count_scratch(void)
{
	char command[128];
	unsigned n = 0;
	snprintf(command, sizeof command, "ls -A %s | wc -l", scratch);
	FILE *f = popen(command, "r");
	assert_int_equal(fscanf(f, "%u", &n), 1);
	pclose(f);
	return n;
}

static void unix_stale_is_replaced(void **state)
{
	(void)state;
	struct server s;
	char address[160];
	const char *path = in_scratch("stale");
	snprintf(address, sizeof address, "unix:%s", path);
	serve(&s, address);
	assert_int_equal(listen_fails(address), EADDRINUSE);
	close(s.fd);
	endpoint_free(&s.ep);
	free(s.bound);
	assert_int_equal(access(path, F_OK), 0);
	serve(&s, address);
	talk(&s, address);
	assert_int_equal(count_scratch(), 1);
	unserve(&s);
	assert_int_equal(count_scratch(), 0);
}

static void unix_spares_other_files(void **state)
{
	(void)state;
	char address[160];
	const char *path = in_scratch("file");
	snprintf(address, sizeof address, "unix:%s", path);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(listen_fails(address), EADDRINUSE);
	assert_int_equal(unlink(path), 0);
	snprintf(address, sizeof address, "unix:%s/none/sock", scratch);
	assert_int_equal(listen_fails(address), ENOENT);
}

static void tcp_port_in_use(void **state)
{
	(void)state;
	struct server s;
	serve(&s, "127.0.0.1:0");
	assert_int_equal(listen_fails(s.bound), EADDRINUSE);
	unserve(&s);
	assert_int_equal(listen_fails("192.0.2.1:0"), EADDRNOTAVAIL);
}

static void exec_child_talks_and_ends(void **state)
{
	(void)state;
	struct conn c;
	must_dial("exec:tr a-z A-Z; exit 7", &config, &c);
	assert_true(c.child > 0);
	assert_int_equal(getpgid(c.child), getpgrp());
	send_text(c.out, "shout");
	assert_int_equal(shutdown(c.out, SHUT_WR), 0);
	assert_string_equal(read_all(c.in), "SHOUT");
	int status = conn_close(&c, 5000);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 7);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void exec_child_that_stays_is_ended(void **state)
{
	(void)state;
	struct conn c;
	must_dial("exec:trap '' TERM; exec <&- >&-; while :; do sleep 0.05; done", &config, &c);
	uint64_t began = clock_now_ms();
	int status = conn_close(&c, 50);
	assert_true(WIFSIGNALED(status));
	assert_in_range(clock_now_ms() - began, 40, 5000);
	must_dial("exec:exec sleep 30", &config, &c);
	status = conn_close(&c, 0);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

/* Signals ignored or blocked here are neither in the child, and it has no descriptor beyond 2. */
static void exec_child_starts_clean(void **state)
{
	(void)state;
	struct conn c;
	int leak = open("/dev/null", O_RDONLY);
	sigset_t set, old;
	sigfillset(&set);
	sigprocmask(SIG_BLOCK, &set, &old);
	signal(SIGPIPE, SIG_IGN);
	must_dial("exec:grep -E '^Sig(Blk|Ign)' /proc/self/status | cut -f2 | cut -c10-; ls /proc/self/fd | "
		  "wc -l",
		  &config, &c);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &old, NULL);
	/* the digits cut off are the C library's own signals; ls sees 0, 1, 2 and the directory itself */
	assert_string_equal(read_all(c.in), "0000000\n0000000\n4\n");
	conn_close(&c, 5000);
	close(leak);
}

/* rsh is a script that shows its arguments, one a line. */
static void ssh_words(void **state)
{
	(void)state;
	const char *rsh = in_scratch("rsh");
	FILE *f = fopen(rsh, "w");
	fputs("#!/bin/sh\nprintf '<%s>\\n' \"$@\"\n", f);
	fclose(f);
	assert_int_equal(chmod(rsh, 0700), 0);
	char words[160];
	snprintf(words, sizeof words, " %s  -x\t-y ", rsh);
	struct haul_config cfg = {.connect_ms = 5000, .rsh = words, .haul_path = "nice haul"};
	struct conn c;
	must_dial("ssh://u@h:2222/it's a $dir", &cfg, &c);
	assert_string_equal(read_all(c.in), "<-x>\n<-y>\n<-p>\n<2222>\n<u@h>\n"
					    "<nice haul recv --stdio -- '/it'\\''s a $dir'>\n");
	conn_close(&c, 5000);
	cfg = (struct haul_config){.connect_ms = 5000, .rsh = rsh};
	must_dial("h:~/x", &cfg, &c);
	assert_string_equal(read_all(c.in), "<h>\n<haul recv --stdio -- 'x'>\n");
	conn_close(&c, 5000);
	unlink(rsh);
}

static void ssh_to_pull(void **state)
{
	(void)state;
	struct haul_config cfg = {.connect_ms = 5000, .rsh = "echo"};
	struct endpoint ep;
	struct haul_err err = {0};
	struct dial *d;
	struct conn c;
	assert_int_equal(endpoint_parse_peer("h:src", &ep, &err), HAUL_OK);
	ep.pull = true;
	assert_int_equal(dial_start(&ep, &cfg, &d), 0);
	assert_int_equal(dial_step(d, &c), 0);
	dial_abort(d);
	assert_string_equal(read_all(c.in), "h haul send --listen=stdio: -- 'src'\n");
	conn_close(&c, 5000);
	endpoint_free(&ep);
}

static void missing_rsh(void **state)
{
	(void)state;
	struct haul_config cfg = {.connect_ms = 5000, .rsh = "/no/such/ssh -4"};
	struct conn c;
	char text[128];
	assert_int_equal(dial_all("h:dir", &cfg, &c, text), -ENOENT);
	assert_string_equal(text, "cannot run /no/such/ssh: No such file or directory");
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

/* Runs in a child, whose standard descriptors may be spent. Exit 0 is success, else the failing line. */
#define MUST(x)                                                                                              \
	do                                                                                                   \
		if (!(x))                                                                                    \
			_exit(__LINE__ & 0xff);                                                              \
	while (0)

static void adopt_in_child(int in, int out)
{
	struct endpoint ep = {.kind = ENDPOINT_STDIO};
	struct conn c;
	MUST(dup2(in, 0) == 0 && dup2(out, 1) == 1);
	MUST(endpoint_is_single(&ep));
	MUST(conn_adopt(&ep, &c) == 0);
	MUST(c.in > 2 && c.out > 2 && c.in != c.out);
	MUST((fcntl(c.in, F_GETFD) & FD_CLOEXEC) && (fcntl(c.out, F_GETFD) & FD_CLOEXEC));
	MUST((fcntl(in, F_GETFL) & O_NONBLOCK) && (fcntl(out, F_GETFL) & O_NONBLOCK));
	MUST(write(1, "stray", 5) == 5);
	char byte;
	MUST(read(0, &byte, 1) == 0);
	MUST(read(c.in, &byte, 1) == 1 && write(c.out, &byte, 1) == 1);
	conn_close(&c, 0);
	MUST(!(fcntl(in, F_GETFL) & O_NONBLOCK) && !(fcntl(out, F_GETFL) & O_NONBLOCK));
	MUST(conn_adopt(&ep, &c) == -ENOTCONN);
	_exit(0);
}

static int wait_exit(pid_t pid)
{
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void stdio_is_adopted(void **state)
{
	(void)state;
	int to[2], from[2];
	assert_int_equal(pipe2(to, O_CLOEXEC), 0);
	assert_int_equal(pipe2(from, O_CLOEXEC), 0);
	send_text(to[1], "x");
	pid_t pid = fork();
	if (pid == 0)
		adopt_in_child(to[0], from[1]);
	assert_int_equal(wait_exit(pid), 0);
	close(from[1]);
	assert_string_equal(read_all(from[0]), "x");
	close(to[0]);
	close(to[1]);
	close(from[0]);
}

static void descriptors_are_inherited(void **state)
{
	(void)state;
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	struct endpoint ep = {.kind = ENDPOINT_FD, .fd = pair[0], .text = "fd:N"};
	struct haul_err err = {0};
	struct conn c;
	char *bound;
	assert_true(endpoint_is_single(&ep));
	assert_true(endpoint_is_local(&ep));
	assert_int_equal(endpoint_listen(&ep, &bound, &err), -1);
	assert_int_equal(err.rc, HAUL_USAGE);
	assert_int_equal(conn_adopt(&ep, &c), 0);
	assert_int_equal(c.in, pair[0]);
	conn_close(&c, 0);
	close(pair[1]);

	struct server s;
	serve(&s, "127.0.0.1:0");
	ep.fd = s.fd;
	assert_false(endpoint_is_single(&ep));
	assert_true(endpoint_is_local(&ep));
	assert_int_equal(endpoint_listen(&ep, &bound, &err), s.fd);
	assert_string_equal(bound, s.bound);
	free(bound);
	unserve(&s);
	haul_err_clear(&err);
	assert_false(endpoint_is_single(&ep));
	assert_int_equal(endpoint_listen(&ep, &bound, &err), -1);
	assert_non_null(strstr(err.why, "is not open"));
}

static void descriptors_are_looked_at(void **state)
{
	(void)state;
	int pair[2], pipes[2], dead = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(pipe(pipes), 0);
	FILE *file = tmpfile();
	assert_non_null(file);
	const struct {
		int fd;
		const char *why; /* NULL: it will do */
	} table[] = {{pair[0], NULL},
		     {pipes[0], "is not a socket"},
		     {fileno(file), "is a file"},
		     {udp, "not a stream socket"},
		     {dead, "neither listens nor is connected"},
		     {99999, "is not open"}};
	for (size_t i = 0; i < LEN(table); i++) {
		struct endpoint ep = {.kind = ENDPOINT_FD, .fd = table[i].fd, .text = "fd:N"};
		struct haul_err err = {0};
		assert_int_equal(endpoint_check(&ep, &err), table[i].why ? HAUL_USAGE : HAUL_OK);
		if (table[i].why)
			assert_non_null(strstr(err.why, table[i].why));
	}
	struct endpoint tcp = {.kind = ENDPOINT_TCP, .fd = -1, .host = "h", .port = "1", .text = "h:1"};
	struct haul_err err = {0};
	assert_int_equal(endpoint_check(&tcp, &err), HAUL_OK);
	fclose(file);
	for (int i = 0; i < 2; i++) {
		close(pair[i]);
		close(pipes[i]);
	}
	close(dead);
	close(udp);
}

static void activated(int fd)
{
	struct endpoint ep = {.kind = ENDPOINT_SYSTEMD, .fd = LISTEN_SYSTEMD_FD, .text = "systemd:"};
	struct haul_err err = {0};
	char *bound, pid[16];
	MUST(endpoint_listen(&ep, &bound, &err) == -1 && err.rc == HAUL_USAGE);
	snprintf(pid, sizeof pid, "%ld", (long)getpid());
	MUST(dup2(fd, LISTEN_SYSTEMD_FD) == LISTEN_SYSTEMD_FD || fd == LISTEN_SYSTEMD_FD);
	setenv("LISTEN_FDS", "1", 1);
	setenv("LISTEN_PID", "1", 1);
	MUST(endpoint_listen(&ep, &bound, &err) == -1);
	setenv("LISTEN_PID", pid, 1);
	MUST(!endpoint_is_single(&ep) && endpoint_is_local(&ep));
	MUST(endpoint_listen(&ep, &bound, &err) == LISTEN_SYSTEMD_FD);
	MUST(strncmp(bound, "127.0.0.1:", 10) == 0);
	MUST(fcntl(LISTEN_SYSTEMD_FD, F_GETFD) & FD_CLOEXEC);
	_exit(0);
}

static void systemd_activation(void **state)
{
	(void)state;
	struct server s;
	serve(&s, "127.0.0.1:0");
	pid_t pid = fork();
	if (pid == 0)
		activated(s.fd);
	assert_int_equal(wait_exit(pid), 0);
	unserve(&s);
}

static void systemd_is_notified(void **state)
{
	(void)state;
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	char buf[32] = "";
	unsetenv("NOTIFY_SOCKET");
	notify_systemd("READY=1");
	snprintf(un.sun_path, sizeof un.sun_path, "%s", in_scratch("notify"));
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
	setenv("NOTIFY_SOCKET", un.sun_path, 1);
	notify_systemd("READY=1");
	assert_int_equal(read(fd, buf, sizeof buf), 7);
	assert_string_equal(buf, "READY=1");
	unsetenv("NOTIFY_SOCKET");
	close(fd);
	unlink(un.sun_path);
}

static void assert_file(const char *path, const char *want)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_string_equal(read_all(fd), want);
	close(fd);
}

/* A reader polls while the file is rewritten: it sees a whole line or, at first, no file. */
static void port_file_is_atomic(void **state)
{
	(void)state;
	struct haul_err err = {0};
	const char *path = in_scratch("port");
	pid_t writer = fork();
	if (writer == 0) {
		for (int i = 0; i < 2000; i++)
			MUST(port_file_write(path, i % 2 ? "127.0.0.1:11111" : "[::1]:2", &err) == HAUL_OK);
		_exit(0);
	}
	while (waitpid(writer, NULL, WNOHANG) == 0) {
		char buf[64] = "";
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		assert_true(read(fd, buf, sizeof buf - 1) > 0);
		assert_true(strcmp(buf, "127.0.0.1:11111\n") == 0 || strcmp(buf, "[::1]:2\n") == 0);
		close(fd);
	}
	assert_file(path, "127.0.0.1:11111\n");
	assert_int_equal(count_scratch(), 1);
	unlink(path);
}

static void port_file_elsewhere(void **state)
{
	(void)state;
	struct haul_err err = {0};
	char path[64];
	int ends[2];
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	snprintf(path, sizeof path, "/dev/fd/%d", ends[1]);
	assert_int_equal(port_file_write(path, "h:1", &err), HAUL_OK);
	close(ends[1]);
	assert_string_equal(read_all(ends[0]), "h:1\n");
	close(ends[0]);
	assert_int_equal(port_file_write(in_scratch("none/port"), "h:1", &err), HAUL_IO);
	assert_int_equal(err.sys, ENOENT);
	haul_err_clear(&err);
	assert_int_equal(port_file_write(scratch, "h:1", &err), HAUL_IO);
	assert_int_equal(count_scratch(), 0);
	if (access("/dev/full", W_OK) != 0)
		return;
	haul_err_clear(&err);
	assert_int_equal(port_file_write("/dev/full", "h:1", &err), HAUL_NO_SPACE);
}

static int set_up(void **state)
{
	(void)state;
	umask(022);
	return mkdtemp(scratch) ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	return rmdir(scratch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(peer_good),
		cmocka_unit_test(peer_bad),
		cmocka_unit_test(listen_forms),
		cmocka_unit_test(addresses_survive_mutation),
		cmocka_unit_test(locality),
		cmocka_unit_test(tcp_connects),
		cmocka_unit_test(tcp_is_tuned),
		cmocka_unit_test(closed_port_is_refused),
		cmocka_unit_test(black_hole_times_out),
		cmocka_unit_test(unknown_name),
		cmocka_unit_test(dial_can_be_aborted),
		cmocka_unit_test(unix_connects),
		cmocka_unit_test(unix_stale_is_replaced),
		cmocka_unit_test(unix_spares_other_files),
		cmocka_unit_test(tcp_port_in_use),
		cmocka_unit_test(exec_child_talks_and_ends),
		cmocka_unit_test(exec_child_that_stays_is_ended),
		cmocka_unit_test(exec_child_starts_clean),
		cmocka_unit_test(ssh_words),
		cmocka_unit_test(ssh_to_pull),
		cmocka_unit_test(missing_rsh),
		cmocka_unit_test(stdio_is_adopted),
		cmocka_unit_test(descriptors_are_inherited),
		cmocka_unit_test(descriptors_are_looked_at),
		cmocka_unit_test(systemd_activation),
		cmocka_unit_test(systemd_is_notified),
		cmocka_unit_test(port_file_is_atomic),
		cmocka_unit_test(port_file_elsewhere),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
