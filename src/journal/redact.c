/*
 * What the server log may know of a transaction in which somebody is active:
 * the kind of event, never a value.  Trusts the format strings of the code;
 * refuses statements, parameters, details and texts that came from the user.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "tcop/tcopprot.h"
#include "utils/errcodes.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "context/context.h"
#include "journal/journal.h"
#include "journal/redact.h"

#define REDACT_HIDDEN "not written to the log: the transaction has an identity of immiiq"

static bool redact_transaction = false; /* somebody is or was active in this transaction */
static bool redact_aborted = false;		/* the same of the aborted block that is still open */
static TimestampTz redact_message =
	0; /* start of the client's message in which somebody was active */

void
journal_note_secret(void)
{
	if (context_current() != NULL)
	{
		redact_transaction = true;
		redact_message = GetCurrentStatementStartTimestamp();
	}
}

void
journal_forget_secret(bool aborted)
{
	redact_aborted = aborted && redact_transaction;
	redact_transaction = false;
}

/* True when what this line says of the statement must not reach the log. */
static bool
redact_is_secret(const ErrorData *edata)
{
	if (context_current() != NULL || redact_transaction ||
		(redact_aborted && IsAbortedTransactionBlockState()) ||
		(redact_message != 0 && redact_message == GetCurrentStatementStartTimestamp()))
		return true;
	return (debug_query_string != NULL && context_log_is_secret(debug_query_string)) ||
		   (edata->message != NULL && context_log_is_secret(edata->message)) ||
		   (edata->detail != NULL && context_log_is_secret(edata->detail));
}

/* True for errors whose message names objects of the schema, never values. */
static bool
redact_keeps_message(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case MAKE_SQLSTATE('2', '3', '0', '0', '0'): /* constraint */
		case MAKE_SQLSTATE('2', '5', '0', '0', '0'): /* transaction state */
		case MAKE_SQLSTATE('4', '0', '0', '0', '0'): /* serialisation, deadlock */
		case MAKE_SQLSTATE('5', '3', '0', '0', '0'): /* resources */
		case MAKE_SQLSTATE('5', '7', '0', '0', '0'): /* operator intervention */
		case MAKE_SQLSTATE('5', '8', '0', '0', '0'): /* system */
		case MAKE_SQLSTATE('I', 'Q', '0', '0', '0'):
			return true;
	}
	return sqlstate == ERRCODE_INSUFFICIENT_PRIVILEGE;
}

/* The line's message without values: NULL to keep it as it is. */
static char *
redact_message_of(const ErrorData *edata)
{
	const char *format = edata->message_id ? edata->message_id : "";

	/* RAISE writes what it likes under any code; what a parallel worker reports has lost its format. */
	if (strcmp(format, "%s") == 0 || edata->message_id == NULL)
		return psprintf("message with SQLSTATE %s %s", unpack_sql_state(edata->sqlerrcode),
						REDACT_HIDDEN);
	if (edata->elevel >= WARNING && redact_keeps_message(edata->sqlerrcode))
		return NULL;
	if (strstr(format, "%s") == NULL || strncmp(format, "process %d ", 11) == 0 ||
		strncmp(format, "immiiq ", 7) == 0)
		return NULL;
	if (strncmp(format, "duration: ", 10) == 0 && edata->message != NULL)
	{
		const char *unit = strstr(edata->message, " ms");

		if (unit != NULL)
			return psprintf("%.*s ms  statement %s", (int) (unit - edata->message), edata->message,
							REDACT_HIDDEN);
	}
	if (edata->elevel < WARNING)
		return psprintf("statement %s", REDACT_HIDDEN);
	return pstrdup(format);
}

void
journal_redact_log(ErrorData *edata)
{
	char *message;

	/* The server adds other sessions' statements to these two. */
	if (edata->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED && edata->detail_log != NULL)
	{
		pfree(edata->detail_log);
		edata->detail_log = pstrdup(edata->detail ? edata->detail : "");
	}
	if (!IsUnderPostmaster)
	{
		if (edata->detail != NULL && !edata->output_to_client &&
			strncmp(edata->detail, "Failed process was running", 26) == 0)
		{
			if (edata->detail_log)
				pfree(edata->detail_log);
			edata->detail_log = pstrdup("The statement is not written to the log.");
		}
		return;
	}
	if (!redact_is_secret(edata))
		return;

	message = redact_message_of(edata);
	if (message != NULL || edata->internalquery != NULL)
	{
		/* Client and log get different texts: the client's goes out first. */
		if (edata->output_to_client)
		{
			edata->output_to_server = false;
			EmitErrorReport();
			edata->output_to_server = true;
			edata->output_to_client = false;
		}
		if (message != NULL)
		{
			if (edata->message)
				pfree(edata->message);
			edata->message = message;
			if (edata->hint)
				pfree(edata->hint);
			edata->hint = NULL;
		}
		if (edata->internalquery)
			pfree(edata->internalquery);
		edata->internalquery = NULL;
	}
	edata->hide_stmt = true;
	edata->hide_ctx = true;
	if (edata->detail != NULL || edata->detail_log != NULL)
	{
		if (edata->detail_log)
			pfree(edata->detail_log);
		edata->detail_log =
			pstrdup("Not written to the log: the transaction has an identity of immiiq.");
	}
}
