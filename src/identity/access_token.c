/*
 * Tokens that others can read: JWTs of our own (EdDSA alone), which name a
 * session and hold no longer than it, and ID tokens of other issuers.
 * Trusts immiiq.jwt_key and the key sets that the DBA stores; refuses whatever
 * jwt.h refuses, other algorithms, other types, other audiences, dead sessions.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/base.h"
#include "context/context.h"
#include "identity/identity_internal.h"
#include "identity/jwks.h"
#include "journal/journal.h"
#include "keyring/keyring.h"

PG_FUNCTION_INFO_V1(immiiq_jwt_public_key);
PG_FUNCTION_INFO_V1(immiiq_sign_jwt);
PG_FUNCTION_INFO_V1(immiiq_issue_access_token);
PG_FUNCTION_INFO_V1(immiiq_verify_jwt);
PG_FUNCTION_INFO_V1(immiiq_read_id_token);
PG_FUNCTION_INFO_V1(immiiq_verify_id_token);
PG_FUNCTION_INFO_V1(immiiq_jwks_problem);

/* Columns by position, as sql/parts/76_jwt.sql creates them. */
#define JWT_KEY_KID			   1
#define JWT_KEY_NUMBER		   2
#define JWT_KEY_PUBLIC_KEY	   3
#define JWT_KEY_SIGNS_FROM	   5
#define JWT_KEY_VERIFIES_UNTIL 6

#define ACCESS_TYPE			   "at+jwt" /* RFC 9068 */
#define ACCESS_AUDIENCE		   "immiiq"
#define ACCESS_PORTAL_AUDIENCE "immiiq-portal"
#define ACCESS_TTL			   (15 * 60) /* seconds; a signing key verifies for as long after its last token */
#define ACCESS_KID_MAX		   64
#define ACCESS_CLOCK_SLACK	   30 /* seconds that another server's clock may be ahead */
#define ID_TOKEN_CLOCK_SLACK   60

static char *access_issuer = NULL;

/* Seconds since 1970. */
static int64
access_now(void)
{
	return (int64) timestamptz_to_time_t(GetCurrentTimestamp());
}

/* The seed of a numbered signing key, which nothing stores. */
static void
access_seed(int32 number, uint8_t seed[CRYPTO_SEED_BYTES])
{
	char label[16 + 1];

	if (number < 1 || number > 999999)
		elog(ERROR, "signing key out of range");
	snprintf(label, sizeof(label), "jwt-v1-%d", number);
	keyring_installation_secret(label, true, seed);
}

/* immiiq.jwt_public_key(number int) → bytea: 32 bytes, of the signing key with this number. */
Datum
immiiq_jwt_public_key(PG_FUNCTION_ARGS)
{
	uint8_t seed[CRYPTO_SEED_BYTES];
	bytea *result = palloc(VARHDRSZ + CRYPTO_PUB_BYTES);
	bool done;

	SET_VARSIZE(result, VARHDRSZ + CRYPTO_PUB_BYTES);
	access_seed(PG_GETARG_INT32(0), seed);
	done = crypto_ed25519_public(seed, (uint8_t *) VARDATA(result));
	crypto_wipe(seed, sizeof(seed));
	if (!done)
		elog(ERROR, "could not derive a signing key");
	PG_RETURN_BYTEA_P(result);
}

/* A compact token by a numbered signing key; 22023 when it is too large. */
static text *
access_sign(int32 number, const char *header, size_t header_len, const char *payload,
			size_t payload_len)
{
	uint8_t seed[CRYPTO_SEED_BYTES];
	size_t size;
	text *result;
	bool done;

	if (payload_len > JWT_MAX || header_len > JWT_MAX ||
		(size = jwt_signed_size(header_len, payload_len)) > JWT_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("the claims are too large")));
	result = palloc(VARHDRSZ + size);
	SET_VARSIZE(result, VARHDRSZ + size);
	access_seed(number, seed);
	done = jwt_sign(seed, header, header_len, payload, payload_len, VARDATA(result));
	crypto_wipe(seed, sizeof(seed));
	if (!done)
		elog(ERROR, "could not sign a token");
	return result;
}

/*
 * immiiq.sign_jwt(number int, header text, payload text) → text: a compact
 * token by this signing key.  22023 when immiiq would refuse to read it.
 */
Datum
immiiq_sign_jwt(PG_FUNCTION_ARGS)
{
	text *header = PG_GETARG_TEXT_PP(1);
	text *payload = PG_GETARG_TEXT_PP(2);
	text *result = access_sign(PG_GETARG_INT32(0), VARDATA_ANY(header), VARSIZE_ANY_EXHDR(header),
							   VARDATA_ANY(payload), VARSIZE_ANY_EXHDR(payload));
	Jwt *jwt = palloc(sizeof(Jwt));

	if (!jwt_parse(VARDATA(result), VARSIZE(result) - VARHDRSZ, jwt) || !jwt_read_claims(jwt))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the claims are too large or nested too deeply")));
	pfree(jwt);
	PG_RETURN_TEXT_P(result);
}

/* The public key of a kid that still verifies; false when there is none. */
static bool
access_find_key(const JwtJsonNode *kid, uint8_t key[CRYPTO_PUB_BYTES])
{
	Relation rel = table_open(base_relation("jwt_key"), AccessShareLock);
	TupleDesc desc = RelationGetDescr(rel);
	Datum name = PointerGetDatum(cstring_to_text_with_len(kid->text, kid->len));
	ScanKeyData scankey;
	SysScanDesc scan;
	HeapTuple tuple;
	bool found = false;

	if (desc->natts < JWT_KEY_VERIFIES_UNTIL ||
		TupleDescAttr(desc, JWT_KEY_PUBLIC_KEY - 1)->atttypid != BYTEAOID ||
		TupleDescAttr(desc, JWT_KEY_VERIFIES_UNTIL - 1)->atttypid != TIMESTAMPTZOID)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table immiiq.jwt_key is not as the extension made it")));
	ScanKeyInit(&scankey, JWT_KEY_KID, BTEqualStrategyNumber, F_TEXTEQ, name);
	scan = systable_beginscan(rel, base_relation("jwt_key_pkey"), true, NULL, 1, &scankey);
	tuple = systable_getnext(scan);
	if (tuple != NULL)
	{
		bool no_key;
		bool no_time;
		Datum stored = heap_getattr(tuple, JWT_KEY_PUBLIC_KEY, desc, &no_key);
		Datum until = heap_getattr(tuple, JWT_KEY_VERIFIES_UNTIL, desc, &no_time);

		if (!no_key && !no_time && DatumGetTimestampTz(until) > GetCurrentTimestamp())
		{
			bytea *bytes = DatumGetByteaPP(stored);

			found = VARSIZE_ANY_EXHDR(bytes) == CRYPTO_PUB_BYTES;
			if (found)
				memcpy(key, VARDATA_ANY(bytes), CRYPTO_PUB_BYTES);
		}
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/*
 * The key that signs now: the latest that has begun to, of those that verify
 * for long enough.  False when there is none.  jwt_key has a handful of rows.
 */
static bool
access_signing_key(int32 *number, char kid[ACCESS_KID_MAX])
{
	Relation rel = table_open(base_relation("jwt_key"), AccessShareLock);
	TupleDesc desc = RelationGetDescr(rel);
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz latest = DT_NOBEGIN;
	SysScanDesc scan;
	HeapTuple tuple;
	bool found = false;

	if (desc->natts < JWT_KEY_VERIFIES_UNTIL ||
		TupleDescAttr(desc, JWT_KEY_NUMBER - 1)->atttypid != INT4OID ||
		TupleDescAttr(desc, JWT_KEY_SIGNS_FROM - 1)->atttypid != TIMESTAMPTZOID ||
		TupleDescAttr(desc, JWT_KEY_VERIFIES_UNTIL - 1)->atttypid != TIMESTAMPTZOID)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table immiiq.jwt_key is not as the extension made it")));
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while ((tuple = systable_getnext(scan)) != NULL)
	{
		bool null;
		TimestampTz from = DatumGetTimestampTz(heap_getattr(tuple, JWT_KEY_SIGNS_FROM, desc, &null));
		TimestampTz until =
			DatumGetTimestampTz(heap_getattr(tuple, JWT_KEY_VERIFIES_UNTIL, desc, &null));
		int32 n = DatumGetInt32(heap_getattr(tuple, JWT_KEY_NUMBER, desc, &null));

		if (from > now || until <= TimestampTzPlusMilliseconds(now, ACCESS_TTL * 1000) ||
			(found && (from < latest || (from == latest && n < *number))))
			continue;
		latest = from;
		*number = n;
		text_to_cstring_buffer(DatumGetTextPP(heap_getattr(tuple, JWT_KEY_KID, desc, &null)), kid,
							   ACCESS_KID_MAX);
		found = true;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/* A uuid as a quoted string. */
static void
access_put_uuid(StringInfo json, const char *name, const pg_uuid_t *uuid)
{
	appendStringInfo(json, ",\"%s\":\"%s\"", name,
					 DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(uuid))));
}

/*
 * immiiq.issue_access_token(session uuid) → text: a JWT that immiiq.token takes
 * for this session, for fifteen minutes at most; null when it has ended.
 */
Datum
immiiq_issue_access_token(PG_FUNCTION_ARGS)
{
	ContextIdentity identity;
	const char *reason;
	char kid[ACCESS_KID_MAX];
	char header[ACCESS_KID_MAX + 64];
	int32 number;
	int64 now = access_now();
	int64 until;
	bool portal;
	pg_uuid_t jti;
	StringInfoData payload;

	if (!context_read_session(PG_GETARG_UUID_P(0), &identity, &reason))
		PG_RETURN_NULL();
	if (!access_signing_key(&number, kid))
	{
		/* the first one is made when it is needed */
		SPI_connect();
		if (SPI_execute("SELECT immiiq.signing_jwt_key()", false, 0) != SPI_OK_SELECT)
			elog(ERROR, "could not make a signing key");
		SPI_finish();
		CommandCounterIncrement();
		if (!access_signing_key(&number, kid))
			elog(ERROR, "there is no signing key");
	}
	portal = !base_uuid_is_nil(&identity.client);
	until = Min(now + ACCESS_TTL, (int64) timestamptz_to_time_t(identity.expires_at));
	jti = *DatumGetUUIDP(DirectFunctionCall1(gen_random_uuid, (Datum) 0));

	snprintf(header, sizeof(header), "{\"alg\":\"EdDSA\",\"typ\":\"%s\",\"kid\":\"%s\"}",
			 ACCESS_TYPE, kid);
	initStringInfo(&payload);
	appendStringInfoString(&payload, "{\"iss\":");
	escape_json(&payload, access_issuer);
	appendStringInfo(&payload,
					 ",\"aud\":\"%s\",\"actor\":\"%s\",\"iat\":" INT64_FORMAT
					 ",\"exp\":" INT64_FORMAT,
					 portal ? ACCESS_PORTAL_AUDIENCE : ACCESS_AUDIENCE,
					 portal ? "portal" : "member", now, until);
	access_put_uuid(&payload, "sub", portal ? &identity.client : &identity.member);
	access_put_uuid(&payload, "org", &identity.org);
	access_put_uuid(&payload, "sid", &identity.session);
	access_put_uuid(&payload, "jti", &jti);
	if (identity.impersonated)
		appendStringInfoString(&payload, ",\"impersonated\":true");
	appendStringInfoChar(&payload, '}');
	PG_RETURN_TEXT_P(access_sign(number, header, strlen(header), payload.data, payload.len));
}

/* The uuid of a claim; false when it is none in its one form. */
static bool
access_uuid(const JwtJsonNode *node, pg_uuid_t *uuid)
{
	if (node == NULL || node->kind != JWT_JSON_STRING || node->len != 36)
		return false;
	for (int i = 0, byte = 0; i < 36;)
	{
		int value = 0;

		if (i == 8 || i == 13 || i == 18 || i == 23)
		{
			if (node->text[i++] != '-')
				return false;
			continue;
		}
		for (int digit = 0; digit < 2; digit++, i++)
		{
			char c = node->text[i];

			if (c >= '0' && c <= '9')
				value = value << 4 | (c - '0');
			else if (c >= 'a' && c <= 'f')
				value = value << 4 | (c - 'a' + 10);
			else
				return false;
		}
		uuid->data[byte++] = (unsigned char) value;
	}
	return true;
}

/*
 * Why a token is none of ours for this audience, NULL when it is; *jwt has its
 * claims then, *session its session, which is not looked at yet.
 */
static const char *
access_problem(const char *text, size_t len, const char *audience, Jwt *jwt, pg_uuid_t *session,
			   TimestampTz *expires_at)
{
	uint8_t key[CRYPTO_PUB_BYTES];
	const JwtJsonNode *claims = jwt->claims;
	const char *problem;
	int64_t exp;
	bool several;

	if (!jwt_parse(text, len, jwt))
		return "malformed";
	if (jwt->algorithm != JWT_EDDSA)
		return "algorithm not allowed";
	if (jwt->signature_len != CRYPTO_SIG_BYTES || jwt->kid == NULL ||
		!access_find_key(jwt->kid, key))
		return "unknown key";
	if (!crypto_ed25519_verify(key, jwt->signed_text, jwt->signed_len, jwt->signature))
		return "wrong signature";
	if (!jwt_read_claims(jwt))
		return "malformed";
	problem = jwt_time_problem(claims, access_now(), 0, ACCESS_CLOCK_SLACK);
	if (problem != NULL)
		return problem;
	/* our own audiences take access tokens only, all others no access token */
	if (jwt_type_is(jwt, ACCESS_TYPE) != (strcmp(audience, ACCESS_AUDIENCE) == 0 ||
										  strcmp(audience, ACCESS_PORTAL_AUDIENCE) == 0) ||
		!jwt_has_audience(claims, audience, &several))
		return "another audience";
	if (!jwt_json_is(jwt_json_member(claims, "iss"), access_issuer))
		return "another issuer";
	if (!access_uuid(jwt_json_member(claims, "sid"), session) ||
		!jwt_json_integer(jwt_json_member(claims, "exp"), &exp))
		return "malformed";
	*expires_at = time_t_to_timestamptz((pg_time_t) exp);
	return NULL;
}

/* What context/ asks of a token that is no opaque one: the session that it names, and until when. */
static const char *
access_read(const char *text, size_t len, ContextAccess *access)
{
	Jwt *jwt = palloc(sizeof(Jwt));
	const char *problem =
		access_problem(text, len, ACCESS_AUDIENCE, jwt, &access->session, &access->expires_at);

	access->portal = false;
	if (problem != NULL && strcmp(problem, "another audience") == 0)
	{
		access->portal = true;
		problem = access_problem(text, len, ACCESS_PORTAL_AUDIENCE, jwt, &access->session,
								 &access->expires_at);
	}
	crypto_wipe(jwt->room, sizeof(jwt->room));
	crypto_wipe(jwt->signature, sizeof(jwt->signature));
	pfree(jwt);
	return problem;
}

void
access_token_init(void)
{
	DefineCustomStringVariable("immiiq.jwt_issuer", "The issuer (iss) of this installation's JWTs.",
							   NULL, &access_issuer, "immiiq", PGC_SIGHUP, 0, NULL, NULL, NULL);
	context_set_access_reader(access_read);
}

/* Records a refusal and raises the one error that there is for it. */
static void
access_refuse(const char *reason)
{
	journal_record(JOURNAL_DENIAL, "token", "", reason, ERRCODE_IMMIIQ_TOKEN, NULL);
	(void) journal_flush(false);
	ereport(ERROR, (errcode(ERRCODE_IMMIIQ_TOKEN), errmsg("token refused")));
}

/*
 * immiiq.verify_jwt(token text, audience text) → jsonb: the claims of a token
 * that this installation signed, for this audience, of a session that lives.
 * IQ010 for every other token, whatever the reason (RFC 7519, RFC 8725).
 */
Datum
immiiq_verify_jwt(PG_FUNCTION_ARGS)
{
	text *token = PG_GETARG_TEXT_PP(0);
	char *audience = text_to_cstring(PG_GETARG_TEXT_PP(1));
	Jwt *jwt = palloc(sizeof(Jwt));
	pg_uuid_t session;
	TimestampTz expires_at;
	const char *problem;
	char *payload;

	problem = access_problem(VARDATA_ANY(token), VARSIZE_ANY_EXHDR(token), audience, jwt, &session,
							 &expires_at);
	if (problem == NULL)
		problem = context_session_problem(&session);
	if (problem != NULL)
		access_refuse(problem);
	payload = pnstrdup(jwt->payload, jwt->payload_len);
	pfree(jwt);
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(payload)));
}

/* ---- ID tokens of others ---- */

/*
 * immiiq.read_id_token(token text) → text: the issuer that a token claims, to
 * find its provider with.  Nothing is verified.  Null when it is no token.
 */
Datum
immiiq_read_id_token(PG_FUNCTION_ARGS)
{
	text *token = PG_GETARG_TEXT_PP(0);
	Jwt *jwt = palloc(sizeof(Jwt));
	const JwtJsonNode *issuer;

	if (!jwt_parse(VARDATA_ANY(token), VARSIZE_ANY_EXHDR(token), jwt) || !jwt_read_claims(jwt))
		PG_RETURN_NULL();
	issuer = jwt_json_member(jwt->claims, "iss");
	if (issuer == NULL || issuer->kind != JWT_JSON_STRING)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text_with_len(issuer->text, issuer->len));
}

/* The nodes of a key set's text; NULL when it is no JSON that is accepted. */
static JwtJsonNode *
access_parse_set(text *set)
{
	size_t len = VARSIZE_ANY_EXHDR(set);
	JwtJsonNode *nodes;

	if (len > JWKS_MAX)
		return NULL;
	nodes = palloc(sizeof(JwtJsonNode) * JWKS_NODES);
	return jwt_json_parse(pnstrdup(VARDATA_ANY(set), len), len, nodes, JWKS_NODES) ? nodes : NULL;
}

/* immiiq.jwks_problem(jwks text) → text: what keeps a key set from being stored, null when nothing does. */
Datum
immiiq_jwks_problem(PG_FUNCTION_ARGS)
{
	JwtJsonNode *set = access_parse_set(PG_GETARG_TEXT_PP(0));
	const char *problem =
		set != NULL ? jwks_problem(set) : "is too large, or no JSON that is accepted";

	if (problem == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(problem));
}

/* True when the array of names holds the algorithm. */
static bool
access_allows(ArrayType *names, JwtAlgorithm algorithm)
{
	Datum *items;
	bool *nulls;
	int n;

	deconstruct_array(names, TEXTOID, -1, false, TYPALIGN_INT, &items, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		text *name = nulls[i] ? NULL : DatumGetTextPP(items[i]);

		if (name != NULL && algorithm != JWT_OTHER &&
			jwt_algorithm(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)) == algorithm)
			return true;
	}
	return false;
}

/* Why a token is no ID token of this issuer for this audience, NULL when it is (OpenID Connect Core 3.1.3.7). */
static const char *
access_id_token_problem(text *token, const char *issuer, const char *audience, text *jwks,
						ArrayType *algorithms, Jwt *jwt)
{
	const JwtJsonNode *claims = jwt->claims;
	const JwtJsonNode *azp;
	const JwtJsonNode *set;
	JwksKey key;
	const char *problem;
	bool several;

	if (!jwt_parse(VARDATA_ANY(token), VARSIZE_ANY_EXHDR(token), jwt))
		return "malformed";
	if (!access_allows(algorithms, jwt->algorithm))
		return "algorithm not allowed";
	/* a token that says it is something else is not an ID token */
	if (jwt->typ != NULL && !jwt_type_is(jwt, "JWT"))
		return "another type";
	set = access_parse_set(jwks);
	if (set == NULL || !jwks_find(set, jwt->kid, jwt->algorithm, &key))
		return "unknown key";
	if (!jwks_verify(&key, jwt))
		return "wrong signature";
	if (!jwt_read_claims(jwt))
		return "malformed";
	if (!jwt_json_is(jwt_json_member(claims, "iss"), issuer))
		return "another issuer";
	if (!jwt_has_audience(claims, audience, &several))
		return "another audience";
	azp = jwt_json_member(claims, "azp");
	if ((azp != NULL || several) && !jwt_json_is(azp, audience))
		return "another authorised party";
	problem = jwt_time_problem(claims, access_now(), ID_TOKEN_CLOCK_SLACK, ID_TOKEN_CLOCK_SLACK);
	if (problem != NULL)
		return problem;
	if (jwt_json_member(claims, "iat") == NULL)
		return "malformed";
	return NULL;
}

/*
 * immiiq.verify_id_token(token, issuer, audience, jwks text, algorithms text[],
 * OUT claims jsonb, OUT reason text): claims when everything but the nonce
 * holds, else the reason for the log.
 */
Datum
immiiq_verify_id_token(PG_FUNCTION_ARGS)
{
	Jwt *jwt = palloc(sizeof(Jwt));
	TupleDesc desc;
	Datum values[2] = {0};
	bool nulls[2] = {true, true};
	const char *problem;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	problem = access_id_token_problem(PG_GETARG_TEXT_PP(0), text_to_cstring(PG_GETARG_TEXT_PP(1)),
									  text_to_cstring(PG_GETARG_TEXT_PP(2)), PG_GETARG_TEXT_PP(3),
									  PG_GETARG_ARRAYTYPE_P(4), jwt);
	if (problem == NULL)
		values[0] = DirectFunctionCall1(jsonb_in,
										CStringGetDatum(pnstrdup(jwt->payload, jwt->payload_len)));
	else
		values[1] = CStringGetTextDatum(problem);
	nulls[problem == NULL ? 0 : 1] = false;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
