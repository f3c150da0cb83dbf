#include "cmd/filteropts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/filter.h"
#include "lib/listing.h"
#include "lib/units.h"

#define RULES_BYTES_MAX (UINT64_C(16) << 20)
#define FIRST_BYTES	(UINT64_C(64) << 10)

struct text {
	char *p; /* the caller's to free, never NULL when read */
	size_t len;
};

/* All that fd gives, up to most bytes. */
static enum haul_rc read_all(int fd, const char *file, uint64_t most, struct text *out, struct haul_err *err)
{
	size_t room = 0;
	for (ssize_t got = 1; got;) {
		if (out->len == room) {
			room = room ? room * 2 : FIRST_BYTES;
			char *p = realloc(out->p, room);
			if (!p)
				return haul_fail(err, HAUL_NO_MEMORY, ENOMEM, file, "out of memory");
			out->p = p;
		}
		got = read(fd, out->p + out->len, room - out->len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return haul_fail(err, HAUL_IO, errno, file, "cannot be read");
		out->len += (size_t)got;
		if (out->len > most) {
			char size[UNITS_SIZE_BYTES];
			units_show_size(size, most);
			return haul_fail(err, HAUL_NO_MEMORY, 0, file, "is larger than %s", size);
		}
	}
	return HAUL_OK;
}

/* file may be -, standard input. */
static enum haul_rc read_file(const char *file, uint64_t most, struct text *out, struct haul_err *err)
{
	bool standard = strcmp(file, "-") == 0;
	int fd = standard ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC);
	*out = (struct text){0};
	if (fd < 0)
		return haul_fail(err, HAUL_IO, errno, file, "cannot be opened");
	enum haul_rc rc = read_all(fd, file, most, out, err);
	if (!standard)
		close(fd);
	if (rc) {
		free(out->p);
		out->p = NULL;
	}
	return rc;
}

static enum haul_rc add_file(struct options *o, const char *file, struct haul_err *err)
{
	struct text text;
	if (read_file(file, RULES_BYTES_MAX, &text, err))
		return err->rc;
	enum haul_rc rc = filter_add_text(o->filter, text.p, text.len, o->cfg.from0, file, err);
	free(text.p);
	return rc;
}

static enum haul_rc load_rules(struct options *o, struct haul_err *err)
{
	o->filter = filter_new();
	if (!o->filter)
		return haul_fail(err, HAUL_NO_MEMORY, ENOMEM, NULL, "out of memory");
	for (size_t i = 0; i < o->rule_count; i++) {
		const struct rule_given *r = &o->rules[i];
		bool include = r->id == OPTION_include;
		enum haul_rc rc = r->id == OPTION_exclude_from
					  ? add_file(o, r->value, err)
					  : filter_add(o->filter, include, r->value, strlen(r->value),
						       include ? "--include" : "--exclude", err);
		if (rc)
			return rc;
	}
	o->cfg.filter = o->filter;
	return HAUL_OK;
}

static enum haul_rc load_listing(struct options *o, struct haul_err *err)
{
	struct text text;
	if (read_file(o->cfg.files_from, LISTING_BYTES_MAX, &text, err) ||
	    listing_new(text.p, text.len, o->cfg.from0, o->cfg.files_from, &o->listing, err))
		return err->rc;
	o->cfg.names = o->listing;
	return HAUL_OK;
}

/* Standard input can be read once: as a SRC, a list, or for the conversation. */
static enum haul_rc take_standard_input(const char **taken, const char *option, const char *file,
					struct haul_err *err)
{
	if (!file || strcmp(file, "-") != 0)
		return HAUL_OK;
	if (*taken)
		return haul_fail(err, HAUL_USAGE, 0, option, "standard input is taken by %s already", *taken);
	*taken = option;
	return HAUL_OK;
}

static enum haul_rc check_standard_input(const struct options *o, struct haul_err *err)
{
	const char *taken = o->peer && strcmp(o->peer, "stdio:") == 0 ? o->peer : NULL;
	if (o->cfg.listen && strcmp(o->cfg.listen, "stdio:") == 0)
		taken = "--listen";
	for (size_t i = 0; i < o->source_count; i++)
		taken = strcmp(o->operands[i], "-") == 0 ? "the SRC" : taken;
	if (take_standard_input(&taken, "--files-from", o->cfg.files_from, err))
		return err->rc;
	for (size_t i = 0; i < o->rule_count; i++)
		if (o->rules[i].id == OPTION_exclude_from &&
		    take_standard_input(&taken, "--exclude-from", o->rules[i].value, err))
			return err->rc;
	return HAUL_OK;
}

enum haul_rc filteropts_load(struct options *o, struct haul_err *err)
{
	if (check_standard_input(o, err) || (o->rule_count && load_rules(o, err)) ||
	    (o->cfg.files_from && load_listing(o, err)))
		return err->rc;
	return HAUL_OK;
}
