/*
 * Queries: what the hidden operator @~ looks for in a sealed column.  They are
 * made at run time for who is active, live in memory only, and carry plaintext
 * bounds or patterns; their tokens are made when an index asks.
 */
#ifndef IMMIIQ_QUERY_H
#define IMMIIQ_QUERY_H

#include "search/plain.h"
#include "utils/uuid.h"

typedef enum QueryOp
{
	QUERY_LT = 1,
	QUERY_LE,
	QUERY_GE,
	QUERY_GT,
	QUERY_LIKE,
	QUERY_ILIKE,
	QUERY_STARTS,
	QUERY_CONTAINS
} QueryOp;

/* What the constructors take as their third argument: operator, type code, and whether one or all of a list will do. */
#define QUERY_ANY			0x10000
#define QUERY_ALL			0x20000
#define QueryWhat(op, code) ((int32) (op) | (int32) (code) << 8)

/* A query made for one call: value op argument, where the argument is text or of the plain type. */
extern struct varlena *query_make(const PlainType *plain, QueryOp op, int32 typmod, Datum argument,
								  bool is_text);
/* True when the value is the active organisation's and matches; *unknown when SQL's answer is NULL. */
extern bool query_matches(Datum value, struct varlena *query, bool *unknown);

#endif /* IMMIIQ_QUERY_H */
