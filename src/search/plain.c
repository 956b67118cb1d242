/*
 * Canonical bytes of plain values.  Trusts the plain types' own input and
 * output; refuses bytes that are not canonical.  Messages never carry a value.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "envelope/envelope.h"
#include "search/plain.h"
#include "search/search.h"

#define DATE_BYTES 4
#define INT8_BYTES 8

/*
 * Calls one of a plain type's own input functions; its error keeps the SQLSTATE
 * and loses the value.
 */
static Datum
plain_call(PGFunction function, Datum arg, const char *type, const char *hint)
{
	MemoryContext context = CurrentMemoryContext;
	volatile Datum result = (Datum) 0;
	volatile int sqlstate = 0;

	PG_TRY();
	{
		result = DirectFunctionCall3(function, arg, ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		sqlstate = error->sqlerrcode;
		FreeErrorData(error);
		/* Only what the value itself did is told anew; nothing else may be swallowed. */
		if (ERRCODE_TO_CATEGORY(sqlstate) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
	if (sqlstate != 0)
		ereport(ERROR, (errcode(sqlstate), errmsg("value cannot be read as %s", type),
						hint != NULL ? errhint("%s", hint) : 0));
	return result;
}

/* The same with text that may not be terminated. */
static Datum
plain_call_text(PGFunction function, const char *text, size_t len, const char *type,
				const char *hint)
{
	char *copy = pnstrdup(text, len);
	Datum result = plain_call(function, CStringGetDatum(copy), type, hint);

	crypto_wipe(copy, len);
	pfree(copy);
	return result;
}

/* ERROR for plaintext that authenticates and yet is not of its type. */
static void
plain_malformed(const char *type)
{
	ereport(ERROR, (errcode(ERRCODE_IMMIIQ_ENVELOPE), errmsg("sealed %s is malformed", type)));
}

/* ---- text ---- */

static uint8 *
plain_text_from_text(const char *text, size_t len, size_t *out_len)
{
	uint8 *out = palloc(len + 1);

	memcpy(out, text, len);
	*out_len = len;
	return out;
}

static const uint8 *
plain_text_from_datum(Datum value, size_t *out_len)
{
	struct varlena *v = PG_DETOAST_DATUM_PACKED(value);

	*out_len = VARSIZE_ANY_EXHDR(v);
	return (const uint8 *) VARDATA_ANY(v);
}

static uint8 *
plain_text_from_binary(StringInfo message, size_t *out_len)
{
	int len;
	char *text = pq_getmsgtext(message, message->len - message->cursor, &len);

	*out_len = len;
	return (uint8 *) text;
}

static Datum
plain_text_to_datum(const uint8 *bytes, size_t len)
{
	return PointerGetDatum(cstring_to_text_with_len((const char *) bytes, len));
}

static char *
plain_text_to_text(const uint8 *bytes, size_t len, bool fixed)
{
	return pnstrdup((const char *) bytes, len);
}

/* ---- dates ---- */

static void
plain_date_write(DateADT date, uint8 *out)
{
	uint32 n = (uint32) date;

	out[0] = n >> 24;
	out[1] = n >> 16;
	out[2] = n >> 8;
	out[3] = n;
}

static DateADT
plain_date_read(const uint8 *bytes, size_t len)
{
	DateADT date;

	if (len != DATE_BYTES)
		plain_malformed("date");
	date = (DateADT) ((uint32) bytes[0] << 24 | (uint32) bytes[1] << 16 | (uint32) bytes[2] << 8 |
					  bytes[3]);
	if (!DATE_NOT_FINITE(date) && !IS_VALID_DATE(date))
		plain_malformed("date");
	return date;
}

static Datum
plain_date_call(PGFunction function, Datum arg)
{
	return plain_call(function, arg, "a date",
					  "Dates are written as YYYY-MM-DD, or as the setting DateStyle says.");
}

static uint8 *
plain_date_from_text(const char *text, size_t len, size_t *out_len)
{
	char *copy = pnstrdup(text, len);
	uint8 *out = palloc(DATE_BYTES);

	plain_date_write(DatumGetDateADT(plain_date_call(date_in, CStringGetDatum(copy))), out);
	pfree(copy);
	*out_len = DATE_BYTES;
	return out;
}

static const uint8 *
plain_date_from_datum(Datum value, size_t *out_len)
{
	uint8 *out = palloc(DATE_BYTES);

	plain_date_write(DatumGetDateADT(value), out);
	*out_len = DATE_BYTES;
	return out;
}

static uint8 *
plain_date_from_binary(StringInfo message, size_t *out_len)
{
	uint8 *out = palloc(DATE_BYTES);

	plain_date_write(DatumGetDateADT(plain_date_call(date_recv, PointerGetDatum(message))), out);
	*out_len = DATE_BYTES;
	return out;
}

static Datum
plain_date_to_datum(const uint8 *bytes, size_t len)
{
	return DateADTGetDatum(plain_date_read(bytes, len));
}

static char *
plain_date_to_text(const uint8 *bytes, size_t len, bool fixed)
{
	DateADT date = plain_date_read(bytes, len);
	struct pg_tm tm;
	char text[MAXDATELEN + 1];

	if (!fixed)
		return DatumGetCString(DirectFunctionCall1(date_out, DateADTGetDatum(date)));
	if (DATE_NOT_FINITE(date))
		EncodeSpecialDate(date, text);
	else
	{
		memset(&tm, 0, sizeof(tm));
		j2date(date + POSTGRES_EPOCH_JDATE, &tm.tm_year, &tm.tm_mon, &tm.tm_mday);
		EncodeDateOnly(&tm, USE_ISO_DATES, text);
	}
	return pstrdup(text);
}

static int
plain_date_compare(const uint8 *a, size_t a_len, const uint8 *b, size_t b_len)
{
	DateADT x = plain_date_read(a, a_len);
	DateADT y = plain_date_read(b, b_len);

	return x < y ? -1 : x > y;
}

/* ---- integers and timestamps: eight bytes, big-endian ---- */

static uint8 *
plain_int8_write(int64 n)
{
	uint8 *out = palloc(INT8_BYTES);
	uint64 word = pg_hton64((uint64) n);

	memcpy(out, &word, INT8_BYTES);
	return out;
}

static int64
plain_int8_read(const uint8 *bytes, size_t len)
{
	uint64 word;

	if (len != INT8_BYTES)
		plain_malformed("number");
	memcpy(&word, bytes, INT8_BYTES);
	return (int64) pg_ntoh64(word);
}

static uint8 *
plain_int8_from_text(const char *text, size_t len, size_t *out_len)
{
	*out_len = INT8_BYTES;
	return plain_int8_write(DatumGetInt64(plain_call_text(int8in, text, len, "an integer", NULL)));
}

static const uint8 *
plain_int8_from_datum(Datum value, size_t *out_len)
{
	*out_len = INT8_BYTES;
	return plain_int8_write(DatumGetInt64(value));
}

static uint8 *
plain_int8_from_binary(StringInfo message, size_t *out_len)
{
	*out_len = INT8_BYTES;
	return plain_int8_write(pq_getmsgint64(message));
}

static Datum
plain_int8_to_datum(const uint8 *bytes, size_t len)
{
	return Int64GetDatum(plain_int8_read(bytes, len));
}

static char *
plain_int8_to_text(const uint8 *bytes, size_t len, bool fixed)
{
	return psprintf(INT64_FORMAT, plain_int8_read(bytes, len));
}

static int
plain_int8_compare(const uint8 *a, size_t a_len, const uint8 *b, size_t b_len)
{
	int64 x = plain_int8_read(a, a_len);
	int64 y = plain_int8_read(b, b_len);

	return x < y ? -1 : x > y;
}

static Datum
plain_timestamptz_call(PGFunction function, Datum arg)
{
	return plain_call(function, arg, "a timestamp",
					  "Timestamps are written as YYYY-MM-DD HH:MM:SS+00, or as the setting DateStyle says.");
}

static uint8 *
plain_timestamptz_from_text(const char *text, size_t len, size_t *out_len)
{
	char *copy = pnstrdup(text, len);
	TimestampTz value =
		DatumGetTimestampTz(plain_timestamptz_call(timestamptz_in, CStringGetDatum(copy)));

	pfree(copy);
	*out_len = INT8_BYTES;
	return plain_int8_write(value);
}

static uint8 *
plain_timestamptz_from_binary(StringInfo message, size_t *out_len)
{
	*out_len = INT8_BYTES;
	return plain_int8_write(
		DatumGetTimestampTz(plain_timestamptz_call(timestamptz_recv, PointerGetDatum(message))));
}

static TimestampTz
plain_timestamptz_read(const uint8 *bytes, size_t len)
{
	TimestampTz value = plain_int8_read(bytes, len);

	if (!TIMESTAMP_NOT_FINITE(value) && !IS_VALID_TIMESTAMP(value))
		plain_malformed("timestamp");
	return value;
}

static Datum
plain_timestamptz_to_datum(const uint8 *bytes, size_t len)
{
	return TimestampTzGetDatum(plain_timestamptz_read(bytes, len));
}

static char *
plain_timestamptz_to_text(const uint8 *bytes, size_t len, bool fixed)
{
	TimestampTz value = plain_timestamptz_read(bytes, len);
	struct pg_tm tm;
	fsec_t fsec;
	char text[MAXDATELEN + 1];

	if (!fixed)
		return DatumGetCString(DirectFunctionCall1(timestamptz_out, TimestampTzGetDatum(value)));
	if (TIMESTAMP_NOT_FINITE(value))
		EncodeSpecialTimestamp(value, text);
	else if (timestamp2tm(value, NULL, &tm, &fsec, NULL, NULL) == 0)
		EncodeDateTime(&tm, fsec, true, 0, NULL, USE_ISO_DATES, text);
	else
		plain_malformed("timestamp");
	return pstrdup(text);
}

/* ---- numbers: what numeric_send gives ---- */

static uint8 *
plain_numeric_bytes(Datum value, size_t *out_len)
{
	bytea *sent = DatumGetByteaP(DirectFunctionCall1(numeric_send, value));

	*out_len = VARSIZE_ANY_EXHDR(sent);
	/* Moved to the front, so that it is freed as any other. */
	return memmove(sent, VARDATA_ANY(sent), *out_len);
}

static uint8 *
plain_numeric_from_text(const char *text, size_t len, size_t *out_len)
{
	return plain_numeric_bytes(plain_call_text(numeric_in, text, len, "a number", NULL), out_len);
}

static const uint8 *
plain_numeric_from_datum(Datum value, size_t *out_len)
{
	return plain_numeric_bytes(value, out_len);
}

static uint8 *
plain_numeric_from_binary(StringInfo message, size_t *out_len)
{
	return plain_numeric_bytes(plain_call(numeric_recv, PointerGetDatum(message), "a number", NULL),
							   out_len);
}

static Datum
plain_numeric_to_datum(const uint8 *bytes, size_t len)
{
	StringInfoData message;

	message.data = unconstify(char *, (const char *) bytes);
	message.len = (int) len;
	message.maxlen = (int) len;
	message.cursor = 0;
	return DirectFunctionCall3(numeric_recv, PointerGetDatum(&message),
							   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
}

static char *
plain_numeric_to_text(const uint8 *bytes, size_t len, bool fixed)
{
	return DatumGetCString(DirectFunctionCall1(numeric_out, plain_numeric_to_datum(bytes, len)));
}

static int
plain_numeric_compare(const uint8 *a, size_t a_len, const uint8 *b, size_t b_len)
{
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, plain_numeric_to_datum(a, a_len),
											 plain_numeric_to_datum(b, b_len)));
}

/* ---- bytes ---- */

static uint8 *
plain_bytea_from_text(const char *text, size_t len, size_t *out_len)
{
	bytea *value = DatumGetByteaPP(plain_call_text(byteain, text, len, "bytea", NULL));

	*out_len = VARSIZE_ANY_EXHDR(value);
	return memmove(value, VARDATA_ANY(value), *out_len);
}

static uint8 *
plain_bytea_from_binary(StringInfo message, size_t *out_len)
{
	size_t len = message->len - message->cursor;
	uint8 *out = palloc(len + 1);

	pq_copymsgbytes(message, (char *) out, (int) len);
	*out_len = len;
	return out;
}

static char *
plain_bytea_to_text(const uint8 *bytes, size_t len, bool fixed)
{
	char *text;

	if (!fixed)
		return DatumGetCString(DirectFunctionCall1(byteaout, plain_text_to_datum(bytes, len)));
	text = palloc(2 * len + 3);
	text[0] = '\\';
	text[1] = 'x';
	text[2 + hex_encode((const char *) bytes, len, text + 2)] = '\0';
	return text;
}

/* ---- jsonb: as text, keys in jsonb's order ---- */

static uint8 *
plain_jsonb_bytes(Datum value, size_t *out_len)
{
	Jsonb *json = DatumGetJsonbP(value);
	char *text = JsonbToCString(NULL, &json->root, VARSIZE(json));

	*out_len = strlen(text);
	return (uint8 *) text;
}

static uint8 *
plain_jsonb_from_text(const char *text, size_t len, size_t *out_len)
{
	return plain_jsonb_bytes(plain_call_text(jsonb_in, text, len, "json", NULL), out_len);
}

static const uint8 *
plain_jsonb_from_datum(Datum value, size_t *out_len)
{
	return plain_jsonb_bytes(value, out_len);
}

static uint8 *
plain_jsonb_from_binary(StringInfo message, size_t *out_len)
{
	return plain_jsonb_bytes(plain_call(jsonb_recv, PointerGetDatum(message), "json", NULL),
							 out_len);
}

static Datum
plain_jsonb_to_datum(const uint8 *bytes, size_t len)
{
	return plain_call_text(jsonb_in, (const char *) bytes, len, "json", NULL);
}

static const PlainType plain_types[] = {
	{ENVELOPE_TYPE_TEXT, "enc_text", "enc_text_base", TEXTOID,
	 SEARCH_EQUALITY | SEARCH_FOLD | SEARCH_PREFIX | SEARCH_MATCH, plain_text_from_text,
	 plain_text_from_datum, plain_text_from_binary, plain_text_to_datum, NULL, plain_text_to_text},
	{ENVELOPE_TYPE_DATE, "enc_date", "enc_date_base", DATEOID, SEARCH_EQUALITY | SEARCH_RANGE,
	 plain_date_from_text, plain_date_from_datum, plain_date_from_binary, plain_date_to_datum,
	 plain_date_compare, plain_date_to_text},
	{ENVELOPE_TYPE_BYTEA, "enc_bytea", "enc_bytea_base", BYTEAOID, SEARCH_EQUALITY,
	 plain_bytea_from_text, plain_text_from_datum, plain_bytea_from_binary, plain_text_to_datum,
	 NULL, plain_bytea_to_text},
	{ENVELOPE_TYPE_INT8, "enc_int8", "enc_int8_base", INT8OID, SEARCH_EQUALITY | SEARCH_RANGE,
	 plain_int8_from_text, plain_int8_from_datum, plain_int8_from_binary, plain_int8_to_datum,
	 plain_int8_compare, plain_int8_to_text},
	{ENVELOPE_TYPE_NUMERIC, "enc_numeric", "enc_numeric_base", NUMERICOID,
	 SEARCH_EQUALITY | SEARCH_RANGE, plain_numeric_from_text, plain_numeric_from_datum,
	 plain_numeric_from_binary, plain_numeric_to_datum, plain_numeric_compare, plain_numeric_to_text},
	{ENVELOPE_TYPE_TIMESTAMPTZ, "enc_timestamptz", "enc_timestamptz_base", TIMESTAMPTZOID,
	 SEARCH_EQUALITY | SEARCH_RANGE, plain_timestamptz_from_text, plain_int8_from_datum,
	 plain_timestamptz_from_binary, plain_timestamptz_to_datum, plain_int8_compare,
	 plain_timestamptz_to_text},
	{ENVELOPE_TYPE_JSONB, "enc_jsonb", "enc_jsonb_base", JSONBOID, SEARCH_CONTAINS,
	 plain_jsonb_from_text, plain_jsonb_from_datum, plain_jsonb_from_binary, plain_jsonb_to_datum,
	 NULL, plain_text_to_text},
};

const PlainType *
plain_type_at(int i)
{
	return i >= 0 && i < lengthof(plain_types) ? &plain_types[i] : NULL;
}

const PlainType *
plain_type(uint8 code)
{
	for (int i = 0; i < lengthof(plain_types); i++)
	{
		if (plain_types[i].code == code)
			return &plain_types[i];
	}
	ereport(ERROR, (errcode(ERRCODE_IMMIIQ_ENVELOPE),
					errmsg("sealed value is of a type that this version does not know")));
	return NULL; /* keep the compiler quiet */
}
