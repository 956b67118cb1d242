/*
 * Entries that a hold keeps readable while the rest of their client is erased:
 * the key of each one's message, sealed under the hold's own key.  Trusts the
 * log's bodies; refuses to keep what the hold's matter does not name.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/uuid.h"

#include "audit/audit_internal.h"
#include "audit/canonical.h"
#include "audit/commit.h"
#include "base/base.h"
#include "crypto/crypto.h"
#include "keyring/keyring.h"

/* Columns of immiiq.kept_entry, in the order of sql/parts/74_hold.sql. */
enum
{
	Anum_kept_incarnation = 1,
	Anum_kept_txid,
	Anum_kept_seq,
	Anum_kept_org,
	Anum_kept_hold,
	Anum_kept_key_id,
	Anum_kept_sealed
};

#define KEPT_LABEL		  "immiiq/v1/kept"
#define KEPT_AAD_BYTES	  (16 + 4 + 8 + 4)
#define KEPT_SEALED_BYTES (CRYPTO_NONCE_BYTES + CRYPTO_KEY_BYTES + CRYPTO_MAC_BYTES)

/* What the sealed message key is bound to: its entry. */
static void
kept_aad(const CanonicalEntry *entry, uint8 aad[KEPT_AAD_BYTES])
{
	memset(aad, 0, KEPT_AAD_BYTES);
	memcpy(aad, KEPT_LABEL, sizeof(KEPT_LABEL));
	for (int i = 0; i < 4; i++)
	{
		aad[16 + i] = (uint8) (entry->incarnation >> (24 - 8 * i));
		aad[28 + i] = (uint8) (entry->seq >> (24 - 8 * i));
	}
	for (int i = 0; i < 8; i++)
		aad[20 + i] = (uint8) (entry->txid >> (56 - 8 * i));
}

/* Opens the image with a message key that this row of kept_entry holds; NULL when it does not open. */
static uint8 *
kept_open_row(const uint8 *body, const CanonicalEntry *entry, const pg_uuid_t *org, uint32 key_id,
			  const uint8 *sealed, size_t *len)
{
	const uint8 *salt;
	CryptoXaes *key = keyring_find_image_key(org, key_id, &salt);
	uint8 message_key[CRYPTO_KEY_BYTES];
	uint8 nonce[CRYPTO_NONCE_BYTES];
	uint8 aad[KEPT_AAD_BYTES];
	uint8 *image_aad;
	uint8 *plain;
	bool ok;

	kept_aad(entry, aad);
	if (key == NULL || !crypto_xaes_open(key, sealed, aad, sizeof(aad), sealed + CRYPTO_NONCE_BYTES,
										 CRYPTO_KEY_BYTES + CRYPTO_MAC_BYTES, message_key))
		return NULL;
	image_aad = palloc(CANONICAL_LABEL_BYTES + entry->clear_len);
	audit_sealed_label(CANONICAL_F_IMAGE, image_aad);
	memcpy(image_aad + CANONICAL_LABEL_BYTES, body, entry->clear_len);
	plain = palloc(entry->image_len);
	commit_seal_nonce(entry, CANONICAL_F_IMAGE, nonce);
	ok = crypto_message_open(message_key, nonce, image_aad, CANONICAL_LABEL_BYTES + entry->clear_len,
							 entry->image, entry->image_len, plain);
	crypto_wipe(message_key, sizeof(message_key));
	pfree(image_aad);
	if (!ok)
	{
		pfree(plain);
		return NULL;
	}
	*len = entry->image_len - CANONICAL_SEAL_BYTES;
	return audit_unpack_image(entry, plain, len);
}

uint8 *
audit_open_kept(const uint8 *body, const CanonicalEntry *entry, const pg_uuid_t *org, size_t *len)
{
	Oid relid = base_relation_or_invalid("kept_entry");
	ScanKeyData key[3];
	SysScanDesc scan;
	HeapTuple tuple;
	Relation rel;
	uint8 *plain = NULL;

	if (!OidIsValid(relid))
		return NULL;
	rel = table_open(relid, AccessShareLock);
	ScanKeyInit(&key[0], Anum_kept_incarnation, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum((int32) entry->incarnation));
	ScanKeyInit(&key[1], Anum_kept_txid, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum((int64) entry->txid));
	ScanKeyInit(&key[2], Anum_kept_seq, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum((int32) entry->seq));
	scan = systable_beginscan(rel, base_relation("kept_entry_pkey"), true, NULL, 3, key);
	while (plain == NULL && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		TupleDesc desc = RelationGetDescr(rel);
		bool isnull;
		uint32 key_id = (uint32) DatumGetInt64(heap_getattr(tuple, Anum_kept_key_id, desc, &isnull));
		bytea *sealed = DatumGetByteaPP(heap_getattr(tuple, Anum_kept_sealed, desc, &isnull));

		if (VARSIZE_ANY_EXHDR(sealed) == KEPT_SEALED_BYTES)
			plain = kept_open_row(body, entry, org, key_id, (uint8 *) VARDATA_ANY(sealed), len);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return plain;
}

/* True when an image has, before or after, this value in this column. */
static bool
kept_names(const uint8 *image, size_t len, const char *column, const char *value)
{
	size_t pos = 0;

	for (int part = 0; part < 2; part++)
	{
		uint32_t count;

		if (!canonical_get_length(image, len, &pos, &count))
			return false;
		for (uint32_t i = 0; i < count; i++)
		{
			CanonicalColumn c;

			if (!canonical_get_column(image, len, &pos, &c))
				return false;
			if (c.value != NULL && c.name_len == strlen(column) &&
				memcmp(c.name, column, c.name_len) == 0 && c.value_len == strlen(value) &&
				memcmp(c.value, value, c.value_len) == 0)
				return true;
		}
	}
	return false;
}

PG_FUNCTION_INFO_V1(immiiq_keep_image);
/*
 * keep_image(body bytea, hold uuid, "column" text, matter uuid) → boolean: seals
 * the message key of an entry's image under the hold's key, when the image
 * names the matter in the column.  False when it does not, or does not open.
 */
Datum
immiiq_keep_image(PG_FUNCTION_ARGS)
{
	bytea *bytes = PG_GETARG_BYTEA_PP(0);
	const uint8 *body = (const uint8 *) VARDATA_ANY(bytes);
	pg_uuid_t *hold = PG_GETARG_UUID_P(1);
	char *column = text_to_cstring(PG_GETARG_TEXT_PP(2));
	char *matter = DatumGetCString(DirectFunctionCall1(uuid_out, PG_GETARG_DATUM(3)));
	static Oid types[7] = {INT4OID, INT8OID, INT4OID, UUIDOID, UUIDOID, INT8OID, BYTEAOID};
	Datum values[7];
	CanonicalEntry entry;
	pg_uuid_t org;
	uint8 message_key[CRYPTO_KEY_BYTES];
	uint8 nonce[CRYPTO_NONCE_BYTES];
	uint8 aad[KEPT_AAD_BYTES];
	bytea *sealed = palloc(VARHDRSZ + KEPT_SEALED_BYTES);
	uint8 *out = (uint8 *) VARDATA(sealed);
	const uint8 *salt;
	CryptoXaes *key;
	uint8 *plain;
	uint32 key_id;
	size_t len;
	bool names;

	base_require_preload();
	if (!canonical_parse_entry(body, VARSIZE_ANY_EXHDR(bytes), &entry))
		PG_RETURN_BOOL(false);
	memcpy(org.data, entry.org, UUID_LEN);
	plain = audit_open_image(body, &entry, false, &len, NULL);
	if (plain == NULL)
		PG_RETURN_BOOL(false);
	names = kept_names(plain, len, column, matter);
	crypto_wipe(plain, len);
	if (!names)
		PG_RETURN_BOOL(false);
	key = keyring_find_image_key(&org, entry.key_id, &salt);
	commit_seal_nonce(&entry, CANONICAL_F_IMAGE, nonce);
	if (key == NULL || !crypto_xaes_message_key(key, nonce, message_key))
		PG_RETURN_BOOL(false); /* kept by another hold already */
	key = keyring_image_key(&org, hold, &key_id, &salt);
	kept_aad(&entry, aad);
	crypto_nonce(out, CRYPTO_NONCE_BYTES);
	if (!crypto_xaes_seal(key, out, aad, sizeof(aad), message_key, sizeof(message_key),
						  out + CRYPTO_NONCE_BYTES))
		elog(ERROR, "could not seal a key");
	crypto_wipe(message_key, sizeof(message_key));
	SET_VARSIZE(sealed, VARHDRSZ + KEPT_SEALED_BYTES);
	values[0] = Int32GetDatum((int32) entry.incarnation);
	values[1] = Int64GetDatum((int64) entry.txid);
	values[2] = Int32GetDatum((int32) entry.seq);
	values[3] = UUIDPGetDatum(&org);
	values[4] = UUIDPGetDatum(hold);
	values[5] = Int64GetDatum(key_id);
	values[6] = PointerGetDatum(sealed);
	SPI_connect();
	if (SPI_execute_with_args("INSERT INTO immiiq.kept_entry VALUES ($1, $2, $3, $4, $5, $6, $7) "
							  "ON CONFLICT DO NOTHING",
							  7, types, values, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not keep an entry");
	SPI_finish();
	PG_RETURN_BOOL(true);
}
