/*
 * Queries and the operator @~, which every search beyond equality becomes.
 * Trusts context/ for who is active; opens only their values, and never raises
 * for what is stored: LEAKPROOF in truth.
 */
#include "postgres.h"

#include "access/gin.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "port/pg_bswap.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"

#include "base/base.h"
#include "context/context.h"
#include "search/catalog.h"
#include "search/contains.h"
#include "search/probe.h"
#include "search/query_internal.h"
#include "search/tokens.h"

/* The next part as a Datum; *at moves behind it. */
Datum
query_datum(const SearchQuery *query, size_t *at)
{
	char *part = unconstify(char *, (const char *) query) + *at;

	*at += INTALIGN(VARSIZE(part));
	return PointerGetDatum(part);
}

/* The same as bytes. */
const uint8 *
query_part(const SearchQuery *query, size_t *at, size_t *len)
{
	Datum part = query_datum(query, at);

	*len = VARSIZE(DatumGetPointer(part)) - VARHDRSZ;
	return (const uint8 *) VARDATA(DatumGetPointer(part));
}

static size_t
query_put(char *data, const uint8 *bytes, size_t len)
{
	SET_VARSIZE(data, VARHDRSZ + len);
	if (len > 0)
		memcpy(VARDATA(data), bytes, len);
	return INTALIGN(VARHDRSZ + len);
}

static SearchQuery *
query_build(const PlainType *plain, QueryOp op, uint8 flags, int32 typmod, int parts,
			const uint8 **bytes, const size_t *lens)
{
	size_t size = sizeof(SearchQuery);
	SearchQuery *query;

	for (int i = 0; i < parts; i++)
		size += INTALIGN(VARHDRSZ + lens[i]);
	query = palloc0(size);
	query->type = plain->code;
	query->op = op;
	query->flags = flags;
	query->typmod = typmod;
	query->parts = parts;
	query->org = *probe_org();
	SET_VARSIZE(query, size);
	size = sizeof(SearchQuery);
	for (int i = 0; i < parts; i++)
		size += query_put((char *) query + size, bytes[i], lens[i]);
	return query;
}

/* Refuses now what matching could refuse later, and then only for some values. */
static void
query_check_pattern(QueryOp op, const uint8 *pattern, size_t len)
{
	size_t escapes = 0;

	while (escapes < len && pattern[len - 1 - escapes] == '\\')
		escapes++;
	if (op != QUERY_STARTS && escapes % 2 == 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_ESCAPE_SEQUENCE),
						errmsg("LIKE pattern must not end with escape character")));
}

/* The bytes of an argument's part. */
static const uint8 *
query_argument(const PlainType *plain, QueryOp op, Datum argument, bool is_text, size_t *len)
{
	const uint8 *bytes;

	if (is_text)
	{
		struct varlena *v = PG_DETOAST_DATUM_PACKED(argument);

		bytes = plain->from_text(VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v), len);
	}
	else
		bytes = plain->from_datum(argument, len);
	if (plain->code == ENVELOPE_TYPE_TEXT)
		query_check_pattern(op, bytes, *len);
	if (op == QUERY_CONTAINS)
	{
		/* Read once, and not again for every row. */
		Jsonb *json = DatumGetJsonbP(plain->to_datum(bytes, *len));

		*len = VARSIZE(json) - VARHDRSZ;
		return (const uint8 *) VARDATA(json);
	}
	return bytes;
}

/* The plain value of a sealed argument; false when it is not the active organisation's, or does not open. */
static bool
query_open(const PlainType *plain, Datum value, Datum *result)
{
	const pg_uuid_t *org = probe_org();
	struct varlena *v = PG_DETOAST_DATUM_PACKED(value);
	const uint8 *buf = (const uint8 *) VARDATA_ANY(v);
	Envelope env;
	uint8 *bytes;
	size_t len;

	if (!envelope_parse(buf, VARSIZE_ANY_EXHDR(v), &env) || env.type != plain->code ||
		env.algorithm == ENVELOPE_PROBE)
		return false;
	bytes = env.algorithm == ENVELOPE_UNSEALED ? value_open(buf, &env, org, &len)
											   : value_try_open(buf, &env, org, &len);
	if (bytes == NULL)
		return false;
	*result = plain->to_datum(bytes, len);
	crypto_wipe(bytes, len);
	pfree(bytes);
	return true;
}

struct varlena *
query_make(const PlainType *plain, QueryOp op, int32 typmod, Datum argument, bool is_text)
{
	const uint8 *bytes[2] = {NULL, NULL};
	size_t lens[2] = {0, 0};
	size_t len;
	const uint8 *value = query_argument(plain, op, argument, is_text, &len);

	switch (op)
	{
		case QUERY_LT:
		case QUERY_LE:
			bytes[1] = value;
			lens[1] = len;
			return (struct varlena *) query_build(plain, QUERY_GE,
												  QUERY_HAS_HIGH |
													  (op == QUERY_LT ? QUERY_HIGH_OPEN : 0),
												  typmod, 2, bytes, lens);
		case QUERY_GE:
		case QUERY_GT:
			bytes[0] = value;
			lens[0] = len;
			return (struct varlena *) query_build(plain, QUERY_GE,
												  QUERY_HAS_LOW |
													  (op == QUERY_GT ? QUERY_LOW_OPEN : 0),
												  typmod, 2, bytes, lens);
		default:
			return (struct varlena *) query_build(plain, op, 0, typmod, 1, &value, &len);
	}
}

/* One query of a list of patterns. */
static struct varlena *
query_make_list(const PlainType *plain, QueryOp op, int32 typmod, ArrayType *array, bool one)
{
	Datum *values;
	bool *nulls;
	int n;
	int parts = 0;
	const uint8 **bytes;
	size_t *lens;
	uint8 flags = one ? QUERY_ONE : 0;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &n);
	bytes = palloc(Max(n, 1) * sizeof(*bytes));
	lens = palloc(Max(n, 1) * sizeof(*lens));
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			flags |= QUERY_NULLS;
		else
		{
			bytes[parts] = query_argument(plain, op, values[i], true, &lens[parts]);
			parts++;
		}
	}
	return (struct varlena *) query_build(plain, op, flags, typmod, parts, bytes, lens);
}

/* ---- matching ---- */

static bool
query_in_range(const SearchQuery *query, const PlainType *plain, const uint8 *bytes, size_t len)
{
	size_t at = sizeof(SearchQuery);
	size_t low_len;
	size_t high_len;
	const uint8 *low = query_part(query, &at, &low_len);
	const uint8 *high = query_part(query, &at, &high_len);
	int order;

	if ((query->flags & QUERY_HAS_LOW) != 0)
	{
		order = plain->compare(bytes, len, low, low_len);
		if (order < 0 || (order == 0 && (query->flags & QUERY_LOW_OPEN) != 0))
			return false;
	}
	if ((query->flags & QUERY_HAS_HIGH) != 0)
	{
		order = plain->compare(bytes, len, high, high_len);
		if (order > 0 || (order == 0 && (query->flags & QUERY_HIGH_OPEN) != 0))
			return false;
	}
	return true;
}

/* One pattern, start or document. */
static bool
query_matches_part(const SearchQuery *query, Datum value, Datum part)
{
	size_t len = VARSIZE(DatumGetPointer(part)) - VARHDRSZ;

	switch (query->op)
	{
		case QUERY_STARTS:
			return VARSIZE_ANY_EXHDR(value) >= len &&
				   memcmp(VARDATA_ANY(DatumGetPointer(value)), VARDATA(DatumGetPointer(part)),
						  len) == 0;
		case QUERY_CONTAINS:
			return DatumGetBool(DirectFunctionCall2(jsonb_contains, value, part));
		case QUERY_LIKE:
			return DatumGetBool(
				DirectFunctionCall2Coll(textlike, DEFAULT_COLLATION_OID, value, part));
		default:
			return DatumGetBool(
				DirectFunctionCall2Coll(texticlike, DEFAULT_COLLATION_OID, value, part));
	}
}

/* Canonical plaintext against a query. */
static bool
query_matches_plain(const SearchQuery *query, const uint8 *bytes, size_t len, bool *unknown)
{
	const PlainType *plain = plain_type(query->type);
	size_t at = sizeof(SearchQuery);
	bool one = (query->flags & QUERY_ONE) != 0;
	bool found = !one;
	Datum value;

	*unknown = false;
	if (query->op == QUERY_GE)
		return query_in_range(query, plain, bytes, len);
	if (query->op == QUERY_CONTAINS && query->parts == 1)
	{
		size_t first = at;
		ContainsAnswer answer = contains_json((const char *) bytes, len,
											  (Jsonb *) DatumGetPointer(query_datum(query, &first)));

		if (answer != CONTAINS_UNREADABLE)
			return answer == CONTAINS_YES;
	}
	value = plain->to_datum(bytes, len);
	for (int i = 0; i < query->parts; i++)
	{
		if (query_matches_part(query, value, query_datum(query, &at)) == one)
		{
			found = one;
			break;
		}
	}
	crypto_wipe(DatumGetPointer(value), VARSIZE_ANY(DatumGetPointer(value)));
	pfree(DatumGetPointer(value));
	if (found != one && (query->flags & QUERY_NULLS) != 0)
		*unknown = true;
	return found;
}

bool
query_matches(Datum value, struct varlena *v, bool *unknown)
{
	SearchQuery *query = (SearchQuery *) v;
	struct varlena *detoasted = PG_DETOAST_DATUM_PACKED(value);
	const ContextIdentity *identity;
	Envelope env;
	uint8 *bytes;
	size_t len;
	bool result = false;

	*unknown = false;
	if (envelope_parse((const uint8 *) VARDATA_ANY(detoasted), VARSIZE_ANY_EXHDR(detoasted), &env) &&
		env.type == query->type)
	{
		if (env.algorithm == ENVELOPE_UNSEALED)
			result = query_matches_plain(query, env.body, env.body_len, unknown);
		else if (env.algorithm == ENVELOPE_SEALED && (identity = context_current()) != NULL &&
				 base_uuid_equal(&identity->org, &query->org) &&
				 (bytes = value_try_open((const uint8 *) VARDATA_ANY(detoasted), &env, &query->org,
										 &len)) != NULL)
		{
			result = query_matches_plain(query, bytes, len, unknown);
			crypto_wipe(bytes, len);
			pfree(bytes);
		}
	}
	if ((Pointer) detoasted != DatumGetPointer(value))
		pfree(detoasted);
	return result;
}

PG_FUNCTION_INFO_V1(enc_matches);
/* (base, enc_query) → bool: false for what is not the active organisation's; never raises. */
Datum
enc_matches(PG_FUNCTION_ARGS)
{
	bool unknown;
	bool result = query_matches(PG_GETARG_DATUM(0), PG_DETOAST_DATUM(PG_GETARG_DATUM(1)), &unknown);

	if (unknown)
		PG_RETURN_NULL();
	PG_RETURN_BOOL(result);
}

/* ---- the type enc_query ---- */

PG_FUNCTION_INFO_V1(enc_query_in);
/* cstring → enc_query: refused, 0A000. */
Datum
enc_query_in(PG_FUNCTION_ARGS)
{
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("a value of type enc_query cannot be read")));
	PG_RETURN_NULL();
}

PG_FUNCTION_INFO_V1(enc_query_out);
/* enc_query → cstring: that it is one, and nothing of what it looks for. */
Datum
enc_query_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(pstrdup("(query)"));
}

/* What one call site remembers: the last argument and its query. */
typedef struct QueryMemo
{
	uint64 generation;
	int32 typmod;
	int32 what;
	int16 length; /* of the argument's type */
	bool by_value;
	Oid type; /* of the argument */
	bool filled;
	Datum argument;
	struct varlena *query;
} QueryMemo;

static void
query_forget(QueryMemo *memo)
{
	if (!memo->filled)
		return;
	memo->filled = false;
	if (!memo->by_value)
	{
		crypto_wipe(DatumGetPointer(memo->argument), VARSIZE(DatumGetPointer(memo->argument)));
		pfree(DatumGetPointer(memo->argument));
	}
	crypto_wipe(memo->query, VARSIZE(memo->query));
	pfree(memo->query);
}

static QueryMemo *
query_memo(FunctionCallInfo fcinfo)
{
	QueryMemo *memo = fcinfo->flinfo->fn_extra;
	Oid *declared;
	int nargs;

	if (memo != NULL)
		return memo;
	memo = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(QueryMemo));
	(void) get_func_signature(fcinfo->flinfo->fn_oid, &declared, &nargs);
	get_typlenbyval(declared[0], &memo->length, &memo->by_value);
	memo->type = declared[0];
	fcinfo->flinfo->fn_extra = memo;
	return memo;
}

/* What the third argument says; ERROR for numbers that no planner has made. */
static const PlainType *
query_what(int32 what, int32 typmod, QueryOp *op)
{
	const PlainType *plain = plain_type((uint8) (what >> 8 & 0xFF));
	int32 words;

	*op = (QueryOp) (what & 0xFF);
	words = *op >= QUERY_LT && *op <= QUERY_GT		   ? SEARCH_RANGE
			: *op >= QUERY_LIKE && *op <= QUERY_STARTS ? SEARCH_PREFIX | SEARCH_MATCH
			: *op == QUERY_CONTAINS					   ? SEARCH_CONTAINS
													   : 0;
	words &= plain->words;
	if (words == 0 ||
		(typmod >= 0 && (!search_typmod_valid(typmod, plain->words) || (typmod & words) == 0)))
		ereport(ERROR, (errcode(ERRCODE_IMMIIQ_SEALED),
						errmsg("query for a column that was not declared for it")));
	return plain;
}

PG_FUNCTION_INFO_V1(enc_query);
/*
 * (text | text[] | plain type | base type, int4 modifier, int4 operator) →
 * enc_query: NULL for a sealed value that is not the active organisation's;
 * IQ011 when nobody is active; the plain type's SQLSTATE for unreadable text; 22025
 * for a pattern that ends in its escape character.
 */
Datum
enc_query(PG_FUNCTION_ARGS)
{
	QueryMemo *memo = query_memo(fcinfo);
	Datum argument = PG_GETARG_DATUM(0);
	int32 typmod = PG_GETARG_INT32(1);
	int32 what = PG_GETARG_INT32(2);
	const PlainType *plain;
	struct varlena *query;
	MemoryContext old;
	QueryOp op;
	Datum opened;
	bool sealed;

	(void) probe_org();
	if (!memo->by_value)
		argument = PointerGetDatum(PG_DETOAST_DATUM(argument));
	if (memo->filled && memo->generation == context_generation() && memo->typmod == typmod &&
		memo->what == what &&
		(memo->by_value
			 ? memo->argument == argument
			 : VARSIZE(DatumGetPointer(memo->argument)) == VARSIZE(DatumGetPointer(argument)) &&
				   memcmp(DatumGetPointer(memo->argument), DatumGetPointer(argument),
						  VARSIZE(DatumGetPointer(argument))) == 0))
	{
		query = palloc(VARSIZE(memo->query));
		memcpy(query, memo->query, VARSIZE(memo->query));
		PG_RETURN_POINTER(query);
	}
	query_forget(memo);
	plain = query_what(what, typmod, &op);
	/* The argument's type has to be one of that which the third argument tells. */
	sealed = memo->type == base_type(plain->base_name);
	if (!sealed && memo->type != TEXTOID &&
		memo->type != (plain->code == ENVELOPE_TYPE_TEXT ? TEXTARRAYOID : plain->plain_type))
		ereport(ERROR,
				(errcode(ERRCODE_IMMIIQ_SEALED), errmsg("query for a column of another type")));
	opened = argument;
	if (sealed && !query_open(plain, argument, &opened))
		PG_RETURN_NULL();
	query = memo->type == TEXTARRAYOID
				? query_make_list(plain, op, typmod, DatumGetArrayTypeP(argument),
								  (what & QUERY_ANY) != 0)
				: query_make(plain, op, typmod, opened, memo->type == TEXTOID);
	old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	memo->argument = datumCopy(argument, memo->by_value, memo->length);
	memo->query = (struct varlena *) DatumGetPointer(datumCopy(PointerGetDatum(query), false, -1));
	MemoryContextSwitchTo(old);
	memo->typmod = typmod;
	memo->what = what;
	memo->generation = context_generation();
	memo->filled = true;
	PG_RETURN_POINTER(query);
}

/* Narrows the first of two bounds to the second where that is narrower. */
static void
query_narrow(const PlainType *plain, uint8 has, uint8 open, int direction, uint8 *flags,
			 const uint8 **bytes, size_t *len, uint8 other_flags, const uint8 *other,
			 size_t other_len)
{
	int order;

	if ((other_flags & has) == 0)
		return;
	order = (*flags & has) == 0 ? direction : plain->compare(other, other_len, *bytes, *len);
	if (order == 0)
		*flags |= other_flags & open;
	else if ((order > 0) == (direction > 0))
	{
		*flags = (*flags & ~open) | has | (other_flags & open);
		*bytes = other;
		*len = other_len;
	}
}

PG_FUNCTION_INFO_V1(enc_query_and);
/* (enc_query, enc_query) → enc_query: what is in both ranges. */
Datum
enc_query_and(PG_FUNCTION_ARGS)
{
	SearchQuery *a = (SearchQuery *) PG_DETOAST_DATUM(PG_GETARG_DATUM(0));
	SearchQuery *b = (SearchQuery *) PG_DETOAST_DATUM(PG_GETARG_DATUM(1));
	const PlainType *plain = plain_type(a->type);
	size_t a_at = sizeof(SearchQuery);
	size_t b_at = sizeof(SearchQuery);
	const uint8 *bytes[2];
	size_t lens[2];
	const uint8 *other;
	size_t other_len;
	uint8 flags = a->flags;

	if (a->op != QUERY_GE || b->op != QUERY_GE || a->type != b->type || a->typmod != b->typmod)
		ereport(ERROR, (errcode(ERRCODE_IMMIIQ_SEALED),
						errmsg("only ranges of one column can be narrowed")));
	bytes[0] = query_part(a, &a_at, &lens[0]);
	bytes[1] = query_part(a, &a_at, &lens[1]);
	other = query_part(b, &b_at, &other_len);
	query_narrow(plain, QUERY_HAS_LOW, QUERY_LOW_OPEN, 1, &flags, &bytes[0], &lens[0], b->flags,
				 other, other_len);
	other = query_part(b, &b_at, &other_len);
	query_narrow(plain, QUERY_HAS_HIGH, QUERY_HIGH_OPEN, -1, &flags, &bytes[1], &lens[1], b->flags,
				 other, other_len);
	PG_RETURN_POINTER(query_build(plain, QUERY_GE, flags, a->typmod, 2, bytes, lens));
}

/* ---- the operators that users write ---- */

PG_FUNCTION_INFO_V1(enc_search);
/*
 * <, <=, >=, >, LIKE, ILIKE, ^@ and @> where no planner has put @~ in their
 * place, such as in lists: slow and right. Errors as enc_query.
 */
Datum
enc_search(PG_FUNCTION_ARGS)
{
	const CatalogOperator *oper = catalog_operator(fcinfo->flinfo->fn_oid);
	CatalogSide side;
	Datum argument;
	bool unknown;
	bool result;
	struct varlena *query;

	if (oper == NULL || oper->query == 0)
		elog(ERROR, "operator of an unknown type");
	side = oper->commuted ? oper->left : oper->right;
	argument = PG_GETARG_DATUM(oper->commuted ? 0 : 1);
	if (side == CATALOG_BASE && !query_open(oper->type->plain, argument, &argument))
		PG_RETURN_NULL();
	query = query_make(oper->type->plain, oper->query, -1, argument, side == CATALOG_TEXT);
	result = query_matches(PG_GETARG_DATUM(oper->commuted ? 1 : 0), query, &unknown);
	PG_RETURN_BOOL(result != oper->negated);
}

/* ---- GIN ---- */

PG_FUNCTION_INFO_V1(enc_gin_extract_value);
/* GIN support 2: the tokens that stand in front of a value. Needs no key. */
Datum
enc_gin_extract_value(PG_FUNCTION_ARGS)
{
	int32 *n = (int32 *) PG_GETARG_POINTER(1);
	EnvelopeTokens tokens;
	Datum *keys;

	*n = 0;
	if (!value_read_tokens(PG_GETARG_DATUM(0), &tokens) || tokens.count == 0)
		PG_RETURN_POINTER(NULL);
	keys = palloc(tokens.count * sizeof(Datum));
	for (uint32 i = 0; i < tokens.count; i++)
	{
		uint32 word;

		memcpy(&word, tokens.list + i * ENVELOPE_TOKEN_BYTES, sizeof(word));
		keys[i] = Int32GetDatum((int32) pg_ntoh32(word));
	}
	*n = (int32) tokens.count;
	PG_RETURN_POINTER(keys);
}

/* The tokens that every text has which matches a pattern: of what stands between wildcards. */
static void
query_pattern_tokens(TokenList *list, QueryOp op, uint8 kinds, const uint8 *pattern, size_t len)
{
	uint8 *run = palloc(len + 1);
	size_t n = 0;
	bool start = true;

	for (size_t i = 0; i <= len; i++)
	{
		bool wildcard = op != QUERY_STARTS && i < len && (pattern[i] == '%' || pattern[i] == '_');

		if (i < len && !wildcard)
		{
			if (op != QUERY_STARTS && pattern[i] == '\\')
				i++;
			run[n++] = pattern[i];
			continue;
		}
		if (start && (kinds & ENVELOPE_PREFIX) != 0)
			tokens_add_prefixes(list, run, n, true);
		if ((kinds & ENVELOPE_MATCH) != 0)
			tokens_add_trigrams(list, run, n);
		start = false;
		n = 0;
	}
	crypto_wipe(run, len);
	pfree(run);
}

void
query_part_tokens(TokenList *list, const SearchQuery *query, Datum part)
{
	tokens_start(list, &query->org, query->type, SearchTypmodDomain(query->typmod));
	if (query->op == QUERY_CONTAINS)
		tokens_add_json(list, DatumGetJsonbP(part));
	else
		query_pattern_tokens(list, query->op, SearchTypmodKinds(query->typmod),
							 (const uint8 *) VARDATA(DatumGetPointer(part)),
							 VARSIZE(DatumGetPointer(part)) - VARHDRSZ);
	tokens_finish(list);
}

/* True when a value has the tokens: some of a range; all of some part of a list; all of everything else. */
static GinTernaryValue
query_consistent(const SearchQuery *query, const GinTernaryValue *check, int n,
				 const Pointer *groups)
{
	if (query->op == QUERY_GE)
	{
		for (int i = 0; i < n; i++)
		{
			if (check[i] != GIN_FALSE)
				return GIN_MAYBE;
		}
		return n == 0 ? GIN_MAYBE : GIN_FALSE;
	}
	if ((query->flags & QUERY_ONE) != 0 && n > 0)
	{
		for (int i = 0; i < n;)
		{
			Pointer group = groups[i];
			bool all = true;

			for (; i < n && groups[i] == group; i++)
				all &= check[i] != GIN_FALSE;
			if (all)
				return GIN_MAYBE;
		}
		return GIN_FALSE;
	}
	for (int i = 0; i < n; i++)
	{
		if (check[i] == GIN_FALSE)
			return GIN_FALSE;
	}
	return GIN_MAYBE;
}

PG_FUNCTION_INFO_V1(enc_gin_extract_query);
/* GIN support 3: the tokens of a query; every row where it has none. */
Datum
enc_gin_extract_query(PG_FUNCTION_ARGS)
{
	SearchQuery *query = (SearchQuery *) PG_DETOAST_DATUM(PG_GETARG_DATUM(0));
	int32 *n = (int32 *) PG_GETARG_POINTER(1);
	Pointer **groups = (Pointer **) PG_GETARG_POINTER(4);
	int32 *mode = (int32 *) PG_GETARG_POINTER(6);
	size_t at = sizeof(SearchQuery);
	Datum *keys = NULL;
	TokenList list;
	int count = 0;

	*n = 0;
	if (query->op == QUERY_GE)
	{
		size_t low_len;
		size_t high_len;
		const uint8 *low = query_part(query, &at, &low_len);
		const uint8 *high = query_part(query, &at, &high_len);

		tokens_start(&list, &query->org, query->type, SearchTypmodDomain(query->typmod));
		tokens_add_cover(&list, (query->flags & QUERY_HAS_LOW) != 0 ? low : NULL, low_len,
						 (query->flags & QUERY_HAS_HIGH) != 0 ? high : NULL, high_len);
		tokens_finish(&list);
		keys = palloc(Max(list.count, 1) * sizeof(Datum));
		for (int i = 0; i < list.count; i++)
			keys[i] = Int32GetDatum((int32) list.values[i]);
		*n = list.count;
		PG_RETURN_POINTER(keys);
	}
	for (int part = 0; part < query->parts; part++)
	{
		query_part_tokens(&list, query, query_datum(query, &at));
		if (list.count == 0 && (query->flags & QUERY_ONE) != 0)
		{
			/* This part alone may match every row. */
			count = 0;
			break;
		}
		if (list.count == 0)
			continue;
		keys = keys == NULL ? palloc(list.count * sizeof(Datum))
							: repalloc(keys, (count + list.count) * sizeof(Datum));
		*groups = *groups == NULL ? palloc(list.count * sizeof(Pointer))
								  : repalloc(*groups, (count + list.count) * sizeof(Pointer));
		for (int i = 0; i < list.count; i++)
		{
			keys[count] = Int32GetDatum((int32) list.values[i]);
			(*groups)[count++] = (Pointer) (uintptr_t) (part + 1);
		}
	}
	if (count == 0 && (query->parts > 0 || (query->flags & QUERY_ONE) == 0))
		*mode = GIN_SEARCH_MODE_ALL;
	*n = count;
	PG_RETURN_POINTER(count == 0 ? NULL : keys);
}

PG_FUNCTION_INFO_V1(enc_gin_consistent);
/* GIN support 4: what may match; always rechecked, because tokens are short. */
Datum
enc_gin_consistent(PG_FUNCTION_ARGS)
{
	bool *check = (bool *) PG_GETARG_POINTER(0);
	SearchQuery *query = (SearchQuery *) PG_DETOAST_DATUM(PG_GETARG_DATUM(2));
	int32 n = PG_GETARG_INT32(3);
	Pointer *groups = (Pointer *) PG_GETARG_POINTER(4);

	StaticAssertStmt(sizeof(bool) == sizeof(GinTernaryValue) && GIN_TRUE == 1,
					 "a check is a ternary value");
	*(bool *) PG_GETARG_POINTER(5) = true;
	PG_RETURN_BOOL(query_consistent(query, (GinTernaryValue *) check, n, groups) != GIN_FALSE);
}

PG_FUNCTION_INFO_V1(enc_gin_triconsistent);
/* GIN support 6: the same while some tokens are not yet looked at. */
Datum
enc_gin_triconsistent(PG_FUNCTION_ARGS)
{
	GinTernaryValue *check = (GinTernaryValue *) PG_GETARG_POINTER(0);
	SearchQuery *query = (SearchQuery *) PG_DETOAST_DATUM(PG_GETARG_DATUM(2));
	int32 n = PG_GETARG_INT32(3);
	Pointer *groups = (Pointer *) PG_GETARG_POINTER(4);

	PG_RETURN_GIN_TERNARY_VALUE(query_consistent(query, check, n, groups));
}
