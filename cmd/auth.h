/* The keys of a run: from options and files to what the engine asks. */
#ifndef HAUL_CMD_AUTH_H
#define HAUL_CMD_AUTH_H

#include "cmd/opts.h"

/* The rules between the options, once operands are known; takes HAUL_KEY_FILE when no option names a key.
 * Opens nothing. HAUL_USAGE; a secret that was given itself instead of its file is never repeated. */
enum haul_rc auth_check(struct options *o, struct haul_err *err);

/* Reads what the options name into o->cfg.auth, which stays NULL without them. HAUL_USAGE when a file is not
 * as it should be. */
enum haul_rc auth_load(struct options *o, struct haul_err *err);
void auth_unload(struct options *o);

#endif
