/* serve, when there is one connection already: a session in this very process. */
#include "lib/serve_impl.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/clock.h"
#include "lib/gate.h"
#include "lib/handoff.h"
#include "lib/strangers.h"

/* inetd and systemd pass what somebody connected to from anywhere. */
static bool is_admitted(const struct serve_setup *setup, int fd)
{
	struct gate gate = {.only = &setup->cfg->only_from};
	struct sockaddr_storage sa = {.ss_family = AF_UNSPEC};
	socklen_t len = sizeof sa;
	return getpeername(fd, (struct sockaddr *)&sa, &len) < 0 || gate_admits(&gate, &sa);
}

static enum haul_rc hear_single(struct handoff *h, struct haul_err *err)
{
	uint64_t deadline = clock_now_ms() + STRANGER_MS;
	struct wire_err w = {0};
	enum wire_rc rc = WIRE_MORE;
	while (rc == WIRE_MORE) {
		uint64_t now = clock_now_ms();
		struct pollfd p = {h->conn.in, POLLIN, 0};
		if (now >= deadline || poll(&p, 1, (int)(deadline - now)) == 0)
			return haul_fail(err, HAUL_CONNECT, 0, "stdio", "the peer said nothing in time");
		rc = handoff_hear(h, &w);
	}
	if (rc == WIRE_OK)
		return HAUL_OK;
	if (!w.check)
		return haul_fail(err, HAUL_CONNECT, 0, "stdio", "closed before the handshake");
	return haul_fail(err,
			 rc == WIRE_VERSION ? HAUL_VERSION
			 : rc == WIRE_AUTH  ? HAUL_AUTH
					    : HAUL_PROTOCOL,
			 0, "stdio", "%s", w.check);
}

/* Of what comes before a session, a peer that spoke and went knows as much as we do; so does one whose key does
 * not fit, and one that is refused. */
static bool is_known(const struct handoff *h, const struct haul_err *err)
{
	bool spoke = h->hs.state != HS_PREFIX;
	return err->rc == HAUL_AUTH || err->rc == HAUL_POLICY || (err->rc == HAUL_CONNECT && spoke);
}

int serve_single(const struct serve_setup *setup, const struct endpoint *ep, struct conn conn,
		 struct haul_err *err)
{
	int status = -1;
	if (!is_admitted(setup, conn.in)) {
		gate_close(conn.in);
		haul_fail(err, HAUL_POLICY, 0, "--recv-only-from", "the peer's address is not among these");
		return -1;
	}
	struct hello hello = handoff_hello();
	struct handoff *h = handoff_new(conn, setup->cfg, &hello);
	if (!h) {
		haul_fail(err, HAUL_NO_MEMORY, 0, NULL, "cannot start the session");
		return -1;
	}
	const struct frame_attach *a = &h->hs.attach;
	if (hear_single(h, err) == HAUL_OK && a->role == setup->role) {
		haul_fail(err, HAUL_POLICY, 0, "stdio", "both sides have the same role");
		handoff_refuse(h, (uint16_t)haul_rc_status(HAUL_POLICY), err->why);
	} else if (err->rc == HAUL_OK) {
		struct serve_session session = {
			.first = h, .handoff_fd = -1, .beside = ep->kind == ENDPOINT_STDIO};
		serve_name_session(&session, h);
		snprintf(session.subdir, sizeof session.subdir, "%.*s", (int)a->subdir.n,
			 (const char *)a->subdir.p);
		status = setup->session(setup->ctx, &session);
	}
	if (status < 0 && ep->kind == ENDPOINT_STDIO && !setup->cfg->verbose && is_known(h, err))
		status = haul_exit_status(err);
	handshake_wipe(&h->hs);
	free(h);
	return status;
}
