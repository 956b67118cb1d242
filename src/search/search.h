/*
 * Blind-index tokens, the operators on them, and everything the planner is
 * told about them.  Trusts context/ for who is asking and keyring/ for keys;
 * refuses at planning what a column was not declared for.
 */
#ifndef IMMIIQ_SEARCH_H
#define IMMIIQ_SEARCH_H

#include "envelope/envelope.h"
#include "nodes/parsenodes.h"
#include "utils/uuid.h"

/*
 * A type modifier: the column domain in the low 16 bits (0: none given), what
 * the column can do above it.  Never negative, never 0.
 */
#define SEARCH_DOMAIN_MASK 0xFFFF
#define SEARCH_SEALED	   (1 << 16) /* sealed only: no search */
#define SEARCH_EQUALITY	   (1 << 17) /* =, <>, IN, UNIQUE, joins, GROUP BY */
#define SEARCH_FOLD		   (1 << 18) /* equality of the folded text; only with SEARCH_EQUALITY */

#define SearchTypmodDomain(typmod) ((uint16_t) ((typmod) &SEARCH_DOMAIN_MASK))
#define SearchTypmodFlags(typmod)                                                                  \
	((uint8_t) (((typmod) &SEARCH_EQUALITY ? ENVELOPE_TAG : 0) |                                   \
				((typmod) &SEARCH_FOLD ? ENVELOPE_FOLD : 0)))

/* True for what a modifier of a type that can or cannot be folded may be. */
static inline bool
search_typmod_valid(int32 typmod, bool can_fold)
{
	int32 features = typmod & ~SEARCH_DOMAIN_MASK;

	return typmod >= 0 && (features == SEARCH_SEALED || features == SEARCH_EQUALITY ||
						   (features == (SEARCH_EQUALITY | SEARCH_FOLD) && can_fold));
}

extern void search_init(void);
/* Called by hooks/ before planning: turns IN and = ANY into probes and refuses what sealed columns cannot do. */
extern Query *search_rewrite_query(Query *query);
/* Called by hooks/ for every relation that is being planned: the same for what inlined functions brought. */
struct PlannerInfo;
extern void search_rewrite_inlined(struct PlannerInfo *root);

/* The equality tag of canonical plaintext for this organisation, type, domain and flags. */
extern void search_make_tag(const pg_uuid_t *org, uint8_t type, uint16_t domain, uint8_t flags,
							const uint8_t *plain, size_t len, uint8_t tag[ENVELOPE_TAG_BYTES]);

#endif /* IMMIIQ_SEARCH_H */
