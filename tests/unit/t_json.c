/* JSON lines: each event type word for word, paths that are not text, the bus, and slow, gone and late
 * readers. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmd/json.h"
#include "cmd/tty.h"
#include "lib/clock.h"

#define HEAD(type)                                                                                           \
	"{\"type\":\"" type "\",\"t\":1.234567,\"ts\":\"2021-01-02T03:04:05.678Z\","                         \
	"\"id\":\"000102030405060708090a0b0c0d0eff\""
#define REALTIME_MS 1609556645678u

static const struct metrics sums = {
	.files = 1,
	.skipped = 2,
	.failed = 3,
	.vanished = 4,
	.changed = 5,
	.deleted = 16,
	.entries = 6,
	.bytes = 7,
	.skipped_bytes = 8,
	.wire_out = 9,
	.wire_in = 10,
	.acked = 11,
	.total = 12,
	.total_final = true,
	.reconnects = 13,
	.resent_bytes = 14,
	.dup_bytes = 15,
	.durable = true,
	.level = 3,
	.blocked = BLOCKED_CREDIT,
};

static struct event stamped(enum event_type type)
{
	struct event ev = {.type = type, .t_ns = 1234567890};
	for (uint8_t i = 0; i < sizeof ev.id; i++)
		ev.id[i] = i;
	ev.id[15] = 0xff;
	return ev;
}

static void expect(const struct event *ev, const char *want)
{
	char line[4096];
	assert_int_equal(json_format(line, sizeof line, ev, REALTIME_MS), strlen(want));
	assert_string_equal(line, want);
}

static void life_of_a_session(void **state)
{
	(void)state;
	struct event ev = stamped(EV_HELLO);
	ev.u.hello.role = "send";
	ev.u.hello.version = "0.1.0";
	expect(&ev, HEAD("hello") ",\"role\":\"send\",\"version\":\"0.1.0\"}");
	ev.u.hello.mode = "tree";
	expect(&ev, HEAD("hello") ",\"role\":\"send\",\"version\":\"0.1.0\",\"mode\":\"tree\"}");

	ev = stamped(EV_PLAN);
	ev.u.plan.files = 2;
	ev.u.plan.bytes = UINT64_MAX;
	ev.u.plan.final = true;
	expect(&ev, HEAD("plan") ",\"files\":2,\"bytes\":18446744073709551615,\"final\":true}");

	ev = stamped(EV_STATE);
	ev.u.state.from = "init";
	ev.u.state.to = "open";
	ev.u.state.why = "hello";
	expect(&ev, HEAD("state") ",\"from\":\"init\",\"to\":\"open\",\"why\":\"hello\"}");

	ev = stamped(EV_PROGRESS);
	ev.u.progress.m = &sums;
	ev.u.progress.rate = 99;
	expect(&ev, HEAD("progress") ",\"bytes\":7,\"wire\":9,\"wire_in\":10,\"acked\":11,\"total\":12,"
				     "\"total_final\":true,"
				     "\"rate\":99,\"level\":3,\"blocked\":\"credit\"}");

	ev = stamped(EV_DONE);
	ev.u.done.status = 23;
	ev.u.done.class = "human";
	ev.u.done.m = &sums;
	ev.u.done.seconds = 1.5;
	expect(&ev, HEAD("done") ",\"exit\":23,\"class\":\"human\",\"files\":1,\"bytes\":7,\"wire\":9,\"wire_"
				 "in\":10,"
				 "\"skipped\":2,\"failed\":3,\"vanished\":4,\"changed\":5,\"deleted\":16,"
				 "\"entries\":6,"
				 "\"skipped_bytes\":8,\"kept_bytes\":0,"
				 "\"reconnects\":13,\"resent_bytes\":14,\"dup_bytes\":15,\"durable\":true,"
				 "\"seconds\":1.500}");
}

static void link_events(void **state)
{
	(void)state;
	struct event ev = stamped(EV_CONNECT);
	ev.u.connect.peer = "h:1";
	ev.u.connect.attempt = 2;
	expect(&ev, HEAD("connect") ",\"peer\":\"h:1\",\"attempt\":2}");

	ev = stamped(EV_DISCONNECT);
	ev.u.disconnect.cause = "reset";
	ev.u.disconnect.side = "peer";
	expect(&ev, HEAD("disconnect") ",\"cause\":\"reset\",\"side\":\"peer\"}");

	ev = stamped(EV_RETRY);
	ev.u.retry.cause = "refused";
	ev.u.retry.attempt = 1;
	ev.u.retry.delay_ms = 500;
	expect(&ev, HEAD("retry") ",\"cause\":\"refused\",\"attempt\":1,\"delay_ms\":500}");

	ev = stamped(EV_RESUME);
	ev.u.resume.from = 10;
	ev.u.resume.replayed_bytes = 20;
	expect(&ev, HEAD("resume") ",\"from\":10,\"replayed_bytes\":20,\"verified\":false}");

	ev = stamped(EV_PRESSURE);
	ev.u.pressure.on = "memory";
	ev.u.pressure.since_ms = 7;
	expect(&ev, HEAD("pressure") ",\"on\":\"memory\",\"since_ms\":7}");

	ev = stamped(EV_LEVEL);
	ev.u.level.from = -1;
	ev.u.level.to = 3;
	ev.u.level.why = "link";
	expect(&ev, HEAD("level") ",\"from\":-1,\"to\":3,\"why\":\"link\"}");

	ev = stamped(EV_GAP);
	ev.u.gap.dropped = 4;
	expect(&ev, HEAD("gap") ",\"dropped\":4}");

	ev = stamped(EV_WARN);
	ev.u.warn.text = "a \"b\"\n";
	expect(&ev, HEAD("warn") ",\"text\":\"a \\\"b\\\"\\u000a\"}");
	ev.u.warn.subject = "s";
	expect(&ev, HEAD("warn") ",\"text\":\"a \\\"b\\\"\\u000a\",\"subject\":\"s\"}");
}

static void file_events(void **state)
{
	static const char *const names[] = {"committed", "skipped", "failed",  "vanished",
					    "changed",	 "planned", "deleted", "stray"};
	char want[512];
	(void)state;
	struct event ev = stamped(EV_FILE);
	ev.u.file.path = "d/a";
	ev.u.file.path_len = 3;
	ev.u.file.size = 5;
	for (int i = FILE_COMMITTED; i <= FILE_STRAY; i++) {
		ev.u.file.state = (enum file_state)i;
		snprintf(want, sizeof want, HEAD("file") ",\"path\":\"d/a\",\"size\":5,\"state\":\"%s\"}",
			 names[i]);
		expect(&ev, want);
	}
	ev.u.file.path = "a\xff\n";
	ev.u.file.state = FILE_FAILED;
	ev.u.file.sys = EACCES;
	ev.u.file.why = "open";
	expect(&ev, HEAD("file") ",\"path\":\"a\xef\xbf\xbd\\u000a\",\"path_b64\":\"Yf8K\",\"size\":5,"
				 "\"state\":\"failed\",\"errno\":13,\"why\":\"open\"}");
}

static void error_events(void **state)
{
	struct haul_err err = {0}, also = {0};
	(void)state;
	haul_fail(&err, HAUL_NO_SPACE, ENOSPC, "d/a", "write");
	struct event ev = stamped(EV_ERROR);
	ev.u.error.err = &err;
	ev.u.error.side = "peer";
	ev.u.error.also = &also;
	expect(&ev, HEAD("error") ",\"code\":\"NO_SPACE\",\"reason\":\"d/a: write: No space left on device\","
				  "\"side\":\"peer\",\"terminal\":false,\"again\":false,\"path\":\"d/a\"}");
	haul_err_clear(&err);
	haul_fail(&err, HAUL_CONNECT, 0, "h:1", "%s", "");
	haul_fail(&also, HAUL_SIGNAL, 0, NULL, "stop");
	ev.u.error.terminal = true;
	expect(&ev,
	       HEAD("error") ",\"code\":\"CONNECT\",\"reason\":\"h:1: could not connect\",\"side\":\"peer\","
			     "\"terminal\":true,\"again\":true,\"also\":{\"code\":\"SIGNAL\",\"reason\":"
			     "\"stop\"}}");
}

/* A line that is cut still tells its length and stays inside. */
static void format_is_bounded(void **state)
{
	char whole[1024], out[1024];
	(void)state;
	struct event ev = stamped(EV_FILE);
	ev.u.file.path = "\xff\"\n";
	ev.u.file.path_len = 3;
	size_t want = json_format(whole, sizeof whole, &ev, REALTIME_MS);
	for (size_t cap = 0; cap <= want + 1; cap++) {
		memset(out, 0x55, sizeof out);
		assert_int_equal(json_format(out, cap, &ev, REALTIME_MS), want);
		assert_int_equal(out[cap], 0x55);
	}
}

struct seen {
	int count;
	struct event last;
};

static void note(void *ctx, const struct event *ev)
{
	struct seen *s = ctx;
	s->count++;
	s->last = *ev;
}

static void bus_delivers_done_once_and_last(void **state)
{
	static const uint8_t id[16] = {1, 2, 3};
	struct event_bus bus;
	struct seen early = {0}, late = {0};
	struct event ev = {.type = EV_HELLO};
	(void)state;

	event_bus_init(&bus, id);
	assert_true(event_bus_subscribe(&bus, note, &early));
	event_emit(&bus, &ev);
	assert_int_equal(early.count, 1);
	assert_memory_equal(early.last.id, id, sizeof id);
	ev = (struct event){.type = EV_DONE, .u.done = {.status = 0, .class = "ok", .m = &sums}};
	event_emit(&bus, &ev);
	event_emit(&bus, &ev);
	ev.type = EV_WARN;
	event_emit(&bus, &ev);
	assert_int_equal(early.count, 2);
	assert_int_equal(early.last.type, EV_DONE);
	assert_true(event_bus_subscribe(&bus, note, &late));
	assert_int_equal(late.count, 1);
	assert_int_equal(late.last.type, EV_DONE);
	assert_true(event_bus_subscribe(&bus, note, &late));
	assert_true(event_bus_subscribe(&bus, note, &late));
	assert_false(event_bus_subscribe(&bus, note, &late));
	assert_string_equal(event_type_name(EV_TYPE_COUNT), "unknown");
}

struct reader {
	int fds[2];
	struct json_log *log;
};

static void open_pipe(struct reader *r, unsigned done_wait_ms)
{
	char target[32];
	struct haul_err err = {0};
	assert_int_equal(pipe(r->fds), 0);
	snprintf(target, sizeof target, "fd:%d", r->fds[1]);
	assert_int_equal(json_open(target, done_wait_ms, &r->log, &err), HAUL_OK);
}

static void emit_warns(struct json_log *log, int count)
{
	struct event ev = stamped(EV_WARN);
	char text[1001];
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	ev.u.warn.text = text;
	for (int i = 0; i < count; i++)
		json_event(log, &ev);
}

static void emit_done(struct json_log *log)
{
	struct event ev = stamped(EV_DONE);
	ev.u.done.class = "ok";
	ev.u.done.m = &sums;
	json_event(log, &ev);
}

/* Everything in the pipe, as a string. */
static char *drain(int fd, char *out, size_t cap)
{
	size_t len = 0;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	while (len + 1 < cap && poll(&p, 1, 0) > 0) {
		ssize_t n = read(fd, out + len, cap - 1 - len);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	out[len] = '\0';
	return out;
}

static int lines_of(const char *text, const char *type)
{
	char start[64];
	int count = 0;
	snprintf(start, sizeof start, "{\"type\":\"%s\"", type);
	for (const char *p = text; *p; p = strchr(p, '\n') + 1) {
		assert_non_null(strchr(p, '\n'));
		assert_int_equal(strchr(p, '\n')[-1], '}');
		count += strncmp(p, start, strlen(start)) == 0;
	}
	return count;
}

static void a_slow_reader_gets_a_gap(void **state)
{
	static char text[1 << 20];
	struct reader r;
	(void)state;
	open_pipe(&r, 50);

	uint64_t start = clock_now_ms();
	emit_warns(r.log, 500); /* 500 KB into a pipe and a queue of 64 KiB each */
	assert_true(clock_now_ms() - start < 2000);
	drain(r.fds[0], text, sizeof text);
	int first = lines_of(text, "warn");
	assert_in_range(first, 30, 70);
	assert_int_equal(lines_of(text, "gap"), 0);

	emit_warns(r.log, 1);
	drain(r.fds[0], text, sizeof text);
	emit_done(r.log);
	drain(r.fds[0], text + strlen(text), sizeof text - strlen(text));
	assert_int_equal(lines_of(text, "gap"), 1);
	assert_int_equal(lines_of(text, "done"), 1);
	char want[64];
	snprintf(want, sizeof want, "\"dropped\":%d}\n", 500 - first - (lines_of(text, "warn") - 1));
	assert_non_null(strstr(text, want));
	json_close(r.log);
	close(r.fds[0]);
	close(r.fds[1]);
}

static void done_waits_a_bounded_time(void **state)
{
	struct reader r;
	(void)state;
	open_pipe(&r, 100);
	emit_warns(r.log, 500);
	uint64_t start = clock_now_ms();
	emit_done(r.log);
	uint64_t took = clock_now_ms() - start;
	assert_in_range(took, 90, 2000);
	json_close(r.log);
	assert_int_not_equal(fcntl(r.fds[1], F_GETFL), -1); /* still the caller's */
	close(r.fds[0]);
	close(r.fds[1]);
}

static void long_lines_pass_in_pieces(void **state)
{
	static char path[4096], text[1 << 17];
	struct reader r;
	(void)state;
	open_pipe(&r, 0);
	memset(path, 1, sizeof path);
	path[0] = (char)0xff;
	struct event ev = stamped(EV_FILE);
	ev.u.file.path = path;
	ev.u.file.path_len = sizeof path;
	json_event(r.log, &ev);
	drain(r.fds[0], text, sizeof text);
	assert_int_equal(lines_of(text, "file"), 1);
	assert_non_null(strstr(text, "\"state\":\"committed\"}\n"));
	json_close(r.log);
	close(r.fds[0]);
	close(r.fds[1]);
}

static void a_closed_reader_is_forgotten(void **state)
{
	struct reader r;
	(void)state;
	open_pipe(&r, 1000);
	close(r.fds[0]);
	emit_warns(r.log, 3);
	uint64_t start = clock_now_ms();
	emit_done(r.log);
	assert_true(clock_now_ms() - start < 500);
	json_close(r.log);
	close(r.fds[1]);
}

static void a_file_is_emptied_first(void **state)
{
	char name[] = "/tmp/t_json.XXXXXX", text[4096] = "";
	struct haul_err err = {0};
	struct json_log *log;
	(void)state;
	int fd = mkstemp(name);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "old", 3), 3);
	assert_int_equal(json_open(name, 0, &log, &err), HAUL_OK);
	emit_done(log);
	json_close(log);
	assert_true(pread(fd, text, sizeof text - 1, 0) > 0);
	assert_int_equal(lines_of(text, "done"), 1);
	close(fd);
	unlink(name);
}

static void bad_targets(void **state)
{
	static const char *const bad[] = {"fd:",   "fd:x",     "fd:-1",
					  "fd:1x", "fd:99999", "fd:99999999999999999999"};
	struct json_log *log;
	struct haul_err err;
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		haul_err_clear(&err);
		assert_int_equal(json_open(bad[i], 0, &log, &err), HAUL_USAGE);
		assert_string_equal(err.subject, bad[i]);
	}
	int fd = open("/dev/null", O_RDONLY);
	char target[32];
	snprintf(target, sizeof target, "fd:%d", fd);
	haul_err_clear(&err);
	assert_int_equal(json_open(target, 0, &log, &err), HAUL_USAGE);
	close(fd);
	haul_err_clear(&err);
	assert_int_equal(json_open("/nonexistent/x", 0, &log, &err), HAUL_IO);
	assert_int_equal(err.sys, ENOENT);
}

/* Runs the terminal subscriber against a pipe in place of standard error; returns what it wrote. */
static char *shown(const struct haul_config *cfg, char *out, size_t cap)
{
	int fds[2], saved = dup(STDERR_FILENO);
	assert_int_equal(pipe(fds), 0);
	dup2(fds[1], STDERR_FILENO);
	struct tty *t = tty_open(cfg);
	struct event ev = stamped(EV_FILE);
	ev.u.file.path = "a\x1b[2J";
	ev.u.file.path_len = 5;
	tty_event(t, &ev);
	ev.u.file.state = FILE_FAILED;
	ev.u.file.sys = EACCES;
	tty_event(t, &ev);
	ev = stamped(EV_WARN);
	ev.u.warn.text = "careful";
	tty_event(t, &ev);
	ev = stamped(EV_PROGRESS);
	ev.u.progress.m = &sums;
	ev.u.progress.rate = 1536;
	tty_event(t, &ev);
	ev = stamped(EV_DONE);
	ev.u.done.m = &sums;
	ev.u.done.seconds = 2;
	tty_event(t, &ev);
	tty_close(t);
	dup2(saved, STDERR_FILENO);
	close(saved);
	drain(fds[0], out, cap);
	close(fds[0]);
	close(fds[1]);
	return out;
}

static void terminal_output(void **state)
{
	char out[8192];
	struct haul_config cfg = {0};
	(void)state;
	assert_string_equal(shown(&cfg, out, sizeof out), "");
	cfg.verbose = 1;
	assert_string_equal(shown(&cfg, out, sizeof out),
			    "a\\x1b[2J\nhaul: a\\x1b[2J: failed: Permission denied\nhaul: careful\n"
			    "haul: sandbox: no Landlock, any system call\n");
	cfg.quiet = cfg.stats = true;
	cfg.progress = PROGRESS_PLAIN;
	assert_string_equal(shown(&cfg, out, sizeof out), "");
	cfg.quiet = false;
	cfg.verbose = 0;
	shown(&cfg, out, sizeof out);
	assert_non_null(
		strstr(out, "haul: 100%  12 B of 12 B  1.50 KiB/s  waits for credit  13 reconnects\n"));
	assert_non_null(
		strstr(out, "haul: 1 file, 7 B in 2.0 s (3 B/s), 10 B on the wire, 2 skipped, 3 failed"));
	assert_non_null(
		strstr(out, "haul: waited source 0.0 s, cpu 0.0 s, link 0.0 s, credit 0.0 s, disk 0.0 s\n"));
}

static void failure_is_one_escaped_line(void **state)
{
	char out[8192];
	int fds[2], saved = dup(STDERR_FILENO);
	struct haul_err err = {0};
	(void)state;
	assert_int_equal(pipe(fds), 0);
	dup2(fds[1], STDERR_FILENO);
	report_failure(&err);
	haul_fail(&err, HAUL_IO, ENOENT, "a\nb", "open");
	report_failure(&err);
	haul_err_clear(&err);
	haul_fail(&err, HAUL_DEADLINE, 0, NULL, "%s", "");
	report_failure(&err);
	haul_err_clear(&err);
	haul_fail(&err, HAUL_SIGNAL, 0, NULL, "%s", "");
	err.signal = 15;
	report_failure(&err);
	dup2(saved, STDERR_FILENO);
	close(saved);
	assert_string_equal(drain(fds[0], out, sizeof out),
			    "haul: a\\x0ab: open: No such file or directory\nhaul: deadline\n"
			    "haul: ended by signal 15; state kept\n");
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(life_of_a_session),
		cmocka_unit_test(link_events),
		cmocka_unit_test(file_events),
		cmocka_unit_test(error_events),
		cmocka_unit_test(format_is_bounded),
		cmocka_unit_test(bus_delivers_done_once_and_last),
		cmocka_unit_test(a_slow_reader_gets_a_gap),
		cmocka_unit_test(done_waits_a_bounded_time),
		cmocka_unit_test(long_lines_pass_in_pieces),
		cmocka_unit_test(a_closed_reader_is_forgotten),
		cmocka_unit_test(a_file_is_emptied_first),
		cmocka_unit_test(bad_targets),
		cmocka_unit_test(terminal_output),
		cmocka_unit_test(failure_is_one_escaped_line),
	};
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
