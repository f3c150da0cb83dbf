/*
 * syscut [-k | -s BYTES] [-n N] [-c FILE] DIR COMMAND...: runs COMMAND with all its threads and children
 * under ptrace and counts the system calls that change something beneath DIR. At the N-th, before it is made,
 * the file system of DIR loses its power (see powercut) and COMMAND is killed; with -k it is only killed.
 * With -s BYTES only writes are counted, and the N-th falls short: BYTES at most, and COMMAND goes on. FILE
 * gets the number of calls.
 *
 * Exits with 77 after a cut, else as COMMAND does; 125 when it cannot work itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

/* <linux/ptrace.h> and <sys/ptrace.h> of old systems do not go together */
#define GET_SYSCALL_INFO 0x420e
#define AT_ENTRY	 1
#define EVENT_STOP	 128
struct syscall_info {
	uint8_t op, pad[3];
	uint32_t arch;
	uint64_t ip, sp, nr, args[6], more[4];
};

#define FS_SHUTDOWN	_IOR('X', 125, uint32_t)
#define WITHOUT_ITS_LOG 2u
#define EXIT_CUT	77
#define EXIT_SELF	125

static const long changing[] = {
	SYS_write,     SYS_pwrite64,  SYS_writev,    SYS_pwritev,	  SYS_fsync,
	SYS_fdatasync, SYS_syncfs,    SYS_ftruncate, SYS_fallocate,	  SYS_fchmod,
	SYS_fchmodat,  SYS_utimensat, SYS_renameat2, SYS_renameat,	  SYS_unlinkat,
	SYS_mkdirat,   SYS_linkat,    SYS_symlinkat, SYS_close,		  SYS_openat,
	SYS_openat2,   SYS_fchown,    SYS_fsetxattr, SYS_copy_file_range, SYS_sync_file_range,
};

static const char *dir;
static size_t dir_len;
static int dir_fd = -1;
static pid_t command;
static long calls, at;
static bool only_kill;
static uint64_t shorten; /* to so many bytes; 0: not */

static bool beneath(pid_t tid, uint64_t fd)
{
	char link[64], path[PATH_MAX];
	snprintf(link, sizeof link, "/proc/%d/fd/%d", tid, (int)fd);
	ssize_t n = readlink(link, path, sizeof path - 1);
	return n > 0 && (size_t)n >= dir_len && memcmp(path, dir, dir_len) == 0;
}

static bool creates(pid_t tid, const struct syscall_info *s)
{
	uint64_t flags = s->args[2];
	if (s->nr == SYS_openat2)
		flags = (uint64_t)ptrace(PTRACE_PEEKDATA, tid, (void *)(uintptr_t)s->args[2], NULL);
	return flags & O_CREAT;
}

static bool counts(pid_t tid)
{
	struct syscall_info s;
	if (ptrace(GET_SYSCALL_INFO, tid, (void *)sizeof s, &s) <= 0 || s.op != AT_ENTRY)
		return false;
	size_t i = 0, n = sizeof changing / sizeof changing[0];
	while (i < n && changing[i] != (long)s.nr)
		i++;
	if (i == n || !beneath(tid, s.args[s.nr == SYS_symlinkat ? 1 : 0]))
		return false;
	if (shorten)
		return (s.nr == SYS_write || s.nr == SYS_pwrite64) && s.args[2] > shorten;
	return (s.nr != SYS_openat && s.nr != SYS_openat2) || creates(tid, &s);
}

/* The third argument of the call that tid is about to make. */
static void fall_short(pid_t tid)
{
#ifdef __x86_64__
	if (ptrace(PTRACE_POKEUSER, tid, (void *)offsetof(struct user_regs_struct, rdx), (void *)shorten) ==
	    0)
		return;
#endif
	perror("syscut: cannot shorten a call");
	kill(command, SIGKILL);
	_exit(EXIT_SELF);
}

static void cut(void)
{
	uint32_t how = WITHOUT_ITS_LOG;
	if (!only_kill && ioctl(dir_fd, FS_SHUTDOWN, &how) < 0) {
		perror(dir);
		kill(command, SIGKILL);
		_exit(EXIT_SELF);
	}
	kill(command, SIGKILL);
	while (waitpid(-1, NULL, __WALL) > 0 || errno == EINTR)
		;
}

/* A stopped thread: whether this is where it is to end; else it goes on. */
static bool stopped(pid_t tid, int status)
{
	int sig = WSTOPSIG(status), event = status >> 16;
	if (sig == (SIGTRAP | 0x80)) {
		bool there = counts(tid) && ++calls == at;
		if (there && !shorten)
			return true;
		if (there)
			fall_short(tid);
		sig = 0;
	} else if (event == EVENT_STOP && sig != SIGTRAP) {
		ptrace(PTRACE_LISTEN, tid, NULL, NULL);
		return false;
	} else if (event) {
		sig = 0;
	}
	ptrace(PTRACE_SYSCALL, tid, NULL, (void *)(long)sig);
	return false;
}

static int run(void)
{
	int status, end = EXIT_SELF;
	for (;;) {
		pid_t tid = waitpid(-1, &status, __WALL);
		if (tid < 0 && errno == EINTR)
			continue;
		if (tid < 0)
			return end;
		if (WIFSTOPPED(status) && stopped(tid, status)) {
			cut();
			return EXIT_CUT;
		}
		if (tid == command && WIFEXITED(status))
			end = WEXITSTATUS(status);
		if (tid == command && WIFSIGNALED(status))
			end = 128 + WTERMSIG(status);
	}
}

static int start(char **argv)
{
	command = fork();
	if (command == 0) {
		raise(SIGSTOP);
		execvp(argv[0], argv);
		perror(argv[0]);
		_exit(EXIT_SELF);
	}
	int status;
	long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
		       PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
	if (command < 0 || waitpid(command, &status, WUNTRACED) < 0 ||
	    ptrace(PTRACE_SEIZE, command, NULL, (void *)options) < 0)
		return -1;
	kill(command, SIGCONT);
	return 0;
}

int main(int argc, char **argv)
{
	const char *count = NULL;
	char path[PATH_MAX];
	for (int c; (c = getopt(argc, argv, "+ks:n:c:")) != -1;) {
		if (c == 'k')
			only_kill = true;
		else if (c == 's')
			shorten = strtoull(optarg, NULL, 10);
		else if (c == 'n')
			at = atol(optarg);
		else if (c == 'c')
			count = optarg;
		else
			return EXIT_SELF;
	}
	if (argc - optind < 2 || !(dir = realpath(argv[optind], path))) {
		fprintf(stderr, "usage: syscut [-k | -s BYTES] [-n N] [-c FILE] DIR COMMAND...\n");
		return EXIT_SELF;
	}
	dir_len = strlen(dir);
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0 || start(argv + optind + 1) < 0) {
		perror("syscut");
		return EXIT_SELF;
	}
	int rc = run();
	FILE *f = count ? fopen(count, "w") : NULL;
	if (f) {
		fprintf(f, "%ld\n", calls);
		fclose(f);
	}
	return rc;
}
