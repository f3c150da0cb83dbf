/* engine, the half that makes, answers and loses connections. */
#ifndef HAUL_LIB_ENGINE_CONN_H
#define HAUL_LIB_ENGINE_CONN_H

#include "lib/engine.h"

/* Initiator: starts an attempt when its time has come, and moves one under way along. */
void engine_conn_dial(struct engine *e, uint64_t now);
/* Milliseconds at which engine_conn_dial must run again. */
uint64_t engine_conn_deadline(const struct engine *e);
/* The connection, or the attempt, is over; cause and side are for the events. */
void engine_conn_lost(struct engine *e, const char *cause, const char *side);
/* Bytes of a handshake under way. */
void engine_conn_shake(struct engine *e);
/* Responder: takes every connection that waits in the handoff socket. */
void engine_conn_accept(struct engine *e);
/* Writes what is left of the opening; true when nothing is. */
bool engine_conn_flush_opening(struct engine *e);

#endif
