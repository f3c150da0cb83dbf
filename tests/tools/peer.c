/*
 * peer: the other side of haul, when it means no good. It shakes hands properly (most of the time) and then
 * misbehaves as CASE says; what it is answered comes on standard output, one line a frame.
 *
 *   peer list                        all cases: name and side
 *   peer dial|listen IPV4:PORT CASE  listen: the first line is the address
 *
 * Always ends within half a minute. Exit status: 0 it played its part, 1 usage, 2 no connection.
 */
#include <signal.h>

#include "tests/tools/peer_openings.h"
#include "tests/tools/peer_receives.h"
#include "tests/tools/peer_sends.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct script *const tables[] = {sends, receives, openings};

static const struct script *script_of(const char *name)
{
	for (size_t t = 0; t < COUNT(tables); t++)
		for (const struct script *s = tables[t]; s->name; s++)
			if (strcmp(s->name, name) == 0)
				return s;
	return NULL;
}

static int list(void)
{
	for (size_t t = 0; t < COUNT(tables); t++)
		for (const struct script *s = tables[t]; s->name; s++)
			printf("%s %s\n", s->sends ? "sends" : "receives", s->name);
	return 0;
}

/* The openings shake hands themselves, or do not. */
static bool opens(const struct script *s)
{
	return s >= openings && s < openings + COUNT(openings);
}

static void play(struct peer *p, const struct script *s)
{
	if (p->listener < 0) {
		if (opens(s) || peer_attach(p))
			s->run(p, s);
		return;
	}
	while (peer_accept(p)) {
		if (opens(s)) {
			s->run(p, s);
		} else if (peer_attached(p)) {
			peer_welcome(p);
			s->run(p, s);
		}
		close(p->fd);
		p->fd = -1;
	}
}

int main(int argc, char **argv)
{
	static struct peer p;
	if (argc == 2 && strcmp(argv[1], "list") == 0)
		return list();
	bool dials = argc == 4 && strcmp(argv[1], "dial") == 0;
	const struct script *s = argc == 4 ? script_of(argv[3]) : NULL;
	if (!s || (!dials && strcmp(argv[1], "listen") != 0)) {
		fprintf(stderr, "usage: peer list | peer dial|listen IPV4:PORT CASE\n");
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	alarm(PEER_MS / 1000 + 5);
	p = (struct peer){
		.fd = -1,
		.listener = -1,
		.sends = s->sends,
		.hello = {.minor_min = PROTOCOL_MINOR_MIN,
			  .minor_max = PROTOCOL_MINOR,
			  .offered = FEATURES_KNOWN,
			  .max_body = RECORD_BODY_MAX_BYTES,
			  .credit = EARLY_CREDIT_BYTES},
		.attach = {.role = s->sends ? ROLE_SENDER : ROLE_RECEIVER,
			   .fresh = 1,
			   .granted = WINDOW_DEFAULT_BYTES},
		.welcome = {.epoch = 1, .granted = WINDOW_DEFAULT_BYTES},
		.window = WINDOW_DEFAULT_BYTES,
		.hear = s->hear,
		.self = s,
		.ends = now_ms() + PEER_MS,
	};
	entropy_fill(p.attach.session, sizeof p.attach.session);
	p.listener = dials ? -1 : peer_listen(argv[2]);
	p.fd = dials ? peer_dial(argv[2]) : -1;
	peer_tune(p.fd);
	play(&p, s);
	return 0;
}
