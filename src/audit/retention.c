/*
 * What the log needs as months go by: partitions ahead of time, and an end for
 * what is older than it must be kept.  Trusts the functions of 60_audit.sql,
 * for which it opens the log's guards; the worker waits for nobody, and comes again.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "audit/audit.h"
#include "audit/audit_internal.h"
#include "base/base.h"
#include "base/keep.h"

#define MAINTAIN_MS		  (60 * 60 * 1000)
#define MAINTAIN_RETRY_MS (60 * 1000)

char *audit_keep = NULL;
bool audit_pruning = false;

static TimestampTz maintain_next = 0;

/* Runs immiiq.prune_log() with the guards open; SPI is connected. */
static void
retention_prune(const Interval *keep)
{
	Oid types[1] = {INTERVALOID};
	Datum args[1] = {IntervalPGetDatum(keep)};

	audit_pruning = true;
	PG_TRY();
	{
		if (SPI_execute_with_args("SELECT immiiq.prune_log($1)", 1, types, args, NULL, false, 0) !=
			SPI_OK_SELECT)
			elog(ERROR, "could not prune the log");
	}
	PG_FINALLY();
	{
		audit_pruning = false;
	}
	PG_END_TRY();
}

PG_FUNCTION_INFO_V1(immiiq_prune_audit);

/*
 * CALL immiiq.prune_audit(keep interval): takes away the entries of whole months
 * that are older than keep (NULL: immiiq.audit_keep), states it in the log of
 * each organisation, and blanks the leaves.  Organisations with an active hold
 * are left alone.  Errors: 22023 for less than a day; 25006 on a standby.
 */
Datum
immiiq_prune_audit(PG_FUNCTION_ARGS)
{
	Interval keep;

	base_require_preload();
	PreventCommandIfReadOnly("CALL immiiq.prune_audit()");
	PreventCommandDuringRecovery("CALL immiiq.prune_audit()");
	if (!PG_ARGISNULL(0))
		keep = *PG_GETARG_INTERVAL_P(0);
	else if (!keep_read(audit_keep, &keep))
		PG_RETURN_VOID();
	keep_require_day(&keep);
	SPI_connect();
	retention_prune(&keep);
	SPI_finish();
	PG_RETURN_VOID();
}

bool
audit_maintain_due(void)
{
	return GetCurrentTimestamp() >= maintain_next;
}

/*
 * Not before something was sealed: partitions that a restore brings would be in
 * the way of those that this makes.  The sealer's lock keeps restores out.
 */
void
audit_maintain(void)
{
	TimestampTz now = GetCurrentTimestamp();
	Interval keep;

	maintain_next = TimestampTzPlusMilliseconds(now, MAINTAIN_RETRY_MS);
	if (RecoveryInProgress())
		return;
	base_start_transaction();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (OidIsValid(base_relation_or_invalid("entry_rest")) && audit_lock_sealing(false))
	{
		SPI_connect();
		(void) set_config_option("lock_timeout", "1s", PGC_SUSET, PGC_S_SESSION, GUC_ACTION_LOCAL,
								 true, 0, false);
		if (SPI_execute("SELECT immiiq.make_partitions() FROM (SELECT FROM immiiq.log_key LIMIT 1) "
						"AS sealed",
						false, 0) != SPI_OK_SELECT)
			elog(ERROR, "could not make the partitions of the log");
		if (SPI_processed > 0)
		{
			maintain_next = TimestampTzPlusMilliseconds(now, MAINTAIN_MS);
			if (keep_read(audit_keep, &keep))
				retention_prune(&keep);
		}
		SPI_finish();
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
}
