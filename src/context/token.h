/*
 * The text of a session token: 32 random bytes in base62 and a checksum.
 * No postgres.h: unit tests and fuzzers link crypto/ and this file alone.
 * Trusts nothing in the text; refuses whatever token_make could not have made.
 *
 *   iq_s_  43 characters of base62 (32 random bytes, big-endian)  6 of checksum
 */
#ifndef IMMIIQ_TOKEN_H
#define IMMIIQ_TOKEN_H

#include "crypto/crypto.h"

#define TOKEN_PREFIX	 "iq_s_"
#define TOKEN_PREFIX_LEN 5
#define TOKEN_BODY_LEN	 43
#define TOKEN_CHECK_LEN	 6
#define TOKEN_LEN		 (TOKEN_PREFIX_LEN + TOKEN_BODY_LEN + TOKEN_CHECK_LEN)

/* Writes a fresh token and a terminator. */
extern bool token_make(char out[TOKEN_LEN + 1]) CRYPTO_MUST_USE;
/* Writes the token of given secret bytes and a terminator. */
extern bool token_encode(const uint8_t secret[32], char out[TOKEN_LEN + 1]) CRYPTO_MUST_USE;
/* SHA-256 of a well-formed token's text, as immiiq.session stores it; false for any other text. */
extern bool token_hash(const char *text, size_t len, uint8_t out[CRYPTO_HASH_BYTES]) CRYPTO_MUST_USE;
/* First thing in text that looks like a token, whole or cut short; sets *len. NULL when there is none. */
extern const char *token_find(const char *text, size_t *len);

#endif /* IMMIIQ_TOKEN_H */
