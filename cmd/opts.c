/*
 * The option parser: one loop over words, and at the end the rules between options. Defaults go through the
 * same setters as what the user types.
 */
#include "cmd/opts_impl.h"

#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cron.h"
#include "cmd/keyopts.h"
#include "cmd/suggest.h"
#include "cmd/words.h"
#include "lib/auth.h"
#include "lib/filter.h"
#include "lib/listing.h"
#include "wire/limits.h"

#define CHUNK_MIN	 (UINT64_C(4) << 10)
#define CHUNK_MAX	 (UINT64_C(4) << 20)
#define JOBS_MAX	 64u
#define JOBS_DEFAULT_MAX 4

const struct option_row option_table[OPTION_TOTAL] = {
#define AT(field)	 offsetof(struct haul_config, field)
#define NOWHERE		 0
#define GROUP(id, title) [OPTION_GROUP_##id] = {NULL, 0, OPT_GROUP, NULL, 0, NOWHERE, NULL, title},
#define OPTION(id, name, letter, kind, metavar, subs, at, initial, help)                                     \
	[OPTION_##id] = {name, letter, OPT_##kind, metavar, subs, at, initial, help},
#include "cmd/opts.def"
};

const char *subcommand_name(enum subcommand sub)
{
	return sub == CMD_SEND ? "send" : sub == CMD_RECV ? "recv" : sub == CMD_STATUS ? "status" : "key";
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
		enum subcommand first = (enum subcommand)(row->subs & (~row->subs + 1)); /* the lowest bit */
		return BAD(p, "an option of haul %s, not of haul %s", subcommand_name(first),
			   subcommand_name(p->sub));
	}
	p->o->given[row - option_table] = true;
	return option_set(p, row, value);
}

/* One --word; takes *next as its value if it needs one. */
static enum haul_rc parse_long(struct parse *p, const char *word, char ***next)
{
	const char *name = word + 2;
	size_t len = strcspn(name, "=");
	const char *value = name[len] ? name + len + 1 : NULL;
	const struct option_row *row = find_long(name, len);

	if (!row) {
		const char *near = suggest_option(p->sub, name, len);
		p->typed = word;
		return near ? BAD(p, "no such option; did you mean --%s?", near) : BAD(p, "no such option");
	}
	snprintf(p->option, sizeof p->option, "--%s", row->name);
	p->typed = p->option;
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
		const struct option_row *row = find_letter(*c);
		const char *value = NULL;
		snprintf(p->option, sizeof p->option, "-%c", *c);
		p->typed = row ? p->option : word;
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
		if (row->initial && option_set(p, row, row->initial))
			return p->err->rc;
	}
	cfg->jobs = default_jobs();
	cfg->stream_size = cfg->quota = cfg->max_size = SIZE_UNSET;
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

/* With --files-from one directory, which may be left out. */
static enum haul_rc check_listed(struct parse *p)
{
	struct options *o = p->o;
	if (o->cfg.from_cmd)
		return WRONG(p, "--files-from", "cannot be given together with --from-cmd");
	if (o->source_count > 1)
		return WRONG(p, "--files-from", "takes one SRC at most, a directory, but there are %zu",
			     o->source_count);
	if (o->source_count == 0)
		o->operands[o->source_count++] = ".";
	if (strcmp(o->operands[0], "-") == 0)
		return WRONG(p, "--files-from", "is for a SRC that is a directory, not for standard input");
	return HAUL_OK;
}

static enum haul_rc check_send_operands(struct parse *p)
{
	struct options *o = p->o;
	if (!o->cfg.listen) {
		if (o->operand_count == 0)
			return WRONG(p, NULL, "SRC and DEST are missing: haul send SRC... DEST");
		o->peer = o->operands[o->operand_count - 1];
		if (o->operand_count == 1 && !o->cfg.from_cmd && !o->cfg.files_from)
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
	if (o->cfg.files_from && check_listed(p))
		return p->err->rc;
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
	if (cfg->cron && cfg->listen)
		return WRONG(p, "--cron", "is for sending to a DEST: with --listen nobody may ever come");
	if (cfg->ignore_existing && cfg->existing)
		return WRONG(p, "--existing", "together with --ignore-existing nothing would be sent");
	if (cfg->checksum && cfg->size_only)
		return WRONG(p, "--size-only", "contradicts --checksum");
	if (cfg->min_size > cfg->max_size)
		return WRONG(p, "--min-size", "is larger than --max-size: nothing would be sent");
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
	if (o->peer && o->cfg.only_from.count)
		return WRONG(p, "--recv-only-from", "is for listening, but %s is dialled", o->peer);
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
	if (sub == CMD_SEND && !o->given[OPTION_reconnect] && isatty(STDERR_FILENO))
		o->cfg.reconnect_ms = DURATION_INF;
	cron_imply(o);
	o->cfg.window_set = o->given[OPTION_window];
	o->cfg.ring_set = o->given[OPTION_ring];
	return check(&p);
}

void opts_free(struct options *o)
{
	auth_free(o->cfg.auth);
	keys_free(o->cfg.keys);
	filter_free(o->filter);
	listing_free(o->listing);
	free(o->rules);
	free(o->operands);
	free(o->word);
	free(o->words);
	memset(o, 0, sizeof *o);
}
