#include "lib/kept.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/digest.h"

#define FIRST_CAP 1024u

void kept_init(struct kept *k, uint64_t seed)
{
	*k = (struct kept){.seed = seed};
	pthread_mutex_init(&k->mu, NULL);
}

void kept_free(struct kept *k)
{
	free(k->record);
	pthread_mutex_destroy(&k->mu);
}

static uint64_t digest_of(const struct kept *k, enum kept_kind kind, const char *path, size_t len)
{
	return digest_name(k->seed + (uint64_t)kind, path, len);
}

static int make_room(struct kept *k)
{
	if (k->count < k->cap)
		return 0;
	if (k->cap >= KEPT_MAX)
		return E2BIG;
	size_t cap = k->cap ? k->cap * 2 : FIRST_CAP;
	uint64_t *record = realloc(k->record, cap * sizeof *record);
	if (!record)
		return ENOMEM;
	k->record = record;
	k->cap = cap;
	return 0;
}

void kept_add(struct kept *k, enum kept_kind kind, const char *path, size_t len)
{
	uint64_t digest = digest_of(k, kind, path, len);
	pthread_mutex_lock(&k->mu);
	if (!k->failed)
		k->failed = make_room(k);
	if (!k->failed)
		k->record[k->count++] = digest;
	pthread_mutex_unlock(&k->mu);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

int kept_seal(struct kept *k)
{
	if (k->count)
		qsort(k->record, k->count, sizeof *k->record, by_value);
	return -k->failed;
}

bool kept_has(const struct kept *k, enum kept_kind kind, const char *path, size_t len)
{
	uint64_t digest = digest_of(k, kind, path, len);
	return k->count && bsearch(&digest, k->record, k->count, sizeof *k->record, by_value);
}
