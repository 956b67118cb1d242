/*
 * Probes: what a query compares with, as a tag without ciphertext.  Trusts
 * context/ for whose tags they are; refuses to make any when nobody is active.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/base.h"
#include "context/context.h"
#include "keyring/keyring.h"
#include "search/catalog.h"
#include "search/probe.h"

/* What one call site remembers: the last argument and its probe. */
typedef struct ProbeMemo
{
	const PlainType *plain;
	uint64 generation;
	uint64 epoch; /* of the index secrets */
	int32 typmod;
	bool filled;
	size_t len;
	size_t capacity;
	uint8 *bytes;
	struct varlena *probe;
	uint64 array_generation;
	uint64 array_epoch;
	ArrayType *array; /* the last array argument, and its probes */
	ArrayType *array_probes;
	MemoryContext context;
	int16 element_length;
	bool element_by_value;
	char element_align;
} ProbeMemo;

const pg_uuid_t *
probe_org(void)
{
	const ContextIdentity *identity;

	base_require_preload();
	identity = context_current();
	if (identity == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_IMMIIQ_NO_IDENTITY),
				 errmsg("nobody is active in this transaction, so sealed columns cannot be searched"),
				 errhint(
					 "Set immiiq.token in this transaction first, with set_config('immiiq.token', $1, true) or immiiq.authenticate.")));
	return &identity->org;
}

struct varlena *
probe_make(const PlainType *plain, uint16 domain, uint8 flags, const uint8 *bytes, size_t len)
{
	struct varlena *result = palloc(VARHDRSZ + VALUE_PREFIX_BYTES);
	uint8 tag[ENVELOPE_TAG_BYTES];
	size_t n;

	search_make_tag(probe_org(), plain->code, domain, flags, bytes, len, tag);
	n = envelope_write_prefix(ENVELOPE_PROBE, plain->code, flags, domain, 0, tag,
							  (uint8 *) VARDATA(result));
	SET_VARSIZE(result, VARHDRSZ + n);
	return result;
}

struct varlena *
probe_from_value(const PlainType *plain, uint16 domain, uint8 flags, Datum value)
{
	uint8 prefix[VALUE_PREFIX_BYTES];
	Envelope env;
	const uint8 *buf;
	uint8 *bytes;
	size_t len;
	struct varlena *result;

	if (value_read_prefix(value, prefix, &env) && env.algorithm != ENVELOPE_UNSEALED &&
		env.type == plain->code && env.domain == domain &&
		(env.flags & ~ENVELOPE_TOKENS) == flags && env.tag != NULL)
	{
		result = palloc(VARHDRSZ + VALUE_PREFIX_BYTES);
		SET_VARSIZE(result,
					VARHDRSZ + envelope_write_prefix(ENVELOPE_PROBE, plain->code, flags, domain, 0,
													 env.tag, (uint8 *) VARDATA(result)));
		return result;
	}
	buf = value_read(value, &len, &env);
	if (env.type != plain->code || env.algorithm == ENVELOPE_PROBE)
		bytes = NULL;
	else
		bytes = value_open(buf, &env, probe_org(), &len);
	if (bytes == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_IMMIIQ_BINDING),
				 errmsg(
					 "value was sealed for another organisation, type or domain, so it cannot be searched for")));
	result = probe_make(plain, domain, flags, bytes, len);
	crypto_wipe(bytes, len);
	pfree(bytes);
	return result;
}

static void
probe_forget(ProbeMemo *memo)
{
	memo->filled = false;
	if (memo->array != NULL)
	{
		crypto_wipe(memo->array, VARSIZE(memo->array));
		pfree(memo->array);
		pfree(memo->array_probes);
		memo->array = NULL;
		memo->array_probes = NULL;
	}
}

static void *
probe_copy(MemoryContext context, const void *value)
{
	return memcpy(MemoryContextAllocHuge(context, VARSIZE(value)), value, VARSIZE(value));
}

/* The call site's memory; found once by the function's result type. */
static ProbeMemo *
probe_memo(FunctionCallInfo fcinfo)
{
	ProbeMemo *memo = fcinfo->flinfo->fn_extra;
	int32 typmod = PG_GETARG_INT32(1);

	if (memo == NULL)
	{
		Oid result = get_func_rettype(fcinfo->flinfo->fn_oid);
		const CatalogType *type = catalog_type(result);
		Oid args[2];
		Oid *declared;
		int nargs;
		Oid element;

		if (type == NULL)
			type = catalog_array_type(result);
		if (type == NULL)
			elog(ERROR, "probe function of an unknown type");
		memo = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(ProbeMemo));
		memo->plain = type->plain;
		memo->context = fcinfo->flinfo->fn_mcxt;
		(void) get_func_signature(fcinfo->flinfo->fn_oid, &declared, &nargs);
		args[0] = declared[0];
		element = get_element_type(args[0]);
		get_typlenbyvalalign(OidIsValid(element) ? element : args[0], &memo->element_length,
							 &memo->element_by_value, &memo->element_align);
		fcinfo->flinfo->fn_extra = memo;
	}
	if (!search_typmod_valid(typmod, memo->plain->words) || (typmod & SEARCH_EQUALITY) == 0)
		ereport(ERROR, (errcode(ERRCODE_IMMIIQ_SEALED),
						errmsg("probe for a column that was not declared for search")));
	if (memo->typmod != typmod)
		probe_forget(memo);
	memo->typmod = typmod;
	return memo;
}

/* A probe of canonical plaintext, remembered for the next call with the same. */
static struct varlena *
probe_remember(ProbeMemo *memo, const uint8 *bytes, size_t len)
{
	struct varlena *result;
	uint64 generation;
	uint64 epoch;

	/* Raises when nobody is active, remembered or not. */
	(void) probe_org();
	generation = context_generation();
	epoch = keyring_tag_epoch();
	if (memo->filled && memo->generation == generation && memo->epoch == epoch &&
		memo->len == len && memcmp(memo->bytes, bytes, len) == 0)
	{
		result = palloc(VARSIZE(memo->probe));
		memcpy(result, memo->probe, VARSIZE(memo->probe));
		return result;
	}

	result = probe_make(memo->plain, SearchTypmodDomain(memo->typmod),
						SearchTypmodTagFlags(memo->typmod), bytes, len);
	memo->filled = false;
	if (memo->bytes == NULL || memo->capacity < len)
	{
		if (memo->bytes != NULL)
		{
			crypto_wipe(memo->bytes, memo->capacity);
			pfree(memo->bytes);
			memo->bytes = NULL;
		}
		memo->bytes = MemoryContextAllocHuge(memo->context, len + 32);
		memo->capacity = len + 32;
	}
	if (memo->probe == NULL)
		memo->probe = MemoryContextAlloc(memo->context, VARHDRSZ + VALUE_PREFIX_BYTES);
	memcpy(memo->bytes, bytes, len);
	memcpy(memo->probe, result, VARSIZE(result));
	memo->len = len;
	memo->generation = generation;
	memo->epoch = epoch;
	memo->filled = true;
	return result;
}

static Datum
probe_from_text(ProbeMemo *memo, Datum value)
{
	struct varlena *v = PG_DETOAST_DATUM_PACKED(value);
	size_t len;
	uint8 *bytes = memo->plain->from_text(VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v), &len);
	struct varlena *probe = probe_remember(memo, bytes, len);

	pfree(bytes);
	return PointerGetDatum(probe);
}

static Datum
probe_from_plain(ProbeMemo *memo, Datum value)
{
	size_t len;
	const uint8 *bytes = memo->plain->from_datum(value, &len);

	return PointerGetDatum(probe_remember(memo, bytes, len));
}

static Datum
probe_from_base(ProbeMemo *memo, Datum value)
{
	return PointerGetDatum(probe_from_value(memo->plain, SearchTypmodDomain(memo->typmod),
											SearchTypmodTagFlags(memo->typmod), value));
}

/* Applies one of the above to every element; NULL elements stay NULL. */
static Datum
probe_array(FunctionCallInfo fcinfo, Datum (*probe)(ProbeMemo *memo, Datum value))
{
	ProbeMemo *memo = probe_memo(fcinfo);
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(0);
	const CatalogType *type = catalog_type_by_code(memo->plain->code);
	Datum *values;
	bool *nulls;
	int n;
	ArrayType *result;
	uint64 epoch;

	if (type == NULL)
		elog(ERROR, "probe function of an unknown type");
	/* An empty list raises as any other does when nobody is active. */
	if (probe != probe_from_base)
		(void) probe_org();
	epoch = keyring_tag_epoch();
	if (memo->array != NULL && memo->array_generation == context_generation() &&
		memo->array_epoch == epoch && VARSIZE(memo->array) == VARSIZE(array) &&
		memcmp(memo->array, array, VARSIZE(array)) == 0)
		return PointerGetDatum(probe_copy(CurrentMemoryContext, memo->array_probes));

	deconstruct_array(array, ARR_ELEMTYPE(array), memo->element_length, memo->element_by_value,
					  memo->element_align, &values, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (!nulls[i])
			values[i] = probe(memo, values[i]);
	}
	result = construct_md_array(values, nulls, ARR_NDIM(array), ARR_DIMS(array), ARR_LBOUND(array),
								type->base, -1, false, TYPALIGN_INT);
	probe_forget(memo);
	memo->array_probes = probe_copy(memo->context, result);
	memo->array = probe_copy(memo->context, array);
	memo->array_generation = context_generation();
	memo->array_epoch = epoch;
	return PointerGetDatum(result);
}

PG_FUNCTION_INFO_V1(enc_probe_text);
/* enc_text_probe(text, int4) → enc_text_base: IQ011 when nobody is active; the plain type's SQLSTATE for unreadable text. */
Datum
enc_probe_text(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(probe_from_text(probe_memo(fcinfo), PG_GETARG_DATUM(0)));
}

PG_FUNCTION_INFO_V1(enc_probe_plain);
/* enc_date_probe(date, int4) → enc_date_base: IQ011 when nobody is active. */
Datum
enc_probe_plain(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(probe_from_plain(probe_memo(fcinfo), PG_GETARG_DATUM(0)));
}

PG_FUNCTION_INFO_V1(enc_probe_base);
/* enc_text_probe(enc_text_base, int4) → enc_text_base: a value's own tag where it fits; else IQ011, IQ032 as opening needs. */
Datum
enc_probe_base(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(probe_from_base(probe_memo(fcinfo), PG_GETARG_DATUM(0)));
}

PG_FUNCTION_INFO_V1(enc_probe_text_array);
/* enc_text_probe(text[], int4) → enc_text_base[]. */
Datum
enc_probe_text_array(PG_FUNCTION_ARGS)
{
	return probe_array(fcinfo, probe_from_text);
}

PG_FUNCTION_INFO_V1(enc_probe_plain_array);
/* enc_date_probe(date[], int4) → enc_date_base[]. */
Datum
enc_probe_plain_array(PG_FUNCTION_ARGS)
{
	return probe_array(fcinfo, probe_from_plain);
}

PG_FUNCTION_INFO_V1(enc_probe_base_array);
/* enc_text_probe(enc_text_base[], int4) → enc_text_base[]. */
Datum
enc_probe_base_array(PG_FUNCTION_ARGS)
{
	return probe_array(fcinfo, probe_from_base);
}
