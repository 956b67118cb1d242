/*
 * Tokens of values and of what is looked for (docs/search.md).  Trusts keyring/
 * for the keys; knows nothing of who asks.  Whoever changes what a token is made
 * of breaks every stored value: frozen.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "keyring/keyring.h"
#include "search/fold.h"
#include "search/interval.h"
#include "search/plain.h"
#include "search/search.h"
#include "search/tokens.h"

/* Days from 1700-01-01 to 2000-01-01. */
#define TOKENS_EPOCH_DAYS		109572
#define TOKENS_DATE_LEVELS		9  /* 4^9 days: to 2417 */
#define TOKENS_TIMESTAMP_LEVELS 14 /* 4^14 minutes: to 2210 */
#define TOKENS_NUMBER_LEVELS	16 /* single precision floating point */

void
tokens_start(TokenList *list, const pg_uuid_t *org, uint8_t type, uint16_t domain)
{
	memset(list, 0, sizeof(*list));
	list->org = org;
	list->type = type;
	list->domain = domain;
}

static void
tokens_add(TokenList *list, const CryptoHmac *key, const void *data, size_t len)
{
	uint8 hash[CRYPTO_HASH_BYTES];
	uint32 word;

	if (!crypto_hmac(key, data, len, hash))
		elog(ERROR, "could not compute a token");
	if (list->count == list->capacity)
	{
		/* Twice the most, because the same token may come many times. */
		if (list->capacity >= 2 * ENVELOPE_TOKENS_MAX)
			tokens_finish(list);
		if (list->count > ENVELOPE_TOKENS_MAX)
			ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
							errmsg("value has too many different parts to be searched for them"),
							errhint("Store it in a column without the words match and contains.")));
		if (list->count == list->capacity)
		{
			list->capacity = list->capacity == 0 ? 32 : list->capacity * 2;
			list->values = list->values == NULL
							   ? palloc(list->capacity * sizeof(uint32))
							   : repalloc(list->values, list->capacity * sizeof(uint32));
		}
	}
	memcpy(&word, hash, sizeof(word));
	list->values[list->count++] = pg_ntoh32(word);
}

/* ---- range: any order-preserving way onto the line will do, since what is found is opened and compared ---- */

int
tokens_levels(uint8_t type)
{
	return type == ENVELOPE_TYPE_DATE		   ? TOKENS_DATE_LEVELS
		   : type == ENVELOPE_TYPE_TIMESTAMPTZ ? TOKENS_TIMESTAMP_LEVELS
											   : TOKENS_NUMBER_LEVELS;
}

/* A floating point number so that unsigned comparison of the result is its order; NaN is above all. */
static uint32
tokens_point_of_number(double number)
{
	float single;
	uint32 bits;

	if (isnan(number))
		return PG_UINT32_MAX;
	single = number > FLT_MAX ? INFINITY : number < -FLT_MAX ? -INFINITY : (float) number;
	memcpy(&bits, &single, sizeof(bits));
	return (bits & 0x80000000) != 0 ? ~bits : bits | 0x80000000;
}

uint32
tokens_point(uint8_t type, const uint8 *plain, size_t len)
{
	Datum value = plain_type(type)->to_datum(plain, len);
	uint32 last = (uint32) ((UINT64CONST(1) << (2 * tokens_levels(type))) - 1);

	switch (type)
	{
		case ENVELOPE_TYPE_DATE:
		{
			int64 day = (int64) DatumGetDateADT(value) + TOKENS_EPOCH_DAYS;

			return day < 0 ? 0 : day > last ? last : (uint32) day;
		}
		case ENVELOPE_TYPE_TIMESTAMPTZ:
		{
			int64 first = -TOKENS_EPOCH_DAYS * USECS_PER_DAY;
			int64 time = DatumGetTimestampTz(value);
			uint64 minute;

			if (time < first)
				return 0;
			minute = ((uint64) time - (uint64) first) / USECS_PER_MINUTE;
			return minute > last ? last : (uint32) minute;
		}
		case ENVELOPE_TYPE_INT8:
			return tokens_point_of_number((double) DatumGetInt64(value));
		default:
			return tokens_point_of_number(
				DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, value)));
	}
}

static void
tokens_add_interval(TokenList *list, const CryptoHmac *key, const TreeInterval *interval)
{
	uint8 data[5];
	uint32 index = pg_hton32(interval->index);

	data[0] = interval->level;
	memcpy(data + 1, &index, sizeof(index));
	tokens_add(list, key, data, sizeof(data));
}

void
tokens_add_one(TokenList *list, int level, uint32 index)
{
	TreeInterval interval = {(uint8_t) level, index};

	tokens_add_interval(list,
						keyring_tag_key(list->org, list->type, list->domain, KEYRING_TOKEN_RANGE),
						&interval);
}

void
tokens_add_point(TokenList *list, const uint8 *plain, size_t len)
{
	const CryptoHmac *key =
		keyring_tag_key(list->org, list->type, list->domain, KEYRING_TOKEN_RANGE);
	int levels = tokens_levels(list->type);
	TreeInterval path[INTERVAL_LEVELS_MAX];

	interval_of_point(tokens_point(list->type, plain, len), levels, path);
	for (int i = 0; i < levels; i++)
		tokens_add_interval(list, key, &path[i]);
}

void
tokens_add_cover(TokenList *list, const uint8 *low, size_t low_len, const uint8 *high,
				 size_t high_len)
{
	const CryptoHmac *key =
		keyring_tag_key(list->org, list->type, list->domain, KEYRING_TOKEN_RANGE);
	int levels = tokens_levels(list->type);
	uint32 last = (uint32) ((UINT64CONST(1) << (2 * levels)) - 1);
	TreeInterval cover[INTERVAL_COVER_MAX];
	size_t n = interval_cover(low != NULL ? tokens_point(list->type, low, low_len) : 0,
							  high != NULL ? tokens_point(list->type, high, high_len) : last,
							  levels, cover);

	for (size_t i = 0; i < n; i++)
		tokens_add_interval(list, key, &cover[i]);
}

/* ---- prefix and match ---- */

static uint8 *
tokens_fold(const uint8 *text, size_t len, size_t *out_len)
{
	uint8 *folded = palloc_extended(fold_size(len), MCXT_ALLOC_HUGE);

	*out_len = fold_parts(text, len, folded);
	return folded;
}

void
tokens_add_prefixes(TokenList *list, const uint8 *text, size_t len, bool longest_only)
{
	const CryptoHmac *key =
		keyring_tag_key(list->org, list->type, list->domain, KEYRING_TOKEN_PREFIX);
	size_t n;
	uint8 *folded = tokens_fold(text, len, &n);
	size_t at = 0;

	for (int characters = 1; characters <= TOKENS_PREFIX_MAX && at < n; characters++)
	{
		at += pg_utf_mblen(folded + at);
		if (!longest_only || characters == TOKENS_PREFIX_MAX || at >= n)
			tokens_add(list, key, folded, at);
	}
	crypto_wipe(folded, n);
	pfree(folded);
}

void
tokens_add_trigrams(TokenList *list, const uint8 *text, size_t len)
{
	const CryptoHmac *key =
		keyring_tag_key(list->org, list->type, list->domain, KEYRING_TOKEN_MATCH);
	size_t n;
	uint8 *folded = tokens_fold(text, len, &n);
	size_t first = 0; /* where the last three characters begin */
	size_t second = 0;
	size_t third = 0;
	size_t at = 0;

	for (size_t characters = 1; at < n; characters++)
	{
		first = second;
		second = third;
		third = at;
		at += pg_utf_mblen(folded + at);
		if (characters >= 3)
			tokens_add(list, key, folded + first, at - first);
	}
	crypto_wipe(folded, n);
	pfree(folded);
}

/* ---- contains ---- */

/* Appends what tells a scalar from all others; equal numbers are the same whatever they are written like. */
static void
tokens_scalar(StringInfo path, const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			appendStringInfoChar(path, 'z');
			break;
		case jbvBool:
			appendStringInfoChar(path, value->val.boolean ? 't' : 'f');
			break;
		case jbvNumeric:
			appendStringInfoChar(path, 'n');
			appendStringInfoString(path, numeric_normalize(value->val.numeric));
			break;
		case jbvString:
			appendStringInfoChar(path, 's');
			appendBinaryStringInfo(path, value->val.string.val, value->val.string.len);
			break;
		default:
			elog(ERROR, "unknown kind of json scalar");
	}
}

void
tokens_add_json(TokenList *list, Jsonb *json)
{
	const CryptoHmac *key =
		keyring_tag_key(list->org, list->type, list->domain, KEYRING_TOKEN_CONTAINS);
	JsonbIterator *iterator = JsonbIteratorInit(&json->root);
	StringInfoData path;
	int *starts; /* length of the path outside each container that is open */
	int depth = 0;
	int capacity = 16;
	JsonbValue value;
	JsonbIteratorToken token;

	initStringInfo(&path);
	starts = palloc(capacity * sizeof(int));
	while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		switch (token)
		{
			case WJB_BEGIN_ARRAY:
			case WJB_BEGIN_OBJECT:
				if (depth == capacity)
				{
					capacity *= 2;
					starts = repalloc(starts, capacity * sizeof(int));
				}
				starts[depth++] = path.len;
				break;
			case WJB_END_ARRAY:
			case WJB_END_OBJECT:
				path.len = starts[--depth];
				break;
			case WJB_KEY:
			{
				uint32 n = pg_hton32((uint32) value.val.string.len);

				path.len = starts[depth - 1];
				appendBinaryStringInfo(&path, (const char *) &n, sizeof(n));
				appendBinaryStringInfo(&path, value.val.string.val, value.val.string.len);
				break;
			}
			case WJB_VALUE:
			case WJB_ELEM:
			{
				int at = path.len;

				tokens_scalar(&path, &value);
				tokens_add(list, key, path.data, path.len);
				path.len = at;
				break;
			}
			default:
				break;
		}
	}
	crypto_wipe(path.data, path.maxlen);
	pfree(path.data);
	pfree(starts);
}

/* ---- together ---- */

static int
tokens_compare(const void *a, const void *b)
{
	uint32 x = *(const uint32 *) a;
	uint32 y = *(const uint32 *) b;

	return x < y ? -1 : x > y;
}

void
tokens_finish(TokenList *list)
{
	int n = 0;

	if (list->count > 1)
		qsort(list->values, list->count, sizeof(uint32), tokens_compare);
	for (int i = 0; i < list->count; i++)
	{
		if (i == 0 || list->values[i] != list->values[n - 1])
			list->values[n++] = list->values[i];
	}
	list->count = n;
}

void
search_make_tokens(const pg_uuid_t *org, uint8_t type, uint16_t domain, uint8_t kinds,
				   const uint8_t *plain, size_t len, EnvelopeTokens *tokens)
{
	TokenList list;

	tokens_start(&list, org, type, domain);
	if ((kinds & ENVELOPE_PREFIX) != 0)
		tokens_add_prefixes(&list, plain, len, false);
	if ((kinds & ENVELOPE_MATCH) != 0)
		tokens_add_trigrams(&list, plain, len);
	if ((kinds & ENVELOPE_RANGE) != 0)
		tokens_add_point(&list, plain, len);
	if ((kinds & ENVELOPE_CONTAINS) != 0)
		tokens_add_json(&list, DatumGetJsonbP(plain_type(type)->to_datum(plain, len)));
	tokens_finish(&list);
	if (list.count > ENVELOPE_TOKENS_MAX)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("value has too many different parts to be searched for them"),
						errhint("Store it in a column without the words match and contains.")));
	for (int i = 0; i < list.count; i++)
		list.values[i] = pg_hton32(list.values[i]);
	tokens->kinds = kinds;
	tokens->count = (uint32) list.count;
	tokens->list = (const uint8 *) list.values;
}
