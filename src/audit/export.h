/*
 * Reading an export of the log (docs/audit-format.md) and holding it against a
 * public key: what immiiq-verify does.  No postgres.h, no database.  Trusts the
 * verifier key it is given and nothing in the export.
 *
 * Each function returns NULL, or what is wrong: text that lives for ever.
 */
#ifndef IMMIIQ_EXPORT_H
#define IMMIIQ_EXPORT_H

#include "audit/canonical.h"
#include "audit/tree.h"

#define EXPORT_NAME_MAX 255

/* A public key of a log, from name+hash+key (C2SP signed-note). */
typedef struct ExportKey
{
	char name[EXPORT_NAME_MAX + 1];
	uint8_t id[4];
	uint8_t public[CRYPTO_PUB_BYTES];
} ExportKey;

typedef struct ExportHead
{
	uint64_t size;
	uint8_t root[TREE_HASH_BYTES];
} ExportHead;

typedef struct ExportReader
{
	const ExportKey *key;
	ExportHead head;
	uint8_t org[CANONICAL_UUID_BYTES];
	uint64_t first; /* positions that the export says it has */
	uint64_t last;
	uint64_t tree_size; /* of the organisation's tree that paths lead to */
	uint8_t tree_root[TREE_HASH_BYTES];
	uint64_t lines; /* entries read */
	uint64_t position;
	int state;
	/* entries of the transaction at hand that say who */
	uint32_t incarnation;
	uint64_t txid;
	uint32_t *contexts;
	size_t context_count;
	size_t context_size;
	/* the entry that was read last, for whoever prints it */
	CanonicalEntry entry;
	uint8_t *body;
	size_t body_size;
	uint64_t shown; /* columns shown, and kept back, in all */
	uint64_t kept;
} ExportReader;

extern const char *export_parse_key(const char *text, ExportKey *key);
/* A signed note with a signature of this key that holds. */
extern const char *export_parse_checkpoint(const ExportKey *key, const char *note, size_t len,
										   ExportHead *head);
/* Hashes in base64, a line each. */
extern const char *export_check_consistency(const ExportHead *before, const ExportHead *now,
											const char *proof, size_t len);
/* One line without its newline; the first is the header, the last the end. */
extern const char *export_read_line(ExportReader *reader, const char *line, size_t len);
/* After the last line. */
extern const char *export_finish(ExportReader *reader);
extern void export_free(ExportReader *reader);

#endif /* IMMIIQ_EXPORT_H */
