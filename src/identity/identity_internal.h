/*
 * What the files of identity/ share among themselves.
 */
#ifndef IMMIIQ_IDENTITY_INTERNAL_H
#define IMMIIQ_IDENTITY_INTERNAL_H

#include "identity/identity.h"

/* ---- throttle.c ---- */
extern void throttle_init(void);
extern void throttle_shmem_request(void);
extern void throttle_shmem_startup(void);

/* ---- password.c ---- */
extern void password_init(void);
extern void password_shmem_request(void);
extern void password_shmem_startup(void);

/* ---- access_token.c ---- */
extern void access_token_init(void);

#endif /* IMMIIQ_IDENTITY_INTERNAL_H */
