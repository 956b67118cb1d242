/*
 * Counters in shared memory, a set for each database, for immiiq.stat.  Trusts
 * atomic additions, takes no lock; refuses nothing: without a free set, or
 * without shared memory, what was counted is dropped.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "stat/stat.h"

#define STAT_DATABASES 128

typedef struct StatSet
{
	pg_atomic_uint32 database; /* InvalidOid: free */
	pg_atomic_uint64 counters[STAT_COUNTERS];
} StatSet;

typedef struct StatShared
{
	TimestampTz since;
	StatSet sets[STAT_DATABASES];
} StatShared;

uint64 stat_pending[STAT_COUNTERS];

static StatShared *stat_shared = NULL;

PG_FUNCTION_INFO_V1(immiiq_stat_counters);

/* The set of a database; with make, a free one becomes its own.  NULL when there is none. */
static StatSet *
stat_find(Oid database, bool make)
{
	for (int i = 0; i < STAT_DATABASES; i++)
	{
		StatSet *set = &stat_shared->sets[i];
		uint32 owner = pg_atomic_read_u32(&set->database);

		if (owner == InvalidOid && !make)
			continue;
		if (owner == database ||
			(owner == InvalidOid &&
			 (pg_atomic_compare_exchange_u32(&set->database, &owner, database) || owner == database)))
			return set;
	}
	return NULL;
}

/* Adds what this backend has counted to its database's set. */
static void
stat_flush(void)
{
	StatSet *set;
	uint64 any = 0;

	for (int i = 0; i < STAT_COUNTERS; i++)
		any |= stat_pending[i];
	if (likely(any == 0) || stat_shared == NULL || !OidIsValid(MyDatabaseId))
		return;
	set = stat_find(MyDatabaseId, false);
	if (set == NULL)
		set = stat_find(MyDatabaseId, true);
	for (int i = 0; i < STAT_COUNTERS; i++)
	{
		if (set != NULL && stat_pending[i] > 0)
			pg_atomic_fetch_add_u64(&set->counters[i], stat_pending[i]);
		stat_pending[i] = 0;
	}
}

static void
stat_xact_callback(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PARALLEL_ABORT:
		case XACT_EVENT_PREPARE:
			stat_flush();
			break;
		default:
			break;
	}
}

void
stat_forget(Oid database)
{
	StatSet *set = stat_shared == NULL ? NULL : stat_find(database, false);

	if (set == NULL)
		return;
	for (int i = 0; i < STAT_COUNTERS; i++)
		pg_atomic_write_u64(&set->counters[i], 0);
	pg_atomic_write_u32(&set->database, InvalidOid);
}

void
stat_init(void)
{
	RegisterXactCallback(stat_xact_callback, NULL);
}

void
stat_shmem_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(StatShared)));
}

void
stat_shmem_startup(void)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	stat_shared = ShmemInitStruct("immiiq stat", sizeof(StatShared), &found);
	if (!found)
	{
		stat_shared->since = GetCurrentTimestamp();
		for (int i = 0; i < STAT_DATABASES; i++)
		{
			pg_atomic_init_u32(&stat_shared->sets[i].database, InvalidOid);
			for (int j = 0; j < STAT_COUNTERS; j++)
				pg_atomic_init_u64(&stat_shared->sets[i].counters[j], 0);
		}
	}
	LWLockRelease(AddinShmemInitLock);
}

/* stat_counters() → one row: this database's counters in the order of StatCounter, then since when.  IQ001 unless preloaded. */
Datum
immiiq_stat_counters(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Datum values[STAT_COUNTERS + 1];
	bool nulls[STAT_COUNTERS + 1] = {0};
	StatSet *set;

	base_require_preload();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	set = stat_find(MyDatabaseId, false);
	for (int i = 0; i < STAT_COUNTERS; i++)
		values[i] = Int64GetDatum(set == NULL ? 0 : (int64) pg_atomic_read_u64(&set->counters[i]));
	values[STAT_COUNTERS] = TimestampTzGetDatum(stat_shared->since);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
