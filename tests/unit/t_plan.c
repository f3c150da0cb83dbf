/*
 * lib/plan and lib/dest: every verdict on an entry, small files and chunks written and committed, and what a
 * peer may send that is malformed. The workers' entry points are called here without their threads.
 */
#include "unit.h"

#include <dirent.h>
#include <errno.h>

#include "lib/codec.h"
#include "lib/dest.h"
#include "lib/plan.h"
#include "lib/pool.h"
#include "lib/walk.h"
#include "mutate.h"

#define CHUNK 65536u
#define SEED  99u
#define T0    1700000000

static struct haul_config cfg;
static unsigned tells; /* of BEGIN */
static struct dest *dest;
static struct blocks *blocks;
static void *worker;

static void dest_begin(void)
{
	static const uint8_t id[16] = {1};
	struct haul_err err = {0};
	dest = malloc(sizeof *dest);
	assert_non_null(dest);
	assert_int_equal(dest_init(dest, &cfg, blocks, id, &err), HAUL_OK);
	assert_int_equal(root_open("dst", NULL, &dest->root, &err), HAUL_OK);
	dest->seed = SEED;
	dest->chunk = CHUNK;
	worker = dest_ops.worker_new(dest);
}

static void dest_over(void)
{
	dest_ops.worker_free(worker);
	dest_free(dest);
	free(dest);
}

static struct dest_job *job_new(enum dest_job_kind kind, const uint8_t *body, size_t n)
{
	struct dest_job *job = calloc(1, sizeof *job);
	assert_non_null(job);
	job->kind = kind;
	job->body = buf_malloc(NULL, n ? n : 1);
	assert_non_null(job->body);
	if (n)
		memcpy(job->body->data, body, n);
	job->body->len = n;
	return job;
}

static const char *run(struct dest_job *job)
{
	dest_ops.run(dest, worker, job);
	return job->violation;
}

static struct span span_of(const char *text)
{
	return (struct span){(const uint8_t *)text, strlen(text)};
}

/* ---- verdicts ---- */

static struct frame_entry entry(enum entry_type type, const char *path, uint64_t size)
{
	return (struct frame_entry){.type = (uint8_t)type,
				    .mode = 0644,
				    .size = size,
				    .mtime_s = T0,
				    .path = span_of(path),
				    .target = span_of(type == ENTRY_SYMLINK ? "target" : "")};
}

static size_t put_offer(uint8_t *out, size_t cap, const struct frame_entry *e, size_t n)
{
	struct wr w = wr_init(out, cap);
	frame_put_offer(&w, &(struct frame_offer){.first = 0, .count = (uint16_t)n});
	for (size_t i = 0; i < n; i++)
		frame_put_entry(&w, &e[i]);
	assert_false(w.bad);
	return w.n;
}

/* What the receiver has looked at before a worker gets the job: see on_offer. */
static struct dest_job *plan(const uint8_t *body, size_t n)
{
	struct dest_job *job = job_new(DEST_PLAN, body, n);
	struct frame_offer offer = {0};
	if (frame_get_offer((struct span){body, n}, &offer)) {
		job->first = offer.first;
		job->count = offer.count;
	}
	if (offer.count <= OFFER_ENTRIES_MAX)
		run(job);
	else
		job->violation = "malformed OFFER";
	return job;
}

/* The verdict on one entry by a receiver of its own; its violation instead, if there is one. */
static struct frame_verdict verdict_on(struct frame_entry e, unsigned flags, unsigned compare,
				       const char **violation)
{
	uint8_t body[16384];
	struct frame_want want;
	struct frame_verdict v = {0};
	dest_begin();
	dest->flags = (uint16_t)flags;
	dest->compare = (uint8_t)compare;
	dest->meta.tells = tells;
	struct dest_job *job = plan(body, put_offer(body, sizeof body, &e, 1));
	*violation = job->violation;
	if (!job->violation) {
		assert_true(frame_get_want((struct span){buf_bytes(job->out), job->out->len}, &want));
		assert_int_equal(want.count, 1);
		struct rd r = rd_init(want.verdicts.p, want.verdicts.n);
		assert_true(frame_get_part_verdict(&r, &v) && rd_done(&r));
		assert_int_equal(v.action, job->planned[0].action);
	}
	dest_job_free(job);
	dest_over();
	return v;
}

static void set_mtime(const char *path, time_t s)
{
	const struct timespec times[2] = {{s, 0}, {s, 0}};
	assert_int_equal(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW), 0);
}

static void set_the_scene(void)
{
	static uint8_t large[3 * CHUNK];
	assert_int_equal(system("rm -rf dst"), 0);
	mkdir("dst", 0755);
	put_file("dst/same", "12345", 5);
	chmod("dst/same", 0600);
	put_file("dst/old", "12345", 5);
	put_file("dst/new", "12345", 5);
	put_file("dst/large", large, sizeof large);
	mkdir("dst/dir", 0755);
	mkfifo("dst/fifo", 0600);
	assert_int_equal(symlink("/nowhere", "dst/link"), 0);
	assert_int_equal(symlink("/tmp", "dst/out"), 0);
	set_mtime("dst/same", T0);
	set_mtime("dst/old", T0 - 100);
	set_mtime("dst/new", T0 + 100);
}

enum { DRY = 1, NEWER = 2, IGNORE_EXISTING = 4, EXISTING = 8, WHOLE = 16 };

static void every_verdict(void **state)
{
	static const struct {
		int type;
		const char *path;
		uint64_t size;
		unsigned flags, compare;
		int overwrite, action, code, sys;
	} table[] = {
		{ENTRY_FILE, "absent", 5, 0, 0, OVERWRITE_YES, PLAN_SEND, 0, 0},
		{ENTRY_FILE, "a/b/absent", 5, 0, 0, OVERWRITE_YES, PLAN_SEND, 0, 0},
		{ENTRY_FILE, "absent", 5, EXISTING, 0, OVERWRITE_YES, PLAN_SKIP, 0, 0},
		{ENTRY_FILE, "same", 5, 0, 0, OVERWRITE_YES, PLAN_SKIP, 0, 0},
		{ENTRY_FILE, "same", 5, 0, 0, OVERWRITE_NO, PLAN_SKIP, 0, 0},
		{ENTRY_FILE, "same", 6, 0, 0, OVERWRITE_YES, PLAN_SEND, 0, 0},
		{ENTRY_FILE, "same", 6, 0, 0, OVERWRITE_NO, PLAN_FAILED, 4, EEXIST},
		{ENTRY_FILE, "same", 6, IGNORE_EXISTING, 0, OVERWRITE_YES, PLAN_SKIP, 0, 0},
		{ENTRY_FILE, "old", 5, 0, 0, OVERWRITE_YES, PLAN_SEND, 0, 0},
		{ENTRY_FILE, "old", 5, 0, 1, OVERWRITE_YES, PLAN_SKIP, 0, 0},
		{ENTRY_FILE, "old", 5, NEWER, 0, OVERWRITE_YES, PLAN_SEND, 0, 0},
		{ENTRY_FILE, "new", 5, NEWER, 0, OVERWRITE_YES, PLAN_SKIP, 0, 0},
		{ENTRY_FILE, "dir", 5, 0, 0, OVERWRITE_YES, PLAN_FAILED, 11, EISDIR},
		{ENTRY_FILE, "fifo", 5, 0, 0, OVERWRITE_YES, PLAN_FAILED, 4, EEXIST},
		{ENTRY_FILE, "link", 5, 0, 0, OVERWRITE_YES, PLAN_SEND, 0, 0},
		{ENTRY_FILE, "old/below", 5, 0, 0, OVERWRITE_YES, PLAN_FAILED, 11, ENOTDIR},
		{ENTRY_FILE, "large", 3 * CHUNK, WHOLE, 0, OVERWRITE_YES, PLAN_SEND, 0, 0},
		{ENTRY_FILE, "large", 3 * CHUNK, 0, 0, OVERWRITE_YES, 4, 0, 0},
		{ENTRY_FILE, "large", 5 * CHUNK, 0, 0, OVERWRITE_YES, 4, 0, 0},
		{ENTRY_DIR, "dir", 0, 0, 0, OVERWRITE_YES, PLAN_DONE, 0, 0},
		{ENTRY_DIR, "fresh/dir", 0, 0, 0, OVERWRITE_YES, PLAN_DONE, 0, 0},
		{ENTRY_DIR, "old", 0, 0, 0, OVERWRITE_YES, PLAN_FAILED, 11, EEXIST},
		{ENTRY_DIR, "dry", 0, DRY, 0, OVERWRITE_YES, PLAN_DONE, 0, 0},
		{ENTRY_DIR_END, "dir", 0, 0, 0, OVERWRITE_YES, PLAN_DONE, 0, 0},
		{ENTRY_SYMLINK, "fresh-link", 0, 0, 0, OVERWRITE_YES, PLAN_DONE, 0, 0},
		{ENTRY_SYMLINK, "dir", 0, 0, 0, OVERWRITE_YES, PLAN_FAILED, 11, EISDIR},
		{ENTRY_SYMLINK, "dry-link", 0, DRY, 0, OVERWRITE_YES, PLAN_DONE, 0, 0},
		{ENTRY_STREAM, "stream", UINT64_MAX, 0, 0, OVERWRITE_YES, PLAN_SEND, 0, 0},
		{ENTRY_STREAM, "dir", UINT64_MAX, 0, 0, OVERWRITE_YES, PLAN_FAILED, 11, EISDIR},
		{ENTRY_STREAM, "old", UINT64_MAX, 0, 0, OVERWRITE_NO, PLAN_FAILED, 4, EEXIST},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(table); i++) {
		const char *why;
		set_the_scene();
		cfg.overwrite = (enum overwrite_mode)table[i].overwrite;
		struct frame_verdict v =
			verdict_on(entry((enum entry_type)table[i].type, table[i].path, table[i].size),
				   table[i].flags, table[i].compare, &why);
		if (why || v.action != table[i].action || v.code != table[i].code || v.sys != table[i].sys)
			fail_msg("row %zu (%s): %s, action %d code %d sys %d", i, table[i].path,
				 why ? why : "fine", v.action, v.code, v.sys);
	}
	cfg.overwrite = OVERWRITE_YES;
	assert_int_equal(access("dst/dry", F_OK), -1);
	assert_int_equal(access("dst/dry-link", F_OK), -1);
}

/* One more name of a file: only of a regular file below DIR that is what the sender says. */
static void links(void **state)
{
	static const struct {
		const char *path, *target;
		uint64_t size;
		unsigned flags;
		int overwrite, action, code, sys;
	} table[] = {
		{"more", "same", 5, 0, OVERWRITE_YES, PLAN_DONE, 0, 0},
		{"deep/er/more", "same", 5, 0, OVERWRITE_YES, PLAN_DONE, 0, 0},
		{"old", "same", 5, 0, OVERWRITE_YES, PLAN_DONE, 0, 0},
		{"old", "same", 5, 0, OVERWRITE_BACKUP, PLAN_DONE, 0, 0},
		{"link", "same", 5, 0, OVERWRITE_YES, PLAN_DONE, 0, 0},
		{"old", "same", 5, 0, OVERWRITE_NO, PLAN_FAILED, 4, EEXIST},
		{"more", "same", 5, 0, OVERWRITE_NO, PLAN_DONE, 0, 0},
		{"same", "same", 5, 0, OVERWRITE_NO, PLAN_SKIP, 0, 0},
		{"twin", "same", 5, 0, OVERWRITE_NO, PLAN_SKIP, 0, 0},
		{"more", "same", 5, EXISTING, OVERWRITE_YES, PLAN_SKIP, 0, 0},
		{"old", "same", 5, IGNORE_EXISTING, OVERWRITE_YES, PLAN_SKIP, 0, 0},
		{"new", "same", 5, NEWER, OVERWRITE_YES, PLAN_SKIP, 0, 0},
		{"dry", "same", 5, DRY, OVERWRITE_YES, PLAN_DONE, 0, 0},
		{"more", "same", 6, 0, OVERWRITE_YES, PLAN_ALONE, 0, 0},
		{"more", "old", 5, 0, OVERWRITE_YES, PLAN_ALONE, 0, 0},
		{"more", "dir", 5, 0, OVERWRITE_YES, PLAN_ALONE, 0, 0},
		{"more", "fifo", 5, 0, OVERWRITE_YES, PLAN_ALONE, 0, 0},
		{"more", "link", 8, 0, OVERWRITE_YES, PLAN_ALONE, 0, 0},
		{"more", "absent", 5, 0, OVERWRITE_YES, PLAN_ALONE, 0, 0},
		{"more", "out/x", 5, 0, OVERWRITE_YES, PLAN_ALONE, 0, 0},
		{"more", "../outside", 5, 0, OVERWRITE_YES, PLAN_FAILED, 4, EINVAL},
		{"more", "/etc/passwd", 5, 0, OVERWRITE_YES, PLAN_FAILED, 4, EINVAL},
		{"more", ".haul/x", 5, 0, OVERWRITE_YES, PLAN_FAILED, 4, EINVAL},
		{"more", "", 5, 0, OVERWRITE_YES, PLAN_FAILED, 4, EINVAL},
		{"../more", "same", 5, 0, OVERWRITE_YES, PLAN_FAILED, 4, EINVAL},
		{"dir", "same", 5, 0, OVERWRITE_YES, PLAN_FAILED, 11, EISDIR},
		{"fifo", "same", 5, 0, OVERWRITE_YES, PLAN_FAILED, 11, EEXIST},
	};
	const char *why;
	struct stat first, more;
	char old[8];
	(void)state;
	tells = TELLS_LINKS;
	for (size_t i = 0; i < COUNT(table); i++) {
		set_the_scene();
		assert_int_equal(link("dst/same", "dst/twin"), 0);
		cfg.overwrite = (enum overwrite_mode)table[i].overwrite;
		struct frame_entry e = entry(ENTRY_LINK, table[i].path, table[i].size);
		e.target = span_of(table[i].target);
		struct frame_verdict v = verdict_on(e, table[i].flags, 0, &why);
		if (why || v.action != table[i].action || v.code != table[i].code || v.sys != table[i].sys)
			fail_msg("row %zu (%s): %s, action %d code %d sys %d", i, table[i].path,
				 why ? why : "fine", v.action, v.code, v.sys);
		char path[64];
		snprintf(path, sizeof path, "dst/%s", table[i].path);
		assert_int_equal(access("dst/.haul", F_OK), -1); /* nothing is left of how it was made */
		assert_int_equal(stat("dst/same", &first), 0);
		bool is = stat(path, &more) == 0 && more.st_ino == first.st_ino;
		bool linked = v.action == PLAN_DONE && !(table[i].flags & DRY);
		assert_int_equal(is,
				 linked || strcmp(path, "dst/same") == 0 || strcmp(path, "dst/twin") == 0);
		if (table[i].overwrite == OVERWRITE_BACKUP)
			assert_int_equal(get_file("dst/old~", old, sizeof old), 5);
	}
	cfg.overwrite = OVERWRITE_YES;
	tells = 0; /* not announced */
	struct frame_entry e = entry(ENTRY_LINK, "more", 5);
	e.target = span_of("same");
	verdict_on(e, 0, 0, &why);
	assert_string_equal(why, "an entry of an unknown type");
}

static void refused_names(void **state)
{
	static const char *const bad[] = {"",	  "/etc/passwd", "..",	  "../x",    "a/../../x", ".",
					  "a//b", "a/",		 ".haul", ".haul/x", "a/./b",	  "/"};
	const char *why;
	(void)state;
	set_the_scene();
	for (size_t i = 0; i < COUNT(bad); i++)
		for (int type = ENTRY_FILE; type <= ENTRY_STREAM; type++) {
			struct frame_verdict v =
				verdict_on(entry((enum entry_type)type, bad[i], 1), 0, 0, &why);
			assert_null(why);
			assert_int_equal(v.action, PLAN_FAILED);
			assert_int_equal(v.code, 4);
		}
	/* a symlink in the destination leads nowhere */
	struct frame_verdict v = verdict_on(entry(ENTRY_FILE, "out/x", 1), 0, 0, &why);
	assert_int_equal(v.action, PLAN_FAILED);
	v = verdict_on(entry(ENTRY_DIR, "out/haul-unit-dir", 0), 0, 0, &why);
	assert_int_equal(v.action, PLAN_FAILED);
	assert_int_equal(access("/tmp/haul-unit-dir", F_OK), -1);
	struct frame_entry e = entry(ENTRY_SYMLINK, "no-target", 0);
	e.target = span_of("");
	v = verdict_on(e, 0, 0, &why);
	assert_int_equal(v.action, PLAN_FAILED);
	e.target = (struct span){(const uint8_t *)"a\0b", 3};
	v = verdict_on(e, 0, 0, &why);
	assert_int_equal(v.action, PLAN_FAILED);
}

static void impossible_entries(void **state)
{
	static char long_name[PATH_MAX_BYTES + 2];
	struct frame_entry bad[7];
	const char *why;
	(void)state;
	memset(long_name, 'x', sizeof long_name - 1);
	for (size_t i = 0; i < COUNT(bad); i++)
		bad[i] = entry(ENTRY_FILE, "x", 1);
	bad[0].type = 0;
	bad[1].type = 7;
	bad[2].mtime_ns = 1000000000;
	bad[3].size = (uint64_t)INT64_MAX + 1;
	bad[4].shared = 1;
	bad[5].path = span_of(long_name);
	bad[6].target = span_of(long_name);
	for (size_t i = 0; i < COUNT(bad); i++) {
		verdict_on(bad[i], 0, 0, &why);
		assert_non_null(why);
	}
}

/* With --delete whatever is offered is known again, whatever the verdict; an end of directory says how much of
 * it was told. Without, nothing is recorded. */
static void what_was_offered(void **state)
{
	struct frame_entry e[] = {
		entry(ENTRY_FILE, "d/f", 5),	 entry(ENTRY_SYMLINK, "d/l", 0), entry(ENTRY_DIR, "d", 0),
		entry(ENTRY_LEFT_OUT, "d/o", 0), entry(ENTRY_FILE, "../x", 5),	 entry(ENTRY_DIR_END, "d", 0),
		entry(ENTRY_DIR_END, "p", 0),
	};
	static const struct {
		enum kept_kind kind;
		const char *path;
		bool has;
	} want[] = {
		{KEPT_NAME, "d/f", true},   {KEPT_NAME, "d/l", true}, {KEPT_NAME, "d", true},
		{KEPT_NAME, "d/o", true},   {KEPT_NAME, "p", false},  {KEPT_WHOLE, "d", true},
		{KEPT_WHOLE, "d/f", false}, {KEPT_PART, "d", false},  {KEPT_PART, "p", true},
		{KEPT_WHOLE, "p", false},
	};
	uint8_t body[16384];
	(void)state;
	e[6].sparse = 1;
	for (int flagged = 0; flagged < 2; flagged++) {
		dest_begin();
		dest->flags = BEGIN_DRY_RUN | (flagged ? BEGIN_DELETE : 0);
		struct dest_job *job = plan(body, put_offer(body, sizeof body, e, COUNT(e)));
		assert_null(job->violation);
		assert_int_equal(job->planned[3].action, PLAN_DONE);
		assert_int_equal(kept_seal(&dest->kept), 0);
		for (size_t i = 0; i < COUNT(want); i++)
			assert_int_equal(
				kept_has(&dest->kept, want[i].kind, want[i].path, strlen(want[i].path)),
				flagged && want[i].has);
		dest_job_free(job);
		dest_over();
	}
}

static void mutated_offer(void *ctx, enum mutation kind, size_t at, const uint8_t *p, size_t n)
{
	struct frame_want want;
	(void)ctx, (void)at;
	dest_begin();
	struct dest_job *job = plan(p, n);
	if (kind == MUTATE_CUT)
		assert_non_null(job->violation);
	if (!job->violation) {
		assert_true(frame_get_want((struct span){buf_bytes(job->out), job->out->len}, &want));
		assert_int_equal(want.verdicts.n, 5 * want.count);
	}
	dest_job_free(job);
	dest_over();
}

static size_t entries_in(const char *dir)
{
	size_t n = 0;
	DIR *d = opendir(dir);
	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static void mutated_offers(void **state)
{
	uint8_t body[512];
	struct frame_entry e[3] = {entry(ENTRY_DIR, "d", 0), entry(ENTRY_FILE, "/f", 9),
				   entry(ENTRY_SYMLINK, "s", 0)};
	(void)state;
	e[1].shared = 1;
	set_the_scene();
	mutate_each(body, put_offer(body, sizeof body, e, 3), mutated_offer, NULL);
	assert_int_equal(entries_in("."), 1); /* dst */
}

/* ---- packs ---- */

static const struct {
	const char *name, *content;
} small[] = {{"one", "first"}, {"two/deep", "the second one"}, {"three", ""}};

static void offer_small(void)
{
	uint8_t body[512];
	struct frame_entry e[COUNT(small)];
	for (size_t i = 0; i < COUNT(small); i++)
		e[i] = entry(ENTRY_FILE, small[i].name, strlen(small[i].content));
	struct dest_job *job = plan(body, put_offer(body, sizeof body, e, COUNT(small)));
	assert_null(job->violation);
	for (size_t i = 0; i < COUNT(small); i++)
		assert_ptr_equal(dest_find(dest, i), job->planned[i].file);
	dest_job_free(job);
}

/* What a test may get wrong. */
struct slip {
	int count, raw, cost, codec, extra;    /* added to the right value */
	int id, size, status, digest, lacking; /* of the second file */
};

static struct dest_job *pack_with(const struct slip *s)
{
	uint8_t body[1024], payload[512];
	struct wr w = wr_init(payload, sizeof payload);
	for (size_t i = 0; i < COUNT(small); i++) {
		bool second = i == 1;
		struct frame_packed p = {.file = i + (size_t)(second ? s->id : 0),
					 .size = (uint32_t)strlen(small[i].content) +
						 (uint32_t)(second ? s->size : 0),
					 .status = (uint8_t)(second ? s->status : 0)};
		digest_chunk(SEED, (const uint8_t *)small[i].content, strlen(small[i].content), p.digest);
		p.digest[0] ^= (uint8_t)(second ? s->digest : 0);
		frame_put_packed(&w, &p);
	}
	for (size_t i = 0; i < COUNT(small); i++)
		wr_bytes(&w, small[i].content, strlen(small[i].content));
	for (int i = 0; i < s->extra; i++)
		wr_uint(&w, 0, 1);
	w.n -= (size_t)s->lacking;
	struct wr b = wr_init(body, sizeof body);
	frame_put_pack(&b, &(struct frame_pack){.count = (uint16_t)((int)COUNT(small) + s->count),
						.raw = (uint32_t)((int)w.n + s->raw),
						.codec = (uint8_t)s->codec,
						.payload = {payload, w.n}});
	struct dest_job *job = job_new(DEST_PACK, body, b.n);
	job->cost = (uint32_t)((int)w.n + s->cost);
	return job;
}

static void check_committed(const char *name, const char *content)
{
	char path[256], got[256];
	snprintf(path, sizeof path, "dst/%s", name);
	assert_int_equal(get_file(path, got, sizeof got), strlen(content));
	assert_memory_equal(got, content, strlen(content));
}

static void a_pack_is_written(void **state)
{
	static const enum sync_mode modes[] = {SYNC_BATCH, SYNC_FILE, SYNC_NONE};
	(void)state;
	for (size_t m = 0; m < COUNT(modes); m++) {
		cfg.sync = modes[m];
		set_the_scene();
		dest_begin();
		offer_small();
		struct dest_job *job = pack_with(&(struct slip){0});
		assert_null(run(job));
		assert_int_equal(job->file_count, COUNT(small));
		if (modes[m] != SYNC_NONE)
			dest_commit(dest, job->files, job->file_count);
		for (size_t i = 0; i < COUNT(small); i++) {
			assert_int_equal(job->files[i]->code, 0);
			check_committed(small[i].name, small[i].content);
		}
		dest_job_free(job);
		assert_int_equal(dest_finish(dest), 0);
		dest_over();
		assert_int_equal(access("dst/.haul", F_OK), -1);
	}
	cfg.sync = SYNC_NONE;
}

static void packs_that_are_wrong(void **state)
{
	static const struct {
		struct slip slip;
		int code; /* of the second file; 0: a violation */
	} table[] = {
		{{.count = 1}, 0},   {{.count = -1}, 0},  {{.count = -3}, 0},  {{.count = 1022}, 0},
		{{.raw = 1}, 0},     {{.raw = -1}, 0},	  {{.cost = 1}, 0},    {{.codec = 1}, 0},
		{{.codec = 2}, 0},   {{.extra = 1}, 0},	  {{.lacking = 1}, 0}, {{.lacking = 100}, 0},
		{{.id = -1}, 0},     {{.id = 1}, 0},	  {{.id = 77}, 0},     {{.id = 16384}, 0},
		{{.size = 1}, 0},    {{.size = -1}, 0},	  {{.size = -20}, 0},  {{.digest = 1}, 14},
		{{.status = 1}, 24}, {{.status = 2}, 24},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(table); i++) {
		set_the_scene();
		dest_begin();
		offer_small();
		struct dest_job *job = pack_with(&table[i].slip);
		const char *why = run(job);
		if (!why != (table[i].code != 0))
			fail_msg("row %zu: %s", i, why ? why : "taken");
		if (!why) {
			assert_int_equal(job->files[1]->code, table[i].code);
			assert_int_equal(access("dst/two/deep", F_OK), -1);
		}
		dest_job_free(job);
		dest_over();
		assert_int_equal(access("dst/.haul", F_OK), -1);
	}
}

/* Whatever is mutated: a final name holds the right content or is not there. */
static void mutated_pack(void *ctx, enum mutation kind, size_t at, const uint8_t *p, size_t n)
{
	(void)kind, (void)at;
	dest_begin();
	offer_small();
	struct dest_job *job = job_new(DEST_PACK, p, n);
	job->cost = *(const uint32_t *)ctx;
	run(job);
	dest_job_free(job);
	dest_over();
	for (size_t i = 0; i < COUNT(small); i++) {
		char path[64];
		snprintf(path, sizeof path, "dst/%s", small[i].name);
		if (access(path, F_OK) == 0)
			check_committed(small[i].name, small[i].content);
		unlink(path);
	}
}

static void mutated_packs(void **state)
{
	(void)state;
	set_the_scene();
	struct dest_job *job = pack_with(&(struct slip){0});
	mutate_each(buf_bytes(job->body), job->body->len, mutated_pack, &job->cost);
	dest_job_free(job);
}

/* ---- chunks ---- */

static struct dest_file *large_file(uint64_t size)
{
	uint8_t body[256];
	struct frame_entry e = entry(ENTRY_FILE, "big", size);
	struct dest_job *job = plan(body, put_offer(body, sizeof body, &e, 1));
	assert_null(job->violation);
	dest_job_free(job);
	struct dest_file *f = dest_find(dest, 0);
	assert_non_null(f);
	f->state = DEST_RECEIVING;
	f->chunked = true;
	return f;
}

static struct dest_job *data_job(struct dest_file *f, uint64_t offset, const uint8_t *p, uint32_t n,
				 uint8_t codec, int slip)
{
	struct dest_job *job = job_new(DEST_DATA, p, n);
	job->file = f;
	job->data = (struct frame_data){.offset = offset,
					.raw = n + (uint32_t)slip,
					.codec = codec,
					.payload = {buf_bytes(job->body), n}};
	digest_chunk(SEED, p, n, job->data.digest);
	return job;
}

static void chunks_in_any_order(void **state)
{
	static uint8_t in[2 * CHUNK + 10], out[sizeof in + 1];
	struct stat st;
	(void)state;
	for (size_t i = 0; i < sizeof in; i++)
		in[i] = (uint8_t)(i * 7);
	set_the_scene();
	cfg.sync = SYNC_FILE;
	dest_begin();
	struct dest_file *f = large_file(sizeof in);
	static const uint64_t order[] = {2 * CHUNK, 0, CHUNK};
	for (size_t i = 0; i < COUNT(order); i++) {
		uint32_t n = order[i] == 2 * CHUNK ? 10 : CHUNK;
		struct dest_job *job = data_job(f, order[i], in + order[i], n, CODEC_STORED, 0);
		assert_null(run(job));
		assert_int_equal(job->content, n);
		dest_job_free(job);
	}
	assert_int_equal(f->code, 0);
	assert_int_equal(access("dst/big", F_OK), -1);
	f->state = DEST_WRITTEN;
	dest_commit(dest, &f, 1);
	assert_int_equal(f->code, 0);
	dest_forget(dest, f);
	dest_over();
	assert_int_equal(get_file("dst/big", out, sizeof out), sizeof in);
	assert_memory_equal(in, out, sizeof in);
	assert_int_equal(stat("dst/big", &st), 0);
	assert_int_equal(st.st_mtim.tv_sec, T0);
	assert_int_equal(st.st_mode & 07777, 0644);
	cfg.sync = SYNC_NONE;
}

static void chunks_that_are_wrong(void **state)
{
	static const uint8_t text[] = "some content";
	(void)state;
	set_the_scene();
	dest_begin();
	struct dest_file *f = large_file(CHUNK * 3);
	struct dest_job *job = data_job(f, 0, text, sizeof text, CODEC_STORED, 1);
	assert_non_null(run(job));
	dest_job_free(job);
	job = data_job(f, 0, text, sizeof text, CODEC_ZSTD, 0);
	assert_non_null(run(job));
	dest_job_free(job);
	job = data_job(f, 0, text, sizeof text, 7, 0);
	assert_non_null(run(job));
	dest_job_free(job);
	assert_int_equal(f->code, 0);
	job = data_job(f, 0, text, sizeof text, CODEC_STORED, 0);
	job->data.digest[3] ^= 1;
	assert_null(run(job));
	assert_int_equal(f->code, 14);
	assert_int_equal(job->content, 0);
	dest_job_free(job);
	dest_over();
	assert_int_equal(access("dst/big", F_OK), -1);
}

static int begin(void **state)
{
	cfg.sync = SYNC_NONE;
	blocks = blocks_new(CHUNK, 2);
	umask(022);
	return blocks ? enter_scratch(state) : -1;
}

static int finish(void **state)
{
	blocks_free(blocks);
	return leave_scratch(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_verdict),
		cmocka_unit_test(refused_names),
		cmocka_unit_test(links),
		cmocka_unit_test(impossible_entries),
		cmocka_unit_test(what_was_offered),
		cmocka_unit_test(mutated_offers),
		cmocka_unit_test(a_pack_is_written),
		cmocka_unit_test(packs_that_are_wrong),
		cmocka_unit_test(mutated_packs),
		cmocka_unit_test(chunks_in_any_order),
		cmocka_unit_test(chunks_that_are_wrong),
	};
	return cmocka_run_group_tests(tests, begin, finish);
}
