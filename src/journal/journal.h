/*
 * Events that outlive a rollback: a buffer in the backend, a ring in shared
 * memory, and the worker that writes them to immiiq.journal.  Never blocks
 * forever, never drops in silence: what does not fit is counted.
 */
#ifndef IMMIIQ_JOURNAL_H
#define IMMIIQ_JOURNAL_H

#include "utils/uuid.h"

typedef enum JournalKind
{
	JOURNAL_DENIAL = 1,			/* something was refused */
	JOURNAL_OPERATE,			/* an operator's way in, with its reason */
	JOURNAL_IMPERSONATE,		/* issue_session */
	JOURNAL_ASSISTANT			/* act_as_assistant */
} JournalKind;

#define JOURNAL_ACTION_MAX	64
#define JOURNAL_OBJECT_MAX	128
#define JOURNAL_REASON_MAX	512

extern void journal_init(void);
extern void journal_shmem_request(void);
extern void journal_shmem_startup(void);

/*
 * Records one event with who is active (context_current), the login role, the
 * address, the agent and the time.  action: what was tried, e.g. 'token',
 * 'insert', 'operate'; object: what it was tried on; reason: why refused or
 * why asked; sqlstate of the error, 0 when none; org: NULL for the active one.
 * No user data in any of them.  Only fills the backend's buffer.
 */
extern void journal_record(JournalKind kind, const char *action, const char *object,
						   const char *reason, int sqlstate, const pg_uuid_t *org);
/* Moves the buffer to the ring; with wait, until the worker has committed it. False after 200 ms or without a worker. */
extern bool journal_flush(bool wait);

/* Called by hooks/. */
extern void journal_push_error_callback(void);	/* sees every ereport below */
extern void journal_pop_error_callback(void);
extern void journal_error_reported(const ErrorData *edata);	/* before the client sees an error */
extern void journal_before_commit(void);

/* Called by the worker: writes what is in the ring for this database and commits; number written. */
extern int	journal_drain(void);
/* Latch to set when something waits in the ring. */
extern void journal_worker_attach(void);
extern void journal_worker_detach(void);

#endif							/* IMMIIQ_JOURNAL_H */
