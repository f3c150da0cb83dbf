#include "lib/auth.h"

#include <sodium.h>
#include <string.h>

struct auth {
	const struct haul_keys *keys;
	struct credentials credentials;
	struct credential *party; /* with KEYS_PEERS in the order of keys->peers, else one */
	size_t count;
};

/* The parties as raw keys; mode 2 wants our own secret too, and may have a key on top that is the same for all parties;
 * mode 3 wants what the code was made into. */
static void fill(struct auth *a, const char *realm)
{
	const struct haul_keys *k = a->keys;
	const uint8_t *psk = k->has_psk ? k->psk : NULL;
	if (k->mode == KEYS_PSK)
		credential_from_key(&a->party[0], k->psk);
	else if (k->mode == KEYS_PEER)
		credential_from_peer(&a->party[0], k->peer, psk);
	else if (k->mode == KEYS_CODE)
		credential_of_code(&a->party[0]);
	for (size_t i = 0; k->mode == KEYS_PEERS && i < a->count; i++)
		credential_from_peer(&a->party[i], k->peers.peer[i].pub, psk);
	enum auth_mode mode = k->mode == KEYS_PSK ? AUTH_KEY : k->mode == KEYS_CODE ? AUTH_CODE : AUTH_PEER;
	credentials_init(&a->credentials, mode, realm, a->party, a->count,
			 mode == AUTH_CODE ? k->psk : k->secret);
}

struct auth *auth_new(const struct haul_keys *keys, const char *realm)
{
	size_t count = keys->mode == KEYS_PEERS ? keys->peers.count : 1;
	struct auth *a = sodium_malloc(sizeof *a);
	if (!a)
		return NULL;
	*a = (struct auth){.keys = keys, .count = count};
	a->party = sodium_allocarray(count, sizeof *a->party);
	if (!a->party) {
		auth_free(a);
		return NULL;
	}
	fill(a, realm ? realm : "");
	return a;
}

void auth_free(struct auth *a)
{
	if (!a)
		return;
	sodium_free(a->party);
	sodium_free(a);
}

void auth_forget_keys(struct auth *a)
{
	if (!a)
		return;
	sodium_memzero(&a->credentials.own, sizeof a->credentials.own);
	sodium_memzero(a->credentials.prs, sizeof a->credentials.prs);
	for (size_t i = 0; i < a->count; i++) {
		sodium_memzero(a->party[i].psk, sizeof a->party[i].psk);
		sodium_memzero(a->party[i].gatekey, sizeof a->party[i].gatekey);
	}
}

bool auth_is_code(const struct auth *a)
{
	return a && a->credentials.mode == AUTH_CODE;
}

const char *auth_mode_name(const struct auth *a)
{
	static const char *const names[] = {
		[AUTH_NONE] = "plain", [AUTH_KEY] = "key", [AUTH_PEER] = "peer", [AUTH_CODE] = "code"};
	return names[a ? a->credentials.mode : AUTH_NONE];
}

const struct credentials *auth_credentials(const struct auth *a)
{
	return a ? &a->credentials : NULL;
}

const struct peer *auth_peer_of(const struct auth *a, const uint8_t owner[static OWNER_BYTES])
{
	for (size_t i = 0; a && a->keys->mode == KEYS_PEERS && i < a->count; i++)
		if (sodium_memcmp(a->party[i].owner, owner, OWNER_BYTES) == 0)
			return &a->keys->peers.peer[i];
	return NULL;
}

const uint8_t *auth_peer_owner(const struct auth *a)
{
	return a ? a->party[0].owner : NULL;
}
