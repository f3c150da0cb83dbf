/*
 * sandbox: what a process of haul may still do once it begins to read from the network: Landlock for files
 * and ports (lib/landlock.h), seccomp for system calls (lib/seccomp.h), both for good and for all it starts.
 *
 * - listener: beneath the directory that holds DIR, and where its sessions open logs; starts nothing but them
 * - receiver: beneath DIR alone; no sockets, no programs
 * - sender: reads its sources, connects to its port, looks its host up
 *
 * A program that carries the connection (ssh, exec:) would be confined, too: lib/porter.h starts it, from
 * outside. A listener that is to start a producer or consumer confines only its session, after starting it.
 */
#ifndef HAUL_LIB_SANDBOX_H
#define HAUL_LIB_SANDBOX_H

#include <stddef.h>

#include "lib/config.h"
#include "lib/endpoint.h"
#include "lib/err.h"

/* What is in force. */
struct sandbox {
	unsigned abi;	/* of Landlock, 0: none */
	unsigned calls; /* system calls left, 0: no filter */
};

/* The process that accepts, before it does. dir: of a receiver, or NULL; sources: of a sender. HAUL_USAGE
 * when cfg requires what is not to be had; a best effort otherwise. */
enum haul_rc sandbox_listener(const struct haul_config *cfg, const struct endpoint *at, const char *dir,
			      const char *const *sources, size_t source_count, struct haul_err *err);

/* A receiving session with its destination open: root, or -1 for a stream that goes to a descriptor. dial:
 * NULL unless it dials. */
enum haul_rc sandbox_receiver(const struct haul_config *cfg, int root, const struct endpoint *dial,
			      struct sandbox *now, struct haul_err *err);

/* A sending session with its producer started. Once a process: a second session of it gets what the first
 * has. */
enum haul_rc sandbox_sender(const struct haul_config *cfg, const char *const *sources, size_t source_count,
			    const struct endpoint *dial, struct sandbox *now, struct haul_err *err);

#endif
