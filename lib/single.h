/*
 * single: one session over a connection that was there before us: standard input and output, or an inherited
 * socket.
 */
#ifndef HAUL_LIB_SINGLE_H
#define HAUL_LIB_SINGLE_H

#include "lib/conn.h"
#include "lib/endpoint.h"
#include "lib/handoff.h"
#include "lib/serve.h"

/* Hears who is there and runs the session in this process; conn moves to it. The exit status, or -1 with err
 * filled when it is to be reported. */
int single_serve(const struct serve_setup *setup, const struct endpoint *ep, struct conn conn,
		 struct haul_err *err);

/* Who the session is for, from its handshake; also for the sessions of a listener. */
void single_name_session(struct serve_session *session, const struct handoff *h);

#endif
