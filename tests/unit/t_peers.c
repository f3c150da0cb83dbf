/* The authorised peers file: every field, every refusal with its line, damage, bounds. */
#include "unit.h"

#include <sodium.h>

#include "lib/config.h"
#include "lib/keys.h"
#include "lib/peers.h"
#include "mutate.h"

static struct haul_err err;
static struct peers peers;
static char a[KEYTEXT_BYTES], b[KEYTEXT_BYTES];

static void pub_of(uint64_t seed, uint8_t pub[static KEY_BYTES])
{
	uint8_t secret[KEY_BYTES];
	struct prng p = {seed};
	prng_fill(&p, secret, KEY_BYTES);
	crypto_scalarmult_curve25519_base(pub, secret);
}

static void pub_text(uint64_t seed, char out[static KEYTEXT_BYTES])
{
	uint8_t pub[KEY_BYTES];
	pub_of(seed, pub);
	keytext_encode(KEY_PUB, pub, out);
}

static int begin(void **state)
{
	haul_err_clear(&err);
	pub_text(1, a);
	pub_text(2, b);
	return enter_scratch(state);
}

static int end(void **state)
{
	peers_free(&peers);
	return leave_scratch(state);
}

__attribute__((format(printf, 1, 2))) static enum haul_rc parse(const char *fmt, ...)
{
	char text[16384];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	assert_in_range(n, 0, sizeof text - 1);
	peers_free(&peers);
	haul_err_clear(&err);
	return peers_parse(&peers, "peers", text, (size_t)n, &err);
}

static void refused(enum haul_rc rc, const char *subject, const char *why)
{
	assert_int_equal(rc, HAUL_USAGE);
	assert_int_equal(haul_exit_status(&err), 1);
	assert_string_equal(err.subject, subject);
	if (!strstr(err.why, why))
		fail_msg("'%s' does not say '%s'", err.why, why);
	assert_null(peers.peer);
	assert_int_equal(peers.count, 0);
}

#define REFUSES(subject, why, ...) refused(parse(__VA_ARGS__), subject, why)

static void all_fields(void **state)
{
	uint8_t pub[KEY_BYTES];
	(void)state;
	assert_int_equal(parse("# who may come\n"
			       "\n"
			       "%s name=alice dir=backup/alice max-bytes=10G max-sessions=2 no-overwrite ro\n"
			       "   # indented\n"
			       " \t%s\tdir=. \t name=bob@home.example\t\n",
			       a, b),
			 HAUL_OK);
	assert_int_equal(peers.count, 2);
	const struct peer *p = &peers.peer[0];
	pub_of(1, pub);
	assert_memory_equal(p->pub, pub, KEY_BYTES);
	assert_string_equal(p->name, "alice");
	assert_string_equal(p->dir, "backup/alice");
	assert_true(p->max_bytes == UINT64_C(10) << 30);
	assert_int_equal(p->max_sessions, 2);
	assert_true(p->no_overwrite && p->read_only);
	assert_ptr_equal(peers_find(&peers, pub), p);
	p = &peers.peer[1];
	pub_of(2, pub);
	assert_ptr_equal(peers_find(&peers, pub), p);
	assert_string_equal(p->name, "bob@home.example");
	assert_string_equal(p->dir, ".");
	assert_true(p->max_bytes == SIZE_UNSET);
	assert_int_equal(p->max_sessions, 0);
	assert_false(p->no_overwrite || p->read_only);
	pub_of(3, pub);
	assert_null(peers_find(&peers, pub));
	assert_int_equal(parse("%s name=a dir=b", a), HAUL_OK); /* no newline at the end */
}

static void lines_are_named(void **state)
{
	(void)state;
	REFUSES("peers:3", "name=... is missing", "#\n%s name=a dir=a\n%s dir=b\n", a, b);
	REFUSES("peers:1", "dir=... is missing", "%s name=a ro\n", a);
	REFUSES("peers:1", "name=... is missing", "%s\n", a);
	REFUSES("peers:2", "the key of a again", "%s name=a dir=a\n%s name=b dir=b\n", a, a);
	REFUSES("peers:2", "the name a again", "%s name=a dir=a\n%s name=a dir=b\n", a, b);
	REFUSES("peers:1", "dir is there twice", "%s name=a dir=a dir=b\n", a);
	REFUSES("peers:1", "ro is there twice", "%s name=a dir=a ro ro\n", a);
	REFUSES("peers:1", "rw is none of", "%s name=a dir=a rw\n", a);
	REFUSES("peers:1", "Name is none of", "%s Name=a dir=a\n", a);
	REFUSES("peers:1", " is none of", "%s name=a dir=a =\n", a);
	REFUSES("peers:1", "ro takes no value", "%s name=a dir=a ro=yes\n", a);
	REFUSES("peers:1", "name needs a value", "%s name= dir=a\n", a);
	REFUSES("peers:1", "dir needs a value", "%s name=a dir\n", a);
	REFUSES("peers", "authorises nobody", "%s", "");
	REFUSES("peers", "authorises nobody", "# %s name=a dir=a\n", a);
}

static void values(void **state)
{
	static const char *const dirs[] = {"/abs", "..",   "a/../b", "a/",    "a//b",	 "./a",
					   "a/.",  "../x", "/",	     ".haul", ".haul/x", "a/.."};
	char long_name[70];
	(void)state;
	for (size_t i = 0; i < COUNT(dirs); i++)
		REFUSES("peers:1", "dir=", "%s name=a dir=%s\n", a, dirs[i]);
	REFUSES("peers:1", "max-bytes=0", "%s name=a dir=a max-bytes=0\n", a);
	REFUSES("peers:1", "max-bytes=-1", "%s name=a dir=a max-bytes=-1\n", a);
	REFUSES("peers:1", "takes a size", "%s name=a dir=a max-bytes=lots\n", a);
	REFUSES("peers:1", "takes a size", "%s name=a dir=a max-bytes=99999999999T\n", a);
	REFUSES("peers:1", "takes a count", "%s name=a dir=a max-sessions=0\n", a);
	REFUSES("peers:1", "takes a count", "%s name=a dir=a max-sessions=4294967296\n", a);
	REFUSES("peers:1", "takes a count", "%s name=a dir=a max-sessions=1.5\n", a);
	REFUSES("peers:1", "takes up to 64", "%s name=a/b dir=a\n", a);
	REFUSES("peers:1", "takes up to 64", "%s name=a\033[31m dir=a\n", a);
	REFUSES("peers:1", "takes up to 64", "%s dir=a name=a\r\n", a);
	memset(long_name, 'n', sizeof long_name);
	long_name[65] = '\0';
	REFUSES("peers:1", "takes up to 64", "%s dir=a name=%s\n", a, long_name);
	long_name[64] = '\0';
	assert_int_equal(parse("%s dir=a name=%s\n", a, long_name), HAUL_OK);
	assert_int_equal(parse("%s dir=a=b name=x\n", a), HAUL_OK);
	assert_string_equal(peers.peer[0].dir, "a=b");
}

static void keys_in_lines(void **state)
{
	uint8_t key[KEY_BYTES] = {1, 2, 3};
	char psk[KEYTEXT_BYTES];
	(void)state;
	keytext_encode(KEY_PSK, key, psk);
	REFUSES("peers:1", "but a public key", "%s name=a dir=a\n", psk);
	REFUSES("peers:1", "not a key", "name=a dir=a %s\n", a);
	REFUSES("peers:1", "not a key", "alice\n");
	REFUSES("peers:1", "no version", "haul-pub-1\n");
	REFUSES("peers:1", "unknown version 2", "haul-pub-2 x name=a dir=a\n");
	REFUSES("peers:1", "cut off", "%.40s name=a dir=a\n", a);
	REFUSES("peers:1", "", "haul-pub-1  %s name=a dir=a\n", a + 11); /* two blanks */
	REFUSES("peers:1", "", "haul-pub-1\t%s name=a dir=a\n", a + 11);
}

/* Every bit of the key of the second line: refused there, or (its line's end) no key at all. */
static void visit_damaged(void *ctx, enum mutation kind, size_t at, const uint8_t *p, size_t n)
{
	char text[1024];
	size_t *tried = ctx;
	if (memchr(p, '\0', n) || memchr(p, '\n', n) || (n && p[0] == '#') || n == 0)
		return;
	int head = snprintf(text, sizeof text, "%s name=a dir=a\n", a);
	memcpy(text + head, p, n);
	int tail = snprintf(text + head + n, sizeof text - (size_t)head - n, " name=b dir=b\n");
	haul_err_clear(&err);
	if (peers_parse(&peers, "peers", text, (size_t)head + n + (size_t)tail, &err) != HAUL_USAGE)
		fail_msg("accepted: mutation %d at %zu", kind, at);
	assert_string_equal(err.subject, "peers:2");
	++*tried;
}

static void damaged_keys(void **state)
{
	size_t tried = 0;
	(void)state;
	mutate_each((const uint8_t *)b, strlen(b), visit_damaged, &tried);
	assert_true(tried > 500);
}

/* No cut of a file is taken for a shorter one with a peer that was not there, and none crashes. */
static void cut_files(void **state)
{
	char text[512];
	(void)state;
	size_t n = (size_t)snprintf(text, sizeof text, "%s name=a dir=a\n%s dir=b name=bb\n", a, b);
	size_t first = (size_t)(strchr(text, '\n') - text);
	for (size_t cut = 0; cut <= n; cut++) {
		char *copy = malloc(cut ? cut : 1);
		assert_non_null(copy);
		memcpy(copy, text, cut);
		peers_free(&peers);
		haul_err_clear(&err);
		enum haul_rc rc = peers_parse(&peers, "peers", copy, cut, &err);
		if (cut == first || cut == first + 1)
			assert_int_equal(peers.count, 1);
		else if (cut >= n - 2) /* a name loses its end: text cannot tell */
			assert_int_equal(peers.count, 2);
		else
			assert_int_equal(rc, HAUL_USAGE);
		free(copy);
	}
}

static void bounds(void **state)
{
	char line[KEYTEXT_BYTES + 64], *text = calloc(1, PEERS_FILE_MAX + 2);
	size_t n = 0;
	(void)state;
	assert_non_null(text);
	for (unsigned i = 0; i < PEERS_MAX + 1; i++) {
		char pub[KEYTEXT_BYTES];
		pub_text(1000 + i, pub);
		n += (size_t)sprintf(text + n, "%s name=n%u dir=d\n", pub, i);
		if (i + 1 == PEERS_MAX) {
			assert_int_equal(peers_parse(&peers, "peers", text, n, &err), HAUL_OK);
			assert_int_equal(peers.count, PEERS_MAX);
			peers_free(&peers);
		}
	}
	assert_int_equal(peers_parse(&peers, "peers", text, n, &err), HAUL_USAGE);
	snprintf(line, sizeof line, "peers:%u", PEERS_MAX + 1);
	assert_string_equal(err.subject, line);
	assert_non_null(strstr(err.why, "more than"));

	memset(text, '#', PEERS_FILE_MAX + 1);
	haul_err_clear(&err);
	refused(peers_parse(&peers, "peers", text, PEERS_FILE_MAX + 1, &err), "peers", "longer than");
	haul_err_clear(&err);
	refused(peers_parse(&peers, "peers", text, PEERS_LINE_MAX + 1, &err), "peers:1", "longer than");
	haul_err_clear(&err);
	refused(peers_parse(&peers, "peers", "#\0#", 3, &err), "peers", "NUL");
	free(text);
}

static void files(void **state)
{
	char text[256];
	(void)state;
	size_t n = (size_t)snprintf(text, sizeof text, "%s name=a dir=a\n", a);
	put_file("peers", text, n);
	assert_int_equal(chmod("peers", 0644), 0);
	assert_int_equal(peers_load(&peers, "peers", &err), HAUL_OK);
	assert_string_equal(peers.peer[0].name, "a");
	peers_free(&peers);
	assert_int_equal(chmod("peers", 0664), 0);
	refused(peers_load(&peers, "peers", &err), "peers", "run: chmod go-w peers");
	assert_int_equal(chmod("peers", 0644), 0);
	assert_int_equal(symlink("peers", "link"), 0);
	haul_err_clear(&err);
	refused(peers_load(&peers, "link", &err), "link", "symbolic link");
	assert_int_equal(truncate("peers", (off_t)1 << 40), 0);
	haul_err_clear(&err);
	refused(peers_load(&peers, "peers", &err), "peers", "longer than");
}

/* Our own key among the peers would let a reflected opening in. */
static void not_ourselves(void **state)
{
	struct haul_keys *keys;
	char text[256], own[KEYTEXT_BYTES], secret[KEYTEXT_BYTES];
	(void)state;
	assert_int_equal(keys_new(&keys, &err), HAUL_OK);
	keys_make_identity(keys);
	keytext_encode(KEY_PUB, keys->pub, own);
	keytext_encode(KEY_SECRET, keys->secret, secret);
	put_file("id", secret, strlen(secret));
	assert_int_equal(chmod("id", 0600), 0);
	assert_int_equal(keys_load_identity(keys, "id", &err), HAUL_OK);
	size_t n = (size_t)snprintf(text, sizeof text, "%s name=a dir=a\n%s name=me dir=b\n", a, own);
	put_file("peers", text, n);
	assert_int_equal(keys_load_peers(keys, "peers", &err), HAUL_USAGE);
	assert_string_equal(err.subject, "peers");
	assert_non_null(strstr(err.why, "me has the public key of this side"));
	keys_free(keys);
}

int main(void)
{
	if (sodium_init() < 0)
		return 1;
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
		TEST(all_fields),    TEST(lines_are_named), TEST(values),
		TEST(keys_in_lines), TEST(damaged_keys),    TEST(cut_files),
		TEST(bounds),	     TEST(files),	    TEST(not_ourselves),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
