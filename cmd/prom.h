/*
 * --metrics: the figures of a run as Prometheus text, for the textfile collector of a node exporter. FILE is
 * replaced atomically when the run begins, at most every ten seconds while it goes on, and when it is done;
 * the time of the last success is carried over from the FILE of earlier runs. Sessions that are served side
 * by side write the same FILE; the last one to write is what it shows.
 */
#ifndef HAUL_CMD_PROM_H
#define HAUL_CMD_PROM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/events.h"

#define PROM_EVERY_MS 10000u

struct prom;

/* What is exposed; status, seconds and success only make sense once the run is not running any more. */
struct prom_state {
	struct metrics m;
	uint64_t rate;
	bool running;
	int status;
	double seconds;
	uint64_t started_s, success_s; /* Unix time; success_s 0: never */
};

/* Writes the first FILE. HAUL_IO when that is not possible, HAUL_NO_MEMORY. */
__attribute__((warn_unused_result)) enum haul_rc prom_open(const char *path, struct prom **out,
							   struct haul_err *err);

/* An event_fn; ctx is the prom. A FILE that cannot be written any more stops nothing. */
void prom_event(void *ctx, const struct event *ev);

/* NULL is fine. */
void prom_close(struct prom *p);

/* The text, snprintf-like. */
size_t prom_format(char *out, size_t cap, const struct prom_state *s);

/* The time of the last success in such a text, 0 if there is none. */
uint64_t prom_last_success(const char *text);

#endif
