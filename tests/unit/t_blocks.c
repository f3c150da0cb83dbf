/* lib/blocks: what is kept, what comes back, and blocks that are mostly empty. */
#include "unit.h"

#include <pthread.h>

#include "lib/blocks.h"

#define LARGE 65536u

static void sizes(void **state)
{
	static const size_t caps[] = {0,	 1,	100,	   LARGE / 2, LARGE / 2 + 1,
				      LARGE - 1, LARGE, LARGE + 1, 4 * LARGE};
	struct blocks *b = blocks_new(LARGE, 2);
	(void)state;
	for (size_t i = 0; i < COUNT(caps); i++) {
		struct buf *block = blocks_get(b, caps[i]);
		assert_non_null(block);
		assert_true(block->cap >= caps[i]);
		assert_int_equal(block->off, 0);
		assert_int_equal(block->len, 0);
		memset(block->data, 0xa5, block->cap);
		buf_put(block);
	}
	blocks_free(b);
	blocks_free(NULL);
}

/* The newest comes back first, clean, and no more than `keep` are kept. */
static void reuse(void **state)
{
	struct blocks *b = blocks_new(LARGE, 2);
	struct buf *block[3];
	(void)state;
	for (size_t i = 0; i < 3; i++)
		block[i] = blocks_get(b, LARGE);
	for (size_t i = 0; i < 3; i++) {
		block[i]->off = block[i]->len = 7;
		buf_put(block[i]);
	}
	struct buf *first = blocks_get(b, LARGE - 1), *second = blocks_get(b, LARGE);
	assert_ptr_equal(first, block[1]);
	assert_ptr_equal(second, block[0]);
	assert_int_equal(first->off + first->len, 0);
	struct buf *small = blocks_get(b, 10);
	assert_true(small->cap < LARGE);
	buf_put(small);
	buf_put(first);
	buf_put(second);
	blocks_free(b);
}

static void fit(void **state)
{
	struct blocks *b = blocks_new(LARGE, 2);
	(void)state;
	struct buf *block = blocks_get(b, LARGE);
	block->off = 64;
	block->len = 1000;
	memset(buf_bytes(block), 'x', 1000);
	struct buf *fitted = blocks_fit(b, block);
	assert_ptr_not_equal(fitted, block);
	assert_int_equal(fitted->len, 1000);
	assert_true(fitted->cap < 2000);
	assert_int_equal(buf_bytes(fitted)[999], 'x');
	buf_put(fitted);

	block = blocks_get(b, LARGE);
	block->len = LARGE / 2 + 1;
	assert_ptr_equal(blocks_fit(b, block), block);
	buf_put(block);
	block = blocks_get(b, 2000);
	block->len = 1;
	assert_ptr_equal(blocks_fit(b, block), block);
	buf_put(block);
	blocks_free(b);
}

static void *take_and_put(void *arg)
{
	struct buf_source source = blocks_source(arg);
	for (int i = 0; i < 2000; i++) {
		struct buf *a = source.get(source.ctx, LARGE),
			   *c = source.get(source.ctx, i % 2 ? 10 : LARGE);
		a->data[0] = c->data[0] = (uint8_t)i;
		buf_put(a);
		buf_put(c);
	}
	return NULL;
}

static void many_threads(void **state)
{
	struct blocks *b = blocks_new(LARGE, 3);
	pthread_t thread[4];
	(void)state;
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, take_and_put, b), 0);
	for (size_t i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	blocks_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes),
		cmocka_unit_test(reuse),
		cmocka_unit_test(fit),
		cmocka_unit_test(many_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
