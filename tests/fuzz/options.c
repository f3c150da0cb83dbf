/*
 * The command line: any words for any subcommand, and any HAUL_OPTIONS. Nothing is opened or started.
 *
 *   input   what u8: subcommand, and with its high bit what comes first are HAUL_OPTIONS; then words, a NUL
 *           behind each. A byte from 128 on is the name of an option, with dashes.
 *
 * Held to: what is refused has a reason, and a subject that was typed or is an option's; what is accepted
 * keeps to the limits, and says the same when it is read again.
 */
#include "fuzz.h"

#include "cmd/opts.h"
#include "lib/err.h"
#include "wire/limits.h"

#define WORDS_MAX 64u
#define TEXT_MAX  8192u

static char text[TEXT_MAX];

/* The script with names in the place of their numbers; its length without the last NUL. */
static size_t expand(struct span in)
{
	size_t n = 0;
	for (size_t i = 0; i < in.n && n + 64 < sizeof text; i++) {
		const struct option_row *row = &option_table[(in.p[i] - 128u) % OPTION_TOTAL];
		if (in.p[i] < 128)
			text[n++] = (char)in.p[i];
		else if (row->kind != OPT_GROUP)
			n += (size_t)snprintf(text + n, 64, "--%s", row->name);
	}
	text[n] = 0;
	return n;
}

static void proper(const struct options *o, enum subcommand sub, int argc, char **argv)
{
	const struct haul_config *c = &o->cfg;
	for (size_t i = 0; i < o->operand_count; i++) {
		int at = 1;
		while (at < argc && argv[at] != o->operands[i])
			at++;
		CHECK(at < argc);
	}
	CHECK(!o->operands[o->operand_count]);
	if (o->help || sub == CMD_KEY || sub == CMD_STATUS)
		return;
	CHECK(c->window && c->window <= INT64_MAX && c->ring && c->jobs && c->max_sessions);
	CHECK(c->retry_min_ms <= c->retry_max_ms && c->quota && c->stream_size);
	CHECK(sub != CMD_SEND || (c->chunk >= CHUNK_MIN_BYTES && c->chunk <= CHUNK_MAX_BYTES));
	CHECK(c->compress != COMPRESS_RANGE || c->level_min <= c->level_max);
	CHECK(sub != CMD_SEND || o->peer || c->listen);
	CHECK(sub != CMD_RECV || o->dir || c->output || c->to_cmd);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static const enum subcommand subs[] = {CMD_SEND, CMD_RECV, CMD_STATUS, CMD_KEY};
	static struct options o, again;
	static struct haul_err err, same;
	char *argv[WORDS_MAX + 2] = {(char *)"haul"};
	int argc = 1;
	if (!n)
		return 0;
	enum subcommand sub = subs[p[0] % (sizeof subs / sizeof *subs)];
	size_t len = expand((struct span){p + 1, n - 1});
	char *word = text;
	unsetenv("HAUL_OPTIONS");
	if (p[0] & 128) {
		CHECK(setenv("HAUL_OPTIONS", text, 1) == 0);
		word += strlen(word) + 1;
	}
	for (; word < text + len && argc <= (int)WORDS_MAX; word += strlen(word) + 1)
		argv[argc++] = word;
	enum haul_rc rc = opts_parse(&o, sub, argc, argv, &err);
	if (rc == HAUL_OK)
		proper(&o, sub, argc, argv);
	else
		CHECK(rc == HAUL_USAGE && err.rc == rc && err.why[0]);
	CHECK(opts_parse(&again, sub, argc, argv, &same) == rc);
	CHECK(strcmp(err.why, same.why) == 0 && strcmp(err.subject, same.subject) == 0);
	CHECK(memcmp(o.given, again.given, sizeof o.given) == 0 && o.operand_count == again.operand_count);
	opts_free(&o);
	opts_free(&again);
	return 0;
}
