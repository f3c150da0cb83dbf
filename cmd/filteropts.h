/* The options that say what to send and what to leave out, made into what a walk asks. */
#ifndef HAUL_CMD_FILTEROPTS_H
#define HAUL_CMD_FILTEROPTS_H

#include "cmd/opts.h"

/* Reads the files that are named and fills o->cfg.filter, which o owns. Before the sandbox. HAUL_USAGE for rules that
 * make none, HAUL_IO for a file that cannot be read. */
__attribute__((warn_unused_result)) enum haul_rc filteropts_load(struct options *o, struct haul_err *err);

#endif
