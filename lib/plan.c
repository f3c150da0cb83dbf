#include "lib/plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/walk.h"
#include "wire/err.h"

/* Chunks in all maps of a session: 17 bytes each. */
#define MAPS_MAX (8u << 20)

enum { COMPARE_TIME = 0, COMPARE_SIZE = 1, COMPARE_CONTENT = 2 };

/* A verdict under construction. */
static struct frame_verdict say(enum plan_action action)
{
	return (struct frame_verdict){.action = (uint8_t)action};
}

static struct frame_verdict say_failed(enum haul_rc rc, int sys)
{
	return (struct frame_verdict){PLAN_FAILED, (uint16_t)haul_rc_status(rc), (uint16_t)sys};
}

static struct frame_verdict say_errno(int rc)
{
	return rc < 0 ? say_failed(haul_rc_from_errno(-rc), -rc) : say(PLAN_DONE);
}

/* ---- files ---- */

/* Only mode, owner or attributes differ: no reason to send the content again. Whose it is stays as it is where
 * nothing may be replaced. */
static int mend(struct dest *d, const char *path, const struct stat *st, const struct frame_entry *e)
{
	bool mode = (st->st_mode & 0777) != (e->mode & 0777);
	bool meta = d->cfg->overwrite != OVERWRITE_NO && metaset_differs(&d->meta, st, e->meta);
	if (!mode && !meta)
		return 0;
	struct stat now;
	int fd = root_open_file(d->root, path, &now);
	if (fd < 0)
		return fd;
	int rc = meta ? metaset_apply(&d->meta, fd, e->meta) : 0;
	/* an access control list that came or went has changed the mode, too */
	if (rc == 0 && (fstat(fd, &now) < 0 ||
			((now.st_mode & 0777) != (e->mode & 0777) && fchmod(fd, e->mode & 0777) < 0)))
		rc = -errno;
	close(fd);
	return rc;
}

static bool looks_unchanged(const struct dest *d, const struct frame_entry *e, const struct stat *st)
{
	if ((uint64_t)st->st_size != e->size || d->compare == COMPARE_CONTENT)
		return false;
	return d->compare == COMPARE_SIZE ||
	       (st->st_mtim.tv_sec == e->mtime_s && (uint32_t)st->st_mtim.tv_nsec == e->mtime_ns);
}

static bool is_newer(const struct frame_entry *e, const struct stat *st)
{
	return st->st_mtim.tv_sec > e->mtime_s ||
	       (st->st_mtim.tv_sec == e->mtime_s && (uint32_t)st->st_mtim.tv_nsec > e->mtime_ns);
}

static struct frame_verdict plan_file(struct dest *d, const char *path, const struct frame_entry *e)
{
	struct stat st;
	int rc = root_stat(d->root, path, &st);
	if (rc == -ENOENT)
		return say(d->flags & BEGIN_ONLY_EXISTING ? PLAN_SKIP : PLAN_SEND);
	if (rc < 0)
		return say_errno(rc);
	if (S_ISDIR(st.st_mode))
		return say_failed(HAUL_IO, EISDIR);
	if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
		return say_failed(HAUL_POLICY, EEXIST);
	if (d->flags & BEGIN_SKIP_EXISTING)
		return say(PLAN_SKIP);
	if (S_ISREG(st.st_mode)) {
		if (looks_unchanged(d, e, &st)) {
			rc = d->flags & BEGIN_DRY_RUN ? 0 : mend(d, path, &st, e);
			return rc < 0 ? say_errno(rc) : say(PLAN_SKIP);
		}
		if ((d->flags & BEGIN_SKIP_NEWER) && is_newer(e, &st))
			return say(PLAN_SKIP);
	}
	return d->cfg->overwrite == OVERWRITE_NO ? say_failed(HAUL_POLICY, EEXIST) : say(PLAN_SEND);
}

/* ---- directories ---- */

#define DIR_RECORD_BYTES (32u + PATH_MAX_BYTES + META_MAX_BYTES)

/* Remembers a directory for the end: mode u32, seconds i64, nanoseconds u32; with their lengths u16 path, META
 * groups. */
static int remember_dir(struct dest *d, const char *path, const struct frame_entry *e)
{
	uint8_t b[DIR_RECORD_BYTES];
	struct wr w = wr_init(b, sizeof b);
	wr_uint(&w, e->mode, 4);
	wr_uint(&w, (uint64_t)e->mtime_s, 8);
	wr_uint(&w, e->mtime_ns, 4);
	wr_str(&w, (struct span){(const uint8_t *)path, strlen(path)});
	wr_str(&w, e->meta);
	int rc = 0;
	pthread_mutex_lock(&d->dirs_mu);
	if (d->dirs_fd < 0) {
		char name[ROOT_TEMP_MAX];
		d->dirs_fd = dest_temp_open(d, name);
		if (d->dirs_fd < 0)
			rc = d->dirs_fd;
		else
			root_temp_unlink(d->root, name);
	}
	if (rc == 0 && write(d->dirs_fd, b, w.n) != (ssize_t)w.n)
		rc = errno ? -errno : -EIO;
	pthread_mutex_unlock(&d->dirs_mu);
	return rc;
}

/* Owner and attributes, then mode and times, which the others change. */
static int apply_dir(struct dest *d, const char *path, struct span meta, uint32_t mode, int64_t mtime_s,
		     uint32_t mtime_ns)
{
	if (d->meta.tells) {
		int fd = root_open_dir(d->root, path);
		int rc = fd < 0 ? fd : metaset_apply(&d->meta, fd, meta);
		if (fd >= 0)
			close(fd);
		if (rc < 0)
			return rc;
	}
	return root_dir_meta(d->root, path, mode, mtime_s, mtime_ns);
}

int plan_apply_dirs(struct dest *d)
{
	uint8_t b[DIR_RECORD_BYTES];
	uint64_t at = 0;
	int worst = 0;
	for (;;) {
		ssize_t n = pread(d->dirs_fd, b, sizeof b, (off_t)at);
		if (n <= 0)
			return n < 0 ? -errno : worst;
		struct rd r = rd_init(b, (size_t)n);
		uint32_t mode = rd_u32(&r);
		int64_t mtime_s = (int64_t)rd_u64(&r);
		uint32_t mtime_ns = rd_u32(&r);
		struct span s = rd_str(&r), meta = rd_str(&r);
		if (r.bad)
			return -EIO;
		char path[PATH_MAX_BYTES + 1];
		memcpy(path, s.p, s.n);
		path[s.n] = '\0';
		int rc = apply_dir(d, path, meta, mode, mtime_s, mtime_ns);
		/* what stands in the way of a directory was told when it was to be made */
		if (rc == -EPERM || rc == -EACCES || rc == -EOPNOTSUPP || rc == -E2BIG)
			d->dirs_failed++; /* another user's: its content is here all the same */
		else if (rc < 0 && rc != -ENOENT && rc != -ENOTDIR && rc != -ELOOP)
			worst = rc;
		at += (size_t)n - r.n;
	}
}

/* ---- entries ---- */

static struct frame_verdict plan_stream(struct dest *d, const char *path)
{
	struct stat st;
	if (!d->root)
		return say(PLAN_SEND);
	int rc = root_stat(d->root, path, &st);
	if (rc == -ENOENT)
		return say(PLAN_SEND);
	if (rc < 0)
		return say_errno(rc);
	if (S_ISDIR(st.st_mode))
		return say_failed(HAUL_IO, EISDIR);
	if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
		return say_failed(HAUL_POLICY, EEXIST);
	return d->cfg->overwrite == OVERWRITE_NO ? say_failed(HAUL_POLICY, EEXIST) : say(PLAN_SEND);
}

/* A receiver of one stream takes the first file or stream, whatever its name, and nothing else. */
static struct frame_verdict plan_single(struct dest *d, const struct frame_entry *e)
{
	bool content = e->type == ENTRY_FILE || e->type == ENTRY_STREAM;
	if (e->type == ENTRY_DIR_END)
		return say(PLAN_DONE);
	pthread_mutex_lock(&d->mu);
	bool first = !d->taken_single;
	d->taken_single = true; /* by a directory, too: nothing of a tree is taken */
	pthread_mutex_unlock(&d->mu);
	return content && first ? plan_stream(d, d->only)
				: (struct frame_verdict){PLAN_FAILED, REASON_ONE_ONLY, 0};
}

/* Directories and symlinks: what the rules about existing files leave alone; PLAN_SEND if they say nothing.
 */
static struct frame_verdict left_alone(struct dest *d, const char *path, const struct frame_entry *e)
{
	struct stat st;
	int rc = root_stat(d->root, path, &st);
	if (rc == -ENOENT)
		return say(d->flags & BEGIN_ONLY_EXISTING ? PLAN_SKIP : PLAN_SEND);
	if (rc < 0 || e->type == ENTRY_DIR)
		return say(PLAN_SEND); /* making it says why not */
	if (d->flags & BEGIN_SKIP_EXISTING)
		return say(PLAN_SKIP);
	bool same = S_ISLNK(st.st_mode) && (uint64_t)st.st_size == e->target.n &&
		    st.st_mtim.tv_sec == e->mtime_s && (uint32_t)st.st_mtim.tv_nsec == e->mtime_ns;
	return d->cfg->overwrite == OVERWRITE_NO && !same ? say_failed(HAUL_POLICY, EEXIST) : say(PLAN_SEND);
}

struct link_owner {
	struct metaset *meta;
	struct span groups;
};

static int set_link_owner(int fd, void *arg)
{
	const struct link_owner *o = arg;
	return metaset_owner(o->meta, fd, o->groups);
}

static struct frame_verdict make_symlink(struct dest *d, const char *path, const char *target,
					 const struct frame_entry *e)
{
	const char *tag = dest_tag(d);
	struct link_owner owner = {&d->meta, e->meta};
	if (!tag)
		return say_errno(-errno);
	return say_errno(
		root_symlink(d->root, tag, path, target, e->mtime_s, e->mtime_ns, set_link_owner, &owner));
}

/* No links on this file system, not from here to there, no more of them, or not to what this is by now. */
static bool cannot_link(int rc)
{
	return rc == -EPERM || rc == -EOPNOTSUPP || rc == -ENOSYS || rc == -EXDEV || rc == -EMLINK ||
	       rc == -ENOENT || rc == -ESTALE;
}

/* One more name of a file, which must be what the sender says it is. */
static struct frame_verdict plan_link(struct dest *d, const char *path, const char *from,
				      const struct frame_entry *e)
{
	struct stat st, first;
	int rc = root_stat(d->root, path, &st), found = root_stat(d->root, from, &first);
	const char *tag;
	if (rc == -ENOENT && d->flags & BEGIN_ONLY_EXISTING)
		return say(PLAN_SKIP);
	if (rc < 0 && rc != -ENOENT)
		return say_errno(rc);
	if (rc == 0 && (d->flags & BEGIN_SKIP_EXISTING ||
			(d->flags & BEGIN_SKIP_NEWER && S_ISREG(st.st_mode) && is_newer(e, &st))))
		return say(PLAN_SKIP);
	if (rc == 0 && found == 0 && st.st_dev == first.st_dev && st.st_ino == first.st_ino)
		return say(PLAN_SKIP);
	if (rc == 0 && d->cfg->overwrite == OVERWRITE_NO)
		return say_failed(HAUL_POLICY, EEXIST);
	if (d->flags & BEGIN_DRY_RUN)
		return say(PLAN_DONE);
	if (found < 0 || !S_ISREG(first.st_mode) || (uint64_t)first.st_size != e->size ||
	    first.st_mtim.tv_sec != e->mtime_s)
		return say(PLAN_ALONE);
	tag = dest_tag(d);
	rc = !tag ? -errno
		  : root_link(d->root, tag, from, path, d->cfg->overwrite == OVERWRITE_NO,
			      d->cfg->overwrite == OVERWRITE_BACKUP);
	return cannot_link(rc) ? say(PLAN_ALONE) : say_errno(rc);
}

static struct frame_verdict plan_entry(struct dest *d, const char *path, const struct frame_entry *e,
				       const char *target)
{
	bool created, dry = d->flags & BEGIN_DRY_RUN;
	if (e->type == ENTRY_DIR || e->type == ENTRY_SYMLINK) {
		struct frame_verdict v = left_alone(d, path, e);
		if (v.action != PLAN_SEND)
			return v;
	}
	switch (e->type) {
	case ENTRY_FILE:
		return plan_file(d, path, e);
	case ENTRY_STREAM:
		return plan_stream(d, path);
	case ENTRY_DIR:
		if (dry)
			return say(PLAN_DONE);
		return say_errno(root_mkdir(d->root, path, &created));
	case ENTRY_SYMLINK:
		return dry ? say(PLAN_DONE) : make_symlink(d, path, target, e);
	case ENTRY_LINK:
		return plan_link(d, path, target, e);
	case ENTRY_LEFT_OUT:
		return say(PLAN_DONE);
	default: /* ENTRY_DIR_END */
		return dry ? say(PLAN_DONE) : say_errno(remember_dir(d, path, e));
	}
}

/* ---- what is there already ---- */

static bool map_file(struct dest *d, struct dest_file *f)
{
	if (f->map.state)
		return true;
	uint64_t count = f->size / d->chunk + 1;
	if (count > PARTIAL_CHUNKS_MAX || atomic_load(&d->maps) + count > MAPS_MAX ||
	    !chunk_map_init(&f->map, f->size, d->chunk))
		return false;
	atomic_fetch_add(&d->maps, f->map.count);
	return true;
}

/* May a file keep n descriptors open until it is committed? */
static bool may_hold(struct dest *d, struct dest_file *f, unsigned n)
{
	if (atomic_fetch_add(&d->held, n) + n > d->held_max) {
		atomic_fetch_sub(&d->held, n);
		return false;
	}
	f->held += n;
	return true;
}

/* A large file, or a stream, gets a journal, and perhaps finds one. */
static int open_partial(struct dest *d, struct dest_file *f)
{
	struct journal_header *h = calloc(1, sizeof *h);
	if (!h)
		return -ENOMEM;
	*h = (struct journal_header){.seed = d->seed,
				     .stamp = f->stamp,
				     .size = f->size,
				     .chunk = d->chunk,
				     .mode = f->mode,
				     .stream = f->stream,
				     .path_len = (uint16_t)f->path_len};
	memcpy(h->path, f->path, f->path_len);
	memcpy(h->session, d->session, sizeof h->session);
	memcpy(h->owner, d->owner, sizeof h->owner);
	int rc = partial_open(d->root, h, f->stream ? NULL : &f->map, &f->partial);
	free(h);
	if (rc < 0)
		return rc;
	f->fd = f->partial->fd;
	f->seed = f->partial->head.seed;
	memcpy(f->temp, f->partial->part, sizeof f->temp);
	if (f->map.have)
		f->base = BASE_PARTIAL;
	/* a file too large for this file system, or for this process, is refused before its bytes come */
	return !f->stream && ftruncate(f->fd, (off_t)f->size) < 0 ? -errno : 0;
}

/* The version under the final name: its chunks are offered for comparison. */
static void open_old(struct dest *d, struct dest_file *f)
{
	struct stat st;
	if (!may_hold(d, f, 1))
		return;
	f->base_fd = root_open_file(d->root, f->path, &st);
	if (f->base_fd < 0 || st.st_size == 0 || !map_file(d, f))
		return;
	uint64_t old = (uint64_t)st.st_size;
	for (uint64_t i = 0; i < f->map.count; i++)
		if (i * d->chunk + chunk_map_length(&f->map, i) <= old) {
			f->map.state[i] = CHUNK_HAVE;
			f->map.have++;
		}
	if (!f->map.have)
		return;
	f->base = BASE_OLD;
	f->lazy = d->compare == COMPARE_CONTENT && old == f->size;
}

/* Does what is still missing fit? Asked before a large file begins, not after hours. */
static bool has_room(const struct dest *d, const struct dest_file *f)
{
	struct statvfs st;
	if (f->sparse || f->stream || fstatvfs(root_fd(d->root), &st) < 0)
		return true;
	struct stat part;
	uint64_t there = fstat(f->fd, &part) == 0 ? (uint64_t)part.st_blocks * 512 : 0;
	uint64_t missing = f->size > there ? f->size - there : 0;
	return missing / st.f_frsize <= st.f_bavail;
}

/* From "send it" to how much of it need not be sent. */
static struct frame_verdict prepare(struct dest *d, struct dest_file *f)
{
	bool large = f->size >= PARTIAL_MIN_BYTES || f->stream;
	if (!d->root)
		return say(PLAN_SEND);
	if (large && (f->stream || map_file(d, f)) && (may_hold(d, f, 2) || f->stream)) {
		int rc = open_partial(d, f);
		if (rc < 0)
			return rc == -EBUSY ? say_failed(HAUL_BUSY, EBUSY) : say_errno(rc);
	}
	if (large && !has_room(d, f))
		return say_failed(HAUL_NO_SPACE, ENOSPC);
	bool update = !f->stream && !(d->flags & BEGIN_WHOLE_FILES) && f->base == BASE_NONE &&
		      (d->compare == COMPARE_CONTENT || f->size > d->chunk);
	if (update)
		open_old(d, f);
	return say(f->base == BASE_NONE ? PLAN_SEND : PLAN_COMPARE);
}

static struct dest_file *file_new(const struct frame_entry *e, uint64_t id, const char *path)
{
	size_t n = strlen(path);
	struct dest_file *f = calloc(1, sizeof *f + n + 1 + e->meta.n);
	if (!f)
		return NULL;
	f->id = id;
	f->size = e->size;
	f->mode = e->mode;
	f->mtime_s = e->mtime_s;
	f->mtime_ns = e->mtime_ns;
	f->stream = e->type == ENTRY_STREAM;
	f->sparse = e->sparse;
	f->stamp = e->stamp;
	f->base_fd = -1;
	f->path = (char *)(f + 1);
	f->path_len = n;
	f->fd = -1;
	memcpy(f->path, path, n);
	if (e->meta.n)
		memcpy(f->path + n + 1, e->meta.p, e->meta.n);
	f->meta = (struct span){(const uint8_t *)f->path + n + 1, e->meta.n};
	pthread_mutex_init(&f->mu, NULL);
	return f;
}

static const char *entry_refused(const struct dest *d, const struct frame_entry *e, size_t path_len)
{
	bool link = e->type == ENTRY_LINK && (d->meta.tells & TELLS_LINKS);
	if ((e->type < ENTRY_FILE || e->type > ENTRY_LEFT_OUT) && !link)
		return "an entry of an unknown type";
	if (e->mtime_ns >= 1000000000u)
		return "an entry with an impossible time";
	if (e->type == ENTRY_FILE && e->size > INT64_MAX)
		return "an entry with an impossible size";
	if (path_len > PATH_MAX_BYTES || e->target.n > PATH_MAX_BYTES)
		return "an entry with an overlong name";
	return NULL;
}

/* The whole path from what it shares with the one before. */
static bool join_path(char path[static PATH_MAX_BYTES + 1], size_t *len, const struct frame_entry *e)
{
	if (e->shared > *len || e->path.n > PATH_MAX_BYTES - e->shared)
		return false;
	if (e->path.n)
		memcpy(path + e->shared, e->path.p, e->path.n);
	*len = e->shared + e->path.n;
	path[*len] = '\0';
	return true;
}

static struct frame_verdict decide(struct dest *d, const char *path, size_t len, const struct frame_entry *e)
{
	char target[PATH_MAX_BYTES + 1];
	if (d->single)
		return plan_single(d, e);
	/* the contents of a directory sent as SRC/. have no top entry, but its times come at the end */
	if (root_name_refused(path, len))
		return say_failed(HAUL_POLICY, EINVAL);
	if (meta_refused(e->meta, (enum entry_type)e->type))
		return say_failed(HAUL_POLICY, EPERM);
	if (e->target.n)
		memcpy(target, e->target.p, e->target.n);
	target[e->target.n] = '\0';
	if (e->type == ENTRY_SYMLINK && (!e->target.n || strlen(target) != e->target.n))
		return say_failed(HAUL_POLICY, EINVAL);
	if (e->type == ENTRY_LINK && root_name_refused(target, e->target.n))
		return say_failed(HAUL_POLICY, EINVAL);
	return plan_entry(d, path, e, target);
}

/* For --delete: whatever becomes of it, it was offered. */
static void note_offered(struct dest *d, const char *path, size_t len, const struct frame_entry *e)
{
	if (!(d->flags & BEGIN_DELETE))
		return;
	if (e->type != ENTRY_DIR_END)
		kept_add(&d->kept, KEPT_NAME, path, len);
	else
		kept_add(&d->kept, e->sparse ? KEPT_PART : KEPT_WHOLE, path, len);
}

static bool put_in_table(struct dest *d, struct dest_file *f)
{
	pthread_mutex_lock(&d->mu);
	struct dest_file **slot = &d->table[f->id % OPEN_ENTRIES_MAX];
	bool free_slot = !*slot;
	if (free_slot) {
		*slot = f;
		d->open++;
	}
	pthread_mutex_unlock(&d->mu);
	return free_slot;
}

/* A smaller version by now, or the same as is there: what is unfinished of another one is of no use. */
static void drop_leftover(struct dest *d, const struct frame_entry *e, const struct frame_verdict *v,
			  const char *path, size_t len)
{
	bool compared =
		!(d->flags & (BEGIN_DRY_RUN | BEGIN_SKIP_NEWER | BEGIN_SKIP_EXISTING | BEGIN_ONLY_EXISTING));
	if (d->root && compared && e->type == ENTRY_FILE &&
	    (v->action == PLAN_SKIP || (v->action == PLAN_SEND && e->size < PARTIAL_MIN_BYTES)))
		leftovers_drop(&d->leftovers, d->root, d->owner, path, len);
}

static const char *plan_one(struct dest *d, struct dest_job *job, uint64_t id, char *path, size_t *len,
			    struct rd *r, struct wr *w)
{
	struct frame_entry e;
	struct dest_planned *p = &job->planned[id - job->first];
	if (!frame_get_part_entry(r, &e) || !join_path(path, len, &e))
		return "malformed ENTRY";
	const char *why = entry_refused(d, &e, *len);
	if (!why)
		why = meta_malformed(e.meta, d->meta.tells);
	if (why)
		return why;
	struct frame_verdict v = decide(d, path, *len, &e);
	drop_leftover(d, &e, &v, d->only ? d->only : path, d->only ? strlen(d->only) : *len);
	note_offered(d, path, *len, &e);
	if (!(d->flags & BEGIN_DRY_RUN))
		atomic_store_explicit(&d->unsynced, true, memory_order_relaxed);
	*p = (struct dest_planned){.action = v.action, .type = e.type, .size = e.size};
	if (v.action == PLAN_SEND && !(d->flags & BEGIN_DRY_RUN)) {
		struct dest_file *f = file_new(&e, id, d->only ? d->only : path);
		if (!f)
			return "no memory for an entry";
		if (atomic_fetch_add(&d->meta.held, f->meta.n) + f->meta.n > META_OPEN_MAX_BYTES) {
			dest_file_free(d, f);
			return "open entries tell too much of themselves";
		}
		f->seed = d->seed;
		v = prepare(d, f);
		if (v.action == PLAN_FAILED) {
			dest_file_free(d, f);
		} else if (put_in_table(d, f)) {
			p->file = f;
		} else {
			dest_file_free(d, f);
			return "too many entries are open";
		}
		p->action = v.action;
	}
	p->code = v.code;
	p->sys = v.sys;
	if (v.action == PLAN_FAILED)
		dest_note_bad(d, path, v.code, v.sys);
	frame_put_verdict(w, &v);
	return NULL;
}

void plan_run(struct dest *d, struct dest_job *job)
{
	struct frame_offer offer;
	struct span body = {buf_bytes(job->body), job->body->len};
	char path[PATH_MAX_BYTES + 1] = "";
	size_t len = 0;
	if (!frame_get_offer(body, &offer)) {
		job->violation = "malformed OFFER";
		return;
	}
	job->planned = calloc(offer.count, sizeof *job->planned);
	job->out = buf_malloc(NULL, 16 + offer.count * 5u);
	if (!job->planned || !job->out) {
		job->violation = "no memory for an offer";
		return;
	}
	struct wr w = wr_init(job->out->data, job->out->cap);
	struct rd r = rd_init(offer.entries.p, offer.entries.n);
	frame_put_want(&w, &(struct frame_want){.first = offer.first, .count = offer.count});
	for (unsigned i = 0; i < offer.count && !job->violation; i++)
		job->violation = plan_one(d, job, offer.first + i, path, &len, &r, &w);
	if (!job->violation && !rd_done(&r))
		job->violation = "bytes behind the entries of OFFER";
	job->out->len = w.n;
}
