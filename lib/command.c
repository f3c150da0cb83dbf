#include "lib/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define KILL_AFTER_MS 500

static void run_child(const char *cmd, int fd, int as)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGXFSZ, SIG_DFL);
	if (dup2(fd, as) < 0)
		_exit(127);
	execl("/bin/sh", "sh", "-c", cmd, (char *)NULL);
	_exit(127);
}

pid_t command_start(const char *cmd, bool produces, int *fd)
{
	int p[2];
	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	int ours = produces ? p[0] : p[1], theirs = produces ? p[1] : p[0];
	pid_t pid = fork();
	if (pid == 0)
		run_child(cmd, theirs, produces ? STDOUT_FILENO : STDIN_FILENO);
	int sys = errno;
	close(theirs);
	if (pid < 0) {
		close(ours);
		return -sys;
	}
	*fd = ours;
	return pid;
}

const char *command_wait(pid_t pid, char text[static 64])
{
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return "lost";
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return NULL;
	if (WIFEXITED(status))
		snprintf(text, 64, "exit status %d", WEXITSTATUS(status));
	else
		snprintf(text, 64, "killed by signal %d", WTERMSIG(status));
	return text;
}

void command_kill(pid_t pid)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	kill(pid, SIGTERM);
	struct pollfd p = {pidfd, POLLIN, 0};
	if (pidfd < 0 || poll(&p, 1, KILL_AFTER_MS) <= 0)
		kill(pid, SIGKILL);
	if (pidfd >= 0)
		close(pidfd);
	waitpid(pid, NULL, 0);
}
