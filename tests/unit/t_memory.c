/*
 * Where keys are in memory: a raw key only where keys.h says, in locked memory that core files leave out, however it
 * was loaded, and after whole handshakes too; nowhere once it is forgotten. Its text is nowhere at all. The key is made
 * by another process, and this one knows it in disguise only, so that it does not find what it is looking for in
 * itself.
 */
#include "tests/unit/unit.h"

#include <sodium.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "lib/auth.h"
#include "lib/entropy.h"
#include "wire/handshake.h"

#define DISGUISE   0x5a
#define SCAN_BYTES (1u << 20)
#define PAGE_BYTES 4096u
#define KEY_FROM   4u /* of the key: the ends of a secret key are changed by the arithmetic */
#define KEY_PART   24u
#define TEXT_FROM  16u /* of the text: all of it is random by then */
#define TEXT_PART  32u

/* What /proc says of memory that is locked. The sanitizers make mlock do nothing; then only core files count. */
#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || __has_feature(address_sanitizer) ||     \
	__has_feature(thread_sanitizer)
#define LOCKED	      " dd"
#define MAPPING_BYTES (16u << 20) /* a larger one is a shadow */
#else
#define LOCKED	      " lo"
#define MAPPING_BYTES (256u << 20)
#endif

struct secret {
	uint8_t key[KEY_PART], text[TEXT_PART]; /* disguised */
};

static void disguise(uint8_t *out, const void *in, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = ((const uint8_t *)in)[i] ^ DISGUISE;
}

/* A child makes a key file. */
static struct secret make_key(const char *path, enum key_kind kind)
{
	int pipes[2];
	struct secret s;
	assert_int_equal(pipe(pipes), 0);
	pid_t pid = fork();
	if (pid == 0) {
		uint8_t key[KEY_BYTES];
		char text[KEYTEXT_BYTES];
		entropy_fill(key, sizeof key);
		keytext_encode(kind, key, text);
		int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
		bool good = write(fd, text, strlen(text)) == (ssize_t)strlen(text) && write(fd, "\n", 1) == 1;
		disguise(s.key, key + KEY_FROM, sizeof s.key);
		disguise(s.text, text + TEXT_FROM, sizeof s.text);
		good = good && write(pipes[1], &s, sizeof s) == sizeof s;
		_exit(good ? 0 : 1);
	}
	int status;
	assert_int_equal(read(pipes[0], &s, sizeof s), sizeof s);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(pipes[0]);
	close(pipes[1]);
	return s;
}

/* ---- looking ---- */

struct found {
	size_t keys, keys_open, texts; /* keys_open: in memory that may be swapped out or dumped */
};

static size_t count_in(const uint8_t *p, size_t n, const uint8_t *disguised, size_t len)
{
	size_t count = 0;
	const uint8_t *end = p + n;
	while ((p = memchr(p, disguised[0] ^ DISGUISE, (size_t)(end - p))) && (size_t)(end - p) >= len) {
		size_t k = 1;
		while (k < len && (p[k] ^ DISGUISE) == disguised[k])
			k++;
		count += k == len;
		p++;
	}
	return count;
}

/* Is anything there that was ever touched? */
static bool resident(unsigned long at, size_t n)
{
	unsigned char page[SCAN_BYTES / PAGE_BYTES] = {0};
	if (mincore((void *)at, n, page) != 0)
		return true;
	for (size_t i = 0; i < (n + PAGE_BYTES - 1) / PAGE_BYTES; i++)
		if (page[i] & 1)
			return true;
	return false;
}

/* Patterns that begin in the first `own` of n bytes. */
static size_t count_of(const uint8_t *p, size_t n, size_t own, const uint8_t *disguised, size_t len)
{
	size_t until = own + len - 1;
	return count_in(p, n < until ? n : until, disguised, len);
}

static void look_into(unsigned long from, unsigned long to, bool locked, const struct secret *s, uint8_t *buf,
		      struct found *f)
{
	const size_t step = SCAN_BYTES - PAGE_BYTES; /* the last page is the next piece's, too */
	for (unsigned long at = from; at < to; at += step) {
		size_t n = to - at < SCAN_BYTES ? to - at : SCAN_BYTES;
		struct iovec here = {buf, n}, there = {(void *)at, n};
		if (!resident(at, n) || process_vm_readv(getpid(), &here, 1, &there, 1, 0) != (ssize_t)n)
			continue;
		size_t keys = count_of(buf, n, step, s->key, sizeof s->key);
		f->keys += keys;
		f->keys_open += locked ? 0 : keys;
		f->texts += count_of(buf, n, step, s->text, sizeof s->text);
	}
}

/* All that this process could write to. */
static struct found look(const struct secret *s)
{
	struct found f = {0};
	char line[512], mode[8];
	unsigned long from, to, now_from = 0, now_to = 0;
	bool writable = false;
	uint8_t *buf = mmap(NULL, SCAN_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(buf, MAP_FAILED);
	madvise(buf, SCAN_BYTES, MADV_DONTDUMP); /* a mapping of its own */
	FILE *smaps = fopen("/proc/self/smaps", "r");
	assert_non_null(smaps);
	while (fgets(line, sizeof line, smaps)) {
		if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) == 3) {
			now_from = from, now_to = to;
			writable = mode[1] == 'w';
		} else if (strncmp(line, "VmFlags:", 8) == 0 && writable &&
			   now_to - now_from <= MAPPING_BYTES && now_from != (unsigned long)buf) {
			bool locked = strstr(line, LOCKED) && strstr(line, " dd");
			look_into(now_from, now_to, locked, s, buf, &f);
		}
	}
	fclose(smaps);
	munmap(buf, SCAN_BYTES);
	return f;
}

/* ---- what leaves traces ---- */

static void feed(struct handshake *to, struct handshake *from)
{
	struct wire_err err = {0};
	size_t at = 0;
	while (at < from->out_len && handshake_need(to)) {
		size_t n = handshake_need(to);
		enum wire_rc rc = handshake_feed(to, from->out + at, n, &err);
		assert_true(rc == WIRE_OK || rc == WIRE_MORE);
		at += n;
	}
	handshake_sent(from, at);
}

/* A whole handshake of a with b, in heap memory, as the engine and the listener have it. */
static void shake(const struct auth *a, const struct auth *b)
{
	struct hello h = {.minor_min = 1, .minor_max = 1, .max_body = RECORD_BODY_MAX_BYTES};
	struct frame_attach attach = {.role = ROLE_SENDER, .fresh = 1};
	struct wire_err err = {0};
	uint8_t secret[AUTH_KEY_BYTES];
	struct handshake *i = malloc(sizeof *i), *r = malloc(sizeof *r);
	assert_true(i && r);
	entropy_fill(secret, sizeof secret);
	assert_int_equal(handshake_initiate_with(i, &h, &attach, auth_credentials(a), secret, &err), WIRE_OK);
	entropy_fill(secret, sizeof secret);
	handshake_respond_with(r, &h, auth_credentials(b), secret);
	feed(r, i);
	feed(i, r);
	feed(r, i);
	assert_int_equal(r->state, HS_DECIDE);
	handshake_wipe(i);
	handshake_wipe(r);
	free(i);
	free(r);
}

static void only_where_it_belongs(const struct secret *s, size_t keys)
{
	struct found f = look(s);
	if (f.keys != keys || f.keys_open || f.texts)
		fail_msg("the key is in memory %zu times, not %zu; %zu times open; its text %zu times",
			 f.keys, keys, f.keys_open, f.texts);
}

static struct haul_keys *new_keys(void)
{
	struct haul_keys *k = NULL;
	struct haul_err err = {0};
	assert_int_equal(keys_new(&k, &err), HAUL_OK);
	assert_false(k->unlocked);
	return k;
}

static void a_shared_key(void **state)
{
	(void)state;
	struct haul_err err = {0};
	for (int by_fd = 0; by_fd < 2; by_fd++) {
		struct secret s = make_key(by_fd ? "by-fd" : "by-path", KEY_PSK);
		struct haul_keys *k = new_keys();
		only_where_it_belongs(&s, 0);
		enum haul_rc rc = by_fd ? keys_load_psk_fd(k, open("by-fd", O_RDONLY), &err)
					: keys_load_psk(k, "by-path", &err);
		assert_int_equal(rc, HAUL_OK);
		only_where_it_belongs(&s, 1);
		struct auth *a = auth_new(k, NULL);
		only_where_it_belongs(&s, 1);
		shake(a, a);
		only_where_it_belongs(&s, 1);
		auth_forget_keys(a);
		keys_forget(k);
		only_where_it_belongs(&s, 0);
		auth_free(a);
		keys_free(k);
	}
}

static void an_identity(void **state)
{
	(void)state;
	struct haul_err err = {0};
	struct secret s = make_key("identity", KEY_SECRET);
	struct haul_keys *k = new_keys(), *peer = new_keys();
	keys_make_identity(peer);
	assert_int_equal(keys_load_identity(k, "identity", &err), HAUL_OK);
	only_where_it_belongs(&s, 1);
	memcpy(k->peer, peer->pub, KEY_BYTES);
	memcpy(peer->peer, k->pub, KEY_BYTES);
	struct auth *a = auth_new(k, NULL), *b = auth_new(peer, NULL);
	only_where_it_belongs(&s, 2); /* with the credentials, which are locked too */
	shake(a, b);
	shake(b, a);
	only_where_it_belongs(&s, 2);
	auth_forget_keys(a);
	keys_forget(k);
	only_where_it_belongs(&s, 0);
	auth_free(a), auth_free(b);
	keys_free(k), keys_free(peer);
}

/* Would it be seen? */
static void what_is_left_is_found(void **state)
{
	(void)state;
	struct secret s = make_key("left", KEY_PSK);
	char *text = malloc(KEYTEXT_BYTES);
	enum key_kind kind;
	struct haul_err err = {0};
	uint8_t *key = malloc(KEY_BYTES);
	ssize_t n = get_file("left", text, KEYTEXT_BYTES - 1);
	assert_int_equal(keytext_decode(text, (size_t)n - 1, "left", &kind, key, &err), HAUL_OK);
	struct found f = look(&s);
	assert_true(f.keys == 1 && f.keys_open == 1 && f.texts == 1);
	sodium_memzero(text, KEYTEXT_BYTES);
	sodium_memzero(key, KEY_BYTES);
	only_where_it_belongs(&s, 0);
	free(text);
	free(key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_shared_key, enter_scratch, leave_scratch),
		cmocka_unit_test_setup_teardown(an_identity, enter_scratch, leave_scratch),
		cmocka_unit_test_setup_teardown(what_is_left_is_found, enter_scratch, leave_scratch),
	};
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
