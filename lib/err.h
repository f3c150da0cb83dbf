/*
 * The one table of everything that can end a transfer, and the detail that travels with it.
 * A row is: name, exit status (cli contract, stable), class, text. Nothing else in the program
 * knows an exit status by number.
 */
#ifndef HAUL_LIB_ERR_H
#define HAUL_LIB_ERR_H

#include <stdint.h>

/* OK: fine; HUMAN: somebody must act; AGAIN: the same command may succeed; BUG: report it */
enum haul_class { HAUL_CLASS_OK, HAUL_CLASS_HUMAN, HAUL_CLASS_AGAIN, HAUL_CLASS_BUG };

#define HAUL_ERRORS(X)                                                                                       \
	X(OK, 0, OK, "everything committed and verified")                                                    \
	X(USAGE, 1, HUMAN, "usage or configuration")                                                         \
	X(VERSION, 2, HUMAN, "no common protocol version, or a required feature is missing")                 \
	X(NO_SOURCE, 3, HUMAN, "no source could be read")                                                    \
	X(POLICY, 4, HUMAN, "refused by the peer's policy")                                                  \
	X(AUTH, 5, HUMAN, "authentication failed")                                                           \
	X(LINK_LOST, 10, AGAIN, "link lost and reconnect budget spent; run again to continue")               \
	X(IO, 11, HUMAN, "local file error")                                                                 \
	X(PROTOCOL, 12, BUG, "protocol violation or damage that replay could not cure")                      \
	X(NO_SPACE, 13, HUMAN, "no space or quota at the receiver; state kept")                              \
	X(DIGEST, 14, HUMAN, "digest mismatch after a resend; not committed")                                \
	X(COMMAND, 15, HUMAN, "producer or consumer command failed; nothing committed")                      \
	X(NO_RESUME, 16, HUMAN, "a stream cannot be resumed: the ring no longer holds the offset")           \
	X(NO_MEMORY, 22, HUMAN, "out of memory or another local limit")                                      \
	X(PARTIAL, 23, HUMAN, "some files failed, the rest is committed")                                    \
	X(CHANGED, 24, HUMAN, "some files vanished or changed while read, the rest is committed")            \
	X(DELETE_GUARD, 25, HUMAN, "delete guard: nothing was deleted")                                      \
	X(DEADLINE, 26, AGAIN, "deadline")                                                                   \
	X(IDLE, 30, AGAIN, "peer idle or credit timeout, no retry left")                                     \
	X(CONNECT, 35, AGAIN, "could not connect")                                                           \
	X(BUSY, 75, AGAIN, "busy: locked, or the receiver is full")                                          \
	X(SIGNAL, 128, AGAIN, "ended by a signal; state kept")

#define X(name, status, class, text) HAUL_##name,
enum haul_rc { HAUL_ERRORS(X) HAUL_RC_COUNT };
#undef X

#define HAUL_SUBJECT_MAX 512
#define HAUL_WHY_MAX	 256

/*
 * One failure, as `haul: subject: what: why` will say it. The subject is a path, an address or an
 * option exactly as met (it is escaped when printed); sys is an errno or 0.
 */
struct haul_err {
	enum haul_rc rc;
	int sys;     /* errno, 0 if none */
	int signal;  /* for HAUL_SIGNAL */
	uint64_t at; /* offset or position of the check that failed, if it has one */
	char subject[HAUL_SUBJECT_MAX];
	char why[HAUL_WHY_MAX];
};

/*
 * Records a failure and returns rc. The first one wins: an err that already holds a failure is left
 * alone. subject may be NULL; fmt says what was being done and why it did not work (printf style).
 */
__attribute__((format(printf, 5, 6))) enum haul_rc haul_fail(struct haul_err *e, enum haul_rc rc, int sys,
							     const char *subject, const char *fmt, ...);

/* Forgets what e holds. */
void haul_err_clear(struct haul_err *e);

/* The exit status of a failure: the table's, or 128 + n for a signal. */
int haul_exit_status(const struct haul_err *e);

/* Table look-ups; any rc is answered. */
int haul_rc_status(enum haul_rc rc);
const char *haul_rc_name(enum haul_rc rc); /* "LINK_LOST" */
const char *haul_rc_text(enum haul_rc rc);
const char *haul_rc_class(enum haul_rc rc);	   /* "ok", "human", "again", "bug" */
enum haul_rc haul_rc_from_status(unsigned status); /* HAUL_PROTOCOL for a status not in the table */
/* What the peer gives as its reason to end something: success and signals are none, so HAUL_PROTOCOL. */
enum haul_rc haul_rc_from_reason(unsigned code);
/* Of an entry that was refused or failed; *sys, the errno beside it, becomes 0 if the text says it all. */
const char *haul_reason_text(unsigned code, int *sys);

/* Which of these errno values mean "no space or quota" (HAUL_NO_SPACE), else HAUL_IO. */
enum haul_rc haul_rc_from_errno(int sys);

#endif
