/*
 * Signatures of webhooks: Stripe's scheme v1, and Standard Webhooks v1.  No
 * postgres.h: unit tests and fuzzers link crypto/ and this file alone.
 * Trusts nothing in headers and body; a body counts as the bytes that came.
 */
#ifndef IMMIIQ_WEBHOOK_H
#define IMMIIQ_WEBHOOK_H

#include <stdint.h>

#include "crypto/crypto.h"

#define WEBHOOK_TOLERANCE	   300 /* seconds, both ways */
#define WEBHOOK_MAX_SIGNATURES 16
#define WEBHOOK_MAX_SECRET	   512 /* characters */

typedef enum WebhookResult
{
	WEBHOOK_VALID = 0,
	WEBHOOK_MALFORMED,		  /* a header that cannot be read */
	WEBHOOK_BAD_SIGNATURE,	  /* none of its signatures is of this secret */
	WEBHOOK_OUTSIDE_TOLERANCE /* rightly signed, too long ago or too far ahead */
} WebhookResult;

/* Stripe-Signature: t=…,v1=…; the secret is used as it is written, whsec_ and all. now: seconds since 1970. */
extern WebhookResult webhook_check_stripe(const char *secret, const char *header,
										  const uint8_t *body, size_t len,
										  int64_t now) CRYPTO_MUST_USE;
/* webhook-id, webhook-timestamp, webhook-signature; the secret is base64, behind whsec_ or alone. */
extern WebhookResult webhook_check_standard(const char *secret, const char *id,
											const char *timestamp, const char *signatures,
											const uint8_t *body, size_t len,
											int64_t now) CRYPTO_MUST_USE;

#endif /* IMMIIQ_WEBHOOK_H */
