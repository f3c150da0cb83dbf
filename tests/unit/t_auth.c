/* From loaded keys to handshakes: both sides meet, owners lead to rights, a session's process keeps no key.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "lib/auth.h"
#include "wire/handshake.h"

static struct haul_keys *loaded(enum keys_mode mode)
{
	struct haul_keys *k = NULL;
	struct haul_err err = {0};
	assert_int_equal(keys_new(&k, &err), HAUL_OK);
	k->mode = mode;
	if (mode == KEYS_PSK)
		keys_make_psk(k);
	else
		keys_make_identity(k);
	k->mode = mode;
	return k;
}

static struct handshake from; /* the initiator of the last meeting */

/* Runs a handshake of i with r; what the responder says of M1. */
static enum wire_rc meet(const struct auth *i, const struct auth *r, struct handshake *hs)
{
	struct hello h = {.minor_min = 1, .minor_max = 1, .max_body = RECORD_BODY_MAX_BYTES};
	struct frame_attach a = {.role = ROLE_SENDER, .fresh = 1};
	struct wire_err err = {0};
	uint8_t secret[2][AUTH_KEY_BYTES] = {{1}, {2}};
	assert_int_equal(handshake_initiate_with(&from, &h, &a, auth_credentials(i), secret[0], &err),
			 WIRE_OK);
	handshake_respond_with(hs, &h, auth_credentials(r), secret[1]);
	enum wire_rc rc = WIRE_MORE;
	for (size_t at = 0; rc == WIRE_MORE && at < from.out_len;) {
		size_t n = handshake_need(hs);
		rc = handshake_feed(hs, from.out + at, n, &err);
		at += n;
	}
	return rc;
}

/* What the initiator says of the answer. */
static enum wire_rc answered_by(const struct handshake *hs)
{
	struct wire_err err = {0};
	handshake_sent(&from, from.out_len);
	assert_int_equal(hs->out_len, M2_BYTES);
	return handshake_feed(&from, hs->out, hs->out_len, &err);
}

static void a_shared_key(void **state)
{
	(void)state;
	struct haul_keys *k = loaded(KEYS_PSK), *other = loaded(KEYS_PSK);
	struct auth *a = auth_new(k, NULL), *b = auth_new(k, ""), *c = auth_new(other, NULL);
	struct auth *named = auth_new(k, "somewhere");
	struct handshake hs;
	assert_int_equal(meet(a, b, &hs), WIRE_OK);
	assert_memory_equal(hs.owner, auth_peer_owner(a), OWNER_BYTES);
	assert_null(auth_peer_of(b, hs.owner));
	assert_int_equal(meet(a, c, &hs), WIRE_AUTH);
	assert_int_equal(meet(a, named, &hs), WIRE_AUTH);
	assert_string_equal(auth_mode_name(a), "key");
	auth_free(a), auth_free(b), auth_free(c), auth_free(named);
	keys_free(k), keys_free(other);
}

static void a_list_of_peers(void **state)
{
	(void)state;
	struct haul_err err = {0};
	char text[2][KEYTEXT_BYTES], file[512];
	struct haul_keys *server = loaded(KEYS_PEERS), *peer[3];
	for (size_t i = 0; i < 3; i++) {
		peer[i] = loaded(KEYS_PEER);
		memcpy(peer[i]->peer, server->pub, KEY_BYTES);
		if (i < 2)
			keytext_encode(KEY_PUB, peer[i]->pub, text[i]);
	}
	int n = snprintf(file, sizeof file, "%s name=zero dir=a\n%s name=one dir=b ro\n", text[0], text[1]);
	assert_int_equal(peers_parse(&server->peers, "peers", file, (size_t)n, &err), HAUL_OK);
	struct auth *s = auth_new(server, NULL);
	assert_string_equal(auth_mode_name(s), "peer");
	for (size_t i = 0; i < 3; i++) {
		struct auth *a = auth_new(peer[i], NULL);
		struct handshake hs;
		enum wire_rc rc = meet(a, s, &hs);
		assert_int_equal(rc, i < 2 ? WIRE_OK : WIRE_AUTH);
		if (i < 2)
			assert_ptr_equal(auth_peer_of(s, hs.owner), &server->peers.peer[i]);
		/* without its keys the server knows its peers still, but answers nobody */
		if (i == 1) {
			auth_forget_keys(s);
			assert_ptr_equal(auth_peer_of(s, hs.owner), &server->peers.peer[1]);
			assert_int_equal(meet(a, s, &hs), WIRE_AUTH);
		}
		auth_free(a);
		keys_free(peer[i]);
	}
	auth_free(s);
	keys_free(server);
}

/* Both sides have the same key on top of their static ones, or they do not meet; the owner is the identity's. */
static void a_key_on_top(void **state)
{
	(void)state;
	struct haul_keys *k[2] = {loaded(KEYS_PEER), loaded(KEYS_PEER)};
	uint8_t owner[OWNER_BYTES];
	for (int i = 0; i < 2; i++)
		memcpy(k[i]->peer, k[!i]->pub, KEY_BYTES);
	for (unsigned has = 0; has < 8; has++) {
		struct handshake hs;
		for (int i = 0; i < 2; i++) {
			k[i]->has_psk = has >> i & 1;
			memset(k[i]->psk, has >> 2 && i ? 2 : 1, sizeof k[i]->psk);
		}
		struct auth *a = auth_new(k[0], NULL), *b = auth_new(k[1], NULL);
		assert_string_equal(auth_mode_name(b), "peer");
		assert_int_equal(meet(a, b, &hs), WIRE_OK); /* it is mixed in with the answer */
		if (has == 0)
			memcpy(owner, hs.owner, sizeof owner);
		assert_memory_equal(hs.owner, owner, sizeof owner);
		bool same = has == 0 || has == 3 || has == 4;
		assert_int_equal(answered_by(&hs), same ? WIRE_OK : WIRE_AUTH);
		auth_free(a), auth_free(b);
	}
	keys_free(k[0]), keys_free(k[1]);
}

static void nothing_is_nothing(void **state)
{
	(void)state;
	static const uint8_t owner[OWNER_BYTES];
	assert_null(auth_credentials(NULL));
	assert_null(auth_peer_of(NULL, owner));
	assert_null(auth_peer_owner(NULL));
	assert_string_equal(auth_mode_name(NULL), "plain");
	auth_forget_keys(NULL);
	auth_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_shared_key),
		cmocka_unit_test(a_list_of_peers),
		cmocka_unit_test(a_key_on_top),
		cmocka_unit_test(nothing_is_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
