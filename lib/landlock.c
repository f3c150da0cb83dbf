#include "lib/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The same numbers on every architecture. */
#define NR_CREATE_RULESET 444
#define NR_ADD_RULE	  445
#define NR_RESTRICT_SELF  446

#define CREATE_VERSION	  1u
#define RULE_PATH_BENEATH 1
#define RULE_NET_PORT	  2

#define ABI_REFER	  2u /* the first that lets files move between directories */
#define ABI_NET		  4u
#define ABI_SCOPE	  6u

#define NET_BIND	  UINT64_C(1)
#define NET_CONNECT	  UINT64_C(2)
#define SCOPE_ABSTRACT	  UINT64_C(1)

/* What makes sense for a file that is no directory: execute, write, read, truncate, ioctl. */
#define FILE_RIGHTS (UINT64_C(7) | UINT64_C(3) << 14)

struct ruleset_attr {
	uint64_t fs, net, scoped;
};

struct path_attr {
	uint64_t allowed;
	int32_t parent;
} __attribute__((packed)); /* as in linux/landlock.h */

struct port_attr {
	uint64_t allowed, port;
};

/* All rights over files that an ABI knows: bits are only ever added at the top. */
static uint64_t rights_of(unsigned abi)
{
	unsigned bits = abi >= 5 ? 16 : abi >= 3 ? 15 : 14;
	return (UINT64_C(1) << bits) - 1;
}

unsigned landlock_abi(void)
{
	long abi = syscall(NR_CREATE_RULESET, NULL, 0, CREATE_VERSION);
	return abi < (long)ABI_REFER ? 0 : (unsigned)abi;
}

void landlock_begin(struct landlock *l, bool hermit)
{
	*l = (struct landlock){.fd = -1, .abi = landlock_abi()};
	if (!l->abi) {
		l->failed = ENOSYS;
		return;
	}
	l->fs = rights_of(l->abi);
	struct ruleset_attr attr = {.fs = l->fs};
	size_t size = sizeof attr.fs;
	if (l->abi >= ABI_NET) {
		attr.net = NET_BIND | NET_CONNECT;
		size += sizeof attr.net;
	}
	if (l->abi >= ABI_SCOPE) {
		attr.scoped = hermit ? SCOPE_ABSTRACT : 0;
		size += sizeof attr.scoped;
	}
	l->fd = (int)syscall(NR_CREATE_RULESET, &attr, size, 0);
	if (l->fd < 0)
		l->failed = errno;
}

/* EBADFD: a pipe or a socket (/dev/stdout), which Landlock does not restrict. */
static void add_rule(struct landlock *l, int type, const void *attr)
{
	if (!l->failed && syscall(NR_ADD_RULE, l->fd, type, attr, 0) != 0 && errno != EBADFD)
		l->failed = errno;
}

void landlock_allow(struct landlock *l, int dirfd, const char *path, uint64_t rights)
{
	struct stat st;
	if (l->failed)
		return;
	int fd = openat(dirfd, path, O_PATH | O_CLOEXEC);
	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
			l->failed = errno;
		return;
	}
	bool file = fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode);
	struct path_attr attr = {rights & l->fs & (file ? FILE_RIGHTS : UINT64_MAX), fd};
	if (attr.allowed)
		add_rule(l, RULE_PATH_BENEATH, &attr);
	close(fd);
}

void landlock_allow_connect(struct landlock *l, unsigned port)
{
	struct port_attr attr = {NET_CONNECT, port};
	if (l->abi >= ABI_NET)
		add_rule(l, RULE_NET_PORT, &attr);
}

int landlock_enforce(struct landlock *l)
{
	if (!l->failed &&
	    (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || syscall(NR_RESTRICT_SELF, l->fd, 0) != 0))
		l->failed = errno;
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
	return -l->failed;
}
