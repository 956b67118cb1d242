/*
 * JSON Web Tokens (RFC 7515, 7519, 8037, 8725) in compact form: taken apart,
 * and their claims checked.  No postgres.h: unit tests and fuzzers link crypto/
 * and these files alone.  Trusts nothing; the signature is verified with a key
 * that the caller chose, never with one that the token brings.
 *
 * Refused before anything is looked up: other than three segments that are not
 * empty, base64url that is padded or not canonical, more than JWT_MAX bytes, a
 * header that is no strict JSON object, no alg, any crit.
 */
#ifndef IMMIIQ_JWT_H
#define IMMIIQ_JWT_H

#include "crypto/crypto.h"
#include "identity/jwt_json.h"

#define JWT_MAX			  16384
#define JWT_SIGNATURE_MAX 512
#define JWT_HEADER_NODES  64
#define JWT_CLAIM_NODES	  768
#define JWT_KID_MAX		  256

typedef enum JwtAlgorithm
{
	JWT_OTHER = 0, /* none, HS256 and whatever else is never verified here */
	JWT_EDDSA,
	JWT_RS256,
	JWT_ES256
} JwtAlgorithm;

typedef struct Jwt
{
	JwtAlgorithm algorithm;
	const JwtJsonNode *kid; /* a string, or NULL */
	const JwtJsonNode *typ;
	const char *signed_text; /* header and payload, into the caller's text */
	size_t signed_len;
	const char *payload; /* decoded, as it was written */
	size_t payload_len;
	uint8_t signature[JWT_SIGNATURE_MAX];
	size_t signature_len;
	JwtJsonNode header[JWT_HEADER_NODES];
	JwtJsonNode claims[JWT_CLAIM_NODES]; /* claims[0] is the object, after jwt_read_claims */
	char room[JWT_MAX * 2];
} Jwt;

/* Takes a token apart; text must outlive *jwt. False when it is no such token. */
extern bool jwt_parse(const char *text, size_t len, Jwt *jwt) CRYPTO_MUST_USE;
/* Reads the payload as a JSON object; false when it is none. */
extern bool jwt_read_claims(Jwt *jwt) CRYPTO_MUST_USE;
/* The algorithm of a name, JWT_OTHER for any other. */
extern JwtAlgorithm jwt_algorithm(const char *name, size_t len);
/* True when typ is this one (RFC 7515 4.1.9: in any case, with or without application/). */
extern bool jwt_type_is(const Jwt *jwt, const char *type);
/* True when the claim aud is this audience, or an array of strings with it; *several when it has more than one. */
extern bool jwt_has_audience(const JwtJsonNode *claims, const char *audience, bool *several);
/*
 * What is wrong with exp (needed), nbf and iat at this time, in seconds since
 * 1970; NULL when nothing is.  slack is added for other clocks to exp as well
 * as to the other two.
 */
extern const char *jwt_time_problem(const JwtJsonNode *claims, int64_t now, int64_t exp_slack,
									int64_t begin_slack);
/* Writes header.payload.signature of an Ed25519 key; out needs jwt_signed_size bytes, no terminator. */
extern size_t jwt_signed_size(size_t header_len, size_t payload_len);
extern bool jwt_sign(const uint8_t seed[CRYPTO_SEED_BYTES], const char *header, size_t header_len,
					 const char *payload, size_t payload_len, char *out) CRYPTO_MUST_USE;

#endif /* IMMIIQ_JWT_H */
