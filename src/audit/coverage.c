/*
 * Whether capture was on: the worker looks at the triggers that capture, and at
 * those that guard the log, and records in the log how it found them whenever
 * that changes.  Trusts no table but the log; refuses nothing.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "audit/audit.h"
#include "audit/audit_internal.h"
#include "base/base.h"
#include "keyring/keyring.h"

static int coverage_interval = 10;
static TimestampTz coverage_next = 0;
static TimestampTz coverage_looked = 0; /* when this process last looked, and all was in the log */

void
coverage_init(void)
{
	DefineCustomIntVariable("immiiq.coverage_interval",
							"Time between two looks at the triggers that capture; 0 for none.",
							NULL, &coverage_interval, 10, 0, 3600, PGC_SIGHUP, GUC_UNIT_S, NULL,
							NULL, NULL);
}

bool
audit_coverage_due(void)
{
	return coverage_interval > 0 && GetCurrentTimestamp() >= coverage_next;
}

void
audit_coverage(void)
{
	Oid types[1] = {TIMESTAMPTZOID};
	TimestampTz now = GetCurrentTimestamp();
	Datum args[1] = {TimestampTzGetDatum(coverage_looked)};

	coverage_next = TimestampTzPlusMilliseconds(now, (int64) coverage_interval * 1000);
	if (RecoveryInProgress())
		return;
	base_start_transaction();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (OidIsValid(base_relation_or_invalid("coverage_state")))
	{
		SPI_connect();
		if (SPI_execute_with_args("SELECT immiiq.record_coverage($1)", 1, types, args,
								  coverage_looked != 0 ? " " : "n", false, 0) != SPI_OK_SELECT)
			elog(ERROR, "could not look at the triggers that capture");
		SPI_finish();
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	coverage_looked = now;
}

static void *
coverage_grow(void *old, size_t size)
{
	return old == NULL ? palloc(size) : repalloc(old, size);
}

int64
audit_event_tag(const char *kind, const char *object)
{
	CanonicalBuffer name = {.grow = coverage_grow};
	uint8 tag[CANONICAL_TAG_BYTES];

	canonical_put_length(&name, strlen(AUDIT_EVENT_SCHEMA));
	canonical_put(&name, AUDIT_EVENT_SCHEMA, strlen(AUDIT_EVENT_SCHEMA));
	canonical_put_length(&name, strlen(kind));
	canonical_put(&name, kind, strlen(kind));
	canonical_put_byte(&name, CANONICAL_C_KEY);
	canonical_put_length(&name, strlen(AUDIT_EVENT_OBJECT));
	canonical_put(&name, AUDIT_EVENT_OBJECT, strlen(AUDIT_EVENT_OBJECT));
	canonical_put_length(&name, strlen(object));
	canonical_put(&name, object, strlen(object));
	audit_tag(&keyring_installation_org, AUDIT_TAG_ROW, name.data, name.len, tag);
	pfree(name.data);
	return (int64) canonical_u64(tag);
}

PG_FUNCTION_INFO_V1(immiiq_event_tag);

/*
 * immiiq.event_tag(kind text, object text) → int8: the row_tag of such events in
 * the installation's log.  NULL while its keys cannot be had.
 */
Datum
immiiq_event_tag(PG_FUNCTION_ARGS)
{
	if (!keyring_can_log(&keyring_installation_org))
		PG_RETURN_NULL();
	PG_RETURN_INT64(audit_event_tag(text_to_cstring(PG_GETARG_TEXT_PP(0)),
									text_to_cstring(PG_GETARG_TEXT_PP(1))));
}
