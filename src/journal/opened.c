/*
 * The record of opened fields.  Trusts its callers for who and what; refuses
 * to lose a count in silence: what finds no room in time is counted as lost.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/base.h"
#include "journal/opened.h"
#include "journal/ring.h"

#define OPENED_TRANCHE	   "immiiq_opened"
#define OPENED_ENTRIES	   2048
#define OPENED_WAKE		   (OPENED_ENTRIES / 4) /* entries at which the worker is woken before its turn */
#define OPENED_COLUMNS	   12
#define OPENED_BATCH	   256
#define OPENED_DEADLINE_MS 200
#define OPENED_STALL_MS	   1000

typedef struct OpenedColumn
{
	uint32 count;
	uint16 domain;
	uint8 type;
} OpenedColumn;

typedef struct OpenedEntry
{
	Oid database; /* InvalidOid: free */
	Oid login;
	int32 pid;
	int32 ncolumns;
	TimestampTz at;
	ContextActor actor;
	pg_uuid_t org;
	pg_uuid_t member;
	pg_uuid_t session;
	OpenedColumn columns[OPENED_COLUMNS];
} OpenedEntry;

typedef struct OpenedPool
{
	int32 used;
	TimestampTz stalled_until; /* nobody waits for room until then */
	int32 cursor;			   /* where the next free entry is looked for */
	OpenedEntry entries[OPENED_ENTRIES];
} OpenedPool;

static OpenedPool *opened_pool = NULL;
static LWLock *opened_lock = NULL;
static bool opened_on = true;

/* What this transaction has opened so far; ncolumns 0: nothing. */
static OpenedEntry opened_now;
static int opened_last = 0;

void
opened_init(void)
{
	DefineCustomBoolVariable("immiiq.record_field_access", "Records who opens sealed values.", NULL,
							 &opened_on, true, PGC_SUSET, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
}

void
opened_shmem_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(OpenedPool)));
	RequestNamedLWLockTranche(OPENED_TRANCHE, 1);
}

void
opened_shmem_startup(void)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	opened_pool = ShmemInitStruct("immiiq opened fields", sizeof(OpenedPool), &found);
	opened_lock = &GetNamedLWLockTranche(OPENED_TRANCHE)->lock;
	if (!found)
		memset(opened_pool, 0, sizeof(OpenedPool));
	LWLockRelease(AddinShmemInitLock);
}

/* ---- backends ---- */

void
opened_note(const ContextIdentity *identity, uint8 type, uint16 domain)
{
	OpenedColumn *column = &opened_now.columns[opened_last];

	if (!opened_on || opened_pool == NULL)
		return;
	/* The assistant's reads are not the member's. */
	if (opened_now.ncolumns > 0 && opened_now.actor != identity->actor)
		opened_flush();
	if (opened_now.ncolumns > 0 && column->type == type && column->domain == domain &&
		column->count < PG_INT32_MAX)
	{
		column->count++;
		return;
	}
	for (int i = 0; i < opened_now.ncolumns; i++)
	{
		column = &opened_now.columns[i];
		if (column->type == type && column->domain == domain && column->count < PG_INT32_MAX)
		{
			column->count++;
			opened_last = i;
			return;
		}
	}
	if (opened_now.ncolumns == OPENED_COLUMNS)
		opened_flush();
	if (opened_now.ncolumns == 0)
	{
		opened_now.database = MyDatabaseId;
		opened_now.login = GetSessionUserId();
		opened_now.pid = MyProcPid;
		opened_now.at = GetCurrentTransactionStartTimestamp();
		opened_now.actor = identity->actor;
		opened_now.org = identity->org;
		opened_now.member = identity->member;
		opened_now.session = identity->session;
	}
	opened_last = opened_now.ncolumns++;
	opened_now.columns[opened_last].type = type;
	opened_now.columns[opened_last].domain = domain;
	opened_now.columns[opened_last].count = 1;
}

/* Frees entries of databases that are gone; the caller holds opened_lock. */
static void
opened_sweep(void)
{
	LWLockAcquire(ring_lock, LW_SHARED);
	for (int i = 0; i < OPENED_ENTRIES; i++)
	{
		OpenedEntry *entry = &opened_pool->entries[i];

		if (!OidIsValid(entry->database) || ring_find(entry->database) >= 0)
			continue;
		entry->database = InvalidOid;
		opened_pool->used--;
	}
	LWLockRelease(ring_lock);
}

/* Puts the entry into the pool; false when there is no room. */
static bool
opened_put(void)
{
	bool put = false;
	bool wake;

	LWLockAcquire(opened_lock, LW_EXCLUSIVE);
	if (opened_pool->used >= OPENED_ENTRIES)
		opened_sweep();
	if (opened_pool->used < OPENED_ENTRIES)
	{
		while (OidIsValid(opened_pool->entries[opened_pool->cursor].database))
			opened_pool->cursor = (opened_pool->cursor + 1) % OPENED_ENTRIES;
		opened_pool->entries[opened_pool->cursor] = opened_now;
		opened_pool->cursor = (opened_pool->cursor + 1) % OPENED_ENTRIES;
		opened_pool->used++;
		put = true;
	}
	wake = opened_pool->used >= OPENED_ENTRIES || opened_pool->used == OPENED_WAKE;
	LWLockRelease(opened_lock);
	if (wake)
		ring_wake_worker(MyDatabaseId);
	return put;
}

/* Writes the counts to the server log, where no worker can take them. */
static void
opened_log(void)
{
	for (int i = 0; i < opened_now.ncolumns; i++)
		ereport(LOG_SERVER_ONLY,
				(errmsg("immiiq field access: session %s opened %u values of type %u, domain %u",
						DatumGetCString(
							DirectFunctionCall1(uuid_out, UUIDPGetDatum(&opened_now.session))),
						opened_now.columns[i].count, opened_now.columns[i].type,
						opened_now.columns[i].domain),
				 errhidestmt(true), errhidecontext(true)));
}

void
opened_flush(void)
{
	TimestampTz deadline;
	bool put;

	if (opened_now.ncolumns == 0)
		return;
	if (RecoveryInProgress() || !ring_worker_wanted(MyDatabaseId))
		opened_log();
	else
	{
		deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), OPENED_DEADLINE_MS);
		while (!(put = opened_put()) && GetCurrentTimestamp() < deadline &&
			   GetCurrentTimestamp() >= opened_pool->stalled_until)
			pg_usleep(1000);
		if (!put)
		{
			/* Reading goes on while the worker is away: one waits, the next ones only count. */
			opened_pool->stalled_until =
				TimestampTzPlusMilliseconds(GetCurrentTimestamp(), OPENED_STALL_MS);
			ring_count_lost(MyDatabaseId, 1);
		}
	}
	opened_now.ncolumns = 0;
	opened_last = 0;
}

/* ---- the worker ---- */

/* Copies up to max entries of this database, with their places. */
static int
opened_peek(OpenedEntry *out, int *places, int max)
{
	int n = 0;

	LWLockAcquire(opened_lock, LW_SHARED);
	for (int i = 0; opened_pool->used > 0 && i < OPENED_ENTRIES && n < max; i++)
	{
		if (opened_pool->entries[i].database != MyDatabaseId)
			continue;
		places[n] = i;
		out[n++] = opened_pool->entries[i];
	}
	LWLockRelease(opened_lock);
	return n;
}

/* Frees the entries that were written. */
static void
opened_settle(const int *places, int n)
{
	LWLockAcquire(opened_lock, LW_EXCLUSIVE);
	for (int i = 0; i < n; i++)
		opened_pool->entries[places[i]].database = InvalidOid;
	opened_pool->used -= n;
	LWLockRelease(opened_lock);
}

/* Writes entries in one statement; inside a transaction. */
static void
opened_insert(OpenedEntry *entries, int n)
{
	static const char *const insert =
		"INSERT INTO immiiq.field_opened (at, org_id, member_id, session_id, actor, login_name,"
		" type_code, domain, opened, backend_pid)"
		" SELECT u.at, u.org, NULLIF(u.member, '00000000-0000-0000-0000-000000000000'),"
		" NULLIF(u.session, '00000000-0000-0000-0000-000000000000'), u.actor,"
		" pg_catalog.pg_get_userbyid(u.login), u.type, u.domain, u.opened, u.pid"
		" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3),"
		" pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6),"
		" pg_catalog.unnest($7), pg_catalog.unnest($8), pg_catalog.unnest($9),"
		" pg_catalog.unnest($10)) AS u (at, org, member, session, actor, login, type, domain, opened, pid)";
	Oid types[10] = {TIMESTAMPTZARRAYOID, UUIDARRAYOID, UUIDARRAYOID, UUIDARRAYOID, TEXTARRAYOID,
					 OIDARRAYOID,		  INT4ARRAYOID, INT4ARRAYOID, INT8ARRAYOID, INT4ARRAYOID};
	Oid elements[10] = {TIMESTAMPTZOID, UUIDOID, UUIDOID, UUIDOID, TEXTOID,
						OIDOID,			INT4OID, INT4OID, INT8OID, INT4OID};
	int lengths[10] = {8, UUID_LEN, UUID_LEN, UUID_LEN, -1, 4, 4, 4, 8, 4};
	bool by_value[10] = {true, false, false, false, false, true, true, true, true, true};
	char alignments[10] = {TYPALIGN_DOUBLE, TYPALIGN_CHAR, TYPALIGN_CHAR, TYPALIGN_CHAR,
						   TYPALIGN_INT,	TYPALIGN_INT,  TYPALIGN_INT,  TYPALIGN_INT,
						   TYPALIGN_DOUBLE, TYPALIGN_INT};
	Datum *columns[10];
	Datum values[10];
	int rows = 0;

	for (int c = 0; c < 10; c++)
		columns[c] = palloc(sizeof(Datum) * n * OPENED_COLUMNS);
	for (int i = 0; i < n; i++)
	{
		OpenedEntry *e = &entries[i];
		Datum actor = CStringGetTextDatum(context_actor_name(e->actor));

		for (int k = 0; k < e->ncolumns; k++, rows++)
		{
			columns[0][rows] = TimestampTzGetDatum(e->at);
			columns[1][rows] = UUIDPGetDatum(&e->org);
			columns[2][rows] = UUIDPGetDatum(&e->member);
			columns[3][rows] = UUIDPGetDatum(&e->session);
			columns[4][rows] = actor;
			columns[5][rows] = ObjectIdGetDatum(e->login);
			columns[6][rows] = Int32GetDatum(e->columns[k].type);
			columns[7][rows] = Int32GetDatum(e->columns[k].domain);
			columns[8][rows] = Int64GetDatum((int64) e->columns[k].count);
			columns[9][rows] = Int32GetDatum(e->pid);
		}
	}
	for (int c = 0; c < 10; c++)
		values[c] = PointerGetDatum(
			construct_array(columns[c], rows, elements[c], lengths[c], by_value[c], alignments[c]));
	if (SPI_execute_with_args(insert, 10, types, values, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not write opened fields");
}

void
opened_drain(void)
{
	static OpenedEntry entries[OPENED_BATCH];
	static int places[OPENED_BATCH];
	int n;

	if (opened_pool == NULL)
		return;
	while ((n = opened_peek(entries, places, OPENED_BATCH)) > 0)
	{
		pgstat_report_activity(STATE_RUNNING, "immiiq: writing opened fields");
		base_start_transaction();
		PushActiveSnapshot(GetTransactionSnapshot());
		SPI_connect();
		opened_insert(entries, n);
		SPI_finish();
		PopActiveSnapshot();
		CommitTransactionCommand();
		/* From commit to here nothing may stop the worker, or rows would be written twice. */
		HOLD_INTERRUPTS();
		opened_settle(places, n);
		RESUME_INTERRUPTS();
		CHECK_FOR_INTERRUPTS();
	}
}
