/*
 * governor: the compression level, chosen from where the pipeline waits. Waiting for the link or for credit
 * means that there is time to pack harder: one level up. Waiting for the workers means that packing is what
 * holds things up: halfway down. Decided a few times a second, for the chunks that come next.
 */
#ifndef HAUL_LIB_GOVERNOR_H
#define HAUL_LIB_GOVERNOR_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/events.h"

struct governor {
	int level, min, max;
	uint64_t since_ms;
	uint64_t seen_link_ns, seen_cpu_ns;
};

/* Starts at level, within [min, max]. */
void governor_init(struct governor *g, int level, int min, int max, uint64_t now_ms);

/* wait_ns: time spent waiting so far, by cause (struct metrics). True when the level has changed. */
bool governor_step(struct governor *g, const uint64_t wait_ns[static BLOCKED_DISK + 1], uint64_t now_ms);

#endif
