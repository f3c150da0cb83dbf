/* The option parser: every kind of option, every refusal, precedence, operands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmd/opts.h"
#include "lib/units.h"

#define ARGS_MAX 16

static struct options o;
static struct haul_err err;

static enum haul_rc parse(enum subcommand sub, ...)
{
	static char name[] = "haul";
	char *argv[ARGS_MAX + 2] = {name};
	int argc = 1;
	va_list ap;

	opts_free(&o);
	va_start(ap, sub);
	for (char *arg; argc < ARGS_MAX && (arg = va_arg(ap, char *));)
		argv[argc++] = arg;
	va_end(ap);
	return opts_parse(&o, sub, argc, argv, &err);
}

#define SEND(...)  parse(CMD_SEND, __VA_ARGS__, (char *)NULL)
#define RECV(...)  parse(CMD_RECV, __VA_ARGS__, (char *)NULL)
#define SENDS(...) assert_int_equal(SEND(__VA_ARGS__, "src", "host:1"), HAUL_OK)
#define RECVS(...) assert_int_equal(RECV(__VA_ARGS__, "dir"), HAUL_OK)

/* A refusal: its subject, and a part of its reason. */
static void refused(enum haul_rc rc, const char *subject, const char *why)
{
	assert_int_equal(rc, HAUL_USAGE);
	assert_int_equal(haul_exit_status(&err), 1);
	assert_string_equal(err.subject, subject);
	if (!strstr(err.why, why))
		fail_msg("'%s' does not say '%s'", err.why, why);
}

#define SEND_REFUSES(subject, why, ...) refused(SEND(__VA_ARGS__, "src", "host:1"), subject, why)
#define RECV_REFUSES(subject, why, ...) refused(RECV(__VA_ARGS__, "dir"), subject, why)

static int clean_environment(void **state)
{
	(void)state;
	unsetenv("HAUL_OPTIONS");
	unsetenv("HAUL_RSH");
	unsetenv("HAUL_KEY_FILE");
	return 0;
}

static int release(void **state)
{
	(void)state;
	opts_free(&o);
	return clean_environment(state);
}

static void defaults(void **state)
{
	(void)state;
	assert_int_equal(SEND("src", "host:1"), HAUL_OK);
	const struct haul_config *c = &o.cfg;
	assert_int_equal(c->window, 64u << 20);
	assert_int_equal(c->ring, 64u << 20);
	assert_false(c->window_set || c->ring_set);
	assert_int_equal(c->idle_ms, 60000);
	assert_int_equal(c->credit_wait_ms, 30000);
	assert_true(c->reconnect_ms == (isatty(STDERR_FILENO) ? DURATION_INF : 30000));
	assert_int_equal(c->connect_ms, 30000);
	assert_int_equal(c->retry_min_ms, 500);
	assert_int_equal(c->retry_max_ms, 60000);
	assert_int_equal(c->grace_ms, 10000);
	assert_int_equal(c->bwlimit, 0);
	assert_in_range(c->jobs, 1, 4);
	assert_int_equal(c->compress, COMPRESS_AUTO);
	assert_int_equal(c->level_min, 1);
	assert_int_equal(c->level_max, 12);
	assert_int_equal(c->chunk, 1u << 20);
	assert_int_equal(c->links, LINKS_KEEP);
	assert_int_equal(c->vanished, VANISHED_WARN);
	assert_true(c->stream_size == SIZE_UNSET && c->quota == SIZE_UNSET);
	assert_true(c->deadline_ms == DURATION_INF);
	assert_null(c->lock_file);
	assert_string_equal(c->rsh, "ssh");
	assert_string_equal(c->haul_path, "haul");
	assert_int_equal(c->progress, PROGRESS_AUTO);
	assert_null(c->json);

	assert_int_equal(RECV("dir"), HAUL_OK);
	assert_int_equal(c->reconnect_ms, 30000);
	assert_null(c->listen);
	assert_int_equal(c->overwrite, OVERWRITE_YES);
	assert_int_equal(c->sync, SYNC_BATCH);
	assert_int_equal(c->max_sessions, 16);
	assert_int_equal(c->overload, OVERLOAD_REJECT);
}

static void flags(void **state)
{
	(void)state;
	SENDS("-nacruWqvv", "--partial", "--remove-source-files", "--stats", "--existing");
	assert_true(o.cfg.dry_run && o.cfg.checksum && o.cfg.update && o.cfg.whole_file && o.cfg.quiet);
	assert_true(o.cfg.remove_source_files && o.cfg.stats && o.cfg.existing);
	assert_false(o.cfg.size_only || o.cfg.ignore_existing || o.cfg.insecure);
	assert_int_equal(o.cfg.verbose, 2);
	SENDS("--size-only", "--ignore-existing", "--insecure");
	assert_true(o.cfg.size_only && o.cfg.ignore_existing && o.cfg.insecure);
	RECVS("--once");
	assert_true(o.cfg.once);
	SEND_REFUSES("--dry-run", "takes no value", "--dry-run=1");
	SEND_REFUSES("--existing", "nothing would be sent", "--existing", "--ignore-existing");
	SEND_REFUSES("--size-only", "contradicts", "--size-only", "-c");
}

static void rules_in_order(void **state)
{
	static const struct rule_given want[] = {
		{OPTION_exclude, "e1"},
		{OPTION_include, "i1"},
		{OPTION_exclude_from, "f"},
		{OPTION_include, "i2"},
		{OPTION_exclude, "-not an option"},
	};
	(void)state;
	setenv("HAUL_OPTIONS", "--exclude=e1", 1);
	SENDS("--include=i1", "--exclude-from", "f", "-x", "--include", "i2", "-0",
	      "--exclude=-not an option");
	assert_int_equal(o.rule_count, 5);
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(o.rules[i].id, want[i].id);
		assert_string_equal(o.rules[i].value, want[i].value);
	}
	assert_true(o.cfg.one_file_system && o.cfg.from0);
	assert_null(o.cfg.filter); /* files are read later */
	SEND_REFUSES("--exclude", "empty", "--exclude=");
	unsetenv("HAUL_OPTIONS");
}

static void lists(void **state)
{
	(void)state;
	assert_int_equal(SEND("--files-from=l", "host:1"), HAUL_OK);
	assert_int_equal(o.source_count, 1);
	assert_string_equal(o.operands[0], ".");
	assert_string_equal(o.peer, "host:1");
	assert_int_equal(SEND("--files-from=l", "--listen=:1"), HAUL_OK);
	assert_string_equal(o.operands[0], ".");
	SENDS("--files-from=l");
	assert_string_equal(o.operands[0], "src");
	SEND_REFUSES("--files-from", "one SRC at most", "--files-from=l", "src");
	refused(SEND("--files-from=l", "-", "host:1"), "--files-from", "standard input");
	refused(SEND("--files-from=l", "--from-cmd=c", "host:1"), "--files-from", "--from-cmd");
}

static void bounds_of_size(void **state)
{
	(void)state;
	SENDS("--max-size=0");
	assert_int_equal(o.cfg.max_size, 0);
	SENDS("--max-size=1k", "--min-size=1k");
	assert_int_equal(o.cfg.min_size, 1024);
	SEND_REFUSES("--min-size", "larger than --max-size", "--max-size=1k", "--min-size=1025");
}

static void sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {{"1", 1},
		    {"17B", 17},
		    {"1k", 1024},
		    {"1K", 1024},
		    {"1KiB", 1024},
		    {"1kB", 1000},
		    {"1KB", 1000},
		    {"64M", 64 << 20},
		    {"3MiB", 3 << 20},
		    {"3MB", 3000000},
		    {"1.5G", 1610612736},
		    {"1.5GB", 1500000000},
		    {"0.5k", 512},
		    {"2T", UINT64_C(2) << 40},
		    {"1TB", 1000000000000},
		    {"9223372036854775807", INT64_MAX},
		    {"0.000001G", 1073}};
	static const char *const bad[] = {"",
					  "M",
					  "x",
					  "-1",
					  "+1",
					  " 1",
					  "1 ",
					  "1 M",
					  "1Q",
					  "1Mi",
					  "1MiBx",
					  "1.M",
					  ".5M",
					  "1..2",
					  "0x10",
					  "1e3",
					  "1,5M",
					  "0.0000001G",
					  "9223372036854775808",
					  "18446744073709551616",
					  "9999999999T",
					  "8388608T",
					  "99999999999999999999999",
					  "1BB",
					  "1M/s"};
	uint64_t n;
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		assert_true(units_size(good[i].text, &n));
		assert_true(n == good[i].bytes);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (units_size(bad[i], &n))
			fail_msg("'%s' taken as a size", bad[i]);
}

static void size_options(void **state)
{
	(void)state;
	SENDS("--window=8M", "--ring", "9M", "--chunk=4k", "--bwlimit=1.5MB/s");
	assert_int_equal(o.cfg.window, 8 << 20);
	assert_int_equal(o.cfg.ring, 9 << 20);
	assert_true(o.cfg.window_set && o.cfg.ring_set);
	assert_int_equal(o.cfg.chunk, 4096);
	assert_int_equal(o.cfg.bwlimit, 1500000);
	assert_int_equal(SEND("--size=0", "-", "host:1"), HAUL_OK);
	assert_int_equal(o.cfg.stream_size, 0);
	refused(SEND("--size=5", "src", "host:1"), "--size", "is for a stream");
	RECVS("--quota=1G");
	assert_int_equal(o.cfg.quota, 1 << 30);
	SEND_REFUSES("--window", "0 is not unlimited", "--window=0");
	SEND_REFUSES("--window", "0 is not unlimited", "--window", "0.0001");
	SEND_REFUSES("--ring", "0 is not unlimited", "--ring=0k");
	SEND_REFUSES("--window", "-1 is not a size", "--window=-1");
	SEND_REFUSES("--window", "is not a size", "--window=");
	SEND_REFUSES("--bwlimit", "0 is not unlimited", "--bwlimit=0");
	SEND_REFUSES("--bwlimit", "fast is not a rate", "--bwlimit=fast");
	SEND_REFUSES("--chunk", "4k to 4M", "--chunk=4095");
	SEND_REFUSES("--chunk", "4k to 4M", "--chunk=4194305");
	SENDS("--chunk=4M");
	RECV_REFUSES("--quota", "0 is not unlimited", "--quota=0");
}

static void durations(void **state)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} good[] = {{"1", 1000},	   {"0.5", 500},
		    {"0.5s", 500},	   {"250ms", 250},
		    {"2m", 120000},	   {"1.5h", 5400000},
		    {"1d", 86400000},	   {"0", 0},
		    {"inf", DURATION_INF}, {"36500d", UINT64_C(3153600000000)}};
	static const char *const bad[] = {"",
					  "s",
					  "1S",
					  "1 s",
					  "-1s",
					  "1w",
					  "infinite",
					  "36501d",
					  "1ns",
					  "1.s",
					  "18446744073709551615d",
					  "INF"};
	uint64_t n;
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		assert_true(units_duration(good[i].text, &n));
		assert_true(n == good[i].ms);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (units_duration(bad[i], &n))
			fail_msg("'%s' taken as a duration", bad[i]);
}

static void duration_options(void **state)
{
	(void)state;
	SENDS("--idle=inf", "--credit-wait=2", "--reconnect=0", "--connect=5s", "--grace=0", "--deadline=6h");
	assert_true(o.cfg.idle_ms == DURATION_INF);
	assert_int_equal(o.cfg.credit_wait_ms, 2000);
	assert_int_equal(o.cfg.reconnect_ms, 0);
	assert_int_equal(o.cfg.connect_ms, 5000);
	assert_int_equal(o.cfg.grace_ms, 0);
	assert_int_equal(o.cfg.deadline_ms, 6 * 3600000);
	SENDS("--lock", "--lock-wait=0");
	assert_int_equal(o.cfg.lock_wait_ms, 0);
	SEND_REFUSES("--idle", "0 is not unlimited", "--idle=0");
	SEND_REFUSES("--credit-wait", "0 is not unlimited", "--credit-wait=0ms");
	SEND_REFUSES("--connect", "0 is not unlimited", "--connect=0");
	SEND_REFUSES("--deadline", "0 is not unlimited", "--deadline=0s");
	SEND_REFUSES("--idle", "soon is not a duration", "--idle=soon");
	SEND_REFUSES("--lock-wait", "needs --lock", "--lock-wait=5s");

	SENDS("--retry-delay=100ms..2m");
	assert_int_equal(o.cfg.retry_min_ms, 100);
	assert_int_equal(o.cfg.retry_max_ms, 120000);
	SENDS("--retry-delay=3");
	assert_int_equal(o.cfg.retry_min_ms, 3000);
	assert_int_equal(o.cfg.retry_max_ms, 3000);
	SEND_REFUSES("--retry-delay", "shorter", "--retry-delay=2s..1s");
	SEND_REFUSES("--retry-delay", "neither 0 nor inf", "--retry-delay=0..1s");
	SEND_REFUSES("--retry-delay", "neither 0 nor inf", "--retry-delay=1s..inf");
	SEND_REFUSES("--retry-delay", "is not MIN..MAX", "--retry-delay=1s-2s");
	SEND_REFUSES("--retry-delay", "is not MIN..MAX", "--retry-delay=1..2..3");
	SEND_REFUSES("--retry-delay", "is not MIN..MAX",
		     "--retry-delay=11111111111111111111111111111111111..3");
}

static void counts(void **state)
{
	(void)state;
	SENDS("--jobs=3");
	assert_int_equal(o.cfg.jobs, 3);
	RECVS("--max-sessions", "2");
	assert_int_equal(o.cfg.max_sessions, 2);
	SEND_REFUSES("--jobs", "0 is not unlimited", "--jobs=0");
	SEND_REFUSES("--jobs", "two is not a count", "--jobs=two");
	SEND_REFUSES("--jobs", "1.5 is not a count", "--jobs=1.5");
	SEND_REFUSES("--jobs", "65 is more than 64", "--jobs=65");
	RECV_REFUSES("--max-sessions", "is not a count", "--max-sessions=4294967296");
}

static void choices(void **state)
{
	(void)state;
	SENDS("--links=follow", "--vanished=ignore", "--progress=plain");
	assert_int_equal(o.cfg.links, LINKS_FOLLOW);
	assert_int_equal(o.cfg.vanished, VANISHED_IGNORE);
	assert_int_equal(o.cfg.progress, PROGRESS_PLAIN);
	RECVS("--overwrite=backup", "--sync", "none");
	assert_int_equal(o.cfg.overwrite, OVERWRITE_BACKUP);
	assert_int_equal(o.cfg.sync, SYNC_NONE);
	SENDS("-P");
	assert_int_equal(o.cfg.progress, isatty(STDERR_FILENO) ? PROGRESS_TTY : PROGRESS_PLAIN);
	SENDS("--progress=off");
	assert_int_equal(o.cfg.progress, PROGRESS_OFF);
	SEND_REFUSES("--links", "kee is not one of keep,follow,skip", "--links=kee");
	SEND_REFUSES("--links", "is not one of", "--links=keep,follow");
	SEND_REFUSES("--links", "is not one of", "--links=");
	SEND_REFUSES("--progress", "is not one of", "--progress=x");
}

static void compression(void **state)
{
	(void)state;
	SENDS("-znone");
	assert_int_equal(o.cfg.compress, COMPRESS_NONE);
	SENDS("-z", "7");
	assert_int_equal(o.cfg.compress, COMPRESS_LEVEL);
	assert_int_equal(o.cfg.level_min, 7);
	assert_int_equal(o.cfg.level_max, 7);
	SENDS("-nz3..9");
	assert_true(o.cfg.dry_run);
	assert_int_equal(o.cfg.compress, COMPRESS_RANGE);
	assert_int_equal(o.cfg.level_min, 3);
	assert_int_equal(o.cfg.level_max, 9);
	SENDS("-z3", "--compress=auto");
	assert_int_equal(o.cfg.compress, COMPRESS_AUTO);
	assert_int_equal(o.cfg.level_max, 12);
	SENDS("--compress=15");
	SEND_REFUSES("--compress", "libzstd before 1.5.5", "--compress=16");
	SEND_REFUSES("-z", "libzstd before 1.5.5", "-z1..19");
	SEND_REFUSES("-z", "spelt none", "-z0");
	SEND_REFUSES("-z", "lower level comes first", "-z9..3");
	SEND_REFUSES("-z", "may be left out", "-az"); /* rsync's fingers */
	SEND_REFUSES("-z", "is not one of", "-z", "-3");
}

static void overload(void **state)
{
	(void)state;
	RECVS("--overload=queue");
	assert_int_equal(o.cfg.overload, OVERLOAD_QUEUE);
	assert_true(o.cfg.overload_queue > 0);
	RECVS("--overload=queue:5");
	assert_int_equal(o.cfg.overload_queue, 5);
	RECVS("--overload=queue:5", "--overload=reject");
	assert_int_equal(o.cfg.overload, OVERLOAD_REJECT);
	RECV_REFUSES("--overload", "is not one of", "--overload=queue:");
	RECV_REFUSES("--overload", "is not one of", "--overload=drop");
	RECV_REFUSES("--overload", "spelt reject", "--overload=queue:0");
}

static void strings(void **state)
{
	(void)state;
	assert_int_equal(SEND("-C", "/d", "--name=n", "-erush -p 1", "--haul-path=/h", "--log-file=l",
			      "--metrics=m", "-", "host:1"),
			 HAUL_OK);
	assert_string_equal(o.cfg.chdir_to, "/d");
	assert_string_equal(o.cfg.name, "n");
	assert_string_equal(o.cfg.rsh, "rush -p 1");
	assert_string_equal(o.cfg.haul_path, "/h");
	assert_string_equal(o.cfg.log_file, "l");
	assert_string_equal(o.cfg.metrics, "m");
	SENDS("--json", "--lock");
	assert_string_equal(o.cfg.json, "");
	assert_string_equal(o.cfg.lock_file, "");
	SENDS("--json=fd:3", "--lock=/l");
	assert_string_equal(o.cfg.json, "fd:3");
	assert_string_equal(o.cfg.lock_file, "/l");
	RECVS("--stdio");
	assert_string_equal(o.cfg.listen, "stdio:");
	RECVS("--listen=unix:/s", "--port-file=p");
	assert_string_equal(o.cfg.listen, "unix:/s");
	assert_string_equal(o.cfg.port_file, "p");
	SEND_REFUSES("--name", "empty", "--name=");
	SEND_REFUSES("--json", "empty", "--json=");
	refused(SEND("src", "h:1", "--name"), "--name", "needs a value: NAME");
	refused(SEND("src", "h:1", "-C"), "-C", "needs a value: DIR");
}

static void cron(void **state)
{
	(void)state;
	SENDS("--cron");
	assert_true(o.cfg.cron && o.cfg.quiet);
	assert_string_equal(o.cfg.lock_file, "");
	assert_int_equal(o.cfg.reconnect_ms, 3600000);
	assert_int_equal(o.cfg.deadline_ms, 6 * 3600000);
	SENDS("--lock=/l", "--reconnect=5s", "--deadline=inf", "--cron", "--lock-wait=1m");
	assert_string_equal(o.cfg.lock_file, "/l");
	assert_int_equal(o.cfg.reconnect_ms, 5000);
	assert_true(o.cfg.deadline_ms == DURATION_INF);
	assert_int_equal(o.cfg.lock_wait_ms, 60000);
	setenv("HAUL_OPTIONS", "--reconnect=7s --deadline=8s", 1);
	SENDS("--cron", "--deadline=9s");
	assert_int_equal(o.cfg.reconnect_ms, 7000);
	assert_int_equal(o.cfg.deadline_ms, 9000);
	setenv("HAUL_OPTIONS", "--cron", 1);
	SENDS("--reconnect=2m");
	assert_true(o.cfg.cron);
	assert_int_equal(o.cfg.reconnect_ms, 120000);
	RECVS("--once");
	assert_false(o.cfg.cron || o.cfg.quiet);
	clean_environment(NULL);
	SENDS("-v");
	assert_false(o.cfg.cron || o.cfg.quiet);
	assert_null(o.cfg.lock_file);
	refused(SEND("--cron", "--listen=unix:/s", "src"), "--cron", "with --listen");
	RECV_REFUSES("--cron", "an option of haul send", "--cron");
}

static void networks(void **state)
{
	(void)state;
	RECVS("--once");
	assert_int_equal(o.cfg.only_from.count, 0);
	RECVS("--recv-only-from=192.0.2.0/24,::1");
	assert_int_equal(o.cfg.only_from.count, 2);
	RECVS("--recv-only-from=192.0.2.0/24,::1", "--recv-only-from=10.0.0.1");
	assert_int_equal(o.cfg.only_from.count, 1);
	RECV_REFUSES("--recv-only-from", "10.0.0.1/8 has bits set", "--recv-only-from=::1,10.0.0.1/8");
	refused(RECV("--recv-only-from=::1", "host:1", "dir"), "--recv-only-from", "is for listening");
	SEND_REFUSES("--recv-only-from", "an option of haul recv", "--recv-only-from=::1");
}

static void unknown_options(void **state)
{
	(void)state;
	SEND_REFUSES("--widnow=1", "did you mean --window?", "--widnow=1");
	SEND_REFUSES("--comp", "did you mean --compress?", "--comp");
	SEND_REFUSES("--bw-limit", "did you mean --bwlimit?", "--bw-limit");
	SEND_REFUSES("--moon", "no such option", "--moon");
	assert_null(strstr(err.why, "did you mean"));
	SEND_REFUSES("--jsno", "did you mean --json?", "--jsno");
	SEND_REFUSES("-Y", "no such option", "-Y");
	assert_string_equal(err.why, "no such option");
	SEND_REFUSES("-vY", "no such option: -Y", "-vY");
	SEND_REFUSES("--zzzzzzzz", "no such option", "--zzzzzzzz");
	assert_null(strstr(err.why, "did you mean"));
	SEND_REFUSES("-nQ", "no such option: -Q", "-nQ");
	SEND_REFUSES("--once", "an option of haul recv, not of haul send", "--once");
	RECV_REFUSES("-n", "an option of haul send, not of haul recv", "-n");
	char far[200];
	memset(far, 'x', sizeof far - 1);
	far[0] = far[1] = '-';
	far[sizeof far - 1] = '\0';
	SEND_REFUSES(far, "no such option", far);
}

static void send_operands(void **state)
{
	(void)state;
	assert_int_equal(SEND("a", "-n", "b", "user@host:/x", "-v"), HAUL_OK);
	assert_int_equal(o.source_count, 2);
	assert_string_equal(o.operands[1], "b");
	assert_string_equal(o.peer, "user@host:/x");
	assert_int_equal(SEND("--", "-n", "host:1"), HAUL_OK);
	assert_false(o.cfg.dry_run);
	assert_string_equal(o.operands[0], "-n");
	assert_int_equal(SEND("-", "stdio:"), HAUL_OK);
	assert_int_equal(SEND("--from-cmd=ls", "unix:/s"), HAUL_OK);
	assert_int_equal(o.source_count, 0);
	assert_string_equal(o.peer, "unix:/s");
	assert_int_equal(SEND("--listen=127.0.0.1:0", "--port-file=p", "a", "b"), HAUL_OK);
	assert_null(o.peer);
	assert_int_equal(o.source_count, 2);
	assert_int_equal(SEND("--listen=unix:/s", "--from-cmd=ls"), HAUL_OK);
	assert_int_equal(SEND("-h"), HAUL_OK);
	assert_true(o.help);

	refused(SEND("-n"), "", "SRC and DEST are missing");
	refused(SEND("host:1"), "host:1", "SRC is missing");
	refused(SEND("dir"), "dir", "DEST is missing");
	refused(SEND("a", "b"), "b", "not an address");
	refused(SEND("a", "./x:1"), "./x:1", "not an address");
	refused(SEND("--from-cmd=ls", "a", "host:1"), "a", "--from-cmd");
	refused(SEND("--listen=:0"), "", "SRC is missing");
	refused(SEND("-", "-", "host:1"), "-", "once only");
	refused(SEND("", "host:1"), "", "empty string");
	refused(SEND("--name=x", "a", "b", "host:1"), "--name", "2 SRCs");
	refused(SEND("--size=1", "a", "b", "host:1"), "--size", "2 SRCs");
	SEND_REFUSES("--name", "is for a stream", "--name=x");
	SEND_REFUSES("--size", "is for a stream", "--size=1");
	refused(SEND("--port-file=p", "a", "host:1"), "--port-file", "host:1 is dialled");
}

static void recv_operands(void **state)
{
	(void)state;
	assert_int_equal(RECV("dir"), HAUL_OK);
	assert_string_equal(o.dir, "dir");
	assert_null(o.peer);
	assert_int_equal(RECV("host:1", "dir"), HAUL_OK);
	assert_string_equal(o.peer, "host:1");
	assert_string_equal(o.dir, "dir");
	assert_int_equal(RECV("-o", "-"), HAUL_OK);
	assert_string_equal(o.cfg.output, "-");
	assert_null(o.dir);
	assert_int_equal(RECV("-o-", "[::1]:1"), HAUL_OK);
	assert_string_equal(o.peer, "[::1]:1");
	assert_int_equal(RECV("--to-cmd=cat"), HAUL_OK);
	assert_int_equal(RECV("./a:b"), HAUL_OK);

	refused(RECV("-v"), "", "DIR is missing");
	refused(RECV("host:1"), "host:1", "DIR is missing");
	refused(RECV("a", "b"), "a", "not an address");
	refused(RECV("host:1", "a", "b"), "b", "one operand too many");
	refused(RECV("-o", "f", "dir"), "dir", "there is no DIR");
	refused(RECV("-o", "f", "host:1", "dir"), "dir", "one operand too many");
	refused(RECV("-o", "f", "--to-cmd=cat"), "--to-cmd", "--output");
	refused(RECV("--stdio", "host:1", "dir"), "host:1", "--stdio");
	refused(RECV("--listen=:1", "host:1", "dir"), "host:1", "--listen");
	refused(RECV("--port-file=p", "host:1", "dir"), "--port-file", "dialled");
	refused(RECV("-"), "-", "--output=-");
	refused(RECV(""), "", "empty string");

	assert_int_equal(parse(CMD_STATUS, (char *)NULL), HAUL_OK);
	assert_string_equal(o.dir, ".");
	assert_int_equal(parse(CMD_STATUS, "d", (char *)NULL), HAUL_OK);
	assert_string_equal(o.dir, "d");
	refused(parse(CMD_STATUS, "d", "e", (char *)NULL), "e", "too many");
	refused(parse(CMD_STATUS, "", (char *)NULL), "", "empty string");
	assert_int_equal(parse(CMD_STATUS, "--json", "--discard=x", (char *)NULL), HAUL_OK);
	assert_string_equal(o.cfg.json, "");
	assert_string_equal(o.cfg.discard, "x");
	refused(parse(CMD_STATUS, "--json=f", (char *)NULL), "--json", "standard output");
	refused(parse(CMD_STATUS, "--window=1M", (char *)NULL), "--window", "of haul send");
	refused(SEND("--discard=x", "a", "h:1"), "--discard", "of haul status");
}

static void environment(void **state)
{
	(void)state;
	setenv("HAUL_OPTIONS", " --window=2M  -vq --log-file 'a b' --rsh=\"x \\\"y\\\" \\z\" -C c\\ d ", 1);
	setenv("HAUL_RSH", "env-rsh", 1);
	SENDS("--window=3M", "-v");
	assert_int_equal(o.cfg.window, 3 << 20);
	assert_true(o.cfg.window_set && o.cfg.quiet);
	assert_int_equal(o.cfg.verbose, 2);
	assert_string_equal(o.cfg.log_file, "a b");
	assert_string_equal(o.cfg.rsh, "x \"y\" \\z");
	assert_string_equal(o.cfg.chdir_to, "c d");
	RECVS("--once"); /* options of send are passed over, with their values */
	assert_int_equal(o.cfg.window, 2 << 20);

	setenv("HAUL_OPTIONS", "", 1);
	SENDS("-v");
	assert_string_equal(o.cfg.rsh, "env-rsh");
	SENDS("-e", "argv-rsh");
	assert_string_equal(o.cfg.rsh, "argv-rsh");

	setenv("HAUL_OPTIONS", "--name='a", 1);
	SEND_REFUSES("HAUL_OPTIONS", "quote", "-v");
	setenv("HAUL_OPTIONS", "stray", 1);
	SEND_REFUSES("HAUL_OPTIONS", "stray is not an option", "-v");
	setenv("HAUL_OPTIONS", "--name", 1);
	SEND_REFUSES("--name", "needs a value", "-v");
	setenv("HAUL_OPTIONS", "--windw=1", 1);
	SEND_REFUSES("--windw=1", "did you mean --window?", "-v");
	setenv("HAUL_OPTIONS", "--name=''", 1);
	SEND_REFUSES("--name", "empty", "-v");
}

#define PUB "haul-pub-1 x" /* parsing opens and decodes nothing */

static void keys(void **state)
{
	(void)state;
	SENDS("-k", "f");
	assert_string_equal(o.cfg.key_file, "f");
	assert_null(o.cfg.keys);
	RECVS("--key-fd=3");
	assert_string_equal(o.cfg.key_fd, "3");
	SENDS("--identity=i", "--peer=" PUB);
	assert_string_equal(o.cfg.peer, PUB);
	RECVS("--identity=i", "--peers=f");
	assert_int_equal(SEND("--listen=:0", "--identity=i", "--peer=f", "src"), HAUL_OK);
	assert_int_equal(parse(CMD_KEY, "new", "--identity=f", (char *)NULL), HAUL_OK);

	SEND_REFUSES("--key-fd", "together with --key", "-kf", "--key-fd=3");
	SENDS("-kf", "--identity=i", "--peer=p");
	SENDS("--key-fd=3", "--identity=i", "--peer=p");
	RECVS("--key=f", "--identity=i", "--peers=p");
	SEND_REFUSES("--key-fd", "together with --key", "-kf", "--key-fd=3", "--identity=i", "--peer=p");
	SEND_REFUSES("--identity", "needs --peer", "-kf", "--identity=i");
	SEND_REFUSES("--identity", "needs --peer", "--identity=i");
	RECV_REFUSES("--identity", "or --peers", "--identity=i");
	SEND_REFUSES("--peer", "needs --identity", "--peer=p");
	SEND_REFUSES("--peer", "needs --identity", "-kf", "--peer=p");
	RECV_REFUSES("--peers", "needs --identity", "--peers=p");
	RECV_REFUSES("--peers", "together with --peer", "--identity=i", "--peer=p", "--peers=f");
	refused(RECV("--identity=i", "--peers=f", "host:1", "dir"), "--peers", "host:1 is dialled");
	SEND_REFUSES("--peers", "an option of haul recv", "--identity=i", "--peers=f");
	static const char *const bad[] = {"0", "1", "2", "x", "-3", "3x", "3.0", "4294967299", "2147483648"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		SEND_REFUSES("--key-fd", "no descriptor from 3 on", "--key-fd", bad[i]);
	refused(parse(CMD_KEY, "new", "--key=f", (char *)NULL), "--key",
		"an option of haul send, not of haul key");
	refused(parse(CMD_STATUS, "--identity=f", (char *)NULL), "--identity", "not of haul status");
}

/* The key itself where a file belongs: refused, and not repeated. */
static void keys_in_the_open(void **state)
{
	static const char *const options[] = {"--key", "--key-fd", "--identity", "--peer", "--peers"};
	static const char *const secrets[] = {"haul-psk-1 c2VjcmV0", "haul-secret-1 c2VjcmV0",
					      "haul-psk-9 c2VjcmV0"};
	(void)state;
	for (size_t i = 0; i < sizeof options / sizeof *options; i++)
		for (size_t s = 0; s < sizeof secrets / sizeof *secrets; s++) {
			RECV_REFUSES(options[i], "spoilt", options[i], secrets[s]);
			assert_null(strstr(err.why, "c2V"));
		}
	setenv("HAUL_KEY_FILE", secrets[0], 1);
	SEND_REFUSES("HAUL_KEY_FILE", "spoilt", "-v");
	assert_null(strstr(err.why, "c2V"));
}

static void key_file_of_the_environment(void **state)
{
	(void)state;
	setenv("HAUL_KEY_FILE", "/env", 1);
	SENDS("-v");
	assert_string_equal(o.cfg.key_file, "/env");
	SENDS("--key=argv");
	assert_string_equal(o.cfg.key_file, "argv");
	SENDS("--key-fd=3");
	assert_null(o.cfg.key_file);
	SENDS("--identity=i", "--peer=p");
	assert_null(o.cfg.key_file);
	setenv("HAUL_OPTIONS", "--key=options", 1);
	SENDS("-v");
	assert_string_equal(o.cfg.key_file, "options");
	setenv("HAUL_OPTIONS", "", 1);
	setenv("HAUL_KEY_FILE", "", 1);
	SENDS("-v");
	assert_null(o.cfg.key_file);
	assert_null(o.cfg.keys);
}

/* The table itself: unique names and letters, defaults that parse, a value name where one is taken. */
static void table_is_sound(void **state)
{
	(void)state;
	for (size_t i = 0; i < OPTION_TOTAL; i++) {
		const struct option_row *a = &option_table[i];
		if (a->kind == OPT_GROUP)
			continue;
		assert_non_null(a->name);
		assert_non_null(a->help);
		assert_true(a->subs != 0);
		assert_int_equal(option_arg(a) != ARG_NONE, a->metavar != NULL);
		for (size_t j = i + 1; j < OPTION_TOTAL; j++) {
			const struct option_row *b = &option_table[j];
			if (b->kind == OPT_GROUP)
				continue;
			assert_string_not_equal(a->name, b->name);
			assert_false(a->letter && a->letter == b->letter);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, clean_environment, release)
		TEST(defaults),
		TEST(flags),
		TEST(rules_in_order),
		TEST(lists),
		TEST(bounds_of_size),
		TEST(sizes),
		TEST(size_options),
		TEST(durations),
		TEST(duration_options),
		TEST(counts),
		TEST(choices),
		TEST(compression),
		TEST(overload),
		TEST(strings),
		TEST(cron),
		TEST(networks),
		TEST(unknown_options),
		TEST(send_operands),
		TEST(recv_operands),
		TEST(environment),
		TEST(keys),
		TEST(keys_in_the_open),
		TEST(key_file_of_the_environment),
		TEST(table_is_sound),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
