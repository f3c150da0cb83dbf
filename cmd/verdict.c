#include "cmd/verdict.h"

#include <inttypes.h>
#include <string.h>

#include "cmd/tty.h"
#include "lib/escape.h"
#include "lib/keytext.h"
#include "lib/units.h"

#define COMMAND_BYTES_MAX 1500u
#define WORD_BYTES	  512u
#define SAID_LINE_BYTES	  400u

#define AGAIN		  "the same command goes on where this run ended"

const char *verdict_next_step(enum haul_rc rc)
{
	static const char *const steps[HAUL_RC_COUNT] = {
		[HAUL_USAGE] = "mend the command, or the configuration it names",
		[HAUL_VERSION] = "bring both sides to one release (haul --version)",
		[HAUL_NO_SOURCE] = "see whether the sources are there, mounted and readable",
		[HAUL_POLICY] =
			"see what the receiver allows: its quota, --overwrite, the rights of this key",
		[HAUL_AUTH] = "compare the keys of both sides (haul key show)",
		[HAUL_LINK_LOST] = "see to the network if this comes often; " AGAIN,
		[HAUL_IO] = "see to the file that is named, then run the same command again",
		[HAUL_PROTOCOL] = "report it, with haul --version of both sides",
		[HAUL_NO_SPACE] = "make room at the receiver; " AGAIN,
		[HAUL_DIGEST] =
			"check the memory and the disks of both sides, then run the same command again",
		[HAUL_COMMAND] = "see why the command failed, then run the same command again",
		[HAUL_NO_RESUME] = "run the same command again: the stream begins anew",
		[HAUL_NO_MEMORY] = "see to the limit that is named, then run the same command again",
		[HAUL_PARTIAL] = "see to the files that are named, then run the same command again",
		[HAUL_CHANGED] = "nothing if the source is always in use (--vanished=ignore); the next run "
				 "sends the rest",
		[HAUL_DELETE_GUARD] = "see whether the source is complete",
		[HAUL_DEADLINE] = AGAIN,
		[HAUL_IDLE] = "see whether the receiver and its disk keep up; " AGAIN,
		[HAUL_CONNECT] = "see whether the receiver runs and can be reached; " AGAIN,
		[HAUL_BUSY] =
			"let the other run end, or see what it waits for; then run the same command again",
		[HAUL_SIGNAL] = AGAIN,
	};
	return (unsigned)rc < HAUL_RC_COUNT ? steps[rc] : steps[HAUL_PROTOCOL];
}

/* ---- what happened ---- */

static void note_bad(struct verdict *v, const struct event *ev)
{
	char path[VERDICT_NAME_BYTES / 2], why[VERDICT_NAME_BYTES / 4];
	if (v->bad++ >= VERDICT_NAMES_MAX)
		return;
	bool cut = escape_text(path, sizeof path, ev->u.file.path, ev->u.file.path_len) >= sizeof path;
	const char *text = ev->u.file.why ? ev->u.file.why : "";
	escape_text(why, sizeof why, text, strlen(text));
	snprintf(v->name[v->bad - 1], VERDICT_NAME_BYTES, "%s%s: %s%s%s%s%s", path, cut ? "..." : "",
		 file_state_name(ev->u.file.state), *why ? ": " : "", why, ev->u.file.sys ? ": " : "",
		 ev->u.file.sys ? strerror(ev->u.file.sys) : "");
}

void verdict_event(struct verdict *v, const struct event *ev)
{
	switch (ev->type) {
	case EV_FILE:
		if (ev->u.file.state == FILE_COMMITTED)
			v->committed_bytes += ev->u.file.size;
		else if (ev->u.file.state != FILE_SKIPPED && ev->u.file.state != FILE_PLANNED)
			note_bad(v, ev);
		break;
	case EV_DISCONNECT:
		v->lost++;
		break;
	case EV_RETRY:
		v->attempts++;
		break;
	case EV_WARN:
		v->warnings++;
		break;
	case EV_ERROR:
		if (ev->u.error.also)
			v->also = *ev->u.error.also;
		break;
	case EV_DONE:
		v->m = *ev->u.done.m;
		v->over = true;
		break;
	default:
		break;
	}
}

void verdict_said(struct verdict *v, const char *text, size_t len)
{
	size_t room = sizeof v->said - v->said_len;
	if (len > sizeof v->said) {
		text += len - sizeof v->said;
		len = sizeof v->said;
		v->said_more = true;
	}
	if (len > room) {
		size_t drop = len - room;
		memmove(v->said, v->said + drop, v->said_len - drop);
		v->said_len -= drop;
		v->said_more = true;
	}
	memcpy(v->said + v->said_len, text, len);
	v->said_len += len;
}

/* ---- the command ---- */

/* Where in word a command for a shell begins, which may hold anything, a password too; its length if nowhere. */
static size_t command_at(const char *before, const char *word)
{
	static const char *const heads[] = {"--from-cmd=", "--rsh=", "exec:"};
	size_t len = strlen(word);
	for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
		if (strncmp(word, heads[i], strlen(heads[i])) == 0)
			return strlen(heads[i]);
	if (strcmp(before, "--from-cmd") == 0 || strcmp(before, "--rsh") == 0)
		return 0;
	if (before[0] == '-' && before[1] != '-' && before[strlen(before) - 1] == 'e')
		return 0;
	if (word[0] == '-' && word[1] != '-') { /* a cluster that ends in -e CMD */
		size_t e = strcspn(word, "e");
		return e < len ? e + 1 : len;
	}
	return len;
}

/* Of a command only its name is shown. */
static size_t shown_length(const char *before, const char *word)
{
	size_t at = command_at(before, word);
	return at + strcspn(word + at, " \t\n=;|&<>");
}

/* A key by mistake: what stands before it is shown. */
static bool is_secret(const char *word, size_t *before)
{
	*before = word[0] == '-' ? strcspn(word, "=") : 0;
	*before += word[*before] == '=';
	return keytext_looks_like(KEY_PSK, word + *before) || keytext_looks_like(KEY_SECRET, word + *before);
}

/* One word, quoted if a shell would not take it as it stands. The columns it takes. */
static size_t put_word(FILE *to, const char *before, const char *word)
{
	char text[WORD_BYTES];
	size_t n, whole = shown_length(before, word);
	if (!is_secret(word, &n))
		n = whole;
	bool cut = word[n] != '\0';
	cut |= escape_text(text, sizeof text, word, n) >= sizeof text;
	size_t plain = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "_@%+=:,./~[]-");
	const char *quote = text[plain] || cut || !*text ? "'" : "";
	return (size_t)fprintf(to, " %s%s%s%s", quote, text, cut ? "..." : "", quote);
}

static void put_command(FILE *to, const char *const *words)
{
	const char *before = "";
	size_t n = 0;
	fputs("  command    haul", to);
	for (; words && *words && n < COMMAND_BYTES_MAX; before = *words++)
		n += put_word(to, before, *words);
	fputs(words && *words ? " ...\n" : "\n", to);
}

/* ---- the block ---- */

static void put_time(FILE *to, const char *what, time_t when)
{
	char text[40] = "?";
	struct tm tm;
	if (gmtime_r(&when, &tm))
		strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	fprintf(to, "  %-9s  %s\n", what, text);
}

static const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

static void put_figures(FILE *to, const struct verdict *v)
{
	const struct metrics *m = &v->m;
	char sent[UNITS_SIZE_BYTES];
	units_show_size(sent, m->bytes);
	fprintf(to, "  committed  %" PRIu64 " file%s, %" PRIu64 " byte%s\n", m->files, plural(m->files),
		v->committed_bytes, plural(v->committed_bytes));
	fprintf(to, "  sent       %" PRIu64 " byte%s (%s)\n", m->bytes, plural(m->bytes), sent);
	fprintf(to, "  skipped    %" PRIu64 " file%s\n", m->skipped, plural(m->skipped));
	fprintf(to, "  failed     %" PRIu64 "\n", v->bad);
	uint64_t named = v->bad < VERDICT_NAMES_MAX ? v->bad : VERDICT_NAMES_MAX;
	for (uint64_t i = 0; i < named; i++)
		fprintf(to, "    %s\n", v->name[i]);
	if (v->bad > named)
		fprintf(to, "    and %" PRIu64 " more\n", v->bad - named);
	fprintf(to, "  link       %" PRIu64 " reconnect%s, %" PRIu64 " lost, %" PRIu64 " failed attempt%s\n",
		m->reconnects, plural(m->reconnects), v->lost, v->attempts, plural(v->attempts));
	if (v->warnings)
		fprintf(to, "  warnings   %" PRIu64 "\n", v->warnings);
}

/* The last whole lines. */
static void put_said(FILE *to, const struct verdict *v)
{
	const char *end = v->said + v->said_len;
	while (end > v->said && end[-1] == '\n')
		end--;
	const char *line = end;
	unsigned lines = 0;
	while (line > v->said && (line[-1] != '\n' || ++lines < VERDICT_SAID_LINES))
		line--;
	if (line == end)
		return;
	fprintf(to, "  programs it started said%s:\n", line > v->said || v->said_more ? ", at the end" : "");
	while (line < end) {
		char text[SAID_LINE_BYTES];
		const char *next = memchr(line, '\n', (size_t)(end - line));
		size_t len = (size_t)((next ? next : end) - line);
		bool cut = escape_text(text, sizeof text, line, len) >= sizeof text;
		fprintf(to, "    %s%s\n", text, cut ? "..." : "");
		line += len + (next != NULL);
	}
}

static void put_also(FILE *to, const struct haul_err *also)
{
	char text[FAILURE_BYTES];
	if (also->rc == HAUL_OK)
		return;
	failure_text(text, also);
	fprintf(to, "  also       %s", text + strlen("haul: "));
}

void verdict_print(FILE *to, const struct verdict *v)
{
	char text[FAILURE_BYTES];
	failure_text(text, &v->err);
	fputs(text, to);
	put_also(to, &v->also);
	put_command(to, v->command);
	put_time(to, "started", v->started);
	put_time(to, "ended", v->ended);
	fprintf(to, "  seconds    %.1f\n", v->seconds);
	put_figures(to, v);
	put_said(to, v);
	fprintf(to, "  exit %d (%s): %s\n", haul_exit_status(&v->err), haul_rc_class(v->err.rc),
		haul_rc_text(v->err.rc));
	fprintf(to, "  next       %s\n", verdict_next_step(v->err.rc));
}
