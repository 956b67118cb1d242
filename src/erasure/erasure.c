/*
 * The process that takes erasures and retention forward, and the destruction
 * of clients' keys for SQL.  Trusts the tables for where things stand; refuses
 * nothing that its SQL does not.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/array.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "audit/audit.h"
#include "base/base.h"
#include "base/drive.h"
#include "crypto/crypto.h"
#include "erasure/erasure.h"
#include "keyring/keyring.h"

#define ERASURE_LOOK_MS 1000 /* how often the worker looks for something due */
#define ERASURE_WAIT_MS 100

PGDLLEXPORT void immiiq_erasure_main(Datum arg);

static int erasure_backup_days = 90;
static int erasure_rotate_days = 7;

void
erasure_init(void)
{
	DefineCustomIntVariable("immiiq.backup_window",
							"How many days backups and archived WAL are kept.",
							"Erasure promises that backups are unreadable by then.",
							&erasure_backup_days, 90, 1, 3650, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("immiiq.erasure_rotation",
							"Days after an erasure within which the organisation's keys are rotated.",
							"Erasures of these days share one rotation; it must be below immiiq.backup_window.",
							&erasure_rotate_days, 7, 0, 365, PGC_SIGHUP, 0, NULL, NULL, NULL);
}

static const char *
erasure_step(void)
{
	const char *said = drive_sql("SELECT immiiq.erasure_tick()", 0, NULL, NULL, NULL);

	/* It waits for the log: no need to wait for the sealer's next round as well. */
	return said != NULL && strcmp(said, "wait") == 0 && audit_seal_round() > 0 ? "more" : said;
}

static const Drive erasure_drive = {
	.table = "erasure",
	.process = "immiiq erasure",
	.function = "immiiq_erasure_main",
	.activity = "immiiq: erasing what is due",
	.lock_timeout = "5s",
	.wait_ms = ERASURE_WAIT_MS,
	.step = erasure_step,
};

void
immiiq_erasure_main(Datum arg)
{
	drive_main(&erasure_drive, DatumGetObjectId(arg));
	proc_exit(0);
}

/* ---- the worker's task ---- */

static TimestampTz erasure_looked = 0;

bool
erasure_wanted(void)
{
	return TimestampDifferenceExceeds(erasure_looked, GetCurrentTimestamp(), ERASURE_LOOK_MS);
}

void
erasure_round(void)
{
	static bool recalled = false;
	const char *due;

	erasure_looked = GetCurrentTimestamp();
	if (!recalled)
		(void) drive_sql("SELECT immiiq.recall_ledgers()", 0, NULL, NULL, NULL);
	recalled = true;
	due = drive_sql("SELECT immiiq.erasure_is_due()", 0, NULL, NULL, NULL);
	if (due == NULL || strcmp(due, "t") != 0)
		return;
	base_start_transaction();
	(void) drive_start(&erasure_drive);
	CommitTransactionCommand();
}

/* ---- SQL ---- */

PG_FUNCTION_INFO_V1(immiiq_commit_client_keys);
/* commit_client_keys(org, client uuid) → bytea[]: 32 bytes for each key of a client. IQ002, IQ003. */
Datum
immiiq_commit_client_keys(PG_FUNCTION_ARGS)
{
	uint8 *bytes;
	int count;
	Datum *values;

	base_require_preload();
	count = keyring_commit_client(PG_GETARG_UUID_P(0), PG_GETARG_UUID_P(1), &bytes);
	values = palloc(sizeof(Datum) * (count + 1));
	for (int i = 0; i < count; i++)
	{
		bytea *value = palloc(VARHDRSZ + CRYPTO_HASH_BYTES);

		SET_VARSIZE(value, VARHDRSZ + CRYPTO_HASH_BYTES);
		memcpy(VARDATA(value), bytes + i * CRYPTO_HASH_BYTES, CRYPTO_HASH_BYTES);
		values[i] = PointerGetDatum(value);
	}
	PG_RETURN_ARRAYTYPE_P(construct_array(values, count, BYTEAOID, -1, false, TYPALIGN_INT));
}

PG_FUNCTION_INFO_V1(immiiq_destroy_client_keys);
/* destroy_client_keys(org, client uuid, in_place boolean) → int4: how many. In place cannot be rolled back. */
Datum
immiiq_destroy_client_keys(PG_FUNCTION_ARGS)
{
	pg_uuid_t *org = PG_GETARG_UUID_P(0);

	base_require_preload();
	PreventCommandIfReadOnly("destroying keys");
	PG_RETURN_INT32(keyring_destroy_client(org, PG_GETARG_UUID_P(1), PG_GETARG_BOOL(2)));
}

PG_FUNCTION_INFO_V1(immiiq_lock_org_writers);
/* lock_org_writers(org uuid): waits for who may write for the organisation, and keeps others out until the end. */
Datum
immiiq_lock_org_writers(PG_FUNCTION_ARGS)
{
	base_require_preload();
	if (!keyring_lock_writers(PG_GETARG_UUID_P(0), true))
		elog(ERROR, "could not lock writers out");
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(immiiq_rotate_client_keys);
/* rotate_client_keys(org uuid) → int8: a new subject-wrapping key for the organisation; how many keys it wraps. */
Datum
immiiq_rotate_client_keys(PG_FUNCTION_ARGS)
{
	base_require_preload();
	PG_RETURN_INT64(keyring_rotate_subjects(PG_GETARG_UUID_P(0)));
}
