/* Shell completions and the generated parts of haul(1), from the option and error tables. */
#ifndef HAUL_CMD_COMPLETE_H
#define HAUL_CMD_COMPLETE_H

#include <stdbool.h>
#include <stdio.h>

/* haul __complete bash|zsh|fish. False for another shell. */
bool complete_print(FILE *to, const char *shell);

/* haul __options mdoc: the marked blocks of OPTIONS and EXIT STATUS, markers included. False for another
 * form. */
bool complete_options(FILE *to, const char *form);

#endif
