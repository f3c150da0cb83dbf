/*
 * sweep: what dead sessions left in the state directory.
 *
 *   .haul/TAG.session         locked by the session whose temporary files are
 *   .haul/TAG-NUMBER.part     (TAG: 16 hex digits)
 *
 * The lock is taken before the first temporary file is made and given back after the last one is gone, so a
 * temporary file whose TAG.session is absent or not locked belongs to nobody. Partial files have journals to
 * lock (lib/partial.h): one without journal, without data or without a single record is worth nothing.
 */
#ifndef HAUL_LIB_SWEEP_H
#define HAUL_LIB_SWEEP_H

#include <stddef.h>

#include "lib/root.h"

#define SWEEP_TAG_BYTES 17 /* with its NUL */
/* Names looked at in one go. */
#define SWEEP_NAMES_MAX 10000u

/* A session begins: tag gets a fresh TAG, the lock is held by the descriptor returned, or -errno. */
int sweep_begin(struct root *root, char tag[static SWEEP_TAG_BYTES]);
/* It ends: its temporary files are gone or anybody's. */
void sweep_end(struct root *root, const char *tag, int fd);

/* Removes what belongs to nobody; how many names that were. Never touches what a live session uses. */
size_t sweep_run(struct root *root);

#endif
