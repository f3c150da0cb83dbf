/* peer, the scripts of senders. Each begins attached, and may leave the rest to peer_drain. */
#ifndef HAUL_TESTS_PEER_SENDS_H
#define HAUL_TESTS_PEER_SENDS_H

#include <zstd.h>

#include "tests/tools/peer.h"

#define LARGE (9u << 20) /* of a file that gets a journal and a map of chunks */

enum { FILE_ENTRY = 1, DIR_ENTRY, SYMLINK_ENTRY, DIR_END_ENTRY, STREAM_ENTRY };
enum { STORED = 0, ZSTD = 1 };

struct script {
	const char *name;
	bool sends;
	void (*run)(struct peer *p, const struct script *s);
	const char *text; /* of what the script says it is */
	size_t n;
	uint64_t number;
	void (*hear)(struct peer *p, const struct frame_head *head, struct span body);
};

static uint8_t zeros[RECORD_BODY_MAX_BYTES + 4096];

/* ---- pieces of honest senders ---- */

static void begin(struct peer *p)
{
	PUT(p, begin, BEGIN, PEER_SEED, PEER_CHUNK, 1, 0, 0, 0);
}

static struct frame_entry entry(unsigned type, const char *path, size_t n, uint64_t size)
{
	return (struct frame_entry){.type = (uint8_t)type,
				    .mode = 0644,
				    .size = size,
				    .mtime_s = 1000000000,
				    .path = {(const uint8_t *)path, n}};
}

static void offer_n(struct peer *p, uint64_t first, const struct frame_entry *e, size_t n, unsigned count)
{
	static uint8_t b[256 << 10];
	struct wr w = wr_init(b, sizeof b);
	frame_put_offer(&w, &(struct frame_offer){first, (uint16_t)count, {NULL, 0}});
	for (size_t i = 0; i < n; i++) {
		frame_put_entry(&w, &e[i]);
		p->offered_files += e[i].type == FILE_ENTRY || e[i].type == STREAM_ENTRY;
	}
	p->offered += n;
	peer_message(p, F_OFFER, 0, b, w.n);
}

static void offer(struct peer *p, uint64_t first, struct frame_entry e)
{
	offer_n(p, first, &e, 1, 1);
}

static void offer_file(struct peer *p, uint64_t id, const char *path, uint64_t size)
{
	offer(p, id, entry(FILE_ENTRY, path, strlen(path), size));
}

/* A DATA as told: what is digested and what is sent need not be the same. */
static void data_as(struct peer *p, struct frame_data d, const void *payload, size_t n, uint32_t cost)
{
	static uint8_t b[RECORD_BODY_MAX_BYTES + 8192];
	struct wr w = wr_init(b, sizeof b);
	d.payload = (struct span){payload, n};
	frame_put_data(&w, &d);
	peer_message(p, F_DATA, cost, b, w.n);
}

static void data(struct peer *p, uint64_t id, uint64_t offset, const void *payload, uint32_t n)
{
	struct frame_data d = {.file = id, .offset = offset, .raw = n, .codec = STORED};
	digest_chunk(PEER_SEED, payload, n, d.digest);
	data_as(p, d, payload, n, n);
}

/* END with the right digest for one chunk at 0, or for none when n is 0. */
static void end_file(struct peer *p, uint64_t id, const void *payload, uint32_t n)
{
	struct frame_end e = {.file = id, .size = n};
	struct digest_sum sum = {0};
	uint8_t digest[DIGEST_BYTES];
	digest_chunk(PEER_SEED, payload, n, digest);
	if (n)
		digest_sum_add(&sum, 0, digest);
	digest_sum_end(&sum, n, e.digest);
	PUT_FRAME(p, end, END, &e);
}

/* Offers a file and awaits that it is wanted. */
static bool wanted(struct peer *p, uint64_t id, const char *path, uint64_t size)
{
	offer_file(p, id, path, size);
	return peer_await(p, F_WANT, p->heard[F_WANT] + 1) && (p->action == 1 || p->action == 4);
}

static void finish(struct peer *p)
{
	PUT(p, flush, FLUSH);
	PUT(p, finish, FINISH, p->offered_files, p->offered, 1);
	if (peer_await(p, F_SUMMARY, 1))
		p->fin_due = true;
	peer_drain(p, ANSWER_MS);
}

/* ---- honest, as a control ---- */

static void send_honest(struct peer *p, const struct script *s)
{
	begin(p);
	if (wanted(p, 0, s->text, 5)) {
		data(p, 0, 0, "hello", 5);
		end_file(p, 0, "hello", 5);
		PUT(p, flush, FLUSH);
		peer_await(p, F_RESULT, 1);
	}
	finish(p);
}

/* ---- names and entries ---- */

/* A name of s->n bytes; with a number, built: components of that length. */
static const char *name_of(const struct script *s)
{
	static char b[8192];
	if (!s->number)
		return s->text;
	memset(b, 'n', s->n);
	for (size_t i = s->number; i < s->n; i += s->number + 1)
		b[i] = '/';
	return b;
}

static void send_name(struct peer *p, const struct script *s)
{
	const char *name = name_of(s);
	begin(p);
	offer(p, 0, entry(FILE_ENTRY, name, s->n, 5));
	if (peer_await(p, F_WANT, 1) && p->action == 1) {
		data(p, 0, 0, "hello", 5);
		end_file(p, 0, "hello", 5);
		PUT(p, flush, FLUSH);
		peer_await(p, F_RESULT, 1);
	}
	finish(p);
}

/* Every kind of entry under a name that is refused. */
static void send_kinds(struct peer *p, const struct script *s)
{
	struct frame_entry e[5];
	for (unsigned t = FILE_ENTRY; t <= STREAM_ENTRY; t++) {
		e[t - 1] = entry(t, s->text, s->n, 5);
		if (t == SYMLINK_ENTRY)
			e[t - 1].target = (struct span){(const uint8_t *)"x", 1};
	}
	begin(p);
	offer_n(p, 0, e, 5, 5);
	peer_await(p, F_WANT, 1);
	finish(p);
}

/* A link that leaves, then a file and a directory through it. */
static void send_through_link(struct peer *p, const struct script *s)
{
	struct frame_entry link = entry(SYMLINK_ENTRY, "link", 4, 0);
	link.target = (struct span){(const uint8_t *)s->text, s->n};
	begin(p);
	offer(p, 0, link);
	peer_await(p, F_WANT, 1);
	offer(p, 1, entry(DIR_ENTRY, "link/sub", 8, 0));
	peer_await(p, F_WANT, 2);
	if (wanted(p, 2, "link/evil", 5)) {
		data(p, 2, 0, "hello", 5);
		end_file(p, 2, "hello", 5);
	}
	if (wanted(p, 3, "link", 5)) { /* the link itself is replaced, what it points to is not touched */
		data(p, 3, 0, "hello", 5);
		end_file(p, 3, "hello", 5);
	}
	offer(p, 4, entry(DIR_END_ENTRY, "link", 4, 0));
	PUT(p, flush, FLUSH);
	peer_await(p, F_RESULT, 1);
	finish(p);
}

/* An entry with one field that cannot be; s->number says which. */
static void send_entry(struct peer *p, const struct script *s)
{
	struct frame_entry e = entry(FILE_ENTRY, s->name, strlen(s->name), 5);
	switch (s->number) {
	case 1:
		e.type = 0;
		break;
	case 2:
		e.type = 7; /* a FIFO, a device: there is no such thing on the wire */
		break;
	case 3:
		e.mtime_ns = 1000000000;
		break;
	case 4:
		e.size = 1ull << 63;
		break;
	case 5:
		e.shared = 1; /* with what? */
		break;
	case 6:
		e.mode = 07777;
		break;
	case 7:
		e.mtime_s = -1000000;
		break;
	case 8:
		e.mtime_s = INT64_MIN;
		break;
	case 9:
		e.size = 1ull << 62;
		break;
	case 10:
		e.size = INT64_MAX;
		e.sparse = 1;
		break;
	case 11:
		e.type = SYMLINK_ENTRY;
		e.target = (struct span){(const uint8_t *)"a\0b", 3};
		break;
	case 12:
		e.type = SYMLINK_ENTRY;
		break;
	case 13:
		e.mode = 0xffff;
		break;
	default:
		break;
	}
	begin(p);
	offer(p, 0, e);
	if (peer_await(p, F_WANT, 1) && p->action == 1 && e.size == 5) {
		data(p, 0, 0, "hello", 5);
		end_file(p, 0, "hello", 5);
	} else if (p->action == 1 && e.sparse) {
		struct frame_end end = {.file = 0, .size = e.size};
		digest_sum_end(&(struct digest_sum){0, 0}, e.size, end.digest);
		PUT(p, hole, HOLE, 0, 0, e.size);
		PUT_FRAME(p, end, END, &end);
	}
	PUT(p, flush, FLUSH);
	if (p->action == 1)
		peer_await(p, F_RESULT, 1);
	finish(p);
}

/* A file that says something of itself that is not taken; s->text is the name of an attribute, s->number what
 * of it is wrong: 1 to 4 can be told and are refused, the others break the protocol. */
static void send_meta(struct peer *p, const struct script *s)
{
	static uint8_t groups[META_MAX_BYTES + 1024], value[META_VALUE_MAX_BYTES + 1];
	static char name[META_NAME_MAX_BYTES + 2];
	const uint8_t owners = 1, all = 7;
	struct wr w = wr_init(groups, sizeof groups);
	size_t n = snprintf(name, sizeof name, "%s", s->text), value_n = s->number == 2 ? 44 : 12;
	if (s->number == 5) {
		memset(name, 'n', n = META_NAME_MAX_BYTES + 1);
		memcpy(name, "user.", 5);
	}
	if (s->number == 6)
		value_n = sizeof value;
	value[0] = 2;
	if (s->number == 8 || s->number == 9 || s->number == 10) {
		frame_put_meta(
			&w, &(struct frame_meta){1, s->number == 8 ? UINT32_MAX : 1, {NULL, 0}, {NULL, 0}});
		if (s->number != 10)
			frame_put_meta(&w, &(struct frame_meta){2, 1, {NULL, 0}, {NULL, 0}});
	} else {
		for (int i = 0; i < (s->number == 11 ? 2 : 1); i++)
			frame_put_meta(
				&w, &(struct frame_meta){3, 0, {(const uint8_t *)name, n}, {value, value_n}});
	}
	PUT(p, begin, BEGIN, PEER_SEED, PEER_CHUNK, 1, 0, 0, s->number == 7 || s->number == 9 ? owners : all);
	struct frame_entry e = entry(FILE_ENTRY, s->name, strlen(s->name), 5);
	e.meta = (struct span){groups, w.n - (s->number == 12)};
	offer(p, 0, e);
	if (peer_await(p, F_WANT, 1) && p->action == 1) {
		data(p, 0, 0, "hello", 5);
		end_file(p, 0, "hello", 5);
		PUT(p, flush, FLUSH);
		peer_await(p, F_RESULT, 1);
	}
	finish(p);
}

/* One more name, of what is no business of this sender's; s->number 1: not announced. */
static void send_hard_link(struct peer *p, const struct script *s)
{
	const unsigned announced = 8;
	PUT(p, begin, BEGIN, PEER_SEED, PEER_CHUNK, 1, 0, 0, s->number == 1 ? 0 : announced);
	struct frame_entry e = entry(7, s->name, strlen(s->name), 5);
	e.target = (struct span){(const uint8_t *)s->text, s->n};
	offer(p, 0, e);
	peer_await(p, F_WANT, 1);
	finish(p);
}

static void send_offer(struct peer *p, const struct script *s)
{
	struct frame_entry e[2] = {entry(FILE_ENTRY, "a", 1, 5), entry(FILE_ENTRY, "b", 1, 5)};
	begin(p);
	switch (s->number) {
	case 1: /* the same ids twice */
		offer_n(p, 0, e, 1, 1);
		offer_n(p, 0, e + 1, 1, 1);
		break;
	case 2:
		offer_n(p, 5, e, 1, 1);
		break;
	case 3:
		offer_n(p, 0, e, 0, 0);
		break;
	case 4:
		offer_n(p, 0, e, 1, 2);
		break;
	case 5:
		offer_n(p, 0, e, 2, 1);
		break;
	case 6:
		offer_n(p, 0, e, 2, 600);
		break;
	default:
		offer_n(p, UINT64_MAX, e, 1, 1);
		break;
	}
	peer_drain(p, ANSWER_MS);
}

/* ---- content ---- */

static void hole(struct peer *p, uint64_t id, uint64_t offset, uint64_t n)
{
	PUT(p, hole, HOLE, id, offset, n);
}

static void send_content(struct peer *p, const struct script *s)
{
	static const uint8_t hello[] = "hello hello";
	struct frame_data d = {.file = 0, .raw = 5, .codec = STORED};
	digest_chunk(PEER_SEED, hello, 5, d.digest);
	begin(p);
	if (!wanted(p, 0, s->name, s->n ? s->n : 5)) {
		peer_drain(p, ANSWER_MS);
		return;
	}
	switch (s->number) {
	case 1: /* unknown */
		data(p, 7, 0, hello, 5);
		break;
	case 2: /* longer than it is */
		data(p, 0, 0, hello, 6);
		break;
	case 3:
		data(p, 0, 5, hello, 1);
		break;
	case 4:
		data(p, 0, UINT64_MAX, hello, 5);
		break;
	case 5: /* a chunk twice */
		data(p, 0, 0, zeros, PEER_CHUNK);
		data(p, 0, 0, zeros, PEER_CHUNK);
		break;
	case 6: /* between two chunks */
		data(p, 0, 5, zeros, PEER_CHUNK);
		break;
	case 7: /* part of a chunk */
		data(p, 0, 0, zeros, 5);
		break;
	case 8:
		d.raw = 4;
		data_as(p, d, hello, 5, 4);
		break;
	case 9: /* costs less than it is */
		data_as(p, d, hello, 5, 4);
		break;
	case 10:
		d.codec = 9;
		data_as(p, d, hello, 5, 5);
		break;
	case 11: /* twice over the same place of a small file */
		data(p, 0, 0, hello, 5);
		data(p, 0, 0, hello, 5);
		end_file(p, 0, hello, 5);
		break;
	case 12:
		d.digest[3] ^= 1;
		data_as(p, d, hello, 5, 5);
		end_file(p, 0, hello, 5);
		break;
	case 13:
		data(p, 0, 0, hello, 5);
		end_file(p, 0, hello, 4);
		break;
	case 14: { /* the right size, the wrong sum */
		struct frame_end e = {.file = 0, .size = 5, .digest = {1}};
		data(p, 0, 0, hello, 5);
		PUT_FRAME(p, end, END, &e);
		break;
	}
	case 15: /* nothing came */
		end_file(p, 0, hello, 5);
		break;
	case 16:
		hole(p, 0, 0, s->n + 6);
		break;
	case 17:
		hole(p, 0, UINT64_MAX, 2);
		break;
	case 18:
		hole(p, 0, 0, 0);
		break;
	case 19:
		hole(p, 0, 0, 5);
		break;
	case 20:
		PUT(p, keep, KEEP, 0, 0, 1);
		break;
	case 21:
		PUT(p, keep, KEEP, 0, UINT64_MAX, 64);
		break;
	case 22: /* twice over: the end */
		data(p, 0, 0, hello, 5);
		end_file(p, 0, hello, 5);
		end_file(p, 0, hello, 5);
		break;
	case 23: /* more behind the end */
		data(p, 0, 0, hello, 5);
		end_file(p, 0, hello, 5);
		data(p, 0, 0, "wrong", 5);
		break;
	default:
		break;
	}
	PUT(p, flush, FLUSH);
	if (peer_await(p, F_RESULT, 1))
		finish(p);
	peer_drain(p, ANSWER_MS);
}

/* What is sent for an entry that wants nothing: a directory, and a file that is there. */
static void send_unwanted(struct peer *p, const struct script *s)
{
	begin(p);
	offer(p, 0, entry(s->number ? DIR_ENTRY : FILE_ENTRY, s->text, s->n, 5));
	peer_await(p, F_WANT, 1);
	data(p, 0, 0, "wrong", 5);
	end_file(p, 0, "wrong", 5);
	peer_drain(p, ANSWER_MS);
}

/* ---- packs ---- */

static size_t put_packed(uint8_t *b, uint64_t id, uint32_t size, const char *content)
{
	struct frame_packed f = {.file = id, .size = size};
	struct wr w = wr_init(b, 64);
	digest_chunk(PEER_SEED, (const uint8_t *)content, strlen(content), f.digest);
	frame_put_packed(&w, &f);
	return w.n;
}

static void pack(struct peer *p, unsigned count, const uint8_t *payload, uint32_t n, uint32_t raw)
{
	static uint8_t b[PEER_CHUNK * 3];
	struct wr w = wr_init(b, sizeof b);
	frame_put_pack(&w, &(struct frame_pack){(uint16_t)count, raw, STORED, {payload, n}});
	peer_message(p, F_PACK, raw, b, w.n);
}

static void send_pack(struct peer *p, const struct script *s)
{
	uint8_t b[256];
	size_t n;
	begin(p);
	if (!wanted(p, 0, s->name, s->n ? s->n : 5))
		return;
	n = put_packed(b, 0, 5, "hello");
	memcpy(b + n, "hello", 5);
	switch (s->number) {
	case 0:
		pack(p, 1, b, (uint32_t)n + 5, (uint32_t)n + 5);
		break;
	case 1:
		pack(p, 0, b, (uint32_t)n + 5, (uint32_t)n + 5);
		break;
	case 2: /* fewer groups than told */
		pack(p, 9, b, (uint32_t)n + 5, (uint32_t)n + 5);
		break;
	case 3: /* content missing */
		pack(p, 1, b, (uint32_t)n + 4, (uint32_t)n + 4);
		break;
	case 4:
		pack(p, 1, b, (uint32_t)n + 5 + 1, (uint32_t)n + 5 + 1);
		break;
	case 5: /* the same file twice in one */
		n += put_packed(b + n, 0, 5, "hello");
		memcpy(b + n, "hellohello", 10);
		pack(p, 2, b, (uint32_t)n + 10, (uint32_t)n + 10);
		break;
	case 6: /* and in two */
		pack(p, 1, b, (uint32_t)n + 5, (uint32_t)n + 5);
		pack(p, 1, b, (uint32_t)n + 5, (uint32_t)n + 5);
		break;
	case 7: /* chunks, then a pack */
		data(p, 0, 0, "he", 2);
		pack(p, 1, b, (uint32_t)n + 5, (uint32_t)n + 5);
		break;
	case 8: /* a pack, then chunks */
		pack(p, 1, b, (uint32_t)n + 5, (uint32_t)n + 5);
		data(p, 0, 0, "wrong", 5);
		break;
	case 9:
		b[15] ^= 1;
		pack(p, 1, b, (uint32_t)n + 5, (uint32_t)n + 5);
		break;
	case 10:
		n = put_packed(b, 7, 5, "hello");
		pack(p, 1, b, (uint32_t)n + 5, (uint32_t)n + 5);
		break;
	case 11: /* longer than the offer said */
		n = put_packed(b, 0, UINT32_MAX, "hello");
		pack(p, 1, b, (uint32_t)n + 5, (uint32_t)n + 5);
		break;
	default:
		break;
	}
	PUT(p, flush, FLUSH);
	if (peer_await(p, F_RESULT, 1))
		finish(p);
	peer_drain(p, ANSWER_MS);
}

/* A stream may not come in a pack, nor have holes without end. */
static void send_stream(struct peer *p, const struct script *s)
{
	begin(p);
	offer(p, 0, entry(STREAM_ENTRY, s->name, strlen(s->name), 5));
	peer_await(p, F_WANT, 1);
	if (s->number) {
		hole(p, 0, 0, s->number);
	} else {
		uint8_t b[256];
		size_t n = put_packed(b, 0, 5, "hello");
		memcpy(b + n, "hello", 5);
		pack(p, 1, b, (uint32_t)n + 5, (uint32_t)n + 5);
	}
	peer_drain(p, ANSWER_MS);
}

/* A file that is there in another version: everything comes before the receiver has told what it has. */
static void send_untold(struct peer *p, const struct script *s)
{
	begin(p);
	offer_file(p, 0, "old", LARGE);
	if (s->number) {
		end_file(p, 0, "hello", 5);
	} else {
		uint8_t b[256];
		size_t n = put_packed(b, 0, 5, "hello");
		memcpy(b + n, "hello", 5);
		peer_await(p, F_WANT, 1);
		pack(p, 1, b, (uint32_t)n + 5, (uint32_t)n + 5);
	}
	PUT(p, flush, FLUSH);
	peer_drain(p, ANSWER_MS);
}

/* ---- zstd ---- */

static size_t compressed(uint8_t *out, size_t cap, size_t n)
{
	return ZSTD_compress(out, cap, zeros, n, 3);
}

/* Without the size in the header. */
static size_t compressed_unsized(uint8_t *out, size_t cap, size_t n)
{
	ZSTD_CCtx *c = ZSTD_createCCtx();
	ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, 0);
	size_t got = ZSTD_compress2(c, out, cap, zeros, n);
	ZSTD_freeCCtx(c);
	return got;
}

static void send_zstd(struct peer *p, const struct script *s)
{
	static uint8_t b[64 << 10];
	struct frame_data d = {.file = 0, .raw = 4096, .codec = ZSTD};
	size_t n = 0;
	digest_chunk(PEER_SEED, zeros, 4096, d.digest);
	switch (s->number) {
	case 0:
		n = compressed(b, sizeof b, 4096);
		break;
	case 1: /* a bomb: much more than announced */
		n = compressed(b, sizeof b, 4u << 20);
		break;
	case 2: /* and where the header lies about it */
		n = compressed_unsized(b, sizeof b, 4u << 20);
		break;
	case 3:
		n = compressed_unsized(b, sizeof b, 4096);
		break;
	case 4: /* skippable, before */
		memcpy(b, "\x50\x2a\x4d\x18\x04\0\0\0abcd", 12);
		n = 12 + compressed(b + 12, sizeof b - 12, 4096);
		break;
	case 5: /* and behind */
		n = compressed(b, sizeof b, 4096);
		memcpy(b + n, "\x50\x2a\x4d\x18\x04\0\0\0abcd", 12);
		n += 12;
		break;
	case 6:
		n = compressed(b, sizeof b, 2048);
		n += compressed(b + n, sizeof b - n, 2048);
		break;
	case 7:
		n = compressed(b, sizeof b, 4096);
		b[0] ^= 1;
		break;
	case 8:
		n = compressed(b, sizeof b, 4096);
		b[n++] = 0;
		break;
	case 9: { /* wants a dictionary: id byte between descriptor and size */
		uint8_t plain[256];
		n = compressed(plain, sizeof plain, 4096);
		memcpy(b, plain, 5);
		b[4] |= 1;
		b[5] = 7;
		memcpy(b + 6, plain + 5, n - 5);
		n++;
		break;
	}
	case 10:
		n = compressed(b, sizeof b, 4096) - 1;
		break;
	case 11:
		n = 0;
		break;
	case 12:
		n = 3;
		memcpy(b, "\x28\xb5\x2f", n);
		break;
	default:
		break;
	}
	begin(p);
	if (wanted(p, 0, s->name, 4096))
		data_as(p, d, b, n, 4096);
	end_file(p, 0, zeros, 4096);
	PUT(p, flush, FLUSH);
	if (peer_await(p, F_RESULT, 1))
		finish(p);
	peer_drain(p, ANSWER_MS);
}

/* ---- frames ---- */

static void raw_record(struct peer *p, uint32_t length, size_t n)
{
	uint8_t len[RECORD_LEN_BYTES];
	struct wr w = wr_init(len, sizeof len);
	wr_uint(&w, length, sizeof len);
	peer_put(p, len, sizeof len);
	peer_put(p, zeros, n);
}

static void send_frame(struct peer *p, const struct script *s)
{
	struct frame_head h = {.type = F_FLUSH, .cost = 1};
	begin(p);
	h.offset = p->out;
	switch (s->number) {
	case 1:
		h.type = 0x7f;
		peer_record(p, &h, NULL, 0);
		break;
	case 2: /* longer than it may be, and said so */
		h = (struct frame_head){F_DATA, RECORD_BODY_MAX_BYTES + 1, RECORD_BODY_MAX_BYTES, p->out};
		peer_record(p, &h, zeros, RECORD_BODY_MAX_BYTES + 1);
		break;
	case 3:
		raw_record(p, UINT32_MAX, 65536);
		break;
	case 4: /* shorter than a head */
		raw_record(p, FRAME_HEAD_BYTES - 1, 65536);
		break;
	case 5:
		raw_record(p, 0, 0);
		break;
	case 6: /* costs more than a chunk */
		h.cost = UINT32_MAX;
		peer_record(p, &h, NULL, 0);
		break;
	case 7: /* costs nothing */
		h.cost = 0;
		peer_record(p, &h, NULL, 0);
		break;
	case 8: /* costs less than it stores */
		h = (struct frame_head){F_DATA, 1000, 1, p->out};
		peer_record(p, &h, zeros, 1000);
		break;
	case 9: /* the head says another length */
		h.body_len = 77;
		peer_record(p, &h, NULL, 0);
		break;
	case 10: /* control with a place in the stream */
		h.type = F_PING;
		peer_record(p, &h, zeros, 1);
		break;
	case 11:
		peer_control(p, F_PING, zeros, 1000);
		break;
	case 12:
		peer_control(p, F_ACK, zeros, 3);
		break;
	case 13:
		peer_control(p, F_ATTACH, zeros, 35);
		break;
	case 14:
		peer_control(p, F_WELCOME, zeros, 24);
		break;
	case 15: /* a message is missing */
		h.offset++;
		peer_record(p, &h, NULL, 0);
		break;
	case 16: /* a repeated one is longer */
		h.offset = 0;
		h.cost = 1000000;
		peer_record(p, &h, NULL, 0);
		break;
	case 17: /* a tag that does not fit */
		p->tx.number++;
		peer_record(p, &h, NULL, 0);
		break;
	case 18:
		CONTROL(p, ack, ACK, 1000, 0, 1000);
		break;
	case 19:
		CONTROL(p, ack, ACK, 0, 1, 1000);
		break;
	case 20:
		CONTROL(p, fin, FIN, 999, 0);
		break;
	case 21:
		CONTROL(p, fin, FIN, p->out, 999);
		break;
	default:
		break;
	}
	peer_drain(p, ANSWER_MS);
}

/* A frame where it does not belong. The number is its place: before BEGIN, behind it, behind FINISH. */
static void send_misplaced(struct peer *p, const struct script *s)
{
	static const struct {
		const char *name;
		uint8_t type, body[64];
		size_t n;
	} frames[] = {
		{"begin", F_BEGIN, {0}, 18},  {"offer", F_OFFER, {0}, 10}, {"data", F_DATA, {0}, 37},
		{"end", F_END, {0}, 33},      {"flush", F_FLUSH, {0}, 0},  {"finish", F_FINISH, {0}, 24},
		{"want", F_WANT, {0}, 10},    {"have", F_HAVE, {0}, 25},   {"need", F_NEED, {0}, 16},
		{"result", F_RESULT, {0}, 2}, {"stop", F_STOP, {0}, 6},	   {"summary", F_SUMMARY, {0}, 25},
	};
	if (s->number > 0)
		begin(p);
	if (s->number > 1)
		PUT(p, finish, FINISH, 0, 0, 0);
	for (size_t i = 0; i < sizeof frames / sizeof frames[0]; i++)
		if (strcmp(frames[i].name, s->text) == 0)
			peer_message(p, frames[i].type, 0, frames[i].body, frames[i].n);
	peer_drain(p, ANSWER_MS);
}

static void send_begin(struct peer *p, const struct script *s)
{
	static const struct frame_begin odd[] = {
		{PEER_SEED, 1, 1, 0, 0, 0},	      {PEER_SEED, UINT32_MAX, 1, 0, 0, 0},
		{PEER_SEED, 0, 1, 0, 0, 0},	      {PEER_SEED, 1 << 20, 9, 0, 0, 0},
		{PEER_SEED, 1 << 20, 1, 9, 0, 0},     {PEER_SEED, 1 << 20, 1, 0, 0xffe0, 0},
		{PEER_SEED, 1 << 20, 1, 0, 0, 0x400},
	};
	PUT_FRAME(p, begin, BEGIN, &odd[s->number]);
	peer_drain(p, 1000);
}

/* ---- deleting what was not meant ---- */

enum {
	DELETE_UNANNOUNCED,
	DELETE_DRY,
	DELETE_MODE,
	DELETE_THEN_OFFER,
	DELETE_EARLY,
	DELETE_NOTHING_OFFERED,
	DELETE_END_ONLY,
	DELETE_WHOLE,
	DELETE_UP,
	DELETE_LINK,
	DELETE_STREAM,
};

/* Offers the directory s->text, or only its end, as if all of it were known. */
static void offer_directory(struct peer *p, const struct script *s, bool end_only)
{
	if (!end_only)
		offer(p, 0, entry(DIR_ENTRY, s->text, s->n, 0));
	offer(p, !end_only, entry(DIR_END_ENTRY, s->text, s->n, 0));
	peer_await(p, F_WANT, end_only ? 1 : 2);
}

static void send_delete(struct peer *p, const struct script *s)
{
	bool dry = s->number == DELETE_DRY;
	uint8_t mode = s->number == DELETE_MODE ? 4 : 3, kind = s->number == DELETE_STREAM ? 2 : 1;
	PUT(p, begin, BEGIN, PEER_SEED, PEER_CHUNK, kind, 0,
	    (uint16_t)((s->number == DELETE_UNANNOUNCED ? 0 : 32) | dry), 0);
	if (s->number == DELETE_EARLY)
		wanted(p, 0, s->name, 5);
	else if (s->n)
		offer_directory(p, s, s->number == DELETE_END_ONLY);
	PUT(p, delete, DELETE, mode, 0, UINT64_MAX);
	if (s->number == DELETE_THEN_OFFER)
		offer_file(p, 0, s->name, 5);
	if (peer_await(p, F_STRAYS, 1))
		finish(p);
	peer_drain(p, 1000);
}

/* FINISH with a count that is not right: of files or of entries, too few or too many. */
static void send_finish_count(struct peer *p, const struct script *s)
{
	begin(p);
	offer(p, 0, entry(DIR_ENTRY, s->name, strlen(s->name), 0));
	p->offered += s->number == 1 ? 1 : s->number == 2 ? UINT64_MAX : 0;
	p->offered_files += s->number == 3 ? 1 : s->number == 4 ? UINT64_MAX : 0;
	peer_await(p, F_WANT, 1);
	finish(p);
}

static void send_finish_short(struct peer *p, const struct script *s)
{
	static const uint8_t body[25];
	begin(p);
	peer_message(p, F_FINISH, 0, body, s->n);
	peer_drain(p, ANSWER_MS);
}

/* FINISH while a file is wanted and has not come. */
static void send_early_finish(struct peer *p, const struct script *s)
{
	begin(p);
	if (wanted(p, 0, s->name, 5) && s->number)
		data(p, 0, 0, "hello", 5);
	finish(p);
}

/* ---- floods ---- */

static void send_over_credit(struct peer *p, const struct script *s)
{
	begin(p);
	/* pieces of a file without a map, faster than they can be written */
	if (wanted(p, 0, s->name, 4u << 20))
		for (uint64_t at = 0; at < (4u << 20) && !p->closed; at += 4096)
			data(p, 0, at, zeros, 4096);
	peer_drain(p, ANSWER_MS);
}

/* Chunks of 1 MiB in 60 bytes each, as long as there is credit: raw bytes are what counts. */
static void send_bombs(struct peer *p, const struct script *s)
{
	static uint8_t b[64 << 10];
	struct frame_data d = {.raw = PEER_CHUNK, .codec = ZSTD};
	size_t n = compressed(b, sizeof b, PEER_CHUNK);
	digest_chunk(PEER_SEED, zeros, PEER_CHUNK, d.digest);
	begin(p);
	if (wanted(p, 0, s->name, s->number * PEER_CHUNK))
		for (uint64_t i = 0; i < s->number && !p->closed; i++) {
			while (p->granted < p->out + PEER_CHUNK && peer_wait(p, false, UINT64_MAX))
				;
			d.offset = i * PEER_CHUNK;
			data_as(p, d, b, n, PEER_CHUNK);
		}
	peer_drain(p, 100);
}

static void send_pings(struct peer *p, const struct script *s)
{
	begin(p);
	for (uint64_t i = 1; i <= s->number && !p->closed; i++)
		CONTROL(p, ping, PING, 0, (uint32_t)i);
	peer_drain(p, ANSWER_MS);
}

/* One FLUSH after the other: movement, and nothing moves. */
static void send_flushes(struct peer *p, const struct script *s)
{
	begin(p);
	for (uint64_t i = 0; i < s->number && !p->closed; i++) {
		PUT(p, flush, FLUSH);
		if (i % 100 == 99)
			peer_drain(p, 100);
	}
	peer_drain(p, ANSWER_MS);
}

/* The same five bytes, again and again. */
static void send_same(struct peer *p, const struct script *s)
{
	begin(p);
	if (wanted(p, 0, s->text, 5))
		for (uint64_t i = 0; i < s->number && !p->closed; i++)
			data(p, 0, 0, "hello", 5);
	peer_drain(p, ANSWER_MS);
}

/* Files that are offered and never sent, with names as long as they may be. */
static void send_offers(struct peer *p, const struct script *s)
{
	static char name[512][1024];
	static struct frame_entry e[128];
	uint64_t id = 0;
	begin(p);
	while (id < s->number && !p->closed) {
		for (size_t i = 0; i < 128; i++) {
			int n = snprintf(name[i], sizeof name[i], "%0200llu", (unsigned long long)(id + i));
			e[i] = entry((unsigned)(s->n ? s->n : FILE_ENTRY), name[i], (size_t)n,
				     LARGE - (8u << 20));
		}
		while (p->granted < p->out + 65536 && peer_wait(p, false, UINT64_MAX))
			;
		offer_n(p, id, e, 128, 128);
		id += 128;
	}
	peer_drain(p, 3000);
}

/* Large ones: each costs the receiver a journal and a map. */
static void send_large_offers(struct peer *p, const struct script *s)
{
	begin(p);
	for (uint64_t id = 0; id < s->number && !p->closed; id++) {
		char name[32];
		struct frame_entry e;
		snprintf(name, sizeof name, "large%llu", (unsigned long long)id);
		e = entry(FILE_ENTRY, name, strlen(name), s->n);
		e.sparse = 1;
		offer(p, id, e);
	}
	peer_await(p, F_WANT, (unsigned)s->number);
	peer_drain(p, 200);
}

/* ---- ends ---- */

enum { END_CLOSE = 1, END_RESET, END_FIN, END_FIN_AND_MORE, END_SILENT, END_CANCEL };

static void send_and_end(struct peer *p, const struct script *s)
{
	begin(p);
	if (wanted(p, 0, s->name, LARGE))
		data(p, 0, 0, zeros, PEER_CHUNK);
	switch (s->number) {
	case END_CLOSE:
		shutdown(p->fd, SHUT_WR);
		break;
	case END_RESET: {
		struct linger none = {1, 0};
		setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
		p->closed = true;
		return;
	}
	case END_FIN:
	case END_FIN_AND_MORE:
		peer_fin(p);
		if (s->number == END_FIN_AND_MORE)
			data(p, 0, PEER_CHUNK, zeros, PEER_CHUNK);
		break;
	case END_CANCEL:
		CONTROL(p, cancel, CANCEL, (uint16_t)s->n, {(const uint8_t *)s->text, strlen(s->text)});
		break;
	default:
		break;
	}
	peer_drain(p, ANSWER_MS);
}

static void send_nothing(struct peer *p, const struct script *s)
{
	(void)s;
	peer_drain(p, ANSWER_MS);
}

#define TEXT(t) t, sizeof(t) - 1
#define S(name, run, ...)                                                                                    \
	{                                                                                                    \
		name, true, run, __VA_ARGS__, NULL                                                           \
	}
#define NAMES(name, text) S("name-" name, send_name, TEXT(text), 0)

static const struct script sends[] = {
	S("honest", send_honest, TEXT("honest"), 0),

	NAMES("up", ".."),
	NAMES("up-below", "../x"),
	NAMES("up-inside", "a/../b"),
	NAMES("up-last", "a/.."),
	NAMES("absolute", "/tmp/x"),
	NAMES("empty", ""),
	NAMES("dot", "."),
	NAMES("dot-inside", "a/./b"),
	NAMES("dot-first", "./a"),
	NAMES("double-slash", "a//b"),
	NAMES("trailing-slash", "a/"),
	NAMES("nul", "a\0b"),
	NAMES("state", ".haul"),
	NAMES("state-below", ".haul/x"),
	S("name-component-256", send_name, NULL, 256, 256),
	S("name-depth-257", send_name, NULL, 513, 1),
	S("name-4097", send_name, NULL, 4097, 255),
	S("kinds-up", send_kinds, TEXT("../x"), 0),
	S("kinds-state", send_kinds, TEXT(".haul/x"), 0),
	S("kinds-empty", send_kinds, TEXT(""), 0),
	NAMES("newline", "new\nline"),
	NAMES("escape", "e\033[31mred"),
	NAMES("c1", "c\302\2331"),
	NAMES("bidi", "b\342\200\256idi"),
	NAMES("invalid", "i\377\376"),
	NAMES("dots", "..."),
	NAMES("dash", "-rf"),
	NAMES("state-like", ".haul2"),
	S("name-component-255", send_name, NULL, 255, 255),
	S("name-depth-256", send_name, NULL, 511, 1),

	S("link-absolute", send_through_link, TEXT("/OUTSIDE"), 0),
	S("link-up", send_through_link, TEXT("../outside"), 0),
	S("link-dir", send_through_link, TEXT("."), 0),

	S("entry-type-0", send_entry, "", 0, 1),
	S("entry-fifo", send_entry, "", 0, 2),
	S("entry-nsec", send_entry, "", 0, 3),
	S("entry-size-2-63", send_entry, "", 0, 4),
	S("entry-shared", send_entry, "", 0, 5),
	S("entry-setuid", send_entry, "", 0, 6),
	S("entry-before-1970", send_entry, "", 0, 7),
	S("entry-first-second", send_entry, "", 0, 8),
	S("entry-size-2-62", send_entry, "", 0, 9),
	S("entry-sparse-2-63", send_entry, "", 0, 10),
	S("entry-target-nul", send_entry, "", 0, 11),
	S("entry-target-empty", send_entry, "", 0, 12),
	S("entry-mode", send_entry, "", 0, 13),

	S("offer-ids-twice", send_offer, "", 0, 1),
	S("offer-ids-skipped", send_offer, "", 0, 2),
	S("offer-none", send_offer, "", 0, 3),
	S("offer-too-few", send_offer, "", 0, 4),
	S("offer-too-many", send_offer, "", 0, 5),
	S("offer-600", send_offer, "", 0, 6),
	S("offer-last-id", send_offer, "", 0, 7),

	S("data-unknown", send_content, "", 0, 1),
	S("data-too-long", send_content, "", 0, 2),
	S("data-beyond", send_content, "", 0, 3),
	S("data-overflow", send_content, "", 0, 4),
	S("data-twice", send_content, "", LARGE, 5),
	S("data-misaligned", send_content, "", LARGE, 6),
	S("data-short-chunk", send_content, "", LARGE, 7),
	S("data-stored-longer", send_content, "", 0, 8),
	S("data-cost", send_content, "", 0, 9),
	S("data-codec", send_content, "", 0, 10),
	S("data-overlap", send_content, "", 0, 11),
	S("data-digest", send_content, "", 0, 12),
	S("end-short", send_content, "", 0, 13),
	S("end-digest", send_content, "", 0, 14),
	S("end-empty", send_content, "", 0, 15),
	S("hole-beyond", send_content, "", 0, 16),
	S("hole-overflow", send_content, "", 0, 17),
	S("hole-empty", send_content, "", LARGE, 18),
	S("hole-part", send_content, "", LARGE, 19),
	S("keep-nothing", send_content, "", LARGE, 20),
	S("keep-overflow", send_content, "", LARGE, 21),
	S("end-twice", send_content, "", 0, 22),
	S("end-then-data", send_content, "", 0, 23),
	S("data-for-directory", send_unwanted, TEXT("dir"), 1),
	S("data-for-skipped", send_unwanted, TEXT("there"), 0),

	S("pack-honest", send_pack, "", 0, 0),
	S("pack-none", send_pack, "", 0, 1),
	S("pack-groups", send_pack, "", 0, 2),
	S("pack-short", send_pack, "", 0, 3),
	S("pack-long", send_pack, "", 0, 4),
	S("pack-same-twice", send_pack, "", 0, 5),
	S("pack-again", send_pack, "", 0, 6),
	S("pack-after-data", send_pack, "", 0, 7),
	S("data-after-pack", send_pack, "", 0, 8),
	S("pack-digest", send_pack, "", 0, 9),
	S("pack-unknown", send_pack, "", 0, 10),
	S("pack-size", send_pack, "", 0, 11),
	S("untold-end", send_untold, "", 0, 1),
	S("untold-pack", send_untold, "", 0, 0),
	S("pack-large", send_pack, "", LARGE, 0),
	S("pack-stream", send_stream, "", 0, 0),
	S("hole-stream", send_stream, "", 0, 1ull << 62),

	S("zstd-honest", send_zstd, "", 0, 0),
	S("zstd-bomb", send_zstd, "", 0, 1),
	S("zstd-bomb-unsized", send_zstd, "", 0, 2),
	S("zstd-unsized", send_zstd, "", 0, 3),
	S("zstd-skippable", send_zstd, "", 0, 4),
	S("zstd-skippable-behind", send_zstd, "", 0, 5),
	S("zstd-two", send_zstd, "", 0, 6),
	S("zstd-magic", send_zstd, "", 0, 7),
	S("zstd-trailing", send_zstd, "", 0, 8),
	S("zstd-dictionary", send_zstd, "", 0, 9),
	S("zstd-cut", send_zstd, "", 0, 10),
	S("zstd-empty", send_zstd, "", 0, 11),
	S("zstd-tiny", send_zstd, "", 0, 12),

	S("frame-unknown", send_frame, "", 0, 1),
	S("frame-too-long", send_frame, "", 0, 2),
	S("frame-length-max", send_frame, "", 0, 3),
	S("frame-length-short", send_frame, "", 0, 4),
	S("frame-length-0", send_frame, "", 0, 5),
	S("frame-cost-max", send_frame, "", 0, 6),
	S("frame-cost-0", send_frame, "", 0, 7),
	S("frame-cost-low", send_frame, "", 0, 8),
	S("frame-body-length", send_frame, "", 0, 9),
	S("frame-control-offset", send_frame, "", 0, 10),
	S("frame-control-long", send_frame, "", 0, 11),
	S("frame-ack-short", send_frame, "", 0, 12),
	S("frame-attach", send_frame, "", 0, 13),
	S("frame-welcome", send_frame, "", 0, 14),
	S("frame-gap", send_frame, "", 0, 15),
	S("frame-again-longer", send_frame, "", 0, 16),
	S("frame-tag", send_frame, "", 0, 17),
	S("ack-beyond", send_frame, "", 0, 18),
	S("ack-durable", send_frame, "", 0, 19),
	S("fin-sent", send_frame, "", 0, 20),
	S("fin-received", send_frame, "", 0, 21),

	S("before-begin-offer", send_misplaced, TEXT("offer"), 0),
	S("before-begin-data", send_misplaced, TEXT("data"), 0),
	S("before-begin-end", send_misplaced, TEXT("end"), 0),
	S("before-begin-flush", send_misplaced, TEXT("flush"), 0),
	S("before-begin-finish", send_misplaced, TEXT("finish"), 0),
	S("before-begin-result", send_misplaced, TEXT("result"), 0),
	S("open-begin", send_misplaced, TEXT("begin"), 1),
	S("open-want", send_misplaced, TEXT("want"), 1),
	S("open-have", send_misplaced, TEXT("have"), 1),
	S("open-need", send_misplaced, TEXT("need"), 1),
	S("open-result", send_misplaced, TEXT("result"), 1),
	S("open-stop", send_misplaced, TEXT("stop"), 1),
	S("open-summary", send_misplaced, TEXT("summary"), 1),
	S("finished-offer", send_misplaced, TEXT("offer"), 2),
	S("finished-data", send_misplaced, TEXT("data"), 2),
	S("finished-finish", send_misplaced, TEXT("finish"), 2),
	S("finish-early", send_early_finish, "", 0, 0),
	S("finish-open", send_early_finish, "", 0, 1),
	S("meta-capability", send_meta, "security.capability", 0, 1),
	S("meta-trusted", send_meta, "trusted.overlay.opaque", 0, 1),
	S("meta-acl-cut", send_meta, "system.posix_acl_access", 0, 1),
	S("meta-acl-zeros", send_meta, "system.posix_acl_access", 0, 2),
	S("meta-acl-default", send_meta, "system.posix_acl_default", 0, 1),
	S("meta-name-256", send_meta, "", 0, 5),
	S("meta-value-8193", send_meta, "user.a", 0, 6),
	S("meta-unannounced", send_meta, "user.a", 0, 7),
	S("meta-uid-none", send_meta, "", 0, 8),
	S("meta-owner", send_meta, "", 0, 9),
	S("meta-half-owner", send_meta, "", 0, 10),
	S("meta-twice", send_meta, "user.a", 0, 11),
	S("meta-cut", send_meta, "user.a", 0, 12),
	S("hard-link-up", send_hard_link, "../outside/file", 15, 0),
	S("hard-link-absolute", send_hard_link, "/etc/passwd", 11, 0),
	S("hard-link-nul", send_hard_link, "there\0x", 7, 0),
	S("hard-link-state", send_hard_link, ".haul/x", 7, 0),
	S("hard-link-through", send_hard_link, "out/file", 8, 0),
	S("hard-link-symlink", send_hard_link, "leaves", 6, 0),
	S("hard-link-unannounced", send_hard_link, "there", 5, 1),
	S("begin-tells", send_begin, "", 0, 6),
	S("finish-counted", send_finish_count, "", 0, 0),
	S("finish-more-entries", send_finish_count, "", 0, 1),
	S("finish-fewer-entries", send_finish_count, "", 0, 2),
	S("finish-more-files", send_finish_count, "", 0, 3),
	S("finish-fewer-files", send_finish_count, "", 0, 4),
	S("finish-short", send_finish_short, "", 23, 0),
	S("finish-long", send_finish_short, "", 25, 0),
	S("begin-chunk-1", send_begin, "", 0, 0),
	S("begin-chunk-max", send_begin, "", 0, 1),
	S("begin-chunk-0", send_begin, "", 0, 2),
	S("begin-kind", send_begin, "", 0, 3),
	S("begin-compare", send_begin, "", 0, 4),
	S("begin-flags", send_begin, "", 0, 5),

	S("delete-unannounced", send_delete, "", 0, DELETE_UNANNOUNCED),
	S("delete-dry", send_delete, "", 0, DELETE_DRY),
	S("delete-mode", send_delete, "", 0, DELETE_MODE),
	S("delete-then-offer", send_delete, "", 0, DELETE_THEN_OFFER),
	S("delete-early", send_delete, "", 0, DELETE_EARLY),
	S("delete-stream", send_delete, "", 0, DELETE_STREAM),
	S("delete-nothing", send_delete, "", 0, DELETE_NOTHING_OFFERED),
	S("delete-end-only", send_delete, TEXT("dir"), DELETE_END_ONLY),
	S("delete-whole", send_delete, TEXT("dir"), DELETE_WHOLE),
	S("delete-up", send_delete, TEXT(".."), DELETE_UP),
	S("delete-up-inside", send_delete, TEXT("dir/../.."), DELETE_UP),
	S("delete-state", send_delete, TEXT(".haul"), DELETE_UP),
	S("delete-link", send_delete, TEXT("link"), DELETE_LINK),
	S("delete-through-link", send_delete, TEXT("link/sub"), DELETE_LINK),

	S("flood-credit", send_over_credit, "", 0, 0),
	S("flood-bombs", send_bombs, "", 0, 600),
	S("flood-pings", send_pings, "", 0, 200000),
	S("flood-flushes", send_flushes, "", 0, 1000),
	S("same-data", send_same, "same", 0, 100),
	S("flood-offers", send_offers, "", 0, 1000000),
	S("flood-directories", send_offers, "", DIR_END_ENTRY, 20000),
	S("flood-large", send_large_offers, "", LARGE, 3000),
	S("flood-maps", send_large_offers, "", 1ull << 40, 30),

	S("end-close", send_and_end, "", 0, END_CLOSE),
	S("end-reset", send_and_end, "", 0, END_RESET),
	S("end-fin", send_and_end, "", 0, END_FIN),
	S("end-fin-and-more", send_and_end, "", 0, END_FIN_AND_MORE),
	S("end-silent", send_and_end, "", 0, END_SILENT),
	S("end-cancel-0", send_and_end, "all is well", 0, END_CANCEL),
	S("end-cancel-128", send_and_end, "a signal", 128, END_CANCEL),
	S("end-cancel-escape", send_and_end, "evil\033[31m\nline", 4, END_CANCEL),
	S("silent", send_nothing, "", 0, 0),
	{0},
};
#endif
