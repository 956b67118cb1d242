/*
 * Sets of public keys: which one a token names, and its signature by it.
 * Trusts the set's owner; refuses keys of another type, use, curve or size than
 * the algorithm asks for, so that no key is ever used for what it is not.
 */
#include <string.h>

#include "identity/jwks.h"

/* The array of keys; NULL when the set has none. */
static const JwtJsonNode *
jwks_keys(const JwtJsonNode *set)
{
	const JwtJsonNode *keys = jwt_json_member(set, "keys");

	return keys != NULL && keys->kind == JWT_JSON_ARRAY ? keys : NULL;
}

/* A member's bytes, up to size; false when it is no canonical base64url of one byte or more. */
static bool
jwks_bytes(const JwtJsonNode *key, const char *name, uint8_t *out, size_t size, size_t *len)
{
	const JwtJsonNode *node = jwt_json_member(key, name);

	return node != NULL && node->kind == JWT_JSON_STRING && node->len > 0 &&
		   node->len <= crypto_base64url_encoded_len(size) &&
		   crypto_base64url_decode(node->text, node->len, out, len);
}

/* True when the key may verify: use and key_ops say so, or say nothing. */
static bool
jwks_may_verify(const JwtJsonNode *key)
{
	const JwtJsonNode *use = jwt_json_member(key, "use");
	const JwtJsonNode *ops = jwt_json_member(key, "key_ops");

	if (use != NULL && !jwt_json_is(use, "sig"))
		return false;
	if (ops == NULL)
		return true;
	if (ops->kind != JWT_JSON_ARRAY)
		return false;
	for (const JwtJsonNode *op = jwt_json_first(ops); op < jwt_json_end(ops); op = jwt_json_next(op))
		if (jwt_json_is(op, "verify"))
			return true;
	return false;
}

/* Reads a key for an algorithm; false when it is of another type, curve, size or use. */
static bool
jwks_read_key(const JwtJsonNode *node, JwtAlgorithm algorithm, JwksKey *key)
{
	const JwtJsonNode *alg = jwt_json_member(node, "alg");
	const JwtJsonNode *type = jwt_json_member(node, "kty");
	const JwtJsonNode *curve = jwt_json_member(node, "crv");

	if (!jwks_may_verify(node) || (alg != NULL && (alg->kind != JWT_JSON_STRING ||
												   jwt_algorithm(alg->text, alg->len) != algorithm)))
		return false;
	key->algorithm = algorithm;
	key->second_len = 0;
	switch (algorithm)
	{
		case JWT_EDDSA:
			return jwt_json_is(type, "OKP") && jwt_json_is(curve, "Ed25519") &&
				   jwks_bytes(node, "x", key->first, CRYPTO_PUB_BYTES, &key->first_len) &&
				   key->first_len == CRYPTO_PUB_BYTES;
		case JWT_ES256:
			return jwt_json_is(type, "EC") && jwt_json_is(curve, "P-256") &&
				   jwks_bytes(node, "x", key->first, 32, &key->first_len) && key->first_len == 32 &&
				   jwks_bytes(node, "y", key->second, 32, &key->second_len) && key->second_len == 32;
		case JWT_RS256:
			return jwt_json_is(type, "RSA") &&
				   jwks_bytes(node, "n", key->first, sizeof(key->first), &key->first_len) &&
				   key->first_len >= 256 && key->first[0] >= 0x80 &&
				   jwks_bytes(node, "e", key->second, 8, &key->second_len);
		case JWT_OTHER:
			break;
	}
	return false;
}

static bool
jwks_same_kid(const JwtJsonNode *key, const JwtJsonNode *kid)
{
	const JwtJsonNode *own = jwt_json_member(key, "kid");

	return own != NULL && own->kind == JWT_JSON_STRING && own->len == kid->len &&
		   memcmp(own->text, kid->text, kid->len) == 0;
}

const char *
jwks_problem(const JwtJsonNode *set)
{
	static const char *const secrets[] = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"};
	const JwtJsonNode *keys = jwks_keys(set);
	bool usable = false;

	if (keys == NULL)
		return "has no array of keys";
	for (const JwtJsonNode *key = jwt_json_first(keys); key < jwt_json_end(keys);
		 key = jwt_json_next(key))
	{
		const JwtJsonNode *kid = jwt_json_member(key, "kid");
		JwksKey read;

		if (key->kind != JWT_JSON_OBJECT)
			return "has a key that is no object";
		for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++)
			if (jwt_json_member(key, secrets[i]) != NULL)
				return "holds a secret key";
		if (kid == NULL || kid->kind != JWT_JSON_STRING || kid->len == 0)
			continue; /* never chosen */
		for (const JwtJsonNode *other = jwt_json_first(keys); other < key;
			 other = jwt_json_next(other))
			if (jwks_same_kid(other, kid))
				return "names two keys alike";
		if (jwks_read_key(key, JWT_EDDSA, &read) || jwks_read_key(key, JWT_ES256, &read) ||
			jwks_read_key(key, JWT_RS256, &read))
			usable = true;
	}
	return usable ? NULL : "has no key that can verify EdDSA, ES256 or RS256";
}

bool
jwks_find(const JwtJsonNode *set, const JwtJsonNode *kid, JwtAlgorithm algorithm, JwksKey *key)
{
	const JwtJsonNode *keys = jwks_keys(set);

	if (keys == NULL || kid == NULL)
		return false;
	for (const JwtJsonNode *at = jwt_json_first(keys); at < jwt_json_end(keys);
		 at = jwt_json_next(at))
		if (jwks_same_kid(at, kid))
			return jwks_read_key(at, algorithm, key);
	return false;
}

bool
jwks_verify(const JwksKey *key, const Jwt *jwt)
{
	if (key->algorithm != jwt->algorithm)
		return false;
	switch (key->algorithm)
	{
		case JWT_EDDSA:
			return jwt->signature_len == CRYPTO_SIG_BYTES &&
				   crypto_ed25519_verify(key->first, jwt->signed_text, jwt->signed_len,
										 jwt->signature);
		case JWT_ES256:
			return jwt->signature_len == 64 &&
				   crypto_es256_verify(key->first, key->second, jwt->signed_text, jwt->signed_len,
									   jwt->signature);
		case JWT_RS256:
			return crypto_rs256_verify(key->first, key->first_len, key->second, key->second_len,
									   jwt->signed_text, jwt->signed_len, jwt->signature,
									   jwt->signature_len);
		case JWT_OTHER:
			break;
	}
	return false;
}
