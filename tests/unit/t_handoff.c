/* engine_conn: a connection and the state of its handshake go through a socket to another process. */
#include "unit.h"

#include <errno.h>
#include <sys/socket.h>

#include "lib/handoff.h"

static void pair(int type, int fds[2])
{
	assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds), 0);
}

static struct handoff *sample(int fd)
{
	struct handoff *h = calloc(1, sizeof *h);
	assert_non_null(h);
	h->conn = (struct conn){.in = fd, .out = fd};
	h->hs.state = HS_DECIDE;
	h->hs.tx.number = 3;
	h->hs.attach.received = 12345;
	memset(h->hs.attach.session, 7, 16);
	return h;
}

static void there_and_usable(void **state)
{
	int way[2], conn[2];
	char c;
	(void)state;
	pair(SOCK_SEQPACKET, way);
	pair(SOCK_STREAM, conn);
	struct handoff *h = sample(conn[0]), *got = calloc(1, sizeof *got);
	assert_int_equal(handoff_receive(way[1], got), -EAGAIN);
	assert_int_equal(handoff_send(way[0], h), 0);
	close(conn[0]);
	assert_int_equal(handoff_receive(way[1], got), 0);
	assert_true(fcntl(got->conn.in, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(got->conn.in, got->conn.out);
	assert_int_equal(got->hs.state, HS_DECIDE);
	assert_int_equal(got->hs.tx.number, 3);
	assert_int_equal(got->hs.attach.received, 12345);
	assert_int_equal(got->hs.attach.session[15], 7);
	assert_null(got->hs.attach.subdir.p);
	assert_int_equal(write(got->conn.in, "x", 1), 1);
	assert_int_equal(read(conn[1], &c, 1), 1);
	close(got->conn.in);
	assert_int_equal(read(conn[1], &c, 1), 0);
	assert_int_equal(handoff_receive(way[1], got), -EAGAIN);
	close(way[0]);
	assert_int_equal(handoff_receive(way[1], got), -EPIPE);
	close(way[1]);
	close(conn[1]);
	free(h);
	free(got);
}

static void what_is_no_handoff(void **state)
{
	int way[2];
	struct handoff *got = calloc(1, sizeof *got);
	(void)state;
	pair(SOCK_SEQPACKET, way);
	assert_int_equal(send(way[0], "junk", 4, 0), 4);
	assert_int_equal(handoff_receive(way[1], got), -EPIPE);
	close(way[1]);
	struct handoff *h = sample(way[0]);
	assert_int_equal(handoff_send(way[0], h), -EPIPE);
	close(way[0]);
	free(h);
	free(got);
}

/* A listener must not wait for a session that does not take what it is handed. */
static void a_full_socket_is_said(void **state)
{
	int way[2], rc, count = 0;
	(void)state;
	pair(SOCK_SEQPACKET, way);
	struct handoff *h = sample(STDERR_FILENO);
	while ((rc = handoff_send(way[0], h)) == 0 && count < 100000)
		count++;
	assert_true(rc == -EAGAIN || rc == -ETOOMANYREFS);
	struct handoff *got = calloc(1, sizeof *got);
	for (; count; count--) {
		assert_int_equal(handoff_receive(way[1], got), 0);
		close(got->conn.in);
	}
	close(way[0]);
	close(way[1]);
	free(h);
	free(got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_usable),
		cmocka_unit_test(what_is_no_handoff),
		cmocka_unit_test(a_full_socket_is_said),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
