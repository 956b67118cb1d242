/*
 * Verification: reads the whole log and says where it does not hold together.
 * Trusts nothing that the tables say; what this server's superuser could have
 * made consistent again only a head held elsewhere can show.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "audit/audit_internal.h"
#include "audit/canonical.h"
#include "audit/commit.h"
#include "audit/tree.h"
#include "base/base.h"
#include "crypto/crypto.h"
#include "keyring/keyring.h"

/* An entry that has waited longer than this for its seal is worth a warning. */
#define VERIFY_LATE_MS (5 * 60 * 1000)

/* Whether an audit key can be had: asked once a key. */
typedef struct VerifyKey
{
	struct
	{
		pg_uuid_t org;
		uint32 key_id;
	} id;
	bool usable;
	bool foreign; /* another organisation's, or of no kind that seals images */
	bool gone;	  /* nowhere: a client's, destroyed with the client */
} VerifyKey;

typedef struct VerifyRun
{
	ReturnSetInfo *result;
	Snapshot snapshot;
	bool all; /* every organisation, not only org */
	pg_uuid_t org;
	HTAB *keys;
	AuditEntries entries;
	TupleDesc entry_desc;
	MemoryContext row; /* reset after every leaf */
	CanonicalBuffer hashes;
	bool origin_known;
	bool origin_usable;
	pg_uuid_t origin_org;
	/* the context entry that was checked last */
	uint32 context_incarnation;
	uint64 context_txid;
	uint32 context_seq;
	pg_uuid_t context_org;
	bool context_has[3]; /* member, session, address */
	pg_uuid_t context_member;
	pg_uuid_t context_session;
	int64 context_address;
} VerifyRun;

static void verify_report(VerifyRun *run, const char *severity, const pg_uuid_t *org,
						  uint64 position, const char *format, ...) pg_attribute_printf(5, 6);

/* Adds one problem; position 0 and no organisation are NULL. */
static void
verify_report(VerifyRun *run, const char *severity, const pg_uuid_t *org, uint64 position,
			  const char *format, ...)
{
	Datum values[4];
	bool nulls[4] = {false};
	char text[512];
	va_list args;

	if (org != NULL && !run->all && !base_uuid_equal(org, &run->org))
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	values[0] = CStringGetTextDatum(severity);
	values[1] = UUIDPGetDatum(org);
	nulls[1] = org == NULL;
	values[2] = Int64GetDatum((int64) position);
	nulls[2] = position == 0;
	values[3] = CStringGetTextDatum(text);
	tuplestore_putvalues(run->result->setResult, run->result->setDesc, values, nulls);
}

static void *
verify_grow(void *old, size_t size)
{
	return old == NULL ? MemoryContextAllocHuge(TopTransactionContext, size)
					   : repalloc_huge(old, size);
}

static void
verify_check_hash(bool ok)
{
	if (!ok)
		elog(ERROR, "could not compute a hash");
}

static int64
verify_int(HeapTuple tuple, AttrNumber column, TupleDesc desc)
{
	bool isnull;
	Datum value = heap_getattr(tuple, column, desc, &isnull);

	if (isnull)
		return 0;
	return TupleDescAttr(desc, column - 1)->attlen == sizeof(int32) ? DatumGetInt32(value)
																	: DatumGetInt64(value);
}

static void
verify_uuid(HeapTuple tuple, AttrNumber column, TupleDesc desc, pg_uuid_t *out)
{
	bool isnull;
	Datum value = heap_getattr(tuple, column, desc, &isnull);

	memset(out, 0, sizeof(*out));
	if (!isnull)
		*out = *DatumGetUUIDP(value);
}

/* ---- keys ---- */

/* Runs a keyring call in a subtransaction; false when it says that a key cannot be had. */
static bool
verify_try_key(void (*call)(void *), void *arg)
{
	MemoryContext memory = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool ok = true;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(memory);
	PG_TRY();
	{
		call(arg);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(memory);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(memory);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(memory);
		CurrentResourceOwner = owner;
		if (error->sqlerrcode != ERRCODE_IMMIIQ_ROOT_KEY && error->sqlerrcode != ERRCODE_IMMIIQ_KEY)
			ReThrowError(error);
		FreeErrorData(error);
		ok = false;
	}
	PG_END_TRY();
	return ok;
}

static void
verify_ask_audit_key(void *arg)
{
	VerifyKey *key = arg;
	const uint8 *salt;

	key->usable = keyring_find_image_key(&key->id.org, key->id.key_id, &salt) != NULL;
}

static void
verify_ask_origin_key(void *arg)
{
	VerifyKey *key = arg;
	const uint8 *salt;

	(void) keyring_image_key(&key->id.org, NULL, &key->id.key_id, &salt);
}

static void
verify_ask_signing_key(void *arg)
{
	keyring_installation_secret("log-signing", false, arg);
}

/* True when some table of keys has a row of this id: then it is not what sealed this organisation's entry. */
static bool
verify_key_exists(VerifyRun *run, const char *table, const char *index, uint32 key_id)
{
	Relation rel = table_open(base_relation(table), AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	bool found;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum((int64) key_id));
	scan = systable_beginscan(rel, base_relation(index), true, run->snapshot, 1, &key);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/* What is known of the key that sealed an image; that it cannot be had is said once a key. */
static const VerifyKey *
verify_image_key(VerifyRun *run, const CanonicalEntry *entry, uint32 key_id)
{
	VerifyKey key;
	VerifyKey *known;
	bool found;

	memset(&key, 0, sizeof(key));
	memcpy(key.id.org.data, entry->org, UUID_LEN);
	key.id.key_id = key_id;
	known = hash_search(run->keys, &key.id, HASH_ENTER, &found);
	if (!found)
	{
		known->foreign = known->gone = false;
		if (!verify_try_key(verify_ask_audit_key, &key))
			verify_report(run, "warning", &key.id.org, 0,
						  "audit key %u cannot be had: whether its entries open was not checked",
						  key_id);
		else if (!key.usable)
		{
			known->foreign = verify_key_exists(run, "wrapped_key", "wrapped_key_pkey", key_id) ||
							 verify_key_exists(run, "subject_key", "subject_key_pkey", key_id);
			known->gone = !known->foreign;
			if (known->gone)
				verify_report(run, "warning", &key.id.org, 0,
							  "key %u is gone: whether its entries open was not checked", key_id);
		}
		known->usable = key.usable;
	}
	return known;
}

/* ---- an entry ---- */

static bytea *
verify_body(VerifyRun *run, HeapTuple tuple)
{
	bool isnull;
	Datum body = heap_getattr(tuple, ENTRY_BODY, run->entry_desc, &isnull);

	return isnull ? NULL : DatumGetByteaPP(body);
}

/* Remembers what an entry that says who says. */
static void
verify_note_who(VerifyRun *run, const CanonicalEntry *context)
{
	CanonicalWho who;

	run->context_incarnation = context->incarnation;
	run->context_txid = context->txid;
	run->context_seq = context->seq;
	memcpy(run->context_org.data, context->org, UUID_LEN);
	if (!canonical_parse_who(context->who, context->who_len, &who))
		memset(&who, 0, sizeof(who)); /* cannot be: the entry has been parsed */
	run->context_has[0] = who.member != NULL;
	run->context_has[1] = who.session != NULL;
	run->context_has[2] = who.address != NULL;
	if (who.member != NULL)
		memcpy(run->context_member.data, who.member, UUID_LEN);
	if (who.session != NULL)
		memcpy(run->context_session.data, who.session, UUID_LEN);
	if (who.address != NULL)
		run->context_address = (int64) canonical_u64(who.address);
}

/* True when what a leaf repeats of its entry, for searching, is so; the entry's context was looked at last. */
static bool
verify_leaf_columns(VerifyRun *run, HeapTuple leaf, TupleDesc desc, bytea *body)
{
	CanonicalEntry entry;
	bool isnull;
	Datum value;

	if (!canonical_parse_entry((uint8 *) VARDATA_ANY(body), VARSIZE_ANY_EXHDR(body), &entry))
		return true; /* has been said */
	if (verify_int(leaf, LEAF_AT, desc) != entry.at ||
		(uint32) verify_int(leaf, LEAF_KEY_ID, desc) != entry.key_id ||
		(uint64) verify_int(leaf, LEAF_ROW, desc) != entry.row)
		return false;
	value = heap_getattr(leaf, LEAF_ADDRESS, desc, &isnull);
	if (isnull == run->context_has[2] || (!isnull && DatumGetInt64(value) != run->context_address))
		return false;
	value = heap_getattr(leaf, LEAF_MEMBER, desc, &isnull);
	if (isnull == run->context_has[0] ||
		(!isnull && !base_uuid_equal(DatumGetUUIDP(value), &run->context_member)))
		return false;
	value = heap_getattr(leaf, LEAF_SESSION, desc, &isnull);
	return isnull != run->context_has[1] &&
		   (isnull || base_uuid_equal(DatumGetUUIDP(value), &run->context_session));
}

/* True when the entry that another one names as its context says who: it stands in the same partition. */
static bool
verify_context(VerifyRun *run, const CanonicalEntry *entry, DateADT month)
{
	HeapTuple tuple;
	bytea *body;
	CanonicalEntry context;

	if (entry->context == entry->seq)
	{
		verify_note_who(run, entry);
		return true;
	}
	if ((run->context_txid == entry->txid && run->context_seq == entry->context &&
		 run->context_incarnation == entry->incarnation &&
		 memcmp(run->context_org.data, entry->org, UUID_LEN) == 0))
		return true;
	tuple = audit_entries_find(&run->entries, run->snapshot, month, entry->incarnation, entry->txid,
							   entry->context);
	if (tuple == NULL || (body = verify_body(run, tuple)) == NULL ||
		!canonical_parse_entry((uint8 *) VARDATA_ANY(body), VARSIZE_ANY_EXHDR(body), &context) ||
		context.who == NULL || memcmp(context.org, entry->org, UUID_LEN) != 0)
		return false;
	verify_note_who(run, &context);
	return true;
}

/* What is wrong with the image, or the former one; whole is cleared when its key is not there. */
static const char *
verify_image(VerifyRun *run, const uint8 *body, const CanonicalEntry *entry, bool former,
			 bool *whole)
{
	const VerifyKey *known;
	const uint8 *salt;
	uint8 *plain;
	size_t len;
	bool ok;

	if (former && entry->former == NULL)
		return NULL;
	known = verify_image_key(run, entry, former ? entry->former_key_id : entry->key_id);
	if (known->foreign)
		return "entry is sealed under a key that is not the organisation's";
	if (!known->usable)
	{
		*whole = false;
		return NULL;
	}
	plain = audit_open_image(body, entry, former, &len, &salt);
	if (plain == NULL)
		return "image of the entry does not open under the organisation's audit key";
	ok = canonical_check_image(plain, len) &&
		 commit_image(&run->hashes, salt, former ? entry->former : entry->image, plain, len);
	crypto_wipe(plain, len);
	return ok ? NULL : "image of the entry is malformed";
}

/* The same of the origin, which stands under the organisation's audit key. */
static const char *
verify_origin(VerifyRun *run, const uint8 *body, const CanonicalEntry *entry, bool *whole)
{
	VerifyKey ask;
	const uint8 *salt;
	CryptoXaes *key;
	CanonicalOrigin origin;
	uint8 *plain;
	size_t len;
	bool ok;

	if (entry->origin == NULL)
		return NULL;
	memset(&ask, 0, sizeof(ask));
	memcpy(ask.id.org.data, entry->org, UUID_LEN);
	if (!run->origin_known || !base_uuid_equal(&run->origin_org, &ask.id.org))
	{
		run->origin_known = true;
		run->origin_org = ask.id.org;
		run->origin_usable = verify_try_key(verify_ask_origin_key, &ask);
		if (!run->origin_usable)
			verify_report(run, "warning", &ask.id.org, 0,
						  "audit key cannot be had: whether origins open was not checked");
	}
	if (!run->origin_usable)
	{
		*whole = false;
		return NULL;
	}
	key = keyring_image_key(&ask.id.org, NULL, &ask.id.key_id, &salt);
	plain = audit_open_sealed(body, entry, CANONICAL_LABEL_ORIGIN, entry->origin, entry->origin_len,
							  key, &len);
	if (plain == NULL)
		return "origin of the entry does not open under the organisation's audit key";
	ok = canonical_parse_origin(plain, len, &origin) &&
		 commit_origin(&run->hashes, salt, entry->origin, plain, len);
	crypto_wipe(plain, len);
	return ok ? NULL : "origin of the entry is malformed";
}

/* What is wrong with the body of an entry and the columns beside it; NULL when nothing is. */
static const char *
verify_entry(VerifyRun *run, HeapTuple tuple, const pg_uuid_t *org)
{
	TupleDesc desc = run->entry_desc;
	bytea *bytes = verify_body(run, tuple);
	DateADT month = (DateADT) verify_int(tuple, ENTRY_MONTH, desc);
	const uint8 *body;
	CanonicalEntry entry;
	pg_uuid_t row_org;
	const char *problem;
	uint8 hash[COMMIT_HASH_BYTES];
	bool whole = true;

	if (bytes == NULL)
		return "entry has no body";
	body = (const uint8 *) VARDATA_ANY(bytes);
	if (!canonical_parse_entry(body, VARSIZE_ANY_EXHDR(bytes), &entry))
		return "body of the entry is malformed";
	verify_uuid(tuple, ENTRY_ORG, desc, &row_org);
	if (memcmp(entry.org, org->data, UUID_LEN) != 0 ||
		memcmp(entry.org, row_org.data, UUID_LEN) != 0)
		return "body of the entry names another organisation";
	if (entry.incarnation != (uint32) verify_int(tuple, ENTRY_INCARNATION, desc) ||
		entry.txid != (uint64) verify_int(tuple, ENTRY_TXID, desc) ||
		entry.seq != (uint32) verify_int(tuple, ENTRY_SEQ, desc))
		return "body of the entry names another transaction or place in it";
	if (entry.at != verify_int(tuple, ENTRY_AT, desc) ||
		entry.context != (uint32) verify_int(tuple, ENTRY_CONTEXT, desc) ||
		month > audit_month(entry.at))
		return "columns of the entry differ from its body";
	if (!verify_context(run, &entry, month))
		return "entry of the same transaction that says who is missing";
	run->hashes.len = 0;
	if ((problem = verify_image(run, body, &entry, false, &whole)) != NULL ||
		(problem = verify_image(run, body, &entry, true, &whole)) != NULL ||
		(problem = verify_origin(run, body, &entry, &whole)) != NULL)
		return problem;
	if (whole && (!commit_root(run->hashes.data, run->hashes.len, hash) ||
				  memcmp(hash, entry.commitment, sizeof(hash)) != 0))
		return "commitments of the entry are not those of its image";
	return NULL;
}

/* ---- the tree of an organisation ---- */

static SysScanDesc
verify_scan_org(VerifyRun *run, Relation rel, Relation index, AttrNumber column,
				const pg_uuid_t *org)
{
	ScanKeyData key;

	ScanKeyInit(&key, column, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(org));
	return systable_beginscan_ordered(rel, index, run->snapshot, 1, &key);
}

/* Checks the entry that a leaf stands for. */
static void
verify_leaf(VerifyRun *run, const pg_uuid_t *org, uint64 position, HeapTuple leaf, TupleDesc desc)
{
	MemoryContext old = MemoryContextSwitchTo(run->row);
	uint8 stored[TREE_HASH_BYTES];
	uint8 hash[TREE_HASH_BYTES];
	HeapTuple entry;
	bytea *body;
	const char *problem;

	entry = audit_entries_find(&run->entries, run->snapshot,
							   (DateADT) verify_int(leaf, LEAF_MONTH, desc),
							   (uint32) verify_int(leaf, LEAF_INCARNATION, desc),
							   (uint64) verify_int(leaf, LEAF_TXID, desc),
							   (uint32) verify_int(leaf, LEAF_SEQ, desc));
	audit_copy_hash(leaf, desc, LEAF_HASH, stored);
	if (entry == NULL)
		verify_report(run, "error", org, position,
					  "entry of transaction " INT64_FORMAT ", number " INT64_FORMAT " is missing",
					  verify_int(leaf, LEAF_TXID, desc), verify_int(leaf, LEAF_SEQ, desc));
	else if ((body = verify_body(run, entry)) == NULL)
		verify_report(run, "error", org, position, "entry has no body");
	else
	{
		verify_check_hash(tree_leaf_hash(VARDATA_ANY(body), VARSIZE_ANY_EXHDR(body), hash));
		if (memcmp(hash, stored, TREE_HASH_BYTES) != 0)
			verify_report(run, "error", org, position,
						  "entry is not the one that was sealed: its hash differs from the leaf");
		else if ((problem = verify_entry(run, entry, org)) != NULL)
			verify_report(run, "error", org, position, "%s", problem);
		else if (!verify_leaf_columns(run, leaf, desc, body))
			verify_report(run, "error", org, position, "columns of the leaf differ from its entry");
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(run->row);
}

/* Checks every leaf of an organisation, and the root of every batch. */
static void
verify_org(VerifyRun *run, const pg_uuid_t *org, Relation leaves, Relation leaf_index,
		   Relation batches, Relation batch_index)
{
	TupleDesc leaf_desc = RelationGetDescr(leaves);
	TupleDesc batch_desc = RelationGetDescr(batches);
	SysScanDesc leaf_scan = verify_scan_org(run, leaves, leaf_index, LEAF_ORG, org);
	SysScanDesc batch_scan = verify_scan_org(run, batches, batch_index, BATCH_ORG, org);
	HeapTuple batch = systable_getnext_ordered(batch_scan, ForwardScanDirection);
	HeapTuple leaf;
	TreeFrontier tree;
	uint64 last = 0;
	uint64 begin = 1;	 /* where the next batch must begin */
	bool broken = false; /* from here on no root can fit */

	memset(&tree, 0, sizeof(tree));
	while (HeapTupleIsValid(leaf = systable_getnext_ordered(leaf_scan, ForwardScanDirection)))
	{
		int64 position = verify_int(leaf, LEAF_POSITION, leaf_desc);
		uint8 hash[TREE_HASH_BYTES];

		CHECK_FOR_INTERRUPTS();
		if (position < 1)
		{
			verify_report(run, "error", org, 0, "leaf has the impossible position " INT64_FORMAT,
						  position);
			continue;
		}
		if ((uint64) position != last + 1)
		{
			verify_report(run, "error", org, last + 1,
						  "leaves " UINT64_FORMAT " to " INT64_FORMAT " are missing", last + 1,
						  position - 1);
			broken = true;
		}
		verify_leaf(run, org, position, leaf, leaf_desc);
		audit_copy_hash(leaf, leaf_desc, LEAF_HASH, hash);
		verify_check_hash(tree_append(&tree, hash));
		last = position;
		while (batch != NULL && (uint64) verify_int(batch, BATCH_LAST, batch_desc) <= last)
		{
			uint64 batch_last = verify_int(batch, BATCH_LAST, batch_desc);
			int64 number = verify_int(batch, BATCH_NO, batch_desc);
			uint8 root[TREE_HASH_BYTES];
			uint8 stored[TREE_HASH_BYTES];

			if ((uint64) verify_int(batch, BATCH_FIRST, batch_desc) != begin)
				verify_report(run, "error", org, begin,
							  "batch " INT64_FORMAT " begins at position " INT64_FORMAT
							  " instead of " UINT64_FORMAT,
							  number, verify_int(batch, BATCH_FIRST, batch_desc), begin);
			if (batch_last == last && !broken)
			{
				verify_check_hash(tree_root(&tree, root));
				audit_copy_hash(batch, batch_desc, BATCH_ORG_ROOT, stored);
				if (memcmp(root, stored, TREE_HASH_BYTES) != 0)
				{
					verify_report(run, "error", org, begin,
								  "leaves " UINT64_FORMAT " to " UINT64_FORMAT
								  " do not give the root of batch " INT64_FORMAT
								  "; later roots of this organisation were not checked",
								  begin, batch_last, number);
					broken = true;
				}
			}
			begin = batch_last + 1;
			batch = systable_getnext_ordered(batch_scan, ForwardScanDirection);
		}
	}
	if (batch != NULL)
		verify_report(run, "error", org, last + 1,
					  "log was cut: batch " INT64_FORMAT " ends at position " INT64_FORMAT
					  ", the last leaf is " UINT64_FORMAT,
					  verify_int(batch, BATCH_NO, batch_desc),
					  verify_int(batch, BATCH_LAST, batch_desc), last);
	else if (begin <= last)
		verify_report(run, "error", org, begin,
					  "leaves " UINT64_FORMAT " to " UINT64_FORMAT " are in no batch", begin, last);
	systable_endscan_ordered(batch_scan);
	systable_endscan_ordered(leaf_scan);
}

/* Checks the organisations that have a leaf or a batch, or the one that was asked for. */
static void
verify_orgs(VerifyRun *run)
{
	MemoryContext memory = CurrentMemoryContext;
	pg_uuid_t *orgs = &run->org;
	uint64 count = 1;
	Relation leaves;
	Relation leaf_index;
	Relation batches;
	Relation batch_index;

	if (run->all)
	{
		SPI_connect();
		if (SPI_execute("SELECT org_id FROM immiiq.batch UNION SELECT org_id FROM immiiq.leaf "
						"ORDER BY 1",
						true, 0) != SPI_OK_SELECT)
			elog(ERROR, "could not list the organisations of the log");
		count = SPI_processed;
		orgs = MemoryContextAllocHuge(memory, sizeof(pg_uuid_t) * Max(count, 1));
		for (uint64 i = 0; i < count; i++)
			verify_uuid(SPI_tuptable->vals[i], 1, SPI_tuptable->tupdesc, &orgs[i]);
		SPI_finish();
	}
	leaves = table_open(base_relation("leaf"), AccessShareLock);
	leaf_index = index_open(base_relation("leaf_pkey"), AccessShareLock);
	batches = table_open(base_relation("batch"), AccessShareLock);
	batch_index = index_open(base_relation("batch_org_key"), AccessShareLock);
	for (uint64 i = 0; i < count; i++)
		verify_org(run, &orgs[i], leaves, leaf_index, batches, batch_index);
	index_close(batch_index, AccessShareLock);
	table_close(batches, AccessShareLock);
	index_close(leaf_index, AccessShareLock);
	table_close(leaves, AccessShareLock);
}

/* ---- the tree of the database ---- */

/* A public key of the log, as immiiq.log_key has it. */
typedef struct VerifyLogKey
{
	uint8 public[CRYPTO_PUB_BYTES];
	char *origin;
} VerifyLogKey;

static bool
verify_find_log_key(VerifyRun *run, uint32 key_hash, VerifyLogKey *key)
{
	Relation rel = table_open(base_relation("log_key"), AccessShareLock);
	ScanKeyData scankey;
	SysScanDesc scan;
	HeapTuple tuple;
	bool isnull;

	ScanKeyInit(&scankey, LOGKEY_HASH, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum((int32) key_hash));
	scan = systable_beginscan(rel, base_relation("log_key_pkey"), true, run->snapshot, 1, &scankey);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		audit_copy_hash(tuple, RelationGetDescr(rel), LOGKEY_PUBLIC, key->public);
		key->origin =
			TextDatumGetCString(heap_getattr(tuple, LOGKEY_ORIGIN, RelationGetDescr(rel), &isnull));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return HeapTupleIsValid(tuple) && audit_key_hash(key->origin, key->public) == key_hash;
}

/* What is wrong with the signature of a head; NULL when nothing is. own: this installation's key, NULL when unknown. */
static const char *
verify_head(VerifyRun *run, HeapTuple head, TupleDesc desc, const uint8 *own)
{
	VerifyLogKey key;
	uint8 root[TREE_HASH_BYTES];
	bytea *signature;
	char *text;
	bool isnull;

	if (!verify_find_log_key(run, (uint32) verify_int(head, HEAD_KEY_HASH, desc), &key))
		return "is signed by a key that the log does not know";
	if (own != NULL && memcmp(own, key.public, CRYPTO_PUB_BYTES) != 0)
		return "is signed by a key that is not this installation's";
	audit_copy_hash(head, desc, HEAD_ROOT, root);
	text = audit_checkpoint_body(key.origin, (uint64) verify_int(head, HEAD_SIZE, desc), root);
	signature = DatumGetByteaPP(heap_getattr(head, HEAD_SIGNATURE, desc, &isnull));
	if (VARSIZE_ANY_EXHDR(signature) != CRYPTO_SIG_BYTES ||
		!crypto_ed25519_verify(key.public, text, strlen(text), (uint8 *) VARDATA_ANY(signature)))
		return "has a signature that does not hold";
	return NULL;
}

/* Checks the chain of batches, its tree, and every signed head. */
static void
verify_database(VerifyRun *run)
{
	Relation batches = table_open(base_relation("batch"), AccessShareLock);
	Relation batch_index = index_open(base_relation("batch_pkey"), AccessShareLock);
	Relation heads = table_open(base_relation("tree_head"), AccessShareLock);
	Relation head_index = index_open(base_relation("tree_head_pkey"), AccessShareLock);
	TupleDesc batch_desc = RelationGetDescr(batches);
	TupleDesc head_desc = RelationGetDescr(heads);
	SysScanDesc batch_scan =
		systable_beginscan_ordered(batches, batch_index, run->snapshot, 0, NULL);
	SysScanDesc head_scan = systable_beginscan_ordered(heads, head_index, run->snapshot, 0, NULL);
	HeapTuple head = systable_getnext_ordered(head_scan, ForwardScanDirection);
	HeapTuple batch;
	TreeFrontier tree;
	uint64 last = 0;
	uint64 signed_to = 0;
	bool broken = false;
	uint8 secret[CRYPTO_SEED_BYTES];
	uint8 own[CRYPTO_PUB_BYTES];
	bool have_own = false;

	if (head != NULL)
	{
		have_own =
			verify_try_key(verify_ask_signing_key, secret) && crypto_ed25519_public(secret, own);
		crypto_wipe(secret, sizeof(secret));
		if (!have_own)
			verify_report(run, "warning", NULL, 0,
						  "installation key cannot be had: signatures were checked against the "
						  "public keys in the database alone");
	}
	memset(&tree, 0, sizeof(tree));
	for (;;)
	{
		uint64 number;
		pg_uuid_t org;
		uint8 hash[TREE_HASH_BYTES];
		uint8 stored[TREE_HASH_BYTES];

		/* heads up to here; one that lies in a gap has no root to be compared with */
		while (head != NULL && (uint64) verify_int(head, HEAD_SIZE, head_desc) <= last)
		{
			uint64 size = verify_int(head, HEAD_SIZE, head_desc);
			const char *problem = verify_head(run, head, head_desc, have_own ? own : NULL);

			if (problem != NULL)
				verify_report(run, "error", NULL, 0, "head of " UINT64_FORMAT " batches %s", size,
							  problem);
			verify_check_hash(tree_root(&tree, hash));
			audit_copy_hash(head, head_desc, HEAD_ROOT, stored);
			if (!broken && size == last && memcmp(hash, stored, TREE_HASH_BYTES) != 0)
			{
				verify_report(run, "error", NULL, 0,
							  "batches " UINT64_FORMAT " to " UINT64_FORMAT
							  " do not give the signed root of " UINT64_FORMAT
							  " batches; later roots were not checked",
							  signed_to + 1, size, size);
				broken = true;
			}
			signed_to = size;
			head = systable_getnext_ordered(head_scan, ForwardScanDirection);
		}
		batch = systable_getnext_ordered(batch_scan, ForwardScanDirection);
		if (!HeapTupleIsValid(batch))
			break;
		CHECK_FOR_INTERRUPTS();
		number = verify_int(batch, BATCH_NO, batch_desc);
		verify_uuid(batch, BATCH_ORG, batch_desc, &org);
		if (number != last + 1)
		{
			verify_report(run, "error", NULL, 0,
						  "batches " UINT64_FORMAT " to " UINT64_FORMAT " are missing", last + 1,
						  number - 1);
			broken = true;
		}
		if (!broken)
		{
			verify_check_hash(tree_root(&tree, hash));
			audit_copy_hash(batch, batch_desc, BATCH_PREVIOUS, stored);
			if (memcmp(hash, stored, TREE_HASH_BYTES) != 0)
			{
				verify_report(run, "error", &org, verify_int(batch, BATCH_FIRST, batch_desc),
							  "batch " UINT64_FORMAT " does not name the root of the batches "
							  "before it; later roots were not checked",
							  number);
				broken = true;
			}
		}
		audit_batch_leaf(batch, batch_desc, hash);
		verify_check_hash(tree_append(&tree, hash));
		last = number;
	}
	if (head != NULL)
		verify_report(run, "error", NULL, 0,
					  "log was cut: a signed head covers " INT64_FORMAT
					  " batches, the last one is " UINT64_FORMAT,
					  verify_int(head, HEAD_SIZE, head_desc), last);
	else if (signed_to < last)
		verify_report(run, "error", NULL, 0,
					  "batches " UINT64_FORMAT " to " UINT64_FORMAT " are under no signed head",
					  signed_to + 1, last);
	systable_endscan_ordered(head_scan);
	systable_endscan_ordered(batch_scan);
	index_close(head_index, AccessShareLock);
	table_close(heads, AccessShareLock);
	index_close(batch_index, AccessShareLock);
	table_close(batches, AccessShareLock);
}

/* ---- entries without a leaf ---- */

/* True while the sealer has not passed by: the transaction counts as open or new in the state it left. */
static bool
verify_is_pending(uint64 txid, uint32 incarnation, HeapTuple state, TupleDesc desc, bool marks)
{
	bool isnull;
	Datum *open;
	int nopen;
	bool pending = false;

	if (marks || state == NULL)
		return true;
	if (incarnation != audit_incarnation())
		return false;
	if (txid >= (uint64) verify_int(state, STATE_HORIZON, desc))
		return true;
	deconstruct_array(DatumGetArrayTypeP(heap_getattr(state, STATE_OPEN, desc, &isnull)), INT8OID,
					  8, true, TYPALIGN_DOUBLE, &open, NULL, &nopen);
	for (int i = 0; i < nopen && !pending; i++)
		pending = (uint64) DatumGetInt64(open[i]) == txid;
	pfree(open);
	return pending;
}

/* Checks the entries that have no leaf: the sealer will come to them, or they are not its. */
static void
verify_unsealed(VerifyRun *run)
{
	Relation states = table_open(base_relation("seal_state"), AccessShareLock);
	Relation marks = table_open(base_relation("restored"), AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple state;
	bool marked;
	TimestampTz now = GetCurrentTimestamp();
	uint64 late = 0;
	pg_uuid_t late_org;
	Oid types[1] = {UUIDOID};
	Datum args[1] = {UUIDPGetDatum(&run->org)};
	char nulls[2] = {run->all ? 'n' : ' ', '\0'};
	SPIPlanPtr plan;
	Portal portal;

	ScanKeyInit(&key, STATE_INCARNATION, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum((int32) audit_incarnation()));
	scan =
		systable_beginscan(states, base_relation("seal_state_pkey"), true, run->snapshot, 1, &key);
	state = systable_getnext(scan);
	if (state != NULL)
		state = heap_copytuple(state);
	systable_endscan(scan);
	scan = systable_beginscan(marks, InvalidOid, false, run->snapshot, 0, NULL);
	marked = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);

	SPI_connect();
	plan = SPI_prepare("SELECT e.* FROM immiiq.entry e "
					   "WHERE ($1 IS NULL OR e.org_id OPERATOR(pg_catalog.=) $1) "
					   "AND NOT EXISTS (SELECT FROM immiiq.leaf l "
					   "WHERE l.incarnation OPERATOR(pg_catalog.=) e.incarnation "
					   "AND l.txid OPERATOR(pg_catalog.=) e.txid "
					   "AND l.seq OPERATOR(pg_catalog.=) e.seq)",
					   1, types);
	if (plan == NULL)
		elog(ERROR, "could not prepare a query of the verification");
	portal = SPI_cursor_open(NULL, plan, args, nulls, true);
	for (;;)
	{
		SPI_cursor_fetch(portal, true, 256);
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			HeapTuple tuple = SPI_tuptable->vals[i];
			uint64 txid = verify_int(tuple, ENTRY_TXID, SPI_tuptable->tupdesc);
			int64 seq = verify_int(tuple, ENTRY_SEQ, SPI_tuptable->tupdesc);
			MemoryContext old = MemoryContextSwitchTo(run->row);
			pg_uuid_t org;
			const char *problem;

			verify_uuid(tuple, ENTRY_ORG, SPI_tuptable->tupdesc, &org);
			if (!verify_is_pending(txid,
								   (uint32) verify_int(tuple, ENTRY_INCARNATION,
													   SPI_tuptable->tupdesc),
								   state, RelationGetDescr(states), marked))
				verify_report(run, "error", &org, 0,
							  "entry of transaction " UINT64_FORMAT ", number " INT64_FORMAT
							  " was never sealed and never will be: it was put in, or its leaf "
							  "taken out",
							  txid, seq);
			else if ((problem = verify_entry(run, tuple, &org)) != NULL)
				verify_report(run, "error", &org, 0,
							  "entry of transaction " UINT64_FORMAT ", number " INT64_FORMAT
							  " that waits for its seal: %s",
							  txid, seq, problem);
			else if (TimestampDifferenceExceeds(verify_int(tuple, ENTRY_AT, SPI_tuptable->tupdesc),
												now, VERIFY_LATE_MS))
			{
				if (late++ == 0)
					late_org = org;
			}
			MemoryContextSwitchTo(old);
			MemoryContextReset(run->row);
			CHECK_FOR_INTERRUPTS();
		}
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	if (late > 0)
		verify_report(run, "warning", run->all ? NULL : &late_org, 0,
					  UINT64_FORMAT " entries have waited for their seal for over five minutes",
					  late);

	/* no entry may have two leaves */
	plan = SPI_prepare("SELECT l.org_id, pg_catalog.max(l.position), pg_catalog.min(l.position) "
					   "FROM immiiq.leaf l "
					   "WHERE $1 IS NULL OR l.org_id OPERATOR(pg_catalog.=) $1 "
					   "GROUP BY l.org_id, l.incarnation, l.txid, l.seq "
					   "HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 1",
					   1, types);
	if (plan == NULL || SPI_execute_plan(plan, args, nulls, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run a query of the verification");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		pg_uuid_t org;

		verify_uuid(SPI_tuptable->vals[i], 1, SPI_tuptable->tupdesc, &org);
		verify_report(run, "error", &org,
					  verify_int(SPI_tuptable->vals[i], 2, SPI_tuptable->tupdesc),
					  "leaf stands for the same entry as the one at position " INT64_FORMAT,
					  verify_int(SPI_tuptable->vals[i], 3, SPI_tuptable->tupdesc));
	}
	SPI_finish();
	table_close(marks, AccessShareLock);
	table_close(states, AccessShareLock);
}

PG_FUNCTION_INFO_V1(immiiq_verify_audit);

/*
 * immiiq.verify_audit(org uuid): one row (severity, org, position, problem) for
 * everything in which the log does not hold together; none when it is whole.
 * NULL: every organisation.  severity is 'error' for what cannot come about
 * without tampering or damage, 'warning' for what could not be checked or is
 * late.  Reads one snapshot; changes nothing.
 */
Datum
immiiq_verify_audit(PG_FUNCTION_ARGS)
{
	VerifyRun run;
	HASHCTL ctl;
	Relation entry;

	base_require_preload();
	InitMaterializedSRF(fcinfo, 0);
	memset(&run, 0, sizeof(run));
	run.result = (ReturnSetInfo *) fcinfo->resultinfo;
	run.snapshot = GetActiveSnapshot();
	run.all = PG_ARGISNULL(0);
	if (!run.all)
		run.org = *PG_GETARG_UUID_P(0);
	run.row =
		AllocSetContextCreate(CurrentMemoryContext, "immiiq verify row", ALLOCSET_DEFAULT_SIZES);
	memset(&ctl, 0, sizeof(ctl));
	ctl.keysize = sizeof(((VerifyKey *) 0)->id);
	ctl.entrysize = sizeof(VerifyKey);
	ctl.hcxt = CurrentMemoryContext;
	run.keys = hash_create("immiiq verify keys", 256, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	run.hashes.grow = verify_grow;
	entry = table_open(base_relation("entry"), AccessShareLock);
	run.entry_desc = RelationGetDescr(entry);
	audit_entries_open(&run.entries);

	verify_orgs(&run);
	verify_database(&run);
	verify_unsealed(&run);

	audit_entries_close(&run.entries);
	table_close(entry, AccessShareLock);
	hash_destroy(run.keys);
	if (run.hashes.data != NULL)
		pfree(run.hashes.data);
	MemoryContextDelete(run.row);
	return (Datum) 0;
}
