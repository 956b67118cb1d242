/*
 * The backend's side of the journal: the buffer, the capture of refusals from
 * the server's own error reports, and the hand-over to the ring.  Trusts the
 * SQLSTATE; takes no text of the user's, and allocates nothing that can fail
 * for want of memory while an error is being reported.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "tcop/cmdtag.h"
#include "tcop/utility.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "context/context.h"
#include "journal/journal.h"
#include "journal/opened.h"
#include "journal/prune.h"
#include "journal/redact.h"
#include "journal/ring.h"
#include "stat/stat.h"

#define JOURNAL_BUFFERED	32
#define JOURNAL_DEADLINE_MS 200
#define JOURNAL_PATIENT_MS	2000 /* for other events: their caller does nothing without the entry */

static RingEvent journal_buffer[JOURNAL_BUFFERED];
static int journal_buffered = 0;
static uint64 journal_overflowed = 0; /* events that found the buffer full */
static uint64 journal_ticket = 0;	  /* last event handed over and not yet known to be written */
static bool journal_must_not_wait =
	false; /* the error was raised where a lightweight lock may be held */

static int journal_expected = 0;	   /* SQLSTATE of an error that journal_record announced */
static int journal_seen = 0;		   /* SQLSTATE of the error that a frame has just recorded */
static Oid journal_login = InvalidOid; /* session user before any SET SESSION AUTHORIZATION */
static MemoryContext journal_error_context = NULL;
static bool journal_denials_on = true;

void
journal_init(void)
{
	DefineCustomBoolVariable("immiiq.record_denials", "Records what is refused in immiiq.journal.",
							 NULL, &journal_denials_on, true, PGC_SUSET, GUC_NOT_IN_SAMPLE, NULL,
							 NULL, NULL);
	opened_init();
	prune_init();
	if (!base_preloaded)
		return;
	journal_error_context =
		AllocSetContextCreate(TopMemoryContext, "immiiq journal error", ALLOCSET_DEFAULT_MINSIZE,
							  ALLOCSET_DEFAULT_INITSIZE, ALLOCSET_DEFAULT_MAXSIZE);
}

void
journal_shmem_request(void)
{
	ring_shmem_request();
	opened_shmem_request();
}

void
journal_shmem_startup(void)
{
	ring_shmem_startup();
	opened_shmem_startup();
}

/* Copies text into a fixed field, cut at a character boundary; NULL gives "". */
static void
journal_copy_text(char *field, size_t size, const char *text)
{
	size_t len = text ? strlen(text) : 0;

	if (len > size - 1)
		len = pg_encoding_mbcliplen(PG_UTF8, text, len, size - 1);
	memcpy(field, text ? text : "", len);
	field[len] = '\0';
}

/* Name of the event's kind, as immiiq.journal has it. */
static const char *
journal_kind_label(int kind)
{
	switch (kind)
	{
		case JOURNAL_DENIAL:
			return "denial";
		case JOURNAL_OPERATE:
			return "operator access";
		case JOURNAL_IMPERSONATE:
			return "impersonation";
		case JOURNAL_ASSISTANT:
			return "assistant";
		case JOURNAL_SIGN_IN:
			return "sign-in";
		case JOURNAL_DOCUMENT:
			return "document";
		case JOURNAL_EXPORT:
			return "export";
	}
	return "event";
}

/* A free place in the buffer with everything filled in but the event's own facts; NULL when there is none. */
static RingEvent *
journal_next_event(const pg_uuid_t *org)
{
	const ContextIdentity *identity = context_current();
	RingEvent *event;
	Oid user;
	int sec_context;

	if (journal_buffered >= JOURNAL_BUFFERED)
	{
		journal_overflowed++;
		return NULL;
	}
	event = &journal_buffer[journal_buffered++];
	memset(event, 0, sizeof(*event));
	event->at = GetCurrentTimestamp();
	event->pid = MyProcPid;
	event->waiter = -1;
	event->next = -1;
	GetUserIdAndSecContext(&user, &sec_context);
	if (OidIsValid(user))
	{
		event->session_user = GetSessionUserId();
		event->outer_user = GetOuterUserId();
	}
	event->login_user = OidIsValid(journal_login) ? journal_login : event->session_user;
	journal_copy_text(event->application, sizeof(event->application), application_name);
	journal_copy_text(event->ip, sizeof(event->ip), context_client_ip());
	journal_copy_text(event->agent, sizeof(event->agent), context_user_agent());
	if (identity != NULL)
	{
		event->has_org = !identity->every_org;
		event->org = identity->org;
		event->has_member = !base_uuid_is_nil(&identity->member);
		event->member = identity->member;
		event->has_session = !base_uuid_is_nil(&identity->session);
		event->session = identity->session;
		journal_copy_text(event->actor, sizeof(event->actor), context_actor_name(identity->actor));
	}
	/* An entry is of whoever did it: the organisation that they named counts only when nobody is active. */
	if (org != NULL && !event->has_org)
	{
		event->has_org = true;
		event->org = *org;
	}
	return event;
}

void
journal_record(JournalKind kind, const char *action, const char *object, const char *reason,
			   int sqlstate, const pg_uuid_t *org)
{
	RingEvent *event;

	journal_expected = sqlstate;
	if (kind == JOURNAL_DENIAL && !journal_denials_on)
		return;
	event = journal_next_event(org);
	if (kind == JOURNAL_DENIAL)
		stat_add(STAT_DENIALS, 1);
	if (event == NULL)
		return;
	event->kind = kind;
	event->sqlstate = sqlstate;
	journal_copy_text(event->action, sizeof(event->action), action);
	journal_copy_text(event->object, sizeof(event->object), object);
	journal_copy_text(event->reason, sizeof(event->reason), reason);
}

void
journal_record_sign_in(const JournalSignIn *attempt)
{
	RingEvent *event = journal_next_event(NULL);

	if (event == NULL)
		return;
	event->kind = JOURNAL_SIGN_IN;
	event->has_org = attempt->org != NULL;
	if (event->has_org)
		event->org = *attempt->org;
	event->has_member = attempt->member != NULL;
	if (event->has_member)
		event->member = *attempt->member;
	event->has_session = attempt->session != NULL;
	if (event->has_session)
		event->session = *attempt->session;
	event->actor[0] = '\0';
	journal_copy_text(event->action, sizeof(event->action), attempt->method);
	journal_copy_text(event->object, sizeof(event->object), attempt->details);
	journal_copy_text(event->reason, sizeof(event->reason), attempt->reason);
	journal_copy_text(event->ip, sizeof(event->ip), attempt->ip);
	journal_copy_text(event->agent, sizeof(event->agent), attempt->agent);
}

/* Writes an event that no worker can take to the server log instead. */
static void
journal_log_event(const RingEvent *event)
{
	if (event->only_granted && !event->has_org)
		return;
	ereport(LOG_SERVER_ONLY,
			(errmsg("immiiq %s: action %s, object %s, reason %s, sqlstate %s",
					journal_kind_label(event->kind), event->action,
					event->object[0] ? event->object : "-", event->reason[0] ? event->reason : "-",
					event->sqlstate ? unpack_sql_state(event->sqlstate) : "-"),
			 errhidestmt(true), errhidecontext(true)));
}

/* Milliseconds left until the deadline, 0 when it has passed. */
static long
journal_time_left(TimestampTz deadline)
{
	return TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
}

/* Sleeps on the backend's latch for at most ms; false when the postmaster is gone. */
static bool
journal_sleep(long ms)
{
	int events;

	events =
		WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_POSTMASTER_DEATH, ms, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	return (events & WL_POSTMASTER_DEATH) == 0;
}

bool
journal_flush(bool wait)
{
	bool complete = true;
	bool slept = false;
	bool reachable;
	bool patient = false;
	TimestampTz deadline;

	if (journal_buffered == 0 && journal_overflowed == 0 && (!wait || journal_ticket == 0))
		return true;

	reachable = ring != NULL && MyProc != NULL && OidIsValid(MyDatabaseId) && !RecoveryInProgress();
	for (int i = 0; i < journal_buffered; i++)
		patient = patient || (journal_buffer[i].kind != JOURNAL_DENIAL &&
							  journal_buffer[i].kind != JOURNAL_SIGN_IN);
	deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
										   patient ? JOURNAL_PATIENT_MS : JOURNAL_DEADLINE_MS);

	for (int i = 0; i < journal_buffered; i++)
	{
		RingEvent *event = &journal_buffer[i];
		RingResult result = RING_NO_WORKER;

		event->waiter = MyProc ? GetNumberFromPGProc(MyProc) : -1;
		while (reachable)
		{
			result = ring_put(MyDatabaseId, event, &journal_ticket);
			if (result != RING_FULL)
				break;
			if (!wait)
			{
				/* Room may come: what is left stays in the buffer. */
				memmove(journal_buffer, event, (journal_buffered - i) * sizeof(RingEvent));
				journal_buffered -= i;
				return false;
			}
			if (journal_time_left(deadline) == 0)
				break;
			slept = true;
			if (!journal_sleep(Min(journal_time_left(deadline), 5)))
				break;
		}
		if (result == RING_FULL)
		{
			ring_count_lost(MyDatabaseId, 1);
			complete = false;
		}
		else if (result == RING_NO_WORKER)
		{
			journal_log_event(event);
			complete = false;
		}
	}
	journal_buffered = 0;
	if (journal_overflowed > 0)
	{
		if (reachable)
			ring_count_lost(MyDatabaseId, journal_overflowed);
		journal_overflowed = 0;
		complete = false;
	}

	if (wait && journal_ticket != 0 && reachable)
	{
		bool settled;

		while (!(settled = ring_is_settled(MyDatabaseId, journal_ticket)))
		{
			long left = journal_time_left(deadline);

			if (left == 0)
				break;
			slept = true;
			if (!journal_sleep(left))
				break;
		}
		complete = complete && settled;
		journal_ticket = 0;
	}
	/* The latch may have been set for somebody else's sake. */
	if (slept)
		SetLatch(MyLatch);
	return complete;
}

/* True for the SQLSTATEs that mean: somebody tried what they may not. */
static bool
journal_is_denial(int sqlstate)
{
	return sqlstate == ERRCODE_INSUFFICIENT_PRIVILEGE || sqlstate == ERRCODE_IMMIIQ_TOKEN ||
		   sqlstate == ERRCODE_IMMIIQ_SECOND_IDENTITY || sqlstate == ERRCODE_IMMIIQ_ROLE ||
		   sqlstate == ERRCODE_IMMIIQ_BINDING || sqlstate == ERRCODE_IMMIIQ_APPEND_ONLY;
}

/*
 * The last argument of a message, found by its format: the object's name in
 * 'permission denied for table %s'.  Leaves "" when the format is translated,
 * has other conversions, or says nothing itself (RAISE gives "%s").
 */
static void
journal_object_of_message(const ErrorData *edata, char *object, size_t size)
{
	const char *format = edata->message_id;
	const char *message = edata->message;
	const char *last = NULL;
	const char *literal; /* text in front of the last conversion */
	const char *tail;
	const char *found = NULL;
	size_t literal_len;
	size_t tail_len;
	size_t message_len;

	object[0] = '\0';
	if (format == NULL || message == NULL)
		return;
	literal = format;
	for (const char *p = format; *p; p++)
	{
		if (*p != '%')
			continue;
		if (p[1] != 's')
			return;
		if (last != NULL)
			literal = last + 2;
		last = p++;
	}
	if (last == NULL)
		return;
	literal_len = last - literal;
	tail = last + 2;
	tail_len = strlen(tail);
	message_len = strlen(message);
	if (literal_len < 6 || message_len < literal_len + tail_len ||
		strcmp(message + message_len - tail_len, tail) != 0)
		return;
	if (literal == format)
	{
		if (strncmp(message, literal, literal_len) == 0)
			found = message + literal_len;
	}
	else
	{
		for (const char *p = message; p + literal_len + tail_len <= message + message_len; p++)
			if (strncmp(p, literal, literal_len) == 0)
				found = p + literal_len;
	}
	if (found != NULL)
	{
		size_t len = Min(message + message_len - tail_len - found, (ptrdiff_t) size - 1);

		if (found[len] != '\0' && len == size - 1)
			len = pg_encoding_mbcliplen(PG_UTF8, found, len, len);
		memcpy(object, found, len);
		object[len] = '\0';
	}
}

/* Why the server refused, in words that carry no data. */
static const char *
journal_reason_of_error(const ErrorData *edata)
{
	const char *format = edata->message_id;

	if (edata->sqlerrcode == ERRCODE_IMMIIQ_TOKEN)
		return "token refused";
	if (edata->sqlerrcode == ERRCODE_IMMIIQ_SECOND_IDENTITY)
		return "second identity in one transaction";
	if (edata->sqlerrcode == ERRCODE_IMMIIQ_ROLE)
		return "role for which row security would not hold";
	if (edata->sqlerrcode == ERRCODE_IMMIIQ_BINDING)
		return "value sealed for another organisation, type or domain";
	if (edata->sqlerrcode == ERRCODE_IMMIIQ_APPEND_ONLY)
		return "append-only table";
	if (format == NULL)
		return "reported by a parallel worker";
	if (strncmp(format, "new row violates row-level security", 35) == 0)
		return "row security";
	if (strncmp(format, "permission denied", 17) == 0)
		return "privilege";
	if (strncmp(format, "must be", 7) == 0)
		return "ownership";
	if (strcmp(format, "%s") == 0)
		return "raised by a function";
	return format;
}

/* Puts a refusal that the server reports into the buffer. */
static void
journal_capture(const ErrorData *edata, const JournalFrame *frame)
{
	RingEvent *event = journal_next_event(NULL);

	stat_add(STAT_DENIALS, 1);
	if (event == NULL)
		return;
	event->kind = JOURNAL_DENIAL;
	event->sqlstate = edata->sqlerrcode;
	event->only_granted = !event->has_org && edata->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE;
	if (frame != NULL && frame->utility != NULL)
	{
		const char *name = GetCommandTagName(CreateCommandTag(frame->utility));
		int i;

		for (i = 0; name[i] && i < JOURNAL_ACTION_MAX - 1; i++)
			event->action[i] = pg_ascii_tolower((unsigned char) name[i]);
		event->action[i] = '\0';
	}
	else
		journal_copy_text(event->action, sizeof(event->action),
						  frame != NULL ? frame->action : "parse");
	journal_object_of_message(edata, event->object, sizeof(event->object));
	journal_copy_text(event->reason, sizeof(event->reason), journal_reason_of_error(edata));
}

/* Runs inside every ereport below a frame; only the innermost frame acts. */
static void
journal_error_callback(void *arg)
{
	ErrorContextCallback *innermost = error_context_stack;
	MemoryContext before;
	ErrorData *edata;
	int sqlstate = geterrcode();

	if (!journal_denials_on || !journal_is_denial(sqlstate) || CritSectionCount > 0)
		return;
	while (innermost != NULL && innermost->callback != journal_error_callback)
		innermost = innermost->previous;
	if (innermost == NULL || innermost->arg != arg)
		return;
	/* The leader reports a parallel worker's error again. */
	if (IsParallelWorker())
		return;

	before = MemoryContextSwitchTo(journal_error_context);
	edata = CopyErrorData();
	if (edata->elevel == ERROR || edata->elevel == FATAL)
	{
		if (journal_expected == sqlstate)
			journal_expected = 0;
		else if (ring_database_installed(MyDatabaseId) || context_current() != NULL)
		{
			/* Lightweight locks hold off interrupts: then nobody may be kept waiting. */
			journal_must_not_wait = InterruptHoldoffCount > 0;
			if (journal_buffered >= JOURNAL_BUFFERED - 1 && !journal_must_not_wait)
				journal_flush(true);
			journal_capture(edata, (JournalFrame *) arg);
		}
		journal_seen = sqlstate;
	}
	MemoryContextSwitchTo(before);
	MemoryContextReset(journal_error_context);
}

void
journal_push_frame(JournalFrame *frame, const char *action, Node *utility)
{
	ErrorContextCallback *below = error_context_stack;

	frame->action = action;
	frame->utility = utility;
	frame->callback.callback = journal_error_callback;
	frame->callback.arg = frame;
	frame->callback.previous = below;
	while (below != NULL && below->callback != journal_error_callback)
		below = below->previous;
	frame->outermost = below == NULL;
	if (journal_denials_on) /* popping takes back what was not put, too */
		error_context_stack = &frame->callback;

	if (frame->outermost)
	{
		if (!OidIsValid(journal_login))
			journal_login = GetSessionUserId();
		journal_seen = 0;
		journal_expected = 0;
		journal_note_secret();
	}
	/* Here no lock is held: what swallowed errors left behind can go. */
	if (journal_buffered > 0)
		journal_flush(false);
}

void
journal_pop_frame(JournalFrame *frame)
{
	error_context_stack = frame->callback.previous;
	if (frame->outermost)
	{
		journal_seen = 0;
		journal_expected = 0;
		journal_note_secret();
	}
}

void
journal_error_reported(const ErrorData *edata)
{
	if (edata->elevel < ERROR || edata->elevel > FATAL || journal_error_context == NULL ||
		MyProc == NULL || !OidIsValid(MyDatabaseId) || IsParallelWorker())
		return;
	if (journal_denials_on && journal_is_denial(edata->sqlerrcode))
	{
		if (journal_seen != edata->sqlerrcode && journal_expected != edata->sqlerrcode &&
			ring_database_installed(MyDatabaseId))
			journal_capture(edata, NULL);
		journal_seen = 0;
		journal_expected = 0;
	}
	if (journal_buffered > 0 || journal_ticket != 0)
		journal_flush(!journal_must_not_wait);
}

void
journal_before_commit(void)
{
	opened_flush();
	journal_flush(true);
}

void
journal_after_abort(void)
{
	opened_flush();
	journal_flush(true);
	journal_must_not_wait = false;
	journal_seen = 0;
	journal_expected = 0;
	journal_forget_secret(true);
}

void
journal_after_commit(void)
{
	journal_must_not_wait = false;
	journal_forget_secret(false);
}
