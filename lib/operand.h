/* operand: how a SRC is spelt, and what that makes of its name. Only text, but for operand_real_name. */
#ifndef HAUL_LIB_OPERAND_H
#define HAUL_LIB_OPERAND_H

#include <stdbool.h>
#include <stddef.h>

/* The directory part, the last component, and whether slashes followed it. */
struct operand {
	char *dir;  /* owned; "." or "/" when there is none */
	char *name; /* owned; "" for the file system's root */
	bool slash;
};

/* False when out of memory; operand_free either way. */
bool operand_parse(const char *text, struct operand *out);
void operand_free(struct operand *op);

/* `a/b/..` arrives under the name its directory really has: the caller's to free; NULL with errno set. "" is
 * the root. A relative text is looked up below chdir_to. */
char *operand_real_name(const char *chdir_to, const char *text);

/* The first SRC that would arrive under the name of an earlier one, its index; *earlier is the other's. count when
 * there is none, or no memory to tell. SRC/. has no name of its own. */
size_t operand_clash(const char *chdir_to, const char *const *texts, size_t count, size_t *earlier);
/* Does this SRC send what is in a directory, and not the directory: SRC/. */
bool operand_is_content(const char *text);

/* What a message calls a thing: SRC as typed, then the path below it ("" for SRC itself). */
void operand_subject(const char *text, const char *below, char *out, size_t cap);

#endif
