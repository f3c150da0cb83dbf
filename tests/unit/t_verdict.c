/* cmd/verdict: the block of --cron says what happened, is bounded, shows no secret and cannot move a cursor. */
#include "unit.h"

#include <errno.h>

#include "cmd/verdict.h"

static char block[65536];

static const char *print(const struct verdict *v)
{
	FILE *to = fmemopen(block, sizeof block, "w");
	assert_non_null(to);
	verdict_print(to, v);
	assert_int_equal(fclose(to), 0);
	assert_true(strlen(block) < sizeof block - 1);
	return block;
}

static bool has(const char *line)
{
	char whole[1024];
	snprintf(whole, sizeof whole, "%s\n", line);
	for (const char *at = block; (at = strstr(at, whole)); at++)
		if (at == block || at[-1] == '\n')
			return true;
	return false;
}

static void bad_file(struct verdict *v, const char *path, const char *why, int sys)
{
	struct event ev = {.type = EV_FILE};
	ev.u.file.path = path;
	ev.u.file.path_len = strlen(path);
	ev.u.file.state = FILE_FAILED;
	ev.u.file.why = why;
	ev.u.file.sys = sys;
	verdict_event(v, &ev);
}

static void the_whole(void **state)
{
	const char *words[] = {"send", "--cron", "a b", "host:1", NULL};
	struct verdict v = {.command = words, .started = 1763710068, .ended = 1763710098, .seconds = 30.04};
	struct metrics m = {.files = 1, .skipped = 7, .bytes = 2048, .reconnects = 2};
	(void)state;
	struct event ev = {.type = EV_FILE};
	ev.u.file.path = "good";
	ev.u.file.path_len = 4;
	ev.u.file.size = 1500;
	verdict_event(&v, &ev);
	ev.u.file.state = FILE_SKIPPED;
	verdict_event(&v, &ev);
	bad_file(&v, "x\ny", "cannot open", EACCES);
	for (int type = EV_CONNECT; type <= EV_RETRY; type++) {
		ev = (struct event){.type = (enum event_type)type};
		verdict_event(&v, &ev);
	}
	ev = (struct event){.type = EV_DONE};
	ev.u.done.m = &m;
	verdict_event(&v, &ev);
	haul_fail(&v.err, HAUL_PARTIAL, 0, "dir", "1 failed");
	assert_string_equal(print(&v),
			    "haul: dir: 1 failed\n"
			    "  command    haul send --cron 'a b' host:1\n"
			    "  started    2025-11-21T07:27:48Z\n"
			    "  ended      2025-11-21T07:28:18Z\n"
			    "  seconds    30.0\n"
			    "  committed  1 file, 1500 bytes\n"
			    "  sent       2048 bytes (2.00 KiB)\n"
			    "  skipped    7 files\n"
			    "  failed     1\n"
			    "    x\\x0ay: failed: cannot open: Permission denied\n"
			    "  link       2 reconnects, 1 lost, 1 failed attempt\n"
			    "  exit 23 (human): some files failed, the rest is committed\n"
			    "  next       see to the files that are named, then run the same command "
			    "again\n");
}

static void names_are_bounded(void **state)
{
	static struct verdict v = {.err.rc = HAUL_PARTIAL};
	char path[8192];
	(void)state;
	memset(path, '\x1b', sizeof path - 1);
	path[sizeof path - 1] = '\0';
	for (int i = 0; i < 10; i++)
		bad_file(&v, path, path, EACCES);
	print(&v);
	assert_null(strstr(block, "more"));
	assert_null(strchr(block, '\x1b'));
	assert_non_null(strstr(block, "...: failed: \\x1b"));
	for (int i = 0; i < 1234; i++)
		bad_file(&v, "a", NULL, 0);
	assert_true(strlen(print(&v)) < 16384);
	assert_true(has("  failed     1244"));
	assert_true(has("    and 1234 more"));
	assert_false(has("    a: failed"));
}

static void commands(void **state)
{
	static const struct {
		const char *words[8];
		const char *text;
	} table[] = {
		{{"send", "--from-cmd=mysqldump -psesame", "h:1"}, "send '--from-cmd=mysqldump...' h:1"},
		{{"send", "--from-cmd", "PGPASSWORD=sesame pg_dump", "h:1"},
		 "send --from-cmd 'PGPASSWORD...' h:1"},
		{{"send", "a", "exec:sshpass -p sesame ssh h"}, "send a 'exec:sshpass...'"},
		{{"send", "-e", "ssh -o sesame", "a", "h:"}, "send -e 'ssh...' a h:"},
		{{"send", "-essh -o sesame", "a", "h:"}, "send '-essh...' a h:"},
		{{"send", "-ve", "ssh;sesame", "a", "h:"}, "send -ve 'ssh...' a h:"},
		{{"send", "--rsh=ssh -o sesame", "a", "h:"}, "send '--rsh=ssh...' a h:"},
		{{"send", "--key=haul-psk-1 sesame", "a", "h:1"}, "send '--key=...' a h:1"},
		{{"send", "--key", "haul-psk-1 sesame", "a", "h:1"}, "send --key '...' a h:1"},
		{{"send", "--identity=haul-secret-1 sesame", "a"}, "send '--identity=...' a"},
		{{"send", "--key=a b", "-C", "my files", "", "h:1"}, "send '--key=a b' -C 'my files' '' h:1"},
		{{"send", "-e", "ssh", "bell\a", "h:"}, "send -e ssh 'bell\\x07' h:"},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(table); i++) {
		struct verdict v = {.command = table[i].words, .err.rc = HAUL_CONNECT};
		char line[256];
		snprintf(line, sizeof line, "  command    haul %s", table[i].text);
		print(&v);
		if (!has(line))
			fail_msg("no '%s' in:\n%s", line, block);
		assert_null(strstr(block, "sesame"));
	}
	static const char *many[5000];
	for (size_t i = 0; i + 1 < COUNT(many); i++)
		many[i] = "word";
	struct verdict v = {.command = many, .err.rc = HAUL_CONNECT};
	assert_true(strlen(print(&v)) < 4096);
	assert_non_null(strstr(block, " word ...\n"));
}

static void what_programs_said(void **state)
{
	struct verdict v = {.err.rc = HAUL_COMMAND};
	char text[8192];
	(void)state;
	print(&v);
	assert_null(strstr(block, "programs"));
	verdict_said(&v, "one\ntw\033o\n", 9);
	print(&v);
	assert_non_null(strstr(block, "  programs it started said:\n    one\n    tw\\x1bo\n  exit"));
	verdict_said(&v, "3\n4\n5\n6\n\n\n", 10);
	print(&v);
	assert_non_null(strstr(block, "said, at the end:\n    tw\\x1bo\n    3\n    4\n    5\n    6\n  exit"));
	/* whatever comes in whatever pieces, the end of it is kept */
	memset(text, 'x', sizeof text);
	for (size_t n = 1; n < sizeof text; n += 97) {
		text[n - 1] = '\n';
		verdict_said(&v, text, n);
		text[n - 1] = 'x';
		verdict_said(&v, "the end", 7);
		assert_true(v.said_len <= sizeof v.said);
		print(&v);
		assert_non_null(strstr(block, "said, at the end:"));
		assert_non_null(strstr(block, "    the end\n  exit"));
	}
	verdict_said(&v, text, sizeof text);
	assert_true(strlen(print(&v)) < 4096);
	assert_non_null(strstr(block, "xxx...\n  exit"));
}

static void a_step_for_every_failure(void **state)
{
	(void)state;
	for (int rc = HAUL_OK; rc < HAUL_RC_COUNT; rc++) {
		const char *step = verdict_next_step((enum haul_rc)rc);
		assert_int_equal(step != NULL, rc != HAUL_OK);
		assert_true(!step || strlen(step) < 100);
	}
	struct verdict v = {.err = {.rc = HAUL_SIGNAL, .signal = 15}};
	haul_fail(&v.also, HAUL_IO, ENOSPC, "p", "cannot write");
	print(&v);
	assert_true(has("haul: ended by signal 15; state kept"));
	assert_true(has("  also       p: cannot write: No space left on device"));
	assert_true(has("  exit 143 (again): ended by a signal; state kept"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_whole),
		cmocka_unit_test(names_are_bounded),
		cmocka_unit_test(commands),
		cmocka_unit_test(what_programs_said),
		cmocka_unit_test(a_step_for_every_failure),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
