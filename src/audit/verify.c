/*
 * Verification: reads the whole log, or what follows a checkpoint, and says where
 * it does not hold together.  Trusts nothing that the tables say; what this
 * server's superuser could have made consistent again only a head held elsewhere
 * can show.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/parallel.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "optimizer/cost.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "audit/audit_internal.h"
#include "audit/export.h"
#include "audit/verify.h"
#include "base/base.h"
#include "keyring/keyring.h"

/* An entry that has waited longer than this for its seal is worth a warning. */
#define VERIFY_LATE_MS (5 * 60 * 1000)

#define VERIFY_MAX_WORKERS 16
#define VERIFY_QUEUE_SIZE  (256 * 1024)

/* What workers find in their shared memory. */
#define VERIFY_KEY_SHARED UINT64CONST(1)
#define VERIFY_KEY_UNITS  UINT64CONST(2)
#define VERIFY_KEY_OWNERS UINT64CONST(3)
#define VERIFY_KEY_QUEUES UINT64CONST(4)
#define VERIFY_KEY_SCAN	  UINT64CONST(5) /* and on: one a partition */

/* The session's view of it all. */
typedef struct VerifyLeader
{
	ReturnSetInfo *result;
	VerifyUnit *units;
	uint32 count;
	uint32 room;
	uint64 problems;
	/* an earlier checkpoint, size 0 for none */
	uint64 since;
	uint8 since_root[TREE_HASH_BYTES];
	/* the organisation at hand */
	const VerifyUnit *unit;
	TreeFrontier tree; /* up to the unit */
	uint64 last;
	uint64 begin; /* where the next batch must begin */
	bool broken;  /* from here on no root can fit */
	bool cut;
} VerifyLeader;

static const pg_uuid_t verify_database_tree = {{0}};

/* Adds one row of the result. */
static void
verify_put_finding(VerifyRun *run, const VerifyMessage *message)
{
	VerifyLeader *leader = run->consumer;
	Datum values[4];
	bool nulls[4] = {false};

	if (message->has_org && !run->shared->all && !base_uuid_equal(&message->org, &run->shared->org))
		return;
	values[0] = CStringGetTextDatum(message->error ? "error" : "warning");
	values[1] = UUIDPGetDatum(&message->org);
	nulls[1] = !message->has_org;
	values[2] = Int64GetDatum((int64) message->position);
	nulls[2] = message->position == 0;
	values[3] = CStringGetTextDatum(message->data);
	tuplestore_putvalues(leader->result->setResult, leader->result->setDesc, values, nulls);
	leader->problems++;
	audit_verify_found(run->shared->progress);
}

/* ---- an earlier checkpoint ---- */

/* The checkpoint must be one of this log; ERROR 22023 otherwise. */
static void
verify_read_since(VerifyLeader *leader, const char *note)
{
	Relation rel = table_open(base_relation("log_key"), AccessShareLock);
	TupleDesc desc = RelationGetDescr(rel);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	const char *problem = "checkpoint is of another log";
	HeapTuple tuple;

	while (problem != NULL && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		ExportKey key;
		ExportHead head;
		uint32 hash;
		bool isnull;
		char *origin = TextDatumGetCString(heap_getattr(tuple, LOGKEY_ORIGIN, desc, &isnull));

		if (strlen(origin) > EXPORT_NAME_MAX)
			continue;
		memset(&key, 0, sizeof(key));
		strlcpy(key.name, origin, sizeof(key.name));
		audit_copy_hash(tuple, desc, LOGKEY_PUBLIC, key.public);
		hash = audit_key_hash(origin, key.public);
		for (int i = 0; i < 4; i++)
			key.id[i] = (uint8) (hash >> (24 - 8 * i));
		problem = export_parse_checkpoint(&key, note, strlen(note), &head);
		if (problem == NULL)
		{
			leader->since = head.size;
			memcpy(leader->since_root, head.root, TREE_HASH_BYTES);
		}
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	if (problem != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", problem)));
}

/* The frontier of a tree as the tables have it; false when hashes are missing. */
static bool
verify_frontier(VerifyRun *run, const pg_uuid_t *org, uint64 size, TreeFrontier *tree)
{
	ProofSource from = {.org = *org, .snapshot = run->snapshot};
	TreeSource source = {.read = proof_read, .arg = &from};

	return tree_read_frontier(&source, size, tree);
}

/* The last batch of an organisation under the checkpoint: where it ends, 0 when there is none. *more: there are later ones. */
static uint64
verify_known(VerifyRun *run, VerifyLeader *leader, const pg_uuid_t *org, bool *more)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple batch;
	uint64 known = 0;

	*more = leader->since == 0;
	if (leader->since == 0)
		return 0;
	ScanKeyInit(&key, BATCH_ORG, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(org));
	scan = systable_beginscan_ordered(run->batches, run->batches_index, run->snapshot, 1, &key);
	while (known == 0 &&
		   HeapTupleIsValid(batch = systable_getnext_ordered(scan, BackwardScanDirection)))
	{
		if ((uint64) verify_int(batch, BATCH_NO, RelationGetDescr(run->batches)) <= leader->since)
			known = (uint64) verify_int(batch, BATCH_LAST, RelationGetDescr(run->batches));
		else
			*more = true;
	}
	systable_endscan_ordered(scan);
	return known;
}

/* Takes an organisation's tree up where the checkpoint leaves it; false, and says so, when that is not under the checkpoint. */
static bool
verify_resume(VerifyRun *run, VerifyLeader *leader, const VerifyUnit *unit)
{
	ProofSource from = {.org = verify_database_tree, .snapshot = run->snapshot};
	TreeSource source = {.read = proof_read, .arg = &from};
	TupleDesc desc = RelationGetDescr(run->batches);
	uint8 path[TREE_MAX_PROOF][TREE_HASH_BYTES];
	uint8 leaf[TREE_HASH_BYTES];
	uint8 root[TREE_HASH_BYTES];
	uint8 stored[TREE_HASH_BYTES];
	uint64 number = 0;
	size_t len;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple batch;

	ScanKeyInit(&keys[0], BATCH_ORG, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(&unit->org));
	ScanKeyInit(&keys[1], BATCH_LAST, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum((int64) unit->known));
	scan = systable_beginscan_ordered(run->batches, run->batches_index, run->snapshot, 2, keys);
	if (HeapTupleIsValid(batch = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		number = (uint64) verify_int(batch, BATCH_NO, desc);
		audit_batch_leaf(batch, desc, leaf);
		audit_copy_hash(batch, desc, BATCH_ORG_ROOT, stored);
	}
	systable_endscan_ordered(scan);
	/* a number 0 is beyond every tree */
	if (!tree_prove_inclusion(&source, number - 1, leader->since, path, &len) ||
		!tree_verify_inclusion(leaf, number - 1, leader->since,
							   (const uint8_t(*)[TREE_HASH_BYTES]) path, len, leader->since_root))
	{
		verify_report(run, "error", &unit->org, unit->known,
					  "batch " UINT64_FORMAT " is not under the checkpoint; roots of this "
					  "organisation were not checked",
					  number);
		return false;
	}
	if (!verify_frontier(run, &unit->org, unit->known, &leader->tree))
	{
		verify_report(run, "error", &unit->org, unit->known,
					  "hashes before position " UINT64_FORMAT
					  " are missing; roots of this organisation were not checked",
					  unit->known + 1);
		return false;
	}
	verify_check_hash(tree_root(&leader->tree, root));
	if (memcmp(root, stored, TREE_HASH_BYTES) != 0)
	{
		verify_report(run, "error", &unit->org, unit->known,
					  "leaves 1 to " UINT64_FORMAT " do not give the root of batch " UINT64_FORMAT
					  "; later roots of this organisation were not checked",
					  unit->known, number);
		return false;
	}
	/* back to where the unit begins: its leaves are hashed again */
	leader->tree.size = unit->from;
	return true;
}

/* ---- the trees of organisations, from what units say ---- */

/* The tree up to the unit, and the part of the unit behind it. */
static void
verify_join(const VerifyLeader *leader, const VerifyMessage *message, TreeFrontier *tree)
{
	size_t count = tree_node_count(message->size);

	*tree = leader->tree;
	if (message->size == VERIFY_UNIT)
		verify_check_hash(tree_append_full(tree, VERIFY_UNIT_LEVEL, (const uint8 *) message->data));
	else
	{
		memcpy(tree->nodes[tree_node_count(tree->size)], message->data, count * TREE_HASH_BYTES);
		tree->size += message->size;
	}
}

static void
verify_judge_batch(VerifyRun *run, VerifyLeader *leader, const VerifyMessage *message)
{
	const pg_uuid_t *org = &leader->unit->org;
	uint8 root[TREE_HASH_BYTES];
	TreeFrontier tree;

	if ((uint64) message->first != leader->begin)
		verify_report(run, "error", org, leader->begin,
					  "batch " INT64_FORMAT " begins at position " INT64_FORMAT
					  " instead of " UINT64_FORMAT,
					  message->number, message->first, leader->begin);
	if (message->exact && !leader->broken)
	{
		verify_join(leader, message, &tree);
		verify_check_hash(tree_root(&tree, root));
		if (memcmp(root, message->root, TREE_HASH_BYTES) != 0)
		{
			verify_report(run, "error", org, leader->begin,
						  "leaves " UINT64_FORMAT " to " UINT64_FORMAT
						  " do not give the root of batch " INT64_FORMAT
						  "; later roots of this organisation were not checked",
						  leader->begin, message->position, message->number);
			leader->broken = true;
		}
	}
	leader->begin = message->position + 1;
}

/* Takes one message of the unit at hand. */
static void
verify_judge(VerifyRun *run, const VerifyMessage *original)
{
	VerifyLeader *leader = run->consumer;
	const pg_uuid_t *org = &leader->unit->org;
	/* reports are written where a message of this process may stand */
	VerifyMessage *message = NULL;

	if (original->kind == VERIFY_FINDING)
	{
		verify_put_finding(run, original);
		return;
	}
	message = palloc(VERIFY_MESSAGE_MAX);
	memcpy(message, original,
		   VERIFY_MESSAGE_BASE + tree_node_count(original->size) * TREE_HASH_BYTES);
	switch ((VerifyMessageKind) message->kind)
	{
		case VERIFY_FINDING:
			break;
		case VERIFY_START:
			if (message->position != leader->last + 1)
			{
				verify_report(run, "error", org, leader->last + 1,
							  "leaves " UINT64_FORMAT " to " UINT64_FORMAT " are missing",
							  leader->last + 1, message->position - 1);
				leader->broken = true;
			}
			break;
		case VERIFY_BROKEN:
			leader->broken = true;
			break;
		case VERIFY_BATCH:
			verify_judge_batch(run, leader, message);
			break;
		case VERIFY_CUT:
			if (message->first != 0)
				leader->last = (uint64) message->first;
			leader->cut = true;
			verify_report(run, "error", org, leader->last + 1,
						  "log was cut: batch " INT64_FORMAT " ends at position " UINT64_FORMAT
						  ", the last leaf is " UINT64_FORMAT,
						  message->number, message->position, leader->last);
			break;
		case VERIFY_END:
			if (message->position != 0)
				leader->last = message->position;
			if (leader->unit->last && !leader->cut && leader->begin <= leader->last)
				verify_report(run, "error", org, leader->begin,
							  "leaves " UINT64_FORMAT " to " UINT64_FORMAT " are in no batch",
							  leader->begin, leader->last);
			if (!leader->unit->last && !leader->broken)
				verify_join(leader, message, &leader->tree);
			break;
	}
	pfree(message);
}

/* ---- planning ---- */

static void
verify_plan_org(VerifyRun *run, VerifyLeader *leader, const pg_uuid_t *org)
{
	bool more;
	uint64 known = verify_known(run, leader, org, &more);
	uint64 from = known / VERIFY_UNIT * VERIFY_UNIT;
	bool first = true;

	for (;;)
	{
		uint64 next = verify_next_leaf(run, org, first ? known : from + VERIFY_UNIT);
		VerifyUnit *unit;

		if (next == 0 && (!first || !more))
			break;
		if (leader->count == leader->room)
		{
			leader->room *= 2;
			leader->units = repalloc_huge(leader->units, sizeof(VerifyUnit) * leader->room);
		}
		unit = &leader->units[leader->count++];
		memset(unit, 0, sizeof(*unit));
		unit->org = *org;
		unit->batches = first ? known : from + VERIFY_UNIT;
		unit->known = first ? known : 0;
		/* what is known is hashed again, so that the unit's tree is the one of its leaves */
		if (next != 0 && (!first || next > from + VERIFY_UNIT))
			from = (next - 1) / VERIFY_UNIT * VERIFY_UNIT;
		unit->from = from;
		unit->first = first;
		if (!first)
			unit[-1].last = false;
		unit->last = true;
		first = false;
	}
}

/* The first organisation behind another one by an index that begins with it; false when there is none. */
static bool
verify_next_org(Relation rel, Relation index, Snapshot snapshot, const pg_uuid_t *after,
				pg_uuid_t *org)
{
	IndexScanDesc scan = index_beginscan(rel, index, snapshot, NULL, after != NULL ? 1 : 0, 0);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	ScanKeyData key;
	bool found;

	if (after != NULL)
		ScanKeyInit(&key, 1, BTGreaterStrategyNumber, F_UUID_GT, UUIDPGetDatum(after));
	index_rescan(scan, &key, after != NULL ? 1 : 0, NULL, 0);
	found = index_getnext_slot(scan, ForwardScanDirection, slot);
	if (found)
	{
		slot_getallattrs(slot);
		*org = *DatumGetUUIDP(
			slot->tts_values[RelationGetRelid(rel) == base_relation("leaf") ? LEAF_ORG - 1
																			: BATCH_ORG - 1]);
	}
	ExecDropSingleTupleTableSlot(slot);
	index_endscan(scan);
	return found;
}

/* Lays out the work: the organisations that have a leaf or a batch, or the one that was asked for. */
static void
verify_plan(VerifyRun *run, VerifyLeader *leader)
{
	pg_uuid_t leaf_org;
	pg_uuid_t batch_org;
	bool have_leaf;
	bool have_batch;

	leader->room = 64;
	leader->units = palloc(sizeof(VerifyUnit) * leader->room);
	if (!run->shared->all)
	{
		verify_plan_org(run, leader, &run->shared->org);
		return;
	}
	have_leaf = verify_next_org(run->leaves, run->leaves_index, run->snapshot, NULL, &leaf_org);
	have_batch = verify_next_org(run->batches, run->batches_index, run->snapshot, NULL, &batch_org);
	while (have_leaf || have_batch)
	{
		int order = !have_leaf	  ? 1
					: !have_batch ? -1
								  : memcmp(leaf_org.data, batch_org.data, UUID_LEN);
		pg_uuid_t org = order <= 0 ? leaf_org : batch_org;

		CHECK_FOR_INTERRUPTS();
		verify_plan_org(run, leader, &org);
		if (order <= 0)
			have_leaf =
				verify_next_org(run->leaves, run->leaves_index, run->snapshot, &org, &leaf_org);
		if (order >= 0)
			have_batch =
				verify_next_org(run->batches, run->batches_index, run->snapshot, &org, &batch_org);
	}
}

/* ---- running ---- */

/* The organisation of the unit at hand: its tree from nothing, or from where the checkpoint leaves it. */
static void
verify_open_unit(VerifyRun *run, VerifyLeader *leader, const VerifyUnit *unit)
{
	leader->unit = unit;
	if (!unit->first)
		return;
	leader->broken = leader->cut = false;
	leader->tree.size = 0;
	leader->last = unit->known / VERIFY_UNIT * VERIFY_UNIT;
	leader->begin = unit->known + 1;
	if (unit->known != 0 && !verify_resume(run, leader, unit))
		leader->broken = true;
}

/* Takes the messages of a unit that a worker has. */
static void
verify_receive_unit(VerifyRun *run, ParallelContext *context, shm_mq_handle **queues,
					pg_atomic_uint32 *owner)
{
	uint32 worker;
	bool ended = false;

	/* whoever took it says so at once */
	while ((worker = pg_atomic_read_u32(owner)) == 0)
	{
		CHECK_FOR_INTERRUPTS();
		pg_usleep(10);
	}
	while (!ended)
	{
		Size len;
		void *data;

		CHECK_FOR_INTERRUPTS();
		if (shm_mq_receive(queues[worker - 1], &len, &data, false) != SHM_MQ_SUCCESS)
		{
			WaitForParallelWorkersToFinish(context); /* says what went wrong there */
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("a worker of the verification is gone")));
		}
		memcpy(run->message, data, Min(len, VERIFY_MESSAGE_MAX));
		ended = run->message->kind == VERIFY_END;
		verify_judge(run, run->message);
	}
}

/* Does the units in order: what no worker has taken in this process. */
static void
verify_units(VerifyRun *run, VerifyLeader *leader, ParallelContext *context, shm_mq_handle **queues,
			 pg_atomic_uint32 *owners)
{
	for (uint32 i = 0; i < leader->count; i++)
	{
		uint64 mine = i;

		verify_open_unit(run, leader, &leader->units[i]);
		if (pg_atomic_compare_exchange_u64(&run->shared->next, &mine, i + 1))
			verify_unit(run, &leader->units[i]);
		else
			verify_receive_unit(run, context, queues, &owners[i]);
	}
}

/* Counts a partition together with whoever else scans it. */
static void
verify_count_partition(VerifyRun *run, ParallelTableScanDesc scan)
{
	Relation rel = table_open(PARALLEL_SCAN_RELID(scan), AccessShareLock);

	verify_count_entries(run, table_beginscan_parallel(rel, scan));
	table_close(rel, AccessShareLock);
}

PGDLLEXPORT void immiiq_verify_worker(dsm_segment *segment, shm_toc *toc);

/* A parallel worker of verify_audit. */
void
immiiq_verify_worker(dsm_segment *segment, shm_toc *toc)
{
	VerifyShared *shared = shm_toc_lookup(toc, VERIFY_KEY_SHARED, false);
	VerifyUnit *units = shm_toc_lookup(toc, VERIFY_KEY_UNITS, false);
	pg_atomic_uint32 *owners = shm_toc_lookup(toc, VERIFY_KEY_OWNERS, false);
	char *queues = shm_toc_lookup(toc, VERIFY_KEY_QUEUES, false);
	shm_mq *queue = (shm_mq *) (queues + (Size) ParallelWorkerNumber * VERIFY_QUEUE_SIZE);
	VerifyRun run;
	uint64 i;

	memset(&run, 0, sizeof(run));
	shm_mq_set_sender(queue, MyProc);
	run.queue = shm_mq_attach(queue, segment, NULL);
	verify_begin(&run, shared);
	while ((i = pg_atomic_fetch_add_u64(&shared->next, 1)) < shared->units)
	{
		pg_atomic_write_u32(&owners[i], (uint32) ParallelWorkerNumber + 1);
		verify_unit(&run, &units[i]);
	}
	for (uint32 n = 0; n < shared->scans; n++)
		verify_count_partition(&run, shm_toc_lookup(toc, VERIFY_KEY_SCAN + n, false));
	verify_end(&run);
	shm_mq_detach(run.queue);
}

/* Does all units, with so many workers beside this process if there are as many. */
static void
verify_run_units(VerifyRun *run, VerifyLeader *leader, int workers)
{
	ParallelContext *context;
	ParallelTableScanDesc *scans;
	VerifyShared *alone = run->shared;
	pg_atomic_uint32 *owners;
	shm_mq_handle *queues[VERIFY_MAX_WORKERS];
	char *space;

	run->shared->units = leader->count;
	if (workers <= 0)
	{
		verify_units(run, leader, NULL, NULL, NULL);
		for (int i = 0; run->shared->count && i < run->entries.count; i++)
			verify_count_entries(run, table_beginscan(run->entries.rels[i], run->snapshot, 0, NULL));
		return;
	}
	EnterParallelMode();
	context = CreateParallelContext("immiiq", "immiiq_verify_worker", workers);
	shm_toc_estimate_chunk(&context->estimator, sizeof(VerifyShared));
	shm_toc_estimate_chunk(&context->estimator, mul_size(sizeof(VerifyUnit), leader->count));
	shm_toc_estimate_chunk(&context->estimator, mul_size(sizeof(pg_atomic_uint32), leader->count));
	shm_toc_estimate_chunk(&context->estimator, mul_size(VERIFY_QUEUE_SIZE, workers));
	alone->scans = alone->count ? (uint32) run->entries.count : 0;
	for (uint32 i = 0; i < alone->scans; i++)
		shm_toc_estimate_chunk(&context->estimator,
							   table_parallelscan_estimate(run->entries.rels[i], run->snapshot));
	shm_toc_estimate_keys(&context->estimator, 4 + alone->scans);
	InitializeParallelDSM(context);

	run->shared = shm_toc_allocate(context->toc, sizeof(VerifyShared));
	memcpy(run->shared, alone, sizeof(VerifyShared));
	shm_toc_insert(context->toc, VERIFY_KEY_SHARED, run->shared);
	space = shm_toc_allocate(context->toc, mul_size(sizeof(VerifyUnit), leader->count));
	memcpy(space, leader->units, sizeof(VerifyUnit) * leader->count);
	shm_toc_insert(context->toc, VERIFY_KEY_UNITS, space);
	owners = shm_toc_allocate(context->toc, mul_size(sizeof(pg_atomic_uint32), leader->count));
	for (uint32 i = 0; i < leader->count; i++)
		pg_atomic_init_u32(&owners[i], 0);
	shm_toc_insert(context->toc, VERIFY_KEY_OWNERS, owners);
	space = shm_toc_allocate(context->toc, mul_size(VERIFY_QUEUE_SIZE, workers));
	for (int i = 0; i < workers; i++)
	{
		shm_mq *queue = shm_mq_create(space + (Size) i * VERIFY_QUEUE_SIZE, VERIFY_QUEUE_SIZE);

		shm_mq_set_receiver(queue, MyProc);
		queues[i] = shm_mq_attach(queue, context->seg, NULL);
	}
	shm_toc_insert(context->toc, VERIFY_KEY_QUEUES, space);
	scans = palloc(sizeof(ParallelTableScanDesc) * Max(alone->scans, 1));
	for (uint32 i = 0; i < alone->scans; i++)
	{
		scans[i] = shm_toc_allocate(context->toc, table_parallelscan_estimate(run->entries.rels[i],
																			  run->snapshot));
		table_parallelscan_initialize(run->entries.rels[i], scans[i], run->snapshot);
		shm_toc_insert(context->toc, VERIFY_KEY_SCAN + i, scans[i]);
	}
	LaunchParallelWorkers(context);
	for (int i = 0; i < context->nworkers_launched; i++)
		shm_mq_set_handle(queues[i], context->worker[i].bgwhandle);
	audit_verify_workers(run->shared->progress, context->nworkers_launched);

	verify_units(run, leader, context, queues, owners);
	for (uint32 i = 0; i < alone->scans; i++)
		verify_count_partition(run, scans[i]);
	WaitForParallelWorkersToFinish(context);
	memcpy(alone, run->shared, sizeof(VerifyShared));
	run->shared = alone;
	DestroyParallelContext(context);
	ExitParallelMode();
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

/*
 * What is wrong with the signature of a head; NULL when nothing is.  own: this
 * installation's key, NULL when unknown.  *by_signer: an earlier head is signed
 * by immiiq.signer_command, whose place the installation's key may not take again
 * while that is set.
 */
static const char *
verify_head(VerifyRun *run, HeapTuple head, TupleDesc desc, const uint8 *own, bool *by_signer)
{
	VerifyLogKey key;
	uint8 root[TREE_HASH_BYTES];
	bytea *signature;
	char *text;
	bool isnull;

	if (!verify_find_log_key(run, (uint32) verify_int(head, HEAD_KEY_HASH, desc), &key))
		return "is signed by a key that the log does not know";
	if (signer_knows(key.public))
		*by_signer = true;
	else if (own != NULL && memcmp(own, key.public, CRYPTO_PUB_BYTES) != 0)
		return "is signed by a key that is not this installation's";
	else if (*by_signer && signer_is_set())
		return "is not signed by immiiq.signer_command, which signed before it";
	audit_copy_hash(head, desc, HEAD_ROOT, root);
	text = audit_checkpoint_body(key.origin, (uint64) verify_int(head, HEAD_SIZE, desc), root);
	signature = DatumGetByteaPP(heap_getattr(head, HEAD_SIGNATURE, desc, &isnull));
	if (VARSIZE_ANY_EXHDR(signature) != CRYPTO_SIG_BYTES ||
		!crypto_ed25519_verify(key.public, text, strlen(text), (uint8 *) VARDATA_ANY(signature)))
		return "has a signature that does not hold";
	return NULL;
}

static void
verify_ask_signing_key(void *arg)
{
	keyring_installation_secret("log-signing", false, arg);
}

/* Checks the chain of batches, its tree, and every signed head, from the checkpoint on. */
static void
verify_database(VerifyRun *run, VerifyLeader *leader)
{
	Relation batches = table_open(base_relation("batch"), AccessShareLock);
	Relation batch_index = index_open(base_relation("batch_pkey"), AccessShareLock);
	Relation heads = table_open(base_relation("tree_head"), AccessShareLock);
	Relation head_index = index_open(base_relation("tree_head_pkey"), AccessShareLock);
	TupleDesc batch_desc = RelationGetDescr(batches);
	TupleDesc head_desc = RelationGetDescr(heads);
	SysScanDesc batch_scan;
	SysScanDesc head_scan;
	ScanKeyData after[2];
	HeapTuple head;
	HeapTuple batch;
	TreeFrontier tree;
	uint64 last = leader->since;
	uint64 signed_to = leader->since;
	bool broken = false;
	uint8 secret[CRYPTO_SEED_BYTES];
	uint8 own[CRYPTO_PUB_BYTES];
	bool have_own = false;
	bool by_signer = false;

	ScanKeyInit(&after[0], BATCH_NO, BTGreaterStrategyNumber, F_INT8GT,
				Int64GetDatum((int64) leader->since));
	ScanKeyInit(&after[1], HEAD_SIZE, BTGreaterStrategyNumber, F_INT8GT,
				Int64GetDatum((int64) leader->since));
	batch_scan = systable_beginscan_ordered(batches, batch_index, run->snapshot,
											leader->since != 0 ? 1 : 0, &after[0]);
	head_scan = systable_beginscan_ordered(heads, head_index, run->snapshot,
										   leader->since != 0 ? 1 : 0, &after[1]);
	head = systable_getnext_ordered(head_scan, ForwardScanDirection);
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
	if (leader->since != 0)
	{
		uint8 root[TREE_HASH_BYTES];

		if (!verify_frontier(run, &verify_database_tree, leader->since, &tree))
		{
			verify_report(run, "error", NULL, 0,
						  "log is shorter than the checkpoint of " UINT64_FORMAT
						  " batches, or lacks hashes: it was cut",
						  leader->since);
			broken = true;
		}
		else
		{
			verify_check_hash(tree_root(&tree, root));
			if (memcmp(root, leader->since_root, TREE_HASH_BYTES) != 0)
			{
				verify_report(run, "error", NULL, 0,
							  "log is not a continuation of the checkpoint of " UINT64_FORMAT
							  " batches: it was rewritten",
							  leader->since);
				broken = true;
			}
		}
	}
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
			const char *problem =
				verify_head(run, head, head_desc, have_own ? own : NULL, &by_signer);

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

/* The row of immiiq.entry that a query gave. */
static void
verify_row_entry(HeapTuple tuple, TupleDesc desc, VerifyEntry *row)
{
	Datum values[ENTRY_COLUMNS];
	bool nulls[ENTRY_COLUMNS];

	memset(row, 0, sizeof(*row));
	row->txid = (uint64) verify_int(tuple, ENTRY_TXID, desc);
	row->at = verify_int(tuple, ENTRY_AT, desc);
	verify_uuid(tuple, ENTRY_ORG, desc, &row->org);
	row->incarnation = (uint32) verify_int(tuple, ENTRY_INCARNATION, desc);
	row->seq = (uint32) verify_int(tuple, ENTRY_SEQ, desc);
	row->month = (DateADT) verify_int(tuple, ENTRY_MONTH, desc);
	heap_deform_tuple(tuple, desc, values, nulls);
	row->body = audit_entry_bytes(values, nulls, &row->len);
}

/*
 * Checks the entries that have no leaf: the sealer will come to them, or they are
 * not its.  every: looks at every entry, because the sums over leaves and entries
 * differ; else only where the sealer has not been.
 */
static void
verify_unsealed(VerifyRun *run, bool every)
{
	TimestampTz now = GetCurrentTimestamp();
	uint64 late = 0;
	pg_uuid_t late_org;
	Oid types[3] = {UUIDOID, INT8OID, INT8ARRAYOID};
	Datum args[3];
	char nulls[4] = {run->shared->all ? 'n' : ' ', ' ', ' ', '\0'};
	Datum *open = palloc(sizeof(Datum) * Max(run->open_count, 1));
	SPIPlanPtr plan;
	Portal portal;

	for (int i = 0; i < run->open_count; i++)
		open[i] = Int64GetDatum((int64) run->open[i]);
	args[0] = UUIDPGetDatum(&run->shared->org);
	args[1] = Int64GetDatum((int64) run->horizon);
	args[2] =
		PointerGetDatum(construct_array(open, run->open_count, INT8OID, 8, true, TYPALIGN_DOUBLE));
	SPI_connect();
	if (every)
		plan = SPI_prepare("SELECT e.* FROM immiiq.entry e "
						   "WHERE ($1 IS NULL OR e.org_id OPERATOR(pg_catalog.=) $1) "
						   "AND NOT EXISTS (SELECT FROM immiiq.leaf l "
						   "WHERE l.incarnation OPERATOR(pg_catalog.=) e.incarnation "
						   "AND l.txid OPERATOR(pg_catalog.=) e.txid "
						   "AND l.seq OPERATOR(pg_catalog.=) e.seq)",
						   1, types);
	else
		plan =
			SPI_prepare("SELECT e.* FROM immiiq.entry e "
						"WHERE ($1 IS NULL OR e.org_id OPERATOR(pg_catalog.=) $1) "
						"AND e.incarnation OPERATOR(pg_catalog.=) ANY (immiiq.audit_incarnations()) "
						"AND e.txid OPERATOR(pg_catalog.>=) $2 UNION ALL "
						"SELECT e.* FROM immiiq.entry e "
						"WHERE ($1 IS NULL OR e.org_id OPERATOR(pg_catalog.=) $1) "
						"AND e.incarnation OPERATOR(pg_catalog.=) ANY (immiiq.audit_incarnations()) "
						"AND e.txid OPERATOR(pg_catalog.=) ANY ($3)",
						3, types);
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
			MemoryContext old = MemoryContextSwitchTo(run->row);
			VerifyEntry row;
			CanonicalEntry entry;
			const char *problem;

			verify_row_entry(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, &row);
			if (!verify_is_pending(run, row.txid, row.incarnation))
				verify_report(run, "error", &row.org, 0,
							  "entry of transaction " UINT64_FORMAT ", number %u "
							  "was never sealed and never will be: it was put in, or its leaf "
							  "taken out",
							  row.txid, row.seq);
			else if ((problem = verify_entry(run, &row, &row.org, &entry)) != NULL)
				verify_report(run, "error", &row.org, 0,
							  "entry of transaction " UINT64_FORMAT ", number %u "
							  "that waits for its seal: %s",
							  row.txid, row.seq, problem);
			else if (TimestampDifferenceExceeds(row.at, now, VERIFY_LATE_MS))
			{
				if (late++ == 0)
					late_org = row.org;
			}
			MemoryContextSwitchTo(old);
			MemoryContextReset(run->row);
			CHECK_FOR_INTERRUPTS();
		}
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	if (late > 0)
		verify_report(run, "warning", run->shared->all ? NULL : &late_org, 0,
					  UINT64_FORMAT " entries have waited for their seal for over five minutes",
					  late);

	if (!every)
	{
		SPI_finish();
		return;
	}
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
}

PG_FUNCTION_INFO_V1(immiiq_verify_audit);

/*
 * immiiq.verify_audit(org uuid, since text, images bool, workers int4, rows bool): one row
 * (severity, org, position, problem) for everything in which the log does not
 * hold together; none when it is whole.  org NULL: every organisation.  since: a
 * checkpoint that was kept, behind which the verification begins (22023 when it
 * is not of this log).  images: opens every image and holds it against its
 * commitments.  workers: parallel workers beside the session; NULL: up to
 * max_parallel_workers_per_gather where there is work for them.  rows: holds live
 * rows against their last entries; NULL: with images and without since.  severity is
 * 'error' for what cannot come about without tampering or damage, 'warning' for
 * what could not be checked or is late.  Reads one snapshot; changes nothing.
 */
Datum
immiiq_verify_audit(PG_FUNCTION_ARGS)
{
	VerifyRun run;
	VerifyLeader leader;
	VerifyShared shared;
	int workers;

	base_require_preload();
	InitMaterializedSRF(fcinfo, 0);
	memset(&run, 0, sizeof(run));
	memset(&leader, 0, sizeof(leader));
	memset(&shared, 0, sizeof(shared));
	leader.result = (ReturnSetInfo *) fcinfo->resultinfo;
	shared.all = PG_ARGISNULL(0);
	if (!shared.all)
		shared.org = *PG_GETARG_UUID_P(0);
	if (!PG_ARGISNULL(1))
		verify_read_since(&leader, text_to_cstring(PG_GETARG_TEXT_PP(1)));
	shared.images = PG_ARGISNULL(2) || PG_GETARG_BOOL(2);
	pg_atomic_init_u64(&shared.next, 0);
	pg_atomic_init_u64(&shared.leaf_sum, 0);
	pg_atomic_init_u64(&shared.entry_sum, 0);
	crypto_nonce(shared.key, sizeof(shared.key));
	run.consume = verify_judge;
	run.consumer = &leader;
	verify_begin(&run, &shared);
	/* after a restore every entry has to be looked at one by one anyway */
	shared.count = leader.since == 0 && run.have_state && !run.marked;

	shared.progress = audit_verify_start();
	PG_TRY();
	{
		bool every = leader.since == 0;

		verify_plan(&run, &leader);
		workers = !PG_ARGISNULL(3)	 ? PG_GETARG_INT32(3)
				  : leader.count < 4 ? 0
									 : max_parallel_workers_per_gather;
		audit_verify_total(shared.progress, leader.count);
		verify_run_units(&run, &leader, IsInParallelMode() ? 0 : Min(workers, VERIFY_MAX_WORKERS));
		if (shared.count)
			every = pg_atomic_read_u64(&shared.leaf_sum) != pg_atomic_read_u64(&shared.entry_sum);
		verify_database(&run, &leader);
		verify_pruned(&run);
		verify_unsealed(&run, every || !run.have_state || run.marked);
		if (PG_ARGISNULL(4) ? shared.images && leader.since == 0 : PG_GETARG_BOOL(4))
			verify_rows(&run);
	}
	PG_FINALLY();
	{
		audit_verify_finish(shared.progress);
	}
	PG_END_TRY();
	verify_end(&run);
	return (Datum) 0;
}
