/* Help texts. What describes options and exit statuses is generated from their tables. */
#ifndef HAUL_CMD_HELP_H
#define HAUL_CMD_HELP_H

#include <stdbool.h>
#include <stdio.h>

#include "cmd/opts.h"

/* haul --help: what it is, how to use it. */
void help_main(FILE *to);

/* haul send --help and so on: usage and options in groups. */
void help_subcommand(FILE *to, enum subcommand sub);

/* haul help TOPIC: one of help_topics. False if there is no such topic. */
bool help_topic(FILE *to, const char *topic);

/* The topics of help_topic, separated by spaces. */
extern const char help_topics[];

/* "0.1.0" */
extern const char help_release[];

/* haul --version: version, commit, compiler, flags, libraries. */
void help_version(FILE *to);

#endif
