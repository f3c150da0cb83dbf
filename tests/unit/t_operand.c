/* lib/operand: what a message calls a thing. */
#include "unit.h"

#include "lib/operand.h"

static void subjects(void **state)
{
	static const struct {
		const char *text, *below, *shown;
	} cases[] = {
		{"a", "", "a"},	  {"a/", "b", "a/b"},	  {"a//", "b", "a/b"}, {"/", "b", "/b"},
		{"a/", "", "a/"}, {"", "below", "below"}, {"", "", ""},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char out[32];
		char *text = malloc(strlen(cases[i].text) + 1); /* a read in front of it is seen */
		assert_non_null(text);
		strcpy(text, cases[i].text);
		operand_subject(text, cases[i].below, out, sizeof out);
		assert_string_equal(out, cases[i].shown);
		free(text);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {cmocka_unit_test(subjects)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
