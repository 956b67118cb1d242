/*
 * Commitments of the columns of an entry: each column can be shown, or kept
 * back, while the entry stays what was logged.  No postgres.h.  Trusts nothing
 * in an image; false means that it is malformed or that hashing failed.
 *
 * The n-th column of a sealed part has as its salt 16 bytes of the XChaCha20
 * keystream under the part's salt key and a nonce that names the entry.  Its commitment is SHA-256 of
 * salt, one byte for the part, and the column as it stands in the image.
 */
#ifndef IMMIIQ_COMMIT_H
#define IMMIIQ_COMMIT_H

#include "audit/canonical.h"
#include "crypto/crypto.h"

#define COMMIT_SALT_BYTES 16
#define COMMIT_HASH_BYTES CRYPTO_HASH_BYTES

typedef enum CommitPart
{
	COMMIT_NEW = 0,
	COMMIT_OLD = 1,
	COMMIT_ORIGIN = 2
} CommitPart;

/* The nonce of an entry's salts, those of its columns or that of its origin. */
extern void commit_salt_nonce(const CanonicalEntry *entry, bool origin,
							  uint8_t out[CRYPTO_NONCE_BYTES]);
/*
 * The nonce under which a part (the tag of its field) is sealed: the entry's
 * commitment, as unpredictable as the salts in it, over the entry's name, which
 * keeps entries apart whose commitment has no salt because no column is in it.
 */
extern void commit_seal_nonce(const CanonicalEntry *entry, uint8_t tag,
							  uint8_t out[CRYPTO_NONCE_BYTES]);
/* The salt of the n-th item (from 0). */
extern bool commit_salt(const uint8_t salt_key[CRYPTO_KEY_BYTES],
						const uint8_t nonce[CRYPTO_NONCE_BYTES], uint32_t n,
						uint8_t out[COMMIT_SALT_BYTES]) CRYPTO_MUST_USE;
/* The commitment of one item. */
extern bool commit_item(const uint8_t salt[COMMIT_SALT_BYTES], CommitPart part, const uint8_t *item,
						size_t len, uint8_t out[COMMIT_HASH_BYTES]) CRYPTO_MUST_USE;
/* Appends the commitments of an image's columns to hashes: the new ones, then the old ones. */
extern bool commit_image(CanonicalBuffer *hashes, const uint8_t salt_key[CRYPTO_KEY_BYTES],
						 const uint8_t nonce[CRYPTO_NONCE_BYTES], const uint8_t *image,
						 size_t len) CRYPTO_MUST_USE;
/* Appends the commitment of the origin, as a whole. */
extern bool commit_origin(CanonicalBuffer *hashes, const uint8_t salt_key[CRYPTO_KEY_BYTES],
						  const uint8_t nonce[CRYPTO_NONCE_BYTES], const uint8_t *origin,
						  size_t len) CRYPTO_MUST_USE;
/* What the entry carries: SHA-256 of a label and all commitments. */
extern bool commit_root(const uint8_t *hashes, size_t len,
						uint8_t out[COMMIT_HASH_BYTES]) CRYPTO_MUST_USE;

#endif /* IMMIIQ_COMMIT_H */
