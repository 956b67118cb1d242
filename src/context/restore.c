/*
 * How a dump comes back.  pg_restore does not know what an extension's tables
 * need of one another, so with -j they come in any order.  Trusts superusers
 * while nobody is active; checks everybody else's rows one by one.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "tcop/pquery.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "base/base.h"
#include "context/context.h"

/* A table of immiiq's own, or InvalidOid. */
static Oid
restore_own_table(const RangeVar *name)
{
	Oid relid;

	if (name == NULL)
		return InvalidOid;
	relid = RangeVarGetRelid(name, NoLock, true);
	return OidIsValid(relid) && get_rel_namespace(relid) == base_schema() ? relid : InvalidOid;
}

/* True when a table has no row; nobody brings one until this transaction ends. */
static bool
restore_awaits(Oid relid)
{
	Relation rel = table_open(relid, ShareRowExclusiveLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan;
	bool found;

	PushActiveSnapshot(GetLatestSnapshot());
	scan = table_beginscan(rel, GetActiveSnapshot(), 0, NULL);
	found = table_scan_getnextslot(scan, ForwardScanDirection, slot);
	table_endscan(scan);
	PopActiveSnapshot();
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, NoLock);
	return !found;
}

/* True with the settings under which pg_restore works, which it makes in each of its sessions; its name may be another by PGAPPNAME. */
static bool
restore_at_work(void)
{
	return !check_function_bodies && !row_security && namespace_search_path != NULL &&
		   namespace_search_path[0] == '\0';
}

/* The foreign key that pg_restore adds before the rows that it refers to are there, or NULL. */
static Constraint *
restore_early_key(PlannedStmt *pstmt)
{
	AlterTableStmt *alter = (AlterTableStmt *) pstmt->utilityStmt;
	AlterTableCmd *command;
	Constraint *key;
	Oid relid;

	if (!IsA(alter, AlterTableStmt) || list_length(alter->cmds) != 1 || !restore_at_work())
		return NULL;
	command = linitial_node(AlterTableCmd, alter->cmds);
	key = (Constraint *) command->def;
	if (command->subtype != AT_AddConstraint || key == NULL || !IsA(key, Constraint) ||
		key->contype != CONSTR_FOREIGN || key->skip_validation)
		return NULL;
	relid = restore_own_table(key->pktable);
	return OidIsValid(relid) && restore_awaits(relid) ? key : NULL;
}

PlannedStmt *
context_restore_before(PlannedStmt *pstmt, ProcessUtilityContext stage, int *level)
{
	CopyStmt *copy = (CopyStmt *) pstmt->utilityStmt;
	Constraint *key;

	*level = 0;
	if ((!IsA(copy, CopyStmt) && !IsA(copy, AlterTableStmt)) || !IsTransactionState() ||
		!OidIsValid(base_schema()) || context_current() != NULL || !superuser())
		return pstmt;
	if (IsA(copy, CopyStmt))
	{
		/* Keys and triggers that derive rows stay out; those that are ENABLE ALWAYS do not. */
		if (copy->is_from && OidIsValid(restore_own_table(copy->relation)))
		{
			*level = NewGUCNestLevel();
			(void) set_config_option("session_replication_role", "replica", PGC_SUSET,
									 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
		}
	}
	else if (stage == PROCESS_UTILITY_TOPLEVEL && restore_early_key(pstmt) != NULL)
	{
		/* The rows come from the snapshot in which the key held: immiiq.verify_references() looks. */
		pstmt = copyObject(pstmt);
		key = (Constraint *) linitial_node(AlterTableCmd,
										   ((AlterTableStmt *) pstmt->utilityStmt)->cmds)
				  ->def;
		key->skip_validation = true;
		key->initially_valid = true;
	}
	return pstmt;
}

void
context_restore_after(int level)
{
	if (level > 0)
		AtEOXact_GUC(true, level);
}

bool
context_row_restored(Relation relation)
{
	return RelationGetNamespace(relation) == base_schema() && ActivePortal != NULL &&
		   ActivePortal->commandTag == CMDTAG_COPY && context_current() == NULL && superuser();
}
