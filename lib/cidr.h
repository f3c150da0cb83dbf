/*
 * cidr: whom a listener hears, by address: a list of IPv4 and IPv6 networks.
 *
 * An IPv4 address is one whether a socket shows it as such or mapped (::ffff:192.0.2.1), and so is a network;
 * an IPv6 network, even ::/0, never has IPv4 addresses in it. What has no address, as a unix socket or a pipe, is
 * not for this list to judge: whoever reaches it is on this machine already.
 */
#ifndef HAUL_LIB_CIDR_H
#define HAUL_LIB_CIDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "lib/err.h"

#define CIDRS_MAX	   64u
#define CIDR_ADDRESS_BYTES 46 /* INET6_ADDRSTRLEN: an address as text */

struct cidr {
	bool v6;
	unsigned bits;
	uint8_t address[16]; /* IPv4: the first four */
};

struct cidr_list {
	size_t count; /* 0: everybody */
	struct cidr at[CIDRS_MAX];
};

/* Reads "192.0.2.0/24,2001:db8::/32,192.0.2.1"; a bare address is a network of one. HAUL_USAGE, with the entry,
 * for what is no network, has bits set beyond its length, or is one too many; out is unchanged then. */
enum haul_rc cidr_parse(const char *text, const char *subject, struct cidr_list *out, struct haul_err *err);

/* Whether the list has sa in it; true for an empty list and for what has no IP address. */
bool cidr_allows(const struct cidr_list *list, const struct sockaddr_storage *sa);

/* Its address as text, "" if it has none. */
void cidr_show(const struct sockaddr_storage *sa, char out[static CIDR_ADDRESS_BYTES]);

#endif
