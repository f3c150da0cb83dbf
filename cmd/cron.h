/*
 * --cron: cron mails whatever a command prints. So nothing is printed while it runs, and nothing at all if it
 * ends well; otherwise one block (cmd/verdict.h) at the end. That goes for the programs it starts, too: what
 * ssh or a producer writes to standard error is kept back, and the end of it is part of the block.
 */
#ifndef HAUL_CMD_CRON_H
#define HAUL_CMD_CRON_H

#include "cmd/opts.h"
#include "lib/events.h"

struct cron;

/* Fills in what --cron implies and the user has not given: quiet, a lock, its times. Before options are
 * checked. */
void cron_imply(struct options *o);

/* argv is borrowed until cron_close, from the subcommand's word on. NULL without --cron, or without memory:
 * then the run goes on, with the one line of any other. */
struct cron *cron_open(const struct options *o, char **argv);

/* An event_fn; ctx is the cron. */
void cron_event(void *ctx, const struct event *ev);

/* Prints the block if err is a failure, and gives standard error back. Waits at most a second for its reader.
 * NULL is fine. */
void cron_close(struct cron *c, const struct haul_err *err);

#endif
