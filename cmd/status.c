/* haul status: what is unfinished in a directory, and giving it up. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cmd/help.h"
#include "cmd/opts.h"
#include "cmd/report.h"
#include "cmd/subcommands.h"
#include "lib/escape.h"
#include "lib/inventory.h"
#include "lib/units.h"

#define TEXT_BYTES   (8 * PATH_MAX_BYTES)
#define BASE64_BYTES (2 * PATH_MAX_BYTES)

static bool size_known(const struct inventory_entry *e)
{
	return e->size != UINT64_MAX;
}

static double percent(const struct inventory_entry *e)
{
	return e->size ? 100.0 * (double)e->recorded / (double)e->size : 0;
}

/* ---- for people ---- */

static void print_age(uint64_t s)
{
	if (s >= 86400)
		printf("%5" PRIu64 "d%02" PRIu64 "h", s / 86400, s / 3600 % 24);
	else
		printf("%3" PRIu64 ":%02" PRIu64 ":%02" PRIu64, s / 3600, s / 60 % 60, s % 60);
}

static void print_row(void *ctx, const struct inventory_entry *e)
{
	char path[TEXT_BYTES], size[UNITS_SIZE_BYTES] = "-", recorded[UNITS_SIZE_BYTES],
			       disk[UNITS_SIZE_BYTES], done[8] = "-";
	bool *headed = ctx;
	if (!*headed)
		printf("%4s  %8s  %8s  %8s  %9s  %-8s  %-6s  %-32s  %s\n", "done", "recorded", "size",
		       "on disk", "age", "owner", "state", "id", "path");
	*headed = true;
	units_show_size(recorded, e->recorded);
	units_show_size(disk, e->disk);
	if (size_known(e)) {
		units_show_size(size, e->size);
		snprintf(done, sizeof done, "%d%%", (int)percent(e));
	}
	escape_text(path, sizeof path, e->path, e->path_len);
	printf("%4s  %8s  %8s  %8s  ", done, recorded, size, disk);
	print_age(e->age_s);
	printf("  %-8s  %-6s  %-32s  %s\n", e->owner, e->active ? "active" : "idle", e->id, path);
}

/* ---- for programs ---- */

static void print_path(const struct inventory_entry *e)
{
	char text[TEXT_BYTES];
	escape_json(text, sizeof text, e->path, e->path_len);
	printf(",\"path\":\"%s\"", text);
	if (utf8_valid(e->path, e->path_len))
		return;
	char raw[BASE64_BYTES];
	escape_base64(raw, sizeof raw, e->path, e->path_len);
	printf(",\"path_b64\":\"%s\"", raw);
}

static void print_object(void *ctx, const struct inventory_entry *e)
{
	(void)ctx;
	printf("{\"type\":\"unfinished\",\"id\":\"%s\"", e->id);
	print_path(e);
	if (size_known(e))
		printf(",\"size\":%" PRIu64 ",\"percent\":%.2f", e->size, percent(e));
	printf(",\"recorded\":%" PRIu64 ",\"disk\":%" PRIu64 ",\"age\":%" PRIu64
	       ",\"owner\":\"%s\",\"active\":%s}\n",
	       e->recorded, e->disk, e->age_s, e->owner, e->active ? "true" : "false");
}

/* ---- the command ---- */

/* Never makes DIR, as a receiver would. */
static enum haul_rc open_dir(const char *dir, struct root **root, struct haul_err *err)
{
	struct stat st;
	if (stat(dir, &st) < 0)
		return haul_fail(err, HAUL_IO, errno, dir, "cannot open the directory");
	return root_open(dir, NULL, root, err);
}

static enum haul_rc list(const struct options *o, struct root *root, struct haul_err *err)
{
	bool headed = false;
	int rc = inventory_list(root, o->cfg.json ? print_object : print_row, &headed);
	return rc < 0 ? haul_fail(err, HAUL_IO, -rc, o->dir, "cannot look for unfinished transfers")
		      : HAUL_OK;
}

static enum haul_rc discard(const struct options *o, struct root *root, struct haul_err *err)
{
	const char *id = o->cfg.discard;
	uint64_t freed;
	int rc = inventory_discard(root, id, &freed);
	if (rc == -ENOENT)
		return haul_fail(err, HAUL_USAGE, 0, id, "no such unfinished transfer in %s", o->dir);
	if (rc == -EBUSY)
		return haul_fail(err, HAUL_BUSY, 0, id, "a session works on it");
	if (rc < 0)
		return haul_fail(err, HAUL_IO, -rc, id, "cannot be removed");
	if (o->cfg.json)
		printf("{\"type\":\"discarded\",\"id\":\"%s\",\"freed\":%" PRIu64 "}\n", id, freed);
	else
		printf("%s: %" PRIu64 " bytes freed\n", id, freed);
	return HAUL_OK;
}

static enum haul_rc run(const struct options *o, struct haul_err *err)
{
	struct root *root = NULL;
	if (open_dir(o->dir, &root, err) != HAUL_OK)
		return err->rc;
	enum haul_rc rc = o->cfg.discard ? discard(o, root, err) : list(o, root, err);
	root_close(root);
	if (rc == HAUL_OK && (fflush(stdout) != 0 || ferror(stdout)))
		return haul_fail(err, HAUL_IO, errno, "standard output", "cannot be written");
	return rc;
}

int status_main(int argc, char **argv)
{
	struct options o;
	struct haul_err err = {0};
	if (opts_parse(&o, CMD_STATUS, argc, argv, &err) == HAUL_OK) {
		if (o.help)
			help_subcommand(stdout, CMD_STATUS);
		else
			run(&o, &err);
	}
	report_failure(&err);
	opts_free(&o);
	return haul_exit_status(&err);
}
