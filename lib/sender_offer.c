#include "lib/sender_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/meta.h"
#include "wire/err.h"

/* ---- the table of open entries ---- */

struct source_file **sender_entry_slot(struct sender *s, uint64_t id)
{
	return &s->open[id % OPEN_ENTRIES_MAX];
}

struct source_file *sender_entry_of(struct sender *s, uint64_t id)
{
	struct source_file *f = *sender_entry_slot(s, id);
	return f && f->id == id ? f : NULL;
}

static void open_entries(struct sender *s, struct scan_batch *b)
{
	for (size_t i = 0; i < b->count; i++) {
		struct source_file *f = b->files[i];
		f->id = s->next_id++;
		f->seed = s->source.seed;
		*sender_entry_slot(s, f->id) = f;
		s->open_count++;
		s->open_meta += f->meta_len;
		s->file_ids += f->type == ENTRY_FILE || f->type == ENTRY_STREAM;
		s->offered_entries += entry_counts(f->type);
		if (f->type == ENTRY_FILE && !f->attempts) {
			s->offered_files++;
			s->m->total += f->stamp.size;
		}
	}
	s->unanswered += b->count;
	b->count = 0; /* they have moved */
}

void sender_close_entry(struct sender *s, struct source_file *f)
{
	*sender_entry_slot(s, f->id) = NULL;
	s->open_count--;
	s->open_meta -= f->meta_len;
	sender_settle_link(s, f);
	if (f == s->stream) { /* answered: nothing more is read for it */
		s->stream = NULL;
		s->stream_ended = true;
	}
	while (s->first_open < s->next_id && !*sender_entry_slot(s, s->first_open))
		s->first_open++;
	source_file_free(f);
}

bool sender_table_has_room(const struct sender *s, size_t n)
{
	size_t batches = s->scan ? pool_count(s->scan) + 1 : 0;
	return s->next_id - s->first_open + s->again_count + s->link_count + n <= OPEN_ENTRIES_MAX &&
	       s->open_meta + batches * SCAN_BATCH_ROOM <= META_OPEN_MAX_BYTES / 2;
}

/* ---- scan and offers ---- */

static uint16_t begin_flags(const struct haul_config *cfg)
{
	return (uint16_t)((cfg->dry_run ? BEGIN_DRY_RUN : 0) | (cfg->update ? BEGIN_SKIP_NEWER : 0) |
			  (cfg->ignore_existing ? BEGIN_SKIP_EXISTING : 0) |
			  (cfg->existing ? BEGIN_ONLY_EXISTING : 0) |
			  (cfg->whole_file ? BEGIN_WHOLE_FILES : 0) |
			  (cfg->delete_strays ? BEGIN_DELETE : 0));
}

void sender_begin(struct sender *s)
{
	static const uint8_t compare_size = 1, compare_content = 2;
	uint8_t b[64];
	struct wr w = wr_init(b, sizeof b);
	frame_put_begin(&w, &(struct frame_begin){
				    .seed = s->source.seed,
				    .chunk = (uint32_t)s->cfg->chunk,
				    .kind = s->set.stream ? 2 : 1,
				    .compare = s->cfg->checksum	   ? compare_content
					       : s->cfg->size_only ? compare_size
								   : 0,
				    .flags = begin_flags(s->cfg),
				    .tells = (uint16_t)(s->set.stream ? 0 : meta_tells(s->cfg)),
			    });
	sender_outbox_fields(s, F_BEGIN, b, w.n);
	s->begun = true;
}

static void scan_problems(struct sender *s, const struct scan_batch *b)
{
	for (size_t i = 0; i < b->problem_count; i++) {
		const struct haul_err *p = &b->problems[i];
		if (p->rc == HAUL_PARTIAL) { /* it is sent, but not all that was to be told of it */
			struct event ev = {.type = EV_WARN};
			ev.u.warn.subject = p->subject;
			ev.u.warn.text = p->why;
			sender_note_worst(s, HAUL_PARTIAL);
			event_emit(s->set.bus, &ev);
			continue;
		}
		if (p->sys == ENOENT && p->rc != HAUL_NO_SOURCE) {
			if (s->cfg->vanished == VANISHED_IGNORE)
				continue;
			s->m->vanished++;
			sender_note_worst(s,
					  s->cfg->vanished == VANISHED_ERROR ? HAUL_PARTIAL : HAUL_CHANGED);
			sender_problem_event(s, p, FILE_VANISHED);
		} else {
			s->m->failed++;
			sender_note_worst(s, HAUL_PARTIAL);
			sender_problem_event(s, p, FILE_FAILED);
		}
	}
}

void sender_plan_event(struct sender *s)
{
	struct event ev = {.type = EV_PLAN};
	ev.u.plan.files = s->offered_files;
	ev.u.plan.bytes = s->m->total;
	ev.u.plan.final = s->scan_ended;
	event_emit(s->set.bus, &ev);
}

static void scan_ended(struct sender *s, const struct scan_batch *b)
{
	s->scan_ended = true;
	s->m->total_final = true;
	if (s->hardlinks && hardlinks_alone(s->hardlinks)) {
		struct event ev = {.type = EV_WARN};
		ev.u.warn.text = "too many hard links to remember: some are sent as files of their own";
		event_emit(s->set.bus, &ev);
	}
	if (!s->cfg->dry_run) /* there the plan is what would be sent, and comes at the end */
		sender_plan_event(s);
	if (!b->nothing_readable && !b->no_memory)
		return;
	struct haul_err err = {0};
	if (b->no_memory)
		haul_fail(&err, HAUL_NO_MEMORY, 0, NULL, "no memory for an entry");
	else if (b->problem_count)
		haul_fail(&err, HAUL_NO_SOURCE, b->problems[0].sys, b->problems[0].subject, "%s",
			  b->problems[0].why);
	else
		haul_fail(&err, HAUL_NO_SOURCE, 0, NULL, "none of the sources could be read");
	engine_abort(&s->engine, &err);
}

void sender_offer(struct sender *s, struct scan_batch *b)
{
	uint64_t first = s->next_id;
	size_t count = b->count;
	sender_take_links(s, b);
	struct buf *body = count ? scan_batch_offer(b, first) : NULL;
	if (body) {
		open_entries(s, b);
		sender_outbox_put(s, F_OFFER, (uint32_t)body->len, body, 0);
	}
}

void sender_pump_scan(struct sender *s)
{
	struct scan_batch *b;
	while (!s->outbox_count && (b = pool_take(s->scan))) {
		if (s->set.dial && s->engine.redial_at == UINT64_MAX && !(b->ended && b->nothing_readable))
			s->engine.redial_at = 0; /* there is something to send: dial */
		scan_problems(s, b);
		if (!s->stopped)
			sender_offer(s, b);
		if (b->ended && !s->scan_ended)
			scan_ended(s, b);
		scan_batch_free(b);
	}
	while (!s->scan_ended && !s->draining && !s->stopped && !pool_full(s->scan) &&
	       sender_table_has_room(s, (pool_count(s->scan) + 1) * s->next_batch)) {
		b = scan_batch_new(s->cfg, s->walk, s->next_batch);
		if (b)
			b->hardlinks = s->hardlinks;
		if (!b || !pool_submit(s->scan, b)) {
			scan_batch_free(b);
			return;
		}
		s->next_batch = s->next_batch * 4 < BATCH ? s->next_batch * 4 : BATCH;
	}
}

struct source_file *sender_add_now(struct sender *s, struct scan_batch *b, const struct source_file *old,
				   int fd, const struct stamp *now, enum entry_type type, const char *target)
{
	struct stat st;
	bool known = fstat(fd, &st) == 0;
	struct entry e = {
		.type = type,
		.mode = old->mode,
		.uid = known ? st.st_uid : old->uid,
		.gid = known ? st.st_gid : old->gid,
		.stamp = *now,
		.blocks = known ? (uint64_t)st.st_blocks * 512 : now->size,
		.path = old->path,
		.path_len = old->path_len,
		.target = target,
		.target_len = target ? strlen(target) : 0,
		.source = old->source,
		.source_path = old->source_path,
	};
	uint8_t meta[META_MAX_BYTES];
	struct haul_err left_out = {0}; /* has been told when it was scanned */
	e.meta = meta;
	e.meta_len = meta_read(s->cfg, &e, fd, meta, &left_out);
	struct source_file *f = source_file_new(&e);
	if (f && scan_batch_add(b, &e, f))
		return f;
	source_file_free(f);
	return NULL;
}

/* Another file may have the name by now: the other names are not told of that one. */
static void pass_link(struct source_file *old, struct source_file *f)
{
	if (f->stamp.dev != old->stamp.dev || f->stamp.ino != old->stamp.ino)
		return;
	f->link = old->link;
	old->link = NULL;
}

void sender_offer_again(struct sender *s)
{
	struct source_file *old = s->again[--s->again_count];
	struct stamp now;
	int fd = walk_open(s->walk, old->source, old->source_path, &now);
	if (fd < 0) {
		sender_count_gone(s, old, -fd);
		sender_settle_link(s, old);
		source_file_free(old);
		return;
	}
	struct scan_batch *b = scan_batch_new(s->cfg, s->walk, 1);
	struct source_file *f = b ? sender_add_now(s, b, old, fd, &now, ENTRY_FILE, NULL) : NULL;
	close(fd);
	if (f) {
		f->attempts = old->attempts + 1;
		pass_link(old, f);
		sender_offer(s, b);
	} else {
		sender_count_failed(s, old, HAUL_PARTIAL, ENOMEM, "no memory to send it again");
	}
	sender_settle_link(s, old);
	scan_batch_free(b);
	source_file_free(old);
}
