/*
 * Tokens: what an index can compare without opening.  Trusts keyring/ for the
 * tag keys; knows nothing of who asks.
 */
#include "postgres.h"

#include "base/base.h"
#include "keyring/keyring.h"
#include "search/fold.h"
#include "search/search.h"

/* numeric_send: digits, weight, sign and scale in two bytes each, then the digits. */
#define TAG_NUMERIC_SCALE 6
#define TAG_NUMERIC_HEAD  8

void
search_make_tag(const pg_uuid_t *org, uint8_t type, uint16_t domain, uint8_t flags,
				const uint8_t *plain, size_t len, uint8_t tag[ENVELOPE_TAG_BYTES])
{
	bool fold = (flags & ENVELOPE_FOLD) != 0;
	uint8 *folded = NULL;
	size_t folded_len = 0;
	uint8 hash[CRYPTO_HASH_BYTES];
	const CryptoHmac *key;
	bool ok;

	if (type == ENVELOPE_TYPE_NUMERIC && len >= TAG_NUMERIC_HEAD)
	{
		/* 1.0 and 1.00 are equal: the number of digits shown is no part of the tag. */
		folded = palloc(len);
		folded_len = len;
		memcpy(folded, plain, len);
		folded[TAG_NUMERIC_SCALE] = folded[TAG_NUMERIC_SCALE + 1] = 0;
		plain = folded;
	}

	if (fold)
	{
		/* Never raises for a length: the probe of a text is leakproof. */
		folded = palloc_extended(fold_size(len), MCXT_ALLOC_HUGE);
		folded_len = fold_text(plain, len, folded);
		plain = folded;
		len = folded_len;
	}
	key = keyring_tag_key(org, type, domain, fold ? KEYRING_TOKEN_FOLD : KEYRING_TOKEN_EQUALITY);
	ok = crypto_hmac(key, plain, len, hash);
	if (folded != NULL)
	{
		crypto_wipe(folded, folded_len);
		pfree(folded);
	}
	if (!ok)
		elog(ERROR, "could not compute a tag");
	memcpy(tag, hash, ENVELOPE_TAG_BYTES);
}
