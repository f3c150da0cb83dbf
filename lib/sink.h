/*
 * sink: where a stream goes that is not a file of the tree: standard output, a consumer command, or what
 * `-o` names and is no regular file. One worker writes, in order, so a slow consumer blocks nothing else.
 */
#ifndef HAUL_LIB_SINK_H
#define HAUL_LIB_SINK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"
#include "lib/pool.h"
#include "wire/buf.h"

struct sink {
	int fd;
	pid_t child;
	int cancel; /* eventfd: makes a waiting writer give up */
};

/* One piece: bytes, or zeros, or the end. */
struct sink_job {
	struct buf *bytes; /* owned */
	uint64_t zeros;
	uint32_t cost; /* of the message it came from, for the taker */
	bool end;      /* close, and wait for the consumer */
	bool last;     /* of its file: the taker settles it */
	uint64_t file;
	struct haul_err err;
};

extern const struct pool_ops sink_ops; /* ctx: struct sink, job: struct sink_job */

/* Could path be opened? Standard output must be open, and path no directory: else HAUL_IO. */
enum haul_rc sink_check(const char *path, struct haul_err *err);

/* cmd, or path ("-" is standard output). */
enum haul_rc sink_open(struct sink *s, const char *cmd, const char *path, struct haul_err *err);
void sink_cancel(struct sink *s);
void sink_close(struct sink *s);
void sink_job_free(struct sink_job *job);

/* Is path something that is there and no regular file (a FIFO, /dev/null)? */
bool sink_wanted(const char *path);

#endif
