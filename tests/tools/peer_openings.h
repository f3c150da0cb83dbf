/* peer, the scripts that go wrong before or in the handshake; s->sends: what side they claim to be. */
#ifndef HAUL_TESTS_PEER_OPENINGS_H
#define HAUL_TESTS_PEER_OPENINGS_H

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "tests/tools/peer_sends.h"

#define HTTP "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"

/* Until the other side closes; what it says is not looked at. */
static void outlast(struct peer *p)
{
	uint8_t b[4096];
	struct pollfd pfd = {p->fd, POLLIN, 0};
	for (uint64_t now = now_ms(), end = now + 15000; now < end; now = now_ms()) {
		if (poll(&pfd, 1, (int)(end - now)) <= 0)
			break;
		ssize_t n = recv(p->fd, b, sizeof b, 0);
		if (n <= 0) {
			printf("%s\n", n ? "RESET" : "CLOSED");
			p->closed = true;
			return;
		}
	}
	printf("OPEN\n");
}

static void open_text(struct peer *p, const struct script *s)
{
	peer_put(p, s->text, s->n);
	outlast(p);
}

static void open_random(struct peer *p, const struct script *s)
{
	uint8_t b[65536];
	entropy_fill(b, sizeof b);
	b[0] = 'x';
	peer_put(p, b, s->n);
	outlast(p);
}

static void open_close(struct peer *p, const struct script *s)
{
	(void)s;
	p->closed = true;
}

/* A proper opening, a byte each s->number ms. */
static void open_trickle(struct peer *p, const struct script *s)
{
	struct wire_err err = {0};
	uint64_t began = now_ms();
	char byte;
	handshake_initiate(&p->hs, &p->hello, &p->attach, &err);
	for (size_t i = 0; i < p->hs.out_len; i++) {
		struct pollfd pfd = {p->fd, POLLIN, 0};
		if (send(p->fd, p->hs.out + i, 1, MSG_NOSIGNAL) < 0)
			break;
		if (poll(&pfd, 1, (int)s->number) > 0 && recv(p->fd, &byte, 1, MSG_PEEK) <= 0)
			break;
	}
	p->closed = true;
	printf("CUT after %llu s\n", (unsigned long long)((now_ms() - began) / 1000));
}

enum {
	O_MAJOR,
	O_MODE,
	O_MINOR,
	O_FEATURE,
	O_BODY,
	O_CREDIT,
	O_TAG,
	O_RECORD_TAG,
	O_RECORD_LENGTH,
	O_RECORD_TYPE,
	O_ROLE,
	O_FRESH,
	O_SUBDIR,
	O_RESUME,
	O_SAME_ROLE,
};

static void open_odd(struct peer *p, const struct script *s)
{
	struct wire_err err = {0};
	uint8_t *out = p->hs.out;
	p->hello.minor_min = s->number == O_MINOR ? 200 : p->hello.minor_min;
	p->hello.minor_max = s->number == O_MINOR ? 201 : p->hello.minor_max;
	p->hello.required = s->number == O_FEATURE ? 0x8000 : 0;
	p->hello.max_body = s->number == O_BODY ? 65536 : p->hello.max_body;
	p->hello.credit = s->number == O_CREDIT ? 1 : p->hello.credit;
	p->attach.role = s->number == O_ROLE ? 7 : s->number == O_SAME_ROLE ? ROLE_RECEIVER : p->attach.role;
	p->attach.fresh = s->number == O_FRESH ? 7 : s->number != O_RESUME;
	if (s->number == O_SUBDIR)
		p->attach.subdir = (struct span){(const uint8_t *)s->text, s->n};
	handshake_initiate(&p->hs, &p->hello, &p->attach, &err);
	switch (s->number) {
	case O_MAJOR:
		out[8] = 9;
		break;
	case O_MODE:
		out[9] = 9;
		break;
	case O_TAG:
		out[OPENING_BYTES - 1] ^= 1;
		break;
	case O_RECORD_TAG:
		out[p->hs.out_len - 1] ^= 1;
		break;
	case O_RECORD_LENGTH:
		memset(out + OPENING_BYTES, 0xff, 4);
		break;
	case O_RECORD_TYPE: {
		uint8_t body[24] = {0}, tag[RECORD_TAG_MAX_BYTES];
		p->hs.tx.number = 0;
		uint8_t *record = out + OPENING_BYTES + RECORD_LEN_BYTES;
		frame_head_put(record, &(struct frame_head){.type = F_WELCOME, .body_len = sizeof body});
		seal_close(&p->hs.tx, record, body, sizeof body, tag);
		memcpy(record + FRAME_HEAD_BYTES, body, sizeof body);
		memcpy(record + FRAME_HEAD_BYTES + sizeof body, tag, 8);
		out[OPENING_BYTES] = FRAME_HEAD_BYTES + sizeof body + 8;
		p->hs.out_len = OPENING_BYTES + RECORD_LEN_BYTES + FRAME_HEAD_BYTES + sizeof body + 8;
		break;
	}
	default:
		break;
	}
	peer_send_opening(p);
	if (peer_shake(p, HS_DONE))
		printf("WELCOME\n");
}

/* ---- answers of a listener ---- */

static void retag(uint8_t *opening)
{
	struct wr w = wr_init(opening + PREFIX_BYTES + HELLO_BYTES, HELLO_TAG_BYTES);
	wr_uint(&w, XXH3_64bits(opening, PREFIX_BYTES + HELLO_BYTES), HELLO_TAG_BYTES);
}

enum { A_REFUSE, A_RECEIVED, A_INSIDE, A_NO_CREDIT, A_MINOR, A_BODY, A_CREDIT, A_FEATURE, A_TWICE, A_ATTACH };

static void answer(struct peer *p, const struct script *s)
{
	p->hello.max_body = s->number == A_BODY ? 65536 : RECORD_BODY_MAX_BYTES;
	p->hello.credit = s->number == A_CREDIT ? 1 : EARLY_CREDIT_BYTES;
	handshake_respond(&p->hs, &p->hello);
	if (!peer_shake(p, HS_DECIDE))
		return;
	printf("ATTACH %s\n", p->hs.attach.fresh ? "fresh" : "resume");
	if (s->number == A_REFUSE) {
		handshake_refuse(&p->hs, (uint16_t)s->n, s->text);
		peer_send_opening(p);
		outlast(p);
		return;
	}
	if (s->number == A_MINOR) /* what was chosen is not what was offered */
		p->hs.out[PREFIX_BYTES] = p->hs.out[PREFIX_BYTES + 1] = 200;
	if (s->number == A_FEATURE)
		p->hs.out[PREFIX_BYTES + 7] = 0x80;
	retag(p->hs.out);
	p->welcome.received = s->number == A_RECEIVED ? 1000000 : s->number == A_INSIDE ? 3 : 0;
	p->welcome.granted = s->number == A_NO_CREDIT ? 0 : WINDOW_DEFAULT_BYTES;
	p->mute = s->number == A_NO_CREDIT;
	peer_welcome(p);
	if (s->number == A_TWICE)
		CONTROL(p, welcome, WELCOME, 1, 0, WINDOW_DEFAULT_BYTES);
	peer_drain(p, ANSWER_MS);
}

#define O(name, number)                                                                                      \
	{                                                                                                    \
		"opening-" name, true, open_odd, NULL, 0, number, NULL                                       \
	}
#define SUBDIR(name, text)                                                                                   \
	{                                                                                                    \
		"subdir-" name, true, open_odd, TEXT(text), O_SUBDIR, NULL                                   \
	}
#define A(name, number)                                                                                      \
	{                                                                                                    \
		"answer-" name, false, answer, NULL, 0, number, NULL                                         \
	}
#define REFUSE(code)                                                                                         \
	{                                                                                                    \
		"refuse-" #code, false, answer, "because", code, A_REFUSE, NULL                              \
	}

static const struct script openings[] = {
	{"raw-http", true, open_text, TEXT(HTTP), 0, NULL},
	{"raw-nothing", true, open_text, "", 0, 0, NULL},
	{"raw-half", true, open_text, TEXT("\x89HAUL\r\n\x1a"), 0, NULL},
	{"raw-random", true, open_random, NULL, 65536, 0, NULL},
	{"raw-trickle", true, open_trickle, NULL, 0, 500, NULL},
	{"raw-close", true, open_close, NULL, 0, 0, NULL},
	O("major", O_MAJOR),
	O("mode", O_MODE),
	O("minor", O_MINOR),
	O("feature", O_FEATURE),
	O("body", O_BODY),
	O("credit", O_CREDIT),
	O("tag", O_TAG),
	O("record-tag", O_RECORD_TAG),
	O("record-length", O_RECORD_LENGTH),
	O("record-type", O_RECORD_TYPE),
	O("role", O_ROLE),
	O("same-role", O_SAME_ROLE),
	O("fresh", O_FRESH),
	O("resume", O_RESUME),
	SUBDIR("up", ".."),
	SUBDIR("up-below", "a/../../b"),
	SUBDIR("absolute", "/tmp"),
	SUBDIR("state", ".haul"),
	SUBDIR("nul", "a\0b"),
	A("received", A_RECEIVED),
	A("inside", A_INSIDE),
	A("no-credit", A_NO_CREDIT),
	A("minor", A_MINOR),
	A("body", A_BODY),
	A("credit", A_CREDIT),
	A("feature", A_FEATURE),
	A("twice", A_TWICE),
	REFUSE(0),
	REFUSE(1),
	REFUSE(2),
	REFUSE(4),
	REFUSE(5),
	REFUSE(12),
	REFUSE(13),
	REFUSE(75),
	REFUSE(77),
	REFUSE(128),
	REFUSE(256),
	REFUSE(257),
	REFUSE(258),
	REFUSE(65535),
	{0},
};
#endif
