/*
 * The sealer: gives every captured entry, once its transaction is over, its
 * place in the tree of its organisation, and signs the tree of all batches.
 * Trusts snapshots for what is over; seals what it finds and judges nothing.
 *
 * State is, for each lineage of the database, the snapshot of the last round that found something: its horizon
 * (the first transaction id that had not been given out) and the transactions
 * that were open.  What a new snapshot sees of those, and from the horizon on,
 * has ended since, and each entry is seen so exactly once.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/indexing.h"
#include "catalog/pg_type.h"
#include "common/base64.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplesort.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "audit/audit.h"
#include "audit/audit_internal.h"
#include "audit/canonical.h"
#include "audit/tree.h"
#include "base/base.h"
#include "crypto/crypto.h"
#include "keyring/keyring.h"
#include "stat/stat.h"

/* A round is made at least this often even when the counter says nothing: COMMIT PREPARED does not count. */
#define SEAL_IDLE_MS	5000
#define SEAL_WRITE_ROWS 128
#define SEAL_SORT_KB	65536

/* A snapshot in whole transaction ids. */
typedef struct SealSnapshot
{
	uint64 horizon;
	uint64 *open; /* ascending */
	int nopen;
} SealSnapshot;

/* What one round works with. */
typedef struct SealRound
{
	Snapshot snapshot;
	TimeLineID timeline; /* of the incarnation of the last round; 0 when there was none */
	uint64 began;		 /* no earlier incarnation has a transaction from this one on */
	SealSnapshot before;
	SealSnapshot now;
	HeapTuple state;	  /* NULL when this lineage has none */
	bool rebuild;		  /* frontiers are made anew from leaves and batches */
	Tuplesortstate *sort; /* NULL until something is found */
	TupleDesc found_desc;
	TupleTableSlot *found_slot;
	MemoryContext memory; /* of the round */
	MemoryContext row;	  /* reset after every entry */
	int64 found;
} SealRound;

/* One tree's row in immiiq.tree. */
typedef struct SealTree
{
	TreeFrontier frontier;
	HeapTuple row; /* NULL when there is none yet */
} SealTree;

enum
{
	FOUND_ORG = 1,
	FOUND_INCARNATION,
	FOUND_TXID,
	FOUND_SEQ,
	FOUND_MONTH,
	FOUND_HASH,
	FOUND_AT,
	FOUND_KEY_ID,
	FOUND_ROW,
	FOUND_CONTEXT,
	FOUND_MEMBER, /* these three only in an entry that says who */
	FOUND_SESSION,
	FOUND_ADDRESS
};
#define FOUND_COLUMNS FOUND_ADDRESS

/* How many of a transaction's contexts are remembered; an entry of an older one is indexed without who. */
#define SEAL_CONTEXTS 64

/* Who wrote, as the context entries of the transaction at hand say. */
typedef struct SealContext
{
	uint32 seq;
	bool has[3];
	pg_uuid_t member;
	pg_uuid_t session;
	int64 address;
} SealContext;

static const pg_uuid_t seal_database_tree = {{0}};

static void
seal_check_hash(bool ok)
{
	if (!ok)
		elog(ERROR, "could not compute a hash");
}

/* ---- snapshots ---- */

static int
seal_compare_u64(const void *a, const void *b)
{
	uint64 x = *(const uint64 *) a;
	uint64 y = *(const uint64 *) b;

	return x < y ? -1 : x > y;
}

static uint64
seal_widen(TransactionId xid)
{
	FullTransactionId next = ReadNextFullTransactionId();
	uint32 epoch = EpochFromFullTransactionId(next);

	if (xid > XidFromFullTransactionId(next))
		epoch--;
	return U64FromFullTransactionId(FullTransactionIdFromEpochAndXid(epoch, xid));
}

static void
seal_widen_snapshot(Snapshot snapshot, SealSnapshot *wide)
{
	wide->horizon = seal_widen(snapshot->xmax);
	wide->nopen = snapshot->xcnt;
	wide->open = palloc(sizeof(uint64) * Max(snapshot->xcnt, 1));
	for (uint32 i = 0; i < snapshot->xcnt; i++)
		wide->open[i] = seal_widen(snapshot->xip[i]);
	qsort(wide->open, wide->nopen, sizeof(uint64), seal_compare_u64);
}

/* ---- the rows that the sealer keeps ---- */

/* The row of a table with this key, copied; NULL when there is none. */
static HeapTuple
seal_find_row(Relation rel, const char *index, Snapshot snapshot, AttrNumber column,
			  RegProcedure equal, Datum key)
{
	ScanKeyData scankey;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&scankey, column, BTEqualStrategyNumber, equal, key);
	scan = systable_beginscan(rel, base_relation(index), true, snapshot, 1, &scankey);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		tuple = heap_copytuple(tuple);
	systable_endscan(scan);
	return tuple;
}

static void
seal_store_row(Relation rel, HeapTuple old, Datum *values, bool *nulls)
{
	HeapTuple tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);

	if (old != NULL)
	{
		tuple->t_self = old->t_self;
		CatalogTupleUpdate(rel, &old->t_self, tuple);
	}
	else
		CatalogTupleInsert(rel, tuple);
	heap_freetuple(tuple);
}

static void
seal_read_state(SealRound *round)
{
	Relation rel = table_open(base_relation("seal_state"), AccessShareLock);
	bool isnull;
	ArrayType *open;
	Datum *elems;

	round->state = seal_find_row(rel, "seal_state_pkey", round->snapshot, STATE_INCARNATION,
								 F_INT4EQ, Int32GetDatum((int32) audit_lineage()));
	if (round->state != NULL)
	{
		round->before.horizon = (uint64) DatumGetInt64(
			heap_getattr(round->state, STATE_HORIZON, RelationGetDescr(rel), &isnull));
		open = DatumGetArrayTypeP(
			heap_getattr(round->state, STATE_OPEN, RelationGetDescr(rel), &isnull));
		deconstruct_array(open, INT8OID, 8, true, TYPALIGN_DOUBLE, &elems, NULL,
						  &round->before.nopen);
		round->before.open = palloc(sizeof(uint64) * Max(round->before.nopen, 1));
		for (int i = 0; i < round->before.nopen; i++)
			round->before.open[i] = (uint64) DatumGetInt64(elems[i]);
		round->timeline = (TimeLineID) DatumGetInt64(
			heap_getattr(round->state, STATE_TIMELINE, RelationGetDescr(rel), &isnull));
		round->began = (uint64) DatumGetInt64(
			heap_getattr(round->state, STATE_BEGAN, RelationGetDescr(rel), &isnull));
	}
	table_close(rel, AccessShareLock);
}

static void
seal_store_state(SealRound *round)
{
	Relation rel = table_open(base_relation("seal_state"), RowExclusiveLock);
	Datum *open = palloc(sizeof(Datum) * Max(round->now.nopen, 1));
	Datum values[STATE_COLUMNS];
	bool nulls[STATE_COLUMNS] = {false};

	for (int i = 0; i < round->now.nopen; i++)
		open[i] = Int64GetDatum((int64) round->now.open[i]);
	values[STATE_INCARNATION - 1] = Int32GetDatum((int32) audit_lineage());
	values[STATE_HORIZON - 1] = Int64GetDatum((int64) round->now.horizon);
	values[STATE_OPEN - 1] =
		PointerGetDatum(construct_array(open, round->now.nopen, INT8OID, 8, true, TYPALIGN_DOUBLE));
	values[STATE_AT - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[STATE_TIMELINE - 1] = Int64GetDatum((int64) round->timeline);
	values[STATE_BEGAN - 1] = Int64GetDatum((int64) round->began);
	seal_store_row(rel, round->state, values, nulls);
	table_close(rel, NoLock);
}

/* Deletes the marks that this round's snapshot sees; true when there were any. */
static bool
seal_take_marks(SealRound *round, bool delete)
{
	Relation rel =
		table_open(base_relation("restored"), delete ? RowExclusiveLock : AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, round->snapshot, 0, NULL);
	HeapTuple tuple;
	bool any = false;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		any = true;
		if (!delete)
			break;
		CatalogTupleDelete(rel, &tuple->t_self);
	}
	systable_endscan(scan);
	table_close(rel, delete ? NoLock : AccessShareLock);
	return any;
}

/* ---- what has ended since ---- */

static void
seal_begin_sort(SealRound *round)
{
	AttrNumber columns[4] = {FOUND_ORG, FOUND_INCARNATION, FOUND_TXID, FOUND_SEQ};
	Oid types[4] = {UUIDOID, INT4OID, INT8OID, INT4OID};
	Oid operators[4];
	Oid collations[4] = {InvalidOid, InvalidOid, InvalidOid, InvalidOid};
	bool nulls_first[4] = {false, false, false, false};
	MemoryContext old = MemoryContextSwitchTo(round->memory);

	round->found_desc = CreateTemplateTupleDesc(FOUND_COLUMNS);
	for (int i = 0; i < 4; i++)
	{
		TupleDescInitEntry(round->found_desc, columns[i], NULL, types[i], -1, 0);
		operators[i] = lookup_type_cache(types[i], TYPECACHE_LT_OPR)->lt_opr;
	}
	TupleDescInitEntry(round->found_desc, FOUND_MONTH, NULL, DATEOID, -1, 0);
	TupleDescInitEntry(round->found_desc, FOUND_HASH, NULL, BYTEAOID, -1, 0);
	TupleDescInitEntry(round->found_desc, FOUND_AT, NULL, TIMESTAMPTZOID, -1, 0);
	TupleDescInitEntry(round->found_desc, FOUND_KEY_ID, NULL, INT8OID, -1, 0);
	TupleDescInitEntry(round->found_desc, FOUND_ROW, NULL, INT8OID, -1, 0);
	TupleDescInitEntry(round->found_desc, FOUND_CONTEXT, NULL, INT4OID, -1, 0);
	TupleDescInitEntry(round->found_desc, FOUND_MEMBER, NULL, UUIDOID, -1, 0);
	TupleDescInitEntry(round->found_desc, FOUND_SESSION, NULL, UUIDOID, -1, 0);
	TupleDescInitEntry(round->found_desc, FOUND_ADDRESS, NULL, INT8OID, -1, 0);
	round->found_slot = MakeSingleTupleTableSlot(round->found_desc, &TTSOpsMinimalTuple);
	round->sort = tuplesort_begin_heap(round->found_desc, 4, columns, operators, collations,
									   nulls_first, SEAL_SORT_KB, NULL, TUPLESORT_NONE);
	MemoryContextSwitchTo(old);
}

/* What the leaf repeats of an entry, for searching; nothing of one that is malformed, which verification finds. */
static void
seal_describe(const uint8 *body, Size len, Datum *values, bool *nulls)
{
	CanonicalEntry entry;
	CanonicalWho who;

	for (int i = FOUND_AT; i <= FOUND_ADDRESS; i++)
		nulls[i - 1] = true;
	if (!canonical_parse_entry(body, len, &entry))
		return;
	values[FOUND_AT - 1] = TimestampTzGetDatum(entry.at);
	values[FOUND_KEY_ID - 1] = Int64GetDatum(entry.key_id);
	values[FOUND_ROW - 1] = Int64GetDatum((int64) entry.row);
	values[FOUND_CONTEXT - 1] = Int32GetDatum((int32) entry.context);
	for (int i = FOUND_AT; i <= FOUND_CONTEXT; i++)
		nulls[i - 1] = false;
	if (entry.who == NULL || !canonical_parse_who(entry.who, entry.who_len, &who))
		return;
	if (who.member != NULL)
		values[FOUND_MEMBER - 1] = UUIDPGetDatum((const pg_uuid_t *) who.member);
	if (who.session != NULL)
		values[FOUND_SESSION - 1] = UUIDPGetDatum((const pg_uuid_t *) who.session);
	if (who.address != NULL)
		values[FOUND_ADDRESS - 1] = Int64GetDatum((int64) canonical_u64(who.address));
	nulls[FOUND_MEMBER - 1] = who.member == NULL;
	nulls[FOUND_SESSION - 1] = who.session == NULL;
	nulls[FOUND_ADDRESS - 1] = who.address == NULL;
}

/* Takes one entry into the round: a row with the columns of immiiq.entry. */
static void
seal_found(SealRound *round, HeapTuple tuple, TupleDesc desc)
{
	static const int same[5][2] = {{FOUND_ORG, ENTRY_ORG},
								   {FOUND_INCARNATION, ENTRY_INCARNATION},
								   {FOUND_TXID, ENTRY_TXID},
								   {FOUND_SEQ, ENTRY_SEQ},
								   {FOUND_MONTH, ENTRY_MONTH}};
	MemoryContext old;
	Datum row[ENTRY_COLUMNS];
	bool row_nulls[ENTRY_COLUMNS];
	uint8 *body;
	size_t len;
	bytea *hash;
	Datum values[FOUND_COLUMNS];
	bool nulls[FOUND_COLUMNS] = {false};
	TupleTableSlot *slot;

	if (round->sort == NULL)
		seal_begin_sort(round);
	old = MemoryContextSwitchTo(round->row);
	heap_deform_tuple(tuple, desc, row, row_nulls);
	for (int i = 0; i < 5; i++)
	{
		values[same[i][0] - 1] = row[same[i][1] - 1];
		nulls[same[i][0] - 1] = row_nulls[same[i][1] - 1];
	}
	body = audit_entry_bytes(row, row_nulls, &len);
	hash = palloc(VARHDRSZ + TREE_HASH_BYTES);
	SET_VARSIZE(hash, VARHDRSZ + TREE_HASH_BYTES);
	seal_check_hash(tree_leaf_hash(body, len, (uint8 *) VARDATA(hash)));
	values[FOUND_HASH - 1] = PointerGetDatum(hash);
	seal_describe(body, len, values, nulls);
	slot = round->found_slot;
	ExecClearTuple(slot);
	ExecStoreMinimalTuple(heap_form_minimal_tuple(round->found_desc, values, nulls, 0), slot, false);
	tuplesort_puttupleslot(round->sort, slot);
	ExecClearTuple(slot);
	MemoryContextSwitchTo(old);
	MemoryContextReset(round->row);
	round->found++;
	CHECK_FOR_INTERRUPTS();
}

/* Finds the visible entries of an incarnation with from <= txid < until. */
static void
seal_scan_incarnation(SealRound *round, Relation rel, Oid index, uint32 incarnation, uint64 from,
					  uint64 until)
{
	ScanKeyData keys[3];
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&keys[0], ENTRY_TXID, BTGreaterEqualStrategyNumber, F_INT8GE,
				Int64GetDatum((int64) from));
	ScanKeyInit(&keys[1], ENTRY_TXID, BTLessStrategyNumber, F_INT8LT, Int64GetDatum((int64) until));
	ScanKeyInit(&keys[2], ENTRY_INCARNATION, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum((int32) incarnation));
	scan = systable_beginscan(rel, index, OidIsValid(index), round->snapshot, 3, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		seal_found(round, tuple, RelationGetDescr(rel));
	systable_endscan(scan);
}

/*
 * The same of this incarnation, and of earlier ones as far as their transactions
 * go: what waited when the server was promoted, and what had been prepared.
 */
static void
seal_scan_range(SealRound *round, Relation rel, Oid index, uint64 from, uint64 until)
{
	TimeLineID lives;
	const uint32 *names = audit_incarnations(&lives);

	if (from >= until)
		return;
	for (TimeLineID i = from < round->began ? 0 : lives - 1; i < lives; i++)
		seal_scan_incarnation(round, rel, index, names[i], from, until);
}

/* Finds what the difference of the two snapshots holds of one partition. */
static void
seal_find_in_partition(SealRound *round, Relation rel, Oid index)
{
	uint64 from = round->before.horizon;

	for (int i = 0; i < round->before.nopen; i++)
	{
		uint64 xid = round->before.open[i];

		if (bsearch(&xid, round->now.open, round->now.nopen, sizeof(uint64), seal_compare_u64) ==
			NULL)
			seal_scan_range(round, rel, index, xid, xid + 1);
	}
	/* from the old horizon to the new one, past every transaction that is still open */
	for (int i = 0; i < round->now.nopen; i++)
	{
		if (round->now.open[i] < from)
			continue;
		seal_scan_range(round, rel, index, from, round->now.open[i]);
		from = round->now.open[i] + 1;
	}
	seal_scan_range(round, rel, index, from, round->now.horizon);
}

/* Finds what the difference of the two snapshots holds: of every month, as a transaction may stay open for long. */
static void
seal_find_difference(SealRound *round)
{
	AuditEntries entries;

	audit_entries_open(&entries);
	for (int i = 0; i < entries.count; i++)
		seal_find_in_partition(round, entries.rels[i], entries.indexes[i]);
	audit_entries_close(&entries);
}

/* Finds every visible entry, of whatever incarnation, that has no leaf: after a restore, and at the beginning. */
static void
seal_find_all(SealRound *round)
{
	Relation rel = table_open(base_relation("entry"), AccessShareLock);
	Oid owner = rel->rd_rel->relowner;
	Oid user;
	int security;
	SPIPlanPtr plan;
	Portal portal;

	table_close(rel, AccessShareLock);
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(owner,
						   security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	SPI_connect();
	plan =
		SPI_prepare("SELECT e.* FROM immiiq.entry e "
					"WHERE NOT EXISTS (SELECT FROM immiiq.leaf l "
					"WHERE l.incarnation OPERATOR(pg_catalog.=) e.incarnation "
					"AND l.txid OPERATOR(pg_catalog.=) e.txid AND l.seq OPERATOR(pg_catalog.=) e.seq)",
					0, NULL);
	if (plan == NULL)
		elog(ERROR, "could not prepare the sealer's query");
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	for (;;)
	{
		SPI_cursor_fetch(portal, true, 256);
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed; i++)
			seal_found(round, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	SPI_finish();
	SetUserIdAndSecContext(user, security);
}

/* ---- trees ---- */

/* Makes the tree of an organisation anew from its leaves, or that of the database from its batches. */
static void
seal_rebuild_tree(SealRound *round, const pg_uuid_t *org, TreeFrontier *tree)
{
	bool database = base_uuid_is_nil(org);
	Relation rel = table_open(base_relation(database ? "batch" : "leaf"), AccessShareLock);
	Relation index =
		index_open(base_relation(database ? "batch_pkey" : "leaf_pkey"), AccessShareLock);
	TupleDesc desc = RelationGetDescr(rel);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	memset(tree, 0, sizeof(*tree));
	if (!database)
		ScanKeyInit(&key, LEAF_ORG, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(org));
	scan = systable_beginscan_ordered(rel, index, round->snapshot, database ? 0 : 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		uint8 leaf[TREE_HASH_BYTES];

		if (database)
			audit_batch_leaf(tuple, desc, leaf);
		else
			audit_copy_hash(tuple, desc, LEAF_HASH, leaf);
		seal_check_hash(tree_append(tree, leaf));
		CHECK_FOR_INTERRUPTS();
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
}

static void
seal_load_tree(SealRound *round, Relation rel, const pg_uuid_t *org, SealTree *tree)
{
	bool isnull;
	bytea *nodes;

	memset(tree, 0, sizeof(*tree));
	tree->row =
		seal_find_row(rel, "tree_pkey", round->snapshot, TREE_ORG, F_UUID_EQ, UUIDPGetDatum(org));
	if (tree->row != NULL && !round->rebuild)
	{
		tree->frontier.size = (uint64) DatumGetInt64(
			heap_getattr(tree->row, TREE_SIZE, RelationGetDescr(rel), &isnull));
		nodes =
			DatumGetByteaPP(heap_getattr(tree->row, TREE_FRONTIER, RelationGetDescr(rel), &isnull));
		if (VARSIZE_ANY_EXHDR(nodes) == tree_node_count(tree->frontier.size) * TREE_HASH_BYTES)
		{
			memcpy(tree->frontier.nodes, VARDATA_ANY(nodes), VARSIZE_ANY_EXHDR(nodes));
			return;
		}
	}
	seal_rebuild_tree(round, org, &tree->frontier);
}

static Datum
seal_bytea(const void *data, size_t len)
{
	bytea *b = palloc(VARHDRSZ + len);

	SET_VARSIZE(b, VARHDRSZ + len);
	memcpy(VARDATA(b), data, len);
	return PointerGetDatum(b);
}

static void
seal_store_tree(Relation rel, const pg_uuid_t *org, SealTree *tree)
{
	Datum values[TREE_COLUMNS];
	bool nulls[TREE_COLUMNS] = {false};

	values[TREE_ORG - 1] = UUIDPGetDatum(org);
	values[TREE_SIZE - 1] = Int64GetDatum((int64) tree->frontier.size);
	values[TREE_FRONTIER - 1] =
		seal_bytea(tree->frontier.nodes, tree_node_count(tree->frontier.size) * TREE_HASH_BYTES);
	seal_store_row(rel, tree->row, values, nulls);
}

/* ---- signing ---- */

/* The log's name: that of its first key, or a new one. */
static char *
seal_origin(SealRound *round, Relation rel)
{
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, round->snapshot, 0, NULL);
	TimestampTz first = 0;
	char *origin = NULL;
	HeapTuple tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool isnull;
		TimestampTz at = DatumGetTimestampTz(
			heap_getattr(tuple, LOGKEY_CREATED_AT, RelationGetDescr(rel), &isnull));

		if (origin == NULL || at < first)
		{
			origin = TextDatumGetCString(
				heap_getattr(tuple, LOGKEY_ORIGIN, RelationGetDescr(rel), &isnull));
			first = at;
		}
	}
	systable_endscan(scan);
	if (origin == NULL)
	{
		uint8 random[16];
		char hex[33];

		crypto_random(random, sizeof(random));
		hex_encode((char *) random, sizeof(random), hex);
		hex[32] = '\0';
		origin = psprintf("immiiq/%s", hex);
	}
	return origin;
}

/* Signs the head of the database's tree, and notes the key when it is new. */
static void
seal_sign_head(SealRound *round, const TreeFrontier *tree)
{
	uint8 seed[CRYPTO_SEED_BYTES];
	uint8 public[CRYPTO_PUB_BYTES];
	uint8 root[TREE_HASH_BYTES];
	uint8 signature[CRYPTO_SIG_BYTES];
	uint32 key_hash;
	char *origin;
	char *note;
	bool ok;
	Relation keys;
	Relation heads;
	Datum values[HEAD_COLUMNS];
	bool nulls[HEAD_COLUMNS] = {false};
	HeapTuple known;

	StaticAssertStmt((int) HEAD_COLUMNS >= (int) LOGKEY_COLUMNS, "values serve both tables");
	keys = table_open(base_relation("log_key"), RowExclusiveLock);
	origin = seal_origin(round, keys);
	seal_check_hash(tree_root(tree, root));
	note = audit_checkpoint_body(origin, tree->size, root);
	if (signer_is_set())
		signer_sign(note, public, signature);
	else
	{
		keyring_installation_secret("log-signing", true, seed);
		ok = crypto_ed25519_public(seed, public) &&
			 crypto_ed25519_sign(seed, note, strlen(note), signature);
		crypto_wipe(seed, sizeof(seed));
		if (!ok)
			elog(ERROR, "could not sign the tree head");
	}
	key_hash = audit_key_hash(origin, public);

	known = seal_find_row(keys, "log_key_pkey", round->snapshot, LOGKEY_HASH, F_INT4EQ,
						  Int32GetDatum((int32) key_hash));
	if (known == NULL)
	{
		values[LOGKEY_HASH - 1] = Int32GetDatum((int32) key_hash);
		values[LOGKEY_PUBLIC - 1] = seal_bytea(public, sizeof(public));
		values[LOGKEY_ORIGIN - 1] = CStringGetTextDatum(origin);
		values[LOGKEY_CREATED_AT - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
		seal_store_row(keys, NULL, values, nulls);
	}
	table_close(keys, NoLock);

	heads = table_open(base_relation("tree_head"), RowExclusiveLock);
	values[HEAD_SIZE - 1] = Int64GetDatum((int64) tree->size);
	values[HEAD_SIGNED_AT - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[HEAD_KEY_HASH - 1] = Int32GetDatum((int32) key_hash);
	values[HEAD_ROOT - 1] = seal_bytea(root, sizeof(root));
	values[HEAD_SIGNATURE - 1] = seal_bytea(signature, sizeof(signature));
	seal_store_row(heads, NULL, values, nulls);
	table_close(heads, NoLock);
}

/* ---- a round ---- */

/* Writes the full subtrees that the last leaf of a tree has completed. */
static void
seal_note_tiles(AuditWriter *nodes, const pg_uuid_t *org, uint64 size,
				uint8 (*tiles)[TREE_HASH_BYTES], int count)
{
	for (int i = 0; i < count; i++)
	{
		Datum values[NODE_COLUMNS];
		bool nulls[NODE_COLUMNS] = {false};
		int level = (i + 1) * TREE_TILE_BITS;

		values[NODE_ORG - 1] = UUIDPGetDatum(org);
		values[NODE_LEVEL - 1] = Int32GetDatum(level);
		values[NODE_NUMBER - 1] = Int64GetDatum((int64) ((size >> level) - 1));
		values[NODE_HASH - 1] = seal_bytea(tiles[i], TREE_HASH_BYTES);
		audit_writer_add(nodes, values, nulls);
	}
}

/* Ends the batch of one organisation: its row, its tree, its leaf in the database's tree. */
static void
seal_end_batch(Relation trees, AuditWriter *batches, AuditWriter *nodes, const pg_uuid_t *org,
			   uint64 first, SealTree *tree, TreeFrontier *database)
{
	uint8 tiles[TREE_MAX_TILES][TREE_HASH_BYTES];
	int noted = 0;
	CanonicalBatch batch;
	uint8 bytes[CANONICAL_BATCH_BYTES];
	uint8 leaf[TREE_HASH_BYTES];
	Datum values[BATCH_COLUMNS];
	bool nulls[BATCH_COLUMNS] = {false};

	batch.batch_no = database->size + 1;
	memcpy(batch.org, org->data, UUID_LEN);
	batch.first = first;
	batch.last = tree->frontier.size;
	batch.at = GetCurrentTimestamp();
	seal_check_hash(tree_root(&tree->frontier, batch.org_root) &&
					tree_root(database, batch.previous));
	canonical_write_batch(&batch, bytes);
	seal_check_hash(tree_leaf_hash(bytes, sizeof(bytes), leaf) &&
					tree_append_noting(database, leaf, tiles, &noted));
	seal_note_tiles(nodes, &seal_database_tree, database->size, tiles, noted);

	values[BATCH_NO - 1] = Int64GetDatum((int64) batch.batch_no);
	values[BATCH_FIRST - 1] = Int64GetDatum((int64) batch.first);
	values[BATCH_LAST - 1] = Int64GetDatum((int64) batch.last);
	values[BATCH_AT - 1] = TimestampTzGetDatum(batch.at);
	values[BATCH_ORG - 1] = UUIDPGetDatum(org);
	values[BATCH_ORG_ROOT - 1] = seal_bytea(batch.org_root, TREE_HASH_BYTES);
	values[BATCH_PREVIOUS - 1] = seal_bytea(batch.previous, TREE_HASH_BYTES);
	audit_writer_add(batches, values, nulls);
	stat_add(STAT_ENTRIES_SEALED, batch.last - batch.first + 1);
	seal_store_tree(trees, org, tree);
}

/* The contexts of the transaction at hand, in a ring. */
typedef struct SealContexts
{
	Datum incarnation;
	Datum txid;
	int count;
	SealContext ring[SEAL_CONTEXTS];
} SealContexts;

/* Fills the columns of a leaf that searches go by. */
static void
seal_describe_leaf(SealContexts *contexts, TupleTableSlot *slot, Datum *values, bool *nulls)
{
	static const int same[3][2] = {{LEAF_AT, FOUND_AT},
								   {LEAF_KEY_ID, FOUND_KEY_ID},
								   {LEAF_ROW, FOUND_ROW}};
	uint32 seq = (uint32) DatumGetInt32(slot->tts_values[FOUND_SEQ - 1]);
	uint32 wanted = (uint32) DatumGetInt32(slot->tts_values[FOUND_CONTEXT - 1]);
	SealContext *context = NULL;

	if (contexts->txid != slot->tts_values[FOUND_TXID - 1] ||
		contexts->incarnation != slot->tts_values[FOUND_INCARNATION - 1])
	{
		contexts->txid = slot->tts_values[FOUND_TXID - 1];
		contexts->incarnation = slot->tts_values[FOUND_INCARNATION - 1];
		contexts->count = 0;
	}
	for (int i = 0; i < 3; i++)
	{
		values[same[i][0] - 1] = slot->tts_values[same[i][1] - 1];
		nulls[same[i][0] - 1] = slot->tts_isnull[same[i][1] - 1];
	}
	nulls[LEAF_MEMBER - 1] = nulls[LEAF_SESSION - 1] = nulls[LEAF_ADDRESS - 1] = true;
	if (slot->tts_isnull[FOUND_CONTEXT - 1])
		return;
	if (wanted == seq)
	{
		context = &contexts->ring[contexts->count++ % SEAL_CONTEXTS];
		context->seq = seq;
		for (int i = 0; i < 3; i++)
			context->has[i] = !slot->tts_isnull[FOUND_MEMBER - 1 + i];
		if (context->has[0])
			context->member = *DatumGetUUIDP(slot->tts_values[FOUND_MEMBER - 1]);
		if (context->has[1])
			context->session = *DatumGetUUIDP(slot->tts_values[FOUND_SESSION - 1]);
		if (context->has[2])
			context->address = DatumGetInt64(slot->tts_values[FOUND_ADDRESS - 1]);
	}
	for (int i = Min(contexts->count, SEAL_CONTEXTS) - 1; context == NULL && i >= 0; i--)
	{
		if (contexts->ring[i].seq == wanted)
			context = &contexts->ring[i];
	}
	if (context == NULL)
		return;
	values[LEAF_MEMBER - 1] = UUIDPGetDatum(&context->member);
	values[LEAF_SESSION - 1] = UUIDPGetDatum(&context->session);
	values[LEAF_ADDRESS - 1] = Int64GetDatum(context->address);
	nulls[LEAF_MEMBER - 1] = !context->has[0];
	nulls[LEAF_SESSION - 1] = !context->has[1];
	nulls[LEAF_ADDRESS - 1] = !context->has[2];
}

/* Writes leaves, batches, trees and a signed head for what was found. */
static void
seal_write(SealRound *round)
{
	SealContexts *contexts = palloc0(sizeof(SealContexts));
	Relation trees = table_open(base_relation("tree"), RowExclusiveLock);
	AuditWriter leaves;
	AuditWriter batches;
	AuditWriter nodes;
	uint8 tiles[TREE_MAX_TILES][TREE_HASH_BYTES];
	int noted;
	SealTree database;
	SealTree tree;
	pg_uuid_t org;
	uint64 first = 0;
	TupleTableSlot *slot = round->found_slot;
	MemoryContext memory =
		AllocSetContextCreate(CurrentMemoryContext, "immiiq seal batch", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;

	tuplesort_performsort(round->sort);
	seal_load_tree(round, trees, &seal_database_tree, &database);
	audit_writer_open(&leaves, "leaf", LEAF_COLUMNS, SEAL_WRITE_ROWS);
	audit_writer_open(&batches, "batch", BATCH_COLUMNS, SEAL_WRITE_ROWS);
	audit_writer_open(&nodes, "node", NODE_COLUMNS, SEAL_WRITE_ROWS);
	old = MemoryContextSwitchTo(memory);
	while (tuplesort_gettupleslot(round->sort, true, false, slot, NULL))
	{
		Datum values[LEAF_COLUMNS];
		bool nulls[LEAF_COLUMNS] = {false};
		pg_uuid_t *next;

		slot_getallattrs(slot);
		next = DatumGetUUIDP(slot->tts_values[FOUND_ORG - 1]);
		if (first == 0 || !base_uuid_equal(next, &org))
		{
			if (first != 0)
			{
				contexts->count = 0;
				seal_end_batch(trees, &batches, &nodes, &org, first, &tree, &database.frontier);
				audit_writer_flush(&nodes);
				audit_writer_flush(&leaves);
				audit_writer_flush(&batches);
				MemoryContextReset(memory);
			}
			org = *next;
			seal_load_tree(round, trees, &org, &tree);
			first = tree.frontier.size + 1;
		}
		seal_check_hash(tree_append_noting(&tree.frontier,
										   (uint8 *) VARDATA_ANY(
											   DatumGetByteaPP(slot->tts_values[FOUND_HASH - 1])),
										   tiles, &noted));
		seal_note_tiles(&nodes, &org, tree.frontier.size, tiles, noted);
		values[LEAF_ORG - 1] = UUIDPGetDatum(&org);
		values[LEAF_POSITION - 1] = Int64GetDatum((int64) tree.frontier.size);
		values[LEAF_TXID - 1] = slot->tts_values[FOUND_TXID - 1];
		values[LEAF_INCARNATION - 1] = slot->tts_values[FOUND_INCARNATION - 1];
		values[LEAF_SEQ - 1] = slot->tts_values[FOUND_SEQ - 1];
		values[LEAF_MONTH - 1] = slot->tts_values[FOUND_MONTH - 1];
		values[LEAF_HASH - 1] = slot->tts_values[FOUND_HASH - 1];
		seal_describe_leaf(contexts, slot, values, nulls);
		audit_writer_add(&leaves, values, nulls);
		CHECK_FOR_INTERRUPTS();
	}
	if (first != 0)
		seal_end_batch(trees, &batches, &nodes, &org, first, &tree, &database.frontier);
	audit_writer_close(&nodes);
	audit_writer_close(&leaves);
	audit_writer_close(&batches);
	seal_store_tree(trees, &seal_database_tree, &database);
	table_close(trees, NoLock);
	seal_sign_head(round, &database.frontier);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(memory);
}

/*
 * Says in the log, with the head that it goes on from, that another incarnation
 * begins: the server was promoted or recovered to a point in time, or the log
 * has come here with a dump or a template.  True when it has been said, which
 * without the installation's key it cannot be.
 */
static bool
seal_begin_incarnation(SealRound *round)
{
	TimeLineID now;
	const uint32 *names = audit_incarnations(&now);
	uint8 root[TREE_HASH_BYTES];
	char base64[64] = "";
	char *object = psprintf("%u", names[now - 1]);
	AuditField fields[5] = {{.name = "timeline", .kind = CANONICAL_KIND_NUMBER},
							{.name = "system"},
							{.name = "batches", .kind = CANONICAL_KIND_NUMBER},
							{.name = "root"},
							{.name = "previous"}};
	AuditEvent event = {.kind = "incarnation", .object = object, .nfields = 4, .fields = fields};
	Relation trees;
	SealTree database;

	if (round->timeline == now)
		return false;
	round->began = round->now.horizon;
	trees = table_open(base_relation("tree"), AccessShareLock);
	seal_load_tree(round, trees, &seal_database_tree, &database);
	table_close(trees, AccessShareLock);
	if (round->timeline != 0)
	{
		fields[4].value = psprintf("%u", names[round->timeline - 1]);
		event.nfields++;
	}
	round->timeline = now;
	if (database.frontier.size == 0 || !keyring_can_log(&keyring_installation_org))
		return false; /* the log itself begins; or nothing can be signed */
	seal_check_hash(tree_root(&database.frontier, root));
	if (pg_b64_encode(root, sizeof(root), base64, sizeof(base64) - 1) < 0)
		elog(ERROR, "could not encode a root");
	fields[0].value = psprintf("%u", now);
	fields[1].value = psprintf(UINT64_FORMAT, GetSystemIdentifier());
	fields[2].value = psprintf(UINT64_FORMAT, database.frontier.size);
	fields[3].value = base64;
	audit_event(&event);
	return true;
}

/* Seals what has ended; the caller holds the sealer's lock. Writes nothing, and so assigns no transaction id, when nothing has. */
static int64
seal_round(void)
{
	MemoryContext memory =
		AllocSetContextCreate(CurrentMemoryContext, "immiiq seal", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(memory);
	SealRound round;
	bool marks;
	bool begins;
	int64 found;

	memset(&round, 0, sizeof(round));
	round.memory = memory;
	round.row = AllocSetContextCreate(memory, "immiiq seal row", ALLOCSET_DEFAULT_SIZES);
	round.snapshot = RegisterSnapshot(GetLatestSnapshot());
	PushActiveSnapshot(round.snapshot);
	seal_widen_snapshot(round.snapshot, &round.now);
	seal_read_state(&round);
	marks = seal_take_marks(&round, false);
	round.rebuild = marks || round.state == NULL;
	begins = seal_begin_incarnation(&round);
	if (round.rebuild || round.before.horizon > round.now.horizon)
		seal_find_all(&round);
	else
		seal_find_difference(&round);
	if (round.sort != NULL)
	{
		seal_write(&round);
		tuplesort_end(round.sort);
		ExecDropSingleTupleTableSlot(round.found_slot);
	}
	if (round.found > 0 || begins)
		seal_store_state(&round);
	if (marks)
		(void) seal_take_marks(&round, true);
	found = round.found;
	PopActiveSnapshot();
	UnregisterSnapshot(round.snapshot);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(memory);
	return found;
}

/* The worker's view: what the counter said at the last round, and when that was. */
static uint64 seal_seen = 0;
static TimestampTz seal_last = 0;

bool
audit_seal_wanted(void)
{
	return audit_captured_count() != seal_seen ||
		   TimestampDifferenceExceeds(seal_last, GetCurrentTimestamp(), SEAL_IDLE_MS);
}

int64
audit_seal_round(void)
{
	uint64 seen = audit_captured_count();
	int64 sealed = 0;
	bool done = true;

	if (RecoveryInProgress() || !audit_seal_wanted())
		return 0;
	base_start_transaction();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (OidIsValid(base_relation_or_invalid("seal_state")))
	{
		done = audit_lock_sealing(false);
		if (done)
			sealed = seal_round();
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	seal_last = GetCurrentTimestamp();
	if (done)
		seal_seen = seen;
	return sealed;
}

PG_FUNCTION_INFO_V1(immiiq_seal);

/*
 * CALL immiiq.seal(): one round at once, for every entry whose transaction has
 * ended.  Waits for another sealer, and for sessions that restore a dump.
 * Errors: 25001 in a transaction block or after a write; 25006 on a standby.
 */
Datum
immiiq_seal(PG_FUNCTION_ARGS)
{
	CallContext *call = (CallContext *) fcinfo->context;

	base_require_preload();
	PreventCommandIfReadOnly("CALL immiiq.seal()");
	PreventCommandDuringRecovery("CALL immiiq.seal()");
	if (call == NULL || !IsA(call, CallContext) || call->atomic ||
		TransactionIdIsValid(GetTopTransactionIdIfAny()))
		ereport(ERROR, (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
						errmsg("CALL immiiq.seal() cannot run inside a transaction block")));
	(void) audit_lock_sealing(true);
	(void) seal_round();
	PG_RETURN_VOID();
}
