/*
 * verify_access(): may who is asking see this row?  reassign(): hands a client
 * over.  Trusts the tables' own policies; refuses to tell a row that is not
 * there from one that is somebody else's, by word or by time.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/base.h"
#include "context/context.h"
#include "journal/journal.h"
#include "policy/access.h"
#include "policy/policy.h"
#include "policy/scope.h"

#define ACCESS_REFUSAL_US 1000

void
access_run_as_owner(Oid owner, AccessUser *saved)
{
	GetUserIdAndSecContext(&saved->user, &saved->security);
	SetUserIdAndSecContext(owner,
						   saved->security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
}

void
access_run_as_caller(const AccessUser *saved)
{
	SetUserIdAndSecContext(saved->user, saved->security);
}

Oid
access_owner(Oid relid)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* The owner of what a command names, with no way back to who is calling: for functions whose own rights are greater. */
static void
access_confine(Oid relid, AccessUser *saved)
{
	Oid owner = access_owner(relid);

	access_run_as_owner(owner, saved);
	SetUserIdAndSecContext(owner, saved->security | SECURITY_LOCAL_USERID_CHANGE |
									  SECURITY_NOFORCE_RLS | SECURITY_RESTRICTED_OPERATION);
}

/*
 * immiiq.as_owner(target regclass, command text, VARIADIC parameters "any") → record
 * Runs one command on a table of somebody's with the rights of its owner, as
 * VACUUM and REFRESH do: triggers, policies, casts and expressions of the table
 * gain nothing by it.  Returns a SELECT's first row, NULL when there is none; of
 * any other command the number of rows, int8, deferred constraints checked at
 * once.  Errors: those of the command.
 */
PG_FUNCTION_INFO_V1(immiiq_as_owner);
Datum
immiiq_as_owner(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	char *command = text_to_cstring(PG_GETARG_TEXT_PP(1));
	AccessUser saved;
	Datum *values = NULL;
	Oid *types = NULL;
	bool *isnull = NULL;
	char *nulls;
	int n = PG_NARGS() > 2 ? extract_variadic_args(fcinfo, 2, false, &values, &types, &isnull) : 0;
	int nest;
	int code;
	Datum result = (Datum) 0;
	bool is_null = true;

	nulls = palloc(Max(n, 0) + 1);
	for (int i = 0; i < n; i++)
		nulls[i] = isnull[i] ? 'n' : ' ';
	SPI_connect();
	nest = NewGUCNestLevel();
	access_confine(PG_GETARG_OID(0), &saved);
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	/* A trigger that waits for the end of the transaction would run as somebody else: it is refused here. */
	if (pg_strncasecmp(command, "select", 6) != 0 &&
		SPI_execute("SET CONSTRAINTS ALL IMMEDIATE", false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not set constraints");
	code = SPI_execute_with_args(command, Max(n, 0), types, values, nulls, false, 0);
	AtEOXact_GUC(true, nest);
	access_run_as_caller(&saved);
	if (code == SPI_OK_SELECT && SPI_processed > 0)
	{
		MemoryContext inner = MemoryContextSwitchTo(context);

		result =
			heap_copy_tuple_as_datum(SPI_tuptable->vals[0], BlessTupleDesc(SPI_tuptable->tupdesc));
		is_null = false;
		MemoryContextSwitchTo(inner);
	}
	else if (code == SPI_OK_UPDATE || code == SPI_OK_DELETE || code == SPI_OK_INSERT)
	{
		MemoryContext inner = MemoryContextSwitchTo(context);
		TupleDesc desc = CreateTemplateTupleDesc(1);
		Datum rows = Int64GetDatum((int64) SPI_processed);
		bool none = false;

		TupleDescInitEntry(desc, 1, "rows", INT8OID, -1, 0);
		result = HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), &rows, &none));
		is_null = false;
		MemoryContextSwitchTo(inner);
	}
	else if (code != SPI_OK_SELECT)
		elog(ERROR, "neither SELECT nor a change");
	SPI_finish();
	if (is_null)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(result);
}

/* ---- verify_access ---- */

/* Types of keys that may be asked for: their = is core's own. */
static const char *
access_key_type(Oid type)
{
	switch (type)
	{
		case UUIDOID:
			return "pg_catalog.uuid";
		case INT2OID:
			return "pg_catalog.int2";
		case INT4OID:
			return "pg_catalog.int4";
		case INT8OID:
			return "pg_catalog.int8";
		case TEXTOID:
		case VARCHAROID:
			return "pg_catalog.text";
		default:
			return NULL;
	}
}

/* The column of the primary key beside the organisation; ERROR when there is not exactly one. */
static AttrNumber
access_key_column(Relation rel, const PolicyTable *table)
{
	Oid indexid = RelationGetPrimaryKeyIndex(rel, false);
	AttrNumber found = 0;
	int n = 0;

	if (OidIsValid(indexid))
	{
		Relation index = index_open(indexid, AccessShareLock);

		for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(index); i++)
		{
			AttrNumber attno = index->rd_index->indkey.values[i];

			if (attno == table->org)
				continue;
			found = attno;
			n++;
		}
		index_close(index, AccessShareLock);
	}
	if (n != 1 || access_key_type(TupleDescAttr(RelationGetDescr(rel), found - 1)->atttypid) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("table \"%s\" has no id that can be asked for", RelationGetRelationName(rel)),
				 errdetail(
					 "Beside the organisation its primary key must have one column, a uuid, an integer or a text.")));
	return found;
}

/* True when an index finds the id whatever the organisation. */
static bool
access_key_leads(Relation rel, AttrNumber key)
{
	List *indexes = RelationGetIndexList(rel);
	ListCell *lc;
	bool leads = false;

	foreach (lc, indexes)
	{
		Relation index = index_open(lfirst_oid(lc), AccessShareLock);

		leads = leads || (index->rd_index->indisunique && index->rd_index->indisvalid &&
						  IndexRelationGetNumberOfKeyAttributes(index) == 1 &&
						  index->rd_index->indkey.values[0] == key &&
						  RelationGetIndexPredicate(index) == NIL);
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return leads;
}

/* The organisation of the row with this id, whosever it is; false when there is none. */
static bool
access_find_owner(Relation rel, const char *query, int nargs, Oid *types, Datum *args,
				  pg_uuid_t *org)
{
	AccessUser saved;
	bool isnull = true;

	access_run_as_owner(rel->rd_rel->relowner, &saved);
	if (SPI_execute_with_args(query, nargs, types, args, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look for a row");
	access_run_as_caller(&saved);
	if (SPI_processed == 1)
		*org =
			*DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	return !isnull;
}

/*
 * Sleeps to the end of a whole millisecond since started.  To have looked at a
 * row that is there costs some microseconds more than to find none: enough to
 * tell the two apart by many calls.
 */
static void
access_wait(TimestampTz started)
{
	int64 spent = Max(GetCurrentTimestamp() - started, 0);

	pg_usleep(ACCESS_REFUSAL_US - spent % ACCESS_REFUSAL_US);
}

/*
 * immiiq.verify_access(target regclass, id) → bool
 * True when who is asking sees the row with this id.  False, in the same time,
 * for a row that is not there and for one that is another's; both are recorded,
 * with the reason for auditors only.  Errors: IQ011; 42501 without SELECT on
 * the table; 22023 not protected; 0A000 a key of another kind; 22P02.
 */
PG_FUNCTION_INFO_V1(immiiq_verify_access);
Datum
immiiq_verify_access(PG_FUNCTION_ARGS)
{
	const ContextIdentity *who = context_require();
	TimestampTz started = GetCurrentTimestamp();
	Oid type = get_fn_expr_argtype(fcinfo->flinfo, 1);
	Relation rel;
	const PolicyTable *table;
	AttrNumber key;
	const char *key_type;
	char *name;
	const char *key_name;
	const char *org_name;
	StringInfoData query;
	Oid types[2] = {InvalidOid, UUIDOID};
	Datum args[2];
	pg_uuid_t own;
	pg_uuid_t org;
	bool isnull;
	bool sees;
	bool found;
	bool leads;
	char object[JOURNAL_OBJECT_MAX];
	AclResult acl;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_BOOL(false);
	rel = relation_open(PG_GETARG_OID(0), AccessShareLock);
	acl = pg_class_aclcheck(RelationGetRelid(rel), GetUserId(), ACL_SELECT);
	if (acl != ACLCHECK_OK)
		aclcheck_error(acl, get_relkind_objtype(rel->rd_rel->relkind), RelationGetRelationName(rel));
	table = rel->rd_rel->relispartition ? NULL : policy_table(rel);
	if (table == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("table \"%s\" is not protected", RelationGetRelationName(rel))));
	key = access_key_column(rel, table);
	key_type = access_key_type(TupleDescAttr(RelationGetDescr(rel), key - 1)->atttypid);
	if (access_key_type(type) == NULL)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("id is neither a uuid nor an integer nor a text")));
	leads = access_key_leads(rel, key);
	/* Names are copied: planning may rebuild the relation's descriptor. */
	name = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
									  RelationGetRelationName(rel));
	key_name =
		quote_identifier(pstrdup(NameStr(TupleDescAttr(RelationGetDescr(rel), key - 1)->attname)));
	org_name = quote_identifier(
		pstrdup(NameStr(TupleDescAttr(RelationGetDescr(rel), table->org - 1)->attname)));
	own = who->org;
	types[0] = type;
	args[0] = PG_GETARG_DATUM(1);
	args[1] = UUIDPGetDatum(&own);

	SPI_connect();
	initStringInfo(&query);
	appendStringInfo(&query, "SELECT EXISTS (SELECT FROM %s WHERE %s OPERATOR(pg_catalog.=) $1::%s)",
					 name, key_name, key_type);
	if (SPI_execute_with_args(query.data, 1, types, args, NULL, true, 1) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "could not look for a row");
	sees = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	if (!sees)
	{
		resetStringInfo(&query);
		appendStringInfo(&query, "SELECT %s FROM %s WHERE %s OPERATOR(pg_catalog.=) $1::%s",
						 org_name, name, key_name, key_type);
		if (!leads)
			appendStringInfo(&query, " AND %s OPERATOR(pg_catalog.=) $2", org_name);
		found = access_find_owner(rel, query.data, leads ? 1 : 2, types, args, &org);
		/* Both take the same way from here on. An id is recorded where it cannot be anything else. */
		if (type == UUIDOID)
			snprintf(object, sizeof(object), "%.80s %s", RelationGetRelationName(rel),
					 DatumGetCString(DirectFunctionCall1(uuid_out, args[0])));
		else
			strlcpy(object, RelationGetRelationName(rel), sizeof(object));
		journal_record(JOURNAL_DENIAL, "verify_access", object,
					   !found						 ? "no such row"
					   : base_uuid_equal(&org, &own) ? "outside the data scope"
													 : "another organisation's row",
					   0, NULL);
	}
	SPI_finish();
	relation_close(rel, AccessShareLock);
	if (!sees)
		access_wait(started);
	PG_RETURN_BOOL(sees);
}

/* Functions that answer a foreign id as one that is not there, without an error. */
static const char *const access_silent[] = {"apply_role",	  "history",	  "release_hold",
											"revoke_session", "revoke_share", "sign_off_status"};

/*
 * immiiq.note_unreachable(called text) → void
 * Records that an id given to a function of immiiq's was out of reach, or not
 * there.  Everybody may call it, so it takes names of functions alone: 22023.
 */
PG_FUNCTION_INFO_V1(immiiq_note_unreachable);
Datum
immiiq_note_unreachable(PG_FUNCTION_ARGS)
{
	char *called = text_to_cstring(PG_GETARG_TEXT_PP(0));

	for (int i = 0; i < lengthof(access_silent); i++)
	{
		if (strcmp(called, access_silent[i]) != 0)
			continue;
		journal_record(JOURNAL_DENIAL, called, "", "id is not within reach of who is active", 0,
					   NULL);
		PG_RETURN_VOID();
	}
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown function")));
}

/* ---- reassign ---- */

/* Protected tables that name client and, by the second argument, assignee or team, with what their policies ask of an UPDATE. */
static const char *const access_tables_query =
	"SELECT p.relation::pg_catalog.oid, c.relowner, pg_catalog.format('%I.%I', n.nspname, c.relname), "
	"pg_catalog.quote_ident(p.org), pg_catalog.quote_ident(p.client), "
	"pg_catalog.quote_ident(CASE WHEN $1 THEN p.assignee ELSE p.team END), "
	"(SELECT pg_catalog.string_agg(pg_catalog.format('(%s)', pg_catalog.pg_get_expr(l.polqual, l.polrelid)), ' AND ') "
	" FROM pg_catalog.pg_policy AS l WHERE l.polrelid OPERATOR(pg_catalog.=) c.oid AND l.polqual IS NOT NULL "
	" AND l.polcmd OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'w', '*']::pg_catalog.\"char\"[])) "
	"FROM immiiq.protected_table AS p JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) p.relation "
	"JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace "
	"WHERE p.client IS NOT NULL AND CASE WHEN $1 THEN p.assignee ELSE p.team END IS NOT NULL "
	"AND c.relnamespace OPERATOR(pg_catalog.<>) 'immiiq'::pg_catalog.regnamespace ORDER BY c.oid";

uint64
access_change(Oid owner, const char *statement, int nargs, Oid *types, Datum *args,
			  const char *nulls)
{
	AccessUser saved;
	int code;

	access_run_as_owner(owner, &saved);
	code = SPI_execute_with_args(statement, nargs, types, args, nulls, false, 0);
	access_run_as_caller(&saved);
	if (code != SPI_OK_UPDATE && code != SPI_OK_DELETE && code != SPI_OK_INSERT)
		elog(ERROR, "could not hand over");
	return SPI_processed;
}

/* ERROR unless there is such an active member, or such a team, in the organisation: one message for every reason. */
static void
access_check_target(const ContextIdentity *who, bool to_member, Datum target)
{
	Oid types[2] = {UUIDOID, UUIDOID};
	Datum args[2] = {UUIDPGetDatum(&who->org), target};

	if (SPI_execute_with_args(to_member
								  ? "SELECT FROM immiiq.member WHERE org_id OPERATOR(pg_catalog.=) $1 AND member_id OPERATOR(pg_catalog.=) $2 AND active"
								  : "SELECT FROM immiiq.team WHERE org_id OPERATOR(pg_catalog.=) $1 AND team_id OPERATOR(pg_catalog.=) $2",
							  2, types, args, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read the directory");
	if (SPI_processed != 1)
	{
		journal_record(JOURNAL_DENIAL, "reassign", to_member ? "member" : "team",
					   "id is not within reach of who is active", ERRCODE_INVALID_PARAMETER_VALUE,
					   NULL);
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("no such active member or team")));
	}
}

/*
 * immiiq.reassign(client uuid, member uuid, team uuid) → bigint
 * Hands a client over to a member or a team: the client's rows that who is
 * asking may update, in every protected table that names client and assignee or
 * team, and their assignments.  Who is asking may lose sight of the client by
 * it.  Returns how many rows changed.  Errors: IQ011; 22023; 42501 without the
 * permission reassign, for the assistant and the portal, and when the client is
 * not in scope, wherever it is.
 */
PG_FUNCTION_INFO_V1(immiiq_reassign);
Datum
immiiq_reassign(PG_FUNCTION_ARGS)
{
	const ContextIdentity *who = context_require();
	bool to_member = !PG_ARGISNULL(1);
	Datum target;
	Oid bool_type[1] = {BOOLOID};
	Datum bool_arg[1] = {BoolGetDatum(to_member)};
	Oid types[4] = {UUIDOID, UUIDOID, UUIDOID, UUIDOID};
	Datum args[4];
	char nulls[5] = "    ";
	SPITupleTable *tables;
	uint64 ntables;
	uint64 changed = 0;
	uint64 unassigned;
	StringInfoData statement;
	Oid directory_owner;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) == PG_ARGISNULL(2))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a client goes to a member or to a team")));
	if ((who->actor != CONTEXT_MEMBER && who->actor != CONTEXT_OPERATOR) || who->every_org ||
		(who->actor == CONTEXT_MEMBER && !scope_has_permission(who, "reassign")))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission reassign is missing"),
				 errhint("Ask a member who may give it.")));
	target = to_member ? PG_GETARG_DATUM(1) : PG_GETARG_DATUM(2);

	SPI_connect();
	access_check_target(who, to_member, target);
	args[0] = UUIDPGetDatum(&who->org);
	args[1] = PG_GETARG_DATUM(0);
	args[2] = target;
	args[3] = UUIDPGetDatum(&who->member);

	if (SPI_execute_with_args(access_tables_query, 1, bool_type, bool_arg, NULL, true, 0) !=
		SPI_OK_SELECT)
		elog(ERROR, "could not read immiiq.protected_table");
	tables = SPI_tuptable;
	ntables = SPI_processed;
	initStringInfo(&statement);
	for (uint64 i = 0; i < ntables; i++)
	{
		TupleDesc desc = tables->tupdesc;
		HeapTuple row = tables->vals[i];
		bool isnull;
		Oid owner = DatumGetObjectId(SPI_getbinval(row, desc, 2, &isnull));
		const char *column = SPI_getvalue(row, desc, 6);

		resetStringInfo(&statement);
		appendStringInfo(&statement,
						 "UPDATE %s SET %s = $3 WHERE %s OPERATOR(pg_catalog.=) $1 AND %s OPERATOR(pg_catalog.=) $2 "
						 "AND %s IS DISTINCT FROM $3 AND %s",
						 SPI_getvalue(row, desc, 3), column, SPI_getvalue(row, desc, 4),
						 SPI_getvalue(row, desc, 5), column, SPI_getvalue(row, desc, 7));
		changed += access_change(owner, statement.data, 3, types, args, NULL);
	}

	/* Assignments: one's own, one's teams', or with scope all everybody's. */
	directory_owner = access_owner(base_relation("assignment"));
	unassigned =
		access_change(directory_owner,
					  "DELETE FROM immiiq.assignment WHERE org_id OPERATOR(pg_catalog.=) $1 AND client_id OPERATOR(pg_catalog.=) $2 "
					  "AND COALESCE(member_id, team_id) OPERATOR(pg_catalog.<>) $3 "
					  "AND (member_id OPERATOR(pg_catalog.=) $4 OR immiiq.visible('clients', 'update', org_id, NULL, team_id, member_id, NULL))",
					  4, types, args, nulls);
	if (unassigned > 0)
		(void)
			access_change(directory_owner,
						  to_member
							  ? "INSERT INTO immiiq.assignment (org_id, client_id, member_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
							  : "INSERT INTO immiiq.assignment (org_id, client_id, team_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
						  3, types, args, nulls);
	changed += unassigned;
	if (changed == 0)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("nothing of this client is yours to hand over")));
	SPI_finish();
	PG_RETURN_INT64((int64) changed);
}
