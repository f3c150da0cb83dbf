#include "lib/idmap.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Longer files are read to here: what is behind has numbers only. */
#define FILE_BYTES_MAX (4u << 20)

static const char *const files[] = {[IDMAP_USER] = "/etc/passwd", [IDMAP_GROUP] = "/etc/group"};

struct table {
	int fd;
	char *text;
	size_t len;
};

static struct table tables[2] = {{.fd = -1}, {.fd = -1}};
static pthread_once_t opened = PTHREAD_ONCE_INIT;
static pthread_once_t loaded = PTHREAD_ONCE_INIT;

static void open_files(void)
{
	for (size_t i = 0; i < 2; i++)
		tables[i].fd = open(files[i], O_RDONLY | O_CLOEXEC | O_NOCTTY);
}

void idmap_open(void)
{
	pthread_once(&opened, open_files);
}

/* A session has its descriptors from the listener, and shares their position with others. */
static void load_file(struct table *t)
{
	t->text = malloc(FILE_BYTES_MAX);
	while (t->text && t->len < FILE_BYTES_MAX) {
		ssize_t n = pread(t->fd, t->text + t->len, FILE_BYTES_MAX - t->len, (off_t)t->len);
		if (n <= 0)
			break;
		t->len += (size_t)n;
	}
	char *fit = t->text ? realloc(t->text, t->len + 1) : NULL;
	t->text = fit ? fit : t->text;
}

static void load_files(void)
{
	idmap_open();
	for (size_t i = 0; i < 2; i++)
		if (tables[i].fd >= 0)
			load_file(&tables[i]);
}

bool idmap_line(const char *line, size_t len, size_t *name_len, uint32_t *id)
{
	const char *end = line + len, *colon = memchr(line, ':', len);
	const char *second = colon ? memchr(colon + 1, ':', (size_t)(end - colon - 1)) : NULL;
	if (!second || colon == line || colon - line > IDMAP_NAME_MAX || *line == '#' || *line == '+' ||
	    *line == '-')
		return false;
	uint64_t number = 0;
	const char *at = second + 1;
	for (; at < end && *at >= '0' && *at <= '9' && number < UINT32_MAX; at++)
		number = 10 * number + (uint64_t)(*at - '0');
	if (at == second + 1 || (at < end && *at != ':') || number >= UINT32_MAX)
		return false;
	*name_len = (size_t)(colon - line);
	*id = (uint32_t)number;
	return true;
}

/* The first line that is it: of this name, or with name NULL of this number. */
static const char *find(enum idmap_kind kind, const char *name, size_t len, uint32_t *id, size_t *name_len)
{
	pthread_once(&loaded, load_files);
	const struct table *t = &tables[kind];
	for (size_t at = 0, n; at < t->len; at += n + 1) {
		const char *line = t->text + at, *nl = memchr(line, '\n', t->len - at);
		uint32_t number;
		n = nl ? (size_t)(nl - line) : t->len - at;
		if (!idmap_line(line, n, name_len, &number))
			continue;
		if (name ? *name_len == len && memcmp(line, name, len) == 0 : number == *id) {
			*id = number;
			return line;
		}
	}
	return NULL;
}

/* Entries come in runs of one owner: what was asked last is mostly asked again. */
struct answer {
	bool known, found;
	uint32_t id;
	size_t len;
	char name[IDMAP_NAME_MAX + 1];
};

static _Thread_local struct answer last_name[2], last_id[2];

bool idmap_name(enum idmap_kind kind, uint32_t id, char name[static IDMAP_NAME_MAX + 1])
{
	struct answer *last = &last_name[kind];
	if (!last->known || last->id != id) {
		const char *at = find(kind, NULL, 0, &id, &last->len);
		*last = (struct answer){.known = true, .found = at, .id = id, .len = at ? last->len : 0};
		memcpy(last->name, at ? at : "", last->len);
	}
	memcpy(name, last->name, last->len + 1);
	return last->found;
}

bool idmap_id(enum idmap_kind kind, const char *name, size_t len, uint32_t *id)
{
	struct answer *last = &last_id[kind];
	size_t name_len;
	if (!len || len > IDMAP_NAME_MAX)
		return false;
	if (!last->known || last->len != len || memcmp(last->name, name, len) != 0) {
		*last = (struct answer){.known = true, .len = len};
		memcpy(last->name, name, len);
		last->found = find(kind, name, len, &last->id, &name_len);
	}
	*id = last->found ? last->id : *id;
	return last->found;
}
