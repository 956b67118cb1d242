/*
 * The library's state and the OIDs of its own objects.  Trusts the catalog;
 * refuses guarded work when the library was not preloaded.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "base/base.h"

bool base_preloaded = false;

typedef struct BaseRelation
{
	NameData name; /* key */
	Oid relid;
} BaseRelation;

static HTAB *base_relations = NULL;
static Oid base_schema_oid = InvalidOid;

/* Forgets every cached OID: names are looked up again at the next use. */
static void
base_forget(Datum arg, int cacheid, uint32 hashvalue)
{
	base_schema_oid = InvalidOid;
	if (base_relations != NULL)
	{
		hash_destroy(base_relations);
		base_relations = NULL;
	}
}

static void
base_forget_relation(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS status;
	BaseRelation *entry;

	if (base_relations == NULL)
		return;
	hash_seq_init(&status, base_relations);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		if (!OidIsValid(relid) || entry->relid == relid)
			hash_search(base_relations, &entry->name, HASH_REMOVE, NULL);
	}
}

/*
 * Planning a join under policies takes a little more than the 128 kB above which
 * glibc gives the end of the heap back after each statement, to fault it in again
 * with the next: a fifth of the time.  Freeing a larger block once raises that
 * threshold, to twice the block, for this process and those that it forks.
 */
#define BASE_HEAP_KEPT (1024 * 1024)

void
base_init(void)
{
	base_preloaded = process_shared_preload_libraries_in_progress;
	pfree(palloc(BASE_HEAP_KEPT / 2));
	CacheRegisterSyscacheCallback(NAMESPACEOID, base_forget, (Datum) 0);
	CacheRegisterRelcacheCallback(base_forget_relation, (Datum) 0);
}

void
base_init_done(void)
{
	MarkGUCPrefixReserved("immiiq");
}

void
base_require_preload(void)
{
	if (!base_preloaded)
		ereport(ERROR,
				(errcode(ERRCODE_IMMIIQ_NOT_PRELOADED),
				 errmsg("immiiq must be loaded when the server starts"),
				 errhint(
					 "Add shared_preload_libraries = 'immiiq' to postgresql.conf and restart the server.")));
}

Oid
base_schema(void)
{
	if (!OidIsValid(base_schema_oid))
		base_schema_oid = get_namespace_oid("immiiq", true);
	return base_schema_oid;
}

Oid
base_relation_or_invalid(const char *relname)
{
	NameData key;
	BaseRelation *entry;
	Oid schema;
	Oid relid;

	memset(&key, 0, sizeof(key));
	namestrcpy(&key, relname);
	if (base_relations != NULL)
	{
		entry = hash_search(base_relations, &key, HASH_FIND, NULL);
		if (entry != NULL)
			return entry->relid;
	}
	schema = base_schema();
	if (!OidIsValid(schema))
		return InvalidOid;
	relid = get_relname_relid(relname, schema);
	if (!OidIsValid(relid))
		return InvalidOid;
	if (base_relations == NULL)
	{
		HASHCTL ctl;

		memset(&ctl, 0, sizeof(ctl));
		ctl.keysize = sizeof(NameData);
		ctl.entrysize = sizeof(BaseRelation);
		ctl.hcxt = CacheMemoryContext ? CacheMemoryContext : TopMemoryContext;
		base_relations =
			hash_create("immiiq relation OIDs", 32, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	entry = hash_search(base_relations, &key, HASH_ENTER, NULL);
	entry->relid = relid;
	return relid;
}

Oid
base_relation(const char *relname)
{
	Oid relid = base_relation_or_invalid(relname);

	if (!OidIsValid(relid))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("immiiq is not installed in this database"),
						errhint("Run CREATE EXTENSION immiiq as a superuser.")));
	return relid;
}

Oid
base_type(const char *typname)
{
	return GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum(typname),
						   ObjectIdGetDatum(PG_CATALOG_NAMESPACE));
}

void
base_start_transaction(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
}

bool
base_uuid_is_nil(const pg_uuid_t *a)
{
	static const pg_uuid_t nil = {{0}};

	return memcmp(a->data, nil.data, UUID_LEN) == 0;
}
