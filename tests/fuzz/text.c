/*
 * What a user types: operands, addresses, sizes, rates, durations, ranges. Nothing crashes, and what is
 * refused leaves nothing to free (leaks are found). Input: which parser u8, then the text up to its first
 * NUL.
 */
#include "fuzz.h"

#include "lib/units.h"
#include "lib/endpoint.h"
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

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static void (*const parsers[])(const char *) = {operand, endpoints, units};
	if (!n)
		return 0;
	char *text = malloc(n);
	CHECK(text);
	memcpy(text, p + 1, n - 1);
	text[n - 1] = 0;
	parsers[p[0] % (sizeof parsers / sizeof *parsers)](text);
	free(text);
	return 0;
}
