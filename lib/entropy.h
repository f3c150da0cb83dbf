/* Random bytes from the kernel. */
#ifndef HAUL_LIB_ENTROPY_H
#define HAUL_LIB_ENTROPY_H

#include <stddef.h>
#include <stdint.h>

void entropy_fill(void *p, size_t n);
uint64_t entropy_u64(void);

#endif
