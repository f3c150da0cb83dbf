/*
 * plan: from an OFFER to a WANT. Each entry is checked, compared with what is there, and answered: skip,
 * send, done, or why not. Directories and symlinks are made on the spot.
 */
#ifndef HAUL_LIB_PLAN_H
#define HAUL_LIB_PLAN_H

#include "lib/dest.h"

enum plan_action {
	PLAN_SKIP = 0,
	PLAN_SEND = 1,
	PLAN_FAILED = 2,
	PLAN_DONE = 3,
	PLAN_COMPARE = 4,
	PLAN_ALONE = 5
};

/* Worker: fills job->out with the body of a WANT, or job->violation. */
void plan_run(struct dest *d, struct dest_job *job);

/* Modes and times of the directories, in the order the walk left them: children before parents. 0 or -errno.
 */
int plan_apply_dirs(struct dest *d);

#endif
