/* lib/sweep: what belongs to nobody goes, what a live session uses stays, whatever the order of things. */
#include "lib/sweep.h"

#include <errno.h>

#include "tests/unit/holding.h"

#define CHUNK 4096u
#define STATE "dst/.haul/"
#define TAG   "00112233445566aa"
#define ID    "plain000-0123456789abcdef"

static struct root *root;

static int setup(void **state)
{
	if (enter_scratch(state) != 0)
		return -1;
	root = open_dst();
	return 0;
}

static int teardown(void **state)
{
	root_close(root);
	return leave_scratch(state);
}

static bool there(const char *name)
{
	char path[128];
	snprintf(path, sizeof path, STATE "%s", name);
	return access(path, F_OK) == 0;
}

static void put(const char *name)
{
	char path[128];
	snprintf(path, sizeof path, STATE "%s", name);
	assert_true(mkdir("dst/.haul", 0700) == 0 || errno == EEXIST);
	put_file(path, "x", 1);
}

static bool state_is_gone(void)
{
	return access("dst/.haul", F_OK) != 0;
}

static struct journal_header head_of(const char *path)
{
	struct journal_header h = {.size = 3 * CHUNK, .chunk = CHUNK, .path_len = (uint16_t)strlen(path)};
	memcpy(h.path, path, strlen(path));
	return h;
}

static struct partial *begin(const char *path, bool recorded)
{
	struct journal_header h = head_of(path);
	struct journal_record r = {JOURNAL_CHUNK, 0, CHUNK, {0}};
	struct chunk_map map;
	struct partial *p;
	assert_true(chunk_map_init(&map, h.size, h.chunk));
	assert_int_equal(partial_open(root, &h, &map, &p), 0);
	chunk_map_free(&map);
	if (recorded)
		assert_int_equal(partial_checkpoint(root, p, &r, 1, false), 0);
	return p;
}

static void nothing(void **state)
{
	(void)state;
	assert_int_equal(sweep_run(root), 0);
	assert_true(state_is_gone());
	assert_int_equal(mkdir("dst/.haul", 0700), 0);
	assert_int_equal(sweep_run(root), 0);
}

static void orphans(void **state)
{
	(void)state;
	static const char *const names[] = {TAG "-0.part", TAG "-1f.part", TAG ".session",
					    ID ".part",	   ID ".j",	   ID ".j.pid"};
	for (unsigned set = 1; set < 1u << COUNT(names); set++) {
		size_t n = 0;
		for (unsigned i = 0; i < COUNT(names); i++)
			if (set >> i & 1) {
				put(names[i]);
				n++;
			}
		/* the journal that is locked meanwhile is removed too */
		size_t locked = set & 0x28 && !(set & 0x10);
		assert_int_equal(sweep_run(root), n + locked);
		assert_true(state_is_gone());
	}
}

static void not_ours(void **state)
{
	(void)state;
	static const char *const names[] = {
		"notes",
		"a-0.part",
		TAG ".part",
		TAG "0-0.part",
		TAG "-.part",
		TAG "-0.par",
		TAG "-g.part",
		TAG "-0.part~",
		ID ".jj",
		ID ".sock",
		"PLAIN000-0123456789abcdef.j",
		ID ".j.pid.more",
	};
	for (size_t i = 0; i < COUNT(names); i++)
		put(names[i]);
	assert_int_equal(sweep_run(root), 0);
	for (size_t i = 0; i < COUNT(names); i++)
		assert_true(there(names[i]));
}

static void live_session(void **state)
{
	(void)state;
	char tag[SWEEP_TAG_BYTES], temp[ROOT_TEMP_MAX];
	int mark = sweep_begin(root, tag);
	assert_true(mark >= 0);
	int fd = root_temp_open(root, tag, 0x1f, temp);
	assert_true(fd >= 0);
	put(TAG "-0.part");
	assert_int_equal(sweep_run(root), 1);
	assert_true(there(temp));
	sweep_end(root, tag, mark);
	assert_int_equal(sweep_run(root), 1);
	assert_true(state_is_gone());
	close(fd);
}

static void tags_differ(void **state)
{
	(void)state;
	char a[SWEEP_TAG_BYTES], b[SWEEP_TAG_BYTES];
	int fd_a = sweep_begin(root, a), fd_b = sweep_begin(root, b);
	assert_true(fd_a >= 0 && fd_b >= 0);
	assert_string_not_equal(a, b);
	assert_int_equal(sweep_run(root), 0);
	sweep_end(root, a, fd_a);
	sweep_end(root, b, fd_b);
	root_tidy(root);
	assert_true(state_is_gone());
}

static void transfers(void **state)
{
	(void)state;
	struct partial *kept = begin("kept", true);
	partial_close(root, kept, false);
	struct partial *open_new = begin("open, nothing recorded", false);
	struct partial *open_old = begin("open, recorded", true);
	put(TAG "-0.part");
	assert_int_equal(sweep_run(root), 1);
	assert_true(there(open_new->part) && there(open_new->journal));
	assert_true(there(open_old->part) && there(open_old->journal));
	partial_close(root, open_new, false);
	partial_close(root, open_old, false);
	assert_int_equal(sweep_run(root), 0);
	struct partial *p = begin("kept", false);
	assert_true(p->resumed);
	partial_close(root, p, true);
}

/* Killed before its first checkpoint, then after it. */
static void killed_holder(void **state)
{
	(void)state;
	struct journal_header h = head_of("killed");
	for (int recorded = 0; recorded < 2; recorded++) {
		if (recorded)
			partial_close(root, begin("killed", true), false);
		pid_t pid = start_holder(&h, HOLD_STOPPED);
		assert_int_equal(sweep_run(root), 0);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(bury(pid), SIGKILL);
		assert_int_equal(sweep_run(root), recorded ? 0 : 3);
		assert_int_equal(state_is_gone(), !recorded);
	}
}

/* Killed between writing a journal anew and giving it the place of the old one. */
static void renewed_journal(void **state)
{
	(void)state;
	char renewed[ROOT_TEMP_MAX];
	struct partial *p = begin("renewed", true);
	snprintf(renewed, sizeof renewed, "%.40s" PARTIAL_RENEWED, p->journal);
	put(renewed);
	assert_int_equal(sweep_run(root), 0);
	partial_close(root, p, false);
	assert_int_equal(sweep_run(root), 1);
	assert_false(there(renewed));
	p = begin("renewed", false);
	assert_true(p->resumed);
	put(renewed);
	assert_int_equal(root_temp_unlink(root, p->part), 0);
	partial_close(root, p, true);
	assert_int_equal(sweep_run(root), 1);
	assert_true(state_is_gone());
}

static void half_a_transfer(void **state)
{
	(void)state;
	struct partial *p = begin("x", true);
	char part[ROOT_TEMP_MAX], journal[ROOT_TEMP_MAX];
	memcpy(part, p->part, sizeof part);
	memcpy(journal, p->journal, sizeof journal);
	partial_close(root, p, false);
	assert_int_equal(root_temp_unlink(root, part), 0);
	assert_int_equal(sweep_run(root), 1);
	assert_true(state_is_gone());
	p = begin("x", true);
	partial_close(root, p, false);
	assert_int_equal(root_temp_unlink(root, journal), 0);
	assert_int_equal(sweep_run(root), 2);
	assert_true(state_is_gone());
}

static void bounded(void **state)
{
	(void)state;
	char name[64];
	for (unsigned i = 0; i < SWEEP_NAMES_MAX + 10; i++) {
		snprintf(name, sizeof name, TAG "-%x.part", i);
		put(name);
	}
	assert_int_equal(sweep_run(root), SWEEP_NAMES_MAX);
	assert_int_equal(sweep_run(root), 10);
	assert_true(state_is_gone());
}

/* A symlink on its way to its name lies there for the length of one call; if its session died in it, for
 * ever. */
static void symlinks_go_with_their_session(void **state)
{
	(void)state;
	put(TAG "-1.part");
	assert_int_equal(symlink("x", STATE TAG "-96cd3684f7f34634.part"), 0);
	assert_int_equal(sweep_run(root), 2);
	assert_true(state_is_gone());
}

/* Sessions begin and end while others sweep: no session loses a temporary file, nothing is left. */
#define SESSIONS 3
#define SWEEPERS 2
#define ROUNDS	 1000

static int run_sessions(void)
{
	struct root *mine = open_dst();
	int lost = 0;
	for (int i = 0; i < ROUNDS; i++) {
		char tag[SWEEP_TAG_BYTES], temp[2][ROOT_TEMP_MAX], name[ROOT_TEMP_MAX];
		int mark = sweep_begin(mine, tag);
		snprintf(name, sizeof name, "%s.session", tag);
		lost += !there(name);
		for (uint64_t k = 0; k < 2; k++)
			close(root_temp_open(mine, tag, k, temp[k]));
		for (int k = 0; k < 2; k++)
			lost += root_temp_unlink(mine, temp[k]) != 0;
		lost += mark < 0;
		sweep_end(mine, tag, mark);
		root_tidy(mine);
	}
	return lost != 0;
}

static int run_transfers(void)
{
	struct root *mine = open_dst();
	struct journal_header h = head_of("contended");
	snprintf(h.path, sizeof h.path, "by %d", getpid());
	h.path_len = (uint16_t)strlen(h.path);
	struct journal_record r = {JOURNAL_CHUNK, 0, CHUNK, {0}};
	int lost = 0;
	for (int i = 0; i < ROUNDS / 10; i++) {
		struct chunk_map map;
		struct partial *p;
		chunk_map_init(&map, h.size, h.chunk);
		if (partial_open(mine, &h, &map, &p) != 0)
			return 2;
		lost += p->resumed;
		lost += partial_checkpoint(mine, p, &r, 1, false) != 0;
		partial_close(mine, p, false);
		if (partial_open(mine, &h, &map, &p) != 0)
			return 3;
		lost += !p->resumed;
		lost += root_temp_unlink(mine, p->part) != 0;
		partial_close(mine, p, true);
		chunk_map_free(&map);
	}
	return lost != 0;
}

static pid_t spawn(int (*run)(void))
{
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(run());
	}
	return pid;
}

static int sweep_for_ever(void)
{
	struct root *mine = open_dst();
	while (mine)
		sweep_run(mine);
	return 1;
}

static void contention(void **state)
{
	(void)state;
	pid_t workers[SESSIONS + 1], sweepers[SWEEPERS];
	int status;
	for (int i = 0; i < SWEEPERS; i++)
		sweepers[i] = spawn(sweep_for_ever);
	for (int i = 0; i <= SESSIONS; i++)
		workers[i] = spawn(i < SESSIONS ? run_sessions : run_transfers);
	for (int i = 0; i <= SESSIONS; i++) {
		assert_int_equal(waitpid(workers[i], &status, 0), workers[i]);
		assert_int_equal(status, 0);
	}
	for (int i = 0; i < SWEEPERS; i++) {
		assert_int_equal(kill(sweepers[i], SIGKILL), 0);
		assert_int_equal(bury(sweepers[i]), SIGKILL);
	}
	sweep_run(root);
	root_tidy(root);
	assert_true(state_is_gone());
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing),
		TEST(orphans),
		TEST(not_ours),
		TEST(live_session),
		TEST(tags_differ),
		TEST(transfers),
		TEST(killed_holder),
		TEST(renewed_journal),
		TEST(half_a_transfer),
		TEST(bounded),
		TEST(symlinks_go_with_their_session),
		TEST(contention),
	};
	return cmocka_run_group_tests_name("sweep", tests, NULL, NULL);
}
