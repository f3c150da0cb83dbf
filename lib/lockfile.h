/* --lock: at most one run at a time, by a lock that dies with its process. */
#ifndef HAUL_LIB_LOCKFILE_H
#define HAUL_LIB_LOCKFILE_H

#include <stdint.h>

#include "lib/err.h"

/*
 * Takes the lock on file, made if it is missing; waits for up to wait_ms. *fd holds it until it is closed.
 * HAUL_BUSY when somebody else has it; HAUL_SIGNAL when signal_fd (a signalfd, or -1) has SIGINT or SIGTERM
 * first. file "" names one in /tmp for this user and destination: cron and a login must mean the same one.
 */
enum haul_rc lockfile_take(const char *file, const char *dest, uint64_t wait_ms, int signal_fd, int *fd,
			   struct haul_err *err);

#endif
