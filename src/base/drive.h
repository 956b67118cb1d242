/*
 * Processes that take work of a database forward, one step a transaction:
 * rotations, erasures.  Where the work stands is in tables, so they can be
 * killed at any point.
 */
#ifndef IMMIIQ_DRIVE_H
#define IMMIIQ_DRIVE_H

typedef struct Drive
{
	const char *table;		  /* of schema immiiq: without it there is nothing to do */
	const char *process;	  /* what it is called in pg_stat_activity */
	const char *function;	  /* its entry in this library, which calls drive_main */
	const char *activity;	  /* what it is doing */
	const char *lock_timeout; /* how long writers queue behind it */
	long wait_ms;
	/* Goes one step; "more", "wait" or "done". */
	const char *(*step)(void);
} Drive;

typedef enum DriveState
{
	DRIVE_RUNS,
	DRIVE_STARTED,
	DRIVE_NO_WORKER /* max_worker_processes are taken */
} DriveState;

/* Starts the process in this database unless it runs; in a transaction. */
extern DriveState drive_start(const Drive *drive);
/* Its life, until a step says "done": returns then. */
extern void drive_main(const Drive *drive, Oid database);
/* Runs SQL in a transaction of its own; the text of its first column, NULL for no row or null. */
extern char *drive_sql(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls);

#endif /* IMMIIQ_DRIVE_H */
