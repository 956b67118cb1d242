/*
 * The words of type modifiers.  Trusts nothing; refuses what it does not know.
 */
#include "search/words.h"

#include <stdio.h>
#include <string.h>

static const struct
{
	const char *word;
	int32_t bits;
} words_known[] = {
	{"sealed", SEARCH_SEALED},	   {"equality", SEARCH_EQUALITY}, {"fold", SEARCH_FOLD},
	{"prefix", SEARCH_PREFIX},	   {"match", SEARCH_MATCH},		  {"range", SEARCH_RANGE},
	{"contains", SEARCH_CONTAINS},
};
#define WORDS_KNOWN (sizeof(words_known) / sizeof(words_known[0]))

/* Reads a domain, 1 to 65535; false for anything else. */
static bool
words_domain(const char *text, int32_t *domain)
{
	int32_t n = 0;

	if (*text < '1' || *text > '9')
		return false;
	for (; *text >= '0' && *text <= '9'; text++)
	{
		n = n * 10 + (*text - '0');
		if (n > SEARCH_DOMAIN_MASK)
			return false;
	}
	*domain = n;
	return *text == '\0';
}

WordsResult
words_parse(const char *const *given, size_t n, int32_t words, int32_t *typmod, size_t *at)
{
	int32_t domain = 0;
	int32_t features = 0;

	for (size_t i = 0; i < n; i++)
	{
		const char *word = given[i];
		int32_t bits = 0;

		*at = i;
		for (size_t k = 0; k < WORDS_KNOWN; k++)
		{
			if (strcmp(word, words_known[k].word) == 0 &&
				(words_known[k].bits & (words | SEARCH_SEALED)) != 0)
				bits = words_known[k].bits;
		}
		if (bits != 0)
		{
			if ((features & bits) != 0)
				return WORDS_TWICE;
			features |= bits;
		}
		else if (strncmp(word, "domain=", 7) == 0 || (*word >= '0' && *word <= '9') || *word == '-')
		{
			if (domain != 0)
				return WORDS_DOMAIN_TWICE;
			if (!words_domain(strncmp(word, "domain=", 7) == 0 ? word + 7 : word, &domain))
				return WORDS_DOMAIN_RANGE;
		}
		else
			return WORDS_UNKNOWN;
	}
	if ((features & SEARCH_FOLD) != 0)
		features |= SEARCH_EQUALITY;
	if ((features & SEARCH_SEALED) != 0 && features != SEARCH_SEALED)
		return WORDS_CONTRADICTION;
	*typmod = domain | (features == 0 ? SEARCH_SEALED : features);
	return WORDS_GOOD;
}

void
words_print(int32_t typmod, char out[WORDS_SIZE])
{
	int len = 0;

	out[0] = '\0';
	if ((typmod & SEARCH_DOMAIN_MASK) != 0)
		len = snprintf(out, WORDS_SIZE, "%d", (int) (typmod & SEARCH_DOMAIN_MASK));
	for (size_t k = 0; k < WORDS_KNOWN; k++)
	{
		if ((typmod & words_known[k].bits) != 0)
			len += snprintf(out + len, WORDS_SIZE - (size_t) len, "%s%s", len > 0 ? "," : "",
							words_known[k].word);
	}
}
