/*
 * The plain types behind the enc types: one table, by type code, of how their
 * values become canonical bytes (what is sealed, and what tags are made of)
 * and back.
 */
#ifndef IMMIIQ_PLAIN_H
#define IMMIIQ_PLAIN_H

#include "lib/stringinfo.h"

typedef struct PlainType
{
	uint8 code;			   /* ENVELOPE_TYPE_… */
	const char *type_name; /* of the enc type, in pg_catalog */
	const char *base_name; /* of the hidden type that has the operators */
	Oid plain_type;
	int32 words; /* SEARCH_…: the words of its modifiers, beside sealed */
	/* Text as the plain type's input takes it → canonical bytes, palloc'd. ERROR with the plain type's SQLSTATE, without the value. */
	uint8 *(*from_text)(const char *text, size_t len, size_t *out_len);
	/* A value of the plain type → canonical bytes, palloc'd or in place. */
	const uint8 *(*from_datum)(Datum value, size_t *out_len);
	/* What the plain type's binary input takes. */
	uint8 *(*from_binary)(StringInfo message, size_t *out_len);
	/* Canonical bytes → the value; ERROR IQ031 when they are not canonical. */
	Datum (*to_datum)(const uint8 *bytes, size_t len);
	/* Which of two canonical values comes first, as the plain type has it; NULL where none does. */
	int (*compare)(const uint8 *a, size_t a_len, const uint8 *b, size_t b_len);
	/* Canonical bytes → text under this session's settings, or under fixed ones. */
	char *(*to_text)(const uint8 *bytes, size_t len, bool fixed);
} PlainType;

/* By type code; ERROR IQ031 for a code that this version does not know. */
extern const PlainType *plain_type(uint8 code);
/* By place, NULL after the last one. */
extern const PlainType *plain_type_at(int i);

#endif /* IMMIIQ_PLAIN_H */
