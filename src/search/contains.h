/*
 * Whether a document in canonical bytes (jsonb's own text) contains another,
 * without building the document: what a search has found is rechecked so.
 */
#ifndef IMMIIQ_CONTAINS_H
#define IMMIIQ_CONTAINS_H

#include "utils/jsonb.h"

typedef enum ContainsAnswer
{
	CONTAINS_NO,
	CONTAINS_YES,
	CONTAINS_UNREADABLE /* not as jsonb writes it: ask jsonb itself */
} ContainsAnswer;

/* What the operator @> of jsonb says of the document and what it is asked for. */
extern ContainsAnswer contains_json(const char *text, size_t len, Jsonb *wanted);

#endif /* IMMIIQ_CONTAINS_H */
