/*
 * The file beside the root key that says how far each organisation's ledger of
 * erasures has come: a database restored from before knows less.
 */
#ifndef IMMIIQ_KEYRING_HEADS_H
#define IMMIIQ_KEYRING_HEADS_H

#include "crypto/crypto.h"
#include "utils/uuid.h"

#define HEADS_INSTALLATION_BYTES 16

typedef struct LedgerHead
{
	uint64_t seq;
	uint8_t hash[CRYPTO_HASH_BYTES];
} LedgerHead;

extern void heads_init(void);
/* False when no file is there, or it does not name the organisation; ERROR (IQ004) when it is damaged or cannot be read. */
extern bool heads_find(const uint8_t installation[HEADS_INSTALLATION_BYTES], const pg_uuid_t *org,
					   LedgerHead *head);
/* True unless neither setting names a file, or none is there. */
extern bool heads_exist(void);
/* Writes a head, durably, unless the file has it or a later one; false when no setting names a file. ERROR when it cannot be written. */
extern bool heads_put(const uint8_t installation[HEADS_INSTALLATION_BYTES], const pg_uuid_t *org,
					  const LedgerHead *head);
/* What keeps heads from being kept; NULL when nothing. */
extern const char *heads_problem(void);

#endif /* IMMIIQ_KEYRING_HEADS_H */
