/* Escaping: every class of byte that must not reach a terminal or break JSON, and the bounds of the output.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/escape.h"

typedef size_t escape_fn(char *, size_t, const char *, size_t);

static void expect(escape_fn *fn, const char *in, size_t len, const char *want)
{
	char out[256];
	assert_int_equal(fn(out, sizeof out, in, len), strlen(want));
	assert_string_equal(out, want);
}

#define TEXT(in, want) expect(escape_text, in, sizeof(in) - 1, want)
#define JSON(in, want) expect(escape_json, in, sizeof(in) - 1, want)

static void text_keeps_what_is_harmless(void **state)
{
	(void)state;
	TEXT("", "");
	TEXT("plain name.txt", "plain name.txt");
	TEXT("h\xc3\xa4user \xe2\x82\xac \xf0\x9f\x98\x80", "h\xc3\xa4user \xe2\x82\xac \xf0\x9f\x98\x80");
}

static void text_escapes_controls(void **state)
{
	(void)state;
	TEXT("a\nb\tc\x1b[31m", "a\\x0ab\\x09c\\x1b[31m");
	TEXT("\0\x1f\x7f", "\\x00\\x1f\\x7f");
	TEXT("back\\slash", "back\\\\slash");
	TEXT("\x9b\x80", "\\x9b\\x80");		    /* C1, raw */
	TEXT("\xc2\x9b\xc2\x85", "\\u{9b}\\u{85}"); /* C1, as UTF-8 */
	TEXT("\xe2\x80\xa8\xe2\x80\xa9", "\\u{2028}\\u{2029}");
}

static void text_escapes_bidi(void **state)
{
	(void)state;
	TEXT("\xe2\x80\xaa\xe2\x80\xab\xe2\x80\xac\xe2\x80\xad\xe2\x80\xae",
	     "\\u{202a}\\u{202b}\\u{202c}\\u{202d}\\u{202e}");
	TEXT("\xe2\x81\xa6\xe2\x81\xa7\xe2\x81\xa8\xe2\x81\xa9", "\\u{2066}\\u{2067}\\u{2068}\\u{2069}");
	TEXT("\xe2\x80\x8e\xe2\x80\x8f\xd8\x9c", "\\u{200e}\\u{200f}\\u{61c}");
}

static void text_escapes_invalid_utf8(void **state)
{
	(void)state;
	TEXT("\xff\xfe", "\\xff\\xfe");
	TEXT("\xc0\xaf", "\\xc0\\xaf"); /* overlong / */
	TEXT("\xe0\x80\xaf", "\\xe0\\x80\\xaf");
	TEXT("\xed\xa0\x80", "\\xed\\xa0\\x80");	  /* surrogate */
	TEXT("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"); /* above U+10FFFF */
	TEXT("\xe2\x82", "\\xe2\\x82");			  /* cut */
	TEXT("\xc3(", "\\xc3(");
}

static void json_strings(void **state)
{
	(void)state;
	JSON("", "");
	JSON("a\"b\\c/", "a\\\"b\\\\c/");
	JSON("\0\n\x1f\x7f", "\\u0000\\u000a\\u001f\\u007f");
	JSON("\xe2\x82\xac", "\xe2\x82\xac");
	JSON("a\xff\xc3", "a\xef\xbf\xbd\xef\xbf\xbd");
}

static void base64_vectors(void **state)
{
	/* RFC 4648 section 10 */
	static const char *const pairs[][2] = {{"", ""},
					       {"f", "Zg=="},
					       {"fo", "Zm8="},
					       {"foo", "Zm9v"},
					       {"foob", "Zm9vYg=="},
					       {"fooba", "Zm9vYmE="},
					       {"foobar", "Zm9vYmFy"},
					       {"\xff\xfe\xfd", "//79"}};
	char out[32];
	(void)state;
	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		size_t n = escape_base64(out, sizeof out, pairs[i][0], strlen(pairs[i][0]));
		assert_int_equal(n, strlen(pairs[i][1]));
		assert_string_equal(out, pairs[i][1]);
	}
}

static void utf8_boundaries(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		unsigned code; /* 0: invalid */
	} cases[] = {{"\x7f", 1, 0x7f},
		     {"\xc2\x80", 2, 0x80},
		     {"\xdf\xbf", 2, 0x7ff},
		     {"\xe0\xa0\x80", 3, 0x800},
		     {"\xef\xbf\xbf", 3, 0xffff},
		     {"\xf0\x90\x80\x80", 4, 0x10000},
		     {"\xf4\x8f\xbf\xbf", 4, 0x10ffff},
		     {"\xc1\xbf", 2, 0},
		     {"\xe0\x9f\xbf", 3, 0},
		     {"\xf0\x8f\xbf\xbf", 4, 0},
		     {"\xed\xbf\xbf", 3, 0},
		     {"\x80", 1, 0},
		     {"\xf8\x88\x80\x80\x80", 5, 0}};
	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		unsigned code = 0;
		size_t n = utf8_decode(cases[i].bytes, cases[i].len, &code);
		assert_int_equal(n, cases[i].code ? cases[i].len : 0);
		assert_int_equal(code, cases[i].code);
		assert_int_equal(utf8_valid(cases[i].bytes, cases[i].len), cases[i].code != 0);
	}
	assert_int_equal(utf8_decode("\xe2\x82\xac", 2, &(unsigned){0}), 0);
}

/* Every capacity: the length is the same, the result a NUL-ended prefix made of whole sequences. */
static void output_is_bounded(void **state)
{
	static const char in[] = "a\x1b\xe2\x80\xae\xc3\xa4\"\\\xff";
	escape_fn *const fns[] = {escape_text, escape_json};
	(void)state;
	for (size_t f = 0; f < 2; f++) {
		char whole[128];
		size_t want = fns[f](whole, sizeof whole, in, sizeof in - 1);
		assert_int_equal(fns[f](NULL, 0, in, sizeof in - 1), want);
		for (size_t cap = 1; cap <= want + 1; cap++) {
			char out[128];
			memset(out, 0x55, sizeof out);
			assert_int_equal(fns[f](out, cap, in, sizeof in - 1), want);
			size_t len = strlen(out);
			assert_true(len < cap);
			assert_memory_equal(out, whole, len);
			assert_true(utf8_valid(out, len));
			assert_int_equal(out[cap], 0x55);
		}
	}
}

/* No byte sequence gets a control through either function. */
static void nothing_dangerous_passes(void **state)
{
	(void)state;
	for (unsigned a = 0; a < 256; a++)
		for (unsigned b = 0; b < 256; b++) {
			char in[3] = {(char)a, (char)b, (char)0x80}, out[64];
			escape_text(out, sizeof out, in, sizeof in);
			assert_true(utf8_valid(out, strlen(out)));
			for (const char *p = out; *p; p++) {
				assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
				assert_false((unsigned char)p[0] == 0xc2 && (unsigned char)p[1] < 0xa0);
			}
			escape_json(out, sizeof out, in, sizeof in);
			assert_true(utf8_valid(out, strlen(out)));
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_keeps_what_is_harmless),
		cmocka_unit_test(text_escapes_controls),
		cmocka_unit_test(text_escapes_bidi),
		cmocka_unit_test(text_escapes_invalid_utf8),
		cmocka_unit_test(json_strings),
		cmocka_unit_test(base64_vectors),
		cmocka_unit_test(utf8_boundaries),
		cmocka_unit_test(output_is_bounded),
		cmocka_unit_test(nothing_dangerous_passes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
