/*
 * porter: a process that stays outside the sandbox to start the programs that carry connections (ssh, exec:).
 * It is forked before its maker is confined, knows the one endpoint, and takes one order: dial again.
 *
 *   haul ─── dial ──▶ porter ─── starts ──▶ ssh
 *        ◀── descriptor ──                   │
 *        ◀═══════════ the connection ════════┘
 *
 * One a process. It ends the program of before when the next is asked for, and the last when its maker is
 * gone.
 */
#ifndef HAUL_LIB_PORTER_H
#define HAUL_LIB_PORTER_H

#include <stdbool.h>

#include "lib/endpoint.h"

#define PORTER_TEXT_MAX 128

/* Starts it for ep, before any thread. Fine when it runs already. 0 or -errno. */
int porter_start(const struct endpoint *ep, const struct haul_config *cfg);

bool porter_runs(void);

/* A connection to a new child; *fd is the caller's. 0, or -errno with why in text. */
int porter_dial(int *fd, char text[static PORTER_TEXT_MAX]);

/* Waits until the last program has ended, or was made to. Without a porter nothing happens. */
void porter_stop(void);

#endif
