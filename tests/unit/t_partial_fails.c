/*
 * lib/partial when a system call fails, each call of each kind in turn: whatever the answer is, what was recorded
 * before is there the next time, and nothing else. Then the modules below it: names and open_beneath.
 */
#include "lib/partial.h"

#include "lib/digest.h"
#include "lib/names.h"
#include "lib/root.h"
#include "tests/unit/failing.h"
#include "tests/unit/unit.h"

#define CHUNK  4096u
#define CHUNKS 5u
#define SIZE   ((CHUNKS - 1) * CHUNK + 100)

static struct root *root;
static struct journal_header head;
static struct chunk_map map;

static int setup(void **state)
{
	if (enter_scratch(state) != 0)
		return -1;
	struct haul_err err = {0};
	assert_int_equal(root_open("dst", NULL, &root, &err), HAUL_OK);
	head = (struct journal_header){.stamp = 6, .size = SIZE, .chunk = CHUNK, .mode = 0644, .path_len = 5};
	memcpy(head.path, "a/big", 6);
	return chunk_map_init(&map, SIZE, CHUNK) ? 0 : -1;
}

static int teardown(void **state)
{
	chunk_map_free(&map);
	root_close(root);
	return leave_scratch(state);
}

static int open_again(struct partial **p)
{
	struct chunk_map fresh;
	assert_true(chunk_map_init(&fresh, head.size, head.chunk));
	chunk_map_free(&map);
	map = fresh;
	return partial_open(root, &head, &map, p);
}

static unsigned had(void)
{
	unsigned bits = 0;
	for (uint64_t i = 0; i < map.count; i++)
		bits |= (unsigned)(map.state[i] == CHUNK_HAVE) << i;
	return bits;
}

static struct journal_record record_of(uint64_t i)
{
	return (struct journal_record){JOURNAL_CHUNK, i * CHUNK, chunk_map_length(&map, i), {(uint8_t)i}};
}

/* Chunks 0, 1, 2 and 4 are recorded: 0x17. */
static void make_partial(void)
{
	struct partial *p;
	assert_int_equal(open_again(&p), 0);
	assert_int_equal(ftruncate(p->fd, SIZE), 0);
	for (uint64_t i = 0; i < CHUNKS; i++) {
		struct journal_record r = record_of(i);
		if (i != 3)
			assert_int_equal(partial_checkpoint(root, p, &r, 1, true), 0);
	}
	partial_close(root, p, false);
}

static void assert_whole(const char *call, unsigned skip)
{
	struct partial *p;
	int rc = open_again(&p);
	if (rc != 0 || had() != 0x17 || !p->resumed)
		fail_msg("after call %u of %s failed: %d, 0x%x", skip, call, rc, had());
	partial_close(root, p, false);
}

static const char *const calls[] = {"calloc", "malloc",	   "openat2", "fstat",	  "ftruncate", "pread",
				    "pwrite", "fdatasync", "fsync",   "renameat", "close",     "fcntl"};

/* Opening what is there; with another stamp it is renewed. Returns how many failures there were. */
static unsigned sweep_open(bool renew)
{
	unsigned failures = 0;
	for (size_t c = 0; c < COUNT(calls); c++)
		for (unsigned skip = 0;; skip++) {
			struct chunk_map fresh;
			struct partial *p = NULL;
			assert_true(skip < 99);
			head.stamp += renew;
			assert_true(chunk_map_init(&fresh, head.size, head.chunk));
			chunk_map_free(&map);
			map = fresh;
			fail_calls(calls[c], skip, 1, EIO);
			int rc = partial_open(root, &head, &map, &p);
			bool failed = all_failed();
			assert_true((rc == 0) == (p != NULL));
			if (rc == 0)
				assert_int_equal(had(), 0x17);
			failures += rc < 0;
			partial_close(root, p, false);
			assert_whole(calls[c], skip);
			if (!failed)
				break;
		}
	return failures;
}

static void opening(void **state)
{
	(void)state;
	make_partial();
	assert_in_range(sweep_open(false), 5, 99);
}

static void renewing(void **state)
{
	(void)state;
	make_partial();
	assert_in_range(sweep_open(true), 12, 99);
}

static void beginning(void **state)
{
	(void)state;
	for (size_t c = 0; c < COUNT(calls); c++)
		for (unsigned skip = 0; skip < 99; skip++) {
			struct partial *p = NULL;
			chunk_map_free(&map);
			assert_true(chunk_map_init(&map, head.size, head.chunk));
			fail_calls(calls[c], skip, 1, EIO);
			int rc = partial_open(root, &head, &map, &p);
			bool failed = all_failed();
			assert_true((rc == 0) == (p != NULL));
			assert_int_equal(had(), 0);
			partial_close(root, p, true);
			if (!failed)
				break;
		}
}

/* After a failed sync of the data nothing was recorded; the same again records it. */
static void checkpoints(void **state)
{
	static const struct {
		const char *call;
		unsigned skip, later;
	} cases[] = {{"fdatasync", 0, 0x17}, {"pwrite", 0, 0x17}, {"fdatasync", 1, 0x1f}, {"fsync", 0, 0x1f}};
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct partial *p;
		make_partial();
		assert_int_equal(open_again(&p), 0);
		struct journal_record r = record_of(3);
		fail_calls(cases[i].call, cases[i].skip, 1, EIO);
		assert_int_equal(partial_checkpoint(root, p, &r, 1, true), -EIO);
		assert_true(all_failed());
		partial_close(root, p, false);
		assert_int_equal(open_again(&p), 0);
		assert_int_equal(had(), cases[i].later);
		assert_int_equal(partial_checkpoint(root, p, &r, 1, true), 0);
		partial_close(root, p, false);
		assert_int_equal(open_again(&p), 0);
		assert_int_equal(had(), 0x1f);
		assert_int_equal(root_temp_unlink(root, p->part), 0);
		partial_close(root, p, true);
	}
}

static void streams(void **state)
{
	struct partial *p;
	(void)state;
	head.stream = true;
	head.path_len = 0;
	head.size = 0;
	memcpy(head.session, "SESSION-SESSION", 16);
	assert_int_equal(partial_open(root, &head, NULL, &p), 0);
	assert_true(write(p->fd, "0123456789", 10) == 10);
	struct journal_record r = {JOURNAL_LINK, 70, 8, {0}};
	assert_int_equal(partial_checkpoint(root, p, &r, 1, true), 0);
	partial_close(root, p, false);
	unsigned failures = 0;
	for (size_t c = 0; c < COUNT(calls); c++)
		for (unsigned skip = 0;; skip++) {
			assert_true(skip < 99);
			p = NULL;
			fail_calls(calls[c], skip, 1, EIO);
			int rc = partial_find_stream(root, head.session, &p);
			bool failed = all_failed();
			assert_true((rc == 0) == (p != NULL));
			failures += rc < 0;
			partial_close(root, p, false);
			assert_int_equal(partial_find_stream(root, head.session, &p), 0);
			assert_true(p->stream_length == 8 && p->link_offset == 70);
			partial_close(root, p, false);
			if (!failed)
				break;
		}
	assert_in_range(failures, 6, 99);
	fail_calls("calloc", 0, 1, ENOMEM);
	assert_false(partial_has_stream(root, head.session));
	assert_true(all_failed());
	assert_true(partial_has_stream(root, head.session));
}

static void maps(void **state)
{
	struct chunk_map m;
	(void)state;
	for (unsigned skip = 0; skip < 2; skip++) {
		fail_calls("calloc", skip, 1, ENOMEM);
		assert_false(chunk_map_init(&m, SIZE, CHUNK));
		assert_true(all_failed());
		assert_true(!m.state && !m.digest && m.count == 0);
	}
}

/* What a listing shows of it: header and bytes, or why not. */
static void peeking(void **state)
{
	static const struct {
		const char *call;
		unsigned skip;
		int sys, want;
	} cases[] = {{"calloc", 0, ENOMEM, -ENOMEM}, {"calloc", 1, ENOMEM, -ENOMEM},
		     {"calloc", 2, ENOMEM, -ENOMEM}, {"pread", 0, EIO, -EIO},
		     {"pread", 1, EIO, -EIO},	     {"pread", 2, EIO, -EIO}};
	struct journal_header h;
	struct partial *p;
	uint64_t bytes;
	(void)state;
	make_partial();
	assert_int_equal(open_again(&p), 0);
	for (size_t i = 0; i < COUNT(cases); i++) {
		fail_calls(cases[i].call, cases[i].skip, 1, cases[i].sys);
		assert_int_equal(partial_peek(p->jfd, &h, &bytes), cases[i].want);
		assert_true(all_failed());
	}
	assert_int_equal(partial_peek(p->jfd, &h, &bytes), 0);
	assert_true(bytes == SIZE - CHUNK);
	assert_int_equal(partial_peek(p->jfd, &h, NULL), 0);
	assert_string_equal(h.path, "a/big");
	partial_close(root, p, false);
}

/* ---- below it ---- */

static void names(void **state)
{
	struct names n = {0};
	const char *name;
	(void)state;
	int fd = open(".", O_RDONLY | O_DIRECTORY);
	fail_calls("realloc", 0, 1, ENOMEM);
	assert_int_equal(names_next(&n, fd, &name), -ENOMEM);
	fail_calls("getdents64", 0, 1, EIO);
	assert_int_equal(names_next(&n, fd, &name), -EIO);
	assert_true(all_failed());
	int found = 0;
	while (names_next(&n, fd, &name) == 1)
		found++;
	assert_int_equal(found, 3); /* ., .. and dst */
	free(n.buf);
	close(fd);
}

/* Where openat2 is not known, or says that somebody moves directories about, steps lead to the same. */
static void beneath(void **state)
{
	static const int old[] = {ENOSYS, EPERM};
	(void)state;
	assert_int_equal(mkdir("dst/a", 0700), 0);
	put_file("dst/a/f", "x", 1);
	assert_int_equal(symlink("a", "dst/l"), 0);
	for (size_t i = 0; i < COUNT(old); i++) {
		static const struct {
			const char *path;
			int want;
		} paths[] = {{"a/f", 0},
			     {"a/none", -ENOENT},
			     {"../dst/a/f", -EXDEV},
			     {"a/../a/f", -EXDEV},
			     {"a/f/g", -ENOTDIR}};
		for (size_t j = 0; j < COUNT(paths); j++) {
			fail_calls("openat2", 0, 99, old[i]);
			int fd = open_beneath(root_fd(root), paths[j].path, O_RDONLY);
			all_failed();
			assert_int_equal(fd < 0 ? fd : close(fd), paths[j].want);
		}
		fail_calls("openat2", 0, 99, old[i]);
		assert_true(open_beneath(root_fd(root), "l/f", O_RDONLY) < 0);
		all_failed();
	}
	fail_calls("openat2", 0, 15, EAGAIN);
	int fd = open_beneath(root_fd(root), "a/f", O_RDONLY);
	assert_true(all_failed() && fd >= 0);
	close(fd);
	fail_calls("openat2", 0, 99, EAGAIN); /* for ever: given up, not retried for ever */
	assert_int_equal(open_name(root_fd(root), "a", O_RDONLY, 0), -EAGAIN);
	all_failed();
	fail_calls("openat2", 0, 2, EINTR);
	fd = open_name(root_fd(root), "a", O_RDONLY, 0);
	assert_true(all_failed() && fd >= 0);
	close(fd);
	char longest[600];
	memset(longest, 'n', sizeof longest);
	memcpy(longest + sizeof longest - 3, "/f", 3);
	fail_calls("openat2", 0, 1, ENOSYS);
	assert_int_equal(open_beneath(root_fd(root), longest, O_RDONLY), -ENAMETOOLONG);
	assert_true(all_failed());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		TEST(opening), TEST(renewing), TEST(beginning), TEST(checkpoints), TEST(streams),
		TEST(maps),    TEST(peeking),  TEST(names),	TEST(beneath),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
