/*
 * What the log needs as months go by: partitions ahead of time.  Trusts the
 * functions of 60_audit.sql; waits for nobody, and comes again.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "executor/spi.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "audit/audit.h"
#include "audit/audit_internal.h"
#include "base/base.h"

#define MAINTAIN_MS		  (60 * 60 * 1000)
#define MAINTAIN_RETRY_MS (60 * 1000)

static TimestampTz maintain_next = 0;

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

	maintain_next = TimestampTzPlusMilliseconds(now, MAINTAIN_RETRY_MS);
	if (RecoveryInProgress())
		return;
	StartTransactionCommand();
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
			maintain_next = TimestampTzPlusMilliseconds(now, MAINTAIN_MS);
		SPI_finish();
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
}
