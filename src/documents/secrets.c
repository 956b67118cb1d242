/*
 * Secrets of an organisation, sealed and opened without anybody active, and
 * the check of a webhook with one.  Trusts the SQL functions above it, which
 * alone may call it; refuses values of another organisation.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "documents/documents_internal.h"
#include "documents/webhook.h"
#include "envelope/envelope.h"
#include "journal/journal.h"
#include "keyring/keyring.h"
#include "search/value.h"

char *
documents_open(Datum value, const pg_uuid_t *org)
{
	Envelope env;
	size_t len;
	const uint8 *buf = value_read(value, &len, &env);
	uint8 *bytes = env.algorithm == ENVELOPE_SEALED && env.type == ENVELOPE_TYPE_TEXT
					   ? value_open(buf, &env, org, &len)
					   : NULL;
	char *text;

	if (bytes == NULL)
		ereport(ERROR, (errcode(ERRCODE_IMMIIQ_BINDING),
						errmsg("value was sealed for another organisation, so it cannot be used")));
	text = palloc(len + 1);
	memcpy(text, bytes, len);
	text[len] = '\0';
	crypto_wipe(bytes, len);
	pfree(bytes);
	return text;
}

void
documents_wipe(char *text)
{
	if (text == NULL)
		return;
	crypto_wipe(text, strlen(text));
	pfree(text);
}

PG_FUNCTION_INFO_V1(immiiq_seal_for);
/* seal_for(org uuid, value text, domain int4) → enc_text sealed under that organisation's key. ERROR IQ002, IQ003. */
Datum
immiiq_seal_for(PG_FUNCTION_ARGS)
{
	pg_uuid_t *org = PG_GETARG_UUID_P(0);
	text *value = PG_GETARG_TEXT_PP(1);
	int32 domain = PG_GETARG_INT32(2);
	size_t len = VARSIZE_ANY_EXHDR(value);
	size_t size = envelope_sealed_size(0, 0, len);
	struct varlena *result;
	CryptoXaes *key;
	uint32 key_id;

	base_require_preload();
	if (domain < 1 || domain > PG_UINT16_MAX)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("not a column domain")));
	if (!AllocSizeIsValid(VARHDRSZ + size))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("value is too long to be sealed")));
	key = keyring_seal_key(org, ENVELOPE_TYPE_TEXT, (uint16) domain, &key_id);
	result = palloc(VARHDRSZ + size);
	if (!envelope_seal(key, ENVELOPE_TYPE_TEXT, 0, (uint16) domain, key_id, NULL, NULL,
					   (const uint8 *) VARDATA_ANY(value), len, (uint8 *) VARDATA(result)))
		elog(ERROR, "could not seal a value");
	SET_VARSIZE(result, VARHDRSZ + size);
	PG_RETURN_POINTER(result);
}

PG_FUNCTION_INFO_V1(immiiq_open_for);
/* open_for(org uuid, value enc_text) → text. ERROR IQ032 when it was sealed for another organisation. */
Datum
immiiq_open_for(PG_FUNCTION_ARGS)
{
	pg_uuid_t *org = PG_GETARG_UUID_P(0);
	char *plain = documents_open(PG_GETARG_DATUM(1), org);
	text *result = cstring_to_text(plain);

	documents_wipe(plain);
	PG_RETURN_TEXT_P(result);
}

/* Seconds since 1970, now. */
static int64
secrets_now(void)
{
	return (GetCurrentTimestamp() / USECS_PER_SEC) +
		   (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
}

/* "valid", or why not, as the journal says it. */
static text *
secrets_verdict(WebhookResult result)
{
	switch (result)
	{
		case WEBHOOK_VALID:
			return cstring_to_text("valid");
		case WEBHOOK_MALFORMED:
			return cstring_to_text("malformed header");
		case WEBHOOK_OUTSIDE_TOLERANCE:
			return cstring_to_text("outside of tolerance");
		case WEBHOOK_BAD_SIGNATURE:
			break;
	}
	return cstring_to_text("wrong signature");
}

PG_FUNCTION_INFO_V1(immiiq_check_stripe);
/* check_stripe(org uuid, secret enc_text, payload bytea, header text) → text: "valid" or why not (Stripe, scheme v1). */
Datum
immiiq_check_stripe(PG_FUNCTION_ARGS)
{
	char *secret = documents_open(PG_GETARG_DATUM(1), PG_GETARG_UUID_P(0));
	bytea *payload = PG_GETARG_BYTEA_PP(2);
	WebhookResult result = webhook_check_stripe(secret, text_to_cstring(PG_GETARG_TEXT_PP(3)),
												(const uint8 *) VARDATA_ANY(payload),
												VARSIZE_ANY_EXHDR(payload), secrets_now());

	documents_wipe(secret);
	PG_RETURN_TEXT_P(secrets_verdict(result));
}

PG_FUNCTION_INFO_V1(immiiq_check_standard);
/*
 * check_standard(org uuid, secret enc_text, payload bytea, id text, timestamp text, signature text) → text:
 * "valid" or why not (Standard Webhooks 1.0, v1).
 */
Datum
immiiq_check_standard(PG_FUNCTION_ARGS)
{
	char *secret = documents_open(PG_GETARG_DATUM(1), PG_GETARG_UUID_P(0));
	bytea *payload = PG_GETARG_BYTEA_PP(2);
	WebhookResult result = webhook_check_standard(secret, text_to_cstring(PG_GETARG_TEXT_PP(3)),
												  text_to_cstring(PG_GETARG_TEXT_PP(4)),
												  text_to_cstring(PG_GETARG_TEXT_PP(5)),
												  (const uint8 *) VARDATA_ANY(payload),
												  VARSIZE_ANY_EXHDR(payload), secrets_now());

	documents_wipe(secret);
	PG_RETURN_TEXT_P(secrets_verdict(result));
}

PG_FUNCTION_INFO_V1(immiiq_record_denial);
/* record_denial(action text, object text, reason text, org uuid) → void: an entry of the journal, whatever becomes of the transaction. */
Datum
immiiq_record_denial(PG_FUNCTION_ARGS)
{
	journal_record(JOURNAL_DENIAL, text_to_cstring(PG_GETARG_TEXT_PP(0)),
				   text_to_cstring(PG_GETARG_TEXT_PP(1)), text_to_cstring(PG_GETARG_TEXT_PP(2)), 0,
				   PG_ARGISNULL(3) ? NULL : PG_GETARG_UUID_P(3));
	PG_RETURN_VOID();
}
