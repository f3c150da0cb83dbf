/*
 * keyfile: files that decide who is let in, read only where nobody else can have changed them: a regular
 * file, not a symbolic link, of this user or root, not open to others (secrets: not even to read), below
 * directories that others cannot change either, up to /. Where there is an access control list, it is what tells who
 * may read: systemd gives a service its credentials as files of root's with an entry for the service's user, whose
 * mode then reads 0440. What is refused is HAUL_USAGE with the chmod that
 * mends it.
 */
#ifndef HAUL_LIB_KEYFILE_H
#define HAUL_LIB_KEYFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "lib/err.h"

#define KEYFILE_FD_WAIT_MS                                                                                   \
	(5 * 60 *                                                                                            \
	 1000) /* somebody may be typing a passphrase into what feeds --key-fd                      \
			 */

struct keyfile {
	const char *path; /* borrowed */
	int fd;
	mode_t mode;
	unsigned others; /* what anybody but this user and root may do: 4 read, 2 write, 1 execute */
};

/* Opens path and checks all but the mode of the file itself. A FIFO or device never blocks. Close with
 * keyfile_close, also after a failure. */
enum haul_rc keyfile_open(struct keyfile *f, const char *path, struct haul_err *err);
void keyfile_close(struct keyfile *f);

/* Refuses a file that others may write, and with `secret` one that they may read. */
enum haul_rc keyfile_check(const struct keyfile *f, bool secret, struct haul_err *err);

/* The whole content; more than cap bytes are HAUL_USAGE. */
enum haul_rc keyfile_read(struct keyfile *f, char *buf, size_t cap, size_t *len, struct haul_err *err);

/* The first line, without its newline, from an inherited descriptor, which is closed: at most cap bytes, then
 * the line is taken as it is. Waits for KEYFILE_FD_WAIT_MS in all. */
enum haul_rc keyfile_read_fd(int fd, char *buf, size_t cap, size_t *len, struct haul_err *err);

/* A new file of this mode with text and a newline in it, on stable storage; never replaces anything. Its
 * directories are checked as above. Nothing is left after a failure. */
enum haul_rc keyfile_create(const char *path, mode_t mode, const char *text, struct haul_err *err);

/* Takes back what keyfile_create made. */
void keyfile_remove(const char *path);

#endif
