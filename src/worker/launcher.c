/*
 * The launcher: one process a cluster, which finds the databases that have
 * the extension and keeps a worker running in each.  Trusts immiiq.databases
 * and pg_database; writes nothing, and starts nothing while in recovery.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "base/base.h"
#include "journal/ring.h"
#include "keyring/keyring.h"
#include "worker/launcher.h"

#define LAUNCHER_IDLE_MS	  60000 /* between two looks at pg_database for nobody's sake */
#define LAUNCHER_RETRY_MS	  1000	/* between two attempts to start one worker */
#define LAUNCHER_STARTING_MAX 2		/* workers that may be starting at one time */
#define LAUNCHER_RECOVERY_MS  500	/* between two looks whether recovery has ended */

char *worker_databases = NULL;

typedef struct LauncherDatabase
{
	Oid oid;
	bool listed;
} LauncherDatabase;

PGDLLEXPORT void immiiq_launcher_main(Datum arg);

static MemoryContext launcher_context = NULL;
static Oid *launcher_probed =
	NULL; /* databases that were asked once whether they have the extension */
static int launcher_nprobed = 0;

/* Leaves the place in shared memory to the next launcher. */
static void
launcher_exit(int code, Datum arg)
{
	LWLockAcquire(ring_lock, LW_EXCLUSIVE);
	if (ring->launcher_pid == MyProcPid)
	{
		ring->launcher = NULL;
		ring->launcher_pid = 0;
	}
	LWLockRelease(ring_lock);
}

/* True when immiiq.databases names this database. */
static bool
launcher_is_listed(const char *name, List *list)
{
	ListCell *cell;

	foreach (cell, list)
	{
		const char *entry = (const char *) lfirst(cell);

		if (strcmp(entry, "*") == 0 || strcmp(entry, name) == 0)
			return true;
	}
	return false;
}

/* Reads pg_database: every database to which a worker may connect. */
static int
launcher_read_databases(LauncherDatabase **databases)
{
	Relation rel;
	TableScanDesc scan;
	HeapTuple tuple;
	List *list = NIL;
	char *names;
	int n = 0;
	int size = 16;
	LauncherDatabase *out;

	out = MemoryContextAlloc(launcher_context, size * sizeof(LauncherDatabase));
	base_start_transaction();
	(void) GetTransactionSnapshot();
	names = pstrdup(worker_databases ? worker_databases : "");
	if (!SplitGUCList(names, ',', &list))
		list = NIL;
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		if (!form->datallowconn)
			continue;
		if (n == size)
		{
			size *= 2;
			out = repalloc(out, size * sizeof(LauncherDatabase));
		}
		out[n].oid = form->oid;
		out[n].listed = launcher_is_listed(NameStr(form->datname), list);
		n++;
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	*databases = out;
	return n;
}

static bool
launcher_was_probed(Oid database)
{
	for (int i = 0; i < launcher_nprobed; i++)
		if (launcher_probed[i] == database)
			return true;
	return false;
}

/* Starts a worker for one database; false when there is no room for it. */
static bool
launcher_start_worker(Oid database)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	snprintf(worker.bgw_library_name, BGW_MAXLEN, "immiiq");
	snprintf(worker.bgw_function_name, BGW_MAXLEN, "immiiq_worker_main");
	snprintf(worker.bgw_name, BGW_MAXLEN, "immiiq worker for database %u", database);
	snprintf(worker.bgw_type, BGW_MAXLEN, "immiiq worker");
	worker.bgw_main_arg = ObjectIdGetDatum(database);
	worker.bgw_notify_pid = MyProcPid;
	return RegisterDynamicBackgroundWorker(&worker, &handle);
}

/* Brings the slots in line with pg_database and immiiq.databases. */
static void
launcher_match_databases(void)
{
	LauncherDatabase *databases;
	int n;
	Oid *probed;
	int nprobed = 0;

	n = launcher_read_databases(&databases);
	probed = MemoryContextAlloc(launcher_context, (n + 1) * sizeof(Oid));

	LWLockAcquire(ring_lock, LW_EXCLUSIVE);
	ring->rescan = false;
	for (int i = 0; i < RING_DATABASES; i++)
	{
		RingSlot *slot = &ring->slots[i];
		bool found = false;
		bool listed = false;

		if (!OidIsValid(slot->database))
			continue;
		for (int k = 0; k < n; k++)
		{
			if (databases[k].oid == slot->database)
			{
				found = true;
				listed = databases[k].listed;
			}
		}
		if (!found)
		{
			if (slot->pid == 0 && slot->sealer_pid == 0)
				ring_release_slot(i);
		}
		else if (!listed)
		{
			slot->state = RING_REFUSED;
			slot->installed = false;
		}
		else if (slot->state == RING_REFUSED)
			slot->state = RING_WANTED;
		if (slot->state == RING_REFUSED && slot->latch != NULL)
			SetLatch(slot->latch);
	}
	for (int k = 0; k < n; k++)
	{
		if (!databases[k].listed)
			continue;
		if (!launcher_was_probed(databases[k].oid))
		{
			int slot = ring_find_or_make(databases[k].oid);

			/* No slot is left: asked again when one is. */
			if (slot < 0)
				continue;
		}
		probed[nprobed++] = databases[k].oid;
	}
	LWLockRelease(ring_lock);

	if (launcher_probed != NULL)
		pfree(launcher_probed);
	launcher_probed = probed;
	launcher_nprobed = nprobed;
	pfree(databases);
}

/* Starts what is wanted; returns how long the launcher may sleep, in milliseconds. */
static long
launcher_start_wanted(void)
{
	static TimestampTz warned_at = 0;
	TimestampTz now = GetCurrentTimestamp();
	long sleep = LAUNCHER_IDLE_MS;
	int starting = 0;

	for (int i = 0; i < RING_DATABASES; i++)
	{
		RingSlot *slot = &ring->slots[i];
		Oid database = InvalidOid;

		LWLockAcquire(ring_lock, LW_EXCLUSIVE);
		if (OidIsValid(slot->database) && slot->pid == 0)
		{
			/* Who needed the database for itself may be gone without a word. */
			if (slot->suspended_by != 0 && BackendPidGetProc(slot->suspended_by) == NULL)
				slot->suspended_by = 0;

			if (slot->state == RING_STARTING &&
				TimestampDifferenceExceeds(slot->started_at, now, 5 * LAUNCHER_RETRY_MS))
				slot->state = RING_WANTED;
			if (slot->state == RING_STARTING || slot->suspended_by != 0)
			{
				starting += slot->state == RING_STARTING;
				sleep = Min(sleep, LAUNCHER_RETRY_MS);
			}
			else if (slot->state == RING_WANTED)
			{
				/* A few at a time: whoever has started wakes the launcher. */
				if (starting >= LAUNCHER_STARTING_MAX)
					sleep = Min(sleep, LAUNCHER_RETRY_MS);
				else if (slot->started_at == 0 || slot->recheck ||
						 TimestampDifferenceExceeds(slot->started_at, now, LAUNCHER_RETRY_MS))
				{
					slot->state = RING_STARTING;
					slot->recheck = false;
					slot->started_at = now;
					database = slot->database;
					starting++;
				}
				else
					sleep = Min(sleep, LAUNCHER_RETRY_MS / 4);
			}
		}
		LWLockRelease(ring_lock);

		if (OidIsValid(database) && !launcher_start_worker(database))
		{
			LWLockAcquire(ring_lock, LW_EXCLUSIVE);
			if (slot->database == database && slot->state == RING_STARTING)
				slot->state = RING_WANTED;
			LWLockRelease(ring_lock);
			if (warned_at == 0 || TimestampDifferenceExceeds(warned_at, now, LAUNCHER_IDLE_MS))
				ereport(WARNING,
						(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						 errmsg("could not start immiiq's worker for database %u", database),
						 errhint("You might need to increase max_worker_processes.")));
			warned_at = now;
			sleep = Min(sleep, LAUNCHER_RETRY_MS);
		}
	}
	return sleep;
}

/* True when a slot waits for a decision that needs pg_database. */
static bool
launcher_must_look(void)
{
	bool look;

	LWLockAcquire(ring_lock, LW_SHARED);
	look = ring->rescan;
	for (int i = 0; i < RING_DATABASES && !look; i++)
		look = OidIsValid(ring->slots[i].database) && ring->slots[i].state == RING_WANTED;
	LWLockRelease(ring_lock);
	return look;
}

void
immiiq_launcher_main(Datum arg)
{
	bool look = true;

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();

	launcher_context =
		AllocSetContextCreate(TopMemoryContext, "immiiq launcher", ALLOCSET_DEFAULT_SIZES);
	before_shmem_exit(launcher_exit, (Datum) 0);
	LWLockAcquire(ring_lock, LW_EXCLUSIVE);
	ring->launcher = MyLatch;
	ring->launcher_pid = MyProcPid;
	LWLockRelease(ring_lock);

	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	pgstat_report_appname("immiiq launcher");
	MemoryContextSwitchTo(launcher_context);

	for (;;)
	{
		long sleep = LAUNCHER_RECOVERY_MS;
		int events;

		ResetLatch(MyLatch);
		/* Exit code 1: with 0 the postmaster would never start a launcher again. */
		if (ProcDiePending)
			proc_exit(1);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			keyring_reload();
			look = true;
		}
		if (!RecoveryInProgress())
		{
			if (look || launcher_must_look())
				launcher_match_databases();
			look = false;
			sleep = launcher_start_wanted();
		}
		pgstat_report_activity(STATE_IDLE, NULL);
		events = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, sleep,
						   PG_WAIT_EXTENSION);
		if ((events & WL_TIMEOUT) != 0 && sleep == LAUNCHER_IDLE_MS)
			look = true;
	}
}

void
launcher_register(void)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_ConsistentState;
	worker.bgw_restart_time = 1;
	snprintf(worker.bgw_library_name, BGW_MAXLEN, "immiiq");
	snprintf(worker.bgw_function_name, BGW_MAXLEN, "immiiq_launcher_main");
	snprintf(worker.bgw_name, BGW_MAXLEN, "immiiq launcher");
	snprintf(worker.bgw_type, BGW_MAXLEN, "immiiq launcher");
	RegisterBackgroundWorker(&worker);
}
