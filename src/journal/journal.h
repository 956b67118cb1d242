/*
 * Events that outlive a rollback: a buffer in the backend, a ring in shared
 * memory, and the worker that writes them to immiiq.journal.  Never blocks
 * forever, never drops in silence: what does not fit is counted.
 */
#ifndef IMMIIQ_JOURNAL_H
#define IMMIIQ_JOURNAL_H

#include "nodes/nodes.h"
#include "utils/elog.h"
#include "utils/uuid.h"

typedef enum JournalKind
{
	JOURNAL_DENIAL = 1,	 /* something was refused */
	JOURNAL_OPERATE,	 /* an operator's way in, with its reason */
	JOURNAL_IMPERSONATE, /* issue_session */
	JOURNAL_ASSISTANT,	 /* act_as_assistant */
	JOURNAL_SIGN_IN,	 /* an attempt to sign in */
	JOURNAL_DOCUMENT,	 /* a document's URL whose own record was rolled back */
	JOURNAL_EXPORT		 /* everything of a client or an organisation was asked for */
} JournalKind;

#define JOURNAL_ACTION_MAX 64
#define JOURNAL_OBJECT_MAX 128
#define JOURNAL_REASON_MAX 512

extern void journal_init(void);
extern void journal_shmem_request(void);
extern void journal_shmem_startup(void);

/*
 * Records one event with who is active (context_current), the login role, the
 * address, the agent and the time.  action: what was tried, e.g. 'token',
 * 'insert', 'operate'; object: what it was tried on; reason: why refused or
 * why asked; sqlstate of the error that the caller is about to raise (that
 * error is then not recorded a second time), 0 when none; org: whose it is
 * when nobody is active.  No user data in any of them.  Only fills the backend's buffer;
 * not that with a denial while immiiq.record_denials is off.
 */
extern void journal_record(JournalKind kind, const char *action, const char *object,
						   const char *reason, int sqlstate, const pg_uuid_t *org);

/* An attempt to sign in: who it would have been is said, nobody is active yet. Pointers may be NULL. */
typedef struct JournalSignIn
{
	const char *method;
	const char *reason;
	const char *details; /* at most JOURNAL_OBJECT_MAX - 1 bytes */
	const pg_uuid_t *org;
	const pg_uuid_t *member;
	const pg_uuid_t *session;
	const char *ip;
	const char *agent;
} JournalSignIn;

/* Records an attempt; only fills the backend's buffer. */
extern void journal_record_sign_in(const JournalSignIn *attempt);

/*
 * Moves the buffer to the ring; with wait, until the worker has committed it.
 * False after 200 ms (2 s when an event is no denial), on a standby, or where
 * no worker serves the database: what cannot be handed over then stands in the
 * server log.  What was handed over is written later all the same.
 */
extern bool journal_flush(bool wait);

/* One level of execution; lives on the stack of the hook that pushes it. */
typedef struct JournalFrame
{
	ErrorContextCallback callback;
	const char *action; /* executor: static text */
	Node *utility;		/* or the utility statement */
	bool outermost;
} JournalFrame;

/* Called by hooks/: between them, every refusal below is recorded, swallowed ones too. */
extern void journal_push_frame(JournalFrame *frame, const char *action, Node *utility);
extern void journal_pop_frame(JournalFrame *frame);
/* Called by hooks/ from emit_log_hook: records a refusal that no frame saw, and hands all over before the client sees the error. */
extern void journal_error_reported(const ErrorData *edata);
/* Called by hooks/ from emit_log_hook: takes statement, values and tokens away from the server log; the client keeps them. */
extern void journal_redact_log(ErrorData *edata);
/* Called by hooks/ before commit and prepare, at abort, and at the end of any transaction. */
extern void journal_before_commit(void);
extern void journal_after_abort(void);
extern void journal_after_commit(void);

/* Called by the worker outside a transaction: writes what is in the ring for this database and commits; number written. */
extern int journal_drain(void);

#endif /* IMMIIQ_JOURNAL_H */
