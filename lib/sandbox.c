#include "lib/sandbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/boot.h"
#include "lib/idmap.h"
#include "lib/landlock.h"
#include "lib/porter.h"
#include "lib/seccomp.h"

#define DNS_PORT 53u

struct plan {
	struct landlock files;
	unsigned uses;
	char last[PATH_MAX]; /* the directory that was allowed last: 10,000 sources lie in few */
};

/* ---- paths ---- */

/* The directory that holds path, as it is spelt. */
static void parent_of(const char *path, char dir[static PATH_MAX])
{
	size_t n = strlen(path);
	while (n > 1 && path[n - 1] == '/')
		n--;
	while (n > 0 && path[n - 1] != '/')
		n--;
	snprintf(dir, PATH_MAX, "%.*s", n ? (int)n : 1, n ? path : ".");
}

static void allow_parent(struct plan *p, int dirfd, const char *path, uint64_t rights)
{
	char dir[PATH_MAX];
	parent_of(path, dir);
	if (strcmp(dir, p->last) == 0)
		return;
	landlock_allow(&p->files, dirfd, dir, rights);
	snprintf(p->last, sizeof p->last, "%s", dir);
}

static void allow_file_option(struct plan *p, const char *file, uint64_t rights)
{
	if (!file || !*file || strncmp(file, "fd:", 3) == 0)
		return;
	p->last[0] = '\0';
	allow_parent(p, AT_FDCWD, file, rights);
	p->last[0] = '\0';
}

static void allow_metrics(struct plan *p, const struct haul_config *cfg)
{
	allow_file_option(p, cfg->metrics,
			  LANDLOCK_READ | LANDLOCK_WRITE | LANDLOCK_CREATE | LANDLOCK_REMOVE);
	p->uses |= cfg->metrics ? SECCOMP_PATHS : 0;
}

/* A directory; of a file, the files beside it: it may be replaced while it is sent. */
static void allow_source(struct plan *p, int dirfd, const char *source, bool follow, uint64_t rights)
{
	struct stat st;
	size_t n = strlen(source);
	int flags = follow || (n && source[n - 1] == '/') ? 0 : AT_SYMLINK_NOFOLLOW;
	if (fstatat(dirfd, source, &st, flags) != 0)
		return;
	if (S_ISDIR(st.st_mode))
		landlock_allow(&p->files, dirfd, source, rights | LANDLOCK_READ);
	else if (S_ISREG(st.st_mode))
		allow_parent(p, dirfd, source, rights | LANDLOCK_READ_FILE);
}

static void allow_sources(struct plan *p, const struct haul_config *cfg, const char *const *sources,
			  size_t count)
{
	uint64_t rights = cfg->remove_source_files ? LANDLOCK_REMOVE : 0;
	int dirfd = cfg->chdir_to ? open(cfg->chdir_to, O_PATH | O_DIRECTORY | O_CLOEXEC) : AT_FDCWD;
	if (cfg->links == LINKS_FOLLOW && count)
		landlock_allow(&p->files, AT_FDCWD, "/", LANDLOCK_READ);
	for (size_t i = 0; i < count; i++)
		allow_source(p, dirfd, sources[i], cfg->names != NULL, rights);
	if (dirfd >= 0)
		close(dirfd);
	p->uses |= count ? SECCOMP_READ : 0;
}

/* ---- the network ---- */

static bool is_numeric(const char *host)
{
	struct in6_addr any;
	return inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1;
}

/* Directories, not files: what names the name servers is replaced while a laptop moves. */
static void allow_lookup(struct plan *p)
{
	static const char *const dirs[] = {"/etc",
					   "/lib",
					   "/lib64",
					   "/usr/lib",
					   "/usr/lib64",
					   "/run/systemd/resolve",
					   "/run/resolvconf",
					   "/run/NetworkManager",
					   "/run/nscd"};
	for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++)
		landlock_allow(&p->files, AT_FDCWD, dirs[i], LANDLOCK_READ);
	landlock_allow_connect(&p->files, DNS_PORT);
	p->uses |= SECCOMP_LOOKUP;
}

static void allow_dial(struct plan *p, const struct endpoint *dial)
{
	if (!dial)
		return;
	if (dial->kind == ENDPOINT_TCP || dial->kind == ENDPOINT_UNIX)
		p->uses |= SECCOMP_DIAL;
	else if (dial->kind != ENDPOINT_SSH && dial->kind != ENDPOINT_EXEC)
		p->uses |= SECCOMP_PATHS; /* /dev/null in place of what is adopted */
	if (dial->kind != ENDPOINT_TCP)
		return;
	landlock_allow_connect(&p->files, (unsigned)strtoul(dial->port, NULL, 10));
	if (!is_numeric(dial->host))
		allow_lookup(p);
}

/* ---- entering ---- */

static void begin(struct plan *p, bool hermit, unsigned uses)
{
	*p = (struct plan){.uses = uses};
	boot_id();
	idmap_open();
	landlock_begin(&p->files, hermit);
	landlock_allow(&p->files, AT_FDCWD, "/dev/null", LANDLOCK_READ | LANDLOCK_WRITE);
#ifdef HAUL_SANITIZED
	landlock_allow(&p->files, AT_FDCWD, "/proc", LANDLOCK_READ);
#endif
}

static enum haul_rc refuse(const struct haul_config *cfg, int sys, const char *why, struct haul_err *err)
{
	if (cfg->sandbox != SANDBOX_REQUIRE)
		return HAUL_OK;
	return haul_fail(err, HAUL_USAGE, sys, "--sandbox=require", "%s", why);
}

static bool wanted(const struct haul_config *cfg)
{
	return cfg->sandbox != SANDBOX_OFF && !cfg->no_sandbox;
}

/* Landlock first: its own calls are not among those that are left. */
static enum haul_rc enter(struct plan *p, const struct haul_config *cfg, struct sandbox *now,
			  struct haul_err *err)
{
	int rc = landlock_enforce(&p->files);
	now->abi = rc == 0 ? p->files.abi : 0;
	if (rc != 0 && refuse(cfg, -rc, "the kernel's Landlock cannot be used", err) != HAUL_OK)
		return err->rc;
	rc = seccomp_available() ? seccomp_enter(p->uses, &now->calls) : -ENOSYS;
	if (rc == 0)
		return HAUL_OK;
	now->calls = 0;
	return refuse(cfg, -rc, "system calls cannot be filtered", err);
}

/* What dialling by a program takes: somebody who may start one. */
static int hire(const struct haul_config *cfg, const struct endpoint *dial)
{
	bool program = dial && (dial->kind == ENDPOINT_SSH || dial->kind == ENDPOINT_EXEC);
	return program ? porter_start(dial, cfg) : 0;
}

enum haul_rc sandbox_listener(const struct haul_config *cfg, const struct endpoint *at, const char *dir,
			      const char *const *sources, size_t source_count, struct haul_err *err)
{
	struct plan p;
	struct sandbox now = {0};
	struct stat st;
	if (!wanted(cfg) || cfg->to_cmd || cfg->from_cmd)
		return HAUL_OK;
	begin(&p, false, SECCOMP_LISTEN);
	landlock_allow(&p.files, AT_FDCWD, "/proc", LANDLOCK_READ_FILE); /* lib/boot.c */
	if (dir) { /* it may be made, or made anew, when a session comes */
		allow_file_option(&p, dir, LANDLOCK_ALL);
		landlock_allow(&p.files, AT_FDCWD, dir, LANDLOCK_ALL);
	}
	if (cfg->output && stat(cfg->output, &st) == 0 && !S_ISREG(st.st_mode))
		landlock_allow(&p.files, AT_FDCWD, cfg->output, LANDLOCK_WRITE);
	else
		allow_file_option(&p, cfg->output, LANDLOCK_ALL);
	allow_sources(&p, cfg, sources, source_count);
	allow_file_option(&p, cfg->log_file, LANDLOCK_WRITE | LANDLOCK_CREATE);
	allow_file_option(&p, cfg->json, LANDLOCK_WRITE | LANDLOCK_CREATE);
	allow_metrics(&p, cfg);
	allow_file_option(&p, cfg->port_file, LANDLOCK_REMOVE);
	if (at->kind == ENDPOINT_UNIX)
		allow_file_option(&p, at->path, LANDLOCK_REMOVE);
	return enter(&p, cfg, &now, err);
}

enum haul_rc sandbox_receiver(const struct haul_config *cfg, int root, const struct endpoint *dial,
			      struct sandbox *now, struct haul_err *err)
{
	struct plan p;
	*now = (struct sandbox){0};
	if (!wanted(cfg))
		return HAUL_OK;
	int rc = hire(cfg, dial);
	if (rc < 0)
		return refuse(cfg, -rc, "no process for the program that carries the connection", err);
	begin(&p, true, root >= 0 ? SECCOMP_WRITE : 0);
	if (root >= 0) {
		landlock_allow(&p.files, root, ".", LANDLOCK_ALL);
		landlock_allow(&p.files, AT_FDCWD, "/proc", LANDLOCK_READ_FILE); /* lib/boot.c */
	}
	allow_metrics(&p, cfg);
	allow_dial(&p, dial);
	return enter(&p, cfg, now, err);
}

enum haul_rc sandbox_sender(const struct haul_config *cfg, const char *const *sources, size_t source_count,
			    const struct endpoint *dial, struct sandbox *now, struct haul_err *err)
{
	static bool entered;
	static struct sandbox in_force;
	struct plan p;
	*now = in_force;
	if (!wanted(cfg) || entered)
		return HAUL_OK;
	int rc = hire(cfg, dial);
	if (rc < 0)
		return refuse(cfg, -rc, "no process for the program that carries the connection", err);
	begin(&p, true, 0);
	allow_sources(&p, cfg, sources, source_count);
	allow_metrics(&p, cfg);
	allow_dial(&p, dial);
	entered = true;
	if (enter(&p, cfg, now, err) == HAUL_OK)
		in_force = *now;
	return err->rc;
}
