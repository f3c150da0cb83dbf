/*
 * What a user types: operands, addresses, sizes, rates, durations, ranges, rules, lists of names. Nothing
 * crashes, and what is refused leaves nothing to free (leaks are found). Input: which parser u8 (a star:
 * rules), then the text up to its first NUL.
 */
#include "fuzz.h"

#include "lib/units.h"
#include "lib/beneath.h"
#include "lib/endpoint.h"
#include "lib/filter.h"
#include "lib/glob.h"
#include "lib/listing.h"
#include "lib/operand.h"

static void operand(const char *text)
{
	struct operand op;
	char subject[64];
	if (operand_parse(text, &op))
		CHECK(op.dir && op.name && op.dir[0] && !strchr(op.name, '/'));
	operand_free(&op);
	operand_subject(text, "below", subject, sizeof subject);
	CHECK(memchr(subject, 0, sizeof subject));
}

static void endpoints(const char *text)
{
	struct endpoint ep = {0};
	struct haul_err err = {0};
	if (endpoint_parse_peer(text, &ep, &err) == HAUL_OK)
		CHECK(ep.text && (ep.kind != ENDPOINT_TCP || (ep.host && ep.port)));
	endpoint_free(&ep);
	memset(&err, 0, sizeof err);
	if (endpoint_parse_listen(text, &ep, &err) == HAUL_OK)
		CHECK(ep.text && ep.kind != ENDPOINT_SSH && ep.kind != ENDPOINT_EXEC);
	endpoint_free(&ep);
}

static void units(const char *text)
{
	uint64_t v = 0;
	unsigned count = 0;
	char low[32], high[32], shown[UNITS_SIZE_BYTES];
	if (units_size(text, &v))
		CHECK(v <= INT64_MAX);
	units_show_size(shown, v);
	CHECK(strlen(shown) <= 8);
	(void)units_rate(text, &v);
	(void)units_duration(text, &v);
	(void)units_count(text, &count);
	if (units_range(text, low, high))
		CHECK(strlen(low) < sizeof low && strlen(high) < sizeof high);
}

/* Rules and names; the first line is a pattern for the others, too. */
static void filters(const char *text)
{
	size_t len = strlen(text), first = strcspn(text, "\n");
	const char *rest = text + first + (text[first] == '\n');
	struct haul_err err = {0};
	for (int dialect = GLOB_RSYNC; dialect <= GLOB_GIT; dialect++) {
		struct glob *g = first <= GLOB_TEXT_MAX ? glob_new(dialect, text, first) : NULL;
		for (const char *p = rest; g && *p; p += strcspn(p, "\n"), p += *p == '\n') {
			bool file = glob_match(g, p, strcspn(p, "\n"), false);
			CHECK(!file || glob_match(g, p, strcspn(p, "\n"), true));
		}
		glob_free(g);
	}
	struct filter *f = filter_new();
	if (filter_add_text(f, text, len, false, "rules", &err) == HAUL_OK && *rest)
		(void)filter_ask(f, rest, strlen(rest), true);
	filter_free(f);
	f = filter_new();
	CHECK(filter_add_gitignore(f, text, len));
	(void)filter_ask(f, text, len, false);
	filter_free(f);
	struct listing *list;
	memset(&err, 0, sizeof err);
	if (listing_new(strdup(text), len, false, "list", &list, &err) != HAUL_OK)
		return;
	for (size_t i = 0, end; i < listing_count(list); i = end) {
		const char *name = listing_name(list, i);
		end = listing_group(list, i, listing_count(list), 0);
		CHECK(end > i && name[0] != '/' && (!*name || name[strlen(name) - 1] != '/'));
		CHECK(!*name || listing_leads_up(name) || strlen(name) > 255 ||
		      !root_name_refused(name, strlen(name)) || strncmp(name, ".haul", 5) == 0);
	}
	listing_free(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static void (*const parsers[])(const char *) = {operand, endpoints, units};
	if (!n)
		return 0;
	char *text = malloc(n);
	CHECK(text);
	memcpy(text, p + 1, n - 1);
	text[n - 1] = 0;
	if (p[0] == '*')
		filters(text);
	else
		parsers[p[0] % (sizeof parsers / sizeof *parsers)](text);
	free(text);
	return 0;
}
