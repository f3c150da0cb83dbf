/*
 * Bounded little-endian reader and writer with sticky failure: a decoder has no branches and one verdict
 * at its end, where bytes left over are an error too. The only place that knows byte order.
 */
#ifndef HAUL_WIRE_CURSOR_H
#define HAUL_WIRE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A borrowed view; lives as long as the buffer it looks into. */
struct span {
	const uint8_t *p;
	size_t n;
};

struct rd {
	const uint8_t *p;
	size_t n;
	bool bad; /* sticky: later reads yield zeros */
};

static inline struct rd rd_init(const void *p, size_t n)
{
	return (struct rd){p, n, false};
}

static inline const uint8_t *rd_take(struct rd *r, size_t n)
{
	if (r->bad || n > r->n) {
		r->bad = true;
		return NULL;
	}
	const uint8_t *p = r->p;
	r->p += n;
	r->n -= n;
	return p;
}

static inline uint64_t rd_uint(struct rd *r, size_t width)
{
	const uint8_t *p = rd_take(r, width);
	uint64_t v = 0;
	for (size_t i = 0; p && i < width; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

static inline uint8_t rd_u8(struct rd *r)
{
	return (uint8_t)rd_uint(r, 1);
}

static inline uint16_t rd_u16(struct rd *r)
{
	return (uint16_t)rd_uint(r, 2);
}

static inline uint32_t rd_u32(struct rd *r)
{
	return (uint32_t)rd_uint(r, 4);
}

static inline uint64_t rd_u64(struct rd *r)
{
	return rd_uint(r, 8);
}

static inline void rd_fix(struct rd *r, uint8_t *out, size_t n)
{
	const uint8_t *p = rd_take(r, n);
	if (p)
		memcpy(out, p, n);
	else
		memset(out, 0, n);
}

static inline struct span rd_str(struct rd *r)
{
	size_t n = rd_u16(r);
	const uint8_t *p = rd_take(r, n);
	return (struct span){p, p ? n : 0};
}

static inline struct span rd_tail(struct rd *r)
{
	size_t n = r->n;
	const uint8_t *p = rd_take(r, n);
	return (struct span){p, p ? n : 0};
}

/* The verdict: everything was there, and nothing is left. */
static inline bool rd_done(const struct rd *r)
{
	return !r->bad && r->n == 0;
}

struct wr {
	uint8_t *p;
	size_t cap, n;
	bool bad; /* sticky: did not fit */
};

static inline struct wr wr_init(void *p, size_t cap)
{
	return (struct wr){p, cap, 0, false};
}

static inline void wr_bytes(struct wr *w, const void *p, size_t n)
{
	if (w->bad || n > w->cap - w->n) {
		w->bad = true;
		return;
	}
	if (n)
		memcpy(w->p + w->n, p, n);
	w->n += n;
}

static inline void wr_uint(struct wr *w, uint64_t v, size_t width)
{
	uint8_t b[8];
	for (size_t i = 0; i < width; i++)
		b[i] = (uint8_t)(v >> (8 * i));
	wr_bytes(w, b, width);
}

static inline void wr_str(struct wr *w, struct span s)
{
	if (s.n > UINT16_MAX)
		w->bad = true;
	wr_uint(w, s.n, 2);
	wr_bytes(w, s.p, s.n);
}

#endif
