/* Monotonic time and descriptor waits; the only clock haul's timers know. */
#ifndef HAUL_LIB_CLOCK_H
#define HAUL_LIB_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC, in nanoseconds and in milliseconds. */
uint64_t clock_now_ns(void);
uint64_t clock_now_ms(void);

/* The earlier of two times; UINT64_MAX is never. */
static inline uint64_t clock_earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

#endif
