/*
 * conn: one connection. TCP ones have TCP_NODELAY, keepalive 15/5/3 s and TCP_USER_TIMEOUT 30 s.
 */
#ifndef HAUL_LIB_CONN_H
#define HAUL_LIB_CONN_H

#include <stdbool.h>
#include <sys/types.h>

struct endpoint;

/* One full-duplex descriptor, or two (stdio), and the child that carries it, if any. */
struct conn {
	int in, out;		      /* equal for sockets; -1 when closed */
	pid_t child;		      /* 0 if none */
	bool restore_in, restore_out; /* inherited in blocking mode: give it back so */
};

/*
 * Takes over a connection this process was given (endpoint_is_single, or a peer that is stdio:); 0 or
 * -errno. Standard input and output move to high descriptors and /dev/null takes their places: nothing
 * printed by mistake reaches the peer, and closing the connection really ends it. Once only: -ENOTCONN.
 *
 * Pipes and sockets become non-blocking, and conn_close undoes that, because the flag belongs to the open
 * file and so to every process that shares it; after SIGKILL it stays. Terminals and files stay blocking.
 */
int conn_adopt(const struct endpoint *ep, struct conn *out);

/* Closes both descriptors, waits at most grace_ms for the child and then kills it. Returns the child's wait
 * status, 0 if there is none. A closed conn is fine. */
int conn_close(struct conn *c, unsigned grace_ms);

/* Socket options as in the head comment; harmless on what is not TCP. */
void conn_tune(int fd);

#endif
