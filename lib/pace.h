/* --bwlimit: a token bucket over the bytes written to the wire. */
#ifndef HAUL_LIB_PACE_H
#define HAUL_LIB_PACE_H

#include <stdint.h>

struct pace {
	uint64_t rate;	 /* bytes a second, 0: no limit */
	uint64_t tokens; /* bytes that may go now */
	uint64_t at_ns;	 /* when tokens were last counted */
};

void pace_init(struct pace *p, uint64_t rate, uint64_t now_ns);
/* Bytes that may be written now; UINT64_MAX without a limit. */
uint64_t pace_allowance(struct pace *p, uint64_t now_ns);
void pace_spend(struct pace *p, uint64_t n);
/* Milliseconds until a useful number of bytes may go; 0 for now. */
uint64_t pace_wait_ms(const struct pace *p);

#endif
