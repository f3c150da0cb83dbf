/* The keys of a run: from options and files to what the engine asks. */
#ifndef HAUL_CMD_AUTH_H
#define HAUL_CMD_AUTH_H

#include "cmd/opts.h"

/* Reads what --key, --key-fd, --identity, --peer, --peers and HAUL_KEY_FILE name into o->cfg.auth, which
 * stays NULL without them. HAUL_USAGE when something is missing, contradicts or is not as it should be. */
enum haul_rc auth_load(struct options *o, struct haul_err *err);
void auth_unload(struct options *o);

#endif
