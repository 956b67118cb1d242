/*
 * The sealed byte format (docs/format.md): parse, seal, open, armour.
 * No postgres.h: unit tests and fuzzers link crypto/ and envelope/ alone.
 * Trusts nothing in the bytes; refuses whatever is not canonical.
 *
 *   0      version (high nibble, 1) | algorithm (low nibble)
 *   1      type code (high nibble)  | token flags (low nibble)
 *   2..3   column domain, big-endian
 *   4..7   key id, big-endian
 *   [16]   equality tag, when ENVELOPE_TAG is set
 *   [4+4n] kinds (1), n (3) and n tokens, ascending, when ENVELOPE_TOKENS is set
 *   24     nonce
 *   n      ciphertext
 *   16     GCM MAC over label ‖ bytes before the nonce (as AAD) and ciphertext
 */
#ifndef IMMIIQ_ENVELOPE_H
#define IMMIIQ_ENVELOPE_H

#include "crypto/crypto.h"

#define ENVELOPE_VERSION	  1
#define ENVELOPE_HEADER_BYTES 8
#define ENVELOPE_TAG_BYTES	  16

/* Algorithms.  Only ENVELOPE_SEALED is ever stored or armoured. */
#define ENVELOPE_UNSEALED 0 /* in memory only: plaintext on its way to a column or an operator */
#define ENVELOPE_SEALED	  1 /* XAES-256-GCM */
#define ENVELOPE_PROBE	  2 /* in memory only: header and tokens of a query, no ciphertext */

/* Token flags */
#define ENVELOPE_TAG	0x1 /* a 16-byte equality tag follows the header */
#define ENVELOPE_FOLD	0x2 /* the tag is of the folded value (only with ENVELOPE_TAG) */
#define ENVELOPE_TOKENS 0x4 /* a list of 4-byte tokens follows the tag */

/* Kinds of tokens in the list */
#define ENVELOPE_PREFIX	  0x1 /* text: its first characters */
#define ENVELOPE_MATCH	  0x2 /* text: its trigrams */
#define ENVELOPE_RANGE	  0x4 /* dates and numbers: the intervals that hold it */
#define ENVELOPE_CONTAINS 0x8 /* jsonb: its paths with their values */

#define ENVELOPE_TOKEN_BYTES	   4
#define ENVELOPE_TOKENS_HEAD_BYTES 4
#define ENVELOPE_TOKENS_MAX		   (1 << 20)

/* Type codes: a code is never reused. */
#define ENVELOPE_TYPE_TEXT		  1
#define ENVELOPE_TYPE_BYTEA		  2
#define ENVELOPE_TYPE_INT8		  3
#define ENVELOPE_TYPE_NUMERIC	  4
#define ENVELOPE_TYPE_DATE		  5
#define ENVELOPE_TYPE_TIMESTAMPTZ 6
#define ENVELOPE_TYPE_JSONB		  7

/* A list of tokens: list has count times 4 bytes, strictly ascending. */
typedef struct EnvelopeTokens
{
	uint8_t kinds;
	uint32_t count;
	const uint8_t *list;
} EnvelopeTokens;

typedef struct Envelope
{
	uint8_t algorithm;
	uint8_t type;
	uint8_t flags;
	uint16_t domain;
	uint32_t key_id;
	const uint8_t *tag; /* NULL without ENVELOPE_TAG */
	EnvelopeTokens tokens; /* kinds 0 without ENVELOPE_TOKENS; list NULL when not all of it was given */
	size_t prefix_len;	   /* header, tag and tokens: what stands before the nonce */
	const uint8_t *nonce; /* NULL unless sealed */
	const uint8_t *body;  /* sealed: ciphertext ‖ MAC; unsealed: plaintext */
	size_t body_len;
} Envelope;

/* Parses a whole value; false for anything malformed. Points into buf. */
extern bool envelope_parse(const uint8_t *buf, size_t len, Envelope *env) CRYPTO_MUST_USE;
/*
 * Parses header, tag and, as far as they are there, tokens from the first len
 * bytes of a value that may go on (a detoasted slice); prefix_len is told even
 * when the list of tokens goes beyond len.
 */
extern bool envelope_parse_prefix(const uint8_t *buf, size_t len, Envelope *env) CRYPTO_MUST_USE;
/* Bytes of a sealed value over plain_len bytes with these flags and so many tokens (0 without ENVELOPE_TOKENS). */
extern size_t envelope_sealed_size(uint8_t flags, uint32_t tokens, size_t plain_len);
/* Writes header and tag to out and returns their length. tag is read when flags has ENVELOPE_TAG. */
extern size_t envelope_write_prefix(uint8_t algorithm, uint8_t type, uint8_t flags, uint16_t domain,
									uint32_t key_id, const uint8_t *tag, uint8_t *out);
/* Seals plain into out (envelope_sealed_size bytes) under key with a fresh nonce. tokens is read when flags has ENVELOPE_TOKENS. */
extern bool envelope_seal(CryptoXaes *key, uint8_t type, uint8_t flags, uint16_t domain,
						  uint32_t key_id, const uint8_t *tag, const EnvelopeTokens *tokens,
						  const uint8_t *plain, size_t plain_len, uint8_t *out) CRYPTO_MUST_USE;
/* Plaintext bytes that opening gives. */
extern size_t envelope_plain_size(const Envelope *env);
/* Opens a parsed sealed value; buf is what was parsed. False when it does not authenticate. */
extern bool envelope_open(CryptoXaes *key, const uint8_t *buf, const Envelope *env,
						  uint8_t *out) CRYPTO_MUST_USE;

/* Armour: "iq1:" and base64url of the sealed bytes, without padding. */
#define ENVELOPE_ARMOUR_PREFIX "iq1:"
extern size_t envelope_armour_size(size_t len); /* characters, no terminator */
extern void envelope_armour(const uint8_t *buf, size_t len, char *out);
/* Bytes that dearmouring n characters can give at most. */
extern size_t envelope_dearmour_size(size_t n);
/* False unless the text is armour, whole, canonical, and the bytes parse as a sealed value. */
extern bool envelope_dearmour(const char *text, size_t n, uint8_t *out,
							  size_t *out_len) CRYPTO_MUST_USE;

#endif /* IMMIIQ_ENVELOPE_H */
