/* Monotonic time and descriptor waits; the only clock haul's timers know. */
#ifndef HAUL_LIB_CLOCK_H
#define HAUL_LIB_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC, in nanoseconds and in milliseconds. */
uint64_t clock_now_ns(void);
uint64_t clock_now_ms(void);

#endif
