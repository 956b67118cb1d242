/*
 * The end of what the journal keeps.  Trusts immiiq.prune_journal_rows(), for
 * which alone it opens the guards of append-only tables; refuses less than a day.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/base.h"
#include "base/keep.h"
#include "journal/prune.h"
#include "keyring/keyring.h"

#define PRUNE_MS	  (60 * 60 * 1000)
#define PRUNE_BATCH	  5000
#define PRUNE_COLUMNS 7 /* rows of six tables, and whether there are more */

static char *prune_keep = NULL; /* immiiq.journal_keep */
static bool prune_open = false;
static TimestampTz prune_next = 0;

void
prune_init(void)
{
	DefineCustomStringVariable("immiiq.journal_keep",
							   "How long ended sessions, attempts to sign in, opened fields and documents, and rows of the journal are kept. Empty: for ever.",
							   NULL, &prune_keep, "13 months", PGC_SIGHUP, 0, keep_check, NULL,
							   NULL);
}

bool
prune_at_work(void)
{
	return prune_open;
}

/* Takes away one batch with the guards open; SPI is connected, the answer stands in its table. */
static void
prune_batch(const Interval *keep, int32 batch)
{
	Oid types[2] = {INTERVALOID, INT4OID};
	Datum args[2] = {IntervalPGetDatum(keep), Int32GetDatum(batch)};

	prune_open = true;
	PG_TRY();
	{
		if (SPI_execute_with_args("SELECT * FROM immiiq.prune_journal_rows($1, $2)", 2, types, args,
								  NULL, false, 0) != SPI_OK_SELECT ||
			SPI_processed != 1)
			elog(ERROR, "could not prune the journal");
	}
	PG_FINALLY();
	{
		prune_open = false;
	}
	PG_END_TRY();
}

PG_FUNCTION_INFO_V1(immiiq_prune_journal);

/*
 * prune_journal(keep interval, batch int4) → one row: takes away rows older than
 * keep (NULL: immiiq.journal_keep), batch of each table at most, and says how
 * many, and whether there are more.  Errors: 22023 for less than a day or no
 * batch; 25006 on a standby.
 */
Datum
immiiq_prune_journal(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Datum values[PRUNE_COLUMNS] = {0};
	bool nulls[PRUNE_COLUMNS] = {0}; /* zeros and false when everything is kept */
	Interval keep;
	int32 batch = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT32(1);

	base_require_preload();
	PreventCommandIfReadOnly("immiiq.prune_journal()");
	PreventCommandDuringRecovery("immiiq.prune_journal()");
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (batch < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("a batch has one row at least")));
	if (!PG_ARGISNULL(0) || keep_read(prune_keep, &keep))
	{
		if (!PG_ARGISNULL(0))
			keep = *PG_GETARG_INTERVAL_P(0);
		keep_require_day(&keep);
		SPI_connect();
		prune_batch(&keep, batch);
		for (int i = 0; i < PRUNE_COLUMNS; i++)
			values[i] =
				SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &nulls[i]);
		SPI_finish();
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

PG_FUNCTION_INFO_V1(immiiq_can_log);

/* can_log(org uuid) → boolean: whether there are keys to write the log of this organisation with. */
Datum
immiiq_can_log(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(keyring_can_log(PG_GETARG_UUID_P(0)));
}

bool
prune_due(void)
{
	return GetCurrentTimestamp() >= prune_next;
}

void
prune_round(void)
{
	Interval keep;
	bool more = false;
	bool null;

	prune_next = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), PRUNE_MS);
	if (RecoveryInProgress() || !keep_read(prune_keep, &keep))
		return;
	base_start_transaction();
	PushActiveSnapshot(GetTransactionSnapshot());
	/* Without the installation's key the log could not say what has gone. */
	if (keyring_can_log(&keyring_installation_org))
	{
		SPI_connect();
		(void) set_config_option("lock_timeout", "1s", PGC_SUSET, PGC_S_SESSION, GUC_ACTION_LOCAL,
								 true, 0, false);
		prune_batch(&keep, PRUNE_BATCH);
		more = DatumGetBool(
			SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, PRUNE_COLUMNS, &null));
		SPI_finish();
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	if (more)
		prune_next = 0;
}
