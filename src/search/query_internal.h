/*
 * What a query is made of: for query.c, which makes and matches them, and
 * estimate.c, which guesses how much they find.
 */
#ifndef IMMIIQ_QUERY_INTERNAL_H
#define IMMIIQ_QUERY_INTERNAL_H

#include "search/query.h"
#include "search/tokens.h"

#define QUERY_HAS_LOW	0x01
#define QUERY_LOW_OPEN	0x02
#define QUERY_HAS_HIGH	0x04
#define QUERY_HIGH_OPEN 0x08
#define QUERY_ONE		0x10 /* any of the parts will do */
#define QUERY_NULLS		0x20 /* the list had NULL elements */

/*
 * In memory only: header, then so many parts, each a varlena at a multiple of
 * four: bounds as canonical bytes, patterns as text, documents as jsonb.
 */
typedef struct SearchQuery
{
	int32 vl_len_;
	uint8 type;
	uint8 op; /* QueryOp; QUERY_GE for every range */
	uint8 flags;
	uint8 unused;
	int32 typmod; /* of the column; -1: none is known, and no index */
	int32 parts;  /* range: low and high */
	pg_uuid_t org;
} SearchQuery;

/* The next part as a Datum; *at, sizeof(SearchQuery) for the first, moves behind it. */
extern Datum query_datum(const SearchQuery *query, size_t *at);
/* The same as bytes. */
extern const uint8 *query_part(const SearchQuery *query, size_t *at, size_t *len);
/* The tokens of one part of a query that is no range. */
extern void query_part_tokens(TokenList *list, const SearchQuery *query, Datum part);

#endif /* IMMIIQ_QUERY_INTERNAL_H */
