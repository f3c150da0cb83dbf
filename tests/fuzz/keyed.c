/*
 * Handshakes with keys (modes 1 to 3), both roles, heard by somebody who may change, drop, repeat and insert
 * whatever the honest peer says, and who has recorded another connection of the same two parties.
 *
 *   input   what u8: mode, role and the message to begin before (what is said before it was honest); its high
 *           bit: the honest rest follows the script. Then edits: see the table at the end.
 *
 * Held to: the handshake comes to its end with the very bytes the honest peer said, and with no others; no
 * answer is given to a first message that nobody with the key has made; a failed one keeps no secret.
 */
#include "fuzz.h"

#include <sodium.h>

#include "wire/handshake.h"

enum { SAYS_MAX = 2048, STAGES_MAX = 3, MODES = 3, RUNS = 2 };

/* What one side says in all. */
struct saying {
	uint8_t p[SAYS_MAX];
	size_t n;
};

/* One side before it hears a message: how much it has heard and said. */
struct stage {
	struct handshake hs;
	size_t heard, said;
};

/* One honest connection: [0] is the initiator. */
struct honest {
	struct saying says[2];
	struct stage stage[2][STAGES_MAX];
	size_t stages[2];
};

static struct honest honest[MODES][RUNS];

/* ---- the honest connections ---- */

static struct credentials own[MODES][2];

static void make_parties(void)
{
	static struct credential keys[3], codes[1], to_r[1], peers[3];
	static const uint8_t prs[AUTH_KEY_BYTES] = "stretched";
	uint8_t secret[4][AUTH_KEY_BYTES] = {"a", "b", "c", "d"};
	struct noise_pair pair[4];
	for (size_t i = 0; i < 4; i++)
		noise_pair_from(&pair[i], secret[i]);
	for (size_t i = 0; i < 3; i++) {
		credential_from_key(&keys[i], secret[i]);
		credential_from_peer(&peers[i], pair[i].pub, NULL);
	}
	credential_of_code(&codes[0]);
	credential_from_peer(&to_r[0], pair[3].pub, NULL);
	credentials_init(&own[0][0], AUTH_KEY, "here", &keys[1], 1, NULL);
	credentials_init(&own[0][1], AUTH_KEY, "here", keys, 3, NULL);
	credentials_init(&own[1][0], AUTH_PEER, "here", to_r, 1, secret[1]);
	credentials_init(&own[1][1], AUTH_PEER, "here", peers, 3, secret[3]);
	credentials_init(&own[2][0], AUTH_CODE, "here", codes, 1, prs);
	credentials_init(&own[2][1], AUTH_CODE, "here", codes, 1, prs);
}

static void say(struct honest *h, struct handshake *hs, int side)
{
	struct saying *s = &h->says[side];
	CHECK(s->n + hs->out_len <= sizeof s->p);
	memcpy(s->p + s->n, hs->out, hs->out_len);
	s->n += hs->out_len;
	handshake_sent(hs, hs->out_len);
}

static void hear(struct honest *h, struct handshake *hs, int side, size_t *at)
{
	const struct saying *s = &h->says[!side];
	struct wire_err err = {0};
	enum handshake_state was = hs->state;
	if (*at == s->n)
		return;
	CHECK(h->stages[side] < STAGES_MAX);
	h->stage[side][h->stages[side]++] = (struct stage){*hs, *at, h->says[side].n};
	do {
		size_t need = handshake_need(hs);
		CHECK(need <= s->n - *at);
		enum wire_rc rc = handshake_feed(hs, s->p + *at, need, &err);
		CHECK(rc == WIRE_OK || rc == WIRE_MORE);
		*at += need;
	} while (hs->state == was && handshake_need(hs) && *at < s->n);
}

static void meet(struct honest *h, const struct credentials two[2], uint8_t run)
{
	static const struct hello hello = {.minor_min = PROTOCOL_MINOR_MIN,
					   .minor_max = PROTOCOL_MINOR,
					   .max_body = RECORD_BODY_MAX_BYTES,
					   .credit = EARLY_CREDIT_BYTES};
	static const struct frame_attach attach = {
		.role = ROLE_SENDER, .fresh = 1, .subdir = {(const uint8_t *)"in/here", 7}};
	const uint8_t ephemeral[2][AUTH_KEY_BYTES] = {{1, run}, {2, run}};
	struct handshake hs[2];
	struct wire_err err = {0};
	size_t at[2] = {0, 0};
	CHECK(handshake_initiate_with(&hs[0], &hello, &attach, &two[0], ephemeral[0], &err) == WIRE_OK);
	handshake_respond_with(&hs[1], &hello, &two[1], ephemeral[1]);
	while (hs[0].state != HS_DONE) {
		say(h, &hs[0], 0);
		hear(h, &hs[1], 1, &at[1]);
		if (hs[1].state == HS_DECIDE)
			handshake_welcome(&hs[1], &(struct frame_welcome){.epoch = 1});
		say(h, &hs[1], 1);
		hear(h, &hs[0], 0, &at[0]);
	}
	CHECK(hs[1].state == HS_DONE && at[0] == h->says[1].n && at[1] == h->says[0].n);
	CHECK(memcmp(hs[0].channel_id, hs[1].channel_id, CHANNEL_ID_BYTES) == 0);
	CHECK(memcmp(hs[0].tx.key, hs[1].rx.key, SEAL_KEY_BYTES) == 0);
}

static void make_honest(void)
{
	CHECK(sodium_init() >= 0);
	make_parties();
	for (size_t m = 0; m < MODES; m++)
		for (size_t run = 0; run < RUNS; run++)
			meet(&honest[m][run], own[m], (uint8_t)run);
}

/* ---- the one that is lied to ---- */

static struct {
	struct handshake hs;
	size_t mode, side;
	struct saying heard, said;
	const struct saying *source; /* of copies */
	size_t at, piece;
	bool over;
} rig;

static void check_failed(void)
{
	const struct handshake *hs = &rig.hs;
	CHECK(hs->state == HS_FAILED && handshake_need(hs) == 0);
	CHECK(sodium_is_zero(hs->noise.e.secret, sizeof hs->noise.e.secret));
	CHECK(sodium_is_zero(hs->noise.psk, sizeof hs->noise.psk));
	CHECK(sodium_is_zero(hs->code.scalar, sizeof hs->code.scalar));
	CHECK(sodium_is_zero((const uint8_t *)&hs->code.party, sizeof hs->code.party));
}

static void hear_bytes(const uint8_t *p, size_t n)
{
	struct wire_err err = {0};
	while (n && !rig.over) {
		size_t need = handshake_need(&rig.hs), take = need < n ? need : n;
		take = take < rig.piece ? take : rig.piece;
		CHECK(need && rig.hs.in_len + need <= sizeof rig.hs.in);
		CHECK(rig.heard.n + take <= sizeof rig.heard.p);
		memcpy(rig.heard.p + rig.heard.n, p, take);
		rig.heard.n += take;
		enum wire_rc rc = handshake_feed(&rig.hs, p, take, &err);
		CHECK(rig.hs.out_len <= sizeof rig.hs.out &&
		      rig.said.n + rig.hs.out_len <= sizeof rig.said.p);
		memcpy(rig.said.p + rig.said.n, rig.hs.out, rig.hs.out_len);
		rig.said.n += rig.hs.out_len;
		handshake_sent(&rig.hs, rig.hs.out_len);
		if (rc != WIRE_OK && rc != WIRE_MORE)
			check_failed();
		rig.over = !handshake_need(&rig.hs);
		p += take;
		n -= take;
	}
}

static bool heard_so_far(size_t run, size_t n)
{
	const struct saying *s = &honest[rig.mode][run].says[!rig.side];
	return rig.heard.n >= n && memcmp(rig.heard.p, s->p, n) == 0;
}

static void verdict(void)
{
	const struct honest *h = &honest[rig.mode][0];
	const struct stage *s = h->stage[rig.side] + h->stages[rig.side] - 2;
	size_t all = h->says[!rig.side].n;
	bool done = rig.hs.state == HS_DECIDE || rig.hs.state == HS_DONE;
	CHECK(done == (rig.heard.n == all && heard_so_far(0, all)));
	/* what follows the last but one message tells that it was right: M1 to a responder, which cannot know a
	 * repeated one, and M2 to an initiator. A bare prefix tells who has no key that one is needed. */
	bool knows_old = rig.side == 1 && rig.mode + 1 != AUTH_CODE;
	if (rig.said.n > s->said && !(knows_old && rig.said.n == PREFIX_BYTES))
		CHECK(heard_so_far(0, s[1].heard) || (knows_old && heard_so_far(1, s[1].heard)));
}

/* ---- edits ---- */

static void copy(size_t n)
{
	size_t left = rig.source->n - rig.at;
	n = n < left ? n : left;
	rig.at += n;
	hear_bytes(rig.source->p + rig.at - n, n);
}

static void edit_copy(struct rd *r)
{
	copy(rd_u8(r) + 1u);
}

static void edit_change(struct rd *r)
{
	if (rig.at == rig.source->n)
		return;
	uint8_t b = rig.source->p[rig.at++] ^ rd_u8(r);
	hear_bytes(&b, 1);
}

static void edit_insert(struct rd *r)
{
	struct span in = script_bytes(r, rd_u8(r));
	hear_bytes(in.p, in.n);
}

static void edit_drop(struct rd *r)
{
	size_t n = rd_u8(r) + 1u, left = rig.source->n - rig.at;
	rig.at += n < left ? n : left;
}

static void edit_go(struct rd *r)
{
	rig.at = rd_u16(r) % (rig.source->n + 1);
}

/* What anybody said in any connection: this one's own side, too. */
static void edit_other(struct rd *r)
{
	uint8_t what = rd_u8(r);
	rig.source = &honest[what % MODES][what >> 2 & 1].says[what >> 3 & 1];
	if (rig.at > rig.source->n || what & 16)
		rig.at = 0;
}

static void edit_piece(struct rd *r)
{
	rig.piece = rd_u8(r) + 1u;
}

static void (*const edits[])(struct rd *) = {edit_copy, edit_change, edit_insert, edit_drop,
					     edit_go,	edit_other,  edit_piece};

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct rd r = rd_init(p, n);
	uint8_t what = rd_u8(&r);
	if (!honest[0][0].says[0].n)
		make_honest();
	rig.mode = what % MODES;
	rig.side = what / MODES % 2;
	const struct honest *h = &honest[rig.mode][0];
	const struct stage *s = &h->stage[rig.side][(what & 127) / (2 * MODES) % h->stages[rig.side]];
	rig.source = &h->says[!rig.side];
	rig.hs = s->hs;
	rig.heard = *rig.source;
	rig.heard.n = rig.at = s->heard;
	rig.said.n = s->said;
	rig.piece = SIZE_MAX;
	rig.over = false;
	while (r.n && !r.bad && !rig.over)
		edits[rd_u8(&r) % (sizeof edits / sizeof *edits)](&r);
	if (what & 128)
		copy(SAYS_MAX);
	verdict();
	return 0;
}
