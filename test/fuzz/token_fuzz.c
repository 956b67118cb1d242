/*
 * Any text as a token: no input may crash the parser, and what it accepts is
 * what token_make could have written.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "context/token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t hash[CRYPTO_HASH_BYTES];
	char token[TOKEN_LEN + 1];
	char *text = malloc(size + 1);
	const char *found;
	size_t len;

	if (!crypto_init() || text == NULL)
		abort();
	memcpy(text, data, size);
	text[size] = '\0';

	if (token_hash(TOKEN_KINDS, text, strlen(text), hash))
		assert(strlen(text) == TOKEN_LEN);
	found = token_find(text, &len);
	if (found != NULL)
		assert(found >= text && len >= TOKEN_PREFIX_LEN && found + len <= text + strlen(text));

	/* Secrets of this input's first bytes come back as themselves, and a changed character never does. */
	if (size >= 34)
	{
		size_t at = data[32] % TOKEN_LEN;

		assert(token_encode(TOKEN_SESSION, data, token));
		assert(token_hash("s", token, TOKEN_LEN, hash));
		assert(token_find(token, &len) == token && len == TOKEN_LEN);
		if (token[at] != (char) data[33])
		{
			token[at] = (char) data[33];
			if (at >= TOKEN_PREFIX_LEN + TOKEN_BODY_LEN || at < TOKEN_PREFIX_LEN)
				assert(!token_hash("s", token, TOKEN_LEN, hash));
			else
				(void) token_hash("s", token, TOKEN_LEN,
								  hash); /* a collision of 32 bits is possible */
		}
	}
	free(text);
	return 0;
}
