/*
 * stream_in: standard input, or a producer command, as a stage that yields chunks.
 *
 * One worker reads. A chunk goes on when it is full, at the end, or 100 ms after its first byte, so a slow
 * producer is never held back for the sake of a full one. Only an exit status of 0 makes the end of a
 * producer's output an end.
 */
#ifndef HAUL_LIB_STREAM_IN_H
#define HAUL_LIB_STREAM_IN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/blocks.h"
#include "lib/err.h"
#include "lib/pool.h"

struct stream_in {
	int fd;
	pid_t child; /* producer, 0 if none */
	int cancel;  /* eventfd: readable makes a reading worker give up */
	struct blocks *blocks;
	uint32_t chunk;
};

struct stream_piece {
	struct buf *block; /* content at PAYLOAD_AT, len bytes; NULL at the end */
	uint32_t len;
	bool end;
	struct haul_err err; /* the end is not one: reading failed, or the producer did */
};

extern const struct pool_ops stream_in_ops; /* ctx: struct stream_in, job: struct stream_piece */

/* Standard input when cmd is NULL. */
enum haul_rc stream_in_open(struct stream_in *s, const char *cmd, uint32_t chunk, struct blocks *blocks,
			    struct haul_err *err);
/* Makes a worker that waits for input return; call before pool_free. */
void stream_in_cancel(struct stream_in *s);
/* Ends the producer if it still runs. */
void stream_in_close(struct stream_in *s);

#endif
