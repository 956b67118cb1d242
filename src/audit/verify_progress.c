/*
 * How far verifications of the log are, for immiiq.verify_progress: a few slots
 * in shared memory.  Trusts its callers' slots; numbers only, and a slot whose
 * session is gone is free.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "audit/audit_internal.h"
#include "base/base.h"

#define PROGRESS_SLOTS 16

typedef struct VerifyProgress
{
	pg_atomic_uint32 pid; /* 0: free */
	Oid database;
	TimestampTz started_at;
	pg_atomic_uint32 workers;
	pg_atomic_uint64 units_total;
	pg_atomic_uint64 units_done;
	pg_atomic_uint64 entries_done;
	pg_atomic_uint64 problems;
} VerifyProgress;

static VerifyProgress *progress = NULL;

void
verify_progress_shmem_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(VerifyProgress) * PROGRESS_SLOTS));
}

void
verify_progress_shmem_startup(void)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	progress =
		ShmemInitStruct("immiiq verify progress", sizeof(VerifyProgress) * PROGRESS_SLOTS, &found);
	for (int i = 0; !found && i < PROGRESS_SLOTS; i++)
	{
		pg_atomic_init_u32(&progress[i].pid, 0);
		pg_atomic_init_u32(&progress[i].workers, 0);
		pg_atomic_init_u64(&progress[i].units_total, 0);
		pg_atomic_init_u64(&progress[i].units_done, 0);
		pg_atomic_init_u64(&progress[i].entries_done, 0);
		pg_atomic_init_u64(&progress[i].problems, 0);
	}
	LWLockRelease(AddinShmemInitLock);
}

int
audit_verify_start(void)
{
	for (int i = 0; progress != NULL && i < PROGRESS_SLOTS; i++)
	{
		VerifyProgress *slot = &progress[i];
		uint32 before = pg_atomic_read_u32(&slot->pid);

		if (before != 0 && BackendPidGetProc((int) before) != NULL)
			continue;
		if (!pg_atomic_compare_exchange_u32(&slot->pid, &before, (uint32) MyProcPid))
			continue;
		slot->database = MyDatabaseId;
		slot->started_at = GetCurrentTimestamp();
		pg_atomic_write_u32(&slot->workers, 0);
		pg_atomic_write_u64(&slot->units_total, 0);
		pg_atomic_write_u64(&slot->units_done, 0);
		pg_atomic_write_u64(&slot->entries_done, 0);
		pg_atomic_write_u64(&slot->problems, 0);
		return i;
	}
	return -1;
}

void
audit_verify_total(int slot, uint64 units)
{
	if (slot >= 0)
		pg_atomic_write_u64(&progress[slot].units_total, units);
}

void
audit_verify_workers(int slot, int workers)
{
	if (slot >= 0)
		pg_atomic_write_u32(&progress[slot].workers, (uint32) workers);
}

void
audit_verify_advance(int slot, uint64 entries)
{
	if (slot < 0)
		return;
	pg_atomic_fetch_add_u64(&progress[slot].units_done, 1);
	pg_atomic_fetch_add_u64(&progress[slot].entries_done, entries);
}

void
audit_verify_found(int slot)
{
	if (slot >= 0)
		pg_atomic_fetch_add_u64(&progress[slot].problems, 1);
}

void
audit_verify_finish(int slot)
{
	if (slot >= 0)
		pg_atomic_write_u32(&progress[slot].pid, 0);
}

PG_FUNCTION_INFO_V1(immiiq_verify_progress);

/*
 * immiiq.read_verify_progress() → setof (pid, started_at, workers, units_total,
 * units_done, entries_done, problems): the verifications of this database that
 * run now.
 */
Datum
immiiq_verify_progress(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	base_require_preload();
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < PROGRESS_SLOTS; i++)
	{
		VerifyProgress *slot = &progress[i];
		uint32 pid = pg_atomic_read_u32(&slot->pid);
		Datum values[7];
		bool nulls[7] = {false};

		if (pid == 0 || slot->database != MyDatabaseId || BackendPidGetProc((int) pid) == NULL)
			continue;
		values[0] = Int32GetDatum((int32) pid);
		values[1] = TimestampTzGetDatum(slot->started_at);
		values[2] = Int32GetDatum((int32) pg_atomic_read_u32(&slot->workers));
		values[3] = Int64GetDatum((int64) pg_atomic_read_u64(&slot->units_total));
		values[4] = Int64GetDatum((int64) pg_atomic_read_u64(&slot->units_done));
		values[5] = Int64GetDatum((int64) pg_atomic_read_u64(&slot->entries_done));
		values[6] = Int64GetDatum((int64) pg_atomic_read_u64(&slot->problems));
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
