/*
 * Between the sources of keyring/ only: root keys in shared memory.
 * Trusts the settings of the server's configuration; refuses a source of root
 * keys that others than the server's user could read or that a backup copies.
 */
#ifndef IMMIIQ_KEYRING_PRIVATE_H
#define IMMIIQ_KEYRING_PRIVATE_H

#include "keyring/roots.h"

/* The place of column wrapped in immiiq.wrapped_key. */
#define KEYRING_ANUM_WRAPPED 6
/* And in immiiq.subject_key. */
#define KEYRING_ANUM_SUBJECT_WRAPPED 5

extern void rootkeys_init(void);
/* NULL unless a base backup would copy a file of this resolved path. */
extern const char *rootkeys_place_problem(const char *path);
/* immiiq.root_key_file */
extern const char *rootkeys_file(void);
extern void rootkeys_shmem_request(void);
extern void rootkeys_shmem_startup(void);

/* Changes with every change of the loaded root keys; 0 when none was ever loaded. */
extern uint64 rootkeys_generation(void);
/* Copies a root key by id; false when it is not loaded. The caller wipes it. */
extern bool rootkeys_find(const char *id, KeyringRoot *root) CRYPTO_MUST_USE;
/* Copies the current root key; false when none is loaded. The caller wipes it. */
extern bool rootkeys_current(KeyringRoot *root) CRYPTO_MUST_USE;
/* Copies the n-th root key, *last telling whether it is the current one; false past the end. The caller wipes it. */
extern bool rootkeys_nth(int n, KeyringRoot *root, bool *last) CRYPTO_MUST_USE;
/* What was wrong at the last load; "" when nothing. */
extern void rootkeys_problem(char *out, size_t size);

#endif /* IMMIIQ_KEYRING_PRIVATE_H */
