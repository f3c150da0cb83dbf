#include "lib/operand.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool operand_parse(const char *text, struct operand *out)
{
	size_t end = strlen(text);
	while (end > 0 && text[end - 1] == '/')
		end--;
	out->slash = text[end] == '/';
	size_t start = end;
	while (start > 0 && text[start - 1] != '/')
		start--;
	out->name = strndup(text + start, end - start);
	out->dir = start > 0 ? strndup(text, start) : strdup(end == 0 && out->slash ? "/" : ".");
	return out->name && out->dir;
}

void operand_free(struct operand *op)
{
	free(op->dir);
	free(op->name);
}

char *operand_real_name(const char *chdir_to, const char *text)
{
	char *full = NULL;
	if (asprintf(&full, "%s%s%s", text[0] == '/' ? "" : chdir_to, text[0] == '/' ? "" : "/", text) < 0)
		return NULL;
	char *real = realpath(full, NULL);
	free(full);
	char *name = real ? strdup(strrchr(real, '/') + 1) : NULL;
	free(real);
	return name;
}

void operand_subject(const char *text, const char *below, char *out, size_t cap)
{
	size_t n = strlen(text);
	while (n > 1 && text[n - 1] == '/')
		n--;
	if (*below)
		snprintf(out, cap, "%.*s%s%s", (int)n, text, !n || text[n - 1] == '/' ? "" : "/", below);
	else
		snprintf(out, cap, "%s", text);
}
