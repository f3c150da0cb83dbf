/*
 * run STATS COMMAND...: runs one side of a transfer and appends a line to STATS when it ended:
 *
 *     WALL_SECONDS CPU_SECONDS PEAK_KIB EXIT_STATUS
 *
 * CPU is user + system of the command and all its descendants (orphans come to us: we are a subreaper). PEAK
 * is the sum of the peak resident sizes of all of them, read from /proc while they run, 50 times a second;
 * memory they share counts for each. SIGTERM and SIGINT are passed on. The exit status is the command's.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROCESSES_MAX 256

static volatile pid_t command;
static struct {
	pid_t pid;
	long peak_kib;
} seen[PROCESSES_MAX];
static size_t n_seen;

static void pass_on(int sig)
{
	if (command > 0)
		kill(command, sig);
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void note(pid_t pid, long peak_kib)
{
	size_t i = 0;

	while (i < n_seen && seen[i].pid != pid)
		i++;
	if (i == PROCESSES_MAX)
		return;
	if (i == n_seen)
		n_seen++;
	seen[i].pid = pid;
	if (peak_kib > seen[i].peak_kib)
		seen[i].peak_kib = peak_kib;
}

/* Notes the peak of a process and of everything below it. */
static void sample(pid_t pid)
{
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	if (f == NULL)
		return;
	while (fgets(line, sizeof line, f) != NULL) {
		long kib;
		if (sscanf(line, "VmHWM: %ld", &kib) == 1)
			note(pid, kib);
	}
	fclose(f);
	snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
	DIR *dir = opendir(path);
	if (dir == NULL)
		return;
	for (struct dirent *d; (d = readdir(dir)) != NULL;) {
		char children[384];
		int child;
		if (d->d_name[0] == '.')
			continue;
		snprintf(children, sizeof children, "%s/%s/children", path, d->d_name);
		f = fopen(children, "re");
		if (f == NULL)
			continue;
		while (fscanf(f, "%d", &child) == 1)
			sample(child);
		fclose(f);
	}
	closedir(dir);
}

/* Waits for the command, sampling; takes in orphans on the way. Returns its wait status. */
static int wait_command(void)
{
	const struct timespec tick = {.tv_nsec = 20 * 1000 * 1000};
	int status;

	for (;;) {
		pid_t pid = waitpid(-1, &status, WNOHANG);
		if (pid == command)
			return status;
		if (pid > 0)
			continue;
		sample(command);
		sigset_t child;
		sigemptyset(&child);
		sigaddset(&child, SIGCHLD);
		sigtimedwait(&child, NULL, &tick);
	}
}

static void append(const char *path, double wall, int status)
{
	struct rusage ru;
	long peak_kib = 0;

	getrusage(RUSAGE_CHILDREN, &ru);
	for (size_t i = 0; i < n_seen; i++)
		peak_kib += seen[i].peak_kib;
	if (ru.ru_maxrss > peak_kib)
		peak_kib = ru.ru_maxrss; /* ended before it was sampled */
	FILE *f = fopen(path, "ae");
	if (f == NULL) {
		perror(path);
		return;
	}
	fprintf(f, "%.3f %.3f %ld %d\n", wall,
		(double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
			(double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6,
		peak_kib, status);
	fclose(f);
}

int main(int argc, char **argv)
{
	sigset_t child, old;

	if (argc < 3) {
		fprintf(stderr, "usage: run STATS COMMAND...\n");
		return 2;
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, &old);
	double start = seconds();
	command = fork();
	if (command == 0) {
		sigprocmask(SIG_SETMASK, &old, NULL);
		execvp(argv[2], argv + 2);
		perror(argv[2]);
		_exit(127);
	}
	signal(SIGTERM, pass_on);
	signal(SIGINT, pass_on);
	int status = wait_command();
	double wall = seconds() - start;
	while (wait(NULL) > 0 || errno == EINTR)
		;
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	append(argv[1], wall, code);
	return code;
}
