/*
 * Type modifiers and their words: enc_text(7,equality,fold).  No postgres.h:
 * fuzzers link this alone.  Trusts nothing in the words; refuses every one it
 * does not know, repetition, contradiction, and domains out of range.
 */
#ifndef IMMIIQ_WORDS_H
#define IMMIIQ_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "envelope/envelope.h"

/*
 * A type modifier: the column domain in the low 16 bits (0: none given), what
 * the column can do above it.  Never negative, never 0.
 */
#define SEARCH_DOMAIN_MASK 0xFFFF
#define SEARCH_SEALED	   (1 << 16) /* sealed only: no search */
#define SEARCH_EQUALITY	   (1 << 17) /* =, <>, IN, UNIQUE, joins, GROUP BY */
#define SEARCH_FOLD		   (1 << 18) /* equality of the folded text; only with SEARCH_EQUALITY */
#define SEARCH_KIND_SHIFT  19		 /* from here on: the kinds of tokens, as ENVELOPE_PREFIX … */
#define SEARCH_PREFIX	   (ENVELOPE_PREFIX << SEARCH_KIND_SHIFT)	/* ^@, LIKE 'abc%' */
#define SEARCH_MATCH	   (ENVELOPE_MATCH << SEARCH_KIND_SHIFT)	/* LIKE, ILIKE, ^@ */
#define SEARCH_RANGE	   (ENVELOPE_RANGE << SEARCH_KIND_SHIFT)	/* <, <=, >, >=, BETWEEN */
#define SEARCH_CONTAINS	   (ENVELOPE_CONTAINS << SEARCH_KIND_SHIFT) /* @> */

/* True for what a modifier of a type that has these words may be. */
static inline bool
search_typmod_valid(int32_t typmod, int32_t words)
{
	int32_t features = typmod & ~SEARCH_DOMAIN_MASK;

	if (typmod < 0 || features == 0)
		return false;
	return features == SEARCH_SEALED ||
		   ((features & ~words) == 0 &&
			((features & SEARCH_FOLD) == 0 || (features & SEARCH_EQUALITY) != 0));
}

typedef enum WordsResult
{
	WORDS_GOOD,
	WORDS_UNKNOWN,		/* no modifier of this type */
	WORDS_TWICE,		/* a word that was there */
	WORDS_DOMAIN_TWICE, /* a second domain */
	WORDS_DOMAIN_RANGE, /* a domain that is no number from 1 to 65535 */
	WORDS_CONTRADICTION /* sealed, and a word of search */
} WordsResult;

/* The modifier that n words are, for a type that has these words; where it is not good, *at is the word that is wrong. */
extern WordsResult words_parse(const char *const *given, size_t n, int32_t words, int32_t *typmod,
							   size_t *at);

/* Room for what words_print writes. */
#define WORDS_SIZE 80
/* What words_parse takes, separated by commas; empty for nothing. */
extern void words_print(int32_t typmod, char out[WORDS_SIZE]);

#endif /* IMMIIQ_WORDS_H */
