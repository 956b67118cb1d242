/*
 * What the views of the log show: the fields of an entry's body, and its image
 * for whom the context allows.  Trusts nothing in a body: what does not parse
 * or does not open is shown as NULL, never as an error.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "common/jsonapi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/supportnodes.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "audit/audit_internal.h"
#include "audit/canonical.h"
#include "audit/commit.h"
#include "base/base.h"
#include "context/context.h"
#include "crypto/crypto.h"
#include "keyring/keyring.h"

/* Columns of immiiq.entry_fields, in order. */
enum
{
	FIELD_ACTOR,
	FIELD_MEMBER,
	FIELD_SESSION,
	FIELD_ROLE,
	FIELD_TOOL,
	FIELD_IMPERSONATED,
	FIELD_ADDRESS,
	FIELD_AGENT,
	FIELD_APPLICATION,
	FIELD_SCHEMA,
	FIELD_TABLE,
	FIELD_OPERATION,
	FIELD_KEY,
	FIELD_OLD,
	FIELD_NEW,
	FIELD_COUNT
};

/* True when whoever is active may read the whole log of their organisation. */
static bool
view_identity_reads(const ContextIdentity *identity)
{
	switch (identity->actor)
	{
		case CONTEXT_OPERATOR:
			return true;
		case CONTEXT_MEMBER:
		case CONTEXT_ASSISTANT:
			return identity->scope == CONTEXT_SCOPE_ALL &&
				   (identity->modules & CONTEXT_MODULE_REPORTS) != 0;
		default:
			return false;
	}
}

static const char *
view_actor_name(uint8 actor)
{
	switch (actor)
	{
		case AUDIT_ACTOR_DATABASE:
			return "database";
		case AUDIT_ACTOR_REPLICATION:
			return "replication";
		case AUDIT_ACTOR_RESTORE:
			return "restore";
		case CONTEXT_MEMBER:
		case CONTEXT_ASSISTANT:
		case CONTEXT_PORTAL:
		case CONTEXT_OPERATOR:
			return context_actor_name((ContextActor) actor);
		default:
			return NULL;
	}
}

void
audit_sealed_label(uint8 tag, uint8 label[CANONICAL_LABEL_BYTES])
{
	const char *text = tag == CANONICAL_F_ORIGIN   ? CANONICAL_LABEL_ORIGIN
					   : tag == CANONICAL_F_FORMER ? CANONICAL_LABEL_FORMER
												   : CANONICAL_LABEL_IMAGE;

	memset(label, 0, CANONICAL_LABEL_BYTES);
	memcpy(label, text, strlen(text));
}

uint8 *
audit_open_sealed(const uint8 *body, const CanonicalEntry *entry, uint8 tag, CryptoXaes *key,
				  size_t *len)
{
	const uint8 *sealed = tag == CANONICAL_F_ORIGIN	  ? entry->origin
						  : tag == CANONICAL_F_FORMER ? entry->former
													  : entry->image;
	uint32 sealed_len = tag == CANONICAL_F_ORIGIN	? entry->origin_len
						: tag == CANONICAL_F_FORMER ? entry->former_len
													: entry->image_len;
	uint8 *aad = palloc(CANONICAL_LABEL_BYTES + entry->clear_len);
	uint8 *plain = palloc(sealed_len);
	uint8 nonce[CRYPTO_NONCE_BYTES];
	bool ok;

	audit_sealed_label(tag, aad);
	memcpy(aad + CANONICAL_LABEL_BYTES, body, entry->clear_len);
	commit_seal_nonce(entry, tag, nonce);
	ok = crypto_xaes_open(key, nonce, aad, CANONICAL_LABEL_BYTES + entry->clear_len, sealed,
						  sealed_len, plain);
	pfree(aad);
	if (!ok)
	{
		pfree(plain);
		return NULL;
	}
	*len = sealed_len - CANONICAL_SEAL_BYTES;
	return plain;
}

uint8 *
audit_open_image(const uint8 *body, const CanonicalEntry *entry, bool former, size_t *len,
				 const uint8 **salt)
{
	pg_uuid_t org;
	uint32 key_id = former ? entry->former_key_id : entry->key_id;
	const uint8 *ignored;
	CryptoXaes *key;
	uint8 *packed;

	memcpy(org.data, entry->org, UUID_LEN);
	key = keyring_find_image_key(&org, key_id, salt != NULL ? salt : &ignored);
	if (key == NULL)
		return former || salt != NULL ? NULL : audit_open_kept(body, entry, &org, len);
	packed =
		audit_open_sealed(body, entry, former ? CANONICAL_F_FORMER : CANONICAL_F_IMAGE, key, len);
	return packed != NULL ? audit_unpack_image(entry, packed, len) : NULL;
}

/* ---- columns as jsonb ---- */

/* Which columns of an image are wanted. */
typedef enum ViewPart
{
	VIEW_NEW,
	VIEW_OLD,
	VIEW_KEY /* key columns of the new image, or of the old one where there is no new one */
} ViewPart;

static void
view_put_column(StringInfo json, const CanonicalColumn *column)
{
	char *text;
	int kind = (column->flags >> CANONICAL_C_KIND_SHIFT) & 3;

	text = pnstrdup(column->name, column->name_len);
	if (json->len > 1)
		appendStringInfoChar(json, ',');
	escape_json(json, text);
	appendStringInfoChar(json, ':');
	pfree(text);
	if (column->value == NULL)
	{
		appendStringInfoString(json, "null");
		return;
	}
	if (kind == CANONICAL_KIND_JSON ||
		(kind == CANONICAL_KIND_NUMBER && IsValidJsonNumber(column->value, column->value_len)))
	{
		appendBinaryStringInfo(json, column->value, column->value_len);
		return;
	}
	if (kind == CANONICAL_KIND_BOOLEAN && column->value_len == 1)
	{
		appendStringInfoString(json, column->value[0] == 't' ? "true" : "false");
		return;
	}
	text = pnstrdup(column->value, column->value_len);
	escape_json(json, text);
	crypto_wipe(text, column->value_len);
	pfree(text);
}

/* One part of a whole image as jsonb; false when it has no column. */
static bool
view_image_part(const uint8 *image, size_t len, ViewPart part, Datum *out)
{
	StringInfoData json;
	size_t pos = 0;
	ViewPart key_part = VIEW_NEW;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	for (int which = VIEW_NEW; which <= VIEW_OLD; which++)
	{
		uint32 count;

		if (!canonical_get_length(image, len, &pos, &count))
			return false;
		if (which == VIEW_NEW && count == 0)
			key_part = VIEW_OLD;
		while (count-- > 0)
		{
			CanonicalColumn column;

			if (!canonical_get_column(image, len, &pos, &column))
				return false;
			if (part == VIEW_KEY ? which == (int) key_part && (column.flags & CANONICAL_C_KEY) != 0
								 : which == (int) part)
				view_put_column(&json, &column);
		}
	}
	appendStringInfoChar(&json, '}');
	if (json.len > 2)
		*out = DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
	crypto_wipe(json.data, json.len);
	return json.len > 2;
}

/* ---- SQL ---- */

static Datum
view_bytea(const void *data, size_t len)
{
	bytea *b = palloc(VARHDRSZ + len);

	SET_VARSIZE(b, VARHDRSZ + len);
	memcpy(VARDATA(b), data, len);
	return PointerGetDatum(b);
}

static void
view_set_text(Datum *values, bool *nulls, int field, const char *text, uint32 len)
{
	if (text == NULL)
		return;
	values[field] = PointerGetDatum(cstring_to_text_with_len(text, len));
	nulls[field] = false;
}

static void
view_set_uuid(Datum *values, bool *nulls, int field, const uint8 *bytes)
{
	pg_uuid_t *uuid;

	if (bytes == NULL)
		return;
	uuid = palloc(sizeof(pg_uuid_t));
	memcpy(uuid->data, bytes, UUID_LEN);
	values[field] = UUIDPGetDatum(uuid);
	nulls[field] = false;
}

/* Fields of who wrote; context is the body of the entry that says so. */
static void
view_set_who(Datum *values, bool *nulls, const uint8 *body, const CanonicalEntry *entry, bool opens)
{
	CanonicalWho who;
	const char *actor;

	if (entry->who == NULL || !canonical_parse_who(entry->who, entry->who_len, &who))
		return;
	actor = view_actor_name(who.actor);
	if (actor != NULL)
		view_set_text(values, nulls, FIELD_ACTOR, actor, strlen(actor));
	view_set_uuid(values, nulls, FIELD_MEMBER, who.member);
	view_set_uuid(values, nulls, FIELD_SESSION, who.session);
	view_set_text(values, nulls, FIELD_ROLE, who.role, who.role_len);
	view_set_text(values, nulls, FIELD_TOOL, who.tool, who.tool_len);
	values[FIELD_IMPERSONATED] = BoolGetDatum(who.impersonated);
	nulls[FIELD_IMPERSONATED] = false;
	if (opens)
	{
		pg_uuid_t org;
		uint32 key_id = 0;
		const uint8 *salt;
		CanonicalOrigin origin;
		uint8 *plain;
		size_t len;

		memcpy(org.data, entry->org, UUID_LEN);
		plain = audit_open_sealed(body, entry, CANONICAL_F_ORIGIN,
								  keyring_image_key(&org, NULL, &key_id, &salt), &len);
		if (plain != NULL && canonical_parse_origin(plain, len, &origin))
		{
			view_set_text(values, nulls, FIELD_ADDRESS, origin.address, origin.address_len);
			view_set_text(values, nulls, FIELD_AGENT, origin.agent, origin.agent_len);
			view_set_text(values, nulls, FIELD_APPLICATION, origin.application,
						  origin.application_len);
		}
	}
}

/* Opens a part of the image; NULL when its key is gone (the client was erased) or it does not hold together. */
static uint8 *
view_open_image(const uint8 *body, const CanonicalEntry *entry, bool former, size_t *len)
{
	uint8 *plain = audit_open_image(body, entry, former, len, NULL);

	if (plain != NULL && !canonical_check_image(plain, *len))
		return NULL;
	return plain;
}

static void
view_set_image(Datum *values, bool *nulls, const uint8 *body, const CanonicalEntry *entry)
{
	uint8 *plain;
	size_t len;

	plain = view_open_image(body, entry, false, &len);
	if (plain != NULL)
	{
		nulls[FIELD_KEY] = !view_image_part(plain, len, VIEW_KEY, &values[FIELD_KEY]);
		nulls[FIELD_OLD] = !view_image_part(plain, len, VIEW_OLD, &values[FIELD_OLD]);
		nulls[FIELD_NEW] = !view_image_part(plain, len, VIEW_NEW, &values[FIELD_NEW]);
		crypto_wipe(plain, len);
		pfree(plain);
	}
	if (entry->former != NULL && (plain = view_open_image(body, entry, true, &len)) != NULL)
	{
		nulls[FIELD_OLD] = !view_image_part(plain, len, VIEW_OLD, &values[FIELD_OLD]);
		crypto_wipe(plain, len);
		pfree(plain);
	}
}

static bool view_sees_all(void);

/* True when images of this organisation's log may be opened for the caller; the installation's is for auditors. */
static bool
view_opens(const ContextIdentity *identity, const uint8 *org)
{
	if (identity == NULL)
		return memcmp(org, keyring_installation_org.data, UUID_LEN) == 0 && view_sees_all() &&
			   keyring_can_log(&keyring_installation_org);
	return view_identity_reads(identity) && memcmp(identity->org.data, org, UUID_LEN) == 0;
}

PG_FUNCTION_INFO_V1(immiiq_entry_fields);

/*
 * immiiq.entry_fields(body bytea, context bytea): what a body says, and who its
 * context entry says it was (the same body where it says so itself).  Key and
 * images, address, agent and application are NULL unless the active identity
 * may read the log of the organisation that the body names.  Everything is NULL
 * for bytes that are not an entry.  Errors: IQ002 and IQ003 when the audit key
 * cannot be had.
 */
Datum
immiiq_entry_fields(PG_FUNCTION_ARGS)
{
	static const char *const operations[] = {"insert", "update", "delete", "event"};
	Datum values[FIELD_COUNT] = {0};
	bool nulls[FIELD_COUNT];
	TupleDesc desc;
	const ContextIdentity *identity;
	CanonicalEntry entry;
	CanonicalEntry context;
	bytea *body;
	bool opens = false;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	memset(nulls, true, sizeof(nulls));
	if (PG_ARGISNULL(0))
		goto done;
	body = PG_GETARG_BYTEA_PP(0);
	if (!canonical_parse_entry((uint8 *) VARDATA_ANY(body), VARSIZE_ANY_EXHDR(body), &entry))
		goto done;
	identity = context_current();
	opens = view_opens(identity, entry.org);
	view_set_text(values, nulls, FIELD_SCHEMA, entry.schema, entry.schema_len);
	view_set_text(values, nulls, FIELD_TABLE, entry.table, entry.table_len);
	view_set_text(values, nulls, FIELD_OPERATION, operations[entry.operation - 1],
				  strlen(operations[entry.operation - 1]));
	if (opens)
		view_set_image(values, nulls, (uint8 *) VARDATA_ANY(body), &entry);
	if (!PG_ARGISNULL(1))
	{
		bytea *other = PG_GETARG_BYTEA_PP(1);

		if (canonical_parse_entry((uint8 *) VARDATA_ANY(other), VARSIZE_ANY_EXHDR(other), &context) &&
			memcmp(context.org, entry.org, UUID_LEN) == 0)
			view_set_who(values, nulls, (uint8 *) VARDATA_ANY(other), &context, opens);
	}
done:
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

PG_FUNCTION_INFO_V1(immiiq_audit_org);

/* immiiq.audit_org(): the organisation whose log the active identity may read, or NULL. */
Datum
immiiq_audit_org(PG_FUNCTION_ARGS)
{
	const ContextIdentity *identity = context_current();
	pg_uuid_t *org;

	if (identity == NULL || !view_identity_reads(identity))
		PG_RETURN_NULL();
	org = palloc(sizeof(pg_uuid_t));
	*org = identity->org;
	PG_RETURN_UUID_P(org);
}

/* ---- what the log is searched by ---- */

static char *
view_key_text(void *arg, const char *column)
{
	JsonbValue *found =
		getKeyJsonValueFromContainer(&((Jsonb *) arg)->root, column, (int) strlen(column), NULL);

	if (found == NULL)
		return NULL;
	switch (found->type)
	{
		case jbvString:
			return pnstrdup(found->val.string.val, found->val.string.len);
		case jbvNumeric:
			return DatumGetCString(
				DirectFunctionCall1(numeric_out, NumericGetDatum(found->val.numeric)));
		case jbvBool:
			return pstrdup(found->val.boolean ? "true" : "false");
		default:
			return NULL;
	}
}

PG_FUNCTION_INFO_V1(immiiq_row_tag);

/*
 * immiiq.row_tag(target regclass, key jsonb): what audit_log has as row_tag for
 * the row of the active organisation with this key, an object of its columns.
 * NULL for whom may not read the log, for a table that is not captured, and
 * where a column is missing.  Errors: those of the columns' input functions.
 */
Datum
immiiq_row_tag(PG_FUNCTION_ARGS)
{
	Jsonb *key = PG_GETARG_JSONB_P(1);
	const ContextIdentity *identity = context_current();
	Relation rel;
	uint64 tag = 0;
	bool named;

	if (identity == NULL || !view_identity_reads(identity) || !JB_ROOT_IS_OBJECT(key))
		PG_RETURN_NULL();
	rel = try_relation_open(PG_GETARG_OID(0), AccessShareLock);
	if (rel == NULL)
		PG_RETURN_NULL();
	named = audit_row_tag(rel, &identity->org, view_key_text, key, &tag);
	relation_close(rel, AccessShareLock);
	if (!named)
		PG_RETURN_NULL();
	PG_RETURN_INT64((int64) tag);
}

PG_FUNCTION_INFO_V1(immiiq_address_tag);

/*
 * immiiq.address_tag(address text): what audit_log has as address_tag for
 * entries of the active organisation from this address, written as in client_ip.
 * NULL for whom may not read the log.
 */
Datum
immiiq_address_tag(PG_FUNCTION_ARGS)
{
	const ContextIdentity *identity = context_current();
	text *address = PG_GETARG_TEXT_PP(0);
	uint8 tag[CANONICAL_TAG_BYTES];

	if (identity == NULL || !view_identity_reads(identity))
		PG_RETURN_NULL();
	audit_tag(&identity->org, AUDIT_TAG_ADDRESS, VARDATA_ANY(address), VARSIZE_ANY_EXHDR(address),
			  tag);
	PG_RETURN_INT64((int64) canonical_u64(tag));
}

/* OID of immiiq.verify_audit(uuid, text, boolean, int4, boolean). */
static Oid
view_verify_function(void)
{
	Oid argtypes[5] = {UUIDOID, TEXTOID, BOOLOID, INT4OID, BOOLOID};

	return GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum("verify_audit"),
						   PointerGetDatum(buildoidvector(argtypes, 5)),
						   ObjectIdGetDatum(base_schema()));
}

/* Whether nobody is active and the role may verify the log. */
static bool
view_sees_all(void)
{
	Oid verify;

	if (context_current() != NULL)
		return false;
	verify = view_verify_function();
	return OidIsValid(verify) && object_aclcheck(ProcedureRelationId, verify, GetOuterUserId(),
												 ACL_EXECUTE) == ACLCHECK_OK;
}

PG_FUNCTION_INFO_V1(immiiq_audit_all);

/*
 * immiiq.audit_all(): true when nobody is active and the current role may
 * verify the log: an auditor or a superuser, who sees every organisation's
 * entries without their images.
 */
Datum
immiiq_audit_all(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(view_sees_all());
}

PG_FUNCTION_INFO_V1(immiiq_audit_sees);

/* immiiq.audit_sees(org uuid): whether the caller may read this organisation's log. */
Datum
immiiq_audit_sees(PG_FUNCTION_ARGS)
{
	const ContextIdentity *identity = context_current();

	if (identity == NULL)
		PG_RETURN_BOOL(view_sees_all());
	PG_RETURN_BOOL(!PG_ARGISNULL(0) && view_identity_reads(identity) &&
				   base_uuid_equal(&identity->org, PG_GETARG_UUID_P(0)));
}

/* A function of schema immiiq without arguments. */
static Oid
view_function(const char *name)
{
	return GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum(name),
						   PointerGetDatum(buildoidvector(NULL, 0)),
						   ObjectIdGetDatum(base_schema()));
}

PG_FUNCTION_INFO_V1(immiiq_audit_sees_support);

/*
 * Planner support: while someone is active, audit_sees(org_id) becomes org_id =
 * audit_org(), which an index serves.  While nobody is, it stays what it is, and
 * a plan that is kept is right for whoever comes next.
 */
Datum
immiiq_audit_sees_support(PG_FUNCTION_ARGS)
{
	Node *request = (Node *) PG_GETARG_POINTER(0);
	FuncExpr *call;
	Oid helper;

	/* without a query being planned the result may be kept for others */
	if (!IsA(request, SupportRequestSimplify) || ((SupportRequestSimplify *) request)->root == NULL)
		PG_RETURN_POINTER(NULL);
	if (context_current() == NULL)
		PG_RETURN_POINTER(NULL);
	call = ((SupportRequestSimplify *) request)->fcall;
	helper = view_function("audit_org");
	if (list_length(call->args) != 1 || !OidIsValid(helper))
		PG_RETURN_POINTER(NULL);
	PG_RETURN_POINTER(make_opclause(lookup_type_cache(UUIDOID, TYPECACHE_EQ_OPR)->eq_opr, BOOLOID,
									false, linitial(call->args),
									(Expr *) makeFuncExpr(helper, UUIDOID, NIL, InvalidOid,
														  InvalidOid, COERCE_EXPLICIT_CALL),
									InvalidOid, InvalidOid));
}

PG_FUNCTION_INFO_V1(immiiq_audit_incarnation);

/* immiiq.audit_incarnation(): the number that entries captured here carry. */
Datum
immiiq_audit_incarnation(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32((int32) audit_incarnation());
}

PG_FUNCTION_INFO_V1(immiiq_audit_lineage);

/* immiiq.audit_lineage(): names this database of this cluster, on whatever timeline. */
Datum
immiiq_audit_lineage(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32((int32) audit_lineage());
}

PG_FUNCTION_INFO_V1(immiiq_audit_incarnations);

/* immiiq.audit_incarnations() → int4[]: the numbers of this database on the timelines up to this one. */
Datum
immiiq_audit_incarnations(PG_FUNCTION_ARGS)
{
	TimeLineID count;
	const uint32 *names = audit_incarnations(&count);
	Datum *values = palloc(sizeof(Datum) * count);

	for (TimeLineID i = 0; i < count; i++)
		values[i] = Int32GetDatum((int32) names[i]);
	PG_RETURN_ARRAYTYPE_P(
		construct_array(values, (int) count, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

/* ---- columns with their salts, for exports ---- */

/* Adds the columns of an image that belong to one part, n being the number of the next salt. */
static void
columns_put_part(ReturnSetInfo *result, const uint8 *image, size_t len, size_t *pos, int part,
				 const uint8 *salt_key, const uint8 *nonce, uint32 *n)
{
	uint32 count;

	if (!canonical_get_length(image, len, pos, &count))
		return;
	for (; count > 0; count--)
	{
		Datum values[7] = {0};
		bool nulls[7] = {false, false, false, true, true, false, false};
		uint8 salt[COMMIT_SALT_BYTES];
		uint8 hash[COMMIT_HASH_BYTES];
		CanonicalColumn column;
		size_t start = *pos;

		if (!canonical_get_column(image, len, pos, &column) ||
			!commit_salt(salt_key, nonce, (*n)++, salt) ||
			!commit_item(salt, (CommitPart) part, image + start, *pos - start, hash))
			elog(ERROR, "could not compute the commitments of an audit entry");
		values[0] = Int32GetDatum(part);
		values[1] = Int32GetDatum(column.flags);
		values[2] = PointerGetDatum(cstring_to_text_with_len(column.name, column.name_len));
		if (column.value != NULL)
		{
			values[3] = PointerGetDatum(cstring_to_text_with_len(column.value, column.value_len));
			nulls[3] = false;
		}
		values[5] = view_bytea(salt, sizeof(salt));
		values[6] = view_bytea(hash, sizeof(hash));
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

/* Adds the origin, as a whole. */
static void
columns_put_origin(ReturnSetInfo *result, const uint8 *body, const CanonicalEntry *entry,
				   const pg_uuid_t *org)
{
	Datum values[7] = {0};
	bool nulls[7] = {false, true, false, true, false, false, false};
	uint8 salt[COMMIT_SALT_BYTES];
	uint8 hash[COMMIT_HASH_BYTES];
	uint8 nonce[CRYPTO_NONCE_BYTES];
	const uint8 *salt_key;
	uint32 key_id;
	CryptoXaes *key = keyring_image_key(org, NULL, &key_id, &salt_key);
	uint8 *plain;
	size_t len;

	plain = audit_open_sealed(body, entry, CANONICAL_F_ORIGIN, key, &len);
	commit_salt_nonce(entry, true, nonce);
	if (plain == NULL || !commit_salt(salt_key, nonce, 0, salt) ||
		!commit_item(salt, COMMIT_ORIGIN, plain, len, hash))
		elog(ERROR, "could not compute the commitments of an audit entry");
	values[0] = Int32GetDatum(COMMIT_ORIGIN);
	values[2] = CStringGetTextDatum("origin");
	values[4] = view_bytea(plain, len);
	values[5] = view_bytea(salt, sizeof(salt));
	values[6] = view_bytea(hash, sizeof(hash));
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	crypto_wipe(plain, len);
}

PG_FUNCTION_INFO_V1(immiiq_entry_columns);

/*
 * immiiq.entry_columns(body bytea) → setof (part, flags, name, value, origin,
 * salt, commitment): the columns of an entry in the order of its commitment.  No
 * row for whom may not read the log of the organisation, for bytes that are not
 * an entry, and where a key is gone.
 */
Datum
immiiq_entry_columns(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	bytea *bytes = PG_GETARG_BYTEA_PP(0);
	const uint8 *body = (const uint8 *) VARDATA_ANY(bytes);
	CanonicalEntry entry;
	uint8 nonce[CRYPTO_NONCE_BYTES];
	const uint8 *salts[2] = {NULL, NULL};
	uint8 *parts[2] = {NULL, NULL};
	size_t lens[2] = {0, 0};
	size_t pos[2] = {0, 0};
	uint32 n[2] = {0, 0};
	pg_uuid_t org;

	InitMaterializedSRF(fcinfo, 0);
	if (!canonical_parse_entry(body, VARSIZE_ANY_EXHDR(bytes), &entry))
		return (Datum) 0;
	memcpy(org.data, entry.org, UUID_LEN);
	if (!view_opens(context_current(), entry.org))
		return (Datum) 0;
	parts[0] = audit_open_image(body, &entry, false, &lens[0], &salts[0]);
	if (entry.former != NULL)
		parts[1] = audit_open_image(body, &entry, true, &lens[1], &salts[1]);
	if (parts[0] == NULL || !canonical_check_image(parts[0], lens[0]) ||
		(entry.former != NULL && (parts[1] == NULL || !canonical_check_image(parts[1], lens[1]))))
		return (Datum) 0;
	commit_salt_nonce(&entry, false, nonce);
	columns_put_part(result, parts[0], lens[0], &pos[0], COMMIT_NEW, salts[0], nonce, &n[0]);
	columns_put_part(result, parts[0], lens[0], &pos[0], COMMIT_OLD, salts[0], nonce, &n[0]);
	if (entry.former != NULL)
	{
		columns_put_part(result, parts[1], lens[1], &pos[1], COMMIT_NEW, salts[1], nonce, &n[1]);
		columns_put_part(result, parts[1], lens[1], &pos[1], COMMIT_OLD, salts[1], nonce, &n[1]);
		crypto_wipe(parts[1], lens[1]);
	}
	crypto_wipe(parts[0], lens[0]);
	if (entry.origin != NULL)
		columns_put_origin(result, body, &entry, &org);
	return (Datum) 0;
}
