/* Events as JSON lines (haul(1), EVENTS): a subscriber of the event bus that never makes the engine wait. */
#ifndef HAUL_CMD_JSON_H
#define HAUL_CMD_JSON_H

#include <stddef.h>

#include "lib/err.h"
#include "lib/events.h"

struct json_log;

/*
 * Opens target, the value of --json: "" is standard error, fd:N an inherited descriptor, anything else a
 * file, which is emptied first. The final `done` may wait done_wait_ms for a slow reader; nothing else ever
 * waits. HAUL_USAGE for a bad descriptor, HAUL_IO if the file cannot be opened.
 */
__attribute__((warn_unused_result)) enum haul_rc json_open(const char *target, unsigned done_wait_ms,
							   struct json_log **out, struct haul_err *err);

/*
 * For sessions that run in processes of their own and write one file: opens it once, emptied, and makes
 * *target "fd:N", spelt in name. Leaves other targets alone. HAUL_IO if it cannot be opened.
 */
__attribute__((warn_unused_result)) enum haul_rc json_share(const char **target, char name[static 16],
							    struct haul_err *err);

/* An event_fn; ctx is the json_log. */
void json_event(void *ctx, const struct event *ev);

/* Drops what could not be written. NULL is fine. An inherited descriptor stays open. */
void json_close(struct json_log *j);

/* One event as a line without its newline, snprintf-like (lib/escape.h). realtime_ms is Unix time. */
size_t json_format(char *out, size_t cap, const struct event *ev, uint64_t realtime_ms);

#endif
