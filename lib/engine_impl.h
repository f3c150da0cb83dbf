/* What the files of the engine share: engine.c, engine_conn.c, engine_io.c. */
#ifndef HAUL_LIB_ENGINE_IMPL_H
#define HAUL_LIB_ENGINE_IMPL_H

#include "lib/engine.h"

/* How long an orderly good-bye may take once there is nothing left to move. */
#define FINISH_MS     3000u
#define ABORT_MS      2000u
#define ABORT_MUTE_MS 200u /* to a peer that has been silent anyway */

/* ---- engine ---- */

/* The next phase, and how long it may take. */
void engine_enter(struct engine *e, enum engine_phase phase, uint64_t within_ms);

/* ---- engine_conn: making, answering and losing connections ---- */

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

/* ---- engine_io ---- */

/* What the connection holds: records in, their events to the role. */
void engine_read(struct engine *e);
/* Seals and writes what credit, pace and socket allow. */
void engine_flush(struct engine *e);

#endif
