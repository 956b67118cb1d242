/*
 * Sets of public keys as identity providers publish them (RFC 7517, 8037).
 * No postgres.h.  Trusts the DBA who stores a set for whose it is; refuses sets
 * with private or symmetric keys, and keys whose use is another.
 */
#ifndef IMMIIQ_JWKS_H
#define IMMIIQ_JWKS_H

#include "identity/jwt.h"

#define JWKS_MAX   65536
#define JWKS_NODES 4096

typedef struct JwksKey
{
	JwtAlgorithm algorithm;
	uint8_t first[512]; /* n, or x */
	size_t first_len;
	uint8_t second[32]; /* e, or y */
	size_t second_len;
} JwksKey;

/* What is wrong with a parsed set, as the rest of a sentence; NULL when it can be stored. */
extern const char *jwks_problem(const JwtJsonNode *set);
/* The key that a token's header names, when its type and use fit the algorithm. */
extern bool jwks_find(const JwtJsonNode *set, const JwtJsonNode *kid, JwtAlgorithm algorithm,
					  JwksKey *key) CRYPTO_MUST_USE;
/* True when the token's signature is this key's. */
extern bool jwks_verify(const JwksKey *key, const Jwt *jwt) CRYPTO_MUST_USE;

#endif /* IMMIIQ_JWKS_H */
