/* Child processes that produce or consume a stream: /bin/sh -c CMD with one end of a pipe. */
#ifndef HAUL_LIB_COMMAND_H
#define HAUL_LIB_COMMAND_H

#include <stdbool.h>
#include <sys/types.h>

/* Starts cmd with its standard output (produces) or input (else) on a pipe; *fd is our end, close-on-exec.
 * The child's pid, or -errno. */
pid_t command_start(const char *cmd, bool produces, int *fd);

/* Waits for it; NULL when it exited with 0, else what it did ("exit status 3", "killed by signal 9"), in
 * text. */
const char *command_wait(pid_t pid, char text[static 64]);

/* Ends it (SIGTERM, then SIGKILL after a moment) and reaps. */
void command_kill(pid_t pid);

#endif
