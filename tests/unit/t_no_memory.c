/* wire/ without memory: told, and nothing half made is left. */
#include "unit.h"

#include "tests/unit/failing.h"
#include "wire/channel.h"

static void blocks(void **state)
{
	(void)state;
	assert_null(buf_malloc(NULL, SIZE_MAX));
	assert_null(buf_malloc(NULL, SIZE_MAX - sizeof(struct buf) + 1));
	fail_calls("malloc", 0, 1, ENOMEM);
	assert_null(buf_malloc(NULL, 100));
	assert_true(all_failed());
	struct buf *b = buf_malloc(NULL, 100);
	assert_non_null(b);
	assert_true(b->cap == 100 && b->off == 0 && b->len == 0);
	memset(b->data, 1, b->cap);
	buf_put(b);
	buf_put(NULL);
}

static void channels(void **state)
{
	static const uint8_t key[SEAL_KEY_BYTES] = {1};
	struct buf_source source = {buf_malloc, NULL};
	struct seal plain = {.mode = SEAL_PLAIN}, aead;
	struct channel ch;
	(void)state;
	seal_init_aead(&aead, key, 1000);
	for (unsigned skip = 0; skip < 3; skip++) {
		bool sealed = skip > 0;
		fail_calls("malloc", skip ? skip - 1 : 0, 1, ENOMEM);
		assert_false(
			channel_open(&ch, sealed ? &aead : &plain, sealed ? &aead : &plain, 0, 1000, source));
		assert_true(all_failed());
		assert_true(!ch.stage && !ch.sealed);
		channel_close(&ch);
	}
	assert_true(channel_open(&ch, &aead, &aead, 0, 1000, source));
	channel_close(&ch);
	seal_wipe(&aead);
	const struct seal zero = {0};
	assert_memory_equal(&aead, &zero, sizeof aead);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks),
		cmocka_unit_test(channels),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
