/*
 * types_libpq TOKEN OTHER_TOKEN: every sealed type through libpq, with parameters and results in text and in binary, typed in
 * every way a driver types them. Connects as libpq's environment says, to a database with the tables of 023_types_libpq.pl.
 * Prints TAP.
 */
#include <libpq-fe.h>

#include "tap.h"

typedef struct Sample
{
	const char *column;
	const char *plain; /* the plain type */
	const char *text;
	const char *binary; /* in hexadecimal, as the plain type is sent */
	Oid plain_oid;
	Oid sealed_oid;
} Sample;

static Sample samples[] = {
	{"t", "text", "Jos\xc3\xa9 M\xc3\xbcller", "4a6f73c3a9204dc3bc6c6c6572", 0, 0},
	{"b", "bytea", "\\x00ff10", "00ff10", 0, 0},
	{"i", "int8", "-9007199254740993", "ffdfffffffffffff", 0, 0},
	{"x", "numeric", "1234.50", "000200000000000204d21388", 0, 0},
	{"d", "date", "1964-08-12", "ffffcd83", 0, 0},
	{"z", "timestamptz", "2024-02-29 12:00:00.000001+00", "0002b582c4781001", 0, 0},
	{"j", "jsonb", "{\"a\": [null, 1.5], \"b\": \"c\"}",
	 "017b2261223a205b6e756c6c2c20312e355d2c202262223a202263227d", 0, 0},
};
#define SAMPLES ((int) (sizeof(samples) / sizeof(samples[0])))

static PGconn *conn;

static bool
is_done(PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);
	bool good = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;

	if (!good)
		printf("# %s", PQresultErrorMessage(result));
	return good;
}

/* Runs what must succeed. */
static void
run(const char *statement)
{
	PGresult *result = PQexec(conn, statement);

	if (!is_done(result))
		exit(1);
	PQclear(result);
}

/* Begins a transaction as whoever the token is of, NULL for nobody. */
static void
begin_as(const char *token)
{
	run("BEGIN");
	if (token != NULL)
	{
		PGresult *result = PQexecParams(conn, "SELECT set_config('immiiq.token', $1, true)", 1,
										NULL, &token, NULL, NULL, 0);

		if (!is_done(result))
			exit(1);
		PQclear(result);
	}
}

static Oid
oid_of(const char *prefix, const char *type)
{
	char statement[100];
	PGresult *result;
	Oid oid;

	snprintf(statement, sizeof(statement), "SELECT 'pg_catalog.%s%s'::regtype::oid", prefix, type);
	result = PQexec(conn, statement);
	if (!is_done(result))
		exit(1);
	oid = (Oid) strtoul(PQgetvalue(result, 0, 0), NULL, 10);
	PQclear(result);
	return oid;
}

/* True when the only value of a result is the sample's, in the format asked for. */
static bool
is_sample(PGresult *result, const Sample *sample, bool binary)
{
	if (!is_done(result) || PQntuples(result) != 1 || PQfformat(result, 0) != binary ||
		PQftype(result, 0) != sample->sealed_oid)
		return false;
	if (!binary)
		return strcmp(PQgetvalue(result, 0, 0), sample->text) == 0;
	return is_hex(PQgetvalue(result, 0, 0), (size_t) PQgetlength(result, 0, 0), sample->binary);
}

/* A statement with one parameter, the sample's value, sent as of a type (0: the server finds out that it is resolved) and in a format. */
static PGresult *
ask(const char *statement, const Sample *sample, Oid type, Oid resolved, bool binary,
	bool binary_result)
{
	static uint8_t bytes[200];
	const char *value = sample->text;
	int length = (int) strlen(sample->text);
	int format = binary;

	/* A parameter that is text is sent as text, whatever the format. */
	if (binary && resolved != samples[0].plain_oid)
	{
		length = (int) unhex(sample->binary, bytes, sizeof(bytes));
		value = (const char *) bytes;
	}
	return PQexecParams(conn, statement, 1, &type, &value, &length, &format, binary_result);
}

static void
check_type(const Sample *sample)
{
	char statement[200];
	char name[200];
	const struct
	{
		const char *name;
		Oid oid;
	} types[] = {{"no type", 0},
				 {"text", samples[0].plain_oid},
				 {"the plain type", sample->plain_oid},
				 {"the sealed type", sample->sealed_oid}};

	for (int format = 0; format < 4; format++)
	{
		bool in = (format & 1) != 0;
		bool out = (format & 2) != 0;

		/* What has no type is of the column's type here, and text in a condition. */
		snprintf(statement, sizeof(statement),
				 "INSERT INTO vault (id, %s) VALUES (%d, $1) RETURNING %s", sample->column, format,
				 sample->column);
		for (int t = 0; t < 4; t++)
		{
			PGresult *result;

			/* Text goes into no other plain column either. */
			if (t == 1 && sample != &samples[0])
				continue;
			run("SAVEPOINT s");
			result = ask(statement, sample, types[t].oid,
						 types[t].oid ? types[t].oid : sample->sealed_oid, in, out);
			snprintf(name, sizeof(name), "enc_%s: stored from %s in %s, returned in %s",
					 sample->plain, types[t].name, in ? "binary" : "text", out ? "binary" : "text");
			check(is_sample(result, sample, out), name);
			PQclear(result);
			if (t < 3)
				run("ROLLBACK TO s");
		}
		snprintf(statement, sizeof(statement), "SELECT %s FROM vault WHERE %s %s $1 AND id = %d",
				 sample->column, sample->column, strcmp(sample->plain, "jsonb") == 0 ? "@>" : "=",
				 format);
		/* Equality takes all of them; documents are contained in plain ones. */
		for (int t = 0; t < (strcmp(sample->plain, "jsonb") == 0 ? 3 : 4); t++)
		{
			PGresult *result = ask(statement, sample, types[t].oid,
								   types[t].oid ? types[t].oid : samples[0].plain_oid, in, out);

			snprintf(name, sizeof(name), "enc_%s: found by %s in %s, returned in %s", sample->plain,
					 types[t].name, in ? "binary" : "text", out ? "binary" : "text");
			check(is_sample(result, sample, out), name);
			PQclear(result);
		}
	}
}

/* The same prepared statement for two organisations in turn: each finds its own row, and only that. */
static void
check_prepared(const char *token, const char *other)
{
	for (int s = 0; s < SAMPLES; s++)
	{
		const Sample *sample = &samples[s];
		const char *whose[] = {token, other};
		char name[100];
		char statement[200];
		uint8_t bytes[200];
		const char *value = (const char *) bytes;
		int length = (int) unhex(sample->binary, bytes, sizeof(bytes));
		int format = 1;
		int rows[6];

		snprintf(name, sizeof(name), "find_%s", sample->column);
		snprintf(statement, sizeof(statement), "SELECT %s FROM vault WHERE %s %s $1",
				 sample->column, sample->column, strcmp(sample->plain, "jsonb") == 0 ? "@>" : "=");
		begin_as(token);
		PQclear(PQprepare(conn, name, statement, 1, &sample->plain_oid));
		run("COMMIT");
		for (int i = 0; i < 6; i++)
		{
			PGresult *result;

			begin_as(whose[i % 2]);
			result = PQexecPrepared(conn, name, 1, &value, &length, &format, 1);
			rows[i] = is_done(result) ? PQntuples(result) : -1;
			for (int r = 0; r < rows[i]; r++)
				if (!is_hex(PQgetvalue(result, r, 0), (size_t) PQgetlength(result, r, 0),
							sample->binary))
					rows[i] = -1;
			PQclear(result);
			run("COMMIT");
		}
		snprintf(statement, sizeof(statement),
				 "enc_%s: prepared once, run by two organisations in turn", sample->plain);
		check(rows[0] == 4 && rows[1] == 1 && rows[2] == 4 && rows[3] == 1 && rows[4] == 4 &&
				  rows[5] == 1,
			  statement);
	}
}

/* Everything of one transaction sent before the first answer is read. */
static void
check_pipeline(const char *token)
{
	const Sample *sample = &samples[2];
	PGresult *result;
	int found = 0;
	int ended = 0;

	PQenterPipelineMode(conn);
	PQsendQueryParams(conn, "BEGIN", 0, NULL, NULL, NULL, NULL, 0);
	PQsendQueryParams(conn, "SELECT set_config('immiiq.token', $1, true)", 1, NULL, &token, NULL,
					  NULL, 0);
	PQsendQueryParams(conn, "SELECT i FROM vault WHERE i = $1 AND id = 0", 1, NULL, &sample->text,
					  NULL, NULL, 1);
	PQsendQueryParams(conn, "COMMIT", 0, NULL, NULL, NULL, NULL, 0);
	PQpipelineSync(conn);
	while (ended < 2)
	{
		result = PQgetResult(conn);
		if (result == NULL)
		{
			if (++ended == 2)
				break;
			continue;
		}
		ended = 0;
		if (PQresultStatus(result) == PGRES_TUPLES_OK && PQfformat(result, 0) == 1)
			found += is_sample(result, sample, true);
		PQclear(result);
	}
	PQexitPipelineMode(conn);
	check(found == 1 && PQtransactionStatus(conn) == PQTRANS_IDLE, "a pipeline");
}

/* Binary cursors and COPY, and what nobody gets. */
static void
check_others(const char *token)
{
	PGresult *result;
	char *copied = NULL;
	int length;

	begin_as(token);
	run("DECLARE c BINARY CURSOR FOR SELECT d FROM vault WHERE id = 0 AND d IS NOT NULL");
	result = PQexec(conn, "FETCH ALL FROM c");
	check(is_sample(result, &samples[4], true), "a binary cursor");
	PQclear(result);
	result =
		PQexec(conn,
			   "COPY (SELECT d FROM vault WHERE id = 0 AND d IS NOT NULL) TO STDOUT (FORMAT binary)");
	check(PQresultStatus(result) == PGRES_COPY_OUT && PQbinaryTuples(result) == 1,
		  "COPY in binary begins");
	PQclear(result);
	length = PQgetCopyData(conn, &copied, 0);
	/* signature, flags and the length of more, then one field of four bytes */
	check(length == 19 + 2 + 4 + 4 && is_hex(copied + 25, 4, samples[4].binary),
		  "and sends plain binary");
	PQfreemem(copied);
	while ((length = PQgetCopyData(conn, &copied, 0)) > 0)
		PQfreemem(copied);
	while ((result = PQgetResult(conn)) != NULL)
		PQclear(result);
	run("COMMIT");

	begin_as(NULL);
	result = PQexecParams(conn, "SELECT i FROM open_to_all", 0, NULL, NULL, NULL, NULL, 1);
	check(is_done(result) && PQntuples(result) == 1 && PQfformat(result, 0) == 1 &&
			  PQgetlength(result, 0, 0) > 60 && memcmp(PQgetvalue(result, 0, 0), "iq1:", 4) == 0,
		  "nobody gets armour in binary");
	run("SAVEPOINT s");
	{
		const char *armour = PQgetvalue(result, 0, 0);
		const char *plain = "\0\0\0\0\0\0\0\7";
		int armour_length = PQgetlength(result, 0, 0);
		int plain_length = 8;
		int binary = 1;
		PGresult *put = PQexecParams(conn, "INSERT INTO open_to_all VALUES ($1)", 1, NULL, &armour,
									 &armour_length, &binary, 0);

		check(is_done(put), "and may store it");
		PQclear(put);
		armour_length--;
		put = PQexecParams(conn, "INSERT INTO open_to_all VALUES ($1)", 1, NULL, &armour,
						   &armour_length, &binary, 0);
		check(PQresultStatus(put) == PGRES_FATAL_ERROR, "cut short it is refused");
		PQclear(put);
		run("ROLLBACK TO s");
		put = PQexecParams(conn, "INSERT INTO open_to_all VALUES ($1)", 1, NULL, &plain,
						   &plain_length, &binary, 0);
		check(PQresultStatus(put) == PGRES_FATAL_ERROR &&
				  strcmp(PQresultErrorField(put, PG_DIAG_SQLSTATE), "IQ011") == 0,
			  "and plain binary of nobody is refused");
		PQclear(put);
	}
	PQclear(result);
	run("ROLLBACK");

	/* Malformed binary keeps the plain type's SQLSTATE. */
	begin_as(token);
	for (int s = 0; s < SAMPLES; s++)
	{
		const char *value = "\xff\xff\xff";
		int cut = 3;
		int binary = 1;
		char statement[100];

		if (strcmp(samples[s].plain, "bytea") == 0)
			continue;
		run("SAVEPOINT s");
		snprintf(statement, sizeof(statement), "SELECT $1::%s", samples[s].plain);
		result = PQexecParams(conn, statement, 1, &samples[s].plain_oid, &value, &cut, &binary, 0);
		run("ROLLBACK TO s");
		snprintf(statement, sizeof(statement), "INSERT INTO vault (id, %s) VALUES (9, $1)",
				 samples[s].column);
		{
			PGresult *ours =
				PQexecParams(conn, statement, 1, &samples[s].sealed_oid, &value, &cut, &binary, 0);
			const char *theirs_state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
			const char *our_state = PQresultErrorField(ours, PG_DIAG_SQLSTATE);

			snprintf(statement, sizeof(statement), "enc_%s: malformed binary is refused as by %s",
					 samples[s].plain, samples[s].plain);
			if (!check(theirs_state != NULL && our_state != NULL &&
						   strcmp(theirs_state, our_state) == 0,
					   statement))
				printf("# %s, not %s\n", our_state ? our_state : "nothing",
					   theirs_state ? theirs_state : "nothing");
			PQclear(ours);
		}
		PQclear(result);
		run("ROLLBACK TO s");
	}
	run("COMMIT");
}

int
main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	conn = PQconnectdb("options='-c timezone=UTC'");
	if (PQstatus(conn) != CONNECTION_OK)
	{
		fprintf(stderr, "%s", PQerrorMessage(conn));
		return 1;
	}
	for (int s = 0; s < SAMPLES; s++)
	{
		samples[s].plain_oid = oid_of("", samples[s].plain);
		samples[s].sealed_oid = oid_of("enc_", samples[s].plain);
	}
	begin_as(argv[2]);
	for (int s = 0; s < SAMPLES; s++)
	{
		char statement[100];
		PGresult *result;

		snprintf(statement, sizeof(statement),
				 "INSERT INTO vault (id, %s) VALUES (7, $1) RETURNING %s", samples[s].column,
				 samples[s].column);
		result = ask(statement, &samples[s], 0, samples[s].sealed_oid, false, false);
		check(is_sample(result, &samples[s], false), "a row of the other organisation");
		PQclear(result);
	}
	run("COMMIT");
	begin_as(argv[1]);
	for (int s = 0; s < SAMPLES; s++)
		check_type(&samples[s]);
	run("COMMIT");
	check_prepared(argv[1], argv[2]);
	check_pipeline(argv[1]);
	check_others(argv[1]);
	PQfinish(conn);
	return done();
}
