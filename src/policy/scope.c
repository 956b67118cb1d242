/*
 * The teams and clients of who is asking.  Trusts immiiq.team_member and
 * immiiq.assignment as the current statement's snapshot shows them; refuses
 * to remember anything across identities, transactions or snapshots.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "policy/scope.h"

/* Columns of immiiq.team_member and immiiq.assignment, by position (70_directory.sql). */
#define TEAM_MEMBER_ORG	   1
#define TEAM_MEMBER_TEAM   2
#define TEAM_MEMBER_MEMBER 3
#define ASSIGNMENT_ORG	   1
#define ASSIGNMENT_CLIENT  3
#define ASSIGNMENT_MEMBER  4
#define ASSIGNMENT_TEAM	   5

/* So many clients are looked up one by one before the whole set is read. */
#define SCOPE_PROBES 64

/* What the memo was read under: another identity, snapshot or command reads anew. */
typedef struct ScopeKey
{
	uint64 generation;
	uint64 completions;
	TransactionId xmin;
	TransactionId xmax;
	uint32 xcnt;
	CommandId curcid;
} ScopeKey;

static MemoryContext scope_context = NULL;
static bool scope_valid = false;
static ScopeKey scope_key;
static bool scope_teams_read = false;
static pg_uuid_t *scope_team_ids = NULL;
static int scope_team_count = 0;
static HTAB *scope_client_set = NULL;
static int scope_probes = 0;

/* Forgets the memo; its memory goes with the context. */
static void
scope_forget(void)
{
	scope_valid = false;
	scope_teams_read = false;
	scope_team_ids = NULL;
	scope_team_count = 0;
	scope_client_set = NULL;
	scope_probes = 0;
	if (scope_context != NULL)
		MemoryContextReset(scope_context);
}

static void
scope_at_xact(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE ||
		event == XACT_EVENT_PARALLEL_COMMIT || event == XACT_EVENT_PARALLEL_ABORT)
		scope_forget();
}

/* A subtransaction that rolls back takes its command ids with it: they may come again. */
static void
scope_at_subxact(SubXactEvent event, SubTransactionId mySubid, SubTransactionId parentSubid,
				 void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		scope_forget();
}

void
scope_init(void)
{
	RegisterXactCallback(scope_at_xact, NULL);
	RegisterSubXactCallback(scope_at_subxact, NULL);
}

/* The snapshot to read under: the statement's, or a catalog snapshot (NULL) outside any. */
static Snapshot
scope_snapshot(void)
{
	return ActiveSnapshotSet() ? GetActiveSnapshot() : NULL;
}

/* Makes the memo fit who is asking and the current snapshot. */
static void
scope_refresh(void)
{
	Snapshot snapshot = scope_snapshot();
	ScopeKey key;

	memset(&key, 0, sizeof(key));
	key.generation = context_generation();
	if (snapshot != NULL)
	{
		key.completions = snapshot->snapXactCompletionCount;
		key.xmin = snapshot->xmin;
		key.xmax = snapshot->xmax;
		key.xcnt = snapshot->xcnt;
		key.curcid = snapshot->curcid;
	}
	if (scope_valid && snapshot != NULL && memcmp(&key, &scope_key, sizeof(key)) == 0)
		return;
	if (scope_context == NULL)
		scope_context =
			AllocSetContextCreate(TopMemoryContext, "immiiq scope", ALLOCSET_SMALL_SIZES);
	scope_forget();
	scope_key = key;
	scope_valid = true;
}

/* A uuid column of a table of the directory; an altered table is an error here, not a crash later. */
static Datum
scope_column(Relation rel, HeapTuple tuple, AttrNumber attno, bool *isnull)
{
	TupleDesc desc = RelationGetDescr(rel);

	if (attno > desc->natts || TupleDescAttr(desc, attno - 1)->atttypid != UUIDOID)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table immiiq.%s is not as the extension made it",
							   RelationGetRelationName(rel))));
	return heap_getattr(tuple, attno, desc, isnull);
}

int
scope_teams(const ContextIdentity *who, const pg_uuid_t **teams)
{
	Relation rel;
	Relation index;
	SysScanDesc scan;
	ScanKeyData keys[2];
	HeapTuple tuple;
	pg_uuid_t *ids;
	int n = 0;
	int room = 8;

	scope_refresh();
	if (!scope_teams_read)
	{
		ids = MemoryContextAlloc(scope_context, sizeof(pg_uuid_t) * room);
		rel = table_open(base_relation("team_member"), AccessShareLock);
		index = index_open(base_relation("team_member_pkey"), AccessShareLock);
		ScanKeyInit(&keys[0], TEAM_MEMBER_ORG, BTEqualStrategyNumber, F_UUID_EQ,
					UUIDPGetDatum(&who->org));
		ScanKeyInit(&keys[1], TEAM_MEMBER_MEMBER, BTEqualStrategyNumber, F_UUID_EQ,
					UUIDPGetDatum(&who->member));
		scan = systable_beginscan(rel, RelationGetRelid(index), true, scope_snapshot(), 2, keys);
		while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		{
			bool isnull;
			Datum team = scope_column(rel, tuple, TEAM_MEMBER_TEAM, &isnull);

			if (isnull)
				continue;
			if (n == room)
				ids = repalloc(ids, sizeof(pg_uuid_t) * (room *= 2));
			ids[n++] = *DatumGetUUIDP(team);
		}
		systable_endscan(scan);
		index_close(index, AccessShareLock);
		table_close(rel, AccessShareLock);
		scope_team_ids = ids;
		scope_team_count = n;
		scope_teams_read = true;
	}
	*teams = scope_team_ids;
	return scope_team_count;
}

/*
 * Walks the assignments of one member or team, of one client where given.
 * Adds clients to the set where there is one; true when any row was found.
 */
static bool
scope_scan(const ContextIdentity *who, AttrNumber column, const pg_uuid_t *holder,
		   const pg_uuid_t *client, HTAB *set)
{
	Relation rel = table_open(base_relation("assignment"), AccessShareLock);
	Relation index;
	SysScanDesc scan;
	ScanKeyData keys[3];
	HeapTuple tuple;
	bool found = false;

	index = index_open(base_relation(column == ASSIGNMENT_MEMBER ? "assignment_member_idx"
																 : "assignment_team_idx"),
					   AccessShareLock);
	ScanKeyInit(&keys[0], ASSIGNMENT_ORG, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum(&who->org));
	ScanKeyInit(&keys[1], column, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(holder));
	if (client != NULL)
		ScanKeyInit(&keys[2], ASSIGNMENT_CLIENT, BTEqualStrategyNumber, F_UUID_EQ,
					UUIDPGetDatum(client));
	scan = systable_beginscan(rel, RelationGetRelid(index), true, scope_snapshot(),
							  client != NULL ? 3 : 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		found = true;
		if (set != NULL)
		{
			bool isnull;
			Datum id = scope_column(rel, tuple, ASSIGNMENT_CLIENT, &isnull);

			if (!isnull)
				(void) hash_search(set, DatumGetUUIDP(id), HASH_ENTER, NULL);
		}
		else
			break;
	}
	systable_endscan(scan);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return found;
}

/* Reads the whole set of clients, unless the memo has it. */
static HTAB *
scope_load(const ContextIdentity *who)
{
	HASHCTL ctl;
	HTAB *set;
	const pg_uuid_t *teams = NULL;
	int nteams = 0;

	scope_refresh();
	if (scope_client_set != NULL)
		return scope_client_set;
	if (who->scope == CONTEXT_SCOPE_TEAM)
		nteams = scope_teams(who, &teams);
	memset(&ctl, 0, sizeof(ctl));
	ctl.keysize = sizeof(pg_uuid_t);
	ctl.entrysize = sizeof(pg_uuid_t);
	ctl.hcxt = scope_context;
	set = hash_create("immiiq clients in scope", 256, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	(void) scope_scan(who, ASSIGNMENT_MEMBER, &who->member, NULL, set);
	for (int i = 0; i < nteams; i++)
		(void) scope_scan(who, ASSIGNMENT_TEAM, &teams[i], NULL, set);
	scope_client_set = set;
	return set;
}

bool
scope_has_client(const ContextIdentity *who, const pg_uuid_t *client)
{
	const pg_uuid_t *teams = NULL;
	int nteams = 0;
	bool found;

	scope_refresh();
	if (scope_client_set == NULL && scope_probes < SCOPE_PROBES)
	{
		scope_probes++;
		if (scope_scan(who, ASSIGNMENT_MEMBER, &who->member, client, NULL))
			return true;
		if (who->scope == CONTEXT_SCOPE_TEAM)
			nteams = scope_teams(who, &teams);
		for (int i = 0; i < nteams; i++)
			if (scope_scan(who, ASSIGNMENT_TEAM, &teams[i], client, NULL))
				return true;
		return false;
	}
	(void) hash_search(scope_load(who), client, HASH_FIND, &found);
	return found;
}

int64
scope_client_count(const ContextIdentity *who)
{
	return hash_get_num_entries(scope_load(who));
}

ArrayType *
scope_uuid_array(const pg_uuid_t *ids, int n)
{
	Datum *items = palloc(sizeof(Datum) * Max(n, 1));
	ArrayType *array;

	for (int i = 0; i < n; i++)
		items[i] = UUIDPGetDatum(&ids[i]);
	array = construct_array(items, n, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR);
	pfree(items);
	return array;
}

ArrayType *
scope_clients(const ContextIdentity *who)
{
	HTAB *set = scope_load(who);
	int n = (int) hash_get_num_entries(set);
	pg_uuid_t *ids = palloc(sizeof(pg_uuid_t) * Max(n, 1));
	HASH_SEQ_STATUS status;
	pg_uuid_t *id;
	ArrayType *array;
	int i = 0;

	hash_seq_init(&status, set);
	while ((id = hash_seq_search(&status)) != NULL)
		ids[i++] = *id;
	array = scope_uuid_array(ids, i);
	pfree(ids);
	return array;
}
