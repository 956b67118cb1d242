/*
 * Who opened how many values of which column: counted in the backend, handed
 * over once a transaction, written by the worker to immiiq.field_opened.
 */
#ifndef IMMIIQ_OPENED_H
#define IMMIIQ_OPENED_H

#include "context/context.h"

extern void opened_init(void);
extern void opened_shmem_request(void);
extern void opened_shmem_startup(void);

/* Counts a value that identity has got in clear; type and domain say of which column. */
extern void opened_note(const ContextIdentity *identity, uint8 type, uint16 domain);
/* Called by hooks/ before commit and at abort: hands over what was counted. */
extern void opened_flush(void);

/* Called by the worker outside a transaction: writes what was handed over for this database and commits. */
extern void opened_drain(void);

#endif /* IMMIIQ_OPENED_H */
