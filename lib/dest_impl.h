/*
 * What the files of dest share: dest (the table, life of a file), dest_work (what workers do with messages)
 * and commit (sync, rename, verdict of a file).
 */
#ifndef HAUL_LIB_DEST_IMPL_H
#define HAUL_LIB_DEST_IMPL_H

#include "lib/bytes.h"
#include "lib/dest.h"

/* For a pack: the file, if nothing has carried it yet. */
struct dest_file *dest_claim(struct dest *d, uint64_t id);
void dest_fail_errno(struct dest_file *f, int sys);
int dest_open_temp(struct dest *d, struct dest_file *f);
/* The descriptor chunks go to, made by whichever worker comes first; -1 once the file has failed. Given back
 * with dest_file_done: it stays open if there are descriptors to spare. */
int dest_file_fd(struct dest *d, struct dest_file *f);
void dest_file_done(struct dest *d, struct dest_file *f);
int dest_set_meta(struct dest *d, const struct dest_file *f, int fd);
int dest_give_name(struct dest *d, struct dest_file *f);
/* No temporary file is wanted any more. */
void dest_tidy(struct dest *d);
/* One kept chunk: read it again, and take it over from an older version. 0, -EBADMSG when it changed, -errno.
 */
int dest_keep_one(struct dest *d, struct dest_file *f, uint64_t i, uint8_t *scratch, bool copy);

#endif
