/*
 * The bytes of the log: how an entry, its columns and a batch are written and
 * read (docs/audit-format.md).  No postgres.h: unit tests link this alone.
 * Trusts nothing in the bytes; refuses whatever has a second way to be written.
 *
 * A field is a tag byte, a length and that many bytes; tags ascend.  A length
 * is base-128, lowest group first, in the fewest bytes.  Numbers in fields are
 * big-endian and of fixed width.
 */
#ifndef IMMIIQ_CANONICAL_H
#define IMMIIQ_CANONICAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CANONICAL_VERSION	   1
#define CANONICAL_LABEL_BYTES  16 /* in front of the clear part, in the AAD of what is sealed */
#define CANONICAL_LABEL_IMAGE  "immiiq/v1/image" /* and one zero byte */
#define CANONICAL_LABEL_ORIGIN "immiiq/v1/origin"
#define CANONICAL_LABEL_FORMER "immiiq/v1/former"
#define CANONICAL_UUID_BYTES   16
#define CANONICAL_HASH_BYTES   32
#define CANONICAL_TAG_BYTES	   8
#define CANONICAL_SEAL_BYTES   16 /* the MAC behind what is sealed */

/* Operations of an entry */
#define CANONICAL_INSERT 1
#define CANONICAL_UPDATE 2
#define CANONICAL_DELETE 3
#define CANONICAL_EVENT	 4 /* not of a row: the table is its kind, the columns say what happened */

/* Fields of an entry */
#define CANONICAL_F_VERSION		1 /* 1 byte */
#define CANONICAL_F_OPERATION	2 /* 1 byte */
#define CANONICAL_F_ORG			3 /* 16 bytes */
#define CANONICAL_F_AT			4 /* 8 bytes: microseconds since 2000-01-01 UTC, two's complement */
#define CANONICAL_F_INCARNATION 5 /* 4 bytes */
#define CANONICAL_F_TXID		6 /* 8 bytes */
#define CANONICAL_F_SEQ			7 /* 4 bytes */
#define CANONICAL_F_SCHEMA		8
#define CANONICAL_F_TABLE		9
#define CANONICAL_F_LAYOUT		10 /* 8 bytes: names the columns of the table; not of an event */
#define CANONICAL_F_KEY_ID		11 /* 4 bytes */
#define CANONICAL_F_CONTEXT		12 /* 4 bytes: seq of the entry of this transaction that says who */
#define CANONICAL_F_ROW			13 /* 8 bytes: keyed tag of table and primary key */
#define CANONICAL_F_COMMITMENT	14 /* 32 bytes: over every column (commit.h) */
#define CANONICAL_F_WHO			15 /* fields of CANONICAL_W_; only when context equals seq */
#define CANONICAL_F_ORIGIN		16 /* sealed fields of CANONICAL_O_; with CANONICAL_F_WHO */
#define CANONICAL_F_IMAGE		17 /* sealed columns */
#define CANONICAL_F_FORMER                                                                         \
	18 /* 4 bytes key id, then sealed columns: old values under another subject's key */

#define CANONICAL_F_LAST CANONICAL_F_FORMER

/* Fields of who wrote */
#define CANONICAL_W_ACTOR		 1 /* 1 byte */
#define CANONICAL_W_MEMBER		 2 /* 16 bytes, optional */
#define CANONICAL_W_SESSION		 3 /* 16 bytes, optional */
#define CANONICAL_W_ROLE		 4 /* login role */
#define CANONICAL_W_TOOL		 5 /* optional */
#define CANONICAL_W_IMPERSONATED 6 /* 1 byte, value 1, optional */
#define CANONICAL_W_ADDRESS		 7 /* 8 bytes: keyed tag of the address, optional */

/* Fields of the origin, each optional */
#define CANONICAL_O_ADDRESS		1
#define CANONICAL_O_AGENT		2
#define CANONICAL_O_APPLICATION 3

/* Flags of a column */
#define CANONICAL_C_NULL	   0x01
#define CANONICAL_C_KEY		   0x02
#define CANONICAL_C_KIND_SHIFT 2	/* two bits of CANONICAL_KIND_ */
#define CANONICAL_C_SEALED	   0x10 /* the column's type is sealed */
#define CANONICAL_C_HASHED	   0x20 /* the value is a keyed hash, by a rule */
#define CANONICAL_C_KNOWN	   0x3f

#define CANONICAL_KIND_TEXT	   0
#define CANONICAL_KIND_NUMBER  1
#define CANONICAL_KIND_BOOLEAN 2
#define CANONICAL_KIND_JSON	   3

/* A growing buffer; grow gives at least that many bytes with the old content, or NULL. */
typedef struct CanonicalBuffer
{
	uint8_t *data;
	size_t len;
	size_t size;
	bool failed; /* grow returned NULL: the content is void */
	void *(*grow)(void *old, size_t size);
} CanonicalBuffer;

/* Makes room for n more bytes and returns where they go; NULL when it cannot. */
extern uint8_t *canonical_reserve(CanonicalBuffer *b, size_t n);
extern void canonical_put(CanonicalBuffer *b, const void *p, size_t n);
extern void canonical_put_byte(CanonicalBuffer *b, uint8_t v);
extern void canonical_put_length(CanonicalBuffer *b, uint32_t n);
/* The text of a uuid, as PostgreSQL writes it, with its length. */
extern void canonical_put_uuid(CanonicalBuffer *b, const uint8_t *uuid);
extern void canonical_put_field(CanonicalBuffer *b, uint8_t tag, const void *p, size_t n);
extern void canonical_put_field8(CanonicalBuffer *b, uint8_t tag, uint8_t v);
extern void canonical_put_field32(CanonicalBuffer *b, uint8_t tag, uint32_t v);
extern void canonical_put_field64(CanonicalBuffer *b, uint8_t tag, uint64_t v);

/* Reads at *pos and moves it; false for what is cut off or not in the fewest bytes. */
extern bool canonical_get_length(const uint8_t *p, size_t len, size_t *pos, uint32_t *n);
extern bool canonical_get_field(const uint8_t *p, size_t len, size_t *pos, uint8_t *tag,
								const uint8_t **value, uint32_t *n);
extern uint32_t canonical_u32(const uint8_t *p);
extern uint64_t canonical_u64(const uint8_t *p);

typedef struct CanonicalEntry
{
	uint8_t operation;
	const uint8_t *org;
	int64_t at;
	uint32_t incarnation;
	uint64_t txid;
	uint32_t seq;
	const char *schema;
	uint32_t schema_len;
	const char *table;
	uint32_t table_len;
	const uint8_t *layout; /* CANONICAL_LAYOUT_BYTES; NULL when the image has its columns' names */
	uint32_t key_id;
	uint32_t context;
	const uint8_t *who; /* NULL unless context equals seq */
	uint32_t who_len;
	const uint8_t *origin; /* ciphertext, MAC; with who */
	uint32_t origin_len;
	const uint8_t *image;
	uint32_t image_len;
	uint64_t row;			   /* keyed tag */
	const uint8_t *commitment; /* 32 bytes */
	const uint8_t *former;	   /* ciphertext, MAC; NULL when there is none */
	uint32_t former_len;
	uint32_t former_key_id;
	size_t clear_len; /* bytes before what is sealed: the AAD after the label */
} CanonicalEntry;

/* Writes the clear part of an entry, up to and with who. */
extern void canonical_put_entry(CanonicalBuffer *b, const CanonicalEntry *e);
/* Parses a whole entry; points into body; false for anything not canonical. */
extern bool canonical_parse_entry(const uint8_t *body, size_t len, CanonicalEntry *e);

/*
 * What is stored of an entry: neither what the other columns of its row say
 * (organisation, time, incarnation, transaction, seq, context) nor what its
 * layout does (schema, table).  Pack writes up to and with who; what is sealed
 * follows: origin with its length, where it says who; image, with its length
 * where a former one follows with its key id.
 */
extern void canonical_pack_entry(CanonicalBuffer *b, const CanonicalEntry *e, bool former);
/* Reads it into e, which has what the columns say; schema and table stay as they are where there is a layout. */
extern bool canonical_unpack_entry(const uint8_t *stored, size_t len, CanonicalEntry *e);
/* Writes a whole entry, as it is hashed. */
extern void canonical_put_whole_entry(CanonicalBuffer *b, const CanonicalEntry *e);

typedef struct CanonicalWho
{
	uint8_t actor;
	const uint8_t *member;	/* NULL when none */
	const uint8_t *session; /* NULL when none */
	const char *role;
	uint32_t role_len;
	const char *tool; /* NULL when none */
	uint32_t tool_len;
	bool impersonated;
	const uint8_t *address; /* 8 bytes, NULL when none */
} CanonicalWho;

extern void canonical_put_who(CanonicalBuffer *b, const CanonicalWho *w);
extern bool canonical_parse_who(const uint8_t *p, size_t len, CanonicalWho *w);

typedef struct CanonicalOrigin
{
	const char *address; /* NULL when none */
	uint32_t address_len;
	const char *agent;
	uint32_t agent_len;
	const char *application;
	uint32_t application_len;
} CanonicalOrigin;

extern void canonical_put_origin(CanonicalBuffer *b, const CanonicalOrigin *o);
extern bool canonical_parse_origin(const uint8_t *p, size_t len, CanonicalOrigin *o);

/*
 * An image is the number of new columns, those columns, the number of old
 * columns, those columns.  A column is its flags, its name and, unless NULL,
 * its value, each with its length.
 */
typedef struct CanonicalColumn
{
	uint8_t flags;
	const char *name;
	uint32_t name_len;
	const char *value; /* NULL for NULL */
	uint32_t value_len;
} CanonicalColumn;

/* Reads one column at *pos. */
extern bool canonical_get_column(const uint8_t *p, size_t len, size_t *pos, CanonicalColumn *c);
/* True when the bytes are one whole image. */
extern bool canonical_check_image(const uint8_t *p, size_t len);

/*
 * What is sealed is the image packed.  A byte says how: plain, or without the
 * columns' flags and names, which the entry's layout has: one after the other,
 * each flags (never NULL's) and name with its length.  Identifiers and times
 * are packed too.
 */
#define CANONICAL_LAYOUT_BYTES 8 /* its name: the beginning of its SHA-256 */

/* Appends the image as packed with a layout; plain where it has columns that the layout does not, or layout is NULL. */
extern void canonical_pack_image(CanonicalBuffer *b, const uint8_t *image, size_t len,
								 const uint8_t *layout, size_t layout_len, const uint8_t *org);
/* Appends the image; false when the bytes are not what packing an image gives. */
extern bool canonical_unpack_image(CanonicalBuffer *b, const uint8_t *packed, size_t len,
								   const uint8_t *layout, size_t layout_len, const uint8_t *org);

/* A batch: the entries of one organisation that one round sealed. */
typedef struct CanonicalBatch
{
	uint64_t batch_no; /* from 1 */
	uint8_t org[16];
	uint64_t first; /* positions, from 1 */
	uint64_t last;
	int64_t at;
	uint8_t org_root[32]; /* of the organisation's tree of size last */
	uint8_t previous[32]; /* root of the database's tree of size batch_no - 1 */
} CanonicalBatch;

/*
 * A layout is schema and table, each with its length, and the columns.  Gives
 * schema and table to e; false for what is none.
 */
extern bool canonical_parse_layout(const uint8_t *layout, size_t len, CanonicalEntry *e,
								   const uint8_t **columns, size_t *columns_len);

#define CANONICAL_BATCH_BYTES 129
/* Writes the bytes that are one leaf of the database's tree. */
extern void canonical_write_batch(const CanonicalBatch *batch, uint8_t out[CANONICAL_BATCH_BYTES]);

#endif /* IMMIIQ_CANONICAL_H */
