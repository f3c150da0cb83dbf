/* Codes and the people who tell them to each other: shown by the side that waits, asked for by the one that dials. */
#ifndef HAUL_CMD_CODED_H
#define HAUL_CMD_CODED_H

#include "cmd/opts.h"
#include "lib/code.h"

/* Makes a code and shows it at the terminal, or writes it to the descriptor of --code-fd, which is closed.
 * HAUL_USAGE when there is nowhere to show it. */
enum haul_rc code_tell(const struct options *o, char code[static CODE_BYTES], struct haul_err *err);

/* Asks for the code at the terminal, a few times if need be, or reads it from the descriptor of --code-fd, which is
 * closed. HAUL_USAGE when there is no terminal, or no code comes. */
enum haul_rc code_ask(const struct options *o, char code[static CODE_BYTES], struct haul_err *err);

#endif
