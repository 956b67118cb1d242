/*
 * Verification of retention: what the table of pruned entries says must stand,
 * sealed, in a statement of the organisation's own log.  Trusts nothing in the
 * table; the statement itself is held against its leaf like every entry.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "audit/audit.h"
#include "audit/audit_internal.h"
#include "audit/canonical.h"
#include "audit/verify.h"
#include "base/base.h"
#include "crypto/crypto.h"
#include "keyring/keyring.h"

#define PRUNED_SEVEN_YEARS (7 * 365) /* days */
#define PRUNED_KIND		   "prune"	 /* of the event */

/* Columns of immiiq.pruned, in order. */
enum
{
	PRUNED_ORG = 1,
	PRUNED_LAST,
	PRUNED_BEFORE,
	PRUNED_KEEP_DAYS,
	PRUNED_INCARNATION,
	PRUNED_TXID,
	PRUNED_SEQ,
	PRUNED_MONTH
};

uint64
verify_pruned_until(VerifyRun *run, const pg_uuid_t *org)
{
	Relation rel = table_open(base_relation("pruned"), AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	uint64 last = 0;

	ScanKeyInit(&key, PRUNED_ORG, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(org));
	scan = systable_beginscan(rel, base_relation("pruned_pkey"), true, run->snapshot, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		last = Max(last, (uint64) verify_int(tuple, PRUNED_LAST, RelationGetDescr(rel)));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return last;
}

/* The first transaction of this lineage that captured something; the highest number when none has. */
static uint64
verify_first_txid(VerifyRun *run)
{
	uint64 first = PG_UINT64_MAX;
	TimeLineID lives;
	const uint32 *names = audit_incarnations(&lives);

	for (int i = 0; i < run->entries.count; i++)
	{
		Relation index;

		if (!OidIsValid(run->entries.indexes[i]))
			continue;
		index = index_open(run->entries.indexes[i], AccessShareLock);
		for (TimeLineID n = 0; n < lives; n++)
		{
			ScanKeyData key;
			SysScanDesc scan;
			HeapTuple tuple;

			ScanKeyInit(&key, ENTRY_INCARNATION, BTEqualStrategyNumber, F_INT4EQ,
						Int32GetDatum((int32) names[n]));
			scan = systable_beginscan_ordered(run->entries.rels[i], index, run->snapshot, 1, &key);
			tuple = systable_getnext_ordered(scan, ForwardScanDirection);
			if (tuple != NULL)
				first = Min(first, (uint64) verify_int(tuple, ENTRY_TXID,
													   RelationGetDescr(run->entries.rels[i])));
			systable_endscan_ordered(scan);
		}
		index_close(index, AccessShareLock);
	}
	return first;
}

/*
 * Until which transaction an organisation's rows may have had their entries
 * among those that were pruned; 0 when none was.  Entries of another
 * lineage are of rows that a restore has brought: before the first capture.
 */
static uint64
verify_pruned_txid(VerifyRun *run, const pg_uuid_t *org)
{
	uint64 last = verify_pruned_until(run, org);
	uint64 highest = 0;
	bool restored = false;
	Relation rel;
	Relation index;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple tuple;

	if (last == 0)
		return 0;
	rel = table_open(base_relation("leaf"), AccessShareLock);
	index = index_open(base_relation("leaf_pkey"), AccessShareLock);
	ScanKeyInit(&keys[0], LEAF_ORG, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(org));
	ScanKeyInit(&keys[1], LEAF_POSITION, BTLessEqualStrategyNumber, F_INT8LE,
				Int64GetDatum((int64) last));
	scan = systable_beginscan_ordered(rel, index, run->snapshot, 2, keys);
	while ((tuple = systable_getnext_ordered(scan, ForwardScanDirection)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (!audit_is_own((uint32) verify_int(tuple, LEAF_INCARNATION, RelationGetDescr(rel))))
			restored = true;
		else
			highest = Max(highest, (uint64) verify_int(tuple, LEAF_TXID, RelationGetDescr(rel)));
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	if (restored)
		highest = Max(highest, Min(verify_first_txid(run),
								   U64FromFullTransactionId(ReadNextFullTransactionId())));
	return highest;
}

bool
verify_may_be_pruned(VerifyRun *run, const pg_uuid_t *org, TransactionId xmin)
{
	uint64 next = U64FromFullTransactionId(ReadNextFullTransactionId());

	if (!run->pruned_known || !base_uuid_equal(&run->pruned_org, org))
	{
		run->pruned_txid = verify_pruned_txid(run, org);
		run->pruned_org = *org;
		run->pruned_known = true;
	}
	if (run->pruned_txid == 0)
		return false;
	/* so long ago that the 32 bits of a row's transaction id cannot be told from those of a newer one */
	if (next - run->pruned_txid >= (uint64) PG_INT32_MAX)
		return true;
	return !TransactionIdIsNormal(xmin) ||
		   TransactionIdPrecedesOrEquals(xmin, (TransactionId) run->pruned_txid);
}

void
verify_open_image(void *arg)
{
	VerifyImage *image = arg;
	const uint8 *salt;

	image->plain = audit_open_image(image->body, image->entry, false, &image->len, &salt);
}

bool
verify_is_event(const CanonicalEntry *entry, const char *kind)
{
	return entry->operation == CANONICAL_EVENT && entry->table_len == strlen(kind) &&
		   memcmp(entry->table, kind, entry->table_len) == 0;
}

bool
verify_find_column(const VerifyImage *image, const char *name, CanonicalColumn *column)
{
	size_t pos = 0;
	uint32 count;

	if (!canonical_get_length(image->plain, image->len, &pos, &count))
		return false;
	while (count-- > 0)
	{
		if (!canonical_get_column(image->plain, image->len, &pos, column))
			return false;
		if (column->name_len == strlen(name) && memcmp(column->name, name, column->name_len) == 0)
			return true;
	}
	return false;
}

bool
verify_says(const VerifyImage *image, const char *name, const char *value)
{
	CanonicalColumn column;

	return verify_find_column(image, name, &column) && column.value != NULL &&
		   column.value_len == strlen(value) && memcmp(column.value, value, column.value_len) == 0;
}

bool
verify_find_batch(VerifyRun *run, const pg_uuid_t *org, uint64 position, int64 *number,
				  TimestampTz *at)
{
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple tuple;
	bool isnull;

	ScanKeyInit(&keys[0], BATCH_ORG, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(org));
	ScanKeyInit(&keys[1], BATCH_LAST, BTGreaterEqualStrategyNumber, F_INT8GE,
				Int64GetDatum((int64) position));
	scan = systable_beginscan_ordered(run->batches, run->batches_index, run->snapshot, 2, keys);
	tuple = systable_getnext_ordered(scan, ForwardScanDirection);
	if (tuple != NULL)
	{
		*number = verify_int(tuple, BATCH_NO, RelationGetDescr(run->batches));
		*at = DatumGetTimestampTz(
			heap_getattr(tuple, BATCH_AT, RelationGetDescr(run->batches), &isnull));
	}
	systable_endscan_ordered(scan);
	return tuple != NULL;
}

/* What is wrong with a row of immiiq.pruned; NULL when nothing is. */
static const char *
verify_statement(VerifyRun *run, HeapTuple row, TupleDesc desc, bool *opened)
{
	uint64 last = (uint64) verify_int(row, PRUNED_LAST, desc);
	DateADT before = (DateADT) verify_int(row, PRUNED_BEFORE, desc);
	int64 days = verify_int(row, PRUNED_KEEP_DAYS, desc);
	HeapTuple tuple;
	Datum values[ENTRY_COLUMNS];
	bool nulls[ENTRY_COLUMNS];
	uint8 *body;
	size_t len;
	CanonicalEntry entry;
	VerifyImage image;
	pg_uuid_t org;
	int64 batch;
	TimestampTz sealed;
	TimestampTz month;
	char number[32];
	char date[32];
	char keep[32];
	char *name;
	int year;
	int mon;
	int day;

	verify_uuid(row, PRUNED_ORG, desc, &org);
	tuple = audit_entries_find(&run->entries, run->snapshot,
							   (DateADT) verify_int(row, PRUNED_MONTH, desc),
							   (uint32) verify_int(row, PRUNED_INCARNATION, desc),
							   (uint64) verify_int(row, PRUNED_TXID, desc),
							   (uint32) verify_int(row, PRUNED_SEQ, desc));
	if (tuple == NULL)
		return "which is not in the log";
	heap_deform_tuple(tuple, RelationGetDescr(run->entries.rels[0]), values, nulls);
	body = audit_entry_bytes(values, nulls, &len);
	if (!canonical_parse_entry(body, len, &entry) || !verify_is_event(&entry, PRUNED_KIND) ||
		(memcmp(entry.org, org.data, UUID_LEN) != 0 &&
		 memcmp(entry.org, keyring_installation_org.data, UUID_LEN) != 0))
		return "which is none";
	image.body = body;
	image.entry = &entry;
	*opened = verify_try_key(verify_open_image, &image) &&
			  (image.plain != NULL || verify_key_exists(run, entry.key_id));
	if (*opened)
	{
		j2date(before + POSTGRES_EPOCH_JDATE, &year, &mon, &day);
		snprintf(number, sizeof(number), UINT64_FORMAT, last);
		snprintf(date, sizeof(date), "%04d-%02d-%02d", year, mon, day);
		snprintf(keep, sizeof(keep), INT64_FORMAT, days);
		name = DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&org)));
		if (image.plain == NULL || !verify_says(&image, AUDIT_EVENT_OBJECT, name) ||
			!verify_says(&image, "last", number) || !verify_says(&image, "before", date) ||
			!verify_says(&image, "keep-days", keep))
			return "which says something else";
	}
	month = (TimestampTz) before * USECS_PER_DAY;
	if (month > entry.at - days * USECS_PER_DAY)
		return "before their time was over";
	/* a batch may be late: a transaction that stayed open across a month */
	if (!verify_find_batch(run, &org, last, &batch, &sealed) || sealed > month + 31 * USECS_PER_DAY)
		return "which were sealed after the month that it names";
	return NULL;
}

void
verify_pruned(VerifyRun *run)
{
	Relation rel = table_open(base_relation("pruned"), AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, run->snapshot, 0, NULL);
	HeapTuple row;

	while (HeapTupleIsValid(row = systable_getnext(scan)))
	{
		TupleDesc desc = RelationGetDescr(rel);
		MemoryContext old = MemoryContextSwitchTo(run->row);
		uint64 last = (uint64) verify_int(row, PRUNED_LAST, desc);
		bool opened = true;
		const char *problem;
		pg_uuid_t org;

		CHECK_FOR_INTERRUPTS();
		verify_uuid(row, PRUNED_ORG, desc, &org);
		problem = verify_statement(run, row, desc, &opened);
		if (problem != NULL)
			verify_report(run, "error", &org, last,
						  "entries up to here were taken away under a statement %s", problem);
		else if (!opened)
			verify_report(run, "warning", &org, last,
						  "key cannot be had: what the statement says under which entries up to "
						  "here were taken away was not checked");
		else if (verify_int(row, PRUNED_KEEP_DAYS, desc) < PRUNED_SEVEN_YEARS)
			verify_report(run, "warning", &org, last,
						  "entries up to here were kept for less than seven years");
		MemoryContextSwitchTo(old);
		MemoryContextReset(run->row);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}
