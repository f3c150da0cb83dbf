/*
 * Life cycle of a session: one table of (state, frame, who sent it) -> next state. A missing row is the
 * refusal. Both ends step the same machine for what they send and for what they receive.
 */
#ifndef HAUL_WIRE_SESSION_H
#define HAUL_WIRE_SESSION_H

#include "wire/err.h"
#include "wire/frame.h"

enum session_state {
	SESSION_INIT,		 /* nothing said yet */
	SESSION_OPEN,		 /* both directions carry messages */
	SESSION_SENDER_CLOSED,	 /* the sender is done; the receiver's verdict is to come */
	SESSION_RECEIVER_CLOSED, /* the receiver takes no more content; what is on its way is acked and
				    dropped */
	SESSION_DRAINING,	 /* both are done; the verdict is to come */
	SESSION_CLOSED,
	SESSION_STATE_COUNT
};

struct session {
	enum session_state state;
};

/* Steps over one frame sent by `from`: WIRE_OK, or WIRE_VIOLATION and the state stays. */
enum wire_rc session_step(struct session *s, uint8_t frame, enum frame_role from, struct wire_err *err);

/* The session is over for a reason that no frame of the table tells. */
void session_close(struct session *s);

const char *session_state_name(enum session_state state);

#endif
