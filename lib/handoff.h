/*
 * handoff: a connection that was accepted, on its way to its session. Here it is heard up to ATTACH, answered
 * or turned away; then it is passed on, with the state of its handshake and its keys, to the process of the
 * session it is for.
 */
#ifndef HAUL_LIB_HANDOFF_H
#define HAUL_LIB_HANDOFF_H

#include "lib/config.h"
#include "lib/conn.h"
#include "wire/handshake.h"

struct handoff {
	struct conn conn;
	struct handshake hs; /* at HS_DECIDE when it is passed on */
};

/* What this side says of itself, with a new instance id. */
struct hello handoff_hello(const struct haul_config *cfg);

/* Takes conn over and begins the responder's handshake with the keys of cfg. NULL when out of memory: conn is
 * closed. */
struct handoff *handoff_new(struct conn conn, const struct haul_config *cfg, const struct hello *hello);
void handoff_free(struct handoff *h); /* closes the connection; NULL is fine */
/* The same after handoff_send: the connection lives on in another process. */
void handoff_moved(struct handoff *h);

/* Reads what is there, answers what must be answered. WIRE_OK: ATTACH is there (HS_DECIDE). WIRE_MORE: the
 * socket is empty. Else it is over, the last answer was sent, and err says why; its check is NULL when the peer
 * just closed. */
enum wire_rc handoff_hear(struct handoff *h, struct wire_err *err);

/* In HS_DECIDE: says no. */
void handoff_refuse(struct handoff *h, uint16_t code, const char *text);

/* Over a SOCK_SEQPACKET socket, 0 or -errno. The sender goes on owning h. */
int handoff_send(int socket, const struct handoff *h);
/* 0, -EAGAIN when none waits, else -errno. */
int handoff_receive(int socket, struct handoff *h);

#endif
