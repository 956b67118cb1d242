/*
 * Password hashes for SQL, so many at a time that a processor is left for others.
 * Trusts crypto/ with the hashes; refuses to wait for its turn without end.
 */
#include "postgres.h"

#include <unistd.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "crypto/pwhash.h"
#include "identity/identity_internal.h"

PG_FUNCTION_INFO_V1(immiiq_hash_password);
PG_FUNCTION_INFO_V1(immiiq_verify_password);
PG_FUNCTION_INFO_V1(immiiq_password_kind);

#define PASSWORD_PATIENCE_S 10

typedef struct PasswordShared
{
	slock_t mutex;
	int hashing; /* backends at it */
	ConditionVariable done;
} PasswordShared;

static int password_hashers = 0;
static PasswordShared *password_shared = NULL;

void
password_init(void)
{
	DefineCustomIntVariable("immiiq.password_hashers",
							"Passwords that are hashed at the same time; 0 stands for all processors but one.",
							NULL, &password_hashers, 0, 0, 1024, PGC_SIGHUP, 0, NULL, NULL, NULL);
}

void
password_shmem_request(void)
{
	RequestAddinShmemSpace(sizeof(PasswordShared));
}

void
password_shmem_startup(void)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	password_shared = ShmemInitStruct("immiiq passwords", sizeof(PasswordShared), &found);
	if (!found)
	{
		SpinLockInit(&password_shared->mutex);
		password_shared->hashing = 0;
		ConditionVariableInit(&password_shared->done);
	}
	LWLockRelease(AddinShmemInitLock);
}

static int
password_limit(void)
{
	long processors;

	if (password_hashers > 0)
		return password_hashers;
	processors = sysconf(_SC_NPROCESSORS_ONLN);
	return processors > 2 ? (int) processors - 1 : 1;
}

/* Waits for a turn. ERROR 53400 when there is none in time. */
static void
password_begin(void)
{
	TimestampTz deadline =
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), PASSWORD_PATIENCE_S * 1000);
	int limit = password_limit();

	base_require_preload();
	for (;;)
	{
		bool mine;

		SpinLockAcquire(&password_shared->mutex);
		mine = password_shared->hashing < limit;
		if (mine)
			password_shared->hashing++;
		SpinLockRelease(&password_shared->mutex);
		if (mine)
			break;
		if (GetCurrentTimestamp() >= deadline)
		{
			ConditionVariableCancelSleep();
			ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
							errmsg("too many passwords are being hashed"),
							errhint("Try again; immiiq.password_hashers says how many may be.")));
		}
		(void) ConditionVariableTimedSleep(&password_shared->done, 100, PG_WAIT_EXTENSION);
	}
	ConditionVariableCancelSleep();
}

/* Ends the turn; nothing between begin and end may raise. */
static void
password_end(void)
{
	SpinLockAcquire(&password_shared->mutex);
	password_shared->hashing--;
	SpinLockRelease(&password_shared->mutex);
	ConditionVariableSignal(&password_shared->done);
}

/*
 * immiiq.hash_password(password text) → text: Argon2id with OWASP's parameters.
 * Errors: 53200, 53400.
 */
Datum
immiiq_hash_password(PG_FUNCTION_ARGS)
{
	text *password = PG_GETARG_TEXT_PP(0);
	char hash[PWHASH_SIZE];
	bool made;

	password_begin();
	made = pwhash_make(VARDATA_ANY(password), VARSIZE_ANY_EXHDR(password), hash);
	password_end();
	if (!made)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("could not hash a password")));
	PG_RETURN_TEXT_P(cstring_to_text(hash));
}

/*
 * immiiq.verify_password(hash text, password text) → boolean.  A hash that
 * immiiq.password_kind does not know verifies nothing.  Errors: 53400.
 */
Datum
immiiq_verify_password(PG_FUNCTION_ARGS)
{
	char *hash = text_to_cstring(PG_GETARG_TEXT_PP(0));
	text *password = PG_GETARG_TEXT_PP(1);
	bool good;

	password_begin();
	good = pwhash_verify(hash, VARDATA_ANY(password), VARSIZE_ANY_EXHDR(password));
	password_end();
	PG_RETURN_BOOL(good);
}

/*
 * immiiq.password_kind(hash text) → text: 'argon2id' for one as hash_password
 * makes them, 'argon2id-other' for one of other parameters, 'bcrypt', or null.
 */
Datum
immiiq_password_kind(PG_FUNCTION_ARGS)
{
	char *hash = text_to_cstring(PG_GETARG_TEXT_PP(0));

	switch (pwhash_kind(hash))
	{
		case PWHASH_ARGON2ID:
			PG_RETURN_TEXT_P(
				cstring_to_text(pwhash_is_current(hash) ? "argon2id" : "argon2id-other"));
		case PWHASH_BCRYPT:
			PG_RETURN_TEXT_P(cstring_to_text("bcrypt"));
		case PWHASH_NONE:
			break;
	}
	PG_RETURN_NULL();
}
