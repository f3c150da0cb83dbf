/* lib/err: the table is the contract with scripts, so it is written down here once more. */
#include "unit.h"

#include <errno.h>

#include "lib/err.h"

static void the_contract(void **state)
{
	static const struct {
		enum haul_rc rc;
		int status;
		const char *class;
	} contract[] = {
		{HAUL_OK, 0, "ok"},
		{HAUL_USAGE, 1, "human"},
		{HAUL_VERSION, 2, "human"},
		{HAUL_NO_SOURCE, 3, "human"},
		{HAUL_POLICY, 4, "human"},
		{HAUL_AUTH, 5, "human"},
		{HAUL_LINK_LOST, 10, "again"},
		{HAUL_IO, 11, "human"},
		{HAUL_PROTOCOL, 12, "bug"},
		{HAUL_NO_SPACE, 13, "human"},
		{HAUL_DIGEST, 14, "human"},
		{HAUL_COMMAND, 15, "human"},
		{HAUL_NO_RESUME, 16, "human"},
		{HAUL_NO_MEMORY, 22, "human"},
		{HAUL_PARTIAL, 23, "human"},
		{HAUL_CHANGED, 24, "human"},
		{HAUL_DELETE_GUARD, 25, "human"},
		{HAUL_DEADLINE, 26, "again"},
		{HAUL_IDLE, 30, "again"},
		{HAUL_CONNECT, 35, "again"},
		{HAUL_BUSY, 75, "again"},
		{HAUL_SIGNAL, 128, "again"},
	};
	(void)state;
	assert_int_equal(COUNT(contract), HAUL_RC_COUNT);
	for (size_t i = 0; i < COUNT(contract); i++) {
		enum haul_rc rc = contract[i].rc;
		assert_int_equal(haul_rc_status(rc), contract[i].status);
		assert_string_equal(haul_rc_class(rc), contract[i].class);
		assert_int_equal(haul_rc_from_status((unsigned)contract[i].status), rc);
		assert_true(strlen(haul_rc_text(rc)) > 5);
		for (size_t k = 0; k < i; k++) {
			assert_int_not_equal(haul_rc_status(rc), haul_rc_status(contract[k].rc));
			assert_string_not_equal(haul_rc_name(rc), haul_rc_name(contract[k].rc));
		}
	}
}

static void any_number_is_answered(void **state)
{
	(void)state;
	assert_int_equal(haul_rc_status((enum haul_rc)9999), 12);
	assert_string_equal(haul_rc_class((enum haul_rc)9999), "bug");
	assert_non_null(haul_rc_text((enum haul_rc)9999));
	assert_non_null(haul_rc_name((enum haul_rc)9999));
	assert_int_equal(haul_rc_from_status(77), HAUL_PROTOCOL);
	assert_int_equal(haul_rc_from_reason(4), HAUL_POLICY);
	assert_int_equal(haul_rc_from_reason(77), HAUL_PROTOCOL);
	/* no reason to end anything */
	assert_int_equal(haul_rc_from_reason(0), HAUL_PROTOCOL);
	assert_int_equal(haul_rc_from_reason(128), HAUL_PROTOCOL);
	assert_int_equal(haul_rc_from_status(UINT16_MAX), HAUL_PROTOCOL);
}

static void the_first_failure_wins(void **state)
{
	struct haul_err err = {0};
	char long_text[HAUL_SUBJECT_MAX * 2];
	(void)state;
	assert_int_equal(haul_fail(&err, HAUL_IO, ENOENT, "a", "why %d", 1), HAUL_IO);
	assert_int_equal(haul_fail(&err, HAUL_POLICY, EPERM, "b", "other"), HAUL_POLICY);
	assert_int_equal(err.rc, HAUL_IO);
	assert_int_equal(err.sys, ENOENT);
	assert_string_equal(err.subject, "a");
	assert_string_equal(err.why, "why 1");
	haul_err_clear(&err);
	memset(long_text, 'x', sizeof long_text - 1);
	long_text[sizeof long_text - 1] = '\0';
	haul_fail(&err, HAUL_IO, 0, long_text, "%s", long_text);
	assert_int_equal(strlen(err.subject), HAUL_SUBJECT_MAX - 1);
	assert_int_equal(strlen(err.why), HAUL_WHY_MAX - 1);
	haul_err_clear(&err);
	haul_fail(&err, HAUL_IO, 0, NULL, "x");
	assert_string_equal(err.subject, "");
}

static void signals_and_errno(void **state)
{
	struct haul_err err = {.rc = HAUL_SIGNAL, .signal = 15};
	(void)state;
	assert_int_equal(haul_exit_status(&err), 143);
	err.rc = HAUL_IO;
	assert_int_equal(haul_exit_status(&err), 11);
	assert_int_equal(haul_rc_from_errno(ENOSPC), HAUL_NO_SPACE);
	assert_int_equal(haul_rc_from_errno(EDQUOT), HAUL_NO_SPACE);
	assert_int_equal(haul_rc_from_errno(EACCES), HAUL_IO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_contract),
		cmocka_unit_test(any_number_is_answered),
		cmocka_unit_test(the_first_failure_wins),
		cmocka_unit_test(signals_and_errno),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
