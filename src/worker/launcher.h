/*
 * The launcher of workers.
 */
#ifndef IMMIIQ_LAUNCHER_H
#define IMMIIQ_LAUNCHER_H

extern char *worker_databases; /* immiiq.databases */
extern void launcher_register(void);

#endif /* IMMIIQ_LAUNCHER_H */
