#include "lib/seccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

const char seccomp_this[1] = "";

#if defined __x86_64__
#define ARCH AUDIT_ARCH_X86_64
#elif defined __aarch64__
#define ARCH AUDIT_ARCH_AARCH64
#endif

/* Sanitizers trace their own threads and map code. */
#ifdef HAUL_SANITIZED
#undef ARCH
#endif

#ifdef ARCH

#define X32_BIT	     0x40000000u
#define FILTER_MAX   1024u
#define ALWAYS	     (~0u)
#define NEVER	     0u
#define NR_FCHMODAT2 452
#define OTHERS	     (SECCOMP_RET_ERRNO | ENOSYS)
#define DENY	     (SECCOMP_RET_ERRNO | EACCES)
#define KILL	     SECCOMP_RET_KILL_PROCESS

/* A condition on the arguments of a call that is allowed. */
enum check {
	CHECK_NONE,
	CHECK_NO_EXEC,	    /* protection without PROT_EXEC */
	CHECK_THREAD,	    /* clone: a thread */
	CHECK_NO_NAMESPACE, /* clone: in no new namespace */
	CHECK_UNIX,	    /* socket: of the unix family */
	CHECK_THIS,	    /* path: NULL or seccomp_this */
	CHECK_TERMINAL,	    /* ioctl: asks about a terminal */
};

struct rule {
	int nr;
	unsigned uses; /* allowed for any of these */
	uint32_t otherwise;
	enum check check;
	unsigned except; /* unchecked for any of these */
};

#define CALL(name)		{SYS_##name, ALWAYS, DENY, CHECK_NONE, 0},
#define FOR(name, uses)		{SYS_##name, uses, DENY, CHECK_NONE, 0},
#define ONLY(name, uses)	{SYS_##name, uses, KILL, CHECK_NONE, 0},
#define FATAL(name)		{SYS_##name, NEVER, KILL, CHECK_NONE, 0},
#define WITH(name, check, free) {SYS_##name, ALWAYS, DENY, check, free},

/* clang-format off */
static const struct rule rules[] = {
	/* bytes */
	CALL(read) CALL(write) CALL(readv) CALL(writev) CALL(pread64) CALL(pwrite64) CALL(lseek)
	CALL(close) CALL(fcntl) CALL(dup) CALL(dup3) CALL(pipe2) CALL(ppoll) CALL(eventfd2) CALL(signalfd4)
	CALL(fstat) CALL(newfstatat) CALL(statx) CALL(getdents64)
	CALL(recvmsg) CALL(sendmsg) CALL(recvfrom) CALL(sendto) CALL(shutdown)
	CALL(getsockopt) CALL(setsockopt) CALL(getsockname) CALL(getpeername) CALL(socketpair)
	/* memory and threads */
	WITH(mmap, CHECK_NO_EXEC, SECCOMP_LOOKUP) WITH(mprotect, CHECK_NO_EXEC, SECCOMP_LOOKUP)
	CALL(munmap) CALL(mremap) CALL(madvise) CALL(brk) CALL(mlock) CALL(munlock) CALL(membarrier)
	CALL(futex) CALL(set_robust_list) CALL(set_tid_address) CALL(rseq) CALL(sched_yield)
	CALL(sched_getaffinity) CALL(gettid) CALL(exit) CALL(exit_group) CALL(restart_syscall)
	/* time, signals, who we are */
	CALL(clock_gettime) CALL(clock_nanosleep) CALL(nanosleep) CALL(gettimeofday) CALL(getrandom)
	CALL(rt_sigaction) CALL(rt_sigprocmask) CALL(rt_sigreturn) CALL(sigaltstack) CALL(tgkill)
	CALL(getpid) CALL(getppid) CALL(getuid) CALL(geteuid) CALL(getgid) CALL(getegid) CALL(uname)
	CALL(prlimit64) CALL(getrusage)
	WITH(ioctl, CHECK_TERMINAL, 0)
	/* children started before, and whoever else holds a file (lib/holder.h) */
	CALL(kill) CALL(pidfd_open) CALL(pidfd_send_signal) CALL(wait4) CALL(waitid)
	/* files */
	FOR(openat2, SECCOMP_WRITE | SECCOMP_READ | SECCOMP_LISTEN)
	FOR(openat, SECCOMP_READ | SECCOMP_PATHS | SECCOMP_LOOKUP | SECCOMP_LISTEN)
	FOR(unlinkat, SECCOMP_WRITE | SECCOMP_READ | SECCOMP_PATHS | SECCOMP_LISTEN)
	FOR(mkdirat, SECCOMP_WRITE | SECCOMP_LISTEN) FOR(linkat, SECCOMP_WRITE | SECCOMP_LISTEN)
	FOR(symlinkat, SECCOMP_WRITE | SECCOMP_LISTEN) FOR(renameat, SECCOMP_WRITE | SECCOMP_PATHS | SECCOMP_LISTEN)
	FOR(renameat2, SECCOMP_WRITE | SECCOMP_PATHS | SECCOMP_LISTEN)
	CALL(faccessat) CALL(faccessat2)
	FOR(ftruncate, SECCOMP_WRITE | SECCOMP_LISTEN) FOR(fallocate, SECCOMP_WRITE | SECCOMP_LISTEN)
	FOR(fchmod, SECCOMP_WRITE | SECCOMP_LISTEN) FOR(flock, SECCOMP_WRITE | SECCOMP_LISTEN)
	FOR(fsync, SECCOMP_WRITE | SECCOMP_LISTEN | SECCOMP_PATHS) FOR(fdatasync, SECCOMP_WRITE | SECCOMP_LISTEN)
	FOR(syncfs, SECCOMP_WRITE | SECCOMP_LISTEN) FOR(sync_file_range, SECCOMP_WRITE | SECCOMP_LISTEN)
	FOR(fstatfs, SECCOMP_WRITE | SECCOMP_LISTEN) FOR(umask, SECCOMP_WRITE | SECCOMP_LISTEN)
	FOR(fadvise64, SECCOMP_READ | SECCOMP_WRITE | SECCOMP_LISTEN)
	FOR(readlinkat, SECCOMP_READ | SECCOMP_LOOKUP | SECCOMP_LISTEN)
	FOR(getcwd, SECCOMP_READ | SECCOMP_LISTEN)
	{SYS_utimensat, SECCOMP_WRITE | SECCOMP_LISTEN, DENY, CHECK_THIS, 0},
	{SYS_fchownat, SECCOMP_WRITE | SECCOMP_LISTEN, DENY, CHECK_THIS, 0},
	FOR(flistxattr, SECCOMP_READ | SECCOMP_WRITE | SECCOMP_LISTEN)
	FOR(fgetxattr, SECCOMP_READ | SECCOMP_WRITE | SECCOMP_LISTEN)
	FOR(fsetxattr, SECCOMP_WRITE | SECCOMP_LISTEN) FOR(fremovexattr, SECCOMP_WRITE | SECCOMP_LISTEN)
	{NR_FCHMODAT2, SECCOMP_WRITE | SECCOMP_LISTEN, DENY, CHECK_THIS, 0},
	/* connections */
	{SYS_socket, SECCOMP_DIAL | SECCOMP_LISTEN, KILL, CHECK_UNIX, SECCOMP_DIAL},
	ONLY(connect, SECCOMP_DIAL | SECCOMP_LISTEN) ONLY(bind, SECCOMP_LOOKUP) ONLY(accept4, SECCOMP_LISTEN)
	FOR(sendmmsg, SECCOMP_LOOKUP) FOR(recvmmsg, SECCOMP_LOOKUP) FATAL(listen)
	FOR(epoll_create1, SECCOMP_LOOKUP) FOR(epoll_ctl, SECCOMP_LOOKUP) FOR(epoll_pwait, SECCOMP_LOOKUP)
	FOR(timerfd_create, SECCOMP_LOOKUP) FOR(timerfd_settime, SECCOMP_LOOKUP)
	/* processes */
	{SYS_clone, ALWAYS, KILL, CHECK_THREAD, SECCOMP_LISTEN},
	FOR(prctl, SECCOMP_LISTEN) FOR(seccomp, SECCOMP_LISTEN)
	FOR(landlock_create_ruleset, SECCOMP_LISTEN) FOR(landlock_add_rule, SECCOMP_LISTEN)
	FOR(landlock_restrict_self, SECCOMP_LISTEN)
#ifdef __x86_64__
	/* the old spellings, which glibc still uses here */
	CALL(poll) CALL(dup2) CALL(time) FOR(epoll_wait, SECCOMP_LOOKUP)
	FOR(open, SECCOMP_READ | SECCOMP_PATHS | SECCOMP_LOOKUP | SECCOMP_LISTEN)
	FOR(stat, SECCOMP_READ | SECCOMP_PATHS | SECCOMP_LOOKUP | SECCOMP_LISTEN)
	FOR(lstat, SECCOMP_READ | SECCOMP_PATHS | SECCOMP_LOOKUP | SECCOMP_LISTEN)
	CALL(access) FOR(readlink, SECCOMP_READ | SECCOMP_LOOKUP | SECCOMP_LISTEN)
	FOR(rename, SECCOMP_PATHS | SECCOMP_LISTEN) FOR(unlink, SECCOMP_PATHS | SECCOMP_LISTEN)
	FOR(mkdir, SECCOMP_LISTEN)
	FATAL(fork) FATAL(vfork) FOR(chmod, NEVER) FOR(chown, NEVER) FOR(lchown, NEVER) FOR(creat, NEVER)
	FOR(link, NEVER) FOR(symlink, NEVER) FOR(rmdir, NEVER) FOR(mknod, NEVER) FOR(utime, NEVER)
	FOR(utimes, NEVER) FOR(futimesat, NEVER)
#endif
	/* by path there is no way to tell where it leads */
	FOR(fchmodat, NEVER) FOR(mknodat, NEVER) FOR(truncate, NEVER) FOR(chdir, NEVER)
	FOR(setxattr, NEVER) FOR(lsetxattr, NEVER) FOR(removexattr, NEVER) FOR(lremovexattr, NEVER)
	/* nothing haul does can lead here */
	FATAL(execve) FATAL(execveat) FATAL(ptrace) FATAL(process_vm_readv) FATAL(process_vm_writev) FATAL(bpf)
	FATAL(userfaultfd) FATAL(perf_event_open) FATAL(io_uring_setup) FATAL(io_uring_enter)
	FATAL(io_uring_register) FATAL(mount) FATAL(umount2) FATAL(move_mount) FATAL(open_tree) FATAL(fsopen)
	FATAL(fsmount) FATAL(fsconfig) FATAL(pivot_root) FATAL(chroot) FATAL(setns) FATAL(unshare) FATAL(keyctl)
	FATAL(add_key) FATAL(request_key) FATAL(init_module) FATAL(finit_module) FATAL(delete_module)
	FATAL(kexec_load) FATAL(open_by_handle_at) FATAL(personality) FATAL(setuid) FATAL(setgid)
	FATAL(setresuid) FATAL(setresgid) FATAL(setgroups) FATAL(capset)
};
/* clang-format on */

#define RULES (sizeof rules / sizeof rules[0])

struct program {
	struct sock_filter code[FILTER_MAX];
	unsigned short len;
};

static void emit(struct program *p, uint16_t code, uint32_t k, uint8_t jt, uint8_t jf)
{
	p->code[p->len++] = (struct sock_filter){code, jt, jf, k};
}

static void load(struct program *p, size_t at)
{
	emit(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)at, 0, 0);
}

/* The low or high half of an argument; both machines are little-endian. */
static size_t arg(unsigned i, unsigned high)
{
	return offsetof(struct seccomp_data, args) + i * sizeof(uint64_t) + high * sizeof(uint32_t);
}

static void answer(struct program *p, uint32_t what)
{
	emit(p, BPF_RET | BPF_K, what, 0, 0);
}

/* Allows if any (or none) of the bits is set in argument i, else answers otherwise. */
static void check_bits(struct program *p, unsigned i, uint32_t bits, bool wanted, uint32_t otherwise)
{
	load(p, arg(i, 0));
	emit(p, BPF_JMP | BPF_JSET | BPF_K, bits, wanted ? 0 : 1, wanted ? 1 : 0);
	answer(p, SECCOMP_RET_ALLOW);
	answer(p, otherwise);
}

static void check_word(struct program *p, unsigned i, uint32_t a, uint32_t b, uint32_t otherwise)
{
	load(p, arg(i, 0));
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, a, 1, 0);
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, b, 0, 1);
	answer(p, SECCOMP_RET_ALLOW);
	answer(p, otherwise);
}

/* The path must be NULL or the very address of seccomp_this, which is read-only. */
static void check_this(struct program *p, uint32_t otherwise)
{
	uint64_t here = (uint64_t)(uintptr_t)seccomp_this;
	load(p, arg(1, 1));
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(here >> 32), 0, 2);
	load(p, arg(1, 0));
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)here, 4, 0);
	load(p, arg(1, 1));
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3);
	load(p, arg(1, 0));
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1);
	answer(p, SECCOMP_RET_ALLOW);
	answer(p, otherwise);
}

static void emit_check(struct program *p, enum check check, uint32_t otherwise)
{
	switch (check) {
	case CHECK_NONE:
		answer(p, SECCOMP_RET_ALLOW);
		return;
	case CHECK_NO_EXEC:
		check_bits(p, 2, PROT_EXEC, false, otherwise);
		return;
	case CHECK_THREAD:
		check_bits(p, 0, CLONE_THREAD, true, otherwise);
		return;
	case CHECK_NO_NAMESPACE:
		check_bits(p, 0,
			   CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
				   CLONE_NEWPID | CLONE_NEWNET,
			   false, otherwise);
		return;
	case CHECK_UNIX:
		check_word(p, 0, AF_UNIX, AF_UNIX, otherwise);
		return;
	case CHECK_THIS:
		check_this(p, otherwise);
		return;
	case CHECK_TERMINAL:
		check_word(p, 1, TCGETS, TIOCGWINSZ, otherwise);
		return;
	}
}

/* One rule is one block that ends in an answer; its length is known only once it is there. */
static bool emit_rule(struct program *p, const struct rule *r, unsigned uses)
{
	bool allowed = r->uses == ALWAYS || (r->uses & uses);
	enum check check = r->except & uses ? CHECK_NONE : r->check;
	if (r->check == CHECK_THREAD && (r->except & uses))
		check = CHECK_NO_NAMESPACE;
	unsigned at = p->len;
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)r->nr, 0, 0);
	if (allowed)
		emit_check(p, check, r->otherwise);
	else
		answer(p, r->otherwise);
	p->code[at].jf = (uint8_t)(p->len - at - 1);
	return allowed;
}

static void build(struct program *p, unsigned uses, unsigned *calls)
{
	p->len = 0;
	*calls = 0;
	load(p, offsetof(struct seccomp_data, arch));
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
	answer(p, KILL);
	load(p, offsetof(struct seccomp_data, nr));
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, UINT32_MAX, 0, 1); /* a call that a debugger has taken out */
	answer(p, OTHERS);
	emit(p, BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1);
	answer(p, KILL);
	for (size_t i = 0; i < RULES; i++)
		*calls += emit_rule(p, &rules[i], uses);
	answer(p, OTHERS);
}

/* The longest rule is a check_this with its comparison. */
_Static_assert(RULES * 2 + 11 * 12 + 8 <= FILTER_MAX, "all rules fit the filter");

bool seccomp_available(void)
{
	uint32_t action = SECCOMP_RET_KILL_PROCESS;
	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

int seccomp_enter(unsigned uses, unsigned *calls)
{
	struct program p;
	build(&p, uses, calls);
	struct sock_fprog prog = {.len = p.len, .filter = p.code};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return -errno;
	long rc = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &prog);
	return rc < 0 ? -errno : rc > 0 ? -EBUSY : 0;
}

#else

bool seccomp_available(void)
{
	return false;
}

int seccomp_enter(unsigned uses, unsigned *calls)
{
	(void)uses;
	*calls = 0;
	return -ENOSYS;
}

#endif
