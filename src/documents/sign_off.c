/*
 * What a person signs: the digest of one version of a row, and the database's
 * signature over the statement that names it.  Trusts the SQL functions above
 * it, which alone may call it; refuses nothing of its own.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "base/base.h"
#include "crypto/crypto.h"
#include "keyring/keyring.h"
#include "lib/stringinfo.h"
#include "types/types.h"

PG_FUNCTION_INFO_V1(immiiq_row_digest);
/*
 * row_digest(org uuid, row record) → bytea: HMAC-SHA256 under the installation key over names and values of the
 * columns that are not null and not generated, sealed ones opened: a new key or a masked view changes nothing.
 */
Datum
immiiq_row_digest(PG_FUNCTION_ARGS)
{
	pg_uuid_t *org = PG_GETARG_UUID_P(0);
	HeapTupleHeader header = PG_GETARG_HEAPTUPLEHEADER(1);
	TupleDesc desc =
		lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(header), HeapTupleHeaderGetTypMod(header));
	HeapTupleData tuple;
	Datum *values = palloc(desc->natts * sizeof(Datum));
	bool *nulls = palloc(desc->natts * sizeof(bool));
	StringInfoData content;
	uint8 key[CRYPTO_KEY_BYTES];
	CryptoHmac hmac;
	bytea *result = palloc(VARHDRSZ + CRYPTO_HASH_BYTES);
	bool ok;

	base_require_preload();
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = header;
	heap_deform_tuple(&tuple, desc, values, nulls);

	initStringInfo(&content);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		char *name = NameStr(attribute->attname);
		char *value;
		Oid output;
		bool is_varlena;

		if (attribute->attisdropped || attribute->attgenerated != '\0' || nulls[i])
			continue;
		if (types_is_sealed(attribute->atttypid))
			value = types_open(values[i], attribute->atttypid, org);
		else
		{
			getTypeOutputInfo(attribute->atttypid, &output, &is_varlena);
			value = OidOutputFunctionCall(output, values[i]);
		}
		/* Lengths in front: no two rows are written alike. */
		appendStringInfo(&content, "%zu:%s%zu:%s", strlen(name), name, strlen(value), value);
		crypto_wipe(value, strlen(value));
		pfree(value);
	}
	ReleaseTupleDesc(desc);
	keyring_installation_secret("row-digest", true, key);
	ok = crypto_hmac_init(&hmac, key, sizeof(key)) &&
		 crypto_hmac(&hmac, content.data, content.len, (uint8 *) VARDATA(result));
	crypto_wipe(key, sizeof(key));
	crypto_wipe(&hmac, sizeof(hmac));
	crypto_wipe(content.data, content.len);
	if (!ok)
		elog(ERROR, "could not compute a digest");
	SET_VARSIZE(result, VARHDRSZ + CRYPTO_HASH_BYTES);
	PG_RETURN_BYTEA_P(result);
}

PG_FUNCTION_INFO_V1(immiiq_sign_statement);
/* sign_statement(text) → bytea: Ed25519 under a seed of the installation key, for statements of sign-offs alone. */
Datum
immiiq_sign_statement(PG_FUNCTION_ARGS)
{
	text *statement = PG_GETARG_TEXT_PP(0);
	bytea *result = palloc(VARHDRSZ + CRYPTO_SIG_BYTES);
	uint8 seed[CRYPTO_SEED_BYTES];
	bool ok;

	base_require_preload();
	keyring_installation_secret("sign-off", true, seed);
	ok = crypto_ed25519_sign(seed, VARDATA_ANY(statement), VARSIZE_ANY_EXHDR(statement),
							 (uint8 *) VARDATA(result));
	crypto_wipe(seed, sizeof(seed));
	if (!ok)
		elog(ERROR, "could not sign a statement");
	SET_VARSIZE(result, VARHDRSZ + CRYPTO_SIG_BYTES);
	PG_RETURN_BYTEA_P(result);
}

PG_FUNCTION_INFO_V1(immiiq_sign_off_key);
/* sign_off_key() → bytea: the public key (Ed25519, 32 bytes) of sign_statement. */
Datum
immiiq_sign_off_key(PG_FUNCTION_ARGS)
{
	bytea *result = palloc(VARHDRSZ + CRYPTO_PUB_BYTES);
	uint8 seed[CRYPTO_SEED_BYTES];
	bool ok;

	base_require_preload();
	keyring_installation_secret("sign-off", true, seed);
	ok = crypto_ed25519_public(seed, (uint8 *) VARDATA(result));
	crypto_wipe(seed, sizeof(seed));
	if (!ok)
		elog(ERROR, "could not derive a public key");
	SET_VARSIZE(result, VARHDRSZ + CRYPTO_PUB_BYTES);
	PG_RETURN_BYTEA_P(result);
}
