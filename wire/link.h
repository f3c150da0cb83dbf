/*
 * The link: reliable, ordered, resumable, duplex messages over connections that come and go.
 *
 * It knows nothing of files: it deals in offsets, acks and opaque bodies. Sans-I/O: bytes and the time go in,
 * bytes and events come out, so two links in one process are the simulator (tests/sim).
 *
 *   out   credit -> ring -> seal -> write. The ring is the only queue of unacked messages.
 *   in    offset == expected: accepted; below: dropped and counted; above: a protocol error.
 *
 * Both directions are symmetric. A new connection brings the offset the peer expects; the send position jumps
 * there and whole messages are sealed again. There is no other replay code, so it does not matter whether the
 * cut came in the middle of a write, while waiting for credit, or during a replay.
 *
 * Three clocks, exactly one of which runs at a time (see link_clock):
 *   reconnect   no connection               time spent without one since the last progress
 *   credit      connected, window full      since the last grant or ack that moved
 *   idle        connected, something owed   since any offset last moved
 * PING proves that the peer lives; it is not progress.
 */
#ifndef HAUL_WIRE_LINK_H
#define HAUL_WIRE_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/channel.h"
#include "wire/credit.h"
#include "wire/handshake.h"

#define LINK_FOREVER UINT64_MAX

struct link_config {
	uint64_t window;	 /* raw bytes the peer may have in flight towards this side */
	uint64_t ring;		 /* stored bytes kept for replay */
	uint32_t max_body;	 /* longest body accepted */
	bool peer_is_source;	 /* it may wait for a producer, and owes nothing then */
	bool keep_until_durable; /* release the ring at durable, not at written (a source that cannot be read
				    twice) */
	uint64_t reconnect_ms, credit_wait_ms, idle_ms; /* LINK_FOREVER: no limit */
	struct buf_source source;
};

enum link_state { LINK_DOWN, LINK_ATTACHING, LINK_UP };

struct link {
	struct link_config cfg;
	enum link_state state;
	struct channel channel;
	unsigned generation; /* connections so far */

	/* out: acked <= sent on the wire <= ring.end == credit.sent <= credit.granted, but for one large
	 * message */
	struct ring ring;
	struct credit credit;
	size_t cursor;	    /* index in the ring of the next message to seal */
	uint64_t durable;   /* the peer's */
	uint64_t replay_to; /* messages below went out before on an earlier connection */

	/* in: written <= expected */
	uint64_t expected, written, durable_here;
	size_t unwritten;				   /* messages accepted and not yet consumed */
	uint64_t told_written, told_durable, told_granted; /* by the last ACK or attach */

	/* control to be sent: flags, never a queue */
	bool ping_due, pong_due, cancel_due, fin_due;
	bool ack_due;
	uint64_t ack_at;
	uint8_t blocked_here, blocked_told, blocked_peer;
	uint32_t pings, answered; /* PINGs sent, over all connections; the number of the last one answered */
	uint32_t pinged;	  /* number of the peer's last one */
	struct frame_cancel cancel; /* text looks into cancel_text */
	char cancel_text[REASON_TEXT_MAX_BYTES];
	bool cancelled, peer_cancelled, finned, peer_finned;

	/* time, milliseconds */
	uint64_t last_rx, last_tx, last_ping, last_progress, credit_since;
	uint64_t down_since; /* not up since then, as far as down_spent does not count it */
	uint64_t down_spent; /* without a connection since the last progress */
	uint64_t vain_since; /* on this connection: nothing moved since */
	unsigned fruitless;  /* connections since the last progress that ended after a long time in vain */
	bool owed, waiting, idle_runs;
	uint64_t seen_out; /* of channel.message_out */

	/* figures */
	uint64_t bytes_in, bytes_out; /* of closed channels; add the open one's */
	uint64_t replayed_bytes, dup_bytes, stale_acks;
};

enum link_event_type {
	LINK_MESSAGE,	/* head and body; the caller owns buf and owes link_consume(cost) */
	LINK_ACKED,	/* the peer's written, durable or granted moved */
	LINK_CANCELLED, /* the peer ended the session: code and text */
	LINK_FINISHED,	/* the peer's orderly end of this connection */
};

struct link_event {
	enum link_event_type type;
	uint8_t frame; /* of a message */
	uint32_t cost;
	uint64_t offset;
	struct buf *body;
	struct frame_cancel cancel; /* text borrowed until the next call */
};

/* WIRE_NOMEM, or WIRE_OK. The ring is raised to hold a full window and one chunk: *raised tells. */
enum wire_rc link_init(struct link *l, const struct link_config *cfg, uint64_t now, bool *raised);
void link_free(struct link *l);

/* Takes the link up where an earlier process left it: everything below `expected` was received and is
 * durable, everything below `sent` was sent and is the peer's. Before the first attach only. */
void link_restore(struct link *l, uint64_t expected, uint64_t sent);

/* ---- connections ---- */

/* What to say of this side in ATTACH or WELCOME. */
uint64_t link_received(const struct link *l);
uint64_t link_grant(struct link *l);

/* Initiator, first connection: messages may flow as early credit before WELCOME. */
enum wire_rc link_attach_early(struct link *l, const struct handshake *hs, uint64_t now,
			       struct wire_err *err);

/* Would link_attach take a peer that expects `received`? Asked before WELCOME is said and the older
 * connection is given up: a connection that was dialled before the present one may be accepted after it, and
 * wants what was freed meanwhile. Refuse that connection, not the session. */
enum wire_rc link_resumable(const struct link *l, uint64_t received, struct wire_err *err);

/* The handshake is answered: the peer expects `received` next and grants `granted`. Replaces any connection
 * there was. WIRE_LOST when the ring no longer holds that offset; WIRE_VIOLATION when it never did. */
enum wire_rc link_attach(struct link *l, const struct handshake *hs, uint64_t received, uint64_t granted,
			 uint64_t now, struct wire_err *err);
/* The connection is gone. */
void link_detach(struct link *l, uint64_t now);

/* ---- out ---- */

/* Would link_send take this now? */
bool link_can_send(const struct link *l, uint32_t cost, size_t stored);
/* The body moves to the ring; WIRE_FULL leaves it with the caller (and starts the credit clock). */
enum wire_rc link_send(struct link *l, uint8_t type, uint32_t cost, struct buf *body, uint64_t now);
/* Tells that the caller has something to send that did not fit, or no longer (credit clock). */
void link_waiting(struct link *l, bool waiting, uint64_t now);
/* Ends the session for a reason; the first one stays. Sent on this and every later connection. */
void link_cancel(struct link *l, uint16_t code, const char *text);
/* Says FIN once everything given to the link is out. */
void link_fin(struct link *l);

/* Raw bytes given to the link that are not yet on the wire of this connection. */
uint64_t link_unsent(const struct link *l);

size_t link_gather(struct link *l, uint64_t now, struct iovec iov[static CHANNEL_IOV_MAX]);
void link_wrote(struct link *l, size_t n);

/* ---- in ---- */

size_t link_space(struct link *l, struct iovec iov[static 2]);
void link_filled(struct link *l, size_t n, uint64_t now);
/* This side does not read for now: silence says nothing about the peer. */
void link_hold(struct link *l, uint64_t now);
/* WIRE_OK with *ev, WIRE_MORE, or an error that ends this connection (WIRE_DAMAGED) or the session. */
enum wire_rc link_next(struct link *l, uint64_t now, struct link_event *ev, struct wire_err *err);

/* The oldest unconsumed message was written or handed on: its cost becomes credit again. In order. */
void link_consume(struct link *l, uint32_t cost, uint64_t now);
/* Everything below offset (<= written) is on stable storage. */
void link_durable(struct link *l, uint64_t offset);

/* ---- clocks ---- */

enum link_clock { LINK_CLOCK_NONE, LINK_CLOCK_RECONNECT, LINK_CLOCK_CREDIT, LINK_CLOCK_IDLE };
enum link_verdict { LINK_FINE, LINK_PEER_DEAD, LINK_NO_RECONNECT, LINK_NO_CREDIT, LINK_NO_PROGRESS };

/* The peer owes this side something (answers, data): the idle clock may run. */
void link_owed(struct link *l, bool owed, uint64_t now);
/* What this side waits for, told to the peer in PING when it changes. 0 nothing, 1 source, ... */
void link_blocked(struct link *l, uint8_t blocked);

/* Which clock runs now, and when it will have run out. */
enum link_clock link_clock(const struct link *l, uint64_t *expires);
/* Acts on time passing (PING, delayed ACK) and gives the verdict. */
enum link_verdict link_tick(struct link *l, uint64_t now);
/* When link_tick must be called next; LINK_FOREVER if never. */
uint64_t link_deadline(const struct link *l, uint64_t now);

uint64_t link_bytes_in(const struct link *l);
uint64_t link_bytes_out(const struct link *l);

#endif
