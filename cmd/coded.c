#include "cmd/coded.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/entropy.h"
#include "lib/units.h"

#define TYPED_MAX		 128u
#define ASKED_MAX		 3

#define WRONG(err, subject, ...) haul_fail(err, HAUL_USAGE, 0, subject, __VA_ARGS__)

/* The descriptor of --code-fd, which keyopts has checked. */
static int code_fd(const struct options *o)
{
	unsigned fd = 0;
	return units_count(o->cfg.code_fd, &fd) ? (int)fd : -1;
}

/* ---- telling ---- */

static enum haul_rc write_code(int fd, const char *text, struct haul_err *err)
{
	char line[CODE_TEXT_BYTES + 1];
	int n = snprintf(line, sizeof line, "%s\n", text);
	if (write(fd, line, (size_t)n) != n)
		haul_fail(err, HAUL_USAGE, errno, "--code-fd", "the code cannot be written to it");
	close(fd);
	sodium_memzero(line, sizeof line);
	return err->rc;
}

static enum haul_rc show(const struct options *o, const char *text, struct haul_err *err)
{
	if (o->cfg.json && !*o->cfg.json)
		return WRONG(err, "--code", "events go where the code would: use --json=FILE or --code-fd=N");
	if (!isatty(STDERR_FILENO))
		return WRONG(err, "--code", "no terminal to show the code at; --code-fd=N writes it to N");
	fprintf(stderr, "haul: code: %s\n", text);
	return HAUL_OK;
}

enum haul_rc code_tell(const struct options *o, char code[static CODE_BYTES], struct haul_err *err)
{
	uint8_t entropy[CODE_ENTROPY_BYTES];
	char text[CODE_TEXT_BYTES];
	entropy_fill(entropy, sizeof entropy);
	code_new(entropy, code);
	code_show(code, text);
	enum haul_rc rc = o->cfg.code_fd ? write_code(code_fd(o), text, err) : show(o, text, err);
	sodium_memzero(entropy, sizeof entropy);
	sodium_memzero(text, sizeof text);
	return rc;
}

/* ---- asking ---- */

/* One line; its length, or -1 when nothing can be read. Of a longer one the length tells: it is no code. */
static ssize_t read_line(int fd, char line[static TYPED_MAX])
{
	size_t n = 0;
	while (n < TYPED_MAX) {
		ssize_t got = read(fd, line + n, 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0 || line[n] == '\n')
			break;
		n++;
	}
	return (ssize_t)n;
}

static const char *read_code(int fd, char code[static CODE_BYTES])
{
	char line[TYPED_MAX];
	ssize_t n = read_line(fd, line);
	const char *why = n < 0 ? "the code cannot be read" : code_parse(line, (size_t)n, code);
	sodium_memzero(line, sizeof line);
	return why;
}

static enum haul_rc ask_terminal(char code[static CODE_BYTES], struct haul_err *err)
{
	int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (tty < 0)
		return WRONG(err, "--code",
			     "no terminal to ask for the code at; --code-fd=N reads it from N");
	const char *why = NULL;
	for (int i = 0; i < ASKED_MAX && (i == 0 || why); i++) {
		if (why)
			dprintf(tty, "haul: %s\n", why);
		dprintf(tty, "haul: code: ");
		why = read_code(tty, code);
	}
	close(tty);
	return why ? WRONG(err, "--code", "%s", why) : HAUL_OK;
}

enum haul_rc code_ask(const struct options *o, char code[static CODE_BYTES], struct haul_err *err)
{
	if (!o->cfg.code_fd)
		return ask_terminal(code, err);
	int fd = code_fd(o);
	const char *why = read_code(fd, code);
	close(fd);
	return why ? WRONG(err, "--code-fd", "%s", why) : HAUL_OK;
}
