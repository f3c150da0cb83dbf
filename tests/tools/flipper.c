/*
 * The attacker of a symlink race, and a victim to show that the attack works.
 *
 * - flipper DIR LINK: exchanges the two names, atomically and over and over, until SIGTERM; then puts them
 *   back and prints how often
 * - flipper --naive DIR N WITNESS: opens DIR/naive as a careless program would, N times or until WITNESS is
 *   there: looks whether DIR is a directory, then opens a path below it
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* No handler: a sanitizer delivers signals only where it intercepts a call. */
static int told_to_stop(void)
{
	sigset_t set;
	return sigpending(&set) == 0 && sigismember(&set, SIGTERM);
}

static int flip(const char *dir, const char *link)
{
	unsigned long n = 0;
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	while (n % 2 || !told_to_stop()) {
		if (renameat2(AT_FDCWD, dir, AT_FDCWD, link, RENAME_EXCHANGE) != 0) {
			perror("flipper: renameat2");
			return 1;
		}
		n++;
	}
	printf("%lu\n", n);
	return 0;
}

static int write_naively(const char *dir, unsigned long most, const char *witness)
{
	char path[4096];
	struct stat st;
	snprintf(path, sizeof path, "%s/naive", dir);
	for (unsigned long i = 0; i < most && access(witness, F_OK) != 0; i++) {
		if (lstat(dir, &st) != 0 || !S_ISDIR(st.st_mode))
			continue;
		int fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW, 0600);
		if (fd >= 0)
			close(fd);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[1], "--naive") == 0)
		return write_naively(argv[2], strtoul(argv[3], NULL, 10), argv[4]);
	if (argc != 3) {
		fprintf(stderr, "usage: flipper DIR LINK | flipper --naive DIR N WITNESS\n");
		return 1;
	}
	return flip(argv[1], argv[2]);
}
