/* What a run tells the world: the event bus with its subscribers, and the last words. */
#ifndef HAUL_CMD_REPORT_H
#define HAUL_CMD_REPORT_H

#include "cmd/cron.h"
#include "cmd/json.h"
#include "cmd/logfile.h"
#include "cmd/prom.h"
#include "cmd/tty.h"
#include "lib/events.h"
#include "lib/sender.h"

struct report {
	const struct haul_config *cfg;
	bool beside; /* standard error is the peer's, too: what it knows is its to print, unless with -v */
	struct event_bus bus;
	struct tty *tty;
	struct json_log *json;
	struct logfile *log;
	struct prom *prom;
	struct cron *cron; /* borrowed; it has the last words */
	uint64_t start_ns;
};

/* Opens what cfg asks for (--json, --log-file, --metrics, progress) and says hello. role: "send" or "recv".
 * cron: who has the last words, or NULL; borrowed. After a failure nothing is open. */
enum haul_rc report_open(struct report *r, const struct haul_config *cfg, const uint8_t id[static 16],
			 const char *role, struct cron *cron, struct haul_err *err);

/* Emits `error` (if the outcome is one) and `done`, prints the one line a failure deserves (unless standard
 * error carries JSON, where `done` has the last word, or cron has, or the peer prints it beside us), closes
 * everything. The exit status. */
int report_close(struct report *r, const struct session_outcome *out);

/* Ends this process the way a shell expects it after a signal; returns status for any other failure. */
int die_by(const struct haul_err *err, int status);

/* Blocks SIGINT, SIGTERM and SIGHUP and gives a signalfd for them, -1 if there can be none. */
int signals_open(void);

#endif
