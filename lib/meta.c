#include "lib/meta.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "lib/idmap.h"

#define USER_PREFIX  "user."
#define LIST_BYTES   (64u << 10) /* XATTR_LIST_MAX of Linux */
#define ACL_VERSION  2u
#define ACL_PERM_MAX 7u

enum { ACL_USER_OBJ = 1, ACL_USER = 2, ACL_GROUP_OBJ = 4, ACL_GROUP = 8, ACL_MASK = 0x10, ACL_OTHER = 0x20 };

unsigned meta_domain(const char *name, size_t len)
{
	static const size_t prefix = sizeof USER_PREFIX - 1;
	if (len > prefix && len <= META_NAME_MAX_BYTES && memcmp(name, USER_PREFIX, prefix) == 0 &&
	    !memchr(name, '\0', len))
		return TELLS_ATTRIBUTES;
	bool acl = (len == strlen(META_ACL) && memcmp(name, META_ACL, len) == 0) ||
		   (len == strlen(META_ACL_DEFAULT) && memcmp(name, META_ACL_DEFAULT, len) == 0);
	return acl ? TELLS_ACLS : 0;
}

static unsigned tells_bits(enum keep_mode mode, unsigned what)
{
	return mode == KEEP_OFF ? 0 : mode == KEEP_TRY ? what : what | TELLS_MUST(what);
}

unsigned meta_tells(const struct haul_config *cfg)
{
	return tells_bits(cfg->owner, TELLS_OWNERS) | tells_bits(cfg->xattrs, TELLS_ATTRIBUTES) |
	       tells_bits(cfg->acls, TELLS_ACLS) | (cfg->hard_links ? TELLS_LINKS : 0);
}

/* ---- reading ---- */

bool meta_wants_fd(const struct haul_config *cfg, enum entry_type type)
{
	return (type == ENTRY_FILE || type == ENTRY_DIR_END) &&
	       (cfg->xattrs != KEEP_OFF || cfg->acls != KEEP_OFF);
}

static void put_id(struct wr *w, const struct haul_config *cfg, enum meta_kind kind, uint32_t id)
{
	struct frame_meta m = {.kind = (uint8_t)kind, .id = id};
	char name[IDMAP_NAME_MAX + 1];
	/* 0 is the same everywhere, whatever it is called */
	if (!cfg->numeric_ids && id && idmap_name(kind == META_USER ? IDMAP_USER : IDMAP_GROUP, id, name))
		m.name = (struct span){(const uint8_t *)name, strlen(name)};
	frame_put_meta(w, &m);
}

/* What one file has, by name: in the order of the wire. */
struct listing {
	char *text;
	const char *name[META_ATTRIBUTES_MAX];
	size_t count, left_out;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names in fd that are to be told. 0 or -errno. */
static int list_names(int fd, unsigned tells, struct listing *l)
{
	ssize_t n = flistxattr(fd, NULL, 0);
	if (n <= 0)
		return n == 0 || errno == EOPNOTSUPP ? 0 : -errno;
	l->text = malloc(LIST_BYTES);
	if (!l->text)
		return -ENOMEM;
	n = flistxattr(fd, l->text, LIST_BYTES);
	if (n < 0)
		return -errno;
	for (const char *at = l->text; at < l->text + n; at += strlen(at) + 1) {
		if (!(meta_domain(at, strlen(at)) & tells))
			continue;
		if (l->count < META_ATTRIBUTES_MAX)
			l->name[l->count++] = at;
		else
			l->left_out++;
	}
	qsort(l->name, l->count, sizeof l->name[0], by_name);
	return 0;
}

/* False when it does not fit, or not any more. */
static bool put_attribute(struct wr *w, int fd, const char *name)
{
	uint8_t value[META_VALUE_MAX_BYTES];
	ssize_t n = fgetxattr(fd, name, value, sizeof value);
	if (n < 0)
		return errno == ENODATA; /* removed meanwhile */
	struct wr before = *w;
	frame_put_meta(w, &(struct frame_meta){
				  .kind = META_ATTRIBUTE,
				  .name = {(const uint8_t *)name, strlen(name)},
				  .value = {value, (size_t)n},
			  });
	if (!w->bad)
		return true;
	*w = before;
	return false;
}

static void put_attributes(struct wr *w, unsigned tells, int fd, struct haul_err *problem)
{
	struct listing l = {0};
	const char *first = NULL;
	int rc = list_names(fd, tells, &l);
	for (size_t i = 0; rc == 0 && i < l.count; i++)
		if (!put_attribute(w, fd, l.name[i])) {
			first = first ? first : l.name[i];
			l.left_out++;
		}
	if (rc < 0)
		haul_fail(problem, HAUL_PARTIAL, -rc, NULL, "sent without its attributes");
	else if (l.left_out)
		haul_fail(problem, HAUL_PARTIAL, 0, NULL, "sent without %zu attributes that do not fit%s%s",
			  l.left_out, first ? ", first " : "", first ? first : "");
	free(l.text);
}

size_t meta_read(const struct haul_config *cfg, const struct entry *e, int fd,
		 uint8_t out[static META_MAX_BYTES], struct haul_err *problem)
{
	struct wr w = wr_init(out, META_MAX_BYTES);
	bool told = e->type == ENTRY_FILE || e->type == ENTRY_SYMLINK || e->type == ENTRY_DIR_END;
	if (cfg->owner != KEEP_OFF && told) {
		put_id(&w, cfg, META_USER, e->uid);
		put_id(&w, cfg, META_GROUP, e->gid);
	}
	if (fd >= 0 && meta_wants_fd(cfg, e->type))
		put_attributes(&w, meta_tells(cfg) & TELLS_META, fd, problem);
	return w.n;
}

/* ---- what came ---- */

static const char *owner_malformed(const struct frame_meta *m, unsigned tells)
{
	if (!(tells & TELLS_OWNERS))
		return "META of an owner, which BEGIN did not announce";
	if (m->id == UINT32_MAX || m->value.n)
		return "META of an impossible owner";
	if (m->name.n > META_NAME_MAX_BYTES)
		return "META with an overlong name of an owner";
	return NULL;
}

static const char *attribute_malformed(const struct frame_meta *m, unsigned tells)
{
	unsigned domain = meta_domain((const char *)m->name.p, m->name.n);
	if (!(tells & (TELLS_ATTRIBUTES | TELLS_ACLS)) || (domain && !(tells & domain)))
		return "META of an attribute, which BEGIN did not announce";
	if (m->id || !m->name.n || m->name.n > META_NAME_MAX_BYTES)
		return "META of an attribute with an impossible name";
	if (m->value.n > META_VALUE_MAX_BYTES)
		return "META of an attribute with an overlong value";
	return NULL;
}

/* Bytes, then length: the order of strcmp. */
static bool ascends(const struct frame_meta *a, const struct frame_meta *b)
{
	if (a->kind != b->kind || a->kind != META_ATTRIBUTE)
		return a->kind < b->kind;
	size_t n = a->name.n < b->name.n ? a->name.n : b->name.n;
	int order = memcmp(a->name.p, b->name.p, n);
	return order < 0 || (order == 0 && a->name.n < b->name.n);
}

const char *meta_malformed(struct span groups, unsigned tells)
{
	struct rd r = rd_init(groups.p, groups.n);
	struct frame_meta m, before = {0};
	size_t owners = 0, attributes = 0;
	if (groups.n > META_MAX_BYTES)
		return "an entry tells too much of itself";
	for (; r.n; before = m) {
		if (!frame_get_part_meta(&r, &m) || m.kind < META_USER || m.kind > META_ATTRIBUTE)
			return "malformed META";
		if (!ascends(&before, &m))
			return "META groups out of order";
		bool attribute = m.kind == META_ATTRIBUTE;
		const char *why = attribute ? attribute_malformed(&m, tells) : owner_malformed(&m, tells);
		if (why)
			return why;
		owners += !attribute;
		attributes += attribute;
	}
	if (owners == 1)
		return "META of half an owner";
	return attributes > META_ATTRIBUTES_MAX ? "META of too many attributes" : NULL;
}

static const char *attribute_refused(const struct frame_meta *m, enum entry_type type)
{
	unsigned domain = meta_domain((const char *)m->name.p, m->name.n);
	if (!domain)
		return "an attribute that is not taken from others";
	if (type != ENTRY_FILE && type != ENTRY_DIR_END)
		return "an attribute of what has none";
	if (domain != TELLS_ACLS)
		return NULL;
	if (m->name.n == strlen(META_ACL_DEFAULT) && type != ENTRY_DIR_END)
		return "a default access control list of what is no directory";
	return meta_acl_valid(m->value) ? NULL : "a malformed access control list";
}

const char *meta_refused(struct span groups, enum entry_type type)
{
	struct rd r = rd_init(groups.p, groups.n);
	struct frame_meta m;
	const char *why = NULL;
	while (!why && r.n && frame_get_part_meta(&r, &m))
		if (m.kind == META_ATTRIBUTE)
			why = attribute_refused(&m, type);
	return why;
}

/* What may come next in an access control list (acl(5)), after tags seen so far. */
static bool tag_may_come(unsigned tag, unsigned last)
{
	switch (tag) {
	case ACL_USER_OBJ:
		return last == 0;
	case ACL_USER:
		return last == ACL_USER_OBJ || last == ACL_USER;
	case ACL_GROUP_OBJ:
		return last == ACL_USER_OBJ || last == ACL_USER;
	case ACL_GROUP:
		return last == ACL_GROUP_OBJ || last == ACL_GROUP;
	case ACL_MASK:
		return last == ACL_GROUP_OBJ || last == ACL_GROUP;
	case ACL_OTHER:
		return last == ACL_GROUP_OBJ || last == ACL_MASK;
	default:
		return false;
	}
}

bool meta_acl_valid(struct span acl)
{
	struct rd r = rd_init(acl.p, acl.n);
	unsigned last = 0, seen = 0;
	if (rd_u32(&r) != ACL_VERSION)
		return false;
	while (!r.bad && r.n) {
		unsigned tag = rd_u16(&r), perm = rd_u16(&r);
		uint32_t id = rd_u32(&r);
		bool named = tag == ACL_USER || tag == ACL_GROUP;
		if (r.bad || !tag_may_come(tag, last) || perm > ACL_PERM_MAX || (named && id == UINT32_MAX))
			return false;
		seen |= tag;
		last = tag;
	}
	/* named users alone make a mask due, too */
	bool mask_due = seen & (ACL_USER | ACL_GROUP);
	return !r.bad && last == ACL_OTHER && (!mask_due || (seen & ACL_MASK));
}
