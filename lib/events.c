/* The event bus: stamps, delivers, keeps the last word. */
#include "lib/events.h"

#include <string.h>

#include "lib/clock.h"

void event_bus_init(struct event_bus *bus, const uint8_t id[static 16])
{
	memset(bus, 0, sizeof *bus);
	memcpy(bus->id, id, sizeof bus->id);
	bus->start_ns = clock_now_ns();
}

bool event_bus_subscribe(struct event_bus *bus, event_fn *fn, void *ctx)
{
	if (bus->count == EVENT_SUBSCRIBERS_MAX)
		return false;
	bus->subscriber[bus->count].fn = fn;
	bus->subscriber[bus->count].ctx = ctx;
	bus->count++;
	if (bus->ended)
		fn(ctx, &bus->last);
	return true;
}

void event_emit(struct event_bus *bus, struct event *ev)
{
	if (bus->ended)
		return;
	ev->t_ns = clock_now_ns() - bus->start_ns;
	memcpy(ev->id, bus->id, sizeof ev->id);
	if (ev->type == EV_DONE) { /* recorded first: a subscriber that fails cannot lose it */
		bus->ended = true;
		bus->last = *ev;
	}
	for (size_t i = 0; i < bus->count; i++)
		bus->subscriber[i].fn(bus->subscriber[i].ctx, ev);
}

const char *event_type_name(enum event_type type)
{
	static const char *const names[EV_TYPE_COUNT] = {
		[EV_HELLO] = "hello",	    [EV_PLAN] = "plan",	      [EV_STATE] = "state",
		[EV_RESUME] = "resume",	    [EV_CONNECT] = "connect", [EV_DISCONNECT] = "disconnect",
		[EV_RETRY] = "retry",	    [EV_FILE] = "file",	      [EV_PROGRESS] = "progress",
		[EV_PRESSURE] = "pressure", [EV_LEVEL] = "level",     [EV_GAP] = "gap",
		[EV_WARN] = "warn",	    [EV_ERROR] = "error",     [EV_DONE] = "done",
	};
	return (unsigned)type < EV_TYPE_COUNT ? names[type] : "unknown";
}

const char *file_state_name(enum file_state state)
{
	static const char *const names[] = {
		[FILE_COMMITTED] = "committed", [FILE_SKIPPED] = "skipped", [FILE_FAILED] = "failed",
		[FILE_VANISHED] = "vanished",	[FILE_CHANGED] = "changed", [FILE_PLANNED] = "planned",
		[FILE_DELETED] = "deleted",	[FILE_STRAY] = "stray",
	};
	return (unsigned)state < sizeof names / sizeof *names ? names[state] : "unknown";
}

const char *blocked_on_name(enum blocked_on on)
{
	static const char *const names[] = {
		[BLOCKED_NONE] = "none", [BLOCKED_SOURCE] = "source", [BLOCKED_CPU] = "cpu",
		[BLOCKED_LINK] = "link", [BLOCKED_CREDIT] = "credit", [BLOCKED_DISK] = "disk",
	};
	return (unsigned)on < sizeof names / sizeof *names ? names[on] : "unknown";
}
