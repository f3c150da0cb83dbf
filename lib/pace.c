#include "lib/pace.h"

/* A tenth of a second of rate, and never less than a frame head or two. */
static uint64_t burst(const struct pace *p)
{
	uint64_t tenth = p->rate / 10;
	return tenth > 1024 ? tenth : 1024;
}

void pace_init(struct pace *p, uint64_t rate, uint64_t now_ns)
{
	*p = (struct pace){.rate = rate, .at_ns = now_ns};
}

uint64_t pace_allowance(struct pace *p, uint64_t now_ns)
{
	if (!p->rate)
		return UINT64_MAX;
	uint64_t passed = now_ns - p->at_ns;
	if (passed > 1000000000u)
		passed = 1000000000u; /* what was not used in a second is lost */
	uint64_t more = (uint64_t)((double)p->rate * (double)passed / 1e9);
	if (more) {
		p->at_ns = now_ns;
		p->tokens = p->tokens + more < burst(p) ? p->tokens + more : burst(p);
	}
	return p->tokens;
}

void pace_spend(struct pace *p, uint64_t n)
{
	if (p->rate)
		p->tokens -= n < p->tokens ? n : p->tokens;
}

uint64_t pace_wait_ms(const struct pace *p)
{
	uint64_t useful = burst(p) / 4;
	if (!p->rate || p->tokens >= useful)
		return 0;
	return (useful - p->tokens) * 1000 / p->rate + 1;
}
