/*
 * Signatures of webhooks (Stripe, "Verify webhook signatures manually";
 * Standard Webhooks 1.0).  Trusts nothing in headers and body; compares in
 * constant time, and looks at the time only of what is rightly signed.
 */
#include <sodium.h>
#include <string.h>

#include "documents/webhook.h"

/* A number of 1 to 12 digits without sign, leading zero or anything behind; -1 for any other text. */
static int64_t
webhook_seconds(const char *text, size_t len)
{
	int64_t value = 0;

	if (len < 1 || len > 12 || (text[0] == '0' && len > 1))
		return -1;
	for (size_t i = 0; i < len; i++)
	{
		if (text[i] < '0' || text[i] > '9')
			return -1;
		value = value * 10 + (text[i] - '0');
	}
	return value;
}

static WebhookResult
webhook_judge(bool matched, int64_t at, int64_t now)
{
	if (!matched)
		return WEBHOOK_BAD_SIGNATURE;
	if (at < now - WEBHOOK_TOLERANCE || at > now + WEBHOOK_TOLERANCE)
		return WEBHOOK_OUTSIDE_TOLERANCE;
	return WEBHOOK_VALID;
}

/* HMAC of prefix, then body: what was signed is never copied as a whole. */
static bool
webhook_mac(const uint8_t *key, size_t key_len, const char *prefix, size_t prefix_len,
			const uint8_t *body, size_t len, uint8_t out[CRYPTO_HASH_BYTES])
{
	crypto_auth_hmacsha256_state state;
	bool ok = crypto_auth_hmacsha256_init(&state, key, key_len) == 0 &&
			  crypto_auth_hmacsha256_update(&state, (const uint8_t *) prefix, prefix_len) == 0 &&
			  crypto_auth_hmacsha256_update(&state, body, len) == 0 &&
			  crypto_auth_hmacsha256_final(&state, out) == 0;

	crypto_wipe(&state, sizeof(state));
	return ok;
}

/* 64 hexadecimal digits of lower case; false for any other text. */
static bool
webhook_unhex(const char *text, size_t len, uint8_t out[CRYPTO_HASH_BYTES])
{
	if (len != 2 * CRYPTO_HASH_BYTES)
		return false;
	for (size_t i = 0; i < len; i++)
	{
		int digit = text[i] >= '0' && text[i] <= '9'   ? text[i] - '0'
					: text[i] >= 'a' && text[i] <= 'f' ? text[i] - 'a' + 10
													   : -1;

		if (digit < 0)
			return false;
		out[i / 2] = (uint8_t) (i % 2 == 0 ? digit << 4 : out[i / 2] | digit);
	}
	return true;
}

WebhookResult
webhook_check_stripe(const char *secret, const char *header, const uint8_t *body, size_t len,
					 int64_t now)
{
	uint8_t given[WEBHOOK_MAX_SIGNATURES][CRYPTO_HASH_BYTES];
	int n = 0;
	const char *stamp = NULL;
	size_t stamp_len = 0;
	char prefix[16];
	uint8_t want[CRYPTO_HASH_BYTES];
	bool matched = false;
	int64_t at;

	for (const char *p = header;;)
	{
		size_t item = strcspn(p, ",");
		const char *equals = memchr(p, '=', item);
		size_t name = equals != NULL ? (size_t) (equals - p) : item;
		const char *value = p + name + 1;
		size_t value_len = equals != NULL ? item - name - 1 : 0;

		/* Schemes of other names are for others; a second time is for nobody. */
		if (name == 1 && p[0] == 't' && equals != NULL)
		{
			if (stamp != NULL)
				return WEBHOOK_MALFORMED;
			stamp = value;
			stamp_len = value_len;
		}
		else if (name == 2 && memcmp(p, "v1", 2) == 0 && equals != NULL)
		{
			if (n == WEBHOOK_MAX_SIGNATURES)
				return WEBHOOK_MALFORMED;
			if (webhook_unhex(value, value_len, given[n]))
				n++;
		}
		if (p[item] == '\0')
			break;
		p += item + 1;
	}
	at = stamp != NULL ? webhook_seconds(stamp, stamp_len) : -1;
	if (at < 0 || n == 0 || secret[0] == '\0')
		return WEBHOOK_MALFORMED;

	memcpy(prefix, stamp, stamp_len);
	prefix[stamp_len] = '.';
	if (!webhook_mac((const uint8_t *) secret, strlen(secret), prefix, stamp_len + 1, body, len,
					 want))
		return WEBHOOK_BAD_SIGNATURE;
	for (int i = 0; i < n; i++)
		matched |= crypto_equal(want, given[i], sizeof(want));
	crypto_wipe(want, sizeof(want));
	return webhook_judge(matched, at, now);
}

/* The key's bytes of a Standard Webhooks secret; 0 when it is none. */
static size_t
webhook_standard_key(const char *secret, uint8_t out[WEBHOOK_MAX_SECRET])
{
	size_t n = 0;

	if (strncmp(secret, "whsec_", 6) == 0)
		secret += 6;
	if (strlen(secret) > WEBHOOK_MAX_SECRET ||
		sodium_base642bin(out, WEBHOOK_MAX_SECRET, secret, strlen(secret), NULL, &n, NULL,
						  sodium_base64_VARIANT_ORIGINAL) != 0)
		return 0;
	return n;
}

WebhookResult
webhook_check_standard(const char *secret, const char *id, const char *timestamp,
					   const char *signatures, const uint8_t *body, size_t len, int64_t now)
{
	uint8_t key[WEBHOOK_MAX_SECRET];
	char prefix[256 + 16];
	uint8_t want[CRYPTO_HASH_BYTES];
	uint8_t given[CRYPTO_HASH_BYTES];
	bool matched = false;
	int tried = 0;
	size_t id_len = strlen(id);
	size_t stamp_len = strlen(timestamp);
	int64_t at = webhook_seconds(timestamp, stamp_len);
	size_t key_len;
	bool ok;

	/* With a full stop in the id there would be two ways to read what was signed. */
	if (at < 0 || id_len == 0 || id_len > 255 || strchr(id, '.') != NULL)
		return WEBHOOK_MALFORMED;
	key_len = webhook_standard_key(secret, key);
	if (key_len == 0)
		return WEBHOOK_MALFORMED;
	memcpy(prefix, id, id_len);
	prefix[id_len] = '.';
	memcpy(prefix + id_len + 1, timestamp, stamp_len);
	prefix[id_len + 1 + stamp_len] = '.';
	ok = webhook_mac(key, key_len, prefix, id_len + stamp_len + 2, body, len, want);
	crypto_wipe(key, sizeof(key));
	if (!ok)
		return WEBHOOK_BAD_SIGNATURE;

	for (const char *p = signatures;;)
	{
		size_t item = strcspn(p, " ");
		size_t n = 0;

		if (item > 3 && memcmp(p, "v1,", 3) == 0)
		{
			if (++tried > WEBHOOK_MAX_SIGNATURES)
				break;
			if (sodium_base642bin(given, sizeof(given), p + 3, item - 3, NULL, &n, NULL,
								  sodium_base64_VARIANT_ORIGINAL) == 0 &&
				n == sizeof(given))
				matched |= crypto_equal(want, given, sizeof(want));
		}
		if (p[item] == '\0')
			break;
		p += item + 1;
	}
	crypto_wipe(want, sizeof(want));
	if (tried == 0 || tried > WEBHOOK_MAX_SIGNATURES)
		return WEBHOOK_MALFORMED;
	return webhook_judge(matched, at, now);
}
