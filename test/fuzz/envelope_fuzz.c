/*
 * Any bytes as a sealed value, and any bytes as armour: no input may crash the
 * parsers, and what they accept has one form only.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "envelope/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever parses lies inside the buffer, and its header parses alone. */
static void
fuzz_parse(const uint8_t *data, size_t size)
{
	Envelope env;
	Envelope prefix;

	if (!envelope_parse(data, size, &env))
		return;
	assert(env.prefix_len <= size);
	if (env.tag != NULL)
		assert(env.tag >= data && env.tag + 16 <= data + env.prefix_len);
	if (env.tokens.count > 0)
		assert(env.tokens.list > data &&
			   env.tokens.list + (size_t) env.tokens.count * 4 == data + env.prefix_len);
	if (env.nonce != NULL)
		assert(env.nonce >= data + env.prefix_len && env.nonce < data + size);
	if (env.body_len > 0)
		assert(env.body >= data + env.prefix_len && env.body + env.body_len <= data + size);
	if (env.algorithm == ENVELOPE_SEALED)
	{
		assert(envelope_plain_size(&env) < size);
		assert(envelope_sealed_size(env.flags, env.tokens.count, envelope_plain_size(&env)) == size);
	}
	assert(envelope_parse_prefix(data, size, &prefix));
	assert(envelope_parse_prefix(data, env.prefix_len, &prefix));
	assert(prefix.algorithm == env.algorithm && prefix.type == env.type);
	assert(prefix.flags == env.flags && prefix.domain == env.domain);
	assert(prefix.key_id == env.key_id && prefix.prefix_len == env.prefix_len);
}

/* Armour that is accepted is the only armour of its bytes. */
static void
fuzz_dearmour(const uint8_t *data, size_t size)
{
	uint8_t *bytes = malloc(envelope_dearmour_size(size) + 1);
	size_t len;

	if (envelope_dearmour((const char *) data, size, bytes, &len))
	{
		char *text = malloc(envelope_armour_size(len) + 1);

		assert(len <= envelope_dearmour_size(size));
		assert(envelope_armour_size(len) == size);
		envelope_armour(bytes, len, text);
		assert(memcmp(text, data, size) == 0);
		free(text);
	}
	free(bytes);
}

/* Bytes that parse survive armour and back. */
static void
fuzz_armour(const uint8_t *data, size_t size)
{
	Envelope env;
	size_t armoured = envelope_armour_size(size);
	char *text = malloc(armoured + 1);
	uint8_t *back = malloc(envelope_dearmour_size(armoured) + 1);
	size_t len = 0;
	bool sealed = envelope_parse(data, size, &env) && env.algorithm == ENVELOPE_SEALED;

	envelope_armour(data, size, text);
	assert(envelope_dearmour(text, armoured, back, &len) == sealed);
	if (sealed)
		assert(len == size && memcmp(back, data, size) == 0);
	free(back);
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_parse(data, size);
	fuzz_dearmour(data, size);
	fuzz_armour(data, size);
	return 0;
}
