#include "lib/governor.h"

#define DECIDE_MS 250u

void governor_init(struct governor *g, int level, int min, int max, uint64_t now_ms)
{
	*g = (struct governor){.level = level, .min = min, .max = max, .since_ms = now_ms};
}

/* There is no level 0: it would mean the library's default. */
static int one_up(int level)
{
	return level == -1 ? 1 : level + 1;
}

static int far_down(int level)
{
	return level > 1 ? level / 2 : level == 1 ? -1 : level - 1;
}

bool governor_step(struct governor *g, const uint64_t wait_ns[static BLOCKED_DISK + 1], uint64_t now_ms)
{
	uint64_t span_ns = (now_ms - g->since_ms) * 1000000u;
	if (now_ms - g->since_ms < DECIDE_MS)
		return false;
	uint64_t link = wait_ns[BLOCKED_LINK] + wait_ns[BLOCKED_CREDIT], cpu = wait_ns[BLOCKED_CPU];
	uint64_t link_wait = link - g->seen_link_ns, cpu_wait = cpu - g->seen_cpu_ns;
	int before = g->level;
	if (link_wait > span_ns / 2)
		g->level = one_up(g->level);
	else if (cpu_wait > span_ns / 2)
		g->level = far_down(g->level);
	if (g->level > g->max)
		g->level = g->max;
	if (g->level < g->min)
		g->level = g->min;
	g->since_ms = now_ms;
	g->seen_link_ns = link;
	g->seen_cpu_ns = cpu;
	return g->level != before;
}
