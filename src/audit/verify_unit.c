/*
 * Verification of entries: a unit of an organisation's leaves at a time, each
 * held against its entry, in the session or in a parallel worker.  Trusts nothing
 * that the tables say; says what it finds in messages, in order.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/nbtree.h"
#include "access/parallel.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "audit/audit_internal.h"
#include "audit/commit.h"
#include "audit/verify.h"
#include "base/base.h"
#include "keyring/keyring.h"

/* How far the scan of entries is walked on before it is placed anew. */
#define VERIFY_WALK 8

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

/* ---- saying ---- */

static void
verify_send(VerifyRun *run, size_t data_len, bool flush)
{
	if (run->queue == NULL)
		run->consume(run, run->message);
	else if (shm_mq_send(run->queue, VERIFY_MESSAGE_BASE + data_len, run->message, false, flush) !=
			 SHM_MQ_SUCCESS)
		elog(ERROR, "could not send to the session that verifies");
}

static VerifyMessage *
verify_message(VerifyRun *run, VerifyMessageKind kind)
{
	memset(run->message, 0, VERIFY_MESSAGE_BASE);
	run->message->kind = kind;
	return run->message;
}

/* Puts the tree of the unit behind a message; number of its bytes. */
static size_t
verify_put_tree(VerifyMessage *message, const TreeFrontier *tree)
{
	size_t len = tree_node_count(tree->size) * TREE_HASH_BYTES;

	message->size = tree->size;
	memcpy(message->data, tree->nodes, len);
	return len;
}

void
verify_report(VerifyRun *run, const char *severity, const pg_uuid_t *org, uint64 position,
			  const char *format, ...)
{
	VerifyMessage *message = verify_message(run, VERIFY_FINDING);
	va_list args;

	message->error = strcmp(severity, "error") == 0;
	message->has_org = org != NULL;
	if (org != NULL)
		message->org = *org;
	message->position = position;
	va_start(args, format);
	vsnprintf(message->data, VERIFY_TEXT_MAX, format, args);
	va_end(args);
	verify_send(run, strlen(message->data) + 1, false);
}

static void *
verify_grow(void *old, size_t size)
{
	return old == NULL ? MemoryContextAllocHuge(TopTransactionContext, size)
					   : repalloc_huge(old, size);
}

void
verify_check_hash(bool ok)
{
	if (!ok)
		elog(ERROR, "could not compute a hash");
}

int64
verify_int(HeapTuple tuple, AttrNumber column, TupleDesc desc)
{
	bool isnull;
	Datum value = heap_getattr(tuple, column, desc, &isnull);

	if (isnull)
		return 0;
	return TupleDescAttr(desc, column - 1)->attlen == sizeof(int32) ? DatumGetInt32(value)
																	: DatumGetInt64(value);
}

void
verify_uuid(HeapTuple tuple, AttrNumber column, TupleDesc desc, pg_uuid_t *out)
{
	bool isnull;
	Datum value = heap_getattr(tuple, column, desc, &isnull);

	memset(out, 0, sizeof(*out));
	if (!isnull)
		*out = *DatumGetUUIDP(value);
}

static int64
verify_slot_int(TupleTableSlot *slot, AttrNumber column)
{
	if (slot->tts_isnull[column - 1])
		return 0;
	return TupleDescAttr(slot->tts_tupleDescriptor, column - 1)->attlen == sizeof(int32)
			   ? DatumGetInt32(slot->tts_values[column - 1])
			   : DatumGetInt64(slot->tts_values[column - 1]);
}

static void
verify_slot_hash(TupleTableSlot *slot, AttrNumber column, uint8 out[TREE_HASH_BYTES])
{
	bytea *value;

	memset(out, 0, TREE_HASH_BYTES);
	if (slot->tts_isnull[column - 1])
		return;
	value = DatumGetByteaPP(slot->tts_values[column - 1]);
	if (VARSIZE_ANY_EXHDR(value) == TREE_HASH_BYTES)
		memcpy(out, VARDATA_ANY(value), TREE_HASH_BYTES);
}

/* ---- keys ---- */

/*
 * Parallel operations have no subtransactions, so only what the call took with
 * a resource owner of its own is given back when it fails.
 */
int
verify_try(void (*call)(void *), void *arg)
{
	MemoryContext memory = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ResourceOwner mine = ResourceOwnerCreate(owner, "immiiq verify");
	volatile int code = 0;

	CurrentResourceOwner = mine;
	PG_TRY();
	{
		call(arg);
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(memory);
		error = CopyErrorData();
		FlushErrorState();
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != MAKE_SQLSTATE('I', 'Q', '0', '0', '0'))
			ReThrowError(error);
		code = error->sqlerrcode;
		FreeErrorData(error);
	}
	PG_END_TRY();
	CurrentResourceOwner = owner;
	ResourceOwnerRelease(mine, RESOURCE_RELEASE_BEFORE_LOCKS, code == 0, false);
	ResourceOwnerRelease(mine, RESOURCE_RELEASE_LOCKS, code == 0, false);
	ResourceOwnerRelease(mine, RESOURCE_RELEASE_AFTER_LOCKS, code == 0, false);
	ResourceOwnerDelete(mine);
	return code;
}

bool
verify_try_key(void (*call)(void *), void *arg)
{
	int code = verify_try(call, arg);

	if (code != 0 && code != ERRCODE_IMMIIQ_ROOT_KEY && code != ERRCODE_IMMIIQ_KEY)
		elog(ERROR, "could not ask for a key");
	return code == 0;
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

static bool
verify_table_has_key(VerifyRun *run, const char *table, const char *index, uint32 key_id)
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

bool
verify_key_exists(VerifyRun *run, uint32 key_id)
{
	return verify_table_has_key(run, "wrapped_key", "wrapped_key_pkey", key_id) ||
		   verify_table_has_key(run, "subject_key", "subject_key_pkey", key_id);
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
			known->foreign = verify_key_exists(run, key_id);
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

/* Prepares keys of a scan of entry_pkey that begins at one entry and goes on behind it. */
static void
verify_place(ScanKey members, uint32 incarnation, uint64 txid, uint32 seq, ScanKey key)
{
	Datum values[3] = {Int64GetDatum((int64) txid), Int32GetDatum((int32) incarnation),
					   Int32GetDatum((int32) seq)};

	/* members of a row are compared by the order's function */
	for (int i = 0; i < 3; i++)
		ScanKeyEntryInitialize(&members[i], SK_ROW_MEMBER | (i == 2 ? SK_ROW_END : 0), i + 1,
							   BTGreaterEqualStrategyNumber, i == 0 ? INT8OID : INT4OID, InvalidOid,
							   i == 0 ? F_BTINT8CMP : F_BTINT4CMP, values[i]);
	memset(key, 0, sizeof(*key));
	key->sk_flags = SK_ROW_HEADER;
	key->sk_attno = 1;
	key->sk_strategy = BTGreaterEqualStrategyNumber;
	key->sk_argument = PointerGetDatum(members);
}

void
verify_read_entry(TupleTableSlot *slot, VerifyEntry *row)
{
	slot_getallattrs(slot);
	memset(row, 0, sizeof(*row));
	row->txid = (uint64) verify_slot_int(slot, ENTRY_TXID);
	row->at = verify_slot_int(slot, ENTRY_AT);
	if (!slot->tts_isnull[ENTRY_ORG - 1])
		row->org = *DatumGetUUIDP(slot->tts_values[ENTRY_ORG - 1]);
	row->incarnation = (uint32) verify_slot_int(slot, ENTRY_INCARNATION);
	row->seq = (uint32) verify_slot_int(slot, ENTRY_SEQ);
	row->month = (DateADT) verify_slot_int(slot, ENTRY_MONTH);
	row->body = audit_entry_bytes(slot->tts_values, slot->tts_isnull, &row->len);
}

/* How the name of the row in a slot stands to another: below 0, 0, above 0. */
static int
verify_compare_entry(TupleTableSlot *slot, uint32 incarnation, uint64 txid, uint32 seq)
{
	int64 a = verify_slot_int(slot, ENTRY_TXID);
	int32 b = (int32) verify_slot_int(slot, ENTRY_INCARNATION);
	int32 c = (int32) verify_slot_int(slot, ENTRY_SEQ);

	if (a != (int64) txid)
		return a < (int64) txid ? -1 : 1;
	if (b != (int32) incarnation)
		return b < (int32) incarnation ? -1 : 1;
	return c < (int32) seq ? -1 : c > (int32) seq;
}

/*
 * Puts the row of an entry into the scan's slot; false when there is none.
 * Leaves follow their entries mostly in the order of the index: the scan goes on
 * from where it stands as long as that is near.
 */
static bool
verify_seek(VerifyScan *scan, uint32 incarnation, uint64 txid, uint32 seq)
{
	ScanKeyData key;

	for (int i = 0; scan->placed && i < VERIFY_WALK; i++)
	{
		int order;

		slot_getsomeattrs(scan->slot, ENTRY_SEQ);
		order = verify_compare_entry(scan->slot, incarnation, txid, seq);
		if (order == 0)
			return true;
		if (order > 0)
			break;
		scan->placed = index_getnext_slot(scan->scan, ForwardScanDirection, scan->slot);
	}
	verify_place(scan->members, incarnation, txid, seq, &key);
	index_rescan(scan->scan, &key, 1, NULL, 0);
	scan->placed = index_getnext_slot(scan->scan, ForwardScanDirection, scan->slot);
	if (!scan->placed)
		return false;
	slot_getsomeattrs(scan->slot, ENTRY_SEQ);
	return verify_compare_entry(scan->slot, incarnation, txid, seq) == 0;
}

bool
verify_find_entry(VerifyRun *run, bool context, DateADT month, uint32 incarnation, uint64 txid,
				  uint32 seq, VerifyEntry *row)
{
	MemoryContext old = MemoryContextSwitchTo(run->memory); /* scans allocate as they go */
	int at = audit_entries_choose(&run->entries, month);
	VerifyScan *scan;
	bool found;

	if (at < 0)
	{
		MemoryContextSwitchTo(old);
		return false;
	}
	scan = context ? &run->partitions[at].context : &run->partitions[at].entry;
	if (scan->slot == NULL)
		scan->slot = table_slot_create(run->entries.rels[at], NULL);
	if (OidIsValid(run->entries.indexes[at]))
	{
		if (run->partitions[at].index == NULL)
			run->partitions[at].index = index_open(run->entries.indexes[at], AccessShareLock);
		if (scan->scan == NULL)
			scan->scan = index_beginscan(run->entries.rels[at], run->partitions[at].index,
										 run->snapshot, NULL, 1, 0);
		found = verify_seek(scan, incarnation, txid, seq);
	}
	else
	{
		HeapTuple tuple =
			audit_entries_find(&run->entries, run->snapshot, month, incarnation, txid, seq);

		found = tuple != NULL;
		if (found)
			ExecForceStoreHeapTuple(tuple, scan->slot, true);
	}
	MemoryContextSwitchTo(old);
	if (found)
		verify_read_entry(scan->slot, row);
	return found;
}

static void
verify_end_scan(VerifyScan *scan)
{
	if (scan->slot != NULL)
		ExecDropSingleTupleTableSlot(scan->slot);
	if (scan->scan != NULL)
		index_endscan(scan->scan);
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
verify_leaf_columns(VerifyRun *run, TupleTableSlot *leaf, const CanonicalEntry *entry)
{
	const Datum *values = leaf->tts_values;
	const bool *nulls = leaf->tts_isnull;

	if (verify_slot_int(leaf, LEAF_AT) != entry->at ||
		(uint32) verify_slot_int(leaf, LEAF_KEY_ID) != entry->key_id ||
		(uint64) verify_slot_int(leaf, LEAF_ROW) != entry->row)
		return false;
	if (nulls[LEAF_ADDRESS - 1] == run->context_has[2] ||
		(!nulls[LEAF_ADDRESS - 1] && DatumGetInt64(values[LEAF_ADDRESS - 1]) != run->context_address))
		return false;
	if (nulls[LEAF_MEMBER - 1] == run->context_has[0] ||
		(!nulls[LEAF_MEMBER - 1] &&
		 !base_uuid_equal(DatumGetUUIDP(values[LEAF_MEMBER - 1]), &run->context_member)))
		return false;
	return nulls[LEAF_SESSION - 1] != run->context_has[1] &&
		   (nulls[LEAF_SESSION - 1] ||
			base_uuid_equal(DatumGetUUIDP(values[LEAF_SESSION - 1]), &run->context_session));
}

/* True when the entry that another one names as its context says who: it stands in the same partition. */
static bool
verify_context(VerifyRun *run, const CanonicalEntry *entry, DateADT month)
{
	VerifyEntry row;
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
	if (!verify_find_entry(run, true, month, entry->incarnation, entry->txid, entry->context, &row) ||
		!canonical_parse_entry(row.body, row.len, &context) || context.who == NULL ||
		memcmp(context.org, entry->org, UUID_LEN) != 0)
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
	uint8 nonce[CRYPTO_NONCE_BYTES];
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
	commit_salt_nonce(entry, false, nonce);
	ok = canonical_check_image(plain, len) && commit_image(&run->hashes, salt, nonce, plain, len);
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
	uint8 nonce[CRYPTO_NONCE_BYTES];
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
	plain = audit_open_sealed(body, entry, CANONICAL_F_ORIGIN, key, &len);
	if (plain == NULL)
		return "origin of the entry does not open under the organisation's audit key";
	commit_salt_nonce(entry, true, nonce);
	ok = canonical_parse_origin(plain, len, &origin) &&
		 commit_origin(&run->hashes, salt, nonce, plain, len);
	crypto_wipe(plain, len);
	return ok ? NULL : "origin of the entry is malformed";
}

const char *
verify_entry(VerifyRun *run, const VerifyEntry *row, const pg_uuid_t *org, CanonicalEntry *entry)
{
	const char *problem;
	uint8 hash[COMMIT_HASH_BYTES];
	bool whole = true;

	if (!canonical_parse_entry(row->body, row->len, entry))
		return "entry has no body, a malformed one or no layout";
	if (memcmp(entry->org, org->data, UUID_LEN) != 0)
		return "entry is of another organisation";
	if (entry->operation <= CANONICAL_DELETE && row->month > audit_month(entry->at))
		return "entry stands in a later month than that of its change";
	if (!verify_context(run, entry, row->month))
		return "entry of the same transaction that says who is missing";
	if (!run->shared->images)
		return NULL;
	run->hashes.len = 0;
	if ((problem = verify_image(run, row->body, entry, false, &whole)) != NULL ||
		(problem = verify_image(run, row->body, entry, true, &whole)) != NULL ||
		(problem = verify_origin(run, row->body, entry, &whole)) != NULL)
		return problem;
	if (whole && (!commit_root(run->hashes.data, run->hashes.len, hash) ||
				  memcmp(hash, entry->commitment, sizeof(hash)) != 0))
		return "commitments of the entry are not those of its image";
	return NULL;
}

/* ---- a unit of an organisation's tree ---- */

/* Begins anew at the first row of an organisation behind a position; INT64_MIN for all of them. */
static void
verify_place_org(IndexScanDesc scan, const pg_uuid_t *org, int64 position)
{
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(org));
	ScanKeyInit(&keys[1], 2, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(position));
	index_rescan(scan, keys, 2, NULL, 0);
}

uint64
verify_next_leaf(VerifyRun *run, const pg_uuid_t *org, uint64 position)
{
	verify_place_org(run->leaf_scan, org, (int64) position);
	if (!index_getnext_slot(run->leaf_scan, ForwardScanDirection, run->leaf_slot))
		return 0;
	slot_getsomeattrs(run->leaf_slot, LEAF_POSITION);
	return (uint64) verify_slot_int(run->leaf_slot, LEAF_POSITION);
}

/* The short hash that names an entry in the sums over all of them. */
static uint64
verify_short_hash(VerifyRun *run, uint32 incarnation, uint64 txid, uint32 seq)
{
	struct
	{
		uint64 txid;
		uint32 incarnation;
		uint32 seq;
	} name = {txid, incarnation, seq};

	return crypto_short_hash(run->shared->key, &name, sizeof(name));
}

/* Checks the entry that a leaf stands for; false when there is none, and none is wanted as it was pruned. */
static bool
verify_leaf(VerifyRun *run, const pg_uuid_t *org, uint64 position, uint64 pruned,
			TupleTableSlot *leaf)
{
	uint32 incarnation = (uint32) verify_slot_int(leaf, LEAF_INCARNATION);
	uint64 txid = (uint64) verify_slot_int(leaf, LEAF_TXID);
	uint32 seq = (uint32) verify_slot_int(leaf, LEAF_SEQ);
	MemoryContext old = MemoryContextSwitchTo(run->row);
	uint8 stored[TREE_HASH_BYTES];
	uint8 hash[TREE_HASH_BYTES];
	VerifyEntry row;
	CanonicalEntry entry;
	const char *problem;

	if (!verify_find_entry(run, false, (DateADT) verify_slot_int(leaf, LEAF_MONTH), incarnation,
						   txid, seq, &row))
	{
		if (position <= pruned)
		{
			MemoryContextSwitchTo(old);
			MemoryContextReset(run->row);
			return false;
		}
		verify_report(run, "error", org, position,
					  "entry of transaction " UINT64_FORMAT ", number %u is missing", txid, seq);
	}
	else
	{
		verify_slot_hash(leaf, LEAF_HASH, stored);
		verify_check_hash(tree_leaf_hash(row.body, row.len, hash));
		if (row.body != NULL && memcmp(hash, stored, TREE_HASH_BYTES) != 0)
			verify_report(run, "error", org, position,
						  "entry is not the one that was sealed: its hash differs from the leaf");
		else if ((problem = verify_entry(run, &row, org, &entry)) != NULL)
			verify_report(run, "error", org, position, "%s", problem);
		else if (!verify_leaf_columns(run, leaf, &entry))
			verify_report(run, "error", org, position, "columns of the leaf differ from its entry");
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(run->row);
	return true;
}

static bool
verify_next_batch(VerifyRun *run)
{
	if (!index_getnext_slot(run->batch_scan, ForwardScanDirection, run->batch_slot))
		return false;
	slot_getallattrs(run->batch_slot);
	return true;
}

static void
verify_send_batch(VerifyRun *run, VerifyMessageKind kind, const TreeFrontier *tree, bool exact)
{
	VerifyMessage *message = verify_message(run, kind);

	message->exact = exact;
	message->number = verify_slot_int(run->batch_slot, BATCH_NO);
	message->first = verify_slot_int(run->batch_slot, BATCH_FIRST);
	message->position = (uint64) verify_slot_int(run->batch_slot, BATCH_LAST);
	verify_slot_hash(run->batch_slot, BATCH_ORG_ROOT, message->root);
	verify_send(run, verify_put_tree(message, tree), false);
}

void
verify_unit(VerifyRun *run, const VerifyUnit *unit)
{
	const pg_uuid_t *org = &unit->org;
	uint64 end = unit->from + VERIFY_UNIT;
	uint64 last = 0;
	uint64 count = 0;
	uint64 sum = 0;
	uint64 pruned = verify_pruned_until(run, org);
	bool have_batch;
	TreeFrontier tree;
	VerifyMessage *message;
	size_t len;

	tree.size = 0;
	verify_place_org(run->leaf_scan, org, unit->from == 0 ? PG_INT64_MIN : (int64) unit->from);
	verify_place_org(run->batch_scan, org,
					 unit->batches == 0 ? PG_INT64_MIN : (int64) unit->batches);
	have_batch = verify_next_batch(run);
	while (index_getnext_slot(run->leaf_scan, ForwardScanDirection, run->leaf_slot))
	{
		int64 position;
		uint8 hash[TREE_HASH_BYTES];

		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(run->leaf_slot);
		position = verify_slot_int(run->leaf_slot, LEAF_POSITION);
		if (position < 1)
		{
			verify_report(run, "error", org, 0, "leaf has the impossible position " INT64_FORMAT,
						  position);
			continue;
		}
		if ((uint64) position > end && !unit->last)
			break;
		if (last == 0)
		{
			message = verify_message(run, VERIFY_START);
			message->position = (uint64) position;
			verify_send(run, 0, false);
		}
		else if ((uint64) position != last + 1)
		{
			verify_report(run, "error", org, last + 1,
						  "leaves " UINT64_FORMAT " to " INT64_FORMAT " are missing", last + 1,
						  position - 1);
			verify_message(run, VERIFY_BROKEN);
			verify_send(run, 0, false);
		}
		last = (uint64) position;
		verify_slot_hash(run->leaf_slot, LEAF_HASH, hash);
		verify_check_hash(tree_append(&tree, hash));
		if (last <= unit->known)
			continue;
		if (verify_leaf(run, org, last, pruned, run->leaf_slot))
		{
			count++;
			sum += verify_short_hash(run, (uint32) verify_slot_int(run->leaf_slot, LEAF_INCARNATION),
									 (uint64) verify_slot_int(run->leaf_slot, LEAF_TXID),
									 (uint32) verify_slot_int(run->leaf_slot, LEAF_SEQ));
		}
		for (; have_batch && (uint64) verify_slot_int(run->batch_slot, BATCH_LAST) <= last;
			 have_batch = verify_next_batch(run))
			verify_send_batch(run, VERIFY_BATCH, &tree,
							  (uint64) verify_slot_int(run->batch_slot, BATCH_LAST) == last);
	}
	for (; have_batch && !unit->last && (uint64) verify_slot_int(run->batch_slot, BATCH_LAST) <= end;
		 have_batch = verify_next_batch(run))
		verify_send_batch(run, VERIFY_BATCH, &tree, false);
	if (have_batch && unit->last)
	{
		message = verify_message(run, VERIFY_CUT);
		message->number = verify_slot_int(run->batch_slot, BATCH_NO);
		message->position = (uint64) verify_slot_int(run->batch_slot, BATCH_LAST);
		message->first = (int64) last;
		verify_send(run, 0, false);
	}
	pg_atomic_fetch_add_u64(&run->shared->leaf_sum, sum);
	if (run->shared->progress >= 0)
		audit_verify_advance(run->shared->progress, count);
	message = verify_message(run, VERIFY_END);
	message->position = last;
	len = verify_put_tree(message, &tree);
	verify_send(run, len, true);
}

/* ---- entries without a leaf ---- */

bool
verify_is_pending(const VerifyRun *run, uint64 txid, uint32 incarnation)
{
	if (run->marked || !run->have_state)
		return true;
	if (!audit_is_own(incarnation))
		return false;
	if (txid >= run->horizon)
		return true;
	for (int i = 0; i < run->open_count; i++)
	{
		if (run->open[i] == txid)
			return true;
	}
	return false;
}

void
verify_count_entries(VerifyRun *run, TableScanDesc scan)
{
	TupleTableSlot *slot = table_slot_create(scan->rs_rd, NULL);
	uint64 sum = 0;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		uint64 txid;
		uint32 incarnation;

		CHECK_FOR_INTERRUPTS();
		slot_getsomeattrs(slot, ENTRY_SEQ);
		txid = (uint64) verify_slot_int(slot, ENTRY_TXID);
		incarnation = (uint32) verify_slot_int(slot, ENTRY_INCARNATION);
		if (verify_is_pending(run, txid, incarnation) ||
			(!run->shared->all &&
			 !base_uuid_equal(DatumGetUUIDP(slot->tts_values[ENTRY_ORG - 1]), &run->shared->org)))
			continue;
		sum += verify_short_hash(run, incarnation, txid, (uint32) verify_slot_int(slot, ENTRY_SEQ));
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	pg_atomic_fetch_add_u64(&run->shared->entry_sum, sum);
}

/* Reads where the sealer stands. */
static void
verify_read_state(VerifyRun *run)
{
	Relation states = table_open(base_relation("seal_state"), AccessShareLock);
	Relation marks = table_open(base_relation("restored"), AccessShareLock);
	TupleDesc desc = RelationGetDescr(states);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple state;

	ScanKeyInit(&key, STATE_INCARNATION, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum((int32) audit_lineage()));
	scan =
		systable_beginscan(states, base_relation("seal_state_pkey"), true, run->snapshot, 1, &key);
	state = systable_getnext(scan);
	run->have_state = state != NULL;
	if (state != NULL)
	{
		Datum *open;
		bool isnull;

		run->horizon = (uint64) verify_int(state, STATE_HORIZON, desc);
		deconstruct_array(DatumGetArrayTypeP(heap_getattr(state, STATE_OPEN, desc, &isnull)),
						  INT8OID, 8, true, TYPALIGN_DOUBLE, &open, NULL, &run->open_count);
		run->open = palloc(sizeof(uint64) * Max(run->open_count, 1));
		for (int i = 0; i < run->open_count; i++)
			run->open[i] = (uint64) DatumGetInt64(open[i]);
	}
	systable_endscan(scan);
	scan = systable_beginscan(marks, InvalidOid, false, run->snapshot, 0, NULL);
	run->marked = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(marks, AccessShareLock);
	table_close(states, AccessShareLock);
}

/* ---- a process ---- */

void
verify_begin(VerifyRun *run, VerifyShared *shared)
{
	HASHCTL ctl;

	run->shared = shared;
	run->snapshot = GetActiveSnapshot();
	run->memory = CurrentMemoryContext;
	run->row =
		AllocSetContextCreate(CurrentMemoryContext, "immiiq verify row", ALLOCSET_DEFAULT_SIZES);
	run->message = palloc0(VERIFY_MESSAGE_MAX);
	memset(&ctl, 0, sizeof(ctl));
	ctl.keysize = sizeof(((VerifyKey *) 0)->id);
	ctl.entrysize = sizeof(VerifyKey);
	ctl.hcxt = CurrentMemoryContext;
	run->keys = hash_create("immiiq verify keys", 256, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	run->hashes.grow = verify_grow;
	audit_forget_layouts(); /* they are part of what is verified */
	audit_entries_open(&run->entries);
	run->partitions = palloc0(sizeof(VerifyPartition) * Max(run->entries.count, 1));
	run->leaves = table_open(base_relation("leaf"), AccessShareLock);
	run->leaves_index = index_open(base_relation("leaf_pkey"), AccessShareLock);
	run->batches = table_open(base_relation("batch"), AccessShareLock);
	run->batches_index = index_open(base_relation("batch_org_key"), AccessShareLock);
	run->leaf_scan = index_beginscan(run->leaves, run->leaves_index, run->snapshot, NULL, 2, 0);
	run->batch_scan = index_beginscan(run->batches, run->batches_index, run->snapshot, NULL, 2, 0);
	run->leaf_slot = table_slot_create(run->leaves, NULL);
	run->batch_slot = table_slot_create(run->batches, NULL);
	verify_read_state(run);
}

void
verify_end(VerifyRun *run)
{
	ExecDropSingleTupleTableSlot(run->batch_slot);
	ExecDropSingleTupleTableSlot(run->leaf_slot);
	index_endscan(run->batch_scan);
	index_endscan(run->leaf_scan);
	index_close(run->batches_index, AccessShareLock);
	table_close(run->batches, AccessShareLock);
	index_close(run->leaves_index, AccessShareLock);
	table_close(run->leaves, AccessShareLock);
	for (int i = 0; i < run->entries.count; i++)
	{
		verify_end_scan(&run->partitions[i].entry);
		verify_end_scan(&run->partitions[i].context);
		if (run->partitions[i].index != NULL)
			index_close(run->partitions[i].index, AccessShareLock);
	}
	audit_entries_close(&run->entries);
	hash_destroy(run->keys);
	if (run->hashes.data != NULL)
		pfree(run->hashes.data);
	MemoryContextDelete(run->row);
}
