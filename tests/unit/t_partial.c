/* lib/partial with lib/holder: what a later process finds, after every way the earlier one may have ended. */
#include "lib/partial.h"

#include <errno.h>
#include <sys/resource.h>

#include "lib/boot.h"
#include "lib/clock.h"
#include "lib/sweep.h"
#include "tests/unit/holding.h"

#define CHUNK	   4096u
#define CHUNKS	   5u
#define SIZE	   ((CHUNKS - 1) * CHUNK + 100)
#define STATE	   "dst/.haul/"
#define JOURNAL_OF "plain000-"

static struct root *root;
static struct journal_header head;
static struct chunk_map map;

static int setup(void **state)
{
	if (enter_scratch(state) != 0)
		return -1;
	root = open_dst();
	head = (struct journal_header){.seed = 5,
				       .stamp = 6,
				       .size = SIZE,
				       .chunk = CHUNK,
				       .mode = 0644,
				       .path_len = 5,
				       .path = "a/big"};
	memcpy(head.session, "SESSION-SESSION", 16);
	return chunk_map_init(&map, SIZE, CHUNK) ? 0 : -1;
}

static int teardown(void **state)
{
	chunk_map_free(&map);
	root_close(root);
	return leave_scratch(state);
}

static void count_name(void *ctx, const char *name)
{
	(void)name;
	++*(int *)ctx;
}

static int names(void)
{
	int n = 0;
	assert_int_equal(root_state_list(root, count_name, &n), 0);
	return n;
}

static bool in_state(const char *name)
{
	char path[128];
	snprintf(path, sizeof path, STATE "%s", name);
	return access(path, F_OK) == 0;
}

static void fresh_map(uint64_t size, uint32_t chunk)
{
	chunk_map_free(&map);
	assert_true(chunk_map_init(&map, size, chunk));
}

/* Opens head's file with a fresh map. */
static struct partial *open_it(void)
{
	struct partial *p = NULL;
	fresh_map(head.size, head.chunk);
	assert_int_equal(partial_open(root, &head, &map, &p), 0);
	assert_non_null(p);
	return p;
}

static struct journal_record record_of(uint64_t i)
{
	struct journal_record r = {JOURNAL_CHUNK, i * map.chunk, chunk_map_length(&map, i), {0}};
	memset(r.digest, (int)i + 1, sizeof r.digest);
	return r;
}

static int record(struct partial *p, uint64_t i)
{
	struct journal_record r = record_of(i);
	return partial_checkpoint(root, p, &r, 1, true);
}

/* A file of which all chunks but number 3 are recorded, closed again. */
static void make_partial(void)
{
	struct partial *p = open_it();
	assert_false(p->resumed);
	assert_int_equal(ftruncate(p->fd, SIZE), 0);
	for (uint64_t i = 0; i < CHUNKS; i++)
		if (i != 3)
			assert_int_equal(record(p, i), 0);
	partial_close(root, p, false);
}

/* Which chunks the map has: bit i for chunk i. */
static unsigned had(void)
{
	unsigned bits = 0;
	uint64_t n = 0;
	for (uint64_t i = 0; i < map.count; i++)
		if (map.state[i] == CHUNK_HAVE) {
			struct journal_record r = record_of(i);
			assert_memory_equal(map.digest[i], r.digest, DIGEST_BYTES);
			bits |= 1u << i;
			n++;
		}
	assert_int_equal(n, map.have);
	return bits;
}

static void maps(void **state)
{
	(void)state;
	fresh_map(0, CHUNK);
	assert_int_equal(map.count, 0);
	fresh_map(CHUNK, CHUNK);
	assert_int_equal(map.count, 1);
	assert_int_equal(chunk_map_length(&map, 0), CHUNK);
	fresh_map(CHUNK + 1, CHUNK);
	assert_int_equal(map.count, 2);
	assert_int_equal(chunk_map_length(&map, 1), 1);
	chunk_map_free(&map);
	assert_false(chunk_map_init(&map, (uint64_t)PARTIAL_CHUNKS_MAX * CHUNK + 1, CHUNK));
	assert_false(chunk_map_init(&map, UINT64_MAX, CHUNK));
}

static void resume(void **state)
{
	(void)state;
	make_partial();
	assert_int_equal(names(), 2);
	struct partial *p = open_it();
	assert_true(p->resumed);
	assert_int_equal(had(), 0x17);
	assert_int_equal(p->seq, CHUNKS - 1);
	struct stat st;
	assert_int_equal(fstat(p->fd, &st), 0);
	assert_int_equal(st.st_size, SIZE);
	assert_int_equal(record(p, 3), 0);
	partial_close(root, p, false);
	partial_close(root, open_it(), false);
	assert_int_equal(had(), 0x1f);
	partial_close(root, NULL, true);
}

static void seed_of_the_first_run_stays(void **state)
{
	(void)state;
	make_partial();
	head.seed = 99;
	struct partial *p = open_it();
	assert_int_equal(p->head.seed, 5);
	partial_close(root, p, false);
}

static void renewed_for_another_version(void **state)
{
	(void)state;
	make_partial();
	head.stamp++;
	head.size = SIZE + CHUNK; /* the last chunk, which was short, is another one now */
	struct partial *p = open_it();
	assert_true(p->resumed);
	assert_int_equal(had(), 0x7);
	assert_int_equal(p->head.stamp, head.stamp);
	assert_int_equal(p->seq, 3);
	assert_true(holder_held(root, p->journal));
	assert_int_equal(names(), 3);
	assert_int_equal(record(p, 3), 0);
	partial_close(root, p, false);
	p = open_it();
	assert_int_equal(had(), 0xf);
	partial_close(root, p, false);
	head.size = CHUNK + 1;
	p = open_it();
	assert_int_equal(had(), 0x1);
	partial_close(root, p, false);
}

static void other_chunks_begin_anew(void **state)
{
	(void)state;
	make_partial();
	head.chunk = 2 * CHUNK;
	struct partial *p = open_it();
	struct stat st;
	assert_false(p->resumed);
	assert_int_equal(had(), 0);
	assert_int_equal(fstat(p->fd, &st), 0);
	assert_int_equal(st.st_size, 0);
	partial_close(root, p, false);
	assert_int_equal(names(), 0);
}

/* A checksummed record that does not fit the file is passed over. */
static void misfitting_records(void **state)
{
	(void)state;
	struct partial *p = open_it();
	struct journal_record r[] = {record_of(0), record_of(1), record_of(2), record_of(3)};
	r[0].offset++;
	r[1].length--;
	r[2].offset = 1ull << 60;
	assert_int_equal(partial_checkpoint(root, p, r, COUNT(r), false), 0);
	partial_close(root, p, false);
	p = open_it();
	assert_int_equal(had(), 0x8);
	partial_close(root, p, false);
}

/* ---- damage on disk ---- */

static void journal_path(char path[static 128])
{
	snprintf(path, 128, STATE JOURNAL_OF "%016llx.j",
		 (unsigned long long)digest_stamp(head.path, head.path_len));
}

/* Opens the damaged journal, and appends to it: both must be there the next time. */
static void open_damaged(unsigned want)
{
	struct partial *p = open_it();
	assert_int_equal(had(), want);
	assert_int_equal(p->resumed, want != 0);
	assert_int_equal(record(p, 3), 0);
	partial_close(root, p, false);
	p = open_it();
	assert_int_equal(had(), want | 0x8);
	partial_close(root, p, false);
}

static unsigned believed(size_t damaged, size_t head_bytes)
{
	static const unsigned after[] = {0x0, 0x1, 0x3, 0x7, 0x17};
	return after[damaged < head_bytes ? 0 : (damaged - head_bytes) / JOURNAL_RECORD_BYTES];
}

static void damaged_journal(void **state)
{
	(void)state;
	static uint8_t whole[4096], copy[4096];
	char path[128];
	make_partial();
	journal_path(path);
	ssize_t n = get_file(path, whole, sizeof whole);
	size_t head_bytes = JOURNAL_HEADER_BYTES + JOURNAL_RECORD_BYTES;
	assert_int_equal(n, head_bytes + 4 * JOURNAL_RECORD_BYTES);
	for (size_t cut = 0; cut <= (size_t)n; cut++) {
		put_file(path, whole, cut);
		open_damaged(believed(cut, head_bytes));
	}
	for (size_t bit = 0; bit < 8 * (size_t)n; bit++) {
		bool padding = bit / 8 >= JOURNAL_HEADER_BYTES + head.path_len && bit / 8 < head_bytes;
		memcpy(copy, whole, sizeof copy);
		copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
		put_file(path, copy, (size_t)n);
		open_damaged(padding ? 0x17 : believed(bit / 8, head_bytes));
	}
}

/* What stands in the way of opening says nothing about the data. */
static void failure_keeps_everything(void **state)
{
	(void)state;
	char part[128], aside[140];
	struct partial *p;
	make_partial();
	journal_path(part);
	strcpy(strrchr(part, '.'), ".part");
	snprintf(aside, sizeof aside, "%s-aside", part);
	assert_int_equal(rename(part, aside), 0);
	assert_int_equal(mkdir(part, 0700), 0);
	fresh_map(head.size, head.chunk);
	assert_true(partial_open(root, &head, &map, &p) < 0);
	assert_int_equal(rmdir(part), 0);
	assert_int_equal(rename(aside, part), 0);
	p = open_it();
	assert_int_equal(had(), 0x17);
	partial_close(root, p, false);
	assert_int_equal(names(), 2);
}

static void failed_checkpoint(void **state)
{
	(void)state;
	struct rlimit all, little;
	struct partial *p = open_it();
	assert_int_equal(record(p, 0), 0);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &all), 0);
	struct journal_record r[] = {record_of(1), record_of(2), record_of(3)};
	for (rlim_t room = 0; room < 3 * JOURNAL_RECORD_BYTES; room += 32) {
		uint64_t end = p->end, seq = p->seq;
		little = (struct rlimit){p->end + room, all.rlim_max};
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
		int rc = partial_checkpoint(root, p, r, COUNT(r), true);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &all), 0);
		assert_true(rc == -EFBIG || rc == -ENOSPC);
		/* the next one goes on behind what did get there */
		assert_int_equal(p->seq - seq, room / JOURNAL_RECORD_BYTES);
		assert_int_equal(p->end - end, room / JOURNAL_RECORD_BYTES * JOURNAL_RECORD_BYTES);
	}
	assert_int_equal(record(p, 4), 0);
	partial_close(root, p, false);
	p = open_it();
	assert_int_equal(had(), 0x17); /* 3 never had room */
	partial_close(root, p, false);
}

static void no_room_to_begin(void **state)
{
	(void)state;
	struct rlimit all, none;
	struct partial *p;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &all), 0);
	for (rlim_t room = 0; room < JOURNAL_HEADER_BYTES; room += 64) {
		none = (struct rlimit){room, all.rlim_max};
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
		int rc = partial_open(root, &head, &map, &p);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &all), 0);
		assert_true(rc == -EFBIG || rc == -ENOSPC);
		assert_int_equal(names(), 0);
	}
}

/* ---- the end ---- */

static void unrecorded_leaves_nothing(void **state)
{
	(void)state;
	struct partial *p = open_it();
	assert_int_equal(names(), 3);
	assert_int_equal(pwrite(p->fd, "x", 1, 0), 1);
	partial_close(root, p, false);
	assert_int_equal(names(), 0);
	root_tidy(root);
	assert_int_not_equal(access("dst/.haul", F_OK), 0);
}

static void committed_leaves_nothing(void **state)
{
	(void)state;
	make_partial();
	struct partial *p = open_it();
	assert_int_equal(root_commit(root, "t", p->part, head.path, false, false), 0);
	partial_close(root, p, true);
	assert_int_equal(names(), 0);
	assert_int_equal(access("dst/a/big", F_OK), 0);
}

/* ---- streams ---- */

static struct partial *begin_stream(void)
{
	struct partial *p = NULL;
	head.stream = true;
	head.size = UINT64_MAX;
	assert_false(partial_has_stream(root, head.session));
	assert_int_equal(partial_find_stream(root, head.session, &p), -ENOENT);
	assert_int_equal(names(), 0);
	assert_int_equal(partial_open(root, &head, NULL, &p), 0);
	return p;
}

static void link_to(struct partial *p, uint64_t offset, uint64_t length)
{
	struct journal_record r = {JOURNAL_LINK, offset, length, {[0] = (uint8_t)length, [8] = 7}};
	assert_int_equal(partial_checkpoint(root, p, &r, 1, true), 0);
}

static void stream(void **state)
{
	(void)state;
	struct partial *p = begin_stream();
	assert_int_equal(pwrite(p->fd, "0123456789", 10, 0), 10);
	link_to(p, 100, 3);
	link_to(p, 200, 6);
	partial_close(root, p, false);
	assert_true(partial_has_stream(root, head.session));
	assert_true(in_state("53455353494f4e2d53455353494f4e00.j"));
	assert_int_equal(partial_find_stream(root, head.session, &p), 0);
	assert_true(p->resumed);
	assert_int_equal(p->link_offset, 200);
	assert_int_equal(p->stream_length, 6);
	assert_int_equal(p->sum.low, 6);
	assert_int_equal(p->sum.high, 7);
	assert_string_equal(p->head.path, head.path);
	struct stat st;
	assert_int_equal(fstat(p->fd, &st), 0);
	assert_int_equal(st.st_size, 6);
	head.session[0]++;
	assert_false(partial_has_stream(root, head.session));
	partial_close(root, p, true);
}

static void stream_without_its_data(void **state)
{
	(void)state;
	struct partial *p = begin_stream();
	assert_int_equal(pwrite(p->fd, "012", 3, 0), 3);
	link_to(p, 100, 4);
	partial_close(root, p, false);
	assert_int_equal(partial_find_stream(root, head.session, &p), -ENOENT);
}

static void stream_without_records(void **state)
{
	(void)state;
	uint8_t b[JOURNAL_HEAD_MAX_BYTES];
	struct partial *p = begin_stream();
	size_t n = journal_put_header(&p->head, b);
	partial_close(root, p, false);
	assert_int_equal(names(), 0);
	put_file(STATE "53455353494f4e2d53455353494f4e00.j", b, n);
	put_file(STATE "53455353494f4e2d53455353494f4e00.part", "x", 1);
	assert_int_equal(partial_find_stream(root, head.session, &p), -ENOENT);
}

/* Without syncs the bytes may be gone with the boot, whatever the size says; with them they are not. */
static void stream_in_another_boot(void **state)
{
	(void)state;
	for (int synced = 0; synced < 2; synced++) {
		struct partial *p = begin_stream();
		struct journal_record r = {JOURNAL_LINK, 100, 6, {0}};
		p->head.boot++; /* what wrote it ran in another one */
		assert_int_equal(pwrite(p->fd, "012345", 6, 0), 6);
		assert_int_equal(partial_checkpoint(root, p, &r, 1, synced), 0);
		partial_close(root, p, false);
		assert_int_equal(partial_find_stream(root, head.session, &p), synced ? 0 : -ENOENT);
		if (synced)
			partial_close(root, p, true);
		sweep_run(root);
		head.session[0]++;
	}
}

static void loose_stream_in_its_boot(void **state)
{
	(void)state;
	struct partial *p = begin_stream();
	struct journal_record r = {JOURNAL_LINK, 100, 6, {0}};
	assert_int_equal(pwrite(p->fd, "012345", 6, 0), 6);
	assert_int_equal(partial_checkpoint(root, p, &r, 1, false), 0);
	partial_close(root, p, false);
	assert_int_equal(partial_find_stream(root, head.session, &p), 0);
	assert_int_equal(p->stream_length, 6);
	partial_close(root, p, true);
}

/* ---- peeking ---- */

static void peek(void **state)
{
	(void)state;
	char path[128];
	struct journal_header h;
	uint64_t recorded = 1;
	make_partial();
	journal_path(path);
	int fd = open(path, O_RDONLY);
	assert_int_equal(partial_peek(fd, &h, &recorded), 0);
	assert_int_equal(recorded, SIZE - CHUNK);
	assert_string_equal(h.path, head.path);
	close(fd);
	assert_int_equal(truncate(path, JOURNAL_HEADER_BYTES + 2 * JOURNAL_RECORD_BYTES - 1), 0);
	fd = open(path, O_RDONLY);
	assert_int_equal(partial_peek(fd, &h, NULL), -ENODATA);
	assert_string_equal(h.path, head.path);
	close(fd);
	fd = open(path, O_WRONLY);
	assert_int_equal(partial_peek(fd, &h, NULL), -EBADF);
	close(fd);
}

/* ---- two at a time ---- */

static void live_holder_keeps_it(void **state)
{
	(void)state;
	struct partial *p;
	char path[128];
	pid_t pid = start_holder(&head, HOLD_PROVES);
	journal_path(path);
	assert_true(holder_held(root, strrchr(path, '/') + 1));
	assert_int_equal(partial_open(root, &head, &map, &p), -EBUSY);
	assert_int_equal(kill(pid, 0), 0);
	assert_int_equal(names(), 3);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(bury(pid), SIGKILL);
}

static void own_twin_is_busy(void **state)
{
	(void)state;
	struct partial *p = open_it(), *q;
	assert_int_equal(partial_open(root, &head, &map, &q), -EBUSY);
	partial_close(root, p, false);
}

static void dead_holder_is_replaced(void **state)
{
	(void)state;
	make_partial();
	pid_t pid = start_holder(&head, HOLD_IDLE);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(bury(pid), SIGKILL);
	assert_int_equal(names(), 3); /* its claim is still there */
	uint64_t before = clock_now_ms();
	struct partial *p = open_it();
	assert_true(clock_now_ms() - before < HOLDER_PROBE_MS);
	assert_int_equal(had(), 0x17);
	partial_close(root, p, false);
	assert_int_equal(names(), 2);
}

static void frozen_holder_is_killed(void **state)
{
	(void)state;
	make_partial();
	pid_t pid = start_holder(&head, HOLD_STOPPED);
	struct partial *p = open_it();
	assert_int_equal(bury(pid), HOLDER_END_SIGNAL);
	assert_int_equal(had(), 0x17);
	partial_close(root, p, false);
}

static void silent_holder_is_killed(void **state)
{
	(void)state;
	pid_t pid = start_holder(&head, HOLD_IDLE);
	partial_close(root, open_it(), false);
	assert_int_equal(bury(pid), HOLDER_END_SIGNAL);
}

/* A claim outlives its process, and then its number is given to another. */
static void reused_number_is_left_alone(void **state)
{
	(void)state;
	int ready[2], status;
	char byte;
	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		struct root *mine = open_dst();
		int fd = holder_try(mine, "m", O_RDWR | O_CREAT);
		close(fd);
		_exit(fd < 0 || write(ready[1], "", 1) != 1 || pause());
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	int claim = open(STATE "m.pid", O_RDWR), held = holder_mark(root, "m", O_RDWR);
	assert_true(claim >= 0 && held >= 0);
	uint64_t start;
	assert_int_equal(pread(claim, &start, sizeof start, 16), sizeof start);
	assert_int_equal(start, boot_process_start(pid));
	start--;
	assert_int_equal(pwrite(claim, &start, sizeof start, 16), sizeof start);
	assert_int_equal(holder_lock(root, "m", O_RDWR), -EBUSY);
	assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(bury(pid), SIGKILL);
	assert_int_equal(boot_process_start(pid), 0);
	close(claim);
	close(held);
	close(ready[0]);
	close(ready[1]);
}

/* ---- locks without a claim ---- */

static void marks(void **state)
{
	(void)state;
	assert_false(holder_held(root, "m"));
	assert_int_not_equal(access("dst/.haul", F_OK), 0);
	assert_int_equal(holder_mark(root, "m", O_RDWR), -ENOENT);
	int fd = holder_mark(root, "m", O_RDWR | O_CREAT);
	assert_true(fd >= 0);
	assert_true(holder_held(root, "m"));
	assert_int_equal(holder_mark(root, "m", O_RDWR), -EBUSY);
	assert_int_equal(names(), 1);
	close(fd);
	assert_false(holder_held(root, "m"));
	assert_int_equal(names(), 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(maps),
		TEST(resume),
		TEST(seed_of_the_first_run_stays),
		TEST(renewed_for_another_version),
		TEST(other_chunks_begin_anew),
		TEST(misfitting_records),
		TEST(damaged_journal),
		TEST(failure_keeps_everything),
		TEST(failed_checkpoint),
		TEST(no_room_to_begin),
		TEST(unrecorded_leaves_nothing),
		TEST(committed_leaves_nothing),
		TEST(stream),
		TEST(stream_without_its_data),
		TEST(stream_without_records),
		TEST(stream_in_another_boot),
		TEST(loose_stream_in_its_boot),
		TEST(peek),
		TEST(live_holder_keeps_it),
		TEST(own_twin_is_busy),
		TEST(dead_holder_is_replaced),
		TEST(frozen_holder_is_killed),
		TEST(silent_holder_is_killed),
		TEST(reused_number_is_left_alone),
		TEST(marks),
	};
	return cmocka_run_group_tests_name("partial", tests, NULL, NULL);
}
