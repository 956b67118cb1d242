/*
 * What statements may do to the identity, and who may see them.  Trusts the
 * list of roles in immiiq.role_grant; refuses application roles the settings
 * of roles and the functions that show other sessions, and blanks tokens in
 * statement texts before anybody else sees them.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "pgstat.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/base.h"
#include "context/blank.h"
#include "context/context_internal.h"

PG_FUNCTION_INFO_V1(immiiq_role_grant_changed);

/* Columns of immiiq.role_grant by position. */
#define ROLE_GRANT_KIND 1
#define ROLE_GRANT_ROLE 2

/* ---- application roles ---- */

/* Whether this session's user is an application role, and for whom that was found out. */
static bool guard_known = false;
static bool guard_application = false;
static Oid guard_session_user = InvalidOid;
static Oid guard_outer_user = InvalidOid;
static Oid guard_relid = InvalidOid;

static void
guard_forget(Datum arg, int cacheid, uint32 hashvalue)
{
	guard_known = false;
}

static void
guard_forget_relation(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || !OidIsValid(guard_relid) || relid == guard_relid)
		guard_known = false;
}

/*
 * immiiq.role_grant_changed(): statement trigger on immiiq.role_grant, tells
 * every session that the list of roles is another.
 */
Datum
immiiq_role_grant_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("immiiq.role_grant_changed can only be called as a trigger")));
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	PG_RETURN_POINTER(NULL);
}

bool
context_role_is_application(Oid roleid)
{
	Oid relid = base_relation_or_invalid("role_grant");
	Relation rel;
	SysScanDesc scan;
	HeapTuple tuple;
	bool found = false;

	if (!OidIsValid(relid) || superuser_arg(roleid))
		return false;
	rel = table_open(relid, AccessShareLock);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool isnull;
		Datum kind = heap_getattr(tuple, ROLE_GRANT_KIND, RelationGetDescr(rel), &isnull);
		Datum role;

		if (isnull || strcmp(TextDatumGetCString(kind), "application") != 0)
			continue;
		role = heap_getattr(tuple, ROLE_GRANT_ROLE, RelationGetDescr(rel), &isnull);
		found = !isnull && is_member_of_role_nosuper(roleid, DatumGetObjectId(role));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/* Finds out what context_session_is_application says; in a transaction only. */
static void
guard_learn(void)
{
	Oid session_user;
	Oid outer_user;

	if (!IsTransactionState() || !OidIsValid(MyDatabaseId))
		return;
	session_user = GetSessionUserId();
	outer_user = GetOuterUserId();
	if (guard_known && guard_session_user == session_user && guard_outer_user == outer_user)
		return;
	guard_relid = base_relation_or_invalid("role_grant");
	guard_known = true; /* an invalidation from here on makes it false again */
	guard_application = context_role_is_application(session_user) ||
						(outer_user != session_user && !superuser_arg(session_user) &&
						 context_role_is_application(outer_user));
	guard_session_user = session_user;
	guard_outer_user = outer_user;
}

bool
context_session_is_application(void)
{
	return guard_application && guard_session_user == GetSessionUserId();
}

bool
context_application_acts(void)
{
	Oid user = GetUserId();

	guard_learn();
	if (!context_session_is_application())
		return false;
	return user == GetOuterUserId() || user == GetSessionUserId() ||
		   context_role_is_application(user);
}

bool
context_had_identity(void)
{
	return context_first() != NULL;
}

/* ---- functions that show other sessions, or end them ---- */

/* What was found out about functions of extensions, by OID modulo the size; emptied whenever pg_proc changes. */
#define GUARD_FUNCTIONS 256
typedef struct GuardFunction
{
	Oid funcid;
	bool shows;
} GuardFunction;

static GuardFunction guard_functions[GUARD_FUNCTIONS];

/* Core's functions that show other sessions' statements, addresses, transactions and locks, or end them. */
static bool
guard_touches_sessions(Oid funcid)
{
	switch (funcid)
	{
		case F_PG_STAT_GET_ACTIVITY:
		case F_PG_STAT_GET_BACKEND_IDSET:
		case F_PG_STAT_GET_BACKEND_PID:
		case F_PG_STAT_GET_BACKEND_DBID:
		case F_PG_STAT_GET_BACKEND_USERID:
		case F_PG_STAT_GET_BACKEND_ACTIVITY:
		case F_PG_STAT_GET_BACKEND_ACTIVITY_START:
		case F_PG_STAT_GET_BACKEND_XACT_START:
		case F_PG_STAT_GET_BACKEND_START:
		case F_PG_STAT_GET_BACKEND_CLIENT_ADDR:
		case F_PG_STAT_GET_BACKEND_CLIENT_PORT:
		case F_PG_STAT_GET_BACKEND_WAIT_EVENT:
		case F_PG_STAT_GET_BACKEND_WAIT_EVENT_TYPE:
		case F_PG_STAT_GET_PROGRESS_INFO:
		case F_PG_STAT_GET_WAL_SENDERS:
		case F_PG_STAT_GET_WAL_RECEIVER:
		case F_PG_STAT_GET_SUBSCRIPTION:
		case F_PG_LOCK_STATUS:
		case F_PG_PREPARED_XACT:
		case F_PG_BLOCKING_PIDS:
		case F_PG_SAFE_SNAPSHOT_BLOCKING_PIDS:
		case F_PG_CANCEL_BACKEND:
		case F_PG_TERMINATE_BACKEND:
			return true;
		default:
			return false;
	}
}

/*
 * The same for other extensions' functions, by name.  The answer is kept by
 * OID: this is asked whenever a function is made ready to be called.
 */
static bool
guard_shows_statements(Oid funcid)
{
	GuardFunction *known = &guard_functions[funcid % GUARD_FUNCTIONS];
	char *name;

	if (known->funcid == funcid)
		return known->shows;
	name = get_func_name(funcid);
	if (name == NULL)
		return false;
	known->shows =
		strncmp(name, "pg_stat_statements", 18) == 0 || strncmp(name, "pg_stat_monitor", 15) == 0;
	known->funcid = funcid;
	pfree(name);
	return known->shows;
}

static void
guard_forget_functions(Datum arg, int cacheid, uint32 hashvalue)
{
	memset(guard_functions, 0, sizeof(guard_functions));
}

bool
context_function_is_denied(Oid funcid)
{
	if (funcid < FirstGenbkiObjectId)
	{
		if (!guard_touches_sessions(funcid))
			return false;
		guard_learn();
		return context_session_is_application();
	}
	guard_learn();
	return context_session_is_application() && guard_shows_statements(funcid);
}

/* ---- texts of statements ---- */

/* Overwrites every token in a text, keeping its length. */
static void
guard_blank_tokens(char *text)
{
	const char *found;
	size_t len;

	while ((found = token_find(text, &len)) != NULL)
	{
		char *at = text + (found - text);

		memset(at, '*', len);
		text = at + len;
	}
}

/* Puts a blanked text where the log and pg_stat_activity would show the statement that came in. */
static void
guard_show_instead(const char *text, const char *blanked)
{
	if (debug_query_string == NULL || strcmp(debug_query_string, text) != 0)
		return; /* a nested statement: nobody sees its text */
	if (MessageContext != NULL)
		debug_query_string = MemoryContextStrdup(MessageContext, blanked);
	pgstat_report_activity(STATE_RUNNING, blanked);
}

void
context_executor_start(QueryDesc *query_desc)
{
	size_t len;
	char *blanked;

	guard_learn();
	if (query_desc->sourceText == NULL || token_find(query_desc->sourceText, &len) == NULL)
		return;
	/* lives as long as the QueryDesc: pg_stat_statements reads it at the end */
	blanked = MemoryContextStrdup(GetMemoryChunkContext(query_desc), query_desc->sourceText);
	guard_blank_tokens(blanked);
	guard_show_instead(query_desc->sourceText, blanked);
	query_desc->sourceText = blanked;
}

/* True for SET immiiq.token = …, in any form that holds a value. */
static bool
guard_sets_token(Node *stmt)
{
	VariableSetStmt *set = (VariableSetStmt *) stmt;

	return IsA(stmt, VariableSetStmt) && set->kind == VAR_SET_VALUE && set->name != NULL &&
		   pg_strcasecmp(set->name, "immiiq.token") == 0;
}

/* Overwrites a whole SET immiiq.token statement inside a text, keeping the text's length. */
static void
guard_blank_set(char *text, PlannedStmt *pstmt)
{
	static const char shown[] = "SET immiiq.token = '***'";
	size_t total = strlen(text);
	size_t from = pstmt->stmt_location > 0 ? pstmt->stmt_location : 0;
	size_t len;

	if (from > total)
		from = 0;
	len = pstmt->stmt_len > 0 && from + pstmt->stmt_len <= total ? pstmt->stmt_len : total - from;
	memset(text + from, ' ', len);
	memcpy(text + from, shown, Min(len, sizeof(shown) - 1));
}

/* True for statements with values in them that pg_stat_statements keeps word for word, when a member's may be among them. */
static bool
guard_holds_values(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_CallStmt:
		case T_CopyStmt:
		case T_CreateTableAsStmt:
		case T_DeclareCursorStmt:
		case T_DoStmt:
		case T_ExecuteStmt:
		case T_ExplainStmt:
		case T_PrepareStmt:
			guard_learn();
			return context_had_identity() || context_session_is_application();
		default:
			return false;
	}
}

/* The text with its tokens and values blanked; the same pointer when there is nothing to blank. */
static const char *
guard_utility_text(PlannedStmt *pstmt, const char *text)
{
	bool sets_token = guard_sets_token(pstmt->utilityStmt);
	bool holds_values = guard_holds_values(pstmt->utilityStmt);
	size_t len;
	bool holds_token;
	char *blanked;

	if (text == NULL)
		return text;
	holds_token = sets_token || token_find(text, &len) != NULL;
	if (!holds_values && !holds_token)
		return text;
	blanked = MessageContext ? MemoryContextStrdup(MessageContext, text) : pstrdup(text);
	if (sets_token)
		guard_blank_set(blanked, pstmt);
	guard_blank_tokens(blanked);
	if (holds_token)
		guard_show_instead(text, blanked);
	if (holds_values)
		blank_values(blanked, IsA(pstmt->utilityStmt, DoStmt), !standard_conforming_strings);
	return blanked;
}

/* Refuses an application role what would outlive its transaction in the catalog. */
static void
guard_refuse_stored_settings(void)
{
	if (context_session_is_application())
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("application roles cannot store settings"),
						errhint("Ask the database's administrator to run ALTER ROLE … SET.")));
}

const char *
context_utility_before(PlannedStmt *pstmt, const char *query_string, ProcessUtilityContext stage)
{
	query_string = guard_utility_text(pstmt, query_string);
	switch (nodeTag(pstmt->utilityStmt))
	{
		case T_AlterRoleSetStmt:
		case T_AlterDatabaseSetStmt:
			guard_learn();
			guard_refuse_stored_settings();
			break;
		default:
			break;
	}
	return query_string;
}

bool
context_log_is_secret(const char *statement)
{
	/* what is given a token, a code or a password */
	static const char *const takers[] = {"immiiq.token", "authenticate(",	"_password(",
										 "redeem_",		 "rotate_refresh(", "peek_link(",
										 "_identity(",	 "verify_jwt("};
	size_t len;

	if (context_first() != NULL)
		return true;
	if (statement == NULL)
		return false;
	for (int i = 0; i < lengthof(takers); i++)
		if (strcasestr(statement, takers[i]) != NULL)
			return true;
	return token_find(statement, &len) != NULL;
}

void
guard_init(void)
{
	CacheRegisterRelcacheCallback(guard_forget_relation, (Datum) 0);
	CacheRegisterSyscacheCallback(PROCOID, guard_forget_functions, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, guard_forget, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, guard_forget, (Datum) 0);
}
