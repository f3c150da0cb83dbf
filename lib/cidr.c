#include "lib/cidr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "lib/units.h"

#define MAPPED_BITS 96u

_Static_assert(CIDR_ADDRESS_BYTES == INET6_ADDRSTRLEN, "an address as text");

static const uint8_t mapped[12] = {[10] = 0xff, 0xff};

static unsigned width(const struct cidr *c)
{
	return c->v6 ? 128 : 32;
}

/* A mapped IPv4 address, or network of such, is IPv4. */
static void unmap(struct cidr *c)
{
	if (!c->v6 || c->bits < MAPPED_BITS || memcmp(c->address, mapped, sizeof mapped) != 0)
		return;
	c->v6 = false;
	c->bits -= MAPPED_BITS;
	memmove(c->address, c->address + sizeof mapped, 4);
	memset(c->address + 4, 0, sizeof c->address - 4);
}

/* Clears what is beyond its length; whether there was anything. */
static bool clear_host_bits(struct cidr *c)
{
	bool any = false;
	for (unsigned i = c->bits; i < width(c); i++) {
		uint8_t bit = (uint8_t)(0x80u >> i % 8);
		any |= (c->address[i / 8] & bit) != 0;
		c->address[i / 8] &= (uint8_t)~bit;
	}
	return any;
}

static bool parse_address(const char *text, struct cidr *c)
{
	c->v6 = strchr(text, ':') != NULL;
	return inet_pton(c->v6 ? AF_INET6 : AF_INET, text, c->address) == 1;
}

#define WRONG(...) haul_fail(err, HAUL_USAGE, 0, subject, __VA_ARGS__)

static enum haul_rc parse_one(const char *entry, const char *subject, struct cidr *c, struct haul_err *err)
{
	char address[CIDR_ADDRESS_BYTES], network[CIDR_ADDRESS_BYTES];
	size_t n = strcspn(entry, "/");
	const char *bits = entry[n] ? entry + n + 1 : NULL;
	*c = (struct cidr){0};
	snprintf(address, sizeof address, "%.*s", (int)n, entry);
	if (n >= sizeof address || !parse_address(address, c))
		return WRONG("%s is no network (like 192.0.2.0/24, 2001:db8::/32, 192.0.2.1)", entry);
	c->bits = width(c);
	if (bits && (!units_count(bits, &c->bits) || c->bits > width(c)))
		return WRONG("%s: the length of the network is 0 to %u", entry, width(c));
	if (clear_host_bits(c) && inet_ntop(c->v6 ? AF_INET6 : AF_INET, c->address, network, sizeof network))
		return WRONG("%s has bits set beyond its length: the network is %s/%u", entry, network,
			     c->bits);
	unmap(c);
	return HAUL_OK;
}

enum haul_rc cidr_parse(const char *text, const char *subject, struct cidr_list *out, struct haul_err *err)
{
	struct cidr_list list = {0};
	for (const char *next = text; next;) {
		char entry[CIDR_ADDRESS_BYTES + 8];
		size_t n = strcspn(next, ",");
		if (n == 0)
			return WRONG("an entry is empty");
		snprintf(entry, sizeof entry, "%.*s", (int)(n < sizeof entry ? n : sizeof entry), next);
		if (list.count == CIDRS_MAX)
			return WRONG("%s is one too many: there may be %u", entry, CIDRS_MAX);
		if (parse_one(entry, subject, &list.at[list.count++], err) != HAUL_OK)
			return err->rc;
		next = next[n] ? next + n + 1 : NULL;
	}
	*out = list;
	return HAUL_OK;
}

/* False if it has no IP address. */
static bool address_of(const struct sockaddr_storage *sa, struct cidr *c)
{
	*c = (struct cidr){.v6 = sa->ss_family == AF_INET6};
	c->bits = width(c);
	if (sa->ss_family == AF_INET)
		memcpy(c->address, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
	else if (sa->ss_family == AF_INET6)
		memcpy(c->address, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
	else
		return false;
	unmap(c);
	return true;
}

static bool within(const struct cidr *network, struct cidr address)
{
	if (network->v6 != address.v6)
		return false;
	address.bits = network->bits;
	clear_host_bits(&address);
	return memcmp(network->address, address.address, sizeof address.address) == 0;
}

bool cidr_allows(const struct cidr_list *list, const struct sockaddr_storage *sa)
{
	struct cidr address;
	bool allowed = list->count == 0 || !address_of(sa, &address);
	for (size_t i = 0; i < list->count && !allowed; i++)
		allowed = within(&list->at[i], address);
	return allowed;
}

void cidr_show(const struct sockaddr_storage *sa, char out[static CIDR_ADDRESS_BYTES])
{
	struct cidr c;
	if (!address_of(sa, &c) || !inet_ntop(c.v6 ? AF_INET6 : AF_INET, c.address, out, CIDR_ADDRESS_BYTES))
		out[0] = '\0';
}
