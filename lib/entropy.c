#include "lib/entropy.h"

#include <sys/random.h>

void entropy_fill(void *p, size_t n)
{
	uint8_t *at = p;
	while (n) { /* up to 256 bytes come whole; a signal may cut longer ones */
		ssize_t got = getrandom(at, n, 0);
		if (got > 0) {
			at += got;
			n -= (size_t)got;
		}
	}
}

uint64_t entropy_u64(void)
{
	uint64_t v;
	entropy_fill(&v, sizeof v);
	return v;
}
