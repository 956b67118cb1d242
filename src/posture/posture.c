/*
 * What immiiq.doctor() cannot learn in SQL: how the library was loaded, and
 * whether an organisation's keys open.  Trusts the keyring's own checks;
 * hands out no key, only that it opens.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "access/htup_details.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "base/base.h"
#include "envelope/envelope.h"
#include "keyring/keyring.h"

PG_FUNCTION_INFO_V1(immiiq_library_status);
PG_FUNCTION_INFO_V1(immiiq_open_org_keys);

/* library_status() → (version text, preloaded bool). */
Datum
immiiq_library_status(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Datum values[2];
	bool nulls[2] = {false, false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = CStringGetTextDatum(IMMIIQ_VERSION);
	values[1] = BoolGetDatum(base_preloaded);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* open_org_keys(org uuid) → void: opens the organisation's data, index and audit key. Errors: IQ002, IQ003. */
Datum
immiiq_open_org_keys(PG_FUNCTION_ARGS)
{
	pg_uuid_t *org = PG_GETARG_UUID_P(0);
	uint32 key_id = 0;
	const uint8 *salt;

	(void) keyring_seal_key(org, ENVELOPE_TYPE_TEXT, 0, &key_id);
	(void) keyring_tag_key(org, ENVELOPE_TYPE_TEXT, 0, KEYRING_TOKEN_EQUALITY);
	key_id = 0;
	(void) keyring_image_key(org, NULL, &key_id, &salt);
	PG_RETURN_VOID();
}
