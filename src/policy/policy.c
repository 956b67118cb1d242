/*
 * What is protected, and how: read from the tables' own policies, which are
 * what the server enforces.  Trusts the catalog; refuses to call a table
 * protected whose row security is off or whose policies are not immiiq's.
 */
#include "postgres.h"

#include "access/attmap.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/partition.h"
#include "catalog/pg_policy.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "nodes/nodeFuncs.h"
#include "rewrite/rowsecurity.h"
#include "tcop/deparse_utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/base.h"
#include "context/context.h"
#include "policy/access.h"
#include "policy/policy.h"
#include "policy/scope.h"
#include "policy/visible.h"
#include "types/types.h"

/* The policy by whose name protected tables are found (50_policy.sql). */
#define POLICY_SELECT_NAME "immiiq_select"

typedef struct PolicyEntry
{
	Oid relid; /* key */
	bool known;
	bool is_protected;
	PolicyTable table;
} PolicyEntry;

static HTAB *policy_entries = NULL;

/* Owners of protected tables. */
static bool policy_owners_known = false;
static Oid *policy_owners = NULL;
static int policy_owner_count = 0;

static void
policy_forget(Datum arg, Oid relid)
{
	policy_owners_known = false;
	if (policy_entries == NULL)
		return;
	/* A partition's entry depends on its root's, so one change forgets all; they are cheap. */
	if (!OidIsValid(relid) || hash_search(policy_entries, &relid, HASH_FIND, NULL) != NULL)
	{
		HASH_SEQ_STATUS status;
		PolicyEntry *entry;

		hash_seq_init(&status, policy_entries);
		while ((entry = hash_seq_search(&status)) != NULL)
			entry->known = false;
	}
}

static void
policy_forget_roles(Datum arg, int cacheid, uint32 hashvalue)
{
	policy_owners_known = false;
}

void
policy_init(void)
{
	scope_init();
	visible_init();
	newclient_init();
	context_set_role_check(policy_role_owns_protected);
	types_set_reveal_check(permission_reveals);
	CacheRegisterRelcacheCallback(policy_forget, (Datum) 0);
	CacheRegisterSyscacheCallback(RELOID, policy_forget_roles, (Datum) 0);
}

/* Attribute number behind an argument of visible(), 0 for the constant NULL. */
static AttrNumber
policy_argument(Node *node)
{
	if (IsA(node, Var) && ((Var *) node)->varno == 1)
		return ((Var *) node)->varattno;
	return 0;
}

typedef struct PolicySearch
{
	Oid visible; /* immiiq.visible */
	FuncExpr *found;
} PolicySearch;

static bool
policy_find_visible(Node *node, void *context)
{
	PolicySearch *search = context;

	if (node == NULL)
		return false;
	if (IsA(node, FuncExpr) && list_length(((FuncExpr *) node)->args) == 7 &&
		((FuncExpr *) node)->funcid == search->visible)
	{
		search->found = (FuncExpr *) node;
		return true;
	}
	return expression_tree_walker(node, policy_find_visible, context);
}

/* Reads a table's own policies; false when none of them is immiiq's select policy. */
static bool
policy_read(Relation rel, PolicyTable *table)
{
	Oid visible;
	ListCell *lc;

	memset(table, 0, sizeof(*table));
	table->relid = RelationGetRelid(rel);
	if (!rel->rd_rel->relrowsecurity || rel->rd_rsdesc == NULL)
		return false;
	visible = visible_function_oid();
	if (!OidIsValid(visible))
		return false;
	foreach (lc, rel->rd_rsdesc->policies)
	{
		RowSecurityPolicy *policy = lfirst(lc);
		PolicySearch search = {visible, NULL};
		List *args;
		Const *module;

		if (strcmp(policy->policy_name, POLICY_SELECT_NAME) != 0 || !policy->permissive ||
			!policy_find_visible((Node *) policy->qual, &search))
			continue;
		args = search.found->args;
		module = linitial(args);
		if (IsA(module, Const) && !module->constisnull)
		{
			char *name = TextDatumGetCString(module->constvalue);

			table->module = context_module_bit(name);
			pfree(name);
		}
		table->org = policy_argument(list_nth(args, 2));
		table->client = policy_argument(list_nth(args, 3));
		table->team = policy_argument(list_nth(args, 4));
		table->assignee = policy_argument(list_nth(args, 5));
		table->office = policy_argument(list_nth(args, 6));
		return table->org != 0;
	}
	return false;
}

static AttrNumber
policy_map(AttrMap *map, AttrNumber attno)
{
	return attno > 0 && attno <= map->maplen ? map->attnums[attno - 1] : 0;
}

const PolicyTable *
policy_table(Relation rel)
{
	Oid relid = RelationGetRelid(rel);
	PolicyEntry *entry;
	PolicyTable table;
	bool is_protected;

	if (policy_entries != NULL)
	{
		entry = hash_search(policy_entries, &relid, HASH_FIND, NULL);
		if (entry != NULL && entry->known)
			return entry->is_protected ? &entry->table : NULL;
	}
	else
	{
		HASHCTL ctl;

		memset(&ctl, 0, sizeof(ctl));
		ctl.keysize = sizeof(Oid);
		ctl.entrysize = sizeof(PolicyEntry);
		ctl.hcxt = TopMemoryContext;
		policy_entries =
			hash_create("immiiq protected tables", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	/* Entries first: an invalidation while we read must find them. */
	entry = hash_search(policy_entries, &relid, HASH_ENTER, NULL);
	entry->known = false;
	if (rel->rd_rel->relispartition)
	{
		List *ancestors = get_partition_ancestors(relid);
		Oid rootid = ancestors != NIL ? llast_oid(ancestors) : InvalidOid;
		Relation root = OidIsValid(rootid) ? try_relation_open(rootid, AccessShareLock) : NULL;

		is_protected = false;
		if (root != NULL)
		{
			PolicyEntry *root_entry = hash_search(policy_entries, &rootid, HASH_ENTER, NULL);

			root_entry->known = false;
			is_protected = policy_read(root, &table);
			if (is_protected)
			{
				/* Attribute numbers of a partition may differ from its root's. */
				AttrMap *map =
					build_attrmap_by_name(RelationGetDescr(rel), RelationGetDescr(root), false);

				table.org = policy_map(map, table.org);
				table.client = policy_map(map, table.client);
				table.team = policy_map(map, table.team);
				table.assignee = policy_map(map, table.assignee);
				table.office = policy_map(map, table.office);
				free_attrmap(map);
			}
			relation_close(root, AccessShareLock);
		}
	}
	else
		is_protected = policy_read(rel, &table);
	/* The hash may have grown meanwhile; entries stay where they are, dynahash does not move them. */
	entry->is_protected = is_protected;
	if (is_protected)
		entry->table = table;
	entry->known = true;
	return is_protected ? &entry->table : NULL;
}

/* Reads who owns the protected tables of this database. */
static void
policy_read_owners(void)
{
	Relation rel = table_open(PolicyRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple tuple;
	int n = 0;
	int room = 16;
	Oid *owners = MemoryContextAlloc(TopMemoryContext, sizeof(Oid) * room);

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_policy policy = (Form_pg_policy) GETSTRUCT(tuple);
		HeapTuple class_tuple;
		Oid owner = InvalidOid;
		bool seen = false;

		if (strcmp(NameStr(policy->polname), POLICY_SELECT_NAME) != 0)
			continue;
		class_tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(policy->polrelid));
		if (HeapTupleIsValid(class_tuple))
		{
			owner = ((Form_pg_class) GETSTRUCT(class_tuple))->relowner;
			ReleaseSysCache(class_tuple);
		}
		for (int i = 0; i < n && !seen; i++)
			seen = owners[i] == owner;
		if (seen || !OidIsValid(owner))
			continue;
		if (n == room)
			owners = repalloc(owners, sizeof(Oid) * (room *= 2));
		owners[n++] = owner;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	if (policy_owners != NULL)
		pfree(policy_owners);
	policy_owners = owners;
	policy_owner_count = n;
}

bool
policy_role_owns_protected(Oid roleid)
{
	if (!policy_owners_known)
	{
		/* Known before reading: an invalidation in between clears it again. */
		policy_owners_known = true;
		PG_TRY();
		{
			policy_read_owners();
		}
		PG_CATCH();
		{
			policy_owners_known = false;
			PG_RE_THROW();
		}
		PG_END_TRY();
	}
	for (int i = 0; i < policy_owner_count; i++)
		if (is_member_of_role(roleid, policy_owners[i]))
			return true;
	return false;
}

/*
 * immiiq.protected_columns(target regclass) → (module text, org name, client
 * name, team name, assignee name, office name); no row when not protected.
 */
PG_FUNCTION_INFO_V1(immiiq_protected_columns);
Datum
immiiq_protected_columns(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Relation rel;
	const PolicyTable *table;
	Datum values[6];
	bool nulls[6];
	AttrNumber columns[5];

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	rel = try_relation_open(PG_GETARG_OID(0), AccessShareLock);
	if (rel == NULL)
		PG_RETURN_NULL();
	table = policy_table(rel);
	if (table == NULL)
	{
		relation_close(rel, AccessShareLock);
		PG_RETURN_NULL();
	}
	columns[0] = table->org;
	columns[1] = table->client;
	columns[2] = table->team;
	columns[3] = table->assignee;
	columns[4] = table->office;
	nulls[0] = table->module == 0;
	if (!nulls[0])
		values[0] = CStringGetTextDatum(context_module_name(table->module));
	for (int i = 0; i < 5; i++)
	{
		nulls[i + 1] = columns[i] == 0;
		if (!nulls[i + 1])
		{
			NameData *name = palloc0(sizeof(NameData));

			namestrcpy(name, NameStr(TupleDescAttr(RelationGetDescr(rel), columns[i] - 1)->attname));
			values[i + 1] = NameGetDatum(name);
		}
	}
	relation_close(rel, AccessShareLock);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/*
 * immiiq.may_open_partition(command pg_ddl_command) → boolean: whether a
 * collected command makes or attaches a table, or takes row security away.
 * Asked first, since all else that alters a table, a parallel restore above
 * all, must not make keep_protected() lock other tables of the tree.
 */
PG_FUNCTION_INFO_V1(immiiq_may_open_partition);
Datum
immiiq_may_open_partition(PG_FUNCTION_ARGS)
{
	CollectedCommand *command = (CollectedCommand *) PG_GETARG_POINTER(0);
	ListCell *lc;

	if (command->type != SCT_AlterTable)
		PG_RETURN_BOOL(true);
	foreach (lc, command->d.alterTable.subcmds)
	{
		AlterTableCmd *sub = castNode(AlterTableCmd, ((CollectedATSubcmd *) lfirst(lc))->parsetree);

		if (sub->subtype == AT_AttachPartition || sub->subtype == AT_DisableRowSecurity ||
			sub->subtype == AT_NoForceRowSecurity)
			PG_RETURN_BOOL(true);
	}
	PG_RETURN_BOOL(false);
}
