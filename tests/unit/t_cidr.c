/* lib/cidr and lib/gate: who may connect, and what is told of those who may not. */
#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "lib/gate.h"

static struct haul_err err;

static struct sockaddr_storage peer(const char *text)
{
	struct sockaddr_storage ss = {.ss_family = AF_UNIX};
	struct sockaddr_in *v4 = (void *)&ss;
	struct sockaddr_in6 *v6 = (void *)&ss;
	if (inet_pton(AF_INET, text, &v4->sin_addr) == 1)
		ss.ss_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1)
		ss.ss_family = AF_INET6;
	return ss;
}

static enum haul_rc parse(const char *text, struct cidr_list *list)
{
	haul_err_clear(&err);
	return cidr_parse(text, "--recv-only-from", list, &err);
}

static void who_is_in(void **state)
{
	static const struct {
		const char *list, *in, *out; /* separated by blanks */
	} table[] = {
		{"192.0.2.0/24", "192.0.2.0 192.0.2.255 ::ffff:192.0.2.7",
		 "192.0.1.255 192.0.3.0 ::1 ::192.0.2.7"},
		{"192.0.2.1", "192.0.2.1 ::ffff:192.0.2.1", "192.0.2.0 192.0.2.2 ::ffff:192.0.2.2"},
		{"192.0.2.1/32", "192.0.2.1", "192.0.2.0"},
		{"0.0.0.0/0", "0.0.0.0 255.255.255.255 ::ffff:1.2.3.4", "::1 2001:db8::1"},
		{"10.128.0.0/9", "10.128.0.0 10.255.255.255", "10.127.255.255 11.128.0.0"},
		{"10.0.0.4/31", "10.0.0.4 10.0.0.5", "10.0.0.3 10.0.0.6"},
		{"::/0", "::1 2001:db8::1 fe80::1", "1.2.3.4 ::ffff:1.2.3.4"},
		{"::1", "::1", "::2 127.0.0.1"},
		{"2001:db8::/33", "2001:db8:7fff:ffff::1", "2001:db8:8000:: 2001:db7::"},
		{"2001:db8::2/127", "2001:db8::2 2001:db8::3", "2001:db8::1 2001:db8::4"},
		{"::ffff:192.0.2.0/120", "192.0.2.9 ::ffff:192.0.2.9", "192.0.3.9 ::1"},
		{"::ffff:192.0.2.1", "192.0.2.1", "192.0.2.2"},
		{"::ffff:0:0/96", "1.2.3.4 ::ffff:1.2.3.4", "::1"},
		{"10.0.0.0/8,2001:db8::/32,192.0.2.1", "10.9.9.9 2001:db8::9 192.0.2.1",
		 "11.0.0.0 2001:db9:: 192.0.2.2"},
		{"127.0.0.1/32", "127.0.0.1", "127.0.0.2 ::1"},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(table); i++) {
		struct cidr_list list;
		assert_int_equal(parse(table[i].list, &list), HAUL_OK);
		for (int in = 0; in < 2; in++) {
			char text[256];
			snprintf(text, sizeof text, "%s", in ? table[i].in : table[i].out);
			for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
				struct sockaddr_storage sa = peer(word);
				assert_int_not_equal(sa.ss_family, AF_UNIX);
				if (cidr_allows(&list, &sa) != in)
					fail_msg("%s is %sin %s", word, in ? "not " : "", table[i].list);
			}
		}
		/* what has no address is not judged */
		struct sockaddr_storage sa = peer("unix");
		assert_true(cidr_allows(&list, &sa));
	}
	struct cidr_list nobody = {0};
	struct sockaddr_storage sa = peer("203.0.113.1");
	assert_true(cidr_allows(&nobody, &sa));
}

static void refusals(void **state)
{
	static const struct {
		const char *list, *why;
	} table[] = {
		{"10.0.0.1/8", "10.0.0.1/8 has bits set beyond its length: the network is 10.0.0.0/8"},
		{"2001:db8::1/32", "the network is 2001:db8::/32"},
		{"::ffff:192.0.2.1/120", "bits set beyond its length"},
		{"0.0.0.1/0", "the network is 0.0.0.0/0"},
		{"10.0.0.0/33", "10.0.0.0/33: the length of the network is 0 to 32"},
		{"10.0.0.0/", "10.0.0.0/: the length"},
		{"10.0.0.0/x", "10.0.0.0/x: the length"},
		{"10.0.0.0/-1", "10.0.0.0/-1: the length"},
		{"10.0.0.0/8/8", "10.0.0.0/8/8: the length"},
		{"::/129", "::/129: the length of the network is 0 to 128"},
		{"10.0.0", "10.0.0 is no network"},
		{"10.0.0.0.0", "10.0.0.0.0 is no network"},
		{"256.0.0.1", "256.0.0.1 is no network"},
		{"host.example", "host.example is no network"},
		{"[::1]", "[::1] is no network"},
		{"fe80::1%lo", "fe80::1%lo is no network"},
		{"10.0.0.1:80", "10.0.0.1:80 is no network"},
		{"/8", "/8 is no network"},
		{" 10.0.0.1", " 10.0.0.1 is no network"},
		{"", "empty"},
		{",", "empty"},
		{"10.0.0.1,", "empty"},
		{"10.0.0.1,,10.0.0.2", "empty"},
		{"10.0.0.1,10.0.0.2/3", "10.0.0.2/3 has bits"},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(table); i++) {
		struct cidr_list list = {.count = 77};
		assert_int_equal(parse(table[i].list, &list), HAUL_USAGE);
		assert_string_equal(err.subject, "--recv-only-from");
		if (!strstr(err.why, table[i].why))
			fail_msg("'%s' does not say '%s'", err.why, table[i].why);
		assert_int_equal(list.count, 77);
	}
}

static void bounds(void **state)
{
	struct cidr_list list;
	char text[CIDRS_MAX * 12 + 64], *at = text;
	(void)state;
	for (unsigned i = 0; i < CIDRS_MAX; i++)
		at += sprintf(at, "%s10.0.%u.0/24", i ? "," : "", i);
	assert_int_equal(parse(text, &list), HAUL_OK);
	assert_int_equal(list.count, CIDRS_MAX);
	struct sockaddr_storage last = peer("10.0.63.1");
	assert_true(cidr_allows(&list, &last));
	strcpy(at, ",192.0.2.1");
	assert_int_equal(parse(text, &list), HAUL_USAGE);
	assert_non_null(strstr(err.why, "192.0.2.1 is one too many: there may be 64"));
	char far[5000];
	memset(far, '1', sizeof far - 1);
	far[sizeof far - 1] = '\0';
	assert_int_equal(parse(far, &list), HAUL_USAGE);
	assert_non_null(strstr(err.why, "is no network"));
}

/* Whatever comes in, the parser says yes or names an entry, and stays within bounds (the sanitizers look on). */
static void mutations(void **state)
{
	static const char seed[] = "10.0.0.0/8,2001:db8::/32,::ffff:192.0.2.0/120,192.0.2.1";
	unsigned random = 1, good = 0;
	(void)state;
	for (int i = 0; i < 20000; i++) {
		char text[sizeof seed];
		struct cidr_list list;
		memcpy(text, seed, sizeof seed);
		for (unsigned flips = 1 + i % 3; flips; flips--) {
			random = random * 1103515245 + 12345;
			text[(random >> 8) % (sizeof seed - 1)] ^= (char)(1u << (random >> 20) % 7);
		}
		good += parse(text, &list) == HAUL_OK;
		assert_int_equal(err.rc == HAUL_OK, list.count <= CIDRS_MAX && err.why[0] == '\0');
	}
	assert_in_range(good, 1, 19999);
}

static void told_now_and_then(void **state)
{
	struct cidr_list list;
	struct gate g = {.only = &list};
	char text[GATE_TEXT_BYTES];
	(void)state;
	assert_int_equal(parse("10.0.0.0/8", &list), HAUL_OK);
	struct sockaddr_storage in = peer("10.1.1.1"), out = peer("::ffff:203.0.113.5"),
				far = peer("2001:db8::9");
	assert_true(gate_admits(&g, &in));
	assert_false(gate_report(&g, 1000, false, text));
	assert_false(gate_report(&g, 1000, true, text));
	assert_false(gate_admits(&g, &out));
	assert_true(gate_report(&g, 1000, false, text));
	assert_string_equal(
		text, "1 connection from elsewhere closed (--recv-only-from), the last from 203.0.113.5; "
		      "1 so far");
	for (int i = 0; i < 500; i++)
		assert_false(gate_admits(&g, &far));
	assert_false(gate_report(&g, 1000 + GATE_EVERY_MS - 1, false, text));
	assert_true(gate_report(&g, 1000 + GATE_EVERY_MS, false, text));
	assert_string_equal(text, "500 connections from elsewhere closed (--recv-only-from), the last from "
				  "2001:db8::9; 501 so far");
	assert_false(gate_admits(&g, &out));
	assert_false(gate_report(&g, 1000 + GATE_EVERY_MS, false, text));
	assert_true(gate_report(&g, 1000 + GATE_EVERY_MS, true, text));
	assert_false(gate_report(&g, UINT64_MAX, true, text));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_is_in), cmocka_unit_test(refusals),	  cmocka_unit_test(bounds),
		cmocka_unit_test(mutations), cmocka_unit_test(told_now_and_then),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
