/*
 * The sealed column types: input, output, casts, modifiers, and what the DDL
 * may not do with them.  Trusts context/ for who is asking; refuses to give
 * plaintext to anybody else, and to let anything unsealed be stored.
 */
#ifndef IMMIIQ_TYPES_H
#define IMMIIQ_TYPES_H

#include "utils/uuid.h"

extern void types_init(void);

/* True when who is active may see values whole; policy/ knows. */
typedef bool (*TypesRevealCheck)(void);
extern void types_set_reveal_check(TypesRevealCheck check);

/* True for an enc type, a domain over one, and an array of either. */
extern bool types_is_sealed(Oid typid);

/*
 * ERROR IQ032 unless the value (of a type for which types_is_sealed holds, not
 * NULL) is sealed for this organisation, type, domain and search words.  typmod
 * is the column's; other types pass unseen.
 */
extern void types_check_stored(Datum value, Oid typid, int32 typmod, const pg_uuid_t *org);

/*
 * The plaintext of a value in fixed settings (dates as ISO 8601; arrays as
 * array text), palloc'd; the armour for what is not sealed under a key of org.
 * The caller wipes it if it must not stay in memory.
 */
extern char *types_open(Datum value, Oid typid, const pg_uuid_t *org);

/* Called by hooks/ when DDL has made or changed an object: refuses what would store an unbound value. */
extern void types_object_changed(Oid class_id, Oid object_id, int sub_id);
/* Called by hooks/ before a utility statement: DROP EXTENSION says what would be lost, and needs CASCADE for sealed columns. */
struct Node;
extern void types_utility_before(struct Node *statement);
/* Called by hooks/ after a utility statement: refuses sealed partition keys. */
extern void types_utility_after(struct Node *statement);

#endif /* IMMIIQ_TYPES_H */
