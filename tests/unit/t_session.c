/*
 * The life cycle of a session, walked state x frame x role and compared with session.matrix beside this file,
 * which is also the table of the manual page. `t_session --print` prints what the code says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/session.h"

#define TEXT_MAX 16384

static const struct {
	uint8_t id;
	const char *name;
} frames[] = {
#define FRAME(lower, UPPER, id, class, doc) {id, #UPPER},
#include "wire/frames.def"
};

/* The last column needs no filling. */
static int width(int state)
{
	return state + 1 < SESSION_STATE_COUNT ? 15 : 0;
}

/* A line for each frame and role that some state allows; "-" is the refusal. */
static void describe(char *text)
{
	char *p = text + sprintf(text, "%-8s %-8s", "frame", "from");
	for (int s = 0; s < SESSION_STATE_COUNT; s++)
		p += sprintf(p, " %-*s", width(s), session_state_name((enum session_state)s));
	p += sprintf(p, "\n");
	for (size_t f = 0; f < sizeof frames / sizeof frames[0]; f++)
		for (int role = ROLE_SENDER; role <= ROLE_RECEIVER; role++) {
			char line[256], *q = line;
			bool any = false;
			q += sprintf(q, "%-8s %-8s", frames[f].name,
				     role == ROLE_SENDER ? "sender" : "receiver");
			for (int s = 0; s < SESSION_STATE_COUNT; s++) {
				struct session session = {(enum session_state)s};
				struct wire_err err = {0};
				bool ok = session_step(&session, frames[f].id, (enum frame_role)role, &err) ==
					  WIRE_OK;
				any = any || ok;
				q += sprintf(q, " %-*s", width(s),
					     ok ? session_state_name(session.state) : "-");
			}
			if (any)
				p += sprintf(p, "%s\n", line);
		}
}

/* Next line of *p, into out. */
static bool next_line(const char **p, char out[256])
{
	if (!**p)
		return false;
	size_t n = strcspn(*p, "\n");
	size_t keep = n < 255 ? n : 255;
	memcpy(out, *p, keep);
	out[keep] = 0;
	*p += n + ((*p)[n] != 0);
	return true;
}

static void read_matrix(char text[TEXT_MAX])
{
	char path[4096];
	const char *slash = strrchr(__FILE__, '/');
	snprintf(path, sizeof path, "%.*s/session.matrix", slash ? (int)(slash - __FILE__) : 1,
		 slash ? __FILE__ : ".");
	FILE *f = fopen(path, "r");
	if (!f)
		fail_msg("%s: %s", path, strerror(errno));
	size_t n = fread(text, 1, TEXT_MAX - 1, f);
	text[n] = 0;
	fclose(f);
}

static void the_table_is_the_one_agreed(void **state)
{
	(void)state;
	static char want_text[TEXT_MAX], have_text[TEXT_MAX];
	char want[256], have[256];
	read_matrix(want_text);
	describe(have_text);
	const char *w = want_text, *h = have_text;
	int differ = 0;
	for (;;) {
		bool more_want = next_line(&w, want), more_have = next_line(&h, have);
		if (!more_want && !more_have)
			break;
		if (more_want && more_have && strcmp(want, have) == 0)
			continue;
		if (more_want)
			print_error("-%s\n", want);
		if (more_have)
			print_error("+%s\n", have);
		differ++;
	}
	if (differ)
		fail_msg("%d lines differ: - session.matrix, + wire/session.c", differ);
}

static void a_refusal_changes_nothing(void **state)
{
	(void)state;
	for (int s = 0; s < SESSION_STATE_COUNT; s++)
		for (unsigned frame = 0; frame < 256; frame++)
			for (int role = 0; role < 4; role++) {
				struct session session = {(enum session_state)s};
				struct wire_err err = {0};
				enum wire_rc rc =
					session_step(&session, (uint8_t)frame, (enum frame_role)role, &err);
				bool message = frame_class_of((uint8_t)frame) == FRAME_CLASS_MESSAGE;
				if (rc == WIRE_OK) {
					assert_true(message && role >= ROLE_SENDER && role <= ROLE_RECEIVER);
					assert_int_equal(err.rc, WIRE_OK);
					continue;
				}
				assert_int_equal(rc, WIRE_VIOLATION);
				assert_int_equal(session.state, s);
				assert_int_equal(err.rc, WIRE_VIOLATION);
				assert_true(err.at == frame);
			}
}

static void closed_is_the_end(void **state)
{
	(void)state;
	for (int s = 0; s < SESSION_STATE_COUNT; s++) {
		struct session session = {(enum session_state)s};
		session_close(&session);
		assert_int_equal(session.state, SESSION_CLOSED);
		for (size_t f = 0; f < sizeof frames / sizeof frames[0]; f++) {
			struct wire_err err = {0};
			assert_int_equal(session_step(&session, frames[f].id, ROLE_SENDER, &err),
					 WIRE_VIOLATION);
			assert_int_equal(session_step(&session, frames[f].id, ROLE_RECEIVER, &err),
					 WIRE_VIOLATION);
		}
	}
}

static void every_state_can_be_reached_and_left(void **state)
{
	(void)state;
	bool reached[SESSION_STATE_COUNT] = {[SESSION_INIT] = true},
	     ends[SESSION_STATE_COUNT] = {[SESSION_CLOSED] = true};
	for (int turn = 0; turn < SESSION_STATE_COUNT; turn++)
		for (int s = 0; s < SESSION_STATE_COUNT; s++)
			for (size_t f = 0; f < sizeof frames / sizeof frames[0]; f++)
				for (int role = ROLE_SENDER; role <= ROLE_RECEIVER; role++) {
					struct session to = {(enum session_state)s};
					struct wire_err err = {0};
					if (session_step(&to, frames[f].id, (enum frame_role)role, &err) !=
					    WIRE_OK)
						continue;
					reached[to.state] |= reached[s];
					ends[s] |= ends[to.state];
				}
	for (int s = 0; s < SESSION_STATE_COUNT; s++) {
		if (!reached[s])
			fail_msg("%s cannot be reached", session_state_name((enum session_state)s));
		if (!ends[s])
			fail_msg("%s never ends", session_state_name((enum session_state)s));
	}
}

static void names(void **state)
{
	(void)state;
	for (int s = 0; s < SESSION_STATE_COUNT; s++)
		for (int t = 0; t < s; t++)
			assert_string_not_equal(session_state_name((enum session_state)s),
						session_state_name((enum session_state)t));
	assert_string_equal(session_state_name(SESSION_STATE_COUNT), "?");
	assert_string_equal(session_state_name((enum session_state) - 1), "?");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table_is_the_one_agreed),
		cmocka_unit_test(a_refusal_changes_nothing),
		cmocka_unit_test(closed_is_the_end),
		cmocka_unit_test(every_state_can_be_reached_and_left),
		cmocka_unit_test(names),
	};
	if (argc > 1 && strcmp(argv[1], "--print") == 0) {
		static char text[TEXT_MAX];
		describe(text);
		fputs(text, stdout);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
