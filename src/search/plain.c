/*
 * Canonical bytes of plain values.  Trusts the plain types' own input and
 * output; refuses bytes that are not canonical.  Messages never carry a value.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "libpq/pqformat.h"

#include "base/base.h"
#include "envelope/envelope.h"
#include "search/plain.h"

#define DATE_BYTES 4

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
		ereport(ERROR, (errcode(ERRCODE_IMMIIQ_ENVELOPE), errmsg("sealed date is malformed")));
	date = (DateADT) ((uint32) bytes[0] << 24 | (uint32) bytes[1] << 16 | (uint32) bytes[2] << 8 |
					  bytes[3]);
	if (!DATE_NOT_FINITE(date) && !IS_VALID_DATE(date))
		ereport(ERROR, (errcode(ERRCODE_IMMIIQ_ENVELOPE), errmsg("sealed date is malformed")));
	return date;
}

/* Calls one of date's own functions; its error keeps the SQLSTATE and loses the value. */
static Datum
plain_date_call(PGFunction function, Datum arg)
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
		ereport(ERROR,
				(errcode(sqlstate), errmsg("value cannot be read as a date"),
				 errhint("Dates are written as YYYY-MM-DD, or as the setting DateStyle says.")));
	return result;
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

static const PlainType plain_types[] = {
	{ENVELOPE_TYPE_TEXT, "enc_text", "enc_text_base", TEXTOID, true, plain_text_from_text,
	 plain_text_from_datum, plain_text_from_binary, plain_text_to_datum, plain_text_to_text},
	{ENVELOPE_TYPE_DATE, "enc_date", "enc_date_base", DATEOID, false, plain_date_from_text,
	 plain_date_from_datum, plain_date_from_binary, plain_date_to_datum, plain_date_to_text},
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
