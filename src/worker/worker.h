/*
 * Launcher and periodic tasks: one worker for every database in immiiq.databases.
 */
#ifndef IMMIIQ_WORKER_H
#define IMMIIQ_WORKER_H

#include "nodes/nodes.h"

extern void worker_init(void);

/* Called by hooks/ before a utility statement runs: makes the worker leave a database that somebody needs for himself. */
extern void worker_utility_before(Node *utility);
/* Called by hooks/ at the end of a transaction: lets it come back, and tells the launcher what changed. */
extern void worker_transaction_end(bool committed);

#endif /* IMMIIQ_WORKER_H */
