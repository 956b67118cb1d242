/*
 * Buckets of failed attempts in shared memory.  An attempt is reserved before
 * anything is checked and settled afterwards, so that parallel guesses never
 * exceed a limit; what is not settled when its transaction or backend ends
 * counts as failed.  Trusts its callers for the keys; refuses an attempt while
 * any of its buckets is locked.
 *
 * A bucket counts failures in a window that begins with the first one.  The
 * limit reached, it is locked: for a minute the first time, twice as long each
 * time after, never more than an hour; attempts while it is locked change
 * nothing.  A bucket is given up only when its window and its locks are past:
 * where a set of buckets is full, all further keys of the set share one
 * that never goes away.
 *
 * After a start of the server, the buckets of a database are made from its
 * immiiq.sign_in_attempt before the first attempt there.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "base/base.h"
#include "crypto/crypto.h"
#include "identity/identity_internal.h"

PG_FUNCTION_INFO_V1(immiiq_throttle_reserve);
PG_FUNCTION_INFO_V1(immiiq_throttle_settle);
PG_FUNCTION_INFO_V1(immiiq_throttle_forget);

#define THROTTLE_WAYS		7 /* buckets of a set, beside the shared one */
#define THROTTLE_PARTITIONS 64
#define THROTTLE_RESERVED	8	  /* reservations of one backend at a time */
#define THROTTLE_PATIENCE_S 10	  /* how long an attempt waits for those before it */
#define THROTTLE_DATABASES	1024  /* whose log is read once after a start */
#define THROTTLE_FORGET_S	86400 /* without failure for so long, the next lock is the first again */

/* Bits of a key's last byte. */
#define THROTTLE_KEY_USED	1 /* not that of a free bucket */
#define THROTTLE_KEY_DEVICE 2 /* of a known device */

typedef struct ThrottleClass
{
	const char *name;
	bool device;  /* of known devices */
	int limit;	  /* failures in a window */
	int window_s; /* from the first of them */
	int lock_s;	  /* first lock; doubles */
	int cap_s;	  /* longest lock */
} ThrottleClass;

static const ThrottleClass throttle_classes[] = {
	{"account", false, 5, 900, 60, 3600},		{"device", true, 5, 900, 60, 3600},
	{"network", false, 30, 900, 60, 3600},		{"code", false, 5, 3600, 3600, 3600},
	{"issue", false, 5, 900, 900, 900},			{"issue-device", true, 5, 900, 900, 900},
	{"issue-network", false, 60, 900, 60, 900},
};

typedef struct ThrottleBucket
{
	uint8_t key[16]; /* zero: free */
	TimestampTz window_start;
	TimestampTz locked_until;
	int16 failures; /* in the window */
	int16 inflight; /* reserved and not settled */
	int16 locks;	/* how often it was locked; decides how long the next lock is */
	int16 unused;
	TimestampTz last_failure;
} ThrottleBucket;

typedef struct ThrottleSet
{
	ThrottleBucket ways[THROTTLE_WAYS];
	ThrottleBucket shared; /* of all keys that found no room */
} ThrottleSet;

typedef struct ThrottleShared
{
	LWLockPadded *locks;
	ConditionVariable settled;
	LWLock *loading; /* of the fields below */
	int loaded_count;
	Oid loaded[THROTTLE_DATABASES]; /* whose buckets have been made of their logs */
	int32 loader;					/* who, by pid; 0: nobody */
	ThrottleSet sets[FLEXIBLE_ARRAY_MEMBER];
} ThrottleShared;

/* One reservation of this backend. */
typedef struct ThrottleHeld
{
	const ThrottleClass *class;
	uint8_t key[16];
	bool shared;
} ThrottleHeld;

static int throttle_buckets = 65536;
static ThrottleShared *throttle = NULL;
static ThrottleHeld throttle_held[THROTTLE_RESERVED];
static int throttle_held_count = 0;
static bool throttle_exit_registered = false;
static bool throttle_known_loaded = false; /* this backend's database has been */

static uint32
throttle_set_count(void)
{
	return throttle_buckets / THROTTLE_WAYS;
}

static Size
throttle_size(void)
{
	return add_size(offsetof(ThrottleShared, sets),
					mul_size(throttle_set_count(), sizeof(ThrottleSet)));
}

void
throttle_shmem_request(void)
{
	RequestAddinShmemSpace(throttle_size());
	RequestNamedLWLockTranche("immiiq throttle", THROTTLE_PARTITIONS + 1);
}

void
throttle_shmem_startup(void)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	throttle = ShmemInitStruct("immiiq throttle", throttle_size(), &found);
	if (!found)
	{
		memset(throttle, 0, throttle_size());
		throttle->locks = GetNamedLWLockTranche("immiiq throttle");
		ConditionVariableInit(&throttle->settled);
		throttle->loading = &throttle->locks[THROTTLE_PARTITIONS].lock;
	}
	LWLockRelease(AddinShmemInitLock);
}

/* ---- one bucket; the caller holds its set's lock ---- */

static inline bool
throttle_is_over(const ThrottleBucket *bucket, TimestampTz now)
{
	return bucket->inflight == 0 && bucket->locked_until <= now &&
		   (bucket->last_failure == 0 ||
			bucket->last_failure + THROTTLE_FORGET_S * USECS_PER_SEC <= now);
}

/* True when nothing would be forgotten that still limits: the window and the lock are past. */
static inline bool
throttle_is_idle(const ThrottleBucket *bucket, TimestampTz now)
{
	return bucket->inflight == 0 && bucket->locked_until <= now &&
		   bucket->window_start + INT64CONST(3600) * USECS_PER_SEC <= now;
}

static void
throttle_count_failure(ThrottleBucket *bucket, const ThrottleClass *class, TimestampTz at)
{
	if (at < bucket->locked_until)
		return; /* of before the lock: it has counted enough */
	if (bucket->last_failure != 0 && bucket->last_failure + THROTTLE_FORGET_S * USECS_PER_SEC <= at)
		bucket->locks = 0;
	if (bucket->failures == 0 || bucket->window_start + class->window_s * USECS_PER_SEC <= at)
	{
		bucket->failures = 0;
		bucket->window_start = at;
	}
	bucket->last_failure = at;
	if (++bucket->failures >= class->limit)
	{
		int64 lock_s = (int64) class->lock_s << Min(bucket->locks, 16);

		bucket->locked_until = at + Min(lock_s, class->cap_s) * USECS_PER_SEC;
		bucket->locks = Min(bucket->locks + 1, 16);
		bucket->failures = 0;
	}
}

/* Failures of the current window. */
static int
throttle_failures(ThrottleBucket *bucket, const ThrottleClass *class, TimestampTz now)
{
	if (bucket->window_start + class->window_s * USECS_PER_SEC <= now)
		bucket->failures = 0;
	return bucket->failures;
}

/* ---- finding it ---- */

static uint32
throttle_set_number(const uint8_t key[16])
{
	uint32 quarter = throttle_set_count() / 4;
	uint32 word;

	/* a quarter of the sets is for known devices alone: nobody else can fill them */
	memcpy(&word, key, sizeof(word));
	return key[15] & THROTTLE_KEY_DEVICE ? word % quarter
										 : quarter + word % (throttle_set_count() - quarter);
}

static LWLock *
throttle_lock(const uint8_t key[16])
{
	return &throttle->locks[throttle_set_number(key) % THROTTLE_PARTITIONS].lock;
}

/* The key's bucket in its set; NULL when it has none. */
static ThrottleBucket *
throttle_find(const uint8_t key[16])
{
	ThrottleSet *set = &throttle->sets[throttle_set_number(key)];

	for (int i = 0; i < THROTTLE_WAYS; i++)
		if (memcmp(set->ways[i].key, key, 16) == 0)
			return &set->ways[i];
	return NULL;
}

/* A bucket for a key that has none: a free one, else the one that is over or idle longest; else the shared one. */
static ThrottleBucket *
throttle_take(const uint8_t key[16], TimestampTz now)
{
	static const uint8_t none[16] = {0};
	ThrottleSet *set = &throttle->sets[throttle_set_number(key)];
	ThrottleBucket *taken = NULL;

	for (int i = 0; i < THROTTLE_WAYS; i++)
	{
		ThrottleBucket *bucket = &set->ways[i];

		if (memcmp(bucket->key, none, 16) == 0 || throttle_is_over(bucket, now))
		{
			taken = bucket;
			break;
		}
		if (throttle_is_idle(bucket, now) &&
			(taken == NULL || bucket->last_failure < taken->last_failure))
			taken = bucket;
	}
	if (taken == NULL)
		return &set->shared;
	memset(taken, 0, sizeof(*taken));
	memcpy(taken->key, key, 16);
	return taken;
}

/* Bytes of an argument and the class, within this database. */
static void
throttle_make_key(const ThrottleClass *class, bytea *data, uint8_t key[16])
{
	uint8_t hash[CRYPTO_HASH_BYTES];
	char scope[64];
	int n = snprintf(scope, sizeof(scope), "%u %s", MyDatabaseId, class->name);

	if (!crypto_sha256_3(scope, n + 1, VARDATA_ANY(data), VARSIZE_ANY_EXHDR(data), NULL, 0, hash))
		elog(ERROR, "could not hash a throttle key");
	memcpy(key, hash, 16);
	key[15] &= ~THROTTLE_KEY_DEVICE;
	key[15] |= THROTTLE_KEY_USED | (class->device ? THROTTLE_KEY_DEVICE : 0);
}

static const ThrottleClass *
throttle_class(text *name)
{
	for (int i = 0; i < lengthof(throttle_classes); i++)
		if (strlen(throttle_classes[i].name) == VARSIZE_ANY_EXHDR(name) &&
			memcmp(throttle_classes[i].name, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)) == 0)
			return &throttle_classes[i];
	elog(ERROR, "unknown class of throttle");
}

/* ---- after a start of the server ---- */

/* Makes the buckets of this database of its log. */
static void
throttle_read_log(void)
{
	static const char *const query =
		"SELECT class, key, at FROM immiiq.throttled_failures() ORDER BY at";
	TimestampTz now = GetCurrentTimestamp();

	SPI_connect();
	if (SPI_execute(query, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read immiiq.sign_in_attempt");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		const ThrottleClass *class;
		ThrottleBucket *bucket;
		uint8_t key[16];
		bool isnull;
		Datum name = SPI_getbinval(row, desc, 1, &isnull);
		Datum data = SPI_getbinval(row, desc, 2, &isnull);
		TimestampTz at;

		if (isnull)
			continue;
		class = throttle_class(DatumGetTextPP(name));
		throttle_make_key(class, DatumGetByteaPP(data), key);
		at = DatumGetTimestampTz(SPI_getbinval(row, desc, 3, &isnull));
		LWLockAcquire(throttle_lock(key), LW_EXCLUSIVE);
		bucket = throttle_find(key);
		if (bucket == NULL)
			bucket = throttle_take(key, now);
		throttle_count_failure(bucket, class, at);
		LWLockRelease(throttle_lock(key));
	}
	SPI_finish();
}

/* Ends this backend's turn as the loader. */
static void
throttle_loaded(bool done)
{
	LWLockAcquire(throttle->loading, LW_EXCLUSIVE);
	if (throttle->loader == MyProcPid)
	{
		throttle->loader = 0;
		if (done && throttle->loaded_count < THROTTLE_DATABASES)
			throttle->loaded[throttle->loaded_count++] = MyDatabaseId;
	}
	LWLockRelease(throttle->loading);
}

/* What was counted before the server started counts on: once for each database, before its first attempt. */
static void
throttle_load(void)
{
	while (!throttle_known_loaded)
	{
		bool mine = false;

		LWLockAcquire(throttle->loading, LW_EXCLUSIVE);
		for (int i = 0; i < throttle->loaded_count && !throttle_known_loaded; i++)
			throttle_known_loaded = throttle->loaded[i] == MyDatabaseId;
		if (!throttle_known_loaded && throttle->loader == 0)
		{
			throttle->loader = MyProcPid;
			mine = true;
		}
		LWLockRelease(throttle->loading);
		if (mine)
		{
			PG_TRY();
			{
				throttle_read_log();
			}
			PG_CATCH();
			{
				throttle_loaded(false);
				PG_RE_THROW();
			}
			PG_END_TRY();
			throttle_loaded(true);
			throttle_known_loaded = true;
		}
		else if (!throttle_known_loaded)
		{
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 5,
							 PG_WAIT_EXTENSION);
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
		}
	}
}

/* ---- reserving and settling ---- */

/* Settles what this backend holds beyond the first keep reservations. */
static void
throttle_settle(int keep, bool failed)
{
	TimestampTz now;

	if (throttle_held_count <= keep)
		return;
	now = GetCurrentTimestamp();
	while (throttle_held_count > keep)
	{
		ThrottleHeld *held = &throttle_held[--throttle_held_count];
		ThrottleBucket *bucket;

		LWLockAcquire(throttle_lock(held->key), LW_EXCLUSIVE);
		bucket = held->shared ? &throttle->sets[throttle_set_number(held->key)].shared
							  : throttle_find(held->key);
		if (bucket != NULL && bucket->inflight > 0)
		{
			bucket->inflight--;
			if (failed)
				throttle_count_failure(bucket, held->class, now);
		}
		LWLockRelease(throttle_lock(held->key));
	}
	ConditionVariableBroadcast(&throttle->settled);
}

static void
throttle_at_exit(int code, Datum arg)
{
	LWLockReleaseAll();
	throttle_settle(0, true);
	throttle_loaded(false);
}

static void
throttle_at_xact(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		throttle_settle(0, true);
}

static void
throttle_at_subxact(SubXactEvent event, SubTransactionId mySubid, SubTransactionId parentSubid,
					void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		throttle_settle(0, true);
}

void
throttle_init(void)
{
	/* Loaded later, the library refuses everything, and cannot define what belongs to the server's start. */
	if (!base_preloaded)
		return;
	DefineCustomIntVariable("immiiq.throttle_buckets",
							"Accounts, networks and devices whose failed sign-ins are remembered at a time.",
							NULL, &throttle_buckets, 65536, 1024, 16777216, PGC_POSTMASTER, 0, NULL,
							NULL, NULL);
	RegisterXactCallback(throttle_at_xact, NULL);
	RegisterSubXactCallback(throttle_at_subxact, NULL);
}

typedef enum ThrottleAnswer
{
	THROTTLE_ADMITTED,
	THROTTLE_WAIT, /* others must be settled first */
	THROTTLE_LOCKED
} ThrottleAnswer;

static ThrottleAnswer
throttle_reserve_one(const ThrottleClass *class, const uint8_t key[16], TimestampTz now,
					 TimestampTz *until)
{
	ThrottleHeld *held;
	ThrottleBucket *bucket;
	ThrottleAnswer answer = THROTTLE_ADMITTED;
	bool shared;

	LWLockAcquire(throttle_lock(key), LW_EXCLUSIVE);
	bucket = throttle_find(key);
	if (bucket == NULL)
		bucket = throttle_take(key, now);
	shared = bucket == &throttle->sets[throttle_set_number(key)].shared;
	if (bucket->locked_until > now)
	{
		*until = Max(*until, bucket->locked_until);
		answer = THROTTLE_LOCKED;
	}
	else if (throttle_failures(bucket, class, now) + bucket->inflight >= class->limit)
		answer = THROTTLE_WAIT;
	else
	{
		bucket->inflight++;
		held = &throttle_held[throttle_held_count++];
		held->class = class;
		memcpy(held->key, key, 16);
		held->shared = shared;
	}
	LWLockRelease(throttle_lock(key));
	return answer;
}

/*
 * immiiq.throttle_reserve(classes text[], keys bytea[]) → interval
 * Reserves an attempt in every bucket; null keys are left out.  Null when it
 * was, and immiiq.throttle_settle must follow; else how long the longest lock
 * still is, and nothing was reserved.  Waits while attempts that were reserved before may
 * still fill a bucket.
 */
Datum
immiiq_throttle_reserve(PG_FUNCTION_ARGS)
{
	Datum *classes;
	Datum *keys;
	bool *class_nulls;
	bool *key_nulls;
	int nclasses;
	int nkeys;
	const ThrottleClass *class[THROTTLE_RESERVED];
	uint8_t key[THROTTLE_RESERVED][16];
	int n = 0;
	int before = throttle_held_count;
	TimestampTz started = GetCurrentTimestamp();
	bool prepared = false;

	base_require_preload();
	if (!throttle_exit_registered)
	{
		before_shmem_exit(throttle_at_exit, (Datum) 0);
		throttle_exit_registered = true;
	}
	throttle_load();
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &classes,
					  &class_nulls, &nclasses);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), BYTEAOID, -1, false, TYPALIGN_INT, &keys,
					  &key_nulls, &nkeys);
	if (nclasses != nkeys || before + nkeys > THROTTLE_RESERVED)
		elog(ERROR, "too many reservations");
	for (int i = 0; i < nkeys; i++)
	{
		if (key_nulls[i] || class_nulls[i])
			continue;
		class[n] = throttle_class(DatumGetTextPP(classes[i]));
		throttle_make_key(class[n], DatumGetByteaPP(keys[i]), key[n]);
		n++;
	}

	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();
		TimestampTz until = 0;
		ThrottleAnswer worst = THROTTLE_ADMITTED;
		Interval *wait;

		/* the answer of a lock must not depend on which bucket is asked first */
		for (int i = 0; i < n; i++)
		{
			ThrottleAnswer answer = throttle_reserve_one(class[i], key[i], now, &until);

			worst = Max(worst, answer);
		}
		if (worst == THROTTLE_ADMITTED)
		{
			ConditionVariableCancelSleep();
			PG_RETURN_NULL();
		}
		if (worst == THROTTLE_WAIT && now - started < THROTTLE_PATIENCE_S * USECS_PER_SEC)
		{
			/* give back what was reserved, uncounted */
			int kept = throttle_held_count;

			if (kept > before)
				throttle_settle(before, false);
			if (!prepared)
			{
				ConditionVariablePrepareToSleep(&throttle->settled);
				prepared = true;
			}
			(void) ConditionVariableTimedSleep(&throttle->settled, 20, PG_WAIT_EXTENSION);
			continue;
		}
		ConditionVariableCancelSleep();
		throttle_settle(before, false);
		wait = palloc0(sizeof(Interval));
		wait->time = worst == THROTTLE_LOCKED ? until - now : USECS_PER_SEC;
		/* whole seconds, upwards */
		wait->time = (wait->time + USECS_PER_SEC - 1) / USECS_PER_SEC * USECS_PER_SEC;
		PG_RETURN_INTERVAL_P(wait);
	}
}

/* immiiq.throttle_settle(failed boolean) → void: counts what this backend has reserved as failed, or gives it back. */
Datum
immiiq_throttle_settle(PG_FUNCTION_ARGS)
{
	throttle_settle(0, PG_GETARG_BOOL(0));
	PG_RETURN_VOID();
}

/*
 * immiiq.throttle_forget(class text, key bytea) → boolean: unlocks a bucket and
 * forgets what it counted; false when it had nothing to forget.
 */
Datum
immiiq_throttle_forget(PG_FUNCTION_ARGS)
{
	const ThrottleClass *class = throttle_class(PG_GETARG_TEXT_PP(0));
	uint8_t key[16];
	ThrottleBucket *bucket;
	bool forgot = false;

	base_require_preload();
	throttle_make_key(class, PG_GETARG_BYTEA_PP(1), key);
	LWLockAcquire(throttle_lock(key), LW_EXCLUSIVE);
	bucket = throttle_find(key);
	if (bucket != NULL)
	{
		forgot = bucket->failures > 0 || bucket->locked_until > GetCurrentTimestamp();
		bucket->failures = 0;
		bucket->locks = 0;
		bucket->locked_until = 0;
	}
	LWLockRelease(throttle_lock(key));
	PG_RETURN_BOOL(forgot);
}
