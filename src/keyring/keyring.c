/*
 * Wrapped keys and what is derived from them, cached per backend.
 * Trusts the root keys and, once a wrap has opened, its row; refuses to make a
 * key under a root key that is not this database's, and forgets whatever may
 * have changed: rows, root keys, an aborted transaction.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/parallel.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/indexing.h"
#include "catalog/pg_collation.h"
#include "commands/sequence.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/base.h"
#include "keyring/heads.h"
#include "keyring/keyring.h"
#include "keyring/keyring_private.h"
#include "keyring/wrap.h"

/* Columns of immiiq.root_key and immiiq.wrapped_key, in the order of sql/parts/10_keyring.sql. */
enum
{
	Anum_root_id = 1,
	Anum_root_fingerprint,
	Anum_root_first_used,
	Natts_root = Anum_root_first_used
};
enum
{
	Anum_key_id = 1,
	Anum_key_org,
	Anum_key_purpose,
	Anum_key_version,
	Anum_key_root_id,
	Anum_key_wrapped,
	Anum_key_created,
	Natts_key = Anum_key_created
};

/* Columns of immiiq.erasure_ledger, in the order of sql/parts/79_erasure.sql. */
enum
{
	Anum_ledger_org = 1,
	Anum_ledger_seq = 2,
	Anum_ledger_hash = 7
};

StaticAssertDecl(Anum_key_wrapped == KEYRING_ANUM_WRAPPED, "wrapped is where wipe.c looks");

typedef enum KeyringPurpose
{
	PURPOSE_INSTALLATION = 1,
	PURPOSE_DATA,
	PURPOSE_INDEX,
	PURPOSE_AUDIT,
	PURPOSE_SUBJECT
} KeyringPurpose;

static const char *const purpose_names[] = {NULL,	 "installation", "data",
											"index", "audit",		 "subject"};

/* A row of immiiq.wrapped_key. */
typedef struct KeyRow
{
	uint32 key_id;
	KeyringPurpose purpose;
	pg_uuid_t org; /* nil for the installation */
	uint32 version;
	char root_id[KEYRING_ROOT_ID_MAX + 1];
	uint8 wrapped[KEYRING_WRAPPED_BYTES];
	TransactionId xmin; /* who wrote the row */
} KeyRow;

/* ---- the cache ---- */

#define CACHE_LIVE		  1024 /* entries that can be found */
#define CACHE_PINNED	  8	   /* the last ones handed out outlive eviction and invalidation */
#define CACHE_SLOTS		  (CACHE_LIVE + CACHE_PINNED)
#define CACHE_BUCKET_BITS 11
#define CACHE_BUCKETS	  (1 << CACHE_BUCKET_BITS)

typedef enum CacheKind
{
	CACHE_CURRENT = 1, /* purpose, org → key id */
	CACHE_KEY,		   /* key id → row, and the key once it is opened */
	CACHE_FIELD,	   /* key id, type, domain → cipher */
	CACHE_TAG,		   /* key id, type, domain, kind of token → HMAC */
	CACHE_AUDIT,	   /* key id → cipher, and the salt key in its secret */
	CACHE_AUDIT_TAG,   /* org → HMAC */
	CACHE_CLIENT, /* client, hash of org → key id of its subject key, row.org telling whose client */
	CACHE_SUBJECT /* key id of a subject key → cipher, and the salt key in its secret */
} CacheKind;

/* The small numbers in one word: an entry is looked for with every value, and three words are soon compared. */
typedef struct CacheKey
{
	uint64 what;
	uint64 org[2];
} CacheKey;

/* What must not be in ordinary memory; one per slot in a locked area. */
typedef union CacheSecret
{
	uint8 key[CRYPTO_KEY_BYTES];
	CryptoHmac hmac;
} CacheSecret;

typedef struct CacheEntry
{
	CacheKey key;
	bool live;	 /* can be found; otherwise free, or kept for its pins */
	bool opened; /* CACHE_KEY: secret->key is set */
	int pins;	 /* places in cache_recent */
	dlist_node lru;
	struct CacheEntry *chain;
	KeyRow row;		  /* CACHE_KEY whole; the others: key_id and org of what they came from */
	uint64 epoch;	  /* CACHE_CURRENT of an index secret: keyring_shared->epoch when it was read */
	CryptoXaes *xaes; /* CACHE_FIELD, CACHE_AUDIT */
	CacheSecret *secret;
} CacheEntry;

static CacheEntry *cache_entries = NULL;
static CacheSecret *cache_secrets = NULL;
static CacheEntry *cache_buckets[CACHE_BUCKETS];
static dlist_head cache_lru = DLIST_STATIC_INIT(cache_lru); /* live ones, last used first */
static dlist_head cache_free = DLIST_STATIC_INIT(cache_free);
static CacheEntry *cache_recent[CACHE_PINNED];
static int cache_recent_next = 0;
static int cache_live = 0;
static bool cache_stale = false;
static uint64 cache_generation = 0;
static Oid cache_relid = InvalidOid;		 /* immiiq.wrapped_key, once read */
static Oid cache_subject_relid = InvalidOid; /* immiiq.subject_key */
static bool created_here = false;			 /* this transaction made keys */

/* ---- who sees which index secret ---- */

/*
 * Rows and the secret that tagged them change in one transaction, so whoever
 * searches must take the secret that his snapshot sees.  An entry of the cache
 * holds for every snapshot that sees its row while no change has begun since.
 */
typedef struct KeyringShared
{
	pg_atomic_uint32 turning; /* transactions that change an index secret now */
	pg_atomic_uint64 epoch;	  /* how many have begun */
} KeyringShared;

static KeyringShared *keyring_shared = NULL;
static bool turning_here = false; /* this transaction changes an index secret */
static pg_uuid_t turning_org;	  /* whose */
static uint32 turning_key_id = 0; /* to which */

/* What is not part of a kind of key is 0, or NULL. */
static inline CacheKey
cache_key(CacheKind kind, uint8 type, uint8 token, uint16 domain, uint32 key_id,
		  const pg_uuid_t *org)
{
	CacheKey key = {(uint64) key_id << 32 | (uint32) domain << 16 | (uint32) token << 8 |
						(uint32) type << 4 | (uint32) kind,
					{0, 0}};

	Assert(type < 16 && kind < 16);
	if (org != NULL)
		memcpy(key.org, org->data, sizeof(key.org));
	return key;
}

/* Ids and types are small numbers and organisations random ones, so that little mixing will do. */
static inline uint32
cache_bucket(const CacheKey *key)
{
	uint64 hash = key->what * UINT64CONST(0x9E3779B97F4A7C15) +
				  key->org[0] * UINT64CONST(0x165667B19E3779F9) + key->org[1];

	return (hash ^ hash >> 29) * UINT64CONST(0x9E3779B97F4A7C15) >> (64 - CACHE_BUCKET_BITS);
}

static void
cache_exit(int code, Datum arg)
{
	if (cache_entries == NULL)
		return;
	for (int i = 0; i < CACHE_SLOTS; i++)
		crypto_xaes_free(cache_entries[i].xaes);
	crypto_free_locked(cache_secrets);
	cache_secrets = NULL;
	cache_entries = NULL;
}

static void
cache_start(void)
{
	CacheEntry *entries;

	entries = MemoryContextAllocZero(TopMemoryContext, sizeof(CacheEntry) * CACHE_SLOTS);
	cache_secrets = crypto_alloc_locked(sizeof(CacheSecret) * CACHE_SLOTS);
	if (cache_secrets == NULL)
	{
		pfree(entries);
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory for keys")));
	}
	for (int i = 0; i < CACHE_SLOTS; i++)
	{
		entries[i].secret = &cache_secrets[i];
		dlist_push_tail(&cache_free, &entries[i].lru);
	}
	cache_entries = entries;
	on_proc_exit(cache_exit, (Datum) 0);
}

/* Wipes an entry that cannot be found and that nobody holds. */
static void
cache_release(CacheEntry *entry)
{
	Assert(!entry->live && entry->pins == 0);
	crypto_xaes_free(entry->xaes);
	crypto_wipe(entry->secret, sizeof(CacheSecret));
	entry->xaes = NULL;
	entry->opened = false;
	dlist_push_head(&cache_free, &entry->lru);
}

/* Takes an entry out of the cache; it is wiped now, or when its last pin goes. */
static void
cache_remove(CacheEntry *entry)
{
	uint32 bucket = cache_bucket(&entry->key);
	CacheEntry **link = &cache_buckets[bucket];

	while (*link != entry)
		link = &(*link)->chain;
	*link = entry->chain;
	dlist_delete(&entry->lru);
	entry->live = false;
	cache_live--;
	if (entry->pins == 0)
		cache_release(entry);
}

/*
 * Makes an entry one of the last handed out: it stays whole until CACHE_PINNED
 * others were.  Whatever is only looked at within one call needs no pin: it was
 * just used, so it is not what an eviction takes.
 */
static CacheEntry *
cache_pin(CacheEntry *entry)
{
	CacheEntry *out = cache_recent[cache_recent_next];

	if (cache_recent[(cache_recent_next + CACHE_PINNED - 1) % CACHE_PINNED] == entry)
		return entry;
	entry->pins++;
	cache_recent[cache_recent_next] = entry;
	cache_recent_next = (cache_recent_next + 1) % CACHE_PINNED;
	if (out != NULL && --out->pins == 0 && !out->live)
		cache_release(out);
	return entry;
}

/* Every function of this capability begins here: forgets what may have changed. */
static void
cache_begin(void)
{
	uint64 generation;

	base_require_preload();
	generation = rootkeys_generation();
	if (!cache_stale && generation == cache_generation)
		return;
	while (!dlist_is_empty(&cache_lru))
		cache_remove(dlist_head_element(CacheEntry, lru, &cache_lru));
	cache_stale = false;
	cache_generation = generation;
}

static inline bool
cache_key_equal(const CacheKey *a, const CacheKey *b)
{
	return a->what == b->what && a->org[0] == b->org[0] && a->org[1] == b->org[1];
}

static inline CacheEntry *
cache_find(const CacheKey *key)
{
	CacheEntry *entry;

	/* A scan asks for the same key again and again. */
	if (!dlist_is_empty(&cache_lru))
	{
		entry = dlist_head_element(CacheEntry, lru, &cache_lru);
		if (cache_key_equal(&entry->key, key))
			return entry;
	}
	for (entry = cache_buckets[cache_bucket(key)]; entry != NULL; entry = entry->chain)
	{
		if (cache_key_equal(&entry->key, key))
		{
			dlist_move_head(&cache_lru, &entry->lru);
			return entry;
		}
	}
	return NULL;
}

/* The same for an entry that is read at once: where it was last is looked at first, and its turn to go is not put off. */
static inline CacheEntry *
cache_find_again(const CacheKey *key, CacheEntry **last)
{
	if (*last == NULL || !(*last)->live || !cache_key_equal(&(*last)->key, key))
		*last = cache_find(key);
	return *last;
}

/* A free entry that cannot be found yet: cache_enter makes it so once it is filled. */
static CacheEntry *
cache_take(void)
{
	CacheEntry *entry;

	if (cache_entries == NULL)
		cache_start();
	if (cache_live >= CACHE_LIVE || dlist_is_empty(&cache_free))
	{
		dlist_iter iter;

		dlist_reverse_foreach(iter, &cache_lru)
		{
			entry = dlist_container(CacheEntry, lru, iter.cur);
			if (entry->pins == 0)
			{
				cache_remove(entry);
				break;
			}
		}
	}
	/* Live and pinned ones together are fewer than there are slots. */
	entry = dlist_container(CacheEntry, lru, dlist_pop_head_node(&cache_free));
	memset(&entry->key, 0, sizeof(CacheKey));
	memset(&entry->row, 0, sizeof(KeyRow));
	return entry;
}

static CacheEntry *
cache_enter(CacheEntry *entry, const CacheKey *key)
{
	uint32 bucket = cache_bucket(key);

	entry->key = *key;
	entry->chain = cache_buckets[bucket];
	cache_buckets[bucket] = entry;
	entry->live = true;
	cache_live++;
	dlist_push_head(&cache_lru, &entry->lru);
	return entry;
}

/* ---- invalidation ---- */

static void
keyring_relcache_changed(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || relid == cache_relid || relid == cache_subject_relid)
		cache_stale = true;
}

/* Keys that an aborted transaction made never existed: nothing may be sealed under them. */
static void
keyring_xact_ended(XactEvent event, void *arg)
{
	if (turning_here && event != XACT_EVENT_PRE_COMMIT && event != XACT_EVENT_PRE_PREPARE)
	{
		turning_here = false;
		cache_stale = true;
		pg_atomic_fetch_sub_u32(&keyring_shared->turning, 1);
	}
	switch (event)
	{
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PARALLEL_ABORT:
			if (created_here)
				cache_stale = true;
			created_here = false;
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
			/* Prepared keys can still roll back elsewhere. */
			if (created_here && event == XACT_EVENT_PREPARE)
				cache_stale = true;
			created_here = false;
			break;
		default:
			break;
	}
}

static void
keyring_subxact_ended(SubXactEvent event, SubTransactionId mySubid, SubTransactionId parentSubid,
					  void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB && created_here)
		cache_stale = true;
}

void
keyring_init(void)
{
	if (!crypto_init())
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
						errmsg("could not start libsodium and OpenSSL's AES-256")));
	rootkeys_init();
	heads_init();
	if (!base_preloaded)
		return;
	CacheRegisterRelcacheCallback(keyring_relcache_changed, (Datum) 0);
	RegisterXactCallback(keyring_xact_ended, NULL);
	RegisterSubXactCallback(keyring_subxact_ended, NULL);
}

void
keyring_shmem_request(void)
{
	rootkeys_shmem_request();
	RequestAddinShmemSpace(sizeof(KeyringShared));
}

void
keyring_shmem_startup(void)
{
	bool found;

	rootkeys_shmem_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	keyring_shared = ShmemInitStruct("immiiq keyring", sizeof(KeyringShared), &found);
	if (!found)
	{
		pg_atomic_init_u32(&keyring_shared->turning, 0);
		pg_atomic_init_u64(&keyring_shared->epoch, 1);
	}
	LWLockRelease(AddinShmemInitLock);
}

/* ---- errors ---- */

/* One message for an absent root key, a wrong one and a damaged row: they cannot be told apart. */
static void
raise_root_key(void)
{
	ereport(ERROR, (errcode(ERRCODE_IMMIIQ_ROOT_KEY), errmsg("root key is missing or wrong"),
					errhint("As a superuser, SELECT * FROM immiiq.doctor() says what is wrong.")));
}

static void
raise_no_org_key(void)
{
	ereport(ERROR, (errcode(ERRCODE_IMMIIQ_KEY), errmsg("the organisation has no keys"),
					errhint("Organisations are made with immiiq.create_org().")));
}

static void
raise_cipher(void)
{
	ereport(ERROR, (errcode(ERRCODE_IMMIIQ_KEY), errmsg("could not derive a key")));
}

const pg_uuid_t keyring_installation_org = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
											 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

/* ---- rows ---- */

/* Copies a short text attribute; false when null or longer than the room. */
static bool
copy_text(HeapTuple tuple, int attnum, TupleDesc desc, char *out, size_t size)
{
	bool isnull;
	Datum d = heap_getattr(tuple, attnum, desc, &isnull);
	text *t;
	bool ok;

	if (isnull)
		return false;
	t = DatumGetTextPP(d);
	ok = VARSIZE_ANY_EXHDR(t) < size;
	if (ok)
		text_to_cstring_buffer(t, out, size);
	if ((Pointer) t != DatumGetPointer(d))
		pfree(t);
	return ok;
}

static bool
copy_bytes(HeapTuple tuple, int attnum, TupleDesc desc, uint8 *out, size_t size)
{
	bool isnull;
	Datum d = heap_getattr(tuple, attnum, desc, &isnull);
	bytea *b;
	bool ok;

	if (isnull)
		return false;
	b = DatumGetByteaPP(d);
	ok = VARSIZE_ANY_EXHDR(b) == size;
	if (ok)
		memcpy(out, VARDATA_ANY(b), size);
	if ((Pointer) b != DatumGetPointer(d))
		pfree(b);
	return ok;
}

/* Reads a tuple of immiiq.wrapped_key; false for one that this library cannot have written. */
static bool
read_key_row(HeapTuple tuple, TupleDesc desc, KeyRow *row)
{
	char purpose[KEYRING_LABEL_BYTES + 1];
	bool isnull;
	Datum d;
	int64 key_id;

	memset(row, 0, sizeof(*row));
	key_id = DatumGetInt64(heap_getattr(tuple, Anum_key_id, desc, &isnull));
	if (isnull || key_id < 1 || key_id > PG_UINT32_MAX)
		return false;
	row->key_id = (uint32) key_id;
	row->xmin = HeapTupleHeaderGetXmin(tuple->t_data);
	d = heap_getattr(tuple, Anum_key_org, desc, &isnull);
	if (!isnull)
		row->org = *DatumGetUUIDP(d);
	row->version = (uint32) DatumGetInt32(heap_getattr(tuple, Anum_key_version, desc, &isnull));
	if (isnull)
		return false;
	if (!copy_text(tuple, Anum_key_purpose, desc, purpose, sizeof(purpose)) ||
		!copy_text(tuple, Anum_key_root_id, desc, row->root_id, sizeof(row->root_id)) ||
		!copy_bytes(tuple, Anum_key_wrapped, desc, row->wrapped, sizeof(row->wrapped)))
		return false;
	for (KeyringPurpose p = PURPOSE_INSTALLATION; p <= PURPOSE_SUBJECT; p++)
	{
		if (strcmp(purpose, purpose_names[p]) == 0)
			row->purpose = p;
	}
	return row->purpose != 0 &&
		   base_uuid_is_nil(&row->org) == (row->purpose == PURPOSE_INSTALLATION);
}

/*
 * Scans immiiq.wrapped_key by key id, or by organisation (nil: the
 * installation) and purpose for its highest version.  Neither SPI nor a
 * privilege nor the caller's snapshot: works in output functions, parallel
 * workers and on a standby.  Logical decoding's snapshot sees no user table:
 * nothing is found there.
 */
static bool
scan_keys_seen(uint32 key_id, const pg_uuid_t *org, KeyringPurpose purpose, Snapshot snapshot,
			   KeyRow *row)
{
	ScanKeyData key[1];
	SysScanDesc scan;
	HeapTuple tuple;
	Relation rel;
	Oid index;
	bool found = false;

	if (HistoricSnapshotActive())
		return false;
	if (key_id != 0)
	{
		index = base_relation("wrapped_key_pkey");
		ScanKeyInit(&key[0], Anum_key_id, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(key_id));
	}
	else
	{
		index = base_relation("wrapped_key_org_id_purpose_version_key");
		if (base_uuid_is_nil(org))
			ScanKeyEntryInitialize(&key[0], SK_ISNULL | SK_SEARCHNULL, Anum_key_org,
								   InvalidStrategy, InvalidOid, InvalidOid, InvalidOid, (Datum) 0);
		else
			ScanKeyInit(&key[0], Anum_key_org, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(org));
	}
	rel = table_open(base_relation("wrapped_key"), AccessShareLock);
	cache_relid = RelationGetRelid(rel);
	scan = systable_beginscan(rel, index, true, snapshot, 1, key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		KeyRow one;

		if (!read_key_row(tuple, RelationGetDescr(rel), &one))
			continue;
		if (purpose != 0 && one.purpose != purpose)
			continue;
		if (found && one.version <= row->version)
			continue;
		*row = one;
		found = true;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/* The same as of now, whatever the caller's snapshot. */
static bool
scan_keys(uint32 key_id, const pg_uuid_t *org, KeyringPurpose purpose, KeyRow *row)
{
	return scan_keys_seen(key_id, org, purpose, NULL, row);
}

bool
keyring_org_has_keys(const pg_uuid_t *org)
{
	KeyRow row;

	return !base_uuid_is_nil(org) && scan_keys(0, org, 0, &row);
}

static void
bind_row(const KeyRow *row, KeyringBinding *binding)
{
	binding->purpose = purpose_names[row->purpose];
	memcpy(binding->org, row->org.data, UUID_LEN);
	binding->version = row->version;
	binding->key_id = row->key_id;
	binding->root_id = row->root_id;
}

/* Opens a wrapped key whoever has been erased; false when its root key is absent or wrong, or the row is damaged. */
static bool
unwrap_row(const KeyRow *row, uint8 key[CRYPTO_KEY_BYTES])
{
	KeyringBinding binding;
	KeyringRoot root;
	bool ok;

	bind_row(row, &binding);
	ok = rootkeys_find(row->root_id, &root) &&
		 keyring_unwrap(root.key, &binding, row->wrapped, sizeof(row->wrapped), key);
	crypto_wipe(&root, sizeof(root));
	if (!ok)
	{
		/* The row may be mended without a word to this backend: read it again next time. */
		cache_stale = true;
	}
	return ok;
}

/* What names the installation in the file of ledger heads, in every copy of the database. */
static bool
installation_name(uint8 out[HEADS_INSTALLATION_BYTES])
{
	static const pg_uuid_t nil = {{0}};
	uint8 key[CRYPTO_KEY_BYTES];
	KeyRow row;
	bool ok;

	ok = scan_keys(0, &nil, PURPOSE_INSTALLATION, &row) && unwrap_row(&row, key) &&
		 keyring_derive(key, "ledger-head", NULL, 0, out, HEADS_INSTALLATION_BYTES);
	crypto_wipe(key, sizeof(key));
	return ok;
}

/* Whether the database's ledger has this line. */
static bool
ledger_has(const pg_uuid_t *org, const LedgerHead *head)
{
	Oid relid = base_relation_or_invalid("erasure_ledger");
	Relation rel;
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple tuple;
	bool has = false;

	if (!OidIsValid(relid))
		return false;
	rel = table_open(relid, AccessShareLock);
	ScanKeyInit(&key[0], Anum_ledger_org, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(org));
	ScanKeyInit(&key[1], Anum_ledger_seq, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum((int64) head->seq));
	scan = systable_beginscan(rel, base_relation("erasure_ledger_pkey"), true, NULL, 2, key);
	if (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool isnull;
		bytea *hash =
			DatumGetByteaPP(heap_getattr(tuple, Anum_ledger_hash, RelationGetDescr(rel), &isnull));

		has = !isnull && VARSIZE_ANY_EXHDR(hash) == CRYPTO_HASH_BYTES &&
			  memcmp(VARDATA_ANY(hash), head->hash, CRYPTO_HASH_BYTES) == 0;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return has;
}

bool
keyring_in_quarantine(const pg_uuid_t *org)
{
	uint8 installation[HEADS_INSTALLATION_BYTES];
	LedgerHead head;

	if (base_uuid_is_nil(org) || !heads_exist())
		return false;
	/* A standby is as old as its primary lets it be; a restore that stops on its way is no standby. */
	if (RecoveryInProgress() && access(STANDBY_SIGNAL_FILE, F_OK) == 0)
		return false;
	return installation_name(installation) && heads_find(installation, org, &head) &&
		   !ledger_has(org, &head);
}

/* Opens a wrapped key; false as unwrap_row, and in quarantine. */
static bool
try_open_row(const KeyRow *row, uint8 key[CRYPTO_KEY_BYTES])
{
	if (keyring_in_quarantine(&row->org))
	{
		cache_stale = true;
		return false;
	}
	return unwrap_row(row, key);
}

/* The same; ERROR IQ002, IQ004. */
static void
open_row(const KeyRow *row, uint8 key[CRYPTO_KEY_BYTES])
{
	if (keyring_in_quarantine(&row->org))
		ereport(ERROR,
				(errcode(ERRCODE_IMMIIQ_QUARANTINE),
				 errmsg(
					 "this database is from before an erasure: the organisation's sealed values stay shut"),
				 errhint("As an operator, SELECT immiiq.replay_erasures(…) with the ledger that "
						 "immiiq.export_erasures() gave.")));
	if (!unwrap_row(row, key))
		raise_root_key();
}

/* ---- entries ---- */

/* The entry of a key by id, opened or not; NULL when there is no such key. */
static CacheEntry *
find_key(uint32 key_id)
{
	CacheKey key = cache_key(CACHE_KEY, 0, 0, 0, key_id, NULL);
	CacheEntry *entry = cache_find(&key);
	KeyRow row;

	if (entry != NULL)
		return entry;
	if (key_id == 0 || !scan_keys(key_id, NULL, 0, &row))
		return NULL;
	entry = cache_take();
	entry->row = row;
	return cache_enter(entry, &key);
}

/* The id of an organisation's current key of one purpose (nil and PURPOSE_INSTALLATION), 0 when it has none. */
static uint32
find_current_id(const pg_uuid_t *org, KeyringPurpose purpose)
{
	static CacheEntry *last[lengthof(purpose_names)];
	CacheKey key = cache_key(CACHE_CURRENT, purpose, 0, 0, 0, org);
	CacheEntry *entry = cache_find_again(&key, &last[purpose]);
	KeyRow row;

	if (entry != NULL)
		return entry->row.key_id;
	if (!scan_keys(0, org, purpose, &row))
		return 0;
	entry = cache_take();
	entry->row = row;
	cache_enter(entry, &key);

	key = cache_key(CACHE_KEY, 0, 0, 0, row.key_id, NULL);
	if (cache_find(&key) == NULL)
	{
		entry = cache_take();
		entry->row = row;
		cache_enter(entry, &key);
	}
	return row.key_id;
}

/* The entry of that key; NULL when there is none. */
static CacheEntry *
find_current(const pg_uuid_t *org, KeyringPurpose purpose)
{
	return find_key(find_current_id(org, purpose));
}

/*
 * The id of the index secret whose tags the active snapshot sees; 0 when the
 * organisation has none.  *newest (may be NULL) tells whether it is the one
 * that new values are tagged with.
 */
static uint32
find_index(const pg_uuid_t *org, bool *newest)
{
	static CacheEntry *last = NULL;
	CacheKey key = cache_key(CACHE_CURRENT, PURPOSE_INDEX, 0, 0, 0, org);
	Snapshot snapshot = ActiveSnapshotSet() ? GetActiveSnapshot() : NULL;
	CacheEntry *entry;
	uint64 epoch = 0;
	KeyRow seen;
	KeyRow now;

	if (newest != NULL)
		*newest = true;
	if (turning_here && base_uuid_equal(org, &turning_org))
		return turning_key_id;
	if (!RecoveryInProgress())
	{
		epoch = pg_atomic_read_u64(&keyring_shared->epoch);
		pg_read_barrier();
		if (pg_atomic_read_u32(&keyring_shared->turning) != 0)
			epoch = 0;
	}
	entry = cache_find_again(&key, &last);
	if (entry != NULL && epoch != 0 && entry->epoch == epoch &&
		(snapshot == NULL || !TransactionIdIsNormal(entry->row.xmin) ||
		 TransactionIdPrecedes(entry->row.xmin, snapshot->xmin) ||
		 TransactionIdIsCurrentTransactionId(entry->row.xmin)))
		return entry->row.key_id;
	if (!scan_keys(0, org, PURPOSE_INDEX, &now))
		return 0;
	if (snapshot == NULL || !IsMVCCSnapshot(snapshot) ||
		!scan_keys_seen(0, org, PURPOSE_INDEX, snapshot, &seen))
		seen = now; /* made since: what the snapshot sees has no tags */
	if (seen.key_id != now.key_id)
	{
		if (newest != NULL)
			*newest = false;
		return seen.key_id;
	}
	if (epoch != 0)
	{
		if (entry == NULL)
		{
			entry = cache_take();
			cache_enter(entry, &key);
		}
		entry->row = now;
		entry->epoch = epoch;
	}
	return now.key_id;
}

uint64_t
keyring_tag_epoch(void)
{
	static uint64 serial = 0;
	const uint64 by_snapshot = UINT64CONST(1) << 63;
	Snapshot snapshot = ActiveSnapshotSet() ? GetActiveSnapshot() : NULL;
	uint64 epoch;

	if (!RecoveryInProgress() && keyring_shared != NULL)
	{
		epoch = pg_atomic_read_u64(&keyring_shared->epoch);
		pg_read_barrier();
		if (pg_atomic_read_u32(&keyring_shared->turning) == 0)
			return epoch;
	}
	/* Of two snapshots with the same end, the one that sees more has fewer transactions open. */
	if (snapshot != NULL && IsMVCCSnapshot(snapshot))
		return by_snapshot | (uint64) snapshot->xmax << 31 |
			   (uint64) ((snapshot->xcnt + snapshot->subxcnt) & 0x7fffffff);
	return by_snapshot | (UINT64CONST(1) << 62) | ++serial;
}

/* The 32 bytes of a key; ERROR IQ002 when they cannot be had. */
static const uint8 *
opened_key(CacheEntry *entry)
{
	if (!entry->opened)
	{
		open_row(&entry->row, entry->secret->key);
		entry->opened = true;
	}
	return entry->secret->key;
}

/* Ciphers and HMACs bind type and domain by what they are derived with. */
static void
put_parameters(uint8 type, uint16 domain, uint8 out[3])
{
	out[0] = type;
	out[1] = (uint8) (domain >> 8);
	out[2] = (uint8) domain;
}

/* A cipher from a key, under one label and its parameters. */
static CacheEntry *
make_cipher(const CacheKey *key, CacheEntry *source, const char *label, const uint8 *parameters,
			size_t parameters_len)
{
	const uint8 *secret = opened_key(source);
	CacheEntry *entry = cache_take();
	uint8 derived[CRYPTO_KEY_BYTES];

	entry->row.key_id = source->row.key_id;
	entry->row.org = source->row.org;
	if (keyring_derive(secret, label, parameters, parameters_len, derived, sizeof(derived)))
		entry->xaes = crypto_xaes_new(derived);
	crypto_wipe(derived, sizeof(derived));
	if (entry->xaes == NULL)
	{
		cache_release(entry);
		raise_cipher();
	}
	return cache_enter(entry, key);
}

/* The cipher of an organisation's data key for one type and domain; NULL when it has no such key. */
static CacheEntry *
find_field(const pg_uuid_t *org, uint32 key_id, uint8 type, uint16 domain)
{
	CacheKey key = cache_key(CACHE_FIELD, type, 0, domain, key_id, NULL);
	CacheEntry *entry = cache_find(&key);
	CacheEntry *source;
	uint8 parameters[3];

	if (entry != NULL)
		return base_uuid_equal(&entry->row.org, org) ? entry : NULL;
	source = find_key(key_id);
	if (source == NULL || source->row.purpose != PURPOSE_DATA ||
		!base_uuid_equal(&source->row.org, org))
		return NULL;
	put_parameters(type, domain, parameters);
	return make_cipher(&key, source, "field", parameters, sizeof(parameters));
}

/* ---- what the other capabilities call ---- */

CryptoXaes *
keyring_seal_key(const pg_uuid_t *org, uint8_t type, uint16_t domain, uint32_t *key_id)
{
	CacheEntry *entry;

	cache_begin();
	*key_id = find_current_id(org, PURPOSE_DATA);
	entry = find_field(org, *key_id, type, domain);
	if (entry == NULL)
		raise_no_org_key();
	return cache_pin(entry)->xaes;
}

CryptoXaes *
keyring_open_key(const pg_uuid_t *org, uint32_t key_id, uint8_t type, uint16_t domain)
{
	CacheEntry *entry;

	cache_begin();
	entry = find_field(org, key_id, type, domain);
	return entry != NULL ? cache_pin(entry)->xaes : NULL;
}

bool
keyring_key_org(uint32_t key_id, pg_uuid_t *org)
{
	CacheEntry *entry;

	cache_begin();
	entry = find_key(key_id);
	if (entry == NULL || entry->row.purpose != PURPOSE_DATA)
		return false;
	*org = entry->row.org;
	return true;
}

const CryptoHmac *
keyring_tag_key(const pg_uuid_t *org, uint8_t type, uint16_t domain, KeyringTokenKind kind)
{
	CacheKey key;
	uint32 key_id;
	CacheEntry *entry;
	CacheEntry *source;
	const uint8 *secret;
	uint8 parameters[4];
	uint8 derived[CRYPTO_KEY_BYTES];
	bool ok;

	cache_begin();
	key_id = find_index(org, NULL);
	key = cache_key(CACHE_TAG, type, kind, domain, key_id, NULL);
	entry = cache_find(&key);
	if (entry != NULL)
		return &cache_pin(entry)->secret->hmac;
	source = find_key(key_id);
	if (source == NULL)
		raise_no_org_key();
	secret = opened_key(source);
	put_parameters(type, domain, parameters);
	parameters[3] = kind;
	entry = cache_take();
	ok = keyring_derive(secret, "tag", parameters, sizeof(parameters), derived, sizeof(derived)) &&
		 crypto_hmac_init(&entry->secret->hmac, derived, sizeof(derived));
	crypto_wipe(derived, sizeof(derived));
	if (!ok)
	{
		cache_release(entry);
		raise_cipher();
	}
	return &cache_pin(cache_enter(entry, &key))->secret->hmac;
}

/* ---- keys of clients, and what seals images of the log ---- */

/* Columns of immiiq.subject_key, in the order of sql/parts/10_keyring.sql. */
enum
{
	Anum_subject_id = 1,
	Anum_subject_org,
	Anum_subject_client,
	Anum_subject_parent,
	Anum_subject_wrapped,
	Anum_subject_created,
	Natts_subject = Anum_subject_created
};

/* A row of immiiq.subject_key. */
typedef struct SubjectRow
{
	uint32 key_id;
	uint32 parent;
	pg_uuid_t org;
	pg_uuid_t client;
	uint8 wrapped[KEYRING_WRAPPED_BYTES];
} SubjectRow;

static bool
is_overwritten(const uint8 wrapped[KEYRING_WRAPPED_BYTES])
{
	static const uint8 zeros[KEYRING_WRAPPED_BYTES];

	return memcmp(wrapped, zeros, KEYRING_WRAPPED_BYTES) == 0;
}

/* Finds a subject key by id, or the first of a client. */
static bool
scan_subjects(uint32 key_id, const pg_uuid_t *org, const pg_uuid_t *client, SubjectRow *row)
{
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple tuple;
	Relation rel;
	bool found = false;

	if (HistoricSnapshotActive())
		return false;
	rel = table_open(base_relation("subject_key"), AccessShareLock);
	cache_subject_relid = RelationGetRelid(rel);
	if (key_id != 0)
	{
		ScanKeyInit(&key[0], Anum_subject_id, BTEqualStrategyNumber, F_INT8EQ,
					Int64GetDatum(key_id));
		scan = systable_beginscan(rel, base_relation("subject_key_pkey"), true, NULL, 1, key);
	}
	else
	{
		ScanKeyInit(&key[0], Anum_subject_org, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(org));
		ScanKeyInit(&key[1], Anum_subject_client, BTEqualStrategyNumber, F_UUID_EQ,
					UUIDPGetDatum(client));
		scan = systable_beginscan(rel, base_relation("subject_key_client_idx"), true, NULL, 2, key);
	}
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		TupleDesc desc = RelationGetDescr(rel);
		bool isnull;
		uint32 id = (uint32) DatumGetInt64(heap_getattr(tuple, Anum_subject_id, desc, &isnull));

		uint8 wrapped[KEYRING_WRAPPED_BYTES];

		if (found && id >= row->key_id)
			continue;
		/* What was overwritten is gone, though its row may still stand. */
		if (!copy_bytes(tuple, Anum_subject_wrapped, desc, wrapped, sizeof(wrapped)) ||
			is_overwritten(wrapped))
			continue;
		memcpy(row->wrapped, wrapped, sizeof(row->wrapped));
		row->key_id = id;
		row->org = *DatumGetUUIDP(heap_getattr(tuple, Anum_subject_org, desc, &isnull));
		row->client = *DatumGetUUIDP(heap_getattr(tuple, Anum_subject_client, desc, &isnull));
		row->parent =
			(uint32) DatumGetInt64(heap_getattr(tuple, Anum_subject_parent, desc, &isnull));
		found = true;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/* The key under which a client's key is wrapped: of the subject-wrapping key, for this client alone. */
static void
derive_subject_wrapper(CacheEntry *source, const pg_uuid_t *client, uint8 out[CRYPTO_KEY_BYTES])
{
	if (!keyring_derive(opened_key(source), "subject", client->data, UUID_LEN, out, CRYPTO_KEY_BYTES))
		raise_cipher();
}

static void
bind_subject(const SubjectRow *row, char *parent, size_t size, KeyringBinding *binding)
{
	snprintf(parent, size, "%u", row->parent);
	binding->purpose = "client";
	memcpy(binding->org, row->org.data, UUID_LEN);
	binding->version = 1;
	binding->key_id = row->key_id;
	binding->root_id = parent;
}

/*
 * Makes a client's key.  No lock and no uniqueness: two transactions that make
 * one at the same time have one each, and both open.
 */
static void
make_subject(const pg_uuid_t *org, const pg_uuid_t *client, SubjectRow *row)
{
	CacheEntry *source = find_current(org, PURPOSE_SUBJECT);
	KeyringBinding binding;
	char parent[16];
	uint8 wrapper[CRYPTO_KEY_BYTES];
	uint8 key[CRYPTO_KEY_BYTES];
	char *wrapped = palloc(VARHDRSZ + KEYRING_WRAPPED_BYTES);
	Datum values[Natts_subject];
	bool nulls[Natts_subject] = {false};
	Relation rel;
	HeapTuple tuple;
	bool ok;

	if (source == NULL)
		raise_no_org_key();
	row->org = *org;
	row->client = *client;
	row->parent = source->row.key_id;
	row->key_id = (uint32) nextval_internal(base_relation("wrapped_key_key_id_seq"), false);
	derive_subject_wrapper(source, client, wrapper);
	bind_subject(row, parent, sizeof(parent), &binding);
	crypto_random(key, sizeof(key));
	ok = keyring_wrap(wrapper, &binding, key, row->wrapped);
	crypto_wipe(key, sizeof(key));
	crypto_wipe(wrapper, sizeof(wrapper));
	if (!ok)
		raise_cipher();
	SET_VARSIZE(wrapped, VARHDRSZ + KEYRING_WRAPPED_BYTES);
	memcpy(wrapped + VARHDRSZ, row->wrapped, KEYRING_WRAPPED_BYTES);

	values[Anum_subject_id - 1] = Int64GetDatum(row->key_id);
	values[Anum_subject_org - 1] = UUIDPGetDatum(org);
	values[Anum_subject_client - 1] = UUIDPGetDatum(client);
	values[Anum_subject_parent - 1] = Int64GetDatum(row->parent);
	values[Anum_subject_wrapped - 1] = PointerGetDatum(wrapped);
	values[Anum_subject_created - 1] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	rel = table_open(base_relation("subject_key"), RowExclusiveLock);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleInsert(rel, tuple);
	created_here = true;
	heap_freetuple(tuple);
	pfree(wrapped);
	table_close(rel, NoLock);
	CommandCounterIncrement(); /* the same statement may ask again once the cache has forgotten */
}

/* Derives cipher and salt key from 32 bytes and enters them. */
static CacheEntry *
make_image_key(const CacheKey *key, uint32 key_id, const pg_uuid_t *org, const uint8 *secret)
{
	CacheEntry *entry = cache_take();
	uint8 derived[CRYPTO_KEY_BYTES];

	entry->row.key_id = key_id;
	entry->row.org = *org;
	if (keyring_derive(secret, "audit", NULL, 0, derived, sizeof(derived)) &&
		keyring_derive(secret, "audit-salt", NULL, 0, entry->secret->key, CRYPTO_KEY_BYTES))
		entry->xaes = crypto_xaes_new(derived);
	crypto_wipe(derived, sizeof(derived));
	if (entry->xaes == NULL)
	{
		cache_release(entry);
		raise_cipher();
	}
	return cache_enter(entry, key);
}

/* The cipher of a client's key; NULL when the row is gone or is another organisation's. */
static CacheEntry *
find_subject(uint32 key_id, const pg_uuid_t *org, const SubjectRow *known)
{
	CacheKey key = cache_key(CACHE_SUBJECT, 0, 0, 0, key_id, NULL);
	CacheEntry *entry = cache_find(&key);
	CacheEntry *source;
	KeyringBinding binding;
	SubjectRow row;
	char parent[16];
	uint8 wrapper[CRYPTO_KEY_BYTES];
	uint8 secret[CRYPTO_KEY_BYTES];
	bool ok;

	if (entry != NULL)
		return base_uuid_equal(&entry->row.org, org) ? entry : NULL;
	if (known != NULL)
		row = *known;
	else if (!scan_subjects(key_id, NULL, NULL, &row))
		return NULL;
	if (!base_uuid_equal(&row.org, org))
		return NULL;
	source = find_key(row.parent);
	if (source == NULL || source->row.purpose != PURPOSE_SUBJECT ||
		!base_uuid_equal(&source->row.org, org))
		return NULL;
	derive_subject_wrapper(source, &row.client, wrapper);
	bind_subject(&row, parent, sizeof(parent), &binding);
	ok = keyring_unwrap(wrapper, &binding, row.wrapped, sizeof(row.wrapped), secret);
	crypto_wipe(wrapper, sizeof(wrapper));
	if (!ok)
		return NULL;
	entry = make_image_key(&key, key_id, org, secret);
	crypto_wipe(secret, sizeof(secret));
	return entry;
}

/* The cipher for what is written now of a client. */
static CacheEntry *
find_client(const pg_uuid_t *org, const pg_uuid_t *client)
{
	CacheKey key = cache_key(CACHE_CLIENT, 0, 0, 0, hash_bytes(org->data, UUID_LEN), client);
	CacheEntry *entry = cache_find(&key);
	SubjectRow row;

	if (entry != NULL && base_uuid_equal(&entry->row.org, org))
	{
		CacheEntry *subject = find_subject(entry->row.key_id, org, NULL);

		if (subject != NULL)
			return subject;
	}
	if (entry != NULL)
		cache_remove(entry);
	if (!scan_subjects(0, org, client, &row))
		make_subject(org, client, &row);
	entry = cache_take();
	entry->row.key_id = row.key_id;
	entry->row.org = *org;
	cache_enter(entry, &key);
	return find_subject(row.key_id, org, &row);
}

/* Whose key seals what is of no organisation. */
static uint8
audit_purpose(const pg_uuid_t *org)
{
	return base_uuid_equal(org, &keyring_installation_org) ? PURPOSE_INSTALLATION : PURPOSE_AUDIT;
}

/* The key from which those of an organisation's log, or of the installation's, are derived. */
static CacheEntry *
find_audit_source(const pg_uuid_t *org)
{
	static const pg_uuid_t nil = {{0}};

	if (audit_purpose(org) == PURPOSE_INSTALLATION)
		return find_current(&nil, PURPOSE_INSTALLATION);
	return find_current(org, PURPOSE_AUDIT);
}

/* An audit key, current or by id; NULL when there is none, or the id names another kind of key. */
static CacheEntry *
find_audit(const pg_uuid_t *org, uint32 key_id)
{
	CacheKey key = cache_key(CACHE_AUDIT, 0, 0, 0, key_id, NULL);
	CacheEntry *entry = key_id != 0 ? cache_find(&key) : NULL;
	CacheEntry *source;

	if (entry != NULL)
		return entry;
	source = key_id == 0 ? find_audit_source(org) : find_key(key_id);
	if (source == NULL || source->row.purpose != audit_purpose(org))
		return NULL;
	key = cache_key(CACHE_AUDIT, 0, 0, 0, source->row.key_id, NULL);
	entry = cache_find(&key);
	if (entry == NULL)
		entry = make_image_key(&key, source->row.key_id,
							   audit_purpose(org) == PURPOSE_AUDIT ? &source->row.org : org,
							   opened_key(source));
	return entry;
}

bool
keyring_can_log(const pg_uuid_t *org)
{
	CacheEntry *source;

	if (base_uuid_is_nil(org))
		return false;
	cache_begin();
	source = find_audit_source(org);
	if (source == NULL)
		return false;
	if (!source->opened)
		source->opened = try_open_row(&source->row, source->secret->key);
	return source->opened;
}

CryptoXaes *
keyring_find_image_key(const pg_uuid_t *org, uint32_t key_id, const uint8_t **salt)
{
	CacheEntry *entry;

	cache_begin();
	entry = find_subject(key_id, org, NULL);
	if (entry == NULL)
		entry = find_audit(org, key_id);
	if (entry == NULL || !base_uuid_equal(&entry->row.org, org))
		return NULL;
	cache_pin(entry);
	*salt = entry->secret->key;
	return entry->xaes;
}

CryptoXaes *
keyring_image_key(const pg_uuid_t *org, const pg_uuid_t *client, uint32_t *key_id,
				  const uint8_t **salt)
{
	CacheEntry *entry;

	cache_begin();
	entry = client != NULL ? find_client(org, client) : find_audit(org, 0);
	if (entry == NULL || !base_uuid_equal(&entry->row.org, org))
		raise_no_org_key();
	*key_id = entry->row.key_id;
	cache_pin(entry);
	*salt = entry->secret->key;
	return entry->xaes;
}

const CryptoHmac *
keyring_audit_tag_key(const pg_uuid_t *org)
{
	CacheKey key = cache_key(CACHE_AUDIT_TAG, 0, 0, 0, 0, org);
	CacheEntry *entry;
	CacheEntry *source;
	uint8 derived[CRYPTO_KEY_BYTES];
	bool ok;

	cache_begin();
	entry = cache_find(&key);
	if (entry != NULL)
		return &cache_pin(entry)->secret->hmac;
	source = find_audit_source(org);
	if (source == NULL)
		raise_no_org_key();
	ok = keyring_derive(opened_key(source), "audit-tag", NULL, 0, derived, sizeof(derived));
	entry = cache_take();
	ok = ok && crypto_hmac_init(&entry->secret->hmac, derived, sizeof(derived));
	crypto_wipe(derived, sizeof(derived));
	if (!ok)
	{
		cache_release(entry);
		raise_cipher();
	}
	return &cache_pin(cache_enter(entry, &key))->secret->hmac;
}

/* ---- making keys ---- */

static bool
root_fingerprint(const KeyringRoot *root, uint8 out[KEYRING_FINGERPRINT_BYTES])
{
	return keyring_derive(root->key, "fingerprint", NULL, 0, out, KEYRING_FINGERPRINT_BYTES);
}

/* Reads a root key's row; false when there is none. */
static bool
find_root_row(const char *root_id, uint8 fingerprint[KEYRING_FINGERPRINT_BYTES])
{
	Relation rel = table_open(base_relation("root_key"), AccessShareLock);
	ScanKeyData key[1];
	SysScanDesc scan;
	HeapTuple tuple;
	bool found = false;

	ScanKeyEntryInitialize(&key[0], 0, Anum_root_id, BTEqualStrategyNumber, InvalidOid,
						   C_COLLATION_OID, F_TEXTEQ, CStringGetTextDatum(root_id));
	scan = systable_beginscan(rel, base_relation("root_key_pkey"), true, NULL, 1, key);
	if (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		/* A row of another shape is no match for anything. */
		if (!copy_bytes(tuple, Anum_root_fingerprint, RelationGetDescr(rel), fingerprint,
						KEYRING_FINGERPRINT_BYTES))
			memset(fingerprint, 0, KEYRING_FINGERPRINT_BYTES);
		found = true;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/* True when the table has no row. */
static bool
is_empty(const char *relname)
{
	Relation rel = table_open(base_relation(relname), AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	bool empty = !HeapTupleIsValid(systable_getnext(scan));

	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return empty;
}

/* Makes a key and stores it wrapped under root; visible to the next command. Returns its id. */
static uint32
store_key(const KeyringRoot *root, const pg_uuid_t *org, KeyringPurpose purpose, uint32 version)
{
	KeyRow row = {.purpose = purpose, .org = *org, .version = version};
	KeyringBinding binding;
	Datum values[Natts_key];
	bool nulls[Natts_key] = {false};
	uint8 key[CRYPTO_KEY_BYTES];
	char *wrapped = palloc(VARHDRSZ + KEYRING_WRAPPED_BYTES);
	Relation rel;
	HeapTuple tuple;
	bool ok;

	row.key_id = (uint32) nextval_internal(base_relation("wrapped_key_key_id_seq"), false);
	strlcpy(row.root_id, root->id, sizeof(row.root_id));
	bind_row(&row, &binding);
	crypto_random(key, sizeof(key));
	ok = keyring_wrap(root->key, &binding, key, (uint8 *) wrapped + VARHDRSZ);
	crypto_wipe(key, sizeof(key));
	if (!ok)
		raise_cipher();
	SET_VARSIZE(wrapped, VARHDRSZ + KEYRING_WRAPPED_BYTES);

	values[Anum_key_id - 1] = Int64GetDatum(row.key_id);
	values[Anum_key_org - 1] = UUIDPGetDatum(org);
	nulls[Anum_key_org - 1] = base_uuid_is_nil(org);
	values[Anum_key_purpose - 1] = CStringGetTextDatum(purpose_names[purpose]);
	values[Anum_key_version - 1] = Int32GetDatum(row.version);
	values[Anum_key_root_id - 1] = CStringGetTextDatum(row.root_id);
	values[Anum_key_wrapped - 1] = PointerGetDatum(wrapped);
	values[Anum_key_created - 1] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	rel = table_open(base_relation("wrapped_key"), RowExclusiveLock);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleInsert(rel, tuple);
	created_here = true;
	heap_freetuple(tuple);
	table_close(rel, NoLock);
	CommandCounterIncrement();
	return row.key_id;
}

static void
store_root(const KeyringRoot *root, const uint8 fingerprint[KEYRING_FINGERPRINT_BYTES])
{
	char *stored = palloc(VARHDRSZ + KEYRING_FINGERPRINT_BYTES);
	Datum values[Natts_root];
	bool nulls[Natts_root] = {false};
	Relation rel;
	HeapTuple tuple;

	SET_VARSIZE(stored, VARHDRSZ + KEYRING_FINGERPRINT_BYTES);
	memcpy(stored + VARHDRSZ, fingerprint, KEYRING_FINGERPRINT_BYTES);
	values[Anum_root_id - 1] = CStringGetTextDatum(root->id);
	values[Anum_root_fingerprint - 1] = PointerGetDatum(stored);
	values[Anum_root_first_used - 1] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	rel = table_open(base_relation("root_key"), RowExclusiveLock);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleInsert(rel, tuple);
	heap_freetuple(tuple);
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

/*
 * Copies the current root key into *root once it is certain that this database
 * may write under it, and makes the installation key when there is none yet.
 * A root key that the database has used must have the fingerprint of then; a
 * new one is taken only together with an installation key that opens, or when
 * there is no key at all.
 */
static void
ready_root(KeyringRoot *root)
{
	static const pg_uuid_t nil = {{0}};
	uint8 fingerprint[KEYRING_FINGERPRINT_BYTES];
	uint8 stored[KEYRING_FINGERPRINT_BYTES];
	uint8 key[CRYPTO_KEY_BYTES];
	KeyRow installation;
	bool known;

	if (!rootkeys_current(root) || !root_fingerprint(root, fingerprint))
		raise_root_key();
	known = find_root_row(root->id, stored);
	if (!known || !scan_keys(0, &nil, PURPOSE_INSTALLATION, &installation))
	{
		/* First use: one at a time, until the transaction ends. */
		LockRelationOid(base_relation("root_key"), ShareUpdateExclusiveLock);
		known = find_root_row(root->id, stored);
	}
	if (known && !crypto_equal(fingerprint, stored, sizeof(stored)))
		raise_root_key();
	if (scan_keys(0, &nil, PURPOSE_INSTALLATION, &installation))
	{
		open_row(&installation, key);
		crypto_wipe(key, sizeof(key));
	}
	else if (!is_empty("root_key") || !is_empty("wrapped_key"))
		raise_root_key();
	else
	{
		store_root(root, fingerprint);
		store_key(root, &nil, PURPOSE_INSTALLATION, 1);
		known = true;
	}
	if (!known)
		store_root(root, fingerprint);
}

/* Calls make(arg) with the root key to write under, which is wiped on every path. */
static void
with_root(void (*make)(const KeyringRoot *root, const pg_uuid_t *org), const pg_uuid_t *org)
{
	KeyringRoot *root = crypto_alloc_locked(sizeof(KeyringRoot));

	if (root == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory for keys")));
	PG_TRY();
	{
		ready_root(root);
		if (make != NULL)
			make(root, org);
	}
	PG_FINALLY();
	{
		crypto_free_locked(root);
	}
	PG_END_TRY();
}

static void
make_org_keys(const KeyringRoot *root, const pg_uuid_t *org)
{
	store_key(root, org, PURPOSE_DATA, 1);
	store_key(root, org, PURPOSE_INDEX, 1);
	store_key(root, org, PURPOSE_AUDIT, 1);
	store_key(root, org, PURPOSE_SUBJECT, 1);
}

void
keyring_create_org(const pg_uuid_t *org)
{
	KeyRow row;

	cache_begin();
	PreventCommandIfReadOnly("immiiq.create_org_keys()");
	PreventCommandIfParallelMode("immiiq.create_org_keys()");
	if (base_uuid_is_nil(org))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the nil uuid cannot be an organisation")));
	if (base_uuid_equal(org, &keyring_installation_org))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the max uuid cannot be an organisation")));
	for (KeyringPurpose p = PURPOSE_DATA; p <= PURPOSE_SUBJECT; p++)
	{
		if (scan_keys(0, org, p, &row))
			ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
							errmsg("the organisation already has keys")));
	}
	with_root(make_org_keys, org);
}

void
keyring_installation_secret(const char *label, bool may_create, uint8_t out[32])
{
	static const pg_uuid_t nil = {{0}};
	CacheEntry *entry;

	cache_begin();
	entry = find_current(&nil, PURPOSE_INSTALLATION);
	if (entry == NULL && may_create)
	{
		PreventCommandIfReadOnly("making the installation key");
		PreventCommandIfParallelMode("making the installation key");
		with_root(NULL, NULL);
		entry = find_current(&nil, PURPOSE_INSTALLATION);
	}
	if (entry == NULL)
		ereport(ERROR, (errcode(ERRCODE_IMMIIQ_KEY), errmsg("the installation has no key yet"),
						errhint("The first immiiq.create_org() makes it.")));
	if (!keyring_derive(opened_key(entry), label, NULL, 0, out, CRYPTO_KEY_BYTES))
		raise_cipher();
}

/* ---- keys at work ---- */

/* The lock that stands for the keys of an organisation; a few organisations may share one. */
static void
set_org_lock(LOCKTAG *tag, const pg_uuid_t *org)
{
	uint32 hash = hash_bytes(org->data, UUID_LEN);

	SET_LOCKTAG_OBJECT(*tag, MyDatabaseId, base_relation("wrapped_key"), hash, 1);
}

/* What a transaction that may write holds to its end; one that turns the index secret waits for all of them. */
void
keyring_enter(const pg_uuid_t *org)
{
	LOCKTAG tag;
	bool newest;

	/* One that can no longer become a writer reads by its snapshot and waits for nobody. */
	if (RecoveryInProgress() || IsParallelWorker() || (XactReadOnly && FirstSnapshotSet))
		return;
	set_org_lock(&tag, org);
	(void) LockAcquire(&tag, ShareLock, false, false);
	AcceptInvalidationMessages();
	if (!IsolationUsesXactSnapshot())
		return;
	cache_begin();
	if (find_index(org, &newest) != 0 && !newest)
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("could not serialize access: the organisation's keys were rotated"),
						errhint("The transaction might succeed if retried.")));
}

bool
keyring_lock_writers(const pg_uuid_t *org, bool wait)
{
	LOCKTAG tag;

	set_org_lock(&tag, org);
	if (LockAcquire(&tag, ExclusiveLock, false, !wait) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	AcceptInvalidationMessages();
	return true;
}

void
keyring_wait_writers(const pg_uuid_t *org)
{
	LOCKTAG tag;

	set_org_lock(&tag, org);
	WaitForLockers(tag, ExclusiveLock, false);
}

/* What new_version makes; with_root hands over no more than a root key and an organisation. */
static KeyringPurpose new_purpose;
static uint32 new_key_id;

static void
make_version(const KeyringRoot *root, const pg_uuid_t *org)
{
	KeyRow row;

	if (!scan_keys(0, org, new_purpose, &row))
		raise_no_org_key();
	new_key_id = store_key(root, org, new_purpose, row.version + 1);
}

static uint32
new_version(const pg_uuid_t *org, KeyringPurpose purpose)
{
	cache_begin();
	new_purpose = purpose;
	with_root(make_version, org);
	CacheInvalidateRelcacheByRelid(base_relation("wrapped_key"));
	cache_stale = true;
	return new_key_id;
}

uint32_t
keyring_new_data_key(const pg_uuid_t *org)
{
	return new_version(org, PURPOSE_DATA);
}

void
keyring_turn_index(const pg_uuid_t *org)
{
	Assert(!turning_here);
	turning_org = *org;
	turning_key_id = 0;
	pg_atomic_fetch_add_u32(&keyring_shared->turning, 1);
	pg_atomic_fetch_add_u64(&keyring_shared->epoch, 1);
	turning_here = true;
	turning_key_id = new_version(org, PURPOSE_INDEX);
}

/* Calls for_row(rel, tuple, row, arg) for every key of an organisation, of every one when org is NULL. */
static void
for_each_row(const pg_uuid_t *org,
			 void (*for_row)(Relation rel, HeapTuple tuple, const KeyRow *row, void *arg), void *arg)
{
	Relation rel = table_open(base_relation("wrapped_key"), RowExclusiveLock);
	Oid index = base_relation("wrapped_key_org_id_purpose_version_key");
	ScanKeyData key[1];
	SysScanDesc scan;
	HeapTuple tuple;
	KeyRow row;

	if (org != NULL)
		ScanKeyInit(&key[0], Anum_key_org, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(org));
	scan = systable_beginscan(rel, index, org != NULL, NULL, org != NULL ? 1 : 0, key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		if (read_key_row(tuple, RelationGetDescr(rel), &row))
			for_row(rel, tuple, &row, arg);
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
}

static void
collect_data_key(Relation rel, HeapTuple tuple, const KeyRow *row, void *arg)
{
	if (row->purpose == PURPOSE_DATA)
		*(List **) arg = lappend_int(*(List **) arg, (int) row->key_id);
}

List *
keyring_data_keys(const pg_uuid_t *org, uint32_t *current)
{
	List *ids = NIL;
	KeyRow row;

	for_each_row(org, collect_data_key, &ids);
	if (!scan_keys(0, org, PURPOSE_DATA, &row))
		raise_no_org_key();
	*current = row.key_id;
	return ids;
}

typedef struct DeleteKeys
{
	uint32 data; /* keys from these on stay; 0: none does */
	uint32 index;
	int count;
} DeleteKeys;

static void
delete_key(Relation rel, HeapTuple tuple, const KeyRow *row, void *arg)
{
	DeleteKeys *delete = arg;

	if (delete->data != 0 && !(row->purpose == PURPOSE_DATA && row->key_id < delete->data) &&
		!(row->purpose == PURPOSE_INDEX && row->key_id < delete->index))
		return;
	CatalogTupleDelete(rel, &tuple->t_self);
	delete->count++;
}

int
keyring_delete(const pg_uuid_t *org, uint32_t first_data_key)
{
	DeleteKeys delete = {.data = first_data_key};
	KeyRow row;

	cache_begin();
	if (first_data_key != 0)
	{
		/* Never the last ones. */
		if (!scan_keys(0, org, PURPOSE_DATA, &row) || row.key_id < first_data_key ||
			!scan_keys(0, org, PURPOSE_INDEX, &row))
			raise_no_org_key();
		delete.index = row.key_id;
	}
	for_each_row(org, delete_key, &delete);
	CacheInvalidateRelcacheByRelid(base_relation("wrapped_key"));
	cache_stale = true;
	return delete.count;
}

typedef struct Rewrap
{
	const KeyringRoot *root;
	int64 count;
} Rewrap;

static Rewrap rewrap;

static void
rewrap_row(Relation rel, HeapTuple tuple, const KeyRow *row, void *arg)
{
	uint8 key[CRYPTO_KEY_BYTES];
	KeyRow wrapped = *row;
	KeyringBinding binding;
	Datum values[Natts_key] = {0};
	bool nulls[Natts_key] = {false};
	bool replaces[Natts_key] = {false};
	char *stored;
	HeapTuple changed;
	bool ok;

	if (strcmp(row->root_id, rewrap.root->id) == 0)
		return;
	if (!unwrap_row(row, key))
		raise_root_key();
	strlcpy(wrapped.root_id, rewrap.root->id, sizeof(wrapped.root_id));
	bind_row(&wrapped, &binding);
	stored = palloc(VARHDRSZ + KEYRING_WRAPPED_BYTES);
	SET_VARSIZE(stored, VARHDRSZ + KEYRING_WRAPPED_BYTES);
	ok = keyring_wrap(rewrap.root->key, &binding, key, (uint8 *) stored + VARHDRSZ);
	crypto_wipe(key, sizeof(key));
	if (!ok)
		raise_cipher();
	values[Anum_key_root_id - 1] = CStringGetTextDatum(wrapped.root_id);
	replaces[Anum_key_root_id - 1] = true;
	values[Anum_key_wrapped - 1] = PointerGetDatum(stored);
	replaces[Anum_key_wrapped - 1] = true;
	changed = heap_modify_tuple(tuple, RelationGetDescr(rel), values, nulls, replaces);
	CatalogTupleUpdate(rel, &changed->t_self, changed);
	heap_freetuple(changed);
	pfree(stored);
	rewrap.count++;
}

static void
rewrap_all(const KeyringRoot *root, const pg_uuid_t *org)
{
	rewrap.root = root;
	rewrap.count = 0;
	for_each_row(NULL, rewrap_row, NULL);
}

int64_t
keyring_rewrap(void)
{
	cache_begin();
	PreventCommandIfReadOnly("immiiq.rewrap_keys()");
	PreventCommandIfParallelMode("immiiq.rewrap_keys()");
	/* One at a time, and none with a key being made: the constraint on the root key is nobody's trigger here. */
	LockRelationOid(base_relation("wrapped_key"), ShareRowExclusiveLock);
	with_root(rewrap_all, NULL);
	CacheInvalidateRelcacheByRelid(base_relation("wrapped_key"));
	cache_stale = true;
	return rewrap.count;
}

/* ---- clients' keys at work ---- */

/* Calls for_row for every key of a client, of every client of the organisation when client is NULL; how many. */
static int
for_each_subject(const pg_uuid_t *org, const pg_uuid_t *client,
				 void (*for_row)(Relation rel, HeapTuple tuple, const SubjectRow *row, void *arg),
				 void *arg)
{
	Relation rel = table_open(base_relation("subject_key"), RowExclusiveLock);
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple tuple;
	int count = 0;

	cache_subject_relid = RelationGetRelid(rel);
	ScanKeyInit(&key[0], Anum_subject_org, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(org));
	if (client != NULL)
		ScanKeyInit(&key[1], Anum_subject_client, BTEqualStrategyNumber, F_UUID_EQ,
					UUIDPGetDatum(client));
	scan = systable_beginscan(rel, base_relation("subject_key_client_idx"), true, NULL,
							  client != NULL ? 2 : 1, key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		TupleDesc desc = RelationGetDescr(rel);
		SubjectRow row;
		bool isnull;

		row.key_id = (uint32) DatumGetInt64(heap_getattr(tuple, Anum_subject_id, desc, &isnull));
		row.org = *DatumGetUUIDP(heap_getattr(tuple, Anum_subject_org, desc, &isnull));
		row.client = *DatumGetUUIDP(heap_getattr(tuple, Anum_subject_client, desc, &isnull));
		row.parent = (uint32) DatumGetInt64(heap_getattr(tuple, Anum_subject_parent, desc, &isnull));
		if (!copy_bytes(tuple, Anum_subject_wrapped, desc, row.wrapped, sizeof(row.wrapped)))
			continue;
		for_row(rel, tuple, &row, arg);
		count++;
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
	return count;
}

static void
open_subject(const SubjectRow *row, uint8 secret[CRYPTO_KEY_BYTES])
{
	CacheEntry *source = find_key(row->parent);
	KeyringBinding binding;
	char parent[16];
	uint8 wrapper[CRYPTO_KEY_BYTES];
	bool ok;

	if (source == NULL || source->row.purpose != PURPOSE_SUBJECT ||
		!base_uuid_equal(&source->row.org, &row->org))
		raise_no_org_key();
	derive_subject_wrapper(source, &row->client, wrapper);
	bind_subject(row, parent, sizeof(parent), &binding);
	ok = keyring_unwrap(wrapper, &binding, row->wrapped, sizeof(row->wrapped), secret);
	crypto_wipe(wrapper, sizeof(wrapper));
	if (!ok)
		raise_no_org_key();
}

typedef struct SubjectCommitments
{
	uint8 *bytes;
	int count;
} SubjectCommitments;

static void
commit_subject(Relation rel, HeapTuple tuple, const SubjectRow *row, void *arg)
{
	SubjectCommitments *commitments = arg;
	uint8 secret[CRYPTO_KEY_BYTES];
	bool ok;

	if (is_overwritten(row->wrapped))
		return;
	commitments->bytes =
		commitments->bytes == NULL
			? palloc(CRYPTO_HASH_BYTES)
			: repalloc(commitments->bytes, CRYPTO_HASH_BYTES * (commitments->count + 1));
	open_subject(row, secret);
	ok = keyring_derive(secret, "commitment", NULL, 0,
						commitments->bytes + CRYPTO_HASH_BYTES * commitments->count,
						CRYPTO_HASH_BYTES);
	crypto_wipe(secret, sizeof(secret));
	if (!ok)
		raise_cipher();
	commitments->count++;
}

int
keyring_commit_client(const pg_uuid_t *org, const pg_uuid_t *client, uint8_t **out)
{
	SubjectCommitments commitments = {NULL, 0};

	cache_begin();
	(void) for_each_subject(org, client, commit_subject, &commitments);
	*out = commitments.bytes;
	return commitments.count;
}

static void
destroy_subject(Relation rel, HeapTuple tuple, const SubjectRow *row, void *arg)
{
	if (*(bool *) arg)
	{
		HeapTuple blank;
		struct varlena *wrapped;
		ScanKeyData key;
		void *update;
		bool isnull;

		ScanKeyInit(&key, Anum_subject_id, BTEqualStrategyNumber, F_INT8EQ,
					Int64GetDatum((int64) row->key_id));
		systable_inplace_update_begin(rel, base_relation("subject_key_pkey"), true, NULL, 1, &key,
									  &blank, &update);
		if (!HeapTupleIsValid(blank))
			elog(ERROR, "key %u of a client is not in its index", row->key_id);
		wrapped = (struct varlena *) DatumGetPointer(
			heap_getattr(blank, Anum_subject_wrapped, RelationGetDescr(rel), &isnull));
		if (VARATT_IS_EXTERNAL(wrapped) || VARATT_IS_COMPRESSED(wrapped))
			elog(ERROR, "wrapped key of a client is not stored in its row");
		memset(VARDATA_ANY(wrapped), 0, VARSIZE_ANY_EXHDR(wrapped));
		systable_inplace_update_finish(update, blank);
		heap_freetuple(blank);
	}
	CatalogTupleDelete(rel, &tuple->t_self);
}

int
keyring_destroy_client(const pg_uuid_t *org, const pg_uuid_t *client, bool in_place)
{
	int count;

	cache_begin();
	count = for_each_subject(org, client, destroy_subject, &in_place);
	CacheInvalidateRelcacheByRelid(base_relation("subject_key"));
	cache_stale = true;
	return count;
}

typedef struct SubjectRotation
{
	CacheEntry *source;
	int64 count;
} SubjectRotation;

static void
rewrap_subject(Relation rel, HeapTuple tuple, const SubjectRow *row, void *arg)
{
	SubjectRotation *rotation = arg;
	SubjectRow changed = *row;
	KeyringBinding binding;
	char parent[16];
	uint8 secret[CRYPTO_KEY_BYTES];
	uint8 wrapper[CRYPTO_KEY_BYTES];
	Datum values[Natts_subject] = {0};
	bool nulls[Natts_subject] = {false};
	bool replaces[Natts_subject] = {false};
	char *stored = palloc(VARHDRSZ + KEYRING_WRAPPED_BYTES);
	HeapTuple modified;
	bool ok;

	if (is_overwritten(row->wrapped) || row->parent == rotation->source->row.key_id)
		return;
	open_subject(row, secret);
	changed.parent = rotation->source->row.key_id;
	derive_subject_wrapper(rotation->source, &row->client, wrapper);
	bind_subject(&changed, parent, sizeof(parent), &binding);
	SET_VARSIZE(stored, VARHDRSZ + KEYRING_WRAPPED_BYTES);
	ok = keyring_wrap(wrapper, &binding, secret, (uint8 *) VARDATA(stored));
	crypto_wipe(secret, sizeof(secret));
	crypto_wipe(wrapper, sizeof(wrapper));
	if (!ok)
		raise_cipher();
	values[Anum_subject_parent - 1] = Int64GetDatum(changed.parent);
	replaces[Anum_subject_parent - 1] = true;
	values[Anum_subject_wrapped - 1] = PointerGetDatum(stored);
	replaces[Anum_subject_wrapped - 1] = true;
	modified = heap_modify_tuple(tuple, RelationGetDescr(rel), values, nulls, replaces);
	CatalogTupleUpdate(rel, &modified->t_self, modified);
	heap_freetuple(modified);
	pfree(stored);
	rotation->count++;
}

static void
delete_wrapping_key(Relation rel, HeapTuple tuple, const KeyRow *row, void *arg)
{
	if (row->purpose == PURPOSE_SUBJECT && row->key_id < *(uint32 *) arg)
		CatalogTupleDelete(rel, &tuple->t_self);
}

int64_t
keyring_rotate_subjects(const pg_uuid_t *org)
{
	SubjectRotation rotation = {NULL, 0};
	uint32 current;

	PreventCommandIfReadOnly("rotating keys");
	/* Nobody makes a client's key under the wrapping key that goes. */
	LockRelationOid(base_relation("subject_key"), ShareRowExclusiveLock);
	if (!keyring_lock_writers(org, true))
		elog(ERROR, "could not lock writers out");
	current = new_version(org, PURPOSE_SUBJECT);
	CommandCounterIncrement();
	cache_begin();
	rotation.source = find_key(current);
	if (rotation.source == NULL)
		raise_no_org_key();
	cache_pin(rotation.source);
	(void) opened_key(rotation.source);
	(void) for_each_subject(org, NULL, rewrap_subject, &rotation);
	for_each_row(org, delete_wrapping_key, &current);
	CacheInvalidateRelcacheByRelid(base_relation("wrapped_key"));
	CacheInvalidateRelcacheByRelid(base_relation("subject_key"));
	cache_stale = true;
	return rotation.count;
}

/* ---- SQL ---- */

PG_FUNCTION_INFO_V1(keyring_create_org_keys);
PG_FUNCTION_INFO_V1(keyring_guard);
PG_FUNCTION_INFO_V1(keyring_status);
PG_FUNCTION_INFO_V1(keyring_problem);
PG_FUNCTION_INFO_V1(keyring_quarantine);
PG_FUNCTION_INFO_V1(keyring_keep_head);
PG_FUNCTION_INFO_V1(keyring_heads_problem);

/*
 * immiiq.create_org_keys(org uuid) → void.  Makes the data key, index secret
 * and audit key of a new organisation.  42710 when it has keys, IQ002 when the
 * root key is absent or not this database's.
 */
Datum
keyring_create_org_keys(PG_FUNCTION_ARGS)
{
	pg_uuid_t org = *PG_GETARG_UUID_P(0);

	keyring_create_org(&org);
	PG_RETURN_VOID();
}

/*
 * Statement trigger of root_key and wrapped_key: refuses UPDATE, DELETE and
 * TRUNCATE with 55000; after INSERT (a restore) every backend forgets its keys.
 */
Datum
keyring_guard(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("keyring_guard() was not called by a trigger")));
	if (TRIGGER_FIRED_AFTER(data->tg_event) && TRIGGER_FIRED_BY_INSERT(data->tg_event))
	{
		CacheInvalidateRelcache(data->tg_relation);
		PG_RETURN_POINTER(NULL);
	}
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot change immiiq.%s by hand", RelationGetRelationName(data->tg_relation)),
			 errhint("A lost key is lost with everything that was sealed under it.")));
	PG_RETURN_POINTER(NULL);
}

/* One row of keyring_status(). fingerprint: of the loaded root key, NULL when it is not loaded. */
static void
status_row(ReturnSetInfo *rsinfo, const char *id, bool current, const uint8 *fingerprint,
		   const uint8 *stored)
{
	Datum values[5];
	bool nulls[5] = {false};

	values[0] = CStringGetTextDatum(id);
	values[1] = BoolGetDatum(current);
	values[2] = BoolGetDatum(fingerprint != NULL);
	values[3] = BoolGetDatum(stored != NULL);
	nulls[4] = fingerprint == NULL || stored == NULL;
	values[4] =
		BoolGetDatum(!nulls[4] && crypto_equal(fingerprint, stored, KEYRING_FINGERPRINT_BYTES));
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/*
 * immiiq.keyring_status() → setof (root_id, current, loaded, known, matches):
 * the loaded root keys in their order, then those that the database has used
 * and that are not loaded.
 */
Datum
keyring_status(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	uint8 fingerprint[KEYRING_FINGERPRINT_BYTES];
	uint8 stored[KEYRING_FINGERPRINT_BYTES];
	KeyringRoot root;
	bool last;
	Relation rel;
	SysScanDesc scan;
	HeapTuple tuple;

	base_require_preload();
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; rootkeys_nth(i, &root, &last); i++)
	{
		bool ok = root_fingerprint(&root, fingerprint);

		crypto_wipe(root.key, sizeof(root.key));
		if (!ok)
			raise_cipher();
		status_row(rsinfo, root.id, last, fingerprint,
				   find_root_row(root.id, stored) ? stored : NULL);
	}
	rel = table_open(base_relation("root_key"), AccessShareLock);
	scan = systable_beginscan(rel, base_relation("root_key_pkey"), true, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		char id[KEYRING_ROOT_ID_MAX + 1];

		if (!copy_text(tuple, Anum_root_id, RelationGetDescr(rel), id, sizeof(id)) ||
			!copy_bytes(tuple, Anum_root_fingerprint, RelationGetDescr(rel), stored, sizeof(stored)))
			continue;
		if (!rootkeys_find(id, &root))
			status_row(rsinfo, id, false, NULL, stored);
		crypto_wipe(&root, sizeof(root));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return (Datum) 0;
}

/* immiiq.keyring_problem() → text: what was wrong at the last load of root keys, NULL when nothing. */
Datum
keyring_problem(PG_FUNCTION_ARGS)
{
	char problem[512];

	rootkeys_problem(problem, sizeof(problem));
	if (problem[0] == '\0')
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(problem));
}

/* immiiq.in_quarantine(org uuid) → boolean: this database is from before an erasure of the organisation. IQ004 when the file is damaged. */
Datum
keyring_quarantine(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(keyring_in_quarantine(PG_GETARG_UUID_P(0)));
}

/*
 * immiiq.keep_ledger_head(org uuid, seq int8, hash bytea) → boolean: writes the
 * head beside the root key; false when no file is set, or the database is behind
 * what it says.  IQ002, IQ004, 58xxx and F0000 when it cannot be written.
 */
Datum
keyring_keep_head(PG_FUNCTION_ARGS)
{
	pg_uuid_t *org = PG_GETARG_UUID_P(0);
	bytea *hash = PG_GETARG_BYTEA_PP(2);
	uint8 installation[HEADS_INSTALLATION_BYTES];
	LedgerHead head;

	base_require_preload();
	if (VARSIZE_ANY_EXHDR(hash) != CRYPTO_HASH_BYTES)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a hash has %d bytes", CRYPTO_HASH_BYTES)));
	head.seq = PG_GETARG_INT64(1);
	memcpy(head.hash, VARDATA_ANY(hash), CRYPTO_HASH_BYTES);
	if (!installation_name(installation))
		raise_root_key();
	PG_RETURN_BOOL(!keyring_in_quarantine(org) && heads_put(installation, org, &head));
}

/* immiiq.ledger_file_problem() → text: what keeps heads of the ledger from being kept, null when nothing. */
Datum
keyring_heads_problem(PG_FUNCTION_ARGS)
{
	const char *problem = heads_problem();

	if (problem == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(problem));
}
