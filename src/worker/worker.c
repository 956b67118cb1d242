/*
 * A database's worker, which writes the journal, and its sealer, which comes
 * when there is something to seal: a long round keeps no denial waiting.  They
 * survive errors, one transaction a unit; they leave when the extension is
 * gone or somebody needs the database for himself.
 */
#include "postgres.h"

#include <limits.h>

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "audit/audit.h"
#include "base/base.h"
#include "erasure/erasure.h"
#include "identity/identity.h"
#include "journal/opened.h"
#include "journal/prune.h"
#include "journal/ring.h"
#include "journal/writer.h"
#include "rekey/rekey.h"
#include "worker/launcher.h"
#include "worker/worker.h"

#define WORKER_BACKOFF_MIN_MS 100
#define WORKER_BACKOFF_MAX_MS 10000
#define WORKER_SEALER_MS	  1000	/* between two attempts to start a sealer */
#define WORKER_SEALER_IDLE_MS 30000 /* how long a sealer waits for more */

static int worker_seal_interval = 250;
static bool worker_installed = false; /* the extension was there at the last look */
static bool worker_look = true;		  /* the catalog changed since */
static bool worker_absent = false;	  /* leaves because the extension is not there */

PGDLLEXPORT void immiiq_worker_main(Datum arg);
PGDLLEXPORT void immiiq_sealer_main(Datum arg);

typedef struct WorkerTask
{
	const char *name;
	void (*run)(void);
	bool (*due)(void); /* NULL: always; must be cheap */
	int backoff_ms;	   /* 0 after success */
	TimestampTz not_before;
} WorkerTask;

static void
worker_run_journal(void)
{
	(void) journal_drain();
	opened_drain();
}

static void
worker_seal(void)
{
	pgstat_report_activity(STATE_RUNNING, "immiiq: sealing the audit");
	(void) audit_seal_round();
}

/* Has a sealer started, unless one is there; seals here when there is no place for another process. */
static void
worker_call_sealer(void)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle;
	TimestampTz now = GetCurrentTimestamp();
	Latch *latch = NULL;
	bool start = false;
	int slot;

	LWLockAcquire(ring_lock, LW_EXCLUSIVE);
	slot = ring_find(MyDatabaseId);
	if (slot >= 0)
	{
		RingSlot *s = &ring->slots[slot];

		latch = s->sealer_latch;
		start =
			s->sealer_pid == 0 && TimestampDifferenceExceeds(s->sealer_at, now, WORKER_SEALER_MS);
		if (start)
			s->sealer_at = now;
	}
	LWLockRelease(ring_lock);
	if (latch != NULL)
		SetLatch(latch);
	if (!start)
		return;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	snprintf(worker.bgw_library_name, BGW_MAXLEN, "immiiq");
	snprintf(worker.bgw_function_name, BGW_MAXLEN, "immiiq_sealer_main");
	snprintf(worker.bgw_name, BGW_MAXLEN, "immiiq sealer for database %u", MyDatabaseId);
	snprintf(worker.bgw_type, BGW_MAXLEN, "immiiq sealer");
	worker.bgw_main_arg = ObjectIdGetDatum(MyDatabaseId);
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		worker_seal();
}

static void
worker_run_tidy(void)
{
	pgstat_report_activity(STATE_RUNNING, "immiiq: tidying up sign-in");
	identity_tidy();
}

static void
worker_run_audit(void)
{
	pgstat_report_activity(STATE_RUNNING, "immiiq: maintaining the audit");
	audit_maintain();
}

static void
worker_run_anchor(void)
{
	pgstat_report_activity(STATE_RUNNING, "immiiq: anchoring the audit");
	audit_anchor();
}

static void
worker_run_prune(void)
{
	pgstat_report_activity(STATE_RUNNING, "immiiq: pruning the journal");
	prune_round();
}

static void
worker_run_coverage(void)
{
	pgstat_report_activity(STATE_RUNNING, "immiiq: looking at the triggers that capture");
	audit_coverage();
}

static WorkerTask worker_tasks[] = {
	{"journal", worker_run_journal, NULL, 0, 0},
	{"call sealer", worker_call_sealer, audit_seal_wanted, 0, 0},
	{"sign-in", worker_run_tidy, identity_tidy_due, 0, 0},
	{"prune", worker_run_prune, prune_due, 0, 0},
	{"rekey", rekey_round, rekey_wanted, 0, 0},
	{"erasure", erasure_round, erasure_wanted, 0, 0},
	{"audit", worker_run_audit, audit_maintain_due, 0, 0},
	{"anchor", worker_run_anchor, audit_anchor_due, 0, 0},
	{"coverage", worker_run_coverage, audit_coverage_due, 0, 0},
};

static WorkerTask worker_sealing = {"seal", worker_seal, audit_seal_wanted, 0, 0};

void
worker_init(void)
{
	DefineCustomStringVariable("immiiq.databases",
							   "Databases in which immiiq's worker runs; * stands for every database that has the extension.",
							   NULL, &worker_databases, "*", PGC_SIGHUP, GUC_LIST_INPUT, NULL, NULL,
							   NULL);
	DefineCustomIntVariable("immiiq.seal_interval", "Time between two rounds of sealing the audit.",
							NULL, &worker_seal_interval, 250, 10, 60000, PGC_SIGHUP, GUC_UNIT_MS,
							NULL, NULL, NULL);
	/* While pg_upgrade works on this cluster, nothing may write to it. */
	if (base_preloaded && !IsBinaryUpgrade)
		launcher_register();
}

/* Gives the slot back; the launcher decides whether another worker comes. */
static void
worker_exit(int code, Datum arg)
{
	int discarded = 0;
	int slot;

	LWLockAcquire(ring_lock, LW_EXCLUSIVE);
	slot = ring_find(DatumGetObjectId(arg));
	if (slot >= 0 && ring->slots[slot].pid == MyProcPid)
	{
		RingSlot *s = &ring->slots[slot];

		s->pid = 0;
		s->latch = NULL;
		if (worker_absent && !s->recheck)
		{
			discarded = s->depth;
			ring_release_slot(slot);
		}
		else if (s->state == RING_RUNNING)
			s->state = RING_WANTED;
	}
	LWLockRelease(ring_lock);
	ring_wake_launcher();
	if (discarded > 0)
		ereport(LOG,
				(errmsg("immiiq: %d events of the journal are lost with the extension", discarded)));
}

/* Takes the slot; false when another worker holds it or none is wanted. */
static bool
worker_enter(Oid database)
{
	bool entered = false;
	int slot;

	LWLockAcquire(ring_lock, LW_EXCLUSIVE);
	slot = ring_find(database);
	if (slot >= 0 && ring->slots[slot].pid == 0 && ring->slots[slot].suspended_by == 0 &&
		ring->slots[slot].state == RING_STARTING)
	{
		ring->slots[slot].pid = MyProcPid;
		ring->slots[slot].latch = MyLatch;
		ring->slots[slot].state = RING_RUNNING;
		entered = true;
	}
	else if (slot >= 0 && ring->slots[slot].pid == 0 && ring->slots[slot].state == RING_STARTING)
		ring->slots[slot].state = RING_WANTED;
	LWLockRelease(ring_lock);
	return entered;
}

/* True when the worker should go: suspended, or its database was taken off the list. */
static bool
worker_should_leave(void)
{
	bool leave;
	int slot;

	LWLockAcquire(ring_lock, LW_SHARED);
	slot = ring_find(MyDatabaseId);
	leave =
		slot < 0 || ring->slots[slot].suspended_by != 0 || ring->slots[slot].state != RING_RUNNING;
	LWLockRelease(ring_lock);
	return leave;
}

/* Looks whether the extension is here, and says so in shared memory. */
static bool
worker_check_installed(void)
{
	bool here;
	int slot;

	/* First, so that a CREATE EXTENSION that commits now is looked at again. */
	LWLockAcquire(ring_lock, LW_EXCLUSIVE);
	slot = ring_find(MyDatabaseId);
	if (slot >= 0)
		ring->slots[slot].recheck = false;
	LWLockRelease(ring_lock);
	base_start_transaction();
	PushActiveSnapshot(GetTransactionSnapshot());
	here = OidIsValid(get_extension_oid("immiiq", true)) &&
		   OidIsValid(base_relation_or_invalid("journal"));
	PopActiveSnapshot();
	CommitTransactionCommand();
	LWLockAcquire(ring_lock, LW_EXCLUSIVE);
	slot = ring_find(MyDatabaseId);
	if (slot >= 0)
		ring->slots[slot].installed = here;
	LWLockRelease(ring_lock);
	worker_installed = here;
	return here;
}

/* A schema was made or dropped: the extension may have gone with it. */
static void
worker_catalog_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	worker_look = true;
}

/* Runs a task; an error is logged and the task waits longer each time. */
static void
worker_run_task(WorkerTask *task)
{
	MemoryContext before = CurrentMemoryContext;

	PG_TRY();
	{
		task->run();
		task->backoff_ms = 0;
		task->not_before = 0;
	}
	PG_CATCH();
	{
		HOLD_INTERRUPTS();
		error_context_stack = NULL;
		EmitErrorReport();
		AbortCurrentTransaction();
		FlushErrorState();
		writer_forget();
		MemoryContextSwitchTo(before);
		RESUME_INTERRUPTS();
		task->backoff_ms = task->backoff_ms == 0 ? WORKER_BACKOFF_MIN_MS
												 : Min(task->backoff_ms * 2, WORKER_BACKOFF_MAX_MS);
		task->not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), task->backoff_ms);
	}
	PG_END_TRY();
}

/* Runs a task when it is due. */
static void
worker_run_due(WorkerTask *task, MemoryContext context)
{
	if (task->not_before > GetCurrentTimestamp() || (task->due != NULL && !task->due()))
		return;
	MemoryContextSwitchTo(context);
	worker_run_task(task);
	MemoryContextSwitchTo(context);
	MemoryContextReset(context);
}

/* Connects to the database, with settings that no ALTER DATABASE or ALTER ROLE changes. */
static MemoryContext
worker_connect(Oid database, const char *name)
{
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	pgstat_report_appname(name);
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("synchronous_commit", "on", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("statement_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("lock_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("idle_in_transaction_session_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_read_only", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_SUSET, PGC_S_OVERRIDE);
	CacheRegisterSyscacheCallback(NAMESPACEOID, worker_catalog_changed, (Datum) 0);
	return AllocSetContextCreate(TopMemoryContext, "immiiq worker", ALLOCSET_DEFAULT_SIZES);
}

/* What both loops begin with; ends the process when it should leave or the extension is gone. */
static void
worker_begin_turn(void)
{
	ResetLatch(MyLatch);
	if (ProcDiePending)
		proc_exit(1);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	if (worker_should_leave())
		proc_exit(0);
	AcceptInvalidationMessages();
	if (worker_look)
	{
		worker_look = false;
		if (!worker_check_installed())
		{
			worker_absent = true;
			proc_exit(0);
		}
	}
}

/* Reports what was done and sleeps until the next turn. */
static void
worker_end_turn(void)
{
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, worker_seal_interval,
					 PG_WAIT_EXTENSION);
}

void
immiiq_worker_main(Datum arg)
{
	MemoryContext context;

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();

	if (!worker_enter(DatumGetObjectId(arg)))
		proc_exit(0);
	before_shmem_exit(worker_exit, arg);
	context = worker_connect(DatumGetObjectId(arg), "immiiq worker");
	for (;;)
	{
		worker_begin_turn();
		for (int i = 0; i < lengthof(worker_tasks); i++)
			worker_run_due(&worker_tasks[i], context);
		worker_end_turn();
	}
}

/* Gives the sealer's place back. */
static void
worker_sealer_exit(int code, Datum arg)
{
	int slot;

	LWLockAcquire(ring_lock, LW_EXCLUSIVE);
	slot = ring_find(DatumGetObjectId(arg));
	if (slot >= 0 && ring->slots[slot].sealer_pid == MyProcPid)
	{
		ring->slots[slot].sealer_pid = 0;
		ring->slots[slot].sealer_latch = NULL;
	}
	LWLockRelease(ring_lock);
}

/* Takes the sealer's place; false when there is another, or no worker to serve. */
static bool
worker_sealer_enter(Oid database)
{
	bool entered = false;
	int slot;

	LWLockAcquire(ring_lock, LW_EXCLUSIVE);
	slot = ring_find(database);
	if (slot >= 0 && ring->slots[slot].sealer_pid == 0 && ring->slots[slot].suspended_by == 0 &&
		ring->slots[slot].state == RING_RUNNING)
	{
		ring->slots[slot].sealer_pid = MyProcPid;
		ring->slots[slot].sealer_latch = MyLatch;
		entered = true;
	}
	LWLockRelease(ring_lock);
	return entered;
}

void
immiiq_sealer_main(Datum arg)
{
	MemoryContext context;
	TimestampTz busy_at = GetCurrentTimestamp();

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();

	if (!worker_sealer_enter(DatumGetObjectId(arg)))
		proc_exit(0);
	before_shmem_exit(worker_sealer_exit, arg);
	context = worker_connect(DatumGetObjectId(arg), "immiiq sealer");
	for (;;)
	{
		worker_begin_turn();
		if (audit_seal_wanted())
			busy_at = GetCurrentTimestamp();
		else if (TimestampDifferenceExceeds(busy_at, GetCurrentTimestamp(), WORKER_SEALER_IDLE_MS))
			proc_exit(0);
		worker_run_due(&worker_sealing, context);
		worker_end_turn();
	}
}
