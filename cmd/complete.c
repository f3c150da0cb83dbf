#include "cmd/complete.h"

#include <string.h>

#include "cmd/help.h"
#include "cmd/opts.h"
#include "lib/err.h"

enum value_kind { VALUE_NONE, VALUE_WORDS, VALUE_FILE, VALUE_DIR, VALUE_OTHER };

static const enum subcommand subs[] = {CMD_SEND, CMD_RECV, CMD_STATUS, CMD_KEY};
#define SUBS (sizeof subs / sizeof *subs)

static bool taken_by(const struct option_row *row, enum subcommand sub)
{
	return row->subs & (unsigned)sub;
}

/* The words of a metavar that may be typed as they stand: "auto none" of "auto,none,LEVEL,MIN..MAX". */
static const char *literal_words(const struct option_row *row, char out[static 64])
{
	size_t len = 0;
	for (const char *p = row->metavar; p && *p; p += *p == ',') {
		size_t n = strcspn(p, ","), word = strspn(p, "abcdefghijklmnopqrstuvwxyz");
		if (word && len + word + 2 < 64) {
			if (len)
				out[len++] = ' ';
			memcpy(out + len, p, word);
			len += word;
		}
		p += n;
	}
	out[len] = '\0';
	return out;
}

static enum value_kind value_kind(const struct option_row *row)
{
	char words[64];
	if (!row->metavar)
		return VALUE_NONE;
	if (strcmp(row->metavar, "FILE") == 0)
		return VALUE_FILE;
	if (strcmp(row->metavar, "DIR") == 0)
		return VALUE_DIR;
	return *literal_words(row, words) ? VALUE_WORDS : VALUE_OTHER;
}

static void bash_options(FILE *to, enum subcommand sub)
{
	fprintf(to, "\t%s)\n\t\topts='", subcommand_name(sub));
	const char *space = "";
	for (size_t i = 0; i < OPTION_TOTAL; i++) {
		const struct option_row *row = &option_table[i];
		if (!taken_by(row, sub))
			continue;
		if (row->letter) {
			fprintf(to, "%s-%c", space, row->letter);
			space = " ";
		}
		fprintf(to, "%s--%s%s", space, row->name, option_arg(row) == ARG_VALUE ? "=" : "");
		space = " ";
	}
	fputs("'\n", to);
	if (sub == CMD_KEY)
		fputs("\t\tif ((COMP_CWORD == 2)) && [[ $cur != -* ]]; then\n"
		      "\t\t\tmapfile -t COMPREPLY < <(compgen -W 'new show' -- \"$cur\")\n"
		      "\t\t\treturn\n"
		      "\t\tfi\n",
		      to);
	fputs("\t\t;;\n", to);
}

static void bash_values(FILE *to)
{
	for (size_t i = 0; i < OPTION_TOTAL; i++) {
		const struct option_row *row = &option_table[i];
		enum value_kind kind = value_kind(row);
		char words[64];
		if (kind == VALUE_NONE)
			continue;
		bool optional = option_arg(row) == ARG_OPTIONAL;
		fprintf(to, "\t--%s%s", row->name, optional ? "=" : " | --");
		if (!optional)
			fprintf(to, "%s=", row->name);
		if (row->letter && !optional)
			fprintf(to, " | -%c", row->letter);
		fputs(")\n", to);
		if (kind == VALUE_WORDS)
			fprintf(to, "\t\tmapfile -t COMPREPLY < <(compgen -W '%s' -- \"$cur\")\n",
				literal_words(row, words));
		else if (kind == VALUE_DIR)
			fputs("\t\tmapfile -t COMPREPLY < <(compgen -d -- \"$cur\")\n", to);
		fputs("\t\treturn\n\t\t;;\n", to);
	}
}

static void print_bash(FILE *to)
{
	fputs("# bash completion for haul, printed by: haul __complete bash\n"
	      "_haul()\n"
	      "{\n"
	      "\tlocal cur=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]} opts=\n"
	      "\tCOMPREPLY=()\n"
	      "\tif ((COMP_CWORD == 1)); then\n"
	      "\t\tmapfile -t COMPREPLY < <(compgen -W 'send recv status key help --help --version' -- "
	      "\"$cur\")\n"
	      "\t\treturn\n"
	      "\tfi\n"
	      "\t# bash makes a word of its own of the equals sign\n"
	      "\tif [[ $cur == = ]]; then\n"
	      "\t\toption+=\"=\" cur=\n"
	      "\telif [[ $option == = ]]; then\n"
	      "\t\toption=\"${COMP_WORDS[COMP_CWORD - 2]}=\"\n"
	      "\tfi\n"
	      "\tcase $option in\n",
	      to);
	bash_values(to);
	fputs("\tesac\n\tcase ${COMP_WORDS[1]} in\n", to);
	for (size_t i = 0; i < SUBS; i++)
		bash_options(to, subs[i]);
	fprintf(to,
		"\thelp)\n"
		"\t\tmapfile -t COMPREPLY < <(compgen -W '%s' -- \"$cur\")\n"
		"\t\treturn\n"
		"\t\t;;\n"
		"\tesac\n"
		"\tif [[ $cur == -* ]]; then\n"
		"\t\tmapfile -t COMPREPLY < <(compgen -W \"$opts\" -- \"$cur\")\n"
		"\t\t[[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace\n"
		"\tfi\n"
		"}\n"
		"complete -o bashdefault -o default -F _haul haul\n",
		help_topics);
}

/* Text inside single quotes and brackets of an _arguments specification. */
static void zsh_text(FILE *to, const char *text)
{
	for (; *text; text++) {
		if (*text == '\'')
			fputs("'\\'", to);
		else if (strchr("[]:\\", *text))
			putc('\\', to);
		putc(*text, to);
	}
}

static void zsh_option(FILE *to, const struct option_row *row)
{
	static const char *const suffix[] = {[ARG_NONE] = "", [ARG_VALUE] = "=", [ARG_OPTIONAL] = "=-"};
	enum option_arg arg = option_arg(row);
	char words[64];

	fputs(" \\\n\t\t\t", to);
	if (row->kind == OPT_MORE)
		fprintf(to, "\\*{-%c,--%s}'", row->letter, row->name);
	else if (row->letter && arg == ARG_OPTIONAL) /* the letter takes no value */
		fprintf(to, "'(--%s)-%c' '(-%c)--%s%s", row->name, row->letter, row->letter, row->name,
			suffix[arg]);
	else if (row->letter)
		fprintf(to, "'(-%c --%s)'{-%c%s,--%s%s}'", row->letter, row->name, row->letter,
			arg == ARG_VALUE ? "+" : "", row->name, suffix[arg]);
	else
		fprintf(to, "'--%s%s", row->name, suffix[arg]);
	putc('[', to);
	zsh_text(to, row->help);
	putc(']', to);
	if (arg != ARG_NONE) {
		fputs(arg == ARG_OPTIONAL ? "::" : ":", to);
		zsh_text(to, row->metavar);
		enum value_kind kind = value_kind(row);
		if (kind == VALUE_WORDS)
			fprintf(to, ":(%s)", literal_words(row, words));
		else
			fputs(kind == VALUE_FILE ? ":_files" : kind == VALUE_DIR ? ":_files -/" : ": ", to);
	}
	putc('\'', to);
}

static void print_zsh(FILE *to)
{
	fputs("#compdef haul\n"
	      "# zsh completion for haul, printed by: haul __complete zsh\n"
	      "_haul() {\n"
	      "\tlocal curcontext=$curcontext state state_descr line\n"
	      "\ttypeset -A opt_args\n"
	      "\t_arguments -C '(- :)--help[help]' '(- :)--version[version]' \\\n"
	      "\t\t'1:command:(send recv status key help)' '*::argument:->argument' && return\n"
	      "\t[[ $state == argument ]] || return\n"
	      "\tcase $line[1] in\n",
	      to);
	for (size_t s = 0; s < SUBS; s++) {
		fprintf(to, "\t(%s)\n\t\t_arguments -s -S", subcommand_name(subs[s]));
		for (size_t i = 0; i < OPTION_TOTAL; i++)
			if (taken_by(&option_table[i], subs[s]))
				zsh_option(to, &option_table[i]);
		fprintf(to, " \\\n%s\t\t\t'*:operand:_files'\n\t\t;;\n",
			subs[s] == CMD_KEY ? "\t\t\t'1:command:(new show)' \\\n" : "");
	}
	fprintf(to, "\t(help)\n\t\t_values topic %s\n\t\t;;\n\tesac\n}\n_haul \"$@\"\n", help_topics);
}

static void fish_option(FILE *to, const struct option_row *row, enum subcommand sub)
{
	char words[64];
	enum value_kind kind = value_kind(row);
	fprintf(to, "complete -c haul -n '__fish_seen_subcommand_from %s' -l %s", subcommand_name(sub),
		row->name);
	if (row->letter)
		fprintf(to, " -s %c", row->letter);
	if (option_arg(row) == ARG_VALUE)
		fputs(kind == VALUE_FILE || kind == VALUE_DIR ? " -r" : " -x", to);
	if (kind == VALUE_WORDS)
		fprintf(to, "%s -a '%s'", option_arg(row) == ARG_OPTIONAL ? " -f" : "",
			literal_words(row, words));
	else if (kind == VALUE_DIR)
		fputs(" -a '(__fish_complete_directories)'", to);
	fputs(" -d '", to);
	for (const char *p = row->help; *p; p++) {
		if (*p == '\'' || *p == '\\')
			putc('\\', to);
		putc(*p, to);
	}
	fputs("'\n", to);
}

static void print_fish(FILE *to)
{
	fputs("# fish completion for haul, printed by: haul __complete fish\n"
	      "complete -c haul -n __fish_use_subcommand -f -a send -d 'push, or wait for a receiver'\n"
	      "complete -c haul -n __fish_use_subcommand -f -a recv -d 'listen, or pull'\n"
	      "complete -c haul -n __fish_use_subcommand -f -a status -d 'unfinished transfers'\n"
	      "complete -c haul -n __fish_use_subcommand -f -a key -d 'make or show keys'\n"
	      "complete -c haul -n '__fish_seen_subcommand_from key' -a 'new show'\n"
	      "complete -c haul -n __fish_use_subcommand -f -a help -d 'help on a topic'\n"
	      "complete -c haul -n __fish_use_subcommand -f -l help -d 'help'\n"
	      "complete -c haul -n __fish_use_subcommand -f -l version -d 'version'\n",
	      to);
	fprintf(to, "complete -c haul -n '__fish_seen_subcommand_from help' -f -a '%s'\n", help_topics);
	for (size_t s = 0; s < SUBS; s++)
		for (size_t i = 0; i < OPTION_TOTAL; i++)
			if (taken_by(&option_table[i], subs[s]))
				fish_option(to, &option_table[i], subs[s]);
}

bool complete_print(FILE *to, const char *shell)
{
	if (strcmp(shell, "bash") == 0)
		print_bash(to);
	else if (strcmp(shell, "zsh") == 0)
		print_zsh(to);
	else if (strcmp(shell, "fish") == 0)
		print_fish(to);
	else
		return false;
	return true;
}

static void mdoc_option(FILE *to, const struct option_row *row)
{
	fputs(".It ", to);
	if (row->letter)
		fprintf(to, "Fl %c , ", row->letter);
	fprintf(to, "Fl -%s", row->name);
	if (row->metavar)
		fprintf(to, option_arg(row) == ARG_OPTIONAL ? " Ns Oo = Ns Ar %s Oc" : " Ns = Ns Ar %s",
			row->metavar);
	fprintf(to, "\n%s.\n", row->help);
	if (row->initial)
		fprintf(to, "Default: %s.\n", row->initial);
	if (row->subs == CMD_SEND || row->subs == CMD_RECV || row->subs == CMD_STATUS)
		fprintf(to, "Only for\n.Nm\n.Cm %s .\n", subcommand_name((enum subcommand)row->subs));
}

static void mdoc_options(FILE *to)
{
	bool open = false;
	for (size_t i = 0; i < OPTION_TOTAL; i++) {
		const struct option_row *row = &option_table[i];
		if (row->kind != OPT_GROUP) {
			mdoc_option(to, row);
			continue;
		}
		if (open)
			fputs(".El\n", to);
		fprintf(to, ".Ss %s\n.Bl -tag -width Ds\n", row->help);
		open = true;
	}
	fputs(".El\n", to);
}

static void mdoc_exit_status(FILE *to)
{
	fputs(".Bl -column -compact \"128+n\" \"human\" \"everything committed and verified\"\n"
	      ".It Em status Ta Em class Ta Em meaning\n",
	      to);
	for (unsigned i = 0; i < HAUL_RC_COUNT; i++) {
		enum haul_rc rc = (enum haul_rc)i;
		fprintf(to, ".It %d%s Ta %s Ta %s\n", haul_rc_status(rc), rc == HAUL_SIGNAL ? "+n" : "",
			haul_rc_class(rc), haul_rc_text(rc));
	}
	fputs(".El\n", to);
}

bool complete_options(FILE *to, const char *form)
{
	if (strcmp(form, "mdoc") != 0)
		return false;
	fputs(".\\\" begin generated: haul __options mdoc\n", to);
	mdoc_options(to);
	fputs(".\\\" end generated\n.\\\" begin generated: haul __options mdoc\n", to);
	mdoc_exit_status(to);
	fputs(".\\\" end generated\n", to);
	return true;
}
