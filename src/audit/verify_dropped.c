/*
 * Verification of rows whose table was dropped: the drop is an event of the
 * installation's log, and what was captured before it is of a table that is
 * gone.  Trusts an event that opens and whose leaf has its hash; what each drop
 * excuses is reported.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "audit/audit.h"
#include "audit/audit_internal.h"
#include "audit/canonical.h"
#include "audit/tree.h"
#include "audit/verify.h"
#include "base/base.h"
#include "keyring/keyring.h"

#define DROP_NAME_BYTES (4 * NAMEDATALEN + 8) /* two identifiers, quoted */

/* Where an entry stands among those of all organisations. */
typedef struct DropPlace
{
	uint64 round; /* of sealing; the highest number while it waits for one */
	int64 at;
	uint32 incarnation;
	uint64 txid;
	uint32 seq;
} DropPlace;

struct VerifyDrop
{
	char name[DROP_NAME_BYTES]; /* schema and table, as the event has them */
	bool sought;
	bool dropped;
	DropPlace place;
	int64 position; /* in the installation's log, 0 while it waits for its seal */
	uint64 rows;	/* whose last entry is from before, and is no deletion */
};

/* The size of the log's first head that has this batch: batches that one round sealed have the same. */
static uint64
drop_round(VerifyRun *run, const pg_uuid_t *org, int64 position)
{
	int64 number;
	TimestampTz at;
	Relation heads;
	Relation index;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	uint64 size;

	if (position <= 0 || !verify_find_batch(run, org, (uint64) position, &number, &at))
		return PG_UINT64_MAX;
	heads = table_open(base_relation("tree_head"), AccessShareLock);
	index = index_open(base_relation("tree_head_pkey"), AccessShareLock);
	ScanKeyInit(&key, HEAD_SIZE, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(number));
	scan = systable_beginscan_ordered(heads, index, run->snapshot, 1, &key);
	tuple = systable_getnext_ordered(scan, ForwardScanDirection);
	size = (uint64) (tuple != NULL ? verify_int(tuple, HEAD_SIZE, RelationGetDescr(heads)) : number);
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(heads, AccessShareLock);
	return size;
}

static DropPlace
drop_place(VerifyRun *run, const CanonicalEntry *entry, int64 position)
{
	pg_uuid_t org;
	DropPlace place = {.at = entry->at,
					   .incarnation = entry->incarnation,
					   .txid = entry->txid,
					   .seq = entry->seq};

	memcpy(org.data, entry->org, UUID_LEN);
	place.round = drop_round(run, &org, position);
	return place;
}

/*
 * True when one entry was captured before another of the same table: a round
 * seals whatever has committed, and a drop waits for whoever writes.
 */
static bool
drop_precedes(const DropPlace *a, const DropPlace *b)
{
	if (a->round != b->round)
		return a->round < b->round;
	if (a->incarnation == b->incarnation && a->txid == b->txid)
		return a->seq < b->seq;
	return a->at < b->at;
}

static VerifyDrop *
drop_of(VerifyRun *run, const char *name)
{
	VerifyDrop *drop;
	bool found;

	if (run->drops == NULL)
	{
		HASHCTL ctl;

		memset(&ctl, 0, sizeof(ctl));
		ctl.keysize = DROP_NAME_BYTES;
		ctl.entrysize = sizeof(VerifyDrop);
		ctl.hcxt = run->memory;
		run->drops =
			hash_create("immiiq dropped tables", 64, &ctl, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	}
	drop = hash_search(run->drops, name, HASH_ENTER, &found);
	if (!found)
		memset((char *) drop + DROP_NAME_BYTES, 0, sizeof(VerifyDrop) - DROP_NAME_BYTES);
	return drop;
}

void
verify_note_drop(VerifyRun *run, const uint8 *body, const CanonicalEntry *entry, int64 position)
{
	VerifyImage image = {.body = body, .entry = entry};
	CanonicalColumn object;
	VerifyDrop *drop;
	DropPlace place;
	char *name;

	if (!verify_is_event(entry, AUDIT_DDL_KIND) ||
		memcmp(entry->org, keyring_installation_org.data, UUID_LEN) != 0 ||
		verify_try(verify_open_image, &image) != 0 || image.plain == NULL)
		return;
	if (!verify_says(&image, "access", "drop") || !verify_says(&image, "type", "table") ||
		!verify_find_column(&image, AUDIT_EVENT_OBJECT, &object) || object.value == NULL ||
		object.value_len >= DROP_NAME_BYTES)
		return;
	name = pnstrdup(object.value, object.value_len);
	drop = drop_of(run, name);
	pfree(name);
	place = drop_place(run, entry, position);
	if (drop->dropped && !drop_precedes(&drop->place, &place))
		return;
	drop->dropped = true;
	drop->place = place;
	drop->position = position;
}

typedef struct DropTag
{
	const char *name;
	int64 tag;
} DropTag;

static void
drop_make_tag(void *arg)
{
	DropTag *tag = arg;

	tag->tag = audit_event_tag(AUDIT_DDL_KIND, tag->name);
}

/* Notes the drops of a table that are sealed: without the installation's key, none. */
static void
drop_seek(VerifyRun *run, const char *name)
{
	DropTag tag = {.name = name};
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple leaf;
	TupleDesc desc = RelationGetDescr(run->leaves);

	if (verify_try(drop_make_tag, &tag) != 0)
		return;
	ScanKeyInit(&key, LEAF_ROW, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(tag.tag));
	scan = systable_beginscan(run->leaves, base_relation("leaf_row_idx"), true, run->snapshot, 1,
							  &key);
	while (HeapTupleIsValid(leaf = systable_getnext(scan)))
	{
		Datum values[ENTRY_COLUMNS];
		bool nulls[ENTRY_COLUMNS];
		HeapTuple row;
		uint8 *body;
		size_t len;
		uint8 hash[TREE_HASH_BYTES];
		uint8 sealed[TREE_HASH_BYTES];
		CanonicalEntry entry;

		CHECK_FOR_INTERRUPTS();
		row = audit_entries_find(&run->entries, run->snapshot,
								 (DateADT) verify_int(leaf, LEAF_MONTH, desc),
								 (uint32) verify_int(leaf, LEAF_INCARNATION, desc),
								 (uint64) verify_int(leaf, LEAF_TXID, desc),
								 (uint32) verify_int(leaf, LEAF_SEQ, desc));
		if (row == NULL)
			continue;
		heap_deform_tuple(row, RelationGetDescr(run->entries.rels[0]), values, nulls);
		body = audit_entry_bytes(values, nulls, &len);
		if (body == NULL || !canonical_parse_entry(body, len, &entry))
			continue;
		audit_copy_hash(leaf, desc, LEAF_HASH, sealed);
		verify_check_hash(tree_leaf_hash(body, len, hash));
		if (memcmp(hash, sealed, TREE_HASH_BYTES) == 0)
			verify_note_drop(run, body, &entry, verify_int(leaf, LEAF_POSITION, desc));
	}
	systable_endscan(scan);
}

VerifyDrop *
verify_dropped(VerifyRun *run, const CanonicalEntry *entry, int64 position)
{
	char *name = quote_qualified_identifier(pnstrdup(entry->schema, entry->schema_len),
											pnstrdup(entry->table, entry->table_len));
	VerifyDrop *drop;
	DropPlace place;

	if (strlen(name) >= DROP_NAME_BYTES)
		return NULL;
	drop = drop_of(run, name);
	if (!drop->sought)
	{
		drop->sought = true;
		drop_seek(run, name);
	}
	if (!drop->dropped)
		return NULL;
	place = drop_place(run, entry, position);
	return drop_precedes(&place, &drop->place) ? drop : NULL;
}

void
verify_count_dropped(VerifyDrop *drop)
{
	drop->rows++;
}

void
verify_report_drops(VerifyRun *run)
{
	bool every = run->shared->all; /* who asks for one organisation hears nothing of another's log */
	HASH_SEQ_STATUS all;
	VerifyDrop *drop;

	if (run->drops == NULL)
		return;
	hash_seq_init(&all, run->drops);
	while ((drop = hash_seq_search(&all)) != NULL)
	{
		if (drop->rows > 0)
			verify_report(run, "warning", every ? &keyring_installation_org : NULL,
						  every ? (uint64) drop->position : 0,
						  "table %s was dropped at %s: " UINT64_FORMAT
						  " rows whose last entry is from before were not looked for",
						  drop->name, timestamptz_to_str(drop->place.at), drop->rows);
	}
}
