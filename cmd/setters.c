/* One setter for each kind of option: from the word a user typed to its field in struct haul_config. */
#include "cmd/opts_impl.h"

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/units.h"

#define LEVEL_MAX	   15
#define LEVEL_AUTO_MAX	   12
#define OVERLOAD_QUEUE_LEN 16u

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

static enum haul_rc set_require(struct parse *p, const struct option_row *row, const char *value)
{
	(void)value;
	static const enum keep_mode require = KEEP_REQUIRE;
	memcpy(destination(p, row), &require, sizeof require);
	return HAUL_OK;
}

/* What was asked for by itself stays as it was asked for. */
static enum haul_rc set_archive(struct parse *p, const struct option_row *row, const char *value)
{
	struct haul_config *cfg = &p->o->cfg;
	enum keep_mode *const kept[] = {&cfg->owner, &cfg->xattrs, &cfg->acls};
	(void)row, (void)value;
	cfg->hard_links = true;
	for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
		*kept[i] = *kept[i] == KEEP_OFF ? KEEP_TRY : *kept[i];
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

/* N, P% or both; what is not said stays as it was. */
static enum haul_rc set_max_delete(struct parse *p, const struct option_row *row, const char *value)
{
	struct haul_config *cfg = &p->o->cfg;
	char text[64] = "", *number = text, *percent = NULL;
	size_t n = strlen(value);
	unsigned most = 0, share = 0;
	if (n < sizeof text)
		memcpy(text, value, n + 1);
	if (n && n < sizeof text && text[n - 1] == '%') {
		text[n - 1] = '\0';
		percent = strchr(text, ',');
		number = percent ? text : NULL;
		if (percent)
			*percent++ = '\0';
		else
			percent = text;
	}
	if ((number && !units_count(number, &most)) || (percent && !units_count(percent, &share)) ||
	    share > 100)
		return BAD(p, "%s is not %s (like 5000, 50%%, 5000,50%%)", value, row->metavar);
	if (number)
		cfg->max_delete = most;
	if (percent)
		cfg->max_delete_percent = share;
	return HAUL_OK;
}

static enum haul_rc set_cidrs(struct parse *p, const struct option_row *row, const char *value)
{
	return cidr_parse(value, p->typed, destination(p, row), p->err);
}

static enum haul_rc set_rule(struct parse *p, const struct option_row *row, const char *value)
{
	struct options *o = p->o;
	if (!*value)
		return BAD(p, "the value is empty: it takes %s", row->metavar);
	struct rule_given *rules = reallocarray(o->rules, o->rule_count + 1, sizeof *rules);
	if (!rules)
		return haul_fail(p->err, HAUL_NO_MEMORY, 0, p->typed, "out of memory");
	o->rules = rules;
	o->rules[o->rule_count++] = (struct rule_given){(enum option_id)(row - option_table), value};
	return HAUL_OK;
}

static const struct {
	enum option_arg arg;
	setter_fn *set;
} kinds[] = {
	[OPT_GROUP] = {ARG_NONE, set_nothing},
	[OPT_FLAG] = {ARG_NONE, set_flag},
	[OPT_NOOP] = {ARG_NONE, set_nothing},
	[OPT_ARCHIVE] = {ARG_NONE, set_archive},
	[OPT_REQUIRE] = {ARG_NONE, set_require},
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
	[OPT_MAX_DELETE] = {ARG_VALUE, set_max_delete},
	[OPT_CIDRS] = {ARG_VALUE, set_cidrs},
	[OPT_RULE] = {ARG_VALUE, set_rule},
};

enum option_arg option_arg(const struct option_row *row)
{
	return kinds[row->kind].arg;
}

enum haul_rc option_set(struct parse *p, const struct option_row *row, const char *value)
{
	return kinds[row->kind].set(p, row, value);
}
