/*
 * The process that takes rotations forward, one step a transaction, and what
 * SQL asks of it.  Trusts immiiq.rekey for where a rotation stands, so it can
 * be killed at any point; refuses to run twice in a database.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/xid8.h"

#include "base/base.h"
#include "keyring/keyring.h"
#include "rekey/rekey.h"
#include "rekey/rekey_internal.h"

#define REKEY_PLACES  16
#define REKEY_WAIT_MS 50
#define REKEY_LOOK_MS 2000 /* how often the worker looks for unfinished rotations */
#define REKEY_LOCK_TIMEOUT                                                                         \
	"1s" /* how long writers queue behind a rotation that waits for one of them */

PGDLLEXPORT void immiiq_rekey_main(Datum arg);

static RekeyProgress *rekey_places = NULL;

void
rekey_shmem_request(void)
{
	RequestAddinShmemSpace(sizeof(RekeyProgress) * REKEY_PLACES);
}

void
rekey_shmem_startup(void)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	rekey_places = ShmemInitStruct("immiiq rekey", sizeof(RekeyProgress) * REKEY_PLACES, &found);
	if (!found)
	{
		for (int i = 0; i < REKEY_PLACES; i++)
		{
			pg_atomic_init_u32(&rekey_places[i].database, InvalidOid);
			pg_atomic_init_u64(&rekey_places[i].blocks_done, 0);
			pg_atomic_init_u64(&rekey_places[i].values, 0);
		}
	}
	LWLockRelease(AddinShmemInitLock);
}

RekeyProgress *
rekey_progress(void)
{
	base_require_preload();
	return &rekey_places[MyDatabaseId % REKEY_PLACES];
}

/*
 * The lock that the driver of this database holds as long as it lives: an
 * advisory one, which outlives a transaction's error and ends with the process,
 * of a class that SQL cannot ask for.
 */
static void
rekey_set_lock(LOCKTAG *tag)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, base_relation("rekey"), 0, 3);
}

static bool
rekey_is_driven(void)
{
	LOCKTAG tag;

	rekey_set_lock(&tag);
	if (LockAcquire(&tag, ShareLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return true;
	LockRelease(&tag, ShareLock, false);
	return false;
}

static bool
rekey_launch(void)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "immiiq", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "immiiq_rekey_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "immiiq rekey", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "immiiq rekey", BGW_MAXLEN);
	worker.bgw_main_arg = ObjectIdGetDatum(MyDatabaseId);
	return RegisterDynamicBackgroundWorker(&worker, NULL);
}

/* ---- the driver ---- */

/* Runs SQL in a transaction of its own; the text of its first column, NULL for no row or null. */
static char *
rekey_run(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls)
{
	MemoryContext outer = CurrentMemoryContext;
	char *result = NULL;

	StartTransactionCommand();
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (SPI_execute_with_args(sql, nargs, types, values, nulls, false, 0) < 0)
		elog(ERROR, "could not run a step of a rotation");
	if (SPI_tuptable != NULL && SPI_processed > 0)
	{
		result = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
		if (result != NULL)
			result = MemoryContextStrdup(outer, result);
	}
	PopActiveSnapshot();
	SPI_finish();
	CommitTransactionCommand();
	MemoryContextSwitchTo(outer);
	return result;
}

/* One step of one rotation, by its place in the table; what immiiq.rekey_step() says, "failed" after an error. */
static const char *
rekey_step(const char *org)
{
	MemoryContext outer = CurrentMemoryContext;
	Oid types[2] = {TEXTOID, TEXTOID};
	Datum values[2];
	const char *volatile said = NULL;
	char *volatile problem = NULL;

	values[0] = CStringGetTextDatum(org);
	pg_atomic_write_u64(&rekey_progress()->blocks_done, 0);
	pg_atomic_write_u64(&rekey_progress()->values, 0);
	PG_TRY();
	{
		said = rekey_run("SELECT immiiq.rekey_step($1::pg_catalog.uuid)", 1, types, values, NULL);
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(outer);
		error = CopyErrorData();
		HOLD_INTERRUPTS();
		AbortCurrentTransaction();
		FlushErrorState();
		MemoryContextSwitchTo(outer);
		RESUME_INTERRUPTS();
		if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
			error->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED ||
			error->sqlerrcode == ERRCODE_T_R_SERIALIZATION_FAILURE)
			said = "wait";
		else
			problem = psprintf("%s: %s", unpack_sql_state(error->sqlerrcode), error->message);
		FreeErrorData(error);
	}
	PG_END_TRY();
	if (problem == NULL)
		return said != NULL ? said : "done";
	ereport(LOG, (errmsg("immiiq: the rotation of an organisation's keys waits: %s", problem)));
	values[1] = CStringGetTextDatum(problem);
	(void) rekey_run("UPDATE immiiq.rekey SET problem = $2, failed_at = pg_catalog.clock_timestamp() "
					 "WHERE org_id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid",
					 2, types, values, NULL);
	return "failed";
}

/* The organisation after this one that has something left to do and did not just fail; NULL for none. */
static char *
rekey_next(const char *after)
{
	Oid types[1] = {TEXTOID};
	Datum values[1];

	values[0] = after != NULL ? CStringGetTextDatum(after) : (Datum) 0;
	return rekey_run("SELECT r.org_id::pg_catalog.text FROM immiiq.rekey AS r "
					 "WHERE ($1 IS NULL OR r.org_id OPERATOR(pg_catalog.>) $1::pg_catalog.uuid) "
					 "AND r.problem IS NULL ORDER BY r.org_id LIMIT 1",
					 1, types, values, after == NULL ? "n" : NULL);
}

static bool
rekey_is_installed(void)
{
	bool here;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	here = OidIsValid(get_extension_oid("immiiq", true)) &&
		   OidIsValid(base_relation_or_invalid("rekey"));
	PopActiveSnapshot();
	CommitTransactionCommand();
	return here;
}

void
immiiq_rekey_main(Datum arg)
{
	MemoryContext context;
	LOCKTAG tag;
	bool mine;

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid, 0);
	pgstat_report_appname("immiiq rekey");
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("statement_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("lock_timeout", REKEY_LOCK_TIMEOUT, PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("idle_in_transaction_session_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_read_only", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("session_replication_role", "origin", PGC_SUSET, PGC_S_OVERRIDE);

	if (!rekey_is_installed())
		proc_exit(0);
	StartTransactionCommand();
	rekey_set_lock(&tag);
	mine = LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
	CommitTransactionCommand();
	if (!mine)
		proc_exit(0);
	pg_atomic_write_u32(&rekey_progress()->database, MyDatabaseId);

	context = AllocSetContextCreate(TopMemoryContext, "immiiq rekey", ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		char org[64];
		const char *found;
		bool moved = false;
		bool any = false;

		MemoryContextSwitchTo(context);
		MemoryContextReset(context);
		if (!rekey_is_installed())
			proc_exit(0);
		org[0] = '\0';
		while ((found = rekey_next(any ? org : NULL)) != NULL)
		{
			const char *said;

			strlcpy(org, found, sizeof(org));
			any = true;
			pgstat_report_activity(STATE_RUNNING, "immiiq: sealing values under new keys");
			said = rekey_step(org);
			pgstat_report_stat(false);
			pgstat_report_activity(STATE_IDLE, NULL);
			if (strcmp(said, "wait") != 0)
				moved = true;
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
			if (ConfigReloadPending)
			{
				ConfigReloadPending = false;
				ProcessConfigFile(PGC_SIGHUP);
			}
			MemoryContextReset(context);
		}
		if (!any)
			break;
		if (!moved)
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							 REKEY_WAIT_MS, PG_WAIT_EXTENSION);
	}
	pg_atomic_write_u32(&rekey_progress()->database, InvalidOid);
	proc_exit(0);
}

/* ---- the worker's task ---- */

static TimestampTz rekey_looked = 0;

bool
rekey_wanted(void)
{
	return TimestampDifferenceExceeds(rekey_looked, GetCurrentTimestamp(), REKEY_LOOK_MS);
}

void
rekey_round(void)
{
	rekey_looked = GetCurrentTimestamp();
	if (rekey_run("SELECT 1 FROM immiiq.rekey LIMIT 1", 0, NULL, NULL, NULL) == NULL)
		return;
	(void) rekey_run("UPDATE immiiq.rekey SET problem = NULL WHERE problem IS NOT NULL "
					 "AND failed_at OPERATOR(pg_catalog.<) (pg_catalog.clock_timestamp() "
					 "OPERATOR(pg_catalog.-) '30 s'::pg_catalog.interval)",
					 0, NULL, NULL, NULL);
	if (rekey_run("SELECT 1 FROM immiiq.rekey WHERE problem IS NULL LIMIT 1", 0, NULL, NULL,
				  NULL) == NULL)
		return;
	StartTransactionCommand();
	if (!rekey_is_driven())
		(void) rekey_launch();
	CommitTransactionCommand();
}

/* ---- SQL ---- */

PG_FUNCTION_INFO_V1(rekey_drive);
PG_FUNCTION_INFO_V1(rekey_begin);
PG_FUNCTION_INFO_V1(rekey_settle);
PG_FUNCTION_INFO_V1(rekey_turn);
PG_FUNCTION_INFO_V1(rekey_drained);
PG_FUNCTION_INFO_V1(rekey_delete);
PG_FUNCTION_INFO_V1(rekey_wipe);
PG_FUNCTION_INFO_V1(rekey_rewrap);
PG_FUNCTION_INFO_V1(rekey_live);

/* immiiq.rekey_drive() → boolean: starts the driver unless it runs. 53400 when the server has no worker left. */
Datum
rekey_drive(PG_FUNCTION_ARGS)
{
	base_require_preload();
	if (rekey_is_driven())
		PG_RETURN_BOOL(false);
	if (!rekey_launch())
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("out of background workers for the rotation of keys"),
				 errhint(
					 "Raise max_worker_processes; the rotation goes on by itself once there is one.")));
	PG_RETURN_BOOL(true);
}

/* immiiq.rekey_begin(org uuid) → int8: makes the organisation's next data key; its id. IQ002, IQ003. */
Datum
rekey_begin(PG_FUNCTION_ARGS)
{
	pg_uuid_t org = *PG_GETARG_UUID_P(0);

	PreventCommandIfReadOnly("CALL immiiq.rotate_key()");
	PG_RETURN_INT64(keyring_new_data_key(&org));
}

/* immiiq.rekey_settle(org uuid): waits for the transactions that may still seal under an earlier data key. */
Datum
rekey_settle(PG_FUNCTION_ARGS)
{
	pg_uuid_t org = *PG_GETARG_UUID_P(0);

	keyring_wait_writers(&org);
	PG_RETURN_VOID();
}

/*
 * immiiq.rekey_turn(org uuid) → int8: locks the organisation's writers out and
 * makes its next index secret, and a data key that tells values by it from
 * earlier ones: its id.  55P03 when the writers do not end in time.
 */
Datum
rekey_turn(PG_FUNCTION_ARGS)
{
	pg_uuid_t org = *PG_GETARG_UUID_P(0);
	uint32 key_id;

	if (!keyring_lock_writers(&org, true))
		elog(ERROR, "could not lock writers out");
	keyring_turn_index(&org);
	key_id = keyring_new_data_key(&org);
	CommandCounterIncrement();
	PG_RETURN_INT64(key_id);
}

/* immiiq.rekey_drained(xid8) → boolean: every snapshot that is still in use sees this transaction's work. */
Datum
rekey_drained(PG_FUNCTION_ARGS)
{
	FullTransactionId xid = PG_GETARG_FULLTRANSACTIONID(0);
	Relation keys = table_open(base_relation("wrapped_key"), AccessShareLock);
	/* Of this database's tables: a slot of logical decoding keeps catalogs only, and opens nothing. */
	TransactionId horizon = GetOldestNonRemovableTransactionId(keys);
	FullTransactionId next = ReadNextFullTransactionId();

	table_close(keys, AccessShareLock);
	/* Of another server's life: nobody here can have an older snapshot. */
	if (!FullTransactionIdPrecedes(xid, next))
		PG_RETURN_BOOL(true);
	if (U64FromFullTransactionId(next) - U64FromFullTransactionId(xid) > PG_INT32_MAX)
		PG_RETURN_BOOL(true);
	PG_RETURN_BOOL(TransactionIdPrecedes(XidFromFullTransactionId(xid), horizon));
}

/*
 * immiiq.rekey_delete(org uuid, data_key int8) → int4: deletes the data keys
 * before data_key and the index secrets before the current one, and with
 * data_key NULL everything that the organisation has; how many.
 */
Datum
rekey_delete(PG_FUNCTION_ARGS)
{
	pg_uuid_t org;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("organisation is null")));
	org = *PG_GETARG_UUID_P(0);
	PreventCommandIfReadOnly("deleting keys");
	if (PG_ARGISNULL(1))
	{
		if (!keyring_lock_writers(&org, true))
			elog(ERROR, "could not lock writers out");
		PG_RETURN_INT32(keyring_delete(&org, 0));
	}
	PG_RETURN_INT32(keyring_delete(&org, (uint32) PG_GETARG_INT64(1)));
}

/* immiiq.rekey_wipe() → boolean: overwrites deleted keys in their pages; false while older snapshots may see some. */
Datum
rekey_wipe(PG_FUNCTION_ARGS)
{
	PreventCommandIfReadOnly("wiping keys");
	PG_RETURN_BOOL(keyring_wipe());
}

/* immiiq.rewrap_keys() → int8: wraps every key under the current root key; how many were under another. IQ002. */
Datum
rekey_rewrap(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(keyring_rewrap());
}

/* immiiq.rekey_live() → (blocks int8, changed int8): how far the open transaction of the driver is; NULLs when none runs. */
Datum
rekey_live(PG_FUNCTION_ARGS)
{
	RekeyProgress *progress = rekey_progress();
	TupleDesc desc;
	Datum values[2];
	bool nulls[2] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (pg_atomic_read_u32(&progress->database) != MyDatabaseId)
		nulls[0] = nulls[1] = true;
	values[0] = Int64GetDatum((int64) pg_atomic_read_u64(&progress->blocks_done));
	values[1] = Int64GetDatum((int64) pg_atomic_read_u64(&progress->values));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
