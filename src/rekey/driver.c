/*
 * The process that takes rotations forward, and what SQL asks of it.  Trusts
 * immiiq.rekey for where a rotation stands; refuses to start without a worker.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/xid8.h"

#include "base/base.h"
#include "base/drive.h"
#include "keyring/keyring.h"
#include "rekey/rekey.h"
#include "rekey/rekey_internal.h"

#define REKEY_PLACES  16
#define REKEY_WAIT_MS 50
#define REKEY_LOOK_MS 2000 /* how often the worker looks for unfinished rotations */

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

/* ---- the driver ---- */

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
	pg_atomic_write_u32(&rekey_progress()->database, MyDatabaseId);
	pg_atomic_write_u64(&rekey_progress()->blocks_done, 0);
	pg_atomic_write_u64(&rekey_progress()->values, 0);
	PG_TRY();
	{
		said = drive_sql("SELECT immiiq.rekey_step($1::pg_catalog.uuid)", 1, types, values, NULL);
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
	(void) drive_sql("UPDATE immiiq.rekey SET problem = $2, failed_at = pg_catalog.clock_timestamp() "
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
	return drive_sql("SELECT r.org_id::pg_catalog.text FROM immiiq.rekey AS r "
					 "WHERE ($1 IS NULL OR r.org_id OPERATOR(pg_catalog.>) $1::pg_catalog.uuid) "
					 "AND r.problem IS NULL ORDER BY r.org_id LIMIT 1",
					 1, types, values, after == NULL ? "n" : NULL);
}

/* A step of each organisation in turn; waits after a round in which all of them waited. */
static const char *
rekey_tick(void)
{
	static char org[64] = "";
	static bool moved = false;
	const char *next = rekey_next(org[0] != '\0' ? org : NULL);
	bool waits = !moved;

	if (next != NULL)
	{
		strlcpy(org, next, sizeof(org));
		if (strcmp(rekey_step(org), "wait") != 0)
			moved = true;
		return "more";
	}
	if (org[0] == '\0')
	{
		pg_atomic_write_u32(&rekey_progress()->database, InvalidOid);
		return "done";
	}
	org[0] = '\0';
	moved = false;
	return waits ? "wait" : "more";
}

static const Drive rekey_driver = {
	.table = "rekey",
	.process = "immiiq rekey",
	.function = "immiiq_rekey_main",
	.activity = "immiiq: sealing values under new keys",
	.lock_timeout = "1s",
	.wait_ms = REKEY_WAIT_MS,
	.step = rekey_tick,
};

void
immiiq_rekey_main(Datum arg)
{
	drive_main(&rekey_driver, DatumGetObjectId(arg));
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
	if (drive_sql("SELECT 1 FROM immiiq.rekey LIMIT 1", 0, NULL, NULL, NULL) == NULL)
		return;
	(void) drive_sql("UPDATE immiiq.rekey SET problem = NULL WHERE problem IS NOT NULL "
					 "AND failed_at OPERATOR(pg_catalog.<) (pg_catalog.clock_timestamp() "
					 "OPERATOR(pg_catalog.-) '30 s'::pg_catalog.interval)",
					 0, NULL, NULL, NULL);
	if (drive_sql("SELECT 1 FROM immiiq.rekey WHERE problem IS NULL LIMIT 1", 0, NULL, NULL,
				  NULL) == NULL)
		return;
	base_start_transaction();
	(void) drive_start(&rekey_driver);
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
	DriveState state;

	base_require_preload();
	state = drive_start(&rekey_driver);
	if (state == DRIVE_NO_WORKER)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("out of background workers for the rotation of keys"),
				 errhint(
					 "Raise max_worker_processes; the rotation goes on by itself once there is one.")));
	PG_RETURN_BOOL(state == DRIVE_STARTED);
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
