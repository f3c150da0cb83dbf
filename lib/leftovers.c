#include "lib/leftovers.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/inventory.h"
#include "lib/partial.h"
#include "lib/sweep.h"

void leftovers_find(struct leftovers *l, struct root *root, const char *owner)
{
	struct inventory_names names = {.limit = SWEEP_NAMES_MAX};
	char mine[ROOT_TEMP_MAX], id[ROOT_TEMP_MAX];
	size_t prefix = (size_t)(strchr(partial_id(mine, owner, "", 0), '-') + 1 - mine);
	leftovers_free(l);
	int rc = inventory_names(root, &names);
	for (size_t i = 0; rc == 0 && i < names.count && l->count < LEFTOVERS_MAX; i++) {
		if (strncmp(names.name[i], mine, prefix) != 0 || !inventory_id(names.name[i], ".j", id))
			continue;
		if (!l->id)
			l->id = calloc(LEFTOVERS_MAX, sizeof *l->id);
		if (!l->id)
			break;
		memcpy(l->id[l->count++], id, sizeof id);
	}
	free(names.name);
}

void leftovers_free(struct leftovers *l)
{
	free(l->id);
	*l = (struct leftovers){0};
}

static int by_id(const void *a, const void *b)
{
	return strcmp(a, b);
}

void leftovers_drop(const struct leftovers *l, struct root *root, const char *owner, const char *path,
		    size_t len)
{
	char id[ROOT_TEMP_MAX];
	uint64_t freed;
	if (l->count && bsearch(partial_id(id, owner, path, len), l->id, l->count, sizeof *l->id, by_id))
		inventory_discard(root, id, &freed);
}
