/*
 * The sealed byte format of docs/format.md: parse, seal, open, armour.
 * Trusts nothing in the bytes; refuses every value that this library would not
 * have written, before any key is looked at.  Copies nothing while parsing.
 */
#include <stdlib.h>
#include <string.h>

#include "envelope/envelope.h"

#define ENVELOPE_LABEL		 "immiiq.envelope.v1"
#define ENVELOPE_LABEL_BYTES (sizeof(ENVELOPE_LABEL) - 1)
/* Prefixes up to this length are authenticated without memory from the heap. */
#define ENVELOPE_SHORT_PREFIX		 512
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

/* Kinds of tokens that values of a type can have. */
static uint8_t
type_kinds(uint8_t type)
{
	switch (type)
	{
		case ENVELOPE_TYPE_TEXT:
			return ENVELOPE_PREFIX | ENVELOPE_MATCH;
		case ENVELOPE_TYPE_INT8:
		case ENVELOPE_TYPE_NUMERIC:
		case ENVELOPE_TYPE_DATE:
		case ENVELOPE_TYPE_TIMESTAMPTZ:
			return ENVELOPE_RANGE;
		case ENVELOPE_TYPE_JSONB:
			return ENVELOPE_CONTAINS;
		default:
			return 0;
	}
}

/* Reads the list of tokens behind header and tag; false when it is not canonical. */
static bool
parse_tokens(const uint8_t *buf, size_t len, Envelope *env)
{
	const uint8_t *head = buf + env->prefix_len;
	EnvelopeTokens *tokens = &env->tokens;

	if (len < env->prefix_len + ENVELOPE_TOKENS_HEAD_BYTES)
		return false;
	tokens->kinds = head[0];
	tokens->count = (uint32_t) head[1] << 16 | (uint32_t) head[2] << 8 | head[3];
	if (tokens->kinds == 0 || (tokens->kinds & ~type_kinds(env->type)) != 0 ||
		tokens->count > ENVELOPE_TOKENS_MAX)
		return false;
	env->prefix_len += ENVELOPE_TOKENS_HEAD_BYTES + (size_t) tokens->count * ENVELOPE_TOKEN_BYTES;
	if (len < env->prefix_len)
		return true;
	tokens->list = head + ENVELOPE_TOKENS_HEAD_BYTES;
	for (uint32_t i = 1; i < tokens->count; i++)
	{
		const uint8_t *token = tokens->list + (size_t) i * ENVELOPE_TOKEN_BYTES;

		if (memcmp(token - ENVELOPE_TOKEN_BYTES, token, ENVELOPE_TOKEN_BYTES) >= 0)
			return false;
	}
	return true;
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
	if ((env->flags & ~(ENVELOPE_TAG | ENVELOPE_FOLD | ENVELOPE_TOKENS)) != 0)
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
			if ((env->flags & ENVELOPE_TAG) == 0 || (env->flags & ENVELOPE_TOKENS) != 0)
				return false;
			break;
		default:
			return false;
	}
	if ((env->flags & ENVELOPE_TAG) != 0)
	{
		if (len < ENVELOPE_HEADER_BYTES + ENVELOPE_TAG_BYTES)
			return false;
		env->tag = buf + ENVELOPE_HEADER_BYTES;
		env->prefix_len += ENVELOPE_TAG_BYTES;
	}
	return (env->flags & ENVELOPE_TOKENS) == 0 || parse_tokens(buf, len, env);
}

bool
envelope_parse(const uint8_t *buf, size_t len, Envelope *env)
{
	size_t rest;
	size_t width;

	if (!envelope_parse_prefix(buf, len, env) || len < env->prefix_len)
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
envelope_sealed_size(uint8_t flags, uint32_t tokens, size_t plain_len)
{
	return ENVELOPE_HEADER_BYTES + ((flags & ENVELOPE_TAG) != 0 ? ENVELOPE_TAG_BYTES : 0) +
		   ((flags & ENVELOPE_TOKENS) != 0
				? ENVELOPE_TOKENS_HEAD_BYTES + (size_t) tokens * ENVELOPE_TOKEN_BYTES
				: 0) +
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
	return ENVELOPE_HEADER_BYTES + ENVELOPE_TAG_BYTES;
}

/* The list of tokens as bytes; returns its length. */
static size_t
write_tokens(const EnvelopeTokens *tokens, uint8_t *out)
{
	out[0] = tokens->kinds;
	out[1] = (uint8_t) (tokens->count >> 16);
	out[2] = (uint8_t) (tokens->count >> 8);
	out[3] = (uint8_t) tokens->count;
	if (tokens->count > 0)
		memcpy(out + ENVELOPE_TOKENS_HEAD_BYTES, tokens->list,
			   (size_t) tokens->count * ENVELOPE_TOKEN_BYTES);
	return ENVELOPE_TOKENS_HEAD_BYTES + (size_t) tokens->count * ENVELOPE_TOKEN_BYTES;
}

/*
 * What is authenticated beside the ciphertext: the label and the prefix.  In
 * space where it fits, else in memory that the caller frees; NULL without any.
 */
static uint8_t *
make_aad(const uint8_t *prefix, size_t prefix_len,
		 uint8_t space[ENVELOPE_LABEL_BYTES + ENVELOPE_SHORT_PREFIX], size_t *aad_len)
{
	uint8_t *aad =
		prefix_len <= ENVELOPE_SHORT_PREFIX ? space : malloc(ENVELOPE_LABEL_BYTES + prefix_len);

	if (aad == NULL)
		return NULL;
	memcpy(aad, ENVELOPE_LABEL, ENVELOPE_LABEL_BYTES);
	memcpy(aad + ENVELOPE_LABEL_BYTES, prefix, prefix_len);
	*aad_len = ENVELOPE_LABEL_BYTES + prefix_len;
	return aad;
}

bool
envelope_seal(CryptoXaes *key, uint8_t type, uint8_t flags, uint16_t domain, uint32_t key_id,
			  const uint8_t *tag, const EnvelopeTokens *tokens, const uint8_t *plain,
			  size_t plain_len, uint8_t *out)
{
	uint8_t space[ENVELOPE_LABEL_BYTES + ENVELOPE_SHORT_PREFIX];
	uint8_t *aad;
	size_t aad_len;
	size_t width = type_width(type);
	size_t prefix_len;
	uint8_t *nonce;
	Envelope env;
	bool sealed;

	if (width != 0 && plain_len != width)
		return false;
	prefix_len = envelope_write_prefix(ENVELOPE_SEALED, type, flags, domain, key_id, tag, out);
	if ((flags & ENVELOPE_TOKENS) != 0)
	{
		if (tokens->count > ENVELOPE_TOKENS_MAX)
			return false;
		prefix_len += write_tokens(tokens, out + prefix_len);
	}
	if (!envelope_parse_prefix(out, prefix_len, &env))
		return false;
	aad = make_aad(out, prefix_len, space, &aad_len);
	if (aad == NULL)
		return false;
	nonce = out + prefix_len;
	crypto_nonce(nonce, CRYPTO_NONCE_BYTES);
	sealed =
		crypto_xaes_seal(key, nonce, aad, aad_len, plain, plain_len, nonce + CRYPTO_NONCE_BYTES);
	if (aad != space)
		free(aad);
	return sealed;
}

size_t
envelope_plain_size(const Envelope *env)
{
	return env->algorithm == ENVELOPE_SEALED ? env->body_len - CRYPTO_MAC_BYTES : env->body_len;
}

bool
envelope_open(CryptoXaes *key, const uint8_t *buf, const Envelope *env, uint8_t *out)
{
	uint8_t space[ENVELOPE_LABEL_BYTES + ENVELOPE_SHORT_PREFIX];
	uint8_t *aad;
	size_t aad_len;
	bool opened;

	if (env->algorithm != ENVELOPE_SEALED || env->nonce == NULL)
		return false;
	aad = make_aad(buf, env->prefix_len, space, &aad_len);
	if (aad == NULL)
		return false;
	opened = crypto_xaes_open(key, env->nonce, aad, aad_len, env->body, env->body_len, out);
	if (aad != space)
		free(aad);
	return opened;
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
