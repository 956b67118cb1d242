/*
 * Lists of 4-byte tokens: what GIN indexes of sealed columns hold, and what is
 * looked for in them.  One collector for every kind; the order of the tokens
 * says nothing of their kinds.
 */
#ifndef IMMIIQ_TOKENS_H
#define IMMIIQ_TOKENS_H

#include "envelope/envelope.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

/* The longest start of a text that has a token of its own, in characters. */
#define TOKENS_PREFIX_MAX 8

typedef struct TokenList
{
	const pg_uuid_t *org;
	uint8_t type;
	uint16_t domain;
	uint32 *values;
	int count;
	int capacity;
} TokenList;

extern void tokens_start(TokenList *list, const pg_uuid_t *org, uint8_t type, uint16_t domain);
/* Levels of the intervals on a type's line: 4^levels points. */
extern int tokens_levels(uint8_t type);
/* Where on its line canonical plaintext lies. */
extern uint32 tokens_point(uint8_t type, const uint8 *plain, size_t len);
/* One interval. */
extern void tokens_add_one(TokenList *list, int level, uint32 index);
/* The intervals that a value lies in. */
extern void tokens_add_point(TokenList *list, const uint8 *plain, size_t len);
/* The intervals that hold every value from low to high; NULL: from the first, to the last. */
extern void tokens_add_cover(TokenList *list, const uint8 *low, size_t low_len, const uint8 *high,
							 size_t high_len);
/* The folded starts of a text: of every length, or the longest alone. */
extern void tokens_add_prefixes(TokenList *list, const uint8 *text, size_t len, bool longest_only);
/* Three characters each of the folded text. */
extern void tokens_add_trigrams(TokenList *list, const uint8 *text, size_t len);
/* The scalars of a document, each with the keys that lead to it. */
extern void tokens_add_json(TokenList *list, Jsonb *json);
/* Sorts the list and leaves every token once. */
extern void tokens_finish(TokenList *list);

#endif /* IMMIIQ_TOKENS_H */
