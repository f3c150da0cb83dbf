/* What the parts of root share: root.c, the paths beneath DIR, and root_state.c, DIR/.haul. */
#ifndef HAUL_LIB_ROOT_IMPL_H
#define HAUL_LIB_ROOT_IMPL_H

#include <fcntl.h>
#include <stdatomic.h>

#include "lib/dircache.h"
#include "lib/root.h"

#define ROOT_DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

struct root {
	struct root_dir *top; /* the root itself, never in the cache */
	_Atomic uint64_t serial;

	struct dircache cache; /* its lock also guards state */
	struct root_dir *state;
};

/* DIR/.haul, made if it is not there. Counted; NULL with errno set. */
struct root_dir *root_state_get(struct root *root);

/* Does op in DIR/.haul. Another session's root_tidy may remove an empty .haul at any moment, also between our
 * mkdir and open: then it is made again. */
typedef int root_state_op(int state, const char *name, const char *arg);
int root_in_state(struct root *root, root_state_op *op, const char *name, const char *arg);

/* Is it one of ours, and shorter than room? */
bool root_temp_name_ok(const char *name, size_t room);

/* A name in .haul for what lives only within one call. The serial number began at random, far from those of
 * files. */
void root_aside_name(struct root *root, const char *tag, char name[static ROOT_TEMP_MAX]);

#endif
