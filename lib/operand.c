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

bool operand_is_content(const char *text)
{
	size_t n = strlen(text);
	while (n > 1 && text[n - 1] == '/')
		n--;
	return n && text[n - 1] == '.' && (n == 1 || text[n - 2] == '/');
}

/* The name a SRC arrives under, the caller's; NULL when it has none, or none that can be told. */
static char *arrival_name(const char *chdir_to, const char *text)
{
	struct operand op;
	char *name = NULL;
	if (operand_is_content(text) || strcmp(text, "-") == 0)
		return NULL;
	if (operand_parse(text, &op))
		name = strcmp(op.name, "..") == 0 ? operand_real_name(chdir_to, text) : strdup(op.name);
	operand_free(&op);
	return name;
}

struct arrival {
	char *name;
	size_t index;
};

static int by_name(const void *a, const void *b)
{
	const struct arrival *x = a, *y = b;
	int c = strcmp(x->name, y->name);
	return c ? c : x->index < y->index ? -1 : 1;
}

size_t operand_clash(const char *chdir_to, const char *const *texts, size_t count, size_t *earlier)
{
	struct arrival *all = calloc(count + 1, sizeof *all);
	size_t n = 0, clash = count;
	for (size_t i = 0; all && i < count; i++)
		if ((all[n].name = arrival_name(chdir_to, texts[i])))
			all[n++].index = i;
	if (n)
		qsort(all, n, sizeof *all, by_name);
	for (size_t i = 1; i < n; i++) {
		if (strcmp(all[i - 1].name, all[i].name) != 0 || all[i].index >= clash)
			continue;
		*earlier = all[i - 1].index;
		clash = all[i].index;
	}
	for (size_t i = 0; i < n; i++)
		free(all[i].name);
	free(all);
	return clash;
}
