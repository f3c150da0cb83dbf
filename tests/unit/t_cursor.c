/* The reader and writer that all decoders stand on: widths, byte order, sticky failure, the final verdict. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "wire/cursor.h"

static const uint8_t ramp[16] = {0x01, 0x82, 0x03, 0x84, 0x05, 0x86, 0x07, 0x88,
				 0x09, 0x8a, 0x0b, 0x8c, 0x0d, 0x8e, 0x0f, 0x90};

static void reads_little_endian(void **state)
{
	(void)state;
	struct rd r = rd_init(ramp, 15);
	assert_int_equal(rd_u8(&r), 0x01);
	assert_int_equal(rd_u16(&r), 0x0382);
	assert_int_equal(rd_u32(&r), 0x07860584u);
	assert_false(rd_done(&r));
	assert_true(rd_u64(&r) == 0x0f8e0d8c0b8a0988u);
	assert_true(rd_done(&r));
}

static void failure_sticks(void **state)
{
	(void)state;
	for (size_t have = 0; have < 8; have++) {
		struct rd r = rd_init(ramp, have);
		assert_true(rd_u64(&r) == 0);
		assert_true(r.bad);
		/* what is there is not handed out any more */
		assert_int_equal(rd_u8(&r), 0);
		assert_null(rd_take(&r, 0));
		assert_int_equal(rd_tail(&r).n, 0);
		assert_false(rd_done(&r));
	}
}

static void a_length_cannot_wrap(void **state)
{
	(void)state;
	struct rd r = rd_init(ramp + 1, 3);
	rd_u8(&r);
	assert_null(rd_take(&r, SIZE_MAX));
	r = rd_init(ramp + 1, 3);
	rd_u8(&r);
	assert_null(rd_take(&r, SIZE_MAX - 1));
	assert_true(r.bad);
}

static void fixed_fields_are_zero_when_short(void **state)
{
	(void)state;
	uint8_t out[4] = {9, 9, 9, 9};
	struct rd r = rd_init(ramp, 3);
	rd_fix(&r, out, 4);
	assert_memory_equal(out, "\0\0\0\0", 4);
	assert_true(r.bad);
	r = rd_init(ramp, 4);
	rd_fix(&r, out, 4);
	assert_memory_equal(out, ramp, 4);
	assert_true(rd_done(&r));
}

static void strings_and_tails(void **state)
{
	(void)state;
	static const uint8_t in[] = {3, 0, 'a', 'b', 'c', 'x', 'y'};
	for (size_t have = 0; have < 5; have++) {
		struct rd r = rd_init(in, have);
		struct span s = rd_str(&r);
		assert_int_equal(s.n, 0);
		assert_true(r.bad);
	}
	struct rd r = rd_init(in, sizeof in);
	struct span s = rd_str(&r);
	assert_int_equal(s.n, 3);
	assert_ptr_equal(s.p, in + 2);
	struct span tail = rd_tail(&r);
	assert_int_equal(tail.n, 2);
	assert_memory_equal(tail.p, "xy", 2);
	assert_true(rd_done(&r));
	assert_int_equal(rd_tail(&r).n, 0);
	assert_true(rd_done(&r));
}

static void bytes_left_over_are_an_error(void **state)
{
	(void)state;
	struct rd r = rd_init(ramp, 3);
	rd_u16(&r);
	assert_false(rd_done(&r));
	rd_u8(&r);
	assert_true(rd_done(&r));
}

static void writes_what_it_reads(void **state)
{
	(void)state;
	uint8_t out[15];
	struct wr w = wr_init(out, sizeof out);
	wr_uint(&w, 0x01, 1);
	wr_uint(&w, 0x0382, 2);
	wr_uint(&w, 0x07860584u, 4);
	wr_uint(&w, 0x0f8e0d8c0b8a0988u, 8);
	assert_false(w.bad);
	assert_int_equal(w.n, sizeof out);
	assert_memory_equal(out, ramp, sizeof out);
}

static void a_full_writer_stays_bad(void **state)
{
	(void)state;
	uint8_t out[5] = {0};
	struct wr w = wr_init(out, 4);
	wr_uint(&w, 7, 2);
	wr_uint(&w, 7, 4);
	assert_true(w.bad);
	assert_int_equal(w.n, 2);
	wr_uint(&w, 7, 1); /* would fit */
	assert_int_equal(w.n, 2);
	assert_int_equal(out[4], 0);
	w = wr_init(out, 4);
	wr_bytes(&w, ramp, SIZE_MAX);
	assert_true(w.bad);
}

static void strings_have_sixteen_bits_of_length(void **state)
{
	(void)state;
	static uint8_t text[UINT16_MAX + 1], out[2 + sizeof text];
	struct wr w = wr_init(out, sizeof out);
	wr_str(&w, (struct span){text, UINT16_MAX});
	assert_false(w.bad);
	assert_int_equal(w.n, 2 + UINT16_MAX);
	w = wr_init(out, sizeof out);
	wr_str(&w, (struct span){text, sizeof text});
	assert_true(w.bad);
	w = wr_init(out, sizeof out);
	wr_str(&w, (struct span){NULL, 0});
	assert_false(w.bad);
	assert_int_equal(w.n, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_little_endian),
		cmocka_unit_test(failure_sticks),
		cmocka_unit_test(a_length_cannot_wrap),
		cmocka_unit_test(fixed_fields_are_zero_when_short),
		cmocka_unit_test(strings_and_tails),
		cmocka_unit_test(bytes_left_over_are_an_error),
		cmocka_unit_test(writes_what_it_reads),
		cmocka_unit_test(a_full_writer_stays_bad),
		cmocka_unit_test(strings_have_sixteen_bits_of_length),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
