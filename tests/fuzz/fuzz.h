/* What the targets share: the entry point, a check that stays in every build, and bytes taken as a script. */
#ifndef HAUL_TESTS_FUZZ_H
#define HAUL_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/cursor.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

#define CHECK(what)                                                                                          \
	do {                                                                                                 \
		if (!(what)) {                                                                               \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what);                           \
			abort();                                                                             \
		}                                                                                            \
	} while (0)

/* The next at most max bytes of the script. */
static inline struct span script_bytes(struct rd *r, size_t max)
{
	size_t n = r->bad ? 0 : max < r->n ? max : r->n;
	return (struct span){rd_take(r, n), n};
}

#endif
