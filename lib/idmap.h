/*
 * idmap: names of users and groups, from /etc/passwd and /etc/group alone. Other name services cannot be asked
 * from inside a sandbox. The files are opened before it is entered and read when first needed; what is changed
 * there later does not count any more.
 */
#ifndef HAUL_LIB_IDMAP_H
#define HAUL_LIB_IDMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IDMAP_NAME_MAX 255

enum idmap_kind { IDMAP_USER, IDMAP_GROUP };

/* To be called once before entering a sandbox. */
void idmap_open(void);

/* The name of a user or group; false when it has none that can be known. From any thread. */
bool idmap_name(enum idmap_kind kind, uint32_t id, char name[static IDMAP_NAME_MAX + 1]);

/* The number of a name, which need not end in NUL; false when there is no such name. From any thread. */
bool idmap_id(enum idmap_kind kind, const char *name, size_t len, uint32_t *id);

/* One line of such a file, "NAME:PASSWORD:NUMBER..." without its newline, looked at only for these three: false
 * when it is none. *name points into line. */
bool idmap_line(const char *line, size_t len, size_t *name_len, uint32_t *id);

#endif
