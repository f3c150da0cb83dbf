#include "cmd/help.h"

#include <string.h>

#include <xxhash.h>
#include <zstd.h>

#include "lib/err.h"

#ifndef HAUL_RELEASE
#define HAUL_RELEASE "unknown"
#endif
#ifndef HAUL_COMMIT
#define HAUL_COMMIT "unknown"
#endif
#ifndef HAUL_CFLAGS
#define HAUL_CFLAGS "unknown"
#endif

#define WIDTH  80
#define INDENT 28 /* where the text of an option begins */

static const char main_text[] =
	"haul moves files, directory trees and pipes through one TCP port, unix socket,\n"
	"ssh or any byte pipe. A lost connection is picked up where it broke; the same\n"
	"command run again continues. Exit 0 means: verified and on stable storage.\n"
	"\n"
	"usage: haul send [options] SRC... DEST           push\n"
	"       haul send [options] --listen=ADDR SRC...  wait for a receiver that dials\n"
	"       haul recv [options] DIR                   listen\n"
	"       haul recv [options] FROM DIR              dial a sender (pull)\n"
	"       haul recv [options] -o FILE [FROM]        one stream into a file, or -\n"
	"       haul status [DIR]                         what is unfinished there\n"
	"       haul key new | key show [FILE]            keys of both sides\n"
	"       haul send --help | recv --help | help TOPIC | --version\n"
	"\n"
	"A tree over ssh, to a host that has haul:\n"
	"    haul send photos user@host:/srv/backup\n"
	"\n"
	"Through a tunnel to a receiver that listens on loopback:\n"
	"    host$ haul recv /srv/backup\n"
	"    here$ ssh -fNL 4285:127.0.0.1:4285 user@host\n"
	"    here$ haul send photos 127.0.0.1:4285\n"
	"\n"
	"A pipe, whose end only counts if the producer succeeded:\n"
	"    haul send --from-cmd='pg_dump shop' --name=shop.sql user@host:/srv/dumps\n"
	"\n"
	"One stream into a command:\n"
	"    host$ haul recv --once --to-cmd='tar -x -C /srv'\n"
	"    here$ tar -c photos | haul send - 127.0.0.1:4285\n"
	"\n"
	"From cron: one run at a time, patient with the link, silent on success:\n"
	"    haul send --cron /data/. user@host:/srv/data\n"
	"\n"
	"What would happen, and what happens, for a program to read:\n"
	"    haul send -n -v photos user@host:/srv/backup\n"
	"    haul send --json=events.jsonl photos user@host:/srv/backup\n"
	"\n"
	"Exit status 0 is success, 1 a wrong command line; 10, 26, 30, 35 and 75 are\n"
	"worth the same command again. All of them: haul help exit. More: haul help\n"
	"addresses, cron, events, key, resume or sizes, and man haul.\n";

static const char sizes_text[] =
	"Sizes: a number, fractions allowed, and a unit; bare numbers are bytes.\n"
	"    k M G T, or KiB MiB GiB TiB     powers of 1024\n"
	"    kB MB GB TB                     powers of 1000\n"
	"Rates are sizes a second: 10M, 1.5MB/s.\n"
	"Durations: a number, fractions allowed, and a unit; bare numbers are seconds.\n"
	"    ms s m h d                      milliseconds to days\n"
	"    inf                             no limit\n"
	"0 never means unlimited; --grace=0, --reconnect=0, --lock-wait=0 mean at once.\n";

static const char events_text[] =
	"--json writes one JSON object a line, to standard error, FILE or fd:N. All have\n"
	"    type  t (seconds since the start)  ts (RFC 3339, UTC)  id (session)\n"
	"and by type:\n"
	"    hello       role version mode\n"
	"    plan        files bytes final\n"
	"    state       from to why\n"
	"    connect     peer attempt\n"
	"    retry       cause attempt delay_ms\n"
	"    disconnect  cause side\n"
	"    resume      from replayed_bytes verified\n"
	"    file        path path_b64? size errno? why?\n"
	"                state: committed skipped failed vanished changed, and planned\n"
	"                in a dry run\n"
	"    progress    bytes wire wire_in acked total total_final rate level\n"
	"                blocked: none source cpu link credit disk\n"
	"    pressure    on since_ms\n"
	"    level       from to why\n"
	"    gap         dropped (events lost because the reader was slow)\n"
	"    warn        text subject?\n"
	"    error       code reason side terminal again path? also?\n"
	"    done        exit class files bytes wire wire_in skipped failed vanished\n"
	"                changed entries skipped_bytes kept_bytes reconnects\n"
	"                resent_bytes dup_bytes durable seconds; always the last line\n";

static const char addresses_text[] =
	"DEST of send and FROM of recv, the side that dials:\n"
	"    HOST:PORT[/SUBDIR], tcp://HOST:PORT[/SUBDIR]   TCP; IPv6 as [::1]:4285\n"
	"    [USER@]HOST:PATH, ssh://[USER@]HOST[:PORT]/PATH\n"
	"                                                   ssh runs haul there\n"
	"    unix:PATH                                      unix socket\n"
	"    exec:CMD                                       a command's input and output\n"
	"    stdio:                                         our own input and output\n"
	"Digits after the colon mean TCP. SUBDIR is below the receiver's DIR.\n"
	"\n"
	"--listen=ADDR, the side that waits:\n"
	"    HOST:PORT     127.0.0.1:4285 unless given; port 0 takes a free one, which\n"
	"                  --port-file tells\n"
	"    unix:PATH     unix socket\n"
	"    stdio:        our own input and output, the same as recv --stdio\n"
	"    fd:N          an inherited listening socket\n"
	"    systemd:      socket activation\n"
	"Anything but loopback, unix sockets and stdio needs a key (--key, --identity)\n"
	"or a code (--code), or --insecure: nothing is encrypted there.\n"
	"recv --recv-only-from=192.0.2.0/24,2001:db8::/32 closes on whoever connects\n"
	"from elsewhere, before anything is read; unix sockets and pipes are not judged.\n";

static const char cron_text[] =
	"haul send --cron SRC... DEST is for crontabs and timers:\n"
	"    15 2 * * *  haul send --cron /data/. user@host:/srv/data\n"
	"It prints nothing at all, on neither stream, if the exit status is 0. Otherwise\n"
	"it prints one block on standard error when it ends: what went wrong, the command\n"
	"without secrets, times, what was committed and sent, the first ten files that\n"
	"failed, how often the link was lost, the exit status, and what to do. What ssh\n"
	"or a --from-cmd says on standard error is kept back; its end is in the block.\n"
	"\n"
	"It implies -q --lock --reconnect=1h --deadline=6h. Whatever of these is given,\n"
	"there or in HAUL_OPTIONS, wins:\n"
	"    --lock=FILE      one run at a time, the next one exits 75. Without FILE it\n"
	"                     is one for this user and DEST. It dies with the process\n"
	"    --reconnect=DUR  how long a lost link may be away\n"
	"    --deadline=DUR   the time for the whole run; 26, and the next one goes on\n"
	"It goes well with\n"
	"    --lock-wait=DUR  to wait for the run before instead of exiting 75\n"
	"    --connect=DUR    for a host that is not always there (30s)\n"
	"    --log-file=FILE --metrics=FILE --json=FILE\n"
	"What has the class `again' in haul help exit mends itself with the next run.\n";

static const char resume_text[] =
	"A lost connection is dialled again, with growing pauses (--retry-delay), for as\n"
	"long as --reconnect says: 30s, or inf where send runs at a terminal. Files and\n"
	"streams go on where it broke; what was on its way is sent once more from the\n"
	"replay ring (--ring).\n"
	"\n"
	"If haul itself has ended (10, 26, 30, 35, a signal, a crash, a power cut), run\n"
	"the same command again; there is nothing else to remember:\n"
	"    files of the same size and mtime are skipped (-c compares content)\n"
	"    a large file that was under way is continued: what the receiver recorded is\n"
	"    compared before it counts\n"
	"    of a file that changed only the chunks that differ are sent (-W: all)\n"
	"    a stream (-, --from-cmd) begins anew: nobody can read its beginning again\n"
	"\n"
	"A final name holds the old or the new content, never a part. What is unfinished\n"
	"lies in DIR/.haul at the receiver: haul status DIR lists it, and with\n"
	"--discard=ID gives it up.\n";

static const char key_text[] =
	"usage: haul key new [FILE]              a key that two sides share\n"
	"       haul key new --identity=FILE     a secret key, and FILE.pub\n"
	"       haul key show [FILE]             the public key, or a fingerprint\n"
	"FILE is ~/.config/haul/key unless given. No key file is ever overwritten, and\n"
	"none is used that others can read or change, or whose directories they can.\n"
	"\n"
	"One key for two sides: make it, copy it over ssh, name it at both.\n"
	"    here$ haul key new && ssh host mkdir -p -m 700 .config/haul\n"
	"    here$ scp -p ~/.config/haul/key host:.config/haul/key\n"
	"    host$ haul recv -k ~/.config/haul/key --listen=0.0.0.0:4285 /srv/in\n"
	"    here$ haul send -k ~/.config/haul/key photos host:4285\n"
	"\n"
	"Identities, for more than two: each side makes one and gives the others its\n"
	"public line. --peer=PUB names the one other side; a receiver of many has a file:\n"
	"    host$ haul recv --identity=id --peers=peers --listen=0.0.0.0:4285 /srv/in\n"
	"    here$ haul send --identity=id --peer='haul-pub-1 ...' photos host:4285\n"
	"A line of the file, its directory below that of recv:\n"
	"    haul-pub-1 KEY name=NAME dir=DIR [max-bytes=SIZE] [max-sessions=N]\n"
	"        [no-overwrite] [ro]\n";

void help_main(FILE *to)
{
	fputs(main_text, to);
}

/* Prints text from column on, broken at spaces, further lines at INDENT. */
static void put_wrapped(FILE *to, int column, const char *text)
{
	bool first = true;
	while (*text) {
		int n = (int)strcspn(text, " ");
		if (!first && column + 1 + n > WIDTH) {
			fprintf(to, "\n%*s", INDENT, "");
			column = INDENT;
		} else if (!first) {
			putc(' ', to);
			column++;
		}
		fwrite(text, 1, (size_t)n, to);
		column += n;
		first = false;
		text += n;
		text += *text == ' ';
	}
	putc('\n', to);
}

static void put_option(FILE *to, const struct option_row *row)
{
	char head[80], value[64] = "", text[160];

	if (row->metavar)
		snprintf(value, sizeof value, option_arg(row) == ARG_OPTIONAL ? "[=%s]" : "=%s",
			 row->metavar);
	int column = snprintf(head, sizeof head, "  %c%c%c --%s%s", row->letter ? '-' : ' ',
			      row->letter ? row->letter : ' ', row->letter ? ',' : ' ', row->name, value);
	if (row->initial)
		snprintf(text, sizeof text, "%s (%s)", row->help, row->initial);
	else
		snprintf(text, sizeof text, "%s", row->help);
	fputs(head, to);
	if (column + 2 > INDENT) {
		putc('\n', to);
		column = 0;
	}
	fprintf(to, "%*s", INDENT - column, "");
	put_wrapped(to, INDENT, text);
}

void help_subcommand(FILE *to, enum subcommand sub)
{
	const struct option_row *group = NULL;
	if (sub == CMD_SEND)
		fputs("usage: haul send [options] SRC... DEST\n"
		      "       haul send [options] --listen=ADDR SRC...\n"
		      "       haul send [options] --from-cmd=CMD DEST\n"
		      "       haul send [options] --files-from=FILE [SRC] DEST\n"
		      "SRC is a path, or - for standard input. A directory arrives under its own name,\n"
		      "SRC/. sends what is in it. DEST: haul help addresses.\n",
		      to);
	else if (sub == CMD_RECV)
		fputs("usage: haul recv [options] DIR\n"
		      "       haul recv [options] FROM DIR\n"
		      "       haul recv [options] -o FILE|- [FROM]\n"
		      "Without FROM it listens at 127.0.0.1:4285, or where --listen says. FROM and\n"
		      "ADDR: haul help addresses.\n",
		      to);
	else if (sub == CMD_KEY)
		fputs(key_text, to);
	else
		fputs("usage: haul status [DIR]\n"
		      "       haul status --discard=ID [DIR]\n"
		      "Lists the transfers into DIR (.) that are not finished: the command that began\n"
		      "one continues it. Prints nothing when there are none.\n",
		      to);
	for (size_t i = 0; i < OPTION_TOTAL; i++) {
		const struct option_row *row = &option_table[i];
		if (row->kind == OPT_GROUP) {
			group = row;
		} else if (row->subs & (unsigned)sub) {
			if (group)
				fprintf(to, "\n%s:\n", group->help);
			group = NULL;
			put_option(to, row);
		}
	}
}

static void help_exit(FILE *to)
{
	fputs("Exit status and class (human: somebody must act; again: the same command may\n"
	      "succeed; bug: please report it):\n",
	      to);
	for (unsigned i = 0; i < HAUL_RC_COUNT; i++) {
		enum haul_rc rc = (enum haul_rc)i;
		if (rc == HAUL_SIGNAL)
			fprintf(to, "  %d+n", haul_rc_status(rc));
		else
			fprintf(to, "  %5d", haul_rc_status(rc));
		fprintf(to, "  %-5s  %s\n", haul_rc_class(rc), haul_rc_text(rc));
	}
}

const char help_topics[] = "send recv status key exit sizes events addresses cron resume";

static const struct {
	const char *name;
	enum subcommand sub; /* 0: text, or the exit statuses */
	const char *text;
} topics[] = {
	{"send", CMD_SEND, NULL}, {"recv", CMD_RECV, NULL},   {"status", CMD_STATUS, NULL},
	{"key", CMD_KEY, NULL},	  {"keys", CMD_KEY, NULL},    {"exit", 0, NULL},
	{"sizes", 0, sizes_text}, {"events", 0, events_text}, {"addresses", 0, addresses_text},
	{"cron", 0, cron_text},	  {"resume", 0, resume_text},
};

bool help_topic(FILE *to, const char *topic)
{
	size_t i = 0;
	while (i < sizeof topics / sizeof *topics && strcmp(topic, topics[i].name) != 0)
		i++;
	if (i == sizeof topics / sizeof *topics)
		return false;
	if (topics[i].sub)
		help_subcommand(to, topics[i].sub);
	else if (topics[i].text)
		fputs(topics[i].text, to);
	else
		help_exit(to);
	return true;
}

const char help_release[] = HAUL_RELEASE;

void help_version(FILE *to)
{
	fprintf(to, "haul %s\ncommit %s\ncompiler %s\nflags %s\nzstd %s\nxxhash %d.%d.%d\n", help_release,
		HAUL_COMMIT,
#ifdef __clang__
		__VERSION__,
#else
		"gcc " __VERSION__,
#endif
		HAUL_CFLAGS, ZSTD_versionString(), XXH_VERSION_MAJOR, XXH_VERSION_MINOR, XXH_VERSION_RELEASE);
}
