/*
 * The ring in shared memory: one pool of events, one queue a database, and
 * the state of each database's worker.  Shared by journal/, worker/, posture/.
 */
#ifndef IMMIIQ_RING_H
#define IMMIIQ_RING_H

#include "datatype/timestamp.h"
#include "journal/journal.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

#define RING_EVENTS	   1024 /* of all databases together */
#define RING_RESERVED  128	/* of these, never taken by denials and sign-ins */
#define RING_DATABASES 128
#define RING_IP_MAX	   64
#define RING_AGENT_MAX 256
#define RING_NAME_MAX  64

typedef struct RingEvent
{
	TimestampTz at;
	int32 kind; /* JournalKind */
	int32 sqlstate;
	bool has_org;
	bool has_member;
	bool has_session;
	bool only_granted; /* to be written only when the role has been granted something of immiiq's */
	pg_uuid_t org;
	pg_uuid_t member;
	pg_uuid_t session;
	Oid login_user; /* as whom the client connected */
	Oid session_user;
	Oid outer_user; /* after SET ROLE */
	int32 pid;
	int32 waiter; /* pgprocno to wake, -1 for none */
	int32 next;	  /* ring only: index of the next event */
	char actor[16];
	char action[JOURNAL_ACTION_MAX];
	char object[JOURNAL_OBJECT_MAX];
	char reason[JOURNAL_REASON_MAX];
	char application[RING_NAME_MAX];
	char ip[RING_IP_MAX];
	char agent[RING_AGENT_MAX];
} RingEvent;

typedef enum RingState
{
	RING_FREE = 0,
	RING_WANTED, /* the launcher should start a worker */
	RING_STARTING,
	RING_RUNNING,
	RING_REFUSED /* not in immiiq.databases: events go to the server log */
} RingState;

typedef struct RingSlot
{
	Oid database; /* InvalidOid: free */
	RingState state;
	int32 pid;	  /* of the worker, 0 for none */
	Latch *latch; /* of the worker; points into shared memory */
	int32 sealer_pid;
	Latch *sealer_latch;
	TimestampTz sealer_at;	/* when the worker last asked for a sealer */
	bool installed;			/* the worker has seen the extension */
	bool recheck;			/* CREATE EXTENSION was committed */
	int32 suspended_by;		/* pid of the backend that needs the database for itself */
	TimestampTz started_at; /* when the launcher last asked for a worker */
	int32 head;
	int32 tail;
	int32 depth;
	uint64 enqueued;	 /* events ever put */
	uint64 settled;		 /* events ever written or discarded, in the same order */
	uint64 lost;		 /* events that found no room */
	uint64 lost_written; /* of these, how many a row already tells of */
	TimestampTz written_at;
} RingSlot;

typedef struct Ring
{
	Latch *launcher; /* NULL while there is none */
	int32 launcher_pid;
	bool rescan; /* a database was created or renamed */
	int32 free_head;
	int32 free_count;
	RingSlot slots[RING_DATABASES];
	RingEvent events[RING_EVENTS];
} Ring;

typedef enum RingResult
{
	RING_PUT,
	RING_FULL,
	RING_NO_WORKER /* standby, refused database, or no slot left */
} RingResult;

extern Ring *ring;
extern LWLock *ring_lock;

extern void ring_shmem_request(void);
extern void ring_shmem_startup(void);

/* Slot of a database, or -1; the caller holds ring_lock. */
extern int ring_find(Oid database);
/* The same, made when absent (state RING_WANTED); -1 when all slots are taken. */
extern int ring_find_or_make(Oid database);
/* Asks the launcher to look again. */
extern void ring_wake_launcher(void);
/* True when a worker has seen the extension in this database; without the lock. */
extern bool ring_database_installed(Oid database);

/* Wakes the worker of a database before its turn. */
extern void ring_wake_worker(Oid database);
/* False where immiiq.databases says that no worker serves this database; asks for a worker where there is none yet. */
extern bool ring_worker_wanted(Oid database);

/* Appends an event to its database's queue; sets *ticket to its number there. */
extern RingResult ring_put(Oid database, const RingEvent *event, uint64 *ticket);
/* True when everything up to ticket is written. */
extern bool ring_is_settled(Oid database, uint64 ticket);
/* Counts events that were lost before they reached the ring. */
extern void ring_count_lost(Oid database, uint64 n);

/* Worker: copies up to max of the oldest events, without taking them. */
extern int ring_peek(int slot, RingEvent *out, int max);
/* Worker: takes the n oldest events and wakes who waits for them. */
extern void ring_settle(int slot, int n);
/* Frees a slot whose database is gone, with its queue; the caller holds ring_lock. */
extern void ring_release_slot(int slot);

#endif /* IMMIIQ_RING_H */
