/*
 * JSON Web Tokens in compact form, and what their claims say.
 * Trusts nothing in a token; refuses all that jwt.h lists before anything is
 * looked up, and leaves it to its callers which key a token needs.
 */
#include <string.h>
#include <strings.h>

#include "identity/jwt.h"

#define JWT_HEADER_MAX 4096

JwtAlgorithm
jwt_algorithm(const char *name, size_t len)
{
	static const struct
	{
		const char *name;
		JwtAlgorithm algorithm;
	} known[] = {{"EdDSA", JWT_EDDSA}, {"RS256", JWT_RS256}, {"ES256", JWT_ES256}};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strlen(known[i].name) == len && memcmp(known[i].name, name, len) == 0)
			return known[i].algorithm;
	return JWT_OTHER;
}

/* A header's member that must be a string when it is there. */
static bool
jwt_header_string(const Jwt *jwt, const char *name, const JwtJsonNode **value)
{
	*value = jwt_json_member(jwt->header, name);
	return *value == NULL || (*value)->kind == JWT_JSON_STRING;
}

bool
jwt_parse(const char *text, size_t len, Jwt *jwt)
{
	const char *first;
	const char *second;
	const JwtJsonNode *alg;
	size_t header_len;
	size_t payload_len;
	size_t signature_len;
	size_t decoded;

	if (len > JWT_MAX || (first = memchr(text, '.', len)) == NULL)
		return false;
	header_len = (size_t) (first - text);
	second = memchr(first + 1, '.', len - header_len - 1);
	if (second == NULL)
		return false;
	payload_len = (size_t) (second - first - 1);
	signature_len = len - header_len - payload_len - 2;
	if (header_len == 0 || payload_len == 0 || signature_len == 0 || header_len > JWT_HEADER_MAX ||
		signature_len > crypto_base64url_encoded_len(JWT_SIGNATURE_MAX))
		return false;

	/* A fourth segment would stand in the signature, where a dot is no digit. */
	if (!crypto_base64url_decode(second + 1, signature_len, jwt->signature, &jwt->signature_len) ||
		!crypto_base64url_decode(text, header_len, (uint8_t *) jwt->room, &decoded) ||
		!jwt_json_parse(jwt->room, decoded, jwt->header, JWT_HEADER_NODES) ||
		jwt->header[0].kind != JWT_JSON_OBJECT)
		return false;
	jwt->payload = jwt->room + decoded;
	if (!crypto_base64url_decode(first + 1, payload_len, (uint8_t *) jwt->room + decoded,
								 &jwt->payload_len))
		return false;
	jwt->signed_text = text;
	jwt->signed_len = (size_t) (second - text);

	if (!jwt_header_string(jwt, "alg", &alg) || alg == NULL ||
		!jwt_header_string(jwt, "kid", &jwt->kid) || !jwt_header_string(jwt, "typ", &jwt->typ))
		return false;
	/* No extension is understood here, so none may be critical. */
	if (jwt_json_member(jwt->header, "crit") != NULL || jwt_json_member(jwt->header, "b64") != NULL)
		return false;
	if (jwt->kid != NULL && (jwt->kid->len == 0 || jwt->kid->len > JWT_KID_MAX))
		return false;
	jwt->algorithm = jwt_algorithm(alg->text, alg->len);
	return true;
}

bool
jwt_read_claims(Jwt *jwt)
{
	char *copy = jwt->room + JWT_MAX;

	/* Decoded segments are shorter than the token, so both copies have room. */
	memcpy(copy, jwt->payload, jwt->payload_len);
	return jwt_json_parse(copy, jwt->payload_len, jwt->claims, JWT_CLAIM_NODES) &&
		   jwt->claims[0].kind == JWT_JSON_OBJECT;
}

bool
jwt_type_is(const Jwt *jwt, const char *type)
{
	static const char prefix[] = "application/";
	const char *text;
	size_t len;

	if (jwt->typ == NULL)
		return false;
	text = jwt->typ->text;
	len = jwt->typ->len;
	if (len > sizeof(prefix) - 1 && strncasecmp(text, prefix, sizeof(prefix) - 1) == 0)
	{
		text += sizeof(prefix) - 1;
		len -= sizeof(prefix) - 1;
	}
	return len == strlen(type) && strncasecmp(text, type, len) == 0;
}

bool
jwt_has_audience(const JwtJsonNode *claims, const char *audience, bool *several)
{
	const JwtJsonNode *aud = jwt_json_member(claims, "aud");
	bool found = false;
	int n = 0;

	*several = false;
	if (aud == NULL || aud->kind != JWT_JSON_ARRAY)
		return jwt_json_is(aud, audience);
	for (const JwtJsonNode *item = jwt_json_first(aud); item < jwt_json_end(aud);
		 item = jwt_json_next(item))
	{
		if (item->kind != JWT_JSON_STRING)
			return false;
		if (jwt_json_is(item, audience))
			found = true;
		n++;
	}
	*several = n > 1;
	return found;
}

/* A time that must be an integer of a sane size when it is there. */
static bool
jwt_time(const JwtJsonNode *claims, const char *name, int64_t *value, bool *given)
{
	const JwtJsonNode *node = jwt_json_member(claims, name);

	*given = node != NULL;
	if (!*given)
		return true;
	/* up to the year 9999 */
	return jwt_json_integer(node, value) && *value >= 0 && *value <= INT64_C(253402300799);
}

const char *
jwt_time_problem(const JwtJsonNode *claims, int64_t now, int64_t exp_slack, int64_t begin_slack)
{
	int64_t exp = 0;
	int64_t nbf = 0;
	int64_t iat = 0;
	bool has_exp;
	bool has_nbf;
	bool has_iat;

	if (!jwt_time(claims, "exp", &exp, &has_exp) || !has_exp ||
		!jwt_time(claims, "nbf", &nbf, &has_nbf) || !jwt_time(claims, "iat", &iat, &has_iat))
		return "malformed";
	if (exp + exp_slack <= now)
		return "expired";
	if ((has_nbf && nbf > now + begin_slack) || (has_iat && iat > now + begin_slack))
		return "not valid yet";
	return NULL;
}

size_t
jwt_signed_size(size_t header_len, size_t payload_len)
{
	return crypto_base64url_encoded_len(header_len) + 1 + crypto_base64url_encoded_len(payload_len) +
		   1 + crypto_base64url_encoded_len(CRYPTO_SIG_BYTES);
}

bool
jwt_sign(const uint8_t seed[CRYPTO_SEED_BYTES], const char *header, size_t header_len,
		 const char *payload, size_t payload_len, char *out)
{
	uint8_t signature[CRYPTO_SIG_BYTES];
	char *at = out;

	crypto_base64url_encode((const uint8_t *) header, header_len, at);
	at += crypto_base64url_encoded_len(header_len);
	*at++ = '.';
	crypto_base64url_encode((const uint8_t *) payload, payload_len, at);
	at += crypto_base64url_encoded_len(payload_len);
	if (!crypto_ed25519_sign(seed, out, (size_t) (at - out), signature))
		return false;
	*at++ = '.';
	crypto_base64url_encode(signature, sizeof(signature), at);
	return true;
}
