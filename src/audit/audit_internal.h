/*
 * What the files of this capability share; nobody else includes it.
 */
#ifndef IMMIIQ_AUDIT_INTERNAL_H
#define IMMIIQ_AUDIT_INTERNAL_H

#include "access/htup.h"
#include "access/xlogdefs.h"
#include "access/tupdesc.h"
#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "utils/date.h"
#include "utils/guc.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

#include "audit/canonical.h"
#include "crypto/crypto.h"

/* Columns of the log's tables, in order (60_audit.sql): append, never reorder. */
enum
{
	ENTRY_TXID = 1,
	ENTRY_AT,
	ENTRY_ORG,
	ENTRY_INCARNATION,
	ENTRY_SEQ,
	ENTRY_CONTEXT,
	ENTRY_MONTH,
	ENTRY_BODY
};
#define ENTRY_COLUMNS ENTRY_BODY

enum
{
	LEAF_ORG = 1,
	LEAF_POSITION,
	LEAF_TXID,
	LEAF_INCARNATION,
	LEAF_SEQ,
	LEAF_MONTH,
	LEAF_HASH,
	LEAF_AT,
	LEAF_KEY_ID,
	LEAF_MEMBER,
	LEAF_SESSION,
	LEAF_ROW,
	LEAF_ADDRESS
};
#define LEAF_COLUMNS LEAF_ADDRESS

enum
{
	BATCH_NO = 1,
	BATCH_FIRST,
	BATCH_LAST,
	BATCH_AT,
	BATCH_ORG,
	BATCH_ORG_ROOT,
	BATCH_PREVIOUS
};
#define BATCH_COLUMNS BATCH_PREVIOUS

enum
{
	HEAD_SIZE = 1,
	HEAD_SIGNED_AT,
	HEAD_KEY_HASH,
	HEAD_ROOT,
	HEAD_SIGNATURE
};
#define HEAD_COLUMNS HEAD_SIGNATURE

enum
{
	LOGKEY_HASH = 1,
	LOGKEY_PUBLIC,
	LOGKEY_ORIGIN,
	LOGKEY_CREATED_AT
};
#define LOGKEY_COLUMNS LOGKEY_CREATED_AT

enum
{
	TREE_ORG = 1,
	TREE_SIZE,
	TREE_FRONTIER
};
#define TREE_COLUMNS TREE_FRONTIER

enum
{
	NODE_ORG = 1,
	NODE_LEVEL,
	NODE_NUMBER,
	NODE_HASH
};
#define NODE_COLUMNS NODE_HASH

enum
{
	STATE_INCARNATION = 1,
	STATE_HORIZON,
	STATE_OPEN,
	STATE_AT,
	STATE_TIMELINE,
	STATE_BEGAN
};
#define STATE_COLUMNS STATE_BEGAN

enum
{
	LAYOUT_NAME = 1,
	LAYOUT_BYTES
};
#define LAYOUT_COLUMNS LAYOUT_BYTES

enum
{
	RULE_TARGET = 1,
	RULE_COLUMN,
	RULE_RULE
};

/* Who wrote, where nobody is active; below stand the values of ContextActor. */
/* sorts before the triggers of others and of foreign keys: a change is captured before what it sets off */
#define CAPTURE_TRIGGER "00_immiiq_capture"

#define AUDIT_ACTOR_DATABASE	16 /* a role without identity: a superuser, an owner */
#define AUDIT_ACTOR_REPLICATION 17 /* logical apply */
#define AUDIT_ACTOR_RESTORE		18 /* a session that has loaded a dump of the log */

/* Rows on their way into one of the log's tables, past triggers and privileges. */
typedef struct AuditWriter
{
	Relation rel;
	MemoryContext memory;
	ResultRelInfo *indexes;
	EState *estate; /* of partial indexes; NULL when there is none */
	TupleTableSlot **slots;
	int used;
	int size;
	int options; /* of heap_multi_insert */
} AuditWriter;

/* Opens a table of schema immiiq that must have this many columns; up to size rows go in at once. */
extern void audit_writer_open(AuditWriter *w, const char *relname, int columns, int size);
/* Opens the partition of immiiq.entry for this month. */
extern void audit_writer_open_entries(AuditWriter *w, DateADT month, int size);
/* Copies the row; writes when size rows have come. */
extern void audit_writer_add(AuditWriter *w, Datum *values, bool *nulls);
extern void audit_writer_flush(AuditWriter *w);
extern void audit_writer_close(AuditWriter *w);

/* The first day, in UTC, of the month that a time lies in: what entries are partitioned by. */
extern DateADT audit_month(TimestampTz at);

/* Every partition of immiiq.entry, open for reading. */
typedef struct AuditEntries
{
	int count;
	Relation *rels;
	Oid *indexes;	 /* of the primary key; InvalidOid while a restore has not built it */
	DateADT *months; /* DATEVAL_NOEND for the one that takes what no other does */
} AuditEntries;

extern void audit_entries_open(AuditEntries *entries);
extern void audit_entries_close(AuditEntries *entries);
/* Which of them has, or would have, the entries of a month; -1 for none. */
extern int audit_entries_choose(const AuditEntries *entries, DateADT month);
/* The row of an entry, copied; NULL when its month has none. */
extern HeapTuple audit_entries_find(const AuditEntries *entries, Snapshot snapshot, DateADT month,
									uint32 incarnation, uint64 txid, uint32 seq);

/*
 * An incarnation is the life of a database on one timeline of its cluster: a
 * server that was promoted, or recovered to a point in time, begins another one.
 * Transaction ids mean the same in all incarnations of one lineage.
 */
extern uint32 audit_incarnation(void);
extern uint32 audit_lineage(void);
/* Those of this lineage, by timeline from 1; the last one is this. */
extern const uint32 *audit_incarnations(TimeLineID *count);
extern bool audit_is_own(uint32 incarnation);
/* Says to the worker that something was captured in this database. */
extern void audit_note_captured(void);
/* Its counter. */
extern uint64 audit_captured_count(void);
/* True when this session has loaded rows into the log's tables (a restore). */
extern bool audit_session_restores(void);
/* Keeps sealers out until this session ends, and notes that it restores. */
extern void audit_hold_sealing(void);
/* True while no round of the sealer has found anything in this database. */
extern bool audit_sealed_nothing(void);
/* Takes the lock that lets one sealer in. False only when not to wait for it. */
extern bool audit_lock_sealing(bool wait);

/* The 32 bytes of a hash column; zeros when it has another size. */
extern void audit_copy_hash(HeapTuple tuple, TupleDesc desc, AttrNumber column, uint8 *out);
/* The leaf of the database's tree that a row of immiiq.batch stands for. */
extern void audit_batch_leaf(HeapTuple tuple, TupleDesc desc, uint8 *leaf);
/* The text that is signed: origin, size and root of a tree (C2SP tlog-checkpoint). */
extern char *audit_checkpoint_body(const char *origin, uint64 size, const uint8 *root);
/* Names a public key of a log (C2SP signed-note). */
extern uint32 audit_key_hash(const char *origin, const uint8 *public_key);

/* What stands before the clear part in the AAD of what is sealed in the field of this tag. */
extern void audit_sealed_label(uint8 tag, uint8 label[CANONICAL_LABEL_BYTES]);
/*
 * Opens what is sealed in the field of a tag (image, former image, origin),
 * palloc'd; NULL when it does not authenticate.  Images come packed.
 */
extern uint8 *audit_open_sealed(const uint8 *body, const CanonicalEntry *entry, uint8 tag,
								CryptoXaes *key, size_t *len);

/* The name of a layout. */
extern void audit_layout_name(const uint8 *layout, size_t len, uint8 name[CANONICAL_LAYOUT_BYTES]);
/* Puts a layout into immiiq.layout where it is not there yet. */
extern void audit_layout_note(const uint8 *layout, size_t len, const uint8 *name);
/* The next look at a layout reads it from the table again. */
extern void audit_forget_layouts(void);
/*
 * The bytes of an entry, palloc'd, from its row of immiiq.entry: what is hashed.
 * NULL and 0 bytes for a row that stands for none, or whose layout is not there.
 */
extern uint8 *audit_entry_bytes(const Datum *values, const bool *nulls, size_t *len);
/* The image that was packed, palloc'd; NULL when it cannot be had. Wipes and frees what it is given. */
extern uint8 *audit_unpack_image(const CanonicalEntry *entry, uint8 *packed, size_t *len);

/* Opens the image, or the former one, under the key that it names; NULL when that is gone. salt may be NULL. */
extern uint8 *audit_open_image(const uint8 *body, const CanonicalEntry *entry, bool former,
							   size_t *len, const uint8 **salt);

/*
 * Opens the image of an entry whose client is erased with the message key that
 * a hold has kept; NULL when none has.
 */
extern uint8 *audit_open_kept(const uint8 *body, const CanonicalEntry *entry, const pg_uuid_t *org,
							  size_t *len);

/* What a keyed tag of the log is made from. */
typedef enum AuditTag
{
	AUDIT_TAG_ADDRESS = 1, /* the text of a client's address */
	AUDIT_TAG_ROW = 2	   /* schema, table and key columns of a row (docs/audit-format.md) */
} AuditTag;

/* Eight bytes that only who has the organisation's audit key can make. */
extern void audit_tag(const pg_uuid_t *org, AuditTag kind, const void *data, Size len,
					  uint8 out[CANONICAL_TAG_BYTES]);

/* The tag of events of this kind and object in the installation's log. ERROR IQ002, IQ003 without its keys. */
extern int64 audit_event_tag(const char *kind, const char *object);

/* Where proofs read hashes: a TreeSource's argument (tree.h). */
typedef struct ProofSource
{
	pg_uuid_t org; /* nil: the database's tree */
	Snapshot snapshot;
} ProofSource;

/* A TreeSource over leaves, batches and nodes. */
extern bool proof_read(void *arg, unsigned level, uint64 first, uint32 count,
					   uint8 (*out)[CRYPTO_HASH_BYTES]);

/* How far a verification is, in shared memory; slot -1 stands for none. */
extern void verify_progress_shmem_request(void);
extern void verify_progress_shmem_startup(void);
/* A free slot, or -1. */
extern int audit_verify_start(void);
extern void audit_verify_total(int slot, uint64 units);
extern void audit_verify_workers(int slot, int workers);
/* One more unit of so many entries. */
extern void audit_verify_advance(int slot, uint64 entries);
extern void audit_verify_found(int slot);
extern void audit_verify_finish(int slot);

/* True when this transaction has captured changes of rows; events are none. */
extern bool audit_transaction_captured(void);
/*
 * The image of a stored row as its insertion would be captured, its organisation
 * and tag; the image is good until the next call.  ERROR of class IQ for a row
 * that could not have been captured so, IQ003 and IQ002 without keys.
 */
extern void audit_row_image(Relation rel, TupleTableSlot *slot, pg_uuid_t *org, uint64 *tag,
							const uint8 **image, size_t *len);
/*
 * The tag of the row whose key columns have these texts; the organisation's is
 * known.  False when text gives NULL for one, or the table is not captured.
 */
extern bool audit_row_tag(Relation rel, const pg_uuid_t *org,
						  char *(*text)(void *arg, const char *column), void *arg, uint64 *tag);
/* Wipes it. */
extern void audit_forget_row_image(void);

/* True when heads are signed by a command. */
extern bool signer_is_set(void);
/* True for a key that is, or was, the command's. */
extern bool signer_knows(const uint8 *public_key);
/* Has the command sign, and checks what it gives. ERROR 38000 when it does not, F0000 without immiiq.signer_key. */
extern void signer_sign(const char *note, uint8 *public_key, uint8 *signature);

extern void anchor_init(void);
extern void coverage_init(void);
extern void signer_init(void);
extern void capture_init(void);
extern void ddl_init(void);
/* Records what a command that commits by itself has touched. */
extern void ddl_before_commit(void);

extern char *audit_keep;   /* immiiq.audit_keep */
extern bool audit_pruning; /* prune_audit is at work: the log's guards let its statements through */

#endif /* IMMIIQ_AUDIT_INTERNAL_H */
