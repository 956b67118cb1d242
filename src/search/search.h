/*
 * Blind-index tokens, the operators on them, and everything the planner is
 * told about them.  Trusts context/ for who is asking and keyring/ for keys;
 * refuses at planning what a column was not declared for.
 */
#ifndef IMMIIQ_SEARCH_H
#define IMMIIQ_SEARCH_H

#include "envelope/envelope.h"
#include "nodes/parsenodes.h"
#include "search/words.h"
#include "utils/uuid.h"

#define SearchTypmodDomain(typmod) ((uint16_t) ((typmod) &SEARCH_DOMAIN_MASK))
#define SearchTypmodKinds(typmod)  ((uint8_t) ((typmod) >> SEARCH_KIND_SHIFT & 0xF))
/* The flags that say what the tag is: those of probes. */
#define SearchTypmodTagFlags(typmod)                                                               \
	((uint8_t) (((typmod) &SEARCH_EQUALITY ? ENVELOPE_TAG : 0) |                                   \
				((typmod) &SEARCH_FOLD ? ENVELOPE_FOLD : 0)))
#define SearchTypmodFlags(typmod)                                                                  \
	((uint8_t) (SearchTypmodTagFlags(typmod) |                                                     \
				(SearchTypmodKinds(typmod) != 0 ? ENVELOPE_TOKENS : 0)))

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
