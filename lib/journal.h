/*
 * journal: which chunks of an unfinished file are on disk. Sans-I/O: bytes in, bytes out.
 *
 *   header   128 bytes, then the path, padded to a multiple of 64
 *   records  64 bytes each, 64-aligned, so that none straddles a sector
 *
 * A record is appended only after the data it speaks of was synced (or written, where the user wants no
 * sync). Reading stops at the first record with a wrong checksum, salt or sequence number: what follows is
 * not believed. The salt is random for each journal, so stale blocks of an older one never parse. Even what
 * is believed only proposes: a chunk counts once its digest was made again from disk.
 */
#ifndef HAUL_LIB_JOURNAL_H
#define HAUL_LIB_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/digest.h"
#include "wire/limits.h"

#define JOURNAL_HEADER_BYTES   128u
#define JOURNAL_RECORD_BYTES   64u
#define JOURNAL_HEAD_MAX_BYTES (JOURNAL_HEADER_BYTES + PATH_MAX_BYTES + JOURNAL_RECORD_BYTES)

#define JOURNAL_OWNER_CHARS    8u

struct journal_header {
	/* Who may continue it: part of the file's name (lib/partial.h), not of its content. "" without keys.
	 */
	char owner[JOURNAL_OWNER_CHARS + 1];
	uint8_t session[16];	    /* that began it */
	uint64_t seed, stamp, size; /* size: UINT64_MAX for a stream of unknown length */
	uint32_t chunk;
	uint32_t mode;
	bool stream;
	uint64_t salt;
	uint16_t path_len;
	char path[PATH_MAX_BYTES + 1];
};

enum journal_type {
	JOURNAL_CHUNK = 1, /* offset, length, digest: this chunk is on disk */
	JOURNAL_LINK =
		2, /* offset of the link, length of the stream: all of it is on disk; epoch in digest[0..7] */
};

struct journal_record {
	enum journal_type type;
	uint64_t offset, length;
	uint8_t digest[DIGEST_BYTES];
};

/* Encodes header and path; the length, a multiple of 64. */
size_t journal_put_header(const struct journal_header *h, uint8_t out[static JOURNAL_HEAD_MAX_BYTES]);
void journal_put_record(const struct journal_header *h, uint64_t seq, const struct journal_record *r,
			uint8_t out[static JOURNAL_RECORD_BYTES]);

/* Reads the header; its length, 0 if it is not one or is damaged. */
size_t journal_get_header(const uint8_t *p, size_t n, struct journal_header *h);
/* Reads the record with number seq; false: the journal ends before it. */
bool journal_get_record(const struct journal_header *h, uint64_t seq, const uint8_t *p, size_t n,
			struct journal_record *r);

#endif
