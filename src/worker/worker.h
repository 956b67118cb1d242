/*
 * Launcher and periodic tasks: one worker for every database in immiiq.databases.
 */
#ifndef IMMIIQ_WORKER_H
#define IMMIIQ_WORKER_H

extern void worker_init(void);

#endif							/* IMMIIQ_WORKER_H */
