/*
 * The frame of processes that take work forward in steps.  Trusts the step for
 * what is done; refuses to run twice in a database.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "base/drive.h"

/*
 * The lock that the process holds as long as it lives: an advisory one, which
 * outlives a transaction's error and ends with the process, of a class that SQL
 * cannot ask for.
 */
static void
drive_set_lock(const Drive *drive, LOCKTAG *tag)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, base_relation(drive->table), 0, 3);
}

DriveState
drive_start(const Drive *drive)
{
	BackgroundWorker worker;
	LOCKTAG tag;

	drive_set_lock(drive, &tag);
	if (LockAcquire(&tag, ShareLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return DRIVE_RUNS;
	LockRelease(&tag, ShareLock, false);

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "immiiq", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, drive->function, BGW_MAXLEN);
	strlcpy(worker.bgw_name, drive->process, BGW_MAXLEN);
	strlcpy(worker.bgw_type, drive->process, BGW_MAXLEN);
	worker.bgw_main_arg = ObjectIdGetDatum(MyDatabaseId);
	return RegisterDynamicBackgroundWorker(&worker, NULL) ? DRIVE_STARTED : DRIVE_NO_WORKER;
}

char *
drive_sql(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls)
{
	MemoryContext outer = CurrentMemoryContext;
	char *result = NULL;

	base_start_transaction();
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (SPI_execute_with_args(sql, nargs, types, values, nulls, false, 0) < 0)
		elog(ERROR, "could not run a step");
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
drive_is_installed(const Drive *drive)
{
	bool here;

	base_start_transaction();
	PushActiveSnapshot(GetTransactionSnapshot());
	here = OidIsValid(get_extension_oid("immiiq", true)) &&
		   OidIsValid(base_relation_or_invalid(drive->table));
	PopActiveSnapshot();
	CommitTransactionCommand();
	return here;
}

void
drive_main(const Drive *drive, Oid database)
{
	MemoryContext context;
	LOCKTAG tag;
	bool mine;

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	pgstat_report_appname(drive->process);
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("statement_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("lock_timeout", drive->lock_timeout, PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("idle_in_transaction_session_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_read_only", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("session_replication_role", "origin", PGC_SUSET, PGC_S_OVERRIDE);

	if (!drive_is_installed(drive))
		return;
	base_start_transaction();
	drive_set_lock(drive, &tag);
	mine = LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
	CommitTransactionCommand();
	if (!mine)
		return;

	context = AllocSetContextCreate(TopMemoryContext, "immiiq driver", ALLOCSET_DEFAULT_SIZES);
	while (drive_is_installed(drive))
	{
		const char *said;

		MemoryContextSwitchTo(context);
		MemoryContextReset(context);
		pgstat_report_activity(STATE_RUNNING, drive->activity);
		said = drive->step();
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
							 drive->wait_ms, PG_WAIT_EXTENSION);
	}
}
