/* Whole reads and writes at an offset: short ones and EINTR end here. */
#ifndef HAUL_LIB_BYTES_H
#define HAUL_LIB_BYTES_H

#include <stddef.h>
#include <stdint.h>

/* 0, -ENODATA when the file ends before n bytes, or -errno. */
int bytes_read(int fd, uint8_t *p, size_t n, uint64_t offset);
/* 0 or -errno. */
int bytes_write(int fd, const uint8_t *p, size_t n, uint64_t offset);
/* Leaves blocks of zeros unwritten: they read as zeros where nothing was, and the final size makes the rest.
 */
int bytes_write_sparse(int fd, const uint8_t *p, size_t n, uint64_t offset);
/* Makes a hole of what may have been written there. */
int bytes_punch(int fd, uint64_t offset, uint64_t n);

#endif
