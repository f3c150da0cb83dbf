/*
 * The opening of a connection: in every cut into reads, never a byte too many; every flipped bit refused;
 * versions and features; what is not haul is known by its first wrong byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>

#include "tests/unit/mutate.h"
#include "wire/handshake.h"

static struct hello some_hello(void)
{
	struct hello h = {
		.minor_min = PROTOCOL_MINOR_MIN,
		.minor_max = PROTOCOL_MINOR,
		.max_body = RECORD_BODY_MAX_BYTES,
		.credit = EARLY_CREDIT_BYTES,
	};
	prng_fill(&(struct prng){9}, h.instance, sizeof h.instance);
	return h;
}

static struct frame_attach some_attach(void)
{
	struct frame_attach a = {.role = ROLE_SENDER, .fresh = 1, .received = 77, .granted = 1234567};
	prng_fill(&(struct prng){10}, a.session, sizeof a.session);
	a.subdir = (struct span){(const uint8_t *)"in/here", 7};
	return a;
}

static const struct frame_welcome some_welcome = {.epoch = 3, .received = 42, .granted = 1ull << 40};

static struct handshake initiator(const struct hello *h, const struct frame_attach *a)
{
	struct handshake hs;
	struct wire_err err = {0};
	assert_int_equal(handshake_initiate(&hs, h, a, &err), WIRE_OK);
	return hs;
}

/* Feeds p as a socket would, at most `chunk` bytes a read, while it wants any; tells how many it took. */
static enum wire_rc feed(struct handshake *hs, const uint8_t *p, size_t n, size_t chunk, size_t *taken,
			 struct wire_err *err)
{
	enum wire_rc rc = WIRE_MORE;
	*taken = 0;
	while (*taken < n && handshake_need(hs) && (rc == WIRE_MORE || rc == WIRE_OK)) {
		size_t k = handshake_need(hs);
		k = k < chunk ? k : chunk;
		k = k < n - *taken ? k : n - *taken;
		rc = handshake_feed(hs, p + *taken, k, err);
		*taken += k;
	}
	return rc;
}

/* Feeds all of the peer's output in one piece; copied first, because spans look into in[] only. */
static enum wire_rc exchange(struct handshake *from, struct handshake *to, struct wire_err *err)
{
	size_t taken;
	enum wire_rc rc = feed(to, from->out, from->out_len, SIZE_MAX, &taken, err);
	handshake_sent(from, from->out_len);
	return rc;
}

static void answers_are_understood(void **state)
{
	(void)state;
	struct hello h = some_hello();
	struct frame_attach a = some_attach();
	for (size_t chunk = 1; chunk <= 200; chunk++) {
		static uint8_t bytes[2 * (OPENING_BYTES + ATTACH_RECORD_MAX_BYTES)];
		struct wire_err err = {0};
		size_t taken;
		struct handshake i = initiator(&h, &a), r;
		handshake_respond(&r, &h);
		assert_int_equal(r.out_len, 0);

		/* the link's first bytes follow at once, and must stay in the socket */
		memcpy(bytes, i.out, i.out_len);
		memset(bytes + i.out_len, 0xee, 100);
		assert_int_equal(feed(&r, bytes, i.out_len + 100, chunk, &taken, &err), WIRE_OK);
		assert_int_equal(taken, i.out_len);
		assert_int_equal(r.state, HS_DECIDE);
		assert_memory_equal(r.attach.session, a.session, 16);
		assert_int_equal(r.attach.role, a.role);
		assert_int_equal(r.attach.fresh, 1);
		assert_true(r.attach.received == 77 && r.attach.granted == 1234567);
		assert_int_equal(r.attach.subdir.n, 7);
		assert_memory_equal(r.attach.subdir.p, "in/here", 7);
		assert_memory_equal(r.peer.instance, h.instance, 16);

		handshake_welcome(&r, &some_welcome);
		assert_int_equal(r.state, HS_DONE);
		memcpy(bytes, r.out, r.out_len);
		memset(bytes + r.out_len, 0xee, 100);
		assert_int_equal(feed(&i, bytes, r.out_len + 100, chunk, &taken, &err), WIRE_OK);
		assert_int_equal(taken, r.out_len);
		assert_int_equal(i.state, HS_DONE);
		assert_true(i.welcome.epoch == 3 && i.welcome.received == 42 &&
			    i.welcome.granted == 1ull << 40);
		assert_int_equal(i.minor, PROTOCOL_MINOR);
		assert_int_equal(r.minor, PROTOCOL_MINOR);
		assert_int_equal(handshake_need(&i), 0);
		assert_int_equal(handshake_need(&r), 0);
		/* the channel goes on counting where the handshake stopped */
		assert_true(i.tx.number == 1 && i.rx.number == 1 && r.tx.number == 1 && r.rx.number == 1);
	}
}

static void nothing_is_said_to_a_stranger(void **state)
{
	(void)state;
	struct hello h = some_hello();
	struct frame_attach a = some_attach();
	struct handshake i = initiator(&h, &a), r;
	handshake_respond(&r, &h);
	for (size_t n = 0; n < OPENING_BYTES; n++) {
		struct wire_err err = {0};
		assert_int_equal(r.out_len, 0);
		handshake_feed(&r, i.out + n, 1, &err);
	}
	assert_int_equal(r.out_len, OPENING_BYTES);
}

static void a_refusal_brings_its_reason(void **state)
{
	(void)state;
	struct hello h = some_hello();
	struct frame_attach a = some_attach();
	char text[2 * REASON_TEXT_MAX_BYTES];
	memset(text, 'x', sizeof text);
	text[sizeof text - 1] = 0;
	for (size_t n = 0; n < sizeof text; n += 51) {
		struct wire_err err = {0};
		struct handshake i = initiator(&h, &a), r;
		handshake_respond(&r, &h);
		assert_int_equal(exchange(&i, &r, &err), WIRE_OK);
		handshake_refuse(&r, REASON_NO_SESSION, text + sizeof text - 1 - n);
		assert_int_equal(r.state, HS_FAILED);
		assert_int_equal(handshake_need(&r), 0);
		assert_int_equal(exchange(&r, &i, &err), WIRE_REFUSED);
		assert_int_equal(i.state, HS_FAILED);
		assert_int_equal(handshake_need(&i), 0);
		assert_int_equal(i.refuse.code, REASON_NO_SESSION);
		assert_int_equal(i.refuse.text.n, n < REASON_TEXT_MAX_BYTES ? n : REASON_TEXT_MAX_BYTES);
		if (n)
			assert_memory_equal(i.refuse.text.p, text, i.refuse.text.n);
		assert_true(err.at == REASON_NO_SESSION);
	}
}

static void subdirectories_have_a_limit(void **state)
{
	(void)state;
	static uint8_t path[SUBDIR_MAX_BYTES + 1];
	memset(path, 'd', sizeof path);
	struct hello h = some_hello();
	struct frame_attach a = some_attach();
	a.subdir = (struct span){path, SUBDIR_MAX_BYTES};
	struct handshake i = initiator(&h, &a), r;
	struct wire_err err = {0};
	handshake_respond(&r, &h);
	assert_int_equal(exchange(&i, &r, &err), WIRE_OK);
	assert_int_equal(r.state, HS_DECIDE);
	assert_int_equal(r.attach.subdir.n, SUBDIR_MAX_BYTES);
	assert_memory_equal(r.attach.subdir.p, path, SUBDIR_MAX_BYTES);
	a.subdir.n++;
	assert_int_equal(handshake_initiate(&i, &h, &a, &err), WIRE_VIOLATION);
	assert_int_equal(i.out_len, 0);
}

/* ---- damage ---- */

struct damage {
	struct handshake fresh;	   /* that is fed */
	enum handshake_state good; /* what must not be reached */
	size_t n;		   /* bytes of the undamaged opening */
	unsigned refused, waiting;
};

static void judge(void *ctx, enum mutation kind, size_t at, const uint8_t *p, size_t n)
{
	struct damage *d = ctx;
	struct handshake hs = d->fresh;
	struct wire_err err = {0};
	size_t taken;
	enum wire_rc rc = feed(&hs, p, n, SIZE_MAX, &taken, &err);
	bool whole = kind == MUTATE_APPEND; /* what follows is left alone */
	if (whole) {
		assert_int_equal(taken, d->n);
		return;
	}
	if (hs.state == d->good || rc == WIRE_REFUSED)
		fail_msg("mutation %d at %zu is taken for the real thing", kind, at);
	switch (rc) {
	case WIRE_OK:
	case WIRE_MORE: /* a length that grew, or a cut: it waits for what never comes */
		assert_int_equal(taken, n);
		assert_true(handshake_need(&hs) > 0);
		d->waiting++;
		break;
	case WIRE_NOT_HAUL:
	case WIRE_VERSION:
	case WIRE_DAMAGED:
	case WIRE_VIOLATION:
		assert_int_equal(hs.state, HS_FAILED);
		assert_int_equal(handshake_need(&hs), 0);
		assert_non_null(err.check);
		d->refused++;
		break;
	default:
		fail_msg("mutation %d at %zu: rc %d", kind, at, rc);
	}
	if (kind == MUTATE_BIT && at < 64)
		assert_int_equal(rc, WIRE_NOT_HAUL);
	if (kind == MUTATE_BIT && at >= 64 && at < 128)
		assert_int_equal(rc, WIRE_VERSION);
	if (kind == MUTATE_BIT && at >= 128 && at < 8 * OPENING_BYTES)
		assert_int_equal(rc, WIRE_DAMAGED);
}

static void no_flipped_bit_passes(void **state)
{
	(void)state;
	struct hello h = some_hello();
	struct frame_attach a = some_attach();
	struct wire_err err = {0};
	struct handshake i = initiator(&h, &a), r, welcome, refuse;
	handshake_respond(&r, &h);
	struct damage d = {.fresh = r, .good = HS_DECIDE, .n = i.out_len};
	mutate_each(i.out, i.out_len, judge, &d);
	assert_true(d.refused > 8 * i.out_len);

	uint8_t out[sizeof i.out];
	size_t n = i.out_len;
	memcpy(out, i.out, n);
	assert_int_equal(exchange(&i, &r, &err), WIRE_OK);
	welcome = refuse = r;
	handshake_welcome(&welcome, &some_welcome);
	d = (struct damage){.fresh = i, .good = HS_DONE, .n = welcome.out_len};
	mutate_each(welcome.out, welcome.out_len, judge, &d);
	assert_true(d.refused > 8 * welcome.out_len - 64);
	handshake_refuse(&refuse, 23, "there are too many of you");
	d = (struct damage){.fresh = i, .good = HS_DONE, .n = refuse.out_len};
	mutate_each(refuse.out, refuse.out_len, judge, &d);
	assert_true(d.refused > 8 * refuse.out_len - 64);
}

static void what_is_not_haul_is_known_at_once(void **state)
{
	(void)state;
	static const char *const others[] = {
		"HTTP/1.1 400 Bad Request\r\n",
		"SSH-2.0-OpenSSH_9.6\r\n",
		"GET / HTTP/1.1\r\n",
		"\x16\x03\x01\x02",
		"@RSYNCD: 31.0\n",
		"220 mail ESMTP\r\n",
		"\x89PNG\r\n\x1a\n",
		"\x89HAUL\n",
		"\x89HAUL\r\r\n\x1a",
		"\n",
	};
	static const char magic[] = "\x89HAUL\r\n\x1a";
	for (size_t k = 0; k < sizeof others / sizeof others[0]; k++)
		for (int side = 0; side < 2; side++) {
			struct hello h = some_hello();
			struct frame_attach a = some_attach();
			struct handshake hs = initiator(&h, &a);
			struct wire_err err = {0};
			if (side)
				handshake_respond(&hs, &h);
			size_t said = hs.out_len, wrong = 0;
			while (others[k][wrong] == magic[wrong])
				wrong++;
			for (size_t n = 0; n < wrong; n++)
				assert_int_equal(handshake_feed(&hs, (const uint8_t *)others[k] + n, 1, &err),
						 WIRE_MORE);
			assert_int_equal(handshake_feed(&hs, (const uint8_t *)others[k] + wrong, 1, &err),
					 WIRE_NOT_HAUL);
			assert_int_equal(hs.state, HS_FAILED);
			assert_int_equal(hs.out_len, said); /* and it is not answered */
		}
}

/* ---- versions and features ---- */

static void versions(void **state)
{
	(void)state;
	static const struct {
		uint8_t mine_min, mine_max, peer_min, peer_max, agreed;
	} cases[] = {
		{1, 1, 1, 1, 1}, {1, 3, 2, 5, 3},	{2, 5, 1, 3, 3}, {1, 9, 4, 4, 4},
		{4, 4, 1, 9, 4}, {3, 255, 2, 255, 255}, {1, 1, 2, 2, 0}, {2, 2, 1, 1, 0},
		{1, 3, 4, 9, 0}, {4, 9, 1, 3, 0},	{5, 2, 1, 9, 0}, {1, 1, 0, 0, 0},
	};
	for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
		struct hello mine = some_hello(), peer = some_hello();
		struct frame_attach a = some_attach();
		struct wire_err err = {0};
		mine.minor_min = cases[k].mine_min, mine.minor_max = cases[k].mine_max;
		peer.minor_min = cases[k].peer_min, peer.minor_max = cases[k].peer_max;
		struct handshake i = initiator(&mine, &a), r;
		handshake_respond(&r, &peer);
		enum wire_rc rc = exchange(&i, &r, &err);
		assert_int_equal(r.minor, cases[k].agreed);
		if (cases[k].agreed) {
			assert_int_equal(rc, WIRE_OK);
			handshake_welcome(&r, &some_welcome);
			assert_int_equal(exchange(&r, &i, &err), WIRE_OK);
			assert_int_equal(i.minor, cases[k].agreed);
			continue;
		}
		assert_int_equal(rc, WIRE_VERSION);
		assert_int_equal(r.state, HS_FAILED);
		err = (struct wire_err){0};
		assert_int_equal(exchange(&r, &i, &err), WIRE_REFUSED);
		assert_int_equal(i.refuse.code, 2);
		static const char why[] = "no common protocol version";
		assert_int_equal(i.refuse.text.n, sizeof why - 1);
		assert_memory_equal(i.refuse.text.p, why, sizeof why - 1);
	}
}

/* A responder that claims a version out of the range offered is not believed. */
static void a_version_that_was_not_offered(void **state)
{
	(void)state;
	struct hello h = some_hello(), newer = some_hello();
	newer.minor_min = newer.minor_max = 7;
	struct frame_attach a = some_attach();
	struct wire_err err = {0};
	struct handshake asked = initiator(&newer, &a), r, i = initiator(&h, &a);
	handshake_respond(&r, &newer);
	assert_int_equal(exchange(&asked, &r, &err), WIRE_OK);
	handshake_welcome(&r, &some_welcome);
	assert_int_equal(exchange(&r, &i, &err), WIRE_VERSION);
	assert_int_equal(i.state, HS_FAILED);
}

static void features(void **state)
{
	(void)state;
	static const struct {
		uint16_t mine_offered, mine_required, peer_offered, peer_required, agreed, missing;
	} cases[] = {
		{0x0f, 0x01, 0x3c, 0x04, 0x0c, 0x01},	  {0x0f, 0x00, 0x3c, 0x00, 0x0c, 0x00},
		{0x0f, 0x04, 0x3c, 0x08, 0x0c, 0x00},	  {0x01, 0x00, 0x03, 0x02, 0x01, 0x02},
		{0x00, 0x00, 0x00, 0x8000, 0x00, 0x8000}, {0x8000, 0x8000, 0x00, 0x00, 0x00, 0x8000},
	};
	for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
		struct hello mine = some_hello(), peer = some_hello();
		struct frame_attach a = some_attach();
		struct wire_err err = {0};
		mine.offered = cases[k].mine_offered, mine.required = cases[k].mine_required;
		peer.offered = cases[k].peer_offered, peer.required = cases[k].peer_required;
		struct handshake i = initiator(&mine, &a), r;
		handshake_respond(&r, &peer);
		enum wire_rc rc = exchange(&i, &r, &err);
		assert_int_equal(r.features, cases[k].agreed);
		if (!cases[k].missing) {
			assert_int_equal(rc, WIRE_OK);
			handshake_welcome(&r, &some_welcome);
			assert_int_equal(exchange(&r, &i, &err), WIRE_OK);
			assert_int_equal(i.features, cases[k].agreed);
			continue;
		}
		assert_int_equal(rc, WIRE_VERSION);
		assert_true(err.at == cases[k].missing);
		err = (struct wire_err){0};
		assert_int_equal(exchange(&r, &i, &err), WIRE_REFUSED);
		assert_int_equal(i.refuse.code, 2);
		assert_memory_equal(i.refuse.text.p, "a required feature", 18);
	}
}

static void frames_that_are_too_small(void **state)
{
	(void)state;
	static const struct {
		uint32_t max_body;
		enum wire_rc rc;
	} cases[] = {{0, WIRE_VIOLATION},
		     {RECORD_BODY_MAX_BYTES - 1, WIRE_VIOLATION},
		     {RECORD_BODY_MAX_BYTES, WIRE_OK},
		     {UINT32_MAX, WIRE_OK}};
	for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
		struct hello h = some_hello(), peer = some_hello();
		h.max_body = cases[k].max_body;
		struct frame_attach a = some_attach();
		struct wire_err err = {0};
		struct handshake i = initiator(&h, &a), r;
		handshake_respond(&r, &peer);
		assert_int_equal(exchange(&i, &r, &err), cases[k].rc);
	}
}

static void too_little_before_welcome(void **state)
{
	(void)state;
	struct hello h = some_hello(), peer = some_hello();
	struct frame_attach a = some_attach();
	struct handshake i, r;
	struct wire_err err = {0};
	peer.credit = EARLY_CREDIT_BYTES - 1;
	i = initiator(&h, &a);
	handshake_respond(&r, &peer);
	assert_int_equal(exchange(&i, &r, &err), WIRE_OK);
	assert_int_equal(exchange(&r, &i, &err), WIRE_VIOLATION);
}

/* ---- what a proper record may not say ---- */

static void attach_must_make_sense(void **state)
{
	(void)state;
	static const struct {
		uint8_t role, fresh;
		enum wire_rc rc;
	} cases[] = {{1, 0, WIRE_OK},	       {1, 1, WIRE_OK},	       {2, 0, WIRE_OK},
		     {2, 1, WIRE_OK},	       {0, 1, WIRE_VIOLATION}, {3, 1, WIRE_VIOLATION},
		     {255, 0, WIRE_VIOLATION}, {1, 2, WIRE_OK},	       {1, 3, WIRE_VIOLATION},
		     {2, 255, WIRE_VIOLATION}};
	for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
		struct hello h = some_hello();
		struct frame_attach a = some_attach();
		struct wire_err err = {0};
		a.role = cases[k].role, a.fresh = cases[k].fresh;
		struct handshake i = initiator(&h, &a), r;
		handshake_respond(&r, &h);
		assert_int_equal(exchange(&i, &r, &err), cases[k].rc);
		assert_int_equal(r.state, cases[k].rc == WIRE_OK ? HS_DECIDE : HS_FAILED);
	}
}

/* A first record of any type and body, sealed as it should be. */
static enum wire_rc first_record(bool to_initiator, uint8_t type, const uint8_t *body, size_t body_len,
				 uint32_t head_len)
{
	struct hello h = some_hello();
	struct frame_attach a = some_attach();
	struct wire_err err = {0};
	struct handshake i = initiator(&h, &a), r;
	struct seal seal = {0};
	uint8_t record[RECORD_LEN_BYTES + FRAME_HEAD_BYTES + 128 + RECORD_TAG_MAX_BYTES],
		tag[RECORD_TAG_MAX_BYTES];
	struct wr w = wr_init(record, sizeof record);
	wr_uint(&w, FRAME_HEAD_BYTES + body_len + seal_tag_bytes(&seal), RECORD_LEN_BYTES);
	frame_head_put(
		record + RECORD_LEN_BYTES,
		&(struct frame_head){.type = type,
				     .body_len = head_len,
				     .cost = frame_class_of(type) == FRAME_CLASS_MESSAGE ? 1000u : 0u});
	w.n += FRAME_HEAD_BYTES;
	wr_bytes(&w, body, body_len);
	seal_close(&seal, record + RECORD_LEN_BYTES, body, body_len, tag);
	wr_bytes(&w, tag, seal_tag_bytes(&seal));
	assert_false(w.bad);

	size_t taken;
	handshake_respond(&r, &h);
	assert_int_equal(feed(&r, i.out, OPENING_BYTES, SIZE_MAX, &taken, &err), WIRE_OK);
	assert_int_equal(r.state, HS_ATTACH);
	if (!to_initiator)
		return feed(&r, record, w.n, SIZE_MAX, &taken, &err);
	assert_int_equal(feed(&i, r.out, OPENING_BYTES, SIZE_MAX, &taken, &err), WIRE_OK);
	assert_int_equal(i.state, HS_WELCOME);
	return feed(&i, record, w.n, SIZE_MAX, &taken, &err);
}

static void first_records(void **state)
{
	(void)state;
	uint8_t attach[100], welcome[100];
	struct wr a = wr_init(attach, sizeof attach), w = wr_init(welcome, sizeof welcome);
	frame_put_attach(&a, &(struct frame_attach){.role = 1});
	frame_put_welcome(&w, &some_welcome);
	assert_int_equal(first_record(false, F_ATTACH, attach, a.n, (uint32_t)a.n), WIRE_OK);
	assert_int_equal(first_record(true, F_WELCOME, welcome, w.n, (uint32_t)w.n), WIRE_OK);
	/* each of them to the wrong side, with a wrong length inside, too short, too long, and of any other
	 * type */
	assert_int_equal(first_record(true, F_ATTACH, attach, a.n, (uint32_t)a.n), WIRE_VIOLATION);
	assert_int_equal(first_record(false, F_WELCOME, welcome, w.n, (uint32_t)w.n), WIRE_VIOLATION);
	assert_int_equal(first_record(false, F_ATTACH, attach, a.n, (uint32_t)a.n - 1), WIRE_VIOLATION);
	assert_int_equal(first_record(true, F_WELCOME, welcome, w.n, (uint32_t)w.n + 1), WIRE_VIOLATION);
	assert_int_equal(first_record(false, F_ATTACH, attach, a.n - 1, (uint32_t)a.n - 1), WIRE_VIOLATION);
	assert_int_equal(first_record(true, F_WELCOME, welcome, w.n - 1, (uint32_t)w.n - 1), WIRE_VIOLATION);
	attach[a.n] = welcome[w.n] = 0;
	assert_int_equal(first_record(false, F_ATTACH, attach, a.n + 1, (uint32_t)a.n + 1), WIRE_VIOLATION);
	assert_int_equal(first_record(true, F_WELCOME, welcome, w.n + 1, (uint32_t)w.n + 1), WIRE_VIOLATION);
	for (unsigned type = 0; type < 256; type++) {
		if (type != F_ATTACH)
			assert_int_equal(first_record(false, (uint8_t)type, attach, a.n, (uint32_t)a.n),
					 WIRE_VIOLATION);
		if (type != F_WELCOME)
			assert_int_equal(first_record(true, (uint8_t)type, welcome, w.n, (uint32_t)w.n),
					 WIRE_VIOLATION);
	}
}

static void lengths_of_the_first_record(void **state)
{
	(void)state;
	struct hello h = some_hello();
	struct frame_attach a = some_attach();
	struct seal seal = {0};
	const uint32_t least = FRAME_HEAD_BYTES + (uint32_t)seal_tag_bytes(&seal);
	const uint32_t most = ATTACH_RECORD_MAX_BYTES - RECORD_LEN_BYTES;
	const uint32_t lengths[] = {0,	      1,	least - 1,	least,	   most,
				    most + 1, 1u << 20, UINT32_MAX - 3, UINT32_MAX};
	for (size_t k = 0; k < sizeof lengths / sizeof lengths[0]; k++) {
		struct wire_err err = {0};
		struct handshake i = initiator(&h, &a), r;
		size_t taken;
		uint8_t b[RECORD_LEN_BYTES];
		struct wr w = wr_init(b, sizeof b);
		wr_uint(&w, lengths[k], sizeof b);
		handshake_respond(&r, &h);
		assert_int_equal(feed(&r, i.out, OPENING_BYTES, SIZE_MAX, &taken, &err), WIRE_OK);
		bool good = lengths[k] >= least && lengths[k] <= most;
		assert_int_equal(feed(&r, b, sizeof b, SIZE_MAX, &taken, &err),
				 good ? WIRE_MORE : WIRE_VIOLATION);
		assert_int_equal(handshake_need(&r), good ? lengths[k] : 0);
	}
}

static void output_leaves_in_pieces(void **state)
{
	(void)state;
	struct hello h = some_hello();
	struct frame_attach a = some_attach();
	struct handshake i = initiator(&h, &a), whole = i;
	struct prng p = {11};
	size_t off = 0;
	while (i.out_len) {
		assert_memory_equal(i.out, whole.out + off, i.out_len);
		size_t n = prng_below(&p, i.out_len + 1);
		handshake_sent(&i, n);
		off += n;
	}
	assert_int_equal(off, whole.out_len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_are_understood),
		cmocka_unit_test(nothing_is_said_to_a_stranger),
		cmocka_unit_test(a_refusal_brings_its_reason),
		cmocka_unit_test(subdirectories_have_a_limit),
		cmocka_unit_test(no_flipped_bit_passes),
		cmocka_unit_test(what_is_not_haul_is_known_at_once),
		cmocka_unit_test(versions),
		cmocka_unit_test(a_version_that_was_not_offered),
		cmocka_unit_test(features),
		cmocka_unit_test(frames_that_are_too_small),
		cmocka_unit_test(too_little_before_welcome),
		cmocka_unit_test(attach_must_make_sense),
		cmocka_unit_test(first_records),
		cmocka_unit_test(lengths_of_the_first_record),
		cmocka_unit_test(output_leaves_in_pieces),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
