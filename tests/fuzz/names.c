/*
 * Names from the other side: the rules, opening beneath a directory that is full of ways out, and how names
 * are shown.
 *
 *   input   what u8, then: 0 a name as it is; 1 a name in words, see there; 2 a text to be shown
 *
 * Held to: a name is refused exactly when a second reading of the rules says so; what is opened is the very
 * path that was named; what is shown holds nothing that a terminal obeys, and can be read back.
 */
#include "scratch.h"

#include <sodium.h>

#include "lib/beneath.h"
#include "lib/escape.h"

/* ---- the rules ---- */

/* Byte by byte: length, dots and number of the component it is in. */
static bool must_refuse(struct span s)
{
	size_t len = 0, dots = 0, depth = 1;
	bool bad = s.n == 0 || s.n > ROOT_PATH_MAX;
	for (size_t i = 0; i <= s.n && !bad; i++) {
		bool end = i == s.n || s.p[i] == '/';
		bad = end ? len == 0 || (len == dots && len <= 2) : s.p[i] == 0 || ++len > ROOT_COMPONENT_MAX;
		if (!end)
			dots += s.p[i] == '.';
		else if (i < s.n)
			len = dots = 0, depth++;
	}
	size_t state = strlen(ROOT_STATE_DIR);
	if (s.n >= state && memcmp(s.p, ROOT_STATE_DIR, state) == 0)
		bad |= s.n == state || s.p[state] == '/';
	return bad || depth > ROOT_DEPTH_MAX;
}

/* ---- the directory ---- */

static char inside[64];
static int root = -1;

static void make_tree(void)
{
	static const char *const dirs[] = {"in", "in/a", "in/a/b", "out", "out/a"};
	static const char *const files[] = {"in/f", "in/a/f", "in/a/b/f", "out/f"};
	static const char *const links[][2] = {{"../out", "in/l"},
					       {"/", "in/a/l"},
					       {"../..", "in/a/b/up"},
					       {"a", "in/self"},
					       {"/proc/self/root", "in/p"}};
	int at = scratch_make();
	for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
		CHECK(mkdirat(at, dirs[i], 0700) == 0);
	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		scratch_file(at, files[i], "", 0);
	for (size_t i = 0; i < sizeof links / sizeof *links; i++)
		CHECK(symlinkat(links[i][0], at, links[i][1]) == 0);
	snprintf(inside, sizeof inside, "%s/in", scratch);
	root = open(inside, O_PATH | O_DIRECTORY);
	CHECK(root >= 0 && close(at) == 0);
}

/* Whatever is opened lies where its name says. */
static void open_it(const char *path, int flags)
{
	static char is[8192], should[8192];
	char fd_path[32];
	int fd = open_beneath(root, path, flags);
	if (fd < 0)
		return;
	snprintf(fd_path, sizeof fd_path, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(fd_path, is, sizeof is - 1);
	CHECK(n > 0);
	is[n] = 0;
	snprintf(should, sizeof should, "%s/%s", inside, path);
	CHECK(strcmp(is, should) == 0);
	close(fd);
}

static void name(struct span s)
{
	char *path = malloc(s.n + 1);
	CHECK(path);
	memcpy(path, s.p, s.n);
	path[s.n] = 0;
	const char *why = root_name_refused(path, s.n);
	CHECK((why != NULL) == must_refuse(s));
	if (!why) {
		if (root < 0)
			make_tree();
		open_it(path, s.n % 2 ? O_PATH : O_RDONLY | O_NONBLOCK);
	}
	free(path);
}

/* The low half of a byte is a word, the high half how often it comes, a slash behind each but the last. */
static void words(struct span s)
{
	static const char *const word[16] = {"a", "b",	 "f",	  "l", "up", "self", "p",      "in",
					     "",  "out", ".haul", ".", "..", "...",  "\n\x1b", "a/b"};
	static char path[2 * ROOT_PATH_MAX];
	size_t n = 0;
	for (size_t i = 0; i < s.n; i++)
		for (unsigned times = 1 + (s.p[i] >> 4); times && n + 16 < sizeof path; times--)
			n += (size_t)sprintf(path + n, "%s/", word[s.p[i] & 15]);
	name((struct span){(uint8_t *)path, n ? n - 1 : 0});
}

/* ---- what is shown ---- */

static bool obeyed(unsigned c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || c == 0x200e || c == 0x200f ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

static size_t put_utf8(char *out, unsigned c)
{
	CHECK(c >= 0x80 && c < 0x10000); /* all that is shown as \u{N} */
	if (c < 0x800)
		return out[0] = (char)(0xc0 | c >> 6), out[1] = (char)(0x80 | (c & 63)), 2;
	out[0] = (char)(0xe0 | c >> 12);
	out[1] = (char)(0x80 | (c >> 6 & 63));
	out[2] = (char)(0x80 | (c & 63));
	return 3;
}

/* Lower-case hex digits at *text, which is moved behind them. */
static unsigned take_hex(const char **text, size_t max)
{
	static const char digits[] = "0123456789abcdef";
	unsigned c = 0;
	for (const char *digit; max-- && **text && (digit = strchr(digits, **text)); ++*text)
		c = c << 4 | (unsigned)(digit - digits);
	return c;
}

/* Back to the bytes; their number, or -1 when the end is half a sequence. */
static long read_back(const char *text, char *out)
{
	size_t n = 0;
	while (*text) {
		if (*text != '\\') {
			out[n++] = *text++;
			continue;
		}
		const char *from = ++text;
		switch (*text++) {
		case '\\':
			out[n++] = '\\';
			break;
		case 'x':
			out[n++] = (char)take_hex(&text, 2);
			if (text - from != 3)
				return -1;
			break;
		case 'u':
			if (*text++ != '{')
				return -1;
			n += put_utf8(out + n, take_hex(&text, 6));
			if (*text++ != '}')
				return -1;
			break;
		default:
			return -1;
		}
	}
	return (long)n;
}

static void shown(struct span s)
{
	size_t cap = s.n ? s.p[0] : 0, n = escape_text(NULL, 0, (const char *)s.p, s.n);
	char *out = malloc(n + 1), *back = malloc(n + 1), *cut = malloc(cap + 1);
	CHECK(out && back && cut && n <= 8 * s.n);
	CHECK(escape_text(out, n + 1, (const char *)s.p, s.n) == n && strlen(out) == n && utf8_valid(out, n));
	unsigned c;
	for (size_t i = 0, used; i < n; i += used) {
		used = utf8_decode(out + i, n - i, &c);
		CHECK(used && !obeyed(c));
	}
	CHECK(read_back(out, back) == (long)s.n && memcmp(back, s.p, s.n) == 0);
	CHECK(escape_text(cut, cap, (const char *)s.p, s.n) == n);
	if (cap) {
		CHECK(strlen(cut) < cap && strncmp(cut, out, strlen(cut)) == 0);
		CHECK(utf8_valid(cut, strlen(cut)) && read_back(cut, back) >= 0);
	}
	free(out), free(back), free(cut);
}

static void json(struct span s)
{
	size_t n = escape_json(NULL, 0, (const char *)s.p, s.n), b = escape_base64(NULL, 0, s.p, s.n);
	size_t most = sodium_base64_encoded_len(s.n, sodium_base64_VARIANT_ORIGINAL);
	char *out = malloc(n + 1), *base = malloc(b + 1), *same = malloc(most);
	CHECK(out && base && same && n <= 6 * s.n && b + 1 == most);
	CHECK(escape_json(out, n + 1, (const char *)s.p, s.n) == n && strlen(out) == n && utf8_valid(out, n));
	for (size_t i = 0; i < n; i++) {
		CHECK((unsigned char)out[i] >= 0x20 && out[i] != '"' && out[i] != 0x7f);
		if (out[i] == '\\')
			CHECK(out[++i] && strchr("\"\\/bfnrtu", out[i]));
	}
	CHECK(escape_base64(base, b + 1, s.p, s.n) == b);
	sodium_bin2base64(same, most, s.p, s.n, sodium_base64_VARIANT_ORIGINAL);
	CHECK(strcmp(base, same) == 0);
	free(out), free(base), free(same);
}

#define TEXT_MAX 192u /* what is done with a byte depends on those beside it, no others */

static void text(struct span s)
{
	s.n = s.n < TEXT_MAX ? s.n : TEXT_MAX;
	shown(s);
	json(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static void (*const kinds[])(struct span) = {name, words, text};
	if (n)
		kinds[p[0] % (sizeof kinds / sizeof *kinds)]((struct span){p + 1, n - 1});
	return 0;
}
