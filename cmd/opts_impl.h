/* What the parser of options (opts.c) and the setters (setters.c) share, and nobody else sees. */
#ifndef HAUL_CMD_OPTS_IMPL_H
#define HAUL_CMD_OPTS_IMPL_H

#include "cmd/opts.h"

struct parse {
	struct options *o;
	enum subcommand sub;
	struct haul_err *err;
	const char *typed; /* the option as the user wrote it, for messages */
	char option[64];   /* typed without the value that came with it */
	bool environment;  /* reading HAUL_OPTIONS */
};

#define BAD(p, ...) haul_fail((p)->err, HAUL_USAGE, 0, (p)->typed, __VA_ARGS__)

/* Puts value where row says; NULL for an option that got none. */
enum haul_rc option_set(struct parse *p, const struct option_row *row, const char *value);

#endif
