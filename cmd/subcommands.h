/* The subcommands: each parses its own command line and returns the exit status. argv[0] is its word. */
#ifndef HAUL_CMD_SUBCOMMANDS_H
#define HAUL_CMD_SUBCOMMANDS_H

int send_main(int argc, char **argv);
int recv_main(int argc, char **argv);
int status_main(int argc, char **argv);
int key_main(int argc, char **argv);
int help_main_command(int argc, char **argv);
int version_main(int argc, char **argv);
int complete_main(int argc, char **argv);
int options_main(int argc, char **argv);

#endif
