/*
 * System calls and allocations that fail when a test says so, or before which something happens that another
 * process might do. The linker leads every call of them here (--wrap; the Makefile takes the names from below).
 */
#ifndef HAUL_TESTS_FAILING_H
#define HAUL_TESTS_FAILING_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static struct {
	const char *call; /* NULL: nothing fails */
	unsigned skip;	  /* how many of its calls still succeed */
	unsigned times;	  /* how many fail then */
	int sys;	  /* with which errno; 0: they do not fail */
	void (*before)(void);
} failing;

/* From now on `call` succeeds skip times, then fails `times` times with sys. */
__attribute__((unused)) static void fail_calls(const char *call, unsigned skip, unsigned times, int sys)
{
	failing.call = call;
	failing.skip = skip;
	failing.times = times;
	failing.sys = sys;
	failing.before = NULL;
}

/* `call` succeeds skip times; what comes before the next one is done once. */
__attribute__((unused)) static void before_call(const char *call, unsigned skip, void (*before)(void))
{
	fail_calls(call, skip, 1, 0);
	failing.before = before;
}

/* Ends it; whether all that was asked for came to pass. */
__attribute__((unused)) static bool all_failed(void)
{
	bool all = failing.call && failing.times == 0;
	failing.call = NULL;
	return all;
}

static bool fails_now(const char *call)
{
	if (!failing.call || strcmp(failing.call, call) != 0 || failing.times == 0)
		return false;
	if (failing.skip > 0) {
		failing.skip--;
		return false;
	}
	failing.times--;
	int sys = failing.sys;
	if (failing.before)
		failing.before(); /* may ask for the next failure */
	errno = sys;
	return sys != 0;
}

#define CALL(name, type, failed, params, args)                                                               \
	type __real_##name params;                                                                           \
	type __wrap_##name params;                                                                           \
	type __wrap_##name params                                                                            \
	{                                                                                                    \
		return fails_now(#name) ? failed : __real_##name args;                                       \
	}

/* clang-format off: a line each, for the Makefile */
CALL(calloc, void *, NULL, (size_t n, size_t size), (n, size))
CALL(malloc, void *, NULL, (size_t n), (n))
CALL(realloc, void *, NULL, (void *p, size_t n), (p, n))
CALL(close, int, (__real_close(fd), -1), (int fd), (fd))
CALL(fchmod, int, -1, (int fd, mode_t mode), (fd, mode))
CALL(fchmodat, int, -1, (int fd, const char *name, mode_t mode, int flags), (fd, name, mode, flags))
CALL(fdatasync, int, -1, (int fd), (fd))
CALL(fdopendir, DIR *, NULL, (int fd), (fd))
CALL(fstat, int, -1, (int fd, struct stat *st), (fd, st))
CALL(fstatat, int, -1, (int fd, const char *name, struct stat *st, int flags), (fd, name, st, flags))
CALL(fsync, int, -1, (int fd), (fd))
CALL(ftruncate, int, -1, (int fd, off_t length), (fd, length))
CALL(futimens, int, -1, (int fd, const struct timespec *times), (fd, times))
CALL(getdents64, ssize_t, -1, (int fd, void *p, size_t n), (fd, p, n))
CALL(geteuid, uid_t, (uid_t)-2, (void), ())
CALL(getrandom, ssize_t, -1, (void *p, size_t n, unsigned flags), (p, n, flags))
CALL(mkdir, int, -1, (const char *path, mode_t mode), (path, mode))
CALL(mkdirat, int, -1, (int fd, const char *name, mode_t mode), (fd, name, mode))
CALL(poll, int, failing.sys == ETIME ? 0 : -1, (struct pollfd * p, nfds_t n, int ms), (p, n, ms))
CALL(prctl, int, -1, (int what, long a, long b, long c, long d), (what, a, b, c, d))
CALL(pread, ssize_t, -1, (int fd, void *p, size_t n, off_t at), (fd, p, n, at))
CALL(pwrite, ssize_t, -1, (int fd, const void *p, size_t n, off_t at), (fd, p, n, at))
CALL(read, ssize_t, -1, (int fd, void *p, size_t n), (fd, p, n))
CALL(renameat, int, -1, (int from, const char *a, int to, const char *b), (from, a, to, b))
CALL(faccessat, int, -1, (int fd, const char *name, int mode, int flags), (fd, name, mode, flags))
CALL(linkat, int, -1, (int from, const char *a, int to, const char *b, int flags), (from, a, to, b, flags))
CALL(renameat2, int, -1, (int from, const char *a, int to, const char *b, unsigned how),
     (from, a, to, b, how))
CALL(setrlimit, int, -1, (int what, const struct rlimit *to), (what, to))
CALL(sodium_init, int, -1, (void), ())
CALL(sodium_malloc, void *, NULL, (size_t n), (n))
CALL(utimensat, int, -1, (int fd, const char *name, const struct timespec *t, int flags),
     (fd, name, t, flags))
CALL(write, ssize_t, -1, (int fd, const void *p, size_t n), (fd, p, n))
/* clang-format on */

/* Those with a variable number of arguments: what is not there is passed on, and read by nobody. */
int __real_fcntl(int fd, int what, ...);
int __wrap_fcntl(int fd, int what, ...);
int __wrap_fcntl(int fd, int what, ...) /* CALL(fcntl, */
{
	va_list ap;
	va_start(ap, what);
	long arg = va_arg(ap, long);
	va_end(ap);
	return fails_now("fcntl") ? -1 : __real_fcntl(fd, what, arg);
}

int __real_openat(int fd, const char *name, int flags, ...);
int __wrap_openat(int fd, const char *name, int flags, ...);
int __wrap_openat(int fd, const char *name, int flags, ...) /* CALL(openat, */
{
	va_list ap;
	va_start(ap, flags);
	mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	return fails_now("openat") ? -1 : __real_openat(fd, name, flags, mode);
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...) /* CALL(syscall, */
{
	va_list ap;
	va_start(ap, number);
	long a = va_arg(ap, long), b = va_arg(ap, long), c = va_arg(ap, long), d = va_arg(ap, long);
	long e = va_arg(ap, long);
	va_end(ap);
	const char *name = number == SYS_openat2 ? "openat2" : "syscall";
	return fails_now(name) ? -1 : __real_syscall(number, a, b, c, d, e);
}

#endif
