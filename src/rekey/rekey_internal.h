/*
 * What the files of this capability share; nobody else includes it.
 */
#ifndef IMMIIQ_REKEY_INTERNAL_H
#define IMMIIQ_REKEY_INTERNAL_H

#include "port/atomics.h"
#include "storage/block.h"

/* How far the walk of a database's driver is; the columns of immiiq.rekey say the rest. */
typedef struct RekeyProgress
{
	pg_atomic_uint32 database;
	pg_atomic_uint64 blocks_done; /* of the table that is being walked, and those before it */
	pg_atomic_uint64 values;	  /* sealed anew in the transaction that is open */
} RekeyProgress;

/* Of this database; databases that share a place show each other nothing. */
extern RekeyProgress *rekey_progress(void);

#endif /* IMMIIQ_REKEY_INTERNAL_H */
