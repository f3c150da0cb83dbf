/*
 * Prints the generated parts of man/haul-wire.5 (see tests/lint/wireman.sh): the frames of wire/frames.def,
 * the reasons of lib/err.h and wire/err.h, and the limits of wire/limits.h.
 */
#include <stdio.h>
#include <string.h>

#include "lib/err.h"
#include "wire/err.h"
#include "wire/limits.h"

static unsigned fields; /* of the frame being printed */

static void text(const char *doc)
{
	for (const char *p = doc; *p; p++)
		printf(*p == '\\' ? "\\e" : "%c", *p);
	putchar('\n');
}

static void open_frame(const char *name, int id, const char *class, const char *doc)
{
	if (id)
		printf(".Ss %s, 0x%02x, %s\n", name, (unsigned)id, class);
	else
		printf(".Ss %s group\n", name);
	text(doc);
	fields = 0;
}

static void field(const char *name, const char *type, const char *doc)
{
	if (!fields++)
		puts(".Bl -tag -width 12n -compact");
	printf(".It Va %s No %s\n", name, type);
	text(doc);
}

static void close_frame(void)
{
	if (fields)
		puts(".El");
}

static void upper(char *out, const char *in)
{
	for (; *in; in++)
		*out++ = (char)(*in >= 'a' && *in <= 'z' ? *in - 'a' + 'A' : *in);
	*out = '\0';
}

static void print_frames(void)
{
	char group[32];
#define CLASS_ATTACH			    "attach"
#define CLASS_CONTROL			    "control"
#define CLASS_MESSAGE			    "message"
#define FRAME(lower, UPPER, id, class, doc) open_frame(#UPPER, id, CLASS_##class, doc);
#define PART(lower, doc)                                                                                     \
	upper(group, #lower);                                                                                \
	open_frame(group, 0, "", doc);
#define U8(name, doc)	      field(#name, "u8", doc);
#define U16(name, doc)	      field(#name, "u16", doc);
#define U32(name, doc)	      field(#name, "u32", doc);
#define U64(name, doc)	      field(#name, "u64", doc);
#define I64(name, doc)	      field(#name, "i64", doc);
#define FIX(name, bytes, doc) field(#name, #bytes " bytes", doc);
#define STR(name, doc)	      field(#name, "string", doc);
#define TAIL(name, doc)	      field(#name, "rest", doc);
#define END		      close_frame();
#include "wire/frames.def"
}

static void reason(unsigned code, const char *doc)
{
	printf(".It %s%x\n", code > 255 ? "0x" : "", code);
	text(doc);
}

static void print_reasons(void)
{
	puts(".Bl -tag -width 8n -compact");
#define X(name, status, class, doc)                                                                          \
	printf(".It %d\n", status);                                                                          \
	text(doc);
	HAUL_ERRORS(X)
#undef X
	reason(REASON_NO_SESSION, "the session that was to be resumed is not here");
	reason(REASON_SUPERSEDED, "a newer connection has taken over");
	reason(REASON_GOAWAY, "this end is going down; dial again");
	reason(REASON_UNCHANGED, "in an OUTCOME: every chunk was there already, nothing was written");
	reason(REASON_ONE_ONLY, "in a VERDICT: one file or stream is taken here, and nothing else");
	puts(".El");
}

static void limit(const char *what, unsigned long long value)
{
	printf(".It %s\n%llu\n", what, value);
}

static void print_limits(void)
{
	puts(".Bl -tag -width 44n -compact");
	limit("bytes of a chunk, least", CHUNK_MIN_BYTES);
	limit("bytes of a chunk, most", CHUNK_MAX_BYTES);
	limit("bytes a body may be longer than its cost", BODY_SLACK_BYTES);
	limit("bytes of a body, and the cost of a message", RECORD_BODY_MAX_BYTES);
	limit("raw bytes of early credit", EARLY_CREDIT_BYTES);
	limit("messages in flight in one direction", LINK_MESSAGES_MAX);
	limit("bytes of a path, and of a symlink target", PATH_MAX_BYTES);
	limit("bytes of subdir in ATTACH", SUBDIR_MAX_BYTES);
	limit("bytes of the text of a reason", REASON_TEXT_MAX_BYTES);
	limit("entries of an OFFER", OFFER_ENTRIES_MAX);
	limit("entries offered and without an outcome", OPEN_ENTRIES_MAX);
	limit("files of a PACK", PACK_FILES_MAX);
	limit("digests of a HAVE", HAVE_DIGESTS_MAX);
	limit("chunks of a KEEP", KEEP_CHUNKS_MAX);
	limit("silence before a PING, in ms", PING_AFTER_MS);
	limit("silence after which a peer is dead, in ms", DEAD_AFTER_MS);
	puts(".El");
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*print)(void);
	} parts[] = {{"frames", print_frames}, {"reasons", print_reasons}, {"limits", print_limits}};
	for (size_t i = 0; argc == 2 && i < sizeof parts / sizeof *parts; i++)
		if (strcmp(argv[1], parts[i].name) == 0) {
			parts[i].print();
			return 0;
		}
	fputs("usage: framedoc frames|reasons|limits\n", stderr);
	return 1;
}
