/*
 * Open directories by path, counted, the least recently used one going first. Part of lib/root: workers share
 * one, and a path costs one look-up instead of a walk from the top. Thread-safe.
 */
#ifndef HAUL_LIB_DIRCACHE_H
#define HAUL_LIB_DIRCACHE_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#define DIRCACHE_DIRS 64

struct root_dir {
	int fd;	       /* owned */
	unsigned refs; /* under the lock; the cache holds one */
	uint64_t hash;
	size_t len;
	char path[];
};

struct dircache_slot {
	uint64_t hash, used;
	struct root_dir *dir; /* NULL: free */
};

struct dircache {
	pthread_mutex_t lock; /* of all below, and of the reference counts */
	uint64_t tick;
	size_t limit; /* slots in use: few where descriptors are few */
	struct dircache_slot slot[DIRCACHE_DIRS];
};

void dircache_init(struct dircache *c);
void dircache_free(struct dircache *c);

uint64_t dircache_hash(const char *path, size_t len);

/* A directory that nobody shares yet, with one reference; fd moves to it. NULL when out of memory. */
struct root_dir *dircache_dir(const char *path, size_t len, uint64_t hash, int fd);

/* Counted for the caller, or NULL. */
struct root_dir *dircache_find(struct dircache *c, uint64_t hash, const char *path, size_t len);
/* Takes the caller's fresh dir over; returns it, or the one another thread was faster with, counted. */
struct root_dir *dircache_add(struct dircache *c, struct root_dir *dir);
/* One removed directory may have stale ancestors here too, so all of it goes. */
void dircache_clear(struct dircache *c);

/* Drops a reference; closes and frees with the last. dircache_unref: under the lock already; NULL is fine. */
void dircache_put(struct dircache *c, struct root_dir *dir);
void dircache_unref(struct root_dir *dir);

#endif
