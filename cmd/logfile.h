/*
 * --log-file: what a person looks up afterwards, one line an event of interest:
 *
 *   2026-11-21T07:50:48.123Z error 1f0c2a9b a/b: failed: Permission denied
 *
 * The time, a level (debug info warn error), the first bytes of the session's id, and text, where everything
 * that came from elsewhere is escaped. Lines are appended whole, so several sessions may share one file.
 */
#ifndef HAUL_CMD_LOGFILE_H
#define HAUL_CMD_LOGFILE_H

#include <stddef.h>

#include "lib/err.h"
#include "lib/events.h"

struct logfile;

/* Opens path for appending; makes it 0600. A symbolic link is refused. verbose as -v counts it: 1 also logs
 * what was skipped, 2 changes of state and level. HAUL_IO, HAUL_NO_MEMORY. */
__attribute__((warn_unused_result)) enum haul_rc logfile_open(const char *path, int verbose,
							      struct logfile **out, struct haul_err *err);

/* An event_fn; ctx is the logfile. What the device does not take at once is lost. */
void logfile_event(void *ctx, const struct event *ev);

/* NULL is fine. */
void logfile_close(struct logfile *l);

/* One event as a line without its newline; the length the whole line has, 0 when the event is not logged. */
size_t logfile_format(char *out, size_t cap, const struct event *ev, int verbose, uint64_t realtime_ms);

#endif
