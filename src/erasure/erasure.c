/*
 * The process that takes erasures and retention forward, one step a
 * transaction, and the destruction of clients' keys for SQL.  Trusts the
 * tables for where things stand, so it can be killed at any point; refuses to
 * run twice in a database.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "tcop/tcopprot.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/base.h"
#include "crypto/crypto.h"
#include "erasure/erasure.h"
#include "keyring/keyring.h"

#define ERASURE_LOOK_MS 1000 /* how often the worker looks for something due */
#define ERASURE_WAIT_MS 100

PGDLLEXPORT void immiiq_erasure_main(Datum arg);

static int erasure_backup_days = 90;
static int erasure_rotate_days = 7;

void
erasure_init(void)
{
	DefineCustomIntVariable("immiiq.backup_window",
							"How many days backups and archived WAL are kept.",
							"Erasure promises that backups are unreadable by then.",
							&erasure_backup_days, 90, 1, 3650, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("immiiq.erasure_rotation",
							"Days after an erasure within which the organisation's keys are rotated.",
							"Erasures of these days share one rotation; it must be below immiiq.backup_window.",
							&erasure_rotate_days, 7, 0, 365, PGC_SIGHUP, 0, NULL, NULL, NULL);
}

/* As the driver of rotations has one: an advisory lock of a class that SQL cannot ask for. */
static void
erasure_set_lock(LOCKTAG *tag)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, base_relation("erasure"), 0, 3);
}

static bool
erasure_is_driven(void)
{
	LOCKTAG tag;

	erasure_set_lock(&tag);
	if (LockAcquire(&tag, ShareLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return true;
	LockRelease(&tag, ShareLock, false);
	return false;
}

static bool
erasure_launch(void)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "immiiq", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "immiiq_erasure_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "immiiq erasure", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "immiiq erasure", BGW_MAXLEN);
	worker.bgw_main_arg = ObjectIdGetDatum(MyDatabaseId);
	return RegisterDynamicBackgroundWorker(&worker, NULL);
}

/* Runs SQL in a transaction of its own; the text of its first column, NULL for no row or null. */
static char *
erasure_run(const char *sql)
{
	MemoryContext outer = CurrentMemoryContext;
	char *result = NULL;

	StartTransactionCommand();
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (SPI_execute(sql, false, 0) < 0)
		elog(ERROR, "could not run a step of an erasure");
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

static bool
erasure_is_installed(void)
{
	bool here;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	here = OidIsValid(get_extension_oid("immiiq", true)) &&
		   OidIsValid(base_relation_or_invalid("erasure"));
	PopActiveSnapshot();
	CommitTransactionCommand();
	return here;
}

void
immiiq_erasure_main(Datum arg)
{
	MemoryContext context;
	LOCKTAG tag;
	bool mine;

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid, 0);
	pgstat_report_appname("immiiq erasure");
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("statement_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("lock_timeout", "5s", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("idle_in_transaction_session_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_read_only", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("session_replication_role", "origin", PGC_SUSET, PGC_S_OVERRIDE);

	if (!erasure_is_installed())
		proc_exit(0);
	StartTransactionCommand();
	erasure_set_lock(&tag);
	mine = LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
	CommitTransactionCommand();
	if (!mine)
		proc_exit(0);

	context = AllocSetContextCreate(TopMemoryContext, "immiiq erasure", ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		const char *said;

		MemoryContextSwitchTo(context);
		MemoryContextReset(context);
		if (!erasure_is_installed())
			proc_exit(0);
		pgstat_report_activity(STATE_RUNNING, "immiiq: erasing what is due");
		said = erasure_run("SELECT immiiq.erasure_tick()");
		pgstat_report_stat(false);
		pgstat_report_activity(STATE_IDLE, NULL);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		if (said == NULL || strcmp(said, "done") == 0)
			break;
		if (strcmp(said, "wait") == 0)
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							 ERASURE_WAIT_MS, PG_WAIT_EXTENSION);
	}
	proc_exit(0);
}

/* ---- the worker's task ---- */

static TimestampTz erasure_looked = 0;

bool
erasure_wanted(void)
{
	return TimestampDifferenceExceeds(erasure_looked, GetCurrentTimestamp(), ERASURE_LOOK_MS);
}

void
erasure_round(void)
{
	const char *due;

	erasure_looked = GetCurrentTimestamp();
	due = erasure_run("SELECT immiiq.erasure_is_due()");
	if (due == NULL || strcmp(due, "t") != 0)
		return;
	StartTransactionCommand();
	if (!erasure_is_driven())
		(void) erasure_launch();
	CommitTransactionCommand();
}

/* ---- SQL ---- */

PG_FUNCTION_INFO_V1(immiiq_commit_client_keys);
/* commit_client_keys(org, client uuid) → bytea[]: 32 bytes for each key of a client. IQ002, IQ003. */
Datum
immiiq_commit_client_keys(PG_FUNCTION_ARGS)
{
	uint8 *bytes;
	int count;
	Datum *values;

	base_require_preload();
	count = keyring_commit_client(PG_GETARG_UUID_P(0), PG_GETARG_UUID_P(1), &bytes);
	values = palloc(sizeof(Datum) * (count + 1));
	for (int i = 0; i < count; i++)
	{
		bytea *value = palloc(VARHDRSZ + CRYPTO_HASH_BYTES);

		SET_VARSIZE(value, VARHDRSZ + CRYPTO_HASH_BYTES);
		memcpy(VARDATA(value), bytes + i * CRYPTO_HASH_BYTES, CRYPTO_HASH_BYTES);
		values[i] = PointerGetDatum(value);
	}
	PG_RETURN_ARRAYTYPE_P(construct_array(values, count, BYTEAOID, -1, false, TYPALIGN_INT));
}

PG_FUNCTION_INFO_V1(immiiq_destroy_client_keys);
/* destroy_client_keys(org, client uuid, in_place boolean) → int4: how many. In place cannot be rolled back. */
Datum
immiiq_destroy_client_keys(PG_FUNCTION_ARGS)
{
	pg_uuid_t *org = PG_GETARG_UUID_P(0);

	base_require_preload();
	PreventCommandIfReadOnly("destroying keys");
	PG_RETURN_INT32(keyring_destroy_client(org, PG_GETARG_UUID_P(1), PG_GETARG_BOOL(2)));
}

PG_FUNCTION_INFO_V1(immiiq_lock_org_writers);
/* lock_org_writers(org uuid): waits for who may write for the organisation, and keeps others out until the end. */
Datum
immiiq_lock_org_writers(PG_FUNCTION_ARGS)
{
	base_require_preload();
	if (!keyring_lock_writers(PG_GETARG_UUID_P(0), true))
		elog(ERROR, "could not lock writers out");
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(immiiq_rotate_client_keys);
/* rotate_client_keys(org uuid) → int8: a new subject-wrapping key for the organisation; how many keys it wraps. */
Datum
immiiq_rotate_client_keys(PG_FUNCTION_ARGS)
{
	base_require_preload();
	PG_RETURN_INT64(keyring_rotate_subjects(PG_GETARG_UUID_P(0)));
}
