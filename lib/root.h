/*
 * root: the destination directory, and the only module that makes path system calls on the receiver.
 *
 * Every path is relative, canonical and resolved by the kernel beneath the root descriptor
 * (openat2 with RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS; step by step where there is no
 * openat2), so no symbolic link, no `..` and no race leads outside. A path that root_name_refused refuses is
 * -EINVAL everywhere. Metadata goes through descriptors. Thread-safe: workers share one root;
 * the cache of parent directories has a lock of its own.
 */
#ifndef HAUL_LIB_ROOT_H
#define HAUL_LIB_ROOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "lib/beneath.h"
#include "lib/err.h"

struct root;

/* Opens DIR (created with its missing last component, mode 0777 & ~umask) and makes the root of it. On
 * success *out is owned by the caller. subdir, if not NULL, is a checked relative path created beneath. */
enum haul_rc root_open(const char *dir, const char *subdir, struct root **out, struct haul_err *err);

/* The same without making anything: for a dry run. Where DIR or SUBDIR is missing but could be made, the root
 * is one that holds nothing: every look-up answers ENOENT, root_fd is -1. */
enum haul_rc root_look(const char *dir, const char *subdir, struct root **out, struct haul_err *err);
void root_close(struct root *root); /* NULL is fine */

/* The root's own descriptor, borrowed (fstatvfs, syncfs). */
int root_fd(const struct root *root);

/* A parent directory, cached and counted. path is a whole entry path; *name points at its last component
 * inside path. mkdirs creates missing levels (0777 & ~umask). Returns NULL with errno set: ELOOP or ENOTDIR
 * when something that is not a directory stands in the way. Give it back with root_dir_put. */
struct root_dir;
struct root_dir *root_dir_get(struct root *root, const char *path, bool mkdirs, const char **name);
void root_dir_put(struct root *root, struct root_dir *dir);
int root_dir_fd(const struct root_dir *dir);

/* fstatat without following; 0 or -errno. ENOENT when a parent is missing. */
int root_stat(struct root *root, const char *path, struct stat *st);

/* Opens an existing regular file for reading, without following and without touching anything else: fd, or
 * -errno: -ELOOP symlink, -EISDIR directory, -EEXIST other special file. */
int root_open_file(struct root *root, const char *path, struct stat *st);

/* A new temporary file under ROOT/.haul/ (made on demand, 0700; -EPERM when it is another user's), O_EXCL,
 * 0600, read-write; name[] receives its name there, `TAG-NUMBERHEX.part`. tag is 1 to ROOT_TAG_MAX of
 * [a-z0-9.-]: stable where a later run shall find the file, random otherwise; number is unique for the tag.
 * fd or -errno: -EEXIST when an earlier run left that very name, -EINVAL for a bad tag. */
#define ROOT_TEMP_MAX 64
#define ROOT_TAG_MAX  40 /* tag, "-", 16 digits, ".part", NUL: at most 63 */
int root_temp_open(struct root *root, const char *tag, uint64_t number, char name[static ROOT_TEMP_MAX]);
int root_temp_unlink(struct root *root, const char *name);

/* A file of the state directory by name: opened with flags (O_CREAT makes it 0600), never through a symlink,
 * always a regular file. fd or -errno. */
int root_state_open(struct root *root, const char *name, int flags);

/* Renames within the state directory, over whatever file has the new name. 0 or -errno. */
int root_state_rename(struct root *root, const char *from, const char *to);

/* The state directory itself, to be synced. fd or -errno. */
int root_state_open_dir(struct root *root);

/* Calls fn with every name there is in the state directory; 0 also when there is none. */
int root_state_list(struct root *root, void (*fn)(void *ctx, const char *name), void *ctx);

/* Gives a temporary file its final name, replacing a regular file or symlink there atomically; a directory,
 * FIFO, socket or device in the way is -EEXIST (-EISDIR for a directory). With noreplace an existing name is
 * -EEXIST. With backup an existing regular file is first kept as NAME~ (replacing an older one; NAME itself
 * is never absent, if the file system has hard links). Missing parents are made. -EXDEV below another mount
 * point. What is made in .haul for the length of the call is named with tag, as by root_temp_open. 0 or
 * -errno; the temporary file is still there after an error. */
int root_commit(struct root *root, const char *tag, const char *temp, const char *path, bool noreplace,
		bool backup);

/* One more name for the regular file `from`, made in .haul and named as by root_commit. -ESTALE when from is not
 * a regular file any more; -EXDEV, -EMLINK, -EPERM and others where it cannot be. 0 or -errno. */
int root_link(struct root *root, const char *tag, const char *from, const char *path, bool noreplace,
	      bool backup);

/* mkdir -p of path itself with mode 0700 on the way in (its real mode is set by root_dir_meta at the end);
 * an existing directory is fine; *created tells. One of ours that lacks u+rwx gets it, until root_dir_meta.
 * Something else in the way: a symlink or file is -EEXIST, nothing is removed. 0 or -errno. */
int root_mkdir(struct root *root, const char *path, bool *created);

/* Creates or replaces a symlink atomically (made in .haul, renamed), sets its own mtime. In the way and
 * parents, tag: as root_commit. target is 1 to 4095 bytes. also, if not NULL, is done with an O_PATH descriptor
 * of it before it gets its name; what it returns, unless 0, ends the call. 0 or -errno. */
typedef int root_link_fn(int fd, void *arg);
int root_symlink(struct root *root, const char *tag, const char *path, const char *target, int64_t mtime_s,
		 uint32_t mtime_ns, root_link_fn *also, void *arg);

/* Opens an existing directory, without following. fd or -errno. */
int root_open_dir(struct root *root, const char *path);

/* Mode (masked to 0777; set-ID and sticky bits the directory has are kept) and mtime of a directory, through
 * its descriptor. 0 or -errno. */
int root_dir_meta(struct root *root, const char *path, uint32_t mode, int64_t mtime_s, uint32_t mtime_ns);

/* fsync of the directory that holds path. 0 or -errno. */
int root_sync_parent(struct root *root, const char *path);

/* Removes .haul when it is empty; silently leaves it when it is not. */
void root_tidy(struct root *root);

#endif
