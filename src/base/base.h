/*
 * What every capability stands on: the library's state, SQLSTATEs of class IQ,
 * OIDs of immiiq's own objects, shared memory bookkeeping.
 */
#ifndef IMMIIQ_BASE_H
#define IMMIIQ_BASE_H

#include "base/compat.h"
#include "utils/elog.h"
#include "utils/uuid.h"

/* SQLSTATEs of our own; docs/errors.md lists them.  Everything else uses core's. */
/* library not in shared_preload_libraries */
#define ERRCODE_IMMIIQ_NOT_PRELOADED MAKE_SQLSTATE('I', 'Q', '0', '0', '1')
/* root key absent, malformed or wrong */
#define ERRCODE_IMMIIQ_ROOT_KEY MAKE_SQLSTATE('I', 'Q', '0', '0', '2')
/* organisation key absent or does not open */
#define ERRCODE_IMMIIQ_KEY MAKE_SQLSTATE('I', 'Q', '0', '0', '3')
/* the database was restored from before an erasure */
#define ERRCODE_IMMIIQ_QUARANTINE MAKE_SQLSTATE('I', 'Q', '0', '0', '4')
/* token refused, whatever the reason */
#define ERRCODE_IMMIIQ_TOKEN MAKE_SQLSTATE('I', 'Q', '0', '1', '0')
/* nobody is active in this transaction */
#define ERRCODE_IMMIIQ_NO_IDENTITY MAKE_SQLSTATE('I', 'Q', '0', '1', '1')
/* another identity was first in this transaction */
#define ERRCODE_IMMIIQ_SECOND_IDENTITY MAKE_SQLSTATE('I', 'Q', '0', '1', '2')
/* role for which row security would not hold */
#define ERRCODE_IMMIIQ_ROLE MAKE_SQLSTATE('I', 'Q', '0', '1', '3')
/* plan made for another scope */
#define ERRCODE_IMMIIQ_STALE_PLAN MAKE_SQLSTATE('I', 'Q', '0', '2', '0')
/* operation that sealed values of this declaration cannot do */
#define ERRCODE_IMMIIQ_SEALED MAKE_SQLSTATE('I', 'Q', '0', '3', '0')
/* malformed envelope or armour */
#define ERRCODE_IMMIIQ_ENVELOPE MAKE_SQLSTATE('I', 'Q', '0', '3', '1')
/* value sealed for another organisation, type or domain */
#define ERRCODE_IMMIIQ_BINDING MAKE_SQLSTATE('I', 'Q', '0', '3', '2')
/* audit and journal rows are never changed */
#define ERRCODE_IMMIIQ_APPEND_ONLY MAKE_SQLSTATE('I', 'Q', '0', '4', '0')
/* the journal did not acknowledge in time */
#define ERRCODE_IMMIIQ_JOURNAL MAKE_SQLSTATE('I', 'Q', '0', '4', '1')
/* what is under hold was to be removed */
#define ERRCODE_IMMIIQ_HELD MAKE_SQLSTATE('I', 'Q', '0', '5', '0')

/* Starts base: defines what every capability needs before its own init. */
extern void base_init(void);
/* Reserves the setting prefix once every capability has defined its settings. */
extern void base_init_done(void);

/* True when the library was loaded through shared_preload_libraries. */
extern bool base_preloaded;
/* ERRORs with ERRCODE_IMMIIQ_NOT_PRELOADED and the line to add, unless preloaded. */
extern void base_require_preload(void);

/* OID of schema immiiq in this database, or InvalidOid while the extension is absent. */
extern Oid base_schema(void);
/* OID of a table or index in schema immiiq; cached until an invalidation; ERROR when absent. */
extern Oid base_relation(const char *relname);
/* The same, InvalidOid when absent. */
extern Oid base_relation_or_invalid(const char *relname);
/* OID of a type of immiiq's in pg_catalog, InvalidOid when absent. */
extern Oid base_type(const char *typname);

/* Begins a transaction of a background process: now() is its start, which PostgreSQL leaves to us. */
extern void base_start_transaction(void);

/* 16 bytes of a uuid, compared and tested. */
static inline bool
base_uuid_equal(const pg_uuid_t *a, const pg_uuid_t *b)
{
	return memcmp(a->data, b->data, UUID_LEN) == 0;
}
extern bool base_uuid_is_nil(const pg_uuid_t *a);

#endif /* IMMIIQ_BASE_H */
