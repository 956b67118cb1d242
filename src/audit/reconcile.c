/*
 * Rows held against the log: a live row must be what its last entry says, and a
 * row whose last entry is no deletion must be there.  What was changed, put in or
 * taken out past the triggers shows.  Trusts the log, which verify.c judges, and
 * nothing in the rows.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_policy.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplesort.h"
#include "utils/typcache.h"

#include "audit/audit_internal.h"
#include "audit/verify.h"
#include "base/base.h"
#include "keyring/keyring.h"

/* What names a row within the log. */
typedef struct RowName
{
	pg_uuid_t org;
	int64 tag;
} RowName;

/* Where an entry stands. */
typedef struct RowEntry
{
	RowName name;
	int64 position; /* 0 while it waits for its seal */
	int64 at;
	uint32 incarnation;
	uint64 txid;
	uint32 seq;
	DateADT month;
} RowEntry;

/* A table that is captured, and the partition of one. */
typedef struct RowTable
{
	Oid relid;
	char *name;
	TransactionId protected_by; /* the transaction that made its policies; invalid when it has none */
} RowTable;

/* The columns of the sort. */
enum
{
	ROW_ORG = 1,
	ROW_TAG,
	ROW_TABLE,
	ROW_TID,
	ROW_HASH
};

typedef struct Reconcile
{
	VerifyRun *run;
	Snapshot snapshot;
	HTAB *tables;	  /* RowTable by relid */
	HTAB *waiting;	  /* RowEntry by name: the last one that waits for its seal */
	HTAB *gone;		  /* RowEntry by name: the row should be there */
	StringInfo names; /* of captured tables: schema, table, each ended by a zero byte */
	MemoryContext row;
} Reconcile;

/* ---- a row ---- */

typedef struct RowImage
{
	Relation rel;
	TupleTableSlot *slot;
	pg_uuid_t org;
	uint64 tag;
	const uint8 *image;
	size_t len;
} RowImage;

static void
reconcile_make_image(void *arg)
{
	RowImage *row = arg;

	audit_row_image(row->rel, row->slot, &row->org, &row->tag, &row->image, &row->len);
}

/* Bytes of an image that are its new columns with their number; 0 when it is malformed. */
static size_t
reconcile_new_part(const uint8 *image, size_t len)
{
	size_t pos = 0;
	uint32 count;
	CanonicalColumn column;

	if (!canonical_get_length(image, len, &pos, &count))
		return 0;
	while (count-- > 0)
	{
		if (!canonical_get_column(image, len, &pos, &column))
			return 0;
	}
	return pos;
}

/* True for text that is a uuid. */
static bool
reconcile_is_uuid(const CanonicalColumn *column)
{
	return column->value_len == 36 && strspn(column->value, "0123456789abcdef-") >= 36;
}

/*
 * The key of a row, for a message: numbers and uuids alone are shown, since
 * whoever verifies need not be somebody who may read rows.
 */
static char *
reconcile_key(const uint8 *image, size_t len)
{
	StringInfoData text;
	size_t pos = 0;
	uint32 count = 0;
	CanonicalColumn column;

	initStringInfo(&text);
	/* of a deletion the old columns are all there is */
	if (canonical_get_length(image, len, &pos, &count) && count == 0)
		(void) canonical_get_length(image, len, &pos, &count);
	while (count-- > 0 && canonical_get_column(image, len, &pos, &column))
	{
		if ((column.flags & CANONICAL_C_KEY) == 0)
			continue;
		appendStringInfo(&text, "%s%.*s ", text.len > 0 ? ", " : "", (int) column.name_len,
						 column.name);
		if (column.value != NULL && (column.flags & CANONICAL_C_SEALED) == 0 &&
			(((column.flags >> CANONICAL_C_KIND_SHIFT) & 3) == CANONICAL_KIND_NUMBER ||
			 reconcile_is_uuid(&column)))
			appendBinaryStringInfo(&text, column.value, column.value_len);
		else
			appendStringInfoString(&text, "(not shown)");
	}
	return text.data;
}

/* Names of columns whose values differ, NULL when none does; columns that only one of the images has are younger, or gone. */
static char *
reconcile_differences(const uint8 *live, size_t live_len, const uint8 *last, size_t last_len)
{
	StringInfoData text;
	size_t live_pos = 0;
	uint32 live_count = 0;
	CanonicalColumn a;

	initStringInfo(&text);
	(void) canonical_get_length(live, live_len, &live_pos, &live_count);
	while (live_count-- > 0 && canonical_get_column(live, live_len, &live_pos, &a))
	{
		size_t last_pos = 0;
		uint32 last_count = 0;
		CanonicalColumn b;

		(void) canonical_get_length(last, last_len, &last_pos, &last_count);
		while (last_count-- > 0 && canonical_get_column(last, last_len, &last_pos, &b))
		{
			if (a.name_len != b.name_len || memcmp(a.name, b.name, a.name_len) != 0)
				continue;
			if ((a.flags & CANONICAL_C_HASHED) != (b.flags & CANONICAL_C_HASHED))
				continue; /* a rule came or went */
			if ((a.value == NULL) != (b.value == NULL) ||
				(a.value != NULL &&
				 (a.value_len != b.value_len || memcmp(a.value, b.value, a.value_len) != 0)))
				appendStringInfo(&text, "%s%.*s", text.len > 0 ? ", " : "", (int) a.name_len,
								 a.name);
		}
	}
	return text.len > 0 ? text.data : NULL;
}

/* ---- live rows ---- */

/* The tables that are captured. Partitions stand for themselves. */
static void
reconcile_list_tables(Reconcile *work)
{
	MemoryContext memory = CurrentMemoryContext;

	SPI_connect();
	if (SPI_execute("SELECT DISTINCT c.oid, n.nspname::text, c.relname::text, "
					"(SELECT p.xmin FROM pg_catalog.pg_policy p "
					"WHERE p.polrelid OPERATOR(pg_catalog.=) "
					"COALESCE(pg_catalog.pg_partition_root(c.oid)::pg_catalog.oid, c.oid) "
					"ORDER BY pg_catalog.age(p.xmin) DESC LIMIT 1) "
					"FROM pg_catalog.pg_trigger t "
					"JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.tgrelid "
					"JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace "
					"WHERE t.tgfoid OPERATOR(pg_catalog.=) 'immiiq.capture()'::pg_catalog.regprocedure",
					true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not list the tables that are captured");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple tuple = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		MemoryContext old = MemoryContextSwitchTo(memory);
		bool isnull;
		Oid relid = DatumGetObjectId(heap_getattr(tuple, 1, desc, &isnull));
		char *schema = TextDatumGetCString(heap_getattr(tuple, 2, desc, &isnull));
		char *table = TextDatumGetCString(heap_getattr(tuple, 3, desc, &isnull));
		Datum made = heap_getattr(tuple, 4, desc, &isnull);
		RowTable *known = hash_search(work->tables, &relid, HASH_ENTER, NULL);

		known->name = psprintf("%s.%s", schema, table);
		known->protected_by = isnull ? InvalidTransactionId : DatumGetTransactionId(made);
		appendBinaryStringInfo(work->names, schema, strlen(schema) + 1);
		appendBinaryStringInfo(work->names, table, strlen(table) + 1);
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
}

/*
 * Says which protected tables are not captured as protect() has it: the trigger is
 * gone, off, conditional or calls something else, or the function is not ours.
 */
static void
reconcile_check_triggers(VerifyRun *run)
{
	MemoryContext memory = CurrentMemoryContext;

	SPI_connect();
	if (SPI_execute("SELECT pg_catalog.format('%s.%s', n.nspname, c.relname), "
					"CASE WHEN t.oid IS NULL THEN 'its trigger is gone' "
					"WHEN t.tgenabled OPERATOR(pg_catalog.<>) 'A' THEN 'its trigger is off, or not ALWAYS' "
					"WHEN t.tgfoid OPERATOR(pg_catalog.<>) 'immiiq.capture()'::pg_catalog.regprocedure "
					"THEN 'its trigger calls another function' "
					"WHEN t.tgqual IS NOT NULL OR t.tgattr::text OPERATOR(pg_catalog.<>) '' "
					"OR (t.tgtype::int4 OPERATOR(pg_catalog.&) 127) OPERATOR(pg_catalog.<>) 29 "
					"THEN 'its trigger does not fire for every change' END "
					"FROM (SELECT DISTINCT p.polrelid AS oid FROM pg_catalog.pg_policy p "
					"WHERE p.polname OPERATOR(pg_catalog.=) 'immiiq_select' "
					"UNION SELECT g.tgrelid FROM pg_catalog.pg_trigger g "
					"WHERE g.tgname OPERATOR(pg_catalog.=) '" CAPTURE_TRIGGER "') x "
					"JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) x.oid "
					"JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace "
					"LEFT JOIN pg_catalog.pg_trigger t ON t.tgrelid OPERATOR(pg_catalog.=) x.oid "
					"AND t.tgname OPERATOR(pg_catalog.=) '" CAPTURE_TRIGGER "' "
					"UNION ALL SELECT 'immiiq.capture()', 'the function is not the one that captures' "
					"FROM pg_catalog.pg_proc f WHERE f.oid OPERATOR(pg_catalog.=) "
					"'immiiq.capture()'::pg_catalog.regprocedure AND "
					"(f.prosrc OPERATOR(pg_catalog.<>) 'immiiq_capture' "
					"OR f.probin OPERATOR(pg_catalog.!~) '(^|/)immiiq$' "
					"OR f.prolang OPERATOR(pg_catalog.<>) "
					"(SELECT l.oid FROM pg_catalog.pg_language l WHERE l.lanname "
					"OPERATOR(pg_catalog.=) 'c')) ORDER BY 1",
					true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look at the triggers that capture");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		char *what = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2);
		MemoryContext old = MemoryContextSwitchTo(memory);

		if (what != NULL)
			verify_report(run, "error", NULL, 0, "capture of %s: %s",
						  SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1), what);
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
}

/* Says when triggers were off, or may have been, by what the worker has recorded of them. */
static void
reconcile_check_coverage(VerifyRun *run)
{
	MemoryContext memory = CurrentMemoryContext;

	SPI_connect();
	if (SPI_execute("SELECT g.name, g.what, g.since, g.until FROM immiiq.coverage_gaps() AS g",
					true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not ask when capture was off");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple tuple = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		MemoryContext old = MemoryContextSwitchTo(memory);
		char *until = SPI_getvalue(tuple, desc, 4);

		verify_report(run, "warning", NULL, 0, "triggers of %s were %s between %s and %s%s",
					  SPI_getvalue(tuple, desc, 1), SPI_getvalue(tuple, desc, 2),
					  SPI_getvalue(tuple, desc, 3), until != NULL ? until : "now",
					  strcmp(SPI_getvalue(tuple, desc, 2), "changed") == 0
						  ? ": they may have been off meanwhile"
						  : "");
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
}

static bool
reconcile_is_captured(const Reconcile *work, const CanonicalEntry *entry)
{
	const char *p = work->names->data;

	while (p < work->names->data + work->names->len)
	{
		const char *table = p + strlen(p) + 1;

		if (strlen(p) == entry->schema_len && memcmp(p, entry->schema, entry->schema_len) == 0 &&
			strlen(table) == entry->table_len && memcmp(table, entry->table, entry->table_len) == 0)
			return true;
		p = table + strlen(table) + 1;
	}
	return false;
}

/* Puts every row of a table into the sort. */
static void
reconcile_scan(Reconcile *work, RowTable *table, Tuplesortstate *sort, TupleTableSlot *out)
{
	VerifyRun *run = work->run;
	Relation rel = table_open(table->relid, AccessShareLock);
	TupleTableSlot *slot;
	TableScanDesc scan;
	uint64 without_keys = 0;

	if (rel->rd_rel->relkind != RELKIND_RELATION)
	{
		table_close(rel, AccessShareLock);
		return;
	}
	slot = table_slot_create(rel, NULL);
	scan = table_beginscan(rel, run->snapshot, 0, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		RowImage row = {.rel = rel, .slot = slot};
		MemoryContext old = MemoryContextSwitchTo(work->row);
		int code;

		CHECK_FOR_INTERRUPTS();
		code = verify_try(reconcile_make_image, &row);
		MemoryContextSwitchTo(old);
		if (code == ERRCODE_IMMIIQ_ROOT_KEY || code == ERRCODE_IMMIIQ_KEY)
			without_keys++;
		else if (code != 0)
			verify_report(run, "error", NULL, 0,
						  "row of %s at (%u,%u) is not as it can be stored: it was put in past the "
						  "triggers",
						  table->name, ItemPointerGetBlockNumber(&slot->tts_tid),
						  ItemPointerGetOffsetNumber(&slot->tts_tid));
		else if (run->shared->all || base_uuid_equal(&row.org, &run->shared->org))
		{
			ExecClearTuple(out);
			memset(out->tts_isnull, 0, sizeof(bool) * ROW_HASH);
			out->tts_values[ROW_ORG - 1] = UUIDPGetDatum(&row.org);
			out->tts_values[ROW_TAG - 1] = Int64GetDatum((int64) row.tag);
			out->tts_values[ROW_TABLE - 1] = ObjectIdGetDatum(table->relid);
			out->tts_values[ROW_TID - 1] = PointerGetDatum(&slot->tts_tid);
			out->tts_values[ROW_HASH - 1] =
				Int64GetDatum((int64) crypto_short_hash(run->shared->key, row.image,
														reconcile_new_part(row.image, row.len)));
			ExecStoreVirtualTuple(out);
			tuplesort_puttupleslot(sort, out);
		}
		audit_forget_row_image();
		MemoryContextReset(work->row);
	}
	if (without_keys > 0)
		verify_report(run, "warning", NULL, 0,
					  UINT64_FORMAT " rows of %s could not be compared: the keys of their "
									"organisation cannot be had",
					  without_keys, table->name);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, AccessShareLock);
}

/* A live row that has no entry: older than its table's protection, or put in past the triggers. */
static void
reconcile_without_entry(Reconcile *work, const RowTable *table, const RowImage *row,
						TupleTableSlot *slot)
{
	bool isnull;
	TransactionId xmin =
		DatumGetTransactionId(slot_getsysattr(slot, MinTransactionIdAttributeNumber, &isnull));
	char *key = reconcile_key(row->image, row->len);

	if (TransactionIdIsNormal(xmin) && TransactionIdIsNormal(table->protected_by) &&
		TransactionIdPrecedes(xmin, table->protected_by))
		return; /* from before */
	if (verify_may_be_pruned(work->run, &row->org, xmin))
		return;
	verify_report(work->run, TransactionIdIsValid(table->protected_by) ? "error" : "warning",
				  &row->org, 0, "row of %s with %s has no entry: it was put in past the triggers",
				  table->name, key);
}

/* ---- entries ---- */

/* The first entry of a batch and its last one: whether two positions were sealed in one round. */
static bool
reconcile_same_batch(VerifyRun *run, const pg_uuid_t *org, int64 a, int64 b)
{
	int64 ends[2] = {0, 0};
	int64 positions[2] = {a, b};

	for (int i = 0; i < 2; i++)
	{
		ScanKeyData keys[2];

		ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(org));
		ScanKeyInit(&keys[1], 2, BTGreaterEqualStrategyNumber, F_INT8GE,
					Int64GetDatum(positions[i]));
		index_rescan(run->batch_scan, keys, 2, NULL, 0);
		if (index_getnext_slot(run->batch_scan, ForwardScanDirection, run->batch_slot))
		{
			slot_getallattrs(run->batch_slot);
			ends[i] = DatumGetInt64(run->batch_slot->tts_values[BATCH_LAST - 1]);
		}
	}
	return ends[0] == ends[1];
}

/* Notes the last entry of each row among those that wait for their seal. */
static void
reconcile_read_waiting(Reconcile *work)
{
	VerifyRun *run = work->run;

	for (int i = 0; i < run->entries.count; i++)
	{
		TupleTableSlot *slot = table_slot_create(run->entries.rels[i], NULL);
		Oid index = run->entries.indexes[i];
		SysScanDesc scan;
		ScanKeyData key;
		HeapTuple tuple;
		uint64 from = run->horizon;

		for (int n = 0; n < run->open_count; n++)
			from = Min(from, run->open[n]);
		ScanKeyInit(&key, ENTRY_TXID, BTGreaterEqualStrategyNumber, F_INT8GE,
					Int64GetDatum((int64) from));
		scan = systable_beginscan(run->entries.rels[i], index, OidIsValid(index), run->snapshot, 1,
								  &key);
		while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		{
			VerifyEntry row;
			CanonicalEntry entry;
			RowName name;
			RowEntry *known;
			bool found;

			ExecForceStoreHeapTuple(tuple, slot, false);
			verify_read_entry(slot, &row);
			if (!verify_is_pending(run, row.txid, row.incarnation) || row.body == NULL ||
				!canonical_parse_entry(row.body, row.len, &entry))
				continue;
			verify_note_drop(run, row.body, &entry, 0);
			memset(&name, 0, sizeof(name));
			name.org = row.org;
			name.tag = (int64) entry.row;
			known = hash_search(work->waiting, &name, HASH_ENTER, &found);
			if (found && known->at > row.at)
				continue;
			known->position = 0;
			known->at = row.at;
			known->incarnation = row.incarnation;
			known->txid = row.txid;
			known->seq = row.seq;
			known->month = row.month;
		}
		systable_endscan(scan);
		ExecDropSingleTupleTableSlot(slot);
	}
}

/* Opens the image of an entry; NULL when its key is gone or it does not open, which verify.c says. */
typedef struct RowOpen
{
	const VerifyEntry *row;
	const CanonicalEntry *entry;
	bool former;
	uint8 *plain;
	size_t len;
} RowOpen;

static void
reconcile_open(void *arg)
{
	RowOpen *open = arg;

	open->plain = audit_open_image(open->row->body, open->entry, open->former, &open->len, NULL);
}

/* True for the last entry of a row whose table was dropped after it. */
static bool
reconcile_is_dropped(Reconcile *work, const CanonicalEntry *entry, const RowEntry *last)
{
	VerifyDrop *drop = verify_dropped(work->run, entry, last->position);

	if (drop != NULL && entry->operation < CANONICAL_DELETE)
		verify_count_dropped(drop);
	return drop != NULL;
}

/* Holds a live row against its last entry. */
static void
reconcile_compare(Reconcile *work, const RowEntry *last, TupleTableSlot *sorted)
{
	VerifyRun *run = work->run;
	Oid relid = DatumGetObjectId(sorted->tts_values[ROW_TABLE - 1]);
	const RowTable *table = hash_search(work->tables, &relid, HASH_FIND, NULL);
	uint64 hash = (uint64) DatumGetInt64(sorted->tts_values[ROW_HASH - 1]);
	VerifyEntry row;
	CanonicalEntry entry;
	RowOpen open = {.row = &row, .entry = &entry};
	RowImage live;
	size_t part = 0;
	char *differences;

	if (last != NULL)
	{
		/* a missing or malformed entry is said by the verification of the log */
		if (!verify_find_entry(run, false, last->month, last->incarnation, last->txid, last->seq,
							   &row) ||
			row.body == NULL || !canonical_parse_entry(row.body, row.len, &entry))
			return;
		if (reconcile_is_dropped(work, &entry, last))
			last = NULL;
		else if (entry.operation != CANONICAL_DELETE)
		{
			if (verify_try(reconcile_open, &open) != 0 || open.plain == NULL ||
				(part = reconcile_new_part(open.plain, open.len)) == 0 ||
				crypto_short_hash(run->shared->key, open.plain, part) == hash)
				return;
		}
	}
	memset(&live, 0, sizeof(live));
	live.rel = table_open(relid, AccessShareLock);
	live.slot = table_slot_create(live.rel, NULL);
	if (table_tuple_fetch_row_version(live.rel,
									  (ItemPointer) DatumGetPointer(sorted->tts_values[ROW_TID - 1]),
									  run->snapshot, live.slot) &&
		verify_try(reconcile_make_image, &live) == 0)
	{
		if (last == NULL)
			reconcile_without_entry(work, table, &live, live.slot);
		else if (entry.operation == CANONICAL_DELETE)
			verify_report(run, "error", &live.org, last->position,
						  "row of %s with %s is there, though its last entry is its deletion",
						  table->name, reconcile_key(live.image, live.len));
		else if ((differences =
					  reconcile_differences(live.image, reconcile_new_part(live.image, live.len),
											open.plain, part)) != NULL)
			verify_report(run, "error", &live.org, last->position,
						  "row of %s with %s is not as its last entry has it: %s", table->name,
						  reconcile_key(live.image, live.len), differences);
		audit_forget_row_image();
	}
	ExecDropSingleTupleTableSlot(live.slot);
	table_close(live.rel, AccessShareLock);
	if (open.plain != NULL)
		crypto_wipe(open.plain, open.len);
}

/* A row that has entries and is not there: its last one must be its deletion. */
static void
reconcile_absent(Reconcile *work, const RowEntry *last)
{
	VerifyEntry row;
	CanonicalEntry entry;

	if (!verify_find_entry(work->run, false, last->month, last->incarnation, last->txid, last->seq,
						   &row) ||
		row.body == NULL || !canonical_parse_entry(row.body, row.len, &entry) ||
		entry.operation >= CANONICAL_DELETE || reconcile_is_dropped(work, &entry, last) ||
		!reconcile_is_captured(work, &entry))
		return;
	*(RowEntry *) hash_search(work->gone, &last->name, HASH_ENTER, NULL) = *last;
}

static void *
reconcile_grow(void *old, size_t size)
{
	return old == NULL ? palloc(size) : repalloc(old, size);
}

/* Takes from the rows that are gone those whose key an update has changed. */
static void
reconcile_follow_keys(Reconcile *work, const VerifyEntry *row)
{
	CanonicalEntry entry;
	RowOpen open = {.row = row, .entry = &entry};
	RowOpen former = {.row = row, .entry = &entry, .former = true};
	RowOpen *old = &open; /* where the old columns are */
	CanonicalBuffer name = {.grow = reconcile_grow};
	CanonicalColumn column;
	size_t pos = 0;
	size_t old_pos;
	uint32 count;
	uint32 old_count;
	bool moved = false;
	RowName key;
	uint8 tag[CANONICAL_TAG_BYTES];

	if (row->body == NULL || !canonical_parse_entry(row->body, row->len, &entry) ||
		entry.operation != CANONICAL_UPDATE || verify_try(reconcile_open, &open) != 0 ||
		open.plain == NULL || (old_pos = reconcile_new_part(open.plain, open.len)) == 0)
		return;
	if (entry.former != NULL)
	{
		old = &former;
		if (verify_try(reconcile_open, old) != 0 || old->plain == NULL ||
			(old_pos = reconcile_new_part(old->plain, old->len)) == 0)
			return;
	}
	canonical_put_length(&name, entry.schema_len);
	canonical_put(&name, entry.schema, entry.schema_len);
	canonical_put_length(&name, entry.table_len);
	canonical_put(&name, entry.table, entry.table_len);
	if (!canonical_get_length(old->plain, old->len, &old_pos, &old_count) ||
		!canonical_get_length(open.plain, open.len, &pos, &count))
		return;
	for (; count > 0; count--)
	{
		const uint8 *column_of = open.plain;
		size_t start = pos;
		size_t end;
		size_t at = old_pos;

		if (!canonical_get_column(open.plain, open.len, &pos, &column))
			return;
		if ((column.flags & CANONICAL_C_KEY) == 0)
			continue;
		end = pos;
		for (uint32 n = 0; n < old_count; n++)
		{
			CanonicalColumn before;
			size_t from = at;

			if (!canonical_get_column(old->plain, old->len, &at, &before))
				return;
			if (before.name_len == column.name_len &&
				memcmp(before.name, column.name, column.name_len) == 0)
			{
				column_of = old->plain;
				start = from;
				end = at;
				moved = true;
			}
		}
		canonical_put(&name, column_of + start, end - start);
	}
	if (moved)
	{
		memset(&key, 0, sizeof(key));
		memcpy(key.org.data, entry.org, UUID_LEN);
		audit_tag(&key.org, AUDIT_TAG_ROW, name.data, name.len, tag);
		key.tag = (int64) canonical_u64(tag);
		hash_search(work->gone, &key, HASH_REMOVE, NULL);
	}
	crypto_wipe(open.plain, open.len);
	if (old != &open)
		crypto_wipe(old->plain, old->len);
	crypto_wipe(name.data, name.len);
}

/* Says which rows are gone, once it is known that no update has given them another key. */
static void
reconcile_report_gone(Reconcile *work)
{
	VerifyRun *run = work->run;
	HASH_SEQ_STATUS all;
	RowEntry *last;

	for (int i = 0; i < run->entries.count && hash_get_num_entries(work->gone) > 0; i++)
	{
		TupleTableSlot *slot = table_slot_create(run->entries.rels[i], NULL);
		TableScanDesc scan = table_beginscan(run->entries.rels[i], run->snapshot, 0, NULL);

		while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
		{
			MemoryContext old = MemoryContextSwitchTo(work->row);
			VerifyEntry row;

			CHECK_FOR_INTERRUPTS();
			verify_read_entry(slot, &row);
			if (run->shared->all || base_uuid_equal(&row.org, &run->shared->org))
				reconcile_follow_keys(work, &row);
			MemoryContextSwitchTo(old);
			MemoryContextReset(work->row);
		}
		table_endscan(scan);
		ExecDropSingleTupleTableSlot(slot);
	}
	hash_seq_init(&all, work->gone);
	while ((last = hash_seq_search(&all)) != NULL)
	{
		VerifyEntry row;
		CanonicalEntry entry;
		RowOpen open = {.row = &row, .entry = &entry};

		if (!verify_find_entry(run, false, last->month, last->incarnation, last->txid, last->seq,
							   &row) ||
			!canonical_parse_entry(row.body, row.len, &entry))
			continue;
		if (verify_try(reconcile_open, &open) != 0)
			continue; /* without its organisation's keys the row could not be looked at either, which has been said */
		if (open.plain == NULL)
			verify_report(run, "warning", &last->name.org, last->position,
						  "row of %.*s.%.*s is gone without an entry, and so is its key: it may "
						  "have been erased",
						  (int) entry.schema_len, entry.schema, (int) entry.table_len, entry.table);
		else
		{
			verify_report(run, "error", &last->name.org, last->position,
						  "row of %.*s.%.*s with %s is gone without an entry: it was taken out past "
						  "the triggers",
						  (int) entry.schema_len, entry.schema, (int) entry.table_len, entry.table,
						  reconcile_key(open.plain, open.len));
			crypto_wipe(open.plain, open.len);
		}
	}
}

/* ---- both, side by side ---- */

static HTAB *
reconcile_table(const char *name, Size key, Size entry)
{
	HASHCTL ctl;

	memset(&ctl, 0, sizeof(ctl));
	ctl.keysize = key;
	ctl.entrysize = entry;
	ctl.hcxt = CurrentMemoryContext;
	return hash_create(name, 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static int
reconcile_order(const RowName *a, const RowName *b)
{
	if (a->tag != b->tag)
		return a->tag < b->tag ? -1 : 1;
	return memcmp(a->org.data, b->org.data, UUID_LEN);
}

/* True when a leaf of the same row tells of a later change than another: leaves of one row come in any order. */
static bool
reconcile_is_later(VerifyRun *run, const RowEntry *known, const RowEntry *leaf)
{
	if (leaf->position > known->position)
		return leaf->at >= known->at ||
			   !reconcile_same_batch(run, &leaf->name.org, known->position, leaf->position);
	return leaf->at > known->at &&
		   reconcile_same_batch(run, &leaf->name.org, known->position, leaf->position);
}

/* The last leaf of each row of one tag: of one row, unless rows of two organisations share it. */
typedef struct RowLeaves
{
	RowEntry *rows;
	int count;
	int size;
	int next;
} RowLeaves;

static int
reconcile_compare_leaves(const void *a, const void *b)
{
	return reconcile_order(&((const RowEntry *) a)->name, &((const RowEntry *) b)->name);
}

static void
reconcile_add_leaf(Reconcile *work, RowLeaves *leaves, const RowEntry *leaf)
{
	for (int i = 0; i < leaves->count; i++)
	{
		if (reconcile_order(&leaves->rows[i].name, &leaf->name) != 0)
			continue;
		/* within a round entries stand in the order of transaction ids: of one row, the one that was captured last is */
		if (reconcile_is_later(work->run, &leaves->rows[i], leaf))
			leaves->rows[i] = *leaf;
		return;
	}
	if (leaves->count == leaves->size)
	{
		leaves->size = Max(4, leaves->size * 2);
		leaves->rows = leaves->rows == NULL
						   ? palloc(leaves->size * sizeof(RowEntry))
						   : repalloc(leaves->rows, leaves->size * sizeof(RowEntry));
	}
	leaves->rows[leaves->count++] = *leaf;
}

/* The next row name that has leaves, with its last leaf; false at the end. */
static bool
reconcile_next_leaf(Reconcile *work, IndexScanDesc scan, TupleTableSlot *slot, bool *more,
					RowLeaves *leaves, RowEntry *last)
{
	if (leaves->next == leaves->count)
		leaves->next = leaves->count = 0;
	while (*more && leaves->next == 0)
	{
		RowEntry leaf;

		slot_getallattrs(slot);
		memset(&leaf, 0, sizeof(leaf));
		leaf.name.org = *DatumGetUUIDP(slot->tts_values[LEAF_ORG - 1]);
		leaf.name.tag = DatumGetInt64(slot->tts_values[LEAF_ROW - 1]);
		leaf.position = DatumGetInt64(slot->tts_values[LEAF_POSITION - 1]);
		leaf.at = DatumGetInt64(slot->tts_values[LEAF_AT - 1]);
		leaf.incarnation = (uint32) DatumGetInt32(slot->tts_values[LEAF_INCARNATION - 1]);
		leaf.txid = (uint64) DatumGetInt64(slot->tts_values[LEAF_TXID - 1]);
		leaf.seq = (uint32) DatumGetInt32(slot->tts_values[LEAF_SEQ - 1]);
		leaf.month = DatumGetDateADT(slot->tts_values[LEAF_MONTH - 1]);
		if (leaves->count > 0 && leaf.name.tag != leaves->rows[0].name.tag)
			break;
		if (!slot->tts_isnull[LEAF_ROW - 1] &&
			(work->run->shared->all || base_uuid_equal(&leaf.name.org, &work->run->shared->org)))
			reconcile_add_leaf(work, leaves, &leaf);
		*more = index_getnext_slot(scan, ForwardScanDirection, slot);
		CHECK_FOR_INTERRUPTS();
	}
	if (leaves->count == 0)
		return false;
	if (leaves->next == 0 && leaves->count > 1)
		qsort(leaves->rows, leaves->count, sizeof(RowEntry), reconcile_compare_leaves);
	*last = leaves->rows[leaves->next++];
	return true;
}

static bool
reconcile_next_row(Tuplesortstate *sort, TupleTableSlot *slot, RowName *name)
{
	if (!tuplesort_gettupleslot(sort, true, true, slot, NULL))
		return false;
	slot_getallattrs(slot);
	memset(name, 0, sizeof(*name));
	name->org = *DatumGetUUIDP(slot->tts_values[ROW_ORG - 1]);
	name->tag = DatumGetInt64(slot->tts_values[ROW_TAG - 1]);
	return true;
}

void
verify_rows(VerifyRun *run)
{
	Reconcile work = {.run = run};
	TupleDesc desc = CreateTemplateTupleDesc(ROW_HASH);
	AttrNumber columns[2] = {ROW_TAG, ROW_ORG};
	Oid operators[2] = {Int8LessOperator, lookup_type_cache(UUIDOID, TYPECACHE_LT_OPR)->lt_opr};
	Oid collations[2] = {InvalidOid, InvalidOid};
	bool nulls_first[2] = {false, false};
	Relation leaf_index;
	IndexScanDesc scan;
	TupleTableSlot *leaf_slot;
	TupleTableSlot *sorted;
	Tuplesortstate *sort;
	HASH_SEQ_STATUS all;
	RowTable *table;
	RowName name;
	RowLeaves leaves = {0};
	RowEntry last;
	RowEntry *waiting;
	bool have_row;
	bool have_leaf;
	bool more;

	reconcile_check_triggers(run);
	reconcile_check_coverage(run);
	if (audit_transaction_captured())
	{
		verify_report(run, "warning", NULL, 0,
					  "rows were not compared: this transaction has changed some itself");
		return;
	}
	if (run->marked || !run->have_state)
	{
		verify_report(run, "warning", NULL, 0,
					  "rows were not compared: the log waits for its first round of sealing");
		return;
	}
	work.row =
		AllocSetContextCreate(CurrentMemoryContext, "immiiq reconcile row", ALLOCSET_DEFAULT_SIZES);
	work.tables = reconcile_table("immiiq reconciled tables", sizeof(Oid), sizeof(RowTable));
	work.waiting = reconcile_table("immiiq waiting rows", sizeof(RowName), sizeof(RowEntry));
	work.gone = reconcile_table("immiiq rows that are gone", sizeof(RowName), sizeof(RowEntry));
	work.names = makeStringInfo();
	reconcile_list_tables(&work);
	reconcile_read_waiting(&work);

	TupleDescInitEntry(desc, ROW_ORG, "org_id", UUIDOID, -1, 0);
	TupleDescInitEntry(desc, ROW_TAG, "tag", INT8OID, -1, 0);
	TupleDescInitEntry(desc, ROW_TABLE, "relid", OIDOID, -1, 0);
	TupleDescInitEntry(desc, ROW_TID, "tid", TIDOID, -1, 0);
	TupleDescInitEntry(desc, ROW_HASH, "hash", INT8OID, -1, 0);
	sorted = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	sort = tuplesort_begin_heap(desc, 2, columns, operators, collations, nulls_first,
								maintenance_work_mem, NULL, TUPLESORT_NONE);
	hash_seq_init(&all, work.tables);
	while ((table = hash_seq_search(&all)) != NULL)
		reconcile_scan(&work, table, sort, sorted);
	ExecDropSingleTupleTableSlot(sorted);
	tuplesort_performsort(sort);

	leaf_index = index_open(base_relation("leaf_row_idx"), AccessShareLock);
	leaf_slot = table_slot_create(run->leaves, NULL);
	scan = index_beginscan(run->leaves, leaf_index, run->snapshot, NULL, 0, 0);
	index_rescan(scan, NULL, 0, NULL, 0);
	more = index_getnext_slot(scan, ForwardScanDirection, leaf_slot);
	have_leaf = reconcile_next_leaf(&work, scan, leaf_slot, &more, &leaves, &last);
	sorted = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	have_row = reconcile_next_row(sort, sorted, &name);
	while (have_row || have_leaf)
	{
		int order = !have_row ? 1 : !have_leaf ? -1 : reconcile_order(&name, &last.name);
		MemoryContext old = MemoryContextSwitchTo(work.row);

		waiting = hash_search(work.waiting, order <= 0 ? &name : &last.name, HASH_FIND, NULL);
		if (order <= 0)
			reconcile_compare(&work, waiting != NULL ? waiting : order == 0 ? &last : NULL, sorted);
		else
			reconcile_absent(&work, waiting != NULL ? waiting : &last);
		if (waiting != NULL)
			hash_search(work.waiting, &waiting->name, HASH_REMOVE, NULL);
		MemoryContextSwitchTo(old);
		MemoryContextReset(work.row);
		if (order >= 0)
			have_leaf = reconcile_next_leaf(&work, scan, leaf_slot, &more, &leaves, &last);
		if (order <= 0)
			have_row = reconcile_next_row(sort, sorted, &name);
	}
	/* rows that nothing but waiting entries tell of */
	hash_seq_init(&all, work.waiting);
	while ((waiting = hash_seq_search(&all)) != NULL)
	{
		if (run->shared->all || base_uuid_equal(&waiting->name.org, &run->shared->org))
			reconcile_absent(&work, waiting);
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(leaf_slot);
	index_close(leaf_index, AccessShareLock);
	ExecDropSingleTupleTableSlot(sorted);
	tuplesort_end(sort);
	reconcile_report_gone(&work);
	verify_report_drops(run);
	MemoryContextDelete(work.row);
}
