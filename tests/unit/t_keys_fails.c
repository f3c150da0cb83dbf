/* lib/keys, keytext and keyfile when the kernel or libsodium says no: what is refused, and what is left. */
#include "unit.h"

#include <limits.h>
#include <sys/wait.h>

#include "lib/keyfile.h"
#include "lib/keys.h"
#include "tests/unit/failing.h"

static struct haul_err err;
static struct haul_keys *keys;
static char psk_text[KEYTEXT_BYTES], secret_text[KEYTEXT_BYTES], pub_text[KEYTEXT_BYTES];

static int begin(void **state)
{
	haul_err_clear(&err);
	if (enter_scratch(state) != 0 || keys_new(&keys, &err) != HAUL_OK)
		return -1;
	keys_make_psk(keys);
	keys_make_identity(keys);
	keytext_encode(KEY_PSK, keys->psk, psk_text);
	keytext_encode(KEY_SECRET, keys->secret, secret_text);
	keytext_encode(KEY_PUB, keys->pub, pub_text);
	return 0;
}

static int end(void **state)
{
	keys_free(keys);
	keys = NULL;
	return leave_scratch(state);
}

static void expect_failure(size_t i, enum haul_rc rc, enum haul_rc want, int sys, const char *why)
{
	if (!all_failed() || rc != want || err.sys != sys || !strstr(err.why, why))
		fail_msg("case %zu: %s, errno %d, '%s'", i, haul_rc_name(rc), err.sys, err.why);
	haul_err_clear(&err);
}

/* ---- making memory for keys ---- */

static void no_memory_for_keys(void **state)
{
	static const struct {
		const char *call;
		int sys, told;
		const char *why;
	} cases[] = {
		{"sodium_init", ENOSYS, 0, "libsodium cannot be used"},
		{"prctl", EPERM, EPERM, "core files cannot be turned off"},
		{"setrlimit", EPERM, EPERM, "core files cannot be turned off"},
		{"sodium_malloc", ENOMEM, ENOMEM, "no memory for keys"},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct haul_keys *k = (void *)1;
		fail_calls(cases[i].call, 0, 1, cases[i].sys);
		enum haul_rc rc = keys_new(&k, &err);
		assert_null(k);
		expect_failure(i, rc, HAUL_NO_MEMORY, cases[i].told, cases[i].why);
	}
}

/* ---- reading a file ---- */

static void reading_fails(void **state)
{
	static const struct {
		const char *call;
		unsigned skip;
		int sys;
		enum haul_rc want;
		int told;
		const char *why;
	} cases[] = {
		{"sodium_init", 0, ENOSYS, HAUL_NO_MEMORY, 0, "libsodium cannot be used"},
		{"sodium_init", 1, ENOSYS, HAUL_NO_MEMORY, 0, "libsodium cannot be used"},
		{"sodium_malloc", 0, ENOMEM, HAUL_NO_MEMORY, ENOMEM, "no memory for keys"},
		{"openat", 0, ENOENT, HAUL_USAGE, ENOENT, "cannot be opened"},
		{"openat", 1, EMFILE, HAUL_USAGE, EMFILE, "cannot be opened"},
		{"openat", 2, EACCES, HAUL_USAGE, EACCES, "directory above cannot be looked at"},
		{"fstat", 0, EIO, HAUL_USAGE, EIO, "cannot be looked at"},
		{"fstat", 1, EIO, HAUL_USAGE, EIO, "directory above cannot be looked at"},
		{"read", 0, EIO, HAUL_USAGE, EIO, "cannot be read"},
		{"read", 1, EIO, HAUL_USAGE, EIO, "cannot be read"},
	};
	static const uint8_t zeros[KEY_BYTES];
	(void)state;
	put_file("key", psk_text, strlen(psk_text));
	assert_int_equal(chmod("key", 0600), 0);
	for (size_t i = 0; i < COUNT(cases); i++) {
		fail_calls(cases[i].call, cases[i].skip, 1, cases[i].sys);
		enum haul_rc rc = keys_load_psk(keys, "key", &err);
		expect_failure(i, rc, cases[i].want, cases[i].told, cases[i].why);
		assert_memory_equal(keys->psk, zeros, KEY_BYTES);
		assert_int_equal(keys_load_psk(keys, "key", &err), HAUL_OK);
	}
	/* a signal in between is none of them */
	fail_calls("read", 0, 2, EINTR);
	assert_int_equal(keys_load_psk(keys, "key", &err), HAUL_OK);
	assert_true(all_failed());
	/* a directory that may be passed but not listed */
	fail_calls("openat", 0, 1, EACCES);
	assert_int_equal(keys_load_psk(keys, "key", &err), HAUL_OK);
	assert_true(all_failed());
}

static void fstat_of_the_file_fails(void **state)
{
	struct keyfile f;
	(void)state;
	put_file("key", psk_text, strlen(psk_text));
	for (unsigned skip = 0;; skip++) {
		fail_calls("fstat", skip, 1, EIO);
		enum haul_rc rc = keyfile_open(&f, "key", &err);
		keyfile_close(&f);
		if (!all_failed()) { /* each of its calls had its turn */
			assert_int_equal(rc, HAUL_OK);
			assert_in_range(skip, 3, 99);
			return;
		}
		assert_int_equal(rc, HAUL_USAGE);
		assert_int_equal(err.sys, EIO);
		assert_non_null(strstr(err.why, skip ? "cannot be" : "cannot be looked at"));
		haul_err_clear(&err);
	}
}

static void key_below_the_top(void **state)
{
	(void)state;
	assert_int_equal(keyfile_create("/proc/haul-unit-key", 0600, psk_text, &err), HAUL_USAGE);
	assert_string_equal(err.subject, "/proc/haul-unit-key");
	haul_err_clear(&err);
	assert_int_equal(keys_load_psk(keys, "/haul-unit-none", &err), HAUL_USAGE);
	assert_int_equal(err.sys, ENOENT);
	assert_string_equal(err.subject, "/haul-unit-none");
}

/* ---- descriptors ---- */

static int pipe_of(const char *text)
{
	int p[2];
	assert_int_equal(pipe(p), 0);
	assert_true(write(p[1], text, strlen(text)) == (ssize_t)strlen(text));
	close(p[1]);
	return p[0];
}

static void descriptors(void **state)
{
	(void)state;
	/* interrupted while it waits and while it reads, and once woken for nothing */
	fail_calls("poll", 0, 2, EINTR);
	assert_int_equal(keys_load_psk_fd(keys, pipe_of(psk_text), &err), HAUL_OK);
	assert_true(all_failed());
	fail_calls("read", 0, 1, EINTR);
	assert_int_equal(keys_load_psk_fd(keys, pipe_of(psk_text), &err), HAUL_OK);
	assert_true(all_failed());
	fail_calls("read", 0, 1, EAGAIN);
	assert_int_equal(keys_load_psk_fd(keys, pipe_of(psk_text), &err), HAUL_OK);
	assert_true(all_failed());
	/* nobody writes in all the time there is */
	fail_calls("poll", 0, 1, ETIME);
	expect_failure(0, keys_load_psk_fd(keys, pipe_of(psk_text), &err), HAUL_USAGE, 0,
		       "nobody has written");
}

/* ---- making a file ---- */

static void making_fails(void **state)
{
	static const struct {
		const char *call;
		unsigned skip;
		int sys;
		enum haul_rc want;
		const char *why;
	} cases[] = {
		{"fchmod", 0, EPERM, HAUL_IO, "cannot be written"},
		{"write", 0, ENOSPC, HAUL_NO_SPACE, "cannot be written"},
		{"write", 1, EDQUOT, HAUL_NO_SPACE, "cannot be written"},
		{"fsync", 0, EIO, HAUL_IO, "cannot be written"},
		{"fsync", 1, EIO, HAUL_IO, "cannot be written"},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		fail_calls(cases[i].call, cases[i].skip, 1, cases[i].sys);
		enum haul_rc rc = keyfile_create("new", 0600, psk_text, &err);
		expect_failure(i, rc, cases[i].want, cases[i].sys, cases[i].why);
		assert_int_equal(access("new", F_OK), -1);
	}
	/* the file itself is the last that is opened, and the last but one that is closed */
	for (unsigned skip = 0; err.rc == HAUL_OK; skip++) {
		fail_calls("openat", skip, 1, EROFS);
		enum haul_rc rc = keyfile_create("new", 0600, psk_text, &err);
		if (!all_failed()) {
			assert_int_equal(rc, HAUL_OK);
			assert_int_equal(unlink("new"), 0);
			break;
		}
		assert_int_equal(rc, HAUL_USAGE);
		assert_int_equal(err.sys, EROFS);
		assert_int_equal(access("new", F_OK), -1);
		haul_err_clear(&err);
	}
	unsigned refused = 0;
	for (unsigned skip = 0;; skip++) {
		fail_calls("close", skip, 1, EIO);
		enum haul_rc rc = keyfile_create("new", 0600, psk_text, &err);
		if (!all_failed())
			break;
		refused += rc == HAUL_IO;
		assert_int_equal(access("new", F_OK), rc == HAUL_OK ? 0 : -1);
		unlink("new");
		haul_err_clear(&err);
	}
	assert_int_equal(refused, 1);
	unlink("new");
	/* a directory that cannot be synced, and signals in between */
	fail_calls("fsync", 1, 1, EINVAL);
	assert_int_equal(keyfile_create("new", 0600, psk_text, &err), HAUL_OK);
	assert_true(all_failed());
	assert_int_equal(unlink("new"), 0);
	fail_calls("fsync", 1, 1, EBADF);
	assert_int_equal(keyfile_create("new", 0600, psk_text, &err), HAUL_OK);
	assert_true(all_failed());
	assert_int_equal(unlink("new"), 0);
	fail_calls("write", 0, 2, EINTR);
	assert_int_equal(keyfile_create("new", 0600, psk_text, &err), HAUL_OK);
	assert_true(all_failed());
	assert_int_equal(keys_load_psk(keys, "new", &err), HAUL_OK);
	keyfile_remove("new");
	assert_int_equal(access("new", F_OK), -1);
	keyfile_remove("new"); /* gone already: fine */
}

/* ---- who is who ---- */

static void another_one_is_accepted(void **state)
{
	uint8_t pub[KEY_BYTES];
	char text[KEYTEXT_BYTES], line[KEYTEXT_BYTES + 64];
	(void)state;
	put_file("id", secret_text, strlen(secret_text));
	assert_int_equal(chmod("id", 0600), 0);
	keys_make_identity(keys);
	memcpy(pub, keys->pub, KEY_BYTES);
	keytext_encode(KEY_PUB, pub, text);
	assert_int_equal(keys_load_identity(keys, "id", &err), HAUL_OK);
	assert_int_equal(keys_load_peer(keys, text, &err), HAUL_OK);
	assert_memory_equal(keys->peer, pub, KEY_BYTES);
	assert_int_equal(keys_load_peer(keys, pub_text, &err), HAUL_USAGE);
	assert_non_null(strstr(err.why, "of this side"));
	haul_err_clear(&err);
	text[strlen(text) - 1] ^= 1;
	assert_int_equal(keys_load_peer(keys, text, &err), HAUL_USAGE);
	assert_non_null(strstr(err.why, "checksum"));
	haul_err_clear(&err);
	text[strlen(text) - 1] ^= 1;
	snprintf(line, sizeof line, "%s name=other dir=in\n", text);
	put_file("peers", line, strlen(line));
	assert_int_equal(chmod("peers", 0600), 0);
	assert_int_equal(keys_load_peers(keys, "peers", &err), HAUL_OK);
	assert_int_equal(keys->peers.count, 1);
	peers_free(&keys->peers);
	assert_int_equal(keys_load_peers(keys, "nobody", &err), HAUL_USAGE);
	assert_int_equal(err.sys, ENOENT);
	haul_err_clear(&err);
	enum key_kind kind;
	assert_int_equal(keys_load_any(keys, "nobody", &kind, &err), HAUL_USAGE);
	assert_int_equal(err.sys, ENOENT);
}

/* A checksum that fits a text that is none: made so on purpose, not damaged. */
static void checksum_of_nonsense(void **state)
{
	uint8_t digest[crypto_generichash_BYTES_MIN], key[KEY_BYTES];
	enum key_kind kind;
	char *bad = psk_text;
	size_t body = strlen(bad) - 4;
	(void)state;
	bad[body - 7] = '!';
	crypto_generichash(digest, sizeof digest, (const uint8_t *)bad, body, NULL, 0);
	sodium_bin2base64(bad + body, 5, digest, 3, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	assert_int_equal(keytext_decode(bad, strlen(bad), "it", &kind, key, &err), HAUL_USAGE);
	assert_non_null(strstr(err.why, "not base64url"));
	haul_err_clear(&err);
	/* nor does a version that goes to the end of the text */
	assert_int_equal(keytext_decode("haul-psk-1", 10, "it", &kind, key, &err), HAUL_USAGE);
	assert_non_null(strstr(err.why, "no version"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
		TEST(no_memory_for_keys),      TEST(reading_fails),	   TEST(fstat_of_the_file_fails),
		TEST(key_below_the_top),       TEST(descriptors),	   TEST(making_fails),
		TEST(another_one_is_accepted), TEST(checksum_of_nonsense),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
