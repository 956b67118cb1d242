/*
 * Capture in the writing transaction, sealing by the worker, verification.
 */
#ifndef IMMIIQ_AUDIT_H
#define IMMIIQ_AUDIT_H

extern void audit_init(void);
extern void audit_shmem_request(void);
extern void audit_shmem_startup(void);
/* Flushes this transaction's buffer; called by hooks/ before commit and before prepare. */
extern void audit_before_commit(void);
/* One round of the worker's sealer; outside a transaction. Number of entries sealed. */
extern int64 audit_seal_round(void);

#endif							/* IMMIIQ_AUDIT_H */
