#include "lib/auth.h"

#include <sodium.h>
#include <string.h>

struct auth {
	struct credentials credentials;
	struct credential *credential; /* `room` of both, in the same order */
	struct auth_rights *rights;
	size_t room;
	bool listed; /* every party has rights of its own */
};

static struct auth *auth_new(size_t room)
{
	if (sodium_init() < 0)
		return NULL;
	struct auth *a = sodium_malloc(sizeof *a);
	if (!a)
		return NULL;
	*a = (struct auth){.room = room};
	a->credential = sodium_allocarray(room ? room : 1, sizeof *a->credential);
	a->rights = sodium_allocarray(room ? room : 1, sizeof *a->rights);
	if (a->credential && a->rights)
		return a;
	auth_free(a);
	return NULL;
}

void auth_free(struct auth *a)
{
	if (!a)
		return;
	sodium_free(a->credential);
	sodium_free(a->rights);
	sodium_free(a);
}

struct auth *auth_new_key(const char *realm, const uint8_t key[static AUTH_KEY_BYTES])
{
	struct auth *a = auth_new(1);
	if (!a)
		return NULL;
	credential_from_key(&a->credential[0], key);
	credentials_init(&a->credentials, AUTH_KEY, realm, a->credential, 1, NULL);
	return a;
}

struct auth *auth_new_code(const char *realm, const uint8_t prs[static AUTH_KEY_BYTES])
{
	struct auth *a = auth_new(1);
	if (!a)
		return NULL;
	credential_of_code(&a->credential[0]);
	credentials_init(&a->credentials, AUTH_CODE, realm, a->credential, 1, prs);
	return a;
}

struct auth *auth_new_peers(const char *realm, const uint8_t secret[static AUTH_KEY_BYTES], size_t room)
{
	struct auth *a = auth_new(room);
	if (!a)
		return NULL;
	credentials_init(&a->credentials, AUTH_PEER, realm, a->credential, 0, secret);
	a->listed = true;
	return a;
}

bool auth_add_peer(struct auth *a, const uint8_t pub[static AUTH_KEY_BYTES], const uint8_t *key,
		   const struct auth_rights *rights)
{
	size_t i = a->credentials.count;
	if (i >= a->room)
		return false;
	credential_from_peer(&a->credential[i], pub, key);
	a->rights[i] = *rights;
	a->credentials.count++;
	return true;
}

struct auth *auth_new_peer(const char *realm, const uint8_t secret[static AUTH_KEY_BYTES],
			   const uint8_t pub[static AUTH_KEY_BYTES], const uint8_t *key)
{
	struct auth *a = auth_new_peers(realm, secret, 1);
	if (!a)
		return NULL;
	auth_add_peer(a, pub, key, &(struct auth_rights){0});
	a->listed = false;
	return a;
}

void auth_forget_keys(struct auth *a)
{
	if (!a)
		return;
	sodium_memzero(&a->credentials.own, sizeof a->credentials.own);
	for (size_t i = 0; i < a->credentials.count; i++) {
		sodium_memzero(a->credential[i].psk, sizeof a->credential[i].psk);
		sodium_memzero(a->credential[i].gatekey, sizeof a->credential[i].gatekey);
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

const struct auth_rights *auth_rights_of(const struct auth *a, const uint8_t owner[static OWNER_BYTES])
{
	for (size_t i = 0; a && a->listed && i < a->credentials.count; i++)
		if (sodium_memcmp(a->credential[i].owner, owner, OWNER_BYTES) == 0)
			return &a->rights[i];
	return NULL;
}

const uint8_t *auth_peer_owner(const struct auth *a)
{
	return a ? a->credential[0].owner : NULL;
}
