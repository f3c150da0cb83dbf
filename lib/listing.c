#include "lib/listing.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/beneath.h"

struct listing {
	char *text;
	uint32_t *at; /* where in text each name begins */
	size_t count;
};

/* The end of a name is before a slash, and a slash before everything else: what is in a directory follows it. */
static unsigned rank(char c)
{
	return c == '\0' ? 0 : c == '/' ? 1 : (unsigned)(unsigned char)c + 1;
}

static int by_tree(const void *a, const void *b, void *ctx)
{
	const char *text = ctx, *x = text + *(const uint32_t *)a, *y = text + *(const uint32_t *)b;
	while (*x && *x == *y)
		x++, y++;
	return (int)rank(*x) - (int)rank(*y);
}

/* In place; ends with a NUL byte. */
static void normalise(char *name)
{
	char *to = name;
	for (const char *from = name; *from;) {
		size_t n = strcspn(from, "/");
		if (n && !(n == 1 && *from == '.')) {
			if (to > name)
				*to++ = '/';
			memmove(to, from, n);
			to += n;
		}
		from += n + (from[n] == '/');
	}
	*to = '\0';
}

/* Cuts the text into names: NUL bytes at their ends. How many there are at most. */
static enum haul_rc cut(char *text, size_t len, bool nul, const char *subject, size_t *names,
			struct haul_err *err)
{
	if (!nul && memchr(text, '\0', len))
		return haul_fail(err, HAUL_USAGE, 0, subject,
				 "has a NUL byte in it: -0 is missing, or it is no text");
	text[len] = nul ? '\0' : '\n';
	*names = 0;
	for (char *p = text, *end = text + len; p < end;) {
		char *stop = memchr(p, nul ? '\0' : '\n', (size_t)(end - p) + 1);
		if (!nul && stop > p && stop[-1] == '\r')
			stop[-1] = '\0';
		*stop = '\0';
		if (stop - p > ROOT_PATH_MAX)
			return haul_fail(err, HAUL_USAGE, 0, subject,
					 "a name is longer than %d bytes: %.40s...", ROOT_PATH_MAX, p);
		*names += *p != '\0';
		p = stop + 1;
	}
	return HAUL_OK;
}

static void index_names(struct listing *l, size_t len)
{
	for (char *p = l->text, *end = l->text + len; p < end;) {
		size_t n = strlen(p);
		if (n) {
			l->at[l->count++] = (uint32_t)(p - l->text);
			normalise(p);
		}
		p += n + 1;
	}
}

static void drop_doubles(struct listing *l)
{
	size_t kept = 0;
	for (size_t i = 0; i < l->count; i++)
		if (kept == 0 || strcmp(listing_name(l, kept - 1), l->text + l->at[i]) != 0)
			l->at[kept++] = l->at[i];
	l->count = kept;
}

enum haul_rc listing_new(char *text, size_t len, bool nul, const char *subject, struct listing **out,
			 struct haul_err *err)
{
	size_t names = 0;
	*out = NULL;
	struct listing *l = calloc(1, sizeof *l);
	if (!l) {
		free(text);
		return haul_fail(err, HAUL_NO_MEMORY, ENOMEM, subject, "out of memory");
	}
	l->text = text;
	if (cut(text, len, nul, subject, &names, err)) {
		listing_free(l);
		return err->rc;
	}
	l->at = calloc(names + 1, sizeof *l->at);
	if (!l->at) {
		listing_free(l);
		return haul_fail(err, HAUL_NO_MEMORY, ENOMEM, subject, "no memory for %zu names", names);
	}
	index_names(l, len);
	qsort_r(l->at, l->count, sizeof *l->at, by_tree, l->text);
	drop_doubles(l);
	*out = l;
	return HAUL_OK;
}

void listing_free(struct listing *l)
{
	if (!l)
		return;
	free(l->text);
	free(l->at);
	free(l);
}

size_t listing_count(const struct listing *l)
{
	return l->count;
}

const char *listing_name(const struct listing *l, size_t i)
{
	return l->text + l->at[i];
}

size_t listing_group(const struct listing *l, size_t i, size_t end, size_t below)
{
	const char *name = listing_name(l, i) + below;
	size_t n = strcspn(name, "/");
	do
		i++;
	while (i < end && strncmp(listing_name(l, i) + below, name, n) == 0 &&
	       listing_name(l, i)[below + n] == '/');
	return i;
}

bool listing_leads_up(const char *name)
{
	while (*name) {
		size_t n = strcspn(name, "/");
		if (n == 2 && name[0] == '.' && name[1] == '.')
			return true;
		name += n + (name[n] == '/');
	}
	return false;
}
