/*
 * Any words as a type modifier of any type: what is accepted is a valid modifier that prints as words which are the same
 * modifier, and any number prints without an overrun.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "search/words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The words of a list, cut at its commas in place; how many. */
static size_t
fuzz_split(char *text, const char **out, size_t most)
{
	size_t n = 0;

	while (text != NULL && n < most)
	{
		out[n++] = text;
		text = strchr(text, ',');
		if (text != NULL)
			*text++ = '\0';
	}
	return n;
}

/* What is printed is read back as the same modifier. */
static void
fuzz_round_trip(int32_t typmod, int32_t words)
{
	char *printed = malloc(WORDS_SIZE);
	const char *again[16];
	int32_t back = 0;
	size_t at;
	size_t n;

	words_print(typmod, printed);
	assert(strlen(printed) < WORDS_SIZE);
	n = *printed != '\0' ? fuzz_split(printed, again, 16) : 0;
	if (search_typmod_valid(typmod, words))
		assert(words_parse(again, n, words, &back, &at) == WORDS_GOOD && back == typmod);
	free(printed);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *given[64];
	char *text;
	int32_t words;
	int32_t typmod = -1;
	size_t at = 0;
	size_t n;
	WordsResult result;

	if (size < 5)
		return 0;
	/* what the type has: any of the words but sealed, which all have; fold never without equality */
	words = (int32_t) (data[0] & 0x3F) << 17;
	if ((words & SEARCH_FOLD) != 0)
		words |= SEARCH_EQUALITY;
	memcpy(&typmod, data + 1, sizeof(typmod));
	fuzz_round_trip(typmod, words);
	fuzz_round_trip(typmod & 0x7FFFFF, words);

	text = malloc(size - 4);
	memcpy(text, data + 5, size - 5);
	text[size - 5] = '\0';
	n = fuzz_split(text, given, 64);
	typmod = -1;
	result = words_parse(given, n, words, &typmod, &at);
	assert((result == WORDS_GOOD) == (typmod != -1));
	assert(at < n);
	if (result == WORDS_GOOD)
	{
		assert(search_typmod_valid(typmod, words));
		fuzz_round_trip(typmod, words);
	}
	free(text);
	return 0;
}
