#include "lib/scan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/meta.h"
#include "wire/frame.h"

#define HEADROOM 64u
/* fields of an ENTRY beside its strings */
#define ENTRY_FIXED_BYTES 44u
_Static_assert(SCAN_BATCH_BYTES + ENTRY_FIXED_BYTES + 2 * PATH_MAX_BYTES + META_MAX_BYTES <= SCAN_BATCH_ROOM,
	       "an entry of the longest names fits behind a full batch");

/* Has another name of this file come by? */
static bool is_later_name(struct scan_batch *b, const struct entry *e, struct hardlink **link)
{
	return b->hardlinks && e->type == ENTRY_FILE && e->links > 1 &&
	       hardlinks_note(b->hardlinks, e->stamp.dev, e->stamp.ino, e->links, e->path, link) ==
		       HARDLINKS_LATER;
}

static void scan_run(void *ctx, void *worker, void *job);

const struct pool_ops scan_ops = {.run = scan_run};

struct scan_batch *scan_batch_new(const struct haul_config *cfg, struct walk *walk, size_t limit)
{
	struct scan_batch *b = calloc(1, sizeof *b);
	if (!b)
		return NULL;
	b->cfg = cfg;
	b->walk = walk;
	b->limit = limit < OFFER_ENTRIES_MAX ? limit : OFFER_ENTRIES_MAX;
	b->body = buf_malloc(NULL, HEADROOM + SCAN_BATCH_ROOM);
	if (!b->body) {
		free(b);
		return NULL;
	}
	b->body->off = HEADROOM;
	return b;
}

void scan_batch_free(struct scan_batch *b)
{
	if (!b)
		return;
	for (size_t i = 0; i < b->count; i++)
		source_file_free(b->files[i]);
	for (size_t i = 0; i < b->later_count; i++)
		source_file_free(b->later[i]);
	buf_put(b->body);
	free(b);
}

static uint64_t stamp_digest(const struct stamp *s)
{
	uint64_t v[] = {s->dev,	     s->ino,	 s->size, (uint64_t)s->mtime_s, (uint64_t)s->ctime_s,
			s->mtime_ns, s->ctime_ns};
	return digest_stamp(v, sizeof v);
}

static size_t shared_prefix(const struct source_file *before, const struct entry *e)
{
	size_t n = 0, most = before && before->path_len < e->path_len ? before->path_len : e->path_len;
	while (before && n < most && before->path[n] == e->path[n])
		n++;
	return n;
}

bool scan_batch_add(struct scan_batch *b, const struct entry *e, struct source_file *f)
{
	size_t shared = shared_prefix(b->count ? b->files[b->count - 1] : NULL, e);
	struct wr w = wr_init(buf_bytes(b->body) + b->body->len, b->body->cap - b->body->off - b->body->len);
	frame_put_entry(&w, &(struct frame_entry){
				    .type = (uint8_t)e->type,
				    .sparse = f->sparse,
				    .mode = (uint16_t)e->mode,
				    .size = e->stamp.size,
				    .mtime_s = e->stamp.mtime_s,
				    .mtime_ns = e->stamp.mtime_ns,
				    .stamp = stamp_digest(&e->stamp),
				    .shared = (uint16_t)shared,
				    .path = {(const uint8_t *)e->path + shared, e->path_len - shared},
				    .target = {(const uint8_t *)e->target, e->target ? e->target_len : 0},
				    .meta = {e->meta, e->meta_len},
			    });
	if (w.bad)
		return false;
	b->body->len += w.n;
	b->files[b->count++] = f;
	return true;
}

/* What e tells of itself besides; read in place where no descriptor is needed. */
static void read_meta(struct scan_batch *b, struct entry *e, uint8_t meta[static META_MAX_BYTES],
		      struct haul_err *problem)
{
	int fd = meta_wants_fd(b->cfg, e->type) ? walk_open_any(b->walk, e->source, e->source_path) : -1;
	e->meta = meta;
	e->meta_len = meta_read(b->cfg, e, fd, meta, problem);
	if (fd >= 0)
		close(fd);
	if (problem->rc == HAUL_OK)
		return;
	snprintf(problem->subject, sizeof problem->subject, "%s", e->path);
	b->problem_count++;
}

static void scan_run(void *ctx, void *worker, void *job)
{
	struct scan_batch *b = job;
	uint8_t meta[META_MAX_BYTES];
	(void)ctx, (void)worker;
	while (b->count + b->later_count < b->limit && b->problem_count < SCAN_PROBLEMS_MAX &&
	       b->body->len < SCAN_BATCH_BYTES) {
		struct entry e = {0};
		struct haul_err *problem = &b->problems[b->problem_count];
		haul_err_clear(problem);
		switch (walk_next(b->walk, &e, problem)) {
		case WALK_END:
			b->ended = true;
			b->nothing_readable = walk_nothing_readable(b->walk);
			return;
		case WALK_PROBLEM:
			if (e.path &&
			    problem->rc != HAUL_NO_SOURCE) /* events name things as the receiver sees them */
				snprintf(problem->subject, sizeof problem->subject, "%s", e.path);
			b->problem_count++;
			continue;
		case WALK_ENTRY:
			break;
		}
		struct hardlink *link = NULL;
		bool later = is_later_name(b, &e, &link);
		if (!later)
			read_meta(b, &e, meta, problem);
		struct source_file *f = source_file_new(&e);
		if (f)
			f->link = link;
		if (f && later) {
			b->later[b->later_count++] = f;
		} else if (!f || !scan_batch_add(b, &e, f)) {
			source_file_free(f);
			b->no_memory = b->ended = true;
			return;
		}
	}
}

struct buf *scan_batch_offer(struct scan_batch *b, uint64_t first)
{
	uint8_t fields[HEADROOM];
	struct wr w = wr_init(fields, sizeof fields);
	frame_put_offer(&w, &(struct frame_offer){.first = first, .count = (uint16_t)b->count});
	struct buf *body = b->body;
	b->body = NULL;
	body->off -= w.n;
	body->len += w.n;
	memcpy(buf_bytes(body), fields, w.n);
	return body;
}
