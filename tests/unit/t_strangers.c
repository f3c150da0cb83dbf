/* lib/strangers: who keeps a place, who makes room, and for how long. */
#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "lib/strangers.h"

static struct handoff somebody; /* never looked into */

static struct origin from(const char *text)
{
	struct sockaddr_storage ss = {.ss_family = AF_UNSPEC};
	struct sockaddr_in *v4 = (void *)&ss;
	struct sockaddr_in6 *v6 = (void *)&ss;
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1)
		ss.ss_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1)
		ss.ss_family = AF_INET6;
	else
		ss.ss_family = AF_UNIX;
	return origin_of(&ss);
}

/* Comes in; the number of whoever had to go, 0 for nobody. */
static uint64_t come(struct strangers *s, const char *text)
{
	struct origin o = from(text);
	struct stranger *st = strangers_place(s, &o);
	uint64_t gone = st->h ? st->number : 0;
	strangers_settle(s, st, &somebody, &o, 1000);
	return gone;
}

static void origins(void **state)
{
	static const struct {
		const char *a, *b;
		bool same, local;
	} table[] = {
		{"10.0.0.1", "10.0.0.1", true, false},
		{"10.0.0.1", "10.0.0.2", false, false},
		{"10.0.0.1", "::ffff:10.0.0.1", true, false},
		{"2001:db8::1", "2001:db8::ffff", true, false},
		{"2001:db8::1", "2001:db8:0:1::1", false, false},
		{"127.0.0.1", "127.9.9.9", true, true},
		{"::1", "::ffff:127.0.0.1", true, true},
		{"unix", "127.0.0.1", true, true},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(table); i++) {
		struct origin a = from(table[i].a), b = from(table[i].b);
		assert_int_equal(memcmp(a.address, b.address, sizeof a.address) == 0, table[i].same);
		assert_int_equal(a.local, table[i].local);
	}
}

static void a_source_has_its_share(void **state)
{
	struct strangers s = {0};
	(void)state;
	for (unsigned i = 0; i < STRANGERS_PER_SOURCE; i++)
		assert_int_equal(come(&s, "10.0.0.1"), 0);
	/* its own oldest goes, though there is room */
	assert_int_equal(come(&s, "10.0.0.1"), 1);
	assert_int_equal(come(&s, "10.0.0.1"), 2);
	assert_int_equal(come(&s, "10.0.0.2"), 0);
}

static void this_machine_may_have_all(void **state)
{
	struct strangers s = {0};
	(void)state;
	for (unsigned i = 0; i < STRANGERS_MAX; i++)
		assert_int_equal(come(&s, "127.0.0.1"), 0);
	assert_int_equal(come(&s, "::1"), 1);
	/* the busiest source makes room, not the one who came first */
	assert_int_equal(come(&s, "10.0.0.1"), 2);
	assert_int_equal(come(&s, "127.0.0.1"), 3);
}

static void among_equals_the_oldest_goes(void **state)
{
	struct strangers s = {0};
	char text[32];
	(void)state;
	for (unsigned i = 0; i < STRANGERS_MAX; i++) {
		snprintf(text, sizeof text, "10.0.0.%u", i + 1);
		assert_int_equal(come(&s, text), 0);
	}
	assert_int_equal(come(&s, "10.0.1.1"), 1);
	assert_int_equal(come(&s, "10.0.1.1"), 2);
	/* two places now: the busiest */
	assert_int_equal(strangers_victim(&s)->number, STRANGERS_MAX + 1);
}

static void nobody_makes_room_where_nobody_is(void **state)
{
	struct strangers s = {0};
	(void)state;
	assert_null(strangers_victim(&s));
}

static void time_does_not_start_anew(void **state)
{
	struct handoff h = {.hs.state = HS_PREFIX};
	struct stranger st = {.h = &h, .since = 1000};
	(void)state;
	assert_int_equal(stranger_deadline(&st), 1000 + STRANGER_HELLO_MS);
	h.hs.state = HS_ATTACH;
	assert_int_equal(stranger_deadline(&st), 1000 + STRANGER_MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(origins),
		cmocka_unit_test(a_source_has_its_share),
		cmocka_unit_test(this_machine_may_have_all),
		cmocka_unit_test(among_equals_the_oldest_goes),
		cmocka_unit_test(nobody_makes_room_where_nobody_is),
		cmocka_unit_test(time_does_not_start_anew),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
