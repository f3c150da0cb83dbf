/* The options that name keys: which go together, and loading what they name. */
#ifndef HAUL_CMD_KEYOPTS_H
#define HAUL_CMD_KEYOPTS_H

#include "cmd/opts.h"

/* The rules between the options, once operands are known; takes HAUL_KEY_FILE when no option names a key.
 * Opens nothing. HAUL_USAGE; a key that was given itself instead of its file is never repeated. */
__attribute__((warn_unused_result)) enum haul_rc keyopts_check(struct options *o, struct haul_err *err);

/* Loads what is named into o->cfg.keys and makes o->cfg.auth of it, which opts_free frees;
 * both stay NULL when nothing is. */
__attribute__((warn_unused_result)) enum haul_rc keyopts_load(struct options *o, struct haul_err *err);

#endif
