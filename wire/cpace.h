/*
 * CPace: two who share a short secret get a long one, and whoever listens or guesses wrong learns nothing.
 * The suite CPace-ristretto255-SHA512 of draft-irtf-cfrg-cpace-21, sections 7 and 8.3, in the
 * initiator-responder setting: A speaks first, B answers. Each run allows each side one guess.
 */
#ifndef HAUL_WIRE_CPACE_H
#define HAUL_WIRE_CPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CPACE_POINT_BYTES  32u
#define CPACE_SCALAR_BYTES 32u
#define CPACE_ISK_BYTES	   64u

/* Some bytes that are borrowed; p may be NULL when n is 0. */
struct cpace_bytes {
	const uint8_t *p;
	size_t n;
};

/* What both said, in the order of the roles. */
struct cpace_transcript {
	const uint8_t *ya, *yb; /* CPACE_POINT_BYTES each */
	struct cpace_bytes ada, adb;
};

/* The generator (encoded) of the secret prs, what both know of each other, and the session's id. It is as
 * secret as prs. */
void cpace_generator(struct cpace_bytes prs, struct cpace_bytes ci, struct cpace_bytes sid,
		     uint8_t g[static CPACE_POINT_BYTES]);

/* Makes a scalar of random bytes, which are used once, and the public share of it. False, with nothing in
 * share, when the scalar is none (zero). */
bool cpace_share(const uint8_t g[static CPACE_POINT_BYTES], const uint8_t entropy[static CPACE_SCALAR_BYTES],
		 uint8_t scalar[static CPACE_SCALAR_BYTES], uint8_t share[static CPACE_POINT_BYTES]);

/* The key of the session from this side's scalar and the peer's share (ya or yb of the transcript). False,
 * with isk zero, when the share is no point or the neutral one: abort. */
bool cpace_finish(const uint8_t scalar[static CPACE_SCALAR_BYTES],
		  const uint8_t peer[static CPACE_POINT_BYTES], struct cpace_bytes sid,
		  const struct cpace_transcript *t, uint8_t isk[static CPACE_ISK_BYTES]);

#endif
