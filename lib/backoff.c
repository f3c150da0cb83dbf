#include "lib/backoff.h"

#include "lib/entropy.h"

void backoff_init(struct backoff *b, uint64_t min_ms, uint64_t max_ms)
{
	*b = (struct backoff){.min_ms = min_ms, .max_ms = max_ms < min_ms ? min_ms : max_ms};
}

void backoff_reset(struct backoff *b)
{
	b->last_ms = 0;
	b->attempts = 0;
}

uint64_t backoff_next(struct backoff *b)
{
	uint64_t last = b->last_ms > b->min_ms ? b->last_ms : b->min_ms;
	uint64_t high = last > b->max_ms / 3 ? b->max_ms : 3 * last;
	b->attempts++;
	b->last_ms = b->min_ms + (high > b->min_ms ? entropy_u64() % (high - b->min_ms + 1) : 0);
	return b->last_ms;
}
