/* lib/events: order of delivery, stamps, the last word, names. */
#include "unit.h"

#include "lib/events.h"

static char heard[64];
static struct event last;

static void listen(void *ctx, const struct event *ev)
{
	size_t n = strlen(heard);
	if (n + 2 < sizeof heard) {
		heard[n] = *(const char *)ctx;
		heard[n + 1] = '\0';
	}
	last = *ev;
}

static struct event_bus bus_new(void)
{
	static const uint8_t id[16] = {1, 2, 3};
	struct event_bus bus;
	event_bus_init(&bus, id);
	heard[0] = '\0';
	return bus;
}

static void everybody_hears_in_order(void **state)
{
	struct event_bus bus = bus_new();
	struct event ev = {.type = EV_WARN};
	(void)state;
	assert_true(event_bus_subscribe(&bus, listen, "a"));
	assert_true(event_bus_subscribe(&bus, listen, "b"));
	event_emit(&bus, &ev);
	event_emit(&bus, &ev);
	assert_string_equal(heard, "abab");
	assert_int_equal(last.id[2], 3);
	uint64_t before = last.t_ns;
	event_emit(&bus, &ev);
	assert_true(last.t_ns >= before);
}

static void nothing_after_done(void **state)
{
	struct event_bus bus = bus_new();
	struct event done = {.type = EV_DONE}, warn = {.type = EV_WARN};
	(void)state;
	done.u.done.status = 23;
	assert_true(event_bus_subscribe(&bus, listen, "a"));
	event_emit(&bus, &done);
	event_emit(&bus, &warn);
	event_emit(&bus, &done);
	assert_string_equal(heard, "a");
	assert_true(event_bus_subscribe(&bus, listen, "l")); /* late, but not left out */
	assert_string_equal(heard, "al");
	assert_int_equal(last.type, EV_DONE);
	assert_int_equal(last.u.done.status, 23);
}

static void places_are_limited(void **state)
{
	struct event_bus bus = bus_new();
	(void)state;
	for (int i = 0; i < EVENT_SUBSCRIBERS_MAX; i++)
		assert_true(event_bus_subscribe(&bus, listen, "x"));
	assert_false(event_bus_subscribe(&bus, listen, "y"));
}

static void names(void **state)
{
	(void)state;
	for (int i = 0; i < EV_TYPE_COUNT; i++)
		assert_string_not_equal(event_type_name((enum event_type)i), "unknown");
	assert_string_equal(event_type_name(EV_TYPE_COUNT), "unknown");
	assert_string_equal(file_state_name(FILE_VANISHED), "vanished");
	assert_string_equal(file_state_name((enum file_state)99), "unknown");
	assert_string_equal(blocked_on_name(BLOCKED_DISK), "disk");
	assert_string_equal(blocked_on_name((enum blocked_on)99), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everybody_hears_in_order),
		cmocka_unit_test(nothing_after_done),
		cmocka_unit_test(places_are_limited),
		cmocka_unit_test(names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
