/*
 * lib/meta, lib/metaset, lib/idmap: what is told of an entry besides mode and times. What a peer may say that
 * cannot be right or is not taken, access control lists byte by byte, and what is set on a real file.
 */
#include "unit.h"

#include <errno.h>
#include <sys/xattr.h>

#include "lib/idmap.h"
#include "lib/metaset.h"
#include "mutate.h"

#define ALL TELLS_KNOWN

struct group {
	uint8_t kind;
	uint32_t id;
	const char *name, *value;
};

static uint8_t bytes[4 * META_MAX_BYTES];

static struct span put(const struct group *g, size_t n)
{
	struct wr w = wr_init(bytes, sizeof bytes);
	for (size_t i = 0; i < n; i++)
		frame_put_meta(&w, &(struct frame_meta){
					   g[i].kind,
					   g[i].id,
					   {(const uint8_t *)g[i].name, strlen(g[i].name)},
					   {(const uint8_t *)g[i].value, strlen(g[i].value)},
				   });
	assert_false(w.bad);
	return (struct span){bytes, w.n};
}

static void malformed(void **state)
{
	(void)state;
	static const struct {
		struct group g[3];
		unsigned tells;
		const char *why; /* a part of it; NULL: it is fine */
	} rows[] = {
		{{{0}}, ALL, NULL},
		{{{1, 1000, "ann", ""}, {2, 0, "", ""}}, ALL, NULL},
		{{{1, 1, "", ""}, {2, 1, "", ""}, {3, 0, "user.a", "x"}}, ALL, NULL},
		{{{3, 0, "user.a", ""}, {3, 0, "user.aa", ""}, {3, 0, "user.b", ""}}, TELLS_ATTRIBUTES, NULL},
		{{{3, 0, "security.capability", "x"}}, TELLS_ATTRIBUTES, NULL}, /* refused, not malformed */
		{{{1, 1, "", ""}}, ALL, "half an owner"},
		{{{2, 1, "", ""}}, ALL, "half an owner"},
		{{{2, 1, "", ""}, {1, 1, "", ""}}, ALL, "out of order"},
		{{{1, 1, "", ""}, {1, 1, "", ""}}, ALL, "out of order"},
		{{{3, 0, "user.b", ""}, {3, 0, "user.a", ""}}, ALL, "out of order"},
		{{{3, 0, "user.a", ""}, {3, 0, "user.a", ""}}, ALL, "out of order"},
		{{{3, 0, "user.aa", ""}, {3, 0, "user.a", ""}}, ALL, "out of order"},
		{{{4, 0, "x", ""}}, ALL, "malformed META"},
		{{{1, UINT32_MAX, "", ""}, {2, 1, "", ""}}, ALL, "impossible owner"},
		{{{1, 1, "", "x"}, {2, 1, "", ""}}, ALL, "impossible owner"},
		{{{1, 1, "", ""}, {2, 1, "", ""}}, ALL & ~TELLS_OWNERS, "did not announce"},
		{{{3, 0, "user.a", ""}}, TELLS_OWNERS, "did not announce"},
		{{{3, 0, "user.a", ""}}, TELLS_ACLS, "did not announce"},
		{{{3, 0, META_ACL, ""}}, TELLS_ATTRIBUTES, "did not announce"},
		{{{3, 0, "security.capability", "x"}}, TELLS_OWNERS, "did not announce"},
		{{{3, 1, "user.a", ""}}, ALL, "impossible name"},
		{{{3, 0, "", "x"}}, ALL, "impossible name"},
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		size_t n = 0;
		while (n < 3 && rows[i].g[n].name)
			n++;
		const char *why = meta_malformed(put(rows[i].g, n), rows[i].tells);
		if (!rows[i].why != !why || (why && !strstr(why, rows[i].why)))
			fail_msg("row %zu: %s", i, why ? why : "accepted");
	}
}

/* At the bound, and one beyond it. */
static void bounds(void **state)
{
	(void)state;
	static char name[META_NAME_MAX_BYTES + 2], value[META_VALUE_MAX_BYTES + 2];
	static char names[META_ATTRIBUTES_MAX + 1][16];
	static struct group many[META_ATTRIBUTES_MAX + 1];
	memset(name, 'n', META_NAME_MAX_BYTES);
	memcpy(name, "user.", 5);
	memset(value, 'v', META_VALUE_MAX_BYTES);
	assert_null(meta_malformed(put(&(struct group){3, 0, name, value}, 1), ALL));
	value[META_VALUE_MAX_BYTES] = 'v';
	assert_string_equal(meta_malformed(put(&(struct group){3, 0, "user.a", value}, 1), ALL),
			    "META of an attribute with an overlong value");
	name[META_NAME_MAX_BYTES] = 'n';
	assert_string_equal(meta_malformed(put(&(struct group){3, 0, name, ""}, 1), ALL),
			    "META of an attribute with an impossible name");
	struct group owner[2] = {{1, 1, name, ""}, {2, 1, "", ""}};
	assert_string_equal(meta_malformed(put(owner, 2), ALL), "META with an overlong name of an owner");
	for (size_t i = 0; i <= META_ATTRIBUTES_MAX; i++) {
		snprintf(names[i], sizeof names[i], "user.%03zu", i);
		many[i] = (struct group){3, 0, names[i], ""};
	}
	assert_null(meta_malformed(put(many, META_ATTRIBUTES_MAX), ALL));
	assert_string_equal(meta_malformed(put(many, META_ATTRIBUTES_MAX + 1), ALL),
			    "META of too many attributes");
	value[META_VALUE_MAX_BYTES] = '\0';
	struct group large[3] = {{3, 0, "user.a", value}, {3, 0, "user.b", value}, {3, 0, "user.c", value}};
	assert_string_equal(meta_malformed(put(large, 3), ALL), "an entry tells too much of itself");
}

struct tally {
	size_t tried, taken;
};

static void damaged(void *ctx, enum mutation kind, size_t at, const uint8_t *p, size_t n)
{
	struct tally *t = ctx;
	struct span s = {p, n};
	(void)kind, (void)at;
	t->tried++;
	/* whatever is not malformed must be safe to look at for any type */
	if (meta_malformed(s, ALL))
		return;
	t->taken++;
	for (unsigned type = ENTRY_FILE; type <= ENTRY_STREAM; type++)
		meta_refused(s, (enum entry_type)type);
}

static void mutations(void **state)
{
	(void)state;
	static const struct group g[] = {
		{1, 1000, "ann", ""}, {2, 100, "users", ""}, {3, 0, "user.a", "value"}};
	struct tally t = {0};
	uint8_t copy[256];
	struct span s = put(g, COUNT(g));
	assert_true(s.n < sizeof copy);
	memcpy(copy, s.p, s.n);
	mutate_each(copy, s.n, damaged, &t);
	assert_true(t.tried > 8 * s.n);
	assert_true(t.taken > 0 && t.taken < t.tried);
}

/* ---- lists ---- */

struct ace {
	uint16_t tag, perm;
	uint32_t id;
};

static struct span acl_of(const struct ace *a, size_t n, uint32_t version)
{
	static uint8_t b[1024];
	struct wr w = wr_init(b, sizeof b);
	wr_uint(&w, version, 4);
	for (size_t i = 0; i < n; i++) {
		wr_uint(&w, a[i].tag, 2);
		wr_uint(&w, a[i].perm, 2);
		wr_uint(&w, a[i].id, 4);
	}
	return (struct span){b, w.n};
}

enum { UO = 1, U = 2, GO = 4, G = 8, M = 16, O = 32 };

static void lists(void **state)
{
	(void)state;
	static const struct {
		bool valid;
		struct ace a[8];
	} rows[] = {
		{true, {{UO, 7, 0}, {GO, 5, 0}, {O, 0, 0}}},
		{true, {{UO, 7, 0}, {GO, 5, 0}, {M, 5, 0}, {O, 0, 0}}},
		{true, {{UO, 7, 0}, {U, 7, 5}, {U, 7, 6}, {GO, 5, 0}, {G, 1, 7}, {M, 7, 0}, {O, 0, 0}}},
		{false, {{0}}},
		{false, {{UO, 7, 0}, {GO, 5, 0}}},
		{false, {{GO, 5, 0}, {O, 0, 0}}},
		{false, {{UO, 7, 0}, {O, 0, 0}}},
		{false, {{UO, 8, 0}, {GO, 5, 0}, {O, 0, 0}}},
		{false, {{UO, 7, 0}, {UO, 7, 0}, {GO, 5, 0}, {O, 0, 0}}},
		{false, {{UO, 7, 0}, {GO, 5, 0}, {O, 0, 0}, {O, 0, 0}}},
		{false, {{UO, 7, 0}, {GO, 5, 0}, {O, 0, 0}, {M, 0, 0}}},
		{false, {{UO, 7, 0}, {U, 7, 5}, {GO, 5, 0}, {O, 0, 0}}},
		{false, {{UO, 7, 0}, {GO, 5, 0}, {G, 7, 5}, {O, 0, 0}}},
		{false, {{UO, 7, 0}, {U, 7, UINT32_MAX}, {GO, 5, 0}, {M, 7, 0}, {O, 0, 0}}},
		{false, {{UO, 7, 0}, {GO, 5, 0}, {M, 5, 0}, {M, 5, 0}, {O, 0, 0}}},
		{false, {{UO, 7, 0}, {3, 5, 0}, {GO, 5, 0}, {O, 0, 0}}},
		{false, {{UO, 7, 0}, {GO, 5, 0}, {U, 5, 1}, {M, 5, 0}, {O, 0, 0}}},
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		size_t n = 0;
		while (n < 8 && rows[i].a[n].tag)
			n++;
		if (meta_acl_valid(acl_of(rows[i].a, n, 2)) != rows[i].valid)
			fail_msg("row %zu", i);
	}
	struct span good = acl_of(rows[0].a, 3, 2);
	for (size_t n = 0; n < good.n; n++)
		assert_false(meta_acl_valid((struct span){good.p, n}));
	assert_false(meta_acl_valid(acl_of(rows[0].a, 3, 1)));
	assert_false(meta_acl_valid(acl_of(rows[0].a, 3, 3)));
}

static void refused(void **state)
{
	(void)state;
	static const char *const foreign[] = {"security.capability",
					      "security.selinux",
					      "trusted.overlay.opaque",
					      "system.posix_acl",
					      "system.nfs4_acl",
					      "user.",
					      "userx.a",
					      "User.a",
					      "btrfs.compression"};
	for (size_t i = 0; i < COUNT(foreign); i++)
		assert_non_null(meta_refused(put(&(struct group){3, 0, foreign[i], ""}, 1), ENTRY_FILE));
	struct group plain = {3, 0, "user.a", "v"};
	assert_null(meta_refused(put(&plain, 1), ENTRY_FILE));
	assert_null(meta_refused(put(&plain, 1), ENTRY_DIR_END));
	assert_non_null(meta_refused(put(&plain, 1), ENTRY_SYMLINK));
	assert_non_null(meta_refused(put(&plain, 1), ENTRY_DIR));
	assert_non_null(meta_refused(put(&plain, 1), ENTRY_STREAM));

	static const struct ace good[] = {{UO, 7, 0}, {GO, 5, 0}, {O, 0, 0}};
	uint8_t b[256];
	for (size_t cut = 0; cut < 2; cut++)
		for (size_t is_default = 0; is_default < 2; is_default++) {
			const char *name = is_default ? META_ACL_DEFAULT : META_ACL;
			struct span acl = acl_of(good, 3, 2);
			struct wr w = wr_init(b, sizeof b);
			acl.n -= cut;
			frame_put_meta(
				&w, &(struct frame_meta){3, 0, {(const uint8_t *)name, strlen(name)}, acl});
			struct span s = {b, w.n};
			assert_int_equal(!meta_refused(s, ENTRY_DIR_END), !cut);
			assert_int_equal(!meta_refused(s, ENTRY_FILE), !cut && !is_default);
		}
	/* a NUL in a name would cut it short behind the check */
	struct wr w = wr_init(b, sizeof b);
	frame_put_meta(&w, &(struct frame_meta){3, 0, {(const uint8_t *)"user.a\0b", 8}, {NULL, 0}});
	assert_non_null(meta_refused((struct span){b, w.n}, ENTRY_FILE));
}

/* ---- setting ---- */

static void read_and_set(void **state)
{
	(void)state;
	const struct haul_config cfg = {.owner = KEEP_TRY, .xattrs = KEEP_REQUIRE, .acls = KEEP_TRY};
	put_file("from", "x", 1);
	put_file("to", "x", 1);
	int from = open("from", O_RDONLY), to = open("to", O_RDWR);
	assert_int_equal(fsetxattr(from, "user.b", "two", 3, 0), 0);
	assert_int_equal(fsetxattr(from, "user.a", "", 0, 0), 0);
	assert_int_equal(fsetxattr(to, "user.b", "older", 5, 0), 0);
	assert_int_equal(fsetxattr(to, "user.gone", "x", 1, 0), 0);

	struct entry e = {.type = ENTRY_FILE, .uid = getuid(), .gid = getgid()};
	struct haul_err problem = {0};
	uint8_t groups[META_MAX_BYTES];
	struct metaset m = {.tells = meta_tells(&cfg)};
	struct span s = {groups, meta_read(&cfg, &e, from, groups, &problem)};
	assert_int_equal(problem.rc, HAUL_OK);
	assert_null(meta_malformed(s, m.tells));
	assert_null(meta_refused(s, ENTRY_FILE));
	assert_int_equal(metaset_apply(&m, to, s), 0);
	char value[16], list[64];
	assert_int_equal(fgetxattr(to, "user.b", value, sizeof value), 3);
	assert_memory_equal(value, "two", 3);
	assert_int_equal(fgetxattr(to, "user.a", value, sizeof value), 0);
	assert_int_equal(flistxattr(to, list, sizeof list), 14); /* the two, and nothing else */
	assert_int_equal(m.unset, 0);

	/* what was not announced is left alone, and so is everything by a receiver that was told nothing */
	struct metaset none = {0};
	assert_int_equal(metaset_apply(&none, to, (struct span){NULL, 0}), 0);
	assert_int_equal(flistxattr(to, list, sizeof list), 14);
	assert_int_equal(metaset_apply(&m, to, (struct span){NULL, 0}), 0);
	assert_int_equal(flistxattr(to, list, sizeof list), 0);
	close(from);
	close(to);
}

/* What does not fit is told of, and the rest travels. */
static void too_much(void **state)
{
	(void)state;
	const struct haul_config cfg = {.xattrs = KEEP_TRY};
	char name[32];
	put_file("much", "x", 1);
	int fd = open("much", O_RDWR);
	for (unsigned i = 0; i < META_ATTRIBUTES_MAX + 3; i++) {
		snprintf(name, sizeof name, "user.%03u", i);
		assert_int_equal(fsetxattr(fd, name, "v", 1, 0), 0);
	}
	struct entry e = {.type = ENTRY_FILE};
	struct haul_err problem = {0};
	uint8_t groups[META_MAX_BYTES];
	struct span s = {groups, meta_read(&cfg, &e, fd, groups, &problem)};
	assert_null(meta_malformed(s, meta_tells(&cfg)));
	assert_int_equal(problem.rc, HAUL_PARTIAL);
	assert_non_null(strstr(problem.why, "without 3 attributes"));
	close(fd);
}

static void names_of_users(void **state)
{
	(void)state;
	static const struct {
		const char *line;
		size_t len; /* 0: it is none */
		uint32_t id;
	} rows[] = {
		{"ann:x:1000:1000::/home/ann:/bin/sh", 3, 1000},
		{"users:x:100:", 5, 100},
		{"a:x:4294967294", 1, 4294967294u},
		{"a:x:4294967295:", 0, 0},
		{"a:x:99999999999999999999:", 0, 0},
		{"a:x::", 0, 0},
		{"a:x:-1:", 0, 0},
		{"a:x:1x:", 0, 0},
		{":x:1:", 0, 0},
		{"a:x", 0, 0},
		{"", 0, 0},
		{"#a:x:1:", 0, 0},
		{"+a:x:1:", 0, 0},
		{"-a:x:1:", 0, 0},
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		size_t len = 0;
		uint32_t id = 0;
		bool is = idmap_line(rows[i].line, strlen(rows[i].line), &len, &id);
		if (is != (rows[i].len > 0) || (is && (len != rows[i].len || id != rows[i].id)))
			fail_msg("row %zu", i);
	}
	char name[IDMAP_NAME_MAX + 1];
	uint32_t id = 7;
	assert_true(idmap_name(IDMAP_USER, 0, name));
	assert_string_equal(name, "root");
	assert_true(idmap_id(IDMAP_GROUP, "root-and-more", 4, &id));
	assert_int_equal(id, 0);
	assert_false(idmap_id(IDMAP_USER, "no such user", 12, &id));
	assert_false(idmap_id(IDMAP_USER, "", 0, &id));
	assert_false(idmap_name(IDMAP_USER, 4294967294u, name));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(malformed), cmocka_unit_test(bounds),	       cmocka_unit_test(mutations),
		cmocka_unit_test(lists),     cmocka_unit_test(refused),	       cmocka_unit_test(read_and_set),
		cmocka_unit_test(too_much),  cmocka_unit_test(names_of_users),
	};
	return cmocka_run_group_tests(tests, enter_scratch, leave_scratch);
}
