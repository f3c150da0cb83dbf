/* Escaping for terminals, logs and JSON. */
#include "lib/escape.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Where a result goes: counts everything, keeps whole sequences while they fit. */
struct sink {
	char *out;
	size_t cap, kept, length;
	bool full;
};

static void put(struct sink *s, const char *seq, size_t n)
{
	s->length += n;
	s->full |= s->cap < n + 1 || s->kept > s->cap - n - 1;
	if (s->full)
		return;
	memcpy(s->out + s->kept, seq, n);
	s->kept += n;
}

static size_t finish(struct sink *s)
{
	if (s->cap)
		s->out[s->kept] = '\0';
	return s->length;
}

size_t utf8_decode(const char *in, size_t len, unsigned *code)
{
	static const struct {
		unsigned char mask, lead;
		unsigned min;
	} forms[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
	const unsigned char *p = (const unsigned char *)in;

	for (size_t n = 1; n <= 4 && n <= len; n++) {
		if ((p[0] & forms[n - 1].mask) != forms[n - 1].lead)
			continue;
		unsigned c = p[0] & (unsigned char)~forms[n - 1].mask;
		for (size_t i = 1; i < n; i++) {
			if ((p[i] & 0xc0) != 0x80)
				return 0;
			c = c << 6 | (p[i] & 0x3f);
		}
		if (c < forms[n - 1].min || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
			return 0;
		*code = c;
		return n;
	}
	return 0;
}

bool utf8_valid(const char *in, size_t len)
{
	unsigned code;
	for (size_t n; len; in += n, len -= n)
		if ((n = utf8_decode(in, len, &code)) == 0)
			return false;
	return true;
}

/* Characters that are valid but would act on the line instead of standing in it. */
static bool acts_on_line(unsigned c)
{
	return (c >= 0x80 && c <= 0x9f) || c == 0x61c || c == 0x200e || c == 0x200f ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

size_t escape_text(char *out, size_t cap, const char *in, size_t len)
{
	struct sink s = {.out = out, .cap = cap};
	for (size_t n; len; in += n, len -= n) {
		unsigned code = 0;
		char seq[16];
		n = utf8_decode(in, len, &code);
		if (n == 0 || code < 0x20 || code == 0x7f) {
			n = 1;
			put(&s, seq, (size_t)snprintf(seq, sizeof seq, "\\x%02x", (unsigned char)*in));
		} else if (code == '\\') {
			put(&s, "\\\\", 2);
		} else if (acts_on_line(code)) {
			put(&s, seq, (size_t)snprintf(seq, sizeof seq, "\\u{%x}", code));
		} else {
			put(&s, in, n);
		}
	}
	return finish(&s);
}

size_t escape_json(char *out, size_t cap, const char *in, size_t len)
{
	struct sink s = {.out = out, .cap = cap};
	for (size_t n; len; in += n, len -= n) {
		unsigned code = 0;
		char seq[16];
		n = utf8_decode(in, len, &code);
		if (n == 0) {
			n = 1;
			put(&s, "\xef\xbf\xbd", 3);
		} else if (code == '"' || code == '\\') {
			seq[0] = '\\';
			seq[1] = *in;
			put(&s, seq, 2);
		} else if (code < 0x20 || code == 0x7f) {
			put(&s, seq, (size_t)snprintf(seq, sizeof seq, "\\u%04x", code));
		} else {
			put(&s, in, n);
		}
	}
	return finish(&s);
}

size_t escape_base64(char *out, size_t cap, const void *in, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *p = in;
	struct sink s = {.out = out, .cap = cap};
	for (; len; p += 3) {
		size_t n = len < 3 ? len : 3;
		uint32_t v = (uint32_t)p[0] << 16 | (n > 1 ? (uint32_t)p[1] << 8 : 0) | (n > 2 ? p[2] : 0);
		char seq[4] = {digits[v >> 18], digits[v >> 12 & 63], n > 1 ? digits[v >> 6 & 63] : '=',
			       n > 2 ? digits[v & 63] : '='};
		put(&s, seq, 4);
		len -= n;
	}
	return finish(&s);
}
