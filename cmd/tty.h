/*
 * What the person at standard error sees: progress, a line for each file with -v, the summary, the failure.
 * Nothing here ever waits for the terminal; what it does not take at once is dropped.
 */
#ifndef HAUL_CMD_TTY_H
#define HAUL_CMD_TTY_H

#include "lib/config.h"
#include "lib/err.h"
#include "lib/events.h"

struct tty;

/* cfg is borrowed until tty_close. NULL if out of memory. */
struct tty *tty_open(const struct haul_config *cfg);

/* An event_fn; ctx is the tty. */
void tty_event(void *ctx, const struct event *ev);

/* Takes an unfinished progress line away. NULL is fine. */
void tty_close(struct tty *t);

#define FAILURE_BYTES 8192u

/* A failure as one line, `haul: subject: why: system error`, escaped, with its newline. Its length. */
size_t failure_text(char out[static FAILURE_BYTES], const struct haul_err *err);

/* Prints it. Nothing for HAUL_OK. Waits at most a second for standard error. */
void report_failure(const struct haul_err *err);

#endif
