/*
 * Capture in the writing transaction, sealing by the worker, verification.
 */
#ifndef IMMIIQ_AUDIT_H
#define IMMIIQ_AUDIT_H

extern void audit_init(void);
extern void audit_shmem_request(void);
extern void audit_shmem_startup(void);
/* Flushes this transaction's buffer; called by hooks/ before commit and before prepare. May be called twice. */
extern void audit_before_commit(void);
/* One round of the worker's sealer; outside a transaction. Number of entries sealed. */
extern int64 audit_seal_round(void);
/* False when audit_seal_round would find nothing; costs a few instructions. */
extern bool audit_seal_wanted(void);
/* What the worker does now and then, outside a transaction: makes the partitions of the coming months. */
extern void audit_maintain(void);
extern bool audit_maintain_due(void);

#endif /* IMMIIQ_AUDIT_H */
