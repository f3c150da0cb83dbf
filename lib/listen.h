/*
 * listen: waiting for the other side: sockets of our own, inherited ones, systemd's, and telling whoever
 * started us where we listen.
 */
#ifndef HAUL_LIB_LISTEN_H
#define HAUL_LIB_LISTEN_H

#include <stdbool.h>
#include <sys/stat.h>

#include "lib/err.h"

#define LISTEN_BACKLOG	  128
#define LISTEN_SYSTEMD_FD 3 /* SD_LISTEN_FDS_START, sd_listen_fds(3) */

struct endpoint;

/* True for what only this machine reaches (loopback, unix, stdio): unencrypted needs no --insecure there.
 * fd: and systemd: are judged by the socket's own address. */
bool endpoint_is_local(const struct endpoint *ep);

/* True when a listen address is one connection already, inetd style: stdio:, and fd: or systemd: with a
 * descriptor that does not listen. Such an endpoint goes to conn_adopt instead of endpoint_listen. */
bool endpoint_is_single(const struct endpoint *ep);

/* An inherited descriptor must be open, and a stream socket that listens or is connected: else HAUL_USAGE.
 * Other endpoints are fine. */
enum haul_rc endpoint_check(const struct endpoint *ep, struct haul_err *err);

/*
 * Binds and listens; returns the descriptor, or -1 with err filled: HAUL_USAGE for an address that cannot
 * be one, HAUL_IO otherwise. *bound gets HOST:PORT or the path, malloc'ed. A stale unix socket (nobody
 * accepts) is replaced; a new one has mode 0600. fd: and systemd: hand over the inherited descriptor.
 */
int endpoint_listen(const struct endpoint *ep, char **bound, struct haul_err *err);

/* Closes a descriptor of endpoint_listen and removes the unix socket it made. */
void endpoint_unlisten(const struct endpoint *ep, int fd);

/* Writes text and a newline to file: atomically (temporary name beside it, rename), or straight into what
 * exists and is no regular file (/dev/stdout, a FIFO, /dev/fd/N). */
enum haul_rc port_file_write(const char *file, const char *text, struct haul_err *err);

/* The file just written, and its removal at the end: unless somebody has put another one in its place. */
struct port_file {
	const char *file;
	struct stat st;
};
struct port_file port_file_mine(const char *file);
void port_file_remove(const struct port_file *mine);

/* READY=1 and the like to $NOTIFY_SOCKET; silent without one. */
void notify_systemd(const char *state);

#endif
