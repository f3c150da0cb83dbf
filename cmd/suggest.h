/* suggest: the option that somebody may have meant. */
#ifndef HAUL_CMD_SUGGEST_H
#define HAUL_CMD_SUGGEST_H

#include "cmd/opts.h"

/* The name of the option of sub that name[0..len) abbreviates, or is a slip or two away from: one for four
 * letters or five, two for more. NULL when there is none. */
const char *suggest_option(enum subcommand sub, const char *name, size_t len);

#endif
