/*
 * Any text as a root key file: no input may crash the parser, what it accepts
 * is well formed, and what it refuses leaves no key behind.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "keyring/roots.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const KeyringRoots none;
	static const char allowed[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	KeyringRoots roots;
	int line;

	memset(&roots, 0xA5, sizeof(roots));
	if (keyring_parse_roots((const char *) data, size, &roots, &line) != NULL)
	{
		assert(memcmp(&roots, &none, sizeof(roots)) == 0);
		return 0;
	}
	assert(size <= KEYRING_ROOT_TEXT_MAX);
	assert(roots.count >= 1 && roots.count <= KEYRING_ROOTS_MAX);
	for (int i = 0; i < roots.count; i++)
	{
		size_t len = strlen(roots.root[i].id);

		assert(len >= 1 && len <= KEYRING_ROOT_ID_MAX);
		assert(strspn(roots.root[i].id, allowed) == len);
		for (int j = 0; j < i; j++)
			assert(strcmp(roots.root[i].id, roots.root[j].id) != 0);
	}
	return 0;
}
