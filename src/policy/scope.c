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

/* Columns of the directory, by position (70_directory.sql). */
#define MEMBER_ORG				 1
#define MEMBER_ID				 2
#define MEMBER_PERMISSIONS		 9
#define MEMBER_ADDED_PERMISSIONS 14
#define TEAM_ORG				 1
#define TEAM_ID					 2
#define TEAM_KIND				 4
#define TEAM_PARENT				 5
#define TEAM_MEMBER_ORG			 1
#define TEAM_MEMBER_TEAM		 2
#define TEAM_MEMBER_MEMBER		 3
#define ASSIGNMENT_ORG			 1
#define ASSIGNMENT_CLIENT		 3
#define ASSIGNMENT_MEMBER		 4
#define ASSIGNMENT_TEAM			 5

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
static int scope_direct_count = 0; /* the first so many of them are the member's own */
static bool scope_offices_read = false;
static pg_uuid_t *scope_office_ids = NULL;
static int scope_office_count = 0;
static bool scope_permissions_read = false;
static char **scope_permissions = NULL;
static int scope_permission_count = 0;
static HTAB *scope_client_set = NULL;
static int scope_probes = 0;

/* The client of the row that is being inserted, when it is new: it counts under this key and no other. */
static bool scope_new_valid = false;
static ScopeKey scope_new_key;
static pg_uuid_t scope_new_client;

/* Forgets the memo; its memory goes with the context. */
static void
scope_forget(void)
{
	scope_valid = false;
	scope_teams_read = false;
	scope_team_ids = NULL;
	scope_team_count = 0;
	scope_direct_count = 0;
	scope_offices_read = false;
	scope_office_ids = NULL;
	scope_office_count = 0;
	scope_permissions_read = false;
	scope_permissions = NULL;
	scope_permission_count = 0;
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
	{
		scope_forget();
		scope_new_valid = false;
	}
}

/* A subtransaction that rolls back takes its command ids with it: they may come again. */
static void
scope_at_subxact(SubXactEvent event, SubTransactionId mySubid, SubTransactionId parentSubid,
				 void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		scope_forget();
		scope_new_valid = false;
	}
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

/* What is read now is read under this key. */
static void
scope_current_key(Snapshot snapshot, ScopeKey *key)
{
	memset(key, 0, sizeof(*key));
	key->generation = context_generation();
	if (snapshot != NULL)
	{
		key->completions = snapshot->snapXactCompletionCount;
		key->xmin = snapshot->xmin;
		key->xmax = snapshot->xmax;
		key->xcnt = snapshot->xcnt;
		key->curcid = snapshot->curcid;
	}
}

/* Makes the memo fit who is asking and the current snapshot. */
static void
scope_refresh(void)
{
	Snapshot snapshot = scope_snapshot();
	ScopeKey key;

	scope_current_key(snapshot, &key);
	if (scope_valid && snapshot != NULL && memcmp(&key, &scope_key, sizeof(key)) == 0)
		return;
	if (scope_context == NULL)
		scope_context =
			AllocSetContextCreate(TopMemoryContext, "immiiq scope", ALLOCSET_SMALL_SIZES);
	scope_forget();
	scope_key = key;
	scope_valid = true;
}

/* A column of a table of the directory; an altered table is an error here, not a crash later. */
static Datum
scope_typed_column(Relation rel, HeapTuple tuple, AttrNumber attno, Oid type, bool *isnull)
{
	TupleDesc desc = RelationGetDescr(rel);

	if (attno > desc->natts || TupleDescAttr(desc, attno - 1)->atttypid != type)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table immiiq.%s is not as the extension made it",
							   RelationGetRelationName(rel))));
	return heap_getattr(tuple, attno, desc, isnull);
}

static Datum
scope_column(Relation rel, HeapTuple tuple, AttrNumber attno, bool *isnull)
{
	return scope_typed_column(rel, tuple, attno, UUIDOID, isnull);
}

/* A growing list of ids in the memo's memory. */
typedef struct ScopeList
{
	pg_uuid_t *ids;
	int n;
	int room;
} ScopeList;

static void
scope_list_start(ScopeList *list)
{
	list->room = 8;
	list->n = 0;
	list->ids = MemoryContextAlloc(scope_context, sizeof(pg_uuid_t) * list->room);
}

static void
scope_list_add(ScopeList *list, const pg_uuid_t *id)
{
	if (list->n == list->room)
		list->ids = repalloc(list->ids, sizeof(pg_uuid_t) * (list->room *= 2));
	list->ids[list->n++] = *id;
}

/* Mark of a team that is in the list already. */
#define SCOPE_BELOW 1

/* A team of the organisation, as far as its place goes. */
typedef struct ScopeTeam
{
	pg_uuid_t id; /* key */
	pg_uuid_t parent;
	bool office;
	int in;
} ScopeTeam;

static int
scope_compare_parent(const void *a, const void *b)
{
	return memcmp(&((const ScopeTeam *) a)->parent, &((const ScopeTeam *) b)->parent, UUID_LEN);
}

/* Reads the teams of the organisation that lie below another one, or all of them: in order of their parents. */
static int
scope_read_teams(const ContextIdentity *who, bool all, ScopeTeam **teams)
{
	Relation rel = table_open(base_relation("team"), AccessShareLock);
	Relation index =
		index_open(base_relation(all ? "team_pkey" : "team_parent_idx"), AccessShareLock);
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple tuple;
	int n = 0;
	int room = 0;

	*teams = NULL;
	ScanKeyInit(&key, TEAM_ORG, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(&who->org));
	scan = systable_beginscan(rel, RelationGetRelid(index), true, scope_snapshot(), 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		ScopeTeam team;
		bool isnull;
		Datum value;

		memset(&team, 0, sizeof(team));
		team.id = *DatumGetUUIDP(scope_column(rel, tuple, TEAM_ID, &isnull));
		value = scope_column(rel, tuple, TEAM_PARENT, &isnull);
		if (!isnull)
			team.parent = *DatumGetUUIDP(value);
		value = scope_typed_column(rel, tuple, TEAM_KIND, TEXTOID, &isnull);
		if (!isnull)
		{
			text *kind = DatumGetTextPP(value);

			team.office =
				VARSIZE_ANY_EXHDR(kind) == 6 && memcmp(VARDATA_ANY(kind), "office", 6) == 0;
		}
		if (n == room)
		{
			room = Max(16, room * 2);
			*teams = *teams == NULL ? MemoryContextAlloc(scope_context, sizeof(ScopeTeam) * room)
									: repalloc_huge(*teams, sizeof(ScopeTeam) * room);
		}
		(*teams)[n++] = team;
	}
	systable_endscan(scan);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	if (n > 1)
		qsort(*teams, n, sizeof(ScopeTeam), scope_compare_parent);
	return n;
}

/* Adds to the list whatever lies below its members, each team once: trees that meet in a circle end, too. */
static void
scope_add_below(ScopeList *list, ScopeTeam *teams, int n)
{
	for (int next = 0; next < list->n; next++)
	{
		int low = 0;
		int high = n;

		while (low < high)
		{
			int middle = low + (high - low) / 2;

			if (memcmp(&teams[middle].parent, &list->ids[next], UUID_LEN) < 0)
				low = middle + 1;
			else
				high = middle;
		}
		for (; low < n && base_uuid_equal(&teams[low].parent, &list->ids[next]); low++)
		{
			bool known = (teams[low].in & SCOPE_BELOW) != 0;

			teams[low].in |= SCOPE_BELOW;
			for (int i = 0; i < scope_direct_count && !known; i++)
				known = base_uuid_equal(&list->ids[i], &teams[low].id);
			if (!known)
				scope_list_add(list, &teams[low].id);
		}
	}
}

int
scope_teams(const ContextIdentity *who, const pg_uuid_t **teams)
{
	Relation rel;
	Relation index;
	SysScanDesc scan;
	ScanKeyData keys[2];
	HeapTuple tuple;
	ScopeList list;
	ScopeTeam *below;
	int n;

	scope_refresh();
	if (!scope_teams_read)
	{
		scope_list_start(&list);
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

			if (!isnull)
				scope_list_add(&list, DatumGetUUIDP(team));
		}
		systable_endscan(scan);
		index_close(index, AccessShareLock);
		table_close(rel, AccessShareLock);
		scope_direct_count = list.n;
		if (list.n > 0)
		{
			n = scope_read_teams(who, false, &below);
			scope_add_below(&list, below, n);
		}
		scope_team_ids = list.ids;
		scope_team_count = list.n;
		scope_teams_read = true;
	}
	*teams = scope_team_ids;
	return scope_team_count;
}

int
scope_offices(const ContextIdentity *who, const pg_uuid_t **offices)
{
	const pg_uuid_t *own;
	int nown = scope_teams(who, &own);

	if (!scope_offices_read)
	{
		HASHCTL ctl;
		HTAB *places;
		ScopeTeam *teams;
		ScopeList list;
		int n = nown > 0 ? scope_read_teams(who, true, &teams) : 0;

		scope_list_start(&list);
		memset(&ctl, 0, sizeof(ctl));
		ctl.keysize = sizeof(pg_uuid_t);
		ctl.entrysize = sizeof(ScopeTeam);
		ctl.hcxt = scope_context;
		places =
			hash_create("immiiq teams", Max(n, 16), &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		for (int i = 0; i < n; i++)
		{
			ScopeTeam *place = hash_search(places, &teams[i].id, HASH_ENTER, NULL);

			*place = teams[i];
			place->in = 0;
		}
		for (int i = 0; i < nown; i++)
		{
			const pg_uuid_t *at = &own[i];
			ScopeTeam *place;

			/* What the member's own teams lie in counts, too; of the others only what they are. */
			while ((place = hash_search(places, at, HASH_FIND, NULL)) != NULL &&
				   (place->in & SCOPE_BELOW) == 0)
			{
				place->in |= SCOPE_BELOW;
				if (place->office)
					scope_list_add(&list, &place->id);
				if (i >= scope_direct_count)
					break;
				at = &place->parent;
			}
		}
		scope_office_ids = list.ids;
		scope_office_count = list.n;
		scope_offices_read = true;
	}
	*offices = scope_office_ids;
	return scope_office_count;
}

/* Adds the names in a column of type text[] to the permissions of the memo. */
static void
scope_add_permissions(Relation rel, HeapTuple tuple, AttrNumber attno)
{
	bool isnull;
	Datum value = scope_typed_column(rel, tuple, attno, TEXTARRAYOID, &isnull);
	Datum *items;
	bool *nulls;
	int n;

	if (isnull)
		return;
	deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false, TYPALIGN_INT, &items, &nulls,
					  &n);
	if (n == 0)
		return;
	scope_permissions =
		scope_permissions == NULL
			? MemoryContextAlloc(scope_context, sizeof(char *) * n)
			: repalloc(scope_permissions, sizeof(char *) * (scope_permission_count + n));
	for (int i = 0; i < n; i++)
	{
		if (!nulls[i])
		{
			char *name = TextDatumGetCString(items[i]);

			scope_permissions[scope_permission_count++] = MemoryContextStrdup(scope_context, name);
			pfree(name);
		}
	}
}

bool
scope_has_permission(const ContextIdentity *who, const char *name)
{
	Relation rel;
	SysScanDesc scan;
	ScanKeyData keys[2];
	HeapTuple tuple;

	scope_refresh();
	if (!scope_permissions_read)
	{
		rel = table_open(base_relation("member"), AccessShareLock);
		ScanKeyInit(&keys[0], MEMBER_ORG, BTEqualStrategyNumber, F_UUID_EQ,
					UUIDPGetDatum(&who->org));
		ScanKeyInit(&keys[1], MEMBER_ID, BTEqualStrategyNumber, F_UUID_EQ,
					UUIDPGetDatum(&who->member));
		scan =
			systable_beginscan(rel, base_relation("member_pkey"), true, scope_snapshot(), 2, keys);
		tuple = systable_getnext(scan);
		if (HeapTupleIsValid(tuple))
		{
			scope_add_permissions(rel, tuple, MEMBER_PERMISSIONS);
			scope_add_permissions(rel, tuple, MEMBER_ADDED_PERMISSIONS);
		}
		systable_endscan(scan);
		table_close(rel, AccessShareLock);
		scope_permissions_read = true;
	}
	for (int i = 0; i < scope_permission_count; i++)
		if (strcmp(scope_permissions[i], name) == 0 || strcmp(scope_permissions[i], "*") == 0)
			return true;
	return false;
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

void
scope_add_new_client(const pg_uuid_t *client)
{
	scope_current_key(scope_snapshot(), &scope_new_key);
	scope_new_client = *client;
	scope_new_valid = true;
}

/* True for the client of the row that this statement is inserting, when it was found to be new. */
static bool
scope_is_new_client(const pg_uuid_t *client)
{
	ScopeKey key;

	if (!scope_new_valid || !base_uuid_equal(client, &scope_new_client))
		return false;
	scope_current_key(scope_snapshot(), &key);
	return memcmp(&key, &scope_new_key, sizeof(key)) == 0;
}

bool
scope_has_client(const ContextIdentity *who, const pg_uuid_t *client)
{
	const pg_uuid_t *teams = NULL;
	int nteams = 0;
	bool found;

	if (scope_is_new_client(client))
		return true;
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
