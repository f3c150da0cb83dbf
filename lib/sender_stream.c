/* What comes out of a pipe: one entry without a size, its pieces in order, and whether it ended well. */
#include "lib/sender_impl.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

void sender_offer_stream(struct sender *s)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	const char *name = s->cfg->name ? s->cfg->name : "stdin";
	struct entry e = {
		.type = ENTRY_STREAM,
		.mode = 0666,
		.stamp = {.size = s->cfg->stream_size,
			  .mtime_s = ts.tv_sec,
			  .mtime_ns = (uint32_t)ts.tv_nsec},
		.blocks = UINT64_MAX,
		.path = name,
		.path_len = strlen(name),
		.source_path = "",
	};
	struct scan_batch *b = scan_batch_new(s->cfg, NULL, 1);
	s->stream = b ? source_file_new(&e) : NULL;
	if (s->stream && scan_batch_add(b, &e, s->stream)) {
		s->offered_files = 1;
		sender_offer(s, b);
	}
	scan_batch_free(b);
	s->scan_ended = true;
	s->m->total = s->cfg->stream_size == SIZE_UNSET ? 0 : s->cfg->stream_size;
	s->m->total_final = s->cfg->stream_size != SIZE_UNSET;
	sender_plan_event(s);
}

static void piece_to_job(struct sender *s, struct stream_piece *piece)
{
	struct send_job *job = sender_job_new(s, JOB_STREAM, s->stream);
	if (!job)
		return;
	job->offset = s->stream_read;
	job->raw = piece->len;
	job->body = piece->block;
	piece->block = NULL;
	s->stream_read += piece->len;
	s->stream->jobs++;
	if (!pool_submit(s->workers, job))
		send_job_free(job);
}

static void stream_end(struct sender *s, struct stream_piece *piece)
{
	s->stream_ended = true;
	if (piece->err.rc == HAUL_OK && s->cfg->stream_size != SIZE_UNSET &&
	    s->stream_read != s->cfg->stream_size)
		haul_fail(&piece->err, HAUL_COMMAND, 0, "--size", "the stream ended after %llu of %llu bytes",
			  (unsigned long long)s->stream_read, (unsigned long long)s->cfg->stream_size);
	if (piece->err.rc != HAUL_OK) {
		if (piece->err.rc != HAUL_SIGNAL)
			engine_abort(&s->engine, &piece->err);
		return;
	}
	s->stream->submitted = true;
	s->m->total = s->stream->stamp.size = s->stream_read;
	s->m->total_final = true;
	if (!s->stream->jobs)
		sender_file_done(s, s->stream);
}

/* What is beyond the promised size is not sent: to the receiver it would be a violation. */
static void check_promise(struct sender *s, struct stream_piece *piece)
{
	if (piece->len <= s->cfg->stream_size - s->stream_read)
		return;
	haul_fail(&piece->err, HAUL_COMMAND, 0, "--size", "the stream is longer than %llu bytes",
		  (unsigned long long)s->cfg->stream_size);
	piece->len = 0;
	piece->end = true;
}

void sender_pump_stream(struct sender *s)
{
	/* after a stop what is read is no use, and after FINISH it has no place */
	if (!s->stream || !s->stream->wanted || s->stopped)
		return;
	struct stream_piece *piece;
	while (!s->stream_ended && !s->outbox_count && !pool_full(s->workers) &&
	       (piece = pool_take(s->reader))) {
		check_promise(s, piece);
		if (piece->len)
			piece_to_job(s, piece);
		if (piece->end)
			stream_end(s, piece);
		buf_put(piece->block);
		free(piece);
	}
	while (!s->stream_ended && !s->draining && !pool_full(s->reader)) {
		piece = calloc(1, sizeof *piece);
		if (!piece || !pool_submit(s->reader, piece)) {
			free(piece);
			return;
		}
	}
}
