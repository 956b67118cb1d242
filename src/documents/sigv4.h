/*
 * AWS Signature Version 4 for URLs and browser forms.  No postgres.h: unit
 * tests and fuzzers link crypto/ and this file alone.  Trusts the caller for
 * what may be signed; refuses what it could not write in one way only.
 */
#ifndef IMMIIQ_SIGV4_H
#define IMMIIQ_SIGV4_H

#include <stdint.h>

#include "crypto/crypto.h"

#define SIGV4_MAX_PARAMETERS 24
#define SIGV4_MAX_EXPIRES	 604800
#define SIGV4_DATE_LEN		 16 /* 20130524T000000Z */
#define SIGV4_SIGNATURE_LEN	 64 /* hexadecimal */

typedef struct Sigv4Parameter
{
	const char *name;
	const char *value;
} Sigv4Parameter;

typedef struct Sigv4Request
{
	const char *method;
	const char *scheme; /* "https" */
	const char *host;	/* with the port where it is not the scheme's own */
	const char *path;	/* begins with '/', not encoded */
	const char *region;
	const char *access_key;
	const char *secret;
	const char *session_token; /* NULL when none */
	int64_t at;				   /* seconds since 1970 */
	int32_t expires;		   /* seconds, 1 to SIGV4_MAX_EXPIRES */
	int n_query;
	const Sigv4Parameter *query; /* besides X-Amz-…; names of unreserved characters */
	int n_headers;
	const Sigv4Parameter *headers; /* besides host; lower-case names, values without outer spaces */
} Sigv4Request;

/* The date as it is signed, and a terminator; false outside the years 1970 to 9999. */
extern bool sigv4_date(int64_t at, char out[SIGV4_DATE_LEN + 1]) CRYPTO_MUST_USE;
/* Bytes that sigv4_presign writes at most, with the terminator. */
extern size_t sigv4_url_size(const Sigv4Request *r);
/* Writes the signed URL and a terminator; false for a request that cannot be signed. */
extern bool sigv4_presign(const Sigv4Request *r, char *url, size_t size) CRYPTO_MUST_USE;
/* Signs text (the base64 of a form's policy): 64 hexadecimal digits and a terminator. */
extern bool sigv4_sign(const char *secret, const char *date, const char *region, const void *text,
					   size_t len, char out[SIGV4_SIGNATURE_LEN + 1]) CRYPTO_MUST_USE;
/* Percent-encodes all but unreserved characters and, with keep_slash, '/'; returns the end. */
extern char *sigv4_encode(const char *text, bool keep_slash, char *out);

#endif /* IMMIIQ_SIGV4_H */
