/*
 * powercut DIR: what losing power would do to the file system that DIR is on. Nothing that is not on its
 * device by now gets there any more, its log neither; every later call on it fails. Unmount it and mount it
 * again to see what is left. For ext4, xfs and f2fs on a device of one's own; root only.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define FS_SHUTDOWN	_IOR('X', 125, uint32_t)
#define WITHOUT_ITS_LOG 2u

int main(int argc, char **argv)
{
	uint32_t how = WITHOUT_ITS_LOG;
	int fd = argc == 2 ? open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (argc != 2)
		fprintf(stderr, "usage: powercut DIR\n");
	else if (fd < 0 || ioctl(fd, FS_SHUTDOWN, &how) < 0)
		perror(argv[1]);
	else
		return 0;
	return 1;
}
