/*
 * meta: what an entry tells of itself besides mode and times: its owner, user attributes and access control
 * lists, as META groups (wire/frames.def). The sender reads them here; the receiver asks here whether what
 * came can be right, and sets it with lib/metaset.h.
 */
#ifndef HAUL_LIB_META_H
#define HAUL_LIB_META_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/config.h"
#include "lib/err.h"
#include "lib/walk.h"
#include "wire/frame.h"

enum meta_kind { META_USER = 1, META_GROUP = 2, META_ATTRIBUTE = 3 };

/* tells of BEGIN: what is told, and above it what an entry fails without. */
enum { TELLS_OWNERS = 1, TELLS_ATTRIBUTES = 2, TELLS_ACLS = 4, TELLS_LINKS = 8, TELLS_META = 7 };
#define TELLS_KNOWN	 (TELLS_META | TELLS_LINKS | TELLS_MUST(TELLS_META))
#define TELLS_MUST(what) ((unsigned)(what) << 8)

#define META_ACL	 "system.posix_acl_access"
#define META_ACL_DEFAULT "system.posix_acl_default"

/* What of TELLS_* an attribute belongs to; 0: it is none that haul carries. */
unsigned meta_domain(const char *name, size_t len);

/* What cfg asks to be told, for BEGIN. */
unsigned meta_tells(const struct haul_config *cfg);

/* The META groups of an entry into out; how many bytes. What does not fit is left out and told of in *problem,
 * whose subject is the caller's. Attributes of a file or of the end of a directory are read from fd; -1: none. */
size_t meta_read(const struct haul_config *cfg, const struct entry *e, int fd,
		 uint8_t out[static META_MAX_BYTES], struct haul_err *problem);

/* Are attributes wanted of such an entry: does meta_read need a descriptor? */
bool meta_wants_fd(const struct haul_config *cfg, enum entry_type type);

/* Why groups break the protocol when BEGIN said so; NULL when they do not. */
const char *meta_malformed(struct span groups, unsigned tells);

/* Why well-formed groups are refused for an entry of this type: names that are not taken, lists the kernel
 * would not make. NULL when they are not. */
const char *meta_refused(struct span groups, enum entry_type type);

/* Is it a POSIX access control list as the kernel spells it, version 2: entries in their order, each needed one
 * once, a mask where one is due? */
bool meta_acl_valid(struct span acl);

#endif
