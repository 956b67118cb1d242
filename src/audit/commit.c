/*
 * Commitments of the columns of an entry.  Trusts its caller's keys and nonces;
 * refuses an image that is not canonical.
 */
#include "audit/commit.h"

#include <string.h>

#define SALTS_AT_ONCE 16 /* four blocks of the keystream */

void
commit_salt_nonce(const CanonicalEntry *entry, bool origin, uint8_t out[CRYPTO_NONCE_BYTES])
{
	uint8_t *at = out;

	for (int i = 56; i >= 0; i -= 8)
		*at++ = (uint8_t) ((uint64_t) entry->at >> i);
	for (int i = 56; i >= 0; i -= 8)
		*at++ = (uint8_t) (entry->txid >> i);
	for (int i = 24; i >= 0; i -= 8)
		*at++ = (uint8_t) (entry->seq >> i);
	for (int i = 24; i >= 0; i -= 8)
		*at++ = (uint8_t) ((entry->incarnation | (origin ? UINT32_C(1) << 31 : 0)) >> i);
}

void
commit_seal_nonce(const CanonicalEntry *entry, uint8_t tag, uint8_t out[CRYPTO_NONCE_BYTES])
{
	commit_salt_nonce(entry, false, out);
	for (int i = 0; i < CRYPTO_NONCE_BYTES - 1; i++)
		out[i] ^= entry->commitment[i];
	out[CRYPTO_NONCE_BYTES - 1] = tag;
}

bool
commit_salt(const uint8_t salt_key[CRYPTO_KEY_BYTES], const uint8_t nonce[CRYPTO_NONCE_BYTES],
			uint32_t n, uint8_t out[COMMIT_SALT_BYTES])
{
	uint8_t block[64];
	bool ok = crypto_keystream(salt_key, nonce, n / 4, block, sizeof(block));

	memcpy(out, block + (size_t) (n % 4) * COMMIT_SALT_BYTES, COMMIT_SALT_BYTES);
	crypto_wipe(block, sizeof(block));
	return ok;
}

bool
commit_item(const uint8_t salt[COMMIT_SALT_BYTES], CommitPart part, const uint8_t *item, size_t len,
			uint8_t out[COMMIT_HASH_BYTES])
{
	uint8_t head[COMMIT_SALT_BYTES + 1];

	memcpy(head, salt, COMMIT_SALT_BYTES);
	head[COMMIT_SALT_BYTES] = (uint8_t) part;
	return crypto_sha256_3(head, sizeof(head), item, len, NULL, 0, out);
}

bool
commit_image(CanonicalBuffer *hashes, const uint8_t salt_key[CRYPTO_KEY_BYTES],
			 const uint8_t nonce[CRYPTO_NONCE_BYTES], const uint8_t *image, size_t len)
{
	uint8_t salts[SALTS_AT_ONCE * COMMIT_SALT_BYTES];
	uint8_t block[2 * CRYPTO_SHA_BLOCK_BYTES]; /* wiped once, after all columns */
	uint32_t n = 0;
	size_t pos = 0;
	bool ok = true;

	for (int part = COMMIT_NEW; ok && part <= COMMIT_OLD; part++)
	{
		uint32_t count;

		ok = canonical_get_length(image, len, &pos, &count);
		while (ok && count-- > 0)
		{
			CanonicalColumn column;
			size_t start = pos;
			const uint8_t *salt = salts + (n % SALTS_AT_ONCE) * COMMIT_SALT_BYTES;
			uint8_t *at = NULL;

			if (n % SALTS_AT_ONCE == 0)
				ok = crypto_keystream(salt_key, nonce, n / 4, salts, sizeof(salts));
			ok = ok && canonical_get_column(image, len, &pos, &column) &&
				 (at = canonical_reserve(hashes, COMMIT_HASH_BYTES)) != NULL;
			if (ok && COMMIT_SALT_BYTES + 1 + pos - start <= CRYPTO_SHA_SHORT_BYTES)
			{
				memcpy(block, salt, COMMIT_SALT_BYTES);
				block[COMMIT_SALT_BYTES] = (uint8_t) part;
				memcpy(block + COMMIT_SALT_BYTES + 1, image + start, pos - start);
				crypto_sha256_short(block, COMMIT_SALT_BYTES + 1 + pos - start, at);
			}
			else if (ok)
				ok = commit_item(salt, (CommitPart) part, image + start, pos - start, at);
			n++;
		}
	}
	crypto_wipe(salts, sizeof(salts));
	crypto_wipe(block, sizeof(block));
	return ok && pos == len;
}

bool
commit_origin(CanonicalBuffer *hashes, const uint8_t salt_key[CRYPTO_KEY_BYTES],
			  const uint8_t nonce[CRYPTO_NONCE_BYTES], const uint8_t *origin, size_t len)
{
	uint8_t salt[COMMIT_SALT_BYTES];
	uint8_t *at = canonical_reserve(hashes, COMMIT_HASH_BYTES);

	return at != NULL && commit_salt(salt_key, nonce, 0, salt) &&
		   commit_item(salt, COMMIT_ORIGIN, origin, len, at);
}

bool
commit_root(const uint8_t *hashes, size_t len, uint8_t out[COMMIT_HASH_BYTES])
{
	return crypto_sha256_3("immiiq/v1/fields", 16, hashes, len, NULL, 0, out);
}
