/* lib/source and lib/scan: what is read is one version of a file or says that it is not; OFFER bodies. */
#include "unit.h"

#include "lib/codec.h"
#include "lib/digest.h"
#include "lib/scan.h"
#include "lib/source.h"
#include "wire/frame.h"

#define CHUNK 65536u
#define SEED  77u

static const struct haul_config none;
static struct blocks *blocks;
static struct walk *walk;
static struct source_config cfg;
static struct codec_ctx *codec;

static struct walk *walk_over(const char *source)
{
	static const char *sources[1];
	static const struct haul_config config = {.max_size = SIZE_UNSET};
	struct haul_err err = {0};
	struct walk *w;
	sources[0] = source;
	assert_int_equal(walk_new(&config, sources, 1, &w, &err), HAUL_OK);
	return w;
}

/* The one file `name` as the sender sees it. */
static struct source_file *file_of(const char *name)
{
	struct entry e;
	struct haul_err problem;
	walk = walk_over(name);
	assert_int_equal(walk_next(walk, &e, &problem), WALK_ENTRY);
	cfg = (struct source_config){.walk = walk, .blocks = blocks, .seed = SEED};
	atomic_init(&cfg.level, 3);
	struct source_file *f = source_file_new(&e);
	assert_non_null(f);
	f->seed = SEED;
	f->id = 5;
	return f;
}

static void file_done(struct source_file *f)
{
	source_file_free(f);
	walk_free(walk);
}

static struct send_job *read_chunk(struct source_file *f, uint64_t offset, uint32_t raw)
{
	struct send_job *job = calloc(1, sizeof *job);
	assert_non_null(job);
	*job = (struct send_job){.kind = JOB_CHUNK, .file = f, .offset = offset, .raw = raw};
	source_run(&cfg, codec, job);
	return job;
}

/* The content of a DATA body, checked against its digest. */
static void unpack_data(const struct send_job *job, uint8_t *out, uint64_t offset, uint32_t raw)
{
	struct frame_data d;
	uint8_t digest[DIGEST_BYTES];
	assert_non_null(job->body);
	assert_true(frame_get_data((struct span){buf_bytes(job->body), job->body->len}, &d));
	assert_int_equal(d.file, 5);
	assert_int_equal(d.offset, offset);
	assert_int_equal(d.raw, raw);
	assert_int_equal(job->cost, raw);
	if (d.codec == CODEC_ZSTD) {
		assert_null(codec_unpack(codec, d.payload.p, d.payload.n, out, raw));
	} else {
		assert_int_equal(d.payload.n, raw);
		memcpy(out, d.payload.p, raw);
	}
	digest_chunk(SEED, out, raw, digest);
	assert_memory_equal(digest, d.digest, DIGEST_BYTES);
	assert_memory_equal(digest, job->digest, DIGEST_BYTES);
}

static void chunks(void **state)
{
	static uint8_t in[3 * CHUNK + 17], out[CHUNK];
	(void)state;
	for (size_t i = 0; i < sizeof in; i++)
		in[i] = (uint8_t)(i % 251 ^ i >> 9);
	put_file("f", in, sizeof in);
	struct source_file *f = file_of("f");
	for (uint64_t at = 0; at < sizeof in; at += CHUNK) {
		uint32_t raw = sizeof in - at < CHUNK ? (uint32_t)(sizeof in - at) : CHUNK;
		struct send_job *job = read_chunk(f, at, raw);
		unpack_data(job, out, at, raw);
		assert_memory_equal(in + at, out, raw);
		send_job_free(job);
	}
	assert_int_equal(source_file_close(f), READ_OK);
	file_done(f);
}

static void holes(void **state)
{
	(void)state;
	put_file("sparse", "x", 1);
	assert_int_equal(truncate("sparse", 8 * CHUNK), 0);
	struct source_file *f = file_of("sparse");
	if (!f->sparse) { /* this file system stores zeros */
		file_done(f);
		return;
	}
	struct send_job *first = read_chunk(f, 0, CHUNK), *later = read_chunk(f, 4 * CHUNK, CHUNK);
	assert_false(first->hole);
	assert_non_null(first->body);
	assert_true(later->hole);
	assert_null(later->body);
	send_job_free(first);
	send_job_free(later);
	assert_int_equal(source_file_close(f), READ_OK);
	file_done(f);
}

enum spoil { REWRITE, SHRINK, REMOVE, REPLACE_BY_DIR, REPLACE_BY_LINK, GROW };

static void spoil(enum spoil how)
{
	switch (how) {
	case REWRITE:
		usleep(20000);
		put_file("f", "fresh content, as long", 22);
		break;
	case SHRINK:
		assert_int_equal(truncate("f", 3), 0);
		break;
	case GROW:
		assert_int_equal(truncate("f", 1000), 0);
		break;
	case REMOVE:
		assert_int_equal(unlink("f"), 0);
		break;
	case REPLACE_BY_DIR:
		assert_int_equal(unlink("f"), 0);
		assert_int_equal(mkdir("f", 0700), 0);
		break;
	case REPLACE_BY_LINK:
		assert_int_equal(unlink("f"), 0);
		assert_int_equal(symlink("/etc/passwd", "f"), 0);
		break;
	}
}

static void unspoil(void)
{
	if (unlink("f") != 0)
		rmdir("f");
}

/* Spoilt between the walk and the first read, or between two reads. */
static void what_changes_is_never_whole(void **state)
{
	static const struct {
		enum spoil how;
		enum read_status before, during;
	} table[] = {
		{REWRITE, READ_CHANGED, READ_CHANGED},	 {SHRINK, READ_CHANGED, READ_CHANGED},
		{GROW, READ_CHANGED, READ_CHANGED},	 {REMOVE, READ_VANISHED, READ_OK},
		{REPLACE_BY_DIR, READ_CHANGED, READ_OK}, {REPLACE_BY_LINK, READ_CHANGED, READ_OK},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(table); i++)
		for (int during = 0; during <= 1; during++) {
			put_file("f", "the content of a file.", 22);
			struct source_file *f = file_of("f");
			struct send_job *a = during ? read_chunk(f, 0, 11) : NULL;
			spoil(table[i].how);
			struct send_job *b = read_chunk(f, 11, 11);
			enum read_status got = source_file_close(f);
			/* an unlinked file that is open still is what it was, but for its link count: ctime
			 */
			if (during && table[i].during == READ_OK)
				assert_true(got == READ_OK || got == READ_CHANGED);
			else
				assert_int_equal(got, during ? table[i].during : table[i].before);
			if (!during)
				assert_null(b->body);
			if (a)
				send_job_free(a);
			send_job_free(b);
			file_done(f);
			unspoil();
		}
}

/* Three small files in a pack, one of which has gone. */
static void packs(void **state)
{
	struct source_file *files[3];
	struct send_job *job = calloc(1, sizeof *job);
	uint8_t out[1024];
	struct frame_pack head;
	struct frame_packed p;
	(void)state;
	mkdir("tree", 0755);
	put_file("tree/a", "aaaa", 4);
	put_file("tree/b", "bbbbbb", 6);
	put_file("tree/c", "", 0);
	struct scan_batch *batch = scan_batch_new(&none, walk = walk_over("tree"), 100);
	cfg = (struct source_config){.walk = walk, .blocks = blocks, .seed = SEED};
	atomic_init(&cfg.level, 3);
	scan_ops.run(NULL, NULL, batch);
	assert_true(batch->ended);
	size_t n = 0;
	job->files = calloc(3, sizeof *job->files);
	job->kind = JOB_PACK;
	for (size_t i = 0; i < batch->count; i++)
		if (batch->files[i]->type == ENTRY_FILE) {
			files[n] = batch->files[i];
			files[n]->id = 10 + n;
			job->files[n] = files[n];
			job->raw += (uint32_t)files[n]->stamp.size;
			n++;
		}
	assert_int_equal(n, 3);
	job->count = 3;
	unlink("tree/b");
	source_run(&cfg, codec, job);
	assert_true(frame_get_pack((struct span){buf_bytes(job->body), job->body->len}, &head));
	assert_int_equal(head.count, 3);
	assert_int_equal(job->cost, head.raw);
	if (head.codec == CODEC_ZSTD)
		assert_null(codec_unpack(codec, head.payload.p, head.payload.n, out, head.raw));
	else
		memcpy(out, head.payload.p, head.raw);
	struct rd r = rd_init(out, head.raw);
	size_t total = 0;
	for (size_t i = 0; i < 3; i++) {
		assert_true(frame_get_part_packed(&r, &p));
		bool gone = strcmp(files[i]->path, "tree/b") == 0;
		assert_int_equal(p.file, 10 + i);
		assert_int_equal(p.status, gone ? READ_VANISHED : READ_OK);
		assert_int_equal(p.size, gone ? 0 : files[i]->stamp.size);
		total += p.size;
	}
	assert_int_equal(r.n, total);
	send_job_free(job);
	scan_batch_free(batch);
	walk_free(walk);
}

/* Decodes an OFFER body and joins the paths again. */
static size_t read_offer(const struct buf *body, uint64_t first, char paths[][256])
{
	struct frame_offer offer;
	char path[256] = "";
	assert_true(frame_get_offer((struct span){buf_bytes(body), body->len}, &offer));
	assert_int_equal(offer.first, first);
	struct rd r = rd_init(offer.entries.p, offer.entries.n);
	for (size_t i = 0; i < offer.count; i++) {
		struct frame_entry e;
		assert_true(frame_get_part_entry(&r, &e));
		assert_true(e.shared <= strlen(path) && e.shared + e.path.n < sizeof path);
		memcpy(path + e.shared, e.path.p, e.path.n);
		path[e.shared + e.path.n] = '\0';
		strcpy(paths[i], path);
	}
	assert_true(rd_done(&r));
	return offer.count;
}

static void offers(void **state)
{
	char name[64], paths[OFFER_ENTRIES_MAX][256];
	(void)state;
	mkdir("big", 0755);
	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof name, "big/file-with-a-long-common-name-%03d", i);
		put_file(name, "x", 1);
	}
	mkfifo("big/fifo", 0600);
	struct walk *w = walk_over("big");
	size_t entries = 0, problems = 0;
	for (bool ended = false; !ended;) {
		struct scan_batch *b = scan_batch_new(&none, w, 7);
		scan_ops.run(NULL, NULL, b);
		assert_true(b->count <= 7);
		problems += b->problem_count;
		ended = b->ended;
		size_t count = b->count;
		char want[7][256];
		for (size_t i = 0; i < count; i++)
			snprintf(want[i], sizeof want[i], "%s", b->files[i]->path);
		struct buf *body = scan_batch_offer(b, 1000 + entries);
		assert_int_equal(read_offer(body, 1000 + entries, paths), count);
		for (size_t i = 0; i < count; i++)
			assert_string_equal(paths[i], want[i]);
		entries += count;
		buf_put(body);
		scan_batch_free(b);
	}
	assert_int_equal(entries, 52); /* the directory, twice */
	assert_int_equal(problems, 1);
	walk_free(w);
}

static void nothing_to_read(void **state)
{
	struct walk *w = walk_over("no-such-thing");
	struct scan_batch *b = scan_batch_new(&none, w, 10);
	(void)state;
	scan_ops.run(NULL, NULL, b);
	assert_true(b->ended && b->nothing_readable);
	assert_int_equal(b->count, 0);
	assert_int_equal(b->problem_count, 1);
	assert_int_equal(b->problems[0].rc, HAUL_NO_SOURCE);
	scan_batch_free(b);
	scan_batch_free(NULL);
	walk_free(w);
}

static int begin(void **state)
{
	blocks = blocks_new(PAYLOAD_AT + CHUNK, 4);
	codec = codec_new();
	return blocks && codec ? enter_scratch(state) : -1;
}

static int finish(void **state)
{
	codec_free(codec);
	blocks_free(blocks);
	return leave_scratch(state);
}

/* Once for each chunk that the receiver said it has, and no more: its bytes cost reading and sending. */
static void needed_once(void **state)
{
	(void)state;
	static const uint8_t digests[3][DIGEST_BYTES];
	put_file("f", "0123456789", 10);
	struct source_file *f = file_of("f");
	assert_false(source_file_need(f, 4, 0));
	assert_true(source_file_have(f, 4, 0, digests[0], 3));
	assert_false(source_file_need(f, 4, 3));
	for (uint64_t i = 0; i < 3; i++) {
		assert_true(source_file_need(f, 4, i));
		assert_false(source_file_need(f, 4, i));
	}
	f->need_count = 0; /* they are on their way */
	assert_false(source_file_need(f, 4, 1));
	file_done(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chunks),
		cmocka_unit_test(holes),
		cmocka_unit_test(what_changes_is_never_whole),
		cmocka_unit_test(packs),
		cmocka_unit_test(offers),
		cmocka_unit_test(needed_once),
		cmocka_unit_test(nothing_to_read),
	};
	return cmocka_run_group_tests(tests, begin, finish);
}
