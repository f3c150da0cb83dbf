/*
 * A whole sender, from the files of a real directory to the link, against a receiver that answers anything:
 * most of it in good form, so that it gets far. Stages run in line; nothing here depends on the time.
 *
 *   input   flags u8 (of the sender), then steps: see the table at the end
 *
 * Held to: content travels for files the receiver has asked for, and no others, and none in a dry run; every byte of it is the
 * file's; an END that says that all is well has the digest of the whole file, whatever the receiver has
 * claimed to have; no entry is lost.
 */
#include "scratch.h"
#include "talk.h"

#include "lib/sender_impl.h"
#include "lib/walk.h"
#include "wire/err.h"

#define CHUNK	      CHUNK_MIN_BYTES
#define SIZE_MAX_HERE (4u * CHUNK)
#define IDS_MAX	      64u

/* ---- the source ---- */

static const struct {
	const char *path;
	uint32_t size;
	uint32_t hole; /* its first byte: one chunk of zeros; 0: none */
} files[] = {
	{"src/a", 100, 0},     {"src/b", 2 * CHUNK + 100, 0}, {"src/c", 4 * CHUNK, CHUNK},  {"src/d/e", 0, 0},
	{"src/d/f", CHUNK, 0}, {"src/d/g", 5000, 0},	      {"src/d/h", CHUNK / 4 + 1, 0}};
#define FILES (sizeof files / sizeof *files)

static char source[64];

static uint8_t byte_at(size_t file, uint64_t offset)
{
	bool hole = files[file].hole && offset - files[file].hole < CHUNK;
	return hole ? 0 : (uint8_t)(1 + (offset * 7 + file * 31) % 251);
}

static void content_of(size_t file, uint64_t offset, size_t n, uint8_t *out)
{
	for (size_t i = 0; i < n; i++)
		out[i] = byte_at(file, offset + i);
}

static void make_source(void)
{
	static uint8_t bytes[SIZE_MAX_HERE];
	int at = scratch_make();
	CHECK(mkdirat(at, "src", 0700) == 0 && mkdirat(at, "src/d", 0700) == 0);
	CHECK(symlinkat("a", at, "src/l") == 0);
	for (size_t i = 0; i < FILES; i++) {
		int fd = openat(at, files[i].path, O_CREAT | O_WRONLY, 0600);
		uint32_t hole = files[i].hole, from = hole ? hole + CHUNK : 0;
		content_of(i, 0, files[i].size, bytes);
		CHECK(fd >= 0 && ftruncate(fd, files[i].size) == 0);
		CHECK(pwrite(fd, bytes, hole, 0) == (ssize_t)hole);
		CHECK(pwrite(fd, bytes + from, files[i].size - from, from) ==
		      (ssize_t)(files[i].size - from));
		close(fd);
	}
	close(at);
	snprintf(source, sizeof source, "%s/src", scratch);
}

/* ---- what the receiver knows ---- */

struct known {
	uint8_t type;
	size_t file; /* FILES: none of those */
	bool asked;
	uint64_t seed, told; /* chunks it has told of */
	uint64_t right;	     /* bit i: of chunk i it has told the truth */
	bool open;	     /* no verdict that ends it, and no result */
};

static struct sender tx;
static struct {
	struct known id[IDS_MAX];
	uint64_t count, answered, seed;
	struct codec_ctx *codec;
} rig;

static struct known *known(uint64_t id)
{
	static struct known none;
	none = (struct known){.file = FILES};
	return id < rig.count ? &rig.id[id] : &none;
}

static struct haul_config cfg;

/* ---- what the sender says ---- */

static void heard_offer(struct span body)
{
	struct frame_offer o;
	struct frame_entry e;
	char path[256] = "";
	CHECK(frame_get_offer(body, &o) && o.first == rig.count && o.first + o.count <= IDS_MAX);
	struct rd r = rd_init(o.entries.p, o.entries.n);
	for (unsigned i = 0; i < o.count; i++) {
		struct known *k = &rig.id[rig.count++];
		CHECK(frame_get_part_entry(&r, &e) && e.shared + e.path.n < sizeof path);
		memcpy(path + e.shared, e.path.p, e.path.n);
		path[e.shared + e.path.n] = 0;
		*k = (struct known){.type = e.type, .file = FILES, .seed = rig.seed, .open = true};
		for (size_t f = 0; f < FILES; f++)
			if (strcmp(files[f].path, path) == 0)
				k->file = f;
		CHECK((e.type == ENTRY_FILE) == (k->file < FILES));
		CHECK(k->file == FILES || e.size == files[k->file].size);
	}
	CHECK(rd_done(&r));
}

static const uint8_t *unpacked(uint8_t codec, struct span in, uint32_t raw)
{
	static uint8_t out[TALK_BODY_MAX];
	CHECK(raw <= sizeof out && codec <= CODEC_ZSTD);
	if (codec == CODEC_ZSTD)
		CHECK(!codec_unpack(rig.codec, in.p, in.n, out, raw));
	CHECK(codec == CODEC_ZSTD || in.n == raw);
	return codec == CODEC_ZSTD ? out : in.p;
}

static void heard_data(struct span body)
{
	uint8_t should[CHUNK], digest[DIGEST_BYTES];
	struct frame_data d;
	CHECK(frame_get_data(body, &d));
	struct known *k = known(d.file);
	CHECK(k->asked && k->open && k->file < FILES && d.raw && d.raw <= CHUNK);
	CHECK(d.offset <= files[k->file].size && d.raw <= files[k->file].size - d.offset);
	content_of(k->file, d.offset, d.raw, should);
	CHECK(memcmp(unpacked(d.codec, d.payload, d.raw), should, d.raw) == 0);
	digest_chunk(k->seed, should, d.raw, digest);
	CHECK(memcmp(digest, d.digest, sizeof digest) == 0);
}

static void heard_pack(struct span body)
{
	uint8_t should[CHUNK];
	struct frame_pack pack;
	struct frame_packed p;
	CHECK(frame_get_pack(body, &pack) && pack.count);
	const uint8_t *raw = unpacked(pack.codec, pack.payload, pack.raw);
	struct rd r = rd_init(raw, pack.raw), content = rd_init(raw, pack.raw);
	rd_take(&content, (size_t)pack.count * PACKED_BYTES);
	for (unsigned i = 0; i < pack.count; i++) {
		CHECK(frame_get_part_packed(&r, &p));
		struct known *k = known(p.file);
		const uint8_t *bytes = rd_take(&content, p.size);
		CHECK(k->asked && k->open && k->file < FILES && p.status == 0 && bytes);
		CHECK(p.size == files[k->file].size);
		content_of(k->file, 0, p.size, should);
		CHECK(memcmp(bytes, should, p.size) == 0);
	}
	CHECK(rd_done(&content));
}

static void heard_end(struct span body)
{
	uint8_t bytes[CHUNK], digest[DIGEST_BYTES];
	struct digest_sum sum = {0};
	struct frame_end e;
	CHECK(frame_get_end(body, &e));
	struct known *k = known(e.file);
	CHECK(k->asked && k->open && k->file < FILES && e.size == files[k->file].size && e.status == 0);
	for (uint64_t at = 0; at < e.size; at += CHUNK) {
		size_t n = e.size - at < CHUNK ? (size_t)(e.size - at) : CHUNK;
		content_of(k->file, at, n, bytes);
		digest_chunk(k->seed, bytes, n, digest);
		if (!files[k->file].hole || at != files[k->file].hole)
			digest_sum_add(&sum, at, digest);
	}
	digest_sum_end(&sum, e.size, digest);
	CHECK(memcmp(digest, e.digest, sizeof digest) == 0);
}

/* Only what the receiver has is kept. */
static void heard_keep(struct span body)
{
	struct frame_keep keep;
	CHECK(frame_get_keep(body, &keep) && keep.count && keep.count <= KEEP_CHUNKS_MAX);
	const struct known *k = known(keep.file);
	for (uint64_t i = keep.first; i < keep.first + keep.count; i++)
		CHECK(i < 64 && k->asked && (k->right >> i & 1));
}

static void heard_begin(struct span body)
{
	struct frame_begin b;
	CHECK(frame_get_begin(body, &b) && b.chunk == CHUNK);
	rig.seed = b.seed;
}

static void heard(uint8_t type, struct span body)
{
	bool content = type == F_DATA || type == F_PACK || type == F_HOLE || type == F_KEEP || type == F_END;
	CHECK(!content || !cfg.dry_run);
	if (type == F_BEGIN)
		heard_begin(body);
	else if (type == F_OFFER)
		heard_offer(body);
	else if (type == F_DATA)
		heard_data(body);
	else if (type == F_PACK)
		heard_pack(body);
	else if (type == F_END)
		heard_end(body);
	else if (type == F_KEEP)
		heard_keep(body);
}

/* As the engine's loop does it, until nothing moves. */
static void pump(void)
{
	for (size_t before = SIZE_MAX; before != tx.engine.link.ring.count && !tx.engine.err.rc;) {
		before = tx.engine.link.ring.count;
		if (sender_outbox_drain(&tx))
			sender_pump_scan(&tx);
		if (sender_outbox_drain(&tx) && tx.again_count && !tx.stopped &&
		    sender_table_has_room(&tx, 0))
			sender_offer_again(&tx);
		if (sender_outbox_drain(&tx))
			sender_pump_done(&tx);
		sender_pump_jobs(&tx);
		sender_outbox_drain(&tx);
		talk_hear();
	}
	talk.over |=
		tx.engine.err.rc != HAUL_OK || tx.engine.phase != ENGINE_RUNNING || rig.count + 16 > IDS_MAX;
}

/* ---- what the receiver says ---- */

/* A verdict each, the proper one more often than not. */
static void step_want(struct rd *r)
{
	struct wr w = wr_init(talk.body, sizeof talk.body);
	uint64_t first = rig.answered;
	uint8_t n = rd_u8(r), count = 1 + n % 16;
	if (first + count > rig.count && n < 240)
		count = (uint8_t)(rig.count - first);
	if (!count)
		return;
	frame_put_want(&w, &(struct frame_want){.first = first, .count = count});
	for (; rig.answered < first + count; rig.answered++) {
		struct known *k = known(rig.answered);
		uint8_t b = rd_u8(r);
		bool file = k->type == ENTRY_FILE;
		struct frame_verdict v = {.action = b < 64 ? b % 6
						    : file ? 1 + 3 * (b & 1)
							   : 3,
					  .code = b % 20};
		k->asked = v.action == 1 || v.action == 4;
		k->open = k->asked;
		frame_put_verdict(&w, &v);
	}
	talk_say_body(F_WANT, 0, &w);
}

/* Digests of the file as it is, of something else, or none. */
static void step_have(struct rd *r)
{
	uint8_t id = rd_u8(r), how = rd_u8(r), count = 1 + (how & 3), digests[4 * DIGEST_BYTES] = {0},
		bytes[CHUNK];
	struct known *k = known(id);
	uint64_t seed = how & 4 ? 7 : rig.seed, first = how & 64 ? how : k->told;
	for (uint64_t i = 0; i < count; i++) {
		uint8_t what = rd_u8(r);
		uint32_t size = k->file < FILES ? files[k->file].size : 0;
		uint64_t at = (first + i) * CHUNK;
		if (what & 1 || at >= size)
			continue;
		content_of(k->file, at, size - at < CHUNK ? size - at : CHUNK, bytes);
		digest_chunk(seed, bytes, size - at < CHUNK ? size - at : CHUNK, digests + i * DIGEST_BYTES);
		if (what & 2)
			digests[i * DIGEST_BYTES] ^= 1;
		else if (first + i < 64)
			k->right |= 1ull << (first + i);
	}
	k->told += count;
	if (known(id)->asked)
		k->seed = seed;
	struct wr w = wr_init(talk.body, sizeof talk.body);
	frame_put_have(&w, &(struct frame_have){.file = id,
						.seed = seed,
						.first = first,
						.last = how >> 3 & 1,
						.digests = {digests, (size_t)count * DIGEST_BYTES}});
	talk_say_body(F_HAVE, 0, &w);
}

static void step_need(struct rd *r)
{
	struct wr w = wr_init(talk.body, sizeof talk.body);
	frame_put_need(&w, &(struct frame_need){.file = rd_u8(r), .chunk = rd_u8(r) % 8});
	talk_say_body(F_NEED, 0, &w);
}

static void step_result(struct rd *r)
{
	static const uint16_t codes[] = {0, 0, REASON_UNCHANGED, 14, 11, 24};
	struct wr w = wr_init(talk.body, sizeof talk.body);
	uint16_t count = 1 + rd_u8(r) % 4;
	frame_put_result(&w, &(struct frame_result){.count = count});
	for (uint16_t i = 0; i < count; i++) {
		struct frame_outcome o = {.file = rd_u8(r),
					  .code = codes[rd_u8(r) % (sizeof codes / sizeof *codes)]};
		known(o.file)->open = false;
		frame_put_outcome(&w, &o);
	}
	talk_say_body(F_RESULT, 0, &w);
}

static void step_over(struct rd *r)
{
	struct wr w = wr_init(talk.body, sizeof talk.body);
	uint8_t how = rd_u8(r);
	struct frame_stop stop = {.code = how, .text = script_bytes(r, how % 8)};
	if (how & 128)
		frame_put_summary(
			&w, &(struct frame_summary){.files = tx.m->files + (how & 1), .failed = how & 2});
	else
		frame_put_stop(&w, &stop);
	talk_say_body(how & 128 ? F_SUMMARY : F_STOP, 0, &w);
}

static void step_raw(struct rd *r)
{
	uint8_t type = talk_types[rd_u8(r) % sizeof talk_types];
	struct span body = script_bytes(r, rd_u8(r));
	if (type != F_WANT && type != F_HAVE && type != F_RESULT) /* what they say would not be known here */
		talk_say(type, (uint32_t)body.n, body);
}

static void (*const steps[])(struct rd *) = {step_want, step_want,   step_have, step_have,
					     step_need, step_result, step_over, step_raw};

/* ---- a session ---- */

static const struct engine_ops ops = {.role = ROLE_SENDER, .message = sender_message};
static const struct pool_ops worker_ops = {source_worker_new, source_worker_free, source_run};

static void begin(uint8_t flags)
{
	static const char *const sources[] = {source};
	struct haul_err err = {0};
	cfg = talk_config();
	cfg.dry_run = flags & 1;
	cfg.checksum = flags & 2;
	cfg.compress = flags & 4 ? COMPRESS_LEVEL : COMPRESS_NONE;
	memset(&tx, 0, sizeof tx);
	rig.count = rig.answered = 0;
	tx.cfg = &cfg;
	tx.m = &tx.engine.metrics;
	tx.next_batch = 16;
	talk.pump = pump;
	talk.heard = heard;
	talk_begin(&tx.engine, &cfg, &ops, &tx);
	tx.set = (struct sender_setup){.cfg = &cfg,
				       .bus = tx.engine.set.bus,
				       .session_id = talk_id,
				       .sources = sources,
				       .source_count = 1};
	tx.source.blocks = tx.engine.blocks;
	tx.source.seed = 5;
	atomic_init(&tx.source.level, flags & 4 ? 1 : LEVEL_STORED);
	CHECK(walk_new(&cfg, sources, 1, &tx.walk, &err) == HAUL_OK);
	tx.source.walk = tx.walk;
	tx.workers = pool_new(&worker_ops, &tx.source, 1, 4, true);
	tx.scan = pool_new(&scan_ops, NULL, 1, 2, true);
	CHECK(tx.workers && tx.scan);
	sender_begin(&tx);
	pump();
}

static void drop_job(void *ctx, void *job)
{
	(void)ctx;
	send_job_free(job);
}

static void drop_batch(void *ctx, void *batch)
{
	(void)ctx;
	scan_batch_free(batch);
}

static void end(void)
{
	size_t open = 0;
	pool_free(tx.scan, drop_batch);
	pool_free(tx.workers, drop_job);
	for (size_t i = 0; i < tx.outbox_count; i++)
		buf_put(tx.outbox[(tx.outbox_head + i) % OUTBOX_MAX].body);
	for (size_t i = 0; i < IDS_MAX; i++) {
		open += tx.open[i] != NULL;
		source_file_free(tx.open[i]);
	}
	CHECK(open == tx.open_count && tx.next_id <= IDS_MAX);
	for (size_t i = 0; i < tx.again_count; i++)
		source_file_free(tx.again[i]);
	engine_free(&tx.engine);
	walk_free(tx.walk);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct rd r = rd_init(p, n);
	uint8_t flags = rd_u8(&r);
	if (!rig.codec) {
		make_source();
		rig.codec = codec_new();
		CHECK(rig.codec);
	}
	begin(flags);
	while (r.n && !r.bad && !talk.over)
		steps[rd_u8(&r) % (sizeof steps / sizeof *steps)](&r);
	end();
	return 0;
}
