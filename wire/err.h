/* How the conversation fails. The detail names the check and where it stood, so that no two look alike. */
#ifndef HAUL_WIRE_ERR_H
#define HAUL_WIRE_ERR_H

#include <stdint.h>

enum wire_rc {
	WIRE_OK,
	WIRE_MORE,    /* nothing wrong: more bytes are needed */
	WIRE_DAMAGED, /* a record does not match its tag: this connection is worthless, replay may cure it */
	WIRE_VIOLATION, /* the peer broke the protocol */
	WIRE_NOT_HAUL,	/* the first bytes are not haul's */
	WIRE_VERSION,	/* no common version, or a required feature is missing */
	WIRE_REFUSED,	/* the peer said no; its reason is in the detail */
	WIRE_LOST,	/* the peer wants an offset the ring no longer holds */
	WIRE_FULL,	/* no credit or no room in the ring: try again after an ACK */
	WIRE_NOMEM,
	WIRE_AUTH, /* one side wants keys that the other has not shown to have */
};

struct wire_err {
	enum wire_rc rc;
	const char *check; /* static text */
	uint64_t at;	   /* offset, length or count that failed the check */
};

/* Records the first failure and returns rc. */
static inline enum wire_rc wire_fail(struct wire_err *e, enum wire_rc rc, const char *check, uint64_t at)
{
	if (e->rc == WIRE_OK)
		*e = (struct wire_err){rc, check, at};
	return rc;
}

/*
 * Reasons that travel in REFUSE, CANCEL, STOP, WANT and RESULT. Below 256 a reason is the exit status of
 * the same cause in the contract with the user; these have none of their own:
 */
enum wire_reason {
	REASON_NO_SESSION = 0x100, /* resume of a session that is not here */
	REASON_SUPERSEDED = 0x101, /* a newer connection has taken over */
	REASON_GOAWAY = 0x102,	   /* this end is going down; dial again */
	REASON_UNCHANGED = 0x103,  /* in an OUTCOME: every chunk was there already; nothing was written */
	REASON_ONE_ONLY = 0x104,   /* in a VERDICT: one file or stream is taken here, and nothing else */
};

#endif
