/* cmd/logfile and cmd/prom: what a run leaves behind for people and for a monitor. */
#include "unit.h"

#include <errno.h>

#include "cmd/logfile.h"
#include "cmd/prom.h"

static const uint8_t id[16] = {0x1f, 0x0c, 0x2a, 0x9b};

static struct event event_of(enum event_type type)
{
	struct event ev = {.type = type};
	memcpy(ev.id, id, sizeof id);
	return ev;
}

static const char *line_of(const struct event *ev, int verbose)
{
	static char text[8192];
	size_t n = logfile_format(text, sizeof text, ev, verbose, 1763710068123);
	assert_true(n < sizeof text);
	text[n] = '\0';
	return text;
}

#define STAMP "2025-11-21T07:27:48.123Z "

static void lines(void **state)
{
	struct event ev = event_of(EV_FILE);
	(void)state;
	ev.u.file.path = "a/\x1b[31mb";
	ev.u.file.path_len = strlen(ev.u.file.path);
	ev.u.file.size = 12;
	assert_string_equal(line_of(&ev, 0), STAMP "info 1f0c2a9b a/\\x1b[31mb: committed, 12 bytes");
	ev.u.file.state = FILE_FAILED;
	ev.u.file.sys = EACCES;
	ev.u.file.why = "local\nerror";
	assert_string_equal(line_of(&ev, 0),
			    STAMP "error 1f0c2a9b a/\\x1b[31mb: failed: local\\x0aerror: Permission denied");
	ev.u.file.state = FILE_SKIPPED;
	assert_string_equal(line_of(&ev, 0), "");
	assert_string_not_equal(line_of(&ev, 1), "");

	ev = event_of(EV_RETRY);
	ev.u.retry.cause = "connection refused";
	ev.u.retry.attempt = 1;
	ev.u.retry.delay_ms = 1500;
	assert_string_equal(line_of(&ev, 0), STAMP "warn 1f0c2a9b connection refused; attempt 2 in 1.5 s");

	struct haul_err err = {0};
	haul_fail(&err, HAUL_IO, ENOENT, "pa\tth", "cannot open");
	ev = event_of(EV_ERROR);
	ev.u.error.err = &err;
	assert_string_equal(line_of(&ev, 0),
			    STAMP "error 1f0c2a9b pa\\x09th: cannot open: No such file or directory");
	ev = event_of(EV_STATE);
	ev.u.state.from = "open";
	ev.u.state.to = "closed";
	assert_string_equal(line_of(&ev, 1), "");
	assert_string_equal(line_of(&ev, 2), STAMP "debug 1f0c2a9b state open to closed");
}

/* Every type, with as little in it as there may be, and into too small a buffer. */
static void every_type(void **state)
{
	struct metrics m = {0};
	struct haul_err err = {.rc = HAUL_IO};
	char text[40];
	(void)state;
	for (int type = 0; type < EV_TYPE_COUNT; type++) {
		struct event ev = event_of((enum event_type)type);
		if (type == EV_HELLO)
			ev.u.hello.role = ev.u.hello.version = ev.u.hello.mode = "x";
		if (type == EV_STATE)
			ev.u.state.from = ev.u.state.to = "x";
		if (type == EV_PRESSURE)
			ev.u.pressure.on = "disk";
		if (type == EV_FILE)
			ev.u.file.path = "";
		if (type == EV_ERROR)
			ev.u.error.err = &err;
		if (type == EV_DONE)
			ev.u.done.m = &m;
		size_t whole = logfile_format(NULL, 0, &ev, 9, 0);
		assert_int_equal(logfile_format(text, sizeof text, &ev, 9, 0), whole);
		if (whole)
			assert_true(strlen(text) < sizeof text);
		if (type == EV_PROGRESS || type == EV_GAP)
			assert_int_equal(whole, 0);
	}
}

static void the_log_is_appended_to(void **state)
{
	struct haul_err err = {0};
	struct logfile *l;
	char text[1024];
	struct stat st;
	(void)state;
	umask(022);
	for (int run = 0; run < 2; run++) {
		assert_int_equal(logfile_open("log", 0, &l, &err), HAUL_OK);
		struct event ev = event_of(EV_WARN);
		ev.u.warn.text = "careful";
		logfile_event(l, &ev);
		logfile_close(l);
	}
	ssize_t n = get_file("log", text, sizeof text);
	assert_true(n > 2 && text[n - 1] == '\n');
	text[n - 1] = '\0';
	assert_non_null(strchr(text, '\n'));
	assert_int_equal(stat("log", &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(symlink("log", "link"), 0);
	assert_int_equal(logfile_open("link", 0, &l, &err), HAUL_IO);
	assert_int_equal(err.sys, ELOOP);
	logfile_close(NULL);
}

static double value_of(const char *text, const char *name)
{
	size_t n = strlen(name);
	for (const char *at = text; (at = strstr(at, name)); at += n)
		if ((at == text || at[-1] == '\n') && at[n] == ' ')
			return atof(at + n);
	return -1;
}

/* Each sample stands behind its own HELP and TYPE, no name twice. */
static void check_exposition(const char *text)
{
	char family[128] = "", copy[16384];
	snprintf(copy, sizeof copy, "%s", text);
	for (char *line = strtok(copy, "\n"); line; line = strtok(NULL, "\n")) {
		char name[128], help[160];
		if (sscanf(line, "# HELP %127s", name) == 1) {
			snprintf(family, sizeof family, "%s", name);
			snprintf(help, sizeof help, "# HELP %s ", name);
			assert_null(strstr(strstr(text, help) + 1, help));
		} else if (sscanf(line, "# TYPE %127s", name) == 1) {
			assert_string_equal(name, family);
			bool total = strlen(name) > 6 && strcmp(name + strlen(name) - 6, "_total") == 0;
			assert_int_equal(strstr(line, " counter") != NULL, total);
		} else {
			assert_int_equal(sscanf(line, "%127[a-z_]", name), 1);
			assert_string_equal(name, family);
			assert_memory_equal(name, "haul_", 5);
		}
	}
}

static void exposition(void **state)
{
	static char text[16384];
	struct prom_state s = {.running = true, .started_s = 100};
	(void)state;
	s.m.bytes = 5000;
	s.m.wait_ns[BLOCKED_DISK] = 1500000000;
	assert_true(prom_format(text, sizeof text, &s) < sizeof text);
	check_exposition(text);
	assert_true(value_of(text, "haul_bytes_total") == 5000);
	assert_true(value_of(text, "haul_wait_seconds_total{on=\"disk\"}") == 1.5);
	assert_true(value_of(text, "haul_running") == 1);
	assert_true(value_of(text, "haul_exit_status") == -1);
	assert_int_equal(prom_last_success(text), 0);

	s = (struct prom_state){.status = 23, .seconds = 2.5, .success_s = 1234567890};
	size_t whole = prom_format(NULL, 0, &s);
	assert_int_equal(prom_format(text, sizeof text, &s), whole);
	check_exposition(text);
	assert_true(value_of(text, "haul_exit_status") == 23);
	assert_true(value_of(text, "haul_duration_seconds") == 2.5);
	assert_int_equal(prom_last_success(text), 1234567890);
	assert_int_equal(prom_last_success(""), 0);
	assert_int_equal(prom_last_success("# haul_last_success_timestamp_seconds 5\n"), 0);
}

static void run_with(int status, char *text, size_t cap)
{
	struct haul_err err = {0};
	struct metrics m = {.files = 3};
	struct prom *p;
	assert_int_equal(prom_open("m.prom", &p, &err), HAUL_OK);
	struct event ev = event_of(EV_PROGRESS);
	ev.u.progress.m = &m;
	prom_event(p, &ev);
	ev = event_of(EV_DONE);
	ev.u.done.m = &m;
	ev.u.done.status = status;
	prom_event(p, &ev);
	prom_close(p);
	ssize_t n = get_file("m.prom", text, cap - 1);
	assert_true(n > 0);
	text[n] = '\0';
}

static void success_is_remembered(void **state)
{
	static char text[16384];
	struct haul_err err = {0};
	struct prom *p;
	(void)state;
	run_with(10, text, sizeof text);
	assert_int_equal(prom_last_success(text), 0);
	run_with(0, text, sizeof text);
	uint64_t success = prom_last_success(text);
	assert_true(success > 1000000000);
	run_with(10, text, sizeof text);
	assert_int_equal(prom_last_success(text), success);
	assert_true(value_of(text, "haul_exit_status") == 10);
	assert_true(value_of(text, "haul_files_committed_total") == 3);
	assert_int_equal(prom_open("missing/m.prom", &p, &err), HAUL_IO);
	assert_string_equal(err.subject, "missing/m.prom");
	assert_int_not_equal(system("ls | grep -q tmp"), 0);
	prom_close(NULL);
}

/* Not more often than every ten seconds while it runs. */
static void rarely(void **state)
{
	static char text[16384];
	struct haul_err err = {0};
	struct metrics m = {0};
	struct prom *p;
	(void)state;
	assert_int_equal(prom_open("m.prom", &p, &err), HAUL_OK);
	for (unsigned s = 0; s <= 25; s++) {
		struct event ev = event_of(EV_PROGRESS);
		m.bytes = s;
		ev.t_ns = s * UINT64_C(1000000000);
		ev.u.progress.m = &m;
		prom_event(p, &ev);
		ssize_t n = get_file("m.prom", text, sizeof text - 1);
		text[n > 0 ? n : 0] = '\0';
		assert_true(value_of(text, "haul_bytes_total") == s / 10 * 10);
	}
	prom_close(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines),
		cmocka_unit_test(every_type),
		cmocka_unit_test(the_log_is_appended_to),
		cmocka_unit_test(exposition),
		cmocka_unit_test(success_is_remembered),
		cmocka_unit_test(rarely),
	};
	return cmocka_run_group_tests(tests, enter_scratch, leave_scratch);
}
