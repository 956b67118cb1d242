/*
 * A new client of a member with a narrow scope: two triggers of a table that
 * protect() was told new clients come to.  Before the row, the client is looked
 * for everywhere; after it, it is assigned to who made it.  Trusts the catalog's
 * list of protected tables; refuses a client that any row or assignment of the
 * organisation names already, committed or not in the caller's snapshot.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "base/base.h"
#include "context/context.h"
#include "policy/access.h"
#include "policy/policy.h"
#include "policy/scope.h"
#include "policy/visible.h"

/* Clients that were found to be new in this transaction, and by whom. */
typedef struct NewClient
{
	pg_uuid_t client; /* key */
	uint64 generation;
} NewClient;

static HTAB *newclient_found = NULL;

static void
newclient_at_xact(XactEvent event, void *arg)
{
	/* TopTransactionContext takes its memory with it. */
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		newclient_found = NULL;
}

void
newclient_init(void)
{
	RegisterXactCallback(newclient_at_xact, NULL);
}

/* Protected tables that name a client, and who owns them; immiiq.assignment is one of them. */
static const char *const newclient_tables =
	"SELECT c.relowner, pg_catalog.format('SELECT FROM %I.%I WHERE %I OPERATOR(pg_catalog.=) $1 "
	"AND %I OPERATOR(pg_catalog.=) $2 LIMIT 1', n.nspname, c.relname, p.org, p.client) "
	"FROM immiiq.protected_table AS p JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) p.relation "
	"JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace "
	"WHERE p.client IS NOT NULL ORDER BY c.oid";

/* True when no row of the organisation's names the client; what others have just committed counts, whatever the isolation level. */
static bool
newclient_is_new(const ContextIdentity *who, const pg_uuid_t *client)
{
	Oid types[2] = {UUIDOID, UUIDOID};
	Datum args[2];
	pg_uuid_t org = who->org;
	pg_uuid_t wanted = *client;
	SPITupleTable *tables;
	uint64 ntables;
	bool found = false;
	AccessUser saved;

	args[0] = UUIDPGetDatum(&org);
	args[1] = UUIDPGetDatum(&wanted);
	SPI_connect();
	access_run_as_owner(access_owner(base_relation("protected_table")), &saved);
	if (SPI_execute(newclient_tables, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read immiiq.protected_table");
	access_run_as_caller(&saved);
	tables = SPI_tuptable;
	ntables = SPI_processed;
	for (uint64 i = 0; i < ntables && !found; i++)
	{
		bool isnull;
		Oid owner = DatumGetObjectId(SPI_getbinval(tables->vals[i], tables->tupdesc, 1, &isnull));
		SPIPlanPtr plan;
		int code;

		access_run_as_owner(owner, &saved);
		plan = SPI_prepare(SPI_getvalue(tables->vals[i], tables->tupdesc, 2), 2, types);
		if (plan == NULL)
			elog(ERROR, "could not look for a client");
		code = SPI_execute_snapshot(plan, args, NULL, GetLatestSnapshot(), InvalidSnapshot, false,
									false, 1);
		access_run_as_caller(&saved);
		if (code != SPI_OK_SELECT)
			elog(ERROR, "could not look for a client");
		found = SPI_processed > 0;
		SPI_freeplan(plan);
	}
	SPI_finish();
	return !found;
}

/* Who is asking, when it is a member (or their assistant) whose clients are assigned; else NULL. */
static const ContextIdentity *
newclient_who(void)
{
	const ContextIdentity *who = context_current();

	if (who == NULL || (who->actor != CONTEXT_MEMBER && who->actor != CONTEXT_ASSISTANT) ||
		(who->scope != CONTEXT_SCOPE_TEAM && who->scope != CONTEXT_SCOPE_ASSIGNED))
		return NULL;
	return who;
}

/* The client of the row that fired a trigger; false when it names none, or another organisation. */
static bool
newclient_row(TriggerData *trigdata, const PolicyTable *table, const ContextIdentity *who,
			  pg_uuid_t *client)
{
	TupleTableSlot *slot = trigdata->tg_trigslot;
	bool isnull;
	Datum org = slot_getattr(slot, table->org, &isnull);

	if (isnull || !base_uuid_equal(DatumGetUUIDP(org), &who->org))
		return false;
	*client = *DatumGetUUIDP(slot_getattr(slot, table->client, &isnull));
	return !isnull;
}

static const PolicyTable *
newclient_table(FunctionCallInfo fcinfo, bool before)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	const PolicyTable *table;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(trigdata->tg_event) ||
		!TRIGGER_FIRED_BY_INSERT(trigdata->tg_event) ||
		(before ? !TRIGGER_FIRED_BEFORE(trigdata->tg_event)
				: !TRIGGER_FIRED_AFTER(trigdata->tg_event)))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("immiiq.new_client is a trigger of INSERT that immiiq.protect makes")));
	table = policy_table(trigdata->tg_relation);
	if (table == NULL || table->client == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_TABLE_DEFINITION),
						errmsg("table \"%s\" is not protected, or names no client",
							   RelationGetRelationName(trigdata->tg_relation)),
						errhint("Use immiiq.protect() on the table.")));
	return table;
}

/*
 * immiiq.find_new_client(): BEFORE INSERT, for each row.  A client that is new
 * is in scope for the rest of the row's way into the table; of any other the
 * table's policies decide as they do without this trigger.
 */
PG_FUNCTION_INFO_V1(immiiq_find_new_client);
Datum
immiiq_find_new_client(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	const PolicyTable table = *newclient_table(fcinfo, true);
	const ContextIdentity *who = newclient_who();
	NewClient *found;
	pg_uuid_t client;

	if (who == NULL || !newclient_row(trigdata, &table, who, &client) ||
		scope_has_client(who, &client))
		return PointerGetDatum(trigdata->tg_trigtuple);
	if (newclient_is_new(who, &client))
	{
		if (newclient_found == NULL)
		{
			HASHCTL ctl;

			memset(&ctl, 0, sizeof(ctl));
			ctl.keysize = sizeof(pg_uuid_t);
			ctl.entrysize = sizeof(NewClient);
			ctl.hcxt = TopTransactionContext;
			newclient_found =
				hash_create("immiiq new clients", 16, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		}
		found = hash_search(newclient_found, &client, HASH_ENTER, NULL);
		found->generation = context_generation();
		scope_add_new_client(&client);
		return PointerGetDatum(trigdata->tg_trigtuple);
	}
	if (newclient_found != NULL)
		(void) hash_search(newclient_found, &client, HASH_REMOVE, NULL);
	return PointerGetDatum(trigdata->tg_trigtuple);
}

/*
 * immiiq.assign_new_client(): AFTER INSERT, for each row.  Assigns the client
 * that find_new_client found to be new to the member who made it.
 */
PG_FUNCTION_INFO_V1(immiiq_assign_new_client);
Datum
immiiq_assign_new_client(PG_FUNCTION_ARGS)
{
	static const char *const statement =
		"INSERT INTO immiiq.assignment (org_id, client_id, member_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	const PolicyTable table = *newclient_table(fcinfo, false);
	const ContextIdentity *who = newclient_who();
	Oid types[3] = {UUIDOID, UUIDOID, UUIDOID};
	Datum args[3];
	pg_uuid_t ids[3];
	NewClient *found;

	if (who == NULL || newclient_found == NULL || !newclient_row(trigdata, &table, who, &ids[1]))
		return PointerGetDatum(NULL);
	found = hash_search(newclient_found, &ids[1], HASH_FIND, NULL);
	if (found == NULL || found->generation != context_generation())
		return PointerGetDatum(NULL);
	(void) hash_search(newclient_found, &ids[1], HASH_REMOVE, NULL);
	ids[0] = who->org;
	ids[2] = who->member;
	for (int i = 0; i < 3; i++)
		args[i] = UUIDPGetDatum(&ids[i]);
	SPI_connect();
	(void) access_change(access_owner(base_relation("assignment")), statement, 3, types, args, NULL);
	SPI_finish();
	return PointerGetDatum(NULL);
}
