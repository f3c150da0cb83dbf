/* Keys: the text and every damage to it, the files that are believed and those that are not, descriptors. */
#include "unit.h"

#include <errno.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <signal.h>
#include <sodium.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <sys/wait.h>

#include "lib/keyfile.h"
#include "lib/keys.h"
#include "mutate.h"

static struct haul_err err;
static struct haul_keys *keys;

static int begin(void **state)
{
	haul_err_clear(&err);
	if (enter_scratch(state) != 0)
		return -1;
	return keys_new(&keys, &err) == HAUL_OK ? 0 : -1;
}

static int end(void **state)
{
	keys_free(keys);
	keys = NULL;
	umask(022);
	return leave_scratch(state);
}

/* A refusal: exit status 1, the subject, and a part of the reason. */
static void refused(enum haul_rc rc, const char *subject, const char *why)
{
	assert_int_equal(rc, HAUL_USAGE);
	assert_int_equal(haul_exit_status(&err), 1);
	if (subject)
		assert_string_equal(err.subject, subject);
	if (!strstr(err.why, why))
		fail_msg("'%s' does not say '%s'", err.why, why);
	haul_err_clear(&err);
}

static void put_mode(const char *path, const char *text, mode_t mode)
{
	unlink(path);
	put_file(path, text, strlen(text));
	assert_int_equal(chmod(path, mode), 0);
}

static void fill(uint8_t key[static KEY_BYTES], uint64_t seed)
{
	struct prng p = {seed};
	prng_fill(&p, key, KEY_BYTES);
}

static void text_of(enum key_kind kind, uint64_t seed, char out[static KEYTEXT_BYTES])
{
	uint8_t key[KEY_BYTES];
	fill(key, seed);
	keytext_encode(kind, key, out);
}

/* ---- text ---- */

static const enum key_kind all_kinds[] = {KEY_PSK, KEY_SECRET, KEY_PUB};

static void round_trip(void **state)
{
	(void)state;
	for (size_t k = 0; k < COUNT(all_kinds); k++)
		for (uint64_t seed = 0; seed < 200; seed++) {
			uint8_t key[KEY_BYTES], back[KEY_BYTES];
			char text[KEYTEXT_BYTES];
			enum key_kind kind;
			fill(key, seed);
			keytext_encode(all_kinds[k], key, text);
			assert_int_equal(keytext_decode(text, strlen(text), "x", &kind, back, &err), HAUL_OK);
			assert_int_equal(kind, all_kinds[k]);
			assert_memory_equal(key, back, KEY_BYTES);
			assert_true(keytext_looks_like(kind, text));
		}
}

/* The format as documented, made here in another way: what is on disk today must be readable tomorrow. */
static void format_is_as_documented(void **state)
{
	uint8_t key[KEY_BYTES], digest[16];
	char text[KEYTEXT_BYTES], want[128], sum[8];
	(void)state;
	for (unsigned i = 0; i < KEY_BYTES; i++)
		key[i] = (uint8_t)i;
	keytext_encode(KEY_PSK, key, text);
	const char *head = "haul-psk-1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
	crypto_generichash(digest, sizeof digest, (const uint8_t *)head, strlen(head), NULL, 0);
	sodium_bin2base64(sum, sizeof sum, digest, 3, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	snprintf(want, sizeof want, "%s%s", head, sum);
	assert_string_equal(text, want);
	assert_int_equal(strlen(text), 11 + 43 + 4);
}

static void visit_damaged(void *ctx, enum mutation kind, size_t at, const uint8_t *p, size_t n)
{
	uint8_t key[KEY_BYTES];
	enum key_kind found;
	size_t *tried = ctx;
	haul_err_clear(&err);
	if (keytext_decode((const char *)p, n, "file", &found, key, &err) != HAUL_USAGE)
		fail_msg("accepted: mutation %d at %zu: %.*s", kind, at, (int)n, (const char *)p);
	assert_string_equal(err.subject, "file");
	assert_true(err.why[0]);
	++*tried;
}

static void every_damage_is_refused(void **state)
{
	size_t tried = 0;
	(void)state;
	for (size_t k = 0; k < COUNT(all_kinds); k++)
		for (uint64_t seed = 1; seed <= 3; seed++) {
			char text[KEYTEXT_BYTES];
			text_of(all_kinds[k], seed, text);
			mutate_each((const uint8_t *)text, strlen(text), visit_damaged, &tried);
		}
	assert_true(tried > 5000);
}

static void decode_refuses(const char *text, const char *why)
{
	uint8_t key[KEY_BYTES];
	enum key_kind kind;
	refused(keytext_decode(text, strlen(text), "f", &kind, key, &err), "f", why);
}

static void what_is_wrong_is_named(void **state)
{
	char text[KEYTEXT_BYTES + 8];
	(void)state;
	decode_refuses("", "not a key");
	decode_refuses("ssh-ed25519 AAAA", "not a key");
	decode_refuses("haul-", "not a key");
	decode_refuses("haul-key-1 x", "not a key");
	decode_refuses("haul-psk-", "no version");
	decode_refuses("haul-psk-x ", "no version");
	decode_refuses("haul-psk-1", "no version");
	decode_refuses("haul-psk-2 whatever comes then", "unknown version 2 of a pre-shared key");
	decode_refuses("haul-pub-10 x", "unknown version 10 of a public key");
	decode_refuses("haul-secret-01 x", "unknown version 01");
	decode_refuses("haul-psk-1 AAAA", "cut off after 4 of 47");
	text_of(KEY_PSK, 7, text);
	strcat(text, "\r");
	decode_refuses(text, "something follows");
	text_of(KEY_PSK, 7, text);
	text[20] = text[20] == 'x' ? 'y' : 'x';
	decode_refuses(text, "checksum does not fit");
}

/* Messages are for logs: the key itself is never in them. */
static void messages_do_not_tell_secrets(void **state)
{
	char text[KEYTEXT_BYTES + 8];
	uint8_t key[KEY_BYTES];
	enum key_kind kind;
	(void)state;
	text_of(KEY_SECRET, 9, text);
	for (size_t at = 0; at < strlen(text); at++) {
		char damaged[sizeof text];
		strcpy(damaged, text);
		damaged[at] ^= 1;
		haul_err_clear(&err);
		assert_int_equal(keytext_decode(damaged, strlen(damaged), "f", &kind, key, &err), HAUL_USAGE);
		assert_null(strstr(err.why, "AA"));
		for (size_t from = 15; from + 6 < strlen(damaged); from++) {
			char part[7] = "";
			memcpy(part, damaged + from, 6);
			assert_null(strstr(err.why, part));
		}
	}
	haul_err_clear(&err);
}

static void keys_that_cannot_work(void **state)
{
	static const uint8_t low_order[][KEY_BYTES] = {
		{0},
		{1},
		{0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3,
		 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32,
		 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00},
	};
	char text[KEYTEXT_BYTES];
	(void)state;
	for (size_t i = 0; i < COUNT(low_order); i++) {
		keytext_encode(KEY_PUB, low_order[i], text);
		decode_refuses(text, "cannot work");
	}
	keytext_encode(KEY_PSK, low_order[0], text);
	decode_refuses(text, "cannot work");
	keytext_encode(KEY_SECRET, low_order[0], text);
	decode_refuses(text, "cannot work");
}

static void fingerprints(void **state)
{
	char a[KEYTEXT_FINGERPRINT_BYTES], b[KEYTEXT_FINGERPRINT_BYTES];
	uint8_t key[KEY_BYTES];
	(void)state;
	fill(key, 1);
	keytext_fingerprint(key, a);
	assert_int_equal(strlen(a), 32);
	key[31] ^= 0x80;
	keytext_fingerprint(key, b);
	assert_string_not_equal(a, b);
}

/* ---- files ---- */

static char psk_text[KEYTEXT_BYTES], secret_text[KEYTEXT_BYTES], pub_text[KEYTEXT_BYTES];

static void make_texts(void)
{
	uint8_t secret[KEY_BYTES], pub[KEY_BYTES];
	text_of(KEY_PSK, 1, psk_text);
	fill(secret, 2);
	crypto_scalarmult_curve25519_base(pub, secret);
	keytext_encode(KEY_SECRET, secret, secret_text);
	keytext_encode(KEY_PUB, pub, pub_text);
}

static void loads(void **state)
{
	uint8_t want[KEY_BYTES], pub[KEY_BYTES];
	char line[KEYTEXT_BYTES + 8];
	(void)state;
	make_texts();
	fill(want, 1);
	snprintf(line, sizeof line, "%s\n", psk_text);
	put_mode("key", line, 0600);
	assert_int_equal(keys_load_psk(keys, "key", &err), HAUL_OK);
	assert_int_equal(keys->mode, KEYS_PSK);
	assert_memory_equal(keys->psk, want, KEY_BYTES);
	put_mode("key", psk_text, 0400); /* without its newline, read-only */
	assert_int_equal(keys_load_psk(keys, "./key", &err), HAUL_OK);

	fill(want, 2);
	put_mode("id", secret_text, 0600);
	assert_int_equal(keys_load_identity(keys, "id", &err), HAUL_OK);
	assert_int_equal(keys->mode, KEYS_PEER);
	assert_memory_equal(keys->secret, want, KEY_BYTES);
	crypto_scalarmult_curve25519_base(pub, want);
	assert_memory_equal(keys->pub, pub, KEY_BYTES);

	put_mode("id.pub", pub_text, 0644);
	memset(want, 0, sizeof want);
	assert_int_equal(keys_parse_public("id.pub", want, &err), HAUL_OK);
	assert_memory_equal(want, pub, KEY_BYTES);
	memset(want, 0, sizeof want);
	assert_int_equal(keys_parse_public(pub_text, want, &err), HAUL_OK);
	assert_memory_equal(want, pub, KEY_BYTES);

	enum key_kind kind;
	assert_int_equal(keys_load_any(keys, "key", &kind, &err), HAUL_OK);
	assert_int_equal(kind, KEY_PSK);
	assert_int_equal(keys_load_any(keys, "id", &kind, &err), HAUL_OK);
	assert_int_equal(kind, KEY_SECRET);
	assert_int_equal(keys_load_any(keys, "id.pub", &kind, &err), HAUL_OK);
	assert_int_equal(kind, KEY_PUB);
	assert_memory_equal(keys->pub, pub, KEY_BYTES);
	assert_true(sodium_is_zero(keys->secret, KEY_BYTES));
}

static void absolute_and_deep_paths(void **state)
{
	char path[256];
	(void)state;
	make_texts();
	assert_int_equal(mkdir("a", 0755), 0);
	assert_int_equal(mkdir("a/b", 0700), 0);
	put_mode("a/b/key", psk_text, 0600);
	snprintf(path, sizeof path, "%s/a/b/key", scratch_dir);
	assert_int_equal(keys_load_psk(keys, path, &err), HAUL_OK);
	assert_int_equal(keys_load_psk(keys, "a/../a/./b//key", &err), HAUL_OK);
	assert_int_equal(symlink("a", "link"),
			 0); /* above the last component links are as good as what they mean */
	assert_int_equal(keys_load_psk(keys, "link/b/key", &err), HAUL_OK);
}

static void the_wrong_kind(void **state)
{
	uint8_t pub[KEY_BYTES];
	(void)state;
	make_texts();
	put_mode("key", psk_text, 0600);
	put_mode("id", secret_text, 0600);
	put_mode("id.pub", pub_text, 0644);
	refused(keys_load_psk(keys, "id", &err), "id", "a secret key of an identity, but a pre-shared key");
	refused(keys_load_psk(keys, "id.pub", &err), "id.pub", "a public key, but a pre-shared key");
	assert_true(sodium_is_zero(keys->psk, KEY_BYTES));
	refused(keys_load_identity(keys, "key", &err), "key", "but a secret key of an identity");
	assert_true(sodium_is_zero(keys->secret, KEY_BYTES));
	refused(keys_parse_public("id", pub, &err), "id", "but a public key");
	assert_true(sodium_is_zero(pub, KEY_BYTES));
	assert_int_equal(keys_load_identity(keys, "id", &err), HAUL_OK);
	refused(keys_load_peer(keys, pub_text, &err), pub_text, "of this side");
	refused(keys_load_peer(keys, "id.pub", &err), "id.pub", "of this side");
}

/* As setfacl makes them: the mask is what the group's bits of the mode show. */
struct acl_entry {
	uint16_t tag, perm;
	uint32_t id;
};

static void put_acl(const char *path, const struct acl_entry *entry, size_t count)
{
	struct {
		uint32_t version;
		struct acl_entry entry[8];
	} acl = {POSIX_ACL_XATTR_VERSION, {{0}}};
	memcpy(acl.entry, entry, count * sizeof *entry);
	assert_int_equal(setxattr(path, "system.posix_acl_access", &acl, 4 + count * sizeof *entry, 0), 0);
}

/* What an access control list says counts, not the mode that it shows: this is how systemd hands over credentials. */
static void access_control_lists(void **state)
{
	(void)state;
	const uint32_t self = geteuid(), other = 65533, none = ACL_UNDEFINED_ID;
	const struct {
		mode_t shown;
		bool secret, pub; /* is it good enough? */
		struct acl_entry more;
		uint16_t user, group, mask, others;
	} cases[] = {
		{0440, true, true, {ACL_USER, 4, self}, 4, 0, 4, 0}, /* systemd's */
		{0640, true, true, {ACL_USER, 4, 0}, 6, 0, 4, 0},
		{0660, true, true, {ACL_USER, 6, self}, 6, 0, 6, 0},
		{0600, true, true, {ACL_USER, 4, other}, 6, 0, 0, 0}, /* masked */
		{0440, false, true, {ACL_USER, 4, other}, 4, 0, 4, 0},
		{0440, false, true, {ACL_GROUP, 4, other}, 4, 0, 4, 0},
		{0440, false, true, {ACL_USER, 4, self}, 4, 4, 4, 0},
		{0444, false, true, {ACL_USER, 4, self}, 4, 0, 4, 4},
		{0660, false, false, {ACL_USER, 6, other}, 6, 0, 6, 0},
		{0660, false, false, {ACL_GROUP, 2, other}, 6, 0, 6, 0},
		{0442, false, false, {ACL_USER, 4, self}, 4, 0, 4, 2},
	};
	make_texts();
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct acl_entry list[] = {
			{ACL_USER_OBJ, cases[i].user, none},
			cases[i].more.tag == ACL_USER
				? cases[i].more
				: (struct acl_entry){ACL_GROUP_OBJ, cases[i].group, none},
			cases[i].more.tag == ACL_USER
				? (struct acl_entry){ACL_GROUP_OBJ, cases[i].group, none}
				: cases[i].more,
			{ACL_MASK, cases[i].mask, none},
			{ACL_OTHER, cases[i].others, none},
		};
		struct stat st;
		uint8_t pub[KEY_BYTES];
		put_mode("key", psk_text, 0600);
		put_acl("key", list, COUNT(list));
		assert_int_equal(stat("key", &st), 0);
		assert_int_equal(st.st_mode & 07777, cases[i].shown);
		enum haul_rc rc = keys_load_psk(keys, "key", &err);
		if ((rc == HAUL_OK) != cases[i].secret)
			fail_msg("list %zu: %s", i, err.why);
		if (!cases[i].secret) {
			refused(rc, "key", "run: chmod 600 key");
			assert_int_equal(chmod("key", 0600), 0); /* which takes the mask away, and helps */
			assert_int_equal(keys_load_psk(keys, "key", &err), HAUL_OK);
		}
		put_mode("id.pub", pub_text, 0644);
		put_acl("id.pub", list, COUNT(list));
		rc = keys_parse_public("id.pub", pub, &err);
		if (cases[i].pub)
			assert_int_equal(rc, HAUL_OK);
		else
			refused(rc, "id.pub", "chmod go-w");
	}
}

static void files_cut_and_longer(void **state)
{
	char text[1024];
	(void)state;
	make_texts();
	size_t len = strlen(psk_text);
	for (size_t n = 0; n < len; n++) {
		snprintf(text, sizeof text, "%.*s", (int)n, psk_text);
		put_mode("key", text, 0600);
		refused(keys_load_psk(keys, "key", &err), "key", "");
		strcat(text, "\n");
		put_mode("key", text, 0600);
		refused(keys_load_psk(keys, "key", &err), "key", "");
	}
	snprintf(text, sizeof text, "%s\n\n", psk_text);
	put_mode("key", text, 0600);
	refused(keys_load_psk(keys, "key", &err), "key", "something follows");
	snprintf(text, sizeof text, "%s\n%s\n", psk_text, psk_text);
	put_mode("key", text, 0600);
	refused(keys_load_psk(keys, "key", &err), "key", "something follows");
	snprintf(text, sizeof text, "%s\n%0500d", psk_text, 0);
	put_mode("key", text, 0600);
	refused(keys_load_psk(keys, "key", &err), "key", "longer than");
}

static void modes(void **state)
{
	(void)state;
	make_texts();
	for (mode_t mode = 0; mode <= 0777; mode++) {
		if (!(mode & 0400))
			continue; /* cannot be read, but by root */
		put_mode("key", psk_text, mode);
		if (mode & 077) {
			char want[80];
			snprintf(want, sizeof want, "(mode %04o); run: chmod 600 key", (unsigned)mode);
			refused(keys_load_psk(keys, "key", &err), "key", want);
		} else {
			assert_int_equal(keys_load_psk(keys, "key", &err), HAUL_OK);
		}
		uint8_t pub[KEY_BYTES];
		put_mode("id.pub", pub_text, mode);
		if (mode & 022)
			refused(keys_parse_public("id.pub", pub, &err), "id.pub", "run: chmod go-w id.pub");
		else
			assert_int_equal(keys_parse_public("id.pub", pub, &err), HAUL_OK);
	}
}

/* The advice is a command for a shell, whole or not at all. */
static void advice_is_exact(void **state)
{
	char dir[201], path[256];
	(void)state;
	make_texts();
	put_mode("it's a $key", psk_text, 0640);
	refused(keys_load_psk(keys, "it's a $key", &err), "it's a $key", "run: chmod 600 'it'\\''s a $key'");
	put_mode("-key", psk_text, 0640);
	refused(keys_load_psk(keys, "-key", &err), "-key", "run: chmod 600 ./-key");
	memset(dir, 'd', sizeof dir);
	dir[200] = '\0';
	assert_int_equal(mkdir(dir, 0700), 0);
	snprintf(path, sizeof path, "%s/key", dir);
	put_mode(path, psk_text, 0640);
	refused(keys_load_psk(keys, path, &err), path, "run: chmod 600 on it");
	/* and the command does what it says */
	put_mode("it's a $key", psk_text, 0666);
	assert_int_equal(system("chmod 600 'it'\\''s a $key'"), 0);
	assert_int_equal(keys_load_psk(keys, "it's a $key", &err), HAUL_OK);
}

static void what_is_no_file(void **state)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "socket"};
	(void)state;
	make_texts();
	put_mode("key", psk_text, 0600);
	assert_int_equal(symlink("key", "link"), 0);
	refused(keys_load_psk(keys, "link", &err), "link", "symbolic link");
	assert_int_equal(symlink("nowhere", "dangling"), 0);
	refused(keys_load_psk(keys, "dangling", &err), "dangling", "symbolic link");
	assert_int_equal(mkfifo("fifo", 0600), 0); /* nobody writes to it: must not hang */
	refused(keys_load_psk(keys, "fifo", &err), "fifo", "not a regular file");
	assert_int_equal(mkdir("dir", 0700), 0);
	refused(keys_load_psk(keys, "dir", &err), "dir", "not a regular file");
	refused(keys_load_psk(keys, "dir/", &err), "dir/", "a directory");
	refused(keys_load_psk(keys, "dir/.", &err), "dir/.", "a directory");
	refused(keys_load_psk(keys, "..", &err), "..", "a directory");
	refused(keys_load_psk(keys, "/", &err), "/", "a directory");
	refused(keys_load_psk(keys, "", &err), "", "empty");
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
	refused(keys_load_psk(keys, "socket", &err), "socket", "");
	close(fd);
	refused(keys_load_psk(keys, "/dev/zero", &err), "/dev/zero", "not a regular file");
	assert_int_equal(keys_load_psk(keys, "none", &err), HAUL_USAGE);
	assert_int_equal(err.sys, ENOENT);
	haul_err_clear(&err);
	assert_int_equal(keys_load_psk(keys, "none/key", &err), HAUL_USAGE);
	assert_int_equal(err.sys, ENOENT);
	haul_err_clear(&err);
	assert_int_equal(keys_load_psk(keys, "key/key", &err), HAUL_USAGE);
	assert_int_equal(err.sys, ENOTDIR);
	haul_err_clear(&err);
	char deep[5001];
	memset(deep, 'x', sizeof deep);
	deep[sizeof deep - 1] = '\0';
	for (size_t i = 99; i + 1 < sizeof deep; i += 100)
		deep[i] = '/';
	deep[sizeof deep - 2] = 'x';
	assert_int_equal(keys_load_psk(keys, deep, &err), HAUL_USAGE);
	assert_int_equal(err.sys, ENAMETOOLONG);
	haul_err_clear(&err);
}

static void huge_files(void **state)
{
	(void)state;
	make_texts();
	put_mode("key", psk_text, 0600);
	assert_int_equal(truncate("key", (off_t)1 << 40), 0);
	refused(keys_load_psk(keys, "key", &err), "key", "longer than");
	put_mode("key", "", 0600);
	refused(keys_load_psk(keys, "key", &err), "key", "not a key");
}

static void loose_parents(void **state)
{
	char path[256], dir[256];
	(void)state;
	make_texts();
	assert_int_equal(mkdir("a", 0700), 0);
	assert_int_equal(mkdir("a/b", 0700), 0);
	assert_int_equal(mkdir("a/b/c", 0700), 0);
	put_mode("a/b/c/key", psk_text, 0600);
	static const char *const dirs[] = {"a", "a/b", "a/b/c"};
	static const mode_t bad[] = {0770, 0702, 0777, 0720};
	for (size_t d = 0; d < COUNT(dirs); d++)
		for (size_t m = 0; m < COUNT(bad); m++) {
			char want[128];
			assert_int_equal(chmod(dirs[d], bad[m]), 0);
			snprintf(want, sizeof want, "(mode %04o) and so the key in it; run: chmod go-w %s",
				 (unsigned)bad[m], dirs[d]);
			refused(keys_load_psk(keys, "a/b/c/key", &err), dirs[d], want);
			snprintf(path, sizeof path, "%s/a/b/c/key", scratch_dir);
			snprintf(dir, sizeof dir, "%s/%s", scratch_dir, dirs[d]);
			refused(keys_load_psk(keys, path, &err), dir, dir);
			assert_int_equal(chmod(dirs[d], 01777), 0); /* as /tmp is */
			assert_int_equal(keys_load_psk(keys, "a/b/c/key", &err), HAUL_OK);
			assert_int_equal(chmod(dirs[d], 0755), 0);
			assert_int_equal(keys_load_psk(keys, "a/b/c/key", &err), HAUL_OK);
		}
	/* seen from below, and through a link that hides the loose one: named so that chmod finds it */
	assert_int_equal(symlink("a/b", "link"), 0);
	assert_int_equal(chmod("a", 0777), 0);
	assert_int_equal(keys_load_psk(keys, "link/c/key", &err), HAUL_USAGE);
	char *run = strstr(err.why, "run: ");
	assert_non_null(run);
	assert_int_equal(system(run + 5), 0);
	haul_err_clear(&err);
	assert_int_equal(keys_load_psk(keys, "link/c/key", &err), HAUL_OK);
	assert_int_equal(chmod("a", 0777), 0);
	assert_int_equal(chdir("a/b/c"), 0);
	assert_int_equal(keys_load_psk(keys, "key", &err), HAUL_USAGE);
	run = strstr(err.why, "run: ");
	assert_non_null(run);
	assert_int_equal(system(run + 5), 0);
	haul_err_clear(&err);
	assert_int_equal(keys_load_psk(keys, "key", &err), HAUL_OK);
}

/* Only root can give files away; for anybody else /etc/passwd's are root's, which is fine. */
static void foreign_owners(void **state)
{
	(void)state;
	make_texts();
	if (geteuid() != 0)
		return;
	assert_int_equal(mkdir("dir", 0700), 0);
	put_mode("dir/key", psk_text, 0600);
	assert_int_equal(chown("dir/key", 12345, 0), 0);
	refused(keys_load_psk(keys, "dir/key", &err), "dir/key", "belongs to uid 12345");
	assert_int_equal(chown("dir/key", 0, 12345), 0);
	assert_int_equal(keys_load_psk(keys, "dir/key", &err), HAUL_OK);
	assert_int_equal(chown("dir", 12345, 0), 0);
	refused(keys_load_psk(keys, "dir/key", &err), "dir", "belongs to uid 12345");
	assert_int_equal(chmod("dir", 01777), 0);
	refused(keys_load_psk(keys, "dir/key", &err), "dir", "belongs to uid 12345");
}

/* ---- descriptors ---- */

static int pipe_with(const char *text, size_t len, bool close_writer)
{
	int fd[2];
	assert_int_equal(pipe(fd), 0);
	assert_int_equal(write(fd[1], text, len), (ssize_t)len);
	if (close_writer)
		close(fd[1]);
	return fd[0];
}

static void descriptors(void **state)
{
	char text[1024], subject[32];
	uint8_t want[KEY_BYTES];
	(void)state;
	make_texts();
	fill(want, 1);
	int fd = pipe_with(psk_text, strlen(psk_text), true);
	assert_int_equal(keys_load_psk_fd(keys, fd, &err), HAUL_OK);
	assert_int_equal(keys->mode, KEYS_PSK);
	assert_memory_equal(keys->psk, want, KEY_BYTES);
	assert_int_equal(fcntl(fd, F_GETFD), -1); /* closed */

	/* the first line counts, and the writer may stay */
	snprintf(text, sizeof text, "%s\nlogin: somebody\n", psk_text);
	fd = pipe_with(text, strlen(text), false);
	assert_int_equal(keys_load_psk_fd(keys, fd, &err), HAUL_OK);

	for (size_t n = 0; n < strlen(psk_text); n++) {
		fd = pipe_with(psk_text, n, true);
		snprintf(subject, sizeof subject, "fd:%d", fd);
		refused(keys_load_psk_fd(keys, fd, &err), subject, "");
		assert_int_equal(fcntl(fd, F_GETFD), -1);
	}
	/* endless, without a line's end */
	memset(text, 'x', sizeof text);
	fd = pipe_with(text, sizeof text, false);
	refused(keys_load_psk_fd(keys, fd, &err), NULL, "not a key");
	fd = open("/dev/zero", O_RDONLY);
	refused(keys_load_psk_fd(keys, fd, &err), NULL, "not a key");
	fd = pipe_with(secret_text, strlen(secret_text), true);
	refused(keys_load_psk_fd(keys, fd, &err), NULL, "but a pre-shared key");
	assert_int_equal(keys_load_psk_fd(keys, 999, &err), HAUL_USAGE);
	assert_string_equal(err.subject, "fd:999");
	assert_int_equal(err.sys, EBADF);
	haul_err_clear(&err);
	fd = open(".", O_RDONLY | O_DIRECTORY);
	assert_int_equal(keys_load_psk_fd(keys, fd, &err), HAUL_USAGE);
	assert_int_equal(err.sys, EISDIR);
	haul_err_clear(&err);
	/* a descriptor that does not wait is waited for: written to by a child */
	int p[2];
	assert_int_equal(pipe2(p, O_NONBLOCK), 0);
	pid_t child = fork();
	if (child == 0) {
		for (const char *c = psk_text; *c; c++)
			if (write(p[1], c, 1) != 1)
				_exit(1);
		_exit(0);
	}
	close(p[1]);
	assert_int_equal(keys_load_psk_fd(keys, p[0], &err), HAUL_OK);
}

/* ---- making ---- */

static void made_ones_load(void **state)
{
	char text[KEYTEXT_BYTES];
	uint8_t made[KEY_BYTES];
	struct stat st;
	(void)state;
	keys_make_psk(keys);
	memcpy(made, keys->psk, KEY_BYTES);
	keytext_encode(KEY_PSK, keys->psk, text);
	umask(0777);
	assert_int_equal(keyfile_create("key", 0600, text, &err), HAUL_OK);
	assert_int_equal(stat("key", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(keys_load_psk(keys, "key", &err), HAUL_OK);
	assert_memory_equal(made, keys->psk, KEY_BYTES);
	keys_make_psk(keys);
	assert_memory_not_equal(made, keys->psk, KEY_BYTES);

	keys_make_identity(keys);
	memcpy(made, keys->pub, KEY_BYTES);
	keytext_encode(KEY_SECRET, keys->secret, text);
	assert_int_equal(keyfile_create("id", 0600, text, &err), HAUL_OK);
	assert_int_equal(keys_load_identity(keys, "id", &err), HAUL_OK);
	assert_memory_equal(made, keys->pub, KEY_BYTES);
}

static void nothing_is_overwritten(void **state)
{
	char before[16] = "";
	(void)state;
	put_mode("there", "mine", 0600);
	refused(keyfile_create("there", 0600, "x", &err), "there", "never overwritten");
	assert_int_equal(get_file("there", before, sizeof before), 4);
	assert_memory_equal(before, "mine", 4);
	assert_int_equal(symlink("away", "link"), 0);
	refused(keyfile_create("link", 0600, "x", &err), "link", "never overwritten");
	assert_int_equal(access("away", F_OK), -1);
	assert_int_equal(mkdir("loose", 0700), 0);
	assert_int_equal(chmod("loose", 0777), 0);
	refused(keyfile_create("loose/key", 0600, "x", &err), "loose", "chmod go-w loose");
	assert_int_equal(access("loose/key", F_OK), -1);
	assert_int_equal(keyfile_create("none/key", 0600, "x", &err), HAUL_USAGE);
	assert_int_equal(err.sys, ENOENT);
	haul_err_clear(&err);
}

/* A disk without room: an error, and no half a key. */
static void a_write_that_fails(void **state)
{
	struct rlimit none = {3, 3}, all;
	(void)state;
	make_texts();
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		signal(SIGXFSZ, SIG_IGN);
		getrlimit(RLIMIT_FSIZE, &all);
		none.rlim_max = all.rlim_max;
		setrlimit(RLIMIT_FSIZE, &none);
		_exit(keyfile_create("key", 0600, psk_text, &err) == HAUL_NO_SPACE ? 0 : 1);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(access("key", F_OK), -1);
}

static void no_core_files(void **state)
{
	struct rlimit core;
	(void)state;
	assert_int_equal(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
	assert_int_equal(getrlimit(RLIMIT_CORE, &core), 0);
	assert_true(core.rlim_cur == 0 && core.rlim_max == 0);
	assert_true(sodium_is_zero((const uint8_t *)keys, sizeof *keys) || keys->unlocked);
}

static void forgotten(void **state)
{
	(void)state;
	keys_make_identity(keys);
	keys_make_psk(keys);
	keys->peers.count = 3;
	assert_false(sodium_is_zero(keys->psk, sizeof keys->psk));
	enum keys_mode mode = keys->mode;
	keys_forget(keys);
	assert_true(sodium_is_zero(keys->psk, sizeof keys->psk));
	assert_true(sodium_is_zero(keys->secret, sizeof keys->secret));
	assert_true(keys->mode == mode && keys->peers.count == 3);
	keys->peers.count = 0;
	keys_forget(NULL);
}

int main(void)
{
	if (sodium_init() < 0)
		return 1;
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
		TEST(round_trip),
		TEST(format_is_as_documented),
		TEST(every_damage_is_refused),
		TEST(what_is_wrong_is_named),
		TEST(messages_do_not_tell_secrets),
		TEST(keys_that_cannot_work),
		TEST(fingerprints),
		TEST(loads),
		TEST(absolute_and_deep_paths),
		TEST(the_wrong_kind),
		TEST(files_cut_and_longer),
		TEST(modes),
		TEST(access_control_lists),
		TEST(advice_is_exact),
		TEST(what_is_no_file),
		TEST(huge_files),
		TEST(loose_parents),
		TEST(foreign_owners),
		TEST(descriptors),
		TEST(made_ones_load),
		TEST(nothing_is_overwritten),
		TEST(a_write_that_fails),
		TEST(no_core_files),
		TEST(forgotten),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
