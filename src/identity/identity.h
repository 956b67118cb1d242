/*
 * Sign-in: links, codes, passwords, sessions and refresh tokens; most of it
 * is SQL (75_identity.sql).  In C stands what needs a secret, shared memory,
 * the journal, or a processor for itself.
 */
#ifndef IMMIIQ_IDENTITY_H
#define IMMIIQ_IDENTITY_H

extern void identity_init(void);
extern void identity_shmem_request(void);
extern void identity_shmem_startup(void);

/* Called by the worker outside a transaction: revokes what could not be revoked at once, and deletes links and refresh tokens long dead. */
extern void identity_tidy(void);
/* True when it is time to. */
extern bool identity_tidy_due(void);

#endif /* IMMIIQ_IDENTITY_H */
