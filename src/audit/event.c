/*
 * Events by SQL: what immiiq's own functions record of things that are no
 * change of a row, and what the worker records of others.  Trusts its callers,
 * who are immiiq's functions and superusers; only the worker may say that it
 * was somebody else.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "audit/audit.h"
#include "audit/audit_internal.h"
#include "base/base.h"
#include "context/context.h"
#include "keyring/keyring.h"

/* ---- arguments ---- */

static const pg_uuid_t *
event_uuid(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : PG_GETARG_UUID_P(n);
}

static char *
event_text(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/* The kind of an event: lower-case words with hyphens between. */
static char *
event_kind(FunctionCallInfo fcinfo, int n)
{
	char *kind = event_text(fcinfo, n);
	bool ok = kind != NULL && strlen(kind) <= AUDIT_KIND_MAX && kind[0] >= 'a' && kind[0] <= 'z';

	for (const char *p = kind; ok && *p != '\0'; p++)
		ok = (*p >= 'a' && *p <= 'z') || (*p == '-' && p[1] >= 'a' && p[1] <= 'z');
	if (!ok)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("an event's kind must be lower-case words with hyphens between"),
						errdetail("It may have %d bytes.", AUDIT_KIND_MAX)));
	/* a drop excuses rows that are gone (verify_dropped.c) */
	if (strcmp(kind, AUDIT_DDL_KIND) == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("events of kind \"%s\" are recorded by the server alone", kind)));
	return kind;
}

static char *
event_value(const JsonbValue *value, uint8 *kind)
{
	*kind = CANONICAL_KIND_TEXT;
	switch (value->type)
	{
		case jbvNull:
			return NULL;
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			*kind = CANONICAL_KIND_NUMBER;
			return DatumGetCString(
				DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
		case jbvBool:
			*kind = CANONICAL_KIND_BOOLEAN;
			return pstrdup(value->val.boolean ? "t" : "f");
		case jbvBinary:
			*kind = CANONICAL_KIND_JSON;
			return JsonbToCString(NULL, value->val.binary.data, value->val.binary.len);
		default:
			elog(ERROR, "unexpected kind of json value");
	}
}

/* The members of an object as fields; spare places are left behind them. */
static AuditField *
event_fields(FunctionCallInfo fcinfo, int n, int spare, int *count)
{
	AuditField *fields;
	Jsonb *details;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue value;

	*count = 0;
	if (PG_ARGISNULL(n))
		return palloc(sizeof(AuditField) * Max(spare, 1));
	details = PG_GETARG_JSONB_P(n);
	if (!JB_ROOT_IS_OBJECT(details))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("an event's details must be a json object")));
	fields = palloc(sizeof(AuditField) * (JB_ROOT_COUNT(details) + spare + 1));
	it = JsonbIteratorInit(&details->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			fields[*count].name = pnstrdup(value.val.string.val, value.val.string.len);
			if (fields[*count].name[0] == '\0' ||
				strcmp(fields[*count].name, AUDIT_EVENT_OBJECT) == 0)
				ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
								errmsg("an event's details cannot have this name")));
		}
		else if (token == WJB_VALUE)
		{
			fields[*count].value = event_value(&value, &fields[*count].kind);
			(*count)++;
		}
	}
	return fields;
}

/* ---- SQL ---- */

PG_FUNCTION_INFO_V1(immiiq_record_event);

/*
 * immiiq.record_event(kind text, org uuid, client uuid, object text, details
 * jsonb) → void: records in the log that whoever is active did this.  Org NULL:
 * the installation's log.  Errors: IQ002, IQ003 when the keys cannot be had;
 * 22023 for a kind or details that are not as they must be; 25006 in a
 * read-only transaction.
 */
Datum
immiiq_record_event(PG_FUNCTION_ARGS)
{
	AuditEvent event;

	memset(&event, 0, sizeof(event));
	event.kind = event_kind(fcinfo, 0);
	event.org = event_uuid(fcinfo, 1);
	event.client = event_uuid(fcinfo, 2);
	event.object = event_text(fcinfo, 3);
	event.fields = event_fields(fcinfo, 4, 0, &event.nfields);
	if (event.org == NULL && event.client != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a client's event needs its organisation")));
	audit_event(&event);
	PG_RETURN_VOID();
}

/* True in a process of this library: the worker. */
static bool
event_in_worker(void)
{
	return MyBackendType == B_BG_WORKER && MyBgworkerEntry != NULL &&
		   strcmp(MyBgworkerEntry->bgw_library_name, "immiiq") == 0;
}

/* The number of an actor by its name; that of nobody for another name. */
static uint8
event_actor(const char *name)
{
	for (int actor = CONTEXT_MEMBER; name != NULL && actor <= CONTEXT_OPERATOR; actor++)
	{
		if (strcmp(name, context_actor_name((ContextActor) actor)) == 0)
			return (uint8) actor;
	}
	return AUDIT_ACTOR_DATABASE;
}

/* Arguments of record_event_of, in order. */
enum
{
	OF_KIND,
	OF_ORG,
	OF_CLIENT,
	OF_OBJECT,
	OF_DETAILS,
	OF_AT,
	OF_ACTOR,
	OF_MEMBER,
	OF_SESSION,
	OF_ROLE,
	OF_ADDRESS,
	OF_AGENT,
	OF_APPLICATION
};

static void
event_set_text(const char **text, uint32 *len, char *value)
{
	*text = value != NULL && value[0] != '\0' ? value : NULL;
	*len = *text != NULL ? strlen(value) : 0;
}

PG_FUNCTION_INFO_V1(immiiq_record_event_of);

/*
 * immiiq.record_event_of(…, at, actor, member, session, role, ip, agent,
 * application) → boolean: the same of something that somebody else did, for the
 * worker's triggers.  Anywhere else it records who really calls; a restore
 * records nothing.  An event of an organisation without keys goes to the
 * installation's log.  False when that has none either.
 */
Datum
immiiq_record_event_of(PG_FUNCTION_ARGS)
{
	AuditEvent event;
	AuditField *fields;
	CanonicalWho who;
	CanonicalOrigin origin;
	uint8 address[CANONICAL_TAG_BYTES];
	char *role;

	if (ActivePortal != NULL && ActivePortal->commandTag == CMDTAG_COPY && superuser())
		PG_RETURN_BOOL(false);
	memset(&event, 0, sizeof(event));
	memset(&who, 0, sizeof(who));
	memset(&origin, 0, sizeof(origin));
	event.kind = event_kind(fcinfo, OF_KIND);
	event.org = event_uuid(fcinfo, OF_ORG);
	event.client = event_uuid(fcinfo, OF_CLIENT);
	event.object = event_text(fcinfo, OF_OBJECT);
	fields = event_fields(fcinfo, OF_DETAILS, 1, &event.nfields);
	event.fields = fields;
	if (event.org != NULL && !keyring_can_log(event.org))
	{
		fields[event.nfields].name = "org_id";
		fields[event.nfields].value =
			DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(event.org)));
		fields[event.nfields++].kind = CANONICAL_KIND_TEXT;
		event.org = NULL;
	}
	if (event.org == NULL)
	{
		event.org = &keyring_installation_org;
		event.client = NULL;
		if (!keyring_can_log(event.org))
			PG_RETURN_BOOL(false);
	}
	if (event_in_worker())
	{
		event.at = PG_ARGISNULL(OF_AT) ? 0 : PG_GETARG_TIMESTAMPTZ(OF_AT);
		who.actor = event_actor(event_text(fcinfo, OF_ACTOR));
		who.member = PG_ARGISNULL(OF_MEMBER) ? NULL : PG_GETARG_UUID_P(OF_MEMBER)->data;
		who.session = PG_ARGISNULL(OF_SESSION) ? NULL : PG_GETARG_UUID_P(OF_SESSION)->data;
		role = event_text(fcinfo, OF_ROLE);
		who.role = role != NULL && role[0] != '\0' ? role : "?";
		who.role_len = strlen(who.role);
		event_set_text(&origin.address, &origin.address_len, event_text(fcinfo, OF_ADDRESS));
		event_set_text(&origin.agent, &origin.agent_len, event_text(fcinfo, OF_AGENT));
		event_set_text(&origin.application, &origin.application_len,
					   event_text(fcinfo, OF_APPLICATION));
		if (origin.address != NULL)
		{
			audit_tag(event.org, AUDIT_TAG_ADDRESS, origin.address, origin.address_len, address);
			who.address = address;
		}
		event.who = &who;
		event.origin = &origin;
	}
	audit_event(&event);
	PG_RETURN_BOOL(true);
}
