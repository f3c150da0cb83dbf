/*
 * verdict: what a failed run under --cron says, as one block that reads well in a mail:
 *
 *   haul: backup.example:4285: could not connect: connection refused
 *     command    haul send --cron /data/. backup.example:4285/nightly
 *     started    2026-11-21T02:15:00Z
 *     ended      2026-11-21T02:15:30Z
 *     seconds    30.2
 *     committed  0 files, 0 bytes
 *     ...
 *     exit 35 (again): could not connect
 *     next       see whether the receiver runs and can be reached; the same command goes on
 *
 * Everything that comes from elsewhere is escaped, and bounded: names, what programs said, the command.
 */
#ifndef HAUL_CMD_VERDICT_H
#define HAUL_CMD_VERDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "lib/err.h"
#include "lib/events.h"

#define VERDICT_NAMES_MAX  10u
#define VERDICT_NAME_BYTES 640u
#define VERDICT_SAID_BYTES 2048u
#define VERDICT_SAID_LINES 5u

/* What is known of a run. */
struct verdict {
	const char *const *command; /* argv from the subcommand's word on, NULL at the end */
	time_t started, ended;
	double seconds;
	bool over;		   /* `done` has come */
	struct haul_err err, also; /* also.rc is HAUL_OK if there is none */
	struct metrics m;
	uint64_t committed_bytes;
	uint64_t lost, attempts,
		warnings; /* connections lost; attempts failed; warnings that were not shown */
	uint64_t bad;	  /* files that failed, vanished or changed; the first have a name */
	char name[VERDICT_NAMES_MAX][VERDICT_NAME_BYTES]; /* name and reason, escaped */
	char said[VERDICT_SAID_BYTES]; /* the end of what its programs wrote to standard error */
	size_t said_len;
	bool said_more; /* there was more before it */
};

/* Counts an event in; progress and the like are passed over. */
void verdict_event(struct verdict *v, const struct event *ev);

/* Adds what a program wrote to standard error; of all of it the end is kept. */
void verdict_said(struct verdict *v, const char *text, size_t len);

/* The block; v->err is why. */
void verdict_print(FILE *to, const struct verdict *v);

/* What to do about this failure, one line; NULL for HAUL_OK alone. */
const char *verdict_next_step(enum haul_rc rc);

#endif
