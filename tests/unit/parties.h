/*
 * Two sides for each mode that encrypts: a key of both; static keys of each with a key of both on top; a code. And
 * what brings them together: a handshake over memory, with secrets out of a generator.
 */
#ifndef HAUL_TESTS_PARTIES_H
#define HAUL_TESTS_PARTIES_H

#include <stdint.h>
#include <string.h>

#include "tests/unit/mutate.h"
#include "wire/handshake.h"

enum party_mode { PARTY_KEY, PARTY_PEER, PARTY_CODE, PARTY_MODES };

static const char *const party_mode_names[] = {"key", "peer", "code"};

static struct {
	struct credential key, of_i, of_r, code;
	struct credentials i[PARTY_MODES], r[PARTY_MODES];
} parties;

static void make_parties(void)
{
	uint8_t key[32], si[32], sr[32];
	struct noise_pair pi, pr;
	struct prng p = {0x70617274};
	prng_fill(&p, key, sizeof key);
	prng_fill(&p, si, sizeof si);
	prng_fill(&p, sr, sizeof sr);
	noise_pair_from(&pi, si);
	noise_pair_from(&pr, sr);
	credential_from_key(&parties.key, key);
	credential_from_peer(&parties.of_i, pi.pub, key);
	credential_from_peer(&parties.of_r, pr.pub, key);
	credential_of_code(&parties.code);
	credentials_init(&parties.i[PARTY_KEY], AUTH_KEY, "", &parties.key, 1, NULL);
	credentials_init(&parties.r[PARTY_KEY], AUTH_KEY, "", &parties.key, 1, NULL);
	credentials_init(&parties.i[PARTY_PEER], AUTH_PEER, "", &parties.of_r, 1, si);
	credentials_init(&parties.r[PARTY_PEER], AUTH_PEER, "", &parties.of_i, 1, sr);
	credentials_init(&parties.i[PARTY_CODE], AUTH_CODE, "", &parties.code, 1, key);
	credentials_init(&parties.r[PARTY_CODE], AUTH_CODE, "", &parties.code, 1, key);
}

struct duo {
	struct handshake i, r;
};

/* Begins; the secrets of both sides come out of p. */
static void duo_begin(struct duo *d, enum party_mode mode, const struct frame_attach *attach, struct prng *p)
{
	uint8_t secret[32];
	struct wire_err err = {0};
	struct hello hello = {.minor_min = PROTOCOL_MINOR_MIN,
			      .minor_max = PROTOCOL_MINOR,
			      .max_body = RECORD_BODY_MAX_BYTES};
	prng_fill(p, hello.instance, sizeof hello.instance);
	prng_fill(p, secret, sizeof secret);
	assert_int_equal(handshake_initiate_with(&d->i, &hello, attach, &parties.i[mode], secret, &err),
			 WIRE_OK);
	prng_fill(p, hello.instance, sizeof hello.instance);
	prng_fill(p, secret, sizeof secret);
	handshake_respond_with(&d->r, &hello, &parties.r[mode], secret);
}

/* Feeds n bytes, as many at a time as are wanted; those that nobody wants are left. */
static enum wire_rc duo_feed(struct handshake *to, const uint8_t *p, size_t n)
{
	enum wire_rc rc = WIRE_MORE;
	struct wire_err err = {0};
	while (n && handshake_need(to) && (rc == WIRE_MORE || rc == WIRE_OK)) {
		size_t k = handshake_need(to) < n ? handshake_need(to) : n;
		rc = handshake_feed(to, p, k, &err);
		p += k;
		n -= k;
	}
	return rc;
}

/* What one side has to say reaches the other. */
static enum wire_rc duo_say(struct handshake *from, struct handshake *to)
{
	uint8_t bytes[sizeof from->out];
	size_t n = from->out_len;
	memcpy(bytes, from->out, n);
	handshake_sent(from, n);
	return duo_feed(to, bytes, n);
}

/* Messages up to the responder's HS_DECIDE: C1, C2, M1, M2, M3 or the last three of them. */
static unsigned duo_messages(enum party_mode mode)
{
	return mode == PARTY_CODE ? 5 : 3;
}

/* The first so many messages. */
static void duo_talk(struct duo *d, unsigned messages)
{
	for (unsigned m = 0; m < messages; m++)
		assert_int_equal(m % 2 ? duo_say(&d->r, &d->i) : duo_say(&d->i, &d->r), WIRE_OK);
}

static void duo_welcome(struct duo *d, const struct frame_welcome *w)
{
	handshake_welcome(&d->r, w);
	assert_int_equal(duo_say(&d->r, &d->i), WIRE_OK);
	assert_int_equal(d->i.state, HS_DONE);
}

#endif
