/*
 * Anchors: the newest checkpoint goes to a command that keeps it where the
 * database's superuser cannot write.  Trusts the server's configuration for what
 * the command is; keeps nobody waiting for it, and what it says back counts only
 * as cosignatures of known witnesses.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "audit/audit.h"
#include "audit/audit_internal.h"
#include "base/base.h"
#include "base/command.h"

#define ANCHOR_NOTE_MAX 4096 /* what a pipe takes before anybody reads */

static char *anchor_command = NULL;
static int anchor_interval = 60;

/* The one that runs, in the worker's process. */
static Command anchor_running;
static char anchor_output[COMMAND_OUTPUT_MAX];
static char anchor_note[ANCHOR_NOTE_MAX + 1];
static TimestampTz anchor_next = 0;

void
anchor_init(void)
{
	DefineCustomStringVariable("immiiq.anchor_command",
							   "Shell command that gets the newest checkpoint of the audit on its "
							   "standard input, to keep it elsewhere.",
							   NULL, &anchor_command, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL,
							   NULL, NULL);
	DefineCustomIntVariable("immiiq.anchor_interval",
							"Time between two runs of immiiq.anchor_command while the audit grows.",
							NULL, &anchor_interval, 60, 1, 86400, PGC_SIGHUP, GUC_UNIT_S, NULL,
							NULL, NULL);
}

static void
anchor_exit(int code, Datum arg)
{
	command_kill(&anchor_running);
}

/* What there is to anchor, for anchor_note; false when it is anchored already, or nothing is sealed. */
static bool
anchor_read_note(void)
{
	bool found = false;

	SPI_connect();
	if (SPI_execute("SELECT immiiq.checkpoint() FROM (SELECT max(h.size) AS size FROM "
					"immiiq.tree_head AS h) AS t WHERE t.size IS NOT NULL AND t.size IS DISTINCT "
					"FROM (SELECT a.anchored FROM immiiq.anchor_state AS a)",
					true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read the checkpoint");
	if (SPI_processed > 0)
	{
		char *note = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);

		if (note == NULL || strlen(note) > ANCHOR_NOTE_MAX)
			elog(ERROR, "checkpoint cannot be handed to a command");
		strlcpy(anchor_note, note, sizeof(anchor_note));
		found = true;
	}
	SPI_finish();
	return found;
}

/* Notes how it went. */
static void
anchor_record(const char *problem)
{
	Oid types[3] = {TEXTOID, TEXTOID, TEXTOID};
	Datum values[3];
	char nulls[4] = "   ";
	bool text = pg_verifymbstr(anchor_output, (int) anchor_running.len, true);

	values[0] = CStringGetTextDatum(anchor_note);
	values[1] = PointerGetDatum(
		cstring_to_text_with_len(anchor_output, text ? (int) anchor_running.len : 0));
	values[2] = (Datum) 0;
	if (problem != NULL)
		values[2] = CStringGetTextDatum(problem);
	else
		nulls[2] = 'n';
	SPI_connect();
	if (SPI_execute_with_args("SELECT immiiq.record_anchor($1, $2, $3)", 3, types, values, nulls,
							  false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not record an anchor");
	SPI_finish();
}

bool
audit_anchor_due(void)
{
	if (anchor_running.pid != 0)
		return true;
	return anchor_command != NULL && anchor_command[0] != '\0' &&
		   GetCurrentTimestamp() >= anchor_next;
}

void
audit_anchor(void)
{
	static bool registered = false;
	bool over = anchor_running.pid != 0;

	if (over && !command_step(&anchor_running, 0))
		return;
	if (!over)
		anchor_next =
			TimestampTzPlusMilliseconds(GetCurrentTimestamp(), (int64) anchor_interval * 1000);
	if (RecoveryInProgress())
		return;
	base_start_transaction();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (OidIsValid(base_relation_or_invalid("anchor_state")))
	{
		if (!over && anchor_read_note())
		{
			if (!registered)
				before_shmem_exit(anchor_exit, (Datum) 0);
			registered = true;
			over = !command_start(&anchor_running, anchor_command, anchor_note, strlen(anchor_note),
								  anchor_output, sizeof(anchor_output));
		}
		if (over)
			anchor_record(anchor_running.problem);
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	if (over && anchor_running.problem != NULL)
		ereport(WARNING, (errmsg("could not anchor the audit: immiiq.anchor_command: %s",
								 anchor_running.problem)));
}
