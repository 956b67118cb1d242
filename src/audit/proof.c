/*
 * Proofs from the log's tables: paths in an organisation's tree and in the
 * database's, and the signatures of others.  Trusts nothing it reads: a wrong
 * hash gives a proof that does not hold, which whoever verifies sees.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "audit/audit_internal.h"
#include "audit/tree.h"
#include "base/base.h"
#include "crypto/crypto.h"

/* Reads count hashes in order; false when one is missing. */
static bool
proof_scan(ProofSource *source, const char *table, const char *index, ScanKeyData *keys, int nkeys,
		   AttrNumber number, AttrNumber hash, uint64 first, uint32 count,
		   uint8_t (*out)[TREE_HASH_BYTES])
{
	Relation rel = table_open(base_relation(table), AccessShareLock);
	Relation idx = index_open(base_relation(index), AccessShareLock);
	SysScanDesc scan = systable_beginscan_ordered(rel, idx, source->snapshot, nkeys, keys);
	TupleDesc desc = RelationGetDescr(rel);
	uint32 found = 0;
	HeapTuple tuple;

	while (found < count &&
		   HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		bool isnull;

		if ((uint64) DatumGetInt64(heap_getattr(tuple, number, desc, &isnull)) != first + found)
			break;
		if (hash == InvalidAttrNumber)
			audit_batch_leaf(tuple, desc, out[found]);
		else
			audit_copy_hash(tuple, desc, hash, out[found]);
		found++;
	}
	systable_endscan_ordered(scan);
	index_close(idx, AccessShareLock);
	table_close(rel, AccessShareLock);
	return found == count;
}

bool
proof_read(void *arg, unsigned level, uint64_t first, uint32_t count,
		   uint8_t (*out)[TREE_HASH_BYTES])
{
	ProofSource *source = arg;
	bool database = base_uuid_is_nil(&source->org);
	ScanKeyData keys[3];

	CHECK_FOR_INTERRUPTS();
	if (level != 0)
	{
		ScanKeyInit(&keys[0], NODE_ORG, BTEqualStrategyNumber, F_UUID_EQ,
					UUIDPGetDatum(&source->org));
		ScanKeyInit(&keys[1], NODE_LEVEL, BTEqualStrategyNumber, F_INT4EQ,
					Int32GetDatum((int32) level));
		ScanKeyInit(&keys[2], NODE_NUMBER, BTGreaterEqualStrategyNumber, F_INT8GE,
					Int64GetDatum((int64) first));
		return proof_scan(source, "node", "node_pkey", keys, 3, NODE_NUMBER, NODE_HASH, first,
						  count, out);
	}
	if (database)
	{
		ScanKeyInit(&keys[0], BATCH_NO, BTGreaterEqualStrategyNumber, F_INT8GE,
					Int64GetDatum((int64) first + 1));
		return proof_scan(source, "batch", "batch_pkey", keys, 1, BATCH_NO, InvalidAttrNumber,
						  first + 1, count, out);
	}
	ScanKeyInit(&keys[0], LEAF_ORG, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(&source->org));
	ScanKeyInit(&keys[1], LEAF_POSITION, BTGreaterEqualStrategyNumber, F_INT8GE,
				Int64GetDatum((int64) first + 1));
	return proof_scan(source, "leaf", "leaf_pkey", keys, 2, LEAF_POSITION, LEAF_HASH, first + 1,
					  count, out);
}

/* A proof as bytea[]. */
static Datum
proof_array(uint8 (*proof)[TREE_HASH_BYTES], size_t len)
{
	Datum *elems = palloc(sizeof(Datum) * Max(len, 1));

	for (size_t i = 0; i < len; i++)
	{
		bytea *b = palloc(VARHDRSZ + TREE_HASH_BYTES);

		SET_VARSIZE(b, VARHDRSZ + TREE_HASH_BYTES);
		memcpy(VARDATA(b), proof[i], TREE_HASH_BYTES);
		elems[i] = PointerGetDatum(b);
	}
	return PointerGetDatum(construct_array(elems, (int) len, BYTEAOID, -1, false, TYPALIGN_INT));
}

static void
proof_raise_missing(void)
{
	ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
					errmsg("the tree has no hashes to make this proof of"),
					errhint("SELECT * FROM immiiq.verify_audit() says what is missing.")));
}

PG_FUNCTION_INFO_V1(immiiq_tree_path);

/*
 * immiiq.tree_path(org uuid, index int8, size int8) → bytea[]: RFC 6962
 * inclusion path of the leaf at index (from 0) in an organisation's tree of that
 * size, or with the nil uuid in the database's.  XX001 when hashes are missing.
 */
Datum
immiiq_tree_path(PG_FUNCTION_ARGS)
{
	ProofSource from = {.org = *PG_GETARG_UUID_P(0), .snapshot = GetActiveSnapshot()};
	TreeSource source = {.read = proof_read, .arg = &from};
	int64 index = PG_GETARG_INT64(1);
	int64 size = PG_GETARG_INT64(2);
	uint8 proof[TREE_MAX_PROOF][TREE_HASH_BYTES];
	size_t len;

	base_require_preload();
	if (index < 0 || size < 1 || index >= size)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the tree has no leaf with this index")));
	if (!tree_prove_inclusion(&source, (uint64) index, (uint64) size, proof, &len))
		proof_raise_missing();
	PG_RETURN_DATUM(proof_array(proof, len));
}

PG_FUNCTION_INFO_V1(immiiq_tree_consistency);

/*
 * immiiq.tree_consistency(org uuid, old_size int8, new_size int8) → bytea[]:
 * RFC 6962 proof that the one tree is the beginning of the other.
 */
Datum
immiiq_tree_consistency(PG_FUNCTION_ARGS)
{
	ProofSource from = {.org = *PG_GETARG_UUID_P(0), .snapshot = GetActiveSnapshot()};
	TreeSource source = {.read = proof_read, .arg = &from};
	int64 old_size = PG_GETARG_INT64(1);
	int64 new_size = PG_GETARG_INT64(2);
	uint8 proof[TREE_MAX_PROOF][TREE_HASH_BYTES];
	size_t len;

	base_require_preload();
	if (old_size < 1 || old_size > new_size)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the old size must be between 1 and the new size")));
	if (!tree_prove_consistency(&source, (uint64) old_size, (uint64) new_size, proof, &len))
		proof_raise_missing();
	PG_RETURN_DATUM(proof_array(proof, len));
}

PG_FUNCTION_INFO_V1(immiiq_verify_ed25519);

/* immiiq.verify_ed25519(public_key bytea, message bytea, signature bytea) → bool (RFC 8032). */
Datum
immiiq_verify_ed25519(PG_FUNCTION_ARGS)
{
	bytea *public = PG_GETARG_BYTEA_PP(0);
	bytea *message = PG_GETARG_BYTEA_PP(1);
	bytea *signature = PG_GETARG_BYTEA_PP(2);

	PG_RETURN_BOOL(VARSIZE_ANY_EXHDR(public) == CRYPTO_PUB_BYTES &&
				   VARSIZE_ANY_EXHDR(signature) == CRYPTO_SIG_BYTES &&
				   crypto_ed25519_verify((uint8 *) VARDATA_ANY(public), VARDATA_ANY(message),
										 VARSIZE_ANY_EXHDR(message),
										 (uint8 *) VARDATA_ANY(signature)));
}
