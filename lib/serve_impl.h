/* What the files of serve share, and nobody else sees. */
#ifndef HAUL_LIB_SERVE_IMPL_H
#define HAUL_LIB_SERVE_IMPL_H

#include "lib/conn.h"
#include "lib/serve.h"

/* Names the session that h opens. */
void serve_name_session(struct serve_session *session, const struct handoff *h);

/* Serves the one connection there is, which moves here; its exit status, or -1 with err filled. */
int serve_single(const struct serve_setup *setup, struct conn conn, struct haul_err *err);

#endif
