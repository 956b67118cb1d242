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
}
