/* user: giving up root for good. */
#ifndef HAUL_LIB_USER_H
#define HAUL_LIB_USER_H

#include "lib/err.h"

/*
 * Becomes NAME[:GROUP] (names or numbers; without GROUP the user's own group, and no other group in any case)
 * and makes sure that there is no way back. Fine without doing anything for a process that is that user
 * already. HAUL_USAGE for an unknown name, for root, and when called by somebody else than root; HAUL_IO when
 * the way back is open: then the process must end. Before any thread is started.
 */
enum haul_rc user_become(const char *spec, struct haul_err *err);

#endif
