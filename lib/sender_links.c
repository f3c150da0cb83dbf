/*
 * Later names of a file (lib/hardlinks.h). They wait here, in the order of the walk, until it is known what
 * became of the name that brings the content; then they are links to it, or one of them brings it instead.
 */
#include "lib/sender_impl.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

void sender_take_links(struct sender *s, struct scan_batch *b)
{
	for (size_t i = 0; i < b->later_count; i++)
		s->links[(s->link_head + s->link_count++) % OPEN_ENTRIES_MAX] = b->later[i];
	b->later_count = 0;
}

bool sender_links_ready(const struct sender *s)
{
	return s->link_count &&
	       hardlinks_state(s->hardlinks, s->links[s->link_head]->link) != HARDLINKS_PENDING;
}

void sender_settle_link(struct sender *s, struct source_file *f)
{
	if (!f->link)
		return;
	if (f->type == ENTRY_FILE)
		hardlinks_settle(s->hardlinks, f->link, f->landed);
	hardlinks_put(s->hardlinks, f->link);
	f->link = NULL;
}

/* How a later name travels, now that the fate of the first is known; target: what it is a link to. */
static enum entry_type type_now(struct sender *s, struct source_file *f, const struct stamp *now,
				char target[static PATH_MAX_BYTES + 1])
{
	bool same = now->dev == f->stamp.dev && now->ino == f->stamp.ino;
	bool there = hardlinks_state(s->hardlinks, f->link) == HARDLINKS_THERE;
	if (same && there && hardlinks_path(s->hardlinks, f->link, target, PATH_MAX_BYTES + 1))
		return ENTRY_LINK;
	if (!same || there || !hardlinks_renew(s->hardlinks, f->link, f->path)) {
		hardlinks_put(s->hardlinks, f->link);
		f->link = NULL;
	}
	return ENTRY_FILE;
}

static void add_link(struct sender *s, struct scan_batch *b, struct source_file *old)
{
	char target[PATH_MAX_BYTES + 1];
	struct stamp now;
	int fd = walk_open(s->walk, old->source, old->source_path, &now);
	if (fd < 0) {
		sender_count_gone(s, old, -fd);
		hardlinks_put(s->hardlinks, old->link);
		source_file_free(old);
		return;
	}
	enum entry_type type = type_now(s, old, &now, target);
	struct source_file *f = sender_add_now(s, b, old, fd, &now, type, type == ENTRY_LINK ? target : NULL);
	close(fd);
	if (f) {
		f->link = old->link;
	} else {
		sender_count_failed(s, old, HAUL_PARTIAL, ENOMEM, "no memory to send it");
		sender_settle_link(s, old);
	}
	source_file_free(old);
}

void sender_offer_links(struct sender *s)
{
	struct scan_batch *b = scan_batch_new(s->cfg, s->walk, BATCH);
	if (!b) {
		struct haul_err err = {0};
		haul_fail(&err, HAUL_NO_MEMORY, 0, NULL, "no memory for an entry");
		engine_abort(&s->engine, &err);
		return;
	}
	while (b->count < BATCH && b->body->len < SCAN_BATCH_BYTES && sender_links_ready(s)) {
		struct source_file *f = s->links[s->link_head];
		s->link_head = (s->link_head + 1) % OPEN_ENTRIES_MAX;
		s->link_count--;
		add_link(s, b, f);
	}
	s->flushed = false; /* an offer takes back what was asked */
	sender_offer(s, b);
	scan_batch_free(b);
}
