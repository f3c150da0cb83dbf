/* Processes that hold an unfinished transfer, in every state of health. */
#ifndef HAUL_TESTS_HOLDING_H
#define HAUL_TESTS_HOLDING_H

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "lib/holder.h"
#include "lib/partial.h"
#include "tests/unit/unit.h"

enum holding { HOLD_IDLE, HOLD_PROVES, HOLD_STOPPED };

static struct root *open_dst(void)
{
	struct root *r = NULL;
	struct haul_err err = {0};
	assert_int_equal(root_open("dst", NULL, &r, &err), HAUL_OK);
	return r;
}

/* In the child; never returns. */
static void hold(const struct journal_header *head, enum holding how, int ready)
{
	struct root *root = NULL;
	struct haul_err err = {0};
	struct partial *p;
	struct chunk_map map;
	sigset_t usr1;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	if (!chunk_map_init(&map, head->size, head->chunk) ||
	    root_open("dst", NULL, &root, &err) != HAUL_OK || partial_open(root, head, &map, &p) != 0 ||
	    write(ready, "", 1) != 1)
		_exit(1);
	if (how == HOLD_STOPPED)
		raise(SIGSTOP);
	for (;;)
		if (how == HOLD_PROVES && sigwaitinfo(&usr1, NULL) == SIGUSR1)
			holder_prove(root, p->journal, true);
		else if (how != HOLD_PROVES)
			pause();
}

/* A process that has it open now. */
static pid_t start_holder(const struct journal_header *head, enum holding how)
{
	int ready[2], status;
	char byte;
	assert_int_equal(pipe(ready), 0);
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		hold(head, how, ready[1]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	if (how == HOLD_STOPPED) {
		assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
		assert_true(WIFSTOPPED(status));
	}
	return pid;
}

/* The signal it died by. */
static int bury(pid_t pid)
{
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

#endif
