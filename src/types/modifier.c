/*
 * Type modifiers: enc_text(7,equality,fold).  Reads no catalog, because pg_dump
 * creates user tables before anything else; refuses every word it does not know.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "search/plain.h"
#include "search/search.h"

/* The words of a type, as a hint names them. */
static char *
modifier_choices(int32 words)
{
	char choices[WORDS_SIZE];
	StringInfoData out;

	words_print(words | SEARCH_SEALED, choices);
	initStringInfo(&out);
	for (const char *c = choices; *c != '\0'; c++)
	{
		appendStringInfoChar(&out, *c);
		if (*c == ',')
			appendStringInfoChar(&out, ' ');
	}
	return out.data;
}

static int32
modifier_in(ArrayType *array, const PlainType *plain)
{
	const char *type = plain->type_name;
	Datum *words;
	const char **given;
	int n;
	int32 typmod = -1;
	size_t at = 0;

	if (ARR_ELEMTYPE(array) != CSTRINGOID || ARR_NDIM(array) != 1 || array_contains_nulls(array))
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("type modifiers must be a one-dimensional array without nulls")));
	deconstruct_array(array, CSTRINGOID, -2, false, TYPALIGN_CHAR, &words, NULL, &n);
	given = palloc(sizeof(char *) * (n + 1));
	for (int i = 0; i < n; i++)
		given[i] = DatumGetCString(words[i]);
	switch (words_parse(given, n, plain->words, &typmod, &at))
	{
		case WORDS_GOOD:
			break;
		case WORDS_UNKNOWN:
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("type %s has no modifier \"%s\"", type, given[at]),
							errhint("Modifiers are a domain number and of the words %s.",
									modifier_choices(plain->words))));
			break;
		case WORDS_TWICE:
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("modifier \"%s\" of type %s is given twice", given[at], type)));
			break;
		case WORDS_DOMAIN_TWICE:
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("the domain of type %s is given twice", type)));
			break;
		case WORDS_DOMAIN_RANGE:
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("the domain of type %s must be a number from 1 to %d", type,
								   SEARCH_DOMAIN_MASK)));
			break;
		case WORDS_CONTRADICTION:
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("modifier \"%s\" of type %s excludes every search word",
								   "sealed", type)));
			break;
	}
	return typmod;
}

#define MODIFIER_IN(name, code)                                                                    \
	Datum name(PG_FUNCTION_ARGS)                                                                   \
	{                                                                                              \
		PG_RETURN_INT32(modifier_in(PG_GETARG_ARRAYTYPE_P(0), plain_type(code)));                  \
	}                                                                                              \
	extern int no_such_symbol

/* cstring[] → int4; 22023 for an unknown, repeated or contradicting word. */
PG_FUNCTION_INFO_V1(enc_text_typmodin);
MODIFIER_IN(enc_text_typmodin, ENVELOPE_TYPE_TEXT);
PG_FUNCTION_INFO_V1(enc_bytea_typmodin);
MODIFIER_IN(enc_bytea_typmodin, ENVELOPE_TYPE_BYTEA);
PG_FUNCTION_INFO_V1(enc_int8_typmodin);
MODIFIER_IN(enc_int8_typmodin, ENVELOPE_TYPE_INT8);
PG_FUNCTION_INFO_V1(enc_numeric_typmodin);
MODIFIER_IN(enc_numeric_typmodin, ENVELOPE_TYPE_NUMERIC);
PG_FUNCTION_INFO_V1(enc_date_typmodin);
MODIFIER_IN(enc_date_typmodin, ENVELOPE_TYPE_DATE);
PG_FUNCTION_INFO_V1(enc_timestamptz_typmodin);
MODIFIER_IN(enc_timestamptz_typmodin, ENVELOPE_TYPE_TIMESTAMPTZ);
PG_FUNCTION_INFO_V1(enc_jsonb_typmodin);
MODIFIER_IN(enc_jsonb_typmodin, ENVELOPE_TYPE_JSONB);

PG_FUNCTION_INFO_V1(enc_typmodout);
/* int4 → cstring: what typmodin takes, in parentheses; '' for none. */
Datum
enc_typmodout(PG_FUNCTION_ARGS)
{
	int32 typmod = PG_GETARG_INT32(0);
	char words[WORDS_SIZE];

	if (typmod < 0)
		PG_RETURN_CSTRING(pstrdup(""));
	words_print(typmod, words);
	PG_RETURN_CSTRING(psprintf("(%s)", words));
}
