/*
 * CPace against the vectors of the draft for ristretto255 and SHA-512, its invalid points, and every bit of
 * the shares.
 *
 * Sources: draft-irtf-cfrg-cpace-21, B.3 (first row, K and the points), and testvectors.json of
 * github.com/cfrg/draft-irtf-cfrg-cpace at 45270cce, "G_Coffee25519" (second row: the same suite, another
 * CI).
 */
#include "tests/unit/unit.h"

#include <sodium.h>

#include "wire/cpace.h"

struct vector {
	const char *prs, *ci, *sid, *g, *ya, *ada, *share_a, *yb, *adb, *share_b, *k, *isk;
};

#define YA  "da3d23700a9e5699258aef94dc060dfda5ebb61f02a5ea77fad53f4ff0976d08"
#define YB  "d2316b454718c35362d83d69df6320f38578ed5984651435e2949762d900b80d"
#define SID "7e4b4791d6a8ef019b936c79fb7f2c57"
static const struct vector vectors[] = {
	{"50617373776f7264", "0b415f696e69746961746f720b425f726573706f6e646572", SID,
	 "222b6b195fe84b1652badb6f6a3ae3d24341e7306967f0b8115b40d5698c7e56", YA, "414461",
	 "d6bac480f2c386c394efc7c47adb9925dcd2630b64f240c50f8d0eec482b9157", YB, "414462",
	 "3ea7e0b19560d7c0b0f5734f63b955286dfa8232b5ebe63324e2d9e7433f7258",
	 "80b69a8a76457ab6a4d7f887a4bf6b55a2f80ac19c333f917a05fc9887c8b40f",
	 "b69effbf61b51d56401c0f65601abe428de8206feaaf0e32198896dcae7b35cd"
	 "2b38950a39dfd5d4a79164614c2984f7daa460b588c1e80c3fa2068af7900447"},
	{"50617373776f7264", "6f630b425f726573706f6e6465720b415f696e69746961746f72", SID,
	 "a6fc82c3b8968fbb2e06fee81ca858586dea50d248f0c7ca6a18b0902a30b36b", YA, "414461",
	 "d40fb265a7abeaee7939d91a585fe59f7053f982c296ec413c624c669308f87a", YB, "414462",
	 "08bcf6e9777a9c313a3db6daa510f2d398403319c2341bd506a92e672eb7e307",
	 "e22b1ef7788f661478f3cddd4c600774fc0f41e6b711569190ff88fa0e607e09",
	 "4c5469a16b2364c4b944ebc1a79e51d1674ad47db26e8718154f59faebfaa52d"
	 "8346f30aa58377117eb20d527f2cbc5c76381f7fd372e89df8239f87f2e02ed1"},
};
#define SCALAR	"7cd0e075fa7955ba52c02759a6c90dbbfc10e6d40aea8d283e407d88cf538a05"
#define POINT	"2c3c6b8c4f3800e7aef6864025b4ed79bd599117e427c41bd47d93d654b4a51c"
#define PRODUCT "7c13645fe790a468f62c39beb7388e541d8405d1ade69d1778c5fe3e7f6b600e"
static const char *const invalid_points[] = {
	"2b3c6b8c4f3800e7aef6864025b4ed79bd599117e427c41bd47d93d654b4a51c",
	"0000000000000000000000000000000000000000000000000000000000000000",
};

struct bytes {
	uint8_t p[256];
	size_t n;
};

static struct bytes hex(const char *text)
{
	struct bytes b = {.n = 0};
	assert_int_equal(sodium_hex2bin(b.p, sizeof b.p, text, strlen(text), NULL, &b.n, NULL), 0);
	return b;
}

#define VIEW(b) ((struct cpace_bytes){(b).p, (b).n})

/* One run of A and B. */
struct run {
	struct bytes prs, ci, sid, ada, adb;
	uint8_t g[CPACE_POINT_BYTES];
	uint8_t scalar_a[CPACE_SCALAR_BYTES], scalar_b[CPACE_SCALAR_BYTES];
	uint8_t ya[CPACE_POINT_BYTES], yb[CPACE_POINT_BYTES];
	uint8_t isk[CPACE_ISK_BYTES];
};

static struct run run(const struct vector *v)
{
	struct run r = {.prs = hex(v->prs),
			.ci = hex(v->ci),
			.sid = hex(v->sid),
			.ada = hex(v->ada),
			.adb = hex(v->adb)};
	cpace_generator(VIEW(r.prs), VIEW(r.ci), VIEW(r.sid), r.g);
	assert_true(cpace_share(r.g, hex(v->ya).p, r.scalar_a, r.ya));
	assert_true(cpace_share(r.g, hex(v->yb).p, r.scalar_b, r.yb));
	memcpy(r.isk, hex(v->isk).p, sizeof r.isk);
	return r;
}

static bool finish_a(const struct run *r, const uint8_t *yb, uint8_t *isk)
{
	struct cpace_transcript t = {r->ya, yb, VIEW(r->ada), VIEW(r->adb)};
	return cpace_finish(r->scalar_a, yb, VIEW(r->sid), &t, isk);
}

static bool finish_b(const struct run *r, const uint8_t *ya, uint8_t *isk)
{
	struct cpace_transcript t = {ya, r->yb, VIEW(r->ada), VIEW(r->adb)};
	return cpace_finish(r->scalar_b, ya, VIEW(r->sid), &t, isk);
}

static void published(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(vectors); i++) {
		const struct vector *v = &vectors[i];
		struct run r = run(v);
		uint8_t k[CPACE_POINT_BYTES], isk[CPACE_ISK_BYTES];
		assert_memory_equal(r.g, hex(v->g).p, sizeof r.g);
		assert_memory_equal(r.scalar_a, hex(v->ya).p, sizeof r.scalar_a);
		assert_memory_equal(r.ya, hex(v->share_a).p, sizeof r.ya);
		assert_memory_equal(r.yb, hex(v->share_b).p, sizeof r.yb);
		assert_int_equal(crypto_scalarmult_ristretto255(k, r.scalar_a, r.yb), 0);
		assert_memory_equal(k, hex(v->k).p, sizeof k);
		assert_true(finish_a(&r, r.yb, isk));
		assert_memory_equal(isk, r.isk, sizeof isk);
		memset(isk, 0, sizeof isk);
		assert_true(finish_b(&r, r.ya, isk));
		assert_memory_equal(isk, r.isk, sizeof isk);
	}
}

/* B.3.10: a share is the product of scalar and point */
static void valid_point(void **state)
{
	(void)state;
	uint8_t scalar[CPACE_SCALAR_BYTES], y[CPACE_POINT_BYTES];
	assert_true(cpace_share(hex(POINT).p, hex(SCALAR).p, scalar, y));
	assert_memory_equal(y, hex(PRODUCT).p, sizeof y);
}

/* B.3.11, and what else does not encode a point: from either side the run ends, and there is no key */
static void invalid(void **state)
{
	(void)state;
	struct run r = run(&vectors[0]);
	uint8_t isk[CPACE_ISK_BYTES], scalar[CPACE_SCALAR_BYTES], y[CPACE_POINT_BYTES];
	for (size_t i = 0; i < COUNT(invalid_points); i++) {
		struct bytes bad = hex(invalid_points[i]);
		memset(isk, 0xa5, sizeof isk);
		assert_false(finish_a(&r, bad.p, isk));
		assert_true(sodium_is_zero(isk, sizeof isk));
		memset(isk, 0xa5, sizeof isk);
		assert_false(finish_b(&r, bad.p, isk));
		assert_true(sodium_is_zero(isk, sizeof isk));
		assert_false(cpace_share(bad.p, hex(SCALAR).p, scalar, y));
		assert_true(sodium_is_zero(y, sizeof y));
	}
	memset(y, 0xff, sizeof y); /* not below the prime */
	assert_false(finish_a(&r, y, isk));
	memset(scalar, 0, sizeof scalar); /* zero is no scalar */
	assert_false(cpace_share(r.g, scalar, scalar, y));
}

static void flips(void **state)
{
	(void)state;
	struct run r = run(&vectors[0]);
	size_t keys = 0, aborts = 0;
	for (size_t i = 0; i < 2 * 8 * CPACE_POINT_BYTES; i++) {
		bool at_a = i >= 8 * CPACE_POINT_BYTES;
		size_t bit = i % (8 * CPACE_POINT_BYTES);
		uint8_t y[CPACE_POINT_BYTES], isk[CPACE_ISK_BYTES];
		memcpy(y, at_a ? r.yb : r.ya, sizeof y);
		y[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (at_a ? finish_a(&r, y, isk) : finish_b(&r, y, isk)) {
			keys++;
			if (memcmp(isk, r.isk, sizeof isk) == 0)
				fail_msg("bit %zu of %s does not count", bit, at_a ? "Yb" : "Ya");
		} else {
			aborts++;
		}
	}
	assert_true(keys > 0 && aborts > 0);
}

/* Another secret, party, session or word beside it: another key. */
static void everything_counts(void **state)
{
	(void)state;
	for (size_t i = 0; i < 5; i++) {
		struct run r = run(&vectors[0]), other = run(&vectors[0]);
		struct bytes *part[] = {&other.prs, &other.ci, &other.sid, &other.ada, &other.adb};
		uint8_t ours[CPACE_ISK_BYTES], theirs[CPACE_ISK_BYTES];
		part[i]->p[0] ^= 1;
		cpace_generator(VIEW(other.prs), VIEW(other.ci), VIEW(other.sid), other.g);
		assert_true(cpace_share(other.g, hex(YB).p, other.scalar_b, other.yb));
		assert_true(finish_a(&r, other.yb, ours));
		assert_true(finish_b(&other, r.ya, theirs));
		assert_memory_not_equal(ours, theirs, sizeof ours);
	}
}

/* Lengths of more than one byte, and no room left for zeros: the string as 8.1 spells it, hashed in one go.
 */
static void long_secret(void **state)
{
	(void)state;
	static const char dsi[] = "CPaceRistretto255";
	struct bytes prs = {.n = 200}, ci = {.n = 130}, sid = hex(SID);
	memset(prs.p, 'p', prs.n);
	memset(ci.p, 'c', ci.n);
	uint8_t s[512], hash[64], g[CPACE_POINT_BYTES], want[CPACE_POINT_BYTES], *at = s;
	*at++ = 17;
	at = mempcpy(at, dsi, 17);
	at = mempcpy(at, "\xc8\x01", 2);
	at = mempcpy(at, prs.p, prs.n);
	*at++ = 0;
	at = mempcpy(at, "\x82\x01", 2);
	at = mempcpy(at, ci.p, ci.n);
	*at++ = 16;
	at = mempcpy(at, sid.p, sid.n);
	crypto_hash_sha512(hash, s, (size_t)(at - s));
	crypto_core_ristretto255_from_hash(want, hash);
	cpace_generator(VIEW(prs), VIEW(ci), VIEW(sid), g);
	assert_memory_equal(g, want, sizeof g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published),	     cmocka_unit_test(valid_point),
		cmocka_unit_test(invalid),	     cmocka_unit_test(flips),
		cmocka_unit_test(everything_counts), cmocka_unit_test(long_secret),
	};
	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
