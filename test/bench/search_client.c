/*
 * search_client FIRST SECOND ROWS: how long a prepared statement takes through libpq, in turn with another: the ratio of the
 * medians. Both have one text parameter, the name of one of ROWS rows; each runs in blocks of 200 in the same transaction, with
 * the token that the environment has as BENCH_TOKEN. BENCH_BINARY=1 sends and takes binary. Connects as libpq's environment says.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libpq-fe.h>

#define BLOCK  200
#define BLOCKS 61

static double first_us[BLOCKS];
static double second_us[BLOCKS];

static void
fail(PGconn *conn)
{
	fprintf(stderr, "search_client: %s\n", PQerrorMessage(conn));
	exit(1);
}

static void
need(PGconn *conn, PGresult *result, ExecStatusType status)
{
	if (PQresultStatus(result) != status)
		fail(conn);
	PQclear(result);
}

static unsigned long
next_random(void)
{
	static unsigned long state = 88172645463325252ul;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* Microseconds of one execution, over a block of them; each must find exactly one row. */
static double
run(PGconn *conn, const char *statement, unsigned long rows, int binary)
{
	struct timespec from, to;

	clock_gettime(CLOCK_MONOTONIC, &from);
	for (int i = 0; i < BLOCK; i++)
	{
		char name[32];
		const char *values[1] = {name};
		int lengths[1];
		int formats[1] = {binary};
		PGresult *result;

		lengths[0] = snprintf(name, sizeof(name), "X%lu", next_random() % rows + 1);
		result = PQexecPrepared(conn, statement, 1, values, lengths, formats, binary);
		if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
			fail(conn);
		PQclear(result);
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	return ((double) (to.tv_sec - from.tv_sec) * 1e6 + (double) (to.tv_nsec - from.tv_nsec) / 1e3) /
		   BLOCK;
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *) a;
	double y = *(const double *) b;

	return x < y ? -1 : x > y;
}

int
main(int argc, char **argv)
{
	const char *token = getenv("BENCH_TOKEN");
	int binary = getenv("BENCH_BINARY") != NULL;
	unsigned long rows = argc == 4 ? strtoul(argv[3], NULL, 10) : 0;
	PGconn *conn;

	if (rows == 0 || token == NULL)
		return 2;
	conn = PQconnectdb("");
	if (PQstatus(conn) != CONNECTION_OK)
		fail(conn);
	need(conn, PQexec(conn, "SET plan_cache_mode = force_generic_plan"), PGRES_COMMAND_OK);
	need(conn, PQexec(conn, "BEGIN"), PGRES_COMMAND_OK);
	need(conn,
		 PQexecParams(conn, "SELECT set_config('immiiq.token', $1, true)", 1, NULL, &token, NULL,
					  NULL, 0),
		 PGRES_TUPLES_OK);
	need(conn, PQprepare(conn, "first", argv[1], 0, NULL), PGRES_COMMAND_OK);
	need(conn, PQprepare(conn, "second", argv[2], 0, NULL), PGRES_COMMAND_OK);
	(void) run(conn, "first", rows, binary);
	(void) run(conn, "second", rows, binary);
	for (int i = 0; i < BLOCKS; i++)
	{
		first_us[i] = run(conn, "first", rows, binary);
		second_us[i] = run(conn, "second", rows, binary);
	}
	need(conn, PQexec(conn, "COMMIT"), PGRES_COMMAND_OK);
	PQfinish(conn);
	qsort(first_us, BLOCKS, sizeof(double), compare);
	qsort(second_us, BLOCKS, sizeof(double), compare);
	printf("%.4f\n", first_us[BLOCKS / 2] / second_us[BLOCKS / 2]);
	return 0;
}
