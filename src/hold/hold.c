/*
 * Active holds, cached per backend until immiiq.hold changes, and the lock
 * between who places one and who removes rows.  Trusts immiiq.hold; refuses
 * removal by row, whatever role asks.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/base.h"
#include "hold/hold.h"
#include "journal/journal.h"

/* Columns of immiiq.hold and immiiq.matter_column, in the order of sql/parts/74_hold.sql. */
enum
{
	Anum_hold_org = 1,
	Anum_hold_id,
	Anum_hold_kind,
	Anum_hold_client,
	Anum_hold_matter,
	Anum_hold_until,
	Anum_hold_released
};
enum
{
	Anum_matter_target = 1,
	Anum_matter_column
};

/* Of the lock: no SQL function reaches a class above 2 of advisory locks. */
#define HOLD_LOCK_CLASS 0x4952

typedef struct Hold
{
	pg_uuid_t org;
	bool has_client;
	bool has_matter;
	pg_uuid_t client;
	pg_uuid_t matter;
	TimestampTz until; /* infinity for none */
} Hold;

typedef struct HoldMatter
{
	Oid relid;
	NameData column;
} HoldMatter;

static MemoryContext hold_memory = NULL;
static Hold *holds = NULL;
static int hold_count = 0;
static HoldMatter *matters = NULL;
static int matter_count = 0;
static bool hold_loaded = false;
static Oid hold_relid = InvalidOid;
static Oid matter_relid = InvalidOid;

/* What a statement of DDL must leave as it is; in TopTransactionContext. */
static text *hold_noted = NULL;
static LocalTransactionId hold_noted_lxid = InvalidLocalTransactionId;

static void
hold_relcache_changed(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == hold_relid || relid == matter_relid)
		hold_loaded = false;
}

void
hold_init(void)
{
	CacheRegisterRelcacheCallback(hold_relcache_changed, (Datum) 0);
}

static bool
hold_get_uuid(HeapTuple tuple, TupleDesc desc, int column, pg_uuid_t *out)
{
	bool isnull;
	Datum value = heap_getattr(tuple, column, desc, &isnull);

	if (isnull)
		return false;
	*out = *DatumGetUUIDP(value);
	return true;
}

static void
hold_load(void)
{
	Relation rel;
	SysScanDesc scan;
	HeapTuple tuple;
	int size = 16;

	if (hold_memory == NULL)
		hold_memory = AllocSetContextCreate(TopMemoryContext, "immiiq holds", ALLOCSET_SMALL_SIZES);
	MemoryContextReset(hold_memory);
	holds = MemoryContextAlloc(hold_memory, sizeof(Hold) * size);
	hold_count = matter_count = 0;
	hold_loaded = true; /* an invalidation from here on makes it false again */
	rel = table_open(base_relation("hold"), AccessShareLock);
	hold_relid = RelationGetRelid(rel);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		TupleDesc desc = RelationGetDescr(rel);
		Hold *hold;
		bool isnull;
		Datum until;

		(void) heap_getattr(tuple, Anum_hold_released, desc, &isnull);
		if (!isnull)
			continue;
		if (hold_count == size)
			holds = repalloc(holds, sizeof(Hold) * (size *= 2));
		hold = &holds[hold_count++];
		memset(hold, 0, sizeof(*hold));
		(void) hold_get_uuid(tuple, desc, Anum_hold_org, &hold->org);
		hold->has_client = hold_get_uuid(tuple, desc, Anum_hold_client, &hold->client);
		hold->has_matter = hold_get_uuid(tuple, desc, Anum_hold_matter, &hold->matter);
		until = heap_getattr(tuple, Anum_hold_until, desc, &isnull);
		hold->until = isnull ? DT_NOEND : DatumGetTimestampTz(until);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	size = 16;
	matters = MemoryContextAlloc(hold_memory, sizeof(HoldMatter) * size);
	rel = table_open(base_relation("matter_column"), AccessShareLock);
	matter_relid = RelationGetRelid(rel);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		TupleDesc desc = RelationGetDescr(rel);
		bool isnull;

		if (matter_count == size)
			matters = repalloc(matters, sizeof(HoldMatter) * (size *= 2));
		matters[matter_count].relid =
			DatumGetObjectId(heap_getattr(tuple, Anum_matter_target, desc, &isnull));
		matters[matter_count++].column =
			*DatumGetName(heap_getattr(tuple, Anum_matter_column, desc, &isnull));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

static void
hold_set_lock(LOCKTAG *tag, const pg_uuid_t *org)
{
	uint64 hash = hash_bytes_extended(org->data, UUID_LEN, 0);

	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash, HOLD_LOCK_CLASS);
}

/*
 * From here to the end of the transaction nobody places a hold for this
 * organisation; those that stand are known.  False when there is none at all.
 */
static bool
hold_enter(const pg_uuid_t *org)
{
	LOCKTAG tag;

	if (RecoveryInProgress() || !OidIsValid(base_relation_or_invalid("hold")))
		return false;
	hold_set_lock(&tag, org);
	if (LockAcquire(&tag, ShareLock, false, false) != LOCKACQUIRE_ALREADY_HELD)
		AcceptInvalidationMessages();
	while (!hold_loaded)
		hold_load();
	return hold_count > 0;
}

/* True when an active hold keeps what is this client's and this matter's; NULL stands for none. */
static bool
hold_find(const pg_uuid_t *org, const pg_uuid_t *client, const pg_uuid_t *matter)
{
	TimestampTz now = 0;

	for (int i = 0; i < hold_count; i++)
	{
		const Hold *hold = &holds[i];

		if (!base_uuid_equal(&hold->org, org))
			continue;
		if (hold->has_client && (client == NULL || !base_uuid_equal(&hold->client, client)))
			continue;
		if (hold->has_matter && (matter == NULL || !base_uuid_equal(&hold->matter, matter)))
			continue;
		if (hold->until != DT_NOEND && now == 0)
			now = GetCurrentTimestamp();
		if (hold->until == DT_NOEND || hold->until > now)
			return true;
	}
	return false;
}

static void
hold_refuse(const char *action, const char *object, const pg_uuid_t *org)
{
	journal_record(JOURNAL_DENIAL, action, object, "under hold", ERRCODE_IMMIIQ_HELD, org);
	ereport(ERROR, (errcode(ERRCODE_IMMIIQ_HELD), errmsg("what is under hold cannot be removed"),
					errhint("immiiq.active_hold says who placed the hold, and why.")));
}

/* The column that names the matter, 0 for none; a partition has that of its table. */
static AttrNumber
hold_matter_column(Relation rel)
{
	Oid relid = RelationGetRelid(rel);

	for (int i = 0; i < matter_count; i++)
	{
		const HoldMatter *matter = &matters[i];
		TupleDesc desc = RelationGetDescr(rel);

		if (matter->relid != relid && !rel->rd_rel->relispartition)
			continue;
		if (matter->relid != relid &&
			DatumGetObjectId(DirectFunctionCall1(pg_partition_root, ObjectIdGetDatum(relid))) !=
				matter->relid)
			continue;
		for (int n = 0; n < desc->natts; n++)
		{
			Form_pg_attribute att = TupleDescAttr(desc, n);

			if (!att->attisdropped && att->atttypid == UUIDOID &&
				strcmp(NameStr(att->attname), NameStr(matter->column)) == 0)
				return att->attnum;
		}
	}
	return 0;
}

static const pg_uuid_t *
hold_slot_uuid(TupleTableSlot *slot, AttrNumber column)
{
	if (column == 0 || slot->tts_isnull[column - 1])
		return NULL;
	return DatumGetUUIDP(slot->tts_values[column - 1]);
}

static bool
hold_same(const pg_uuid_t *a, const pg_uuid_t *b)
{
	return a == NULL || b == NULL ? a == b : base_uuid_equal(a, b);
}

void
hold_check_row(Relation rel, TupleTableSlot *old, TupleTableSlot *new, const pg_uuid_t *org,
			   AttrNumber client_column)
{
	const pg_uuid_t *client;
	const pg_uuid_t *matter;
	AttrNumber matter_column;

	/* Rows that change stay; only where they would leave a hold behind is to be asked. */
	if (new != NULL && hold_loaded &&hold_count == 0)
		return;
	if (!hold_enter(org))
		return;
	matter_column = hold_matter_column(rel);
	client = hold_slot_uuid(old, client_column);
	matter = hold_slot_uuid(old, matter_column);
	if (new != NULL && hold_same(client, hold_slot_uuid(new, client_column)) &&
		hold_same(matter, hold_slot_uuid(new, matter_column)))
		return;
	if (hold_find(org, client, matter) &&
		(new == NULL ||
		 !hold_find(org, hold_slot_uuid(new, client_column), hold_slot_uuid(new, matter_column))))
		hold_refuse(new == NULL ? "delete" : "update", RelationGetRelationName(rel), org);
}

bool
hold_keeps(const pg_uuid_t *org, const pg_uuid_t *client)
{
	return hold_enter(org) && hold_find(org, client, NULL);
}

void
hold_utility_before(Node *utility)
{
	ListCell *lc;

	if (!IsA(utility, DropStmt) || ((DropStmt *) utility)->removeType != OBJECT_EXTENSION ||
		!OidIsValid(base_relation_or_invalid("hold")))
		return;
	foreach (lc, ((DropStmt *) utility)->objects)
	{
		TimestampTz now = GetCurrentTimestamp();

		if (strcmp(strVal(lfirst(lc)), "immiiq") != 0)
			continue;
		while (!hold_loaded)
			hold_load();
		for (int i = 0; i < hold_count; i++)
		{
			if (holds[i].until > now)
				hold_refuse("drop", "extension immiiq", &holds[i].org);
		}
	}
}

/* ---- SQL ---- */

PG_FUNCTION_INFO_V1(immiiq_lock_holds);
/* immiiq.lock_holds(org uuid): waits for who removes rows of the organisation; nobody begins until the transaction ends. */
Datum
immiiq_lock_holds(PG_FUNCTION_ARGS)
{
	LOCKTAG tag;

	base_require_preload();
	hold_set_lock(&tag, PG_GETARG_UUID_P(0));
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(immiiq_is_held);
/*
 * immiiq.is_held(org uuid, client uuid, matter uuid) → boolean.  Volatile: it
 * sees holds that were placed after the snapshot, and none is placed from then on.
 */
Datum
immiiq_is_held(PG_FUNCTION_ARGS)
{
	pg_uuid_t *org;

	base_require_preload();
	if (PG_ARGISNULL(0))
		PG_RETURN_BOOL(false);
	org = PG_GETARG_UUID_P(0);
	PG_RETURN_BOOL(hold_enter(org) && hold_find(org, PG_ARGISNULL(1) ? NULL : PG_GETARG_UUID_P(1),
												PG_ARGISNULL(2) ? NULL : PG_GETARG_UUID_P(2)));
}

PG_FUNCTION_INFO_V1(immiiq_has_hold);
/* immiiq.has_hold(org uuid) → boolean: anything of the organisation is under hold. */
Datum
immiiq_has_hold(PG_FUNCTION_ARGS)
{
	pg_uuid_t *org = PG_GETARG_UUID_P(0);
	TimestampTz now = GetCurrentTimestamp();

	base_require_preload();
	if (!hold_enter(org))
		PG_RETURN_BOOL(false);
	for (int i = 0; i < hold_count; i++)
	{
		if (base_uuid_equal(&holds[i].org, org) && holds[i].until > now)
			PG_RETURN_BOOL(true);
	}
	PG_RETURN_BOOL(false);
}

PG_FUNCTION_INFO_V1(immiiq_refuse_held);
/* immiiq.refuse_held(org uuid, action text, object text): IQ050, recorded. */
Datum
immiiq_refuse_held(PG_FUNCTION_ARGS)
{
	base_require_preload();
	hold_refuse(text_to_cstring(PG_GETARG_TEXT_PP(1)), text_to_cstring(PG_GETARG_TEXT_PP(2)),
				PG_GETARG_UUID_P(0));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(immiiq_hold_changed);
/* immiiq.hold_changed(): trigger after a statement on immiiq.hold and matter_column: every backend reads them again. */
Datum
immiiq_hold_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("immiiq.hold_changed can only be a trigger")));
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	return PointerGetDatum(NULL);
}

PG_FUNCTION_INFO_V1(immiiq_note_held);
/* immiiq.note_held(text): remembers, until the transaction ends, what a statement of DDL must leave. */
Datum
immiiq_note_held(PG_FUNCTION_ARGS)
{
	text *noted = PG_GETARG_TEXT_PP(0);
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);

	hold_noted = cstring_to_text_with_len(VARDATA_ANY(noted), VARSIZE_ANY_EXHDR(noted));
	hold_noted_lxid = PGPROC_LXID(MyProc);
	MemoryContextSwitchTo(old);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(immiiq_noted_held);
/* immiiq.noted_held() → text, NULL when nothing was noted in this transaction. */
Datum
immiiq_noted_held(PG_FUNCTION_ARGS)
{
	if (hold_noted == NULL || hold_noted_lxid != PGPROC_LXID(MyProc))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(hold_noted);
}

/* Whether a statement of DDL leaves rows, columns and guards of every table as they are, so that holds have nothing to ask. */
static bool
hold_is_harmless(Node *statement)
{
	AlterTableStmt *alter = (AlterTableStmt *) statement;
	ListCell *lc;

	if (!IsA(statement, AlterTableStmt))
		return false;
	foreach (lc, alter->cmds)
	{
		switch (castNode(AlterTableCmd, lfirst(lc))->subtype)
		{
			case AT_AddColumn:
			case AT_AddConstraint:
			case AT_AttachPartition:
			case AT_ClusterOn:
			case AT_ColumnDefault:
			case AT_EnableAlwaysTrig:
			case AT_EnableRowSecurity:
			case AT_ForceRowSecurity:
			case AT_ReplicaIdentity:
			case AT_SetRelOptions:
			case AT_SetStatistics:
			case AT_SetStorage:
			case AT_ValidateConstraint:
				break;
			default:
				return false;
		}
	}
	return true;
}

PG_FUNCTION_INFO_V1(immiiq_note_holds);
/* immiiq.note_holds() → event_trigger, at the start of DDL that may remove. */
Datum
immiiq_note_holds(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		elog(ERROR, "immiiq.note_holds must be called by an event trigger");
	if (!hold_is_harmless(((EventTriggerData *) fcinfo->context)->parsetree))
	{
		SPI_connect();
		if (SPI_execute("SELECT immiiq.note_held_tables()", false, 0) != SPI_OK_SELECT)
			elog(ERROR, "could not look at what is under hold");
		SPI_finish();
	}
	PG_RETURN_NULL();
}
