/*
 * Any text as a stored password hash: what pwhash_kind lets through is of a
 * form and a cost that the libraries behind it take.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/pwhash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	if (!crypto_init() || text == NULL)
		abort();
	memcpy(text, data, size);
	text[size] = '\0';
	switch (pwhash_kind(text))
	{
		case PWHASH_NONE:
			assert(!pwhash_is_current(text));
			assert(!pwhash_verify(text, "x", 1));
			break;
		case PWHASH_ARGON2ID:
			assert(strlen(text) < PWHASH_SIZE && strncmp(text, "$argon2id$", 10) == 0);
			break;
		case PWHASH_BCRYPT:
			assert(strlen(text) == 60 && text[0] == '$' && text[1] == '2');
			assert(!pwhash_is_current(text));
			/* the cheap ones all the way */
			if (text[4] == '0' && text[5] == '4')
				(void) pwhash_verify(text, "x", 1);
			break;
	}
	free(text);
	return 0;
}
