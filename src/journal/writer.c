/*
 * The worker's side of the journal: writes a database's queue to
 * immiiq.journal, one transaction a batch.  Trusts what backends put into the
 * ring; takes an event off the queue only once its row is committed.
 */
#include "postgres.h"

#include <arpa/inet.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/base.h"
#include "journal/journal.h"
#include "journal/ring.h"
#include "journal/writer.h"

#define WRITER_BATCH	256
#define WRITER_PATIENCE 3 /* failures of a batch before its events go one by one */

static RingEvent writer_events[WRITER_BATCH];
static SPIPlanPtr writer_plan = NULL;
static int writer_failures = 0;
static struct
{
	Oid role;
	bool granted;
} writer_roles[16]; /* of this batch */
static int writer_nroles = 0;
static int writer_singly = 0; /* events that still go one by one */

static const char *const writer_insert =
	"INSERT INTO immiiq.journal (at, kind, org_id, member_id, session_id, actor, login_name,"
	" role_name, user_name, action, object, reason, sqlstate, client_ip, user_agent,"
	" application_name, backend_pid)"
	" VALUES ($1, $2, $3, $4, $5, $6, pg_catalog.pg_get_userbyid($7), pg_catalog.pg_get_userbyid($8),"
	" pg_catalog.pg_get_userbyid($9), $10, $11, $12, $13, $14::pg_catalog.inet, $15, $16, $17)";

#define WRITER_COLUMNS 17

static const char *
writer_kind_name(int kind)
{
	switch (kind)
	{
		case JOURNAL_DENIAL:
			return "denial";
		case JOURNAL_OPERATE:
			return "operate";
		case JOURNAL_IMPERSONATE:
			return "impersonate";
		case JOURNAL_ASSISTANT:
			return "assistant";
		case JOURNAL_SIGN_IN:
			return "sign-in";
		case JOURNAL_DOCUMENT:
			return "document";
		case JOURNAL_EXPORT:
			return "export";
	}
	return "other";
}

/* True when text is an address that inet takes: what the web tier said may be anything. */
static bool
writer_is_address(const char *text)
{
	char buf[RING_IP_MAX];
	uint8 address[16];
	char *slash;

	strlcpy(buf, text, sizeof(buf));
	slash = strchr(buf, '/');
	if (slash != NULL)
		return false;
	return inet_pton(AF_INET, buf, address) == 1 || inet_pton(AF_INET6, buf, address) == 1;
}

/* Text that is NULL when empty. */
static void
writer_set_text(Datum *value, char *null, const char *text)
{
	*null = text[0] == '\0' ? 'n' : ' ';
	*value = CStringGetTextDatum(text);
}

static void
writer_set_uuid(Datum *value, char *null, bool present, const pg_uuid_t *uuid)
{
	*null = present ? ' ' : 'n';
	*value = UUIDPGetDatum(uuid);
}

/* Writes one event; inside SPI. */
static void
writer_insert_event(const RingEvent *event)
{
	Datum values[WRITER_COLUMNS];
	char nulls[WRITER_COLUMNS + 1];

	memset(nulls, ' ', sizeof(nulls));
	nulls[WRITER_COLUMNS] = '\0';
	values[0] = TimestampTzGetDatum(event->at);
	values[1] = CStringGetTextDatum(writer_kind_name(event->kind));
	writer_set_uuid(&values[2], &nulls[2], event->has_org, &event->org);
	writer_set_uuid(&values[3], &nulls[3], event->has_member, &event->member);
	writer_set_uuid(&values[4], &nulls[4], event->has_session, &event->session);
	writer_set_text(&values[5], &nulls[5], event->actor);
	values[6] = ObjectIdGetDatum(event->login_user);
	values[7] = ObjectIdGetDatum(event->session_user);
	values[8] = ObjectIdGetDatum(event->outer_user);
	values[9] = CStringGetTextDatum(event->action);
	writer_set_text(&values[10], &nulls[10], event->object);
	writer_set_text(&values[11], &nulls[11], event->reason);
	writer_set_text(&values[12], &nulls[12],
					event->sqlstate ? unpack_sql_state(event->sqlstate) : "");
	writer_set_text(&values[13], &nulls[13], writer_is_address(event->ip) ? event->ip : "");
	writer_set_text(&values[14], &nulls[14], event->agent);
	writer_set_text(&values[15], &nulls[15], event->application);
	values[16] = Int32GetDatum(event->pid);
	if (SPI_execute_plan(writer_plan, values, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not write the journal");
}

/* True when the role, or one that it is member of, was granted something of immiiq's; asked once a batch. */
static bool
writer_is_granted(Oid role)
{
	static const char *const question = "SELECT immiiq.journal_role_is_granted($1)";
	Oid type = OIDOID;
	Datum value = ObjectIdGetDatum(role);
	bool null = true;
	Datum answer = (Datum) 0;

	for (int i = 0; i < writer_nroles; i++)
		if (writer_roles[i].role == role)
			return writer_roles[i].granted;
	if (SPI_execute_with_args(question, 1, &type, &value, NULL, true, 1) == SPI_OK_SELECT &&
		SPI_processed == 1)
		answer = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null);
	SPI_freetuptable(SPI_tuptable);
	if (writer_nroles == lengthof(writer_roles))
		writer_nroles = 0;
	writer_roles[writer_nroles].role = role;
	writer_roles[writer_nroles].granted = !null && DatumGetBool(answer);
	return writer_roles[writer_nroles++].granted;
}

/* Plans the insert once a session; a new definition of the table plans it anew. */
static void
writer_prepare(void)
{
	Oid types[WRITER_COLUMNS] = {TIMESTAMPTZOID, TEXTOID, UUIDOID, UUIDOID, UUIDOID, TEXTOID,
								 OIDOID,		 OIDOID,  OIDOID,  TEXTOID, TEXTOID, TEXTOID,
								 TEXTOID,		 TEXTOID, TEXTOID, TEXTOID, INT4OID};

	if (writer_plan != NULL)
		return;
	writer_plan = SPI_prepare(writer_insert, WRITER_COLUMNS, types);
	if (writer_plan == NULL || SPI_keepplan(writer_plan) != 0)
		elog(ERROR, "could not plan the journal's insert");
}

/* Writes n events and, when lost > 0, one row that says so; one transaction. */
static void
writer_write_batch(const RingEvent *events, int n, uint64 lost)
{
	base_start_transaction();
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	writer_nroles = 0;
	writer_prepare();
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!events[i].only_granted || writer_is_granted(events[i].session_user) ||
			writer_is_granted(events[i].outer_user))
			writer_insert_event(&events[i]);
	}
	if (lost > 0)
	{
		RingEvent event;

		memset(&event, 0, sizeof(event));
		event.at = GetCurrentTimestamp();
		event.kind = -1;
		event.pid = MyProcPid;
		event.login_user = GetSessionUserId();
		event.session_user = GetSessionUserId();
		event.outer_user = GetSessionUserId();
		strlcpy(event.action, "lost", sizeof(event.action));
		snprintf(event.reason, sizeof(event.reason),
				 UINT64_FORMAT " events found no room in the ring", lost);
		writer_insert_event(&event);
	}
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
}

void
writer_forget(void)
{
	if (writer_plan != NULL)
	{
		SPI_freeplan(writer_plan);
		writer_plan = NULL;
	}
	writer_failures = 0;
	writer_singly = 0;
}

/*
 * After repeated failure of a batch its first event goes alone; if the data
 * itself is what fails, the event is given up, counted and reported.
 */
static void
writer_write_single(const RingEvent *event)
{
	MemoryContext before = CurrentMemoryContext;
	bool data_fault = false;

	PG_TRY();
	{
		writer_write_batch(event, 1, 0);
	}
	PG_CATCH();
	{
		data_fault = ERRCODE_TO_CATEGORY(geterrcode()) == ERRCODE_DATA_EXCEPTION;
		if (!data_fault)
			PG_RE_THROW();
		HOLD_INTERRUPTS();
		EmitErrorReport();
		AbortCurrentTransaction();
		FlushErrorState();
		MemoryContextSwitchTo(before);
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	if (data_fault)
		ring_count_lost(MyDatabaseId, 1);
}

int
journal_drain(void)
{
	int total = 0;

	for (;;)
	{
		uint64 lost;
		int slot;
		int n;

		LWLockAcquire(ring_lock, LW_SHARED);
		slot = ring_find(MyDatabaseId);
		lost = slot < 0 ? 0 : ring->slots[slot].lost - ring->slots[slot].lost_written;
		LWLockRelease(ring_lock);
		if (slot < 0)
			return total;
		if (writer_failures > WRITER_PATIENCE)
		{
			writer_failures = 0;
			writer_singly = WRITER_BATCH;
		}
		n = ring_peek(slot, writer_events, writer_singly > 0 ? 1 : WRITER_BATCH);
		if (n == 0 && lost == 0)
			return total;

		pgstat_report_activity(STATE_RUNNING, "immiiq: writing the journal");
		writer_failures++;
		if (writer_singly > 0 && n == 1)
		{
			writer_singly--;
			writer_write_single(writer_events);
			lost = 0;
		}
		else
			writer_write_batch(writer_events, n, lost);
		writer_failures = 0;

		/* From commit to here nothing may stop the worker, or rows would be written twice. */
		HOLD_INTERRUPTS();
		if (lost > 0)
		{
			LWLockAcquire(ring_lock, LW_EXCLUSIVE);
			ring->slots[slot].lost_written += lost;
			LWLockRelease(ring_lock);
		}
		ring_settle(slot, n);
		LWLockAcquire(ring_lock, LW_EXCLUSIVE);
		ring->slots[slot].written_at = GetCurrentTimestamp();
		LWLockRelease(ring_lock);
		RESUME_INTERRUPTS();
		total += n;
	}
}
