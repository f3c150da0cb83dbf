/* lib/inventory: what is listed and with which numbers, what is left alone, and giving up. */
#include "lib/inventory.h"

#include <errno.h>
#include <time.h>
#include <utime.h>

#include "tests/unit/holding.h"

#define CHUNK  4096u
#define STATE  "dst/.haul/"
#define STREAM "000102030405060708090a0b0c0d0e0f"
#define MAX    8

static struct root *root;
static struct inventory_entry listed[MAX];
static size_t count;

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

static void take(void *ctx, const struct inventory_entry *e)
{
	assert_ptr_equal(ctx, listed);
	assert_true(count < MAX);
	listed[count++] = *e;
}

static size_t list(void)
{
	count = 0;
	assert_int_equal(inventory_list(root, take, listed), 0);
	return count;
}

static struct journal_header file_head(const char *path, uint64_t size)
{
	struct journal_header h = {
		.seed = 1, .size = size, .chunk = CHUNK, .path_len = (uint16_t)strlen(path)};
	memcpy(h.path, path, strlen(path));
	for (uint8_t i = 0; i < sizeof h.session; i++)
		h.session[i] = i;
	return h;
}

static void record(struct partial *p, enum journal_type type, uint64_t offset, uint64_t length)
{
	struct journal_record r = {type, offset, length, {0}};
	assert_int_equal(pwrite(p->fd, "data", 4, type == JOURNAL_CHUNK ? (off_t)offset : 0), 4);
	assert_int_equal(partial_checkpoint(root, p, &r, 1, true), 0);
}

static struct partial *begin(const struct journal_header *h)
{
	struct partial *p = NULL;
	struct chunk_map map = {0};
	if (!h->stream)
		assert_true(chunk_map_init(&map, h->size, h->chunk));
	assert_int_equal(partial_open(root, h, h->stream ? NULL : &map, &p), 0);
	chunk_map_free(&map);
	return p;
}

/* "a" of two chunks and 5 bytes, of which the last two are recorded, one of them twice. */
static void make_file(char id[static ROOT_TEMP_MAX])
{
	struct journal_header h = file_head("a", 2 * CHUNK + 5);
	struct partial *p = begin(&h);
	record(p, JOURNAL_CHUNK, CHUNK, CHUNK);
	record(p, JOURNAL_CHUNK, CHUNK, CHUNK);
	record(p, JOURNAL_CHUNK, (uint64_t)2 * CHUNK, 5);
	snprintf(id, ROOT_TEMP_MAX, "%.*s", (int)strcspn(p->part, "."), p->part);
	partial_close(root, p, false);
}

static struct partial *make_stream(uint64_t size)
{
	struct journal_header h = file_head("dir/\xff stream", size);
	h.stream = true;
	struct partial *p = begin(&h);
	record(p, JOURNAL_LINK, 1000, 10);
	record(p, JOURNAL_LINK, 5000, 40);
	return p;
}

static bool there(const char *id, const char *suffix)
{
	char path[128];
	snprintf(path, sizeof path, STATE "%s%s", id, suffix);
	return access(path, F_OK) == 0;
}

static void nothing(void **state)
{
	(void)state;
	assert_int_equal(list(), 0);
	assert_int_not_equal(access("dst/.haul", F_OK), 0);
	assert_int_equal(mkdir("dst/.haul", 0700), 0);
	assert_int_equal(list(), 0);
	uint64_t freed;
	assert_int_equal(inventory_discard(root, STREAM, &freed), -ENOENT);
}

static void numbers(void **state)
{
	(void)state;
	char id[ROOT_TEMP_MAX], path[128];
	make_file(id);
	partial_close(root, make_stream(UINT64_MAX), false);
	snprintf(path, sizeof path, STATE "%s.j", id);
	struct utimbuf old = {time(NULL) - 1000, time(NULL) - 1000};
	assert_int_equal(utime(path, &old), 0);
	assert_int_equal(list(), 2);
	assert_string_equal(listed[0].id, STREAM);
	assert_string_equal(listed[0].owner, "stream");
	assert_true(listed[0].size == UINT64_MAX);
	assert_int_equal(listed[0].recorded, 40);
	assert_string_equal(listed[0].path, "dir/\xff stream");
	assert_int_equal(listed[0].path_len, strlen("dir/\xff stream"));
	assert_true(listed[0].age_s < 100);
	const struct inventory_entry *e = &listed[1];
	assert_string_equal(e->id, id);
	assert_string_equal(e->owner, "plain000");
	assert_int_equal(e->size, 2 * CHUNK + 5);
	assert_int_equal(e->recorded, CHUNK + 5);
	assert_true(e->age_s >= 1000 && e->age_s < 1100);
	assert_false(e->active);
	struct stat part, journal;
	assert_int_equal(stat(path, &journal), 0);
	strcpy(strrchr(path, '.'), ".part");
	assert_int_equal(stat(path, &part), 0);
	assert_int_equal(e->disk, 512 * (part.st_blocks + journal.st_blocks));
}

/* Other names, and journals that say nothing, are no transfers. */
static void what_is_not_listed(void **state)
{
	(void)state;
	char id[ROOT_TEMP_MAX], path[128];
	make_file(id);
	put_file(STATE "0123456789abcdef-0.part", "x", 1);
	put_file(STATE "0123456789abcdef.session", "", 0);
	put_file(STATE STREAM ".j", "garbage", 7);
	put_file(STATE "plain000-0123456789abcdeg.j", "x", 1);
	put_file(STATE "other.j", "x", 1);
	assert_int_equal(list(), 1);
	snprintf(path, sizeof path, STATE "%s.j", id);
	assert_int_equal(truncate(path, 200), 0);
	assert_int_equal(list(), 0);
}

static void looking_changes_nothing(void **state)
{
	(void)state;
	char id[ROOT_TEMP_MAX], path[128];
	struct stat before, after;
	make_file(id);
	snprintf(path, sizeof path, STATE "%s.j", id);
	int fd = open(path, O_WRONLY | O_APPEND);
	assert_int_equal(write(fd, "torn record", 11), 11);
	close(fd);
	assert_int_equal(stat(path, &before), 0);
	struct inventory_names names = {.limit = SIZE_MAX};
	assert_int_equal(list(), 1);
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(after.st_size, before.st_size);
	assert_memory_equal(&after.st_mtim, &before.st_mtim, sizeof before.st_mtim);
	assert_int_equal(inventory_names(root, &names), 0);
	assert_int_equal(names.count, 2);
	free(names.name);
}

static void bounded_names(void **state)
{
	(void)state;
	struct inventory_names names = {.limit = 3};
	char path[64];
	assert_int_equal(mkdir("dst/.haul", 0700), 0);
	for (int i = 9; i >= 0; i--) {
		snprintf(path, sizeof path, STATE "n%d", i);
		put_file(path, "", 0);
	}
	assert_int_equal(inventory_names(root, &names), 0);
	assert_int_equal(names.count, 3);
	free(names.name);
	names = (struct inventory_names){.limit = SIZE_MAX};
	assert_int_equal(inventory_names(root, &names), 0);
	assert_int_equal(names.count, 10);
	for (int i = 0; i < 10; i++)
		assert_int_equal(names.name[i][1], '0' + i);
	free(names.name);
}

static void discard(void **state)
{
	(void)state;
	char id[ROOT_TEMP_MAX];
	uint64_t freed = 0;
	make_file(id);
	partial_close(root, make_stream(100), false);
	put_file(STATE STREAM ".j.pid", "stale", 5);
	assert_int_equal(list(), 2);
	uint64_t disk = listed[0].disk;
	assert_true(disk > 0);
	assert_int_equal(inventory_discard(root, STREAM, &freed), 0);
	assert_int_equal(freed, disk);
	assert_false(there(STREAM, ".part") || there(STREAM, ".j") || there(STREAM, ".j.pid"));
	assert_int_equal(inventory_discard(root, STREAM, &freed), -ENOENT);
	assert_int_equal(freed, 0);
	assert_int_equal(list(), 1);
	assert_string_equal(listed[0].id, id);
	assert_int_equal(inventory_discard(root, id, &freed), 0);
	assert_int_not_equal(access("dst/.haul", F_OK), 0);
}

static void strange_ids(void **state)
{
	(void)state;
	uint64_t freed;
	const char *const ids[] = {"",
				   ".",
				   "..",
				   "../x",
				   "x",
				   "plain000-",
				   STREAM "0",
				   "plain000-0123456789abcdeX",
				   "/plain00-0123456789abcdef"};
	partial_close(root, make_stream(1), false);
	for (size_t i = 0; i < COUNT(ids); i++)
		assert_int_equal(inventory_discard(root, ids[i], &freed), -ENOENT);
	assert_int_equal(list(), 1);
}

static void active(void **state)
{
	(void)state;
	char id[ROOT_TEMP_MAX];
	uint64_t freed;
	struct journal_header h = file_head("a", 2 * CHUNK + 5);
	struct partial *p = begin(&h);
	assert_int_equal(list(), 1);
	assert_true(listed[0].active);
	assert_int_equal(listed[0].recorded, 0);
	partial_close(root, p, false);
	make_file(id);
	pid_t pid = start_holder(&h, HOLD_IDLE);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(list(), 1);
		assert_true(listed[0].active);
		assert_int_equal(listed[0].recorded, CHUNK + 5);
		assert_int_equal(inventory_discard(root, id, &freed), -EBUSY);
	}
	assert_true(there(id, ".part") && there(id, ".j") && there(id, ".j.pid"));
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(bury(pid), SIGKILL);
	assert_int_equal(list(), 1);
	assert_false(listed[0].active);
	assert_int_equal(inventory_discard(root, id, &freed), 0);
	assert_int_equal(list(), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing),	     TEST(numbers), TEST(what_is_not_listed), TEST(looking_changes_nothing),
		TEST(bounded_names), TEST(discard), TEST(strange_ids),	      TEST(active),
	};
	return cmocka_run_group_tests_name("inventory", tests, NULL, NULL);
}
