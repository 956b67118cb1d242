/*
 * Layouts: flags and names of a table's columns, which images leave out
 * (immiiq.layout).  Trusts nothing that it reads there: a layout is named by
 * its hash, and what an entry commits to has the names in it.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "audit/audit_internal.h"
#include "audit/canonical.h"
#include "base/base.h"
#include "crypto/crypto.h"

typedef struct Layout
{
	uint8 name[CANONICAL_LAYOUT_BYTES]; /* key */
	uint8 *columns;
	size_t len;
} Layout;

static HTAB *layouts = NULL;

void
audit_layout_name(const uint8 *columns, size_t len, uint8 name[CANONICAL_LAYOUT_BYTES])
{
	uint8 hash[CRYPTO_HASH_BYTES];

	if (!crypto_sha256_3(columns, len, NULL, 0, NULL, 0, hash))
		elog(ERROR, "could not compute a hash");
	memcpy(name, hash, CANONICAL_LAYOUT_BYTES);
}

/* The columns of a layout as the table has them, palloc'd; NULL when it has none that are right. */
static uint8 *
layout_read(const uint8 *name, size_t *len)
{
	Relation rel = table_open(base_relation("layout"), AccessShareLock);
	bytea *wanted = palloc(VARHDRSZ + CANONICAL_LAYOUT_BYTES);
	uint8 *columns = NULL;
	ScanKeyData key[1];
	SysScanDesc scan;
	HeapTuple tuple;

	SET_VARSIZE(wanted, VARHDRSZ + CANONICAL_LAYOUT_BYTES);
	memcpy(VARDATA(wanted), name, CANONICAL_LAYOUT_BYTES);
	ScanKeyInit(&key[0], LAYOUT_NAME, BTEqualStrategyNumber, F_BYTEAEQ, PointerGetDatum(wanted));
	scan = systable_beginscan(rel, base_relation("layout_name_idx"), true, NULL, 1, key);
	while (columns == NULL && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool isnull;
		bytea *bytes = DatumGetByteaPP(
			heap_getattr(tuple, LAYOUT_COLUMNS_BYTES, RelationGetDescr(rel), &isnull));
		uint8 found[CANONICAL_LAYOUT_BYTES];

		*len = VARSIZE_ANY_EXHDR(bytes);
		audit_layout_name((uint8 *) VARDATA_ANY(bytes), *len, found);
		if (memcmp(found, name, sizeof(found)) == 0)
		{
			columns = palloc(*len + 1);
			memcpy(columns, VARDATA_ANY(bytes), *len);
		}
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	pfree(wanted);
	return columns;
}

/* What a name stands for, kept for the session: a layout never changes. */
static const Layout *
layout_find(const uint8 *name)
{
	Layout *known;
	uint8 *columns;
	size_t len;

	if (layouts == NULL)
	{
		HASHCTL ctl;

		memset(&ctl, 0, sizeof(ctl));
		ctl.keysize = CANONICAL_LAYOUT_BYTES;
		ctl.entrysize = sizeof(Layout);
		ctl.hcxt = CacheMemoryContext;
		layouts = hash_create("immiiq layouts", 32, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	known = hash_search(layouts, name, HASH_FIND, NULL);
	if (known != NULL)
		return known;
	columns = layout_read(name, &len);
	if (columns == NULL)
		return NULL;
	known = hash_search(layouts, name, HASH_ENTER, NULL);
	known->len = len;
	known->columns = NULL; /* should the next line fail */
	known->columns = MemoryContextAlloc(CacheMemoryContext, len + 1);
	memcpy(known->columns, columns, len);
	pfree(columns);
	return known;
}

void
audit_layout_note(const uint8 *columns, size_t len, const uint8 *name)
{
	AuditWriter writer;
	Datum values[LAYOUT_COLUMNS];
	bool nulls[LAYOUT_COLUMNS] = {false};
	size_t there;
	uint8 *known = layout_read(name, &there);
	bytea *bytes;

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
	memcpy(VARDATA(bytes), columns, len);
	values[LAYOUT_COLUMNS_BYTES - 1] = PointerGetDatum(bytes);
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
	const uint8 *name = canonical_packed_layout(packed, *len);
	const Layout *layout = name != NULL ? layout_find(name) : NULL;
	bool ok = canonical_unpack_image(&image, packed, *len, layout != NULL ? layout->columns : NULL,
									 layout != NULL ? layout->len : 0, entry->org);

	crypto_wipe(packed, *len);
	pfree(packed);
	if (!ok || image.data == NULL)
		return NULL;
	*len = image.len;
	return image.data;
}
