/* Bytes written as hexadecimal digits, as the tables of vectors have them. */
#ifndef HAUL_TESTS_HEX_H
#define HAUL_TESTS_HEX_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static inline size_t from_hex(const char *text, uint8_t *out, size_t cap)
{
	static const char digits[] = "0123456789abcdef";
	size_t n = strlen(text) / 2;
	if (n > cap || strspn(text, digits) != 2 * n)
		abort();
	for (size_t i = 0; i < n; i++) {
		size_t high = (size_t)(strchr(digits, text[2 * i]) - digits);
		size_t low = (size_t)(strchr(digits, text[2 * i + 1]) - digits);
		out[i] = (uint8_t)(high << 4 | low);
	}
	return n;
}

#endif
