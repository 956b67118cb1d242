/*
 * Capture: an AFTER ROW trigger writes each change of a protected row into a
 * buffer of the transaction, which goes to immiiq.entry before commit.  Trusts
 * the executor's tuples and the active identity; refuses a change of the
 * organisation, a row of an organisation without keys, and an unsealed value.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/tupconvert.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/partition.h"
#include "catalog/pg_am.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "port/pg_bswap.h"
#include "replication/logicalworker.h"
#include "replication/message.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/bytea.h"
#include "utils/datum.h"
#include "utils/float.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "audit/audit.h"
#include "audit/audit_internal.h"
#include "audit/canonical.h"
#include "audit/commit.h"
#include "audit/tree.h"
#include "base/base.h"
#include "context/context.h"
#include "crypto/crypto.h"
#include "hold/hold.h"
#include "keyring/keyring.h"
#include "policy/policy.h"
#include "stat/stat.h"
#include "types/types.h"

/* A level of subtransactions writes what it has at either limit. */
#define CAPTURE_MAX_ROWS   1000
#define CAPTURE_MAX_BYTES  (512 * 1024)
#define CAPTURE_WRITE_ROWS 128
/* How many earlier contexts of the transaction are looked through; a context written twice does no harm. */
#define CAPTURE_CONTEXT_SEARCH 64

typedef struct CaptureColumn
{
	AttrNumber attnum;
	bool byval;
	bool sealed;
	bool plain;	 /* its bytes are its text */
	bool uuid;	 /* written without uuid_out */
	bool hashed; /* by a rule */
	int16 len;
	uint8 flags;
	Oid typid;
	int32 typmod;
	FmgrInfo out;
	bool varlena;
	char *name; /* length and name, as written */
	int name_len;
} CaptureColumn;

typedef struct CaptureRelation
{
	Oid relid; /* key */
	bool valid;
	MemoryContext memory;
	Oid root; /* the protected table that this is, or is a partition of */
	char *schema;
	char *table;
	AttrNumber org;
	AttrNumber client; /* 0 where images go under the organisation's audit key */
	int ncolumns;
	CaptureColumn *columns;
	CanonicalBuffer layout; /* names of table and columns */
	size_t layout_columns;	/* where the columns begin */
	uint8 layout_name[CANONICAL_LAYOUT_BYTES];
	bool layout_noted; /* in immiiq.layout */
} CaptureRelation;

/* What a rule makes of a column. */
typedef enum CaptureRule
{
	CAPTURE_WHOLE,
	CAPTURE_OMIT,
	CAPTURE_HASH
} CaptureRule;

/* Who wrote, and where in this transaction that is said. */
typedef struct CaptureContext
{
	pg_uuid_t org;
	uint64 generation;
	Oid session_user;
	uint32 seq;
	int level;
	char *address;
	char *agent;
	char *application;
} CaptureContext;

typedef struct CaptureEntry
{
	pg_uuid_t org;
	TimestampTz at;
	uint32 seq;
	uint32 context;
	int level;
	Size offset; /* of the bytea in the arena */
	Size start;	 /* where its bytes in the arena begin */
} CaptureEntry;

/*
 * A row that has left its partition, until the row that it became is captured:
 * PostgreSQL moves a row by a deletion and an insertion, whose triggers fire one
 * after the other.  It stays where it was, so nothing of it is held here.
 */
typedef struct CaptureMove
{
	struct CaptureMove *outer; /* of the statement whose triggers are at work */
	Oid leaf;
	Oid root;
	ItemPointerData tid;
	CommandId command;
	int depth; /* of triggers */
	int level; /* of subtransactions */
	Oid ended; /* the partition that it came to, when a trigger between the two had to be captured after it */
	ItemPointerData end;
	int end_level;
} CaptureMove;

/* The transaction's buffer; entries and contexts of deeper levels stand behind those of outer ones. */
static struct
{
	MemoryContext memory; /* child of TopTransactionContext; NULL while nothing was captured */
	MemoryContext row;	  /* reset after every row */
	CanonicalBuffer arena;
	CanonicalBuffer image;
	CanonicalBuffer former;	  /* old columns, when they belong to another subject */
	CanonicalBuffer packed;	  /* what of them is sealed */
	CanonicalBuffer clear;	  /* a label and the clear part: what sealing binds to */
	CanonicalBuffer hashes;	  /* commitments */
	CanonicalBuffer row_name; /* what a row's tag is made of */
	CaptureEntry *entries;
	int count;
	int size;
	CaptureContext *contexts;
	int context_count;
	int context_size;
	CaptureMove *move; /* the innermost */
	uint32 next_seq;
	DateADT month; /* the partition of all entries of this transaction: the month of the first */
	bool rows;	   /* a row's change was among them, which an event is not */
	bool layouts;  /* it put layouts into immiiq.layout */
	bool written;  /* something has gone to immiiq.entry */
	bool at_once;  /* commit has begun: nobody will flush later */
	bool busy;
} capture;

static HTAB *capture_relations = NULL;
static const pg_tz *capture_utc = NULL;

/* ---- what is known of a table ---- */

static void
capture_forget(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS status;
	CaptureRelation *rel;

	if (capture_relations == NULL)
		return;
	hash_seq_init(&status, capture_relations);
	while ((rel = hash_seq_search(&status)) != NULL)
	{
		if (!OidIsValid(relid) || rel->relid == relid || rel->root == relid)
			rel->valid = false;
	}
}

static void
capture_forget_all(Datum arg, int cacheid, uint32 hashvalue)
{
	capture_forget((Datum) 0, InvalidOid);
}

/* The attribute that names the organisation, 0 when there is none. */
static AttrNumber
capture_find_org(Relation rel, const PolicyTable *policy, const Trigger *trigger)
{
	AttrNumber attnum = InvalidAttrNumber;

	if (policy != NULL && policy->org != InvalidAttrNumber)
		attnum = policy->org;
	else
		attnum =
			get_attnum(RelationGetRelid(rel), trigger->tgnargs > 0 ? trigger->tgargs[0] : "org_id");
	if (attnum > 0 && TupleDescAttr(RelationGetDescr(rel), attnum - 1)->atttypid == UUIDOID)
		return attnum;
	return InvalidAttrNumber;
}

/* The attribute that names the client, 0 when there is none. */
static AttrNumber
capture_find_client(Relation rel, const PolicyTable *policy)
{
	if (policy == NULL || policy->client <= 0 ||
		TupleDescAttr(RelationGetDescr(rel), policy->client - 1)->atttypid != UUIDOID)
		return InvalidAttrNumber;
	return policy->client;
}

/* What immiiq.audit_rule says of a column. */
static CaptureRule
capture_rule(Oid relid, const char *column)
{
	Relation rules = table_open(base_relation("audit_rule"), AccessShareLock);
	CaptureRule rule = CAPTURE_WHOLE;
	ScanKeyData key[1];
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key[0], RULE_TARGET, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(rules, base_relation("audit_rule_pkey"), true, NULL, 1, key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		TupleDesc desc = RelationGetDescr(rules);
		bool isnull;
		Datum name = heap_getattr(tuple, RULE_COLUMN, desc, &isnull);
		Datum what = heap_getattr(tuple, RULE_RULE, desc, &isnull);

		if (strcmp(NameStr(*DatumGetName(name)), column) == 0)
			rule = strcmp(TextDatumGetCString(what), "omit") == 0 ? CAPTURE_OMIT : CAPTURE_HASH;
	}
	systable_endscan(scan);
	table_close(rules, AccessShareLock);
	return rule;
}

static uint8
capture_kind(Oid typid)
{
	switch (getBaseType(typid))
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
		case OIDOID:
			return CANONICAL_KIND_NUMBER;
		case BOOLOID:
			return CANONICAL_KIND_BOOLEAN;
		case JSONBOID:
			return CANONICAL_KIND_JSON;
		default:
			return CANONICAL_KIND_TEXT;
	}
}

static void *
capture_grow(void *old, size_t size)
{
	if (size > MaxAllocHugeSize)
		return NULL;
	if (old == NULL)
		return MemoryContextAllocHuge(capture.memory, size);
	return repalloc_huge(old, size);
}

static void *
capture_grow_small(void *old, size_t size)
{
	return old == NULL ? palloc(size) : repalloc(old, size);
}

static void
capture_describe_column(CaptureColumn *column, Form_pg_attribute att, bool key)
{
	CanonicalBuffer name = {.grow = capture_grow_small};
	Oid base = getBaseType(att->atttypid);
	Oid out;

	column->attnum = att->attnum;
	column->byval = att->attbyval;
	column->len = att->attlen;
	column->typid = att->atttypid;
	column->typmod = att->atttypmod;
	column->sealed = types_is_sealed(att->atttypid);
	column->plain = base == TEXTOID || base == VARCHAROID || base == BPCHAROID || base == JSONOID;
	column->uuid = base == UUIDOID;
	column->flags = (key ? CANONICAL_C_KEY : 0) | (column->sealed ? CANONICAL_C_SEALED : 0) |
					(column->sealed ? 0 : capture_kind(att->atttypid) << CANONICAL_C_KIND_SHIFT);
	getTypeOutputInfo(att->atttypid, &out, &column->varlena);
	fmgr_info_cxt(out, &column->out, CurrentMemoryContext);
	canonical_put_length(&name, strlen(NameStr(att->attname)));
	canonical_put(&name, NameStr(att->attname), strlen(NameStr(att->attname)));
	column->name = (char *) name.data;
	column->name_len = name.len;
}

/* Its value is written as a keyed hash: text, whatever its type. */
static void
capture_hash_column(CaptureColumn *column)
{
	column->hashed = true;
	column->flags = (column->flags & CANONICAL_C_KEY) | CANONICAL_C_HASHED;
}

static CaptureRelation *
capture_describe(Relation rel, const Trigger *trigger)
{
	Oid relid = RelationGetRelid(rel);
	Relation root;
	TupleDesc desc;
	CaptureRelation *known;
	const PolicyTable *policy;
	Bitmapset *keys;
	CaptureRule rule;
	MemoryContext memory;
	MemoryContext old;
	bool found;

	if (capture_relations != NULL)
	{
		known = hash_search(capture_relations, &relid, HASH_FIND, NULL);
		if (known != NULL && known->valid && known->memory != NULL)
			return known;
	}
	else
	{
		HASHCTL ctl;

		memset(&ctl, 0, sizeof(ctl));
		ctl.keysize = sizeof(Oid);
		ctl.entrysize = sizeof(CaptureRelation);
		ctl.hcxt = CacheMemoryContext;
		capture_relations =
			hash_create("immiiq captured tables", 32, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	known = hash_search(capture_relations, &relid, HASH_ENTER, &found);
	if (found && known->memory != NULL)
		MemoryContextDelete(known->memory);
	memset((char *) known + sizeof(Oid), 0, sizeof(CaptureRelation) - sizeof(Oid));

	/* built under the current context, so that an error leaves nothing behind; valid before: an invalidation on the way clears it */
	memory =
		AllocSetContextCreate(CurrentMemoryContext, "immiiq captured table", ALLOCSET_SMALL_SIZES);
	known->valid = true;
	old = MemoryContextSwitchTo(memory);
	policy = policy_table(rel);
	if (policy == NULL && RelationGetNamespace(rel) != base_schema() &&
		!superuser_arg(rel->rd_rel->relowner))
	{
		known->valid = false;
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("table \"%s\" is not protected, so it cannot be captured",
							   RelationGetRelationName(rel)),
						errhint("Use immiiq.protect() on the table.")));
	}
	known->root = policy != NULL ? policy->relid : relid;
	known->org = capture_find_org(rel, policy, trigger);
	known->client = capture_find_client(rel, policy);
	known->table = get_rel_name(known->root);
	known->schema = get_namespace_name(get_rel_namespace(known->root));
	/* partitions may number their columns as they like: images and keys go by those of the table */
	root = known->root != relid ? table_open(known->root, AccessShareLock) : rel;
	desc = RelationGetDescr(root);
	known->columns = palloc0(sizeof(CaptureColumn) * Max(desc->natts, 1));
	if (known->table == NULL || known->schema == NULL)
		elog(ERROR, "cache lookup failed for relation %u", known->root);
	known->layout.grow = capture_grow_small;
	canonical_put_length(&known->layout, strlen(known->schema));
	canonical_put(&known->layout, known->schema, strlen(known->schema));
	canonical_put_length(&known->layout, strlen(known->table));
	canonical_put(&known->layout, known->table, strlen(known->table));
	known->layout_columns = known->layout.len;
	keys = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_PRIMARY_KEY);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped)
			continue;
		if (root != rel)
			att = TupleDescAttr(RelationGetDescr(rel), get_attnum(relid, NameStr(att->attname)) - 1);
		rule = capture_rule(known->root, NameStr(att->attname));
		if (rule == CAPTURE_OMIT)
			continue;
		capture_describe_column(&known->columns[known->ncolumns++], att,
								bms_is_member(att->attnum - FirstLowInvalidHeapAttributeNumber,
											  keys));
		if (rule == CAPTURE_HASH)
			capture_hash_column(&known->columns[known->ncolumns - 1]);
		canonical_put_byte(&known->layout, known->columns[known->ncolumns - 1].flags);
		canonical_put(&known->layout, known->columns[known->ncolumns - 1].name,
					  known->columns[known->ncolumns - 1].name_len);
	}
	if (root != rel)
		table_close(root, NoLock);
	audit_layout_name(known->layout.data, known->layout.len, known->layout_name);
	MemoryContextSwitchTo(old);
	if (known->org == InvalidAttrNumber)
	{
		known->valid = false;
		ereport(ERROR, (errcode(ERRCODE_INVALID_TABLE_DEFINITION),
						errmsg("table \"%s\" has no uuid column that names the organisation",
							   RelationGetRelationName(rel)),
						errhint("Use immiiq.protect() on the table.")));
	}
	MemoryContextSetParent(memory, CacheMemoryContext);
	known->memory = memory;
	return known;
}

/* Sees to it that the layout of a table is in immiiq.layout. */
static void
capture_note_layout(CaptureRelation *rel)
{
	capture.layouts = true; /* before: what fails halfway is forgotten, too */
	audit_layout_note(rel->layout.data, rel->layout.len, rel->layout_name);
	rel->layout_noted = true;
}

/* What was noted may be rolled back: it is looked for again. */
static void
capture_forget_layouts(void)
{
	HASH_SEQ_STATUS status;
	CaptureRelation *rel;

	hash_seq_init(&status, capture_relations);
	while ((rel = hash_seq_search(&status)) != NULL)
		rel->layout_noted = false;
}

/* ---- the buffer ---- */

static void
capture_begin(void)
{
	MemoryContext memory;

	if (capture.memory != NULL)
		return;
	memory = AllocSetContextCreate(TopTransactionContext, "immiiq audit", ALLOCSET_DEFAULT_SIZES);
	memset(&capture.arena, 0, sizeof(CanonicalBuffer));
	memset(&capture.image, 0, sizeof(CanonicalBuffer));
	memset(&capture.former, 0, sizeof(CanonicalBuffer));
	memset(&capture.packed, 0, sizeof(CanonicalBuffer));
	memset(&capture.clear, 0, sizeof(CanonicalBuffer));
	memset(&capture.hashes, 0, sizeof(CanonicalBuffer));
	memset(&capture.row_name, 0, sizeof(CanonicalBuffer));
	capture.arena.grow = capture_grow;
	capture.image.grow = capture_grow;
	capture.former.grow = capture_grow;
	capture.packed.grow = capture_grow;
	capture.clear.grow = capture_grow;
	capture.hashes.grow = capture_grow;
	capture.row_name.grow = capture_grow;
	capture.row = AllocSetContextCreate(memory, "immiiq audit row", ALLOCSET_DEFAULT_SIZES);
	capture.size = 32;
	capture.entries = MemoryContextAlloc(memory, sizeof(CaptureEntry) * capture.size);
	capture.context_size = 4;
	capture.contexts = MemoryContextAlloc(memory, sizeof(CaptureContext) * capture.context_size);
	capture.count = 0;
	capture.context_count = 0;
	capture.move = NULL;
	capture.next_seq = 1;
	capture.month = audit_month(GetCurrentTimestamp());
	capture.rows = false;
	capture.layouts = false;
	capture.written = false;
	capture.busy = false;
	capture.memory = memory;
}

/* The transaction is over: TopTransactionContext takes the memory with it. */
static void
capture_end(void)
{
	if (capture.image.data != NULL)
		crypto_wipe(capture.image.data, capture.image.size);
	if (capture.former.data != NULL)
		crypto_wipe(capture.former.data, capture.former.size);
	if (capture.packed.data != NULL)
		crypto_wipe(capture.packed.data, capture.packed.size);
	if (capture.row_name.data != NULL)
		crypto_wipe(capture.row_name.data, capture.row_name.size);
	memset(&capture, 0, sizeof(capture));
}

/* Index of the first entry of this level or deeper. */
static int
capture_first_of_level(int level)
{
	int first = capture.count;

	while (first > 0 && capture.entries[first - 1].level >= level)
		first--;
	return first;
}

/* ---- leaf hashes in the WAL ---- */

static bool capture_leaf_messages = false;

/* Adds the name and the leaf hash of an entry to a message. */
static void
capture_tell_leaf(StringInfo message, const CaptureEntry *entry, const Datum *values,
				  const bool *nulls)
{
	size_t len;
	const uint8 *body = audit_entry_bytes(values, nulls, &len);
	uint8 hash[TREE_HASH_BYTES];
	char *org = DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&entry->org)));

	if (body == NULL || !tree_leaf_hash(body, len, hash))
		elog(ERROR, "could not compute a hash");
	appendStringInfo(message, " %s/%u/", org, entry->seq);
	enlargeStringInfo(message, 2 * sizeof(hash));
	message->len += hex_encode((char *) hash, sizeof(hash), message->data + message->len);
	message->data[message->len] = '\0';
}

static void capture_settle_moves(int depth, int level);

/* Writes the entries from first on, which must all belong to the current level, and forgets them. */
static void
capture_write(int first)
{
	AuditWriter writer;
	MemoryContext old;
	int64 txid;
	bool at_end = !ActiveSnapshotSet();
	bool tells = capture_leaf_messages && XLogLogicalInfoActive();
	StringInfoData message;

	if (first >= capture.count)
		return;
	if (!OidIsValid(base_relation_or_invalid("entry")))
	{
		/* the extension was dropped in this transaction */
		capture.count = first;
		return;
	}
	if (at_end)
		PushActiveSnapshot(GetTransactionSnapshot()); /* long values go to a table of their own */
	txid = (int64) U64FromFullTransactionId(GetTopFullTransactionId());
	old = MemoryContextSwitchTo(capture.row);
	audit_writer_open_entries(&writer, capture.month,
							  Min(capture.count - first, CAPTURE_WRITE_ROWS));
	if (tells)
	{
		initStringInfo(&message);
		appendStringInfo(&message, "v1 %d " INT64_FORMAT, (int32) audit_incarnation(), txid);
	}
	for (int i = first; i < capture.count; i++)
	{
		CaptureEntry *entry = &capture.entries[i];
		Datum values[ENTRY_COLUMNS];
		bool nulls[ENTRY_COLUMNS] = {false};

		values[ENTRY_TXID - 1] = Int64GetDatum(txid);
		values[ENTRY_AT - 1] = TimestampTzGetDatum(entry->at);
		values[ENTRY_ORG - 1] = UUIDPGetDatum(&entry->org);
		values[ENTRY_INCARNATION - 1] = Int32GetDatum((int32) audit_incarnation());
		values[ENTRY_SEQ - 1] = Int32GetDatum((int32) entry->seq);
		values[ENTRY_CONTEXT - 1] = Int32GetDatum((int32) entry->context);
		values[ENTRY_MONTH - 1] = DateADTGetDatum(capture.month);
		values[ENTRY_BODY - 1] = PointerGetDatum(capture.arena.data + entry->offset);
		audit_writer_add(&writer, values, nulls);
		if (tells)
			capture_tell_leaf(&message, entry, values, nulls);
	}
	audit_writer_close(&writer);
	if (tells)
		(void) LogLogicalMessage("immiiq-leaf", message.data, message.len, true, false);
	if (at_end)
		PopActiveSnapshot();
	MemoryContextSwitchTo(old);
	MemoryContextReset(capture.row);
	capture.arena.len = capture.entries[first].start;
	capture.count = first;
	capture.written = true;
}

void
audit_before_commit(void)
{
	ddl_before_commit();
	capture_settle_moves(0, 0);
	if (capture.memory != NULL)
		capture_write(0);
	capture.at_once = true;
}

static void
capture_drop_move(void)
{
	CaptureMove *move = capture.move;

	capture.move = move->outer;
	pfree(move);
}

/* Forgets what an aborted subtransaction captured. */
static void
capture_abort_level(int level)
{
	int first = capture_first_of_level(level);

	capture.count = first;
	capture.arena.len = 0;
	if (first > 0)
	{
		CaptureEntry *last = &capture.entries[first - 1];

		capture.arena.len = last->offset + VARSIZE(capture.arena.data + last->offset);
	}
	while (capture.context_count > 0 && capture.contexts[capture.context_count - 1].level >= level)
		capture.context_count--;
	if (capture.layouts)
		capture_forget_layouts();
	while (capture.move != NULL && capture.move->level >= level)
		capture_drop_move();
	for (CaptureMove *move = capture.move; move != NULL; move = move->outer)
	{
		if (move->end_level >= level)
			move->ended = InvalidOid;
	}
	capture.busy = false;
}

/* Gives what a subtransaction captured to its parent. */
static void
capture_commit_level(int level)
{
	for (int i = capture.count; i > 0 && capture.entries[i - 1].level >= level; i--)
		capture.entries[i - 1].level = level - 1;
	for (int i = capture.context_count; i > 0 && capture.contexts[i - 1].level >= level; i--)
		capture.contexts[i - 1].level = level - 1;
	for (CaptureMove *move = capture.move; move != NULL; move = move->outer)
		move->end_level = Min(move->end_level, level - 1);
}

static void
capture_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	int level;

	if (capture.memory == NULL)
		return;
	level = GetCurrentTransactionNestLevel();
	switch (event)
	{
		case SUBXACT_EVENT_PRE_COMMIT_SUB:
			capture_settle_moves(0, level);

			/*
			 * Rows can only be written as the current subtransaction's own,
			 * so an outer level's stay where they are; once those alone fill
			 * the buffer, every level writes its own before it ends.
			 */
			if (capture.count >= CAPTURE_MAX_ROWS || capture.arena.len >= CAPTURE_MAX_BYTES)
				capture_write(capture_first_of_level(level));
			break;
		case SUBXACT_EVENT_COMMIT_SUB:
			capture_commit_level(level);
			break;
		case SUBXACT_EVENT_ABORT_SUB:
			capture_abort_level(level);
			break;
		case SUBXACT_EVENT_START_SUB:
			break;
	}
}

static void
capture_transaction(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
			if (capture.written)
				audit_note_captured();
			capture_end();
			break;
		case XACT_EVENT_ABORT:
			if (capture.layouts)
				capture_forget_layouts();
			capture_end();
			break;
		default:
			break;
	}
}

void
capture_init(void)
{
	DefineCustomBoolVariable("immiiq.leaf_messages",
							 "Writes the leaf hashes of audited changes into the WAL, for logical decoding.",
							 "Needs wal_level = logical.", &capture_leaf_messages, false,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	if (!base_preloaded)
		return;
	RegisterXactCallback(capture_transaction, NULL);
	RegisterSubXactCallback(capture_subtransaction, NULL);
	CacheRegisterRelcacheCallback(capture_forget, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, capture_forget_all, (Datum) 0);
	CacheRegisterSyscacheCallback(TYPEOID, capture_forget_all, (Datum) 0);
}

/* ---- who ---- */

static uint8
capture_actor(const ContextIdentity *identity)
{
	if (identity != NULL)
		return (uint8) identity->actor;
	if (IsLogicalWorker())
		return AUDIT_ACTOR_REPLICATION;
	if (audit_session_restores())
		return AUDIT_ACTOR_RESTORE;
	return AUDIT_ACTOR_DATABASE;
}

static const char *
capture_application(void)
{
	return application_name != NULL ? application_name : "";
}

/* The context that holds now for this organisation, when this transaction has already written it. */
static CaptureContext *
capture_find_context(const pg_uuid_t *org)
{
	uint64 generation = context_generation();
	Oid session_user = GetSessionUserId();
	const char *address = context_client_ip();
	const char *agent = context_user_agent();
	int last = Max(0, capture.context_count - CAPTURE_CONTEXT_SEARCH);

	for (int i = capture.context_count - 1; i >= last; i--)
	{
		CaptureContext *context = &capture.contexts[i];

		if (context->generation == generation && context->session_user == session_user &&
			base_uuid_equal(&context->org, org) && strcmp(context->address, address) == 0 &&
			strcmp(context->agent, agent) == 0 &&
			strcmp(context->application, capture_application()) == 0)
			return context;
	}
	return NULL;
}

/* Notes that the entry with this seq says who. */
static void
capture_add_context(const pg_uuid_t *org, uint32 seq)
{
	CaptureContext *context;

	if (capture.context_count == capture.context_size)
	{
		capture.contexts =
			repalloc_huge(capture.contexts, sizeof(CaptureContext) * capture.context_size * 2);
		capture.context_size *= 2;
	}
	context = &capture.contexts[capture.context_count];
	context->org = *org;
	context->generation = context_generation();
	context->session_user = GetSessionUserId();
	context->seq = seq;
	context->level = GetCurrentTransactionNestLevel();
	context->address = MemoryContextStrdup(capture.memory, context_client_ip());
	context->agent = MemoryContextStrdup(capture.memory, context_user_agent());
	context->application = MemoryContextStrdup(capture.memory, capture_application());
	capture.context_count++;
}

/* Writes who is writing into a buffer. */
static void
capture_put_who(CanonicalBuffer *b, const pg_uuid_t *org)
{
	const ContextIdentity *identity = context_current();
	CanonicalWho who;
	uint8 address[CANONICAL_TAG_BYTES];
	char *role;

	memset(&who, 0, sizeof(who));
	if (context_client_ip()[0] != '\0')
	{
		audit_tag(org, AUDIT_TAG_ADDRESS, context_client_ip(), strlen(context_client_ip()), address);
		who.address = address;
	}
	who.actor = capture_actor(identity);
	role = GetUserNameFromId(GetSessionUserId(), true);
	if (role == NULL)
		role = "?"; /* dropped while it was logged in */
	who.role = role;
	who.role_len = strlen(role);
	if (identity != NULL)
	{
		if (!base_uuid_is_nil(&identity->member))
			who.member = identity->member.data;
		if (!base_uuid_is_nil(&identity->session))
			who.session = identity->session.data;
		if (identity->tool[0] != '\0')
		{
			who.tool = identity->tool;
			who.tool_len = strlen(identity->tool);
		}
		who.impersonated = identity->impersonated;
	}
	canonical_put_who(b, &who);
}

/* Writes the parts of the origin that are known into a buffer. */
static void
capture_put_origin(CanonicalBuffer *b)
{
	CanonicalOrigin origin;

	memset(&origin, 0, sizeof(origin));
	if (context_client_ip()[0] != '\0')
	{
		origin.address = context_client_ip();
		origin.address_len = strlen(origin.address);
	}
	if (context_user_agent()[0] != '\0')
	{
		origin.agent = context_user_agent();
		origin.agent_len = strlen(origin.agent);
	}
	if (capture_application()[0] != '\0')
	{
		origin.application = capture_application();
		origin.application_len = strlen(origin.application);
	}
	canonical_put_origin(b, &origin);
}

/* ---- the image ---- */

/* Settings that the text of values depends on; kept aside while an image is written. */
typedef struct CaptureSettings
{
	int date_style;
	int date_order;
	int interval_style;
	int float_digits;
	int bytea;
	pg_tz *zone;
} CaptureSettings;

static void
capture_pin_settings(CaptureSettings *saved)
{
	saved->date_style = DateStyle;
	saved->date_order = DateOrder;
	saved->interval_style = IntervalStyle;
	saved->float_digits = extra_float_digits;
	saved->bytea = bytea_output;
	saved->zone = session_timezone;
	if (capture_utc == NULL)
		capture_utc = pg_tzset("GMT");
	DateStyle = USE_ISO_DATES;
	DateOrder = DATEORDER_YMD;
	IntervalStyle = INTSTYLE_ISO_8601;
	extra_float_digits = 1;
	bytea_output = BYTEA_OUTPUT_HEX;
	session_timezone = (pg_tz *) capture_utc;
}

static void
capture_restore_settings(const CaptureSettings *saved)
{
	DateStyle = saved->date_style;
	DateOrder = saved->date_order;
	IntervalStyle = saved->interval_style;
	extra_float_digits = saved->float_digits;
	bytea_output = saved->bytea;
	session_timezone = saved->zone;
}

/* Writes a value's text, or its keyed hash in hexadecimal. */
static void
capture_put_text(CanonicalBuffer *b, const CaptureColumn *column, const char *text, size_t len,
				 const pg_uuid_t *org)
{
	uint8 hash[CRYPTO_HASH_BYTES];
	char hex[2 * CRYPTO_HASH_BYTES];

	if (column->hashed)
	{
		if (!crypto_hmac(keyring_audit_tag_key(org), text, len, hash))
			elog(ERROR, "could not compute a hash");
		hex_encode((char *) hash, sizeof(hash), hex);
		text = hex;
		len = sizeof(hex);
	}
	canonical_put_length(b, len);
	canonical_put(b, text, len);
}

static void
capture_put_value(CanonicalBuffer *b, const CaptureColumn *column, Datum value, bool isnull,
				  const pg_uuid_t *org)
{
	const char *text;
	size_t len;
	uint8 *at = canonical_reserve(b, 1 + column->name_len);

	if (at == NULL)
		elog(ERROR, "could not grow the audit buffer");
	*at = isnull ? column->flags | CANONICAL_C_NULL : column->flags;
	memcpy(at + 1, column->name, column->name_len);
	if (isnull)
		return;
	if (column->sealed)
	{
		char *opened = types_open(value, column->typid, org);

		len = strlen(opened);
		capture_put_text(b, column, opened, len, org);
		crypto_wipe(opened, len);
		return;
	}
	if (column->uuid && !column->hashed)
	{
		canonical_put_uuid(b, DatumGetUUIDP(value)->data);
		return;
	}
	if (column->plain)
	{
		struct varlena *packed = pg_detoast_datum_packed((struct varlena *) DatumGetPointer(value));

		text = VARDATA_ANY(packed);
		len = VARSIZE_ANY_EXHDR(packed);
	}
	else
	{
		if (column->varlena)
			value = PointerGetDatum(PG_DETOAST_DATUM(value));
		text = OutputFunctionCall((FmgrInfo *) &column->out, value);
		len = strlen(text);
	}
	capture_put_text(b, column, text, len, org);
}

/* True when both rows name the same client, or none. */
static bool
capture_same_client(const CaptureRelation *rel, TupleTableSlot *a, TupleTableSlot *b)
{
	int n = rel->client - 1;

	if (n < 0)
		return true;
	if (a->tts_isnull[n] || b->tts_isnull[n])
		return a->tts_isnull[n] == b->tts_isnull[n];
	return base_uuid_equal(DatumGetUUIDP(a->tts_values[n]), DatumGetUUIDP(b->tts_values[n]));
}

/* Begins what names a row within its organisation: schema and table, each with its length; key columns follow. */
static void
capture_begin_row_name(const CaptureRelation *rel)
{
	CanonicalBuffer *b = &capture.row_name;

	b->len = 0;
	canonical_put_length(b, strlen(rel->schema));
	canonical_put(b, rel->schema, strlen(rel->schema));
	canonical_put_length(b, strlen(rel->table));
	canonical_put(b, rel->table, strlen(rel->table));
}

/* Writes a column into an image, and a key column into the row's name too. */
static void
capture_put_column(CanonicalBuffer *b, const CaptureColumn *column, TupleTableSlot *slot,
				   bool names, const pg_uuid_t *org)
{
	int n = column->attnum - 1;
	size_t start = b->len;

	capture_put_value(b, column, slot->tts_values[n], slot->tts_isnull[n], org);
	if (names && (column->flags & CANONICAL_C_KEY) != 0 && !b->failed)
		canonical_put(&capture.row_name, b->data + start, b->len - start);
}

/* Writes a column that no table has. */
static void
capture_put_field(CanonicalBuffer *b, uint8 flags, const char *name, const char *value)
{
	canonical_put_byte(b, value == NULL ? flags | CANONICAL_C_NULL : flags);
	canonical_put_length(b, strlen(name));
	canonical_put(b, name, strlen(name));
	if (value == NULL)
		return;
	canonical_put_length(b, strlen(value));
	canonical_put(b, value, strlen(value));
}

/* Writes the name of a partition as the system column that says it of a row. */
static void
capture_put_partition(CanonicalBuffer *b, Oid leaf)
{
	capture_put_field(b, 0, "tableoid",
					  quote_qualified_identifier(get_namespace_name(get_rel_namespace(leaf)),
												 get_rel_name(leaf)));
}

/* The image of a change; from is the partition that the row has left for another, or InvalidOid. */
static void
capture_put_image(const CaptureRelation *rel, TupleTableSlot *new, TupleTableSlot *old,
				  const pg_uuid_t *org, Oid from)
{
	CanonicalBuffer *b = &capture.image;
	Bitmapset *changed = NULL;
	int old_count = 0;
	int moved = OidIsValid(from) ? 1 : 0;

	b->len = 0;
	capture.former.len = 0;
	capture_begin_row_name(rel);
	canonical_put_length(b, new != NULL ? rel->ncolumns + moved : 0);
	for (int i = 0; i < rel->ncolumns; i++)
	{
		const CaptureColumn *column = &rel->columns[i];
		int n = column->attnum - 1;

		if (new != NULL)
		{
			if (column->sealed && !new->tts_isnull[n])
				types_check_stored(new->tts_values[n], column->typid, column->typmod, org);
			capture_put_column(b, column, new, true, org);
		}
		if (old == NULL)
			continue;
		if (new != NULL && old->tts_isnull[n] == new->tts_isnull[n] &&
			(old->tts_isnull[n] ||
			 datum_image_eq(old->tts_values[n], new->tts_values[n], column->byval, column->len)))
			continue;
		if (new != NULL)
			changed = bms_add_member(changed, i);
		old_count++;
	}
	if (moved)
		capture_put_partition(b, rel->relid);
	if (new != NULL && old != NULL && !capture_same_client(rel, new, old))
	{
		/* the old values are the other subject's */
		canonical_put_length(b, 0);
		b = &capture.former;
		canonical_put_length(b, 0);
	}
	canonical_put_length(b, old_count + moved);
	for (int i = 0; old_count > 0 && i < rel->ncolumns; i++)
	{
		const CaptureColumn *column = &rel->columns[i];

		if (new == NULL || bms_is_member(i, changed))
			capture_put_column(b, column, old, new == NULL, org);
	}
	if (moved)
		capture_put_partition(b, from);
}

/* The same under fixed settings, which it puts back on every path. */
static pg_noinline void
capture_put_image_pinned(const CaptureRelation *rel, TupleTableSlot *new, TupleTableSlot *old,
						 const pg_uuid_t *org, Oid from)
{
	CaptureSettings settings;

	capture.busy = true;
	capture_pin_settings(&settings);
	PG_TRY();
	{
		capture_put_image(rel, new, old, org, from);
	}
	PG_FINALLY();
	{
		capture_restore_settings(&settings);
		capture.busy = false;
	}
	PG_END_TRY();
}

/* ---- an entry ---- */

/* What a part of an entry is sealed and salted with. */
typedef struct CaptureKey
{
	CryptoXaes *cipher;
	const uint8 *salt;
	uint32 id;
} CaptureKey;

/* The client that a row names, NULL when it names none. */
static const pg_uuid_t *
capture_client(const CaptureRelation *rel, TupleTableSlot *slot)
{
	if (slot == NULL || rel->client <= 0 || slot->tts_isnull[rel->client - 1])
		return NULL;
	return DatumGetUUIDP(slot->tts_values[rel->client - 1]);
}

/* The key of a client, or the organisation's audit key where client is NULL. */
static void
capture_take_key(CaptureKey *key, const pg_uuid_t *org, const pg_uuid_t *client)
{
	key->id = 0;
	key->cipher = keyring_image_key(org, client, &key->id, &key->salt);
}

/* Appends ciphertext and MAC, with their length where something follows; the label and the clear part are the AAD. */
static void
capture_put_sealed(CanonicalBuffer *arena, uint8 tag, bool last, const CanonicalEntry *entry,
				   const CaptureKey *key, const uint8 *plain, Size len)
{
	Size sealed_len = len + CANONICAL_SEAL_BYTES;
	uint8 nonce[CRYPTO_NONCE_BYTES];
	uint8 *at;

	if (sealed_len > MaxAllocSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("row is too large to be audited")));
	if (!last)
		canonical_put_length(arena, sealed_len);
	at = canonical_reserve(arena, sealed_len);
	if (at == NULL)
		elog(ERROR, "could not grow the audit buffer");
	audit_sealed_label(tag, capture.clear.data);
	commit_seal_nonce(entry, tag, nonce);
	if (!crypto_xaes_seal(key->cipher, nonce, capture.clear.data, capture.clear.len, plain, len, at))
		elog(ERROR, "could not seal an audit entry");
}

/* The same of an image, which is packed first. */
static void
capture_put_packed(CanonicalBuffer *arena, uint8 tag, bool last, const CanonicalEntry *entry,
				   const CaptureKey *key, const CaptureRelation *rel, const CanonicalBuffer *image)
{
	capture.packed.len = 0;
	canonical_pack_image(&capture.packed, image->data, image->len,
						 rel != NULL ? rel->layout.data + rel->layout_columns : NULL,
						 rel != NULL ? rel->layout.len - rel->layout_columns : 0, entry->org);
	if (capture.packed.failed)
		elog(ERROR, "could not grow the audit buffer");
	capture_put_sealed(arena, tag, last, entry, key, capture.packed.data, capture.packed.len);
}

/* What an entry is about. */
typedef struct CaptureSubject
{
	const CaptureRelation *rel; /* NULL: an event */
	const char *schema;
	const char *table;
	uint8 operation;
	const pg_uuid_t *org;
	const pg_uuid_t *client; /* NULL when none */
	const pg_uuid_t *former; /* whose the old values are, when they are another's */
	TimestampTz at;
	const CanonicalWho *who; /* NULL: whoever is active */
	const CanonicalOrigin *origin;
} CaptureSubject;

/* Appends one entry over the image that stands in capture.image. */
static void
capture_add(const CaptureSubject *subject)
{
	const pg_uuid_t *org = subject->org;
	CanonicalBuffer *arena = &capture.arena;
	CanonicalBuffer who = {.grow = capture_grow_small};
	CanonicalEntry entry;
	CaptureContext *context;
	CaptureEntry *pending;
	CanonicalBuffer origin = {.grow = capture_grow_small};
	CaptureKey key;
	CaptureKey former;
	CaptureKey own; /* the organisation's */
	uint8 nonce[CRYPTO_NONCE_BYTES];
	uint8 commitment[COMMIT_HASH_BYTES];
	uint8 row[CANONICAL_TAG_BYTES];
	bool ok;
	bool has_former = capture.former.len > 0;
	Size start = arena->len;
	Size body;

	if (capture.next_seq >= PG_INT32_MAX)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("transaction has too many audited changes")));
	memset(&entry, 0, sizeof(entry));
	capture_take_key(&key, org, subject->client);
	if (has_former)
		capture_take_key(&former, org, subject->former);
	context = subject->who == NULL ? capture_find_context(org) : NULL;
	if (context == NULL)
		capture_take_key(&own, org, NULL);
	audit_tag(org, AUDIT_TAG_ROW, capture.row_name.data, capture.row_name.len, row);
	entry.row = canonical_u64(row);
	entry.key_id = key.id;
	entry.operation = subject->operation;
	entry.org = org->data;
	entry.at = subject->at;
	entry.incarnation = audit_incarnation();
	entry.txid = U64FromFullTransactionId(GetTopFullTransactionId());
	entry.seq = capture.next_seq;
	entry.schema = subject->schema;
	entry.schema_len = strlen(subject->schema);
	entry.table = subject->table;
	entry.table_len = strlen(subject->table);
	entry.layout = subject->rel != NULL ? subject->rel->layout_name : NULL;
	entry.context = context != NULL ? context->seq : entry.seq;
	if (context == NULL)
	{
		if (subject->who != NULL)
		{
			canonical_put_who(&who, subject->who);
			canonical_put_origin(&origin, subject->origin);
		}
		else
		{
			capture_put_who(&who, org);
			capture_put_origin(&origin);
		}
		entry.who = who.data;
		entry.who_len = who.len;
	}
	capture.hashes.len = 0;
	commit_salt_nonce(&entry, false, nonce);
	ok = commit_image(&capture.hashes, key.salt, nonce, capture.image.data, capture.image.len);
	if (has_former)
		ok = ok && commit_image(&capture.hashes, former.salt, nonce, capture.former.data,
								capture.former.len);
	if (context == NULL)
	{
		commit_salt_nonce(&entry, true, nonce);
		ok = ok && commit_origin(&capture.hashes, own.salt, nonce, origin.data, origin.len);
	}
	if (!ok || !commit_root(capture.hashes.data, capture.hashes.len, commitment))
		elog(ERROR, "could not compute the commitments of an audit entry");
	entry.commitment = commitment;

	capture.clear.len = 0;
	(void) canonical_reserve(&capture.clear, CANONICAL_LABEL_BYTES);
	canonical_put_entry(&capture.clear, &entry);
	if (capture.clear.failed)
		elog(ERROR, "could not grow the audit buffer");

	/* the bytea begins on an aligned place */
	body = MAXALIGN(start) + VARHDRSZ;
	(void) canonical_reserve(arena, body - start);
	canonical_pack_entry(arena, &entry, has_former);
	if (context == NULL)
		capture_put_sealed(arena, CANONICAL_F_ORIGIN, false, &entry, &own,
						   origin.data != NULL ? origin.data : (uint8 *) "", origin.len);
	capture_put_packed(arena, CANONICAL_F_IMAGE, !has_former, &entry, &key, subject->rel,
					   &capture.image);
	if (has_former)
	{
		uint32 key_id = pg_hton32(former.id);

		canonical_put(arena, &key_id, sizeof(key_id));
		capture_put_packed(arena, CANONICAL_F_FORMER, true, &entry, &former, subject->rel,
						   &capture.former);
	}
	if (arena->len - body > MaxAllocSize - VARHDRSZ)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("row is too large to be audited")));
	SET_VARSIZE(arena->data + body - VARHDRSZ, arena->len - body + VARHDRSZ);

	if (capture.count == capture.size)
	{
		capture.entries = repalloc_huge(capture.entries, sizeof(CaptureEntry) * capture.size * 2);
		capture.size *= 2;
	}
	if (context == NULL && subject->who == NULL)
		capture_add_context(org, entry.seq);
	pending = &capture.entries[capture.count++];
	pending->org = *org;
	pending->at = entry.at;
	pending->seq = entry.seq;
	pending->context = entry.context;
	pending->level = GetCurrentTransactionNestLevel();
	pending->offset = body - VARHDRSZ;
	pending->start = start;
	capture.next_seq++;
	stat_add(STAT_ENTRIES_CAPTURED, 1);
}

/* Writes what the current level has when it has enough, or when nobody will come to do it. */
static void
capture_write_when_full(void)
{
	int first = capture.count;

	if (capture.at_once)
		first = 0;
	else if (capture.count >= CAPTURE_MAX_ROWS || capture.arena.len >= CAPTURE_MAX_BYTES)
	{
		first = capture_first_of_level(GetCurrentTransactionNestLevel());

		/* a full buffer of outer levels lets this one gather a few rows all the same */
		if (capture.count - first < CAPTURE_MAX_ROWS / 10 &&
			capture.arena.len - capture.entries[first].start < CAPTURE_MAX_BYTES / 10)
			first = capture.count;
	}
	capture_write(first);
}

/* Wipes the plain bytes of the entry that was just sealed. */
static void
capture_wipe(void)
{
	crypto_wipe(capture.image.data, capture.image.len);
	if (capture.former.len > 0)
		crypto_wipe(capture.former.data, capture.former.len);
	crypto_wipe(capture.packed.data, capture.packed.len);
	crypto_wipe(capture.row_name.data, capture.row_name.len);
}

/*
 * True for rows of the directory that a superuser's COPY restores: the dump has
 * their entries, too, and restoring needs no root key.  What tells a restore is
 * that this database has sealed nothing yet, or the organisation has no keys.
 */
static bool
capture_restores_directory(Relation relation, const pg_uuid_t *org)
{
	if (!context_row_restored(relation))
		return false;
	audit_hold_sealing();
	return audit_sealed_nothing() || !keyring_org_has_keys(org);
}

/* The organisation of a row; ERROR when it names none. */
static void
capture_row_org(const CaptureRelation *rel, TupleTableSlot *slot, Relation relation, pg_uuid_t *org)
{
	if (slot->tts_isnull[rel->org - 1])
		ereport(ERROR, (errcode(ERRCODE_NOT_NULL_VIOLATION),
						errmsg("row of protected table \"%s\" names no organisation",
							   RelationGetRelationName(relation))));
	*org = *DatumGetUUIDP(slot->tts_values[rel->org - 1]);
}

/* The trigger that captures a table's changes, NULL when it has none. */
static const Trigger *
capture_trigger(Relation rel)
{
	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
	{
		if (strcmp(rel->trigdesc->triggers[i].tgname, CAPTURE_TRIGGER) == 0)
			return &rel->trigdesc->triggers[i];
	}
	return NULL;
}

/* Captures the change of a row; new is NULL for a deletion, old for an insertion, from as of capture_put_image(). */
static void
capture_change(CaptureRelation *rel, Relation relation, TupleTableSlot *new, TupleTableSlot *old,
			   Oid from)
{
	pg_uuid_t org;

	if (new != NULL)
		slot_getallattrs(new);
	if (old != NULL)
		slot_getallattrs(old);
	capture_row_org(rel, new != NULL ? new : old, relation, &org);
	if (new != NULL && old != NULL)
	{
		pg_uuid_t before;

		capture_row_org(rel, old, relation, &before);
		if (!base_uuid_equal(&before, &org))
			ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
							errmsg("the organisation of a row cannot be changed")));
	}
	if (old != NULL)
		hold_check_row(relation, old, new, &org, rel->client);
	if (old != NULL || !capture_restores_directory(relation, &org))
	{
		CaptureSubject subject = {.rel = rel,
								  .schema = rel->schema,
								  .table = rel->table,
								  .operation = old == NULL	 ? CANONICAL_INSERT
											   : new == NULL ? CANONICAL_DELETE
															 : CANONICAL_UPDATE,
								  .org = &org,
								  .client = capture_client(rel, new != NULL ? new : old),
								  .former = capture_client(rel, old),
								  .at = GetCurrentTimestamp()};

		if (!rel->layout_noted)
			capture_note_layout(rel);
		capture_put_image_pinned(rel, new, old, &org, from);
		capture.rows = true;
		capture_add(&subject);
		capture_wipe();
	}
}

/* ---- rows that move between partitions ---- */

static int
capture_depth(void)
{
	LOCAL_FCINFO(call, 0);

	InitFunctionCallInfoData(*call, NULL, 0, InvalidOid, NULL, NULL);
	return DatumGetInt32(pg_trigger_depth(call));
}

/*
 * True when a deletion is the first half of a move, which is kept then.  The
 * executor marks the row that it deletes; logical apply, which moves a row that
 * the publisher has updated, does not, so there every deletion may be one.
 */
static bool
capture_begins_move(const CaptureRelation *rel, const TriggerData *trigdata)
{
	Relation relation = trigdata->tg_relation;
	HeapTuple tuple = trigdata->tg_trigtuple;
	CaptureMove *move;

	if (!relation->rd_rel->relispartition || relation->rd_rel->relam != HEAP_TABLE_AM_OID ||
		capture.at_once || capture_trigger(relation) == NULL ||
		!(HeapTupleHeaderIndicatesMovedPartitions(tuple->t_data) || IsLogicalWorker()))
		return false;
	move = MemoryContextAllocZero(capture.memory, sizeof(CaptureMove));
	move->outer = capture.move;
	move->leaf = RelationGetRelid(relation);
	move->root = rel->root;
	move->tid = tuple->t_self;
	move->command = HeapTupleHeaderGetCmax(tuple->t_data);
	move->depth = capture_depth();
	move->level = GetCurrentTransactionNestLevel();
	capture.move = move;
	capture.rows = true;
	return true;
}

/* The row that has left its partition, as a row of another one of the same table. */
static TupleTableSlot *
capture_fetch_moved(const CaptureMove *move, TupleDesc desc)
{
	Relation from = table_open(move->leaf, NoLock);
	TupleTableSlot *stored = table_slot_create(from, NULL);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	TupleConversionMap *map = convert_tuples_by_name(RelationGetDescr(from), desc);

	if (!table_tuple_fetch_row_version(from, (ItemPointer) &move->tid, SnapshotAny, stored))
		elog(ERROR, "could not find the row that has left its partition");
	if (map != NULL)
		execute_attr_map_slot(map->attrMap, stored, slot);
	else
		ExecCopySlot(slot, stored);
	ExecMaterializeSlot(slot);
	ExecDropSingleTupleTableSlot(stored);
	table_close(from, NoLock);
	return slot;
}

/* True for a column that some level of partitioning above a partition goes by. */
static bool
capture_partitions_by(List *ancestors, const char *column)
{
	ListCell *lc;

	foreach (lc, ancestors)
	{
		Relation rel = table_open(lfirst_oid(lc), AccessShareLock);
		AttrNumber attnum = get_attnum(lfirst_oid(lc), column);
		bool by =
			has_partition_attrs(rel, bms_make_singleton(attnum - FirstLowInvalidHeapAttributeNumber),
								NULL);

		table_close(rel, NoLock);
		if (by)
			return true;
	}
	return false;
}

/* True when two rows have the same key, but for what partitions go by. */
static bool
capture_same_key(const CaptureRelation *rel, Relation relation, TupleTableSlot *a, TupleTableSlot *b)
{
	TupleDesc desc = RelationGetDescr(relation);
	List *ancestors = get_partition_ancestors(RelationGetRelid(relation));

	slot_getallattrs(a);
	slot_getallattrs(b);
	for (int i = 0; i < rel->ncolumns; i++)
	{
		const CaptureColumn *column = &rel->columns[i];
		int n = column->attnum - 1;

		if ((column->flags & CANONICAL_C_KEY) != 0 && column->attnum != rel->org &&
			!datum_image_eq(a->tts_values[n], b->tts_values[n], column->byval, column->len) &&
			!capture_partitions_by(ancestors, NameStr(TupleDescAttr(desc, n)->attname)))
			return false;
	}
	return true;
}

/*
 * Captures a move when this row, a version that the statement has written, is
 * what it made; false when it is not.
 */
static bool
capture_end_move(const CaptureMove *move, CaptureRelation *rel, const TriggerData *trigdata,
				 bool compare)
{
	Relation relation = trigdata->tg_relation;
	HeapTupleHeader header = trigdata->tg_trigtuple->t_data;
	TupleTableSlot *old;
	bool same;

	if (move->root != rel->root || move->leaf == RelationGetRelid(relation) ||
		relation->rd_rel->relam != HEAP_TABLE_AM_OID ||
		!TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(header)) ||
		HeapTupleHeaderGetCmin(header) != move->command)
		return false;
	old = capture_fetch_moved(move, RelationGetDescr(relation));
	same = !compare || capture_same_key(rel, relation, old, trigdata->tg_trigslot);
	if (same)
		capture_change(rel, relation, trigdata->tg_trigslot, old, move->leaf);
	ExecDropSingleTupleTableSlot(old);
	return same;
}

/*
 * True when an insertion is the other half of a move, which is captured then.
 * Where a trigger can have kept the moved row out, the statement may have
 * inserted this row for itself: then keys are compared.
 */
static bool
capture_ends_move(CaptureRelation *rel, const TriggerData *trigdata)
{
	const CaptureMove *move = capture.move;
	Oid relid = RelationGetRelid(trigdata->tg_relation);
	bool ends;

	if (!TRIGGER_FIRED_BY_INSERT(trigdata->tg_event) || move->depth != capture_depth() ||
		move->level != GetCurrentTransactionNestLevel())
		return false;
	ends = OidIsValid(move->ended)
			   ? move->ended == relid &&
					 ItemPointerEquals((ItemPointer) &move->end, &trigdata->tg_trigtuple->t_self)
			   : capture_end_move(move, rel, trigdata,
								  trigdata->tg_relation->trigdesc->trig_insert_before_row);
	if (ends)
		capture_drop_move();
	return ends;
}

/* Before a trigger's change of a row that a statement has moved: the move comes first. */
static void
capture_move_first(CaptureRelation *rel, const TriggerData *trigdata)
{
	if (TRIGGER_FIRED_BY_INSERT(trigdata->tg_event))
		return;
	for (CaptureMove *move = capture.move; move != NULL; move = move->outer)
	{
		if (OidIsValid(move->ended) || !capture_end_move(move, rel, trigdata, true))
			continue;
		move->ended = RelationGetRelid(trigdata->tg_relation);
		move->end = trigdata->tg_trigtuple->t_self;
		move->end_level = GetCurrentTransactionNestLevel();
	}
}

/* Captures the deletion of rows that have left their partitions and come to no other, at this depth and level or deeper. */
static void
capture_settle_moves(int depth, int level)
{
	while (capture.memory != NULL && capture.move != NULL && capture.move->depth >= depth &&
		   capture.move->level >= level)
	{
		CaptureMove move = *capture.move;
		MemoryContext caller;
		Relation relation;
		TupleTableSlot *old;

		capture_drop_move();
		if (OidIsValid(move.ended))
			continue;
		caller = MemoryContextSwitchTo(capture.row);
		relation = table_open(move.leaf, NoLock);
		old = capture_fetch_moved(&move, RelationGetDescr(relation));
		capture_change(capture_describe(relation, capture_trigger(relation)), relation, NULL, old,
					   InvalidOid);
		ExecDropSingleTupleTableSlot(old);
		table_close(relation, NoLock);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(capture.row);
	}
}

/* Before something else of the transaction is captured: what a trigger does between the two halves of a move is not else. */
static void
capture_settle_outside(void)
{
	if (capture.memory != NULL && capture.move != NULL)
		capture_settle_moves(capture_depth(), 0);
}

PG_FUNCTION_INFO_V1(immiiq_capture);

/*
 * immiiq.capture(): AFTER INSERT OR UPDATE OR DELETE, for each row; protect()
 * makes the trigger.  Records the row in the transaction's buffer.  Errors:
 * 42501 when an UPDATE changes the organisation; 23502 when a row names none;
 * IQ032 for a value that is not sealed as its column says; IQ002 and IQ003 when
 * the organisation's audit key cannot be had.  An optional argument names the
 * organisation's column on a table that protect() does not know.
 */
Datum
immiiq_capture(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	Relation relation;
	CaptureRelation *rel;
	TupleTableSlot *new = NULL;
	TupleTableSlot *old = NULL;
	bool done = false; /* the row has just been captured as what another became */
	MemoryContext caller;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigdata->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigdata->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("immiiq.capture can only be a trigger after each row")));
	base_require_preload();
	relation = trigdata->tg_relation;
	capture_begin();
	if (capture.busy)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("an output function of an audited column changes audited rows")));
	caller = MemoryContextSwitchTo(capture.row);
	rel = capture_describe(relation, trigdata->tg_trigger);
	if (capture.move != NULL)
	{
		capture_settle_moves(capture_depth() + 1, 0);
		if (capture.move != NULL && capture.move->depth == capture_depth())
			done = capture_ends_move(rel, trigdata);
		if (!done)
		{
			capture_settle_outside();
			capture_move_first(rel, trigdata);
		}
	}
	if (!done && !(TRIGGER_FIRED_BY_DELETE(trigdata->tg_event) && capture_begins_move(rel, trigdata)))
	{
		if (TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
			new = trigdata->tg_newslot;
		else if (TRIGGER_FIRED_BY_INSERT(trigdata->tg_event))
			new = trigdata->tg_trigslot;
		if (!TRIGGER_FIRED_BY_INSERT(trigdata->tg_event))
			old = trigdata->tg_trigslot;
		capture_change(rel, relation, new, old, InvalidOid);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextReset(capture.row);
	capture_write_when_full();
	return PointerGetDatum(NULL);
}

/* ---- events ---- */

/* The image of an event: its object, then its fields; its row's name is kind and object. */
static void
capture_put_event(const AuditEvent *event)
{
	CanonicalBuffer *b = &capture.image;
	CanonicalBuffer *name = &capture.row_name;

	b->len = 0;
	capture.former.len = 0;
	canonical_put_length(b, event->nfields + (event->object != NULL ? 1 : 0));
	if (event->object != NULL)
		capture_put_field(b, CANONICAL_C_KEY, AUDIT_EVENT_OBJECT, event->object);
	for (int i = 0; i < event->nfields; i++)
		capture_put_field(b, event->fields[i].kind << CANONICAL_C_KIND_SHIFT, event->fields[i].name,
						  event->fields[i].value);
	canonical_put_length(b, 0);
	name->len = 0;
	canonical_put_length(name, strlen(AUDIT_EVENT_SCHEMA));
	canonical_put(name, AUDIT_EVENT_SCHEMA, strlen(AUDIT_EVENT_SCHEMA));
	canonical_put_length(name, strlen(event->kind));
	canonical_put(name, event->kind, strlen(event->kind));
	if (event->object != NULL)
		capture_put_field(name, CANONICAL_C_KEY, AUDIT_EVENT_OBJECT, event->object);
	if (b->failed || name->failed)
		elog(ERROR, "could not grow the audit buffer");
}

void
audit_event(const AuditEvent *event)
{
	CaptureSubject subject = {.schema = AUDIT_EVENT_SCHEMA,
							  .table = event->kind,
							  .operation = CANONICAL_EVENT,
							  .org = event->org != NULL ? event->org : &keyring_installation_org,
							  .client = event->client,
							  .at = event->at != 0 ? event->at : GetCurrentTimestamp(),
							  .who = event->who,
							  .origin = event->origin};
	MemoryContext caller;

	base_require_preload();
	PreventCommandIfReadOnly("recording an event in the log");
	PreventCommandIfParallelMode("recording an event in the log");
	capture_begin();
	if (capture.busy)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("an output function of an audited column records an event")));
	capture_settle_outside();
	caller = MemoryContextSwitchTo(capture.row);
	capture_put_event(event);
	capture_add(&subject);
	capture_wipe();
	MemoryContextSwitchTo(caller);
	MemoryContextReset(capture.row);
	capture_write_when_full();
}

PG_FUNCTION_INFO_V1(immiiq_last_entry);

/* immiiq.last_entry() → int4: the number of this transaction's last entry, NULL when it has none. */
Datum
immiiq_last_entry(PG_FUNCTION_ARGS)
{
	if (capture.memory == NULL)
		PG_RETURN_NULL();
	capture_settle_outside();
	PG_RETURN_INT32((int32) (capture.next_seq - 1));
}

PG_FUNCTION_INFO_V1(immiiq_entry_month);

/* immiiq.entry_month() → date: the partition of this transaction's entries, NULL when it has none. */
Datum
immiiq_entry_month(PG_FUNCTION_ARGS)
{
	if (capture.memory == NULL)
		PG_RETURN_NULL();
	PG_RETURN_DATEADT(capture.month);
}

PG_FUNCTION_INFO_V1(immiiq_refuse_truncate);

/* immiiq.refuse_truncate(): BEFORE TRUNCATE; ERROR 42501, whoever it is. */
Datum
immiiq_refuse_truncate(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BY_TRUNCATE(trigdata->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("immiiq.refuse_truncate can only be a trigger before TRUNCATE")));
	ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					errmsg("protected table \"%s\" cannot be truncated",
						   RelationGetRelationName(trigdata->tg_relation)),
					errhint("Use DELETE, which the audit records row by row.")));
}

PG_FUNCTION_INFO_V1(immiiq_check_audit_rule);

/*
 * immiiq.check_audit_rule(): AFTER INSERT OR UPDATE OR DELETE, for each row of
 * immiiq.audit_rule.  Makes every backend read the table's rules anew.  Errors:
 * 42703 for a column that is not there; 42P10 for one of the primary key, which
 * names the row in the log.
 */
Datum
immiiq_check_audit_rule(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	HeapTuple tuples[2];

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigdata->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigdata->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("immiiq.check_audit_rule can only be a trigger after each row")));
	tuples[0] = trigdata->tg_trigtuple;
	tuples[1] = TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event) ? trigdata->tg_newtuple : NULL;
	for (int i = 0; i < 2 && tuples[i] != NULL; i++)
	{
		TupleDesc desc = RelationGetDescr(trigdata->tg_relation);
		bool isnull;
		Oid relid = DatumGetObjectId(heap_getattr(tuples[i], RULE_TARGET, desc, &isnull));
		bool holds = !TRIGGER_FIRED_BY_DELETE(trigdata->tg_event) && (i == 1 || tuples[1] == NULL);
		char *column = NameStr(*DatumGetName(heap_getattr(tuples[i], RULE_COLUMN, desc, &isnull)));
		Relation target = try_relation_open(relid, AccessShareLock);
		AttrNumber attnum;

		if (target == NULL)
			continue; /* dropped: its rules are of no account */
		attnum = get_attnum(relid, column);
		if (holds && attnum <= 0)
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
							errmsg("column \"%s\" of table \"%s\" does not exist", column,
								   RelationGetRelationName(target))));
		if (holds && bms_is_member(attnum - FirstLowInvalidHeapAttributeNumber,
								   RelationGetIndexAttrBitmap(target, INDEX_ATTR_BITMAP_PRIMARY_KEY)))
			ereport(ERROR, (errcode(ERRCODE_INVALID_COLUMN_REFERENCE),
							errmsg("a column of the primary key cannot be left out of the log")));
		CacheInvalidateRelcache(target);
		relation_close(target, AccessShareLock);
	}
	return PointerGetDatum(NULL);
}

/* ---- for verification ---- */

bool
audit_transaction_captured(void)
{
	return capture.memory != NULL && capture.rows;
}

void
audit_row_image(Relation rel, TupleTableSlot *slot, pg_uuid_t *org, uint64 *tag,
				const uint8 **image, size_t *len)
{
	const Trigger *trigger = capture_trigger(rel);
	const CaptureRelation *known;
	uint8 bytes[CANONICAL_TAG_BYTES];

	if (trigger == NULL)
		elog(ERROR, "relation %u has no trigger that captures", RelationGetRelid(rel));
	capture_begin();
	known = capture_describe(rel, trigger);
	slot_getallattrs(slot);
	capture_row_org(known, slot, rel, org);
	capture_put_image_pinned(known, slot, NULL, org, InvalidOid);
	audit_tag(org, AUDIT_TAG_ROW, capture.row_name.data, capture.row_name.len, bytes);
	*tag = canonical_u64(bytes);
	*image = capture.image.data;
	*len = capture.image.len;
}

/* Writes the row's name from the text of its key; false when a column's is not given, or not to be had from text. */
static bool
capture_put_key(const CaptureRelation *known, TupleTableSlot *slot, const pg_uuid_t *org,
				char *(*text)(void *arg, const char *column), void *arg)
{
	capture.image.len = 0;
	capture_begin_row_name(known);
	for (int i = 0; i < known->ncolumns; i++)
	{
		const CaptureColumn *column = &known->columns[i];
		int n = column->attnum - 1;
		char *value;
		Oid in;
		Oid param;

		if ((column->flags & CANONICAL_C_KEY) == 0)
			continue;
		value = column->attnum == known->org
					? DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(org)))
					: text(arg, NameStr(TupleDescAttr(slot->tts_tupleDescriptor, n)->attname));
		if (value == NULL || column->sealed)
			return false;
		getTypeInputInfo(column->typid, &in, &param);
		slot->tts_values[n] = OidInputFunctionCall(in, value, param, column->typmod);
		slot->tts_isnull[n] = false;
		capture_put_column(&capture.image, column, slot, true, org);
	}
	return true;
}

bool
audit_row_tag(Relation rel, const pg_uuid_t *org, char *(*text)(void *arg, const char *column),
			  void *arg, uint64 *tag)
{
	const Trigger *trigger = capture_trigger(rel);
	const CaptureRelation *known;
	TupleTableSlot *slot;
	CaptureSettings settings;
	uint8 bytes[CANONICAL_TAG_BYTES];
	volatile bool named = false;

	if (trigger == NULL)
		return false;
	capture_begin();
	if (capture.busy)
		return false;
	known = capture_describe(rel, trigger);
	slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
	capture.busy = true;
	capture_pin_settings(&settings);
	PG_TRY();
	{
		named = capture_put_key(known, slot, org, text, arg);
	}
	PG_FINALLY();
	{
		capture_restore_settings(&settings);
		capture.busy = false;
	}
	PG_END_TRY();
	if (named)
	{
		audit_tag(org, AUDIT_TAG_ROW, capture.row_name.data, capture.row_name.len, bytes);
		*tag = canonical_u64(bytes);
	}
	audit_forget_row_image();
	ExecDropSingleTupleTableSlot(slot);
	return named;
}

void
audit_forget_row_image(void)
{
	if (capture.memory == NULL)
		return;
	crypto_wipe(capture.image.data, capture.image.len);
	crypto_wipe(capture.row_name.data, capture.row_name.len);
	capture.image.len = capture.row_name.len = 0;
}
