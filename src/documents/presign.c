/*
 * URLs that reach one document for one person: authorisation, record and
 * signature in one call.  Trusts row security, asked as the caller, for who
 * may have one; refuses to sign what it has not written down.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "common/base64.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "context/context.h"
#include "documents/documents.h"
#include "documents/documents_internal.h"
#include "documents/object.h"
#include "documents/sigv4.h"
#include "hold/hold.h"
#include "journal/journal.h"

#define PRESIGN_GRANT_PARAMETER "x-immiiq-grant"
#define PRESIGN_SHARE_SECONDS	60 /* of a URL that a share gives */
#define PRESIGN_DELETE_SECONDS	60 /* of a DELETE, unless asked for more */
#define PRESIGN_MAX_LENGTH		(INT64CONST(5) * 1024 * 1024 * 1024) /* S3's limit of one PUT */

typedef enum PresignAction
{
	PRESIGN_OPEN,	  /* GET, shown in the browser */
	PRESIGN_DOWNLOAD, /* GET, as attachment */
	PRESIGN_HEAD,
	PRESIGN_PUT,
	PRESIGN_POST,
	PRESIGN_DELETE,
	PRESIGN_REDEEM /* GET by who has a share */
} PresignAction;

static const struct
{
	const char *name; /* in immiiq.document_event */
	const char *method;
	const char *function; /* in the journal */
	bool writes;
} presign_actions[] = {
	[PRESIGN_OPEN] = {"open", "GET", "presign_get", false},
	[PRESIGN_DOWNLOAD] = {"download", "GET", "presign_get", false},
	[PRESIGN_HEAD] = {"head", "HEAD", "presign_head", false},
	[PRESIGN_PUT] = {"put", "PUT", "presign_put", true},
	[PRESIGN_POST] = {"post", "POST", "presign_post", true},
	[PRESIGN_DELETE] = {"delete", "DELETE", "presign_delete", true},
	[PRESIGN_REDEEM] = {"redeem", "GET", "redeem_share", false},
};

typedef struct PresignDocument
{
	pg_uuid_t org;
	pg_uuid_t document;
	pg_uuid_t store;
	pg_uuid_t client;
	bool has_client;
	bool hold;
	char *key;
	char *filename; /* NULL when none */
	char *type;		/* NULL when none */
	char *version;	/* NULL when none */
} PresignDocument;

typedef struct PresignStore
{
	char *endpoint;
	char *region;
	char *bucket;
	bool path_style;
	char *access_key;
	char *secret;
	char *session_token; /* NULL when none */
	int64 expires_at;	 /* of the credentials, seconds since 1970; 0 when never */
	int32 ttl;			 /* the most that a URL of this store lasts */
} PresignStore;

/* A URL that was made, and all that is to be known of it. */
typedef struct PresignGrant
{
	pg_uuid_t grant;
	TimestampTz made;
	int64 at; /* the same in seconds since 1970, as it is signed */
	int32 expires;
	TimestampTz expires_at;
} PresignGrant;

/* URLs made in this transaction, with the subtransaction that has the record. */
typedef struct PresignMade
{
	struct PresignMade *next;
	SubTransactionId subid;
	PresignAction action;
	pg_uuid_t grant;
	pg_uuid_t org;
	pg_uuid_t document;
	pg_uuid_t member;
} PresignMade;

static int presign_url_ttl = 3600;
static PresignMade *presign_made = NULL; /* in TopTransactionContext */
static SPIPlanPtr presign_plan_read = NULL;
static SPIPlanPtr presign_plan_change = NULL;
static SPIPlanPtr presign_plan_delete = NULL;
static SPIPlanPtr presign_plan_store = NULL;
static SPIPlanPtr presign_plan_record = NULL;

#define PRESIGN_DOCUMENT_SQL                                                                       \
	"SELECT d.object_store_id, d.client_id, d.key, d.filename, d.content_type, d.object_version, " \
	"d.hold FROM immiiq.document AS d WHERE d.org_id OPERATOR(pg_catalog.=) $1 AND d.document_id " \
	"OPERATOR(pg_catalog.=) $2"
#define PRESIGN_STORE_SQL                                                                          \
	"SELECT s.endpoint, s.region, s.bucket, s.style OPERATOR(pg_catalog.=) 'path', s.url_ttl, "    \
	"c.credentials, c.expires_at FROM immiiq.object_store AS s JOIN immiiq.store_credential AS c " \
	"ON c.org_id OPERATOR(pg_catalog.=) s.org_id AND c.object_store_id OPERATOR(pg_catalog.=) "    \
	"s.object_store_id WHERE s.org_id OPERATOR(pg_catalog.=) $1 AND s.object_store_id "            \
	"OPERATOR(pg_catalog.=) $2 AND s.active"
#define PRESIGN_RECORD_SQL                                                                         \
	"INSERT INTO immiiq.document_event (org_id, event_id, at, action, document_id, client_id, "    \
	"share_id, expires_at, member_id, session_id, actor, login_name, client_ip, user_agent) "      \
	"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13::pg_catalog.inet, $14)"

/* Writes a uuid's 36 characters and a terminator; allocates nothing, for it is called at abort. */
static char *
presign_uuid(const pg_uuid_t *id, char out[37])
{
	char *p = out;

	for (int i = 0; i < UUID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = "0123456789abcdef"[id->data[i] >> 4];
		*p++ = "0123456789abcdef"[id->data[i] & 15];
	}
	*p = '\0';
	return out;
}

/* Says in the journal that URLs went out whose record has been undone; they work all the same. */
static void
presign_journal(SubTransactionId subid)
{
	PresignMade **link = &presign_made;
	int recorded = 0;

	while (*link != NULL)
	{
		PresignMade *made = *link;
		char object[JOURNAL_OBJECT_MAX];
		char reason[JOURNAL_REASON_MAX];
		char document[37];
		char grant[37];
		char member[37];

		if (subid != InvalidSubTransactionId && made->subid != subid)
		{
			link = &made->next;
			continue;
		}
		snprintf(object, sizeof(object), "document %s", presign_uuid(&made->document, document));
		snprintf(reason, sizeof(reason), "%s: grant %s, member %s; its transaction was rolled back",
				 presign_actions[made->action].name, presign_uuid(&made->grant, grant),
				 presign_uuid(&made->member, member));
		journal_record(JOURNAL_DOCUMENT, presign_actions[made->action].function, object, reason, 0,
					   &made->org);
		/* The buffer is small: many of them go on at once. */
		if (++recorded % 16 == 0)
			(void) journal_flush(false);
		*link = made->next;
	}
}

void
documents_after_abort(void)
{
	if (presign_made == NULL)
		return;
	presign_journal(InvalidSubTransactionId);
	presign_made = NULL;
}

void
documents_after_commit(void)
{
	presign_made = NULL;
}

static void
presign_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (presign_made == NULL)
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		presign_journal(mine);
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (PresignMade *made = presign_made; made != NULL; made = made->next)
		{
			if (made->subid == mine)
				made->subid = parent;
		}
	}
}

void
documents_init(void)
{
	DefineCustomIntVariable("immiiq.url_ttl", "The most that a signed URL of a document lasts.",
							"A store may have its own: immiiq.object_store.url_ttl.",
							&presign_url_ttl, 3600, 1, SIGV4_MAX_EXPIRES, PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
	RegisterSubXactCallback(presign_subtransaction, NULL);
}

/* Remembers a URL until its transaction ends, before anybody has it. */
static void
presign_remember(PresignAction action, const PresignDocument *document, const PresignGrant *grant)
{
	const ContextIdentity *identity = context_current();
	PresignMade *made = MemoryContextAllocZero(TopTransactionContext, sizeof(PresignMade));

	made->subid = GetCurrentSubTransactionId();
	made->action = action;
	made->grant = grant->grant;
	made->org = document->org;
	made->document = document->document;
	if (identity != NULL)
		made->member = identity->member;
	made->next = presign_made;
	presign_made = made;
}

/* Prepares a statement once for the backend's life. */
static SPIPlanPtr
presign_prepare(SPIPlanPtr *plan, const char *sql, int n, Oid *types)
{
	if (*plan == NULL)
	{
		SPIPlanPtr prepared = SPI_prepare(sql, n, types);

		if (prepared == NULL || SPI_keepplan(prepared) != 0)
			elog(ERROR, "could not prepare a statement");
		*plan = prepared;
	}
	return *plan;
}

/* Column of the one row that was found, as text; NULL for NULL. */
static char *
presign_text(int column)
{
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column);
}

static Datum
presign_datum(int column, bool *is_null)
{
	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, is_null);
}

/* Refuses in words that do not tell whether the document exists; the journal has which one. */
static void
presign_refuse(PresignAction action, const pg_uuid_t *document, const char *reason)
{
	char object[JOURNAL_OBJECT_MAX];
	char id[37];

	snprintf(object, sizeof(object), "document %s", presign_uuid(document, id));
	journal_record(JOURNAL_DENIAL, presign_actions[action].function, object, reason,
				   ERRCODE_INSUFFICIENT_PRIVILEGE, NULL);
	ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					errmsg("document is not within reach of who is active")));
}

/* Reads the document as whoever is the current user: row security decides. False when there is none. */
static bool
presign_read_document(PresignAction action, const pg_uuid_t *org, const pg_uuid_t *id,
					  PresignDocument *d)
{
	Oid types[2] = {UUIDOID, UUIDOID};
	Datum values[2] = {UUIDPGetDatum(org), UUIDPGetDatum(id)};
	SPIPlanPtr plan;
	Datum value;
	bool is_null;

	/* A row lock asks the policies of UPDATE too, and makes a hold that is being placed be waited for. */
	if (action == PRESIGN_DELETE)
		plan = presign_prepare(&presign_plan_delete, PRESIGN_DOCUMENT_SQL " FOR UPDATE", 2, types);
	else if (presign_actions[action].writes)
		plan = presign_prepare(&presign_plan_change, PRESIGN_DOCUMENT_SQL " FOR NO KEY UPDATE", 2,
							   types);
	else
		plan = presign_prepare(&presign_plan_read, PRESIGN_DOCUMENT_SQL, 2, types);
	if (SPI_execute_plan(plan, values, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read a document");
	if (SPI_processed == 0)
		return false;

	memset(d, 0, sizeof(*d));
	d->org = *org;
	d->document = *id;
	d->store = *DatumGetUUIDP(presign_datum(1, &is_null));
	value = presign_datum(2, &is_null);
	d->has_client = !is_null;
	if (!is_null)
		d->client = *DatumGetUUIDP(value);
	d->key = presign_text(3);
	value = presign_datum(4, &is_null);
	d->filename = is_null ? NULL : documents_open(value, org);
	d->type = presign_text(5);
	d->version = presign_text(6);
	d->hold = DatumGetBool(presign_datum(7, &is_null));
	return true;
}

/* The store and its credentials, read as the owner of immiiq's tables. */
static void
presign_read_store(const PresignDocument *d, PresignStore *s)
{
	Oid types[2] = {UUIDOID, UUIDOID};
	Datum values[2] = {UUIDPGetDatum(&d->org), UUIDPGetDatum(&d->store)};
	SPIPlanPtr plan = presign_prepare(&presign_plan_store, PRESIGN_STORE_SQL, 2, types);
	Datum value;
	bool is_null;
	char *end;

	if (SPI_execute_plan(plan, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read a store");
	if (SPI_processed == 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("store of the document is not active or has no credentials"),
						errhint("Give it some with immiiq.set_store_credentials.")));
	memset(s, 0, sizeof(*s));
	s->endpoint = presign_text(1);
	s->region = presign_text(2);
	s->bucket = presign_text(3);
	s->path_style = DatumGetBool(presign_datum(4, &is_null));
	value = presign_datum(5, &is_null);
	s->ttl = is_null ? presign_url_ttl : DatumGetInt32(value);
	value = presign_datum(6, &is_null);
	/* Access key, secret and session token, a line each. */
	s->access_key = documents_open(value, &d->org);
	end = strchr(s->access_key, '\n');
	if (end == NULL)
		elog(ERROR, "credentials of a store are malformed");
	*end = '\0';
	s->secret = end + 1;
	end = strchr(s->secret, '\n');
	if (end == NULL)
		elog(ERROR, "credentials of a store are malformed");
	*end = '\0';
	s->session_token = end[1] != '\0' ? end + 1 : NULL;
	value = presign_datum(7, &is_null);
	if (!is_null)
	{
		TimestampTz at = DatumGetTimestampTz(value);

		s->expires_at =
			TIMESTAMP_NOT_FINITE(at)
				? 0
				: at / USECS_PER_SEC + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
	}
}

/* Wipes what presign_read_store opened: three texts in one piece. */
static void
presign_wipe_store(PresignStore *s)
{
	size_t n = strlen(s->access_key) + 1 + strlen(s->secret) + 1;

	if (s->session_token != NULL)
		n += strlen(s->session_token) + 1;
	crypto_wipe(s->access_key, n);
	pfree(s->access_key);
}

/* Seconds of an interval, 0 for NULL. ERROR 22023 outside 1 to 604,800. */
static int32
presign_seconds(FunctionCallInfo fcinfo, int arg)
{
	Interval *ttl;
	int64 seconds;

	if (PG_ARGISNULL(arg))
		return 0;
	ttl = PG_GETARG_INTERVAL_P(arg);
	seconds = ttl->time / USECS_PER_SEC + (int64) ttl->day * SECS_PER_DAY +
			  (int64) ttl->month * DAYS_PER_MONTH * SECS_PER_DAY;
	if (seconds < 1 || seconds > SIGV4_MAX_EXPIRES)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a URL lasts from 1 to %d seconds", SIGV4_MAX_EXPIRES)));
	return (int32) seconds;
}

/* How long the URL lasts, and its id. */
static void
presign_grant(PresignAction action, const PresignStore *s, int32 wanted, PresignGrant *g)
{
	TimestampTz now = GetCurrentTimestamp();

	g->made = now;
	g->at = now / USECS_PER_SEC + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
	if (wanted == 0)
		wanted = action == PRESIGN_DELETE ? Min(s->ttl, PRESIGN_DELETE_SECONDS) : s->ttl;
	g->expires = Min(wanted, s->ttl);
	if (s->expires_at != 0)
	{
		if (s->expires_at <= g->at)
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("credentials of the store have expired"),
							errhint("Give it new ones with immiiq.set_store_credentials.")));
		g->expires = (int32) Min((int64) g->expires, s->expires_at - g->at);
	}
	g->expires_at = (now / USECS_PER_SEC + g->expires) * USECS_PER_SEC;
	crypto_random(g->grant.data, UUID_LEN);
	g->grant.data[6] = (g->grant.data[6] & 0x0f) | 0x40;
	g->grant.data[8] = (g->grant.data[8] & 0x3f) | 0x80;
}

/* Writes the record, as the owner of immiiq's tables. */
static void
presign_record(PresignAction action, const PresignDocument *d, const PresignGrant *g,
			   const pg_uuid_t *share)
{
	static Oid types[14] = {UUIDOID, UUIDOID, TIMESTAMPTZOID, TEXTOID, UUIDOID,
							UUIDOID, UUIDOID, TIMESTAMPTZOID, UUIDOID, UUIDOID,
							TEXTOID, TEXTOID, TEXTOID,		  TEXTOID};
	const ContextIdentity *identity = context_current();
	Datum values[14];
	char nulls[15] = "              ";
	SPIPlanPtr plan = presign_prepare(&presign_plan_record, PRESIGN_RECORD_SQL, 14, types);

	values[0] = UUIDPGetDatum(&d->org);
	values[1] = UUIDPGetDatum(&g->grant);
	values[2] = TimestampTzGetDatum(g->made);
	values[3] = CStringGetTextDatum(presign_actions[action].name);
	values[4] = UUIDPGetDatum(&d->document);
	values[5] = UUIDPGetDatum(&d->client);
	nulls[5] = d->has_client ? ' ' : 'n';
	values[6] = UUIDPGetDatum(share);
	nulls[6] = share != NULL ? ' ' : 'n';
	values[7] = TimestampTzGetDatum(g->expires_at);
	values[8] = values[9] = values[10] = (Datum) 0;
	nulls[8] = nulls[9] = nulls[10] = 'n';
	if (identity != NULL)
	{
		values[8] = UUIDPGetDatum(&identity->member);
		nulls[8] = base_uuid_is_nil(&identity->member) ? 'n' : ' ';
		values[9] = UUIDPGetDatum(&identity->session);
		nulls[9] = base_uuid_is_nil(&identity->session) ? 'n' : ' ';
		values[10] = CStringGetTextDatum(context_actor_name(identity->actor));
		nulls[10] = ' ';
	}
	values[11] = CStringGetTextDatum(GetUserNameFromId(GetSessionUserId(), false));
	values[12] = CStringGetTextDatum(context_client_ip());
	nulls[12] = context_client_ip()[0] != '\0' ? ' ' : 'n';
	values[13] = CStringGetTextDatum(context_user_agent());
	nulls[13] = context_user_agent()[0] != '\0' ? ' ' : 'n';
	if (SPI_execute_plan(plan, values, nulls, false, 0) != SPI_OK_INSERT || SPI_processed != 1)
		elog(ERROR, "could not record a URL");
}

/* Host as it is signed, and the path before the key. */
static void
presign_place(const PresignStore *s, const char *key, char **scheme, char **host, char **path)
{
	char *rest = strstr(s->endpoint, "://");

	if (rest == NULL)
		elog(ERROR, "endpoint of a store is malformed");
	*scheme = pnstrdup(s->endpoint, rest - s->endpoint);
	*host = s->path_style ? pstrdup(rest + 3) : psprintf("%s.%s", s->bucket, rest + 3);
	*path = s->path_style ? psprintf("/%s/%s", s->bucket, key) : psprintf("/%s", key);
}

/* The signed URL. */
static char *
presign_url(PresignAction action, const PresignDocument *d, const PresignStore *s,
			const PresignGrant *g, const Sigv4Parameter *headers, int n_headers)
{
	Sigv4Request r = {0};
	Sigv4Parameter query[6];
	bool reads = strcmp(presign_actions[action].method, "GET") == 0;
	char grant[37];
	char *scheme;
	char *host;
	char *path;
	char *url;
	size_t size;

	presign_place(s, d->key, &scheme, &host, &path);
	if (reads)
	{
		bool safe = d->type != NULL && object_type_is_safe(d->type);
		char *disposition = palloc(object_disposition_size(d->filename));

		object_disposition(action == PRESIGN_OPEN && safe, d->filename, disposition);
		query[r.n_query++] =
			(Sigv4Parameter){"response-cache-control", "private, no-store, max-age=0"};
		query[r.n_query++] = (Sigv4Parameter){"response-content-disposition", disposition};
		query[r.n_query++] =
			(Sigv4Parameter){"response-content-type", safe ? d->type : "application/octet-stream"};
	}
	if (d->version != NULL && action != PRESIGN_PUT)
		query[r.n_query++] = (Sigv4Parameter){"versionId", d->version};
	query[r.n_query++] = (Sigv4Parameter){PRESIGN_GRANT_PARAMETER, presign_uuid(&g->grant, grant)};
	r.method = presign_actions[action].method;
	r.scheme = scheme;
	r.host = host;
	r.path = path;
	r.region = s->region;
	r.access_key = s->access_key;
	r.secret = s->secret;
	r.session_token = s->session_token;
	r.at = g->at;
	r.expires = g->expires;
	r.query = query;
	r.headers = headers;
	r.n_headers = n_headers;
	size = sigv4_url_size(&r);
	url = palloc(size);
	if (!sigv4_presign(&r, url, size))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("store of the document cannot be signed for"),
						errhint("Its credentials hold characters that no URL can carry.")));
	return url;
}

/* One condition or field of a form, with its value escaped. */
static void
presign_put_json(StringInfo out, const char *format, const char *name, const char *value)
{
	StringInfoData escaped;

	initStringInfo(&escaped);
	escape_json(&escaped, value);
	appendStringInfo(out, format, name, escaped.data);
	pfree(escaped.data);
}

/* URL and signed fields of a browser's form (AWS documentation, "Browser-Based Uploads Using POST"). */
static char *
presign_form(const PresignDocument *d, const PresignStore *s, const PresignGrant *g,
			 const char *type, int64 least, int64 most, StringInfo fields)
{
	StringInfoData policy;
	char date[SIGV4_DATE_LEN + 1];
	char until[SIGV4_DATE_LEN + 1];
	char signature[SIGV4_SIGNATURE_LEN + 1];
	char grant[37];
	char *credential;
	char *base64;
	char *scheme;
	char *host;
	char *path;
	int n;
	size_t type_len = strlen(type);
	bool family = type_len > 2 && strcmp(type + type_len - 2, "/*") == 0;

	if (!sigv4_date(g->at, date) || !sigv4_date(g->at + g->expires, until))
		elog(ERROR, "date is out of range");
	credential = psprintf("%s/%.8s/%s/s3/aws4_request", s->access_key, date, s->region);
	initStringInfo(&policy);
	presign_uuid(&g->grant, grant);
	appendStringInfo(&policy, "{\"expiration\":\"%.4s-%.2s-%.2sT%.2s:%.2s:%.2sZ\",\"conditions\":[",
					 until, until + 4, until + 6, until + 9, until + 11, until + 13);
	presign_put_json(&policy, "{\"%s\":%s},", "bucket", s->bucket);
	presign_put_json(&policy, "{\"%s\":%s},", "key", d->key);
	if (family)
		presign_put_json(&policy, "[\"starts-with\",\"$%s\",%s],", "Content-Type",
						 pnstrdup(type, type_len - 1));
	else
		presign_put_json(&policy, "{\"%s\":%s},", "Content-Type", type);
	appendStringInfo(&policy, "[\"content-length-range\"," INT64_FORMAT "," INT64_FORMAT "],",
					 least, most);
	presign_put_json(&policy, "{\"%s\":%s},", "x-amz-meta-immiiq-grant", grant);
	if (s->session_token != NULL)
		presign_put_json(&policy, "{\"%s\":%s},", "x-amz-security-token", s->session_token);
	presign_put_json(&policy, "{\"%s\":%s},", "x-amz-algorithm", "AWS4-HMAC-SHA256");
	presign_put_json(&policy, "{\"%s\":%s},", "x-amz-credential", credential);
	presign_put_json(&policy, "{\"%s\":%s}]}", "x-amz-date", date);

	base64 = palloc(pg_b64_enc_len(policy.len) + 1);
	n = pg_b64_encode((const uint8 *) policy.data, policy.len, base64, pg_b64_enc_len(policy.len));
	if (n < 0)
		elog(ERROR, "could not encode a policy");
	base64[n] = '\0';
	if (!sigv4_sign(s->secret, date, s->region, base64, n, signature))
		elog(ERROR, "could not sign a policy");

	appendStringInfoChar(fields, '{');
	presign_put_json(fields, "\"%s\":%s,", "key", d->key);
	if (!family)
		presign_put_json(fields, "\"%s\":%s,", "Content-Type", type);
	presign_put_json(fields, "\"%s\":%s,", "x-amz-meta-immiiq-grant", grant);
	if (s->session_token != NULL)
		presign_put_json(fields, "\"%s\":%s,", "x-amz-security-token", s->session_token);
	presign_put_json(fields, "\"%s\":%s,", "x-amz-algorithm", "AWS4-HMAC-SHA256");
	presign_put_json(fields, "\"%s\":%s,", "x-amz-credential", credential);
	presign_put_json(fields, "\"%s\":%s,", "x-amz-date", date);
	presign_put_json(fields, "\"%s\":%s,", "policy", base64);
	presign_put_json(fields, "\"%s\":%s}", "x-amz-signature", signature);

	presign_place(s, "", &scheme, &host, &path);
	if (path[strlen(path) - 1] == '/' && s->path_style)
		path[strlen(path) - 1] = '\0';
	return psprintf("%s://%s%s", scheme, host, path);
}

/* Becomes the owner of immiiq's tables; the end of the transaction, or presign_return, undoes it. */
static void
presign_become_owner(Oid *user, int *sec_context)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(base_relation("document_event")));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for a relation");
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	GetUserIdAndSecContext(user, sec_context);
	SetUserIdAndSecContext(owner, *sec_context | SECURITY_LOCAL_USERID_CHANGE);
}

/* What a call asks for beside document and action. */
typedef struct PresignWish
{
	int32 ttl;		   /* 0 for the store's */
	const char *type;  /* PUT and POST */
	int64 length;	   /* PUT */
	int64 least, most; /* POST */
	const pg_uuid_t *share;
	const PresignDocument *known; /* DELETE of an object whose row is gone */
} PresignWish;

/* Authorisation, record, signature; the result row. */
static Datum
presign_make(FunctionCallInfo fcinfo, PresignAction action, const pg_uuid_t *id,
			 const pg_uuid_t *org, const PresignWish *wish)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext spi;
	PresignDocument document;
	PresignStore store;
	PresignGrant grant;
	TupleDesc desc;
	Datum values[4];
	bool nulls[4] = {false, false, false, false};
	int column = 0;
	StringInfoData extra;
	char *url;
	Oid user;
	int sec_context;

	base_require_preload();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	SPI_connect();
	if (wish->known != NULL)
		document = *wish->known;
	else if (!presign_read_document(action, org, id, &document))
		presign_refuse(action, id, "absent, or not visible");
	if ((document.hold && presign_actions[action].writes) ||
		(action == PRESIGN_DELETE && hold_keeps(org, document.has_client ? &document.client : NULL)))
		presign_refuse(action, id, "under hold");

	presign_become_owner(&user, &sec_context);
	presign_read_store(&document, &store);
	presign_grant(action, &store, wish->ttl, &grant);
	presign_record(action, &document, &grant, wish->share);
	SetUserIdAndSecContext(user, sec_context);

	initStringInfo(&extra);
	if (action == PRESIGN_POST)
	{
		if (strstr(store.endpoint, ".r2.cloudflarestorage.com") != NULL)
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("Cloudflare R2 does not take browser forms"),
							errhint("Use immiiq.presign_put.")));
		url = presign_form(&document, &store, &grant, wish->type, wish->least, wish->most, &extra);
	}
	else if (action == PRESIGN_PUT)
	{
		Sigv4Parameter headers[2] = {{"content-length", psprintf(INT64_FORMAT, wish->length)},
									 {"content-type", wish->type}};

		url = presign_url(action, &document, &store, &grant, headers, 2);
		presign_put_json(&extra, "{\"%s\":%s,", "content-length", headers[0].value);
		presign_put_json(&extra, "\"%s\":%s}", "content-type", wish->type);
	}
	else
		url = presign_url(action, &document, &store, &grant, NULL, 0);
	presign_wipe_store(&store);
	presign_remember(action, &document, &grant);

	spi = MemoryContextSwitchTo(caller);
	values[column++] = CStringGetTextDatum(url);
	if (extra.len > 0)
		values[column++] = DirectFunctionCall1(jsonb_in, CStringGetDatum(extra.data));
	values[column++] = TimestampTzGetDatum(grant.expires_at);
	values[column++] = UUIDPGetDatum(memcpy(palloc(UUID_LEN), &grant.grant, UUID_LEN));
	MemoryContextSwitchTo(spi);
	documents_wipe(url);
	SPI_finish();
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* ERROR 22023 unless the content type can stand in a header. */
static char *
presign_type(FunctionCallInfo fcinfo, int arg, bool family)
{
	char *type = text_to_cstring(PG_GETARG_TEXT_PP(arg));
	size_t n = strlen(type);
	char *checked = type;

	/* A family of types is one whose subtype is left open. */
	if (family && n > 2 && strcmp(type + n - 2, "/*") == 0)
		checked = psprintf("%.*sx", (int) (n - 1), type);
	if (!object_type_is_valid(checked))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("not a content type"),
						errhint("Write type/subtype in lower case, such as application/pdf.")));
	return type;
}

static void
presign_check_length(int64 length)
{
	if (length < 0 || length > PRESIGN_MAX_LENGTH)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an upload has from 0 to " INT64_FORMAT " bytes", PRESIGN_MAX_LENGTH)));
}

/* Arguments (document uuid, ttl interval, …) of a URL without more to ask for. */
static Datum
presign_document(FunctionCallInfo fcinfo, PresignAction action)
{
	PresignWish wish = {0};

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	wish.ttl = presign_seconds(fcinfo, 1);
	return presign_make(fcinfo, action, PG_GETARG_UUID_P(0), &context_require()->org, &wish);
}

PG_FUNCTION_INFO_V1(immiiq_presign_get);
/* presign_get(document uuid, ttl interval, shown bool) → (url, expires_at, grant_id). ERROR 42501, IQ011, 22023, 55000. */
Datum
immiiq_presign_get(PG_FUNCTION_ARGS)
{
	return presign_document(fcinfo, !PG_ARGISNULL(2) && PG_GETARG_BOOL(2) ? PRESIGN_OPEN
																		  : PRESIGN_DOWNLOAD);
}

PG_FUNCTION_INFO_V1(immiiq_presign_head);
/* presign_head(document uuid, ttl interval) → (url, expires_at, grant_id). Errors of presign_get. */
Datum
immiiq_presign_head(PG_FUNCTION_ARGS)
{
	return presign_document(fcinfo, PRESIGN_HEAD);
}

PG_FUNCTION_INFO_V1(immiiq_presign_delete);
/* presign_delete(document uuid, ttl interval) → (url, expires_at, grant_id). ERROR 42501 under hold, too. */
Datum
immiiq_presign_delete(PG_FUNCTION_ARGS)
{
	return presign_document(fcinfo, PRESIGN_DELETE);
}

PG_FUNCTION_INFO_V1(immiiq_presign_put);
/* presign_put(document uuid, content_type text, content_length int8, ttl interval) → (url, headers, expires_at, grant_id). */
Datum
immiiq_presign_put(PG_FUNCTION_ARGS)
{
	PresignWish wish = {0};

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	wish.type = presign_type(fcinfo, 1, false);
	wish.length = PG_GETARG_INT64(2);
	presign_check_length(wish.length);
	wish.ttl = presign_seconds(fcinfo, 3);
	return presign_make(fcinfo, PRESIGN_PUT, PG_GETARG_UUID_P(0), &context_require()->org, &wish);
}

PG_FUNCTION_INFO_V1(immiiq_presign_post);
/* presign_post(document uuid, content_type text, min_length int8, max_length int8, ttl interval) → (url, fields, expires_at, grant_id). */
Datum
immiiq_presign_post(PG_FUNCTION_ARGS)
{
	PresignWish wish = {0};

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_ARGISNULL(3))
		PG_RETURN_NULL();
	wish.type = presign_type(fcinfo, 1, true);
	wish.least = PG_GETARG_INT64(2);
	wish.most = PG_GETARG_INT64(3);
	presign_check_length(wish.least);
	presign_check_length(wish.most);
	if (wish.least > wish.most)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the least size of an upload is above the most")));
	wish.ttl = presign_seconds(fcinfo, 4);
	return presign_make(fcinfo, PRESIGN_POST, PG_GETARG_UUID_P(0), &context_require()->org, &wish);
}

PG_FUNCTION_INFO_V1(immiiq_presign_share);
/*
 * presign_share(org uuid, document uuid, share uuid) → (url, expires_at, grant_id): for redeem_share alone, which
 * has checked the share; runs as the owner of immiiq's tables and so without row security.
 */
Datum
immiiq_presign_share(PG_FUNCTION_ARGS)
{
	PresignWish wish = {0};

	wish.ttl = PRESIGN_SHARE_SECONDS;
	wish.share = PG_GETARG_UUID_P(2);
	return presign_make(fcinfo, PRESIGN_REDEEM, PG_GETARG_UUID_P(1), PG_GETARG_UUID_P(0), &wish);
}

PG_FUNCTION_INFO_V1(immiiq_object_key_is_valid);
/* object_key_is_valid(text) → bool: what immiiq.document takes as key (docs/documents.md). */
Datum
immiiq_object_key_is_valid(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(object_key_is_valid(text_to_cstring(PG_GETARG_TEXT_PP(0))));
}

PG_FUNCTION_INFO_V1(immiiq_content_type_is_valid);
/* content_type_is_valid(text) → bool: what immiiq.document takes as content type. */
Datum
immiiq_content_type_is_valid(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(object_type_is_valid(text_to_cstring(PG_GETARG_TEXT_PP(0))));
}

PG_FUNCTION_INFO_V1(immiiq_presign_erased);
/*
 * presign_erased(org, document, store uuid, key, version text, ttl interval) → (url, expires_at, grant_id): for
 * erasure_objects alone, which has checked who asks; the document's row may be gone.
 */
Datum
immiiq_presign_erased(PG_FUNCTION_ARGS)
{
	PresignWish wish = {0};
	PresignDocument document = {0};

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_ARGISNULL(3))
		PG_RETURN_NULL();
	document.org = *PG_GETARG_UUID_P(0);
	document.document = *PG_GETARG_UUID_P(1);
	document.store = *PG_GETARG_UUID_P(2);
	document.key = text_to_cstring(PG_GETARG_TEXT_PP(3));
	document.version = PG_ARGISNULL(4) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(4));
	wish.ttl = presign_seconds(fcinfo, 5);
	wish.known = &document;
	return presign_make(fcinfo, PRESIGN_DELETE, &document.document, &document.org, &wish);
}
