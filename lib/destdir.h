/*
 * destdir: the directory a receiver was told to use, before it is a root: opened, made, or only looked at.
 * Its path is the user's, and is resolved as any other of his.
 */
#ifndef HAUL_LIB_DESTDIR_H
#define HAUL_LIB_DESTDIR_H

/* Opens dir; what is missing of it, at most its last component, is made with mode 0777 & ~umask. fd or -errno.
 */
int destdir_open(const char *dir);

/* Opens dir without making anything. fd, -errno, or DESTDIR_ABSENT: there is a directory it could be made in. */
#define DESTDIR_ABSENT (-1000000)
int destdir_look(const char *dir);

/* Could a receiver write to dir now, perhaps after making it? Nothing is made. 0 or -errno. */
int destdir_check(const char *dir);

#endif
