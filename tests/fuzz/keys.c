/*
 * What decides who is let in: keys as text, the file of authorised peers, codes, and key files themselves.
 *
 *   input   what u8, then: 0 a key as text; 1 a key that is encoded here, and a change to it; 2 a file of
 *           peers; 3 a code as typed; 4 a code made here, and a change to it; 5 and 6 a key file. In 0, 2, 5
 *           and 6 a byte from 128 on stands for a whole key, see expand.
 *
 * Held to: what is accepted encodes to the very text it was read from; peers are different ones, with rights
 * that the rules allow, and read the same when they are written again; one wrong letter makes a code invalid.
 */
#include "fuzz.h"

#include <sodium.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/beneath.h"
#include "lib/code.h"
#include "lib/config.h"
#include "lib/keyfile.h"
#include "lib/keys.h"
#include "lib/peers.h"

#define CASE_BYTES (PEERS_FILE_MAX + 4096u)

/* ---- texts with keys in them ---- */

/* Key number i: 16 of each kind, but number 31 is a public key that cannot work. */
static void put_key(unsigned i, char out[static KEYTEXT_BYTES])
{
	static char made[64][KEYTEXT_BYTES];
	if (!made[i][0]) {
		uint8_t key[KEY_BYTES] = {(uint8_t)(i + 2)};
		if (i == 31)
			key[0] = 1; /* of low order */
		keytext_encode(i < 32 ? KEY_PUB : i < 48 ? KEY_PSK : KEY_SECRET, key, made[i]);
	}
	memcpy(out, made[i], KEYTEXT_BYTES);
}

/* 128..191: a key; 192..223: the rights of a peer with a name of its own; from 224 on the byte before it, many
 * times. */
static size_t expand(struct span in, char *out, size_t cap)
{
	size_t n = 0;
	for (size_t i = 0; i < in.n && cap - n > 4 * KEYTEXT_BYTES; i++) {
		uint8_t b = in.p[i];
		if (b >= 224) {
			size_t most = cap - n - 4 * KEYTEXT_BYTES, times = 1u << (b - 224) / 2;
			memset(out + n, n ? out[n - 1] : '#', times < most ? times : most);
			n += times < most ? times : most;
		} else if (b >= 192) {
			n += (size_t)sprintf(out + n, " name=n%u dir=d/%u ", b, b);
		} else if (b >= 128) {
			put_key(b - 128u, out + n);
			n += strlen(out + n);
		} else {
			out[n++] = (char)b;
		}
	}
	return n;
}

/* ---- keys ---- */

static bool decode(const char *text, size_t n)
{
	enum key_kind kind = KEY_PSK;
	uint8_t key[KEY_BYTES];
	char again[KEYTEXT_BYTES];
	struct haul_err err = {0};
	if (keytext_decode(text, n, "it", &kind, key, &err) != HAUL_OK) {
		CHECK(err.rc == HAUL_USAGE && err.why[0] && strcmp(err.subject, "it") == 0);
		return false;
	}
	keytext_encode(kind, key, again);
	CHECK(strlen(again) == n && memcmp(again, text, n) == 0);
	CHECK(keytext_looks_like(kind, again) && !sodium_is_zero(key, sizeof key));
	for (enum key_kind other = KEY_PSK; other <= KEY_PUB; other++)
		CHECK((keytext_expect(other, kind, "it", &err) == HAUL_OK) == (other == kind));
	return true;
}

static void key_text(struct span in)
{
	static char text[CASE_BYTES];
	size_t n = expand(in, text, 8 * KEYTEXT_BYTES);
	char *exact = malloc(n ? n : 1);
	CHECK(exact);
	memcpy(exact, text, n);
	(void)decode(exact, n);
	free(exact);
}

static void key_made(struct span in)
{
	struct rd r = rd_init(in.p, in.n);
	enum key_kind kind = rd_u8(&r) % 3;
	uint8_t key[KEY_BYTES], at = rd_u8(&r), put = rd_u8(&r);
	char text[KEYTEXT_BYTES];
	rd_fix(&r, key, sizeof key);
	keytext_encode(kind, key, text);
	size_t n = strlen(text);
	CHECK(n < sizeof text);
	if (!decode(text, n)) /* only zero, and points of low order, which are public */
		CHECK(kind == KEY_PUB || sodium_is_zero(key, sizeof key));
	text[at % n] = (char)put;
	(void)decode(text, at & 128 ? n - at % n : n);
}

/* ---- peers ---- */

static size_t write_peer(char *out, size_t cap, const struct peer *p)
{
	char key[KEYTEXT_BYTES], bytes[32] = "", sessions[32] = "";
	keytext_encode(KEY_PUB, p->pub, key);
	if (p->max_bytes != SIZE_UNSET)
		snprintf(bytes, sizeof bytes, " max-bytes=%llu", (unsigned long long)p->max_bytes);
	if (p->max_sessions)
		snprintf(sessions, sizeof sessions, " max-sessions=%u", p->max_sessions);
	return (size_t)snprintf(out, cap, "%s\tdir=%s name=%s%s%s%s%s\n", key, p->dir, p->name, bytes,
				sessions, p->read_only ? " ro" : "", p->no_overwrite ? " no-overwrite" : "");
}

static bool same_peer(const struct peer *a, const struct peer *b)
{
	return memcmp(a->pub, b->pub, KEY_BYTES) == 0 && strcmp(a->name, b->name) == 0 &&
	       strcmp(a->dir, b->dir) == 0 && a->max_bytes == b->max_bytes &&
	       a->max_sessions == b->max_sessions && a->no_overwrite == b->no_overwrite &&
	       a->read_only == b->read_only;
}

static void proper(const struct peers *list, size_t i)
{
	const struct peer *p = &list->peer[i];
	CHECK(strlen(p->name) >= 1 && strlen(p->name) <= PEER_NAME_MAX);
	CHECK(strcmp(p->dir, ".") == 0 || !root_name_refused(p->dir, strlen(p->dir)));
	CHECK(p->max_bytes && (p->max_bytes == SIZE_UNSET || p->max_bytes <= INT64_MAX));
	CHECK(peers_find(list, p->pub) == p);
	for (size_t j = 0; j < i; j++)
		CHECK(strcmp(p->name, list->peer[j].name) != 0);
}

static void peers(struct span in)
{
	static char text[CASE_BYTES], again[CASE_BYTES];
	struct peers p, q;
	struct haul_err err = {0};
	size_t n = expand(in, text, sizeof text), m = 0;
	if (peers_parse(&p, "peers", text, n, &err) != HAUL_OK) {
		CHECK(err.rc == HAUL_USAGE && err.why[0] && err.subject[0] && !p.peer && !p.text && !p.count);
		return;
	}
	CHECK(p.count >= 1 && p.count <= PEERS_MAX && n <= PEERS_FILE_MAX);
	for (size_t i = 0; i < p.count; i++) {
		proper(&p, i);
		m += write_peer(again + m, sizeof again - m, &p.peer[i]);
		CHECK(m < sizeof again);
	}
	if (m <= PEERS_FILE_MAX) {
		CHECK(peers_parse(&q, "again", again, m, &err) == HAUL_OK && q.count == p.count);
		for (size_t i = 0; i < p.count; i++)
			CHECK(same_peer(&p.peer[i], &q.peer[i]));
		peers_free(&q);
	}
	peers_free(&p);
}

/* ---- codes ---- */

static void code_typed(struct span in)
{
	char code[CODE_BYTES], again[CODE_BYTES], shown[CODE_TEXT_BYTES];
	const char *why = code_parse((const char *)in.p, in.n, code);
	if (why) {
		CHECK(why[0] && sodium_is_zero((const uint8_t *)code, sizeof code));
		return;
	}
	CHECK(strlen(code) == CODE_LETTERS &&
	      strspn(code, "0123456789abcdefghjkmnpqrstvwxyz") == CODE_LETTERS);
	code_show(code, shown);
	CHECK(strlen(shown) == CODE_LETTERS + 2);
	CHECK(!code_parse(shown, strlen(shown), again) && strcmp(code, again) == 0);
}

/* Whatever takes the place of one letter is that letter again, or is noticed. */
static void code_made(struct span in)
{
	char code[CODE_BYTES], typed[CODE_BYTES], parsed[CODE_BYTES];
	uint8_t entropy[CODE_ENTROPY_BYTES];
	struct rd r = rd_init(in.p, in.n);
	rd_fix(&r, entropy, sizeof entropy);
	uint8_t at = rd_u8(&r) % CODE_LETTERS;
	code_new(entropy, code);
	memcpy(typed, code, sizeof typed);
	typed[at] = (char)rd_u8(&r);
	CHECK(!code_parse(code, CODE_LETTERS, parsed) && strcmp(code, parsed) == 0);
	if (!code_parse(typed, CODE_LETTERS, parsed))
		CHECK(strcmp(code, parsed) == 0);
}

/* ---- files ---- */

static int file_of(const char *text, size_t n)
{
	int fd = memfd_create("key", MFD_CLOEXEC);
	CHECK(fd >= 0 && write(fd, text, n) == (ssize_t)n && lseek(fd, 0, SEEK_SET) == 0);
	return fd;
}

static void whole_file(struct span in)
{
	static char text[CASE_BYTES], got[512];
	struct keyfile f = {.path = "key"};
	struct haul_err err = {0};
	size_t n = expand(in, text, sizeof text), cap = in.n ? in.p[0] * 2u : 0, len;
	f.fd = file_of(text, n);
	if (keyfile_read(&f, got, cap, &len, &err) == HAUL_OK)
		CHECK(len == n && memcmp(got, text, n) == 0);
	else
		CHECK(n > cap && len == cap && err.rc == HAUL_USAGE);
	keyfile_close(&f);
}

static void from_descriptor(struct span in)
{
	static char text[CASE_BYTES];
	char line[KEYTEXT_BYTES];
	static struct haul_keys k;
	struct haul_err err = {0};
	size_t n = expand(in, text, 16 * KEYTEXT_BYTES), len = 0;
	while (len < n && text[len] != '\n')
		len++;
	memset(&k, 0, sizeof k);
	if (keys_load_psk_fd(&k, file_of(text, n), &err) == HAUL_OK) {
		keytext_encode(KEY_PSK, k.psk, line);
		CHECK(k.mode == KEYS_PSK && len == strlen(line) && memcmp(line, text, len) == 0);
	} else {
		CHECK(err.rc == HAUL_USAGE && sodium_is_zero(k.psk, sizeof k.psk));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static void (*const kinds[])(struct span) = {key_text,	key_made,   peers,	    code_typed,
						     code_made, whole_file, from_descriptor};
	if (n)
		kinds[p[0] % (sizeof kinds / sizeof *kinds)]((struct span){p + 1, n - 1});
	return 0;
}
