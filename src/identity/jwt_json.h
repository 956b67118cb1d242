/*
 * A strict reader of small JSON texts (RFC 8259), for tokens and key sets.
 * No postgres.h: unit tests and fuzzers link it alone.  Trusts nothing;
 * refuses whatever two readers could understand differently.
 *
 * Refused: duplicate names in an object, NUL and other control characters,
 * lone surrogates, bytes that are not UTF-8, numbers longer than 32 characters,
 * nesting deeper than 16, anything after the value, more nodes than there is
 * room for.
 */
#ifndef IMMIIQ_JWT_JSON_H
#define IMMIIQ_JWT_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum JwtJsonKind
{
	JWT_JSON_OBJECT = 1,
	JWT_JSON_ARRAY,
	JWT_JSON_STRING,
	JWT_JSON_NUMBER,
	JWT_JSON_TRUE,
	JWT_JSON_FALSE,
	JWT_JSON_NULL
} JwtJsonKind;

/* Nodes stand in the order of the text; a member of an object is two: its name and its value. */
typedef struct JwtJsonNode
{
	JwtJsonKind kind;
	int span;		  /* nodes of this value, itself included */
	const char *text; /* of strings (decoded) and numbers (as written), into the parsed buffer */
	size_t len;
} JwtJsonNode;

/* Parses text[0..len), decoding strings where they stand. False when it is not one value that is accepted. */
extern bool jwt_json_parse(char *text, size_t len, JwtJsonNode *nodes, int max);
/* Value of an object's member; NULL when there is none, and when node is NULL or no object. */
extern const JwtJsonNode *jwt_json_member(const JwtJsonNode *node, const char *name);
/* True for a string node of exactly this text. */
extern bool jwt_json_is(const JwtJsonNode *node, const char *text);
/* Value of a number node written without fraction or exponent; false for anything else, and outside of int64. */
extern bool jwt_json_integer(const JwtJsonNode *node, int64_t *value);

/* Walks over an array: for (item = jwt_json_first(array); item < jwt_json_end(array); item = jwt_json_next(item)) */
static inline const JwtJsonNode *
jwt_json_first(const JwtJsonNode *node)
{
	return node + 1;
}

static inline const JwtJsonNode *
jwt_json_next(const JwtJsonNode *node)
{
	return node + node->span;
}

static inline const JwtJsonNode *
jwt_json_end(const JwtJsonNode *node)
{
	return node + node->span;
}

#endif /* IMMIIQ_JWT_JSON_H */
