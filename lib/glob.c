#include "lib/glob.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* LITERAL, CLASS: one such character; STAR, STARS: a run without and with slashes; NEVER matches nothing;
 * SKIP3: the next three may be left out. */
enum token_kind { LITERAL, ONE, CLASS, STAR, STARS, SKIP3, NEVER };

struct token {
	uint8_t kind;
	uint8_t byte;	/* LITERAL */
	uint16_t class; /* CLASS: its index */
};

/* What of the path the pattern is held against. */
enum place {
	THE_NAME, /* the last component */
	THE_TOP,  /* all of it */
	THE_TAIL, /* as many components as the pattern has */
	ANYWHERE, /* what follows any slash, and all of it */
};

typedef uint64_t class_bits[4];

struct glob {
	enum place place;
	unsigned tail;
	bool dirs_only;
	bool plain;	  /* no wildcard: its tokens are the text */
	bool slash_first; /* `**` and a slash also match at the beginning */
	bool slash_last;  /* of a directory: three stars after a slash match the directory, too */
	size_t count, class_count;
	struct token *tokens; /* behind the classes; never more than characters */
	class_bits classes[];
};

/* ---- compiling ---- */

static void put(struct glob *g, enum token_kind kind, char byte)
{
	g->tokens[g->count++] = (struct token){.kind = (uint8_t)kind, .byte = (uint8_t)byte};
}

static void class_put(uint64_t *bits, unsigned from, unsigned to)
{
	for (unsigned c = from; c <= to; c++)
		bits[c / 64] |= UINT64_C(1) << c % 64;
}

static bool class_has(const uint64_t *bits, uint8_t c)
{
	return bits[c / 64] >> c % 64 & 1;
}

static const struct {
	const char *name, *ranges; /* pairs of characters */
} class_names[] = {
	{"alnum", "azAZ09"},   {"alpha", "azAZ"},   {"blank", "  \t\t"}, {"cntrl", "\1\37"},
	{"digit", "09"},       {"graph", "!~"},	    {"lower", "az"},	 {"print", " ~"},
	{"punct", "!/:@[`{~"}, {"space", "\t\r  "}, {"upper", "AZ"},	 {"xdigit", "09afAF"},
};

/* `[:name:]` at *p: its characters, and moves on; leaves p alone when it is none. False for an unknown name. */
static bool class_named(uint64_t *bits, const char **p, const char *end)
{
	if (end - *p < 2 || (*p)[0] != '[' || (*p)[1] != ':')
		return true;
	const char *name = *p + 2, *close = name;
	while (close < end && *close != ']')
		close++;
	if (close == end || close == name || close[-1] != ':')
		return true;
	size_t len = (size_t)(close - 1 - name);
	for (size_t i = 0; i < sizeof class_names / sizeof class_names[0]; i++) {
		if (strlen(class_names[i].name) != len || memcmp(class_names[i].name, name, len) != 0)
			continue;
		for (const char *r = class_names[i].ranges; *r; r += 2)
			class_put(bits, (uint8_t)r[0], (uint8_t)r[1]);
		*p = close + 1;
		return true;
	}
	return false;
}

/* One character of a class at *p, which may be escaped; moves on. False at the end of the text. */
static bool class_char(const char **p, const char *end, uint8_t *c)
{
	*p += *p < end && **p == '\\';
	if (*p >= end)
		return false;
	*c = (uint8_t) * (*p)++;
	return true;
}

/* A class, p behind its bracket: what follows it, NULL when it has no end. No class has a slash. */
static const char *class_parse(uint64_t *bits, const char *p, const char *end)
{
	bool none_of = p < end && (*p == '!' || *p == '^');
	bool first = true;
	for (p += none_of; p < end && (first || *p != ']'); first = false) {
		uint8_t from, to;
		const char *before = p;
		if (!class_named(bits, &p, end))
			return NULL;
		if (p != before)
			continue;
		if (!class_char(&p, end, &from))
			return NULL;
		to = from;
		if (p + 1 < end && p[0] == '-' && p[1] != ']') {
			p++;
			if (!class_char(&p, end, &to))
				return NULL;
		}
		class_put(bits, from,
			  from); /* also of a range that runs backwards, as rsync and git have it */
		class_put(bits, from, to);
	}
	for (size_t i = 0; none_of && i < 4; i++)
		bits[i] = ~bits[i];
	bits['/' / 64] &= ~(UINT64_C(1) << '/' % 64);
	return p < end ? p + 1 : NULL;
}

static const char *put_class(struct glob *g, const char *p, const char *end)
{
	put(g, CLASS, 0);
	g->tokens[g->count - 1].class = (uint16_t)g->class_count;
	const char *after = class_parse(g->classes[g->class_count++], p, end);
	if (!after)
		g->tokens[g->count - 1].kind = NEVER;
	return after ? after : end;
}

/* `**` of git: a whole component. p is behind the stars. */
static const char *put_git_stars(struct glob *g, const char *begin, const char *p, const char *end)
{
	const char *stars = p - 1;
	while (stars > begin && stars[-1] == '*')
		stars--;
	bool whole = (stars == begin || stars[-1] == '/') && (p == end || *p == '/');
	if (!whole) {
		put(g, STAR, 0);
		return p;
	}
	if (p == end) {
		put(g, STARS, 0);
		return p;
	}
	put(g, SKIP3, 0);
	put(g, STARS, 0);
	put(g, LITERAL, '/');
	return p + 1;
}

static const char *put_stars(struct glob *g, enum glob_dialect dialect, const char *begin, const char *p,
			     const char *end)
{
	const char *first = p;
	while (p < end && *p == '*')
		p++;
	if (dialect == GLOB_GIT && p - first > 1)
		return put_git_stars(g, begin, p, end);
	put(g, p - first > 1 ? STARS : STAR, 0);
	return p;
}

static void compile(struct glob *g, enum glob_dialect dialect, const char *p, const char *end)
{
	const char *begin = p;
	while (p < end) {
		char c = *p++;
		if (g->plain) {
			put(g, LITERAL, c);
		} else if (c == '*') {
			p = put_stars(g, dialect, begin, p - 1, end);
		} else if (c == '?') {
			put(g, ONE, 0);
		} else if (c == '[') {
			p = put_class(g, p, end);
		} else if (c == '\\') {
			put(g, p < end ? LITERAL : NEVER, p < end ? *p : 0);
			p += p < end;
		} else {
			put(g, LITERAL, c);
		}
	}
}

static size_t count_of(const char *p, const char *end, char c)
{
	size_t n = 0;
	for (; p < end; p++)
		n += *p == c;
	return n;
}

static bool any_of(const char *text, size_t len, const char *set)
{
	for (size_t i = 0; i < len; i++)
		if (strchr(set, text[i]))
			return true;
	return false;
}

/* Where the pattern is looked for; returns where it begins. */
static const char *place_rsync(struct glob *g, const char *text, const char *end)
{
	size_t len = (size_t)(end - text), slashes = count_of(text, end, '/');
	bool stars = memmem(text, len, "**", 2) != NULL;
	g->plain = !any_of(text, len, "*?[");
	g->slash_last = len >= 3 && memcmp(end - 3, "***", 3) == 0;
	g->tail = (unsigned)slashes + 1;
	g->slash_first = len >= 2 && memcmp(text, "**", 2) == 0;
	g->place = *text == '/'		? THE_TOP
		   : !slashes && !stars ? THE_NAME
		   : !stars		? THE_TAIL
		   : g->slash_first	? THE_TOP
					: ANYWHERE;
	return text + (*text == '/');
}

static const char *place_git(struct glob *g, const char *text, const char *end)
{
	g->plain = !any_of(text, (size_t)(end - text), "*?[\\");
	g->place = memchr(text, '/', (size_t)(end - text)) ? THE_TOP : THE_NAME;
	return text + (*text == '/');
}

struct glob *glob_new(enum glob_dialect dialect, const char *text, size_t len)
{
	size_t classes = count_of(text, text + len, '[');
	struct glob *g = calloc(1, sizeof *g + classes * sizeof *g->classes + len * sizeof *g->tokens);
	if (!g)
		return NULL;
	g->tokens = (void *)(g->classes + classes);
	g->dirs_only = len > 1 && text[len - 1] == '/';
	const char *end = text + len - g->dirs_only;
	if (len)
		text = dialect == GLOB_GIT ? place_git(g, text, end) : place_rsync(g, text, end);
	compile(g, dialect, text, end);
	return g;
}

void glob_free(struct glob *g)
{
	free(g);
}

/* ---- matching ---- */

/* The places in the pattern that the text read so far leads to, before the token of that number; all of them
 * lie between low and high. */
struct run {
	const struct glob *g;
	size_t low, high;
	bool on[GLOB_TEXT_MAX + 1];
};

static void light(struct run *r, size_t at)
{
	r->on[at] = true;
	r->low = at < r->low ? at : r->low;
	r->high = at > r->high ? at : r->high;
}

static bool dark(const struct run *r)
{
	return r->low > r->high;
}

/* Adds what is reached without another character. */
static void spread(struct run *r)
{
	for (size_t at = r->low; at <= r->high && at < r->g->count; at++) {
		enum token_kind kind = r->g->tokens[at].kind;
		if (!r->on[at] || (kind != STAR && kind != STARS && kind != SKIP3))
			continue;
		light(r, at + 1);
		if (kind == SKIP3)
			light(r, at + 3);
	}
}

/* Past one character. From the end: a token leads to itself or to the next, which is done with by then. */
static void feed(struct run *r, char c)
{
	size_t low = r->low, above = r->high + 1;
	r->low = r->g->count + 1;
	r->high = 0;
	while (above-- > low) {
		if (!r->on[above])
			continue;
		r->on[above] = false;
		if (above == r->g->count)
			continue;
		const struct token *t = &r->g->tokens[above];
		if (t->kind == STARS || (t->kind == STAR && c != '/'))
			light(r, above);
		else if ((t->kind == LITERAL && t->byte == (uint8_t)c) || (t->kind == ONE && c != '/') ||
			 (t->kind == CLASS && class_has(r->g->classes[t->class], (uint8_t)c)))
			light(r, above + 1);
	}
	if (r->g->place == ANYWHERE && c == '/')
		light(r, 0);
	spread(r);
}

/* Most texts differ from the pattern at one of its ends already. */
static bool ends_differ(const struct glob *g, const char *text, size_t len)
{
	const struct token *first = g->tokens, *last = g->tokens + g->count - 1;
	bool tied = g->place != ANYWHERE && !g->slash_first;
	return g->count && len &&
	       ((tied && first->kind == LITERAL && first->byte != (uint8_t)text[0]) ||
		(last->kind == LITERAL && last->byte != (uint8_t)text[len - 1]));
}

static bool run_match(const struct glob *g, const char *text, size_t len, bool is_dir)
{
	if (ends_differ(g, text, len))
		return false;
	struct run r;
	r.g = g;
	r.low = r.high = 0;
	memset(r.on, 0, g->count + 1);
	light(&r, 0);
	spread(&r);
	if (g->slash_first)
		feed(&r, '/');
	for (size_t i = 0; i < len && (!dark(&r) || g->place == ANYWHERE); i++)
		feed(&r, text[i]);
	if (g->slash_last && is_dir && (!dark(&r) || g->place == ANYWHERE))
		feed(&r, '/');
	return !dark(&r) && r.on[g->count];
}

/* The last n components of the path, NULL when it has fewer. */
static const char *tail_of(const char *path, size_t len, unsigned n)
{
	const char *p = path + len;
	while (p > path && (p[-1] != '/' || --n))
		p--;
	return p > path || n <= 1 ? p : NULL;
}

bool glob_match(const struct glob *g, const char *path, size_t len, bool is_dir)
{
	if (!len || (g->dirs_only && !is_dir))
		return false;
	const char *from = g->place == THE_NAME	  ? tail_of(path, len, 1)
			   : g->place == THE_TAIL ? tail_of(path, len, g->tail)
						  : path;
	if (!from)
		return false;
	len -= (size_t)(from - path);
	if (!g->plain)
		return run_match(g, from, len, is_dir);
	bool same = len == g->count;
	for (size_t i = 0; same && i < len; i++)
		same = g->tokens[i].byte == (uint8_t)from[i];
	return same;
}
