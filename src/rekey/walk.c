/*
 * The walk of a rotation: finds an organisation's values by key id in every
 * column, array and composite of a table, and seals them anew in place.
 * Trusts the catalog for what a column holds; fires no trigger and checks no
 * constraint, since no plaintext changes; leaves what does not open as it is.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "base/base.h"
#include "keyring/keyring.h"
#include "rekey/rekey_internal.h"
#include "search/catalog.h"
#include "search/value.h"
#include "types/seal.h"

typedef struct Walk
{
	pg_uuid_t org;
	List *keys;		 /* ids of its data keys */
	uint32 data_key; /* a value under an earlier one is old */
	uint32 tag_key;	 /* the same for values with tokens; 0: they are left alone, with their rows */
	bool change;	 /* false: only looks whether anything is left to do */

	/* of the row at hand */
	bool old;
	bool left_alone;
	bool changed;
	bool opens; /* an old value opens */

	int64 values;  /* sealed anew */
	int64 left;	   /* rows that hold an old value that opens */
	int64 damaged; /* values that do not open under the key that they name */
} Walk;

/* What the walk does with each value of a row. */
typedef enum WalkVisit
{
	WALK_LOOK,
	WALK_TRY,
	WALK_SEAL
} WalkVisit;

static bool walk_datum(Walk *walk, WalkVisit visit, Oid typid, Datum value, Datum *out);

/* One value of an enc type; true when *out is another. */
static bool
walk_value(Walk *walk, WalkVisit visit, Datum value, Datum *out)
{
	uint8 prefix[VALUE_PREFIX_BYTES];
	struct varlena *sealed;
	uint32 floor;
	Envelope env;

	if (!value_read_prefix(value, prefix, &env) || env.algorithm != ENVELOPE_SEALED ||
		!list_member_int(walk->keys, (int) env.key_id))
		return false;
	floor = walk->data_key;
	if (env.flags != 0)
	{
		if (walk->tag_key == 0)
		{
			walk->left_alone = true;
			return false;
		}
		floor = walk->tag_key;
	}
	if (env.key_id >= floor)
		return false;
	walk->old = true;
	if (visit == WALK_LOOK)
		return false;
	sealed = seal_again(value, &walk->org);
	if (sealed == NULL)
	{
		walk->damaged++;
		return false;
	}
	walk->opens = true;
	if (visit == WALK_TRY)
	{
		pfree(sealed);
		return false;
	}
	walk->values++;
	*out = PointerGetDatum(sealed);
	return true;
}

static bool
walk_array(Walk *walk, WalkVisit visit, Oid element, Datum value, Datum *out)
{
	ArrayType *array = DatumGetArrayTypeP(value);
	bool changed = false;
	TypeCacheEntry *type = lookup_type_cache(element, 0);
	Datum *values;
	bool *nulls;
	int n;

	deconstruct_array(array, ARR_ELEMTYPE(array), type->typlen, type->typbyval, type->typalign,
					  &values, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (!nulls[i] && walk_datum(walk, visit, element, values[i], &values[i]))
			changed = true;
	}
	if (changed)
		*out = PointerGetDatum(construct_md_array(values, nulls, ARR_NDIM(array), ARR_DIMS(array),
												  ARR_LBOUND(array), ARR_ELEMTYPE(array),
												  type->typlen, type->typbyval, type->typalign));
	return changed;
}

static bool
walk_composite(Walk *walk, WalkVisit visit, Datum value, Datum *out)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(value);
	TupleDesc desc =
		lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(header), HeapTupleHeaderGetTypMod(header));
	Datum *values = palloc(sizeof(Datum) * desc->natts);
	bool *nulls = palloc(sizeof(bool) * desc->natts);
	HeapTupleData tuple = {.t_data = header, .t_len = HeapTupleHeaderGetDatumLength(header)};
	bool changed = false;

	ItemPointerSetInvalid(&tuple.t_self);
	heap_deform_tuple(&tuple, desc, values, nulls);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && !nulls[i] &&
			walk_datum(walk, visit, att->atttypid, values[i], &values[i]))
			changed = true;
	}
	if (changed)
		*out = heap_copy_tuple_as_datum(heap_form_tuple(desc, values, nulls), desc);
	ReleaseTupleDesc(desc);
	return changed;
}

/* Whatever a column may hold: an enc type, a domain, an array or a composite of what holds one. */
static bool
walk_datum(Walk *walk, WalkVisit visit, Oid typid, Datum value, Datum *out)
{
	Oid element;

	check_stack_depth();
	if (catalog_type(typid) != NULL)
		return walk_value(walk, visit, value, out);
	typid = getBaseType(typid);
	if (catalog_type(typid) != NULL)
		return walk_value(walk, visit, value, out);
	element = get_element_type(typid);
	if (OidIsValid(element))
		return walk_array(walk, visit, element, value, out);
	if (type_is_rowtype(typid))
		return walk_composite(walk, visit, value, out);
	return false;
}

/* True when a column of this type may hold sealed values. */
static bool
walk_holds(Oid typid)
{
	bool holds = false;
	TupleDesc desc;
	Oid element;

	check_stack_depth();
	typid = getBaseType(typid);
	if (catalog_type(typid) != NULL)
		return true;
	element = get_element_type(typid);
	if (OidIsValid(element))
		return walk_holds(element);
	if (typid == RECORDOID || !type_is_rowtype(typid))
		return false;
	desc = lookup_rowtype_tupdesc(typid, -1);
	for (int i = 0; i < desc->natts && !holds; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		holds = !att->attisdropped && walk_holds(att->atttypid);
	}
	ReleaseTupleDesc(desc);
	return holds;
}

PG_FUNCTION_INFO_V1(rekey_type_holds);

/* immiiq.holds_sealed(type oid) → boolean: an enc type, or a domain, array or composite with one in it. */
Datum
rekey_type_holds(PG_FUNCTION_ARGS)
{
	Oid typid = PG_GETARG_OID(0);

	PG_RETURN_BOOL(get_typisdefined(typid) && walk_holds(typid));
}

/* ---- a table ---- */

typedef struct WalkTable
{
	Relation rel;
	EState *estate;
	ResultRelInfo *result;
	Snapshot snapshot;
	CommandId cid;
	List *columns; /* attribute numbers */
	TupleTableSlot *slot;
	TupleTableSlot *locked;
	TupleTableSlot *changed;
	MemoryContext row;
} WalkTable;

static void
walk_row_columns(Walk *walk, WalkVisit visit, WalkTable *table, TupleTableSlot *slot, Datum *values)
{
	TupleDesc desc = RelationGetDescr(table->rel);
	ListCell *cell;

	foreach (cell, table->columns)
	{
		int i = lfirst_int(cell) - 1;

		if (!slot->tts_isnull[i] && walk_datum(walk, visit, TupleDescAttr(desc, i)->atttypid,
											   slot->tts_values[i], &values[i]))
			walk->changed = true;
	}
}

/*
 * Deals with one version of a row: false when it has been changed meanwhile, so
 * that its last version has to be looked at.
 */
static bool
walk_row(Walk *walk, WalkTable *table, TupleTableSlot *slot)
{
	TupleDesc desc = RelationGetDescr(table->rel);
	TupleTableSlot *new = table->changed;
	int64 values_before = walk->values;
	TU_UpdateIndexes update_indexes;
	LockTupleMode lock;
	TM_FailureData failure;
	TM_Result result;

	walk->old = walk->left_alone = walk->changed = walk->opens = false;
	slot_getsomeattrs(slot, llast_int(table->columns));
	walk_row_columns(walk, WALK_LOOK, table, slot, slot->tts_values);
	if (!walk->old || walk->left_alone)
		return true;
	if (!walk->change)
	{
		walk_row_columns(walk, WALK_TRY, table, slot, slot->tts_values);
		if (walk->opens)
			walk->left++;
		return true;
	}

	slot_getallattrs(slot);
	ExecClearTuple(new);
	memcpy(new->tts_values, slot->tts_values, sizeof(Datum) * desc->natts);
	memcpy(new->tts_isnull, slot->tts_isnull, sizeof(bool) * desc->natts);
	walk_row_columns(walk, WALK_SEAL, table, slot, new->tts_values);
	if (!walk->changed)
		return true;
	for (int i = 0; i < desc->natts; i++)
	{
		if (TupleDescAttr(desc, i)->attisdropped)
			new->tts_isnull[i] = true;
	}
	ExecStoreVirtualTuple(new);
	new->tts_tableOid = RelationGetRelid(table->rel);
	result = table_tuple_update(table->rel, &slot->tts_tid, new, table->cid, table->snapshot,
								InvalidSnapshot, true, &failure, &lock, &update_indexes);
	switch (result)
	{
		case TM_Ok:
			if (update_indexes && table->result->ri_NumIndices > 0)
				list_free(ExecInsertIndexTuples(table->result, new, table->estate, true, false,
												NULL, NIL, update_indexes == TU_Summarizing));
			return true;
		case TM_Updated:
			walk->values = values_before;
			return false;
		case TM_Deleted:
			walk->values = values_before;
			return true;
		default:
			elog(ERROR, "unexpected state %d of a row that is sealed anew", result);
	}
	return true;
}

/* A row that somebody changed while the walk came by: takes its last version, and holds it. */
static void
walk_last_version(Walk *walk, WalkTable *table, ItemPointer tid)
{
	TM_FailureData failure;
	ItemPointerData at = *tid;
	TM_Result result = table_tuple_lock(table->rel, &at, table->snapshot, table->locked, table->cid,
										LockTupleExclusive, LockWaitBlock,
										TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &failure);

	if (result == TM_Deleted)
		return;
	if (result != TM_Ok || !walk_row(walk, table, table->locked))
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("a row changed while it was sealed anew")));
}

static void
walk_open(WalkTable *table, Oid relid, bool change)
{
	Relation rel = table_open(relid, change ? RowExclusiveLock : AccessShareLock);
	TupleDesc desc = RelationGetDescr(rel);
	RangeTblEntry *entry = makeNode(RangeTblEntry);
	List *permissions = NIL;
	RTEPermissionInfo *permission;

	entry->rtekind = RTE_RELATION;
	entry->relid = relid;
	entry->relkind = rel->rd_rel->relkind;
	entry->rellockmode = RowExclusiveLock;
	permission = addRTEPermissionInfo(&permissions, entry);
	memset(table, 0, sizeof(*table));
	table->rel = rel;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && walk_holds(att->atttypid))
		{
			table->columns = lappend_int(table->columns, att->attnum);
			permission->updatedCols =
				bms_add_member(permission->updatedCols,
							   att->attnum - FirstLowInvalidHeapAttributeNumber);
		}
	}
	table->slot = table_slot_create(rel, NULL);
	table->snapshot = RegisterSnapshot(GetTransactionSnapshot());
	PushActiveSnapshot(table->snapshot);
	table->row = AllocSetContextCreate(CurrentMemoryContext, "immiiq row", ALLOCSET_DEFAULT_SIZES);
	if (!change)
		return;
	/* As any UPDATE: a published table that cannot say which row it was is refused. */
	CheckCmdReplicaIdentity(rel, CMD_UPDATE);
	table->locked = table_slot_create(rel, NULL);
	table->changed = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	table->cid = GetCurrentCommandId(true);
	table->estate = CreateExecutorState();
	/* Indexes on other columns learn from it that their keys are the same. */
	ExecInitRangeTable(table->estate, list_make1(entry), permissions, bms_make_singleton(1));
	table->result = makeNode(ResultRelInfo);
	InitResultRelInfo(table->result, rel, 1, NULL, 0);
	ExecOpenIndices(table->result, false);
}

static void
walk_close(WalkTable *table)
{
	if (table->result != NULL)
	{
		ExecCloseIndices(table->result);
		ExecDropSingleTupleTableSlot(table->changed);
		ExecDropSingleTupleTableSlot(table->locked);
		FreeExecutorState(table->estate);
	}
	ExecDropSingleTupleTableSlot(table->slot);
	PopActiveSnapshot();
	UnregisterSnapshot(table->snapshot);
	table_close(table->rel, NoLock);
	MemoryContextDelete(table->row);
}

/* Walks from a block on until so many values are sealed anew; the next block, InvalidBlockNumber at the end. */
static BlockNumber
walk_blocks(Walk *walk, WalkTable *table, BlockNumber from, int64 limit)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(table->rel);
	BlockNumber next = InvalidBlockNumber;
	BlockNumber seen = from;
	RekeyProgress *progress = rekey_progress();
	ItemPointerData first;
	ItemPointerData last;
	TableScanDesc scan;

	if (from >= blocks || table->columns == NIL)
		return InvalidBlockNumber;
	ItemPointerSet(&first, from, FirstOffsetNumber);
	ItemPointerSet(&last, blocks - 1, MaxOffsetNumber);
	scan = table_beginscan_tidrange(table->rel, table->snapshot, &first, &last);
	while (table_scan_getnextslot_tidrange(scan, ForwardScanDirection, table->slot))
	{
		BlockNumber block = ItemPointerGetBlockNumber(&table->slot->tts_tid);
		MemoryContext before;

		CHECK_FOR_INTERRUPTS();
		if (block != seen)
		{
			if (limit > 0 && walk->values >= limit)
			{
				next = block;
				break;
			}
			pg_atomic_fetch_add_u64(&progress->blocks_done, block - seen);
			pg_atomic_write_u64(&progress->values, walk->values);
			seen = block;
		}
		before = MemoryContextSwitchTo(table->row);
		if (!walk_row(walk, table, table->slot))
			walk_last_version(walk, table, &table->slot->tts_tid);
		MemoryContextSwitchTo(before);
		MemoryContextReset(table->row);
		if (table->estate != NULL)
			ResetPerTupleExprContext(table->estate);
	}
	table_endscan(scan);
	pg_atomic_fetch_add_u64(&progress->blocks_done,
							(next == InvalidBlockNumber ? blocks : next) - seen);
	return next;
}

PG_FUNCTION_INFO_V1(rekey_walk);

/*
 * immiiq.rekey_walk(org uuid, relation oid, from_block int8, data_key int8,
 * tag_key int8, change boolean, max_values int8) → (next_block int8, changed
 * int8, remaining int8, damaged int8).  Seals anew, from a block on, the values of org whose data key
 * is older than data_key, those with tokens when it is older than tag_key
 * (NULL: rows with tokens are left alone), until max_values are done (0: to the
 * end).  next_block is NULL at the end of the table.  With change false it
 * counts the rows that are left to do.  A table that is gone has no blocks.
 */
Datum
rekey_walk(PG_FUNCTION_ARGS)
{
	Oid relid = PG_GETARG_OID(1);
	Walk walk = {.change = PG_GETARG_BOOL(5)};
	BlockNumber next = InvalidBlockNumber;
	uint32 current;
	TupleDesc desc;
	Datum values[4];
	bool nulls[4] = {false};
	WalkTable table;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	walk.org = *PG_GETARG_UUID_P(0);
	walk.data_key = (uint32) PG_GETARG_INT64(3);
	walk.tag_key = PG_ARGISNULL(4) ? 0 : (uint32) PG_GETARG_INT64(4);
	walk.keys = keyring_data_keys(&walk.org, &current);
	if (current < walk.data_key)
		elog(ERROR, "data key " UINT64_FORMAT " is not yet there", (uint64) walk.data_key);

	LockRelationOid(relid, walk.change ? RowExclusiveLock : AccessShareLock);
	if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
	{
		Oid user;
		int security;
		int nest = NewGUCNestLevel();

		walk_open(&table, relid, walk.change);
		/* Expressions of indexes run as whose table it is. */
		GetUserIdAndSecContext(&user, &security);
		SetUserIdAndSecContext(table.rel->rd_rel->relowner,
							   security | SECURITY_RESTRICTED_OPERATION);
		next = walk_blocks(&walk, &table, (BlockNumber) PG_GETARG_INT64(2), PG_GETARG_INT64(6));
		SetUserIdAndSecContext(user, security);
		AtEOXact_GUC(false, nest);
		walk_close(&table);
	}
	else
		UnlockRelationOid(relid, walk.change ? RowExclusiveLock : AccessShareLock);

	nulls[0] = next == InvalidBlockNumber;
	values[0] = Int64GetDatum(next);
	values[1] = Int64GetDatum(walk.values);
	values[2] = Int64GetDatum(walk.left);
	values[3] = Int64GetDatum(walk.damaged);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
