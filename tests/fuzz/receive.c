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
#include "fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/plan.h"
#include "lib/receiver_impl.h"
#include "lib/walk.h"

#define CHUNK	  CHUNK_MIN_BYTES
#define SEED	  5u
#define FILES_MAX 64u
#define BODY_MAX  (64u << 10)

/* What this sender knows of an entry it offered, and has done to it. */
struct offered {
	char path[512];
	uint8_t type, action; /* of its verdict */
	uint64_t size, sent;
	struct digest_sum sum;
	bool spoiled; /* must not be committed */
	bool asked, settled;
};

static struct receiver rx;
static struct {
	struct offered file[FILES_MAX];
	uint64_t count, answered, at; /* at: of the link */
	struct seal seal, hears;
	uint8_t said[2u << 20];
	size_t said_n;
	bool over;
	bool touched; /* by a session that was no dry run */
} rig;

static struct haul_config cfg;
static struct event_bus bus;
static char top[64], inside[72], outside[72];

/* All files hold the same. */
static uint8_t pattern[CHUNK * 4];

static uint8_t byte_at(uint64_t offset)
{
	return (uint8_t)(1 + offset % 251);
}

/* ---- the directory ---- */

static void empty(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	for (struct dirent *e; d && (e = readdir(d));) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (unlinkat(fd, e->d_name, 0) == 0)
			continue;
		if (fchmodat(fd, e->d_name, 0700, 0) < 0)
			continue;
		empty(fd, e->d_name);
		(void)unlinkat(fd, e->d_name, AT_REMOVEDIR);
	}
	if (d)
		closedir(d);
}

static void remove_top(void)
{
	empty(AT_FDCWD, top);
	rmdir(top);
}

static void put_file(const char *path, const void *p, size_t n)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
	CHECK(fd >= 0 && write(fd, p, n) == (ssize_t)n);
	close(fd);
}

/* An old version, a directory, and a way out. */
static void make_inside(void)
{
	char path[128];
	empty(AT_FDCWD, inside);
	snprintf(path, sizeof path, "%s/d", inside);
	CHECK(mkdir(path, 0700) == 0);
	snprintf(path, sizeof path, "%s/l", inside);
	CHECK(symlink("../out", path) == 0);
	snprintf(path, sizeof path, "%s/f", inside);
	put_file(path, pattern, 2 * CHUNK);
}

static void make_top(void)
{
	char path[128];
	snprintf(top, sizeof top, "%s",
		 access("/dev/shm", W_OK) ? "/tmp/recv-XXXXXX" : "/dev/shm/recv-XXXXXX");
	CHECK(mkdtemp(top));
	atexit(remove_top);
	snprintf(inside, sizeof inside, "%s/in", top);
	snprintf(outside, sizeof outside, "%s/out", top);
	CHECK(mkdir(inside, 0700) == 0 && mkdir(outside, 0700) == 0);
	snprintf(path, sizeof path, "%s/f", outside);
	put_file(path, "sentinel", 8);
	for (size_t i = 0; i < sizeof pattern; i++)
		pattern[i] = byte_at(i);
}

static size_t names_in(const char *path)
{
	size_t n = 0;
	DIR *d = opendir(path);
	CHECK(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static void check_outside(void)
{
	char path[128], got[16];
	snprintf(path, sizeof path, "%s/f", outside);
	int fd = open(path, O_RDONLY);
	CHECK(fd >= 0 && read(fd, got, sizeof got) == 8 && memcmp(got, "sentinel", 8) == 0);
	close(fd);
	CHECK(names_in(top) == 2 && names_in(outside) == 1);
}

/* Byte by byte what was sent at that place, or a hole. */
static void check_content(const struct offered *f)
{
	static uint8_t got[sizeof pattern];
	struct stat st;
	char path[1024];
	snprintf(path, sizeof path, "%s/%s", inside, f->path);
	int fd = open(path, O_RDONLY | O_NOFOLLOW);
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
	char path[128];
	struct stat st;
	CHECK(cfg.quota == SIZE_UNSET || rx.m->bytes <= cfg.quota);
	rig.touched |= !dry;
	if (rig.touched && cfg.overwrite != OVERWRITE_NO)
		return;
	snprintf(path, sizeof path, "%s/f", inside);
	int fd = open(path, O_RDONLY | O_NOFOLLOW);
	CHECK(fd >= 0 && read(fd, got, sizeof got) == 2 * CHUNK && memcmp(got, pattern, 2 * CHUNK) == 0);
	close(fd);
	snprintf(path, sizeof path, "%s/l", inside);
	CHECK(lstat(path, &st) == 0 && S_ISLNK(st.st_mode));
	CHECK(rig.touched || names_in(inside) == 3);
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
		CHECK(v.action == PLAN_FAILED || !root_name_refused(f->path, strlen(f->path)));
	}
	CHECK(rd_done(&r));
}

static void hear_record(size_t len)
{
	struct frame_head h;
	size_t n;
	CHECK(seal_open(&rig.hears, rig.said + RECORD_LEN_BYTES, len, &n));
	CHECK(!frame_head_get(rig.said + RECORD_LEN_BYTES, &h));
	struct span body = {rig.said + RECORD_LEN_BYTES + FRAME_HEAD_BYTES, n};
	if (h.type == F_WANT)
		heard_want(body);
}

static void hear(void)
{
	struct iovec iov[CHANNEL_IOV_MAX];
	for (size_t n; (n = link_gather(&rx.engine.link, engine_now_ms(), iov));) {
		size_t all = 0;
		for (size_t i = 0; i < n; all += iov[i++].iov_len) {
			CHECK(rig.said_n + iov[i].iov_len <= sizeof rig.said);
			memcpy(rig.said + rig.said_n, iov[i].iov_base, iov[i].iov_len);
			rig.said_n += iov[i].iov_len;
		}
		link_wrote(&rx.engine.link, all);
		for (;;) {
			struct rd length = rd_init(rig.said, rig.said_n);
			size_t len = rd_u32(&length);
			if (length.bad || length.n < len)
				break;
			hear_record(len);
			rig.said_n -= RECORD_LEN_BYTES + len;
			memmove(rig.said, rig.said + RECORD_LEN_BYTES + len, rig.said_n);
		}
	}
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
	hear();
	rig.over |= rx.engine.err.rc != HAUL_OK;
}

/* ---- what the sender says ---- */

static void deliver(void)
{
	struct link_event ev;
	struct wire_err err = {0};
	enum wire_rc rc;
	while (!rig.over && (rc = link_next(&rx.engine.link, engine_now_ms(), &ev, &err)) != WIRE_MORE) {
		rig.over |= rc != WIRE_OK;
		if (rc != WIRE_OK || ev.type != LINK_MESSAGE)
			continue;
		if (engine_step(&rx.engine, ev.frame, ROLE_SENDER) == HAUL_OK)
			receiver_message(&rx, &ev);
		else
			buf_put(ev.body);
	}
	pump();
}

static void say(uint8_t type, uint32_t cost, struct span body)
{
	static uint8_t record[RECORD_LEN_BYTES + FRAME_HEAD_BYTES + BODY_MAX + RECORD_TAG_MAX_BYTES];
	struct frame_head h = {.type = type, .body_len = (uint32_t)body.n};
	CHECK(body.n <= BODY_MAX);
	if (frame_class_of(type) == FRAME_CLASS_MESSAGE) {
		h.cost = cost ? cost : 1;
		h.offset = rig.at;
		rig.at += h.cost;
	}
	frame_head_put(record + RECORD_LEN_BYTES, &h);
	if (body.n)
		memcpy(record + RECORD_LEN_BYTES + FRAME_HEAD_BYTES, body.p, body.n);
	CHECK(seal_whole(&rig.seal, record, FRAME_HEAD_BYTES + body.n));
	size_t left = RECORD_LEN_BYTES + FRAME_HEAD_BYTES + body.n + seal_tag_bytes(&rig.seal);
	for (const uint8_t *p = record; left && !rig.over;) {
		struct iovec iov[2];
		CHECK(link_space(&rx.engine.link, iov) > 0 && iov[0].iov_len);
		size_t n = iov[0].iov_len < left ? iov[0].iov_len : left;
		memcpy(iov[0].iov_base, p, n);
		link_filled(&rx.engine.link, n, engine_now_ms());
		deliver();
		p += n;
		left -= n;
	}
}

static void say_body(uint8_t type, uint32_t cost, const struct wr *w)
{
	CHECK(!w->bad);
	say(type, cost, (struct span){w->p, w->n});
}

static uint8_t out[BODY_MAX];

static void step_begin(struct rd *r)
{
	struct wr w = wr_init(out, sizeof out);
	frame_put_begin(&w, &(struct frame_begin){.seed = SEED,
						  .chunk = CHUNK,
						  .kind = 1 + rd_u8(r) % 2,
						  .compare = rd_u8(r) % 3,
						  .flags = rd_u8(r) % 32});
	say_body(F_BEGIN, (uint32_t)w.n, &w);
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
	struct wr w = wr_init(out, sizeof out);
	uint16_t count = 1 + rd_u8(r) % 4;
	if (rig.count + count > FILES_MAX)
		return;
	frame_put_offer(&w, &(struct frame_offer){.first = rig.count, .count = count});
	for (uint16_t i = 0; i < count; i++)
		put_entry(r, &w, path, &len);
	say_body(F_OFFER, (uint32_t)w.n, &w);
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
	struct wr w = wr_init(out, sizeof out);
	frame_put_data(&w, &d);
	f->sent += how & 8 ? 0 : d.raw;
	say_body(F_DATA, d.raw, &w);
}

static void step_hole(struct rd *r)
{
	uint8_t id = rd_u8(r), at = rd_u8(r), n = rd_u8(r);
	struct offered *f = file_of(id), none = {0};
	struct wr w = wr_init(out, sizeof out);
	f = f ? f : &none;
	uint64_t offset = at & 128 ? f->sent : at * (uint64_t)CHUNK / 2;
	uint64_t length = n & 128 ? f->size - offset : n * (uint64_t)CHUNK / 2;
	f->sent += length;
	frame_put_hole(&w, &(struct frame_hole){id, offset, length});
	say_body(F_HOLE, 1, &w);
}

static void step_keep(struct rd *r)
{
	struct wr w = wr_init(out, sizeof out);
	uint8_t id = rd_u8(r), first = rd_u8(r), count = rd_u8(r);
	struct offered *f = file_of(id);
	for (size_t i = first; f && i < (size_t)first + count && i < 4; i++) {
		uint8_t digest[DIGEST_BYTES];
		digest_chunk(SEED, pattern + i * CHUNK, CHUNK, digest);
		digest_sum_add(&f->sum, i * CHUNK, digest);
		f->sent += CHUNK;
	}
	frame_put_keep(&w, &(struct frame_keep){id, first, count});
	say_body(F_KEEP, 1, &w);
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
	struct wr w = wr_init(out, sizeof out);
	frame_put_end(&w, &e);
	say_body(F_END, 1, &w);
}

static void step_pack(struct rd *r)
{
	static uint8_t raw[8 * CHUNK];
	struct wr w = wr_init(raw, sizeof raw);
	struct frame_packed p[3];
	uint16_t count = 1 + rd_u8(r) % 3;
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
		frame_put_packed(&w, &p[i]);
	}
	for (uint16_t i = 0; i < count; i++)
		wr_bytes(&w, pattern, p[i].size);
	struct frame_pack pack = {.count = count, .raw = (uint32_t)w.n, .payload = {raw, w.n}};
	struct wr body = wr_init(out, sizeof out);
	frame_put_pack(&body, &pack);
	say_body(F_PACK, (uint32_t)w.n, &body);
}

static void step_end_all(struct rd *r)
{
	struct wr w = wr_init(out, sizeof out);
	if (rd_u8(r) & 1) {
		say(F_FLUSH, 1, (struct span){out, 0});
		return;
	}
	frame_put_finish(&w, &(struct frame_finish){0});
	say_body(F_FINISH, (uint32_t)w.n, &w);
}

static void step_raw(struct rd *r)
{
	static const uint8_t types[] = {
#define FRAME(lower, UPPER, id, class, doc) id,
#include "wire/frames.def"
	};
	uint8_t type = types[rd_u8(r) % sizeof types], cost = rd_u8(r);
	struct span body = script_bytes(r, rd_u8(r));
	if (type == F_OFFER) /* its entries would not be known here */
		return;
	for (size_t i = 0; i < FILES_MAX; i++)
		rig.file[i].spoiled |= type == F_END && rig.file[i].action == PLAN_FAILED;
	say(type, cost, body);
}

static void (*const steps[])(struct rd *) = {step_begin, step_offer, step_data,	   step_hole, step_keep,
					     step_end,	 step_pack,  step_end_all, step_raw};
#define AGAIN	     255
#define SESSIONS_MAX 4u

/* ---- a session ---- */

static const struct engine_ops ops = {.role = ROLE_RECEIVER};

/* What lies in the state directory goes bad between two sessions: one byte of each file. */
static void damage(const char *end, uint16_t at)
{
	char path[128];
	snprintf(path, sizeof path, "%s/.haul", inside);
	DIR *d = opendir(path);
	for (struct dirent *e; d && (e = readdir(d));) {
		uint8_t b;
		const char *dot = strrchr(e->d_name, '.');
		int fd = dot && strcmp(dot, end) == 0 ? openat(dirfd(d), e->d_name, O_RDWR) : -1;
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
	static const uint8_t id[16] = {1};
	struct haul_err err = {0};
	struct handshake hs = {.peer = {.max_body = RECORD_BODY_MAX_BYTES}};
	struct wire_err wire = {0};
	cfg = (struct haul_config){.window = 1u << 20,
				   .ring = 1u << 20,
				   .reconnect_ms = 1000,
				   .credit_wait_ms = DURATION_INF,
				   .idle_ms = DURATION_INF,
				   .connect_ms = 1000,
				   .deadline_ms = DURATION_INF,
				   .chunk = CHUNK,
				   .jobs = 1,
				   .quota = flags & 1 ? 3 * CHUNK : SIZE_UNSET,
				   .overwrite = flags >> 1 & 1	 ? OVERWRITE_NO
						: flags >> 2 & 1 ? OVERWRITE_BACKUP
								 : OVERWRITE_YES,
				   .sync = flags & 8 ? SYNC_NONE : SYNC_BATCH};
	struct engine_setup es = {.cfg = &cfg,
				  .bus = &bus,
				  .ops = &ops,
				  .self = &rx,
				  .session_id = id,
				  .handoff_fd = -1,
				  .signal_fd = -1};
	struct pool *workers = rx.workers, *commit = rx.commit;
	memset(&rx, 0, sizeof rx);
	memset(rig.file, 0, sizeof rig.file);
	rig.count = rig.answered = rig.at = rig.said_n = 0;
	rig.over = false;
	rig.seal = rig.hears = (struct seal){0};
	rx.set = (struct receiver_setup){.cfg = &cfg, .bus = &bus, .session_id = id, .dir = inside};
	rx.cfg = &cfg;
	rx.m = &rx.engine.metrics;
	rx.have_tail = &rx.have_head;
	CHECK(engine_init(&rx.engine, &es) == HAUL_OK);
	CHECK(dest_init(&rx.dest, &cfg, rx.engine.blocks, id, &err) == HAUL_OK);
	CHECK(root_open(inside, NULL, &rx.dest.root, &err) == HAUL_OK);
	rx.workers = workers ? workers : pool_new(&dest_ops, &rx.dest, 1, 4, true);
	rx.commit = commit ? commit : pool_new(&receiver_commit_ops, &rx, 1, COMMIT_DEPTH, true);
	CHECK(rx.workers && rx.commit);
	link_grant(&rx.engine.link);
	CHECK(link_attach(&rx.engine.link, &hs, 0, 1u << 30, engine_now_ms(), &wire) == WIRE_OK);
}

static void end(void)
{
	struct dest_job *job;
	struct commit_job *commit;
	char path[128];
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
	snprintf(path, sizeof path, "%s/.haul", inside);
	if (access(path, F_OK) == 0)
		CHECK(names_in(path) % 2 == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct rd r = rd_init(p, n);
	uint8_t flags = rd_u8(&r);
	if (!top[0]) {
		static const uint8_t id[16] = {1};
		make_top();
		event_bus_init(&bus, id);
	}
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
		} else if (!rig.over) {
			steps[op % (sizeof steps / sizeof *steps)](&r);
		}
	}
	end();
	check_outside();
	return 0;
}
