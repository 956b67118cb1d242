/*
 * Every server hook: chains what was there, dispatches, decides nothing.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "optimizer/planner.h"
#include "storage/ipc.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"

#include "audit/audit.h"
#include "base/base.h"
#include "context/context.h"
#include "hooks/hooks.h"
#include "journal/journal.h"
#include "keyring/keyring.h"
#include "search/search.h"

static shmem_request_hook_type previous_shmem_request = NULL;
static shmem_startup_hook_type previous_shmem_startup = NULL;
static planner_hook_type previous_planner = NULL;
static ExecutorStart_hook_type previous_executor_start = NULL;
static ProcessUtility_hook_type previous_utility = NULL;
static object_access_hook_type previous_object_access = NULL;

static void hooks_utility_outermost(void);

static void
hooks_shmem_request(void)
{
	if (previous_shmem_request)
		previous_shmem_request();
	keyring_shmem_request();
	context_shmem_request();
	journal_shmem_request();
	audit_shmem_request();
}

static void
hooks_shmem_startup(void)
{
	if (previous_shmem_startup)
		previous_shmem_startup();
	keyring_shmem_startup();
	context_shmem_startup();
	journal_shmem_startup();
	audit_shmem_startup();
	hooks_utility_outermost();
}

static PlannedStmt *
hooks_plan(Query *parse, const char *query_string, int cursorOptions,
		   ParamListInfo boundParams)
{
	PlannedStmt *plan;

	parse = search_rewrite_query(parse);
	if (previous_planner)
		plan = previous_planner(parse, query_string, cursorOptions, boundParams);
	else
		plan = standard_planner(parse, query_string, cursorOptions, boundParams);
	search_check_plan(plan);
	return plan;
}

static void
hooks_executor_start(QueryDesc *query_desc, int eflags)
{
	context_executor_start(query_desc);
	if (previous_executor_start)
		previous_executor_start(query_desc, eflags);
	else
		standard_ExecutorStart(query_desc, eflags);
}

static void
hooks_utility(PlannedStmt *pstmt, const char *query_string, bool read_only_tree,
			  ProcessUtilityContext stage, ParamListInfo params,
			  QueryEnvironment *environment, DestReceiver *dest, QueryCompletion *completion)
{
	query_string = context_utility_before(pstmt, query_string, stage);
	if (previous_utility)
		previous_utility(pstmt, query_string, read_only_tree, stage, params,
						 environment, dest, completion);
	else
		standard_ProcessUtility(pstmt, query_string, read_only_tree, stage, params,
								environment, dest, completion);
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
		return;					/* shared memory is made again after a crash */
	done = true;
	previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = hooks_utility;
}

static void
hooks_object_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *arg)
{
	if (previous_object_access)
		previous_object_access(access, class_id, object_id, sub_id, arg);
	if (access == OAT_FUNCTION_EXECUTE && context_function_is_denied(object_id))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION, get_func_name(object_id));
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
	previous_executor_start = ExecutorStart_hook;
	ExecutorStart_hook = hooks_executor_start;
	previous_object_access = object_access_hook;
	object_access_hook = hooks_object_access;
}
