/*
 * Rows of immiiq.session, immiiq.member and immiiq.org, read when a token is set.
 * Trusts those tables, read by index with a snapshot of its own, without SPI or
 * privilege; refuses sessions that ended, and members or organisations not active.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inet.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "context/context_internal.h"

/* Columns by position, as sql/parts/40_context.sql and 70_directory.sql create them. */
#define SESSION_ID			 1
#define SESSION_ORG			 2
#define SESSION_MEMBER		 3
#define SESSION_TOKEN_HASH	 4
#define SESSION_IMPERSONATED 5
#define SESSION_EXPIRES_AT	 8
#define SESSION_REVOKED_AT	 9
#define SESSION_CLIENT		 11
#define SESSION_CLIENT_IP	 13

#define MEMBER_ORG					   1
#define MEMBER_ID					   2
#define MEMBER_EMAIL				   3
#define MEMBER_SCOPE				   5
#define MEMBER_MODULES				   6
#define MEMBER_ACTIVE				   7
#define MEMBER_PERMISSIONS			   9
#define MEMBER_ASSISTANT_MODULES	   11
#define MEMBER_ADDED_SCOPE			   12
#define MEMBER_ADDED_MODULES		   13
#define MEMBER_ADDED_PERMISSIONS	   14
#define MEMBER_ADDED_ASSISTANT_MODULES 15

#define TEAM_ORG	1
#define TEAM_PARENT 5

#define TEAM_MEMBER_ORG	   1
#define TEAM_MEMBER_TEAM   2
#define TEAM_MEMBER_MEMBER 3

#define ORG_ID	   1
#define ORG_ACTIVE 3

#define IP_RULE_ORG		1
#define IP_RULE_NETWORK 3

/* One row found by a unique index; close it with session_row_close. */
typedef struct SessionRow
{
	Relation rel;
	SysScanDesc scan;
	HeapTuple tuple; /* NULL: no row */
} SessionRow;

static void
session_row_open(SessionRow *row, const char *table, const char *index, ScanKey keys, int nkeys)
{
	row->rel = table_open(base_relation(table), AccessShareLock);
	row->scan = systable_beginscan(row->rel, base_relation(index), true, NULL, nkeys, keys);
	row->tuple = systable_getnext(row->scan);
}

static void
session_row_close(SessionRow *row)
{
	systable_endscan(row->scan);
	table_close(row->rel, AccessShareLock);
}

/* A column's value; an altered table is an error here, not a crash later. */
static Datum
session_column(const SessionRow *row, AttrNumber attno, Oid type, bool *isnull)
{
	TupleDesc desc = RelationGetDescr(row->rel);

	if (attno > desc->natts || TupleDescAttr(desc, attno - 1)->atttypid != type)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table immiiq.%s is not as the extension made it",
							   RelationGetRelationName(row->rel))));
	return heap_getattr(row->tuple, attno, desc, isnull);
}

static pg_uuid_t
session_uuid(const SessionRow *row, AttrNumber attno)
{
	pg_uuid_t uuid = {{0}};
	bool isnull;
	Datum value = session_column(row, attno, UUIDOID, &isnull);

	if (!isnull)
		uuid = *DatumGetUUIDP(value);
	return uuid;
}

/* False for null, too. */
static bool
session_bool(const SessionRow *row, AttrNumber attno)
{
	bool isnull;
	Datum value = session_column(row, attno, BOOLOID, &isnull);

	return !isnull && DatumGetBool(value);
}

/* Finds the session's row; fills session, org, member or client, expiry, and the address of the sign-in. */
static bool
session_read(const uint8_t *hash, const pg_uuid_t *session, ContextIdentity *identity,
			 const char **reason)
{
	SessionRow row;
	ScanKeyData key;
	uint8_t stored[VARHDRSZ + CRYPTO_HASH_BYTES];
	bool isnull;
	Datum value;

	if (hash != NULL)
	{
		SET_VARSIZE(stored, sizeof(stored));
		memcpy(VARDATA(stored), hash, CRYPTO_HASH_BYTES);
		ScanKeyInit(&key, SESSION_TOKEN_HASH, BTEqualStrategyNumber, F_BYTEAEQ,
					PointerGetDatum(stored));
		session_row_open(&row, "session", "session_token_hash_key", &key, 1);
	}
	else
	{
		ScanKeyInit(&key, SESSION_ID, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(session));
		session_row_open(&row, "session", "session_pkey", &key, 1);
	}
	*reason = NULL;
	if (row.tuple == NULL)
		*reason = "unknown";
	else
	{
		identity->session = session_uuid(&row, SESSION_ID);
		identity->org = session_uuid(&row, SESSION_ORG);
		identity->member = session_uuid(&row, SESSION_MEMBER);
		identity->client = session_uuid(&row, SESSION_CLIENT);
		identity->impersonated = session_bool(&row, SESSION_IMPERSONATED);
		value = session_column(&row, SESSION_CLIENT_IP, INETOID, &isnull);
		if (!isnull)
			strlcpy(identity->address,
					TextDatumGetCString(DirectFunctionCall1(network_host, value)), CONTEXT_IP_SIZE);
		value = session_column(&row, SESSION_EXPIRES_AT, TIMESTAMPTZOID, &isnull);
		identity->expires_at = isnull ? DT_NOBEGIN : DatumGetTimestampTz(value);
		(void) session_column(&row, SESSION_REVOKED_AT, TIMESTAMPTZOID, &isnull);
		if (!isnull)
			*reason = "revoked";
		else if (identity->expires_at <= GetCurrentTimestamp())
			*reason = "expired";
	}
	session_row_close(&row);
	return *reason == NULL;
}

/* The names in a column of type text[], nulls left out; their number, *names in the current memory context. */
static int
session_names(const SessionRow *row, AttrNumber attno, char ***names)
{
	bool isnull;
	Datum value = session_column(row, attno, TEXTARRAYOID, &isnull);
	Datum *items;
	bool *nulls;
	int found;
	int n = 0;

	*names = NULL;
	if (isnull)
		return 0;
	deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false, TYPALIGN_INT, &items, &nulls,
					  &found);
	*names = palloc(sizeof(char *) * Max(found, 1));
	for (int i = 0; i < found; i++)
		if (!nulls[i])
			(*names)[n++] = TextDatumGetCString(items[i]);
	return n;
}

static uint32
session_modules(const SessionRow *row, AttrNumber attno)
{
	uint32 modules = 0;
	char **names;
	int n = session_names(row, attno, &names);

	for (int i = 0; i < n; i++)
		modules |= context_module_bit(names[i]);
	return modules;
}

/* True when the permission, or every one, is among a column's names. */
static bool
session_permits(const SessionRow *row, AttrNumber attno, const char *permission)
{
	char **names;
	int n = session_names(row, attno, &names);

	for (int i = 0; i < n; i++)
		if (strcmp(names[i], permission) == 0 || strcmp(names[i], "*") == 0)
			return true;
	return false;
}

/* The scope that a column names, CONTEXT_SCOPE_NONE for null and for anything else. */
static ContextScope
session_scope(const SessionRow *row, AttrNumber attno)
{
	bool isnull;
	Datum value = session_column(row, attno, TEXTOID, &isnull);
	char *scope = isnull ? "" : TextDatumGetCString(value);

	if (strcmp(scope, "all") == 0)
		return CONTEXT_SCOPE_ALL;
	if (strcmp(scope, "team") == 0)
		return CONTEXT_SCOPE_TEAM;
	if (strcmp(scope, "assigned") == 0)
		return CONTEXT_SCOPE_ASSIGNED;
	return CONTEXT_SCOPE_NONE;
}

/* Finds the member's row. */
static void
session_member_open(SessionRow *row, const pg_uuid_t *org, const pg_uuid_t *member)
{
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], MEMBER_ORG, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(org));
	ScanKeyInit(&keys[1], MEMBER_ID, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(member));
	session_row_open(row, "member", "member_pkey", keys, 2);
}

/* Reads what the member may see: their own rights, and what teams and permission groups add. */
static bool
session_read_member(ContextIdentity *identity, const char **reason)
{
	SessionRow row;

	session_member_open(&row, &identity->org, &identity->member);
	*reason = NULL;
	if (row.tuple == NULL)
		*reason = "member removed";
	else if (!session_bool(&row, MEMBER_ACTIVE))
		*reason = "member not active";
	else
	{
		ContextScope added = session_scope(&row, MEMBER_ADDED_SCOPE);

		identity->actor = CONTEXT_MEMBER;
		identity->scope = session_scope(&row, MEMBER_SCOPE);
		/* the wider one: scopes stand in order, the widest first */
		if (identity->scope == CONTEXT_SCOPE_NONE)
			*reason = "member without a scope";
		else if (added != CONTEXT_SCOPE_NONE)
			identity->scope = Min(identity->scope, added);
		identity->modules =
			session_modules(&row, MEMBER_MODULES) | session_modules(&row, MEMBER_ADDED_MODULES);
		identity->assistant_modules = session_modules(&row, MEMBER_ASSISTANT_MODULES) |
									  session_modules(&row, MEMBER_ADDED_ASSISTANT_MODULES);
		identity->cross_office =
			session_permits(&row, MEMBER_PERMISSIONS, CONTEXT_CROSS_OFFICE) ||
			session_permits(&row, MEMBER_ADDED_PERMISSIONS, CONTEXT_CROSS_OFFICE);
	}
	session_row_close(&row);
	return *reason == NULL;
}

/* Finds the organisation's row; *active says what stands in it. */
static bool
session_read_org(const pg_uuid_t *org, bool *active)
{
	SessionRow row;
	ScanKeyData key;
	bool found;

	ScanKeyInit(&key, ORG_ID, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(org));
	session_row_open(&row, "org", "org_pkey", &key, 1);
	found = row.tuple != NULL;
	*active = found && session_bool(&row, ORG_ACTIVE);
	session_row_close(&row);
	return found;
}

/* True when the member is in more than one team, sub-teams counted: a shape of plans of its own. */
static bool
session_in_several_teams(const ContextIdentity *identity)
{
	SessionRow row;
	ScanKeyData keys[2];
	pg_uuid_t team = {{0}};
	bool any;
	bool several;

	ScanKeyInit(&keys[0], TEAM_MEMBER_ORG, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum(&identity->org));
	ScanKeyInit(&keys[1], TEAM_MEMBER_MEMBER, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum(&identity->member));
	session_row_open(&row, "team_member", "team_member_pkey", keys, 2);
	any = row.tuple != NULL;
	if (any)
		team = session_uuid(&row, TEAM_MEMBER_TEAM);
	several = any && systable_getnext(row.scan) != NULL;
	session_row_close(&row);
	if (!any || several)
		return several;

	ScanKeyInit(&keys[0], TEAM_ORG, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(&identity->org));
	ScanKeyInit(&keys[1], TEAM_PARENT, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(&team));
	session_row_open(&row, "team", "team_parent_idx", keys, 2);
	several = row.tuple != NULL;
	session_row_close(&row);
	return several;
}

bool
context_address_allowed(const pg_uuid_t *org, const char *address)
{
	SessionRow row;
	ScanKeyData key;
	bool allowed;

	ScanKeyInit(&key, IP_RULE_ORG, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(org));
	session_row_open(&row, "ip_rule", "ip_rule_pkey", &key, 1);
	allowed = row.tuple == NULL;
	if (!allowed && *address != '\0')
	{
		/* an IPv4 address written as IPv6 is the IPv4 address */
		const char *plain = pg_strncasecmp(address, "::ffff:", 7) == 0 && strchr(address, '.')
								? address + 7
								: address;
		Datum inet = DirectFunctionCall1(inet_in, CStringGetDatum(plain));

		for (; row.tuple != NULL && !allowed; row.tuple = systable_getnext(row.scan))
		{
			bool isnull;
			Datum network = session_column(&row, IP_RULE_NETWORK, CIDROID, &isnull);

			allowed = !isnull && DatumGetBool(DirectFunctionCall2(network_subeq, inet, network));
		}
	}
	session_row_close(&row);
	return allowed;
}

bool
session_resolve(const uint8_t *hash, const pg_uuid_t *session, ContextIdentity *identity,
				const char **reason)
{
	bool active;

	memset(identity, 0, sizeof(*identity));
	if (!session_read(hash, session, identity, reason))
		return false;
	if (!base_uuid_is_nil(&identity->client))
	{
		/* the portal: no scope, no module; policies admit it where protect() was told to */
		identity->actor = CONTEXT_PORTAL;
		identity->member = (pg_uuid_t){{0}};
	}
	else
	{
		if (!session_read_member(identity, reason))
			return false;
		if (!context_address_allowed(&identity->org, *context_client_ip() != '\0'
														 ? context_client_ip()
														 : identity->address))
		{
			*reason = "address not allowed";
			return false;
		}
	}
	if (!session_read_org(&identity->org, &active) || !active)
	{
		*reason = "organisation not active";
		return false;
	}
	if (identity->scope == CONTEXT_SCOPE_TEAM)
		identity->several_teams = session_in_several_teams(identity);
	return true;
}

bool
session_org_exists(const pg_uuid_t *org)
{
	bool active;

	return session_read_org(org, &active);
}

bool
context_read_session(const pg_uuid_t *session, ContextIdentity *identity, const char **reason)
{
	memset(identity, 0, sizeof(*identity));
	return session_read(NULL, session, identity, reason);
}

bool
context_member_acts(const pg_uuid_t *org, const pg_uuid_t *member, char **email)
{
	SessionRow row;
	bool active;

	session_member_open(&row, org, member);
	active = row.tuple != NULL && session_bool(&row, MEMBER_ACTIVE);
	if (active && email != NULL)
	{
		bool isnull;
		Datum value = session_column(&row, MEMBER_EMAIL, TEXTOID, &isnull);

		*email = isnull ? "" : TextDatumGetCString(value);
	}
	session_row_close(&row);
	return active && session_read_org(org, &active) && active;
}
