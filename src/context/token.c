/*
 * The text of a token: its kind, 32 secret bytes in base62 and a checksum.
 * Trusts crypto's randomness; refuses text of another length, alphabet,
 * range or checksum before anything is looked up.
 */
#include <string.h>

#include "context/token.h"

static const char token_alphabet[] =
	"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* Value of a base62 character, -1 for any other. */
static int
token_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'Z')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 36;
	return -1;
}

/* Six characters over the first four bytes of the body's labelled SHA-256: finds slips of the pen, proves nothing. */
static bool
token_checksum(const char *body, char out[TOKEN_CHECK_LEN])
{
	static const char label[] = "immiiq/v1/token-checksum";
	uint8_t hash[CRYPTO_HASH_BYTES];
	uint32_t value;

	if (!crypto_sha256_3(label, sizeof(label) - 1, body, TOKEN_BODY_LEN, NULL, 0, hash))
		return false;
	value = ((uint32_t) hash[0] << 24) | ((uint32_t) hash[1] << 16) | ((uint32_t) hash[2] << 8) |
			hash[3];
	for (int i = TOKEN_CHECK_LEN - 1; i >= 0; i--)
	{
		out[i] = token_alphabet[value % 62];
		value /= 62;
	}
	crypto_wipe(hash, sizeof(hash));
	return true;
}

/* Writes what stands in front of a token of this kind. */
static void
token_write_prefix(char kind, char out[TOKEN_PREFIX_LEN])
{
	memcpy(out, "iq_?_", TOKEN_PREFIX_LEN);
	out[3] = kind;
}

/* True when text, which may end anywhere, begins with the prefix of one of these kinds. */
static bool
token_has_prefix(const char *kinds, const char *text)
{
	return strncmp(text, "iq_", 3) == 0 && text[3] != '\0' && strchr(kinds, text[3]) != NULL &&
		   text[4] == '_';
}

/* A secret as a number: words of 32 bits, the highest first. */
#define TOKEN_WORDS 8

bool
token_encode(char kind, const uint8_t secret[32], char out[TOKEN_LEN + 1])
{
	uint32_t number[TOKEN_WORDS];
	char *body = out + TOKEN_PREFIX_LEN;

	for (int i = 0; i < TOKEN_WORDS; i++)
		number[i] = ((uint32_t) secret[4 * i] << 24) | ((uint32_t) secret[4 * i + 1] << 16) |
					((uint32_t) secret[4 * i + 2] << 8) | secret[4 * i + 3];
	token_write_prefix(kind, out);
	for (int i = TOKEN_BODY_LEN - 1; i >= 0; i--)
	{
		uint64_t rest = 0;

		for (int j = 0; j < TOKEN_WORDS; j++)
		{
			uint64_t part = (rest << 32) | number[j];

			number[j] = (uint32_t) (part / 62);
			rest = part % 62;
		}
		body[i] = token_alphabet[rest];
	}
	crypto_wipe(number, sizeof(number));
	out[TOKEN_LEN] = '\0';
	return token_checksum(body, body + TOKEN_BODY_LEN);
}

bool
token_make(char kind, char out[TOKEN_LEN + 1])
{
	uint8_t secret[32];
	bool done;

	crypto_random(secret, sizeof(secret));
	done = token_encode(kind, secret, out);
	crypto_wipe(secret, sizeof(secret));
	return done;
}

/* True when 43 digits are a number below 2^256: then each secret has one text only. */
static bool
token_body_fits(const char *body)
{
	uint32_t number[TOKEN_WORDS] = {0};
	bool fits = true;

	for (int i = 0; i < TOKEN_BODY_LEN; i++)
	{
		int digit = token_digit(body[i]);
		uint64_t carry = (uint64_t) digit;

		if (digit < 0)
		{
			fits = false;
			break;
		}
		for (int j = TOKEN_WORDS - 1; j >= 0; j--)
		{
			uint64_t part = number[j] * UINT64_C(62) + carry;

			number[j] = (uint32_t) part;
			carry = part >> 32;
		}
		if (carry != 0)
		{
			fits = false;
			break;
		}
	}
	crypto_wipe(number, sizeof(number));
	return fits;
}

bool
token_hash(const char *kinds, const char *text, size_t len, uint8_t out[CRYPTO_HASH_BYTES])
{
	char check[TOKEN_CHECK_LEN];
	const char *body = text + TOKEN_PREFIX_LEN;

	if (len != TOKEN_LEN || !token_has_prefix(kinds, text))
		return false;
	if (!token_body_fits(body) || !token_checksum(body, check))
		return false;
	if (!crypto_equal(check, body + TOKEN_BODY_LEN, TOKEN_CHECK_LEN))
		return false;
	return crypto_sha256(text, len, out);
}

bool
token_may_be_jwt(const char *text)
{
	return strncmp(text, "ey", 2) == 0;
}

/* Bytes at text that can stand in base64url. */
static size_t
token_base64url_span(const char *text)
{
	size_t n = 0;

	while (token_digit(text[n]) >= 0 || text[n] == '-' || text[n] == '_')
		n++;
	return n;
}

/* First thing that looks like a JWT: two objects in base64url with a dot between, and what follows. */
static const char *
token_find_jwt(const char *text, size_t *len)
{
	while ((text = strstr(text, "eyJ")) != NULL)
	{
		size_t n = token_base64url_span(text);

		if (strncmp(text + n, ".eyJ", 4) == 0)
		{
			n += 1 + token_base64url_span(text + n + 1);
			if (text[n] == '.')
				n += 1 + token_base64url_span(text + n + 1);
			*len = n;
			return text;
		}
		text += n;
	}
	return NULL;
}

const char *
token_find(const char *text, size_t *len)
{
	size_t jwt_len;
	const char *jwt = token_find_jwt(text, &jwt_len);
	const char *found = text;
	size_t n = TOKEN_PREFIX_LEN;

	while ((found = strstr(found, "iq_")) != NULL && !token_has_prefix(TOKEN_KINDS, found))
		found++;
	if (jwt != NULL && (found == NULL || jwt < found))
	{
		*len = jwt_len;
		return jwt;
	}
	if (found == NULL)
		return NULL;
	while (token_digit(found[n]) >= 0)
		n++;
	*len = n;
	return found;
}
