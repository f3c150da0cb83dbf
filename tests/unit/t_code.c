/* Codes: as they are made, shown, typed and mistyped; the secret that comes of one. */
#include "tests/unit/unit.h"
#include "tests/unit/mutate.h"

#include <sodium.h>

#include "lib/code.h"

static void shape(void **state)
{
	(void)state;
	char code[CODE_BYTES], text[CODE_TEXT_BYTES];
	code_new((const uint8_t[]){0, 0, 0, 0, 0}, code);
	code_show(code, text);
	assert_string_equal(text, "000-000-000");
	code_new((const uint8_t[]){0xff, 0xff, 0xff, 0xff, 0xff}, code);
	code_show(code, text);
	assert_string_equal(text, "zzz-zzz-zz0"); /* 31 * (1 + 3 + ... + 15) = 31 * 64, a multiple of 32 */
	code_new((const uint8_t[]){0, 0, 0, 0, 1}, code);
	code_show(code, text);
	assert_string_equal(text, "100-000-001");
	code_new((const uint8_t[]){0, 0, 0, 0, 0x40}, code);
	code_show(code, text);
	assert_string_equal(text, "020-000-006");
}

/* Every bit of the entropy is in the code, at one place, and every letter is as likely as another. */
static void uniform(void **state)
{
	(void)state;
	uint8_t zero[CODE_ENTROPY_BYTES] = {0};
	char none[CODE_BYTES];
	code_new(zero, none);
	for (unsigned bit = 0; bit < 8 * CODE_ENTROPY_BYTES; bit++) {
		uint8_t one[CODE_ENTROPY_BYTES] = {0};
		char code[CODE_BYTES];
		one[bit / 8] = (uint8_t)(1u << bit % 8);
		code_new(one, code);
		unsigned differ = 0;
		for (unsigned i = 0; i < CODE_LETTERS - 1; i++)
			differ += code[i] != none[i];
		assert_int_equal(differ, 1);
	}
	unsigned seen[128] = {0}, different = 0;
	for (unsigned v = 0; v < 256;
	     v++) { /* the last letter but one: 8 of its values in 256 of the first byte */
		char code[CODE_BYTES];
		code_new((const uint8_t[]){(uint8_t)v, 0, 0, 0, 0}, code);
		seen[(unsigned char)code[CODE_LETTERS - 2]]++;
	}
	for (unsigned c = 0; c < COUNT(seen); c++)
		if (seen[c]) {
			assert_int_equal(seen[c], 8);
			different++;
		}
	assert_int_equal(different, 32);
}

static void typed(void **state)
{
	(void)state;
	struct prng p = {7};
	for (unsigned i = 0; i < 500; i++) {
		uint8_t entropy[CODE_ENTROPY_BYTES];
		char code[CODE_BYTES], text[CODE_TEXT_BYTES], back[CODE_BYTES], way[64];
		prng_fill(&p, entropy, sizeof entropy);
		code_new(entropy, code);
		code_show(code, text);
		assert_null(code_parse(code, strlen(code), back));
		assert_string_equal(back, code);
		assert_null(code_parse(text, strlen(text), back));
		assert_string_equal(back, code);
		size_t n = 0;
		for (const char *c = text; *c; c++) { /* capitals, look-alikes, spaces */
			way[n++] = *c == '0' ? 'O' : *c == '1' ? (i % 2 ? 'l' : 'I') : *c == '-' ? ' ' : *c;
			if (way[n - 1] >= 'a' && way[n - 1] <= 'z' && *c != '1')
				way[n - 1] = (char)(way[n - 1] - 'a' + 'A');
			way[n++] = " -\t"[i % 3];
		}
		way[n++] = '\r';
		way[n++] = '\n';
		assert_null(code_parse(way, n, back));
		assert_string_equal(back, code);
	}
}

static void no_code(const char *text, size_t n)
{
	char code[CODE_BYTES];
	memset(code, 'x', sizeof code);
	if (!code_parse(text, n, code))
		fail_msg("'%.*s' is taken for a code", (int)n, text);
	assert_string_equal(code, "");
}

static void mistyped(void **state)
{
	(void)state;
	char code[CODE_BYTES];
	code_new((const uint8_t[]){0x13, 0x57, 0x9b, 0xdf, 0x02}, code);
	for (unsigned i = 0; i < CODE_LETTERS; i++)
		for (unsigned c = 1; c < 256; c++) {
			char wrong[CODE_BYTES];
			memcpy(wrong, code, sizeof wrong);
			wrong[i] = (char)c;
			char again[CODE_BYTES];
			if (code_parse(wrong, CODE_LETTERS, again)) /* other spellings of the right one */
				no_code(wrong, CODE_LETTERS);
			else
				assert_string_equal(again, code);
		}
	static const char *const none[] = {"",
					   "-",
					   "abc",
					   "000-000-00",
					   "000-000-0000",
					   "000 000 00u",
					   "000.000.000",
					   "\303\24400-000-000"};
	for (unsigned i = 0; i < COUNT(none); i++)
		no_code(none[i], strlen(none[i]));
	no_code("0000\0"
		"00000",
		10);
	no_code("00000000\0", 9);
}

/* BLAKE2b-128("haul/1 pw-salt" 00 realm) is the salt of Argon2id 1.3, 3 passes over 64 MiB. Derived a second
 * time in Python, with its own BLAKE2b; Argon2id is libsodium's in both. */
static void secret(void **state)
{
	(void)state;
	static const struct {
		const char *code, *realm, *prs;
	} cases[] = {
		{"000000000", "", "0d54a1e22420d31fa969294ec0bcaa3ba8b0205833b9bf271c064987f926b7b8"},
		{"k7m4qx9dp", "office", "b115ac0bf497b1ef28af132658e8a10d91992cd8322a90fa1b588bde5bb83e24"},
	};
	for (unsigned i = 0; i < COUNT(cases); i++) {
		uint8_t prs[CODE_PRS_BYTES];
		char code[CODE_BYTES], got[2 * CODE_PRS_BYTES + 1];
		memcpy(code, cases[i].code, sizeof code);
		assert_true(code_prs(code, cases[i].realm, prs));
		assert_string_equal(sodium_bin2hex(got, sizeof got, prs, sizeof prs), cases[i].prs);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shape),    cmocka_unit_test(uniform), cmocka_unit_test(typed),
		cmocka_unit_test(mistyped), cmocka_unit_test(secret),
	};
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
