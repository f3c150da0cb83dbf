/*
 * The option parser: one loop over words, one setter for each kind of option, and at the end the rules
 * between options. Defaults go through the same setters as what the user types.
 */
#include "cmd/opts.h"

#include <limits.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/keyopts.h"
#include "cmd/suggest.h"
#include "cmd/words.h"
#include "lib/auth.h"
#include "lib/units.h"
#include "wire/limits.h"

#define CHUNK_MIN	   (UINT64_C(4) << 10)
#define CHUNK_MAX	   (UINT64_C(4) << 20)
#define JOBS_MAX	   64u
#define JOBS_DEFAULT_MAX   4
#define LEVEL_MAX	   15
#define LEVEL_AUTO_MAX	   12
#define OVERLOAD_QUEUE_LEN 16u

const struct option_row option_table[OPTION_TOTAL] = {
#define AT(field)	 offsetof(struct haul_config, field)
#define NOWHERE		 0
#define GROUP(id, title) [OPTION_GROUP_##id] = {NULL, 0, OPT_GROUP, NULL, 0, NOWHERE, NULL, title},
#define OPTION(id, name, letter, kind, metavar, subs, at, initial, help)                                     \
	[OPTION_##id] = {name, letter, OPT_##kind, metavar, subs, at, initial, help},
#include "cmd/opts.def"
};

struct parse {
	struct options *o;
	enum subcommand sub;
	struct haul_err *err;
	const char *typed; /* the option as the user wrote it, for messages */
	bool environment;  /* reading HAUL_OPTIONS */
};

#define BAD(p, ...) haul_fail((p)->err, HAUL_USAGE, 0, (p)->typed, __VA_ARGS__)

const char *subcommand_name(enum subcommand sub)
{
	return sub == CMD_SEND ? "send" : sub == CMD_RECV ? "recv" : sub == CMD_STATUS ? "status" : "key";
}

/* Setters: put value where row says; value is NULL for an option that got none. */
typedef enum haul_rc setter_fn(struct parse *p, const struct option_row *row, const char *value);

static void *destination(struct parse *p, const struct option_row *row)
{
	return (char *)&p->o->cfg + row->at;
}

static enum haul_rc set_flag(struct parse *p, const struct option_row *row, const char *value)
{
	(void)value;
	*(bool *)destination(p, row) = true;
	return HAUL_OK;
}

static enum haul_rc set_nothing(struct parse *p, const struct option_row *row, const char *value)
{
	(void)p, (void)row, (void)value;
	return HAUL_OK;
}

static enum haul_rc set_more(struct parse *p, const struct option_row *row, const char *value)
{
	(void)value;
	int *count = destination(p, row);
	*count += *count < INT_MAX;
	return HAUL_OK;
}

static enum haul_rc set_help(struct parse *p, const struct option_row *row, const char *value)
{
	(void)row, (void)value;
	p->o->help = true;
	return HAUL_OK;
}

static enum haul_rc set_string(struct parse *p, const struct option_row *row, const char *value)
{
	if (value && !*value)
		return BAD(p, "the value is empty: it takes %s", row->metavar);
	*(const char **)destination(p, row) = value ? value : "";
	return HAUL_OK;
}

static enum haul_rc set_stdio(struct parse *p, const struct option_row *row, const char *value)
{
	(void)value;
	return set_string(p, row, "stdio:");
}

static enum haul_rc set_size(struct parse *p, const struct option_row *row, const char *value)
{
	uint64_t size;
	if (!units_size(value, &size))
		return BAD(p, "%s is not a size (like 4096, 512k, 64M, 1.5G; MB is decimal)", value);
	if (size == 0 && row->kind == OPT_SIZE)
		return BAD(p, "%s is not a size here: 0 is not unlimited", value);
	*(uint64_t *)destination(p, row) = size;
	return HAUL_OK;
}

static enum haul_rc set_rate(struct parse *p, const struct option_row *row, const char *value)
{
	uint64_t rate;
	if (!units_rate(value, &rate))
		return BAD(p, "%s is not a rate in bytes a second (like 500k, 10M, 1.5MB/s)", value);
	if (rate == 0)
		return BAD(p, "%s is not a rate: 0 is not unlimited, leave the option out", value);
	*(uint64_t *)destination(p, row) = rate;
	return HAUL_OK;
}

static enum haul_rc set_duration(struct parse *p, const struct option_row *row, const char *value)
{
	uint64_t ms;
	if (!units_duration(value, &ms))
		return BAD(p, "%s is not a duration (like 500ms, 30s, 10m, 2h, 1d, inf)", value);
	if (ms == 0 && row->kind == OPT_DURATION)
		return BAD(p, "%s is not a duration here: 0 is not unlimited, inf is", value);
	*(uint64_t *)destination(p, row) = ms;
	return HAUL_OK;
}

static enum haul_rc set_count(struct parse *p, const struct option_row *row, const char *value)
{
	unsigned count;
	if (!units_count(value, &count))
		return BAD(p, "%s is not a count", value);
	if (count == 0)
		return BAD(p, "%s is not a count here: 0 is not unlimited", value);
	*(unsigned *)destination(p, row) = count;
	return HAUL_OK;
}

/* The position of value in a comma list of words, or -1. */
static int choice_index(const char *list, const char *value)
{
	size_t len = strlen(value);
	for (int i = 0;; i++) {
		size_t n = strcspn(list, ",");
		if (n == len && memcmp(list, value, n) == 0)
			return i;
		if (!list[n])
			return -1;
		list += n + 1;
	}
}

static enum haul_rc set_choice(struct parse *p, const struct option_row *row, const char *value)
{
	int i = choice_index(row->metavar, value);
	if (i < 0)
		return BAD(p, "%s is not one of %s", value, row->metavar);
	memcpy(destination(p, row), &i, sizeof i);
	return HAUL_OK;
}
_Static_assert(sizeof(enum links_mode) == sizeof(int), "set_choice copies an int into an enum");

static enum haul_rc set_progress(struct parse *p, const struct option_row *row, const char *value)
{
	if (value)
		return set_choice(p, row, value);
	p->o->cfg.progress = isatty(STDERR_FILENO) ? PROGRESS_TTY : PROGRESS_PLAIN;
	return HAUL_OK;
}

static enum haul_rc set_compress(struct parse *p, const struct option_row *row, const char *value)
{
	struct haul_config *cfg = &p->o->cfg;
	char low[32], high[32];
	unsigned min, max;

	if (strcmp(value, "auto") == 0) {
		cfg->compress = COMPRESS_AUTO;
		cfg->level_min = 1;
		cfg->level_max = LEVEL_AUTO_MAX;
		return HAUL_OK;
	}
	if (strcmp(value, "none") == 0) {
		cfg->compress = COMPRESS_NONE;
		cfg->level_min = cfg->level_max = 0;
		return HAUL_OK;
	}
	if (!units_range(value, low, high) || !units_count(low, &min) || !units_count(high, &max))
		return BAD(p, "%s is not one of %s (it is on by default: -z may be left out)", value,
			   row->metavar);
	if (min == 0)
		return BAD(p, "%s: level 0 is spelt none", value);
	if (max > LEVEL_MAX)
		return BAD(p, "%s: levels above %d are refused, libzstd before 1.5.5 may corrupt data there",
			   value, LEVEL_MAX);
	if (min > max)
		return BAD(p, "%s: the lower level comes first", value);
	cfg->compress = strstr(value, "..") ? COMPRESS_RANGE : COMPRESS_LEVEL;
	cfg->level_min = (int)min;
	cfg->level_max = (int)max;
	return HAUL_OK;
}

static enum haul_rc set_delays(struct parse *p, const struct option_row *row, const char *value)
{
	char low[32], high[32];
	uint64_t min, max;
	if (!units_range(value, low, high) || !units_duration(low, &min) || !units_duration(high, &max))
		return BAD(p, "%s is not %s (like 0.5s..60s)", value, row->metavar);
	if (min == 0 || max == DURATION_INF)
		return BAD(p, "%s: a pause is neither 0 nor inf", value);
	if (min > max)
		return BAD(p, "%s: the shorter pause comes first", value);
	p->o->cfg.retry_min_ms = min;
	p->o->cfg.retry_max_ms = max;
	return HAUL_OK;
}

static enum haul_rc set_overload(struct parse *p, const struct option_row *row, const char *value)
{
	struct haul_config *cfg = &p->o->cfg;
	unsigned waiting = OVERLOAD_QUEUE_LEN;
	if (strcmp(value, "reject") == 0) {
		cfg->overload = OVERLOAD_REJECT;
		cfg->overload_queue = 0;
		return HAUL_OK;
	}
	if (strcmp(value, "queue") != 0 &&
	    (strncmp(value, "queue:", 6) != 0 || !units_count(value + 6, &waiting)))
		return BAD(p, "%s is not one of %s", value, row->metavar);
	if (waiting == 0)
		return BAD(p, "%s: a queue for 0 sessions is spelt reject", value);
	cfg->overload = OVERLOAD_QUEUE;
	cfg->overload_queue = waiting;
	return HAUL_OK;
}

static const struct {
	enum option_arg arg;
	setter_fn *set;
} kinds[] = {
	[OPT_GROUP] = {ARG_NONE, set_nothing},
	[OPT_FLAG] = {ARG_NONE, set_flag},
	[OPT_NOOP] = {ARG_NONE, set_nothing},
	[OPT_MORE] = {ARG_NONE, set_more},
	[OPT_HELP] = {ARG_NONE, set_help},
	[OPT_STDIO] = {ARG_NONE, set_stdio},
	[OPT_STRING] = {ARG_VALUE, set_string},
	[OPT_MAYBE_STRING] = {ARG_OPTIONAL, set_string},
	[OPT_SIZE] = {ARG_VALUE, set_size},
	[OPT_LENGTH] = {ARG_VALUE, set_size},
	[OPT_RATE] = {ARG_VALUE, set_rate},
	[OPT_DURATION] = {ARG_VALUE, set_duration},
	[OPT_DURATION0] = {ARG_VALUE, set_duration},
	[OPT_COUNT] = {ARG_VALUE, set_count},
	[OPT_CHOICE] = {ARG_VALUE, set_choice},
	[OPT_COMPRESS] = {ARG_VALUE, set_compress},
	[OPT_DELAYS] = {ARG_VALUE, set_delays},
	[OPT_OVERLOAD] = {ARG_VALUE, set_overload},
	[OPT_PROGRESS] = {ARG_OPTIONAL, set_progress},
};

enum option_arg option_arg(const struct option_row *row)
{
	return kinds[row->kind].arg;
}

static const struct option_row *find_long(const char *name, size_t len)
{
	for (size_t i = 0; i < OPTION_TOTAL; i++)
		if (option_table[i].name && strlen(option_table[i].name) == len &&
		    memcmp(option_table[i].name, name, len) == 0)
			return &option_table[i];
	return NULL;
}

static const struct option_row *find_letter(char letter)
{
	for (size_t i = 0; i < OPTION_TOTAL; i++)
		if (option_table[i].letter && option_table[i].letter == letter)
			return &option_table[i];
	return NULL;
}

/* Stores one option. In HAUL_OPTIONS, which serves all subcommands, another one's option is passed over. */
static enum haul_rc apply(struct parse *p, const struct option_row *row, const char *value)
{
	if (!(row->subs & (unsigned)p->sub)) {
		if (p->environment)
			return HAUL_OK;
		return BAD(p, "an option of haul %s, not of haul %s",
			   subcommand_name((enum subcommand)(row->subs & -row->subs)), /* the lowest bit */
			   subcommand_name(p->sub));
	}
	p->o->given[row - option_table] = true;
	return kinds[row->kind].set(p, row, value);
}

/* One --word; takes *next as its value if it needs one. */
static enum haul_rc parse_long(struct parse *p, const char *word, char ***next)
{
	const char *name = word + 2;
	size_t len = strcspn(name, "=");
	const char *value = name[len] ? name + len + 1 : NULL;
	char typed[64];
	const struct option_row *row = find_long(name, len);

	if (!row) {
		const char *near = suggest_option(p->sub, name, len);
		p->typed = word;
		return near ? BAD(p, "no such option; did you mean --%s?", near) : BAD(p, "no such option");
	}
	memcpy(typed, word, len + 2);
	typed[len + 2] = '\0';
	p->typed = typed;
	if (value && option_arg(row) == ARG_NONE)
		return BAD(p, "takes no value");
	if (!value && option_arg(row) == ARG_VALUE) {
		if (!**next)
			return BAD(p, "needs a value: %s", row->metavar);
		value = *(*next)++;
	}
	return apply(p, row, value);
}

/* One -cluster; the first letter that needs a value takes the rest of the word, or *next. */
static enum haul_rc parse_letters(struct parse *p, const char *word, char ***next)
{
	for (const char *c = word + 1; *c; c++) {
		char typed[3] = {'-', *c, '\0'};
		const struct option_row *row = find_letter(*c);
		const char *value = NULL;
		p->typed = row ? typed : word;
		if (!row)
			return word[2] ? BAD(p, "no such option: -%c", *c) : BAD(p, "no such option");
		if (option_arg(row) == ARG_VALUE) {
			value = c[1] ? c + 1 : **next ? *(*next)++ : NULL;
			if (!value)
				return BAD(p, "needs a value: %s", row->metavar);
		}
		enum haul_rc rc = apply(p, row, value);
		if (rc || value)
			return rc;
	}
	return HAUL_OK;
}

static enum haul_rc parse_words(struct parse *p, char **word)
{
	bool only_operands = false;
	while (*word && !p->o->help) {
		const char *w = *word++;
		enum haul_rc rc = HAUL_OK;
		if (!only_operands && strcmp(w, "--") == 0) {
			only_operands = true;
		} else if (only_operands || w[0] != '-' || w[1] == '\0') {
			if (p->environment)
				return haul_fail(p->err, HAUL_USAGE, 0, "HAUL_OPTIONS", "%s is not an option",
						 w);
			p->o->operands[p->o->operand_count++] = w;
		} else if (w[1] == '-') {
			rc = parse_long(p, w, &word);
		} else {
			rc = parse_letters(p, w, &word);
		}
		if (rc)
			return rc;
	}
	return HAUL_OK;
}

static enum haul_rc parse_environment(struct parse *p)
{
	const char *text = getenv("HAUL_OPTIONS");
	if (!text || !*text)
		return HAUL_OK;
	p->o->words = strdup(text);
	p->o->word =
		calloc(strlen(text) / 2 + 2, sizeof *p->o->word); /* a word and its space take two bytes */
	if (!p->o->words || !p->o->word)
		return haul_fail(p->err, HAUL_NO_MEMORY, 0, "HAUL_OPTIONS", "out of memory");
	if (!words_split(p->o->words, p->o->word))
		return haul_fail(p->err, HAUL_USAGE, 0, "HAUL_OPTIONS", "a quote is not closed");
	p->environment = true;
	enum haul_rc rc = parse_words(p, p->o->word);
	p->environment = false;
	return rc;
}

static unsigned default_jobs(void)
{
	cpu_set_t set;
	int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
	return (unsigned)(cores < 1 ? 1 : cores > JOBS_DEFAULT_MAX ? JOBS_DEFAULT_MAX : cores);
}

static enum haul_rc set_defaults(struct parse *p)
{
	struct haul_config *cfg = &p->o->cfg;
	for (size_t i = 0; i < OPTION_TOTAL; i++) {
		const struct option_row *row = &option_table[i];
		p->typed = row->name;
		if (row->initial && kinds[row->kind].set(p, row, row->initial))
			return p->err->rc;
	}
	cfg->jobs = default_jobs();
	cfg->stream_size = cfg->quota = SIZE_UNSET;
	const char *rsh = getenv("HAUL_RSH");
	if (rsh && *rsh)
		cfg->rsh = rsh;
	return HAUL_OK;
}

/* Whether text names the other side and not a path: a colon before the first slash, as scp and rsync have it.
 */
static bool is_address(const char *text)
{
	return text[strcspn(text, ":/")] == ':' || text[0] == '[';
}

#define WRONG(p, subject, ...) haul_fail((p)->err, HAUL_USAGE, 0, subject, __VA_ARGS__)

static enum haul_rc check_send_operands(struct parse *p)
{
	struct options *o = p->o;
	if (!o->cfg.listen) {
		if (o->operand_count == 0)
			return WRONG(p, NULL, "SRC and DEST are missing: haul send SRC... DEST");
		o->peer = o->operands[o->operand_count - 1];
		if (o->operand_count == 1 && !o->cfg.from_cmd)
			return is_address(o->peer)
				       ? WRONG(p, o->peer, "SRC is missing: haul send SRC... DEST")
				       : WRONG(p, o->peer, "DEST is missing: haul send SRC... DEST");
		if (!is_address(o->peer) && is_address(o->operands[0]))
			return WRONG(p, o->operands[0], "DEST comes last: haul send SRC... DEST");
		if (!is_address(o->peer))
			return WRONG(
				p, o->peer,
				"not an address: DEST is HOST:PORT, [USER@]HOST:PATH, unix:PATH or exec:CMD");
	}
	o->source_count = o->operand_count - (o->peer != NULL);
	if (o->cfg.from_cmd && o->source_count)
		return WRONG(p, o->operands[0], "a SRC cannot be given together with --from-cmd");
	if (!o->cfg.from_cmd && !o->source_count)
		return WRONG(p, NULL, "SRC is missing: haul send --listen=ADDR SRC...");
	return HAUL_OK;
}

static enum haul_rc check_send(struct parse *p)
{
	struct options *o = p->o;
	const struct haul_config *cfg = &o->cfg;
	size_t stdins = 0;

	if (check_send_operands(p))
		return p->err->rc;
	for (size_t i = 0; i < o->source_count; i++) {
		stdins += strcmp(o->operands[i], "-") == 0;
		if (!*o->operands[i])
			return WRONG(p, NULL, "a SRC is the empty string");
	}
	if (stdins > 1)
		return WRONG(p, "-", "standard input can be sent once only");
	bool stream = cfg->from_cmd || (o->source_count == 1 && stdins == 1);
	if ((cfg->name || cfg->stream_size != SIZE_UNSET) && !stream) {
		const char *typed = cfg->name ? "--name" : "--size";
		return o->source_count > 1
			       ? WRONG(p, typed, "is for one stream, but there are %zu SRCs", o->source_count)
			       : WRONG(p, typed, "is for a stream: - or --from-cmd");
	}
	if (cfg->chunk < CHUNK_MIN || cfg->chunk > CHUNK_MAX)
		return WRONG(p, "--chunk", "must be from 4k to 4M");
	if (o->given[OPTION_lock_wait] && !cfg->lock_file)
		return WRONG(p, "--lock-wait", "needs --lock");
	if (cfg->ignore_existing && cfg->existing)
		return WRONG(p, "--existing", "together with --ignore-existing nothing would be sent");
	if (cfg->checksum && cfg->size_only)
		return WRONG(p, "--size-only", "contradicts --checksum");
	return HAUL_OK;
}

static enum haul_rc check_recv(struct parse *p)
{
	struct options *o = p->o;
	bool stream = o->cfg.output || o->cfg.to_cmd;
	size_t dirs = stream ? 0 : 1;

	if (o->cfg.output && o->cfg.to_cmd)
		return WRONG(p, "--to-cmd", "cannot be given together with --output");
	if (o->operand_count < dirs)
		return WRONG(p, NULL, "DIR is missing: haul recv [FROM] DIR");
	if (o->operand_count > dirs + 1)
		return WRONG(p, o->operands[dirs + 1],
			     stream ? "one operand too many: haul recv -o FILE [FROM]"
				    : "one operand too many: haul recv [FROM] DIR");
	o->peer = o->operand_count > dirs ? o->operands[0] : NULL;
	o->dir = dirs ? o->operands[o->operand_count - 1] : NULL;
	if (o->dir && !*o->dir)
		return WRONG(p, NULL, "DIR is the empty string");
	if (o->dir && strcmp(o->dir, "-") == 0)
		return WRONG(p, "-", "not a DIR: standard output is --output=-");
	if (o->dir && o->peer && is_address(o->dir) && !is_address(o->peer))
		return WRONG(p, o->dir, "FROM comes before DIR: haul recv [FROM] DIR");
	if (o->dir && is_address(o->dir))
		return WRONG(p, o->dir,
			     "looks like FROM, then DIR is missing (a directory of that name: ./%s)", o->dir);
	if (o->peer && !is_address(o->peer))
		return WRONG(p, o->peer,
			     stream ? "not an address: with --output or --to-cmd there is no DIR"
				    : "not an address: FROM is HOST:PORT, [USER@]HOST:PATH, unix:PATH or "
				      "exec:CMD");
	if (o->cfg.output && strcmp(o->cfg.output, "-") == 0 && o->cfg.listen &&
	    strcmp(o->cfg.listen, "stdio:") == 0)
		return WRONG(p, "--output", "standard output carries the connection already");
	if (o->peer && o->cfg.listen)
		return WRONG(p, o->peer, "FROM cannot be given together with %s",
			     o->given[OPTION_stdio] ? "--stdio" : "--listen");
	return HAUL_OK;
}

static enum haul_rc check_status(struct parse *p)
{
	struct options *o = p->o;
	if (o->operand_count > 1)
		return WRONG(p, o->operands[1], "one operand too many: haul status [DIR]");
	if (o->cfg.json && *o->cfg.json)
		return WRONG(p, "--json", "takes no value here: the list goes to standard output");
	o->dir = o->operand_count ? o->operands[0] : ".";
	if (!*o->dir)
		return WRONG(p, NULL, "DIR is the empty string");
	return HAUL_OK;
}

static enum haul_rc check(struct parse *p)
{
	struct options *o = p->o;
	enum haul_rc rc = p->sub == CMD_SEND	 ? check_send(p)
			  : p->sub == CMD_RECV	 ? check_recv(p)
			  : p->sub == CMD_STATUS ? check_status(p)
						 : HAUL_OK;
	if (rc || p->sub == CMD_KEY || keyopts_check(o, p->err))
		return p->err->rc;
	if (o->cfg.jobs > JOBS_MAX)
		return WRONG(p, "--jobs", "%u is more than %u", o->cfg.jobs, JOBS_MAX);
	if (o->cfg.window > WINDOW_MAX_BYTES || o->cfg.ring > WINDOW_MAX_BYTES)
		return WRONG(p, o->cfg.ring > WINDOW_MAX_BYTES ? "--ring" : "--window", "is more than 1T");
	if (o->cfg.no_sandbox && o->cfg.sandbox == SANDBOX_REQUIRE)
		return WRONG(p, "--no-sandbox", "contradicts --sandbox=require");
	if (o->cfg.port_file && o->peer)
		return WRONG(p, "--port-file", "is for listening, but %s is dialled", o->peer);
	return HAUL_OK;
}

enum haul_rc opts_parse(struct options *o, enum subcommand sub, int argc, char **argv, struct haul_err *err)
{
	struct parse p = {.o = o, .sub = sub, .err = err};

	memset(o, 0, sizeof *o);
	haul_err_clear(err);
	o->operands = calloc((size_t)argc + 1, sizeof *o->operands);
	if (!o->operands)
		return haul_fail(err, HAUL_NO_MEMORY, 0, NULL, "out of memory");
	/* HAUL_OPTIONS are for transfers */
	if (set_defaults(&p) || (sub & (CMD_SEND | CMD_RECV) && parse_environment(&p)) ||
	    parse_words(&p, argc ? argv + 1 : argv))
		return err->rc;
	if (o->help)
		return HAUL_OK;
	o->cfg.window_set = o->given[OPTION_window];
	o->cfg.ring_set = o->given[OPTION_ring];
	if (sub == CMD_SEND && !o->given[OPTION_reconnect] && isatty(STDERR_FILENO))
		o->cfg.reconnect_ms = DURATION_INF;
	return check(&p);
}

void opts_free(struct options *o)
{
	auth_free(o->cfg.auth);
	keys_free(o->cfg.keys);
	free(o->operands);
	free(o->word);
	free(o->words);
	memset(o, 0, sizeof *o);
}
