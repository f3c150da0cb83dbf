/* Words are split in place, in a copy of the text; a table says what they set. */
#include "lib/peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/beneath.h"
#include "lib/config.h"
#include "lib/keyfile.h"
#include "lib/units.h"

#define BLANKS	   " \t"
#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._@+-"

/* Setters return NULL or why the value is none. */
static const char *set_name(struct peer *p, const char *value)
{
	if (strlen(value) > PEER_NAME_MAX || value[strspn(value, NAME_CHARS)])
		return "takes up to 64 of A-Z a-z 0-9 . _ @ + -";
	p->name = value;
	return NULL;
}

static const char *set_dir(struct peer *p, const char *value)
{
	p->dir = value;
	return strcmp(value, ".") == 0 ? NULL : root_name_refused(value, strlen(value));
}

static const char *set_max_bytes(struct peer *p, const char *value)
{
	return units_size(value, &p->max_bytes) && p->max_bytes ? NULL
								: "takes a size (like 512k, 64M, 1.5G)";
}

static const char *set_max_sessions(struct peer *p, const char *value)
{
	return units_count(value, &p->max_sessions) && p->max_sessions ? NULL : "takes a count from 1 on";
}

static const char *set_no_overwrite(struct peer *p, const char *value)
{
	(void)value;
	p->no_overwrite = true;
	return NULL;
}

static const char *set_read_only(struct peer *p, const char *value)
{
	(void)value;
	p->read_only = true;
	return NULL;
}

static const struct {
	const char *word;
	bool value, needed;
	const char *(*set)(struct peer *p, const char *value);
} rights[] = {
	{"name", true, true, set_name},
	{"dir", true, true, set_dir},
	{"max-bytes", true, false, set_max_bytes},
	{"max-sessions", true, false, set_max_sessions},
	{"no-overwrite", false, false, set_no_overwrite},
	{"ro", false, false, set_read_only},
};
#define RIGHTS	 (sizeof rights / sizeof *rights)

#define BAD(...) haul_fail(err, HAUL_USAGE, 0, subject, __VA_ARGS__)

static enum haul_rc take_word(struct peer *p, char *word, unsigned *seen, const char *subject,
			      struct haul_err *err)
{
	char *value = strchr(word, '=');
	if (value)
		*value++ = '\0';
	for (size_t i = 0; i < RIGHTS; i++) {
		if (strcmp(rights[i].word, word) != 0)
			continue;
		if (*seen & 1u << i)
			return BAD("%s is there twice", word);
		*seen |= 1u << i;
		if (rights[i].value && (!value || !*value))
			return BAD("%s needs a value: %s=...", word, word);
		if (!rights[i].value && value)
			return BAD("%s takes no value", word);
		const char *why = rights[i].set(p, value);
		return why ? BAD("%s=%.100s: %s", word, value, why) : HAUL_OK;
	}
	return BAD("%.100s is none of name, dir, max-bytes, max-sessions, no-overwrite, ro", word);
}

static enum haul_rc parse_line(struct peer *p, char *line, const char *subject, struct haul_err *err)
{
	unsigned seen = 0;
	enum key_kind kind;
	*p = (struct peer){.max_bytes = SIZE_UNSET};
	size_t key = strcspn(line, BLANKS);
	key += strspn(line + key, BLANKS);
	key += strcspn(line + key, BLANKS);
	char *rest = line + key + (line[key] != '\0');
	line[key] = '\0';
	if (keytext_decode(line, key, subject, &kind, p->pub, err) != HAUL_OK ||
	    keytext_expect(KEY_PUB, kind, subject, err) != HAUL_OK)
		return err->rc;
	for (char *save = NULL, *word = strtok_r(rest, BLANKS, &save); word;
	     word = strtok_r(NULL, BLANKS, &save))
		if (take_word(p, word, &seen, subject, err) != HAUL_OK)
			return err->rc;
	for (size_t i = 0; i < RIGHTS; i++)
		if (rights[i].needed && !(seen & 1u << i))
			return BAD("%s=... is missing", rights[i].word);
	return HAUL_OK;
}

static enum haul_rc check_new(const struct peers *p, const struct peer *last, const char *subject,
			      struct haul_err *err)
{
	for (size_t i = 0; i < p->count; i++) {
		if (memcmp(p->peer[i].pub, last->pub, KEY_BYTES) == 0)
			return BAD("the key of %s again", p->peer[i].name);
		if (strcmp(p->peer[i].name, last->name) == 0)
			return BAD("the name %s again", last->name);
	}
	return HAUL_OK;
}

static enum haul_rc add_line(struct peers *p, char *line, const char *subject, struct haul_err *err)
{
	if (p->count == PEERS_MAX)
		return BAD("more than %u peers", PEERS_MAX);
	struct peer *more = reallocarray(p->peer, p->count + 1, sizeof *more);
	if (!more)
		return haul_fail(err, HAUL_NO_MEMORY, 0, subject, "out of memory");
	p->peer = more;
	if (parse_line(&more[p->count], line, subject, err) == HAUL_OK &&
	    check_new(p, &more[p->count], subject, err) == HAUL_OK)
		p->count++;
	return err->rc;
}

static enum haul_rc parse_lines(struct peers *p, const char *path, char *text, struct haul_err *err)
{
	unsigned number = 1;
	for (char *line = text; line; number++) {
		char subject[HAUL_SUBJECT_MAX];
		char *end = strchr(line, '\n');
		if (end)
			*end++ = '\0';
		snprintf(subject, sizeof subject, "%.480s:%u", path, number);
		char *word = line + strspn(line, BLANKS);
		if (strlen(line) > PEERS_LINE_MAX)
			return BAD("longer than the %u bytes a line may have", PEERS_LINE_MAX);
		if (*word && *word != '#' && add_line(p, word, subject, err) != HAUL_OK)
			return err->rc;
		line = end;
	}
	return p->count ? HAUL_OK : haul_fail(err, HAUL_USAGE, 0, path, "authorises nobody");
}

enum haul_rc peers_parse(struct peers *p, const char *path, const char *text, size_t len,
			 struct haul_err *err)
{
	*p = (struct peers){0};
	if (len > PEERS_FILE_MAX)
		return haul_fail(err, HAUL_USAGE, 0, path, "longer than the %u bytes it may have",
				 PEERS_FILE_MAX);
	if (memchr(text, '\0', len))
		return haul_fail(err, HAUL_USAGE, 0, path, "not a text: it holds a NUL");
	p->text = strndup(text, len);
	if (!p->text)
		return haul_fail(err, HAUL_NO_MEMORY, 0, path, "out of memory");
	enum haul_rc rc = parse_lines(p, path, p->text, err);
	if (rc)
		peers_free(p);
	return rc;
}

enum haul_rc peers_load(struct peers *p, const char *path, struct haul_err *err)
{
	struct keyfile f;
	size_t len = 0;
	char *text = malloc(PEERS_FILE_MAX);
	*p = (struct peers){0};
	if (!text)
		return haul_fail(err, HAUL_NO_MEMORY, 0, path, "out of memory");
	enum haul_rc rc = keyfile_open(&f, path, err);
	if (rc == HAUL_OK)
		rc = keyfile_check(&f, false, err);
	if (rc == HAUL_OK)
		rc = keyfile_read(&f, text, PEERS_FILE_MAX, &len, err);
	if (rc == HAUL_OK)
		rc = peers_parse(p, path, text, len, err);
	keyfile_close(&f);
	free(text);
	return rc;
}

void peers_free(struct peers *p)
{
	free(p->peer);
	free(p->text);
	*p = (struct peers){0};
}

const struct peer *peers_find(const struct peers *p, const uint8_t pub[static KEY_BYTES])
{
	for (size_t i = 0; i < p->count; i++)
		if (memcmp(p->peer[i].pub, pub, KEY_BYTES) == 0)
			return &p->peer[i];
	return NULL;
}
