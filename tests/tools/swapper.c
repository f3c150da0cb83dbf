/*
 * A symlink race that is won every time: runs CMD and exchanges the names DIR and LINK just before the K-th
 * system call with a path that CMD, its threads or its children make.
 *
 *   swapper once|stay K DIR LINK TOTAL CMD...
 *
 * once: they are exchanged back when that call returns; stay: they stay so. TOTAL is a file that gets the
 * number of such calls. The exit status is CMD's.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SYSCALL_STOP (SIGTRAP | 0x80)

static struct {
	bool once, swapped;
	unsigned long at, total;
	pid_t by; /* in whose call the names are exchanged */
	const char *dir, *link;
} race;

static void exchange(void)
{
	if (renameat2(AT_FDCWD, race.dir, AT_FDCWD, race.link, RENAME_EXCHANGE) == 0)
		race.swapped = !race.swapped;
}

static bool takes_path(const struct __ptrace_syscall_info *s)
{
	switch (s->entry.nr) {
	case SYS_newfstatat:
	case SYS_utimensat:
		return s->entry.args[1] && !(s->entry.args[3] & AT_EMPTY_PATH);
	case SYS_openat:
	case SYS_openat2:
	case SYS_mkdirat:
	case SYS_renameat:
	case SYS_renameat2:
	case SYS_linkat:
	case SYS_symlinkat:
	case SYS_unlinkat:
	case SYS_faccessat:
	case SYS_faccessat2:
	case SYS_fchmodat:
#ifdef __x86_64__
	case SYS_open:
	case SYS_stat:
	case SYS_lstat:
	case SYS_mkdir:
	case SYS_rename:
	case SYS_unlink:
#endif
		return true;
	default:
		return false;
	}
}

static void on_syscall(pid_t pid)
{
	struct __ptrace_syscall_info s = {0};
	if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof s, &s) <= 0)
		return;
	if (s.op == PTRACE_SYSCALL_INFO_ENTRY && takes_path(&s)) {
		if (++race.total == race.at) {
			race.by = pid;
			exchange();
		}
	} else if (s.op == PTRACE_SYSCALL_INFO_EXIT && race.once && race.by == pid) {
		race.by = 0;
		exchange();
	}
}

/* What to hand on to a stopped task: the signal it got, unless it was ours. */
static long on_stop(pid_t pid, int status)
{
	int sig = WSTOPSIG(status);
	if (sig == SYSCALL_STOP) {
		on_syscall(pid);
		return 0;
	}
	return status >> 16 || sig == SIGSTOP || sig == SIGTRAP ? 0 : sig;
}

static int trace(pid_t main)
{
	int status, result = 1;
	pid_t pid;
	while ((pid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
		if (pid == main && WIFEXITED(status))
			result = WEXITSTATUS(status);
		if (pid == main && WIFSIGNALED(status))
			result = 128 + WTERMSIG(status);
		if (pid > 0 && WIFSTOPPED(status))
			ptrace(PTRACE_SYSCALL, pid, NULL, on_stop(pid, status));
	}
	return result;
}

int main(int argc, char **argv)
{
	int status;
	if (argc < 7) {
		fprintf(stderr, "usage: swapper once|stay K DIR LINK TOTAL CMD...\n");
		return 1;
	}
	race.once = strcmp(argv[1], "once") == 0;
	race.at = strtoul(argv[2], NULL, 10);
	race.dir = argv[3];
	race.link = argv[4];
	pid_t pid = fork();
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		execvp(argv[6], argv + 6);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 1;
	ptrace(PTRACE_SETOPTIONS, pid, NULL,
	       (void *)(uintptr_t)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACEFORK |
				   PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC));
	ptrace(PTRACE_SYSCALL, pid, NULL, NULL);
	status = trace(pid);
	if (race.swapped)
		exchange();
	FILE *total = fopen(argv[5], "w");
	if (!total || fprintf(total, "%lu\n", race.total) < 0 || fclose(total) != 0)
		return 1;
	return status;
}
