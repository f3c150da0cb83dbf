/*
 * dial: from an endpoint to a connection.
 *
 * exec: and ssh endpoints run a child on one end of a socketpair: same process group (Ctrl-C reaches it),
 * signals at their defaults, no descriptor but 0, 1 and 2, standard error passed through. ssh runs
 * `haul recv --stdio -- 'DIR'` there, or `haul send --listen=stdio: -- 'PATH'` for an endpoint to pull from.
 */
#ifndef HAUL_LIB_DIAL_H
#define HAUL_LIB_DIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/config.h"
#include "lib/conn.h"

struct endpoint;

/*
 * Dialling is a small state machine so that the caller's poll loop keeps running; name look-up is the one
 * blocking step, bounded by the resolver. The addresses of a name are tried in turn, each with an equal
 * share of what is left of connect_ms.
 *
 * dial_start: 0 when started, else -errno. *out is owned by the caller either way, and tells why by
 * dial_error_text; it is NULL only without memory. Borrows ep until dial_abort.
 * dial_step: 0 connected (conn is the caller's), -EINPROGRESS wait for POLLOUT on dial_poll_fd or for
 * dial_wake_ms, else -errno after the last address failed. Calling it early is harmless.
 */
struct dial;
int dial_start(const struct endpoint *ep, const struct haul_config *cfg, struct dial **out);
int dial_poll_fd(const struct dial *d);
uint64_t dial_wake_ms(const struct dial *d); /* on clock_now_ms; UINT64_MAX for never */
int dial_step(struct dial *d, struct conn *out);
/* Would dialling again fail in the same way? rc is what dial_start or dial_step returned. A path or a program
 * that cannot be used is for a person to mend; anything about a network may pass. */
bool dial_is_hopeless(const struct endpoint *ep, int rc);
const char *dial_error_text(const struct dial *d); /* of the last failure, e.g. "connection refused" */
void dial_abort(struct dial *d); /* closes what is open and frees; NULL is fine; also after success */

#endif
