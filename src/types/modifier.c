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

static const struct
{
	const char *word;
	int32 bits;
} modifier_words[] = {
	{"sealed", SEARCH_SEALED},	   {"equality", SEARCH_EQUALITY}, {"fold", SEARCH_FOLD},
	{"prefix", SEARCH_PREFIX},	   {"match", SEARCH_MATCH},		  {"range", SEARCH_RANGE},
	{"contains", SEARCH_CONTAINS},
};

/* Reads a domain, 1 to 65535; false for anything else. */
static bool
modifier_domain(const char *text, int32 *domain)
{
	int32 n = 0;

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

/* The words of a type, as a hint names them. */
static char *
modifier_choices(int32 words)
{
	StringInfoData out;

	initStringInfo(&out);
	for (int k = 0; k < lengthof(modifier_words); k++)
	{
		if ((modifier_words[k].bits & (words | SEARCH_SEALED)) != 0)
			appendStringInfo(&out, "%s%s", out.len > 0 ? ", " : "", modifier_words[k].word);
	}
	return out.data;
}

static int32
modifier_in(ArrayType *array, const PlainType *plain)
{
	const char *type = plain->type_name;
	Datum *words;
	int n;
	int32 domain = 0;
	int32 features = 0;

	if (ARR_ELEMTYPE(array) != CSTRINGOID || ARR_NDIM(array) != 1 || array_contains_nulls(array))
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("type modifiers must be a one-dimensional array without nulls")));
	deconstruct_array(array, CSTRINGOID, -2, false, TYPALIGN_CHAR, &words, NULL, &n);
	for (int i = 0; i < n; i++)
	{
		const char *word = DatumGetCString(words[i]);
		int32 bits = 0;

		for (int k = 0; k < lengthof(modifier_words); k++)
		{
			if (strcmp(word, modifier_words[k].word) == 0 &&
				(modifier_words[k].bits & (plain->words | SEARCH_SEALED)) != 0)
				bits = modifier_words[k].bits;
		}
		if (bits != 0)
		{
			if ((features & bits) != 0)
				ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
								errmsg("modifier \"%s\" of type %s is given twice", word, type)));
			features |= bits;
		}
		else if (strncmp(word, "domain=", 7) == 0 || (*word >= '0' && *word <= '9') || *word == '-')
		{
			if (domain != 0)
				ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
								errmsg("the domain of type %s is given twice", type)));
			if (!modifier_domain(strncmp(word, "domain=", 7) == 0 ? word + 7 : word, &domain))
				ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
								errmsg("the domain of type %s must be a number from 1 to %d", type,
									   SEARCH_DOMAIN_MASK)));
		}
		else
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("type %s has no modifier \"%s\"", type, word),
							errhint("Modifiers are a domain number and of the words %s.",
									modifier_choices(plain->words))));
	}
	if ((features & SEARCH_FOLD) != 0)
		features |= SEARCH_EQUALITY;
	if ((features & SEARCH_SEALED) != 0 && features != SEARCH_SEALED)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("modifier \"%s\" of type %s excludes every search word", "sealed", type)));
	if (features == 0)
		features = SEARCH_SEALED;
	return domain | features;
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
	StringInfoData out;
	const char *separator = "";

	if (typmod < 0)
		PG_RETURN_CSTRING(pstrdup(""));
	initStringInfo(&out);
	appendStringInfoChar(&out, '(');
	if ((typmod & SEARCH_DOMAIN_MASK) != 0)
	{
		appendStringInfo(&out, "%d", typmod & SEARCH_DOMAIN_MASK);
		separator = ",";
	}
	for (int k = 0; k < lengthof(modifier_words); k++)
	{
		if ((typmod & modifier_words[k].bits) != 0)
		{
			appendStringInfo(&out, "%s%s", separator, modifier_words[k].word);
			separator = ",";
		}
	}
	appendStringInfoChar(&out, ')');
	PG_RETURN_CSTRING(out.data);
}
