#include "cmd/words.h"

#include <ctype.h>
#include <limits.h>
#include <string.h>

unsigned words_distance(const char *a, size_t a_len, const char *b)
{
	enum { MAX = 31 };
	size_t b_len = strlen(b);
	unsigned d[MAX + 1][MAX + 1];
	if (a_len > MAX || b_len > MAX)
		return UINT_MAX;
	for (size_t i = 0; i <= a_len; i++)
		d[i][0] = (unsigned)i;
	for (size_t j = 0; j <= b_len; j++)
		d[0][j] = (unsigned)j;
	for (size_t i = 1; i <= a_len; i++)
		for (size_t j = 1; j <= b_len; j++) {
			unsigned best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
			best = d[i - 1][j] + 1 < best ? d[i - 1][j] + 1 : best;
			best = d[i][j - 1] + 1 < best ? d[i][j - 1] + 1 : best;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    d[i - 2][j - 2] + 1 < best)
				best = d[i - 2][j - 2] + 1;
			d[i][j] = best;
		}
	return d[a_len][b_len];
}

bool words_split(char *text, char **word)
{
	char *in = text, *out = text;
	size_t count = 0;
	for (;;) {
		while (isspace((unsigned char)*in))
			in++;
		if (!*in)
			break;
		word[count++] = out;
		char quote = 0;
		while (*in && (quote || !isspace((unsigned char)*in))) {
			if (*in == quote) {
				quote = 0;
				in++;
			} else if (!quote && (*in == '\'' || *in == '"')) {
				quote = *in++;
			} else if (*in == '\\' && quote != '\'' && in[1]) {
				in++;
				if (quote && *in != '"' && *in != '\\')
					*out++ = '\\';
				*out++ = *in++;
			} else {
				*out++ = *in++;
			}
		}
		if (quote)
			return false;
		in += *in != '\0'; /* out may be about to overwrite the space */
		*out++ = '\0';
	}
	word[count] = NULL;
	return true;
}
