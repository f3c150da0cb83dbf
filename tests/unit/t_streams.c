/* lib/stream_in and lib/sink: the stages at the two ends of a stream, run here without their threads. */
#include "unit.h"

#include <pthread.h>
#include <signal.h>

#include "lib/clock.h"
#include "lib/sink.h"
#include "lib/source.h"
#include "lib/stream_in.h"

#define CHUNK 4096u

static struct blocks *blocks;

/* Standard input becomes the reading end of a pipe; the writing end is returned. */
static int pipe_to_stdin(void)
{
	int p[2];
	assert_int_equal(pipe(p), 0);
	dup2(p[0], STDIN_FILENO);
	close(p[0]);
	return p[1];
}

static struct stream_in open_in(const char *cmd)
{
	struct stream_in s;
	struct haul_err err = {0};
	assert_int_equal(stream_in_open(&s, cmd, CHUNK, blocks, &err), HAUL_OK);
	return s;
}

static struct stream_piece next(struct stream_in *s)
{
	struct stream_piece piece = {0};
	stream_in_ops.run(s, NULL, &piece);
	return piece;
}

static void full_chunks_and_the_end(void **state)
{
	int out = pipe_to_stdin();
	struct stream_in s = open_in(NULL);
	char data[CHUNK + 100];
	(void)state;
	memset(data, 'x', sizeof data);
	assert_int_equal(write(out, data, sizeof data), sizeof data);
	close(out);
	struct stream_piece a = next(&s), b = next(&s);
	assert_int_equal(a.len, CHUNK);
	assert_false(a.end);
	assert_memory_equal(a.block->data + PAYLOAD_AT, data, CHUNK);
	assert_int_equal(b.len, 100);
	if (!b.end) {
		struct stream_piece c = next(&s);
		assert_true(c.end && c.len == 0);
		buf_put(c.block);
	}
	assert_int_equal(b.err.rc, HAUL_OK);
	buf_put(a.block);
	buf_put(b.block);
	stream_in_close(&s);
}

/* The contract: what was read flows on within 200 ms. */
static void a_slow_producer_is_not_held_back(void **state)
{
	struct stream_in s = open_in("printf abc; sleep 1; printf de");
	(void)state;
	uint64_t start = clock_now_ms();
	struct stream_piece a = next(&s);
	assert_int_equal(a.len, 3);
	assert_false(a.end);
	assert_true(clock_now_ms() - start < 700);
	struct stream_piece b = next(&s);
	assert_int_equal(b.len, 2);
	buf_put(a.block);
	buf_put(b.block);
	stream_in_close(&s);
}

static void a_producer_that_fails_has_no_end(void **state)
{
	struct stream_in s = open_in("printf abc; exit 3");
	(void)state;
	struct stream_piece p = next(&s);
	while (!p.end) {
		buf_put(p.block);
		p = next(&s);
	}
	assert_int_equal(p.err.rc, HAUL_COMMAND);
	assert_non_null(strstr(p.err.why, "exit status 3"));
	buf_put(p.block);
	stream_in_close(&s);
}

static void *cancel_soon(void *s)
{
	usleep(50000);
	stream_in_cancel(s);
	return NULL;
}

static void reading_can_be_cancelled(void **state)
{
	int out = pipe_to_stdin();
	struct stream_in s = open_in(NULL);
	pthread_t thread;
	(void)state;
	pthread_create(&thread, NULL, cancel_soon, &s);
	struct stream_piece p = next(&s);
	pthread_join(thread, NULL);
	assert_true(p.end);
	assert_int_not_equal(p.err.rc, HAUL_OK);
	buf_put(p.block);
	close(out);
	stream_in_close(&s);
}

/* ---- sink ---- */

static struct sink open_out(const char *cmd, const char *path)
{
	struct sink s;
	struct haul_err err = {0};
	assert_int_equal(sink_open(&s, cmd, path, &err), HAUL_OK);
	return s;
}

static enum haul_rc give(struct sink *s, size_t bytes, uint64_t zeros, bool end)
{
	struct sink_job *job = calloc(1, sizeof *job);
	assert_non_null(job);
	if (bytes) {
		job->bytes = buf_malloc(NULL, bytes);
		assert_non_null(job->bytes);
		memset(job->bytes->data, 'y', bytes);
		job->bytes->len = bytes;
	}
	job->zeros = zeros;
	job->end = end;
	sink_ops.run(s, NULL, job);
	enum haul_rc rc = job->err.rc;
	sink_job_free(job);
	return rc;
}

static void a_consumer_gets_all(void **state)
{
	static char got[300000];
	struct sink s = open_out("cat >got", NULL);
	(void)state;
	assert_int_equal(give(&s, 100000, 0, false), HAUL_OK);
	assert_int_equal(give(&s, 0, 100000, false), HAUL_OK);
	assert_int_equal(give(&s, 10, 5, true), HAUL_OK);
	sink_close(&s);
	assert_int_equal(get_file("got", got, sizeof got), 200015);
	assert_int_equal(got[99999], 'y');
	assert_int_equal(got[100000], 0);
	assert_int_equal(got[200009], 'y');
	assert_int_equal(got[200014], 0);
}

static void a_consumer_that_fails(void **state)
{
	(void)state;
	struct sink s = open_out("cat >/dev/null; exit 4", NULL);
	assert_int_equal(give(&s, 10, 0, true), HAUL_COMMAND);
	sink_close(&s);
	s = open_out("exec <&-; sleep 0.2; exit 0", NULL);
	usleep(100000);
	enum haul_rc rc = give(&s, 1 << 20, 0, false);
	assert_int_equal(rc, HAUL_COMMAND);
	sink_close(&s);
}

static void *cancel_sink_soon(void *s)
{
	usleep(50000);
	sink_cancel(s);
	return NULL;
}

static void writing_can_be_cancelled(void **state)
{
	struct sink s = open_out("exec sleep 60", NULL);
	pthread_t thread;
	(void)state;
	uint64_t start = clock_now_ms();
	pthread_create(&thread, NULL, cancel_sink_soon, &s);
	assert_int_equal(give(&s, 0, 8 << 20, false), HAUL_SIGNAL);
	pthread_join(thread, NULL);
	sink_close(&s);
	assert_true(clock_now_ms() - start < 5000);
}

static void what_is_a_sink(void **state)
{
	struct sink s;
	struct haul_err err = {0};
	(void)state;
	put_file("regular", "x", 1);
	assert_int_equal(mkfifo("fifo", 0600), 0);
	assert_true(sink_wanted("-"));
	assert_true(sink_wanted("fifo"));
	assert_true(sink_wanted("/dev/null"));
	assert_false(sink_wanted("regular"));
	assert_false(sink_wanted("."));
	assert_false(sink_wanted("missing"));
	assert_int_equal(sink_open(&s, NULL, "missing/x", &err), HAUL_IO);
	sink_close(&s);
	s = open_out(NULL, "/dev/null");
	assert_int_equal(give(&s, 100, 100, true), HAUL_OK);
	sink_close(&s);
	s = open_out(NULL, "/dev/full");
	assert_int_equal(give(&s, 100, 0, false), HAUL_NO_SPACE);
	sink_close(&s);
}

static int begin(void **state)
{
	signal(SIGPIPE, SIG_IGN);
	blocks = blocks_new(PAYLOAD_AT + CHUNK, 2);
	return blocks ? enter_scratch(state) : -1;
}

static int finish(void **state)
{
	blocks_free(blocks);
	return leave_scratch(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(full_chunks_and_the_end),
		cmocka_unit_test(a_slow_producer_is_not_held_back),
		cmocka_unit_test(a_producer_that_fails_has_no_end),
		cmocka_unit_test(reading_can_be_cancelled),
		cmocka_unit_test(a_consumer_gets_all),
		cmocka_unit_test(a_consumer_that_fails),
		cmocka_unit_test(writing_can_be_cancelled),
		cmocka_unit_test(what_is_a_sink),
	};
	return cmocka_run_group_tests(tests, begin, finish);
}
