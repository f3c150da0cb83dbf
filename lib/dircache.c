#include "lib/dircache.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

uint64_t dircache_hash(const char *path, size_t len)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)path[i]) * UINT64_C(0x100000001b3);
	return h;
}

struct root_dir *dircache_dir(const char *path, size_t len, uint64_t hash, int fd)
{
	struct root_dir *dir = malloc(sizeof *dir + len + 1);
	if (!dir)
		return NULL;
	*dir = (struct root_dir){.fd = fd, .refs = 1, .hash = hash, .len = len};
	memcpy(dir->path, path, len);
	dir->path[len] = '\0';
	return dir;
}

void dircache_unref(struct root_dir *dir)
{
	if (!dir || --dir->refs > 0)
		return;
	if (dir->fd >= 0)
		close(dir->fd);
	free(dir);
}

/* Under the lock. */
static struct dircache_slot *find_slot(struct dircache *c, uint64_t hash, const char *path, size_t len)
{
	for (struct dircache_slot *s = c->slot; s < c->slot + DIRCACHE_DIRS; s++)
		if (s->hash == hash && s->dir && s->dir->len == len && memcmp(s->dir->path, path, len) == 0) {
			s->used = ++c->tick;
			return s;
		}
	return NULL;
}

struct root_dir *dircache_find(struct dircache *c, uint64_t hash, const char *path, size_t len)
{
	pthread_mutex_lock(&c->lock);
	struct dircache_slot *s = find_slot(c, hash, path, len);
	struct root_dir *dir = s ? s->dir : NULL;
	if (dir)
		dir->refs++;
	pthread_mutex_unlock(&c->lock);
	return dir;
}

struct root_dir *dircache_add(struct dircache *c, struct root_dir *dir)
{
	pthread_mutex_lock(&c->lock);
	struct dircache_slot *s = find_slot(c, dir->hash, dir->path, dir->len);
	if (s) {
		dircache_unref(dir);
	} else {
		s = c->slot;
		for (struct dircache_slot *i = s; i < c->slot + c->limit; i++)
			if (i->used < s->used)
				s = i;
		dircache_unref(s->dir);
		*s = (struct dircache_slot){.hash = dir->hash, .used = ++c->tick, .dir = dir};
	}
	dir = s->dir;
	dir->refs++;
	pthread_mutex_unlock(&c->lock);
	return dir;
}

void dircache_clear(struct dircache *c)
{
	pthread_mutex_lock(&c->lock);
	for (size_t i = 0; i < DIRCACHE_DIRS; i++) {
		dircache_unref(c->slot[i].dir);
		c->slot[i] = (struct dircache_slot){0};
	}
	pthread_mutex_unlock(&c->lock);
}

void dircache_put(struct dircache *c, struct root_dir *dir)
{
	pthread_mutex_lock(&c->lock);
	dircache_unref(dir);
	pthread_mutex_unlock(&c->lock);
}

void dircache_init(struct dircache *c)
{
	struct rlimit r;
	*c = (struct dircache){.limit = DIRCACHE_DIRS};
	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur / 8 < DIRCACHE_DIRS)
		c->limit = r.rlim_cur / 8 ? r.rlim_cur / 8 : 1;
	pthread_mutex_init(&c->lock, NULL);
}

void dircache_free(struct dircache *c)
{
	dircache_clear(c);
	pthread_mutex_destroy(&c->lock);
}
