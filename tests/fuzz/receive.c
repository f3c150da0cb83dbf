/*
 * A whole receiver, from the link to the files of a real directory, against a sender that says anything: most
 * of it in good form, so that it gets far. Stages run in line; nothing here depends on the time.
 *
 *   input   flags u8 (of the receiver), then steps: see the table at the end; AGAIN: this session is over, and
 *           the next one finds what it has left, perhaps damaged
 *
 * Held to: nothing outside the directory is touched, and nothing in it in a dry run or against the policy;
 * nothing gets a final name whose digests did not fit; every byte of it was sent for some file, or is a hole;
 * every wanted file has one result at most; what is left behind is a journal with its data, or nothing.
 */
#include "scratch.h"
#include "talk.h"

#include "lib/plan.h"
#include "lib/receiver_impl.h"
#include "lib/walk.h"

#define CHUNK	  CHUNK_MIN_BYTES
#define SEED	  5u
#define FILES_MAX 64u

/* What this sender knows of an entry it offered, and has done to it. */
struct offered {
	char path[512];
	uint8_t type, action; /* of its verdict */
	uint64_t size, sent;
	struct digest_sum sum;
	bool spoiled; /* must not be committed */
	bool asked, settled;
	bool whole; /* nothing more may be said of it */
};

static struct receiver rx;
static struct haul_config cfg;
static struct {
	struct offered file[FILES_MAX];
	uint64_t count, answered;
	bool touched; /* by a session that was no dry run */
} rig;

static int top = -1; /* with "in", where the receiver is, and "out" */
static char inside[64];

/* All files hold the same. */
static uint8_t pattern[CHUNK * 4];

static uint8_t byte_at(uint64_t offset)
{
	return (uint8_t)(1 + offset % 251);
}

/* ---- the directory ---- */

/* An old version, a directory, and a way out. */
static void make_inside(void)
{
	scratch_empty(top, "in");
	CHECK(mkdirat(top, "in/d", 0700) == 0 && symlinkat("../out", top, "in/l") == 0);
	scratch_file(top, "in/f", pattern, 2 * CHUNK);
}

static void make_top(void)
{
	top = scratch_make();
	snprintf(inside, sizeof inside, "%s/in", scratch);
	CHECK(mkdirat(top, "in", 0700) == 0 && mkdirat(top, "out", 0700) == 0);
	scratch_file(top, "out/f", "sentinel", 8);
	for (size_t i = 0; i < sizeof pattern; i++)
		pattern[i] = byte_at(i);
}

static void check_outside(void)
{
	char got[16];
	int fd = openat(top, "out/f", O_RDONLY);
	CHECK(fd >= 0 && read(fd, got, sizeof got) == 8 && memcmp(got, "sentinel", 8) == 0);
	close(fd);
	CHECK(scratch_count(top, ".") == 2 && scratch_count(top, "out") == 1);
}

/* Byte by byte what was sent at that place, or a hole. */
static void check_content(const struct offered *f)
{
	static uint8_t got[sizeof pattern];
	struct stat st;
	char path[1024];
	snprintf(path, sizeof path, "in/%s", rx.dest.only ? rx.dest.only : f->path);
	int fd = openat(top, path, O_RDONLY | O_NOFOLLOW);
	CHECK(fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && !(st.st_mode & 07000));
	ssize_t n = read(fd, got, sizeof got);
	CHECK(n >= 0);
	for (ssize_t i = 0; i < n; i++)
		CHECK(!got[i] || got[i] == byte_at((uint64_t)i));
	close(fd);
}

/* What was there, if it may not be replaced; nothing else after a dry run. */
static void check_policy(bool dry)
{
	static uint8_t got[3 * CHUNK];
	struct stat st;
	CHECK(cfg.quota == SIZE_UNSET || rx.m->bytes <= cfg.quota);
	rig.touched |= !dry;
	/* what a receiver of one file has beside it: its backup, and the state */
	CHECK(!rx.dest.single || scratch_count(top, "in") <= 3 + 3);
	if (rig.touched && cfg.overwrite != OVERWRITE_NO && !rx.dest.single)
		return;
	int fd = openat(top, "in/f", O_RDONLY | O_NOFOLLOW);
	CHECK(fd >= 0 && read(fd, got, sizeof got) == 2 * CHUNK && memcmp(got, pattern, 2 * CHUNK) == 0);
	close(fd);
	CHECK(fstatat(top, "in/l", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode));
	CHECK(rig.touched || scratch_count(top, "in") == 3);
}

/* ---- what the receiver says ---- */

static struct offered *file_of(uint64_t id)
{
	return id < rig.count ? &rig.file[id % FILES_MAX] : NULL;
}

static void heard_want(struct span body)
{
	struct frame_want w;
	struct frame_verdict v;
	CHECK(frame_get_want(body, &w) && w.first == rig.answered && w.first + w.count <= rig.count);
	struct rd r = rd_init(w.verdicts.p, w.verdicts.n);
	for (; rig.answered < w.first + w.count; rig.answered++) {
		struct offered *f = file_of(rig.answered);
		CHECK(frame_get_part_verdict(&r, &v) && v.action <= PLAN_COMPARE);
		f->action = v.action;
		f->asked = v.action == PLAN_SEND || v.action == PLAN_COMPARE;
		CHECK(v.action == PLAN_FAILED || rx.dest.single ||
		      !root_name_refused(f->path, strlen(f->path)));
	}
	CHECK(rd_done(&r));
}

static void heard(uint8_t type, struct span body)
{
	if (type == F_WANT)
		heard_want(body);
}

static void settled(const struct frame_outcome *o)
{
	struct offered *f = file_of(o->file);
	CHECK(f && f->asked && !f->settled);
	f->settled = true;
	if (o->code == 0) {
		CHECK(!f->spoiled);
		check_content(f);
	}
}

/* As the engine's loop does it, until nothing moves. */
static void pump(void)
{
	for (size_t before = SIZE_MAX;
	     before != rx.inbox_count || pool_count(rx.commit) || (pool_count(rx.workers) && !rx.held);) {
		before = rx.inbox_count;
		receiver_pump_jobs(&rx);
		receiver_pump_commits(&rx);
		receiver_pump_checkpoints(&rx);
		receiver_pump_needs(&rx);
		for (; rx.outcome_count; rx.outcome_count--) {
			settled(&rx.outcome[rx.outcome_head]);
			rx.outcome_head = (rx.outcome_head + 1) % OPEN_ENTRIES_MAX;
		}
	}
	talk_hear();
}

/* ---- what the sender says ---- */

/* Says something of f that may only be said of a file that was asked for and is not complete, nor too much. */
static void say_of(const struct offered *f, bool too_much, uint8_t type, uint32_t cost, const struct wr *w)
{
	bool never = !f->asked || f->whole || f->settled || too_much;
	talk_say_body(type, cost, w);
	CHECK(!never || talk.over || rx.stopped);
}

static void step_begin(struct rd *r)
{
	struct wr w = wr_init(talk.body, sizeof talk.body);
	frame_put_begin(&w, &(struct frame_begin){.seed = SEED,
						  .chunk = CHUNK,
						  .kind = 1 + rd_u8(r) % 2,
						  .compare = rd_u8(r) % 3,
						  .flags = rd_u8(r) % 32});
	talk_say_body(F_BEGIN, 0, &w);
}

/* One entry; what it shares with the one before is the script's to choose. */
static void put_entry(struct rd *r, struct wr *w, char *path, size_t *len)
{
	static const char *const word[16] = {"f", "g", "h", "d",     "l",     "d/x", "l/x",    "..",
					     ".", "",  "/", "é\x1b", ".haul", "/y",  "d/../z", "k"};
	static const uint64_t sizes[8] = {0, 1, 100, CHUNK, 2 * CHUNK, 3 * CHUNK + 100, 8u << 20, UINT64_MAX};
	uint8_t what = rd_u8(r), name = rd_u8(r), more = rd_u8(r);
	struct frame_entry e = {
		.type = 1 + what % 5, .sparse = what >> 7, .mode = 0700, .size = sizes[what >> 3 & 7]};
	char text[16];
	e.shared = name >> 4 < *len ? name >> 4 : (uint16_t)*len;
	int n = snprintf(text, sizeof text, "%s%s", word[name & 15], more & 1 ? "" : word[more >> 1 & 15]);
	if (more & 64)
		e.mode = 07777, e.mtime_s = -5, e.stamp = more;
	e.path = (struct span){(const uint8_t *)text, (size_t)n};
	if (e.type == ENTRY_SYMLINK)
		e.target = (struct span){(const uint8_t *)"../out/f", more & 128 ? 6 : 8};
	frame_put_entry(w, &e);
	CHECK((size_t)e.shared + (size_t)n < sizeof rig.file->path);
	memcpy(path + e.shared, text, (size_t)n + 1);
	*len = e.shared + (size_t)n;
	struct offered *f = &rig.file[rig.count++ % FILES_MAX];
	*f = (struct offered){.type = e.type, .size = e.size};
	memcpy(f->path, path, *len + 1);
}

static void step_offer(struct rd *r)
{
	char path[1024] = "";
	size_t len = 0;
	struct wr w = wr_init(talk.body, sizeof talk.body);
	uint16_t count = 1 + rd_u8(r) % 4;
	if (rig.count + count > FILES_MAX)
		return;
	frame_put_offer(&w, &(struct frame_offer){.first = rig.count, .count = count});
	for (uint16_t i = 0; i < count; i++)
		put_entry(r, &w, path, &len);
	talk_say_body(F_OFFER, 0, &w);
}

/* Chunk and length are right by default; see the bits of how. */
static void step_data(struct rd *r)
{
	static uint8_t bytes[CHUNK];
	uint8_t id = rd_u8(r), how = rd_u8(r), i = rd_u8(r) % 4;
	struct offered *f = file_of(id), none = {.size = CHUNK};
	f = f ? f : &none;
	struct frame_data d = {
		.file = id, .offset = (uint64_t)i * CHUNK, .raw = CHUNK, .payload = {bytes, CHUNK}};
	if (f->size > d.offset && f->size - d.offset < CHUNK)
		d.raw = (uint32_t)(f->size - d.offset);
	if (how & 1)
		d.offset = f->sent, d.raw = how % 251 + 1;
	d.payload.n = d.raw;
	for (size_t k = 0; k < d.raw; k++)
		bytes[k] = byte_at(d.offset + k);
	digest_chunk(SEED, bytes, d.raw, d.digest);
	if (!(how & 8)) /* else it was kept, and is asked for again */
		digest_sum_add(&f->sum, d.offset, d.digest);
	if (how & 2)
		bytes[how % d.raw] ^= 0x80, f->spoiled = true;
	if (how & 4)
		d.codec = CODEC_ZSTD;
	struct wr w = wr_init(talk.body, sizeof talk.body);
	frame_put_data(&w, &d);
	f->sent += how & 8 ? 0 : d.raw;
	say_of(f, d.offset + d.raw > f->size, F_DATA, d.raw, &w);
}

static void step_hole(struct rd *r)
{
	uint8_t id = rd_u8(r), at = rd_u8(r), n = rd_u8(r);
	struct offered *f = file_of(id), none = {0};
	struct wr w = wr_init(talk.body, sizeof talk.body);
	f = f ? f : &none;
	uint64_t offset = at & 128 ? f->sent : at * (uint64_t)CHUNK / 2;
	uint64_t length = n & 128 ? f->size - offset : n * (uint64_t)CHUNK / 2;
	f->sent += length;
	frame_put_hole(&w, &(struct frame_hole){id, offset, length});
	say_of(f, !length || length > f->size || offset > f->size - length, F_HOLE, 1, &w);
}

static void step_keep(struct rd *r)
{
	struct wr w = wr_init(talk.body, sizeof talk.body);
	uint8_t id = rd_u8(r), first = rd_u8(r), count = rd_u8(r);
	struct offered *f = file_of(id), none = {0};
	for (size_t i = first; f && i < (size_t)first + count && i < 4; i++) {
		uint8_t digest[DIGEST_BYTES];
		digest_chunk(SEED, pattern + i * CHUNK, CHUNK, digest);
		digest_sum_add(&f->sum, i * CHUNK, digest);
		f->sent += CHUNK;
	}
	frame_put_keep(&w, &(struct frame_keep){id, first, count});
	say_of(f ? f : &none, false, F_KEEP, 1, &w);
}

static void step_end(struct rd *r)
{
	uint8_t id = rd_u8(r), how = rd_u8(r);
	struct offered *f = file_of(id), none = {0};
	f = f ? f : &none;
	struct frame_end e = {.file = id, .size = how & 1 ? how : f->sent, .status = how & 2 ? how >> 6 : 0};
	digest_sum_end(&f->sum, e.size, e.digest);
	if (how & 4)
		e.digest[how % DIGEST_BYTES] ^= 1;
	/* one that was asked for a chunk again may end once more, and better */
	f->spoiled |= (e.status || how & 4) && f->action == PLAN_SEND;
	struct wr w = wr_init(talk.body, sizeof talk.body);
	frame_put_end(&w, &e);
	say_of(f, false, F_END, 1, &w);
	f->whole = f->action == PLAN_SEND; /* else a chunk may be asked for again */
}

static void step_pack(struct rd *r)
{
	static uint8_t raw[8 * CHUNK];
	struct wr w = wr_init(raw, sizeof raw);
	struct frame_packed p[3];
	uint16_t count = 1 + rd_u8(r) % 3;
	bool never = false;
	for (uint16_t i = 0; i < count; i++) {
		uint8_t id = rd_u8(r), how = rd_u8(r);
		struct offered *f = file_of(id), none = {0};
		f = f ? f : &none;
		p[i] = (struct frame_packed){.file = id, .size = (uint32_t)f->size % (2 * CHUNK)};
		p[i].size = how & 1 ? how : p[i].size;
		p[i].status = how & 2 ? how >> 6 : 0;
		digest_chunk(SEED, pattern, p[i].size, p[i].digest);
		if (how & 4)
			p[i].digest[how % DIGEST_BYTES] ^= 1;
		f->spoiled |= p[i].status || how & 4;
		never |= !f->asked || f->whole || f->settled;
		f->whole = true;
		frame_put_packed(&w, &p[i]);
	}
	for (uint16_t i = 0; i < count; i++)
		wr_bytes(&w, pattern, p[i].size);
	struct frame_pack pack = {.count = count, .raw = (uint32_t)w.n, .payload = {raw, w.n}};
	struct wr body = wr_init(talk.body, sizeof talk.body);
	frame_put_pack(&body, &pack);
	talk_say_body(F_PACK, pack.raw, &body);
	CHECK(!never || talk.over || rx.stopped);
}

static void step_end_all(struct rd *r)
{
	struct wr w = wr_init(talk.body, sizeof talk.body);
	if (rd_u8(r) & 1) {
		talk_say(F_FLUSH, 1, (struct span){0});
		return;
	}
	frame_put_finish(&w, &(struct frame_finish){0});
	talk_say_body(F_FINISH, 0, &w);
}

static void step_raw(struct rd *r)
{
	uint8_t type = talk_types[rd_u8(r) % sizeof talk_types], cost = rd_u8(r);
	struct span body = script_bytes(r, rd_u8(r));
	if (type == F_OFFER) /* its entries would not be known here */
		return;
	for (size_t i = 0; i < FILES_MAX; i++)
		rig.file[i].spoiled |= type == F_END && rig.file[i].action == PLAN_FAILED;
	talk_say(type, cost, body);
}

static void (*const steps[])(struct rd *) = {step_begin, step_offer, step_data,	   step_hole, step_keep,
					     step_end,	 step_pack,  step_end_all, step_raw};
#define AGAIN	     255
#define SESSIONS_MAX 4u

/* ---- a session ---- */

static const struct engine_ops ops = {.role = ROLE_RECEIVER, .message = receiver_message};

/* What lies in the state directory goes bad between two sessions: one byte of each file. */
static void damage(const char *end, uint16_t at)
{
	int state = openat(top, "in/.haul", O_RDONLY | O_DIRECTORY);
	DIR *d = state < 0 ? NULL : fdopendir(state);
	for (struct dirent *e; d && (e = readdir(d));) {
		uint8_t b;
		const char *dot = strrchr(e->d_name, '.');
		int fd = dot && strcmp(dot, end) == 0 ? openat(state, e->d_name, O_RDWR) : -1;
		if (fd >= 0 && pread(fd, &b, 1, at) == 1) {
			b ^= 0xff;
			CHECK(pwrite(fd, &b, 1, at) == 1);
		}
		if (fd >= 0)
			close(fd);
	}
	if (d)
		closedir(d);
}

static void begin(uint8_t flags)
{
	struct haul_err err = {0};
	struct pool *workers = rx.workers, *commit = rx.commit;
	cfg = talk_config();
	cfg.quota = flags & 1 ? 3 * CHUNK : SIZE_UNSET;
	cfg.overwrite = flags & 2 ? OVERWRITE_NO : flags & 4 ? OVERWRITE_BACKUP : OVERWRITE_YES;
	cfg.sync = flags & 8 ? SYNC_NONE : SYNC_BATCH;
	memset(&rx, 0, sizeof rx);
	memset(rig.file, 0, sizeof rig.file);
	rig.count = rig.answered = 0;
	rx.cfg = &cfg;
	rx.m = &rx.engine.metrics;
	rx.have_tail = &rx.have_head;
	talk.pump = pump;
	talk.heard = heard;
	talk_begin(&rx.engine, &cfg, &ops, &rx);
	rx.set = (struct receiver_setup){
		.cfg = &cfg, .bus = rx.engine.set.bus, .session_id = talk_id, .dir = inside};
	CHECK(dest_init(&rx.dest, &cfg, rx.engine.blocks, talk_id, &err) == HAUL_OK);
	CHECK(root_open(inside, NULL, &rx.dest.root, &err) == HAUL_OK);
	rx.dest.single = flags & 16;
	rx.dest.only = flags & 16 ? "k" : NULL;
	rx.workers = workers ? workers : pool_new(&dest_ops, &rx.dest, 1, 4, true);
	rx.commit = commit ? commit : pool_new(&receiver_commit_ops, &rx, 1, COMMIT_DEPTH, true);
	CHECK(rx.workers && rx.commit);
}

static void end(void)
{
	struct dest_job *job;
	struct commit_job *commit;
	while ((job = pool_take(rx.workers)))
		dest_job_free(job);
	while ((commit = pool_take(rx.commit)))
		receiver_free_commit_job(commit);
	receiver_record_last(&rx);
	dest_job_free(rx.held);
	for (size_t i = 0; i < rx.inbox_count; i++)
		dest_job_free(rx.inbox[(rx.inbox_head + i) % LINK_MESSAGES_MAX]);
	free(rx.batch);
	rx.dest.abandon_streams = true;
	bool dry = rx.dest.flags & 1;
	dest_free(&rx.dest);
	check_policy(dry);
	engine_free(&rx.engine);
	if (faccessat(top, "in/.haul", F_OK, 0) == 0)
		CHECK(scratch_count(top, "in/.haul") % 2 == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct rd r = rd_init(p, n);
	uint8_t flags = rd_u8(&r);
	if (top < 0)
		make_top();
	make_inside();
	rig.touched = false;
	begin(flags);
	for (unsigned sessions = 1; r.n && !r.bad;) {
		uint8_t op = rd_u8(&r);
		if (op == AGAIN && sessions++ < SESSIONS_MAX) {
			uint8_t bad = rd_u8(&r);
			end();
			if (bad)
				damage(bad & 1 ? ".j" : ".part", rd_u16(&r));
			begin(flags);
		} else if (!talk.over) {
			steps[op % (sizeof steps / sizeof *steps)](&r);
		}
	}
	end();
	check_outside();
	return 0;
}
