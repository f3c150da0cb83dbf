/* Delays between attempts: decorrelated jitter between a floor and a ceiling. */
#ifndef HAUL_LIB_BACKOFF_H
#define HAUL_LIB_BACKOFF_H

#include <stdint.h>

struct backoff {
	uint64_t min_ms, max_ms, last_ms; /* last_ms 0: the next one is the first */
	unsigned attempts;
};

void backoff_init(struct backoff *b, uint64_t min_ms, uint64_t max_ms);
/* After progress. */
void backoff_reset(struct backoff *b);
/* Milliseconds to wait before the next attempt: random in [min, 3 x last], at most max. */
uint64_t backoff_next(struct backoff *b);

#endif
