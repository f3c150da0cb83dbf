#include "lib/hardlinks.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS (1u << 16)
/* what the allocator takes beside what it is asked for, twice an entry */
#define OVERHEAD_BYTES 32u

struct hardlink {
	struct hardlink *next;
	uint64_t dev, ino;
	uint64_t expected; /* names that have not come by */
	unsigned refs;
	enum hardlinks_state state;
	char *path;
};

struct hardlinks {
	pthread_mutex_t mu;
	size_t bytes, bytes_max;
	uint64_t alone;
	struct hardlink *bucket[BUCKETS];
};

struct hardlinks *hardlinks_new(size_t bytes_max)
{
	struct hardlinks *h = calloc(1, sizeof *h);
	if (!h)
		return NULL;
	h->bytes_max = bytes_max;
	pthread_mutex_init(&h->mu, NULL);
	return h;
}

void hardlinks_free(struct hardlinks *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct hardlink *l = h->bucket[i], *next; l; l = next) {
			next = l->next;
			free(l->path);
			free(l);
		}
	pthread_mutex_destroy(&h->mu);
	free(h);
}

static size_t bytes_of(const char *path)
{
	return sizeof(struct hardlink) + strlen(path) + 1 + OVERHEAD_BYTES;
}

static struct hardlink **place_of(struct hardlinks *h, uint64_t dev, uint64_t ino)
{
	uint64_t mixed = (ino ^ dev << 32) * 0x9e3779b97f4a7c15u;
	struct hardlink **at = &h->bucket[mixed >> 48];
	while (*at && ((*at)->ino != ino || (*at)->dev != dev))
		at = &(*at)->next;
	return at;
}

static struct hardlink *link_new(struct hardlinks *h, const char *path)
{
	size_t bytes = bytes_of(path);
	struct hardlink *l = h->bytes + bytes > h->bytes_max ? NULL : calloc(1, sizeof *l);
	if (l && !(l->path = strdup(path))) {
		free(l);
		l = NULL;
	}
	h->bytes += l ? bytes : 0;
	return l;
}

enum hardlinks_role hardlinks_note(struct hardlinks *h, uint64_t dev, uint64_t ino, uint64_t names,
				   const char *path, struct hardlink **out)
{
	enum hardlinks_role role = HARDLINKS_LATER;
	pthread_mutex_lock(&h->mu);
	struct hardlink **at = place_of(h, dev, ino), *l = *at;
	if (l) {
		l->expected -= l->expected > 0;
	} else if ((l = link_new(h, path))) {
		role = HARDLINKS_FIRST;
		l->dev = dev;
		l->ino = ino;
		l->expected = names - 1;
		*at = l;
	} else {
		role = HARDLINKS_ALONE;
		h->alone++;
	}
	if (l)
		l->refs++;
	pthread_mutex_unlock(&h->mu);
	*out = l;
	return role;
}

/* Forgotten once all of its names have come by and nobody waits for it. */
void hardlinks_put(struct hardlinks *h, struct hardlink *l)
{
	pthread_mutex_lock(&h->mu);
	if (--l->refs == 0 && !l->expected) {
		*place_of(h, l->dev, l->ino) = l->next;
		h->bytes -= bytes_of(l->path);
		free(l->path);
		free(l);
	}
	pthread_mutex_unlock(&h->mu);
}

enum hardlinks_state hardlinks_state(struct hardlinks *h, const struct hardlink *l)
{
	pthread_mutex_lock(&h->mu);
	enum hardlinks_state state = l->state;
	pthread_mutex_unlock(&h->mu);
	return state;
}

void hardlinks_settle(struct hardlinks *h, struct hardlink *l, bool there)
{
	pthread_mutex_lock(&h->mu);
	l->state = there ? HARDLINKS_THERE : HARDLINKS_FAILED;
	pthread_mutex_unlock(&h->mu);
}

bool hardlinks_renew(struct hardlinks *h, struct hardlink *l, const char *path)
{
	char *copy = strdup(path);
	if (!copy)
		return false;
	pthread_mutex_lock(&h->mu);
	h->bytes += bytes_of(copy) - bytes_of(l->path);
	free(l->path);
	l->path = copy;
	l->state = HARDLINKS_PENDING;
	pthread_mutex_unlock(&h->mu);
	return true;
}

bool hardlinks_path(struct hardlinks *h, const struct hardlink *l, char *path, size_t size)
{
	pthread_mutex_lock(&h->mu);
	size_t n = strlen(l->path);
	if (n < size)
		memcpy(path, l->path, n + 1);
	pthread_mutex_unlock(&h->mu);
	return n < size;
}

uint64_t hardlinks_alone(struct hardlinks *h)
{
	pthread_mutex_lock(&h->mu);
	uint64_t n = h->alone;
	pthread_mutex_unlock(&h->mu);
	return n;
}
