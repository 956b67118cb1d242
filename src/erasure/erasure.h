/*
 * Erasure, closing, retention and what happens to backups: SQL, but for the
 * process that takes them forward and what touches keys and files.
 */
#ifndef IMMIIQ_ERASURE_H
#define IMMIIQ_ERASURE_H

#include "datatype/timestamp.h"

extern void erasure_init(void);
/* A worker's task: starts the driver when something is due and nobody is at it. */
extern void erasure_round(void);
/* False while it is too early to look again; costs a few instructions. */
extern bool erasure_wanted(void);

#endif /* IMMIIQ_ERASURE_H */
