#include "lib/units.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "lib/config.h"

#define DURATION_MAX_MS (UINT64_C(36500) * 86400000) /* times 10^6 still fits 64 bits, for nanoseconds */

/* Reads "12" or "1.5": digits before the point and millionths after it. False if it is none or too large. */
static bool scan_number(const char *text, uint64_t *whole, uint64_t *micro, const char **rest)
{
	if (!isdigit((unsigned char)*text))
		return false;
	*whole = *micro = 0;
	for (; isdigit((unsigned char)*text); text++)
		if (__builtin_mul_overflow(*whole, 10u, whole) ||
		    __builtin_add_overflow(*whole, (uint64_t)(*text - '0'), whole))
			return false;
	if (*text == '.') {
		if (!isdigit((unsigned char)*++text))
			return false;
		uint64_t weight = 100000;
		for (; isdigit((unsigned char)*text); text++, weight /= 10) {
			if (!weight)
				return false;
			*micro += weight * (uint64_t)(*text - '0');
		}
	}
	*rest = text;
	return true;
}

static bool scale(uint64_t whole, uint64_t micro, uint64_t unit, uint64_t max, uint64_t *out)
{
	return !__builtin_mul_overflow(whole, unit, out) &&
	       !__builtin_add_overflow(*out, micro * unit / 1000000, out) && *out <= max;
}

/* Reads a size unit; the longest form is "KiB". */
static bool size_unit(const char *text, uint64_t *unit, const char **rest)
{
	static const char letters[] = "kmgt";
	const char *found = *text ? strchr(letters, tolower((unsigned char)*text)) : NULL;
	*unit = 1;
	if (!found) {
		*rest = text + (*text == 'B');
		return true;
	}
	unsigned power = (unsigned)(found - letters) + 1;
	bool decimal = text[1] == 'B';
	for (; power > 0; power--)
		*unit *= decimal ? 1000 : 1024;
	*rest = text + 1 + (decimal ? 1 : strncmp(text + 1, "iB", 2) == 0 ? 2 : 0);
	return true;
}

static bool size_and_rest(const char *text, uint64_t *out, const char **rest)
{
	uint64_t whole, micro, unit;
	return scan_number(text, &whole, &micro, rest) && size_unit(*rest, &unit, rest) &&
	       scale(whole, micro, unit, INT64_MAX, out);
}

bool units_size(const char *text, uint64_t *out)
{
	const char *rest;
	return size_and_rest(text, out, &rest) && *rest == '\0';
}

bool units_rate(const char *text, uint64_t *out)
{
	const char *rest;
	return size_and_rest(text, out, &rest) && (*rest == '\0' || strcmp(rest, "/s") == 0);
}

bool units_duration(const char *text, uint64_t *out)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
	uint64_t whole, micro;
	const char *rest;

	if (strcmp(text, "inf") == 0) {
		*out = DURATION_INF;
		return true;
	}
	if (!scan_number(text, &whole, &micro, &rest))
		return false;
	for (size_t i = 0; i < sizeof units / sizeof *units; i++)
		if (strcmp(rest, units[i].name) == 0)
			return scale(whole, micro, units[i].ms, DURATION_MAX_MS, out);
	return false;
}

bool units_count(const char *text, unsigned *out)
{
	uint64_t whole, micro;
	const char *rest;
	if (!scan_number(text, &whole, &micro, &rest) || strchr(text, '.') || *rest || whole > UINT_MAX)
		return false;
	*out = (unsigned)whole;
	return true;
}

bool units_range(const char *text, char low[static 32], char high[static 32])
{
	const char *dots = strstr(text, "..");
	size_t n = dots ? (size_t)(dots - text) : strlen(text);
	const char *second = dots ? dots + 2 : text;
	if (n >= 32 || strlen(second) >= 32)
		return false;
	memcpy(low, text, n);
	low[n] = '\0';
	strcpy(high, second);
	return true;
}

void units_show_size(char out[static UNITS_SIZE_BYTES], uint64_t n)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	size_t u = 0;
	double v = (double)n;
	for (; v >= 999.5 && u + 1 < sizeof units / sizeof *units; u++)
		v /= 1024;
	snprintf(out, UNITS_SIZE_BYTES, "%.*f %s",
		 u == 0 || v >= 99.95 ? 0
		 : v >= 9.995	      ? 1
				      : 2,
		 v, units[u]);
}
