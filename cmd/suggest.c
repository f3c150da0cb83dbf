#include "cmd/suggest.h"

#include <string.h>

#include "cmd/words.h"

/* Of short words too many are alike. */
static unsigned slips(size_t len)
{
	return len < 4 ? 0 : len < 6 ? 1 : 2;
}

const char *suggest_option(enum subcommand sub, const char *name, size_t len)
{
	const char *best = NULL;
	unsigned nearest = slips(len) + 1;
	for (size_t i = 0; i < OPTION_TOTAL; i++) {
		const struct option_row *row = &option_table[i];
		if (!row->name || !(row->subs & (unsigned)sub))
			continue;
		if (len >= 3 && strncmp(row->name, name, len) == 0)
			return row->name;
		unsigned far = words_distance(name, len, row->name);
		if (far < nearest) {
			nearest = far;
			best = row->name;
		}
	}
	return best;
}
