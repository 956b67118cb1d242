/*
 * Capture in the writing transaction, sealing by the worker, verification.
 */
#ifndef IMMIIQ_AUDIT_H
#define IMMIIQ_AUDIT_H

#include "catalog/objectaccess.h"
#include "datatype/timestamp.h"
#include "nodes/nodes.h"
#include "utils/uuid.h"

#include "audit/canonical.h"

extern void audit_init(void);
extern void audit_shmem_request(void);
extern void audit_shmem_startup(void);
/* Flushes this transaction's buffer; called by hooks/ before commit and before prepare. May be called twice. */
extern void audit_before_commit(void);
/* One round of the worker's sealer; outside a transaction. Number of entries sealed. */
extern int64 audit_seal_round(void);
/* False when audit_seal_round would find nothing; costs a few instructions. */
extern bool audit_seal_wanted(void);
/* What the worker does now and then, outside a transaction: makes the partitions of the coming months. */
extern void audit_maintain(void);
extern bool audit_maintain_due(void);
/* The worker's turn at immiiq.anchor_command, outside a transaction; waits for nothing. */
extern void audit_anchor(void);
extern bool audit_anchor_due(void);
/* The worker's look at the triggers that capture, outside a transaction. */
extern void audit_coverage(void);
extern bool audit_coverage_due(void);

/* One utility statement at work; lives on the stack of the hook. */
typedef struct AuditUtility
{
	const char *command;
} AuditUtility;

/* Called by hooks/ around a utility statement, and for each object that one touches: DDL on what counts is recorded. */
extern void audit_utility_begin(AuditUtility *frame, Node *statement);
extern void audit_utility_end(AuditUtility *frame, Node *statement);
/* Called before COPY restores rows of immiiq's own tables. */
extern void audit_restore_begin(void);
extern void audit_object_changed(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id);

/* Where the log says "table", an event has its kind in this schema. */
#define AUDIT_EVENT_SCHEMA "immiiq"
#define AUDIT_EVENT_OBJECT "object" /* the column that holds what an event happened to */
#define AUDIT_KIND_MAX	   63
#define AUDIT_DDL_KIND	   "ddl" /* recorded by ddl_event.c alone */

/* One thing that an event says. */
typedef struct AuditField
{
	const char *name;
	const char *value; /* NULL for null */
	uint8_t kind;	   /* CANONICAL_KIND_ */
} AuditField;

/*
 * Something that happened and is no change of a row: sign-in, denial, export,
 * hold, erasure, an operator's way in, DDL.  kind: lower-case words and hyphens.
 * org NULL: the installation's log.  client: whose key seals it; a client whose
 * erasure is recorded must not be named here, but in object.  who NULL: whoever
 * is active; with who, origin says from where.
 */
typedef struct AuditEvent
{
	const char *kind;
	const pg_uuid_t *org;
	const pg_uuid_t *client;
	const char *object; /* what it happened to, NULL when nothing; found by it */
	const AuditField *fields;
	int nfields;
	TimestampTz at; /* 0: now */
	const CanonicalWho *who;
	const CanonicalOrigin *origin;
} AuditEvent;

/*
 * Records an event in this transaction, with which it commits or is gone.
 * ERROR IQ002 or IQ003 when the keys cannot be had (keyring_can_log tells
 * before), 25006 in a read-only transaction.
 */
extern void audit_event(const AuditEvent *event);

#endif /* IMMIIQ_AUDIT_H */
