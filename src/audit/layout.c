/*
 * Layouts: names of a table and its columns, which entries leave out
 * (immiiq.layout), and the bytes of an entry, made from its row and its layout.
 * Trusts nothing that it reads there: a layout is named by its hash, what an
 * entry is hashed over has the table's name in it, what it commits to those of
 * the columns.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "fmgr.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "audit/audit_internal.h"
#include "audit/canonical.h"
#include "base/base.h"
#include "crypto/crypto.h"

typedef struct Layout
{
	uint8 name[CANONICAL_LAYOUT_BYTES]; /* key */
	uint8 *bytes;
	size_t len;
} Layout;

static HTAB *layouts = NULL;

void
audit_layout_name(const uint8 *layout, size_t len, uint8 name[CANONICAL_LAYOUT_BYTES])
{
	uint8 hash[CRYPTO_HASH_BYTES];

	if (!crypto_sha256_3(layout, len, NULL, 0, NULL, 0, hash))
		elog(ERROR, "could not compute a hash");
	memcpy(name, hash, CANONICAL_LAYOUT_BYTES);
}

/* A layout as the table has it, palloc'd; NULL when it has none that are right. */
static uint8 *
layout_read(const uint8 *name, size_t *len)
{
	Relation rel = table_open(base_relation("layout"), AccessShareLock);
	bytea *wanted = palloc(VARHDRSZ + CANONICAL_LAYOUT_BYTES);
	uint8 *layout = NULL;
	ScanKeyData key[1];
	SysScanDesc scan;
	HeapTuple tuple;

	SET_VARSIZE(wanted, VARHDRSZ + CANONICAL_LAYOUT_BYTES);
	memcpy(VARDATA(wanted), name, CANONICAL_LAYOUT_BYTES);
	ScanKeyInit(&key[0], LAYOUT_NAME, BTEqualStrategyNumber, F_BYTEAEQ, PointerGetDatum(wanted));
	scan = systable_beginscan(rel, base_relation("layout_name_idx"), true, NULL, 1, key);
	while (layout == NULL && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool isnull;
		bytea *bytes =
			DatumGetByteaPP(heap_getattr(tuple, LAYOUT_BYTES, RelationGetDescr(rel), &isnull));
		uint8 found[CANONICAL_LAYOUT_BYTES];

		*len = VARSIZE_ANY_EXHDR(bytes);
		audit_layout_name((uint8 *) VARDATA_ANY(bytes), *len, found);
		if (memcmp(found, name, sizeof(found)) == 0)
		{
			layout = palloc(*len + 1);
			memcpy(layout, VARDATA_ANY(bytes), *len);
		}
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	pfree(wanted);
	return layout;
}

/* Keeps a layout for the session: what a name stands for never changes. */
static const Layout *
layout_keep(const uint8 *name, const uint8 *bytes, size_t len)
{
	Layout *known;
	bool found;

	if (layouts == NULL)
	{
		HASHCTL ctl;

		memset(&ctl, 0, sizeof(ctl));
		ctl.keysize = CANONICAL_LAYOUT_BYTES;
		ctl.entrysize = sizeof(Layout);
		ctl.hcxt = CacheMemoryContext;
		layouts = hash_create("immiiq layouts", 32, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	known = hash_search(layouts, name, HASH_ENTER, &found);
	if (found && known->bytes != NULL)
		return known;
	known->len = len;
	known->bytes = NULL; /* should the next line fail */
	known->bytes = MemoryContextAlloc(CacheMemoryContext, len + 1);
	memcpy(known->bytes, bytes, len);
	return known;
}

static const Layout *
layout_find(const uint8 *name)
{
	const Layout *known = layouts != NULL ? hash_search(layouts, name, HASH_FIND, NULL) : NULL;
	uint8 *bytes;
	size_t len;

	if (known != NULL && known->bytes != NULL)
		return known;
	bytes = layout_read(name, &len);
	if (bytes == NULL)
		return NULL;
	known = layout_keep(name, bytes, len);
	pfree(bytes);
	return known;
}

void
audit_forget_layouts(void)
{
	HASH_SEQ_STATUS all;
	Layout *known;

	if (layouts == NULL)
		return;
	hash_seq_init(&all, layouts);
	while ((known = hash_seq_search(&all)) != NULL)
	{
		if (known->bytes != NULL)
			pfree(known->bytes);
		hash_search(layouts, known->name, HASH_REMOVE, NULL);
	}
}

void
audit_layout_note(const uint8 *layout, size_t len, const uint8 *name)
{
	AuditWriter writer;
	Datum values[LAYOUT_COLUMNS];
	bool nulls[LAYOUT_COLUMNS] = {false};
	size_t there;
	uint8 *known = layout_read(name, &there);
	bytea *bytes;

	(void) layout_keep(name, layout, len); /* this command does not see yet what it writes */
	if (known != NULL)
	{
		pfree(known);
		return;
	}
	bytes = palloc(VARHDRSZ + CANONICAL_LAYOUT_BYTES);
	SET_VARSIZE(bytes, VARHDRSZ + CANONICAL_LAYOUT_BYTES);
	memcpy(VARDATA(bytes), name, CANONICAL_LAYOUT_BYTES);
	values[LAYOUT_NAME - 1] = PointerGetDatum(bytes);
	bytes = palloc(VARHDRSZ + len);
	SET_VARSIZE(bytes, VARHDRSZ + len);
	memcpy(VARDATA(bytes), layout, len);
	values[LAYOUT_BYTES - 1] = PointerGetDatum(bytes);
	audit_writer_open(&writer, "layout", LAYOUT_COLUMNS, 1);
	audit_writer_add(&writer, values, nulls);
	audit_writer_close(&writer);
}

static void *
layout_grow(void *old, size_t size)
{
	if (size > MaxAllocHugeSize)
		return NULL;
	return old == NULL ? palloc_extended(size, MCXT_ALLOC_HUGE) : repalloc_huge(old, size);
}

uint8 *
audit_unpack_image(const CanonicalEntry *entry, uint8 *packed, size_t *len)
{
	CanonicalBuffer image = {.grow = layout_grow};
	const Layout *layout = entry->layout != NULL ? layout_find(entry->layout) : NULL;
	const uint8 *columns = NULL;
	size_t columns_len = 0;
	CanonicalEntry names;
	bool ok = (layout == NULL || canonical_parse_layout(layout->bytes, layout->len, &names,
														&columns, &columns_len)) &&
			  canonical_unpack_image(&image, packed, *len, columns, columns_len, entry->org);

	crypto_wipe(packed, *len);
	pfree(packed);
	if (!ok || image.data == NULL)
		return NULL;
	*len = image.len;
	return image.data;
}

uint8 *
audit_entry_bytes(const Datum *values, const bool *nulls, size_t *len)
{
	CanonicalBuffer body = {.grow = layout_grow};
	CanonicalEntry entry = {0};
	const Layout *layout;
	const uint8 *names;
	size_t names_len;
	bytea *stored;

	*len = 0;
	for (int i = 0; i < ENTRY_COLUMNS; i++)
	{
		if (nulls[i])
			return NULL;
	}
	entry.org = DatumGetUUIDP(values[ENTRY_ORG - 1])->data;
	entry.at = DatumGetTimestampTz(values[ENTRY_AT - 1]);
	entry.incarnation = (uint32) DatumGetInt32(values[ENTRY_INCARNATION - 1]);
	entry.txid = (uint64) DatumGetInt64(values[ENTRY_TXID - 1]);
	entry.seq = (uint32) DatumGetInt32(values[ENTRY_SEQ - 1]);
	entry.context = (uint32) DatumGetInt32(values[ENTRY_CONTEXT - 1]);
	stored = DatumGetByteaPP(values[ENTRY_BODY - 1]);
	if (!canonical_unpack_entry((uint8 *) VARDATA_ANY(stored), VARSIZE_ANY_EXHDR(stored), &entry))
		return NULL;
	if (entry.layout != NULL &&
		((layout = layout_find(entry.layout)) == NULL ||
		 !canonical_parse_layout(layout->bytes, layout->len, &entry, &names, &names_len)))
		return NULL;
	(void) canonical_reserve(&body, VARSIZE_ANY_EXHDR(stored) + 256); /* one allocation is enough */
	body.len = 0;
	canonical_put_whole_entry(&body, &entry);
	if (body.failed)
		elog(ERROR, "could not grow an audit entry");
	*len = body.len;
	return body.data;
}

PG_FUNCTION_INFO_V1(immiiq_entry_bytes);

/*
 * immiiq.entry_bytes(entry immiiq.entry) → bytea: the bytes that a row of the
 * log stands for, which are hashed and exported (docs/audit-format.md).  NULL
 * for a row that stands for none.
 */
Datum
immiiq_entry_bytes(PG_FUNCTION_ARGS)
{
	HeapTupleHeader header = PG_GETARG_HEAPTUPLEHEADER(0);
	TupleDesc desc =
		lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(header), HeapTupleHeaderGetTypMod(header));
	HeapTupleData tuple;
	Datum values[ENTRY_COLUMNS];
	bool nulls[ENTRY_COLUMNS];
	bytea *result;
	uint8 *body;
	size_t len;

	if (desc->natts != ENTRY_COLUMNS)
		elog(ERROR, "row of the log has %d columns", desc->natts);
	memset(&tuple, 0, sizeof(tuple));
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_data = header;
	heap_deform_tuple(&tuple, desc, values, nulls);
	ReleaseTupleDesc(desc);
	body = audit_entry_bytes(values, nulls, &len);
	if (body == NULL)
		PG_RETURN_NULL();
	result = palloc(VARHDRSZ + len);
	SET_VARSIZE(result, VARHDRSZ + len);
	memcpy(VARDATA(result), body, len);
	PG_RETURN_BYTEA_P(result);
}
