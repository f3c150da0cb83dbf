/* Writing to a descriptor that somebody else may have stopped reading, without ever waiting for him. */
#ifndef HAUL_CMD_OUT_H
#define HAUL_CMD_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Writes what fits at once; waits at most wait_ms for room. Returns the bytes taken, 0 if it would wait
 * longer, -errno if the reader is gone or the device failed. The descriptor's flags are not touched: it may
 * be shared with the shell that started us. SIGPIPE must be ignored.
 */
ssize_t out_write(int fd, const void *data, size_t len, int wait_ms);

/* Was this descriptor, 1 or 2, closed when we were started? main holds its place since, read-only. */
bool out_was_closed(int fd);

#endif
