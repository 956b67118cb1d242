/*
 * The sealed byte format of docs/format.md: parse, seal, open, armour.
 * Trusts nothing in the bytes; refuses every value that this library would not
 * have written, before any key is looked at.  Copies nothing while parsing.
 */
#include <string.h>

#include "envelope/envelope.h"

#define ENVELOPE_LABEL				 "immiiq.envelope.v1"
#define ENVELOPE_LABEL_BYTES		 (sizeof(ENVELOPE_LABEL) - 1)
#define ENVELOPE_PREFIX_MAX			 (ENVELOPE_HEADER_BYTES + ENVELOPE_TAG_BYTES)
#define ENVELOPE_ARMOUR_PREFIX_BYTES (sizeof(ENVELOPE_ARMOUR_PREFIX) - 1)

/* Plaintext bytes of a type of fixed width, 0 for the others. */
static size_t
type_width(uint8_t type)
{
	switch (type)
	{
		case ENVELOPE_TYPE_DATE:
			return 4;
		case ENVELOPE_TYPE_INT8:
		case ENVELOPE_TYPE_TIMESTAMPTZ:
			return 8;
		default:
			return 0;
	}
}

bool
envelope_parse_prefix(const uint8_t *buf, size_t len, Envelope *env)
{
	memset(env, 0, sizeof(*env));
	if (len < ENVELOPE_HEADER_BYTES || buf[0] >> 4 != ENVELOPE_VERSION)
		return false;
	env->algorithm = buf[0] & 0x0f;
	env->type = buf[1] >> 4;
	env->flags = buf[1] & 0x0f;
	env->domain = (uint16_t) (buf[2] << 8 | buf[3]);
	env->key_id =
		(uint32_t) buf[4] << 24 | (uint32_t) buf[5] << 16 | (uint32_t) buf[6] << 8 | buf[7];
	env->prefix_len = ENVELOPE_HEADER_BYTES;

	if (env->type < ENVELOPE_TYPE_TEXT || env->type > ENVELOPE_TYPE_JSONB)
		return false;
	if ((env->flags & ~(ENVELOPE_TAG | ENVELOPE_FOLD)) != 0)
		return false;
	if ((env->flags & ENVELOPE_FOLD) != 0 &&
		((env->flags & ENVELOPE_TAG) == 0 || env->type != ENVELOPE_TYPE_TEXT))
		return false;

	switch (env->algorithm)
	{
		case ENVELOPE_UNSEALED:
			/* Nothing is known yet of where it goes. */
			if (env->flags != 0 || env->domain != 0 || env->key_id != 0)
				return false;
			break;
		case ENVELOPE_SEALED:
			if (env->key_id == 0)
				return false;
			break;
		case ENVELOPE_PROBE:
			if ((env->flags & ENVELOPE_TAG) == 0)
				return false;
			break;
		default:
			return false;
	}
	if ((env->flags & ENVELOPE_TAG) != 0)
	{
		if (len < ENVELOPE_PREFIX_MAX)
			return false;
		env->tag = buf + ENVELOPE_HEADER_BYTES;
		env->prefix_len = ENVELOPE_PREFIX_MAX;
	}
	return true;
}

bool
envelope_parse(const uint8_t *buf, size_t len, Envelope *env)
{
	size_t rest;
	size_t width;

	if (!envelope_parse_prefix(buf, len, env))
		return false;
	rest = len - env->prefix_len;
	width = type_width(env->type);
	switch (env->algorithm)
	{
		case ENVELOPE_UNSEALED:
			if (width != 0 && rest != width)
				return false;
			env->body = buf + env->prefix_len;
			env->body_len = rest;
			return true;
		case ENVELOPE_SEALED:
			if (rest < CRYPTO_NONCE_BYTES + CRYPTO_MAC_BYTES)
				return false;
			env->nonce = buf + env->prefix_len;
			env->body = env->nonce + CRYPTO_NONCE_BYTES;
			env->body_len = rest - CRYPTO_NONCE_BYTES;
			return width == 0 || env->body_len == width + CRYPTO_MAC_BYTES;
		case ENVELOPE_PROBE:
			return rest == 0;
		default:
			return false;
	}
}

size_t
envelope_sealed_size(uint8_t flags, size_t plain_len)
{
	return ENVELOPE_HEADER_BYTES + ((flags & ENVELOPE_TAG) != 0 ? ENVELOPE_TAG_BYTES : 0) +
		   CRYPTO_NONCE_BYTES + plain_len + CRYPTO_MAC_BYTES;
}

size_t
envelope_write_prefix(uint8_t algorithm, uint8_t type, uint8_t flags, uint16_t domain,
					  uint32_t key_id, const uint8_t *tag, uint8_t *out)
{
	out[0] = (uint8_t) (ENVELOPE_VERSION << 4 | (algorithm & 0x0f));
	out[1] = (uint8_t) (type << 4 | (flags & 0x0f));
	out[2] = (uint8_t) (domain >> 8);
	out[3] = (uint8_t) domain;
	out[4] = (uint8_t) (key_id >> 24);
	out[5] = (uint8_t) (key_id >> 16);
	out[6] = (uint8_t) (key_id >> 8);
	out[7] = (uint8_t) key_id;
	if ((flags & ENVELOPE_TAG) == 0)
		return ENVELOPE_HEADER_BYTES;
	memcpy(out + ENVELOPE_HEADER_BYTES, tag, ENVELOPE_TAG_BYTES);
	return ENVELOPE_PREFIX_MAX;
}

/* What is authenticated beside the ciphertext: the label and the prefix. */
static size_t
write_aad(const uint8_t *prefix, size_t prefix_len, uint8_t *aad)
{
	memcpy(aad, ENVELOPE_LABEL, ENVELOPE_LABEL_BYTES);
	memcpy(aad + ENVELOPE_LABEL_BYTES, prefix, prefix_len);
	return ENVELOPE_LABEL_BYTES + prefix_len;
}

bool
envelope_seal(CryptoXaes *key, uint8_t type, uint8_t flags, uint16_t domain, uint32_t key_id,
			  const uint8_t *tag, const uint8_t *plain, size_t plain_len, uint8_t *out)
{
	uint8_t aad[ENVELOPE_LABEL_BYTES + ENVELOPE_PREFIX_MAX];
	size_t width = type_width(type);
	size_t prefix_len;
	size_t aad_len;
	uint8_t *nonce;
	Envelope env;

	if (width != 0 && plain_len != width)
		return false;
	prefix_len = envelope_write_prefix(ENVELOPE_SEALED, type, flags, domain, key_id, tag, out);
	if (!envelope_parse_prefix(out, prefix_len, &env))
		return false;
	aad_len = write_aad(out, prefix_len, aad);
	nonce = out + prefix_len;
	crypto_nonce(nonce, CRYPTO_NONCE_BYTES);
	return crypto_xaes_seal(key, nonce, aad, aad_len, plain, plain_len, nonce + CRYPTO_NONCE_BYTES);
}

size_t
envelope_plain_size(const Envelope *env)
{
	return env->algorithm == ENVELOPE_SEALED ? env->body_len - CRYPTO_MAC_BYTES : env->body_len;
}

bool
envelope_open(CryptoXaes *key, const uint8_t *buf, const Envelope *env, uint8_t *out)
{
	uint8_t aad[ENVELOPE_LABEL_BYTES + ENVELOPE_PREFIX_MAX];
	size_t aad_len;

	if (env->algorithm != ENVELOPE_SEALED || env->nonce == NULL)
		return false;
	aad_len = write_aad(buf, env->prefix_len, aad);
	return crypto_xaes_open(key, env->nonce, aad, aad_len, env->body, env->body_len, out);
}

size_t
envelope_armour_size(size_t len)
{
	return ENVELOPE_ARMOUR_PREFIX_BYTES + crypto_base64url_encoded_len(len);
}

void
envelope_armour(const uint8_t *buf, size_t len, char *out)
{
	memcpy(out, ENVELOPE_ARMOUR_PREFIX, ENVELOPE_ARMOUR_PREFIX_BYTES);
	crypto_base64url_encode(buf, len, out + ENVELOPE_ARMOUR_PREFIX_BYTES);
}

size_t
envelope_dearmour_size(size_t n)
{
	return n / 4 * 3 + 3;
}

bool
envelope_dearmour(const char *text, size_t n, uint8_t *out, size_t *out_len)
{
	Envelope env;

	if (n < ENVELOPE_ARMOUR_PREFIX_BYTES ||
		memcmp(text, ENVELOPE_ARMOUR_PREFIX, ENVELOPE_ARMOUR_PREFIX_BYTES) != 0)
		return false;
	return crypto_base64url_decode(text + ENVELOPE_ARMOUR_PREFIX_BYTES,
								   n - ENVELOPE_ARMOUR_PREFIX_BYTES, out, out_len) &&
		   envelope_parse(out, *out_len, &env) && env.algorithm == ENVELOPE_SEALED;
}
