/*
 * The text of a token: its kind, 32 secret bytes in base62 and a checksum.
 * No postgres.h: unit tests and fuzzers link crypto/ and this file alone.
 * Trusts nothing in the text; refuses whatever token_make could not have made.
 *
 *   iq_s_  43 characters of base62 (32 random bytes, big-endian)  6 of checksum
 *
 * The letter is the kind, and part of what is hashed: a token of one kind is
 * never found as another.
 */
#ifndef IMMIIQ_TOKEN_H
#define IMMIIQ_TOKEN_H

#include "crypto/crypto.h"

#define TOKEN_SESSION	  's' /* of a member */
#define TOKEN_PORTAL	  'p' /* session of a client in the portal */
#define TOKEN_REFRESH	  'r'
#define TOKEN_LINK		  'l' /* in the link that a member gets */
#define TOKEN_PORTAL_LINK 'h'
#define TOKEN_SHARE		  'd' /* of one document, for somebody outside */
#define TOKEN_KINDS		  "sprlhd"

#define TOKEN_PREFIX_LEN 5
#define TOKEN_BODY_LEN	 43
#define TOKEN_CHECK_LEN	 6
#define TOKEN_LEN		 (TOKEN_PREFIX_LEN + TOKEN_BODY_LEN + TOKEN_CHECK_LEN)

/* Writes a fresh token of one kind and a terminator. */
extern bool token_make(char kind, char out[TOKEN_LEN + 1]) CRYPTO_MUST_USE;
/* Writes the token of given secret bytes and a terminator. */
extern bool token_encode(char kind, const uint8_t secret[32],
						 char out[TOKEN_LEN + 1]) CRYPTO_MUST_USE;
/* SHA-256 of a well-formed token's text, as the tables store it; false for any other text, and for a kind not in kinds. */
extern bool token_hash(const char *kinds, const char *text, size_t len,
					   uint8_t out[CRYPTO_HASH_BYTES]) CRYPTO_MUST_USE;
/* True when the text begins as a JSON object in base64url does. */
extern bool token_may_be_jwt(const char *text);
/* First thing in text that looks like a token or a JWT, whole or cut short; sets *len. NULL when there is none. */
extern const char *token_find(const char *text, size_t *len);

#endif /* IMMIIQ_TOKEN_H */
