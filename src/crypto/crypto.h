/*
 * Primitives: buffers in, codes out.  No catalog, no ereport, no palloc, no
 * postgres.h, so that unit tests and fuzzers link this folder alone.
 * Secrets are wiped by whoever holds them; every result may not be ignored.
 */
#ifndef IMMIIQ_CRYPTO_H
#define IMMIIQ_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CRYPTO_MUST_USE __attribute__((warn_unused_result))

#define CRYPTO_KEY_BYTES   32
#define CRYPTO_NONCE_BYTES 24 /* XAES-256-GCM */
#define CRYPTO_MAC_BYTES   16 /* GCM tag */
#define CRYPTO_HASH_BYTES  32 /* SHA-256 */
#define CRYPTO_SIG_BYTES   64 /* Ed25519 */
#define CRYPTO_SEED_BYTES  32 /* Ed25519 */
#define CRYPTO_PUB_BYTES   32 /* Ed25519 */

/* Starts libsodium and chooses the AES path. True on success; may be called again. */
extern bool crypto_init(void) CRYPTO_MUST_USE;
/* True when the AES-NI path is in use; crypto_force_fallback(true) takes OpenSSL EVP throughout (for tests). */
extern bool crypto_is_accelerated(void);
extern void crypto_force_fallback(bool on);

/* ---- memory ---- */
extern void crypto_wipe(void *p, size_t n);
extern bool crypto_equal(const void *a, const void *b, size_t n) CRYPTO_MUST_USE; /* constant time */
extern void *crypto_alloc_locked(size_t n)
	CRYPTO_MUST_USE; /* sodium_malloc: guarded, locked, undumpable; NULL on failure */
extern void crypto_free_locked(void *p); /* wipes */

/* ---- randomness ----
 * Buffered CSPRNG bytes for nonces; the buffer is tied to the process id, so a fork never repeats it. */
extern void crypto_nonce(uint8_t *out, size_t n);
/* Unbuffered, for keys and tokens. */
extern void crypto_random(uint8_t *out, size_t n);

/* ---- XAES-256-GCM (C2SP) ----
 * An object holds the expanded key; it is allocated by crypto_xaes_new and wiped by crypto_xaes_free. */
typedef struct CryptoXaes CryptoXaes;
extern CryptoXaes *
crypto_xaes_new(const uint8_t key[CRYPTO_KEY_BYTES]) CRYPTO_MUST_USE; /* NULL on failure */
extern void crypto_xaes_free(CryptoXaes *x);
/* out gets len + CRYPTO_MAC_BYTES bytes; out may equal plain. */
extern bool crypto_xaes_seal(CryptoXaes *x, const uint8_t nonce[CRYPTO_NONCE_BYTES],
							 const uint8_t *aad, size_t aad_len, const uint8_t *plain, size_t len,
							 uint8_t *out) CRYPTO_MUST_USE;
/* sealed_len counts the MAC; out gets sealed_len - CRYPTO_MAC_BYTES bytes; false (and out wiped) when it does not authenticate. */
extern bool crypto_xaes_open(CryptoXaes *x, const uint8_t nonce[CRYPTO_NONCE_BYTES],
							 const uint8_t *aad, size_t aad_len, const uint8_t *sealed,
							 size_t sealed_len, uint8_t *out) CRYPTO_MUST_USE;

/* The key of one message, 32 bytes: it opens this message and no other. */
extern bool crypto_xaes_message_key(CryptoXaes *x, const uint8_t nonce[CRYPTO_NONCE_BYTES],
									uint8_t key[CRYPTO_KEY_BYTES]) CRYPTO_MUST_USE;
/* Opens a message with its own key; otherwise as crypto_xaes_open. */
extern bool crypto_message_open(const uint8_t key[CRYPTO_KEY_BYTES],
								const uint8_t nonce[CRYPTO_NONCE_BYTES], const uint8_t *aad,
								size_t aad_len, const uint8_t *sealed, size_t sealed_len,
								uint8_t *out) CRYPTO_MUST_USE;

/* ---- XChaCha20 ----
 * Keystream from a block of 64 bytes on: pseudorandom bytes that need not be kept. */
extern bool crypto_keystream(const uint8_t key[CRYPTO_KEY_BYTES],
							 const uint8_t nonce[CRYPTO_NONCE_BYTES], uint64_t block, uint8_t *out,
							 size_t n) CRYPTO_MUST_USE;

/* ---- SHA-256, HMAC-SHA256, HKDF-SHA256 ---- */
extern bool crypto_sha256(const void *data, size_t len,
						  uint8_t out[CRYPTO_HASH_BYTES]) CRYPTO_MUST_USE;
/* SHA-256 of prefix ‖ a ‖ b, for trees and commitments (pointers may be NULL with length 0). */
extern bool crypto_sha256_3(const void *p, size_t plen, const void *a, size_t alen, const void *b,
							size_t blen, uint8_t out[CRYPTO_HASH_BYTES]) CRYPTO_MUST_USE;

/* SipHash-2-4: a number that only who has the key can aim at; for sums over sets within one process. */
#define CRYPTO_SHORT_KEY_BYTES 16
extern uint64_t crypto_short_hash(const uint8_t key[CRYPTO_SHORT_KEY_BYTES], const void *data,
								  size_t len);
/* A message of at most so many bytes fits, with its padding, into two blocks of SHA-256. */
#define CRYPTO_SHA_BLOCK_BYTES 64
#define CRYPTO_SHA_SHORT_BYTES (2 * CRYPTO_SHA_BLOCK_BYTES - 9)
/* SHA-256 of the message at the beginning of block, which gets its padding; the caller wipes it. For many in a row. */
extern void crypto_sha256_short(uint8_t block[2 * CRYPTO_SHA_BLOCK_BYTES], size_t len,
								uint8_t out[CRYPTO_HASH_BYTES]);

/* The same piece by piece: start, add any number of times, finish. Plain old data. */
typedef struct CryptoSha256
{
	uint64_t opaque[16];
} CryptoSha256;
extern bool crypto_sha256_start(CryptoSha256 *h) CRYPTO_MUST_USE;
extern bool crypto_sha256_add(CryptoSha256 *h, const void *data, size_t len) CRYPTO_MUST_USE;
extern bool crypto_sha256_finish(CryptoSha256 *h, uint8_t out[CRYPTO_HASH_BYTES]) CRYPTO_MUST_USE;
/* Precomputed inner and outer states: plain old data, may be copied; wipe it after use. Aligned opaque storage. */
typedef struct CryptoHmac
{
	uint64_t opaque[32];
} CryptoHmac;
extern bool crypto_hmac_init(CryptoHmac *h, const uint8_t *key, size_t key_len) CRYPTO_MUST_USE;
extern bool crypto_hmac(const CryptoHmac *h, const void *data, size_t len,
						uint8_t out[CRYPTO_HASH_BYTES]) CRYPTO_MUST_USE;
/* RFC 5869, extract then expand; out_len up to 255 * 32. */
extern bool crypto_hkdf(const uint8_t *ikm, size_t ikm_len, const uint8_t *salt, size_t salt_len,
						const uint8_t *info, size_t info_len, uint8_t *out,
						size_t out_len) CRYPTO_MUST_USE;

/* ---- Ed25519 ---- */
extern bool crypto_ed25519_public(const uint8_t seed[CRYPTO_SEED_BYTES],
								  uint8_t pub[CRYPTO_PUB_BYTES]) CRYPTO_MUST_USE;
extern bool crypto_ed25519_sign(const uint8_t seed[CRYPTO_SEED_BYTES], const void *msg, size_t len,
								uint8_t sig[CRYPTO_SIG_BYTES]) CRYPTO_MUST_USE;
extern bool crypto_ed25519_verify(const uint8_t pub[CRYPTO_PUB_BYTES], const void *msg, size_t len,
								  const uint8_t sig[CRYPTO_SIG_BYTES]) CRYPTO_MUST_USE;

/* ---- signatures of others: RSASSA-PKCS1-v1_5 and ECDSA on P-256, each with SHA-256; verified only ----
 * n and e big-endian without leading zeros; refused: n of less than 2048 or more than 4096 bits, an even e, an e below 3. */
extern bool crypto_rs256_verify(const uint8_t *n, size_t n_len, const uint8_t *e, size_t e_len,
								const void *msg, size_t len, const uint8_t *sig,
								size_t sig_len) CRYPTO_MUST_USE;
/* x, y: a point that must lie on the curve; sig is r and s, 32 bytes each, as JOSE writes them. */
extern bool crypto_es256_verify(const uint8_t x[32], const uint8_t y[32], const void *msg,
								size_t len, const uint8_t sig[64]) CRYPTO_MUST_USE;

/* ---- base64url without padding (strict, canonical) ---- */
extern size_t crypto_base64url_encoded_len(size_t n);
extern void crypto_base64url_encode(const uint8_t *in, size_t n, char *out); /* no terminator */
/* Decodes n characters; false for any character, length or trailing bits outside the canonical form. out needs n * 3 / 4 bytes. */
extern bool crypto_base64url_decode(const char *in, size_t n, uint8_t *out,
									size_t *out_len) CRYPTO_MUST_USE;

#endif /* IMMIIQ_CRYPTO_H */
