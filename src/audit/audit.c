/*
 * The capability's start, its shared counters, the lock of the sealer and the
 * writing of the log's tables.  Trusts the tables' shapes of 60_audit.sql;
 * refuses to write into one that has other columns.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "catalog/index.h"
#include "catalog/indexing.h"
#include "catalog/pg_inherits.h"
#include "commands/trigger.h"
#include "common/base64.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lock.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "tcop/pquery.h"
#include "utils/datetime.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "audit/audit.h"
#include "audit/audit_internal.h"
#include "audit/tree.h"
#include "base/base.h"
#include "base/keep.h"
#include "crypto/crypto.h"
#include "keyring/keyring.h"

#define AUDIT_SLOTS                                                                                \
	256 /* databases share a slot by their OID: a false alarm costs one empty round */

/* Fields of the lock: no SQL function reaches a class above 2 of advisory locks. */
#define AUDIT_LOCK_KEY	 0x5345414c /* "SEAL" */
#define AUDIT_LOCK_CLASS 0x4951		/* "IQ" */

#define AUDIT_REST "entry_rest" /* takes the entries of months that have no partition */

typedef struct AuditShared
{
	pg_atomic_uint64 captured[AUDIT_SLOTS];
} AuditShared;

static AuditShared *audit_shared = NULL;
static bool audit_restores = false;
static TransactionId audit_marked = InvalidTransactionId; /* has left its mark of a restore */

void
audit_shmem_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(AuditShared)));
	verify_progress_shmem_request();
}

void
audit_shmem_startup(void)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	audit_shared = ShmemInitStruct("immiiq audit", sizeof(AuditShared), &found);
	if (!found)
	{
		for (int i = 0; i < AUDIT_SLOTS; i++)
			pg_atomic_init_u64(&audit_shared->captured[i], 1);
	}
	LWLockRelease(AddinShmemInitLock);
	verify_progress_shmem_startup();
}

void
audit_init(void)
{
	capture_init();
	anchor_init();
	coverage_init();
	signer_init();
	ddl_init();
	DefineCustomStringVariable("immiiq.audit_keep",
							   "How long entries of the log are kept; whole months go. Empty: for ever.",
							   NULL, &audit_keep, "7 years", PGC_SIGHUP, 0, keep_check, NULL, NULL);
}

void
audit_note_captured(void)
{
	if (audit_shared != NULL)
		pg_atomic_fetch_add_u64(&audit_shared->captured[MyDatabaseId % AUDIT_SLOTS], 1);
}

uint64
audit_captured_count(void)
{
	if (audit_shared == NULL)
		return 0;
	return pg_atomic_read_u64(&audit_shared->captured[MyDatabaseId % AUDIT_SLOTS]);
}

/* The timeline of the WAL that this server writes, or a standby replays. */
static TimeLineID
audit_timeline(void)
{
	TimeLineID timeline = 0;

	if (!RecoveryInProgress())
		return GetWALInsertionTimeLine();
	(void) GetXLogReplayRecPtr(&timeline);
	return timeline;
}

/* Names this database of this cluster on a timeline; on 0 whatever the timeline is. */
static uint32
audit_name_life(TimeLineID timeline)
{
	uint64 system = GetSystemIdentifier();
	uint8 data[32] = "immiiq/v1/incarn";
	uint8 hash[CRYPTO_HASH_BYTES];

	for (int i = 0; i < 8; i++)
		data[16 + i] = (uint8) (system >> (56 - 8 * i));
	for (int i = 0; i < 4; i++)
		data[24 + i] = (uint8) (MyDatabaseId >> (24 - 8 * i));
	for (int i = 0; i < 4; i++)
		data[28 + i] = (uint8) (timeline >> (24 - 8 * i));
	if (!crypto_sha256(data, sizeof(data), hash))
		elog(ERROR, "could not compute a hash");
	return canonical_u32(hash) & 0x7fffffff;
}

/* The names of this database's life on every timeline up to now, by number, 0 first. */
static const uint32 *
audit_lives(TimeLineID *now)
{
	static uint32 *lives = NULL;
	static TimeLineID timeline = 0;
	static Oid database = InvalidOid;

	*now = audit_timeline();
	if (database != MyDatabaseId || timeline != *now)
	{
		uint32 *names = MemoryContextAlloc(TopMemoryContext, sizeof(uint32) * ((Size) *now + 1));

		for (TimeLineID i = 0; i <= *now; i++)
			names[i] = audit_name_life(i);
		if (lives != NULL)
			pfree(lives);
		lives = names;
		timeline = *now;
		database = MyDatabaseId;
	}
	return lives;
}

uint32
audit_incarnation(void)
{
	TimeLineID now;
	const uint32 *lives = audit_lives(&now);

	return lives[now];
}

uint32
audit_lineage(void)
{
	TimeLineID now;

	return audit_lives(&now)[0];
}

const uint32 *
audit_incarnations(TimeLineID *count)
{
	return audit_lives(count) + 1;
}

bool
audit_is_own(uint32 incarnation)
{
	TimeLineID now;
	const uint32 *lives = audit_lives(&now);

	for (TimeLineID i = now; i > 0; i--)
	{
		if (lives[i] == incarnation)
			return true;
	}
	return false;
}

/* ---- the sealer's lock ---- */

static void
audit_set_lock_tag(LOCKTAG *tag)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, AUDIT_LOCK_KEY, 0, AUDIT_LOCK_CLASS);
}

bool
audit_lock_sealing(bool wait)
{
	LOCKTAG tag;

	audit_set_lock_tag(&tag);
	return LockAcquire(&tag, ExclusiveLock, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

bool
audit_session_restores(void)
{
	return audit_restores;
}

/* What a restore loads must be whole before anything is sealed on top of it. */
void
audit_hold_sealing(void)
{
	LOCKTAG tag;

	audit_set_lock_tag(&tag);
	(void) LockAcquire(&tag, ShareLock, true, false);
	audit_restores = true;
}

/* ---- partitions ---- */

DateADT
audit_month(TimestampTz at)
{
	struct pg_tm tm;
	fsec_t fsec;

	if (timestamp2tm(at, NULL, &tm, &fsec, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("timestamp out of range")));
	return date2j(tm.tm_year, tm.tm_mon, 1) - POSTGRES_EPOCH_JDATE;
}

/* The partition of a month, as immiiq.make_partitions() names it; InvalidOid when there is none. */
static Oid
audit_find_partition(DateADT month)
{
	char name[NAMEDATALEN];
	int year;
	int mon;
	int day;

	j2date(month + POSTGRES_EPOCH_JDATE, &year, &mon, &day);
	snprintf(name, sizeof(name), "entry_%04d_%02d", year, mon);
	return get_relname_relid(name, base_schema());
}

bool
audit_sealed_nothing(void)
{
	Relation rel = table_open(base_relation("seal_state"), AccessShareLock);
	TableScanDesc scan;
	bool found;

	PushActiveSnapshot(GetLatestSnapshot());
	scan = table_beginscan(rel, GetActiveSnapshot(), 0, NULL);
	found = heap_getnext(scan, ForwardScanDirection) != NULL;
	table_endscan(scan);
	PopActiveSnapshot();
	table_close(rel, AccessShareLock);
	return !found;
}

/*
 * Before a superuser's COPY restores rows of immiiq's own tables: with the keys
 * there, what other sessions of the restore do is captured, and nothing of it
 * may be sealed before the log has come back.
 */
void
audit_restore_begin(void)
{
	if (!RecoveryInProgress() && OidIsValid(base_relation_or_invalid("seal_state")) &&
		audit_sealed_nothing())
		audit_hold_sealing();
}

/* ---- writing the log's tables ---- */

void
audit_entries_open(AuditEntries *entries)
{
	List *children = find_inheritance_children(base_relation("entry"), AccessShareLock);
	ListCell *cell;

	entries->count = 0;
	entries->rels = palloc(sizeof(Relation) * Max(list_length(children), 1));
	entries->indexes = palloc(sizeof(Oid) * Max(list_length(children), 1));
	entries->months = palloc(sizeof(DateADT) * Max(list_length(children), 1));
	foreach (cell, children)
	{
		Relation rel = table_open(lfirst_oid(cell), NoLock);
		int n = entries->count++;
		int year;
		int mon;

		if (RelationGetDescr(rel)->natts != ENTRY_COLUMNS)
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("partition \"%s\" of the log has other columns than the log",
								   RelationGetRelationName(rel))));
		entries->rels[n] = rel;
		entries->indexes[n] = RelationGetPrimaryKeyIndex(rel, false);
		entries->months[n] = DATEVAL_NOEND;
		if (sscanf(RelationGetRelationName(rel), "entry_%4d_%2d", &year, &mon) == 2)
			entries->months[n] = date2j(year, mon, 1) - POSTGRES_EPOCH_JDATE;
	}
}

void
audit_entries_close(AuditEntries *entries)
{
	for (int i = 0; i < entries->count; i++)
		table_close(entries->rels[i], AccessShareLock);
}

int
audit_entries_choose(const AuditEntries *entries, DateADT month)
{
	int chosen = -1;

	for (int i = 0; i < entries->count && (chosen < 0 || entries->months[chosen] != month); i++)
	{
		if (entries->months[i] == month || entries->months[i] == DATEVAL_NOEND)
			chosen = i;
	}
	return chosen;
}

HeapTuple
audit_entries_find(const AuditEntries *entries, Snapshot snapshot, DateADT month,
				   uint32 incarnation, uint64 txid, uint32 seq)
{
	int chosen = audit_entries_choose(entries, month);
	ScanKeyData keys[3];
	SysScanDesc scan;
	HeapTuple tuple;

	if (chosen < 0)
		return NULL;
	ScanKeyInit(&keys[0], ENTRY_TXID, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum((int64) txid));
	ScanKeyInit(&keys[1], ENTRY_INCARNATION, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum((int32) incarnation));
	ScanKeyInit(&keys[2], ENTRY_SEQ, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum((int32) seq));
	scan = systable_beginscan(entries->rels[chosen], entries->indexes[chosen],
							  OidIsValid(entries->indexes[chosen]), snapshot, 3, keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		tuple = heap_copytuple(tuple);
	systable_endscan(scan);
	return tuple;
}

/* ---- writing the log's tables ---- */

static void
audit_writer_start(AuditWriter *w, Relation rel, int columns, int size)
{
	w->rel = rel;
	if (RelationGetDescr(w->rel)->natts != columns || w->rel->rd_rel->relkind != RELKIND_RELATION)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table immiiq.%s has not the columns that this version of immiiq writes",
						RelationGetRelationName(rel)),
				 errhint("Run ALTER EXTENSION immiiq UPDATE.")));
	w->memory = CurrentMemoryContext;
	w->indexes = CatalogOpenIndexes(w->rel);
	w->estate = NULL;
	for (int n = 0; n < w->indexes->ri_NumIndices; n++)
	{
		IndexInfo *info = w->indexes->ri_IndexRelationInfo[n];

		if (info->ii_Predicate == NIL)
			continue;
		if (w->estate == NULL)
			w->estate = CreateExecutorState();
		info->ii_PredicateState = ExecPrepareQual(info->ii_Predicate, w->estate);
	}
	w->slots = palloc0(sizeof(TupleTableSlot *) * size);
	w->used = 0;
	w->size = size;
	w->options = 0;
}

void
audit_writer_open(AuditWriter *w, const char *relname, int columns, int size)
{
	audit_writer_start(w, table_open(base_relation(relname), RowExclusiveLock), columns, size);
}

void
audit_writer_open_entries(AuditWriter *w, DateADT month, int size)
{
	Relation rel;
	Oid partition = audit_find_partition(month);

	rel =
		table_open(OidIsValid(partition) ? partition : base_relation(AUDIT_REST), RowExclusiveLock);
	if (!OidIsValid(partition) && OidIsValid(partition = audit_find_partition(month)))
	{
		/* made while this waited; as long as the lock on the rest is held, none can be */
		table_close(rel, RowExclusiveLock);
		rel = table_open(partition, RowExclusiveLock);
	}
	audit_writer_start(w, rel, ENTRY_COLUMNS, size);
	w->options = TABLE_INSERT_SKIP_FSM; /* nothing is ever freed there */
}

void
audit_writer_add(AuditWriter *w, Datum *values, bool *nulls)
{
	HeapTuple tuple = heap_form_tuple(RelationGetDescr(w->rel), values, nulls);

	if (w->slots[w->used] == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(w->memory);

		w->slots[w->used] = MakeSingleTupleTableSlot(RelationGetDescr(w->rel), &TTSOpsHeapTuple);
		MemoryContextSwitchTo(old);
	}
	tuple->t_tableOid = RelationGetRelid(w->rel);
	ExecStoreHeapTuple(tuple, w->slots[w->used], true);
	w->slots[w->used]->tts_tableOid = tuple->t_tableOid;
	if (++w->used == w->size)
		audit_writer_flush(w);
}

void
audit_writer_flush(AuditWriter *w)
{
	if (w->used == 0)
		return;
	heap_multi_insert(w->rel, w->slots, w->used, GetCurrentCommandId(true), w->options, NULL);
	/* one index after the other: its upper pages, and where equal keys go, stay in the cache */
	for (int n = 0; n < w->indexes->ri_NumIndices; n++)
	{
		Relation index = w->indexes->ri_IndexRelationDescs[n];
		IndexInfo *info = w->indexes->ri_IndexRelationInfo[n];

		if (!info->ii_ReadyForInserts)
			continue;
		if (info->ii_Expressions != NIL)
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("an index on immiiq.%s has an expression",
								   RelationGetRelationName(w->rel))));
		for (int i = 0; i < w->used; i++)
		{
			Datum values[INDEX_MAX_KEYS];
			bool nulls[INDEX_MAX_KEYS];

			if (info->ii_Predicate != NIL)
			{
				ExprContext *context = GetPerTupleExprContext(w->estate);

				context->ecxt_scantuple = w->slots[i];
				if (!ExecQual(info->ii_PredicateState, context))
					continue;
			}
			FormIndexDatum(info, w->slots[i], NULL, values, nulls);
			index_insert(index, values, nulls, &w->slots[i]->tts_tid, w->rel,
						 index->rd_index->indisunique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO, false,
						 info);
		}
	}
	for (int i = 0; i < w->used; i++)
		ExecClearTuple(w->slots[i]);
	w->used = 0;
}

void
audit_writer_close(AuditWriter *w)
{
	audit_writer_flush(w);
	for (int i = 0; i < w->size && w->slots[i] != NULL; i++)
		ExecDropSingleTupleTableSlot(w->slots[i]);
	pfree(w->slots);
	CatalogCloseIndexes(w->indexes);
	if (w->estate != NULL)
		FreeExecutorState(w->estate);
	table_close(w->rel, NoLock);
}

/* ---- reading the log's tables, and the signed text ---- */

void
audit_copy_hash(HeapTuple tuple, TupleDesc desc, AttrNumber column, uint8 *out)
{
	bool isnull;
	Datum value = heap_getattr(tuple, column, desc, &isnull);
	bytea *bytes;

	memset(out, 0, CRYPTO_HASH_BYTES);
	if (isnull)
		return;
	bytes = DatumGetByteaPP(value);
	if (VARSIZE_ANY_EXHDR(bytes) == CRYPTO_HASH_BYTES)
		memcpy(out, VARDATA_ANY(bytes), CRYPTO_HASH_BYTES);
}

void
audit_batch_leaf(HeapTuple tuple, TupleDesc desc, uint8 *leaf)
{
	CanonicalBatch batch;
	uint8 bytes[CANONICAL_BATCH_BYTES];
	bool isnull;

	memset(&batch, 0, sizeof(batch));
	batch.batch_no = (uint64) DatumGetInt64(heap_getattr(tuple, BATCH_NO, desc, &isnull));
	batch.first = (uint64) DatumGetInt64(heap_getattr(tuple, BATCH_FIRST, desc, &isnull));
	batch.last = (uint64) DatumGetInt64(heap_getattr(tuple, BATCH_LAST, desc, &isnull));
	batch.at = DatumGetTimestampTz(heap_getattr(tuple, BATCH_AT, desc, &isnull));
	memcpy(batch.org, DatumGetUUIDP(heap_getattr(tuple, BATCH_ORG, desc, &isnull))->data, UUID_LEN);
	audit_copy_hash(tuple, desc, BATCH_ORG_ROOT, batch.org_root);
	audit_copy_hash(tuple, desc, BATCH_PREVIOUS, batch.previous);
	canonical_write_batch(&batch, bytes);
	if (!tree_leaf_hash(bytes, sizeof(bytes), leaf))
		elog(ERROR, "could not compute a hash");
}

char *
audit_checkpoint_body(const char *origin, uint64 size, const uint8 *root)
{
	char base64[64];
	int len;

	len = pg_b64_encode(root, CRYPTO_HASH_BYTES, base64, sizeof(base64) - 1);
	if (len < 0)
		elog(ERROR, "could not encode a root");
	base64[len] = '\0';
	return psprintf("%s\n" UINT64_FORMAT "\n%s\n", origin, size, base64);
}

uint32
audit_key_hash(const char *origin, const uint8 *public_key)
{
	static const uint8 ed25519[2] = {'\n', 0x01};
	uint8 hash[CRYPTO_HASH_BYTES];

	if (!crypto_sha256_3(origin, strlen(origin), ed25519, sizeof(ed25519), public_key,
						 CRYPTO_PUB_BYTES, hash))
		elog(ERROR, "could not compute a hash");
	return canonical_u32(hash);
}

/* ---- keyed tags ---- */

void
audit_tag(const pg_uuid_t *org, AuditTag kind, const void *data, Size len,
		  uint8 out[CANONICAL_TAG_BYTES])
{
	uint8 inner[1 + CRYPTO_HASH_BYTES];
	uint8 hash[CRYPTO_HASH_BYTES];

	inner[0] = (uint8) kind;
	if (!crypto_sha256(data, len, inner + 1) ||
		!crypto_hmac(keyring_audit_tag_key(org), inner, sizeof(inner), hash))
		elog(ERROR, "could not compute a hash");
	memcpy(out, hash, CANONICAL_TAG_BYTES);
	crypto_wipe(inner, sizeof(inner));
}

/* ---- the guard of the log's tables ---- */

/* Leaves the mark that makes the next sealing round look for entries without a leaf. */
static void
audit_mark_restored(void)
{
	AuditWriter w;
	Datum values[2];
	bool nulls[2] = {false, false};

	audit_writer_open(&w, "restored", 2, 1);
	values[0] = Int64GetDatum((int64) U64FromFullTransactionId(GetTopFullTransactionId()));
	values[1] = TimestampTzGetDatum(GetCurrentTimestamp());
	audit_writer_add(&w, values, nulls);
	audit_writer_close(&w);
	audit_note_captured();
}

PG_FUNCTION_INFO_V1(immiiq_guard_log);

/*
 * immiiq.guard_log(): BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE, per
 * statement, and per row of the partitions of immiiq.entry, which a restore
 * makes before their triggers per statement.  Refuses with IQ040, whoever it is; only COPY FROM by a superuser
 * passes, so that a dump can be restored, into tables whose trigger has no
 * argument.  Rows loaded so are sealed as they are once the session has ended.
 */
Datum
immiiq_guard_log(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigdata->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("immiiq.guard_log can only be a trigger before a change")));
	if (audit_pruning && !TRIGGER_FIRED_BY_TRUNCATE(trigdata->tg_event))
	{
		if (!TRIGGER_FIRED_FOR_ROW(trigdata->tg_event))
			return PointerGetDatum(NULL);
		return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event) ? trigdata->tg_newtuple
																		   : trigdata->tg_trigtuple);
	}
	if (TRIGGER_FIRED_BY_INSERT(trigdata->tg_event) && trigdata->tg_trigger->tgnargs == 0 &&
		superuser() && ActivePortal != NULL && ActivePortal->commandTag == CMDTAG_COPY)
	{
		bool row = TRIGGER_FIRED_FOR_ROW(trigdata->tg_event);

		base_require_preload();
		if (!row || audit_marked != GetTopTransactionIdIfAny() ||
			!TransactionIdIsValid(audit_marked))
		{
			audit_hold_sealing();
			audit_mark_restored();
			audit_marked = GetTopTransactionId();
		}
		return PointerGetDatum(row ? trigdata->tg_trigtuple : NULL);
	}
	ereport(ERROR, (errcode(ERRCODE_IMMIIQ_APPEND_ONLY),
					errmsg("rows of immiiq.%s are never changed",
						   RelationGetRelationName(trigdata->tg_relation))));
}
