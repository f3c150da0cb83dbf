/*
 * What a session was asked to do. cmd/ fills it from the option table (cmd/opts.def), lib/ reads it and
 * never changes it. Sizes are bytes, durations milliseconds; DURATION_INF means no limit. Strings are
 * borrowed from argv or the environment and outlive the session.
 */
#ifndef HAUL_LIB_CONFIG_H
#define HAUL_LIB_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/cidr.h"

#define DURATION_INF UINT64_MAX
#define SIZE_UNSET   UINT64_MAX

enum compress_mode { COMPRESS_AUTO, COMPRESS_NONE, COMPRESS_LEVEL, COMPRESS_RANGE };
enum sync_mode { SYNC_BATCH, SYNC_FILE, SYNC_NONE };
enum links_mode { LINKS_KEEP, LINKS_FOLLOW, LINKS_SKIP };
enum overwrite_mode { OVERWRITE_YES, OVERWRITE_NO, OVERWRITE_BACKUP };
enum vanished_mode { VANISHED_WARN, VANISHED_ERROR, VANISHED_IGNORE };
enum overload_mode { OVERLOAD_REJECT, OVERLOAD_QUEUE };
enum keep_mode { KEEP_OFF, KEEP_TRY, KEEP_REQUIRE };
enum sandbox_mode { SANDBOX_OFF, SANDBOX_AUTO, SANDBOX_REQUIRE };
enum progress_mode { PROGRESS_AUTO, PROGRESS_TTY, PROGRESS_PLAIN, PROGRESS_OFF };

struct auth;
struct filter;
struct listing;
struct haul_keys;

struct haul_config {
	/* both sides: where keys are, as the user says it, and what was loaded; NULL: nothing is encrypted */
	const char *key_file, *key_fd, *identity, *peer, *peers;
	bool code; /* or a code that people tell each other */
	const char *code_fd;
	struct haul_keys *keys;
	struct auth *auth; /* made of them, for handshakes */

	/* both sides: link and clocks */
	uint64_t window, ring;
	bool window_set, ring_set; /* given by the user: a raise is worth a warning */
	uint64_t idle_ms, credit_wait_ms, reconnect_ms, connect_ms;
	uint64_t retry_min_ms, retry_max_ms;
	uint64_t grace_ms;
	uint64_t bwlimit; /* bytes a second, 0 = none (the parser refuses a 0 from the user) */
	unsigned jobs;

	/* send */
	enum compress_mode compress;
	int level_min, level_max;
	uint64_t chunk;
	bool dry_run;
	enum links_mode links;
	enum vanished_mode vanished;
	enum keep_mode owner, xattrs, acls; /* what is kept besides mode and times */
	bool numeric_ids, hard_links;
	bool checksum, size_only, whole_file, update, ignore_existing, existing;
	const char *name;     /* of a stream */
	uint64_t stream_size; /* expected size of a stream, SIZE_UNSET if not given */
	const char *from_cmd;
	const char *chdir_to; /* -C DIR: where relative SRCs are looked up */
	const char *files_from;
	const struct listing *names; /* what it lists, below the one SRC; NULL without */
	bool from0;		     /* names and patterns in files end at a NUL byte */
	const struct filter *filter; /* made of --exclude and its like; NULL without */
	uint64_t min_size, max_size; /* of regular files; max_size: SIZE_UNSET if none */
	bool one_file_system, gitignore;
	const char *rsh, *haul_path;
	bool remove_source_files;
	bool delete_strays; /* --delete: what the receiver has and the source has not */
	uint64_t max_delete;
	unsigned max_delete_percent;
	uint64_t deadline_ms; /* DURATION_INF if none */
	bool cron;	      /* a run nobody watches */
	const char *lock_file;
	uint64_t lock_wait_ms;

	/* recv */
	const char *listen; /* ADDR, NULL = the default */
	const char *port_file;
	bool once, insecure;
	const char *output; /* -o FILE or "-"; NULL for a tree */
	const char *to_cmd;
	enum overwrite_mode overwrite;
	enum sync_mode sync;
	unsigned max_sessions;
	enum overload_mode overload;
	unsigned overload_queue;    /* how many may wait */
	struct cidr_list only_from; /* who may connect; empty: everybody */
	uint64_t quota;		    /* raw bytes, SIZE_UNSET if none */

	enum sandbox_mode sandbox;
	bool no_sandbox;  /* --no-sandbox, whatever sandbox says */
	const char *user; /* recv: NAME[:GROUP] to become once the place to listen at is taken */

	/* the person's side */
	bool quiet, stats;
	int verbose;
	enum progress_mode progress;
	const char *json;    /* NULL off; "" standard error; FILE or fd:N */
	const char *discard; /* status: ID of what to give up */
	const char *log_file, *metrics;
};

#endif
