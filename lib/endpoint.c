/*
 * The grammar of addresses. A parser is a chain of small checks that return NULL or why the text is no
 * address; nothing here touches the network.
 */
#include "lib/endpoint.h"

#include <arpa/inet.h>
#include <limits.h>
#include <net/if.h>
#include <netdb.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define DIGITS "0123456789"

static const char no_memory[] = "out of memory";

static const char *take(char **to, const char *from, size_t len)
{
	*to = strndup(from, len);
	return *to ? NULL : no_memory;
}

static const char *take_port(const char *digits, size_t len, bool zero_ok, char **to)
{
	if (len == 0)
		return "port is missing";
	unsigned long port = len > 5 ? ULONG_MAX : strtoul(digits, NULL, 10);
	if (port > 65535 || (port == 0 && !zero_ok))
		return zero_ok ? "port is not within 0 to 65535" : "port is not within 1 to 65535";
	return take(to, digits, len);
}

static bool is_ipv6(const char *s, size_t len)
{
	char buf[INET6_ADDRSTRLEN + IF_NAMESIZE + 1];
	if (len >= sizeof buf)
		return false;
	memcpy(buf, s, len);
	buf[len] = '\0';
	buf[strcspn(buf, "%")] = '\0';
	struct in6_addr addr;
	return inet_pton(AF_INET6, buf, &addr) == 1;
}

/* A host or user that begins with a dash would be an option to ssh. */
static const char *check_host(const char *host)
{
	const char *at = strrchr(host, '@');
	const char *name = at ? at + 1 : host;
	if (*name == '\0' || at == host)
		return at == host ? "user is empty" : "host is missing";
	if (*host == '-' || *name == '-')
		return "host or user begins with a dash";
	return host[strcspn(host, " \"'\\`$;&|<>()[]*?!")] ? "host has a character no host name has" : NULL;
}

/* [USER@][v6] with *s at the bracket */
static const char *take_bracketed(const char *text, const char **s, char **host)
{
	const char *open = *s, *close = strchr(open, ']');
	if (!close || !is_ipv6(open + 1, (size_t)(close - open - 1)))
		return "no IPv6 address between the brackets";
	*s = close + 1;
	if (**s != ':' && **s != '/' && **s != '\0')
		return "neither a port nor a path after the brackets";
	if (asprintf(host, "%.*s%.*s", (int)(open - text), text, (int)(close - open - 1), open + 1) < 0) {
		*host = NULL;
		return no_memory;
	}
	return NULL;
}

/* Takes the host from the front of text and leaves *rest at the colon, the slash or the end after it. */
static const char *take_host(const char *text, char **host, const char **rest)
{
	const char *s = text + strcspn(text, "[:/");
	const char *why;
	if (*s == '[' && s > text && s[-1] != '@')
		why = "bracket inside a host name";
	else if (*s == '[')
		why = take_bracketed(text, &s, host);
	else if (is_ipv6(text, strcspn(text, "/")))
		why = "an IPv6 address needs brackets: [ADDRESS]:PORT";
	else
		why = take(host, text, (size_t)(s - text));
	*rest = s;
	return why ? why : check_host(*host);
}

/* Canonical form of a SUBDIR, written over itself: no empty and no "." component, ".." refused. */
static const char *clean_subdir(char *path)
{
	char *to = path;
	for (const char *s = path; *s;) {
		size_t len = strcspn(s, "/");
		if (len == 2 && memcmp(s, "..", 2) == 0)
			return "SUBDIR would lead above the receiver's directory";
		if (len > 0 && !(len == 1 && *s == '.')) {
			if (to > path)
				*to++ = '/';
			memmove(to, s, len);
			to += len;
		}
		s += len + (s[len] == '/');
	}
	*to = '\0';
	return NULL;
}

static const char *take_subdir(const char *rest, struct endpoint *ep)
{
	if (*rest == '\0')
		return NULL;
	if (rest[1] == '/')
		return "SUBDIR is absolute; it is below the receiver's directory";
	const char *why = take(&ep->path, rest + 1, strlen(rest + 1));
	if (!why)
		why = clean_subdir(ep->path);
	if (!why && *ep->path == '\0') {
		free(ep->path);
		ep->path = NULL;
	}
	return why;
}

/* colon is where PORT[/SUBDIR] should begin with its colon */
static const char *take_tcp(const char *colon, struct endpoint *ep)
{
	ep->kind = ENDPOINT_TCP;
	if (strchr(ep->host, '@'))
		return "a TCP address has no user; for ssh write the path as ./NAME";
	if (*colon != ':')
		return "port is missing";
	size_t len = strspn(colon + 1, DIGITS);
	const char *rest = colon + 1 + len;
	if (*rest != '\0' && *rest != '/')
		return "port is not a number";
	const char *why = take_port(colon + 1, len, false, &ep->port);
	return why ? why : take_subdir(rest, ep);
}

/* The path will be quoted for the remote shell, so the tilde is ours to expand. */
static const char *take_remote(const char *path, struct endpoint *ep)
{
	ep->kind = ENDPOINT_SSH;
	if (*path == '~') {
		path++;
		if (*path != '\0' && *path != '/')
			return "~USER is not known here; write the directory itself";
		path += strspn(path, "/");
		if (*path == '\0')
			path = ".";
	}
	return take(&ep->path, path, strlen(path));
}

static const char *parse_tcp(const char *text, struct endpoint *ep)
{
	const char *rest;
	const char *why = take_host(text, &ep->host, &rest);
	return why ? why : take_tcp(rest, ep);
}

static const char *parse_ssh(const char *text, struct endpoint *ep)
{
	const char *rest;
	const char *why = take_host(text, &ep->host, &rest);
	if (!why && *rest == ':') {
		size_t len = strspn(rest + 1, DIGITS);
		why = take_port(rest + 1, len, false, &ep->port);
		rest += 1 + len;
	}
	if (why)
		return why;
	if (*rest != '/')
		return *rest ? "port is not a number" : "path is missing";
	return take_remote(rest[1] == '~' ? rest + 1 : rest, ep);
}

static const char *parse_plain(const char *text, struct endpoint *ep)
{
	const char *rest;
	const char *why = take_host(text, &ep->host, &rest);
	if (why)
		return why;
	if (*rest != ':')
		return "no address: HOST:PORT, HOST:PATH, unix:PATH, exec:CMD or stdio: is meant";
	if (rest[1] == '\0')
		return "port or path is missing";
	size_t len = strspn(rest + 1, DIGITS);
	bool tcp = len > 0 && (rest[1 + len] == '\0' || rest[1 + len] == '/');
	return tcp ? take_tcp(rest, ep) : take_remote(rest + 1, ep);
}

static const char *parse_unix(const char *path, struct endpoint *ep)
{
	ep->kind = ENDPOINT_UNIX;
	if (*path == '\0')
		return "path is missing";
	if (strlen(path) >= sizeof(struct sockaddr_un) - offsetof(struct sockaddr_un, sun_path))
		return "path is longer than the 107 bytes a socket's may have";
	return take(&ep->path, path, strlen(path));
}

static const char *parse_exec(const char *command, struct endpoint *ep)
{
	ep->kind = ENDPOINT_EXEC;
	if (command[strspn(command, " \t\n")] == '\0')
		return "command is missing";
	return take(&ep->path, command, strlen(command));
}

static const char *parse_stdio(const char *rest, struct endpoint *ep)
{
	ep->kind = ENDPOINT_STDIO;
	return *rest ? "nothing follows stdio:" : NULL;
}

static const char *parse_systemd(const char *rest, struct endpoint *ep)
{
	ep->kind = ENDPOINT_SYSTEMD;
	ep->fd = LISTEN_SYSTEMD_FD;
	return *rest ? "nothing follows systemd:" : NULL;
}

static const char *parse_fd(const char *digits, struct endpoint *ep)
{
	ep->kind = ENDPOINT_FD;
	size_t len = strspn(digits, DIGITS);
	if (len == 0 || digits[len] != '\0' || len > 6)
		return "no descriptor number after fd:";
	ep->fd = (int)strtol(digits, NULL, 10);
	return NULL;
}

static const char *parse_bind(const char *text, struct endpoint *ep)
{
	ep->kind = ENDPOINT_TCP;
	const char *rest;
	const char *why = take_host(text, &ep->host, &rest);
	if (why)
		return why;
	if (strchr(ep->host, '@'))
		return "a listening address has no user";
	if (*rest != ':')
		return "port is missing";
	size_t len = strspn(rest + 1, DIGITS);
	if (rest[1 + len] != '\0')
		return "HOST:PORT, unix:PATH, stdio:, fd:N or systemd: is meant";
	return take_port(rest + 1, len, true, &ep->port);
}

struct form {
	const char *prefix;
	const char *(*parse)(const char *rest, struct endpoint *ep);
};

/* the last row matches whatever is left */
static const struct form peer_forms[] = {
	{"unix:", parse_unix}, {"exec:", parse_exec}, {"stdio:", parse_stdio},
	{"tcp://", parse_tcp}, {"ssh://", parse_ssh}, {"", parse_plain},
};
static const struct form listen_forms[] = {
	{"unix:", parse_unix},	     {"stdio:", parse_stdio}, {"fd:", parse_fd},
	{"systemd:", parse_systemd}, {"", parse_bind},
};

static const char *parse(const struct form *form, const char *text, struct endpoint *ep)
{
	if (*text == '\0')
		return "address is empty";
	while (strncmp(text, form->prefix, strlen(form->prefix)) != 0)
		form++;
	for (const char *s = text; *s && form->parse != parse_exec; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			return "control character in an address";
	return form->parse(text + strlen(form->prefix), ep);
}

static enum haul_rc parse_whole(const struct form *forms, const char *text, struct endpoint *ep,
				struct haul_err *err)
{
	*ep = (struct endpoint){.fd = -1};
	const char *why = parse(forms, text, ep);
	if (!why)
		why = take(&ep->text, text, strlen(text));
	if (!why)
		return HAUL_OK;
	endpoint_free(ep);
	return haul_fail(err, why == no_memory ? HAUL_NO_MEMORY : HAUL_USAGE, 0, text, "%s", why);
}

enum haul_rc endpoint_parse_peer(const char *text, struct endpoint *out, struct haul_err *err)
{
	return parse_whole(peer_forms, text, out, err);
}

enum haul_rc endpoint_parse_listen(const char *text, struct endpoint *out, struct haul_err *err)
{
	return parse_whole(listen_forms, text ? text : ENDPOINT_LISTEN_DEFAULT, out, err);
}

void endpoint_free(struct endpoint *ep)
{
	free(ep->host);
	free(ep->port);
	free(ep->path);
	free(ep->text);
	*ep = (struct endpoint){.fd = -1};
}
