/*
 * The SQL functions that say who is asking.  Trusts the privileges that
 * 40_context.sql gives; refuses an operator's way in that is not written down
 * first, and an assistant without the module.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inet.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/base.h"
#include "context/context_internal.h"
#include "journal/journal.h"

PG_FUNCTION_INFO_V1(immiiq_authenticate);
PG_FUNCTION_INFO_V1(immiiq_operate);
PG_FUNCTION_INFO_V1(immiiq_operate_all);
PG_FUNCTION_INFO_V1(immiiq_act_as_assistant);
PG_FUNCTION_INFO_V1(immiiq_issue_session);
PG_FUNCTION_INFO_V1(immiiq_current_org);
PG_FUNCTION_INFO_V1(immiiq_current_member);
PG_FUNCTION_INFO_V1(immiiq_current_actor);

/* The active identity as a row of immiiq.identity. */
static Datum
context_identity_row(FunctionCallInfo fcinfo)
{
	const ContextIdentity *identity = context_require();
	TupleDesc desc;
	Datum values[7];
	bool nulls[7] = {false};
	Datum names[32];
	int n = 0;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE || desc->natts != 7)
		elog(ERROR, "immiiq.identity is not as the extension made it");
	for (int i = 0; i < 32; i++)
		if (identity->modules & ((uint32) 1 << i))
			names[n++] = CStringGetTextDatum(context_module_name((uint32) 1 << i));
	values[0] = UUIDPGetDatum(&identity->org);
	nulls[0] = identity->every_org;
	values[1] = UUIDPGetDatum(&identity->member);
	nulls[1] = base_uuid_is_nil(&identity->member);
	values[2] = UUIDPGetDatum(&identity->session);
	nulls[2] = base_uuid_is_nil(&identity->session);
	values[3] = CStringGetTextDatum(context_actor_name(identity->actor));
	values[4] = CStringGetTextDatum(context_scope_name(identity->scope));
	values[5] = PointerGetDatum(construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT));
	values[6] = TimestampTzGetDatum(identity->expires_at);
	nulls[6] = identity->expires_at == DT_NOEND;
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/*
 * immiiq.authenticate(token text, ip inet, user_agent text) → immiiq.identity
 * Sets immiiq.client_ip, immiiq.user_agent (unless null) and immiiq.token for
 * this transaction.  Errors: IQ010, IQ012, IQ013, IQ001.
 */
Datum
immiiq_authenticate(PG_FUNCTION_ARGS)
{
	char *token;

	base_require_preload();
	if (!PG_ARGISNULL(1))
	{
		/* host(ip): the address without its netmask */
		Datum host = DirectFunctionCall1(network_host, PG_GETARG_DATUM(1));

		context_set_local("immiiq.client_ip", TextDatumGetCString(host));
	}
	if (!PG_ARGISNULL(2))
		context_set_local("immiiq.user_agent", text_to_cstring(PG_GETARG_TEXT_PP(2)));
	token = PG_ARGISNULL(0) ? pstrdup("") : text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (*token == '\0')
		token = pstrdup("-"); /* an empty setting means nobody; an empty token is refused */
	context_set_local("immiiq.token", token);
	crypto_wipe(token, strlen(token));
	PG_RETURN_DATUM(context_identity_row(fcinfo));
}

/* Text of an argument, trimmed; ERROR when nothing is left or it is too long to be recorded whole. */
static char *
context_text_argument(text *arg, const char *what, size_t limit)
{
	char *s = text_to_cstring(arg);
	char *end;

	while (*s && isspace((unsigned char) *s))
		s++;
	end = s + strlen(s);
	while (end > s && isspace((unsigned char) end[-1]))
		*--end = '\0';
	if (*s == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s must not be empty", what)));
	if (end - s >= limit)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s is too long", what),
						errdetail("It may have %zu bytes.", limit - 1)));
	return s;
}

/* Writes an operator's way in down, and returns when the worker has committed it. */
static void
context_record_operate(const char *action, const pg_uuid_t *org, const char *reason)
{
	journal_record(JOURNAL_OPERATE, action, "", reason, 0, org);
	if (journal_flush(true))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_IMMIIQ_JOURNAL), errmsg("the journal did not acknowledge in time"),
			 errhint("See immiiq.doctor() for the state of the worker, and try again.")));
}

/* ERROR where an operator's way in cannot be written down first, or somebody else was first in this transaction. */
static void
context_check_operate(const pg_uuid_t *org, bool every_org)
{
	const ContextIdentity *first = context_first();

	base_require_preload();
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION), errmsg("cannot operate on a standby"),
				 errhint("The way in must be written down first: use the primary.")));
	if (!every_org && !session_org_exists(org))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("organisation does not exist")));
	if (first != NULL && (first->actor != CONTEXT_OPERATOR || first->every_org != every_org ||
						  !base_uuid_equal(&first->org, org)))
		ereport(ERROR, (errcode(ERRCODE_IMMIIQ_SECOND_IDENTITY),
						errmsg("another identity was first in this transaction"),
						errhint("End the transaction before acting for somebody else.")));
}

/* An operator's identity, still without organisation. */
static void
context_make_operator(ContextIdentity *identity)
{
	memset(identity, 0, sizeof(*identity));
	identity->actor = CONTEXT_OPERATOR;
	identity->scope = CONTEXT_SCOPE_ALL;
	identity->modules = CONTEXT_MODULE_EVERY;
	identity->cross_office = true;
	identity->expires_at = DT_NOEND;
	strlcpy(identity->operator_role, GetUserNameFromId(GetSessionUserId(), false), NAMEDATALEN);
}

/*
 * immiiq.operate(org uuid, reason text) → immiiq.identity
 * Makes the caller an operator inside one organisation until the transaction
 * ends; written down by the worker before it takes effect.  Errors: 22023 (no
 * reason, unknown organisation), 25006 (standby), IQ012, IQ041, IQ001.
 */
Datum
immiiq_operate(PG_FUNCTION_ARGS)
{
	pg_uuid_t *org = PG_GETARG_UUID_P(0);
	char *reason = context_text_argument(PG_GETARG_TEXT_PP(1), "reason", JOURNAL_REASON_MAX);
	ContextIdentity identity;

	context_check_operate(org, false);
	context_make_operator(&identity);
	identity.org = *org;
	context_record_operate("operate", org, reason);
	context_enter(&identity);
	PG_RETURN_DATUM(context_identity_row(fcinfo));
}

/*
 * immiiq.operate_all(reason text) → immiiq.identity
 * The same for every organisation at once, for migrations by the tables' owner:
 * there is no current organisation, and sealed values stay sealed.  Errors: as
 * operate.
 */
Datum
immiiq_operate_all(PG_FUNCTION_ARGS)
{
	static const pg_uuid_t nil = {{0}};
	char *reason = context_text_argument(PG_GETARG_TEXT_PP(0), "reason", JOURNAL_REASON_MAX);
	ContextIdentity identity;

	context_check_operate(&nil, true);
	context_make_operator(&identity);
	identity.every_org = true;
	context_record_operate("operate_all", NULL, reason);
	context_enter(&identity);
	PG_RETURN_DATUM(context_identity_row(fcinfo));
}

/*
 * immiiq.act_as_assistant(tool text) → immiiq.identity
 * Narrows the active member to the assistant for the rest of the transaction.
 * Errors: IQ011, 42501 (module ai off, or not a member), 22023.
 */
Datum
immiiq_act_as_assistant(PG_FUNCTION_ARGS)
{
	char *tool = context_text_argument(PG_GETARG_TEXT_PP(0), "tool", NAMEDATALEN);
	const ContextIdentity *identity = context_require();

	for (char *c = tool; *c; c++)
		if (!isalnum((unsigned char) *c) && strchr("_.:/-", *c) == NULL)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("tool has a character that names of tools cannot have"),
							errdetail("Letters and digits of ASCII, and _ . : / - are possible.")));
	if ((identity->actor != CONTEXT_MEMBER && identity->actor != CONTEXT_ASSISTANT) ||
		(identity->modules & CONTEXT_MODULE_AI) == 0)
	{
		journal_record(JOURNAL_DENIAL, "assistant", tool,
					   identity->modules & CONTEXT_MODULE_AI ? "not a member" : "module ai is off",
					   ERRCODE_INSUFFICIENT_PRIVILEGE, NULL);
		(void) journal_flush(true);
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("cannot act as the assistant"),
				 errhint("Only a member with the module ai can.")));
	}
	context_narrow(tool);
	journal_record(JOURNAL_ASSISTANT, "assistant", tool, "", 0, NULL);
	(void) journal_flush(false);
	PG_RETURN_DATUM(context_identity_row(fcinfo));
}

/*
 * immiiq.issue_session(member uuid) → text
 * A token of a new session of the member, flagged as impersonation; lasts
 * immiiq.session_ttl.  After operate, only a member of that organisation.
 * Runs as the extension's owner.  Errors: 22023, IQ001.
 */
Datum
immiiq_issue_session(PG_FUNCTION_ARGS)
{
	static const char *const find =
		"SELECT m.org_id FROM immiiq.member m JOIN immiiq.org o "
		"ON o.org_id OPERATOR(pg_catalog.=) m.org_id "
		"WHERE m.member_id OPERATOR(pg_catalog.=) $1 AND m.active AND o.active "
		"AND ($2 IS NULL OR m.org_id OPERATOR(pg_catalog.=) $2)";
	static const char *const insert =
		"INSERT INTO immiiq.session (org_id, member_id, token_hash, impersonated, issued_at, expires_at) "
		"VALUES ($1, $2, $3, true, $4, $5)";
	Oid find_types[2] = {UUIDOID, UUIDOID};
	Oid insert_types[5] = {UUIDOID, UUIDOID, BYTEAOID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum args[5];
	pg_uuid_t org;
	char token[TOKEN_LEN + 1];
	bytea *hash = palloc(VARHDRSZ + CRYPTO_HASH_BYTES);
	TimestampTz now = GetCurrentTimestamp();
	const ContextIdentity *who = context_current();
	bool operating = who != NULL && who->actor == CONTEXT_OPERATOR;
	char *uuid_text = DatumGetCString(DirectFunctionCall1(uuid_out, PG_GETARG_DATUM(0)));
	bool isnull;
	text *result;

	base_require_preload();
	SET_VARSIZE(hash, VARHDRSZ + CRYPTO_HASH_BYTES);
	SPI_connect();
	args[0] = PG_GETARG_DATUM(0);
	if (operating)
		args[1] = UUIDPGetDatum(&who->org);
	if (SPI_execute_with_args(find, 2, find_types, args, operating ? NULL : " n", true, 2) !=
		SPI_OK_SELECT)
		elog(ERROR, "could not read immiiq.member");
	if (SPI_processed != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("no active member with this id")));
	org = *DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));

	if (!token_make(TOKEN_SESSION, token) ||
		!token_hash(TOKEN_KINDS, token, TOKEN_LEN, (uint8_t *) VARDATA(hash)))
		elog(ERROR, "could not make a token");
	args[0] = UUIDPGetDatum(&org);
	args[1] = PG_GETARG_DATUM(0);
	args[2] = PointerGetDatum(hash);
	args[3] = TimestampTzGetDatum(now);
	args[4] = TimestampTzGetDatum(now + (TimestampTz) context_session_ttl * USECS_PER_SEC);
	if (SPI_execute_with_args(insert, 5, insert_types, args, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not write immiiq.session");
	SPI_finish();

	journal_record(JOURNAL_IMPERSONATE, "issue_session", uuid_text, "", 0, &org);
	(void) journal_flush(false);
	result = cstring_to_text_with_len(token, TOKEN_LEN);
	crypto_wipe(token, sizeof(token));
	PG_RETURN_TEXT_P(result);
}

/* immiiq.current_org() → uuid: the active organisation, null when nobody is active. */
Datum
immiiq_current_org(PG_FUNCTION_ARGS)
{
	const ContextIdentity *identity = context_current();
	pg_uuid_t *org;

	if (identity == NULL || identity->every_org)
		PG_RETURN_NULL();
	org = palloc(sizeof(pg_uuid_t));
	*org = identity->org;
	PG_RETURN_UUID_P(org);
}

/* immiiq.current_member() → uuid: the active member, null for operators and when nobody is active. */
Datum
immiiq_current_member(PG_FUNCTION_ARGS)
{
	const ContextIdentity *identity = context_current();
	pg_uuid_t *member;

	if (identity == NULL || base_uuid_is_nil(&identity->member))
		PG_RETURN_NULL();
	member = palloc(sizeof(pg_uuid_t));
	*member = identity->member;
	PG_RETURN_UUID_P(member);
}

/* immiiq.current_actor() → text: 'member', 'assistant', 'portal', 'operator', null when nobody is active. */
Datum
immiiq_current_actor(PG_FUNCTION_ARGS)
{
	const ContextIdentity *identity = context_current();

	if (identity == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(context_actor_name(identity->actor)));
}
