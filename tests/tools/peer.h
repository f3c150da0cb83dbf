/*
 * One end of a conversation that need not be honest: sockets, the handshake, records out exactly as asked
 * for, and everything that comes in told on standard output, one line a frame. ACK, PING and PONG are only
 * counted.
 */
#ifndef HAUL_TESTS_PEER_H
#define HAUL_TESTS_PEER_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/digest.h"
#include "lib/entropy.h"
#include "wire/frame.h"
#include "wire/handshake.h"
#include "wire/seal.h"

#define PEER_MS	   25000 /* everything ends by then */
#define ANSWER_MS  12000 /* an answer that does not come by then will not */
#define PEER_SEED  4285u
#define PEER_CHUNK CHUNK_DEFAULT_BYTES

struct peer {
	int fd, listener;
	bool sends, closed;
	struct hello hello;
	struct frame_attach attach;
	struct frame_welcome welcome;
	struct handshake hs;
	struct seal tx, rx;
	uint64_t out, in;		 /* offsets of the next message */
	uint64_t offered, offered_files; /* for FINISH */
	uint64_t window;		 /* granted beyond what came in */
	uint64_t granted;		 /* to us */
	bool mute;			 /* never acknowledges */
	bool writing, ack_due, pong_due, fin_due, finned;
	uint32_t pinged; /* number of the last PING */
	/* Called for every message that comes; may be NULL. */
	void (*hear)(struct peer *p, const struct frame_head *head, struct span body);
	const void *self; /* for hear */
	unsigned heard[256];
	uint16_t action; /* of the first verdict of the last WANT */
	uint64_t ends;	 /* ms */
	size_t len;
	uint8_t stage[RECORD_LEN_BYTES + FRAME_HEAD_BYTES + RECORD_BODY_MAX_BYTES + RECORD_TAG_MAX_BYTES];
};

static inline uint64_t now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static inline void say_text(struct span s)
{
	for (size_t i = 0; i < s.n; i++)
		putchar(s.p[i] >= ' ' && s.p[i] < 127 ? s.p[i] : '?');
}

static void peer_read(struct peer *p);
static void peer_answer(struct peer *p);

/* Waits for the socket, reading what comes; false when there is no more time or connection. */
static inline bool peer_wait(struct peer *p, bool write, uint64_t until)
{
	uint64_t now = now_ms(), end = until < p->ends ? until : p->ends;
	if (p->closed || now >= end)
		return false;
	if (!p->writing)
		peer_answer(p);
	struct pollfd pfd = {p->fd, (short)(POLLIN | (write ? POLLOUT : 0)), 0};
	if (poll(&pfd, 1, (int)(end - now)) <= 0)
		return false;
	if (pfd.revents & (POLLIN | POLLHUP | POLLERR))
		peer_read(p);
	if (!p->writing)
		peer_answer(p);
	return !p->closed;
}

/* Writes all of it; what is to be said meanwhile in answer to something waits behind it. */
static inline void peer_put(struct peer *p, const void *bytes, size_t n)
{
	const uint8_t *b = bytes;
	p->writing = true;
	while (n && !p->closed) {
		ssize_t put = send(p->fd, b, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (put > 0) {
			b += put;
			n -= (size_t)put;
		} else if (put < 0 && errno == EAGAIN) {
			if (!peer_wait(p, true, UINT64_MAX))
				break;
		} else {
			/* what the other side said before it closed is still to be read */
			while (peer_wait(p, false, now_ms() + 500))
				;
			break;
		}
	}
	p->writing = false;
}

/* A record as the head says it, whatever that is. */
static inline void peer_record(struct peer *p, const struct frame_head *h, const uint8_t *body, size_t n)
{
	uint8_t head[FRAME_HEAD_BYTES], len[RECORD_LEN_BYTES], tag[RECORD_TAG_MAX_BYTES];
	frame_head_put(head, h);
	seal_close(&p->tx, head, body, n, tag);
	struct wr w = wr_init(len, sizeof len);
	wr_uint(&w, FRAME_HEAD_BYTES + n + seal_tag_bytes(&p->tx), sizeof len);
	static uint8_t all[sizeof p->stage + 8192];
	struct wr r = wr_init(all, sizeof all);
	wr_bytes(&r, len, sizeof len);
	wr_bytes(&r, head, sizeof head);
	wr_bytes(&r, body, n);
	wr_bytes(&r, tag, seal_tag_bytes(&p->tx));
	peer_put(p, all, r.n);
}

static inline void peer_control(struct peer *p, uint8_t type, const uint8_t *body, size_t n)
{
	peer_record(p, &(struct frame_head){.type = type, .body_len = (uint32_t)n}, body, n);
}

/* A message at its place; cost 0: what its length makes it. */
static inline void peer_message(struct peer *p, uint8_t type, uint32_t cost, const uint8_t *body, size_t n)
{
	struct frame_head h = {type, (uint32_t)n, cost ? cost : n ? (uint32_t)n : 1, p->out};
	p->out += h.cost;
	peer_record(p, &h, body, n);
}

/* PUT(peer, lower, UPPER, fields...): a message of a frame's fields; PUT_FRAME: of a struct; CONTROL
 * likewise. */
#define PUT_FRAME(p, lower, UPPER, f)                                                                        \
	do {                                                                                                 \
		uint8_t put_b[9000];                                                                         \
		struct wr put_w = wr_init(put_b, sizeof put_b);                                              \
		frame_put_##lower(&put_w, f);                                                                \
		peer_message(p, F_##UPPER, 0, put_b, put_w.n);                                               \
	} while (0)
#define PUT(p, lower, UPPER, ...) PUT_FRAME(p, lower, UPPER, (&(struct frame_##lower){__VA_ARGS__}))
#define CONTROL(p, lower, UPPER, ...)                                                                        \
	do {                                                                                                 \
		uint8_t put_b[512];                                                                          \
		struct wr put_w = wr_init(put_b, sizeof put_b);                                              \
		frame_put_##lower(&put_w, &(struct frame_##lower){__VA_ARGS__});                             \
		peer_control(p, F_##UPPER, put_b, put_w.n);                                                  \
	} while (0)

/* ---- in ---- */

static inline void tell_want(struct peer *p, struct span body)
{
	struct frame_want w;
	struct frame_verdict v;
	if (!frame_get_want(body, &w)) {
		printf("WANT malformed\n");
		return;
	}
	printf("WANT %llu", (unsigned long long)w.first);
	struct rd r = rd_init(w.verdicts.p, w.verdicts.n);
	for (unsigned i = 0; i < w.count && frame_get_part_verdict(&r, &v); i++) {
		if (i < 8)
			printf(" %u/%u/%u", v.action, v.code, v.sys);
		p->action = i ? p->action : v.action;
	}
	printf("\n");
}

static inline void tell_result(struct span body)
{
	struct frame_result f;
	struct frame_outcome o;
	if (!frame_get_result(body, &f)) {
		printf("RESULT malformed\n");
		return;
	}
	printf("RESULT");
	struct rd r = rd_init(f.results.p, f.results.n);
	for (unsigned i = 0; i < f.count && frame_get_part_outcome(&r, &o); i++)
		if (i < 8)
			printf(" %llu=%u/%u", (unsigned long long)o.file, o.code, o.sys);
	printf("\n");
}

static inline void tell(struct peer *p, const struct frame_head *h, struct span body)
{
	struct frame_cancel c;
	struct frame_stop s;
	struct frame_summary y;
	if (h->type == F_WANT) {
		tell_want(p, body);
	} else if (h->type == F_RESULT) {
		tell_result(body);
	} else if (h->type == F_CANCEL && frame_get_cancel(body, &c)) {
		printf("CANCEL %u ", c.code);
		say_text(c.text);
		printf("\n");
	} else if (h->type == F_STOP && frame_get_stop(body, &s)) {
		printf("STOP %u/%u ", s.code, s.sys);
		say_text(s.text);
		printf("\n");
	} else if (h->type == F_SUMMARY && frame_get_summary(body, &y)) {
		printf("SUMMARY files=%llu failed=%llu\n", (unsigned long long)y.files,
		       (unsigned long long)y.failed);
	} else if (h->type != F_ACK && h->type != F_PING && h->type != F_PONG && p->heard[h->type] <= 20) {
		printf("%s\n", frame_name(h->type));
	}
}

static inline void peer_fin(struct peer *p)
{
	p->finned = true;
	CONTROL(p, fin, FIN, p->out, p->in);
}

static inline void take(struct peer *p, uint8_t *record, size_t length)
{
	struct frame_head h;
	struct frame_ack ack;
	struct frame_ping ping;
	size_t n;
	if (!seal_open(&p->rx, record, length, &n) || frame_head_get(record, &h)) {
		printf("DAMAGED\n");
		p->closed = true;
		return;
	}
	struct span body = {record + FRAME_HEAD_BYTES, n};
	p->heard[h.type]++;
	tell(p, &h, body);
	if (frame_class_of(h.type) == FRAME_CLASS_MESSAGE) {
		p->in = h.offset + h.cost;
		p->ack_due = true;
		if (p->hear)
			p->hear(p, &h, body);
	} else if (h.type == F_ACK && frame_get_ack(body, &ack)) {
		p->granted = ack.granted;
	} else if (h.type == F_PING && frame_get_ping(body, &ping)) {
		p->pinged = ping.number;
		p->pong_due = true;
	} else if (h.type == F_CANCEL || h.type == F_FIN) {
		p->fin_due = true;
	}
}

/* What is due of ourselves. */
static void peer_answer(struct peer *p)
{
	if (p->ack_due && !p->mute)
		CONTROL(p, ack, ACK, p->in, p->in, p->in + p->window);
	p->ack_due = false;
	if (p->pong_due)
		CONTROL(p, pong, PONG, 0, p->pinged);
	p->pong_due = false;
	if (p->fin_due && !p->finned)
		peer_fin(p);
}

static inline void over(struct peer *p, const char *how)
{
	if (!p->closed)
		printf("%s\n", how);
	p->closed = true;
}

static void peer_read(struct peer *p)
{
	ssize_t got = recv(p->fd, p->stage + p->len, sizeof p->stage - p->len, MSG_DONTWAIT);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0) {
		over(p, got ? "RESET" : "CLOSED");
		return;
	}
	p->len += (size_t)got;
	while (p->len >= RECORD_LEN_BYTES) {
		struct rd r = rd_init(p->stage, RECORD_LEN_BYTES);
		size_t length = rd_u32(&r);
		if (length > sizeof p->stage - RECORD_LEN_BYTES) {
			over(p, "DAMAGED");
			return;
		}
		if (p->len < RECORD_LEN_BYTES + length)
			break;
		/* answering it may read more behind it */
		uint8_t *copy = malloc(length);
		if (!copy)
			abort();
		memcpy(copy, p->stage + RECORD_LEN_BYTES, length);
		p->len -= RECORD_LEN_BYTES + length;
		memmove(p->stage, p->stage + RECORD_LEN_BYTES + length, p->len);
		take(p, copy, length);
		free(copy);
	}
}

/* Until n frames of this type have come. */
static inline bool peer_await(struct peer *p, uint8_t type, unsigned n)
{
	uint64_t until = now_ms() + ANSWER_MS;
	while (p->heard[type] < n)
		if (!peer_wait(p, false, until))
			return p->heard[type] >= n;
	return true;
}

/* Until the other side has closed, or ms have passed. */
static inline void peer_drain(struct peer *p, uint64_t ms)
{
	uint64_t until = now_ms() + ms;
	while (peer_wait(p, false, until))
		;
	if (!p->closed)
		printf("OPEN\n");
}

/* ---- connections ---- */

static inline struct sockaddr_in peer_address(const char *text)
{
	struct sockaddr_in sa = {.sin_family = AF_INET};
	char host[64];
	const char *colon = strrchr(text, ':');
	snprintf(host, sizeof host, "%.*s", colon ? (int)(colon - text) : 0, text);
	if (!colon || inet_pton(AF_INET, host, &sa.sin_addr) != 1) {
		fprintf(stderr, "peer: %s: not IPV4:PORT\n", text);
		exit(1);
	}
	sa.sin_port = htons((uint16_t)atoi(colon + 1));
	return sa;
}

static inline int peer_dial(const char *text)
{
	struct sockaddr_in sa = peer_address(text);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0)
		return fd;
	perror("peer: connect");
	exit(2);
}

/* Tells where it listens, as the first line. */
static inline int peer_listen(const char *text)
{
	struct sockaddr_in sa = peer_address(text);
	socklen_t len = sizeof sa;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0 || listen(fd, 128) < 0 ||
	    getsockname(fd, (struct sockaddr *)&sa, &len) < 0) {
		perror("peer: listen");
		exit(2);
	}
	printf("127.0.0.1:%u\n", ntohs(sa.sin_port));
	return fd;
}

static inline void peer_tune(int fd)
{
	int on = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* The next connection, with everything about the last one forgotten; false when none comes. */
static inline bool peer_accept(struct peer *p)
{
	struct pollfd pfd = {p->listener, POLLIN, 0};
	uint64_t now = now_ms();
	if (now >= p->ends || poll(&pfd, 1, (int)(p->ends - now)) <= 0)
		return false;
	if (p->fd >= 0)
		close(p->fd);
	p->fd = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);
	p->closed = p->fd < 0;
	peer_tune(p->fd);
	p->ack_due = p->pong_due = p->fin_due = p->finned = false;
	p->len = 0;
	p->in = p->out = 0;
	memset(p->heard, 0, sizeof p->heard);
	return !p->closed;
}

/* Feeds the handshake until its state is `state`; prints how it ended if it did not get there. */
static inline bool peer_shake(struct peer *p, enum handshake_state state)
{
	uint64_t until = now_ms() + ANSWER_MS;
	while (p->hs.state != state) {
		uint8_t b[512];
		struct wire_err err = {0};
		size_t want = handshake_need(&p->hs);
		struct pollfd pfd = {p->fd, POLLIN, 0};
		uint64_t now = now_ms();
		if (now >= until || poll(&pfd, 1, (int)(until - now)) <= 0) {
			printf("NO ANSWER\n");
			return false;
		}
		ssize_t n = recv(p->fd, b, want < sizeof b ? want : sizeof b, 0);
		if (n <= 0) {
			over(p, n ? "RESET" : "CLOSED");
			return false;
		}
		enum wire_rc rc = handshake_feed(&p->hs, b, (size_t)n, &err);
		if (rc == WIRE_REFUSED) {
			printf("REFUSE %u ", p->hs.refuse.code);
			say_text(p->hs.refuse.text);
			printf("\n");
			return false;
		}
		if (rc != WIRE_OK && rc != WIRE_MORE) {
			printf("HANDSHAKE %s\n", err.check);
			return false;
		}
	}
	p->tx = p->hs.tx;
	p->rx = p->hs.rx;
	return true;
}

static inline void peer_send_opening(struct peer *p)
{
	peer_put(p, p->hs.out, p->hs.out_len);
	p->hs.out_len = 0;
}

/* Initiator: everything up to WELCOME. */
static inline bool peer_attach(struct peer *p)
{
	struct wire_err err = {0};
	if (handshake_initiate(&p->hs, &p->hello, &p->attach, &err) != WIRE_OK)
		return false;
	peer_send_opening(p);
	if (!peer_shake(p, HS_DONE))
		return false;
	p->granted = p->hs.welcome.granted;
	printf("WELCOME\n");
	return true;
}

/* Responder: everything up to ATTACH. */
static inline bool peer_attached(struct peer *p)
{
	handshake_respond(&p->hs, &p->hello);
	if (!peer_shake(p, HS_DECIDE))
		return false;
	printf("ATTACH %s\n", p->hs.attach.fresh ? "fresh" : "resume");
	return true;
}

static inline void peer_welcome(struct peer *p)
{
	handshake_welcome(&p->hs, &p->welcome);
	peer_send_opening(p);
	p->tx = p->hs.tx;
	p->rx = p->hs.rx;
}

#endif
