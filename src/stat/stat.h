/*
 * Counters of what was done since the server started, one set a database.
 * A backend counts in its own memory and adds to shared memory when its
 * transaction ends, so that counting costs nothing where it is done.
 */
#ifndef IMMIIQ_STAT_H
#define IMMIIQ_STAT_H

/* In the order of the columns of immiiq.stat_counters(). */
typedef enum StatCounter
{
	STAT_SEALED,		   /* values sealed */
	STAT_OPENED,		   /* values opened for whoever is active */
	STAT_TOKENS_CHECKED,   /* tokens of a session or access tokens that were set */
	STAT_TOKENS_REFUSED,   /* of these, refused */
	STAT_DENIALS,		   /* whatever was refused and is recorded in the journal */
	STAT_ENTRIES_CAPTURED, /* entries made by changes and events, rolled back or not */
	STAT_ENTRIES_SEALED,   /* entries that got their place in the log */
	STAT_COUNTERS
} StatCounter;

extern uint64 stat_pending[STAT_COUNTERS];

/* Counts n of a kind in this backend. */
static inline void
stat_add(StatCounter counter, uint64 n)
{
	stat_pending[counter] += n;
}

extern void stat_init(void);
extern void stat_shmem_request(void);
extern void stat_shmem_startup(void);

/* Gives the place of a dropped database away. */
extern void stat_forget(Oid database);

#endif /* IMMIIQ_STAT_H */
