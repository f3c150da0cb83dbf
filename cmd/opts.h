/*
 * The command line of a subcommand: environment and argv in, a checked struct haul_config and operands out.
 * Precedence: argv, then HAUL_OPTIONS, then HAUL_RSH and HAUL_KEY_FILE, then the defaults in cmd/opts.def.
 */
#ifndef HAUL_CMD_OPTS_H
#define HAUL_CMD_OPTS_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/config.h"
#include "lib/err.h"

enum subcommand { CMD_SEND = 1, CMD_RECV = 2, CMD_STATUS = 4, CMD_KEY = 8 };

enum option_kind {
	OPT_GROUP, /* a heading in the table, not an option */
	OPT_FLAG,
	OPT_NOOP,
	OPT_ARCHIVE,
	OPT_REQUIRE,
	OPT_MORE, /* counts how often it is given */
	OPT_HELP,
	OPT_STDIO,
	OPT_STRING,
	OPT_MAYBE_STRING, /* "" without a value */
	OPT_SIZE,
	OPT_LENGTH, /* a size that may be 0 */
	OPT_RATE,
	OPT_DURATION,
	OPT_DURATION0, /* may be 0 */
	OPT_COUNT,
	OPT_CHOICE,
	OPT_COMPRESS,
	OPT_DELAYS,
	OPT_OVERLOAD,
	OPT_PROGRESS,
	OPT_MAX_DELETE,
	OPT_CIDRS,
	OPT_RULE, /* kept in the order given */
};

enum option_arg { ARG_NONE, ARG_VALUE, ARG_OPTIONAL };

enum option_id {
#define GROUP(id, title) OPTION_GROUP_##id,
#define OPTION(id, ...)	 OPTION_##id,
#include "cmd/opts.def"
	OPTION_TOTAL
};

struct option_row {
	const char *name;
	char letter; /* 0 if none */
	enum option_kind kind;
	const char *metavar; /* NULL if it takes no value */
	unsigned subs;	     /* bits of enum subcommand */
	size_t at;	     /* offset in struct haul_config */
	const char *initial; /* default as typed, or NULL */
	const char *help;    /* of a group: its title */
};

extern const struct option_row option_table[OPTION_TOTAL];

/* Whether an option takes a value; ARG_OPTIONAL takes one only after `=`. */
enum option_arg option_arg(const struct option_row *row);

/* A subcommand's word: "send", "recv", "status", "key". */
const char *subcommand_name(enum subcommand sub);

/* One of the options that make cfg.filter. */
struct rule_given {
	enum option_id id;
	const char *value;
};

struct options {
	struct haul_config cfg;
	bool help;		  /* --help was met: nothing else was checked */
	bool given[OPTION_TOTAL]; /* by argv or HAUL_OPTIONS */
	const char **operands;	  /* as typed, borrowed from argv, NULL at the end */
	size_t operand_count;
	size_t source_count;	  /* send: the first operands; 0 with --from-cmd */
	const char *peer;	  /* DEST of send or FROM of recv; NULL: listen at cfg.listen */
	const char *dir;	  /* DIR of recv or status; NULL with -o and --to-cmd */
	struct rule_given *rules; /* HAUL_OPTIONS first, then argv */
	size_t rule_count;
	struct filter *filter; /* what cfg.filter and cfg.names are; cmd/filteropts makes them */
	struct listing *listing;
	char *words; /* HAUL_OPTIONS, split in place */
	char **word;
};

/*
 * Fills o for sub. argv[0] is the subcommand's word and is skipped. A wrong command line is HAUL_USAGE with
 * the option or operand as typed as subject. o owns what it holds until opts_free, which is right after a
 * failure too. cfg borrows from argv, the environment and o. Prints nothing.
 */
__attribute__((warn_unused_result)) enum haul_rc opts_parse(struct options *o, enum subcommand sub, int argc,
							    char **argv, struct haul_err *err);
void opts_free(struct options *o);

#endif
