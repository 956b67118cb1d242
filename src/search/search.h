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
#define SEARCH_KIND_SHIFT  19		 /* from here on: the kinds of tokens, as ENVELOPE_PREFIX … */
#define SEARCH_PREFIX	   (ENVELOPE_PREFIX << SEARCH_KIND_SHIFT)	/* ^@, LIKE 'abc%' */
#define SEARCH_MATCH	   (ENVELOPE_MATCH << SEARCH_KIND_SHIFT)	/* LIKE, ILIKE, ^@ */
#define SEARCH_RANGE	   (ENVELOPE_RANGE << SEARCH_KIND_SHIFT)	/* <, <=, >, >=, BETWEEN */
#define SEARCH_CONTAINS	   (ENVELOPE_CONTAINS << SEARCH_KIND_SHIFT) /* @> */

#define SearchTypmodDomain(typmod) ((uint16_t) ((typmod) &SEARCH_DOMAIN_MASK))
#define SearchTypmodKinds(typmod)  ((uint8_t) ((typmod) >> SEARCH_KIND_SHIFT & 0xF))
/* The flags that say what the tag is: those of probes. */
#define SearchTypmodTagFlags(typmod)                                                               \
	((uint8_t) (((typmod) &SEARCH_EQUALITY ? ENVELOPE_TAG : 0) |                                   \
				((typmod) &SEARCH_FOLD ? ENVELOPE_FOLD : 0)))
#define SearchTypmodFlags(typmod)                                                                  \
	((uint8_t) (SearchTypmodTagFlags(typmod) |                                                     \
				(SearchTypmodKinds(typmod) != 0 ? ENVELOPE_TOKENS : 0)))

/* True for what a modifier of a type that has these words may be. */
static inline bool
search_typmod_valid(int32 typmod, int32 words)
{
	int32 features = typmod & ~SEARCH_DOMAIN_MASK;

	if (typmod < 0 || features == 0)
		return false;
	return features == SEARCH_SEALED ||
		   ((features & ~words) == 0 &&
			((features & SEARCH_FOLD) == 0 || (features & SEARCH_EQUALITY) != 0));
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
/* The tokens of canonical plaintext for a column of these kinds; list is palloc'd. ERROR 54000 when there are too many. */
extern void search_make_tokens(const pg_uuid_t *org, uint8_t type, uint16_t domain, uint8_t kinds,
							   const uint8_t *plain, size_t len, EnvelopeTokens *tokens);

#endif /* IMMIIQ_SEARCH_H */
