/*
 * Password hashes: Argon2id to make and verify, bcrypt to verify only.
 * No postgres.h.  Trusts nothing in a stored hash; refuses every form but the
 * ones below, before any library sees it.
 */
#ifndef IMMIIQ_PWHASH_H
#define IMMIIQ_PWHASH_H

#include "crypto/crypto.h"

#define PWHASH_SIZE		  128			   /* longest hash and its terminator */
#define PWHASH_OPS		  2				   /* OWASP's parameters: passes, */
#define PWHASH_MEMORY	  (19456u * 1024u) /* bytes, one lane */
#define PWHASH_BCRYPT_MAX 72			   /* bytes of a password that bcrypt reads */

typedef enum PwhashKind
{
	PWHASH_NONE = 0, /* not a hash that is accepted */
	PWHASH_ARGON2ID,
	PWHASH_BCRYPT
} PwhashKind;

/* What a stored hash is: $argon2id$ of bounded cost, or $2a$, $2b$, $2y$ of cost 4 to 16. */
extern PwhashKind pwhash_kind(const char *hash);
/* Makes an Argon2id hash with a random salt. */
extern bool pwhash_make(const char *password, size_t len, char out[PWHASH_SIZE]) CRYPTO_MUST_USE;
/* True when the password is that of the hash. */
extern bool pwhash_verify(const char *hash, const char *password, size_t len) CRYPTO_MUST_USE;
/* True for an Argon2id hash of the parameters above; others are to be made anew. */
extern bool pwhash_is_current(const char *hash) CRYPTO_MUST_USE;

#endif /* IMMIIQ_PWHASH_H */
