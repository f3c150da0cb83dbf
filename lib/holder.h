/*
 * holder: which process works on a file of the state directory, and taking over from one that is dead.
 *
 * A lock on the open file says that somebody does; it dies with its process. Beside it, NAME.pid tells who. A
 * second session that wants the file challenges the holder with SIGUSR1. A live holder pings its sender; when
 * that answers it writes a proof and keeps the file, else it ends. One that does neither is frozen and is
 * killed. So a rerun never waits for its dead twin, and never interleaves with it: the lock is ours only when
 * the other process is gone.
 */
#ifndef HAUL_LIB_HOLDER_H
#define HAUL_LIB_HOLDER_H

#include <signal.h>
#include <stdbool.h>

#include "lib/root.h"

/* What a frozen holder is ended with: its parent sees by that why it died, and that its sender has lost. */
#define HOLDER_END_SIGNAL SIGVTALRM

/* How long a challenged session may take to hear from its sender, from the last byte that came of it on, and in
 * all; how often it says meanwhile that it is at it. */
#define HOLDER_PROBE_MS	    1500u
#define HOLDER_PROBE_MAX_MS 10000u
#define HOLDER_TELL_MS	    500u

/* Opens name in the state directory (flags as root_state_open) and locks it. fd, -EBUSY when a live session
 * holds it, or -errno. May take a few seconds: not for the wire thread. */
int holder_lock(struct root *root, const char *name, int flags);

/* Locks without a challenge: fd, or -EBUSY. */
int holder_try(struct root *root, const char *name, int flags);

/* Locks without a challenge and without telling who we are: a sign of life, or a look that nobody else shall
 * disturb. Unlike the others it also goes on where a file system has no locks. fd, -EBUSY or -errno. */
int holder_mark(struct root *root, const char *name, int flags);

/* Is name locked by anybody? Writes nothing. False when there is none; true when it cannot be told. */
bool holder_held(struct root *root, const char *name);

/* Answers a challenge: our sender is alive, or is being asked. */
void holder_prove(struct root *root, const char *name, bool alive);

/* Removes NAME.pid, before name itself is removed or let go. */
void holder_unclaim(struct root *root, const char *name);

#endif
