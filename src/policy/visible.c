/*
 * immiiq.visible(): which rows who is asking may see, and what the planner
 * makes of it.  Trusts context_current(); refuses everything when nobody is
 * active, when the module is off, and a plan that was made for another scope.
 *
 * Planning replaces visible(...) by equalities of the current scope's shape,
 * which indexes serve; each of them checks at run time that the shape still
 * holds.  Whatever is not replaced is evaluated row by row, to the same end.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_collation_d.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "optimizer/optimizer.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/selfuncs.h"
#include "utils/syscache.h"
#include "utils/uuid.h"

#include "base/base.h"
#include "policy/policy.h"
#include "policy/scope.h"
#include "policy/visible.h"

/* uuid = uuid of core: pg_operator.dat names no symbol for it. */
#define UUID_EQUAL_OPERATOR 2972

/* What a scope asks of a row beside its organisation. */
typedef enum VisibleRule
{
	VISIBLE_ORG = 1, /* nothing more */
	VISIBLE_TEAM,
	VISIBLE_MEMBER,
	VISIBLE_CLIENT,
	VISIBLE_NOTHING
} VisibleRule;

/* Arguments of visible(), in order. */
enum
{
	ARG_MODULE,
	ARG_COMMAND,
	ARG_ORG,
	ARG_CLIENT,
	ARG_TEAM,
	ARG_ASSIGNEE,
	ARG_OFFICE,
	ARGS
};

/* The shape that plans of this backend are made for while nobody is active. */
static PolicyShape visible_planned_shape = POLICY_SHAPE_ALL;
/*
 * True when plans were made that the next identity should not find: they expect
 * no rows, for nobody or for a member whose module is off, or they are of
 * another shape, because a member's teams changed since the token was set.
 */
static bool visible_plans_go = false;

/* True when visible_planned_shape's plans may be about offices, and then whether they see every one. */
static bool visible_office_plans = false;
static bool visible_planned_crossing = false;

/* The name of a shape, with what it says of offices, as plans carry it. */
static const char *
visible_shape_name(int shape)
{
	static const char *const names[][3] = {
		[POLICY_SHAPE_ALL] = {"all", "all offices", "all crossing"},
		[POLICY_SHAPE_TEAM] = {"team", "team offices", "team crossing"},
		[POLICY_SHAPE_TEAMS] = {"teams", "teams offices", "teams crossing"},
		[POLICY_SHAPE_ASSIGNED] = {"assigned", "assigned offices", "assigned crossing"},
		[POLICY_SHAPE_PORTAL] = {"portal", "portal", "portal"},
		[POLICY_SHAPE_EVERY] = {"every", "every", "every"},
	};

	return names[shape & ~(POLICY_SHAPE_OFFICES | POLICY_SHAPE_CROSSING)]
				[shape & POLICY_SHAPE_OFFICES ? 1 : (shape & POLICY_SHAPE_CROSSING ? 2 : 0)];
}

static int
visible_shape_from_text(const text *name)
{
	static const int offices[] = {0, POLICY_SHAPE_OFFICES, POLICY_SHAPE_CROSSING};
	const char *s = VARDATA_ANY(name);
	size_t n = VARSIZE_ANY_EXHDR(name);

	for (PolicyShape shape = POLICY_SHAPE_ALL; shape <= POLICY_SHAPE_EVERY; shape++)
	{
		for (int i = 0; i < lengthof(offices); i++)
		{
			const char *known = visible_shape_name(shape | offices[i]);

			if (strlen(known) == n && memcmp(known, s, n) == 0)
				return shape | offices[i];
		}
	}
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown scope shape")));
}

/* What a policy's command says: read or write, and whether the portal may, too. */
#define VISIBLE_WRITES 0x1
#define VISIBLE_PORTAL 0x2

static int
visible_command_from_text(const text *command)
{
	const char *s = VARDATA_ANY(command);
	size_t n = VARSIZE_ANY_EXHDR(command);

	if (n == 6 && memcmp(s, "select", 6) == 0)
		return 0;
	if (n == 13 && memcmp(s, "select portal", 13) == 0)
		return VISIBLE_PORTAL;
	return VISIBLE_WRITES;
}

bool
visible_command_reads(const text *command)
{
	return (visible_command_from_text(command) & VISIBLE_WRITES) == 0;
}

bool
visible_command_admits_portal(const text *command)
{
	return (visible_command_from_text(command) & VISIBLE_PORTAL) != 0;
}

Node *
visible_text_const(const char *value)
{
	return (Node *) makeConst(TEXTOID, -1, DEFAULT_COLLATION_OID, -1, CStringGetTextDatum(value),
							  false, false);
}

/* No module has this bit: nobody has it. */
#define VISIBLE_UNKNOWN_MODULE 0x80000000

/* Module bits of names with commas between them, VISIBLE_UNKNOWN_MODULE when one is of no module. */
static uint32
visible_modules_from_text(const text *names)
{
	char *s = text_to_cstring(names);
	uint32 modules = 0;

	for (char *name = s, *comma; name != NULL; name = comma)
	{
		uint32 bit;

		comma = strchr(name, ',');
		if (comma != NULL)
			*comma++ = '\0';
		bit = context_module_bit(name);
		if (bit == 0)
		{
			modules = VISIBLE_UNKNOWN_MODULE;
			break;
		}
		modules |= bit;
	}
	pfree(s);
	return modules;
}

bool
visible_add_modules(Node *argument, uint32 *modules)
{
	Const *names = (Const *) argument;

	if (!IsA(names, Const))
		return false;
	if (!names->constisnull)
		*modules |= visible_modules_from_text(DatumGetTextPP(names->constvalue));
	return (*modules & VISIBLE_UNKNOWN_MODULE) == 0;
}

Node *
visible_modules_const(uint32 modules)
{
	StringInfoData names;

	initStringInfo(&names);
	for (uint32 bit = 1; bit <= CONTEXT_MODULE_EVERY; bit <<= 1)
		if ((modules & bit) != 0)
			appendStringInfo(&names, "%s%s", names.len > 0 ? "," : "", context_module_name(bit));
	return visible_text_const(names.data);
}

/* Who is asking, as far as rows go: NULL for nobody and for actors that no policy admits. */
static const ContextIdentity *
visible_who(void)
{
	const ContextIdentity *who = context_current();

	if (who == NULL || (who->actor == CONTEXT_PORTAL ? base_uuid_is_nil(&who->client)
													 : who->scope == CONTEXT_SCOPE_NONE))
		return NULL;
	return who;
}

/* True when none of the modules is off; the assistant writes only where the member's role lets it. */
static bool
visible_has_modules(const ContextIdentity *who, uint32 modules, int command)
{
	if (who->actor == CONTEXT_ASSISTANT && (command & VISIBLE_WRITES) != 0 &&
		(modules == 0 || (who->assistant_modules & modules) != modules))
		return false;
	return (who->modules & modules) == modules;
}

/* The shape of an identity's scope. */
static PolicyShape
visible_shape(const ContextIdentity *who)
{
	const pg_uuid_t *teams;

	if (who->actor == CONTEXT_PORTAL)
		return POLICY_SHAPE_PORTAL;
	if (who->every_org)
		return POLICY_SHAPE_EVERY;
	switch (who->scope)
	{
		case CONTEXT_SCOPE_TEAM:
			return scope_teams(who, &teams) > 1 ? POLICY_SHAPE_TEAMS : POLICY_SHAPE_TEAM;
		case CONTEXT_SCOPE_ASSIGNED:
			return POLICY_SHAPE_ASSIGNED;
		default:
			return POLICY_SHAPE_ALL;
	}
}

/*
 * Cached plans keep the shape of whoever they were made for: they go when
 * somebody of another shape comes.  So do plans made when there was nothing to
 * see, which look cheap whatever they read.  Runs inside GUC code: no catalog.
 */
static void
visible_identity_changed(const ContextIdentity *who)
{
	PolicyShape shape = POLICY_SHAPE_ALL;

	if (who->actor == CONTEXT_PORTAL)
		shape = POLICY_SHAPE_PORTAL;
	else if (who->every_org)
		shape = POLICY_SHAPE_EVERY;
	else if (who->scope == CONTEXT_SCOPE_TEAM)
		shape = who->several_teams ? POLICY_SHAPE_TEAMS : POLICY_SHAPE_TEAM;
	else if (who->scope == CONTEXT_SCOPE_ASSIGNED)
		shape = POLICY_SHAPE_ASSIGNED;
	if (shape == visible_planned_shape && !visible_plans_go &&
		(!visible_office_plans || who->cross_office == visible_planned_crossing))
	{
		visible_planned_crossing = who->cross_office;
		return;
	}
	visible_planned_shape = shape;
	visible_planned_crossing = who->cross_office;
	visible_office_plans = false;
	visible_plans_go = false;
	ResetPlanCache();
}

void
visible_init(void)
{
	context_set_change_callback(visible_identity_changed);
}

static void
visible_refuse_plan(void)
{
	ResetPlanCache();
	ereport(ERROR,
			(errcode(ERRCODE_IMMIIQ_STALE_PLAN), errmsg("the plan was made for another data scope"),
			 errhint("Run the statement again: it will be planned anew.")));
}

/* ERROR when a plan made for this shape would not answer rightly for who is asking. */
static void
visible_check_shape(const ContextIdentity *who, int shape)
{
	bool holds;

	switch (shape & ~(POLICY_SHAPE_OFFICES | POLICY_SHAPE_CROSSING))
	{
		case POLICY_SHAPE_PORTAL:
			holds = who->actor == CONTEXT_PORTAL;
			break;
		case POLICY_SHAPE_EVERY:
			holds = who->every_org;
			break;
		case POLICY_SHAPE_TEAM:
		case POLICY_SHAPE_TEAMS:
			holds = who->scope == CONTEXT_SCOPE_TEAM;
			break;
		case POLICY_SHAPE_ASSIGNED:
			holds = who->scope == CONTEXT_SCOPE_ASSIGNED;
			break;
		default:
			holds = who->scope == CONTEXT_SCOPE_ALL && !who->every_org;
			break;
	}
	if ((shape & POLICY_SHAPE_OFFICES) != 0)
		holds = holds && !who->cross_office;
	if ((shape & POLICY_SHAPE_CROSSING) != 0)
		holds = holds && who->cross_office;
	if (!holds)
		visible_refuse_plan();
}

/*
 * What a scope asks of the rows of a table with these columns. Direct columns
 * first; a table with none of them belongs to the whole organisation; what
 * remains is closed.
 */
static VisibleRule
visible_rule(ContextScope scope, bool client, bool team, bool assignee)
{
	switch (scope)
	{
		case CONTEXT_SCOPE_ALL:
			return VISIBLE_ORG;
		case CONTEXT_SCOPE_TEAM:
			if (team)
				return VISIBLE_TEAM;
			if (client)
				return VISIBLE_CLIENT;
			return assignee ? VISIBLE_MEMBER : VISIBLE_ORG;
		case CONTEXT_SCOPE_ASSIGNED:
			if (assignee)
				return VISIBLE_MEMBER;
			if (client)
				return VISIBLE_CLIENT;
			return team ? VISIBLE_NOTHING : VISIBLE_ORG;
		default:
			return VISIBLE_NOTHING;
	}
}

/* ---- run time ---- */

/* Constant arguments of one call site, parsed once. */
typedef struct VisibleCall
{
	bool parsed;
	uint32 modules;
	int command; /* VISIBLE_… bits */
	int shape;
	pg_uuid_t result; /* what was returned last: callers hold pointers to it */
} VisibleCall;

/*
 * The call site's parsed arguments; shape_arg and module_arg are argument
 * numbers, -1 for none. The command stands behind the module.
 */
static VisibleCall *
visible_call(FunctionCallInfo fcinfo, int module_arg, int shape_arg)
{
	VisibleCall *call = fcinfo->flinfo->fn_extra;

	if (call == NULL)
		call = fcinfo->flinfo->fn_extra =
			MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(VisibleCall));
	if (!call->parsed)
	{
		bool stable = true;

		call->modules = 0;
		if (module_arg >= 0)
		{
			if (!PG_ARGISNULL(module_arg))
				call->modules = visible_modules_from_text(PG_GETARG_TEXT_PP(module_arg));
			call->command = PG_ARGISNULL(module_arg + 1)
								? VISIBLE_WRITES
								: visible_command_from_text(PG_GETARG_TEXT_PP(module_arg + 1));
			stable = get_fn_expr_arg_stable(fcinfo->flinfo, module_arg) &&
					 get_fn_expr_arg_stable(fcinfo->flinfo, module_arg + 1);
		}
		if (shape_arg >= 0)
		{
			if (PG_ARGISNULL(shape_arg))
				ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
								errmsg("scope shape must not be null")));
			call->shape = visible_shape_from_text(PG_GETARG_TEXT_PP(shape_arg));
			stable = stable && get_fn_expr_arg_stable(fcinfo->flinfo, shape_arg);
		}
		call->parsed = stable;
	}
	return call;
}

/*
 * immiiq.org_if(modules text, command text, shape text) → uuid
 * The organisation of who is asking; NULL when nobody is, or one of the modules is off.
 * IQ020 when the plan was made for another shape; 22023 for an unknown module or shape.
 */
PG_FUNCTION_INFO_V1(immiiq_org_if);
Datum
immiiq_org_if(PG_FUNCTION_ARGS)
{
	const ContextIdentity *who = visible_who();
	VisibleCall *call = visible_call(fcinfo, 0, 2);

	if (call->modules == VISIBLE_UNKNOWN_MODULE)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown module"),
						errhint("Modules are clients, cases, communications, ai, documents, "
								"invoices, reports, billing, settings and team_management.")));
	if (who == NULL)
		PG_RETURN_NULL();
	visible_check_shape(who, call->shape);
	if (who->actor == CONTEXT_PORTAL ? (call->command & VISIBLE_PORTAL) == 0
									 : !visible_has_modules(who, call->modules, call->command))
		PG_RETURN_NULL();
	call->result = who->org;
	PG_RETURN_UUID_P(&call->result);
}

/*
 * immiiq.nothing_if(shape text) → uuid
 * Always NULL: what a scope without access compares with. IQ020 as org_if.
 */
PG_FUNCTION_INFO_V1(immiiq_nothing_if);
Datum
immiiq_nothing_if(PG_FUNCTION_ARGS)
{
	const ContextIdentity *who = visible_who();
	VisibleCall *call = visible_call(fcinfo, -1, 0);

	if (who != NULL)
		visible_check_shape(who, call->shape);
	PG_RETURN_NULL();
}

/*
 * immiiq.team_if(shape text) → uuid
 * The only team of who is asking, NULL without one. IQ020 also when there are several.
 */
PG_FUNCTION_INFO_V1(immiiq_team_if);
Datum
immiiq_team_if(PG_FUNCTION_ARGS)
{
	const ContextIdentity *who = visible_who();
	VisibleCall *call = visible_call(fcinfo, -1, 0);
	const pg_uuid_t *teams;
	int n;

	if (who == NULL)
		PG_RETURN_NULL();
	visible_check_shape(who, call->shape);
	n = scope_teams(who, &teams);
	if (n > 1)
		visible_refuse_plan();
	if (n == 0)
		PG_RETURN_NULL();
	call->result = teams[0];
	PG_RETURN_UUID_P(&call->result);
}

/*
 * immiiq.teams_if(shape text) → uuid[]
 * The teams of who is asking, NULL when nobody is. IQ020 as org_if.
 */
PG_FUNCTION_INFO_V1(immiiq_teams_if);
Datum
immiiq_teams_if(PG_FUNCTION_ARGS)
{
	const ContextIdentity *who = visible_who();
	VisibleCall *call = visible_call(fcinfo, -1, 0);
	const pg_uuid_t *teams;
	int n;

	if (who == NULL)
		PG_RETURN_NULL();
	visible_check_shape(who, call->shape);
	n = scope_teams(who, &teams);
	PG_RETURN_ARRAYTYPE_P(scope_uuid_array(teams, n));
}

/*
 * immiiq.member_if(shape text) → uuid
 * The member who is asking, NULL for nobody. IQ020 as org_if.
 */
PG_FUNCTION_INFO_V1(immiiq_member_if);
Datum
immiiq_member_if(PG_FUNCTION_ARGS)
{
	const ContextIdentity *who = visible_who();
	VisibleCall *call = visible_call(fcinfo, -1, 0);

	if (who == NULL)
		PG_RETURN_NULL();
	visible_check_shape(who, call->shape);
	call->result = who->member;
	PG_RETURN_UUID_P(&call->result);
}

/*
 * immiiq.offices_if(shape text) → uuid[]
 * The offices of who is asking, NULL when nobody is. IQ020 as org_if.
 */
PG_FUNCTION_INFO_V1(immiiq_offices_if);
Datum
immiiq_offices_if(PG_FUNCTION_ARGS)
{
	const ContextIdentity *who = visible_who();
	VisibleCall *call = visible_call(fcinfo, -1, 0);
	const pg_uuid_t *offices;
	int n;

	if (who == NULL)
		PG_RETURN_NULL();
	visible_check_shape(who, call->shape);
	n = scope_offices(who, &offices);
	PG_RETURN_ARRAYTYPE_P(scope_uuid_array(offices, n));
}

/*
 * immiiq.portal_client_if(shape text) → uuid
 * The client who is asking through the portal, NULL for nobody. IQ020 as org_if.
 */
PG_FUNCTION_INFO_V1(immiiq_portal_client_if);
Datum
immiiq_portal_client_if(PG_FUNCTION_ARGS)
{
	const ContextIdentity *who = visible_who();
	VisibleCall *call = visible_call(fcinfo, -1, 0);

	if (who == NULL)
		PG_RETURN_NULL();
	visible_check_shape(who, call->shape);
	call->result = who->client;
	PG_RETURN_UUID_P(&call->result);
}

/*
 * immiiq.every_if(shape text) → bool
 * True for who operates on every organisation, NULL for nobody. IQ020 as org_if.
 */
PG_FUNCTION_INFO_V1(immiiq_every_if);
Datum
immiiq_every_if(PG_FUNCTION_ARGS)
{
	const ContextIdentity *who = visible_who();
	VisibleCall *call = visible_call(fcinfo, -1, 0);

	if (who == NULL)
		PG_RETURN_NULL();
	visible_check_shape(who, call->shape);
	PG_RETURN_BOOL(true);
}

/*
 * immiiq.client_if(org_id uuid, client_id uuid, shape text) → bool
 * True when the client is assigned to who is asking. IQ020 as org_if.
 */
PG_FUNCTION_INFO_V1(immiiq_client_if);
Datum
immiiq_client_if(PG_FUNCTION_ARGS)
{
	const ContextIdentity *who = visible_who();
	VisibleCall *call = visible_call(fcinfo, -1, 2);

	if (who == NULL)
		PG_RETURN_BOOL(false);
	visible_check_shape(who, call->shape);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || !base_uuid_equal(PG_GETARG_UUID_P(0), &who->org))
		PG_RETURN_BOOL(false);
	PG_RETURN_BOOL(scope_has_client(who, PG_GETARG_UUID_P(1)));
}

/*
 * immiiq.clients_if(shape text) → uuid[]
 * The clients assigned to who is asking, NULL for nobody. IQ020 as org_if.
 */
PG_FUNCTION_INFO_V1(immiiq_clients_if);
Datum
immiiq_clients_if(PG_FUNCTION_ARGS)
{
	const ContextIdentity *who = visible_who();
	VisibleCall *call = visible_call(fcinfo, -1, 0);

	if (who == NULL)
		PG_RETURN_NULL();
	visible_check_shape(who, call->shape);
	PG_RETURN_ARRAYTYPE_P(scope_clients(who));
}

/*
 * True when the table has the column that this argument stands for. An absent
 * one is the constant NULL; a NULL of which that is not certain is a row's.
 */
static bool
visible_has_column(FunctionCallInfo fcinfo, int arg)
{
	Node *expr = fcinfo->flinfo->fn_expr;
	Node *node;

	if (!PG_ARGISNULL(arg) || expr == NULL || !IsA(expr, FuncExpr) ||
		list_length(((FuncExpr *) expr)->args) != ARGS)
		return true;
	node = list_nth(((FuncExpr *) expr)->args, arg);
	return !(IsA(node, Const) && ((Const *) node)->constisnull);
}

/*
 * immiiq.visible(module text, command text, org_id uuid, client_id uuid,
 * team_id uuid, assignee_id uuid, office_id uuid) → bool
 * True when who is asking may do the command on a row with these columns.
 * Raises nothing, whatever the arguments: it is leakproof.  Nobody has a module
 * that there is not.
 */
PG_FUNCTION_INFO_V1(immiiq_visible);
Datum
immiiq_visible(PG_FUNCTION_ARGS)
{
	const ContextIdentity *who = visible_who();
	VisibleCall *call = visible_call(fcinfo, ARG_MODULE, -1);
	const pg_uuid_t *teams;
	int n;

	if (who == NULL || PG_ARGISNULL(ARG_ORG))
		PG_RETURN_BOOL(false);
	if (who->every_org)
		PG_RETURN_BOOL(true);
	if (!base_uuid_equal(PG_GETARG_UUID_P(ARG_ORG), &who->org))
		PG_RETURN_BOOL(false);
	if (who->actor == CONTEXT_PORTAL)
		PG_RETURN_BOOL((call->command & VISIBLE_PORTAL) != 0 && !PG_ARGISNULL(ARG_CLIENT) &&
					   base_uuid_equal(PG_GETARG_UUID_P(ARG_CLIENT), &who->client));
	if (!visible_has_modules(who, call->modules, call->command))
		PG_RETURN_BOOL(false);
	if (!who->cross_office && visible_has_column(fcinfo, ARG_OFFICE))
	{
		const pg_uuid_t *offices;
		bool found = false;

		n = PG_ARGISNULL(ARG_OFFICE) ? 0 : scope_offices(who, &offices);
		for (int i = 0; i < n && !found; i++)
			found = base_uuid_equal(PG_GETARG_UUID_P(ARG_OFFICE), &offices[i]);
		if (!found)
			PG_RETURN_BOOL(false);
	}
	switch (visible_rule(who->scope, visible_has_column(fcinfo, ARG_CLIENT),
						 visible_has_column(fcinfo, ARG_TEAM),
						 visible_has_column(fcinfo, ARG_ASSIGNEE)))
	{
		case VISIBLE_ORG:
			PG_RETURN_BOOL(true);
		case VISIBLE_TEAM:
			if (PG_ARGISNULL(ARG_TEAM))
				PG_RETURN_BOOL(false);
			n = scope_teams(who, &teams);
			for (int i = 0; i < n; i++)
				if (base_uuid_equal(PG_GETARG_UUID_P(ARG_TEAM), &teams[i]))
					PG_RETURN_BOOL(true);
			PG_RETURN_BOOL(false);
		case VISIBLE_MEMBER:
			PG_RETURN_BOOL(!PG_ARGISNULL(ARG_ASSIGNEE) &&
						   base_uuid_equal(PG_GETARG_UUID_P(ARG_ASSIGNEE), &who->member));
		case VISIBLE_CLIENT:
			PG_RETURN_BOOL(!PG_ARGISNULL(ARG_CLIENT) &&
						   scope_has_client(who, PG_GETARG_UUID_P(ARG_CLIENT)));
		case VISIBLE_NOTHING:
			break;
	}
	PG_RETURN_BOOL(false);
}

/* ---- planning ---- */

/* OID of a function of schema immiiq by name and argument types, InvalidOid when absent. */
Oid
visible_function(const char *name, int nargs, const Oid *types)
{
	Oid schema = base_schema();
	oidvector *vector;

	if (!OidIsValid(schema))
		return InvalidOid;
	vector = buildoidvector(types, nargs);
	return GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum(name),
						   PointerGetDatum(vector), ObjectIdGetDatum(schema));
}

Oid
visible_function_oid(void)
{
	static const Oid types[ARGS] = {TEXTOID, TEXTOID, UUIDOID, UUIDOID, UUIDOID, UUIDOID, UUIDOID};

	return visible_function("visible", ARGS, types);
}

/* A call of name(shape); NULL when the function is absent. */
static Expr *
visible_shape_call(const char *name, Oid result, int shape)
{
	static const Oid types[1] = {TEXTOID};
	Oid funcid = visible_function(name, 1, types);

	if (!OidIsValid(funcid))
		return NULL;
	return (Expr *) makeFuncExpr(funcid, result,
								 list_make1(visible_text_const(visible_shape_name(shape))),
								 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
}

static Expr *
visible_equals(Node *column, Expr *value)
{
	Expr *clause;

	if (value == NULL)
		return NULL;
	clause = make_opclause(UUID_EQUAL_OPERATOR, BOOLOID, false, (Expr *) copyObject(column), value,
						   InvalidOid, InvalidOid);
	set_opfuncid((OpExpr *) clause);
	return clause;
}

static Expr *
visible_equals_any(Node *column, Expr *array)
{
	ScalarArrayOpExpr *clause;

	if (array == NULL)
		return NULL;
	clause = makeNode(ScalarArrayOpExpr);
	clause->opno = UUID_EQUAL_OPERATOR;
	clause->opfuncid = F_UUID_EQ;
	clause->useOr = true;
	clause->args = list_make2(copyObject(column), array);
	clause->location = -1;
	return (Expr *) clause;
}

static bool
visible_is_null_const(Node *node)
{
	return IsA(node, Const) && ((Const *) node)->constisnull;
}

/* True when a policy's module and command, both constants, are open to who is asking. */
static bool
visible_is_open(const ContextIdentity *who, Const *module, Const *command)
{
	if (who->actor == CONTEXT_PORTAL)
		return false; /* rare, and of few rows: their plans never stay for another identity */
	return visible_has_modules(who,
							   module->constisnull
								   ? 0
								   : visible_modules_from_text(DatumGetTextPP(module->constvalue)),
							   command->constisnull
								   ? VISIBLE_WRITES
								   : visible_command_from_text(DatumGetTextPP(command->constvalue)));
}

/* The quals of the current shape for one call of visible(), or NULL to leave it as it is. */
static Node *
visible_simplify(FuncExpr *call)
{
	static const Oid org_if_types[3] = {TEXTOID, TEXTOID, TEXTOID};
	static const Oid client_if_types[3] = {UUIDOID, UUIDOID, TEXTOID};
	Node *args[ARGS];
	int shape;
	ContextScope scope;
	VisibleRule rule;
	Oid org_if;
	List *clauses;
	Expr *rest = NULL;
	Oid client_if;
	int i = 0;
	ListCell *lc;
	const ContextIdentity *who;
	const pg_uuid_t *teams;

	if (list_length(call->args) != ARGS)
		return NULL;
	foreach (lc, call->args)
		args[i++] = lfirst(lc);
	if (!IsA(args[ARG_MODULE], Const) || !IsA(args[ARG_COMMAND], Const) ||
		visible_is_null_const(args[ARG_ORG]))
		return NULL;
	/* Arguments end up twice or not at all: nothing volatile, nothing dear. */
	for (i = ARG_ORG; i < ARGS; i++)
		if (!IsA(args[i], Var) && !IsA(args[i], Const) && !IsA(args[i], Param))
			return NULL;
	org_if = visible_function("org_if", 3, org_if_types);
	if (!OidIsValid(org_if))
		return NULL;

	who = visible_who();
	shape = who != NULL ? visible_shape(who) : visible_planned_shape;
	if (who == NULL || shape != visible_planned_shape ||
		!visible_is_open(who, (Const *) args[ARG_MODULE], (Const *) args[ARG_COMMAND]) ||
		(shape == POLICY_SHAPE_TEAM && scope_teams(who, &teams) == 0))
		visible_plans_go = true;
	if (shape == POLICY_SHAPE_EVERY)
		return (Node *) visible_shape_call("every_if", BOOLOID, shape);
	if (shape != POLICY_SHAPE_PORTAL && !visible_is_null_const(args[ARG_OFFICE]))
	{
		visible_office_plans = true;
		shape |= (who != NULL ? who->cross_office : visible_planned_crossing)
					 ? POLICY_SHAPE_CROSSING
					 : POLICY_SHAPE_OFFICES;
	}
	clauses = list_make1(
		visible_equals(args[ARG_ORG],
					   (Expr *) makeFuncExpr(org_if, UUIDOID,
											 list_make3(copyObject(args[ARG_MODULE]),
														copyObject(args[ARG_COMMAND]),
														visible_text_const(visible_shape_name(shape))),
											 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL)));
	if ((shape & POLICY_SHAPE_OFFICES) != 0)
		clauses = lappend(clauses,
						  visible_equals_any(args[ARG_OFFICE],
											 visible_shape_call("offices_if", UUIDARRAYOID, shape)));
	switch (shape & ~(POLICY_SHAPE_OFFICES | POLICY_SHAPE_CROSSING))
	{
		case POLICY_SHAPE_ALL:
			scope = CONTEXT_SCOPE_ALL;
			break;
		case POLICY_SHAPE_ASSIGNED:
			scope = CONTEXT_SCOPE_ASSIGNED;
			break;
		case POLICY_SHAPE_PORTAL:
			scope = CONTEXT_SCOPE_NONE;
			break;
		default:
			scope = CONTEXT_SCOPE_TEAM;
			break;
	}
	rule = visible_rule(scope, !visible_is_null_const(args[ARG_CLIENT]),
						!visible_is_null_const(args[ARG_TEAM]),
						!visible_is_null_const(args[ARG_ASSIGNEE]));
	if (shape == POLICY_SHAPE_PORTAL && !visible_is_null_const(args[ARG_CLIENT]))
		clauses = lappend(clauses,
						  visible_equals(args[ARG_CLIENT],
										 visible_shape_call("portal_client_if", UUIDOID, shape)));
	else
	{
		switch (rule)
		{
			case VISIBLE_ORG:
				break;
			case VISIBLE_TEAM:
				if ((shape & 0xf) == POLICY_SHAPE_TEAM)
					rest = visible_equals(args[ARG_TEAM],
										  visible_shape_call("team_if", UUIDOID, shape));
				else
					rest = visible_equals_any(args[ARG_TEAM],
											  visible_shape_call("teams_if", UUIDARRAYOID, shape));
				break;
			case VISIBLE_MEMBER:
				rest = visible_equals(args[ARG_ASSIGNEE],
									  visible_shape_call("member_if", UUIDOID, shape));
				break;
			case VISIBLE_CLIENT:
				client_if = visible_function("client_if", 3, client_if_types);
				if (OidIsValid(client_if))
					rest = (Expr *) makeFuncExpr(client_if, BOOLOID,
												 list_make3(copyObject(args[ARG_ORG]),
															copyObject(args[ARG_CLIENT]),
															visible_text_const(
																visible_shape_name(shape))),
												 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
				break;
			case VISIBLE_NOTHING:
				rest =
					visible_equals(args[ARG_ORG], visible_shape_call("nothing_if", UUIDOID, shape));
				break;
		}
		if (rule != VISIBLE_ORG)
			clauses = lappend(clauses, rest);
	}
	/* A helper that is not there, while the extension is made or dropped: left as it is. */
	if (list_member_ptr(clauses, NULL))
		return NULL;
	if (list_length(clauses) == 1)
		return linitial(clauses);
	return (Node *) makeBoolExpr(AND_EXPR, clauses, -1);
}

/* Planner support of immiiq.visible. */
PG_FUNCTION_INFO_V1(immiiq_visible_support);
Datum
immiiq_visible_support(PG_FUNCTION_ARGS)
{
	Node *request = (Node *) PG_GETARG_POINTER(0);

	if (IsA(request, SupportRequestSimplify))
	{
		SupportRequestSimplify *simplify = (SupportRequestSimplify *) request;

		/* Without a query being planned the result may be kept for others (index predicates, checks). */
		if (simplify->root == NULL)
			PG_RETURN_POINTER(NULL);
		PG_RETURN_POINTER(visible_simplify(simplify->fcall));
	}
	PG_RETURN_POINTER(NULL);
}

/* Distinct values of an expression, at least 1. */
static double
visible_distinct(PlannerInfo *root, Node *node, int varRelid)
{
	VariableStatData vardata;
	bool isdefault;
	double n;

	examine_variable(root, node, varRelid, &vardata);
	n = get_variable_numdistinct(&vardata, &isdefault);
	ReleaseVariableStats(vardata);
	return Max(n, 1.0);
}

/*
 * Planner support of immiiq.client_if: a set of moderate size is offered to
 * an index on the client as client_id = ANY(clients_if(shape)).
 */
PG_FUNCTION_INFO_V1(immiiq_client_support);
Datum
immiiq_client_support(PG_FUNCTION_ARGS)
{
	Node *request = (Node *) PG_GETARG_POINTER(0);
	const ContextIdentity *who = visible_who();

	if (who != NULL && who->scope != CONTEXT_SCOPE_TEAM && who->scope != CONTEXT_SCOPE_ASSIGNED)
		PG_RETURN_POINTER(NULL);
	if (IsA(request, SupportRequestIndexCondition))
	{
		SupportRequestIndexCondition *req = (SupportRequestIndexCondition *) request;
		FuncExpr *call = (FuncExpr *) req->node;
		Const *shape;
		Expr *clause;

		if (!IsA(call, FuncExpr) || req->indexarg != 1 || list_length(call->args) != 3 ||
			!op_in_opfamily(UUID_EQUAL_OPERATOR, req->opfamily))
			PG_RETURN_POINTER(NULL);
		shape = (Const *) lthird(call->args);
		if (!IsA(shape, Const) || shape->constisnull)
			PG_RETURN_POINTER(NULL);
		if (who != NULL && scope_client_count(who) > SCOPE_INDEXED_CLIENTS)
			PG_RETURN_POINTER(NULL);
		clause = visible_equals_any(lsecond(call->args),
									visible_shape_call("clients_if", UUIDARRAYOID,
													   visible_shape_from_text(
														   DatumGetTextPP(shape->constvalue))));
		if (clause == NULL)
			PG_RETURN_POINTER(NULL);
		/* Exact when the organisation is checked beside it, which the policy always does; recheck anyway. */
		req->lossy = true;
		PG_RETURN_POINTER(list_make1(clause));
	}
	if (IsA(request, SupportRequestSelectivity))
	{
		SupportRequestSelectivity *req = (SupportRequestSelectivity *) request;
		double clients;
		double orgs;
		double share;

		if (req->is_join || list_length(req->args) != 3)
			PG_RETURN_POINTER(NULL);
		/* The set lies within one organisation, whose share is counted by the equality beside it. */
		clients = visible_distinct(req->root, lsecond(req->args), req->varRelid);
		orgs = visible_distinct(req->root, linitial(req->args), req->varRelid);
		share = (who != NULL ? (double) scope_client_count(who) : 1.0) * orgs / clients;
		req->selectivity = Min(1.0, Max(share, 1.0e-10));
		PG_RETURN_POINTER(req);
	}
	PG_RETURN_POINTER(NULL);
}
