/*
 * Rotation of an organisation's keys: a walk over every sealed value, and the
 * process that drives it.  Its steps are written in sql/parts/65_rekey.sql.
 */
#ifndef IMMIIQ_REKEY_H
#define IMMIIQ_REKEY_H

extern void rekey_shmem_request(void);
extern void rekey_shmem_startup(void);

/* A worker's task: starts the driver when a rotation is unfinished and nobody is at it. */
extern void rekey_round(void);
/* False while it is too early to look again; costs a few instructions. */
extern bool rekey_wanted(void);

#endif /* IMMIIQ_REKEY_H */
