/*
 * What the two halves of verify_audit share: verify.c plans the work and judges
 * the trees, verify_unit.c reads entries, in the session or in parallel workers
 * beside it.  Nobody else includes it.
 */
#ifndef IMMIIQ_VERIFY_H
#define IMMIIQ_VERIFY_H

#include "access/genam.h"
#include "access/htup.h"
#include "access/relscan.h"
#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "port/atomics.h"
#include "storage/shm_mq.h"
#include "utils/hsearch.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

#include "audit/audit_internal.h"
#include "audit/canonical.h"
#include "audit/tree.h"
#include "crypto/crypto.h"

/* Leaves of an organisation that are one piece of work: a full subtree. */
#define VERIFY_UNIT_LEVEL 14
#define VERIFY_UNIT		  (UINT64_C(1) << VERIFY_UNIT_LEVEL)
#define VERIFY_TEXT_MAX	  512

typedef struct VerifyUnit
{
	pg_uuid_t org;
	uint64 from;	/* a multiple of VERIFY_UNIT: its leaves stand behind */
	uint64 known;	/* leaves up to here are only hashed: an earlier checkpoint covers them */
	uint64 batches; /* batches that end behind this position are its */
	bool first;		/* of its organisation */
	bool last;
} VerifyUnit;

/* What a unit says, in order. */
typedef enum VerifyMessageKind
{
	VERIFY_FINDING, /* position, org when has_org; text */
	VERIFY_START,	/* position of the first leaf */
	VERIFY_BROKEN,	/* leaves are missing: from here on no root can fit */
	VERIFY_BATCH,	/* number, first, position it ends at, root; the tree of the unit so far */
	VERIFY_CUT,		/* a batch that ends behind the last leaf: number, first, position */
	VERIFY_END		/* position of the last leaf, 0 when there was none; the tree of the unit */
} VerifyMessageKind;

typedef struct VerifyMessage
{
	uint8 kind;
	bool error; /* not a warning */
	bool has_org;
	bool exact; /* the batch ends at a leaf */
	pg_uuid_t org;
	uint64 position;
	int64 number;
	int64 first;
	uint8 root[TREE_HASH_BYTES];
	uint64 size; /* leaves of the unit's tree; its nodes follow */
	char data[FLEXIBLE_ARRAY_MEMBER];
} VerifyMessage;

#define VERIFY_MESSAGE_BASE offsetof(VerifyMessage, data)
#define VERIFY_MESSAGE_MAX                                                                         \
	(VERIFY_MESSAGE_BASE + Max(VERIFY_TEXT_MAX, TREE_HASH_BYTES * (VERIFY_UNIT_LEVEL + 1)))

/* What the session and its workers share. */
typedef struct VerifyShared
{
	bool all; /* every organisation, not only org */
	bool images;
	bool count;	  /* compare the set of entries with that of leaves */
	int progress; /* slot of immiiq.verify_progress, -1 for none */
	pg_uuid_t org;
	uint8 key[CRYPTO_SHORT_KEY_BYTES];
	uint32 units;
	uint32 scans;		   /* partitions that are counted together */
	pg_atomic_uint64 next; /* the unit that nobody has taken */
	/* sums of the keyed short hashes of leaves, and of the entries that should have one */
	pg_atomic_uint64 leaf_sum;
	pg_atomic_uint64 entry_sum;
} VerifyShared;

/* A scan of a partition of immiiq.entry by its key. */
typedef struct VerifyScan
{
	IndexScanDesc scan; /* NULL until it is used, and while a restore has not built the index */
	TupleTableSlot *slot;
	ScanKeyData members[3];
	bool placed; /* the slot has an entry from which the scan goes on */
} VerifyScan;

typedef struct VerifyPartition
{
	Relation index;
	VerifyScan entry;
	VerifyScan context;
} VerifyPartition;

struct VerifyRun;
typedef void (*VerifyConsume)(struct VerifyRun *run, const VerifyMessage *message);

/* One process that verifies. */
typedef struct VerifyRun
{
	VerifyShared *shared;
	shm_mq_handle *queue;  /* of a worker; NULL in the session itself */
	VerifyConsume consume; /* of the session */
	void *consumer;
	Snapshot snapshot;
	HTAB *keys;
	MemoryContext memory; /* of the run: scans keep what they allocate in it */
	MemoryContext row;	  /* reset after every leaf */
	CanonicalBuffer hashes;
	VerifyMessage *message;

	AuditEntries entries;
	VerifyPartition *partitions; /* one for each of entries */
	Relation leaves;
	Relation leaves_index;
	Relation batches;
	Relation batches_index;
	IndexScanDesc leaf_scan;
	IndexScanDesc batch_scan;
	TupleTableSlot *leaf_slot;
	TupleTableSlot *batch_slot;

	/* the sealer's state: which entries it will still come to */
	bool marked; /* after a restore */
	bool have_state;
	uint64 horizon;
	uint64 *open;
	int open_count;

	bool origin_known;
	bool origin_usable;
	pg_uuid_t origin_org;
	/* the context entry that was checked last */
	uint32 context_incarnation;
	uint64 context_txid;
	uint32 context_seq;
	pg_uuid_t context_org;
	bool context_has[3]; /* member, session, address */
	pg_uuid_t context_member;
	pg_uuid_t context_session;
	int64 context_address;

	/* the organisation whose pruned entries were asked for last */
	bool pruned_known;
	pg_uuid_t pruned_org;
	uint64 pruned_txid;

	HTAB *drops; /* VerifyDrop by name; NULL until one is asked for */
} VerifyRun;

/* The last position of an organisation that a row of immiiq.pruned names; 0 when none was pruned. */
extern uint64 verify_pruned_until(VerifyRun *run, const pg_uuid_t *org);
/* True when the entry of a row that this transaction wrote may be among those that were pruned. */
extern bool verify_may_be_pruned(VerifyRun *run, const pg_uuid_t *org, TransactionId xmin);
/* Holds the rows of immiiq.pruned against the statements that they point to. */
extern void verify_pruned(VerifyRun *run);

/* The batch that has a position: its number, and when it was sealed; false when none has. */
extern bool verify_find_batch(VerifyRun *run, const pg_uuid_t *org, uint64 position, int64 *number,
							  TimestampTz *at);

/* The image of an event, for verify_try: NULL when its key is gone or it does not open. */
typedef struct VerifyImage
{
	const uint8 *body;
	const CanonicalEntry *entry;
	uint8 *plain;
	size_t len;
} VerifyImage;

extern void verify_open_image(void *image);
/* True for an event of this kind. */
extern bool verify_is_event(const CanonicalEntry *entry, const char *kind);
/* The new column of this name; false when there is none. */
extern bool verify_find_column(const VerifyImage *image, const char *name, CanonicalColumn *column);
/* True when it has this value. */
extern bool verify_says(const VerifyImage *image, const char *name, const char *value);

typedef struct VerifyDrop VerifyDrop;

/* Notes what an entry says, if it says that a table was dropped; position 0 while it waits for its seal. */
extern void verify_note_drop(VerifyRun *run, const uint8 *body, const CanonicalEntry *entry,
							 int64 position);
/* The last drop of an entry's table, when the entry was captured before it; NULL otherwise. */
extern VerifyDrop *verify_dropped(VerifyRun *run, const CanonicalEntry *entry, int64 position);
/* One more row that is not looked for. */
extern void verify_count_dropped(VerifyDrop *drop);
/* Says of each drop how many there were. */
extern void verify_report_drops(VerifyRun *run);

/* A row of immiiq.entry. */
typedef struct VerifyEntry
{
	uint64 txid;
	int64 at;
	pg_uuid_t org;
	uint32 incarnation;
	uint32 seq;
	DateADT month;
	const uint8 *body; /* the bytes that it stands for; NULL when it stands for none */
	size_t len;
} VerifyEntry;

extern void verify_begin(VerifyRun *run, VerifyShared *shared);
extern void verify_end(VerifyRun *run);
/* Reports one problem; position 0 and no organisation are NULL. */
extern void verify_report(VerifyRun *run, const char *severity, const pg_uuid_t *org,
						  uint64 position, const char *format, ...) pg_attribute_printf(5, 6);
extern void verify_check_hash(bool ok);
/* A number of a row, 0 for NULL. */
extern int64 verify_int(HeapTuple tuple, AttrNumber column, TupleDesc desc);
extern void verify_uuid(HeapTuple tuple, AttrNumber column, TupleDesc desc, pg_uuid_t *out);
/* Runs a call; 0, or the SQLSTATE of an error of class IQ. Other errors go on. */
extern int verify_try(void (*call)(void *), void *arg);
/* The same for a keyring call; false when it says that a key cannot be had. */
extern bool verify_try_key(void (*call)(void *), void *arg);
/* True when some table of keys has this one: what it does not open was not sealed by it. */
extern bool verify_key_exists(VerifyRun *run, uint32 key_id);
/* The row of an entry, or of one that says who; false when its month has none. Valid until the next call of the kind. */
extern bool verify_find_entry(VerifyRun *run, bool context, DateADT month, uint32 incarnation,
							  uint64 txid, uint32 seq, VerifyEntry *row);
extern void verify_read_entry(TupleTableSlot *slot, VerifyEntry *row);
/* What is wrong with the body of an entry and the columns beside it; NULL when nothing is. */
extern const char *verify_entry(VerifyRun *run, const VerifyEntry *row, const pg_uuid_t *org,
								CanonicalEntry *entry);
/* The first leaf of an organisation behind a position, 0 when there is none. */
extern uint64 verify_next_leaf(VerifyRun *run, const pg_uuid_t *org, uint64 position);
extern void verify_unit(VerifyRun *run, const VerifyUnit *unit);
/* True while the sealer has not passed by: the transaction counts as open or new in the state it left. */
extern bool verify_is_pending(const VerifyRun *run, uint64 txid, uint32 incarnation);
/* Counts the entries of a scan of a partition that should have a leaf, and ends it. */
extern void verify_count_entries(VerifyRun *run, TableScanDesc scan);

/* Holds live rows against their last entries (reconcile.c). */
extern void verify_rows(VerifyRun *run);

#endif /* IMMIIQ_VERIFY_H */
