/*
 * Input, output and casts of the sealed column types.  Trusts context/ for who
 * is asking; gives plaintext to whom a value belongs and armour to all others.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "base/base.h"
#include "context/context.h"
#include "journal/opened.h"
#include "keyring/keyring.h"
#include "search/catalog.h"
#include "search/search.h"
#include "stat/stat.h"
#include "types/seal.h"
#include "types/types.h"

#define TYPES_JSONB_WIRE_VERSION 1
#define TYPES_ARMOUR_BYTES		 (sizeof(ENVELOPE_ARMOUR_PREFIX) - 1)

/* How a session sees values that are its organisation's. */
typedef enum TypesOutput
{
	TYPES_OUTPUT_AUTO, /* as plaintext */
	TYPES_OUTPUT_MASK, /* the last characters */
	TYPES_OUTPUT_ENVELOPE
} TypesOutput;

static const struct config_enum_entry types_outputs[] = {
	{"auto", TYPES_OUTPUT_AUTO, false},
	{"mask", TYPES_OUTPUT_MASK, false},
	{"envelope", TYPES_OUTPUT_ENVELOPE, false},
	{NULL, 0, false},
};

static int types_output_setting = TYPES_OUTPUT_AUTO;
static bool types_require_reveal = false;
static TypesRevealCheck types_reveal_check = NULL;

void
types_init(void)
{
	DefineCustomEnumVariable("immiiq.output", "How sealed values are shown to whom they belong to.",
							 NULL, &types_output_setting, TYPES_OUTPUT_AUTO, types_outputs,
							 PGC_USERSET, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomBoolVariable("immiiq.require_reveal",
							 "Shows masks to members without the permission reveal.", NULL,
							 &types_require_reveal, false, PGC_SUSET, GUC_NOT_IN_SAMPLE, NULL, NULL,
							 NULL);
}

void
types_set_reveal_check(TypesRevealCheck check)
{
	types_reveal_check = check;
}

/* What the session asks for, or less: once for whoever is active. */
static TypesOutput
types_output(const Envelope *env)
{
	static uint64 generation = 0;
	static bool known = false;
	static bool reveals = false;

	/* What nobody has sealed yet is the session's own. */
	if (env->algorithm != ENVELOPE_SEALED)
		return TYPES_OUTPUT_AUTO;
	if (!types_require_reveal || types_output_setting != TYPES_OUTPUT_AUTO ||
		context_current() == NULL)
		return types_output_setting;
	if (!known || generation != context_generation())
	{
		known = false;
		reveals = types_reveal_check != NULL && types_reveal_check();
		generation = context_generation();
		known = true;
	}
	return reveals ? TYPES_OUTPUT_AUTO : TYPES_OUTPUT_MASK;
}

/* The last characters of text or an integer, at most four and at most a third; nothing of other types. Wipes text. */
static char *
types_mask(uint8 type, char *text)
{
	int len = (int) strlen(text);
	int shown = 0;
	int at = 0;
	char *result;

	if (type == ENVELOPE_TYPE_TEXT || type == ENVELOPE_TYPE_INT8)
	{
		int characters = pg_mbstrlen_with_len(text, len);

		shown = Min(4, characters / 3);
		at = pg_mbcharcliplen(text, len, characters - shown);
	}
	result = shown > 0 ? psprintf("***%s", text + at) : pstrdup("***");
	crypto_wipe(text, len);
	pfree(text);
	return result;
}

static bool
types_is_armour(const char *text, size_t len)
{
	return len >= TYPES_ARMOUR_BYTES &&
		   memcmp(text, ENVELOPE_ARMOUR_PREFIX, TYPES_ARMOUR_BYTES) == 0;
}

/* Canonical plaintext as a value: sealed where the modifier is known, else on its way to a column or an operator. */
static struct varlena *
types_from_plain(const PlainType *plain, const uint8 *bytes, size_t len, int32 typmod)
{
	return typmod >= 0 ? seal_plain(plain, bytes, len, typmod)
					   : value_unsealed(plain->code, bytes, len);
}

/* Text as a value: plaintext while somebody is active, otherwise armour only, verbatim. */
static struct varlena *
types_from_text(const PlainType *plain, const char *text, size_t len, int32 typmod)
{
	uint8 *bytes;
	size_t n;
	struct varlena *result;

	if (types_is_armour(text, len) && context_current() == NULL)
		return seal_from_armour(plain, text, len, typmod);
	/* Text is its own canonical form. */
	if (plain->code == ENVELOPE_TYPE_TEXT)
		return types_from_plain(plain, (const uint8 *) text, len, typmod);
	bytes = plain->from_text(text, len, &n);
	result = types_from_plain(plain, bytes, n, typmod);
	crypto_wipe(bytes, n);
	pfree(bytes);
	return result;
}

/* Plaintext of a value for who is active, palloc'd; NULL when it is not theirs to see. */
static uint8 *
types_open_active(const uint8 *buf, const Envelope *env, size_t *len)
{
	const ContextIdentity *identity;
	uint8 *bytes;

	if (env->algorithm == ENVELOPE_UNSEALED)
		return value_open(buf, env, NULL, len);
	identity = context_current();
	if (identity == NULL)
		return NULL;
	bytes = value_open(buf, env, &identity->org, len);
	if (bytes != NULL)
	{
		stat_add(STAT_OPENED, 1);
		opened_note(identity, env->type, env->domain);
	}
	return bytes;
}

/* The same for text and bytea, as a value of the plain type. */
static struct varlena *
types_open_varlena(const uint8 *buf, const Envelope *env)
{
	const ContextIdentity *identity;
	struct varlena *result;

	if (env->algorithm == ENVELOPE_UNSEALED)
		return value_open_varlena(buf, env, NULL);
	identity = context_current();
	if (identity == NULL)
		return NULL;
	result = value_open_varlena(buf, env, &identity->org);
	if (result != NULL)
	{
		stat_add(STAT_OPENED, 1);
		opened_note(identity, env->type, env->domain);
	}
	return result;
}

/* Plaintext or armour. */
static char *
types_to_text(Datum value)
{
	Envelope env;
	size_t len;
	const uint8 *buf = value_read(value, &len, &env);
	TypesOutput output = types_output(&env);
	uint8 *bytes;
	size_t n;
	char *text;

	if (env.algorithm == ENVELOPE_PROBE)
		return pstrdup("(probe)");
	bytes = output != TYPES_OUTPUT_ENVELOPE ? types_open_active(buf, &env, &n) : NULL;
	if (bytes == NULL)
		return seal_to_armour(buf, len);
	text = plain_type(env.type)->to_text(bytes, n, false);
	crypto_wipe(bytes, n);
	pfree(bytes);
	return output == TYPES_OUTPUT_MASK ? types_mask(env.type, text) : text;
}

/*
 * The plain value, for casts; ERROR IQ011 when nobody is active, IQ032 when the
 * value is another organisation's, 42501 when this session may not see it whole.
 */
static Datum
types_to_plain(Datum value)
{
	Envelope env;
	size_t len;
	const uint8 *buf = value_read(value, &len, &env);
	uint8 *bytes = env.algorithm == ENVELOPE_PROBE ? NULL : types_open_active(buf, &env, &len);
	Datum result;

	if (bytes == NULL)
	{
		(void) context_require();
		ereport(ERROR, (errcode(ERRCODE_IMMIIQ_BINDING),
						errmsg("value was sealed for another organisation, so it cannot be cast")));
	}
	if (types_output(&env) != TYPES_OUTPUT_AUTO)
	{
		crypto_wipe(bytes, len);
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("value is not shown whole in this session, so it cannot be cast"),
				 errhint("It takes the setting immiiq.output = auto, and the permission reveal.")));
	}
	result = plain_type(env.type)->to_datum(bytes, len);
	crypto_wipe(bytes, len);
	pfree(bytes);
	return result;
}

PG_FUNCTION_INFO_V1(enc_out);
/* enc → cstring: plaintext for a session of the organisation that owns the value, armour for all others (docs/format.md). */
Datum
enc_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(types_to_text(PG_GETARG_DATUM(0)));
}

PG_FUNCTION_INFO_V1(enc_send);
/* enc → bytea: the plain type's binary form for whom the value belongs to; the characters of the mask or armour else. */
Datum
enc_send(PG_FUNCTION_ARGS)
{
	Envelope env;
	size_t len;
	const uint8 *buf = value_read(PG_GETARG_DATUM(0), &len, &env);
	uint8 *bytes = env.algorithm == ENVELOPE_PROBE || types_output(&env) != TYPES_OUTPUT_AUTO
					   ? NULL
					   : types_open_active(buf, &env, &len);
	StringInfoData out;

	pq_begintypsend(&out);
	if (bytes == NULL)
	{
		char *text = types_to_text(PG_GETARG_DATUM(0));

		pq_sendtext(&out, text, strlen(text));
	}
	else if (env.type == ENVELOPE_TYPE_TEXT)
		pq_sendtext(&out, (const char *) bytes, len);
	else if (env.type == ENVELOPE_TYPE_JSONB)
	{
		pq_sendint8(&out, TYPES_JSONB_WIRE_VERSION);
		pq_sendtext(&out, (const char *) bytes, len);
	}
	else
		pq_sendbytes(&out, (const char *) bytes, len); /* canonical bytes are the binary form */
	if (bytes != NULL)
	{
		crypto_wipe(bytes, len);
		pfree(bytes);
	}
	PG_RETURN_BYTEA_P(pq_endtypsend(&out));
}

/* The whole message as armour when nobody is active and it looks like that; NULL otherwise. */
static struct varlena *
types_receive_armour(const PlainType *plain, StringInfo message, int32 typmod)
{
	const char *text = message->data + message->cursor;
	size_t len = message->len - message->cursor;
	struct varlena *result;

	if (len == TYPES_ARMOUR_BYTES || !types_is_armour(text, len) || context_current() != NULL)
		return NULL;
	result = seal_from_armour(plain, text, len, typmod);
	message->cursor = message->len;
	return result;
}

static struct varlena *
types_receive(const PlainType *plain, StringInfo message, int32 typmod)
{
	struct varlena *result = types_receive_armour(plain, message, typmod);
	uint8 *bytes;
	size_t n;

	if (result != NULL)
		return result;
	bytes = plain->from_binary(message, &n);
	result = types_from_plain(plain, bytes, n, typmod);
	crypto_wipe(bytes, n);
	pfree(bytes);
	return result;
}

/*
 * What each type needs under its own name: input (cstring, oid, int4), binary
 * input (internal, oid, int4), and the casts to itself (enc, int4, bool) and
 * from text (text, int4, bool).
 * ERROR IQ011 when nobody is active and something would have to be sealed;
 * IQ031 for malformed armour; IQ032 for a value that is another's; the plain
 * type's SQLSTATE, without the value, for what it cannot read.
 */
#define TYPES_FUNCTIONS(name, code)                                                                \
	Datum name##_in(PG_FUNCTION_ARGS)                                                              \
	{                                                                                              \
		const char *text = PG_GETARG_CSTRING(0);                                                   \
		PG_RETURN_POINTER(                                                                         \
			types_from_text(plain_type(code), text, strlen(text), PG_GETARG_INT32(2)));            \
	}                                                                                              \
	Datum name##_recv(PG_FUNCTION_ARGS)                                                            \
	{                                                                                              \
		PG_RETURN_POINTER(types_receive(plain_type(code), (StringInfo) PG_GETARG_POINTER(0),       \
										PG_GETARG_INT32(2)));                                      \
	}                                                                                              \
	Datum name##_coerce(PG_FUNCTION_ARGS)                                                          \
	{                                                                                              \
		if (PG_GETARG_INT32(1) < 0)                                                                \
			PG_RETURN_DATUM(PG_GETARG_DATUM(0));                                                   \
		PG_RETURN_POINTER(seal_value(plain_type(code), PG_GETARG_DATUM(0), PG_GETARG_INT32(1)));   \
	}                                                                                              \
	Datum name##_from_text(PG_FUNCTION_ARGS)                                                       \
	{                                                                                              \
		text *v = PG_GETARG_TEXT_PP(0);                                                            \
		PG_RETURN_POINTER(types_from_text(plain_type(code), VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v),  \
										  PG_GETARG_INT32(1)));                                    \
	}                                                                                              \
	extern int no_such_symbol

PG_FUNCTION_INFO_V1(enc_text_in);
PG_FUNCTION_INFO_V1(enc_text_recv);
PG_FUNCTION_INFO_V1(enc_text_coerce);
PG_FUNCTION_INFO_V1(enc_text_from_text);
TYPES_FUNCTIONS(enc_text, ENVELOPE_TYPE_TEXT);
PG_FUNCTION_INFO_V1(enc_bytea_in);
PG_FUNCTION_INFO_V1(enc_bytea_recv);
PG_FUNCTION_INFO_V1(enc_bytea_coerce);
PG_FUNCTION_INFO_V1(enc_bytea_from_text);
TYPES_FUNCTIONS(enc_bytea, ENVELOPE_TYPE_BYTEA);
PG_FUNCTION_INFO_V1(enc_int8_in);
PG_FUNCTION_INFO_V1(enc_int8_recv);
PG_FUNCTION_INFO_V1(enc_int8_coerce);
PG_FUNCTION_INFO_V1(enc_int8_from_text);
TYPES_FUNCTIONS(enc_int8, ENVELOPE_TYPE_INT8);
PG_FUNCTION_INFO_V1(enc_numeric_in);
PG_FUNCTION_INFO_V1(enc_numeric_recv);
PG_FUNCTION_INFO_V1(enc_numeric_coerce);
PG_FUNCTION_INFO_V1(enc_numeric_from_text);
TYPES_FUNCTIONS(enc_numeric, ENVELOPE_TYPE_NUMERIC);
PG_FUNCTION_INFO_V1(enc_date_in);
PG_FUNCTION_INFO_V1(enc_date_recv);
PG_FUNCTION_INFO_V1(enc_date_coerce);
PG_FUNCTION_INFO_V1(enc_date_from_text);
TYPES_FUNCTIONS(enc_date, ENVELOPE_TYPE_DATE);
PG_FUNCTION_INFO_V1(enc_timestamptz_in);
PG_FUNCTION_INFO_V1(enc_timestamptz_recv);
PG_FUNCTION_INFO_V1(enc_timestamptz_coerce);
PG_FUNCTION_INFO_V1(enc_timestamptz_from_text);
TYPES_FUNCTIONS(enc_timestamptz, ENVELOPE_TYPE_TIMESTAMPTZ);
PG_FUNCTION_INFO_V1(enc_jsonb_in);
PG_FUNCTION_INFO_V1(enc_jsonb_recv);
PG_FUNCTION_INFO_V1(enc_jsonb_coerce);
PG_FUNCTION_INFO_V1(enc_jsonb_from_text);
TYPES_FUNCTIONS(enc_jsonb, ENVELOPE_TYPE_JSONB);

/* The cast from a plain type that is not text. */
#define TYPES_FROM_PLAIN(name, code)                                                               \
	Datum name##_from_plain(PG_FUNCTION_ARGS)                                                      \
	{                                                                                              \
		const PlainType *plain = plain_type(code);                                                 \
		size_t n;                                                                                  \
		const uint8 *bytes = plain->from_datum(PG_GETARG_DATUM(0), &n);                            \
		PG_RETURN_POINTER(types_from_plain(plain, bytes, n, PG_GETARG_INT32(1)));                  \
	}                                                                                              \
	extern int no_such_symbol

PG_FUNCTION_INFO_V1(enc_bytea_from_plain);
TYPES_FROM_PLAIN(enc_bytea, ENVELOPE_TYPE_BYTEA);
PG_FUNCTION_INFO_V1(enc_int8_from_plain);
TYPES_FROM_PLAIN(enc_int8, ENVELOPE_TYPE_INT8);
PG_FUNCTION_INFO_V1(enc_numeric_from_plain);
TYPES_FROM_PLAIN(enc_numeric, ENVELOPE_TYPE_NUMERIC);
PG_FUNCTION_INFO_V1(enc_date_from_plain);
TYPES_FROM_PLAIN(enc_date, ENVELOPE_TYPE_DATE);
PG_FUNCTION_INFO_V1(enc_timestamptz_from_plain);
TYPES_FROM_PLAIN(enc_timestamptz, ENVELOPE_TYPE_TIMESTAMPTZ);
PG_FUNCTION_INFO_V1(enc_jsonb_from_plain);
TYPES_FROM_PLAIN(enc_jsonb, ENVELOPE_TYPE_JSONB);

/* The cast from a type that the plain type takes by assignment, by way of that cast's own function. */
#define TYPES_FROM_OTHER(name, code, cast)                                                         \
	Datum name(PG_FUNCTION_ARGS)                                                                   \
	{                                                                                              \
		const PlainType *plain = plain_type(code);                                                 \
		size_t n;                                                                                  \
		const uint8 *bytes = plain->from_datum(DirectFunctionCall1(cast, PG_GETARG_DATUM(0)), &n); \
		PG_RETURN_POINTER(types_from_plain(plain, bytes, n, PG_GETARG_INT32(1)));                  \
	}                                                                                              \
	extern int no_such_symbol

PG_FUNCTION_INFO_V1(enc_int8_from_int2);
TYPES_FROM_OTHER(enc_int8_from_int2, ENVELOPE_TYPE_INT8, int28);
PG_FUNCTION_INFO_V1(enc_int8_from_int4);
TYPES_FROM_OTHER(enc_int8_from_int4, ENVELOPE_TYPE_INT8, int48);
PG_FUNCTION_INFO_V1(enc_numeric_from_int2);
TYPES_FROM_OTHER(enc_numeric_from_int2, ENVELOPE_TYPE_NUMERIC, int2_numeric);
PG_FUNCTION_INFO_V1(enc_numeric_from_int4);
TYPES_FROM_OTHER(enc_numeric_from_int4, ENVELOPE_TYPE_NUMERIC, int4_numeric);
PG_FUNCTION_INFO_V1(enc_numeric_from_int8);
TYPES_FROM_OTHER(enc_numeric_from_int8, ENVELOPE_TYPE_NUMERIC, int8_numeric);
PG_FUNCTION_INFO_V1(enc_timestamptz_from_date);
TYPES_FROM_OTHER(enc_timestamptz_from_date, ENVELOPE_TYPE_TIMESTAMPTZ, date_timestamptz);
PG_FUNCTION_INFO_V1(enc_timestamptz_from_timestamp);
TYPES_FROM_OTHER(enc_timestamptz_from_timestamp, ENVELOPE_TYPE_TIMESTAMPTZ, timestamp_timestamptz);

PG_FUNCTION_INFO_V1(enc_to_text);
/* enc → text: as output gives it. */
Datum
enc_to_text(PG_FUNCTION_ARGS)
{
	Envelope env;
	size_t len;
	const uint8 *buf = value_read(PG_GETARG_DATUM(0), &len, &env);

	if (env.type == ENVELOPE_TYPE_TEXT && env.algorithm != ENVELOPE_PROBE &&
		types_output(&env) == TYPES_OUTPUT_AUTO)
	{
		/* The plaintext as it is. */
		struct varlena *result = types_open_varlena(buf, &env);

		if (result != NULL)
			PG_RETURN_TEXT_P(result);
	}
	PG_RETURN_TEXT_P(cstring_to_text(types_to_text(PG_GETARG_DATUM(0))));
}

PG_FUNCTION_INFO_V1(enc_to_plain);
/* enc → plain type: IQ011 when nobody is active, IQ032 when the value is another organisation's. */
Datum
enc_to_plain(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(types_to_plain(PG_GETARG_DATUM(0)));
}

/* ---- for other capabilities ---- */

/* The enc type that a type is, is a domain over, or is an array of either. */
static const CatalogType *
types_of(Oid typid, int32 *typmod, bool *is_array)
{
	const CatalogType *type;
	Oid element;

	*is_array = false;
	if (!catalog_present())
		return NULL;
	if ((type = catalog_type(typid)) != NULL)
		return type;
	typid = getBaseTypeAndTypmod(typid, typmod);
	if ((type = catalog_type(typid)) != NULL)
		return type;
	element = get_element_type(typid);
	if (!OidIsValid(element))
		return NULL;
	*is_array = true;
	if ((type = catalog_type(element)) != NULL)
		return type;
	return catalog_type(getBaseTypeAndTypmod(element, typmod));
}

bool
types_is_sealed(Oid typid)
{
	int32 typmod = -1;
	bool is_array;

	return types_of(typid, &typmod, &is_array) != NULL;
}

/* Checks one value as types_check_stored does. */
static void
types_check_one(const CatalogType *type, Datum value, int32 typmod, const pg_uuid_t *org)
{
	uint8 prefix[VALUE_PREFIX_BYTES];
	Envelope env;

	if (!value_read_prefix(value, prefix, &env) || env.algorithm != ENVELOPE_SEALED ||
		env.type != type->plain->code || (typmod >= 0 && !seal_fits(type->plain, &env, typmod)) ||
		!value_belongs(&env, org))
		ereport(ERROR, (errcode(ERRCODE_IMMIIQ_BINDING),
						errmsg("value is not sealed for the organisation and column of its row")));
}

void
types_check_stored(Datum value, Oid typid, int32 typmod, const pg_uuid_t *org)
{
	bool is_array;
	const CatalogType *type = types_of(typid, &typmod, &is_array);
	ArrayType *array;
	Datum *values;
	bool *nulls;
	int n;

	if (type == NULL)
		return;
	if (!is_array)
	{
		types_check_one(type, value, typmod, org);
		return;
	}
	array = DatumGetArrayTypeP(value);
	deconstruct_array(array, ARR_ELEMTYPE(array), -1, false, TYPALIGN_INT, &values, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (!nulls[i])
			types_check_one(type, values[i], typmod, org);
	}
}

/* One value as types_open gives it. */
static char *
types_open_one(Datum value, const pg_uuid_t *org)
{
	Envelope env;
	size_t len;
	const uint8 *buf = value_read(value, &len, &env);
	uint8 *bytes = env.algorithm == ENVELOPE_SEALED ? value_open(buf, &env, org, &len) : NULL;
	char *text;

	if (bytes == NULL)
	{
		(void) value_read(value, &len, &env);
		return seal_to_armour(buf, len);
	}
	text = plain_type(env.type)->to_text(bytes, len, true);
	crypto_wipe(bytes, len);
	pfree(bytes);
	return text;
}

char *
types_open(Datum value, Oid typid, const pg_uuid_t *org)
{
	int32 typmod = -1;
	bool is_array;
	const CatalogType *type = types_of(typid, &typmod, &is_array);
	ArrayType *array;
	ArrayType *texts;
	Datum *values;
	bool *nulls;
	int n;
	FmgrInfo output;

	if (type == NULL)
		elog(ERROR, "type %u is not sealed", typid);
	if (!is_array)
		return types_open_one(value, org);
	array = DatumGetArrayTypeP(value);
	deconstruct_array(array, ARR_ELEMTYPE(array), -1, false, TYPALIGN_INT, &values, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (!nulls[i])
			values[i] = PointerGetDatum(cstring_to_text(types_open_one(values[i], org)));
	}
	texts = construct_md_array(values, nulls, ARR_NDIM(array), ARR_DIMS(array), ARR_LBOUND(array),
							   TEXTOID, -1, false, TYPALIGN_INT);
	fmgr_info(F_ARRAY_OUT, &output);
	return OutputFunctionCall(&output, PointerGetDatum(texts));
}
