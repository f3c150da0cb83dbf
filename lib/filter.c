#include "lib/filter.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/glob.h"

struct rule {
	struct glob *glob;
	enum verdict verdict;
};

struct filter {
	struct rule *rules;
	size_t count, room;
	bool last_wins;
};

struct filter *filter_new(void)
{
	return calloc(1, sizeof(struct filter));
}

static void forget(struct filter *f)
{
	while (f->count)
		glob_free(f->rules[--f->count].glob);
}

void filter_free(struct filter *f)
{
	if (!f)
		return;
	forget(f);
	free(f->rules);
	free(f);
}

static bool rule_add(struct filter *f, enum glob_dialect dialect, enum verdict verdict, const char *text,
		     size_t len)
{
	if (f->count == f->room) {
		size_t room = f->room ? f->room * 2 : 8;
		struct rule *rules = reallocarray(f->rules, room, sizeof *rules);
		if (!rules)
			return false;
		f->rules = rules;
		f->room = room;
	}
	struct glob *glob = glob_new(dialect, text, len);
	if (!glob)
		return false;
	f->rules[f->count++] = (struct rule){.glob = glob, .verdict = verdict};
	return true;
}

enum haul_rc filter_add(struct filter *f, bool include, const char *pattern, size_t len, const char *subject,
			struct haul_err *err)
{
	if (len == 1 && pattern[0] == '!') {
		forget(f);
		return HAUL_OK;
	}
	if (len >= 2 && (pattern[0] == '+' || pattern[0] == '-') && pattern[1] == ' ') {
		include = pattern[0] == '+';
		pattern += 2;
		len -= 2;
	}
	if (len == 0)
		return haul_fail(err, HAUL_USAGE, 0, subject, "a pattern is empty");
	if (len > GLOB_TEXT_MAX)
		return haul_fail(err, HAUL_USAGE, 0, subject, "a pattern is longer than %d bytes: %.40s...",
				 GLOB_TEXT_MAX, pattern);
	if (!rule_add(f, GLOB_RSYNC, include ? FILTER_TAKE : FILTER_LEAVE, pattern, len))
		return haul_fail(err, HAUL_NO_MEMORY, ENOMEM, subject, "out of memory");
	return HAUL_OK;
}

/* The line at *text, without its end; moves on. False when nothing is left. */
static bool next_line(const char **text, const char *end, char ends, const char **line, size_t *len)
{
	if (*text >= end)
		return false;
	const char *stop = memchr(*text, ends, (size_t)(end - *text));
	*line = *text;
	*text = stop ? stop + 1 : end;
	*len = (size_t)((stop ? stop : end) - *line);
	if (ends == '\n' && *len && (*line)[*len - 1] == '\r')
		--*len;
	return true;
}

enum haul_rc filter_add_text(struct filter *f, const char *text, size_t len, bool nul, const char *subject,
			     struct haul_err *err)
{
	const char *line, *end = text + len;
	size_t n, number = 0;
	if (!nul && memchr(text, '\0', len))
		return haul_fail(err, HAUL_USAGE, 0, subject,
				 "has a NUL byte in it: -0 is missing, or it is no text");
	while (next_line(&text, end, nul ? '\0' : '\n', &line, &n)) {
		number++;
		if (n == 0 || (!nul && (*line == '#' || *line == ';')))
			continue;
		if (filter_add(f, false, line, n, subject, err)) {
			snprintf(err->subject, sizeof err->subject, "%s:%zu", subject, number);
			return err->rc;
		}
	}
	return HAUL_OK;
}

/* Blanks at the end do not count, unless a backslash is before the first of them. */
static size_t without_blanks(const char *line, size_t len)
{
	size_t n = len;
	while (n && line[n - 1] == ' ')
		n--;
	size_t backslashes = 0;
	while (backslashes < n && line[n - 1 - backslashes] == '\\')
		backslashes++;
	return n < len && backslashes % 2 ? n + 1 : n;
}

bool filter_add_gitignore(struct filter *f, const char *text, size_t len)
{
	const char *line, *end = text + len;
	size_t n;
	f->last_wins = true;
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) /* what some editors put in front of UTF-8 */
		text += 3;
	while (next_line(&text, end, '\n', &line, &n)) {
		n = without_blanks(line, n);
		bool take = n && *line == '!';
		line += take;
		n -= take;
		if (n == 0 || n > GLOB_TEXT_MAX || (!take && *line == '#'))
			continue;
		if (!rule_add(f, GLOB_GIT, take ? FILTER_TAKE : FILTER_LEAVE, line, n))
			return false;
	}
	return true;
}

enum verdict filter_ask(const struct filter *f, const char *path, size_t len, bool is_dir)
{
	for (size_t i = 0; i < f->count; i++) {
		const struct rule *r = &f->rules[f->last_wins ? f->count - 1 - i : i];
		if (glob_match(r->glob, path, len, is_dir))
			return r->verdict;
	}
	return FILTER_NONE;
}
