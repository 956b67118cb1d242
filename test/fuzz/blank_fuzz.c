/* Any text as SQL whose values are overwritten: its length stays, and a second time changes nothing. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "context/blank.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	char *again;
	size_t len;

	memcpy(text, data, size);
	text[size] = '\0';
	len = strlen(text);
	blank_values(text, size > 0 && (data[0] & 1) != 0, false);
	assert(strlen(text) == len);
	again = strdup(text);
	blank_values(again, size > 0 && (data[0] & 1) != 0, false);
	assert(strcmp(text, again) == 0);
	free(again);
	free(text);
	return 0;
}
