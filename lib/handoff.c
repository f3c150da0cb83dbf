#include "lib/handoff.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/auth.h"
#include "lib/entropy.h"

struct hello handoff_hello(const struct haul_config *cfg)
{
	struct hello h = {
		.minor_min = PROTOCOL_MINOR_MIN,
		.minor_max = PROTOCOL_MINOR,
		.offered = FEATURES_KNOWN,
		.required = cfg->delete_strays ? FEATURE_DELETE : 0,
		.max_body = RECORD_BODY_MAX_BYTES,
		.credit = EARLY_CREDIT_BYTES,
	};
	entropy_fill(h.instance, sizeof h.instance);
	return h;
}

/* What the handshake has to say goes out before the link's bytes. */
struct handoff *handoff_new(struct conn conn, const struct haul_config *cfg, const struct hello *hello)
{
	uint8_t ephemeral[AUTH_KEY_BYTES];
	struct handoff *h = calloc(1, sizeof *h);
	if (!h) {
		conn_close(&conn, 0);
		return NULL;
	}
	h->conn = conn;
	entropy_fill(ephemeral, sizeof ephemeral);
	handshake_respond_with(&h->hs, hello, auth_credentials(cfg->auth), ephemeral);
	sodium_memzero(ephemeral, sizeof ephemeral);
	return h;
}

void handoff_free(struct handoff *h)
{
	if (h) {
		conn_close(&h->conn, 0);
		handshake_wipe(&h->hs);
	}
	free(h);
}

void handoff_moved(struct handoff *h)
{
	close(h->conn.in);
	handshake_wipe(&h->hs);
	free(h);
}

/* The answer is short and goes to a fresh socket: if it does not fit at once, nobody is listening. */
static void send_last(struct handoff *h)
{
	ssize_t n = write(h->conn.out, h->hs.out, h->hs.out_len);
	(void)n;
	shutdown(h->conn.out, SHUT_WR);
	/* unread bytes would turn our close into a reset that overtakes the answer; who sends without end gets one */
	char rest[4096];
	for (int i = 0; i < 64 && read(h->conn.in, rest, sizeof rest) > 0; i++)
		;
}

/* M2 goes out before ATTACH comes in. */
static bool answer_now(struct handoff *h)
{
	if (!handshake_out_is_due(&h->hs))
		return true;
	ssize_t n = write(h->conn.out, h->hs.out, h->hs.out_len);
	bool whole = n == (ssize_t)h->hs.out_len;
	handshake_sent(&h->hs, h->hs.out_len);
	return whole;
}

enum wire_rc handoff_hear(struct handoff *h, struct wire_err *err)
{
	while (h->hs.state != HS_DECIDE) {
		uint8_t b[512];
		size_t want = handshake_need(&h->hs);
		ssize_t n = read(h->conn.in, b, want < sizeof b ? want : sizeof b);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return WIRE_MORE;
		if (n <= 0)
			return WIRE_NOT_HAUL;
		enum wire_rc rc = handshake_feed(&h->hs, b, (size_t)n, err);
		if (rc == WIRE_OK || rc == WIRE_MORE) {
			if (answer_now(h))
				continue;
			rc = wire_fail(err, WIRE_NOT_HAUL, "cannot be answered", 0);
		}
		send_last(h); /* an orderly end, even in silence: a keyed peer takes it for an answer */
		return rc;
	}
	return WIRE_OK;
}

void handoff_refuse(struct handoff *h, uint16_t code, const char *text)
{
	handshake_refuse(&h->hs, code, text);
	send_last(h);
}

int handoff_send(int socket, const struct handoff *h)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {(void *)(uintptr_t)h, sizeof *h};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.buf,
			     .msg_controllen = sizeof control.buf};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	*c = (struct cmsghdr){
		.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(c), &h->conn.in, sizeof(int));
	return sendmsg(socket, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

int handoff_receive(int socket, struct handoff *h)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct iovec iov = {h, sizeof *h};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.buf,
			     .msg_controllen = sizeof control.buf};
	ssize_t n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n < 0)
		return -errno;
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	if ((size_t)n != sizeof *h || !c || c->cmsg_type != SCM_RIGHTS)
		return -EPIPE; /* the listener is gone */
	int fd;
	memcpy(&fd, CMSG_DATA(c), sizeof fd);
	h->conn = (struct conn){.in = fd, .out = fd};
	/* the spans of the handshake look into its own buffer, which has moved with it */
	h->hs.attach.subdir = (struct span){NULL, 0};
	return 0;
}
