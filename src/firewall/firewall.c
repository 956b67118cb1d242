/*
 * The firewall around application roles.  Trusts the list of roles in
 * immiiq.role_grant; refuses statements, functions and catalog columns that
 * tell of other organisations, block them, or outlive the transaction.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "storage/lockdefs.h"
#include "utils/fmgrtab.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/syscache.h"

#include "base/base.h"
#include "context/context.h"
#include "firewall/firewall.h"

static bool firewall_on = true;

/* Whether the firewall stands before who acts now. */
static bool
firewall_holds(void)
{
	return firewall_on && context_application_acts();
}

/* ---- functions ---- */

/*
 * C names of the server's functions that are denied; * stands for any ending.
 * Counters, sizes and the log's position tell how much there is or happens;
 * advisory locks, notifications, snapshots and large objects know no
 * organisation; logical messages forge what others read from the log.
 */
static const char *const firewall_functions[] = {
	"pg_stat_get_*",
	"pg_database_size_*",
	"pg_tablespace_size_*",
	"pg_relation_size",
	"pg_table_size",
	"pg_indexes_size",
	"pg_total_relation_size",
	"pg_advisory_*",
	"pg_try_advisory_*",
	"pg_notify",
	"pg_notification_queue_usage",
	"pg_export_snapshot",
	"be_lo*",
	"pg_logical_emit_message_*",
	"pg_current_wal_*",
	"pg_last_wal_*",
	"pg_last_committed_xact",
	"pg_xact_commit_timestamp",
	"pg_xact_commit_timestamp_origin",
	"pg_control_checkpoint",
	"pg_control_recovery",
	"pg_get_replication_slots",
	"currtid_byrelname",
	"pg_get_multixact_members",
	"pg_lock_status",
	"pg_show_replication_origin_status",
	"pg_log_backend_memory_contexts",
};

/* One bit a function of the server's. */
static uint8 firewall_denied[(FirstGenbkiObjectId + 7) / 8];

static bool
firewall_name_matches(const char *pattern, const char *name)
{
	size_t len = strlen(pattern);

	if (pattern[len - 1] == '*')
		return strncmp(pattern, name, len - 1) == 0;
	return strcmp(pattern, name) == 0;
}

/* Marks the functions whose C names are in the list. */
static void
firewall_mark_functions(void)
{
	for (int i = 0; i < fmgr_nbuiltins; i++)
	{
		Oid funcid = fmgr_builtins[i].foid;

		for (int p = 0; funcid < FirstGenbkiObjectId && p < lengthof(firewall_functions); p++)
			if (firewall_name_matches(firewall_functions[p], fmgr_builtins[i].funcName))
				firewall_denied[funcid / 8] |= 1 << (funcid % 8);
	}
}

bool
firewall_function_is_denied(Oid funcid)
{
	return funcid < FirstGenbkiObjectId && (firewall_denied[funcid / 8] & (1 << (funcid % 8))) &&
		   firewall_holds();
}

/* ---- columns ---- */

/* True for tables with row security. */
static bool
firewall_has_row_security(Oid relid)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	bool has = false;

	if (HeapTupleIsValid(tuple))
	{
		has = ((Form_pg_class) GETSTRUCT(tuple))->relrowsecurity;
		ReleaseSysCache(tuple);
	}
	return has;
}

/*
 * The columns of a relation that an application role may not read, if the
 * statement reads one: what pg_class counts, and the places of rows, which
 * tell how many pages a table has; NULL when it reads none.
 */
static const char *
firewall_refused_columns(RangeTblEntry *rte PERMISSIONS_PARAMETER)
{
	static const AttrNumber counters[] = {InvalidAttrNumber, Anum_pg_class_relpages,
										  Anum_pg_class_reltuples, Anum_pg_class_relallvisible};

	const RTEPermissionInfo *permission;

	/* From 18 on the check of a new foreign key asks about tables without saying what it reads of them. */
	if (rte->rtekind != RTE_RELATION || !rte_has_permissions(rte))
		return NULL;
	permission = getRTEPermissionInfo(permissions, rte);
	/* A view reads as its owner, who answers for what it shows. */
	if (OidIsValid(permission->checkAsUser) && !context_role_is_application(permission->checkAsUser))
		return NULL;
	for (int i = 0; rte->relid == RelationRelationId && i < lengthof(counters); i++)
		if (bms_is_member(counters[i] - FirstLowInvalidHeapAttributeNumber, permission->selectedCols))
			return "columns reltuples, relpages and relallvisible";
	if (bms_is_member(SelfItemPointerAttributeNumber - FirstLowInvalidHeapAttributeNumber,
					  permission->selectedCols) &&
		firewall_has_row_security(rte->relid))
		return "column ctid";
	return NULL;
}

bool
firewall_check_relations(List *range_table PERMISSIONS_PARAMETER, bool raise)
{
	ListCell *cell;

	foreach (cell, range_table)
	{
		const char *refused = firewall_refused_columns(lfirst(cell) PERMISSIONS);

		if (refused == NULL || !firewall_holds())
			continue;
		if (raise)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied for %s", refused),
					 errhint("Name the columns that are needed; rows are told apart by their key.")));
		return false;
	}
	return true;
}

/* ---- statements ---- */

/* Refuses a statement of an application role. */
static void
firewall_refuse(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("application roles cannot use %s", what),
			 errhint(
				 "A superuser can exempt a login role with ALTER ROLE … SET immiiq.firewall = off.")));
}

/* True when a new relation of this name would be temporary. */
static bool
firewall_is_temporary(RangeVar *name)
{
	Oid namespace;

	if (name->relpersistence == RELPERSISTENCE_TEMP)
		return true;
	if (name->schemaname != NULL)
		return strcmp(name->schemaname, "pg_temp") == 0 ||
			   isTempNamespace(get_namespace_oid(name->schemaname, true));
	namespace = RangeVarGetCreationNamespace(name);
	return isTempNamespace(namespace);
}

/* The same for what is named by a list. */
static bool
firewall_is_temporary_name(List *names)
{
	char *schema;
	char *object;

	DeconstructQualifiedName(names, &schema, &object);
	if (schema != NULL)
		return strcmp(schema, "pg_temp") == 0 || isTempNamespace(get_namespace_oid(schema, true));
	return isTempNamespace(QualifiedNameGetCreationNamespace(names, &object));
}

/* True when the statement makes something in the temporary schema that does not end with the transaction. */
static bool
firewall_leaves_temporary(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_CreateStmt:
		{
			CreateStmt *create = (CreateStmt *) stmt;

			return create->oncommit != ONCOMMIT_DROP && firewall_is_temporary(create->relation);
		}
		case T_CreateTableAsStmt:
		{
			IntoClause *into = ((CreateTableAsStmt *) stmt)->into;

			return into->onCommit != ONCOMMIT_DROP && firewall_is_temporary(into->rel);
		}
		case T_ViewStmt:
			return firewall_is_temporary(((ViewStmt *) stmt)->view);
		case T_CreateSeqStmt:
			return firewall_is_temporary(((CreateSeqStmt *) stmt)->sequence);
		case T_CompositeTypeStmt:
			return firewall_is_temporary(((CompositeTypeStmt *) stmt)->typevar);
		case T_CreateFunctionStmt:
			return firewall_is_temporary_name(((CreateFunctionStmt *) stmt)->funcname);
		case T_DefineStmt:
			return firewall_is_temporary_name(((DefineStmt *) stmt)->defnames);
		case T_CreateEnumStmt:
			return firewall_is_temporary_name(((CreateEnumStmt *) stmt)->typeName);
		case T_CreateRangeStmt:
			return firewall_is_temporary_name(((CreateRangeStmt *) stmt)->typeName);
		case T_CreateDomainStmt:
			return firewall_is_temporary_name(((CreateDomainStmt *) stmt)->domainname);
		case T_CreateConversionStmt:
			return firewall_is_temporary_name(((CreateConversionStmt *) stmt)->conversion_name);
		default:
			return false;
	}
}

/* True for a foreign key, and for a column or a change of a table with one. */
static bool
firewall_has_foreign_key(Node *node)
{
	ListCell *cell;

	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_Constraint:
			return ((Constraint *) node)->contype == CONSTR_FOREIGN;
		case T_AlterTableCmd:
			return firewall_has_foreign_key(((AlterTableCmd *) node)->def);
		case T_ColumnDef:
			return firewall_has_foreign_key((Node *) ((ColumnDef *) node)->constraints);
		case T_List:
			foreach (cell, (List *) node)
				if (firewall_has_foreign_key(lfirst(cell)))
					return true;
			return false;
		default:
			return false;
	}
}

/* Why a statement is refused, as its name; NULL when it may run. */
static const char *
firewall_refused(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		/* What reaches, or hears of, everybody else. */
		case T_ListenStmt:
			return "LISTEN";
		case T_NotifyStmt:
			return "NOTIFY";
		case T_LockStmt:
			return ((LockStmt *) stmt)->mode > RowExclusiveLock ? "LOCK TABLE in this mode" : NULL;
		case T_VariableSetStmt:
		{
			VariableSetStmt *set = (VariableSetStmt *) stmt;

			return set->kind == VAR_SET_MULTI && strcmp(set->name, "TRANSACTION SNAPSHOT") == 0
					   ? "SET TRANSACTION SNAPSHOT"
					   : NULL;
		}

		/* What locks a table before it asks who owns it: everybody's writes would queue behind it. */
		case T_RuleStmt:
			return "CREATE RULE";
		case T_CreateTrigStmt:
			return "CREATE TRIGGER";
		case T_AlterTableStmt:
			return firewall_has_foreign_key((Node *) ((AlterTableStmt *) stmt)->cmds)
					   ? "foreign keys"
					   : NULL;

		/* What outlives the transaction. */
		case T_PrepareStmt:
			return context_session_had_identity() ? "PREPARE once somebody was active" : NULL;
		case T_DeclareCursorStmt:
			return (((DeclareCursorStmt *) stmt)->options & CURSOR_OPT_HOLD) ? "cursors WITH HOLD"
																			 : NULL;
		case T_TransactionStmt:
			return ((TransactionStmt *) stmt)->kind == TRANS_STMT_PREPARE ? "PREPARE TRANSACTION"
																		  : NULL;

		/* What a role may do to itself, and so to every user of the tier. */
		case T_AlterRoleStmt:
			return "ALTER ROLE";
		case T_GrantRoleStmt:
			return ((GrantRoleStmt *) stmt)->is_grant ? "GRANT of a role" : "REVOKE of a role";
		case T_DropOwnedStmt:
			return "DROP OWNED";
		case T_ReassignOwnedStmt:
			return "REASSIGN OWNED";
		case T_LoadStmt:
			return "LOAD";

		case T_CreateStmt:
			if (firewall_has_foreign_key((Node *) ((CreateStmt *) stmt)->tableElts))
				return "foreign keys";
			/* FALLTHROUGH */
		default:
			return firewall_leaves_temporary(stmt)
					   ? "temporary objects, except tables that are made ON COMMIT DROP"
					   : NULL;
	}
}

/* An EXPLAIN that neither runs the statement nor says how much it expects to find. */
static PlannedStmt *
firewall_mute_explain(PlannedStmt *pstmt)
{
	PlannedStmt *muted = copyObject(pstmt);
	ExplainStmt *explain = (ExplainStmt *) muted->utilityStmt;
	List *options = NIL;
	ListCell *cell;

	foreach (cell, explain->options)
	{
		DefElem *option = lfirst(cell);

		if (strcmp(option->defname, "analyze") == 0)
		{
			if (defGetBoolean(option))
				firewall_refuse("EXPLAIN ANALYZE");
		}
		else if (strcmp(option->defname, "costs") != 0 && strcmp(option->defname, "buffers") != 0)
			options = lappend(options, option);
	}
	explain->options = lappend(options, makeDefElem("costs", (Node *) makeBoolean(false), -1));
	return muted;
}

PlannedStmt *
firewall_utility_before(PlannedStmt *pstmt)
{
	const char *refused;

	/* A transaction that has failed takes only its end, and there is no catalog to ask. */
	if (!firewall_on || !IsTransactionState())
		return pstmt;
	if (IsA(pstmt->utilityStmt, ExplainStmt))
		return firewall_holds() ? firewall_mute_explain(pstmt) : pstmt;
	if (!context_application_acts())
		return pstmt;
	refused = firewall_refused(pstmt->utilityStmt);
	if (refused != NULL)
		firewall_refuse(refused);
	return pstmt;
}

void
firewall_before_planning(void)
{
	if (Debug_print_plan && firewall_holds())
		Debug_print_plan = false;
}

/* ---- settings ---- */

/* What drivers and poolers set between transactions, too; none of it changes what a statement means. */
static const char *const firewall_kept_settings[] = {"application_name", "client_encoding",
													 "client_min_messages", "DateStyle",
													 "default_transaction_isolation",
													 "IntervalStyle", "TimeZone",
													 /* These end with the transaction anyway. */
													 "transaction_deferrable",
													 "transaction_isolation",
													 "transaction_read_only"};

static bool
firewall_keeps_setting(const char *name)
{
	/* No role is what a connection begins with; SET SESSION AUTHORIZATION goes back to it. */
	if (strcmp(name, "role") == 0)
		return !OidIsValid(GetCurrentRoleId());
	for (int i = 0; i < lengthof(firewall_kept_settings); i++)
		if (strcmp(name, firewall_kept_settings[i]) == 0)
			return true;
	return false;
}

/*
 * SET without LOCAL, and set_config in any form, would outlive the identity
 * on a pooled connection: each such value is made local at the last moment,
 * so that the end of the transaction restores what was there before.  Once
 * somebody was active, transactions of nobody may leave nothing either.
 */
void
firewall_before_commit(void)
{
	bool restores = context_had_identity();
	struct config_generic **variables;
	int count;

	if (!firewall_on || !(restores || context_session_had_identity()) || !firewall_holds())
		return;
	variables = get_guc_variables(&count);
	for (int i = 0; i < count; i++)
	{
		GucStack *stack = variables[i]->stack;

		if (stack == NULL || stack->nest_level != 1 ||
			strcmp(variables[i]->name, "session_authorization") == 0)
			continue;
		if (!restores)
		{
			/* RESET goes back to what the connection began with. */
			if ((stack->state == GUC_SET_LOCAL ||
				 (stack->state == GUC_SET && variables[i]->source == PGC_S_SESSION)) &&
				!firewall_keeps_setting(variables[i]->name))
				ereport(ERROR,
						(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						 errmsg("application roles cannot leave a value of \"%s\" on a connection that others use",
								variables[i]->name),
						 errhint("Use SET LOCAL, or set it when the connection is made.")));
			continue;
		}
		if (stack->state == GUC_SET_LOCAL)
		{
			/* SET and then SET LOCAL: what is restored is the masked value. */
			config_var_value value = stack->masked;
			Oid role = stack->masked_srole;
			GucContext context = stack->masked_scontext;

			stack->masked = stack->prior;
			stack->masked_srole = stack->srole;
			stack->masked_scontext = stack->scontext;
			stack->prior = value;
			stack->srole = role;
			stack->scontext = context;
		}
		else if (stack->state == GUC_SET)
			stack->state = GUC_LOCAL;
	}
}

void
firewall_init(void)
{
	DefineCustomBoolVariable("immiiq.firewall",
							 "Refuses application roles what tells of other organisations.",
							 "Superusers can turn it off for a login role: ALTER ROLE … SET.",
							 &firewall_on, true, PGC_SUSET, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	firewall_mark_functions();
}
