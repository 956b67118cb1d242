/*
 * Every server hook: chains what was there, dispatches, decides nothing.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "optimizer/plancat.h"
#include "optimizer/planner.h"
#include "storage/ipc.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"

#include "audit/audit.h"
#include "base/base.h"
#include "context/context.h"
#include "firewall/firewall.h"
#include "documents/documents.h"
#include "hold/hold.h"
#include "hooks/hooks.h"
#include "identity/identity.h"
#include "journal/journal.h"
#include "keyring/keyring.h"
#include "policy/policy.h"
#include "rekey/rekey.h"
#include "search/search.h"
#include "stat/stat.h"
#include "types/types.h"
#include "worker/worker.h"

static shmem_request_hook_type previous_shmem_request = NULL;
static shmem_startup_hook_type previous_shmem_startup = NULL;
static planner_hook_type previous_planner = NULL;
static get_relation_info_hook_type previous_relation_info = NULL;
static ExecutorStart_hook_type previous_executor_start = NULL;
static ExecutorRun_hook_type previous_executor_run = NULL;
static ExecutorFinish_hook_type previous_executor_finish = NULL;
static ExecutorCheckPerms_hook_type previous_check_perms = NULL;
static ProcessUtility_hook_type previous_utility = NULL;
static object_access_hook_type previous_object_access = NULL;
static emit_log_hook_type previous_emit_log = NULL;

static void hooks_utility_outermost(void);

static void
hooks_shmem_request(void)
{
	if (previous_shmem_request)
		previous_shmem_request();
	stat_shmem_request();
	keyring_shmem_request();
	context_shmem_request();
	journal_shmem_request();
	audit_shmem_request();
	rekey_shmem_request();
	identity_shmem_request();
}

static void
hooks_shmem_startup(void)
{
	if (previous_shmem_startup)
		previous_shmem_startup();
	stat_shmem_startup();
	keyring_shmem_startup();
	context_shmem_startup();
	journal_shmem_startup();
	audit_shmem_startup();
	rekey_shmem_startup();
	identity_shmem_startup();
	hooks_utility_outermost();
}

static PlannedStmt *
hooks_plan(Query *parse, const char *query_string, int cursorOptions, ParamListInfo boundParams)
{
	PlannedStmt *plan;

	firewall_before_planning();
	policy_before_planning(parse);
	parse = search_rewrite_query(parse);
	if (previous_planner)
		plan = previous_planner(parse, query_string, cursorOptions, boundParams);
	else
		plan = standard_planner(parse, query_string, cursorOptions, boundParams);
	return plan;
}

static void
hooks_relation_info(PlannerInfo *root, Oid relid, bool inhparent, RelOptInfo *rel)
{
	if (previous_relation_info)
		previous_relation_info(root, relid, inhparent, rel);
	search_rewrite_inlined(root);
}

/* What a query does, as the journal names it. */
static const char *
hooks_action(QueryDesc *query_desc)
{
	switch (query_desc->operation)
	{
		case CMD_SELECT:
			return "select";
		case CMD_INSERT:
			return "insert";
		case CMD_UPDATE:
			return "update";
		case CMD_DELETE:
			return "delete";
		case CMD_MERGE:
			return "merge";
		default:
			return "query";
	}
}

static void
hooks_executor_start(QueryDesc *query_desc, int eflags)
{
	JournalFrame frame;

	journal_push_frame(&frame, hooks_action(query_desc), NULL);
	context_executor_start(query_desc);
	if (previous_executor_start)
		previous_executor_start(query_desc, eflags);
	else
		standard_ExecutorStart(query_desc, eflags);
	journal_pop_frame(&frame);
}

static void
hooks_executor_run(QueryDesc *query_desc, ScanDirection direction,
				   uint64 count EXECUTE_ONCE_PARAMETER)
{
	JournalFrame frame;

	journal_push_frame(&frame, hooks_action(query_desc), NULL);
	if (previous_executor_run)
		previous_executor_run(query_desc, direction, count EXECUTE_ONCE);
	else
		standard_ExecutorRun(query_desc, direction, count EXECUTE_ONCE);
	journal_pop_frame(&frame);
}

static void
hooks_executor_finish(QueryDesc *query_desc)
{
	JournalFrame frame;

	journal_push_frame(&frame, hooks_action(query_desc), NULL);
	if (previous_executor_finish)
		previous_executor_finish(query_desc);
	else
		standard_ExecutorFinish(query_desc);
	journal_pop_frame(&frame);
}

static bool
hooks_check_perms(List *range_table PERMISSIONS_PARAMETER, bool raise)
{
	if (previous_check_perms && !previous_check_perms(range_table PERMISSIONS, raise))
		return false;
	return firewall_check_relations(range_table PERMISSIONS, raise);
}

static void
hooks_utility(PlannedStmt *pstmt, const char *query_string, bool read_only_tree,
			  ProcessUtilityContext stage, ParamListInfo params, QueryEnvironment *environment,
			  DestReceiver *dest, QueryCompletion *completion)
{
	JournalFrame frame;
	AuditUtility audit;
	int restoring;

	journal_push_frame(&frame, NULL, pstmt->utilityStmt);
	query_string = context_utility_before(pstmt, query_string, stage);
	pstmt = firewall_utility_before(pstmt);
	hold_utility_before(pstmt->utilityStmt);
	types_utility_before(pstmt->utilityStmt);
	worker_utility_before(pstmt->utilityStmt);
	audit_utility_begin(&audit, pstmt->utilityStmt);
	pstmt = context_restore_before(pstmt, stage, &restoring);
	if (restoring > 0)
		audit_restore_begin();
	if (previous_utility)
		previous_utility(pstmt, query_string, read_only_tree, stage, params, environment, dest,
						 completion);
	else
		standard_ProcessUtility(pstmt, query_string, read_only_tree, stage, params, environment,
								dest, completion);
	context_restore_after(restoring);
	types_utility_after(pstmt->utilityStmt);
	audit_utility_end(&audit, pstmt->utilityStmt);
	journal_pop_frame(&frame);
}

/*
 * Puts our utility hook around those of every preloaded library, whatever the
 * order in which they were named: the others then see texts without tokens.
 */
static void
hooks_utility_outermost(void)
{
	static bool done = false;

	if (done)
		return; /* shared memory is made again after a crash */
	done = true;
	previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = hooks_utility;
}

static void
hooks_object_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *arg)
{
	if (previous_object_access)
		previous_object_access(access, class_id, object_id, sub_id, arg);
	if (access == OAT_POST_CREATE || access == OAT_POST_ALTER)
		types_object_changed(class_id, object_id, sub_id);
	if (access == OAT_POST_CREATE || access == OAT_POST_ALTER || access == OAT_DROP)
		audit_object_changed(access, class_id, object_id, sub_id);
	if (access == OAT_FUNCTION_EXECUTE &&
		(context_function_is_denied(object_id) || firewall_function_is_denied(object_id)))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION, get_func_name(object_id));
}

/* Refusals are handed over before the client hears of them; others see the line as the log gets it. */
static void
hooks_emit_log(ErrorData *edata)
{
	static bool inside = false;

	/* Lines about the journal itself go by. */
	if (inside)
		return;
	inside = true;
	PG_TRY();
	{
		journal_error_reported(edata);
		journal_redact_log(edata);
	}
	PG_FINALLY();
	{
		inside = false;
	}
	PG_END_TRY();
	if (previous_emit_log)
		previous_emit_log(edata);
}

static void
hooks_transaction(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
			audit_before_commit();
			journal_before_commit();
			firewall_before_commit();
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
		case XACT_EVENT_PARALLEL_COMMIT:
			documents_after_commit();
			journal_after_commit();
			worker_transaction_end(true);
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PARALLEL_ABORT:
			documents_after_abort();
			journal_after_abort();
			worker_transaction_end(false);
			break;
	}
}

void
hooks_init(void)
{
	if (!base_preloaded)
		return;
	previous_shmem_request = shmem_request_hook;
	shmem_request_hook = hooks_shmem_request;
	previous_shmem_startup = shmem_startup_hook;
	shmem_startup_hook = hooks_shmem_startup;
	previous_planner = planner_hook;
	planner_hook = hooks_plan;
	previous_relation_info = get_relation_info_hook;
	get_relation_info_hook = hooks_relation_info;
	previous_executor_start = ExecutorStart_hook;
	ExecutorStart_hook = hooks_executor_start;
	previous_executor_run = ExecutorRun_hook;
	ExecutorRun_hook = hooks_executor_run;
	previous_executor_finish = ExecutorFinish_hook;
	ExecutorFinish_hook = hooks_executor_finish;
	previous_check_perms = ExecutorCheckPerms_hook;
	ExecutorCheckPerms_hook = hooks_check_perms;
	previous_object_access = object_access_hook;
	object_access_hook = hooks_object_access;
	previous_emit_log = emit_log_hook;
	emit_log_hook = hooks_emit_log;
	RegisterXactCallback(hooks_transaction, NULL);
}
