#include "lib/dest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/dest_impl.h"
#include "lib/entropy.h"
#include "lib/plan.h"
#include "lib/sweep.h"
#include "wire/err.h"

/* Three for every entry that may be open, and some. */
#define DESCRIPTORS_MAX (4u * OPEN_ENTRIES_MAX)
/* Connection, stages, root, state directory and what a call needs for its length. */
#define DESCRIPTORS_OWN 24u

/*
 * Thousands of large files may be wanted at a time, and each keeps its partial, journal and older version
 * open: all descriptors this process may have are ours then, a third of them for that, a quarter for files
 * that come in chunks. A consumer, which would inherit the limit, may not be able to cope with so many.
 */
static void claim_descriptors(struct dest *d, bool raise)
{
	struct rlimit r;
	if (getrlimit(RLIMIT_NOFILE, &r) < 0)
		return;
	rlim_t most = r.rlim_max < DESCRIPTORS_MAX ? r.rlim_max : DESCRIPTORS_MAX;
	if (raise && r.rlim_cur < most) {
		struct rlimit more = {.rlim_cur = most, .rlim_max = r.rlim_max};
		if (setrlimit(RLIMIT_NOFILE, &more) == 0)
			r = more;
	}
	uint64_t spare = r.rlim_cur > DESCRIPTORS_OWN ? r.rlim_cur - DESCRIPTORS_OWN : 0;
	d->held_max = spare / 3;
	d->loose_max = spare / 4;
}

enum haul_rc dest_init(struct dest *d, const struct haul_config *cfg, struct blocks *blocks,
		       const uint8_t session_id[static 16], struct haul_err *err)
{
	*d = (struct dest){.cfg = cfg, .blocks = blocks, .dirs_fd = -1, .mark_fd = -1};
	pthread_mutex_init(&d->mu, NULL);
	pthread_mutex_init(&d->dirs_mu, NULL);
	pthread_mutex_init(&d->mark_mu, NULL);
	kept_init(&d->kept, entropy_u64());
	memcpy(d->session, session_id, sizeof d->session);
	claim_descriptors(d, !cfg->to_cmd);
	d->umask = umask(0);
	umask(d->umask);
	(void)err;
	return HAUL_OK;
}

void dest_tidy(struct dest *d)
{
	if (!d->root || d->flags & BEGIN_DRY_RUN)
		return;
	pthread_mutex_lock(&d->mark_mu);
	if (d->mark_fd >= 0)
		sweep_end(d->root, d->tag, d->mark_fd);
	d->mark_fd = -1;
	pthread_mutex_unlock(&d->mark_mu);
	root_tidy(d->root);
}

void dest_free(struct dest *d)
{
	for (size_t i = 0; i < OPEN_ENTRIES_MAX; i++)
		if (d->table[i])
			dest_forget(d, d->table[i]);
	if (d->dirs_fd >= 0)
		close(d->dirs_fd);
	dest_tidy(d);
	leftovers_free(&d->leftovers);
	root_close(d->root);
	kept_free(&d->kept);
	pthread_mutex_destroy(&d->mark_mu);
	pthread_mutex_destroy(&d->dirs_mu);
	pthread_mutex_destroy(&d->mu);
}

struct dest_file *dest_find(struct dest *d, uint64_t id)
{
	pthread_mutex_lock(&d->mu);
	struct dest_file *f = d->table[id % OPEN_ENTRIES_MAX];
	pthread_mutex_unlock(&d->mu);
	return f && f->id == id ? f : NULL;
}

bool dest_has_open(struct dest *d)
{
	pthread_mutex_lock(&d->mu);
	bool any = d->open > 0;
	pthread_mutex_unlock(&d->mu);
	return any;
}

/* Packs are for small files that come whole: no other file may be carried by one. */
struct dest_file *dest_claim(struct dest *d, uint64_t id)
{
	pthread_mutex_lock(&d->mu);
	struct dest_file *f = d->table[id % OPEN_ENTRIES_MAX];
	bool ours = f && f->id == id && f->state == DEST_WANTED && f->base == BASE_NONE && !f->partial &&
		    !f->stream;
	if (ours)
		f->state = DEST_RECEIVING;
	pthread_mutex_unlock(&d->mu);
	return ours ? f : NULL;
}

void dest_forget(struct dest *d, struct dest_file *f)
{
	pthread_mutex_lock(&d->mu);
	d->table[f->id % OPEN_ENTRIES_MAX] = NULL;
	d->open--;
	while (d->first < d->next && !d->table[d->first % OPEN_ENTRIES_MAX])
		d->first++;
	pthread_mutex_unlock(&d->mu);
	dest_file_free(d, f);
}

static void close_loose(struct dest *d, struct dest_file *f)
{
	close(f->fd);
	f->fd = -1;
	atomic_fetch_sub(&d->loose, 1);
}

void dest_file_free(struct dest *d, struct dest_file *f)
{
	if (f->partial && f->stream && f->temp[0] && (d->abandon_streams || f->code)) {
		root_temp_unlink(d->root, f->temp);
		f->temp[0] = '\0';
	}
	if (f->partial) /* committed: its journal has served; else both stay for the next run */
		partial_close(d->root, f->partial, !f->temp[0]);
	else if (f->fd >= 0)
		close_loose(d, f);
	if (f->temp[0] && !f->partial)
		root_temp_unlink(d->root, f->temp);
	if (f->base_fd >= 0)
		close(f->base_fd);
	atomic_fetch_sub(&d->held, f->held);
	atomic_fetch_sub(&d->maps, f->map.count);
	atomic_fetch_sub(&d->meta.held, f->meta.n);
	chunk_map_free(&f->map);
	pthread_mutex_destroy(&f->mu);
	free(f);
}

struct dest_file *dest_take_up(struct dest *d)
{
	struct partial *p = NULL;
	if (!d->root || partial_find_stream(d->root, d->session, &p) < 0)
		return NULL;
	struct dest_file *f = calloc(1, sizeof *f + p->head.path_len + 1u);
	if (!f) {
		partial_close(d->root, p, false);
		return NULL;
	}
	*f = (struct dest_file){.size = p->head.size,
				.mode = p->head.mode,
				.stream = true,
				.chunked = true,
				.seed = p->head.seed,
				.state = DEST_RECEIVING,
				.partial = p,
				.fd = p->fd,
				.base_fd = -1};
	f->path = (char *)(f + 1);
	f->path_len = p->head.path_len;
	memcpy(f->path, p->head.path, f->path_len);
	memcpy(f->temp, p->part, sizeof f->temp);
	f->received = f->written = f->recorded = p->stream_length;
	f->sum = f->sum_done = p->sum;
	f->in_journal = true;
	pthread_mutex_init(&f->mu, NULL);
	d->table[0] = f;
	d->open = 1;
	d->seed = p->head.seed;
	d->chunk = p->head.chunk;
	d->taken_single = true;
	return f;
}

void dest_note_bad(struct dest *d, const char *path, unsigned reason, int sys)
{
	pthread_mutex_lock(&d->mu);
	const char *why = haul_reason_text(reason, &sys);
	haul_fail(&d->first_bad, haul_rc_from_reason(reason), sys, path, "%s", why);
	pthread_mutex_unlock(&d->mu);
}

void dest_fail(struct dest_file *f, enum haul_rc rc, int sys)
{
	pthread_mutex_lock(&f->mu);
	if (!f->code) {
		f->sys = (uint16_t)sys;
		f->code = (uint16_t)haul_rc_status(rc);
	}
	pthread_mutex_unlock(&f->mu);
}

void dest_fail_errno(struct dest_file *f, int sys)
{
	dest_fail(f, haul_rc_from_errno(sys), sys);
}

const char *dest_tag(struct dest *d)
{
	pthread_mutex_lock(&d->mark_mu);
	if (d->mark_fd < 0)
		d->mark_fd = sweep_begin(d->root, d->tag);
	int rc = d->mark_fd;
	pthread_mutex_unlock(&d->mark_mu);
	errno = rc < 0 ? -rc : 0;
	return rc < 0 ? NULL : d->tag;
}

int dest_temp_open(struct dest *d, char name[static ROOT_TEMP_MAX])
{
	const char *tag = dest_tag(d);
	return tag ? root_temp_open(d->root, tag, atomic_fetch_add(&d->temp_number, 1), name) : -errno;
}

int dest_open_temp(struct dest *d, struct dest_file *f)
{
	int fd = dest_temp_open(d, f->temp);
	if (fd < 0)
		f->temp[0] = '\0';
	return fd;
}

/* The temporary file, for the first time or once more. */
static int open_file(struct dest *d, struct dest_file *f)
{
	int fd = f->temp[0] ? root_state_open(d->root, f->temp, O_RDWR) : dest_open_temp(d, f);
	if (fd >= 0)
		atomic_fetch_add(&d->loose, 1);
	return fd;
}

int dest_file_fd(struct dest *d, struct dest_file *f)
{
	pthread_mutex_lock(&f->mu);
	if (f->fd < 0 && !f->code) {
		int fd = open_file(d, f);
		if (fd < 0) {
			f->sys = (uint16_t)-fd;
			f->code = (uint16_t)haul_rc_status(haul_rc_from_errno(-fd));
		} else {
			f->fd = fd;
		}
	}
	int fd = f->code ? -1 : f->fd;
	f->users += fd >= 0;
	pthread_mutex_unlock(&f->mu);
	return fd;
}

void dest_file_done(struct dest *d, struct dest_file *f)
{
	pthread_mutex_lock(&f->mu);
	if (--f->users == 0 && !f->partial && atomic_load(&d->loose) > d->loose_max)
		close_loose(d, f);
	pthread_mutex_unlock(&f->mu);
}

int dest_set_meta(struct dest *d, const struct dest_file *f, int fd)
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {f->mtime_s, f->mtime_ns}};
	int rc = metaset_apply(&d->meta, fd, f->meta);
	if (rc < 0)
		return rc;
	/* set-id bits are not the sender's to give */
	if (fchmod(fd, f->stream ? 0666 & ~d->umask : f->mode & 0777) < 0)
		return -errno;
	return f->stream || futimens(fd, times) == 0 ? 0 : -errno;
}

int dest_give_name(struct dest *d, struct dest_file *f)
{
	const char *tag = dest_tag(d);
	int rc = !tag ? -errno
		      : root_commit(d->root, tag, f->temp, f->path, d->cfg->overwrite == OVERWRITE_NO,
				    d->cfg->overwrite == OVERWRITE_BACKUP);
	if (rc == 0)
		f->temp[0] = '\0';
	return rc;
}

void dest_job_free(struct dest_job *job)
{
	if (!job)
		return;
	buf_put(job->body);
	buf_put(job->out);
	free(job->planned);
	free(job->files);
	free(job);
}
