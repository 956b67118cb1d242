/*
 * Any text as a JWT, as claims and as a key set: no input may crash the
 * parsers, and what they accept is in one form only.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "identity/jwks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every node lies in the text, and spans add up. */
static void
check_nodes(const JwtJsonNode *node, const char *text, size_t size)
{
	assert(node->span >= 1);
	if (node->kind == JWT_JSON_STRING || node->kind == JWT_JSON_NUMBER)
		assert(node->text >= text && node->text + node->len <= text + size);
	if (node->kind == JWT_JSON_OBJECT || node->kind == JWT_JSON_ARRAY)
	{
		const JwtJsonNode *at = jwt_json_first(node);

		while (at < jwt_json_end(node))
		{
			check_nodes(at, text, size);
			at = jwt_json_next(at);
		}
		assert(at == jwt_json_end(node));
	}
	else
		assert(node->span == 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static Jwt jwt;
	static JwtJsonNode nodes[JWKS_NODES];
	char *text = malloc(size + 1);
	JwksKey key;
	bool several;

	if (!crypto_init() || text == NULL)
		abort();
	memcpy(text, data, size);
	text[size] = '\0';

	/* as a whole token */
	if (jwt_parse(text, size, &jwt))
	{
		size_t dots = 0;

		for (size_t i = 0; i < size; i++)
			dots += text[i] == '.';
		assert(dots == 2 && strchr(text, '=') == NULL);
		if (jwt_read_claims(&jwt))
		{
			(void) jwt_time_problem(jwt.claims, 1700000000, 0, 30);
			(void) jwt_has_audience(jwt.claims, "immiiq", &several);
			(void) jwt_type_is(&jwt, "JWT");
		}
	}
	/* as JSON, and as a key set that a token's header of the same bytes asks */
	if (jwt_json_parse(text, size, nodes, JWKS_NODES))
	{
		check_nodes(nodes, text, size);
		(void) jwks_problem(nodes);
		for (JwtAlgorithm algorithm = JWT_EDDSA; algorithm <= JWT_ES256; algorithm++)
			if (jwks_find(nodes, jwt_json_member(nodes, "kid"), algorithm, &key))
			{
				jwt.algorithm = algorithm;
				jwt.signed_text = "";
				jwt.signed_len = 0;
				jwt.signature_len = algorithm == JWT_RS256 ? key.first_len : 64;
				memset(jwt.signature, 1, jwt.signature_len);
				(void) jwks_verify(&key, &jwt);
			}
	}
	free(text);
	return 0;
}
