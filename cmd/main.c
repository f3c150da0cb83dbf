/*
 * haul: files, trees and pipes through one connection, and never from the start again.
 *
 * The map, from the top; arrows go down only (cmd -> lib -> wire).
 *
 * cmd/   the person's side
 *   main         this table of subcommands
 *   send recv    what the two modes do, from operands to exit status
 *   status       what is unfinished in a directory
 *   key keyopts  making and showing keys; the options that name them
 *   coded        codes, shown and asked for
 *   opts setters the option table (opts.def), its parser, a setter for each kind of option
 *   filteropts   the options that say what to send, and the files they name
 *   words suggest        splitting and comparing words; the option that was meant
 *   help         help texts, generated from the tables
 *   complete     shell completions and the OPTIONS of the man page, generated likewise
 *   report       the event bus of a run with its subscribers; the last words
 *   cron verdict --cron: silence, or one block about what went wrong
 *   json tty out events as JSON lines; the progress line; writing that never waits
 *   logfile prom --log-file; --metrics
 * lib/   the engine
 *   keys keytext keyfile peers   keys: held, as text, in files nobody else may change; who is let in
 *   units        numbers as the user writes them
 *   engine engine_conn engine_io the wire thread: one poll loop; making and losing connections; their bytes
 *   sender sender_offer sender_jobs sender_in sender_links sender_stream   one role: scan and offer; read and send; answers; a pipe
 *   sender_delete receiver_delete    --delete at either end: guard, removal
 *   receiver receiver_in receiver_jobs receiver_commit    the other: what comes; work; results
 *   engine_impl sender_impl receiver_impl serve_impl    what the files of each share
 *   serve serve_sessions serve_single    the listener; its sessions; one connection that is there already
 *   strangers handoff            who has not said who he is; passing him on
 *   gate cidr    who may connect at all, by address; networks
 *   hardlinks            files with several names
 *   meta metaset idmap   owners, attributes, access control lists: told and checked; set; names of users
 *   scan source stream_in        sending stages: walk, read and pack, standard input or a producer
 *   plan dest dest_work dest_impl commit sink    receiving: compare; verify, write; sync, rename; a consumer
 *   pool blocks          ordered stages of workers; memory for chunks
 *   walk walk_start walk_impl    sources to entries: the tree; where it begins; what the files of the walk share
 *   walk_list walk_ignore        along a list of names; minding .gitignore
 *   operand names stamp  how a SRC is spelt; what a directory holds; is a file still the same
 *   filter glob listing  rules of what to leave out; one pattern with wildcards; names to take
 *   partial journal holder boot  large files across runs: the bytes, what is known, whose they are, since when
 *   inventory sweep leftovers    what lies in the state directory; what nobody wants any more, or this session
 *   root root_state root_impl   the destination: all paths beneath it, and its .haul
 *   dircache place       its open directories; final names
 *   destdir              the directory a receiver was given: opened, made, looked at
 *   kept strays          what was offered; what is there and was not
 *   beneath bytes        opening names from elsewhere without leaving a directory; reading and writing
 *   codec governor digest        zstd per chunk; the level; XXH3-128 of content
 *   endpoint dial listen conn command    addresses; making connections; child processes
 *   sandbox landlock seccomp     what a process may still do; files and ports; system calls
 *   porter user          starts ssh from outside the sandbox; giving up root
 *   auth code            whom to talk to, and what each may do; codes that people tell each other
 *   backoff pace clock entropy lockfile  delays with jitter; --bwlimit; time; random bytes; one at a time
 *   events escape err config     what happened; how it is shown; the error table; what was asked
 * wire/  the conversation, sans-I/O
 *   frames.def frame     the protocol, once; its structs, encoders and decoders
 *   cursor limits err buf        bounded reading and writing; every bound; failures; blocks of bytes
 *   seal noise cpace credentials     one record; Noise; a key from a code; keys as the handshake needs them
 *   handshake handshake_sealed handshake_code handshake_impl     the opening: plain, with keys, with a code
 *   credit ring channel  the window; what may be replayed; one connection
 *   link link_impl link_clock    the link above them; what time does to it
 *   session              the life cycle
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/complete.h"
#include "cmd/help.h"
#include "cmd/subcommands.h"

static int usage_error(const char *subject, const char *why)
{
	fprintf(stderr, "haul: %s: %s; try 'haul --help'\n", subject, why);
	return 1;
}

static int no_such_topic(const char *topic)
{
	fprintf(stderr, "haul: %s: no such topic; there are: %s\n", topic, help_topics);
	return 1;
}

int help_main_command(int argc, char **argv)
{
	if (argc > 1 && !help_topic(stdout, argv[1]))
		return no_such_topic(argv[1]);
	if (argc <= 1)
		help_main(stdout);
	return 0;
}

int version_main(int argc, char **argv)
{
	(void)argc, (void)argv;
	help_version(stdout);
	return 0;
}

int complete_main(int argc, char **argv)
{
	return argc == 2 && complete_print(stdout, argv[1]) ? 0
							    : usage_error(argv[0], "takes bash, zsh or fish");
}

int options_main(int argc, char **argv)
{
	return argc == 2 && complete_options(stdout, argv[1]) ? 0 : usage_error(argv[0], "takes mdoc");
}

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} subcommands[] = {
	{"send", send_main},	     {"recv", recv_main},
	{"status", status_main},     {"key", key_main},
	{"help", help_main_command}, {"--help", help_main_command},
	{"-h", help_main_command},   {"--version", version_main},
	{"-V", version_main},	     {"__complete", complete_main},
	{"__options", options_main},
};

/* A closed descriptor 0, 1 or 2 would be taken by the first file we open. Using it is still an error. */
static void hold_standard_descriptors(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd ? O_RDONLY : O_WRONLY) != fd)
			_exit(22);
}

/* What was printed, a help text for one, counts only once it is written. */
static int flushed(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	fprintf(stderr, "haul: standard output: %s\n", strerror(errno));
	return status ? status : 11;
}

int main(int argc, char **argv)
{
	hold_standard_descriptors();
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a write that is too large fails like any other */
	if (argc < 2)
		return usage_error("no subcommand", "send, recv, status or key is missing");
	for (size_t i = 0; i < sizeof subcommands / sizeof subcommands[0]; i++)
		if (strcmp(argv[1], subcommands[i].name) == 0)
			return flushed(subcommands[i].run(argc - 1, argv + 1));
	return usage_error(argv[1], "no such subcommand");
}
